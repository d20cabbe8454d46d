//! What somebody who may change buckets and keys tries against the guardrail, and what a race does to it, over the fake.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use guardrail_tests::fake::{ACCOUNT, ALIAS, BUCKET, FakeAws, FaultKind, KEY, ROLE};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::around::compliant;

/// CloudTrail's record of somebody's call about the bucket.
fn event(name: &str) -> Value {
    json!({"detail": {
        "eventSource": "s3.amazonaws.com", "eventName": name, "requestParameters": {"bucketName": BUCKET},
        "userIdentity": {"type": "IAMUser", "arn": format!("arn:aws:iam::{ACCOUNT}:user/mallory")},
        "eventTime": "2026-11-23T09:14:05Z",
    }})
}

/// `control: outcome` for each finding of the one alert.
fn told(fake: &FakeAws) -> Vec<String> {
    let alerts = fake.alerts();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    let findings = alerts[0]["findings"].as_array().unwrap().iter();
    findings.map(|it| format!("{}: {}", it["control"].as_str().unwrap(), it["outcome"].as_str().unwrap())).collect()
}

/// Adds statements to the policy of the bucket, beside ours.
fn add_to_policy(fake: &FakeAws, statement: &Value) {
    let mut policy: Value = serde_json::from_str(&fake.documents()["policy"]).unwrap();
    policy["Statement"].as_array_mut().unwrap().push(statement.clone());
    fake.set("policy", Some(&policy.to_string()));
}

