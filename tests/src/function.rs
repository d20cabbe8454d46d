//! A function as Lambda runs it: this program is its Runtime API.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    deploy::{Deployment, FUNCTIONS},
    local_aws::{REGION, SetupError},
};

/// A running function, and the Runtime API it polls.
#[derive(Debug)]
pub struct Function {
    process: Child,
    /// From exec to the first question for work.
    pub first_poll: Duration,
    events: mpsc::Sender<String>,
    answers: mpsc::Receiver<String>,
}

impl Function {
    /// Starts a function's program. `queue_url`: where the sweep's messages go.
    pub fn start(deployment: &Deployment, mut program: Command, queue_url: Option<&str>) -> Result<Self, SetupError> {
        let failed = |error: &dyn std::fmt::Display| SetupError(format!("runtime API: {error}"));
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| failed(&error))?;
        let address = listener.local_addr().map_err(|error| failed(&error))?;
        let start = Instant::now();
        let process = program
            .env_clear()
            .envs(queue_url.map(|it| ("GUARDRAIL_QUEUE_URL", it)))
            .envs([("GUARDRAIL_TOPIC_ARN", &deployment.topic_arn), ("GUARDRAIL_ROLE_ARN", &deployment.role_arn)])
            .envs([
                ("AWS_LAMBDA_FUNCTION_NAME", FUNCTIONS[0]),
                ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ])
            .envs([("AWS_REGION", REGION), ("AWS_DEFAULT_REGION", REGION), ("AWS_ENDPOINT_URL", &deployment.aws.https)])
            .envs([
                ("AWS_ACCESS_KEY_ID", &deployment.administrator.id),
                ("AWS_SECRET_ACCESS_KEY", &deployment.administrator.secret),
            ])
            .envs([("SSL_CERT_FILE", &deployment.aws.ca), ("AWS_CA_BUNDLE", &deployment.aws.ca)])
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

    /// How long one invocation takes, from handing it out to getting the answer, and the answer.
    pub fn invoke(&self, event: &Value) -> Result<(Duration, String), SetupError> {
        let start = Instant::now();
        self.events.send(event.to_string()).map_err(|error| SetupError(format!("runtime API: {error}")))?;
        let answer = self.answers.recv_timeout(Duration::from_secs(600));
        let answer = answer.map_err(|error| SetupError(format!("the function did not answer: {error}")))?;
        Ok((start.elapsed(), answer))
    }

    /// User and system time so far, of all its threads. What `/proc` says is cut to hundredths of a second.
    #[cfg(target_os = "linux")]
    pub fn cpu(&self) -> Result<Duration, SetupError> {
        use nix::{time::ClockId, unistd::Pid};
        let process = Pid::from_raw(self.process.id().cast_signed());
        let time = ClockId::pid_cpu_clock_id(process).and_then(ClockId::now);
        time.map(Duration::from).map_err(|error| SetupError(format!("the processor time of {process}: {error}")))
    }

    /// User and system time so far.
    #[cfg(not(target_os = "linux"))]
    pub fn cpu(&self) -> Result<Duration, SetupError> {
        Err(SetupError("processor time is measured on Linux only".to_owned()))
    }

    /// The most memory it ever had, in megabytes.
    pub fn peak_megabytes(&self) -> Result<f64, SetupError> {
        let file = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(&file).map_err(|error| SetupError(format!("{file}: {error}")))?;
        let peak = status.lines().find_map(|it| it.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
        peak.map(|it: f64| it / 1024.0).ok_or_else(|| SetupError(format!("{file} has no VmHWM")))
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
