//! What must always hold, over what the fake has and what people got.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    rc::Rc,
};

use guardrail::work::remediate::reconcile_bucket;
use guardrail_core::{control::table::Control, outcome::report::BucketOutcome};
use guardrail_simulator::{Hold, SECOND, Shows, Time, What, Writer, since_begin};
use serde_json::{Value, json};

use super::{
    Run,
    chain::{Event, Message},
    name,
    settings::Version,
};
use crate::fake::{KEY, TRAIL};

/// The longest from when an invocation begins to what it tells.
const LONGEST: Time = 121 * SECOND;

/// What is counted and remembered to see whether it holds.
#[derive(Debug, Default)]
pub(super) struct Holds {
    pub(super) violations: Vec<(Hold, String)>,
    /// What of the owners' has to be there.
    expected: BTreeMap<(usize, Control), BTreeSet<u16>>,
    /// Controls whose drift no event has to tell of, because one was lost.
    unheard: BTreeSet<(usize, Control)>,
    /// Controls of which people know that they stay off their baseline for now.
    left: BTreeSet<(usize, Control)>,
    /// Events that were deleted because another message of their bucket comes back.
    stands_for: BTreeMap<usize, Vec<Event>>,
    /// The last read of each setting, or part of one, by invocation.
    seen: BTreeMap<(usize, usize, &'static str), Seen>,
    /// What each invocation has written last to each bucket, and when that was sent.
    last_written: BTreeMap<(usize, usize), (Control, Time)>,
    stories: BTreeMap<(usize, Control), Story>,
    /// Until when the registry or its index led nobody, or not everybody, to a place; `Time::MAX`: it does not yet.
    pub(super) hidden_until: BTreeMap<usize, Time>,
    /// Invocations that the ledger failed.
    pub(super) without_ledger: BTreeSet<usize>,
    /// Invocations that could not tell people, or were gone before.
    pub(super) silenced: BTreeSet<usize>,
    pub(super) causes: usize,
    pub(super) writes: usize,
    pub(super) alerts: usize,
    /// Owners' entries that were written over within the documented window.
    pub(super) lost: usize,
}

/// When a call was sent, and what was read before.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) at: Time,
    pub(super) seen: Option<Seen>,
}

/// What a call reads, or leans on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) control: Control,
    /// What of it shows in one answer.
    pub(super) of: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// When what it showed was certainly so.
    pub(super) as_of: Time,
    /// When the answer was there.
    pub(super) answered: Time,
    pub(super) is_drift: bool,
    /// Nothing was there.
    pub(super) is_absent: bool,
}

/// What became of one control.
#[derive(Debug, Default)]
struct Story {
    /// How often it was taken off its baseline, or shown so by an old read when it was written.
    broken: usize,
    /// When a write of ours last brought it back, and whose it was.
    restored: Option<(Time, usize)>,
    /// Until when what people heard of its restores was so.
    told_until: Time,
    /// People hear of each further restore at doubling distances.
    is_fought_over: bool,
}

impl Run {
    pub(super) fn unheard(&self, bucket: usize, control: Control) {
        self.holds.borrow_mut().unheard.insert((bucket, control));
    }

    /// Somebody else has written.
    pub(super) fn others_wrote(&self, bucket: usize, control: Control, is_broken: bool, owners: &[u16]) {
        let mut holds = self.holds.borrow_mut();
        holds.causes += 1;
        holds.stories.entry((bucket, control)).or_default().broken += usize::from(is_broken);
        holds.expected.insert((bucket, control), owners.iter().copied().collect());
        holds.left.remove(&(bucket, control));
    }

    /// An invocation is shown a control.
    pub(super) fn reads(&self, by: usize, bucket: usize, read: Reading, seen: Seen, stale: bool) {
        let shows = if seen.is_drift { Shows::Drift } else { Shows::Good };
        self.note(bucket, What::Read { by, control: read.control, shows, stale });
        self.holds.borrow_mut().seen.insert((by, bucket, read.of), seen);
    }

    /// The answer of that read is there.
    pub(super) fn answered(&self, by: usize, bucket: usize, read: Reading) {
        let now = self.now();
        if let Some(seen) = self.holds.borrow_mut().seen.get_mut(&(by, bucket, read.of)) {
            seen.answered = now;
        }
    }

    /// What an invocation read last.
    pub(super) fn seen(&self, by: usize, bucket: usize, read: Reading) -> Option<Seen> {
        self.holds.borrow().seen.get(&(by, bucket, read.of)).copied()
    }

