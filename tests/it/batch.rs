//! Batches of a queue's messages: one look for what is about the same, one message to people, and each message's own end.

use std::time::Duration;

use guardrail_core::control::table::Control;
use guardrail_tests::{
    fake::{BUCKET, FakeAws, FaultKind, ROLE},
    local_aws::workspace,
};
use serde_json::{Value, json};

/// A queue's message that a function first had so many seconds ago.
fn message(id: usize, body: &Value, seconds: i64) -> Value {
    let first = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds);
    json!({
        "messageId": format!("m{id}"), "receiptHandle": format!("r{id}"), "body": body.to_string(),
        "eventSourceARN": "arn:aws:sqs:eu-west-2:111122223333:s3-guardrail-events",
        "attributes": {"ApproximateReceiveCount": "1", "ApproximateFirstReceiveTimestamp": first.as_millisecond().to_string()},
    })
}

fn batch(bodies: &[Value], seconds: i64) -> Value {
    json!({"Records": bodies.iter().enumerate().map(|(id, body)| message(id, body, seconds)).collect::<Vec<_>>()})
}

/// Somebody's call, as EventBridge brings it.
fn call(event_name: &str, id: &str, user: &str) -> Value {
    let text = std::fs::read_to_string(workspace().join("events/put-bucket-versioning.json")).unwrap();
    let mut event: Value = serde_json::from_str(&text).unwrap();
    event["detail"]["eventName"] = json!(event_name);
    event["detail"]["eventID"] = json!(id);
    event["detail"]["userIdentity"] =
        json!({"type": "IAMUser", "arn": format!("arn:aws:iam::111122223333:user/{user}")});
    event
}

/// The guardrail's own call, so many seconds ago.
fn own(event_name: &str, user_agent: &str, seconds: i64) -> Value {
    let mut event = call(event_name, event_name, "x");
    let time = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds);
    event["detail"]["userIdentity"] = json!({"sessionContext": {"sessionIssuer": {"arn": ROLE}}});
    event["detail"]["userAgent"] = json!(user_agent);
    event["detail"]["eventTime"] = json!(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    event
}

fn drift(fake: &FakeAws, controls: &[Control]) {
    let mut world = fake.state().world();
    controls.iter().for_each(|it| guardrail_tests::control::drift(&mut world, *it));
    fake.state().set_world(world);
}

/// Which messages come back, and after how many seconds.
async fn back(fake: &FakeAws, batch: Value) -> Vec<(String, i64)> {
    let answer = fake.remediate(batch).await.unwrap();
    returned(fake, &answer)
}

fn returned(fake: &FakeAws, answer: &Value) -> Vec<(String, i64)> {
    let failures = answer["batchItemFailures"].as_array().unwrap().iter();
    let failures = failures.map(|it| it["itemIdentifier"].as_str().unwrap().replace('m', "r"));
    let waits = fake.state().returned.clone();
    failures
        .map(|receipt| {
            let wait = waits.iter().find(|it| it.0 == receipt).map_or(-1, |it| it.1);
            (receipt, wait)
        })
        .collect()
}

const ALL: [(&str, Control); 7] = [
    ("DeleteBucketPublicAccessBlock", Control::PublicAccessBlock),
    ("PutBucketOwnershipControls", Control::ObjectOwnership),
    ("DeleteBucketPolicy", Control::BucketPolicy),
    ("DeleteBucketEncryption", Control::DefaultEncryption),
    ("PutBucketVersioning", Control::Versioning),
    ("DeleteBucketLifecycle", Control::Lifecycle),
    ("DeleteBucketInventoryConfiguration", Control::Inventory),
];

