//! Every sample event, and what the guardrail makes of it.

use std::{fs, path::PathBuf};

use expect_test::expect;
use guardrail::input::Input;
use guardrail_core::{
    decide::echo::Generation,
    edge::{
        event::{About, Event},
        message::Message,
    },
    value::names::RoleArn,
};
use guardrail_tests::{fake::ROLE, local_aws::workspace};
use serde_json::Value;

fn samples() -> Vec<PathBuf> {
    let files = fs::read_dir(workspace().join("events")).unwrap().map(|it| it.unwrap().path());
    let mut samples: Vec<_> = files.filter(|it| it.extension().is_some_and(|it| it == "json")).collect();
    samples.sort();
    samples
}

fn read(sample: &PathBuf) -> Value {
    serde_json::from_str(&fs::read_to_string(sample).unwrap()).unwrap()
}

fn of_event(event: &Event) -> String {
    let own: RoleArn = ROLE.parse().unwrap();
    let subject = match &event.about {
        About::Bucket(bucket) => bucket.as_ref().map_or("no bucket".to_owned(), ToString::to_string),
        About::AccessPoint(name) => format!("the access point {name}"),
        About::KmsKey(names) => format!("the key {}", names.join(" ")),
        About::Trail(names) => format!("the trail {}", names.join(" ")),
        About::Part(names) => format!("the part {}", names.join(" ")),
    };
    let failed = event.trigger.error_code.as_ref().map(|it| format!(", failed: {it}")).unwrap_or_default();
    let echo = match event.generation(&own) {
        Generation::First => "",
        Generation::Second => ", an echo",
        Generation::Third => ", an echo of an echo",
    };
    format!("{} of {subject}{failed}{echo}", event.trigger.event_name)
}

