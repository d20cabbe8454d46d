//! `cargo measure`: size, start, memory and speed of `guardrail-remediate`, and how many calls it makes.
//!
//! The binary runs as Lambda runs it: this program is its Runtime API.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

#![recursion_limit = "256"]
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, ExitCode, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use aws_sdk_sqs::error::DisplayErrorContext;
use guardrail::control::Control;
use guardrail_tests::{
    deploy::{self, Deployment, FUNCTIONS},
    fake::{BUCKET, FakeAws},
    local_aws::{LocalAws, REGION, SetupError, run, workspace},
};
use serde_json::{Value, json};

const STARTS: usize = 20;
const INVOCATIONS: usize = 200;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match measure().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("measure stopped: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure() -> Result<(), SetupError> {
    let binaries = deploy::build()?;
    let aws = LocalAws::start(&workspace().join("target/local-aws/measure"))?;
    let deployment = Deployment::new(aws, &binaries)?;
    deployment.invoke("guardrail-bootstrap", &json!({"bucket": BUCKET}))?.map_err(SetupError)?;

    for function in FUNCTIONS {
        let binary = binaries.join(function);
        let size =
            std::fs::metadata(&binary).map_err(|error| SetupError(format!("{}: {error}", binary.display())))?.len();
        let zip = binaries.join(format!("{function}.zip"));
        run(Command::new("python3").args(["-m", "zipfile", "-c"]).arg(&zip).arg(&binary))?;
        let zipped = std::fs::metadata(&zip).map_err(|error| SetupError(format!("{}: {error}", zip.display())))?.len();
        println!("{function}: binary {:.1} MB, zip {:.1} MB", megabytes(size), megabytes(zipped));
    }

    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(Function::start(&deployment, &binaries.join("guardrail-remediate"), None)?.first_poll);
    }
    print_times("exec to first poll", &mut starts);

    let function = Function::start(&deployment, &binaries.join("guardrail-remediate"), None)?;
    let cold = function.compliant(&json!({"bucket": BUCKET}))?;
    println!("first invocation (connects, signs, reads): {:.1} ms", cold.as_secs_f64() * 1000.0);
    let mut warm = Vec::new();
    for _ in 0..INVOCATIONS {
        warm.push(function.compliant(&json!({"bucket": BUCKET}))?);
    }
    print_times("warm, compliant bucket, against the local AWS", &mut warm);
    println!("peak resident memory: {:.1} MB", function.peak_kilobytes()? / 1024.0);

    // Each registration by hand is an event that is told; ten thousand of them are not what is measured here.
    deployment.deafen()?;
    println!("\nsweep (one message per registered bucket):");
    for buckets in [100, 10_000] {
        fleet(&deployment, &binaries.join("guardrail-sweep"), buckets).await?;
    }
    println!("guardrail-remediate, from batches of ten of the sweep's messages:");
    for messages in [100, 1000] {
        let function = Function::start(&deployment, &binaries.join("guardrail-remediate"), None)?;
        let record = |n: usize| json!({"messageId": n.to_string(), "body": json!({"bucket": BUCKET}).to_string()});
        let batch = json!({"Records": (0..10).map(record).collect::<Vec<_>>()});
        for _ in 0..messages / 10 {
            let (_, answer) = function.invoke(&batch)?;
            if !answer.contains("\"batchItemFailures\":[]") {
                return Err(SetupError(answer));
            }
        }
        let cpu = function.cpu()?.as_secs_f64() * 1000.0 / f64::from(messages);
        println!(
            "  {messages:>6} messages: {cpu:.1} ms of CPU each, peak {:.1} MB",
            function.peak_kilobytes()? / 1024.0
        );
    }

    println!("\ncalls per reconcile (reads go out at once):");
    let fake = FakeAws::compliant().await;
    count(&fake, "compliant").await?;
    for control in Control::OF_BUCKET {
        let fake = FakeAws::compliant().await;
        fake.set(subresource(control), None);
        count(&fake, control.id()).await?;
    }
    count(&FakeAws::guarded(), "all seven").await
}