#[tokio::test]
async fn a_policy_that_denies_us_only_the_restore_of_tomorrow_is_told_at_once() {
    let bucket = format!("arn:aws:s3:::{BUCKET}");
    for (action, because) in [
        ("s3:PutLifecycleConfiguration", json!({"Principal": {"AWS": ROLE}})),
        (
            "s3:PutEncryption*",
            json!({"Principal": "*", "Condition": {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/s3-guardrail-*"}}}),
        ),
        ("s3:GetBucketVersioning", json!({"NotPrincipal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:user/mallory")}})),
    ] {
        let fake = compliant().await;
        let mut statement = json!({"Sid": "Quiet", "Effect": "Deny", "Action": action, "Resource": bucket});
        statement.as_object_mut().unwrap().extend(because.as_object().unwrap().clone());
        add_to_policy(&fake, &statement);
        let report = fake.remediate(event("PutBucketPolicy")).await.unwrap();
        assert_eq!((&report["outcome"], &report["findings"]), (&json!("endangered"), &json!([])), "{action}: {report}");
        let told = fake.alerts().remove(0);
        let hindrance = &told["hindrances"][0];
        assert_eq!((&told["severity"], &hindrance["in"]), (&json!("CRITICAL"), &json!("bucket-policy")), "{told}");
        assert_eq!(hindrance["statement"], "Quiet", "{told}");
        let denied = hindrance["actions"].as_array().unwrap();
        assert!(denied.iter().any(|it| it.as_str().unwrap().starts_with(action.trim_end_matches('*'))), "{told}");
        assert_eq!(fake.writes(), Vec::<String>::new(), "it belongs to its owner");
    }
}

#[tokio::test]
async fn what_an_owner_writes_while_key_and_trail_are_still_being_read_survives() {
    for (slow, setting, ours, theirs) in [
        ("GetKeyPolicy", "policy", "{\"Statement\": []}", json!({"Version": "2012-10-17", "Statement": [{"Sid": "Backup", "Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "s3:ListBucket", "Resource": format!("arn:aws:s3:::{BUCKET}")}]}).to_string()),
        ("GetEventSelectors", "lifecycle", "<LifecycleConfiguration/>", "<LifecycleConfiguration><Rule><ID>backup</ID><Filter><Prefix>b/</Prefix></Filter><Status>Enabled</Status><Expiration><Days>900</Days></Expiration></Rule></LifecycleConfiguration>".to_owned()),
    ] {
        let fake = compliant().await;
        if setting == "policy" {
            fake.set(setting, None);
        } else {
            fake.set(setting, Some(ours));
        }
        let document = theirs.clone();
        fake.before(slow, move |state| state.set(setting, Some(&document)));
        assert_eq!(fake.remediate(json!({"bucket": BUCKET})).await.unwrap()["outcome"], "restored");
        assert!(fake.documents()[setting].contains("ackup"), "{:#?}", fake.documents());
    }
}

#[tokio::test]
async fn what_of_a_key_is_known_is_restored_whatever_of_it_cannot_be_read() {
    for unread in ["alias", "GetKeyPolicy", "GetKeyRotationStatus"] {
        let fake = compliant().await;
        fake.state().key.as_mut().unwrap().state = "PendingDeletion".to_owned();
        if unread == "alias" {
            let hostile = format!("{KEY}666");
            fake.state().key.as_mut().unwrap().aliases.insert(ALIAS.to_owned(), hostile.clone());
            fake.state().closed_keys.insert(hostile);
        } else {
            fake.fail(unread, usize::MAX, FaultKind::Answer(400, "AccessDeniedException"));
        }
        let error = fake.remediate(json!({"bucket": BUCKET})).await.unwrap_err();
        assert!(error.contains("AccessDeniedException"), "{unread}: {error}");
        assert_eq!(fake.state().key.as_ref().unwrap().state, "Enabled", "{unread}");
        assert_eq!(told(&fake), ["kms-key: restored", "kms-key: unreadable"], "{unread}");
        let seen = fake.alerts()[0]["findings"][0]["observed"].clone();
        let name = match unread {
            "alias" => "AliasTarget",
            "GetKeyPolicy" => "Policy",
            _ => "KeyRotationEnabled",
        };
        assert_eq!(
            (&seen["KeyState"], &seen[name]),
            (&json!("PendingDeletion"), &json!("could not be read")),
            "{seen}"
        );
    }
}

#[tokio::test]
async fn what_of_a_trail_is_known_is_restored_whatever_of_it_cannot_be_read() {
    for (unread, harm, write) in [
        ("GetEventSelectors", json!({"IsLogging": false}), "StartLogging"),
        ("GetTrail", json!({"AdvancedEventSelectors": []}), "PutEventSelectors"),
        ("GetTrailStatus", json!({"EnableLogFileValidation": false}), "UpdateTrail"),
    ] {
        let fake = compliant().await;
        let trail = fake.state().trail.clone().unwrap();
        for (field, value) in harm.as_object().unwrap() {
            fake.state().trail.as_mut().unwrap()[field] = value.clone();
        }
        fake.fail(unread, usize::MAX, FaultKind::Answer(400, "AccessDeniedException"));
        fake.remediate(json!({"bucket": BUCKET})).await.unwrap_err();
        assert_eq!(fake.writes(), [write], "{unread}");
        assert_eq!(told(&fake), ["trail: restored", "trail: unreadable"], "{unread}");
        if unread != "GetTrail" {
            assert_eq!(fake.state().trail.as_ref(), Some(&trail), "{unread}");
        }
    }
}

#[tokio::test]
async fn log_files_whose_digests_do_not_arrive_are_told() {
    let fake = compliant().await;
    fake.state().trail.as_mut().unwrap()["LatestDigestDeliveryError"] = json!("NoSuchBucket");
    let error = fake.remediate(json!({"bucket": BUCKET})).await.unwrap_err();
    assert!(error.contains("trail: CloudTrail could not deliver its last digest file: NoSuchBucket"), "{error}");
    assert_eq!((told(&fake), fake.writes()), (vec!["trail: failed".to_owned()], vec![]));
}

#[tokio::test]
async fn a_denied_write_of_our_own_is_told_once_and_its_event_is_nothing() {
    for (control, write) in
        [("default-encryption", "PutBucketEncryption"), ("inventory", "PutBucketInventoryConfiguration")]
    {
        let fake = compliant().await;
        fake.set(if control == "inventory" { "inventory" } else { "encryption" }, None);
        fake.fail(write, usize::MAX, FaultKind::Answer(403, "AccessDenied"));
        fake.remediate(event("PutBucketTagging")).await.unwrap_err();
        assert_eq!(told(&fake), [format!("{control}: failed")]);
        fake.forget();
        let mut own = event(write);
        own["detail"]["errorCode"] = json!("AccessDenied");
        own["detail"]["userIdentity"] = json!({"type": "AssumedRole", "arn": format!("arn:aws:sts::{ACCOUNT}:assumed-role/{}/s", ROLE.rsplit('/').next().unwrap()),
            "sessionContext": {"sessionIssuer": {"type": "Role", "arn": ROLE}}});
        assert_eq!(fake.remediate(own.clone()).await.unwrap()["outcome"], "ignored");
        assert_eq!(fake.state().calls, Vec::<String>::new());
        // A role that only looks like ours, as one of another account or one that was assumed from it, is somebody else.
        own["detail"]["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"] = json!(format!("{ROLE}-2"));
        fake.remediate(own).await.unwrap_err();
        assert_eq!(told(&fake), [format!("{control}: failed")]);
    }
}

/// The one alert's exposures, as `kind: detail`.
fn exposures(fake: &FakeAws) -> Vec<String> {
    let alerts = fake.alerts();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    let all = alerts[0]["exposures"].as_array().unwrap().iter();
    all.map(|it| format!("{}: {}", it["kind"].as_str().unwrap(), it["detail"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn what_opens_a_bucket_or_deletes_early_is_told_when_it_is_written_and_stays() {
    let fake = compliant().await;
    let partner = json!({"Sid": "Partner", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::444455556666:role/etl"}, "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": format!("arn:aws:s3:::{BUCKET}/*")});
    add_to_policy(&fake, &partner);
    let report = fake.remediate(event("PutBucketPolicy")).await.unwrap();
    assert_eq!(report["outcome"], "endangered", "{report}");
    assert_eq!(fake.alerts()[0]["severity"], "CRITICAL");
    let opened_detail = format!(
        "statement `Partner` of the bucket policy lets account 444455556666 do s3:GetObject, s3:ListBucket on arn:aws:s3:::{BUCKET}/*"
    );
    assert_eq!(exposures(&fake), [format!("foreign-access: {opened_detail}")]);
    let mail = fake.state().published[0].clone();
    assert!(mail["Subject"].contains("open to others than this account by user/mallory, left so"), "{mail:?}");
    assert!(mail["Message"].contains("has not touched it"), "{mail:?}");
    fake.forget();

    // Neither told again by what did not make it, nor by the sweep.
    for quiet in [
        event("PutBucketVersioning"),
        json!({"Records": [{"messageId": "1", "body": json!({"bucket": BUCKET}).to_string()}]}),
    ] {
        fake.remediate(quiet).await.unwrap();
        assert_eq!(fake.alerts(), Vec::<Value>::new());
    }
    let asked = fake.remediate(json!({"bucket": BUCKET})).await.unwrap();
    assert_eq!((&asked["outcome"], fake.alerts()), (&json!("compliant"), vec![]));
    assert_eq!(asked["exposures"][0]["detail"], opened_detail, "whoever asks is answered");
    let mut own = event("PutBucketPolicy");
    own["detail"]["userIdentity"]["sessionContext"] = json!({"sessionIssuer": {"arn": ROLE}});
    fake.remediate(own).await.unwrap();
    assert_eq!(fake.alerts(), Vec::<Value>::new(), "our own write has opened nothing");

    // Beside drift, too.
    let lifecycle = fake.documents()["lifecycle"].clone();
    let burn = "<Rule><ID>burn</ID><Filter><Prefix>db/</Prefix></Filter><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>";
    fake.set(
        "lifecycle",
        Some(&lifecycle.replace("</LifecycleConfiguration>", burn).replace("<NoncurrentDays>30", "<NoncurrentDays>1")),
    );
    fake.remediate(event("PutBucketLifecycle")).await.unwrap();
    assert_eq!(told(&fake), ["lifecycle: restored"]);
    assert_eq!(
        exposures(&fake),
        ["early-deletion: lifecycle rule `burn` removes current objects after 1 day below `db/`"]
    );
    assert_eq!(fake.alerts()[0]["severity"], "CRITICAL");
    assert!(fake.documents()["lifecycle"].contains("burn") && fake.documents()["policy"].contains("Partner"));
    fake.forget();

    let mut policy: Value = serde_json::from_str(&fake.state().key.as_ref().unwrap().policy).unwrap();
    let use_key = json!({"Sid": "Org", "Effect": "Allow", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*", "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-acme"}}});
    policy["Statement"].as_array_mut().unwrap().push(use_key);
    fake.state().key.as_mut().unwrap().policy = policy.to_string();
    let mut put = event("PutKeyPolicy");
    put["detail"]["eventSource"] = json!("kms.amazonaws.com");
    put["detail"]["requestParameters"] = json!({"keyId": KEY});
    fake.remediate(put).await.unwrap();
    assert_eq!(
        exposures(&fake),
        ["foreign-access: statement `Org` of the key policy lets whoever has aws:principalorgid o-acme do kms:Decrypt"]
    );
    assert_eq!(fake.alerts()[0]["severity"], "WARNING", "whose organization it is cannot be told");
}

#[tokio::test]
async fn a_policy_that_says_two_things_of_one_is_not_guessed_at() {
    let whole = |statement: &str| format!("{{\"Version\": \"2012-10-17\", \"Statement\": [{statement}]}}");
    for statement in [
        r#"{"Sid": "S", "Effect": "Allow", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::acme-data"}"#.to_owned(),
        format!(r#"{{"Effect": "Allow", "Principal": {{"AWS": "{ACCOUNT}"}}, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::acme-data/*", "Condition": {{"IpAddress": {{"aws:SourceIp": "10.0.0.0/8"}}, "IpAddress": {{"aws:SourceIp": "0.0.0.0/0"}}}}}}"#),
    ] {
        let fake = compliant().await;
        fake.set("policy", Some(&whole(&statement)));
        let error = fake.remediate(event("PutBucketPolicy")).await.unwrap_err();
        assert!(error.contains("twice"), "{error}");
        assert_eq!((told(&fake), fake.writes()), (vec!["bucket-policy: unreadable".to_owned()], vec![]));
    }
}

/// The window of ARCHITECTURE.md, in round trips: what an owner writes after the last read was answered and before our
/// write arrives is lost.
#[tokio::test(start_paused = true)]
async fn between_the_last_read_of_a_merged_document_and_its_write_lies_one_way_and_no_other_call() {
    let round_trip = Duration::from_millis(50);
    for (setting, read, write) in [
        ("policy", "GetBucketPolicy", "PutBucketPolicy"),
        ("lifecycle", "GetBucketLifecycleConfiguration", "PutBucketLifecycleConfiguration"),
    ] {
        let fake = compliant().await;
        fake.state().latency = round_trip;
        fake.set(setting, None);
        let times = Arc::new(Mutex::new(Vec::new()));
        for operation in [read, read, write] {
            let times = Arc::clone(&times);
            fake.before(operation, move |_| times.lock().unwrap().push(Instant::now()));
        }
        fake.remediate(json!({"bucket": BUCKET})).await.unwrap();
        let times = times.lock().unwrap();
        // From the arrival of the one at AWS to the arrival of the other.
        assert_eq!(times[2] - times[1], round_trip, "{setting}");
    }
}

/// The second read of `operation` and all after it are denied.
fn deny_from_the_second_on(fake: &FakeAws, operation: &'static str) {
    fake.before(operation, |_| {});
    fake.before(operation, move |state| {
        state.fail(operation, usize::MAX, FaultKind::Answer(400, "AccessDeniedException"));
    });
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_again_before_it_is_written_is_not_said_to_be_restored() {
    for (read, event, harm) in [
        ("GetKeyPolicy", "PutKeyPolicy", "policy"),
        ("GetKeyRotationStatus", "DisableKeyRotation", "rotation"),
        // Whether it rotates shows only once its deletion is cancelled.
        ("GetKeyRotationStatus", "ScheduleKeyDeletion", "state"),
    ] {
        let fake = compliant().await;
        {
            let mut state = fake.state();
            let key = state.key.as_mut().unwrap();
            match harm {
                "policy" => key.policy = json!({"Statement": [{"Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")}, "Action": "kms:*", "Resource": "*"}]}).to_string(),
                "rotation" => key.rotation = false,
                _ => key.state = "PendingDeletion".to_owned(),
            }
        }
        deny_from_the_second_on(&fake, read);
        let mut event = self::event(event);
        event["detail"]["eventSource"] = json!("kms.amazonaws.com");
        event["detail"]["requestParameters"] = json!({"keyId": KEY});
        let error = fake.remediate(event).await.unwrap_err();
        assert!(error.contains(&format!("{read}: AccessDeniedException")), "{harm}: {error}");
        assert_eq!(told(&fake), ["kms-key: failed"], "{harm}");
    }
    for (read, harm) in
        [("GetEventSelectors", json!({"AdvancedEventSelectors": []})), ("GetTrailStatus", json!({"IsLogging": false}))]
    {
        let fake = compliant().await;
        fake.state().trail.as_mut().unwrap().as_object_mut().unwrap().extend(harm.as_object().unwrap().clone());
        deny_from_the_second_on(&fake, read);
        fake.remediate(json!({"bucket": BUCKET})).await.unwrap_err();
        assert_eq!((told(&fake), fake.writes()), (vec!["trail: failed".to_owned()], vec![]), "{read}");
    }
}

#[tokio::test]
async fn what_hinders_for_certain_is_named_first_however_much_stands_before_it() {
    let fake = compliant().await;
    for n in 0..25 {
        add_to_policy(
            &fake,
            &json!({"Sid": format!("Perhaps{n}"), "Effect": "Deny", "Principal": "*", "Action": "s3:PutBucketVersioning", "Resource": format!("arn:aws:s3:::{BUCKET}"), "Condition": {"StringEquals": {"s3:signatureversion": format!("{n}")}}}),
        );
    }
    add_to_policy(
        &fake,
        &json!({"Sid": "Quiet", "Effect": "Deny", "Principal": {"AWS": ROLE}, "Action": "s3:PutBucketVersioning", "Resource": format!("arn:aws:s3:::{BUCKET}")}),
    );
    fake.remediate(event("PutBucketPolicy")).await.unwrap();
    let alert = fake.alerts().remove(0);
    assert_eq!((&alert["severity"], &alert["hindrances"][0]["statement"]), (&json!("CRITICAL"), &json!("Quiet")));
    assert_eq!((alert["hindrances"].as_array().unwrap().len(), &alert["more_hindrances"]), (20, &json!(6)));
    let mail = fake.state().published[0]["Message"].clone();
    assert!(mail.contains("Quiet") && mail.contains("... and 6 more like these"), "{mail}");
}
