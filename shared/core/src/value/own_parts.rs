//! What the guardrail's own parts are called, and which calls can harm them.

use crate::value::names::RoleArn;

/// The function that restores.
pub const REMEDIATE: &str = "guardrail-remediate";

/// The function that looks at everything, every few minutes.
pub const SWEEP: &str = "guardrail-sweep";

/// The functions that others watch for: all but `guardrail-remediate`.
pub const OTHER_FUNCTIONS: [&str; 3] = [SWEEP, "guardrail-bootstrap", "guardrail-verify"];

/// Roles, without the region that ends their names: IAM knows a name once in all regions.
pub const REMEDIATE_ROLE: &str = "s3-guardrail-remediate";

/// Their roles.
pub const FUNCTION_ROLES: [&str; 3] = ["s3-guardrail-sweep", "s3-guardrail-bootstrap", "s3-guardrail-verify"];

/// Sends IAM's events on from the region where they are recorded.
pub const FORWARD_ROLE: &str = "s3-guardrail-forward";

/// Where alerts go.
pub const TOPIC: &str = "s3-guardrail-alerts";

/// Where people hear that the guardrail itself is broken, or that the first topic is. No key can silence it.
pub const SECOND_TOPIC: &str = "s3-guardrail-broken";

/// Both.
pub const TOPICS: [&str; 2] = [TOPIC, SECOND_TOPIC];

/// Where events go that a rule could not deliver.
pub const DEAD_LETTERS: &str = "s3-guardrail-dead-letters";

/// Where what the rules find waits for `guardrail-remediate`.
pub const EVENTS: &str = "s3-guardrail-events";

/// Where buckets wait that the sweep has sent.
pub const WORK: &str = "s3-guardrail-work";

/// The queues that no event passes on its way to a restore.
pub const OTHER_QUEUES: [&str; 2] = [WORK, DEAD_LETTERS];

/// What is open, and what people were told.
pub const LEDGER: &str = "s3-guardrail-ledger";

/// All parameters of the guardrail's own are below this.
pub const PARAMETERS: &str = "/s3-guardrail/";

/// The parameter that says where the rules of the deployed wiring lead.
pub const WIRING: &str = "/s3-guardrail/wiring";

/// Where the registry is indexed: a parameter for each key, alias and trail that guarded buckets use.
pub const USES: &str = "/s3-guardrail/uses/";

/// When a sweep last wrote the index.
pub const SWEPT: &str = "/s3-guardrail/uses/swept";

/// Every rule of the guardrail begins so, and no other should: whoever looks for it finds what is there.
pub const RULE_PREFIX: &str = "s3-guardrail-";

/// Both topics begin so.
pub const TOPIC_PREFIX: &str = "s3-guardrail-";

/// Those that another region's guardrail has where IAM's events are recorded.
const FORWARDING_PREFIX: &str = "s3-guardrail-roles-";

/// The guardrail's alarms begin so.
pub const ALARM_PREFIX: &str = "s3-guardrail-";

/// Functions' logs are below this.
pub const LOG_GROUPS: &str = "/aws/lambda/";

/// Rules whose tampering `guardrail-remediate` tells; also of those of such a name that are none of ours.
pub const WATCHED_BY_REMEDIATE: [&str; 6] = [
    "s3-guardrail-beside-tampered",
    "s3-guardrail-bucket-changed",
    "s3-guardrail-key-changed",
    "s3-guardrail-trail-changed",
    "s3-guardrail-remediate-tampered",
    "s3-guardrail-sweep",
];

/// Rules that lead to the above, so that somebody else has to tell, too.
pub const WATCHED_BY_SWEEP: [&str; 2] = ["s3-guardrail-tampered", "s3-guardrail-tampering-denied"];

/// Calls that can switch the guardrail off. Lambda's names end in versions, so those are prefixes.
/// <https://docs.aws.amazon.com/lambda/latest/dg/logging-using-cloudtrail.html>
pub const TAMPERING: [&str; 15] = [
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
    "PutRolePermissionsBoundary",
    "DeleteRole",
];

