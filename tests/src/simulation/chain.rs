//! The way of an event: CloudTrail and EventBridge, the two queues, and Lambda's mapping of them to the real handlers.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use guardrail::work::{remediate::remediate, sweep};
use guardrail_core::control::table::Control;
use guardrail_simulator::{Hold, Kind, MINUTE, SECOND, Time, What, Writer, timestamp};
use serde_json::{Value, json};
use tokio::{sync::Notify, time::Instant};

use super::{Plant, Run, current, number, sleep, spawn, wire::BY};
use crate::fake::{KEY, ROLE, TRAIL};

/// For how long nobody else gets a message that was received.
const VISIBILITY: Time = 180 * SECOND;

/// When Lambda ends an invocation.
pub(super) const TIMEOUT: Duration = Duration::from_secs(120);

/// After so many receives a message is a dead letter.
const MAX_RECEIVES: u32 = 20;

const BATCH: usize = 10;

/// A call, as CloudTrail tells of it.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) number: usize,
    /// Of which service.
    pub(super) source: &'static str,
    pub(super) name: String,
    /// What it names.
    pub(super) parameters: Value,
    /// When the call was made.
    pub(super) made: Time,
    pub(super) bucket: usize,
    pub(super) control: Control,
    pub(super) writer: Writer,
    /// The write was made on an echo of our own.
    pub(super) is_marked: bool,
    pub(super) is_done: bool,
}

impl Event {
    /// Of a call of somebody else's, which was just made.
    pub(super) fn of_others(
        run: &Run,
        number: usize,
        writer: Writer,
        (bucket, control): (usize, Control),
        (source, name): (&'static str, &str),
        parameters: Value,
    ) -> Self {
        let (name, made) = (name.to_owned(), run.now());
        Self { number, source, name, parameters, made, bucket, control, writer, is_marked: false, is_done: true }
    }
}

/// A message in a queue.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) number: usize,
    body: String,
    pub(super) bucket: usize,
    /// `None`: a request of the sweep's.
    pub(super) event: Option<Event>,
    receives: u32,
    /// When a function had it first.
    first_received: Time,
    /// When it can be received.
    visible: Time,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Events,
    Work,
}

impl Which {
    /// How many invocations its mapping runs at once.
    fn at_once(self) -> usize {
        match self {
            Self::Events => 4,
            Self::Work => 2,
        }
    }

    fn arn(self) -> &'static str {
        match self {
            Self::Events => "arn:aws:sqs:eu-west-2:111122223333:s3-guardrail-events",
            Self::Work => "arn:aws:sqs:eu-west-2:111122223333:s3-guardrail-work",
        }
    }
}

/// A queue and its mapping.
#[derive(Debug, Default)]
struct Queue {
    messages: Vec<Message>,
    /// Invocations at work.
    running: usize,
}

/// Everything between a call and an invocation.
#[derive(Debug, Default)]
pub(super) struct Chain {
    queues: [Queue; 2],
    /// Events that are on their way.
    under_way: usize,
    /// Sweeps at work, or to be tried again.
    sweeping: usize,
    events: usize,
    messages: usize,
    invocations: usize,
    /// What each invocation at work was given.
    at_work: BTreeMap<usize, Vec<Message>>,
    crashes: BTreeMap<usize, Rc<Notify>>,
}

impl Chain {
    pub(super) fn event_number(&mut self) -> usize {
        self.events += 1;
        self.events
    }

    pub(super) fn invocations(&self) -> usize {
        self.invocations
    }

    /// Nothing is on its way, waits or is at work.
    pub(super) fn is_quiet(&self) -> bool {
        let is_idle = |it: &Queue| it.messages.is_empty() && it.running == 0;
        self.under_way == 0 && self.sweeping == 0 && self.queues.iter().all(is_idle)
    }

    /// What an invocation was given about a bucket.
    pub(super) fn given(&self, by: usize, bucket: usize) -> Vec<&Message> {
        self.at_work.get(&by).into_iter().flatten().filter(|it| it.bucket == bucket).collect()
    }

    fn begin(&mut self) -> (usize, Rc<Notify>) {
        self.invocations += 1;
        let crash = Rc::new(Notify::new());
        self.crashes.insert(self.invocations, Rc::clone(&crash));
        (self.invocations, crash)
    }
}

