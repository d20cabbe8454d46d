//! Whether an event is about a write of our own.

use crate::{control::table::Control, edge::event::Event, value::names::RoleArn};

impl Event {
    /// Whether this event is about a write of our own.
    pub fn echo(&self, own_role: &RoleArn) -> Echo {
        if !self.is_of(own_role) {
            return Echo::No;
        }
        let marked = self.trigger.user_agent.as_deref().is_some_and(|it| it.contains(&format!("app/{ECHO_APP_NAME}")));
        if marked { Echo::Again } else { Echo::Of(Control::of_event(&self.trigger.event_name)) }
    }
}

/// Whether the event that told us is about a write of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// Somebody else's call, or no event at all.
    No,
    /// Our own write of this control, if it was one of a control.
    Of(Option<Control>),
    /// Our own write that was itself made on an echo. Nothing is written now, so no chain of echoes is longer than two.
    Again,
}

impl Echo {
    /// Whether drift of `control` means that a restore did not stick.
    pub fn forbids(self, control: Control) -> bool {
        match self {
            Self::No => false,
            Self::Of(own) => own == Some(control),
            Self::Again => true,
        }
    }
}

/// In the user agent of writes made on an echo of our own; CloudTrail keeps it, so the next echo knows.
pub const ECHO_APP_NAME: &str = "s3-guardrail-echo";
