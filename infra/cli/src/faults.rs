//! The fault matrix of what only this command does: every call goes wrong in every way, once and for good.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use expect_test::expect_file;
use guardrail::Guardrail;
use guardrail_core::outcome::record_file::FOLDER;
use guardrail_tests::{
    fake::{ACCOUNT, ALIAS, BUCKET, FakeAws, FakeKey, FaultKind, KEY, LEDGER, TRAIL, World, acl},
    matrix::{self, Cell, PATIENCE, Row, holds, same},
    models::Exchange,
};
use serde_json::{Value, json};

use crate::{
    Exit,
    args::{ExemptArguments, HistoryArguments, Leave, ListArguments, RollbackArguments, TeardownArguments},
    error::CliError,
    exempt, history, list, redrive, rollback,
    session::Session,
    teardown,
};

const OTHER: &str = "other-data";

/// What a command is given to do.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Task {
    List,
    Exempt,
    History,
    Rollback,
    Redrive { dry_run: bool },
    Teardown { everything: bool },
}

struct Flow {
    name: &'static str,
    task: Task,
    start: FakeAws,
}

/// Everything that could be lost, by name.
type Parts = BTreeMap<String, Value>;

/// As `--until` takes it; the same in every run, so that their ends can be compared.
pub(crate) fn tomorrow() -> String {
    static TOMORROW: LazyLock<String> =
        LazyLock::new(|| (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24)).to_string());
    TOMORROW.clone()
}

pub(crate) fn session(fake: &FakeAws) -> Session {
    let caller = format!("arn:aws:iam::{ACCOUNT}:user/ann");
    Session {
        guardrail: Guardrail { caller: Some(caller.clone()), ..fake.guardrail() },
        account: ACCOUNT.parse().unwrap(),
        caller,
        ledger: LEDGER.parse().unwrap(),
        credentials: None,
        iam: aws_sdk_iam::Client::new(&fake.sdk()),
        // The fault matrix runs thousands of commands.
        answer: |_| Ok(()),
    }
}

fn document(bucket: &str, key: &str) -> (String, String) {
    let document = json!({
        "bucket": bucket, "account": ACCOUNT, "key_arn": key, "key_alias": ALIAS, "trail_arn": TRAIL,
        "log_bucket": format!("{bucket}-logs"), "inventory": {"bucket": format!("{bucket}-inventory"), "format": "CSV"},
    });
    (format!("/s3-guardrail/buckets/{bucket}"), document.to_string())
}

/// A bucket that had these settings until the guardrail restored them.
async fn restored(settings: &[(&str, String)]) -> FakeAws {
    let fake = FakeAws::default();
    fake.state().set_world(World {
        bucket: Some(settings.iter().map(|it| (it.0.to_owned(), it.1.clone())).collect()),
        others: [(format!("{BUCKET}-logs"), Default::default())].into(),
        parameters: [document(BUCKET, KEY)].into(),
        key: Some(FakeKey { aliases: [(ALIAS.to_owned(), KEY.to_owned())].into(), ..FakeKey::good() }),
        trail: Some(
            json!({"TrailARN": TRAIL, "HomeRegion": "eu-west-2", "IsLogging": true, "S3BucketName": "acme-data-logs"}),
        ),
        ..World::default()
    });
    fake.remediate(json!({"bucket": BUCKET})).await.unwrap();
    fake
}

