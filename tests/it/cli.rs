//! The `guardrail` command on the local AWS: what somebody at a terminal sees, and how it ends.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    sync::LazyLock,
};

use aws_sdk_s3::{
    Client,
    types::{
        BucketVersioningStatus, CreateBucketConfiguration, Delete, ObjectIdentifier, ObjectLockLegalHold,
        ObjectLockLegalHoldStatus, ServerSideEncryption, VersioningConfiguration,
    },
};
use guardrail_core::control::table::Control;
use guardrail_tests::{
    control::{break_control, setting},
    deploy,
    local_aws::{ACCOUNT, Keys, REGION, eventually, workspace},
};
use serde_json::{Value, json};

use crate::local::{DEPLOYMENT, PATIENCE, create};

pub(crate) static BINARY: LazyLock<PathBuf> =
    LazyLock::new(|| deploy::build_packages(&["guardrail-cli"]).unwrap().join("guardrail"));

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code().unwrap(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// It failed with one line, with all of these in it, and nothing else.
    pub(crate) fn refused(&self, parts: &[&str]) {
        assert_eq!((self.code, self.stdout.as_str()), (1, ""), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        assert!(self.stderr.starts_with("error: ") && parts.iter().all(|it| self.stderr.contains(it)), "{self:?}");
    }
}

/// The command without any AWS.
fn offline(line: &str) -> Ended {
    let mut command = Command::new(&*BINARY);
    command.env_clear().env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", "/nonexistent");
    Ended::of(command.args(line.split_whitespace()))
}

/// The command as somebody; its own part of the registry keeps the deployed functions out of it.
fn command_as(keys: &Keys, line: &str) -> Command {
    let aws = &DEPLOYMENT.0.aws;
    let mut command = aws.command(&BINARY.to_string_lossy(), keys);
    command.env("SSL_CERT_FILE", &aws.ca).args(["--endpoint-url", &aws.https]);
    command.args(line.split_whitespace());
    command
}

pub(crate) fn guardrail_as(keys: &Keys, line: &str) -> Ended {
    Ended::of(&mut command_as(keys, line))
}

pub(crate) fn guardrail(line: &str) -> Ended {
    guardrail_as(&Keys::administrator(ACCOUNT), line)
}

/// A new bucket, with the caller who made it.
async fn bucket(name: &str) -> Client {
    let s3 = Client::new(&DEPLOYMENT.0.aws.sdk(&Keys::administrator(ACCOUNT)).unwrap());
    create(&s3, name).await;
    s3
}

async fn settings(s3: &Client, bucket: &str) -> Vec<String> {
    let mut settings = Vec::new();
    for control in Control::ALL {
        settings.push(setting(s3, bucket, control).await);
    }
    settings
}

/// A key of nobody's; its ARN.
fn create_key() -> String {
    let (deployment, _) = &*DEPLOYMENT;
    let create = ["kms", "create-key", "--query", "KeyMetadata.Arn", "--output", "text"];
    deployment.aws.aws(&deployment.administrator, &create).unwrap()
}

async fn suspend_versioning(s3: &Client, bucket: &str) {
    let suspended = VersioningConfiguration::builder().status(BucketVersioningStatus::Suspended).build();
    s3.put_bucket_versioning().bucket(bucket).versioning_configuration(suspended).send().await.unwrap();
}

const SHARED: &str = "--log-bucket it-cli-logs --inventory-bucket it-cli-inventory --trail it-trail";

/// The date of so many days from now.
pub(crate) fn in_days(days: i64) -> String {
    let then = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
    then.strftime("%Y-%m-%d").to_string()
}

#[tokio::test]
async fn a_first_plan_needs_nothing_and_changes_nothing() {
    let s3 = bucket("it-cli-first").await;
    let before = settings(&s3, "it-cli-first").await;
    let plan = guardrail("plan it-cli-first");
    assert_eq!((plan.code, plan.stderr.as_str()), (2, ""), "{plan:?}");
    for part in ["Not registered", "--key-arn", "~ versioning\n      + Status: \"Enabled\"", "controls to restore"] {
        assert!(plan.stdout.contains(part), "{part}: {plan:?}");
    }
    assert!(!plan.stdout.contains('\u{1b}'), "colours only on a terminal");

    let key = create_key();
    let plan = guardrail(&format!("plan it-cli-first --json --key-arn {key}"));
    let report = &plan.json()["buckets"][0];
    assert_eq!((plan.code, &report["outcome"], &report["dry_run"]), (2, &json!("drifted"), &json!(true)));
    assert!(report["findings"].to_string().contains(&key));

    let file = std::env::temp_dir().join(format!("guardrail-{}-baseline.json", std::process::id()));
    let document =
        json!({"bucket": "it-cli-first", "account": ACCOUNT, "key_arn": key, "policy": "default-encryption"});
    fs::write(&file, document.to_string()).unwrap();
    let plan = guardrail(&format!("plan it-cli-first --baseline {}", file.display()));
    assert!(plan.code == 2 && plan.stdout.contains("DenyKMSWithoutKeyId"), "{plan:?}");
    fs::write(&file, document.to_string().replace("policy", "polcy")).unwrap();
    let plan = guardrail(&format!("plan it-cli-first --baseline {}", file.display()));
    plan.refused(&["baseline.json: polcy: unknown field `polcy`, expected one of"]);
    fs::remove_file(&file).unwrap();

    assert_eq!(settings(&s3, "it-cli-first").await, before);
}

#[tokio::test]
async fn from_bootstrap_over_drift_to_reconcile_and_exemption() {
    let prefix = "--prefix /it-cli-life/buckets/";
    let s3 = bucket("it-cli-life").await;
    let dry = guardrail(&format!("bootstrap it-cli-life {SHARED} {prefix} --dry-run"));
    assert!(
        dry.code == 2 && dry.stdout.contains("AWS::SSM::Parameter /it-cli-life/buckets/it-cli-life: would be created"),
        "{dry:?}"
    );
    guardrail(&format!("reconcile it-cli-life {prefix}"))
        .refused(&["is not guarded", "guardrail bootstrap it-cli-life"]);

    let built = guardrail(&format!("bootstrap it-cli-life {SHARED} {prefix} --json"));
    assert_eq!((built.code, &built.json()["outcome"]), (0, &json!("restored")), "{built:?}");
    let plan = guardrail(&format!("plan it-cli-life {prefix}"));
    assert_eq!(
        (plan.code, plan.stdout.as_str()),
        (0, "it-cli-life  baseline: registry\n  compliant, nothing to restore\n")
    );
    let list = guardrail(&format!("list --live {prefix}"));
    assert!(list.code == 0 && list.stdout.contains("it-cli-life  compliant   enforce\n"), "{list:?}");

    suspend_versioning(&s3, "it-cli-life").await;
    break_control(&s3, "it-cli-life", Control::PublicAccessBlock).await.unwrap();
    let plan = guardrail(&format!("plan it-cli-life {prefix}"));
    assert!(plan.code == 2 && plan.stdout.ends_with("  2 controls to restore\n"), "{plan:?}");
    assert!(plan.stdout.contains("  ~ versioning\n      ~ Status: \"Suspended\" -> \"Enabled\"\n"), "{plan:?}");
    assert_eq!(guardrail(&format!("reconcile it-cli-life --dry-run {prefix}")).code, 2);

    let exempt = "exempt it-cli-life versioning --reason CHG-4711 --approved-by ann --until";
    let until = in_days(30);
    guardrail(&format!("{exempt} 2999-01-31 {prefix}")).refused(&["more than 90 days away", "nothing was changed"]);
    guardrail(&format!("{exempt} 2020-01-31 {prefix}")).refused(&["is in the past", "nothing was changed"]);
    guardrail(&format!("{exempt} soon {prefix}")).refused(&["`soon` is not a time", "nothing was changed"]);
    let exempted = guardrail(&format!("{exempt} {until} {prefix}"));
    assert!(
        exempted.code == 0 && exempted.stdout.contains("+ exemptions: {\"control\":\"versioning\""),
        "{exempted:?}"
    );
    let again = guardrail(&format!("{exempt} {until} {prefix}"));
    assert!(again.code == 0 && again.stdout.contains("unchanged"), "{again:?}");

    let restored = guardrail(&format!("reconcile it-cli-life {prefix}"));
    assert!(restored.code == 0 && restored.stdout.contains("1 control restored, 1 control exempt"), "{restored:?}");
    assert!(setting(&s3, "it-cli-life", Control::Versioning).await.contains("Suspended"));
    let list = guardrail(&format!("list --live {prefix}"));
    let line = format!("it-cli-life  compliant   enforce  versioning exempt until {}T00:00:00Z\n", in_days(31));
    assert!(list.code == 0 && list.stdout.contains(&line), "{list:?}");
}

#[tokio::test]
async fn the_list_tells_what_is_broken_and_reads_every_page() {
    let prefix = "/it-cli-list/buckets/";
    let aws = &DEPLOYMENT.0.aws;
    let put = |bucket: &str, document: &str| {
        let name = format!("{prefix}{bucket}");
        let put = ["ssm", "put-parameter", "--type", "String", "--name", &name, "--value", document];
        aws.aws(&Keys::administrator(ACCOUNT), &put).unwrap();
    };
    let key = format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab");
    for n in 0..11 {
        let bucket = format!("it-cli-gone-{n:02}");
        put(&bucket, &json!({"bucket": bucket, "account": ACCOUNT, "key_arn": key, "mode": "observe"}).to_string());
    }
    put("it-cli-broken", r#"{"bucket": "it-cli-broken", "account": "#);
    // No function looks at another registry than its own.
    let list = guardrail(&format!("list --json --prefix {prefix}"));
    let states: Vec<_> = list.json().as_array().unwrap().iter().map(|it| it["state"].clone()).collect();
    assert_eq!((list.code, states.len(), &states[0]), (1, 12, &json!("broken")), "{list:?}");
    assert!(states[1..].iter().all(|it| *it == "unknown"), "{list:?}");
    let reader = DEPLOYMENT.0.user("lister", &["ssm:GetParametersByPath"]).unwrap();
    let reads = format!("list --prefix {prefix}");
    guardrail_as(&reader, &reads)
        .refused(&["you need the permission dynamodb:BatchGetItem", "`guardrail list --live`"]);
    let administrator = Keys::administrator(ACCOUNT);
    let elsewhere = |table: &str| Ended::of(command_as(&administrator, &reads).env("GUARDRAIL_LEDGER_TABLE", table));
    elsewhere("no-such-ledger").refused(&["the ledger no-such-ledger could not be read", "`guardrail list --live`"]);
    elsewhere("a/b").refused(&["GUARDRAIL_LEDGER_TABLE: `a/b` is not a table's name"]);

    let list = guardrail(&format!("list --live --json --prefix {prefix}"));
    let rows = list.json();
    let rows: Vec<_> = rows.as_array().unwrap().iter().map(|it| (it["state"].as_str().unwrap(), it)).collect();
    assert_eq!((list.code, rows.len(), rows[0].0), (1, 12, "broken"), "{list:?}");
    assert!(rows[0].1["details"].as_str().unwrap().contains("EOF"), "{list:?}");
    assert!(rows[1..].iter().all(|it| it.0 == "gone" && it.1["mode"] == "observe"), "{list:?}");
    let empty = guardrail("list --prefix /it-cli-empty/");
    assert!(empty.stdout.contains("No bucket is registered under /it-cli-empty/"), "{empty:?}");
    // Whether people listen to this guardrail depends on the tests before.
    assert_eq!(empty.code == 1, empty.stderr.contains("the guardrail itself:"), "{empty:?}");
}

#[tokio::test]
async fn a_preflight_says_what_may_be_read() {
    bucket("it-cli-preflight").await;
    let preflight = guardrail_as(&DEPLOYMENT.1, "preflight it-cli-preflight");
    assert_eq!((preflight.code, preflight.stderr.as_str()), (1, ""), "{preflight:?}");
    for line in [
        "ok  may read lifecycle of it-cli-preflight\n",
        "ok  may read the keys' aliases\n",
        "!!  cannot read the trails (you need the permission cloudtrail:DescribeTrails)",
        "!!  cannot read a registry document (you need the permission ssm:GetParameter)",
        "??  what you may write could not be looked up (you need the permission iam:SimulatePrincipalPolicy)",
        "ok  0 of 20480 bytes of policy of it-cli-preflight\n",
        "0 of 1000 lifecycle rules of it-cli-preflight\n",
    ] {
        assert!(preflight.stdout.contains(line), "{line}: {preflight:?}");
    }
    let reader = DEPLOYMENT.0.user("preflight", &["s3:Get*", "s3:List*", "iam:SimulatePrincipalPolicy"]).unwrap();
    let reader = guardrail_as(&reader, "preflight it-cli-preflight").stdout;
    let refused = reader.lines().find(|it| it.starts_with("!!  IAM does not allow on arn:aws:s3:::it-cli-preflight: "));
    assert!(refused.is_some_and(|it| it.contains("s3:PutBucketPolicy") && !it.contains("s3:Get")), "{reader}");
    assert!(reader.contains("??  IAM does not allow on *: cloudtrail:"), "{reader}");
    let root = guardrail("preflight");
    assert!(root.stdout.contains("!!  you are the root user") && root.stdout.contains(" of 5 trails"), "{root:?}");
    assert!(root.stdout.contains(" of 10000 buckets, unless yours is another quota\n"), "{root:?}");
}

#[tokio::test]
async fn an_error_is_one_line_with_a_next_step() {
    bucket("it-cli-errors").await;
    guardrail("plan it-cli-nothing").refused(&["there is no such bucket", "guardrail bootstrap it-cli-nothing"]);
    let two = guardrail("plan --json it-cli-nothing it-cli-errors");
    let outcomes = two.json()["buckets"].as_array().unwrap().iter().map(|it| it["outcome"].clone()).collect::<Vec<_>>();
    assert_eq!((two.code, outcomes), (1, vec![json!("failed"), json!("drifted")]), "one error does not hide the other");
    guardrail("plan it-cli-errors --region us-east-1")
        .refused(&["the bucket is in eu-west-2; give --region eu-west-2"]);
    let stranger = Keys::administrator("444455556666");
    guardrail_as(&stranger, "plan it-cli-errors").refused(&["another account than yours, 444455556666"]);
    guardrail_as(&stranger, "bootstrap it-cli-errors").refused(&["another account than yours, 444455556666"]);
    guardrail("bootstrap it-cli-errors --region us-east-1").refused(&["give --region eu-west-2"]);
    guardrail_as(&stranger, "bootstrap it-cli-other --log-bucket it-cli-errors")
        .refused(&["it-cli-errors: ", "444455556666"]);
    guardrail_as(&stranger, "plan it-cli-other").refused(&["there is no such bucket"]);
    let nobody = Keys { id: "AKIAIOSFODNN7EXAMPLE".to_owned(), secret: "wrong".to_owned() };
    guardrail_as(&nobody, "plan it-cli-errors").refused(&["AWS does not know these credentials", "--profile"]);
    guardrail_as(&DEPLOYMENT.1, "list").refused(&["you need the permission ssm:GetParametersByPath"]);
    guardrail_as(&DEPLOYMENT.1, "plan it-cli-errors").refused(&["you need the permission ssm:GetParameter"]);
    guardrail(&format!("exempt it-cli-errors versioning --until {} --reason x", in_days(1)))
        .refused(&["is not guarded"]);
    guardrail("list --profile no-such-profile").refused(&["no-such-profile"]);
    offline("plan it-cli-errors").refused(&["no region: give --region"]);
    offline("plan it-cli-errors --region eu-west-2").refused(&["no credentials: give --profile"]);
    for line in [
        "plan",
        "plan Not_A_Bucket",
        "plan a-bucket --key-arn k",
        "exempt a-bucket nothing --until x",
        "list --prefix x",
        "x",
    ] {
        let ended = offline(line);
        assert!(ended.code == 1 && ended.stderr.starts_with("error: "), "{line}: {ended:?}");
    }
}

#[tokio::test]
async fn a_budget_is_made_once_and_mails_everybody_who_asked() {
    let prefix = "--prefix /it-cli-cent/buckets/";
    let bootstrap = |more: &str| {
        let built = guardrail(&format!("bootstrap it-cli-cent {SHARED} {prefix} {more}"));
        let line = built.stdout.lines().find(|it| it.contains("AWS::Budgets::Budget s3-guardrail-zero-spend"));
        line.map(|it| it.rsplit(": ").next().unwrap().to_owned())
    };
    let budgets = || {
        let aws = |arguments: &[&str]| DEPLOYMENT.0.aws.aws(&Keys::administrator(ACCOUNT), arguments).unwrap();
        aws(&["budgets", "describe-budgets", "--account-id", ACCOUNT])
    };
    assert_eq!(bootstrap(""), None);
    guardrail(&format!("bootstrap it-cli-cent {SHARED} {prefix} --zero-spend-budget ann"))
        .refused(&["zero_spend_budget: `ann` is not an e-mail address", "nothing was changed"]);
    assert_eq!(bootstrap("--zero-spend-budget ann@example.com --dry-run").as_deref(), Some("would be created"));
    assert!(!budgets().contains("zero-spend"));
    for (address, action) in [("ann", "created"), ("ann", "unchanged"), ("bob", "completed"), ("bob", "unchanged")] {
        assert_eq!(bootstrap(&format!("--zero-spend-budget {address}@example.com")).as_deref(), Some(action));
    }
    assert!(budgets().contains("zero-spend"));
    // The function's role may write this budget.
    let request = json!({
        "bucket": "it-cli-cent", "log_bucket": "it-cli-logs", "inventory_bucket": "it-cli-inventory", "trail": "it-trail",
        "zero_spend_budget": "cat@example.com",
    });
    let built = DEPLOYMENT.0.invoke("guardrail-bootstrap", &request).unwrap().unwrap();
    let budget = json!({"type": "AWS::Budgets::Budget", "id": "s3-guardrail-zero-spend", "action": "adopted"});
    assert!(built["resources"].as_array().unwrap().contains(&budget), "{built:#}");
}

/// A new guarded bucket with 300 objects, each deleted ten times, and an unfinished upload.
async fn filled(bucket: &str, more: &str) -> Client {
    let built = guardrail(&format!("bootstrap {bucket} {more} --json"));
    assert_eq!(built.code, 0, "{built:?}");
    let resources = built.json()["resources"].as_array().unwrap().clone();
    // The bucket's policy takes nothing without it.
    let kms_key = resources.iter().find(|it| it["type"] == "AWS::KMS::Key").unwrap()["id"].as_str().unwrap();
    let s3 = Client::new(&DEPLOYMENT.0.aws.sdk(&Keys::administrator(ACCOUNT)).unwrap());
    let keys: Vec<_> = (0..300).map(|n| format!("folder {}/a+b&{n}", n % 7)).collect();
    for some in keys.chunks(8) {
        let put = |key| s3.put_object().bucket(bucket).key(key).server_side_encryption(ServerSideEncryption::AwsKms);
        let puts = some.iter().map(|key| put(key).ssekms_key_id(kms_key).send());
        let puts: Vec<_> = puts.map(tokio::spawn).collect();
        for put in puts {
            put.await.unwrap().unwrap();
        }
    }
    for _ in 0..10 {
        let objects = keys.iter().map(|key| ObjectIdentifier::builder().key(key).build().unwrap()).collect();
        let delete = Delete::builder().set_objects(Some(objects)).build().unwrap();
        s3.delete_objects().bucket(bucket).delete(delete).send().await.unwrap();
    }
    let upload = s3.create_multipart_upload().bucket(bucket).key("upload");
    let upload = upload.server_side_encryption(ServerSideEncryption::AwsKms).ssekms_key_id(kms_key);
    upload.send().await.unwrap();
    s3
}

async fn exists(s3: &Client, bucket: &str) -> bool {
    s3.head_bucket().bucket(bucket).send().await.is_ok()
}

fn parameter(name: &str) -> bool {
    let get = ["ssm", "get-parameter", "--name", name];
    DEPLOYMENT.0.aws.aws(&Keys::administrator(ACCOUNT), &get).is_ok()
}

#[tokio::test]
async fn a_teardown_takes_what_is_named_and_nothing_else() {
    let prefix = "--prefix /it-down/buckets/";
    let own = "--key-alias alias/it-down --trail it-down-trail";
    let s3 = filled("it-down", &format!("{own} {prefix}")).await;
    let before = settings(&s3, "it-down").await;
    let dry = guardrail(&format!("teardown it-down --dry-run {prefix}"));
    let counts = "- bucket it-down: 300 versions, 3000 delete markers, 1 unfinished upload\n";
    assert!(dry.code == 0 && dry.stdout.contains(counts) && dry.stdout.contains("TAMPERED"), "{dry:?}");
    guardrail(&format!("teardown it-down {prefix}")).refused(&["give --yes-delete it-down", "nothing was changed"]);
    guardrail(&format!("teardown it-down --yes-delete it-dow {prefix}")).refused(&["another bucket, `it-dow`"]);
    guardrail(&format!("teardown it-down-logs --unregistered --yes-delete it-down-logs {prefix}"))
        .refused(&["it-down keeps its logs or inventory here"]);
    let logs = guardrail(&format!("teardown it-down --logs --yes-delete it-down {prefix}"));
    assert!(logs.code == 1 && logs.stderr.contains("--trail"), "{logs:?}");
    assert_eq!(settings(&s3, "it-down").await, before);
    assert_eq!(guardrail(&format!("teardown it-down --dry-run {prefix}")).stdout, dry.stdout);

    let down = guardrail(&format!("teardown it-down --yes-delete it-down {prefix}"));
    assert_eq!((down.code, down.stderr.as_str()), (0, ""), "{down:?}");
    for part in ["deleted: bucket it-down, 3300 versions in ", "left: it-down-logs: ", ":trail/it-down-trail: goes on"]
    {
        assert!(down.stdout.contains(part), "{part}: {down:?}");
    }
    assert!(!exists(&s3, "it-down").await && exists(&s3, "it-down-logs").await);
    assert!(!parameter("/it-down/buckets/it-down") && parameter("/s3-guardrail/teardown/it-down"));

    let rest =
        guardrail(&format!("teardown it-down --trail --logs --key-deletion-days 7 --yes-delete it-down {prefix}"));
    assert!(rest.code == 0 && rest.stdout.ends_with("it-down is gone\n"), "{rest:?}");
    assert!(!exists(&s3, "it-down-logs").await && !exists(&s3, "it-down-inventory").await);
    assert!(!parameter("/s3-guardrail/teardown/it-down"));
    let aws = |arguments: &[&str]| DEPLOYMENT.0.aws.aws(&Keys::administrator(ACCOUNT), arguments).unwrap();
    assert!(!aws(&["cloudtrail", "describe-trails"]).contains("it-down-trail"));
    assert!(!aws(&["kms", "list-aliases"]).contains("it-down"));
    guardrail(&format!("teardown it-down --yes-delete it-down {prefix}")).refused(&["there is no such bucket"]);
}

#[tokio::test]
async fn a_teardown_that_was_stopped_goes_on() {
    let prefix = "--prefix /it-halt/buckets/";
    let s3 = filled("it-halt", &format!("{SHARED} {prefix}")).await;
    let keys = DEPLOYMENT.0.user("it-halt", &["s3:*", "kms:*"]).unwrap();
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "s3:DeleteObject*", "Resource": "arn:aws:s3:::it-halt/*"},
    ]})
    .to_string();
    let put =
        ["iam", "put-user-policy", "--user-name", "it-halt", "--policy-name", "more", "--policy-document", &policy];
    DEPLOYMENT.0.aws.aws(&Keys::administrator(ACCOUNT), &put).unwrap();
    let line = format!("teardown it-halt --yes-delete it-halt {prefix}");
    let halted = guardrail_as(&keys, &line);
    assert!(halted.code == 1 && halted.stderr.lines().count() == 1, "{halted:?}");
    for part in ["not deleted: bucket it-halt", "AccessDenied", "run it again"] {
        assert!(halted.stderr.contains(part), "{part}: {halted:?}");
    }
    assert!(halted.stdout.contains("deleted: registry document of it-halt\n") && exists(&s3, "it-halt").await);
    let down = guardrail(&line);
    assert!(down.code == 0 && down.stdout.starts_with("it-halt  an earlier teardown goes on\n"), "{down:?}");
    assert!(!exists(&s3, "it-halt").await && exists(&s3, "it-cli-logs").await);
}

