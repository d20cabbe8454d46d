//! The guardrail on the local AWS as it is deployed: key and trail, its own parts, the sweep, the scripts.

use std::{collections::BTreeSet, sync::LazyLock, time::Duration};

use guardrail_core::value::own_parts::{REMEDIATE, SWEEP};
use guardrail_tests::{
    deploy::{Deployment, Inbox, Received},
    local_aws::{ACCOUNT, REGION, complexities, eventually},
};
use serde_json::{Value, json};

use crate::local::{DEPLOYMENT, sample};

const PATIENCE: Duration = Duration::from_secs(60);

fn deployment() -> &'static Deployment {
    &DEPLOYMENT.0
}

fn aws(arguments: &[&str]) -> String {
    deployment().aws.aws(&deployment().administrator, arguments).unwrap()
}

/// One value of what a command says.
fn ask(arguments: &[&str], query: &str) -> String {
    aws(&[arguments, &["--output", "text", "--query", query]].concat())
}

/// A bucket with a key of its own, so that other tests notice nothing.
fn guard(bucket: &str, trail: &str) -> String {
    let request = json!({
        "bucket": bucket, "key_alias": format!("alias/{bucket}"), "trail": trail,
        "log_bucket": "it-logs", "inventory_bucket": "it-inventory",
    });
    let built = deployment().invoke("guardrail-bootstrap", &request).unwrap().unwrap();
    built["resources"][0]["id"].as_str().unwrap().to_owned()
}

/// So far every event has led to its look: what is told of the next call names that call, and none before it.
async fn all_is_answered() {
    until("every event is answered", || {
        let queue = attributes("s3-guardrail-events");
        let counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
        counts.iter().all(|it| queue[it] == "0")
    })
    .await;
}

async fn until(what: &str, is: impl Fn() -> bool) {
    eventually(what, PATIENCE, async || is().then_some(())).await.unwrap();
}

async fn alert(inbox: &Inbox, wanted: impl Fn(&Received) -> bool) -> Received {
    eventually("told", PATIENCE, async || inbox.receive().await.into_iter().find(&wanted)).await.unwrap()
}

fn restored(received: &Received, control: &str) -> bool {
    let findings = received.body["findings"].as_array().into_iter().flatten();
    findings.into_iter().any(|it| it["control"] == control && it["outcome"] == "restored")
}

#[tokio::test]
async fn whatever_happens_to_the_key_is_undone_and_told() {
    let key = guard("it-key", "it-trail");
    let inbox = deployment().inbox("it-key", Some("it-key")).await.unwrap();
    let describe = ["kms", "describe-key", "--key-id", &key];
    let state = || ask(&describe, "KeyMetadata.KeyState");
    // Mallory may do anything with keys.
    let mallory = |arguments: &[&str]| deployment().aws.aws(&DEPLOYMENT.1, arguments).unwrap();

    mallory(&["kms", "disable-key", "--key-id", &key]);
    until("enabled", || state() == "Enabled").await;
    let told = alert(&inbox, |it| restored(it, "kms-key")).await;
    assert_eq!(
        (&told.body["trigger"]["event_name"], &told.body["severity"]),
        (&json!("DisableKey"), &json!("WARNING"))
    );
    assert!(told.subject.contains("kms-key changed by user/mallory"), "{}", told.subject);

    mallory(&["kms", "schedule-key-deletion", "--key-id", &key, "--pending-window-in-days", "7"]);
    until("kept", || state() == "Enabled").await;
    mallory(&["kms", "disable-key-rotation", "--key-id", &key]);
    until("rotating", || ask(&["kms", "get-key-rotation-status", "--key-id", &key], "KeyRotationEnabled") == "True")
        .await;

    // Another one: after three restores within an hour each is braked.
    let key = guard("it-other-key", "it-trail");
    mallory(&["kms", "delete-alias", "--alias-name", "alias/it-other-key"]);
    let alias = ["kms", "list-aliases", "--key-id", &key];
    until("named", || ask(&alias, "Aliases[].AliasName") == "alias/it-other-key").await;

    let get = ["kms", "get-key-policy", "--key-id", &key, "--policy-name", "default"];
    let policy = || ask(&get, "Policy");
    let administrators = json!({"Version": "2012-10-17", "Statement": [
        {"Sid": "Administrators", "Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")}, "Action": "kms:*", "Resource": "*"},
    ]});
    mallory(&[
        "kms",
        "put-key-policy",
        "--key-id",
        &key,
        "--policy-name",
        "default",
        "--policy",
        &administrators.to_string(),
    ]);
    until("open to the services", || policy().contains("GuardrailTrailEncrypt") && policy().contains("Administrators"))
        .await;
}

