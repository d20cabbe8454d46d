//! The policy comparison, held to what it must not care about and to an IAM evaluator that is not ours.
//!
//! The evaluator is `iam-rs`. It knows one kind of principal a statement and reads context keys as they are spelled;
//! `the_evaluator_is_usable` says what is relied on.

use guardrail_core::{control::bucket_policy::PolicyVariant, value::policy::Policy};
use guardrail_tests::fake::{KEY, ROLE};
use iam_rs::{Arn, Context, ContextValue, Decision, IAMPolicy, IAMRequest, Principal, PrincipalId, evaluate_policy};
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

use crate::arbitrary::{self, ANN, policy_of, required_statements, respelled, statements};

const BUCKET_ARN: &str = "arn:aws:s3:::acme-data";
const STRANGER: &str = "arn:aws:iam::999922223333:user/stranger";
const OUR_SIDS: [&str; 5] = [
    "DenyInsecureTransport",
    "DenyMissingEncryptionHeader",
    "DenyNotUsingKMS",
    "DenyWrongKMSKey",
    "DenyKMSWithoutKeyId",
];

/// Somebody's call.
#[derive(Clone, Debug)]
struct Call {
    who: &'static str,
    action: &'static str,
    object: Option<&'static str>,
    tls: bool,
    sse: Option<&'static str>,
    key: Option<String>,
}

impl Call {
    fn resource(&self) -> String {
        self.object.map_or(BUCKET_ARN.to_owned(), |it| format!("{BUCKET_ARN}/{it}"))
    }

    /// Whether the baseline must deny it, as the mission says it, in words of its own.
    fn must_be_denied(&self, variant: PolicyVariant) -> bool {
        if !self.tls {
            return true;
        }
        if self.action != "s3:PutObject" || self.object.is_none() {
            return false;
        }
        let other_key = self.key.as_deref().is_some_and(|it| it != KEY);
        match variant {
            PolicyVariant::Strict => self.sse != Some("aws:kms") || self.key.as_deref() != Some(KEY),
            PolicyVariant::DefaultEncryption => {
                other_key
                    || self.sse.is_some_and(|it| it != "aws:kms")
                    || self.sse == Some("aws:kms") && self.key.is_none()
            }
        }
    }

    fn decide(&self, policy: &Value) -> Decision {
        if policy.is_null() {
            return Decision::NotApplicable;
        }
        let mut context = Context::new();
        let mut put = |key: &str, value| context.insert(key.to_owned(), value);
        put("aws:SecureTransport", ContextValue::Boolean(self.tls));
        put("aws:PrincipalArn", ContextValue::String(self.who.to_owned()));
        put("aws:PrincipalAccount", ContextValue::String(self.who.split(':').nth(4).unwrap().to_owned()));
        if let Some(sse) = self.sse {
            put("s3:x-amz-server-side-encryption", ContextValue::String(sse.to_owned()));
        }
        if let Some(key) = &self.key {
            put("s3:x-amz-server-side-encryption-aws-kms-key-id", ContextValue::String(key.clone()));
        }
        let who = Principal::Aws(PrincipalId::String(self.who.to_owned()));
        let resource = Arn::parse(&self.resource()).unwrap();
        let request = IAMRequest::new_with_context(who, self.action, resource, context);
        let policy = IAMPolicy::from_json(&policy.to_string()).unwrap();
        evaluate_policy(&policy, &request).unwrap()
    }
}

fn call() -> impl Strategy<Value = Call> {
    let parts = (
        select(vec![ANN, ROLE, STRANGER]),
        select(vec!["s3:PutObject", "s3:PutObject", "s3:GetObject", "s3:ListBucket", "s3:PutBucketPolicy"]),
        select(vec!["a.txt", "reports/a.txt"]),
        prop::bool::weighted(0.8),
        option::of(select(vec!["aws:kms", "aws:kms", "AES256"])),
        option::of(select(vec![KEY.to_owned(), format!("{KEY}9")])),
    );
    parts.prop_map(|(who, action, object, tls, sse, key)| {
        let object = action.ends_with("Object").then_some(object);
        Call { who, action, object, tls, sse, key }
    })
}

fn variant() -> impl Strategy<Value = PolicyVariant> {
    select(vec![PolicyVariant::Strict, PolicyVariant::DefaultEncryption])
}

fn is_present(policy: &Policy, variant: PolicyVariant) -> bool {
    policy.requiring(&required_statements(variant)) == *policy
}

