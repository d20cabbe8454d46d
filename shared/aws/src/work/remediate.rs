//! `guardrail-remediate`: an event, a batch or a request in; bucket restored, people told, report out.

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use guardrail_core::{
    control::table::Control,
    decide::{
        self,
        baseline::Baseline,
        echo::{self},
        record::assign_record,
        uses::{WhichKey, keys_named, uses_trail},
    },
    edge::{
        config::Config,
        event::{About, Event, InputError},
        message::{Message, Request},
        registry::Registration,
    },
    outcome::report::{BucketOutcome, Report},
    tell::{alert, metrics},
    value::{
        failure::{ApiError, chain},
        names::{Arn, BucketName},
        subject::Subject,
    },
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    Guardrail,
    input::Input,
    observe::{self, Scope},
    store::{history, registry},
    topic,
    work::{
        look::{Known, Looked, Reason, look},
        watch::{self, WatchError},
    },
};

/// Why an invocation fails. The alert was sent before, unless it is what failed.
#[derive(Debug, thiserror::Error)]
pub enum RemediateError {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("{bucket}: {problems}")]
    NotRestored { bucket: String, problems: String },
    #[error("the buckets that the event is about could not be found out")]
    Registry(#[from] ApiError),
    #[error(transparent)]
    Watch(#[from] WatchError),
}

/// Answers one invocation.
pub async fn remediate(guardrail: &Guardrail, input: Value) -> Result<Value, RemediateError> {
    match Input::parse(input)? {
        Input::One(message) => handle_message(guardrail, message, &mut Known::default(), false).await,
        Input::Batch(batch) => Ok(json!(handle_batch(guardrail, batch).await)),
    }
}

/// `queued`: it came from a queue, where a request is the sweep's.
async fn handle_message(
    guardrail: &Guardrail,
    message: Message,
    known: &mut Known,
    queued: bool,
) -> Result<Value, RemediateError> {
    let Request { subject, dry_run } = match message {
        Message::Event(event) => return Box::pin(handle_event(guardrail, event)).await,
        Message::Request(it) => it,
    };
    let reason = if queued && !dry_run { Reason::Sweep } else { Reason::Request { dry_run } };
    match subject {
        Subject::Bucket(bucket) => answer(handle(guardrail, &bucket, &reason, known).await),
        Subject::Key(key) => handle_shared(guardrail, &Shared::Key(vec![key.to_string()]), reason).await,
        Subject::Trail(trail) => handle_shared(guardrail, &Shared::Trail(vec![trail.to_string()]), reason).await,
        Subject::Guardrail => Ok(json!(watch::check(guardrail, &[], Vec::new()).await?)),
    }
}

async fn handle_event(guardrail: &Guardrail, event: Box<Event>) -> Result<Value, RemediateError> {
    if event.is_own_failure(&guardrail.config.role) {
        tracing::info!(event = event.trigger.event_name, "a call of the guardrail's own that failed; it was told then");
        return Ok(json!({"outcome": "ignored", "trigger": event.trigger}));
    }
    match &event.about {
        About::Bucket(Ok(bucket)) => {
            let bucket = bucket.clone();
            answer(handle(guardrail, &bucket, &Reason::Event(event), &mut Known::default()).await)
        }
        About::Bucket(Err(impossible)) => {
            let report = Report::new(impossible.as_str(), BucketOutcome::Unguarded, Some(event.trigger));
            Ok(json!(report))
        }
        About::AccessPoint(name) => {
            let owner = guardrail.config.account();
            let bucket = observe::bucket_of_access_point(&guardrail.s3control, &owner, name).await?;
            match bucket.as_deref().map(str::parse) {
                Some(Ok(bucket)) => {
                    answer(handle(guardrail, &bucket, &Reason::Event(event), &mut Known::default()).await)
                }
                // It is gone, and so is what it opened.
                _ => Ok(json!(Report::new(name.as_str(), BucketOutcome::Unguarded, Some(event.trigger)))),
            }
        }
        About::KmsKey(names) if !names.is_empty() => {
            let is_own = names.iter().any(|it| decide::own_key::named(it, &guardrail.config).is_some());
            // First: without it nobody can be told. The call may name an alias of a bucket's beside it.
            let own = if is_own { Some(watch::touched(guardrail, &event).await) } else { None };
            let buckets = handle_shared(guardrail, &Shared::Key(names.clone()), Reason::Event(event)).await;
            let Some(own) = own else { return buckets };
            let mut answer = json!(own?);
            let buckets = buckets?["buckets"].take();
            if buckets.as_array().is_some_and(|it| !it.is_empty()) {
                answer["buckets"] = buckets;
            }
            Ok(answer)
        }
        About::Trail(names) if !names.is_empty() => {
            handle_shared(guardrail, &Shared::Trail(names.clone()), Reason::Event(event)).await
        }
        About::Part(_) | About::KmsKey(_) | About::Trail(_) => Ok(json!(watch::touched(guardrail, &event).await?)),
    }
}

/// What a direct request does, for a caller who takes the report as it is.
pub async fn reconcile_bucket(guardrail: &Guardrail, bucket: &BucketName, dry_run: bool) -> Report {
    handle(guardrail, bucket, &Reason::Request { dry_run }, &mut Known::default()).await
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
    let mut known = Known::default();
    for message in batch.records {
        let handled = match Message::from_body(message.body.as_deref().unwrap_or_default()) {
            Ok(it) => handle_message(guardrail, it, &mut known, true).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = handled {
            tracing::error!(error = %chain(&error), message.id = message.message_id, "the message comes back");
            response.add_failure(message.message_id.unwrap_or_default());
        }
    }
    response
}

/// The registered buckets that `wanted` accepts. A document that is not valid is the sweep's to tell.
async fn registrations(
    guardrail: &Guardrail,
    wanted: impl Fn(&Registration) -> bool,
) -> Result<Vec<Registration>, ApiError> {
    let mut found = Vec::new();
    let mut token = None;
    loop {
        let (parameters, next) = registry::page(&guardrail.ssm, &guardrail.config.parameter_prefix, token).await?;
        for parameter in parameters {
            let Ok(bucket) = parameter.bucket else { continue };
            match Registration::parse(&parameter.document, &bucket) {
                Ok(registration) if wanted(&registration) => found.push(registration),
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "passed over"),
            }
        }
        match next {
            Some(_) => token = next,
            None => return Ok(found),
        }
    }
}

/// What many buckets may lean on, by whatever names it is known.
enum Shared {
    Key(Vec<String>),
    Trail(Vec<String>),
}

impl Shared {
    /// What of it is a bucket's.
    fn of<'a>(&self, registration: &'a Registration, region: &str) -> Vec<WhichKey<'a>> {
        match self {
            Self::Key(names) => keys_named(registration, names, region),
            Self::Trail(names) if names.iter().any(|it| uses_trail(registration, it)) => vec![WhichKey::Present],
            Self::Trail(_) => Vec::new(),
        }
    }
}

