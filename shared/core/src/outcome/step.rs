//! What to do about one control, and what that changes.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    control::{
        bucket_policy::PolicyRefusal,
        default_encryption::DefaultEncryption,
        inventory::Inventory,
        kms_key::{KeyRefusal, KmsKey},
        lifecycle::{self, Lifecycle},
        object_ownership::ObjectOwnership,
        public_access_block::PublicAccessBlock,
        setting::BucketSetting,
        table::Control,
        trail::{Trail, TrailRefusal},
        versioning::Versioning,
    },
    outcome::exemption::Exemption,
    value::{drift::Drift, failure::ApiError, policy::Policy},
};

/// A control that is not as it should be.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    PublicAccessBlock(Drift<PublicAccessBlock>),
    ObjectOwnership(Drift<ObjectOwnership>),
    BucketPolicy(Drift<Policy>),
    DefaultEncryption(Drift<DefaultEncryption>),
    Versioning(Drift<Versioning>),
    Lifecycle(Drift<Lifecycle>),
    Inventory(Box<Drift<Option<Inventory>, Inventory>>),
    KmsKey(Box<Drift<KmsKey>>),
    Trail(Box<Drift<Option<Trail>, Trail>>),
}

/// What to do about one control that is not, or not known to be, as it should be.
#[derive(Debug)]
pub enum Step {
    Restore(Change),
    /// Drift that only gets told: dry run, or observe mode.
    Tell(Change),
    Exempt(Change, Exemption),
    /// Our own restore did not hold: writing again would be a loop.
    Unstable(Change),
    /// It may not have held; it is too early to say.
    NotYet(Change),
    /// Somebody fights over it, and it was just restored: not before then.
    Braked(Change, Timestamp),
    /// Found on events of our own writes, where another write could be a loop. The event of whoever made it, or the next
    /// sweep, has it restored.
    Left(Change),
    /// Somebody fights over it, and its owner wants that left.
    Held(Change),
    /// No call there is would restore any of it.
    Refused(Change, Refusal),
    Unreadable(Control, ApiError),
}

/// Why a drift is not restored although it should be.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Policy(#[from] PolicyRefusal),
    #[error("the lifecycle configuration with the required rules would have {0} rules and S3 allows {max}; remove some", max = lifecycle::MAX_RULES)]
    TooManyRules(usize),
    #[error(transparent)]
    Key(#[from] KeyRefusal),
    #[error(transparent)]
    Trail(#[from] TrailRefusal),
}

impl Step {
    /// What is to be done when there was no time to read again what is doubtful.
    pub fn in_doubt(self) -> Self {
        match self {
            Self::Unstable(change) => Self::NotYet(change),
            other => other,
        }
    }

    /// Whether it writes.
    pub fn is_write(&self) -> bool {
        matches!(self, Self::Restore(_))
    }

    /// Whether the control was read as something that it should not be.
    pub fn is_drift(&self) -> bool {
        !matches!(self, Self::Unreadable(..))
    }

    /// The control it is about.
    pub fn control(&self) -> Control {
        match self {
            Self::Restore(change)
            | Self::Tell(change)
            | Self::Exempt(change, _)
            | Self::Unstable(change)
            | Self::NotYet(change)
            | Self::Braked(change, _)
            | Self::Left(change)
            | Self::Held(change)
            | Self::Refused(change, _) => change.control(),
            Self::Unreadable(control, _) => *control,
        }
    }
}

impl Change {
    /// The control it restores.
    pub fn control(&self) -> Control {
        match self {
            Self::PublicAccessBlock(_) => Control::PublicAccessBlock,
            Self::ObjectOwnership(_) => Control::ObjectOwnership,
            Self::BucketPolicy(_) => Control::BucketPolicy,
            Self::DefaultEncryption(_) => Control::DefaultEncryption,
            Self::Versioning(_) => Control::Versioning,
            Self::Lifecycle(_) => Control::Lifecycle,
            Self::Inventory(_) => Control::Inventory,
            Self::KmsKey(_) => Control::KmsKey,
            Self::Trail(_) => Control::Trail,
        }
    }

    /// The same as a record holds it, so that all of it can be read again.
    pub fn to_record(&self) -> (Value, Value) {
        match self {
            Self::Lifecycle(drift) => (drift.observed.to_record(), drift.desired.to_record()),
            other => other.to_json(),
        }
    }

    /// What is and what should be, as JSON in AWS's words.
    pub fn to_json(&self) -> (Value, Value) {
        match self {
            Self::PublicAccessBlock(drift) => (json!(drift.observed), json!(drift.desired)),
            Self::ObjectOwnership(drift) => (json!(drift.observed), json!(drift.desired)),
            Self::BucketPolicy(drift) => (drift.observed.to_json(), drift.desired.to_json()),
            Self::DefaultEncryption(drift) => (json!(drift.observed), json!(drift.desired)),
            Self::Versioning(drift) => (json!(drift.observed), json!(drift.desired)),
            Self::Lifecycle(drift) => (drift.observed.to_json(), drift.desired.to_json()),
            Self::Inventory(drift) => (json!(drift.observed), json!(drift.desired)),
            Self::KmsKey(drift) => (drift.observed.to_json(), drift.desired.to_json()),
            Self::Trail(drift) => (json!(drift.observed), drift.desired.to_json()),
        }
    }
}
