//! What people and machines are told: one SNS message per reconcile that found anything.

use std::{collections::BTreeSet, fmt::Write as _};

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    control::table::{self, is_told},
    edge::config::Place,
    outcome::{
        exposure::Exposure,
        finding::{Finding, Left, Outcome},
        ledger::{Fact, FactKind},
        report::{Asked, BucketOutcome, Report},
        swap::Swap,
        trigger::Trigger,
        watched::{PartFinding, PartOutcome, WatchOutcome, Watched},
    },
    tell::{
        advice::{advice, watch_advice},
        difference::{Depth, Difference, differences},
        subject::{
            controls, first, headline, in_short, mark, marked, owners_setting, plain, short_actor, subject, tag,
            text_of,
        },
    },
    value::{caller, names::BucketName, subject::Subject},
};

/// The version of the machine-readable part.
pub const SCHEMA: &str = "s3-guardrail/1";

/// SNS allows 256 KiB for all of a message; the attributes need some of it.
/// <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>
const MAX_MESSAGE_BYTES: usize = 250_000;

/// Of the rest, what names of buckets may take, so that a filter policy knows them.
const MAX_BUCKETS_BYTES: usize = 8_000;

/// How much of a before or an after a message holds, in bytes of JSON; the smaller ones when it would be too long.
const VALUE_LIMITS: [usize; 4] = [64 * 1024, 16 * 1024, 4 * 1024, 512];

/// How loudly people are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Severity {
    Info,
    Warning,
    Critical,
}

/// A message, ready to be published.
#[derive(Debug)]
pub struct Alert {
    /// At most 100 ASCII characters.
    pub subject: String,
    /// The JSON of `MessageStructure=json`: `default` for machines, `email` for people.
    pub message: String,
    /// For filter policies: name, type, value.
    pub attributes: Vec<(&'static str, &'static str, String)>,
}

/// The message about a report; `None` when there is nothing to tell. `swept`: nobody's call led here, but the schedule.
pub fn alert(report: &Report, place: Place<'_>, swept: bool) -> Option<Alert> {
    if report.dry_run {
        return None;
    }
    let severity = severity(report, swept).max(report.facts.iter().map(loudness).max())?;
    let subject = subject(report, place.account);
    let message = VALUE_LIMITS
        .into_iter()
        .map(|limit| message(report, severity, place, limit))
        .find(|it| it.len() <= MAX_MESSAGE_BYTES)
        .unwrap_or_else(|| json!({"default": subject}).to_string());
    let mut attributes = vec![
        ("severity", "String", text_of(&severity)),
        ("outcome", "String", text_of(&report.outcome)),
        bucket_attribute(report),
        ("account", "String", place.account.to_owned()),
        ("region", "String", place.region.to_owned()),
        ("schema", "String", SCHEMA.to_owned()),
    ];
    if !report.findings.is_empty() {
        let controls: Vec<_> = report.findings.iter().map(|it| it.control).collect();
        attributes.push(("control", "String.Array", json!(controls).to_string()));
    }
    Some(Alert { subject, message, attributes })
}

/// The bucket, or those that lean on the same, as far as SNS has room for.
fn bucket_attribute(report: &Report) -> (&'static str, &'static str, String) {
    if report.buckets.len() < 2 {
        return ("bucket", "String", report.bucket.clone());
    }
    let mut room = MAX_BUCKETS_BYTES;
    let named = report.buckets.iter().take_while(|it| {
        room = room.saturating_sub(it.as_str().len() + 3);
        room > 0
    });
    ("bucket", "String.Array", json!(named.collect::<Vec<_>>()).to_string())
}

/// The message about something that happened to the guardrail itself.
pub fn watch_alert(watched: &Watched, place: Place<'_>) -> Alert {
    let own = match watched.outcome {
        WatchOutcome::Whole => Severity::Info,
        WatchOutcome::Attempted => Severity::Warning,
        WatchOutcome::Tampered | WatchOutcome::Broken | WatchOutcome::Unguarded => Severity::Critical,
    };
    let severity = watched.facts.iter().map(loudness).max().map_or(own, |it| it.max(own));
    let headline = watch_headline(watched, place.account);
    // Without news of its own, it is about what is known longer.
    let fact = first(&watched.facts).filter(|_| watched.trigger.is_none() && watched.findings.is_empty());
    let tag = fact.map_or_else(|| text_of(&watched.outcome).to_ascii_uppercase(), |it| tag(it.kind));
    let mut machine = json!({"schema": SCHEMA, "severity": severity, "account": place.account, "region": place.region});
    if let (Some(machine), Value::Object(watched)) = (machine.as_object_mut(), json!(watched)) {
        machine.extend(watched);
    }
    machine["notified"] = json!(true);
    let mut text = format!("The guardrail itself: {headline}.\n\n");
    who_and_where(&mut text, watched.trigger.as_ref(), place);
    text.push_str(&others_of(watched.incident.as_deref()));
    for PartFinding { part, outcome, problem } in &watched.findings {
        let outcome = match outcome {
            PartOutcome::Restored => "put back",
            PartOutcome::Broken => "NOT put back, that is yours to do",
            PartOutcome::Failed => "could NOT be put back",
            PartOutcome::Unreadable => "could not be read, so nobody knows",
        };
        let _ = write!(text, "\n{part}: {outcome}\n    {}\n", cut(problem, 2000));
    }
    facts_and_ledger(&mut text, &watched.facts, watched.ledger_error.as_deref(), place.account);
    let _ = write!(text, "\nWhat to do now\n  {}\n", watch_advice(watched));
    let found = watched.findings.iter().map(|it| &it.part).chain(watched.facts.iter().map(|it| &it.about));
    let parts: BTreeSet<_> = watched.part.iter().chain(found).take(MAX_NAMED).collect();
    let mut attributes = vec![
        ("severity", "String", text_of(&severity)),
        ("outcome", "String", text_of(&watched.outcome)),
        ("account", "String", place.account.to_owned()),
        ("region", "String", place.region.to_owned()),
        ("schema", "String", SCHEMA.to_owned()),
    ];
    if !parts.is_empty() {
        attributes.push(("part", "String.Array", json!(parts).to_string()));
    }
    Alert {
        subject: marked(&format!("[{tag}] s3-guardrail: {headline}"), watched.incident.as_deref()),
        message: json!({"default": machine.to_string(), "email": text}).to_string(),
        attributes,
    }
}

