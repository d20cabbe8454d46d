//! Two JSON values as lines of what goes, comes and changes. Pure.

use anstyle::{AnsiColor, Style};
use guardrail_core::tell::difference::{Depth, Difference, differences};
use serde_json::Value;

pub(crate) const REMOVED: Style = AnsiColor::Red.on_default();
pub(crate) const ADDED: Style = AnsiColor::Green.on_default();
pub(crate) const CHANGED: Style = AnsiColor::Yellow.on_default();

/// How long a value may be to stand on one line.
const ONE_LINE: usize = 100;

/// What differs, as text with colours; each line begins with `indent`.
pub(crate) fn diff(before: &Value, after: &Value, indent: &str) -> String {
    let mut text = String::new();
    for difference in differences(before, after, Depth::Elements) {
        let (sign, style, shown) = match difference {
            Difference::Changed { path, before: Value::Null, after: new } | Difference::New { path, element: new } => {
                ('+', ADDED, format!("{path}: {}", pretty(&new)))
            }
            Difference::Changed { path, before: gone, after: Value::Null }
            | Difference::Gone { path, element: gone } => ('-', REMOVED, format!("{path}: {}", pretty(&gone))),
            Difference::Changed { path, before, after } => ('~', CHANGED, format!("{path}: {before} -> {after}")),
        };
        for line in shown.lines() {
            text.push_str(&format!("{indent}{}\n", painted(style, &format!("{sign} {line}"))));
        }
    }
    text
}

/// A text in a style.
pub(crate) fn painted(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

fn pretty(value: &Value) -> String {
    let line = value.to_string();
    if line.len() <= ONE_LINE { line } else { format!("{value:#}") }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

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
