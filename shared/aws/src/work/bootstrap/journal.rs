//! What a bootstrap has written so far, and its way into the history.

use guardrail_core::{
    decide::{record::assign_record, setup::Setup},
    edge::registry::Registration,
    outcome::{
        finding::Finding,
        report::{Asked, BucketOutcome, Report, Work},
    },
    value::names::{BucketName, KeyArn},
};

use crate::{Guardrail, store::history};

/// What was written, for the history.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// To the guarded bucket, its key and its trail.
    pub(super) changes: Vec<Finding>,
    /// The key, as soon as it is known.
    pub(super) key: Option<KeyArn>,
    /// Why something is not in the history.
    pub(super) error: Option<String>,
}

impl Journal {
    /// Keeps what was written for the guarded bucket, however far it came. The report says where.
    pub(super) async fn keep(mut self, guardrail: &Guardrail, setup: &Setup) -> Report {
        let outcome = BucketOutcome::from_findings(&self.changes, false);
        let mut findings: Vec<Finding> = Vec::new();
        for finding in std::mem::take(&mut self.changes) {
            // What was restored twice was as its owner had it before the first time.
            if !findings.iter().any(|it| it.control == finding.control && it.written.is_some()) {
                findings.push(finding);
            }
        }
        let report = Report { findings, ..Report::new(setup.bucket.as_str(), outcome, None) };
        let (key, error) = (self.key.take(), self.error.take());
        let mut report = kept(guardrail, setup, &setup.bucket, key.as_ref(), report).await;
        if let (Some(error), None) = (error, &report.record_error) {
            report.record_error = Some(error);
        }
        report
    }
}

/// Keeps the record of a report on one of the buckets, if anything was written.
pub(super) async fn kept(
    guardrail: &Guardrail,
    setup: &Setup,
    bucket: &BucketName,
    key: Option<&KeyArn>,
    mut report: Report,
) -> Report {
    report.asked = Some(Asked { what: Work::Bootstrap, by: guardrail.caller.clone() });
    let registration = key.map(|key| Registration {
        log_bucket: Some(setup.log_bucket.clone()),
        ..Registration::new(bucket.clone(), setup.account.clone(), key.clone())
    });
    let assigned = assign_record(&mut report, registration.as_ref(), guardrail.clock.now(), guardrail.clock.random());
    if let Err(error) = assigned {
        history::unrecorded(&mut report, &error);
    }
    if let Err(error) = history::keep(guardrail, &report, registration.as_ref()).await {
        history::unrecorded(&mut report, &error);
    }
    report
}
