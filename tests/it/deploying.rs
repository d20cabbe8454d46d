//! deploy.sh and destroy.sh: as the deployer of infra/DEPLOYER.md, after sabotage, interrupted, and where something stands in the
//! way.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use guardrail_tests::{
    deploy::{self, Deployment, FUNCTIONS},
    fake::LEDGER,
    local_aws::{ACCOUNT, Keys, LocalAws, run, workspace},
};
use serde_json::Value;

/// The policy of the page for whoever deploys.
fn deployers_policy() -> Value {
    let page = fs::read_to_string(workspace().join("infra/DEPLOYER.md")).unwrap();
    let blocks = page.split("```json").skip(1).filter_map(|it| it.split("```").next());
    let policies: Vec<_> = blocks.filter(|it| it.contains("\"Statement\"")).collect();
    let [policy] = policies[..] else { panic!("{} policies on the page", policies.len()) };
    serde_json::from_str(policy).unwrap()
}

/// A local AWS of its own, somebody who may do what infra/DEPLOYER.md says and nothing else, and what is deployed by then.
struct Place {
    deployment: Deployment,
    deployer: Keys,
}

impl Place {
    fn new() -> Self {
        let binaries = deploy::build().unwrap();
        let data = workspace().join("target/local-aws/deploying");
        let aws = LocalAws::start_with(&data, &["--concurrency-limit", "10"]).unwrap();
        let deployment = Deployment::prepared(aws, &binaries).unwrap();
        let deployer = deployment.user_with("deployer", &deployers_policy()).unwrap();
        Self { deployment, deployer }
    }

    fn deploy(&self, options: &[&str]) -> String {
        run(self.deployment.deploy_as(&self.deployer).args(options)).unwrap()
    }

    fn refused(&self, options: &[&str]) -> String {
        let error = run(self.deployment.deploy_as(&self.deployer).args(options)).unwrap_err().to_string();
        assert!(!error.contains("1/5"), "{error}");
        error
    }

    /// Deploys until it says this, and is then ended as Ctrl-C or a lost connection would.
    fn interrupted(&self, options: &[&str], at: &str) {
        let mut deploy = self.deployment.deploy_as(&self.deployer);
        let mut deploying = deploy.args(options).stdout(Stdio::piped()).process_group(0).spawn().unwrap();
        let mut lines = BufReader::new(deploying.stdout.take().unwrap()).lines();
        assert!(lines.any(|it| it.unwrap().contains(at)), "never came to {at}");
        run(Command::new("kill").args(["-KILL", "--", &format!("-{}", deploying.id())])).unwrap();
        deploying.wait().unwrap();
    }

    fn aws(&self, arguments: &[&str]) -> String {
        self.deployment.aws.aws(&self.deployment.administrator, arguments).unwrap()
    }

    fn ask(&self, arguments: &[&str], query: &str) -> String {
        self.aws(&[arguments, &["--output", "json", "--query", query]].concat())
    }

    fn text(&self, arguments: &[&str], query: &str) -> String {
        self.aws(&[arguments, &["--output", "text", "--query", query]].concat())
    }

    fn role(&self, function: &str) -> String {
        let arn = self.text(&["lambda", "get-function-configuration", "--function-name", function], "Role");
        arn.rsplit('/').next().unwrap().to_owned()
    }

    fn queue(&self, name: &str) -> String {
        self.text(&["sqs", "get-queue-url", "--queue-name", name], "QueueUrl")
    }

    fn mappings(&self) -> String {
        let list = ["lambda", "list-event-source-mappings", "--function-name", "guardrail-remediate"];
        self.text(&list, "EventSourceMappings[].UUID")
    }

