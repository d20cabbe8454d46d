//! CloudFormation and the guardrail at the same rules, and two guardrails in one account.

use std::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::Duration,
};

use aws_sdk_s3::Client;
use guardrail_core::{
    decide::rules::STACK,
    value::own_parts::{EVENTS, REMEDIATE, SWEEP},
};
use guardrail_tests::{
    deploy::{self, Deployment},
    local_aws::{ACCOUNT, LocalAws, eventually, run, workspace},
};
use serde_json::{Value, json};

use crate::local::create;

const OTHER_REGION: &str = "eu-west-1";
const PATIENCE: Duration = Duration::from_secs(60);

/// A deployment of its own: the stacks of the others stay.
struct Place(Deployment);

impl Place {
    fn new(folder: &str) -> Self {
        let binaries = deploy::build().unwrap();
        let aws = LocalAws::start(&workspace().join("target/local-aws").join(folder)).unwrap();
        Self(Deployment::new(aws, &binaries).unwrap())
    }

    fn aws(&self, arguments: &[&str]) -> String {
        self.0.aws.aws(&self.0.administrator, arguments).unwrap()
    }

    fn rules(&self) -> Vec<String> {
        let list = ["events", "list-rules", "--name-prefix", "s3-guardrail-", "--query", "Rules[].Name"];
        serde_json::from_str(&self.aws(&list)).unwrap()
    }

    /// What the sweep says of the guardrail's own parts.
    fn sweep(&self) -> Value {
        self.0.invoke(SWEEP, &json!({})).unwrap().unwrap()["guardrail"]["findings"].clone()
    }

    fn sweep_finds_only_that_nobody_listens(&self) {
        let found = self.sweep();
        let problems: Vec<_> = found.as_array().unwrap().iter().map(|it| &it["problem"]).collect();
        assert_eq!(problems, ["nobody has a confirmed subscription, so nobody reads this"; 2], "{found}");
    }

    /// Does something while one sweep follows the other; all that they say.
    fn under_sweeps<T>(&self, what: impl FnOnce() -> T) -> (T, String) {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let sweeps = scope.spawn(|| {
                let mut said = String::new();
                while !done.load(SeqCst) {
                    said += &self.sweep().to_string();
                }
                said
            });
            let outcome = what();
            done.store(true, SeqCst);
            (outcome, sweeps.join().unwrap())
        })
    }

    /// Deploys a template of the wiring; an error when CloudFormation could not.
    fn deploy_wiring(&self, name: &str, template: &str) -> Result<String, String> {
        let file = self.0.aws.data.join(name);
        std::fs::write(&file, template).unwrap();
        let file = file.to_string_lossy();
        let deploy = ["cloudformation", "deploy", "--stack-name", STACK, "--template-file", &file];
        self.0.aws.aws(&self.0.administrator, &deploy).map_err(|error| error.to_string())
    }

    /// A script, for another region.
    fn elsewhere(&self, script: &str, options: &[&str]) -> String {
        let mut script = self.0.script(script);
        run(script.args(options).env("AWS_REGION", OTHER_REGION).env("AWS_DEFAULT_REGION", OTHER_REGION)).unwrap()
    }
}

