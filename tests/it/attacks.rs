//! Somebody who may do anything to buckets, and nothing to the guardrail, tries to blind it. SECURITY.md has the list.
//!
//! Every attempt ends restored, or told. The real functions, on the local AWS.

use aws_sdk_s3::{
    Client,
    types::{
        BucketLifecycleConfiguration, BucketVersioningStatus, ExpirationStatus, LifecycleExpiration, LifecycleRule,
        LifecycleRuleFilter, Tag, Tagging, VersioningConfiguration,
    },
};
use futures_util::future::join_all;
use guardrail_core::control::table::Control;
use guardrail_tests::{
    control::{break_control, setting},
    local_aws::{ACCOUNT, Keys, eventually},
};
use serde_json::{Value, json};

use crate::local::{DEPLOYMENT, Guarded, PATIENCE, create, outcomes, sample};

/// An event that names this bucket, or what stands there instead.
fn event_about(parameters: Value) -> Value {
    let mut event = sample("put-bucket-policy.json", "acme-data");
    event["detail"]["requestParameters"] = parameters;
    event["detail"]["resources"] = Value::Null;
    event
}

#[tokio::test]
async fn names_and_parameters_that_make_no_sense_are_no_error_of_a_buckets() {
    let it = Guarded::new("it-attack.with--dots.and-a-name-of-sixty-three-characters-in-it").await;
    assert_eq!(it.bucket.len(), 63);
    let before = it.settings().await;
    let long = "n".repeat(50_000);
    for name in [
        "Capitals_and_underscores",
        "../../etc/passwd",
        "/s3-guardrail/buckets/acme-data",
        "a..b",
        "192.168.0.1",
        "xn--acme\u{0}data",
        "",
        &long,
    ] {
        let report = it.remediate(&event_about(json!({"bucketName": name}))).unwrap();
        assert_eq!((&report["outcome"], &report["notified"]), (&json!("unguarded"), &json!(false)), "{name:.80}");
    }
    for parameters in [json!(null), json!({}), json!([]), json!("acme-data"), json!(7), json!({"bucketName": null})] {
        let error = it.remediate(&event_about(parameters.clone())).unwrap_err();
        assert!(error.contains("names no bucket"), "{parameters}: {error}");
    }
    // What has nothing to do with the bucket may be of any size and kind.
    let junk =
        json!({"bucketName": it.bucket, "policy": long, "deep": (0..100).fold(json!(1), |deep, _| json!([deep]))});
    assert_eq!(it.remediate(&event_about(junk)).unwrap()["outcome"], "compliant");

    break_control(&it.s3, it.bucket, Control::Versioning).await.unwrap();
    it.restored_to(&before).await;
}

async fn put_rules(it: &Guarded, rules: usize) {
    let rule = |n: usize| {
        let filter = LifecycleRuleFilter::builder().prefix(format!("tmp/{n}/")).build();
        let rule = LifecycleRule::builder().id(format!("own-{n}")).status(ExpirationStatus::Enabled).filter(filter);
        rule.expiration(LifecycleExpiration::builder().days(3).build()).build().unwrap()
    };
    let rules = BucketLifecycleConfiguration::builder().set_rules(Some((0..rules).map(rule).collect())).build();
    let put = it.s3.put_bucket_lifecycle_configuration().bucket(it.bucket);
    put.lifecycle_configuration(rules.unwrap()).send().await.unwrap();
}

async fn rules(it: &Guarded) -> usize {
    it.s3.get_bucket_lifecycle_configuration().bucket(it.bucket).send().await.unwrap().rules().len()
}

