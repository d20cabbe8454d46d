//! `cargo demo`: a local AWS, the real functions, and a bucket that is broken in every way and comes back.

#![recursion_limit = "256"]
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::{
    collections::BTreeSet,
    convert::Infallible,
    io::Write,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use aws_sdk_s3::Client;
use guardrail_core::control::table::Control;
use guardrail_tests::{
    control::{self, break_control, setting},
    deploy::{self, Deployment, Inbox, Received},
    local_aws::{Keys, LocalAws, SetupError, eventually, workspace},
};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

const BUCKET: &str = "acme-data";
const USER: &str = "mallory";
/// How long a restore and its alert may take before the line counts as failed.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let keep = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => false,
        ["--keep"] => true,
        _ => {
            println!(
                "usage: cargo demo [-- --keep]\n\n  --keep  leave everything running afterwards, and print alerts as they arrive"
            );
            return ExitCode::from(2);
        }
    };
    match demo(keep).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            println!("\nNot everything was restored and told: see the lines marked FAILED.");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("\nThe demo stopped: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn demo(keep: bool) -> Result<bool, SetupError> {
    println!("s3-guardrail: a local AWS, the real functions, and a bucket that somebody breaks.\n");
    let binaries = step("building the functions", deploy::build)?;
    let aws = step("starting the local AWS", || LocalAws::start(&workspace().join("target/local-aws/demo")))?;
    let deployment = step("deploying stacks and functions", || Deployment::new(aws, &binaries))?;
    let built = step("bootstrapping the baseline", || bootstrap(&deployment))?;
    let user =
        step("creating an ordinary user", || deployment.user(USER, &["s3:*", "kms:*", "cloudtrail:*", "events:*"]))?;
    let s3 = Client::new(&deployment.aws.sdk(&user)?);
    let inbox = deployment.inbox("demo-inbox", Some(BUCKET)).await?;

    println!("\nguardrail-bootstrap built:");
    for resource in built["resources"].as_array().into_iter().flatten() {
        let text = |name: &str| resource[name].as_str().unwrap_or_default().to_owned();
        println!("  {:<10} {:<24} {}", text("action"), text("type"), text("id"));
    }

    println!("\nNow {USER}, an IAM user who may do anything with S3, KMS, CloudTrail and rules, breaks {BUCKET}:\n");
    println!("  {:<21} {:<38} {:<13} {:>11}  alert", "control", "what was done", "by", "restored in");
    let mut all_good = true;
    let mut events = deployment.outcomes(BUCKET).len();
    for control in Control::OF_BUCKET {
        all_good &= break_and_watch(&s3, &inbox, &[control]).await?;
        // The guardrail's own writes come back to it as events; let it look at them before the next thing breaks.
        events += 1 + control.vocabulary().writes().count();
        eventually("quiet", PATIENCE, async || (deployment.outcomes(BUCKET).len() >= events).then_some(())).await?;
    }
    all_good &= break_and_watch(&s3, &inbox, &Control::OF_BUCKET).await?;
    for control in [Control::KmsKey, Control::Trail] {
        all_good &= break_shared_and_watch(&deployment, &inbox, &user, control).await?;
    }
    all_good &= tamper_and_watch(&deployment, &user).await?;

    if keep {
        println!();
        let commands = step("building the command", || deploy::build_packages(&["guardrail-cli"]))?;
        stay(deployment, &commands).await?;
    } else {
        println!("\nTry it by hand: cargo demo -- --keep");
    }
    Ok(all_good)
}

/// Shows what is being done, and how long it took.
fn step<T>(what: &str, work: impl FnOnce() -> Result<T, SetupError>) -> Result<T, SetupError> {
    print!("  {what} ...");
    let _ = std::io::stdout().flush();
    let start = Instant::now();
    let done = work()?;
    println!(" {:.1} s", start.elapsed().as_secs_f32());
    Ok(done)
}

