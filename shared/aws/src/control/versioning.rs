//! Versioning, read and written.

use aws_sdk_s3::types::{BucketVersioningStatus, MfaDeleteStatus, VersioningConfiguration};
use guardrail_core::{
    control::versioning::Versioning,
    value::{
        failure::{ApiError, Read},
        names::BucketName,
    },
};

use crate::{
    api::{done, output},
    clients::{Readers, Writers},
};

/// Reads whether versions are kept.
pub async fn read(Readers { s3, .. }: Readers<'_>, bucket: &BucketName) -> Read<Versioning> {
    let get = s3.get_bucket_versioning().bucket(bucket.as_str());
    let output = output("GetBucketVersioning", get.send().await)?;
    Ok(Versioning {
        status: output.status.map(|it| it.as_str().to_owned()),
        mfa_delete: output.mfa_delete == Some(MfaDeleteStatus::Enabled),
    })
}

/// Writes whether versions are kept.
pub async fn write(
    Writers { s3, .. }: &Writers,
    bucket: &BucketName,
    status: BucketVersioningStatus,
) -> Result<(), ApiError> {
    let config = VersioningConfiguration::builder().status(status).build();
    let put = s3.put_bucket_versioning().bucket(bucket.as_str());
    done("PutBucketVersioning", put.versioning_configuration(config).send().await)
}

/// Puts it back to what it was. S3 has no way back to never.
pub async fn put_back(writers: &Writers, bucket: &BucketName, was: &Versioning) -> Result<(), ApiError> {
    let Some(status) = was.status.as_deref() else { return Ok(()) };
    write(writers, bucket, status.into()).await
}
