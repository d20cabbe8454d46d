//! Where a record goes.

use jiff::Timestamp;

use crate::{
    edge::registry::{Registration, RegistryError},
    outcome::{
        finding::{Finding, Written},
        record::record_key,
        record_file::RecordFile,
        report::Report,
    },
};

/// Says in a report where its record goes, when anything was written.
pub fn assign_record(
    report: &mut Report,
    registration: Option<&Registration>,
    now: Timestamp,
    random: u64,
) -> Result<(), RegistryError> {
    let written = |it: &Finding| matches!(it.written, Some(Written::Here(_)));
    let Some(registration) = registration.filter(|_| report.findings.iter().any(written)) else { return Ok(()) };
    report.record = Some(file(report, registration, now, random)?);
    Ok(())
}

fn file(
    report: &Report,
    registration: &Registration,
    now: Timestamp,
    random: u64,
) -> Result<RecordFile, RegistryError> {
    let event_id = report.trigger.as_ref().and_then(|it| it.event_id.as_deref()).unwrap_or_default();
    let bucket = registration.bucket.clone();
    Ok(RecordFile { log_bucket: registration.log_bucket()?, key: record_key(&bucket, event_id, now, random), bucket })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        control::{
            default_encryption::DefaultEncryption, inventory::Inventory, lifecycle::Lifecycle,
            object_ownership::ObjectOwnership, public_access_block::PublicAccessBlock, table::Control,
            versioning::Versioning,
        },
        outcome::{
            finding::Outcome,
            observed::Observed,
            record::{Entry, Record, SCHEMA},
            setting::Setting,
            step::Change,
            trigger::Trigger,
        },
        value::policy::Policy,
    };
    use crate::{
        control::{inventory::ReportEncryption, lifecycle::LifecycleDays},
        decide::{
            baseline::Baseline,
            echo::NO_PAST,
            plan::{Stance, plan},
        },
        outcome::{
            observed::Observation,
            report::{Calls, Reconciled},
            step::Step,
        },
        value::{drift::Drift, xml::Element},
    };

    const NOW: &str = "2026-11-23T09:14:07.123Z";

    fn registration() -> Registration {
        let key = "arn:aws:kms:eu-west-2:111122223333:key/k".parse().unwrap();
        Registration::new("acme-data".parse().unwrap(), "111122223333".parse().unwrap(), key)
    }

    fn recorded(report: &Report) -> Record {
        let Registration { bucket, account, .. } = registration();
        Record::new(report, &bucket, &account, "eu-west-2", NOW.parse().unwrap())
    }

    fn restored(observed: Observed) -> Vec<Change> {
        let registration = registration();
        let role = "arn:aws:iam::111122223333:role/guardrail".parse().unwrap();
        let baseline = Baseline::new(&registration, &registration.account, &role).unwrap();
        let stance = Stance { registration: &registration, now: NOW.parse().unwrap(), dry_run: false, past: &NO_PAST };
        let steps = plan(&baseline, Observation::from(observed), &stance);
        steps.into_iter().map(|it| if let Step::Restore(change) = it { change } else { panic!("{it:?}") }).collect()
    }

    /// Settings that use whatever a setting can have.
    fn eventful() -> Observed {
        let rule = r#"<Rule note="a &amp; b"><ID>own</ID><Filter/><Status>Enabled</Status><Invented>x &lt; y</Invented></Rule>"#;
        let grants = vec!["http://acs.amazonaws.com/groups/s3/LogDelivery WRITE".parse().unwrap()];
        let policy = r#"{"Id":"p","Statement":{"Sid":"Own","Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"*"}}"#;
        let inventory = Inventory {
            is_enabled: false,
            included_object_versions: "Current".to_owned(),
            frequency: "Weekly".to_owned(),
            format: "ORC".to_owned(),
            bucket: "arn:aws:s3:::elsewhere".to_owned(),
            account_id: None,
            prefix: Some("p".to_owned()),
            encryption: ReportEncryption::Kms("k".to_owned()),
            filter_prefix: Some("f".to_owned()),
            optional_fields: ["Size".to_owned()].into(),
        };
        Observed {
            public_access_block: Ok(PublicAccessBlock { block_public_acls: true, ..Default::default() }),
            object_ownership: Ok(ObjectOwnership {
                object_ownership: Some("ObjectWriter".to_owned()),
                acl_grants: Ok(grants),
            }),
            bucket_policy: Ok(Policy::parse(policy).unwrap()),
            default_encryption: Ok(DefaultEncryption {
                algorithm: Some("AES256".to_owned()),
                blocked: ["NONE".to_owned()].into(),
                ..Default::default()
            }),
            versioning: Ok(Versioning { status: Some("Suspended".to_owned()), mfa_delete: false }),
            lifecycle: Ok(Lifecycle {
                rules: vec![Element::parse(rule).unwrap()],
                transition_default_minimum_object_size: Some("all_storage_classes_128K".to_owned()),
            }),
            inventory: Ok(Some(inventory)),
        }
    }

    fn report(observed: Observed, event_id: &str) -> Report {
        let findings = restored(observed).into_iter().map(|change| {
            let (observed, desired) = change.to_json();
            let control = change.control();
            let outcome = Outcome::Restored;
            let written = Some(Written::Here(change));
            Finding { written, ..Finding::new(control, outcome, (observed, desired)) }
        });
        let trigger = Trigger { event_id: Some(event_id.to_owned()), ..Trigger::default() };
        let reconciled = Reconciled::Bucket {
            findings: findings.collect(),
            hindrances: Vec::new(),
            exposures: Vec::new(),
            restores: [].into(),
            read: Vec::new(),
        };
        Report::from_reconciled(&registration().bucket, reconciled, &Calls::of(trigger))
    }

    #[test]
    fn every_setting_can_be_read_again_from_the_text_of_a_record() {
        for observed in [eventful, Observed::empty] {
            let text = {
                let record = recorded(&report(observed(), "e"));
                serde_json::to_string(&record).unwrap()
            };
            let record = Record::parse(&text).unwrap();
            assert_eq!(record.findings.len(), Control::OF_BUCKET.len());
            for (entry, (control, was)) in record.findings.iter().zip(observed().settings()) {
                assert_eq!(entry.control, control);
                assert_eq!(entry.settings().unwrap().unwrap().0, was.unwrap(), "{control}");
            }
        }
    }

    #[test]
    fn a_record_is_named_after_bucket_time_and_event_and_nothing_leads_out_of_its_folder() {
        let named = |event_id: &str| {
            let mut report = report(Observed::empty(), event_id);
            assign_record(&mut report, Some(&registration()), NOW.parse().unwrap(), 7).unwrap();
            report.record.unwrap().to_string()
        };
        let folder = "s3://acme-data-logs/s3-guardrail/history/acme-data/2026/11/23/091407.123Z";
        assert_eq!(named("0b4a-7e2c"), format!("{folder}-0b4a-7e2c.json"));
        assert_eq!(named("../../x/\u{0}"), format!("{folder}-x.json"));
        assert_eq!(named("").len(), folder.len() + 1 + 16 + ".json".len());
        for text in [named("0b4a"), named("")] {
            assert_eq!(text.parse::<RecordFile>().unwrap().to_string(), text);
        }
        for text in [
            "acme-data-logs",
            "s3://acme-data-logs/AWSLogs/x.json",
            "s3://acme-data-logs/s3-guardrail/history/acme-data",
            "s3://acme-data-logs/s3-guardrail/history/Not_A_Bucket/2026/x.json",
        ] {
            assert!(text.parse::<RecordFile>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_was_not_written_has_no_record() {
        let mut report = report(Observed::empty(), "e");
        report.findings.iter_mut().for_each(|it| it.written = None);
        assign_record(&mut report, Some(&registration()), NOW.parse().unwrap(), 7).unwrap();
        assert_eq!(report.record, None);
    }

    #[test]
    fn a_record_that_is_none_says_so() {
        for text in ["", "{}", "[]", r#"{"schema": "s3-guardrail/1"}"#] {
            assert!(Record::parse(text).is_err(), "{text}");
        }
        let record = recorded(&report(eventful(), "e"));
        let text = serde_json::to_string(&record).unwrap().replace(SCHEMA, "s3-guardrail-record/2");
        assert!(Record::parse(&text).unwrap_err().to_string().contains("s3-guardrail-record/2"));
        let broken =
            Entry { observed: json!({"Document": "<a>"}), ..Entry::from_finding(&report(eventful(), "e").findings[5]) };
        assert!(broken.settings().unwrap_err().to_string().starts_with("lifecycle: "));
    }

    #[test]
    fn a_lifecycle_whose_default_s3_has_added_is_the_same() {
        let rules = eventful().lifecycle.unwrap().rules;
        let sized = |size: Option<&str>| {
            let transition_default_minimum_object_size = size.map(str::to_owned);
            Setting::Lifecycle(Lifecycle { rules: rules.clone(), transition_default_minimum_object_size })
        };
        assert!(sized(None).is(&sized(Some("all_storage_classes_128K"))));
        assert!(!sized(None).is(&sized(Some("varies_by_storage_class"))));
        assert!(!sized(None).is(&Setting::Lifecycle(Lifecycle::default())));
    }

    #[test]
    fn of_a_lifecycle_nothing_is_lost_and_keys_and_trails_are_no_settings() {
        let required = crate::control::lifecycle::required(LifecycleDays::default());
        let observed = eventful().lifecycle.unwrap();
        let change = Change::Lifecycle(Drift { desired: observed.requiring(&required), observed });
        assert!(change.to_record().0["Document"].as_str().unwrap().contains(r#"note="a &amp; b""#));
        for control in [Control::KmsKey, Control::Trail] {
            assert_eq!(Setting::from_record(control, &json!({})).unwrap(), None);
        }
    }
}