/// A key or a trail may serve many buckets: one after the other, so that each finds what the one before has restored.
async fn handle_shared(guardrail: &Guardrail, shared: &Shared, reason: Reason) -> Result<Value, RemediateError> {
    let region = guardrail.config.region.as_str();
    let (control, scope) = match shared {
        Shared::Key(_) => (Control::KmsKey, Scope::KMS_KEY),
        Shared::Trail(_) => (Control::Trail, Scope::TRAIL),
    };
    let registrations = registrations(guardrail, |it| !shared.of(it, region).is_empty()).await?;
    let touched: Vec<_> =
        registrations.iter().flat_map(|it| shared.of(it, region).into_iter().map(move |key| (it, key))).collect();
    let owner = guardrail.config.account();
    let mut known = Known::default();
    let mut reports = Vec::new();
    for (registration, key) in &touched {
        let bucket = &registration.bucket;
        let looked = async {
            let report = match Baseline::new(registration, &owner, &guardrail.config.role) {
                Err(error) => Report::error(bucket, chain(&error), reason.trigger()),
                Ok(baseline) => match key {
                    WhichKey::Former(key) => {
                        known.keep_former(guardrail, bucket, &baseline, registration, key, &reason).await
                    }
                    WhichKey::Present => {
                        let seen = known.look(guardrail, bucket, &baseline, scope).await;
                        known.restore(guardrail, bucket, &baseline, registration, seen, &reason).await
                    }
                },
            };
            Looked { report, registration: Some((*registration).clone()) }
        };
        reports.push(run_and_report(guardrail, bucket, &reason, Box::pin(looked)).await);
    }
    let failed: Vec<_> = reports.iter().filter(|it| it.must_retry()).collect();
    if !failed.is_empty() {
        return Err(RemediateError::NotRestored {
            bucket: failed.iter().map(|it| it.bucket.as_str()).collect::<Vec<_>>().join(", "),
            problems: failed.iter().map(|it| it.problems()).collect::<Vec<_>>().join("; "),
        });
    }
    if let Some(attempt) = reason.trigger().filter(|it| it.error_code.is_some())
        && let Some((registration, key)) = touched.first()
        && !reports.iter().any(|it| it.notified)
    {
        let trail = registration.trail_arn.as_ref().map(|it| it.as_str()).unwrap_or_default();
        let part = match (control, key) {
            (Control::KmsKey, WhichKey::Present) => registration.key_arn.as_str(),
            (_, WhichKey::Former(key)) => key.as_str(),
            (_, WhichKey::Present) => trail,
        };
        watch::attempted(guardrail, &attempt, format!("{control} {}", Arn::parse(part).map_or(part, |it| it.resource)))
            .await?;
    }
    Ok(json!({"buckets": reports}))
}

