use serde_json::json;

use super::*;
use crate::outcome::ledger::{Restore, Span};
use crate::{
    control::versioning::Versioning,
    decide::{
        echo::{Generation, Instead},
        plan,
    },
    outcome::{
        exemption::Exemption,
        finding::Written,
        hindrance::{Document, Hindrance},
    },
};

const VERSIONING: Control = Control::Versioning;

/// So many seconds after the beginning.
fn at(seconds: f64) -> Timestamp {
    "2026-11-23T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs_f64(seconds)
}

fn finding(control: Control, outcome: Outcome) -> Finding {
    Finding::new(control, outcome, (Value::Null, Value::Null))
}

fn report(findings: &[(Control, Outcome)]) -> Report {
    let findings: Vec<_> = findings.iter().map(|it| finding(it.0, it.1)).collect();
    let outcome = BucketOutcome::from_findings(&findings, false);
    Report { findings, ..Report::new("acme-data", outcome, None) }
}

fn call(event_name: &str, actor: &str, seconds: f64) -> Trigger {
    let (event_name, actor) = (event_name.to_owned(), Some(actor.to_owned()));
    Trigger { event_name, actor, event_time: Some(at(seconds).to_string()), ..Trigger::default() }
}

/// A look that read everything of the bucket at one time, wrote half a second later, and records what it came to then.
struct Look {
    id: &'static str,
    read: f64,
    report: Report,
    by_another: bool,
}

impl Look {
    fn new(id: &'static str, read: f64, findings: &[(Control, Outcome)]) -> Self {
        Self { id, read, report: report(findings), by_another: false }
    }

    fn record(&self, item: Item) -> Item {
        let (sent, end) = (at(self.read + 0.1), at(self.read + 0.5));
        let restored = self.report.findings.iter().filter(|it| it.outcome == Outcome::Restored);
        let restore = Restore { read: at(self.read), written: (!self.by_another).then_some(Span { sent, ended: end }) };
        let restores = restored.map(|it| (it.control, restore)).collect();
        let report = Report { restores, read: Control::OF_BUCKET.into(), ..self.report.clone() };
        item.recorded(&Looked { id: self.id, now: end, account: "111122223333", report: &report })
    }

    /// Records, tells and confirms; what was told.
    fn tell(&self, item: &mut Item) -> Vec<String> {
        *item = self.record(std::mem::take(item));
        told(item, self.id, self.read + 0.6)
    }
}

fn told(item: &mut Item, look: &str, seconds: f64) -> Vec<String> {
    let told = in_words(&item.to_tell(look));
    *item = std::mem::take(item).confirmed(look, at(seconds));
    told
}

fn in_words(facts: &[&Fact]) -> Vec<String> {
    facts.iter().map(|it| format!("{:?} {}", it.kind, it.about)).collect()
}

const NOTHING: [&str; 0] = [];
const DAY: f64 = 86_400.0;

#[test]
fn a_restore_is_told_once_by_whoever_wrote_first() {
    let restored = [(VERSIONING, Outcome::Restored)];
    let mut item = Item::default();
    assert_eq!(Look::new("a", 0.0, &restored).tell(&mut item), ["Restored versioning"]);
    // It had read before a's write ended, and wrote the same again.
    assert_eq!(Look::new("b", 0.4, &restored).tell(&mut item), NOTHING);
    assert_eq!(Look::new("c", 2.0, &restored).tell(&mut item), ["Restored versioning"]);
}

#[test]
fn what_another_look_has_restored_is_its_to_tell() {
    let by_another = |item: &mut Item| {
        Look { by_another: true, ..Look::new("b", 1.0, &[(VERSIONING, Outcome::Restored)]) }.tell(item)
    };
    let mut alone = Item::default();
    assert_eq!(by_another(&mut alone), ["Restored versioning"], "its owner did it");
    let mut item = Item::default();
    item.intents.insert("a".to_owned(), Intent::new(vec![VERSIONING], at(0.5)));
    assert_eq!(by_another(&mut item), NOTHING);
    // S3 showed it what was there before a's write.
    let mut item = Look::new("a", 0.0, &[(VERSIONING, Outcome::Restored)]).record(Item::default());
    told(&mut item, "a", 0.6);
    assert_eq!(by_another(&mut item), NOTHING);
    // By a clock that is slow, the call that a restored came after its write.
    let mut late = Look { by_another: true, ..Look::new("b", 1.0, &[(VERSIONING, Outcome::Restored)]) };
    late.report = late.report.caused_by(&[call("PutBucketVersioning", "eve", 2.0)]);
    assert_eq!(late.tell(&mut item), NOTHING);
    let late = Look { by_another: true, ..Look::new("c", 6.0, &[(VERSIONING, Outcome::Restored)]) };
    assert_eq!(late.tell(&mut item), ["Restored versioning"], "it had drifted again");
}

