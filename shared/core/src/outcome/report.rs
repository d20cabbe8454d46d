//! What a reconcile came to, as the caller and the alert get it. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

use crate::{
    control::table::{Control, is_told},
    outcome::{
        exemption::Exemption,
        exposure::Exposure,
        finding::{Finding, Left, Outcome},
        hindrance::Hindrance,
        ledger::{BUCKET, Fact, FactKind, Restore},
        record_file::RecordFile,
        trigger::Trigger,
    },
    value::{names::BucketName, subject::Subject},
};

/// The result of reconciling one bucket.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub bucket: String,
    /// The key or the trail that was looked at for all its buckets; `None`: the bucket was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// These buckets, of which `bucket` is the first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<BucketName>,
    pub outcome: BucketOutcome,
    pub dry_run: bool,
    /// The earliest call that can have caused what was found; else the first that led here.
    pub trigger: Option<Trigger>,
    /// Others' calls that led here; in JSON, how many they are.
    #[serde(rename = "calls_in_all", serialize_with = "count")]
    pub calls: Vec<Trigger>,
    /// What was asked for when no call led here, and by whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    pub findings: Vec<Finding>,
    /// What would keep the guardrail from its work, though nothing has drifted by it yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hindrances: Vec<Hindrance>,
    /// What of the owner's opens or destroys; of an event, what the call can have made so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exposures: Vec<Exposure>,
    pub elapsed_ms: u64,
    /// From the call that the event tells of (CloudTrail cuts its time to the second) to the last restore. `None` when
    /// the call can have caused nothing of what was restored.
    pub drift_to_restored_ms: Option<u64>,
    pub notified: bool,
    /// What people are told beside this look's own findings: what another look found, what is over, what goes on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Fact>,
    /// Which of the messages belong together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
    /// Why nobody knows what was told before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ledger_error: Option<String>,
    /// The controls that were read.
    #[serde(skip)]
    pub read: Vec<Control>,
    /// When those were restored that were.
    #[serde(skip)]
    pub restores: BTreeMap<Control, Restore>,
    /// The bucket's, as its registry document has them; `None`: that is not known, or it is not about a bucket.
    #[serde(skip)]
    pub exemptions: Option<Vec<Exemption>>,
    /// It goes by a registry document that is no longer so, and says nothing.
    #[serde(skip)]
    pub is_outdated: bool,
    /// The ledger has what is open.
    #[serde(skip)]
    pub kept_open: bool,
    /// People should have been told and could not be.
    #[serde(skip)]
    pub untold: bool,
    /// The sweep restored something that no event had told of: the chain of events is broken somewhere.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub missed_event: bool,
    /// Where the history has what was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordFile>,
    /// Why the history does not have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record_error: Option<String>,
    /// Why nothing could be found out about the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Work that somebody, or the schedule, asked for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Asked {
    pub what: Work,
    /// `None`: a function is not told who invokes it.
    pub by: Option<String>,
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    Sweep,
    Reconcile,
    Bootstrap,
    Rollback,
}

impl Work {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sweep => "sweep",
            Self::Reconcile => "reconcile",
            Self::Bootstrap => "bootstrap",
            Self::Rollback => "rollback",
        }
    }
}

/// The calls that a look knows of.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    /// The first that led here; `None`: something else did.
    pub led_here: Option<Trigger>,
    /// Others', each once, the earliest first, failed ones too.
    pub others: Vec<Trigger>,
}

impl Calls {
    /// Of one call of somebody else.
    pub fn of(call: Trigger) -> Self {
        Self { led_here: Some(call.clone()), others: vec![call] }
    }
}

/// What became of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BucketOutcome {
    Compliant,
    Restored,
    /// Something is not as it should be and was left so: dry run, observe mode, exemption.
    Drifted,
    /// All is as it should be, and something would keep it from being restored tomorrow, or opens or destroys beside it.
    Endangered,
    Failed,
    Unguarded,
    Gone,
}

