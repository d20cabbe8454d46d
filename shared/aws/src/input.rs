//! What `guardrail-remediate` is invoked with: a batch of messages, or one message by itself.

use aws_lambda_events::sqs::SqsEvent;
use guardrail_core::edge::{
    event::{InputError, decode},
    message::Message,
};
use serde_json::Value;

/// The inputs of `guardrail-remediate`.
#[derive(Debug)]
pub enum Input {
    One(Message),
    Batch(SqsEvent),
}

impl Input {
    /// Tells the inputs apart and reads them. Lambda hands over 6 MB at most.
    pub fn parse(input: Value) -> Result<Self, InputError> {
        if input.get("detail").is_some() || input.get("Records").is_none() {
            return Message::parse(input).map(Self::One);
        }
        let batch: SqsEvent = decode("SQS batch", input)?;
        // S3 and SNS send `Records`, too; what is no queue's message could not even be named as failed.
        let from_queue = batch.records.iter().all(|it| it.message_id.is_some());
        if from_queue { Ok(Self::Batch(batch)) } else { Err(InputError::Unknown) }
    }
}
