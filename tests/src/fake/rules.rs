//! EventBridge's rules, and the stack that they belong to.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use guardrail_core::decide::rules::{STACK, rules};
use serde_json::{Value, json};

use crate::{
    event_patterns,
    fake::{
        wire::{Call, form, response},
        world::{PLACE, State},
    },
};

impl State {
    pub(super) fn serve_stack(&self, call: &Call) -> HttpResponse {
        let all =
            || rules("/s3-guardrail/buckets/", PLACE).map(|it| (it.name.to_owned(), "CREATE_COMPLETE".to_owned()));
        let has = self.stack.clone().unwrap_or_else(|| all().into());
        if has.is_empty() || form(&call.body).get("StackName").map(String::as_str) != Some(STACK) {
            return call.error(400, "ValidationError");
        }
        let member = |(rule, status): (&String, &String)| {
            format!(
                "<member><LogicalResourceId>{rule}</LogicalResourceId><PhysicalResourceId>{rule}</PhysicalResourceId><ResourceType>AWS::Events::Rule</ResourceType><Timestamp>2026-11-23T09:14:05Z</Timestamp><ResourceStatus>{status}</ResourceStatus></member>"
            )
        };
        let members: String = has.iter().map(member).collect();
        let result = "DescribeStackResourcesResult";
        response(
            200,
            &format!("<R><{result}><StackResources>{members}</StackResources></{result}></R>")
                .replace("R>", "DescribeStackResourcesResponse>"),
        )
    }

    pub(super) fn serve_rules(&mut self, operation: &str, input: &Value) -> Result<Value, &'static str> {
        let text = |name: &str| input[name].as_str().unwrap_or_default().to_owned();
        match operation {
            "TestEventPattern" => {
                let parsed = |name: &str| serde_json::from_str(&text(name)).unwrap_or_default();
                Ok(json!({"Result": event_patterns::finds(&parsed("EventPattern"), &parsed("Event"))}))
            }
            "ListRules" => {
                let rules = self.rules.keys().filter(|it| it.starts_with(&text("NamePrefix")));
                Ok(json!({"Rules": rules.map(|it| json!({"Name": it})).collect::<Vec<_>>()}))
            }
            _ => self.serve_rule(operation, input),
        }
    }

    fn serve_rule(&mut self, operation: &str, input: &Value) -> Result<Value, &'static str> {
        let name = input["Name"].as_str().or(input["Rule"].as_str()).unwrap_or_default().to_owned();
        const ABSENT: &str = "ResourceNotFoundException";
        match operation {
            "DescribeRule" => self.rules.get(&name).map(|it| it.0.clone()).ok_or(ABSENT),
            "ListTargetsByRule" => self.rules.get(&name).map(|it| json!({"Targets": it.1})).ok_or(ABSENT),
            "PutRule" => {
                let rule = self.rules.entry(name).or_default();
                rule.0 = input.clone();
                Ok(json!({}))
            }
            "EnableRule" => {
                self.rules.get_mut(&name).ok_or(ABSENT)?.0["State"] = json!("ENABLED");
                Ok(json!({}))
            }
            "RemoveTargets" => {
                let ids = input["Ids"].as_array().cloned().unwrap_or_default();
                self.rules.get_mut(&name).ok_or(ABSENT)?.1.retain(|it| !ids.contains(&it["Id"]));
                Ok(json!({"FailedEntryCount": 0, "FailedEntries": []}))
            }
            "PutTargets" => {
                let rule = self.rules.get_mut(&name).ok_or(ABSENT)?;
                for target in input["Targets"].as_array().into_iter().flatten() {
                    rule.1.retain(|it| it["Id"] != target["Id"]);
                    rule.1.push(target.clone());
                }
                Ok(json!({"FailedEntryCount": 0, "FailedEntries": []}))
            }
            _ => Err("UnknownOperationException"),
        }
    }
}
