//! The guardrail's own parts: the EventBridge rules that wake it, and what to do when one is not as it should be. Pure.
//!
//! The templates, and what the sweep finds in the account, are held to this list.

use serde_json::{Value, json};

use crate::{
    control::table::{Control, OWNERS_EVENTS, TOLD_EVENTS},
    edge::config::Place,
    value::own_parts::{
        ALARM_PREFIX, EVENTS, FORWARD_ROLE, FUNCTION_ROLES, LEDGER, LOG_GROUPS, OTHER_FUNCTIONS, OTHER_QUEUES,
        PARAMETERS, REMEDIATE, REMEDIATE_ROLE, RULE_PREFIX, SWEEP, TAMPERING, TAMPERING_BESIDE, TAMPERING_PREFIXES,
        TAMPERING_SUFFIX, TOPIC_PREFIX, TOPICS, WATCHED_BY_SWEEP,
    },
};

/// A rule of the default event bus.
#[derive(Clone, Debug)]
pub struct Rule {
    pub name: &'static str,
    /// The function it wakes.
    pub function: &'static str,
    pub wakes: Wakes,
}

/// When a rule wakes its function.
#[derive(Clone, Debug, PartialEq)]
pub enum Wakes {
    /// On events that this pattern matches.
    OnEvents(Value),
    /// By this schedule expression.
    BySchedule(&'static str),
}

impl Wakes {
    /// The event pattern as EventBridge takes it.
    pub fn pattern(&self) -> Option<String> {
        match self {
            Self::OnEvents(pattern) => Some(pattern.to_string()),
            Self::BySchedule(_) => None,
        }
    }

    /// The schedule expression.
    pub fn schedule(&self) -> Option<&'static str> {
        match self {
            Self::OnEvents(_) => None,
            Self::BySchedule(expression) => Some(expression),
        }
    }
}

/// Where the rules of a deployment lead that are to wake `guardrail-remediate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wiring {
    /// To the function, as in deployments that have no version of their wiring.
    Direct,
    /// To a queue.
    Queued,
}

impl Wiring {
    /// Reads the version that the stack has recorded; `None`: it has recorded none.
    pub fn from_version(version: Option<&str>) -> Self {
        if version.is_some() { Self::Queued } else { Self::Direct }
    }
}

impl Rule {
    /// Where the rule leads: whereto it is led back, and where else it may lead. While the stack is on the way to another
    /// wiring, a rule that is there already stays: `guardrail-remediate` takes events from both.
    pub fn targets(&self, wiring: Wiring, place: Place<'_>) -> Vec<String> {
        let Place { partition, region, account } = place;
        let function = format!("arn:{partition}:lambda:{region}:{account}:function:{}", self.function);
        let queue = format!("arn:{partition}:sqs:{region}:{account}:{EVENTS}");
        match (self.function, wiring) {
            (REMEDIATE, Wiring::Queued) => vec![queue],
            (REMEDIATE, Wiring::Direct) => vec![function, queue],
            _ => vec![function],
        }
    }

    /// Whether the rule itself invokes its function.
    pub fn invokes(&self, wiring: Wiring) -> bool {
        self.function != REMEDIATE || wiring == Wiring::Direct
    }

    /// The rule's ARN.
    pub fn arn(&self, place: Place<'_>) -> String {
        let Place { partition, region, account } = place;
        format!("arn:{partition}:events:{region}:{account}:rule/{}", self.name)
    }
}