/// The message about what a request exchanges for a guarded bucket.
pub fn swap_alert(bucket: &BucketName, swapped: &[Swap], asked: &Asked, place: Place<'_>) -> Alert {
    const OUTCOME: &str = "swapped";
    let severity = Severity::Warning;
    let fields = swapped.iter().map(|it| it.field).collect::<Vec<_>>().join(", ");
    let by = asked.by.as_deref().map(|it| format!(" by {}", caller::short(it, place.account))).unwrap_or_default();
    let headline = format!("{fields} exchanged with {}{by}", asked.what.as_str());
    let machine = json!({
        "schema": SCHEMA, "severity": severity, "account": place.account, "region": place.region,
        "bucket": bucket, "outcome": OUTCOME, "asked": asked, "swapped": swapped, "notified": true,
    });
    let mut text = format!("{bucket}: {headline}.\n\n");
    let _ = writeln!(text, "{:<8}{}", "Who", asked.by.as_deref().unwrap_or("whoever invoked guardrail-bootstrap"));
    who_and_where(&mut text, None, place);
    for Swap { field, from, to } in swapped {
        let _ = write!(text, "\n{field}\n    {from} -> {}\n", to.as_deref().unwrap_or("none"));
    }
    text.push_str(
        "\nWhat to do now\n  If this was meant, nothing: the earlier ones are left as they are, and objects that a key \
         encrypted still need it.\n  If not, take the caller's rights away, then run bootstrap with the earlier values.\n",
    );
    Alert {
        subject: plain(&format!("[SWAPPED] {bucket}: {headline}")),
        message: json!({"default": machine.to_string(), "email": text}).to_string(),
        attributes: vec![
            ("severity", "String", text_of(&severity)),
            ("outcome", "String", OUTCOME.to_owned()),
            ("bucket", "String", bucket.to_string()),
            ("account", "String", place.account.to_owned()),
            ("region", "String", place.region.to_owned()),
            ("schema", "String", SCHEMA.to_owned()),
        ],
    }
}

fn watch_headline(watched: &Watched, own: &str) -> String {
    let parts = |outcome| watched.findings.iter().filter(|it| it.outcome == outcome).count();
    let left = watched.findings.len() - parts(PartOutcome::Restored);
    let part = watched.part.as_deref().unwrap_or("something unnamed");
    let Some(trigger) = &watched.trigger else {
        if let Some(facts) = in_short(&watched.facts).filter(|_| watched.findings.is_empty()) {
            return facts;
        }
        return match (watched.findings.as_slice(), left) {
            ([one], 0) => format!("{} was not as it should be, put back", one.part),
            ([one], _) => format!("{} is not as it should be", one.part),
            (many, 0) => format!("{} parts were not as they should be, put back", many.len()),
            (many, left) => format!("{} parts are not as they should be, {left} of them still", many.len()),
        };
    };
    let (call, actor) = (&trigger.event_name, short_actor(trigger, own));
    let done = match (&watched.outcome, watched.findings.len(), left) {
        (WatchOutcome::Attempted, ..) => ", and failed",
        (_, 0, _) => "",
        (_, _, 0) => ", undone",
        _ => ", NOT all undone",
    };
    format!("{call} on {part} by {actor}{done}")
}

/// How loudly people are told a fact.
fn loudness(fact: &Fact) -> Severity {
    match fact.kind {
        FactKind::Cleared => Severity::Info,
        _ if fact.critical => Severity::Critical,
        _ => Severity::Warning,
    }
}

fn severity(report: &Report, swept: bool) -> Option<Severity> {
    let only_exempt = report.findings.iter().all(|it| it.outcome == Outcome::Exempt);
    // What a call opened. What was open before is its owner's, and not told again at every look.
    let opened = !swept && report.trigger.is_some() && report.exposures.iter().any(Exposure::is_critical);
    if opened || report.hindrances.iter().any(|it| it.certain) {
        return Some(Severity::Critical);
    }
    match report.outcome {
        BucketOutcome::Failed | BucketOutcome::Gone => Some(Severity::Critical),
        // The sweep comes by every few minutes; an exemption was told when it was used.
        BucketOutcome::Drifted if only_exempt => (!swept).then_some(Severity::Info),
        BucketOutcome::Restored | BucketOutcome::Drifted => Some(Severity::Warning),
        // It may be meant, and was told when it was written.
        BucketOutcome::Endangered => {
            let told = report.trigger.is_some() || !report.hindrances.is_empty();
            (told && !swept).then_some(Severity::Warning)
        }
        BucketOutcome::Compliant => {
            let trigger = report.trigger.as_ref()?;
            if !is_told(&trigger.event_name) || trigger.error_code.is_some() {
                return None;
            }
            Some(if table::owners_setting(&trigger.event_name).is_some() { Severity::Warning } else { Severity::Info })
        }
        BucketOutcome::Unguarded => None,
    }
}

/// The message: the text for people, then the report for machines.
pub fn message(report: &Report, severity: Severity, place: Place<'_>, limit: usize) -> String {
    let machine = machine(report, severity, place, limit);
    let email = email(report, place, limit);
    json!({"default": machine.to_string(), "email": email}).to_string()
}

/// How many statements and rules beside drift one message names.
const MAX_NAMED: usize = 20;

/// How many buckets that lean on the same.
const MAX_BUCKETS: usize = 200;

/// How many calls beside the first.
const MAX_CALLS: usize = 10;

/// How many are left unnamed.
fn more(all: usize) -> Option<usize> {
    all.checked_sub(MAX_NAMED).filter(|it| *it > 0)
}

/// The report as JSON, with long values cut and marked as cut.
fn machine(report: &Report, severity: Severity, place: Place<'_>, limit: usize) -> Value {
    let mut report = report.clone();
    // That a subscriber has it is the proof; what could not be sent says so in the invocation's error.
    report.notified = true;
    for hindrance in &mut report.hindrances {
        hindrance.statement = hindrance.statement.take().map(|it| cut(&it, 256));
    }
    let unnamed = [
        ("more_buckets", report.buckets.len().checked_sub(MAX_BUCKETS).filter(|it| *it > 0)),
        ("more_hindrances", more(report.hindrances.len())),
        ("more_exposures", more(report.exposures.len())),
    ];
    report.buckets.truncate(MAX_BUCKETS);
    report.hindrances.truncate(MAX_NAMED);
    report.exposures.truncate(MAX_NAMED);
    for finding in &mut report.findings {
        for value in [&mut finding.observed, &mut finding.desired] {
            let text = value.to_string();
            if text.len() > limit {
                *value = json!({"cut": true, "bytes": text.len(), "start": cut(&text, limit / 2)});
            }
        }
        finding.error = finding.error.take().map(|it| cut(&it, limit.min(2000)));
    }
    let mut machine = json!({
        "schema": SCHEMA,
        "severity": severity,
        "account": place.account,
        "region": place.region,
    });
    if let (Some(machine), Value::Object(report)) = (machine.as_object_mut(), json!(report)) {
        machine.extend(report);
        machine.extend(unnamed.into_iter().filter_map(|(name, more)| Some((name.to_owned(), json!(more?)))));
    }
    machine
}

/// What the call that led here has to do with the findings; `None` when it can have caused them all.
fn innocence(report: &Report) -> Option<String> {
    let trigger = report.trigger.as_ref()?;
    let (caused, others): (Vec<_>, Vec<_>) = report.findings.iter().partition(|it| !it.calls.is_empty());
    if others.is_empty() {
        return None;
    }
    Some(if trigger.error_code.is_some() {
        "This call failed and so changed nothing; it led here.".to_owned()
    } else if caused.is_empty() {
        "This call led here; it cannot have changed what is below.".to_owned()
    } else {
        format!("This call led here; it can have changed {}, but not {}.", controls(&caused), controls(&others))
    })
}

