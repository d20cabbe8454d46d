//! The one key: created or adopted, with rotation, and with what CloudTrail and S3 Inventory need in its policy.

use std::collections::BTreeSet;

use aws_sdk_kms::{
    Client,
    config::{self, retry::RetryConfig},
    types::{KeyManagerType, KeyMetadata, OriginType, Tag},
};
use guardrail_core::{
    control::kms_key::{self, KeyState, KmsKey, WayBack, service_statements},
    decide::{
        backoff::SETTLING,
        setup::{Action, BootstrapError, Setup, failed},
        wanted_key::Choice,
    },
    outcome::step::Change,
    value::{
        drift::Drift,
        failure::ApiError,
        names::{Arn, KeyAlias, KeyArn},
        policy::{Policy, Statement},
    },
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    Guardrail,
    api::{done, output, unless_absent},
    control,
};

/// Marks a key of ours from its first moment, so that a run that stopped before the alias was made finds it again.
const ALIAS_TAG: &str = "s3-guardrail:alias";

/// The key as it is now.
pub(super) struct Key {
    pub(super) arn: KeyArn,
    /// `None`: it is known by its ARN alone.
    pub(super) alias: Option<KeyAlias>,
    pub(super) action: Action,
    /// What to know of it.
    pub(super) note: Option<String>,
    /// What was written to a key that was there.
    pub(super) written: Option<Change>,
}

const CANNOT_ROTATE: &str = "KMS does not rotate a key of imported material or of a custom key store by itself, so its \
     rotation is its owner's to do; the guardrail does not report it again";

const FOREIGN: &str = "it is another account's, and so not the guardrail's to keep: its owner has to let S3, CloudTrail \
     and those who upload use it";

/// The key that was found, and what it lacks is not known yet. Nothing was written.
pub(super) enum Found {
    /// Ours to keep.
    Own {
        arn: KeyArn,
        alias: Option<KeyAlias>,
        is_named: bool,
        metadata: Box<KeyMetadata>,
    },
    Foreign {
        arn: KeyArn,
        alias: Option<KeyAlias>,
    },
    New {
        alias: KeyAlias,
    },
}

/// Finds out which key it is to be, and refuses one that is not clear, or of no use.
pub(super) async fn find(kms: &Client, setup: &Setup) -> Result<Found, BootstrapError> {
    let wanted = &setup.key;
    let resource = wanted.label();
    let failed = |error| failed(&resource)(error);
    let refused = |problem: String| BootstrapError::Resource { resource: resource.clone(), problem };
    let describe = async |name: &str| {
        let described = kms.describe_key().key_id(name).send().await;
        let described = unless_absent("DescribeKey", described, "NotFoundException").map_err(failed)?;
        Ok::<_, BootstrapError>(described.and_then(|it| it.key_metadata))
    };
    let named = match wanted.alias() {
        Some(alias) => describe(alias.as_str()).await?,
        None => None,
    };
    let arn_of = |it: &KeyMetadata| it.arn().unwrap_or_default().parse::<KeyArn>();
    let points_at = named.as_ref().map(arn_of).transpose().map_err(|error| refused(error.to_string()))?;
    let choice = wanted.choose(&setup.bucket, points_at.as_ref());
    let field = if wanted.asked.is_some() && wanted.asked_alias.is_none() { "key" } else { "key_alias" };
    let (arn, alias) = match choice.map_err(|problem| BootstrapError::Request { field, problem })? {
        Choice::New { alias } => return Ok(Found::New { alias }),
        Choice::Known { arn, alias } => (arn, alias),
    };
    let home = arn.parts().region;
    if home != setup.region {
        let problem = format!(
            "is in {home}, and S3 encrypts with keys of a bucket's own region only; name one of {}",
            setup.region
        );
        return Err(refused(problem));
    }
    if arn.parts().account != setup.account.as_str() {
        return Ok(Found::Foreign { arn, alias });
    }
    let is_named = points_at.as_ref() == Some(&arn);
    let metadata = if is_named { named } else { describe(arn.as_str()).await? };
    let metadata = metadata.ok_or_else(|| {
        refused(format!(
            "{arn} does not exist, and what it encrypted cannot be read; name another key with `key_alias` or `key`"
        ))
    })?;
    usable(&metadata).map_err(refused)?;
    Ok(Found::Own { arn, alias, is_named, metadata: Box::new(metadata) })
}

