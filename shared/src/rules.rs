//! The guardrail's own parts: the EventBridge rules that wake it, and what to do when one is not as it should be. Pure.
//!
//! The templates, and what the sweep finds in the account, are held to this list.

use serde_json::{Value, json};

use crate::{
    control::{Control, TOLD_EVENTS},
    names::RoleArn,
};

pub const REMEDIATE: &str = "guardrail-remediate";
pub const SWEEP: &str = "guardrail-sweep";

/// The functions that others watch for: all but `guardrail-remediate`.
const OTHER_FUNCTIONS: [&str; 3] = [SWEEP, "guardrail-bootstrap", "guardrail-verify"];
const REMEDIATE_ROLE: &str = "s3-guardrail-remediate";
const OTHER_ROLES: [&str; 3] = ["s3-guardrail-sweep", "s3-guardrail-bootstrap", "s3-guardrail-verify"];
const TOPIC: &str = "s3-guardrail-alerts";
/// Where events go that a rule could not deliver.
pub const DEAD_LETTERS: &str = "s3-guardrail-dead-letters";
const QUEUES: [&str; 2] = ["s3-guardrail-work", DEAD_LETTERS];

/// Rules whose tampering `guardrail-remediate` tells.
const WATCHED_BY_REMEDIATE: [&str; 5] = [
    "s3-guardrail-bucket-changed",
    "s3-guardrail-key-changed",
    "s3-guardrail-trail-changed",
    "s3-guardrail-remediate-tampered",
    "s3-guardrail-sweep",
];
/// Rules that lead to the above, so that somebody else has to tell.
const WATCHED_BY_SWEEP: [&str; 2] = ["s3-guardrail-tampered", "s3-guardrail-tampering-denied"];

/// Calls that can switch the guardrail off. Lambda's names end in versions, so those are prefixes.
/// <https://docs.aws.amazon.com/lambda/latest/dg/logging-using-cloudtrail.html>
const TAMPERING: [&str; 22] = [
    "DisableRule",
    "DeleteRule",
    "PutRule",
    "RemoveTargets",
    "PutTargets",
    "SetTopicAttributes",
    "DeleteTopic",
    "Unsubscribe",
    "SetSubscriptionAttributes",
    "DeleteQueue",
    "SetQueueAttributes",
    "PurgeQueue",
    "PutParameter",
    "DeleteParameter",
    "DeleteParameters",
    "PutRolePolicy",
    "AttachRolePolicy",
    "DetachRolePolicy",
    "DeleteRolePolicy",
    "UpdateAssumeRolePolicy",
    "PutRolePermissionsBoundary",
    "DeleteRole",
];
const TAMPERING_PREFIXES: [&str; 4] = ["DeleteFunction", "UpdateFunction", "PutFunction", "RemovePermission"];

/// A rule of the default event bus.
#[derive(Clone, Debug)]
pub struct Rule {
    pub name: &'static str,
    /// The function it wakes.
    pub function: &'static str,
    /// The event pattern; `None`: it is a schedule.
    pub pattern: Option<Value>,
}

