//! What was found of the guardrail's own parts.

use serde::Serialize;

use crate::{
    outcome::{
        ledger::{Fact, FactKind},
        trigger::Trigger,
    },
    value::failure::ApiError,
};

/// How the name of a registry document begins, as a part.
pub const REGISTRY_DOCUMENT: &str = "registry document of ";

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
    /// What else people are told: what went on before, what is over, what another look found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Fact>,
    /// What this is part of, by the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
    /// Why nobody knows what was told before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ledger_error: Option<String>,
    /// The ledger has what is not as it should be.
    #[serde(skip)]
    pub kept_open: bool,
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
    /// All that was looked at is as it should be.
    Whole,
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

impl Watched {
    /// What a look came to that people do not know of yet.
    pub fn new(
        outcome: WatchOutcome,
        part: Option<String>,
        trigger: Option<Trigger>,
        findings: Vec<PartFinding>,
    ) -> Self {
        let (facts, incident, ledger_error) = (Vec::new(), None, None);
        Self { outcome, part, trigger, findings, facts, incident, ledger_error, kept_open: false, notified: false }
    }

    /// What of this people are to be told, and the facts that are not this look's own.
    pub fn about(&self, facts: Vec<Fact>, look: &str) -> Self {
        let is_call = |it: &Fact| it.is_of(look) && matches!(it.kind, FactKind::Tampered | FactKind::Attempted);
        let is_called = facts.iter().any(is_call);
        let is_found = |it: &Fact| {
            let is_finding = matches!(it.kind, FactKind::Restored | FactKind::Opened);
            it.is_of(look) && is_finding && self.findings.iter().any(|finding| finding.part == it.about)
        };
        let (own, facts): (Vec<_>, Vec<_>) = facts.into_iter().filter(|it| !is_call(it)).partition(is_found);
        // A call is told with all that is not as it should be after it.
        let is_told = |it: &&PartFinding| is_called || own.iter().any(|fact| fact.about == it.part);
        let findings: Vec<_> = self.findings.iter().filter(is_told).cloned().collect();
        let is_over = findings.is_empty() && facts.iter().all(|it| it.kind == FactKind::Cleared);
        let (outcome, part, trigger) = match (is_called, is_over) {
            (true, _) => (self.outcome, self.part.clone(), self.trigger.clone()),
            (false, true) => (WatchOutcome::Whole, None, None),
            (false, false) => (WatchOutcome::Broken, None, None),
        };
        Self { outcome, part, trigger, findings, facts, ..self.clone() }
    }
}
