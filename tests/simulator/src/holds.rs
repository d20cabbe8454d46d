//! What must always hold: at each write, at each alert, and when everything is at rest.

use std::collections::{BTreeMap, BTreeSet};

use guardrail_core::{
    control::table::Control,
    outcome::{
        finding::{Finding, Outcome},
        ledger::{Fact, FactKind},
        trigger::Trigger,
    },
};

use crate::{
    chain::{Body, Event, Message},
    clock::{SECOND, Time},
    dice::Kind,
    invocation::{Answer, SKEW},
    ledger::heard,
    look::Look,
    notes::What,
    simulation::{Simulation, since_begin},
    world::{Library, Stored, Writer},
};

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hold {
    /// Nothing of an owner's is lost outside the documented window.
    OwnersKeep,
    /// Once nothing goes wrong any more, two sweeps bring everything to its baseline.
    Baseline,
    /// Drift whose event came is restored or told without waiting for a sweep.
    InTime,
    /// No write answers its own echo.
    NoEcho,
    /// Nothing is written that did not drift in the look's own last read of it.
    Needed,
    /// What shuts the door comes first: a look writes in the order of the table.
    Order,
    /// Writes are bounded by their causes.
    Bounded,
    /// What is told was so.
    True,
    /// Nothing is called unstable that nobody has changed.
    Unstable,
    /// Each restore is told.
    Told,
    /// Each restore is told once.
    ToldOnce,
    /// Nobody is said to fight who has not broken it three times.
    Fight,
    /// The ledger says that people were told only when they were.
    Confirmed,
    /// No write begins when the look's time is over, and an invocation ends before Lambda ends it.
    Deadline,
    /// Nobody is named for what their call cannot have done.
    Blame,
    /// No message becomes a dead letter that people were not told of.
    DeadLetters,
}

/// The most that the guardrail writes and tells, of so many causes: others' calls, acts, faults and requests.
struct Bound {
    most_writes: usize,
    most_alerts: usize,
}

impl Bound {
    /// Each may lead to a look that restores all seven controls, and that to one on its echoes, which restores what
    /// somebody has changed since. Each of both tells once, and once more what came meanwhile.
    fn of(causes: usize) -> Self {
        Self { most_writes: 14 * causes, most_alerts: 4 * causes }
    }
}

/// So long after our write the event of whoever undid it has come, but for a few.
/// CloudTrail's times are cut to the second.
const SETTLED: Time = 89 * SECOND;

/// What is counted and remembered to see whether it holds.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    pub(crate) violations: Vec<(Hold, String)>,
    /// What of the owners' has to be there.
    expected: Vec<BTreeMap<Control, BTreeSet<u16>>>,
    /// Controls whose drift no event has to tell of, because one was lost.
    unheard: BTreeSet<(usize, Control)>,
    /// Controls of which people know that they stay off their baseline for now.
    left: BTreeSet<(usize, Control)>,
    /// Events that were deleted because another message of their bucket comes back.
    stands_for: BTreeMap<usize, Vec<Event>>,
    /// Facts that people were told, by id.
    published: BTreeSet<(usize, String)>,
    /// Buckets of which a look did not hear what the ledger has.
    pub(crate) unheard_ledgers: BTreeSet<usize>,
    /// What was broken, restored and told, by control.
    stories: BTreeMap<(usize, Control), Story>,
    /// Each call that CloudTrail may tell of, by the number of its event.
    calls: BTreeMap<usize, Event>,
    pub(crate) causes: usize,
    /// Messages that people got.
    pub(crate) alerts: usize,
    pub(crate) writes: usize,
    /// Owners' entries that were written over within the documented window.
    pub(crate) lost: usize,
    /// The longest time from when a document was so to the arrival of the write that lost something.
    pub(crate) longest_window: Time,
    /// Told as unstable although somebody else had changed it since.
    pub(crate) misjudged: usize,
}

/// What became of one control.
#[derive(Debug, Default)]
struct Story {
    /// How often somebody else took it off its baseline, and brought it back.
    broken: usize,
    mended: usize,
    /// Our writes of it.
    writes: Vec<Write>,
    /// How often people heard that it was restored, and until when what they heard was so.
    told: usize,
    told_until: Time,
    is_fought_over: bool,
}

