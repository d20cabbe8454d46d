//! The history's records: what a reconcile that wrote something saw and did.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    control::{setting::SettingError, table::Control},
    outcome::{
        exemption::Exemption,
        finding::{Finding, Left, Outcome, Written},
        record_file::FOLDER,
        report::{Asked, BucketOutcome, Report},
        setting::Setting,
        trigger::Trigger,
    },
    value::names::{AccountId, BucketName},
};

/// The version of a record.
pub const SCHEMA: &str = "s3-guardrail-record/1";

/// The longest record in bytes: every setting at its limit, twice.
pub const MAX_BYTES: usize = 32 * 1024 * 1024;

/// What one reconcile saw and did. Unlike in an alert, nothing is cut.
#[derive(Debug, Deserialize, Serialize)]
pub struct Record {
    pub schema: String,
    pub bucket: BucketName,
    pub account: AccountId,
    pub region: String,
    /// When it was over.
    pub time: Timestamp,
    pub elapsed_ms: u64,
    pub drift_to_restored_ms: Option<u64>,
    /// `None`: no call led here.
    pub trigger: Option<Trigger>,
    /// What led here else, and who; older records do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    pub outcome: BucketOutcome,
    pub findings: Vec<Entry>,
}

/// What became of one control.
#[derive(Debug, Deserialize, Serialize)]
pub struct Entry {
    pub control: Control,
    pub outcome: Outcome,
    /// Whether it was written, or may have been.
    pub written: bool,
    /// Whether somebody else had restored it between our read and our write: another invocation, whose own record may
    /// lack what this one wrote, or its owner.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_another: bool,
    /// As in the alert; of what was changed, [`Setting::from_record`] makes a setting again.
    pub observed: Value,
    pub desired: Value,
    pub error: Option<String>,
    /// The calls that can have caused it; older records do not say.
    #[serde(default)]
    pub calls: Vec<Trigger>,
    pub exemption: Option<Exemption>,
}

/// A record that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("{0} bytes, and no record has more than {MAX_BYTES}")]
    TooLong(usize),
    #[error("not a record of this version ({SCHEMA}): {0}")]
    Json(#[from] serde_path_to_error::Error<serde_json::Error>),
    #[error("not a record of this version ({SCHEMA}) but `{0}`")]
    Schema(String),
    #[error("{control}: what was there cannot be read from the record: {error}")]
    Setting { control: Control, error: SettingError },
}

/// Where in the log bucket a record of this bucket goes. `random` names it when no event does.
pub fn record_key(bucket: &BucketName, event_id: &str, now: Timestamp, random: u64) -> String {
    // A stranger's text: it must not leave the bucket's folder.
    let event_id: String = event_id.chars().filter(|it| it.is_ascii_alphanumeric() || *it == '-').take(64).collect();
    let id = if event_id.is_empty() { format!("{random:016x}") } else { event_id };
    format!("{FOLDER}{bucket}/{}-{id}.json", now.strftime("%Y/%m/%d/%H%M%S%.3fZ"))
}

impl Record {
    /// The record of a report about a bucket of this account.
    pub fn new(report: &Report, bucket: &BucketName, account: &AccountId, region: &str, time: Timestamp) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            bucket: bucket.clone(),
            account: account.clone(),
            region: region.to_owned(),
            time,
            elapsed_ms: report.elapsed_ms,
            drift_to_restored_ms: report.drift_to_restored_ms,
            trigger: report.trigger.clone(),
            asked: report.asked.clone(),
            outcome: report.outcome,
            findings: report.findings.iter().map(Entry::from_finding).collect(),
        }
    }

    /// Reads a record of at most [`MAX_BYTES`], nested at most 127 deep. Fields that a later version may add are
    /// passed over.
    pub fn parse(text: &str) -> Result<Self, RecordError> {
        if text.len() > MAX_BYTES {
            return Err(RecordError::TooLong(text.len()));
        }
        let this: Self = crate::value::json::from_json(text)?;
        if this.schema == SCHEMA { Ok(this) } else { Err(RecordError::Schema(this.schema)) }
    }
}

impl Entry {
    /// What a record holds of a finding.
    pub fn from_finding(finding: &Finding) -> Self {
        let Finding { control, outcome, observed, desired, error, calls, note: _, denied_by: _, left, written } =
            finding;
        let (observed, desired) = match written {
            Some(written) => written.change().to_record(),
            None => (observed.clone(), desired.clone()),
        };
        Self {
            control: *control,
            outcome: *outcome,
            written: matches!(written, Some(Written::Here(_))),
            by_another: matches!(written, Some(Written::ByAnother(_))),
            observed,
            desired,
            error: error.clone(),
            calls: calls.clone(),
            exemption: match left {
                Some(Left::Exempt(exemption)) => Some(exemption.clone()),
                Some(Left::EnforcedAbove | Left::ForNow | Left::NotYet | Left::Held) | None => None,
            },
        }
    }

