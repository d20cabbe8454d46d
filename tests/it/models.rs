//! AWS's own models and lists: what the functions send, what the fake answers, policies and templates are held to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::Path,
    process::Stdio,
    sync::LazyLock,
};

use guardrail::{store::ledger, work::verify::PREFIX};
use guardrail_tests::{
    fake::{BUCKET, FakeAws, FakeKey, FaultKind, KEY, LEDGER, OWN_KEY, State},
    local_aws::workspace,
    models::{BY_THE_COMMAND, Exchange, Verdict, sendable, tool},
};
use serde_json::{Map, Value, json};

use crate::{around, faults};

/// What a function sends and is answered when nothing goes wrong, and what the models say of it.
struct Sent {
    role: &'static str,
    exchange: Exchange,
    verdict: Verdict,
}

/// Of every function.
static ALL: LazyLock<Vec<Sent>> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    // One after the other: together they are more than a test's stack holds.
    let exchanges = [
        runtime.block_on(faults::exchanges()),
        runtime.block_on(own_parts()),
        runtime.block_on(of_buckets()),
        runtime.block_on(of_the_ledger()),
    ];
    let exchanges = exchanges.concat();
    let sent = |(role, exchange): (_, Exchange)| Sent { role, verdict: exchange.verdict(), exchange };
    exchanges.into_iter().map(sent).collect()
});

/// What the guardrail does about its own parts.
async fn own_parts() -> Vec<(&'static str, Exchange)> {
    type Harm = fn(&mut State);
    let harms: [Harm; 5] = [
        |it| {
            *it.own_key.as_mut().unwrap() =
                FakeKey { state: "PendingDeletion".to_owned(), rotation: false, ..FakeKey::good() }
        },
        |it| it.own_key.as_mut().unwrap().policy = json!({"Statement": []}).to_string(),
        |it| it.own_key.as_mut().unwrap().aliases.clear(),
        |it| drop(it.own_key.as_mut().unwrap().aliases.insert("alias/s3-guardrail".to_owned(), KEY.to_owned())),
        |it| {
            it.rules.get_mut("s3-guardrail-bucket-changed").unwrap().1.push(json!({"Id": "2", "Arn": "arn:aws:sns:x"}))
        },
    ];
    let mut exchanges = Vec::new();
    for harm in harms {
        let [told, swept] = [around::with_own_key().await, around::with_own_key().await];
        for fake in [&told, &swept] {
            harm(&mut fake.state());
            fake.state().ledger = Some(BTreeMap::new());
            fake.state().exchanges = Some(Vec::new());
        }
        told.remediate(around::call("kms", "DisableKey", json!({"keyId": OWN_KEY}))).await.unwrap();
        let _ = around::sweep(&swept, json!({})).await;
        for (role, fake) in [("RemediateRole", told), ("SweepRole", swept)] {
            exchanges.extend(fake.state().exchanges.take().unwrap().into_iter().map(|it| (role, it)));
        }
    }
    exchanges
}

/// What it does about buckets but restore what drifted.
async fn of_buckets() -> Vec<(&'static str, Exchange)> {
    let fake = around::compliant().await;
    fake.state().exchanges = Some(Vec::new());
    // The account enforces what is not to be written.
    fake.set("publicAccessBlock", None);
    fake.state().account_blocks = true;
    fake.fail("PutPublicAccessBlock", usize::MAX, FaultKind::Answer(403, "AccessDenied"));
    fake.remediate(json!({"bucket": BUCKET})).await.unwrap();
    fake.state().access_points.insert("acme-reports".to_owned(), BUCKET.to_owned());
    fake.remediate(around::sample("put-access-point-policy.json")).await.unwrap();
    let registered = json!({"name": format!("/s3-guardrail/buckets/{BUCKET}")});
    fake.remediate(around::call("ssm", "PutParameter", registered)).await.unwrap();
    // A batch of two buckets, of which one cannot be looked at.
    fake.state().parameters.insert("/s3-guardrail/buckets/broken".to_owned(), "{}".to_owned());
    let message = |bucket: &str| {
        json!({"messageId": bucket, "receiptHandle": bucket, "body": json!({"bucket": bucket}).to_string(),
            "eventSourceARN": "arn:aws:sqs:eu-west-2:111122223333:s3-guardrail-work"})
    };
    fake.remediate(json!({"Records": [message(BUCKET), message("broken")]})).await.unwrap();
    let remediated = fake.state().exchanges.take().unwrap();
    let fake = around::compliant().await;
    fake.state().exchanges = Some(Vec::new());
    // Of a run that was killed.
    fake.state().uploads.insert(format!("{BUCKET}/{PREFIX}20260101T000000Z-00000000/multipart-with-key"));
    guardrail::work::verify::verify(&fake.guardrail(), json!({"bucket": BUCKET})).await.unwrap();
    let verified = fake.state().exchanges.take().unwrap();
    let remediated = remediated.into_iter().map(|it| ("RemediateRole", it));
    remediated.chain(verified.into_iter().map(|it| ("VerifyRole", it))).collect()
}

