//! `guardrail redrive`: gives what ended as a dead letter once more to the function that it was meant for.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use aws_sdk_lambda::{config::timeout::TimeoutConfig, primitives::Blob};
use aws_sdk_sqs::{
    config::retry::RetryConfig,
    types::{ChangeMessageVisibilityBatchRequestEntry, Message, MessageAttributeValue},
};
use guardrail::api;
use guardrail_core::{
    decide::rules::rules,
    edge::config::Config,
    value::{
        failure::ApiError,
        names::Arn,
        own_parts::{DEAD_LETTERS, EVENTS, REMEDIATE, SWEEP},
    },
};
use serde_json::Value;

use crate::{Exit, error::CliError, output, session::Session};

/// `guardrail-sweep` may run for five minutes, `guardrail-remediate` for two. Whoever gave up before would send the same
/// again while the first still runs.
const PATIENCE: Duration = Duration::from_secs(310);

/// How many messages SQS hands out, and takes back, at once.
const BATCH: usize = 10;

pub(crate) async fn run(session: &Session, dry_run: bool) -> Result<Exit, CliError> {
    let (sqs, lambda) = (&session.guardrail.sqs, &session.guardrail.lambda);
    let failed = |source: ApiError| CliError::Redrive { source };
    let url = api::output("GetQueueUrl", sqs.get_queue_url().queue_name(DEAD_LETTERS).send().await);
    let url = url.map_err(failed)?.queue_url.unwrap_or_default();
    // A second attempt would not see those that an answer which never came has hidden.
    let once = aws_sdk_sqs::Config::builder().retry_config(RetryConfig::disabled());
    let patient = TimeoutConfig::builder().operation_attempt_timeout(PATIENCE).build();
    let patient = aws_sdk_lambda::Config::builder().timeout_config(patient);
    let mut exit = Exit::Compliant;
    let mut seen = HashSet::new();
    let mut left = Vec::new();
    loop {
        // Those that are left stay hidden for half a minute, until all were seen. Whoever does not wait is told of some
        // of them only.
        // https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html
        let receive = sqs.receive_message().queue_url(&url).max_number_of_messages(10).wait_time_seconds(2);
        let receive = receive.message_attribute_names("All").visibility_timeout(30);
        let receive = receive.customize().config_override(once.clone());
        let messages =
            api::output("ReceiveMessage", receive.send().await).map_err(failed)?.messages.unwrap_or_default();
        if messages.is_empty() {
            break;
        }
        for message in messages {
            // It was left, and its half minute is over.
            if !seen.insert(message.message_id.clone()) {
                continue;
            }
            let Letter { function, payload } = Letter::of(&message, &session.guardrail.config);
            let about = about(&payload);
            let Some(function) = function else {
                exit = Exit::Error;
                output::complain("left", &format!("{about}: nothing says which of the functions it was meant for"));
                left.extend(message.receipt_handle);
                continue;
            };
            if dry_run {
                session.print(&format!("{about}  for {function}\n"))?;
                left.extend(message.receipt_handle);
                continue;
            }
            let invoke = lambda.invoke().function_name(function).payload(Blob::new(payload.to_string()));
            let invoke = invoke.customize().config_override(patient.clone());
            let answer = api::output("Invoke", invoke.send().await).map_err(failed)?;
            if answer.function_error.is_some() {
                exit = Exit::Error;
                let error =
                    answer.payload.map(|it| String::from_utf8_lossy(it.as_ref()).into_owned()).unwrap_or_default();
                output::complain("failed again", &format!("{about}: {function}: {error}"));
                left.extend(message.receipt_handle);
                continue;
            }
            let delete = sqs.delete_message().queue_url(&url).set_receipt_handle(message.receipt_handle.clone());
            api::output("DeleteMessage", delete.send().await).map_err(failed)?;
            session.print(&format!("done  {about}  by {function}\n"))?;
        }
    }
    for handles in left.chunks(BATCH) {
        show_again(sqs, &url, handles).await.map_err(failed)?;
    }
    session.print(&match seen.len() {
        1 => "1 dead letter\n".to_owned(),
        n => format!("{n} dead letters\n"),
    })?;
    Ok(exit)
}

/// Lets the next run see at once what this one has left. What SQS does not know as hidden any more, it will see, too.
async fn show_again(sqs: &aws_sdk_sqs::Client, url: &str, handles: &[String]) -> Result<(), ApiError> {
    let operation = "ChangeMessageVisibilityBatch";
    let entry = |(n, handle): (usize, &String)| {
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(n.to_string()).receipt_handle(handle);
        entry.visibility_timeout(0).build().map_err(|error| ApiError::new(operation, error))
    };
    let entries = handles.iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>()?;
    let change = sqs.change_message_visibility_batch().queue_url(url).set_entries(Some(entries));
    api::done(operation, change.send().await)
}

