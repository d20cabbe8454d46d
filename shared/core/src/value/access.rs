//! What a statement of a policy does to a call of ours, or of a service that works for us: does it apply? Pure.
//!
//! IAM decides with facts of the call that are not all known here. What is not known makes a statement apply *perhaps*.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html>

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use crate::value::{
    names::{Arn, RoleArn},
    policy::{Statement, conditions, listed},
};

/// Whether something holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Truth {
    No,
    /// It depends on what is not known here.
    Perhaps,
    Yes,
}

/// Who makes a call.
#[derive(Clone, Copy, Debug)]
pub enum Caller<'a> {
    /// A session of a role of ours, as Lambda gives it to a function.
    Role(&'a RoleArn),
    /// A service that works for `source`, a resource of `account`.
    Service { name: &'a str, account: &'a str, source: &'a str },
}

/// A call that a statement may be about.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    pub caller: Caller<'a>,
    /// IAM's name of it.
    pub action: &'a str,
    pub resource: &'a str,
    pub now: Timestamp,
}

/// What a condition key can be in a call.
#[derive(Clone, Debug, PartialEq)]
enum Fact {
    Absent,
    Is(String),
    /// It is there, and only AWS knows what it says.
    Some,
}

impl Truth {
    fn and(self, other: Self) -> Self {
        self.min(other)
    }

    fn or(self, other: Self) -> Self {
        self.max(other)
    }

    fn all(all: impl Iterator<Item = Self>) -> Self {
        all.fold(Self::Yes, Self::and)
    }

    fn any(all: impl Iterator<Item = Self>) -> Self {
        all.fold(Self::No, Self::or)
    }
}

impl std::ops::Not for Truth {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Perhaps => Self::Perhaps,
            Self::Yes => Self::No,
        }
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// Whether the statement, whatever its effect, is about this call.
pub fn applies(statement: &Statement, call: Call<'_>) -> Truth {
    let named = |element: &str, text: &str, fold: bool| {
        let fold = |it: &str| if fold { it.to_ascii_lowercase() } else { it.to_owned() };
        let patterns = statement.0.get(element).map(listed)?;
        Some(Truth::any(patterns.iter().map(|it| match it.as_str() {
            Some(pattern) if pattern.contains("${") => Truth::Perhaps,
            Some(pattern) => glob(&fold(pattern), &fold(text)).into(),
            None => Truth::Perhaps,
        })))
    };
    let matches = |element: &str, not_element: &str, text: &str, fold: bool| {
        named(element, text, fold).or_else(|| named(not_element, text, fold).map(|it| !it)).unwrap_or(Truth::No)
    };
    principal_matches(statement, call.caller)
        .and(matches("Action", "NotAction", call.action, true))
        .and(matches("Resource", "NotResource", call.resource, false))
        .and(conditions_hold(statement, call))
}

fn principal_matches(statement: &Statement, caller: Caller<'_>) -> Truth {
    let names = |element: &str| principals(statement, element);
    match names("NotPrincipal") {
        Some(excepted) => {
            let is_excepted = |(kind, name): &(&str, &str)| match caller {
                // AWS wants role, session and account to be named there; it is not said what one of them alone does.
                Caller::Role(role) if *kind == "AWS" && is_account_of(name, role) => Truth::Perhaps,
                _ => is_caller(kind, name, caller).into(),
            };
            !Truth::any(excepted.iter().map(is_excepted))
        }
        None => names("Principal").unwrap_or_default().iter().any(|(kind, name)| is_caller(kind, name, caller)).into(),
    }
}

/// Kind and name of each principal; `None`: the statement has no such element.
fn principals<'a>(statement: &'a Statement, element: &str) -> Option<Vec<(&'a str, &'a str)>> {
    Some(match statement.0.get(element)? {
        Value::String(one) => vec![("AWS", one)],
        Value::Object(kinds) => {
            let named = |(kind, names): (&'a String, &'a Value)| {
                listed(names).iter().filter_map(Value::as_str).map(move |it| (kind.as_str(), it))
            };
            kinds.iter().flat_map(named).collect()
        }
        _ => Vec::new(),
    })
}

fn is_caller(kind: &str, name: &str, caller: Caller<'_>) -> bool {
    match caller {
        Caller::Role(role) => {
            kind == "AWS" && (name == "*" || is_account_of(name, role) || role.is_role_or_session(name))
        }
        Caller::Service { name: service, .. } => match kind {
            "AWS" => name == "*",
            "Service" => name == "*" || name == service,
            _ => false,
        },
    }
}