#[test]
fn what_others_restore_is_no_fight() {
    let restored =
        |id, read, by_another| Look { by_another, ..Look::new(id, read, &[(VERSIONING, Outcome::Restored)]) };
    let mut item = Item::default();
    for minute in 0..3 {
        let told = restored("a", 60.0 * f64::from(minute), true).tell(&mut item);
        assert_eq!(told, ["Restored versioning"]);
    }
    for (minute, told) in [(3, "Restored"), (4, "Restored"), (5, "Fight")] {
        let facts = restored("b", 60.0 * f64::from(minute), false).tell(&mut item);
        assert_eq!(facts, [format!("{told} versioning")]);
    }
}

#[test]
fn while_one_look_tells_the_others_leave_it_what_they_have() {
    let a = Look::new("a", 0.0, &[(VERSIONING, Outcome::Restored)]);
    let b = Look::new("b", 0.7, &[(Control::Lifecycle, Outcome::Restored)]);
    let mut item = b.record(a.record(Item::default()));
    assert_eq!(in_words(&item.to_tell("b")), NOTHING);
    assert_eq!(told(&mut item, "a", 2.0), ["Restored versioning"]);
    assert_eq!(told(&mut item, "a", 2.5), ["Restored lifecycle"], "a follow-up");
    assert!(!item.is_open() && item.to_tell("a").is_empty());
}

#[test]
fn what_a_dead_look_did_not_tell_the_next_one_does() {
    let mut item = Look::new("a", 0.0, &[(VERSIONING, Outcome::Restored)]).record(Item::default());
    assert!(item.is_open());
    assert_eq!(Look::new("b", 59.0, &[]).tell(&mut item), NOTHING, "it may be telling");
    assert_eq!(Look::new("c", 60.0, &[]).tell(&mut item), ["Restored versioning"]);
    let mut item = Look::new("a", 0.0, &[(VERSIONING, Outcome::Restored)]).record(Item::default());
    item = item.released("x", true);
    assert!(!item.untold[0].is_hinted, "it is not its to say");
    item = item.released("a", true);
    assert!(item.untold.iter().all(|it| it.is_hinted), "no hint is given twice");
    assert_eq!(Look::new("b", 1.0, &[]).tell(&mut item), ["Restored versioning"], "it could not publish");
}

#[test]
fn a_look_that_died_while_writing_is_never_said_to_have_restored() {
    let with_intent = || {
        let mut item = Item::default();
        item.intents.insert("dead".to_owned(), Intent::new(vec![VERSIONING], at(0.0)));
        item
    };
    let mut item = with_intent();
    assert!(item.is_open());
    assert_eq!(Look::new("b", 100.0, &[]).tell(&mut item), NOTHING, "it may live");
    assert_eq!(Look::new("c", 120.0, &[]).tell(&mut item), ["Interrupted versioning"]);
    assert!(!item.is_open());
    let mut item = with_intent();
    let restored = Look::new("d", 120.0, &[(VERSIONING, Outcome::Restored)]);
    assert_eq!(restored.tell(&mut item), ["Restored versioning"]);
}

/// A look's time was over before the answer came, and people could not be told that it failed.
#[test]
fn what_may_have_been_written_and_nobody_heard_of_is_told_when_it_is_good() {
    let mut failed = Look::new("a", 0.0, &[(VERSIONING, Outcome::Failed)]);
    let change = plan::restore_versioning(Versioning::default());
    failed.report.findings[0].written = change.map(Written::Here);
    let mut intended = Item::default();
    intended.intents.insert("a".to_owned(), Intent::new(vec![VERSIONING, Control::Lifecycle], at(0.1)));
    let item = failed.record(intended.clone()).released("a", false);
    let mut good = item.clone();
    assert_eq!(Look::new("b", 1.0, &[]).tell(&mut good), ["Interrupted versioning"]);
    assert!(!good.is_open());
    let mut item = item;
    assert_eq!(Look::new("b", 1.0, &[(VERSIONING, Outcome::Restored)]).tell(&mut item), ["Restored versioning"]);
    // Who knows that it failed hears that it is over.
    let mut item = intended;
    assert_eq!(failed.tell(&mut item), ["Opened versioning"]);
    assert_eq!(Look::new("b", 1.0, &[]).tell(&mut item), ["Cleared versioning"]);
    assert!(!item.is_open());
}