#[test]
fn the_evaluator_is_usable() {
    let put = |sse, key: Option<&str>| Call {
        who: ANN,
        action: "s3:PutObject",
        object: Some("a.txt"),
        tls: true,
        sse,
        key: key.map(str::to_owned),
    };
    let own = |variant| {
        let allow = json!({"Effect": "Allow", "Principal": {"AWS": ANN}, "Action": "s3:*", "Resource": [BUCKET_ARN, format!("{BUCKET_ARN}/*")]});
        policy_of(&[allow]).requiring(&required_statements(variant)).to_json()
    };
    let strict = own(PolicyVariant::Strict);
    assert_eq!(put(Some("aws:kms"), Some(KEY)).decide(&strict), Decision::Allow);
    assert_eq!(put(Some("aws:kms"), None).decide(&strict), Decision::Deny, "a negated operator and an absent key");
    assert_eq!(put(None, None).decide(&strict), Decision::Deny, "Null");
    assert_eq!(put(None, None).decide(&own(PolicyVariant::DefaultEncryption)), Decision::Allow);
    let plain = Call { tls: false, ..put(Some("aws:kms"), Some(KEY)) };
    assert_eq!(plain.decide(&strict), Decision::Deny, "a truth value in quotes");
    assert_eq!(Call { who: STRANGER, ..put(Some("aws:kms"), Some(KEY)) }.decide(&strict), Decision::NotApplicable);
}

proptest! {
    #![proptest_config(arbitrary::many())]

    #[test]
    fn spelling_and_order_do_not_change_the_verdict(statements in statements(), variant in variant(), complete in any::<bool>(), turn in 0..6_usize) {
        let mut policy = policy_of(&statements);
        if complete {
            policy = policy.requiring(&required_statements(variant));
        }
        let verdict = is_present(&policy, variant);
        prop_assert!(verdict || !complete, "what is complete is present");
        let written: Vec<_> = policy.statements.iter().map(|it| it.0.clone()).collect();
        for swap in [false, true] {
            let other: Vec<_> = written.iter().map(|it| respelled(it, swap)).collect();
            prop_assert_eq!(is_present(&policy_of(&other), variant), verdict);
            let listed: Vec<_> = written.iter().map(|it| respelled(&in_lists(it), swap)).collect();
            prop_assert_eq!(is_present(&policy_of(&listed), variant), verdict);
        }
        let listed: Vec<_> = written.iter().map(in_lists).collect();
        prop_assert_eq!(is_present(&policy_of(&listed), variant), verdict);
        let mut turned = written;
        if !turned.is_empty() {
            let middle = turn % turned.len();
            turned.rotate_left(middle);
        }
        prop_assert_eq!(is_present(&policy_of(&turned), variant), verdict);
        let pretty = serde_json::to_string_pretty(&policy.to_json()).unwrap();
        prop_assert!(policy.statements.is_empty() || is_present(&Policy::parse(&pretty).unwrap(), variant) == verdict);
    }
}

/// Every lone action, resource, AWS principal and condition value as a list of one.
fn in_lists(statement: &Value) -> Value {
    let mut listed = statement.clone();
    let list = |value: &mut Value| {
        if value.is_string() {
            *value = json!([value.take()]);
        }
    };
    for element in ["Action", "NotAction", "Resource", "NotResource"] {
        listed.get_mut(element).map(list);
    }
    listed.get_mut("Principal").and_then(|it| it.get_mut("AWS")).map(list);
    for keys in listed.get_mut("Condition").and_then(Value::as_object_mut).into_iter().flat_map(|it| it.values_mut()) {
        keys.as_object_mut().into_iter().flat_map(|it| it.values_mut()).for_each(list);
    }
    listed
}

proptest! {
    #![proptest_config(ProptestConfig { cases: arbitrary::many().cases / 10, ..arbitrary::many() })]

    /// Present means denied, and nothing else changes: an evaluator that knows nothing of us says so.
    #[test]
    fn a_restored_policy_denies_what_it_must_and_decides_the_rest_as_before(
        statements in statements(), calls in vec(call(), 1..12), variant in variant(),
    ) {
        let before = policy_of(&statements);
        let after = before.requiring(&required_statements(variant)).to_json();
        // Statements under our names are ours to replace: what is left is the owner's.
        let owners: Vec<_> = statements.into_iter().filter(|it| !it["Sid"].as_str().is_some_and(|it| OUR_SIDS.contains(&it))).collect();
        let owners = policy_of(&owners).to_json();
        for call in calls {
            let decision = call.decide(&after);
            if call.must_be_denied(variant) {
                prop_assert_eq!(decision, Decision::Deny, "{:?} {}", call, after);
            } else {
                prop_assert_eq!(decision, call.decide(&owners), "{:?} {}", call, after);
            }
        }
    }
}
