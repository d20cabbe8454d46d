//! A whole reconcile over the fake AWS: round trips and calls.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

use guardrail_core::{control::table::Control, decide::plan};
use guardrail_tests::{
    fake::{BUCKET, FakeAws, World},
    local_aws::SetupError,
    storm::{self, Storm},
};
use serde_json::{Value, json};

use crate::Goal;

/// What every call takes more, in milliseconds.
const LATENCIES: [u64; 3] = [0, 20, 50];

/// How often each is timed; the quickest counts, as nothing makes it quicker than it is.
const TIMES: usize = 5;

/// The call that is answered, whatever is off.
const EVENT: &str = include_str!("../../../events/put-bucket-policy.json");

/// A compliant bucket, and what the ledger has of it from a look today.
struct Start {
    world: World,
    ledger: BTreeMap<String, Value>,
}

/// A bucket, what is off in it, and what the function is asked.
struct Case {
    what: String,
    off: Vec<Control>,
    asked: Value,
    /// Round trips that it may take beside its writes.
    beside: usize,
}

struct Measured {
    elapsed: [Duration; 3],
    reads: usize,
    writes: usize,
    calls: usize,
}

pub(crate) async fn section(goals: &mut Vec<Goal>) -> Result<String, SetupError> {
    let event: Value = serde_json::from_str(EVENT).map_err(|error| SetupError(error.to_string()))?;
    let start = Start::looked_at(&event).await?;
    let case = |what: &str, off: &[Control], asked: &Value, beside: usize| {
        let (what, off, asked) = (what.to_owned(), off.to_vec(), asked.clone());
        Case { what, off, asked, beside }
    };
    let asked = json!({"bucket": BUCKET});
    let mut cases = vec![case("nothing", &[], &event, 1), case("nothing, asked by a person", &[], &asked, 2)];
    // Reads, what is said before, what came of it, the alert, that people know; policy and rules are read again.
    let beside = |off: &[Control]| 5 + off.iter().filter(|it| plan::is_read_before_write(**it, Duration::ZERO)).count();
    let drifted = |what: &str, off: &[Control]| case(what, off, &event, beside(off));
    cases.extend(Control::OF_BUCKET.iter().map(|it| drifted(it.id(), &[*it])));
    cases.push(drifted("all seven", &Control::OF_BUCKET));
    let mut text = "## Restoring\n\n\
        An event, answered by the function with the real SDK over a fake AWS whose every call takes 0, 20 or 50 ms. Round trips:\n\
        what 50 ms a call adds to 0 ms, in calls' time. All reads go out at once; writes to one bucket are serial; the alert and\n\
        the record of the history go out at once. A person also gets key and trail, which only the registry's document names:\n\
        one more. The ledger is read with the rest; before its writes a look says there that they come, afterwards what came\n\
        of them, and that people know. The bucket was looked at today. The connections are warm: a cold one takes two more\n\
        (TCP, TLS 1.3), once before the reads, which open theirs at once, and once before the alert.\n\n\
        | off the baseline | reads | serial writes | all calls | 0 ms | 20 ms | 50 ms | round trips | goal |\n|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    let mut slowest = 0.0_f64;
    for case in cases {
        let Measured { elapsed: [zero, twenty, fifty], reads, writes, calls } = case.measure(&start).await?;
        let milliseconds = |it: Duration| it.as_secs_f64() * 1000.0;
        let round_trips = (milliseconds(fifty) - milliseconds(zero)) / 50.0;
        let goal = case.beside + writes;
        let _ = writeln!(
            text,
            "| {} | {reads} | {writes} | {calls} | {:.1} ms | {:.1} ms | {:.1} ms | {round_trips:.1} | {goal} |",
            case.what,
            milliseconds(zero),
            milliseconds(twenty),
            milliseconds(fifty),
        );
        match case.what.as_str() {
            "nothing" => goals.push(at_most("round trips of a compliant bucket", goal, round_trips)),
            "all seven" => goals.push(at_most(
                "round trips when all seven have drifted: policy and rules are read again right before they are written",
                goal,
                round_trips,
            )),
            _ if writes == 0 => {}
            _ => slowest = slowest.max(round_trips - writes as f64),
        }
    }
    goals.push(at_most("round trips beside the writes when one control has drifted, the slowest", 6, slowest));
    text.push_str(&batches(&start, goals).await?);
    Ok(text)
}