#[tokio::test]
async fn whatever_happens_to_the_trail_is_undone_and_told() {
    // Trails of their own; an account may have no more than five in a region, those of other tests included.
    guard("it-trails", "it-trails-trail");
    let inbox = deployment().inbox("it-trails", Some("it-trails")).await.unwrap();
    let trail = format!("arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/it-trails-trail");
    let logging = |trail: &str| {
        deployment()
            .aws
            .aws(
                &deployment().administrator,
                &["cloudtrail", "get-trail-status", "--name", trail, "--output", "text", "--query", "IsLogging"],
            )
            .is_ok_and(|it| it == "True")
    };
    all_is_answered().await;
    aws(&["cloudtrail", "stop-logging", "--name", &trail]);
    until("logging", || logging(&trail)).await;
    let told = alert(&inbox, |it| restored(it, "trail")).await;
    assert_eq!(told.body["trigger"]["event_name"], "StopLogging");

    aws(&[
        "cloudtrail",
        "update-trail",
        "--name",
        &trail,
        "--no-is-multi-region-trail",
        "--no-enable-log-file-validation",
    ]);
    let settings =
        || ask(&["cloudtrail", "get-trail", "--name", &trail], "Trail.[IsMultiRegionTrail, LogFileValidationEnabled]");
    until("multi-region and validated", || settings() == "True\tTrue").await;
    aws(&[
        "cloudtrail",
        "put-event-selectors",
        "--trail-name",
        &trail,
        "--event-selectors",
        r#"[{"ReadWriteType": "ReadOnly", "IncludeManagementEvents": true}]"#,
    ]);
    let selectors = || ask(&["cloudtrail", "get-event-selectors", "--trail-name", &trail], "to_string(@)");
    until("selecting writes", || selectors().contains("it-trails/") && selectors().contains("ReadOnly")).await;

    // Another one: after three restores within an hour each is braked.
    guard("it-other-trails", "it-other-trails-trail");
    let trail = trail.replace("it-trails", "it-other-trails");
    aws(&["cloudtrail", "delete-trail", "--name", &trail]);
    until("made again", || logging(&trail)).await;
    assert_eq!(ask(&["cloudtrail", "get-trail", "--name", &trail], "Trail.S3BucketName"), "it-logs");
}