impl Report {
    /// A report without findings.
    pub fn new(bucket: impl Into<String>, outcome: BucketOutcome, trigger: Option<Trigger>) -> Self {
        Self {
            bucket: bucket.into(),
            subject: None,
            buckets: Vec::new(),
            outcome,
            dry_run: false,
            calls: Vec::new(),
            trigger,
            asked: None,
            findings: Vec::new(),
            hindrances: Vec::new(),
            exposures: Vec::new(),
            elapsed_ms: 0,
            drift_to_restored_ms: None,
            notified: false,
            facts: Vec::new(),
            incident: None,
            ledger_error: None,
            read: Vec::new(),
            restores: BTreeMap::new(),
            exemptions: None,
            is_outdated: false,
            kept_open: false,
            untold: false,
            missed_event: false,
            record: None,
            record_error: None,
            error: None,
        }
    }

    /// The report of a bucket that is guarded.
    pub fn from_reconciled(bucket: &BucketName, reconciled: Reconciled, calls: &Calls) -> Self {
        let trigger = calls.led_here.clone();
        match reconciled {
            Reconciled::Outdated => {
                Self { is_outdated: true, ..Self::new(bucket.as_str(), BucketOutcome::Compliant, trigger) }
            }
            Reconciled::Gone => Self::new(bucket.as_str(), BucketOutcome::Gone, trigger).caused_by(&calls.others),
            Reconciled::Bucket { findings, hindrances, mut exposures, restores, read } => {
                exposures.retain(|it| {
                    trigger.is_none() || calls.others.iter().any(|call| call.can_have_changed(it.control))
                });
                // What was open before any call is its owner's: whoever asks is told of it, and the bucket is compliant.
                let endangered = !hindrances.is_empty() || trigger.is_some() && !exposures.is_empty();
                let report = Self::new(bucket.as_str(), BucketOutcome::from_findings(&findings, endangered), trigger);
                let restored_at = restores.values().filter_map(|it| it.written).map(|it| it.ended).max();
                let report =
                    Self { findings, hindrances, exposures, restores, read, ..report }.caused_by(&calls.others);
                let restored = report.findings.iter().filter(|it| it.outcome == Outcome::Restored);
                let called = restored.filter_map(|it| it.calls.first()?.time()).min();
                Self { drift_to_restored_ms: milliseconds_between(called, restored_at), ..report }
            }
        }
    }

    /// The same with who can have caused it: others' calls, the earliest first. Nobody is named for what their call
    /// cannot have done.
    pub fn caused_by(mut self, calls: &[Trigger]) -> Self {
        for finding in &mut self.findings {
            // What is unstable was undone by no call that is known of.
            let calls = calls.iter().filter(|it| it.can_have_changed(finding.control));
            finding.calls = calls.filter(|_| finding.outcome != Outcome::Unstable).cloned().collect();
        }
        let changed = self.findings.iter().map(|it| it.control).chain(self.exposures.iter().map(|it| it.control));
        let changed: Vec<_> = changed.collect();
        let is_gone = self.outcome == BucketOutcome::Gone;
        let has_caused = |call: &&Trigger| match is_gone {
            true => call.event_name == "DeleteBucket" && call.error_code.is_none(),
            false => changed.iter().any(|it| call.can_have_changed(*it)),
        };
        let is_told = |call: &&Trigger| is_told(&call.event_name) && call.error_code.is_none();
        let trigger = calls.iter().find(has_caused).or_else(|| calls.iter().find(is_told)).or(calls.first());
        Self { trigger: trigger.cloned().or(self.trigger), calls: calls.to_vec(), ..self }
    }