#[tokio::test]
async fn nothing_that_the_guardrail_puts_back_stops_cloudformation() {
    let place = Place::new("stacks");
    let all = place.rules();
    assert_eq!(all.len(), 8);

    place.under_sweeps(|| {
        place.aws(&["cloudformation", "delete-stack", "--stack-name", STACK]);
        place.aws(&["cloudformation", "wait", "stack-delete-complete", "--stack-name", STACK]);
    });
    assert_eq!(place.rules(), Vec::<String>::new(), "what CloudFormation deletes stays deleted");
    assert!(place.sweep().to_string().contains("the stack s3-guardrail-wiring does not have it: infra/deploy.sh"));

    // The functions of the earlier deployment are still there.
    let (deployed, _) = place.under_sweeps(|| place.0.deploy(&[]));
    let said = deployed.unwrap();
    assert!(
        said.contains("Rules, permissions, trail and topics") || said.contains("Without a guarded bucket"),
        "{said}"
    );
    assert_eq!(place.rules(), all);

    // A version of the wiring with fewer rules than the functions know, and the way back to it.
    let whole = std::fs::read_to_string(workspace().join("infra/wiring.yaml")).unwrap();
    let (start, rest) = whole.split_once("  KeyChanged:\n").unwrap();
    let earlier = format!("{start}  TrailChanged:\n{}", rest.split_once("  TrailChanged:\n").unwrap().1);
    let without: Vec<_> = all.iter().filter(|it| *it != "s3-guardrail-key-changed").cloned().collect();
    place.under_sweeps(|| place.deploy_wiring("earlier.yaml", &earlier)).0.unwrap();
    assert_eq!(place.rules(), without);
    let too_long = "x".repeat(2048);
    let refused = format!(
        "{whole}\n  Refused:\n    Type: AWS::Events::Rule\n    DependsOn: KeyChanged\n    Properties: {{EventPattern: {{source: [{too_long}]}}}}\n"
    );
    let (outcome, _) = place.under_sweeps(|| place.deploy_wiring("refused.yaml", &refused));
    assert!(outcome.is_err(), "{outcome:?}");
    assert_eq!(place.rules(), without, "what is rolled back stays so");
    place.under_sweeps(|| place.0.deploy(&[])).0.unwrap();
    assert_eq!(place.rules(), all);

    // And what somebody else deletes is put back.
    place.aws(&["events", "remove-targets", "--rule", "s3-guardrail-key-changed", "--ids", "function"]);
    place.aws(&["events", "delete-rule", "--name", "s3-guardrail-key-changed"]);
    place.sweep();
    assert_eq!(place.rules(), all);
}

/// The wiring of before there was a queue of events: rules invoked guardrail-remediate.
fn direct(wiring: &str) -> String {
    let without = |template: &str, resource: &str| {
        let (before, rest) = template.split_once(&format!("  {resource}:\n")).unwrap();
        format!("{before}{}", rest.split_once("\n\n").unwrap().1)
    };
    let direct = without(&without(wiring, "ArrivedEvents"), "Wiring").replace("    DependsOn: ArrivedEvents\n", "");
    let place = "${AWS::Region}:${AWS::AccountId}";
    let function = format!("lambda:{place}:function:guardrail-remediate\n");
    let direct = direct.replace(&format!("sqs:{place}:s3-guardrail-events\n"), &function);
    let permissions = QUEUED.iter().enumerate().map(|(n, rule)| {
        format!(
            "\n  Permission{n}:\n    Type: AWS::Lambda::Permission\n    Properties:\n      FunctionName: guardrail-remediate\n      \
             Action: lambda:InvokeFunction\n      Principal: events.amazonaws.com\n      \
             SourceArn: !Sub arn:${{AWS::Partition}}:events:{place}:rule/s3-guardrail-{rule}\n"
        )
    });
    direct + &permissions.collect::<String>()
}

const QUEUED: [&str; 6] =
    ["bucket-changed", "key-changed", "trail-changed", "tampered", "beside-tampered", "tampering-denied"];

