//! What is known of a bucket from the ledger alone, and how old that is. Unknown is not compliant.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::{
    control::table::Control,
    decide::{ledger::ItemError, uses},
    edge::registry::{Mode, Registration},
    outcome::ledger::{BUCKET, HINDRANCE, Item, Open, OpenKind},
    value::{plain::clean, subject::Subject},
};

/// A look that found nothing new is written down once a day, and a bucket is swept once a day at least: what is older
/// says nothing of today.
const STALE: SignedDuration = SignedDuration::from_hours(50);

/// How a bucket is; each is worse than those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Compliant,
    /// It has drifted where it may.
    Exempt,
    /// It has drifted, and is only observed.
    Observe,
    /// It has drifted, and is to be restored.
    Drifted,
    /// A policy would keep the guardrail from its work.
    Endangered,
    /// It is restored again and again.
    Fight,
    /// Nobody has looked, or not lately, or what the ledger has cannot be used.
    Unknown,
    /// It could not be restored.
    Failed,
    Unreadable,
    Gone,
    /// Its registry document is not valid, so that it is not guarded.
    Broken,
}

/// What the ledger knows of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub state: State,
    /// When it and all that it leans on had last been looked at, as far as that was written down; `None`: some of it never.
    pub looked: Option<Timestamp>,
    pub matters: Vec<Matter>,
}

/// Something that is not as it should be, or not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Matter {
    /// Of what the bucket leans on; `None`: of the bucket itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// A control's id, or what else it is about.
    pub about: String,
    pub state: State,
    pub since: Option<Timestamp>,
    /// When people were last told; `None`: they were not yet.
    pub told: Option<Timestamp>,
    /// What is known beside that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The bucket, and what it leans on in its account.
pub fn subjects(registration: &Registration) -> Vec<Subject> {
    let bucket = Subject::Bucket(registration.bucket.clone());
    [bucket].into_iter().chain(uses::subjects([registration])).collect()
}

impl Known {
    /// From the items of a bucket's [`subjects`], by name, as far as there are any.
    pub fn new(registration: &Registration, items: &BTreeMap<String, Result<Item, ItemError>>, now: Timestamp) -> Self {
        let mut looks = Vec::new();
        let mut matters = Vec::new();
        for subject in subjects(registration) {
            let of = (!matches!(subject, Subject::Bucket(_))).then(|| subject.to_string());
            let unknown = |note: String| unknown(of.clone(), note);
            let item = items.get(&subject.to_string());
            looks.push(item.and_then(|it| it.as_ref().ok()?.looked));
            match item {
                Some(Ok(item)) => {
                    match item.looked {
                        Some(looked) if now.duration_since(looked) < STALE => {}
                        Some(_) => matters.push(unknown("not looked at lately".to_owned())),
                        None => matters.push(unknown("never looked at".to_owned())),
                    }
                    matters.extend(of_item(item, of.as_ref(), registration, now));
                }
                Some(Err(error)) => matters.push(unknown(unusable(error))),
                None => matters.push(unknown("never looked at".to_owned())),
            }
        }
        let state = matters.iter().map(|it| it.state).max().unwrap_or(State::Compliant);
        // `None` is the least.
        Self { state, looked: looks.into_iter().min().flatten(), matters }
    }
}

/// What of the guardrail's own parts is not as it should be, from the item about it. One that cannot be used says nothing
/// of them, which is not that they are good.
pub fn of_guardrail(item: &Result<Item, ItemError>) -> Vec<Matter> {
    let item = match item {
        Ok(item) => item,
        Err(error) => return vec![unknown(None, unusable(error))],
    };
    let matter = |(part, open): (&String, &Open)| Matter {
        of: None,
        about: clean(part),
        state: if open.kind == OpenKind::Unreadable { State::Unreadable } else { State::Failed },
        since: Some(open.since),
        told: open.told,
        note: Some(clean(&open.state)),
    };
    item.open.iter().map(matter).collect()
}

fn unknown(of: Option<String>, note: String) -> Matter {
    let (about, note) = (BUCKET.to_owned(), Some(clean(&note)));
    Matter { of, about, state: State::Unknown, since: None, told: None, note }
}

fn unusable(error: &ItemError) -> String {
    format!("the ledger's item cannot be used: {error}")
}