/// A write of ours.
#[derive(Debug)]
struct Write {
    /// The invocation that made it.
    by: usize,
    /// When the read was asked for that showed the drift.
    asked: Time,
    /// When others last changed it, as far as the events that led to the look tell.
    called: Option<Time>,
    sent: Time,
    arrived: Time,
    /// When S3 had answered; `None`: nobody waited for that.
    ended: Option<Time>,
    /// It had drifted. Or it was good already, which an old read did not show.
    is_needed: bool,
}

impl Write {
    /// Whether it counts as the restore that another write is, which people were told of: its drift was read before that was
    /// answered, and no call since that was sent is known. What drifts in between, nobody is told of.
    /// `off`: by how much clocks differ.
    fn counts_as(&self, other: &Self, off: Time) -> bool {
        let is_beside = other.by != self.by && other.arrived <= self.arrived;
        let is_read_before = other.ended.is_some_and(|it| self.asked < it + off);
        // CloudTrail's times are cut to the second.
        is_beside && is_read_before && self.called.is_none_or(|it| it / SECOND <= (other.sent + off) / SECOND)
    }
}

impl Story {
    /// How many of our writes restored it, and how many were of what was good.
    fn count(&self, is_needed: bool) -> usize {
        self.writes.iter().filter(|it| it.is_needed == is_needed).count()
    }
}

impl Holds {
    pub(crate) fn new(library: &Library) -> Self {
        Self { expected: vec![BTreeMap::new(); library.buckets.len()], ..Self::default() }
    }

    /// `before`: what was there.
    pub(crate) fn others_write(&mut self, bucket: usize, control: Control, before: &Stored, stored: &Stored) {
        self.causes += 1;
        let story = self.stories.entry((bucket, control)).or_default();
        match (before.change.is_some(), stored.change.is_some()) {
            (_, true) => story.broken += 1,
            (true, false) => story.mended += 1,
            (false, false) => {}
        }
        self.expected[bucket].insert(control, stored.owners.iter().copied().collect());
        self.left.remove(&(bucket, control));
    }

    pub(crate) fn lost(&mut self, event: Event) {
        if !event.failed {
            self.unheard.insert((event.bucket, event.control));
        }
    }

    pub(crate) fn made(&mut self, event: Event) {
        self.calls.insert(event.number, event);
    }
}

