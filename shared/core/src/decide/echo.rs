//! What the events of our own writes mean: whether a look may write, whether it should look again, and what it says of drift
//! that it may not restore.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    control::table::Control,
    decide::backoff::{REREAD_OF_GOOD, REREADS},
    edge::event::Event,
    outcome::{
        finding::Left,
        report::{BucketOutcome, Report},
        trigger::Trigger,
    },
    value::names::RoleArn,
};

/// How far a message is from a call of somebody else. A look has the least of its messages', and its writes make events
/// of the next; the third makes none, so that no chain of writes is longer than two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Generation {
    /// Somebody else's call, a request, or the sweep.
    #[default]
    First,
    /// A write that a look of the first made.
    Second,
    /// A write that a look of the second made.
    Third,
}

impl Event {
    /// Its generation. The mark counts in a call of this very role only: anybody can send it.
    pub fn generation(&self, own_role: &RoleArn) -> Generation {
        if !self.is_of(own_role) {
            return Generation::First;
        }
        let marked = self.trigger.user_agent.as_deref().is_some_and(|it| it.contains(&format!("app/{ECHO_APP_NAME}")));
        if marked { Generation::Third } else { Generation::Second }
    }
}

/// For how long a write of ours may explain what is read.
const FRESH: SignedDuration = SignedDuration::from_secs(60);

/// How long after our latest write drift means that it did not hold. Until then the event of whoever undid it may be on
/// its way.
const SETTLED: SignedDuration = SignedDuration::from_secs(90);

/// For how long after a call, as CloudTrail cuts its time to the second, S3 may still answer with what was before it, also
/// on a machine whose clock is two seconds fast.
pub(super) const STALE: SignedDuration = SignedDuration::from_secs(5);

/// What is known, at a look, of the calls before it.
#[derive(Clone, Debug)]
pub struct Past {
    pub generation: Generation,
    /// A person asked for it, and whatever is fought over is restored at once.
    pub is_asked_for: bool,
    /// The latest write of each control that an event of our own in this look tells of.
    own: BTreeMap<Control, Timestamp>,
    /// The latest that the ledger tells of, ended or begun.
    written: BTreeMap<Control, Timestamp>,
    /// Controls that somebody fights over.
    fought_over: BTreeSet<Control>,
    /// Until when a control is not restored because somebody fights over it.
    braked: BTreeMap<Control, Timestamp>,
    /// Others' calls that succeeded, each with its time.
    calls: Vec<(Timestamp, Trigger)>,
}

/// Nothing is known: nobody called, as far as we know.
pub static NO_PAST: Past = Past::new(Generation::First);

/// What becomes of drift that a look may not restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instead {
    /// Our write did not hold, and nobody else is known to have called.
    Unstable,
    /// It is too early to say that: the message goes back.
    NotYet,
    /// Somebody fights over it: the message goes back until then, and that is no failure.
    Braked(Timestamp),
    /// Somebody else's look, or the next sweep, restores it.
    Left,
}

impl Past {
    /// Of a look of this generation.
    pub const fn new(generation: Generation) -> Self {
        Self {
            generation,
            is_asked_for: false,
            own: BTreeMap::new(),
            written: BTreeMap::new(),
            fought_over: BTreeSet::new(),
            braked: BTreeMap::new(),
            calls: Vec::new(),
        }
    }

