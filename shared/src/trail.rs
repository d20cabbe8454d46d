//! The trail: what it is, what it should be, and the calls from the one to the other. Pure.
//!
//! Without a trail that logs management writes, EventBridge hears of nothing.

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    names::{BucketName, KeyArn, TrailArn},
    plan::Drift,
};

const S3_OBJECT: &str = "AWS::S3::Object";
const OUR_DATA_EVENTS: &str = "s3-guardrail: objects of guarded buckets";

/// What a bucket's trail should be.
#[derive(Clone, Debug)]
pub struct RequiredTrail {
    pub arn: TrailArn,
    /// Encrypts its log files when it has no key of its own.
    pub key: KeyArn,
    /// Where it delivers when it has to be created.
    pub log_bucket: BucketName,
    /// How the ARNs of the objects begin whose reads and writes it logs.
    pub objects: String,
}

/// A trail as CloudTrail describes it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Trail {
    pub is_logging: bool,
    pub is_multi_region_trail: bool,
    pub log_file_validation_enabled: bool,
    pub kms_key_id: Option<String>,
    pub s3_bucket_name: Option<String>,
    /// Why the last log file could not be delivered.
    pub latest_delivery_error: Option<String>,
    #[serde(flatten)]
    pub selectors: Selectors,
}

/// Which events a trail logs: a trail has selectors of the one kind or of the other.
/// <https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_PutEventSelectors.html>
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Selectors {
    #[serde(rename = "EventSelectors", skip_serializing_if = "Vec::is_empty")]
    pub basic: Vec<EventSelector>,
    #[serde(rename = "AdvancedEventSelectors", skip_serializing_if = "Vec::is_empty")]
    pub advanced: Vec<AdvancedEventSelector>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct EventSelector {
    /// `All`, `ReadOnly` or `WriteOnly`.
    pub read_write_type: String,
    pub include_management_events: bool,
    /// Type and values.
    pub data_resources: Vec<(String, Vec<String>)>,
    pub exclude_management_event_sources: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AdvancedEventSelector {
    pub name: Option<String>,
    pub field_selectors: Vec<FieldSelector>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct FieldSelector {
    pub field: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub equals: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub starts_with: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ends_with: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_equals: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_starts_with: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_ends_with: Vec<String>,
}

/// One call that restores a part of a trail.
#[derive(Clone, Debug, PartialEq)]
pub enum TrailCall {
    Create,
    Update(TrailUpdate),
    PutSelectors(Selectors),
    StartLogging,
}

/// What to change of a trail; the rest stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrailUpdate {
    pub multi_region: bool,
    pub validation: bool,
    pub key: Option<String>,
}

impl Trail {
    /// The trail with what is required; its bucket, its key and its owner's selectors stay as they are.
    pub fn requiring(observed: Option<&Self>, required: &RequiredTrail) -> Self {
        let key = observed.and_then(|it| it.kms_key_id.clone()).unwrap_or_else(|| required.key.to_string());
        let bucket = observed.and_then(|it| it.s3_bucket_name.clone());
        // A new trail logs management events and nothing else.
        let selectors = observed.map_or_else(Selectors::default, |it| it.selectors.clone());
        Self {
            is_logging: true,
            is_multi_region_trail: true,
            log_file_validation_enabled: true,
            kms_key_id: Some(key),
            s3_bucket_name: Some(bucket.unwrap_or_else(|| required.log_bucket.to_string())),
            latest_delivery_error: None,
            selectors: selectors.requiring(&required.objects),
        }
    }

    /// The trail in AWS's words.
    pub fn to_json(&self) -> Value {
        json!(self)
    }
}

/// The calls that lead from what is to what should be.
pub fn calls(drift: &Drift<Option<Trail>, Trail>) -> Vec<TrailCall> {
    let Drift { observed, desired } = drift;
    let Some(observed) = observed else {
        // Creating a trail does not start it.
        return vec![TrailCall::Create, TrailCall::PutSelectors(desired.selectors.clone()), TrailCall::StartLogging];
    };
    let update = TrailUpdate {
        multi_region: !observed.is_multi_region_trail,
        validation: !observed.log_file_validation_enabled,
        key: desired.kms_key_id.clone().filter(|_| observed.kms_key_id.is_none()),
    };
    let mut calls = Vec::new();
    calls.extend((update != TrailUpdate::default()).then_some(TrailCall::Update(update)));
    if observed.selectors != desired.selectors {
        calls.push(TrailCall::PutSelectors(desired.selectors.clone()));
    }
    calls.extend((!observed.is_logging).then_some(TrailCall::StartLogging));
    calls
}

impl Selectors {
    /// The selectors with management writes and with reads and writes of objects whose ARN begins with `objects`,
    /// beside whatever else is there.
    pub fn requiring(mut self, objects: &str) -> Self {
        if self.basic.is_empty() || self.is_default() {
            Self { basic: Vec::new(), advanced: advanced_requiring(self.advanced, objects) }
        } else {
            self.basic = basic_requiring(self.basic, objects);
            self
        }
    }

    /// What a trail has that nobody configured: all management events, nothing else.
    fn is_default(&self) -> bool {
        matches!(self.basic.as_slice(), [one] if logs_management_writes(one)
            && one.read_write_type == "All"
            && one.data_resources.is_empty()
            && one.exclude_management_event_sources.is_empty())
    }

    /// Whether EventBridge hears of management writes, those of KMS among them.
    pub fn log_management_writes(&self) -> bool {
        self.basic.iter().any(logs_management_writes) || self.advanced.iter().any(selects_management)
    }
}

fn logs_management_writes(selector: &EventSelector) -> bool {
    selector.include_management_events
        && selector.read_write_type != "ReadOnly"
        && !selector.exclude_management_event_sources.iter().any(|it| it == "kms.amazonaws.com")
}

fn basic_requiring(mut selectors: Vec<EventSelector>, objects: &str) -> Vec<EventSelector> {
    let logs_objects = |it: &EventSelector| {
        let resources = it.data_resources.iter().filter(|it| it.0 == S3_OBJECT);
        it.read_write_type == "All"
            && resources.flat_map(|it| &it.1).any(|it| objects.starts_with(it.as_str()) || it.ends_with(":s3"))
    };
    let management = selectors.iter().any(logs_management_writes);
    let data = selectors.iter().any(logs_objects);
    if !management || !data {
        let data_resources = (!data).then(|| (S3_OBJECT.to_owned(), vec![objects.to_owned()]));
        selectors.push(EventSelector {
            // Reads of objects are wanted, too; of management events writes are enough.
            read_write_type: if data { "WriteOnly" } else { "All" }.to_owned(),
            include_management_events: !management,
            data_resources: data_resources.into_iter().collect(),
            exclude_management_event_sources: Vec::new(),
        });
    }
    selectors
}

fn advanced_requiring(mut selectors: Vec<AdvancedEventSelector>, objects: &str) -> Vec<AdvancedEventSelector> {
    let field = |name: &str, equals: &str| FieldSelector { equals: vec![equals.to_owned()], ..FieldSelector::of(name) };
    let is_ours = |it: &AdvancedEventSelector| it.name.as_deref() == Some(OUR_DATA_EVENTS);
    // What stands under the name of our data events may have to go, whatever it selects.
    if !selectors.iter().any(|it| !is_ours(it) && selects_management(it)) {
        selectors.push(AdvancedEventSelector {
            name: Some("s3-guardrail: management events".to_owned()),
            field_selectors: vec![field("eventCategory", "Management")],
        });
    }
    if !selectors.iter().any(|it| selects_objects(it, objects)) {
        // All guarded buckets of a trail share one selector.
        let mut prefixes = vec![objects.to_owned()];
        if let Some(ours) = selectors.iter().position(is_ours) {
            prefixes.extend(selectors.remove(ours).field_selectors.into_iter().flat_map(|it| it.starts_with));
        }
        selectors.push(AdvancedEventSelector {
            name: Some(OUR_DATA_EVENTS.to_owned()),
            field_selectors: vec![
                field("eventCategory", "Data"),
                field("resources.type", S3_OBJECT),
                FieldSelector { starts_with: prefixes, ..FieldSelector::of("resources.ARN") },
            ],
        });
    }
    selectors
}

impl FieldSelector {
    fn of(field: &str) -> Self {
        Self { field: field.to_owned(), ..Self::default() }
    }
}

fn selects_management(selector: &AdvancedEventSelector) -> bool {
    category_is(selector, "Management")
        && selector.field_selectors.iter().all(|it| match it.field.as_str() {
            "eventCategory" => true,
            // Writes only is enough.
            "readOnly" => it.equals == ["false"],
            _ => false,
        })
}

fn selects_objects(selector: &AdvancedEventSelector, objects: &str) -> bool {
    category_is(selector, "Data")
        && selector.field_selectors.iter().all(|it| match it.field.as_str() {
            "eventCategory" => true,
            "resources.type" => it.equals == [S3_OBJECT],
            "resources.ARN" => it.starts_with.iter().any(|prefix| objects.starts_with(prefix.as_str())),
            _ => false,
        })
}

fn category_is(selector: &AdvancedEventSelector, category: &str) -> bool {
    selector.field_selectors.iter().any(|it| it.field == "eventCategory" && it.equals == [category])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn required() -> RequiredTrail {
        RequiredTrail {
            arn: "arn:aws:cloudtrail:eu-west-2:111122223333:trail/t".parse().unwrap(),
            key: "arn:aws:kms:eu-west-2:111122223333:key/k".parse().unwrap(),
            log_bucket: "acme-data-logs".parse().unwrap(),
            objects: "arn:aws:s3:::acme-data/".to_owned(),
        }
    }

    fn good() -> Trail {
        Trail::requiring(None, &required())
    }

    fn restore(observed: Option<Trail>) -> Vec<TrailCall> {
        let desired = Trail::requiring(observed.as_ref(), &required());
        calls(&Drift { observed, desired })
    }

    fn basic(kind: &str, management: bool, excluded: &[&str]) -> EventSelector {
        EventSelector {
            read_write_type: kind.to_owned(),
            include_management_events: management,
            data_resources: Vec::new(),
            exclude_management_event_sources: excluded.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn each_part_that_drifts_is_restored_by_its_own_call() {
        assert_eq!(restore(Some(good())), []);
        assert_eq!(restore(Some(Trail { is_logging: false, ..good() })), [TrailCall::StartLogging]);
        let update = |update| [TrailCall::Update(update)];
        assert_eq!(
            restore(Some(Trail { is_multi_region_trail: false, ..good() })),
            update(TrailUpdate { multi_region: true, ..TrailUpdate::default() })
        );
        assert_eq!(
            restore(Some(Trail { log_file_validation_enabled: false, ..good() })),
            update(TrailUpdate { validation: true, ..TrailUpdate::default() })
        );
        assert_eq!(
            restore(Some(Trail { kms_key_id: None, ..good() })),
            update(TrailUpdate { key: Some(required().key.to_string()), ..TrailUpdate::default() })
        );
        let calls = restore(None);
        assert!(
            matches!(calls.as_slice(), [TrailCall::Create, TrailCall::PutSelectors(_), TrailCall::StartLogging]),
            "{calls:?}"
        );
        let undelivered = Trail { latest_delivery_error: Some("AccessDenied".to_owned()), ..good() };
        assert_eq!(restore(Some(undelivered)), [], "no call of ours can mend that");
    }

    #[test]
    fn the_owners_bucket_and_key_stay() {
        let theirs = Trail {
            kms_key_id: Some("arn:aws:kms:eu-west-2:111122223333:key/theirs".to_owned()),
            s3_bucket_name: Some("central-logs".to_owned()),
            ..good()
        };
        assert_eq!(restore(Some(theirs)), []);
    }

    #[test]
    fn selectors_are_added_and_none_is_dropped() {
        let lambda = |category: &str| AdvancedEventSelector {
            name: Some("theirs".to_owned()),
            field_selectors: vec![
                FieldSelector { equals: vec![category.to_owned()], ..FieldSelector::of("eventCategory") },
                FieldSelector { not_equals: vec!["kms.amazonaws.com".to_owned()], ..FieldSelector::of("eventSource") },
            ],
        };
        for (selectors, kept) in [
            (Selectors { basic: vec![basic("ReadOnly", true, &[])], advanced: vec![] }, 1),
            (Selectors { basic: vec![basic("All", false, &[])], advanced: vec![] }, 1),
            (Selectors { basic: vec![basic("All", true, &["kms.amazonaws.com"])], advanced: vec![] }, 1),
            (Selectors { basic: vec![], advanced: vec![lambda("Management")] }, 1),
            (Selectors { basic: vec![], advanced: vec![lambda("Data")] }, 1),
        ] {
            assert!(!selectors.log_management_writes());
            let desired = selectors.clone().requiring(&required().objects);
            assert!(desired.log_management_writes());
            assert_eq!(desired.basic[..selectors.basic.len()], selectors.basic);
            assert_eq!(desired.advanced[..selectors.advanced.len()], selectors.advanced);
            assert!(desired.basic.len() + desired.advanced.len() > kept);
            assert_eq!(desired.clone().requiring(&required().objects), desired, "and that is all");
        }
    }

    #[test]
    fn management_events_under_the_name_of_our_data_events_do_not_count() {
        let mut selectors = good().selectors;
        selectors.advanced.remove(0);
        selectors.advanced[0].field_selectors.truncate(1);
        selectors.advanced[0].field_selectors[0].equals = vec!["Management".to_owned()];
        let desired = selectors.requiring(&required().objects);
        assert!(desired.log_management_writes(), "{desired:?}");
        assert_eq!(desired.clone().requiring(&required().objects), desired);
    }

    #[test]
    fn buckets_of_one_trail_share_a_selector() {
        let both = good().selectors.requiring("arn:aws:s3:::other/");
        assert_eq!(both.advanced.len(), 2);
        assert_eq!(both.advanced[1].field_selectors[2].starts_with, ["arn:aws:s3:::other/", "arn:aws:s3:::acme-data/"]);
        assert_eq!(both.clone().requiring("arn:aws:s3:::acme-data/"), both);
    }
}
