//! Whose key or trail it is that a call is about: one call, however many buckets are registered, and never wrong for long.

use guardrail_core::value::own_parts::{SWEPT, USES};
use guardrail_tests::fake::{ACCOUNT, BUCKET, FakeAws, KEY, TRAIL};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::around::{call, compliant, everything, sweep};

const THEIRS: &str = "arn:aws:kms:eu-west-2:111122223333:key/theirs";

/// Many registered buckets with keys of their own, and the index of the last sweep.
async fn crowded() -> FakeAws {
    let fake = compliant().await;
    for n in 0..25 {
        let key = format!("arn:aws:kms:eu-west-2:{ACCOUNT}:key/{n:04}");
        let document = json!({"bucket": format!("crowd-{n}"), "account": ACCOUNT, "key_arn": key});
        fake.state().parameters.insert(format!("/s3-guardrail/buckets/crowd-{n}"), document.to_string());
    }
    let _ = sweep(&fake, json!({})).await;
    fake.forget();
    fake
}

/// Whether an event about our key restores it.
async fn restores(fake: &FakeAws) -> bool {
    fake.state().key.as_mut().unwrap().rotation = false;
    fake.remediate(call("kms", "DisableKeyRotation", json!({"keyId": KEY}))).await.unwrap();
    fake.state().key.as_ref().unwrap().rotation
}

fn document(action: &str) -> Value {
    call("ssm", action, json!({"name": format!("/s3-guardrail/buckets/{BUCKET}")}))
}

#[tokio::test]
async fn a_key_or_a_trail_that_is_nobodys_costs_one_call() {
    let fake = crowded().await;
    for event in [
        call("kms", "DisableKey", json!({"keyId": THEIRS})),
        call("kms", "CreateAlias", json!({"aliasName": "alias/theirs", "targetKeyId": "theirs"})),
        call("cloudtrail", "StopLogging", json!({"name": "theirs"})),
    ] {
        fake.forget();
        assert_eq!(fake.remediate(event).await.unwrap(), json!({"buckets": []}));
        assert_eq!(fake.reads(), ["GetParameters"]);
    }
}

#[tokio::test]
async fn what_a_bucket_uses_is_found_without_a_walk_through_the_registry() {
    let fake = crowded().await;
    for event in [
        call("kms", "DisableKey", json!({"keyId": KEY.rsplit('/').next().unwrap()})),
        call("kms", "UpdateAlias", json!({"aliasName": "alias/s3-secure-data", "targetKeyId": "other"})),
        call("cloudtrail", "StopLogging", json!({"name": TRAIL})),
    ] {
        fake.forget();
        let answer = fake.remediate(event).await.unwrap();
        assert_eq!(answer["buckets"][0]["bucket"], BUCKET);
        assert!(!fake.reads().contains(&"GetParametersByPath".to_owned()), "{:?}", fake.reads());
    }
}

#[tokio::test]
async fn without_a_recent_sweep_the_registry_itself_is_read_but_not_for_a_call_that_failed() {
    let fake = crowded().await;
    let hour_ago = Timestamp::now() - jiff::SignedDuration::from_hours(1);
    let mut denied = call("kms", "DisableKey", json!({"keyId": THEIRS}));
    denied["detail"]["errorCode"] = json!("AccessDenied");
    for stamp in [None, Some(hour_ago.to_string()), Some("soon".to_owned()), Some("2999-01-01T00:00:00Z".to_owned())] {
        match &stamp {
            Some(stamp) => drop(fake.state().parameters.insert(SWEPT.to_owned(), stamp.clone())),
            None => drop(fake.state().parameters.remove(SWEPT)),
        }
        fake.state().parameters.retain(|name, _| !name.starts_with(USES) || name == SWEPT);
        assert!(restores(&fake).await, "{stamp:?}");
        fake.forget();
        fake.remediate(denied.clone()).await.unwrap();
        assert_eq!(fake.reads(), ["GetParameters"], "{stamp:?}");
    }
}

#[tokio::test]
async fn a_document_that_somebody_writes_is_in_the_index_from_its_own_event_on() {
    let fake = crowded().await;
    let mut fields = everything();
    fields["key_arn"] = json!(THEIRS);
    fake.register(fields);
    fake.remediate(document("PutParameter")).await.unwrap();
    let entry = fake.state().parameters[&format!("{USES}key/theirs")].clone();
    assert_eq!(entry, json!({"buckets": [BUCKET]}).to_string());
    let answer = fake.remediate(call("kms", "DisableKey", json!({"keyId": THEIRS}))).await.unwrap();
    assert_eq!(answer["buckets"][0]["bucket"], BUCKET);
    // What it used before is nobody's, whatever the index still says.
    assert!(!restores(&fake).await);
    let _ = sweep(&fake, json!({})).await;
    let parameters = fake.state().parameters.clone();
    assert!(!parameters.contains_key(&format!("{USES}key/{}", KEY.rsplit('/').next().unwrap())));
}