/// Creates the key that was found wanting, or adds what the one that is there lacks.
pub(super) async fn ensure(guardrail: &Guardrail, setup: &Setup, found: Found) -> Result<Key, BootstrapError> {
    let kms = &guardrail.kms;
    let resource = setup.key.label();
    let failed = |error| failed(&resource)(error);
    let refused = |problem: String| BootstrapError::Resource { resource: resource.clone(), problem };
    let name = async |alias: &KeyAlias, arn: &KeyArn| {
        let create = kms.create_alias().alias_name(alias.as_str()).target_key_id(arn.as_str());
        done("CreateAlias", create.send().await)
    };
    match found {
        Found::Foreign { arn, alias } => {
            Ok(Key { arn, alias, action: Action::Unchanged, note: Some(FOREIGN.to_owned()), written: None })
        }
        Found::New { alias } if setup.dry_run => {
            let Setup { partition, region, account, .. } = setup;
            let arn = format!("arn:{partition}:kms:{region}:{account}:key/to-be-created");
            let arn = arn.parse().map_err(|error| refused(format!("{error}")))?;
            Ok(Key { arn, alias: Some(alias), action: Action::Created, note: None, written: None })
        }
        Found::New { alias } => {
            let Tagged { ours, others } = tagged(kms, setup, &alias).await.map_err(failed)?;
            let arn = match ours {
                Some(arn) => arn,
                None => create(kms, setup, &alias).await.map_err(failed)?,
            };
            let arn: KeyArn = arn.parse().map_err(|error| refused(format!("{error}")))?;
            complete_new(guardrail, setup, &arn).await.map_err(failed)?;
            name(&alias, &arn).await.map_err(failed)?;
            let note = (!others.is_empty()).then(|| {
                format!(
                    "not adopted: {}. The tag {ALIAS_TAG} says that bootstrap made it for this alias, and its policy, state \
                     or kind is not what bootstrap makes; find out who made it",
                    others.join(", ")
                )
            });
            Ok(Key { arn, alias: Some(alias), action: Action::Created, note, written: None })
        }
        Found::Own { arn, alias, is_named, metadata } => {
            let Completed { changed, rotation, before, after } =
                complete(guardrail, setup, &arn).await.map_err(failed)?;
            let unnamed = alias.as_ref().filter(|_| !is_named);
            if let Some(alias) = unnamed.filter(|_| !setup.dry_run) {
                name(alias, &arn).await.map_err(failed)?;
            }
            let changed = changed || unnamed.is_some();
            let note = rotation.is_none().then(|| CANNOT_ROTATE.to_owned());
            let target = alias.as_ref().map(|_| arn.to_string());
            let observed = KmsKey {
                state: control::kms_key::key_state(&metadata),
                purpose: control::kms_key::purpose(&metadata),
                rotation,
                alias_target: target.clone().filter(|_| is_named),
                policy: before,
                unread: Vec::new(),
            };
            let rotation = rotation.map(|_| true);
            let desired = KmsKey { rotation, alias_target: target, policy: after, ..observed.clone() };
            let written = (changed && !setup.dry_run).then(|| Change::KmsKey(Box::new(Drift { observed, desired })));
            Ok(Key { arn, alias, action: Action::on_existing(changed), note, written })
        }
    }
}

fn usable(key: &KeyMetadata) -> Result<(), String> {
    if key.key_manager() == Some(&KeyManagerType::Aws) {
        return Err("is AWS's own; a customer managed key is needed".to_owned());
    }
    if let Some(refusal) = control::kms_key::purpose(key).refusal() {
        return Err(refusal.to_string());
    }
    let state = control::kms_key::key_state(key);
    match state.way_back() {
        WayBack::NotNeeded => Ok(()),
        WayBack::Calls(_) if state == KeyState::Disabled => Err("is Disabled; enable it first".to_owned()),
        WayBack::Calls(_) => Err(format!("is {state}; cancel its deletion and enable it first")),
        WayBack::People(what_to_do) => Err(format!("is {state}: {what_to_do}")),
    }
}

/// Keys whose tag says that an earlier run created them for an alias and did not get to name them.
struct Tagged {
    ours: Option<String>,
    /// Those that bootstrap did not make so: anybody may tag a key.
    others: Vec<String>,
}