#[tokio::test]
async fn seven_calls_on_one_bucket_are_one_look_and_one_alert() {
    let fake = FakeAws::compliant().await;
    drift(&fake, &ALL.map(|it| it.1));
    let mut calls: Vec<_> =
        ALL.iter().enumerate().map(|(n, it)| call(it.0, it.0, if n < 4 { "ann" } else { "bob" })).collect();
    // EventBridge delivers at least once.
    calls.push(calls[0].clone());
    assert_eq!(back(&fake, batch(&calls, 0)).await, []);
    assert!(fake.writes().len() <= 8, "{:?}", fake.writes());
    let [alert] = &fake.alerts()[..] else { panic!("{:?}", fake.alerts()) };
    assert_eq!((&alert["outcome"], &alert["calls_in_all"]), (&json!("restored"), &json!(7)));
    for (finding, (event_name, control)) in alert["findings"].as_array().unwrap().iter().zip(ALL) {
        assert_eq!(finding["control"], control.id());
        assert_eq!(finding["calls"].as_array().unwrap().len(), 1, "{control}");
        assert_eq!(finding["calls"][0]["event_name"], event_name);
    }
}

#[tokio::test]
async fn of_what_failed_one_message_comes_back_and_later_each_time() {
    for (seconds, wait) in [(0, 30), (30, 60), (90, 120), (210, 240), (450, 240)] {
        let fake = FakeAws::compliant().await;
        drift(&fake, &[Control::Versioning]);
        fake.fail("PutBucketVersioning", 9, FaultKind::Answer(403, "AccessDenied"));
        let bodies =
            [json!({"bucket": "unguarded"}), call("PutBucketVersioning", "a", "ann"), json!({"bucket": BUCKET})];
        assert_eq!(back(&fake, batch(&bodies, seconds)).await, [("r1".to_owned(), wait)]);
        assert_eq!(fake.alerts().len(), 1);
    }
}

/// It is restored once a minute, and so a message waits for the rest of that and not as what failed does.
#[tokio::test]
async fn what_is_fought_over_comes_back_when_its_minute_is_over() {
    for (seconds, comes_back) in [(0, true), (100, true), (500, false)] {
        let fake = FakeAws::compliant().await;
        fake.state().ledger = Some([].into());
        for _ in 0..3 {
            drift(&fake, &[Control::Versioning]);
            assert_eq!(back(&fake, batch(&[call("PutBucketVersioning", "a", "eve")], 0)).await, []);
        }
        fake.forget();
        drift(&fake, &[Control::Versioning]);
        let calls = [call("PutBucketVersioning", "b", "eve"), call("PutBucketVersioning", "c", "eve")];
        let returned = back(&fake, batch(&calls, seconds)).await;
        assert_eq!((fake.writes(), fake.alerts()), (vec![], vec![]));
        let waits: Vec<_> = returned.iter().map(|it| it.1).collect();
        assert!(
            waits.len() == usize::from(comes_back) && waits.iter().all(|it| (50..=60).contains(it)),
            "{returned:?}"
        );
    }
}

/// What fails beside it is tried as ever.
#[tokio::test]
async fn what_fails_beside_a_fight_comes_back_as_what_failed() {
    let fake = FakeAws::compliant().await;
    fake.state().ledger = Some([].into());
    for _ in 0..3 {
        drift(&fake, &[Control::Versioning]);
        fake.remediate(batch(&[call("PutBucketVersioning", "a", "eve")], 0)).await.unwrap();
    }
    drift(&fake, &[Control::Versioning, Control::Lifecycle]);
    fake.fail("PutBucketLifecycleConfiguration", 9, FaultKind::Answer(403, "AccessDenied"));
    let returned = back(&fake, batch(&[call("PutBucketVersioning", "b", "eve")], 100)).await;
    assert_eq!(returned, [("r0".to_owned(), 120)]);
}

#[tokio::test]
async fn what_people_could_not_be_told_is_not_forgotten() {
    let fake = FakeAws::compliant().await;
    drift(&fake, &[Control::Versioning]);
    fake.fail("Publish", 9, FaultKind::Answer(403, "AccessDenied"));
    let bodies = [call("PutBucketVersioning", "a", "ann"), call("DeleteBucketPolicy", "b", "bob")];
    assert_eq!(back(&fake, batch(&bodies, 0)).await, [("r0".to_owned(), 30), ("r1".to_owned(), 30)]);
}

