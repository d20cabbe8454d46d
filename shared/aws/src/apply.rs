//! Writing a bucket. Nothing is decided here.

use aws_sdk_s3::types::{BucketVersioningStatus, ObjectOwnership};
use guardrail_core::{
    control::{kms_key, trail},
    decide::baseline::Baseline,
    outcome::{setting::Setting, step::Change},
    value::{failure::ApiError, names::BucketName},
};

use crate::{clients::Writers, control};

/// What came of the calls of one change.
#[derive(Debug)]
pub struct Applied {
    /// Whether any of them did something, or may have: also when another one failed.
    pub may_have_written: bool,
    /// The first error.
    pub result: Result<(), ApiError>,
}

impl Applied {
    fn nothing() -> Self {
        Self { may_have_written: false, result: Ok(()) }
    }

    /// With one more call.
    fn and(self, sent: Result<(), ApiError>) -> Self {
        let may_have_written = self.may_have_written || sent.as_ref().err().is_none_or(ApiError::may_be_done);
        Self { may_have_written, result: self.result.and(sent) }
    }
}

/// Writes what the plan says.
pub async fn apply(writers: &Writers, bucket: &BucketName, baseline: &Baseline, change: &Change) -> Applied {
    let mut all = Applied::nothing();
    let sent = match change {
        Change::PublicAccessBlock(drift) => control::public_access_block::write(writers, bucket, drift.desired).await,
        Change::ObjectOwnership(_) => {
            // S3 refuses to enforce ownership while the ACL grants others anything.
            all = all.and(control::object_ownership::put_private_acl(writers, bucket).await);
            if all.result.is_err() {
                return all;
            }
            control::object_ownership::put_ownership(writers, bucket, ObjectOwnership::BucketOwnerEnforced).await
        }
        Change::BucketPolicy(drift) => control::bucket_policy::write(writers, bucket, &drift.desired).await,
        Change::DefaultEncryption(drift) => control::default_encryption::write(writers, bucket, &drift.desired).await,
        Change::Versioning(_) => control::versioning::write(writers, bucket, BucketVersioningStatus::Enabled).await,
        Change::Lifecycle(drift) => control::lifecycle::write(writers, bucket, &drift.desired).await,
        Change::Inventory(drift) => control::inventory::write(writers, bucket, &drift.desired).await,
        Change::KmsKey(drift) => {
            let Some(required) = &baseline.kms_key else { return all };
            // As with controls: one part that fails does not stop the next.
            for call in kms_key::calls(drift, required) {
                all = all.and(control::kms_key::write(writers, required.arn.as_str(), call).await);
            }
            return all;
        }
        Change::Trail(drift) => {
            let Some(required) = &baseline.trail else { return all };
            for call in trail::calls(drift) {
                all = all.and(control::trail::write(writers, required, call).await);
            }
            return all;
        }
    };
    all.and(sent)
}

macro_rules! put_back {
    ($($name:ident $field:ident $value:ty,)*) => {
        /// Puts a [reachable](Setting::reachable) setting back to what it was before we wrote it.
        pub async fn put_back(writers: &Writers, bucket: &BucketName, setting: &Setting) -> Result<(), ApiError> {
            match setting {
                $(Setting::$name(was) => control::$field::put_back(writers, bucket, was).await,)*
            }
        }
    };
}

guardrail_core::for_settings_of_buckets!(put_back);
