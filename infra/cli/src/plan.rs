//! `guardrail plan`: what the functions would do about a bucket, without doing it.

use std::path::Path;

use guardrail::{
    Guardrail,
    observe::{self, Scope},
    store::registry,
    work::{
        bootstrap,
        reconcile::{Beside, apply_steps},
    },
};
use guardrail_core::{
    control::table::Control,
    decide::{
        adoption::{Adoption, kept_for},
        baseline::Baseline,
        echo::NO_PAST,
        plan::{self, Stance},
    },
    edge::registry::Registration,
    outcome::{
        finding::Outcome,
        observed::{Observation, Observed},
        report::{BucketOutcome, Calls, Report},
        step::Step,
    },
    value::{
        json::from_json,
        names::{BucketName, KeyArn},
    },
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use crate::{
    Exit,
    args::PlanArguments,
    error::{CliError, next_step},
    output,
    session::Session,
};

/// Stands for a key that nobody named.
const TO_BE_CREATED: &str = "key/to-be-created";

/// Where a baseline is from.
enum Source<'a> {
    Registry,
    File(&'a Path),
    Key(&'a KeyArn),
    /// Not registered, and nobody said which key.
    Nowhere,
}

pub(crate) async fn run(session: &Session, arguments: &PlanArguments) -> Result<Exit, CliError> {
    let mut exit = Exit::Compliant;
    let mut plans = Vec::new();
    for bucket in &arguments.buckets {
        match plan_bucket(session, arguments, bucket).await {
            Ok((planned, source)) => {
                exit = exit.max(Exit::from_report(&planned.report));
                if arguments.json {
                    plans.push(planned);
                } else {
                    let Planned { report, adoption } = planned;
                    let adoption = adoption.as_ref().map(output::adoption).unwrap_or_default();
                    session.print(&(output::report(&report, &note(&source)) + &adoption))?;
                }
            }
            Err(error) => {
                exit = Exit::Error;
                output::complain("error", &error.to_string());
                plans.push(Planned { report: Report::error(bucket, error.to_string(), None), adoption: None });
            }
        }
    }
    if arguments.json {
        session.print_json(&json!({"buckets": plans}))?;
    }
    Ok(exit)
}

/// What would be done, and what that would break.
#[derive(Debug, Serialize)]
struct Planned {
    #[serde(flatten)]
    report: Report,
    /// `None`: the bucket is guarded already.
    #[serde(flatten)]
    adoption: Option<Adoption>,
}

async fn plan_bucket<'a>(
    session: &Session,
    arguments: &'a PlanArguments,
    bucket: &BucketName,
) -> Result<(Planned, Source<'a>), CliError> {
    let (source, observed) = tokio::join!(source(session, arguments, bucket), session.observe(bucket));
    let ((mut registration, source), observed) = (source?, observed?);
    let adoption = match is_guarded(session, &source, bucket).await {
        true => None,
        false => Some(adoption(session, &mut registration, &source).await?),
    };
    Ok((Planned { report: report(session, &registration, observed).await?, adoption }, source))
}

/// Who may not read the registry still learns what would break.
async fn is_guarded(session: &Session, source: &Source<'_>, bucket: &BucketName) -> bool {
    let Guardrail { ssm, config, .. } = &session.guardrail;
    match source {
        Source::Registry => true,
        Source::Nowhere => false,
        Source::File(_) | Source::Key(_) => {
            matches!(registry::read(ssm, &config.parameter_prefix, bucket).await, Ok(Some(_)))
        }
    }
}

/// What the bootstrap would break in the bucket.
async fn adoption(
    session: &Session,
    registration: &mut Registration,
    source: &Source<'_>,
) -> Result<Adoption, CliError> {
    let observed = session.observe(&registration.bucket).await?;
    // What a file says of the days stands; the bootstrap takes the owner's over.
    if !matches!(source, Source::File(_))
        && let Some((days, _)) = kept_for(registration.lifecycle, &observed.lifecycle, &[])
    {
        registration.lifecycle = days;
    }
    let baseline = Baseline::new(registration, &session.account, &session.guardrail.config.role)?;
    Ok(bootstrap::foresee_bucket(&session.guardrail, registration, &baseline, observed, Some(&[])).await)
}

/// What the functions would find and do.
pub(crate) async fn report(
    session: &Session,
    registration: &Registration,
    observed: Observed,
) -> Result<Report, CliError> {
    let bucket = &registration.bucket;
    let baseline = Baseline::new(registration, &session.account, &session.guardrail.config.role)?;
    let stance = Stance { registration, now: Timestamp::now(), dry_run: true, past: &NO_PAST };
    let mut seen = Observation::from(observed);
    if registration.key_arn.parts().resource != TO_BE_CREATED {
        let scope = Scope { bucket: false, kms_key: true, trail: true };
        let around = observe::observe_in(&session.guardrail, bucket, &baseline, scope).await;
        seen = Observation { bucket: seen.bucket, ..around };
    }
    let beside = Beside::new(&baseline, &seen, &stance);
    let steps = plan::plan(&baseline, seen, &stance);
    let refusals: Vec<(Control, String)> = steps.iter().filter_map(|it| refusal(&baseline, it, stance.now)).collect();
    // With `dry_run` no step is one that writes.
    let reconciled = apply_steps(&session.guardrail, bucket, &baseline, steps, beside).await;
    let mut report = Report { dry_run: true, ..Report::from_reconciled(bucket, reconciled, &Calls::default()) };
    for (control, refusal) in refusals {
        for finding in report.findings.iter_mut().filter(|it| it.control == control) {
            finding.error = Some(refusal.clone());
        }
    }
    Ok(report)
}

/// Why a restore would not even be tried, or what is missing to read a control.
fn refusal(baseline: &Baseline, step: &Step, now: Timestamp) -> Option<(Control, String)> {
    match step {
        Step::Tell(change) => Some((change.control(), plan::check(baseline, change, now).err()?.to_string())),
        Step::Unreadable(control, error) => Some((*control, format!("{error}{}", next_step(error)))),
        _ => None,
    }
}

/// The baseline that was asked for: a file's, a key's, or the registered one.
async fn source<'a>(
    session: &Session,
    arguments: &'a PlanArguments,
    bucket: &BucketName,
) -> Result<(Registration, Source<'a>), CliError> {
    let with_key = |key| Registration::new(bucket.clone(), session.account.clone(), key);
    if let Some(path) = &arguments.baseline {
        return Ok((from_file(path, bucket)?, Source::File(path)));
    }
    if let Some(key) = &arguments.key_arn {
        return Ok((with_key(key.clone()), Source::Key(key)));
    }
    let config = &session.guardrail.config;
    if let Some(registration) = registry::read(&session.guardrail.ssm, &config.parameter_prefix, bucket).await? {
        return Ok((registration, Source::Registry));
    }
    // As in a dry run of the bootstrap.
    let place = config.place();
    let key = format!("arn:{}:kms:{}:{}:{TO_BE_CREATED}", place.partition, place.region, place.account);
    let key = key.parse().map_err(|_| CliError::Caller(session.caller.clone()))?;
    Ok((with_key(key), Source::Nowhere))
}

