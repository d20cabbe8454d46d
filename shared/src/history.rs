//! History: what every reconcile that wrote something saw and did, as a record in the log bucket, and the way back.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use crate::{
    Guardrail,
    api::ApiError,
    baseline::{DefaultEncryption, Inventory, ObjectOwnership, PublicAccessBlock, Versioning},
    control::Control,
    event::Trigger,
    lifecycle::Lifecycle,
    log_bucket,
    names::{AccountId, BucketName, KeyArn, NameError},
    plan::{Change, Observed},
    policy::{Policy, PolicyError},
    reconcile::{Finding, Outcome, Written},
    registry::{Exemption, Registration, RegistryError},
    report::{Asked, BucketOutcome, Report, Work},
    xml::XmlError,
};

/// The version of a record.
pub const SCHEMA: &str = "s3-guardrail-record/1";

/// All records are below this prefix of a log bucket, each below its bucket's name.
pub const FOLDER: &str = "s3-guardrail/history/";

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
    /// As in the alert; of what was changed, [`Setting::parse`] makes a setting again.
    pub observed: Value,
    pub desired: Value,
    pub error: Option<String>,
    pub exemption: Option<Exemption>,
}

/// Where a record is; as text `s3://LOG-BUCKET/KEY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFile {
    pub log_bucket: BucketName,
    /// The guarded bucket, which the key names.
    pub bucket: BucketName,
    pub key: String,
}

/// A setting of a bucket's own as it was, or is.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    PublicAccessBlock(PublicAccessBlock),
    ObjectOwnership(ObjectOwnership),
    BucketPolicy(Policy),
    DefaultEncryption(DefaultEncryption),
    Versioning(Versioning),
    Lifecycle(Lifecycle),
    Inventory(Option<Inventory>),
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

/// A value is not a control's setting.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error("the lifecycle configuration is not XML: {0}")]
    Lifecycle(#[from] XmlError),
}

/// Says in a report where its record goes, when anything was written.
pub fn name(report: &mut Report, registration: Option<&Registration>, now: Timestamp, random: u64) {
    let written = |it: &Finding| matches!(it.written, Some(Written::Here(_)));
    let Some(registration) = registration.filter(|_| report.findings.iter().any(written)) else { return };
    match file(report, registration, now, random) {
        Ok(file) => report.record = Some(file),
        Err(error) => report.unrecorded(error.to_string()),
    }
}

fn file(
    report: &Report,
    registration: &Registration,
    now: Timestamp,
    random: u64,
) -> Result<RecordFile, RegistryError> {
    let event_id = report.trigger.as_ref().and_then(|it| it.event_id.as_deref()).unwrap_or_default();
    let bucket = registration.bucket.clone();
    Ok(RecordFile { log_bucket: registration.log_bucket()?, key: record_key(&bucket, event_id, now, random), bucket })
}

fn record_key(bucket: &BucketName, event_id: &str, now: Timestamp, random: u64) -> String {
    // A stranger's text: it must not leave the bucket's folder.
    let event_id: String = event_id.chars().filter(|it| it.is_ascii_alphanumeric() || *it == '-').take(64).collect();
    let id = if event_id.is_empty() { format!("{random:016x}") } else { event_id };
    format!("{FOLDER}{bucket}/{}-{id}.json", now.strftime("%Y/%m/%d/%H%M%S%.3fZ"))
}

/// Where a rollback keeps its record, and what encrypts it.
#[derive(Clone, Copy, Debug)]
pub struct RollbackPlace<'a> {
    pub log_bucket: &'a BucketName,
    pub bucket: &'a BucketName,
    pub account: &'a AccountId,
    /// `None`: the bucket is not registered, so the log bucket's own default encrypts it.
    pub kms_key: Option<&'a KeyArn>,
}