    /// All that is deployed, as far as it must be again what it was. Ids that AWS gives are left out.
    fn everything(&self, [topic, second]: [&str; 2]) -> BTreeMap<String, Value> {
        let mut all = BTreeMap::new();
        let mut add = |name: &str, arguments: &[&str], query: &str| {
            let found = serde_json::from_str(&self.ask(arguments, query)).unwrap();
            all.insert(name.to_owned(), unfolded(found));
        };
        for topic in [topic, second] {
            add(
                &format!("subscriptions of {topic}"),
                &["sns", "list-subscriptions-by-topic", "--topic-arn", topic],
                "Subscriptions[].[Protocol, Endpoint]",
            );
            add(
                topic,
                &["sns", "get-topic-attributes", "--topic-arn", topic],
                "Attributes.[Policy, KmsMasterKeyId || '']",
            );
        }
        add(
            "mappings",
            &["lambda", "list-event-source-mappings", "--function-name", "guardrail-remediate"],
            "EventSourceMappings[].[State, BatchSize, ScalingConfig]",
        );
        add(
            "alarms",
            &["cloudwatch", "describe-alarms"],
            "MetricAlarms[].[AlarmName, ActionsEnabled, AlarmActions, Threshold]",
        );
        add("rules", &["events", "list-rules"], "Rules[].[Name, State, EventPattern, ScheduleExpression]");
        add("logs", &["logs", "describe-log-groups"], "logGroups[].[logGroupName, retentionInDays, kmsKeyId]");
        add("aliases", &["kms", "list-aliases"], "Aliases[].[AliasName, TargetKeyId]");
        add(
            "prefix",
            &["cloudformation", "describe-stacks", "--stack-name", "s3-guardrail-foundation"],
            "Stacks[0].Parameters[].[ParameterKey, ParameterValue]",
        );
        let table = ["--table-name", LEDGER];
        add(
            "ledger",
            &[&["dynamodb", "describe-table"][..], &table].concat(),
            "Table.[KeySchema, BillingModeSummary.BillingMode, DeletionProtectionEnabled]",
        );
        add(
            "recovery",
            &[&["dynamodb", "describe-continuous-backups"][..], &table].concat(),
            "ContinuousBackupsDescription.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus",
        );
        let arn = self.text(&[&["dynamodb", "describe-table"][..], &table].concat(), "Table.TableArn");
        add("ledger policy", &["dynamodb", "get-resource-policy", "--resource-arn", &arn], "Policy");
        for queue in ["s3-guardrail-events", "s3-guardrail-work", "s3-guardrail-dead-letters"] {
            let get = ["sqs", "get-queue-attributes", "--attribute-names", "All", "--queue-url", &self.queue(queue)];
            add(queue, &get, "Attributes.[Policy, VisibilityTimeout, MessageRetentionPeriod, RedrivePolicy]");
        }
        for function in FUNCTIONS {
            let get = ["lambda", "get-function", "--function-name", function];
            add(
                function,
                &get,
                "[Configuration.[Role, MemorySize, Timeout, Environment, Architectures, CodeSha256], Tags, Concurrency]",
            );
            let role = self.role(function);
            add(
                &format!("{function} boundary"),
                &["iam", "get-role", "--role-name", &role],
                "Role.PermissionsBoundary",
            );
            add(
                &format!("{function} attached"),
                &["iam", "list-attached-role-policies", "--role-name", &role],
                "AttachedPolicies",
            );
            let names = self.text(&["iam", "list-role-policies", "--role-name", &role], "PolicyNames");
            for name in names.split_whitespace() {
                let get = ["iam", "get-role-policy", "--role-name", &role, "--policy-name", name];
                add(&format!("{function} policy {name}"), &get, "PolicyDocument");
            }
        }
        all
    }
}

