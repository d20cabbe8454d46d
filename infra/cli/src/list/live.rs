//! `guardrail list --live`: what AWS says of every guarded bucket, now.

use futures_util::{StreamExt as _, stream};
use guardrail_core::{
    decide::known::State,
    edge::registry::Registration,
    outcome::{
        finding::Outcome,
        report::{BucketOutcome, Report},
    },
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;

use crate::{
    Exit,
    error::CliError,
    list::{Row, row},
    plan,
    session::Session,
};

/// How many buckets are read at once.
const AT_ONCE: usize = 8;

/// A row a bucket.
pub(super) async fn rows(session: &Session, documents: Vec<(String, Result<Registration, String>)>) -> Vec<Row> {
    let progress = ProgressBar::new(documents.len() as u64);
    progress.set_draw_target(ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {wide_msg}") {
        progress.set_style(style);
    }
    let looking = async |(name, registration): (String, Result<Registration, String>)| {
        let (state, details) = match &registration {
            Ok(registration) => look(session, registration).await,
            Err(error) => (State::Broken, error.clone()),
        };
        Row { details, ..row(name, registration.ok(), state, Timestamp::now()) }
    };
    let mut found = stream::iter(documents).map(looking).buffered(AT_ONCE);
    let mut rows = Vec::new();
    while let Some(row) = found.next().await {
        progress.set_message(row.bucket.clone());
        progress.inc(1);
        rows.push(row);
    }
    progress.finish_and_clear();
    rows
}

async fn look(session: &Session, registration: &Registration) -> (State, String) {
    let report = match session.observe(&registration.bucket).await {
        Ok(observed) => plan::report(session, registration, observed).await,
        Err(error) => Err(error),
    };
    match report {
        Ok(report) => state(&report),
        Err(CliError::NoBucket { .. }) => (State::Gone, "the bucket does not exist".to_owned()),
        Err(CliError::Unreachable { problem, .. }) => (State::Unreadable, problem),
        Err(CliError::Registry(error)) => (State::Broken, error.to_string()),
        Err(error) => (State::Unreadable, error.to_string()),
    }
}

fn state(report: &Report) -> (State, String) {
    let named = |outcome| {
        let findings = report.findings.iter().filter(|it| it.outcome == outcome);
        findings.map(|it| it.control.id()).collect::<Vec<_>>().join(", ")
    };
    let exposures = || report.exposures.iter().map(|it| it.detail.as_str()).collect::<Vec<_>>().join("; ");
    match report.outcome {
        BucketOutcome::Gone => (State::Gone, String::new()),
        BucketOutcome::Failed => (State::Unreadable, named(Outcome::Unreadable)),
        BucketOutcome::Endangered => {
            let all = report.hindrances.iter().map(ToString::to_string).collect::<Vec<_>>();
            (State::Endangered, all.join("; "))
        }
        _ if Exit::from_report(report) == Exit::Drift => (State::Drifted, named(Outcome::WouldRestore)),
        _ => (State::Compliant, exposures()),
    }
}