fn bootstrap(deployment: &Deployment) -> Result<Value, SetupError> {
    deployment.invoke("guardrail-bootstrap", &json!({"bucket": BUCKET}))?.map_err(SetupError)
}

/// Breaks controls, all at once, and prints how they came back. False if one did not, or nobody was told.
async fn break_and_watch(s3: &Client, inbox: &Inbox, controls: &[Control]) -> Result<bool, SetupError> {
    let mut before = Vec::new();
    for control in controls {
        before.push(setting(s3, BUCKET, *control).await);
    }
    for control in controls {
        break_control(s3, BUCKET, *control).await?;
    }
    let start = Instant::now();
    let restored = eventually("restored", PATIENCE, async || {
        for (control, before) in controls.iter().zip(&before) {
            if setting(s3, BUCKET, *control).await != *before {
                return None;
            }
        }
        Some(start.elapsed())
    })
    .await;
    let mut wanted: BTreeSet<&str> = controls.iter().map(|it| it.id()).collect();
    let mut subject = String::new();
    let told = eventually("told", PATIENCE, async || {
        for alert in inbox.receive().await {
            let restored = restored_controls(&alert);
            wanted.retain(|it| !restored.contains(*it));
            subject = alert.subject;
        }
        wanted.is_empty().then_some(())
    })
    .await;

    let name = if let [one] = controls { one.id() } else { "all seven at once" };
    let done = match controls {
        [one] => control::command(*one, BUCKET).split_whitespace().nth(2).unwrap_or_default().to_owned(),
        _ => "all of the above".to_owned(),
    };
    let time = restored.as_ref().map_or("FAILED".to_owned(), |it| format!("{} ms", it.as_millis()));
    let alert = if told.is_ok() {
        subject
    } else {
        format!("FAILED: not told of {}", wanted.into_iter().collect::<Vec<_>>().join(", "))
    };
    println!("  {name:<21} {done:<38} {:<13} {time:>11}  {alert}", format!("user/{USER}"));
    Ok(restored.is_ok() && told.is_ok())
}

/// The same for what buckets share: the key and the trail.
async fn break_shared_and_watch(
    deployment: &Deployment,
    inbox: &Inbox,
    user: &Keys,
    control: Control,
) -> Result<bool, SetupError> {
    let command = control::command(control, BUCKET);
    let arguments: Vec<&str> = command.split_whitespace().skip(1).collect();
    let is_good = |text: &str| ["Enabled", "True"].contains(&text);
    let look: &[&str] = if control == Control::KmsKey {
        &["kms", "describe-key", "--key-id", "alias/s3-secure-data", "--query", "KeyMetadata.KeyState"]
    } else {
        &["cloudtrail", "get-trail-status", "--name", "acme-data-trail", "--query", "IsLogging"]
    };
    let look = [look, &["--output", "text"]].concat();
    deployment.aws.aws(user, &arguments)?;
    let start = Instant::now();
    let restored = eventually("restored", PATIENCE, async || {
        let text = deployment.aws.aws(&deployment.administrator, &look).ok()?;
        is_good(&text).then(|| start.elapsed())
    });
    let restored = restored.await;
    let told = eventually("told", PATIENCE, async || {
        inbox.receive().await.into_iter().find(|it| restored_controls(it).contains(control.id()))
    });
    let told = told.await;
    let time = restored.as_ref().map_or("FAILED".to_owned(), |it| format!("{} ms", it.as_millis()));
    let alert = told.as_ref().map_or("FAILED: nobody was told".to_owned(), |it| it.subject.clone());
    println!("  {:<21} {:<38} {:<13} {time:>11}  {alert}", control.id(), arguments[1], format!("user/{USER}"));
    Ok(restored.is_ok() && told.is_ok())
}

