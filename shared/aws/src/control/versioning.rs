//! Versioning, read and written.

use aws_sdk_s3::{
    Client,
    types::{BucketVersioningStatus, MfaDeleteStatus, VersioningConfiguration},
};
use guardrail_core::{
    control::versioning::Versioning,
    value::{
        bucket::Bucket,
        failure::{ApiError, Read},
    },
};

use crate::{
    api::{done, output},
    intercept::WholeXml,
};

/// Reads whether versions are kept.
pub async fn read(s3: &Client, bucket: Bucket<'_>) -> Read<Versioning> {
    let get = s3.get_bucket_versioning().bucket(bucket.name.as_str()).expected_bucket_owner(bucket.owner.as_str());
    let output = output("GetBucketVersioning", get.customize().interceptor(WholeXml).send().await)?;
    Ok(Versioning {
        status: output.status.map(|it| it.as_str().to_owned()),
        mfa_delete: output.mfa_delete == Some(MfaDeleteStatus::Enabled),
    })
}

/// Writes whether versions are kept.
pub async fn write(s3: &Client, bucket: Bucket<'_>, status: BucketVersioningStatus) -> Result<(), ApiError> {
    let config = VersioningConfiguration::builder().status(status).build();
    let put = s3.put_bucket_versioning().bucket(bucket.name.as_str()).expected_bucket_owner(bucket.owner.as_str());
    done("PutBucketVersioning", put.versioning_configuration(config).send().await)
}

/// Puts it back to what it was. S3 has no way back to never.
pub async fn put_back(s3: &Client, bucket: Bucket<'_>, was: &Versioning) -> Result<(), ApiError> {
    let Some(status) = was.status.as_deref() else { return Ok(()) };
    write(s3, bucket, status.into()).await
}
