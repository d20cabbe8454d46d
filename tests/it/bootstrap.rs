//! Bootstrap on the fake: the names that it derives, and what AWS does not know at once.

use guardrail::work::bootstrap::bootstrap;
use guardrail_core::value::failure::chain;
use guardrail_tests::{
    fake::{BUCKET, FakeAws, FakeKey, FaultKind, KEY},
    s3_rules::is_trail_name,
};
use serde_json::{Value, json};

async fn build(fake: &FakeAws, request: Value) -> Result<Value, String> {
    Box::pin(bootstrap(&fake.guardrail(), request)).await.map_err(|error| chain(&error))
}

#[tokio::test]
async fn every_bucket_gets_a_trail_of_a_name_that_cloudtrail_takes_and_no_two_the_same() {
    let mut names = Vec::new();
    for bucket in ["acme-data", "acme--data", "acme---data", "a--b-c--d", "a-b--c--d"] {
        let built = build(&FakeAws::default(), json!({"bucket": bucket})).await.unwrap();
        let resources = built["resources"].as_array().unwrap();
        let trail = resources.iter().find(|it| it["type"] == "AWS::CloudTrail::Trail").unwrap();
        let name = trail["id"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        assert!(is_trail_name(&name) && !names.contains(&name), "{bucket}: {name}");
        names.push(name);
    }
    assert_eq!(names[0], "acme-data-trail");
}

#[tokio::test]
async fn a_name_that_aws_would_not_take_is_refused_before_anything_is_written() {
    let long = "a".repeat(60);
    for (request, parts) in [
        (json!({"bucket": BUCKET, "trail": "acme--trail"}), ["trail: `acme--trail`", "nothing was changed"]),
        (json!({"bucket": BUCKET, "trail": "_acme"}), ["trail: `_acme`", "nothing was changed"]),
        (json!({"bucket": BUCKET, "trail": "192.168.5.4"}), ["trail: `192.168.5.4`", "nothing was changed"]),
        (json!({"bucket": long}), ["log_bucket: missing, and its default", "nothing was changed"]),
        (json!({"bucket": long, "log_bucket": "acme-logs"}), ["inventory_bucket: missing", "nothing was changed"]),
    ] {
        let fake = FakeAws::default();
        let error = build(&fake, request.clone()).await.unwrap_err();
        assert!(parts.iter().all(|it| error.contains(it)), "{request}: {error}");
        assert_eq!(fake.writes(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn what_cloudtrail_does_not_know_yet_is_waited_for() {
    for code in [
        "S3BucketDoesNotExistException",
        "S3BucketDoesNotExist",
        "KmsKeyNotFoundException",
        "KmsKeyNotFound",
        "InsufficientS3BucketPolicyException",
        "InsufficientEncryptionPolicyException",
    ] {
        let fake = FakeAws::default();
        fake.fail("CreateTrail", 2, FaultKind::Answer(400, code));
        build(&fake, json!({"bucket": BUCKET})).await.unwrap_or_else(|error| panic!("{code}: {error}"));
        assert_eq!(fake.state().calls.iter().filter(|it| *it == "CreateTrail").count(), 3, "{code}");
    }
    let fake = FakeAws::default();
    fake.fail("CreateTrail", 99, FaultKind::Answer(400, "S3BucketDoesNotExistException"));
    let error = build(&fake, json!({"bucket": BUCKET})).await.unwrap_err();
    assert!(error.contains("S3BucketDoesNotExistException"), "{error}");
}

const ALIAS: &str = "alias/ledger";
const OTHER_KEY: &str = "arn:aws:kms:eu-west-2:111122223333:key/0987dcba-09fe-87dc-65ba-ab0987654321";

/// A bucket with names of its own for everything, and with choices that only the registry holds.
async fn registered_with_its_own() -> FakeAws {
    let fake = FakeAws::default();
    let request = json!({
        "bucket": BUCKET, "key_alias": ALIAS, "trail": "ledger-trail", "log_bucket": "ledger-logs",
        "inventory_bucket": "ledger-reports", "inventory_format": "CSV",
    });
    build(&fake, request).await.unwrap();
    let mut document = document(&fake);
    document["policy"] = json!("default-encryption");
    document["lifecycle"] = json!({"noncurrent_days": 90, "abort_multipart_days": 3});
    fake.register_text(&document.to_string());
    fake.remediate(json!({"bucket": BUCKET})).await.unwrap();
    // The name that a bucket without one gets is another team's.
    point(&fake, "alias/s3-secure-data", OTHER_KEY);
    fake.forget();
    fake
}

fn document(fake: &FakeAws) -> Value {
    serde_json::from_str(&fake.state().parameters[&format!("/s3-guardrail/buckets/{BUCKET}")]).unwrap()
}

/// Somebody lets an alias point at a key.
fn point(fake: &FakeAws, alias: &str, key: &str) {
    fake.state().key.as_mut().unwrap().aliases.insert(alias.to_owned(), key.to_owned());
}

#[tokio::test]
async fn what_is_registered_stays_when_bootstrap_is_run_again_with_the_buckets_name_alone() {
    let fake = registered_with_its_own().await;
    let (before, documents) = (document(&fake), fake.documents());
    let built = build(&fake, json!({"bucket": BUCKET})).await.unwrap();
    assert_eq!(document(&fake), before);
    assert_eq!(fake.documents(), documents);
    assert_eq!(fake.writes(), Vec::<String>::new(), "{built}");
    assert_eq!((&built["outcome"], built.get("swapped")), (&json!("compliant"), None));
    let others: Vec<_> = fake.state().others.keys().cloned().collect();
    assert_eq!(others, ["ledger-logs", "ledger-reports"], "nothing is created under a derived name");
}

#[tokio::test]
async fn only_what_the_request_names_is_changed_and_the_rest_of_the_document_is_not() {
    let fake = registered_with_its_own().await;
    let mut expected = document(&fake);
    expected["inventory"]["bucket"] = json!("other-reports");
    let built = build(&fake, json!({"bucket": BUCKET, "inventory_bucket": "other-reports"})).await.unwrap();
    assert_eq!(document(&fake), expected);
    let swapped = json!([{"field": "inventory_bucket", "from": "ledger-reports", "to": "other-reports"}]);
    assert_eq!(built["swapped"], swapped);
    let alerts = fake.alerts();
    assert_eq!((alerts.len(), &alerts[0]["swapped"], &alerts[0]["bucket"]), (1, &swapped, &json!(BUCKET)));
    let email = fake.state().published[0]["Message"].clone();
    assert!(email.contains("ledger-reports") && email.contains("other-reports"), "{email}");
}

#[tokio::test]
async fn a_document_without_an_alias_keeps_its_key_whatever_the_default_alias_points_at() {
    let fake = FakeAws::compliant().await;
    fake.register(json!({"log_bucket": "acme-data-logs"}));
    point(&fake, "alias/s3-secure-data", OTHER_KEY);
    let built = build(&fake, json!({"bucket": BUCKET, "trail": "acme-trail"})).await.unwrap();
    let document = document(&fake);
    assert_eq!((&document["key_arn"], document.get("key_alias")), (&json!(KEY), None), "{built}");
    assert!(fake.documents()["policy"].contains(KEY));
}

#[tokio::test]
async fn an_alias_that_points_elsewhere_by_now_is_refused_before_anything_is_written() {
    for request in [json!({"bucket": BUCKET}), json!({"bucket": BUCKET, "key_alias": ALIAS, "trail": "new-trail"})] {
        let fake = registered_with_its_own().await;
        point(&fake, ALIAS, OTHER_KEY);
        let before = document(&fake);
        for dry_run in [true, false] {
            let mut request = request.clone();
            request["dry_run"] = json!(dry_run);
            let error = build(&fake, request).await.unwrap_err();
            for part in [ALIAS, OTHER_KEY, KEY, "`key`", "guardrail reconcile", "nothing was changed"] {
                assert!(error.contains(part), "{part}: {error}");
            }
            assert_eq!((fake.writes(), document(&fake)), (vec![], before.clone()));
        }
    }
}

#[tokio::test]
async fn moving_a_guarded_bucket_to_another_key_ends_with_everything_agreeing() {
    let by_alias = json!({"bucket": BUCKET, "key_alias": "alias/ledger-2"});
    let by_arn = json!({"bucket": BUCKET, "key": OTHER_KEY});
    for (request, alias) in [(by_alias, "alias/ledger-2"), (by_arn, ALIAS)] {
        let fake = registered_with_its_own().await;
        point(&fake, alias, OTHER_KEY);
        let built = build(&fake, request.clone()).await.unwrap();
        let document = document(&fake);
        assert_eq!((&document["key_arn"], &document["key_alias"]), (&json!(OTHER_KEY), &json!(alias)), "{request}");
        assert_eq!(document["former_keys"], json!([KEY]), "objects still need it");
        assert_eq!(document["policy"], "default-encryption");
        for setting in ["policy", "encryption", "inventory"] {
            let text = fake.documents()[setting].clone();
            assert!(text.contains(OTHER_KEY) && !text.contains(KEY), "{setting}: {text}");
        }
        assert!(built["swapped"].as_array().unwrap().contains(&json!({"field": "key", "from": KEY, "to": OTHER_KEY})));
        assert!(fake.alerts().iter().any(|it| it["swapped"] == built["swapped"]), "{:?}", fake.alerts());
        let calls = fake.state().calls.clone();
        let at = |name: &str| calls.iter().position(|it| it == name).unwrap();
        // A restore in between must already know where to.
        assert!(at("Publish") < at("PutParameter") && at("PutParameter") < at("PutBucketPolicy"), "{calls:?}");
        let after = fake.remediate(json!({"bucket": BUCKET})).await.unwrap();
        assert_eq!(after["outcome"], "compliant", "{after}");
        fake.forget();
        let again = build(&fake, json!({"bucket": BUCKET})).await.unwrap();
        assert_eq!((fake.writes(), again.get("swapped"), fake.alerts()), (vec![], None, vec![]), "{again}");
    }
}

#[tokio::test]
async fn an_alias_and_a_key_that_do_not_belong_together_are_refused() {
    let fake = registered_with_its_own().await;
    let request = json!({"bucket": BUCKET, "key": KEY, "key_alias": "alias/s3-secure-data"});
    let error = build(&fake, request).await.unwrap_err();
    assert!(
        error.contains("key_alias") && error.contains(OTHER_KEY) && error.contains("nothing was changed"),
        "{error}"
    );
    assert_eq!(fake.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_restore_that_began_before_a_swap_does_not_have_the_last_word() {
    let fake = registered_with_its_own().await;
    point(&fake, "alias/ledger-2", OTHER_KEY);
    let old = fake.documents()["policy"].clone();
    // It had read the registry before.
    fake.before("PutBucketInventoryConfiguration", move |state| state.set("policy", Some(&old)));
    build(&fake, json!({"bucket": BUCKET, "key_alias": "alias/ledger-2"})).await.unwrap();
    assert!(fake.documents()["policy"].contains(OTHER_KEY) && !fake.documents()["policy"].contains(KEY));
}

#[tokio::test]
async fn what_others_write_into_the_registry_meanwhile_survives() {
    let fake = registered_with_its_own().await;
    point(&fake, "alias/ledger-2", OTHER_KEY);
    let exemption =
        json!({"control": "versioning", "until": "2999-01-01T00:00:00Z", "reason": "r", "approved_by": "a"});
    let mut meanwhile = document(&fake);
    meanwhile["exemptions"] = json!([exemption]);
    meanwhile["mode"] = json!("observe");
    let name = format!("/s3-guardrail/buckets/{BUCKET}");
    fake.before("DescribeTrails", move |state| drop(state.parameters.insert(name, meanwhile.to_string())));
    build(&fake, json!({"bucket": BUCKET, "key_alias": "alias/ledger-2"})).await.unwrap();
    let document = document(&fake);
    assert_eq!((&document["exemptions"], &document["mode"]), (&json!([exemption]), &json!("observe")));
    assert_eq!(document["key_arn"], OTHER_KEY);
}

#[tokio::test]
async fn a_swap_by_somebody_else_meanwhile_is_not_undone() {
    let fake = registered_with_its_own().await;
    let mut meanwhile = document(&fake);
    meanwhile["log_bucket"] = json!("their-logs");
    let (name, theirs) = (format!("/s3-guardrail/buckets/{BUCKET}"), meanwhile.clone());
    fake.before("DescribeTrails", move |state| drop(state.parameters.insert(name, theirs.to_string())));
    let error = build(&fake, json!({"bucket": BUCKET, "inventory_bucket": "other-reports"})).await.unwrap_err();
    assert!(error.contains("log_bucket") && error.contains("run it again"), "{error}");
    assert_eq!(document(&fake), meanwhile);
}

/// What a run leaves that stopped before it could name its key.
async fn unnamed_key() -> FakeKey {
    let fake = FakeAws::default();
    fake.fail("CreateAlias", 1, FaultKind::Answer(400, "AccessDeniedException"));
    build(&fake, json!({"bucket": BUCKET})).await.unwrap_err();
    let key = fake.state().key.clone().unwrap();
    assert!(key.aliases.is_empty());
    key
}

#[tokio::test]
async fn a_key_that_only_carries_our_tag_is_not_adopted() {
    let ours = unnamed_key().await;
    let with = |change: &dyn Fn(&mut FakeKey)| {
        let mut key = ours.clone();
        change(&mut key);
        key
    };
    let statement = |it: Value| {
        let mut policy: Value = serde_json::from_str(&ours.policy).unwrap();
        policy["Statement"].as_array_mut().unwrap().push(it);
        policy.to_string()
    };
    let stranger = json!({"Sid": "Ops", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::999922223333:root"}, "Action": "kms:Decrypt", "Resource": "*"});
    let denied = json!({"Sid": "X", "Effect": "Deny", "Principal": "*", "Action": "kms:PutKeyPolicy", "Resource": "*"});
    for (key, adopted) in [
        (ours.clone(), true),
        (with(&|it| it.policy = statement(stranger.clone())), false),
        (with(&|it| it.policy = statement(denied.clone())), false),
        (with(&|it| it.policy = FakeKey::good().policy), false),
        (with(&|it| it.origin = "EXTERNAL".to_owned()), false),
        (with(&|it| it.usage = "SIGN_VERIFY".to_owned()), false),
        (with(&|it| it.state = "Disabled".to_owned()), false),
    ] {
        let fake = FakeAws::default();
        fake.state().other_keys.insert(OTHER_KEY.to_owned(), key.clone());
        let dry = build(&fake, json!({"bucket": BUCKET, "dry_run": true})).await.unwrap();
        assert_eq!((&dry["resources"][0]["action"], fake.writes()), (&json!("created"), vec![]));
        let built = build(&fake, json!({"bucket": BUCKET})).await;
        if adopted {
            // The alias is out of this fake's reach; what counts is that no other key was made.
            assert!(!fake.writes().contains(&"CreateKey".to_owned()), "{built:?}");
            continue;
        }
        let key_of = built.unwrap()["resources"][0].clone();
        assert_eq!((&key_of["id"], &key_of["action"]), (&json!(KEY), &json!("created")), "{key:?}");
        assert!(key_of["note"].as_str().unwrap().contains(OTHER_KEY), "{key_of}");
        assert!(document(&fake)["key_arn"] == KEY && fake.state().other_keys[OTHER_KEY] == key);
    }
}

#[tokio::test]
async fn an_adoption_that_stops_half_way_leaves_a_record_of_all_that_it_wrote() {
    let fake = FakeAws::default();
    fake.set("acl", Some(&guardrail_tests::fake::acl("")));
    fake.set("versioning", Some("<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"));
    fake.fail("PutBucketPolicy", 3, FaultKind::Answer(403, "AccessDenied"));
    fake.state().others.insert("acme-data-logs".to_owned(), Default::default());
    let error = build(&fake, json!({"bucket": BUCKET})).await.unwrap_err();
    assert!(error.contains("PutBucketPolicy"), "{error}");
    let kept = |folder: &str| {
        let place = format!("acme-data-logs/s3-guardrail/history/{folder}/");
        let objects = fake.state().objects.clone();
        let records = objects.into_iter().filter(|it| it.0.starts_with(&place));
        records.map(|it| serde_json::from_str::<Value>(&it.1).unwrap()).collect::<Vec<_>>()
    };
    // The log bucket was there, and is its owner's.
    let of_logs = kept("acme-data-logs");
    let controls = |it: &Value| {
        let all = it["findings"].as_array().unwrap().iter().filter(|it| it["written"] == true);
        all.map(|it| it["control"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of_logs.len(), 1);
    assert_eq!(controls(&of_logs[0]), ["public-access-block", "object-ownership", "versioning", "lifecycle"]);
    assert_eq!(of_logs[0]["asked"]["what"], "bootstrap");

    fake.state().heal();
    fake.fail("PutBucketInventoryConfiguration", 1, FaultKind::Answer(403, "AccessDenied"));
    let error = build(&fake, json!({"bucket": BUCKET})).await.unwrap_err();
    let records = kept(BUCKET);
    assert_eq!(records.len(), 1, "{error}");
    let settings =
        ["public-access-block", "object-ownership", "bucket-policy", "default-encryption", "versioning", "lifecycle"];
    assert_eq!(controls(&records[0]), settings);
    assert!(error.contains("s3://acme-data-logs/s3-guardrail/history/acme-data/"), "{error}");
}