#[tokio::test]
async fn a_teardown_leaves_strangers_and_locks_alone() {
    let s3 = bucket("it-cli-plain").await;
    guardrail("teardown it-cli-plain --yes-delete it-cli-plain").refused(&["is not guarded", "--unregistered"]);
    guardrail("teardown it-cli-plane --yes-delete it-cli-plane").refused(&["there is no such bucket"]);
    let stranger = Keys::administrator("444455556666");
    guardrail_as(&stranger, "teardown it-cli-plain --unregistered --yes-delete it-cli-plain")
        .refused(&["another account than yours, 444455556666"]);
    guardrail("teardown it-cli-plain --unregistered --trail --yes-delete it-cli-plain")
        .refused(&["only a registry document says", "nothing was changed"]);
    let down = guardrail("teardown it-cli-plain --unregistered --yes-delete it-cli-plain");
    assert!(down.code == 0 && !exists(&s3, "it-cli-plain").await, "{down:?}");

    let place = CreateBucketConfiguration::builder().location_constraint(REGION.into()).build();
    let create = s3.create_bucket().bucket("it-cli-lock").object_lock_enabled_for_bucket(true);
    create.create_bucket_configuration(place).send().await.unwrap();
    for key in ["free.txt", "held.txt"] {
        s3.put_object().bucket("it-cli-lock").key(key).send().await.unwrap();
    }
    let hold = async |status| {
        let hold = ObjectLockLegalHold::builder().status(status).build();
        s3.put_object_legal_hold().bucket("it-cli-lock").key("held.txt").legal_hold(hold).send().await.unwrap();
    };
    hold(ObjectLockLegalHoldStatus::On).await;
    let line = "teardown it-cli-lock --unregistered --yes-delete it-cli-lock";
    guardrail(line).refused(&["Object Lock keeps held.txt (version ", "legal hold", "nothing was changed"]);
    hold(ObjectLockLegalHoldStatus::Off).await;
    let down = guardrail(line);
    assert!(down.code == 0 && down.stdout.contains("2 versions in"), "{down:?}");
}

