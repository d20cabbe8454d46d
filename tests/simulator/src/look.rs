//! One look at a bucket, call by call: what `work/reconcile.rs` does between the decisions.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use guardrail_core::{
    control::table::Control,
    decide::{
        backoff,
        echo::Echo,
        plan::{Stance, plan},
        settle::{Problem, Restored},
    },
    outcome::{
        finding::{Finding, Outcome},
        observed::Observation,
        step::{Change, Step},
    },
    value::failure::{Answer, ApiError, Read},
};

use crate::{
    Plant,
    chain::{Body, Event, Message, tell},
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
    pub(crate) echo: Echo,
    pub(crate) message: &'a Message,
    /// No write begins after it.
    pub(crate) deadline: Time,
    /// The last read of each control.
    pub(crate) seen: BTreeMap<Control, Seen>,
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
    pub(crate) fn new(by: &'a Invocation, bucket: usize, echo: Echo, message: &'a Message, deadline: Time) -> Self {
        Self { by, bucket, echo, message, deadline, seen: BTreeMap::new(), begun: None }
    }

    fn note(&self, what: What) {
        self.by.sim.note(self.bucket, what);
    }

    /// Reads, decides and restores.
    pub(crate) async fn run(&mut self) -> Vec<Finding> {
        let by = self.by.number;
        let generation = match self.echo {
            Echo::No => 0,
            Echo::Of(_) => 1,
            Echo::Again(_) => 2,
        };
        self.note(What::Looked { by, generation });
        self.by.sim.beside(self.bucket);
        let mut steps = self.plan().await;
        if !self.by.sim.has(Plant::NoSecondLook) {
            for wait in backoff::REREADS {
                if !steps.iter().any(|it| matches!(it, Step::Unstable(_))) {
                    break;
                }
                self.note(What::Waited { by, wait: milliseconds(wait) });
                self.by.sim.clock.sleep(milliseconds(wait)).await;
                steps = self.plan().await;
            }
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

    async fn plan(&mut self) -> Vec<Step> {
        let read = self.read_all().await;
        if read.values().all(|it| it.as_ref().is_ok_and(|it| it.change.is_none())) {
            // What the plan would say, sooner.
            return Vec::new();
        }
        let sim = &self.by.sim;
        let registration = sim.registration(self.bucket);
        let now = timestamp(sim.clock.now());
        let stance = Stance { registration: &registration, now, dry_run: false, echo: self.echo };
        let read = read.into_iter().map(|(control, read)| (control, read.map(|it| it.setting.clone()))).collect();
        let seen = observed(read).map(Observation::from).unwrap_or_default();
        plan(&sim.library.buckets[self.bucket].baseline, seen, &stance)
    }

    /// All reads go out at once.
    async fn read_all(&mut self) -> BTreeMap<Control, Read<Rc<Stored>>> {
        let (sim, bucket) = (Rc::clone(&self.by.sim), self.bucket);
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

    async fn read(&mut self, control: Control) -> Read<Rc<Stored>> {
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
        let is_deceived = !is_drift && sim.s3.borrow().now(bucket, control).since > as_of;
        sim.holds.borrow_mut().read(bucket, control, is_deceived);
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
                match self.read(control).await.map(|it| it.change.clone()) {
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
        let marked = self.echo != Echo::No;
        self.note(What::Restored { by, control, event });
        self.check_write(control, &stored, sent);
        sim.s3.borrow_mut().write(bucket, control, Version { since: now, writer: Writer::Guardrail, stored });
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

    /// The event that led here, if one did.
    pub(crate) fn event(&self) -> Option<Event> {
        match self.message.body {
            Body::Event(event) => Some(event),
            Body::Request(_) => None,
        }
    }
}
