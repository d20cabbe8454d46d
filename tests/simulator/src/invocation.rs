//! One invocation of `guardrail-remediate`: what `work/remediate.rs` does between the decisions.

use std::{cell::Cell, cmp::Reverse, future::poll_fn, rc::Rc, task::Poll};

use guardrail_core::outcome::finding::{Finding, Left, Outcome};

use crate::{
    Plant,
    chain::{Message, TIMEOUT},
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

/// Answers each message of a batch: one look for each bucket, one after the other.
pub(crate) async fn remediate(invocation: &Invocation, batch: &[Message]) -> Vec<(usize, Answer)> {
    let mut subjects: Vec<Vec<Message>> = Vec::new();
    for message in batch {
        match subjects.iter_mut().find(|it| it[0].body.bucket() == message.body.bucket()) {
            Some(subject) => subject.push(*message),
            None => subjects.push(vec![*message]),
        }
    }
    let mut answers = Vec::new();
    for messages in subjects {
        let left = invocation.deadline.saturating_sub(invocation.sim.clock.now());
        let has_time = left > TELLING + SHORTEST || invocation.sim.has(Plant::ForgetDeadline);
        let all = |answer| messages.iter().map(move |it| (it.number, answer));
        match if has_time { handle(invocation, &messages).await } else { Ended::NotBegun } {
            Ended::Done => answers.extend(all(Answer::Delete)),
            Ended::NotBegun => answers.extend(all(Answer::Back(0))),
            Ended::Untold => answers.extend(all(Answer::Back(30 * SECOND))),
            Ended::Failed => answers.extend(retry(&messages)),
        }
    }
    answers
}

/// How a look ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Done,
    NotBegun,
    Failed,
    Untold,
}

/// The message that stands for a subject that failed comes again later each time; the others are deleted.
fn retry(messages: &[Message]) -> Vec<(usize, Answer)> {
    let order = |it: &&Message| {
        let event = it.body.event();
        let generation = event.map_or(0, |it| u8::from(it.writer == Writer::Guardrail) + u8::from(it.marked));
        (generation, Reverse(event.map(|it| it.made)))
    };
    let kept = messages.iter().min_by_key(order).map(|it| it.number);
    let answer = |it: &Message| match it.receives {
        receives @ 1..=4 if Some(it.number) == kept => Answer::Back((30 * SECOND) << (receives - 1)),
        _ => Answer::Delete,
    };
    messages.iter().map(|it| (it.number, answer(it))).collect()
}

/// Looks, and tells people.
async fn handle(invocation: &Invocation, messages: &[Message]) -> Ended {
    let sim = &invocation.sim;
    let bucket = messages[0].body.bucket();
    let deadline = invocation.deadline.saturating_sub(TELLING).min(sim.clock.now() + LONGEST);
    let mut look = Look::new(invocation, bucket, messages, deadline);
    let findings = look.run().await;
    let is_news = |it: &&Finding| !matches!(it.left, Some(Left::ForNow | Left::NotYet));
    let told: Vec<_> = findings.iter().filter(is_news).collect();
    if !told.is_empty() && !publish(invocation, bucket).await {
        return Ended::Untold;
    }
    for finding in &told {
        look.told(finding);
    }
    let is_unfinished =
        |it: &Finding| matches!(it.outcome, Outcome::Failed | Outcome::Unreadable) || it.left == Some(Left::NotYet);
    if findings.iter().any(is_unfinished) { Ended::Failed } else { Ended::Done }
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