/// Nothing was told yet, so nothing of it is in anybody's hands but the queue's.
#[tokio::test]
async fn what_nobody_could_find_out_about_comes_back_whole() {
    let fake = FakeAws::compliant().await;
    fake.fail("GetParametersByPath", 9, FaultKind::Answer(403, "AccessDenied"));
    let key = |id: &str| {
        let mut event = call("DisableKey", id, "ann");
        event["detail"]["eventSource"] = json!("kms.amazonaws.com");
        event["detail"]["requestParameters"] = json!({"keyId": guardrail_tests::fake::KEY});
        event["detail"]["resources"] = json!([]);
        event
    };
    assert_eq!(back(&fake, batch(&[key("a"), key("b")], 0)).await, [("r0".to_owned(), 30), ("r1".to_owned(), 30)]);
}

#[tokio::test]
async fn a_call_of_our_own_that_failed_leads_nowhere() {
    let fake = FakeAws::compliant().await;
    drift(&fake, &[Control::Versioning]);
    let mut failed = own("PutBucketVersioning", "", 1);
    failed["detail"]["errorCode"] = json!("AccessDenied");
    assert_eq!(back(&fake, batch(&[failed.clone()], 0)).await, []);
    assert_eq!((fake.reads(), fake.writes(), fake.alerts()), (vec![], vec![], vec![]));
    // Beside somebody else's call it changes nothing of that.
    assert_eq!(back(&fake, batch(&[failed, call("PutBucketVersioning", "a", "ann")], 0)).await, []);
    assert_eq!(fake.writes(), ["PutBucketVersioning"]);
}

#[tokio::test]
async fn a_restore_that_does_not_hold_is_told_after_90_seconds_and_not_before() {
    for (seconds, comes_back, told) in [(3, 1, None), (95, 0, Some("unstable"))] {
        let fake = FakeAws::compliant().await;
        drift(&fake, &[Control::Versioning]);
        let returns = back(&fake, batch(&[own("PutBucketVersioning", "", seconds)], 0)).await;
        assert_eq!(returns.len(), comes_back);
        assert_eq!(fake.writes(), [""; 0], "that would be the loop");
        let outcomes: Vec<_> = fake.alerts().iter().map(|it| it["findings"][0]["outcome"].clone()).collect();
        assert_eq!(outcomes, told.map(|it| json!(it)).into_iter().collect::<Vec<_>>());
    }
}

/// An old echo's look reads drift again and again; another look restores it meanwhile, and S3 shows the last read late.
#[tokio::test(start_paused = true)]
async fn what_another_look_has_just_restored_is_not_unstable() {
    let fake = FakeAws::compliant().await;
    fake.state().ledger = Some([].into());
    drift(&fake, &[Control::Versioning]);
    assert_eq!(back(&fake, batch(&[json!({"bucket": BUCKET})], 0)).await, []);
    let restored = fake.state().ledger.replace([].into());
    drift(&fake, &[Control::Versioning]);
    fake.forget();
    fake.before("GetBucketVersioning", |_| {});
    fake.before("GetBucketVersioning", |state| state.ledger = restored);
    let returns = back(&fake, batch(&[own("PutBucketVersioning", "", 95)], 95)).await;
    assert_eq!((returns.len(), fake.writes().len(), fake.alerts()), (1, 0, vec![]));
}

/// An insider waits for our echo and calls again: whatever comes together with it is restored all the same.
#[tokio::test]
async fn a_call_timed_into_our_echo_is_restored() {
    let fake = FakeAws::compliant().await;
    drift(&fake, &[Control::Versioning]);
    let echo = own("PutBucketVersioning", "app/s3-guardrail-echo", 2);
    assert_eq!(back(&fake, batch(&[echo, call("PutBucketVersioning", "a", "eve")], 0)).await, []);
    assert_eq!(fake.writes(), ["PutBucketVersioning"]);
    let agents = fake.state().user_agents.clone();
    assert!(!agents.iter().any(|it| it.contains("s3-guardrail-echo")), "the least generation counts: {agents:?}");
}

