//! Whether an event is about a write of our own.

use crate::{
    control::table::Control,
    edge::event::Event,
    outcome::{
        finding::Left,
        report::{BucketOutcome, Report},
    },
    value::names::RoleArn,
};

impl Event {
    /// Whether this event is about a write of our own.
    pub fn echo(&self, own_role: &RoleArn) -> Echo {
        if !self.is_of(own_role) {
            return Echo::No;
        }
        let marked = self.trigger.user_agent.as_deref().is_some_and(|it| it.contains(&format!("app/{ECHO_APP_NAME}")));
        let own = Control::of_event(&self.trigger.event_name);
        if marked { Echo::Again(own) } else { Echo::Of(own) }
    }
}

/// Whether the event that told us is about a write of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// Somebody else's call, or no event at all.
    No,
    /// Our own write of this control, if it was one of a control.
    Of(Option<Control>),
    /// The same, of a write that was itself made on an echo. Nothing is written now, so no chain of echoes is longer than
    /// two.
    Again(Option<Control>),
}

impl Echo {
    /// Whether drift of `control` means that a restore did not stick.
    pub fn is_of(self, control: Control) -> bool {
        match self {
            Self::No => false,
            Self::Of(own) | Self::Again(own) => own == Some(control),
        }
    }

    /// Whether drift of other controls is left, too. Whoever made it has an event of their own, which is on its way for
    /// seconds or minutes; if it is lost, there is the next sweep.
    pub fn leaves_others(self) -> bool {
        matches!(self, Self::Again(_))
    }
}

/// In the user agent of writes made on an echo of our own; CloudTrail keeps it, so the next echo knows.
pub const ECHO_APP_NAME: &str = "s3-guardrail-echo";

/// Whether people are to hear what a look at an event came to. Of our own calls they hear what those left undone, and
/// neither that they were made nor what somebody else has changed meanwhile.
pub fn is_news(report: &Report, is_own: bool) -> bool {
    let is_left = report.outcome == BucketOutcome::Drifted
        && report.findings.iter().all(|it| it.left == Some(Left::ForNow))
        && report.hindrances.is_empty()
        && report.exposures.is_empty();
    !is_own || !is_left && report.outcome != BucketOutcome::Compliant
}
