//! What led to a look: one message, or all messages of a batch that are about the same.

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};

use crate::{
    decide::echo::{Generation, Past},
    edge::{
        event::{About, Event},
        message::{Message, Request},
    },
    outcome::{
        report::{Asked, Calls, Work},
        trigger::Trigger,
    },
    value::names::RoleArn,
};

/// What a look is for.
#[derive(Clone, Debug, Default)]
pub struct Errand {
    /// The calls that led here, each once, the earliest first.
    pub events: Vec<Event>,
    /// What was asked for, beside them or alone.
    pub ask: Option<Ask>,
}

/// Work that is no answer to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    Sweep,
    Request { dry_run: bool },
}

/// A message of a batch.
#[derive(Clone, Debug)]
pub struct Letter {
    pub message: Message,
    /// Its place in the batch.
    pub place: usize,
    /// When a function had it first.
    pub first_received: Timestamp,
}

impl Errand {
    /// Of messages that are about the same. `queued`: a request that comes from a queue is the sweep's.
    pub fn of(messages: impl IntoIterator<Item = Message>, queued: bool) -> Self {
        let mut errand = Self::default();
        let mut ids = BTreeSet::new();
        for message in messages {
            match message {
                Message::Event(event) => {
                    let id = event.trigger.event_id.clone();
                    if id.is_none_or(|it| ids.insert(it)) {
                        errand.events.push(*event);
                    }
                }
                Message::Request(Request { dry_run, .. }) if queued && !dry_run => errand.ask = Some(Ask::Sweep),
                Message::Request(Request { dry_run, .. }) => errand.ask = Some(Ask::Request { dry_run }),
            }
        }
        errand.events.sort_by_cached_key(|it| it.trigger.time());
        errand
    }

    /// What people asked for.
    pub fn request(dry_run: bool) -> Self {
        Self { events: Vec::new(), ask: Some(Ask::Request { dry_run }) }
    }

    /// What is known of the calls before the look.
    pub fn past(&self, own_role: &RoleArn, now: Timestamp) -> Past {
        let mut past = Past::of_events(self.events.iter(), self.ask.is_some(), own_role, now);
        past.is_asked_for = self.is_request();
        past
    }

    /// The same for people.
    pub fn calls(&self, own_role: &RoleArn) -> Calls {
        let others = self.events.iter().filter(|it| !it.is_of(own_role)).map(|it| it.trigger.clone());
        Calls { led_here: self.trigger().cloned(), others: others.collect() }
    }

    /// The first call that led here.
    pub fn trigger(&self) -> Option<&Trigger> {
        self.events.first().map(|it| &it.trigger)
    }

    /// What was asked for, when no call led here, and by whom.
    pub fn asked(&self, by: Option<&String>) -> Option<Asked> {
        match self.ask.filter(|_| self.events.is_empty())? {
            Ask::Sweep => Some(Asked { what: Work::Sweep, by: None }),
            Ask::Request { .. } => Some(Asked { what: Work::Reconcile, by: by.cloned() }),
        }
    }

    /// Somebody asked for it.
    pub fn is_request(&self) -> bool {
        matches!(self.ask, Some(Ask::Request { .. }))
    }

    /// Nothing is to be written.
    pub fn is_dry_run(&self) -> bool {
        self.ask == Some(Ask::Request { dry_run: true })
    }

    /// Nobody but the schedule led here.
    pub fn is_sweep(&self) -> bool {
        self.ask == Some(Ask::Sweep) && self.events.is_empty()
    }

    /// Nobody but the guardrail's own roles led here.
    pub fn is_own(&self, own_role: &RoleArn, region: &str) -> bool {
        self.ask.is_none() && self.events.iter().all(|it| it.is_own(own_role, region))
    }

    /// In a word, for the log.
    pub fn name(&self) -> &str {
        match (self.trigger(), self.ask) {
            (Some(trigger), _) => &trigger.event_name,
            (None, Some(Ask::Sweep)) => "sweep",
            (None, _) => "request",
        }
    }
}

