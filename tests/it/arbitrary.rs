//! Whatever an owner, or somebody who means ill, may have put there: strategies for the settings of a bucket.

use std::collections::BTreeSet;

use guardrail_core::{
    control::{
        bucket_policy::{PolicyVariant, required},
        default_encryption::DefaultEncryption,
        inventory::{Inventory, ReportEncryption},
        kms_key::{KeyState, KmsKey, Purpose},
        lifecycle::Lifecycle,
        object_ownership::ObjectOwnership,
        public_access_block::PublicAccessBlock,
        selectors::{AdvancedEventSelector, EventSelector, FieldSelector, Selectors},
        trail::Trail,
        versioning::Versioning,
    },
    edge::registry::Registration,
    value::{
        names::{BucketName, KeyArn},
        policy::{Policy, Statement},
        xml::Element,
    },
};
use guardrail_tests::{
    fake::{ACCOUNT, BUCKET, KEY, ROLE},
    s3_rules::lifecycle_refusal,
};
use proptest::{collection::vec, option, prelude::*, sample::select, strategy::Union};
use serde_json::{Map, Value, json};

/// `PROPTEST_CASES=1000000 cargo test --test it one_reconcile_without` runs a million instead; ten minutes and more.
pub(crate) fn many() -> ProptestConfig {
    ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() }
}

pub(crate) fn bucket() -> BucketName {
    BUCKET.parse().unwrap()
}

pub(crate) fn key() -> KeyArn {
    KEY.parse().unwrap()
}

pub(crate) fn registration() -> Registration {
    Registration::new(bucket(), ACCOUNT.parse().unwrap(), key())
}

pub(crate) fn required_statements(variant: PolicyVariant) -> Vec<Statement> {
    required(variant, "aws", &bucket(), &key())
}

/// One of some texts, alone or in a list with more of them.
fn one_or_more(texts: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => select(texts).prop_map(|it| json!(it)),
        1 => vec(select(texts), 1..4).prop_map(|it| json!(it)),
    ]
}

const ACTIONS: &[&str] =
    &["s3:*", "s3:GetObject", "s3:PutObject", "s3:Put*", "*", "s3:PutBucketPolicy", "s3:ListBucket"];
const RESOURCES: &[&str] = &[
    "arn:aws:s3:::acme-data",
    "arn:aws:s3:::acme-data/*",
    "arn:aws:s3:::acme-data/reports/*",
    "arn:aws:s3:::acme-*",
    "*",
];
pub(crate) const ANN: &str = "arn:aws:iam::111122223333:user/ann";
const SIDS: &[&str] = &[
    "Theirs",
    "Ann",
    "DenyInsecureTransport",
    "DenyMissingEncryptionHeader",
    "DenyNotUsingKMS",
    "DenyWrongKMSKey",
    "DenyKMSWithoutKeyId",
    "GuardrailInventory",
];

fn principal() -> impl Strategy<Value = Value> {
    select(vec![
        json!("*"),
        json!({"AWS": "*"}),
        json!({"AWS": ANN}),
        json!({"AWS": [ANN, ROLE]}),
        json!({"AWS": format!("arn:aws:iam::{ACCOUNT}:root")}),
        json!({"Service": "logging.s3.amazonaws.com"}),
        json!({"AWS": "AROAEXAMPLEID00000001"}),
    ])
}

fn condition() -> impl Strategy<Value = Value> {
    const SSE: &str = "s3:x-amz-server-side-encryption";
    const SSE_KEY: &str = "s3:x-amz-server-side-encryption-aws-kms-key-id";
    let one = select(vec![
        ("Bool", "aws:SecureTransport", json!("false")),
        ("Bool", "aws:SecureTransport", json!("true")),
        ("Null", SSE, json!("true")),
        ("Null", SSE, json!("false")),
        ("Null", SSE_KEY, json!("false")),
        ("StringNotEquals", SSE, json!("aws:kms")),
        ("StringNotEquals", SSE, json!(["aws:kms", "AES256"])),
        ("StringEquals", SSE, json!("AES256")),
        ("StringNotEquals", SSE_KEY, json!(KEY)),
        ("StringNotEquals", SSE_KEY, json!(format!("{KEY}9"))),
        ("StringEquals", "aws:PrincipalAccount", json!(ACCOUNT)),
        ("StringLike", "aws:PrincipalArn", json!("arn:aws:iam::111122223333:user/*")),
    ]);
    vec(one, 1..3).prop_map(|parts| {
        let mut condition = json!({});
        for (operator, key, value) in parts {
            condition[operator][key] = value;
        }
        condition
    })
}