impl Look<'_> {
    /// A write of this look arrives; `sent`: when it was sent.
    pub(crate) fn check_write(&self, control: Control, stored: &Stored, sent: Time) {
        let (sim, bucket, now) = (&self.by.sim, self.bucket, self.by.sim.clock.now());
        sim.holds.borrow_mut().writes += 1;
        let of_others = |it: Option<Event>| it.is_none_or(|it| it.writer != Writer::Guardrail);
        let all_own = !self.messages.iter().any(|it| of_others(it.body.event()));
        let is_unmarked = self.events().any(|it| it.writer == Writer::Guardrail && !it.marked);
        if all_own && (!is_unmarked || self.events().any(|it| it.control == control)) {
            sim.violated(
                bucket,
                Hold::NoEcho,
                format!("{control} was written on events of the guardrail's own writes"),
            );
        }
        if let Some(before) = self.last_written.get().filter(|it| *it > control) {
            sim.violated(bucket, Hold::Order, format!("{control} was written after {before}"));
        }
        if sent >= self.deadline {
            sim.violated(bucket, Hold::Deadline, format!("a write of {control} began when the look's time was over"));
        }
        let Some(seen) = self.seen.get(&control).filter(|it| it.is_drift) else {
            let what = format!("{control} was written, and had not drifted when it was last read");
            return sim.violated(bucket, Hold::Needed, what);
        };
        let there = sim.s3.borrow().now(bucket, control).clone();
        let of_others =
            self.events().filter(|it| it.writer != Writer::Guardrail && it.control == control && !it.failed);
        let write = Write {
            by: self.by.number,
            asked: seen.asked,
            called: of_others.map(|it| it.made).max(),
            sent,
            arrived: now,
            ended: None,
            is_needed: there.stored.change.is_some(),
        };
        sim.holds.borrow_mut().stories.entry((bucket, control)).or_default().writes.push(write);
        let lost: Vec<_> = there.stored.owners.iter().filter(|it| !stored.owners.contains(it)).copied().collect();
        if lost.is_empty() {
            return;
        }
        // In the same moment it may have been just after.
        if there.since < seen.as_of {
            let what = format!("{control}: {lost:?} of the owner's was there when it was read, and was written over");
            sim.violated(bucket, Hold::OwnersKeep, what);
        } else if sent > seen.answered {
            let what = format!(
                "{control}: {lost:?} of the owner's was written over by what was read {} ms before it was sent",
                sent - seen.answered
            );
            sim.violated(bucket, Hold::OwnersKeep, what);
        } else {
            let mut holds = sim.holds.borrow_mut();
            holds.lost += lost.len();
            holds.longest_window = holds.longest_window.max(now - seen.as_of);
            holds.expected[bucket].entry(control).or_default().retain(|it| !lost.contains(it));
        }
    }

    /// The last write of this look is over.
    pub(crate) fn ended(&self, control: Control) {
        let (sim, by) = (&self.by.sim, self.by.number);
        let mut holds = sim.holds.borrow_mut();
        let writes = holds.stories.get_mut(&(self.bucket, control)).into_iter().flat_map(|it| &mut it.writes);
        writes.filter(|it| it.by == by).last().into_iter().for_each(|it| it.ended = Some(sim.clock.now()));
    }

    /// Whoever is named for a change of a control has made a call that can have done it.
    fn check_blame(sim: &Simulation, bucket: usize, control: Control, named: &[Trigger]) {
        for call in named {
            let number = call.event_id.as_ref().and_then(|it| it.parse().ok()).unwrap_or_default();
            let made = sim.holds.borrow().calls.get(&number).copied();
            let is_able = made.is_some_and(|it| {
                it.bucket == bucket && it.control == control && !it.failed && it.writer != Writer::Guardrail
            });
            if !is_able {
                let what = format!("event {number} is named for {control}, and cannot have changed it: {made:?}");
                sim.violated(bucket, Hold::Blame, what);
            }
        }
    }

    /// What is told was so when it was last read, unless somebody has changed it since.
    pub(crate) fn check_told(&self, finding: &Finding) {
        let (sim, bucket, control) = (&self.by.sim, self.bucket, finding.control);
        Self::check_blame(sim, bucket, control, &finding.calls);
        let as_of = self.seen.get(&control).map_or(0, |it| it.as_of);
        let now = sim.s3.borrow().now(bucket, control).clone();
        let others_since = now.writer != Writer::Guardrail && now.since > as_of;
        match finding.outcome {
            Outcome::Restored if !others_since && now.stored.change.is_some() => {
                sim.violated(bucket, Hold::True, format!("{control} was told as restored, and is not"));
            }
            Outcome::Unstable => {
                let holds = sim.holds.borrow();
                let deleted = self.messages.iter().filter_map(|it| holds.stands_for.get(&it.number)).flatten();
                let is_known = |it: &Event| it.writer != Writer::Guardrail && it.control == control;
                let is_known = deleted.copied().chain(self.events()).any(|it| is_known(&it));
                drop(holds);
                let versions = sim.s3.borrow().versions(bucket, control).to_vec();
                let own = |it: &Event| it.writer == Writer::Guardrail && it.control == control;
                // What others have written since, it cannot know.
                let written = self.informed.as_ref().and_then(|it| it.writes.get(&control));
                let ours = self.events().filter(own).map(|it| it.made).max().unwrap_or_default();
                let ended = written.map_or(ours, |it| ours.max(since_begin(it.ended)));
                if sim.clock.now() + 2 * SKEW.unsigned_abs() < ended + SETTLED {
                    let what =
                        format!("{control} was told as unstable {} ms after it was written", sim.clock.now() - ended);
                    sim.violated(bucket, Hold::Unstable, what);
                } else if is_known {
                    let what =
                        format!("{control} was told as unstable, and an event of its messages says who changed it");
                    sim.violated(bucket, Hold::Unstable, what);
                } else if versions.iter().any(|it| it.writer != Writer::Guardrail && it.since >= ours) {
                    sim.holds.borrow_mut().misjudged += 1;
                } else {
                    let what = format!("{control} was told as unstable, and nobody had changed it");
                    sim.violated(bucket, Hold::Unstable, what);
                }
            }
            _ => {}
        }
        // What failed is tried again.
        if matches!(finding.outcome, Outcome::Unstable | Outcome::Exempt) {
            sim.holds.borrow_mut().left.insert((bucket, control));
        }
    }
}

