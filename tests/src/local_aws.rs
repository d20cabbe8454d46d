//! The local AWS: a process of its own on loopback, ended with this one.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::Credentials;
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use serde_json::Value;

/// The region that everything local is in.
pub const REGION: &str = "eu-west-2";
/// The account of the emulator's administrator: a 12-digit access key id names the account.
pub const ACCOUNT: &str = "111122223333";

/// What could not be set up, and how to get on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SetupError(pub String);

/// Access keys of somebody on the local AWS.
#[derive(Clone, Debug)]
pub struct Keys {
    pub id: String,
    pub secret: String,
}

impl Keys {
    /// The root user of an account: only what a bucket policy denies is denied to it.
    pub fn administrator(account: &str) -> Self {
        Self { id: account.to_owned(), secret: "test".to_owned() }
    }
}

/// A running local AWS.
#[derive(Debug)]
pub struct LocalAws {
    process: Child,
    pub http: String,
    pub https: String,
    /// The certificate that signs `https`, a PEM file.
    pub ca: PathBuf,
    /// Where its log is, with the functions' output in it.
    pub data: PathBuf,
}

impl LocalAws {
    /// Installs what is missing and starts it on free ports. `data`: the folder for its certificate and logs.
    pub fn start(data: &Path) -> Result<Self, SetupError> {
        Self::start_with(data, &[])
    }

    /// The same, with more options of `infra/local/start.py`.
    pub fn start_with(data: &Path, options: &[&str]) -> Result<Self, SetupError> {
        let failed = |what: &str, error: &dyn std::fmt::Display| SetupError(format!("the local AWS {what}: {error}"));
        let mut process = Command::new("python3")
            .arg(workspace().join("infra/local/start.py"))
            .args(["--http", "0", "--https", "0", "--json", "--exit-with-parent", "--bucket-quota", "20000", "--data"])
            .arg(data)
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed("did not start (is python3 on the PATH?)", &error))?;
        let mut line = String::new();
        let output = process.stdout.take().ok_or_else(|| failed("has no output", &"no pipe"))?;
        BufReader::new(output).read_line(&mut line).map_err(|error| failed("said nothing", &error))?;
        let ready: Value =
            serde_json::from_str(&line).map_err(|_| failed("did not get ready; see above", &line.trim()))?;
        let text = |name: &str| ready[name].as_str().map(str::to_owned).ok_or_else(|| failed("did not say its", &name));
        Ok(Self {
            http: text("http")?,
            https: text("https")?,
            ca: PathBuf::from(text("ca")?),
            data: data.to_owned(),
            process,
        })
    }

    /// How somebody calls it with an SDK: over HTTPS, or the baseline's policy refuses.
    pub fn sdk(&self, keys: &Keys) -> Result<SdkConfig, SetupError> {
        let certificate =
            std::fs::read(&self.ca).map_err(|error| SetupError(format!("{}: {error}", self.ca.display())))?;
        let trust = TrustStore::empty().with_pem_certificate(certificate);
        let tls = TlsContext::builder().with_trust_store(trust).build();
        let tls = tls.map_err(|error| SetupError(format!("{}: {error}", self.ca.display())))?;
        let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(tls).build_https();
        Ok(SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static(REGION))
            .endpoint_url(&self.https)
            .http_client(http)
            .credentials_provider(aws_sdk_s3::config::SharedCredentialsProvider::new(Credentials::new(
                &keys.id,
                &keys.secret,
                None,
                None,
                "local",
            )))
            .sleep_impl(aws_sdk_s3::config::SharedAsyncSleep::new(aws_smithy_async::rt::sleep::TokioSleep::new()))
            .build())
    }

    /// An `aws` command as somebody; its standard output.
    pub fn aws(&self, keys: &Keys, arguments: &[&str]) -> Result<String, SetupError> {
        let mut command = self.command("aws", keys);
        // Over HTTPS, or the baseline's policy refuses.
        run(command.args(["--endpoint-url", &self.https]).args(arguments))
    }

    /// A program of the local AWS's environment, called as somebody.
    pub fn command(&self, program: &str, keys: &Keys) -> Command {
        let path = std::env::join_paths(
            [tools()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
        );
        let own = tools().join(program);
        let mut command = if own.exists() { Command::new(own) } else { Command::new(program) };
        command
            .env("PATH", path.unwrap_or_default())
            .env("AWS_ACCESS_KEY_ID", &keys.id)
            .env("AWS_SECRET_ACCESS_KEY", &keys.secret)
            .env("AWS_DEFAULT_REGION", REGION)
            .env("AWS_REGION", REGION)
            .env("AWS_CA_BUNDLE", &self.ca)
            .env("AWS_PAGER", "")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env_remove("AWS_PROFILE")
            .env_remove("AWS_SESSION_TOKEN");
        command
    }
}

impl Drop for LocalAws {
    fn drop(&mut self) {
        // It also ends by itself when its standard input does.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs a command to its end; its standard output, or everything it said when it failed.
pub fn run(command: &mut Command) -> Result<String, SetupError> {
    let output = command.output().map_err(|error| SetupError(format!("{command:?}: {error}")))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    Err(SetupError(format!("{command:?} failed ({}):\n{stdout}\n{stderr}", output.status)))
}

/// The folder of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are a folder of the workspace")
}

/// Where `aws` and `cargo-lambda` were installed.
pub fn tools() -> PathBuf {
    workspace().join("target/local-aws/venv/bin")
}

/// How complex EventBridge finds each of these event patterns, of one line each.
pub fn complexities(patterns: &[String]) -> Vec<usize> {
    let program = workspace().join("infra/local/events_patterns.py");
    let child = Command::new("python3").arg(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.expect("python3 is on the PATH");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(patterns.join("\n").as_bytes()).expect("it reads");
    drop(input);
    let said = child.wait_with_output().expect("it ends").stdout;
    String::from_utf8_lossy(&said).lines().map(|it| it.parse().expect("a number a line")).collect()
}

/// Asks again and again, until there is an answer or the time is up.
pub async fn eventually<T>(
    what: &str,
    limit: Duration,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> Result<T, SetupError> {
    let asked = async {
        loop {
            match ask().await {
                Some(answer) => return answer,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    tokio::time::timeout(limit, asked).await.map_err(|_| SetupError(format!("after {limit:?} still not so: {what}")))
}