/// All rules of a guardrail at this place, for a registry at this path of the Parameter Store.
///
/// EventBridge takes 2,048 characters of pattern, and few wildcards: what names a part is told by its start and its end.
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html>
pub fn rules(parameter_prefix: &str, place: Place<'_>) -> [Rule; 8] {
    let Place { partition, account, region } = place;
    let role = |name: &&str| format!("{name}-{region}");
    // One beginning for both topics.
    let subscription = format!("arn:{partition}:sns:{region}:{account}:{TOPIC_PREFIX}");
    let events = |control: Control| control.vocabulary().events.to_vec();
    let told = TOLD_EVENTS.into_iter().chain(OWNERS_EVENTS.map(|(event, _)| event));
    let bucket_events = Control::OF_BUCKET.iter().flat_map(|it| events(*it)).chain(told).collect();
    let rule = |name, function, pattern| Rule { name, function, wakes: Wakes::OnEvents(pattern) };
    [
        rule("s3-guardrail-bucket-changed", REMEDIATE, calls("s3", bucket_events)),
        rule("s3-guardrail-key-changed", REMEDIATE, calls("kms", events(Control::KmsKey))),
        rule("s3-guardrail-trail-changed", REMEDIATE, calls("cloudtrail", events(Control::Trail))),
        rule(
            "s3-guardrail-tampered",
            REMEDIATE,
            tampering(
                "requestParameters",
                json!({"$or": [
                    {"name": [{"prefix": RULE_PREFIX}, {"prefix": parameter_prefix}, {"prefix": PARAMETERS}]},
                    {"names": [{"prefix": parameter_prefix}, {"prefix": PARAMETERS}]},
                    {"rule": [{"prefix": RULE_PREFIX}]},
                    {"functionName": functions(&OTHER_FUNCTIONS, place)},
                    {"topicArn": TOPICS.map(|it| json!({"suffix": format!(":{it}")}))},
                    {"subscriptionArn": [{"prefix": subscription}]},
                    {"queueUrl": OTHER_QUEUES.map(|it| json!({"suffix": format!("/{it}")}))},
                    {"roleName": FUNCTION_ROLES.iter().chain(&[FORWARD_ROLE]).map(role).collect::<Vec<_>>()},
                ]}),
            ),
        ),
        rule(
            "s3-guardrail-remediate-tampered",
            SWEEP,
            tampering(
                "$or",
                json!([
                    {"requestParameters": {"name": WATCHED_BY_SWEEP}},
                    {"requestParameters": {"rule": WATCHED_BY_SWEEP}},
                    {"requestParameters": {"functionName": functions(&[REMEDIATE], place)}},
                    {"requestParameters": {"queueUrl": [{"suffix": format!("/{EVENTS}")}]}},
                    {"requestParameters": {"roleName": [role(&REMEDIATE_ROLE)]}},
                    // Records about event source mappings name the function in the answer only.
                    {"responseElements": {"functionArn": [{"prefix": own_functions(place)}]}},
                ]),
            ),
        ),
        rule("s3-guardrail-beside-tampered", REMEDIATE, beside(place)),
        // CloudTrail records most denied calls without saying what they were aimed at: null exists, an object does not,
        // nor does what is absent.
        rule("s3-guardrail-tampering-denied", REMEDIATE, tampering("requestParameters", json!([{"exists": true}]))),
        Rule { name: "s3-guardrail-sweep", function: SWEEP, wakes: Wakes::BySchedule("rate(15 minutes)") },
    ]
}

fn calls(service: &str, names: Vec<&str>) -> Value {
    json!({
        "source": [format!("aws.{service}")],
        "detail-type": ["AWS API Call via CloudTrail"],
        // Without `managementEvent`, every PutObject would come here.
        "detail": {"eventSource": [format!("{service}.amazonaws.com")], "managementEvent": [true], "eventName": names},
    })
}

fn own_functions(place: Place<'_>) -> String {
    let Place { partition, account, region } = place;
    format!("arn:{partition}:lambda:{region}:{account}:function:guardrail-")
}

fn tampering(field: &str, matches: Value) -> Value {
    let prefixes = TAMPERING_PREFIXES.iter().map(|it| json!({"prefix": it}));
    let event_names = names(&TAMPERING, &prefixes.chain([json!({"suffix": TAMPERING_SUFFIX})]).collect::<Vec<_>>());
    json!({
        "source": ["aws.events", "aws.iam", "aws.lambda", "aws.sns", "aws.sqs", "aws.ssm"],
        "detail-type": ["AWS API Call via CloudTrail"],
        "detail": {"eventName": event_names, field: matches},
    })
}

