//! DynamoDB: the ledger's table, and exactly the expressions that the guardrail sends.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use serde_json::{Value, json};

use crate::fake::{
    wire::{Call, response},
    world::{LEDGER, State},
};

/// DynamoDB refuses, in its words.
fn refused(kind: &str, message: &str) -> HttpResponse {
    response(400, &json!({"__type": kind, "message": message}).to_string())
}

fn invalid(message: &str) -> HttpResponse {
    refused("com.amazon.coral.validate#ValidationException", message)
}

/// The same with the item that the condition did not hold for.
fn lost(item: Option<&Value>) -> HttpResponse {
    let kind = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
    let mut answer = json!({"__type": kind, "message": "The conditional request failed"});
    if let Some(item) = item {
        answer["Item"] = item.clone();
    }
    response(400, &answer.to_string())
}

fn subject(key: &Value) -> String {
    key["subject"]["S"].as_str().unwrap_or_default().to_owned()
}

impl State {
    pub(super) fn serve_ledger(&mut self, call: &Call) -> HttpResponse {
        let input: Value = serde_json::from_str(&call.body).unwrap_or_default();
        let table = if call.operation == "BatchGetItem" { &input["RequestItems"][LEDGER] } else { &input["TableName"] };
        if self.ledger.is_none() || table.is_null() || table.as_str().is_some_and(|it| it != LEDGER) {
            let kind = "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException";
            return refused(kind, "Requested resource not found");
        }
        match call.operation.as_str() {
            "BatchGetItem" => self.read_items(&input),
            "UpdateItem" => self.update_item(&input),
            "PutItem" => self.put_item(&input),
            _ => refused("com.amazon.coral.service#UnknownOperationException", ""),
        }
    }

    fn read_items(&mut self, input: &Value) -> HttpResponse {
        let mut keys = input["RequestItems"][LEDGER]["Keys"].as_array().cloned().unwrap_or_default();
        if !(1..=100).contains(&keys.len()) {
            return invalid("Too many items requested for the BatchGetItem call");
        }
        if keys.iter().enumerate().any(|(n, key)| keys[..n].contains(key)) {
            return invalid("Provided list of item keys contains duplicates");
        }
        let mut left = json!({});
        if self.leaves_unprocessed > 0 {
            self.leaves_unprocessed -= 1;
            left[LEDGER] = json!({"Keys": [keys.pop()], "ConsistentRead": true});
        }
        let ledger = self.ledger.get_or_insert_default();
        let found: Vec<_> = keys.iter().filter_map(|key| ledger.get(&subject(key))).collect();
        response(200, &json!({"Responses": {LEDGER: found}, "UnprocessedKeys": left}).to_string())
    }

    fn update_item(&mut self, input: &Value) -> HttpResponse {
        let ledger = self.ledger.get_or_insert_default();
        let (names, values) = (&input["ExpressionAttributeNames"], &input["ExpressionAttributeValues"]);
        let name = |it: &str| names[it].as_str().unwrap_or_default().to_owned();
        let (intents, version) = (name("#intents"), name("#version"));
        let mut item = ledger.get(&subject(&input["Key"])).unwrap_or(&input["Key"]).clone();
        match (input["UpdateExpression"].as_str(), input["ConditionExpression"].as_str()) {
            (Some("SET #intents.#look = :intent ADD #version :one"), None) => {
                if item[&intents]["M"].is_null() {
                    return invalid("The document path provided in the update expression is invalid for update");
                }
                item[&intents]["M"][name("#look")] = values[":intent"].clone();
            }
            (Some("SET #intents = :intents ADD #version :one"), Some("attribute_not_exists(#intents)")) => {
                if !item[&intents].is_null() {
                    return lost(None);
                }
                item[&intents] = values[":intents"].clone();
            }
            other => return invalid(&format!("the fake does not know {other:?}")),
        }
        let number = |it: &Value| it["N"].as_str().and_then(|it| it.parse::<u64>().ok());
        if !item[&version].is_null() && number(&item[&version]).is_none() {
            return invalid("An operand in the update expression has an incorrect data type");
        }
        let sum = number(&item[&version]).unwrap_or(0) + number(&values[":one"]).unwrap_or(0);
        item[&version] = json!({"N": sum.to_string()});
        ledger.insert(subject(&input["Key"]), item.clone());
        response(200, &json!({"Attributes": item}).to_string())
    }

    fn put_item(&mut self, input: &Value) -> HttpResponse {
        let ledger = self.ledger.get_or_insert_default();
        let now = ledger.get(&subject(&input["Item"]));
        let version = now.map_or(&Value::Null, |it| &it["version"]);
        let holds = match input["ConditionExpression"].as_str() {
            Some("attribute_not_exists(#version)") => version.is_null(),
            Some("#version = :version") => *version == input["ExpressionAttributeValues"][":version"],
            other => return invalid(&format!("the fake does not know {other:?}")),
        };
        if !holds {
            return lost(now.filter(|_| input["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD"));
        }
        ledger.insert(subject(&input["Item"]), input["Item"].clone());
        response(200, "{}")
    }
}
