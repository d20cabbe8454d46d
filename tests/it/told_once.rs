//! With the ledger: one incident is one message, what stays as it is is told once, and what nobody could be told of is not
//! lost. Over the fake; what is decided is tested with plain values beside the decisions.

use std::time::Duration;

use guardrail_core::control::table::Control;
use guardrail_tests::fake::{BUCKET, FakeAws, FaultKind, LEDGER, remediate};
use serde_json::{Value, json};

async fn compliant() -> FakeAws {
    let fake = FakeAws::compliant().await;
    fake.state().ledger = Some([].into());
    fake
}

fn drift(fake: &FakeAws, controls: &[Control]) {
    let mut world = fake.state().world();
    controls.iter().for_each(|it| guardrail_tests::control::drift(&mut world, *it));
    fake.state().set_world(world);
}

fn sweep() -> Value {
    json!({"Records": [{"messageId": "m", "body": json!({"bucket": BUCKET}).to_string()}]})
}

/// Outcome or first fact of each alert so far.
fn told(fake: &FakeAws) -> Vec<String> {
    let subjects = fake.state().published.iter().map(|it| it["Subject"].clone()).collect::<Vec<_>>();
    fake.state().published.clear();
    subjects.iter().map(|it| it.split(" acme-data").next().unwrap().to_owned()).collect()
}

async fn item(fake: &FakeAws) -> Value {
    let subject = format!("bucket:{BUCKET}");
    let read = guardrail::store::ledger::read(&fake.guardrail(), LEDGER, std::slice::from_ref(&subject)).await.unwrap();
    read.get(&subject).map_or(Value::Null, |it| Value::Object(it.item.clone()))
}

#[tokio::test(start_paused = true)]
async fn what_stays_broken_is_told_once_and_when_it_is_good_again() {
    let fake = compliant().await;
    drift(&fake, &[Control::Versioning]);
    fake.fail("PutBucketVersioning", 3, FaultKind::Answer(403, "AccessDenied"));
    for _ in 0..3 {
        fake.remediate(sweep()).await.unwrap();
    }
    assert_eq!(told(&fake), ["[FAILED]"]);
    assert_eq!(item(&fake).await["open"]["versioning"]["told"].as_str().map(|_| ()), Some(()));
    // Its owner mends it.
    fake.state().heal();
    fake.set("versioning", Some("<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"));
    for _ in 0..2 {
        fake.remediate(sweep()).await.unwrap();
    }
    assert_eq!(told(&fake), ["[CLEARED]"]);
    assert_eq!(item(&fake).await["open"], json!({}));
}