/// All rules, for a registry at this path of the Parameter Store.
pub fn rules(parameter_prefix: &str) -> [Rule; 7] {
    let events = |control: Control| control.vocabulary().events.to_vec();
    let bucket_events = Control::OF_BUCKET.iter().flat_map(|it| events(*it)).chain(TOLD_EVENTS).collect();
    let rule = |name, function, pattern| Rule { name, function, pattern: Some(pattern) };
    [
        rule("s3-guardrail-bucket-changed", REMEDIATE, calls("s3", bucket_events)),
        rule("s3-guardrail-key-changed", REMEDIATE, calls("kms", events(Control::KmsKey))),
        rule("s3-guardrail-trail-changed", REMEDIATE, calls("cloudtrail", events(Control::Trail))),
        rule(
            "s3-guardrail-tampered",
            REMEDIATE,
            tampering(json!([
                {"requestParameters": {"name": names(&WATCHED_BY_REMEDIATE, &[json!({"prefix": parameter_prefix})])}},
                {"requestParameters": {"names": [{"prefix": parameter_prefix}]}},
                {"requestParameters": {"rule": WATCHED_BY_REMEDIATE}},
                {"requestParameters": {"functionName": functions(&OTHER_FUNCTIONS)}},
                {"requestParameters": {"topicArn": [{"suffix": format!(":{TOPIC}")}]}},
                {"requestParameters": {"subscriptionArn": [{"wildcard": format!("*:{TOPIC}:*")}]}},
                {"requestParameters": {"queueUrl": QUEUES.map(|it| json!({"suffix": format!("/{it}")}))}},
                {"requestParameters": {"roleName": OTHER_ROLES}},
            ])),
        ),
        rule(
            "s3-guardrail-remediate-tampered",
            SWEEP,
            tampering(json!([
                {"requestParameters": {"name": WATCHED_BY_SWEEP}},
                {"requestParameters": {"rule": WATCHED_BY_SWEEP}},
                {"requestParameters": {"functionName": functions(&[REMEDIATE])}},
                {"requestParameters": {"roleName": [REMEDIATE_ROLE]}},
            ])),
        ),
        rule("s3-guardrail-tampering-denied", REMEDIATE, {
            // CloudTrail records most denied calls without saying what they were aimed at.
            let mut pattern = tampering(Value::Null);
            if let Some(detail) = pattern["detail"].as_object_mut() {
                detail.shift_remove("$or");
                detail.insert("requestParameters".to_owned(), json!([null]));
            }
            pattern
        }),
        Rule { name: "s3-guardrail-sweep", function: SWEEP, pattern: None },
    ]
}

/// Whether a call of this name can harm a part of the guardrail.
pub fn is_tampering(event_name: &str) -> bool {
    TAMPERING.contains(&event_name) || TAMPERING_PREFIXES.iter().any(|it| event_name.starts_with(it))
}

fn calls(service: &str, names: Vec<&str>) -> Value {
    json!({
        "source": [format!("aws.{service}")],
        "detail-type": ["AWS API Call via CloudTrail"],
        // Without `managementEvent`, every PutObject would come here.
        "detail": {"eventSource": [format!("{service}.amazonaws.com")], "managementEvent": [true], "eventName": names},
    })
}

fn tampering(parts: Value) -> Value {
    json!({
        "source": ["aws.events", "aws.iam", "aws.lambda", "aws.sns", "aws.sqs", "aws.ssm"],
        "detail-type": ["AWS API Call via CloudTrail"],
        "detail": {"eventName": names(&TAMPERING, &TAMPERING_PREFIXES.map(|it| json!({"prefix": it}))), "$or": parts},
    })
}

fn names(exact: &[&str], more: &[Value]) -> Vec<Value> {
    exact.iter().map(|it| json!(it)).chain(more.iter().cloned()).collect()
}

/// CloudTrail has a function's bare name or its ARN, as the caller gave it.
fn functions(functions: &[&str]) -> Vec<Value> {
    let wildcards: Vec<_> = functions.iter().map(|it| json!({"wildcard": format!("*:function:{it}*")})).collect();
    names(functions, &wildcards)
}