/// Another look had read what was there before that write, and had no time left; a third knew nothing at all.
#[test]
fn what_may_have_been_written_stays_so_until_a_look_finds_it_good() {
    let mut item = Item::default();
    item.intents.insert("dead".to_owned(), Intent::new(vec![VERSIONING], at(0.0)));
    let late = Look::new("b", 120.0, &[(VERSIONING, Outcome::Failed)]);
    item = late.record(item).released("b", false);
    let nothing = report(&[]);
    for id in ["c", "d"] {
        let blind = Looked { id, now: at(130.0), account: "111122223333", report: &nothing };
        item = item.recorded(&blind).released(id, false);
    }
    assert_eq!(item.intents.len(), 1, "however many looks end so");
    assert_eq!(Look::new("e", 140.0, &[]).tell(&mut item), ["Interrupted versioning"]);
    assert!(!item.is_open());
}

#[test]
fn what_stays_as_it_is_is_told_once_a_day_and_when_it_is_over() {
    let failed = |id, seconds| Look::new(id, seconds, &[(VERSIONING, Outcome::Failed)]);
    let mut item = Item::default();
    assert_eq!(failed("a", 0.0).tell(&mut item), ["Opened versioning"]);
    for sweep in 1..96 {
        assert_eq!(failed("b", 900.0 * f64::from(sweep)).tell(&mut item), NOTHING);
    }
    let mut reminded = failed("c", DAY + 1.0).record(item.clone());
    assert_eq!(reminded.to_tell("c")[0].since, Some(at(0.5)), "with its age");
    assert_eq!(told(&mut reminded, "c", DAY + 2.0), ["Reminder versioning"]);
    assert_eq!(failed("d", DAY + 900.0).tell(&mut reminded), NOTHING);
    let otherwise = Look::new("e", DAY + 1000.0, &[(VERSIONING, Outcome::Unreadable)]);
    assert_eq!(otherwise.tell(&mut reminded), ["Opened versioning"]);
    assert_eq!(Look::new("f", DAY + 1100.0, &[]).tell(&mut reminded), ["Cleared versioning"]);
    assert_eq!(Look::new("g", DAY + 1200.0, &[]).tell(&mut reminded), NOTHING);
    assert!(!reminded.is_open());
    // A restore says that it is over.
    let restored = Look::new("h", DAY + 2.0, &[(VERSIONING, Outcome::Restored)]);
    assert_eq!(restored.tell(&mut item), ["Restored versioning"]);
    assert!(!item.is_open());
}

#[test]
fn another_caller_is_told_at_once() {
    let failed = |id, seconds, actor: &str| {
        let mut look = Look::new(id, seconds, &[(VERSIONING, Outcome::Failed)]);
        look.report = look.report.caused_by(&[call("PutBucketVersioning", actor, seconds)]);
        look
    };
    let mut item = Item::default();
    assert_eq!(failed("a", 0.0, "ann").tell(&mut item), ["Opened versioning"]);
    assert_eq!(failed("b", 10.0, "ann").tell(&mut item), NOTHING);
    assert_eq!(failed("c", 20.0, "bob").tell(&mut item), ["Opened versioning"]);
    assert_eq!(Look::new("d", 900.0, &[(VERSIONING, Outcome::Failed)]).tell(&mut item), NOTHING);
}

#[test]
fn what_is_changed_after_another_looks_write_is_another_restore() {
    let restored = |id, read| Look::new(id, read, &[(VERSIONING, Outcome::Restored)]);
    let mut item = Item::default();
    assert_eq!(restored("a", 0.0).tell(&mut item), ["Restored versioning"]);
    // It had read what a restored; by the time it wrote, somebody had called again.
    let mut late = restored("b", 0.4);
    late.report = late.report.caused_by(&[call("PutBucketVersioning", "eve", 1.0)]);
    assert_eq!(late.tell(&mut item), ["Restored versioning"]);
}