/// Held by who breaks a part of the guardrail, or sweeps: a sweep would put it back before whoever hears of the call does.
static PARTS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// What is done to a part, and what is told of it; parts that other tests do not need.
#[tokio::test]
async fn tampering_is_told_with_its_actor_and_undone_where_that_is_safe() {
    let _parts = PARTS.lock().await;
    let inbox = deployment().inbox("it-tampering", None).await.unwrap();
    let actor = format!("arn:aws:iam::{ACCOUNT}:root");
    let state = |rule: &str| ask(&["events", "describe-rule", "--name", rule], "State");
    let told = async |call: &str, part: &str| {
        let told = alert(&inbox, |it| {
            it.body["outcome"] == "tampered"
                && it.body["part"] == part
                && it.body["trigger"]["event_name"].as_str().unwrap().starts_with(call)
        })
        .await;
        assert_eq!((&told.body["severity"], &told.body["trigger"]["actor"]), (&json!("CRITICAL"), &json!(actor)));
        told
    };
    // The one that guardrail-sweep watches, and one that guardrail-remediate does.
    for rule in ["s3-guardrail-tampering-denied", "s3-guardrail-sweep"] {
        aws(&["events", "disable-rule", "--name", rule]);
        let alert = told("DisableRule", &format!("rule {rule}")).await;
        assert!(alert.subject.contains("by root, undone"), "{}", alert.subject);
        assert_eq!(state(rule), "ENABLED");
        aws(&["events", "remove-targets", "--rule", rule, "--ids", "function"]);
        told("RemoveTargets", &format!("rule {rule}")).await;
        assert!(!ask(&["events", "list-targets-by-rule", "--rule", rule], "Targets[].Arn").is_empty());
    }
    aws(&[
        "events",
        "put-rule",
        "--name",
        "s3-guardrail-tampering-denied",
        "--event-pattern",
        r#"{"source": ["nothing"]}"#,
    ]);
    told("PutRule", "rule s3-guardrail-tampering-denied").await;
    assert!(
        ask(&["events", "describe-rule", "--name", "s3-guardrail-tampering-denied"], "EventPattern")
            .contains("DisableRule")
    );

    aws(&["lambda", "update-function-configuration", "--function-name", "guardrail-verify", "--timeout", "299"]);
    told("UpdateFunctionConfiguration", "function guardrail-verify").await;
    aws(&[
        "sns",
        "set-topic-attributes",
        "--topic-arn",
        &deployment().topic_arn,
        "--attribute-name",
        "DisplayName",
        "--attribute-value",
        "x",
    ]);
    told("SetTopicAttributes", "topic s3-guardrail-alerts").await;
    // IAM's events are recorded in another region, and sent on from there.
    let nothing = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::nothing"}]});
    let policy = ["--role-name", "s3-guardrail-bootstrap-eu-west-2", "--policy-name", "more"];
    aws(&[&["iam", "put-role-policy"][..], &policy, &["--policy-document", &nothing.to_string()]].concat());
    told("PutRolePolicy", "role s3-guardrail-bootstrap-eu-west-2").await;
    aws(&[&["iam", "delete-role-policy"][..], &policy].concat());
    // What brings events: their queue, the mapping of it, and where the rules lead.
    let events = ask(&["sqs", "get-queue-url", "--queue-name", "s3-guardrail-events"], "QueueUrl");
    aws(&["sqs", "set-queue-attributes", "--queue-url", &events, "--attributes", "VisibilityTimeout=180"]);
    told("SetQueueAttributes", "queue s3-guardrail-events").await;
    let list = ["lambda", "list-event-source-mappings", "--function-name", REMEDIATE];
    let mapping = ask(&list, "EventSourceMappings[0].UUID");
    aws(&["lambda", "update-event-source-mapping", "--uuid", &mapping, "--batch-size", "10"]);
    told("UpdateEventSourceMapping", "function guardrail-remediate").await;
    let wiring = "/s3-guardrail/wiring";
    aws(&["ssm", "put-parameter", "--overwrite", "--type", "String", "--name", wiring, "--value", "2"]);
    told("PutParameter", "parameter /s3-guardrail/wiring").await;
    let parameter = "/s3-guardrail/buckets/it-nobodys";
    aws(&["ssm", "put-parameter", "--type", "String", "--name", parameter, "--value", "{}"]);
    told("PutParameter", &format!("registry parameter {parameter}")).await;
    aws(&["ssm", "delete-parameter", "--name", parameter]);
    told("DeleteParameter", &format!("registry parameter {parameter}")).await;
}