    /// A write of ours arrives. The document there is the one from before it.
    pub(super) fn check_write(&self, by: usize, bucket: usize, control: Control, new: &Version, sent: &Sent) {
        self.holds.borrow_mut().writes += 1;
        let of_others = |it: &&Message| it.event.as_ref().is_none_or(|it| it.writer != Writer::Guardrail);
        let (all_own, is_unmarked, is_told) = {
            let chain = self.chain.borrow();
            let given = chain.given(by, bucket);
            let events = || given.iter().filter_map(|it| it.event.as_ref());
            let own = |it: &&Event| it.writer == Writer::Guardrail && it.is_done;
            (
                !given.iter().any(of_others) && !given.is_empty(),
                events().filter(own).any(|it| !it.is_marked),
                events().any(|it| it.control == control && it.is_done),
            )
        };
        if all_own && (!is_unmarked || is_told) {
            let what = format!("{control} was written on events of the guardrail's own writes");
            self.violated(bucket, Hold::NoEcho, what);
        }
        let before = self.holds.borrow_mut().last_written.insert((by, bucket), (control, sent.at));
        // One that was given up may arrive after the next.
        if let Some((before, _)) = before.filter(|it| it.0 > control && it.1 < sent.at) {
            self.violated(bucket, Hold::Order, format!("{control} was written after {before}"));
        }
        let there = self.settings.borrow().of(bucket, control).clone();
        let now = self.now();
        let mut holds = self.holds.borrow_mut();
        let Holds { stories, expected, lost, .. } = &mut *holds;
        let story = stories.entry((bucket, control)).or_default();
        match there.is_broken {
            true => story.restored = Some((now, by)),
            // An old read did not show that it was good already.
            false => story.broken += 1,
        }
        let gone: Vec<_> = there.owners.iter().filter(|it| !new.owners.contains(it)).copied().collect();
        let what = match &sent.seen {
            None => Some((Hold::Needed, format!("{control} was written and never read"))),
            Some(seen) if !seen.is_drift => {
                Some((Hold::Needed, format!("{control} was written, and had not drifted when it was last read")))
            }
            Some(_) if gone.is_empty() => None,
            Some(seen) if there.since <= seen.as_of => Some((
                Hold::OwnersKeep,
                format!("{control}: {gone:?} of the owner's was there when it was read, and was written over"),
            )),
            // A key's policy and a trail's selectors are read beside their other parts, and written after those.
            Some(seen) if sent.at > seen.answered && bucket < self.options.buckets => Some((
                Hold::OwnersKeep,
                format!(
                    "{control}: {gone:?} of the owner's was written over by what was read {} ms before it was sent",
                    sent.at - seen.answered
                ),
            )),
            Some(_) => {
                *lost += gone.len();
                expected.entry((bucket, control)).or_default().retain(|it| !gone.contains(it));
                None
            }
        };
        drop(holds);
        if let Some((hold, what)) = what {
            self.violated(bucket, hold, what);
        }
    }

    /// People get a message.
    pub(super) fn people_get(&self, message: &HashMap<String, String>) {
        self.holds.borrow_mut().alerts += 1;
        let message: Value = message.get("Message").and_then(|it| serde_json::from_str(it).ok()).unwrap_or_default();
        let alert: Value = message["default"].as_str().and_then(|it| serde_json::from_str(it).ok()).unwrap_or_default();
        let Some(bucket) = alert["bucket"].as_str().and_then(super::number) else { return };
        let place = self.told_of(&alert, bucket);
        let control = |it: &Value| Control::ALL.into_iter().find(|control| Some(control.id()) == it.as_str());
        for finding in alert["findings"].as_array().into_iter().flatten() {
            let Some(control) = control(&finding["control"]) else { continue };
            let outcome = match finding["outcome"].as_str() {
                Some("restored") => "was restored",
                Some("failed") => "could not be restored",
                Some("unreadable") => "could not be read",
                Some("exempt") => "is off its baseline, as exempted",
                Some("unstable") => "did not stay as it was restored",
                _ => "is not as it should be",
            };
            self.hear(place(control), control, outcome, self.now());
        }
        for fact in alert["facts"].as_array().into_iter().flatten() {
            let Some(control) = control(&fact["about"]) else { continue };
            let at = fact["at"].as_str().and_then(|it| it.parse::<jiff::Timestamp>().ok());
            let at = at.map_or(0, since_begin);
            let heard = match fact["kind"].as_str() {
                Some("restored") => "was restored",
                Some("fight") => "is fought over",
                Some("cleared") => "is as it should be again",
                Some("interrupted") => "is good again, after a look that did not end",
                _ => continue,
            };
            self.hear(place(control), control, heard, at);
        }
    }