/// A statement that somebody wrote.
pub(crate) fn statement() -> impl Strategy<Value = Value> {
    let parts = (
        option::of(select(SIDS)),
        select(vec!["Allow", "Allow", "Deny"]),
        principal(),
        one_or_more(ACTIONS),
        one_or_more(RESOURCES),
        option::of(condition()),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
    );
    parts.prop_map(|(sid, effect, principal, action, resource, condition, not_action, not_resource)| {
        let action_element = if not_action { "NotAction" } else { "Action" };
        let resource_element = if not_resource { "NotResource" } else { "Resource" };
        let mut statement =
            json!({"Effect": effect, "Principal": principal, action_element: action, resource_element: resource});
        if let Some(sid) = sid {
            statement["Sid"] = json!(sid);
        }
        if let Some(condition) = condition {
            statement["Condition"] = condition;
        }
        statement
    })
}

/// One of ours, with something changed or not.
fn nearly_ours() -> impl Strategy<Value = Value> {
    let variant = select(vec![PolicyVariant::Strict, PolicyVariant::DefaultEncryption]);
    let ours = (variant, 0..4_usize).prop_map(|(variant, n)| required_statements(variant)[n].0.clone());
    let change = (select(vec!["Sid", "Effect", "Principal", "Action", "Resource", "Condition"]), statement());
    (ours, option::of(change)).prop_map(|(mut ours, change)| {
        if let Some((element, other)) = change {
            match other.get(element) {
                Some(value) => ours[element] = value.clone(),
                None => drop(ours.as_object_mut().unwrap().remove(element)),
            }
        }
        ours
    })
}

pub(crate) fn statements() -> impl Strategy<Value = Vec<Value>> {
    vec(prop_oneof![statement(), nearly_ours()], 0..6)
}

pub(crate) fn policy_of(statements: &[Value]) -> Policy {
    if statements.is_empty() {
        return Policy::default();
    }
    Policy::parse(&json!({"Version": "2012-10-17", "Id": "theirs", "Statement": statements}).to_string()).unwrap()
}

pub(crate) fn policy() -> impl Strategy<Value = Policy> {
    statements().prop_map(|it| policy_of(&it))
}

fn rule() -> impl Strategy<Value = Element> {
    let parts = (
        select(vec!["theirs", "tier", "expire-noncurrent-30days", "abort-multipart-7d"]),
        select(vec![
            "<Filter/>",
            "<Filter><Prefix></Prefix></Filter>",
            "<Prefix>logs/</Prefix>",
            "<Prefix> </Prefix>",
            "<Prefix/>",
        ]),
        select(vec!["Enabled", "Disabled"]),
        vec(
            select(vec![
                "<NoncurrentVersionExpiration><NoncurrentDays>30</NoncurrentDays></NoncurrentVersionExpiration>",
                "<NoncurrentVersionExpiration><NoncurrentDays>30</NoncurrentDays><NewerNoncurrentVersions>5</NewerNoncurrentVersions></NoncurrentVersionExpiration>",
                "<NoncurrentVersionExpiration><NoncurrentDays>3650</NoncurrentDays></NoncurrentVersionExpiration>",
                "<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>",
                "<Expiration><Days>1</Days></Expiration>",
                "<InventedIn2027 a=\"1\"><Deep>x &amp; y</Deep></InventedIn2027>",
            ]),
            1..3,
        ),
    );
    parts.prop_map(|(id, filter, status, actions)| {
        // S3 takes one of each kind.
        let mut kinds = BTreeSet::new();
        let actions: String = actions.into_iter().filter(|it| kinds.insert(it.split(['>', ' ']).next())).collect();
        Element::parse(&format!("<Rule><ID>{id}</ID>{filter}<Status>{status}</Status>{actions}</Rule>")).unwrap()
    })
}

/// Of the old form, of which no rule stands beside one of the new.
fn is_old(rule: &Element) -> bool {
    rule.child("Filter").is_none()
}

pub(crate) fn lifecycle() -> impl Strategy<Value = Lifecycle> {
    let size = option::of(Just("varies_by_storage_class".to_owned()));
    (vec(rule(), 0..5), size).prop_map(|(drawn, transition_default_minimum_object_size)| {
        // Only what S3 would take can be there.
        let mut rules = Vec::new();
        for rule in drawn {
            rules.push(rule);
            let so_far = Lifecycle { rules: rules.clone(), transition_default_minimum_object_size: None };
            if lifecycle_refusal(&so_far.document()).is_err()
                || so_far.rules.iter().any(|it| is_old(it) != is_old(&rules[0]))
            {
                rules.pop();
            }
        }
        Lifecycle { rules, transition_default_minimum_object_size }
    })
}

