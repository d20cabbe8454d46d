//! The fault matrix: every call of every flow goes wrong in every way, once and for good.
//!
//! Whatever goes wrong: nothing of the owner's is lost, every other control is restored, people are told, and when it
//! is over the next attempt finishes the work.

use std::collections::{BTreeMap, BTreeSet};

use expect_test::expect_file;
use guardrail::{
    Guardrail,
    work::{bootstrap::bootstrap, sweep::sweep},
};
use guardrail_core::{
    control::table::Control,
    value::{
        failure::chain,
        own_parts::{USES, WIRING},
    },
};
use guardrail_tests::{
    control,
    fake::{ACCOUNT, ALIAS, BUCKET, FakeAws, FakeKey, FaultKind, KEY, TRAIL, World, acl, remediate},
    matrix::{self, Cell, PATIENCE, Row, holds, same},
    models::Exchange,
};
use serde_json::{Value, json};

use crate::owners;

const MOVED_ALIAS: &str = "alias/moved";

/// Calls that are no control's.
const OTHER_CALLS: [&str; 30] = [
    "CreateBucket",
    "GetBucketWebsite",
    "GetBucketReplication",
    "ListObjectVersions",
    "CreateKey",
    "ListKeys",
    "ListResourceTags",
    "PutParameter",
    "DescribeSubscribersForNotification",
    "CreateBudget",
    "CreateSubscriber",
    "GetParameter",
    "GetParameters",
    "GetParametersByPath",
    "DeleteParameter",
    "Publish",
    "PutObject",
    "SendMessageBatch",
    "DescribeRule",
    "DescribeStackResources",
    "ListTargetsByRule",
    "PutRule",
    "EnableRule",
    "PutTargets",
    "GetPolicy",
    "GetFunctionConcurrency",
    "ListEventSourceMappings",
    "GetQueueAttributes",
    "DescribeTrails",
    "ListSubscriptionsByTopic",
];

/// A world off its baseline, and what the functions are invoked with about it.
struct Flow {
    name: &'static str,
    world: World,
    function: Function,
    input: Value,
}

#[derive(Clone, Copy, PartialEq)]
enum Function {
    Bootstrap,
    /// About buckets, keys and trails.
    Remediate,
    /// The same for a queue's messages, which come back when they failed.
    Batch,
    /// About the guardrail's own parts.
    Mend,
    Sweep,
}

fn call(source: &str, name: &str, parameters: Value) -> Value {
    json!({"detail": {
        "eventSource": format!("{source}.amazonaws.com"), "eventName": name, "requestParameters": parameters,
        "userIdentity": {"arn": format!("arn:aws:iam::{ACCOUNT}:user/mallory")}, "eventTime": "2026-11-23T09:14:05Z",
    }})
}

/// Every control off its baseline, with something of the owner's in each.
fn drifted() -> World {
    let document = json!({"bucket": BUCKET, "account": ACCOUNT, "key_arn": KEY, "key_alias": ALIAS, "trail_arn": TRAIL, "log_bucket": "acme-data-logs"});
    let others = "<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"><ID>other</ID></Grantee><Permission>READ</Permission></Grant>";
    let bucket = [
        ("acl", acl(others)),
        ("policy", json!({"Version": "2012-10-17", "Statement": [owners::statement()]}).to_string()),
        ("lifecycle", format!("<LifecycleConfiguration>{}</LifecycleConfiguration>", owners::RULE)),
        ("inventory", owners::inventory()),
    ];
    World {
        bucket: Some(bucket.map(|it| (it.0.to_owned(), it.1)).into()),
        transition_size: Some("varies_by_storage_class".to_owned()),
        parameters: [(format!("/s3-guardrail/buckets/{BUCKET}"), document.to_string())].into(),
        key: Some(FakeKey {
            state: "PendingDeletion".to_owned(),
            rotation: false,
            policy: json!({"Statement": [owners::key_statement()]}).to_string(),
            aliases: [(ALIAS.to_owned(), format!("{KEY}2"))].into(),
            ..FakeKey::good()
        }),
        trail: Some(json!({
            "TrailARN": TRAIL, "IsLogging": false, "IsMultiRegionTrail": false, "EnableLogFileValidation": false,
            "S3BucketName": "central-logs", "KmsKeyId": format!("{KEY}3"), "AdvancedEventSelectors": [owners::selector()],
        })),
        ..World::default()
    }
}