#[tokio::test]
async fn a_proof_from_a_terminal_ends_as_it_came_out() {
    let prefix = "--prefix /it-cli-proof/buckets/";
    let s3 = bucket("it-cli-proof").await;
    guardrail(&format!("verify it-cli-proof {prefix}")).refused(&["is not guarded"]);
    guardrail(&format!("verify it-cli-prof {prefix}")).refused(&["there is no such bucket"]);
    let built = guardrail(&format!("bootstrap it-cli-proof {SHARED} {prefix}"));
    assert_eq!(built.code, 0, "{built:?}");
    // The local administrator is above bucket policies.
    let keys = DEPLOYMENT.0.user("it-cli-proof", &["s3:*", "kms:*"]).unwrap();
    let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
    let put = ["iam", "put-user-policy", "--user-name", "it-cli-proof", "--policy-name", "more", "--policy-document"];
    DEPLOYMENT.0.aws.aws(&Keys::administrator(ACCOUNT), &[&put[..], &[&policy.to_string()]].concat()).unwrap();

    let proof = guardrail_as(&keys, &format!("verify it-cli-proof {prefix}"));
    assert_eq!((proof.code, proof.stderr.as_str()), (0, ""), "{proof:?}");
    assert!(proof.stdout.starts_with("# Secure baseline of `it-cli-proof`: proven\n"), "{proof:?}");
    assert!(!proof.stdout.contains(ACCOUNT));
    let proof = guardrail_as(&keys, &format!("verify it-cli-proof --no-redact --json {prefix}"));
    assert!(proof.code == 0 && proof.json()["account"] == ACCOUNT, "{proof:?}");

    suspend_versioning(&s3, "it-cli-proof").await;
    let proof = guardrail_as(&keys, &format!("verify it-cli-proof --json {prefix}"));
    assert_eq!((proof.code, &proof.json()["outcome"]), (2, &json!("disproven")), "{proof:?}");
}

