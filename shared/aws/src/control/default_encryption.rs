//! The default encryption, read and written.

use aws_sdk_s3::types::{
    BlockedEncryptionTypes, EncryptionType, ServerSideEncryption, ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
};
use guardrail_core::{
    control::default_encryption::DefaultEncryption,
    value::{
        failure::{ApiError, Read},
        names::BucketName,
    },
};

use crate::{
    api::{built, done, unless_absent},
    clients::{Readers, Writers},
};

/// Reads the default encryption.
pub async fn read(Readers { s3, .. }: Readers<'_>, bucket: &BucketName) -> Read<DefaultEncryption> {
    let get = s3.get_bucket_encryption().bucket(bucket.as_str());
    // S3 has answered with SSE-S3 instead of this code since 2023.
    let output =
        unless_absent("GetBucketEncryption", get.send().await, "ServerSideEncryptionConfigurationNotFoundError")?;
    let rules = output.and_then(|it| it.server_side_encryption_configuration).map(|it| it.rules).unwrap_or_default();
    let Some(rule) = rules.into_iter().next() else { return Ok(DefaultEncryption::default()) };
    let blocked = rule.blocked_encryption_types().map(|it| it.encryption_type()).unwrap_or_default();
    let by_default = rule.apply_server_side_encryption_by_default();
    Ok(DefaultEncryption {
        algorithm: by_default.map(|it| it.sse_algorithm().as_str().to_owned()),
        kms_key: by_default.and_then(|it| it.kms_master_key_id()).map(str::to_owned),
        bucket_key: rule.bucket_key_enabled() == Some(true),
        blocked: blocked.iter().map(|it| it.as_str().to_owned()).collect(),
    })
}

/// Writes it.
pub async fn write(
    Writers { s3, .. }: &Writers,
    bucket: &BucketName,
    desired: &DefaultEncryption,
) -> Result<(), ApiError> {
    const OPERATION: &str = "PutBucketEncryption";
    let DefaultEncryption { algorithm, kms_key, bucket_key, blocked } = desired;
    let by_default = ServerSideEncryptionByDefault::builder()
        .set_sse_algorithm(algorithm.as_deref().map(ServerSideEncryption::from))
        .set_kms_master_key_id(kms_key.clone());
    let blocked: Vec<_> = blocked.iter().map(|it| EncryptionType::from(it.as_str())).collect();
    let blocked = Some(blocked).filter(|it| !it.is_empty());
    let blocked = blocked.map(|it| BlockedEncryptionTypes::builder().set_encryption_type(Some(it)).build());
    let rule = ServerSideEncryptionRule::builder()
        .apply_server_side_encryption_by_default(built(OPERATION, by_default.build())?)
        .set_bucket_key_enabled(bucket_key.then_some(true))
        .set_blocked_encryption_types(blocked);
    let config = built(OPERATION, ServerSideEncryptionConfiguration::builder().rules(rule.build()).build())?;
    let put = s3.put_bucket_encryption().bucket(bucket.as_str());
    done(OPERATION, put.server_side_encryption_configuration(config).send().await)
}

/// Puts it back to what it was; one without an algorithm was none.
pub async fn put_back(writers: &Writers, bucket: &BucketName, was: &DefaultEncryption) -> Result<(), ApiError> {
    if was.algorithm.is_some() {
        return write(writers, bucket, was).await;
    }
    done("DeleteBucketEncryption", writers.s3.delete_bucket_encryption().bucket(bucket.as_str()).send().await)
}