/// The guardrail's own rules, as they are deployed.
fn deployed() -> BTreeMap<String, (Value, Vec<Value>)> {
    let fake = FakeAws::default();
    fake.deploy_rules();
    fake.state().rules.clone()
}

async fn flows() -> Vec<Flow> {
    let drifted = drifted();
    // Most of the flows are about one thing: the rest is as it should be.
    let fake = FakeAws::default();
    fake.state().set_world(drifted.clone());
    fake.remediate(json!({"bucket": BUCKET})).await.unwrap();
    let whole = fake.state().world();

    let flow = |name, world, input| Flow { name, world, function: Function::Remediate, input };
    let message = json!({"messageId": "m", "body": json!({"bucket": BUCKET}).to_string()});
    let batch = json!({"Records": [message]});
    let gone = World { bucket: None, ..whole.clone() };
    let mut bare_key = whole.clone();
    bare_key.key.as_mut().unwrap().aliases.clear();
    let mut key = whole.clone();
    key.key.clone_from(&drifted.key);
    let mut trail = whole.clone();
    trail.trail.clone_from(&drifted.trail);
    let mut no_trail = whole.clone();
    no_trail.trail = None;
    let mut swept = whole.clone();
    swept.rules = deployed();
    swept.parameters.insert(WIRING.to_owned(), "2".to_owned());
    swept.parameters.insert(format!("{USES}key/nobodys"), json!({"buckets": ["gone"]}).to_string());
    swept.rules.get_mut("s3-guardrail-bucket-changed").unwrap().0["State"] = json!("DISABLED");
    swept.rules.get_mut("s3-guardrail-key-changed").unwrap().0["EventPattern"] = json!("{\"source\":[\"nothing\"]}");
    swept.rules.get_mut("s3-guardrail-trail-changed").unwrap().1.clear();
    swept.rules.remove("s3-guardrail-tampered");
    let tampering = call("events", "DisableRule", json!({"name": "s3-guardrail-bucket-changed"}));
    let build = |name, world| {
        let accept = ["drops-acl-grants"];
        let input =
            json!({"bucket": BUCKET, "trail": "acme-trail", "zero_spend_budget": "ann@example.com", "accept": accept});
        Flow { name, world, function: Function::Bootstrap, input }
    };
    let stopped = FakeAws::default();
    stopped.fail("CreateAlias", 1, FaultKind::Answer(400, "AccessDeniedException"));
    let input = json!({"bucket": BUCKET, "trail": "acme-trail"});
    Box::pin(bootstrap(&stopped.guardrail(), input)).await.unwrap_err();
    let unnamed = World { key: stopped.state().key.clone(), ..World::default() };
    let support = ["acme-data-logs", "acme-data-inventory"].map(|it| (it.to_owned(), Default::default()));
    let bob = json!({"SubscriptionType": "EMAIL", "Address": "bob@example.com"});
    let mut found = World { others: support.clone().into(), mailed: Some(vec![bob]), ..drifted.clone() };
    found.parameters.clear();
    let mut moving = whole.clone();
    moving.others.extend(support.clone());
    moving.key.as_mut().unwrap().aliases.insert(MOVED_ALIAS.to_owned(), format!("{KEY}2"));
    let its_key = found.key.as_mut().unwrap();
    its_key.state = "Enabled".to_owned();
    its_key.aliases = [(ALIAS.to_owned(), KEY.to_owned())].into();
    vec![
        build("build", World::default()),
        build("go on", unnamed),
        build("adopt", found),
        Flow {
            name: "move",
            world: moving,
            function: Function::Bootstrap,
            input: json!({"bucket": BUCKET, "key_alias": MOVED_ALIAS}),
        },
        flow("bucket event", drifted.clone(), call("s3", "PutBucketPolicy", json!({"bucketName": BUCKET}))),
        flow("gone", gone, call("s3", "DeleteBucket", json!({"bucketName": BUCKET}))),
        flow("request", drifted.clone(), json!({"bucket": BUCKET})),
        Flow { name: "message", world: drifted, function: Function::Batch, input: batch },
        flow("key event", key, call("kms", "DisableKey", json!({"keyId": KEY}))),
        flow("alias event", bare_key, call("kms", "DeleteAlias", json!({"aliasName": ALIAS}))),
        flow("trail event", trail, call("cloudtrail", "StopLogging", json!({"name": TRAIL}))),
        flow("no trail", no_trail, call("cloudtrail", "DeleteTrail", json!({"name": TRAIL}))),
        Flow { name: "tampering", world: swept.clone(), function: Function::Mend, input: tampering },
        Flow { name: "sweep", world: swept, function: Function::Sweep, input: json!({}) },
    ]
}