    /// The same with what was found at something else of the bucket's, or of other buckets that lean on the same.
    pub fn and(mut self, other: Self) -> Self {
        self.buckets.extend(other.buckets);
        let endangered = [self.outcome, other.outcome].contains(&BucketOutcome::Endangered);
        self.findings.extend(other.findings);
        self.hindrances.extend(other.hindrances);
        self.exposures.extend(other.exposures);
        self.restores.extend(other.restores);
        self.read.extend(other.read);
        self.is_outdated |= other.is_outdated;
        self.error = self.error.or(other.error);
        let outcome = match self.error {
            Some(_) => BucketOutcome::Failed,
            None => BucketOutcome::from_findings(&self.findings, endangered),
        };
        Self { outcome, drift_to_restored_ms: self.drift_to_restored_ms.or(other.drift_to_restored_ms), ..self }
    }

    /// What it is about, as people call it.
    pub fn name(&self) -> String {
        match self.buckets.as_slice() {
            [] | [_] => self.bucket.clone(),
            [one, two] => format!("{one} and {two}"),
            [one, more @ ..] => format!("{one} and {} more", more.len()),
        }
    }

    /// The report of a bucket of which nothing could be found out.
    pub fn error(bucket: &BucketName, error: String, trigger: Option<Trigger>) -> Self {
        Self { error: Some(error), ..Self::new(bucket.as_str(), BucketOutcome::Failed, trigger) }
    }

    /// Whether the invocation must fail, so that Lambda tries again and the dead-letter queue keeps the event.
    /// What is unstable is not tried again: that would be the loop.
    pub fn must_retry(&self) -> bool {
        self.has_failed() || self.findings.iter().any(|it| it.braked_until().is_some())
    }

    /// Until when the message waits that nothing but the brake of a fight keeps from its end.
    pub fn braked_until(&self) -> Option<Timestamp> {
        self.findings.iter().filter_map(Finding::braked_until).min().filter(|_| !self.has_failed())
    }

    fn has_failed(&self) -> bool {
        let has_failed =
            |it: &Finding| matches!(it.outcome, Outcome::Failed | Outcome::Unreadable) || it.left == Some(Left::NotYet);
        self.error.is_some() || self.is_outdated || self.findings.iter().any(has_failed)
    }
}

impl Report {
    /// What of this report people are to be told, and the facts that are not this look's own.
    pub fn about(&self, facts: Vec<Fact>, look: &str) -> Self {
        let (own, mut others): (Vec<_>, Vec<_>) = facts.into_iter().partition(|it| {
            let is_in_report = matches!(it.kind, FactKind::Restored | FactKind::Opened | FactKind::Fight);
            it.is_of(look) && is_in_report && self.says(&it.about)
        });
        let is_told = |about: &str| own.iter().any(|it| it.about == about);
        // What was restored says nothing of the times before.
        others.extend(own.iter().filter(|it| it.kind == FactKind::Fight).cloned());
        let findings: Vec<_> = self.findings.iter().filter(|it| is_told(it.control.id())).cloned().collect();
        let hindrances = self.hindrances.iter().filter(|it| is_told(&it.about())).cloned().collect::<Vec<_>>();
        let is_of_bucket = is_told(BUCKET);
        let outcome = match self.outcome {
            BucketOutcome::Gone if is_of_bucket => BucketOutcome::Gone,
            BucketOutcome::Failed if is_of_bucket => BucketOutcome::Failed,
            BucketOutcome::Unguarded => BucketOutcome::Unguarded,
            _ => {
                let endangered = !hindrances.is_empty() || self.trigger.is_some() && !self.exposures.is_empty();
                BucketOutcome::from_findings(&findings, endangered)
            }
        };
        let error = self.error.clone().filter(|_| is_of_bucket);
        Self { outcome, findings, hindrances, error, facts: others, ..self.clone() }
    }

    /// Whether this look itself found anything to tell.
    pub fn has_own_news(&self) -> bool {
        let is_quiet = self.findings.is_empty() && self.hindrances.is_empty() && self.exposures.is_empty();
        !is_quiet || self.error.is_some() || self.outcome == BucketOutcome::Gone
    }

    /// Whether it says what a fact of this look is about.
    fn says(&self, about: &str) -> bool {
        about == BUCKET
            || self.findings.iter().any(|it| it.control.id() == about)
            || self.hindrances.iter().any(|it| it.about() == about)
    }