#[test]
fn a_deployer_with_the_pages_policy_deploys_goes_on_keeps_what_was_told_puts_back_all_and_removes_it() {
    let place = Place::new();
    let boundary =
        place.text(&["iam", "create-policy", "--policy-name", "bound", "--policy-document", ALL], "Policy.Arn");
    let told = [
        "--email",
        "somebody@example.com",
        "--parameter-prefix",
        "/own/buckets/",
        "--log-retention-days",
        "90",
        "--permissions-boundary",
        &boundary,
    ];

    // A dry run says all and does nothing.
    let dry = place.deploy(&[&told[..], &["--dry-run"]].concat());
    for command in ["cloudformation deploy", "lambda deploy", "lambda invoke"] {
        assert!(dry.lines().any(|it| it.contains("would run: ") && it.contains(command)), "{command}: {dry}");
    }
    assert!(!dry.contains("deployed") && !dry.contains("put back"), "{dry}");
    assert_eq!(place.text(&["cloudformation", "list-stacks"], "length(StackSummaries)"), "0");

    // Interrupted twice, it goes on.
    place.interrupted(&told, "Waiting for stack create");
    place.interrupted(&told, "guardrail-remediate: deployed");
    place.deploy(&told);

    let stack = ["cloudformation", "describe-stacks", "--stack-name", "s3-guardrail-foundation"];
    let topic = |name: &str| place.text(&stack, &format!("Stacks[0].Outputs[?OutputKey=='{name}'] | [0].OutputValue"));
    let (topic, second) = (topic("TopicArn"), topic("SecondTopicArn"));
    let topics = [topic.as_str(), second.as_str()];
    let before = place.everything(topics);
    let gets_mail =
        |topic: &str| before[&format!("subscriptions of {topic}")].to_string().contains("somebody@example.com");
    assert!(topics.into_iter().all(gets_mail) && before["logs"].to_string().contains("90"), "{before:?}");
    assert!(
        before["guardrail-sweep boundary"].to_string().contains(&boundary)
            && before["guardrail-sweep"].to_string().contains("/own/")
    );

    // Told nothing, it keeps what it was told.
    let said = place.deploy(&[]);
    assert_eq!(said.matches(": unchanged").count(), 4, "{said}");
    assert_eq!(said.matches("No changes to deploy").count(), 3, "{said}");
    assert!(!said.contains("put back"), "{said}");
    assert_same(&place.everything(topics), &before);
    let refused = place.refused(&["--parameter-prefix", "/s3-guardrail/buckets/"]);
    assert!(refused.contains("/own/buckets/") && refused.contains("--change-parameter-prefix"), "{refused}");

    let expected = sabotage(&place, topics);
    let said = place.deploy(&[]);
    for part in expected {
        assert!(said.lines().any(|it| it.contains("put back") && it.contains(&part)), "{part} in {said}");
    }
    assert_same(&place.everything(topics), &before);

    // What the functions are built for is changed by a switch alone.
    let said = place.deploy(&["--arm64"]);
    assert_eq!(said.matches("architecture").count(), 4, "{said}");
    assert_eq!(place.deploy(&[]).matches(": unchanged").count(), 4);

    let said = run(place.deployment.script_as(&place.deployer, "destroy.sh").arg("--yes")).unwrap();
    assert!(said.contains("Removed."), "{said}");
    assert!(said.contains("s3-guardrail-ledger is no longer protected against deletion"), "{said}");
    let tables = &["dynamodb", "list-tables"];
    for gone in [&["lambda", "list-functions"][..], &["sqs", "list-queues"], &["events", "list-rules"], tables] {
        assert!(!place.aws(gone).contains("guardrail"), "{gone:?}");
    }
}

const ALL: &str = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}"#;
const NOTHING: &str = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}"#;

/// The same, with the documents that are texts in it as documents: their spelling says nothing.
fn unfolded(value: Value) -> Value {
    match value {
        Value::String(text) if text.starts_with('{') => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        Value::Array(items) => items.into_iter().map(unfolded).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, it)| (name, unfolded(it))).collect(),
        other => other,
    }
}

/// Nothing but what differs is shown.
fn assert_same(found: &BTreeMap<String, Value>, wanted: &BTreeMap<String, Value>) {
    let names: BTreeSet<_> = wanted.keys().chain(found.keys()).collect();
    let parts = names.into_iter().map(|it| (it, found.get(it), wanted.get(it)));
    let differing: Vec<_> = parts.filter(|(_, found, wanted)| found != wanted).collect();
    assert!(differing.is_empty(), "{differing:#?}");
}

