//! Bucket policies: the statements we require, beside whatever else is there. Pure.
//!
//! An explicit Deny cannot be weakened by anything else in a policy, so the control holds exactly when each
//! required statement is present. What counts is what a statement means, not how it is written or named.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::value::{
    json::{Unambiguous, rounded},
    names::Arn,
};

/// No document that AWS hands out is longer: S3 allows 20 KB, KMS 32 KB.
const MAX_DOCUMENT: usize = 128 * 1024;

/// Every Sid that is ours in a guarded bucket's policy, in any variant: a statement under one of them is ours to replace
/// or remove there. Other policies hold statements of these names that are their owners'.
pub const OUR_SIDS: [&str; 5] = [
    "DenyInsecureTransport",
    "DenyMissingEncryptionHeader",
    "DenyNotUsingKMS",
    "DenyWrongKMSKey",
    "DenyKMSWithoutKeyId",
];

/// Letters and digits that are different for different names: what a Sid may hold.
pub fn sid_part(name: &str) -> String {
    let mut part = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() && byte != b'Z' {
            part.push(char::from(byte));
        } else {
            part.push_str(&format!("Z{byte:02x}"));
        }
    }
    part
}

/// One statement, as it stands in the document.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Statement(pub Value);

/// A bucket policy as it stands; empty when the bucket has none.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Everything of the document but its statements: `Version`, `Id`, what AWS may add.
    envelope: Map<String, Value>,
    pub statements: Vec<Statement>,
}

/// The document is not a policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("the policy is not JSON")]
    Json(#[from] serde_json::Error),
    #[error("the policy is not an object with a list of statements")]
    Shape,
    #[error("the policy has {0} bytes, and no policy has more than {MAX_DOCUMENT}")]
    TooLong(usize),
    #[error("the policy has a number ({0}) that is too large to be written as it was; put it in quotes")]
    Number(serde_json::Number),
}

impl Default for Policy {
    fn default() -> Self {
        let mut envelope = Map::new();
        envelope.insert("Version".to_owned(), json!("2012-10-17"));
        Self { envelope, statements: Vec::new() }
    }
}

impl Policy {
    /// Reads a policy document, at most 128 KiB long and 127 deep, with no bare integer past 64 bits.
    pub fn parse(document: &str) -> Result<Self, PolicyError> {
        if document.len() > MAX_DOCUMENT {
            return Err(PolicyError::TooLong(document.len()));
        }
        let Unambiguous(Value::Object(mut envelope)) = serde_json::from_str(document)? else {
            return Err(PolicyError::Shape);
        };
        let statements = match envelope.remove("Statement") {
            Some(Value::Array(all)) => all,
            Some(one @ Value::Object(_)) => vec![one],
            _ => return Err(PolicyError::Shape),
        };
        if !statements.iter().all(Value::is_object) {
            return Err(PolicyError::Shape);
        }
        if let Some(number) = statements.iter().chain(envelope.values()).find_map(rounded) {
            return Err(PolicyError::Number(number.clone()));
        }
        Ok(Self { envelope, statements: statements.into_iter().map(Statement).collect() })
    }

    /// The document, as compact as it can be.
    pub fn document(&self) -> String {
        self.to_json().to_string()
    }

    /// The document as JSON; `null` when there is no statement.
    pub fn to_json(&self) -> Value {
        if self.statements.is_empty() {
            return Value::Null;
        }
        let mut whole = self.envelope.clone();
        whole.insert("Statement".to_owned(), json!(self.statements));
        Value::Object(whole)
    }