/// Whether a principal is the account that the role is in.
fn is_account_of(principal: &str, role: &RoleArn) -> bool {
    let account = role.parts().account;
    let root = |it: Arn<'_>| it.service == "iam" && it.account == account && it.resource == "root";
    principal == account || Arn::parse(principal).is_some_and(root)
}

fn conditions_hold(statement: &Statement, call: Call<'_>) -> Truth {
    let Some(condition) = statement.0.get("Condition") else { return Truth::Yes };
    let Some(operators) = conditions(condition) else { return Truth::Perhaps };
    Truth::all(operators.iter().flat_map(|(operator, keys)| {
        keys.iter().map(move |(key, values)| {
            let possible = facts(key, call.caller).into_iter().map(|fact| holds(operator, key, &fact, values, call));
            possible.reduce(|one, other| if one == other { one } else { Truth::Perhaps }).unwrap_or(Truth::Perhaps)
        })
    }))
}

/// The condition keys that a statement leans on, in lower case; `None`: it is not understood.
pub fn condition_keys(statement: &Statement) -> Option<BTreeSet<String>> {
    let Some(condition) = statement.0.get("Condition") else { return Some(BTreeSet::new()) };
    Some(conditions(condition)?.into_values().flat_map(|keys| keys.into_keys()).collect())
}

/// What a condition key may be in a call of this caller.
fn facts(key: &str, caller: Caller<'_>) -> Vec<Fact> {
    let is = |text: &str| vec![Fact::Is(text.to_owned())];
    let absent = || vec![Fact::Absent];
    match (key, caller) {
        ("aws:securetransport", _) => is("true"),
        ("aws:viaawsservice", Caller::Role(_)) => is("false"),
        ("aws:principalarn", Caller::Role(role)) => is(role.as_str()),
        (
            "aws:principalaccount" | "aws:resourceaccount" | "s3:resourceaccount" | "kms:calleraccount",
            Caller::Role(role),
        ) => is(role.parts().account),
        ("aws:principaltype", Caller::Role(_)) => is("AssumedRole"),
        ("aws:principalisawsservice", Caller::Role(_)) => is("false"),
        ("aws:tokenissuetime" | "aws:userid", Caller::Role(_)) => vec![Fact::Some],
        // Lambda has no second factor; whether the key is there at all AWS does not say.
        ("aws:multifactorauthpresent", Caller::Role(_)) => vec![Fact::Absent, Fact::Is("false".to_owned())],
        (
            "aws:username"
            | "aws:multifactorauthage"
            | "aws:principalservicename"
            | "aws:sourcearn"
            | "aws:sourceaccount"
            | "aws:federatedprovider"
            | "aws:calledvia"
            | "aws:calledviafirst"
            | "aws:calledvialast"
            | "kms:viaservice",
            Caller::Role(_),
        ) => absent(),
        ("aws:principalisawsservice", Caller::Service { .. }) => is("true"),
        ("aws:principalservicename", Caller::Service { name, .. }) => is(name),
        ("aws:sourcearn", Caller::Service { source, .. }) => is(source),
        ("aws:sourceaccount" | "aws:resourceaccount", Caller::Service { account, .. }) => is(account),
        (
            "aws:principalarn"
            | "aws:principalaccount"
            | "aws:userid"
            | "aws:username"
            | "aws:principalorgid"
            | "aws:sourceip"
            | "aws:sourcevpc"
            | "aws:sourcevpce"
            | "aws:multifactorauthpresent"
            | "aws:tokenissuetime",
            Caller::Service { .. },
        ) => absent(),
        _ => vec![Fact::Absent, Fact::Some],
    }
}

