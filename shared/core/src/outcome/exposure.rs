//! What the baseline leaves to the owner, and what opens or destroys all the same.

use serde::Serialize;

use crate::control::table::Control;

/// A setting of the owner's that opens or destroys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exposure {
    pub kind: ExposureKind,
    /// Which control's document it stands in.
    #[serde(rename = "in")]
    pub control: Control,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// The same for the same exposure, whenever it is looked at.
    pub id: String,
    /// Who can do what, in words.
    pub detail: String,
}

/// What a setting does that opens or destroys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExposureKind {
    /// Somebody outside of the account may read or write.
    ForeignAccess,
    /// A rule removes current objects, or old versions earlier than the baseline does.
    EarlyDeletion,
}

/// Whether whoever is let in is a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// An organization, a network, a canonical user: that cannot be told from here.
    CannotTell,
    /// Another account, by name, or anybody.
    Foreign,
}

impl Exposure {
    /// Whether people must hear of it at once.
    pub fn is_critical(&self) -> bool {
        self.answer != Some(Answer::CannotTell)
    }
}

impl std::fmt::Display for ExposureKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ForeignAccess => "foreign-access",
            Self::EarlyDeletion => "early-deletion",
        })
    }
}

#[cfg(test)]
impl Exposure {
    /// One that says no more than what it is.
    pub(crate) fn example(kind: ExposureKind, control: Control) -> Self {
        Self { kind, control, answer: None, id: String::new(), detail: String::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_called_the_same_in_json_and_in_text() {
        for kind in [ExposureKind::ForeignAccess, ExposureKind::EarlyDeletion] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.to_string());
        }
    }

    #[test]
    fn only_what_cannot_be_told_can_wait() {
        let exposure = |answer| {
            let (kind, control) = (ExposureKind::ForeignAccess, Control::BucketPolicy);
            Exposure { kind, control, answer, id: String::new(), detail: String::new() }
        };
        let critical = [None, Some(Answer::Foreign), Some(Answer::CannotTell)].map(|it| exposure(it).is_critical());
        assert_eq!(critical, [true, true, false]);
    }
}
