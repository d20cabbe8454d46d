//! One look at a bucket, call by call: what `work/reconcile.rs` does between the decisions.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Duration,
};

use guardrail_core::{
    control::table::Control,
    decide::{
        backoff,
        echo::{Generation, Past},
        errand::Errand,
        plan::{self, Stance},
        settle::{Problem, Restored},
    },
    outcome::{
        finding::{Finding, Outcome},
        ledger::{Item, Restore, Span},
        report::Report,
        step::{Change, Step},
    },
    value::failure::{Answer, ApiError, Read},
};

use crate::{
    Plant,
    chain::{Event, Message, tell},
    clock::{SECOND, Time, unless},
    dice::Kind,
    invocation::Invocation,
    ledger::Clerk,
    notes::{Shows, What},
    world::{Stored, Version, Writer, written},
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
    /// What was read, all of it at once.
    read: BTreeMap<Control, Read<Rc<Stored>>>,
    /// The last read of each control.
    pub(crate) seen: BTreeMap<Control, Seen>,
    /// When its last read began, and its last of everything.
    asked: Time,
    asked_all: Time,
    /// When its first write began.
    begun: Option<Time>,
    pub(crate) clerk: Clerk<'a>,
    /// What the ledger said when it last answered.
    pub(crate) informed: Option<Rc<Item>>,
    /// When each control was restored.
    pub(crate) restores: BTreeMap<Control, Restore>,
    /// The control that it wrote last.
    pub(crate) last_written: Cell<Option<Control>>,
}

/// A read.
#[derive(Debug)]
pub(crate) struct Seen {
    /// When it was asked for.
    pub(crate) asked: Time,
    /// When what it showed was certainly so.
    pub(crate) as_of: Time,
    /// When the answer was there.
    pub(crate) answered: Time,
    /// Whether it showed drift.
    pub(crate) is_drift: bool,
}

pub(crate) fn milliseconds(duration: Duration) -> Time {
    u64::try_from(duration.as_millis()).unwrap_or(Time::MAX)
}

fn refused(status: u16, code: &'static str) -> ApiError {
    let answer = Answer { arrived: true, status: Some(status), code: Some(code), ..Answer::default() };
    ApiError::answered("Call", answer, &std::fmt::Error)
}

fn unanswered() -> ApiError {
    ApiError::answered("Call", Answer::default(), &std::fmt::Error)
}

impl<'a> Look<'a> {
    pub(crate) fn new(by: &'a Invocation, errand: &Errand, messages: &'a [Message], deadline: Time) -> Self {
        let mut past = errand.past(&by.sim.library.role, by.clock());
        if by.sim.has(Plant::EarliestGeneration)
            && let Some(event) = errand.events.first()
        {
            past.generation = event.generation(&by.sim.library.role);
        }
        let bucket = messages[0].body.bucket();
        Self {
            clerk: Clerk { by, bucket, id: format!("{}-{bucket}", by.number), page: RefCell::default() },
            informed: None,
            restores: BTreeMap::new(),
            by,
            bucket,
            past,
            messages,
            deadline,
            read: BTreeMap::new(),
            seen: BTreeMap::new(),
            asked: 0,
            asked_all: 0,
            begun: None,
            last_written: Cell::default(),
        }
    }

    fn note(&self, what: What) {
        self.by.sim.note(self.bucket, what);
    }

