//! `guardrail-bootstrap`: builds the secure baseline of one bucket, and registers it.
//!
//! Every step looks first and does only what is missing, so that a run that stopped anywhere is simply run again.
//! What the request leaves open is as it is registered, and as derived from the bucket's name only where nothing is.
//!
//! The registry document of a new bucket comes last: from then on `guardrail-remediate` keeps what was built. That of a
//! guarded bucket comes before the bucket's settings, or `guardrail-remediate` would restore the earlier ones.

mod adopt;
mod bucket;
mod budget;
mod journal;
mod key;

use std::collections::BTreeSet;

use adopt::Foreseen;
use guardrail_core::{
    control::trail::MAX_TRAILS,
    decide::{
        adoption::Adoption,
        backoff::SETTLING,
        baseline::Baseline,
        echo::NO_PAST,
        enrolment::swaps,
        plan::Stance,
        setup::{Action, BootstrapError, Request, Resource, Setup, failed},
    },
    edge::{
        event,
        registry::{Mode, Registration},
    },
    outcome::{
        finding::{Finding, Outcome},
        observed::Observed,
        report::{Asked, BucketOutcome, Calls, Report, Work},
        swap::Swap,
    },
    tell::alert,
};
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{
    Guardrail, api, control,
    observe::{Scope, observe_in},
    store::registry,
    topic,
    work::{bootstrap::journal::Journal, reconcile::reconcile_for},
};

pub use adopt::foresee_bucket;

/// What was built.
#[derive(Debug, Serialize)]
pub struct Built {
    #[serde(flatten)]
    pub report: Report,
    pub resources: Vec<Resource>,
    /// What the bucket was registered with and is no longer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub swapped: Vec<Swap>,
    #[serde(flatten)]
    pub adoption: Adoption,
}

/// Answers one invocation.
pub async fn bootstrap(guardrail: &Guardrail, input: Value) -> Result<Value, BootstrapError> {
    let request: Request = event::decode("request", input)?;
    Ok(serde_json::to_value(run(guardrail, request).await?)?)
}

/// Builds what is missing.
pub async fn run(guardrail: &Guardrail, request: Request) -> Result<Built, BootstrapError> {
    let start = Instant::now();
    let prefix = &guardrail.config.parameter_prefix;
    // Before anything else: it says what the request leaves open, and one that cannot be read would be overwritten.
    let registered = registry::read(&guardrail.ssm, prefix, &request.bucket).await?;
    let setup = Setup::new(&guardrail.config, request, registered.as_ref())?;
    let mut journal = Journal::default();
    let built = Box::pin(build(guardrail, &setup, registered.as_ref(), &mut journal)).await;
    let report = Box::pin(journal.keep(guardrail, &setup)).await;
    match built {
        Ok(mut built) => {
            let elapsed_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
            let Report { record, record_error, asked, .. } = report;
            built.report = Report { elapsed_ms, record, record_error, asked, ..built.report };
            Ok(built)
        }
        Err(source) => Err(match report.record {
            Some(record) => BootstrapError::Recorded { record, source: Box::new(source) },
            None => source,
        }),
    }
}

