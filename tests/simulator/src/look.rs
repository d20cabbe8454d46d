//! One look at a bucket, call by call: what `work/reconcile.rs` does between the decisions.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use guardrail_core::{
    control::table::Control,
    decide::{
        backoff,
        echo::{Generation, Past},
        plan::{Stance, plan},
        settle::{Problem, Restored},
    },
    outcome::{
        finding::{Finding, Outcome},
        observed::Observation,
        step::{Change, Step},
        trigger::Trigger,
    },
    value::failure::{Answer, ApiError, Read},
};
use jiff::Timestamp;

use crate::{
    Plant,
    chain::{Event, Message, tell},
    clock::{SECOND, Time, unless},
    dice::Kind,
    invocation::Invocation,
    notes::{Shows, What},
    simulation::timestamp,
    world::{Stored, Version, Writer, observed, written},
};

/// A look that is under way.
#[derive(Debug)]
pub(crate) struct Look<'a> {
    pub(crate) by: &'a Invocation,
    pub(crate) bucket: usize,
    pub(crate) past: Past,
    pub(crate) messages: &'a [Message],
    /// No write begins after it.
    pub(crate) deadline: Time,
    /// The last read of each control.
    pub(crate) seen: BTreeMap<Control, Seen>,
    /// When its last read began.
    asked: Time,
    /// When its first write began.
    begun: Option<Time>,
}

/// A read.
#[derive(Debug)]
pub(crate) struct Seen {
    /// When what it showed was certainly so.
    pub(crate) as_of: Time,
    /// When the answer was there.
    pub(crate) answered: Time,
    /// Whether it showed drift.
    pub(crate) is_drift: bool,
}

fn milliseconds(duration: Duration) -> Time {
    u64::try_from(duration.as_millis()).unwrap_or(Time::MAX)
}

fn refused(status: u16, code: &'static str) -> ApiError {
    let answer = Answer { arrived: true, status: Some(status), code: Some(code), ..Answer::default() };
    ApiError::answered("Call", answer, &std::fmt::Error)
}

fn unanswered() -> ApiError {
    ApiError::answered("Call", Answer::default(), &std::fmt::Error)
}

/// Merged with what its owner has of it.
fn is_merged(control: Control) -> bool {
    matches!(control, Control::BucketPolicy | Control::Lifecycle)
}

impl<'a> Look<'a> {
    pub(crate) fn new(by: &'a Invocation, bucket: usize, messages: &'a [Message], deadline: Time) -> Self {
        let past = past(by, messages);
        Self { by, bucket, past, messages, deadline, seen: BTreeMap::new(), asked: 0, begun: None }
    }

    fn note(&self, what: What) {
        self.by.sim.note(self.bucket, what);
    }

    /// Reads, decides and restores.
    pub(crate) async fn run(&mut self) -> Vec<Finding> {
        let by = self.by.number;
        self.note(What::Looked { by, generation: self.past.generation as u8 });
        let sim = &self.by.sim;
        sim.beside(self.bucket);
        let begun = timestamp(sim.clock.now());
        let mut steps = self.plan(begun).await;
        for again in 0.. {
            let drifted: Vec<_> = steps.iter().filter(|it| it.is_drift()).map(Step::control).collect();
            let Some(wait) = self.reread(&drifted, &Control::OF_BUCKET, again) else { break };
            self.note(What::Waited { by, wait: milliseconds(wait) });
            self.by.sim.clock.sleep(milliseconds(wait)).await;
            steps = self.plan(begun).await;
        }
        let mut findings = Vec::new();
        for step in steps {
            findings.push(match step.without_write() {
                Ok(finding) => finding,
                Err(change) => self.restore(*change).await.into_finding(false),
            });
        }
        findings
    }

    /// A call, unless the look's time is over before its answer is there.
    async fn in_time<T>(&self, call: impl Future<Output = T>) -> Read<T> {
        let clock = &self.by.sim.clock;
        if self.by.sim.has(Plant::ForgetDeadline) {
            return Ok(call.await);
        }
        let over = clock.sleep(self.deadline.saturating_sub(clock.now()));
        unless(over, call).await.map_err(|()| unanswered())
    }

    /// `begun`: when the look began.
    async fn plan(&mut self, begun: Timestamp) -> Vec<Step> {
        let read = self.read_all().await;
        if read.values().all(|it| it.as_ref().is_ok_and(|it| it.change.is_none())) {
            // What the plan would say, sooner.
            return Vec::new();
        }
        let sim = &self.by.sim;
        let registration = sim.registration(self.bucket);
        let stance = Stance { registration: &registration, now: begun, dry_run: false, past: &self.past };
        let read = read.into_iter().map(|(control, read)| (control, read.map(|it| it.setting.clone()))).collect();
        let seen = observed(read).map(Observation::from).unwrap_or_default();
        plan(&sim.library.buckets[self.bucket].baseline, seen, &stance)
    }