    /// The history does not have what was written. That is no reason to write it again.
    pub fn unrecorded(&mut self, error: String) {
        self.record = None;
        self.record_error = Some(error);
    }

    /// All that went wrong, in one line.
    pub fn problems(&self) -> String {
        let findings = self.findings.iter().filter_map(|it| Some(format!("{}: {}", it.control, it.error.as_ref()?)));
        self.error.iter().cloned().chain(findings).collect::<Vec<_>>().join("; ")
    }
}

impl BucketOutcome {
    /// The worst that was found.
    pub fn from_findings(findings: &[Finding], endangered: bool) -> Self {
        let any = |outcomes: &[Outcome]| findings.iter().any(|it| outcomes.contains(&it.outcome));
        if any(&[Outcome::Failed, Outcome::Unreadable, Outcome::Unstable]) {
            Self::Failed
        } else if any(&[Outcome::Restored]) {
            Self::Restored
        } else if any(&[Outcome::WouldRestore, Outcome::Exempt]) {
            Self::Drifted
        } else if endangered {
            Self::Endangered
        } else {
            Self::Compliant
        }
    }
}

fn count<S: Serializer>(calls: &[Trigger], serializer: S) -> Result<S::Ok, S::Error> {
    calls.len().serialize(serializer)
}

fn milliseconds_between(start: Option<Timestamp>, end: Option<Timestamp>) -> Option<u64> {
    // Clocks differ, and CloudTrail's times are cut to the second: never less than zero.
    Some(u64::try_from(end?.as_millisecond() - start?.as_millisecond()).unwrap_or(0))
}

/// What a reconcile found and did.
#[derive(Debug)]
pub enum Reconciled {
    /// The bucket does not exist.
    Gone,
    /// Its registry document was changed before anything was written: it has to be looked at again.
    Outdated,
    Bucket {
        findings: Vec<Finding>,
        /// What would keep us from the next restore.
        hindrances: Vec<Hindrance>,
        /// What of the owner's opens or destroys.
        exposures: Vec<Exposure>,
        restores: BTreeMap<Control, Restore>,
        /// The controls that were read.
        read: Vec<Control>,
    },
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{control::table::Control, outcome::ledger::Span};

    fn finding(outcome: Outcome) -> Finding {
        let error = matches!(outcome, Outcome::Failed | Outcome::Unreadable).then(|| "no".to_owned());
        Finding { error, ..Finding::new(Control::Versioning, outcome, (Value::Null, Value::Null)) }
    }

    fn report(outcomes: &[Outcome]) -> Report {
        let findings = outcomes.iter().map(|it| finding(*it)).collect();
        Report::from_reconciled(
            &"acme-data".parse().unwrap(),
            Reconciled::Bucket {
                findings,
                hindrances: Vec::new(),
                exposures: Vec::new(),
                restores: BTreeMap::new(),
                read: Vec::new(),
            },
            &Calls::default(),
        )
    }

    #[test]
    fn the_worst_finding_names_the_outcome_and_decides_whether_to_try_again() {
        use Outcome::*;
        for (findings, outcome, again) in [
            (&[][..], BucketOutcome::Compliant, false),
            (&[Exempt], BucketOutcome::Drifted, false),
            (&[WouldRestore, Exempt], BucketOutcome::Drifted, false),
            (&[Exempt, Restored], BucketOutcome::Restored, false),
            // Trying again would be the loop.
            (&[Restored, Unstable], BucketOutcome::Failed, false),
            (&[Restored, Failed], BucketOutcome::Failed, true),
            (&[Unreadable, Restored], BucketOutcome::Failed, true),
            (&[Unstable, Failed], BucketOutcome::Failed, true),
        ] {
            let report = report(findings);
            assert_eq!((report.outcome, report.must_retry()), (outcome, again), "{findings:?}");
        }
    }

