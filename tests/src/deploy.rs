//! The guardrail on the local AWS, deployed the way it is deployed on AWS: stack, functions, stack.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use aws_sdk_sqs::{
    error::DisplayErrorContext,
    types::{Message, QueueAttributeName},
};
use guardrail_core::control::table::Control;
use serde_json::{Value, json};

use crate::local_aws::{ACCOUNT, Keys, LocalAws, SetupError, run, workspace};

/// The functions, each a package, a binary and a Lambda function of the same name.
pub const FUNCTIONS: [&str; 4] = ["guardrail-remediate", "guardrail-bootstrap", "guardrail-sweep", "guardrail-verify"];

/// A deployed guardrail.
#[derive(Debug)]
pub struct Deployment {
    pub aws: LocalAws,
    pub administrator: Keys,
    pub topic_arn: String,
    pub second_topic_arn: String,
    pub role_arn: String,
    pub dead_letter_queue_url: String,
}

impl Deployment {
    /// Deploys the binaries in `binaries`, with the script that deploys to AWS.
    pub fn new(aws: LocalAws, binaries: &Path) -> Result<Self, SetupError> {
        let this = Self::prepared(aws, binaries)?;
        this.deploy(&[])?;
        this.deployed()
    }

    /// The binaries packed, nothing deployed yet.
    pub fn prepared(aws: LocalAws, binaries: &Path) -> Result<Self, SetupError> {
        for function in FUNCTIONS {
            zip(&binaries.join(function), &aws.data.join("zips").join(function))?;
        }
        Ok(Self {
            administrator: Keys::administrator(ACCOUNT),
            topic_arn: String::new(),
            second_topic_arn: String::new(),
            role_arn: String::new(),
            dead_letter_queue_url: String::new(),
            aws,
        })
    }

    fn deployed(self) -> Result<Self, SetupError> {
        let outputs = [
            "cloudformation",
            "describe-stacks",
            "--stack-name",
            "s3-guardrail-foundation",
            "--query",
            "Stacks[0].Outputs",
        ];
        let outputs: Value = serde_json::from_str(&self.aws.aws(&self.administrator, &outputs)?)
            .map_err(|error| SetupError(format!("stack outputs: {error}")))?;
        let output = |name: &str| {
            let outputs = outputs.as_array().into_iter().flatten();
            let value = outputs.filter(|it| it["OutputKey"] == name).find_map(|it| it["OutputValue"].as_str());
            value.map(str::to_owned).ok_or_else(|| SetupError(format!("the stack has no output {name}")))
        };
        let (topic_arn, role_arn) = (output("TopicArn")?, output("RemediateRoleArn")?);
        let (second_topic_arn, dead_letter_queue_url) = (output("SecondTopicArn")?, output("DeadLetterQueueUrl")?);
        Ok(Self { topic_arn, second_topic_arn, role_arn, dead_letter_queue_url, ..self })
    }

    /// Runs `infra/deploy.sh`, with more options; what it says.
    pub fn deploy(&self, options: &[&str]) -> Result<String, SetupError> {
        run(self.deploy_as(&self.administrator).args(options))
    }

    /// `infra/deploy.sh` of somebody, not run yet.
    pub fn deploy_as(&self, keys: &Keys) -> Command {
        let mut deploy = self.script_as(keys, "deploy.sh");
        deploy.arg("--binaries").arg(self.aws.data.join("zips"));
        deploy
    }

