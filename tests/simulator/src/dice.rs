//! What is left to chance, decided by the seed: each choice has a name and dice of its own, so that one can be switched off
//! and the others stay what they are.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    fmt,
    rc::Rc,
    str::FromStr,
};

use fastrand::Rng;

use crate::clock::Time;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $word:literal,)*) => {
        /// What a choice is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $name,)*
        }

        const KINDS: &[(Kind, &str)] = &[$((Kind::$name, $word),)*];
    };
}

kinds! {
    /// Of every history: how long things take, and what an act is about.
    Chance "chance",
    // Acts.
    Owner "owner",
    Beside "owner-beside-a-look",
    Robot "robot",
    Tool "tool",
    Insider "insider",
    Again "insider-again-at-once",
    Timed "insider-into-our-echo",
    Exempts "operator-exempts",
    Bootstraps "operator-bootstraps",
    /// For some minutes, each call of a bucket takes seconds.
    Brownout "s3-slow",
    // Faults.
    Lost "event-lost",
    Doubled "event-doubled",
    Late "event-late",
    Redelivered "message-redelivered",
    /// A batch was received, and there was no room for an invocation.
    NotBegun "batch-not-begun",
    Stale "stale-read",
    Unreadable "read-denied",
    Busy "write-busy",
    Denied "write-denied",
    Unanswered "write-unanswered",
    Slow "call-slow",
    Crash "crash",
    Unpublished "publish-fails",
    LedgerDown "ledger-down",
    LedgerUnanswered "ledger-unanswered",
    RollsBack "operator-rolls-back",
    /// All functions are replaced at once, and the schedule pauses for a minute.
    Redeploys "operator-redeploys",
    /// A call that is refused.
    Attempts "insider-refused",
    Skewed "clock-off",
    // Faults that the SDK meets by itself, in its own tier alone.
    Throttled "call-throttled",
    Reset "connection-reset",
    // Acts of that tier.
    Forgets "registry-document-lost",
    Misleads "insider-at-the-index",
}

/// One choice of a history: of its kind at its place, the `nth` at this time. It does not depend on what came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Choice {
    pub kind: Kind,
    pub place: u16,
    /// In milliseconds.
    pub at: u32,
    pub nth: u8,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = KINDS.iter().find(|(kind, _)| *kind == self.kind).map_or("", |(_, word)| word);
        write!(f, "{word}:{}:{}", self.place, self.at)?;
        if self.nth > 0 { write!(f, ":{}", self.nth) } else { Ok(()) }
    }
}

/// This names no choice.
#[derive(Debug)]
pub struct NoChoice(String);

impl fmt::Display for NoChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no choice like `insider:0:61000`", self.0)
    }
}

impl std::error::Error for NoChoice {}

impl FromStr for Choice {
    type Err = NoChoice;

    fn from_str(text: &str) -> Result<Self, NoChoice> {
        let parse = || {
            let mut parts = text.split(':');
            let word = parts.next()?;
            let kind = KINDS.iter().find(|(_, it)| *it == word)?.0;
            let (place, at) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            Some(Self { kind, place, at, nth: parts.next().map_or(Some(0), |it| it.parse().ok())? })
        };
        parse().ok_or_else(|| NoChoice(text.to_owned()))
    }
}

/// The dice of one history.
#[derive(Debug)]
pub struct Dice {
    seed: u64,
    /// The acts and faults that may happen; `None`: all.
    only: Option<Rc<BTreeSet<Choice>>>,
    /// How much more often than usual each kind happens.
    weights: Vec<u32>,
    now: Rc<Cell<Time>>,
    /// When each kind was chosen last at each place, and how often then.
    counts: RefCell<Vec<Vec<(u32, u8)>>>,
    happened: RefCell<Vec<Choice>>,
}

impl Dice {
    /// Each history has weather of its own: some kinds of acts and faults never happen in it, others often.
    pub fn new(seed: u64, only: Option<Rc<BTreeSet<Choice>>>, now: Rc<Cell<Time>>) -> Self {
        let counts = RefCell::new(vec![Vec::new(); KINDS.len()]);
        let mut weather = Rng::with_seed(mixed(seed));
        let weights = KINDS.iter().map(|_| [0, 1, 1, 1, 4, 12][weather.usize(..6)]).collect();
        Self { seed, only, weights, now, counts, happened: RefCell::default() }
    }

    fn next(&self, kind: Kind, place: usize) -> (Choice, Rng) {
        let mut counts = self.counts.borrow_mut();
        let counts = &mut counts[kind as usize];
        if counts.len() <= place {
            counts.resize(place + 1, (u32::MAX, 0));
        }
        let at = u32::try_from(self.now.get()).unwrap_or(u32::MAX);
        let (before, nth) = counts[place];
        let nth = if before == at { nth.wrapping_add(1) } else { 0 };
        counts[place] = (at, nth);
        let place = u16::try_from(place).unwrap_or(u16::MAX);
        let key = (kind as u64) << 56 | u64::from(place) << 40 | u64::from(nth) << 32 | u64::from(at);
        (Choice { kind, place, at, nth }, Rng::with_seed(mixed(self.seed ^ mixed(key))))
    }

    /// Dice for what is in every history.
    pub fn any(&self, place: usize) -> Rng {
        self.next(Kind::Chance, place).1
    }

    /// Whether an act or a fault happens, which usually does one time in so many; if so, dice for how.
    pub fn happens(&self, kind: Kind, place: usize, one_in: u32) -> Option<Rng> {
        let (choice, mut rng) = self.next(kind, place);
        let often = self.weights[kind as usize].min(one_in / 2);
        if rng.u32(..one_in) >= often || self.only.as_ref().is_some_and(|it| !it.contains(&choice)) {
            return None;
        }
        self.happened.borrow_mut().push(choice);
        Some(rng)
    }

    /// An act whose time has come, if it may happen.
    pub fn act(&self, kind: Kind, place: usize) -> Option<Rng> {
        let (choice, rng) = self.next(kind, place);
        if self.only.as_ref().is_some_and(|it| !it.contains(&choice)) {
            return None;
        }
        self.happened.borrow_mut().push(choice);
        Some(rng)
    }

    /// Whether one of these happened at a place.
    pub fn has_happened(&self, kinds: &[Kind], place: usize) -> bool {
        self.happened.borrow().iter().any(|it| usize::from(it.place) == place && kinds.contains(&it.kind))
    }

    /// How many acts and faults there were.
    pub fn count(&self) -> usize {
        self.happened.borrow().len()
    }

    /// The acts and faults that there were.
    pub fn happened(&self) -> Vec<Choice> {
        self.happened.take()
    }
}

/// A number in which each bit depends on all bits of another. <https://prng.di.unimi.it/splitmix64.c>
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