/// What every flow sends and is answered, and the role of the function that does.
pub(crate) async fn exchanges() -> Vec<(&'static str, Exchange)> {
    let mut exchanges = Vec::new();
    for flow in flows().await {
        let role = match flow.function {
            Function::Bootstrap => "BootstrapRole",
            Function::Remediate | Function::Batch | Function::Mend => "RemediateRole",
            Function::Sweep => "SweepRole",
        };
        let fake = flow.start();
        fake.state().exchanges = Some(Vec::new());
        flow.invoke(&fake.guardrail()).await.unwrap();
        exchanges.extend(fake.state().exchanges.take().unwrap().into_iter().map(|it| (role, it)));
    }
    exchanges
}

impl Flow {
    fn start(&self) -> FakeAws {
        let fake = FakeAws::default();
        fake.state().set_world(self.world.clone());
        fake
    }

    async fn invoke(&self, guardrail: &Guardrail) -> Result<Value, String> {
        let input = self.input.clone();
        match self.function {
            Function::Bootstrap => Box::pin(bootstrap(guardrail, input)).await.map_err(|error| chain(&error)),
            Function::Remediate | Function::Mend => remediate(guardrail, input).await.map_err(|error| chain(&error)),
            Function::Batch => match remediate(guardrail, input).await {
                Ok(answer) if answer["batchItemFailures"] == json!([]) => Ok(answer),
                Ok(answer) => Err(answer.to_string()),
                Err(error) => panic!("a batch fails as a whole: {error}"),
            },
            Function::Sweep => sweep(guardrail, input).await.map_err(|error| chain(&error)),
        }
    }

    /// The flow without any fault: what the world is then, the calls it took, and what people are told.
    async fn undisturbed(&self) -> Undisturbed {
        let fake = self.start();
        self.invoke(&fake.guardrail()).await.unwrap();
        let all = fake.state().calls.clone();
        let mut calls: Vec<String> = Vec::new();
        for call in &all {
            if !calls.contains(call) {
                calls.push(call.clone());
            }
        }
        let count = |call: &String| (call.clone(), all.iter().filter(|it| *it == call).count());
        let counts = calls.iter().map(count).collect();
        let goal = fake.state().world();
        let queued = fake.state().queued.iter().cloned().collect();
        let told = told(&fake);
        assert_eq!(owners::keeps_everything(&goal), owners::keeps_everything(&self.world), "{goal:#?}");
        fake.forget();
        self.invoke(&fake.guardrail()).await.unwrap();
        assert_eq!(fake.writes(), Vec::<String>::new(), "{}: nothing is left to do", self.name);
        // Of what there is nothing to restore, people are told whenever an event says so.
        let always_told = self.function == Function::Mend || self.world.bucket.is_none();
        assert!(fake.alerts().is_empty() || always_told, "{}: nothing is left to tell", self.name);
        Undisturbed { goal, queued, calls, counts, told }
    }
}

struct Undisturbed {
    goal: World,
    queued: BTreeSet<String>,
    /// In the order in which they come first.
    calls: Vec<String>,
    counts: BTreeMap<String, usize>,
    told: Vec<BTreeSet<(String, String)>>,
}

/// What each alert says of each control or part.
fn told(fake: &FakeAws) -> Vec<BTreeSet<(String, String)>> {
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    let finding = |it: &Value| (text(it.get("control").unwrap_or(&it["part"])), text(&it["outcome"]));
    fake.alerts().iter().map(|it| it["findings"].as_array().into_iter().flatten().map(finding).collect()).collect()
}