/// What a person reads at night.
fn email(report: &Report, place: Place<'_>, limit: usize) -> String {
    let mut text = format!("{}: {}.\n\n", report.name(), headline(report, place.account));
    who_and_where(&mut text, report.trigger.as_ref(), place);
    text.push_str(&leaning(report));
    text.push_str(&others_of(report.incident.as_deref()));
    text.push_str(&further_calls(report, place.account));
    if let Some(innocence) = innocence(report).filter(|_| report.calls.len() < 2) {
        let _ = write!(text, "\n{innocence}\n");
    }
    if let Some(setting) = owners_setting(report) {
        let _ = write!(text, "\nThe call decides {setting}.\n");
    }
    if report.missed_event {
        text.push_str("\nThe sweep found this. No event had told of it by then.\n");
    }
    if let Some(error) = &report.error {
        let _ = write!(text, "\n{}\n", cut(error, 4000));
    }
    for finding in &report.findings {
        let _ = write!(text, "\n{}: {}\n", finding.control, outcome_in_words(finding));
        if report.calls.len() > 1 {
            let call =
                finding.calls.first().map(|it| format!("{} by {}", it.event_name, short_actor(it, place.account)));
            let _ = writeln!(text, "    {}", call.as_deref().unwrap_or("no call seen yet that can have caused it"));
        }
        if let Some(error) = &finding.error {
            let _ = writeln!(text, "    {}", cut(error, limit.min(2000)));
        }
        if let Some(note) = &finding.note {
            let _ = writeln!(text, "    {note}");
        }
        if finding.outcome != Outcome::Unreadable {
            let mut room = limit;
            for difference in differences(&finding.observed, &finding.desired, Depth::Fields) {
                let difference = cut(&line(&difference), limit.min(2000));
                room = room.saturating_sub(difference.len());
                if room == 0 {
                    text.push_str("    ... and more, cut here; all of it is in the function's log at level DEBUG\n");
                    break;
                }
                let _ = writeln!(text, "    {difference}");
            }
        }
    }
    for hindrance in report.hindrances.iter().take(MAX_NAMED) {
        let _ = write!(text, "\n{}\n", cut(&hindrance.to_string(), 2000));
    }
    if let Some(more) = more(report.hindrances.len()) {
        let _ = write!(text, "\n... and {more} more like these\n");
    }
    for exposure in report.exposures.iter().take(MAX_NAMED) {
        let _ = write!(text, "\n{}: {}\n", exposure.kind, exposure.detail);
    }
    if let Some(more) = more(report.exposures.len()) {
        let _ = write!(text, "\n... and {more} more like these\n");
    }
    facts_and_ledger(&mut text, &report.facts, report.ledger_error.as_deref(), place.account);
    if let Some(record) = &report.record {
        let _ = write!(text, "\nRecord  {record}\n");
    }
    let _ = write!(text, "\nWhat to do now\n{}", advice(report));
    text
}

/// What is told beside a look's own findings, and that it may have been told before.
fn facts_and_ledger(text: &mut String, facts: &[Fact], ledger_error: Option<&str>, own: &str) {
    for fact in facts {
        let since = fact.since.map(|it| format!(" (since {})", it.strftime("%Y-%m-%d %H:%M UTC"))).unwrap_or_default();
        let _ = write!(text, "\n[{}] {}{since}\n", tag(fact.kind), fact.text);
        for call in fact.calls.iter().take(MAX_CALLS) {
            let from = call.source_ip.as_deref().map(|it| format!(" from {it}")).unwrap_or_default();
            let with = call.user_agent.as_deref().map(|it| format!(" with {it}")).unwrap_or_default();
            let _ = writeln!(text, "    {} by {}{from}{with}", call.event_name, short_actor(call, own));
        }
    }
    if let Some(error) = ledger_error {
        let _ =
            write!(text, "\nWhat was told before is not known, so this may be a repetition: {}\n", cut(error, 1000));
    }
}

fn who_and_where(text: &mut String, trigger: Option<&Trigger>, place: Place<'_>) {
    let mut line = |label: &str, value: &str| {
        let _ = writeln!(text, "{label:<8}{value}");
    };
    if let Some(trigger) = trigger {
        let failed = trigger.error_code.as_ref().map(|it| format!(" (the call failed: {it})")).unwrap_or_default();
        line("Call", &format!("{}{failed}", trigger.event_name));
        line("Who", trigger.actor.as_deref().unwrap_or("not said"));
        line("When", trigger.event_time.as_deref().unwrap_or("not said"));
        let agent = trigger.user_agent.as_deref().map(|it| format!(" with {it}")).unwrap_or_default();
        line("From", &format!("{}{agent}", trigger.source_ip.as_deref().unwrap_or("not said")));
        if let Some(message) = &trigger.error_message {
            line("Error", message);
        }
    }
    line("Where", &format!("account {}, {}", place.account, place.region));
    if let Some(event_id) = trigger.and_then(|it| it.event_id.as_deref()) {
        line("Event", &event_link(place, event_id));
    }
}

/// The buckets that lean on what was looked at, when they are several.
fn leaning(report: &Report) -> String {
    let (Some(subject), [_, _, ..]) = (&report.subject, report.buckets.as_slice()) else { return String::new() };
    let what = match subject {
        Subject::Key(key) => key.as_str(),
        Subject::Trail(trail) => trail.as_str(),
        Subject::Bucket(_) | Subject::Guardrail => return String::new(),
    };
    let named = report.buckets.iter().take(MAX_NAMED).map(BucketName::as_str).collect::<Vec<_>>().join(", ");
    let more = more(report.buckets.len()).map(|it| format!(" and {it} more")).unwrap_or_default();
    format!("{:<8}{what}\n{:<8}{named}{more}\n", "What", "Of")
}

/// How the other messages of an incident are found.
fn others_of(incident: Option<&str>) -> String {
    mark(incident).map(|it| format!("{:<8}{it} for all messages of this incident\n", "Search")).unwrap_or_default()
}

/// The calls beside the one that the message begins with, a line each.
fn further_calls(report: &Report, own: &str) -> String {
    let id = |it: &Trigger| it.event_id.clone();
    let shown = report.trigger.as_ref().and_then(id);
    let others: Vec<_> = report.calls.iter().filter(|it| shown.is_none() || id(it) != shown).collect();
    let mut text = String::new();
    for call in others.iter().take(MAX_CALLS) {
        let failed = call.error_code.as_ref().map(|it| format!(" (failed: {it})")).unwrap_or_default();
        let (when, from) = (call.event_time.as_deref(), call.source_ip.as_deref());
        let (when, from) = (when.unwrap_or("at a time not said"), from.unwrap_or("an address not said"));
        let _ =
            writeln!(text, "And     {}{failed} by {}, {when}, from {from}", call.event_name, short_actor(call, own));
    }
    if let Some(more) = others.len().checked_sub(MAX_CALLS).filter(|it| *it > 0) {
        let _ = writeln!(text, "        ... and {more} calls more");
    }
    text
}

