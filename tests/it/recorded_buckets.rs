//! Buckets as AWS answered for them: what is read, what is written, and the way back.

use std::collections::BTreeMap;

use guardrail::{apply::put_back, clients::Writers, observe::observe};
use guardrail_core::{
    control::table::Control,
    outcome::{
        record::{Entry, Record},
        setting::Setting,
    },
    value::xml::Element,
};
use guardrail_tests::fake::{BUCKET, FakeAws, FaultKind};
use serde_json::{Value, json};

use crate::arbitrary::in_order;

/// What a bucket answered for one of its settings.
struct Recording {
    name: String,
    control: Control,
    subresource: String,
    /// The operation that reads it.
    operation: &'static str,
    status: u16,
    body: String,
    minimum_size: Option<String>,
}

/// Sub-resource, control, read, and the error code that says "absent".
const SUBRESOURCES: [(&str, Control, &str, &str); 8] = [
    ("publicAccessBlock", Control::PublicAccessBlock, "GetPublicAccessBlock", "NoSuchPublicAccessBlockConfiguration"),
    ("ownershipControls", Control::ObjectOwnership, "GetBucketOwnershipControls", "OwnershipControlsNotFoundError"),
    ("acl", Control::ObjectOwnership, "GetBucketAcl", ""),
    ("policy", Control::BucketPolicy, "GetBucketPolicy", "NoSuchBucketPolicy"),
    ("encryption", Control::DefaultEncryption, "GetBucketEncryption", "ServerSideEncryptionConfigurationNotFoundError"),
    ("versioning", Control::Versioning, "GetBucketVersioning", ""),
    ("lifecycle", Control::Lifecycle, "GetBucketLifecycleConfiguration", "NoSuchLifecycleConfiguration"),
    ("inventory", Control::Inventory, "GetBucketInventoryConfiguration", "NoSuchConfiguration"),
];

fn recordings() -> Vec<Recording> {
    let all: Value = serde_json::from_str(include_str!("../recorded/buckets.json")).unwrap();
    let recording = |(name, it): (&String, &Value)| {
        let subresource = it["subresource"].as_str().unwrap();
        let (_, control, operation, _) = SUBRESOURCES.into_iter().find(|it| it.0 == subresource).unwrap();
        Recording {
            name: name.clone(),
            control,
            subresource: subresource.to_owned(),
            operation,
            status: it["status"].as_u64().unwrap().try_into().unwrap(),
            body: it["body"].as_str().unwrap().replace(name, BUCKET),
            minimum_size: it["headers"]["x-amz-transition-default-minimum-object-size"].as_str().map(str::to_owned),
        }
    };
    all["buckets"].as_object().unwrap().iter().map(recording).collect()
}

impl Recording {
    /// The error code that it has.
    fn code(&self) -> Option<String> {
        let error = Element::parse(&self.body).ok().filter(|_| self.status != 200)?;
        error.child_text("Code").map(str::to_owned)
    }

    fn is_absent(&self) -> bool {
        SUBRESOURCES.iter().any(|it| it.0 == self.subresource && self.code().as_deref() == Some(it.3))
    }

    fn is_readable(&self) -> bool {
        self.status == 200 || self.is_absent()
    }

    /// A guarded bucket of which S3 says this.
    fn bucket(&self) -> FakeAws {
        let fake = FakeAws::guarded();
        if self.status == 200 {
            fake.set(&self.subresource, Some(&self.body));
            fake.state().transition_size.clone_from(&self.minimum_size);
        } else {
            let code = Box::leak(self.code().unwrap().into_boxed_str());
            fake.fail(self.operation, usize::MAX, FaultKind::Answer(self.status, code));
        }
        fake
    }
}

async fn settings(fake: &FakeAws) -> BTreeMap<&'static str, Setting> {
    let observed = observe(fake.guardrail().readers(), &BUCKET.parse().unwrap()).await;
    observed.settings().into_iter().map(|(control, it)| (control.id(), it.unwrap())).collect()
}

