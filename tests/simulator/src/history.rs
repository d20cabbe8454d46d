//! One history: what happens to a bucket in an hour, and what must hold of it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use fastrand::Rng;
use guardrail_core::{
    control::table::Control,
    decide::{
        baseline::Baseline,
        echo::{Generation, NO_PAST, Past},
        plan::{Stance, plan},
    },
    edge::registry::Registration,
    outcome::{
        finding::{Finding, Left, Outcome},
        observed::Observation,
        setting::Setting,
        trigger::Trigger,
    },
    value::{
        failure::{Answer, ApiError, Read},
        policy::Statement,
        xml::Element,
    },
};
use jiff::{Span, Timestamp};
use serde_json::json;

use crate::{
    Plant,
    look::{Look, Next},
    world::{Time, World, Writer, observed, owners, written},
};

const SECOND: Time = 1_000;
const MINUTE: Time = 60 * SECOND;

/// For how long actors act.
const ACTIVE: Time = 60 * MINUTE;

/// Until then everything is at rest: the latest event has come, and two sweeps after it.
const END: Time = ACTIVE + 46 * MINUTE;

const SWEEP: Time = 15 * MINUTE;

/// The longest that a call takes in one direction.
const LATENCY: Time = 80;

/// The documented window: from S3's answer to the read right before a merge's write to the write's arrival.
const WINDOW: Time = 2 * LATENCY;

/// How often Lambda tries an invocation again.
const RETRIES: u8 = 2;

const BUCKET: &str = "acme-data";
const ACCOUNT: &str = "111122223333";

/// What a history is to be like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// A defect on purpose.
    pub plant: Option<Plant>,
    /// Whether each call is kept in words.
    pub trace: bool,
}

/// What came of a history.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Of every call in order: the same seed has the same.
    pub digest: u64,
    /// Calls of everybody.
    pub calls: usize,
    /// Of the guardrail.
    pub writes: usize,
    /// By anybody else, each a cause.
    pub causes: usize,
    pub looks: usize,
    /// Faults that were made to happen.
    pub faults: usize,
    /// Owners' entries that were written over within the documented window.
    pub lost: usize,
    /// The longest time in milliseconds from the read of a document to the arrival of the write that lost something.
    pub longest_window: u64,
    /// Told as unstable although somebody else had changed it since.
    pub misjudged: usize,
    /// What should hold and did not.
    pub violations: Vec<String>,
    /// Each call in words, if asked for.
    pub trace: Vec<String>,
}

