//! `guardrail redrive`: gives what ended as a dead letter to `guardrail-remediate` once more.

use std::{collections::HashSet, time::Duration};

use aws_sdk_lambda::{config::timeout::TimeoutConfig, primitives::Blob};
use aws_sdk_sqs::config::retry::RetryConfig;
use guardrail::{
    api::{self, ApiError},
    rules,
};
use serde_json::Value;

use crate::{Exit, error::CliError, output, session::Session};

/// `guardrail-remediate` may run for two minutes.
const PATIENCE: Duration = Duration::from_secs(130);

pub(crate) async fn run(session: &Session, dry_run: bool) -> Result<Exit, CliError> {
    let (sqs, lambda) = (&session.guardrail.sqs, &session.guardrail.lambda);
    let failed = |source: ApiError| CliError::Redrive { source };
    let url = api::output("GetQueueUrl", sqs.get_queue_url().queue_name(rules::DEAD_LETTERS).send().await);
    let url = url.map_err(failed)?.queue_url.unwrap_or_default();
    // A second attempt would not see those that an answer which never came has hidden.
    let once = aws_sdk_sqs::Config::builder().retry_config(RetryConfig::disabled());
    let patient = TimeoutConfig::builder().operation_attempt_timeout(PATIENCE).build();
    let patient = aws_sdk_lambda::Config::builder().timeout_config(patient);
    let mut exit = Exit::Compliant;
    let mut seen = HashSet::new();
    loop {
        // Those that fail again stay hidden for half a minute, and in the queue for as long as it keeps them. Whoever
        // does not wait is told of some of them only.
        // https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html
        let receive = sqs.receive_message().queue_url(&url).max_number_of_messages(10).wait_time_seconds(2);
        let receive = receive.visibility_timeout(30).customize().config_override(once.clone());
        let messages =
            api::output("ReceiveMessage", receive.send().await).map_err(failed)?.messages.unwrap_or_default();
        if messages.is_empty() {
            break;
        }
        for message in messages {
            // It failed, and its half minute is over.
            if !seen.insert(message.message_id.clone()) {
                continue;
            }
            let payload = payload(message.body().unwrap_or_default());
            let about = about(&payload);
            if dry_run {
                output::print(&format!("{about}\n"))?;
                continue;
            }
            let invoke = lambda.invoke().function_name(rules::REMEDIATE).payload(Blob::new(payload.to_string()));
            let invoke = invoke.customize().config_override(patient.clone());
            let answer = api::output("Invoke", invoke.send().await).map_err(failed)?;
            if answer.function_error.is_some() {
                exit = Exit::Error;
                let error =
                    answer.payload.map(|it| String::from_utf8_lossy(it.as_ref()).into_owned()).unwrap_or_default();
                output::complain("failed again", &format!("{about}: {error}"));
                continue;
            }
            let delete = sqs.delete_message().queue_url(&url).set_receipt_handle(message.receipt_handle.clone());
            api::output("DeleteMessage", delete.send().await).map_err(failed)?;
            output::print(&format!("done  {about}\n"))?;
        }
    }
    output::print(&format!("{} dead letters\n", seen.len()))?;
    Ok(exit)
}

/// What to invoke the function with: Lambda's dead letters have the event inside, EventBridge's and SQS's are it.
fn payload(body: &str) -> Value {
    let body: Value = serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned()));
    body.get("requestPayload").cloned().unwrap_or(body)
}

/// A dead letter in a few words.
fn about(payload: &Value) -> String {
    let text = |pointer: &str| payload.pointer(pointer).and_then(Value::as_str);
    let bucket = text("/bucket").or_else(|| text("/detail/requestParameters/bucketName")).unwrap_or("-");
    format!("{} {} {bucket}", text("/detail/eventTime").unwrap_or("-"), text("/detail/eventName").unwrap_or("message"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_dead_letter_is_unpacked_whoever_sent_it() {
        let event = json!({"detail": {"eventName": "PutBucketPolicy", "eventTime": "2026-11-23T09:14:05Z", "requestParameters": {"bucketName": "acme-data"}}});
        let lambda =
            json!({"version": "1.0", "requestContext": {"condition": "RetriesExhausted"}, "requestPayload": event});
        assert_eq!(payload(&lambda.to_string()), event);
        assert_eq!(payload(&event.to_string()), event);
        assert_eq!(about(&event), "2026-11-23T09:14:05Z PutBucketPolicy acme-data");
        assert_eq!(about(&payload("{\"bucket\": \"acme-data\"}")), "- message acme-data");
        assert_eq!(payload("no JSON"), json!("no JSON"));
    }
}