    /// Of what is about the key or the trail, people are told once for all buckets.
    fn told_of(&self, alert: &Value, bucket: usize) -> impl Fn(Control) -> usize + use<> {
        let options = self.options.clone();
        let control = [Control::KmsKey, Control::Trail]
            .into_iter()
            .find(|it| alert["subject"].as_str() == Some(&self.subject(options.place_of(0, *it))));
        if let Some(control) = control {
            self.see_registry();
            let place = options.place_of(0, control);
            let named = alert["buckets"].as_array().cloned().unwrap_or_default();
            let left_out = (0..options.buckets).map(name).find(|it| !named.contains(&json!(it)));
            let begun = self.now().saturating_sub(LONGEST);
            if let Some(left_out) = left_out.filter(|_| !self.was_hidden(place, begun)) {
                let what = format!("people are told of {control}, and not that it is {left_out}'s, too: {named:?}");
                self.violated(place, Hold::Told, what);
            }
        } else if alert["findings"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|it| it["control"] == "kms-key" || it["control"] == "trail")
        {
            let what = "people are told of the key or the trail as of one bucket's".to_owned();
            self.violated(bucket, Hold::Told, what);
        }
        move |control| options.place_of(bucket, control)
    }

    fn hear(&self, bucket: usize, control: Control, outcome: &'static str, at: Time) {
        self.note(bucket, What::Told { by: 0, control, outcome });
        let mut holds = self.holds.borrow_mut();
        let Holds { stories, left, .. } = &mut *holds;
        let story = stories.entry((bucket, control)).or_default();
        match outcome {
            "is off its baseline, as exempted" | "did not stay as it was restored" => {
                left.insert((bucket, control));
            }
            "could not be restored" | "could not be read" | "is not as it should be" => {}
            _ => {
                story.told_until = story.told_until.max(at);
                story.is_fought_over |= outcome == "is fought over";
            }
        }
        let broken = story.broken;
        drop(holds);
        if outcome == "is fought over" && broken < 3 {
            let what = format!("{control} is said to be fought over, and was broken {broken} times");
            self.violated(bucket, Hold::Fight, what);
        }
    }

    /// What becomes of an invocation's messages: an event is deleted only when what it did is undone or told, or when
    /// another message of its bucket comes back for it. `begun`: when the invocation did.
    pub(super) fn check_answered(&self, batch: &[Message], back: &BTreeSet<usize>, begun: Time) {
        self.see_registry();
        for bucket in self.options.guarded() {
            let messages = || batch.iter().filter(|it| it.bucket == bucket);
            let mut events: Vec<Event> = messages().filter_map(|it| it.event.clone()).collect();
            let mut holds = self.holds.borrow_mut();
            events.extend(messages().flat_map(|it| holds.stands_for.remove(&it.number).unwrap_or_default()));
            if let Some(back) = messages().find(|it| back.contains(&it.number)) {
                holds.stands_for.insert(back.number, events);
                continue;
            }
            drop(holds);
            for Event { control, number, .. } in events.into_iter().filter(|it| it.is_done) {
                let version = self.settings.borrow().of(bucket, control).clone();
                let is_undone = version.event != number || !version.is_broken;
                if !is_undone && self.was_hidden(bucket, begun) {
                    // The next sweep finds it.
                    self.unheard(bucket, control);
                } else if !is_undone && !self.is_known(bucket, control) {
                    let what =
                        format!("event {number} is deleted, and what it did to {control} is neither undone nor told");
                    self.violated(bucket, Hold::InTime, what);
                }
            }
        }
    }

    /// A message is never received again: what it is about is undone, or people know of it.
    pub(super) fn check_dead(&self, message: &Message) {
        let Some(Event { bucket, control, number, is_done: true, .. }) = message.event else { return };
        let version = self.settings.borrow().of(bucket, control).clone();
        let is_undone = version.event != number || !version.is_broken;
        if !is_undone && !self.is_known(bucket, control) {
            let what = format!("event {number} is a dead letter, and nobody was told of {control}");
            self.violated(bucket, Hold::DeadLetters, what);
        }
    }

    /// Nothing is under way any more, and the next sweep has not come.
    pub(super) fn check_quiet(&self) {
        for (bucket, control) in self.drifted() {
            if !self.is_known(bucket, control) && !self.holds.borrow().unheard.contains(&(bucket, control)) {
                let what = format!("{control} is off its baseline, its event has come, and nobody was told");
                self.violated(bucket, Hold::InTime, what);
            }
        }
    }