/// What happens at a time.
#[derive(Debug)]
enum Happening {
    /// `true`: and again after a while.
    Owner(bool),
    OwnerWrites(Control, Setting),
    Robot,
    Insider(bool),
    Sweep,
    Event(Event),
    /// S3 serves one read of a look.
    Serve(usize, Control),
    /// It serves the read right before a write.
    ServeAgain(usize, Control),
    /// A write of a look arrives.
    Arrive(usize, Control),
    /// The look hears what came of it.
    Answered(usize, Option<(u16, &'static str)>),
}

/// A call, as CloudTrail tells of it.
#[derive(Clone, Copy, Debug)]
struct Event {
    /// When the call was made.
    made: Time,
    control: Control,
    writer: Writer,
    /// The write was made on an echo of our own.
    marked: bool,
    tried: u8,
}

/// What led to a look.
#[derive(Clone, Copy, Debug)]
enum Cause {
    Event(Event),
    Sweep,
}

struct Simulation {
    rng: Rng,
    options: Options,
    now: Time,
    order: u64,
    queue: BinaryHeap<Reverse<(Time, u64, usize)>>,
    happenings: Vec<Option<Happening>>,
    world: World,
    looks: Vec<(Cause, Option<Look>)>,
    /// When S3 served the last read of a control to a look.
    served: BTreeMap<(usize, Control), Time>,
    /// What of the owner's has to be there.
    expected: BTreeMap<Control, BTreeSet<String>>,
    names: usize,
    registration: Registration,
    baseline: Baseline,
    history: History,
}

/// What comes of a seed.
pub fn history(seed: u64, options: &Options) -> History {
    let parsed = "the names in this file are well formed";
    let registration = Registration::new(
        BUCKET.parse().expect(parsed),
        ACCOUNT.parse().expect(parsed),
        format!("arn:aws:kms:eu-west-2:{ACCOUNT}:key/k").parse().expect(parsed),
    );
    let role = format!("arn:aws:iam::{ACCOUNT}:role/s3-guardrail-remediate-eu-west-2").parse().expect(parsed);
    let baseline = Baseline::new(&registration, &registration.account, &role).expect(parsed);
    let mut simulation = Simulation {
        rng: Rng::with_seed(seed),
        options: *options,
        now: 0,
        order: 0,
        queue: BinaryHeap::new(),
        happenings: Vec::new(),
        world: World::new(),
        looks: Vec::new(),
        served: BTreeMap::new(),
        expected: BTreeMap::new(),
        names: 0,
        registration,
        baseline,
        history: History { digest: 0xcbf2_9ce4_8422_2325, ..History::default() },
    };
    simulation.run();
    simulation.history
}

impl Simulation {
    fn run(&mut self) {
        self.after(0, Happening::Owner(true));
        self.after(0, Happening::Robot);
        self.after(0, Happening::Insider(true));
        if self.options.plant != Some(Plant::NoSweep) {
            self.after(SWEEP, Happening::Sweep);
        }
        while let Some(Reverse((time, _, place))) = self.queue.pop() {
            if time > END {
                break;
            }
            self.now = time;
            if let Some(happening) = self.happenings[place].take() {
                self.happen(happening);
            }
        }
        self.check_at_rest();
    }

    fn after(&mut self, wait: Time, happening: Happening) {
        self.queue.push(Reverse((self.now + wait, self.order, self.happenings.len())));
        self.order += 1;
        self.happenings.push(Some(happening));
    }

    /// One in so many.
    fn one_in(&mut self, many: u32) -> bool {
        self.rng.u32(..many) == 0
    }

    fn latency(&mut self) -> Time {
        self.rng.u64(5..=LATENCY)
    }

    /// Keeps a call: for the digest, and in words if asked for.
    fn note(&mut self, who: &str, what: &str, control: Control) {
        self.history.calls += 1;
        let line = format!("{:>9} {who} {what} {control}", self.now);
        for byte in line.bytes() {
            self.history.digest = (self.history.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.options.trace {
            self.history.trace.push(line);
        }
    }

    fn violated(&mut self, what: String) {
        self.history.violations.push(format!("at {} ms: {what}", self.now));
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Owner(again) => self.owner(again),
            Happening::OwnerWrites(control, setting) => self.others_write("owner", control, setting),
            Happening::Robot => self.robot(),
            Happening::Insider(again) => self.insider(again),
            Happening::Sweep => {
                self.look(Cause::Sweep);
                self.after(SWEEP, Happening::Sweep);
            }
            Happening::Event(event) => self.look(Cause::Event(event)),
            Happening::Serve(look, control) => self.serve(look, control),
            Happening::ServeAgain(look, control) => self.serve_again(look, control),
            Happening::Arrive(look, control) => self.arrive(look, control),
            Happening::Answered(look, refusal) => self.answered(look, refusal),
        }
    }

    // The actors.

    /// Adds a statement or a rule of their own, in a read, a moment's thought and a write.
    fn owner(&mut self, again: bool) {
        let control = if self.rng.bool() { Control::BucketPolicy } else { Control::Lifecycle };
        self.names += 1;
        if let Some(setting) = self.world.now(control).cloned().map(|it| with_owners_entry(it, self.names)) {
            let thought = self.rng.u64(50..2 * SECOND);
            self.after(thought, Happening::OwnerWrites(control, setting));
        }
        if again {
            self.again(Happening::Owner(true), 6 * MINUTE);
        }
    }

    /// Infrastructure code that knows of the owner's statements alone.
    fn robot(&mut self) {
        if let Some(Setting::BucketPolicy(policy)) = self.world.now(Control::BucketPolicy).cloned() {
            let mut plain = policy;
            plain.statements.retain(|it| it.sid().is_some_and(|sid| sid.starts_with("Owner")));
            self.others_write("robot", Control::BucketPolicy, Setting::BucketPolicy(plain));
        }
        self.again(Happening::Robot, 20 * MINUTE);
    }

    /// Takes something off the baseline.
    fn insider(&mut self, again: bool) {
        let control = Control::OF_BUCKET[self.rng.usize(..Control::OF_BUCKET.len())];
        let keeps_owners = self.rng.bool();
        if let Some(setting) = self.world.now(control).cloned().map(|it| broken(it, keeps_owners)) {
            self.others_write("insider", control, setting);
        }
        if again {
            self.again(Happening::Insider(true), 4 * MINUTE);
        }
    }

    fn again(&mut self, actor: Happening, within: Time) {
        let wait = self.rng.u64(SECOND..within);
        if self.now + wait < ACTIVE {
            self.after(wait, actor);
        }
    }

    fn others_write(&mut self, who: &str, control: Control, setting: Setting) {
        self.note(who, "writes", control);
        self.history.causes += 1;
        self.expected.insert(control, owners(&setting));
        self.world.write(control, setting, self.now, Writer::Others);
        self.tell(Event { made: self.now, control, writer: Writer::Others, marked: false, tried: 0 });
    }

    /// CloudTrail tells EventBridge of a call: late, twice, or not at all.
    fn tell(&mut self, event: Event) {
        if self.one_in(50) {
            self.history.faults += 1;
            return;
        }
        let times = if self.one_in(30) { 2 } else { 1 };
        for _ in 0..times {
            let delay = match self.rng.u8(..100) {
                0..80 => self.rng.u64(SECOND / 2..10 * SECOND),
                80..98 => self.rng.u64(10 * SECOND..2 * MINUTE),
                _ => self.rng.u64(2 * MINUTE..15 * MINUTE),
            };
            self.after(delay, Happening::Event(event));
            // Somebody times a call of their own into our echo.
            if event.writer == Writer::Guardrail && self.now + delay < ACTIVE && self.one_in(10) {
                self.after(delay.saturating_sub(200), Happening::Insider(false));
            }
        }
    }

    // The looks.

    fn look(&mut self, cause: Cause) {
        self.history.looks += 1;
        let mut past = Past::new(Generation::First);
        if let Cause::Event(Event { made, control, writer, marked, .. }) = cause {
            // CloudTrail's times are cut to the second.
            let time = timestamp(made / SECOND * SECOND);
            if writer == Writer::Others {
                let event_name = control.vocabulary().events[0].to_owned();
                past.saw_call(Trigger { event_name, ..Trigger::default() }, time);
            } else if self.options.plant != Some(Plant::ForgetEchoes) {
                past = Past::new(if marked { Generation::Third } else { Generation::Second });
                past.saw_own(control, time);
            }
        }
        self.looks.push((cause, Some(Look::new(past))));
        self.read_all(self.looks.len() - 1, 0);
        // An owner works at the same moment.
        if self.now < ACTIVE && self.one_in(10) {
            let moment = self.rng.u64(..600);
            self.after(moment, Happening::Owner(false));
        }
    }

    fn read_all(&mut self, look: usize, wait: Time) {
        for control in Control::OF_BUCKET {
            let latency = self.latency();
            self.after(wait + latency, Happening::Serve(look, control));
        }
    }

    fn go(&mut self, look: usize, next: Next) {
        match next {
            Next::ReadAll(wait) => self.read_all(look, wait),
            Next::Reread(control, 0) if self.options.plant == Some(Plant::DropReread) => {
                self.go(look, Next::Write(control));
            }
            Next::Reread(control, wait) => {
                let latency = self.latency();
                self.after(wait + latency, Happening::ServeAgain(look, control));
            }
            Next::Write(control) => {
                let latency = self.latency();
                self.after(latency, Happening::Arrive(look, control));
            }
            Next::End => self.ended(look),
        }
    }

    /// What S3 shows of a control; an error where it lets nobody read.
    fn shown(&mut self, look: usize, control: Control) -> Option<(Read<Setting>, Time)> {
        self.note("guardrail", "reads", control);
        self.served.insert((look, control), self.now);
        if self.one_in(40) {
            self.history.faults += 1;
            if self.options.plant == Some(Plant::DeniedIsAbsent) {
                return Some((Ok(World::new().now(control)?.clone()), self.now));
            }
            return Some((Err(refused(403, "AccessDenied")), self.now));
        }
        let shown = self.world.read(control, self.now, &mut self.rng)?;
        Some((Ok(shown.setting), shown.as_of))
    }

    fn serve(&mut self, look: usize, control: Control) {
        let Some((read, as_of)) = self.shown(look, control) else { return };
        let stance =
            Stance { registration: &self.registration, now: timestamp(self.now), dry_run: false, past: &NO_PAST };
        let Some(state) = &mut self.looks[look].1 else { return };
        state.read.insert(control, read);
        state.as_of.insert(control, as_of);
        if state.read.len() == Control::OF_BUCKET.len() {
            let next = state.planned(&self.baseline, &stance, self.now);
            self.go(look, next);
        }
    }

    fn serve_again(&mut self, look: usize, control: Control) {
        let Some((read, as_of)) = self.shown(look, control) else { return };
        let Some(state) = &mut self.looks[look].1 else { return };
        state.as_of.insert(control, as_of);
        let next = state.refreshed(&self.baseline, read, self.now);
        self.go(look, next);
    }

    fn arrive(&mut self, look: usize, control: Control) {
        let (cause, Some(state)) = &self.looks[look] else { return };
        let (cause, marked) = (*cause, state.past.generation != Generation::First);
        let Some(setting) = state.change().and_then(written) else { return };
        let as_of = state.as_of.get(&control).copied().unwrap_or_default();
        let answer = self.latency();
        // Busy, denied, done without an answer, or the end of the whole invocation.
        let fault = self.rng.u8(..100);
        match fault {
            0..5 => {
                self.history.faults += 1;
                self.note("guardrail", "is told to wait with", control);
                let refusal = (self.options.plant != Some(Plant::SwallowConflict)).then_some((409, "OperationAborted"));
                return self.after(answer, Happening::Answered(look, refusal));
            }
            5 => {
                self.history.faults += 1;
                self.note("guardrail", "may not write", control);
                return self.after(answer, Happening::Answered(look, Some((403, "AccessDenied"))));
            }
            _ => {}
        }
        self.check_write(look, control, cause, &setting, as_of);
        self.history.writes += 1;
        self.note("guardrail", "writes", control);
        self.world.write(control, setting, self.now, Writer::Guardrail);
        self.tell(Event { made: self.now, control, writer: Writer::Guardrail, marked, tried: 0 });
        match fault {
            6 | 7 => {
                self.history.faults += 1;
                self.after(answer + 5 * SECOND, Happening::Answered(look, Some((0, ""))));
            }
            8 => {
                self.history.faults += 1;
                self.note("guardrail", "dies after", control);
                self.looks[look].1 = None;
                self.retry(cause);
            }
            _ => self.after(answer, Happening::Answered(look, None)),
        }
    }

    fn answered(&mut self, look: usize, refusal: Option<(u16, &'static str)>) {
        let result = match refusal {
            None => Ok(()),
            Some((0, _)) => Err(ApiError::answered("Put", Answer::default(), &std::fmt::Error)),
            Some((status, code)) => Err(refused(status, code)),
        };
        let Some(state) = &mut self.looks[look].1 else { return };
        let next = state.answered(result, self.now);
        self.go(look, next);
    }

    fn ended(&mut self, look: usize) {
        let (cause, Some(state)) = (self.looks[look].0, self.looks[look].1.take()) else { return };
        for finding in &state.findings {
            self.check_told(cause, finding, state.as_of.get(&finding.control).copied().unwrap_or_default());
        }
        if state
            .findings
            .iter()
            .any(|it| matches!(it.outcome, Outcome::Failed | Outcome::Unreadable) || it.left == Some(Left::NotYet))
        {
            self.retry(cause);
        }
    }

    /// Lambda tries an invocation again; a message of the sweep's is followed by the next sweep.
    fn retry(&mut self, cause: Cause) {
        if let Cause::Event(event) = cause
            && event.tried < RETRIES
        {
            let wait = self.rng.u64(MINUTE..3 * MINUTE);
            self.after(wait, Happening::Event(Event { tried: event.tried + 1, ..event }));
        }
    }

    // What must hold.

    /// A write is no answer to its own echo, and loses nothing of the owner's but within the documented window.
    fn check_write(&mut self, look: usize, control: Control, cause: Cause, setting: &Setting, as_of: Time) {
        if let Cause::Event(Event { writer: Writer::Guardrail, control: own, marked, .. }) = cause
            && (marked || own == control)
        {
            self.violated(format!("{control} was written on an event of the guardrail's own write of {own}"));
        }
        let (kept, there) = (owners(setting), self.world.now(control).map(owners).unwrap_or_default());
        let lost: Vec<_> = there.difference(&kept).cloned().collect();
        if lost.is_empty() {
            return;
        }
        let served = self.served.get(&(look, control)).copied().unwrap_or_default();
        let window = self.now - served;
        if self.world.latest(control).0 <= as_of {
            self.violated(format!("{control}: {lost:?} was there when it was read, and was written over"));
        } else if window > WINDOW {
            self.violated(format!("{control}: {lost:?} was written over {window} ms after the read"));
        } else {
            self.history.lost += lost.len();
            self.history.longest_window = self.history.longest_window.max(self.now - as_of);
            let expected = self.expected.entry(control).or_default();
            expected.retain(|it| !lost.contains(it));
        }
    }

    /// What is told was so when it was last read, unless somebody has changed it since.
    fn check_told(&mut self, cause: Cause, finding: &Finding, as_of: Time) {
        let control = finding.control;
        let (since, writer) = self.world.latest(control);
        let others_since = writer == Writer::Others && since > as_of;
        match finding.outcome {
            Outcome::Restored if !others_since && !self.is_good(control) => {
                self.violated(format!("{control} was told as restored, and is not"));
            }
            Outcome::Unstable => match cause {
                Cause::Event(event) if self.world.others_wrote(control, event.made, as_of) => {
                    self.history.misjudged += 1
                }
                _ => self.violated(format!("{control} was told as unstable, and nobody had changed it")),
            },
            _ => {}
        }
    }

    fn truth(&self) -> BTreeMap<Control, Read<Setting>> {
        Control::OF_BUCKET.iter().filter_map(|it| Some((*it, Ok(self.world.now(*it)?.clone())))).collect()
    }

    fn drifted(&self) -> Vec<Control> {
        let stance =
            Stance { registration: &self.registration, now: timestamp(self.now), dry_run: true, past: &NO_PAST };
        let seen = observed(self.truth()).map(Observation::from).unwrap_or_default();
        plan(&self.baseline, seen, &stance).iter().map(|it| it.control()).collect()
    }

    fn is_good(&self, control: Control) -> bool {
        !self.drifted().contains(&control)
    }

    fn check_at_rest(&mut self) {
        self.now = END;
        for control in self.drifted() {
            self.violated(format!("{control} is off its baseline, and everything is at rest"));
        }
        for (control, expected) in std::mem::take(&mut self.expected) {
            let there = self.world.now(control).map(owners).unwrap_or_default();
            let gone: Vec<_> = expected.difference(&there).collect();
            if !gone.is_empty() {
                self.violated(format!("{control}: {gone:?} of the owner's is gone"));
            }
        }
        // Each cause, sweep and retry may lead to a look that restores all seven, and to one more on its echoes.
        let most = 14 * (self.history.causes + self.history.faults + 8);
        if self.history.writes > most {
            self.violated(format!("{} writes for {} causes", self.history.writes, self.history.causes));
        }
    }
}

fn refused(status: u16, code: &'static str) -> ApiError {
    let answer = Answer { arrived: true, status: Some(status), code: Some(code), ..Answer::default() };
    ApiError::answered("Call", answer, &std::fmt::Error)
}

fn timestamp(now: Time) -> Timestamp {
    let begin = Timestamp::UNIX_EPOCH + Span::new().hours(24 * 365 * 57);
    begin + Span::new().milliseconds(i64::try_from(now).unwrap_or(i64::MAX))
}

/// The setting with one more entry of the owner's.
fn with_owners_entry(setting: Setting, number: usize) -> Setting {
    match setting {
        Setting::BucketPolicy(mut policy) => {
            policy.statements.push(Statement(json!({
                "Sid": format!("Owner{number}"), "Effect": "Allow", "Action": "s3:GetObject",
                "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:role/app")},
                "Resource": format!("arn:aws:s3:::{BUCKET}/{number}/*"),
            })));
            Setting::BucketPolicy(policy)
        }
        Setting::Lifecycle(mut lifecycle) => {
            let days = vec![Element::leaf("Days", "900")];
            lifecycle.rules.push(Element::parent(
                "Rule",
                vec![
                    Element::leaf("ID", &format!("Owner{number}")),
                    Element::parent("Filter", vec![Element::leaf("Prefix", &format!("{number}/"))]),
                    Element::leaf("Status", "Enabled"),
                    Element::parent("Expiration", days),
                ],
            ));
            Setting::Lifecycle(lifecycle)
        }
        other => other,
    }
}

/// The setting as an insider leaves it.
fn broken(setting: Setting, keeps_owners: bool) -> Setting {
    match setting {
        Setting::BucketPolicy(mut policy) => {
            policy.statements.retain(|it| keeps_owners && it.sid().is_some_and(|sid| sid.starts_with("Owner")));
            Setting::BucketPolicy(policy)
        }
        Setting::Lifecycle(mut lifecycle) => {
            lifecycle.rules.retain(|it| keeps_owners && it.child_text("ID").is_some_and(|id| id.starts_with("Owner")));
            Setting::Lifecycle(lifecycle)
        }
        Setting::Versioning(mut versioning) => {
            versioning.status = Some("Suspended".to_owned());
            Setting::Versioning(versioning)
        }
        Setting::PublicAccessBlock(_) => Setting::PublicAccessBlock(Default::default()),
        Setting::ObjectOwnership(mut ownership) => {
            ownership.object_ownership = Some("ObjectWriter".to_owned());
            Setting::ObjectOwnership(ownership)
        }
        Setting::DefaultEncryption(_) => Setting::DefaultEncryption(Default::default()),
        Setting::Inventory(_) => Setting::Inventory(None),
    }
}
