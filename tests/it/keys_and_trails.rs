//! What real AWS says of keys and trails, over the fake: states, kinds, limits, regions and other accounts.

use guardrail::work::bootstrap::bootstrap;
use guardrail_core::value::failure::chain;
use guardrail_tests::fake::{ACCOUNT, ALIAS, BUCKET, FakeAws, FakeKey, KEY, State, TRAIL};
use serde_json::{Value, json};

use crate::around::{call, compliant};

fn key_event(name: &str) -> Value {
    call("kms", name, json!({"keyId": KEY}))
}

fn change_key(fake: &FakeAws, change: impl FnOnce(&mut FakeKey)) {
    change(fake.state().key.as_mut().unwrap());
}

fn change_trail(fake: &FakeAws, change: Value) {
    let mut state = fake.state();
    let trail = state.trail.as_mut().unwrap().as_object_mut().unwrap();
    trail.extend(change.as_object().unwrap().clone());
}

/// Control, outcome and error of each finding that people were told.
fn told(fake: &FakeAws) -> Vec<(String, String, String)> {
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    let alerts = fake.alerts();
    let findings = alerts.iter().flat_map(|it| it["findings"].as_array().cloned().unwrap_or_default());
    findings.map(|it| (text(&it["control"]), text(&it["outcome"]), text(&it["error"]))).collect()
}

fn assert_told(fake: &FakeAws, control: &str, outcome: &str, words: &[&str]) {
    let told = told(fake);
    let found = told.iter().find(|it| it.0 == control).unwrap_or_else(|| panic!("nothing of {control}: {told:?}"));
    assert_eq!(found.1, outcome, "{told:?}");
    for word in words {
        assert!(found.2.contains(word), "`{word}` is not in: {}", found.2);
    }
}

#[tokio::test]
async fn a_state_that_nobody_can_undo_from_here_is_told_with_what_to_do_and_the_rest_is_restored() {
    for (state, words) in [
        ("Unavailable", &["Unavailable", "custom key store", "Connect"][..]),
        ("PendingImport", &["PendingImport", "Import the same key material again"]),
        ("InventedIn2027", &["InventedIn2027", "does not know"]),
    ] {
        let fake = compliant().await;
        change_key(&fake, |it| {
            it.state = state.to_owned();
            it.origin = "EXTERNAL".to_owned();
            it.aliases.clear();
        });
        let error = fake.remediate(key_event("DeleteImportedKeyMaterial")).await.unwrap_err();
        assert!(error.contains(state), "{error}");
        assert_told(&fake, "kms-key", "failed", words);
        assert_eq!(fake.writes(), ["CreateAlias"]);
        fake.forget();
        let planned = fake.remediate(json!({"bucket": BUCKET, "dry_run": true})).await.unwrap();
        assert_eq!(planned["findings"][0]["outcome"], "failed", "nothing is left that a call restores: {planned}");
    }
}

