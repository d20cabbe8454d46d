//! `guardrail reconcile`: what `guardrail-remediate` does with a direct request, with the caller's credentials.

use guardrail::work::remediate;
use guardrail_core::outcome::{finding::Outcome, report::BucketOutcome};

use crate::{Exit, args::ReconcileArguments, error::CliError, output, session::Session};

pub(crate) async fn run(session: &Session, arguments: ReconcileArguments) -> Result<Exit, CliError> {
    let ReconcileArguments { bucket, dry_run, json, .. } = arguments;
    let report = remediate::reconcile_bucket(&session.guardrail, &bucket, dry_run).await;
    if report.outcome == BucketOutcome::Unguarded {
        return Err(CliError::NotGuarded { bucket });
    }
    if !report.findings.is_empty() && report.findings.iter().all(|it| it.outcome == Outcome::Unreadable) {
        session.reachable(&bucket).await?;
    }
    if json {
        session.print_json(&report)?;
    } else if report.error.is_none() || !report.findings.is_empty() {
        session.print(&output::report(&report, ""))?;
    }
    if let Some(error) = &report.error {
        output::complain("error", &format!("{bucket}: {error}"));
    }
    Ok(Exit::from_report(&report))
}