    /// Of a look at these events. `requested`: something that is no event led there, too.
    pub fn of_events<'a>(
        events: impl Iterator<Item = &'a Event> + Clone,
        requested: bool,
        own_role: &RoleArn,
        now: Timestamp,
    ) -> Self {
        let generations = events.clone().map(|it| it.generation(own_role));
        let generation = generations.chain(requested.then_some(Generation::First)).min();
        let mut past = Self::new(generation.unwrap_or_default());
        for event in events {
            let time = event.trigger.time().unwrap_or(now);
            match Control::of_event(&event.trigger.event_name) {
                Some(control) if event.is_of(own_role) => past.saw_own(control, time),
                _ if event.is_of(own_role) => {}
                _ => past.saw_call(event.trigger.clone(), time),
            }
        }
        past
    }

    /// An event of the look tells of a write of ours.
    pub fn saw_own(&mut self, control: Control, time: Timestamp) {
        latest(&mut self.own, control, time);
    }

    /// The ledger tells of a write of ours, or that one was about to begin.
    pub fn saw_write(&mut self, control: Control, time: Timestamp) {
        latest(&mut self.written, control, time);
    }

    /// Somebody else called. What failed changed nothing.
    pub fn saw_call(&mut self, call: Trigger, time: Timestamp) {
        if call.error_code.is_none() {
            self.calls.push((time, call));
        }
    }

    /// Somebody fights over it.
    pub fn fight(&mut self, control: Control) {
        self.fought_over.insert(control);
    }

    /// Somebody fights over it, and it was just restored.
    pub fn brake(&mut self, control: Control, until: Timestamp) {
        latest(&mut self.braked, control, until);
    }

    /// Whether drift of a control may be restored.
    pub fn may_write(&self, control: Control, now: Timestamp) -> bool {
        self.braked_until(control, now).is_none()
            && match self.generation {
                Generation::First => true,
                Generation::Second => {
                    let is_fresh = self.written.get(&control).is_some_and(|it| now.duration_since(*it) < FRESH);
                    !self.own.contains_key(&control) && !is_fresh
                }
                Generation::Third => false,
            }
    }

    /// Whether somebody fights over a control, and nobody asked for its restore.
    pub fn is_fought_over(&self, control: Control) -> bool {
        !self.is_asked_for && self.fought_over.contains(&control)
    }

    fn braked_until(&self, control: Control, now: Timestamp) -> Option<Timestamp> {
        self.braked.get(&control).copied().filter(|it| !self.is_asked_for && now < *it)
    }

    /// What becomes of drift of a control that may not be restored.
    pub fn instead(&self, control: Control, now: Timestamp) -> Instead {
        if self.generation == Generation::First
            && let Some(until) = self.braked_until(control, now)
        {
            return Instead::Braked(until);
        }
        let Some(write) = self.latest_write(control) else { return Instead::Left };
        // CloudTrail's times are cut to the second.
        if self.is_called(control, |call| call >= write.as_second()) {
            return Instead::Left;
        }
        if now.duration_since(write) < SETTLED {
            return Instead::NotYet;
        }
        // An event that is older than our latest write proves nothing of that.
        let proves = self.own.get(&control).is_some_and(|it| it.as_second() >= write.as_second());
        if proves { Instead::Unstable } else { Instead::Left }
    }

    /// How long to wait before another read of what was read at `now`; `None`: it counts. `drifted`: what that showed
    /// as drifted, of all that was `read`; `again`: how often it was read again already.
    ///
    /// What was just written flaps: drift that a write of ours may explain, and nobody else's call since, is doubtful,
    /// and so is a control that reads good right after a call that can have changed it.
    pub fn reread(&self, drifted: &[Control], read: &[Control], now: Timestamp, again: usize) -> Option<Duration> {
        let is_doubtful = |control: &Control| {
            // Nothing is written or told of it, whatever another read shows; in a storm each look would wait for that.
            if matches!(self.instead(*control, now), Instead::Braked(_)) {
                return false;
            }
            // However old an event of our own is, its drift is no news of the moment.
            let is_told = self.own.contains_key(control);
            let write = self.latest_write(*control).filter(|it| is_told || now.duration_since(*it) < FRESH);
            write.is_some_and(|write| !self.is_called(*control, |call| call > write.as_second()))
        };
        if drifted.iter().any(is_doubtful) {
            return REREADS.get(again).copied();
        }
        let good = read.iter().filter(|it| !drifted.contains(it));
        let called = good.flat_map(|control| self.calls.iter().filter(|it| it.1.can_have_changed(*control)));
        let latest = called.map(|(at, _)| *at).max()?;
        let is_early = now.duration_since(latest) < STALE && again <= REREADS.len();
        is_early.then_some(REREAD_OF_GOOD)
    }

    fn latest_write(&self, control: Control) -> Option<Timestamp> {
        [&self.own, &self.written].into_iter().filter_map(|it| it.get(&control).copied()).max()
    }

    /// Whether somebody else's call at such a second can have changed a control.
    fn is_called(&self, control: Control, at: impl Fn(i64) -> bool) -> bool {
        self.calls.iter().any(|(time, call)| call.can_have_changed(control) && at(time.as_second()))
    }
}

fn latest(times: &mut BTreeMap<Control, Timestamp>, control: Control, time: Timestamp) {
    let known = times.entry(control).or_insert(time);
    *known = time.max(*known);
}

/// In the user agent of writes made on an echo of our own; CloudTrail keeps it, so the next echo knows.
pub const ECHO_APP_NAME: &str = "s3-guardrail-echo";