fn outcome_in_words(finding: &Finding) -> String {
    match (finding.outcome, &finding.left) {
        (Outcome::Restored, _) => "restored".to_owned(),
        (Outcome::WouldRestore, Some(Left::ForNow | Left::NotYet | Left::Braked(_))) => {
            "not as it should be; left for now".to_owned()
        }
        (Outcome::WouldRestore, Some(Left::Held)) => "not as it should be; left, as somebody fights over it".to_owned(),
        (Outcome::WouldRestore, _) => "not as it should be; observe mode, so nothing was written".to_owned(),
        (Outcome::Failed, _) => "NOT restored".to_owned(),
        (Outcome::Unreadable, _) => "could not be read, so nobody knows".to_owned(),
        (Outcome::Exempt, Some(Left::Exempt(it))) => format!(
            "exempt until {}, nothing was written (reason: {}; approved by: {})",
            it.until, it.reason, it.approved_by
        ),
        (Outcome::Exempt, _) => "not as it should be, and enforced all the same".to_owned(),
        (Outcome::Unstable, _) => "restored before, and drifted again at once; nothing more was written".to_owned(),
    }
}

/// CloudTrail's page of one event; each partition has a console of its own.
fn event_link(place: Place<'_>, event_id: &str) -> String {
    let domain = match place.partition {
        "aws-cn" => "console.amazonaws.cn",
        "aws-us-gov" => "console.amazonaws-us-gov.com",
        _ => "console.aws.amazon.com",
    };
    let region = place.region;
    format!("https://{region}.{domain}/cloudtrailv2/home?region={region}#/events/{event_id}")
}

/// A line: `path: before -> after`, or `path: - gone` and `path: + new` for elements of lists.
fn line(difference: &Difference) -> String {
    match difference {
        Difference::Changed { path, before, after } => format!("{path}: {before} -> {after}"),
        Difference::Gone { path, element } => format!("{path}: - {element}"),
        Difference::New { path, element } => format!("{path}: + {element}"),
    }
}

/// The beginning of a text, marked when it is not all.
fn cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = (0..=bytes).rev().find(|it| text.is_char_boundary(*it)).unwrap_or(0);
    format!("{}... (cut, {} bytes in all)", &text[..end], text.len())
}

#[cfg(test)]
mod tests {
    use crate::control::table::Control;
    use expect_test::expect;

    use super::*;
    use crate::outcome::{
        exemption::Exemption,
        exposure::{Answer, ExposureKind},
        hindrance::{Document, Hindrance},
        report::Work,
    };

    const PLACE: Place<'_> = Place { partition: "aws", account: "111122223333", region: "eu-west-2" };

    fn trigger(event_name: &str) -> Trigger {
        Trigger {
            event_name: event_name.to_owned(),
            event_id: Some("0b4a7e2c-5f1d-4f0e-9d62-6a7f3d1c8e11".to_owned()),
            event_time: Some("2026-11-23T09:14:05Z".to_owned()),
            actor: Some("arn:aws:sts::111122223333:assumed-role/dev-ci/build-4711".to_owned()),
            source_ip: Some("203.0.113.17".to_owned()),
            user_agent: Some("[Terraform/1.13.4]".to_owned()),
            error_code: None,
            error_message: None,
        }
    }

    fn finding(control: Control, outcome: Outcome) -> Finding {
        let changed =
            (json!({"Status": "Suspended", "MFADelete": false}), json!({"Status": "Enabled", "MFADelete": false}));
        Finding::new(control, outcome, changed)
    }

    fn report(outcome: BucketOutcome, event_name: &str, findings: Vec<Finding>) -> Report {
        let report = Report { findings, ..Report::new("acme-data", outcome, None) };
        Report { drift_to_restored_ms: Some(1834), ..report.caused_by(&[trigger(event_name)]) }
    }

    /// The same, found on a call that failed.
    fn failed(report: Report) -> Report {
        let call = report.trigger.clone().unwrap();
        report.caused_by(&[Trigger { error_code: Some("AccessDenied".to_owned()), ..call }])
    }

