//! What comes of a look: people told, a record kept, all of it counted.

use guardrail_core::{
    decide::{echo, record::assign_record},
    edge::config::Config,
    outcome::report::{BucketOutcome, Report},
    tell::{alert, metrics},
    value::{failure::ApiError, names::BucketName},
};
use tokio::time::Instant;

use crate::{
    Guardrail,
    store::history,
    topic,
    work::{
        look::{Looked, Task},
        page::Page,
    },
};

/// Tells people of a look, keeps a record beside it, and counts.
#[tracing::instrument(name = "handle", skip_all, fields(%bucket, trigger = task.errand.name()))]
pub(super) async fn report(
    guardrail: &Guardrail,
    bucket: &BucketName,
    task: &Task,
    started: Instant,
    looked: Looked,
    mut page: Page<'_>,
) -> Report {
    let Task { errand, .. } = task;
    let Looked { mut report, registration } = looked;
    report.asked = errand.asked(guardrail.caller.as_ref());
    report.elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let swept = errand.is_sweep();
    report.missed_event = swept && report.outcome == BucketOutcome::Restored;
    for finding in &report.findings {
        tracing::info!(control = %finding.control, outcome = ?finding.outcome, error = finding.error, "finding");
        tracing::debug!(control = %finding.control, observed = %finding.observed, desired = %finding.desired, "difference");
    }
    let assigned = assign_record(&mut report, registration.as_ref(), guardrail.clock.now(), guardrail.clock.random());
    if let Err(error) = assigned {
        history::unrecorded(&mut report, &error);
    }
    let (published, kept) = tokio::join!(
        Box::pin(tell(guardrail, task, &report, &mut page)),
        history::keep(guardrail, &report, registration.as_ref()),
    );
    if let Err(error) = kept {
        history::unrecorded(&mut report, &error);
    }
    let Told { published, kept_open, ledger_error } = published;
    report.kept_open = kept_open;
    report.ledger_error = ledger_error;
    match published {
        None => {}
        Some(Ok(())) => report.notified = true,
        Some(Err(error)) => {
            let untold = format!("people could not be told: {error}");
            report.error = Some(report.error.map_or(untold.clone(), |it| format!("{it}; {untold}")));
            report.untold = true;
        }
    }
    if report.outcome != BucketOutcome::Unguarded {
        metrics::lines(&report, guardrail.clock.now()).iter().for_each(guardrail.metrics);
    }
    let calls = errand.events.len();
    tracing::info!(outcome = ?report.outcome, calls, error = report.error, elapsed_ms = report.elapsed_ms, "reconciled");
    report
}

/// What came of telling people.
struct Told {
    /// `None`: there was nothing to tell.
    published: Option<Result<(), ApiError>>,
    kept_open: bool,
    ledger_error: Option<String>,
}

/// Tells people what they do not know yet, and writes down that they do.
async fn tell(guardrail: &Guardrail, task: &Task, report: &Report, page: &mut Page<'_>) -> Told {
    let Task { errand, .. } = task;
    let mut report = report.clone();
    let is_guarded = report.outcome != BucketOutcome::Unguarded;
    let facts = if is_guarded { page.record(&mut report).await } else { None };
    let (kept_open, ledger_error) = (report.kept_open, report.ledger_error.clone());
    let told = |published| Told { published, kept_open, ledger_error };
    let Config { role, region, topic, .. } = &guardrail.config;
    let Some(topic) = topic else { return told(None) };
    let place = guardrail.config.place();
    let Some(mut facts) = facts else {
        let is_news = echo::is_news(&report, errand.is_own(role, region));
        let alert = alert::alert(&report, place, errand.is_sweep()).filter(|_| is_news);
        return told(match alert {
            Some(alert) => Some(topic::publish(guardrail, topic, &alert, false).await.map_err(|it| it.error)),
            None => None,
        });
    };
    let mut published = None;
    // Once, and once more for what came meanwhile.
    loop {
        let is_hinted = topic::are_hinted(&facts);
        let news = report.about(std::mem::take(&mut facts), page.look());
        let is_news = !news.facts.is_empty() || echo::is_news(&news, errand.is_own(role, region));
        let alert = alert::alert(&news, place, false).filter(|_| is_news);
        let Some(alert) = alert else { return told(published) };
        if let Err(untold) = topic::publish(guardrail, topic, &alert, is_hinted).await {
            page.release(untold.is_hinted).await;
            return told(Some(Err(untold.error)));
        }
        published = Some(Ok(()));
        facts = page.confirm().await;
        if facts.is_empty() {
            return told(published);
        }
        // Its own findings are told.
        report = Report { findings: Vec::new(), hindrances: Vec::new(), exposures: Vec::new(), error: None, ..report };
    }
}
