//! What S3 refuses to keep, how it gives back what it keeps otherwise than it was written, and which names CloudTrail
//! takes. Pure.
//!
//! The refusals are those that were seen of S3, in its own words.

use std::collections::BTreeSet;

use guardrail_core::value::xml::Element;
use serde_json::{Value, json};

/// An error code of S3 and its message.
pub type Refusal = (&'static str, String);

const ACTIONS: [&str; 5] = [
    "Expiration",
    "Transition",
    "NoncurrentVersionExpiration",
    "NoncurrentVersionTransition",
    "AbortIncompleteMultipartUpload",
];

/// Why S3 would not take this lifecycle configuration. Elements that nobody knows yet are taken.
pub fn lifecycle_refusal(document: &str) -> Result<(), Refusal> {
    let Ok(root) = Element::parse(document) else { return Err(malformed()) };
    let rules: Vec<_> = root.children.iter().filter(|it| it.name == "Rule").collect();
    if rules.is_empty() || rules.len() > 1000 {
        return Err(malformed());
    }
    let (mut old, mut new) = (false, false);
    let mut ids = BTreeSet::new();
    for rule in &rules {
        let (filter, prefix) = (rule.child("Filter"), rule.child("Prefix"));
        if filter.is_none() && prefix.is_none() || !["Enabled", "Disabled"].contains(&text(rule, "Status")) {
            return Err(malformed());
        }
        if prefix.is_some() {
            if new {
                let message =
                    "Base level prefix cannot be used in Lifecycle V2, prefixes are only supported in the Filter.";
                return Err(("InvalidRequest", message.to_owned()));
            }
            old = true;
        }
        if let Some(filter) = filter {
            if old {
                return Err(("InvalidRequest", "Filter element can only be used in Lifecycle V2.".to_owned()));
            }
            new = true;
            filter_refusal(filter, rule.child("AbortIncompleteMultipartUpload").is_some())?;
        }
        if old && has(rule, "NewerNoncurrentVersions") {
            let message = "NewerNoncurrentVersions element can only be used in Lifecycle V2.";
            return Err(("InvalidRequest", message.to_owned()));
        }
        if let Some(id) = rule.child("ID") {
            if id.text.len() > 255 {
                return Err(("InvalidArgument", "ID length should not exceed allowed limit of 255".to_owned()));
            }
            if !ids.insert(&id.text) {
                let message = "Rule ID must be unique. Found same ID for more than one rule";
                return Err(("InvalidArgument", message.to_owned()));
            }
        }
        if !rule.children.iter().any(|it| ACTIONS.contains(&it.name.as_str())) {
            return Err(("InvalidRequest", "At least one action needs to be specified in a rule".to_owned()));
        }
    }
    if old { overlap(&rules) } else { Ok(()) }
}

fn filter_refusal(filter: &Element, aborts: bool) -> Result<(), Refusal> {
    let conditions = &filter.children;
    let too_few = conditions.iter().any(|it| it.name == "And" && it.children.len() < 2);
    if conditions.len() > 1 || too_few {
        return Err(malformed());
    }
    for (element, what) in
        [("Tag", "Tags"), ("ObjectSizeGreaterThan", "Object Size"), ("ObjectSizeLessThan", "Object Size")]
    {
        if aborts && has(filter, element) {
            let message = format!("AbortIncompleteMultipartUpload cannot be specified with {what}.");
            return Err(("InvalidRequest", message));
        }
    }
    Ok(())
}

/// Rules of the old form with the same action must not have one prefix within the other's.
fn overlap(rules: &[&Element]) -> Result<(), Refusal> {
    for (n, one) in rules.iter().enumerate() {
        for other in &rules[n + 1..] {
            let (a, b) = (text(one, "Prefix"), text(other, "Prefix"));
            let shared = ACTIONS.iter().find(|it| one.child(it).is_some() && other.child(it).is_some());
            if let Some(action) = shared.filter(|_| a.starts_with(b) || b.starts_with(a)) {
                let message = format!("Found overlapping prefixes '{a}' and '{b}' for same action type '{action}'");
                return Err(("InvalidRequest", message));
            }
        }
    }
    Ok(())
}

fn text<'a>(element: &'a Element, child: &str) -> &'a str {
    element.child(child).map_or("", |it| &it.text)
}

fn has(element: &Element, name: &str) -> bool {
    element.children.iter().any(|it| it.name == name || has(it, name))
}

fn malformed() -> Refusal {
    let message = "The XML you provided was not well-formed or did not validate against our published schema";
    ("MalformedXML", message.to_owned())
}

/// A policy as S3 gives it back: no lists of one, no booleans, and the lists whose order means nothing in another one.
pub fn policy_kept(document: &str) -> String {
    let Ok(mut policy) = serde_json::from_str::<Value>(document) else { return document.to_owned() };
    let statements = match policy["Statement"].take() {
        Value::Array(all) => all,
        one => vec![one],
    };
    policy["Statement"] = statements.into_iter().map(kept).collect();
    policy.to_string()
}

fn kept(value: Value) -> Value {
    match value {
        Value::Array(mut list) if list.len() == 1 => kept(list.remove(0)),
        Value::Array(list) => list.into_iter().rev().map(kept).collect(),
        Value::Object(object) => object.into_iter().map(|(key, value)| (key, kept(value))).collect(),
        Value::Bool(truth) => json!(truth.to_string()),
        other => other,
    }
}

