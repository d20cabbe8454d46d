//! Permission to drift.

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::{Deserialize, Deserializer, Serialize};

use crate::control::table::Control;

/// Permission to drift, of one control until a time.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Exemption {
    pub control: Control,
    /// RFC 3339, or a date: through the end of that day, UTC.
    #[serde(deserialize_with = "until")]
    pub until: Timestamp,
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub approved_by: String,
}

/// Reads a time, or a day, of which it is the end.
pub fn until<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    let end_of = |date: Date| Some(date.tomorrow().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp());
    // Jiff also takes the date out of a time without a zone, whose exemption would then last longer than it says.
    let date = || text.parse().ok().filter(|it: &Date| it.to_string() == text);
    let parsed = text.parse().ok().or_else(|| end_of(date()?));
    parsed.ok_or_else(|| {
        serde::de::Error::custom(format_args!(
            "`{text}` is not a time like 2027-01-31T18:00:00Z or a date like 2027-01-31"
        ))
    })
}
