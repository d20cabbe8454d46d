//! The one key: created or adopted, with rotation, and with what CloudTrail and S3 Inventory need in its policy.

use std::collections::BTreeSet;

use aws_sdk_kms::{
    Client,
    config::{self, retry::RetryConfig},
    types::{KeyManagerType, KeyMetadata, Tag},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Action, BootstrapError, SETTLING, Setup, failed};
use crate::{
    api::{ApiError, done, output, unless_absent},
    kms_key::{self, KeyState, WayBack, service_statements},
    names::KeyArn,
    observe,
    policy::{Policy, Statement},
};

/// Marks a key of ours from its first moment, so that a run that stopped before the alias was made finds it again.
const ALIAS_TAG: &str = "s3-guardrail:alias";

/// The key as it is now.
pub(super) struct Key {
    pub(super) arn: KeyArn,
    pub(super) action: Action,
    /// What to know of it.
    pub(super) note: Option<&'static str>,
}

const CANNOT_ROTATE: &str = "KMS does not rotate a key of imported material or of a custom key store by itself, so its \
     rotation is its owner's to do; the guardrail does not report it again";

/// Creates the key that the alias names, or adopts it.
pub(super) async fn ensure(kms: &Client, setup: &Setup) -> Result<Key, BootstrapError> {
    let resource = format!("key {}", setup.key_alias);
    let failed = |error| failed(&resource)(error);
    let refused = |problem: String| BootstrapError::Resource { resource: resource.clone(), problem };

    let described = kms.describe_key().key_id(setup.key_alias.as_str()).send().await;
    let described = unless_absent("DescribeKey", described, "NotFoundException").map_err(failed)?;
    let Some(metadata) = described.and_then(|it| it.key_metadata) else {
        if setup.dry_run {
            let Setup { partition, region, account, .. } = setup;
            let arn = format!("arn:{partition}:kms:{region}:{account}:key/to-be-created");
            let arn = arn.parse().map_err(|error| refused(format!("{error}")))?;
            return Ok(Key { arn, action: Action::Created, note: None });
        }
        let arn = match abandoned(kms, setup).await.map_err(failed)? {
            Some(arn) => arn,
            None => create(kms, setup).await.map_err(failed)?,
        };
        let arn: KeyArn = arn.parse().map_err(|error| refused(format!("{error}")))?;
        complete_new(kms, setup, &arn).await.map_err(failed)?;
        let create = kms.create_alias().alias_name(setup.key_alias.as_str()).target_key_id(arn.as_str());
        done("CreateAlias", create.send().await).map_err(failed)?;
        return Ok(Key { arn, action: Action::Created, note: None });
    };
    usable(&metadata).map_err(refused)?;
    let arn = metadata.arn.unwrap_or_default().parse().map_err(|error| refused(format!("{error}")))?;
    let Completed { changed, rotates } = complete(kms, setup, &arn).await.map_err(failed)?;
    let note = if rotates { None } else { Some(CANNOT_ROTATE) };
    Ok(Key { arn, action: Action::on_existing(changed), note })
}

fn usable(key: &KeyMetadata) -> Result<(), String> {
    if key.key_manager() == Some(&KeyManagerType::Aws) {
        return Err("is AWS's own; a customer managed key is needed".to_owned());
    }
    if let Some(refusal) = observe::purpose(key).refusal() {
        return Err(refusal.to_string());
    }
    let state = observe::key_state(key);
    match state.way_back() {
        WayBack::NotNeeded => Ok(()),
        WayBack::Calls(_) if state == KeyState::Disabled => Err("is Disabled; enable it first".to_owned()),
        WayBack::Calls(_) => Err(format!("is {state}; cancel its deletion and enable it first")),
        WayBack::People(what_to_do) => Err(format!("is {state}: {what_to_do}")),
    }
}

/// A key that an earlier run created and did not get to name.
async fn abandoned(kms: &Client, setup: &Setup) -> Result<Option<String>, ApiError> {
    let mut keys = kms.list_keys().into_paginator().items().send();
    while let Some(key) = keys.next().await {
        let arn = output("ListKeys", key)?.key_arn.unwrap_or_default();
        // A key whose tags we may not read is somebody else's.
        let sent = kms.list_resource_tags().key_id(&arn).send().await;
        let tags = unless_absent("ListResourceTags", sent, "AccessDeniedException")?;
        let ours = tags.is_some_and(|it| {
            it.tags().iter().any(|tag| tag.tag_key() == ALIAS_TAG && tag.tag_value() == setup.key_alias.as_str())
        });
        let described =
            if ours { Some(output("DescribeKey", kms.describe_key().key_id(&arn).send().await)?) } else { None };
        let enabled = |it: &KeyMetadata| observe::key_state(it) == KeyState::Enabled;
        if described.and_then(|it| it.key_metadata).is_some_and(|it| enabled(&it)) {
            return Ok(Some(arn));
        }
    }
    Ok(None)
}

