//! The one place that writes: the answer to the standard output, problems to the standard error.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use guardrail_core::{
    decide::adoption::Adoption,
    outcome::{
        finding::{Finding, Left, Outcome},
        report::{BucketOutcome, Report},
    },
};
use serde::Serialize;

use crate::diff::{CHANGED, REMOVED, diff, painted};

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIMMED: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();

/// Writes text; colours are dropped where they are not wanted.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Asks at the terminal, and says whether `wanted` was typed.
pub(crate) fn confirmed(question: &str, wanted: &str) -> io::Result<bool> {
    let mut prompt = anstream::stderr().lock();
    write!(prompt, "{question}")?;
    prompt.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == wanted)
}

/// A value as JSON, as people read it.
pub(crate) fn json(value: &impl Serialize) -> io::Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// Writes one line about a problem. There is nobody left to tell if that fails.
pub(crate) fn complain(label: &str, text: &str) {
    let style = REMOVED.bold();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let _ = writeln!(anstream::stderr().lock(), "{style}{label}:{style:#} {text}");
}

/// A report as a person reads it. `note`: what to know before reading on.
pub(crate) fn report(report: &Report, note: &str) -> String {
    let mut text = format!("{}{}\n", painted(BOLD, &report.bucket), painted(DIMMED, note));
    for finding in &report.findings {
        text.push_str(&self::finding(finding));
    }
    for hindrance in &report.hindrances {
        text.push_str(&format!("  {}\n", painted(REMOVED, &format!("! {hindrance}"))));
    }
    for exposure in &report.exposures {
        text.push_str(&format!("  {}\n", painted(CHANGED, &format!("! {}", exposure.detail))));
    }
    text.push_str(&format!("  {}\n", verdict(report)));
    text
}

fn finding(finding: &Finding) -> String {
    let control = finding.control;
    let error = finding.error.as_deref().unwrap_or_default();
    let (style, headline) = match (finding.outcome, &finding.left) {
        (Outcome::WouldRestore, _) if error.is_empty() => (CHANGED, format!("~ {control}")),
        (Outcome::WouldRestore, _) => (REMOVED, format!("! {control}: the restore would be refused: {error}")),
        (Outcome::Restored, _) => (GOOD, format!("~ {control}: restored")),
        (Outcome::Exempt, Some(Left::Exempt(it))) => {
            (DIMMED, format!("  {control}: exempt until {} ({})", it.until, it.reason))
        }
        (Outcome::Exempt, _) => (DIMMED, format!("  {control}: exempt")),
        (Outcome::Failed, _) => (REMOVED, format!("! {control}: NOT restored: {error}")),
        (Outcome::Unreadable, _) => (REMOVED, format!("! {control}: could not be read: {error}")),
        (Outcome::Unstable, _) => (REMOVED, format!("! {control}: drifted again right after it was restored")),
    };
    let note = finding.note.as_ref().map(|it| format!("      {it}\n")).unwrap_or_default();
    format!("  {}\n{note}{}", painted(style, &headline), diff(&finding.observed, &finding.desired, "      "))
}

/// What a bootstrap would break, or be refused; empty when it is neither.
pub(crate) fn adoption(adoption: &Adoption) -> String {
    let mut text = String::new();
    for loss in &adoption.losses {
        let (style, accepted) = if loss.accepted { (CHANGED, "accepted: ") } else { (REMOVED, "") };
        text.push_str(&format!("  {}\n", painted(style, &format!("! {accepted}{loss}"))));
    }
    for refusal in &adoption.refusals {
        text.push_str(&format!("  {}\n", painted(REMOVED, &format!("! would be refused: {refusal}"))));
    }
    if adoption.stops() {
        let names = adoption.unaccepted().join(",");
        let way = if names.is_empty() { String::new() } else { format!(", or accept what is meant: --accept {names}") };
        text.push_str(&format!("  {}\n", painted(BOLD, &format!("bootstrap would stop: mend that first{way}"))));
    }
    text
}

fn verdict(report: &Report) -> String {
    let count = |outcome| report.findings.iter().filter(|it| it.outcome == outcome).count();
    let mut parts = Vec::new();
    for (outcome, what) in [
        (Outcome::WouldRestore, "to restore"),
        (Outcome::Restored, "restored"),
        (Outcome::Exempt, "exempt"),
        (Outcome::Failed, "NOT restored"),
        (Outcome::Unreadable, "unreadable"),
        (Outcome::Unstable, "unstable"),
    ] {
        match count(outcome) {
            0 => {}
            1 => parts.push(format!("1 control {what}")),
            n => parts.push(format!("{n} controls {what}")),
        }
    }
    for (count, what) in [(report.hindrances.len(), "hindrance"), (report.exposures.len(), "exposure")] {
        match count {
            0 => {}
            1 => parts.push(format!("1 {what}")),
            n => parts.push(format!("{n} {what}s")),
        }
    }
    match report.outcome {
        BucketOutcome::Compliant if parts.is_empty() => painted(GOOD, "compliant, nothing to restore"),
        BucketOutcome::Compliant => painted(GOOD, &format!("compliant, nothing to restore; {}", parts.join(", "))),
        BucketOutcome::Gone => painted(REMOVED, "the bucket does not exist"),
        // Of the bucket itself; something around it is missing.
        _ if parts.is_empty() => painted(GOOD, "nothing to restore in the bucket itself"),
        _ => painted(BOLD, &parts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use guardrail_core::{
        control::table::Control,
        outcome::{
            exemption::Exemption,
            report::{Calls, Reconciled},
        },
    };
    use serde_json::{Value, json};

    use super::*;

    fn finding(control: Control, outcome: Outcome) -> Finding {
        Finding::new(control, outcome, (json!({"Status": "Suspended"}), json!({"Status": "Enabled"})))
    }

    #[test]
    fn a_report_shows_before_and_after() {
        let exemption = Exemption {
            control: Control::Lifecycle,
            until: "2027-02-01T00:00:00Z".parse().unwrap(),
            reason: "migration".to_owned(),
            approved_by: String::new(),
        };
        let findings = vec![
            finding(Control::Versioning, Outcome::WouldRestore),
            Finding { left: Some(Left::Exempt(exemption)), ..finding(Control::Lifecycle, Outcome::Exempt) },
            Finding {
                observed: Value::Null,
                desired: Value::Null,
                error: Some("GetBucketPolicy: AccessDenied".to_owned()),
                ..finding(Control::BucketPolicy, Outcome::Unreadable)
            },
        ];
        let reconciled = Reconciled::Bucket {
            findings,
            hindrances: Vec::new(),
            exposures: Vec::new(),
            restores: [].into(),
            read: Vec::new(),
        };
        let report = Report::from_reconciled(&"acme-data".parse().unwrap(), reconciled, &Calls::default());
        let text = self::report(&report, "  baseline: --key-arn");
        expect![[r#"
            acme-data  baseline: --key-arn
              ~ versioning
                  ~ Status: "Suspended" -> "Enabled"
                lifecycle: exempt until 2027-02-01T00:00:00Z (migration)
                  ~ Status: "Suspended" -> "Enabled"
              ! bucket-policy: could not be read: GetBucketPolicy: AccessDenied
              1 control to restore, 1 control exempt, 1 control unreadable
        "#]]
        .assert_eq(&anstream::adapter::strip_str(&text).to_string());
    }
}