/// The call may have come before that write was done, or after. A restore that nobody hears of is worse than one told twice.
#[test]
fn what_is_changed_while_another_look_writes_is_another_restore() {
    let restored = |id, read| Look::new(id, read, &[(VERSIONING, Outcome::Restored)]);
    let after_write_in = |called: f64, forget_sent: bool| {
        let mut item = Item::default();
        assert_eq!(restored("a", 0.8).tell(&mut item), ["Restored versioning"]);
        if forget_sent {
            // An earlier version wrote it.
            item.writes.values_mut().for_each(|it| it.sent = None);
        }
        let mut late = restored("b", 1.2);
        late.report = late.report.caused_by(&[call("PutBucketVersioning", "eve", called)]);
        late.tell(&mut item)
    };
    assert_eq!(after_write_in(0.0, false), NOTHING, "CloudTrail's times are cut to the second");
    assert_eq!(after_write_in(1.0, false), ["Restored versioning"]);
    assert_eq!(after_write_in(1.0, true), NOTHING);
}

#[test]
fn what_nobody_was_told_of_needs_no_end() {
    let item = Look::new("a", 0.0, &[(VERSIONING, Outcome::Failed)]).record(Item::default()).released("a", false);
    let mut good = item.clone();
    assert_eq!(Look::new("b", 1.0, &[]).tell(&mut good), NOTHING);
    // People know of another state.
    let mut other = Item::default();
    assert_eq!(Look::new("a", 0.0, &[(VERSIONING, Outcome::Failed)]).tell(&mut other), ["Opened versioning"]);
    other = Look::new("b", 1.0, &[(VERSIONING, Outcome::Unreadable)]).record(other).released("b", false);
    assert_eq!(Look::new("c", 2.0, &[]).tell(&mut other), ["Cleared versioning"]);
    // Somebody may be telling it just now.
    let mut item = Look::new("a", 0.0, &[(VERSIONING, Outcome::Failed)]).record(Item::default());
    item = Look::new("b", 1.0, &[]).record(item);
    assert_eq!(told(&mut item, "a", 2.0), ["Opened versioning"]);
    assert_eq!(told(&mut item, "a", 3.0), ["Cleared versioning"]);
}

#[test]
fn an_exemption_is_told_when_it_is_first_used_and_a_doubt_never() {
    let exempt = |id, seconds| Look::new(id, seconds, &[(VERSIONING, Outcome::Exempt)]);
    let mut item = Item::default();
    assert_eq!(exempt("a", 0.0).tell(&mut item), ["Opened versioning"]);
    assert_eq!(exempt("b", 2.0 * DAY).tell(&mut item), NOTHING);
    let mut doubtful = Look::new("c", 2.0 * DAY, &[(VERSIONING, Outcome::WouldRestore)]);
    doubtful.report.findings[0].left = Some(Left::NotYet);
    assert_eq!(doubtful.tell(&mut item), NOTHING, "neither open in another way, nor over");
    assert_eq!(doubtful.tell(&mut Item::default()), NOTHING);
}

#[test]
fn a_look_says_nothing_of_what_it_did_not_read() {
    let mut item = Item::default();
    assert_eq!(Look::new("a", 0.0, &[(Control::KmsKey, Outcome::Failed)]).tell(&mut item), ["Opened kms-key"]);
    assert_eq!(Look::new("b", 1.0, &[]).tell(&mut item), NOTHING);
    let hindered = |id, seconds, document| {
        let mut look = Look::new(id, seconds, &[]);
        look.report.hindrances = vec![Hindrance::example(document, true)];
        look
    };
    let mut item = Item::default();
    assert_eq!(hindered("a", 0.0, Document::BucketPolicy).tell(&mut item), ["Opened hindrance in bucket-policy"]);
    assert_eq!(Look::new("b", 1.0, &[]).tell(&mut item), ["Cleared hindrance in bucket-policy"]);
    assert_eq!(hindered("c", 2.0, Document::KeyPolicy).tell(&mut item), ["Opened hindrance in kms-key"]);
    assert_eq!(Look::new("d", 3.0, &[]).tell(&mut item), NOTHING);
}