/// Seven busy buckets took 140 of a function's 120 seconds once, and the good ones' results died with theirs.
#[tokio::test(start_paused = true)]
async fn a_batch_ends_in_time_and_what_was_not_begun_comes_back_at_once() {
    let fake = FakeAws::compliant().await;
    drift(&fake, &[Control::Versioning]);
    fake.fail("PutBucketVersioning", 99, FaultKind::Answer(503, "SlowDown"));
    fake.state().latency = Duration::from_secs(5);
    let bodies: Vec<_> =
        (0..7).map(|n| json!({"bucket": if n == 0 { BUCKET.to_owned() } else { format!("busy-{n}") }})).collect();
    for n in 1..7 {
        let document =
            json!({"bucket": format!("busy-{n}"), "account": "111122223333", "key_arn": guardrail_tests::fake::KEY});
        fake.state().parameters.insert(format!("/s3-guardrail/buckets/busy-{n}"), document.to_string());
    }
    let start = tokio::time::Instant::now();
    let answer = fake.remediate(batch(&bodies, 0)).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(118), "{:?}", start.elapsed());
    let returned = returned(&fake, &answer);
    assert_eq!(returned[0], ("r0".to_owned(), 30), "it failed, and that was told");
    let (_, others) = returned.split_first().unwrap();
    assert!(!others.is_empty() && others.iter().all(|it| it.1 == 0), "what was not begun: {others:?}");
    assert_eq!(fake.alerts().len() + others.len(), bodies.len(), "and all else is done and told");
}

#[tokio::test(start_paused = true)]
async fn no_write_begins_when_the_time_is_over_and_that_is_told() {
    let fake = FakeAws::compliant().await;
    drift(&fake, &[Control::PublicAccessBlock, Control::Versioning, Control::Lifecycle]);
    fake.state().latency = Duration::from_secs(4);
    let end = tokio::time::Instant::now() + Duration::from_secs(32);
    let input = batch(&[json!({"bucket": BUCKET})], 0);
    let answer = guardrail::work::remediate::remediate(&fake.guardrail(), input, end).await.unwrap();
    assert!(tokio::time::Instant::now() < end);
    assert_eq!(answer, json!({"batchItemFailures": [{"itemIdentifier": "m0"}]}));
    let alert = fake.alerts().remove(0);
    let errors: Vec<_> = alert["findings"].as_array().unwrap().iter().map(|it| it["error"].clone()).collect();
    assert_eq!(errors.last(), Some(&json!("no time left; it is tried again")), "{errors:?}");
}

/// What a look leans on is read in the time that it has, too.
#[tokio::test(start_paused = true)]
async fn a_key_that_does_not_answer_does_not_keep_people_from_being_told() {
    let fake = FakeAws::compliant().await;
    // Whose it is shows in time, and then the key does not answer.
    fake.state().latency = Duration::from_secs(3);
    let input = batch(&[json!({ "key": guardrail_tests::fake::KEY })], 0);
    let end = tokio::time::Instant::now() + Duration::from_secs(28);
    guardrail::work::remediate::remediate(&fake.guardrail(), input, end).await.unwrap();
    assert!(tokio::time::Instant::now() < end);
    let error = fake.alerts()[0]["error"].to_string();
    assert!(error.contains("no time left"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_a_thousand_calls_delays_another_bucket_by_less_than_a_minute() {
    let storm = guardrail_tests::storm::storm().await;
    assert!(storm.other_restored_after < Duration::from_secs(60), "{storm:?}");
    // Three restores, then one a minute; the other bucket is bare.
    assert!(storm.writes < 20 && storm.alerts < 10, "{storm:?}");
}