#[tokio::test]
async fn a_key_of_a_document_that_is_gone_is_nobodys() {
    let fake = crowded().await;
    fake.state().parameters.remove(&format!("/s3-guardrail/buckets/{BUCKET}"));
    fake.remediate(document("DeleteParameter")).await.unwrap();
    assert!(!restores(&fake).await);
}

/// A bucket that only observes leans on the key, too: alone it would have the key left as it is.
#[tokio::test]
async fn an_index_that_is_not_believed_does_not_hide_one_of_several_buckets() {
    let fake = crowded().await;
    let document = json!({"bucket": "observer", "account": ACCOUNT, "key_arn": KEY, "mode": "observe"});
    fake.state().parameters.insert("/s3-guardrail/buckets/observer".to_owned(), document.to_string());
    let entry = format!("{USES}key/{}", KEY.rsplit('/').next().unwrap());
    fake.state().parameters.insert(entry.clone(), json!({"buckets": ["observer"]}).to_string());
    fake.deploy_rules();
    fake.remediate(call("ssm", "PutParameter", json!({ "name": entry }))).await.unwrap();
    assert!(restores(&fake).await);
}

/// Messages about one key are one look; whoever names a key of ours beside many others must not crowd it out.
#[tokio::test]
async fn a_key_is_found_among_as_many_names_as_a_batch_has() {
    let fake = crowded().await;
    let ours = KEY.rsplit('/').next().unwrap();
    let linked = |target: &str| call("kms", "UpdateAlias", json!({"aliasName": "alias/theirs", "targetKeyId": target}));
    let theirs = (0..9).map(|n| linked(&format!("0000{n}")));
    let records: Vec<_> = theirs
        .chain([linked(ours)])
        .enumerate()
        .map(|(n, it)| json!({"messageId": n.to_string(), "body": it.to_string()}))
        .collect();
    fake.state().key.as_mut().unwrap().rotation = false;
    fake.remediate(json!({ "Records": records })).await.unwrap();
    assert!(fake.state().key.as_ref().unwrap().rotation);
}

#[tokio::test]
async fn what_is_registered_while_a_sweep_goes_on_stays_in_the_index() {
    let fake = crowded().await;
    let entry = format!("{USES}key/new");
    let written = entry.clone();
    // The sweep has read that page of the registry by then.
    fake.before("SendMessageBatch", move |state| {
        let key = "arn:aws:kms:eu-west-2:111122223333:key/new";
        let document = json!({"bucket": "aaa-data", "account": ACCOUNT, "key_arn": key});
        state.parameters.insert("/s3-guardrail/buckets/aaa-data".to_owned(), document.to_string());
        state.parameters.insert(written.clone(), json!({"buckets": ["aaa-data"]}).to_string());
    });
    let _ = sweep(&fake, json!({})).await;
    assert!(fake.state().parameters.contains_key(&entry));
}

/// Who deletes the entry of a key and then the key would be seen by the next sweep only.
#[tokio::test]
async fn who_writes_the_index_is_told_and_it_is_not_believed_until_the_next_sweep() {
    for action in ["DeleteParameter", "PutParameter"] {
        let fake = crowded().await;
        let entry = format!("{USES}key/{}", KEY.rsplit('/').next().unwrap());
        match action {
            "DeleteParameter" => drop(fake.state().parameters.remove(&entry)),
            _ => drop(fake.state().parameters.insert(entry.clone(), json!({"buckets": ["crowd-1"]}).to_string())),
        }
        fake.deploy_rules();
        let answer = fake.remediate(call("ssm", action, json!({ "name": entry }))).await.unwrap();
        assert_eq!((&answer["outcome"], &answer["notified"]), (&json!("tampered"), &json!(true)), "{answer}");
        assert_eq!(fake.alerts()[0]["severity"], "CRITICAL");
        assert!(answer["findings"].to_string().contains("index of the registry"), "{answer}");
        assert!(restores(&fake).await);
    }
}

#[tokio::test]
async fn an_index_that_cannot_be_read_costs_a_walk_and_nothing_else() {
    let fake = crowded().await;
    fake.fail("GetParameters", 1, guardrail_tests::fake::FaultKind::Answer(400, "AccessDeniedException"));
    assert!(restores(&fake).await);
    assert!(fake.reads().contains(&"GetParametersByPath".to_owned()));
}