#[tokio::test]
async fn a_denied_attempt_is_told() {
    let inbox = deployment().inbox("it-attempts", None).await.unwrap();
    let denied =
        deployment().aws.aws(&DEPLOYMENT.1, &["events", "disable-rule", "--name", "s3-guardrail-bucket-changed"]);
    assert!(denied.unwrap_err().to_string().contains("AccessDenied"));
    let attempted = async |call: &str| {
        let told =
            alert(&inbox, |it| it.body["outcome"] == "attempted" && it.body["trigger"]["event_name"] == call).await;
        assert_eq!(told.body["severity"], "WARNING");
        assert!(told.subject.contains("user/mallory, and failed"), "{}", told.subject);
    };
    attempted("DisableRule").await;
    // Recorded in another region, without what it was aimed at.
    let role = ["iam", "delete-role", "--role-name", "s3-guardrail-remediate-eu-west-2"];
    assert!(deployment().aws.aws(&DEPLOYMENT.1, &role).is_err());
    attempted("DeleteRole").await;
}

/// The patterns of all rules that are deployed, in the guardrail's region and in the one where IAM's events are.
fn patterns() -> Vec<(String, String)> {
    let list = ["events", "list-rules", "--name-prefix", "s3-guardrail-", "--output", "json", "--region"];
    let rules = [REGION, "us-east-1"].map(|region| {
        let rules: Value = serde_json::from_str(&aws(&[&list[..], &[region]].concat())).unwrap();
        rules["Rules"].as_array().unwrap().clone()
    });
    let text = |rule: &Value, name: &str| rule[name].as_str().unwrap_or_default().to_owned();
    let patterns = rules.concat().into_iter().map(|it| (text(&it, "Name"), text(&it, "EventPattern")));
    patterns.filter(|it| !it.1.is_empty()).collect()
}

#[test]
fn eventbridge_finds_every_rule_short_and_simple_enough() {
    let patterns = patterns();
    assert_eq!(patterns.len(), 9, "{patterns:?}");
    let compact = |it: &str| serde_json::from_str::<Value>(it).unwrap().to_string();
    let texts: Vec<_> = patterns.iter().map(|it| compact(&it.1)).collect();
    for ((name, _), (text, complexity)) in patterns.iter().zip(texts.iter().zip(complexities(&texts))) {
        assert!(text.len() <= 2048 && complexity <= 9, "{name}: {} characters, complexity {complexity}", text.len());
    }
}

fn put_parameter(bucket: &str, document: &str) {
    let name = format!("/s3-guardrail/buckets/{bucket}");
    aws(&["ssm", "put-parameter", "--overwrite", "--type", "String", "--name", &name, "--value", document]);
}

#[tokio::test]
async fn the_sweep_finds_what_no_event_told_and_marks_it() {
    let _parts = PARTS.lock().await;
    deployment().guard("it-swept").unwrap();
    let inbox = deployment().inbox("it-swept", Some("it-swept")).await.unwrap();
    let broken = deployment().inbox("it-swept-broken", Some("it-swept-broken")).await.unwrap();
    let _listens = deployment().second_inbox("it-swept-second").await.unwrap();
    let parameter = "/s3-guardrail/buckets/it-swept";
    let document = ask(&["ssm", "get-parameter", "--name", parameter], "Parameter.Value");
    // An event of bootstrap's own calls that comes late would restore it before the sweep does.
    until("bootstrap's calls are answered", || {
        deployment().outcomes("it-swept").len() >= deployment().calls("it-swept").unwrap()
    })
    .await;
    let before = deployment().outcomes("it-swept").len();
    // While nobody guards it, its events restore nothing.
    aws(&["ssm", "delete-parameter", "--name", parameter]);
    aws(&["s3api", "delete-public-access-block", "--bucket", "it-swept"]);
    until("looked at", || deployment().outcomes("it-swept").len() > before).await;
    put_parameter("it-swept", &document);
    put_parameter("it-swept-broken", "{");

    let answer = deployment().invoke(SWEEP, &sample("schedule.json", "acme-data")).unwrap().unwrap();
    assert!(answer["buckets"].as_u64().unwrap() >= 2, "{answer}");
    assert_eq!(answer["guardrail"], Value::Null, "rules, permissions, trail and topics are as the code has them");
    let told = alert(&inbox, |it| restored(it, "public-access-block")).await;
    assert_eq!((&told.body["missed_event"], &told.body["trigger"]), (&json!(true), &Value::Null));
    let told = alert(&broken, |it| it.body["outcome"] == "failed").await;
    assert!(
        told.body["error"].as_str().unwrap().contains("not valid"),
        "one broken document is told, the others are swept"
    );
    aws(&["ssm", "delete-parameter", "--name", "/s3-guardrail/buckets/it-swept-broken"]);
}

