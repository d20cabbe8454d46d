//! The way of an event: CloudTrail and EventBridge, the two queues, and Lambda's mapping of them.

use std::rc::Rc;

use guardrail_core::control::table::Control;

use crate::{
    Plant,
    clock::{MINUTE, SECOND, Time, unless},
    dice::Kind,
    invocation::{Answer, Invocation, remediate},
    notes::What,
    simulation::Simulation,
    world::Writer,
};

/// For how long nobody else gets a message that was received.
pub(crate) const VISIBILITY: Time = 180 * SECOND;

/// When Lambda ends an invocation.
pub(crate) const TIMEOUT: Time = 120 * SECOND;

/// After so many receives a message is a dead letter.
const MAX_RECEIVES: u32 = 20;

const BATCH: usize = 10;

/// A call, as CloudTrail tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Event {
    pub(crate) number: usize,
    /// When the call was made.
    pub(crate) made: Time,
    pub(crate) bucket: usize,
    pub(crate) control: Control,
    pub(crate) writer: Writer,
    /// The write was made on an echo of our own.
    pub(crate) marked: bool,
    /// The call was refused, and changed nothing.
    pub(crate) failed: bool,
}

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Event(Event),
    /// A request of the sweep's.
    Request(usize),
}

impl Body {
    pub(crate) fn event(self) -> Option<Event> {
        match self {
            Self::Event(event) => Some(event),
            Self::Request(_) => None,
        }
    }

    pub(crate) fn bucket(self) -> usize {
        match self {
            Self::Event(event) => event.bucket,
            Self::Request(bucket) => bucket,
        }
    }
}

/// A message in a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    pub(crate) number: usize,
    pub(crate) body: Body,
    pub(crate) receives: u32,
    /// When a function had it first.
    pub(crate) first_received: Time,
    /// When it can be received.
    visible: Time,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Events,
    Work,
}

/// A queue and its mapping.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    messages: Vec<Message>,
    /// Invocations at work.
    running: usize,
}

/// Everything between a call and an invocation.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    queues: [Queue; 2],
    /// Events that are on their way.
    under_way: usize,
    events: usize,
    messages: usize,
    invocations: usize,
}

impl Chain {
    pub(crate) fn event_number(&mut self) -> usize {
        self.events += 1;
        self.events
    }

    /// Nothing is on its way, waits or is at work.
    pub(crate) fn is_quiet(&self) -> bool {
        self.under_way == 0 && self.queues.iter().all(|it| it.messages.is_empty() && it.running == 0)
    }
}

impl Which {
    /// How many invocations its mapping runs at once.
    fn at_once(self) -> usize {
        match self {
            Self::Events => 4,
            Self::Work => 2,
        }
    }
}

/// CloudTrail tells EventBridge of a call: after some seconds, late, twice, or not at all.
pub(crate) fn tell(sim: &Rc<Simulation>, event: Event) {
    let Event { bucket, number, .. } = event;
    sim.holds.borrow_mut().made(event);
    if sim.fails(Kind::Lost, bucket, 50).is_some() {
        sim.holds.borrow_mut().lost(event);
        return sim.note(bucket, What::Lost { event: number });
    }
    let is_doubled = sim.fails(Kind::Doubled, bucket, 30).is_some();
    if is_doubled {
        sim.note(bucket, What::Doubled { event: number });
    }
    for _ in 0..=usize::from(is_doubled) {
        let mut rng = sim.dice.any(bucket);
        let longest = if rng.bool() { 3 * SECOND } else { 10 * SECOND };
        let mut wait = rng.u64(SECOND / 2..longest);
        if let Some(mut rng) = sim.fails(Kind::Late, bucket, 6) {
            let is_very = rng.u8(..10) == 0;
            wait += if is_very { rng.u64(2 * MINUTE..14 * MINUTE) } else { rng.u64(10 * SECOND..2 * MINUTE) };
            sim.note(bucket, What::Late { event: number, wait });
        }
        sim.chain.borrow_mut().under_way += 1;
        let this = Rc::clone(sim);
        sim.clock.spawn(async move {
            this.clock.sleep(wait).await;
            this.chain.borrow_mut().under_way -= 1;
            this.note(bucket, What::Arrived { event: number });
            send(&this, Which::Events, Body::Event(event));
        });
        if event.writer == Writer::Guardrail {
            sim.time_a_call_into(bucket, event.control, wait);
        }
    }
}

/// Puts a message into a queue.
pub(crate) fn send(sim: &Rc<Simulation>, which: Which, body: Body) {
    let mut chain = sim.chain.borrow_mut();
    chain.messages += 1;
    let number = chain.messages;
    chain.queues[which as usize].messages.push(Message {
        number,
        body,
        receives: 0,
        first_received: 0,
        visible: sim.clock.now(),
    });
    // What comes before the mapping asks again comes in one batch.
    let wait = sim.dice.any(body.bucket()).u64(20..500);
    wake(sim, which, wait);
}