/// Whether a bucket policy denies everybody this action on this resource; `header`: what the request says.
/// It knows what the guardrail's own statements are made of, and no more.
pub fn denies<'a>(policy: &str, action: &str, resource: &str, header: impl Fn(&str) -> Option<&'a str>) -> bool {
    let policy: Value = serde_json::from_str(policy).unwrap_or_default();
    let list = |value: &Value| match value {
        Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    };
    let matches = |pattern: &Value| match pattern.as_str().unwrap_or_default().strip_suffix('*') {
        Some(start) => resource.starts_with(start),
        None => pattern == resource,
    };
    let holds = |operator: &str, key: &str, wanted: &Value| {
        let is = key.strip_prefix("s3:").and_then(&header);
        match operator {
            "Null" => is.is_none() == (wanted == "true"),
            "StringNotEquals" => is.is_none_or(|it| wanted != it),
            "StringEquals" => is.is_some_and(|it| wanted == it),
            _ => false,
        }
    };
    list(&policy["Statement"]).iter().any(|it| {
        let conditions = it["Condition"].as_object().into_iter().flatten();
        let mut conditions = conditions
            .flat_map(|(operator, keys)| keys.as_object().into_iter().flatten().map(move |it| (operator, it)));
        it["Effect"] == "Deny"
            && it["Principal"] == "*"
            && list(&it["Action"]).contains(&json!(action))
            && list(&it["Resource"]).iter().any(matches)
            && conditions.all(|(operator, (key, wanted))| holds(operator, key, wanted))
    })
}

/// Whether CloudTrail takes this name for a trail.
pub fn is_trail_name(name: &str) -> bool {
    let parts = || name.split(['.', '_', '-']);
    let numbers = parts().filter(|it| it.parse::<u8>().is_ok()).count();
    let is_address = numbers == 4 && parts().count() == 4 && name.split('.').count() == 4;
    (3..=128).contains(&name.len())
        && !is_address
        && parts().all(|it| !it.is_empty() && it.bytes().all(|b| b.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPIRE: &str = "<Status>Enabled</Status><Expiration><Days>1</Days></Expiration>";

    #[track_caller]
    fn check(rules: &[&str], expected: Result<(), &str>) {
        let rules: String = rules.iter().map(|it| format!("<Rule>{it}</Rule>")).collect();
        let refused = lifecycle_refusal(&format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>"));
        let told = refused.map_err(|(code, message)| format!("{code}: {message}"));
        match expected {
            Ok(()) => assert_eq!(told, Ok(())),
            Err(part) => assert!(told.as_ref().is_err_and(|it| it.contains(part)), "{part}: {told:?}"),
        }
    }

    #[test]
    fn lifecycle_configurations_are_refused_as_s3_refuses_them() {
        let old = |prefix: &str| format!("<Prefix>{prefix}</Prefix>{EXPIRE}");
        let new = |filter: &str| format!("<Filter>{filter}</Filter>{EXPIRE}");
        let abort = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>";
        check(&[&old("a/"), &old("b/")], Ok(()));
        check(&[&new("<Prefix>a/</Prefix>"), &new("<Prefix>a/b/</Prefix>"), &new("")], Ok(()));
        check(&[&old("a/"), &new("")], Err("Filter element can only be used in Lifecycle V2."));
        check(&[&new(""), &old("a/")], Err("Base level prefix cannot be used in Lifecycle V2"));
        check(&[&old("a/"), &old("a/b/")], Err("Found overlapping prefixes 'a/' and 'a/b/' for same action type"));
        check(&[&old(""), &old("x")], Err("Found overlapping prefixes"));
        check(&[&old("a/"), &format!("<Prefix>a/</Prefix><Status>Enabled</Status>{abort}")], Ok(()));
        let newer = "<NoncurrentVersionExpiration><NewerNoncurrentVersions>2</NewerNoncurrentVersions></NoncurrentVersionExpiration>";
        check(&[&format!("{}{newer}", old("a/"))], Err("NewerNoncurrentVersions element can only be used"));
        check(&[&format!("{}{newer}", new(""))], Ok(()));
        check(&[&format!("<ID>x</ID>{}", new("")), &format!("<ID>x</ID>{}", new(""))], Err("Rule ID must be unique"));
        check(&[EXPIRE], Err("MalformedXML"));
        check(&["<Filter/><Expiration><Days>1</Days></Expiration>"], Err("MalformedXML"));
        check(&["<Filter/><Status>Enabled</Status>"], Err("At least one action"));
        check(&[&new("<Prefix>a</Prefix><ObjectSizeGreaterThan>1</ObjectSizeGreaterThan>")], Err("MalformedXML"));
        check(&[&new("<And><Prefix>a</Prefix></And>")], Err("MalformedXML"));
        check(&[&format!("{}{abort}", new("<Tag><Key>a</Key><Value>b</Value></Tag>"))], Err("specified with Tags."));
        check(&[], Err("MalformedXML"));
        check(&vec![new("").as_str(); 1001], Err("MalformedXML"));
    }

    #[test]
    fn policies_come_back_in_another_spelling() {
        let written =
            r#"{"Statement":[{"Principal":{"AWS":["a","b"]},"Action":["s3:Get"],"Condition":{"Bool":{"x":[false]}}}]}"#;
        let kept =
            r#"{"Statement":[{"Principal":{"AWS":["b","a"]},"Action":"s3:Get","Condition":{"Bool":{"x":"false"}}}]}"#;
        assert_eq!(policy_kept(written), kept);
    }
}