/// Breaks every part there is, each in a way that the guardrail does not notice by itself; what must be said of it.
fn sabotage(place: &Place, topics: [&str; 2]) -> Vec<String> {
    let aws = |arguments: &[&str]| drop(place.aws(arguments));
    for topic in topics {
        let list = ["sns", "list-subscriptions-by-topic", "--topic-arn", topic];
        aws(&["sns", "unsubscribe", "--subscription-arn", &place.text(&list, "Subscriptions[0].SubscriptionArn")]);
        let open = format!(
            r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Principal": "*", "Action": "sns:*", "Resource": "{topic}"}}]}}"#
        );
        let set = ["sns", "set-topic-attributes", "--topic-arn", topic, "--attribute-name"];
        aws(&[&set[..], &["Policy", "--attribute-value", &open]].concat());
    }
    // So that it falls silent with the key.
    let set = ["sns", "set-topic-attributes", "--topic-arn", topics[1], "--attribute-name", "KmsMasterKeyId"];
    aws(&[&set[..], &["--attribute-value", "alias/s3-guardrail"]].concat());
    place.deployment.deafen().unwrap();
    for mapping in place.mappings().split_whitespace() {
        aws(&["lambda", "update-event-source-mapping", "--uuid", mapping, "--no-enabled"]);
    }
    aws(&["ssm", "delete-parameter", "--name", "/s3-guardrail/wiring"]);
    let [remediate, sweep, verify] = ["remediate", "sweep", "verify"].map(|it| place.role(&format!("guardrail-{it}")));
    let put = |role: &str, name: &str| {
        aws(&["iam", "put-role-policy", "--role-name", role, "--policy-name", name, "--policy-document", NOTHING]);
    };
    put(&sweep, "sweep");
    put(&verify, "more");
    aws(&["iam", "delete-role-policy", "--role-name", &remediate, "--policy-name", "remediate"]);
    aws(&["iam", "delete-role-permissions-boundary", "--role-name", &sweep]);
    aws(&[
        "iam",
        "attach-role-policy",
        "--role-name",
        &verify,
        "--policy-arn",
        "arn:aws:iam::aws:policy/ReadOnlyAccess",
    ]);
    for queue in ["s3-guardrail-events", "s3-guardrail-work", "s3-guardrail-dead-letters"] {
        let attributes = r#"{"Policy": "", "VisibilityTimeout": "1", "MessageRetentionPeriod": "60"}"#;
        aws(&["sqs", "set-queue-attributes", "--queue-url", &place.queue(queue), "--attributes", attributes]);
    }
    let arn = place.text(&["dynamodb", "describe-table", "--table-name", LEDGER], "Table.TableArn");
    aws(&["dynamodb", "delete-resource-policy", "--resource-arn", &arn]);
    aws(&["dynamodb", "update-table", "--table-name", LEDGER, "--no-deletion-protection-enabled"]);
    let forgets = ["--point-in-time-recovery-specification", "PointInTimeRecoveryEnabled=false"];
    aws(&[&["dynamodb", "update-continuous-backups", "--table-name", LEDGER][..], &forgets].concat());
    aws(&["cloudwatch", "delete-alarms", "--alarm-names", "s3-guardrail-no-sweep"]);
    aws(&["cloudwatch", "disable-alarm-actions", "--alarm-names", "s3-guardrail-failures"]);
    aws(&["logs", "delete-log-group", "--log-group-name", "/aws/lambda/guardrail-verify"]);
    aws(&[
        "logs",
        "put-retention-policy",
        "--log-group-name",
        "/aws/lambda/guardrail-remediate",
        "--retention-in-days",
        "1",
    ]);
    let other = place.deployment.aws.data.join("other.zip");
    zip(&other);
    let zip = format!("fileb://{}", other.display());
    aws(&["lambda", "update-function-code", "--function-name", "guardrail-verify", "--zip-file", &zip]);
    let arn = format!("arn:aws:iam::{ACCOUNT}:role/{sweep}");
    aws(&["lambda", "update-function-configuration", "--function-name", "guardrail-bootstrap", "--role", &arn]);
    let environment = r#"{"Variables": {"GUARDRAIL_PARAMETER_PREFIX": "/nowhere/"}}"#;
    aws(&[
        "lambda",
        "update-function-configuration",
        "--function-name",
        "guardrail-sweep",
        "--environment",
        environment,
        "--timeout",
        "1",
    ]);
    aws(&[
        "lambda",
        "put-function-concurrency",
        "--function-name",
        "guardrail-remediate",
        "--reserved-concurrent-executions",
        "0",
    ]);
    aws(&["events", "disable-rule", "--name", "s3-guardrail-sweep"]);
    aws(&["events", "remove-targets", "--rule", "s3-guardrail-tampered", "--ids", "function"]);
    aws(&["events", "delete-rule", "--name", "s3-guardrail-tampered"]);
    let key = place.text(&["kms", "describe-key", "--key-id", "alias/s3-guardrail"], "KeyMetadata.KeyId");
    aws(&["kms", "schedule-key-deletion", "--key-id", &key]);
    aws(&["kms", "delete-alias", "--alias-name", "alias/s3-guardrail"]);
    [
        "Subscription Email",
        "Subscription EmailOfBroken",
        "Lambda::Permission RemediateTamperedMayInvoke",
        "Lambda::Permission SweepMayInvoke",
        "EventSourceMapping ArrivedEvents",
        "EventSourceMapping SweptBuckets",
        "SSM::Parameter Wiring",
        "Role SweepRole",
        "Role VerifyRole",
        "Role RemediateRole",
        "ReadOnlyAccess",
        "Queue Events",
        "Queue Work",
        "Queue DeadLetters",
        "policy of s3-guardrail-events",
        "policy of s3-guardrail-work",
        "policy of s3-guardrail-dead-letters",
        "policy of s3-guardrail-alerts",
        "policy of s3-guardrail-broken",
        "s3-guardrail-broken was encrypted",
        "Table Ledger",
        "policy of s3-guardrail-ledger",
        "s3-guardrail-no-sweep",
        "s3-guardrail-failures",
        "/aws/lambda/guardrail-verify",
        "/aws/lambda/guardrail-remediate",
        "guardrail-verify: ",
        "guardrail-bootstrap: ",
        "timeout, environment",
        "concurrency",
        "Rule Sweep",
        "Rule Tampered",
        "key of alerts",
        "alias/s3-guardrail",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// A function's code that is another one.
fn zip(file: &Path) {
    const PACK: &str = "import sys, zipfile; archive = zipfile.ZipFile(sys.argv[1], 'w'); archive.writestr('bootstrap', 'nothing'); archive.close()";
    run(Command::new("python3").args(["-c", PACK]).arg(file)).unwrap();
}

/// Answers as AWS would in an account where the foundation is in this state, and notes what is asked to change anything.
const AWS: &str = r#"#!/usr/bin/env bash
here=$(dirname "$0")
absent() { echo "An error occurred (ValidationError): Stack does not exist" >&2 && exit 254; }
case "$*" in
  --version) echo "aws-cli/2.20.0 Python/3.12" && exit ;;
  *--generate-cli-skeleton*) [[ ! -f $here/old ]] || exit 252; exit ;;
  *get-caller-identity*) printf '111122223333\tarn:aws:iam::111122223333:user/somebody\n' && exit ;;
  *"describe-stacks --stack-name s3-guardrail-foundation"*)
    [[ -f $here/state ]] || absent
    case "$*" in
      *StackStatus*) cat "$here/state" ;;
      *ParameterValue*) printf 'ParameterPrefix\t/s3-guardrail/buckets/\n' ;;
      *) echo ParameterPrefix ;;
    esac
    exit
    ;;
  *describe-stacks* | *"describe-stack-resource "*) absent ;;
  *get-function* | *list-event-source-mappings*) echo "ResourceNotFoundException" >&2 && exit 254 ;;
  *describe-table*)
    [[ ! -f $here/protected ]] || { echo True && exit; }
    echo "ResourceNotFoundException" >&2 && exit 254
    ;;
  *list-topics*) cat "$here/topics" 2> /dev/null || echo None; exit ;;
  *list-* | *describe-log-groups*) echo None && exit ;;
  *describe-stack-events*) printf 'Work\tThe queue is not empty enough\n' && exit ;;
  *detect-stack-drift*) echo detection && exit ;;
  *describe-stack-drift-detection-status*) echo DETECTION_COMPLETE && exit ;;
  *describe-stack-resource-drifts*) printf 'AWS::SQS::Queue\tWork\tMODIFIED\n' && exit ;;