impl Simulation {
    /// What becomes of an invocation's messages: an event is deleted only when what it did is undone or told, or when
    /// another message of its bucket comes back for it.
    pub(crate) fn check_answered(&self, batch: &[Message], answers: &[(usize, Answer)]) {
        for bucket in 0..self.library.buckets.len() {
            let messages = || batch.iter().filter(|it| it.body.bucket() == bucket);
            let mut events: Vec<_> = messages().filter_map(|it| it.body.event()).collect();
            let mut holds = self.holds.borrow_mut();
            events.extend(messages().flat_map(|it| holds.stands_for.remove(&it.number).unwrap_or_default()));
            let is_back =
                |it: &&Message| answers.iter().any(|(n, answer)| *n == it.number && *answer != Answer::Delete);
            if let Some(back) = messages().find(is_back) {
                holds.stands_for.insert(back.number, events);
                continue;
            }
            drop(holds);
            for Event { control, number, .. } in events.into_iter().filter(|it| !it.failed) {
                let version = self.s3.borrow().now(bucket, control).clone();
                let is_undone = version.event != number || version.stored.change.is_none();
                let is_open = self.is_open(bucket, control);
                if !is_undone && !is_open && !self.holds.borrow().left.contains(&(bucket, control)) {
                    let what =
                        format!("event {number} is deleted, and what it did to {control} is neither undone nor told");
                    self.violated(bucket, Hold::InTime, what);
                }
            }
        }
    }

    /// A message is never received again: what it is about is undone, or people know of it.
    pub(crate) fn check_dead(&self, body: Body) {
        let Some(Event { bucket, control, number, failed: false, .. }) = body.event() else { return };
        let version = self.s3.borrow().now(bucket, control).clone();
        let is_undone = version.event != number || version.stored.change.is_none();
        if !is_undone && !self.is_open(bucket, control) && !self.holds.borrow().left.contains(&(bucket, control)) {
            let what = format!("event {number} is a dead letter, and nobody was told of {control}");
            self.violated(bucket, Hold::DeadLetters, what);
        }
    }

    /// Nothing is under way any more, and the next sweep has not come.
    pub(crate) fn check_quiet(&self) {
        for bucket in 0..self.library.buckets.len() {
            for control in self.s3.borrow().drifted(bucket) {
                let holds = self.holds.borrow();
                let is_open = self.is_open(bucket, control);
                let is_known = is_open || holds.left.contains(&(bucket, control));
                if is_known || holds.unheard.contains(&(bucket, control)) {
                    continue;
                }
                drop(holds);
                let what = format!("{control} is off its baseline, its event has come, and nobody was told");
                self.violated(bucket, Hold::InTime, what);
            }
        }
    }

    /// Nothing has gone wrong since the last sweeps.
    pub(crate) fn check_at_rest(&self, faults: usize, requests: usize) {
        for bucket in 0..self.library.buckets.len() {
            let drifted = self.s3.borrow().drifted(bucket);
            for control in drifted {
                let what = format!("{control} is off its baseline, and everything is at rest");
                self.violated(bucket, Hold::Baseline, what);
            }
            let expected = std::mem::take(&mut self.holds.borrow_mut().expected[bucket]);
            for (control, expected) in expected {
                let there = self.s3.borrow().now(bucket, control).stored.owners.clone();
                let gone: Vec<_> = expected.iter().filter(|it| !there.contains(it)).collect();
                if !gone.is_empty() {
                    self.violated(bucket, Hold::OwnersKeep, format!("{control}: {gone:?} of the owner's is gone"));
                }
            }
        }
        self.check_stories();
        let Holds { causes, writes, alerts, .. } = *self.holds.borrow();
        let Bound { most_writes, most_alerts } = Bound::of(causes + faults + requests);
        if writes > most_writes || alerts > most_alerts {
            let what =
                format!("{writes} writes and {alerts} messages for {causes} causes and {faults} acts and faults");
            self.violated(0, Hold::Bounded, what);
        }
    }

