//! What people are told of a restore: who made the call, and how soon it was undone.

use guardrail_tests::{
    fake::{ACCOUNT, BUCKET, FakeAws},
    local_aws::workspace,
};
use serde_json::{Value, json};

/// CloudTrail's record of a call that suspends versioning, made a little more than a second ago at most.
fn call(name: &str, identity: Value) -> Value {
    let text = std::fs::read_to_string(workspace().join("events/put-bucket-versioning.json")).unwrap();
    let mut event: Value = serde_json::from_str(&text).unwrap();
    event["detail"]["eventName"] = json!(name);
    event["detail"]["userIdentity"] = identity;
    event["detail"]["eventTime"] = json!(jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    event
}

fn alice() -> Value {
    json!({"type": "IAMUser", "principalId": "AIDAEXAMPLEALICE00002", "arn": format!("arn:aws:iam::{ACCOUNT}:user/alice"),
        "accountId": ACCOUNT, "accessKeyId": "AKIAIOSFODNN7EXAMPLE", "userName": "alice"})
}

/// A bucket on its baseline, but for these settings.
async fn drifted(settings: &[&str]) -> FakeAws {
    let fake = FakeAws::guarded();
    fake.remediate(json!({"bucket": BUCKET})).await.unwrap();
    fake.forget();
    settings.iter().for_each(|it| fake.set(it, None));
    fake
}

struct Told {
    report: Value,
    alert: Value,
    subject: String,
    email: String,
}

async fn told(drift: &[&str], event: Value) -> Told {
    let fake = drifted(drift).await;
    let report = fake.remediate(event).await.unwrap();
    let alert = fake.alerts().remove(0);
    let published = fake.state().published[0].clone();
    let message: Value = serde_json::from_str(&published["Message"]).unwrap();
    let email = message["email"].as_str().unwrap().to_owned();
    Told { report, alert, subject: published["Subject"].clone(), email }
}

/// Each as CloudTrail records it; what the alert calls the caller in full, and in its subject.
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html>
fn identities() -> Vec<(Value, &'static str, &'static str)> {
    vec![
        (alice(), "arn:aws:iam::111122223333:user/alice", "user/alice"),
        (
            json!({"type": "Root", "principalId": "111122223333", "arn": "arn:aws:iam::111122223333:root", "accountId": "111122223333", "accessKeyId": "", "userName": "acme-prod"}),
            "arn:aws:iam::111122223333:root",
            "root",
        ),
        (
            json!({"type": "AssumedRole", "principalId": "AROAEXAMPLEADMIN00003:ann@example.com", "arn": "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Admin_ccf1d4a38ab69010/ann@example.com", "accountId": "111122223333",
                "sessionContext": {"sessionIssuer": {"type": "Role", "arn": "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_ccf1d4a38ab69010"}}}),
            "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Admin_ccf1d4a38ab69010/ann@example.com",
            "role/AWSReservedSSO_Admin_ccf1d4a38ab69010",
        ),
        // Some services record the role and no session.
        (
            json!({"type": "AssumedRole", "principalId": "AROAEXAMPLEADMIN00003:ann", "arn": "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/eu-west-2/AWSReservedSSO_Admin", "accountId": "111122223333"}),
            "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/eu-west-2/AWSReservedSSO_Admin",
            "role/AWSReservedSSO_Admin",
        ),
        (
            json!({"type": "AssumedRole", "principalId": "AROAEXAMPLEPARTNER004:s", "arn": "arn:aws:sts::444455556666:assumed-role/partner/s", "accountId": "444455556666"}),
            "arn:aws:sts::444455556666:assumed-role/partner/s",
            "role/partner of 444455556666",
        ),
        // A product provider with temporary delegated access.
        (
            json!({"type": "AssumedRole", "principalId": "AROAEXAMPLEDEVCI00001:s", "arn": "arn:aws:sts::111122223333:assumed-role/ann/s", "accountId": "111122223333", "invokedByDelegate": {"accountId": "999988887777"}}),
            "arn:aws:sts::111122223333:assumed-role/ann/s for 999988887777",
            "role/ann for 999988887777",
        ),
        (
            json!({"type": "FederatedUser", "principalId": "111122223333:bob", "arn": "arn:aws:sts::111122223333:federated-user/bob", "accountId": "111122223333",
                "sessionContext": {"sessionIssuer": {"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/alice", "accountId": "111122223333", "userName": "alice"}}}),
            "arn:aws:sts::111122223333:federated-user/bob",
            "federated-user/bob",
        ),
        (
            json!({"type": "IAMUser", "principalId": "AIDAEXAMPLEALICE00002", "arn": "", "accountId": "111122223333", "accessKeyId": "", "userName": "alice"}),
            "IAMUser 111122223333 (AIDAEXAMPLEALICE00002, alice)",
            "IAMUser 111122223333",
        ),
        (
            json!({"type": "AWSAccount", "principalId": "AIDAEXAMPLEMALLORY005", "accountId": "444455556666"}),
            "AWSAccount 444455556666 (AIDAEXAMPLEMALLORY005)",
            "AWSAccount 444455556666",
        ),
        (
            json!({"type": "AWSAccount", "principalId": "", "accountId": "444455556666"}),
            "AWSAccount 444455556666",
            "AWSAccount 444455556666",
        ),
        (
            json!({"type": "AWSAccount", "principalId": "AROAEXAMPLEPARTNER004:s", "accountId": "444455556666", "invokedBy": "cloudformation.amazonaws.com"}),
            "AWSAccount 444455556666 cloudformation.amazonaws.com (AROAEXAMPLEPARTNER004:s)",
            "AWSAccount 444455556666 cloudformation.amazonaws.com",
        ),
        // S3's word for a call that nobody signed.
        (
            json!({"type": "AWSAccount", "principalId": "", "accountId": "ANONYMOUS_PRINCIPAL"}),
            "AWSAccount ANONYMOUS_PRINCIPAL",
            "AWSAccount ANONYMOUS_PRINCIPAL",
        ),
        (json!({"type": "Unknown", "principalId": "Anonymous"}), "Unknown Anonymous", "Unknown Anonymous"),
        (
            json!({"type": "Unknown", "principalId": "", "accountId": "111122223333", "userName": ""}),
            "Unknown 111122223333",
            "Unknown 111122223333",
        ),
        (
            json!({"type": "Unknown", "principalId": "test.domain//S-1-5-21-2119430433", "accountId": "", "userName": "admin@test.domain"}),
            "Unknown admin@test.domain (test.domain//S-1-5-21-2119430433)",
            "Unknown admin@test.domain",
        ),
        (
            json!({"type": "AWSService", "invokedBy": "config.amazonaws.com"}),
            "AWSService config.amazonaws.com",
            "AWSService config.amazonaws.com",
        ),
        (
            json!({"accountId": "111122223333", "invokedBy": "AWS Internal"}),
            "Unknown 111122223333 AWS Internal",
            "Unknown 111122223333 AWS Internal",
        ),
        (
            json!({"type": "IdentityCenterUser", "accountId": "222233334444", "credentialId": "EXAMPLEVHULj",
                "onBehalfOf": {"userId": "544894e8-80c1-707f-60e3-3ba6510dfac1", "identityStoreArn": "arn:aws:identitystore::222233334444:identitystore/d-9067642ac7"}}),
            "IdentityCenterUser 222233334444 (544894e8-80c1-707f-60e3-3ba6510dfac1, arn:aws:identitystore::222233334444:identitystore/d-9067642ac7)",
            "IdentityCenterUser 222233334444",
        ),
        (
            json!({"type": "SAMLUser", "principalId": "bdGOnUkh1i4L/jEvs=:ann", "userName": "ann", "identityProvider": "bdGOnUkh1i4L/jEvs="}),
            "SAMLUser ann (bdGOnUkh1i4L/jEvs=:ann)",
            "SAMLUser ann",
        ),
        (
            json!({"type": "WebIdentityUser", "principalId": "accounts.google.com:app-1:ann", "userName": "ann", "identityProvider": "accounts.google.com"}),
            "WebIdentityUser ann (accounts.google.com:app-1:ann)",
            "WebIdentityUser ann",
        ),
        (
            json!({"type": "Directory", "arn": "arn:aws:ds:us-east-1:111122223333:user/d-0000cafe00/7", "accountId": "111122223333", "userName": "ann@example.com"}),
            "arn:aws:ds:us-east-1:111122223333:user/d-0000cafe00/7",
            "user/d-0000cafe00/7",
        ),
        (json!({"type": "Unknown"}), "Unknown", "Unknown"),
    ]
}

#[tokio::test]
async fn whoever_made_the_call_is_named_with_account_and_kind() {
    for (identity, full, short) in identities() {
        let told = told(&["versioning"], call("PutBucketVersioning", identity.clone())).await;
        assert_eq!(told.alert["trigger"]["actor"], full, "{identity}");
        assert!(told.email.contains(&format!("\nWho     {full}\n")), "{identity}: {}", told.email);
        let subject = format!("[RESTORED] acme-data: versioning changed by {short}, restored within ");
        // SNS takes less than 100 characters.
        let seen = told.subject.trim_end_matches("...");
        assert!(seen.starts_with(&subject) || subject.starts_with(seen), "{identity}: {}", told.subject);
        assert!(seen.contains(short), "{identity}: {}", told.subject);
    }
}

#[tokio::test]
async fn nobody_is_named_where_cloudtrail_names_nobody() {
    let empty = json!({"type": "", "principalId": "", "arn": "", "accountId": "", "userName": "", "invokedBy": ""});
    for identity in [json!(null), json!({}), empty] {
        let told = told(&["versioning"], call("PutBucketVersioning", identity)).await;
        assert_eq!(told.alert["trigger"]["actor"], json!(null));
        assert!(told.subject.contains("versioning changed by somebody, restored within "), "{}", told.subject);
        assert!(told.email.contains("\nWho     not said\n"), "{}", told.email);
    }
}

#[tokio::test]
async fn the_time_to_restore_is_told_where_the_call_can_have_caused_the_drift_and_nowhere_else() {
    for (event, error, drift, timed) in [
        ("PutBucketVersioning", None, &["versioning"][..], true),
        ("PutBucketVersioning", None, &["versioning", "lifecycle"], true),
        ("CreateBucket", None, &["versioning", "policy"], true),
        ("PutBucketVersioning", Some("AccessDenied"), &["versioning"], false),
        ("PutBucketVersioning", None, &["lifecycle"], false),
        ("PutBucketTagging", None, &["versioning"], false),
        ("PutBucketQuantumConfiguration", None, &["versioning"], false),
    ] {
        let mut call = call(event, alice());
        call["detail"]["errorCode"] = json!(error);
        let told = told(drift, call).await;
        let took = &told.report["drift_to_restored_ms"];
        assert_eq!((took.is_u64(), took.is_null()), (timed, !timed), "{event} {error:?} {drift:?}: {took}");
        assert_eq!(&told.alert["drift_to_restored_ms"], took);
        assert!(timed || !told.subject.contains("within"), "{}", told.subject);
    }
}

#[tokio::test]
async fn nobody_is_named_for_what_their_call_cannot_have_done() {
    for (event, error, drift, subject, sentence) in [
        (
            "PutBucketTagging",
            None,
            &["versioning"][..],
            "versioning drifted, restored; found on PutBucketTagging by user/alice",
            "This call led here; it cannot have changed what is below.",
        ),
        (
            "PutBucketVersioning",
            Some("AccessDenied"),
            &["versioning"],
            "versioning drifted, restored; found on PutBucketVersioning by user/alice",
            "This call failed and so changed nothing; it led here.",
        ),
        (
            "PutBucketVersioning",
            None,
            &["versioning", "lifecycle"],
            "versioning and lifecycle drifted, restored; found on PutBucketVersioning",
            "This call led here; it can have changed versioning, but not lifecycle.",
        ),
    ] {
        let mut call = call(event, alice());
        call["detail"]["errorCode"] = json!(error);
        call["detail"]["userAgent"] = json!("Terraform/1.13.4");
        let told = told(drift, call).await;
        let seen = told.subject.trim_start_matches("[RESTORED] acme-data: ").trim_end_matches("...");
        assert!(seen.starts_with(subject) || subject.starts_with(seen), "{}", told.subject);
        assert!(told.email.contains(&format!("\n{sentence}\n")), "{}", told.email);
        let blamed = told.email.contains("The call came from infrastructure code");
        assert_eq!(blamed, sentence.contains("can have"), "{}", told.email);
    }
}

#[tokio::test]
async fn cloudtrails_whole_seconds_are_told_as_whole_seconds() {
    let mut call = call("PutBucketVersioning", alice());
    let three_seconds_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(3);
    call["detail"]["eventTime"] = json!(three_seconds_ago.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let told = told(&["versioning"], call).await;
    let took = told.report["drift_to_restored_ms"].as_u64().unwrap();
    assert!((3000..30_000).contains(&took), "{took}");
    let seconds = took.div_ceil(1000);
    let sentence = format!("versioning changed by user/alice, restored within {seconds} s");
    assert_eq!(told.subject, format!("[RESTORED] acme-data: {sentence}"));
    assert!(told.email.starts_with(&format!("acme-data: {sentence}.\n")), "{}", told.email);
}
