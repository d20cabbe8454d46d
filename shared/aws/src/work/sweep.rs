//! `guardrail-sweep`: one message per guarded bucket, key and trail, and a look at the guardrail itself.
//!
//! EventBridge delivers CloudTrail's events at its best effort. What it loses, the sweep finds.

use std::collections::BTreeMap;

use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use aws_sdk_ssm::Client;
use guardrail_core::{
    decide::{
        chain,
        copies::{Compared, compare},
        uses::{self, Index},
    },
    edge::{
        event::{Event, InputError},
        message::Request,
        registry::{COPIES, Kept, Parameter, Registration},
    },
    outcome::watched::PartFinding,
    tell::metrics,
    value::{failure::ApiError, json::from_json, names::BucketName, subject::Subject},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    Guardrail,
    api::output,
    store::{self, registry},
    work::watch::{self, WatchError},
};

/// Why a sweep is not complete. It can be started again at any time: a message more is a look more.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("not every bucket was swept; {sent} were, and the next sweep begins anew")]
    Incomplete { sent: usize, source: ApiError },
    #[error(transparent)]
    Watch(#[from] WatchError),
}

/// SQS takes ten messages at once, and the Parameter Store gives ten parameters.
const BATCH: usize = 10;

/// Answers one invocation: the schedule's event, or one about `guardrail-remediate`.
pub async fn sweep(guardrail: &Guardrail, input: Value) -> Result<Value, SweepError> {
    if input.pointer("/detail/eventName").is_some() {
        let event = Event::parse(&input)?;
        return Ok(json!(watch::touched(guardrail, &event).await?));
    }
    // What is wrong with the chain must not keep the buckets from being swept.
    let mut registry = Registry::default();
    let mut unwritten = None;
    let ssm = &guardrail.ssm;
    // Before the registry: what the event of a document adds meanwhile is not taken for outdated.
    let index = store::uses::read_all(ssm).await;
    let swept = async {
        let buckets = send_all(guardrail, &mut registry).await?;
        let written = write_index(guardrail, index, &registry).await;
        unwritten = written.err().map(|error| chain::not_indexed(&error));
        send_subjects(guardrail, &registry, buckets).await.map(|()| buckets)
    };
    let swept = swept.await;
    let compared = match &swept {
        Ok(_) => copies(ssm).await.map(|it| compare(&registry.documents, it)),
        // What was not seen of the registry is not gone.
        Err(_) => Ok(Compared::default()),
    };
    let unreadable = |error: ApiError| PartFinding::unreadable("the copies of the registry", &error);
    let (lost, kept) = match compared {
        Ok(Compared { to_keep, lost }) => {
            (lost, keep_all(ssm, to_keep, guardrail.clock.now()).await.err().map(unreadable))
        }
        Err(error) => (Vec::new(), Some(unreadable(error))),
    };
    let found =
        lost.iter().map(|it| chain::unregistered(&it.registration.bucket)).chain(kept).chain(unwritten).collect();
    let strangers = swept.is_ok().then_some(registry.strangers.as_slice());
    let watched = watch::check(guardrail, strangers, found).await;
    // Once people know, and not before.
    if watched.is_ok()
        && let Err(error) = remember_told(ssm, lost).await
    {
        tracing::warn!(%error, "the next sweep tells again of documents that are gone");
    }
    let buckets = swept?;
    (guardrail.metrics)(&metrics::sweep(buckets, guardrail.clock.now()));
    tracing::info!(buckets, "swept");
    let mut answer = json!({"buckets": buckets});
    if let Some(watched) = watched? {
        answer["guardrail"] = json!(watched);
    }
    Ok(answer)
}

/// What is in the registry.
#[derive(Default)]
struct Registry {
    /// `None`: it is not valid.
    documents: BTreeMap<BucketName, Option<Registration>>,
    /// Some of the parameters that cannot be a bucket's.
    strangers: Vec<String>,
}

impl Registry {
    fn valid(&self) -> impl Iterator<Item = &Registration> {
        self.documents.values().flatten()
    }
}

/// Writes which buckets use what. Without it, whoever asks reads the registry.
async fn write_index(
    guardrail: &Guardrail,
    index: Result<Index, ApiError>,
    registry: &Registry,
) -> Result<(), ApiError> {
    let (index, ssm, now) = (index?, &guardrail.ssm, guardrail.clock.now());
    let (changes, is_all) = uses::changes(&index.entries, uses::index(registry.valid()));
    for change in changes {
        store::uses::change(ssm, change).await?;
    }
    if is_all && uses::is_stamp_old(&index, now) { store::uses::swept(ssm, now).await } else { Ok(()) }
}

