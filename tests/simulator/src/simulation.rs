//! What all parts of a history share.

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
};

use guardrail_core::{control::table::Control, edge::registry::Registration};
use jiff::Timestamp;

use crate::{
    Options, Plant,
    chain::{Body, Chain, Event, tell},
    clock::{Clock, MINUTE, Time},
    dice::{Dice, Kind},
    holds::{Hold, Holds},
    ledger::Ledger,
    notes::{Note, Notes, What},
    world::{Guarded, Library, S3, Stored, Version, Writer},
};

/// The longest that a call takes in one direction, unless it is slow.
pub(crate) const LATENCY: Time = 80;

/// How late a read may show a write. The rereads of an echo take 3.5 s.
const STALENESS: Time = 2_000;

/// One history while it goes on.
pub(crate) struct Simulation {
    pub(crate) options: Options,
    pub(crate) library: Rc<Library>,
    pub(crate) clock: Clock,
    pub(crate) dice: Dice,
    pub(crate) s3: RefCell<S3>,
    pub(crate) chain: RefCell<Chain>,
    /// The registry document of each bucket.
    pub(crate) registry: RefCell<Vec<Rc<Registration>>>,
    /// Until when each bucket's calls take seconds.
    pub(crate) slow_until: RefCell<Vec<Time>>,
    pub(crate) ledger: Ledger,
    pub(crate) holds: RefCell<Holds>,
    pub(crate) notes: RefCell<Notes>,
    /// When the functions were last replaced.
    pub(crate) replaced: Cell<Option<Time>>,
    /// Until when actors act.
    pub(crate) active: Time,
    /// Nothing goes wrong any more: the last sweeps, after which all has to be well.
    pub(crate) is_calm: Cell<bool>,
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Simulation {
    pub(crate) fn new(library: Rc<Library>, seed: u64, options: &Options) -> Self {
        let registered = |it: &Guarded| Rc::new(it.registration.clone());
        let clock = Clock::default();
        let notes = Notes::new(options.trace);
        Self {
            dice: Dice::new(seed, options.only.clone(), clock.hand()),
            clock,
            s3: RefCell::new(S3::new(&library)),
            chain: RefCell::default(),
            registry: RefCell::new(library.buckets.iter().map(registered).collect()),
            slow_until: RefCell::new(vec![0; library.buckets.len()]),
            replaced: Cell::new(None),
            ledger: Ledger::default(),
            holds: RefCell::new(Holds::new(&library)),
            notes: RefCell::new(notes),
            active: options.hours.map_or(5 * MINUTE, |it| it * 60 * MINUTE),
            is_calm: Cell::new(false),
            options: options.clone(),
            library,
        }
    }

    pub(crate) fn note(&self, bucket: usize, what: What) {
        self.notes.borrow_mut().add(Note { at: self.clock.now(), bucket, what });
    }

    pub(crate) fn violated(&self, bucket: usize, hold: Hold, what: String) {
        self.note(bucket, What::Violated { what: what.clone() });
        self.holds.borrow_mut().violations.push((hold, format!("bucket {bucket}, at {} ms: {what}", self.clock.now())));
    }

    pub(crate) fn has(&self, plant: Plant) -> bool {
        self.options.plant == Some(plant)
    }

    /// Whether something goes wrong, which it does one time in so many.
    pub(crate) fn fails(&self, kind: Kind, bucket: usize, one_in: u32) -> Option<fastrand::Rng> {
        if self.is_calm.get() { None } else { self.dice.happens(kind, bucket, one_in) }
    }

    /// When what a read shows was so.
    pub(crate) fn as_of(&self, bucket: usize) -> Time {
        let stale = self.fails(Kind::Stale, bucket, 10);
        self.clock.now().saturating_sub(stale.map_or(0, |mut rng| rng.u64(1..STALENESS)))
    }

    /// A message as it is taken.
    pub(crate) fn as_taken(&self, body: Body) -> Body {
        match body {
            Body::Event(event) if self.has(Plant::ForgetEchoes) => {
                Body::Event(Event { writer: Writer::Owner, ..event })
            }
            Body::Event(event) if self.has(Plant::RefusedIsDone) => Body::Event(Event { failed: false, ..event }),
            other => other,
        }
    }

    /// A call of somebody else's changes a setting.
    pub(crate) fn others_write(self: &Rc<Self>, writer: Writer, bucket: usize, control: Control, stored: Rc<Stored>) {
        let (now, event) = (self.clock.now(), self.chain.borrow_mut().event_number());
        self.note(bucket, What::Called { writer, control, drifts: stored.change.is_some(), event });
        let before = Rc::clone(&self.s3.borrow().now(bucket, control).stored);
        self.holds.borrow_mut().others_write(bucket, control, &before, &stored);
        self.s3.borrow_mut().write(bucket, control, Version { event, since: now, writer, stored });
        tell(self, Event { number: event, made: now, bucket, control, writer, marked: false, failed: false });
    }

    /// Somebody tries to change a setting, and is refused.
    pub(crate) fn attempt(self: &Rc<Self>, bucket: usize, control: Control) {
        let (now, event) = (self.clock.now(), self.chain.borrow_mut().event_number());
        self.note(bucket, What::Attempted { control, event });
        let (writer, marked, failed) = (Writer::Insider, false, true);
        tell(self, Event { number: event, made: now, bucket, control, writer, marked, failed });
    }

    /// The registry document of a bucket.
    pub(crate) fn registration(&self, bucket: usize) -> Rc<Registration> {
        Rc::clone(&self.registry.borrow()[bucket])
    }
}

/// When a history begins, in milliseconds of Unix time.
const BEGIN: i64 = 57 * 365 * 24 * 60 * 60 * 1_000;

/// A time of the history as AWS gives it.
pub fn timestamp(now: Time) -> Timestamp {
    let now = i64::try_from(now).unwrap_or_default();
    Timestamp::from_millisecond(BEGIN + now).unwrap_or(Timestamp::MAX)
}

/// The same back.
pub fn since_begin(time: Timestamp) -> Time {
    Time::try_from(time.as_millisecond() - BEGIN).unwrap_or_default()
}