    #[test]
    fn an_incident_of_several_calls_is_one_message_with_all_callers() {
        let call = |event_name: &str, user: &str| Trigger {
            actor: Some(format!("arn:aws:iam::111122223333:user/{user}")),
            event_id: Some(event_name.to_owned()),
            ..trigger(event_name)
        };
        let findings = [Control::BucketPolicy, Control::Versioning, Control::Lifecycle];
        let findings = findings.map(|it| finding(it, Outcome::Restored)).into();
        let report = report(BucketOutcome::Restored, "PutBucketPolicy", findings);
        let calls =
            [call("PutBucketVersioning", "ann"), call("PutBucketTagging", "ann"), call("PutBucketPolicy", "bob")];
        let mut report = report.caused_by(&calls);
        let alert = alert(&report, PLACE, false).unwrap();
        expect!["[RESTORED] acme-data: 3 controls drifted, restored; found on PutBucketVersioning by user/ann"]
            .assert_eq(&alert.subject);
        let message: Value = serde_json::from_str(&alert.message).unwrap();
        let machine: Value = serde_json::from_str(message["default"].as_str().unwrap()).unwrap();
        assert_eq!((&machine["calls_in_all"], &machine["findings"][2]["calls"]), (&json!(3), &json!([])));
        assert_eq!(machine["findings"][0]["calls"][0]["event_name"], "PutBucketPolicy");
        let email = message["email"].as_str().unwrap();
        expect![[r#"
            acme-data: 3 controls drifted, restored; found on PutBucketVersioning by user/ann.

            Call    PutBucketVersioning
            Who     arn:aws:iam::111122223333:user/ann
            When    2026-11-23T09:14:05Z
            From    203.0.113.17 with [Terraform/1.13.4]
            Where   account 111122223333, eu-west-2
            Event   https://eu-west-2.console.aws.amazon.com/cloudtrailv2/home?region=eu-west-2#/events/PutBucketVersioning
            And     PutBucketTagging by user/ann, 2026-11-23T09:14:05Z, from 203.0.113.17
            And     PutBucketPolicy by user/bob, 2026-11-23T09:14:05Z, from 203.0.113.17

            bucket-policy: restored
                PutBucketPolicy by user/bob
                Status: "Suspended" -> "Enabled"

            versioning: restored
                PutBucketVersioning by user/ann
                Status: "Suspended" -> "Enabled"

            lifecycle: restored
                no call seen yet that can have caused it
                Status: "Suspended" -> "Enabled"

        "#]].assert_eq(&email[..email.find("What to do now").unwrap()]);
        report.findings.pop();
        expect!["[RESTORED] acme-data: bucket-policy and versioning changed by user/ann and others, restored with..."]
            .assert_eq(&subject_of(&report));
    }

    fn subject_of(report: &Report) -> String {
        alert(report, PLACE, false).unwrap().subject
    }

    #[test]
    fn a_person_reads_what_happened_and_what_to_do() {
        let findings = vec![finding(Control::Versioning, Outcome::Restored)];
        let record = "s3://acme-data-logs/s3-guardrail/history/acme-data/2026/11/23/091407.123Z-0b4a7e2c.json";
        let report =
            Report { record: record.parse().ok(), ..report(BucketOutcome::Restored, "PutBucketVersioning", findings) };
        let alert = alert(&report, PLACE, false).unwrap();
        let message: Value = serde_json::from_str(&alert.message).unwrap();
        expect!["[RESTORED] acme-data: versioning changed by role/dev-ci, restored within 2 s"]
            .assert_eq(&alert.subject);
        expect![[r#"
            acme-data: versioning changed by role/dev-ci, restored within 2 s.

            Call    PutBucketVersioning
            Who     arn:aws:sts::111122223333:assumed-role/dev-ci/build-4711
            When    2026-11-23T09:14:05Z
            From    203.0.113.17 with [Terraform/1.13.4]
            Where   account 111122223333, eu-west-2
            Event   https://eu-west-2.console.aws.amazon.com/cloudtrailv2/home?region=eu-west-2#/events/0b4a7e2c-5f1d-4f0e-9d62-6a7f3d1c8e11

            versioning: restored
                Status: "Suspended" -> "Enabled"

            Record  s3://acme-data-logs/s3-guardrail/history/acme-data/2026/11/23/091407.123Z-0b4a7e2c.json

            What to do now
              The settings shown as restored are in force again. If the change was meant, or if this broke an application: `guardrail rollback RECORD --until DATE --reason TEXT` exempts the bucket from it and puts the change back.
              The call came from infrastructure code: change the code, or its next run does this again.
              aws_s3_bucket_versioning: versioning_configuration { status = "Enabled" }
        "#]]
        .assert_eq(message["email"].as_str().unwrap());
        let machine: Value = serde_json::from_str(message["default"].as_str().unwrap()).unwrap();
        let names: Vec<_> = machine.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "schema",
                "severity",
                "account",
                "region",
                "bucket",
                "outcome",
                "dry_run",
                "trigger",
                "calls_in_all",
                "findings",
                "elapsed_ms",
                "drift_to_restored_ms",
                "notified",
                "record"
            ]
        );
        expect![[r#"[("severity", "String", "WARNING"), ("outcome", "String", "restored"), ("bucket", "String", "acme-data"), ("account", "String", "111122223333"), ("region", "String", "eu-west-2"), ("schema", "String", "s3-guardrail/1"), ("control", "String.Array", "[\"versioning\"]")]"#]]
            .assert_eq(&format!("{:?}", alert.attributes));
    }

    #[test]
    fn the_subject_does_not_blame_a_caller_for_what_another_did() {
        let two = vec![finding(Control::Versioning, Outcome::Restored), finding(Control::Lifecycle, Outcome::Restored)];
        expect!["[RESTORED] acme-data: versioning and lifecycle drifted, restored; found on PutBucketVersioning b..."]
            .assert_eq(&subject_of(&report(BucketOutcome::Restored, "PutBucketVersioning", two)));
        let failed_call = failed(report(
            BucketOutcome::Failed,
            "PutBucketVersioning",
            vec![finding(Control::Versioning, Outcome::Failed)],
        ));
        expect!["[FAILED] acme-data: versioning NOT restored; drifted; found on PutBucketVersioning by role/dev-ci"]
            .assert_eq(&subject_of(&failed_call));
    }

    #[test]
    fn a_subject_is_plain_and_short() {
        let mut report = report(BucketOutcome::Gone, "DeleteBucket", vec![]);
        report.bucket = "b".repeat(63);
        report.trigger.as_mut().unwrap().actor = Some("arn:aws:iam::111122223333:user/Zoë\r\nBcc: x".to_owned());
        let subject = subject_of(&report);
        assert!(subject.len() <= 100 && subject.is_ascii() && !subject.contains(['\r', '\n']), "{subject}");
        assert!(subject.starts_with("[GONE] bbb"), "{subject}");
    }

    #[test]
    fn a_call_that_failed_is_never_said_to_have_changed_anything() {
        for outcome in [BucketOutcome::Restored, BucketOutcome::Gone] {
            let findings = vec![finding(Control::Versioning, Outcome::Restored)];
            let event = if outcome == BucketOutcome::Gone { "DeleteBucket" } else { "PutBucketVersioning" };
            let subject = subject_of(&failed(report(outcome, event, findings)));
            assert!(!subject.contains("changed by") && !subject.contains("deleted by"), "{subject}");
        }
        let tags = failed(report(BucketOutcome::Compliant, "PutBucketTagging", vec![]));
        assert!(alert(&tags, PLACE, false).is_none());
    }

    #[test]
    fn the_longest_findings_of_all_controls_fit_and_are_marked_as_cut() {
        let long = |text: &str| json!({"Rules": vec![text.repeat(10_000); 8]});
        // What JSON in JSON makes longest.
        for text in ["\"", "\u{1}", "é", "x"] {
            let findings = Control::ALL.map(|control| Finding {
                observed: long(text),
                desired: long("y"),
                error: Some(text.repeat(100_000)),
                ..finding(control, Outcome::Failed)
            });
            let alert = alert(&report(BucketOutcome::Failed, "X", findings.into()), PLACE, false).unwrap();
            let attributes: usize =
                alert.attributes.iter().map(|(name, kind, value)| name.len() + kind.len() + value.len()).sum();
            assert!(alert.message.len() + attributes <= 256 * 1024, "{}", alert.message.len());
            let message: Value = serde_json::from_str(&alert.message).unwrap();
            assert!(message["email"].as_str().unwrap().contains("cut"));
            let machine: Value = serde_json::from_str(message["default"].as_str().unwrap()).unwrap();
            assert_eq!((&machine["schema"], &machine["notified"]), (&json!(SCHEMA), &json!(true)));
            let findings = machine["findings"].as_array().unwrap();
            assert!(findings.len() == Control::ALL.len() && findings.iter().all(|it| it["observed"]["cut"] == true));
        }
    }

    #[test]
    fn the_link_is_of_the_partitions_own_console() {
        for (partition, region, link) in [
            ("aws", "eu-west-2", "https://eu-west-2.console.aws.amazon.com/"),
            ("aws-cn", "cn-north-1", "https://cn-north-1.console.amazonaws.cn/"),
            ("aws-us-gov", "us-gov-west-1", "https://us-gov-west-1.console.amazonaws-us-gov.com/"),
        ] {
            let place = Place { partition, region, ..PLACE };
            assert!(event_link(place, "id").starts_with(link));
        }
    }

    #[test]
    fn severity_follows_the_worst() {
        let severity_of = |report: &Report| alert(report, PLACE, false).map(|it| it.attributes[0].2.clone());
        let with = |outcome, finding_outcome| {
            report(outcome, "PutBucketVersioning", vec![finding(Control::Versioning, finding_outcome)])
        };
        for (report, severity) in [
            (with(BucketOutcome::Restored, Outcome::Restored), Some("WARNING")),
            (with(BucketOutcome::Drifted, Outcome::WouldRestore), Some("WARNING")),
            (with(BucketOutcome::Drifted, Outcome::Exempt), Some("INFO")),
            (with(BucketOutcome::Failed, Outcome::Unstable), Some("CRITICAL")),
            (with(BucketOutcome::Failed, Outcome::Unreadable), Some("CRITICAL")),
            (report(BucketOutcome::Gone, "DeleteBucket", vec![]), Some("CRITICAL")),
            (report(BucketOutcome::Compliant, "PutBucketTagging", vec![]), Some("INFO")),
            (report(BucketOutcome::Compliant, "PutBucketPolicy", vec![]), None),
            (report(BucketOutcome::Unguarded, "CreateBucket", vec![]), None),
            (Report { dry_run: true, ..with(BucketOutcome::Drifted, Outcome::WouldRestore) }, None),
        ] {
            assert_eq!(severity_of(&report).as_deref(), severity, "{report:?}");
        }
        assert!(alert(&with(BucketOutcome::Drifted, Outcome::Exempt), PLACE, true).is_none(), "not at every sweep");
    }

    #[test]
    fn differences_are_shown_a_line_each() {
        let before = json!({"a": 1, "list": [1, 2], "same": 0});
        let after = json!({"a": null, "list": [2, 3], "same": 0, "new": {"b": true}});
        let differences = differences(&before, &after, Depth::Fields);
        assert_eq!(
            differences.iter().map(line).collect::<Vec<_>>(),
            ["a: 1 -> null", "list: - 1", "list: + 3", "new.b: null -> true"]
        );
    }

    fn email_of(report: &Report) -> String {
        let message: Value = serde_json::from_str(&alert(report, PLACE, false).unwrap().message).unwrap();
        message["email"].as_str().unwrap().to_owned()
    }

    fn hindrance(certain: bool) -> Hindrance {
        Hindrance {
            r#in: Document::BucketPolicy,
            statement: Some("s".repeat(300)),
            named: Some("statement `X`".to_owned()),
            actions: vec!["s3:PutBucketPolicy"],
            service: None,
            certain,
        }
    }

    fn exposure(answer: Option<Answer>) -> Exposure {
        Exposure {
            kind: ExposureKind::ForeignAccess,
            control: Control::BucketPolicy,
            answer,
            id: "id".to_owned(),
            detail: "statement `X` lets anybody in".to_owned(),
        }
    }

    #[test]
    fn what_endangers_is_as_loud_as_it_is_certain_and_new() {
        let endangered = |hindrances, exposures, by_call: bool| {
            let mut report = report(BucketOutcome::Endangered, "PutBucketPolicy", vec![]);
            report.trigger.take_if(|_| !by_call);
            Report { hindrances, exposures, ..report }
        };
        let foreign = || vec![exposure(Some(Answer::Foreign))];
        let unknown = || vec![exposure(Some(Answer::CannotTell))];
        for (report, told, swept) in [
            (endangered(vec![hindrance(true)], vec![], false), Some(Severity::Critical), Some(Severity::Critical)),
            (endangered(vec![hindrance(false)], vec![], false), Some(Severity::Warning), None),
            (endangered(vec![hindrance(false)], vec![], true), Some(Severity::Warning), None),
            (endangered(vec![], foreign(), true), Some(Severity::Critical), None),
            (endangered(vec![], foreign(), false), None, None),
            (endangered(vec![], unknown(), true), Some(Severity::Warning), None),
            (endangered(vec![], vec![exposure(None)], true), Some(Severity::Critical), None),
        ] {
            assert_eq!((severity(&report, false), severity(&report, true)), (told, swept), "{report:?}");
        }
        let owners = report(BucketOutcome::Compliant, "PutBucketWebsite", vec![]);
        assert_eq!(severity(&owners, false), Some(Severity::Warning), "it can void the baseline");
    }

    #[test]
    fn no_more_than_twenty_of_a_kind_are_named_and_the_rest_is_counted() {
        let with = |count: usize| Report {
            hindrances: vec![hindrance(true); count],
            exposures: vec![exposure(None); count + 1],
            ..report(BucketOutcome::Endangered, "PutBucketPolicy", vec![])
        };
        let machine = |report: &Report| machine(report, Severity::Critical, PLACE, 1000);
        let few = machine(&with(19));
        assert_eq!((few["hindrances"].as_array().unwrap().len(), few["exposures"].as_array().unwrap().len()), (19, 20));
        assert!(few.get("more_hindrances").is_none() && few.get("more_exposures").is_none());
        assert!(!email_of(&with(19)).contains("more like these"));
        let many = machine(&with(21));
        assert_eq!(
            (many["hindrances"].as_array().unwrap().len(), many["exposures"].as_array().unwrap().len()),
            (20, 20)
        );
        assert_eq!((&many["more_hindrances"], &many["more_exposures"]), (&json!(1), &json!(2)));
        assert!(many["hindrances"][0]["statement"].as_str().unwrap().ends_with("(cut, 300 bytes in all)"));
        let email = email_of(&with(21));
        assert!(email.contains("... and 1 more like these") && email.contains("... and 2 more like these"), "{email}");
        assert_eq!(email.matches("lets anybody in").count(), 20);
    }

    #[test]
    fn a_value_is_cut_where_it_is_longer_than_the_limit() {
        let value = json!("x".repeat(98));
        let cut_at = |limit: usize| {
            let finding = Finding { observed: value.clone(), ..finding(Control::Versioning, Outcome::Restored) };
            let report = report(BucketOutcome::Restored, "PutBucketVersioning", vec![finding]);
            machine(&report, Severity::Warning, PLACE, limit)["findings"][0]["observed"].clone()
        };
        assert_eq!(cut_at(100), value);
        assert_eq!(cut_at(101), value);
        let (cut, start) = (cut_at(99), format!("\"{}... (cut, 100 bytes in all)", "x".repeat(48)));
        assert_eq!(cut, json!({"cut": true, "bytes": 100, "start": start}));
        assert_eq!(super::cut("aé", 2), "a... (cut, 3 bytes in all)", "no character is cut in two");
        assert_eq!(super::cut("aé", 3), "aé");
    }

    #[test]
    fn each_finding_says_in_words_what_was_done() {
        let until = "2999-01-01T00:00:00Z".parse().unwrap();
        let (reason, approved_by) = ("migration".to_owned(), "ann".to_owned());
        let left = Some(Left::Exempt(Exemption { control: Control::Versioning, until, reason, approved_by }));
        let of = |outcome| finding(Control::Versioning, outcome);
        let words = |all: &[Finding]| all.iter().map(|it| format!("{}\n", outcome_in_words(it))).collect::<String>();
        expect![[r#"
            restored
            not as it should be; observe mode, so nothing was written
            not as it should be; left for now
            NOT restored
            could not be read, so nobody knows
            exempt until 2999-01-01T00:00:00Z, nothing was written (reason: migration; approved by: ann)
            not as it should be, and enforced all the same
            restored before, and drifted again at once; nothing more was written
        "#]]
        .assert_eq(&words(&[
            of(Outcome::Restored),
            of(Outcome::WouldRestore),
            Finding { left: Some(Left::ForNow), ..of(Outcome::WouldRestore) },
            of(Outcome::Failed),
            of(Outcome::Unreadable),
            Finding { left, ..of(Outcome::Exempt) },
            of(Outcome::Exempt),
            of(Outcome::Unstable),
        ]));
    }

    #[test]
    fn the_mail_says_what_the_call_cannot_have_done() {
        let told = |event_name, error: Option<&str>, controls: &[Control]| {
            let findings = controls.iter().map(|it| finding(*it, Outcome::Restored)).collect();
            let mut report = report(BucketOutcome::Restored, event_name, findings);
            report.trigger.as_mut().unwrap().error_code = error.map(str::to_owned);
            innocence(&report).unwrap_or_default()
        };
        let both = [Control::Versioning, Control::Lifecycle];
        assert_eq!(told("PutBucketVersioning", None, &both[..1]), "");
        assert_eq!(
            told("PutBucketVersioning", None, &both),
            "This call led here; it can have changed versioning, but not lifecycle."
        );
        assert_eq!(told("PutBucketPolicy", None, &both), "This call led here; it cannot have changed what is below.");
        assert_eq!(
            told("PutBucketVersioning", Some("AccessDenied"), &both),
            "This call failed and so changed nothing; it led here."
        );
    }

    #[test]
    fn what_could_not_be_read_has_no_differences_and_what_is_long_is_cut() {
        let unreadable =
            report(BucketOutcome::Failed, "StopLogging", vec![finding(Control::Trail, Outcome::Unreadable)]);
        assert!(!email_of(&unreadable).contains("Suspended"));
        let missed = Report {
            missed_event: true,
            error: Some("the error".to_owned()),
            ..report(BucketOutcome::Failed, "PutBucketWebsite", vec![])
        };
        let mail = email_of(&missed);
        for part in ["The sweep found this.", "\nthe error\n", "The call decides whether it is served as a website."] {
            assert!(mail.contains(part), "{mail}");
        }
        let changed = Finding {
            observed: json!((0..10).map(|it| it.to_string()).collect::<Vec<_>>()),
            desired: json!([]),
            ..finding(Control::Trail, Outcome::Restored)
        };
        let report = report(BucketOutcome::Restored, "StopLogging", vec![changed]);
        let lines = |limit| email(&report, PLACE, limit).lines().filter(|it| it.starts_with("    ")).count();
        // Eight bytes a line; the last line says that there are more.
        assert_eq!((lines(1000), lines(81), lines(80), lines(20)), (10, 10, 10, 3));
        assert!(super::email(&report, PLACE, 20).contains("and more, cut here"));
    }

    #[test]
    fn nothing_there_differs_as_an_empty_object_or_list_does() {
        let lines = |before: &Value, after: &Value| {
            let (before, after) = (json!({"p": before}), json!({"p": after}));
            differences(&before, &after, Depth::Fields).iter().map(line).collect::<Vec<_>>()
        };
        assert_eq!(lines(&Value::Null, &json!({"a": 1})), ["p.a: null -> 1"]);
        assert_eq!(lines(&Value::Null, &json!([1])), ["p: + 1"]);
        assert_eq!(lines(&json!([1]), &Value::Null), ["p: [1] -> null"]);
        assert_eq!(lines(&json!(1), &json!(1)), Vec::<String>::new());
        assert_eq!(lines(&json!({"a": 1}), &json!({})), ["p.a: 1 -> null"]);
    }

    fn watched(outcome: WatchOutcome, by_call: bool, findings: &[PartOutcome]) -> Watched {
        let part = by_call.then(|| "queue s3-guardrail-work".to_owned());
        let findings = findings.iter().map(|it| PartFinding::new("rule r", *it, "it was off")).collect();
        Watched::new(outcome, part, by_call.then(|| trigger("PurgeQueue")), findings)
    }

    #[test]
    fn what_happened_to_the_guardrail_is_one_sentence() {
        use PartOutcome::{Broken, Restored};
        let of = |outcome, by_call, findings: &[PartOutcome]| watched(outcome, by_call, findings);
        let unnamed = Watched { part: None, ..of(WatchOutcome::Tampered, true, &[]) };
        let lines =
            |all: &[Watched]| all.iter().map(|it| format!("{}\n", watch_alert(it, PLACE).subject)).collect::<String>();
        expect![[r#"
            [BROKEN] s3-guardrail: rule r was not as it should be, put back
            [BROKEN] s3-guardrail: rule r is not as it should be
            [BROKEN] s3-guardrail: 2 parts were not as they should be, put back
            [BROKEN] s3-guardrail: 3 parts are not as they should be, 2 of them still
            [TAMPERED] s3-guardrail: PurgeQueue on queue s3-guardrail-work by role/dev-ci
            [TAMPERED] s3-guardrail: PurgeQueue on queue s3-guardrail-work by role/dev-ci, undone
            [TAMPERED] s3-guardrail: PurgeQueue on queue s3-guardrail-work by role/dev-ci, NOT all undone
            [ATTEMPTED] s3-guardrail: PurgeQueue on queue s3-guardrail-work by role/dev-ci, and failed
            [TAMPERED] s3-guardrail: PurgeQueue on something unnamed by role/dev-ci
        "#]]
        .assert_eq(&lines(&[
            of(WatchOutcome::Broken, false, &[Restored]),
            of(WatchOutcome::Broken, false, &[Broken]),
            of(WatchOutcome::Broken, false, &[Restored, Restored]),
            of(WatchOutcome::Broken, false, &[Restored, Broken, Broken]),
            of(WatchOutcome::Tampered, true, &[]),
            of(WatchOutcome::Tampered, true, &[Restored]),
            of(WatchOutcome::Tampered, true, &[Restored, Broken]),
            of(WatchOutcome::Attempted, true, &[]),
            unnamed,
        ]));
    }

    #[test]
    fn an_alert_of_the_guardrail_itself_names_each_part_and_what_to_do() {
        use PartOutcome::{Broken, Failed, Restored, Unreadable};
        let alert = watch_alert(&watched(WatchOutcome::Tampered, true, &[Restored, Broken, Failed, Unreadable]), PLACE);
        let message: Value = serde_json::from_str(&alert.message).unwrap();
        expect![[r#"
            The guardrail itself: PurgeQueue on queue s3-guardrail-work by role/dev-ci, NOT all undone.

            Call    PurgeQueue
            Who     arn:aws:sts::111122223333:assumed-role/dev-ci/build-4711
            When    2026-11-23T09:14:05Z
            From    203.0.113.17 with [Terraform/1.13.4]
            Where   account 111122223333, eu-west-2
            Event   https://eu-west-2.console.aws.amazon.com/cloudtrailv2/home?region=eu-west-2#/events/0b4a7e2c-5f1d-4f0e-9d62-6a7f3d1c8e11

            rule r: put back
                it was off

            rule r: NOT put back, that is yours to do
                it was off

            rule r: could NOT be put back
                it was off

            rule r: could not be read, so nobody knows
                it was off

            What to do now
              If this was a deployment of yours, nothing. If not, take the caller's rights away first, then run infra/deploy.sh again: it puts every part back. RUNBOOK.md, "TAMPERED", says what else to look at.
        "#]].assert_eq(message["email"].as_str().unwrap());
        let machine: Value = serde_json::from_str(message["default"].as_str().unwrap()).unwrap();
        assert_eq!((&machine["severity"], &machine["outcome"]), (&json!("CRITICAL"), &json!("tampered")));
        assert_eq!((&machine["notified"], machine["findings"].as_array().unwrap().len()), (&json!(true), 4));
        assert_eq!(alert.attributes[0], ("severity", "String", "CRITICAL".to_owned()));
        let parts = ("part", "String.Array", r#"["queue s3-guardrail-work","rule r"]"#.to_owned());
        assert_eq!(alert.attributes.last(), Some(&parts));
        let attempted = watch_alert(&watched(WatchOutcome::Attempted, true, &[]), PLACE);
        assert_eq!(attempted.attributes[0].2, "WARNING");
    }

    #[test]
    fn what_goes_on_of_the_guardrail_itself_is_told_with_its_age_and_that_it_is_over_quietly() {
        let fact = |kind, text: &str, critical| Fact {
            id: "look".to_owned(),
            kind,
            about: "queue q".to_owned(),
            at: "2026-11-24T09:00:00Z".parse().unwrap(),
            since: Some("2026-11-23T09:00:00Z".parse().unwrap()),
            calls: Vec::new(),
            text: text.to_owned(),
            critical,
            is_hinted: false,
        };
        let told = |outcome, facts: Vec<Fact>, error: Option<&str>| {
            let ledger_error = error.map(str::to_owned);
            let incident = Some("3f9a1c0000000001".to_owned());
            let news = Watched { facts, ledger_error, incident, ..watched(outcome, false, &[]) };
            let alert = watch_alert(&news, PLACE);
            let message: Value = serde_json::from_str(&alert.message).unwrap();
            format!("{} {}\n{}", alert.attributes[0].2, alert.subject, message["email"].as_str().unwrap())
        };
        let reminder = fact(FactKind::Reminder, "queue q is not as it should be: deaf", true);
        let cleared = fact(FactKind::Cleared, "queue q is as it should be again", false);
        expect![[r#"
            CRITICAL [OPEN] s3-guardrail: queue q is not as it should be: deaf; 1 more (#3f9a1c)
            The guardrail itself: queue q is not as it should be: deaf; 1 more.

            Where   account 111122223333, eu-west-2
            Search  #3f9a1c for all messages of this incident

            [CLEARED] queue q is as it should be again (since 2026-11-23 09:00 UTC)

            [OPEN] queue q is not as it should be: deaf (since 2026-11-23 09:00 UTC)

            What to do now
              Until every part is back, changes to guarded buckets may go unseen except by the sweep. Run infra/deploy.sh again; for a registry document, `guardrail restore-registration BUCKET`. RUNBOOK.md, "BROKEN", has each part.
        "#]].assert_eq(&told(WatchOutcome::Broken, vec![cleared.clone(), reminder], None));
        expect![[r#"
            INFO [CLEARED] s3-guardrail: queue q is as it should be again (#3f9a1c)
            The guardrail itself: queue q is as it should be again.

            Where   account 111122223333, eu-west-2
            Search  #3f9a1c for all messages of this incident

            [CLEARED] queue q is as it should be again (since 2026-11-23 09:00 UTC)

            What was told before is not known, so this may be a repetition: BatchGetItem: no answer

            What to do now
              Nothing.
        "#]]
        .assert_eq(&told(WatchOutcome::Whole, vec![cleared], Some("BatchGetItem: no answer")));
    }

    #[test]
    fn an_exchange_is_told_with_what_was_there_before() {
        let swap = |field, to: Option<&str>| Swap { field, from: format!("{field}-a"), to: to.map(str::to_owned) };
        let by = Some("arn:aws:iam::111122223333:user/ann".to_owned());
        let asked = Asked { what: Work::Bootstrap, by };
        let swapped = [swap("key", Some("key-b")), swap("trail", None)];
        let alert = swap_alert(&"acme-data".parse().unwrap(), &swapped, &asked, PLACE);
        assert_eq!(alert.subject, "[SWAPPED] acme-data: key, trail exchanged with bootstrap by user/ann");
        let message: Value = serde_json::from_str(&alert.message).unwrap();
        expect![[r#"
            acme-data: key, trail exchanged with bootstrap by user/ann.

            Who     arn:aws:iam::111122223333:user/ann
            Where   account 111122223333, eu-west-2

            key
                key-a -> key-b

            trail
                trail-a -> none

            What to do now
              If this was meant, nothing: the earlier ones are left as they are, and objects that a key encrypted still need it.
              If not, take the caller's rights away, then run bootstrap with the earlier values.
        "#]].assert_eq(message["email"].as_str().unwrap());
        let machine: Value = serde_json::from_str(message["default"].as_str().unwrap()).unwrap();
        assert_eq!(machine["swapped"], json!(swapped));
        assert_eq!(alert.attributes[1], ("outcome", "String", "swapped".to_owned()));
        let unknown = Asked { by: None, ..asked };
        let alert = swap_alert(&"acme-data".parse().unwrap(), &swapped, &unknown, PLACE);
        assert!(alert.message.contains("whoever invoked guardrail-bootstrap"), "{}", alert.message);
    }

    #[test]
    fn the_longer_the_whole_the_less_is_shown_of_each_value() {
        // How much of each of so many values, each of so many bytes of JSON, a message holds.
        let shown = |findings: usize, bytes: usize| {
            let observed = json!("x".repeat(bytes - 2));
            let long = Finding { observed, ..finding(Control::Versioning, Outcome::Restored) };
            let report = report(BucketOutcome::Restored, "PutBucketVersioning", vec![long; findings]);
            let message: Value = serde_json::from_str(&alert(&report, PLACE, false).unwrap().message).unwrap();
            let machine: Value = serde_json::from_str(message["default"].as_str().unwrap()).unwrap();
            let observed = &machine["findings"][0]["observed"];
            let start = observed["start"].as_str().map(|it| it.split("... (cut").next().unwrap().len());
            start.unwrap_or_else(|| observed.to_string().len())
        };
        for (findings, bytes, length) in [
            (1, 65_536, 65_536),
            (1, 65_537, 32_768),
            (13, 20_000, 8_192),
            (16, 16_384, 2_048),
            (13, 16_384, 16_384),
            (30, 4_096, 4_096),
            (45, 4_096, 256),
        ] {
            assert_eq!(shown(findings, bytes), length, "{findings} of {bytes}");
        }
    }
}
