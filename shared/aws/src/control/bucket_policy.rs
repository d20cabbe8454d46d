//! The bucket policy, read and written.

use guardrail_core::value::{
    failure::{ApiError, Read},
    names::BucketName,
    policy::Policy,
};

use crate::{
    api::{done, unless_absent},
    clients::{Readers, Writers},
};

/// Reads the bucket policy.
pub async fn read(Readers { s3, .. }: Readers<'_>, bucket: &BucketName) -> Read<Policy> {
    const OPERATION: &str = "GetBucketPolicy";
    let get = s3.get_bucket_policy().bucket(bucket.as_str());
    match unless_absent(OPERATION, get.send().await, "NoSuchBucketPolicy")? {
        // An answer without a document is no answer: it does not say that there is none.
        Some(answer) => {
            Policy::parse(answer.policy().unwrap_or_default()).map_err(|error| ApiError::new(OPERATION, error))
        }
        None => Ok(Policy::default()),
    }
}

/// Writes the document.
pub async fn write(Writers { s3, .. }: &Writers, bucket: &BucketName, policy: &Policy) -> Result<(), ApiError> {
    let put = s3.put_bucket_policy().bucket(bucket.as_str());
    done("PutBucketPolicy", put.policy(policy.document()).send().await)
}

/// Puts it back to what it was; one without statements was none.
pub async fn put_back(writers: &Writers, bucket: &BucketName, was: &Policy) -> Result<(), ApiError> {
    if !was.statements.is_empty() {
        return write(writers, bucket, was).await;
    }
    #[expect(clippy::disallowed_methods, reason = "there was none before, and a person wants it so")]
    done("DeleteBucketPolicy", writers.s3.delete_bucket_policy().bucket(bucket.as_str()).send().await)
}
