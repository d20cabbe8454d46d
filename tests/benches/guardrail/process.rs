//! The functions as Lambda runs them, against the local AWS: size, start, memory, processor time.

use std::{fmt::Write as _, path::Path, process::Command, time::Duration};

use aws_sdk_sqs::error::DisplayErrorContext;
use guardrail_tests::{
    deploy::{self, Deployment, FUNCTIONS},
    fake::BUCKET,
    function::Function,
    local_aws::{LocalAws, SetupError, run, workspace},
};
use serde_json::{Value, json};

use crate::Goal;

const STARTS: usize = 20;
const INVOCATIONS: usize = 200;
const FLEETS: [usize; 3] = [100, 1_000, 10_000];

/// The buckets that are there: a batch of the sweep's messages, with one key and one trail.
fn guarded() -> impl Iterator<Item = String> {
    [BUCKET.to_owned()].into_iter().chain((1..10).map(|n| format!("bench-{n}")))
}

pub(crate) async fn section(goals: &mut Vec<Goal>) -> Result<String, SetupError> {
    let binaries = deploy::build()?;
    let aws = LocalAws::start(&workspace().join("target/local-aws/bench"))?;
    let deployment = Deployment::new(aws, &binaries)?;
    for bucket in guarded() {
        deployment.guard(&bucket)?;
    }
    // Each registration by hand is an event that is told; ten thousand of them are not what is measured here.
    deployment.deafen()?;

    let mut text = "## Size\n\n| function | binary | zip |\n|---|---|---|\n".to_owned();
    for function in FUNCTIONS {
        let (binary, zip) = sizes(&binaries, function)?;
        if function == "guardrail-remediate" {
            goals.push(at_most("zip of guardrail-remediate", 7.0, zip, "MB"));
        }
        let _ = writeln!(text, "| {function} | {binary:.1} MB | {zip:.1} MB |");
    }
    text.push_str(&remediate(&deployment, &binaries, goals)?);
    text.push_str(&sweep(&deployment, &binaries, goals).await?);
    Ok(text)
}

fn sizes(binaries: &Path, function: &str) -> Result<(f64, f64), SetupError> {
    let size = |file: &Path| {
        let file_size = std::fs::metadata(file).map(|it| it.len() as f64 / 1e6);
        file_size.map_err(|error| SetupError(format!("{}: {error}", file.display())))
    };
    let (binary, zip) = (binaries.join(function), binaries.join(format!("{function}.zip")));
    run(Command::new("python3").args(["-m", "zipfile", "-c"]).arg(&zip).arg(&binary))?;
    Ok((size(&binary)?, size(&zip)?))
}

/// `guardrail-remediate` from its start to its two hundredth invocation.
fn remediate(deployment: &Deployment, binaries: &Path, goals: &mut Vec<Goal>) -> Result<String, SetupError> {
    let binary = binaries.join("guardrail-remediate");
    let request = json!({"bucket": BUCKET});
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(Function::start(deployment, Command::new(&binary), None)?.first_poll);
    }
    let function = Function::start(deployment, Command::new(&binary), None)?;
    let init = function.cpu()?;
    let (cold, _) = function.invoke(&request)?;
    let mut warm = Vec::new();
    for _ in 0..INVOCATIONS {
        let (took, answer) = function.invoke(&request)?;
        if !answer.contains("\"outcome\":\"compliant\"") {
            return Err(SetupError(answer));
        }
        warm.push(took);
    }
    let cpu = (function.cpu()? - init).as_secs_f64() * 1000.0 / (INVOCATIONS + 1) as f64;
    let mut text = "\n## Running\n\nguardrail-remediate, asked about a compliant bucket; the local AWS answers on the same machine, over TLS. Without the ledger, whose table only the deployed role may write.\n\n\
        | | |\n|---|---|\n"
        .to_owned();
    starts.sort();
    goals.push(at_most("from exec to the first question for work", 10.0, milliseconds(starts[STARTS / 2]), "ms"));
    goals.push(at_most("most memory of guardrail-remediate", 20.0, function.peak_megabytes()?, "MB"));
    let _ = writeln!(text, "| from exec to the first question for work | {} |", times(&mut starts));
    let _ = writeln!(text, "| first invocation: connects, signs, reads | {:.1} ms |", cold.as_secs_f64() * 1000.0);
    let _ = writeln!(text, "| every other | {} |", times(&mut warm));
    let _ = writeln!(text, "| processor time of an invocation | {cpu:.1} ms |");
    let _ = writeln!(text, "| most memory | {:.1} MB |", function.peak_megabytes()?);

    text.push_str("\nBatches of ten of the sweep's messages, about ten compliant buckets:\n\n| messages | processor time of each | most memory |\n|---|---|---|\n");
    let mut memory = Vec::new();
    for messages in [100, 1_000] {
        let function = Function::start(deployment, Command::new(&binary), None)?;
        let record = |bucket: String| json!({"messageId": bucket, "body": json!({"bucket": bucket}).to_string()});
        let batch = json!({"Records": guarded().map(record).collect::<Vec<_>>()});
        for _ in 0..messages / 10 {
            let (_, answer) = function.invoke(&batch)?;
            if !answer.contains("\"batchItemFailures\":[]") {
                return Err(SetupError(answer));
            }
        }
        let cpu = function.cpu()?.as_secs_f64() * 1000.0 / f64::from(messages);
        memory.push(function.peak_megabytes()?);
        let _ = writeln!(text, "| {messages} | {cpu:.1} ms | {:.1} MB |", function.peak_megabytes()?);
    }
    goals.push(no_more("memory for 1,000 messages, as many times that for 100", &memory));
    Ok(text)
}

