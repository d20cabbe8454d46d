//! History: what is kept of a restore, and that nothing is held up by it.

use guardrail_tests::fake::{BUCKET, FakeAws, FaultKind, KEY};
use serde_json::{Value, json};

const FOLDER: &str = "acme-data-logs/s3-guardrail/history/acme-data/";

fn records(fake: &FakeAws) -> Vec<(String, Value)> {
    let objects = fake.state().objects.clone();
    objects.into_iter().map(|(place, text)| (place, serde_json::from_str(&text).unwrap())).collect()
}

#[tokio::test]
async fn what_was_written_is_kept_beside_the_alert_which_names_it() {
    let fake = FakeAws::compliant().await;
    let owners =
        r#"{"Statement":{"Sid":"Own","Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"*"}}"#;
    fake.set("policy", Some(owners));
    let report = fake.remediate(json!({"bucket": BUCKET})).await.unwrap();
    let (place, record) = records(&fake).pop().unwrap();
    assert!(place.starts_with(FOLDER) && place.ends_with(".json"), "{place}");
    let uri = place.replace(".s3.eu-west-2.amazonaws.com", "");
    assert_eq!((&report["record"], &fake.alerts()[0]["record"]), (&json!(format!("s3://{uri}")), &report["record"]));
    assert_eq!(record["schema"], "s3-guardrail-record/1");
    assert_eq!(
        (&record["bucket"], &record["account"], &record["outcome"]),
        (&json!(BUCKET), &json!("111122223333"), &json!("restored"))
    );
    let finding = &record["findings"][0];
    assert_eq!((&finding["control"], &finding["written"]), (&json!("bucket-policy"), &json!(true)));
    assert_eq!(finding["observed"]["Statement"][0]["Sid"], "Own");
    assert_eq!(finding["desired"]["Statement"].as_array().unwrap().len(), 5);
    let calls = fake.state().calls.clone();
    let at = |name: &str| calls.iter().position(|it| it == name).unwrap();
    assert!(at("PutObject") > at("PutBucketPolicy"), "{calls:?}");
}

#[tokio::test]
async fn without_a_write_there_is_no_record() {
    let fake = FakeAws::compliant().await;
    fake.remediate(json!({"bucket": BUCKET})).await.unwrap();
    fake.set("versioning", None);
    fake.remediate(json!({"bucket": BUCKET, "dry_run": true})).await.unwrap();
    fake.fail("PutBucketVersioning", 9, FaultKind::Answer(403, "AccessDenied"));
    fake.remediate(json!({"bucket": BUCKET})).await.unwrap_err();
    assert!(records(&fake).is_empty(), "{:?}", records(&fake));
}

#[tokio::test]
async fn a_write_without_an_answer_is_kept_too() {
    let fake = FakeAws::compliant().await;
    fake.set("versioning", None);
    fake.fail("PutBucketVersioning", 99, FaultKind::Reset);
    fake.remediate(json!({"bucket": BUCKET})).await.unwrap_err();
    let (_, record) = records(&fake).pop().unwrap();
    let finding = &record["findings"][0];
    assert_eq!((&finding["outcome"], &finding["written"]), (&json!("failed"), &json!(true)));
}

#[tokio::test]
async fn a_record_that_cannot_be_kept_fails_nothing() {
    let fake = FakeAws::compliant().await;
    for fault in [FaultKind::Answer(403, "AccessDenied"), FaultKind::Answer(404, "NoSuchBucket"), FaultKind::Reset] {
        fake.forget();
        fake.set("versioning", None);
        fake.fail("PutObject", 3, fault);
        let report = fake.remediate(json!({"bucket": BUCKET})).await.unwrap();
        fake.state().heal();
        assert_eq!((&report["outcome"], &report["notified"]), (&json!("restored"), &json!(true)), "{report}");
        assert!(report["record"].is_null(), "{report}");
        assert!(report["record_error"].as_str().unwrap().starts_with("PutObject: "), "{report}");
        assert_eq!(fake.alerts().len(), 1);
    }
}

#[tokio::test]
async fn each_bucket_of_a_shared_key_has_its_own_record_only_if_something_was_written_for_it() {
    let fake = FakeAws::compliant().await;
    fake.state().key.as_mut().unwrap().rotation = false;
    let event = json!({"detail": {"eventSource": "kms.amazonaws.com", "eventName": "DisableKeyRotation", "eventID": "e-1", "requestParameters": {"keyId": KEY}}});
    fake.remediate(event).await.unwrap();
    let kept = records(&fake);
    assert_eq!(kept.len(), 1);
    assert!(kept[0].0.ends_with("-e-1.json"), "{kept:?}");
    assert_eq!(kept[0].1["findings"][0]["control"], "kms-key");
}

#[tokio::test]
async fn what_another_invocation_restored_first_is_in_the_record_as_that() {
    let fake = FakeAws::compliant().await;
    let good = fake.documents();
    let theirs = "<LifecycleConfiguration><Rule><ID>theirs</ID><Filter/><Status>Enabled</Status><Expiration><Days>9</Days></Expiration></Rule></LifecycleConfiguration>";
    fake.set("lifecycle", Some(theirs));
    fake.set("policy", None);
    fake.set("versioning", None);
    for name in ["lifecycle", "policy"] {
        let document = good[name].clone();
        fake.before("PutBucketVersioning", move |state| state.set(name, Some(&document)));
    }
    fake.fail("GetBucketPolicy", 1, FaultKind::Stale(None));
    fake.remediate(json!({"bucket": BUCKET})).await.unwrap();
    let (_, record) = records(&fake).pop().unwrap();
    let entry = |control: &str| {
        let all = record["findings"].as_array().unwrap().iter();
        all.clone().find(|it| it["control"] == control).unwrap().clone()
    };
    assert_eq!((&entry("versioning")["written"], entry("versioning").get("by_another")), (&json!(true), None));
    let lifecycle = entry("lifecycle");
    assert_eq!((&lifecycle["written"], &lifecycle["by_another"]), (&json!(false), &json!(true)), "{lifecycle}");
    assert!(lifecycle["observed"]["Document"].as_str().unwrap().contains("theirs"), "{lifecycle}");
    assert!(lifecycle["desired"]["Document"].as_str().unwrap().contains("expire-noncurrent-30days"), "{lifecycle}");
}

#[tokio::test]
async fn a_bucket_where_others_restored_everything_first_has_no_record() {
    let fake = FakeAws::compliant().await;
    let good = fake.documents()["lifecycle"].clone();
    fake.set("lifecycle", None);
    fake.fail("PutBucketLifecycleConfiguration", 1, FaultKind::Answer(409, "OperationAborted"));
    fake.before("PutBucketLifecycleConfiguration", move |state| state.set("lifecycle", Some(&good)));
    fake.remediate(json!({"bucket": BUCKET})).await.unwrap();
    assert!(records(&fake).is_empty(), "{:?}", records(&fake));
}

#[tokio::test]
async fn a_write_of_several_calls_none_of_which_was_let_through_is_no_write() {
    let fake = FakeAws::compliant().await;
    fake.set("ownershipControls", None);
    fake.fail("PutBucketAcl", 9, FaultKind::Denied("no"));
    fake.remediate(json!({"bucket": BUCKET})).await.unwrap_err();
    assert!(records(&fake).is_empty(), "{:?}", records(&fake));
    fake.state().heal();
    fake.fail("PutBucketOwnershipControls", 9, FaultKind::Denied("no"));
    fake.remediate(json!({"bucket": BUCKET})).await.unwrap_err();
    assert_eq!(records(&fake)[0].1["findings"][0]["written"], true, "the ACL was");
}