/// All versions, delete markers and uploads: how many.
async fn kept(s3: &Client, bucket: &str) -> usize {
    let versions = s3.list_object_versions().bucket(bucket).send().await.unwrap();
    let uploads = s3.list_multipart_uploads().bucket(bucket).send().await.unwrap();
    versions.versions().len() + versions.delete_markers().len() + uploads.uploads().len()
}

#[tokio::test]
async fn a_first_run_answers_and_leaves_nothing_even_when_the_one_before_was_killed() {
    const BUCKET: &str = "it-cli-throwaway";
    let line = format!("first-run {BUCKET} --yes --wait 1");
    guardrail(&line).refused(&["there is no such bucket", "aws s3api create-bucket"]);
    let s3 = bucket(BUCKET).await;
    suspend_versioning(&s3, BUCKET).await;
    guardrail(&format!("first-run {BUCKET}")).refused(&["--yes"]);
    let before = settings(&s3, BUCKET).await;

    let keys = Keys::administrator(ACCOUNT);
    let mut killed = command_as(&keys, &line).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = async || (kept(&s3, BUCKET).await > 0).then_some(());
    eventually("the first run has written something", PATIENCE, begun).await.unwrap();
    killed.kill().unwrap();
    killed.wait().unwrap();

    let run = guardrail(&line);
    // What the local AWS answers otherwise than is believed is no failure of the command.
    assert!([0, 2].contains(&run.code), "{run:?}");
    let marks: Vec<_> = run.stdout.lines().filter_map(|it| it.strip_prefix("| U")).collect();
    assert_eq!(marks.len(), 18, "{run:?}");
    assert!(!run.stdout.contains("| denied |"), "{run:?}");
    for (mark, answer) in [("15 ", "10 of 10 suspensions were read back"), ("4 ", "of 3 calls")] {
        assert!(marks.iter().any(|it| it.starts_with(mark) && it.contains(answer)), "U{mark}: {run:?}");
    }
    for secret in [BUCKET, ACCOUNT, "arn:"] {
        assert!(!run.stdout.contains(secret), "{secret}: {run:?}");
    }
    assert_eq!((kept(&s3, BUCKET).await, settings(&s3, BUCKET).await), (0, before));
    s3.put_object().bucket(BUCKET).key("theirs").send().await.unwrap();
    guardrail(&line).refused(&["it is not empty", "theirs", "nothing was changed"]);
}