pub(crate) fn public_access_block() -> impl Strategy<Value = PublicAccessBlock> {
    any::<[bool; 4]>().prop_map(
        |[block_public_acls, ignore_public_acls, block_public_policy, restrict_public_buckets]| PublicAccessBlock {
            block_public_acls,
            ignore_public_acls,
            block_public_policy,
            restrict_public_buckets,
        },
    )
}

pub(crate) fn object_ownership() -> impl Strategy<Value = ObjectOwnership> {
    let ownership =
        option::of(select(vec!["BucketOwnerEnforced", "ObjectWriter", "InventedIn2027"]).prop_map(str::to_owned));
    (ownership, vec(Just("other READ".parse().unwrap()), 0..2))
        .prop_map(|(object_ownership, acl_grants)| ObjectOwnership { object_ownership, acl_grants: Ok(acl_grants) })
}

pub(crate) fn default_encryption() -> impl Strategy<Value = DefaultEncryption> {
    let algorithm = option::of(select(vec!["AES256", "aws:kms", "aws:kms:dsse"]).prop_map(str::to_owned));
    let key = option::of(select(vec![KEY.to_owned(), format!("{KEY}9"), "alias/s3-secure-data".to_owned()]));
    let blocked = vec(select(vec!["SSE-C", "NONE", "InventedIn2027"]).prop_map(str::to_owned), 0..3);
    (algorithm, key, any::<bool>(), blocked).prop_map(|(algorithm, kms_key, bucket_key, blocked)| DefaultEncryption {
        algorithm,
        kms_key,
        bucket_key,
        blocked: blocked.into_iter().collect(),
    })
}

pub(crate) fn versioning() -> impl Strategy<Value = Versioning> {
    let status = option::of(select(vec!["Enabled", "Suspended"]).prop_map(str::to_owned));
    (status, any::<bool>()).prop_map(|(status, mfa_delete)| Versioning { status, mfa_delete })
}

pub(crate) fn inventory() -> impl Strategy<Value = Option<Inventory>> {
    let text = |texts: &'static [&'static str]| select(texts).prop_map(str::to_owned);
    let what = (
        any::<bool>(),
        text(&["All", "Current"]),
        text(&["Daily", "Weekly"]),
        text(&["CSV", "Parquet", "ORC"]),
        text(&["arn:aws:s3:::acme-data-inventory", "arn:aws:s3:::elsewhere"]),
    );
    let more = (
        option::of(text(&[ACCOUNT, "999922223333"])),
        option::of(text(&["reports"])),
        select(vec![ReportEncryption::Absent, ReportEncryption::S3, ReportEncryption::Kms(KEY.to_owned())]),
        option::of(text(&["a/"])),
        vec(text(&["Size", "EncryptionStatus", "ReplicationStatus", "InventedIn2027"]), 0..4),
    );
    let one = (what, more).prop_map(
        |(
            (is_enabled, included_object_versions, frequency, format, bucket),
            (account_id, prefix, encryption, filter_prefix, fields),
        )| Inventory {
            is_enabled,
            included_object_versions,
            frequency,
            format,
            bucket,
            account_id,
            prefix,
            encryption,
            filter_prefix,
            optional_fields: fields.into_iter().collect(),
        },
    );
    option::of(one)
}

pub(crate) fn kms_key() -> impl Strategy<Value = KmsKey> {
    let state = select(vec!["Enabled", "Disabled", "PendingDeletion", "PendingReplicaDeletion", "Creating"]);
    let alias = option::of(select(vec![KEY.to_owned(), format!("{KEY}9")]));
    (state, option::of(any::<bool>()), alias, policy()).prop_map(|(state, rotation, alias_target, policy)| KmsKey {
        state: KeyState::parse(state),
        purpose: Purpose::SymmetricEncryption,
        rotation,
        alias_target,
        policy,
        unread: Vec::new(),
    })
}