fn beside(place: Place<'_>) -> Value {
    let Place { partition, account, region } = place;
    let groups = format!("{LOG_GROUPS}guardrail-");
    let table = format!("arn:{partition}:dynamodb:{region}:{account}:table/{LEDGER}");
    json!({
        "source": ["aws.dynamodb", "aws.logs", "aws.monitoring"],
        "detail-type": ["AWS API Call via CloudTrail"],
        "detail": {"eventName": TAMPERING_BESIDE, "$or": [
            {"requestParameters": {"logGroupName": [{"prefix": groups}]}},
            {"requestParameters": {"logGroupIdentifier": [
                {"prefix": groups},
                {"prefix": format!("arn:{partition}:logs:{region}:{account}:log-group:{groups}")},
            ]}},
            {"requestParameters": {"resourceIdentifier": [
                {"prefix": format!("arn:{partition}:logs:{region}:{account}:log-group:{groups}")},
            ]}},
            {"requestParameters": {"alarmName": [{"prefix": ALARM_PREFIX}]}},
            {"requestParameters": {"alarmNames": [{"prefix": ALARM_PREFIX}]}},
            {"requestParameters": {"tableName": [LEDGER, {"suffix": format!(":table/{LEDGER}")}]}},
            {"requestParameters": {"tableArn": [{"prefix": table}]}},
            {"requestParameters": {"resourceArn": [{"prefix": table}]}},
            // Some records have the table in the answer only.
            {"responseElements": {"tableDescription": {"tableName": [LEDGER]}}},
        ]},
    })
}

fn names(exact: &[&str], more: &[Value]) -> Vec<Value> {
    exact.iter().map(|it| json!(it)).chain(more.iter().cloned()).collect()
}

/// CloudTrail has a function's name as the caller gave it: bare, or with its ARN or a part of that before it, or a version
/// after it. <https://docs.aws.amazon.com/lambda/latest/api/API_UpdateFunctionConfiguration.html>
pub fn functions(functions: &[&str], place: Place<'_>) -> Vec<Value> {
    let Place { partition, account, region } = place;
    let forms = functions.iter().flat_map(|it| {
        [
            json!({"suffix": format!(":{it}")}),
            json!({"prefix": format!("{it}:")}),
            json!({"prefix": format!("arn:{partition}:lambda:{region}:{account}:function:{it}:")}),
        ]
    });
    names(functions, &forms.collect::<Vec<_>>())
}

/// A rule as EventBridge describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedRule {
    pub enabled: bool,
    pub pattern: Option<Value>,
    pub schedule: Option<String>,
    pub targets: Vec<Target>,
}

/// Whom a rule wakes.
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
    /// With our pattern or schedule, enabled.
    Put,
    Enable,
    PutTarget {
        id: String,
    },
    /// Those that are not ours. A second one of our own would hand over whatever somebody wrote there.
    RemoveTargets {
        ids: Vec<String>,
    },
}

/// The stack that has the rules.
pub const STACK: &str = "s3-guardrail-wiring";

/// What the stack has of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InStack {
    Had,
    /// It is being created, changed or deleted at this moment.
    AtWork,
    Absent,
}

impl InStack {
    /// Reads the status of the stack's resource; `None`: it has none.
    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html>
    pub fn from_status(status: Option<&str>) -> Self {
        match status {
            None | Some("CREATE_FAILED" | "DELETE_COMPLETE" | "DELETE_FAILED" | "DELETE_SKIPPED") => Self::Absent,
            Some(status) if status.ends_with("_IN_PROGRESS") => Self::AtWork,
            Some(_) => Self::Had,
        }
    }
}