/// The statements of a policy, or the rules of a lifecycle configuration, in a spelling that is always the same.
fn parts(subresource: &str, document: &str) -> Vec<Value> {
    if subresource == "policy" {
        let policy: Value = serde_json::from_str(document).unwrap();
        return policy["Statement"].as_array().unwrap().iter().map(in_order).collect();
    }
    let rules = Element::parse(document).unwrap().children.into_iter().map(|it| {
        let mut rule = it.to_json();
        // The old form: where the new one has a filter.
        if let Some(prefix) = rule.as_object_mut().unwrap().remove("Prefix") {
            rule["Filter"] = json!({"Prefix": prefix});
        }
        in_order(&rule)
    });
    rules.collect()
}

#[tokio::test]
async fn what_aws_has_answered_is_read_and_what_it_refused_is_unreadable() {
    for recording in recordings() {
        let fake = recording.bucket();
        let report = fake.remediate(json!({"bucket": BUCKET, "dry_run": true})).await;
        let unreadable = |report: &Value, control: Control| {
            let mut findings = report["findings"].as_array().unwrap().iter();
            findings.any(|it| it["control"] == control.id() && it["outcome"] == "unreadable")
        };
        // An unreadable control makes the invocation an error; the alert has been told first.
        let report = report.unwrap_or_else(|_| fake.alerts().pop().unwrap());
        assert_eq!(unreadable(&report, recording.control), !recording.is_readable(), "{}: {report}", recording.name);
        let others = Control::OF_BUCKET.into_iter().filter(|it| *it != recording.control);
        assert_eq!(others.filter(|it| unreadable(&report, *it)).count(), 0, "{}: {report}", recording.name);
    }
}

#[tokio::test]
async fn what_its_owner_wrote_survives_a_restore_after_which_nothing_is_left_to_do() {
    for recording in recordings().iter().filter(|it| it.is_readable()) {
        let (fake, name) = (recording.bucket(), &recording.name);
        fake.state().heal();
        let report = fake.remediate(json!({"bucket": BUCKET})).await.unwrap();
        assert_eq!(report["outcome"], "restored", "{name}: {report}");
        if ["policy", "lifecycle"].contains(&recording.subresource.as_str()) && recording.status == 200 {
            let was = parts(&recording.subresource, &recording.body);
            let is = parts(&recording.subresource, &fake.documents()[&recording.subresource]);
            assert_eq!(is[..was.len()], was, "{name}");
            assert!(is.len() > was.len(), "{name}");
        }
        if recording.subresource == "lifecycle" {
            assert_eq!(fake.state().transition_size, recording.minimum_size, "{name}");
        }
        fake.forget();
        let again = fake.remediate(json!({"bucket": BUCKET})).await.unwrap();
        assert_eq!((&again["outcome"], fake.writes()), (&json!("compliant"), vec![]), "{name}: {again}");
    }
}

#[tokio::test]
async fn a_rollback_brings_back_what_was_there() {
    for recording in recordings().iter().filter(|it| it.is_readable()) {
        let (fake, name) = (recording.bucket(), &recording.name);
        fake.state().heal();
        let before = settings(&fake).await;
        fake.remediate(json!({"bucket": BUCKET})).await.unwrap();
        let record = fake.state().objects.values().next().unwrap().clone();
        let record = Record::parse(&record).unwrap();
        let (writers, now) = (Writers::new(&fake.guardrail(), "s3-guardrail"), settings(&fake).await);
        let bucket = BUCKET.parse().unwrap();
        for entry in record.findings.iter().filter(|it| it.written) {
            let Entry { control, .. } = entry;
            let (was, written) = entry.settings().unwrap().unwrap();
            assert!(now[control.id()].is(&written), "{name}: {control} counts as changed since");
            let back = put_back(&writers, &bucket, &was.reachable()).await;
            back.unwrap_or_else(|error| panic!("{name}: {control}: {error}"));
        }
        for (control, is) in settings(&fake).await {
            let was = before[control].clone().reachable();
            assert!(is.is(&was), "{name}: {control}: {is:?}\n{was:?}");
        }
        // To the letter, unless S3 gives it back in other words.
        if recording.subresource == "lifecycle" && recording.status == 200 {
            let document = fake.documents()["lifecycle"].clone();
            assert_eq!(parts("lifecycle", &document), parts("lifecycle", &recording.body), "{name}");
            assert_eq!(document.contains("<Filter>"), recording.body.contains("<Filter"), "{name}: of the same form");
        }
    }
}
