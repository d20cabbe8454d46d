//! One invocation of `guardrail-remediate`: what `work/remediate.rs` does between the decisions.

use std::{cell::Cell, future::poll_fn, rc::Rc, task::Poll, time::Duration};

use guardrail_core::{
    control::table::Control,
    decide::{
        echo::is_news,
        errand::{self, Errand, Letter, looks},
    },
    outcome::report::{BucketOutcome, Reconciled, Report},
};
use jiff::Timestamp;

use crate::{
    Plant,
    chain::{Message, TIMEOUT},
    clock::{SECOND, Time},
    dice::Kind,
    ledger::Unreachable,
    look::{Look, milliseconds},
    notes::What,
    simulation::{LATENCY, Simulation, timestamp},
    world::{REGION, Writer},
};

/// Of an invocation's time, what is kept for telling people.
const KEPT: Time = 20 * SECOND;

/// The longest that one look may take.
const LOOK: Time = 45 * SECOND;

/// A look that has less time is not begun, unless it is the first.
const WORTH_BEGINNING: Time = 5 * SECOND;

/// How far a machine's clock is off at most.
pub(crate) const SKEW: i64 = 2_000;

/// How long the last try's message waits, again and again until it is a dead letter.
const LAST_WAIT: Duration = Duration::from_secs(240);

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Delete,
    /// It can be received again after a while.
    Back(Time),
}

/// A process at work.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) sim: Rc<Simulation>,
    pub(crate) number: usize,
    /// When Lambda ends it.
    pub(crate) deadline: Time,
    /// By how much its machine's clock is fast.
    skew: i64,
    begun: Time,
    is_gone: Cell<bool>,
}

impl Invocation {
    /// `first`: the bucket of its first message.
    pub(crate) fn new(sim: Rc<Simulation>, number: usize, first: usize) -> Self {
        let begun = sim.clock.now();
        let skew = sim.fails(Kind::Skewed, first, 20).map_or(0, |mut rng| rng.i64(-SKEW..=SKEW));
        if skew != 0 {
            sim.note(first, What::Skewed { by: number, skew });
        }
        Self { sim, number, deadline: begun + TIMEOUT, skew, begun, is_gone: Cell::new(false) }
    }

    /// What its machine's clock says.
    pub(crate) fn clock(&self) -> Timestamp {
        self.at(self.sim.clock.now())
    }

    /// What that said, or will say.
    pub(crate) fn at(&self, time: Time) -> Timestamp {
        timestamp(time.saturating_add_signed(self.skew))
    }

    /// Whether it was replaced by a new version of the function.
    fn is_replaced(&self) -> bool {
        self.sim.replaced.get().is_some_and(|it| it > self.begun)
    }

