//! Keys and trails as AWS was recorded to answer for them: nothing is misread, nothing of an owner's is lost, and what
//! is restored stays so.

use guardrail_tests::{
    fake::{ACCOUNT, BUCKET, FakeAws, FakeKey, FaultKind, KEY, TRAIL},
    local_aws::workspace,
};
use serde_json::{Map, Value, json};

fn recorded(name: &str) -> Map<String, Value> {
    let text = std::fs::read_to_string(workspace().join(format!("tests/recorded/{name}.json"))).unwrap();
    let mut all: Value = serde_json::from_str(&text).unwrap();
    std::mem::take(all[name].as_object_mut().unwrap())
}

fn guard(fake: &FakeAws, bucket: &str, trail: bool) {
    let mut document = json!({
        "bucket": bucket, "account": ACCOUNT, "key_arn": KEY, "key_alias": "alias/s3-secure-data", "log_bucket": "logs",
    });
    if trail {
        document["trail_arn"] = json!(TRAIL);
    }
    let mut state = fake.state();
    state.parameters.insert(format!("/s3-guardrail/buckets/{bucket}"), document.to_string());
    if bucket != BUCKET {
        state.others.insert(bucket.to_owned(), Default::default());
    }
}

/// What the alert says of each control after one look at everything; empty: there was none.
async fn look(fake: &FakeAws, bucket: &str) -> Vec<(String, String)> {
    fake.forget();
    let _ = fake.remediate(json!({"bucket": bucket})).await;
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    let alerts = fake.alerts();
    let findings = alerts.iter().flat_map(|it| it["findings"].as_array().cloned().unwrap_or_default());
    findings.map(|it| (text(&it["control"]), text(&it["outcome"]))).collect()
}

fn outcome<'a>(findings: &'a [(String, String)], control: &str) -> &'a str {
    findings.iter().find(|it| it.0 == control).map_or("compliant", |it| it.1.as_str())
}

fn statements(policy: &Value) -> Vec<Value> {
    match &policy["Statement"] {
        Value::Array(all) => all.clone(),
        one => vec![one.clone()],
    }
}

/// Without what the order of lists, and lists of one, say.
fn meaning(value: &Value) -> Value {
    match value {
        Value::Array(all) if all.len() == 1 => meaning(&all[0]),
        Value::Array(all) => {
            let mut all: Vec<_> = all.iter().map(meaning).collect();
            all.sort_by_key(ToString::to_string);
            json!(all)
        }
        Value::Object(all) => all.iter().map(|(name, value)| (name.clone(), meaning(value))).collect(),
        other => other.clone(),
    }
}

