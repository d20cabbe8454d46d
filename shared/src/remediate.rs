//! `guardrail-remediate`: an event, a batch or a request in; bucket restored, people told, report out.

use std::time::Instant;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    Guardrail,
    api::chain,
    baseline::Baseline,
    event::{Event, Input, InputError, Request},
    metrics,
    names::BucketName,
    notify,
    observe::{Bucket, observe},
    plan::{Echo, Stance},
    reconcile::reconcile,
    registry,
    report::{BucketOutcome, Report},
};

/// Why an invocation fails. The alert was sent before, unless it is what failed.
#[derive(Debug, thiserror::Error)]
pub enum RemediateError {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("{bucket}: {problems}")]
    NotRestored { bucket: String, problems: String },
}

/// What led to a bucket.
enum Reason {
    Event(Box<Event>),
    Sweep,
    Request { dry_run: bool },
}

/// Answers one invocation.
pub async fn remediate(guardrail: &Guardrail, input: Value) -> Result<Value, RemediateError> {
    match Input::parse(input)? {
        Input::Event(event) => match event.bucket.clone() {
            Ok(bucket) => answer(handle(guardrail, &bucket, Reason::Event(event)).await),
            Err(impossible) => Ok(json!(Report::new(impossible, BucketOutcome::Unguarded, Some(event.trigger)))),
        },
        Input::Batch(batch) => Ok(json!(handle_batch(guardrail, batch).await)),
        Input::Direct(Request { bucket, dry_run }) => {
            answer(handle(guardrail, &bucket, Reason::Request { dry_run }).await)
        }
    }
}

/// What a direct request does, for a caller who takes the report as it is.
pub async fn reconcile_bucket(guardrail: &Guardrail, bucket: &BucketName, dry_run: bool) -> Report {
    handle(guardrail, bucket, Reason::Request { dry_run }).await
}

fn answer(report: Report) -> Result<Value, RemediateError> {
    // A dry run shows what could not be read; nothing else was tried.
    if report.error.is_some() || !report.dry_run && report.must_retry() {
        return Err(RemediateError::NotRestored { problems: report.problems(), bucket: report.bucket });
    }
    Ok(json!(report))
}

/// Each message stands for itself: only those that failed come back.
async fn handle_batch(guardrail: &Guardrail, batch: SqsEvent) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    for message in batch.records {
        let failed = match Request::from_body(message.body.as_deref().unwrap_or_default()) {
            Ok(Request { bucket, dry_run }) => {
                let reason = if dry_run { Reason::Request { dry_run } } else { Reason::Sweep };
                handle(guardrail, &bucket, reason).await.must_retry()
            }
            Err(error) => {
                tracing::error!(error = %chain(&error), message.id = message.message_id, "message refused");
                true
            }
        };
        if failed {
            response.add_failure(message.message_id.unwrap_or_default());
        }
    }
    response
}

/// Reconciles one bucket, tells people, and counts.
#[tracing::instrument(skip_all, fields(%bucket))]
async fn handle(guardrail: &Guardrail, bucket: &BucketName, reason: Reason) -> Report {
    let start = Instant::now();
    let mut report = look(guardrail, bucket, &reason).await;
    report.elapsed_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    for finding in &report.findings {
        tracing::info!(control = %finding.control, outcome = ?finding.outcome, error = finding.error, "finding");
        tracing::debug!(control = %finding.control, observed = %finding.observed, desired = %finding.desired, "difference");
    }
    let alert = notify::alert(&report, guardrail.config.place(), matches!(reason, Reason::Sweep));
    if let Some((topic, alert)) = guardrail.config.topic.as_ref().zip(alert) {
        match notify::publish(&guardrail.sns, topic, alert).await {
            Ok(()) => report.notified = true,
            Err(error) => {
                let untold = format!("people could not be told: {error}");
                report.error = Some(report.error.map_or(untold.clone(), |it| format!("{it}; {untold}")));
            }
        }
    }
    if report.outcome != BucketOutcome::Unguarded {
        metrics::lines(&report, Timestamp::now()).iter().for_each(guardrail.metrics);
    }
    tracing::info!(outcome = ?report.outcome, error = report.error, elapsed_ms = report.elapsed_ms, "reconciled");
    report
}

/// Reads bucket and registry at once; restores what is ours to restore.
async fn look(guardrail: &Guardrail, bucket: &BucketName, reason: &Reason) -> Report {
    let Guardrail { config, s3, ssm, .. } = guardrail;
    let (echo, dry_run, trigger) = match reason {
        Reason::Event(event) => (event.echo(&config.role), false, Some(event.trigger.clone())),
        Reason::Sweep => (Echo::No, false, None),
        Reason::Request { dry_run } => (Echo::No, *dry_run, None),
    };
    // Our own account: S3 lets nobody else write a bucket's policy, so we guard no bucket of another account.
    let owner = config.account();
    let named = Bucket { name: bucket, owner: &owner };
    let (registration, observed) =
        tokio::join!(registry::read(ssm, &config.parameter_prefix, bucket), observe(s3, named));
    let plan = registration.and_then(|it| it.map(|it| Ok((Baseline::new(&it, &owner, &config.role)?, it))).transpose());
    let report = match plan {
        Ok(None) => Report::new(bucket.as_str(), BucketOutcome::Unguarded, trigger),
        Err(error) => Report::error(bucket, chain(&error), trigger),
        Ok(Some((baseline, registration))) => {
            let stance = Stance { registration: &registration, now: Timestamp::now(), dry_run, echo };
            let reconciled = reconcile(s3, named, &baseline, observed, &stance).await;
            Report::of(bucket, reconciled, trigger)
        }
    };
    Report { dry_run, ..report }
}
