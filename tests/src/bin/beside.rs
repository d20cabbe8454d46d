//! `cargo beside`: the guardrail and Cloud Custodian, the same drift on the same local AWS, one after the other.
//! Prints `tests/beside/RESULT.md`, and writes it.

#![recursion_limit = "256"]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use aws_sdk_s3::{
    Client,
    types::{
        BucketLifecycleConfiguration, BucketLocationConstraint, CreateBucketConfiguration, ExpirationStatus,
        LifecycleExpiration, LifecycleRule, LifecycleRuleFilter,
    },
};
use aws_sdk_ssm::types::ParameterType;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use guardrail_core::control::table::Control;
use guardrail_tests::{
    control::break_control,
    deploy::{self, Deployment},
    function::Function,
    local_aws::{ACCOUNT, LocalAws, REGION, SetupError, run, workspace},
    machine::machine,
};
use serde_json::{Value, json};

/// Ten buckets for the events of one control, and ten for the events of all: of one bucket alone, a ledger would take the
/// third restore of a control for a fight, and hold back the fourth.
const EVENT: &str = "beside-event-";
const ALL: &str = "beside-all-";
const FLEET: &str = "beside-fleet-";
const FLEETS: [usize; 3] = [1, 100, 1_000];
/// How many calls of our own go out at once when a fleet is made or broken.
const AT_ONCE: usize = 8;
/// How often each event is answered, cold and warm.
const TIMES: u32 = 10;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match beside().await {
        Ok(result) => {
            println!("{result}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("beside stopped: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn beside() -> Result<String, SetupError> {
    let binaries = deploy::build()?;
    // Custodian lists buckets without pages.
    let aws = LocalAws::start_with(&workspace().join("target/local-aws/beside"), &["--bucket-quota", "10000"])?;
    let deployment = Deployment::new(aws, &binaries)?;
    let built = deployment.guard("beside-one")?;
    // Nothing but what is measured here may restore anything.
    deployment.deafen()?;
    let key = built["resources"][0]["id"].as_str().unwrap_or_default().to_owned();
    let python = install()?;
    let sdk = deployment.aws.sdk(&deployment.administrator)?;
    let place = Place {
        s3: Client::new(&sdk),
        ssm: aws_sdk_ssm::Client::new(&sdk),
        folder: workspace().join("target/beside"),
        deployment,
        binaries,
        python,
        key,
    };
    place.write_policies()?;

    let mut text = HEAD.to_owned();
    text.push_str(&machine()?);
    let (events, event_goals) = place.events().await?;
    let (sweeps, sweep_goals) = place.sweeps().await?;
    text.push_str("\n## Goals\n\n| goal | measured | met |\n|---|---|---|\n");
    for (goal, at_least, ratio) in event_goals.into_iter().chain(sweep_goals) {
        let met = if ratio >= at_least { "yes" } else { "**no**" };
        let _ = writeln!(text, "| {goal} at least {at_least} times | {ratio:.1} times | {met} |");
    }
    text.push_str(&events);
    text.push_str(&sweeps);
    text.push_str(TAIL);
    let file = workspace().join("tests/beside/RESULT.md");
    std::fs::write(&file, &text).map_err(|error| SetupError(format!("{}: {error}", file.display())))?;
    Ok(text)
}

const HEAD: &str = "# Beside Cloud Custodian\n\n\
    The last run of `cargo beside`: the guardrail and Cloud Custodian (c7n 0.9.53), the same drift of the same bucket on the\n\
    same local AWS, one after the other. `tests/beside/custodian.yml` has its policies, as good as they can be written.\n\n";

const TAIL: &str = "\n## What is not comparable\n\n\
    * Custodian's event mode is one Lambda for each policy, and an event reaches only the one of its control; ours looks at all\n\
    \u{20} seven controls each time, and tells people, which Custodian leaves to a mailer that is not measured here.\n\
    * Custodian's sweep is one process on one machine; ours is a queue that several functions could read from at once, and one\n\
    \u{20} did. Both wait for the same local AWS, a Python program: wall times are mostly its.\n\
    * Ours ran without its ledger, whose table only the deployed role may write: with it a look makes one call more, and a restore\n\
    \u{20} four.\n\
    * Custodian knows hundreds of kinds of resources and policies of anybody's; the guardrail knows one.\n";

/// Cloud Custodian's Python, installed when it is not there yet.
fn install() -> Result<PathBuf, SetupError> {
    let venv = workspace().join("target/beside/venv");
    let python = venv.join("bin/python");
    if !venv.join("bin/custodian").exists() {
        eprintln!("installing Cloud Custodian");
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        let requirements = workspace().join("tests/beside/requirements.txt");
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--no-deps", "-r"]).arg(requirements))?;
    }
    Ok(python)
}

struct Place {
    deployment: Deployment,
    binaries: PathBuf,
    s3: Client,
    ssm: aws_sdk_ssm::Client,
    python: PathBuf,
    folder: PathBuf,
    key: String,
}

/// What something took.
#[derive(Clone, Copy, Debug, Default)]
struct Took {
    wall: Duration,
    cpu: Duration,
    /// In megabytes.
    peak: f64,
    calls: usize,
}

/// The event of a control, from a cold start and while the program runs; each a mean.
struct Answered {
    cold: Took,
    warm: Took,
}

type Goals = Vec<(&'static str, f64, f64)>;

impl Place {
    fn write_policies(&self) -> Result<(), SetupError> {
        let events: serde_json::Map<String, Value> =
            Control::OF_BUCKET.into_iter().map(|it| (it.id().to_owned(), json!(it.vocabulary().events))).collect();
        let values = json!({
            "BUCKETS": "^beside-(event|all|fleet)-\\d+$", "KEY": self.key, "ACCOUNT": ACCOUNT,
            "INVENTORY": "it-inventory", "events": events,
        });
        let script = workspace().join("tests/beside/policies.py");
        run(Command::new(&self.python).arg(script).arg(&self.folder).arg(values.to_string())).map(drop)
    }

    /// How many requests the local AWS has had.
    fn requests(&self) -> usize {
        std::fs::read_to_string(self.deployment.aws.data.join("requests")).unwrap_or_default().lines().count()
    }

    fn ours(&self) -> Command {
        Command::new(self.binaries.join("guardrail-remediate"))
    }

    fn custodians(&self, control: Control) -> Command {
        let mut lambda = Command::new(&self.python);
        lambda.arg(workspace().join("tests/beside/lambda.py")).current_dir(self.folder.join(control.id()));
        lambda
    }

    /// Puts the owner's statement and rule into a bucket, and nothing else.
    async fn drift(&self, bucket: &str, controls: &[Control]) -> Result<(), SetupError> {
        let failed = |error: &dyn std::fmt::Display| SetupError(format!("{bucket}: {error}"));
        for control in controls {
            match control {
                Control::BucketPolicy => {
                    let policy = json!({"Version": "2012-10-17", "Statement": [{"Sid": "Own", "Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")}, "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{bucket}/*")}]});
                    let put = self.s3.put_bucket_policy().bucket(bucket).policy(policy.to_string());
                    put.send().await.map_err(|error| failed(&error))?;
                }
                Control::Lifecycle => {
                    let rule = LifecycleRule::builder().id("own").status(ExpirationStatus::Enabled);
                    let rule = rule.filter(LifecycleRuleFilter::builder().prefix("tmp/").build());
                    let rule = rule.expiration(LifecycleExpiration::builder().days(3).build());
                    let rule = rule.build().map_err(|error| failed(&error))?;
                    let rules = BucketLifecycleConfiguration::builder().rules(rule).build();
                    let put = self.s3.put_bucket_lifecycle_configuration().bucket(bucket);
                    let put = put.lifecycle_configuration(rules.map_err(|error| failed(&error))?);
                    put.send().await.map_err(|error| failed(&error))?;
                }
                // A new bucket has none.
                Control::Inventory => drop(break_control(&self.s3, bucket, Control::Inventory).await),
                other => break_control(&self.s3, bucket, *other).await?,
            }
        }
        Ok(())
    }

    /// What is not as it should be, and what of the owner's is gone.
    fn left(&self, function: &Function, bucket: &str) -> Result<String, SetupError> {
        let (_, answer) = function.invoke(&json!({"bucket": bucket, "dry_run": true}))?;
        let report: Value = serde_json::from_str(&answer).map_err(|error| SetupError(format!("{error}: {answer}")))?;
        let findings = report["findings"].as_array().ok_or_else(|| SetupError(answer.clone()))?;
        let mut left: Vec<_> = findings.iter().filter_map(|it| it["control"].as_str().map(str::to_owned)).collect();
        let get = |call: &str| {
            let call = ["s3api", call, "--bucket", bucket];
            self.deployment.aws.aws(&self.deployment.administrator, &call).unwrap_or_default()
        };
        if !get("get-bucket-policy").contains("Own") {
            left.push("the owner's statement".to_owned());
        }
        if !get("get-bucket-lifecycle-configuration").contains("\"own\"") {
            left.push("the owner's rule".to_owned());
        }
        Ok(if left.is_empty() { "nothing".to_owned() } else { left.join(", ") })
    }

    /// One program, started for the event of a control [`TIMES`] times, and then asked that often while it runs; each time
    /// about another bucket.
    async fn answer(
        &self,
        program: impl Fn() -> Command,
        buckets: &str,
        drifted: &[Control],
    ) -> Result<Answered, SetupError> {
        let control = if let [control] = drifted { *control } else { Control::BucketPolicy };
        let mut cold = Took::default();
        let mut warm = Took::default();
        let mut running = None;
        for n in 0..TIMES {
            let bucket = format!("{buckets}{n}");
            self.drift(&bucket, drifted).await?;
            let (start, before) = (Instant::now(), self.requests());
            let function = running.insert(Function::start(&self.deployment, program(), None)?);
            done(&function.invoke(&event(control, &bucket))?.1)?;
            cold.wall += start.elapsed();
            cold.cpu += function.cpu()?;
            cold.calls += self.requests() - before;
        }
        let Some(function) = running else { return Ok(Answered { cold, warm }) };
        for n in 0..TIMES {
            let bucket = format!("{buckets}{n}");
            self.drift(&bucket, drifted).await?;
            let (before, cpu) = (self.requests(), function.cpu()?);
            let (wall, answer) = function.invoke(&event(control, &bucket))?;
            done(&answer)?;
            warm.wall += wall;
            warm.cpu += function.cpu()? - cpu;
            warm.calls += self.requests() - before;
        }
        let peak = function.peak_megabytes()?;
        let each =
            |it: Took| Took { wall: it.wall / TIMES, cpu: it.cpu / TIMES, peak, calls: it.calls / TIMES as usize };
        Ok(Answered { cold: each(cold), warm: each(warm) })
    }

    /// Event mode, a control at a time and all at once.
    async fn events(&self) -> Result<(String, Goals), SetupError> {
        let judge = Function::start(&self.deployment, self.ours(), None)?;
        for bucket in (0..TIMES).flat_map(|n| [format!("{EVENT}{n}"), format!("{ALL}{n}")]) {
            self.create(&bucket).await?;
            self.drift(&bucket, &[Control::BucketPolicy, Control::Lifecycle]).await?;
            self.deployment.guard(&bucket)?;
        }
        let one = format!("{EVENT}0");
        let mut text = "\n## One event\n\n\
            From the event to the answer; cold: from the start of the process. CPU: user and system time of the process. \
            Means of ten.\n\n\
            | drift | | cold | CPU | warm | CPU | calls | memory | left |\n|---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for control in Control::OF_BUCKET {
            eprintln!("event: {control}");
            let answered = self.answer(|| self.ours(), EVENT, &[control]).await?;
            row(&mut text, control.id(), "guardrail", &answered, &self.left(&judge, &one)?);
            if control == Control::ObjectOwnership {
                let _ = writeln!(text, "| {control} | Custodian | - | - | - | - | - | - | has no action for it |");
                continue;
            }
            ours.push(answered);
            let answered = self.answer(|| self.custodians(control), EVENT, &[control]).await?;
            row(&mut text, control.id(), "Custodian", &answered, &self.left(&judge, &one)?);
            theirs.push(answered);
            for n in 0..TIMES {
                done(&judge.invoke(&json!({"bucket": format!("{EVENT}{n}")}))?.1)?;
            }
        }
        eprintln!("event: all at once");
        let one = format!("{ALL}0");
        let answered = self.answer(|| self.ours(), ALL, &Control::OF_BUCKET).await?;
        row(&mut text, "all seven", "guardrail", &answered, &self.left(&judge, &one)?);
        self.drift(&one, &Control::OF_BUCKET).await?;
        let mut sum = Took::default();
        for control in Control::OF_BUCKET.into_iter().filter(|it| *it != Control::ObjectOwnership) {
            let function = Function::start(&self.deployment, self.custodians(control), None)?;
            // Warm, as far as it can be without doing its work: what it imports.
            let (before, cpu) = (self.requests(), function.cpu()?);
            let (wall, _) = function.invoke(&event(control, &one))?;
            sum.wall = sum.wall.max(wall);
            sum.cpu += function.cpu()? - cpu;
            sum.peak += function.peak_megabytes()?;
            sum.calls += self.requests() - before;
        }
        let _ = writeln!(
            text,
            "| all seven | Custodian, six functions | - | - | {} (the slowest) | {} | {} | {:.0} MB | {} |",
            milliseconds(sum.wall),
            milliseconds(sum.cpu),
            sum.calls,
            sum.peak,
            self.left(&judge, &one)?
        );

        let total = |of: &[Answered], what: fn(&Answered) -> f64| of.iter().map(what).sum::<f64>();
        let ratio = |what: fn(&Answered) -> f64| total(&theirs, what) / total(&ours, what);
        let goals = vec![
            ("less CPU for an event, warm,", 20.0, ratio(|it| it.warm.cpu.as_secs_f64())),
            ("less CPU for an event, cold,", 20.0, ratio(|it| it.cold.cpu.as_secs_f64())),
            ("less memory", 5.0, ratio(|it| it.warm.peak)),
            ("faster restore, warm,", 5.0, ratio(|it| it.warm.wall.as_secs_f64())),
            ("faster restore, cold,", 5.0, ratio(|it| it.cold.wall.as_secs_f64())),
        ];
        Ok((text, goals))
    }

    /// Sweeps of fleets, all of whose buckets have drifted, and then none.
    async fn sweeps(&self) -> Result<(String, Goals), SetupError> {
        let mut text = "\n## Sweeps\n\n\
            Every bucket has lost every control; then the same again, when all is well.\n\n\
            | buckets | | wall | CPU | a bucket | memory | calls | left in the first |\n|---|---|---|---|---|---|---|---|\n"
            .to_owned();
        let mut goals = Vec::new();
        let judge = Function::start(&self.deployment, self.ours(), None)?;
        let mut there = 0;
        for buckets in FLEETS {
            eprintln!("sweep: {buckets}");
            let new: Vec<_> = (there..buckets).map(|n| format!("{FLEET}{n:04}")).collect();
            stream::iter(&new).map(|it| self.create(it)).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
            there = buckets;
            let all: Vec<_> = (0..buckets).map(|n| format!("{FLEET}{n:04}")).collect();
            let mut of_all = Vec::new();
            for (name, theirs) in [("Custodian", true), ("guardrail", false)] {
                eprintln!("sweep: {buckets}, {name}");
                let drift = stream::iter(&all).map(|it| self.drift(it, &Control::OF_BUCKET));
                drift.buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
                for state in ["drifted", "compliant"] {
                    let took = if theirs { self.custodian_sweep()? } else { self.our_sweep(&all)? };
                    let left = self.left(&judge, &all[0])?;
                    let each = took.cpu / u32::try_from(buckets).unwrap_or(u32::MAX);
                    let _ = writeln!(
                        text,
                        "| {buckets}, {state} | {name} | {:.1} s | {:.2} s | {} | {:.0} MB | {} | {left} |",
                        took.wall.as_secs_f64(),
                        took.cpu.as_secs_f64(),
                        milliseconds(each),
                        took.peak,
                        took.calls,
                    );
                    of_all.push(took);
                }
            }
            if buckets == 1_000 {
                let cpu = |it: usize| of_all[it].cpu.as_secs_f64();
                goals.push(("less CPU for a swept bucket of 1,000, drifted,", 10.0, cpu(0) / cpu(2)));
                goals.push(("less CPU for a swept bucket of 1,000, compliant,", 10.0, cpu(1) / cpu(3)));
                goals.push(("less memory in a sweep of 1,000", 5.0, of_all[0].peak / of_all[2].peak));
            }
        }
        Ok((text, goals))
    }

    async fn create(&self, bucket: &str) -> Result<(), SetupError> {
        let place = CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::from(REGION));
        let create = self.s3.create_bucket().bucket(bucket).create_bucket_configuration(place.build());
        create.send().await.map_err(|error| SetupError(format!("{bucket}: {error}")))?;
        let document = json!({
            "bucket": bucket, "account": ACCOUNT, "key_arn": self.key, "log_bucket": "it-logs",
            "inventory": {"bucket": "it-inventory"},
        });
        let name = format!("/s3-guardrail/buckets/{bucket}");
        let put = self.ssm.put_parameter().name(name).r#type(ParameterType::String).value(document.to_string());
        put.send().await.map(drop).map_err(|error| SetupError(format!("{bucket}: {error}")))
    }

    fn custodian_sweep(&self) -> Result<Took, SetupError> {
        let aws = &self.deployment.aws;
        let before = self.requests();
        let mut timed = aws.command(&self.python.to_string_lossy(), &self.deployment.administrator);
        timed.env("AWS_ENDPOINT_URL", &aws.https).arg(workspace().join("tests/beside/timed.py"));
        timed.arg(self.python.with_file_name("custodian")).args([
            "run",
            "--cache-period",
            "0",
            "--region",
            REGION,
            "-s",
        ]);
        let said = run(timed.arg(self.folder.join("output")).arg(self.folder.join("pull.yml")))?;
        let took: Value = serde_json::from_str(&said).map_err(|error| SetupError(format!("{error}: {said}")))?;
        let number = |name: &str| took[name].as_f64().unwrap_or_default();
        Ok(Took {
            wall: Duration::from_secs_f64(number("wall")),
            cpu: Duration::from_secs_f64(number("cpu")),
            peak: number("peak") / 1024.0,
            calls: self.requests() - before,
        })
    }

    /// The sweep, and its messages in batches of ten, as Lambda hands them over; memory: the larger of the two.
    fn our_sweep(&self, buckets: &[String]) -> Result<Took, SetupError> {
        let queue = ["sqs", "create-queue", "--queue-name", "beside", "--query", "QueueUrl", "--output", "text"];
        let queue = self.deployment.aws.aws(&self.deployment.administrator, &queue)?;
        let (start, before) = (Instant::now(), self.requests());
        let sweep = Command::new(self.binaries.join("guardrail-sweep"));
        let sweep = Function::start(&self.deployment, sweep, Some(&queue))?;
        sweep.invoke(&json!({}))?;
        let function = Function::start(&self.deployment, self.ours(), None)?;
        for some in buckets.chunks(10) {
            let record = |it: &String| json!({"messageId": it, "body": json!({"bucket": it}).to_string()});
            let (_, answer) = function.invoke(&json!({"Records": some.iter().map(record).collect::<Vec<_>>()}))?;
            if !answer.contains("\"batchItemFailures\":[]") {
                return Err(SetupError(answer));
            }
        }
        Ok(Took {
            wall: start.elapsed(),
            cpu: sweep.cpu()? + function.cpu()?,
            peak: sweep.peak_megabytes()?.max(function.peak_megabytes()?),
            calls: self.requests() - before,
        })
    }
}

/// An error when an answer says that the work was not done.
fn done(answer: &str) -> Result<(), SetupError> {
    if answer.contains("errorMessage") { Err(SetupError(answer.to_owned())) } else { Ok(()) }
}

fn event(control: Control, bucket: &str) -> Value {
    let name = control.vocabulary().events[0];
    let sample = Path::new("events").join("put-bucket-policy.json");
    let text = std::fs::read_to_string(workspace().join(sample)).unwrap_or_default();
    let mut event: Value = serde_json::from_str(&text).unwrap_or_default();
    event["detail"]["eventName"] = json!(name);
    event["detail"]["requestParameters"] = json!({"bucketName": bucket});
    event
}

fn row(text: &mut String, drift: &str, who: &str, Answered { cold, warm }: &Answered, left: &str) {
    let _ = writeln!(
        text,
        "| {drift} | {who} | {} | {} | {} | {} | {} | {:.0} MB | {left} |",
        milliseconds(cold.wall),
        milliseconds(cold.cpu),
        milliseconds(warm.wall),
        milliseconds(warm.cpu),
        warm.calls,
        warm.peak,
    );
}

fn milliseconds(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1000.0)
}
