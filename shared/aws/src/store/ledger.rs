//! The ledger, a table of DynamoDB with one item a subject. Its writes never wait for one another: a write whose item has
//! changed since it was read is lost, and says so.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::{
    Client,
    config::{Builder, retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
    operation::put_item::PutItemError,
    types::{AttributeValue, KeysAndAttributes, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use guardrail_core::value::failure::ApiError;
use serde_json::{Map, Value};

use crate::{Guardrail, api};

/// The table's key.
const SUBJECT: &str = "subject";
/// Counts an item's writes.
const VERSION: &str = "version";
/// Names the last write of a whole item.
const WRITER: &str = "writer";
/// The map that [`begin`] writes into.
const INTENTS: &str = "intents";

/// How many keys DynamoDB takes at once.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
const BATCH: usize = 100;
/// How often keys are asked for that DynamoDB left unprocessed.
const ROUNDS: usize = 4;
/// How long is waited before that, about.
const WAIT: Duration = Duration::from_millis(50);

/// A subject's item, and how often it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub version: u64,
    /// Without the store's own attributes, `subject`, `version` and `writer`; by name, as DynamoDB keeps no order.
    pub item: Map<String, Value>,
}

/// How long a call may take at most, and a restore wait for the ledger.
pub(crate) const ANSWER: Duration = Duration::from_secs(1);

/// A client for the ledger. No restore waits for it for long: each call ends within a second, whatever became of it. One
/// that hangs, on a connection that went away while the function slept, leaves time for another attempt.
pub(crate) fn client(aws: &SdkConfig) -> Client {
    let timeouts = TimeoutConfig::builder().operation_timeout(ANSWER);
    let timeouts = timeouts.operation_attempt_timeout(Duration::from_millis(600));
    let retries = RetryConfig::standard().with_max_attempts(3).with_initial_backoff(WAIT);
    Client::from_conf(Builder::from(aws).timeout_config(timeouts.build()).retry_config(retries).build())
}

/// The items of these subjects, as they are at the time. A subject that has none is not in the answer.
pub async fn read(
    guardrail: &Guardrail,
    table: &str,
    subjects: &[String],
) -> Result<BTreeMap<String, Stored>, ApiError> {
    const OPERATION: &str = "BatchGetItem";
    let subjects: Vec<_> = BTreeSet::from_iter(subjects).into_iter().collect();
    let mut found = BTreeMap::new();
    for batch in subjects.chunks(BATCH) {
        let mut keys: Vec<_> = batch.iter().map(|it| key(it)).collect();
        for round in 0..ROUNDS {
            if round > 0 {
                tokio::time::sleep(guardrail.clock.about(WAIT)).await;
            }
            let asked = KeysAndAttributes::builder().consistent_read(true).set_keys(Some(keys)).build();
            let get = guardrail.dynamodb.batch_get_item().request_items(table, api::built(OPERATION, asked)?);
            let output = api::output(OPERATION, get.send().await)?;
            found.extend(output.responses.into_iter().flat_map(HashMap::into_values).flatten().filter_map(stored));
            keys = output.unprocessed_keys.into_iter().flat_map(HashMap::into_values).flat_map(|it| it.keys).collect();
            if keys.is_empty() {
                break;
            }
        }
        if !keys.is_empty() {
            let left = keys.len();
            return Err(ApiError::new(OPERATION, format!("DynamoDB left {left} keys unprocessed, {ROUNDS} times")));
        }
    }
    Ok(found)
}

/// Puts `intents.LOOK`, whatever else the item has and whether there is one; returns the item as it is then.
pub async fn begin(
    guardrail: &Guardrail,
    table: &str,
    subject: &str,
    look: &str,
    intent: &Value,
) -> Result<Stored, ApiError> {
    const OPERATION: &str = "UpdateItem";
    let update = || {
        let update = guardrail.dynamodb.update_item().table_name(table).set_key(Some(key(subject)));
        let update = update.expression_attribute_names("#intents", INTENTS);
        let update = update.expression_attribute_names("#version", VERSION);
        update.expression_attribute_values(":one", number(1)).return_values(ReturnValue::AllNew)
    };
    let into_map = || {
        let update = update().update_expression("SET #intents.#look = :intent ADD #version :one");
        let update = update.expression_attribute_names("#look", look);
        update.expression_attribute_values(":intent", attribute(intent)).send()
    };
    let mut sent = into_map().await;
    // DynamoDB has no way of saying: with the map, if there is none.
    if sent.as_ref().is_err_and(|it| it.code() == Some("ValidationException")) {
        let intents = AttributeValue::M(HashMap::from([(look.to_owned(), attribute(intent))]));
        let update = update().update_expression("SET #intents = :intents ADD #version :one");
        let update = update.expression_attribute_values(":intents", intents);
        sent = update.condition_expression("attribute_not_exists(#intents)").send().await;
        if sent.as_ref().is_err_and(|it| it.code() == Some("ConditionalCheckFailedException")) {
            sent = into_map().await;
        }
    }
    let output = api::output(OPERATION, sent)?;
    let new = output.attributes.and_then(stored);
    new.map(|(_, stored)| stored).ok_or_else(|| ApiError::new(OPERATION, "the answer has no item"))
}

/// Puts the whole item if it still is at this version, or still is not there where that is 0. `false`: somebody else wrote
/// it since then.
pub async fn replace(
    guardrail: &Guardrail,
    table: &str,
    subject: &str,
    stored_version: u64,
    item: &Map<String, Value>,
) -> Result<bool, ApiError> {
    let writer = AttributeValue::S(format!("{:016x}", guardrail.clock.random()));
    let mut attributes: HashMap<_, _> = item.iter().map(|(name, value)| (name.clone(), attribute(value))).collect();
    attributes.extend(key(subject));
    attributes.insert(VERSION.to_owned(), number(stored_version.saturating_add(1)));
    attributes.insert(WRITER.to_owned(), writer.clone());
    let put = guardrail.dynamodb.put_item().table_name(table).set_item(Some(attributes));
    let put = put.expression_attribute_names("#version", VERSION);
    let put = match stored_version {
        0 => put.condition_expression("attribute_not_exists(#version)"),
        version => {
            put.condition_expression("#version = :version").expression_attribute_values(":version", number(version))
        }
    };
    let put = put.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    let sent = put.send().await;
    // A retry of an attempt whose answer was lost finds what that wrote.
    if let Some(PutItemError::ConditionalCheckFailedException(lost)) =
        sent.as_ref().err().and_then(SdkError::as_service_error)
    {
        return Ok(lost.item().and_then(|it| it.get(WRITER)) == Some(&writer));
    }
    api::done("PutItem", sent).map(|()| true)
}

fn key(subject: &str) -> HashMap<String, AttributeValue> {
    HashMap::from([(SUBJECT.to_owned(), AttributeValue::S(subject.to_owned()))])
}

fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// An item and whose it is. One that somebody else made has no version, which counts as 0.
fn stored(mut attributes: HashMap<String, AttributeValue>) -> Option<(String, Stored)> {
    let AttributeValue::S(subject) = attributes.remove(SUBJECT)? else { return None };
    let version = attributes.remove(VERSION).and_then(|it| it.as_n().ok()?.parse().ok()).unwrap_or(0);
    attributes.remove(WRITER);
    let mut item = Map::new();
    for (name, attribute) in attributes {
        match json(attribute) {
            Some(value) => drop(item.insert(name, value)),
            None => tracing::warn!(subject, name, "an attribute that no guardrail wrote is left out"),
        }
    }
    item.sort_keys();
    Some((subject, Stored { version, item }))
}

fn attribute(value: &Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(value) => AttributeValue::Bool(*value),
        Value::Number(value) => AttributeValue::N(value.to_string()),
        Value::String(value) => AttributeValue::S(value.clone()),
        Value::Array(values) => AttributeValue::L(values.iter().map(attribute).collect()),
        Value::Object(values) => {
            AttributeValue::M(values.iter().map(|(name, value)| (name.clone(), attribute(value))).collect())
        }
    }
}

/// The same back; `None`: JSON has none such. No crate does this, as the only one that is kept up ends the process when it
/// meets a type that is newer than itself.
fn json(attribute: AttributeValue) -> Option<Value> {
    Some(match attribute {
        AttributeValue::Null(_) => Value::Null,
        AttributeValue::Bool(value) => Value::Bool(value),
        AttributeValue::N(value) => Value::Number(serde_json::from_str(&value).ok()?),
        AttributeValue::S(value) => Value::String(value),
        AttributeValue::L(values) => values.into_iter().map(json).collect::<Option<_>>()?,
        AttributeValue::M(values) => {
            let values = values.into_iter().map(|(name, value)| Some((name, json(value)?)));
            let mut values = values.collect::<Option<Map<_, _>>>()?;
            values.sort_keys();
            Value::Object(values)
        }
        _ => return None,
    })
}