#[test]
fn a_bucket_that_cannot_be_looked_at_is_open_until_it_can() {
    let broken = |id, seconds, error: Option<&str>, outcome| {
        let mut look = Look::new(id, seconds, &[]);
        look.report = Report { error: error.map(str::to_owned), ..Report::new("acme-data", outcome, None) };
        look
    };
    let mut item = Item::default();
    let unreadable = Some("the registry could not be read");
    assert_eq!(broken("a", 0.0, unreadable, BucketOutcome::Failed).tell(&mut item), ["Opened bucket"]);
    assert_eq!(broken("b", 1.0, unreadable, BucketOutcome::Failed).tell(&mut item), NOTHING);
    assert_eq!(broken("c", 2.0, None, BucketOutcome::Gone).tell(&mut item), ["Opened bucket"]);
    assert_eq!(Look::new("d", 3.0, &[]).tell(&mut item), ["Cleared bucket"]);
}

#[test]
fn the_third_restore_within_an_hour_is_a_fight_told_at_doubling_distances() {
    let restored = |id, seconds| Look::new(id, seconds, &[(VERSIONING, Outcome::Restored)]);
    let mut item = Item::default();
    let mut told = Vec::new();
    for minute in 0..40 {
        let seconds = 60.0 * f64::from(minute);
        let facts = restored("a", seconds).tell(&mut item);
        told.extend(facts.into_iter().map(|it| format!("{minute}: {it}")));
    }
    assert_eq!(
        told,
        [
            "0: Restored versioning",
            "1: Restored versioning",
            "2: Fight versioning",
            "3: Fight versioning",
            "4: Fight versioning",
            "6: Fight versioning",
            "10: Fight versioning",
            "18: Fight versioning",
            "34: Fight versioning"
        ]
    );
    let mut past = Past::new(Generation::First);
    item.inform("b", &mut past, at(39.0 * 60.0 + 59.0));
    assert!(!past.may_write(VERSIONING, at(39.0 * 60.0 + 59.0)), "once a minute at most");
    assert_eq!(past.instead(VERSIONING, at(39.0 * 60.0 + 59.0)), Instead::Braked(at(40.0 * 60.0 + 0.5)));
    past.is_asked_for = true;
    assert!(past.may_write(VERSIONING, at(39.0 * 60.0 + 59.0)), "by a person");
    past.is_asked_for = false;
    assert!(past.may_write(VERSIONING, at(40.0 * 60.0 + 1.0)));
    assert_eq!(restored("z", 3.0 * 3600.0).tell(&mut item), ["Restored versioning"], "an hour later it is over");
}

#[test]
fn a_look_knows_what_others_wrote_and_are_about_to_and_who_called() {
    let mut look = Look::new("a", 0.0, &[(VERSIONING, Outcome::Restored)]);
    look.report.calls = vec![call("DeleteBucketLifecycle", "eve", 1.0)];
    let mut item = look.record(Item::default());
    item.intents.insert("b".to_owned(), Intent::new(vec![Control::Inventory], at(0.0)));
    let past = |look: &str, now| {
        let mut past = Past::new(Generation::Second);
        item.inform(look, &mut past, at(now));
        past
    };
    let may =
        |past: &Past, now| [VERSIONING, Control::Inventory, Control::Lifecycle].map(|it| past.may_write(it, at(now)));
    assert_eq!(may(&past("c", 1.0), 1.0), [false, false, true]);
    assert_eq!(may(&past("a", 1.0), 1.0), [true, false, true]);
    assert_eq!(may(&past("b", 1.0), 1.0), [false, true, true]);
    assert_eq!(may(&past("c", 61.0), 61.0), [true, true, true]);
    assert_eq!(
        past("c", 1.0).reread(&[VERSIONING], &[VERSIONING], at(1.0), 0),
        Some(std::time::Duration::from_millis(500))
    );
    // The call explains what the next look finds, although no event of it is there.
    let item = Look::new("d", 5.0, &[(Control::Lifecycle, Outcome::Restored)]).record(item.clone());
    assert_eq!(item.untold.last().unwrap().calls[0].actor.as_deref(), Some("eve"));
}

