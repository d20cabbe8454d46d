//! The pure part: a plan for one bucket.

use std::{hint::black_box, path::PathBuf, process::Command};

use criterion::{BatchSize, Criterion};
use guardrail_core::{
    control::{
        default_encryption::DefaultEncryption, inventory::Inventory, lifecycle::Lifecycle,
        object_ownership::ObjectOwnership, public_access_block::PublicAccessBlock, versioning::Versioning,
    },
    decide::{
        baseline::Baseline,
        echo::NO_PAST,
        plan::{Stance, plan},
    },
    edge::registry::Registration,
    outcome::{observed::Observed, step::Step},
    value::policy::Policy,
};
use guardrail_tests::{
    fake::{ACCOUNT, BUCKET, KEY, ROLE},
    local_aws::{SetupError, workspace},
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The argument that makes this program plan and do nothing else, so that its instructions can be counted.
pub(crate) const COUNTED: &str = "--again-and-again";

const CASES: [(&str, &str); 3] = [
    ("compliant", "on the baseline"),
    ("bare", "everything off the baseline"),
    ("large", "998 lifecycle rules and 18 KB of policy of the owner's, ours missing"),
];

struct Bucket {
    registration: Registration,
    baseline: Baseline,
}

impl Bucket {
    fn new() -> Self {
        let account = ACCOUNT.parse().expect("an account");
        let registration = Registration::new(BUCKET.parse().expect("a bucket"), account, KEY.parse().expect("a key"));
        let baseline =
            Baseline::new(&registration, &registration.account, &ROLE.parse().expect("a role")).expect("complete");
        Self { registration, baseline }
    }

    fn observed(&self, case: &str) -> Observed {
        let baseline = &self.baseline;
        let compliant = Observed {
            public_access_block: Ok(PublicAccessBlock::ALL),
            object_ownership: Ok(ObjectOwnership::enforced()),
            bucket_policy: Ok(Policy::default().requiring(&baseline.policy)),
            default_encryption: Ok(DefaultEncryption::default().requiring(&baseline.key)),
            versioning: Ok(Versioning::default().enabled()),
            lifecycle: Ok(Lifecycle::default().requiring(&baseline.lifecycle)),
            inventory: Ok(Some(Inventory::requiring(None, &baseline.inventory))),
        };
        match case {
            "compliant" => compliant,
            "bare" => Observed::empty(),
            _ => {
                let statement = |n: usize| json!({"Sid": format!("Own{n}"), "Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": ["s3:GetObject", "s3:PutObject"], "Resource": format!("arn:aws:s3:::{BUCKET}/team-{n}/*")});
                let policy = json!({"Version": "2012-10-17", "Statement": (0..110).map(statement).collect::<Vec<_>>()});
                let rule = |n: usize| {
                    format!(
                        "<Rule><ID>own-{n}</ID><Filter><Prefix>team-{n}/</Prefix></Filter><Status>Enabled</Status><Expiration><Days>{}</Days></Expiration></Rule>",
                        n + 1
                    )
                };
                let rules: String = (0..998).map(rule).collect();
                let lifecycle = format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>");
                Observed {
                    bucket_policy: Ok(Policy::parse(&policy.to_string()).expect("a policy")),
                    lifecycle: Ok(Lifecycle::parse(&lifecycle, None).expect("rules")),
                    ..compliant
                }
            }
        }
    }

    fn plan(&self, observed: Observed) -> Vec<Step> {
        let now = Timestamp::UNIX_EPOCH;
        let stance = Stance { registration: &self.registration, now, dry_run: false, past: &NO_PAST };
        plan(&self.baseline, observed.into(), &stance)
    }
}

/// Plans so often. What it takes to get there is the same however often that is.
pub(crate) fn again_and_again(case: &str, times: usize) {
    let bucket = Bucket::new();
    let mut observed: Vec<_> = (0..100).map(|_| bucket.observed(case)).collect();
    for observed in observed.drain(..times.min(100)) {
        black_box(bucket.plan(black_box(observed)));
    }
}

pub(crate) fn section() -> Result<String, SetupError> {
    let bucket = Bucket::new();
    let mut criterion = Criterion::default().configure_from_args().output_directory(&results());
    let mut text =
        "## Deciding\n\nOne plan for one bucket, without I/O. Time: criterion's median; instructions: callgrind's.\n\n\
        | bucket | time | instructions |\n|---|---|---|\n"
            .to_owned();
    for (case, what) in CASES {
        criterion.bench_function(&format!("plan/{case}"), |bencher| {
            bencher.iter_batched(|| bucket.observed(case), |observed| bucket.plan(observed), BatchSize::SmallInput);
        });
        let instructions = match (instructions(case, 0), instructions(case, 100)) {
            (Some(none), Some(hundred)) => format!("{}", (hundred - none) / 100),
            _ => "not counted: there is no valgrind".to_owned(),
        };
        text.push_str(&format!("| {what} | {:.1} µs | {instructions} |\n", median(case)? / 1000.0));
    }
    Ok(text)
}

/// Where criterion leaves what it measured.
fn results() -> PathBuf {
    workspace().join("target/criterion")
}

/// Criterion's median of a case, in nanoseconds.
fn median(case: &str) -> Result<f64, SetupError> {
    let file = results().join(format!("plan_{case}/new/estimates.json"));
    let broken = |error: &dyn std::fmt::Display| SetupError(format!("{}: {error}", file.display()));
    let text = std::fs::read_to_string(&file).map_err(|error| broken(&error))?;
    let estimates: Value = serde_json::from_str(&text).map_err(|error| broken(&error))?;
    estimates["median"]["point_estimate"].as_f64().ok_or_else(|| broken(&"no median"))
}

fn instructions(case: &str, times: u32) -> Option<u64> {
    let own = std::env::current_exe().ok()?;
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(own).args([COUNTED, case]);
    let said = valgrind.arg(times.to_string()).output().ok()?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    said.lines().find_map(|it| it.split("Collected : ").nth(1)?.trim().parse().ok())
}