/// Writes the record of what a rollback put back; returns where it is.
pub async fn keep_rollback(
    guardrail: &Guardrail,
    place: RollbackPlace<'_>,
    findings: Vec<Entry>,
    elapsed_ms: u64,
) -> Result<RecordFile, ApiError> {
    let RollbackPlace { log_bucket, bucket, account, kms_key } = place;
    let time = Timestamp::now();
    let record = Record {
        schema: SCHEMA.to_owned(),
        bucket: bucket.clone(),
        account: account.clone(),
        region: guardrail.config.region.clone(),
        time,
        elapsed_ms,
        drift_to_restored_ms: None,
        trigger: None,
        asked: Some(Asked { what: Work::Rollback, by: guardrail.caller.clone() }),
        outcome: BucketOutcome::Drifted,
        findings,
    };
    let text = serde_json::to_string(&record).map_err(|error| ApiError::new("PutObject", error))?;
    let file = RecordFile {
        log_bucket: log_bucket.clone(),
        bucket: bucket.clone(),
        key: record_key(bucket, "", time, fastrand::u64(..)),
    };
    let place = log_bucket::Place { log_bucket, owner: account, kms_key };
    log_bucket::put(&guardrail.s3, place, &file.key, "application/json", text).await?;
    Ok(file)
}

/// Writes the record of a report to where the report says it is.
pub async fn keep(guardrail: &Guardrail, report: &Report, registration: Option<&Registration>) -> Result<(), ApiError> {
    let Some((file, registration)) = report.record.as_ref().zip(registration) else { return Ok(()) };
    let record =
        Record::new(report, &registration.bucket, &registration.account, &guardrail.config.region, Timestamp::now());
    let text = serde_json::to_string(&record).map_err(|error| ApiError::new("PutObject", error))?;
    let Registration { account: owner, key_arn, .. } = registration;
    let place = log_bucket::Place { log_bucket: &file.log_bucket, owner, kms_key: Some(key_arn) };
    log_bucket::put(&guardrail.s3, place, &file.key, "application/json", text).await
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
            findings: report.findings.iter().map(Entry::of).collect(),
        }
    }

    /// Reads a record of at most [`MAX_BYTES`], nested at most 127 deep. Fields that a later version may add are
    /// passed over.
    pub fn parse(text: &str) -> Result<Self, RecordError> {
        if text.len() > MAX_BYTES {
            return Err(RecordError::TooLong(text.len()));
        }
        let this: Self = crate::registry::from_json(text)?;
        if this.schema == SCHEMA { Ok(this) } else { Err(RecordError::Schema(this.schema)) }
    }
}

impl Entry {
    fn of(finding: &Finding) -> Self {
        let Finding { control, outcome, observed, desired, error, note: _, denied_by: _, exemption, written } = finding;
        let (observed, desired) = match written {
            Some(written) => settings(written.change()),
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
            exemption: exemption.clone(),
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
            Setting::parse(self.control, value).map_err(|error| RecordError::Setting { control: self.control, error })
        };
        Ok(parse(&self.observed)?.zip(parse(&self.desired)?))
    }
}

/// Before and after, so that all of it can be read again.
fn settings(change: &Change) -> (Value, Value) {
    match change {
        // As JSON, XML loses what only XML says.
        Change::Lifecycle(drift) => (lifecycle_document(&drift.observed), lifecycle_document(&drift.desired)),
        other => other.to_json(),
    }
}

fn lifecycle_document(lifecycle: &Lifecycle) -> Value {
    json!({
        "Document": lifecycle.document(),
        "TransitionDefaultMinimumObjectSize": lifecycle.transition_default_minimum_object_size,
    })
}

impl Setting {
    /// Reads what a record holds; `None` when it is not a setting of the bucket's own.
    pub fn parse(control: Control, value: &Value) -> Result<Option<Self>, SettingError> {
        let value = value.clone();
        Ok(Some(match control {
            Control::PublicAccessBlock => Self::PublicAccessBlock(serde_json::from_value(value)?),
            Control::ObjectOwnership => Self::ObjectOwnership(serde_json::from_value(value)?),
            Control::BucketPolicy if value.is_null() => Self::BucketPolicy(Policy::default()),
            Control::BucketPolicy => Self::BucketPolicy(Policy::parse(&value.to_string())?),
            Control::DefaultEncryption => Self::DefaultEncryption(serde_json::from_value(value)?),
            Control::Versioning => Self::Versioning(serde_json::from_value(value)?),
            Control::Lifecycle => {
                let size = value["TransitionDefaultMinimumObjectSize"].as_str().map(str::to_owned);
                Self::Lifecycle(Lifecycle::parse(value["Document"].as_str().unwrap_or_default(), size)?)
            }
            Control::Inventory => Self::Inventory(serde_json::from_value(value)?),
            Control::KmsKey | Control::Trail => return Ok(None),
        }))
    }

