//! Which events an EventBridge pattern finds, as far as the guardrail's own patterns go. Pure.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html>

use serde_json::Value;

/// Whether a pattern finds an event.
pub fn finds(pattern: &Value, event: &Value) -> bool {
    let fields = pattern.as_object().into_iter().flatten();
    fields.into_iter().all(|(name, wanted)| match wanted {
        Value::Array(ways) if name == "$or" => ways.iter().any(|it| finds(it, event)),
        Value::Array(values) => values.iter().any(|it| fits(it, event.get(name))),
        within => finds(within, event.get(name).unwrap_or(&Value::Null)),
    })
}

fn fits(wanted: &Value, is: Option<&Value>) -> bool {
    if let Some(exists) = wanted.get("exists") {
        // What has fields of its own is none itself.
        return *exists == is.is_some_and(|it| !it.is_object() && !it.is_array());
    }
    let fits_one = |is: &Value| match (wanted.get("prefix"), wanted.get("suffix"), is.as_str()) {
        (Some(prefix), _, Some(text)) => prefix.as_str().is_some_and(|it| text.starts_with(it)),
        (_, Some(suffix), Some(text)) => suffix.as_str().is_some_and(|it| text.ends_with(it)),
        _ => wanted == is,
    };
    match is {
        Some(Value::Array(list)) => list.iter().any(fits_one),
        Some(one) => fits_one(one),
        None => false,
    }
}