/// The part of the guardrail that a call's parameter names, in words; `None`: it names none.
pub fn own_part(named: &str, parameter_prefix: &str) -> Option<String> {
    let is_rule = WATCHED_BY_REMEDIATE.contains(&named) || WATCHED_BY_SWEEP.contains(&named);
    let last = named.rsplit(['/', ':']).next().unwrap_or_default();
    let functions = || [REMEDIATE].into_iter().chain(OTHER_FUNCTIONS);
    let function = || functions().find(|it| named == *it || named.contains(&format!(":function:{it}")));
    let role = || {
        [REMEDIATE_ROLE]
            .into_iter()
            .chain(OTHER_ROLES)
            .find(|it| named == *it || named.ends_with(&format!(":role/{it}")))
    };
    let rule =
        || WATCHED_BY_REMEDIATE.into_iter().chain(WATCHED_BY_SWEEP).find(|it| named.ends_with(&format!(":rule/{it}")));
    if is_rule {
        return Some(format!("rule {named}"));
    }
    if let Some(rule) = rule() {
        return Some(format!("rule {rule}"));
    }
    if named.starts_with(parameter_prefix) {
        return Some(format!("registry parameter {named}"));
    }
    if let Some(at) = named.find(&format!(":parameter{parameter_prefix}")) {
        return Some(format!("registry parameter {}", &named[at + ":parameter".len()..]));
    }
    if last == TOPIC && named.contains(":sns:") {
        return Some(format!("topic {TOPIC}"));
    }
    if named.contains(&format!(":{TOPIC}:")) {
        return Some(format!("a subscription of topic {TOPIC}"));
    }
    if QUEUES.contains(&last) {
        return Some(format!("queue {last}"));
    }
    function().map(|it| format!("function {it}")).or_else(|| role().map(|it| format!("role {it}")))
}

/// Whether these are the credentials of one of our own roles; `own` is the role of `guardrail-remediate`.
pub fn is_own_role(arn: &str, own: &RoleArn) -> bool {
    let sibling = |name: &&str| {
        let account = own.parts().account;
        let sibling = format!("arn:{}:iam::{account}:role/{name}", own.parts().partition).parse::<RoleArn>();
        sibling.is_ok_and(|it| it.is_role_or_session(arn))
    };
    own.is_role_or_session(arn) || OTHER_ROLES.iter().any(sibling)
}

/// A rule as EventBridge describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedRule {
    pub enabled: bool,
    pub pattern: Option<Value>,
    pub targets: Vec<Target>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub id: String,
    pub arn: String,
    /// It gets the event as it is. A target with an input of its own gets whatever somebody wrote there.
    pub plain: bool,
}

/// One call that mends a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleCall {
    /// With our pattern, enabled.
    Put,
    Enable,
    PutTarget {
        id: String,
    },
}

