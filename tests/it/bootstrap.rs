//! Bootstrap on the fake: the names that it derives, and what AWS does not know at once.

use guardrail::{api::chain, bootstrap::bootstrap};
use guardrail_tests::{
    fake::{BUCKET, FakeAws, FaultKind},
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
        assert_eq!(fake.state().calls, Vec::<String>::new());
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