#[tokio::test]
async fn an_upgrade_from_rules_that_invoked_the_function_loses_no_event_and_is_not_undone_half_way() {
    let place = Place::new("upgrade");
    let wiring = std::fs::read_to_string(workspace().join("infra/wiring.yaml")).unwrap();
    place.deploy_wiring("direct.yaml", &direct(&wiring)).unwrap();
    let reserve = ["lambda", "put-function-concurrency", "--function-name", REMEDIATE];
    place.aws(&[&reserve[..], &["--reserved-concurrent-executions", "5"]].concat());
    place.0.guard("it-upgrade").unwrap();
    let leading_to = |target: &str| {
        let arn = format!("arn:aws:{}", target.replace("@", &format!("eu-west-2:{ACCOUNT}")));
        let list = ["events", "list-rule-names-by-target", "--target-arn", &arn, "--query", "length(RuleNames)"];
        place.aws(&list)
    };
    let (function, queue) = (format!("lambda:@:function:{REMEDIATE}"), format!("sqs:@:{EVENTS}"));
    assert_eq!((leading_to(&function), leading_to(&queue)), ("6".to_owned(), "0".to_owned()));
    place.sweep_finds_only_that_nobody_listens();

    // New buckets all the while: each is an event of its own, and each must be looked at.
    let s3 = Client::new(&place.0.aws.sdk(&place.0.administrator).unwrap());
    let stream = async |done: &AtomicBool| {
        let mut created = Vec::new();
        while !done.load(SeqCst) {
            let name = format!("it-upgrade-{}", created.len());
            create(&s3, &name).await;
            created.push(name);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        created
    };
    let done = AtomicBool::new(false);
    let (created, said) = thread::scope(|scope| {
        let stream = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(stream(&done))
        });
        let (_, said) = place.under_sweeps(|| {
            // One that fails goes back whole.
            let refused = format!(
                "{wiring}\n  Refused:\n    Type: AWS::Events::Rule\n    DependsOn: Wiring\n    Properties: {{EventPattern: {{source: [{}]}}}}\n",
                "x".repeat(2048)
            );
            assert!(place.deploy_wiring("refused.yaml", &refused).is_err());
            assert_eq!((leading_to(&function), leading_to(&queue)), ("6".to_owned(), "0".to_owned()));
            place.0.deploy(&[]).unwrap();
        });
        done.store(true, SeqCst);
        (stream.join().unwrap(), said)
    });
    assert!(!said.contains("restored"), "no target was led back while it was on its way: {said}");
    assert_eq!((leading_to(&function), leading_to(&queue)), ("0".to_owned(), "6".to_owned()));
    place.sweep_finds_only_that_nobody_listens();
    assert!(created.len() > 20, "{created:?}");
    for bucket in &created {
        let looked = async || (!place.0.outcomes(bucket).is_empty()).then_some(());
        eventually(bucket, PATIENCE, looked).await.unwrap();
    }
    let dead =
        ["sqs", "get-queue-attributes", "--queue-url", &place.0.dead_letter_queue_url, "--attribute-names", "All"];
    let dead = place.aws(&[&dead[..], &["--query", "Attributes.ApproximateNumberOfMessages"]].concat());
    assert_eq!(dead, "\"0\"");
    let reserved = ["lambda", "get-function-concurrency", "--function-name", REMEDIATE];
    assert!(!place.aws(&reserved).contains("Reserved"), "what the earlier deployment reserved is released");
}

#[tokio::test]
async fn two_regions_of_an_account_have_a_guardrail_each_that_minds_its_own_roles() {
    let place = Place::new("regions");
    let boundary = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
    place.aws(&["iam", "create-policy", "--policy-name", "boundary", "--policy-document", &boundary.to_string()]);
    let boundary = format!("arn:aws:iam::{ACCOUNT}:policy/boundary");
    let zips = place.0.aws.data.join("zips").to_string_lossy().into_owned();
    place.elsewhere("deploy.sh", &["--binaries", &zips, "--permissions-boundary", &boundary]);
    for role in ["remediate", "sweep", "bootstrap", "verify", "forward"] {
        let get = |region: &str| {
            let role = format!("s3-guardrail-{role}-{region}");
            place.aws(&[
                "iam",
                "get-role",
                "--role-name",
                &role,
                "--output",
                "text",
                "--query",
                "Role.PermissionsBoundary",
            ])
        };
        assert!(get(OTHER_REGION).contains(&boundary), "{role}");
        assert_eq!(get("eu-west-2"), "None", "{role}");
    }

    // Without a trail that logs, nobody hears of anything.
    place.0.guard("it-regions").unwrap();
    let policy = ["--role-name", "s3-guardrail-bootstrap-eu-west-1", "--policy-name", "more"];
    let nothing = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::nothing"}]});
    place.aws(&[&["iam", "put-role-policy"][..], &policy, &["--policy-document", &nothing.to_string()]].concat());
    let told = |region: &str| {
        let logs = ["logs", "filter-log-events", "--log-group-name", "/aws/lambda/guardrail-remediate", "--region"];
        place.aws(&[&logs[..], &[region]].concat()).contains("role s3-guardrail-bootstrap-eu-west-1")
    };
    eventually("told where the role is", PATIENCE, async || told(OTHER_REGION).then_some(())).await.unwrap();
    assert!(!told("eu-west-2"), "the other guardrail minds its own roles");

    place.elsewhere("destroy.sh", &["--yes"]);
    place.aws(&["iam", "get-role", "--role-name", "s3-guardrail-forward-eu-west-2"]);
    assert_eq!(place.rules().len(), 8);
}
