//! The simulator's second tier: the functions' real handlers and the real SDK, over the fake as the world.
//!
//! One thread, paused time, one seed: it decides what everybody does, how long each call takes and what goes wrong with it
//! ([`wire`]), when events come and which messages an invocation gets ([`chain`]). The dice, the notes and what must hold
//! are those of the first tier, `guardrail-simulator`.

mod actors;
mod chain;
mod holds;
mod registry;
mod settings;
mod shared;
mod wire;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    fmt,
    rc::Rc,
    time::{Duration, SystemTime},
};

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_s3::config::{Credentials, IdentityCache, SharedAsyncSleep, SharedCredentialsProvider};
use aws_smithy_async::{rt::sleep::TokioSleep, time::TimeSource};
use fastrand::Rng;
use guardrail::{Guardrail, clock::Clock};
use guardrail_core::{control::table::Control, value::own_parts::SWEPT};
use guardrail_simulator::{Choice, Dice, Hold, Kind, MINUTE, Note, Notes, SECOND, Time, What, timestamp};
use serde_json::json;
use tokio::{
    task::{JoinHandle, LocalSet, spawn_local},
    time::Instant,
};

use self::{chain::Chain, holds::Holds, settings::Settings, wire::Wire};
use crate::fake::{ACCOUNT, ALIAS, BUCKET, FakeAws, FakeKey, KEY, TOPIC, TRAIL, World, patient};

/// Between two sweeps.
const SWEEP: Time = 15 * MINUTE;

/// The latest event has come when actors have rested for so long.
const LATEST: Time = 16 * MINUTE;

/// For how long what has come is worked on at most, until all is quiet.
const PATIENCE: Time = 90 * MINUTE;

/// What a history is to be like.
#[derive(Clone, Debug)]
pub struct Options {
    pub buckets: usize,
    /// For how long actors act; `None`: a short history, of five minutes.
    pub hours: Option<u64>,
    /// A defect on purpose, around the functions.
    pub plant: Option<Plant>,
    /// The acts and faults that may happen; `None`: all.
    pub only: Option<Rc<BTreeSet<Choice>>>,
    /// Whether each thing that happens is kept.
    pub trace: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { buckets: 2, hours: None, plant: None, only: None, trace: false }
    }
}

/// What happens has a place: a bucket's number, or one of these after the last one's.
impl Options {
    /// Everything that is neither a bucket's, nor what the buckets lean on.
    fn elsewhere(&self) -> usize {
        self.buckets
    }

    /// The key of all buckets.
    fn key(&self) -> usize {
        self.buckets + 1
    }

    /// The trail of all buckets.
    fn trail(&self) -> usize {
        self.buckets + 2
    }

    /// What is guarded.
    fn guarded(&self) -> impl Iterator<Item = usize> + use<> {
        (0..self.buckets).chain([self.key(), self.trail()])
    }

    /// Where a control is that a bucket's number, or this, is given for.
    fn place_of(&self, bucket: usize, control: Control) -> usize {
        match control {
            Control::KmsKey => self.key(),
            Control::Trail => self.trail(),
            _ => bucket,
        }
    }

    /// What of a place is guarded.
    fn controls(&self, place: usize) -> Vec<Control> {
        match place {
            _ if place == self.key() => vec![Control::KmsKey],
            _ if place == self.trail() => vec![Control::Trail],
            _ => Control::OF_BUCKET.to_vec(),
        }
    }
}

/// A defect on purpose, of what stands around the functions: they are the real ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Plant {
    /// CloudTrail tells of the guardrail's own calls as of somebody else's.
    NamelessEchoes,
    /// The topic takes messages, and nobody gets them.
    DeafTopic,
    /// S3 says that a write was done now and then, and did not do it.
    LyingWrites,
    /// The index of the registry is as old as it is, and a sweep is always said to have just written it.
    StaleIndex,
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::NamelessEchoes, Self::DeafTopic, Self::LyingWrites, Self::StaleIndex];
}