esac
echo "$*" >> "$here/changes"
case "$*" in
  *continue-update-rollback*) echo UPDATE_ROLLBACK_COMPLETE > "$here/state" ;;
  *delete-stack*) [[ -f $here/stays ]] || rm "$here/state" ;;
  *stack-delete-complete*) [[ ! -f $here/stays ]] ;;
  *update-table* | *table-exists*) ;;
  *) echo "this far" >&2 && exit 1 ;;
esac
"#;

/// What deploy.sh says, and what it asks to change, where the machine's `aws` is the one above with these files beside.
fn with_stub(name: &str, files: &[(&str, &str)], options: &[&str]) -> (String, Vec<String>) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    let write = |file: PathBuf, content: &str, mode: u32| {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    };
    for (program, content) in [("aws", AWS), ("cargo-lambda", "#!/bin/sh\nexit 1\n"), ("sleep", "#!/bin/sh\n")] {
        write(folder.join(program), content, 0o755);
    }
    for (file, content) in files {
        write(folder.join(file), content, 0o644);
    }
    for function in FUNCTIONS {
        write(folder.join("zips").join(function).join("bootstrap.zip"), "", 0o644);
    }
    let mut deploy = Command::new("bash");
    let found_first = r#"PATH="$1:$PATH" && shift && exec bash "$@""#;
    deploy.args(["-c", found_first, "bash"]).arg(&folder).arg(workspace().join("infra/deploy.sh"));
    deploy.arg("--binaries").arg(folder.join("zips")).args(options);
    let output = deploy.env("AWS_REGION", "eu-west-2").output().unwrap();
    assert!(!output.status.success(), "the stub lets nobody come to an end");
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    let changes = fs::read_to_string(folder.join("changes")).unwrap_or_default();
    (said, changes.lines().map(str::to_owned).collect())
}

