//! One sentence: what happened, who did it, what was done.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::json;

use crate::{
    control::table,
    outcome::{
        exposure::ExposureKind,
        finding::{Finding, Left, Outcome},
        ledger::{Fact, FactKind},
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
    let tag = match first(&report.facts).filter(|it| it.kind == FactKind::Fight || !report.has_own_news()) {
        Some(fact) => tag(fact.kind),
        None => text_of(&report.outcome).to_ascii_uppercase(),
    };
    marked(&format!("[{tag}] {}: {}", report.name(), headline(report, own)), report.incident.as_deref())
}

/// How many digits of an incident's id people see. With four, one in two mailboxes has two alike after 300 incidents.
const DIGITS: usize = 6;

/// What the messages of an incident have in common, also the first: by it the others are found.
pub fn mark(incident: Option<&str>) -> Option<String> {
    let digits = incident?.get(..DIGITS).filter(|it| it.bytes().all(|c| c.is_ascii_hexdigit()))?;
    Some(format!("#{digits}"))
}

/// A subject that ends with its incident's mark. No word is cut for that; the mail has it, too.
pub fn marked(subject: &str, incident: Option<&str>) -> String {
    match mark(incident).map(|it| format!("{subject} ({it})")) {
        Some(marked) if marked.len() <= MAX_SUBJECT => plain(&marked),
        Some(_) | None => plain(subject),
    }
}

/// What stands first in the subject of a message about a fact.
pub fn tag(kind: FactKind) -> String {
    match kind {
        FactKind::Opened | FactKind::Reminder => "OPEN".to_owned(),
        other => text_of(&other).to_ascii_uppercase(),
    }
}

/// Which of several facts comes first.
fn urgency(kind: FactKind) -> u8 {
    match kind {
        FactKind::Fight => 0,
        FactKind::Tampered => 1,
        FactKind::Opened => 2,
        FactKind::Reminder => 3,
        FactKind::Restored => 4,
        FactKind::Attempted => 5,
        FactKind::Exemption => 6,
        FactKind::Interrupted => 7,
        FactKind::Cleared => 8,
    }
}

/// The fact that comes first.
pub fn first(facts: &[Fact]) -> Option<&Fact> {
    facts.iter().min_by_key(|it| urgency(it.kind))
}

/// That fact, and how many more there are.
pub fn in_short(facts: &[Fact]) -> Option<String> {
    let first = first(facts)?;
    let more = facts.len() - 1;
    Some(if more > 0 { format!("{}; {more} more", first.text) } else { first.text.clone() })
}

/// SNS wants less than 100 characters.
const MAX_SUBJECT: usize = 99;

/// A subject as SNS takes it.
pub fn plain(subject: &str) -> String {
    let ascii: String = subject.chars().map(|c| if c.is_ascii() && !c.is_ascii_control() { c } else { '?' }).collect();
    if ascii.len() <= MAX_SUBJECT { ascii } else { format!("{}...", &ascii[..MAX_SUBJECT - 3]) }
}

/// One sentence: what happened, who did it, what was done. `own`: the account that it happened in.
pub fn headline(report: &Report, own: &str) -> String {
    let is_fight = report.facts.iter().any(|it| it.kind == FactKind::Fight);
    if let Some(facts) = in_short(&report.facts).filter(|_| is_fight || !report.has_own_news()) {
        return facts;
    }
    let with = |wanted: &[Outcome]| -> Vec<&Finding> {
        report.findings.iter().filter(|it| wanted.contains(&it.outcome)).collect()
    };
    let told = match report.outcome {
        BucketOutcome::Restored => with(&[Outcome::Restored]),
        BucketOutcome::Failed => with(&[Outcome::Failed, Outcome::Unreadable, Outcome::Unstable]),
        _ => report.findings.iter().collect(),
    };
    let what = controls(&told);
    let caused = told.iter().all(|it| !it.calls.is_empty());
    let (cause, led_here) = match &report.trigger {
        Some(trigger) if caused => {
            let actors: BTreeSet<_> = told.iter().flat_map(|it| &it.calls).map(|it| &it.actor).collect();
            let others = if actors.len() > 1 { " and others" } else { "" };
            (format!("changed by {}{others}", short_actor(trigger, own)), String::new())
        }
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
        BucketOutcome::Drifted => format!("{what} {cause}, left so: {}{led_here}", why_left(&told)),
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
            let documents: BTreeSet<_> = report.hindrances.iter().map(|it| it.r#in.to_string()).collect();
            let verb = match (report.hindrances.iter().any(|it| it.certain), documents.len()) {
                (true, 1) => "keeps",
                (true, _) => "keep",
                (false, _) => "may keep",
            };
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
    let all = |is_so: fn(&Finding) -> bool| findings.iter().all(|it| is_so(it));
    if all(|it| it.left == Some(Left::EnforcedAbove)) {
        "enforced by the account"
    } else if all(|it| it.outcome == Outcome::Exempt) {
        "exempt"
    } else if all(|it| it.left == Some(Left::Held)) {
        "somebody fights over it"
    } else {
        "observe mode"
    }
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

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::Value;

    use super::*;
    use crate::{
        control::table::Control,
        outcome::{
            exemption::Exemption,
            exposure::Exposure,
            hindrance::{Document, Hindrance},
        },
    };

    const OWN: &str = "111122223333";

    fn trigger(event_name: &str) -> Trigger {
        Trigger {
            event_name: event_name.to_owned(),
            actor: Some("arn:aws:iam::111122223333:user/ann".to_owned()),
            ..Trigger::default()
        }
    }

    fn report(outcome: BucketOutcome, event_name: Option<&str>, findings: &[(Control, Outcome)]) -> Report {
        let finding = |it: &(Control, Outcome)| Finding::new(it.0, it.1, (Value::Null, Value::Null));
        let findings = findings.iter().map(finding).collect();
        let report = Report { findings, ..Report::new("acme-data", outcome, None) };
        report.caused_by(&event_name.map(trigger).into_iter().collect::<Vec<_>>())
    }

    fn failed(event_name: &str) -> Option<Trigger> {
        Some(Trigger { error_code: Some("AccessDenied".to_owned()), ..trigger(event_name) })
    }

    fn hindrance(document: Document, certain: bool) -> Hindrance {
        Hindrance::example(document, certain)
    }

    fn exposure(kind: ExposureKind) -> Exposure {
        Exposure { kind, control: Control::BucketPolicy, answer: None, id: String::new(), detail: String::new() }
    }

    fn headlines(reports: &[Report]) -> String {
        reports.iter().map(|it| format!("{}\n", headline(it, OWN))).collect()
    }

    #[test]
    fn what_was_restored_is_said_to_be_changed_by_whoever_can_have_done_it() {
        use BucketOutcome::Restored;
        let one = &[(Control::Versioning, Outcome::Restored)][..];
        let timed = |ms, report| Report { drift_to_restored_ms: Some(ms), ..report };
        expect![[r#"
            versioning changed by user/ann, restored within 1 s
            versioning changed by user/ann, restored within 2 s
            versioning changed by user/ann, restored
            versioning drifted, restored; found on PutBucketPolicy by user/ann
            versioning drifted, restored
            public-access-block and object-ownership drifted, restored
            7 controls drifted, restored
            versioning changed by user/ann, restored
            versioning changed by somebody, restored
        "#]]
        .assert_eq(&headlines(&[
            timed(0, report(Restored, Some("PutBucketVersioning"), one)),
            timed(1_001, report(Restored, Some("PutBucketVersioning"), one)),
            report(Restored, Some("PutBucketVersioning"), one),
            timed(1_000, report(Restored, Some("PutBucketPolicy"), one)),
            report(Restored, None, one),
            report(
                Restored,
                None,
                &Control::OF_BUCKET[..2].iter().map(|it| (*it, Outcome::Restored)).collect::<Vec<_>>(),
            ),
            report(Restored, None, &Control::OF_BUCKET.map(|it| (it, Outcome::Restored))),
            // What was left beside it is not what happened.
            report(Restored, Some("PutBucketVersioning"), &[one[0], (Control::Lifecycle, Outcome::Exempt)]),
            report(Restored, None, one).caused_by(&[Trigger { actor: None, ..trigger("PutBucketVersioning") }]),
        ]));
    }

    #[test]
    fn what_was_left_says_why() {
        use BucketOutcome::Drifted;
        let exempted = || {
            let mut exempted = report(Drifted, Some("PutBucketVersioning"), &[(Control::Versioning, Outcome::Exempt)]);
            let until = "2999-01-01T00:00:00Z".parse().unwrap();
            let (reason, approved_by) = (String::new(), String::new());
            let exemption = Exemption { control: Control::Versioning, until, reason, approved_by };
            exempted.findings[0].left = Some(Left::Exempt(exemption));
            exempted
        };
        let mixed = [(Control::Versioning, Outcome::Exempt), (Control::Lifecycle, Outcome::WouldRestore)];
        let mut enforced = report(Drifted, Some("PutBucketVersioning"), &mixed[..1]);
        enforced.findings[0].left = Some(Left::EnforcedAbove);
        let mut held = report(Drifted, Some("PutBucketVersioning"), &mixed[1..]);
        held.findings[0].left = Some(Left::Held);
        expect![[r#"
            versioning changed by user/ann, left so: exempt
            versioning changed by user/ann, left so: enforced by the account
            lifecycle drifted, left so: somebody fights over it; found on PutBucketVersioning by user/ann
            versioning and lifecycle drifted, left so: observe mode
            lifecycle drifted, left so: observe mode; found on PutBucketPolicy by user/ann
        "#]]
        .assert_eq(&headlines(&[
            exempted(),
            enforced,
            held,
            report(Drifted, None, &mixed),
            report(Drifted, Some("PutBucketPolicy"), &mixed[1..]),
        ]));
    }

    #[test]
    fn what_failed_says_how() {
        let failed = |outcomes: &[Outcome]| {
            let findings: Vec<_> = Control::ALL.into_iter().zip(outcomes.iter().copied()).collect();
            report(BucketOutcome::Failed, None, &findings)
        };
        use Outcome::*;
        expect![[r#"
            not guarded, the registry cannot be used
            not guarded, the registry cannot be used
            public-access-block NOT restored; drifted
            public-access-block cannot be read; drifted
            public-access-block and object-ownership cannot be read; drifted
            public-access-block does not stay restored; drifted
            public-access-block and object-ownership NOT restored; drifted
        "#]]
        .assert_eq(&headlines(&[
            failed(&[]),
            failed(&[Restored, Exempt]),
            failed(&[Failed, Restored]),
            failed(&[Unreadable]),
            failed(&[Unreadable, Unreadable]),
            failed(&[Unstable]),
            failed(&[Unstable, Unreadable]),
        ]));
    }

    #[test]
    fn what_endangers_names_the_document_or_the_owners_setting() {
        let endangered = |event_name| report(BucketOutcome::Endangered, event_name, &[]);
        let hindered = |hindrances| Report { hindrances, ..endangered(None) };
        let exposed = |exposures| Report { exposures, ..endangered(Some("PutBucketPolicy")) };
        let (bucket, key) =
            (|certain| hindrance(Document::BucketPolicy, certain), |certain| hindrance(Document::KeyPolicy, certain));
        let (foreign, early) = (exposure(ExposureKind::ForeignAccess), exposure(ExposureKind::EarlyDeletion));
        expect![[r#"
            the bucket policy keeps the guardrail from its work
            the bucket policy may keep the guardrail from its work
            the bucket policy and the key policy may keep the guardrail from its work; found on PutKeyPolicy by user/ann
            open to others than this account by user/ann, left so
            set to delete early by user/ann, left so
            open to others than this account and set to delete early, left so
        "#]]
        .assert_eq(&headlines(&[
            hindered(vec![bucket(false), bucket(true)]),
            hindered(vec![bucket(false), bucket(false)]),
            Report { trigger: Some(trigger("PutKeyPolicy")), ..hindered(vec![key(false), bucket(false)]) },
            exposed(vec![foreign.clone()]),
            exposed(vec![early.clone()]),
            Report { trigger: None, ..exposed(vec![foreign, early]) },
        ]));
    }

    #[test]
    fn where_nothing_is_to_be_restored_the_call_is_told() {
        let told = |outcome, event_name| report(outcome, event_name, &[]);
        let gone = |trigger| Report { trigger, ..told(BucketOutcome::Gone, None) };
        expect![[r#"
            the guarded bucket does not exist
            the guarded bucket was deleted by user/ann
            the guarded bucket does not exist
            the guarded bucket does not exist
            nothing to restore
            PutBucketTagging by user/ann, nothing to restore
            PutBucketWebsite by user/ann, the owner's to undo
        "#]]
        .assert_eq(&headlines(&[
            gone(None),
            gone(Some(trigger("DeleteBucket"))),
            gone(failed("DeleteBucket")),
            gone(Some(trigger("PutBucketTagging"))),
            told(BucketOutcome::Compliant, None),
            told(BucketOutcome::Compliant, Some("PutBucketTagging")),
            told(BucketOutcome::Unguarded, Some("PutBucketWebsite")),
        ]));
        let setting = |trigger| owners_setting(&Report { trigger, ..told(BucketOutcome::Compliant, None) });
        assert_eq!(setting(Some(trigger("PutBucketWebsite"))), Some("whether it is served as a website"));
        assert_eq!(setting(failed("PutBucketWebsite")), None, "nothing came of it");
        assert_eq!((setting(Some(trigger("PutBucketTagging"))), setting(None)), (None, None));
    }

    #[test]
    fn each_message_of_an_incident_ends_with_its_mark_where_no_word_has_to_be_cut_for_it() {
        let gone = |incident: Option<&str>| {
            let incident = incident.map(str::to_owned);
            subject(&Report { incident, ..report(BucketOutcome::Gone, None, &[]) }, OWN)
        };
        assert_eq!(gone(Some("3f9a1c0000000001")), "[GONE] acme-data: the guarded bucket does not exist (#3f9a1c)");
        for none in [None, Some(""), Some("3f9a"), Some("not hex!"), Some("3f9a1\u{e9}")] {
            assert_eq!(gone(none), "[GONE] acme-data: the guarded bucket does not exist", "{none:?}");
        }
        let of = |length| marked(&"x".repeat(length), Some("3f9a1c"));
        assert_eq!(of(89), format!("{} (#3f9a1c)", "x".repeat(89)));
        assert_eq!(of(90), "x".repeat(90));
        assert_eq!(of(100), format!("{}...", "x".repeat(96)));
    }

    #[test]
    fn a_subject_is_what_sns_takes() {
        assert_eq!(plain("a\té\u{7f}b"), "a???b");
        assert_eq!(plain(&"x".repeat(99)), "x".repeat(99));
        assert_eq!(plain(&"x".repeat(100)), format!("{}...", "x".repeat(96)));
        assert_eq!(
            subject(&report(BucketOutcome::Gone, None, &[]), OWN),
            "[GONE] acme-data: the guarded bucket does not exist"
        );
        assert_eq!((text_of(&Outcome::WouldRestore), text_of(&1)), ("would-restore".to_owned(), String::new()));
    }
}
