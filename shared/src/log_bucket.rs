//! Documents that the guardrail leaves in a guarded bucket's log bucket.

use aws_sdk_s3::{Client, primitives::ByteStream, types::ServerSideEncryption};

use crate::{
    api::{ApiError, done},
    names::{AccountId, BucketName, KeyArn},
};

/// Where a document goes, and the key that encrypts it.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub log_bucket: &'a BucketName,
    pub owner: &'a AccountId,
    pub kms_key: &'a KeyArn,
}

/// Writes one document.
pub async fn put(
    s3: &Client,
    Place { log_bucket, owner, kms_key }: Place<'_>,
    key: &str,
    content_type: &str,
    text: String,
) -> Result<(), ApiError> {
    let put = s3
        .put_object()
        .bucket(log_bucket.as_str())
        .expected_bucket_owner(owner.as_str())
        .key(key)
        .content_type(content_type)
        .server_side_encryption(ServerSideEncryption::AwsKms)
        .ssekms_key_id(kms_key.as_str())
        // Also where the bucket has one: to write with it, KMS may have to decrypt it, and our roles may not.
        .bucket_key_enabled(false)
        .body(ByteStream::from(text.into_bytes()));
    done("PutObject", put.send().await)
}
