//! The call that led to a look, as people are told of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::control::table::Control;

/// What people are told of an event. All of it is somebody else's text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_can_have_changed_what_it_is_about_if_it_succeeded() {
        let trigger = |event_name: &str, error: Option<&str>| Trigger {
            event_name: event_name.to_owned(),
            error_code: error.map(str::to_owned),
            ..Trigger::default()
        };
        for (event_name, error, versioning, trail) in [
            ("PutBucketVersioning", None, true, false),
            ("PutBucketVersioning", Some("AccessDenied"), false, false),
            ("CreateBucket", None, true, false),
            ("CreateBucket", Some("BucketAlreadyExists"), false, false),
            ("StopLogging", None, false, true),
            ("PutBucketPolicy", None, false, false),
            ("PutBucketTagging", None, false, false),
        ] {
            let changed = |control| trigger(event_name, error).can_have_changed(control);
            assert_eq!((changed(Control::Versioning), changed(Control::Trail)), (versioning, trail), "{event_name}");
        }
    }

    #[test]
    fn a_time_that_is_none_is_not_guessed() {
        let time = |text: Option<&str>| Trigger { event_time: text.map(str::to_owned), ..Trigger::default() }.time();
        assert_eq!(time(Some("1970-01-01T00:00:05Z")), Timestamp::from_second(5).ok());
        assert_eq!((time(Some("yesterday")), time(None)), (None, None));
    }
}
