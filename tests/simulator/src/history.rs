//! One history, from its seed to what must hold of it.

use std::{collections::BTreeSet, rc::Rc};

use crate::{
    Options, Plant,
    actors::{SWEEP, begin},
    clock::{MINUTE, SECOND, Time},
    dice::Choice,
    holds::Hold,
    notes::Note,
    simulation::Simulation,
    world::Library,
};

/// The latest event has come when actors have rested for so long.
const LATEST: Time = 16 * MINUTE;

/// For how long what has come is worked on at most, until all is quiet.
const PATIENCE: Time = 90 * MINUTE;

/// What came of a history.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Of everything that happened, in order: the same seed has the same.
    pub digest: u64,
    /// Things that happened.
    pub notes: usize,
    /// In virtual milliseconds.
    pub length: u64,
    /// Of the guardrail.
    pub writes: usize,
    /// By anybody else, each a cause.
    pub causes: usize,
    /// Acts and faults that happened.
    pub happened: Vec<Choice>,
    /// Owners' entries that were written over within the documented window.
    pub lost: usize,
    /// The longest time in milliseconds from the read of a document to the arrival of the write that lost something.
    pub longest_window: u64,
    /// Told as unstable although somebody else had changed it since.
    pub misjudged: usize,
    /// What should hold and did not.
    pub violations: Vec<(Hold, String)>,
    /// What happened, if asked for.
    pub trace: Vec<Note>,
}

/// Runs histories. What it learns of settings in one helps it through the next.
#[derive(Debug)]
pub struct Simulator {
    library: Rc<Library>,
    pub(crate) options: Options,
}

impl Simulator {
    pub fn new(options: Options) -> Self {
        Self { library: Rc::new(Library::new(options.buckets.max(1))), options }
    }

    /// What comes of a seed.
    pub fn history(&self, seed: u64) -> History {
        self.history_of(seed, &self.options)
    }

    /// The same with other options, of as many buckets.
    pub(crate) fn history_of(&self, seed: u64, options: &Options) -> History {
        let sim = Rc::new(Simulation::new(Rc::clone(&self.library), seed, options));
        begin(&sim);
        sim.clock.spawn(schedule(Rc::clone(&sim)));
        sim.clock.run();
        let holds = sim.holds.take();
        let notes = sim.notes.take();
        History {
            digest: notes.digest(),
            notes: notes.count,
            length: sim.clock.now(),
            writes: holds.writes,
            causes: holds.causes,
            happened: sim.dice.happened(),
            lost: holds.lost,
            longest_window: holds.longest_window,
            misjudged: holds.misjudged,
            violations: holds.violations,
            trace: notes.kept.unwrap_or_default(),
        }
    }
}

/// The schedule: sweeps while actors act, a last time of quiet without one, and two sweeps in which nothing goes wrong.
async fn schedule(sim: Rc<Simulation>) {
    let mut requests = 0;
    let mut sweep = |sim: &Rc<Simulation>| {
        sim.sweep();
        requests += sim.library.buckets.len();
    };
    // A short history has one sweep, at any time.
    let first = sim.dice.any(2_000).u64(SECOND..SWEEP.min(sim.active));
    sim.clock.sleep(first).await;
    while sim.clock.now() < sim.active && !sim.has(Plant::NoSweep) {
        // While the functions are replaced the schedule pauses.
        let pause = sim.replaced.get().map_or(0, |it| (it + MINUTE).saturating_sub(sim.clock.now()));
        sim.clock.sleep(pause).await;
        sweep(&sim);
        sim.clock.sleep(SWEEP).await;
    }
    sim.clock.sleep((sim.active + LATEST).saturating_sub(sim.clock.now())).await;
    if !quiet(&sim).await {
        return;
    }
    sim.check_quiet();
    sim.is_calm.set(true);
    for _ in 0..2 {
        if !sim.has(Plant::NoSweep) {
            sweep(&sim);
        }
        if !quiet(&sim).await {
            return;
        }
    }
    let faults = sim.dice.count();
    sim.check_at_rest(faults, requests);
}

/// Waits until nothing is under way; `false`: that does not happen.
async fn quiet(sim: &Simulation) -> bool {
    let until = sim.clock.now() + PATIENCE;
    while sim.clock.now() < until {
        sim.clock.sleep(5 * SECOND).await;
        if sim.chain.borrow().is_quiet() {
            return true;
        }
    }
    sim.violated(0, Hold::Baseline, "it does not come to rest".to_owned());
    false
}

/// The acts and faults that may happen, of a text like `insider:0:61000 event-lost:0:62000`.
pub fn choices(text: &str) -> Result<BTreeSet<Choice>, crate::dice::NoChoice> {
    text.split_whitespace().map(str::parse).collect()
}