#[tokio::test]
async fn a_thousand_rules_are_told_and_kept_and_two_fewer_leave_room() {
    let it = Guarded::new("it-attack-rules").await;
    put_rules(&it, 1_000).await;
    break_control(&it.s3, it.bucket, Control::Versioning).await.unwrap();
    let failed = ("lifecycle".to_owned(), "failed".to_owned());
    let alert = it.alert(|it| outcomes(&it.body).contains(&failed)).await;
    assert_eq!(alert.body["severity"], "CRITICAL");
    assert!(alert.body.to_string().contains("would have 1002 rules and S3 allows 1000"), "{}", alert.subject);
    let versioning = async || setting(&it.s3, it.bucket, Control::Versioning).await.contains("Enabled").then_some(());
    eventually("the other control is restored", PATIENCE, versioning).await.unwrap();
    assert_eq!(rules(&it).await, 1_000);
    put_rules(&it, 998).await;
    eventually("ours are beside", PATIENCE, async || (rules(&it).await == 1_000).then_some(())).await.unwrap();
}

#[tokio::test]
async fn a_policy_that_leaves_just_enough_room_is_merged() {
    let it = Guarded::new("it-attack-policy").await;
    let (before, ours) = (it.settings().await, it.policy().await.to_string().len());
    let own = |filler: usize| json!({"Sid": "Own", "Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")}, "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{}/{}", it.bucket, "x".repeat(filler))});
    // One comma between theirs and ours.
    let filler = 20 * 1024 - ours - 1 - own(0).to_string().len();
    it.put_policy(json!([own(filler)])).await;
    let merged =
        async || Some(it.policy().await).filter(|it| it["Statement"].as_array().is_some_and(|it| it.len() == 5));
    let merged = eventually("merged", PATIENCE, merged).await.unwrap();
    assert_eq!(merged["Statement"][0], own(filler));
    assert_eq!(merged.to_string().len(), 20 * 1024);
    break_control(&it.s3, it.bucket, Control::BucketPolicy).await.unwrap();
    it.restored_to(&before).await;
}

#[tokio::test]
async fn a_policy_against_the_guardrails_role_is_told_however_it_is_written() {
    let role = &DEPLOYMENT.0.role_arn;
    let mallory = format!("arn:aws:iam::{ACCOUNT}:user/mallory");
    let deny = |who: Value, action: &str, condition: Value| {
        let mut statement = json!({"Sid": "Out", "Effect": "Deny", "Action": action});
        for (key, value) in [who, condition].iter().flat_map(|it| it.as_object().unwrap()) {
            statement[key] = value.clone();
        }
        statement
    };
    let role_itself = json!({"Principal": {"AWS": role}});
    for (how, name, mut statement) in [
        ("all reads", "it-attack-deny-reads", deny(role_itself.clone(), "s3:Get*", json!({}))),
        ("the policy's write", "it-attack-deny-write", deny(role_itself.clone(), "s3:PutBucketPolicy", json!({}))),
        ("the policy's read", "it-attack-deny-read", deny(role_itself, "s3:GetBucketPolicy", json!({}))),
        (
            "everybody but me",
            "it-attack-deny-all",
            deny(json!({"NotPrincipal": {"AWS": [mallory]}}), "s3:*", json!({})),
        ),
        (
            "a pattern",
            "it-attack-deny-pattern",
            deny(
                json!({"Principal": "*"}),
                "s3:*",
                json!({"Condition": {"ArnLike": {"aws:PrincipalArn": "*s3-guardrail*"}}}),
            ),
        ),
    ] {
        // A bucket each: whose policy is restored again and again is fought over.
        let it = Guarded::new(name).await;
        let before = it.settings().await;
        statement["Resource"] = json!(format!("arn:aws:s3:::{name}"));
        it.put_policy(json!([statement])).await;
        let alert = it.alert(|it| it.body["outcome"] == "failed").await;
        assert_eq!(alert.body["severity"], "CRITICAL", "{how}");
        let bad = outcomes(&alert.body).into_iter().filter(|it| it.0 == "bucket-policy").collect::<Vec<_>>();
        assert!(matches!(bad[0].1.as_str(), "failed" | "unreadable"), "{how}: {bad:?}");
        // In AWS's words when AWS refused, in ours when we did not even try.
        let text = alert.body.to_string();
        assert!(
            ["resource-based policy", "statement `Out` denies"].iter().any(|it| text.contains(it)),
            "{how}: {text}"
        );
        // As an administrator gets out of it.
        let delete = ["s3api", "delete-bucket-policy", "--bucket", it.bucket];
        it.deployment.aws.aws(&it.deployment.administrator, &delete).unwrap();
        it.restored_to(&before).await;
        // What was tried again meanwhile is told, too.
        let settled = async || it.inbox.receive().await.is_empty().then_some(());
        eventually("nothing more is told", PATIENCE, settled).await.unwrap();
    }
}

