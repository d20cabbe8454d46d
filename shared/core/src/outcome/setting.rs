//! A setting as it was or is, as a record holds it.

use serde_json::{Value, json};

use crate::{
    control::{
        default_encryption::DefaultEncryption, inventory::Inventory, lifecycle::Lifecycle,
        object_ownership::ObjectOwnership, public_access_block::PublicAccessBlock, table::Control,
        versioning::Versioning,
    },
    outcome::{observed::Observed, step::Change},
    value::{
        failure::ApiError,
        policy::{Policy, PolicyError},
        xml::XmlError,
    },
};

/// A setting of a bucket's own as it was, or is.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    PublicAccessBlock(PublicAccessBlock),
    ObjectOwnership(ObjectOwnership),
    BucketPolicy(Policy),
    DefaultEncryption(DefaultEncryption),
    Versioning(Versioning),
    Lifecycle(Lifecycle),
    Inventory(Option<Inventory>),
}

/// A value is not a control's setting.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error("the lifecycle configuration is not XML: {0}")]
    Lifecycle(#[from] XmlError),
}

/// Before and after, so that all of it can be read again.
pub fn settings(change: &Change) -> (Value, Value) {
    match change {
        // As JSON, XML loses what only XML says.
        Change::Lifecycle(drift) => (lifecycle_document(&drift.observed), lifecycle_document(&drift.desired)),
        other => other.to_json(),
    }
}

fn lifecycle_document(lifecycle: &Lifecycle) -> Value {
    json!({
        "Document": lifecycle.document(),
        "TransitionDefaultMinimumObjectSize": lifecycle.transition_default_minimum_object_size,
    })
}

impl Setting {
    /// Reads what a record holds; `None` when it is not a setting of the bucket's own.
    pub fn parse(control: Control, value: &Value) -> Result<Option<Self>, SettingError> {
        let value = value.clone();
        Ok(Some(match control {
            Control::PublicAccessBlock => Self::PublicAccessBlock(serde_json::from_value(value)?),
            Control::ObjectOwnership => Self::ObjectOwnership(serde_json::from_value(value)?),
            Control::BucketPolicy if value.is_null() => Self::BucketPolicy(Policy::default()),
            Control::BucketPolicy => Self::BucketPolicy(Policy::parse(&value.to_string())?),
            Control::DefaultEncryption => Self::DefaultEncryption(serde_json::from_value(value)?),
            Control::Versioning => Self::Versioning(serde_json::from_value(value)?),
            Control::Lifecycle => {
                let size = value["TransitionDefaultMinimumObjectSize"].as_str().map(str::to_owned);
                Self::Lifecycle(Lifecycle::parse(value["Document"].as_str().unwrap_or_default(), size)?)
            }
            Control::Inventory => Self::Inventory(serde_json::from_value(value)?),
            Control::KmsKey | Control::Trail => return Ok(None),
        }))
    }

    /// The bucket's settings as they are now; `None` for one that cannot be read.
    pub fn all(observed: Observed) -> Vec<(Control, Result<Self, ApiError>)> {
        let Observed {
            public_access_block,
            object_ownership,
            bucket_policy,
            default_encryption,
            versioning,
            lifecycle,
            inventory,
        } = observed;
        vec![
            (Control::PublicAccessBlock, public_access_block.map(Self::PublicAccessBlock)),
            (Control::ObjectOwnership, object_ownership.map(Self::ObjectOwnership)),
            (Control::BucketPolicy, bucket_policy.map(Self::BucketPolicy)),
            (Control::DefaultEncryption, default_encryption.map(Self::DefaultEncryption)),
            (Control::Versioning, versioning.map(Self::Versioning)),
            (Control::Lifecycle, lifecycle.map(Self::Lifecycle)),
            (Control::Inventory, inventory.map(Self::Inventory)),
        ]
    }

    /// The same as far as S3 lets anybody go back: versioning that was once enabled can only be suspended.
    pub fn reachable(self) -> Self {
        match self {
            Self::Versioning(Versioning { status: None, mfa_delete }) => {
                Self::Versioning(Versioning { status: Some("Suspended".to_owned()), mfa_delete })
            }
            other => other,
        }
    }

    /// Whether both mean the same to S3, which may send back other words than it got, and adds its defaults.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::BucketPolicy(one), Self::BucketPolicy(other)) => one.means(other),
            (Self::Lifecycle(one), Self::Lifecycle(other)) => one.means(other),
            (Self::ObjectOwnership(one), Self::ObjectOwnership(other)) => one.means(other),
            _ => self == other,
        }
    }

    /// The same, in the words of another as far as they say the same: what is left to be seen differs.
    pub fn in_words_of(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::BucketPolicy(one), Self::BucketPolicy(other)) => Self::BucketPolicy(one.in_words_of(other)),
            (Self::Lifecycle(one), Self::Lifecycle(other)) => Self::Lifecycle(one.in_words_of(other)),
            _ => self.clone(),
        }
    }

    /// Whether this is what a rollback that did not get to its end leaves: ACLs are on again, and nobody is granted
    /// anything yet.
    pub fn is_halfway_to(&self, before: &Self) -> bool {
        let (Self::ObjectOwnership(now), Self::ObjectOwnership(before)) = (self, before) else { return false };
        now.object_ownership == before.object_ownership && now.acl_grants.as_ref().is_ok_and(Vec::is_empty)
    }

    /// As a record holds it.
    /// As a record holds it, so that all of it can be read again.
    pub fn to_record(&self) -> Value {
        match self {
            Self::Lifecycle(it) => lifecycle_document(it),
            other => other.to_json(),
        }
    }

    /// In AWS's words, for people.
    pub fn to_json(&self) -> Value {
        match self {
            Self::PublicAccessBlock(it) => json!(it),
            Self::ObjectOwnership(it) => json!(it),
            Self::BucketPolicy(it) => it.to_json(),
            Self::DefaultEncryption(it) => json!(it),
            Self::Versioning(it) => json!(it),
            Self::Lifecycle(it) => it.to_json(),
            Self::Inventory(it) => json!(it),
        }
    }
}
