//! The lifecycle configuration, read and written as XML: what the SDK does not know of it is its owner's, too.

use aws_sdk_s3::types::{BucketLifecycleConfiguration, TransitionDefaultMinimumObjectSize};
use guardrail_core::{
    control::lifecycle::Lifecycle,
    value::{
        failure::{ApiError, Read},
        names::BucketName,
    },
};

use crate::{
    api::{built, done, unless_absent},
    clients::{Readers, Writers},
    intercept::{CaptureBody, ReplaceBody},
};

/// Reads the lifecycle configuration.
pub async fn read(Readers { s3, .. }: Readers<'_>, bucket: &BucketName) -> Read<Lifecycle> {
    const OPERATION: &str = "GetBucketLifecycleConfiguration";
    let body = CaptureBody::default();
    let get = s3.get_bucket_lifecycle_configuration().bucket(bucket.as_str());
    let sent = get.customize().interceptor(body.clone()).send().await;
    let Some(output) = unless_absent(OPERATION, sent, "NoSuchLifecycleConfiguration")? else {
        return Ok(Lifecycle::default());
    };
    let document = body.0.get().map(String::as_str).unwrap_or_default();
    let size = output.transition_default_minimum_object_size.map(|it| it.as_str().to_owned());
    Lifecycle::parse(document, size).map_err(|error| ApiError::new(OPERATION, error))
}

/// Writes the document as it stands.
pub async fn write(Writers { s3, .. }: &Writers, bucket: &BucketName, desired: &Lifecycle) -> Result<(), ApiError> {
    const OPERATION: &str = "PutBucketLifecycleConfiguration";
    let size = desired.transition_default_minimum_object_size.as_deref().map(TransitionDefaultMinimumObjectSize::from);
    let empty = BucketLifecycleConfiguration::builder().set_rules(Some(Vec::new()));
    let put = s3
        .put_bucket_lifecycle_configuration()
        .bucket(bucket.as_str())
        .lifecycle_configuration(built(OPERATION, empty.build())?)
        .set_transition_default_minimum_object_size(size);
    done(OPERATION, put.customize().interceptor(ReplaceBody(desired.document())).send().await)
}

/// Puts it back to what it was; one without rules was none.
pub async fn put_back(writers: &Writers, bucket: &BucketName, was: &Lifecycle) -> Result<(), ApiError> {
    if !was.rules.is_empty() {
        return write(writers, bucket, was).await;
    }
    done("DeleteBucketLifecycle", writers.s3.delete_bucket_lifecycle().bucket(bucket.as_str()).send().await)
}
