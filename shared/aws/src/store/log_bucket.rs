//! Documents that the guardrail leaves in a guarded bucket's log bucket.

use aws_sdk_s3::{Client, primitives::ByteStream, types::ServerSideEncryption};
use guardrail_core::value::{
    failure::ApiError,
    names::{BucketName, KeyArn},
};

use crate::api::done;

/// Where a document goes, and the key that encrypts it.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    pub log_bucket: &'a BucketName,
    /// `None`: whatever the bucket's default is.
    pub kms_key: Option<&'a KeyArn>,
}

/// Writes one document.
pub async fn put(
    s3: &Client,
    Destination { log_bucket, kms_key }: Destination<'_>,
    key: &str,
    content_type: &str,
    text: String,
) -> Result<(), ApiError> {
    let put = s3
        .put_object()
        .bucket(log_bucket.as_str())
        .key(key)
        .content_type(content_type)
        .set_server_side_encryption(kms_key.map(|_| ServerSideEncryption::AwsKms))
        .set_ssekms_key_id(kms_key.map(ToString::to_string))
        // Also where the bucket has one: to write with it, KMS may have to decrypt it, and our roles may not.
        .set_bucket_key_enabled(kms_key.map(|_| false))
        .body(ByteStream::from(text.into_bytes()));
    done("PutObject", put.send().await)
}