    /// All reads go out at once.
    async fn read_all(&mut self) -> BTreeMap<Control, Read<Rc<Stored>>> {
        let (sim, bucket) = (Rc::clone(&self.by.sim), self.bucket);
        self.asked = sim.clock.now();
        let mut read = Control::OF_BUCKET.map(|it| (it, Err(unanswered()))).into();
        if self.in_time(self.by.travel_to_bucket(bucket)).await.is_err() {
            return read;
        }
        let mut rng = sim.dice.any(bucket);
        let mut order = Control::OF_BUCKET;
        rng.shuffle(&mut order);
        for control in order {
            sim.clock.sleep(rng.u64(..12)).await;
            read.insert(control, self.serve(control));
        }
        if self.in_time(self.by.travel_to_bucket(bucket)).await.is_err() {
            read.values_mut().for_each(|it| *it = Err(unanswered()));
        }
        self.seen.values_mut().for_each(|it| it.answered = sim.clock.now());
        read
    }

    /// How long to wait before what was just read is read again.
    fn reread(&self, drifted: &[Control], read: &[Control], again: usize) -> Option<Duration> {
        let sim = &self.by.sim;
        // An answer may take long: what S3 showed is as old as the question.
        let asked = if sim.has(Plant::LateClock) { sim.clock.now() } else { self.asked };
        self.past.reread(drifted, read, timestamp(asked), again).filter(|_| !sim.has(Plant::NoSecondLook))
    }

    /// What is to be written is read again right before; that it is good already counts only when that cannot be old.
    async fn read_before_write(&mut self, control: Control, written: bool) -> Read<Rc<Stored>> {
        let read = self.read(control).await?;
        let is_good = read.change.is_none() && !written && !self.by.sim.has(Plant::BelieveLastRead);
        match self.reread(&[], &[control], 0).filter(|_| is_good) {
            Some(wait) => {
                self.by.sim.clock.sleep(milliseconds(wait)).await;
                self.read(control).await
            }
            None => Ok(read),
        }
    }

    async fn read(&mut self, control: Control) -> Read<Rc<Stored>> {
        self.asked = self.by.sim.clock.now();
        self.in_time(self.by.travel_to_bucket(self.bucket)).await?;
        let read = self.serve(control);
        self.in_time(self.by.travel_to_bucket(self.bucket)).await?;
        if let Some(seen) = self.seen.get_mut(&control) {
            seen.answered = self.by.sim.clock.now();
        }
        read
    }

    /// What S3 shows of a control; an error where it lets nobody read.
    fn serve(&mut self, control: Control) -> Read<Rc<Stored>> {
        let (sim, bucket, by) = (&self.by.sim, self.bucket, self.by.number);
        let now = sim.clock.now();
        if sim.fails(Kind::Unreadable, bucket, 200).is_some() {
            sim.note(bucket, What::Read { by, control, shows: Shows::Denied, stale: false });
            if sim.has(Plant::DeniedIsAbsent)
                && let Some(stored) = sim.library.unset(bucket, control)
            {
                self.seen.insert(control, Seen { as_of: now, answered: now, is_drift: true });
                return Ok(stored);
            }
            self.seen.remove(&control);
            return Err(refused(403, "AccessDenied"));
        }
        let as_of = sim.as_of(bucket);
        let shown = sim.s3.borrow().read(bucket, control, as_of);
        let is_drift = shown.change.is_some();
        let shows = if is_drift { Shows::Drift } else { Shows::Good };
        sim.note(bucket, What::Read { by, control, shows, stale: as_of < now });
        self.seen.insert(control, Seen { as_of, answered: now, is_drift });
        Ok(shown)
    }