    #[test]
    fn only_what_nothing_but_the_brake_keeps_from_its_end_waits_for_it() {
        let until = |seconds| Timestamp::from_second(seconds).unwrap();
        let braked = |seconds| Finding { left: Some(Left::Braked(until(seconds))), ..finding(Outcome::WouldRestore) };
        let of = |findings| {
            let report = Report { findings, ..report(&[]) };
            (report.must_retry(), report.braked_until())
        };
        assert_eq!(of(vec![braked(9), braked(7), finding(Outcome::Restored)]), (true, Some(until(7))));
        assert_eq!(of(vec![braked(9), finding(Outcome::Failed)]), (true, None));
        assert_eq!(of(vec![finding(Outcome::WouldRestore)]), (false, None));
    }

    #[test]
    fn every_problem_is_named() {
        let report = Report { error: Some("untold".to_owned()), ..report(&[Outcome::Failed, Outcome::Restored]) };
        assert_eq!(report.problems(), "untold; versioning: no");
        assert!(Report::error(&"acme-data".parse().unwrap(), "unknown".to_owned(), None).must_retry());
        assert!(
            !Report::from_reconciled(&"acme-data".parse().unwrap(), Reconciled::Gone, &Calls::default()).must_retry()
        );
    }

    #[test]
    fn the_time_to_restore_is_never_negative_and_never_guessed() {
        let took = |called: Option<&str>, restored: Option<&str>| {
            let event_name = "PutBucketVersioning".to_owned();
            let trigger = Trigger { event_name, event_time: called.map(str::to_owned), ..Trigger::default() };
            let restore = |it: &str| {
                let (sent, ended) = (Timestamp::UNIX_EPOCH, it.parse().unwrap());
                Restore { read: sent, written: Some(Span { sent, ended }) }
            };
            let restores = restored.map(|it| (Control::Versioning, restore(it))).into_iter().collect();
            let findings = vec![finding(Outcome::Restored)];
            let reconciled = Reconciled::Bucket {
                findings,
                hindrances: Vec::new(),
                exposures: Vec::new(),
                restores,
                read: Vec::new(),
            };
            Report::from_reconciled(&"acme-data".parse().unwrap(), reconciled, &Calls::of(trigger)).drift_to_restored_ms
        };
        assert_eq!(took(Some("2026-11-23T10:00:00Z"), Some("2026-11-23T10:00:01.834Z")), Some(1834));
        assert_eq!(took(Some("2026-11-23T10:00:05Z"), Some("2026-11-23T10:00:01Z")), Some(0));
        assert_eq!(took(Some("yesterday"), Some("2026-11-23T10:00:01Z")), None);
        assert_eq!(took(None, Some("2026-11-23T10:00:01Z")), None);
        assert_eq!(took(Some("2026-11-23T10:00:00Z"), None), None);
    }

    fn endangering() -> (Hindrance, Exposure) {
        use crate::outcome::{exposure::ExposureKind, hindrance::Document};
        let hindrance = Hindrance::example(Document::BucketPolicy, true);
        let (kind, control) = (ExposureKind::ForeignAccess, Control::BucketPolicy);
        (hindrance, Exposure::example(kind, control))
    }

    #[test]
    fn what_was_open_before_the_call_is_its_owners() {
        let of = |event_name: Option<&str>, hindered: bool| {
            let (hindrance, exposure) = endangering();
            let hindrances = hindered.then_some(hindrance).into_iter().collect();
            let reconciled = Reconciled::Bucket {
                findings: Vec::new(),
                hindrances,
                exposures: vec![exposure],
                restores: BTreeMap::new(),
                read: Vec::new(),
            };
            let trigger = event_name.map(|it| Trigger { event_name: it.to_owned(), ..Trigger::default() });
            let report = Report::from_reconciled(
                &"acme-data".parse().unwrap(),
                reconciled,
                &trigger.map(Calls::of).unwrap_or_default(),
            );
            (report.outcome, report.hindrances.len(), report.exposures.len())
        };
        assert_eq!(of(None, false), (BucketOutcome::Compliant, 0, 1));
        assert_eq!(of(Some("PutBucketPolicy"), false), (BucketOutcome::Endangered, 0, 1));
        assert_eq!(of(Some("PutBucketVersioning"), false), (BucketOutcome::Compliant, 0, 0));
        assert_eq!(of(Some("PutBucketVersioning"), true), (BucketOutcome::Endangered, 1, 0));
        assert_eq!(of(None, true), (BucketOutcome::Endangered, 1, 1));
    }