    /// Reads, decides and restores.
    pub(crate) async fn run(&mut self) -> Read<Vec<Finding>> {
        let by = self.by.number;
        self.note(What::Looked { by, generation: self.past.generation as u8 });
        self.by.sim.beside(self.bucket);
        let mut steps = self.plan(0).await?;
        if let Some(item) = self.clerk.open().await {
            self.inform(item);
            steps = self.planned();
        }
        let mut intended: Vec<Control> = Vec::new();
        let (mut again, mut asked) = (0, false);
        loop {
            let drifted: Vec<_> = steps.iter().filter(|it| it.is_drift()).map(Step::control).collect();
            if let Some(wait) = self.reread(&drifted, &Control::OF_BUCKET, again) {
                again += 1;
                self.note(What::Waited { by, wait: milliseconds(wait) });
                let Ok(fresh) = self.plan(milliseconds(wait)).await else {
                    steps = steps.into_iter().map(Step::in_doubt).collect();
                    break;
                };
                (steps, asked) = (fresh, false);
                continue;
            }
            let to_write: Vec<_> = steps.iter().filter(|it| it.is_write()).map(Step::control).collect();
            let is_unstable = steps.iter().any(|it| matches!(it, Step::Unstable(_)));
            if is_unstable
                && !std::mem::replace(&mut asked, true)
                && let Some(item) = self.clerk.open().await
            {
                self.inform(item);
                steps = self.planned();
                continue;
            }
            // What has begun to drift while it was read again is said, too.
            let is_said = to_write.iter().all(|it| intended.contains(it));
            if is_said || self.by.sim.has(Plant::NoIntent) {
                break;
            }
            self.note(What::Intends { by, controls: to_write.len() });
            intended.extend(to_write);
            let Some(item) = self.clerk.begin(intended.clone()).await else { break };
            self.inform(item);
            // What others said meanwhile may be new doubt.
            again = 0;
            steps = self.planned();
        }
        if self.by.sim.has(Plant::AnotherOrder) {
            steps.reverse();
        }
        if self.by.sim.has(Plant::CountReceives) && self.messages.iter().any(|it| it.receives >= 3) {
            let at_once = |it| if let Step::NotYet(change) = it { Step::Unstable(change) } else { it };
            steps = steps.into_iter().map(at_once).collect();
        }
        let mut findings = Vec::new();
        for step in steps {
            findings.push(match step.without_write() {
                Ok(finding) => finding,
                Err(change) => self.restore_in_time(*change).await.into_finding(false),
            });
        }
        Ok(findings)
    }

    /// Work of the look's, unless its time is over before.
    async fn in_time<T>(by: &Invocation, deadline: Time, work: impl Future<Output = T>) -> Read<T> {
        let clock = &by.sim.clock;
        if by.sim.has(Plant::ForgetDeadline) {
            return Ok(work.await);
        }
        if clock.now() >= deadline {
            return Err(unanswered());
        }
        unless(clock.sleep(deadline - clock.now()), work).await.map_err(|()| unanswered())
    }

    /// Adds what the ledger says to what is known of the calls before.
    fn inform(&mut self, item: Rc<Item>) {
        let now = self.by.clock();
        item.inform(&self.clerk.id, &mut self.past, now);
        self.informed = Some(item);
    }

    /// Reads everything after a while.
    async fn plan(&mut self, wait: Time) -> Read<Vec<Step>> {
        self.read = Self::in_time(self.by, self.deadline, self.read_all(wait)).await?;
        Ok(self.planned())
    }

    /// What is to be done about what was read.
    fn planned(&self) -> Vec<Step> {
        let read = &self.read;
        if read.values().all(|it| it.as_ref().is_ok_and(|it| it.change.is_none())) {
            // What the plan would say, sooner.
            return Vec::new();
        }
        let sim = &self.by.sim;
        let registration = sim.registration(self.bucket);
        let stance = Stance { registration: &registration, now: self.by.clock(), dry_run: false, past: &self.past };
        let verdicts = sim.library.verdicts(self.bucket, read);
        plan::steps(&sim.library.buckets[self.bucket].baseline, verdicts, &stance)
    }

    /// All reads go out at once.
    async fn read_all(&mut self, wait: Time) -> BTreeMap<Control, Read<Rc<Stored>>> {
        let (sim, bucket) = (Rc::clone(&self.by.sim), self.bucket);
        sim.clock.sleep(wait).await;
        self.asked = sim.clock.now();
        self.asked_all = self.asked;
        self.by.travel_to_bucket(bucket).await;
        let mut rng = sim.dice.any(bucket);
        let mut order = Control::OF_BUCKET;
        rng.shuffle(&mut order);
        let mut read = BTreeMap::new();
        for control in order {
            sim.clock.sleep(rng.u64(..12)).await;
            read.insert(control, self.serve(control));
        }
        self.by.travel_to_bucket(bucket).await;
        self.seen.values_mut().for_each(|it| it.answered = sim.clock.now());
        read
    }

    /// How long to wait before what was just read is read again.
    fn reread(&self, drifted: &[Control], read: &[Control], again: usize) -> Option<Duration> {
        let sim = &self.by.sim;
        // An answer may take long: what S3 showed is as old as the question.
        let asked = if sim.has(Plant::LateClock) { sim.clock.now() } else { self.asked };
        self.past.reread(drifted, read, self.by.at(asked), again).filter(|_| !sim.has(Plant::NoSecondLook))
    }

    /// What is to be written is read again right before. That it is good already, although nothing was written, may be what
    /// was there before it drifted, and is read once more.
    async fn read_before_write(&mut self, control: Control, written: bool) -> Read<Rc<Stored>> {
        let read = self.read(control).await?;
        if read.change.is_some() || written || self.by.sim.has(Plant::BelieveLastRead) {
            return Ok(read);
        }
        self.by.sim.clock.sleep(milliseconds(backoff::REREAD_OF_GOOD)).await;
        self.read(control).await
    }