    /// Ends when the process is gone.
    pub(crate) async fn crashed(&self) {
        poll_fn(|_| if self.is_gone.get() { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// Whether people could be told.
    pub(crate) async fn publish(&self, bucket: usize) -> bool {
        self.travel(bucket).await;
        let is_published = self.sim.fails(Kind::Unpublished, bucket, 50).is_none();
        if !is_published {
            self.sim.note(bucket, What::Unpublished { by: self.number });
        }
        self.travel(bucket).await;
        is_published
    }

    /// The way of a request, or of its answer. The process may be gone in between.
    pub(crate) async fn travel(&self, bucket: usize) {
        let sim = &self.sim;
        if self.is_replaced() || sim.fails(Kind::Crash, bucket, 200).is_some() {
            self.end().await;
        }
        let slow = sim.fails(Kind::Slow, bucket, 200).map_or(0, |mut rng| rng.u64(SECOND..8 * SECOND));
        let wait = sim.dice.any(bucket).u64(5..=LATENCY);
        sim.clock.sleep(wait + slow).await;
        if self.is_replaced() {
            self.end().await;
        }
    }

    /// The process is gone.
    async fn end(&self) {
        self.is_gone.set(true);
        std::future::pending::<()>().await;
    }

    /// The same to a bucket and back, which may be slow for a while.
    pub(crate) async fn travel_to_bucket(&self, bucket: usize) {
        let sim = &self.sim;
        if sim.clock.now() < sim.slow_until.borrow()[bucket] {
            let slow = sim.dice.any(bucket).u64(SECOND..9 * SECOND);
            sim.clock.sleep(slow).await;
        }
        self.travel(bucket).await;
    }
}

/// Answers each message of a batch: one look for all that are about the same, one after the other.
pub(crate) async fn remediate(invocation: &Invocation, batch: &[Message]) -> Vec<(usize, Answer)> {
    let sim = &invocation.sim;
    let letter = |(place, it): (usize, &Message)| Letter {
        message: sim.library.message(sim.as_taken(it.body)),
        place,
        first_received: timestamp(it.first_received),
    };
    let mut answers = Vec::new();
    for (n, letters) in looks(batch.iter().enumerate().map(letter).collect()).into_iter().enumerate() {
        let messages: Vec<_> = letters.iter().map(|it| batch[it.place]).collect();
        let now = sim.clock.now();
        let until = invocation.deadline.saturating_sub(KEPT).min(now + LOOK);
        if n > 0 && until < now + WORTH_BEGINNING && !sim.has(Plant::ForgetDeadline) {
            answers.extend(messages.iter().map(|it| (it.number, Answer::Back(0))));
            continue;
        }
        let errand = Errand::of(letters.iter().map(|it| it.message.clone()), true);
        let Err(failure) = handle(invocation, &errand, &messages, until).await else {
            answers.extend(messages.iter().map(|it| (it.number, Answer::Delete)));
            continue;
        };
        let kept = match sim.has(Plant::KeepEcho) {
            true => letters
                .iter()
                .zip(&messages)
                .max_by_key(|it| it.1.body.event().map(|it| it.writer == Writer::Guardrail))
                .map(|it| it.0.place),
            false => errand::kept(&letters, &sim.library.role),
        };
        let now = invocation.clock();
        for (letter, message) in letters.iter().zip(&messages) {
            let comes_back = failure == Failure::Untold || Some(letter.place) == kept;
            let answer = match errand::retry_in(letter.first_received, now, failure.braked_until()) {
                _ if !comes_back => Answer::Delete,
                Some(wait) => Answer::Back(milliseconds(wait)),
                // The ledger holds it open, and every sweep takes it.
                None if matches!(failure, Failure::NotRestored { is_kept_open: true, .. }) => Answer::Delete,
                None => Answer::Back(milliseconds(LAST_WAIT)),
            };
            answers.push((message.number, answer));
        }
    }
    answers
}

/// Why messages come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    NotRestored {
        /// The ledger has what is open.
        is_kept_open: bool,
        /// Nothing but the brake of a fight keeps it from its end, until then.
        braked_until: Option<Timestamp>,
    },
    /// People should have been told and could not be.
    Untold,
}

impl Failure {
    fn braked_until(self) -> Option<Timestamp> {
        match self {
            Self::NotRestored { braked_until, .. } => braked_until,
            Self::Untold => None,
        }
    }
}

/// Looks, and tells people.
async fn handle(invocation: &Invocation, errand: &Errand, messages: &[Message], until: Time) -> Result<(), Failure> {
    let sim = &invocation.sim;
    let role = &sim.library.role;
    let mut look = Look::new(invocation, errand, messages, until);
    let bucket = &sim.library.buckets[look.bucket].registration.bucket;
    let report = match look.run().await {
        Ok(findings) => {
            let (restores, read) = (std::mem::take(&mut look.restores), Control::OF_BUCKET.to_vec());
            let reconciled = Reconciled::Bucket { findings, hindrances: vec![], exposures: vec![], restores, read };
            Report::from_reconciled(bucket, reconciled, &errand.calls(role))
        }
        Err(error) => Report::error(bucket, error.to_string(), errand.trigger().cloned()),
    };
    look.came_to(&report);
    let mut is_kept_open = false;
    let is_told = match look.clerk.record(&report).await {
        Ok(item) => {
            is_kept_open = true;
            look.clerk.tell(item).await
        }
        // Without a ledger people are told everything.
        Err(Unreachable)
            if is_news(&report, errand.is_own(role, REGION)) && report.outcome != BucketOutcome::Compliant =>
        {
            let is_told = invocation.publish(look.bucket).await;
            if is_told {
                look.told(&report);
            }
            is_told
        }
        Err(Unreachable) => true,
    };
    match (is_told, report.must_retry()) {
        (false, _) => Err(Failure::Untold),
        (true, true) => Err(Failure::NotRestored { is_kept_open, braked_until: report.braked_until() }),
        (true, false) => Ok(()),
    }
}
