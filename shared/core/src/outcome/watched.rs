//! What was found of the guardrail's own parts.

use serde::Serialize;

use crate::{outcome::trigger::Trigger, value::failure::ApiError};

/// A part that was not as it should be, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartFinding {
    pub part: String,
    pub outcome: PartOutcome,
    pub problem: String,
}

/// What came of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartOutcome {
    Restored,
    /// Not for the guardrail to put back: somebody has to.
    Broken,
    /// It was tried, and failed.
    Failed,
    Unreadable,
}

/// What happened to the guardrail itself.
#[derive(Clone, Debug, Serialize)]
pub struct Watched {
    pub outcome: WatchOutcome,
    /// What the call was aimed at; `None`: AWS does not say.
    pub part: Option<String>,
    pub trigger: Option<Trigger>,
    pub findings: Vec<PartFinding>,
    pub notified: bool,
}

/// What led to a look at the own parts, and what it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WatchOutcome {
    /// A call changed a part.
    Tampered,
    /// A call tried to change a part and failed.
    Attempted,
    /// The sweep found parts that are not as they should be.
    Broken,
    /// It was about none of our parts, or made by ourselves.
    Unguarded,
}

impl PartFinding {
    /// A part, and what came of it.
    pub fn new(part: impl Into<String>, outcome: PartOutcome, problem: impl ToString) -> Self {
        Self { part: part.into(), outcome, problem: problem.to_string() }
    }

    /// A part that AWS did not tell of.
    pub fn unreadable(part: impl Into<String>, error: &ApiError) -> Self {
        Self::new(part, PartOutcome::Unreadable, error)
    }
}