    /// The same policy with every required statement present; what is not ours stays as it stands.
    /// Equal to `self` when nothing is missing.
    pub fn requiring(&self, required: &[Statement]) -> Self {
        let mut statements = self.statements.clone();
        let guarded = required.iter().any(Statement::has_our_sid);
        for wanted in required {
            let is_own = |it: &Statement| it.sid() == wanted.sid();
            let exact = statements.iter().position(|it| is_own(it) && it.meaning() == wanted.meaning());
            match exact.or_else(|| statements.iter().position(is_own)) {
                Some(place) => {
                    if exact.is_none() {
                        statements[place] = wanted.clone();
                    }
                    // A second statement under our Sid is a leftover or a forgery.
                    let mut index = 0..;
                    statements.retain(|it| index.next() == Some(place) || !is_own(it));
                }
                // What stands under another Sid of ours goes away again when its turn comes.
                None if statements.iter().any(|it| !(guarded && it.has_our_sid()) && it.covers(wanted)) => {}
                None => statements.push(wanted.clone()),
            }
        }
        statements.retain(|it| !required.iter().any(|wanted| it.is_part_of(wanted)));
        let obsolete = |it: &Statement| it.has_our_sid() && required.iter().all(|wanted| wanted.sid() != it.sid());
        statements.retain(|it| !(guarded && obsolete(it)));
        Self { envelope: self.envelope.clone(), statements }
    }

    /// Whether both say the same, however they are written and in whatever order: S3 gives lists back in another one.
    /// Names count, order does not: a Deny holds wherever it stands.
    pub fn means(&self, other: &Self) -> bool {
        let said = |it: &Self| {
            let statements = it.statements.iter().map(|it| (it.sid().map(str::to_owned), it.meaning()));
            let mut statements: Vec<_> = statements.collect();
            statements.sort();
            let mut envelope = it.envelope.clone();
            // <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_version.html>
            envelope.entry("Version").or_insert_with(|| json!("2008-10-17"));
            (!statements.is_empty()).then_some((statements, envelope))
        };
        said(self) == said(other)
    }

    /// The same, with the statements that `other` has, too, in its spelling.
    pub fn in_words_of(&self, other: &Self) -> Self {
        let same = |it: &Statement| {
            let theirs =
                other.statements.iter().find(|theirs| theirs.sid() == it.sid() && theirs.meaning() == it.meaning());
            theirs.unwrap_or(it).clone()
        };
        Self { envelope: self.envelope.clone(), statements: self.statements.iter().map(same).collect() }
    }

    /// The same policy without principals that no longer exist; S3 refuses a document that names one.
    pub fn without_dead_principals(&self) -> Self {
        let statements = self.statements.iter().filter_map(Statement::without_dead_principals).collect();
        Self { envelope: self.envelope.clone(), statements }
    }
}

impl Policy {
    /// The statements that name a user or role that no longer exists, as people know them.
    pub fn dead_principals(&self) -> Vec<String> {
        self.statements.iter().filter(|it| it.has_dead_principal()).map(Statement::label).collect()
    }
}

impl Statement {
    /// The statement's name, if it has one.
    pub fn sid(&self) -> Option<&str> {
        self.0.get("Sid")?.as_str()
    }

    fn has_our_sid(&self) -> bool {
        self.sid().is_some_and(|it| OUR_SIDS.contains(&it))
    }

    /// Its effect is `Deny`, as IAM wants it spelled.
    pub fn is_deny(&self) -> bool {
        self.0.get("Effect").and_then(Value::as_str) == Some("Deny")
    }

    /// Its effect is `Allow`.
    pub fn is_allow(&self) -> bool {
        self.0.get("Effect").and_then(Value::as_str) == Some("Allow")
    }

    /// The same as `label`, and unambiguous without a Sid. `index`: its place in the document, from 0.
    pub fn name(&self, index: usize) -> String {
        match self.sid() {
            Some(_) => self.label(),
            None => format!("statement {} (without Sid)", index + 1),
        }
    }

    /// What to call this statement to a person.
    pub fn label(&self) -> String {
        self.sid().map_or_else(|| "a statement without Sid".to_owned(), |sid| format!("statement `{sid}`"))
    }