/// Whether people are to hear what a look at an event came to. Of our own calls they hear what those left undone, and
/// neither that they were made nor what somebody else has changed meanwhile.
pub fn is_news(report: &Report, is_own: bool) -> bool {
    let is_left = report.outcome == BucketOutcome::Drifted
        && report
            .findings
            .iter()
            .all(|it| matches!(it.left, Some(Left::ForNow | Left::NotYet | Left::Braked(_) | Left::Held)))
        && report.hindrances.is_empty()
        && report.exposures.is_empty();
    !is_own || !is_left && report.outcome != BucketOutcome::Compliant
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::outcome::{
        exposure::{Exposure, ExposureKind},
        finding::{Finding, Outcome},
        hindrance::{Document, Hindrance},
    };

    const ROLE: &str = "arn:aws:iam::111122223333:role/s3-guardrail-remediate-eu-west-2";

    #[test]
    fn a_mark_counts_in_calls_of_this_very_role() {
        let generation = |issuer: &str, user_agent: &str| {
            let event = json!({"detail": {
                "eventSource": "s3.amazonaws.com", "eventName": "PutBucketVersioning", "userAgent": user_agent,
                "requestParameters": {"bucketName": "acme-data"},
                "userIdentity": {"sessionContext": {"sessionIssuer": {"arn": issuer}}},
            }});
            Event::parse(&event).unwrap().generation(&ROLE.parse().unwrap())
        };
        let marked = "aws-sdk-rust/1.3 app/s3-guardrail-echo";
        assert_eq!(generation("arn:aws:iam::111122223333:role/dev-ci", marked), Generation::First);
        assert_eq!(generation(ROLE, "aws-sdk-rust/1.3"), Generation::Second);
        assert_eq!(generation(ROLE, marked), Generation::Third);
    }

    const VERSIONING: Control = Control::Versioning;

    /// So many seconds later.
    fn at(seconds: f64) -> Timestamp {
        "2026-11-23T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs_f64(seconds)
    }

    fn call(error: Option<&str>) -> Trigger {
        let (event_name, error_code) = ("PutBucketVersioning".to_owned(), error.map(str::to_owned));
        Trigger { event_name, error_code, ..Trigger::default() }
    }

    #[test]
    fn a_look_writes_what_no_event_of_its_own_tells_of() {
        let may = |generation, own: Option<f64>, written: Option<f64>, now| {
            let mut past = Past::new(generation);
            own.into_iter().for_each(|it| past.saw_own(VERSIONING, at(it)));
            written.into_iter().for_each(|it| past.saw_write(VERSIONING, at(it)));
            past.may_write(VERSIONING, at(now))
        };
        use Generation::{First, Second, Third};
        assert!(may(First, Some(0.0), Some(0.0), 1.0));
        assert!(may(Second, None, None, 1.0));
        assert!(!may(Second, Some(0.0), None, 1000.0));
        assert!(!may(Second, None, Some(0.0), 59.9));
        assert!(may(Second, None, Some(0.0), 60.0));
        assert!(!may(Third, None, None, 1.0));
    }

    #[test]
    fn what_did_not_hold_is_told_when_nobody_else_can_have_done_it() {
        let instead = |own: Option<f64>, written: Option<f64>, called: Option<(f64, Option<&str>)>, now| {
            let mut past = Past::new(Generation::Third);
            own.into_iter().for_each(|it| past.saw_own(VERSIONING, at(it)));
            written.into_iter().for_each(|it| past.saw_write(VERSIONING, at(it)));
            called.into_iter().for_each(|(it, error)| past.saw_call(call(error), at(it)));
            past.instead(VERSIONING, at(now))
        };
        use Instead::{Left, NotYet, Unstable};
        for (own, written, called, now, then) in [
            (None, None, None, 100.0, Left),
            (Some(0.0), None, None, 89.9, NotYet),
            (Some(0.0), None, None, 90.0, Unstable),
            // The ledger's times are not cut.
            (Some(0.0), Some(0.9), None, 90.9, Unstable),
            (Some(0.0), Some(1.0), None, 90.9, NotYet),
            (Some(0.0), Some(1.0), None, 91.0, Left),
            (None, Some(1.0), None, 91.0, Left),
            (Some(1.0), None, Some((0.0, None)), 91.0, Unstable),
            (Some(1.0), Some(1.9), Some((1.0, None)), 10.0, Left),
            (Some(1.0), None, Some((1.0, Some("AccessDenied"))), 91.0, Unstable),
        ] {
            assert_eq!(instead(own, written, called, now), then, "{own:?} {written:?} {called:?} {now}");
        }
    }

    #[test]
    fn doubtful_drift_is_read_three_times_more_and_doubtful_good_until_it_is_not() {
        let reread = |own: Option<f64>, called: Option<f64>, drifted: bool, now, again| {
            let mut past = Past::new(Generation::First);
            own.into_iter().for_each(|it| past.saw_own(VERSIONING, at(it)));
            called.into_iter().for_each(|it| past.saw_call(call(None), at(it)));
            let both = [VERSIONING, Control::Lifecycle];
            let drifted = if drifted { &both[..1] } else { &[] };
            past.reread(drifted, &both, at(now), again).map(|it| it.as_millis())
        };
        let waits: Vec<_> = (0..).map_while(|again| reread(Some(0.0), None, true, 1.0, again)).collect();
        assert_eq!(waits, [500, 1000, 2000]);
        assert_eq!(reread(Some(0.0), Some(0.0), true, 1.0, 0), Some(500), "in the same second it explains nothing");
        assert_eq!(reread(Some(0.9), Some(1.0), true, 1.0, 0), None);
        assert_eq!(reread(Some(0.0), None, true, 9999.0, 0), Some(500), "an event of ours tells of it");
        assert_eq!(reread(None, Some(0.0), true, 1.0, 0), None, "nothing of ours");
        assert_eq!(reread(None, Some(0.0), false, 4.9, 0), Some(2000));
        assert_eq!(reread(None, Some(0.0), false, 4.9, 4), None, "a clock may be wrong");
        assert_eq!(reread(None, Some(0.0), false, 5.0, 0), None);
        for (generation, wait) in [(Generation::First, None), (Generation::Second, Some(500))] {
            let mut past = Past::new(generation);
            past.saw_write(Control::Versioning, at(0.0));
            past.brake(Control::Versioning, at(60.0));
            let reread = past.reread(&[Control::Versioning], &[Control::Versioning], at(1.0), 0);
            assert_eq!(reread.map(|it| it.as_millis()), wait, "a storm of calls must not wait for what is braked");
        }
        assert_eq!(reread(Some(0.0), None, false, 1.0, 0), None);
    }

    #[test]
    fn a_look_knows_what_its_events_tell() {
        let event = |issuer: &str, event_name: &str, time: Option<&str>| {
            let event = json!({"detail": {
                "eventSource": "s3.amazonaws.com", "eventName": event_name, "eventTime": time,
                "requestParameters": {"bucketName": "acme-data"},
                "userIdentity": {"sessionContext": {"sessionIssuer": {"arn": issuer}}},
            }});
            Event::parse(&event).unwrap()
        };
        let time = Some("2026-11-23T10:00:00Z");
        let other = "arn:aws:iam::111122223333:role/dev-ci";
        let own = [event(ROLE, "PutBucketVersioning", time), event(ROLE, "PutBucketTagging", time)];
        let past =
            |events: &[Event], requested| Past::of_events(events.iter(), requested, &ROLE.parse().unwrap(), at(50.0));
        assert_eq!(past(&own, true).generation, Generation::First);
        assert_eq!(past(&[], true).generation, Generation::First);
        assert_eq!(past(&own, false).generation, Generation::Second);
        assert_eq!(past(&own, false).instead(VERSIONING, at(90.0)), Instead::Unstable);
        assert!(past(&own, false).may_write(Control::Lifecycle, at(1.0)));
        let [versioning, tagging] = own;
        let both = past(&[versioning, tagging, event(other, "PutBucketVersioning", None)], false);
        assert_eq!(both.generation, Generation::First);
        assert_eq!(both.instead(VERSIONING, at(90.0)), Instead::Left, "without a time it was just now");
    }

    #[test]
    fn of_our_own_calls_people_hear_what_those_left_undone() {
        let finding = |left| {
            let finding = Finding::new(Control::Versioning, Outcome::WouldRestore, (Value::Null, Value::Null));
            Finding { left: Some(Left::ForNow).filter(|_| left), ..finding }
        };
        let report = |outcome, findings| Report { findings, ..Report::new("acme-data", outcome, None) };
        let left = || report(BucketOutcome::Drifted, vec![finding(true)]);
        let hindrance = Hindrance::example(Document::BucketPolicy, true);
        let exposure = Exposure::example(ExposureKind::EarlyDeletion, Control::Lifecycle);
        for (report, is_own_news) in [
            (report(BucketOutcome::Compliant, vec![]), false),
            (left(), false),
            (report(BucketOutcome::Drifted, vec![finding(true), finding(false)]), true),
            (report(BucketOutcome::Failed, vec![finding(true)]), true),
            (report(BucketOutcome::Restored, vec![]), true),
            (Report { hindrances: vec![hindrance], ..left() }, true),
            (Report { exposures: vec![exposure], ..left() }, true),
        ] {
            assert_eq!(is_news(&report, true), is_own_news, "{report:?}");
            assert!(is_news(&report, false), "somebody else's call always is");
        }
    }
}
