//! The daily list of what is in the bucket, and how it is encrypted.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    control::{
        setting::{BucketSetting, SettingError, from_fields},
        vocabulary::{ApiCall, Vocabulary},
    },
    value::names::{AccountId, KeyArn},
};

/// Its row of the table.
pub const ROW: Vocabulary = Vocabulary {
    id: "inventory",
    events: &["PutBucketInventoryConfiguration", "DeleteBucketInventoryConfiguration"],
    calls: &[
        ApiCall::read("GetBucketInventoryConfiguration", "s3:GetInventoryConfiguration"),
        ApiCall::write("PutBucketInventoryConfiguration", "s3:PutInventoryConfiguration"),
    ],
};

/// The inventory configuration that is ours.
pub const INVENTORY_ID: &str = "encryption-and-replication";

/// The file format of an inventory report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum InventoryFormat {
    #[serde(rename = "CSV")]
    Csv,
    Parquet,
}

impl InventoryFormat {
    /// S3's name of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "CSV",
            Self::Parquet => "Parquet",
        }
    }

    /// The format that S3 calls so, if it is one of these.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Csv, Self::Parquet].into_iter().find(|it| it.as_str() == name)
    }
}

/// What the inventory configuration must be.
#[derive(Clone, Debug)]
pub struct RequiredInventory {
    /// The destination bucket's ARN.
    pub bucket_arn: String,
    /// Whose bucket that is.
    pub account: AccountId,
    /// What encrypts the reports.
    pub key: KeyArn,
    /// `None`: CSV and Parquet are both fine.
    pub format: Option<InventoryFormat>,
}

/// Our inventory configuration.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_InventoryConfiguration.html>
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inventory {
    pub is_enabled: bool,
    pub included_object_versions: String,
    pub frequency: String,
    pub format: String,
    /// The destination bucket's ARN.
    pub bucket: String,
    pub account_id: Option<String>,
    pub prefix: Option<String>,
    pub encryption: ReportEncryption,
    /// `None`: the whole bucket is listed.
    pub filter_prefix: Option<String>,
    pub optional_fields: BTreeSet<String>,
}

/// How inventory reports are encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum ReportEncryption {
    Absent,
    #[serde(rename = "SSE-S3")]
    S3,
    #[serde(rename = "SSE-KMS")]
    Kms(String),
}

impl Inventory {
    /// The configuration we require, with what else the owner chose in the one that is there: prefix and more fields.
    pub fn requiring(observed: Option<&Self>, required: &RequiredInventory) -> Self {
        let found_format = observed.and_then(|it| InventoryFormat::from_name(&it.format));
        let format = required.format.or(found_format).unwrap_or(InventoryFormat::Parquet);
        let mut optional_fields = observed.map(|it| it.optional_fields.clone()).unwrap_or_default();
        optional_fields.extend(["EncryptionStatus", "ReplicationStatus"].map(str::to_owned));
        // An account id that is not there is not a drift, a wrong one is: S3 would not deliver.
        let account_id = match observed {
            Some(Self { account_id: None, .. }) => None,
            _ => Some(required.account.to_string()),
        };
        Self {
            is_enabled: true,
            included_object_versions: "All".to_owned(),
            frequency: "Daily".to_owned(),
            format: format.as_str().to_owned(),
            bucket: required.bucket_arn.clone(),
            account_id,
            prefix: observed.and_then(|it| it.prefix.clone()),
            encryption: ReportEncryption::Kms(required.key.to_string()),
            filter_prefix: None,
            optional_fields,
        }
    }
}

impl BucketSetting for Option<Inventory> {
    fn unset() -> Self {
        None
    }

    fn to_json(&self) -> Value {
        json!(self)
    }

    fn from_record(record: &Value) -> Result<Self, SettingError> {
        from_fields(record)
    }
}