    #[test]
    fn two_reports_together_are_as_bad_as_the_worse() {
        let endangered = || {
            let (hindrance, exposure) = endangering();
            let (hindrances, exposures) = (vec![hindrance], vec![exposure]);
            Report { hindrances, exposures, outcome: BucketOutcome::Endangered, ..report(&[]) }
        };
        for (one, other, outcome) in [
            (report(&[]), report(&[]), BucketOutcome::Compliant),
            (report(&[]), report(&[Outcome::Restored]), BucketOutcome::Restored),
            (report(&[Outcome::Failed]), report(&[Outcome::Restored]), BucketOutcome::Failed),
            (endangered(), report(&[]), BucketOutcome::Endangered),
            (report(&[]), endangered(), BucketOutcome::Endangered),
        ] {
            assert_eq!(one.and(other).outcome, outcome);
        }
        let outdated = || Report { is_outdated: true, ..report(&[]) };
        let unknown = || Report::error(&"acme-data".parse().unwrap(), "unknown".to_owned(), None);
        let both = report(&[]).and(unknown());
        assert_eq!((both.outcome, both.error.as_deref()), (BucketOutcome::Failed, Some("unknown")));
        assert!(report(&[]).and(outdated()).must_retry() && outdated().and(report(&[])).must_retry());
        let both = endangered().and(Report { drift_to_restored_ms: Some(7), ..endangered() });
        assert_eq!((both.hindrances.len(), both.exposures.len(), both.drift_to_restored_ms), (2, 2, Some(7)));
        let mut unrecorded = Report { drift_to_restored_ms: Some(5), ..report(&[]) }.and(both);
        assert_eq!(unrecorded.drift_to_restored_ms, Some(5));
        unrecorded.record = "s3://acme-logs/s3-guardrail/history/acme-data/1.json".parse().ok();
        unrecorded.unrecorded("no".to_owned());
        assert_eq!((unrecorded.record, unrecorded.record_error.as_deref()), (None, Some("no")));
    }

    #[test]
    fn work_is_called_the_same_in_json_and_in_text() {
        for work in [Work::Sweep, Work::Reconcile, Work::Bootstrap, Work::Rollback] {
            assert_eq!(serde_json::to_value(work).unwrap(), work.as_str());
        }
    }

    #[test]
    fn only_what_the_call_caused_and_was_restored_is_timed() {
        let timed = |event_name: &str, outcome| {
            let (event_name, event_time) = (event_name.to_owned(), Some("2026-11-23T10:00:00Z".to_owned()));
            let trigger = Trigger { event_name, event_time, ..Trigger::default() };
            let findings = vec![finding(outcome)];
            let (sent, ended) = (Timestamp::UNIX_EPOCH, "2026-11-23T10:00:01Z".parse().unwrap());
            let restore = Restore { read: sent, written: Some(Span { sent, ended }) };
            let restores = [(Control::Versioning, restore)].into();
            let reconciled = Reconciled::Bucket {
                findings,
                hindrances: Vec::new(),
                exposures: Vec::new(),
                restores,
                read: Vec::new(),
            };
            Report::from_reconciled(&"acme-data".parse().unwrap(), reconciled, &Calls::of(trigger)).drift_to_restored_ms
        };
        assert_eq!(timed("PutBucketVersioning", Outcome::Restored), Some(1000));
        assert_eq!(timed("PutBucketPolicy", Outcome::Restored), None);
        assert_eq!(timed("PutBucketVersioning", Outcome::Failed), None);
    }
}
