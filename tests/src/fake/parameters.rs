//! The services that speak JSON and need little: parameters, queues, budgets.

use guardrail_core::decide::rules::rules;
use serde_json::{Value, json};

use crate::{
    event_patterns,
    fake::{
        wire::Call,
        world::{ACCOUNT, FakeKey, KEY, PLACE, ROLE, State},
    },
};

impl State {
    /// KMS, CloudTrail, EventBridge, SQS, Lambda, Budgets and pages of the Parameter Store: JSON in, JSON or an error's code out.
    pub(super) fn serve_json(&mut self, call: &Call, input: &Value) -> Result<Value, &'static str> {
        let (operation, region) = (call.operation.as_str(), call.region.as_str());
        let text = |name: &str| input[name].as_str().unwrap_or_default().to_owned();
        match operation {
            "GetParametersByPath" => {
                let (path, start) = (format!("{}/", text("Path")), text("NextToken"));
                let mut all = self.parameters.iter().filter(|it| it.0.starts_with(&path) && *it.0 >= start);
                let page: Vec<_> = all.by_ref().take(10).map(|it| json!({"Name": it.0, "Value": it.1})).collect();
                Ok(json!({"Parameters": page, "NextToken": all.next().map(|it| it.0)}))
            }
            "SendMessageBatch" => {
                let entries = input["Entries"].as_array().cloned().unwrap_or_default();
                self.queued.extend(entries.iter().filter_map(|it| it["MessageBody"].as_str().map(str::to_owned)));
                let taken: Vec<_> = entries
                    .iter()
                    .map(|it| json!({"Id": it["Id"], "MessageId": "m", "MD5OfMessageBody": "0"}))
                    .collect();
                Ok(json!({"Successful": taken, "Failed": []}))
            }
            "GetParameterHistory" => {
                let name = text("Name");
                let now = self.parameters.get(&name).ok_or("ParameterNotFound")?;
                let versions = self.parameter_history.get(&name).cloned().unwrap_or_else(|| vec![now.clone()]);
                let who = format!("arn:aws:iam::{ACCOUNT}:user/ann");
                let version = |(n, value): (usize, &String)| json!({"Name": name, "Value": value, "Version": n + 1, "LastModifiedUser": who});
                Ok(json!({"Parameters": versions.iter().enumerate().map(version).collect::<Vec<_>>()}))
            }
            "PutParameter" => {
                self.parameters.insert(text("Name"), text("Value"));
                Ok(json!({"Version": 1}))
            }
            "DeleteParameter" => self.parameters.remove(&text("Name")).map(|_| json!({})).ok_or("ParameterNotFound"),
            "GetQueueUrl" => Ok(json!({"QueueUrl": format!("https://sqs.eu-west-2.amazonaws.com/{ACCOUNT}/dead")})),
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
                    let letter = self.dead_letters.get_mut(entry["ReceiptHandle"].as_str().unwrap_or_default());
                    letter.into_iter().for_each(|hidden| *hidden = entry["VisibilityTimeout"] != 0);
                }
                let taken = input["Entries"].as_array().into_iter().flatten().map(|it| json!({"Id": it["Id"]}));
                Ok(json!({"Successful": taken.collect::<Vec<_>>(), "Failed": []}))
            }
            "DeleteMessage" => {
                self.dead_letters.remove(&text("ReceiptHandle"));
                Ok(json!({}))
            }
            "DescribeSubscribersForNotification" => {
                self.mailed.as_ref().map(|it| json!({"Subscribers": it})).ok_or("NotFoundException")
            }
            "CreateBudget" if self.mailed.is_some() => Err("DuplicateRecordException"),
            "CreateBudget" => {
                self.mailed =
                    input.pointer("/NotificationsWithSubscribers/0/Subscribers").and_then(Value::as_array).cloned();
                Ok(json!({}))
            }
            "CreateSubscriber" => {
                let mailed = self.mailed.as_mut().ok_or("NotFoundException")?;
                if mailed.contains(&input["Subscriber"]) {
                    return Err("DuplicateRecordException");
                }
                mailed.push(input["Subscriber"].clone());
                Ok(json!({}))
            }
            "ListKeys" => {
                let arns = self.other_keys.keys().map(String::as_str).chain(self.key.iter().map(|_| KEY));
                let keys: Vec<_> = arns.map(|it| json!({"KeyArn": it, "KeyId": "k"})).collect();
                Ok(json!({"Keys": keys, "Truncated": false}))
            }
            // Two keys for one alias would be one too many.
            "CreateKey" if self.key.is_some() => Err("LimitExceededException"),
            "CreateKey" => {
                self.key = Some(FakeKey {
                    rotation: false,
                    policy: text("Policy"),
                    tags: input["Tags"].clone(),
                    ..FakeKey::good()
                });
                Ok(json!({"KeyMetadata": {"KeyId": "k", "Arn": KEY}}))
            }
            // What surrounds the rules is there when they are.
            "GetPolicy" if !self.rules.is_empty() => {
                let arn = |name: &str| format!("arn:aws:events:eu-west-2:{ACCOUNT}:rule/{name}");
                let own = rules("/s3-guardrail/buckets/", PLACE);
                let own = own.iter().filter(|it| call.path.contains(&format!("/{}/", it.function)));
                let statements: Vec<_> = own.map(|it| json!({"Sid": it.name, "Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "lambda:InvokeFunction", "Condition": {"ArnLike": {"AWS:SourceArn": arn(it.name)}}})).chain(self.permissions.clone()).collect();
                Ok(json!({"Policy": json!({"Statement": statements}).to_string()}))
            }
            "GetAccountSettings" => {
                Ok(json!({"AccountLimit": {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 1000}}))
            }
            "GetFunctionConfiguration" if !self.rules.is_empty() => {
                Ok(json!({"Architectures": ["x86_64"], "Role": ROLE, "State": "Active"}))
            }
            "GetFunctionConfiguration" => Err("ResourceNotFoundException"),
            "TestEventPattern" => {
                let parsed = |name: &str| serde_json::from_str(&text(name)).unwrap_or_default();
                Ok(json!({"Result": event_patterns::finds(&parsed("EventPattern"), &parsed("Event"))}))
            }
            "ListRules" => {
                let rules = self.rules.keys().filter(|it| it.starts_with(&text("NamePrefix")));
                Ok(json!({"Rules": rules.map(|it| json!({"Name": it})).collect::<Vec<_>>()}))
            }
            "GetFunctionConcurrency" if !self.rules.is_empty() => Ok(json!({"ReservedConcurrentExecutions": 5})),
            "LookupEvents" => {
                let name = &input["LookupAttributes"][0]["AttributeValue"];
                let records = self.records.iter().flatten().filter(|it| it["eventName"] == *name);
                let events = records.map(|it| json!({"EventName": name, "CloudTrailEvent": it.to_string()}));
                Ok(json!({"Events": events.collect::<Vec<_>>()}))
            }
            "DescribeTrails" => Ok(json!({"trailList": self.trails_shown_in(region)})),
            _ if operation.contains("Trail")
                || ["GetEventSelectors", "PutEventSelectors", "StartLogging", "StopLogging"].contains(&operation) =>
            {
                self.serve_trail(operation, input, region)
            }
            _ if operation.contains("Rule") || operation.ends_with("Targets") => self.serve_rule(operation, input),
            _ => self.serve_key(operation, input, region),
        }
    }
}
