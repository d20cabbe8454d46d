//! What buckets share, and the guardrail itself, over a fake AWS: key, trail, rules, sweep.

use expect_test::expect;
use guardrail_tests::{
    fake::{ACCOUNT, ALIAS, BUCKET, FORMER_KEY, FakeAws, FakeKey, FaultKind, KEY, OWN_KEY, TRAIL},
    local_aws::workspace,
};
use serde_json::{Value, json};

pub(crate) fn sample(name: &str) -> Value {
    let text = std::fs::read_to_string(workspace().join("events").join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// A CloudTrail record of a call by somebody else.
pub(crate) fn call(source: &str, name: &str, parameters: Value) -> Value {
    json!({"detail": {
        "eventSource": format!("{source}.amazonaws.com"), "eventName": name, "requestParameters": parameters,
        "userIdentity": {"arn": format!("arn:aws:iam::{ACCOUNT}:user/mallory")}, "eventTime": "2026-11-23T09:14:05Z",
    }})
}

/// The fields that register key, alias and trail.
pub(crate) fn everything() -> Value {
    json!({"key_alias": ALIAS, "trail_arn": TRAIL, "log_bucket": "acme-data-logs"})
}

/// A bucket on its baseline, with key, alias and trail; nothing called yet.
pub(crate) async fn compliant() -> FakeAws {
    let fake = FakeAws::guarded();
    fake.register(everything());
    let report = fake.remediate(json!({"bucket": BUCKET})).await.unwrap();
    assert_eq!(report["outcome"], "restored", "{report}");
    assert_eq!(fake.remediate(json!({"bucket": BUCKET})).await.unwrap()["findings"], json!([]));
    fake.forget();
    fake
}

fn findings(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap().iter();
    findings.map(|it| format!("{}: {}", it["control"].as_str().unwrap(), it["outcome"].as_str().unwrap())).collect()
}

fn guard_another(fake: &FakeAws, bucket: &str, fields: Value) {
    let mut document = json!({"bucket": bucket, "account": ACCOUNT, "key_arn": KEY});
    document.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    fake.state().parameters.insert(format!("/s3-guardrail/buckets/{bucket}"), document.to_string());
}

#[tokio::test]
async fn whatever_is_done_to_the_key_is_undone_by_the_calls_it_takes() {
    type Harm = fn(&mut FakeKey);
    let harms: [(Harm, &[&str]); 6] = [
        (|it| it.state = "Disabled".to_owned(), &["EnableKey"]),
        (|it| it.state = "PendingDeletion".to_owned(), &["CancelKeyDeletion", "EnableKey"]),
        (|it| it.rotation = false, &["EnableKeyRotation"]),
        (|it| it.aliases.clear(), &["CreateAlias"]),
        (|it| drop(it.aliases.insert("alias/s3-secure-data".to_owned(), format!("{KEY}2"))), &["UpdateAlias"]),
        (
            |it| {
                it.policy = json!({"Statement": [{"Sid": "Administrators", "Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"}]}).to_string()
            },
            &["PutKeyPolicy"],
        ),
    ];
    let fake = compliant().await;
    for (harm, calls) in harms {
        let before = fake.state().key.clone();
        harm(fake.state().key.as_mut().unwrap());
        fake.forget();
        let event = call("kms", "DisableKey", json!({"keyId": KEY}));
        let answer = fake.remediate(event).await.unwrap();
        assert_eq!(findings(&answer["buckets"][0]), ["kms-key: restored"]);
        assert_eq!(fake.writes(), calls);
        let mut key = fake.state().key.clone().unwrap();
        assert!(key.policy.contains("Administrators"), "the administrators stay: {}", key.policy);
        key.policy.clone_from(&before.as_ref().unwrap().policy);
        assert_eq!(Some(key), before);
        let alerts = fake.alerts();
        assert_eq!((alerts.len(), &alerts[0]["findings"][0]["control"]), (1, &json!("kms-key")));
        assert!(!fake.reads().iter().any(|it| it.contains("Bucket")), "the event was about the key");
    }
}

#[tokio::test]
async fn whatever_is_done_to_the_trail_is_undone_and_the_owners_selectors_stay() {
    let theirs = json!({"Name": "theirs", "FieldSelectors": [{"Field": "eventCategory", "Equals": ["Data"]}, {"Field": "resources.type", "Equals": ["AWS::Lambda::Function"]}]});
    let harms: [(Value, &[&str]); 5] = [
        (json!({"IsLogging": false}), &["StartLogging"]),
        (json!({"IsMultiRegionTrail": false}), &["UpdateTrail"]),
        (json!({"EnableLogFileValidation": false, "KmsKeyId": ""}), &["UpdateTrail"]),
        (json!({"AdvancedEventSelectors": [theirs]}), &["PutEventSelectors"]),
        (
            json!({"AdvancedEventSelectors": null, "EventSelectors": [{"ReadWriteType": "ReadOnly", "IncludeManagementEvents": true}]}),
            &["PutEventSelectors"],
        ),
    ];
    for (harm, calls) in harms {
        let fake = compliant().await;
        let trail = fake.state().trail.clone();
        for (name, value) in harm.as_object().unwrap() {
            fake.state().trail.as_mut().unwrap()[name] = value.clone();
        }
        let answer = fake.remediate(sample_for_trail("stop-logging.json")).await.unwrap();
        assert_eq!(findings(&answer["buckets"][0]), ["trail: restored"]);
        assert_eq!(fake.writes(), calls);
        if harm["AdvancedEventSelectors"].is_null() && harm["EventSelectors"].is_null() {
            assert_eq!(fake.state().trail, trail);
        }
        let selectors = fake.state().trail.clone().unwrap();
        for kind in ["AdvancedEventSelectors", "EventSelectors"] {
            for selector in harm[kind].as_array().into_iter().flatten() {
                assert!(
                    selectors[kind].as_array().unwrap().iter().any(|it| it["Name"] == selector["Name"]),
                    "{selectors}"
                );
            }
        }
    }
}

fn sample_for_trail(name: &str) -> Value {
    let mut event = sample(name);
    event["detail"]["requestParameters"]["name"] = json!(TRAIL);
    event
}

#[tokio::test]
async fn a_deleted_trail_is_created_again() {
    let fake = compliant().await;
    let before = fake.state().trail.take();
    let event = call("cloudtrail", "DeleteTrail", json!({"name": "acme-trail"}));
    expect![[r#"
        reads  its trail ×2, GetParameters, GetParametersByPath, GetTrailStatus
        writes CreateTrail, PutEventSelectors, StartLogging
        told   WARNING [RESTORED] acme-data: trail changed by user/mallory, restored within some s
        answer acme-data restored: trail restored
    "#]]
    .assert_eq(&fake.transcript(event).await);
    assert_eq!(fake.state().trail, before);
}

#[tokio::test]
async fn a_log_file_that_could_not_be_delivered_is_told() {
    let fake = compliant().await;
    fake.state().trail.as_mut().unwrap()["LatestDeliveryError"] = json!("AccessDenied");
    expect![[r#"
        reads  the whole bucket, its key, its trail, DescribeKey, GetParameter
        writes nothing
        told   CRITICAL [FAILED] acme-data: trail NOT restored; drifted
        error  acme-data: trail: CloudTrail could not deliver its last log file: AccessDenied; look at the policies of the trail's bucket and key
    "#]].assert_eq(&fake.transcript(json!({"bucket": BUCKET})).await);
}

#[tokio::test]
async fn an_event_about_a_key_touches_every_bucket_that_uses_it_and_no_other() {
    let fake = compliant().await;
    guard_another(&fake, "beta-data", json!({}));
    guard_another(&fake, "other-key", json!({"key_arn": format!("{KEY}9")}));
    for n in 0..20 {
        guard_another(&fake, &format!("filler-{n:02}"), json!({"key_arn": format!("{KEY}9")}));
    }
    fake.state().parameters.insert("/s3-guardrail/buckets/broken".to_owned(), "{".to_owned());
    for named in [json!({"keyId": KEY}), json!({"keyId": KEY.rsplit('/').next().unwrap()})] {
        fake.state().key.as_mut().unwrap().state = "Disabled".to_owned();
        let answer = fake.remediate(call("kms", "DisableKey", named)).await.unwrap();
        let buckets: Vec<_> = answer["buckets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| (it["bucket"].clone(), it["outcome"].clone()))
            .collect();
        assert_eq!(buckets, [(json!(BUCKET), json!("restored")), (json!("beta-data"), json!("compliant"))]);
    }
    // Nothing but the alias tells that this was about our key.
    let moved = call("kms", "UpdateAlias", json!({"aliasName": "alias/s3-secure-data", "targetKeyId": "other"}));
    let answer = fake.remediate(moved).await.unwrap();
    assert_eq!(answer["buckets"].as_array().unwrap().len(), 2, "beta-data uses the key, though it names no alias");
    let foreign = call("kms", "DisableKey", json!({"keyId": "arn:aws:kms:eu-west-2:111122223333:key/nobodys"}));
    assert_eq!(fake.remediate(foreign).await.unwrap(), json!({"buckets": []}));
}

#[tokio::test]
async fn a_key_that_cannot_be_restored_fails_the_invocation_after_the_alert() {
    let fake = compliant().await;
    fake.state().key.as_mut().unwrap().state = "Disabled".to_owned();
    fake.fail("EnableKey", usize::MAX, FaultKind::Answer(400, "AccessDeniedException"));
    let error = fake.remediate(call("kms", "DisableKey", json!({"keyId": KEY}))).await.unwrap_err();
    assert!(error.contains("kms-key: EnableKey: AccessDeniedException"), "{error}");
    assert_eq!(fake.alerts()[0]["severity"], "CRITICAL");
}

#[tokio::test]
async fn a_key_that_does_not_exist_is_told_and_the_bucket_is_restored_all_the_same() {
    let fake = compliant().await;
    fake.state().key = None;
    fake.set("versioning", None);
    let error = fake.remediate(json!({"bucket": BUCKET})).await.unwrap_err();
    assert!(error.contains("kms-key: DescribeKey: the key does not exist"), "{error}");
    assert_eq!(fake.writes(), ["PutBucketVersioning"]);
}

#[tokio::test]
async fn exemptions_and_observe_mode_hold_for_key_and_trail() {
    let fake = compliant().await;
    fake.state().key.as_mut().unwrap().rotation = false;
    fake.state().trail.as_mut().unwrap()["IsLogging"] = json!(false);
    let mut fields = everything();
    fields["exemptions"] = json!([{"control": "kms-key", "until": "2999-01-01"}]);
    fields["mode"] = json!("observe");
    fake.register(fields);
    let report = fake.remediate(json!({"bucket": BUCKET})).await.unwrap();
    assert_eq!(findings(&report), ["kms-key: exempt", "trail: would-restore"]);
    assert_eq!(fake.writes(), Vec::<String>::new());
}

fn message(body: Value) -> Value {
    json!({"messageId": body.to_string(), "body": body.to_string()})
}

#[tokio::test]
async fn what_many_buckets_lean_on_is_restored_once_for_all_of_them() {
    let fake = compliant().await;
    for n in 1..10 {
        guard_another(&fake, &format!("acme-{n}"), json!({"trail_arn": TRAIL, "log_bucket": "acme-data-logs"}));
    }
    sweep(&fake, json!({})).await.unwrap();
    let swept: Vec<_> = fake.state().queued.iter().map(|it| message(serde_json::from_str(it).unwrap())).collect();
    assert_eq!(swept.len(), 12, "ten buckets, a key and a trail");
    fake.state().trail.as_mut().unwrap()["IsLogging"] = json!(false);
    fake.state().key.as_mut().unwrap().state = "Disabled".to_owned();
    fake.forget();
    for batch in swept.chunks(10) {
        fake.remediate(json!({ "Records": batch })).await.unwrap();
    }
    let of_trails_and_keys = |it: &String| ["EnableKey", "PutEventSelectors", "StartLogging"].contains(&it.as_str());
    let writes: Vec<_> = fake.writes().into_iter().filter(of_trails_and_keys).collect();
    assert_eq!(writes, ["EnableKey", "PutEventSelectors", "StartLogging"], "the selectors of all ten at once");
    let alerts = fake.alerts();
    let of = |subject: &str| {
        let mut alerts = alerts.iter().filter(|it| it["subject"].as_str().is_some_and(|it| it.starts_with(subject)));
        let alert = alerts.next().unwrap_or_else(|| panic!("nothing of {subject}"));
        assert!(alerts.next().is_none(), "one message of {subject}");
        alert.clone()
    };
    for subject in ["key:", "trail:"] {
        let alert = of(subject);
        assert_eq!((&alert["outcome"], &alert["missed_event"]), (&json!("restored"), &json!(true)), "{alert}");
        assert_eq!(alert["buckets"].as_array().unwrap().len(), 10);
    }
    let published = fake.state().published.clone();
    let told = published.iter().find(|it| it["Message"].contains("key:arn")).unwrap();
    assert!(told["Subject"].contains("acme-1 and 9 more"), "{told:?}");
    let selectors = fake.state().trail.as_ref().unwrap().to_string();
    assert!((1..10).all(|n| selectors.contains(&format!("arn:aws:s3:::acme-{n}/"))), "{selectors}");
}

#[tokio::test]
async fn swept_buckets_lean_on_keys_and_trails_that_are_swept_by_themselves() {
    let fake = compliant().await;
    let batch = json!({"Records": [message(json!({"bucket": BUCKET})), message(json!({"bucket": "acme-other"}))]});
    fake.forget();
    fake.remediate(batch).await.unwrap();
    let reads = fake.reads();
    let of = |names: &[&str]| reads.iter().filter(|it| names.contains(&it.as_str())).count();
    assert_eq!(of(&["GetParameters"]), 1, "{reads:?}");
    assert_eq!(of(&["GetParameter", "GetKeyPolicy", "DescribeKey", "GetTrail", "GetTrailStatus"]), 0, "{reads:?}");
}

pub(crate) async fn sweep(fake: &FakeAws, input: Value) -> Result<Value, String> {
    guardrail::work::sweep::sweep(&fake.guardrail(), input)
        .await
        .map_err(|error| guardrail_core::value::failure::chain(&error))
}

/// All rules as they are deployed.
pub(crate) fn deployed(fake: &FakeAws) {
    fake.deploy_rules();
}

#[tokio::test]
async fn every_registered_bucket_gets_one_message() {
    for buckets in [0, 1, 9, 10, 11, 37] {
        let fake = FakeAws::default();
        for n in 0..buckets {
            guard_another(&fake, &format!("bucket-{n:03}"), json!({}));
        }
        let _ = sweep(&fake, json!({})).await;
        let sent = fake.state().queued.clone();
        let bodies = (0..buckets).map(|n| json!({"bucket": format!("bucket-{n:03}")}));
        let key = (buckets > 0).then(|| json!({ "key": KEY }));
        assert_eq!(
            sent,
            bodies.chain(key).map(|it| it.to_string()).collect::<Vec<_>>(),
            "and what all of them use, once"
        );
    }
}

#[tokio::test]
async fn tampering_with_a_rule_is_undone_and_told_with_its_actor() {
    type Harm = fn(&mut (Value, Vec<Value>));
    let harms: [(&str, Harm, &[&str]); 5] = [
        (
            "PutTargets",
            |it| it.1.push(json!({"Id": "2", "Arn": it.1[0]["Arn"], "Input": "{\"detail\":{}}"})),
            &["RemoveTargets"],
        ),
        ("DisableRule", |it| it.0["State"] = json!("DISABLED"), &["EnableRule"]),
        ("PutRule", |it| it.0["EventPattern"] = json!("{\"source\":[\"nothing\"]}"), &["PutRule"]),
        ("RemoveTargets", |it| it.1.clear(), &["PutTargets"]),
        ("PutTargets", |it| it.1[0]["Input"] = json!("{}"), &["PutTargets"]),
    ];
    for (name, harm, calls) in harms {
        let fake = FakeAws::guarded();
        deployed(&fake);
        harm(fake.state().rules.get_mut("s3-guardrail-bucket-changed").unwrap());
        let parameter = if name.ends_with("Targets") { "rule" } else { "name" };
        let event = call("events", name, json!({parameter: "s3-guardrail-bucket-changed"}));
        let answer = fake.remediate(event).await.unwrap();
        assert_eq!((&answer["outcome"], &answer["findings"][0]["outcome"]), (&json!("tampered"), &json!("restored")));
        assert_eq!(fake.writes(), calls);
        let alert = fake.alerts().remove(0);
        assert_eq!(alert["severity"], "CRITICAL");
        assert!(alert["trigger"]["actor"].as_str().unwrap().ends_with("user/mallory"));
        let subject = fake.state().published[0]["Subject"].clone();
        assert_eq!(
            subject,
            format!("[TAMPERED] s3-guardrail: {name} on rule s3-guardrail-bucket-changed by user/mallory, undone")
        );
        fake.forget();
        let event = call("events", name, json!({parameter: "s3-guardrail-bucket-changed"}));
        assert_eq!(fake.remediate(event).await.unwrap()["findings"], json!([]), "it is whole again");
    }
}

#[tokio::test]
async fn a_key_that_a_bucket_had_before_stays_usable_until_a_person_takes_it_out() {
    type Harm = fn(&mut FakeKey);
    let harms: [(&str, Harm, &[&str]); 2] = [
        ("DisableKey", |it| it.state = "Disabled".to_owned(), &["EnableKey"]),
        ("ScheduleKeyDeletion", |it| it.state = "PendingDeletion".to_owned(), &["CancelKeyDeletion", "EnableKey"]),
    ];
    for (name, harm, calls) in harms {
        for swept in [false, true] {
            let fake = compliant().await;
            let mut fields = everything();
            fields["former_keys"] = json!([FORMER_KEY]);
            fake.register(fields);
            // It need not rotate, nor have an alias, nor let the services in.
            let alone = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")}, "Action": "kms:*", "Resource": "*"}]});
            let former = FakeKey { rotation: false, policy: alone.to_string(), ..FakeKey::good() };
            fake.state().former_key = Some(former.clone());
            assert_eq!(fake.remediate(json!({"bucket": BUCKET})).await.unwrap()["outcome"], "compliant");
            harm(fake.state().former_key.as_mut().unwrap());
            let input = match swept {
                false => call("kms", name, json!({"keyId": FORMER_KEY.rsplit('/').next().unwrap()})),
                true => json!({"Records": [message(json!({ "key": FORMER_KEY }))]}),
            };
            fake.remediate(input).await.unwrap();
            assert_eq!(fake.writes(), calls, "{name}");
            assert_eq!(fake.state().former_key, Some(former));
            let alert = fake.alerts().remove(0);
            assert_eq!(findings(&alert), ["kms-key: restored"]);
            assert!(fake.state().published[0]["Message"].contains(FORMER_KEY), "people read which key it was");
            // Taken out, it is nobody's.
            fake.register(everything());
            fake.forget();
            fake.state().former_key.as_mut().unwrap().state = "Disabled".to_owned();
            fake.remediate(call("kms", name, json!({"keyId": FORMER_KEY}))).await.unwrap();
            assert_eq!((fake.writes(), fake.alerts().len()), (vec![], 0));
        }
    }
}

#[tokio::test]
async fn a_registry_document_that_is_deleted_or_broken_is_told_with_the_command_that_puts_it_back() {
    let name = format!("/s3-guardrail/buckets/{BUCKET}");
    for (event, document, said) in [
        ("DeleteParameter", None, "is no longer registered, so nothing restores it"),
        ("DeleteParameters", None, "is no longer registered, so nothing restores it"),
        (
            "PutParameter",
            Some(json!({"bucket": BUCKET, "account": ACCOUNT, "key_arn": KEY, "mod": "enforce"}).to_string()),
            "unknown field `mod`",
        ),
        ("PutParameter", Some(format!("{{\"bucket\": \"{BUCKET}\"")), "until it is mended the bucket is not guarded"),
    ] {
        let fake = FakeAws::guarded();
        deployed(&fake);
        match document {
            Some(document) => fake.register_text(&document),
            None => drop(fake.state().parameters.remove(&name)),
        }
        let parameters = if event.ends_with('s') { json!({"names": [name]}) } else { json!({"name": name}) };
        let answer = fake.remediate(call("ssm", event, parameters)).await.unwrap();
        assert_eq!(answer["findings"][0]["part"], format!("registry document of {BUCKET}"));
        let alert = fake.alerts().remove(0);
        assert_eq!((&alert["severity"], &alert["trigger"]["event_name"]), (&json!("CRITICAL"), &json!(event)));
        let mail = fake.state().published[0]["Message"].clone();
        assert!(mail.contains(said) && mail.contains(&format!("guardrail restore-registration {BUCKET}")), "{mail}");
        assert!(!mail.contains("it puts every part back"), "{mail}");
    }
}

#[tokio::test]
async fn the_last_valid_document_is_kept_whoever_wrote_it_and_one_that_is_gone_is_told_once() {
    let name = format!("/s3-guardrail/buckets/{BUCKET}");
    let copy = format!("/s3-guardrail/copies/{BUCKET}");
    let kept = |fake: &FakeAws| {
        let copy: Value = serde_json::from_str(fake.state().parameters.get(&copy)?).ok()?;
        copy["registration"]["lifecycle"]["noncurrent_days"].as_u64()
    };
    let fake = compliant().await;
    deployed(&fake);
    let mut own = call("ssm", "PutParameter", json!({"name": name}));
    own["detail"]["userIdentity"]["arn"] =
        json!(format!("arn:aws:sts::{ACCOUNT}:assumed-role/s3-guardrail-bootstrap-eu-west-2/x"));
    fake.remediate(own).await.unwrap();
    assert_eq!((kept(&fake), fake.alerts().len()), (Some(30), 0));
    let mut fields = everything();
    fields["lifecycle"] = json!({"noncurrent_days": 44});
    fake.register(fields);
    assert_eq!(sweep(&fake, json!({})).await.unwrap()["guardrail"], json!(null));
    assert_eq!(kept(&fake), Some(44), "the sweep keeps what no event told of");
    fake.register_text("{");
    sweep(&fake, json!({})).await.unwrap();
    assert_eq!(kept(&fake), Some(44), "a broken one takes nobody's place");

    fake.state().parameters.remove(&name);
    fake.forget();
    let found = sweep(&fake, json!({})).await.unwrap()["guardrail"]["findings"].clone();
    assert!(found[0]["problem"].as_str().unwrap().contains("restore-registration acme-data"), "{found}");
    assert_eq!(sweep(&fake, json!({})).await.unwrap()["guardrail"], json!(null), "once");
    assert_eq!((kept(&fake), fake.alerts().len()), (Some(44), 1));
    // And again, should it come and go.
    fake.register(everything());
    sweep(&fake, json!({})).await.unwrap();
    fake.state().parameters.remove(&name);
    assert_ne!(sweep(&fake, json!({})).await.unwrap()["guardrail"], json!(null));
}

#[tokio::test]
async fn whoever_touches_what_stands_beside_the_functions_is_told_and_nobody_elses_is() {
    let mapping =
        |function: &str| json!({"functionArn": format!("arn:aws:lambda:eu-west-2:{ACCOUNT}:function:{function}")});
    for (source, name, parameters, answer, part) in [
        (
            "logs",
            "DeleteLogGroup",
            json!({"logGroupName": "/aws/lambda/guardrail-verify"}),
            json!(null),
            Some("log group /aws/lambda/guardrail-verify"),
        ),
        (
            "logs",
            "PutDataProtectionPolicy",
            json!({"logGroupIdentifier": format!("arn:aws:logs:eu-west-2:{ACCOUNT}:log-group:/aws/lambda/guardrail-sweep")}),
            json!(null),
            Some("log group /aws/lambda/guardrail-sweep"),
        ),
        ("logs", "DeleteLogGroup", json!({"logGroupName": "/aws/lambda/guardrail-of-others"}), json!(null), None),
        (
            "monitoring",
            "DeleteAlarms",
            json!({"alarmNames": ["theirs", "s3-guardrail-no-sweep"]}),
            json!(null),
            Some("alarm s3-guardrail-no-sweep"),
        ),
        (
            "monitoring",
            "PutMetricAlarm",
            json!({"alarmName": "s3-guardrail-failures"}),
            json!(null),
            Some("alarm s3-guardrail-failures"),
        ),
        ("monitoring", "DisableAlarmActions", json!({"alarmNames": ["theirs"]}), json!(null), None),
        (
            "lambda",
            "AddPermission20150331v2",
            json!({"functionName": "guardrail-sweep"}),
            json!(null),
            Some("function guardrail-sweep"),
        ),
        (
            "lambda",
            "UpdateEventSourceMapping20150331",
            json!({"uUID": "1-2"}),
            mapping("guardrail-remediate"),
            Some("function guardrail-remediate"),
        ),
        ("lambda", "DeleteEventSourceMapping20150331", json!({"uUID": "1-2"}), mapping("theirs"), None),
        (
            "lambda",
            "CreateEventSourceMapping20150331",
            json!({"functionName": format!("arn:aws:lambda:eu-west-2:{ACCOUNT}:function:guardrail-remediate")}),
            mapping("guardrail-remediate"),
            Some("function guardrail-remediate"),
        ),
        (
            "events",
            "PutRule",
            json!({"name": "s3-guardrail-sweeper"}),
            json!(null),
            Some("rule s3-guardrail-sweeper, which is none of the guardrail's"),
        ),
        ("events", "PutTargets", json!({"rule": "s3-guardrail-roles-tampered-eu-west-1"}), json!(null), None),
        (
            "dynamodb",
            "UpdateContinuousBackups",
            json!({"tableName": "s3-guardrail-ledger"}),
            json!(null),
            Some("table s3-guardrail-ledger"),
        ),
        (
            "dynamodb",
            "PutResourcePolicy",
            json!({"resourceArn": format!("arn:aws:dynamodb:eu-west-2:{ACCOUNT}:table/s3-guardrail-ledger")}),
            json!(null),
            Some("table s3-guardrail-ledger"),
        ),
        (
            "dynamodb",
            "UpdateTable",
            json!({"billingMode": "PROVISIONED"}),
            json!({"tableDescription": {"tableName": "s3-guardrail-ledger"}}),
            Some("table s3-guardrail-ledger"),
        ),
        ("dynamodb", "DeleteTable", json!({"tableName": "theirs"}), json!(null), None),
    ] {
        let fake = FakeAws::guarded();
        deployed(&fake);
        let mut event = call(source, name, parameters);
        event["detail"]["responseElements"] = answer;
        let report = fake.remediate(event).await.unwrap();
        assert_eq!(report["part"], json!(part), "{name}: {report}");
        let alerts: Vec<_> = fake.alerts().iter().map(|it| (it["severity"].clone(), it["outcome"].clone())).collect();
        let told = part.map(|_| (json!("CRITICAL"), json!("tampered")));
        assert_eq!(alerts, Vec::from_iter(told), "{name}");
    }
}

/// The guardrail with its own key, as deployed.
pub(crate) async fn with_own_key() -> FakeAws {
    let fake = compliant().await;
    deployed(&fake);
    fake.state().own_key =
        Some(FakeKey { aliases: [("alias/s3-guardrail".to_owned(), OWN_KEY.to_owned())].into(), ..FakeKey::good() });
    // The fake's policy has none of its own statements.
    let _ = sweep(&fake, json!({})).await;
    assert_eq!(sweep(&fake, json!({})).await.unwrap()["guardrail"], json!(null));
    fake.forget();
    fake
}

#[tokio::test]
async fn whatever_is_done_to_the_guardrails_own_key_is_undone_first_and_then_told() {
    type Harm = fn(&mut FakeKey);
    let id = OWN_KEY.rsplit('/').next().unwrap();
    let harms: [(&str, Value, Harm, &[&str]); 6] = [
        ("DisableKey", json!({"keyId": OWN_KEY}), |it| it.state = "Disabled".to_owned(), &["EnableKey"]),
        (
            "ScheduleKeyDeletion",
            json!({"keyId": id, "pendingWindowInDays": 7}),
            |it| {
                it.state = "PendingDeletion".to_owned();
                it.rotation = false;
            },
            &["CancelKeyDeletion", "EnableKey", "EnableKeyRotation"],
        ),
        ("DisableKeyRotation", json!({"keyId": id}), |it| it.rotation = false, &["EnableKeyRotation"]),
        (
            "PutKeyPolicy",
            json!({"keyId": id}),
            |it| it.policy = it.policy.replace("cloudwatch.amazonaws.com", "nothing.amazonaws.com"),
            &["PutKeyPolicy"],
        ),
        ("DeleteAlias", json!({"aliasName": "alias/s3-guardrail"}), |it| it.aliases.clear(), &["CreateAlias"]),
        (
            "UpdateAlias",
            json!({"aliasName": "alias/s3-guardrail", "targetKeyId": KEY}),
            |it| drop(it.aliases.insert("alias/s3-guardrail".to_owned(), KEY.to_owned())),
            &["UpdateAlias"],
        ),
    ];
    for (name, parameters, harm, calls) in harms {
        for swept in [false, true] {
            let fake = with_own_key().await;
            let before = fake.state().own_key.clone();
            harm(fake.state().own_key.as_mut().unwrap());
            let answer = match swept {
                false => fake.remediate(call("kms", name, parameters.clone())).await.unwrap(),
                true => sweep(&fake, json!({})).await.unwrap()["guardrail"].clone(),
            };
            let outcome = if swept { "broken" } else { "tampered" };
            assert_eq!((&answer["outcome"], &answer["notified"]), (&json!(outcome), &json!(true)), "{name}: {answer}");
            assert_eq!(answer["findings"].as_array().unwrap().len(), 1, "{answer}");
            assert_eq!(
                (&answer["findings"][0]["part"], &answer["findings"][0]["outcome"]),
                (&json!("key alias/s3-guardrail"), &json!("restored"))
            );
            // A sweep also writes whose keys are whose.
            let writes: Vec<_> = fake.writes().into_iter().filter(|it| it != "PutParameter").collect();
            assert_eq!(writes, calls, "{name}");
            if name != "PutKeyPolicy" {
                assert_eq!(fake.state().own_key, before);
            }
            let alert = fake.alerts().remove(0);
            assert_eq!(alert["severity"], "CRITICAL");
            assert!(swept || alert["trigger"]["actor"].as_str().unwrap().ends_with("user/mallory"));
        }
    }
}

#[tokio::test]
async fn a_denied_attempt_on_the_own_key_is_told_and_an_own_key_that_cannot_be_mended_fails_aloud() {
    let fake = with_own_key().await;
    let mut denied = call("kms", "ScheduleKeyDeletion", json!(null));
    denied["detail"]["errorCode"] = json!("AccessDenied");
    denied["detail"]["errorMessage"] =
        json!(format!("User: x is not authorized to perform: kms:ScheduleKeyDeletion on resource: {OWN_KEY} because"));
    let answer = fake.remediate(denied).await.unwrap();
    assert_eq!((&answer["outcome"], fake.alerts().len()), (&json!("attempted"), 1));
    fake.fail("EnableKey", usize::MAX, FaultKind::Answer(400, "AccessDeniedException"));
    fake.state().own_key.as_mut().unwrap().state = "Disabled".to_owned();
    assert!(fake.remediate(call("kms", "DisableKey", json!({"keyId": OWN_KEY}))).await.is_err());
    let error = sweep(&fake, json!({})).await.unwrap_err();
    assert!(error.contains("people could not be told"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_own_key_that_stays_disabled_whatever_kms_says_is_not_called_put_back() {
    let fake = with_own_key().await;
    for _ in 0..20 {
        // Somebody disables it again and again.
        fake.before("DescribeKey", |it| it.own_key.as_mut().unwrap().state = "Disabled".to_owned());
    }
    let answer = sweep(&fake, json!({})).await.unwrap();
    let finding = &answer["guardrail"]["findings"][0];
    assert_eq!((&finding["part"], &finding["outcome"]), (&json!("key alias/s3-guardrail"), &json!("failed")));
    assert!(finding["problem"].as_str().unwrap().contains("KMS took every call"), "{finding}");
}

#[tokio::test]
async fn a_sweep_that_is_slowed_down_gets_its_pace_back_and_people_hear_of_it() {
    for (expression, enabled) in [("rate(30 days)", "ENABLED"), ("cron(0 0 29 2 ? *)", "DISABLED")] {
        let fake = FakeAws::guarded();
        deployed(&fake);
        let rule = json!({"Name": "s3-guardrail-sweep", "State": enabled, "ScheduleExpression": expression});
        fake.state().rules.get_mut("s3-guardrail-sweep").unwrap().0 = rule;
        let event = call("events", "PutRule", json!({"name": "s3-guardrail-sweep"}));
        let answer = fake.remediate(event.clone()).await.unwrap();
        assert_eq!((&answer["outcome"], fake.writes()), (&json!("tampered"), vec!["PutRule".to_owned()]));
        let alert = fake.alerts().remove(0);
        assert_eq!(
            (&alert["severity"], &alert["findings"][0]["part"]),
            (&json!("CRITICAL"), &json!("rule s3-guardrail-sweep"))
        );
        let rule = fake.state().rules["s3-guardrail-sweep"].0.clone();
        assert_eq!((&rule["ScheduleExpression"], &rule["State"]), (&json!("rate(15 minutes)"), &json!("ENABLED")));
        assert_eq!(fake.remediate(event).await.unwrap()["findings"], json!([]), "it is whole again");
    }
}

#[tokio::test]
async fn the_sweep_tells_of_a_permission_by_which_a_strangers_rule_could_make_up_events() {
    let fake = FakeAws::guarded();
    deployed(&fake);
    let _ = sweep(&fake, json!({})).await;
    fake.forget();
    let rules = format!("arn:aws:events:eu-west-2:{ACCOUNT}:rule/s3-*");
    fake.state().permissions.push(json!({"Sid": "theirs", "Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "lambda:InvokeFunction", "Condition": {"ArnLike": {"AWS:SourceArn": rules}}}));
    sweep(&fake, json!({})).await.unwrap();
    let alerts = fake.alerts();
    let problem =
        alerts[0]["findings"].as_array().unwrap().iter().find(|it| it["part"] == "function guardrail-remediate");
    assert!(problem.unwrap()["problem"].as_str().unwrap().contains("remove the statement theirs"), "{alerts:?}");
}

#[tokio::test]
async fn what_keeps_events_from_arriving_is_told_by_the_sweep() {
    let sqs = |name: &str| format!("arn:aws:sqs:eu-west-2:{ACCOUNT}:{name}");
    let mapping = |name: &str, state: &str| json!({"EventSourceArn": sqs(name), "State": state});
    let (events, work) = ("s3-guardrail-events", "s3-guardrail-work");
    let anybody = json!({"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": "*"}]});
    for (mappings, policy, found) in [
        (vec![mapping(events, "Enabled"), mapping(work, "Updating")], None, &[][..]),
        (
            vec![mapping(events, "Disabled"), mapping(work, "Enabled")],
            None,
            &["queue s3-guardrail-events: nothing hands"],
        ),
        (vec![mapping(events, "Enabled")], None, &["queue s3-guardrail-work: nothing hands"]),
        (
            vec![mapping(events, "Enabled"), mapping(work, "Enabled"), mapping("theirs", "Enabled")],
            None,
            &["function guardrail-remediate: it takes events from arn:aws:sqs:eu-west-2:111122223333:theirs"],
        ),
        (
            vec![mapping(events, "Enabled"), mapping(work, "Enabled")],
            Some(anybody),
            &["queue s3-guardrail-events: its policy is not ours", "queue s3-guardrail-work: its policy is not ours"],
        ),
    ] {
        let fake = FakeAws::guarded();
        deployed(&fake);
        fake.state().mappings = Some(mappings);
        fake.state().queue_policy = policy;
        let answer = sweep(&fake, json!({})).await.unwrap();
        let findings = answer["guardrail"]["findings"].as_array().cloned().unwrap_or_default();
        let line = |it: &Value| format!("{}: {}", it["part"].as_str().unwrap(), it["problem"].as_str().unwrap());
        let lines: Vec<_> =
            findings.iter().map(line).filter(|it| it.contains("queue") || it.contains("events")).collect();
        assert_eq!(lines.len(), found.len(), "{lines:?}");
        assert!(lines.iter().zip(found).all(|(line, part)| line.starts_with(part)), "{lines:?}");
    }
}

#[tokio::test]
async fn a_deleted_rule_is_made_again() {
    let fake = FakeAws::guarded();
    deployed(&fake);
    fake.state().rules.remove("s3-guardrail-key-changed");
    fake.remediate(call("events", "DeleteRule", json!({"name": "s3-guardrail-key-changed"}))).await.unwrap();
    assert_eq!(fake.writes(), ["PutRule", "PutTargets"]);
    fake.forget();
    fake.remediate(call("events", "DeleteRule", json!({"name": "s3-guardrail-key-changed"}))).await.unwrap();
    assert_eq!(fake.writes(), Vec::<String>::new(), "what was made is what should be");
}

#[tokio::test]
async fn what_cloudformation_has_at_hand_or_yet_to_create_is_left_to_it_and_said() {
    const RULE: &str = "s3-guardrail-key-changed";
    let event = call("events", "DeleteRule", json!({"name": RULE}));
    let statuses = |status: Option<&str>| Some(status.into_iter().map(|it| (RULE.to_owned(), it.to_owned())).collect());
    for (stack, said) in [
        (statuses(None), "the stack s3-guardrail-wiring does not have it: infra/deploy.sh creates it"),
        (statuses(Some("CREATE_IN_PROGRESS")), "CloudFormation is at work on it"),
        (statuses(Some("UPDATE_IN_PROGRESS")), "CloudFormation is at work on it"),
        (statuses(Some("DELETE_IN_PROGRESS")), "CloudFormation is at work on it"),
        (statuses(Some("DELETE_COMPLETE")), "does not have it"),
    ] {
        let fake = FakeAws::guarded();
        deployed(&fake);
        fake.state().rules.remove(RULE);
        fake.state().stack = stack;
        let answer = fake.remediate(event.clone()).await.unwrap();
        assert_eq!(answer["findings"][0]["outcome"], "broken", "{answer}");
        assert!(answer["findings"][0]["problem"].as_str().unwrap().contains(said), "{answer}");
        assert_eq!(fake.writes(), Vec::<String>::new(), "{said}");
        assert!(fake.state().published[0]["Message"].contains(said), "people read why it is left");
        // A rule that is being deleted must not get its targets back.
        deployed(&fake);
        fake.state().rules.get_mut(RULE).unwrap().1.clear();
        fake.forget();
        fake.remediate(event.clone()).await.unwrap();
        let left = said.starts_with("CloudFormation");
        assert_eq!(fake.writes(), if left { vec![] } else { vec!["PutTargets"] }, "{said}");
    }
}

#[tokio::test]
async fn while_nobody_knows_whether_a_stack_has_a_rule_it_is_not_put_back() {
    let fake = FakeAws::guarded();
    deployed(&fake);
    fake.state().rules.remove("s3-guardrail-key-changed");
    fake.state().rules.get_mut("s3-guardrail-bucket-changed").unwrap().0["State"] = json!("DISABLED");
    fake.fail("DescribeStackResources", usize::MAX, FaultKind::Answer(403, "AccessDenied"));
    let error = fake.remediate(call("events", "DeleteRule", json!({"name": "s3-guardrail-key-changed"}))).await;
    let error = error.unwrap_err();
    assert!(error.contains("it does not exist, and is not put back") && error.contains("AccessDenied"), "{error}");
    assert_eq!(fake.writes(), ["EnableRule"], "what exists is in no stack's way");
    assert_eq!(fake.alerts()[0]["severity"], "CRITICAL");
}

#[tokio::test]
async fn what_is_not_about_the_guardrail_or_is_its_own_doing_is_left_alone() {
    let fake = FakeAws::guarded();
    deployed(&fake);
    let mut own = call("ssm", "PutParameter", json!({"name": "/s3-guardrail/buckets/new"}));
    own["detail"]["userIdentity"]["arn"] =
        json!(format!("arn:aws:sts::{ACCOUNT}:assumed-role/s3-guardrail-bootstrap-eu-west-2/x"));
    for event in [
        own,
        call("events", "DisableRule", json!({"name": "somebody-elses"})),
        call("lambda", "UpdateFunctionCode20150331v2", json!({"functionName": "other"})),
    ] {
        let answer = fake.remediate(event).await.unwrap();
        assert_eq!((&answer["outcome"], &answer["notified"]), (&json!("unguarded"), &json!(false)));
    }
    assert_eq!(fake.state().calls, ["GetParameter"], "to keep a copy of what our own function wrote");
}

#[tokio::test]
async fn a_denied_attempt_is_told_even_when_aws_does_not_say_what_it_was_aimed_at() {
    for (message, part) in [
        (
            "User: arn:aws:iam::111122223333:user/mallory is not authorized to perform: events:DisableRule on resource: arn:aws:events:eu-west-2:111122223333:rule/s3-guardrail-bucket-changed because no identity-based policy allows it",
            json!("rule s3-guardrail-bucket-changed"),
        ),
        ("no", json!(null)),
        (
            "User: arn:aws:iam::111122223333:user/mallory is not authorized to perform: iam:DeleteRole on resource: role s3-guardrail-sweep-eu-west-2 because no identity-based policy allows it",
            json!("role s3-guardrail-sweep-eu-west-2"),
        ),
    ] {
        let fake = FakeAws::guarded();
        let (source, name) =
            if message.contains("perform: iam:") { ("iam", "DeleteRole") } else { ("events", "DisableRule") };
        let mut event = call(source, name, json!(null));
        event["detail"]["errorCode"] = json!("AccessDenied");
        event["detail"]["errorMessage"] = json!(message);
        let answer = fake.remediate(event).await.unwrap();
        assert_eq!((&answer["outcome"], &answer["part"]), (&json!("attempted"), &part));
        assert_eq!((fake.writes(), &fake.alerts()[0]["severity"]), (vec![], &json!("WARNING")));
    }
}

#[tokio::test]
async fn a_denied_attempt_on_somebody_elses_role_is_not_told() {
    let fake = FakeAws::guarded();
    let mut event = call("iam", "DeleteRole", json!(null));
    event["detail"]["errorCode"] = json!("AccessDenied");
    event["detail"]["errorMessage"] =
        json!("not authorized to perform: iam:DeleteRole on resource: role theirs because");
    expect![[r#"
        reads  nothing
        writes nothing
        answer unguarded
    "#]]
    .assert_eq(&fake.transcript(event).await);
}

#[tokio::test]
async fn a_denied_attempt_on_a_guarded_trail_is_told_and_one_on_another_is_not() {
    let fake = compliant().await;
    // It is not worth a walk through the registry; the index is from a sweep.
    let _ = sweep(&fake, json!({})).await;
    let mut event = call("cloudtrail", "StopLogging", json!(null));
    event["detail"]["errorCode"] = json!("AccessDenied");
    for (trail, alerts) in [(TRAIL.to_owned(), 1), (format!("{TRAIL}-other"), 0)] {
        fake.forget();
        event["detail"]["errorMessage"] = json!(format!(
            "User: x is not authorized to perform: cloudtrail:StopLogging on resource: {trail} with an explicit deny"
        ));
        fake.remediate(event.clone()).await.unwrap();
        assert_eq!(fake.alerts().len(), alerts);
    }
}

#[tokio::test]
async fn what_the_account_enforces_is_recognised_and_not_fought() {
    for account_blocks in [true, false] {
        let fake = compliant().await;
        fake.set("publicAccessBlock", None);
        fake.set("versioning", None);
        fake.state().account_blocks = account_blocks;
        fake.fail("PutPublicAccessBlock", usize::MAX, FaultKind::Answer(403, "AccessDenied"));
        let answer = fake.remediate(json!({"bucket": BUCKET})).await;
        let alert = fake.alerts().remove(0);
        let outcome = if account_blocks { "exempt" } else { "failed" };
        assert_eq!(findings(&alert), [format!("public-access-block: {outcome}"), "versioning: restored".to_owned()]);
        assert_eq!(answer.is_ok(), account_blocks, "{answer:?}");
    }
}

#[tokio::test]
async fn a_lockout_says_which_policy_and_what_the_way_out_is() {
    let fake = compliant().await;
    fake.set("versioning", None);
    let message =
        "User: x is not authorized to perform: s3:GetBucketPolicy with an explicit deny in a resource-based policy";
    fake.fail("GetBucketPolicy", usize::MAX, FaultKind::Denied(message));
    fake.remediate(json!({"bucket": BUCKET})).await.unwrap_err();
    let alert = fake.alerts().remove(0);
    assert_eq!(findings(&alert), ["bucket-policy: unreadable", "versioning: restored"], "the others are restored");
    assert_eq!(alert["findings"][0]["denied_by"], "resource-policy");
    let mail = fake.state().published[0]["Message"].clone();
    assert!(mail.contains("S3UnlockBucketPolicy") && mail.contains("root user"), "{mail}");
}

#[tokio::test]
async fn an_alias_that_is_moved_onto_the_guardrails_own_key_is_moved_back_at_once() {
    let fake = with_own_key().await;
    fake.state().key.as_mut().unwrap().aliases.insert(ALIAS.to_owned(), OWN_KEY.to_owned());
    let event = call("kms", "UpdateAlias", json!({"aliasName": ALIAS, "targetKeyId": OWN_KEY}));
    fake.remediate(event).await.unwrap();
    assert_eq!(fake.state().key.as_ref().unwrap().aliases[ALIAS], KEY);
    let told = fake.alerts();
    assert!(told.iter().any(|it| it["bucket"] == BUCKET && findings(it) == ["kms-key: restored"]), "{told:?}");
}

#[tokio::test]
async fn a_lost_document_of_which_people_could_not_be_told_is_told_by_the_next_sweep() {
    let fake = compliant().await;
    deployed(&fake);
    sweep(&fake, json!({})).await.unwrap();
    fake.state().parameters.remove(&format!("/s3-guardrail/buckets/{BUCKET}"));
    fake.fail("Publish", 99, FaultKind::Answer(403, "AuthorizationError"));
    sweep(&fake, json!({})).await.unwrap_err();
    fake.state().heal();
    // Nor does it matter that no copy can be written.
    fake.fail("PutParameter", 99, FaultKind::Answer(400, "AccessDeniedException"));
    fake.forget();
    let found = sweep(&fake, json!({})).await.unwrap()["guardrail"]["findings"].clone();
    assert!(found[0]["problem"].as_str().unwrap().contains("restore-registration acme-data"), "{found}");
    assert_eq!(fake.alerts().len(), 1);
}

#[tokio::test]
async fn who_asks_for_the_guardrail_itself_gets_back_what_can_be_put_back() {
    let fake = with_own_key().await;
    fake.deploy_rules();
    let asked = json!({"guardrail": true});
    assert_eq!(fake.remediate(asked.clone()).await.unwrap()["outcome"], "whole");
    fake.state().rules.get_mut("s3-guardrail-bucket-changed").unwrap().0["State"] = json!("DISABLED");
    fake.forget();
    let answer = fake.remediate(asked).await.unwrap();
    assert_eq!((&answer["outcome"], &answer["findings"][0]["outcome"]), (&json!("broken"), &json!("restored")));
    assert_eq!((fake.writes(), fake.alerts().len()), (vec!["EnableRule".to_owned()], 1));
    // What its role may not read is the sweep's to look at.
    assert!(
        !fake.reads().iter().any(|it| ["GetPolicy", "GetQueueAttributes"].contains(&it.as_str())),
        "{:?}",
        fake.reads()
    );
}