/// The same by how they begin.
pub const TAMPERING_PREFIXES: [&str; 9] = [
    "DeleteParameter",
    "DeleteFunction",
    "UpdateFunction",
    "PutFunction",
    "AddPermission",
    "RemovePermission",
    "CreateEventSource",
    "UpdateEventSource",
    "DeleteEventSource",
];

/// Put, Attach, Detach, Delete and UpdateAssume.
pub const TAMPERING_SUFFIX: &str = "RolePolicy";

/// Calls that can silence what stands beside the functions: logs, alarms, the ledger.
pub const TAMPERING_BESIDE: [&str; 20] = [
    "DeleteLogGroup",
    "DeleteLogStream",
    "PutRetentionPolicy",
    "PutDataProtectionPolicy",
    "DisassociateKmsKey",
    "DeleteAlarms",
    "DisableAlarmActions",
    "PutMetricAlarm",
    "PutCompositeAlarm",
    "SetAlarmState",
    "DeleteTable",
    "UpdateTable",
    "PutResourcePolicy",
    "DeleteResourcePolicy",
    "UpdateContinuousBackups",
    "UpdateTimeToLive",
    "EnableKinesisStreamingDestination",
    "UpdateKinesisStreamingDestination",
    "DisableKinesisStreamingDestination",
    "ExportTableToPointInTime",
];

/// Whether a call of this name can harm a part of the guardrail.
pub fn is_tampering(event_name: &str) -> bool {
    TAMPERING.contains(&event_name)
        || TAMPERING_BESIDE.contains(&event_name)
        || TAMPERING_PREFIXES.iter().any(|it| event_name.starts_with(it))
        || event_name.ends_with(TAMPERING_SUFFIX)
}

/// The part of the guardrail that a call's parameter names, in words; `None`: it names none.
pub fn own_part(named: &str, parameter_prefix: &str) -> Option<String> {
    let last = named.rsplit(['/', ':']).next().unwrap_or_default();
    let functions = || [REMEDIATE].into_iter().chain(OTHER_FUNCTIONS);
    // With or without a version.
    let function = || functions().find(|name| named.rsplit(':').take(2).any(|it| it == *name));
    let mut roles = [REMEDIATE_ROLE, FORWARD_ROLE].into_iter().chain(FUNCTION_ROLES);
    let mut is_role = || {
        let of_a_region = |it: &str| last.strip_prefix(it).is_some_and(|region| region.starts_with('-'));
        (named == last || named.contains(":role/")) && roles.any(of_a_region)
    };
    if let Some(rule) = own_rule(named) {
        return Some(rule);
    }
    if let Some((_, alarm)) = named.rsplit_once("alarm:") {
        return alarm.starts_with(ALARM_PREFIX).then(|| format!("alarm {alarm}"));
    }
    if let Some((_, group)) = named.rsplit_once(LOG_GROUPS) {
        let name = group.split(':').next().unwrap_or_default();
        return functions().any(|it| it == name).then(|| format!("log group {LOG_GROUPS}{name}"));
    }
    if named.starts_with(parameter_prefix) {
        return Some(format!("registry parameter {named}"));
    }
    if let Some(at) = named.find(&format!(":parameter{parameter_prefix}")) {
        return Some(format!("registry parameter {}", &named[at + ":parameter".len()..]));
    }
    if let Some(topic) = TOPICS.into_iter().find(|it| last == *it && named.contains(":sns:")) {
        return Some(format!("topic {topic}"));
    }
    if let Some(topic) = TOPICS.into_iter().find(|it| named.contains(&format!(":{it}:"))) {
        return Some(format!("a subscription of topic {topic}"));
    }
    if let Some((_, table)) = named.split_once("table/")
        && table.split('/').next() == Some(LEDGER)
    {
        return Some(format!("table {LEDGER}"));
    }
    if last == EVENTS || OTHER_QUEUES.contains(&last) {
        return Some(format!("queue {last}"));
    }
    let parameter = named.strip_prefix("arn:").map_or(named, |arn| arn.split_once(":parameter").map_or("", |it| it.1));
    if parameter.starts_with(PARAMETERS) {
        return Some(format!("parameter {parameter}"));
    }
    function().map(|it| format!("function {it}")).or_else(|| is_role().then(|| format!("role {last}")))
}

