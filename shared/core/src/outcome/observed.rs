//! What AWS says of a bucket, its key and its trail now.

use crate::{
    control::{
        default_encryption::DefaultEncryption, inventory::Inventory, kms_key::KmsKey, lifecycle::Lifecycle,
        object_ownership::ObjectOwnership, public_access_block::PublicAccessBlock, trail::Trail,
        versioning::Versioning,
    },
    value::{
        failure::{ApiError, Read},
        policy::Policy,
    },
};

/// What was looked at, and what AWS says of it now. `None`: not looked at this time, or not ours to keep.
#[derive(Debug, Default)]
pub struct Seen {
    pub bucket: Option<Observed>,
    pub kms_key: Option<Read<KmsKey>>,
    /// A trail that does not exist is no trail.
    pub trail: Option<Read<Option<Trail>>>,
}

/// What AWS says of a bucket's own settings now: one field per control.
#[derive(Debug)]
pub struct Observed {
    pub public_access_block: Read<PublicAccessBlock>,
    pub object_ownership: Read<ObjectOwnership>,
    pub bucket_policy: Read<Policy>,
    pub default_encryption: Read<DefaultEncryption>,
    pub versioning: Read<Versioning>,
    pub lifecycle: Read<Lifecycle>,
    pub inventory: Read<Option<Inventory>>,
}

impl Seen {
    /// The bucket does not exist.
    pub fn is_gone(&self) -> bool {
        self.bucket.as_ref().is_some_and(Observed::is_gone)
    }
}

impl From<Observed> for Seen {
    fn from(bucket: Observed) -> Self {
        Self { bucket: Some(bucket), ..Self::default() }
    }
}

impl Observed {
    /// A bucket without any setting.
    pub fn empty() -> Self {
        Self {
            public_access_block: Ok(PublicAccessBlock::default()),
            object_ownership: Ok(ObjectOwnership { object_ownership: None, acl_grants: Ok(Vec::new()) }),
            bucket_policy: Ok(Policy::default()),
            default_encryption: Ok(DefaultEncryption::default()),
            versioning: Ok(Versioning::default()),
            lifecycle: Ok(Lifecycle::default()),
            inventory: Ok(None),
        }
    }

    /// The bucket does not exist: all reads say so. If only some do, something else is going on, and it stays unknown.
    pub fn is_gone(&self) -> bool {
        self.errors().into_iter().all(|it| it.is_some_and(ApiError::is_gone))
    }

    /// Some reads say that the bucket does not exist, and others do not.
    pub fn is_partly_gone(&self) -> bool {
        self.errors().into_iter().flatten().any(ApiError::is_gone) && !self.is_gone()
    }

    /// Why each setting could not be read.
    pub fn errors(&self) -> [Option<&ApiError>; 7] {
        let Self {
            public_access_block,
            object_ownership,
            bucket_policy,
            default_encryption,
            versioning,
            lifecycle,
            inventory,
        } = self;
        [
            public_access_block.as_ref().err(),
            object_ownership.as_ref().err(),
            bucket_policy.as_ref().err(),
            default_encryption.as_ref().err(),
            versioning.as_ref().err(),
            lifecycle.as_ref().err(),
            inventory.as_ref().err(),
        ]
    }
}
