//! A whole reconcile over the fake AWS: round trips and calls.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use guardrail::control::Control;
use guardrail_tests::{
    fake::{BUCKET, FakeAws, World},
    local_aws::SetupError,
};
use serde_json::json;

use crate::Goal;

/// What every call takes more, in milliseconds.
const LATENCIES: [u64; 3] = [0, 20, 50];

/// How often each is timed; the quickest counts, as nothing makes it quicker than it is.
const TIMES: usize = 5;

/// A bucket, and what is off in it.
struct Case {
    what: String,
    off: Vec<Control>,
}

struct Measured {
    elapsed: [Duration; 3],
    reads: usize,
    writes: usize,
    calls: usize,
}

pub(crate) async fn section(goals: &mut Vec<Goal>) -> Result<String, SetupError> {
    let compliant = FakeAws::compliant().await.state().world();
    let one = Control::OF_BUCKET.into_iter().map(|it| Case { what: it.id().to_owned(), off: vec![it] });
    let none = Case { what: "nothing".to_owned(), off: vec![] };
    let all = Case { what: "all seven".to_owned(), off: Control::OF_BUCKET.to_vec() };
    let mut text = "## Restoring\n\n\
        The function with the real SDK over a fake AWS whose every call takes 0, 20 or 50 ms. Round trips: what 50 ms a call\n\
        adds to 0 ms, in calls' time. All reads go out at once; writes to one bucket are serial; the alert and the record of the\n\
        history go out at once. The connections are warm: a cold one takes two more (TCP, TLS 1.3), once before the reads, which\n\
        open theirs at once, and once before the alert.\n\n\
        | off the baseline | reads | serial writes | all calls | 0 ms | 20 ms | 50 ms | round trips | goal |\n|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for case in [none].into_iter().chain(one).chain([all]) {
        let Measured { elapsed: [zero, twenty, fifty], reads, writes, calls } = case.measure(&compliant).await?;
        let milliseconds = |it: Duration| it.as_secs_f64() * 1000.0;
        let round_trips = (milliseconds(fifty) - milliseconds(zero)) / 50.0;
        let goal = if case.off.is_empty() { 1 } else { 2 + writes + 1 };
        let _ = writeln!(
            text,
            "| {} | {reads} | {writes} | {calls} | {:.1} ms | {:.1} ms | {:.1} ms | {round_trips:.1} | {goal} |",
            case.what,
            milliseconds(zero),
            milliseconds(twenty),
            milliseconds(fifty),
        );
        // Timers are late, never early: a tenth is theirs.
        let met = round_trips < goal as f64 * 1.1;
        let what = match case.off.len() {
            0 => "round trips of a compliant bucket",
            1 if !met => "round trips of one drifted control",
            7 => {
                "round trips when all seven have drifted: policy and rules are read again right before they are written"
            }
            _ => continue,
        };
        goals.push(Goal { what, goal: format!("at most {goal}"), measured: format!("{round_trips:.1}"), met });
    }
    Ok(text)
}

impl Case {
    async fn measure(&self, compliant: &World) -> Result<Measured, SetupError> {
        let fake = FakeAws::default();
        let guardrail = fake.guardrail();
        let mut elapsed = [Duration::MAX; 3];
        for (latency, quickest) in LATENCIES.into_iter().zip(&mut elapsed) {
            for _ in 0..TIMES {
                let mut world = compliant.clone();
                for control in &self.off {
                    world.bucket.get_or_insert_default().remove(subresource(*control));
                }
                fake.forget();
                fake.state().set_world(world);
                fake.state().latency = Duration::from_millis(latency);
                let start = Instant::now();
                let report = guardrail::remediate::remediate(&guardrail, json!({"bucket": BUCKET})).await;
                *quickest = start.elapsed().min(*quickest);
                let report = report.map_err(|error| SetupError(guardrail::api::chain(&error)))?;
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
