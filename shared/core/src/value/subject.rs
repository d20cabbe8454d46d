//! What one look is about.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::value::names::{BucketName, KeyArn, TrailArn};

/// A bucket with its settings, or what many buckets lean on, which is looked at once for all of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Bucket(BucketName),
    Key(KeyArn),
    Trail(TrailArn),
    /// The guardrail's own parts.
    Guardrail,
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bucket(it) => write!(f, "bucket:{it}"),
            Self::Key(it) => write!(f, "key:{it}"),
            Self::Trail(it) => write!(f, "trail:{it}"),
            Self::Guardrail => f.write_str("guardrail"),
        }
    }
}
