//! Least privilege: without any one of its permissions, a role's function fails at something.

use std::time::Duration;

use guardrail_tests::{
    deploy::{self, Deployment},
    local_aws::{ACCOUNT, LocalAws, REGION, eventually, workspace},
};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// Permissions that AWS itself uses in the role's name, for Lambda's logs, queues and dead letters, or for encrypting on
/// the way to SNS. The local AWS asks for none of them, so it cannot show what fails without; and what it does not have.
const USED_BY_AWS: [&str; 15] = [
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "TakeEventsAndWork sqs:ChangeMessageVisibility",
    "TakeEventsAndWork sqs:DeleteMessage",
    "TakeEventsAndWork sqs:GetQueueAttributes",
    "TakeEventsAndWork sqs:ReceiveMessage",
    "KeepWhatFailed sqs:SendMessage",
    "EncryptAlerts kms:Decrypt",
    "EncryptAlerts kms:GenerateDataKey",
    "EncryptHistory kms:GenerateDataKey",
    // The account's own settings are at `ACCOUNT.host`, and the local AWS has no name; see around.rs for it.
    "s3:GetAccountPublicAccessBlock",
    // The local AWS records no calls of S3 Control.
    "s3:GetAccessPoint",
    // What it could not keep, the sweep keeps.
    "KeepCopyOfWhatWasWrittenAndIndexIt ssm:PutParameter",
    // AWS authorizes it for the tags of CreateKey.
    "kms:TagResource",
    // Without it each bucket of a batch is read by itself, and the registry for each key and trail.
    "ssm:GetParameters",
];

/// A deployment of its own: what it does to the roles would disturb all others.
struct Place {
    deployment: Deployment,
    runs: usize,
}

impl Place {
    fn new(folder: &str) -> Self {
        let binaries = deploy::build().unwrap();
        let aws = LocalAws::start(&workspace().join("target/local-aws").join(folder)).unwrap();
        Self { deployment: Deployment::new(aws, &binaries).unwrap(), runs: 0 }
    }

    fn aws(&self, arguments: &[&str]) -> String {
        self.deployment.aws.aws(&self.deployment.administrator, arguments).unwrap()
    }

    fn invoke(&self, function: &str, input: &Value) -> Result<Value, String> {
        self.deployment.invoke(function, input).unwrap()
    }

    /// A role's policy.
    fn policy(&self, role: &str, name: &str) -> Value {
        let get = ["iam", "get-role-policy", "--role-name", role, "--policy-name", name, "--query", "PolicyDocument"];
        serde_json::from_str(&self.aws(&get)).unwrap()
    }

    fn put_policy(&self, role: &str, name: &str, policy: &Value) {
        let document = policy.to_string();
        self.aws(&[
            "iam",
            "put-role-policy",
            "--role-name",
            role,
            "--policy-name",
            name,
            "--policy-document",
            &document,
        ]);
    }

    /// Takes each permission away in turn and calls `works`; those without which it still does.
    async fn superfluous(
        &mut self,
        role: &str,
        name: &str,
        works: impl AsyncFn(&mut Self, &str) -> bool,
    ) -> Vec<String> {
        let whole = self.policy(role, name);
        let mut superfluous = Vec::new();
        for (n, statement) in whole["Statement"].as_array().unwrap().iter().enumerate() {
            let actions: Vec<&str> = match &statement["Action"] {
                Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
                one => vec![one.as_str().unwrap()],
            };
            for action in &actions {
                let named = format!("{} {action}", statement["Sid"].as_str().unwrap());
                if USED_BY_AWS.iter().any(|it| it == action || *it == named) {
                    continue;
                }
                let mut without = whole.clone();
                let left: Vec<_> = actions.iter().filter(|it| *it != action).collect();
                if left.is_empty() {
                    without["Statement"].as_array_mut().unwrap().remove(n);
                } else {
                    without["Statement"][n]["Action"] = json!(left);
                }
                self.put_policy(role, name, &without);
                self.runs += 1;
                if works(self, action).await {
                    superfluous.push(named);
                }
                // Heal, so that the next harm can be done.
                self.put_policy(role, name, &whole);
                if role.contains("sweep") {
                    let _ = self.invoke("guardrail-sweep", &json!({}));
                }
                let _ = self.invoke("guardrail-remediate", &json!({"bucket": BUCKET}));
            }
        }
        superfluous
    }
}

const BUCKET: &str = "lp-bucket";