/// What came of a history.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Of everything that happened, each call with its answer in order: the same seed has the same.
    pub digest: u64,
    /// In virtual milliseconds.
    pub length: u64,
    /// Calls of AWS that the functions made.
    pub calls: usize,
    /// What is billed, by service and operation: these calls, of the ledger each item that is read, and what EventBridge
    /// and Lambda do with queues.
    pub billed: BTreeMap<String, usize>,
    pub looks: usize,
    pub invocations: usize,
    /// Writes of settings by the guardrail.
    pub writes: usize,
    /// Changes of settings by anybody else.
    pub causes: usize,
    /// Messages that people got.
    pub alerts: usize,
    /// Acts and faults that happened.
    pub happened: Vec<Choice>,
    /// Owners' entries that were written over within the documented window.
    pub lost: usize,
    /// What should hold and did not.
    pub violations: Vec<(Hold, String)>,
    /// What happened, if asked for.
    pub trace: Vec<Note>,
}

/// Runs histories, one after the other.
#[derive(Debug)]
pub struct Simulator {
    options: Options,
    /// Buckets at their baseline, and the guardrail's own parts as they are deployed.
    world: World,
    guardrail: Guardrail,
}

impl Simulator {
    /// Makes the world by the guardrail itself.
    pub fn new(options: Options) -> Self {
        let fake = FakeAws::default();
        fake.state().key = Some(FakeKey::good());
        fake.state().ledger = Some([].into());
        fake.deploy_rules();
        for bucket in 0..options.buckets {
            let name = name(bucket);
            let document = json!({
                "bucket": name, "account": ACCOUNT, "key_arn": KEY, "key_alias": ALIAS, "trail_arn": TRAIL,
                "log_bucket": format!("{BUCKET}-logs"),
            });
            fake.state().parameters.insert(parameter(bucket), document.to_string());
            if bucket == 0 {
                fake.state().bucket = Some([].into());
            } else {
                fake.state().others.insert(name, Default::default());
            }
        }
        let sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("eu-west-2"))
            .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(Duration::from_secs(5)).build())
            .retry_config(RetryConfig::standard())
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new("id", "secret", None, None, "fake")))
            // Nothing of one history is left for the next.
            .identity_cache(IdentityCache::no_cache())
            .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
            .time_source(VirtualTime)
            .http_client(Wire)
            .build();
        // The SDK counts retries for the whole process, so that one history would decide of another's.
        let mut guardrail = patient(Guardrail::new(fake.config(TOPIC), &sdk));
        guardrail.clock = Clock { now: || timestamp(current().now()), random: || fastrand::u64(..) };
        let this = Self { options, world: World::default(), guardrail };
        let run = Run::new(&this, fake.clone(), 0, &this.options);
        this.within(run, async |run| {
            for bucket in 0..run.options.buckets {
                let request = json!({"bucket": name(bucket)});
                let end = Instant::now() + chain::TIMEOUT;
                Box::pin(guardrail::work::remediate::remediate(&run.guardrail, request, end))
                    .await
                    .expect("a bare bucket can be restored");
            }
            Box::pin(guardrail::work::sweep::sweep(&run.guardrail, json!({}))).await.expect("what was made is whole");
        });
        let world = fake.state().world();
        Self { world, ..this }
    }

    /// What comes of a seed.
    pub fn history(&self, seed: u64) -> History {
        self.history_of(seed, &self.options)
    }

    /// The same with other options, of as many buckets.
    pub fn history_of(&self, seed: u64, options: &Options) -> History {
        let fake = FakeAws::default();
        fake.state().set_world(self.world.clone());
        fake.state().ledger = Some([].into());
        // The sweep that made the index was the one before this history.
        fake.state().parameters.insert(SWEPT.to_owned(), timestamp(0).to_string());
        let run = Run::new(self, fake, seed, options);
        let run = self.within(run, async |run| {
            run.settings.borrow_mut().begin(&run.fake, options);
            run.phase.set(Phase::Stormy);
            actors::begin(run);
            schedule(run).await;
        });
        let Holds { violations, causes, writes, lost, alerts, .. } = run.holds.take();
        let notes = run.notes.take();
        History {
            digest: notes.digest(),
            length: run.ended.get(),
            calls: run.calls.get(),
            billed: run.billed.take(),
            looks: run.looks.get(),
            invocations: run.chain.borrow().invocations(),
            writes,
            causes,
            alerts,
            happened: run.dice.happened(),
            lost,
            violations,
            trace: notes.kept.unwrap_or_default(),
        }
    }

    /// Runs something in virtual time, with chance from the run's seed alone.
    fn within(&self, run: Run, work: impl AsyncFnOnce(&Rc<Run>)) -> Rc<Run> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without input and output");
        let run = Rc::new(run);
        // The SDK's jitter, too.
        fastrand::seed(run.seed);
        CURRENT.set(Some(Rc::clone(&run)));
        let tasks = LocalSet::new();
        tasks.block_on(&runtime, async {
            run.begun.set(Some(Instant::now()));
            work(&run).await;
            run.ended.set(run.now());
        });
        drop(tasks);
        drop(runtime);
        CURRENT.set(None);
        assert!(!run.has_panicked.get(), "it said above why");
        run
    }
}

