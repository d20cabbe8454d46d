//! The bucket's Block Public Access.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::control::{
    setting::{BucketSetting, SettingError, from_fields},
    vocabulary::{ApiCall, Vocabulary},
};

/// Its row of the table.
pub const ROW: Vocabulary = Vocabulary {
    id: "public-access-block",
    events: &["PutBucketPublicAccessBlock", "DeleteBucketPublicAccessBlock"],
    calls: &[
        ApiCall::read("GetPublicAccessBlock", "s3:GetBucketPublicAccessBlock"),
        ApiCall::write("PutPublicAccessBlock", "s3:PutBucketPublicAccessBlock"),
    ],
};

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PublicAccessBlock {
    pub block_public_acls: bool,
    pub ignore_public_acls: bool,
    pub block_public_policy: bool,
    pub restrict_public_buckets: bool,
}

impl PublicAccessBlock {
    /// All four on.
    pub const ALL: Self = Self {
        block_public_acls: true,
        ignore_public_acls: true,
        block_public_policy: true,
        restrict_public_buckets: true,
    };
}

impl BucketSetting for PublicAccessBlock {
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