/// Every setting as its owner would have it, off the baseline.
fn settings() -> [(&'static str, String); 7] {
    let grant = "<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"><ID>other</ID></Grantee><Permission>READ</Permission></Grant>";
    let statement = json!({"Sid": "Theirs", "Effect": "Allow", "Principal": {"AWS": [ACCOUNT, "999922223333"]}, "Action": ["s3:GetObject", "s3:GetObjectTagging"], "Resource": format!("arn:aws:s3:::{BUCKET}/*")});
    [
        ("publicAccessBlock", "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>false</IgnorePublicAcls><BlockPublicPolicy>true</BlockPublicPolicy><RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>".to_owned()),
        ("ownershipControls", "<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>".to_owned()),
        ("acl", acl(grant)),
        ("policy", json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()),
        ("versioning", "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>".to_owned()),
        ("lifecycle", "<LifecycleConfiguration><Rule><ID>theirs</ID><Prefix>a/</Prefix><Status>Enabled</Status><Expiration><Days>9</Days></Expiration></Rule></LifecycleConfiguration>".to_owned()),
        ("inventory", format!("<InventoryConfiguration><Id>encryption-and-replication</Id><IsEnabled>true</IsEnabled><Destination><S3BucketDestination><AccountId>{ACCOUNT}</AccountId><Bucket>arn:aws:s3:::{BUCKET}-inventory</Bucket><Format>CSV</Format></S3BucketDestination></Destination><Schedule><Frequency>Weekly</Frequency></Schedule><IncludedObjectVersions>All</IncludedObjectVersions></InventoryConfiguration>")),
    ]
}

async fn flows() -> Vec<Flow> {
    let bare = restored(&[]).await;
    let full = restored(&settings()).await;
    let letters = restored(&[]).await;
    letters.state().dead_letters = ["{\"bucket\": \"acme-data\"}", "{\"detail-type\": \"Scheduled Event\"}"]
        .map(|it| (it.to_owned(), false))
        .into();
    let doomed = restored(&[]).await;
    {
        // Beside another guarded bucket, with a key and a trail of its own.
        let mut state = doomed.state();
        let (name, other) = document(OTHER, &format!("{KEY}2"));
        state.parameters.insert(name, other.replace(TRAIL, &format!("{TRAIL}2")));
        let buckets = ["acme-data-inventory", OTHER, "other-data-logs", "other-data-inventory"];
        state.others.extend(buckets.map(|it| (it.to_owned(), Default::default())));
        let objects = [BUCKET, "acme-data-inventory", OTHER, "other-data-logs"].map(|it| format!("{it}/a/b.txt"));
        state.uploads = [BUCKET, OTHER].map(|it| format!("{it}/large")).into();
        state.objects.extend(objects.map(|it| (it, "content".to_owned())));
    }
    let swept = restored(&[]).await;
    swept.state().ledger = Some([].into());
    swept.remediate(json!({"bucket": BUCKET})).await.unwrap();
    let flow = |name, task, start: &FakeAws| Flow { name, task, start: copy(start) };
    vec![
        flow("list", Task::List, &swept),
        flow("exempt", Task::Exempt, &bare),
        flow("history", Task::History, &bare),
        flow("roll back", Task::Rollback, &full),
        flow("roll back to nothing", Task::Rollback, &bare),
        flow("redrive, dry run", Task::Redrive { dry_run: true }, &letters),
        flow("redrive", Task::Redrive { dry_run: false }, &letters),
        flow("tear down", Task::Teardown { everything: false }, &doomed),
        flow("tear down all", Task::Teardown { everything: true }, &doomed),
    ]
}

/// What every flow sends and is answered, and the teardown of a bucket that may lock its objects.
pub(crate) async fn exchanges() -> Vec<Exchange> {
    let mut exchanges = Vec::new();
    for flow in flows().await {
        let fake = copy(&flow.start);
        let may_lock =
            "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";
        fake.state().object_lock = Some(may_lock.to_owned());
        if matches!(flow.task, Task::Teardown { .. }) {
            // A name that no XML can hold.
            fake.state().objects.insert(format!("{BUCKET}/a\u{1}b"), "content".to_owned());
        }
        fake.state().exchanges = Some(Vec::new());
        flow.run(&fake).await.unwrap();
        exchanges.extend(fake.state().exchanges.take().unwrap());
    }
    exchanges
}

/// Another AWS in the same state.
fn copy(fake: &FakeAws) -> FakeAws {
    let other = FakeAws::default();
    {
        let (from, mut to) = (fake.state(), other.state());
        to.set_world(from.world());
        to.objects.clone_from(&from.objects);
        to.uploads.clone_from(&from.uploads);
        to.dead_letters.clone_from(&from.dead_letters);
        to.ledger.clone_from(&from.ledger);
    }
    other
}

fn is_of_rollback(object: &str) -> bool {
    serde_json::from_str::<Value>(object).is_ok_and(|it| it["asked"]["what"] == "rollback")
}

/// What there is of everything; what a run may leave behind or take away is a part of its own.
fn parts(fake: &FakeAws) -> Parts {
    let state = fake.state();
    let mut parts = Parts::new();
    let mut part = |name: String, value: Value| drop(parts.insert(name, value));
    let documents = state.bucket.as_ref();
    part(format!("bucket {BUCKET}"), json!(documents.is_some()));
    for (name, document) in documents.into_iter().flatten() {
        part(format!("setting {name}"), json!(document));
    }
    part("setting size".to_owned(), json!(state.transition_size));
    state.others.keys().for_each(|it| part(format!("bucket {it}"), json!(true)));
    // A rollback's own record is named after the moment.
    let kept = state.objects.iter().filter(|it| !is_of_rollback(it.1));
    kept.for_each(|it| part(format!("object {}", it.0), json!(it.1)));
    state.uploads.iter().for_each(|it| part(format!("upload {it}"), json!(true)));
    for (name, document) in &state.parameters {
        let mut document: Value = serde_json::from_str(document).unwrap();
        for exemption in document["exemptions"].take().as_array().into_iter().flatten() {
            part(format!("exemption {}", exemption["control"].as_str().unwrap()), exemption.clone());
        }
        // With its defaults spelled out it is still the same.
        part(format!("parameter {name}"), document["key_arn"].clone());
    }
    let key = state.key.as_ref().unwrap();
    part("key".to_owned(), json!(key.state));
    key.aliases.iter().for_each(|it| part(format!("alias {}", it.0), json!(it.1)));
    part("trail".to_owned(), json!(state.trail.is_some()));
    state.dead_letters.keys().for_each(|it| part(format!("letter {it}"), json!(true)));
    parts
}

impl Flow {
    async fn run(&self, fake: &FakeAws) -> Result<Exit, CliError> {
        let session = session(fake);
        let bucket = BUCKET.parse().unwrap();
        let leave = || Leave { until: tomorrow(), reason: "INC-1".to_owned(), approved_by: "ann".to_owned() };
        match self.task {
            Task::List => list::run(&session, ListArguments { live: false, json: false }).await,
            Task::Exempt => {
                let control = guardrail_core::control::table::Control::Lifecycle;
                exempt::run(&session, ExemptArguments { bucket, control, leave: leave() }).await
            }
            Task::History => {
                let arguments = HistoryArguments { bucket, limit: 20, log_bucket: None, json: false };
                history::run(&session, arguments).await
            }
            Task::Rollback => {
                let record = self.start.state().objects.keys().find(|it| it.contains(FOLDER)).cloned();
                let file = format!("s3://{}", record.unwrap()).parse().unwrap();
                let (overwrite, dry_run) = (false, false);
                let control = Vec::new();
                let arguments = RollbackArguments { file, control, leave: leave(), overwrite, dry_run, yes: true };
                rollback::run(&session, &arguments).await
            }
            Task::Redrive { dry_run } => redrive::run(&session, dry_run).await,
            Task::Teardown { everything } => {
                let arguments = TeardownArguments {
                    bucket,
                    trail: everything,
                    logs: everything,
                    key_deletion_days: everything.then_some(7),
                    unregistered: false,
                    dry_run: false,
                    yes_delete: Some(BUCKET.to_owned()),
                };
                teardown::run(&session, &arguments).await
            }
        }
    }

    /// The same command once more, some time later.
    async fn run_again(&self, fake: &FakeAws) -> Result<Exit, CliError> {
        {
            let mut state = fake.state();
            state.heal();
            state.dead_letters.values_mut().for_each(|hidden| *hidden = false);
        }
        self.run(fake).await
    }
}

struct Undisturbed {
    start: Parts,
    goal: Parts,
    calls: Vec<String>,
}

impl Undisturbed {
    async fn of(flow: &Flow) -> Self {
        let fake = copy(&flow.start);
        assert_eq!(flow.run(&fake).await.unwrap(), Exit::Compliant, "{}", flow.name);
        let calls = fake.state().calls.clone();
        Self { start: parts(&flow.start), goal: parts(&fake), calls }
    }

    /// The calls, each once.
    fn rows(&self) -> Vec<&String> {
        let first = |at: &(usize, &String)| !self.calls[..at.0].contains(at.1);
        self.calls.iter().enumerate().filter(first).map(|it| it.1).collect()
    }
}

/// Which of the parts are as they should be in the end, and were not before.
fn done(usual: &Undisturbed, is: &Parts, prefix: &str) -> Vec<String> {
    let names = usual.start.keys().chain(usual.goal.keys()).filter(|it| it.starts_with(prefix));
    let done = |it: &&String| usual.start.get(*it) != usual.goal.get(*it) && is.get(*it) == usual.goal.get(*it);
    names.filter(done).cloned().collect()
}

async fn cell(flow: &Flow, usual: &Undisturbed, call: &str, kind: &FaultKind, times: usize) -> Cell {
    let fake = copy(&flow.start);
    if matches!(kind, FaultKind::Slow) {
        fake.state().attempt_timeout = Some(PATIENCE);
    }
    fake.fail(call, times, kind.clone());
    let ended = flow.run(&fake).await;
    let is = parts(&fake);
    in_between(flow, usual, &is)?;
    if flow.task == Task::Rollback && matches!(ended, Ok(Exit::Error) | Err(CliError::NotRolledBack { .. })) {
        let all = done(usual, &usual.goal, "setting ");
        let put_back = done(usual, &is, "setting ");
        let left: BTreeSet<_> = all.iter().filter(|it| !put_back.contains(it)).map(|it| control(it)).collect();
        holds(format_args!("one control kept others from being put back: {left:?}"), left.len() <= 1)?;
    }
    match ended {
        Ok(Exit::Compliant) => {
            same("the end", &is, &usual.goal)?;
            // That it could not be kept is said, and fails nothing.
            if call == "PutObject" && !fake.state().objects.values().any(|it| is_of_rollback(it)) {
                return Ok("warns");
            }
            let count = |calls: &[String]| calls.iter().filter(|it| *it == call).count();
            let again = count(&fake.state().calls) > count(&usual.calls);
            return Ok(if again { "again" } else { "ok" });
        }
        Ok(Exit::Drift) => return Err("drift".to_owned()),
        // It has said so line by line.
        Ok(Exit::Error) => {}
        Err(error) => {
            let text = error.to_string();
            // HEAD has no words for it; a list that is cut looks like a shorter one, until S3 keeps the bucket; and a
            // record that is cut is none.
            let names_it = match call {
                "HeadBucket" => text.contains(BUCKET),
                "ListObjectVersions" | "ListMultipartUploads" => text.contains(call) || text.contains("BucketNotEmpty"),
                "GetObject" => text.contains(call) || text.contains("not a record"),
                _ => text.contains(call),
            };
            holds(format_args!("the error does not name the call: {text}"), names_it)?;
            let untouched = is == usual.start;
            let says_so = !text.contains("nothing was changed") || untouched;
            holds(format_args!("it was changed all the same: {text}"), says_so)?;
            let says_so = untouched || text.contains("run it again");
            holds(format_args!("nobody knows how to go on: {text}"), says_so)?;
        }
    }
    let again = flow.run_again(&fake).await.map_err(|error| format!("afterwards: {error}"))?;
    same("afterwards", &again, &Exit::Compliant)?;
    same("the end, afterwards", &parts(&fake), &usual.goal)?;
    Ok("error")
}

/// The exemption from what a setting belongs to.
fn control(setting: &str) -> String {
    let control = match setting.trim_start_matches("setting ") {
        "publicAccessBlock" => "public-access-block",
        "ownershipControls" | "acl" => "object-ownership",
        "policy" => "bucket-policy",
        "encryption" => "default-encryption",
        "size" => "lifecycle",
        same => same,
    };
    format!("exemption {control}")
}

/// What must hold wherever a run ends: each part is as it was or as it should be, and what could be undone, or not be
/// found any more, is safe.
fn in_between(flow: &Flow, usual: &Undisturbed, is: &Parts) -> Result<(), String> {
    let note = format!("parameter /s3-guardrail/teardown/{BUCKET}");
    for name in usual.start.keys().chain(usual.goal.keys()).chain(is.keys()).filter(|it| **it != note) {
        let [was, goal, now] = [&usual.start, &usual.goal, is].map(|it| it.get(name));
        holds(format_args!("{name}: {now:?} is neither {was:?} nor {goal:?}"), now == was || now == goal)?;
    }
    match flow.task {
        // The guardrail would restore what is not exempt.
        Task::Rollback => {
            let exempt = done(usual, is, "exemption ");
            done(usual, is, "setting ").iter().try_for_each(|setting| {
                let control = control(setting);
                holds(format_args!("{setting} before {control}"), exempt.contains(&control))
            })
        }
        // What is left could not be found again, and what is gone would be restored.
        Task::Teardown { .. } => {
            let registered = format!("parameter /s3-guardrail/buckets/{BUCKET}");
            let gone = usual.start.keys().any(|it| !is.contains_key(it) && *it != registered);
            let known = is.contains_key(&note) || is == &usual.goal || is.contains_key(&registered) && !gone;
            holds(format_args!("nobody knows of the rest: {is:#?}"), known)
        }
        // A letter is delivered before it is gone.
        Task::List | Task::Exempt | Task::History | Task::Redrive { .. } => Ok(()),
    }
}

const LEGEND: &str = "\
# Faults, at a terminal

Every call of what only the command `guardrail` does goes wrong in ten ways, as those of the functions do in
[tests/FAULTS.md](../../tests/FAULTS.md), where the faults are explained. Made by `UPDATE_EXPECT=1 cargo test -p
guardrail-cli whatever_goes`, and held to it by `cargo test`.

| cell | |
|---|---|
| ok | nobody noticed |
| again | it was tried again, and nobody noticed |
| warns | it was done, its record could not be kept, and the command said so |
| error | the command ended with 1 and named the call; run again when the fault was over, it finished the work |

In each of them, and wherever it stopped: everything is as it was or as it was to be, nothing was put back that was
not exempt before, one control kept no other from being put back, and of a teardown that is not done it is known what
is left.
";

#[test]
fn whatever_goes_wrong_nothing_is_lost_and_the_next_run_finishes() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (flows, usual) = runtime.block_on(async {
        let flows = flows().await;
        let mut usual = Vec::new();
        for flow in &flows {
            usual.push(Undisturbed::of(flow).await);
        }
        (flows, usual)
    });
    let rows: Vec<_> = (flows.iter().zip(&usual).enumerate())
        .flat_map(|(flow, (it, usual))| {
            let row = move |call: &String| Row { flow, name: it.name.to_owned(), call: call.clone() };
            usual.rows().into_iter().map(row)
        })
        .collect();
    let table = matrix::table(&rows, async |row, kind, times| {
        cell(&flows[row.flow], &usual[row.flow], &row.call, kind, times).await
    });
    expect_file!["../FAULTS.md"].assert_eq(&format!("{LEGEND}\n```text\n{table}\n```\n"));
}

