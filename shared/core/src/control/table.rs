//! The controls, and what AWS calls their parts.
//!
//! CloudTrail, the S3 API and IAM name the same call differently. This table is the only place that holds
//! all three; the event patterns, the IAM policies and the code are tested against it.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/cloudtrail-logging-s3-info.html>

use serde::{Deserialize, Serialize};

/// One thing about a bucket that the guardrail keeps. Its id is the contract of logs, metrics, alerts and registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Control {
    PublicAccessBlock,
    ObjectOwnership,
    BucketPolicy,
    DefaultEncryption,
    Versioning,
    Lifecycle,
    Inventory,
    KmsKey,
    Trail,
}

/// What AWS calls a control's parts, in its three vocabularies.
#[derive(Clone, Copy, Debug)]
pub struct Vocabulary {
    /// The control's id.
    pub id: &'static str,
    /// CloudTrail event names of the calls that can make it drift.
    pub events: &'static [&'static str],
    /// API calls that read it.
    pub reads: &'static [&'static str],
    /// API calls that restore it.
    pub writes: &'static [&'static str],
    /// IAM actions that `reads` need.
    pub iam_reads: &'static [&'static str],
    /// IAM actions that `writes` need.
    pub iam_writes: &'static [&'static str],
}

impl Control {
    /// In restore order.
    pub const ALL: [Self; 9] = [
        Self::PublicAccessBlock,
        Self::ObjectOwnership,
        Self::BucketPolicy,
        Self::DefaultEncryption,
        Self::Versioning,
        Self::Lifecycle,
        Self::Inventory,
        Self::KmsKey,
        Self::Trail,
    ];

    /// Those that are settings of the bucket itself. The key and the trail may be shared with other buckets.
    pub const OF_BUCKET: [Self; 7] = {
        let [a, b, c, d, e, f, g, _, _] = Self::ALL;
        [a, b, c, d, e, f, g]
    };

    /// What AWS calls this control's parts.
    pub const fn vocabulary(self) -> Vocabulary {
        match self {
            Self::PublicAccessBlock => Vocabulary {
                id: "public-access-block",
                events: &["PutBucketPublicAccessBlock", "DeleteBucketPublicAccessBlock"],
                reads: &["GetPublicAccessBlock"],
                writes: &["PutPublicAccessBlock"],
                iam_reads: &["s3:GetBucketPublicAccessBlock"],
                iam_writes: &["s3:PutBucketPublicAccessBlock"],
            },
            Self::ObjectOwnership => Vocabulary {
                id: "object-ownership",
                events: &["PutBucketOwnershipControls", "DeleteBucketOwnershipControls", "PutBucketAcl"],
                reads: &["GetBucketOwnershipControls", "GetBucketAcl"],
                writes: &["PutBucketAcl", "PutBucketOwnershipControls"],
                iam_reads: &["s3:GetBucketOwnershipControls", "s3:GetBucketAcl"],
                iam_writes: &["s3:PutBucketAcl", "s3:PutBucketOwnershipControls"],
            },
            Self::BucketPolicy => Vocabulary {
                id: "bucket-policy",
                events: &["PutBucketPolicy", "DeleteBucketPolicy"],
                reads: &["GetBucketPolicy"],
                writes: &["PutBucketPolicy"],
                iam_reads: &["s3:GetBucketPolicy"],
                iam_writes: &["s3:PutBucketPolicy"],
            },
            Self::DefaultEncryption => Vocabulary {
                id: "default-encryption",
                events: &["PutBucketEncryption", "DeleteBucketEncryption"],
                reads: &["GetBucketEncryption"],
                writes: &["PutBucketEncryption"],
                iam_reads: &["s3:GetEncryptionConfiguration"],
                iam_writes: &["s3:PutEncryptionConfiguration"],
            },
            Self::Versioning => Vocabulary {
                id: "versioning",
                events: &["PutBucketVersioning"],
                reads: &["GetBucketVersioning"],
                writes: &["PutBucketVersioning"],
                iam_reads: &["s3:GetBucketVersioning"],
                iam_writes: &["s3:PutBucketVersioning"],
            },
            Self::Lifecycle => Vocabulary {
                id: "lifecycle",
                events: &["PutBucketLifecycle", "DeleteBucketLifecycle"],
                reads: &["GetBucketLifecycleConfiguration"],
                writes: &["PutBucketLifecycleConfiguration"],
                iam_reads: &["s3:GetLifecycleConfiguration"],
                iam_writes: &["s3:PutLifecycleConfiguration"],
            },
            Self::Inventory => Vocabulary {
                id: "inventory",
                events: &["PutBucketInventoryConfiguration", "DeleteBucketInventoryConfiguration"],
                reads: &["GetBucketInventoryConfiguration"],
                writes: &["PutBucketInventoryConfiguration"],
                iam_reads: &["s3:GetInventoryConfiguration"],
                iam_writes: &["s3:PutInventoryConfiguration"],
            },
            Self::KmsKey => Vocabulary {
                id: "kms-key",
                events: &[
                    "DisableKey",
                    "ScheduleKeyDeletion",
                    "DeleteImportedKeyMaterial",
                    "DisableKeyRotation",
                    "PutKeyPolicy",
                    "DeleteAlias",
                    "UpdateAlias",
                ],
                reads: &["DescribeKey", "GetKeyRotationStatus", "GetKeyPolicy"],
                writes: &[
                    "CancelKeyDeletion",
                    "EnableKey",
                    "EnableKeyRotation",
                    "PutKeyPolicy",
                    "CreateAlias",
                    "UpdateAlias",
                ],
                iam_reads: &["kms:DescribeKey", "kms:GetKeyRotationStatus", "kms:GetKeyPolicy"],
                iam_writes: &[
                    "kms:CancelKeyDeletion",
                    "kms:EnableKey",
                    "kms:EnableKeyRotation",
                    "kms:PutKeyPolicy",
                    "kms:CreateAlias",
                    "kms:UpdateAlias",
                ],
            },
            Self::Trail => Vocabulary {
                id: "trail",
                events: &["StopLogging", "DeleteTrail", "UpdateTrail", "PutEventSelectors"],
                reads: &["GetTrail", "GetTrailStatus", "GetEventSelectors"],
                writes: &["CreateTrail", "UpdateTrail", "PutEventSelectors", "StartLogging"],
                iam_reads: &["cloudtrail:GetTrail", "cloudtrail:GetTrailStatus", "cloudtrail:GetEventSelectors"],
                iam_writes: &[
                    "cloudtrail:CreateTrail",
                    "cloudtrail:UpdateTrail",
                    "cloudtrail:PutEventSelectors",
                    "cloudtrail:StartLogging",
                ],
            },
        }
    }

