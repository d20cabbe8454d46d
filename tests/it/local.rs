//! The real functions on the local AWS, with IAM enforced: what a user would notice.

use std::{collections::BTreeSet, process::Command, sync::LazyLock, time::Duration};

use aws_sdk_s3::{
    Client,
    types::{BucketCannedAcl, CreateBucketConfiguration, Grant},
};
use guardrail_core::control::table::Control;
use guardrail_tests::{
    control::{break_control, setting},
    deploy::{self, Deployment, Inbox, Received},
    local_aws::{ACCOUNT, Keys, LocalAws, REGION, eventually, run, workspace},
};
use serde_json::{Value, json};

use crate::cli::{guardrail, guardrail_as};

/// How long a restore, an alert or a dead letter may take. Two cores run everything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// One deployment for all tests; each has buckets of its own.
pub(crate) static DEPLOYMENT: LazyLock<(Deployment, Keys)> = LazyLock::new(|| {
    let binaries = deploy::build().unwrap();
    let aws = LocalAws::start(&workspace().join("target/local-aws/tests")).unwrap();
    let deployment = Deployment::new(aws, &binaries).unwrap();
    // Its trail is what makes events flow at all.
    deployment.guard("it-first").unwrap();
    let user = deployment.user("mallory", &["s3:*", "kms:*"]).unwrap();
    (deployment, user)
});

/// A guarded bucket, somebody who may change it, and the queue where alerts about it arrive.
pub(crate) struct Guarded {
    pub(crate) deployment: &'static Deployment,
    pub(crate) bucket: &'static str,
    pub(crate) s3: Client,
    pub(crate) inbox: Inbox,
    /// How often the function had looked at it when all was set up.
    looked_before: usize,
}

impl Guarded {
    pub(crate) async fn new(bucket: &'static str) -> Self {
        let mut it = Self::unguarded(bucket).await;
        let built = it.deployment.guard(bucket).unwrap();
        // Its creation and each write of the bootstrap are events, too.
        let controls =
            Control::OF_BUCKET.into_iter().filter(|it| outcomes(&built).iter().any(|finding| finding.0 == it.id()));
        let events = 1 + controls.map(|it| it.vocabulary().writes().count()).sum::<usize>();
        it.looked(events).await;
        it.looked_before = events;
        it
    }

    pub(crate) async fn unguarded(bucket: &'static str) -> Self {
        let (deployment, user) = &*DEPLOYMENT;
        let s3 = Client::new(&deployment.aws.sdk(user).unwrap());
        let inbox = deployment.inbox(bucket, Some(bucket)).await.unwrap();
        Self { deployment, bucket, s3, inbox, looked_before: 0 }
    }

    pub(crate) async fn create(&self) {
        create(&self.s3, self.bucket).await;
    }

    /// Replaces the lifecycle rules, as the account's administrator.
    pub(crate) fn put_lifecycle(&self, rules: Value) {
        let rules = json!({"Rules": rules}).to_string();
        let put = [
            "s3api",
            "put-bucket-lifecycle-configuration",
            "--bucket",
            self.bucket,
            "--lifecycle-configuration",
            &rules,
        ];
        self.deployment.aws.aws(&self.deployment.administrator, &put).unwrap();
    }

    /// Everything that the controls are about, as S3 tells it.
    pub(crate) async fn settings(&self) -> Vec<String> {
        let mut settings = Vec::new();
        for control in Control::OF_BUCKET {
            settings.push(setting(&self.s3, self.bucket, control).await);
        }
        settings
    }

    pub(crate) async fn restored_to(&self, before: &[String]) {
        eventually("restored", PATIENCE, async || (self.settings().await == before).then_some(())).await.unwrap();
    }

    /// The next alert that `wanted` accepts.
    pub(crate) async fn alert(&self, wanted: impl Fn(&Received) -> bool) -> Received {
        let found = eventually("told", PATIENCE, async || self.inbox.receive().await.into_iter().find(&wanted)).await;
        found.unwrap()
    }

    /// Waits until the function has looked at the bucket this often since it was set up; the outcomes.
    pub(crate) async fn looked(&self, times: usize) -> Vec<String> {
        let looked = async || {
            Some(self.deployment.outcomes(self.bucket).split_off(self.looked_before)).filter(|it| it.len() >= times)
        };
        eventually("looked at", PATIENCE, looked).await.unwrap()
    }

