//! The controls, in the order in which they are restored: one file each, one row each.

use serde::{Deserialize, Serialize};

use crate::control::{
    bucket_policy, default_encryption, inventory, kms_key, lifecycle, object_ownership, public_access_block,
    versioning,
    vocabulary::{ApiCall, Vocabulary},
};

/// The controls that are settings of a bucket's own, in the order in which they are restored: name, field, and the value
/// that AWS has of it. This is the one list: what is said of each of them is made of it.
#[macro_export]
macro_rules! for_settings_of_buckets {
    ($make:ident) => {
        $make! {
            // First shut the door: this alone makes public policies and ACLs inert.
            PublicAccessBlock public_access_block $crate::control::public_access_block::PublicAccessBlock,
            ObjectOwnership object_ownership $crate::control::object_ownership::ObjectOwnership,
            BucketPolicy bucket_policy $crate::value::policy::Policy,
            DefaultEncryption default_encryption $crate::control::default_encryption::DefaultEncryption,
            Versioning versioning $crate::control::versioning::Versioning,
            // Only now: expiring noncurrent versions means something once there are versions.
            Lifecycle lifecycle $crate::control::lifecycle::Lifecycle,
            Inventory inventory Option<$crate::control::inventory::Inventory>,
        }
    };
}
macro_rules! controls {
    ($($name:ident $field:ident $value:ty,)*) => {
        /// One thing about a bucket that the guardrail keeps. Its id is the contract of logs, metrics, alerts and registry.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Control {
            $($name,)*
            KmsKey,
            Trail,
        }

        impl Control {
            /// Those that are settings of the bucket itself. The key and the trail may be shared with other buckets.
            pub const OF_BUCKET: [Self; [$(stringify!($name)),*].len()] = [$(Self::$name),*];

            /// In restore order.
            pub const ALL: [Self; Self::OF_BUCKET.len() + 2] = [$(Self::$name,)* Self::KmsKey, Self::Trail];

            /// What AWS calls this control's parts.
            pub const fn vocabulary(self) -> Vocabulary {
                match self {
                    $(Self::$name => $field::ROW,)*
                    Self::KmsKey => kms_key::ROW,
                    Self::Trail => TRAIL,
                }
            }
        }
    };
}
crate::for_settings_of_buckets!(controls);

/// Here, because what a trail has to log is what this table watches: its own file reads it.
const TRAIL: Vocabulary = Vocabulary {
    id: "trail",
    events: &["StopLogging", "DeleteTrail", "UpdateTrail", "PutEventSelectors"],
    calls: &[
        ApiCall::read("GetTrail", "cloudtrail:GetTrail"),
        ApiCall::read("GetTrailStatus", "cloudtrail:GetTrailStatus"),
        ApiCall::read("GetEventSelectors", "cloudtrail:GetEventSelectors"),
        ApiCall::write("CreateTrail", "cloudtrail:CreateTrail"),
        ApiCall::write("UpdateTrail", "cloudtrail:UpdateTrail"),
        ApiCall::write("PutEventSelectors", "cloudtrail:PutEventSelectors"),
        ApiCall::write("StartLogging", "cloudtrail:StartLogging"),
    ],
};

impl Control {
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
    OWNERS_EVENTS.into_iter().find(|(event, _)| *event == event_name).map(|(_, decides)| decides)
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
    fn no_event_is_two_things() {
        let mut events = std::collections::BTreeSet::new();
        for event in Control::ALL.iter().flat_map(|it| it.vocabulary().events) {
            assert!(events.insert(event), "{event} makes two controls drift");
            assert!(!is_told(event), "{event} is restored, and told as nothing to restore");
        }
    }

    #[test]
    fn all_is_in_restore_order() {
        assert!(Control::ALL.is_sorted());
    }
}