/// The part of the world that a control is about.
fn setting(world: &World, control: Control) -> Value {
    let bucket = |name: &str| json!(world.bucket.as_ref().and_then(|it| it.get(name)));
    match control {
        Control::PublicAccessBlock => bucket("publicAccessBlock"),
        Control::ObjectOwnership => json!([bucket("ownershipControls"), bucket("acl")]),
        Control::BucketPolicy => bucket("policy"),
        Control::DefaultEncryption => bucket("encryption"),
        Control::Versioning => bucket("versioning"),
        Control::Lifecycle => json!([bucket("lifecycle"), world.transition_size]),
        Control::Inventory => bucket("inventory"),
        Control::KmsKey => json!(format!("{:?}", world.key)),
        Control::Trail => json!(world.trail),
    }
}

/// One call that goes wrong in one way, so often. Says how it went, or what should not be.
async fn cell(flow: &Flow, usual: &Undisturbed, call: &str, kind: &FaultKind, times: usize) -> Cell {
    let fake = flow.start();
    if matches!(kind, FaultKind::Slow) {
        fake.state().attempt_timeout = Some(PATIENCE);
    }
    fake.fail(call, times, kind.clone());
    let guardrail = fake.guardrail();
    let answer = flow.invoke(&guardrail).await;
    let mut told = told(&fake);
    if call == "Publish" {
        // An answer that was not heard of: people are told twice rather than never.
        told.dedup();
    }
    let world = fake.state().world();
    let kept = owners::keeps_everything(&world) || !owners::keeps_everything(&flow.world);
    holds(format_args!("something of the owner's is lost: {world:#?}"), kept)?;

    let remediates = matches!(flow.function, Function::Remediate | Function::Batch);
    let of_call =
        Control::ALL.into_iter().find(|it| remediates && it.vocabulary().calls.iter().any(|it| it.api == call));
    let bad = |it: &&(String, String)| it.1 == "failed" || it.1 == "unreadable";
    let failed: BTreeSet<_> = told.iter().flatten().filter(bad).map(|it| it.0.clone()).collect();
    let critical = fake.alerts().iter().any(|it| it["severity"] == "CRITICAL");
    let outcome = match &answer {
        // The sweep tells what it could not look at or mend; the next one looks again.
        Ok(_) if flow.function == Function::Sweep && !failed.is_empty() => "told",
        Ok(answer) => {
            same("restored", &world, &usual.goal)?;
            same("told", &told, &usual.told)?;
            let unrecorded = fake.state().objects.is_empty() || answer.to_string().contains("\"record_error\"");
            if call == "PutObject" && unrecorded {
                return Ok("warns");
            }
            let again = fake.state().calls.iter().filter(|it| *it == call).count() > usual.counts[call];
            if again { "again" } else { "ok" }
        }
        Err(error) => {
            // Of a message, the queue learns which one failed, and no more.
            let names_it = error.contains(call) || flow.function == Function::Batch && error.contains("\"m\"");
            holds(format_args!("the error does not name the call: {error}"), names_it)?;
            match of_call {
                Some(control) => {
                    // When one read does not say so, nobody knows that the bucket is gone.
                    let all = Control::OF_BUCKET.as_slice();
                    let unknown = if flow.world.bucket.is_none() { all } else { &[control] };
                    same("failed", &failed, &unknown.iter().map(|it| it.id().to_owned()).collect())?;
                    holds("no alert is critical", critical)?;
                    for other in Control::ALL.into_iter().filter(|it| *it != control) {
                        same(other.id(), &setting(&world, other), &setting(&usual.goal, other))?;
                    }
                    "told"
                }
                // What is to be exchanged is told before it is.
                None if call == "Publish" && flow.function != Function::Bootstrap => {
                    same("restored", &world, &usual.goal)?;
                    "error"
                }
                // What was built stays, and it goes on from there.
                None if flow.function == Function::Bootstrap => "error",
                // Before it is known what should be, nothing is written.
                None if remediates => {
                    same("untouched", &world, &flow.world)?;
                    if critical { "told" } else { "error" }
                }
                None if flow.function == Function::Mend => {
                    holds("nobody is told what could not be mended", critical && !failed.is_empty())?;
                    "told"
                }
                // What keeps the sweep from its buckets does not keep it from its own parts.
                None => {
                    same("rules", &world.rules, &usual.goal.rules)?;
                    "error"
                }
            }
        }
    };

    if outcome == "told" || outcome == "error" {
        // It is over: the next attempt finishes.
        fake.state().heal();
        fake.forget();
        flow.invoke(&guardrail).await.map_err(|error| format!("afterwards: {error}"))?;
        let world = fake.state().world();
        same("afterwards", &world, &usual.goal)?;
        let left: Vec<_> = self::told(&fake).into_iter().flatten().filter(|it| it.1 != "restored").collect();
        same("told afterwards", &left, &Vec::new())?;
    }
    let queued: BTreeSet<_> = fake.state().queued.iter().cloned().collect();
    same("queued", &queued, &usual.queued)?;
    Ok(outcome)
}

