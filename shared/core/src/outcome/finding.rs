//! A control that was not as it should be, and what came of it.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::{
    control::table::Control,
    outcome::{exemption::Exemption, step::Change, trigger::Trigger},
    value::failure::{ApiError, Denial},
};

/// A control that was not as it should be, and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    pub control: Control,
    pub outcome: Outcome,
    /// Before, in AWS's words; `null` when unreadable.
    pub observed: Value,
    /// As it should be.
    pub desired: Value,
    pub error: Option<String>,
    /// The calls of others that can have caused it, the earliest first; none: no such call was seen yet.
    pub calls: Vec<Trigger>,
    /// What people should know of a restore although it worked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The kind of policy that denied the guardrail's role, when that is why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denied_by: Option<Denial>,
    /// Why drift was left as it is, where that is no failure.
    #[serde(
        rename = "exemption",
        skip_serializing_if = "Left::is_not_exempt",
        serialize_with = "Left::exemption_alone"
    )]
    pub left: Option<Left>,
    /// What of it has changed since it was observed; for the history.
    #[serde(skip)]
    pub written: Option<Written>,
}

/// Why drift was left as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// Its owner may let it drift.
    Exempt(Exemption),
    /// The whole account, or its organization, enforces the same, and keeps us from writing it.
    EnforcedAbove,
    /// It should be restored, by somebody else's look: the note says by whose.
    ForNow,
    /// Somebody fights over it, and its owner wants it left meanwhile.
    Held,
    /// It may be that our write did not hold, and it is too early to say so: the message comes again.
    NotYet,
}

impl Left {
    fn is_not_exempt(this: &Option<Self>) -> bool {
        !matches!(this, Some(Self::Exempt(_)))
    }

    fn exemption_alone<S: Serializer>(this: &Option<Self>, serializer: S) -> Result<S::Ok, S::Error> {
        match this {
            Some(Self::Exempt(exemption)) => exemption.serialize(serializer),
            _ => serializer.serialize_none(),
        }
    }
}

/// A change that took place, and through whom.
#[derive(Clone, Debug, PartialEq)]
pub enum Written {
    /// It was written here, or may have been.
    Here(Change),
    /// When it was about to be written, somebody else had done so: another invocation, or the caller themselves.
    ByAnother(Change),
}

impl Written {
    /// Before and after.
    pub fn change(&self) -> &Change {
        match self {
            Self::Here(change) | Self::ByAnother(change) => change,
        }
    }
}

/// What came of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Restored,
    WouldRestore,
    Failed,
    Unreadable,
    Exempt,
    Unstable,
}

impl Finding {
    /// A change that was written.
    pub fn restored(change: Change) -> Self {
        let finding = Self::from_change(&change, Outcome::Restored);
        Self { written: Some(Written::Here(change)), ..finding }
    }

    /// The finding of a change.
    pub fn from_change(change: &Change, outcome: Outcome) -> Self {
        Self::new(change.control(), outcome, change.to_json())
    }

    /// That nobody knows what a control is.
    pub fn unreadable(control: Control, error: &ApiError) -> Self {
        let (text, denied_by) = (Some(error.to_string()), error.denied_by());
        Self { error: text, denied_by, ..Self::new(control, Outcome::Unreadable, (Value::Null, Value::Null)) }
    }

    /// A finding of what was observed and what is desired, and nothing more.
    pub fn new(control: Control, outcome: Outcome, (observed, desired): (Value, Value)) -> Self {
        Self {
            control,
            outcome,
            observed,
            desired,
            error: None,
            calls: Vec::new(),
            note: None,
            denied_by: None,
            left: None,
            written: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        control::versioning::Versioning,
        value::{drift::Drift, failure::Answer},
    };

    #[test]
    fn a_finding_says_what_was_written_or_why_nothing_is_known() {
        let enabled = Versioning::default().enabled();
        let change = Change::Versioning(Drift { observed: Versioning::default(), desired: enabled });
        let restored = Finding::restored(change.clone());
        assert_eq!(restored.written.as_ref().map(Written::change), Some(&change));
        assert_eq!((&restored.observed["Status"], &restored.desired["Status"]), (&Value::Null, &json!("Enabled")));
        let denied = Answer { arrived: true, code: Some("AccessDenied"), ..Answer::default() };
        let error = ApiError::answered("GetBucketVersioning", denied, &std::fmt::Error);
        let unreadable = Finding::unreadable(Control::Versioning, &error);
        assert_eq!(unreadable.denied_by, Some(Denial::Unsaid));
        assert_eq!(unreadable.error, Some(error.to_string()));
        assert!(unreadable.written.is_none() && unreadable.observed.is_null());
    }
}