fn holds(operator: &str, key: &str, fact: &Fact, values: &BTreeSet<String>, call: Call<'_>) -> Truth {
    let (set, operator) = match operator.split_once(':') {
        Some((set, operator)) => (Some(set), operator),
        None => (None, operator),
    };
    if operator == "Null" {
        let wanted = values.iter().all(|it| it == "true");
        return (wanted == (*fact == Fact::Absent)).into();
    }
    let (operator, if_exists) = match operator.strip_suffix("IfExists") {
        Some(operator) => (operator, true),
        None => (operator, false),
    };
    if key == "aws:currenttime" || key == "aws:epochtime" {
        return Truth::any(values.iter().map(|it| holds_from_now_on(operator, it, call.now)));
    }
    let (positive, negated) = match operator {
        "StringNotEquals" => ("StringEquals", true),
        "StringNotEqualsIgnoreCase" => ("StringEqualsIgnoreCase", true),
        "StringNotLike" => ("StringLike", true),
        "ArnNotEquals" => ("ArnEquals", true),
        "ArnNotLike" => ("ArnLike", true),
        "NumericNotEquals" => ("NumericEquals", true),
        "DateNotEquals" => ("DateEquals", true),
        "NotIpAddress" => ("IpAddress", true),
        positive => (positive, false),
    };
    if *fact == Fact::Absent {
        return match set {
            Some("ForAllValues") => Truth::Yes,
            Some(_) => Truth::No,
            None => (if_exists || negated).into(),
        };
    }
    let any = Truth::any(values.iter().map(|it| matches(positive, fact, &resolved(it, call.caller))));
    if negated { !any } else { any }
}

/// A value with those policy variables in it replaced that are known; `${` stays where one is not.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html>
fn resolved(value: &str, caller: Caller<'_>) -> String {
    let mut text = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${") {
        text.push_str(before);
        let Some((name, after)) = after.split_once('}') else { return value.to_owned() };
        match facts(&name.to_ascii_lowercase(), caller).as_slice() {
            [Fact::Is(known)] => text.push_str(known),
            _ => return value.to_owned(),
        }
        rest = after;
    }
    text + rest
}

fn matches(operator: &str, fact: &Fact, value: &str) -> Truth {
    let Fact::Is(known) = fact else {
        let anything = matches!((operator, value), ("StringLike", "*") | ("IpAddress", "0.0.0.0/0" | "::/0"));
        return if anything { Truth::Yes } else { Truth::Perhaps };
    };
    if value.contains("${") {
        return Truth::Perhaps;
    }
    match operator {
        "StringEquals" => (known == value).into(),
        "Bool" | "StringEqualsIgnoreCase" => known.eq_ignore_ascii_case(value).into(),
        "StringLike" => glob(value, known).into(),
        "ArnLike" | "ArnEquals" => arn_like(value, known),
        _ => Truth::Perhaps,
    }
}

/// ARNs are compared part by part: a star never reaches over a colon, but for those of the last part.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html#Conditions_ARN>
fn arn_like(pattern: &str, arn: &str) -> Truth {
    if pattern == "*" {
        return Truth::Yes;
    }
    let parts = |text: &str| text.splitn(6, ':').map(str::to_owned).collect::<Vec<_>>();
    let (patterns, parts) = (parts(pattern), parts(arn));
    // What AWS makes of a pattern that is no ARN is not said.
    if patterns.len() != 6 {
        return Truth::Perhaps;
    }
    (parts.len() == 6 && patterns.iter().zip(&parts).all(|(pattern, part)| glob(pattern, part))).into()
}

/// Whether a condition on the time holds now or will some day.
fn holds_from_now_on(operator: &str, value: &str, now: Timestamp) -> Truth {
    let seconds = || value.parse().ok().and_then(|it| Timestamp::from_second(it).ok());
    let date =
        || value.parse::<jiff::civil::Date>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|it| it.timestamp());
    let Some(time) = value.parse::<Timestamp>().ok().or_else(seconds).or_else(date) else { return Truth::Perhaps };
    match operator {
        "DateGreaterThan" | "DateGreaterThanEquals" | "NumericGreaterThan" | "NumericGreaterThanEquals" => Truth::Yes,
        "DateLessThan" | "DateLessThanEquals" | "NumericLessThan" | "NumericLessThanEquals" => (now < time).into(),
        _ => Truth::Perhaps,
    }
}