    pub(crate) fn remediate(&self, input: &Value) -> Result<Value, String> {
        self.deployment.invoke("guardrail-remediate", input).unwrap()
    }

    pub(crate) async fn put_policy(&self, statements: Value) {
        let policy = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
        self.s3.put_bucket_policy().bucket(self.bucket).policy(policy).send().await.unwrap();
    }

    pub(crate) async fn policy(&self) -> Value {
        let policy = self.s3.get_bucket_policy().bucket(self.bucket).send().await.unwrap();
        serde_json::from_str(policy.policy().unwrap()).unwrap()
    }

    pub(crate) fn put_registry(&self, document: &Value) {
        let name = format!("/s3-guardrail/buckets/{}", self.bucket);
        let put = [
            "ssm",
            "put-parameter",
            "--overwrite",
            "--type",
            "String",
            "--name",
            &name,
            "--value",
            &document.to_string(),
        ];
        self.deployment.aws.aws(&self.deployment.administrator, &put).unwrap();
    }

    pub(crate) fn registry(&self) -> Value {
        let name = format!("/s3-guardrail/buckets/{}", self.bucket);
        let get = ["ssm", "get-parameter", "--name", &name, "--query", "Parameter.Value"];
        let text: String =
            serde_json::from_str(&self.deployment.aws.aws(&self.deployment.administrator, &get).unwrap()).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

/// A sample event, about another bucket than the sample's.
pub(crate) fn sample(name: &str, bucket: &str) -> Value {
    let text = std::fs::read_to_string(workspace().join("events").join(name)).unwrap();
    serde_json::from_str(&text.replace("acme-data", bucket)).unwrap()
}

pub(crate) fn outcomes(body: &Value) -> BTreeSet<(String, String)> {
    let text = |it: &Value| it.as_str().unwrap().to_owned();
    body["findings"].as_array().unwrap().iter().map(|it| (text(&it["control"]), text(&it["outcome"]))).collect()
}

async fn check_restored(control: Control, bucket: &'static str) {
    let it = Guarded::new(bucket).await;
    let before = it.settings().await;
    break_control(&it.s3, bucket, control).await.unwrap();
    it.restored_to(&before).await;

    let alert = it.alert(|it| outcomes(&it.body).contains(&(control.id().to_owned(), "restored".to_owned()))).await;
    assert!(
        alert.subject.starts_with(&format!("[RESTORED] {bucket}: {control} changed by user/mallory")),
        "{}",
        alert.subject
    );
    assert!(alert.subject.len() <= 100);
    let body = &alert.body;
    assert_eq!(body["schema"], "s3-guardrail/1");
    assert_eq!(body["severity"], "WARNING");
    assert_eq!((body["account"].as_str(), body["region"].as_str()), (Some(ACCOUNT), Some(REGION)));
    assert_eq!(body["outcome"], "restored");
    assert_eq!(body["trigger"]["actor"], format!("arn:aws:iam::{ACCOUNT}:user/mallory"));
    assert_ne!(body["findings"][0]["observed"], body["findings"][0]["desired"]);
    assert_eq!(alert.attributes["severity"]["Value"], "WARNING");
    assert_eq!(alert.attributes["control"], json!({"Type": "String.Array", "Value": json!([control]).to_string()}));

    // The guardrail's own writes come back as events, and are the proof that they held.
    let writes = control.vocabulary().writes().count();
    let mut looked = it.looked(1 + writes).await;
    looked.sort();
    let (restored, compliant) = looked.split_last().unwrap();
    assert!(restored == "Restored" && compliant.iter().all(|it| it == "Compliant"), "{looked:?}");
    let mut own = it.deployment.own_writes(bucket).unwrap();
    own.sort();
    assert_eq!(own.len(), writes, "{own:?}");
}

macro_rules! restored {
    ($($name:ident: $control:expr, $bucket:literal;)*) => {$(
        #[tokio::test]
        async fn $name() {
            check_restored($control, $bucket).await;
        }
    )*};
}

restored! {
    deleted_public_access_block_is_restored_and_told: Control::PublicAccessBlock, "it-public-access-block";
    enabled_acls_are_restored_and_told: Control::ObjectOwnership, "it-object-ownership";
    deleted_bucket_policy_is_restored_and_told: Control::BucketPolicy, "it-bucket-policy";
    weakened_default_encryption_is_restored_and_told: Control::DefaultEncryption, "it-default-encryption";
    suspended_versioning_is_restored_and_told: Control::Versioning, "it-versioning";
    deleted_lifecycle_is_restored_and_told: Control::Lifecycle, "it-lifecycle";
    deleted_inventory_is_restored_and_told: Control::Inventory, "it-inventory-control";
}

#[tokio::test]
async fn everything_broken_at_once_comes_back() {
    let it = Guarded::new("it-all-at-once").await;
    let before = it.settings().await;
    for control in Control::OF_BUCKET {
        break_control(&it.s3, it.bucket, control).await.unwrap();
    }
    it.restored_to(&before).await;
    let mut untold: BTreeSet<_> = Control::OF_BUCKET.iter().map(|it| it.id().to_owned()).collect();
    let told = eventually("told of all", PATIENCE, async || {
        for alert in it.inbox.receive().await {
            for (control, outcome) in outcomes(&alert.body) {
                if outcome == "restored" {
                    untold.remove(&control);
                }
            }
        }
        untold.is_empty().then_some(())
    });
    told.await.unwrap();
}

#[tokio::test]
async fn a_restore_that_broke_something_is_listed_rolled_back_and_not_made_again() {
    let it = Guarded::new("it-rollback").await;
    let registered = it.registry();
    let mut observing = registered.clone();
    observing["mode"] = json!("observe");
    it.put_registry(&observing);
    let own = json!({"Sid": "Own", "Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")}, "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{}/*", it.bucket)});
    let acl = async || {
        let acl = it.s3.get_bucket_acl().bucket(it.bucket).send().await.unwrap();
        let grant = |it: &Grant| format!("{:?} {:?}", it.grantee().unwrap().uri(), it.permission());
        acl.grants().iter().map(grant).collect::<BTreeSet<_>>()
    };
    // The event of its first write may come before its last one, and restore the rest: then it is not one record.
    let restored_at_once = async || {
        it.put_registry(&observing);
        let looked = it.looked(0).await.len();
        for control in Control::OF_BUCKET {
            break_control(&it.s3, it.bucket, control).await.unwrap();
        }
        it.put_policy(json!([own])).await;
        let acl_of_another = it.s3.put_bucket_acl().bucket(it.bucket).acl(BucketCannedAcl::from("log-delivery-write"));
        acl_of_another.send().await.unwrap();
        // In observe mode, or what restores them is not one reconcile but many.
        it.looked(looked + Control::OF_BUCKET.len() + 2).await;
        let broken = (it.settings().await, acl().await);
        it.put_registry(&registered);
        let report = it.remediate(&json!({"bucket": it.bucket})).unwrap();
        assert_eq!(report["outcome"], "restored", "{report}");
        let newest = guardrail("history it-rollback --json --limit 1").json();
        let whole = newest[0]["findings"].as_array().unwrap().len() == Control::OF_BUCKET.len();
        whole.then_some((report, broken))
    };
    let (report, (broken, broken_acl)) = eventually("restored at once", PATIENCE, restored_at_once).await.unwrap();
    let restored = it.settings().await;
    let record = report["record"].as_str().unwrap();
    it.alert(|it| it.body["record"] == record).await;

    let history = guardrail("history it-rollback --limit 1");
    assert!(
        history.code == 0 && history.stdout.ends_with(&format!("inventory restored\n    {record}\n")),
        "{history:?}"
    );
    assert_eq!(guardrail("history it-rollback --json").json()[0]["findings"].as_array().unwrap().len(), 7);

    let rollback = format!("rollback {record} --reason INC-4711 --until");
    let until = crate::cli::in_days(30);
    guardrail(&format!("{rollback} 2020-01-31 --yes")).refused(&["is in the past", "nothing was changed"]);
    guardrail(&format!("{rollback} {until}")).refused(&["give --yes", "nothing was changed"]);
    guardrail(&format!("{rollback} {until} --yes --control trail")).refused(&["nothing was written of trail then"]);
    let dry = guardrail(&format!("{rollback} {until} --dry-run"));
    assert!(dry.code == 0 && dry.stdout.contains("~ Status: \"Enabled\" -> \"Suspended\""), "{dry:?}");
    assert_eq!((it.settings().await, it.registry()), (restored, registered));

    let read = ["s3:Get*", "s3:List*", "kms:Decrypt", "ssm:GetParameter", "ssm:PutParameter"];
    let some = ["s3:PutBucketPublicAccessBlock", "s3:PutLifecycleConfiguration"];
    let few_rights = it.deployment.user("rollback", &[&read[..], &some[..]].concat()).unwrap();
    let partly = guardrail_as(&few_rights, &format!("{rollback} {until} --yes"));
    assert!(partly.code == 1 && partly.stdout.contains("lifecycle: as before, exempt until 2"), "{partly:?}");
    for part in ["versioning (you need the permission s3:PutBucketVersioning)", "; inventory", "run it again"] {
        assert!(partly.stderr.contains(part), "{part}: {partly:?}");
    }

    let done = guardrail(&format!("{rollback} {until} --yes"));
    assert!(done.code == 0 && done.stdout.contains("inventory: as before, exempt until 2"), "{done:?}");
    assert_eq!((it.settings().await, acl().await), (broken.clone(), broken_acl));
    assert_eq!(it.registry()["exemptions"].as_array().unwrap().len(), 7);
    let report = it.remediate(&json!({"bucket": it.bucket})).unwrap();
    assert!(report["outcome"] == "drifted" && outcomes(&report).iter().all(|it| it.1 == "exempt"), "{report}");
    assert_eq!(it.settings().await, broken);

    let again = guardrail(&format!("{rollback} {until} --yes"));
    assert!(again.code == 0 && again.stdout.contains("  bucket-policy: is as it was before\n"), "{again:?}");
    let mut newer = own.clone();
    newer["Sid"] = json!("Newer");
    it.put_policy(json!([own, newer])).await;
    let refused = guardrail(&format!("{rollback} {until} --yes"));
    assert!(refused.code == 1 && refused.stdout.contains("bucket-policy: changed again since then"), "{refused:?}");
    assert_eq!(it.policy().await["Statement"].as_array().unwrap().len(), 2);
    assert_eq!(guardrail(&format!("{rollback} {until} --yes --overwrite")).code, 0);
    assert_eq!(it.settings().await, broken);
    guardrail(&format!("{rollback} {until} --yes").replace(".json", "x.json")).refused(&["NoSuchKey"]);
}

