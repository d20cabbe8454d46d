//! Whether old versions are kept.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::control::{
    setting::{BucketSetting, SettingError, from_fields},
    vocabulary::{ApiCall, Vocabulary},
};

/// Its row of the table.
pub const ROW: Vocabulary = Vocabulary {
    id: "versioning",
    events: &["PutBucketVersioning"],
    calls: &[
        ApiCall::read("GetBucketVersioning", "s3:GetBucketVersioning"),
        ApiCall::write("PutBucketVersioning", "s3:PutBucketVersioning"),
    ],
};

/// Whether old versions are kept.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/Versioning.html>
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Versioning {
    /// `None`: never enabled.
    pub status: Option<String>,
    /// Only the root user can change it, with a second factor; we leave it as it is.
    #[serde(rename = "MFADelete")]
    pub mfa_delete: bool,
}

impl Versioning {
    /// The same, enabled.
    pub fn enabled(&self) -> Self {
        Self { status: Some("Enabled".to_owned()), ..self.clone() }
    }
}

impl BucketSetting for Versioning {
    fn unset() -> Self {
        Self::default()
    }

    fn to_json(&self) -> Value {
        json!(self)
    }

    fn from_record(record: &Value) -> Result<Self, SettingError> {
        from_fields(record)
    }

    /// Versioning that was once enabled can only be suspended.
    fn reachable(self) -> Self {
        match self.status {
            None => Self { status: Some("Suspended".to_owned()), ..self },
            Some(_) => self,
        }
    }
}