    /// The control's id: `public-access-block`.
    pub const fn id(self) -> &'static str {
        self.vocabulary().id
    }

    /// The control that a call of this CloudTrail event name can make drift.
    pub fn of_event(event_name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.vocabulary().events.contains(&event_name))
    }
}

impl std::fmt::Display for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.id())
    }
}

/// Events about a guarded bucket that people are told of, though there is nothing to restore.
pub const TOLD_EVENTS: [&str; 6] =
    ["PutBucketTagging", "DeleteBucketTagging", "TagResource", "UntagResource", "CreateBucket", "DeleteBucket"];

/// Events about settings that belong to a guarded bucket's owner and can open the bucket or void its baseline, and what
/// each setting decides. People are told of them; nothing is undone. Access points are S3 Control's, which CloudTrail
/// records as S3.
pub const OWNERS_EVENTS: [(&str, &str); 11] = [
    ("PutBucketReplication", "where S3 copies its objects to"),
    ("DeleteBucketReplication", "where S3 copies its objects to"),
    ("PutBucketWebsite", "whether it is served as a website"),
    ("DeleteBucketWebsite", "whether it is served as a website"),
    ("CreateAccessPoint", "by which access points it can be reached"),
    ("DeleteAccessPoint", "by which access points it can be reached"),
    ("PutAccessPointPolicy", "who may use one of its access points"),
    ("DeleteAccessPointPolicy", "who may use one of its access points"),
    ("PutBucketObjectLockConfiguration", "how long its new objects are locked"),
    ("PutBucketLogging", "where its access log goes"),
    ("PutBucketNotification", "who hears of its new objects"),
];

/// What a setting of the owner's decides that a call of this CloudTrail event name changes.
pub fn owners_setting(event_name: &str) -> Option<&'static str> {
    OWNERS_EVENTS.into_iter().find(|it| it.0 == event_name).map(|it| it.1)
}

/// Whether people are told of a call of this CloudTrail event name about a guarded bucket, whatever it did.
pub fn is_told(event_name: &str) -> bool {
    TOLD_EVENTS.contains(&event_name) || owners_setting(event_name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_the_same_in_json_and_in_the_table() {
        for control in Control::ALL {
            assert_eq!(serde_json::to_value(control).unwrap(), control.id());
        }
    }

    #[test]
    fn all_is_in_restore_order() {
        assert!(Control::ALL.is_sorted());
    }
}