async fn create(kms: &Client, setup: &Setup) -> Result<String, ApiError> {
    let tag = Tag::builder().tag_key(ALIAS_TAG).tag_value(setup.key_alias.as_str()).build();
    let create = kms
        .create_key()
        .description(format!("{}: encrypts guarded buckets, their logs and inventories", setup.key_alias))
        .policy(policy(&account_policy(setup), setup).document())
        .tags(tag.map_err(|error| ApiError::new("CreateKey", error))?);
    // Once: of two tries whose first answer was lost, a key would be left that nobody names and somebody pays for. The
    // next run finds this one by its tag.
    let once = config::Builder::new().retry_config(RetryConfig::disabled());
    let created = output("CreateKey", create.customize().config_override(once).send().await)?;
    Ok(created.key_metadata.and_then(|it| it.arn).unwrap_or_default())
}

/// What came of a key that lacked something or not.
struct Completed {
    changed: bool,
    /// Now, or after what a dry run does not do. False: it cannot by itself.
    rotates: bool,
}

/// Adds what the key lacks.
async fn complete(kms: &Client, setup: &Setup, key: &KeyArn) -> Result<Completed, ApiError> {
    let rotation = observe::rotation(kms, key.as_str()).await?;
    if rotation == Some(false) && !setup.dry_run {
        done("EnableKeyRotation", kms.enable_key_rotation().key_id(key.as_str()).send().await)?;
    }
    let get = kms.get_key_policy().key_id(key.as_str()).policy_name("default");
    let document = output("GetKeyPolicy", get.send().await)?.policy.unwrap_or_default();
    let is = Policy::parse(&document).map_err(|error| ApiError::new("GetKeyPolicy", error))?;
    let should = policy(&is, setup);
    if is != should && !setup.dry_run {
        let put = kms.put_key_policy().key_id(key.as_str()).policy_name("default").policy(should.document());
        done("PutKeyPolicy", put.send().await).map_err(|error| {
            match kms_key::suspects(&should, error.code.as_deref().unwrap_or_default()) {
                Some(hint) => error.explained(&hint),
                None => error,
            }
        })?;
    }
    Ok(Completed { changed: rotation == Some(false) || is != should, rotates: rotation.is_some() })
}

/// The same for a key that was made a moment ago.
async fn complete_new(kms: &Client, setup: &Setup, key: &KeyArn) -> Result<Completed, ApiError> {
    for wait in SETTLING {
        match complete(kms, setup, key).await {
            Err(error) if error.code.as_deref() == Some("NotFoundException") => sleep(wait).await,
            other => return other,
        }
    }
    complete(kms, setup, key).await
}

/// A new key's policy before anything is added: the account decides with IAM, so that nobody is locked out.
/// <https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html>
fn account_policy(setup: &Setup) -> Policy {
    let Setup { partition, account, .. } = setup;
    Policy::default().requiring(&[Statement(json!({
        "Sid": "GuardrailAccount", "Effect": "Allow", "Principal": {"AWS": format!("arn:{partition}:iam::{account}:root")},
        "Action": "kms:*", "Resource": "*",
    }))])
}

/// The policy with what the request and the services need; what else is there stays as it stands.
fn policy(is: &Policy, setup: &Setup) -> Policy {
    let mut required = service_statements(&setup.partition, &setup.account, Some(&setup.trail));
    for (sid, actions, arns) in [
        ("GuardrailKeyAdministrators", ADMINISTRATION.as_slice(), &setup.key_administrators),
        ("GuardrailKeyUsers", USE.as_slice(), &setup.key_users),
    ] {
        if arns.is_empty() {
            continue;
        }
        // Whoever an earlier run let in stays in.
        let before =
            is.statements.iter().find(|it| it.sid() == Some(sid)).and_then(|it| it.0.pointer("/Principal/AWS"));
        let before = match before {
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(one)) => vec![one.as_str()],
            _ => Vec::new(),
        };
        let all: BTreeSet<&str> = before.into_iter().chain(arns.iter().map(String::as_str)).collect();
        required.push(Statement(json!({
            "Sid": sid, "Effect": "Allow", "Principal": {"AWS": all}, "Action": actions, "Resource": "*",
        })));
    }
    is.requiring(&required)
}

/// What AWS's own list of key administrators may do.
const ADMINISTRATION: [&str; 14] = [
    "kms:Create*",
    "kms:Describe*",
    "kms:Enable*",
    "kms:List*",
    "kms:Put*",
    "kms:Update*",
    "kms:Revoke*",
    "kms:Disable*",
    "kms:Get*",
    "kms:Delete*",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:ScheduleKeyDeletion",
    "kms:CancelKeyDeletion",
];

/// What uploading to and reading from S3 needs.
const USE: [&str; 3] = ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey*"];