/// What it does with the ledger.
async fn of_the_ledger() -> Vec<(&'static str, Exchange)> {
    let (fake, subject) = (FakeAws::guarded(), format!("bucket:{BUCKET}"));
    fake.state().ledger = Some(BTreeMap::new());
    let guardrail = fake.guardrail();
    fake.state().exchanges = Some(Vec::new());
    ledger::begin(&guardrail, LEDGER, &subject, "look", &json!({})).await.unwrap();
    for version in [0, 1] {
        ledger::replace(&guardrail, LEDGER, &subject, version, &Map::new()).await.unwrap();
    }
    let written = fake.state().exchanges.replace(Vec::new()).unwrap();
    ledger::read(&guardrail, LEDGER, &[subject]).await.unwrap();
    let read = fake.state().exchanges.take().unwrap();
    written.into_iter().chain(read).map(|it| ("RemediateRole", it)).collect()
}

#[test]
fn every_request_and_every_answer_of_the_functions_is_as_awss_models_say() {
    let faults: BTreeSet<_> = ALL.iter().flat_map(|it| &it.verdict.faults).collect();
    assert_eq!(faults, BTreeSet::new());

    let sent: BTreeSet<_> = ALL.iter().filter_map(|it| it.verdict.operation.as_ref()).collect();
    let sendable = sendable("shared/aws/src");
    let known: BTreeSet<_> = sendable.values().flatten().collect();
    let unknown: Vec<_> = sent.difference(&known).collect();
    assert_eq!(unknown, Vec::<&&String>::new(), "sent, and not found in the code");
    let is_sent = |it: &String| sent.contains(it) || BY_THE_COMMAND.contains(&it.as_str());
    let unsent: Vec<_> = sendable.values().filter(|it| !it.iter().any(is_sent)).collect();
    assert_eq!(unsent, Vec::<&Vec<String>>::new(), "no flow of these tests sends it");
    assert!(sent.contains(&"s3control.GetPublicAccessBlock".to_owned()), "{sent:?}");
}

/// Each is a request that the guardrail sends, with one mistake in it.
#[test]
fn what_the_models_do_not_allow_is_found_and_named() {
    for (operation, right, wrong, fault) in [
        ("s3.PutBucketVersioning", "Enabled", "On", "Status: 'On' is none of the model's Enabled, Suspended"),
        ("s3.PutBucketVersioning", "Status>", "State>", "<State>: the model has no such member"),
        ("s3.PutBucketVersioning", "x-amz-checksum-crc32", "x-amz-magic", "the model requires a checksum"),
        ("s3.PutBucketVersioning", "VersioningConfiguration", "Versioning", "root is <VersioningConfiguration>"),
        ("s3.GetBucketVersioning", "GET", "PATCH", "no operation of s3 in the pinned botocore"),
        ("s3.PutBucketLifecycleConfiguration", "<Status>Enabled</Status>", "", "Status: the model requires it"),
        ("s3.PutBucketLifecycleConfiguration", "Days>30<", "Days>thirty<", "wants a integer, not 'thirty'"),
        ("s3.ListObjectsV2", "list-type=2", "list-type=2&limit=1", "?limit: the model has no such parameter"),
        ("kms.CreateAlias", "alias/s3-secure-data", &"a".repeat(257), "length 257 is above the model's most, 256"),
        ("kms.EnableKey", "\\\"KeyId\\\"", "\\\"Key\\\"", "KeyId: the model requires it, and it is missing"),
        ("kms.EnableKey", "TrentService.EnableKey", "TrentService.EnableKeys", "kms has no operation 'EnableKeys'"),
        ("cloudtrail.UpdateTrail", "Trail\\\":true", "Trail\\\":1", "wants a boolean, not 1"),
        ("events.PutRule", "s3-guardrail-", "s3 guardrail/", "does not match the model's pattern"),
        ("sns.Publish", "Subject=", "Topic=", "Topic: the model has no such parameter"),
        ("sns.Publish", "Version=2010-03-31", "Version=2011-03-31", "'2011-03-31' should be '2010-03-31'"),
        ("ssm.GetParameter", "x-amz-json-1.1", "x-amz-json-1.0", "'application/x-amz-json-1.0' should be"),
        ("kms.DescribeKey", "KeyManager", "KeyMaster", "answer.KeyMetadata.KeyMaster: the model has no such member"),
        (
            "kms.DescribeKey",
            "\\\"KeyId\\\":\\\"k\\\"",
            "\\\"KeyId\\\":7",
            "answer.KeyMetadata.KeyId: the model wants a string",
        ),
    ] {
        let planted: Vec<_> = (ALL.iter())
            .filter(|it| it.verdict.operation.as_deref() == Some(operation))
            .map(|it| it.exchange.0.to_string())
            .filter(|it| it.contains(right))
            .map(|it| Exchange(serde_json::from_str(&it.replace(right, wrong)).unwrap()))
            .collect();
        let found = planted.first().unwrap_or_else(|| panic!("{operation} without {right}")).verdict().faults;
        assert!(found.iter().any(|it| it.contains(fault)), "{operation}, {fault}: {found:#?}");
    }
}