/// A dead letter, opened.
struct Letter {
    /// Which function it was meant for; `None`: nothing says so.
    function: Option<&'static str>,
    /// What to invoke that with.
    payload: Value,
}

impl Letter {
    fn of(message: &Message, config: &Config) -> Self {
        let body = message.body().unwrap_or_default();
        let body: Value = serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned()));
        let none = HashMap::new();
        let attributes = message.message_attributes().unwrap_or(&none);
        let attribute = |name: &str| attributes.get(name).and_then(MessageAttributeValue::string_value);
        // Lambda's letters have the event inside; EventBridge's are the event, and have attributes; SQS's are the message.
        // https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
        // https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
        let invoked = body.pointer("/requestContext/functionArn").and_then(Value::as_str);
        let function = if let Some(arn) = invoked.or_else(|| attribute("TARGET_ARN")) {
            function_of(arn)
        } else if let Some(arn) = attribute("RULE_ARN") {
            function_woken_by(arn, config)
        } else {
            function_for(body.get("requestPayload").unwrap_or(&body))
        };
        Self { function, payload: body.get("requestPayload").cloned().unwrap_or(body) }
    }
}

/// Which of our functions an ARN leads to: its own, which may have a version or an alias in the end, or its queue's.
fn function_of(arn: &str) -> Option<&'static str> {
    let arn = Arn::parse(arn)?;
    if (arn.service, arn.resource) == ("sqs", EVENTS) {
        return Some(REMEDIATE);
    }
    let arn = Some(arn).filter(|it| it.service == "lambda")?;
    let name = arn.resource.strip_prefix("function:")?.split(':').next()?;
    [REMEDIATE, SWEEP].into_iter().find(|it| *it == name)
}

/// Which function a rule of ours wakes.
fn function_woken_by(rule: &str, config: &Config) -> Option<&'static str> {
    let name = Arn::parse(rule)?.resource.rsplit('/').next()?;
    rules(&config.parameter_prefix, config.place()).iter().find(|it| it.name == name).map(|it| it.function)
}

/// Which function takes such an input, where nothing else tells.
fn function_for(payload: &Value) -> Option<&'static str> {
    if payload["detail-type"] == "Scheduled Event" {
        Some(SWEEP)
    } else if payload.pointer("/detail/eventName").is_some()
        || ["bucket", "key", "trail"].iter().any(|it| payload.get(it).is_some())
    {
        Some(REMEDIATE)
    } else {
        None
    }
}

/// A dead letter in a few words.
fn about(payload: &Value) -> String {
    let text = |pointer: &str| payload.pointer(pointer).and_then(Value::as_str);
    let bucket = text("/bucket").or_else(|| text("/detail/requestParameters/bucketName")).unwrap_or("-");
    let time = text("/detail/eventTime").or_else(|| text("/time")).unwrap_or("-");
    let what = text("/detail/eventName").or_else(|| text("/detail-type")).unwrap_or("message");
    format!("{time} {what} {bucket}")
}

#[cfg(test)]
mod tests {
    use guardrail_tests::fake::FakeAws;
    use serde_json::json;

    use super::*;
    use crate::faults::session;

    fn event() -> Value {
        json!({"time": "2026-11-23T09:14:07Z", "detail-type": "AWS API Call via CloudTrail", "detail": {
            "eventName": "PutBucketPolicy", "eventTime": "2026-11-23T09:14:05Z", "requestParameters": {"bucketName": "acme-data"}}})
    }

    fn tampering() -> Value {
        json!({"detail-type": "AWS API Call via CloudTrail", "detail": {"eventName": "DisableRule", "eventSource": "events.amazonaws.com",
            "requestParameters": {"name": "s3-guardrail-tampered"}}})
    }

    fn schedule() -> Value {
        json!({"time": "2026-11-23T09:15:00Z", "detail-type": "Scheduled Event", "source": "aws.events", "detail": {}})
    }

    /// As Lambda writes it for an asynchronous invocation that failed to the end.
    fn of_lambda(function: &str, payload: Value) -> Value {
        let arn = format!("arn:aws:lambda:eu-west-2:111122223333:function:{function}:$LATEST");
        json!({"version": "1.0", "timestamp": "2026-11-23T09:20:05.123Z", "requestPayload": payload,
            "requestContext": {"requestId": "r", "functionArn": arn, "condition": "RetriesExhausted", "approximateInvokeCount": 3},
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
            "responsePayload": {"errorMessage": "no"}})
    }

    /// The attributes of an event that EventBridge could not deliver.
    fn of_rule(rule: &str, target: &str) -> Value {
        json!({"RULE_ARN": format!("arn:aws:events:eu-west-2:111122223333:rule/{rule}"), "TARGET_ARN": target, "ERROR_CODE": "NO_PERMISSIONS"})
    }