/// Why a rule that is not as it should be is left so; `None`: it is not. What the guardrail puts back by itself must not
/// stand in CloudFormation's way: a stack cannot create a rule that exists, nor delete one that has targets.
pub fn leave(observed: Option<&ObservedRule>, in_stack: InStack) -> Option<String> {
    match (observed, in_stack) {
        (_, InStack::AtWork) => {
            Some(format!("CloudFormation is at work on it in the stack {STACK}, so it is left alone"))
        }
        (None, InStack::Absent) => {
            Some(format!("it does not exist, and the stack {STACK} does not have it: infra/deploy.sh creates it"))
        }
        (Some(_), InStack::Absent) | (_, InStack::Had) => None,
    }
}

/// What mends a rule that may lead to each of `arns`. Empty: it is as it should be.
pub fn mend(rule: &Rule, observed: Option<&ObservedRule>, arns: &[String]) -> Vec<RuleCall> {
    let mut calls = Vec::new();
    match observed {
        None => calls.push(RuleCall::Put),
        Some(it) if !wakes_like(rule, it) => calls.push(RuleCall::Put),
        Some(it) if !it.enabled => calls.push(RuleCall::Enable),
        Some(_) => {}
    }
    let targets = observed.map(|it| it.targets.as_slice()).unwrap_or_default();
    let ours = || targets.iter().filter(|it| arns.contains(&it.arn));
    let ours = ours().find(|it| it.plain).or_else(|| ours().next());
    let id = ours.map_or("function", |it| &it.id);
    if !ours.is_some_and(|it| it.plain) {
        calls.push(RuleCall::PutTarget { id: id.to_owned() });
    }
    let ids: Vec<_> = targets.iter().filter(|it| it.id != id).map(|it| it.id.clone()).collect();
    if !ids.is_empty() {
        calls.push(RuleCall::RemoveTargets { ids });
    }
    calls
}