#[tokio::test(start_paused = true)]
async fn a_restore_is_always_told_and_the_third_within_an_hour_is_a_fight() {
    let fake = compliant().await;
    for (n, subject) in ["[RESTORED]", "[RESTORED]", "[FIGHT]"].iter().enumerate() {
        drift(&fake, &[Control::Versioning]);
        fake.remediate(sweep()).await.unwrap();
        let alert = fake.alerts().remove(0);
        assert_eq!(alert["findings"][0]["outcome"], "restored", "before and after are told each time: {alert}");
        assert_eq!(told(&fake), [*subject], "{n}");
        assert_eq!(fake.writes().len(), n + 1);
    }
    // From then on once a minute at most; that is no failure, and nobody is told.
    drift(&fake, &[Control::Versioning]);
    let answer = fake.remediate(sweep()).await.unwrap();
    assert_eq!(answer, json!({"batchItemFailures": [{"itemIdentifier": "m"}]}));
    assert_eq!((told(&fake).len(), fake.writes().len()), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_told_is_told_by_the_next_look() {
    let fake = compliant().await;
    drift(&fake, &[Control::Versioning]);
    fake.fail("Publish", 9, FaultKind::Answer(403, "AuthorizationError"));
    fake.remediate(sweep()).await.unwrap();
    assert_eq!(item(&fake).await["telling"], Value::Null, "others may");
    fake.state().heal();
    fake.remediate(sweep()).await.unwrap();
    assert_eq!(told(&fake), ["[RESTORED]"]);
    fake.remediate(sweep()).await.unwrap();
    assert_eq!(told(&fake), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn without_its_ledger_everything_is_told_and_that_is_said() {
    let fake = compliant().await;
    drift(&fake, &[Control::Versioning]);
    fake.fail("BatchGetItem", 99, FaultKind::Answer(500, "InternalServerError"));
    fake.fail("PutBucketVersioning", 99, FaultKind::Answer(403, "AccessDenied"));
    for _ in 0..2 {
        fake.remediate(sweep()).await.unwrap();
    }
    let alerts = fake.alerts();
    assert_eq!(alerts.len(), 2);
    assert!(alerts[1]["ledger_error"].as_str().unwrap().contains("BatchGetItem"), "{}", alerts[1]);
    // An item of a later version is neither believed nor overwritten.
    let fake = compliant().await;
    let newer = json!({"meaning": 2, "open": "otherwise"});
    guardrail::store::ledger::replace(&fake.guardrail(), LEDGER, "bucket:acme-data", 0, newer.as_object().unwrap())
        .await
        .unwrap();
    drift(&fake, &[Control::Versioning]);
    fake.remediate(sweep()).await.unwrap();
    assert!(fake.alerts()[0]["ledger_error"].as_str().unwrap().contains("newer version"), "{:?}", fake.alerts());
    assert_eq!(item(&fake).await["open"], "otherwise");
}

#[tokio::test(start_paused = true)]
async fn two_looks_at_once_tell_one_restore_once() {
    let fake = compliant().await;
    drift(&fake, &Control::OF_BUCKET);
    fake.state().latency = Duration::from_millis(40);
    let (first, second) = (fake.guardrail(), fake.guardrail());
    let (one, other) = tokio::join!(remediate(&first, sweep()), remediate(&second, sweep()));
    assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
    let restored: Vec<_> = fake.alerts().iter().map(|it| it["findings"].as_array().unwrap().len()).collect();
    assert_eq!(restored.iter().sum::<usize>(), 7, "each once: {restored:?}");
    assert!(restored.len() <= 2, "one message and one follow-up: {restored:?}");
    assert!(fake.writes().len() <= 16, "{:?}", fake.writes());
}

#[tokio::test(start_paused = true)]
async fn ten_compliant_buckets_cost_eighty_reads_of_s3_and_one_each_of_registry_and_ledger() {
    let fake = compliant().await;
    let bucket = |n: usize| if n == 0 { BUCKET.to_owned() } else { format!("more-{n}") };
    for name in (1..10).map(bucket) {
        let document = json!({"bucket": name, "account": "111122223333", "key_arn": guardrail_tests::fake::KEY});
        fake.state().parameters.insert(format!("/s3-guardrail/buckets/{name}"), document.to_string());
        fake.state().others.insert(name, Default::default());
    }
    let record = |n: usize| json!({"messageId": format!("m{n}"), "body": json!({"bucket": bucket(n)}).to_string()});
    let batch = json!({"Records": (0..10).map(record).collect::<Vec<_>>()});
    // The first time they are built, and looked at again when what was built is a moment old.
    for _ in 0..2 {
        fake.forget();
        fake.remediate(batch.clone()).await.unwrap();
        tokio::time::advance(Duration::from_secs(300)).await;
    }
    assert_eq!((fake.writes(), fake.alerts().len()), (vec![], 0));
    let reads = fake.reads();
    let of = |is: fn(&str) -> bool| reads.iter().filter(|it| is(it)).count();
    let others = ["GetParameters", "BatchGetItem"];
    assert_eq!(others.map(|name| reads.iter().filter(|it| *it == name).count()), [1, 1], "{reads:?}");
    assert_eq!(of(|it| it.starts_with("GetBucket") || it == "GetPublicAccessBlock"), 80, "{reads:?}");
    assert_eq!(reads.len(), 82, "none of KMS or CloudTrail: {reads:?}");
}

#[tokio::test(start_paused = true)]
async fn an_exemption_counts_at_once_though_the_document_was_read_for_a_whole_batch() {
    let fake = compliant().await;
    drift(&fake, &[Control::Versioning]);
    let exemption = json!([{"control": "versioning", "until": "2999-01-31", "reason": "r", "approved_by": "ann"}]);
    // After the batch's read of the registry, and before the bucket is read.
    fake.before("GetBucketVersioning", move |state| {
        let name = format!("/s3-guardrail/buckets/{BUCKET}");
        let mut document: Value = serde_json::from_str(&state.parameters[&name]).unwrap();
        document["exemptions"] = exemption;
        state.parameters.insert(name, document.to_string());
    });
    let message = |bucket: &str| json!({"messageId": bucket, "body": json!({"bucket": bucket}).to_string()});
    fake.remediate(json!({"Records": [message(BUCKET), message("unguarded")]})).await.unwrap();
    assert_eq!(fake.writes(), [""; 0]);
    assert_eq!(fake.alerts()[0]["findings"][0]["outcome"], "exempt");
}

#[tokio::test(start_paused = true)]
async fn people_know_a_day_before_an_exemption_ends_and_when_it_has_ended() {
    let fake = compliant().await;
    let guardrail = fake.guardrail_in_virtual_time();
    let until = guardrail.clock.now() + jiff::SignedDuration::from_hours(48);
    fake.register(json!({"exemptions": [{"control": "versioning", "until": until, "reason": "CHG-1"}]}));
    remediate(&guardrail, sweep()).await.unwrap();
    assert_eq!(told(&fake), [""; 0]);
    tokio::time::advance(Duration::from_secs(25 * 3600)).await;
    for _ in 0..2 {
        remediate(&guardrail, sweep()).await.unwrap();
    }
    let alert = fake.alerts().remove(0);
    assert_eq!((&alert["severity"], &alert["outcome"]), (&json!("WARNING"), &json!("compliant")), "{alert}");
    let text = alert["facts"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("the exemption of versioning ends at ") && text.ends_with("(reason: CHG-1)"), "{text}");
    let subjects: Vec<_> = fake.state().published.iter().map(|it| it["Subject"].clone()).collect();
    assert!(subjects[0].starts_with("[EXEMPTION] acme-data: the exemption of versioning ends at"), "{subjects:?}");
    assert_eq!(told(&fake), ["[EXEMPTION]"], "once");
    // When it is over the control is restored as ever.
    drift(&fake, &[Control::Versioning]);
    remediate(&guardrail, sweep()).await.unwrap();
    assert_eq!(told(&fake), ["[DRIFTED]"], "it was used now");
    tokio::time::advance(Duration::from_secs(23 * 3600)).await;
    remediate(&guardrail, sweep()).await.unwrap();
    let alert = fake.alerts().remove(0);
    assert_eq!(alert["findings"][0]["outcome"], "restored", "{alert}");
    assert!(
        alert["facts"][0]["text"].as_str().unwrap().starts_with("the exemption of versioning ended at "),
        "{alert}"
    );
    remediate(&guardrail, sweep()).await.unwrap();
    assert_eq!(told(&fake), ["[RESTORED]"]);
}

#[tokio::test(start_paused = true)]
async fn an_exemption_that_nobody_will_remember_is_told_every_day() {
    let fake = compliant().await;
    fake.register(json!({"exemptions": [{"control": "versioning", "until": "2999-01-31"}]}));
    let guardrail = fake.guardrail_in_virtual_time();
    for _ in 0..2 {
        for _ in 0..3 {
            remediate(&guardrail, sweep()).await.unwrap();
        }
        assert_eq!(told(&fake), ["[EXEMPTION]"]);
        tokio::time::advance(Duration::from_secs(24 * 3600)).await;
    }
    // An own echo or a request finds the same in the ledger.
    remediate(&guardrail, json!({"bucket": BUCKET})).await.unwrap();
    remediate(&guardrail, json!({"bucket": BUCKET})).await.unwrap();
    assert_eq!(told(&fake), ["[EXEMPTION]"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_fought_over_is_held_where_its_owner_says_so() {
    let fake = compliant().await;
    fake.register(json!({"on_fight": "hold"}));
    let guardrail = fake.guardrail_in_virtual_time();
    let broken = async || {
        drift(&fake, &[Control::Versioning]);
        remediate(&guardrail, sweep()).await.unwrap()
    };
    for _ in 0..3 {
        broken().await;
    }
    assert_eq!(told(&fake), ["[RESTORED]", "[RESTORED]", "[FIGHT]"]);
    tokio::time::advance(Duration::from_secs(90)).await;
    for _ in 0..2 {
        assert_eq!(broken().await, json!({"batchItemFailures": []}), "it is answered");
        tokio::time::advance(Duration::from_secs(900)).await;
    }
    let alert = fake.alerts().remove(0);
    assert!(alert["findings"][0]["note"].as_str().unwrap().contains("\"on_fight\": \"hold\""), "{alert}");
    assert_eq!((told(&fake), fake.writes().len()), (vec!["[DRIFTED]".to_owned()], 3), "once");
    // Whoever asks for it has it restored, and the fight goes on.
    remediate(&guardrail, json!({"bucket": BUCKET})).await.unwrap();
    broken().await;
    assert_eq!(fake.writes().len(), 4);
    tokio::time::advance(Duration::from_secs(3600)).await;
    broken().await;
    assert_eq!(fake.writes().len(), 5, "it is over");
}

#[tokio::test(start_paused = true)]
async fn what_waited_for_another_write_is_read_again_before_its_own() {
    let fake = compliant().await;
    drift(&fake, &[Control::PublicAccessBlock, Control::DefaultEncryption, Control::Versioning]);
    // Whatever their waits are: together more than six seconds.
    for busy in ["PutPublicAccessBlock", "PutBucketEncryption"] {
        fake.fail(busy, 6, FaultKind::Answer(503, "SlowDown"));
    }
    // Meanwhile its owner mends the other.
    let enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    fake.before("PutPublicAccessBlock", move |state| state.set("versioning", Some(enabled)));
    remediate(&fake.guardrail_in_virtual_time(), sweep()).await.unwrap();
    assert!(!fake.writes().contains(&"PutBucketVersioning".to_owned()), "{:?}", fake.writes());
    assert_eq!(told(&fake), ["[RESTORED]"]);
}