async fn tagged(kms: &Client, setup: &Setup, alias: &KeyAlias) -> Result<Tagged, ApiError> {
    let mut keys = kms.list_keys().into_paginator().items().send();
    let mut others = Vec::new();
    while let Some(key) = keys.next().await {
        let arn = output("ListKeys", key)?.key_arn.unwrap_or_default();
        // A key whose tags we may not read is somebody else's.
        let sent = kms.list_resource_tags().key_id(&arn).send().await;
        let tags = unless_absent("ListResourceTags", sent, "AccessDeniedException")?;
        let named = |tag: &Tag| tag.tag_key() == ALIAS_TAG && tag.tag_value() == alias.as_str();
        if !tags.is_some_and(|it| it.tags().iter().any(named)) {
            continue;
        }
        let described = output("DescribeKey", kms.describe_key().key_id(&arn).send().await)?.key_metadata;
        let sent = kms.get_key_policy().key_id(&arn).policy_name("default").send().await;
        let document = unless_absent("GetKeyPolicy", sent, "AccessDeniedException")?.and_then(|it| it.policy);
        let policy = document.and_then(|it| Policy::parse(&it).ok());
        match described.zip(policy) {
            Some((metadata, is)) if is_as_created(&metadata, &is, setup) => {
                return Ok(Tagged { ours: Some(arn), others });
            }
            _ => others.push(arn),
        }
    }
    Ok(Tagged { ours: None, others })
}

/// Whether a key is as bootstrap creates one: whoever wrote another policy into it, made it of imported material, or
/// gave it replicas with policies of their own, decides about the data, too.
fn is_as_created(metadata: &KeyMetadata, is: &Policy, setup: &Setup) -> bool {
    control::kms_key::key_state(metadata) == KeyState::Enabled
        && usable(metadata).is_ok()
        && metadata.arn().and_then(Arn::parse).is_some_and(|it| it.account == setup.account.as_str())
        && metadata.origin() == Some(&OriginType::AwsKms)
        && metadata.multi_region() != Some(true)
        && is.means(&policy(&account_policy(setup), setup))
}

async fn create(kms: &Client, setup: &Setup, alias: &KeyAlias) -> Result<String, ApiError> {
    let tag = Tag::builder().tag_key(ALIAS_TAG).tag_value(alias.as_str()).build();
    let create = kms
        .create_key()
        .description(format!("{alias}: encrypts guarded buckets, their logs and inventories"))
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
    /// Whether it rotated before; `None`: it cannot by itself.
    rotation: Option<bool>,
    /// Its policy, before and after what a dry run does not do.
    before: Policy,
    after: Policy,
}

/// Adds what the key lacks.
async fn complete(guardrail: &Guardrail, setup: &Setup, key: &KeyArn) -> Result<Completed, ApiError> {
    let kms = &guardrail.kms;
    let rotation = control::kms_key::rotation(guardrail.readers(), key.as_str()).await?;
    if rotation == Some(false) && !setup.dry_run {
        done("EnableKeyRotation", kms.enable_key_rotation().key_id(key.as_str()).send().await)?;
    }
    let is = control::kms_key::key_policy(guardrail.readers(), key.as_str()).await?;
    let should = policy(&is, setup);
    if is != should && !setup.dry_run {
        let put = kms.put_key_policy().key_id(key.as_str()).policy_name("default").policy(should.document());
        done("PutKeyPolicy", put.send().await).map_err(|error| {
            match kms_key::suspects(&should, error.code().unwrap_or_default()) {
                Some(hint) => error.explained(&hint),
                None => error,
            }
        })?;
    }
    let changed = rotation == Some(false) || is != should;
    Ok(Completed { changed, rotation, before: is, after: should })
}

/// The same for a key that was made a moment ago.
async fn complete_new(guardrail: &Guardrail, setup: &Setup, key: &KeyArn) -> Result<Completed, ApiError> {
    for wait in SETTLING {
        match complete(guardrail, setup, key).await {
            Err(error) if error.code() == Some("NotFoundException") => sleep(wait).await,
            other => return other,
        }
    }
    complete(guardrail, setup, key).await
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
pub(super) fn policy(is: &Policy, setup: &Setup) -> Policy {
    let mut required = service_statements(&setup.partition, &setup.account, setup.own_trail());
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