/// Undoes what the action would have to restore.
fn harm(place: &Place, (key, alias): (&str, &str), action: &str) {
    let bucket = ["--bucket", BUCKET];
    let s3 = |arguments: &[&str]| drop(place.aws(&[&["s3api"], arguments, &bucket[..]].concat()));
    let trail = format!("arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/{BUCKET}-trail");
    match action {
        "s3:PutBucketPublicAccessBlock" => s3(&["delete-public-access-block"]),
        "s3:PutBucketAcl" | "s3:PutBucketOwnershipControls" => {
            s3(&["put-bucket-ownership-controls", "--ownership-controls", "Rules=[{ObjectOwnership=ObjectWriter}]"]);
        }
        "s3:PutBucketPolicy" => s3(&["delete-bucket-policy"]),
        "s3:PutEncryptionConfiguration" => s3(&["delete-bucket-encryption"]),
        "s3:PutBucketVersioning" => {
            s3(&["put-bucket-versioning", "--versioning-configuration", "Status=Suspended"]);
        }
        "s3:PutLifecycleConfiguration" => s3(&["delete-bucket-lifecycle"]),
        "s3:PutInventoryConfiguration" => {
            s3(&["delete-bucket-inventory-configuration", "--id", "encryption-and-replication"]);
        }
        "kms:CancelKeyDeletion" => drop(place.aws(&["kms", "schedule-key-deletion", "--key-id", key])),
        "kms:EnableKey" => drop(place.aws(&["kms", "disable-key", "--key-id", key])),
        "kms:EnableKeyRotation" => drop(place.aws(&["kms", "disable-key-rotation", "--key-id", key])),
        "kms:PutKeyPolicy" => {
            let root = json!({"Version": "2012-10-17", "Statement": [{"Sid": "Root", "Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")}, "Action": "kms:*", "Resource": "*"}]}).to_string();
            place.aws(&["kms", "put-key-policy", "--key-id", key, "--policy-name", "default", "--policy", &root]);
        }
        "kms:CreateAlias" => drop(place.aws(&["kms", "delete-alias", "--alias-name", alias])),
        "kms:UpdateAlias" => {
            let other = place.aws(&["kms", "create-key", "--query", "KeyMetadata.KeyId", "--output", "text"]);
            let elsewhere = ["kms", "create-alias", "--alias-name", alias, "--target-key-id", &other];
            let aws = &place.deployment.aws;
            // There may be none, if what came before failed.
            let _ = aws.aws(&place.deployment.administrator, &["kms", "delete-alias", "--alias-name", alias]);
            place.aws(&elsewhere);
        }
        "ssm:PutParameter" => {
            drop(place.aws(&["ssm", "delete-parameter", "--name", &format!("/s3-guardrail/copies/{BUCKET}")]));
        }
        // Only what is in no index is looked for in the registry.
        "ssm:GetParametersByPath" => {
            let id = key.rsplit('/').next().unwrap_or_default();
            let names = ["/s3-guardrail/uses/swept".to_owned(), format!("/s3-guardrail/uses/key/{id}")];
            place.aws(&["ssm", "delete-parameters", "--names", &names[0], &names[1]]);
        }
        "ssm:DeleteParameter" => {
            let entry = ["--name", "/s3-guardrail/uses/key/nobodys", "--value", r#"{"buckets":["gone"]}"#];
            place.aws(&[&["ssm", "put-parameter", "--type", "String", "--overwrite"][..], &entry].concat());
        }
        "cloudtrail:CreateTrail" => drop(place.aws(&["cloudtrail", "delete-trail", "--name", &trail])),
        "cloudtrail:UpdateTrail" => {
            drop(place.aws(&["cloudtrail", "update-trail", "--name", &trail, "--no-enable-log-file-validation"]))
        }
        "cloudtrail:PutEventSelectors" => {
            let reads = r#"[{"ReadWriteType": "ReadOnly", "IncludeManagementEvents": true}]"#;
            place.aws(&["cloudtrail", "put-event-selectors", "--trail-name", &trail, "--event-selectors", reads]);
        }
        "cloudtrail:StartLogging" => drop(place.aws(&["cloudtrail", "stop-logging", "--name", &trail])),
        "events:EnableRule" => drop(place.aws(&["events", "disable-rule", "--name", "s3-guardrail-tampering-denied"])),
        "events:PutRule" => drop(place.aws(&[
            "events",
            "put-rule",
            "--name",
            "s3-guardrail-tampering-denied",
            "--event-pattern",
            r#"{"source": ["x"]}"#,
        ])),
        "events:PutTargets" => drop(place.aws(&[
            "events",
            "remove-targets",
            "--rule",
            "s3-guardrail-tampering-denied",
            "--ids",
            "function",
        ])),
        "events:RemoveTargets" => {
            let theirs = format!("Id=theirs,Arn=arn:aws:sqs:{REGION}:{ACCOUNT}:s3-guardrail-dead-letters");
            place.aws(&["events", "put-targets", "--rule", "s3-guardrail-tampering-denied", "--targets", &theirs]);
        }
        "cloudformation:DescribeStackResources" => {
            let rule = "s3-guardrail-remediate-tampered";
            let aws = &place.deployment.aws;
            // It is gone already, if what came before failed.
            let remove = ["events", "remove-targets", "--rule", rule, "--ids", "function"];
            let _ = aws.aws(&place.deployment.administrator, &remove);
            place.aws(&["events", "delete-rule", "--name", rule]);
        }
        // It has to have something to tell, and to keep.
        "sns:Publish" | "s3:PutObject" | "dynamodb:PutItem" | "dynamodb:UpdateItem" => s3(&["delete-bucket-lifecycle"]),
        _ => {}
    }
}