/// What is in one batch is one look, and of looks at once one tells.
async fn batches(start: &Start, goals: &mut Vec<Goal>) -> Result<String, SetupError> {
    let mut text = "\nAll seven controls off, seven events in one batch; then four such batches at once, each call taking 20 ms:\n\n\
        | batches | writes | alerts |\n|---|---|---|\n"
        .to_owned();
    for (at_once, alerts) in [(1, 1), (4, 2)] {
        let fake = start.without(&Control::OF_BUCKET);
        fake.state().latency = Duration::from_millis(20);
        let guardrails: Vec<_> = (0..at_once).map(|_| fake.guardrail()).collect();
        let looks = guardrails.iter().map(|it| {
            guardrail::work::remediate::remediate(it, seven(), tokio::time::Instant::now() + Duration::from_secs(120))
        });
        for answer in futures_util::future::join_all(looks).await {
            answer.map_err(|error| SetupError(guardrail_core::value::failure::chain(&error)))?;
        }
        let (writes, told) = (fake.writes().len(), fake.alerts().len());
        let _ = writeln!(text, "| {at_once} | {writes} | {told} |");
        let met = writes <= 8 * at_once && told <= alerts;
        let what = if at_once == 1 { "seven events in one batch" } else { "the same four times at once" };
        let goal = format!("at most {} writes, {alerts} alerts", 8 * at_once);
        goals.push(Goal { what, goal, measured: format!("{writes} writes, {told} alerts"), met });
    }
    // Its time is virtual, and a runtime of its own.
    let storm = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.map(|it| it.block_on(storm::storm()))
    });
    let storm = storm.join().map_err(|_| SetupError("the storm did not end".to_owned()))?;
    let Storm { other_restored_after, writes, alerts } = storm.map_err(|error| SetupError(error.to_string()))?;
    let seconds = other_restored_after.as_secs_f64();
    let _ = writeln!(
        text,
        "\nA storm: {} calls break one bucket again and again, the event of another bucket comes last, each call takes 60 ms: \
         the other is restored after {seconds:.1} s; {writes} writes and {alerts} alerts in all.",
        storm::CALLS
    );
    goals.push(Goal {
        what: "a storm of 1,000 calls, and another bucket restored",
        goal: "within 60 s".to_owned(),
        measured: format!("{seconds:.1} s"),
        met: seconds <= 60.0,
    });
    Ok(text)
}

/// One event a control.
fn seven() -> Value {
    let event = |(n, control): (usize, &Control)| {
        let name = control.vocabulary().events.first().copied().unwrap_or_default();
        let detail = json!({
            "eventName": name, "eventID": n.to_string(), "eventTime": "2026-11-23T09:14:05Z",
            "requestParameters": {"bucketName": BUCKET},
            "userIdentity": {"arn": "arn:aws:iam::111122223333:user/mallory"},
        });
        json!({"messageId": n.to_string(), "body": json!({ "detail": detail }).to_string()})
    };
    json!({"Records": Control::OF_BUCKET.iter().enumerate().map(event).collect::<Vec<_>>()})
}

impl Start {
    async fn looked_at(event: &Value) -> Result<Self, SetupError> {
        let fake = FakeAws::compliant().await;
        fake.state().ledger = Some([].into());
        fake.remediate(event.clone()).await.map_err(SetupError)?;
        let state = fake.state();
        let ledger = state.ledger.clone().filter(|it| !it.is_empty());
        Ok(Self {
            world: state.world(),
            ledger: ledger.ok_or_else(|| SetupError("no look was written down".to_owned()))?,
        })
    }

    /// The bucket without the settings of these controls.
    fn without(&self, off: &[Control]) -> FakeAws {
        let fake = FakeAws::default();
        let mut world = self.world.clone();
        for control in off {
            world.bucket.get_or_insert_default().remove(subresource(*control));
        }
        fake.state().set_world(world);
        fake.state().ledger = Some(self.ledger.clone());
        fake
    }
}

fn at_most(what: &'static str, goal: usize, measured: f64) -> Goal {
    // Timers are late, never early: a tenth is theirs.
    let met = measured < goal as f64 * 1.1;
    Goal { what, goal: format!("at most {goal}"), measured: format!("{measured:.1}"), met }
}

impl Case {
    async fn measure(&self, from: &Start) -> Result<Measured, SetupError> {
        let mut fake = FakeAws::default();
        let mut elapsed = [Duration::MAX; 3];
        for (latency, quickest) in LATENCIES.into_iter().zip(&mut elapsed) {
            for _ in 0..TIMES {
                fake = from.without(&self.off);
                let guardrail = fake.guardrail();
                fake.state().latency = Duration::from_millis(latency);
                let start = Instant::now();
                let report = guardrail::work::remediate::remediate(
                    &guardrail,
                    self.asked.clone(),
                    tokio::time::Instant::now() + Duration::from_secs(120),
                )
                .await;
                *quickest = start.elapsed().min(*quickest);
                let report = report.map_err(|error| SetupError(guardrail_core::value::failure::chain(&error)))?;
                let should = if self.off.is_empty() { "compliant" } else { "restored" };
                if report["outcome"] != should {
                    return Err(SetupError(format!("{}: {report}", self.what)));
                }
            }
        }
        let calls = fake.state().calls.len();
        Ok(Measured { elapsed, reads: fake.reads().len(), writes: fake.writes().len(), calls })
    }
}

fn subresource(control: Control) -> &'static str {
    match control {
        Control::PublicAccessBlock => "publicAccessBlock",
        Control::ObjectOwnership => "ownershipControls",
        Control::BucketPolicy => "policy",
        Control::DefaultEncryption => "encryption",
        Control::Versioning => "versioning",
        Control::Lifecycle => "lifecycle",
        Control::Inventory => "inventory",
        Control::KmsKey | Control::Trail => "",
    }
}