/// One history while it goes on.
struct Run {
    options: Options,
    seed: u64,
    fake: FakeAws,
    guardrail: Guardrail,
    dice: Dice,
    /// The time as the dice know it.
    hand: Rc<Cell<Time>>,
    begun: Cell<Option<Instant>>,
    ended: Cell<Time>,
    phase: Cell<Phase>,
    notes: RefCell<Notes>,
    chain: RefCell<Chain>,
    settings: RefCell<Settings>,
    holds: RefCell<Holds>,
    /// Until when each bucket's calls take seconds.
    slow_until: RefCell<Vec<Time>>,
    /// Until when actors act.
    active: Time,
    calls: Cell<usize>,
    billed: RefCell<BTreeMap<String, usize>>,
    looks: Cell<usize>,
    has_panicked: Cell<bool>,
}

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing, and calls take no time: somebody makes the world, or looks at it.
    Still,
    Stormy,
    /// Nothing any more: the last sweeps, after which all has to be well.
    Calm,
}

thread_local! {
    /// The history that goes on in this thread: the SDK's connector and clock are not handed anything.
    static CURRENT: RefCell<Option<Rc<Run>>> = const { RefCell::new(None) };
}

fn current() -> Rc<Run> {
    CURRENT.with_borrow(|it| Rc::clone(it.as_ref().expect("AWS is called within a history")))
}

/// What requests are signed with.
#[derive(Debug)]
struct VirtualTime;

impl TimeSource for VirtualTime {
    fn now(&self) -> SystemTime {
        timestamp(current().now()).into()
    }
}

/// A bucket's name.
fn name(bucket: usize) -> String {
    if bucket == 0 { BUCKET.to_owned() } else { format!("{BUCKET}-{bucket}") }
}

/// The same back.
fn number(name: &str) -> Option<usize> {
    match name.strip_prefix(BUCKET)? {
        "" => Some(0),
        rest => rest.strip_prefix('-')?.parse().ok(),
    }
}

/// Where its registry document is.
fn parameter(bucket: usize) -> String {
    format!("/s3-guardrail/buckets/{}", name(bucket))
}

/// Does something beside what goes on. A panic of it ends the history.
fn spawn<T: 'static>(work: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    /// What it did not get out of is noticed where the history ends; tokio would keep it to itself.
    struct Watch;
    impl Drop for Watch {
        fn drop(&mut self) {
            if std::thread::panicking() {
                current().has_panicked.set(true);
            }
        }
    }
    spawn_local(async move {
        let _watch = Watch;
        work.await
    })
}

