//! Reading a bucket: every setting at once, absence as a value.

use guardrail_core::{
    control::table::Control,
    decide::baseline::Baseline,
    outcome::observed::{Observation, Observed},
    value::{
        failure::{ApiError, Read},
        names::{AccountId, BucketName},
    },
};

use crate::{Guardrail, api::unless_absent, clients::Readers, control};

/// Where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    pub bucket: bool,
    pub kms_key: bool,
    pub trail: bool,
}

impl Scope {
    pub const BUCKET: Self = Self { bucket: true, kms_key: false, trail: false };
    pub const KMS_KEY: Self = Self { bucket: false, kms_key: true, trail: false };
    pub const TRAIL: Self = Self { bucket: false, kms_key: false, trail: true };
    pub const EVERYTHING: Self = Self { bucket: true, kms_key: true, trail: true };

    /// What is looked at there.
    pub fn controls(self) -> Vec<Control> {
        let bucket = Control::OF_BUCKET.into_iter().filter(|_| self.bucket);
        let key = self.kms_key.then_some(Control::KmsKey);
        bucket.chain(key).chain(self.trail.then_some(Control::Trail)).collect()
    }
}

/// Observes whatever is in `scope`, in one round trip's time.
pub async fn observe_in(guardrail: &Guardrail, bucket: &BucketName, baseline: &Baseline, scope: Scope) -> Observation {
    let readers = guardrail.readers();
    let required_key = baseline.kms_key.as_ref().filter(|_| scope.kms_key);
    let required_trail = baseline.trail.as_ref().filter(|_| scope.trail);
    let (bucket, kms_key, trail) = tokio::join!(
        async { if scope.bucket { Some(observe(readers, bucket).await) } else { None } },
        async { Some(Box::pin(control::kms_key::read(readers, required_key?)).await) },
        async { Some(Box::pin(control::trail::read(readers, required_trail?)).await) },
    );
    Observation { bucket, kms_key, trail }
}

macro_rules! observe {
    ($($name:ident $field:ident $value:ty,)*) => {
        /// Reads every setting of the bucket itself, in one round trip's time.
        pub async fn observe(readers: Readers<'_>, bucket: &BucketName) -> Observed {
            // In boxes: the SDK's futures are large, and would all lie on the stack.
            let ($($field,)*) = tokio::join!($(Box::pin(control::$field::read(readers, bucket))),*);
            Observed { $($field,)* }
        }
    };
}
guardrail_core::for_settings_of_buckets!(observe);

/// The name of the bucket that an access point of the account leads to; `None`: there is no such access point.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_GetAccessPoint.html>
pub async fn bucket_of_access_point(
    s3control: &aws_sdk_s3control::Client,
    account: &AccountId,
    name: &str,
) -> Result<Option<String>, ApiError> {
    let sent = s3control.get_access_point().account_id(account.as_str()).name(name).send().await;
    Ok(unless_absent("GetAccessPoint", sent, "NoSuchAccessPoint")?.and_then(|it| it.bucket))
}

/// For how long S3 keeps every new object from being deleted, in words; `None`: it does not.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html>
pub async fn default_retention(Readers { s3, .. }: Readers<'_>, bucket: &BucketName) -> Read<Option<String>> {
    let get = s3.get_object_lock_configuration().bucket(bucket.as_str());
    let lock = unless_absent("GetObjectLockConfiguration", get.send().await, "ObjectLockConfigurationNotFoundError")?;
    let rule = lock.and_then(|it| it.object_lock_configuration).and_then(|it| it.rule);
    Ok(rule.map(|rule| {
        let retention = rule.default_retention;
        let mode = retention.as_ref().and_then(|it| it.mode()).map_or("unknown", |it| it.as_str());
        let time = match retention.as_ref().map(|it| (it.days, it.years)) {
            Some((Some(days), _)) => format!("{days} days"),
            Some((None, Some(years))) => format!("{years} years"),
            _ => "an unknown time".to_owned(),
        };
        format!("{time} in mode {mode}")
    }))
}