#[test]
fn each_sample_is_what_its_name_says() {
    let line = |sample: &PathBuf| {
        let is = match Input::parse(read(sample)) {
            Ok(Input::One(Message::Event(event))) => of_event(&event),
            Ok(Input::Batch(batch)) => format!("a batch of {}", batch.records.len()),
            Ok(Input::One(Message::Request(it))) => format!("a request for {}, dry run: {}", it.subject, it.dry_run),
            Err(error) => format!("error: {error}"),
        };
        format!("{}: {is}\n", sample.file_stem().unwrap().display())
    };
    expect![[r#"
        another-account: DeleteBucketPolicy of acme-data
        bootstrap: error: the request is not valid: key_alias: unknown field `key_alias`, expected one of `bucket`, `key`, `trail`, `guardrail`, `dry_run`
        create-access-point: CreateAccessPoint of acme-data
        create-bucket: CreateBucket of acme-data
        delete-access-point-policy: DeleteAccessPointPolicy of the access point acme-reports
        delete-access-point: DeleteAccessPoint of the access point acme-reports
        delete-alias: DeleteAlias of the key alias/s3-secure-data arn:aws:kms:eu-west-2:111122223333:alias/s3-secure-data arn:aws:kms:eu-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab
        delete-bucket-encryption: DeleteBucketEncryption of acme-data
        delete-bucket-inventory-configuration: DeleteBucketInventoryConfiguration of acme-data
        delete-bucket-lifecycle: DeleteBucketLifecycle of acme-data
        delete-bucket-ownership-controls: DeleteBucketOwnershipControls of acme-data
        delete-bucket-policy: DeleteBucketPolicy of acme-data
        delete-bucket-public-access-block: DeleteBucketPublicAccessBlock of acme-data
        delete-bucket-replication: DeleteBucketReplication of acme-data
        delete-bucket-tagging: DeleteBucketTagging of acme-data
        delete-bucket-website: DeleteBucketWebsite of acme-data
        delete-bucket: DeleteBucket of acme-data
        delete-imported-key-material: DeleteImportedKeyMaterial of the key arn:aws:kms:eu-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab arn:aws:kms:eu-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab
        delete-trail: DeleteTrail of the trail acme-data-trail
        direct-dry-run: a request for bucket:acme-data, dry run: true
        direct: a request for bucket:acme-data, dry run: false
        disable-key-rotation: DisableKeyRotation of the key 1234abcd-12ab-34cd-56ef-1234567890ab arn:aws:kms:eu-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab
        disable-key: DisableKey of the key 1234abcd-12ab-34cd-56ef-1234567890ab arn:aws:kms:eu-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab
        disable-rule: DisableRule of the part rule/s3-guardrail-bucket-changed
        failed-put-bucket-policy: PutBucketPolicy of acme-data, failed: AccessDenied
        failed-stop-logging-null-parameters: StopLogging of the trail arn:aws:cloudtrail:eu-west-2:111122223333:trail/acme-data-trail, failed: AccessDenied
        impossible-bucket-name: PutBucketPolicy of no bucket, failed: InvalidBucketName
        lone-object-put-bucket-lifecycle: PutBucketLifecycle of acme-data
        missing-fields: PutBucketVersioning of acme-data
        no-bucket: error: the event PutAccountPublicAccessBlock names no bucket: neither detail.requestParameters.bucketName nor detail.resources
        own-echo-put-bucket-lifecycle: PutBucketLifecycle of acme-data, an echo
        own-echo-put-bucket-policy: PutBucketPolicy of acme-data, an echo
        put-access-point-policy: PutAccessPointPolicy of the access point acme-reports
        put-bucket-acl: PutBucketAcl of acme-data
        put-bucket-encryption: PutBucketEncryption of acme-data
        put-bucket-inventory-configuration: PutBucketInventoryConfiguration of acme-data
        put-bucket-lifecycle: PutBucketLifecycle of acme-data
        put-bucket-logging: PutBucketLogging of acme-data
        put-bucket-notification: PutBucketNotification of acme-data
        put-bucket-object-lock-configuration: PutBucketObjectLockConfiguration of acme-data
        put-bucket-ownership-controls: PutBucketOwnershipControls of acme-data
        put-bucket-policy: PutBucketPolicy of acme-data
        put-bucket-public-access-block: PutBucketPublicAccessBlock of acme-data
        put-bucket-replication: PutBucketReplication of acme-data
        put-bucket-tagging: PutBucketTagging of acme-data
        put-bucket-versioning: PutBucketVersioning of acme-data
        put-bucket-website: PutBucketWebsite of acme-data
        put-event-selectors: PutEventSelectors of the trail acme-data-trail
        put-key-policy: PutKeyPolicy of the key arn:aws:kms:eu-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab arn:aws:kms:eu-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab
        put-object-data-event: PutObject of acme-data
        schedule-key-deletion: ScheduleKeyDeletion of the key arn:aws:kms:eu-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab arn:aws:kms:eu-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab
        schedule: error: the event has no detail.eventName
        sqs-batch: a batch of 2
        stop-logging: StopLogging of the trail arn:aws:cloudtrail:eu-west-2:111122223333:trail/acme-data-trail
        tag-resource: TagResource of acme-data
        truncated-parameters: PutBucketLifecycle of acme-data
        unknown-name: PutBucketQuantumConfiguration of acme-data
        untag-resource: UntagResource of acme-data
        update-alias: UpdateAlias of the key 0987dcba-09fe-87dc-65ba-ab0987654321 alias/s3-secure-data arn:aws:kms:eu-west-2:111122223333:alias/s3-secure-data arn:aws:kms:eu-west-2:111122223333:key/0987dcba-09fe-87dc-65ba-ab0987654321
        update-trail: UpdateTrail of the trail acme-data-trail
    "#]]
    .assert_eq(&samples().iter().map(line).collect::<String>());
}

/// CloudTrail leaves out or cuts whatever it likes: only the name of the call is needed, and where the bucket's name stands.
#[test]
fn an_event_without_any_one_of_its_fields_is_still_an_event() {
    for sample in samples() {
        let whole = read(&sample);
        let Ok(Input::One(Message::Event(event))) = Input::parse(whole.clone()) else { continue };
        for field in whole["detail"].as_object().unwrap().keys().filter(|it| *it != "eventName") {
            for instead in [None, Some(Value::Null), Some(Value::from("x")), Some(Value::from(7))] {
                let mut event_without = whole.clone();
                let detail = event_without["detail"].as_object_mut().unwrap();
                match instead {
                    Some(value) => drop(detail.insert(field.clone(), value)),
                    None => drop(detail.shift_remove(field)),
                }
                match Input::parse(event_without) {
                    // S3 Control's name the bucket in one place only.
                    Ok(Input::One(Message::Event(it)))
                        if event.trigger.event_name.contains("AccessPoint")
                            || event.trigger.event_name.ends_with("agResource") =>
                    {
                        assert!(it.about == event.about || field == "requestParameters" || field == "eventSource");
                    }
                    Ok(Input::One(Message::Event(it)))
                        if matches!(event.about, About::Bucket(_)) && field != "eventSource" =>
                    {
                        assert_eq!(it.about, event.about, "{} {field}", sample.display());
                    }
                    Ok(Input::One(Message::Event(_))) => {}
                    Err(error) => {
                        let only_name = ["requestParameters", "resources", "eventSource"].contains(&field.as_str());
                        assert!(only_name && error.to_string().contains("names no bucket"), "{field}: {error}");
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}