#[test]
fn wrong_options_are_named_before_anything_is_created() {
    static ONCE: LazyLock<&Deployment> = LazyLock::new(deployment);
    for (options, part) in [
        (&["--email", "nobody"][..], "--email: `nobody` is not an e-mail address"),
        (&["--parameter-prefix", "buckets"], "--parameter-prefix: `buckets` must begin and end with a slash"),
        (&["--permissions-boundary", "x"], "--permissions-boundary: `x`"),
        (&["--log-retention-days", "31"], "--log-retention-days: `31`"),
        (&["--concurrency", "5"], "unknown option --concurrency"),
        (&["--binaries", "/nowhere"], "--binaries: there is no /nowhere/guardrail-remediate"),
        (&["--region"], "unknown option --region"),
        (&["--email"], "--email needs a value"),
    ] {
        let error = ONCE.deploy(options).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert!(!error.contains("1/5"), "{error}");
    }
    let said = ONCE.script("destroy.sh").output().unwrap();
    assert!(!said.status.success() && String::from_utf8_lossy(&said.stderr).contains("say --yes"));
}

/// The rules that lead there.
fn leading_to(target: &str) -> BTreeSet<String> {
    let list = ["events", "list-rule-names-by-target", "--target-arn", target, "--query", "RuleNames"];
    let rules: Vec<String> = serde_json::from_str(&aws(&list)).unwrap();
    rules.iter().map(|it| format!("arn:aws:events:{REGION}:{ACCOUNT}:rule/{it}")).collect()
}