/// IAM's wildcards: `*` is any text, `?` any one character.
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            // No match here: let the last star swallow one character more.
            _ => match &mut star {
                None => return false,
                Some((star_p, star_t)) => {
                    *star_t += 1;
                    (p, t) = (*star_p + 1, *star_t);
                }
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ROLE: &str = "arn:aws:iam::111122223333:role/s3-guardrail-remediate";
    const BUCKET: &str = "arn:aws:s3:::acme-data";

    fn put_versioning(changes: Value) -> Truth {
        let mut statement = json!({"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": BUCKET});
        for (key, value) in changes.as_object().unwrap() {
            statement[key] = value.clone();
        }
        statement.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let (role, now) = (ROLE.parse().unwrap(), "2026-11-25T10:00:00Z".parse().unwrap());
        let caller = Caller::Role(&role);
        applies(&Statement(statement), Call { caller, action: "s3:PutBucketVersioning", resource: BUCKET, now })
    }

    #[track_caller]
    fn check(truth: Truth, changes: &[Value]) {
        for it in changes {
            assert_eq!(put_versioning(it.clone()), truth, "{it}");
        }
    }

    fn on(condition: Value) -> Value {
        json!({ "Condition": condition })
    }

    #[test]
    fn a_statement_applies_by_principal_action_and_resource() {
        check(
            Truth::Yes,
            &[
                json!({}),
                json!({"Action": "S3:putbucket*"}),
                json!({"Action": null, "NotAction": ["s3:Get*", "s3:PutBucketPolicy"]}),
                json!({"Resource": "arn:aws:s3:::*"}),
                json!({"Principal": {"AWS": ["111122223333"]}}),
                json!({"Principal": {"AWS": "arn:aws:sts::111122223333:assumed-role/s3-guardrail-remediate/x"}}),
                json!({"Principal": null, "NotPrincipal": {"AWS": "arn:aws:iam::111122223333:user/ann"}}),
            ],
        );
        check(
            Truth::No,
            &[
                json!({"Action": "s3:PutBucketPolicy"}),
                json!({"Resource": format!("{BUCKET}/*")}),
                json!({"Resource": null, "NotResource": "arn:aws:s3:::acme-*"}),
                json!({"Principal": {"AWS": "999922223333"}}),
                json!({"Principal": {"Service": "*"}}),
                json!({"Principal": null, "NotPrincipal": {"AWS": [ROLE]}}),
            ],
        );
        check(
            Truth::Perhaps,
            &[
                json!({"Principal": null, "NotPrincipal": {"AWS": "arn:aws:iam::111122223333:root"}}),
                json!({"Resource": "arn:aws:s3:::${aws:username}"}),
            ],
        );
    }

    #[test]
    fn a_condition_holds_by_what_is_known_of_us() {
        check(
            Truth::Yes,
            &[
                on(json!({"StringEquals": {"aws:ResourceAccount": "${aws:PrincipalAccount}"}})),
                on(json!({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/*guardrail*"}})),
                on(json!({"StringLike": {"aws:PrincipalArn": "*s3-guardrail*"}})),
                on(json!({"StringLike": {"aws:userid": "*"}, "Null": {"aws:SourceArn": true}})),
                on(json!({"StringEquals": {"aws:PrincipalType": "AssumedRole"}})),
                on(json!({"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}})),
                on(json!({"Bool": {"aws:ViaAWSService": false}})),
                on(json!({"StringNotEqualsIfExists": {"aws:PrincipalServiceName": "x.amazonaws.com"}})),
                on(json!({"DateGreaterThan": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}})),
                on(json!({"DateLessThan": {"aws:CurrentTime": "2026-12-01"}})),
                on(json!({"ForAllValues:StringEquals": {"aws:CalledVia": ["x.amazonaws.com"]}})),
            ],
        );
        check(
            Truth::No,
            &[
                on(json!({"StringNotEquals": {"aws:PrincipalArn": [ROLE, "arn:aws:iam::111122223333:role/admin"]}})),
                on(json!({"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::111122223333:role/s3-guardrail-*"}})),
                on(json!({"ArnLike": {"aws:PrincipalArn": "arn:*:iam:*:*:role/x"}})),
                on(json!({"Bool": {"aws:SecureTransport": "false"}})),
                on(json!({"StringEquals": {"aws:PrincipalServiceName": "s3.amazonaws.com"}})),
                on(json!({"DateLessThan": {"aws:CurrentTime": "2026-01-01T00:00:00Z"}})),
                on(json!({"Null": {"aws:PrincipalArn": "true"}})),
                on(json!({"ForAnyValue:StringLike": {"aws:CalledVia": ["*"]}})),
            ],
        );
        check(
            Truth::Perhaps,
            &[
                on(json!({"StringNotEquals": {"aws:SourceVpce": "vpce-1"}})),
                on(json!({"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}})),
                on(json!({"Bool": {"aws:MultiFactorAuthPresent": "false"}})),
                on(json!({"ArnLike": {"aws:PrincipalArn": "*s3-guardrail*"}})),
                on(json!({"StringEquals": {"aws:PrincipalArn": "${aws:PrincipalTag/arn}"}})),
                on(json!({"InventedIn2027": {"aws:PrincipalArn": ROLE}})),
                on(json!({"Bool": "true"})),
            ],
        );
    }

    #[test]
    fn a_services_call_is_known_by_its_source() {
        let trail = "arn:aws:cloudtrail:eu-west-2:111122223333:trail/t";
        let caller = Caller::Service { name: "cloudtrail.amazonaws.com", account: "111122223333", source: trail };
        let now = Timestamp::UNIX_EPOCH;
        let about = |changes: Value| {
            let mut statement = json!({"Effect": "Deny", "Principal": {"Service": "cloudtrail.amazonaws.com"}, "Action": "kms:*", "Resource": "*"});
            for (key, value) in changes.as_object().unwrap() {
                statement[key] = value.clone();
            }
            applies(&Statement(statement), Call { caller, action: "kms:GenerateDataKey", resource: "k", now })
        };
        assert_eq!(about(json!({})), Truth::Yes);
        assert_eq!(about(json!({"Principal": "*"})), Truth::Yes);
        assert_eq!(about(json!({"Condition": {"StringEquals": {"aws:SourceArn": trail}}})), Truth::Yes);
        assert_eq!(about(json!({"Condition": {"StringNotEquals": {"aws:PrincipalArn": "x"}}})), Truth::Yes);
        assert_eq!(about(json!({"Condition": {"StringNotEquals": {"aws:SourceAccount": "111122223333"}}})), Truth::No);
        assert_eq!(about(json!({"Principal": {"Service": "s3.amazonaws.com"}})), Truth::No);
        assert_eq!(about(json!({"Principal": {"AWS": "111122223333"}})), Truth::No);
    }

    proptest::proptest! {
        /// Against another implementation of the same wildcards.
        #[test]
        fn wildcards_match_as_another_matchers_do(pattern in "[ab****?é]{0,6}", text in "[abé]{0,6}") {
            let others = wildmatch::WildMatch::new(&pattern).matches(&text);
            proptest::prop_assert_eq!(glob(&pattern, &text), others);
        }
    }

    #[test]
    fn wildcards_match_as_iams_do() {
        for (pattern, text) in
            [("*", ""), ("a*c", "abbc"), ("a?c", "abc"), ("*b*", "abc"), ("a**", "a"), ("a*b*c", "axbxbxc")]
        {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("a?c", "ac"), ("a*c", "abcd"), ("?", ""), ("a*b", "ac")] {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
        assert!(!glob(&"*a".repeat(2000), &"a".repeat(1999)), "in reasonable time");
    }

    #[test]
    fn who_is_meant_is_said_by_kind_and_name() {
        check(
            Truth::Yes,
            &[
                json!({"Principal": {"AWS": ROLE}}),
                json!({"Principal": "111122223333"}),
                json!({"Principal": {"Service": "s3.amazonaws.com", "AWS": "*"}}),
                json!({"Principal": null, "NotPrincipal": {"Service": "*"}}),
                json!({"Principal": null, "NotPrincipal": {"Federated": "111122223333"}}),
            ],
        );
        check(
            Truth::No,
            &[
                json!({"Principal": {"Federated": "*"}}),
                json!({"Principal": {"AWS": "arn:aws:sts::111122223333:root"}}),
                json!({"Principal": {"AWS": "arn:aws:iam::999922223333:root"}}),
                json!({"Principal": {"AWS": "arn:aws:iam::111122223333:user/root"}}),
                json!({"Principal": 1}),
                json!({"Principal": null}),
            ],
        );
        check(
            Truth::Perhaps,
            &[json!({"Principal": null, "NotPrincipal": {"AWS": "111122223333"}}), json!({"Action": [1]})],
        );
    }

    #[test]
    fn each_operator_and_key_that_is_known_decides() {
        check(
            Truth::Yes,
            &[
                on(json!({"StringEqualsIgnoreCase": {"aws:PrincipalType": "assumedrole"}})),
                on(json!({"Bool": {"aws:PrincipalIsAWSService": "False"}})),
                on(json!({"StringEquals": {"s3:ResourceAccount": "111122223333"}})),
                on(json!({"StringEquals": {"kms:CallerAccount": "111122223333"}})),
                on(
                    json!({"StringEquals": {"aws:PrincipalArn": "arn:aws:iam::${aws:PrincipalAccount}:role/s3-guardrail-remediate"}}),
                ),
                on(json!({"Null": {"aws:TokenIssueTime": "false"}})),
                on(json!({"Null": {"aws:username": "true"}})),
                on(json!({"ArnEquals": {"aws:PrincipalArn": "*"}})),
                on(json!({"NumericGreaterThan": {"aws:EpochTime": 1}})),
                on(json!({"NumericLessThan": {"aws:EpochTime": 4_000_000_000_i64}})),
            ],
        );
        check(
            Truth::No,
            &[
                on(json!({"StringEquals": {"aws:PrincipalType": "assumedrole"}})),
                on(json!({"Bool": {"aws:ViaAWSService": "true"}})),
                on(json!({"Null": {"aws:username": "false"}})),
                on(json!({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::999922223333:role/s3-guardrail-remediate"}})),
                on(json!({"ArnLike": {"aws:PrincipalType": "*:*:*:*:*:*"}})),
                // The moment itself is over.
                on(json!({"DateLessThan": {"aws:CurrentTime": "2026-11-25T10:00:00Z"}})),
            ],
        );
        check(
            Truth::Perhaps,
            &[
                on(json!({"Null": {"aws:SourceVpce": "true"}})),
                on(json!({"StringLike": {"aws:userid": "AROA*"}})),
                on(json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})),
                on(json!({"DateEquals": {"aws:CurrentTime": "2030-01-01"}})),
                on(json!({"DateLessThan": {"aws:CurrentTime": "tomorrow"}})),
            ],
        );
    }

    #[test]
    fn a_service_has_no_account_of_its_own() {
        let trail = "arn:aws:cloudtrail:eu-west-2:111122223333:trail/t";
        let caller = Caller::Service { name: "cloudtrail.amazonaws.com", account: "111122223333", source: trail };
        let about = |changes: Value| {
            let mut statement = json!({"Effect": "Deny", "Principal": "*", "Action": "kms:*", "Resource": "*"});
            statement.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            statement.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            let call = Call { caller, action: "kms:Decrypt", resource: "k", now: Timestamp::UNIX_EPOCH };
            applies(&Statement(statement), call)
        };
        for (changes, truth) in [
            (json!({"Principal": {"AWS": "*"}}), Truth::Yes),
            (json!({"Principal": {"Service": "*"}}), Truth::Yes),
            (json!({"Principal": {"Federated": "*"}}), Truth::No),
            (json!({"Principal": {"AWS": "cloudtrail.amazonaws.com"}}), Truth::No),
            (json!({"Principal": null, "NotPrincipal": {"Service": "cloudtrail.amazonaws.com"}}), Truth::No),
            (json!({"Principal": null, "NotPrincipal": {"Service": "s3.amazonaws.com"}}), Truth::Yes),
            (on(json!({"Bool": {"aws:PrincipalIsAWSService": "true"}})), Truth::Yes),
            (on(json!({"StringEquals": {"aws:PrincipalServiceName": "cloudtrail.amazonaws.com"}})), Truth::Yes),
            (on(json!({"StringEquals": {"aws:ResourceAccount": "111122223333"}})), Truth::Yes),
            (on(json!({"StringEquals": {"aws:PrincipalAccount": "111122223333"}})), Truth::No),
            (on(json!({"Null": {"aws:SourceIp": "true"}})), Truth::Yes),
            (on(json!({"StringEquals": {"aws:PrincipalOrgPaths": "o-1/"}})), Truth::Perhaps),
        ] {
            assert_eq!(about(changes.clone()), truth, "{changes}");
        }
    }

    #[test]
    fn the_keys_of_a_condition_are_known_if_it_is_understood() {
        let keys = |condition: Value| condition_keys(&Statement(condition)).map(|it| Vec::from_iter(it).join(" "));
        assert_eq!(keys(json!({})).as_deref(), Some(""));
        let two = on(json!({"Bool": {"AWS:SecureTransport": "false"}, "StringLike": {"aws:Referer": "x"}}));
        assert_eq!(keys(two).as_deref(), Some("aws:referer aws:securetransport"));
        assert_eq!(keys(on(json!({"Bool": "true"}))), None);
    }
}
