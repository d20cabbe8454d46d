//! What the baseline leaves to the owner, and what opens or destroys all the same: told, never undone. Pure.
//!
//! The four statements and the two rules can stand untouched beside a statement that lets a stranger in, or a rule that
//! deletes what was uploaded yesterday.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    control::{
        kms_key::KeyPart,
        lifecycle::{Lifecycle, RequiredRule},
        table::Control,
    },
    decide::baseline::Baseline,
    outcome::{
        exposure::{Answer, Exposure, ExposureKind},
        observed::Observation,
    },
    value::{
        names::{AccountId, Arn},
        plain::clean,
        policy::{Policy, Statement, conditions, listed},
        xml::Element,
    },
};

/// Everything that was seen to open or to destroy, the worst first.
pub fn exposures(baseline: &Baseline, seen: &Observation) -> Vec<Exposure> {
    let mut found = Vec::new();
    if let Some(bucket) = &seen.bucket {
        if let Ok(policy) = &bucket.bucket_policy {
            found.extend(foreign_access(Control::BucketPolicy, policy, &baseline.account));
        }
        if let Ok(lifecycle) = &bucket.lifecycle {
            found.extend(early_deletion(lifecycle, &baseline.lifecycle));
        }
    }
    if let Some(Ok(key)) = &seen.kms_key
        && key.knows(KeyPart::Policy)
    {
        found.extend(foreign_access(Control::KmsKey, &key.policy, &baseline.account));
    }
    found.sort_by_key(|it| !it.is_critical());
    found
}

/// Whom a statement lets in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Guest {
    Own,
    /// An account, in words.
    Foreign(String),
    Anybody,
    Service(String),
    CannotTell(String),
}

/// Who outside of the account a policy lets in, by each statement that does.
fn foreign_access(whose: Control, policy: &Policy, account: &AccountId) -> Vec<Exposure> {
    let document = if whose == Control::KmsKey { "key policy" } else { "bucket policy" };
    let exposure = |(index, statement): (usize, &Statement)| {
        let guests = guests(statement, account);
        let foreign: Vec<_> = guests.iter().filter_map(Guest::as_foreign).collect();
        let unknown: Vec<_> = guests.iter().filter_map(Guest::as_unknown).collect();
        let (answer, who) = match (foreign.is_empty(), unknown.is_empty()) {
            (false, _) => (Answer::Foreign, foreign),
            (true, false) => (Answer::CannotTell, unknown),
            (true, true) => return None,
        };
        let who = clean(&who.join(", "));
        let (actions, resources) = (what(statement, "Action"), what(statement, "Resource"));
        let on = if whose == Control::KmsKey { String::new() } else { format!(" on {resources}") };
        Some(Exposure {
            kind: ExposureKind::ForeignAccess,
            control: whose,
            answer: Some(answer),
            id: format!("{whose}/{}/{who}/{actions}{on}", clean(statement.sid().unwrap_or_default())),
            detail: format!("{} of the {document} lets {who} do {actions}{on}", clean(&statement.name(index))),
        })
    };
    let allows = policy.statements.iter().enumerate().filter(|(_, statement)| statement.is_allow());
    allows.filter_map(exposure).collect()
}