    /// The bucket's settings as they are now; `None` for one that cannot be read.
    pub fn all(observed: Observed) -> Vec<(Control, Result<Self, ApiError>)> {
        let Observed {
            public_access_block,
            object_ownership,
            bucket_policy,
            default_encryption,
            versioning,
            lifecycle,
            inventory,
        } = observed;
        vec![
            (Control::PublicAccessBlock, public_access_block.map(Self::PublicAccessBlock)),
            (Control::ObjectOwnership, object_ownership.map(Self::ObjectOwnership)),
            (Control::BucketPolicy, bucket_policy.map(Self::BucketPolicy)),
            (Control::DefaultEncryption, default_encryption.map(Self::DefaultEncryption)),
            (Control::Versioning, versioning.map(Self::Versioning)),
            (Control::Lifecycle, lifecycle.map(Self::Lifecycle)),
            (Control::Inventory, inventory.map(Self::Inventory)),
        ]
    }

    /// The same as far as S3 lets anybody go back: versioning that was once enabled can only be suspended.
    pub fn reachable(self) -> Self {
        match self {
            Self::Versioning(Versioning { status: None, mfa_delete }) => {
                Self::Versioning(Versioning { status: Some("Suspended".to_owned()), mfa_delete })
            }
            other => other,
        }
    }

    /// Whether both mean the same to S3, which may send back other words than it got, and adds its defaults.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::BucketPolicy(one), Self::BucketPolicy(other)) => one.means(other),
            (Self::Lifecycle(one), Self::Lifecycle(other)) => one.means(other),
            (Self::ObjectOwnership(one), Self::ObjectOwnership(other)) => one.means(other),
            _ => self == other,
        }
    }

    /// The same, in the words of another as far as they say the same: what is left to be seen differs.
    pub fn in_words_of(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::BucketPolicy(one), Self::BucketPolicy(other)) => Self::BucketPolicy(one.in_words_of(other)),
            (Self::Lifecycle(one), Self::Lifecycle(other)) => Self::Lifecycle(one.in_words_of(other)),
            _ => self.clone(),
        }
    }

    /// Whether this is what a rollback that did not get to its end leaves: ACLs are on again, and nobody is granted
    /// anything yet.
    pub fn is_halfway_to(&self, before: &Self) -> bool {
        let (Self::ObjectOwnership(now), Self::ObjectOwnership(before)) = (self, before) else { return false };
        now.object_ownership == before.object_ownership && now.acl_grants.as_ref().is_ok_and(Vec::is_empty)
    }

    /// As a record holds it.
    fn to_record(&self) -> Value {
        match self {
            Self::Lifecycle(it) => lifecycle_document(it),
            other => other.to_json(),
        }
    }

    /// In AWS's words, for people.
    pub fn to_json(&self) -> Value {
        match self {
            Self::PublicAccessBlock(it) => json!(it),
            Self::ObjectOwnership(it) => json!(it),
            Self::BucketPolicy(it) => it.to_json(),
            Self::DefaultEncryption(it) => json!(it),
            Self::Versioning(it) => json!(it),
            Self::Lifecycle(it) => it.to_json(),
            Self::Inventory(it) => json!(it),
        }
    }
}

impl fmt::Display for RecordFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.log_bucket, self.key)
    }
}

