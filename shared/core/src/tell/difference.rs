//! How two JSON values differ, a difference at a time.

use serde_json::{Map, Value, json};

/// Elements of lists that say who they are: statements by Sid, lifecycle rules by ID, exemptions by control.
const NAMES: [&str; 3] = ["Sid", "ID", "control"];

/// One difference, and where: `Statement[DenyInsecureTransport].Condition`.
#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    /// `null`: it was, or is, not there.
    Changed { path: String, before: Value, after: Value },
    /// An element of a list that is no longer there.
    Gone { path: String, element: Value },
    /// An element of a list that was not there.
    New { path: String, element: Value },
}

/// What of a difference is looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Elements of lists are whole; of an object that was not there, each field is told.
    Fields,
    /// Elements of lists that have the same name are one, changed; an object that was not there is whole.
    Elements,
}

/// What differs, in the order of the fields.
pub fn differences(before: &Value, after: &Value, depth: Depth) -> Vec<Difference> {
    let mut differ = Differ { depth, found: Vec::new() };
    differ.values("", before, after);
    differ.found
}

struct Differ {
    depth: Depth,
    found: Vec<Difference>,
}

impl Differ {
    fn values(&mut self, path: &str, before: &Value, after: &Value) {
        match (before, after) {
            _ if before == after => {}
            (Value::Object(was), Value::Object(is)) => {
                for key in was.keys().chain(is.keys().filter(|it| !was.contains_key(*it))) {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    let side = |it: &Map<String, Value>| it.get(key).cloned().unwrap_or(Value::Null);
                    self.values(&path, &side(was), &side(is));
                }
            }
            (Value::Null, Value::Object(_)) if path.is_empty() || self.depth == Depth::Fields => {
                self.values(path, &json!({}), after);
            }
            (Value::Array(was), Value::Array(is)) => self.lists(path, was, is),
            (Value::Null, Value::Array(is)) => self.lists(path, &[], is),
            _ => {
                let (path, before, after) = (path.to_owned(), before.clone(), after.clone());
                self.found.push(Difference::Changed { path, before, after });
            }
        }
    }

    fn lists(&mut self, path: &str, was: &[Value], is: &[Value]) {
        // A name that only one element of each list has is the same element, changed.
        let alone = |list: &[Value], name: &str| list.iter().filter(|it| name_of(it) == Some(name)).count() == 1;
        let by_name = self.depth == Depth::Elements;
        let partner = |value: &Value, own: &[Value], others: &[Value]| {
            let name = name_of(value).filter(|it| by_name && alone(own, it) && alone(others, it))?;
            others.iter().find(|it| name_of(it) == Some(name)).cloned()
        };
        for before in was.iter().filter(|it| !is.contains(it)) {
            match partner(before, was, is) {
                Some(after) => self.values(&format!("{path}[{}]", name_of(before).unwrap_or_default()), before, &after),
                None => self.found.push(Difference::Gone { path: path.to_owned(), element: before.clone() }),
            }
        }
        for after in is.iter().filter(|it| !was.contains(it)) {
            if partner(after, is, was).is_none() {
                self.found.push(Difference::New { path: path.to_owned(), element: after.clone() });
            }
        }
    }
}

fn name_of(value: &Value) -> Option<&str> {
    NAMES.iter().find_map(|it| value.get(it)?.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(path: &str, before: Value, after: Value) -> Difference {
        Difference::Changed { path: path.to_owned(), before, after }
    }

    fn gone(path: &str, element: Value) -> Difference {
        Difference::Gone { path: path.to_owned(), element }
    }

    fn new(path: &str, element: Value) -> Difference {
        Difference::New { path: path.to_owned(), element }
    }

    #[test]
    fn each_field_is_told_or_each_element_followed() {
        let statement = |sid: &str, n: u32| json!({"Sid": sid, "n": n});
        for (before, after, fields, elements) in [
            (json!({"a": 1, "b": 2}), json!({"a": 1, "b": 3}), vec![changed("b", json!(2), json!(3))], None),
            (json!({"a": 1}), json!({"b": [1]}), vec![changed("a", json!(1), Value::Null), new("b", json!(1))], None),
            (json!([1, 2]), json!([2, 3]), vec![gone("", json!(1)), new("", json!(3))], None),
            (Value::Null, json!({"a": 1}), vec![changed("a", Value::Null, json!(1))], None),
            (json!({"a": 1}), Value::Null, vec![changed("", json!({"a": 1}), Value::Null)], None),
            (
                json!({}),
                json!({"a": {"b": 1}}),
                vec![changed("a.b", Value::Null, json!(1))],
                Some(vec![changed("a", Value::Null, json!({"b": 1}))]),
            ),
            (
                json!({"s": [statement("x", 1), statement("y", 1)]}),
                json!({"s": [statement("y", 1), statement("x", 2)]}),
                vec![gone("s", statement("x", 1)), new("s", statement("x", 2))],
                Some(vec![changed("s[x].n", json!(1), json!(2))]),
            ),
            (
                json!([statement("x", 1), statement("y", 1), statement("z", 1)]),
                json!([statement("x", 2), statement("y", 1), statement("z", 1)]),
                vec![gone("", statement("x", 1)), new("", statement("x", 2))],
                Some(vec![changed("[x].n", json!(1), json!(2))]),
            ),
            (
                json!([statement("x", 1), statement("x", 2)]),
                json!([statement("x", 3)]),
                vec![gone("", statement("x", 1)), gone("", statement("x", 2)), new("", statement("x", 3))],
                None,
            ),
        ] {
            assert_eq!(differences(&before, &after, Depth::Fields), fields);
            assert_eq!(differences(&before, &after, Depth::Elements), elements.unwrap_or(fields));
        }
    }
}