    async fn read(&mut self, control: Control) -> Read<Rc<Stored>> {
        self.asked = self.by.sim.clock.now();
        self.by.travel_to_bucket(self.bucket).await;
        let read = self.serve(control);
        self.by.travel_to_bucket(self.bucket).await;
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
                self.seen.insert(control, Seen { asked: self.asked, as_of: now, answered: now, is_drift: true });
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
        self.seen.insert(control, Seen { asked: self.asked, as_of, answered: now, is_drift });
        Ok(shown)
    }

    /// Writes one change as far as there is time. What was cut may have been written.
    async fn restore_in_time(&mut self, change: Change) -> Restored {
        let begins = self.by.sim.clock.now() < self.deadline;
        let cut = Restored { change: change.clone(), written: begins, result: Err(Problem::no_time()) };
        Self::in_time(self.by, self.deadline, self.restore(change)).await.unwrap_or(cut)
    }

    /// Writes one change, again after a moment if S3 is busy.
    async fn restore(&mut self, mut change: Change) -> Restored {
        let control = change.control();
        let sim = Rc::clone(&self.by.sim);
        let begun = *self.begun.get_or_insert(sim.clock.now());
        let mut tried = 0;
        let mut drift_read = self.asked_all;
        // The last write that may have been done.
        let mut written = None;
        loop {
            let waited = Duration::from_millis(sim.clock.now() - begun);
            if tried > 0 || plan::is_read_before_write(control, waited) && !sim.has(Plant::DropReread) {
                match self.read_before_write(control, written.is_some()).await.map(|it| it.change.clone()) {
                    Ok(Some(fresh)) => (change, drift_read) = (fresh, self.asked),
                    Ok(None) => {
                        if sim.has(Plant::CountOthers) {
                            let now = self.by.clock();
                            written = Some(Span { sent: now, ended: now });
                        }
                        self.restores.insert(control, Restore { read: self.by.at(drift_read), written });
                        return Restored { change, written: written.is_some(), result: Ok(()) };
                    }
                    Err(error) => return Restored { change, written: written.is_some(), result: Err(error.into()) },
                }
            }
            let sent = self.by.clock();
            let result = self.write(&change).await;
            if result.as_ref().err().is_none_or(ApiError::may_be_done) {
                written = Some(Span { sent, ended: self.by.clock() });
            }
            let Err(error) = result else {
                self.restores.insert(control, Restore { read: self.by.at(drift_read), written });
                return Restored { change, written: true, result: Ok(()) };
            };
            let spent = Duration::from_millis(sim.clock.now() - begun);
            let Some(wait) = backoff::of_write(&error, tried, spent) else {
                return Restored { change, written: written.is_some(), result: Err(error.into()) };
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
        self.last_written.set(Some(control));
        sim.s3.borrow_mut().write(bucket, control, Version { event, since: now, writer: Writer::Guardrail, stored });
        tell(
            sim,
            Event { number: event, made: now, bucket, control, writer: Writer::Guardrail, marked, failed: false },
        );
        if sim.fails(Kind::Unanswered, bucket, 50).is_some() {
            self.note(What::Unanswered { by, control });
            sim.clock.sleep(5 * SECOND).await;
            self.ended(control);
            return Err(unanswered());
        }
        self.by.travel_to_bucket(bucket).await;
        self.ended(control);
        Ok(())
    }

    /// People were told.
    pub(crate) fn told(&self, report: &Report) {
        self.by.sim.holds.borrow_mut().alerts += 1;
        for finding in &report.findings {
            let outcome = match finding.outcome {
                Outcome::Restored => "was restored",
                Outcome::WouldRestore => continue,
                Outcome::Failed => "could not be restored",
                Outcome::Unreadable => "could not be read",
                Outcome::Exempt => "is off its baseline, as exempted",
                Outcome::Unstable => "did not stay as it was restored",
            };
            self.note(What::Told { by: self.by.number, control: finding.control, outcome });
            self.by.sim.told_without_ledger(self.bucket, finding.control);
        }
    }

    /// What the look came to is so.
    pub(crate) fn came_to(&self, report: &Report) {
        report.findings.iter().for_each(|it| self.check_told(it));
    }

    /// The events that led here.
    pub(crate) fn events(&self) -> impl Iterator<Item = Event> {
        self.messages.iter().filter_map(|it| it.body.event())
    }
}