/// The letters in groups that one look answers each, in the order of their first.
pub fn looks(letters: Vec<Letter>) -> Vec<Vec<Letter>> {
    let mut looks: Vec<Vec<Letter>> = Vec::new();
    for letter in letters {
        let is_same = |look: &Vec<Letter>| look.iter().any(|it| are_about_the_same(&it.message, &letter.message));
        // It may show that two of them are about the same, by a name each.
        let mut same = looks.extract_if(.., |it| is_same(it)).flatten().collect::<Vec<_>>();
        same.push(letter);
        looks.push(same);
    }
    for look in &mut looks {
        look.sort_by_key(|it| it.place);
    }
    looks.sort_by_key(|it| it.first().map(|it| it.place));
    looks
}

/// What touches parts of the guardrail is answered call by call: each is undone, and told, by itself.
fn are_about_the_same(one: &Message, other: &Message) -> bool {
    let is_dry_run = |it: &Message| matches!(it, Message::Request(Request { dry_run: true, .. }));
    match (one.about(), other.about()) {
        (About::Part(_), _) | (About::Bucket(Err(_)), _) => false,
        (one_about, other_about) => is_the_same(&one_about, &other_about) && is_dry_run(one) == is_dry_run(other),
    }
}

/// A key is known by its ARN, its id and its alias, and an event names some of them.
fn is_the_same(one: &About, other: &About) -> bool {
    match (one, other) {
        (About::KmsKey(one), About::KmsKey(other)) | (About::Trail(one), About::Trail(other)) => {
            one.iter().any(|it| other.contains(it))
        }
        (one, other) => one == other,
    }
}

/// What messages that are about the same are about, by all names that they give it.
pub fn about(messages: &[Message]) -> Option<About> {
    let mut about = messages.first()?.about();
    for message in &messages[1..] {
        match (&mut about, message.about()) {
            (About::KmsKey(names), About::KmsKey(more)) | (About::Trail(names), About::Trail(more)) => {
                let new: Vec<_> = more.into_iter().filter(|it| !names.contains(it)).collect();
                names.extend(new);
            }
            _ => {}
        }
    }
    Some(about)
}

/// Which of a look's letters is kept when it failed: the one that lets the next look do most, and the latest of these. A
/// call of our own that failed leads nowhere.
pub fn kept(letters: &[Letter], own_role: &RoleArn) -> Option<usize> {
    let leads_here = |it: &&Letter| !matches!(&it.message, Message::Event(it) if it.is_own_failure(own_role));
    let rank = |it: &Letter| match &it.message {
        Message::Event(event) => (event.generation(own_role), std::cmp::Reverse(event.trigger.time())),
        Message::Request(_) => (Generation::First, std::cmp::Reverse(None)),
    };
    letters.iter().filter(leads_here).min_by_key(|it| rank(it)).map(|it| it.place)
}