    /// Whether the ledger says that a control cannot be restored, so that every sweep looks.
    fn is_open(&self, bucket: usize, control: Control) -> bool {
        let (_, item) = self.ledger.item(bucket);
        // What was left to another look is not answered.
        item.open.get(control.id()).is_some_and(|it| !it.state.starts_with("WouldRestore"))
    }

    /// People hear of facts.
    pub(crate) fn told_facts(&self, bucket: usize, by: usize, facts: &[Fact]) {
        for fact in facts {
            self.holds.borrow_mut().published.insert((bucket, fact.id.clone()));
            let Some(control) = Control::ALL.into_iter().find(|it| it.id() == fact.about) else { continue };
            self.note(bucket, What::Told { by, control, outcome: heard(fact.kind) });
            Look::check_blame(self, bucket, control, &fact.calls);
            let mut holds = self.holds.borrow_mut();
            let story = holds.stories.entry((bucket, control)).or_default();
            let broken = story.broken + story.count(false);
            match fact.kind {
                FactKind::Restored => story.told += 1,
                FactKind::Fight => story.is_fought_over = true,
                FactKind::Interrupted | FactKind::Cleared | FactKind::Exemption => {}
                FactKind::Opened | FactKind::Reminder | FactKind::Tampered | FactKind::Attempted => continue,
            }
            story.told_until = story.told_until.max(since_begin(fact.at));
            drop(holds);
            if fact.kind == FactKind::Fight && broken < 3 {
                let what = format!("{control} is said to be fought over, and was broken {broken} times");
                self.violated(bucket, Hold::Fight, what);
            }
        }
    }

    /// People hear of a restore without the ledger.
    pub(crate) fn told_without_ledger(&self, bucket: usize, control: Control) {
        let mut holds = self.holds.borrow_mut();
        holds.stories.entry((bucket, control)).or_default().told_until = self.clock.now();
    }

    /// The ledger says that people were told.
    pub(crate) fn check_confirmed(&self, bucket: usize, facts: &[Fact]) {
        for fact in facts {
            if !self.holds.borrow().published.contains(&(bucket, fact.id.clone())) {
                let what = format!("the ledger says that people were told of {}, and they were not", fact.about);
                self.violated(bucket, Hold::Confirmed, what);
            }
        }
    }

    /// Each restore was told, and once unless something failed on the way.
    fn check_stories(&self) {
        let stories = std::mem::take(&mut self.holds.borrow_mut().stories);
        for ((bucket, control), story) in stories {
            // What was written when the ledger could not be told is lost with the process, or with the message to people.
            let is_cut =
                self.replaced.get().is_some() || self.dice.has_happened(&[Kind::Crash, Kind::Unpublished], bucket);
            let is_unheard = self.holds.borrow().unheard_ledgers.contains(&bucket);
            let is_lost = is_unheard && is_cut;
            if !is_lost
                && let Some(untold) = self.untold(bucket, &story)
                && !story.is_fought_over
            {
                let what = format!("{control} was restored at {} ms, and nobody was told", untold.arrived);
                self.violated(bucket, Hold::Told, what);
            }
            let most = story.writes.len() + story.mended;
            if story.told > most && !is_cut && !is_unheard {
                let what = format!("{control} was told as restored {} times, and was {most} times", story.told);
                self.violated(bucket, Hold::ToldOnce, what);
            }
        }
    }

    /// A restore that people were not told of, and that is no other's.
    fn untold<'a>(&self, bucket: usize, story: &'a Story) -> Option<&'a Write> {
        let off = if self.dice.has_happened(&[Kind::Skewed], bucket) { 2 * SKEW.unsigned_abs() } else { 0 };
        let is_told = |it: &Write| it.arrived <= story.told_until + SKEW.unsigned_abs();
        let told = || story.writes.iter().filter(|it| is_told(it));
        let mut untold = story.writes.iter().filter(|it| it.is_needed && !is_told(it));
        untold.find(|it| !told().any(|other| it.counts_as(other, off)))
    }

    /// Lambda ended an invocation.
    pub(crate) fn timed_out(&self, bucket: usize) {
        self.violated(bucket, Hold::Deadline, "an invocation did not end in time".to_owned());
    }
}
