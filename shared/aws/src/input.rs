//! What `guardrail-remediate` is invoked with: an event, a batch of messages, or a request.

use aws_lambda_events::sqs::SqsEvent;
use guardrail_core::edge::event::{Event, InputError, Request, decode};
use serde_json::Value;

/// The three inputs of `guardrail-remediate`.
#[derive(Debug)]
pub enum Input {
    Event(Box<Event>),
    Batch(SqsEvent),
    Direct(Request),
}

impl Input {
    /// Tells the three inputs apart and reads them. Lambda hands over 6 MB at most; of an event, no text longer than
    /// 256 characters is kept and no more than 64 names.
    pub fn parse(input: Value) -> Result<Self, InputError> {
        if input.get("detail").is_some() {
            Event::parse(&input).map(|it| Self::Event(Box::new(it)))
        } else if input.get("Records").is_some() {
            let batch: SqsEvent = decode("SQS batch", input)?;
            // S3 and SNS send `Records`, too; what is no queue's message could not even be named as failed.
            let from_queue = batch.records.iter().all(|it| it.message_id.is_some());
            if from_queue { Ok(Self::Batch(batch)) } else { Err(InputError::Unknown) }
        } else if input.get("bucket").is_some() {
            decode("request", input).map(Self::Direct)
        } else {
            Err(InputError::Unknown)
        }
    }
}