fn event(source: &str, name: &str, parameters: Value) -> Value {
    json!({"detail": {
        "eventSource": format!("{source}.amazonaws.com"), "eventName": name, "requestParameters": parameters,
        "userIdentity": {"arn": format!("arn:aws:iam::{ACCOUNT}:user/somebody")},
    }})
}

#[tokio::test]
async fn no_permission_is_superfluous() {
    let mut place = Place::new("privileges");
    let built = place.invoke("guardrail-bootstrap", &json!({"bucket": BUCKET, "key_alias": "alias/lp"})).unwrap();
    let key = built["resources"][0]["id"].as_str().unwrap().to_owned();
    // Nothing but what is invoked here may restore anything, or it would be done before the permission is missed.
    place.deployment.deafen().unwrap();

    let restores = async |place: &mut Place, action: &str| {
        harm(place, (&key, "alias/lp"), action);
        let input = if action == "ssm:GetParametersByPath" {
            event("kms", "DisableKey", json!({"keyId": key}))
        } else if action.starts_with("events:") || action.starts_with("cloudformation:") {
            event("events", "DisableRule", json!({"name": "s3-guardrail-tampering-denied"}))
        } else {
            json!({"bucket": BUCKET})
        };
        let answer = place.invoke("guardrail-remediate", &input);
        answer.is_ok_and(|it| it["record_error"].is_null() && it["ledger_error"].is_null())
    };
    let superfluous = place.superfluous("s3-guardrail-remediate-eu-west-2", "remediate", restores).await;
    assert_eq!(superfluous, Vec::<String>::new(), "guardrail-remediate");
    assert!(place.runs > 30, "{}", place.runs);
    let whole = async || place.invoke("guardrail-remediate", &json!({"bucket": BUCKET})).ok();
    let report = eventually("restored with all permissions", PATIENCE, whole).await.unwrap();
    assert!(report["error"].is_null(), "{report}");

    let describe = ["kms", "describe-key", "--key-id", "alias/s3-guardrail", "--query", "KeyMetadata.Arn"];
    let own_key = place.aws(&[&describe[..], &["--output", "text"]].concat());
    let sweeps = async |place: &mut Place, action: &str| {
        // It has to have something to tell, and to write down.
        let to_tell = ["sns:Publish", "dynamodb:PutItem"].contains(&action);
        harm(place, (&own_key, "alias/s3-guardrail"), if to_tell { "events:EnableRule" } else { action });
        match place.invoke("guardrail-sweep", &json!({})) {
            Err(_) => false,
            Ok(answer) => {
                let guardrail = &answer["guardrail"];
                let findings = guardrail["findings"].as_array().cloned().unwrap_or_default();
                guardrail["ledger_error"].is_null()
                    && findings.iter().all(|it| it["outcome"] != "unreadable" && it["outcome"] != "failed")
            }
        }
    };
    let superfluous = place.superfluous("s3-guardrail-sweep-eu-west-2", "sweep", sweeps).await;
    assert_eq!(superfluous, Vec::<String>::new(), "guardrail-sweep");
}

