//! Who owns new objects, and the ACL, which is off.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use crate::{
    control::{
        setting::{BucketSetting, SettingError, from_fields},
        vocabulary::{ApiCall, Vocabulary},
    },
    value::{
        failure::{ApiError, Read},
        grant::Grant,
    },
};

/// Its row of the table.
pub const ROW: Vocabulary = Vocabulary {
    id: "object-ownership",
    events: &["PutBucketOwnershipControls", "DeleteBucketOwnershipControls", "PutBucketAcl"],
    calls: &[
        ApiCall::read("GetBucketOwnershipControls", "s3:GetBucketOwnershipControls"),
        ApiCall::read("GetBucketAcl", "s3:GetBucketAcl"),
        ApiCall::write("PutBucketAcl", "s3:PutBucketAcl"),
        ApiCall::write("PutBucketOwnershipControls", "s3:PutBucketOwnershipControls"),
    ],
};

/// Who owns new objects, and whether ACLs count.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html>
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ObjectOwnership {
    /// `BucketOwnerEnforced` turns ACLs off. `None`: never set, ACLs are on.
    pub object_ownership: Option<String>,
    /// What the ACL gives to others than the owner. Without effect while ACLs are off. What could
    /// not be read is `null` in JSON.
    #[serde(serialize_with = "if_read", deserialize_with = "read_if_known")]
    pub acl_grants: Read<Vec<Grant>>,
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

    /// Whether both are known to say the same: grants have no order.
    pub fn means(&self, other: &Self) -> bool {
        let (Ok(mine), Ok(theirs)) = (&self.acl_grants, &other.acl_grants) else { return false };
        let set = |grants: &[Grant]| grants.iter().cloned().collect::<BTreeSet<_>>();
        self.object_ownership == other.object_ownership && set(mine) == set(theirs)
    }
}

fn if_read<S: Serializer>(grants: &Read<Vec<Grant>>, serializer: S) -> Result<S::Ok, S::Error> {
    grants.as_ref().ok().serialize(serializer)
}

fn read_if_known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Read<Vec<Grant>>, D::Error> {
    let grants = Option::<Vec<Grant>>::deserialize(deserializer)?;
    Ok(grants.ok_or_else(|| ApiError::new("GetBucketAcl", "whom the ACL let in could not be read then")))
}

impl BucketSetting for ObjectOwnership {
    fn unset() -> Self {
        Self { object_ownership: None, acl_grants: Ok(Vec::new()) }
    }

    fn to_json(&self) -> Value {
        json!(self)
    }

    fn from_record(record: &Value) -> Result<Self, SettingError> {
        from_fields(record)
    }

    fn is(&self, other: &Self) -> bool {
        self.means(other)
    }

    /// ACLs are on again, and nobody is granted anything yet.
    fn is_halfway_to(&self, before: &Self) -> bool {
        self.object_ownership == before.object_ownership && self.acl_grants.as_ref().is_ok_and(Vec::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ownership(object_ownership: Option<&str>, grants: &[&str]) -> ObjectOwnership {
        let acl_grants = Ok(grants.iter().map(|it| it.parse().unwrap()).collect());
        ObjectOwnership { object_ownership: object_ownership.map(str::to_owned), acl_grants }
    }

    fn unread() -> ObjectOwnership {
        ObjectOwnership { acl_grants: Err(ApiError::new("GetBucketAcl", "denied")), ..ObjectOwnership::unset() }
    }

    #[test]
    fn grants_have_no_order_and_what_was_not_read_is_nothing_alike() {
        let both = ownership(None, &["a READ", "b WRITE"]);
        assert!(both.is(&ownership(None, &["b WRITE", "a READ"])));
        assert!(!both.is(&ownership(None, &["a READ"])));
        assert!(!both.is(&ownership(Some("ObjectWriter"), &["a READ", "b WRITE"])));
        assert!(!unread().is(&unread()) && !unread().is(&ObjectOwnership::unset()));
    }

    #[test]
    fn a_record_says_whether_the_acl_could_be_read() {
        let both = ownership(Some("ObjectWriter"), &["a READ", "b WRITE"]);
        assert_eq!(both.to_json(), json!({"ObjectOwnership": "ObjectWriter", "AclGrants": ["a READ", "b WRITE"]}));
        assert_eq!(ObjectOwnership::from_record(&both.to_json()).unwrap(), both);
        assert_eq!(unread().to_json()["AclGrants"], Value::Null);
        assert!(ObjectOwnership::from_record(&unread().to_json()).unwrap().acl_grants.is_err());
        assert!(ObjectOwnership::from_record(&json!({"AclGrants": [1]})).is_err());
    }

    #[test]
    fn halfway_back_nobody_is_granted_anything_yet() {
        let before = ownership(Some("ObjectWriter"), &["a READ"]);
        for (now, is_halfway) in [
            (ownership(Some("ObjectWriter"), &[]), true),
            (before.clone(), false),
            (ObjectOwnership::enforced(), false),
            (ownership(None, &[]), false),
        ] {
            assert_eq!(now.is_halfway_to(&before), is_halfway, "{now:?}");
        }
        assert!(!unread().is_halfway_to(&ObjectOwnership::unset()));
    }
}
