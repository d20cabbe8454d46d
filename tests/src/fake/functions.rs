//! Lambda: what surrounds the rules is there when they are.

use guardrail_core::{
    decide::{queues::queues, rules::rules},
    value::own_parts::SWEEP,
};
use serde_json::{Value, json};

use crate::fake::{
    wire::Call,
    world::{ACCOUNT, PLACE, ROLE, State},
};

impl State {
    pub(super) fn serve_function(&mut self, call: &Call) -> Result<Value, &'static str> {
        let operation = call.operation.as_str();
        match operation {
            // What surrounds the rules is there when they are.
            "GetPolicy" if !self.rules.is_empty() => {
                let arn = |name: &str| format!("arn:aws:events:eu-west-2:{ACCOUNT}:rule/{name}");
                let own = rules("/s3-guardrail/buckets/", PLACE);
                let woken = own.iter().filter(|it| it.function == SWEEP);
                let own = woken.filter(|it| call.path.contains(&format!("/{}/", it.function)));
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
            "GetFunctionConcurrency" if !self.rules.is_empty() => Ok(json!({})),
            "ListEventSourceMappings" => {
                let ours = queues("/s3-guardrail/buckets/", PLACE).map(|it| it.arn);
                let deployed = ours.into_iter().filter(|_| !self.rules.is_empty());
                let shown = |arn: String| json!({"EventSourceArn": arn, "State": "Enabled"});
                let mappings = self.mappings.clone().unwrap_or_else(|| deployed.map(shown).collect());
                Ok(json!({"EventSourceMappings": mappings}))
            }
            _ => Err("ResourceNotFoundException"),
        }
    }
}
