//! Messages that are about the same: what they are about is restored, people told, the report out.

use guardrail_core::{
    decide::{
        self,
        errand::{self, Errand},
        uses::Named,
    },
    edge::{
        config::Config,
        event::{About, InputError},
        message::{Message, Request},
    },
    outcome::report::{BucketOutcome, Report},
    value::{failure::ApiError, names::BucketName, subject::Subject},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    Guardrail, observe,
    work::{
        look::{Known, Task, look},
        page::Page,
        shared::{Answered, handle_shared},
        telling::report,
        watch::{self, WatchError},
    },
};

/// Lambda answers with 6 MB at most, and each bucket takes some KB of it.
const MAX_BUCKETS: usize = 200;

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
        /// Nothing but the brake of a fight keeps it from its end, until then.
        braked_until: Option<Timestamp>,
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

    /// Until when its message waits that has not failed.
    pub(super) fn braked_until(&self) -> Option<Timestamp> {
        match self {
            Self::NotRestored { braked_until, .. } => *braked_until,
            Self::Input(_) | Self::Registry(_) | Self::Watch(_) => None,
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
    let about = errand::about(&messages);
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
        return Ok(json!(watch::mend_what_can_be(guardrail).await?));
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
            let buckets = shared(guardrail, &Named::Key(names), &task).await;
            let Some(own) = own else { return buckets };
            let mut answer = own?;
            let buckets = buckets?["buckets"].take();
            if buckets.as_array().is_some_and(|it| !it.is_empty()) {
                answer["buckets"] = buckets;
            }
            Ok(answer)
        }
        About::Trail(names) if !names.is_empty() => shared(guardrail, &Named::Trail(names), &task).await,
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
        return Err(not_restored(&[&report]));
    }
    Ok(json!(report))
}

fn not_restored(failed: &[&Report]) -> RemediateError {
    let braked: Option<Vec<_>> = failed.iter().map(|it| it.braked_until()).collect();
    RemediateError::NotRestored {
        bucket: failed.iter().map(|it| it.name()).collect::<Vec<_>>().join(", "),
        problems: failed.iter().map(|it| it.problems()).collect::<Vec<_>>().join("; "),
        untold: failed.iter().any(|it| it.untold),
        kept_open: failed.iter().all(|it| it.kept_open),
        braked_until: braked.and_then(|it| it.into_iter().min()),
    }
}

/// What became of a key or a trail, for each bucket that uses it.
async fn shared(guardrail: &Guardrail, named: &Named, task: &Task) -> Result<Value, RemediateError> {
    let answered = handle_shared(guardrail, named, task).await?;
    let failed: Vec<_> = answered.iter().map(|it| &it.report).filter(|it| it.must_retry()).collect();
    if !failed.is_empty() {
        return Err(not_restored(&failed));
    }
    if let Some(attempt) = task.errand.trigger().filter(|it| it.error_code.is_some())
        && let Some(first) = answered.first()
        && !answered.iter().any(|it| it.report.notified)
    {
        watch::attempted(guardrail, attempt, first.part()).await?;
    }
    let buckets: Vec<_> = answered.into_iter().flat_map(Answered::of_buckets).collect();
    let more = buckets.len().saturating_sub(MAX_BUCKETS);
    let mut answer = json!({"buckets": &buckets[..buckets.len() - more]});
    if more > 0 {
        answer["more"] = json!(more);
    }
    Ok(answer)
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