#[test]
fn an_incident_is_one_callers_minute() {
    let restored = |id, seconds, control, actor: &str| {
        let mut look = Look::new(id, seconds, &[(control, Outcome::Restored)]);
        look.report = look.report.caused_by(&[call("PutBucketVersioning", actor, seconds)]);
        look
    };
    let mut item = Item::default();
    let mut incident = |look: Look| {
        look.tell(&mut item);
        item.incident.clone().unwrap().id
    };
    assert_eq!(incident(restored("a", 0.0, VERSIONING, "ann")), "a");
    assert_eq!(incident(restored("b", 59.0, Control::Lifecycle, "ann")), "a");
    assert_eq!(incident(restored("c", 100.0, VERSIONING, "ann")), "a", "a minute after the last");
    assert_eq!(incident(restored("d", 101.0, Control::Lifecycle, "bob")), "d", "another caller");
    assert_eq!(incident(restored("e", 200.0, Control::Lifecycle, "bob")), "e", "long ago");
}

#[test]
fn a_quiet_look_is_written_down_once_a_day() {
    let first = Look::new("a", 0.0, &[]).record(Item::default());
    assert!(Item::default().is_worth_writing(&first));
    let quiet = |seconds| Look::new("b", seconds, &[]).record(first.clone());
    assert!(!first.is_worth_writing(&quiet(900.0)));
    assert!(first.is_worth_writing(&quiet(DAY)));
    assert!(first.is_worth_writing(&Look::new("c", 900.0, &[(VERSIONING, Outcome::Failed)]).record(first.clone())));
    let called = |item: &Item| {
        let mut look = Look::new("d", 1.0, &[]);
        look.report.calls = vec![call("PutBucketVersioning", "eve", 1.0)];
        item.is_worth_writing(&look.record(item.clone()))
    };
    assert!(!called(&first), "a storm of calls writes nothing");
    let mut beside = first.clone();
    beside.intents.insert("e".to_owned(), Intent::new(vec![VERSIONING], at(0.5)));
    assert!(called(&beside), "e may be restoring what eve did");
}

#[test]
fn an_item_of_a_newer_version_or_by_hand_is_not_believed_and_what_is_unknown_is_kept() {
    let read = |item: Value| Item::read(item.as_object().unwrap().clone(), at(9.0));
    assert_eq!(read(json!({})), Ok(Item::default()));
    assert_eq!(read(json!({"meaning": 2})), Err(ItemError::Newer(2)));
    assert!(matches!(read(json!({"open": 7})), Err(ItemError::Invalid(_))));
    assert!(matches!(read(json!({"writes": {"nonsense": {}}})), Err(ItemError::Invalid(_))));
    let item = Look::new("a", 0.0, &[(VERSIONING, Outcome::Failed)]).record(read(json!({"later": [1]})).unwrap());
    let Value::Object(written) = json!(item) else { panic!("an object") };
    assert_eq!(written["later"], json!([1]));
    assert_eq!(Item::read(written, at(9.0)), Ok(item));
}

/// Whoever can write the table can repeat or delay a reminder, for a day at most, and nothing else.
#[test]
fn a_forged_item_hides_no_restore_and_silences_nothing_for_long() {
    let never = "2999-01-01T00:00:00Z";
    let forge = |forged: Value| Item::read(forged.as_object().unwrap().clone(), at(0.0)).unwrap();
    let restored = Look::new("a", 0.0, &[(VERSIONING, Outcome::Restored)]);
    for forged in [
        json!({"writes": {"versioning": {"look": "x", "ended": never}}}),
        json!({"telling": {"look": "x", "facts": [], "until": never}}),
        json!({"intents": {"x": {"controls": ["versioning"], "begun": at(0.0), "until": never}}}),
        json!({"restores": {"versioning": [never, never, never]}}),
    ] {
        let mut item = forge(forged.clone());
        let mut past = Past::new(Generation::First);
        item.inform("a", &mut past, at(0.0));
        assert!(past.may_write(VERSIONING, at(0.0)), "{forged}");
        assert_eq!(restored.tell(&mut item), ["Restored versioning"], "{forged}");
    }
    let mut fought = forge(json!({
        "restores": {"versioning": [at(-9.0), at(-8.0), at(-7.0)]},
        "fights": {"versioning": {"since": at(-9.0), "tell_at": never}},
    }));
    let mut told = Vec::new();
    for hour in 0..30 {
        let again = Look::new("b", 3_500.0 * f64::from(hour), &[(VERSIONING, Outcome::Restored)]);
        told.extend(again.tell(&mut fought));
    }
    assert_eq!(told.first().map(String::as_str), Some("Fight versioning"), "within the day");
    for told in [json!(never), Value::Null] {
        let state = Look::new("x", 0.0, &[(VERSIONING, Outcome::Failed)]).record(Item::default());
        let state = state.open["versioning"].state.clone();
        let mut item = forge(json!({"open": {"versioning": {"state": state, "since": at(-9.0), "told": told}}}));
        let failed = Look::new("c", 1.0, &[(VERSIONING, Outcome::Failed)]);
        assert_eq!(failed.tell(&mut item), ["Opened versioning"], "{told}");
    }
}