async fn sleep(wait: Time) {
    tokio::time::sleep(Duration::from_millis(wait)).await;
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("options", &self.options).field("seed", &self.seed).finish_non_exhaustive()
    }
}

impl Run {
    fn new(simulator: &Simulator, fake: FakeAws, seed: u64, options: &Options) -> Self {
        let hand = Rc::new(Cell::new(0));
        Self {
            seed,
            fake,
            guardrail: simulator.guardrail.clone(),
            dice: Dice::new(seed, options.only.clone(), Rc::clone(&hand)),
            hand,
            begun: Cell::new(None),
            ended: Cell::new(0),
            phase: Cell::new(Phase::Still),
            notes: RefCell::new(Notes::new(options.trace)),
            chain: RefCell::default(),
            settings: RefCell::default(),
            holds: RefCell::default(),
            slow_until: RefCell::new(vec![0; options.trail() + 1]),
            active: options.hours.map_or(5 * MINUTE, |it| it * 60 * MINUTE),
            calls: Cell::new(0),
            billed: RefCell::default(),
            looks: Cell::new(0),
            has_panicked: Cell::new(false),
            options: options.clone(),
        }
    }

    /// In milliseconds since the history began.
    fn now(&self) -> Time {
        let elapsed = self.begun.get().map_or(Duration::ZERO, |it| it.elapsed());
        let now = Time::try_from(elapsed.as_millis()).unwrap_or(Time::MAX);
        self.hand.set(now);
        now
    }

    /// Counts what AWS charges for.
    fn bill(&self, service: &str, operation: &str, times: usize) {
        *self.billed.borrow_mut().entry(format!("{service} {operation}")).or_default() += times;
    }

    /// Notes what happens at a place.
    fn note(&self, bucket: usize, what: What) {
        self.notes.borrow_mut().add(Note { at: self.now(), bucket, what });
    }

    fn violated(&self, bucket: usize, hold: Hold, what: String) {
        self.note(bucket, What::Violated { what: what.clone() });
        self.holds.borrow_mut().violations.push((hold, format!("bucket {bucket}, at {} ms: {what}", self.now())));
    }

    fn has(&self, plant: Plant) -> bool {
        self.options.plant == Some(plant)
    }

    /// Dice for what is in every history.
    fn any(&self, bucket: usize) -> Rng {
        self.now();
        self.dice.any(bucket)
    }

    /// Whether something goes wrong, which it does one time in so many.
    fn fails(&self, kind: Kind, bucket: usize, one_in: u32) -> Option<Rng> {
        self.now();
        if self.phase.get() == Phase::Stormy { self.dice.happens(kind, bucket, one_in) } else { None }
    }
}

/// The schedule: sweeps while actors act, a last time of quiet without one, and two sweeps in which nothing goes wrong.
async fn schedule(run: &Rc<Run>) {
    // A short history has one sweep, at any time.
    let first = run.any(2_000).u64(SECOND..SWEEP.min(run.active));
    sleep(first).await;
    while run.now() < run.active {
        chain::sweep(run);
        sleep(SWEEP).await;
    }
    sleep((run.active + LATEST).saturating_sub(run.now())).await;
    if !quiet(run).await {
        return;
    }
    run.check_quiet();
    run.phase.set(Phase::Calm);
    for _ in 0..2 {
        chain::sweep(run);
        if !quiet(run).await {
            return;
        }
    }
    run.phase.set(Phase::Still);
    run.check_at_rest().await;
}

/// Waits until nothing is under way; `false`: that does not happen.
async fn quiet(run: &Run) -> bool {
    let until = run.now() + PATIENCE;
    while run.now() < until {
        sleep(5 * SECOND).await;
        if run.chain.borrow().is_quiet() {
            return true;
        }
    }
    run.violated(0, Hold::Baseline, "it does not come to rest".to_owned());
    false
}

/// Any control of a bucket's.
fn any_control(rng: &mut Rng) -> Control {
    Control::OF_BUCKET[rng.usize(..Control::OF_BUCKET.len())]
}
