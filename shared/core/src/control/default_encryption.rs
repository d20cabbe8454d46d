//! What happens to an upload that names no encryption.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    control::{
        setting::{BucketSetting, SettingError, from_fields},
        vocabulary::{ApiCall, Vocabulary},
    },
    value::names::KeyArn,
};

/// Its row of the table.
pub const ROW: Vocabulary = Vocabulary {
    id: "default-encryption",
    events: &["PutBucketEncryption", "DeleteBucketEncryption"],
    calls: &[
        ApiCall::read("GetBucketEncryption", "s3:GetEncryptionConfiguration"),
        ApiCall::write("PutBucketEncryption", "s3:PutEncryptionConfiguration"),
    ],
};

/// What happens to an upload that names no encryption.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ServerSideEncryptionRule.html>
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct DefaultEncryption {
    #[serde(rename = "SSEAlgorithm")]
    pub algorithm: Option<String>,
    /// As it was put: id, ARN or alias. We put the ARN, the only form that names one key whoever uploads.
    #[serde(rename = "KMSMasterKeyID")]
    pub kms_key: Option<String>,
    #[serde(rename = "BucketKeyEnabled")]
    pub bucket_key: bool,
    /// Kinds of encryption that uploads may not use.
    #[serde(rename = "BlockedEncryptionTypes")]
    pub blocked: BTreeSet<String>,
}

impl DefaultEncryption {
    /// The same with what we require; other kinds that the owner blocks stay blocked.
    pub fn requiring(&self, key: &KeyArn) -> Self {
        let mut blocked = self.blocked.clone();
        blocked.remove("NONE");
        blocked.insert("SSE-C".to_owned());
        Self { algorithm: Some("aws:kms".to_owned()), kms_key: Some(key.to_string()), bucket_key: true, blocked }
    }
}

impl BucketSetting for DefaultEncryption {
    fn unset() -> Self {
        Self::default()
    }

    fn to_json(&self) -> Value {
        json!(self)
    }

    fn from_record(record: &Value) -> Result<Self, SettingError> {
        from_fields(record)
    }
}