    const EVENTS_ARN: &str = "arn:aws:sqs:eu-west-2:111122223333:s3-guardrail-events";

    fn function_arn(name: &str) -> String {
        format!("arn:aws:lambda:eu-west-2:111122223333:function:{name}")
    }

    /// A letter, its attributes, the function that gets it, with what.
    fn letters() -> Vec<(Value, Value, Option<&'static str>, Value)> {
        let none = json!({});
        let request = json!({"bucket": "acme-data"});
        let undelivered = |rule, name| of_rule(rule, &function_arn(name));
        vec![
            (of_lambda(REMEDIATE, event()), none.clone(), Some(REMEDIATE), event()),
            (of_lambda(SWEEP, schedule()), none.clone(), Some(SWEEP), schedule()),
            (of_lambda(SWEEP, tampering()), none.clone(), Some(SWEEP), tampering()),
            (of_lambda("other", event()), none.clone(), None, event()),
            (event(), of_rule("s3-guardrail-bucket-changed", EVENTS_ARN), Some(REMEDIATE), event()),
            // Of when the rule invoked the function.
            (event(), undelivered("s3-guardrail-bucket-changed", REMEDIATE), Some(REMEDIATE), event()),
            (tampering(), undelivered("s3-guardrail-remediate-tampered", SWEEP), Some(SWEEP), tampering()),
            (schedule(), undelivered("s3-guardrail-sweep", SWEEP), Some(SWEEP), schedule()),
            (event(), undelivered("theirs", "other"), None, event()),
            (event(), of_rule("theirs", "arn:aws:sqs:eu-west-2:111122223333:guardrail-sweep"), None, event()),
            // Older ones, moved here by hand, or sent by SQS: what it is tells.
            (request.clone(), none.clone(), Some(REMEDIATE), request),
            (json!({"trail": "arn"}), none.clone(), Some(REMEDIATE), json!({"trail": "arn"})),
            (event(), none.clone(), Some(REMEDIATE), event()),
            (schedule(), none.clone(), Some(SWEEP), schedule()),
            (json!({"requestPayload": schedule()}), none.clone(), Some(SWEEP), schedule()),
            (json!("no event"), none.clone(), None, json!("no event")),
            (json!({"Records": []}), none, None, json!({"Records": []})),
        ]
    }

    fn with(letter: &Value, attributes: &Value) -> FakeAws {
        let fake = FakeAws::default();
        fake.state().dead_letters = [(letter.to_string(), false)].into();
        fake.state().letter_attributes = [(letter.to_string(), attributes.clone())].into();
        fake
    }

    #[tokio::test]
    async fn a_dead_letter_goes_to_the_function_that_it_was_meant_for() {
        for (letter, attributes, function, payload) in letters() {
            let fake = with(&letter, &attributes);
            let exit = run(&session(&fake), false).await.unwrap();
            let state = fake.state();
            let invoked: Vec<_> = state.uris.iter().filter(|it| it.ends_with("/invocations")).collect();
            let expected = function.map(|it| format!("/functions/{it}/invocations"));
            assert_eq!(invoked.len(), usize::from(expected.is_some()), "{letter} {attributes}");
            assert!(invoked.iter().zip(&expected).all(|(it, end)| it.ends_with(end)), "{letter}: {invoked:?}");
            let sent: Vec<_> = expected.iter().map(|_| payload.to_string()).collect();
            assert_eq!(state.invoked, sent, "{letter}");
            assert_eq!(state.dead_letters.is_empty(), function.is_some(), "{letter}");
            assert_eq!(exit, if function.is_some() { Exit::Compliant } else { Exit::Error }, "{letter}");
        }
    }

    #[tokio::test]
    async fn what_is_left_is_there_for_the_next_run_at_once() {
        let schedule = of_lambda(SWEEP, schedule());
        let unknown = json!("no event");
        for (letter, dry_run, fails) in [(&schedule, true, false), (&schedule, false, true), (&unknown, false, false)] {
            let fake = with(letter, &json!({}));
            fake.state().functions_fail = fails;
            run(&session(&fake), dry_run).await.unwrap();
            assert_eq!(fake.state().dead_letters.values().collect::<Vec<_>>(), [&false], "{letter}");
        }
    }

    #[test]
    fn a_dead_letter_is_told_in_a_few_words() {
        assert_eq!(about(&event()), "2026-11-23T09:14:05Z PutBucketPolicy acme-data");
        assert_eq!(about(&schedule()), "2026-11-23T09:15:00Z Scheduled Event -");
        assert_eq!(about(&json!({"bucket": "acme-data"})), "- message acme-data");
    }
}