fn wakes_like(rule: &Rule, observed: &ObservedRule) -> bool {
    match &rule.wakes {
        Wakes::OnEvents(pattern) => observed.pattern.as_ref() == Some(pattern) && observed.schedule.is_none(),
        Wakes::BySchedule(expression) => {
            observed.schedule.as_deref() == Some(*expression) && observed.pattern.is_none()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::own_parts::{SWEPT, WIRING};
    use crate::value::{
        names::RoleArn,
        own_parts::{WATCHED_BY_REMEDIATE, is_own_role, own_part},
    };

    const PREFIX: &str = "/s3-guardrail/buckets/";
    const PLACE: Place<'_> = Place { partition: "aws", account: "111122223333", region: "eu-west-2" };

    #[test]
    fn patterns_are_as_short_as_eventbridge_wants_them_also_where_names_are_long() {
        // The longest that the templates take.
        let farthest = Place { partition: "aws-us-gov", region: "ap-southeast-1", ..PLACE };
        for rule in rules(&"/".repeat(80), farthest) {
            let bytes = rule.wakes.pattern().map_or(0, |it| it.len());
            assert!(bytes <= 2048, "{}: {bytes}", rule.name);
        }
    }

    /// Whether a call with this parameter comes through one of these rules.
    fn comes_through(rule: &Rule, parameter: &str, value: &str) -> bool {
        let text = |it: &Value, kind: &str| it[kind].as_str().map(str::to_owned);
        let Wakes::OnEvents(pattern) = &rule.wakes else { return false };
        let choices = |path: &str| pattern.pointer(path).and_then(Value::as_array).into_iter().flatten();
        let either = choices("/detail/$or").map(|it| &it["requestParameters"]);
        let choices = choices("/detail/requestParameters/$or").chain(either);
        let named = choices.filter_map(|it| it[parameter].as_array());
        named.flatten().any(|it| {
            it == value
                || text(it, "prefix").is_some_and(|it| value.starts_with(&it))
                || text(it, "suffix").is_some_and(|it| value.ends_with(&it))
        })
    }

    #[test]
    fn what_is_a_part_comes_through_one_rule_and_what_comes_through_is_a_part() {
        let rules = rules(PREFIX, PLACE);
        let function = "arn:aws:lambda:eu-west-2:111122223333:function";
        let mut named: Vec<(&str, String)> = Vec::new();
        for name in rules.iter().map(|it| it.name) {
            named.extend([("name", name.to_owned()), ("rule", name.to_owned())]);
        }
        for name in [REMEDIATE].into_iter().chain(OTHER_FUNCTIONS) {
            for start in ["", "111122223333:function:", "function:", &format!("{function}:")] {
                named.push(("functionName", format!("{start}{name}")));
            }
            for start in ["", &format!("{function}:")] {
                named.extend(["1", "$LATEST"].map(|version| ("functionName", format!("{start}{name}:{version}"))));
            }
        }
        for name in [REMEDIATE_ROLE, FORWARD_ROLE].into_iter().chain(FUNCTION_ROLES) {
            named.push(("roleName", format!("{name}-eu-west-2")));
        }
        for topic in TOPICS.map(|it| format!("arn:aws:sns:eu-west-2:111122223333:{it}")) {
            named.extend([("topicArn", topic.clone()), ("subscriptionArn", format!("{topic}:1-2"))]);
        }
        for queue in [EVENTS].into_iter().chain(OTHER_QUEUES) {
            named.push(("queueUrl", format!("https://sqs.eu-west-2.amazonaws.com/111122223333/{queue}")));
        }
        named.extend(["name", "names"].map(|it| (it, format!("{PREFIX}acme-data"))));
        named.extend(["name", "names"].map(|it| (it, WIRING.to_owned())));
        named.extend(["name", "names"].map(|it| (it, SWEPT.to_owned())));
        for (parameter, value) in &named {
            let through = rules.iter().filter(|it| comes_through(it, parameter, value)).count();
            let watchers = if WATCHED_BY_SWEEP.contains(&value.as_str()) { 2 } else { 1 };
            assert_eq!((through, own_part(value, PREFIX).is_some()), (watchers, true), "{parameter} {value}");
        }
        for (parameter, value) in [
            ("functionName", "my-guardrail-sweep"),
            ("functionName", "guardrail-sweep-2"),
            ("functionName", "arn:aws:lambda:eu-west-2:111122223333:function:guardrail-sweeper"),
            ("roleName", "s3-guardrail-bootstrap"),
            ("roleName", "my-s3-guardrail-sweep-eu-west-2"),
            ("topicArn", "arn:aws:sns:eu-west-2:111122223333:alerts"),
            ("subscriptionArn", "arn:aws:sns:eu-west-2:111122223333:alerts:1-2"),
            ("queueUrl", "https://sqs.eu-west-2.amazonaws.com/111122223333/my-s3-guardrail-work"),
            ("name", "/s3-guardrails/other"),
        ] {
            let through = rules.iter().any(|it| comes_through(it, parameter, value));
            assert_eq!((through, own_part(value, PREFIX)), (false, None), "{parameter} {value}");
        }
        // The guardrail of another region watches itself.
        assert!(!rules.iter().any(|it| comes_through(it, "roleName", "s3-guardrail-sweep-eu-west-1")));
    }

    #[test]
    fn every_part_is_watched_by_a_function_that_it_is_not_needed_for() {
        let rules = rules(PREFIX, PLACE);
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
            ("rule/s3-guardrail-other", Some("rule s3-guardrail-other, which is none of the guardrail's")),
            ("rule/s3-guardrail-roles-tampered-eu-west-1", None),
            ("rule/other", None),
            ("/aws/lambda/guardrail-verify", Some("log group /aws/lambda/guardrail-verify")),
            (
                "arn:aws:logs:eu-west-2:111122223333:log-group:/aws/lambda/guardrail-sweep:*",
                Some("log group /aws/lambda/guardrail-sweep"),
            ),
            ("/aws/lambda/guardrail-sweeper", None),
            ("alarm:s3-guardrail-dead-letters", Some("alarm s3-guardrail-dead-letters")),
            ("arn:aws:cloudwatch:eu-west-2:111122223333:alarm:s3-guardrail-errors", Some("alarm s3-guardrail-errors")),
            ("alarm:theirs", None),
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
            ("arn:aws:lambda:eu-west-2:111122223333:function:other", None),
            ("https://sqs.eu-west-2.amazonaws.com/111122223333/guardrail-sweep", None),
            ("s3-guardrail-remediate-eu-west-2", Some("role s3-guardrail-remediate-eu-west-2")),
            (
                "arn:aws:iam::111122223333:role/s3-guardrail-forward-us-gov-west-1",
                Some("role s3-guardrail-forward-us-gov-west-1"),
            ),
            ("s3-guardrail-remediated", None),
            ("", None),
        ] {
            assert_eq!(own_part(named, PREFIX).as_deref(), part, "{named}");
        }
    }

    #[test]
    fn our_roles_are_ours_in_our_account_only() {
        let own: RoleArn = "arn:aws:iam::111122223333:role/my-guardrail".parse().unwrap();
        let is_own = |session: &str| is_own_role(&format!("arn:aws:sts::{session}"), &own, "eu-west-2");
        assert!(is_own("111122223333:assumed-role/my-guardrail/x"));
        assert!(is_own("111122223333:assumed-role/s3-guardrail-bootstrap-eu-west-2/x"));
        for other in [
            "999922223333:assumed-role/s3-guardrail-sweep-eu-west-2/x",
            "111122223333:assumed-role/admin/s3-guardrail-sweep-eu-west-2",
            // Nobody has this name any more, so that anybody may take it.
            "111122223333:assumed-role/s3-guardrail-sweep/x",
            "111122223333:assumed-role/s3-guardrail-sweep-eu-west-1/x",
            "111122223333:assumed-role/s3-guardrail-sweep-eu-west-2-x/x",
        ] {
            assert!(!is_own(other), "{other}");
        }
    }

    #[test]
    fn what_cloudformation_is_at_work_on_or_has_yet_to_create_is_left_to_it() {
        let whole = ObservedRule { enabled: true, pattern: None, schedule: None, targets: vec![] };
        for (status, absent_is_left, other_is_left) in [
            (None, true, false),
            (Some("CREATE_IN_PROGRESS"), true, true),
            (Some("CREATE_COMPLETE"), false, false),
            (Some("CREATE_FAILED"), true, false),
            (Some("UPDATE_IN_PROGRESS"), true, true),
            (Some("UPDATE_COMPLETE"), false, false),
            (Some("UPDATE_FAILED"), false, false),
            (Some("UPDATE_ROLLBACK_COMPLETE"), false, false),
            (Some("DELETE_IN_PROGRESS"), true, true),
            (Some("DELETE_COMPLETE"), true, false),
            (Some("DELETE_FAILED"), true, false),
        ] {
            let in_stack = InStack::from_status(status);
            let left = (leave(None, in_stack).is_some(), leave(Some(&whole), in_stack).is_some());
            assert_eq!(left, (absent_is_left, other_is_left), "{status:?}");
        }
    }

    #[test]
    fn whatever_is_done_to_a_rule_is_undone() {
        let [rule, .., sweep] = rules(PREFIX, PLACE);
        let arn = "arn:aws:lambda:eu-west-2:111122223333:function:guardrail-remediate";
        let arns = [arn.to_owned()];
        let target = Target { id: "1".to_owned(), arn: arn.to_owned(), plain: true };
        let Wakes::OnEvents(pattern) = rule.wakes.clone() else { panic!() };
        let whole =
            ObservedRule { enabled: true, pattern: Some(pattern), schedule: None, targets: vec![target.clone()] };
        let mend = |observed: &ObservedRule| mend(&rule, Some(observed), &arns);
        let put_target = |id: &str| RuleCall::PutTarget { id: id.to_owned() };
        assert_eq!(mend(&whole), []);
        assert_eq!(mend(&ObservedRule { enabled: false, ..whole.clone() }), [RuleCall::Enable]);
        assert_eq!(mend(&ObservedRule { pattern: Some(json!({})), enabled: false, ..whole.clone() }), [RuleCall::Put]);
        assert_eq!(mend(&ObservedRule { targets: vec![], ..whole.clone() }), [put_target("function")]);
        let blinded = Target { plain: false, ..target.clone() };
        assert_eq!(mend(&ObservedRule { targets: vec![blinded.clone()], ..whole.clone() }), [put_target("1")]);
        let scheduled = ObservedRule { schedule: Some("rate(1 day)".to_owned()), ..whole.clone() };
        assert_eq!(mend(&scheduled), [RuleCall::Put]);
        // A target more, of a stranger's or with a stranger's words for our function.
        let queue = Target { id: "q".to_owned(), arn: "arn:aws:sqs:eu-west-2:444455556666:q".to_owned(), plain: true };
        let forged = Target { id: "2".to_owned(), ..blinded };
        for (targets, ids) in [(vec![queue.clone(), target.clone()], ["q"]), (vec![forged, target.clone()], ["2"])] {
            let remove = RuleCall::RemoveTargets { ids: ids.map(str::to_owned).into() };
            assert_eq!(mend(&ObservedRule { targets, ..whole.clone() }), [remove]);
        }
        let remove = RuleCall::RemoveTargets { ids: vec!["q".to_owned()] };
        assert_eq!(mend(&ObservedRule { targets: vec![queue], ..whole }), [put_target("function"), remove]);

        let schedule = |expression: Option<&str>, pattern: Option<Value>| {
            let observed = ObservedRule {
                enabled: true,
                pattern,
                schedule: expression.map(str::to_owned),
                targets: vec![target.clone()],
            };
            super::mend(&sweep, Some(&observed), &arns)
        };
        assert_eq!(schedule(Some("rate(15 minutes)"), None), []);
        for (expression, pattern) in [
            (Some("rate(365 days)"), None),
            (Some("cron(0 0 1 1 ? 2099)"), None),
            (None, None),
            (Some("rate(15 minutes)"), Some(json!({"source": ["aws.s3"]}))),
        ] {
            assert_eq!(schedule(expression, pattern), [RuleCall::Put], "{expression:?}");
        }
        assert_eq!(super::mend(&rule, None, &arns), [RuleCall::Put, put_target("function")]);
    }

    #[test]
    fn a_rule_is_led_back_to_where_the_recorded_wiring_leads_and_none_is_led_back_from_a_newer_one() {
        let rules = rules(PREFIX, PLACE);
        let rule = |name: &str| rules.iter().find(|it| it.name == name).unwrap();
        let function = |name: &str| format!("arn:aws:lambda:eu-west-2:111122223333:function:{name}");
        let queue = || "arn:aws:sqs:eu-west-2:111122223333:s3-guardrail-events".to_owned();
        let observed = |arn: String| ObservedRule {
            enabled: true,
            pattern: None,
            schedule: None,
            targets: vec![Target { id: "function".to_owned(), arn, plain: true }],
        };
        let moved = |name: &str, wiring, arn: String| {
            let targets = rule(name).targets(wiring, PLACE);
            let calls = mend(rule(name), Some(&observed(arn)), &targets);
            calls.contains(&RuleCall::PutTarget { id: "function".to_owned() }).then(|| targets[0].clone())
        };
        for (name, version, leads, back) in [
            ("s3-guardrail-tampered", None, function(REMEDIATE), None),
            ("s3-guardrail-tampered", None, queue(), None),
            ("s3-guardrail-tampered", None, function("theirs"), Some(function(REMEDIATE))),
            ("s3-guardrail-tampered", Some("2"), function(REMEDIATE), Some(queue())),
            ("s3-guardrail-tampered", Some("2"), queue(), None),
            // Whatever somebody wrote there leads back to no earlier one.
            ("s3-guardrail-tampered", Some("theirs"), function("theirs"), Some(queue())),
            // What is told of remediate's queue must not wait in it.
            ("s3-guardrail-remediate-tampered", Some("2"), function(SWEEP), None),
            ("s3-guardrail-remediate-tampered", None, queue(), Some(function(SWEEP))),
            ("s3-guardrail-sweep", Some("2"), queue(), Some(function(SWEEP))),
        ] {
            let found = moved(name, Wiring::from_version(version), leads.clone());
            assert_eq!(found, back, "{name} {version:?} {leads}");
        }
    }

    #[test]
    fn a_rule_wakes_on_events_or_by_a_schedule() {
        let rules = rules(PREFIX, PLACE);
        let of = |name: &str| &rules.iter().find(|it| it.name == name).unwrap().wakes;
        let sweep = of("s3-guardrail-sweep");
        assert_eq!((sweep.pattern(), sweep.schedule()), (None, Some("rate(15 minutes)")));
        let key = of("s3-guardrail-key-changed");
        assert_eq!(key.schedule(), None);
        expect_test::expect![[r#"{"source":["aws.kms"],"detail-type":["AWS API Call via CloudTrail"],"detail":{"eventSource":["kms.amazonaws.com"],"managementEvent":[true],"eventName":["DisableKey","ScheduleKeyDeletion","DeleteImportedKeyMaterial","DisableKeyRotation","PutKeyPolicy","DeleteAlias","UpdateAlias"]}}"#]].assert_eq(&key.pattern().unwrap());
        expect_test::expect![[r#"{"source":["aws.dynamodb","aws.logs","aws.monitoring"],"detail-type":["AWS API Call via CloudTrail"],"detail":{"eventName":["DeleteLogGroup","DeleteLogStream","PutRetentionPolicy","PutDataProtectionPolicy","DisassociateKmsKey","DeleteAlarms","DisableAlarmActions","PutMetricAlarm","PutCompositeAlarm","SetAlarmState","DeleteTable","UpdateTable","PutResourcePolicy","DeleteResourcePolicy","UpdateContinuousBackups","UpdateTimeToLive","EnableKinesisStreamingDestination","UpdateKinesisStreamingDestination","DisableKinesisStreamingDestination","ExportTableToPointInTime"],"$or":[{"requestParameters":{"logGroupName":[{"prefix":"/aws/lambda/guardrail-"}]}},{"requestParameters":{"logGroupIdentifier":[{"prefix":"/aws/lambda/guardrail-"},{"prefix":"arn:aws:logs:eu-west-2:111122223333:log-group:/aws/lambda/guardrail-"}]}},{"requestParameters":{"resourceIdentifier":[{"prefix":"arn:aws:logs:eu-west-2:111122223333:log-group:/aws/lambda/guardrail-"}]}},{"requestParameters":{"alarmName":[{"prefix":"s3-guardrail-"}]}},{"requestParameters":{"alarmNames":[{"prefix":"s3-guardrail-"}]}},{"requestParameters":{"tableName":["s3-guardrail-ledger",{"suffix":":table/s3-guardrail-ledger"}]}},{"requestParameters":{"tableArn":[{"prefix":"arn:aws:dynamodb:eu-west-2:111122223333:table/s3-guardrail-ledger"}]}},{"requestParameters":{"resourceArn":[{"prefix":"arn:aws:dynamodb:eu-west-2:111122223333:table/s3-guardrail-ledger"}]}},{"responseElements":{"tableDescription":{"tableName":["s3-guardrail-ledger"]}}}]}}"#]].assert_eq(&of("s3-guardrail-beside-tampered").pattern().unwrap());
    }

    #[test]
    fn owners_settings_and_tags_come_through_with_what_is_restored() {
        let rules = rules(PREFIX, PLACE);
        let Wakes::OnEvents(pattern) = &rules[0].wakes else { panic!("{:?}", rules[0]) };
        let names = pattern.pointer("/detail/eventName").and_then(Value::as_array).unwrap();
        for name in
            ["PutBucketVersioning", "PutBucketTagging", "PutBucketReplication", "DeleteBucketInventoryConfiguration"]
        {
            assert!(names.contains(&json!(name)), "{name}");
        }
        assert!(!names.contains(&json!("PutObject")));
    }
}
