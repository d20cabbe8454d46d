//! `guardrail-sweep`: one message per guarded bucket, and a look at the guardrail itself.
//!
//! EventBridge delivers CloudTrail's events at its best effort. What it loses, the sweep finds.

use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    Guardrail,
    api::{ApiError, output},
    event::{Event, InputError},
    metrics,
    names::BucketName,
    registry,
    watch::{self, WatchError},
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
    let mut strangers = Vec::new();
    let swept = send_all(guardrail, &mut strangers).await;
    let watched = watch::check(guardrail, &strangers).await;
    let buckets = swept?;
    (guardrail.metrics)(&metrics::sweep(buckets, Timestamp::now()));
    tracing::info!(buckets, "swept");
    let mut answer = json!({"buckets": buckets});
    if let Some(watched) = watched? {
        answer["guardrail"] = json!(watched);
    }
    Ok(answer)
}

/// Sends one message per registry document, a page at a time: the next is read while one is sent.
/// `strangers`: some of the parameters that cannot be a bucket's.
async fn send_all(guardrail: &Guardrail, strangers: &mut Vec<String>) -> Result<usize, SweepError> {
    let mut sent = 0;
    let mut page = registry::page(&guardrail.ssm, &guardrail.config.parameter_prefix, None).await;
    loop {
        let (parameters, token) = page.map_err(|source| SweepError::Incomplete { sent, source })?;
        let mut buckets: Vec<BucketName> = Vec::new();
        for parameter in parameters {
            match parameter.bucket {
                Ok(bucket) => buckets.push(bucket),
                Err(_) if strangers.len() < BATCH => strangers.push(parameter.name),
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
async fn send(guardrail: &Guardrail, buckets: &[BucketName]) -> Result<(), ApiError> {
    const OPERATION: &str = "SendMessageBatch";
    let mut left: Vec<&BucketName> = buckets.iter().collect();
    for _ in 0..3 {
        if left.is_empty() {
            return Ok(());
        }
        let entry = |(n, bucket): (usize, &&BucketName)| {
            let body = json!({"bucket": bucket}).to_string();
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
