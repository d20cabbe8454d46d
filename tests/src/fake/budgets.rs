//! Budgets: one of no spending, and whom it mails.

use serde_json::{Value, json};

use crate::fake::world::State;

impl State {
    pub(super) fn serve_budget(&mut self, operation: &str, input: &Value) -> Result<Value, &'static str> {
        match operation {
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
            _ => Err("UnknownOperationException"),
        }
    }
}