    /// Whether this statement of the owner's denies at least what `wanted` denies, on the same conditions.
    fn covers(&self, wanted: &Statement) -> bool {
        let (mine, theirs) = (self.meaning(), wanted.meaning());
        includes(&mine.actions, &theirs.actions)
            && includes(&mine.resources, &theirs.resources)
            && Meaning { actions: BTreeSet::new(), resources: BTreeSet::new(), ..mine }
                == Meaning { actions: BTreeSet::new(), resources: BTreeSet::new(), ..theirs }
    }

    /// Whether both say the same, whatever their names and spelling.
    pub fn means(&self, other: &Self) -> bool {
        self.meaning() == other.meaning()
    }

    /// What the statement says, whatever its name and spelling.
    fn meaning(&self) -> Meaning {
        let mut meaning = Meaning::default();
        for (element, value) in self.0.as_object().into_iter().flatten() {
            if element != "Sid" && meaning.take(element, value).is_none() {
                meaning.rest.insert(element.clone(), value.to_string());
            }
        }
        meaning
    }

    fn without_dead_principals(&self) -> Option<Self> {
        let mut statement = self.clone();
        for element in ["Principal", "NotPrincipal"] {
            let Some(Value::Object(kinds)) = statement.0.get_mut(element) else { continue };
            let had_some = !kinds.is_empty();
            kinds.retain(|_, value| match value {
                Value::Array(all) => {
                    all.retain(|it| !is_dead_principal(it));
                    !all.is_empty()
                }
                one => !is_dead_principal(one),
            });
            if had_some && kinds.is_empty() {
                // Without its exceptions a Deny would deny everybody, and gone it would deny nobody: it stays, and is named.
                let only_for_the_dead = element == "Principal" || self.0.get("Effect") == Some(&json!("Allow"));
                return (!only_for_the_dead).then(|| self.clone());
            }
        }
        Some(statement)
    }