#[tokio::test]
async fn no_permission_to_build_is_superfluous_and_what_was_deployed_can_be_removed() {
    let mut place = Place::new("privileges-to-build");
    place.invoke("guardrail-bootstrap", &json!({"bucket": BUCKET, "key_alias": "alias/lp"})).unwrap();
    place.deployment.deafen().unwrap();
    let superfluous = place.superfluous("s3-guardrail-bootstrap-eu-west-2", "bootstrap", builds).await;
    assert_eq!(superfluous, Vec::<String>::new(), "guardrail-bootstrap");

    // And the place is taken down again.
    let destroyed = place.deployment.script("destroy.sh").arg("--yes").output().unwrap();
    let said = String::from_utf8_lossy(&destroyed.stdout).into_owned();
    assert!(
        destroyed.status.success() && said.contains(&format!("registry parameter /s3-guardrail/buckets/{BUCKET}")),
        "{said}"
    );
    for gone in [
        &["lambda", "get-function", "--function-name", "guardrail-remediate"][..],
        &["cloudformation", "describe-stacks", "--stack-name", "s3-guardrail-foundation"],
        &["events", "describe-rule", "--name", "s3-guardrail-sweep"],
        &["iam", "get-role", "--role-name", "s3-guardrail-remediate-eu-west-2"],
    ] {
        assert!(place.deployment.aws.aws(&place.deployment.administrator, gone).is_err(), "{gone:?}");
    }
    place.aws(&["s3api", "get-bucket-policy", "--bucket", BUCKET]);
    place.deployment.deploy(&[]).unwrap();
}

/// Builds the baseline of a bucket that needs this permission; true if it could.
async fn builds(place: &mut Place, action: &str) -> bool {
    let bucket = format!("lp-{}", place.runs);
    let s3 = |arguments: &[&str]| drop(place.aws(&[&["s3api"], arguments, &["--bucket", &bucket][..]].concat()));
    let trail = format!("arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/{BUCKET}-trail");
    let mut request = json!({"bucket": bucket, "key_alias": format!("alias/{bucket}"), "trail": trail});
    match action {
        "s3:PutBucketPublicAccessBlock" | "s3:PutBucketAcl" | "s3:PutBucketOwnershipControls" => {
            s3(&["create-bucket", "--create-bucket-configuration", &format!("LocationConstraint={REGION}")]);
            s3(&["delete-public-access-block"]);
            s3(&["put-bucket-ownership-controls", "--ownership-controls", "Rules=[{ObjectOwnership=ObjectWriter}]"]);
        }
        // Of a bucket that is there, what would break is looked up.
        "s3:GetBucketWebsite" | "s3:GetReplicationConfiguration" | "s3:ListBucketVersions" => {
            s3(&["create-bucket", "--create-bucket-configuration", &format!("LocationConstraint={REGION}")]);
        }
        // A key that is there, and that another trail must be able to use.
        "kms:PutKeyPolicy" => {
            request["key_alias"] = json!("alias/lp");
            request["trail"] = json!("lp-other-trail");
        }
        // A key that an earlier run made and could not name is found by its tag.
        "kms:ListResourceTags" => {
            let tag = format!("TagKey=s3-guardrail:alias,TagValue=alias/{bucket}");
            // With the policy that bootstrap gives one, or it is a stranger's.
            let named = place.aws(&["kms", "describe-key", "--key-id", "alias/lp", "--query", "KeyMetadata.KeyId"]);
            let get = ["kms", "get-key-policy", "--key-id", named.trim_matches('"'), "--policy-name", "default"];
            let policy = place.aws(&[&get[..], &["--query", "Policy", "--output", "text"]].concat());
            let create = ["kms", "create-key", "--tags", &tag, "--policy", &policy];
            let key = place.aws(&[&create[..], &["--query", "KeyMetadata.Arn", "--output", "text"]].concat());
            return place.invoke("guardrail-bootstrap", &request).is_ok_and(|it| it["resources"][0]["id"] == key);
        }
        // What is exchanged is told before it is.
        "sns:Publish" => {
            let swap = json!({"bucket": BUCKET, "inventory_bucket": format!("{bucket}-inventory")});
            return place.invoke("guardrail-bootstrap", &swap).is_ok();
        }
        "cloudtrail:CreateTrail" => request["trail"] = json!("lp-new-trail"),
        "cloudtrail:UpdateTrail" => {
            place.aws(&["cloudtrail", "update-trail", "--name", &trail, "--no-enable-log-file-validation"]);
        }
        "cloudtrail:StartLogging" => drop(place.aws(&["cloudtrail", "stop-logging", "--name", &trail])),
        "budgets:ModifyBudget" | "budgets:ViewBudget" => request["zero_spend_budget"] = json!("somebody@example.com"),
        _ => {}
    }
    place.invoke("guardrail-bootstrap", &request).is_ok_and(|it| it["record_error"].is_null())
}