#[tokio::test]
async fn events_that_come_twice_or_late_cause_no_write() {
    let it = Guarded::new("it-duplicates").await;
    for name in
        ["put-bucket-policy.json", "put-bucket-policy.json", "delete-bucket-lifecycle.json", "put-bucket-policy.json"]
    {
        let report = it.remediate(&sample(name, it.bucket)).unwrap();
        assert_eq!((&report["outcome"], &report["findings"]), (&json!("compliant"), &json!([])), "{report}");
        assert_eq!(report["notified"], false);
    }
    assert_eq!(it.deployment.own_writes(it.bucket).unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn an_unguarded_bucket_is_left_alone() {
    let it = Guarded::unguarded("it-unguarded").await;
    it.create().await;
    break_control(&it.s3, it.bucket, Control::PublicAccessBlock).await.unwrap();
    let before = it.settings().await;
    // Its creation and its change.
    assert!(it.looked(2).await.iter().all(|it| it == "Unguarded"));
    assert_eq!(it.remediate(&json!({"bucket": it.bucket})).unwrap()["outcome"], "unguarded");
    assert_eq!(it.settings().await, before);
    assert!(it.inbox.receive().await.is_empty());
}

#[tokio::test]
async fn a_bucket_of_another_account_is_left_alone() {
    let it = Guarded::unguarded("it-foreign").await;
    let stranger = Keys::administrator("444455556666");
    let s3 = Client::new(&it.deployment.aws.sdk(&stranger).unwrap());
    create(&s3, it.bucket).await;
    break_control(&s3, it.bucket, Control::PublicAccessBlock).await.unwrap();
    let before = setting(&s3, it.bucket, Control::PublicAccessBlock).await;
    let key = format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab");
    it.put_registry(&json!({"bucket": it.bucket, "account": "444455556666", "key_arn": key}));
    let error = it.remediate(&json!({"bucket": it.bucket})).unwrap_err();
    assert!(error.contains("guards no bucket of 444455556666"), "{error}");
    assert_eq!(it.alert(|_| true).await.body["severity"], "CRITICAL");
    assert_eq!(setting(&s3, it.bucket, Control::PublicAccessBlock).await, before);
}

#[tokio::test]
async fn a_deleted_bucket_is_told() {
    let it = Guarded::new("it-deleted").await;
    it.s3.delete_bucket().bucket(it.bucket).send().await.unwrap();
    let alert = it.alert(|it| it.body["outcome"] == "gone").await;
    assert_eq!(alert.subject, "[GONE] it-deleted: the guarded bucket was deleted by user/mallory");
    assert_eq!(alert.body["severity"], "CRITICAL");
    assert_eq!(alert.attributes["severity"]["Value"], "CRITICAL");
    // Whoever lists the buckets sees it, and since when people know, without a call to it.
    let is_listed = async || {
        let rows = guardrail("list --json").json();
        let row = rows.as_array().unwrap().iter().find(|row| row["bucket"] == it.bucket).cloned()?;
        Some(row).filter(|it| it["state"] == "gone" && it["open"][0]["told"].is_string() && it["looked"].is_string())
    };
    eventually("listed", PATIENCE, is_listed).await.unwrap();
}

#[tokio::test]
async fn settings_of_the_owner_that_say_the_same_cause_no_write() {
    let it = Guarded::new("it-resembling").await;
    let objects = format!("arn:aws:s3:::{}/*", it.bucket);
    let mut statements = it.policy().await["Statement"].as_array().unwrap().clone();
    statements.retain(|it| it["Sid"] != "DenyInsecureTransport");
    // As Terraform's modules write it.
    statements.push(json!({
        "Sid": "denyInsecureTransport", "Effect": "Deny", "Principal": {"AWS": ["*"]}, "Action": ["s3:*"],
        "Resource": [objects, objects.trim_end_matches("/*")], "Condition": {"Bool": {"aws:SecureTransport": ["false"]}},
    }));
    it.put_policy(json!(statements)).await;
    it.put_lifecycle(json!([
        {"ID": "terraform-1", "Status": "Enabled", "Filter": {"Prefix": ""}, "NoncurrentVersionExpiration": {"NoncurrentDays": 30}},
        {"ID": "terraform-2", "Status": "Enabled", "Filter": {}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}},
        {"ID": "archive", "Status": "Enabled", "Filter": {"Prefix": "old/"}, "Transitions": [{"Days": 90, "StorageClass": "GLACIER"}]},
    ]));
    assert_eq!(it.looked(2).await, ["Compliant", "Compliant"]);
    assert_eq!(it.deployment.own_writes(it.bucket).unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_public_statement_of_the_owner_fails_alone_and_is_named() {
    let it = Guarded::unguarded("it-public-policy").await;
    it.create().await;
    break_control(&it.s3, it.bucket, Control::PublicAccessBlock).await.unwrap();
    let objects = format!("arn:aws:s3:::{}/*", it.bucket);
    it.put_policy(
        json!({"Sid": "Website", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": objects}),
    )
    .await;
    let before = it.policy().await;
    let key = format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab");
    it.put_registry(&json!({"bucket": it.bucket, "account": ACCOUNT, "key_arn": key}));
    let error = it.remediate(&json!({"bucket": it.bucket})).unwrap_err();
    assert!(error.contains("bucket-policy") && error.contains("statement `Website`"), "{error}");

    let alert = it.alert(|it| it.body["outcome"] == "failed").await;
    assert_eq!(alert.body["severity"], "CRITICAL");
    let (failed, restored): (BTreeSet<_>, BTreeSet<_>) =
        outcomes(&alert.body).into_iter().filter(|it| it.0 != "kms-key").partition(|it| it.1 == "failed");
    assert_eq!(failed, BTreeSet::from([("bucket-policy".to_owned(), "failed".to_owned())]));
    // A new bucket has its ACLs off already.
    assert_eq!(
        restored.iter().map(|it| it.0.as_str()).collect::<Vec<_>>(),
        ["default-encryption", "inventory", "lifecycle", "public-access-block", "versioning"]
    );
    assert_eq!(it.policy().await, before, "nothing of the owner's is lost");
}

#[tokio::test]
async fn a_policy_without_room_fails_alone_ends_as_a_dead_letter_and_is_redriven_when_mended() {
    let it = Guarded::new("it-long-policy").await;
    let account = format!("arn:aws:iam::{ACCOUNT}:root");
    let prefixes: Vec<_> = (0..510).map(|n| format!("arn:aws:s3:::{}/{n:06}/*", it.bucket)).collect();
    it.put_policy(json!([{"Sid": "Long", "Effect": "Allow", "Principal": {"AWS": account}, "Action": "s3:GetObject", "Resource": prefixes}])).await;
    let alert = it.alert(|it| it.body["outcome"] == "failed").await;
    let error = alert.body["findings"][0]["error"].as_str().unwrap();
    assert!(error.contains("S3 allows 20480") && error.contains("statement `Long`"), "{error}");

    let sdk = it.deployment.aws.sdk(&it.deployment.administrator).unwrap();
    let sqs = aws_sdk_sqs::Client::new(&sdk);
    let dead = eventually("in the dead-letter queue", PATIENCE, async || {
        let receive = sqs.receive_message().queue_url(&it.deployment.dead_letter_queue_url).visibility_timeout(0);
        let messages = receive.max_number_of_messages(10).send().await.unwrap().messages.unwrap_or_default();
        messages.iter().find_map(|message| message.body().filter(|text| text.contains(it.bucket)).map(str::to_owned))
    });
    let letter: Value = serde_json::from_str(&dead.await.unwrap()).unwrap();
    assert_eq!(letter["detail"]["eventName"], "PutBucketPolicy");
    assert_eq!(it.policy().await["Statement"].as_array().unwrap().len(), 1, "nothing of the owner's is lost");

    let there = crate::cli::guardrail("redrive --dry-run");
    assert!(there.stdout.contains("PutBucketPolicy it-long-policy"), "{there:?}");
    let few = json!([{"Sid": "Short", "Effect": "Allow", "Principal": {"AWS": account}, "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{}/a", it.bucket)}]);
    it.put_policy(few).await;
    let again = crate::cli::guardrail("redrive");
    assert!(again.stdout.contains("PutBucketPolicy it-long-policy  by guardrail-remediate"), "{again:?}");
}

#[tokio::test]
async fn bootstrap_goes_on_from_wherever_it_stopped_and_then_changes_nothing() {
    let (deployment, _) = &*DEPLOYMENT;
    let bucket = "it-resumed";
    let request = json!({"bucket": bucket, "key_alias": "alias/it-resumed"});
    let any = "*".to_owned();
    let s3 = |name: &str| format!("arn:aws:s3:::{name}");
    let trail = format!("arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/{bucket}-trail");
    let parameter = format!("arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/s3-guardrail/buckets/{bucket}");
    let administrator = |arguments: &[&str]| deployment.aws.aws(&deployment.administrator, arguments).unwrap();
    let role = ["--role-name", "s3-guardrail-bootstrap-eu-west-2", "--policy-name", "stopped"];
    for (action, resource) in [
        ("kms:EnableKeyRotation", any.clone()),
        ("kms:CreateAlias", any),
        ("s3:CreateBucket", s3("it-resumed-logs")),
        ("s3:PutBucketPolicy", s3("it-resumed-logs")),
        ("s3:CreateBucket", s3("it-resumed-inventory")),
        ("s3:CreateBucket", s3("it-resumed")),
        ("s3:PutEncryptionConfiguration", s3("it-resumed")),
        ("cloudtrail:CreateTrail", trail.clone()),
        ("cloudtrail:StartLogging", trail),
        ("ssm:PutParameter", parameter),
    ] {
        let deny =
            json!({"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": action, "Resource": resource}});
        administrator(&[&["iam", "put-role-policy", "--policy-document", &deny.to_string()], role.as_slice()].concat());
        let error = deployment.invoke("guardrail-bootstrap", &request).unwrap().unwrap_err();
        assert!(error.contains("AccessDenied"), "without {action}: {error}");
    }
    administrator(&[&["iam", "delete-role-policy"], role.as_slice()].concat());
    let built = deployment.invoke("guardrail-bootstrap", &request).unwrap().unwrap();
    assert_eq!(built["outcome"], "compliant", "{built}");

    let again = deployment.invoke("guardrail-bootstrap", &request).unwrap().unwrap();
    assert_eq!(again["findings"], json!([]));
    let actions: BTreeSet<_> =
        again["resources"].as_array().unwrap().iter().map(|it| it["action"].as_str().unwrap()).collect();
    assert_eq!(actions, BTreeSet::from(["unchanged"]), "{again}");

    // One key, though the first run made it and could not name it.
    let tagged =
        administrator(&["kms", "list-aliases", "--query", "Aliases[?AliasName=='alias/it-resumed'].TargetKeyId"]);
    let key = built["resources"][0]["id"].as_str().unwrap();
    assert!(tagged.contains(key.rsplit('/').next().unwrap()), "{tagged}");
    let status =
        administrator(&["cloudtrail", "get-trail-status", "--name", "it-resumed-trail", "--query", "IsLogging"]);
    assert_eq!(status, "true");
    let selectors = administrator(&["cloudtrail", "get-event-selectors", "--trail-name", "it-resumed-trail"]);
    assert!(selectors.contains("Management") && selectors.contains("arn:aws:s3:::it-resumed/"), "{selectors}");
}

#[tokio::test]
async fn bootstrap_adopts_a_bucket_with_everything_its_owner_set() {
    let it = Guarded::unguarded("it-adopted").await;
    it.create().await;
    let theirs = json!({"Sid": "Theirs", "Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")}, "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{}/*", it.bucket)});
    it.put_policy(json!([theirs])).await;
    it.put_lifecycle(
        json!([{"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 1}}]),
    );

    let request =
        json!({"bucket": it.bucket, "log_bucket": "it-logs", "inventory_bucket": "it-inventory", "trail": "it-trail"});
    let mut dry = request.clone();
    dry["dry_run"] = json!(true);
    let before = it.settings().await;
    let plan = it.deployment.invoke("guardrail-bootstrap", &dry).unwrap().unwrap();
    assert_eq!((&plan["outcome"], &plan["dry_run"]), (&json!("drifted"), &json!(true)), "{plan}");
    assert!(outcomes(&plan).iter().all(|it| it.1 == "would-restore"));
    assert_eq!(it.settings().await, before, "a dry run changes nothing");
    assert_eq!(it.remediate(&json!({"bucket": it.bucket})).unwrap()["outcome"], "unguarded");

    let built = it.deployment.invoke("guardrail-bootstrap", &request).unwrap().unwrap();
    assert_eq!(built["outcome"], "restored", "{built}");
    let adopted = json!({"type": "AWS::S3::Bucket", "id": it.bucket, "action": "adopted"});
    assert!(built["resources"].as_array().unwrap().contains(&adopted), "{built}");
    assert!(it.policy().await["Statement"].as_array().unwrap().contains(&theirs));
    let lifecycle = it.s3.get_bucket_lifecycle_configuration().bucket(it.bucket).send().await.unwrap();
    let rule = lifecycle.rules().iter().find(|it| it.id() == Some("theirs")).unwrap();
    assert_eq!(rule.expiration().and_then(|it| it.days()), Some(1));
    assert_eq!(it.remediate(&json!({"bucket": it.bucket})).unwrap()["outcome"], "compliant");
    let document = it.registry();
    assert_eq!(
        (&document["bucket"], &document["account"], &document["mode"]),
        (&json!(it.bucket), &json!(ACCOUNT), &json!("enforce"))
    );
}

#[tokio::test]
async fn bootstrap_adopts_a_trail_with_everything_its_owner_chose() {
    let (deployment, _) = &*DEPLOYMENT;
    let administrator = |arguments: &[&str]| deployment.aws.aws(&deployment.administrator, arguments).unwrap();
    administrator(&[
        "s3api",
        "create-bucket",
        "--bucket",
        "it-their-logs",
        "--create-bucket-configuration",
        "LocationConstraint=eu-west-2",
    ]);
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}, "Action": "s3:GetBucketAcl", "Resource": "arn:aws:s3:::it-their-logs"},
        {"Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}, "Action": "s3:PutObject", "Resource": "arn:aws:s3:::it-their-logs/*"},
    ]});
    administrator(&["s3api", "put-bucket-policy", "--bucket", "it-their-logs", "--policy", &policy.to_string()]);
    administrator(&["cloudtrail", "create-trail", "--name", "it-theirs", "--s3-bucket-name", "it-their-logs"]);
    let theirs = json!([{"ReadWriteType": "ReadOnly", "IncludeManagementEvents": true, "DataResources": [{"Type": "AWS::Lambda::Function", "Values": ["arn:aws:lambda"]}]}]);
    administrator(&[
        "cloudtrail",
        "put-event-selectors",
        "--trail-name",
        "it-theirs",
        "--event-selectors",
        &theirs.to_string(),
    ]);

    let request = json!({"bucket": "it-their-trail", "trail": "it-theirs", "log_bucket": "it-logs", "inventory_bucket": "it-inventory"});
    let built = deployment.invoke("guardrail-bootstrap", &request).unwrap().unwrap();
    let arn = format!("arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/it-theirs");
    let adopted = json!({"type": "AWS::CloudTrail::Trail", "id": arn, "action": "adopted"});
    assert!(built["resources"].as_array().unwrap().contains(&adopted), "{built}");

    let described = |arguments: &[&str]| -> Value { serde_json::from_str(&administrator(arguments)).unwrap() };
    let trail = described(&["cloudtrail", "get-trail", "--name", "it-theirs", "--query", "Trail"]);
    assert_eq!((&trail["IsMultiRegionTrail"], &trail["LogFileValidationEnabled"]), (&json!(true), &json!(true)));
    assert_eq!(trail["S3BucketName"], "it-their-logs", "where their logs go is theirs");
    assert!(trail["KmsKeyId"].as_str().unwrap().contains(":key/"));
    let selectors =
        described(&["cloudtrail", "get-event-selectors", "--trail-name", "it-theirs", "--query", "EventSelectors"]);
    assert_eq!(selectors[0]["DataResources"], theirs[0]["DataResources"]);
    assert_eq!(
        (&selectors[1]["ReadWriteType"], &selectors[1]["IncludeManagementEvents"]),
        (&json!("All"), &json!(true))
    );
    assert_eq!(
        selectors[1]["DataResources"],
        json!([{"Type": "AWS::S3::Object", "Values": ["arn:aws:s3:::it-their-trail/"]}])
    );
    assert_eq!(
        described(&["cloudtrail", "get-trail-status", "--name", "it-theirs", "--query", "IsLogging"]),
        json!(true)
    );
}

#[tokio::test]
async fn bad_input_is_an_error_that_names_the_field() {
    let it = Guarded::new("it-bad-input").await;
    let before = it.settings().await;
    for (input, part) in [
        (json!({"bucket": "Not A Bucket"}), "bucket: `Not A Bucket` is not a bucket name"),
        (json!({"bucket": it.bucket, "force": true}), "force: unknown field `force`"),
        (json!({"bucket": it.bucket, "dry_run": "yes"}), "dry_run: invalid type"),
        (json!({}), "neither an EventBridge event"),
        (sample("no-bucket.json", it.bucket), "names no bucket"),
    ] {
        let error = it.remediate(&input).unwrap_err();
        assert!(error.contains(part), "{input}: {error}");
    }
    let impossible = it.remediate(&sample("impossible-bucket-name.json", it.bucket)).unwrap();
    assert_eq!(impossible["outcome"], "unguarded");

    let good = it.registry();
    for (field, value, part) in [
        ("surprise", json!(1), "surprise: unknown field"),
        ("key_arn", json!("alias/s3-secure-data"), "key_arn: `alias/s3-secure-data` is not a KMS key ARN"),
    ] {
        let mut bad = good.clone();
        bad[field] = value;
        it.put_registry(&bad);
        let error = it.remediate(&json!({"bucket": it.bucket})).unwrap_err();
        assert!(error.contains(part), "{error}");
        it.alert(|it| it.body["error"].as_str().is_some_and(|it| it.contains(part))).await;
    }
    it.put_registry(&good);
    for (input, part) in [
        (json!({"bucket": "it-bad-input", "key_alias": "alias/aws/s3"}), "key_alias"),
        (json!({"bucket": "it-bad-input", "key_users": ["alice"]}), "key_users"),
        (json!({"bucket": "it-bad-input", "colour": "red"}), "colour: unknown field"),
        (json!({"bucket": "a".repeat(60)}), "log_bucket"),
        (json!({"bucket": "it-bad-input", "log_bucket": "it-bad-input"}), "log_bucket: is the guarded bucket itself"),
        (
            json!({"bucket": "it-other", "inventory_bucket": "it-first"}),
            "inventory_bucket: it-first is a guarded bucket itself",
        ),
    ] {
        let error = it.deployment.invoke("guardrail-bootstrap", &input).unwrap().unwrap_err();
        assert!(error.contains(part), "{input}: {error}");
    }
    assert_eq!(it.settings().await, before);
}

#[test]
fn a_function_without_its_environment_says_all_that_is_missing() {
    let binary = deploy::build().unwrap().join("guardrail-remediate");
    let error = run(Command::new(binary).env_clear()).unwrap_err().to_string();
    for name in ["GUARDRAIL_TOPIC_ARN", "GUARDRAIL_ROLE_ARN", "AWS_REGION"] {
        assert!(error.contains(&format!("{name} is missing")), "{error}");
    }
}

pub(crate) async fn create(s3: &Client, bucket: &str) {
    let here = CreateBucketConfiguration::builder().location_constraint(REGION.into()).build();
    s3.create_bucket().bucket(bucket).create_bucket_configuration(here).send().await.unwrap();
}
