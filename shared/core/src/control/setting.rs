//! What every setting of a bucket's own can do.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::value::{policy::PolicyError, xml::XmlError};

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

/// A setting of a bucket's own, one for each control of [`table`](super::table).
pub trait BucketSetting: Clone + PartialEq {
    /// What a bucket has that never got one.
    fn unset() -> Self;

    /// In AWS's words, for people.
    fn to_json(&self) -> Value;

    /// As a record holds it, so that all of it can be read again.
    fn to_record(&self) -> Value {
        self.to_json()
    }

    /// Reads what a record holds.
    fn from_record(record: &Value) -> Result<Self, SettingError>;

    /// Whether both mean the same to S3, which may send back other words than it got, and adds its defaults.
    fn is(&self, other: &Self) -> bool {
        self == other
    }

    /// The same, in the words of another as far as they say the same: what is left to be seen differs.
    #[must_use]
    fn in_words_of(&self, _other: &Self) -> Self {
        self.clone()
    }

    /// The same as far as S3 lets anybody go back.
    #[must_use]
    fn reachable(self) -> Self {
        self
    }

    /// Whether this is what a rollback to `_before` that did not get to its end leaves.
    fn is_halfway_to(&self, _before: &Self) -> bool {
        false
    }
}

/// Reads a record that holds the setting as its fields say.
pub(super) fn from_fields<T: DeserializeOwned>(record: &Value) -> Result<T, SettingError> {
    Ok(T::deserialize(record)?)
}
