//! What `cargo demo -- --keep` prints for people to paste, pasted.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use guardrail_tests::deploy;

/// How long all that the demo shows first may take.
const PATIENCE: Duration = Duration::from_secs(300);
const SOON: Duration = Duration::from_secs(30);

struct Demo {
    process: Child,
    lines: Receiver<String>,
}

impl Demo {
    /// As `nohup cargo demo -- --keep &` in a script starts it: Ctrl-C is ignored.
    fn start() -> Self {
        let demo = deploy::build_packages(&["guardrail-tests"]).unwrap().join("demo");
        let ignoring = ["-c", "trap '' INT; exec \"$0\" --keep", &demo.to_string_lossy()];
        let mut process =
            Command::new("bash").args(ignoring).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (send, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).all(|line| send.send(line).is_ok()));
        Self { process, lines }
    }

    /// The lines up to one with this in it.
    fn until(&self, part: &str, limit: Duration) -> Vec<String> {
        let deadline = Instant::now() + limit;
        let mut lines: Vec<String> = Vec::new();
        while !lines.last().is_some_and(|it| it.contains(part)) {
            let left = deadline.saturating_duration_since(Instant::now());
            lines.push(self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no `{part}` in {lines:#?}")));
        }
        lines
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn what_the_demo_prints_works_as_pasted() {
    let mut demo = Demo::start();
    let printed = demo.until("Alerts appear here", PATIENCE);
    let pasted = |words: &[&str]| -> Vec<String> {
        let lines = printed.iter().filter_map(|it| it.strip_prefix("  "));
        lines.filter(|it| words.iter().any(|word| it.starts_with(word))).map(str::to_owned).collect()
    };
    let setup = pasted(&["export ", "unset "]).join("\n");
    let commands = pasted(&["guardrail ", "aws "]);
    assert!(commands.iter().any(|it| it == "guardrail verify acme-data") && commands.len() >= 9, "{printed:#?}");
    for command in &commands {
        let mut shell = Command::new("bash");
        // Whatever else the person has set.
        shell.env("AWS_PROFILE", "theirs").env("HTTPS_PROXY", "http://127.0.0.1:1").env("AWS_PAGER", "");
        let output = shell.args(["-c", &format!("{setup}\n{command}")]).stdin(Stdio::null()).output().unwrap();
        let text = [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned()).concat();
        assert!(output.status.success() && !text.contains("DISPROVEN"), "{command}: {text}");
        // What an `aws` command breaks is told here, and is in order again for the next one.
        if command.starts_with("aws ") {
            // The third time within an hour it is a fight.
            demo.until("user/ann", SOON);
        }
    }
    let interrupt = Command::new("kill").args(["-INT", &demo.process.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    while demo.lines.recv_timeout(SOON).is_ok() {}
    assert!(demo.process.wait().unwrap().success(), "it ends by itself");
}