#[test]
fn a_replay_names_every_call_and_every_broken_file() {
    let folder = std::env::temp_dir().join(format!("guardrail-{}-replay", std::process::id()));
    fs::create_dir_all(folder.join("2026/11")).unwrap();
    fs::create_dir_all(folder.join("CloudTrail-Digest")).unwrap();
    let mut records = Vec::new();
    let mut names: Vec<_> = fs::read_dir(workspace().join("events")).unwrap().map(|it| it.unwrap().path()).collect();
    names.sort();
    for path in names.iter().filter(|it| it.extension().is_some_and(|it| it == "json")) {
        let event: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        records.extend(event.get("detail").filter(|it| it.get("eventName").is_some()).cloned());
    }
    let log = json!({ "Records": records }).to_string();
    let lines: String = records.iter().map(|it| format!("{it}\n")).collect();
    fs::write(folder.join("a.json"), &log).unwrap();
    fs::write(folder.join("lines.jsonl"), lines).unwrap();
    fs::write(folder.join("notes.txt"), "not looked at").unwrap();
    fs::write(folder.join("CloudTrail-Digest/d.json"), r#"{"logFiles": []}"#).unwrap();
    let gz = folder.join("2026/11/b.json");
    fs::write(&gz, &log).unwrap();
    assert!(Command::new("gzip").arg(&gz).status().unwrap().success());
    let folder_text = folder.to_string_lossy().into_owned();

    let replay = offline(&format!("replay --json {folder_text}"));
    assert_eq!((replay.code, replay.stderr.as_str()), (0, ""), "{replay:?}");
    let hits: Vec<Value> = replay.stdout.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    assert!(hits.len().is_multiple_of(3) && hits.len() / 3 > 20, "each file is the same: {}", hits.len());
    let of = |event: &str| hits.iter().find(|it| it["event"] == event).unwrap();
    assert_eq!(
        (&of("PutBucketAcl")["control"], &of("PutBucketAcl")["bucket"]),
        (&json!("object-ownership"), &json!("acme-data"))
    );
    assert_eq!(of("DeleteBucket")["control"], Value::Null);
    assert!(hits.iter().any(|it| it["failed"] == "AccessDenied"));
    assert!(hits.iter().all(|it| it["event"] != "PutObject"));
    assert_eq!(of("StopLogging")["control"], "trail");
    let one = offline(&format!("replay --bucket no-such-bucket {folder_text}"));
    let total = records.len() * 3;
    assert_eq!(one.stdout, format!("0 of {total} calls in 3 files would have called the guardrail\n"));

    let whole = fs::read(folder.join("2026/11/b.json.gz")).unwrap();
    fs::write(folder.join("2026/11/b.json.gz"), &whole[..whole.len() / 2]).unwrap();
    fs::write(folder.join("a.json"), &log[..log.len() / 2]).unwrap();
    fs::write(folder.join("html.json"), "<html>").unwrap();
    fs::write(folder.join("other.json"), "{}").unwrap();
    fs::write(folder.join("plain.json.gz"), "not compressed at all").unwrap();
    let replay = offline(&format!("replay {folder_text} /nonexistent.json"));
    assert_eq!(replay.code, 1, "{replay:?}");
    let complaints: Vec<_> = replay.stderr.lines().collect();
    for (file, problem) in [
        ("b.json.gz", "ends in the middle, after "),
        ("a.json", "ends in the middle, after "),
        ("html.json", "is not JSON"),
        ("other.json", "is not a CloudTrail log file"),
        ("plain.json.gz", "cannot be read further, after 0 whole records: invalid gzip header"),
        ("/nonexistent.json", "No such file"),
    ] {
        let told = complaints.iter().filter(|it| it.contains(&format!("{file}: ")) && it.contains(problem)).count();
        assert_eq!(told, 1, "{file}: {replay:?}");
    }
    assert_eq!(complaints.len(), 6, "{replay:?}");
    assert!(replay.stdout.contains("2026-11-23T09:06:10Z  PutBucketVersioning "), "what is whole is told");
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_needs_no_aws_works_without() {
    let help = offline("--help");
    assert!(help.code == 0 && help.stdout.contains("Examples:") && help.stdout.contains("replay"), "{help:?}");
    for command in [
        "plan",
        "bootstrap",
        "reconcile",
        "list",
        "exempt",
        "replay",
        "cost",
        "teardown",
        "verify",
        "preflight",
        "completions",
    ] {
        let help = offline(&format!("{command} --help"));
        assert!(help.code == 0 && help.stdout.contains("Example"), "{help:?}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(offline(&format!("completions {shell}")).stdout.contains("guardrail"), "{shell}");
    }
    let cost = offline("cost --json --buckets 40");
    let cost = cost.json();
    assert!(cost["dollars_a_month"].as_f64().unwrap() > 1.0 && cost["usage"]["buckets"] == 40, "{cost}");
}