/// The rule that a name, or a part of an ARN that begins with `rule/`, names.
fn own_rule(named: &str) -> Option<String> {
    let (said, name) = named.rsplit_once("rule/").map_or((false, named), |(_, name)| (true, name));
    if WATCHED_BY_REMEDIATE.contains(&name) || WATCHED_BY_SWEEP.contains(&name) {
        return Some(format!("rule {name}"));
    }
    let is_foreign = said && name.starts_with(RULE_PREFIX) && !name.starts_with(FORWARDING_PREFIX);
    is_foreign.then(|| format!("rule {name}, which is none of the guardrail's"))
}

/// Whether these are the credentials of a role of our own functions; `own` is the role of `guardrail-remediate`, `region`
/// where it is. The guardrail of another region is somebody else.
pub fn is_own_role(arn: &str, own: &RoleArn, region: &str) -> bool {
    let sibling = |name: &&str| {
        let account = own.parts().account;
        let sibling = format!("arn:{}:iam::{account}:role/{name}-{region}", own.parts().partition).parse::<RoleArn>();
        sibling.is_ok_and(|it| it.is_role_or_session(arn))
    };
    own.is_role_or_session(arn) || FUNCTION_ROLES.iter().any(sibling)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_can_harm_by_its_name_its_beginning_or_its_end() {
        for event_name in [
            "DisableRule",
            "DeleteLogGroup",
            "DeleteFunction20150331",
            "UpdateEventSourceMapping20150331",
            "DeleteEventSourceMapping20150331",
            "PutRolePolicy",
            "UpdateAssumeRolePolicy",
        ] {
            assert!(is_tampering(event_name), "{event_name}");
        }
        for event_name in
            ["DescribeRule", "GetFunction20150331", "NotDeleteFunction", "PutRolePolicyX", "PutBucketPolicy", ""]
        {
            assert!(!is_tampering(event_name), "{event_name}");
        }
    }

    #[test]
    fn a_part_is_known_by_its_name_and_by_its_arn() {
        let function = "arn:aws:lambda:eu-west-2:111122223333:function:guardrail-remediate";
        let topic = "arn:aws:sns:eu-west-2:111122223333:s3-guardrail-alerts";
        for (named, part) in [
            ("s3-guardrail-tampered", Some("rule s3-guardrail-tampered")),
            ("rule/s3-guardrail-sweep", Some("rule s3-guardrail-sweep")),
            (
                "arn:aws:events:eu-west-2:111122223333:rule/s3-guardrail-bucket-changed",
                Some("rule s3-guardrail-bucket-changed"),
            ),
            ("rule/s3-guardrail-x", Some("rule s3-guardrail-x, which is none of the guardrail's")),
            ("rule/s3-guardrail-roles-us-east-1", None),
            ("s3-guardrail-x", None),
            ("rule/theirs", None),
            ("alarm:s3-guardrail-errors", Some("alarm s3-guardrail-errors")),
            ("arn:aws:cloudwatch:eu-west-2:111122223333:alarm:theirs", None),
            ("/aws/lambda/guardrail-verify", Some("log group /aws/lambda/guardrail-verify")),
            (
                "arn:aws:logs:eu-west-2:111122223333:log-group:/aws/lambda/guardrail-sweep:*",
                Some("log group /aws/lambda/guardrail-sweep"),
            ),
            ("/aws/lambda/theirs", None),
            ("/s3-guardrail/buckets/acme", Some("registry parameter /s3-guardrail/buckets/acme")),
            (
                "arn:aws:ssm:eu-west-2:111122223333:parameter/s3-guardrail/buckets/acme",
                Some("registry parameter /s3-guardrail/buckets/acme"),
            ),
            ("/theirs/s3-guardrail/buckets/acme", None),
            (topic, Some("topic s3-guardrail-alerts")),
            ("s3-guardrail-alerts", None),
            ("arn:aws:sns:eu-west-2:111122223333:theirs", None),
            (&format!("{topic}:1234"), Some("a subscription of topic s3-guardrail-alerts")),
            ("arn:aws:sns:eu-west-2:111122223333:s3-guardrail-broken", Some("topic s3-guardrail-broken")),
            (
                "arn:aws:sns:eu-west-2:111122223333:s3-guardrail-broken:1234",
                Some("a subscription of topic s3-guardrail-broken"),
            ),
            ("https://sqs.eu-west-2.amazonaws.com/111122223333/s3-guardrail-work", Some("queue s3-guardrail-work")),
            ("arn:aws:sqs:eu-west-2:111122223333:s3-guardrail-dead-letters", Some("queue s3-guardrail-dead-letters")),
            ("https://sqs.eu-west-2.amazonaws.com/111122223333/s3-guardrail-events", Some("queue s3-guardrail-events")),
            ("/s3-guardrail/wiring", Some("parameter /s3-guardrail/wiring")),
            (
                "arn:aws:ssm:eu-west-2:111122223333:parameter/s3-guardrail/wiring",
                Some("parameter /s3-guardrail/wiring"),
            ),
            ("/theirs/s3-guardrail/wiring", None),
            ("table/s3-guardrail-ledger", Some("table s3-guardrail-ledger")),
            (
                "arn:aws:dynamodb:eu-west-2:111122223333:table/s3-guardrail-ledger/stream/2026-11-28T00:00:00.000",
                Some("table s3-guardrail-ledger"),
            ),
            ("arn:aws:dynamodb:eu-west-2:111122223333:table/s3-guardrail-ledgers", None),
            ("s3-guardrail-ledger", None),
            ("guardrail-sweep", Some("function guardrail-sweep")),
            (function, Some("function guardrail-remediate")),
            (&format!("{function}:7"), Some("function guardrail-remediate")),
            (&format!("{function}:7:8"), None),
            ("s3-guardrail-remediate-eu-west-2", Some("role s3-guardrail-remediate-eu-west-2")),
            (
                "arn:aws:iam::111122223333:role/s3-guardrail-verify-eu-west-2",
                Some("role s3-guardrail-verify-eu-west-2"),
            ),
            ("arn:aws:iam::111122223333:policy/s3-guardrail-verify-eu-west-2", None),
            ("arn:aws:iam::111122223333:role/theirs", None),
            ("s3-guardrail-remediate", None),
            ("s3-guardrail-remediates", None),
        ] {
            assert_eq!(own_part(named, "/s3-guardrail/buckets/").as_deref(), part, "{named}");
        }
    }

    #[test]
    fn the_guardrail_of_another_region_or_account_is_somebody_else() {
        let own = "arn:aws:iam::111122223333:role/s3-guardrail-remediate-eu-west-2".parse().unwrap();
        for (arn, is_own) in [
            ("arn:aws:sts::111122223333:assumed-role/s3-guardrail-remediate-eu-west-2/guardrail-remediate", true),
            ("arn:aws:sts::111122223333:assumed-role/s3-guardrail-sweep-eu-west-2/guardrail-sweep", true),
            ("arn:aws:iam::111122223333:role/s3-guardrail-verify-eu-west-2", true),
            ("arn:aws:sts::111122223333:assumed-role/s3-guardrail-sweep-eu-west-1/guardrail-sweep", false),
            ("arn:aws:iam::999922223333:role/s3-guardrail-sweep-eu-west-2", false),
            ("arn:aws:iam::111122223333:role/theirs", false),
            ("s3-guardrail-sweep-eu-west-2", false),
        ] {
            assert_eq!(is_own_role(arn, &own, "eu-west-2"), is_own, "{arn}");
        }
    }
}
