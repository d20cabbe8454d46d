//! A KMS key and its alias, read and written.

use aws_sdk_kms::types::KeyMetadata;
use guardrail_core::{
    control::kms_key::{KeyCall, KeyPart, KeyState, KmsKey, Purpose, RequiredKey},
    value::{
        failure::{ApiError, Read},
        policy::Policy,
    },
};

use crate::{
    api::{done, known, output, unless_absent},
    clients::{Readers, Writers},
};

/// Reads the key: its state, what it is for, its rotation, its policy, and where its alias points.
pub async fn read(readers: Readers<'_>, required: &RequiredKey) -> Read<KmsKey> {
    let key = required.arn.as_str();
    let (home, here) = (required.arn.parts().region, readers.kms.config().region().map_or("", |it| it.as_ref()));
    if home != here {
        // KMS would answer as if it did not exist.
        let problem = format!(
            "the key is in {home}, and the guardrail and its buckets are in {here}: S3 encrypts with keys of a bucket's \
             own region only; name one of {here} with guardrail-bootstrap"
        );
        return Err(ApiError::new("DescribeKey", problem));
    }
    let (metadata, rotation, policy, alias_target) =
        tokio::join!(metadata(readers, key), rotation(readers, key), key_policy(readers, key), async {
            match &required.alias {
                Some(alias) => alias_target(readers, alias.as_str()).await,
                None => Ok(None),
            }
        });
    if matches!(metadata, Ok(None)) {
        let missing =
            "the key does not exist, and what it encrypted cannot be read; name another one with guardrail-bootstrap";
        return Err(ApiError::new("DescribeKey", missing));
    }
    if let (Err(error), Err(_), Err(_)) = (&metadata, &rotation, &policy) {
        return Err(error.clone());
    }
    let mut unread = Vec::new();
    let metadata = known(metadata, KeyPart::State, &mut unread);
    Ok(KmsKey {
        state: metadata.as_ref().map_or(KeyState::Enabled, key_state),
        purpose: metadata.as_ref().map_or(Purpose::SymmetricEncryption, purpose),
        rotation: known(rotation, KeyPart::Rotation, &mut unread),
        alias_target: known(alias_target, KeyPart::Alias, &mut unread),
        policy: known(policy, KeyPart::Policy, &mut unread),
        unread,
    })
}

/// The state of a key.
pub fn key_state(metadata: &KeyMetadata) -> KeyState {
    match (metadata.key_state(), metadata.enabled()) {
        (Some(state), _) => KeyState::parse(state.as_str()),
        (None, true) => KeyState::Enabled,
        (None, false) => KeyState::Disabled,
    }
}

/// What a key is for.
pub fn purpose(metadata: &KeyMetadata) -> Purpose {
    Purpose::parse(metadata.key_usage().map(|it| it.as_str()), metadata.key_spec().map(|it| it.as_str()))
}

/// `None`: the key does not exist.
async fn metadata(Readers { kms, .. }: Readers<'_>, key: &str) -> Read<Option<KeyMetadata>> {
    let described = kms.describe_key().key_id(key).send().await;
    Ok(unless_absent("DescribeKey", described, "NotFoundException")?.and_then(|it| it.key_metadata))
}

/// Whether the key rotates; `None`: one of imported material, or of a custom key store, cannot rotate by itself.
/// <https://docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html>
pub async fn rotation(Readers { kms, .. }: Readers<'_>, key: &str) -> Read<Option<bool>> {
    let sent = kms.get_key_rotation_status().key_id(key).send().await;
    let status = unless_absent("GetKeyRotationStatus", sent, "UnsupportedOperationException")?;
    Ok(status.map(|it| it.key_rotation_enabled))
}

/// Reads a key's policy.
pub async fn key_policy(Readers { kms, .. }: Readers<'_>, key: &str) -> Read<Policy> {
    const OPERATION: &str = "GetKeyPolicy";
    let get = kms.get_key_policy().key_id(key).policy_name("default");
    let document = output(OPERATION, get.send().await)?.policy.unwrap_or_default();
    Policy::parse(&document).map_err(|error| ApiError::new(OPERATION, error))
}

async fn alias_target(Readers { kms, .. }: Readers<'_>, alias: &str) -> Read<Option<String>> {
    let described = unless_absent("DescribeKey", kms.describe_key().key_id(alias).send().await, "NotFoundException")?;
    Ok(described.and_then(|it| it.key_metadata).and_then(|it| it.arn))
}

/// Makes one call of those that restore a key.
pub async fn write(Writers { kms, .. }: &Writers, key: &str, call: KeyCall) -> Result<(), ApiError> {
    match call {
        KeyCall::CancelDeletion => done("CancelKeyDeletion", kms.cancel_key_deletion().key_id(key).send().await),
        KeyCall::Enable => done("EnableKey", kms.enable_key().key_id(key).send().await),
        KeyCall::EnableRotation => done("EnableKeyRotation", kms.enable_key_rotation().key_id(key).send().await),
        KeyCall::PutPolicy(policy) => {
            done("PutKeyPolicy", kms.put_key_policy().key_id(key).policy_name("default").policy(policy).send().await)
        }
        KeyCall::CreateAlias(alias) => {
            done("CreateAlias", kms.create_alias().alias_name(alias.as_str()).target_key_id(key).send().await)
        }
        KeyCall::UpdateAlias(alias) => {
            done("UpdateAlias", kms.update_alias().alias_name(alias.as_str()).target_key_id(key).send().await)
        }
    }
}