/// How long a letter waits that failed, so that the tries of it are 30, 60, 120 and 240 seconds apart; `None`: it had its
/// time. Counted is time and not how often a function had it: it may have been handed over in vain. `braked_until`: it has
/// not failed, and waits for the rest of a fight's minute.
pub fn retry_in(first_received: Timestamp, now: Timestamp, braked_until: Option<Timestamp>) -> Option<Duration> {
    const WAITS: [i64; 4] = [30, 60, 120, 240];
    let spent = now.duration_since(first_received);
    let mut begins = 0;
    for wait in WAITS {
        begins += wait;
        if spent < SignedDuration::from_secs(begins) {
            let rest = braked_until.map(|it| it.duration_since(now).as_millis_f64() / 1000.0);
            return Some(match rest {
                Some(rest) => Duration::from_secs_f64(rest.ceil().clamp(1.0, 60.0)),
                None => Duration::from_secs(wait.unsigned_abs()),
            });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ROLE: &str = "arn:aws:iam::111122223333:role/s3-guardrail-remediate-eu-west-2";

    fn event(event_name: &str, id: &str, second: u8, issuer: &str) -> Message {
        let detail = json!({
            "eventName": event_name, "eventID": id, "eventTime": format!("2026-11-23T10:00:{second:02}Z"),
            "requestParameters": {"bucketName": "acme-data"},
            "userIdentity": {"sessionContext": {"sessionIssuer": {"arn": issuer}}},
        });
        Message::from_body(&json!({ "detail": detail }).to_string()).unwrap()
    }

    fn others(id: &str, second: u8) -> Message {
        event("PutBucketVersioning", id, second, "arn:aws:iam::111122223333:role/dev-ci")
    }

    fn body(body: serde_json::Value) -> Message {
        Message::from_body(&body.to_string()).unwrap()
    }

    fn letters(messages: Vec<Message>) -> Vec<Letter> {
        let letter = |(place, message)| Letter { message, place, first_received: Timestamp::UNIX_EPOCH };
        messages.into_iter().enumerate().map(letter).collect()
    }

    #[test]
    fn what_is_about_the_same_is_one_look() {
        let part = || {
            body(
                json!({"detail": {"eventSource": "ssm.amazonaws.com", "eventName": "X", "requestParameters": {"name": "/p"}}}),
            )
        };
        let key = |id: &str| {
            body(
                json!({"detail": {"eventSource": "kms.amazonaws.com", "eventName": "X", "requestParameters": {"keyId": id}}}),
            )
        };
        let nowhere = || body(json!({"detail": {"eventName": "X", "requestParameters": {"bucketName": "A"}}}));
        let groups = looks(letters(vec![
            others("a", 1),
            body(json!({"bucket": "acme-other"})),
            body(json!({"bucket": "acme-data"})),
            body(json!({"bucket": "acme-data", "dry_run": true})),
            part(),
            part(),
            key("k"),
            event("PutBucketVersioning", "b", 2, ROLE),
            key("l"),
            key("k"),
            nowhere(),
            nowhere(),
            body(json!({"guardrail": true})),
            body(json!({"guardrail": true})),
        ]));
        let places: Vec<Vec<_>> = groups.iter().map(|it| it.iter().map(|it| it.place).collect()).collect();
        let alone = |place| vec![place];
        assert_eq!(
            places,
            [
                vec![0, 2, 7],
                alone(1),
                alone(3),
                alone(4),
                alone(5),
                vec![6, 9],
                alone(8),
                alone(10),
                alone(11),
                alone(12),
                alone(13)
            ]
        );
    }

    #[test]
    fn a_key_is_one_look_by_whatever_names_calls_know_it() {
        let key = |names: &[&str]| {
            let resources: Vec<_> = names[1..].iter().map(|it| json!({ "ARN": it })).collect();
            let parameters = json!({"keyId": names[0]});
            body(json!({"detail": {
                "eventSource": "kms.amazonaws.com", "eventName": "X", "requestParameters": parameters, "resources": resources,
            }}))
        };
        let arn = "arn:aws:kms:eu-west-2:111122223333:key/k";
        let request = body(json!({ "key": arn }));
        let messages = vec![key(&["k"]), request, key(&["other"]), key(&["k", arn]), key(&["alias/a", arn])];
        let groups = looks(letters(messages));
        let places: Vec<Vec<_>> = groups.iter().map(|it| it.iter().map(|it| it.place).collect()).collect();
        assert_eq!(places, [vec![0, 1, 3, 4], vec![2]]);
        let of = |group: &[Letter]| about(&group.iter().map(|it| it.message.clone()).collect::<Vec<_>>());
        let named = |names: &[&str]| Some(About::KmsKey(names.iter().map(|it| (*it).to_owned()).collect()));
        assert_eq!(of(&groups[0]), named(&["k", arn, "alias/a"]));
        assert_eq!(about(&[]), None);
    }

    #[test]
    fn a_call_counts_once_and_the_earliest_comes_first() {
        let errand = Errand::of([others("b", 2), others("a", 1), others("b", 2)], true);
        let ids: Vec<_> = errand.events.iter().filter_map(|it| it.trigger.event_id.as_deref()).collect();
        assert_eq!(ids, ["a", "b"]);
        assert_eq!(errand.calls(&ROLE.parse().unwrap()).others.len(), 2);
        assert!(errand.ask.is_none() && !errand.is_sweep() && !errand.is_dry_run());
        assert_eq!((errand.name(), errand.asked(None)), ("PutBucketVersioning", None));
    }

    #[test]
    fn a_request_is_the_sweeps_when_it_comes_from_the_queue() {
        let by = Some("ann".to_owned());
        let of = |dry_run: bool, queued| Errand::of([body(json!({"bucket": "acme-data", "dry_run": dry_run}))], queued);
        let what = |errand: &Errand| (errand.name().to_owned(), errand.asked(by.as_ref()), errand.is_dry_run());
        let (sweep, reconcile) = (Work::Sweep, Work::Reconcile);
        assert_eq!(what(&of(false, true)), ("sweep".to_owned(), Some(Asked { what: sweep, by: None }), false));
        let request = Some(Asked { what: reconcile, by: by.clone() });
        assert_eq!(what(&of(false, false)), ("request".to_owned(), request.clone(), false));
        assert_eq!(what(&of(true, true)), ("request".to_owned(), request, true));
        assert!(of(false, true).is_sweep() && !of(false, true).is_own(&ROLE.parse().unwrap(), "eu-west-2"));
        let with_call = Errand::of([body(json!({"bucket": "acme-data"})), others("a", 1)], true);
        assert!(!with_call.is_sweep() && with_call.ask == Some(Ask::Sweep) && with_call.asked(None).is_none());
    }

    #[test]
    fn what_is_kept_lets_the_next_look_do_most() {
        let own = |id: &str, second| event("PutBucketVersioning", id, second, ROLE);
        let kept = |messages| kept(&letters(messages), &ROLE.parse().unwrap());
        assert_eq!(kept(vec![own("a", 9), others("b", 1), others("c", 2), own("d", 9)]), Some(2));
        assert_eq!(kept(vec![own("a", 1), own("b", 2)]), Some(1));
        assert_eq!(kept(vec![own("a", 1), body(json!({"bucket": "acme-data"}))]), Some(1));
        assert_eq!(kept(vec![]), None);
        let Message::Event(mut failed) = own("e", 9) else { panic!("an event") };
        failed.trigger.error_code = Some("AccessDenied".to_owned());
        assert_eq!(kept(vec![Message::Event(failed), own("a", 1)]), Some(1));
    }

    #[test]
    fn a_letter_that_only_the_brake_keeps_waits_for_the_rest_of_its_minute() {
        let at = |seconds: f64| Timestamp::UNIX_EPOCH + SignedDuration::from_secs_f64(seconds);
        let wait = |now, until| retry_in(at(0.0), at(now), Some(at(until))).map(|it| it.as_secs_f64());
        let waits = [wait(0.0, 60.0), wait(0.5, 60.0), wait(59.9, 60.0), wait(100.0, 150.2)];
        assert_eq!(waits.map(Option::unwrap), [60.0, 60.0, 1.0, 51.0]);
        // A clock may be wrong, and so may the ledger.
        assert_eq!([wait(60.0, 60.0), wait(0.0, 999.0), wait(100.0, 0.0)].map(Option::unwrap), [1.0, 60.0, 1.0]);
        assert_eq!(wait(450.0, 480.0), None, "whoever goes on with the fight makes letters of their own");
    }

    #[test]
    fn a_letter_waits_longer_each_time_and_not_for_ever() {
        let wait = |seconds| {
            let now = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
            retry_in(Timestamp::UNIX_EPOCH, now, None).map(|it| it.as_secs())
        };
        let mut tries = Vec::new();
        let mut now = 0;
        while let Some(seconds) = wait(now) {
            tries.push(seconds);
            now += i64::try_from(seconds).unwrap();
        }
        assert_eq!(tries, [30, 60, 120, 240]);
        assert_eq!([29, 30, 89, 90, 209, 210, 449].map(wait).map(Option::unwrap), [30, 60, 60, 120, 120, 240, 240]);
    }
}