/// Somebody switches off the rule that wakes the guardrail.
async fn tamper_and_watch(deployment: &Deployment, user: &Keys) -> Result<bool, SetupError> {
    const RULE: &str = "s3-guardrail-bucket-changed";
    let inbox = deployment.inbox("demo-tampering", None).await?;
    deployment.aws.aws(user, &["events", "disable-rule", "--name", RULE])?;
    let start = Instant::now();
    let restored = eventually("restored", PATIENCE, async || {
        let describe = ["events", "describe-rule", "--name", RULE, "--query", "State", "--output", "text"];
        let state = deployment.aws.aws(&deployment.administrator, &describe).ok()?;
        (state == "ENABLED").then(|| start.elapsed())
    });
    let restored = restored.await;
    let told = eventually("told", PATIENCE, async || {
        inbox.receive().await.into_iter().find(|it| it.body["outcome"] == "tampered")
    });
    let told = told.await;
    let time = restored.as_ref().map_or("FAILED".to_owned(), |it| format!("{} ms", it.as_millis()));
    let alert = told.as_ref().map_or("FAILED: nobody was told".to_owned(), |it| it.subject.clone());
    println!(
        "  {:<21} {:<38} {:<13} {time:>11}  {alert}",
        "the guardrail itself",
        "disable-rule",
        format!("user/{USER}")
    );
    Ok(restored.is_ok() && told.is_ok())
}

fn restored_controls(alert: &Received) -> BTreeSet<String> {
    let findings = alert.body["findings"].as_array().into_iter().flatten();
    let restored = findings.filter(|it| it["outcome"] == "restored");
    restored.filter_map(|it| it["control"].as_str()).map(str::to_owned).collect()
}

/// Leaves everything running, and prints alerts until the person has enough. `commands`: where `guardrail` is.
async fn stay(deployment: Deployment, commands: &Path) -> Result<(), SetupError> {
    let aws = &deployment.aws;
    let administrator = deployment.user("ann", &["*"])?;
    println!("\nEverything is still running. In another terminal, as ann, an administrator of the account:\n");
    println!("  export PATH=\"{}:{}:$PATH\"", commands.display(), guardrail_tests::local_aws::tools().display());
    println!("  export AWS_ENDPOINT_URL={} AWS_CA_BUNDLE=\"{}\"", aws.https, aws.ca.display());
    println!("  export AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={}", administrator.id, administrator.secret);
    println!(
        "  export AWS_DEFAULT_REGION={} GUARDRAIL_HTTP_ENDPOINT_URL={}",
        guardrail_tests::local_aws::REGION,
        aws.http
    );
    println!("  unset AWS_PROFILE AWS_REGION AWS_SESSION_TOKEN HTTP_PROXY HTTPS_PROXY http_proxy https_proxy\n");
    for command in ["plan", "verify", "history"] {
        println!("  guardrail {command} {BUCKET}");
    }
    for control in Control::OF_BUCKET {
        println!("  {}", control::command(control, BUCKET));
    }
    println!("\nAlerts appear here as they arrive. Ctrl-C ends it all.\n");
    let inbox = deployment.inbox("demo-live", None).await?;
    // Also where a shell that starts it in the background has it ignore Ctrl-C; and so that the local AWS ends with it.
    let failed = |error: std::io::Error| SetupError(format!("signals: {error}"));
    let mut terminated = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(failed)?;
    tokio::select! {
        never = show_alerts(&inbox) => match never {},
        _ = terminated.recv() => Ok(()),
        _ = interrupted.recv() => Ok(()),
    }
}

async fn show_alerts(inbox: &Inbox) -> Infallible {
    loop {
        for alert in inbox.receive().await {
            println!("{}", alert.subject);
            for finding in alert.body["findings"].as_array().into_iter().flatten() {
                println!(
                    "  {}: {}",
                    finding["control"].as_str().unwrap_or_default(),
                    finding["outcome"].as_str().unwrap_or_default()
                );
                println!("    before {}", finding["observed"]);
                println!("    after  {}", finding["desired"]);
            }
        }
    }
}