/// What each role's function sends.
fn sent() -> Value {
    let mut sent = BTreeMap::<_, BTreeSet<_>>::new();
    for Sent { role, verdict, .. } in ALL.iter() {
        sent.entry(role).or_default().extend(&verdict.operation);
    }
    json!(sent)
}

/// What AWS's lists say of the policies in a folder like the workspace's.
fn policy_faults(root: &Path, sent: &Value) -> String {
    let mut python = tool("python");
    let python = python.arg("tests/policies.py").arg(root).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = python.spawn().unwrap();
    write!(process.stdin.take().unwrap(), "{sent}").unwrap();
    let said = process.wait_with_output().unwrap();
    assert!(said.status.success(), "{said:?}");
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

/// And each role allows what its function's calls need, by AWS's names, and nothing else.
#[test]
fn policies_hold_to_awss_lists_of_actions_resources_and_condition_keys() {
    assert_eq!(policy_faults(workspace(), &sent()), "");
}

/// Each is a mistake in one of the files.
#[test]
fn what_awss_lists_do_not_have_is_found_and_named() {
    let root = workspace().join("target/tmp/policies");
    let mut written = BTreeMap::<_, String>::new();
    let code = "infra/cli/src/permissions.rs";
    let templates = ["infra/foundation.yaml", "infra/global.yaml", "infra/wiring.yaml"];
    for path in ["infra/DEPLOYER.md", code, "shared/core/src/control/table.rs"].into_iter().chain(templates) {
        written.insert(path, fs::read_to_string(workspace().join(path)).unwrap());
    }
    let mistakes = [
        ("infra/foundation.yaml", "- s3:GetBucketAcl", "- s3:GetBucketAcls", "AWS has no action s3:GetBucketAcls"),
        (
            "infra/foundation.yaml",
            "- s3:GetBucketAcl",
            "",
            "s3:GetBucketAcl is not allowed, and s3.GetBucketAcl needs it",
        ),
        (
            "infra/foundation.yaml",
            "Action: [ssm:GetParameter, ssm:GetParameters]",
            "Action: [ssm:GetParameter, ssm:GetParameters, ssm:GetParameterHistory]",
            "ssm:GetParameterHistory is allowed, and no call",
        ),
        ("infra/foundation.yaml", "key/*\n", "keys/*\n", "none of its actions is about arn:*:kms:*:*:keys/*"),
        (
            "infra/foundation.yaml",
            "\"s3:prefix\"",
            "\"s3:prefixes\"",
            "s3:ListBucket knows no condition key s3:prefixes",
        ),
        (
            "infra/foundation.yaml",
            "StringEquals: {\"kms:ViaService",
            "Bool: {\"kms:ViaService",
            "of type String, for which there is no Bool",
        ),
        (
            "infra/foundation.yaml",
            "- dynamodb:DeleteItem",
            "- dynamodb:DeleteItems",
            "Ledger: NobodyElseWrites: AWS has no action dynamodb:DeleteItems",
        ),
        ("infra/foundation.yaml", "Sid: TlsOnly", "Sid: Tls only", "Tls only: not letters and digits"),
        ("infra/foundation.yaml", "- sns:Subscribe", "- sns:Unsubscribe", "sns:Unsubscribe is none that SNS takes"),
        (
            "infra/foundation.yaml",
            "Resource: !GetAtt Work.Arn\n            Cond",
            "Resource: [!GetAtt Work.Arn, !Ref Alerts]\n            Cond",
            "SQS takes one resource",
        ),
        (
            "infra/global.yaml",
            "events:PutEvents",
            "events:PutEvent",
            "global.yaml: ForwardRole: statement: AWS has no action",
        ),
        (
            "infra/DEPLOYER.md",
            "\"lambda:AddPermission\"",
            "\"lambda:AddPermissions\"",
            "infra/DEPLOYER.md: Functions: AWS has no action",
        ),
        (code, "\"kms:TagResource\"", "\"kms:TagResources\"", "neither an action nor a condition key kms:TagResources"),
    ];
    for (path, right, wrong, _) in mistakes.iter().filter(|it| !it.2.is_empty()) {
        let text = written.get_mut(path).unwrap();
        assert!(text.contains(right), "{path}: {right}");
        *text = text.replacen(right, wrong, 1);
    }
    for (path, text) in written {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), text).unwrap();
    }
    let found = policy_faults(&root, &sent());
    let missing: Vec<_> = mistakes.iter().filter(|it| !found.contains(it.3)).collect();
    assert!(missing.is_empty(), "{missing:#?}\n{found}");
}

#[test]
fn templates_hold_to_awss_specification_of_resources() {
    let templates = ["infra/foundation.yaml", "infra/global.yaml", "infra/wiring.yaml"];
    let said = tool("cfn-lint").args(templates).output().unwrap();
    assert!(
        said.status.success() && workspace().join(templates[0]).exists(),
        "{}",
        String::from_utf8_lossy(&said.stdout)
    );
}