const LEGEND: &str = "\
# Faults

Every call of every flow of `guardrail-remediate`, `guardrail-bootstrap` and `guardrail-sweep` goes wrong in ten ways:
the real functions with the real SDK, over a fake of AWS. Made by `UPDATE_EXPECT=1 cargo test --test it whatever_goes`,
and held to it by `cargo test`. The table of `guardrail-verify` is [FAULTS-verify.md](FAULTS-verify.md), the command's
[infra/cli/FAULTS.md](../infra/cli/FAULTS.md).

| fault | what happens to the call |
|---|---|
| 500, 503, 409, 403 | not done; AWS answers InternalError, SlowDown, OperationAborted, AccessDenied |
| timeout, reset | not done; no answer, or a broken connection |
| cut, garbage | done; half of the answer comes, or something that is none |
| slow | done; the answer comes after the SDK has given up, which is after 5 seconds: a call of 10 seconds is such |
| stale | the next two reads of each kind answer as if this write had not been; a read answers so itself |

A cell says what became of it when the call went wrong once and, behind the slash, when it goes wrong for good:

| cell | |
|---|---|
| ok | nobody noticed |
| again | it was tried again, and nobody noticed |
| told | people were told, CRITICAL, what is not restored or not known; Lambda or the next sweep tries again |
| error | the invocation failed and names the call; Lambda tries again, or whoever called |
| warns | the history has no record of a restore; nothing else is amiss |

In each of them everything of the owner's is as it was, every other control is restored, the alert names the control
that is not and no other, and when the fault is over one more attempt ends with all as it should be.
";

/// See [`LEGEND`].
#[test]
fn whatever_goes_wrong_nothing_is_lost_and_people_know() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (flows, usual) = runtime.block_on(async {
        let flows = flows().await;
        let mut usual = Vec::new();
        for flow in &flows {
            usual.push(flow.undisturbed().await);
        }
        (flows, usual)
    });
    let rows: Vec<_> = (flows.iter().zip(&usual).enumerate())
        .flat_map(|(flow, (it, usual))| {
            usual.calls.iter().map(move |call| Row { flow, name: it.name.to_owned(), call: call.clone() })
        })
        .collect();
    let calls: BTreeSet<_> = rows.iter().map(|it| it.call.as_str()).collect();
    let known = Control::ALL.iter().flat_map(|it| it.vocabulary().calls).map(|it| it.api).chain(OTHER_CALLS);
    assert_eq!(calls, known.collect(), "every call has a row, and every row is a call");

    let table = matrix::table(&rows, async |row, kind, times| {
        cell(&flows[row.flow], &usual[row.flow], &row.call, kind, times).await
    });
    expect_file!["../FAULTS.md"].assert_eq(&format!("{LEGEND}\n```text\n{table}\n```\n"));
}

/// A text that is cut at the end of an element looks whole to a reader who does not look for its end.
#[tokio::test]
async fn a_setting_whose_answer_is_cut_is_unreadable_and_stays() {
    let fake = FakeAws::compliant().await;
    for control in Control::OF_BUCKET {
        let read = control.vocabulary().reads().next().unwrap().api;
        let document = fake.documents()[control::subresource(control).unwrap()].clone();
        let ends = document.match_indices('>').map(|it| it.0 + 1).filter(|it| *it < document.len());
        for end in ends.chain([0]) {
            fake.forget();
            fake.fail(read, 1, FaultKind::Stale(Some(document[..end].to_owned())));
            let error = fake.remediate(json!({"bucket": BUCKET})).await.unwrap_err();
            assert!(error.contains(&format!("{control}: {read}")), "{}: {error}", &document[..end]);
            assert_eq!(fake.writes(), Vec::<String>::new(), "{}", &document[..end]);
        }
    }
}