/// CloudTrail tells EventBridge of a call: after some seconds, late, twice, or not at all.
pub(super) fn tell(run: &Rc<Run>, event: Event, user_agent: &str) {
    let (bucket, number) = (event.bucket, event.number);
    if run.fails(Kind::Lost, bucket, 50).is_some() || !run.is_recorded() {
        run.unheard(bucket, event.control);
        return run.note(bucket, What::Lost { event: number });
    }
    let is_doubled = run.fails(Kind::Doubled, bucket, 30).is_some();
    if is_doubled {
        run.note(bucket, What::Doubled { event: number });
    }
    let body = record(run, &event, user_agent).to_string();
    for _ in 0..=usize::from(is_doubled) {
        let mut rng = run.any(bucket);
        let longest = if rng.bool() { 3 * SECOND } else { 10 * SECOND };
        let mut wait = rng.u64(SECOND / 2..longest);
        if let Some(mut rng) = run.fails(Kind::Late, bucket, 6) {
            let is_very = rng.u8(..10) == 0;
            wait += if is_very { rng.u64(2 * MINUTE..14 * MINUTE) } else { rng.u64(10 * SECOND..2 * MINUTE) };
            run.note(bucket, What::Late { event: number, wait });
        }
        run.chain.borrow_mut().under_way += 1;
        let (this, body, event) = (Rc::clone(run), body.clone(), event.clone());
        if event.writer == Writer::Guardrail && event.is_done {
            run.time_a_call_into(bucket, event.control, wait);
        }
        spawn(async move {
            sleep(wait).await;
            this.chain.borrow_mut().under_way -= 1;
            this.note(bucket, What::Arrived { event: number });
            this.bill("events", "delivered", 1);
            this.bill("sqs", "SendMessage", 1);
            send(&this, Which::Events, body, bucket, Some(event));
        });
    }
}

/// The event as EventBridge brings it.
fn record(run: &Run, event: &Event, user_agent: &str) -> Value {
    let Event {
        number,
        source,
        name: event_name,
        parameters,
        made,
        bucket: _,
        control: _,
        writer,
        is_marked: _,
        is_done,
    } = event;
    let role = match writer {
        Writer::Guardrail if !run.has(Plant::NamelessEchoes) => ROLE.to_owned(),
        other => format!("arn:aws:iam::111122223333:role/{other:?}"),
    };
    let session = role.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/");
    let mut detail = json!({
        "eventVersion": "1.11", "eventSource": format!("{source}.amazonaws.com"), "eventName": event_name,
        "eventID": format!("event-{number}"), "sourceIPAddress": "203.0.113.17", "userAgent": user_agent,
        // CloudTrail's times are cut to the second.
        "eventTime": timestamp(made / SECOND * SECOND).to_string(),
        "requestParameters": parameters, "readOnly": false, "managementEvent": true,
        "userIdentity": {
            "type": "AssumedRole", "arn": format!("{session}/session"),
            "sessionContext": {"sessionIssuer": {"type": "Role", "arn": role}},
        },
    });
    if !is_done {
        detail["errorCode"] = json!("AccessDenied");
    }
    json!({"detail-type": "AWS API Call via CloudTrail", "source": format!("aws.{source}"), "detail": detail})
}

/// A message of the sweep's is in the queue.
pub(super) fn take_request(body: String) {
    let run = current();
    let request: Value = serde_json::from_str(&body).unwrap_or_default();
    let bucket = match request["bucket"].as_str().and_then(number) {
        Some(bucket) => bucket,
        None if request["key"] == KEY => run.options.key(),
        None if request["trail"] == TRAIL => run.options.trail(),
        None => run.options.elsewhere(),
    };
    send(&run, Which::Work, body, bucket, None);
}

fn send(run: &Rc<Run>, which: Which, body: String, bucket: usize, event: Option<Event>) {
    let visible = run.now();
    let mut chain = run.chain.borrow_mut();
    chain.messages += 1;
    let message = Message { number: chain.messages, body, bucket, event, receives: 0, first_received: 0, visible };
    chain.queues[which as usize].messages.push(message);
    drop(chain);
    // What comes before the mapping asks again comes in one batch.
    let wait = run.any(bucket).u64(20..500);
    wake(run, which, wait);
}