impl Serialize for RecordFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for RecordFile {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let parsed = || {
            let (log_bucket, key) = text.strip_prefix("s3://")?.split_once('/')?;
            let (bucket, name) = key.strip_prefix(FOLDER)?.split_once('/')?;
            let (log_bucket, bucket) = (log_bucket.parse().ok()?, bucket.parse().ok()?);
            name.ends_with(".json").then(|| Self { log_bucket, bucket, key: key.to_owned() })
        };
        parsed().ok_or_else(|| NameError::new(text, "a record (s3://LOG-BUCKET/s3-guardrail/history/BUCKET/...json)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        baseline::{Baseline, ReportEncryption},
        lifecycle::LifecycleDays,
        plan::{Drift, Echo, Seen, Stance, Step, plan},
        reconcile::Reconciled,
        xml::Element,
    };

    const NOW: &str = "2026-11-23T09:14:07.123Z";

    fn registration() -> Registration {
        let key = "arn:aws:kms:eu-west-2:111122223333:key/k".parse().unwrap();
        Registration::new("acme-data".parse().unwrap(), "111122223333".parse().unwrap(), key)
    }

    fn recorded(report: &Report) -> Record {
        let Registration { bucket, account, .. } = registration();
        Record::new(report, &bucket, &account, "eu-west-2", NOW.parse().unwrap())
    }

    fn restored(observed: Observed) -> Vec<Change> {
        let registration = registration();
        let role = "arn:aws:iam::111122223333:role/guardrail".parse().unwrap();
        let baseline = Baseline::new(&registration, &registration.account, &role).unwrap();
        let stance = Stance { registration: &registration, now: NOW.parse().unwrap(), dry_run: false, echo: Echo::No };
        let steps = plan(&baseline, Seen::from(observed), &stance);
        steps.into_iter().map(|it| if let Step::Restore(change) = it { change } else { panic!("{it:?}") }).collect()
    }

    /// Settings that use whatever a setting can have.
    fn eventful() -> Observed {
        let rule = r#"<Rule note="a &amp; b"><ID>own</ID><Filter/><Status>Enabled</Status><Invented>x &lt; y</Invented></Rule>"#;
        let grants = vec!["http://acs.amazonaws.com/groups/s3/LogDelivery WRITE".to_owned()];
        let policy = r#"{"Id":"p","Statement":{"Sid":"Own","Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"*"}}"#;
        let inventory = Inventory {
            is_enabled: false,
            included_object_versions: "Current".to_owned(),
            frequency: "Weekly".to_owned(),
            format: "ORC".to_owned(),
            bucket: "arn:aws:s3:::elsewhere".to_owned(),
            account_id: None,
            prefix: Some("p".to_owned()),
            encryption: ReportEncryption::Kms("k".to_owned()),
            filter_prefix: Some("f".to_owned()),
            optional_fields: ["Size".to_owned()].into(),
        };
        Observed {
            public_access_block: Ok(PublicAccessBlock { block_public_acls: true, ..Default::default() }),
            object_ownership: Ok(ObjectOwnership {
                object_ownership: Some("ObjectWriter".to_owned()),
                acl_grants: Ok(grants),
            }),
            bucket_policy: Ok(Policy::parse(policy).unwrap()),
            default_encryption: Ok(DefaultEncryption {
                algorithm: Some("AES256".to_owned()),
                blocked: ["NONE".to_owned()].into(),
                ..Default::default()
            }),
            versioning: Ok(Versioning { status: Some("Suspended".to_owned()), mfa_delete: false }),
            lifecycle: Ok(Lifecycle {
                rules: vec![Element::parse(rule).unwrap()],
                transition_default_minimum_object_size: Some("all_storage_classes_128K".to_owned()),
            }),
            inventory: Ok(Some(inventory)),
        }
    }

    fn report(observed: Observed, event_id: &str) -> Report {
        let findings = restored(observed).into_iter().map(|change| {
            let (observed, desired) = change.to_json();
            let control = change.control();
            let outcome = Outcome::Restored;
            let written = Some(Written::Here(change));
            Finding {
                control,
                outcome,
                observed,
                desired,
                error: None,
                note: None,
                denied_by: None,
                exemption: None,
                written,
            }
        });
        let trigger = Trigger { event_id: Some(event_id.to_owned()), ..Trigger::default() };
        let reconciled = Reconciled::Bucket {
            findings: findings.collect(),
            hindrances: Vec::new(),
            exposures: Vec::new(),
            restored_at: None,
        };
        Report::of(&registration().bucket, reconciled, Some(trigger))
    }

    #[test]
    fn every_setting_can_be_read_again_from_the_text_of_a_record() {
        for observed in [eventful, Observed::empty] {
            let text = {
                let record = recorded(&report(observed(), "e"));
                serde_json::to_string(&record).unwrap()
            };
            let record = Record::parse(&text).unwrap();
            assert_eq!(record.findings.len(), Control::OF_BUCKET.len());
            for (entry, (control, was)) in record.findings.iter().zip(Setting::all(observed())) {
                assert_eq!(entry.control, control);
                assert_eq!(entry.settings().unwrap().unwrap().0, was.unwrap(), "{control}");
            }
        }
    }

    #[test]
    fn a_record_is_named_after_bucket_time_and_event_and_nothing_leads_out_of_its_folder() {
        let named = |event_id: &str| {
            let mut report = report(Observed::empty(), event_id);
            name(&mut report, Some(&registration()), NOW.parse().unwrap(), 7);
            report.record.unwrap().to_string()
        };
        let folder = "s3://acme-data-logs/s3-guardrail/history/acme-data/2026/11/23/091407.123Z";
        assert_eq!(named("0b4a-7e2c"), format!("{folder}-0b4a-7e2c.json"));
        assert_eq!(named("../../x/\u{0}"), format!("{folder}-x.json"));
        assert_eq!(named("").len(), folder.len() + 1 + 16 + ".json".len());
        for text in [named("0b4a"), named("")] {
            assert_eq!(text.parse::<RecordFile>().unwrap().to_string(), text);
        }
        for text in [
            "acme-data-logs",
            "s3://acme-data-logs/AWSLogs/x.json",
            "s3://acme-data-logs/s3-guardrail/history/acme-data",
            "s3://acme-data-logs/s3-guardrail/history/Not_A_Bucket/2026/x.json",
        ] {
            assert!(text.parse::<RecordFile>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_was_not_written_has_no_record() {
        let mut report = report(Observed::empty(), "e");
        report.findings.iter_mut().for_each(|it| it.written = None);
        name(&mut report, Some(&registration()), NOW.parse().unwrap(), 7);
        assert_eq!(report.record, None);
    }

    #[test]
    fn a_record_that_is_none_says_so() {
        for text in ["", "{}", "[]", r#"{"schema": "s3-guardrail/1"}"#] {
            assert!(Record::parse(text).is_err(), "{text}");
        }
        let record = recorded(&report(eventful(), "e"));
        let text = serde_json::to_string(&record).unwrap().replace(SCHEMA, "s3-guardrail-record/2");
        assert!(Record::parse(&text).unwrap_err().to_string().contains("s3-guardrail-record/2"));
        let broken = Entry { observed: json!({"Document": "<a>"}), ..Entry::of(&report(eventful(), "e").findings[5]) };
        assert!(broken.settings().unwrap_err().to_string().starts_with("lifecycle: "));
    }

    #[test]
    fn a_lifecycle_whose_default_s3_has_added_is_the_same() {
        let rules = eventful().lifecycle.unwrap().rules;
        let sized = |size: Option<&str>| {
            let transition_default_minimum_object_size = size.map(str::to_owned);
            Setting::Lifecycle(Lifecycle { rules: rules.clone(), transition_default_minimum_object_size })
        };
        assert!(sized(None).is(&sized(Some("all_storage_classes_128K"))));
        assert!(!sized(None).is(&sized(Some("varies_by_storage_class"))));
        assert!(!sized(None).is(&Setting::Lifecycle(Lifecycle::default())));
    }

    #[test]
    fn of_a_lifecycle_nothing_is_lost_and_keys_and_trails_are_no_settings() {
        let required = crate::lifecycle::required(LifecycleDays::default());
        let observed = eventful().lifecycle.unwrap();
        let change = Change::Lifecycle(Drift { desired: observed.requiring(&required), observed });
        assert!(settings(&change).0["Document"].as_str().unwrap().contains(r#"note="a &amp; b""#));
        for control in [Control::KmsKey, Control::Trail] {
            assert_eq!(Setting::parse(control, &json!({})).unwrap(), None);
        }
    }
}
