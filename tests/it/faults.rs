//! The fault matrix: every call of every flow goes wrong in every way, once and for good.
//!
//! Whatever goes wrong: nothing of the owner's is lost, every other control is restored, people are told, and when it
//! is over the next attempt finishes the work.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    sync::Mutex,
    time::Duration,
};

use expect_test::expect;
use guardrail::{
    Guardrail, api::chain, bootstrap::bootstrap, control::Control, remediate::remediate, rules::rules, sweep::sweep,
};
use guardrail_tests::fake::{ACCOUNT, BUCKET, FakeAws, FakeKey, FaultKind, KEY, TRAIL, World, acl};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::owners;

const ALIAS: &str = "alias/s3-secure-data";

/// What each kind of fault is called in the table. "slow" is slower than the SDK waits: done, and not known to be.
fn faults() -> [(&'static str, FaultKind); 10] {
    [
        ("500", FaultKind::Answer(500, "InternalError")),
        ("503", FaultKind::Answer(503, "SlowDown")),
        ("409", FaultKind::Answer(409, "OperationAborted")),
        ("403", FaultKind::Answer(403, "AccessDenied")),
        ("timeout", FaultKind::Timeout),
        ("reset", FaultKind::Reset),
        ("cut", FaultKind::Truncated),
        ("garbage", FaultKind::Malformed),
        ("slow", FaultKind::Slow),
        ("stale", FaultKind::Lagging(2)),
    ]
}
/// How long the SDK waits here. The fake divides by a hundred.
const PATIENCE: Duration = Duration::from_secs(200);

/// Calls that are no control's.
const OTHER_CALLS: [&str; 22] = [
    "CreateBucket",
    "CreateKey",
    "ListKeys",
    "ListResourceTags",
    "PutParameter",
    "DescribeSubscribersForNotification",
    "CreateBudget",
    "CreateSubscriber",
    "GetParameter",
    "GetParametersByPath",
    "Publish",
    "PutObject",
    "SendMessageBatch",
    "DescribeRule",
    "ListTargetsByRule",
    "PutRule",
    "EnableRule",
    "PutTargets",
    "GetPolicy",
    "GetFunctionConcurrency",
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
    Remediate,
    Sweep,
}

fn call(source: &str, name: &str, parameters: Value) -> Value {
    json!({"detail": {
        "eventSource": format!("{source}.amazonaws.com"), "eventName": name, "requestParameters": parameters,
        "userIdentity": {"arn": format!("arn:aws:iam::{ACCOUNT}:user/mallory")}, "eventTime": "2026-11-23T09:14:05Z",
    }})
}

/// Every control off its baseline, with something of the owner's in each.
pub(crate) fn drifted() -> World {
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
            tags: json!([]),
            aliases: [(ALIAS.to_owned(), format!("{KEY}2"))].into(),
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
    let shown = rules("/s3-guardrail/buckets/").into_iter().map(|rule| {
        let arn = format!("arn:aws:lambda:eu-west-2:{ACCOUNT}:function:{}", rule.function);
        let shown =
            json!({"Name": rule.name, "State": "ENABLED", "EventPattern": rule.pattern.map(|it| it.to_string())});
        (rule.name.to_owned(), (shown, vec![json!({"Id": "function", "Arn": arn})]))
    });
    shown.collect()
}

async fn flows() -> Vec<Flow> {
    let drifted = drifted();
    // Most of the flows are about one thing: the rest is as it should be.
    let fake = FakeAws::default();
    fake.state().set_world(drifted.clone());
    fake.remediate(json!({"bucket": BUCKET})).await.unwrap();
    let whole = fake.state().world();

    let flow = |name, world, input| Flow { name, world, function: Function::Remediate, input };
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
    swept.rules.get_mut("s3-guardrail-bucket-changed").unwrap().0["State"] = json!("DISABLED");
    swept.rules.get_mut("s3-guardrail-key-changed").unwrap().0["EventPattern"] = json!("{\"source\":[\"nothing\"]}");
    swept.rules.get_mut("s3-guardrail-trail-changed").unwrap().1.clear();
    let build = |name, world| {
        let input = json!({"bucket": BUCKET, "trail": "acme-trail", "zero_spend_budget": "ann@example.com"});
        Flow { name, world, function: Function::Bootstrap, input }
    };
    let tags = json!([{"TagKey": "s3-guardrail:alias", "TagValue": ALIAS}]);
    let unnamed = World { key: Some(FakeKey { tags, ..FakeKey::good() }), ..World::default() };
    let support = ["acme-data-logs", "acme-data-inventory"].map(|it| (it.to_owned(), Default::default()));
    let mut found = World { others: support.into(), mailed: Some(Vec::new()), ..drifted.clone() };
    found.parameters.clear();
    let its_key = found.key.as_mut().unwrap();
    its_key.state = "Enabled".to_owned();
    its_key.aliases = [(ALIAS.to_owned(), KEY.to_owned())].into();
    vec![
        build("build", World::default()),
        build("go on", unnamed),
        build("adopt", found),
        flow("request", drifted, json!({"bucket": BUCKET})),
        flow("key event", key, call("kms", "DisableKey", json!({"keyId": KEY}))),
        flow("alias event", bare_key, call("kms", "DeleteAlias", json!({"aliasName": ALIAS}))),
        flow("trail event", trail, call("cloudtrail", "StopLogging", json!({"name": TRAIL}))),
        flow("no trail", no_trail, call("cloudtrail", "DeleteTrail", json!({"name": TRAIL}))),
        Flow { name: "sweep", world: swept, function: Function::Sweep, input: json!({}) },
    ]
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
            Function::Remediate => remediate(guardrail, input).await.map_err(|error| chain(&error)),
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
        assert_eq!((fake.writes(), fake.alerts()), (vec![], vec![]), "{}: nothing is left to do", self.name);
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

/// Fails unless they are the same.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: &T, should: &T) -> Result<(), String> {
    if is == should { Ok(()) } else { Err(format!("{what}: {is:#?} should be {should:#?}")) }
}

fn holds(what: impl std::fmt::Display, is: bool) -> Result<(), String> {
    if is { Ok(()) } else { Err(what.to_string()) }
}

/// Makes a control's part of the world what it is in another one.
pub(crate) fn take(world: &mut World, other: &World, control: Control) {
    let names: &[&str] = match control {
        Control::PublicAccessBlock => &["publicAccessBlock"],
        Control::ObjectOwnership => &["ownershipControls", "acl"],
        Control::BucketPolicy => &["policy"],
        Control::DefaultEncryption => &["encryption"],
        Control::Versioning => &["versioning"],
        Control::Lifecycle => &["lifecycle"],
        Control::Inventory => &["inventory"],
        Control::KmsKey => return world.key.clone_from(&other.key),
        Control::Trail => return world.trail.clone_from(&other.trail),
    };
    let (Some(bucket), Some(other)) = (&mut world.bucket, &other.bucket) else { return };
    for name in names {
        match other.get(*name) {
            Some(document) => drop(bucket.insert((*name).to_owned(), document.clone())),
            None => drop(bucket.remove(*name)),
        }
    }
}

/// One call that goes wrong in one way, so often. Says how it went, or what should not be.
async fn cell(
    flow: &Flow,
    usual: &Undisturbed,
    call: &str,
    kind: &FaultKind,
    times: usize,
) -> Result<&'static str, String> {
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

    let of_call = Control::ALL.into_iter().find(|it| {
        let vocabulary = it.vocabulary();
        flow.function == Function::Remediate && vocabulary.reads.iter().chain(vocabulary.writes).any(|it| *it == call)
    });
    let bad = |it: &&(String, String)| it.1 == "failed" || it.1 == "unreadable";
    let failed: BTreeSet<_> = told.iter().flatten().filter(bad).map(|it| it.0.clone()).collect();
    let critical = fake.alerts().iter().any(|it| it["severity"] == "CRITICAL");
    let outcome = match &answer {
        // The sweep tells what it could not look at or mend; the next one looks again.
        Ok(_) if flow.function == Function::Sweep && !failed.is_empty() => "told",
        Ok(answer) => {
            same("restored", &world, &usual.goal)?;
            same("told", &told, &usual.told)?;
            if call == "PutObject" && answer.to_string().contains("\"record_error\"") {
                return Ok("warns");
            }
            let again = fake.state().calls.iter().filter(|it| *it == call).count() > usual.counts[call];
            if again { "again" } else { "ok" }
        }
        Err(error) => {
            holds(format_args!("the error does not name the call: {error}"), error.contains(call))?;
            match of_call {
                Some(control) => {
                    same("failed", &failed, &BTreeSet::from([control.id().to_owned()]))?;
                    holds("no alert is critical", critical)?;
                    for other in Control::ALL.into_iter().filter(|it| *it != control) {
                        same(other.id(), &setting(&world, other), &setting(&usual.goal, other))?;
                    }
                    "told"
                }
                None if call == "Publish" => {
                    same("restored", &world, &usual.goal)?;
                    "error"
                }
                // What was built stays, and it goes on from there.
                None if flow.function == Function::Bootstrap => "error",
                // Before it is known what should be, nothing is written.
                None if flow.function == Function::Remediate => {
                    same("untouched", &world, &flow.world)?;
                    if critical { "told" } else { "error" }
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

/// One row of the table: a call of a flow.
struct Row {
    flow: usize,
    call: String,
    cells: Vec<Option<[Result<&'static str, String>; 2]>>,
}

/// Runs all cells, some at a time: most of their time they wait.
fn fill(flows: &[Flow], usual: &[Undisturbed], rows: &Mutex<Vec<Row>>) {
    const THREADS: usize = 2;
    const AT_ONCE: usize = 24;
    let places: Vec<_> = {
        let rows = rows.lock().unwrap();
        (0..rows.len()).flat_map(|row| (0..faults().len()).map(move |column| (row, column))).collect()
    };
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let mine: Vec<_> = places.iter().skip(thread).step_by(THREADS).copied().collect();
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                let permits = Semaphore::new(AT_ONCE);
                let permits = &permits;
                let work = mine.into_iter().map(|(row, column)| async move {
                    let _permit = permits.acquire().await.unwrap();
                    let (flow, call) = {
                        let rows = rows.lock().unwrap();
                        (rows[row].flow, rows[row].call.clone())
                    };
                    let kind = &faults()[column].1;
                    let once = cell(&flows[flow], &usual[flow], &call, kind, 1).await;
                    let for_good = cell(&flows[flow], &usual[flow], &call, kind, usize::MAX).await;
                    rows.lock().unwrap()[row].cells[column] = Some([once, for_good]);
                });
                let all = futures_util::future::join_all(work.map(Box::pin));
                runtime.block_on(all);
            });
        }
    });
}

fn table(flows: &[Flow], rows: &[Row]) -> String {
    let mut table = format!("{:<44}", "");
    for (name, _) in faults() {
        write!(table, "{name:<12}").unwrap();
    }
    for row in rows {
        write!(table, "\n{:<44}", format!("{}: {}", flows[row.flow].name, row.call)).unwrap();
        for cell in &row.cells {
            let [once, for_good] = cell.as_ref().expect("every cell was run");
            let [once, for_good] = [once, for_good].map(|it| it.as_ref().copied().unwrap_or("WRONG"));
            let cell = if once == for_good { once.to_owned() } else { format!("{once}/{for_good}") };
            write!(table, "{cell:<12}").unwrap();
        }
    }
    table.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Each cell says what became of the call that went wrong once and, behind the slash, for good: `ok` nobody noticed,
/// `again` it was tried again, `told` people were told, `error` the invocation failed, and Lambda tries again, `warns`
/// the history has no record, and nothing else is amiss.
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
    let rows = usual.iter().enumerate().flat_map(|(flow, usual)| {
        usual.calls.iter().map(move |call| Row { flow, call: call.clone(), cells: vec![None; faults().len()] })
    });
    let rows: Vec<_> = rows.collect();
    let calls: BTreeSet<_> = rows.iter().map(|it| it.call.as_str()).collect();
    let vocabularies = Control::ALL.map(Control::vocabulary);
    let known = vocabularies.iter().flat_map(|it| it.reads.iter().chain(it.writes)).chain(&OTHER_CALLS);
    assert_eq!(calls, known.copied().collect(), "every call has a row, and every row is a call");

    let rows = Mutex::new(rows);
    fill(&flows, &usual, &rows);
    let rows = rows.into_inner().unwrap();
    let mut wrong = String::new();
    for row in &rows {
        for (cell, (fault, _)) in row.cells.iter().zip(faults()) {
            for problem in cell.iter().flatten().filter_map(|it| it.as_ref().err()) {
                writeln!(wrong, "{}: {}: {fault}: {problem}", flows[row.flow].name, row.call).unwrap();
            }
        }
    }
    let table = table(&flows, &rows);
    assert!(wrong.is_empty(), "{table}\n{wrong}");
    expect![[r#"
                                                    500         503         409         403         timeout     reset       cut         garbage     slow        stale
        build: GetParameter                         again/error again/error error       error       again/error again/error error       error       again/error ok
        build: DescribeKey                          again/error again/error error       error       again/error again/error error       error       again/error ok
        build: ListKeys                             again/error again/error error       error       again/error again/error error       error       again/error ok
        build: CreateKey                            error       error       error       error       error       error       error       error       error       ok
        build: GetKeyRotationStatus                 again/error again/error error       error       again/error again/error error       error       again/error ok
        build: EnableKeyRotation                    again/error again/error error       error       again/error again/error ok          ok          again/error ok
        build: GetKeyPolicy                         again/error again/error error       error       again/error again/error error       error       again/error ok
        build: CreateAlias                          again/error again/error error       error       again/error again/error ok          ok          error       ok
        build: GetPublicAccessBlock                 again/error again/error error       error       again/error again/error ok/error    error       again/error again
        build: GetBucketOwnershipControls           again/error again/error error       error       again/error again/error ok/error    error       again/error again
        build: GetBucketAcl                         again/error again/error ok/error    ok/error    again/error again/error ok/error    ok/error    again/error again
        build: GetBucketPolicy                      again/error again/error error       error       again/error again/error ok          error       again/error again
        build: GetBucketEncryption                  again/error again/error error       error       again/error again/error ok/error    error       again/error again
        build: GetBucketVersioning                  again/error again/error error       error       again/error again/error ok/error    error       again/error again
        build: GetBucketLifecycleConfiguration      again/error again/error error       error       again/error again/error ok/error    error       again/error again
        build: GetBucketInventoryConfiguration      again/error again/error error       error       again/error again/error ok          error       again/error again
        build: CreateBucket                         again/error again/error error       error       again/error again/error ok          ok          again/error ok
        build: PutPublicAccessBlock                 again/error again/error again/error error       again/error again/error ok          ok          again/error ok
        build: PutBucketAcl                         again/error again/error again/error error       again/error again/error ok          ok          again/error ok
        build: PutBucketOwnershipControls           again/error again/error again/error error       again/error again/error ok          ok          again/error ok
        build: PutBucketPolicy                      again/error again/error again/error error       again/error again/error ok          ok          ok          ok
        build: PutBucketVersioning                  again/error again/error again/error error       again/error again/error ok          ok          again/error ok
        build: PutBucketLifecycleConfiguration      again/error again/error again/error error       again/error again/error ok          ok          ok          ok
        build: PutBucketEncryption                  again/error again/error again/error error       again/error again/error ok          ok          again/error ok
        build: PutBucketInventoryConfiguration      again/error again/error again/error error       again/error again/error ok          ok          again/error ok
        build: PutObject                            again/warns again/warns warns       warns       again/warns again/warns ok          ok          again/warns ok
        build: GetTrail                             again/error again/error error       error       again/error again/error error       error       again/error ok
        build: GetTrailStatus                       again/error again/error error       error       again/error again/error error       error       again/error ok
        build: GetEventSelectors                    again/error again/error error       error       again/error again/error error       error       again/error ok
        build: CreateTrail                          again/error again/error again/error error       again/error again/error error       error       ok          ok
        build: PutEventSelectors                    again/error again/error again/error error       again/error again/error error       error       ok          ok
        build: StartLogging                         again/error again/error again/error error       again/error again/error ok          ok          ok          ok
        build: DescribeSubscribersForNotification   again/error again/error error       error       again/error again/error error       error       again/error ok
        build: CreateBudget                         again/error again/error error       error       again/error again/error ok          ok          error       ok
        build: PutParameter                         again/error again/error error       error       again/error again/error error       error       again/error ok
        go on: GetParameter                         again/error again/error error       error       again/error again/error error       error       again/error ok
        go on: DescribeKey                          again/error again/error error       error       again/error again/error error       error       again/error ok
        go on: ListKeys                             again/error again/error error       error       again/error again/error error       error       again/error ok
        go on: ListResourceTags                     again/error again/error error       error       again/error again/error error       error       again/error ok
        go on: GetKeyRotationStatus                 again/error again/error error       error       again/error again/error error       error       again/error ok
        go on: GetKeyPolicy                         again/error again/error error       error       again/error again/error error       error       again/error ok
        go on: PutKeyPolicy                         again/error again/error error       error       again/error again/error ok          ok          again/error ok
        go on: CreateAlias                          again/error again/error error       error       again/error again/error ok          ok          error       ok
        go on: GetPublicAccessBlock                 again/error again/error error       error       again/error again/error ok/error    error       again/error again
        go on: GetBucketOwnershipControls           again/error again/error error       error       again/error again/error ok/error    error       again/error again
        go on: GetBucketAcl                         again/error again/error ok/error    ok/error    again/error again/error ok/error    ok/error    again/error again
        go on: GetBucketPolicy                      again/error again/error error       error       again/error again/error ok          error       again/error again
        go on: GetBucketEncryption                  again/error again/error error       error       again/error again/error ok/error    error       again/error again
        go on: GetBucketVersioning                  again/error again/error error       error       again/error again/error ok/error    error       again/error again
        go on: GetBucketLifecycleConfiguration      again/error again/error error       error       again/error again/error ok/error    error       again/error again
        go on: GetBucketInventoryConfiguration      again/error again/error error       error       again/error again/error ok          error       again/error again
        go on: CreateBucket                         again/error again/error error       error       again/error again/error ok          ok          again/error ok
        go on: PutPublicAccessBlock                 again/error again/error again/error error       again/error again/error ok          ok          again/error ok
        go on: PutBucketAcl                         again/error again/error again/error error       again/error again/error ok          ok          again/error ok
        go on: PutBucketOwnershipControls           again/error again/error again/error error       again/error again/error ok          ok          again/error ok
        go on: PutBucketPolicy                      again/error again/error again/error error       again/error again/error ok          ok          ok          ok
        go on: PutBucketVersioning                  again/error again/error again/error error       again/error again/error ok          ok          again/error ok
        go on: PutBucketLifecycleConfiguration      again/error again/error again/error error       again/error again/error ok          ok          ok          ok
        go on: PutBucketEncryption                  again/error again/error again/error error       again/error again/error ok          ok          again/error ok
        go on: PutBucketInventoryConfiguration      again/error again/error again/error error       again/error again/error ok          ok          again/error ok
        go on: PutObject                            again/warns again/warns warns       warns       again/warns again/warns ok          ok          again/warns ok
        go on: GetTrail                             again/error again/error error       error       again/error again/error error       error       again/error ok
        go on: GetTrailStatus                       again/error again/error error       error       again/error again/error error       error       again/error ok
        go on: GetEventSelectors                    again/error again/error error       error       again/error again/error error       error       again/error ok
        go on: CreateTrail                          again/error again/error again/error error       again/error again/error error       error       ok          ok
        go on: PutEventSelectors                    again/error again/error again/error error       again/error again/error error       error       ok          ok
        go on: StartLogging                         again/error again/error again/error error       again/error again/error ok          ok          ok          ok
        go on: DescribeSubscribersForNotification   again/error again/error error       error       again/error again/error error       error       again/error ok
        go on: CreateBudget                         again/error again/error error       error       again/error again/error ok          ok          error       ok
        go on: PutParameter                         again/error again/error error       error       again/error again/error error       error       again/error ok
        adopt: GetParameter                         again/error again/error error       error       again/error again/error error       error       again/error ok
        adopt: DescribeKey                          again/error again/error error       error       again/error again/error error       error       again/error ok
        adopt: GetKeyRotationStatus                 again/error again/error error       error       again/error again/error error       error       again/error ok
        adopt: EnableKeyRotation                    again/error again/error error       error       again/error again/error ok          ok          again/error ok
        adopt: GetKeyPolicy                         again/error again/error error       error       again/error again/error error       error       again/error ok
        adopt: PutKeyPolicy                         again/error again/error error       error       again/error again/error ok          ok          again/error ok
        adopt: GetPublicAccessBlock                 again/error again/error error       error       again/error again/error error       error       again/error ok
        adopt: GetBucketOwnershipControls           again/error again/error error       error       again/error again/error error       error       again/error ok
        adopt: GetBucketAcl                         again/error again/error error       error       again/error again/error error       error       again/error ok
        adopt: GetBucketPolicy                      again/error again/error error       error       again/error again/error ok/error    error       again/error ok
        adopt: GetBucketEncryption                  again/error again/error ok/error    ok/error    again/error again/error ok/error    ok/error    again/error ok
        adopt: GetBucketVersioning                  again/error again/error error       error       again/error again/error error       error       again/error ok
        adopt: GetBucketLifecycleConfiguration      again/error again/error error       error       again/error again/error error       error       again/error ok
        adopt: GetBucketInventoryConfiguration      again/error again/error ok/error    ok/error    again/error again/error ok/error    ok/error    again/error ok
        adopt: PutPublicAccessBlock                 again/error again/error again/error error       again/error again/error ok          ok          again/error ok
        adopt: PutBucketAcl                         again/error again/error again/error error       again/error again/error ok          ok          again/error ok
        adopt: PutBucketOwnershipControls           again/error again/error again/error error       again/error again/error ok          ok          again/error ok
        adopt: PutBucketPolicy                      again/error again/error again/error error       again/error again/error ok          ok          ok          ok
        adopt: PutBucketVersioning                  again/error again/error again/error error       again/error again/error ok          ok          again/error ok
        adopt: PutBucketLifecycleConfiguration      again/error again/error again/error error       again/error again/error ok          ok          ok          ok
        adopt: PutBucketEncryption                  again/error again/error again/error error       again/error again/error ok          ok          again/error ok
        adopt: PutBucketInventoryConfiguration      again/error again/error again/error error       again/error again/error ok          ok          again/error ok
        adopt: PutObject                            again/warns again/warns warns       warns       again/warns again/warns ok          ok          again/warns ok
        adopt: GetTrail                             again/error again/error error       error       again/error again/error error       error       again/error ok
        adopt: GetTrailStatus                       again/error again/error error       error       again/error again/error error       error       again/error ok
        adopt: GetEventSelectors                    again/error again/error error       error       again/error again/error error       error       again/error ok
        adopt: UpdateTrail                          again/error again/error again/error error       again/error again/error error       error       ok          ok
        adopt: PutEventSelectors                    again/error again/error again/error error       again/error again/error error       error       ok          ok
        adopt: StartLogging                         again/error again/error again/error error       again/error again/error ok          ok          ok          ok
        adopt: DescribeSubscribersForNotification   again/error again/error error       error       again/error again/error error       error       again/error ok
        adopt: CreateSubscriber                     again/error again/error error       error       again/error again/error ok          ok          again/error ok
        adopt: PutParameter                         again/error again/error error       error       again/error again/error error       error       again/error ok
        request: GetParameter                       again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        request: GetPublicAccessBlock               again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        request: GetBucketOwnershipControls         again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        request: GetBucketAcl                       again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        request: GetBucketPolicy                    again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        request: GetBucketEncryption                again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        request: GetBucketVersioning                again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        request: GetBucketLifecycleConfiguration    again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        request: GetBucketInventoryConfiguration    again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        request: DescribeKey                        again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        request: GetKeyRotationStatus               again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        request: GetKeyPolicy                       again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        request: GetTrail                           again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        request: GetTrailStatus                     again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        request: GetEventSelectors                  again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        request: PutPublicAccessBlock               again/told  again/told  again/told  told        again/told  again/told  ok          ok          again/told  ok
        request: PutBucketAcl                       again/told  again/told  again/told  told        again/told  again/told  ok          ok          again/told  ok
        request: PutBucketOwnershipControls         again/told  again/told  again/told  told        again/told  again/told  ok          ok          again/told  ok
        request: PutBucketPolicy                    again/told  again/told  again/told  told        again/told  again/told  ok          ok          ok          ok
        request: PutBucketEncryption                again/told  again/told  again/told  told        again/told  again/told  ok          ok          again/told  ok
        request: PutBucketVersioning                again/told  again/told  again/told  told        again/told  again/told  ok          ok          again/told  ok
        request: PutBucketLifecycleConfiguration    again/told  again/told  again/told  told        again/told  again/told  ok          ok          ok          ok
        request: PutBucketInventoryConfiguration    again/told  again/told  again/told  told        again/told  again/told  ok          ok          again/told  ok
        request: CancelKeyDeletion                  again/told  again/told  again/told  told        again/told  again/told  told        told        ok          ok
        request: EnableKey                          again/told  again/told  again/told  told        again/told  again/told  ok          ok          ok          ok
        request: EnableKeyRotation                  again/told  again/told  again/told  told        again/told  again/told  ok          ok          ok          ok
        request: PutKeyPolicy                       again/told  again/told  again/told  told        again/told  again/told  ok          ok          ok          ok
        request: UpdateAlias                        again/told  again/told  again/told  told        again/told  again/told  ok          ok          ok          ok
        request: UpdateTrail                        again/told  again/told  again/told  told        again/told  again/told  told        told        ok          ok
        request: PutEventSelectors                  again/told  again/told  again/told  told        again/told  again/told  told        told        ok          ok
        request: StartLogging                       again/told  again/told  again/told  told        again/told  again/told  ok          ok          ok          ok
        request: Publish                            again/error again/error error       error       again/error again/error ok          error       again/error ok
        request: PutObject                          again/warns again/warns warns       warns       again/warns again/warns ok          ok          again/warns ok
        key event: GetParametersByPath              again/error again/error error       error       again/error again/error error       error       again/error ok
        key event: DescribeKey                      again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        key event: GetKeyRotationStatus             again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        key event: GetKeyPolicy                     again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        key event: CancelKeyDeletion                again/told  again/told  again/told  told        again/told  again/told  told        told        ok          ok
        key event: EnableKey                        again/told  again/told  again/told  told        again/told  again/told  ok          ok          ok          ok
        key event: EnableKeyRotation                again/told  again/told  again/told  told        again/told  again/told  ok          ok          ok          ok
        key event: PutKeyPolicy                     again/told  again/told  again/told  told        again/told  again/told  ok          ok          ok          ok
        key event: UpdateAlias                      again/told  again/told  again/told  told        again/told  again/told  ok          ok          ok          ok
        key event: Publish                          again/error again/error error       error       again/error again/error ok          error       again/error ok
        key event: PutObject                        again/warns again/warns warns       warns       again/warns again/warns ok          ok          again/warns ok
        alias event: GetParametersByPath            again/error again/error error       error       again/error again/error error       error       again/error ok
        alias event: DescribeKey                    again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        alias event: GetKeyRotationStatus           again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        alias event: GetKeyPolicy                   again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        alias event: CreateAlias                    again/told  again/told  again/told  told        again/told  again/told  ok          ok          ok          ok
        alias event: Publish                        again/error again/error error       error       again/error again/error ok          error       again/error ok
        alias event: PutObject                      again/warns again/warns warns       warns       again/warns again/warns ok          ok          again/warns ok
        trail event: GetParametersByPath            again/error again/error error       error       again/error again/error error       error       again/error ok
        trail event: GetTrail                       again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        trail event: GetTrailStatus                 again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        trail event: GetEventSelectors              again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        trail event: UpdateTrail                    again/told  again/told  again/told  told        again/told  again/told  told        told        ok          ok
        trail event: PutEventSelectors              again/told  again/told  again/told  told        again/told  again/told  told        told        ok          ok
        trail event: StartLogging                   again/told  again/told  again/told  told        again/told  again/told  ok          ok          ok          ok
        trail event: Publish                        again/error again/error error       error       again/error again/error ok          error       again/error ok
        trail event: PutObject                      again/warns again/warns warns       warns       again/warns again/warns ok          ok          again/warns ok
        no trail: GetParametersByPath               again/error again/error error       error       again/error again/error error       error       again/error ok
        no trail: GetTrail                          again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        no trail: GetTrailStatus                    again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        no trail: GetEventSelectors                 again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        no trail: CreateTrail                       again/told  again/told  again/told  told        again/told  again/told  told        told        ok          ok
        no trail: PutEventSelectors                 again/told  again/told  again/told  told        again/told  again/told  told        told        ok          ok
        no trail: StartLogging                      again/told  again/told  again/told  told        again/told  again/told  ok          ok          ok          ok
        no trail: Publish                           again/error again/error error       error       again/error again/error ok          error       again/error ok
        no trail: PutObject                         again/warns again/warns warns       warns       again/warns again/warns ok          ok          again/warns ok
        sweep: GetParametersByPath                  again/error again/error error       error       again/error again/error error       error       again/error ok
        sweep: SendMessageBatch                     again/error again/error error       error       again/error again/error error       error       again/error ok
        sweep: DescribeRule                         again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        sweep: ListTargetsByRule                    again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        sweep: EnableRule                           again/told  again/told  told        told        again/told  again/told  ok          ok          again/told  ok
        sweep: PutRule                              again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        sweep: PutTargets                           again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        sweep: GetPolicy                            again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        sweep: GetFunctionConcurrency               again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        sweep: DescribeTrails                       again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        sweep: GetTrailStatus                       again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        sweep: GetEventSelectors                    again/told  again/told  told        told        again/told  again/told  told        told        again/told  ok
        sweep: ListSubscriptionsByTopic             again/told  again/told  told        told        again/told  again/told  ok          told        again/told  ok
        sweep: Publish                              again/error again/error error       error       again/error again/error ok          error       again/error ok"#]].assert_eq(&table);
}

/// A text that is cut at the end of an element looks whole to a reader who does not look for its end.
#[tokio::test]
async fn a_setting_whose_answer_is_cut_is_unreadable_and_stays() {
    let reads = [
        ("publicAccessBlock", "GetPublicAccessBlock", Control::PublicAccessBlock),
        ("ownershipControls", "GetBucketOwnershipControls", Control::ObjectOwnership),
        ("encryption", "GetBucketEncryption", Control::DefaultEncryption),
        ("versioning", "GetBucketVersioning", Control::Versioning),
        ("lifecycle", "GetBucketLifecycleConfiguration", Control::Lifecycle),
        ("inventory", "GetBucketInventoryConfiguration", Control::Inventory),
    ];
    let fake = FakeAws::compliant().await;
    for (subresource, read, control) in reads {
        let document = fake.documents()[subresource].clone();
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