/// Reconciles one bucket, tells people, and counts.
async fn handle(guardrail: &Guardrail, bucket: &BucketName, reason: &Reason, known: &mut Known) -> Report {
    // Boxed, here and below: the SDK's futures are large, and would all lie on the stack.
    run_and_report(guardrail, bucket, reason, Box::pin(look(guardrail, bucket, reason, known))).await
}

/// Does the work, tells people, keeps a record beside it, and counts.
#[tracing::instrument(name = "handle", skip_all, fields(%bucket, trigger = reason.name()))]
async fn run_and_report(
    guardrail: &Guardrail,
    bucket: &BucketName,
    reason: &Reason,
    work: impl Future<Output = Looked>,
) -> Report {
    let start = Instant::now();
    let Looked { mut report, registration } = work.await;
    report.asked = reason.asked(guardrail);
    report.elapsed_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let swept = matches!(reason, Reason::Sweep);
    report.missed_event = swept && report.outcome == BucketOutcome::Restored;
    for finding in &report.findings {
        tracing::info!(control = %finding.control, outcome = ?finding.outcome, error = finding.error, "finding");
        tracing::debug!(control = %finding.control, observed = %finding.observed, desired = %finding.desired, "difference");
    }
    let assigned = assign_record(&mut report, registration.as_ref(), guardrail.clock.now(), guardrail.clock.random());
    if let Err(error) = assigned {
        history::unrecorded(&mut report, &error);
    }
    let is_news = match reason {
        Reason::Event(event) => {
            let Config { role, region, .. } = &guardrail.config;
            echo::is_news(&report, event.is_own(role, region))
        }
        Reason::Sweep | Reason::Request { .. } => true,
    };
    let alert = alert::alert(&report, guardrail.config.place(), swept).filter(|_| is_news);
    let (published, kept) = tokio::join!(
        async {
            let (topic, alert) = guardrail.config.topic.as_ref().zip(alert)?;
            Some(topic::publish(&guardrail.sns, topic, alert).await)
        },
        history::keep(guardrail, &report, registration.as_ref()),
    );
    if let Err(error) = kept {
        history::unrecorded(&mut report, &error);
    }
    match published {
        None => {}
        Some(Ok(())) => report.notified = true,
        Some(Err(error)) => {
            let untold = format!("people could not be told: {error}");
            report.error = Some(report.error.map_or(untold.clone(), |it| format!("{it}; {untold}")));
        }
    }
    if report.outcome != BucketOutcome::Unguarded {
        metrics::lines(&report, guardrail.clock.now()).iter().for_each(guardrail.metrics);
    }
    tracing::info!(outcome = ?report.outcome, error = report.error, elapsed_ms = report.elapsed_ms, "reconciled");
    report
}