#[tokio::test]
async fn the_primary_of_a_multi_region_key_is_rescued_from_deletion_too() {
    let fake = compliant().await;
    change_key(&fake, |it| it.state = "PendingReplicaDeletion".to_owned());
    fake.remediate(key_event("ScheduleKeyDeletion")).await.unwrap();
    assert_told(&fake, "kms-key", "restored", &[]);
    // Its rotation comes back by itself, with the period that its owner chose.
    assert_eq!(fake.writes(), ["CancelKeyDeletion", "EnableKey"]);
    assert_eq!(fake.state().key.as_ref().unwrap().state, "Enabled");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_did_not_rotate_before_its_deletion_rotates_after() {
    let fake = compliant().await;
    change_key(&fake, |it| {
        it.state = "PendingDeletion".to_owned();
        it.rotation = false;
    });
    fake.remediate(key_event("ScheduleKeyDeletion")).await.unwrap();
    assert_told(&fake, "kms-key", "restored", &[]);
    assert_eq!(fake.writes(), ["CancelKeyDeletion", "EnableKey", "EnableKeyRotation"]);
    assert!(fake.state().key.as_ref().unwrap().rotation);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_succeeds_and_changes_nothing_is_no_restore() {
    let fake = compliant().await;
    change_key(&fake, |it| it.state = "Disabled".to_owned());
    fake.before("EnableKey", |it| it.key.as_mut().unwrap().state = "Unavailable".to_owned());
    fake.remediate(key_event("DisableKey")).await.unwrap_err();
    assert_told(&fake, "kms-key", "failed", &["Unavailable", "custom key store"]);

    let fake = compliant().await;
    change_key(&fake, |it| it.state = "Disabled".to_owned());
    for _ in 0..20 {
        // Somebody disables it again and again.
        fake.before("DescribeKey", |it| it.key.as_mut().unwrap().state = "Disabled".to_owned());
    }
    fake.remediate(key_event("DisableKey")).await.unwrap_err();
    assert_told(&fake, "kms-key", "failed", &["KMS took every call", "Disabled"]);
}

#[tokio::test(start_paused = true)]
async fn a_trail_that_was_started_and_does_not_log_is_not_called_restored() {
    let stopped = async || {
        let fake = compliant().await;
        change_trail(&fake, json!({"IsLogging": false}));
        fake
    };
    let says = |it: bool| move |state: &mut State| state.trail.as_mut().unwrap()["IsLogging"] = json!(it);
    let fake = stopped().await;
    for _ in 0..20 {
        // Somebody stops it again and again.
        fake.before("GetTrailStatus", says(false));
    }
    fake.remediate(call("cloudtrail", "StopLogging", json!({"name": TRAIL}))).await.unwrap_err();
    assert_told(&fake, "trail", "failed", &["CloudTrail took every call", "does not log"]);
    assert_eq!(fake.writes(), ["StartLogging"]);

    // Known a moment later.
    let fake = stopped().await;
    for it in [false, false, false, true] {
        fake.before("GetTrailStatus", says(it));
    }
    fake.remediate(call("cloudtrail", "StopLogging", json!({"name": TRAIL}))).await.unwrap();
    assert_told(&fake, "trail", "restored", &[]);
    assert_eq!(fake.reads().iter().filter(|it| *it == "GetTrailStatus").count(), 4);
}

#[tokio::test]
async fn a_key_that_s3_cannot_use_is_told_and_no_bucket_is_pointed_at_it() {
    for (usage, spec) in [
        ("SIGN_VERIFY", "RSA_2048"),
        ("GENERATE_VERIFY_MAC", "HMAC_512"),
        ("KEY_AGREEMENT", "ECC_NIST_P256"),
        ("ENCRYPT_DECRYPT", "RSA_4096"),
    ] {
        let fake = FakeAws::guarded();
        change_key(&fake, |it| (it.usage, it.spec) = (usage.to_owned(), spec.to_owned()));
        fake.remediate(json!({"bucket": BUCKET})).await.unwrap_err();
        assert_told(&fake, "default-encryption", "failed", &[usage, spec, "symmetric", "guardrail-bootstrap"]);
        assert!(!fake.writes().contains(&"PutBucketEncryption".to_owned()));
        assert_eq!(fake.documents().get("encryption"), None);
    }
}

#[tokio::test]
async fn imported_keys_and_those_of_custom_stores_do_not_drift_because_they_cannot_rotate() {
    for origin in ["EXTERNAL", "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"] {
        let fake = compliant().await;
        change_key(&fake, |it| it.origin = origin.to_owned());
        assert_eq!(fake.remediate(json!({"bucket": BUCKET})).await.unwrap()["findings"], json!([]));

        let found = FakeAws::default();
        let aliases = [(ALIAS.to_owned(), KEY.to_owned())].into();
        found.state().key = Some(FakeKey { origin: origin.to_owned(), aliases, ..FakeKey::good() });
        let built = built(&found, json!({"bucket": BUCKET, "trail": "acme-trail"})).await.unwrap();
        let key = &built["resources"][0];
        assert!(key["note"].as_str().unwrap().contains("rotation is its owner's to do"), "{key}");
        assert!(!found.writes().contains(&"EnableKeyRotation".to_owned()));
    }
}

async fn built(fake: &FakeAws, input: Value) -> Result<Value, String> {
    Box::pin(bootstrap(&fake.guardrail(), input)).await.map_err(|error| chain(&error))
}

#[tokio::test]
async fn bootstrap_refuses_a_key_that_is_of_no_use_with_what_to_do() {
    for (change, words) in [
        (json!({"state": "PendingDeletion"}), &["PendingDeletion", "cancel its deletion"][..]),
        (json!({"state": "Disabled"}), &["Disabled", "enable it"]),
        (json!({"state": "PendingImport"}), &["PendingImport", "Import"]),
        (json!({"state": "Unavailable"}), &["Unavailable", "store"]),
        (json!({"usage": "SIGN_VERIFY"}), &["SIGN_VERIFY", "symmetric"]),
        (json!({"spec": "RSA_4096"}), &["RSA_4096", "symmetric"]),
    ] {
        let fake = FakeAws::default();
        let mut key = FakeKey { aliases: [(ALIAS.to_owned(), KEY.to_owned())].into(), ..FakeKey::good() };
        for (name, field) in [("state", &mut key.state), ("usage", &mut key.usage), ("spec", &mut key.spec)] {
            if let Some(value) = change[name].as_str() {
                *field = value.to_owned();
            }
        }
        fake.state().key = Some(key);
        let error = built(&fake, json!({"bucket": BUCKET})).await.unwrap_err();
        for word in words {
            assert!(error.contains(word), "{error}");
        }
        assert_eq!(fake.writes(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_key_policy_that_names_the_dead_is_told_with_its_statement() {
    let dead = json!({"Sid": "OldAdmins", "Effect": "Allow", "Principal": {"AWS": ["AROAEXAMPLEID00000001", format!("arn:aws:iam::{ACCOUNT}:root")]}, "Action": "kms:*", "Resource": "*"});
    let policy = json!({"Version": "2012-10-17", "Statement": [dead]}).to_string();
    let fake = compliant().await;
    change_key(&fake, |it| it.policy.clone_from(&policy));
    fake.remediate(key_event("PutKeyPolicy")).await.unwrap_err();
    let words =
        ["MalformedPolicyDocumentException", "statement `OldAdmins`", "deleted user or role", "drop_dead_principals"];
    assert_told(&fake, "kms-key", "failed", &words);

    let found = FakeAws::default();
    let aliases = [(ALIAS.to_owned(), KEY.to_owned())].into();
    found.state().key = Some(FakeKey { policy: policy.clone(), aliases, ..FakeKey::good() });
    let error = built(&found, json!({"bucket": BUCKET})).await.unwrap_err();
    assert!(error.contains("statement `OldAdmins`"), "{error}");

    fake.register(
        json!({"key_alias": ALIAS, "trail_arn": TRAIL, "log_bucket": "acme-data-logs", "drop_dead_principals": true}),
    );
    fake.remediate(json!({"bucket": BUCKET})).await.unwrap();
    let policy = fake.state().key.as_ref().unwrap().policy.clone();
    assert!(policy.contains("OldAdmins") && policy.contains(":root") && !policy.contains("AROA"), "{policy}");
}

#[tokio::test]
async fn a_key_of_another_region_is_told_as_that() {
    let fake = FakeAws::guarded();
    fake.register(json!({"key_arn": KEY.replace("eu-west-2", "us-east-1")}));
    fake.remediate(json!({"bucket": BUCKET})).await.unwrap_err();
    assert_told(&fake, "kms-key", "unreadable", &["us-east-1", "eu-west-2", "own region only"]);
}

#[tokio::test]
async fn cloudtrail_may_decrypt_where_the_log_bucket_has_a_bucket_key() {
    let fake = FakeAws::default();
    let encryption = format!(
        "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>{KEY}</KMSMasterKeyID></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>true</BucketKeyEnabled></Rule></ServerSideEncryptionConfiguration>"
    );
    let documents = [("encryption".to_owned(), encryption)].into();
    fake.state().others.insert(format!("{BUCKET}-logs"), (documents, None));
    let built = built(&fake, json!({"bucket": BUCKET, "trail": "acme-trail"})).await.unwrap();
    assert_eq!(built.get("record_error"), None, "records need no decryption either: {built}");
    assert_eq!(fake.state().trail.as_ref().unwrap()["IsLogging"], true);
}

/// The guardrail's own rules, as they are deployed, so that the sweep finds nothing else.
fn deployed(fake: &FakeAws) {
    fake.deploy_rules();
}

/// What the sweep finds wrong with the account's trails; empty: nothing.
async fn found_by_the_sweep(trails: Vec<Value>) -> String {
    let fake = FakeAws::guarded();
    deployed(&fake);
    fake.state().other_trails = trails;
    let _ = guardrail::work::sweep::sweep(&fake.guardrail(), json!({})).await;
    let alerts = fake.alerts();
    let findings = alerts.iter().flat_map(|it| it["findings"].as_array().cloned().unwrap_or_default());
    let of_trails = findings.filter(|it| it["part"] == "the account's trails");
    of_trails.map(|it| format!("{}: {}", it["outcome"], it["problem"])).collect()
}

fn management_trail(region: &str, account: &str) -> Value {
    json!({
        "TrailARN": format!("arn:aws:cloudtrail:{region}:{account}:trail/landing-zone"), "IsLogging": true,
        "IsMultiRegionTrail": true, "IsOrganizationTrail": account != ACCOUNT,
        "EventSelectors": [{"ReadWriteType": "All", "IncludeManagementEvents": true}],
    })
}

#[tokio::test]
async fn trails_at_home_elsewhere_are_asked_there_and_those_of_others_are_believed() {
    assert_eq!(found_by_the_sweep(vec![management_trail("us-east-1", ACCOUNT)]).await, "");
    assert_eq!(found_by_the_sweep(vec![management_trail("us-east-1", "999922223333")]).await, "");
    assert_eq!(found_by_the_sweep(vec![management_trail("eu-west-2", "999922223333")]).await, "");
    let mut stopped = management_trail("us-east-1", ACCOUNT);
    stopped["IsLogging"] = json!(false);
    assert!(found_by_the_sweep(vec![stopped.clone()]).await.contains("none is logging management writes"));
    // It is another account's to say whether it logs.
    assert_eq!(found_by_the_sweep(vec![stopped, management_trail("us-east-1", "999922223333")]).await, "");
    let mut elsewhere = management_trail("us-east-1", "999922223333");
    elsewhere["IsMultiRegionTrail"] = json!(false);
    assert!(found_by_the_sweep(vec![elsewhere]).await.contains("none is logging"));
    assert!(found_by_the_sweep(vec![]).await.contains("none is logging"));
}

#[tokio::test]
async fn a_trail_of_another_region_is_guarded_where_it_is_at_home() {
    let arn = TRAIL.replace("eu-west-2", "us-east-1");
    let fake = FakeAws::guarded();
    fake.state().trail = Some(management_trail("us-east-1", ACCOUNT));
    change_trail(&fake, json!({"TrailARN": arn, "S3BucketName": "central-logs"}));
    fake.register(json!({"trail_arn": arn, "log_bucket": "acme-data-logs"}));
    fake.remediate(json!({"bucket": BUCKET})).await.unwrap();
    assert_eq!(fake.remediate(json!({"bucket": BUCKET})).await.unwrap()["findings"], json!([]));
    let uris = fake.state().uris.clone();
    let asked: Vec<_> = uris.iter().filter(|it| it.contains("cloudtrail")).collect();
    assert!(!asked.is_empty() && asked.iter().all(|it| it.contains("us-east-1")), "{asked:?}");
}

#[tokio::test]
async fn a_trail_without_room_is_told_before_aws_refuses_and_what_has_room_is_restored() {
    let fake = compliant().await;
    let theirs = json!({"ReadWriteType": "WriteOnly", "IncludeManagementEvents": true});
    let all = vec![theirs; 5];
    change_trail(&fake, json!({"IsLogging": false, "AdvancedEventSelectors": null, "EventSelectors": all}));
    fake.remediate(call("cloudtrail", "PutEventSelectors", json!({"trailName": TRAIL}))).await.unwrap_err();
    assert_told(&fake, "trail", "failed", &["5 basic event selectors", "another trail", "trail_arn"]);
    assert_eq!(fake.writes(), ["StartLogging"]);
    assert_eq!(fake.state().trail.as_ref().unwrap()["EventSelectors"], json!(all));
}

#[tokio::test]
async fn where_names_have_no_room_all_objects_are_logged_and_the_cost_is_told() {
    let fake = compliant().await;
    let buckets: Vec<_> = (0..497).map(|n| format!("arn:aws:s3:::b{n}/")).collect();
    let selectors = json!([
        {"Name": "Management events selector", "FieldSelectors": [{"Field": "eventCategory", "Equals": ["Management"]}]},
        {"Name": "s3-guardrail: objects of guarded buckets", "FieldSelectors": [
            {"Field": "eventCategory", "Equals": ["Data"]}, {"Field": "resources.type", "Equals": ["AWS::S3::Object"]},
            {"Field": "resources.ARN", "StartsWith": buckets},
        ]},
    ]);
    change_trail(&fake, json!({"AdvancedEventSelectors": selectors}));
    fake.remediate(json!({"bucket": BUCKET})).await.unwrap();
    assert_told(&fake, "trail", "restored", &[]);
    let note = fake.alerts()[0]["findings"][0]["note"].clone();
    assert!(note.as_str().unwrap().contains("$0.10"), "{note}");
    assert!(fake.state().published[0]["Message"].contains("all objects of this account"));
    let after = fake.state().trail.clone().unwrap()["AdvancedEventSelectors"].clone();
    assert_eq!(after[1]["FieldSelectors"][2]["StartsWith"], json!(["arn:aws:s3:::"]));
    fake.forget();
    assert_eq!(fake.remediate(json!({"bucket": BUCKET})).await.unwrap()["findings"], json!([]));
}

#[tokio::test]
async fn a_trail_that_names_no_bucket_is_told_and_not_called_restored() {
    let fake = compliant().await;
    change_trail(&fake, json!({"S3BucketName": null}));
    fake.remediate(json!({"bucket": BUCKET})).await.unwrap_err();
    assert_told(&fake, "trail", "failed", &["which bucket"]);
    assert_eq!(fake.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn bootstrap_says_that_there_is_no_room_for_a_trail_before_it_creates_anything() {
    let fake = FakeAws::default();
    let trails = (0..5).map(|n| json!({"TrailARN": format!("arn:aws:cloudtrail:us-east-1:{ACCOUNT}:trail/trail-{n}"), "IsMultiRegionTrail": true}));
    fake.state().other_trails = trails.collect();
    for dry_run in [true, false] {
        let error = built(&fake, json!({"bucket": BUCKET, "dry_run": dry_run})).await.unwrap_err();
        assert!(error.contains("trail: eu-west-2 has 5 trails") && error.contains("trail/trail-3"), "{error}");
        assert_eq!(fake.writes(), Vec::<String>::new());
    }
    let foreign = json!({"bucket": BUCKET, "trail": "arn:aws:cloudtrail:eu-west-2:999922223333:trail/central"});
    assert!(built(&fake, foreign).await.unwrap_err().contains("another account's"));
    assert_eq!(fake.writes(), Vec::<String>::new());
    let named = format!("arn:aws:cloudtrail:us-east-1:{ACCOUNT}:trail/trail-0");
    fake.state().other_trails[0]["S3BucketName"] = json!("central-logs");
    built(&fake, json!({"bucket": BUCKET, "trail": named})).await.unwrap();
}