#[tokio::test(start_paused = true)]
async fn recorded_keys_are_restored_or_told_and_their_owners_statements_stay() {
    let text = |it: &Value, default: &str| it.as_str().unwrap_or(default).to_owned();
    for (name, key) in recorded("keys") {
        let fake = FakeAws::guarded();
        guard(&fake, BUCKET, false);
        let metadata = &key["KeyMetadata"];
        let rotates = key["KeyRotationEnabled"].as_bool();
        let origin = if rotates.is_none() { "EXTERNAL" } else { "AWS_KMS" };
        fake.state().key = Some(FakeKey {
            state: text(&metadata["KeyState"], "Enabled"),
            usage: text(&metadata["KeyUsage"], "ENCRYPT_DECRYPT"),
            spec: text(&metadata["KeySpec"], "SYMMETRIC_DEFAULT"),
            origin: if rotates.is_none() { origin.to_owned() } else { text(&metadata["Origin"], origin) },
            rotation: rotates == Some(true),
            policy: key["Policy"].to_string(),
            ..FakeKey::good()
        });
        if let Some(code) = key["DescribeKey"].as_str() {
            let code = if code == "NotFoundException" { "NotFoundException" } else { "AccessDeniedException" };
            fake.fail("DescribeKey", usize::MAX, FaultKind::Answer(400, code));
        }
        let first = look(&fake, BUCKET).await;
        let again = look(&fake, BUCKET).await;
        let outcomes = |control: &str| (outcome(&first, control).to_owned(), outcome(&again, control).to_owned());

        let unfit = metadata["KeyUsage"].as_str().is_some_and(|it| it != "ENCRYPT_DECRYPT")
            || metadata["KeySpec"].as_str().is_some_and(|it| it != "SYMMETRIC_DEFAULT");
        let expected = match metadata["KeyState"].as_str() {
            // What its policy lacks is known all the same.
            None if key["DescribeKey"] != "NotFoundException" => ("restored", "unreadable"),
            None => ("unreadable", "unreadable"),
            Some("PendingImport") => ("failed", "failed"),
            // What it lacks is added; that it is of no use is said of what would use it.
            Some(_) if unfit => ("failed", "compliant"),
            Some(_) => ("restored", "compliant"),
        };
        assert_eq!(outcomes("kms-key"), (expected.0.to_owned(), expected.1.to_owned()), "{name} {key}");
        let encryption = if unfit { ("failed", "failed") } else { ("restored", "compliant") };
        assert_eq!(outcomes("default-encryption"), (encryption.0.to_owned(), encryption.1.to_owned()), "{name}");

        let after: Value = serde_json::from_str(&fake.state().key.as_ref().unwrap().policy).unwrap();
        let (was, is) = (statements(&key["Policy"]), statements(&after));
        let kept = was.iter().zip(&is).all(|(was, is)| meaning(was) == meaning(is));
        assert!(kept && is.len() >= was.len(), "{name}: {is:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn recorded_trails_serve_many_buckets_and_their_owners_selectors_stay() {
    let bare = |selector: &Value| -> Value {
        let full = |it: &&Value| !it.is_null() && it.as_array().is_none_or(|it| !it.is_empty());
        match selector {
            Value::Object(all) => {
                let all = all.iter().filter(|it| full(&it.1));
                all.map(|(name, value)| (name.clone(), value.clone())).collect()
            }
            other => other.clone(),
        }
    };
    for (name, recorded) in recorded("trails") {
        let fake = FakeAws::guarded();
        guard(&fake, BUCKET, true);
        let mut trail = recorded["Trail"].clone();
        trail["TrailARN"] = json!(TRAIL);
        trail["IsLogging"] = recorded["IsLogging"].clone();
        trail["EnableLogFileValidation"] = trail["LogFileValidationEnabled"].clone();
        for kind in ["EventSelectors", "AdvancedEventSelectors"] {
            trail[kind] = recorded[kind].clone();
        }
        fake.state().trail = Some(trail.clone());
        let buckets: Vec<_> = (1..10).map(|n| format!("b{n}")).collect();
        for bucket in &buckets {
            guard(&fake, bucket, true);
        }
        let first = look(&fake, BUCKET).await;
        assert_eq!(outcome(&first, "trail"), "restored", "{name}");
        let after = fake.state().trail.clone().unwrap();
        assert_eq!(after["S3BucketName"], trail["S3BucketName"]);
        let default = matches!(recorded["EventSelectors"].as_array().map(Vec::as_slice), Some([one])
            if one["ReadWriteType"] == "All" && one["IncludeManagementEvents"] == true && bare(one).as_object().unwrap().len() == 2);
        for kind in ["EventSelectors", "AdvancedEventSelectors"] {
            let all = |it: &Value| it[kind].as_array().into_iter().flatten().map(bare).collect::<Vec<_>>();
            let (was, is) = (all(&trail), all(&after));
            assert!(default || is.starts_with(&was), "{name}: {was:#?} {is:#?}");
        }
        let excludes = |it: &Value| it.to_string().contains("rdsdata.amazonaws.com");
        if excludes(&trail["AdvancedEventSelectors"]) {
            let of_management = |it: &&Value| it.to_string().contains("\"Management\"");
            let selectors = after["AdvancedEventSelectors"].as_array().unwrap();
            assert!(
                selectors.iter().filter(of_management).all(excludes),
                "{name}: nobody wants RDS data events: {after:#}"
            );
        }
        for bucket in buckets.iter().map(String::as_str).chain([BUCKET]) {
            let _ = look(&fake, bucket).await;
            assert_eq!(outcome(&look(&fake, bucket).await, "trail"), "compliant", "{name}: {bucket}");
        }
    }
}