    fn principals(&self, element: &str) -> Vec<&str> {
        match self.0.get(element) {
            Some(Value::String(one)) => vec![one],
            Some(Value::Object(kinds)) => kinds.values().flat_map(listed).filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// Allows anybody something, as Block Public Access sees it: what BlockPublicPolicy refuses.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html#access-control-block-public-access-policy-status>
    pub fn is_public(&self) -> bool {
        let anybody = self.principals("Principal").contains(&"*") || self.0.get("NotPrincipal").is_some();
        let conditions = self.0.get("Condition").and_then(conditions).unwrap_or_default();
        let narrows = |operator: &str, (key, values): (&String, &BTreeSet<String>)| {
            let operator = operator.trim_start_matches("ForAnyValue:");
            NARROWING_OPERATORS.contains(&operator) && !values.is_empty() && values.iter().all(|it| is_fixed(key, it))
        };
        let narrowed = conditions.iter().any(|(operator, keys)| keys.iter().any(|it| narrows(operator, it)));
        self.is_allow() && anybody && !narrowed
    }

    /// Whether `wanted` says the same for every bucket of the account as this one for one: what earlier versions wrote,
    /// once for each bucket.
    fn is_part_of(&self, wanted: &Self) -> bool {
        const SOURCE: &str = "/Condition/ArnLike/aws:SourceArn";
        // Most statements are told apart by their names alone.
        if !self.sid().unwrap_or_default().starts_with(wanted.sid().unwrap_or_default()) {
            return false;
        }
        let source = |it: &Self| it.0.pointer(SOURCE).and_then(Value::as_str).map(str::to_owned);
        let (Some(one), Some(all)) = (source(self), source(wanted)) else { return false };
        let Some(bucket) = all.strip_suffix('*').and_then(|it| one.strip_prefix(it)) else { return false };
        let sid = format!("{}{}", wanted.sid().unwrap_or_default(), sid_part(bucket));
        let mut widened = self.clone();
        widened.0.pointer_mut(SOURCE).into_iter().for_each(|it| *it = json!(all));
        self.sid() == Some(&sid) && widened.meaning() == wanted.meaning()
    }

    /// Whether it names a user or role that was deleted.
    pub fn has_dead_principal(&self) -> bool {
        ["Principal", "NotPrincipal"].iter().any(|it| self.principals(it).into_iter().any(is_dead_id))
    }
}

/// A statement in a form in which equal meaning is equality.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Meaning {
    effect: String,
    principals: Principals,
    actions: BTreeSet<String>,
    resources: BTreeSet<String>,
    not_principals: Principals,
    not_actions: BTreeSet<String>,
    not_resources: BTreeSet<String>,
    /// Operator → key → values.
    conditions: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    /// What we do not understand, as it is written.
    rest: BTreeMap<String, String>,
}

/// Kind → names.
type Principals = BTreeMap<String, BTreeSet<String>>;

impl Meaning {
    /// Takes in an element of a statement; `None`: we do not understand it.
    fn take(&mut self, element: &str, value: &Value) -> Option<()> {
        let actions = || Some(texts(value)?.iter().map(|it| it.to_ascii_lowercase()).collect());
        match element {
            "Effect" => self.effect = value.as_str()?.to_owned(),
            "Principal" => self.principals = principals(value)?,
            "Action" => self.actions = actions()?,
            "Resource" => self.resources = texts(value)?,
            "NotPrincipal" => self.not_principals = principals(value)?,
            "NotAction" => self.not_actions = actions()?,
            "NotResource" => self.not_resources = texts(value)?,
            "Condition" => self.conditions = conditions(value)?,
            _ => return None,
        }
        Some(())
    }
}

fn includes(mine: &BTreeSet<String>, theirs: &BTreeSet<String>) -> bool {
    theirs.iter().all(|it| mine.contains(it) || mine.contains("*") || (it.starts_with("s3:") && mine.contains("s3:*")))
}

/// The elements of a list; of one that is none, the element.
pub fn listed(value: &Value) -> &[Value] {
    match value {
        Value::Array(all) => all,
        one => std::slice::from_ref(one),
    }
}

fn texts(value: &Value) -> Option<BTreeSet<String>> {
    listed(value).iter().map(|it| it.as_str().map(str::to_owned)).collect()
}

/// `"*"` and `{"AWS": "*"}` are the same in the policy of a resource, and so are an account's id and its root user.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html>
fn principals(value: &Value) -> Option<Principals> {
    let account = |name: String| match Arn::parse(&name) {
        Some(arn) if arn.service == "iam" && arn.resource == "root" => arn.account.to_owned(),
        _ => name,
    };
    let names = |value: &Value| Some(texts(value)?.into_iter().map(account).collect());
    match value {
        Value::String(_) => Some(BTreeMap::from([("AWS".to_owned(), names(value)?)])),
        Value::Object(kinds) => kinds.iter().map(|(kind, value)| Some((kind.clone(), names(value)?))).collect(),
        _ => None,
    }
}

/// Keys are compared without regard to case, as IAM does; `false` and `"false"` are the same.
pub fn conditions(value: &Value) -> Option<BTreeMap<String, BTreeMap<String, BTreeSet<String>>>> {
    let scalar = |it: &Value| match it {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(it.to_string()),
        _ => None,
    };
    let values = |value: &Value| listed(value).iter().map(scalar).collect::<Option<BTreeSet<_>>>();
    let keys = |value: &Value| {
        let given = value.as_object()?;
        let keys = given.iter().map(|(key, value)| Some((key.to_ascii_lowercase(), values(value)?)));
        let keys = keys.collect::<Option<BTreeMap<_, _>>>()?;
        // One key in two spellings: both must hold, and here only one would be left.
        (keys.len() == given.len()).then_some(keys)
    };
    value.as_object()?.iter().map(|(operator, value)| Some((operator.clone(), keys(value)?))).collect()
}

/// With these, a condition lets only the values through that it names.
const NARROWING_OPERATORS: [&str; 6] =
    ["StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike", "IpAddress"];

/// Whether a condition's value names somebody, and so makes a statement for `*` one that is not public. Of what AWS does
/// not say clearly, this says that it does.
fn is_fixed(key: &str, value: &str) -> bool {
    let fixed = |it: &str| !it.is_empty() && !it.contains(['*', '?']) && !it.contains("${");
    match key {
        // A range of addresses may be wide, but not too wide.
        "aws:sourceip" => {
            let (address, bits) = value.split_once('/').unwrap_or((value, "128"));
            let least = if address.contains(':') { 32 } else { 8 };
            bits.parse().is_ok_and(|it: u8| it >= least)
        }
        "aws:userid" => fixed(value.trim_end_matches(":*")),
        "aws:sourcearn" | "aws:principalarn" | "s3:dataaccesspointarn" => {
            fixed(value) || Arn::parse(value).is_some_and(|it| fixed(it.account))
        }
        "aws:principalorgpaths" | "aws:sourceorgpaths" => fixed(value.split('/').next().unwrap_or_default()),
        "aws:sourcevpc"
        | "aws:sourcevpce"
        | "aws:sourceowner"
        | "aws:sourceaccount"
        | "aws:sourceorgid"
        | "aws:principalorgid"
        | "aws:principalaccount"
        | "s3:dataaccesspointaccount"
        | "s3:x-amz-server-side-encryption-aws-kms-key-id" => fixed(value),
        _ => false,
    }
}

/// A deleted user or role reads back as its unique id.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html>
fn is_dead_id(principal: &str) -> bool {
    ["AIDA", "AROA"].iter().any(|prefix| principal.starts_with(prefix))
}

fn is_dead_principal(value: &Value) -> bool {
    value.as_str().is_some_and(is_dead_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    const BUCKET: &str = "arn:aws:s3:::acme-data";
    const ROLE: &str = "arn:aws:iam::111122223333:role/s3-guardrail-remediate-eu-west-2";
    fn policy(statements: &[Value]) -> Policy {
        Policy::parse(&json!({"Version": "2012-10-17", "Statement": statements}).to_string()).unwrap()
    }

    #[test]
    fn a_statement_for_anybody_is_public_unless_a_condition_names_who() {
        let public = |changes: Value| {
            let mut statement = json!({"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": format!("{BUCKET}/*")});
            for (element, value) in changes.as_object().unwrap() {
                statement[element] = value.clone();
            }
            Statement(statement).is_public()
        };
        let on = |operator: &str, key: &str, value: Value| public(json!({"Condition": {operator: {key: value}}}));
        assert!(public(json!({})) && public(json!({"Principal": {"AWS": ["*"]}})));
        assert!(public(json!({"Principal": null, "NotPrincipal": {"AWS": "111122223333"}})));
        for (operator, key, value) in [
            ("StringLike", "aws:Referer", json!("https://example.com/*")),
            ("StringEquals", "aws:SourceVpce", json!(["vpce-1", "*"])),
            ("StringNotEquals", "aws:SourceVpce", json!("vpce-1")),
            ("StringEqualsIfExists", "aws:PrincipalOrgID", json!("o-1")),
            ("StringEquals", "aws:PrincipalOrgID", json!("${aws:PrincipalOrgID}")),
            ("IpAddress", "aws:SourceIp", json!("0.0.0.0/1")),
            ("ArnLike", "aws:SourceArn", json!("arn:aws:s3:::*")),
            ("Bool", "aws:SecureTransport", json!("true")),
        ] {
            assert!(on(operator, key, value.clone()), "{operator} {key} {value}");
        }
        assert!(!public(json!({"Effect": "Deny"})));
        assert!(!public(json!({"Principal": {"AWS": "arn:aws:iam::999922223333:root"}})));
        assert!(!public(json!({"Principal": {"Service": "cloudfront.amazonaws.com"}})));
        for (operator, key, value) in [
            ("StringEquals", "AWS:SourceVpce", json!(["vpce-1", "vpce-2"])),
            ("StringEquals", "aws:PrincipalOrgID", json!("o-1")),
            ("IpAddress", "aws:SourceIp", json!(["203.0.113.0/24", "2001:db8::/32"])),
            ("ArnLike", "aws:SourceArn", json!("arn:aws:cloudfront::111122223333:distribution/*")),
            ("StringLike", "aws:userid", json!("AROAEXAMPLE:*")),
        ] {
            assert!(!on(operator, key, value.clone()), "{operator} {key} {value}");
        }
    }

    #[test]
    fn a_deny_is_not_lost_with_its_dead_exceptions() {
        let statement = |effect: &str, exceptions: Value| json!({"Effect": effect, "NotPrincipal": {"AWS": exceptions}, "Action": "s3:GetObject", "Resource": BUCKET});
        let cleaned = |effect: &str, exceptions: Value| {
            policy(&[statement(effect, exceptions)]).without_dead_principals().statements.pop().map(|it| it.0)
        };
        let all_dead = json!(["AIDAEXAMPLE", "AROAEXAMPLE"]);
        assert_eq!(cleaned("Deny", all_dead.clone()), Some(statement("Deny", all_dead.clone())));
        assert_eq!(cleaned("Deny", json!("AIDAEXAMPLE")), Some(statement("Deny", json!("AIDAEXAMPLE"))));
        assert_eq!(cleaned("Deny", json!(["AIDAEXAMPLE", ROLE])), Some(statement("Deny", json!([ROLE]))));
        assert_eq!(cleaned("Allow", all_dead), None, "it would allow everybody");
    }

    #[test]
    fn policies_are_the_same_by_what_they_say() {
        let parsed = |text: &str| Policy::parse(text).unwrap();
        let one = r#"{"Version":"2008-10-17","Statement":[
            {"Sid":"A","Effect":"Allow","Principal":{"AWS":["111122223333","arn:aws:iam::111122223333:role/r"]},"Action":["s3:Get*","s3:List*"],"Resource":["a","b"]},
            {"Effect":"Deny","NotPrincipal":{"AWS":["x","y"]},"NotAction":["s3:A","s3:B"],"NotResource":["a","b"],"Condition":{"Bool":{"aws:SecureTransport":[false]}}}]}"#;
        let other = r#"{"Statement":[
            {"NotPrincipal":{"AWS":["y","x"]},"Effect":"Deny","NotAction":["s3:b","s3:a"],"NotResource":["b","a"],"Condition":{"Bool":{"AWS:SecureTransport":"false"}}},
            {"Sid":"A","Effect":"Allow","Principal":{"AWS":["arn:aws:iam::111122223333:role/r","arn:aws:iam::111122223333:root"]},"Action":["s3:List*","s3:Get*"],"Resource":["b","a"]}]}"#;
        assert!(parsed(one).means(&parsed(other)) && parsed(one) != parsed(other));
        let respelled = parsed(other).in_words_of(&parsed(one)).statements;
        assert_eq!(respelled, [1, 0].map(|it| parsed(one).statements[it].clone()));
        for (was, is) in [
            ("\"A\"", "\"B\""),
            ("2008", "2012"),
            ("[\"a\",\"b\"]", "[\"a\"]"),
            ("Deny", "Allow"),
            ("NotAction", "Action"),
            ("s3:A", "s3:C"),
            ("\"x\"", "\"z\""),
            ("false", "true"),
        ] {
            assert!(!parsed(one).means(&parsed(&one.replacen(was, is, 1))), "{was}");
        }
        let twice = Policy { statements: [parsed(one).statements, parsed(one).statements].concat(), ..parsed(one) };
        assert!(!parsed(one).means(&twice));
        assert!(Policy::default().means(&Policy { envelope: Map::new(), statements: Vec::new() }));
        assert!(!Policy::default().means(&parsed(one)));
    }

    #[test]
    fn numbers_are_written_as_they_were_or_refused() {
        let with = |number: &str| {
            let text = format!(
                r#"{{"Statement":[{{"Effect":"Deny","Condition":{{"NumericLessThan":{{"s3:TlsVersion":{number}}}}}}}]}}"#
            );
            (Policy::parse(&text).map(|it| it.document()).ok(), text)
        };
        for number in ["1.2", "0", "-7", "18446744073709551615", "0.30000000000000004", "[1.2,3]"] {
            let (written, text) = with(number);
            assert_eq!(written, Some(text));
        }
        for number in ["18446744073709551616", "-66666666666666666666", "1e300", "[1.2,18446744073709551616]"] {
            assert_eq!(with(number).0, None, "{number}");
        }
    }

    #[test]
    fn what_is_not_a_policy_is_refused() {
        for bad in
            ["", "[]", "{}", "{\"Statement\":1}", "{\"Statement\":[1]}", "{\"Statement\":[{}]", &"[".repeat(100_000)]
        {
            assert!(Policy::parse(bad).is_err(), "{}", &bad[..bad.len().min(20)]);
        }
    }

    #[test]
    fn names_that_differ_have_sids_that_differ() {
        for (name, part) in [("acme1", "acme1"), ("a-b", "aZ2db"), ("a.b", "aZ2eb"), ("Z", "Z5a"), ("aZ2db", "aZ5a2db")]
        {
            assert_eq!(sid_part(name), part);
        }
    }

    #[test]
    fn a_document_may_be_as_long_as_any_of_awss_and_no_longer() {
        let of_length = |bytes: usize| {
            let document = r#"{"Statement":[]}"#;
            Policy::parse(&format!("{document}{}", " ".repeat(bytes - document.len())))
        };
        assert!(of_length(131_072).is_ok());
        assert!(matches!(of_length(131_073), Err(PolicyError::TooLong(131_073))));
    }

    #[test]
    fn a_condition_names_somebody_by_a_value_that_is_one() {
        for (key, value, is_one) in [
            ("aws:sourceip", "203.0.113.7", true),
            ("aws:sourceip", "10.0.0.0/8", true),
            ("aws:sourceip", "10.0.0.0/7", false),
            ("aws:sourceip", "2001:db8::/32", true),
            ("aws:sourceip", "2001:db8::/31", false),
            ("aws:sourceip", "10.0.0.0/x", false),
            ("aws:userid", "AIDAEXAMPLE", true),
            ("aws:userid", "AROAEXAMPLE:*", true),
            ("aws:userid", "*", false),
            ("aws:userid", "A*:*", false),
            ("aws:principalarn", "arn:aws:iam::111122223333:role/r", true),
            ("aws:principalarn", "arn:aws:iam::111122223333:role/*", true),
            ("aws:principalarn", "arn:aws:iam::*:role/r", false),
            ("aws:sourcearn", "arn:aws:s3:::acme", true),
            ("aws:sourcearn", "arn:aws:s3:::acme*", false),
            ("s3:dataaccesspointarn", "arn:aws:s3:eu-west-2:111122223333:accesspoint/*", true),
            ("aws:principalorgpaths", "o-1/r-1/*", true),
            ("aws:sourceorgpaths", "*/r-1/", false),
            ("aws:sourcevpc", "vpc-1", true),
            ("aws:sourcevpce", "vpce-?", false),
            ("aws:sourceowner", "111122223333", true),
            ("aws:sourceaccount", "${aws:PrincipalAccount}", false),
            ("aws:principalorgid", "", false),
            ("aws:principalaccount", "111122223333", true),
            ("aws:principaltag/team", "data", false),
        ] {
            assert_eq!(is_fixed(key, value), is_one, "{key} {value}");
        }
    }

    #[test]
    fn an_owners_deny_is_enough_where_it_denies_all_of_ours() {
        let statement = |changes: Value| {
            let mut statement = json!({"Sid": "X", "Effect": "Deny", "Principal": "*", "Action": ["s3:PutObject", "S3:GetObject"], "Resource": ["a", "b"]});
            statement.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            Statement(statement)
        };
        let wanted = statement(json!({"Sid": "Y"}));
        for (changes, covers) in [
            (json!({}), true),
            (json!({"Action": "*"}), true),
            (json!({"Action": "s3:*"}), true),
            (json!({"Action": "kms:*"}), false),
            (json!({"Action": "s3:PutObject"}), false),
            (json!({"Resource": "*"}), true),
            (json!({"Resource": ["a", "b", "c"]}), true),
            (json!({"Resource": ["a", "c"]}), false),
            (json!({"Resource": "s3:*"}), false),
            (json!({"Effect": "Allow"}), false),
            (json!({"Principal": {"AWS": "111122223333"}}), false),
            (json!({"Condition": {"Bool": {"aws:SecureTransport": "false"}}}), false),
        ] {
            assert_eq!(statement(changes.clone()).covers(&wanted), covers, "{changes}");
        }
        let of_kms = statement(json!({"Action": "kms:Decrypt"}));
        assert!(
            !statement(json!({"Action": "s3:*"})).covers(&of_kms) && statement(json!({"Action": "*"})).covers(&of_kms)
        );
    }

    #[test]
    fn an_account_is_its_root_user_and_nobody_else_of_it() {
        let of = |principal: Value| Statement(json!({"Effect": "Allow", "Principal": principal, "Action": "a"}));
        let account = of(json!({"AWS": "111122223333"}));
        for (principal, same) in [
            (json!({"AWS": ["111122223333"]}), true),
            (json!("111122223333"), true),
            (json!({"AWS": "arn:aws:iam::111122223333:root"}), true),
            (json!({"AWS": "arn:aws:iam::111122223333:user/ann"}), false),
            (json!({"AWS": "arn:aws:sts::111122223333:root"}), false),
            (json!({"Federated": "111122223333"}), false),
            (json!(1), false),
        ] {
            assert_eq!(of(principal.clone()).means(&account), same, "{principal}");
        }
    }

    #[test]
    fn a_statement_for_each_bucket_goes_once_there_is_one_for_all() {
        let statement = |sid: &str, source: &str| json!({"Sid": sid, "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "kms:GenerateDataKey", "Resource": "*", "Condition": {"ArnLike": {"aws:SourceArn": source}}});
        let all = statement("Inventory", "arn:aws:s3:::*");
        let left = |one: Value| policy(&[one]).requiring(&[Statement(all.clone())]).statements.len() - 1;
        assert_eq!(left(statement("InventoryaZ2db", "arn:aws:s3:::a-b")), 0);
        assert_eq!(left(statement("InventoryaZ2db", "arn:aws:s3:::other")), 1, "another bucket's");
        assert_eq!(left(statement("Theirs", "arn:aws:s3:::a-b")), 1);
        assert_eq!(left(statement("InventoryaZ2db", "arn:aws:sns:::a-b")), 1);
        let mut wider = statement("InventoryaZ2db", "arn:aws:s3:::a-b");
        wider["Action"] = json!("kms:*");
        assert_eq!(left(wider), 1, "it says something else");
    }

    #[test]
    fn a_statement_without_a_name_is_called_by_its_place() {
        let (named, unnamed) = (Statement(json!({"Sid": "A"})), Statement(json!({})));
        assert_eq!((named.name(0).as_str(), unnamed.name(0).as_str()), ("statement `A`", "statement 1 (without Sid)"));
        assert_eq!(unnamed.label(), "a statement without Sid");
    }

    #[test]
    fn only_the_same_statement_is_respelled() {
        let policy = |statements: Value| Policy::parse(&json!({"Statement": statements}).to_string()).unwrap();
        let statement = |sid: &str, action: Value| json!({"Sid": sid, "Effect": "Deny", "Principal": "*", "Action": action, "Resource": "*"});
        let one = policy(json!([statement("A", json!("s3:GetObject"))]));
        for (sid, action, respelled) in [
            ("A", json!(["s3:GetObject"]), true),
            ("B", json!(["s3:GetObject"]), false),
            ("A", json!("s3:PutObject"), false),
        ] {
            let other = policy(json!([statement(sid, action)]));
            let expected = if respelled { &other } else { &one };
            assert_eq!(one.in_words_of(&other).statements, expected.statements, "{sid}");
        }
    }
}
