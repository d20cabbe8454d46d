//! Who made a call, as people are told. Pure.
//!
//! Not every caller has an ARN: CloudTrail knows of another account's callers only that account and an id.
//! <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html>

use serde_json::Value;

use crate::value::{names::Arn, plain::clean};

/// The caller in a line, from a record's `userIdentity`: the ARN, or else kind and account, with whatever else names
/// them in parentheses. `None`: it names nobody.
pub fn named(identity: &Value) -> Option<String> {
    let text = |pointer: &str| {
        let text = identity.pointer(pointer)?.as_str().map(clean)?;
        // CloudTrail writes an empty text where it has none.
        (!text.is_empty()).then_some(text)
    };
    // A product provider acts through a role of one's own.
    let delegate = text("/invokedByDelegate/accountId").map(|it| format!(" for {it}")).unwrap_or_default();
    if let Some(arn) = text("/arn").filter(|it| Arn::parse(it).is_some_and(|it| !it.account.is_empty())) {
        return Some(format!("{arn}{delegate}"));
    }
    let mut ids: Vec<String> = Vec::new();
    for pointer in ["/principalId", "/userName", "/onBehalfOf/userId", "/onBehalfOf/identityStoreArn", "/arn"] {
        // A principal's id may have the user's name in it.
        ids.extend(text(pointer).filter(|id| !ids.iter().any(|it| it.contains(id.as_str()))));
    }
    let mut names: Vec<_> = text("/accountId").into_iter().chain(text("/invokedBy")).collect();
    if names.is_empty() {
        let name = text("/userName").or_else(|| ids.first().cloned());
        ids.retain(|it| Some(it) != name.as_ref());
        names.extend(name);
    }
    let kind = text("/type");
    if kind.is_none() && names.is_empty() {
        return None;
    }
    names.insert(0, kind.unwrap_or_else(|| "Unknown".to_owned()));
    let ids = if ids.is_empty() { String::new() } else { format!(" ({})", ids.join(", ")) };
    Some(format!("{}{delegate}{ids}", names.join(" ")))
}

/// The same as short as it is clear: `role/dev-ci`, `user/alice`, `root`, and the account where it is not `own`.
pub fn short(caller: &str, own: &str) -> String {
    let caller = caller.split(" (").next().unwrap_or(caller);
    let (arn, delegate) = caller.split_at(caller.find(' ').unwrap_or(caller.len()));
    let Some(Arn { account, resource, .. }) = Arn::parse(arn) else { return caller.to_owned() };
    let name = match resource.split_once('/') {
        Some(("assumed-role", session)) => format!("role/{}", session.split('/').next().unwrap_or(session)),
        Some(("role", path)) => format!("role/{}", path.rsplit('/').next().unwrap_or(path)),
        _ => resource.to_owned(),
    };
    let foreign = if account == own { String::new() } else { format!(" of {account}") };
    format!("{name}{foreign}{delegate}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_caller_is_named_by_the_arn_or_by_all_that_is_known() {
        let arn = "arn:aws:iam::111122223333:user/ann";
        for (identity, name) in [
            (json!({}), None),
            (json!({"type": "", "accountId": ""}), None),
            (json!({"type": "IAMUser", "accountId": "111122223333", "arn": arn}), Some(arn)),
            (
                json!({"arn": arn, "invokedByDelegate": {"accountId": "444455556666"}}),
                Some("arn:aws:iam::111122223333:user/ann for 444455556666"),
            ),
            (json!({"type": "AWSService", "invokedBy": "s3.amazonaws.com"}), Some("AWSService s3.amazonaws.com")),
            (
                json!({"type": "AWSAccount", "accountId": "999922223333", "principalId": "AIDAEXAMPLE"}),
                Some("AWSAccount 999922223333 (AIDAEXAMPLE)"),
            ),
            (
                json!({"type": "AWSAccount", "accountId": "999922223333", "principalId": "AROAEXAMPLE:ann", "userName": "ann"}),
                Some("AWSAccount 999922223333 (AROAEXAMPLE:ann)"),
            ),
            (
                json!({"type": "IdentityCenterUser", "onBehalfOf": {"userId": "u-1", "identityStoreArn": "d-1"}}),
                Some("IdentityCenterUser u-1 (d-1)"),
            ),
            (json!({"type": "SAMLUser", "principalId": "p", "userName": "ann"}), Some("SAMLUser ann (p)")),
            (json!({"userName": "ann"}), Some("Unknown ann")),
            (json!({"type": "Unknown"}), Some("Unknown")),
            // An ARN without an account says too little.
            (
                json!({"type": "WebIdentityUser", "arn": "arn:aws:iam:::user/x", "accountId": "111122223333"}),
                Some("WebIdentityUser 111122223333 (arn:aws:iam:::user/x)"),
            ),
        ] {
            assert_eq!(named(&identity).as_deref(), name, "{identity}");
        }
    }

    #[test]
    fn the_own_account_goes_without_saying() {
        for (caller, name) in [
            ("arn:aws:sts::111122223333:assumed-role/dev-ci/build-4711", "role/dev-ci"),
            ("arn:aws:sts::999922223333:assumed-role/dev-ci/build-4711", "role/dev-ci of 999922223333"),
            ("arn:aws:iam::111122223333:role/teams/dev-ci", "role/dev-ci"),
            ("arn:aws:iam::111122223333:user/ann", "user/ann"),
            ("arn:aws:iam::111122223333:root", "root"),
            ("arn:aws:iam::111122223333:user/ann for 444455556666", "user/ann for 444455556666"),
            ("AWSAccount 999922223333 (AIDAEXAMPLE)", "AWSAccount 999922223333"),
        ] {
            assert_eq!(short(caller, "111122223333"), name, "{caller}");
        }
    }
}