/// The fields of a selector that CloudTrail takes.
fn field_selectors() -> impl Strategy<Value = Vec<FieldSelector>> {
    let field = |name: &str| FieldSelector {
        field: name.to_owned(),
        equals: vec![],
        starts_with: vec![],
        ends_with: vec![],
        not_equals: vec![],
        not_starts_with: vec![],
        not_ends_with: vec![],
    };
    let equals = move |name: &str, value: &str| FieldSelector { equals: vec![value.to_owned()], ..field(name) };
    let read_only = move || option::of(select(vec![equals("readOnly", "false"), equals("readOnly", "true")]));
    let without = move |source: &str| FieldSelector { not_equals: vec![source.to_owned()], ..field("eventSource") };
    let management =
        (read_only(), option::of(select(vec![without("kms.amazonaws.com"), without("rdsdata.amazonaws.com")])));
    let management = management.prop_map(move |(read_only, source)| {
        [equals("eventCategory", "Management")].into_iter().chain(read_only).chain(source).collect()
    });
    let kind = select(vec!["AWS::S3::Object", "AWS::Lambda::Function"]);
    let buckets = || vec![format!("arn:aws:s3:::{BUCKET}/"), "arn:aws:s3:::other/".to_owned()];
    let arn = (select(buckets()), option::weighted(0.3, select(buckets())));
    let arn = arn.prop_map(move |(starts, not_starts)| FieldSelector {
        starts_with: vec![starts],
        not_starts_with: not_starts.into_iter().collect(),
        ..field("resources.ARN")
    });
    let data = (kind, option::of(arn), read_only()).prop_map(move |(kind, arn, read_only)| {
        let fixed = [equals("eventCategory", "Data"), equals("resources.type", kind)];
        fixed.into_iter().chain(arn).chain(read_only).collect()
    });
    prop_oneof![management, data]
}

fn selectors() -> impl Strategy<Value = Selectors> {
    let name = option::of(select(vec![
        "theirs",
        "s3-guardrail: management events",
        "s3-guardrail: objects of guarded buckets",
    ]));
    let advanced = (name, field_selectors())
        .prop_map(|(name, field_selectors)| AdvancedEventSelector { name: name.map(str::to_owned), field_selectors });
    let resources = select(vec!["arn:aws:s3", "arn:aws:s3:::acme-data/", "arn:aws:s3:::other/"]);
    let basic = (
        select(vec!["All", "ReadOnly", "WriteOnly"]),
        any::<bool>(),
        option::of(resources),
        option::of(Just("kms.amazonaws.com".to_owned())),
    );
    let basic = basic.prop_map(|(kind, include_management_events, resource, excluded)| EventSelector {
        read_write_type: kind.to_owned(),
        include_management_events,
        data_resources: resource.map(|it| ("AWS::S3::Object".to_owned(), vec![it.to_owned()])).into_iter().collect(),
        exclude_management_event_sources: excluded.into_iter().collect(),
    });
    Union::new([
        vec(advanced, 0..4).prop_map(Selectors::Advanced).boxed(),
        vec(basic, 1..4).prop_map(Selectors::Basic).boxed(),
    ])
}

pub(crate) fn trail() -> impl Strategy<Value = Option<Trail>> {
    let some = (any::<[bool; 3]>(), option::of(Just(format!("{KEY}7"))), selectors());
    option::of(some.prop_map(
        |([is_logging, is_multi_region_trail, log_file_validation_enabled], kms_key_id, selectors)| Trail {
            is_logging,
            is_multi_region_trail,
            log_file_validation_enabled,
            kms_key_id,
            s3_bucket_name: Some("central-logs".to_owned()),
            latest_delivery_error: None,
            latest_digest_delivery_error: None,
            selectors,
            unread: Vec::new(),
        },
    ))
}

/// The same JSON with every object's keys and every list in another order, and lone values in lists or out of them.
pub(crate) fn respelled(value: &Value, swap: bool) -> Value {
    match value {
        Value::Object(object) => {
            let mut entries: Vec<_> = object.iter().map(|(key, value)| (key.clone(), respelled(value, swap))).collect();
            if swap {
                entries.reverse();
            }
            Value::Object(entries.into_iter().collect::<Map<_, _>>())
        }
        Value::Array(list) if list.len() == 1 && list[0].is_string() => list[0].clone(),
        Value::Array(list) => {
            let mut list: Vec<_> = list.iter().map(|it| respelled(it, swap)).collect();
            if swap && list.iter().all(Value::is_string) {
                list.reverse();
            }
            Value::Array(list)
        }
        other => other.clone(),
    }
}

/// The same JSON in the one spelling that all of its spellings have in common.
pub(crate) fn in_order(value: &Value) -> Value {
    match respelled(value, false) {
        Value::Array(list) => {
            let mut list: Vec<_> = list.iter().map(in_order).collect();
            list.sort_by_key(Value::to_string);
            Value::Array(list)
        }
        Value::Object(object) => object.iter().map(|(key, value)| (key.clone(), in_order(value))).collect(),
        other => other,
    }
}
