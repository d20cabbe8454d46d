//! JSON, read to its end and without what is ambiguous.

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

/// JSON in which no object has a key twice: of two, one would silently be lost, and which one AWS goes by is not said.
#[derive(Debug)]
pub struct Unambiguous(pub Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UnambiguousVisitor).map(Self)
    }
}

struct UnambiguousVisitor;

impl<'de> Visitor<'de> for UnambiguousVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, it: bool) -> Result<Value, E> {
        Ok(Value::Bool(it))
    }

    fn visit_i64<E>(self, it: i64) -> Result<Value, E> {
        Ok(it.into())
    }

    fn visit_u64<E>(self, it: u64) -> Result<Value, E> {
        Ok(it.into())
    }

    fn visit_f64<E>(self, it: f64) -> Result<Value, E> {
        Ok(it.into())
    }

    fn visit_str<E>(self, it: &str) -> Result<Value, E> {
        Ok(it.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Unambiguous(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if all.contains_key(&key) {
                return Err(A::Error::custom(format!("`{key}` stands twice in one object")));
            }
            let Unambiguous(value) = entries.next_value()?;
            all.insert(key, value);
        }
        Ok(Value::Object(all))
    }
}

/// A number that may not be what was written: an integer past 64 bits is only nearly kept.
pub fn rounded(value: &Value) -> Option<&serde_json::Number> {
    match value {
        Value::Number(number) => number.as_f64().filter(|it| number.is_f64() && it.abs() > 1e15).map(|_| number),
        Value::Array(all) => all.iter().find_map(rounded),
        Value::Object(all) => all.values().find_map(rounded),
        _ => None,
    }
}

/// Reads a JSON text to its end; the error names the field.
pub fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, serde_path_to_error::Error<serde_json::Error>> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut reader)?;
    reader.end().map_err(|error| serde_path_to_error::Error::new(serde_path_to_error::Track::new().path(), error))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_read_as_it_is_unless_a_key_stands_twice() {
        let text = r#"{"a": [null, true, -1, 2, 1.5, "x", {"b": {}}]}"#;
        let Unambiguous(value) = from_json(text).unwrap();
        assert_eq!(value, json!({"a": [null, true, -1, 2, 1.5, "x", {"b": {}}]}));
        let error = from_json::<Unambiguous>(r#"{"a": [{"b": 1, "b": 1}]}"#).unwrap_err().to_string();
        assert!(error.contains("`b` stands twice in one object"), "{error}");
        assert!(from_json::<Unambiguous>("{} {}").is_err(), "read to its end");
    }

    #[test]
    fn a_number_that_may_have_been_another_is_found_however_deep() {
        for (value, found) in [
            (json!(1), None),
            (json!(1.5), None),
            (json!(u64::MAX), None),
            (json!(1e15), None),
            (json!(-2e15), Some(-2e15)),
            (json!([1, {"a": [2e15]}]), Some(2e15)),
            (json!({"a": 1, "b": {"c": 2e15}}), Some(2e15)),
            (json!("2e15"), None),
        ] {
            assert_eq!(rounded(&value).and_then(serde_json::Number::as_f64), found, "{value}");
        }
    }
}