/// Lets a mapping ask its queue after a while.
fn wake(run: &Rc<Run>, which: Which, wait: Time) {
    let this = Rc::clone(run);
    spawn(async move {
        sleep(wait).await;
        while let Some(batch) = receive(&this, which) {
            spawn(invoke(Rc::clone(&this), which, batch));
        }
    });
}

/// A batch, if there is something in the queue and a place for one more invocation.
fn receive(run: &Rc<Run>, which: Which) -> Option<Vec<Message>> {
    let now = run.now();
    let mut chain = run.chain.borrow_mut();
    let queue = &mut chain.queues[which as usize];
    if queue.running == which.at_once() {
        return None;
    }
    let mut dead = Vec::new();
    queue.messages.retain(|it| {
        let is_dead = it.visible <= now && it.receives == MAX_RECEIVES;
        if is_dead {
            dead.push(it.clone());
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
        if run.fails(Kind::Redelivered, message.bucket, 300).is_some() {
            message.visible = now + SECOND;
        }
        batch.push(message.clone());
    }
    let not_begun = batch.first().and_then(|it| run.fails(Kind::NotBegun, it.bucket, 100));
    if let Some(mut rng) = not_begun {
        let visible = now + rng.u64(SECOND..5 * SECOND);
        let is_received = |it: &&mut Message| batch.iter().any(|one| one.number == it.number);
        queue.messages.iter_mut().filter(is_received).for_each(|it| it.visible = visible);
        drop(chain);
        run.note(batch[0].bucket, What::NotBegun { message: batch[0].number });
        wake(run, which, visible - now);
        return None;
    }
    queue.running += usize::from(!batch.is_empty());
    drop(chain);
    if !batch.is_empty() {
        run.bill("sqs", "ReceiveMessage", 1);
    }
    for message in dead {
        run.note(message.bucket, What::Dead { message: message.number });
        run.check_dead(&message);
    }
    (!batch.is_empty()).then_some(batch)
}

/// How an invocation ends.
enum End<T> {
    Answered(T),
    Crashed,
    TimedOut,
}

/// Lets an invocation work until it ends, its process is gone, or Lambda ends it.
async fn work<T>(run: &Rc<Run>, bucket: usize, by: usize, crash: &Notify, work: impl Future<Output = T>) -> End<T> {
    let mut rng = run.any(bucket);
    let start = if rng.u8(..4) == 0 { rng.u64(150..1_500) } else { rng.u64(5..30) };
    sleep(start).await;
    let end = tokio::select! {
        biased;
        answer = BY.scope(by, work) => End::Answered(answer),
        () = crash.notified() => End::Crashed,
        () = tokio::time::sleep(TIMEOUT) => End::TimedOut,
    };
    match end {
        End::Answered(_) => {}
        End::Crashed => run.note(bucket, What::Ended { by, end: "crashes" }),
        End::TimedOut => {
            run.note(bucket, What::Ended { by, end: "is ended by Lambda after 120 s" });
            run.violated(bucket, Hold::Deadline, "an invocation did not end in time".to_owned());
        }
    }
    run.chain.borrow_mut().crashes.remove(&by);
    end
}

/// One invocation of `guardrail-remediate`, from its start to what becomes of its messages.
async fn invoke(run: Rc<Run>, which: Which, batch: Vec<Message>) {
    let first = batch[0].bucket;
    let (begun, (number, crash)) = (run.now(), run.chain.borrow_mut().begin());
    let events: Vec<_> = batch.iter().filter_map(|it| Some(it.event.as_ref()?.number)).collect();
    let requests = batch.len() - events.len();
    run.note(first, What::Invoked { by: number, events, requests });
    run.chain.borrow_mut().at_work.insert(number, batch.clone());
    let handler = async { Box::pin(remediate(&run.guardrail, input(which, &batch), Instant::now() + TIMEOUT)).await };
    let ended = work(&run, first, number, &crash, handler).await;
    if let End::Answered(answer) = ended {
        let failed = |it: &Value| it["itemIdentifier"].as_str()?.parse::<usize>().ok();
        let back: BTreeSet<usize> = match answer {
            Ok(answer) => answer["batchItemFailures"].as_array().into_iter().flatten().filter_map(failed).collect(),
            Err(_) => batch.iter().map(|it| it.number).collect(),
        };
        run.check_answered(&batch, &back, begun);
        settle(&run, which, number, &batch, &back);
    }
    let mut chain = run.chain.borrow_mut();
    chain.at_work.remove(&number);
    chain.queues[which as usize].running -= 1;
    let mine = |it: &&Message| batch.iter().any(|one| one.number == it.number);
    let waits: Vec<_> = chain.queues[which as usize].messages.iter().filter(mine).map(|it| it.visible).collect();
    drop(chain);
    wake(&run, which, 0);
    let now = run.now();
    waits.into_iter().for_each(|visible| wake(&run, which, visible.saturating_sub(now)));
}

/// What Lambda's mapping hands to the function.
fn input(which: Which, batch: &[Message]) -> Value {
    let record = |it: &Message| {
        let first = timestamp(it.first_received).as_millisecond().to_string();
        json!({
            "messageId": it.number.to_string(), "receiptHandle": it.number.to_string(), "body": it.body,
            "eventSourceARN": which.arn(),
            "attributes": {"ApproximateReceiveCount": it.receives.to_string(), "ApproximateFirstReceiveTimestamp": first},
        })
    };
    json!({"Records": batch.iter().map(record).collect::<Vec<_>>()})
}

/// Deletes what does not come back.
fn settle(run: &Run, which: Which, by: usize, batch: &[Message], back: &BTreeSet<usize>) {
    let now = run.now();
    let mut chain = run.chain.borrow_mut();
    let messages = &mut chain.queues[which as usize].messages;
    let is_answered = |it: &Message| batch.iter().any(|one| one.number == it.number);
    let answered: Vec<_> =
        messages.iter().filter(|it| is_answered(it)).map(|it| (it.bucket, it.number, it.visible)).collect();
    messages.retain(|it| !is_answered(it) || back.contains(&it.number));
    drop(chain);
    if back.len() < batch.len() {
        run.bill("sqs", "DeleteMessageBatch", 1);
    }
    for (bucket, message, visible) in answered {
        let what = match back.contains(&message) {
            true => What::Back { by, message, wait: visible.saturating_sub(now) },
            false => What::Deleted { by, message },
        };
        run.note(bucket, what);
    }
}

/// `guardrail-sweep` is invoked by its schedule; when it fails, twice more by Lambda.
pub(super) fn sweep(run: &Rc<Run>) {
    run.chain.borrow_mut().sweeping += 1;
    let this = Rc::clone(run);
    spawn(async move {
        let place = this.options.elsewhere();
        for wait in [MINUTE, 2 * MINUTE, 0] {
            this.note(place, What::Swept);
            let (number, crash) = this.chain.borrow_mut().begin();
            let handler = async { Box::pin(sweep::sweep(&this.guardrail, json!({}))).await };
            if let End::Answered(Ok(_)) = work(&this, place, number, &crash, handler).await {
                break;
            }
            sleep(wait).await;
        }
        this.chain.borrow_mut().sweeping -= 1;
    });
}

impl Run {
    /// The process of an invocation is gone.
    pub(super) fn crash(&self, by: usize) {
        self.holds.borrow_mut().silenced.insert(by);
        if let Some(crash) = self.chain.borrow().crashes.get(&by) {
            crash.notify_one();
        }
    }

    /// A message can be received again after so many seconds.
    pub(super) fn put_back(&self, receipt: &str, seconds: i64) {
        let wait = u64::try_from(seconds).unwrap_or_default() * SECOND;
        let visible = self.now() + wait;
        let mut chain = self.chain.borrow_mut();
        for which in [Which::Events, Which::Work] {
            let mut messages = chain.queues[which as usize].messages.iter_mut();
            if let Some(message) = messages.find(|it| it.number.to_string() == receipt) {
                message.visible = visible;
                // A call that was given up may arrive when its invocation is over.
                wake(&current(), which, wait);
            }
        }
    }
}
