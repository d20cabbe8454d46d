//! One invocation of `guardrail-remediate`: what `work/remediate.rs` does between the decisions.

use std::{cell::Cell, future::poll_fn, rc::Rc, task::Poll};

use guardrail_core::{
    decide::echo::Echo,
    outcome::finding::{Left, Outcome},
};

use crate::{
    Plant,
    chain::{Body, Message, TIMEOUT},
    clock::{SECOND, Time},
    dice::Kind,
    look::Look,
    notes::What,
    simulation::{LATENCY, Simulation},
    world::Writer,
};

/// What is kept of an invocation's time for telling people.
const TELLING: Time = 20 * SECOND;

/// The longest look, and the shortest that is worth its beginning.
const LONGEST: Time = 45 * SECOND;
const SHORTEST: Time = 10 * SECOND;

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
    is_gone: Cell<bool>,
}

impl Invocation {
    pub(crate) fn new(sim: Rc<Simulation>, number: usize) -> Self {
        let deadline = sim.clock.now() + TIMEOUT;
        Self { sim, number, deadline, is_gone: Cell::new(false) }
    }

    /// Ends when the process is gone.
    pub(crate) async fn crashed(&self) {
        poll_fn(|_| if self.is_gone.get() { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// The way of a request, or of its answer. The process may be gone in between.
    pub(crate) async fn travel(&self, bucket: usize) {
        let sim = &self.sim;
        if sim.fails(Kind::Crash, bucket, 200).is_some() {
            self.is_gone.set(true);
            std::future::pending::<()>().await;
        }
        let slow = sim.fails(Kind::Slow, bucket, 200).map_or(0, |mut rng| rng.u64(SECOND..8 * SECOND));
        let wait = sim.dice.any(bucket).u64(5..=LATENCY);
        sim.clock.sleep(wait + slow).await;
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

/// Answers each message of a batch.
pub(crate) async fn remediate(invocation: &Invocation, batch: &[Message]) -> Vec<Answer> {
    let mut answers = Vec::new();
    for message in batch {
        let left = invocation.deadline.saturating_sub(invocation.sim.clock.now());
        let has_time = left > TELLING + SHORTEST || invocation.sim.has(Plant::ForgetDeadline);
        answers.push(if has_time { handle(invocation, message).await } else { Answer::Back(0) });
    }
    answers
}

/// Looks, tells people, and says what becomes of the message.
async fn handle(invocation: &Invocation, message: &Message) -> Answer {
    let sim = &invocation.sim;
    let bucket = message.body.bucket();
    let echo = match message.body {
        Body::Event(event) if event.writer == Writer::Guardrail && !sim.has(Plant::ForgetEchoes) => {
            let own = Some(event.control);
            if event.marked { Echo::Again(own) } else { Echo::Of(own) }
        }
        Body::Event(_) | Body::Request(_) => Echo::No,
    };
    let deadline = invocation.deadline.saturating_sub(TELLING).min(sim.clock.now() + LONGEST);
    let mut look = Look::new(invocation, bucket, echo, message, deadline);
    let findings = look.run().await;
    let told: Vec<_> = findings.iter().filter(|it| it.left != Some(Left::ForNow)).collect();
    if !told.is_empty() && !publish(invocation, bucket).await {
        return Answer::Back(30 * SECOND);
    }
    for finding in &told {
        look.told(finding);
    }
    let is_failed = |outcome| matches!(outcome, Outcome::Failed | Outcome::Unreadable);
    match message.receives {
        receives @ 1..=4 if findings.iter().any(|it| is_failed(it.outcome)) => {
            Answer::Back((30 * SECOND) << (receives - 1))
        }
        _ => Answer::Delete,
    }
}

/// Whether people could be told.
async fn publish(invocation: &Invocation, bucket: usize) -> bool {
    invocation.travel(bucket).await;
    let is_published = invocation.sim.fails(Kind::Unpublished, bucket, 50).is_none();
    if !is_published {
        invocation.sim.note(bucket, What::Unpublished { by: invocation.number });
    }
    invocation.travel(bucket).await;
    is_published
}
