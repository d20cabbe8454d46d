//! The bucket policy, read and written.

use aws_sdk_s3::Client;
use guardrail_core::value::{
    failure::{ApiError, Read},
    names::BucketName,
    policy::Policy,
};

use crate::api::{done, unless_absent};

/// Reads the bucket policy.
pub async fn read(s3: &Client, bucket: &BucketName) -> Read<Policy> {
    const OPERATION: &str = "GetBucketPolicy";
    let get = s3.get_bucket_policy().bucket(bucket.as_str());
    match unless_absent(OPERATION, get.send().await, "NoSuchBucketPolicy")?.and_then(|it| it.policy) {
        Some(document) => Policy::parse(&document).map_err(|error| ApiError::new(OPERATION, error)),
        None => Ok(Policy::default()),
    }
}

/// Writes the document.
pub async fn write(s3: &Client, bucket: &BucketName, policy: &Policy) -> Result<(), ApiError> {
    let put = s3.put_bucket_policy().bucket(bucket.as_str());
    done("PutBucketPolicy", put.policy(policy.document()).send().await)
}

/// Puts it back to what it was; one without statements was none.
pub async fn put_back(s3: &Client, bucket: &BucketName, was: &Policy) -> Result<(), ApiError> {
    if !was.statements.is_empty() {
        return write(s3, bucket, was).await;
    }
    #[expect(clippy::disallowed_methods, reason = "there was none before, and a person wants it so")]
    done("DeleteBucketPolicy", s3.delete_bucket_policy().bucket(bucket.as_str()).send().await)
}