    /// Takes EventBridge's permissions to send events and to invoke the sweep away: of all parts of the guardrail, those
    /// that it does not put back itself.
    pub fn deafen(&self) -> Result<(), SetupError> {
        let aws = |arguments: &[&str]| self.aws.aws(&self.administrator, arguments);
        let get =
            ["lambda", "get-policy", "--function-name", "guardrail-sweep", "--query", "Policy", "--output", "text"];
        let policy: Value = serde_json::from_str(&aws(&get)?)
            .map_err(|error| SetupError(format!("guardrail-sweep's policy: {error}")))?;
        for statement in policy["Statement"].as_array().into_iter().flatten() {
            let sid = statement["Sid"].as_str().unwrap_or_default();
            aws(&["lambda", "remove-permission", "--function-name", "guardrail-sweep", "--statement-id", sid])?;
        }
        let get =
            ["sqs", "get-queue-url", "--queue-name", "s3-guardrail-events", "--query", "QueueUrl", "--output", "text"];
        aws(&["sqs", "set-queue-attributes", "--queue-url", &aws(&get)?, "--attributes", r#"{"Policy": ""}"#])?;
        Ok(())
    }

    /// A script of `infra/` on the local AWS.
    pub fn script(&self, name: &str) -> Command {
        self.script_as(&self.administrator, name)
    }

    /// The same, run by somebody.
    pub fn script_as(&self, keys: &Keys, name: &str) -> Command {
        let mut script = self.aws.command("bash", keys);
        script.arg(workspace().join("infra").join(name)).args(["--endpoint-url", &self.aws.http]);
        script
    }

    /// Calls a function and waits for its answer. `Err`: the function's error message.
    pub fn invoke(&self, function: &str, payload: &Value) -> Result<Result<Value, String>, SetupError> {
        let answer = std::env::temp_dir().join(format!(
            "guardrail-{}-{:?}.json",
            std::process::id(),
            std::thread::current().id()
        ));
        let file = answer.to_string_lossy();
        let text = payload.to_string();
        let called = self.aws.aws(
            &self.administrator,
            &["lambda", "invoke", "--cli-read-timeout", "0", "--function-name", function, "--payload", &text, &file],
        )?;
        let broken = |error: &dyn std::fmt::Display| SetupError(format!("{function}: {error}"));
        let body = std::fs::read_to_string(&answer).map_err(|error| broken(&error))?;
        let _ = std::fs::remove_file(&answer);
        let body: Value = serde_json::from_str(&body).map_err(|error| broken(&error))?;
        if called.contains("FunctionError") {
            return Ok(Err(body["errorMessage"].as_str().unwrap_or_default().to_owned()));
        }
        Ok(Ok(body))
    }

    /// Builds the baseline of a bucket that shares logs, inventory and trail with other buckets of the tests.
    pub fn guard(&self, bucket: &str) -> Result<Value, SetupError> {
        let shared =
            json!({"bucket": bucket, "log_bucket": "it-logs", "inventory_bucket": "it-inventory", "trail": "it-trail"});
        self.invoke("guardrail-bootstrap", &shared)?.map_err(SetupError)
    }

    /// The outcomes of all reconciles of a bucket so far, from the function's own log, as often as there were calls that
    /// led to each. Those that began with the key or the trail are left out: buckets share them, and so tests would disturb
    /// each other.
    pub fn outcomes(&self, bucket: &str) -> Vec<String> {
        let log = std::fs::read_to_string(self.aws.data.join("log")).unwrap_or_default();
        let marker = format!("handle{{bucket={bucket} trigger=\"");
        let shared = |it: &str| Control::of_event(it).is_some_and(|it| !Control::OF_BUCKET.contains(&it));
        let outcome = |line: &str| {
            let (trigger, rest) = line.split_once(&marker)?.1.split_once("\"}: reconciled outcome=")?;
            let calls = rest.split(" calls=").nth(1)?.split(' ').next()?.parse::<usize>().ok()?;
            Some(vec![rest.split(' ').next()?.to_owned(); calls.max(1)]).filter(|_| !shared(trigger))
        };
        log.lines().filter_map(outcome).flatten().collect()
    }

    /// The calls that the guardrail's own role made to change a bucket, from CloudTrail.
    pub fn own_writes(&self, bucket: &str) -> Result<Vec<String>, SetupError> {
        let own = |it: &&Value| {
            it.pointer("/userIdentity/sessionContext/sessionIssuer/arn").is_some_and(|it| *it == self.role_arn)
        };
        let events = self.events_of(bucket)?;
        Ok(events.iter().filter(own).filter_map(|it| it["eventName"].as_str().map(str::to_owned)).collect())
    }

    /// How many calls there were, by anybody, that lead to a look at a bucket.
    pub fn calls(&self, bucket: &str) -> Result<usize, SetupError> {
        let is_looked_at = |it: &&Value| it["eventName"].as_str().is_some_and(|it| Control::of_event(it).is_some());
        Ok(self.events_of(bucket)?.iter().filter(is_looked_at).count())
    }

    fn events_of(&self, bucket: &str) -> Result<Vec<Value>, SetupError> {
        let attribute = format!("AttributeKey=ResourceName,AttributeValue={bucket}");
        let events = self.aws.aws(
            &self.administrator,
            &["cloudtrail", "lookup-events", "--lookup-attributes", &attribute, "--query", "Events[].CloudTrailEvent"],
        )?;
        let broken = |error: serde_json::Error| SetupError(format!("lookup-events: {error}"));
        let events: Vec<String> = serde_json::from_str(&events).map_err(broken)?;
        events.iter().map(|it| serde_json::from_str(it)).collect::<Result<_, _>>().map_err(broken)
    }

    /// A user who may do these things to everything: who breaks things.
    pub fn user(&self, name: &str, actions: &[&str]) -> Result<Keys, SetupError> {
        self.user_with(
            name,
            &json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}),
        )
    }

    /// A user with this policy.
    pub fn user_with(&self, name: &str, policy: &Value) -> Result<Keys, SetupError> {
        let as_administrator = |arguments: &[&str]| self.aws.aws(&self.administrator, arguments);
        as_administrator(&["iam", "create-user", "--user-name", name])?;
        as_administrator(&[
            "iam",
            "put-user-policy",
            "--user-name",
            name,
            "--policy-name",
            "it",
            "--policy-document",
            &policy.to_string(),
        ])?;
        let key = as_administrator(&["iam", "create-access-key", "--user-name", name, "--query", "AccessKey"])?;
        let key: Value = serde_json::from_str(&key).map_err(|error| SetupError(format!("access key: {error}")))?;
        let text = |name: &str| key[name].as_str().unwrap_or_default().to_owned();
        Ok(Keys { id: text("AccessKeyId"), secret: text("SecretAccessKey") })
    }

