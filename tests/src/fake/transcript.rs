//! What a function did, as a text: what it read, what it wrote, what people were told, and what it answered.

use std::collections::BTreeMap;

use guardrail_core::control::table::Control;
use serde_json::Value;

use crate::fake::FakeAws;

impl FakeAws {
    /// Lets `guardrail-remediate` answer one input, and shows what it did.
    pub async fn transcript(&self, input: Value) -> String {
        self.forget();
        let answer = self.remediate(input).await;
        let mut text = String::new();
        let mut line = |label: &str, what: &str| {
            text.push_str(format!("{label:<7}{what}").trim_end());
            text.push('\n');
        };
        line("reads", &listed(together(self.reads()).into_iter()));
        line("writes", &listed(self.writes().into_iter()));
        for (alert, message) in self.alerts().iter().zip(&self.state().published) {
            line("told", &format!("{} {}", said(&alert["severity"]), timeless(&message["Subject"])));
        }
        match answer {
            Ok(answer) => line("answer", &in_words(&answer)),
            Err(error) => line("error", &error),
        }
        text
    }
}

/// Calls and how often they were made; those that read a whole part together under its name.
fn together(calls: Vec<String>) -> Vec<String> {
    let mut left = BTreeMap::new();
    for call in calls {
        *left.entry(call).or_insert(0_usize) += 1;
    }
    let parts = [
        ("the whole bucket", Control::OF_BUCKET.as_slice()),
        ("its key", &[Control::KmsKey]),
        ("its trail", &[Control::Trail]),
    ];
    let mut said = Vec::new();
    for (part, controls) in parts {
        let reads = || controls.iter().flat_map(|it| it.vocabulary().reads()).map(|it| it.api);
        let times = reads().map(|it| left.get(it).copied().unwrap_or_default()).min().unwrap_or_default();
        reads().for_each(|it| *left.entry(it.to_owned()).or_default() -= times);
        said.push((part.to_owned(), times));
    }
    said.extend(left);
    let said = said.into_iter().filter(|(_, times)| *times > 0);
    said.map(|(what, times)| if times == 1 { what } else { format!("{what} ×{times}") }).collect()
}

/// Names, in lines that are read without scrolling.
fn listed(names: impl Iterator<Item = String>) -> String {
    const WIDTH: usize = 100;
    let (mut text, mut width) = (String::new(), 0);
    for name in names {
        if width + name.len() > WIDTH {
            text.push_str(",\n       ");
            width = 0;
        } else if width > 0 {
            text.push_str(", ");
        }
        width += name.len() + 2;
        text.push_str(&name);
    }
    if text.is_empty() { "nothing".to_owned() } else { text }
}

/// How long ago a sample's call was is another time at each run.
fn timeless(subject: &str) -> String {
    match subject.split_once("within ") {
        Some((before, after)) => {
            format!("{before}within some{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        None => subject.to_owned(),
    }
}

fn said(value: &Value) -> &str {
    value.as_str().unwrap_or("nothing")
}

/// The outcome, and that of each finding.
fn in_words(answer: &Value) -> String {
    if let Some(buckets) = answer["buckets"].as_array() {
        return buckets
            .iter()
            .map(|it| format!("{} {}", said(&it["bucket"]), in_words(it)))
            .collect::<Vec<_>>()
            .join("; ");
    }
    if answer["outcome"].is_null() {
        return answer.to_string();
    }
    let findings = answer["findings"].as_array().into_iter().flatten();
    let findings: Vec<_> = findings
        .map(|it| {
            let what = if it["control"].is_null() { &it["part"] } else { &it["control"] };
            format!("{} {}", said(what), said(&it["outcome"]))
        })
        .collect();
    let outcome = said(&answer["outcome"]);
    if findings.is_empty() { outcome.to_owned() } else { format!("{outcome}: {}", findings.join(", ")) }
}
