//! A batch of a queue's messages: one look for all that are about the same, and each message's own end.

use std::{collections::BTreeMap, time::Duration};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use aws_sdk_sqs::types::ChangeMessageVisibilityBatchRequestEntry as Visibility;
use guardrail_core::{
    decide::errand::{self, Letter, looks},
    edge::{config::Config, event::About, message::Message},
    value::{
        failure::{ApiError, chain},
        names::Arn,
        subject::Subject,
    },
};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    Guardrail,
    api::output,
    store::{ledger, registry},
    work::{handle::handle, look::Known},
};

/// Of an invocation's time, what is kept for telling people and for giving back what was not begun.
const KEPT: Duration = Duration::from_secs(20);

/// The longest that one look may take.
pub(super) const LOOK: Duration = Duration::from_secs(45);

/// Until when a look may read and write that begins now, in an invocation that ends at `end`.
pub(super) fn until(end: Instant) -> Instant {
    let now = Instant::now();
    end.checked_sub(KEPT).unwrap_or(now).min(now + LOOK)
}

/// A look that has less time is not begun, unless it is the first.
const WORTH_BEGINNING: Duration = Duration::from_secs(10);

/// How long the last try's message waits, again and again until it is a dead letter.
const LAST_WAIT: Duration = Duration::from_secs(240);

/// Answers a batch in an invocation that Lambda ends at `end`. Only what failed comes back, and that later each time; what
/// was not begun comes back at once.
pub(super) async fn handle_batch(guardrail: &Guardrail, batch: SqsEvent, end: Instant) -> SqsBatchResponse {
    let mut letters = Vec::new();
    // Which messages come back, and after how long; `None`: when their visibility ends.
    let mut back: BTreeMap<usize, Option<Duration>> = BTreeMap::new();
    for (place, record) in batch.records.iter().enumerate() {
        match Message::from_body(record.body.as_deref().unwrap_or_default()) {
            Ok(message) => {
                let first_received = first_received(record).unwrap_or_else(|| guardrail.clock.now());
                letters.push(Letter { message, place, first_received });
            }
            Err(error) => {
                tracing::error!(error = %chain(&error), message.id = record.message_id, "a message makes no sense");
                back.insert(place, None);
            }
        }
    }
    let looks = looks(letters);
    let mut known = read_ahead(guardrail, &looks).await;
    for (n, letters) in looks.into_iter().enumerate() {
        let until = until(end);
        if n > 0 && until < Instant::now() + WORTH_BEGINNING {
            back.extend(letters.iter().map(|it| (it.place, Some(Duration::ZERO))));
            continue;
        }
        let messages = letters.iter().map(|it| it.message.clone()).collect();
        let Err(error) = Box::pin(handle(guardrail, messages, true, &mut known, until)).await else { continue };
        let braked_until = error.braked_until();
        match braked_until {
            Some(until) => tracing::info!(%until, messages = letters.len(), "it waits, as somebody fights over it"),
            None => tracing::error!(error = %chain(&error), messages = letters.len(), "it is tried again"),
        }
        let kept = errand::kept(&letters, &guardrail.config.role);
        // What people do not know of is in the messages alone.
        let returns = letters.iter().filter(|it| error.is_untold() || Some(it.place) == kept);
        let now = guardrail.clock.now();
        for letter in returns {
            match errand::retry_in(letter.first_received, now, braked_until) {
                Some(wait) => drop(back.insert(letter.place, Some(wait))),
                // The ledger holds it open, and every sweep takes it.
                None if error.is_kept_open() => {}
                None => drop(back.insert(letter.place, Some(LAST_WAIT))),
            }
        }
    }
    let mut response = SqsBatchResponse::default();
    for place in back.keys() {
        response.add_failure(batch.records[*place].message_id.clone().unwrap_or_default());
    }
    if let Err(error) = return_in(guardrail, &batch.records, &back).await {
        tracing::warn!(%error, "messages come back when their visibility ends, not when they should");
    }
    response
}

/// Reads the registry's documents and the ledger's items of several buckets in one call each. What one look alone needs is
/// read beside the bucket.
async fn read_ahead(guardrail: &Guardrail, looks: &[Vec<Letter>]) -> Known {
    let about = looks.iter().filter_map(|it| it.first()).map(|it| it.message.about());
    let buckets: Vec<_> =
        about.filter_map(|it| if let About::Bucket(Ok(bucket)) = it { Some(bucket) } else { None }).collect();
    let mut known = Known::default();
    if buckets.len() < 2 {
        return known;
    }
    let Config { parameter_prefix, ledger_table, .. } = &guardrail.config;
    let subjects: Vec<_> = buckets.iter().map(|it| Subject::Bucket(it.clone()).to_string()).collect();
    let (documents, items) = tokio::join!(registry::read_all(&guardrail.ssm, parameter_prefix, &buckets), async {
        Some(ledger::read(guardrail, ledger_table.as_ref()?.as_str(), &subjects).await)
    });
    // What could not be read is read again by each look, which tells of it.
    match documents {
        Ok(documents) => known.documents = documents,
        Err(error) => tracing::warn!(%error, "the registry is read bucket by bucket"),
    }
    match items {
        Some(Ok(items)) => known.items = Some(items),
        Some(Err(error)) => tracing::warn!(%error, "the ledger is read subject by subject"),
        None => {}
    }
    known
}

/// When a function first had a message.
fn first_received(record: &SqsMessage) -> Option<Timestamp> {
    let milliseconds = record.attributes.get("ApproximateFirstReceiveTimestamp")?.parse().ok()?;
    Timestamp::from_millisecond(milliseconds).ok()
}

/// Has messages come back after a time of their own; a batch is of one queue, and of ten messages at most.
async fn return_in(
    guardrail: &Guardrail,
    records: &[SqsMessage],
    back: &BTreeMap<usize, Option<Duration>>,
) -> Result<(), ApiError> {
    const OPERATION: &str = "ChangeMessageVisibilityBatch";
    let mut entries = Vec::new();
    let mut queue = None;
    for (place, wait) in back.iter().filter_map(|(place, wait)| Some((place, (*wait)?))) {
        let SqsMessage { receipt_handle: Some(handle), event_source_arn: Some(arn), .. } = &records[*place] else {
            continue;
        };
        queue = queue.or_else(|| queue_url(arn));
        let seconds = i32::try_from(wait.as_secs()).unwrap_or(i32::MAX);
        let entry = Visibility::builder().id(place.to_string()).receipt_handle(handle).visibility_timeout(seconds);
        entries.push(entry.build().map_err(|error| ApiError::new(OPERATION, error))?);
    }
    let Some(queue) = queue else { return Ok(()) };
    let change = guardrail.sqs.change_message_visibility_batch().queue_url(queue).set_entries(Some(entries));
    let answer = output(OPERATION, change.send().await)?;
    match answer.failed().first() {
        None => Ok(()),
        Some(it) => Err(ApiError::new(OPERATION, format!("{}: {}", it.code(), it.message().unwrap_or("refused")))),
    }
}

/// A queue's URL, as SQS makes it.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-queue-message-identifiers.html>
fn queue_url(arn: &str) -> Option<String> {
    let Arn { partition, region, account, resource, .. } = Arn::parse(arn)?;
    let domain = if partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
    Some(format!("https://sqs.{region}.{domain}/{account}/{resource}"))
}