    /// A queue that gets the alerts about one bucket, by their attributes; about all buckets if `None`.
    pub async fn inbox(&self, name: &str, bucket: Option<&str>) -> Result<Inbox, SetupError> {
        self.subscribed(name, &self.topic_arn, bucket).await
    }

    /// A queue that gets what the second topic is told.
    pub async fn second_inbox(&self, name: &str) -> Result<Inbox, SetupError> {
        self.subscribed(name, &self.second_topic_arn, None).await
    }

    async fn subscribed(&self, name: &str, topic: &str, bucket: Option<&str>) -> Result<Inbox, SetupError> {
        let failed =
            |error: &dyn std::error::Error| SetupError(format!("queue {name}: {}", DisplayErrorContext(error)));
        let sdk = self.aws.sdk(&self.administrator)?;
        let (sqs, sns) = (aws_sdk_sqs::Client::new(&sdk), aws_sdk_sns::Client::new(&sdk));
        let arn = format!("{}:{name}", topic.replace(":sns:", ":sqs:").rsplit_once(':').map_or("", |it| it.0));
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn,
        }]});
        let queue = sqs.create_queue().queue_name(name).attributes(QueueAttributeName::Policy, policy.to_string());
        let url = queue.send().await.map_err(|error| failed(&error))?.queue_url.unwrap_or_default();
        let mut subscribe = sns.subscribe().topic_arn(topic).protocol("sqs").endpoint(&arn);
        if let Some(bucket) = bucket {
            subscribe = subscribe.attributes("FilterPolicy", json!({"bucket": [bucket]}).to_string());
        }
        subscribe.send().await.map_err(|error| failed(&error))?;
        Ok(Inbox { sqs, url })
    }
}

/// A queue that alerts arrive in.
#[derive(Clone, Debug)]
pub struct Inbox {
    sqs: aws_sdk_sqs::Client,
    url: String,
}

/// An alert as a queue gets it.
#[derive(Clone, Debug)]
pub struct Received {
    pub subject: String,
    /// The machine-readable part.
    pub body: Value,
    pub attributes: Value,
}

impl Inbox {
    /// The next alerts, if some come within a second.
    pub async fn receive(&self) -> Vec<Received> {
        self.receive_raw().await.iter().filter_map(Received::of).collect()
    }

    async fn receive_raw(&self) -> Vec<Message> {
        let receive = self.sqs.receive_message().queue_url(&self.url).max_number_of_messages(10).wait_time_seconds(1);
        let messages = receive.send().await.ok().and_then(|it| it.messages).unwrap_or_default();
        for message in &messages {
            let delete = self.sqs.delete_message().queue_url(&self.url);
            let _ = delete.set_receipt_handle(message.receipt_handle.clone()).send().await;
        }
        messages
    }
}

impl Received {
    fn of(message: &Message) -> Option<Self> {
        let envelope: Value = serde_json::from_str(message.body()?).ok()?;
        Some(Self {
            subject: envelope["Subject"].as_str()?.to_owned(),
            body: serde_json::from_str(envelope["Message"].as_str()?).ok()?,
            attributes: envelope["MessageAttributes"].clone(),
        })
    }
}

/// Packs a binary the way `cargo lambda build --output-format zip` does; again only if it has changed.
fn zip(binary: &Path, folder: &Path) -> Result<(), SetupError> {
    const PACK: &str = "import os, sys, zipfile; binary, folder = sys.argv[1:]; os.makedirs(folder, exist_ok=True); archive = zipfile.ZipFile(folder + '/bootstrap.zip', 'w'); archive.write(binary, 'bootstrap'); archive.close()";
    run(Command::new("python3").args(["-c", PACK]).arg(binary).arg(folder)).map(drop)
}

/// Builds the functions as this program was built, and says where they are.
pub fn build() -> Result<PathBuf, SetupError> {
    build_packages(&FUNCTIONS)
}

/// Builds the programs of some packages as this program was built, and says where they are.
pub fn build_packages(packages: &[&str]) -> Result<PathBuf, SetupError> {
    let own = std::env::current_exe().map_err(|error| SetupError(format!("own path: {error}")))?;
    let folders = own.ancestors().find(|it| it.ends_with("release") || it.ends_with("debug"));
    let folder = folders.ok_or_else(|| SetupError("this program is not in a cargo target folder".to_owned()))?;
    let mut build = Command::new(env!("CARGO"));
    build.current_dir(workspace()).args(["build", "--locked", "--bins"]);
    // Together with what this program was built with, or the SDKs would be built again with other features.
    if folder.ends_with("release") {
        build.args(["--release", "--package", "guardrail-tests"]);
        for package in packages {
            build.args(["--package", package]);
        }
    } else {
        build.arg("--workspace");
    }
    let status = build.status().map_err(|error| SetupError(format!("cargo: {error}")))?;
    if !status.success() {
        return Err(SetupError(format!("cargo could not build {} ({status}); see above", packages.join(", "))));
    }
    Ok(folder.to_owned())
}