#[test]
fn an_item_stays_small() {
    let mut item = Item::default();
    let long = "x".repeat(256);
    for n in 0..100 {
        let mut look = Look::new("a", f64::from(n), &Control::ALL.map(|it| (it, Outcome::Failed)));
        look.report.findings.iter_mut().for_each(|it| it.error = Some(long.repeat(9)));
        look.report.calls = (0..10).map(|m| call(&format!("Call{n}-{m}"), &long, f64::from(n))).collect();
        item = look.record(item);
    }
    let bytes = json!(item).to_string().len();
    assert!(bytes < 25 * 1024, "{bytes}");
}

#[test]
fn the_end_of_an_exemption_is_told_once_also_when_nothing_has_drifted() {
    let until = at(30.0 * DAY);
    let exemption = Exemption { control: VERSIONING, until, reason: String::new(), approved_by: String::new() };
    let look = |id, read| {
        let report = Report { exemptions: Some(vec![exemption.clone()]), ..report(&[]) };
        Look { report, ..Look::new(id, read, &[]) }
    };
    let mut item = Item::default();
    assert_eq!(look("a", 0.0).tell(&mut item), NOTHING);
    let unheard = look("b", 29.0 * DAY).record(item).released("b", false);
    // Whoever made it publishes later, and what was not told is not lost.
    item = unheard;
    assert_eq!(look("c", 29.1 * DAY).tell(&mut item), ["Exemption exemption of versioning"]);
    assert_eq!(look("d", 29.2 * DAY).tell(&mut item), NOTHING);
    // Of a bucket whose registry document cannot be read nothing is known.
    assert_eq!(Look::new("e", 30.0 * DAY, &[]).tell(&mut item), NOTHING);
    assert_eq!(look("f", 30.0 * DAY).tell(&mut item), ["Exemption exemption of versioning"]);
    assert_eq!(item.exemptions, [].into());
    assert_eq!(look("g", 30.1 * DAY).tell(&mut item), NOTHING);
}

#[test]
fn a_forged_time_of_telling_silences_no_exemption() {
    let until = at(999.0 * DAY);
    let exemption = Exemption { control: VERSIONING, until, reason: String::new(), approved_by: String::new() };
    let permitted = json!({"versioning": {"until": until, "told": at(998.0 * DAY)}});
    let mut item = Item::read(json!({"exemptions": permitted}).as_object().unwrap().clone(), at(0.0)).unwrap();
    let report = Report { exemptions: Some(vec![exemption]), ..report(&[]) };
    assert_eq!(Look { report, ..Look::new("a", 0.0, &[]) }.tell(&mut item), ["Exemption exemption of versioning"]);
}

#[test]
fn a_fight_is_over_an_hour_after_the_last_restore() {
    let mut item = Item::default();
    for (look, read) in [("a", 0.0), ("b", 60.0), ("c", 120.0)] {
        Look::new(look, read, &[(VERSIONING, Outcome::Restored)]).tell(&mut item);
    }
    let is_fought_over = |seconds: f64| {
        let mut past = Past::new(Generation::First);
        item.inform("d", &mut past, at(seconds));
        past.is_fought_over(VERSIONING)
    };
    assert_eq!([121.0, 3_720.0, 3_721.0].map(is_fought_over), [true, true, false]);
    let mut held = finding(VERSIONING, Outcome::WouldRestore);
    held.left = Some(Left::Held);
    let look =
        |id, read| Look { report: Report { findings: vec![held.clone()], ..report(&[]) }, ..Look::new(id, read, &[]) };
    let mut item = item.clone();
    assert_eq!(look("d", 130.0).tell(&mut item), ["Opened versioning"]);
    assert_eq!(look("e", 200.0).tell(&mut item), NOTHING);
}