    /// Writes one change, again after a moment if S3 is busy.
    async fn restore(&mut self, mut change: Change) -> Restored {
        let control = change.control();
        let sim = Rc::clone(&self.by.sim);
        let begun = *self.begun.get_or_insert(sim.clock.now());
        let (mut written, mut tried) = (false, 0);
        loop {
            if tried > 0 || is_merged(control) && !sim.has(Plant::DropReread) {
                match self.read_before_write(control, written).await.map(|it| it.change.clone()) {
                    Ok(Some(fresh)) => change = fresh,
                    Ok(None) => return Restored { change, written, result: Ok(()) },
                    Err(error) => return Restored { change, written, result: Err(error.into()) },
                }
            }
            if sim.clock.now() >= self.deadline && !sim.has(Plant::ForgetDeadline) {
                let problem = Problem { text: "no time left".to_owned(), denied_by: None };
                return Restored { change, written, result: Err(problem) };
            }
            let result = self.in_time(self.write(&change)).await.flatten();
            written |= result.as_ref().err().is_none_or(ApiError::may_be_done);
            let Err(error) = result else { return Restored { change, written, result: Ok(()) } };
            let spent = Duration::from_millis(sim.clock.now() - begun);
            let Some(wait) = backoff::of_write(&error, tried, spent) else {
                return Restored { change, written, result: Err(error.into()) };
            };
            sim.clock.sleep(milliseconds(wait)).await;
            tried += 1;
        }
    }

    async fn write(&self, change: &Change) -> Result<(), ApiError> {
        let (sim, bucket, by, control) = (&self.by.sim, self.bucket, self.by.number, change.control());
        let Some(setting) = written(change) else { return Ok(()) };
        let sent = sim.clock.now();
        self.by.travel_to_bucket(bucket).await;
        // S3 refuses a write while another one of the bucket's is at work.
        let is_busy = sim.fails(Kind::Busy, bucket, 20).is_some();
        if is_busy || sim.fails(Kind::Denied, bucket, 100).is_some() {
            let (status, code) = if is_busy { (409, "OperationAborted") } else { (403, "AccessDenied") };
            self.note(What::Refused { by, control, code });
            self.by.travel_to_bucket(bucket).await;
            let is_swallowed = is_busy && sim.has(Plant::SwallowConflict);
            return if is_swallowed { Ok(()) } else { Err(refused(status, code)) };
        }
        let stored = sim.library.store(bucket, control, setting);
        let (now, event) = (sim.clock.now(), sim.chain.borrow_mut().event_number());
        let marked = self.past.generation != Generation::First;
        self.note(What::Restored { by, control, event });
        self.check_write(control, &stored, sent);
        sim.s3.borrow_mut().write(bucket, control, Version { event, since: now, writer: Writer::Guardrail, stored });
        tell(sim, Event { number: event, made: now, bucket, control, writer: Writer::Guardrail, marked });
        if sim.fails(Kind::Unanswered, bucket, 50).is_some() {
            self.note(What::Unanswered { by, control });
            sim.clock.sleep(5 * SECOND).await;
            return Err(unanswered());
        }
        self.by.travel_to_bucket(bucket).await;
        Ok(())
    }

    /// People were told.
    pub(crate) fn told(&self, finding: &Finding) {
        let outcome = match finding.outcome {
            Outcome::Restored => "was restored",
            Outcome::WouldRestore => "would be restored",
            Outcome::Failed => "could not be restored",
            Outcome::Unreadable => "could not be read",
            Outcome::Exempt => "is off its baseline, as exempted",
            Outcome::Unstable => "did not stay as it was restored",
        };
        self.note(What::Told { by: self.by.number, control: finding.control, outcome });
        self.check_told(finding);
    }

    /// The events that led here.
    pub(crate) fn events(&self) -> impl Iterator<Item = Event> {
        self.messages.iter().filter_map(|it| it.body.event())
    }
}

/// What is known of the calls before a look at these messages.
fn past(by: &Invocation, messages: &[Message]) -> Past {
    let is_own = |it: &Event| it.writer == Writer::Guardrail && !by.sim.has(Plant::ForgetEchoes);
    let generation = |it: &Message| match it.body.event() {
        Some(event) if is_own(&event) && event.marked => Generation::Third,
        Some(event) if is_own(&event) => Generation::Second,
        _ => Generation::First,
    };
    let of_earliest = messages.iter().min_by_key(|it| it.body.event().map(|it| it.made)).map(generation);
    let least = messages.iter().map(generation).min();
    let mut past =
        Past::new(if by.sim.has(Plant::EarliestGeneration) { of_earliest } else { least }.unwrap_or_default());
    for event in messages.iter().filter_map(|it| it.body.event()) {
        // CloudTrail's times are cut to the second.
        let time = timestamp(event.made / SECOND * SECOND);
        if is_own(&event) {
            past.saw_own(event.control, time);
        } else {
            let event_name = event.control.vocabulary().events[0].to_owned();
            past.saw_call(Trigger { event_name, ..Trigger::default() }, time);
        }
    }
    past
}