#[test]
fn each_function_may_be_invoked_for_its_own_rules_and_for_nothing_else() {
    let of_sweep = ask(&["lambda", "get-policy", "--function-name", SWEEP], "Policy");
    let of_sweep: Value = serde_json::from_str(&of_sweep).unwrap();
    let source = |it: &Value| it["Condition"]["ArnLike"].as_object()?.values().next()?.as_str().map(str::to_owned);
    let sources: BTreeSet<_> = of_sweep["Statement"].as_array().unwrap().iter().filter_map(source).collect();
    assert_eq!(sources, leading_to(&format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{SWEEP}")));
    assert_eq!(sources.len(), 2, "{sources:?}");
    // The other takes events from a queue, in which the rules put them, and nobody else.
    let get = ["lambda", "get-policy", "--function-name", REMEDIATE];
    let none = deployment().aws.aws(&deployment().administrator, &get).unwrap_err().to_string();
    assert!(none.contains("ResourceNotFoundException"), "{none}");
    let allowed = policy("s3-guardrail-events")["Statement"][0]["Condition"]["ArnEquals"]["aws:SourceArn"].take();
    let senders: BTreeSet<String> = serde_json::from_value(allowed).unwrap();
    assert_eq!(senders, leading_to(&format!("arn:aws:sqs:{REGION}:{ACCOUNT}:s3-guardrail-events")));
    assert_eq!(senders.len(), 6, "{senders:?}");
    for queue in ["s3-guardrail-events", "s3-guardrail-work"] {
        let url = ask(&["sqs", "get-queue-url", "--queue-name", queue], "QueueUrl");
        let send = ["sqs", "send-message", "--queue-url", &url, "--message-body", "{}"];
        let denied = deployment().aws.aws(&deployment().administrator, &send).unwrap_err().to_string();
        assert!(denied.contains("AccessDenied"), "{queue}: {denied}");
    }
}

#[test]
fn every_alarm_tells_both_topics() {
    let alarms = aws(&["cloudwatch", "describe-alarms", "--alarm-name-prefix", "s3-guardrail-", "--output", "json"]);
    let alarms: Value = serde_json::from_str(&alarms).unwrap();
    let alarms = alarms["MetricAlarms"].as_array().unwrap();
    let names: BTreeSet<_> = alarms.iter().map(|it| it["AlarmName"].as_str().unwrap()).collect();
    assert!(names.contains("s3-guardrail-dead-letters") && names.contains("s3-guardrail-no-sweep"), "{names:?}");
    assert!(
        alarms.iter().all(|it| it["AlarmActions"] == json!([deployment().topic_arn, deployment().second_topic_arn])),
        "{alarms:?}"
    );
    assert_eq!(
        ask(&["lambda", "get-function-concurrency", "--function-name", REMEDIATE], "ReservedConcurrentExecutions"),
        "None"
    );
}

#[test]
fn only_the_functions_and_the_alarms_may_publish_at_the_second_topic() {
    let publish = |topic: &str| {
        let publish = ["sns", "publish", "--topic-arn", topic, "--message", "all is well"];
        deployment().aws.aws(&deployment().administrator, &publish)
    };
    publish(&deployment().topic_arn).unwrap();
    let denied = publish(&deployment().second_topic_arn).unwrap_err().to_string();
    assert!(denied.contains("Authorization"), "{denied}");
    let attributes = ["sns", "get-topic-attributes", "--topic-arn", &deployment().second_topic_arn];
    assert_eq!(ask(&attributes, "Attributes.KmsMasterKeyId"), "None");
    let policy: Value = serde_json::from_str(&ask(&attributes, "Attributes.Policy")).unwrap();
    let statements = policy["Statement"].as_array().unwrap();
    let allowed =
        statements.iter().filter(|it| it["Effect"] == "Allow" && it["Action"].to_string().contains("Publish"));
    let allowed: Vec<_> = allowed.map(|it| &it["Principal"]).collect();
    assert_eq!(allowed, [&json!({"Service": "cloudwatch.amazonaws.com"})], "{policy}");
}

fn attributes(queue: &str) -> Value {
    let url = ask(&["sqs", "get-queue-url", "--queue-name", queue], "QueueUrl");
    let get = ["sqs", "get-queue-attributes", "--queue-url", &url, "--attribute-names", "All", "--output", "json"];
    serde_json::from_str::<Value>(&aws(&get)).unwrap()["Attributes"].take()
}

fn policy(queue: &str) -> Value {
    serde_json::from_str(attributes(queue)["Policy"].as_str().unwrap()).unwrap()
}

#[test]
fn each_queue_has_a_policy_of_its_own_and_is_handed_out_as_seldom_as_an_account_may_need() {
    for (queue, at_once) in
        [("s3-guardrail-events", Some("4")), ("s3-guardrail-work", Some("2")), ("s3-guardrail-dead-letters", None)]
    {
        let (attributes, policy) = (attributes(queue), policy(queue));
        let statements = policy["Statement"].as_array().unwrap();
        assert!(statements.iter().all(|it| it["Resource"] == attributes["QueueArn"]), "{policy}");
        assert!(statements.iter().any(|it| it["Sid"] == "TlsOnly"), "{policy}");
        let Some(at_once) = at_once else { continue };
        let redrive: Value = serde_json::from_str(attributes["RedrivePolicy"].as_str().unwrap()).unwrap();
        assert_eq!((&redrive["maxReceiveCount"], &attributes["VisibilityTimeout"]), (&json!(20), &json!("180")));
        let list =
            ["lambda", "list-event-source-mappings", "--event-source-arn", attributes["QueueArn"].as_str().unwrap()];
        let said = ask(
            &list,
            "EventSourceMappings[].[BatchSize, MaximumBatchingWindowInSeconds, FunctionResponseTypes[0], ScalingConfig.MaximumConcurrency]",
        );
        assert_eq!(said, format!("10\t0\tReportBatchItemFailures\t{at_once}"), "{queue}");
    }
}
