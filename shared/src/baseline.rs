//! What a bucket's settings are and what they should be, as plain values. Pure.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    api::ApiError,
    kms_key::{self, Duty, RequiredKey},
    lifecycle::{self, RequiredRule},
    names::{AccountId, KeyArn, RoleArn, bucket_arn},
    plan::Read,
    policy::{self, Statement},
    registry::{Registration, RegistryError},
    trail::RequiredTrail,
};

/// The inventory configuration that is ours.
pub const INVENTORY_ID: &str = "encryption-and-replication";

/// The desired state of every control of one bucket.
#[derive(Clone, Debug)]
pub struct Baseline {
    pub bucket_arn: String,
    pub account: AccountId,
    pub key: KeyArn,
    pub policy: Vec<Statement>,
    pub drop_dead_principals: bool,
    pub lifecycle: [RequiredRule; 2],
    pub inventory: RequiredInventory,
    /// `None`: the key is another account's, and so not ours to keep.
    pub kms_key: Option<RequiredKey>,
    /// `None`: the registry names no trail, or one of another account, such as the organization's.
    pub trail: Option<RequiredTrail>,
    /// Our own role, which no policy that we write may lock out.
    pub role: RoleArn,
}

impl Baseline {
    /// What the registry says of a bucket, spelled out. `owner`: the account we are in.
    pub fn new(registration: &Registration, owner: &AccountId, role: &RoleArn) -> Result<Self, RegistryError> {
        let Registration { bucket, account, key_arn, lifecycle, policy, drop_dead_principals, .. } = registration;
        if account != owner {
            // S3 lets nobody else write a bucket's policy.
            return Err(
                registration.invalid(format!("account: the guardrail is in {owner} and guards no bucket of {account}"))
            );
        }
        let partition = key_arn.parts().partition;
        let own = |account: &str| account == owner.as_str();
        let trail_arn = registration.trail_arn.as_ref().filter(|it| own(it.parts().account));
        let trail = trail_arn.map(|arn| {
            Ok::<_, RegistryError>(RequiredTrail {
                arn: arn.clone(),
                key: key_arn.clone(),
                log_bucket: registration.log_bucket()?,
                objects: format!("{}/", bucket_arn(partition, bucket)),
            })
        });
        let kms_key = own(key_arn.parts().account).then(|| RequiredKey {
            arn: key_arn.clone(),
            duty: Duty::Encrypt,
            alias: registration.key_alias.clone(),
            statements: kms_key::service_statements(partition, owner, trail_arn),
        });
        Ok(Self {
            bucket_arn: bucket_arn(partition, bucket),
            account: account.clone(),
            key: key_arn.clone(),
            policy: policy::required(*policy, partition, bucket, key_arn),
            drop_dead_principals: *drop_dead_principals,
            lifecycle: lifecycle::required(*lifecycle),
            inventory: RequiredInventory {
                bucket_arn: bucket_arn(partition, &registration.inventory_bucket()?),
                account: account.clone(),
                key: key_arn.clone(),
                format: registration.inventory.format,
            },
            kms_key,
            trail: trail.transpose()?,
            role: role.clone(),
        })
    }
}

impl Baseline {
    /// The same bucket with a key that it had before, if that is ours to keep; only the key is asked for then.
    pub fn with_former_key(&self, key: &KeyArn) -> Option<Self> {
        let is_own = key.parts().account == self.account.as_str();
        let required = || RequiredKey { arn: key.clone(), duty: Duty::Decrypt, alias: None, statements: Vec::new() };
        is_own.then(|| Self { kms_key: Some(required()), trail: None, ..self.clone() })
    }
}

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
    pub const ALL: Self = Self {
        block_public_acls: true,
        ignore_public_acls: true,
        block_public_policy: true,
        restrict_public_buckets: true,
    };
}

/// Who owns new objects, and whether ACLs count.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html>
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ObjectOwnership {
    /// `BucketOwnerEnforced` turns ACLs off. `None`: never set, ACLs are on.
    pub object_ownership: Option<String>,
    /// What the ACL gives to others than the owner, as `GRANTEE PERMISSION`. Without effect while ACLs are off. What could
    /// not be read is `null` in JSON.
    #[serde(serialize_with = "if_read", deserialize_with = "read_if_known")]
    pub acl_grants: Read<Vec<String>>,
}

impl ObjectOwnership {
    /// ACLs are off.
    pub fn is_enforced(&self) -> bool {
        self.object_ownership.as_deref() == Some("BucketOwnerEnforced")
    }

    /// ACLs off, and nobody else in the ACL.
    pub fn enforced() -> Self {
        Self { object_ownership: Some("BucketOwnerEnforced".to_owned()), acl_grants: Ok(Vec::new()) }
    }

    /// Whether both say the same: grants have no order.
    pub fn means(&self, other: &Self) -> bool {
        let grants = |it: &Self| Some(it.acl_grants.as_ref().ok()?.iter().cloned().collect::<BTreeSet<_>>());
        self.object_ownership == other.object_ownership && grants(self) == grants(other)
    }
}

fn if_read<S: Serializer>(grants: &Read<Vec<String>>, serializer: S) -> Result<S::Ok, S::Error> {
    grants.as_ref().ok().serialize(serializer)
}

fn read_if_known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Read<Vec<String>>, D::Error> {
    let grants = Option::<Vec<String>>::deserialize(deserializer)?;
    Ok(grants.ok_or_else(|| ApiError::new("GetBucketAcl", "whom the ACL let in could not be read then")))
}

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
    pub fn of(name: &str) -> Option<Self> {
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
        let found_format = observed.and_then(|it| InventoryFormat::of(&it.format));
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
