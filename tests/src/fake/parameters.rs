//! The Parameter Store.

use serde_json::{Value, json};

use crate::fake::world::{ACCOUNT, State};

impl State {
    pub(super) fn serve_parameter(&mut self, operation: &str, input: &Value) -> Result<Value, &'static str> {
        let text = |name: &str| input[name].as_str().unwrap_or_default().to_owned();
        match operation {
            "GetParametersByPath" => {
                let (path, start) = (format!("{}/", text("Path")), text("NextToken"));
                let is_below = |it: &str| {
                    it.strip_prefix(&path).is_some_and(|it| input["Recursive"] == json!(true) || !it.contains('/'))
                };
                let mut all = self.parameters.iter().filter(|it| is_below(it.0) && *it.0 >= start);
                let page: Vec<_> = all.by_ref().take(10).map(|it| json!({"Name": it.0, "Value": it.1})).collect();
                Ok(json!({"Parameters": page, "NextToken": all.next().map(|it| it.0)}))
            }
            "GetParameters" => {
                let names = input["Names"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let (known, unknown): (Vec<_>, Vec<_>) = names.partition(|it| self.parameters.contains_key(*it));
                let known = known.into_iter().map(|it| json!({"Name": it, "Value": self.parameters[it]}));
                let mut answer = json!({"Parameters": known.collect::<Vec<_>>()});
                if !unknown.is_empty() {
                    answer["InvalidParameters"] = json!(unknown);
                }
                Ok(answer)
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
            _ => Err("UnknownOperationException"),
        }
    }
}