/// Sends a message for each key and each trail that buckets lean on, once the buckets are `sent`.
async fn send_subjects(guardrail: &Guardrail, registry: &Registry, sent: usize) -> Result<(), SweepError> {
    let subjects: Vec<_> = uses::subjects(registry.valid()).into_iter().collect();
    for subjects in subjects.chunks(BATCH) {
        send(guardrail, subjects).await.map_err(|source| SweepError::Incomplete { sent, source })?;
    }
    Ok(())
}

async fn copies(ssm: &Client) -> Result<BTreeMap<BucketName, Kept>, ApiError> {
    let mut copies = BTreeMap::new();
    let mut token = None;
    loop {
        let (parameters, next) = registry::page(ssm, COPIES, token).await?;
        for Parameter { bucket, document, .. } in parameters {
            if let (Ok(bucket), Ok(kept)) = (bucket, from_json::<Kept>(&document)) {
                copies.insert(bucket, kept);
            }
        }
        match next {
            Some(_) => token = next,
            None => return Ok(copies),
        }
    }
}

async fn keep_all(ssm: &Client, registrations: Vec<Registration>, now: Timestamp) -> Result<(), ApiError> {
    for registration in registrations {
        registry::keep(ssm, &Kept { registration, since: now, told_gone: false }).await?;
    }
    Ok(())
}

async fn remember_told(ssm: &Client, lost: Vec<Kept>) -> Result<(), ApiError> {
    for kept in lost {
        registry::keep(ssm, &Kept { told_gone: true, ..kept }).await?;
    }
    Ok(())
}

/// Sends one message per registry document, a page at a time: the next is read while one is sent.
async fn send_all(guardrail: &Guardrail, registry: &mut Registry) -> Result<usize, SweepError> {
    let mut sent = 0;
    let mut page = registry::page(&guardrail.ssm, &guardrail.config.parameter_prefix, None).await;
    loop {
        let (parameters, token) = page.map_err(|source| SweepError::Incomplete { sent, source })?;
        let mut buckets: Vec<Subject> = Vec::new();
        for parameter in parameters {
            match parameter.bucket {
                Ok(bucket) => {
                    let registration = Registration::parse(&parameter.document, &bucket).ok();
                    registry.documents.insert(bucket.clone(), registration);
                    buckets.push(Subject::Bucket(bucket));
                }
                Err(_) if registry.strangers.len() < BATCH => registry.strangers.push(parameter.name),
                Err(_) => {}
            }
        }
        let Some(token) = token else {
            send(guardrail, &buckets).await.map_err(|source| SweepError::Incomplete { sent, source })?;
            return Ok(sent + buckets.len());
        };
        let next = registry::page(&guardrail.ssm, &guardrail.config.parameter_prefix, Some(token));
        let (next, done) = tokio::join!(next, send(guardrail, &buckets));
        done.map_err(|source| SweepError::Incomplete { sent, source })?;
        sent += buckets.len();
        page = next;
    }
}

/// Sends a batch; what SQS did not take of it once more.
async fn send(guardrail: &Guardrail, subjects: &[Subject]) -> Result<(), ApiError> {
    const OPERATION: &str = "SendMessageBatch";
    let mut left: Vec<&Subject> = subjects.iter().collect();
    for _ in 0..3 {
        if left.is_empty() {
            return Ok(());
        }
        let entry = |(n, subject): (usize, &&Subject)| {
            let body = Request::body(subject).to_string();
            SendMessageBatchRequestEntry::builder().id(n.to_string()).message_body(body).build()
        };
        let entries: Result<Vec<_>, _> = left.iter().enumerate().map(entry).collect();
        let batch = guardrail.sqs.send_message_batch().set_queue_url(guardrail.config.queue_url.clone());
        let batch = batch.set_entries(Some(entries.map_err(|error| ApiError::new(OPERATION, error))?));
        let answer = output(OPERATION, batch.send().await)?;
        let failed: Vec<usize> = answer.failed().iter().filter_map(|it| it.id().parse().ok()).collect();
        left = failed.into_iter().filter_map(|n| left.get(n).copied()).collect();
    }
    if left.is_empty() {
        Ok(())
    } else {
        Err(ApiError::new(OPERATION, format!("SQS did not take {} messages", left.len())))
    }
}