fn what(statement: &Statement, element: &str) -> String {
    let all = |element: &str| {
        let listed = statement.0.get(element).map(listed)?;
        Some(listed.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "))
    };
    let but = || Some(format!("everything but {}", all(&format!("Not{element}"))?));
    clean(&all(element).or_else(but).unwrap_or_else(|| "nothing".to_owned()))
}

impl Guest {
    fn as_foreign(&self) -> Option<String> {
        match self {
            Self::Foreign(who) => Some(who.clone()),
            Self::Anybody => Some("anybody".to_owned()),
            Self::Own | Self::Service(_) | Self::CannotTell(_) => None,
        }
    }

    fn as_unknown(&self) -> Option<String> {
        match self {
            Self::Service(name) => Some(format!("{name}, whoever it works for")),
            Self::CannotTell(who) => Some(who.clone()),
            Self::Own | Self::Foreign(_) | Self::Anybody => None,
        }
    }
}

fn guests(statement: &Statement, account: &AccountId) -> BTreeSet<Guest> {
    let named: BTreeSet<Guest> = match (statement.0.get("Principal"), statement.0.get("NotPrincipal")) {
        (_, Some(_)) | (Some(Value::String(_)), _) => BTreeSet::from([Guest::Anybody]),
        (Some(Value::Object(kinds)), _) => {
            let names = |names| listed(names).iter().filter_map(Value::as_str);
            kinds.iter().flat_map(|(kind, all)| names(all).map(|it| guest(kind, it, account))).collect()
        }
        _ => BTreeSet::new(),
    };
    named.into_iter().flat_map(|it| narrowed(statement, it, account)).collect()
}

fn guest(kind: &str, name: &str, account: &AccountId) -> Guest {
    match kind {
        "AWS" if name == "*" => Guest::Anybody,
        // A deleted user or role: it can do nothing any more.
        "AWS" if name.starts_with("AIDA") || name.starts_with("AROA") => Guest::Own,
        "AWS" | "Federated" => match Arn::parse(name).map_or(name, |it| it.account) {
            own if own == account.as_str() => Guest::Own,
            other if LOG_DELIVERY.contains(&other) => Guest::Own,
            other if is_account(other) => Guest::Foreign(format!("account {other}")),
            _ => Guest::CannotTell(name.to_owned()),
        },
        "Service" => Guest::Service(name.to_owned()),
        _ => Guest::CannotTell(format!("{kind} {name}")),
    }
}

fn is_account(text: &str) -> bool {
    text.parse::<AccountId>().is_ok()
}

/// Accounts of AWS's own that deliver the access logs of load balancers.
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html>
const LOG_DELIVERY: [&str; 26] = [
    "127311923021",
    "033677994240",
    "027434742980",
    "797873946194",
    "098369216593",
    "754344448648",
    "589379963580",
    "718504428378",
    "383597477331",
    "600734575887",
    "114774131450",
    "783225319266",
    "582318560864",
    "985666609251",
    "054676820928",
    "156460612806",
    "652711504416",
    "635631232127",
    "009996457667",
    "897822967062",
    "076674570225",
    "507241528517",
    "048591011584",
    "190560391635",
    "638102146993",
    "037604701340",
];

/// What the statement's conditions leave of a guest. All of them hold at once, so the one that says most counts.
fn narrowed(statement: &Statement, guest: Guest, account: &AccountId) -> Vec<Guest> {
    let operators = statement.0.get("Condition").and_then(conditions).unwrap_or_default();
    let mut best = vec![guest.clone()];
    for (operator, keys) in &operators {
        // One that also holds where a value differs, or where the key is absent, narrows nothing.
        let open = operator.contains("Not") || operator.ends_with("IfExists") || operator.starts_with("ForAllValues");
        if open || operator == "Null" {
            continue;
        }
        for (key, values) in keys {
            let left: Vec<Guest> = values.iter().map(|it| through(&guest, key, it, account)).collect();
            if !left.is_empty() && certainty(&left) < certainty(&best) {
                best = left;
            }
        }
    }
    best
}

/// How much is known of guests: the less, the more is said by it.
fn certainty(guests: &[Guest]) -> u8 {
    let one = |it: &Guest| match it {
        Guest::Own => 0,
        Guest::Foreign(_) => 1,
        Guest::CannotTell(_) => 2,
        Guest::Service(_) => 3,
        Guest::Anybody => 4,
    };
    guests.iter().map(one).max().unwrap_or(4)
}

/// What becomes of a guest that must have this value of a condition key.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html>
fn through(guest: &Guest, key: &str, value: &str, account: &AccountId) -> Guest {
    let by_account = || match Arn::parse(value).map_or(value, |it| it.account) {
        own if own == account.as_str() => Guest::Own,
        other if is_account(other) => Guest::Foreign(format!("account {other}")),
        // Whose it is, a bucket's ARN does not say.
        "" => Guest::CannotTell(format!("whoever has {key} {value}")),
        _ => guest.clone(),
    };
    let any = value == "*" || value == "0.0.0.0/0" || value == "::/0";
    match (guest, key) {
        (Guest::Anybody, "aws:principalaccount" | "aws:principalarn" | "kms:calleraccount") => by_account(),
        (Guest::Anybody | Guest::Service(_), "aws:sourceaccount" | "aws:sourceowner" | "aws:sourcearn") => by_account(),
        (Guest::Anybody, "aws:principalisawsservice") if value == "true" => {
            Guest::Service("any service of AWS's".to_owned())
        }
        (
            Guest::Anybody | Guest::Service(_),
            "aws:principalorgid"
            | "aws:principalorgpaths"
            | "aws:sourceorgid"
            | "aws:sourceorgpaths"
            | "aws:sourcevpc"
            | "aws:sourcevpce"
            | "aws:sourceip"
            | "aws:vpcsourceip"
            | "aws:userid"
            | "s3:dataaccesspointaccount"
            | "s3:dataaccesspointarn",
        ) if !any => Guest::CannotTell(format!("whoever has {key} {value}")),
        _ => guest.clone(),
    }
}

/// The rules of the owner's that remove current objects, or old versions earlier than the baseline does.
fn early_deletion(lifecycle: &Lifecycle, required: &[RequiredRule]) -> Vec<Exposure> {
    let ours = |it: &Element| required.iter().any(|ours| ours.is_under_our_id(it));
    let enabled = lifecycle.rules.iter().filter(|it| it.child_text("Status") == Some("Enabled") && !ours(it));
    let keeps = required.iter().find_map(RequiredRule::noncurrent_days).unwrap_or_default();
    enabled.filter_map(|rule| deletion(rule, keeps)).collect()
}

/// `keeps`: for how many days the baseline keeps old versions.
fn deletion(rule: &Element, keeps: u16) -> Option<Exposure> {
    let mut what = Vec::new();
    if let Some(expiration) = rule.child("Expiration") {
        let days =
            expiration.child_text("Days").map(|it| format!("removes current objects after {}", days_of(it.trim())));
        let date = || expiration.child_text("Date").map(|it| format!("removes current objects from {it} on"));
        what.extend(days.or_else(date));
    }
    let noncurrent = rule.child("NoncurrentVersionExpiration").and_then(|it| it.child_text("NoncurrentDays"));
    if let Some(days) = noncurrent.and_then(|it| it.trim().parse::<u32>().ok()).filter(|it| *it < u32::from(keeps)) {
        what.push(format!(
            "removes old versions after {}, and the baseline keeps them for {keeps}",
            days_of(&days.to_string())
        ));
    }
    if what.is_empty() {
        return None;
    }
    let id = clean(rule.child_text("ID").unwrap_or_default());
    let what = clean(&format!("{}{}", what.join(" and "), scope(rule)));
    Some(Exposure {
        kind: ExposureKind::EarlyDeletion,
        control: Control::Lifecycle,
        answer: None,
        detail: format!("lifecycle rule `{id}` {what}"),
        id: format!("lifecycle/{id}/{what}"),
    })
}

/// Which objects a rule is for, in words; empty: all.
fn scope(rule: &Element) -> String {
    let filter = rule.child("Filter").map(|it| it.child("And").unwrap_or(it));
    let prefix = filter.and_then(|it| it.child_text("Prefix")).or_else(|| rule.child_text("Prefix"));
    let narrower = filter.is_some_and(|it| it.children.iter().any(|it| it.name != "Prefix"));
    let below = prefix.filter(|it| !it.is_empty()).map(|it| format!(" below `{it}`")).unwrap_or_default();
    format!("{below}{}", if narrower { ", some of the objects" } else { "" })
}

fn days_of(number: &str) -> String {
    if number == "1" { "1 day".to_owned() } else { format!("{number} days") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::control::lifecycle::{LifecycleDays, required};

    fn told(statement: Value) -> Option<String> {
        let policy = Policy::parse(&json!({"Statement": [statement]}).to_string()).unwrap();
        let found = foreign_access(Control::BucketPolicy, &policy, &"111122223333".parse().unwrap());
        found.first().map(|it| format!("{:?}: {}", it.answer.unwrap(), it.detail))
    }

    fn let_in(principal: Value, condition: Value) -> Option<String> {
        let mut statement = json!({"Sid": "X", "Effect": "Allow", "Principal": principal, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::acme-data/*"});
        if !condition.is_null() {
            statement["Condition"] = condition;
        }
        told(statement).map(|it| {
            it.replace("statement `X` of the bucket policy lets ", "")
                .replace(" do s3:GetObject on arn:aws:s3:::acme-data/*", "")
        })
    }

    #[test]
    fn who_is_let_in_is_foreign_own_or_cannot_be_told() {
        let anybody = json!("*");
        for (principal, condition, expected) in [
            (json!({"AWS": "arn:aws:iam::111122223333:role/app"}), json!(null), None),
            (
                json!({"AWS": ["111122223333", "arn:aws:iam::444455556666:root"]}),
                json!(null),
                Some("Foreign: account 444455556666"),
            ),
            (
                json!({"AWS": "444455556666"}),
                json!({"StringEquals": {"aws:PrincipalOrgID": "o-1"}}),
                Some("Foreign: account 444455556666"),
            ),
            (anybody.clone(), json!(null), Some("Foreign: anybody")),
            (
                json!({"AWS": "*"}),
                json!({"StringNotEquals": {"aws:PrincipalAccount": "111122223333"}}),
                Some("Foreign: anybody"),
            ),
            (
                anybody.clone(),
                json!({"StringEqualsIfExists": {"aws:PrincipalAccount": "111122223333"}}),
                Some("Foreign: anybody"),
            ),
            (anybody.clone(), json!({"StringEquals": {"aws:PrincipalAccount": "111122223333"}}), None),
            (
                anybody.clone(),
                json!({"StringEquals": {"aws:PrincipalAccount": ["111122223333", "777788889999"]}}),
                Some("Foreign: account 777788889999"),
            ),
            (anybody.clone(), json!({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::111122223333:role/app-*"}}), None),
            (
                anybody.clone(),
                json!({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/app"}}),
                Some("Foreign: anybody"),
            ),
            (
                anybody.clone(),
                json!({"StringEquals": {"aws:PrincipalOrgID": "o-1"}}),
                Some("CannotTell: whoever has aws:principalorgid o-1"),
            ),
            (
                anybody.clone(),
                json!({"StringEquals": {"aws:SourceVpce": "vpce-1"}, "StringLike": {"aws:PrincipalArn": "arn:aws:iam::111122223333:*"}}),
                None,
            ),
            (anybody.clone(), json!({"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}), Some("Foreign: anybody")),
            (
                anybody,
                json!({"Bool": {"aws:PrincipalIsAWSService": "true"}}),
                Some("CannotTell: any service of AWS's, whoever it works for"),
            ),
            (
                json!({"Service": "logging.s3.amazonaws.com"}),
                json!(null),
                Some("CannotTell: logging.s3.amazonaws.com, whoever it works for"),
            ),
            (
                json!({"Service": "logging.s3.amazonaws.com"}),
                json!({"StringEquals": {"aws:SourceAccount": "111122223333"}, "ArnLike": {"aws:SourceArn": "arn:aws:s3:::*"}}),
                None,
            ),
            (
                json!({"Service": "sns.amazonaws.com"}),
                json!({"ArnLike": {"aws:SourceArn": "arn:aws:sns:eu-west-2:444455556666:t"}}),
                Some("Foreign: account 444455556666"),
            ),
            (json!({"CanonicalUser": "79a5"}), json!(null), Some("CannotTell: CanonicalUser 79a5")),
            (json!({"AWS": "arn:aws:iam::652711504416:root"}), json!(null), None),
            (json!({"AWS": "AROAEXAMPLEDEAD"}), json!(null), None),
        ] {
            assert_eq!(let_in(principal.clone(), condition.clone()).as_deref(), expected, "{principal} {condition}");
        }
        assert_eq!(told(json!({"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"})), None);
        let but = json!({"Effect": "Allow", "NotPrincipal": {"AWS": "111122223333"}, "NotAction": "s3:DeleteObject", "Resource": "r"});
        assert_eq!(
            told(but).unwrap(),
            "Foreign: statement 1 (without Sid) of the bucket policy lets anybody do everything but s3:DeleteObject on r"
        );
        let forged = json!({"Sid": "a\nWhat to do now\nnothing", "Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "r"});
        assert!(!told(forged).unwrap().contains('\n'));
    }

    #[test]
    fn rules_that_remove_what_is_current_or_what_the_baseline_still_keeps_are_told() {
        let told = |rule: &str| {
            let document = format!(
                "<LifecycleConfiguration><Rule><ID>x</ID><Status>Enabled</Status>{rule}</Rule></LifecycleConfiguration>"
            );
            let lifecycle = Lifecycle::parse(&document, None).unwrap();
            early_deletion(&lifecycle, &required(LifecycleDays::default())).first().map(|it| it.detail.clone())
        };
        let all = "<Filter/>";
        for (rule, expected) in [
            (format!("{all}<Expiration><Days>1</Days></Expiration>"), Some("lifecycle rule `x` removes current objects after 1 day")),
            ("<Prefix>db/</Prefix><Expiration><Date>2026-12-01T00:00:00Z</Date></Expiration>".to_owned(), Some("lifecycle rule `x` removes current objects from 2026-12-01T00:00:00Z on below `db/`")),
            ("<Filter><And><Prefix>db/</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter><NoncurrentVersionExpiration><NoncurrentDays>7</NoncurrentDays></NoncurrentVersionExpiration>".to_owned(), Some("lifecycle rule `x` removes old versions after 7 days, and the baseline keeps them for 30 below `db/`, some of the objects")),
            (format!("{all}<NoncurrentVersionExpiration><NoncurrentDays>30</NoncurrentDays></NoncurrentVersionExpiration>"), None),
            (format!("{all}<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"), None),
            (format!("{all}<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>"), None),
        ] {
            assert_eq!(told(&rule).as_deref(), expected, "{rule}");
        }
        // What stands under an ID of ours is put right, and a rule that is off removes nothing.
        for document in [
            "<LifecycleConfiguration><Rule><ID>expire-noncurrent-30days</ID><Status>Enabled</Status><Filter/><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration></Rule></LifecycleConfiguration>",
            "<LifecycleConfiguration><Rule><ID>x</ID><Status>Disabled</Status><Filter/><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>",
        ] {
            let lifecycle = Lifecycle::parse(document, None).unwrap();
            assert_eq!(early_deletion(&lifecycle, &required(LifecycleDays::default())), []);
        }
    }

    #[test]
    fn the_worst_comes_first_and_an_unread_policy_says_nothing() {
        use crate::{
            control::kms_key::{KeyState, KmsKey, Purpose},
            edge::registry::Registration,
            outcome::observed::Observed,
            value::failure::ApiError,
        };
        let account: AccountId = "111122223333".parse().unwrap();
        let key = "arn:aws:kms:eu-west-2:111122223333:key/k".parse().unwrap();
        let registration = Registration::new("acme-data".parse().unwrap(), account.clone(), key);
        let role = "arn:aws:iam::111122223333:role/guardrail".parse().unwrap();
        let baseline = Baseline::new(&registration, &account, &role).unwrap();
        let policy = |principal: Value| {
            let statement = json!({"Effect": "Allow", "Principal": principal, "Action": "kms:*", "Resource": "*"});
            Policy::parse(&json!({"Statement": [statement]}).to_string()).unwrap()
        };
        let rule = "<LifecycleConfiguration><Rule><ID>x</ID><Status>Enabled</Status><Filter/><Expiration><Days>2</Days></Expiration></Rule></LifecycleConfiguration>";
        let seen = |unread| Observation {
            bucket: Some(Observed {
                bucket_policy: Ok(policy(json!({"Service": "sns.amazonaws.com"}))),
                lifecycle: Ok(Lifecycle::parse(rule, None).unwrap()),
                ..Observed::empty()
            }),
            kms_key: Some(Ok(KmsKey {
                state: KeyState::Enabled,
                purpose: Purpose::SymmetricEncryption,
                rotation: None,
                alias_target: None,
                policy: policy(json!("*")),
                unread,
            })),
            trail: None,
        };
        let ids = |seen: &Observation| exposures(&baseline, seen).into_iter().map(|it| it.id).collect::<Vec<_>>();
        let (rule, key) = ("lifecycle/x/removes current objects after 2 days", "kms-key//anybody/kms:*");
        let service = "bucket-policy//sns.amazonaws.com, whoever it works for/kms:* on *";
        assert_eq!(ids(&seen(Vec::new())), [rule, key, service]);
        let unread = vec![(KeyPart::Policy, ApiError::new("GetKeyPolicy", "denied"))];
        assert_eq!(ids(&seen(unread)), [rule, service]);
        assert!(exposures(&baseline, &Observation::default()).is_empty());
        let told = |seen: &Observation| exposures(&baseline, seen)[1].detail.clone();
        assert_eq!(told(&seen(Vec::new())), "statement 1 (without Sid) of the key policy lets anybody do kms:*");
    }

    #[test]
    fn a_condition_narrows_by_what_must_be_so() {
        let anybody = || json!("*");
        for (principal, condition, expected) in [
            (anybody(), json!({"Null": {"aws:PrincipalAccount": "111122223333"}}), Some("Foreign: anybody")),
            (
                anybody(),
                json!({"ForAllValues:StringEquals": {"aws:PrincipalAccount": "111122223333"}}),
                Some("Foreign: anybody"),
            ),
            (anybody(), json!({"ForAnyValue:StringEquals": {"aws:PrincipalAccount": "111122223333"}}), None),
            (anybody(), json!({"StringEquals": {"kms:CallerAccount": "111122223333"}}), None),
            (anybody(), json!({"StringEquals": {"aws:SourceOwner": "111122223333"}}), None),
            // Both must hold: what says most counts, wherever it stands, and of two that say as much the first.
            (
                anybody(),
                json!({"StringEquals": {"aws:PrincipalAccount": "111122223333", "aws:SourceVpce": "vpce-1"}}),
                None,
            ),
            (
                anybody(),
                json!({"StringEquals": {"aws:PrincipalOrgID": "o-1", "aws:SourceVpce": "vpce-1"}}),
                Some("CannotTell: whoever has aws:principalorgid o-1"),
            ),
            (anybody(), json!({"StringEquals": {"aws:PrincipalAccount": []}}), Some("Foreign: anybody")),
            (
                anybody(),
                json!({"ArnLike": {"aws:SourceArn": "arn:aws:s3:::acme"}}),
                Some("CannotTell: whoever has aws:sourcearn arn:aws:s3:::acme"),
            ),
            (anybody(), json!({"Bool": {"aws:PrincipalIsAWSService": "false"}}), Some("Foreign: anybody")),
            (anybody(), json!({"StringLike": {"aws:SourceVpce": "*"}}), Some("Foreign: anybody")),
            (anybody(), json!({"IpAddress": {"aws:SourceIp": "::/0"}}), Some("Foreign: anybody")),
            (
                anybody(),
                json!({"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}),
                Some("CannotTell: whoever has aws:sourceip 203.0.113.0/24"),
            ),
            (anybody(), json!({"StringEquals": {"aws:PrincipalTag/team": "data"}}), Some("Foreign: anybody")),
            (
                json!({"Service": "sns.amazonaws.com"}),
                json!({"StringEquals": {"aws:PrincipalAccount": "111122223333"}}),
                Some("CannotTell: sns.amazonaws.com, whoever it works for"),
            ),
            (json!({"Federated": "arn:aws:iam::111122223333:saml-provider/x"}), json!(null), None),
            (
                json!({"Federated": "cognito-identity.amazonaws.com"}),
                json!(null),
                Some("CannotTell: cognito-identity.amazonaws.com"),
            ),
            (json!({"AWS": "AIDAEXAMPLEDEAD"}), json!(null), None),
            (
                json!({"AWS": "444455556666", "Service": "sns.amazonaws.com"}),
                json!(null),
                Some("Foreign: account 444455556666"),
            ),
        ] {
            assert_eq!(let_in(principal.clone(), condition.clone()).as_deref(), expected, "{principal} {condition}");
        }
    }

    #[test]
    fn a_rule_says_which_objects_it_is_for() {
        let of = |inner: &str| scope(&Element::parse(&format!("<Rule>{inner}</Rule>")).unwrap());
        for (inner, text) in [
            ("", ""),
            ("<Filter/>", ""),
            ("<Prefix/>", ""),
            ("<Filter><Prefix>a</Prefix></Filter>", " below `a`"),
            ("<Filter><ObjectSizeLessThan>9</ObjectSizeLessThan></Filter>", ", some of the objects"),
        ] {
            assert_eq!(of(inner), text, "{inner}");
        }
    }
}
