//! With the ledger: what is wrong with the guardrail itself is told when it is new, once a day, and when it is over; what was
//! put back, and who called, each time. Over the fake; what is decided is tested with plain values beside the decisions.

use guardrail_tests::fake::{FakeAws, FaultKind};
use serde_json::{Value, json};

use crate::around::{call, sweep, with_own_key};

async fn whole() -> FakeAws {
    let fake = with_own_key().await;
    fake.state().ledger = Some([].into());
    fake
}

/// The subjects of what people were told since, without their incidents' marks.
fn told(fake: &FakeAws) -> Vec<String> {
    let published = std::mem::take(&mut fake.state().published);
    published.iter().map(|it| it["Subject"].split(" (#").next().unwrap().to_owned()).collect()
}

fn let_a_stranger_in(fake: &FakeAws) {
    let stranger = json!({"Sid": "theirs", "Effect": "Allow", "Principal": "*", "Action": "lambda:InvokeFunction"});
    fake.state().permissions.push(stranger);
}

const BROKEN: &str = "[BROKEN] s3-guardrail: 2 parts are not as they should be, 2 of them still";

#[tokio::test(start_paused = true)]
async fn a_part_that_stays_broken_is_told_once_and_when_it_is_good_again() {
    let fake = whole().await;
    let_a_stranger_in(&fake);
    for times in [1, 0, 0] {
        let answer = sweep(&fake, json!({})).await.unwrap();
        assert_eq!(
            answer["guardrail"]["findings"].as_array().unwrap().len(),
            2,
            "the answer has it each time: {answer}"
        );
        assert_eq!(answer["guardrail"]["notified"], times == 1);
        assert_eq!(told(&fake), vec![BROKEN; times]);
    }
    fake.state().permissions.clear();
    assert_eq!(sweep(&fake, json!({})).await.unwrap()["guardrail"], json!(null));
    assert_eq!(told(&fake), ["[CLEARED] s3-guardrail: function guardrail-remediate is as it should be again; 1 more"]);
    sweep(&fake, json!({})).await.unwrap();
    assert_eq!(told(&fake), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn whoever_breaks_a_part_again_and_again_is_told_of_each_time() {
    let fake = whole().await;
    let disable = |fake: &FakeAws| {
        fake.state().rules.get_mut("s3-guardrail-bucket-changed").unwrap().0["State"] = json!("DISABLED");
    };
    for n in 0..4 {
        disable(&fake);
        let mut event = call("events", "DisableRule", json!({"name": "s3-guardrail-bucket-changed"}));
        event["detail"]["eventID"] = json!(format!("e{n}"));
        fake.remediate(event).await.unwrap();
        let subject =
            "[TAMPERED] s3-guardrail: DisableRule on rule s3-guardrail-bucket-changed by user/mallory, undone";
        assert_eq!(told(&fake), [subject], "{n}");
    }
    for n in 0..2 {
        disable(&fake);
        sweep(&fake, json!({})).await.unwrap();
        let subject = "[BROKEN] s3-guardrail: rule s3-guardrail-bucket-changed was not as it should be, put back";
        assert_eq!(told(&fake), [subject], "{n}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_told_of_a_part_is_told_by_the_next_look_whichever_function_looks() {
    let fake = whole().await;
    fake.state().rules.get_mut("s3-guardrail-bucket-changed").unwrap().0["State"] = json!("DISABLED");
    fake.fail("Publish", 9, FaultKind::Answer(403, "AuthorizationError"));
    let event = call("events", "DisableRule", json!({"name": "s3-guardrail-bucket-changed"}));
    fake.remediate(event.clone()).await.unwrap_err();
    fake.state().heal();
    sweep(&fake, json!({})).await.unwrap();
    let alert = fake.alerts().remove(0);
    let facts: Vec<_> = alert["facts"].as_array().unwrap().iter().map(|it| it["kind"].as_str().unwrap()).collect();
    assert_eq!(facts, ["tampered", "restored"], "{alert}");
    assert_eq!(told(&fake).len(), 1);
    // The event comes again.
    fake.remediate(event).await.unwrap();
    assert_eq!(told(&fake), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn without_its_ledger_each_sweep_tells_of_what_is_broken_and_says_why() {
    let fake = whole().await;
    let_a_stranger_in(&fake);
    fake.fail("BatchGetItem", usize::MAX, FaultKind::Answer(400, "ResourceNotFoundException"));
    for _ in 0..2 {
        sweep(&fake, json!({})).await.unwrap();
        assert_eq!(told(&fake), [BROKEN]);
    }
    fake.state().permissions.clear();
    sweep(&fake, json!({})).await.unwrap();
    assert_eq!(told(&fake), [""; 0]);
    let event: Value = call("dynamodb", "DeleteTable", json!({"tableName": "s3-guardrail-ledger"}));
    fake.remediate(event).await.unwrap();
    assert!(fake.alerts()[0]["ledger_error"].as_str().unwrap().contains("ResourceNotFound"), "{:?}", fake.alerts());
}
