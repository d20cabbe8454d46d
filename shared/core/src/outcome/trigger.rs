//! The call that led to a look, as people are told of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::control::table::Control;

/// What people are told of an event. All of it is somebody else's text.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Trigger {
    pub event_name: String,
    pub event_id: Option<String>,
    pub event_time: Option<String>,
    /// See [`caller::named`].
    pub actor: Option<String>,
    pub source_ip: Option<String>,
    pub user_agent: Option<String>,
    /// Set when the call failed.
    pub error_code: Option<String>,
    /// What AWS said then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
}

impl Trigger {
    /// When the call was made, to the second.
    pub fn time(&self) -> Option<Timestamp> {
        self.event_time.as_deref()?.parse().ok()
    }

    /// Whether the call can have made this control drift: it succeeded, and is one of those that change it. Any other
    /// call only led us here.
    pub fn can_have_changed(&self, control: Control) -> bool {
        let made_anew = self.event_name == "CreateBucket" && Control::OF_BUCKET.contains(&control);
        self.error_code.is_none() && (made_anew || Control::of_event(&self.event_name) == Some(control))
    }
}
