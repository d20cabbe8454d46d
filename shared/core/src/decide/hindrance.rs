//! What in a policy would keep the guardrail from its work, though every required statement is there. Pure.
//!
//! Whoever may change a policy can add a statement beside ours that denies us the restore of tomorrow. It is told while
//! nothing has drifted yet, because afterwards it is too late.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::{
    control::{
        kms_key::{KeyPart, RequiredKey, Served},
        table::Control,
    },
    decide::baseline::Baseline,
    outcome::{
        hindrance::{Document, Hindrance},
        observed::Observation,
    },
    value::{
        access::{self, Call, Caller, Truth, applies},
        names::RoleArn,
        policy::{Policy, Statement},
    },
};

/// What stands in the way in the policies that were seen, as they will be once what is ours in them is restored. What is
/// certain comes first.
pub fn hindrances(baseline: &Baseline, seen: &Observation, now: Timestamp) -> Vec<Hindrance> {
    let mut found = Vec::new();
    if let Some(Ok(policy)) = seen.bucket.as_ref().map(|it| &it.bucket_policy) {
        found.extend(in_bucket_policy(&policy.requiring(&baseline.policy), &baseline.bucket_arn, &baseline.role, now));
    }
    if let (Some(Ok(key)), Some(required)) = (&seen.kms_key, &baseline.kms_key)
        && key.knows(KeyPart::Policy)
    {
        let policy = key.policy.requiring(&required.statements);
        found.extend(in_key_policy(&policy, required, &baseline.role, now));
    }
    found.sort_by_key(|it| !it.certain);
    found
}

fn in_bucket_policy(policy: &Policy, bucket: &str, role: &RoleArn, now: Timestamp) -> Vec<Hindrance> {
    let actions: Vec<_> = Control::OF_BUCKET.iter().flat_map(|it| it.vocabulary().calls).map(|it| it.iam).collect();
    let call = |action| Call { caller: Caller::Role(role), action, resource: bucket, now };
    denials(policy, &actions, Some("s3:GetBucketPolicy"), call, Document::BucketPolicy, None)
}

fn in_key_policy(policy: &Policy, required: &RequiredKey, role: &RoleArn, now: Timestamp) -> Vec<Hindrance> {
    const SERVES: [(&str, &[&str]); 2] = [
        ("cloudtrail.amazonaws.com", &["kms:GenerateDataKey", "kms:DescribeKey", "kms:Decrypt"]),
        ("s3.amazonaws.com", &["kms:GenerateDataKey"]),
    ];
    let key = required.arn.as_str();
    let actions: Vec<_> = Control::KmsKey.vocabulary().calls.iter().map(|it| it.iam).collect();
    let call = |action| Call { caller: Caller::Role(role), action, resource: key, now };
    let mut found = denials(policy, &actions, Some("kms:GetKeyPolicy"), call, Document::KeyPolicy, None);
    found.extend(unallowed(policy, &actions, call));
    for (name, actions) in SERVES {
        let source = |it: &'_ Served| match name.starts_with("s3.") {
            true => Some(it.bucket_arn.clone()),
            false => it.trail.as_ref().map(ToString::to_string),
        };
        for source in required.serves.iter().filter_map(source).collect::<BTreeSet<_>>() {
            let caller = Caller::Service { name, account: role.parts().account, source: &source };
            let call = |action| Call { caller, action, resource: key, now };
            for hindrance in denials(policy, actions, None, call, Document::KeyPolicy, Some(name)) {
                if !found.contains(&hindrance) {
                    found.push(hindrance);
                }
            }
        }
    }
    found
}

