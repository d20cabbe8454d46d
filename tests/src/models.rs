//! AWS's own service models, held against what is sent: `tests/models.py` reads those that botocore carries.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{ChildStdin, ChildStdout, Command, Stdio},
    sync::{LazyLock, Mutex},
};

use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use crate::local_aws::workspace;

/// A request as it was on the wire, and its answer when there was one.
#[derive(Clone, Debug)]
pub struct Exchange(pub Value);

/// What the models say of an exchange.
#[derive(Debug)]
pub struct Verdict {
    /// Service and operation, `s3.GetObject`; `None`: the models know none such.
    pub operation: Option<String>,
    /// What is wrong, each with its operation and member.
    pub faults: Vec<String>,
}

impl Exchange {
    /// A request without its answer.
    pub fn request(request: &HttpRequest) -> Self {
        let headers: BTreeMap<_, _> = request.headers().iter().collect();
        // The parts of an upload have megabytes, of which the models say nothing.
        const MOST: usize = 2 * 1024 * 1024;
        let body = request.body().bytes().unwrap_or_default();
        let whole = body.len() <= MOST;
        let body = String::from_utf8_lossy(if whole { body } else { &[] });
        let (method, uri) = (request.method(), request.uri());
        Self(json!({"method": method, "uri": uri, "headers": headers, "body": body, "whole": whole}))
    }

    /// The same with its answer.
    pub fn answered(self, response: &HttpResponse) -> Self {
        let Self(mut exchange) = self;
        exchange["status"] = json!(response.status().as_u16());
        exchange["answer_headers"] = json!(response.headers().iter().collect::<BTreeMap<_, _>>());
        exchange["answer"] = json!(String::from_utf8_lossy(response.body().bytes().unwrap_or_default()));
        Self(exchange)
    }

    /// Holds it to the model of its operation.
    pub fn verdict(&self) -> Verdict {
        let said = ask(&self.0);
        let faults = said["faults"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Verdict {
            operation: said["operation"].as_str().map(str::to_owned),
            faults: faults.map(str::to_owned).collect(),
        }
    }
}

/// What the functions' code can send, and only the command does: it puts back what there was not.
pub const BY_THE_COMMAND: [&str; 7] = [
    "s3.DeleteBucketEncryption",
    "s3.DeleteBucketInventoryConfiguration",
    "s3.DeleteBucketLifecycle",
    "s3.DeleteBucketOwnershipControls",
    "s3.DeleteBucketPolicy",
    "s3.DeletePublicAccessBlock",
    "ssm.DeleteParameter",
];

/// What the code of a folder can send, by the names of the SDKs' builders, `get_object()`: the operations of each name,
/// of which there are several where services have one in common.
pub fn sendable(folder: &str) -> BTreeMap<String, Vec<String>> {
    let said = ask(&json!("operations"));
    let mut named = BTreeMap::<String, Vec<String>>::new();
    for operation in said.as_array().into_iter().flatten().filter_map(Value::as_str) {
        named
            .entry(snake_case(operation.split_once('.').unwrap_or_default().1))
            .or_default()
            .push(operation.to_owned());
    }
    let code: String = sources(&workspace().join(folder)).iter().map(code).collect();
    let is_word = |it: char| it.is_ascii_alphanumeric() || it == '_';
    let called: BTreeSet<_> = code.split("()").filter_map(|it| it.rsplit(|it| !is_word(it)).next()).collect();
    named.retain(|name, _| called.contains(name.as_str()));
    named
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    let letters: Vec<char> = name.chars().collect();
    for (at, letter) in letters.iter().enumerate() {
        let begins = |at: usize| letters.get(at).is_some_and(char::is_ascii_uppercase);
        if at > 0 && begins(at) && (!begins(at - 1) || letters.get(at + 1).is_some_and(char::is_ascii_lowercase)) {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// The part of a source file before its tests.
fn code(path: impl AsRef<Path>) -> String {
    let text = std::fs::read_to_string(path).expect("it was listed");
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned()
}

/// The Rust files in a folder and its folders.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|it| it.expect("an entry").path());
    let within = |path: PathBuf| if path.is_dir() { sources(&path) } else { vec![path] };
    entries.flat_map(within).filter(|path| path.extension().is_some_and(|it| it == "rs")).collect()
}

/// Holds a request to the models, once for all that are the same.
///
/// # Panics
///
/// When it is not what AWS's own model says; the test that sent it fails.
pub fn hold(request: &HttpRequest) {
    static HELD: LazyLock<Mutex<HashSet<u64>>> = LazyLock::new(Mutex::default);
    // These differ each time, and the models say nothing of them.
    const VOLATILE: [&str; 6] =
        ["amz-sdk-invocation-id", "amz-sdk-request", "authorization", "user-agent", "x-amz-date", "x-amz-user-agent"];
    let mut hasher = DefaultHasher::new();
    (request.method(), request.uri(), request.body().bytes()).hash(&mut hasher);
    request.headers().iter().filter(|it| !VOLATILE.contains(&it.0)).for_each(|it| it.hash(&mut hasher));
    if HELD.lock().expect("nobody panics with it").insert(hasher.finish()) {
        let exchange = Exchange::request(request);
        let Verdict { faults, .. } = exchange.verdict();
        assert!(faults.is_empty(), "AWS's model of this request says otherwise:\n{faults:#?}\n{exchange:#?}");
    }
}

struct Checker {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// One for the whole process, which ends with it.
static CHECKER: LazyLock<Mutex<Checker>> = LazyLock::new(|| {
    let mut process = tool("python").arg("tests/models.py").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let process = process.as_mut().expect("start.py said above why it is not installed");
    let input = process.stdin.take().expect("it has an input");
    let output = BufReader::new(process.stdout.take().expect("it has an output"));
    Mutex::new(Checker { input, output })
});

/// A program of the local AWS's virtual environment, which is made if need be, in the workspace's folder.
pub fn tool(name: &str) -> Command {
    static INSTALLED: LazyLock<()> = LazyLock::new(|| {
        let install = ["infra/local/start.py", "--install-only"];
        let _ = Command::new("python3").current_dir(workspace()).args(install).status();
    });
    LazyLock::force(&INSTALLED);
    let mut command = Command::new(workspace().join("target/local-aws/venv/bin").join(name));
    command.current_dir(workspace());
    command
}

fn ask(line: &Value) -> Value {
    let mut said = String::new();
    {
        let checker = &mut *CHECKER.lock().expect("nobody panics with it");
        writeln!(checker.input, "{line}").expect("tests/models.py listens");
        checker.output.read_line(&mut said).expect("tests/models.py answers");
    }
    serde_json::from_str(&said).expect("tests/models.py answers; it said above why it did not")
}