fn from_file(path: &Path, bucket: &BucketName) -> Result<Registration, CliError> {
    let failed = |problem: String| CliError::File { path: path.to_owned(), problem };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let registration: Registration = from_json(&text).map_err(|error| failed(error.to_string()))?;
    if registration.bucket != *bucket {
        return Err(failed(format!("is the baseline of {}, not of {bucket}", registration.bucket)));
    }
    Ok(registration)
}

fn note(source: &Source<'_>) -> String {
    match source {
        Source::Registry => "  baseline: registry".to_owned(),
        Source::File(path) => format!("  baseline: {}", path.display()),
        Source::Key(key) => format!("  baseline: the usual one with {key}"),
        Source::Nowhere => {
            "\n  Not registered: this is the usual baseline, and key/to-be-created stands for the key.\n  \
            --key-arn ARN says which key it is; `guardrail bootstrap` builds all of it."
                .to_owned()
        }
    }
}

impl Exit {
    /// Compliant, or exempt from it; drift; or unknown.
    pub(crate) fn from_report(report: &Report) -> Self {
        let drifted = report.findings.iter().any(|it| it.outcome == Outcome::WouldRestore);
        match report.outcome {
            BucketOutcome::Failed | BucketOutcome::Gone | BucketOutcome::Unguarded => Self::Error,
            BucketOutcome::Endangered => Self::Drift,
            BucketOutcome::Drifted if drifted => Self::Drift,
            BucketOutcome::Drifted | BucketOutcome::Compliant | BucketOutcome::Restored => Self::Compliant,
        }
    }
}

#[cfg(test)]
mod tests {
    use guardrail_tests::fake::{BUCKET, FakeAws, KEY};

    use super::*;
    use crate::faults::session;

    async fn planned(fake: &FakeAws, key_arn: Option<&str>) -> serde_json::Value {
        let buckets = vec![BUCKET.parse().unwrap()];
        let key_arn = key_arn.map(|it| it.parse().unwrap());
        let arguments = PlanArguments { buckets, key_arn, baseline: None, json: true };
        let (planned, _) = plan_bucket(&session(fake), &arguments, &BUCKET.parse().unwrap()).await.unwrap();
        serde_json::to_value(planned).unwrap()
    }

    #[tokio::test]
    async fn a_plan_says_what_building_it_would_break_unless_the_bucket_is_guarded() {
        let fake = FakeAws::guarded();
        let redirect = "<RedirectAllRequestsTo><HostName>example.org</HostName></RedirectAllRequestsTo>";
        fake.set("website", Some(&format!("<WebsiteConfiguration>{redirect}</WebsiteConfiguration>")));
        for key in [None, Some(KEY)] {
            assert_eq!(planned(&fake, key).await.get("adoption"), None);
        }
        fake.state().parameters.clear();
        for key in [None, Some(KEY)] {
            let planned = planned(&fake, key).await;
            assert_eq!(planned["adoption"][0]["breaks"], "breaks-website", "{planned}");
            assert_eq!(planned["outcome"], "drifted", "{planned}");
        }
        assert_eq!(fake.writes(), Vec::<String>::new());
    }
}