/// The statements that deny some of the actions. `read`: how the policy was read a moment ago.
fn denials<'a>(
    policy: &Policy,
    actions: &[&'static str],
    read: Option<&'static str>,
    call: impl Fn(&'static str) -> Call<'a>,
    document: Document,
    service: Option<&'static str>,
) -> Vec<Hindrance> {
    let denies = policy.statements.iter().enumerate().filter(|(_, statement)| statement.is_deny());
    let hindrance = |(index, statement): (usize, &Statement)| {
        // It would have denied the read, too, were its conditions met.
        let unmet =
            read.is_some_and(|it| applies(statement, call(it)) == Truth::Perhaps) && is_about_the_caller(statement);
        let that =
            |truth| actions.iter().copied().filter(|it| applies(statement, call(it)) == truth).collect::<Vec<_>>();
        let (surely, perhaps) = (that(Truth::Yes), that(Truth::Perhaps));
        let certain = !surely.is_empty();
        let actions = if certain { surely } else { perhaps };
        let found = certain || !actions.is_empty() && !unmet;
        let named = statement.name(index);
        let statement = Some(statement.sid().map_or_else(|| named.clone(), str::to_owned));
        found.then_some(Hindrance { r#in: document, statement, named: Some(named), actions, service, certain })
    };
    denies.filter_map(hindrance).collect()
}

/// Whether all its conditions are about who calls and from where, which is the same for a read and for a write.
fn is_about_the_caller(statement: &Statement) -> bool {
    const CHANGING: [&str; 4] = ["aws:currenttime", "aws:epochtime", "aws:useragent", "aws:referer"];
    let keys = access::condition_keys(statement);
    keys.is_some_and(|keys| keys.iter().all(|it| it.starts_with("aws:") && !CHANGING.contains(&it.as_str())))
}

/// A key decides by its policy alone: what no statement of it allows, no policy of IAM can.
/// <https://docs.aws.amazon.com/kms/latest/developerguide/key-policies.html>
fn unallowed<'a>(
    policy: &Policy,
    actions: &[&'static str],
    call: impl Fn(&'static str) -> Call<'a>,
) -> Option<Hindrance> {
    let allowed = |action| {
        let allows = policy.statements.iter().filter(|it| it.is_allow());
        allows.map(|it| applies(it, call(action))).max().unwrap_or(Truth::No)
    };
    let that = |truth| actions.iter().copied().filter(|it| allowed(it) == truth).collect::<Vec<_>>();
    let (never, perhaps) = (that(Truth::No), that(Truth::Perhaps));
    let certain = !never.is_empty();
    let actions = if certain { never } else { perhaps };
    let found = Hindrance { r#in: Document::KeyPolicy, statement: None, named: None, actions, service: None, certain };
    (!found.actions.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::control::kms_key::{Duty, service_statements};

    const ROLE: &str = "arn:aws:iam::111122223333:role/s3-guardrail-remediate-eu-west-2";
    const BUCKET: &str = "arn:aws:s3:::acme-data";
    const KEY: &str = "arn:aws:kms:eu-west-2:111122223333:key/k";
    const TRAIL: &str = "arn:aws:cloudtrail:eu-west-2:111122223333:trail/t";

    fn policy(statements: &Value) -> Policy {
        Policy::parse(&json!({"Version": "2012-10-17", "Statement": statements}).to_string()).unwrap()
    }

    fn in_bucket(statement: &Value) -> Vec<String> {
        let found = in_bucket_policy(&policy(statement), BUCKET, &ROLE.parse().unwrap(), Timestamp::UNIX_EPOCH);
        found.iter().map(ToString::to_string).collect()
    }

    fn in_key(more: &[Value]) -> Vec<String> {
        let account = "111122223333".parse().unwrap();
        let root = json!({"Sid": "Account", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"}, "Action": "kms:*", "Resource": "*"});
        let required = service_statements("aws", &account, Some(&TRAIL.parse().unwrap()));
        let whole = policy(&json!([&[root], more].concat())).requiring(&required);
        in_key_whole(&whole)
    }

    fn in_key_whole(policy: &Policy) -> Vec<String> {
        let role = ROLE.parse().unwrap();
        let serves = Served { bucket_arn: BUCKET.to_owned(), trail: TRAIL.parse().ok() };
        let required = RequiredKey {
            arn: KEY.parse().unwrap(),
            duty: Duty::Encrypt,
            alias: None,
            statements: Vec::new(),
            // Twice: what stands in the way of both is told once.
            serves: vec![serves.clone(), serves],
        };
        let found = in_key_policy(policy, &required, &role, Timestamp::UNIX_EPOCH);
        found.iter().map(ToString::to_string).collect()
    }

    fn deny(more: Value) -> Value {
        let mut statement = json!({"Sid": "Quiet", "Effect": "Deny", "Principal": "*", "Resource": BUCKET});
        for (key, value) in more.as_object().unwrap() {
            statement[key] = value.clone();
        }
        statement
    }

    #[test]
    fn a_denied_restore_is_found_before_it_is_needed() {
        let told = "the bucket policy: statement `Quiet` denies the guardrail's role s3:PutBucketVersioning";
        assert_eq!(in_bucket(&deny(json!({"Principal": {"AWS": ROLE}, "Action": "s3:PutBucketVersioning"}))), [told]);
        let many = in_bucket(&deny(json!({"Action": "s3:Put*", "Resource": "*"})));
        assert!(many[0].contains("s3:PutBucketAcl") && many[0].contains("s3:PutLifecycleConfiguration"), "{many:?}");
        assert_eq!(in_bucket(&deny(json!({"NotAction": ["s3:*Object*", "s3:List*"]}))).len(), 1);
        let unnamed = json!({"Effect": "Deny", "NotPrincipal": {"AWS": "arn:aws:iam::111122223333:user/m"}, "Action": "s3:GetEncryptionConfiguration", "Resource": BUCKET});
        assert_eq!(
            in_bucket(&unnamed),
            ["the bucket policy: statement 1 (without Sid) denies the guardrail's role s3:GetEncryptionConfiguration"]
        );
    }

    #[test]
    fn what_owners_deny_others_is_no_hindrance() {
        let unless_we = json!({"ArnNotLike": {"aws:PrincipalArn": ["arn:aws:iam::111122223333:role/s3-guardrail-*", "arn:aws:iam::111122223333:role/admin"]}});
        for owners in [
            json!({"Action": "s3:*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}),
            json!({"Action": "s3:Put*", "Condition": unless_we}),
            json!({"Principal": {"AWS": "arn:aws:iam::111122223333:user/ann"}, "Action": "s3:*"}),
            json!({"Action": ["s3:PutObject", "s3:DeleteObject*"], "Resource": format!("{BUCKET}/*")}),
            json!({"Action": "s3:DeleteBucket"}),
            // A perimeter: had it denied us, the policy could not have been read.
            json!({"Action": "s3:*", "Condition": {"StringNotEqualsIfExists": {"aws:SourceVpc": "vpc-1"}, "BoolIfExists": {"aws:PrincipalIsAWSService": "false"}}}),
            json!({"Effect": "Allow", "Action": "s3:*", "Principal": {"AWS": ROLE}}),
        ] {
            assert_eq!(in_bucket(&deny(owners.clone())), Vec::<String>::new(), "{owners}");
        }
    }

    #[test]
    fn what_cannot_be_judged_is_said_to_be_so() {
        let writes_only =
            json!({"Action": "s3:PutBucketPolicy", "Condition": {"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}}});
        let told = in_bucket(&deny(writes_only));
        assert!(told[0].contains("may deny the guardrail's role s3:PutBucketPolicy; that depends on"), "{told:?}");
        // This one tells a write from a read.
        let header = json!({"Action": "s3:*", "Condition": {"StringEquals": {"s3:x-amz-acl": "private"}}});
        assert_eq!(in_bucket(&deny(header)).len(), 1);
    }

    #[test]
    fn a_key_must_let_us_and_its_services_work() {
        let on_key = |more: Value| {
            deny(json!({"Resource": "*"}))
                .as_object()
                .unwrap()
                .clone()
                .into_iter()
                .chain(more.as_object().unwrap().clone())
                .collect::<Value>()
        };
        assert_eq!(in_key(&[]), Vec::<String>::new());
        let rescue = json!({"Action": ["kms:CancelKeyDeletion", "kms:ReEncrypt*"]});
        assert_eq!(
            in_key(&[on_key(rescue)]),
            ["the key policy: statement `Quiet` denies the guardrail's role kms:CancelKeyDeletion"]
        );
        let blind = json!({"Principal": {"Service": "cloudtrail.amazonaws.com"}, "Action": "kms:Generate*"});
        assert_eq!(
            in_key(&[on_key(blind)]),
            ["the key policy: statement `Quiet` denies cloudtrail.amazonaws.com kms:GenerateDataKey"]
        );
        let reports = json!({"Action": "kms:GenerateDataKey", "Condition": {"StringEquals": {"aws:PrincipalServiceName": "s3.amazonaws.com"}}});
        assert_eq!(
            in_key(&[on_key(reports)]),
            ["the key policy: statement `Quiet` denies s3.amazonaws.com kms:GenerateDataKey"]
        );
        let use_of_people = json!({"Principal": {"AWS": "arn:aws:iam::999922223333:root"}, "Action": "kms:*"});
        assert_eq!(in_key(&[on_key(use_of_people)]), Vec::<String>::new());
    }

    #[test]
    fn a_key_policy_without_the_account_hinders_by_what_it_lacks() {
        let admin = json!({"Sid": "Admin", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:role/admin"}, "Action": "kms:*", "Resource": "*"});
        let ours = json!({"Sid": "Guardrail", "Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": ["kms:Describe*", "kms:Get*", "kms:EnableKey*", "kms:PutKeyPolicy"], "Resource": "*"});
        assert_eq!(
            in_key_whole(&policy(&json!([admin, ours]))),
            [
                "the key policy: no statement allows the guardrail's role kms:CancelKeyDeletion, kms:CreateAlias, kms:UpdateAlias"
            ]
        );
    }

    #[test]
    fn what_is_certain_comes_first_and_what_is_not_known_hinders_nothing() {
        use crate::{
            control::kms_key::{KeyState, KmsKey, Purpose},
            edge::registry::Registration,
            outcome::observed::Observed,
            value::failure::ApiError,
        };
        let account = "111122223333".parse().unwrap();
        let registration = Registration::new("acme-data".parse().unwrap(), account, KEY.parse().unwrap());
        let baseline = Baseline::new(&registration, &registration.account, &ROLE.parse().unwrap()).unwrap();
        let perhaps = deny(
            json!({"Action": "s3:PutBucketPolicy", "Condition": {"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}}}),
        );
        let bare_key = |unread| KmsKey {
            state: KeyState::Enabled,
            purpose: Purpose::SymmetricEncryption,
            rotation: None,
            alias_target: None,
            policy: Policy::default(),
            unread,
        };
        let found = |kms_key| {
            let bucket = Observed { bucket_policy: Ok(policy(&perhaps)), ..Observed::empty() };
            let seen = Observation { bucket: Some(bucket), kms_key, trail: None };
            let found = hindrances(&baseline, &seen, Timestamp::UNIX_EPOCH);
            found.iter().map(|it| (it.r#in, it.certain)).collect::<Vec<_>>()
        };
        let (in_bucket, in_key) = ((Document::BucketPolicy, false), (Document::KeyPolicy, true));
        assert_eq!(found(Some(Ok(bare_key(Vec::new())))), [in_key, in_bucket]);
        let unread = vec![(KeyPart::Policy, ApiError::new("GetKeyPolicy", "denied"))];
        assert_eq!(found(Some(Ok(bare_key(unread)))), [in_bucket]);
        assert_eq!(found(None), [in_bucket]);
        assert!(hindrances(&baseline, &Observation::default(), Timestamp::UNIX_EPOCH).is_empty());
        let others = Baseline { kms_key: None, ..baseline };
        let seen = Observation { kms_key: Some(Ok(bare_key(Vec::new()))), ..Observation::default() };
        assert!(hindrances(&others, &seen, Timestamp::UNIX_EPOCH).is_empty(), "another account's key is not ours");
    }
}