/// Registers that many buckets and sweeps them into a queue that nobody reads; counts what arrived.
async fn fleet(deployment: &Deployment, binary: &std::path::Path, buckets: usize) -> Result<(), SetupError> {
    let failed = |error: &dyn std::error::Error| SetupError(format!("fleet: {}", DisplayErrorContext(error)));
    let sdk = deployment.aws.sdk(&deployment.administrator)?;
    let (ssm, sqs) = (aws_sdk_ssm::Client::new(&sdk), aws_sdk_sqs::Client::new(&sdk));
    let queue = sqs.create_queue().queue_name(format!("measure-{buckets}")).send().await;
    let queue = queue.map_err(|error| failed(&error))?.queue_url.unwrap_or_default();
    let numbers: Vec<usize> = (0..buckets).collect();
    for some in numbers.chunks(32) {
        let mut puts = tokio::task::JoinSet::new();
        for n in some {
            let put = ssm.put_parameter().name(format!("/s3-guardrail/buckets/fleet-{n:05}")).overwrite(true);
            let put = put.r#type(aws_sdk_ssm::types::ParameterType::String);
            puts.spawn(put.value("{\"bucket\":\"a fleet of documents\"}").send());
        }
        while let Some(put) = puts.join_next().await {
            put.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
        }
    }
    let function = Function::start(deployment, binary, Some(&queue))?;
    let (took, answer) = function.invoke(&json!({}))?;
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
    let twice = seen.values().filter(|it| **it > 1).count();
    let told: Value = serde_json::from_str(&answer).map_err(|error| SetupError(format!("{error}: {answer}")))?;
    println!(
        "  {buckets:>6} and {BUCKET}: told {}, {} messages, {twice} twice, {:.1} s, {:.2} s of CPU, peak {:.1} MB",
        told["buckets"],
        seen.len(),
        took.as_secs_f64(),
        function.cpu()?.as_secs_f64(),
        function.peak_kilobytes()? / 1024.0
    );
    Ok(())
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

async fn count(fake: &FakeAws, what: &str) -> Result<(), SetupError> {
    fake.remediate(json!({"bucket": BUCKET})).await.map_err(SetupError)?;
    let (reads, writes, messages) = (fake.reads().len(), fake.writes().len(), fake.alerts().len());
    println!("  {what:<22} {reads:>2} reads, {writes} writes, {messages} messages");
    Ok(())
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn print_times(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1000.0;
    println!("{what}: median {:.1} ms, p99 {:.1} ms, of {}", at(50), at(99), times.len());
}

/// A running function, and the Runtime API it polls.
struct Function {
    process: Child,
    first_poll: Duration,
    events: mpsc::Sender<String>,
    answers: mpsc::Receiver<String>,
}

impl Function {
    fn start(deployment: &Deployment, binary: &std::path::Path, queue_url: Option<&str>) -> Result<Self, SetupError> {
        let failed = |error: &dyn std::fmt::Display| SetupError(format!("runtime API: {error}"));
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| failed(&error))?;
        let address = listener.local_addr().map_err(|error| failed(&error))?;
        let start = Instant::now();
        let process = Command::new(binary)
            .env_clear()
            .envs(queue_url.map(|it| ("GUARDRAIL_QUEUE_URL", it)))
            .envs([("GUARDRAIL_TOPIC_ARN", &deployment.topic_arn), ("GUARDRAIL_ROLE_ARN", &deployment.role_arn)])
            .envs([
                ("AWS_LAMBDA_FUNCTION_NAME", FUNCTIONS[0]),
                ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ])
            .envs([("AWS_REGION", REGION), ("AWS_ENDPOINT_URL", &deployment.aws.https)])
            .envs([
                ("AWS_ACCESS_KEY_ID", &deployment.administrator.id),
                ("AWS_SECRET_ACCESS_KEY", &deployment.administrator.secret),
            ])
            .env("SSL_CERT_FILE", &deployment.aws.ca)
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| failed(&error))?;
        let (events, next) = mpsc::channel::<String>();
        let (answer, answers) = mpsc::channel();
        let (polled, first) = mpsc::channel();
        std::thread::spawn(move || serve(&listener, &polled, &next, &answer));
        let first_poll = first.recv_timeout(Duration::from_secs(20)).map_err(|error| failed(&error))? - start;
        Ok(Self { process, first_poll, events, answers })
    }

    /// How long one invocation takes, from handing it out to getting the answer.
    fn compliant(&self, event: &Value) -> Result<Duration, SetupError> {
        let (took, answer) = self.invoke(event)?;
        if answer.contains("\"outcome\":\"compliant\"") { Ok(took) } else { Err(SetupError(answer)) }
    }

    fn invoke(&self, event: &Value) -> Result<(Duration, String), SetupError> {
        let start = Instant::now();
        self.events.send(event.to_string()).map_err(|error| SetupError(format!("runtime API: {error}")))?;
        let answer = self.answers.recv_timeout(Duration::from_secs(600));
        let answer = answer.map_err(|error| SetupError(format!("the function did not answer: {error}")))?;
        Ok((start.elapsed(), answer))
    }

    /// User and system time so far.
    fn cpu(&self) -> Result<Duration, SetupError> {
        let file = format!("/proc/{}/stat", self.process.id());
        let stat = std::fs::read_to_string(&file).map_err(|error| SetupError(format!("{file}: {error}")))?;
        let fields = stat.rsplit_once(')').map_or("", |it| it.1).split_whitespace().skip(11).take(2);
        // In hundredths of a second, on every Linux there is.
        Ok(Duration::from_millis(fields.filter_map(|it| it.parse::<u64>().ok()).sum::<u64>() * 10))
    }

    fn peak_kilobytes(&self) -> Result<f64, SetupError> {
        let file = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(&file).map_err(|error| SetupError(format!("{file}: {error}")))?;
        let peak = status.lines().find_map(|it| it.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
        peak.ok_or_else(|| SetupError(format!("{file} has no VmHWM")))
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The Runtime API, for as long as the function and its caller are there.
fn serve(
    listener: &TcpListener,
    polled: &mpsc::Sender<Instant>,
    next: &mpsc::Receiver<String>,
    answer: &mpsc::Sender<String>,
) {
    for connection in listener.incoming().flatten() {
        let mut reader = BufReader::new(&connection);
        while let Some((path, body)) = read_request(&mut reader) {
            let done = if path.ends_with("/next") {
                let _ = polled.send(Instant::now());
                let Ok(event) = next.recv() else { return };
                let headers = "Lambda-Runtime-Aws-Request-Id: 1\r\nLambda-Runtime-Deadline-Ms: 9999999999999\r\nLambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:eu-west-2:111122223333:function:f\r\n";
                respond(&connection, headers, &event)
            } else {
                let _ = answer.send(body);
                respond(&connection, "", "{}")
            };
            if done.is_err() {
                break;
            }
        }
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<(String, String)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|it| *it > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim().split_once(':') {
            None => break,
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().ok()?,
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, String::from_utf8_lossy(&body).into_owned()))
}

fn respond(mut connection: &TcpStream, headers: &str, body: &str) -> std::io::Result<()> {
    // In one piece: a second small packet would wait for the first one's acknowledgement.
    let length = body.len();
    let response =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
    connection.write_all(response.as_bytes())
}