async fn build(
    guardrail: &Guardrail,
    setup: &Setup,
    registered: Option<&Registration>,
    journal: &mut Journal,
) -> Result<Built, BootstrapError> {
    // In boxes, here and below: the SDK's futures are large, and would all lie on the stack.
    let prefix = &guardrail.config.parameter_prefix;
    for (field, name) in [("log_bucket", &setup.log_bucket), ("inventory_bucket", &setup.inventory_bucket)] {
        if registry::read(&guardrail.ssm, prefix, name).await?.is_some() {
            let problem = format!("{name} is a guarded bucket itself: its policy would refuse what is delivered");
            return Err(BootstrapError::Request { field, problem });
        }
    }
    if registered.is_none_or(|it| it.trail_arn.as_ref() != Some(&setup.trail)) || setup.own_trail().is_some() {
        check_trail(guardrail, setup).await?;
    }
    let found = Box::pin(key::find(&guardrail.kms, setup)).await?;
    let Foreseen { adoption, days } = Box::pin(adopt::foresee(guardrail, setup, registered, &found)).await?;
    if adoption.stops() && !setup.dry_run {
        return Err(BootstrapError::Adoption(adoption));
    }
    let (days, days_note) = days.unzip();

    let key::Key { arn: key, alias, action, note, written } = Box::pin(key::ensure(guardrail, setup, found)).await?;
    journal.key = Some(key.clone());
    journal.changes.extend(written.map(Finding::restored));
    let mut resources = vec![Resource { r#type: "AWS::KMS::Key", id: key.to_string(), action, note }];
    for (name, statements) in
        [(&setup.log_bucket, bucket::log_delivery(setup)), (&setup.inventory_bucket, bucket::inventory_delivery(setup))]
    {
        let (action, note) =
            Box::pin(bucket::ensure_support(guardrail, setup, name, &key, statements, journal)).await?;
        resources.push(Resource { r#type: "AWS::S3::Bucket", id: name.to_string(), action, note });
    }

    let (mut report, bucket_action, trail_action, parameter_action, swapped) = match registered {
        None => {
            let found = bucket::find_or_create(guardrail, setup, &setup.bucket).await?;
            let registration = setup.registration(key, alias, None, &found.observed);
            let registration = Registration { lifecycle: days.unwrap_or(registration.lifecycle), ..registration };
            let (report, bucket_action) =
                Box::pin(ensure_guarded(guardrail, setup, &registration, found, journal)).await?;
            let trail_action = Box::pin(ensure_trail(guardrail, setup, &registration, journal)).await?;
            register(guardrail, setup, None, &registration).await?;
            (report, bucket_action, trail_action, Action::Created, Vec::new())
        }
        // What is new is ready first, then comes the document, then the bucket's settings: whoever restores in between
        // restores towards the document, and finds everything there. Of the settings, the policy comes before the
        // default encryption, as ever, and neither order denies more: an upload that names no key is stored under the
        // default, whichever it is by then, and none of our statements is about it; one that names its key has to name
        // the one in the policy, from that write on.
        Some(registered) => {
            let registration = setup.registration(key, alias, Some(registered), &Observed::empty());
            let swapped = swaps(registered, &registration);
            let trail_action = Box::pin(ensure_trail(guardrail, setup, &registration, journal)).await?;
            tell(guardrail, setup, &swapped).await?;
            let parameter_action = Action::on_existing(*registered != registration);
            let registration = register(guardrail, setup, Some(registered), &registration).await?;
            let found = bucket::find_or_create(guardrail, setup, &setup.bucket).await?;
            let (mut report, bucket_action) =
                Box::pin(ensure_guarded(guardrail, setup, &registration, found, journal)).await?;
            let restored = report.findings.iter().any(|it| it.outcome == Outcome::Restored);
            if !setup.dry_run && (restored || !swapped.is_empty()) {
                report.findings.extend(Box::pin(settle(guardrail, setup, &registration, journal)).await?);
            }
            (report, bucket_action, trail_action, parameter_action, swapped)
        }
    };
    let bucket = setup.bucket.to_string();
    resources.push(Resource { r#type: "AWS::S3::Bucket", id: bucket, action: bucket_action, note: None });
    let trail = setup.trail.to_string();
    resources.push(Resource { r#type: "AWS::CloudTrail::Trail", id: trail, action: trail_action, note: None });

    if let Some(address) = &setup.zero_spend_budget {
        let action = budget::ensure(&guardrail.budgets, setup, address).await?;
        resources.push(Resource { r#type: "AWS::Budgets::Budget", id: budget::NAME.to_owned(), action, note: None });
    }
    let parameter = format!("{prefix}{}", setup.bucket);
    let (r#type, action) = ("AWS::SSM::Parameter", parameter_action);
    resources.push(Resource { r#type, id: parameter, action, note: days_note });
    // What is still to be created is not as it should be either.
    let would_change = setup.dry_run && resources.iter().any(|it| it.action != Action::Unchanged);
    if would_change && report.outcome == BucketOutcome::Compliant {
        report.outcome = BucketOutcome::Drifted;
    }
    Ok(Built { report, resources, swapped, adoption })
}

/// Tells people what is about to be exchanged. Before it is: afterwards, nobody would know that they were not told.
async fn tell(guardrail: &Guardrail, setup: &Setup, swapped: &[Swap]) -> Result<(), BootstrapError> {
    let Some(topic) = guardrail.config.topic.as_ref().filter(|_| !swapped.is_empty() && !setup.dry_run) else {
        return Ok(());
    };
    let asked = Asked { what: Work::Bootstrap, by: guardrail.caller.clone() };
    let alert = alert::swap_alert(&setup.bucket, swapped, &asked, guardrail.config.place());
    topic::publish(guardrail, topic, &alert, false).await.map_err(|it| BootstrapError::Untold(it.error))
}

/// Writes the registry document: what bootstrap decides, into what stands there at this moment. Returns what stands
/// there now.
async fn register(
    guardrail: &Guardrail,
    setup: &Setup,
    registered: Option<&Registration>,
    registration: &Registration,
) -> Result<Registration, BootstrapError> {
    if setup.dry_run {
        return Ok(registration.clone());
    }
    let prefix = &guardrail.config.parameter_prefix;
    let now = registry::read(&guardrail.ssm, prefix, &setup.bucket).await?;
    not_overtaken(setup, registered, now.as_ref())?;
    // Exemptions, mode and whatever else others decide are taken from the document as it is now.
    let document = match &now {
        Some(now) => {
            let Registration { key_arn, key_alias, trail_arn, log_bucket, inventory, former_keys, .. } =
                registration.clone();
            Registration { key_arn, key_alias, trail_arn, log_bucket, inventory, former_keys, ..now.clone() }
        }
        None => registration.clone(),
    };
    if now.as_ref() != Some(&document) {
        // SSM has no conditional write: what somebody writes between the read and here is lost.
        registry::write(&guardrail.ssm, prefix, &document)
            .await
            .map_err(failed(&format!("the registry document {prefix}{}", setup.bucket)))?;
    }
    Ok(document)
}

/// Refuses to go on when somebody else changed what bootstrap decides since it was read.
fn not_overtaken(setup: &Setup, was: Option<&Registration>, is: Option<&Registration>) -> Result<(), BootstrapError> {
    let fields = match (was, is) {
        (None, None) => Vec::new(),
        (Some(was), Some(is)) => {
            let same = [
                ("key_arn", was.key_arn == is.key_arn),
                ("key_alias", was.key_alias == is.key_alias),
                ("trail_arn", was.trail_arn == is.trail_arn),
                ("log_bucket", was.log_bucket == is.log_bucket),
                ("inventory", was.inventory == is.inventory),
                ("former_keys", was.former_keys == is.former_keys),
            ];
            same.into_iter().filter(|(_, same)| !same).map(|(field, _)| field).collect()
        }
        (None, Some(_)) | (Some(_), None) => vec!["the whole"],
    };
    if fields.is_empty() {
        return Ok(());
    }
    Err(BootstrapError::Overtaken { bucket: setup.bucket.clone(), fields })
}

/// Looks again at everything, the registry included, until nothing is left to restore: a reconcile that began before the
/// document was written may have restored towards the earlier one since.
async fn settle(
    guardrail: &Guardrail,
    setup: &Setup,
    registration: &Registration,
    journal: &mut Journal,
) -> Result<Vec<Finding>, BootstrapError> {
    let resource = format!("bucket {}", setup.bucket);
    let mut restored = Vec::new();
    let mut overtaken = Ok(());
    for wait in SETTLING {
        let now = registry::read(&guardrail.ssm, &guardrail.config.parameter_prefix, &setup.bucket).await?;
        // A document that is not what was just written may also be one that is not known everywhere yet.
        overtaken = not_overtaken(setup, Some(registration), now.as_ref());
        if overtaken.is_err() {
            sleep(wait).await;
            continue;
        }
        let registration = now.as_ref().unwrap_or(registration);
        let baseline = Baseline::new(registration, &setup.account, &guardrail.config.role)?;
        let seen = Box::pin(observe_in(guardrail, &setup.bucket, &baseline, Scope::EVERYTHING)).await;
        let stance = Stance { registration, now: guardrail.clock.now(), dry_run: false, past: &NO_PAST };
        let reconciled = reconcile_for(guardrail, &setup.bucket, &baseline, seen, &stance).await;
        let report = Report::from_reconciled(&setup.bucket, reconciled, &Calls::default());
        journal.changes.extend(report.findings.iter().filter(|it| it.written.is_some()).cloned());
        if report.must_retry() {
            return Err(BootstrapError::Resource { resource, problem: report.problems() });
        }
        let before = restored.len();
        restored.extend(report.findings.into_iter().filter(|it| it.outcome == Outcome::Restored));
        if restored.len() == before {
            return Ok(restored);
        }
        sleep(wait).await;
    }
    overtaken?;
    let controls: BTreeSet<_> = restored.iter().map(|it| it.control.to_string()).collect();
    let controls = controls.into_iter().collect::<Vec<_>>().join(", ");
    let problem =
        format!("somebody else keeps writing {controls}, so it does not stay as it was set: stop that writer");
    Err(BootstrapError::Resource { resource, problem })
}

/// Whether the trail is there or can be created, before anything else is.
async fn check_trail(guardrail: &Guardrail, setup: &Setup) -> Result<(), BootstrapError> {
    const OPERATION: &str = "DescribeTrails";
    let refused = |problem: String| BootstrapError::Request { field: "trail", problem };
    let Setup { trail, account, .. } = setup;
    if trail.parts().account != account.as_str() {
        return Err(refused(format!("{trail} is another account's, and only that account can set what it logs")));
    }
    let home = trail.parts().region;
    let sent = control::trail::at_home(&guardrail.cloudtrail, trail)
        .describe_trails()
        .include_shadow_trails(true)
        .send()
        .await;
    let trails =
        api::output(OPERATION, sent).map_err(failed(&format!("trail {trail}")))?.trail_list.unwrap_or_default();
    let arns: Vec<_> = trails.into_iter().filter_map(|it| it.trail_arn).collect();
    if arns.len() >= MAX_TRAILS && !arns.iter().any(|it| it == trail.as_str()) {
        return Err(refused(format!(
            "{home} has {} trails, and CloudTrail allows {MAX_TRAILS} and raises that for nobody; name one of this account \
             that is there: {}",
            arns.len(),
            arns.join(", ")
        )));
    }
    Ok(())
}

/// The bucket's settings: the same reconcile as ever, from whatever is there.
async fn ensure_guarded(
    guardrail: &Guardrail,
    setup: &Setup,
    registration: &Registration,
    bucket::Found { observed, created }: bucket::Found,
    journal: &mut Journal,
) -> Result<(Report, Action), BootstrapError> {
    let baseline = Baseline::new(registration, &setup.account, &guardrail.config.role)?;
    let stance = Stance { registration, now: guardrail.clock.now(), dry_run: setup.dry_run, past: &NO_PAST };
    let reconciled = reconcile_for(guardrail, &setup.bucket, &baseline, observed.into(), &stance).await;
    let report =
        Report { dry_run: setup.dry_run, ..Report::from_reconciled(&setup.bucket, reconciled, &Calls::default()) };
    journal.changes.extend(report.findings.iter().cloned());
    if report.must_retry() {
        return Err(BootstrapError::Resource {
            resource: format!("bucket {}", setup.bucket),
            problem: report.problems(),
        });
    }
    let action = if created { Action::Created } else { Action::on_existing(!report.findings.is_empty()) };
    Ok((report, action))
}

/// The trail: the same reconcile, from whatever is there. Not told as a finding: it is a resource.
async fn ensure_trail(
    guardrail: &Guardrail,
    setup: &Setup,
    registration: &Registration,
    journal: &mut Journal,
) -> Result<Action, BootstrapError> {
    // An organization's trail is registered, and not ours to keep.
    if setup.own_trail().is_none() {
        return Ok(Action::Unchanged);
    }
    let resource = format!("trail {}", setup.trail);
    let baseline = Baseline::new(registration, &setup.account, &guardrail.config.role)?;
    let seen = observe_in(guardrail, &setup.bucket, &baseline, Scope::TRAIL).await;
    let Some(Ok(observed)) = &seen.trail else {
        return match seen.trail {
            Some(Err(error)) => Err(failed(&resource)(error)),
            _ => Err(BootstrapError::Request { field: "trail", problem: "is another account's".to_owned() }),
        };
    };
    let exists = observed.is_some();
    // Without a trail there is nothing to observe or to exempt from.
    let enforced = Registration { mode: Mode::Enforce, exemptions: Vec::new(), ..registration.clone() };
    let registration = if exists { registration } else { &enforced };
    let stance = Stance { registration, now: guardrail.clock.now(), dry_run: setup.dry_run, past: &NO_PAST };
    let reconciled = reconcile_for(guardrail, &setup.bucket, &baseline, seen, &stance).await;
    let report =
        Report { dry_run: setup.dry_run, ..Report::from_reconciled(&setup.bucket, reconciled, &Calls::default()) };
    journal.changes.extend(report.findings.iter().cloned());
    if report.must_retry() {
        return Err(BootstrapError::Resource { resource, problem: report.problems() });
    }
    Ok(if exists { Action::on_existing(!report.findings.is_empty()) } else { Action::Created })
}