/// What mends a rule. Empty: it is as it should be.
pub fn mend(rule: &Rule, observed: Option<&ObservedRule>, function_arn: &str) -> Vec<RuleCall> {
    let mut calls = Vec::new();
    match observed {
        None => calls.push(RuleCall::Put),
        Some(it) if rule.pattern.is_some() && it.pattern != rule.pattern => calls.push(RuleCall::Put),
        Some(it) if !it.enabled => calls.push(RuleCall::Enable),
        Some(_) => {}
    }
    let targets = observed.map(|it| it.targets.as_slice()).unwrap_or_default();
    let ours = targets.iter().find(|it| it.arn == function_arn);
    if !ours.is_some_and(|it| it.plain) {
        calls.push(RuleCall::PutTarget { id: ours.map_or_else(|| "function".to_owned(), |it| it.id.clone()) });
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "/s3-guardrail/buckets/";

    #[test]
    fn patterns_are_as_short_as_eventbridge_wants_them() {
        for rule in rules(PREFIX) {
            let bytes = rule.pattern.map_or(0, |it| it.to_string().len());
            assert!(bytes <= 2048, "{}: {bytes}", rule.name);
        }
    }

    #[test]
    fn every_part_is_watched_by_a_function_that_it_is_not_needed_for() {
        let rules = rules(PREFIX);
        let all: Vec<_> = rules.iter().map(|it| it.name).collect();
        for name in &all {
            let by_remediate = WATCHED_BY_REMEDIATE.contains(name);
            assert_ne!(by_remediate, WATCHED_BY_SWEEP.contains(name), "{name} is watched once");
        }
        let watcher = |name: &str| rules.iter().find(|it| it.name == name).unwrap().function;
        assert!(WATCHED_BY_SWEEP.iter().all(|it| watcher(it) == REMEDIATE));
        assert_eq!((watcher("s3-guardrail-tampered"), watcher("s3-guardrail-remediate-tampered")), (REMEDIATE, SWEEP));
    }

    #[test]
    fn parts_are_known_by_name_and_by_arn() {
        for (named, part) in [
            ("s3-guardrail-bucket-changed", Some("rule s3-guardrail-bucket-changed")),
            ("arn:aws:events:eu-west-2:111122223333:rule/s3-guardrail-sweep", Some("rule s3-guardrail-sweep")),
            ("s3-guardrail-other", None),
            ("guardrail-remediate", Some("function guardrail-remediate")),
            ("arn:aws-cn:lambda:cn-north-1:111122223333:function:guardrail-sweep:1", Some("function guardrail-sweep")),
            ("my-guardrail-sweep", None),
            ("arn:aws:sns:eu-west-2:111122223333:s3-guardrail-alerts", Some("topic s3-guardrail-alerts")),
            (
                "arn:aws:sns:eu-west-2:111122223333:s3-guardrail-alerts:1-2",
                Some("a subscription of topic s3-guardrail-alerts"),
            ),
            ("https://sqs.eu-west-2.amazonaws.com/111122223333/s3-guardrail-work", Some("queue s3-guardrail-work")),
            ("/s3-guardrail/buckets/acme-data", Some("registry parameter /s3-guardrail/buckets/acme-data")),
            (
                "arn:aws:ssm:eu-west-2:111122223333:parameter/s3-guardrail/buckets/a",
                Some("registry parameter /s3-guardrail/buckets/a"),
            ),
            ("/other/parameter", None),
            ("s3-guardrail-remediate", Some("role s3-guardrail-remediate")),
            ("", None),
        ] {
            assert_eq!(own_part(named, PREFIX).as_deref(), part, "{named}");
        }
    }

    #[test]
    fn our_roles_are_ours_in_our_account_only() {
        let own: RoleArn = "arn:aws:iam::111122223333:role/my-guardrail".parse().unwrap();
        assert!(is_own_role("arn:aws:sts::111122223333:assumed-role/my-guardrail/x", &own));
        assert!(is_own_role("arn:aws:sts::111122223333:assumed-role/s3-guardrail-bootstrap/x", &own));
        assert!(!is_own_role("arn:aws:sts::999922223333:assumed-role/s3-guardrail-sweep/x", &own));
        assert!(!is_own_role("arn:aws:sts::111122223333:assumed-role/admin/s3-guardrail-sweep", &own));
    }

    #[test]
    fn whatever_is_done_to_a_rule_is_undone() {
        let [rule, ..] = rules(PREFIX);
        let arn = "arn:aws:lambda:eu-west-2:111122223333:function:guardrail-remediate";
        let target = Target { id: "1".to_owned(), arn: arn.to_owned(), plain: true };
        let whole = ObservedRule { enabled: true, pattern: rule.pattern.clone(), targets: vec![target.clone()] };
        let mend = |observed: &ObservedRule| mend(&rule, Some(observed), arn);
        let put_target = |id: &str| RuleCall::PutTarget { id: id.to_owned() };
        assert_eq!(mend(&whole), []);
        assert_eq!(mend(&ObservedRule { enabled: false, ..whole.clone() }), [RuleCall::Enable]);
        assert_eq!(mend(&ObservedRule { pattern: Some(json!({})), enabled: false, ..whole.clone() }), [RuleCall::Put]);
        assert_eq!(mend(&ObservedRule { targets: vec![], ..whole.clone() }), [put_target("function")]);
        let blinded = Target { plain: false, ..target };
        assert_eq!(mend(&ObservedRule { targets: vec![blinded], ..whole }), [put_target("1")]);
        assert_eq!(super::mend(&rule, None, arn), [RuleCall::Put, put_target("function")]);
    }
}