    fn drifted(&self) -> Vec<(usize, Control)> {
        let controls = |place| self.options.controls(place).into_iter().map(move |it| (place, it));
        let all = self.options.guarded().flat_map(controls);
        all.filter(|(bucket, control)| self.settings.borrow().of(*bucket, *control).is_broken).collect()
    }

    /// Whether an invocation that began then may not have found what is there.
    fn was_hidden(&self, place: usize, begun: Time) -> bool {
        self.holds.borrow().hidden_until.get(&place).is_some_and(|it| *it >= begun)
    }

    /// What the ledger calls it.
    fn subject(&self, place: usize) -> String {
        match place {
            _ if place == self.options.key() => format!("key:{KEY}"),
            _ if place == self.options.trail() => format!("trail:{TRAIL}"),
            _ => format!("bucket:{}", name(place)),
        }
    }

    /// Whether people know that a control stays off its baseline, or the ledger holds it open, so that every sweep looks.
    fn is_known(&self, bucket: usize, control: Control) -> bool {
        if self.holds.borrow().left.contains(&(bucket, control)) {
            return true;
        }
        let state = self.fake.state();
        let item = state.ledger.as_ref().and_then(|it| it.get(&self.subject(bucket)));
        let open = item.and_then(|it| it["open"]["M"][control.id()]["M"]["state"]["S"].as_str());
        // What was left to another look is not answered.
        open.is_some_and(|it| !it.starts_with("WouldRestore"))
    }

    /// Nothing has gone wrong since the last sweeps.
    pub(super) async fn check_at_rest(self: &Rc<Self>) {
        for bucket in 0..self.options.buckets {
            // As the guardrail itself sees it, without trouble; what the versions say of it is beside the point.
            let name = name(bucket).parse().expect("a bucket's name");
            let report = Box::pin(reconcile_bucket(&self.guardrail, &name, true)).await;
            if report.outcome != BucketOutcome::Compliant {
                let what = format!("{} when everything is at rest: {}", name, serde_json::json!(report));
                self.violated(bucket, Hold::Baseline, what);
            }
        }
        for place in [self.options.key(), self.options.trail()] {
            for control in self.options.controls(place) {
                let version = self.settings.borrow().of(place, control).clone();
                if version.is_broken {
                    let what = format!("{control} when everything is at rest: {:?}", version.text);
                    self.violated(place, Hold::Baseline, what);
                }
            }
        }
        let expected = std::mem::take(&mut self.holds.borrow_mut().expected);
        for ((bucket, control), expected) in expected {
            let there = self.settings.borrow().of(bucket, control).owners.clone();
            let gone: Vec<_> = expected.iter().filter(|it| !there.contains(it)).collect();
            if !gone.is_empty() {
                self.violated(bucket, Hold::OwnersKeep, format!("{control}: {gone:?} of the owner's is gone"));
            }
        }
        self.check_stories();
        self.check_ledger();
        let Holds { causes, writes, .. } = *self.holds.borrow();
        let faults = self.dice.count();
        // Each cause, request and fault may lead to a look that restores all seven, and to one more on its echoes.
        if writes > 14 * (causes + faults) {
            self.violated(0, Hold::Bounded, format!("{writes} writes for {causes} causes and {faults} faults"));
        }
    }

    /// Each restore was told.
    fn check_stories(&self) {
        let stories = std::mem::take(&mut self.holds.borrow_mut().stories);
        for ((bucket, control), story) in stories {
            let Some((untold, by)) = story.restored.filter(|it| it.0 > story.told_until) else { continue };
            // What was written when the ledger could not be told is lost with the process, or with the message to people.
            let holds = self.holds.borrow();
            let is_lost = holds.without_ledger.contains(&by) && holds.silenced.contains(&by);
            drop(holds);
            if !is_lost && !story.is_fought_over {
                let what = format!("{control} was restored at {untold} ms, and nobody was told");
                self.violated(bucket, Hold::Told, what);
            }
        }
    }

    /// The ledger has nothing left to tell, and nobody at work.
    fn check_ledger(&self) {
        let items = self.fake.state().ledger.clone().unwrap_or_default();
        for (subject, item) in items {
            let mut guarded = self.options.guarded();
            let bucket = guarded.find(|it| self.subject(*it) == subject).unwrap_or(self.options.elsewhere());
            let is_empty = |it: &Value| it.as_array().is_none_or(Vec::is_empty);
            if !is_empty(&item["untold"]["L"]) || item["intents"]["M"].as_object().is_some_and(|it| !it.is_empty()) {
                let what = format!("the ledger's item is not at rest: {item}");
                self.violated(bucket, Hold::Confirmed, what);
            }
        }
    }
}