    /// A setting that a rollback put back, and that is exempt from then on where the bucket is guarded.
    pub fn rolled_back(control: Control, was: &Setting, is: &Setting, exemption: Option<Exemption>) -> Self {
        Self {
            control,
            outcome: Outcome::Exempt,
            written: true,
            by_another: false,
            observed: was.to_record(),
            desired: is.to_record(),
            error: None,
            calls: Vec::new(),
            exemption,
        }
    }

    /// Whether it was another setting before than after.
    pub fn is_changed(&self) -> bool {
        self.written || self.by_another
    }

    /// What was there before, and what was written, of a setting of the bucket's own; `None` for its key and its trail.
    pub fn settings(&self) -> Result<Option<(Setting, Setting)>, RecordError> {
        let parse = |value| {
            Setting::from_record(self.control, value)
                .map_err(|error| RecordError::Setting { control: self.control, error })
        };
        Ok(parse(&self.observed)?.zip(parse(&self.desired)?))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        control::versioning::Versioning,
        outcome::step::Change,
        value::{drift::Drift, failure::ApiError},
    };

    fn versioning(status: &str) -> Versioning {
        Versioning { status: Some(status.to_owned()), mfa_delete: false }
    }

    fn change() -> Change {
        Change::Versioning(Drift { observed: versioning("Suspended"), desired: versioning("Enabled") })
    }

    fn record(findings: Vec<Finding>) -> Record {
        let report = Report { findings, ..Report::new("acme-data", BucketOutcome::Restored, None) };
        let (bucket, account) = ("acme-data".parse().unwrap(), "111122223333".parse().unwrap());
        Record::new(&report, &bucket, &account, "eu-west-2", Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_strangers_event_id_does_not_leave_the_buckets_folder() {
        let now = "2026-11-23T09:14:07.123Z".parse().unwrap();
        let key = |event_id: &str| record_key(&"acme-data".parse().unwrap(), event_id, now, 255);
        let named = |id: &str| format!("s3-guardrail/history/acme-data/2026/11/23/091407.123Z-{id}.json");
        assert_eq!(key("0b4a7e2c-5f1d"), named("0b4a7e2c-5f1d"));
        assert_eq!(key("../../a/b.c"), named("abc"));
        assert_eq!(key(&"x".repeat(65)), named(&"x".repeat(64)));
        for nothing in ["", "/../"] {
            assert_eq!(key(nothing), named("00000000000000ff"));
        }
    }

    #[test]
    fn a_record_is_read_again_and_says_which_settings_were_written() {
        let written = Finding::restored(change());
        let by_another = Finding { written: Some(Written::ByAnother(change())), ..written.clone() };
        let unread = Finding::unreadable(Control::KmsKey, &ApiError::new("DescribeKey", "denied"));
        let left = Finding::from_change(&change(), Outcome::WouldRestore);
        let record = record(vec![written, by_another, unread, left]);
        let read = Record::parse(&serde_json::to_string(&record).unwrap()).unwrap();
        assert_eq!(json!(read), json!(record));
        let flags: Vec<_> = read.findings.iter().map(|it| (it.written, it.by_another, it.is_changed())).collect();
        assert_eq!(flags, [(true, false, true), (false, true, true), (false, false, false), (false, false, false)]);
        let (was, is) = (Setting::Versioning(versioning("Suspended")), Setting::Versioning(versioning("Enabled")));
        for index in [0, 1, 3] {
            assert_eq!(read.findings[index].settings().unwrap(), Some((was.clone(), is.clone())));
        }
        assert_eq!(read.findings[2].settings().unwrap(), None, "the key is no setting of the bucket's own");
        assert_eq!(read.findings[2].error.as_deref(), Some("DescribeKey: denied"));
        let back = Entry::rolled_back(Control::Versioning, &is, &was, None);
        assert!(back.written && !back.by_another && back.outcome == Outcome::Exempt);
        assert_eq!(back.settings().unwrap(), Some((is, was)));
    }

    #[test]
    fn a_record_of_another_version_or_without_end_is_refused() {
        let text = serde_json::to_string(&record(Vec::new())).unwrap();
        let refused = |text: &str| Record::parse(text).unwrap_err().to_string();
        assert_eq!(
            refused(&text.replace(SCHEMA, "s3-guardrail-record/2")),
            "not a record of this version (s3-guardrail-record/1) but `s3-guardrail-record/2`"
        );
        assert!(refused("{}").contains("missing field"), "{}", refused("{}"));
        let of_length = |bytes: usize| format!("{text}{}", " ".repeat(bytes - text.len()));
        assert!(Record::parse(&of_length(32 * 1024 * 1024)).is_ok());
        assert_eq!(refused(&of_length(32 * 1024 * 1024 + 1)), "33554433 bytes, and no record has more than 33554432");
    }

    #[test]
    fn an_entry_that_is_no_setting_is_told_with_its_control() {
        let mut record = record(vec![Finding::restored(change())]);
        record.findings[0].observed = json!("Suspended");
        let error = record.findings[0].settings().unwrap_err().to_string();
        assert!(error.starts_with("versioning: what was there cannot be read from the record: "), "{error}");
    }
}
