//! SQS: the sweep's queue and the dead letters.

use guardrail_core::decide::queues::queues;
use serde_json::{Value, json};

use crate::fake::world::{ACCOUNT, PLACE, State};

impl State {
    pub(super) fn serve_queue(&mut self, operation: &str, input: &Value) -> Result<Value, &'static str> {
        let text = |name: &str| input[name].as_str().unwrap_or_default().to_owned();
        match operation {
            "SendMessageBatch" => {
                let entries = input["Entries"].as_array().cloned().unwrap_or_default();
                self.queued.extend(entries.iter().filter_map(|it| it["MessageBody"].as_str().map(str::to_owned)));
                let taken: Vec<_> = entries
                    .iter()
                    .map(|it| json!({"Id": it["Id"], "MessageId": "m", "MD5OfMessageBody": "0"}))
                    .collect();
                Ok(json!({"Successful": taken, "Failed": []}))
            }
            "GetQueueUrl" => Ok(json!({"QueueUrl": format!("https://sqs.eu-west-2.amazonaws.com/{ACCOUNT}/dead")})),
            "GetQueueAttributes" => {
                let queues = queues("/s3-guardrail/buckets/", PLACE);
                let queue = queues.iter().find(|it| text("QueueUrl").ends_with(it.name)).ok_or("QueueDoesNotExist")?;
                let policy = self.queue_policy.clone().unwrap_or_else(|| queue.policy());
                Ok(json!({"Attributes": {"Policy": policy.to_string()}}))
            }
            "ReceiveMessage" => {
                let waiting = self.dead_letters.iter_mut().filter(|it| !*it.1).take(10);
                let received = waiting.map(|(body, hidden)| {
                    *hidden = true;
                    let mut message = json!({"MessageId": body, "ReceiptHandle": body, "Body": body});
                    // SQS keeps them to itself unless it is asked for them.
                    let asked = input["MessageAttributeNames"].as_array().is_some_and(|it| it.contains(&json!("All")));
                    let attributes = self.letter_attributes.get(body).and_then(Value::as_object).filter(|_| asked);
                    for (name, text) in attributes.into_iter().flatten() {
                        message["MessageAttributes"][name] = json!({"DataType": "String", "StringValue": text});
                    }
                    message
                });
                Ok(json!({"Messages": received.collect::<Vec<_>>()}))
            }
            "ChangeMessageVisibilityBatch" => {
                for entry in input["Entries"].as_array().into_iter().flatten() {
                    let receipt = entry["ReceiptHandle"].as_str().unwrap_or_default();
                    self.returned.push((receipt.to_owned(), entry["VisibilityTimeout"].as_i64().unwrap_or_default()));
                    let letter = self.dead_letters.get_mut(receipt);
                    letter.into_iter().for_each(|hidden| *hidden = entry["VisibilityTimeout"] != 0);
                }
                let taken = input["Entries"].as_array().into_iter().flatten().map(|it| json!({"Id": it["Id"]}));
                Ok(json!({"Successful": taken.collect::<Vec<_>>(), "Failed": []}))
            }
            "DeleteMessage" => {
                self.dead_letters.remove(&text("ReceiptHandle"));
                Ok(json!({}))
            }
            _ => Err("UnknownOperationException"),
        }
    }
}
