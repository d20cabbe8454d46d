//! Messages that are about the same: what they are about is restored, people told, the report out.

use guardrail_core::{
    control::table::Control,
    decide::{
        self,
        baseline::Baseline,
        echo,
        errand::Errand,
        record::assign_record,
        uses::{WhichKey, keys_named, uses_trail},
    },
    edge::{
        config::Config,
        event::{About, InputError},
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
    observe::{self, Scope},
    store::{history, registry},
    topic,
    work::{
        look::{Known, Looked, Task, look},
        page::Page,
        reconcile::Seen,
        watch::{self, WatchError},
    },
};

/// Why an invocation fails. The alert was sent before, unless it is what failed.
#[derive(Debug, thiserror::Error)]
pub enum RemediateError {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("{bucket}: {problems}")]
    NotRestored {
        bucket: String,
        problems: String,
        /// People do not know yet.
        untold: bool,
        /// The ledger has it, so that every sweep looks at it.
        kept_open: bool,
    },
    #[error("the buckets that the event is about could not be found out")]
    Registry(#[from] ApiError),
    #[error(transparent)]
    Watch(#[from] WatchError),
}

impl RemediateError {
    /// Whether it is kept elsewhere than in the message.
    pub(super) fn is_kept_open(&self) -> bool {
        match self {
            Self::NotRestored { untold, kept_open, .. } => *kept_open && !untold,
            Self::Watch(WatchError::NotMended { kept_open, .. }) => *kept_open,
            Self::Watch(WatchError::Untold(_)) | Self::Registry(_) | Self::Input(_) => false,
        }
    }

    /// Whether people still have to be told.
    pub(super) fn is_untold(&self) -> bool {
        match self {
            Self::NotRestored { untold, .. } => *untold,
            Self::Watch(error) => matches!(error, WatchError::Untold(_)),
            // Nobody found out what to tell.
            Self::Registry(_) => true,
            Self::Input(_) => false,
        }
    }
}

/// Answers messages that are about the same. `queued`: they come from a queue.
pub(super) async fn handle(
    guardrail: &Guardrail,
    messages: Vec<Message>,
    queued: bool,
    known: &mut Known,
    until: Instant,
) -> Result<Value, RemediateError> {
    let Config { role, .. } = &guardrail.config;
    let about = messages.first().map(Message::about);
    let is_own_failure = |it: &Message| matches!(it, Message::Event(it) if it.is_own_failure(role));
    let (failed, messages): (Vec<_>, Vec<_>) = messages.into_iter().partition(is_own_failure);
    for message in &failed {
        if let Message::Event(event) = message {
            tracing::info!(
                event = event.trigger.event_name,
                "a call of the guardrail's own that failed; it was told then"
            );
        }
    }
    let Some(about) = about.filter(|_| !messages.is_empty()) else {
        return Ok(json!({"outcome": "ignored", "trigger": Errand::of(failed, queued).trigger()}));
    };
    let asks_for_all = |it: &Message| matches!(it, Message::Request(Request { subject: Subject::Guardrail, .. }));
    if messages.iter().any(asks_for_all) {
        return Ok(json!(watch::check(guardrail, None, Vec::new()).await?));
    }
    let task = Task { errand: Errand::of(messages, queued), until };
    match about {
        About::Bucket(Ok(bucket)) => answer(handle_bucket(guardrail, &bucket, &task, known).await),
        About::Bucket(Err(impossible)) => {
            Ok(json!(Report::new(impossible, BucketOutcome::Unguarded, task.errand.trigger().cloned())))
        }
        About::AccessPoint(name) => {
            let owner = guardrail.config.account();
            let bucket = observe::bucket_of_access_point(&guardrail.s3control, &owner, &name).await?;
            match bucket.as_deref().map(str::parse) {
                Some(Ok(bucket)) => answer(handle_bucket(guardrail, &bucket, &task, known).await),
                // It is gone, and so is what it opened.
                _ => Ok(json!(Report::new(name, BucketOutcome::Unguarded, task.errand.trigger().cloned()))),
            }
        }
        About::KmsKey(names) if !names.is_empty() => {
            let is_own = names.iter().any(|it| decide::own_key::named(it, &guardrail.config).is_some());
            // First: without it nobody can be told. The call may name an alias of a bucket's beside it.
            let own = if is_own { Some(touched(guardrail, &task.errand).await) } else { None };
            let buckets = handle_shared(guardrail, &Shared::Key(names), &task).await;
            let Some(own) = own else { return buckets };
            let mut answer = own?;
            let buckets = buckets?["buckets"].take();
            if buckets.as_array().is_some_and(|it| !it.is_empty()) {
                answer["buckets"] = buckets;
            }
            Ok(answer)
        }
        About::Trail(names) if !names.is_empty() => handle_shared(guardrail, &Shared::Trail(names), &task).await,
        About::Part(_) | About::KmsKey(_) | About::Trail(_) => touched(guardrail, &task.errand).await,
    }
}

/// Each call by itself, whatever comes of the one before; the answer is the last one's, or the worst error.
async fn touched(guardrail: &Guardrail, errand: &Errand) -> Result<Value, RemediateError> {
    let mut answer = Ok(Value::Null);
    for event in &errand.events {
        match watch::touched(guardrail, event).await.map_err(RemediateError::from) {
            Ok(it) if answer.is_ok() => answer = Ok(json!(it)),
            Ok(_) => {}
            Err(error) if error.is_untold() || answer.is_ok() => answer = Err(error),
            Err(_) => {}
        }
    }
    answer
}

fn answer(report: Report) -> Result<Value, RemediateError> {
    // A dry run shows what could not be read; nothing else was tried.
    if report.error.is_some() || !report.dry_run && report.must_retry() {
        let (problems, untold, kept_open) = (report.problems(), report.untold, report.kept_open);
        return Err(RemediateError::NotRestored { problems, bucket: report.bucket, untold, kept_open });
    }
    Ok(json!(report))
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
async fn handle_shared(guardrail: &Guardrail, shared: &Shared, task: &Task) -> Result<Value, RemediateError> {
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
        let started = Instant::now();
        // Of what buckets share, the ledger knows nothing yet.
        let mut page = Page::none(guardrail);
        let looked = async {
            let report = match Baseline::new(registration, &owner, &guardrail.config.role) {
                Err(error) => Report::error(bucket, chain(&error), task.errand.trigger().cloned()),
                Ok(baseline) => match key {
                    WhichKey::Former(key) => {
                        known.keep_former(guardrail, &baseline, registration, key, task, &mut page).await
                    }
                    WhichKey::Present => {
                        let at = guardrail.clock.now();
                        match known.look(guardrail, bucket, &baseline, scope, task).await {
                            Err(report) => report,
                            Ok(observation) => {
                                let seen = Seen { observation, at, by_earlier_document: false };
                                known.restore(guardrail, &baseline, registration, seen, task, &mut page).await
                            }
                        }
                    }
                },
            };
            Looked { report, registration: Some((*registration).clone()) }
        };
        let looked = Box::pin(looked).await;
        reports.push(report(guardrail, bucket, task, started, looked, Page::none(guardrail)).await);
    }
    let failed: Vec<_> = reports.iter().filter(|it| it.must_retry()).collect();
    if !failed.is_empty() {
        return Err(RemediateError::NotRestored {
            bucket: failed.iter().map(|it| it.bucket.as_str()).collect::<Vec<_>>().join(", "),
            problems: failed.iter().map(|it| it.problems()).collect::<Vec<_>>().join("; "),
            untold: failed.iter().any(|it| it.untold),
            kept_open: failed.iter().all(|it| it.kept_open),
        });
    }
    if let Some(attempt) = task.errand.trigger().filter(|it| it.error_code.is_some())
        && let Some((registration, key)) = touched.first()
        && !reports.iter().any(|it| it.notified)
    {
        let trail = registration.trail_arn.as_ref().map(|it| it.as_str()).unwrap_or_default();
        let part = match (control, key) {
            (Control::KmsKey, WhichKey::Present) => registration.key_arn.as_str(),
            (_, WhichKey::Former(key)) => key.as_str(),
            (_, WhichKey::Present) => trail,
        };
        let part = format!("{control} {}", Arn::parse(part).map_or(part, |it| it.resource));
        watch::attempted(guardrail, attempt, part).await?;
    }
    Ok(json!({"buckets": reports}))
}

/// Reconciles one bucket, tells people, and counts.
pub(super) async fn handle_bucket(
    guardrail: &Guardrail,
    bucket: &BucketName,
    task: &Task,
    known: &mut Known,
) -> Report {
    let started = Instant::now();
    let mut page = Page::none(guardrail);
    // Boxed, here and below: the SDK's futures are large, and would all lie on the stack.
    let looked = Box::pin(look(guardrail, bucket, task, known, &mut page)).await;
    report(guardrail, bucket, task, started, looked, page).await
}

/// Tells people of a look, keeps a record beside it, and counts.
#[tracing::instrument(name = "handle", skip_all, fields(%bucket, trigger = task.errand.name()))]
async fn report(
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
            Some(alert) => Some(topic::publish(guardrail, topic, &alert).await),
            None => None,
        });
    };
    let mut published = None;
    // Once, and once more for what came meanwhile.
    loop {
        let news = report.about(std::mem::take(&mut facts), page.look());
        let is_news = !news.facts.is_empty() || echo::is_news(&news, errand.is_own(role, region));
        let alert = alert::alert(&news, place, false).filter(|_| is_news);
        let Some(alert) = alert else { return told(published) };
        if let Err(error) = topic::publish(guardrail, topic, &alert).await {
            page.release().await;
            return told(Some(Err(error)));
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