#[test]
fn a_stack_in_progress_or_failed_is_named_with_the_way_on_before_anything_is_created() {
    let first = |changes: &[String], words: &str| changes.first().is_some_and(|it| it.contains(words));
    for state in ["CREATE_IN_PROGRESS", "UPDATE_ROLLBACK_IN_PROGRESS", "DELETE_IN_PROGRESS"] {
        let (said, changes) = with_stub("in-progress", &[("state", state)], &[]);
        assert!(said.contains(&format!("still {state}")) && said.contains("run this again"), "{said}");
        assert_eq!(changes, Vec::<String>::new(), "{said}");
    }
    for state in ["CREATE_FAILED", "DELETE_FAILED", "REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"] {
        let (said, changes) = with_stub("failed", &[("state", state)], &[]);
        assert!(said.contains(&format!("s3-guardrail-foundation is {state}")), "{said}");
        assert!(first(&changes, "delete-stack") && changes[2].contains("cloudformation deploy"), "{changes:?}");
        let (said, changes) = with_stub("failed-for-good", &[("state", state), ("stays", "")], &[]);
        assert!(
            said.contains("Work") && said.contains("not empty enough") && said.contains("FORCE_DELETE_STACK"),
            "{said}"
        );
        assert_eq!(changes.len(), 2, "{changes:?}");
    }
    let (said, changes) = with_stub("protected", &[("state", "ROLLBACK_FAILED"), ("protected", "")], &[]);
    assert!(said.contains("s3-guardrail-ledger is no longer protected against deletion"), "{said}");
    assert!(first(&changes, "update-table") && changes[2].contains("delete-stack"), "{changes:?}");
    let (said, changes) = with_stub("rollback", &[("state", "UPDATE_ROLLBACK_FAILED")], &[]);
    assert!(first(&changes, "continue-update-rollback") && said.contains("--resources-to-skip"), "{said}");
}

#[test]
fn what_is_left_of_an_earlier_attempt_is_named_with_the_way_on_before_anything_is_created() {
    let (said, changes) = with_stub("leftovers", &[("topics", "aws sns delete-topic --topic-arn\tarn:aws:sns:x")], &[]);
    assert!(
        said.contains("left from an earlier attempt") && said.contains("delete-topic --topic-arn arn:aws:sns:x"),
        "{said}"
    );
    assert_eq!(changes, Vec::<String>::new());
}

#[test]
fn an_aws_cli_that_cannot_revert_drift_is_named_and_the_drift_too() {
    let (said, changes) = with_stub("old", &[("old", ""), ("state", "CREATE_COMPLETE")], &[]);
    assert!(said.contains("aws-cli/2.20.0") && said.contains("2.31.38"), "{said}");
    assert!(!changes.iter().any(|it| it.contains("REVERT_DRIFT")), "{changes:?}");
    assert!(changes.iter().any(|it| it.contains("cloudformation deploy")), "all else is done: {changes:?}");
    assert!(said.contains("not put back: AWS::SQS::Queue Work: is modified"), "{said}");
}

#[test]
fn a_missing_tool_is_named() {
    for tool in ["aws", "cargo-lambda"] {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("without-{tool}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        for there in ["aws", "cargo-lambda", "cut", "dirname", "basename", "bash"] {
            let real = ["/usr/bin", "/bin"].iter().map(|it| Path::new(it).join(there)).find(|it| it.exists());
            let real = real.unwrap_or_else(|| PathBuf::from("/bin/true"));
            if there != tool {
                std::os::unix::fs::symlink(real, folder.join(there)).unwrap();
            }
        }
        let mut deploy = Command::new(folder.join("bash"));
        let output = deploy
            .arg(workspace().join("infra/deploy.sh"))
            .env("PATH", &folder)
            .env("AWS_REGION", "eu-west-2")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && said.contains("deploy.sh: needs ") && said.contains("https://"),
            "{tool}: {said}"
        );
    }
}