/// Lets a mapping ask its queue after a while.
fn wake(sim: &Rc<Simulation>, which: Which, wait: Time) {
    let this = Rc::clone(sim);
    sim.clock.spawn(async move {
        this.clock.sleep(wait).await;
        while let Some(batch) = receive(&this, which) {
            this.clock.spawn(invoke(Rc::clone(&this), which, batch));
        }
    });
}

/// A batch, if there is something in the queue and a place for one more invocation.
fn receive(sim: &Rc<Simulation>, which: Which) -> Option<Vec<Message>> {
    let now = sim.clock.now();
    let mut chain = sim.chain.borrow_mut();
    let queue = &mut chain.queues[which as usize];
    if queue.running == which.at_once() {
        return None;
    }
    queue.messages.retain(|it| {
        let is_dead = it.visible <= now && it.receives == MAX_RECEIVES;
        if is_dead {
            sim.note(it.body.bucket(), What::Dead { message: it.number });
            sim.check_dead(it.body);
        }
        !is_dead
    });
    let mut batch = Vec::new();
    for message in queue.messages.iter_mut().filter(|it| it.visible <= now).take(BATCH) {
        if message.receives == 0 {
            message.first_received = now;
        }
        message.receives += 1;
        message.visible = now + VISIBILITY;
        // A standard queue delivers at least once.
        if sim.fails(Kind::Redelivered, message.body.bucket(), 300).is_some() {
            message.visible = now + SECOND;
        }
        batch.push(*message);
    }
    if batch.is_empty() {
        return None;
    }
    if let Some(mut rng) = sim.fails(Kind::NotBegun, batch[0].body.bucket(), 100) {
        let visible = now + rng.u64(SECOND..5 * SECOND);
        let is_received = |it: &&mut Message| batch.iter().any(|one| one.number == it.number);
        queue.messages.iter_mut().filter(is_received).for_each(|it| it.visible = visible);
        sim.note(batch[0].body.bucket(), What::NotBegun { message: batch[0].number });
        wake(sim, which, visible - now);
        return None;
    }
    if sim.has(Plant::DeleteFirst) {
        queue.messages.retain(|it| batch.iter().all(|one| one.number != it.number));
    }
    queue.running += 1;
    Some(batch)
}

/// One invocation, from its start to what becomes of its messages.
async fn invoke(sim: Rc<Simulation>, which: Which, batch: Vec<Message>) {
    let number = {
        let mut chain = sim.chain.borrow_mut();
        chain.invocations += 1;
        chain.invocations
    };
    let first = batch[0].body.bucket();
    let events: Vec<_> = batch.iter().filter_map(|it| Some(it.body.event()?.number)).collect();
    let requests = batch.len() - events.len();
    sim.note(first, What::Invoked { by: number, events, requests });
    let mut rng = sim.dice.any(first);
    let start = if rng.u8(..4) == 0 { rng.u64(150..1_500) } else { rng.u64(5..30) };
    sim.clock.sleep(start).await;
    let invocation = Invocation::new(Rc::clone(&sim), number, first);
    let timed_out = sim.clock.sleep(TIMEOUT);
    let alive = unless(timed_out, invocation.crashed());
    let ended = unless(alive, remediate(&invocation, &batch)).await;
    match ended {
        Ok(answers) => {
            sim.check_answered(&batch, &answers);
            for (message, answer) in answers {
                settle(&sim, which, number, message, answer);
            }
        }
        Err(why) => {
            let end = if why.is_ok() { "crashes" } else { "is ended by Lambda after 120 s" };
            sim.note(first, What::Ended { by: number, end });
            if why.is_err() {
                sim.timed_out(first);
            }
        }
    }
    sim.chain.borrow_mut().queues[which as usize].running -= 1;
    wake(&sim, which, 0);
    let waits: Vec<_> = {
        let chain = sim.chain.borrow();
        let mine = |it: &&Message| batch.iter().any(|one| one.number == it.number);
        chain.queues[which as usize].messages.iter().filter(mine).map(|it| it.visible).collect()
    };
    for visible in waits {
        wake(&sim, which, visible.saturating_sub(sim.clock.now()));
    }
}

/// Deletes a message, or gives it back.
fn settle(sim: &Simulation, which: Which, by: usize, message: usize, answer: Answer) {
    let now = sim.clock.now();
    let mut chain = sim.chain.borrow_mut();
    let messages = &mut chain.queues[which as usize].messages;
    let Some(place) = messages.iter().position(|it| it.number == message) else { return };
    let bucket = messages[place].body.bucket();
    match answer {
        Answer::Delete => {
            messages.remove(place);
            sim.note(bucket, What::Deleted { by, message });
        }
        Answer::Back(wait) => {
            messages[place].visible = now + wait;
            sim.note(bucket, What::Back { by, message, wait });
        }
    }
}
