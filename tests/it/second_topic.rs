//! Where people hear that the first topic is broken, or the guardrail itself: without details, and never in place of them.

use guardrail_core::control::table::Control;
use guardrail_tests::fake::{BUCKET, FakeAws, FaultKind, SECOND_TOPIC};
use serde_json::{Value, json};

use crate::around::{call, deployed, sweep, with_own_key};

/// What a topic was told: each message's subject and machine-readable part.
fn told(fake: &FakeAws, second: bool) -> Vec<(String, Value)> {
    let subjects = fake.state().published.clone();
    let of_topic = |it: &(_, Value)| -> bool {
        let (fields, _): &(std::collections::HashMap<String, String>, Value) = it;
        (fields["TopicArn"] == SECOND_TOPIC) == second
    };
    let all = subjects.into_iter().zip(fake.alerts()).filter(of_topic);
    all.map(|(fields, machine)| (fields["Subject"].clone(), machine)).collect()
}

fn message() -> Value {
    json!({"Records": [{"messageId": "m", "body": json!({"bucket": BUCKET}).to_string()}]})
}

fn goes_back() -> Value {
    json!({"batchItemFailures": [{"itemIdentifier": "m"}]})
}

async fn drifted() -> FakeAws {
    let fake = with_own_key().await;
    fake.state().ledger = Some([].into());
    fake.state().has_second_topic = true;
    let mut world = fake.state().world();
    guardrail_tests::control::drift(&mut world, Control::BucketPolicy);
    fake.state().set_world(world);
    fake
}

#[tokio::test(start_paused = true)]
async fn what_the_first_topic_does_not_take_is_known_at_the_second_without_details_and_is_still_to_be_told() {
    for without_ledger in [false, true] {
        let fake = drifted().await;
        fake.state().own_key.as_mut().unwrap().state = "Disabled".to_owned();
        if without_ledger {
            fake.fail("BatchGetItem", usize::MAX, FaultKind::Answer(500, "InternalServerError"));
        }
        assert_eq!(fake.remediate(message()).await.unwrap(), goes_back(), "people do not know the details");
        assert_eq!(told(&fake, false), []);
        let (subject, known) = told(&fake, true).remove(0);
        let expected = "[UNTOLD] [RESTORED] acme-data: bucket-policy drifted, restored";
        assert!(subject.starts_with(expected) && subject.contains(" (#") != without_ledger, "{subject}");
        assert_eq!(
            (&known["bucket"], &known["control"], &known["severity"], &known["untold"]),
            (&json!(BUCKET), &json!(["bucket-policy"]), &json!("WARNING"), &json!("Publish: KMSDisabled"))
        );
        let text = fake.state().published[0]["Message"].clone();
        for detail in ["Statement", "DenyInsecureTransport", "observed", "findings", "arn:aws:iam"] {
            assert!(!text.contains(detail), "{detail} in {text}");
        }
        if without_ledger {
            continue;
        }
        // It is tried again, and nothing new is known.
        assert_eq!(fake.remediate(message()).await.unwrap(), goes_back());
        assert_eq!((told(&fake, false).len(), told(&fake, true).len()), (0, 1));
        // When the first topic works again, the details are told.
        fake.state().own_key.as_mut().unwrap().state = "Enabled".to_owned();
        fake.forget();
        assert_eq!(fake.remediate(message()).await.unwrap(), json!({"batchItemFailures": []}));
        assert!(told(&fake, false)[0].0.starts_with("[RESTORED]") && told(&fake, true).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_topic_takes_goes_back() {
    let fake = drifted().await;
    fake.fail("Publish", usize::MAX, FaultKind::Answer(403, "AuthorizationError"));
    assert_eq!(fake.remediate(message()).await.unwrap(), goes_back());
    assert_eq!(fake.state().published.len(), 0);
    fake.state().heal();
    fake.remediate(message()).await.unwrap();
    assert_eq!((told(&fake, false).len(), told(&fake, true).len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_broken_of_the_guardrail_is_told_at_both_topics_and_the_details_at_the_first() {
    let fake = with_own_key().await;
    fake.state().has_second_topic = true;
    let stranger = json!({"Sid": "theirs", "Effect": "Allow", "Principal": "*", "Action": "lambda:InvokeFunction"});
    fake.state().permissions.push(stranger);
    sweep(&fake, json!({})).await.unwrap();
    let (first, second) = (told(&fake, false).remove(0), told(&fake, true).remove(0));
    let parts = json!(["function guardrail-remediate", "function guardrail-sweep"]);
    assert_eq!((&first.0, &second.1["part"]), (&second.0, &parts));
    assert!(first.1["findings"][0]["problem"].as_str().unwrap().contains("the statement theirs"));
    assert_eq!((&second.1["findings"], &second.1["details"]), (&json!(null), &json!(false)));
    // What somebody does to a topic, too: nobody may be listening there any more.
    fake.forget();
    let topic = format!("{}:1-2", SECOND_TOPIC.replace("broken", "alerts"));
    fake.remediate(call("sns", "Unsubscribe", json!({"subscriptionArn": topic}))).await.unwrap();
    assert_eq!((told(&fake, false).len(), told(&fake, true).len()), (1, 1));
    fake.forget();
    fake.remediate(call("lambda", "UpdateFunctionCode", json!({"functionName": "guardrail-verify"}))).await.unwrap();
    assert_eq!((told(&fake, false).len(), told(&fake, true).len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_first_topic_hears_when_the_second_takes_nothing() {
    let fake = FakeAws::guarded();
    deployed(&fake);
    let _ = sweep(&fake, json!({})).await;
    fake.forget();
    fake.state().has_second_topic = true;
    fake.state().refusing_topics.insert(SECOND_TOPIC.to_owned());
    sweep(&fake, json!({})).await.unwrap();
    let (_, alert) = told(&fake, false).remove(0);
    let parts: Vec<_> = alert["findings"].as_array().unwrap().iter().map(|it| it["part"].as_str().unwrap()).collect();
    assert!(parts.contains(&"topic s3-guardrail-broken"), "{alert}");
}