/// Fleets of registered buckets, each swept into a queue that nobody reads.
async fn sweep(deployment: &Deployment, binaries: &Path, goals: &mut Vec<Goal>) -> Result<String, SetupError> {
    let mut text = "\n## Sweeping\n\nguardrail-sweep: one message for each registered bucket, its key and its trail, and a look at the guardrail's own parts. \
        The local AWS sorts all parameters for every ten of them that it gives: most of the wall time of 10,000 is that.\n\n\
        | buckets | messages | of them twice | wall | processor time | most memory |\n|---|---|---|---|---|---|\n"
        .to_owned();
    let mut memory = Vec::new();
    for buckets in FLEETS {
        let swept = fleet(deployment, &binaries.join("guardrail-sweep"), buckets).await?;
        let Swept { messages, twice, took, cpu, peak } = swept;
        memory.push(peak);
        let _ = writeln!(
            text,
            "| {} | {messages} | {twice} | {:.1} s | {:.2} s | {peak:.1} MB |",
            buckets + guarded().count(),
            took.as_secs_f64(),
            cpu.as_secs_f64()
        );
        // And their key, and their trail.
        let all = buckets + guarded().count();
        if messages != all + 2 || twice != 0 {
            return Err(SetupError(format!("{messages} messages, {twice} twice, for {all} buckets")));
        }
    }
    goals.push(at_most("most memory of a sweep of 10,000", 64.0, memory.into_iter().fold(0.0, f64::max), "MB"));
    Ok(text)
}

fn at_most(what: &'static str, goal: f64, measured: f64, unit: &str) -> Goal {
    let (goal, measured, met) = (format!("at most {goal} {unit}"), format!("{measured:.1} {unit}"), measured <= goal);
    Goal { what, goal, measured, met }
}

fn milliseconds(it: Duration) -> f64 {
    it.as_secs_f64() * 1000.0
}

/// That memory does not grow with the work.
fn no_more(what: &'static str, memory: &[f64]) -> Goal {
    let ratio = memory.iter().copied().fold(0.0, f64::max) / memory[0];
    Goal { what, goal: "at most 1.2".to_owned(), measured: format!("{ratio:.2}"), met: ratio <= 1.2 }
}

struct Swept {
    messages: usize,
    twice: usize,
    took: Duration,
    cpu: Duration,
    /// In megabytes.
    peak: f64,
}

async fn fleet(deployment: &Deployment, binary: &Path, buckets: usize) -> Result<Swept, SetupError> {
    let failed = |error: &dyn std::error::Error| SetupError(format!("fleet: {}", DisplayErrorContext(error)));
    let sdk = deployment.aws.sdk(&deployment.administrator)?;
    let (ssm, sqs) = (aws_sdk_ssm::Client::new(&sdk), aws_sdk_sqs::Client::new(&sdk));
    let queue = sqs.create_queue().queue_name(format!("bench-{buckets}")).send().await;
    let queue = queue.map_err(|error| failed(&error))?.queue_url.unwrap_or_default();
    let registered = ssm.get_parameter().name(format!("/s3-guardrail/buckets/{BUCKET}")).send().await;
    let registered = registered.map_err(|error| failed(&error))?.parameter.and_then(|it| it.value).unwrap_or_default();
    let numbers: Vec<usize> = (0..buckets).collect();
    for some in numbers.chunks(32) {
        let mut puts = tokio::task::JoinSet::new();
        for n in some {
            let bucket = format!("fleet-{n:05}");
            let put = ssm.put_parameter().name(format!("/s3-guardrail/buckets/{bucket}")).overwrite(true);
            let put = put.r#type(aws_sdk_ssm::types::ParameterType::String);
            puts.spawn(put.value(registered.replace(BUCKET, &bucket)).send());
        }
        while let Some(put) = puts.join_next().await {
            put.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
        }
    }
    let function = Function::start(deployment, Command::new(binary), Some(&queue))?;
    let (took, answer) = function.invoke(&json!({}))?;
    let (cpu, peak) = (function.cpu()?, function.peak_megabytes()?);
    let mut seen = std::collections::HashMap::<String, usize>::new();
    loop {
        let receive = sqs.receive_message().queue_url(&queue).max_number_of_messages(10).visibility_timeout(3600);
        let messages = receive.send().await.map_err(|error| failed(&error))?.messages.unwrap_or_default();
        if messages.is_empty() {
            break;
        }
        for message in messages {
            *seen.entry(message.body.unwrap_or_default()).or_default() += 1;
        }
    }
    let told: Value = serde_json::from_str(&answer).map_err(|error| SetupError(format!("{error}: {answer}")))?;
    if told["buckets"] != buckets + guarded().count() {
        return Err(SetupError(answer));
    }
    let twice = seen.values().filter(|it| **it > 1).count();
    Ok(Swept { messages: seen.len(), twice, took, cpu, peak })
}

fn times(times: &mut [Duration]) -> String {
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1000.0;
    format!("median {:.1} ms, p99 {:.1} ms, of {}", at(50), at(99), times.len())
}
