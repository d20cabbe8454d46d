//! Two JSON values as lines of what goes, comes and changes. Pure.

use anstyle::{AnsiColor, Style};
use serde_json::{Map, Value, json};

pub(crate) const REMOVED: Style = AnsiColor::Red.on_default();
pub(crate) const ADDED: Style = AnsiColor::Green.on_default();
pub(crate) const CHANGED: Style = AnsiColor::Yellow.on_default();

/// Elements of lists that say who they are: statements by Sid, lifecycle rules by ID, exemptions by control.
const NAMES: [&str; 3] = ["Sid", "ID", "control"];

/// How long a value may be to stand on one line.
const ONE_LINE: usize = 100;

/// What differs, as text with colours; each line begins with `indent`.
pub(crate) fn diff(before: &Value, after: &Value, indent: &str) -> String {
    let mut lines = Lines { text: String::new(), indent };
    lines.differ("", before, after);
    lines.text
}

/// A text in a style.
pub(crate) fn painted(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

struct Lines<'a> {
    text: String,
    indent: &'a str,
}

impl Lines<'_> {
    fn differ(&mut self, path: &str, before: &Value, after: &Value) {
        match (before, after) {
            _ if before == after => {}
            (Value::Object(was), Value::Object(is)) => {
                for key in was.keys().chain(is.keys().filter(|it| !was.contains_key(*it))) {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    let side = |it: &Map<String, Value>| it.get(key).cloned().unwrap_or(Value::Null);
                    self.differ(&path, &side(was), &side(is));
                }
            }
            (Value::Null, Value::Object(_)) if path.is_empty() => self.differ(path, &json!({}), after),
            (Value::Array(was), Value::Array(is)) => self.differ_lists(path, was, is),
            (Value::Null, Value::Array(is)) => self.differ_lists(path, &[], is),
            (Value::Null, _) => self.line('+', ADDED, &format!("{path}: {}", pretty(after))),
            (_, Value::Null) => self.line('-', REMOVED, &format!("{path}: {}", pretty(before))),
            _ => self.line('~', CHANGED, &format!("{path}: {before} -> {after}")),
        }
    }

    fn differ_lists(&mut self, path: &str, was: &[Value], is: &[Value]) {
        // A name that only one element of each list has is the same element, changed.
        let alone = |list: &[Value], name: &str| list.iter().filter(|it| name_of(it) == Some(name)).count() == 1;
        let partner = |value: &Value, own: &[Value], others: &[Value]| {
            let name = name_of(value).filter(|it| alone(own, it) && alone(others, it))?;
            others.iter().find(|it| name_of(it) == Some(name)).cloned()
        };
        for before in was.iter().filter(|it| !is.contains(it)) {
            match partner(before, was, is) {
                Some(after) => self.differ(&format!("{path}[{}]", name_of(before).unwrap_or_default()), before, &after),
                None => self.line('-', REMOVED, &format!("{path}: {}", pretty(before))),
            }
        }
        for after in is.iter().filter(|it| !was.contains(it)) {
            if partner(after, is, was).is_none() {
                self.line('+', ADDED, &format!("{path}: {}", pretty(after)));
            }
        }
    }

    fn line(&mut self, sign: char, style: Style, text: &str) {
        for line in text.lines() {
            self.text.push_str(&format!("{}{}\n", self.indent, painted(style, &format!("{sign} {line}"))));
        }
    }
}

fn name_of(value: &Value) -> Option<&str> {
    NAMES.iter().find_map(|it| value.get(it)?.as_str())
}

fn pretty(value: &Value) -> String {
    let line = value.to_string();
    if line.len() <= ONE_LINE { line } else { format!("{value:#}") }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(before: Value, after: Value, expected: Expect) {
        expected.assert_eq(&anstream::adapter::strip_str(&diff(&before, &after, "")).to_string());
    }

    #[test]
    fn scalars_change_come_and_go() {
        check(
            json!({"Status": "Suspended", "MFADelete": false, "Old": 1}),
            json!({"Status": "Enabled", "MFADelete": false, "New": [1]}),
            expect![[r#"
                  ~ Status: "Suspended" -> "Enabled"
                  - Old: 1
                  + New: 1
            "#]],
        );
    }

    #[test]
    fn what_was_not_there_comes() {
        check(
            Value::Null,
            json!({"Format": "CSV"}),
            expect![[r#"
                  + Format: "CSV"
            "#]],
        );
        check(json!({"a": 1}), json!({"a": 1}), expect![""]);
    }

    #[test]
    fn statements_are_told_apart_by_their_sid() {
        let deny = |value: &str| json!({"Sid": "DenyInsecureTransport", "Effect": "Deny", "Condition": {"Bool": {"aws:SecureTransport": value}}});
        let own = json!({"Sid": "Own", "Effect": "Allow"});
        let long = json!({"Sid": "DenyNotUsingKMS", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::acme-data/*"});
        check(
            json!({"Statement": [own, deny("true"), {"Effect": "Allow", "Action": "s3:*"}]}),
            json!({"Statement": [own, deny("false"), long]}),
            expect![[r#"
                  ~ Statement[DenyInsecureTransport].Condition.Bool.aws:SecureTransport: "true" -> "false"
                  - Statement: {"Effect":"Allow","Action":"s3:*"}
                  + Statement: {
                  +   "Sid": "DenyNotUsingKMS",
                  +   "Effect": "Deny",
                  +   "Principal": "*",
                  +   "Action": "s3:PutObject",
                  +   "Resource": "arn:aws:s3:::acme-data/*"
                  + }
            "#]],
        );
    }

    #[test]
    fn two_of_one_name_are_not_paired() {
        check(
            json!([{"Sid": "A", "n": 1}, {"Sid": "A", "n": 2}]),
            json!([{"Sid": "A", "n": 3}]),
            expect![[r#"
                  - : {"Sid":"A","n":1}
                  - : {"Sid":"A","n":2}
                  + : {"Sid":"A","n":3}
            "#]],
        );
    }
}