#[tokio::test]
async fn changed_tags_are_told() {
    let it = Guarded::new("it-attack-tags").await;
    let tag = Tag::builder().key("team").value("mallory's").build().unwrap();
    let tags = Tagging::builder().tag_set(tag).build().unwrap();
    it.s3.put_bucket_tagging().bucket(it.bucket).tagging(tags).send().await.unwrap();
    let alert = it.alert(|it| it.body["trigger"]["event_name"] == "PutBucketTagging").await;
    assert_eq!((&alert.body["severity"], &alert.body["findings"]), (&json!("INFO"), &json!([])));
}

#[tokio::test]
async fn a_bucket_that_is_deleted_and_created_again_gets_its_baseline_back() {
    let it = Guarded::new("it-attack-again").await;
    let before = it.settings().await;
    it.s3.delete_bucket().bucket(it.bucket).send().await.unwrap();
    it.alert(|it| it.body["outcome"] == "gone").await;
    it.create().await;
    it.restored_to(&before).await;
    it.alert(|it| it.body["trigger"]["event_name"] == "CreateBucket" && it.body["outcome"] == "restored").await;
}

#[tokio::test]
async fn a_name_that_a_stranger_took_is_told_and_left_alone() {
    let it = Guarded::new("it-attack-stranger").await;
    it.s3.delete_bucket().bucket(it.bucket).send().await.unwrap();
    it.alert(|it| it.body["outcome"] == "gone").await;
    let stranger = Client::new(&it.deployment.aws.sdk(&Keys::administrator("444455556666")).unwrap());
    create(&stranger, it.bucket).await;
    let before = setting(&stranger, it.bucket, Control::Versioning).await;
    it.remediate(&json!({"bucket": it.bucket})).unwrap_err();
    let alert = it.alert(|it| it.body["outcome"] == "failed").await;
    assert_eq!(alert.body["severity"], "CRITICAL");
    assert!(outcomes(&alert.body).iter().all(|it| it.1 == "unreadable"), "{}", alert.body);
    assert_eq!(setting(&stranger, it.bucket, Control::Versioning).await, before);
}

/// More than 1,000 a minute, as many as there is patience for.
const STORM: usize = 120;

#[tokio::test]
async fn a_storm_of_changes_to_one_bucket_hides_no_change_to_another() {
    let (it, other) = (Guarded::new("it-attack-storm").await, Guarded::new("it-attack-lee").await);
    let (before, others_before) = (it.settings().await, other.settings().await);
    let suspended = VersioningConfiguration::builder().status(BucketVersioningStatus::Suspended).build();
    let suspend = || it.s3.put_bucket_versioning().bucket(it.bucket).versioning_configuration(suspended.clone()).send();
    let storm = |times: usize| async move { join_all((0..times).map(|_| suspend())).await };
    for answer in storm(STORM / 2).await {
        answer.unwrap();
    }
    break_control(&other.s3, other.bucket, Control::PublicAccessBlock).await.unwrap();
    for answer in storm(STORM / 2).await {
        answer.unwrap();
    }
    other.restored_to(&others_before).await;
    it.restored_to(&before).await;
    let restored = |control: &str| (control.to_owned(), "restored".to_owned());
    other.alert(|it| outcomes(&it.body).contains(&restored("public-access-block"))).await;
    it.alert(|it| outcomes(&it.body).contains(&restored("versioning"))).await;
    // However many came late: in the end it is as it should be, and the guardrail has stopped writing.
    it.looked(STORM).await;
    it.restored_to(&before).await;
    let (deployment, _) = &*DEPLOYMENT;
    assert!(deployment.own_writes(it.bucket).unwrap().len() <= STORM, "no more restores than changes");
}