/// While the person reads what is to be put back, the owner goes on.
#[tokio::test]
async fn what_was_changed_since_it_was_shown_stays() {
    let flow = flows().await.into_iter().find(|it| it.name == "roll back").unwrap();
    let fake = copy(&flow.start);
    let newer = json!({"Version": "2012-10-17", "Statement": [{"Sid": "Newer", "Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject", "Resource": "*"}]});
    let policy = newer.to_string();
    let name = format!("/s3-guardrail/buckets/{BUCKET}");
    let registered = fake.state().parameters[&name].replacen('{', "{\"mode\": \"observe\", ", 1);
    // The last that is read before the question.
    fake.before("GetBucketInventoryConfiguration", move |state| {
        state.parameters.insert(name, registered);
        state.set("policy", Some(&policy));
    });
    let error = flow.run(&fake).await.unwrap_err().to_string();
    assert!(error.contains("bucket-policy: changed again since it was shown; the exemption is registered"), "{error}");
    let documents = fake.documents();
    assert_eq!(documents["policy"], newer.to_string());
    // The others are as before.
    assert!(documents["lifecycle"].contains("theirs") && !documents["lifecycle"].contains("expire-noncurrent"));
    assert!(documents["versioning"].contains("Suspended"));
    let registered = fake.state().parameters.values().next().unwrap().clone();
    assert!(registered.contains("\"observe\"") && registered.contains("INC-1"), "{registered}");
}

/// Each takes so long to fail that the queue shows all of them again.
#[tokio::test]
async fn a_letter_that_fails_again_is_tried_once_and_stays() {
    let flow = flows().await.into_iter().find(|it| it.name == "redrive").unwrap();
    let fake = copy(&flow.start);
    fake.state().functions_fail = true;
    for _ in 0..2 {
        fake.before("Invoke", |state| state.dead_letters.values_mut().for_each(|hidden| *hidden = false));
    }
    assert_eq!(flow.run(&fake).await.unwrap(), Exit::Error);
    let state = fake.state();
    assert_eq!((state.invoked.len(), state.dead_letters.len()), (2, 2), "{:?}", state.calls);
}
