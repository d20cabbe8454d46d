//! The guardrail where events are late, doubled or lost, calls are refused, answers lost and writes seen late.

use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use guardrail::control::Control;
use guardrail_tests::{
    deploy::{self, Deployment, Inbox},
    drift::{break_control, setting},
    local_aws::{LocalAws, eventually, run, workspace},
};
use serde_json::{Value, json};

use crate::local::{PATIENCE, outcomes};

/// How long the events alone may take, before the sweep has to do what the lost ones did not.
const EVENTS: Duration = Duration::from_secs(20);
const BUCKET: &str = "unsettled-data";

/// What breaks and looks is the administrator, who sees what is.
struct World {
    deployment: Deployment,
    s3: Client,
    inbox: Inbox,
    key: String,
}

impl World {
    async fn new() -> Self {
        let binaries = deploy::build().unwrap();
        let aws = LocalAws::start(&workspace().join("target/local-aws/unsettled")).unwrap();
        let deployment = Deployment::new(aws, &binaries).unwrap();
        let s3 = Client::new(&deployment.aws.sdk(&deployment.administrator).unwrap());
        deployment.guard(BUCKET).unwrap();
        let inbox = deployment.inbox("unsettled", None).await.unwrap();
        let mut it = Self { deployment, s3, inbox, key: String::new() };
        let describe = "kms describe-key --key-id alias/s3-secure-data --query KeyMetadata.KeyId --output text";
        it.key = it.aws(describe);
        it
    }

    fn aws(&self, command: &str) -> String {
        let words: Vec<_> = command.split(' ').collect();
        self.deployment.aws.aws(&self.deployment.administrator, &words).unwrap()
    }

    /// `None`: settled again.
    fn unsettle(&self, seed: Option<u32>) {
        let seed = seed.map(|it| it.to_string()).unwrap_or_default();
        let url = format!("{}/_local-aws/unsettled?seed={seed}", self.deployment.aws.http);
        let put = "import sys, urllib.request as it; it.urlopen(it.Request(sys.argv[1], method='PUT'))";
        run(std::process::Command::new("python3").args(["-c", put, &url]).env("NO_PROXY", "127.0.0.1")).unwrap();
    }

    /// Everything that can drift: the bucket's settings, the key and the trail.
    async fn settings(&self) -> Vec<String> {
        let mut settings = Vec::new();
        for control in Control::OF_BUCKET {
            settings.push(setting(&self.s3, BUCKET, control).await);
        }
        settings.push(
            self.aws(&format!("kms describe-key --key-id {} --query KeyMetadata.KeyState --output text", self.key)),
        );
        settings.push(self.aws("cloudtrail get-trail-status --name it-trail --query IsLogging --output text"));
        settings
    }

    /// Waits for the events, then has the sweep restore what those that were lost did not.
    #[expect(clippy::print_stdout, reason = "how long it takes is what the runs are to teach")]
    async fn comes_back(&self, what: &str, before: &[String]) {
        let since = Instant::now();
        let restored = async || (self.settings().await == before).then_some(());
        let by = match eventually(what, EVENTS, restored).await {
            Ok(()) => "events",
            Err(_) => {
                let swept = async || {
                    // A sweep that meets too many refusals fails; the next one is an hour later on AWS.
                    let _ = self.deployment.invoke("guardrail-sweep", &json!({})).unwrap();
                    eventually(what, Duration::from_secs(5), restored).await.ok()
                };
                eventually(what, PATIENCE, swept).await.unwrap();
                "sweep"
            }
        };
        println!("{what}: restored by {by} after {:?}", since.elapsed());
    }

    async fn policy(&self) -> Value {
        let policy = self.s3.get_bucket_policy().bucket(BUCKET).send().await.unwrap();
        serde_json::from_str(policy.policy().unwrap()).unwrap()
    }

    /// The test alone changes things, and only once they are back: what is shown late must not be told as unstable.
    async fn told_nothing_unstable(&self, seed: u32) {
        let mut quiet = 0;
        while quiet < 5 {
            let alerts = self.inbox.receive().await;
            quiet = if alerts.is_empty() { quiet + 1 } else { 0 };
            for alert in alerts.iter().filter(|it| it.body["findings"].is_array()) {
                let unstable = outcomes(&alert.body).into_iter().any(|it| it.1 == "unstable");
                assert!(!unstable, "seed {seed}: {} {}", alert.subject, alert.body);
            }
        }
    }
}

#[tokio::test]
async fn an_unsettled_world_gets_its_baseline_back_and_owners_keep_what_is_theirs() {
    let world = World::new().await;
    let before = world.settings().await;
    for seed in [1, 2, 3] {
        world.unsettle(Some(seed));
        for control in Control::OF_BUCKET {
            break_control(&world.s3, BUCKET, control).await.unwrap();
            world.comes_back(&format!("seed {seed}: {control}"), &before).await;
        }
        world.aws(&format!("kms disable-key --key-id {}", world.key));
        world.aws("cloudtrail stop-logging --name it-trail");
        world.comes_back(&format!("seed {seed}: key and trail"), &before).await;

        for control in Control::OF_BUCKET {
            break_control(&world.s3, BUCKET, control).await.unwrap();
        }
        world.comes_back(&format!("seed {seed}: all at once"), &before).await;

        // An owner's statement, added while all of the guardrail's are gone.
        let principal = format!("arn:aws:iam::{}:root", world.deployment.administrator.id);
        let own = json!({"Sid": "Own", "Effect": "Allow", "Principal": {"AWS": principal}, "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{BUCKET}/*")});
        let baseline = world.policy().await;
        let put = async |statements: Vec<Value>| {
            let policy = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
            world.s3.put_bucket_policy().bucket(BUCKET).policy(policy).send().await.unwrap();
        };
        put(vec![own.clone()]).await;
        let statements = baseline["Statement"].as_array().unwrap().clone();
        let merged = async || {
            let _ = world.deployment.invoke("guardrail-sweep", &json!({})).unwrap();
            let now = world.policy().await;
            let now = now["Statement"].as_array().unwrap();
            assert!(now.iter().any(|it| it["Sid"] == "Own"), "seed {seed}: the owner's statement is gone: {now:?}");
            (now.len() == statements.len() + 1).then_some(())
        };
        eventually("the guardrail's statements beside the owner's", PATIENCE, merged).await.unwrap();
        put(statements).await;
        world.told_nothing_unstable(seed).await;
        world.unsettle(None);
    }
}
