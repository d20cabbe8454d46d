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

/// Where events go that a rule could not deliver.
pub const DEAD_LETTERS: &str = "s3-guardrail-dead-letters";

/// Where work waits, and where what failed ends.
pub const QUEUES: [&str; 2] = ["s3-guardrail-work", DEAD_LETTERS];

/// Every rule of the guardrail begins so, and no other should: whoever looks for it finds what is there.
pub const RULE_PREFIX: &str = "s3-guardrail-";

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
pub const TAMPERING_PREFIXES: [&str; 7] = [
    "DeleteParameter",
    "DeleteFunction",
    "UpdateFunction",
    "PutFunction",
    "AddPermission",
    "RemovePermission",
    "CreateEventSource",
];

/// Put, Attach, Detach, Delete and UpdateAssume.
pub const TAMPERING_SUFFIX: &str = "RolePolicy";

/// Calls that can silence what stands beside the functions: logs, alarms, what hands the queue's messages over.
pub const TAMPERING_BESIDE: [&str; 10] = [
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
];

/// Their records name the function in the answer only.
pub const MAPPING_PREFIXES: [&str; 2] = ["UpdateEventSource", "DeleteEventSource"];

/// Whether a call of this name can harm a part of the guardrail.
pub fn is_tampering(event_name: &str) -> bool {
    TAMPERING.contains(&event_name)
        || TAMPERING_BESIDE.contains(&event_name)
        || TAMPERING_PREFIXES.iter().chain(&MAPPING_PREFIXES).any(|it| event_name.starts_with(it))
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
    if last == TOPIC && named.contains(":sns:") {
        return Some(format!("topic {TOPIC}"));
    }
    if named.contains(&format!(":{TOPIC}:")) {
        return Some(format!("a subscription of topic {TOPIC}"));
    }
    if QUEUES.contains(&last) {
        return Some(format!("queue {last}"));
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
