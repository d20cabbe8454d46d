//! One sentence: what happened, who did it, what was done.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::json;

use crate::{
    control::table,
    outcome::{
        exposure::ExposureKind,
        finding::{Finding, Left, Outcome},
        report::{BucketOutcome, Report},
        trigger::Trigger,
    },
    value::caller,
};

/// Who made the call, as short as it is clear to somebody in the account `own`.
pub fn short_actor(trigger: &Trigger, own: &str) -> String {
    trigger.actor.as_deref().map_or("somebody".to_owned(), |it| caller::short(it, own))
}

/// The controls of these findings, or how many they are.
pub fn controls(findings: &[&Finding]) -> String {
    match findings {
        [] => "bucket".to_owned(),
        [one] => one.control.to_string(),
        [one, two] => format!("{} and {}", one.control, two.control),
        many => format!("{} controls", many.len()),
    }
}

/// The subject of the mail.
pub fn subject(report: &Report, own: &str) -> String {
    let tag = text_of(&report.outcome).to_ascii_uppercase();
    plain(&format!("[{tag}] {}: {}", report.bucket, headline(report, own)))
}

/// A subject as SNS takes it.
pub fn plain(subject: &str) -> String {
    let ascii: String = subject.chars().map(|c| if c.is_ascii() && !c.is_ascii_control() { c } else { '?' }).collect();
    // SNS wants less than 100 characters.
    if ascii.len() < 100 { ascii } else { format!("{}...", &ascii[..96]) }
}

/// One sentence: what happened, who did it, what was done. `own`: the account that it happened in.
pub fn headline(report: &Report, own: &str) -> String {
    let with = |wanted: &[Outcome]| -> Vec<&Finding> {
        report.findings.iter().filter(|it| wanted.contains(&it.outcome)).collect()
    };
    let told = match report.outcome {
        BucketOutcome::Restored => with(&[Outcome::Restored]),
        BucketOutcome::Failed => with(&[Outcome::Failed, Outcome::Unreadable, Outcome::Unstable]),
        _ => report.findings.iter().collect(),
    };
    let what = controls(&told);
    let caused = told.iter().all(|it| report.is_caused(it));
    let (cause, led_here) = match &report.trigger {
        Some(trigger) if caused => (format!("changed by {}", short_actor(trigger, own)), String::new()),
        Some(trigger) => {
            ("drifted".to_owned(), format!("; found on {} by {}", trigger.event_name, short_actor(trigger, own)))
        }
        None => ("drifted".to_owned(), String::new()),
    };
    match report.outcome {
        BucketOutcome::Restored => match report.drift_to_restored_ms.filter(|_| caused) {
            Some(ms) => format!("{what} {cause}, restored within {}{led_here}", whole_seconds(ms)),
            None => format!("{what} {cause}, restored{led_here}"),
        },
        BucketOutcome::Drifted if told.iter().all(|it| it.outcome == Outcome::Exempt) => {
            format!("{what} {cause}, left so: {}{led_here}", why_left(&told))
        }
        BucketOutcome::Drifted => format!("{what} {cause}, left so: observe mode{led_here}"),
        BucketOutcome::Failed if told.is_empty() => "not guarded, the registry cannot be used".to_owned(),
        BucketOutcome::Failed => {
            let all = |outcome| told.iter().all(|it| it.outcome == outcome);
            let problem = if all(Outcome::Unreadable) {
                "cannot be read"
            } else if all(Outcome::Unstable) {
                "does not stay restored"
            } else {
                "NOT restored"
            };
            format!("{what} {problem}; {cause}{led_here}")
        }
        BucketOutcome::Endangered if report.hindrances.is_empty() => exposed(report, own),
        BucketOutcome::Endangered => {
            let verb = if report.hindrances.iter().any(|it| it.certain) { "keeps" } else { "may keep" };
            let documents: BTreeSet<_> = report.hindrances.iter().map(|it| it.r#in.to_string()).collect();
            let documents = documents.into_iter().collect::<Vec<_>>().join(" and ");
            let by =
                report.trigger.as_ref().map(|it| format!("; found on {} by {}", it.event_name, short_actor(it, own)));
            format!("{documents} {verb} the guardrail from its work{}", by.unwrap_or_default())
        }
        BucketOutcome::Gone => match &report.trigger {
            Some(trigger) if trigger.event_name == "DeleteBucket" && trigger.error_code.is_none() => {
                format!("the guarded bucket was deleted by {}", short_actor(trigger, own))
            }
            _ => "the guarded bucket does not exist".to_owned(),
        },
        BucketOutcome::Compliant | BucketOutcome::Unguarded => match &report.trigger {
            Some(trigger) if table::owners_setting(&trigger.event_name).is_some() => {
                format!("{} by {}, the owner's to undo", trigger.event_name, short_actor(trigger, own))
            }
            Some(trigger) => format!("{} by {}, nothing to restore", trigger.event_name, short_actor(trigger, own)),
            None => "nothing to restore".to_owned(),
        },
    }
}

/// What of the owner's opens or destroys, and by whose call.
fn exposed(report: &Report, own: &str) -> String {
    let has = |kind| report.exposures.iter().any(|it| it.kind == kind);
    let mut what = Vec::new();
    if has(ExposureKind::ForeignAccess) {
        what.push("open to others than this account");
    }
    if has(ExposureKind::EarlyDeletion) {
        what.push("set to delete early");
    }
    let by = report.trigger.as_ref().map(|it| format!(" by {}", short_actor(it, own))).unwrap_or_default();
    format!("{}{by}, left so", what.join(" and "))
}

/// Why drift was left.
fn why_left(findings: &[&Finding]) -> &'static str {
    let is_enforced = |it: &&Finding| it.left == Some(Left::EnforcedAbove);
    if findings.iter().all(is_enforced) { "enforced by the account" } else { "exempt" }
}

/// Rounded up: CloudTrail cuts the time of a call to the second.
fn whole_seconds(ms: u64) -> String {
    format!("{} s", ms.div_ceil(1000).max(1))
}

/// What the call that led here has changed of what belongs to the bucket's owner.
pub fn owners_setting(report: &Report) -> Option<&'static str> {
    let trigger = report.trigger.as_ref().filter(|it| it.error_code.is_none())?;
    table::owners_setting(&trigger.event_name)
}

/// The JSON text of a value that is a string in JSON.
pub fn text_of(value: &impl Serialize) -> String {
    json!(value).as_str().unwrap_or_default().to_owned()
}