fn of_item(item: &Item, of: Option<&String>, registration: &Registration, now: Timestamp) -> Vec<Matter> {
    let matter = |about: &str, state| Matter {
        of: of.cloned(),
        about: clean(about),
        state,
        since: None,
        told: None,
        note: None,
    };
    let mut matters = Vec::new();
    for (about, open) in &item.open {
        // It has words of its own.
        let note = (about == BUCKET && open.kind != OpenKind::Gone || about.starts_with(HINDRANCE))
            .then(|| clean(&open.state))
            .or_else(|| (open.kind == OpenKind::EnforcedAbove).then(|| "enforced by the account".to_owned()));
        let (since, told) = (Some(open.since), open.told);
        matters.push(Matter { since, told, note, ..matter(about, state(about, open, registration, now)) });
    }
    for (control, fight) in item.fights.iter().filter(|it| item.is_fought_over(*it.0, now)) {
        matters.push(Matter { since: Some(fight.since), ..matter(control.id(), State::Fight) });
    }
    for intent in item.intents.values() {
        let note =
            if now < intent.until { "it is being restored" } else { "a look began to restore it and did not end" };
        for control in intent.controls.iter().filter(|it| !item.open.contains_key(it.id())) {
            let (since, note) = (Some(intent.begun), Some(note.to_owned()));
            matters.push(Matter { since, note, ..matter(control.id(), State::Drifted) });
        }
    }
    matters
}

