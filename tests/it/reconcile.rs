//! The whole function over a fake AWS: the real SDK, every call counted, and whatever can go wrong made to.

use std::collections::BTreeSet;

use expect_test::expect;
use guardrail_core::control::table::Control;
use guardrail_tests::{
    fake::{ACCOUNT, BUCKET, FakeAws, FaultKind, KEY, ROLE, acl},
    local_aws::workspace,
};
use serde_json::{Value, json};

fn direct() -> Value {
    json!({"bucket": BUCKET})
}

fn sample(name: &str) -> Value {
    let text = std::fs::read_to_string(workspace().join("events").join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Takes one control off its baseline, behind the guardrail's back.
fn drift(fake: &FakeAws, control: Control) {
    let mut world = fake.state().world();
    guardrail_tests::control::drift(&mut world, control);
    fake.state().set_world(world);
}

fn writes_of(control: Control) -> Vec<String> {
    control.vocabulary().writes().map(|it| it.api.to_owned()).collect()
}

fn all_reads() -> Vec<String> {
    let controls = Control::OF_BUCKET.iter().chain(&[Control::KmsKey]);
    let reads = controls.flat_map(|it| it.vocabulary().reads()).map(|it| it.api.to_owned());
    let mut reads: Vec<_> = reads.chain(["GetParameter".to_owned()]).collect();
    reads.sort();
    reads
}

/// `control: outcome` for each finding.
fn findings(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap().iter();
    findings.map(|it| format!("{}: {}", it["control"].as_str().unwrap(), it["outcome"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn a_bare_bucket_is_built_in_restore_order_and_then_left_alone() {
    let fake = FakeAws::guarded();
    fake.set("acl", Some(&acl("<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"><ID>other</ID></Grantee><Permission>READ</Permission></Grant>")));
    expect![[r#"
        reads  the whole bucket, its key, GetBucketLifecycleConfiguration, GetBucketPolicy, GetParameter
        writes PutPublicAccessBlock, PutBucketAcl, PutBucketOwnershipControls, PutBucketPolicy, PutBucketEncryption,
               PutBucketVersioning, PutBucketLifecycleConfiguration, PutBucketInventoryConfiguration
        told   WARNING [RESTORED] acme-data: 7 controls drifted, restored
        answer restored: public-access-block restored, object-ownership restored, bucket-policy restored, default-encryption restored, versioning restored, lifecycle restored, inventory restored
    "#]].assert_eq(&fake.transcript(direct()).await);
    assert_eq!(fake.alerts()[0]["findings"][1]["observed"]["AclGrants"], json!(["other READ"]));

    let before = fake.documents();
    // One read of each, and nothing else.
    expect![[r#"
        reads  the whole bucket, its key, GetParameter
        writes nothing
        answer compliant
    "#]]
    .assert_eq(&fake.transcript(direct()).await);
    assert_eq!(fake.documents(), before);
}

#[tokio::test]
async fn each_control_comes_back_alone_with_its_own_writes_and_one_message() {
    let fake = FakeAws::compliant().await;
    let baseline = fake.documents();
    for control in Control::OF_BUCKET {
        drift(&fake, control);
        fake.forget();
        let report = fake.remediate(direct()).await.unwrap();
        assert_eq!(findings(&report), [format!("{control}: restored")]);
        assert_eq!(fake.writes(), writes_of(control));
        // What is merged is read again right before it is written, and nothing else is.
        let merged = [Control::BucketPolicy, Control::Lifecycle].contains(&control);
        let again = control.vocabulary().reads().filter(|_| merged).map(|it| it.api.to_owned());
        let mut reads: Vec<_> = all_reads().into_iter().chain(again).collect();
        reads.sort();
        assert_eq!(fake.reads(), reads, "{control}");
        assert_eq!(fake.documents(), baseline, "{control}");
        let alerts = fake.alerts();
        assert_eq!((alerts.len(), &alerts[0]["severity"], &report["notified"]), (1, &json!("WARNING"), &json!(true)));
    }
}

#[tokio::test]
async fn a_write_that_fails_leaves_all_other_controls_restored() {
    let writes: BTreeSet<_> =
        Control::OF_BUCKET.iter().flat_map(|it| it.vocabulary().writes().map(|write| (*it, write.api))).collect();
    for (broken, write) in writes {
        let fake = FakeAws::guarded();
        fake.fail(write, usize::MAX, FaultKind::Answer(403, "AccessDenied"));
        let error = fake.remediate(direct()).await.unwrap_err();
        assert!(error.contains(&format!("{broken}: {write}: AccessDenied")), "{error}");
        let alert = fake.alerts().remove(0);
        assert_eq!((&alert["outcome"], &alert["severity"]), (&json!("failed"), &json!("CRITICAL")));
        let expected =
            Control::OF_BUCKET.map(|it| format!("{it}: {}", if it == broken { "failed" } else { "restored" }));
        assert_eq!(findings(&alert), expected);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_told_and_not_written() {
    let reads = Control::OF_BUCKET.iter().flat_map(|it| it.vocabulary().reads().map(|read| (*it, read.api)));
    for (hidden, read) in reads {
        for kind in [
            FaultKind::Answer(403, "AccessDenied"),
            FaultKind::Answer(500, "InternalError"),
            FaultKind::Answer(404, "NoSuchWhatever"),
            // One read alone does not make a bucket gone.
            FaultKind::Answer(404, "NoSuchBucket"),
            FaultKind::Reset,
        ] {
            let fake = FakeAws::guarded();
            fake.fail(read, usize::MAX, kind);
            let error = fake.remediate(direct()).await.unwrap_err();
            assert!(error.contains(&format!("{hidden}: {read}")), "{error}");
            let alert = fake.alerts().remove(0);
            assert_eq!(alert["severity"], "CRITICAL");
            let mut expected: Vec<_> = Control::OF_BUCKET
                .map(|it| format!("{it}: {}", if it == hidden { "unreadable" } else { "restored" }))
                .into();
            // Without the ACL it is still known that ACLs are on.
            let known = read == "GetBucketAcl";
            if known {
                expected.insert(1, "object-ownership: restored".to_owned());
                assert_eq!(alert["findings"][1]["observed"], json!({"ObjectOwnership": null, "AclGrants": null}));
                assert!(alert["findings"][1]["note"].as_str().unwrap().contains("no rollback"), "{alert}");
            }
            assert_eq!(findings(&alert), expected, "{read}");
            assert!(known || writes_of(hidden).iter().all(|it| !fake.writes().contains(it)));
        }
    }
}

#[tokio::test]
async fn a_busy_bucket_is_tried_again() {
    for kind in [
        FaultKind::Answer(409, "OperationAborted"),
        FaultKind::Answer(429, "TooManyRequests"),
        FaultKind::Answer(503, "SlowDown"),
        FaultKind::Reset,
    ] {
        let fake = FakeAws::compliant().await;
        drift(&fake, Control::Versioning);
        fake.fail("PutBucketVersioning", 2, kind);
        assert_eq!(findings(&fake.remediate(direct()).await.unwrap()), ["versioning: restored"]);
        assert_eq!(fake.writes(), ["PutBucketVersioning"; 3]);
    }
}

#[tokio::test]
async fn what_an_owner_writes_between_our_read_and_our_write_survives() {
    let theirs = json!({"Sid": "Theirs", "Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{BUCKET}/*")});
    let policy = json!({"Version": "2012-10-17", "Statement": [theirs]}).to_string();
    let rule = "<Rule><ID>theirs</ID><Filter><Prefix>a/</Prefix></Filter><Status>Enabled</Status><Expiration><Days>9</Days></Expiration></Rule>";
    let fake = FakeAws::guarded();
    fake.before("PutPublicAccessBlock", move |state| state.set("policy", Some(&policy)));
    fake.before("PutBucketVersioning", move |state| {
        state.set("lifecycle", Some(&format!("<LifecycleConfiguration>{rule}</LifecycleConfiguration>")))
    });
    // And again while we wait because the bucket is busy.
    fake.fail("PutBucketPolicy", 1, FaultKind::Answer(409, "OperationAborted"));
    fake.remediate(direct()).await.unwrap();
    let documents = fake.documents();
    assert!(documents["policy"].contains("\"Sid\":\"Theirs\""), "{documents:#?}");
    assert!(documents["lifecycle"].contains(rule), "{documents:#?}");
    fake.forget();
    assert_eq!(fake.remediate(direct()).await.unwrap()["outcome"], "compliant");
}

#[tokio::test]
async fn what_we_do_not_know_survives_a_restore_of_the_lifecycle() {
    let rule = "<Rule><ID>a &amp; b</ID><Prefix>x/</Prefix><Status>Enabled</Status><InventedIn2027><Deep n=\"1\">y</Deep></InventedIn2027><Expiration><Days>9</Days></Expiration></Rule>";
    let fake = FakeAws::compliant().await;
    fake.set("lifecycle", Some(&format!("<?xml version=\"1.0\"?><LifecycleConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{rule}</LifecycleConfiguration>")));
    fake.state().transition_size = Some("varies_by_storage_class".to_owned());
    assert_eq!(findings(&fake.remediate(direct()).await.unwrap()), ["lifecycle: restored"]);
    // In the form of the rules beside it: S3 takes no other.
    let kept = rule.replace("<Prefix>x/</Prefix>", "<Filter><Prefix>x/</Prefix></Filter>");
    assert!(fake.documents()["lifecycle"].contains(&kept), "{:#?}", fake.documents());
    assert_eq!(fake.state().transition_size.as_deref(), Some("varies_by_storage_class"));
}

#[tokio::test]
async fn rules_of_the_old_form_are_rewritten_only_where_something_is_to_be_added() {
    let fake = FakeAws::compliant().await;
    let rule = |id: &str, prefix: &str, action: &str| {
        format!("<Rule><ID>{id}</ID><Prefix>{prefix}</Prefix><Status>Enabled</Status>{action}</Rule>")
    };
    let logs = rule("logs", "logs/", "<Expiration><Days>9</Days></Expiration>");
    let ours = rule(
        "a",
        "",
        "<NoncurrentVersionExpiration><NoncurrentDays>30</NoncurrentDays></NoncurrentVersionExpiration>",
    ) + &rule(
        "b",
        "",
        "<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>",
    );
    let set =
        |rules: &str| fake.set("lifecycle", Some(&format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>")));
    set(&format!("{logs}{ours}"));
    assert_eq!(fake.remediate(direct()).await.unwrap()["outcome"], "compliant");
    assert_eq!(fake.writes(), Vec::<String>::new());
    set(&logs);
    let told = fake.remediate(json!({"bucket": BUCKET, "dry_run": true})).await.unwrap();
    let (observed, desired) = (&told["findings"][0]["observed"], &told["findings"][0]["desired"]);
    assert_eq!(observed["Rules"][0], desired["Rules"][0], "it is not the owner's rule that changes");
    assert_eq!(findings(&fake.remediate(direct()).await.unwrap()), ["lifecycle: restored"]);
    let document = fake.documents()["lifecycle"].clone();
    assert!(
        document.contains("<Filter><Prefix>logs/</Prefix></Filter>") && !document.contains("</ID><Prefix>"),
        "{document}"
    );
    assert_eq!(fake.remediate(direct()).await.unwrap()["outcome"], "compliant");
}

#[tokio::test]
async fn what_the_owner_chose_in_the_inventory_survives_its_restore() {
    let fake = FakeAws::compliant().await;
    let ours = fake.documents()["inventory"].clone();
    let theirs = ours
        .replace("</S3BucketDestination>", "<Prefix>reports</Prefix></S3BucketDestination>")
        .replace("</OptionalFields>", "<Field>Size</Field><Field>InventedIn2027</Field></OptionalFields>");
    fake.set("inventory", Some(&theirs.replace("Daily", "Weekly")));
    assert_eq!(findings(&fake.remediate(direct()).await.unwrap()), ["inventory: restored"]);
    let restored = fake.documents()["inventory"].clone();
    let account = format!("<AccountId>{ACCOUNT}</AccountId>");
    for part in ["<Frequency>Daily", "<Prefix>reports<", "<Field>Size<", "<Field>InventedIn2027<", &account] {
        assert!(restored.contains(part), "{part}: {restored}");
    }
}

#[tokio::test]
async fn fields_that_s3_may_add_cause_no_write() {
    let fake = FakeAws::compliant().await;
    for (subresource, end) in [
        ("publicAccessBlock", "</PublicAccessBlockConfiguration>"),
        ("ownershipControls", "</OwnershipControls>"),
        ("encryption", "</Rule>"),
        ("versioning", "</VersioningConfiguration>"),
        ("lifecycle", "</Rule>"),
        ("inventory", "</InventoryConfiguration>"),
    ] {
        let document =
            fake.documents()[subresource].replace(end, &format!("<InventedIn2027><A>1</A></InventedIn2027>{end}"));
        fake.set(subresource, Some(&document));
    }
    let more = fake.documents()["encryption"].replace(
        "<EncryptionType>SSE-C</EncryptionType>",
        "<EncryptionType>SSE-C</EncryptionType><EncryptionType>SSE-X</EncryptionType>",
    );
    fake.set("encryption", Some(&more));
    assert_eq!(fake.remediate(direct()).await.unwrap()["outcome"], "compliant");
    assert_eq!(fake.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn observe_mode_and_dry_run_write_nothing() {
    let fake = FakeAws::guarded();
    let plan = fake.remediate(json!({"bucket": BUCKET, "dry_run": true})).await.unwrap();
    assert_eq!(
        (&plan["outcome"], &plan["dry_run"], &plan["notified"]),
        (&json!("drifted"), &json!(true), &json!(false))
    );
    assert_eq!(findings(&plan), Control::OF_BUCKET.map(|it| format!("{it}: would-restore")));
    assert_eq!(fake.alerts().len(), 0);
    fake.register(json!({"mode": "observe"}));
    let report = fake.remediate(direct()).await.unwrap();
    assert_eq!((&report["outcome"], &report["notified"]), (&json!("drifted"), &json!(true)));
    assert_eq!(fake.alerts()[0]["severity"], "WARNING");
    assert_eq!(fake.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn an_exemption_counts_until_it_ends() {
    let fake = FakeAws::compliant().await;
    drift(&fake, Control::Versioning);
    let exempt = |until: &str| json!({"exemptions": [{"control": "versioning", "until": until, "reason": "migration", "approved_by": "ann"}]});
    fake.register(exempt("2999-01-31"));
    expect![[r#"
        reads  the whole bucket, its key, GetParameter
        writes nothing
        told   INFO [DRIFTED] acme-data: versioning drifted, left so: exempt
        answer drifted: versioning exempt
    "#]]
    .assert_eq(&fake.transcript(direct()).await);
    fake.register(exempt("2020-01-31T12:00:00Z"));
    expect![[r#"
        reads  the whole bucket, its key, GetParameter
        writes PutBucketVersioning
        told   WARNING [RESTORED] acme-data: versioning drifted, restored
        answer restored: versioning restored
    "#]]
    .assert_eq(&fake.transcript(direct()).await);
}

#[tokio::test]
async fn an_unguarded_bucket_is_only_looked_at() {
    let fake = FakeAws::guarded();
    fake.state().parameters.clear();
    expect![[r#"
        reads  the whole bucket, GetParameter
        writes nothing
        answer unguarded
    "#]]
    .assert_eq(&fake.transcript(sample("put-bucket-policy.json")).await);
}

#[tokio::test]
async fn an_impossible_bucket_name_causes_no_call() {
    let fake = FakeAws::guarded();
    expect![[r#"
        reads  nothing
        writes nothing
        answer unguarded
    "#]]
    .assert_eq(&fake.transcript(sample("impossible-bucket-name.json")).await);
    assert_eq!(fake.state().calls, Vec::<String>::new());
}

#[tokio::test]
async fn a_bucket_that_is_gone_is_told_and_is_no_error() {
    let fake = FakeAws::guarded();
    fake.state().bucket = None;
    expect![[r#"
        reads  the whole bucket, GetParameter
        writes nothing
        told   CRITICAL [GONE] acme-data: the guarded bucket was deleted by root
        answer gone
    "#]]
    .assert_eq(&fake.transcript(sample("delete-bucket.json")).await);
}

#[tokio::test]
async fn a_bucket_that_another_account_owns_now_is_left_alone() {
    let fake = FakeAws::guarded();
    for read in all_reads().iter().filter(|it| *it != "GetParameter") {
        fake.fail(read, usize::MAX, FaultKind::Answer(403, "AccessDenied"));
    }
    fake.remediate(direct()).await.unwrap_err();
    assert_eq!(fake.writes(), Vec::<String>::new());
    let all = Control::OF_BUCKET.into_iter().chain([Control::KmsKey]);
    assert_eq!(findings(&fake.alerts()[0]), all.map(|it| format!("{it}: unreadable")).collect::<Vec<_>>());
}

/// An event of our own role about a call of this name.
fn echo(event_name: &str, user_agent: &str) -> Value {
    let mut event = sample("own-echo-put-bucket-policy.json");
    event["detail"]["eventName"] = json!(event_name);
    event["detail"]["userAgent"] = json!(user_agent);
    assert!(event.to_string().contains(ROLE));
    event
}

#[tokio::test]
async fn a_restore_that_does_not_stick_is_told_and_not_tried_again() {
    let fake = FakeAws::compliant().await;
    drift(&fake, Control::BucketPolicy);
    drift(&fake, Control::Versioning);
    expect![[r#"
        reads  the whole bucket ×4, GetParameter ×2
        writes PutBucketVersioning
        told   CRITICAL [FAILED] acme-data: bucket-policy does not stay restored; drifted; found on PutBucketPolicy by r...
        answer failed: bucket-policy unstable, versioning restored
    "#]].assert_eq(&fake.transcript(echo("PutBucketPolicy", "aws-sdk-rust")).await);
}

#[tokio::test]
async fn no_chain_of_our_own_echoes_is_longer_than_two() {
    let fake = FakeAws::compliant().await;
    drift(&fake, Control::Versioning);
    // An event of somebody else's, then what CloudTrail records of each write that the one before led to.
    fake.remediate(sample("put-bucket-versioning.json")).await.unwrap();
    let mut chain = Vec::new();
    for control in [Control::Lifecycle, Control::BucketPolicy, Control::Inventory] {
        let written = fake.state().calls.iter().position(|it| it.starts_with("PutBucket"));
        let Some(written) = written else { break };
        let user_agent = fake.state().user_agents[written].clone();
        fake.forget();
        drift(&fake, control);
        chain.push(findings(&fake.remediate(echo("PutBucketVersioning", &user_agent)).await.unwrap()));
    }
    assert_eq!(chain, [["lifecycle: restored"], ["bucket-policy: would-restore"]]);
    assert_eq!(fake.writes(), Vec::<String>::new());
    // Whoever changed the policy has an event of their own, on its way for minutes: it is not told as undoing us.
    assert_eq!(fake.alerts(), Vec::<Value>::new());
    let report = fake.remediate(sample("put-bucket-policy.json")).await.unwrap();
    assert_eq!(findings(&report), ["bucket-policy: restored"]);
}

#[tokio::test]
async fn what_a_second_write_in_a_row_did_not_restore_is_told_as_that() {
    let fake = FakeAws::compliant().await;
    drift(&fake, Control::Lifecycle);
    drift(&fake, Control::Versioning);
    let echo = echo("PutBucketLifecycle", "aws-sdk-rust app/s3-guardrail-echo");
    expect![[r#"
        reads  the whole bucket ×4, GetParameter
        writes nothing
        told   CRITICAL [FAILED] acme-data: lifecycle does not stay restored; drifted; found on PutBucketLifecycle by ro...
        answer failed: versioning would-restore, lifecycle unstable
    "#]].assert_eq(&fake.transcript(echo).await);
}

#[tokio::test]
async fn an_echo_of_a_bucket_deleted_in_the_meantime_finds_it_gone() {
    let fake = FakeAws::compliant().await;
    drift(&fake, Control::Versioning);
    fake.before("GetPublicAccessBlock", |_| ());
    fake.before("GetPublicAccessBlock", |state| state.bucket = None);
    expect![[r#"
        reads  the whole bucket ×2, GetParameter
        writes nothing
        told   CRITICAL [GONE] acme-data: the guarded bucket does not exist
        answer gone
    "#]]
    .assert_eq(&fake.transcript(echo("PutBucketVersioning", "aws-sdk-rust")).await);
}

#[tokio::test]
async fn an_echo_that_reads_an_old_state_waits_for_the_new_one() {
    let fake = FakeAws::compliant().await;
    fake.fail("GetBucketLifecycleConfiguration", 2, FaultKind::Stale(None));
    expect![[r#"
        reads  the whole bucket ×3, GetParameter
        writes nothing
        answer compliant
    "#]]
    .assert_eq(&fake.transcript(echo("PutBucketLifecycle", "aws-sdk-rust")).await);
}

#[tokio::test]
async fn an_alert_that_cannot_be_sent_is_an_error() {
    let fake = FakeAws::compliant().await;
    drift(&fake, Control::Versioning);
    fake.fail("Publish", usize::MAX, FaultKind::Answer(403, "AuthorizationError"));
    // The bucket comes first.
    expect![[r#"
        reads  the whole bucket, its key, GetParameter
        writes PutBucketVersioning
        error  acme-data: people could not be told: Publish: AuthorizationError: no (HTTP 403, request unknown)
    "#]]
    .assert_eq(&fake.transcript(direct()).await);
}

#[tokio::test]
async fn a_registry_that_cannot_be_used_is_told_and_nothing_is_written() {
    for (document, part) in [
        (
            format!("{{\"bucket\":\"{BUCKET}\",\"account\":\"{ACCOUNT}\",\"key_arn\":\"{KEY}\",\"colour\":1}}"),
            "colour: unknown field",
        ),
        (
            format!("{{\"bucket\":\"{BUCKET}\",\"account\":\"{ACCOUNT}\",\"key_arn\":\"alias/x\"}}"),
            "key_arn: `alias/x` is not a KMS key ARN",
        ),
        (format!("{{\"bucket\":\"{BUCKET}\",\"account\":\"{ACCOUNT}\"}}"), "missing field `key_arn`"),
        (
            format!("{{\"bucket\":\"other\",\"account\":\"{ACCOUNT}\",\"key_arn\":\"{KEY}\"}}"),
            "stands under another bucket's name",
        ),
        (
            format!("{{\"bucket\":\"{BUCKET}\",\"account\":\"999922223333\",\"key_arn\":\"{KEY}\"}}"),
            "guards no bucket of 999922223333",
        ),
        (
            format!(
                "{{\"bucket\":\"{BUCKET}\",\"account\":\"{ACCOUNT}\",\"key_arn\":\"{KEY}\",\"lifecycle\":{{\"noncurrent_days\":0}}}}"
            ),
            "lifecycle.noncurrent_days",
        ),
        ("{".to_owned(), "EOF"),
    ] {
        let fake = FakeAws::guarded();
        fake.register_text(&document);
        let error = fake.remediate(direct()).await.unwrap_err();
        assert!(error.contains(part), "{document}: {error}");
        assert_eq!(fake.writes(), Vec::<String>::new());
        let dry = fake.remediate(json!({"bucket": BUCKET, "dry_run": true})).await.unwrap_err();
        assert!(dry.contains(part), "{dry}");
        let alert = fake.alerts().remove(0);
        assert_eq!((&alert["severity"], alert["error"].as_str().unwrap().contains(part)), (&json!("CRITICAL"), true));
    }
    let fake = FakeAws::guarded();
    fake.fail("GetParameter", usize::MAX, FaultKind::Answer(400, "AccessDeniedException"));
    assert!(
        fake.remediate(direct())
            .await
            .unwrap_err()
            .contains("the registry could not be read: GetParameter: AccessDeniedException")
    );
    assert_eq!((fake.writes(), fake.alerts().len()), (vec![], 1));
}

#[tokio::test]
async fn bad_input_causes_no_call() {
    for (input, part) in [
        (json!("text"), "neither an EventBridge event"),
        (json!({"bucket": "Bad Name"}), "bucket: `Bad Name` is not a bucket name"),
        (json!({"bucket": BUCKET, "dryrun": true}), "dryrun: unknown field"),
        (json!({"detail": {}}), "detail.eventName"),
        (json!({"detail": {"eventName": "PutBucketPolicy"}}), "PutBucketPolicy names no bucket"),
        (json!({"Records": [{"body": 7}]}), "Records[0].body"),
        (json!({"Records": [{"eventSource": "aws:s3", "s3": {"bucket": {"name": BUCKET}}}]}), "nor an SQS batch"),
        (json!({"Records": [{"EventSource": "aws:sns", "Sns": {"Message": "{}"}}]}), "nor an SQS batch"),
    ] {
        let fake = FakeAws::guarded();
        let error = fake.remediate(input.clone()).await.unwrap_err();
        assert!(error.contains(part), "{input}: {error}");
        assert_eq!(fake.state().calls, Vec::<String>::new());
    }
}

#[tokio::test]
async fn of_a_batch_only_what_failed_comes_back() {
    let fake = FakeAws::compliant().await;
    drift(&fake, Control::Versioning);
    let mut batch = sample("sqs-batch.json");
    let record = batch["Records"][0].clone();
    let message = |id: &str, body: &str| {
        let mut message = record.clone();
        message["messageId"] = json!(id);
        message["body"] = json!(body);
        message
    };
    fake.state().parameters.insert("/s3-guardrail/buckets/broken".to_owned(), "{}".to_owned());
    batch["Records"] = json!([
        message("good", &json!({"bucket": BUCKET}).to_string()),
        message("poison", "{not json"),
        message("broken", "{\"bucket\":\"broken\"}"),
        message("unguarded", "{\"bucket\":\"unguarded\"}"),
        message("two", &format!("{0}{0}", direct())),
        message("empty", ""),
    ]);
    let answer = fake.remediate(batch).await.unwrap();
    let failed = ["poison", "broken", "two", "empty"].map(|id| json!({"itemIdentifier": id}));
    assert_eq!(answer, json!({"batchItemFailures": failed}));
    assert_eq!(fake.writes(), ["PutBucketVersioning"]);
}

#[tokio::test]
async fn a_dry_run_in_a_queue_is_a_dry_run() {
    let fake = FakeAws::guarded();
    let body = json!({"bucket": BUCKET, "dry_run": true}).to_string();
    expect![[r#"
        reads  the whole bucket, its key, GetParameter
        writes nothing
        answer {"batchItemFailures":[]}
    "#]]
    .assert_eq(&fake.transcript(json!({"Records": [{"messageId": "1", "body": body}]})).await);
}

/// The policy without our statements, and with this one of the owner's.
fn owners_policy(statement: Value) -> String {
    json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
}

#[tokio::test]
async fn a_dead_principal_is_named_and_dropped_only_if_the_registry_says_so() {
    let fake = FakeAws::compliant().await;
    let dead = owners_policy(
        json!({"Sid": "Dead", "Effect": "Allow", "Principal": {"AWS": ["AROAEXAMPLE", ROLE]}, "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{BUCKET}/*")}),
    );
    fake.set("policy", Some(&dead));
    fake.fail("PutBucketPolicy", 1, FaultKind::Answer(400, "MalformedPolicy"));
    let error = fake.remediate(direct()).await.unwrap_err();
    assert!(error.contains("names a deleted user or role: statement `Dead`"), "{error}");
    assert_eq!(fake.documents()["policy"], dead);

    fake.register(json!({"drop_dead_principals": true}));
    assert_eq!(findings(&fake.remediate(direct()).await.unwrap()), ["bucket-policy: restored"]);
    let policy = &fake.documents()["policy"];
    assert!(policy.contains("Dead") && policy.contains(ROLE) && !policy.contains("AROAEXAMPLE"), "{policy}");
}

#[tokio::test]
async fn a_policy_that_would_lock_us_out_is_not_written() {
    let fake = FakeAws::compliant().await;
    let lock = owners_policy(
        json!({"Sid": "Lock", "Effect": "Deny", "NotPrincipal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:user/ann")}, "Action": "s3:Put*", "Resource": format!("arn:aws:s3:::{BUCKET}")}),
    );
    fake.set("policy", Some(&lock));
    drift(&fake, Control::Versioning);
    // The other controls are restored.
    expect![[r#"
        reads  the whole bucket, its key, GetBucketPolicy, GetParameter
        writes PutBucketVersioning
        told   CRITICAL [FAILED] acme-data: bucket-policy NOT restored; drifted
        error  acme-data: bucket-policy: statement `Lock` denies s3:PutBucketPolicy to the guardrail's own role arn:aws:iam::111122223333:role/s3-guardrail-remediate-eu-west-2; remove that statement, as root if need be
    "#]].assert_eq(&fake.transcript(direct()).await);
}

#[tokio::test]
async fn the_registry_chooses_the_policy_the_days_and_the_inventory() {
    let fake = FakeAws::guarded();
    fake.register(json!({
        "policy": "default-encryption",
        "lifecycle": {"noncurrent_days": 90},
        "inventory": {"bucket": "reports", "format": "CSV"},
    }));
    fake.remediate(direct()).await.unwrap();
    let documents = fake.documents();
    assert!(
        documents["policy"].contains("DenyKMSWithoutKeyId")
            && !documents["policy"].contains("DenyMissingEncryptionHeader")
    );
    assert!(documents["lifecycle"].contains("<NoncurrentDays>90</NoncurrentDays>"));
    assert!(documents["inventory"].contains("arn:aws:s3:::reports") && documents["inventory"].contains("CSV"));
    assert_eq!(fake.remediate(direct()).await.unwrap()["outcome"], "compliant");
}

#[tokio::test]
async fn a_change_of_tags_is_told_and_not_restored() {
    let fake = FakeAws::compliant().await;
    expect![[r#"
        reads  the whole bucket, GetParameter
        writes nothing
        told   INFO [COMPLIANT] acme-data: PutBucketTagging by role/dev-ci, nothing to restore
        answer compliant
    "#]]
    .assert_eq(&fake.transcript(sample("put-bucket-tagging.json")).await);
}

#[tokio::test]
async fn what_an_owner_opens_beside_the_baseline_is_told_and_never_undone() {
    for (event, decides) in guardrail_core::control::table::OWNERS_EVENTS {
        let fake = FakeAws::compliant().await;
        fake.state().access_points.insert("acme-reports".to_owned(), BUCKET.to_owned());
        let report = fake.remediate(sample(&format!("{}.json", kebab(event)))).await.unwrap();
        assert_eq!((&report["bucket"], &report["outcome"]), (&json!(BUCKET), &json!("compliant")), "{event}");
        let alert = fake.alerts().remove(0);
        assert_eq!((&alert["severity"], &alert["trigger"]["event_name"]), (&json!("WARNING"), &json!(event)));
        assert!(alert["trigger"]["actor"].as_str().unwrap().ends_with("assumed-role/dev-ci/build-4711"), "{alert}");
        let told = fake.state().published[0].clone();
        assert!(told["Message"].contains(decides) && told["Message"].contains("belongs to the owner"), "{told:?}");
        assert!(told["Subject"].contains(&format!("{event} by role/dev-ci")), "{told:?}");
        assert!(!told["Message"].contains("444455556666"), "a stranger's text stays where it is");
        assert_eq!(fake.writes(), Vec::<String>::new(), "{event}");
        // A call that failed opened nothing, and our own is no news.
        let mut failed = sample(&format!("{}.json", kebab(event)));
        failed["detail"]["errorCode"] = json!("AccessDenied");
        let mut own = sample(&format!("{}.json", kebab(event)));
        own["detail"]["userIdentity"]["arn"] =
            json!(format!("{}/x", ROLE.replace(":role/", ":assumed-role/").replace("iam", "sts")));
        fake.forget();
        for event in [failed, own] {
            fake.remediate(event).await.unwrap();
        }
        assert!(fake.alerts().is_empty(), "{event}");
    }
}

#[tokio::test]
async fn an_access_point_that_leads_elsewhere_or_is_gone_is_nobodys_concern() {
    for leads_to in [Some("somebody-elses"), None] {
        let fake = FakeAws::compliant().await;
        fake.state().access_points.extend(leads_to.map(|it| ("acme-reports".to_owned(), it.to_owned())));
        let report = fake.remediate(sample("put-access-point-policy.json")).await.unwrap();
        assert_eq!((&report["outcome"], fake.alerts().len()), (&json!("unguarded"), 0), "{leads_to:?}");
    }
}

#[tokio::test]
async fn tags_are_told_whichever_api_changed_them_and_tags_of_other_things_are_not() {
    for (event, arn, alerts) in [
        ("tag-resource.json", "arn:aws-us-gov:s3:::acme-data", 1),
        ("untag-resource.json", "arn:aws:s3:::acme-data", 1),
        ("tag-resource.json", "arn:aws:s3:eu-west-2:111122223333:accesspoint/acme-data", 0),
        ("untag-resource.json", "arn:aws:s3:eu-west-2:111122223333:storage-lens/acme-data", 0),
        ("tag-resource.json", "acme-data", 0),
    ] {
        let fake = FakeAws::compliant().await;
        let mut event = sample(event);
        event["detail"]["requestParameters"]["resourceArn"] = json!(arn);
        fake.remediate(event.clone()).await.unwrap();
        assert_eq!(fake.alerts().len(), alerts, "{arn}");
        // Denied calls of S3 Control may be recorded without parameters.
        event["detail"]["requestParameters"] = json!(null);
        assert_eq!(fake.remediate(event).await.unwrap()["outcome"], "unguarded");
    }
}

#[tokio::test]
async fn every_event_that_names_the_bucket_restores_it() {
    let not_ours = [
        "README.md",
        "another-account.json",
        "bootstrap.json",
        "direct-dry-run.json",
        "impossible-bucket-name.json",
        "no-bucket.json",
        "schedule.json",
    ];
    let of_other_services = [
        "disable-key",
        "disable-rule",
        "schedule-key",
        "delete-imported",
        "put-key",
        "delete-alias",
        "update-alias",
        "stop-logging",
        "delete-trail",
        "update-trail",
        "put-event-selectors",
        "failed-stop",
        "own-echo",
    ];
    let fake = FakeAws::compliant().await;
    fake.state().access_points.insert("acme-reports".to_owned(), BUCKET.to_owned());
    let baseline = fake.documents();
    let mut restored = 0;
    for file in std::fs::read_dir(workspace().join("events")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        if not_ours.contains(&name.as_str()) || of_other_services.iter().any(|it| name.starts_with(it)) {
            continue;
        }
        drift(&fake, Control::Versioning);
        fake.remediate(sample(&name)).await.unwrap();
        assert_eq!(fake.documents(), baseline, "{name}");
        restored += 1;
    }
    assert!(restored >= 23, "{restored}");
}

fn kebab(name: &str) -> String {
    name.chars().fold(String::new(), |text, c| match c.is_ascii_uppercase() {
        true if text.is_empty() => c.to_ascii_lowercase().to_string(),
        true => format!("{text}-{}", c.to_ascii_lowercase()),
        false => format!("{text}{c}"),
    })
}

#[tokio::test]
async fn every_event_name_of_the_table_has_a_sample() {
    let names =
        Control::ALL.iter().flat_map(|it| it.vocabulary().events).chain(&guardrail_core::control::table::TOLD_EVENTS);
    let names = names.chain(guardrail_core::control::table::OWNERS_EVENTS.iter().map(|it| &it.0));
    for name in names {
        let event = sample(&format!("{}.json", kebab(name)));
        assert_eq!(event["detail"]["eventName"], *name);
    }
}

#[tokio::test]
async fn a_message_is_never_longer_than_sns_allows() {
    let fake = FakeAws::compliant().await;
    let rules: String = (0..990).map(|n| format!("<Rule><ID>{n:0>200}</ID><Filter><Prefix>{n:0>400}</Prefix></Filter><Status>Enabled</Status><Expiration><Days>9</Days></Expiration></Rule>")).collect();
    fake.set("lifecycle", Some(&format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>")));
    let statement = json!({"Sid": "Long", "Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{BUCKET}/{}", "\"".repeat(9000))});
    fake.set("policy", Some(&json!({"Statement": [statement]}).to_string()));
    let report = fake.remediate(sample("put-bucket-lifecycle.json")).await.unwrap();
    assert_eq!(report["outcome"], "restored");
    let message = fake.state().published[0]["Message"].clone();
    assert!(message.len() < 256 * 1024, "{}", message.len());
    let lifecycle = &fake.alerts()[0]["findings"][1];
    assert_eq!((&lifecycle["control"], &lifecycle["observed"]["cut"]), (&json!("lifecycle"), &json!(true)));
    assert!(message.contains("cut"));
}

#[tokio::test]
async fn people_are_told_wherever_their_topic_is() {
    let fake = FakeAws::compliant().await;
    drift(&fake, Control::Versioning);
    let guardrail = fake.guardrail_telling("arn:aws:sns:us-east-1:999922223333:security");
    guardrail_tests::fake::remediate(&guardrail, direct()).await.unwrap();
    assert_eq!(fake.alerts()[0]["region"], "eu-west-2", "where the bucket is");
}

#[tokio::test]
async fn a_read_that_fails_once_is_read_again() {
    for kind in [FaultKind::Answer(503, "SlowDown"), FaultKind::Answer(500, "InternalError"), FaultKind::Reset] {
        let fake = FakeAws::compliant().await;
        for read in Control::OF_BUCKET.iter().flat_map(|it| it.vocabulary().reads()) {
            fake.fail(read.api, 1, kind.clone());
        }
        assert_eq!(fake.remediate(direct()).await.unwrap()["outcome"], "compliant");
        assert_eq!(fake.writes(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn what_somebody_else_restores_meanwhile_is_not_written_again() {
    let fake = FakeAws::compliant().await;
    let policy = fake.documents()["policy"].clone();
    drift(&fake, Control::PublicAccessBlock);
    drift(&fake, Control::BucketPolicy);
    fake.before("PutPublicAccessBlock", move |state| state.set("policy", Some(&policy)));
    fake.remediate(direct()).await.unwrap();
    assert_eq!(fake.writes(), ["PutPublicAccessBlock"]);
}

#[tokio::test]
async fn acls_that_somebody_turns_off_meanwhile_are_no_failure() {
    let fake = FakeAws::compliant().await;
    let ownership = fake.documents()["ownershipControls"].clone();
    drift(&fake, Control::ObjectOwnership);
    fake.before("PutBucketAcl", move |state| {
        state.set("acl", None);
        state.set("ownershipControls", Some(&ownership));
    });
    assert_eq!(findings(&fake.remediate(direct()).await.unwrap()), ["object-ownership: restored"]);
}

#[tokio::test]
async fn a_bucket_deleted_while_it_is_restored_is_a_failure_and_then_gone() {
    let fake = FakeAws::compliant().await;
    drift(&fake, Control::Versioning);
    fake.before("PutBucketVersioning", |state| state.bucket = None);
    let error = fake.remediate(direct()).await.unwrap_err();
    assert!(error.contains("versioning: PutBucketVersioning: NoSuchBucket"), "{error}");
    assert_eq!(fake.remediate(direct()).await.unwrap()["outcome"], "gone", "the next attempt knows");
}

#[tokio::test]
async fn a_policy_that_is_none_is_unreadable_and_stays() {
    let fake = FakeAws::compliant().await;
    for document in ["<html>", "{}", "{\"Statement\":[1]}"] {
        fake.set("policy", Some(document));
        let error = fake.remediate(direct()).await.unwrap_err();
        assert!(error.contains("bucket-policy: GetBucketPolicy: the policy is not"), "{error}");
        assert_eq!((fake.writes(), &*fake.documents()["policy"]), (vec![], document));
    }
}

#[tokio::test]
async fn a_deny_whose_only_exceptions_are_dead_is_named_and_never_lost() {
    let fake = FakeAws::compliant().await;
    let deny = owners_policy(
        json!({"Sid": "OnlyAnn", "Effect": "Deny", "NotPrincipal": {"AWS": "AIDAANN"}, "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{BUCKET}/*")}),
    );
    fake.set("policy", Some(&deny));
    fake.register(json!({"drop_dead_principals": true}));
    fake.fail("PutBucketPolicy", 1, FaultKind::Answer(400, "MalformedPolicy"));
    let error = fake.remediate(direct()).await.unwrap_err();
    assert!(error.contains("names a deleted user or role: statement `OnlyAnn`"), "{error}");
    assert_eq!(fake.documents()["policy"], deny);
}

thread_local! {
    static METRICS: std::cell::RefCell<Vec<Value>> = const { std::cell::RefCell::new(Vec::new()) };
}

#[tokio::test]
async fn what_is_guarded_is_counted_and_nothing_else() {
    let fake = FakeAws::compliant().await;
    drift(&fake, Control::Versioning);
    let metrics = |line: &Value| METRICS.with_borrow_mut(|it| it.push(line.clone()));
    let guardrail = guardrail::Guardrail { metrics, ..fake.guardrail() };
    let remediate = async |input| guardrail_tests::fake::remediate(&guardrail, input).await.unwrap();
    remediate(direct()).await;
    let lines = METRICS.take();
    assert_eq!((lines.len(), &lines[0]["Reconciles"], &lines[1]["Restored"]), (2, &json!(1), &json!(1)));
    remediate(json!({"bucket": "unguarded"})).await;
    assert_eq!(METRICS.take(), Vec::<Value>::new());
}
