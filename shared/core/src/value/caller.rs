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