/// How that is which is open. What was left since it was permitted is no longer so when it no longer is.
fn state(about: &str, open: &Open, registration: &Registration, now: Timestamp) -> State {
    let is_exempt = || {
        let control = Control::ALL.into_iter().find(|it| it.id() == about);
        control.is_some_and(|it| registration.exemption(it, now).is_some())
    };
    match open.kind {
        OpenKind::EnforcedAbove => State::Compliant,
        OpenKind::Exempt if is_exempt() => State::Exempt,
        OpenKind::Observed if registration.mode == Mode::Observe => State::Observe,
        OpenKind::Exempt | OpenKind::Observed | OpenKind::Left => State::Drifted,
        OpenKind::Endangered => State::Endangered,
        OpenKind::Failed => State::Failed,
        OpenKind::Unreadable => State::Unreadable,
        OpenKind::Gone => State::Gone,
        OpenKind::Unknown => State::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const KEY: &str = "arn:aws:kms:eu-west-2:111122223333:key/k";
    const TRAIL: &str = "arn:aws:cloudtrail:eu-west-2:111122223333:trail/t";
    const OWN: &str = "bucket:acme-data";

    /// So many hours after the beginning.
    fn at(hours: f64) -> Timestamp {
        "2026-11-23T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs_f64(hours * 3600.0)
    }

    fn registration(more: Value) -> Registration {
        let mut document =
            json!({"bucket": "acme-data", "account": "111122223333", "key_arn": KEY, "trail_arn": TRAIL});
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Registration::parse(&document.to_string(), &"acme-data".parse().unwrap()).unwrap()
    }

    fn known_at(now: Timestamp, more: Value, items: &[(&str, Value)]) -> Known {
        let read = |it: &Value| Item::read(it.as_object().unwrap().clone(), now);
        let registration = registration(more);
        // What it leans on is good, unless the test says otherwise; `null`: it is not there.
        let leans_on =
            subjects(&registration).split_off(1).into_iter().map(|it| (it.to_string(), json!({ "looked": now })));
        let mut all: BTreeMap<_, _> = leans_on.collect();
        all.extend(items.iter().map(|(subject, it)| ((*subject).to_owned(), it.clone())));
        let items = all.iter().filter(|it| !it.1.is_null()).map(|(subject, it)| (subject.clone(), read(it))).collect();
        Known::new(&registration, &items, now)
    }

    fn known(more: Value, items: &[(&str, Value)]) -> Known {
        known_at(at(1.0), more, items)
    }

    fn looked() -> Value {
        json!({"looked": at(0.0)})
    }

    fn open(about: &str, kind: &str) -> Value {
        let open = json!({"state": "as it is", "since": at(-2.0), "told": at(-1.0), "kind": kind});
        json!({"looked": at(0.0), "open": {about: open}})
    }

    #[test]
    fn who_was_looked_at_and_has_nothing_open_is_compliant() {
        let known = known(json!({}), &[(OWN, looked())]);
        assert_eq!(known, Known { state: State::Compliant, looked: Some(at(0.0)), matters: Vec::new() });
    }

    #[test]
    fn what_nobody_knows_is_not_compliant() {
        let unknown = |hours: f64, items: &[(&str, Value)], note: &str| {
            let known = known_at(at(hours), json!({}), items);
            assert_eq!(known.state, State::Unknown, "{note}");
            assert_eq!(known.looked.is_none(), !note.contains("lately"));
            let told = known.matters[0].note.clone().unwrap();
            assert!(told.contains(note), "{told}");
        };
        unknown(1.0, &[], "never looked at");
        unknown(1.0, &[(OWN, json!({}))], "never looked at");
        for leans_on in [format!("key:{KEY}"), format!("trail:{TRAIL}")] {
            unknown(1.0, &[(OWN, looked()), (&leans_on, Value::Null)], "never looked at");
        }
        unknown(50.0, &[(OWN, looked())], "not looked at lately");
        assert_eq!(known_at(at(49.9), json!({}), &[(OWN, looked())]).state, State::Compliant);
        // Forged, made by a later version, or broken.
        unknown(-1.0, &[(OWN, looked())], "never looked at");
        unknown(1.0, &[(OWN, json!({"meaning": 2, "looked": at(0.0)}))], "a newer version of the guardrail wrote it");
        unknown(1.0, &[(OWN, json!({"looked": at(0.0), "open": 7}))], "cannot be used");
        unknown(1.0, &[(OWN, looked()), ("key:arn:aws:kms:eu-west-2:111122223333:key/k", json!({"open": 7}))], "used");
        assert_eq!(known(json!({}), &[(OWN, open("versioning", "a later kind"))]).state, State::Unknown);
    }

    #[test]
    fn what_is_open_says_since_when_and_when_people_were_told() {
        let known = known(json!({}), &[(OWN, open("versioning", "failed"))]);
        let (since, told) = (Some(at(-2.0)), Some(at(-1.0)));
        let about = "versioning".to_owned();
        let matter = Matter { of: None, about, state: State::Failed, since, told, note: None };
        assert_eq!(known, Known { state: State::Failed, looked: Some(at(0.0)), matters: vec![matter] });
        let known = self::known(json!({}), &[(OWN, open("hindrance in bucket-policy", "endangered"))]);
        assert_eq!((known.state, known.matters[0].note.as_deref()), (State::Endangered, Some("as it is")));
    }

    #[test]
    fn what_was_permitted_is_shown_as_such_while_it_is() {
        let until = |until| json!({"exemptions": [{"control": "versioning", "until": until}]});
        let observe = json!({"mode": "observe"});
        for (more, kind, state) in [
            (until("2026-11-24"), "exempt", State::Exempt),
            (until("2026-11-22"), "exempt", State::Drifted),
            (json!({}), "exempt", State::Drifted),
            (observe, "observed", State::Observe),
            (json!({}), "observed", State::Drifted),
            (json!({}), "left", State::Drifted),
            (json!({}), "enforced-above", State::Compliant),
            (json!({}), "unreadable", State::Unreadable),
            (json!({}), "gone", State::Gone),
        ] {
            assert_eq!(known(more.clone(), &[(OWN, open("versioning", kind))]).state, state, "{kind} {more}");
        }
    }

    #[test]
    fn the_worst_of_the_bucket_and_what_it_leans_on_counts() {
        let former = "arn:aws:kms:eu-west-2:111122223333:key/former";
        let keys = [format!("key:{KEY}"), format!("key:{former}")];
        let trail = format!("trail:{TRAIL}");
        let items = [
            (OWN, open("versioning", "left")),
            (keys[0].as_str(), looked()),
            (keys[1].as_str(), json!({"looked": at(-9.0), "open": open("kms-key", "failed")["open"]})),
            (trail.as_str(), open("trail", "unreadable")),
            ("key:another", open("kms-key", "gone")),
        ];
        let known = known(json!({"former_keys": [former]}), &items);
        assert_eq!((known.state, known.looked), (State::Unreadable, Some(at(-9.0))));
        let of: Vec<_> = known.matters.iter().map(|it| (it.of.as_deref(), it.about.as_str())).collect();
        let (key, trail) = (Some(keys[1].as_str()), Some(trail.as_str()));
        assert_eq!(of, [(None, "versioning"), (key, "kms-key"), (trail, "trail")]);
    }

    #[test]
    fn a_fight_and_a_restore_that_did_not_end_are_no_peace() {
        let fight = |restored: f64| {
            let fights = json!({"versioning": {"since": at(-0.5), "tell_at": at(2.0)}});
            known(
                json!({}),
                &[(OWN, json!({"looked": at(0.0), "fights": fights, "restores": {"versioning": [at(restored)]}}))],
            )
        };
        assert_eq!((fight(0.1).state, fight(-0.1).state), (State::Fight, State::Compliant), "an hour later it is over");
        let intent = |until: f64| {
            let intents = json!({"a": {"controls": ["versioning"], "begun": at(0.99), "until": at(until)}});
            let known = known(json!({}), &[(OWN, json!({"looked": at(0.0), "intents": intents}))]);
            (known.state, known.matters[0].note.clone().unwrap())
        };
        assert_eq!(intent(1.01), (State::Drifted, "it is being restored".to_owned()));
        assert_eq!(intent(0.99), (State::Drifted, "a look began to restore it and did not end".to_owned()));
    }

    #[test]
    fn a_strangers_text_does_not_reach_the_terminal() {
        let item =
            json!({"looked": at(0.0), "open": {"\u{1b}[31mx": {"state": "", "since": at(0.0), "kind": "failed"}}});
        assert_eq!(known(json!({}), &[(OWN, item)]).matters[0].about, "[31mx");
    }
}
