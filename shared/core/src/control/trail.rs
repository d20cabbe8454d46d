//! The trail: what it is, what it should be, and the calls from the one to the other. Pure.
//!
//! Without a trail that logs management writes, EventBridge hears of nothing.

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    control::selectors::{Limit, Selectors},
    value::{
        drift::Drift,
        failure::{ApiError, UNREAD},
        names::{BucketName, KeyArn, TrailArn},
    },
};

/// CloudTrail's limit for the trails of one region, those of other regions that log here included.
pub const MAX_TRAILS: usize = 5;

/// What a bucket's trail should be.
#[derive(Clone, Debug)]
pub struct RequiredTrail {
    pub arn: TrailArn,
    /// Encrypts its log files when it has no key of its own.
    pub key: KeyArn,
    /// Where it delivers when it has to be created.
    pub log_bucket: BucketName,
    /// How the ARNs of the objects begin whose reads and writes it logs.
    pub objects: Vec<String>,
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
    /// Why the last digest, which proves that the log files are whole, could not be delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_digest_delivery_error: Option<String>,
    #[serde(flatten, skip_serializing_if = "Selectors::is_none")]
    pub selectors: Selectors,
    /// What could not be read, and why. What stands in its place says nothing.
    #[serde(skip)]
    pub unread: Vec<(TrailPart, ApiError)>,
}

/// What CloudTrail says in one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrailPart {
    Settings,
    Status,
    Selectors,
}

/// What no call restores of a trail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrailRefusal {
    #[error("CloudTrail could not deliver its last log file: {0}; look at the policies of the trail's bucket and key")]
    Undelivered(String),
    #[error(
        "CloudTrail could not deliver its last digest file: {0}; without digests nobody can prove that the log files are \
         whole. Look at the policies of the trail's bucket and key"
    )]
    DigestUndelivered(String),
    #[error(
        "CloudTrail does not say which bucket the trail delivers to, so nothing is known to be logged; look at the trail in \
         the CloudTrail console, and give it its log bucket"
    )]
    NoBucket,
    #[error(
        "the trail has no room for the events that are missing: CloudTrail allows {0}, and what its owner selects takes \
         them up. Remove some of it, or name another trail: in the registry document's `trail_arn`, or in the \
         bootstrap's `trail`"
    )]
    NoRoom(Limit),
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
        let selectors = observed.map_or(Selectors::NONE, |it| it.selectors.clone());
        let mut desired = Self {
            is_logging: true,
            is_multi_region_trail: true,
            log_file_validation_enabled: true,
            kms_key_id: Some(key),
            s3_bucket_name: Some(bucket.unwrap_or_else(|| required.log_bucket.to_string())),
            latest_delivery_error: None,
            latest_digest_delivery_error: None,
            selectors: required.objects.iter().fold(selectors, |it, objects| it.requiring(objects)),
            unread: Vec::new(),
        };
        if let Some(observed) = observed {
            desired.leave_unread(observed);
        }
        desired
    }

    /// Takes over what is not known: nothing is wanted of it.
    fn leave_unread(&mut self, observed: &Self) {
        for (part, _) in &observed.unread {
            match part {
                TrailPart::Settings => {
                    self.is_multi_region_trail = observed.is_multi_region_trail;
                    self.log_file_validation_enabled = observed.log_file_validation_enabled;
                    self.kms_key_id.clone_from(&observed.kms_key_id);
                    self.s3_bucket_name.clone_from(&observed.s3_bucket_name);
                }
                TrailPart::Status => {
                    self.is_logging = observed.is_logging;
                    self.latest_delivery_error.clone_from(&observed.latest_delivery_error);
                    self.latest_digest_delivery_error.clone_from(&observed.latest_digest_delivery_error);
                }
                TrailPart::Selectors => self.selectors = observed.selectors.clone(),
            }
        }
        self.unread.clone_from(&observed.unread);
    }

    /// Whether this part could be read.
    pub fn knows(&self, part: TrailPart) -> bool {
        self.unread.iter().all(|(unread, _)| *unread != part)
    }

    /// The trail in AWS's words.
    pub fn to_json(&self) -> Value {
        let mut json = json!(self);
        for (part, _) in &self.unread {
            let names = match part {
                TrailPart::Settings => {
                    ["IsMultiRegionTrail", "LogFileValidationEnabled", "KmsKeyId", "S3BucketName"].as_slice()
                }
                TrailPart::Status => &["IsLogging", "LatestDeliveryError"],
                TrailPart::Selectors => &["EventSelectors"],
            };
            for name in names {
                json[name] = json!(UNREAD);
            }
        }
        json
    }
}

/// The calls that lead from what is to what should be. What they cannot restore, [`unrestorable`] tells.
pub fn calls(drift: &Drift<Option<Trail>, Trail>) -> Vec<TrailCall> {
    let Drift { observed, desired } = drift;
    let Some(observed) = observed else {
        // Creating a trail does not start it.
        return vec![TrailCall::Create, TrailCall::PutSelectors(desired.selectors.clone()), TrailCall::StartLogging];
    };
    let update = TrailUpdate {
        multi_region: observed.is_multi_region_trail != desired.is_multi_region_trail,
        validation: observed.log_file_validation_enabled != desired.log_file_validation_enabled,
        key: desired.kms_key_id.clone().filter(|_| observed.kms_key_id.is_none()),
    };
    let mut calls = Vec::new();
    calls.extend((update != TrailUpdate::default()).then_some(TrailCall::Update(update)));
    let selectors = match desired.selectors.exceeded() {
        None => desired.selectors.clone(),
        // What the guardrail itself lives on may have room all the same.
        Some(_) => observed.selectors.clone().with_management_writes(),
    };
    if observed.selectors != selectors && selectors.exceeded().is_none() {
        calls.push(TrailCall::PutSelectors(selectors));
    }
    calls.extend((observed.is_logging != desired.is_logging).then_some(TrailCall::StartLogging));
    calls
}

/// Whether the calls prove nothing by themselves: StartLogging succeeds also where it changes nothing.
pub fn must_be_read_again(drift: &Drift<Option<Trail>, Trail>) -> bool {
    calls(drift).contains(&TrailCall::StartLogging)
}

/// What of a drift no call restores.
pub fn unrestorable(drift: &Drift<Option<Trail>, Trail>) -> Option<TrailRefusal> {
    let Drift { observed, desired } = drift;
    let observed = observed.as_ref()?;
    if let Some(error) = &observed.latest_delivery_error {
        return Some(TrailRefusal::Undelivered(error.clone()));
    }
    if let Some(error) = &observed.latest_digest_delivery_error {
        return Some(TrailRefusal::DigestUndelivered(error.clone()));
    }
    if observed.s3_bucket_name.is_none() && observed.knows(TrailPart::Settings) {
        return Some(TrailRefusal::NoBucket);
    }
    if observed.selectors == desired.selectors { None } else { desired.selectors.exceeded().map(TrailRefusal::NoRoom) }
}

/// What a restore costs that nobody asked for; `None`: nothing.
pub fn note(drift: &Drift<Option<Trail>, Trail>) -> Option<String> {
    let Drift { observed, desired } = drift;
    let before = observed.as_ref().is_some_and(|it| it.selectors.are_for_all_objects());
    (!before && desired.selectors.are_for_all_objects() && desired.selectors.exceeded().is_none()).then(|| {
        "The trail has no room for one guarded bucket more by name, so from now on it logs reads and writes of all objects \
         of this account. CloudTrail charges $0.10 for every 100,000 of them. To log guarded buckets only, share them out \
         over more trails (`trail_arn` in the registry document)."
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::selectors::{
        AdvancedEventSelector, EventSelector, FieldSelector, MANAGEMENT_EVENTS, OUR_DATA_EVENTS, OUR_MANAGEMENT_EVENTS,
        S3_OBJECT, WATCHED,
    };

    impl Selectors {
        fn advanced_mut(&mut self) -> &mut Vec<AdvancedEventSelector> {
            match self {
                Self::Basic(_) => panic!("basic"),
                Self::Advanced(selectors) => selectors,
            }
        }
    }

    fn required() -> RequiredTrail {
        RequiredTrail {
            arn: "arn:aws:cloudtrail:eu-west-2:111122223333:trail/t".parse().unwrap(),
            key: "arn:aws:kms:eu-west-2:111122223333:key/k".parse().unwrap(),
            log_bucket: "acme-data-logs".parse().unwrap(),
            objects: vec!["arn:aws:s3:::acme-data/".to_owned()],
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
        let again = |observed: Option<Trail>| {
            must_be_read_again(&Drift { desired: Trail::requiring(observed.as_ref(), &required()), observed })
        };
        assert!(again(Some(Trail { is_logging: false, ..good() })) && again(None));
        assert!(!again(Some(Trail { log_file_validation_enabled: false, ..good() })));
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
                FieldSelector { equals: vec![category.to_owned()], ..FieldSelector::named("eventCategory") },
                FieldSelector {
                    not_equals: vec!["kms.amazonaws.com".to_owned()],
                    ..FieldSelector::named("eventSource")
                },
            ],
        };
        for (selectors, kept) in [
            (Selectors::Basic(vec![basic("ReadOnly", true, &[])]), 1),
            (Selectors::Basic(vec![basic("All", false, &[])]), 1),
            (Selectors::Basic(vec![basic("All", true, &["kms.amazonaws.com"])]), 1),
            (Selectors::Advanced(vec![lambda("Management")]), 1),
            (Selectors::Advanced(vec![lambda("Data")]), 1),
            // A value with every other selector full: nothing is dropped there, either.
            (Selectors::Basic(vec![basic("ReadOnly", true, &[]); 3]), 3),
        ] {
            assert!(!selectors.log_management_writes());
            let desired = selectors.clone().requiring(&required().objects[0]);
            assert!(desired.log_management_writes());
            assert_eq!(desired.basic()[..selectors.basic().len()], *selectors.basic());
            assert_eq!(desired.advanced()[..selectors.advanced().len()], *selectors.advanced());
            assert!(desired.basic().len() + desired.advanced().len() > kept);
            assert_eq!(desired.clone().requiring(&required().objects[0]), desired, "and that is all");
        }
    }

    #[test]
    fn management_events_under_the_name_of_our_data_events_do_not_count() {
        let mut selectors = good().selectors;
        selectors.advanced_mut().retain(|it| it.is_named(OUR_DATA_EVENTS));
        selectors.advanced_mut()[0].field_selectors.truncate(1);
        selectors.advanced_mut()[0].field_selectors[0].equals = vec!["Management".to_owned()];
        let desired = selectors.requiring(&required().objects[0]);
        assert!(desired.log_management_writes(), "{desired:?}");
        assert_eq!(desired.clone().requiring(&required().objects[0]), desired);
    }

    fn advanced(name: &str, field_selectors: Vec<FieldSelector>) -> AdvancedEventSelector {
        AdvancedEventSelector { name: Some(name.to_owned()), field_selectors }
    }

    fn trail(selectors: Selectors) -> Trail {
        Trail { selectors, ..good() }
    }

    fn values(prefix: &str, count: usize) -> Vec<String> {
        (0..count).map(|n| format!("arn:aws:s3:::{prefix}{n:03}/")).collect()
    }

    #[test]
    fn buckets_of_one_trail_share_a_selector() {
        let both = good().selectors.requiring("arn:aws:s3:::other/");
        assert_eq!(both.advanced().len(), 2);
        let ours = both.advanced().iter().find(|it| it.is_named(OUR_DATA_EVENTS)).unwrap();
        assert_eq!(ours.field_selectors[2].starts_with, ["arn:aws:s3:::acme-data/", "arn:aws:s3:::other/"]);
        assert_eq!(both.clone().requiring("arn:aws:s3:::acme-data/"), both);

        let theirs = basic("WriteOnly", true, &[]);
        let mut all = Selectors::Basic(vec![theirs.clone()]);
        for bucket in values("b", 20) {
            all = all.requiring(&bucket);
        }
        assert_eq!((all.basic().len(), &all.basic()[0]), (2, &theirs));
        assert_eq!(all.basic()[1].s3_objects().unwrap(), values("b", 20));

        // One that is for management events, too, grows as well; the owner's first one stays as it is.
        let mut all = Selectors::Basic(vec![basic("ReadOnly", true, &[])]);
        for bucket in values("b", 20) {
            all = all.requiring(&bucket);
        }
        assert_eq!((all.basic().len(), all.basic()[1].include_management_events), (2, true));
        let mut theirs = basic("All", true, &[]);
        theirs.data_resources = vec![(S3_OBJECT.to_owned(), values("b", 1))];
        let all = Selectors::Basic(vec![theirs.clone()]).requiring("arn:aws:s3:::other/");
        assert_eq!((all.basic().len(), &all.basic()[0]), (2, &theirs));
    }

    #[test]
    fn a_selector_that_grows_loses_its_duplicates_and_a_second_one_of_ours_goes() {
        let mut prefixes = values("b", 2);
        prefixes.extend(values("b", 2));
        let before = Selectors::Advanced(vec![
            AdvancedEventSelector::management(),
            AdvancedEventSelector::objects(prefixes),
            AdvancedEventSelector::objects(values("c", 1)),
        ]);
        let after = before.requiring("arn:aws:s3:::acme-data/");
        let buckets = [values("b", 2), values("c", 1), vec!["arn:aws:s3:::acme-data/".to_owned()]].concat();
        let expected = vec![AdvancedEventSelector::management(), AdvancedEventSelector::objects(buckets)];
        assert_eq!(after.advanced(), expected);
    }

    #[test]
    fn only_what_hides_a_watched_service_is_blind() {
        let field = |name: &str| FieldSelector::named(name);
        let texts = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        let without = |sources: &[&str]| FieldSelector { not_equals: texts(sources), ..field("eventSource") };
        for (filter, sees) in [
            (without(&["rdsdata.amazonaws.com"]), true),
            (without(&["rdsdata.amazonaws.com", "ec2.amazonaws.com"]), true),
            (without(&["kms.amazonaws.com"]), false),
            (without(&["rdsdata.amazonaws.com", "ssm.amazonaws.com"]), false),
            (FieldSelector { not_starts_with: texts(&["s"]), ..field("eventSource") }, false),
            (FieldSelector { not_starts_with: texts(&["rds"]), ..field("eventSource") }, true),
            (FieldSelector { not_ends_with: texts(&[".com"]), ..field("eventSource") }, false),
            (FieldSelector { equals: texts(&WATCHED), ..field("eventSource") }, true),
            (FieldSelector { equals: texts(&WATCHED[1..]), ..field("eventSource") }, false),
            (FieldSelector { ends_with: texts(&[".amazonaws.com"]), ..field("eventSource") }, true),
            (FieldSelector::equal("readOnly", "false"), true),
            (FieldSelector { not_equals: texts(&["true"]), ..field("readOnly") }, true),
            (FieldSelector::equal("readOnly", "true"), false),
            (FieldSelector { not_equals: texts(&["false"]), ..FieldSelector::equal("readOnly", "false") }, false),
            (FieldSelector { not_equals: texts(&["GenerateDataKey", "Decrypt"]), ..field("eventName") }, true),
            (FieldSelector { not_equals: texts(&["Decrypt", "PutBucketPolicy"]), ..field("eventName") }, false),
            (FieldSelector { not_starts_with: texts(&["Put"]), ..field("eventName") }, false),
            (FieldSelector::equal("eventName", "PutBucketPolicy"), false),
            (
                FieldSelector {
                    not_equals: texts(&["arn:aws:iam::111122223333:role/ci"]),
                    ..field("userIdentity.arn")
                },
                false,
            ),
            (FieldSelector::equal("eventType", "AwsApiCall"), true),
            (FieldSelector::equal("eventType", "AwsServiceEvent"), false),
            (FieldSelector::equal("inventedIn2027", "x"), false),
        ] {
            let theirs = advanced("theirs", vec![FieldSelector::equal("eventCategory", "Management"), filter.clone()]);
            let selectors =
                Selectors::Advanced(vec![theirs.clone(), AdvancedEventSelector::objects(required().objects)]);
            assert_eq!(selectors.log_management_writes(), sees, "{filter:?}");
            let desired = selectors.clone().requiring(&required().objects[0]);
            assert_eq!(desired == selectors, sees, "{filter:?}");
            assert!(desired.log_management_writes(), "{filter:?}");
            assert_eq!(desired.advanced()[0], theirs);
        }
        for (excluded, sees) in
            [(&["rdsdata.amazonaws.com"][..], true), (&["rdsdata.amazonaws.com", "kms.amazonaws.com"], false)]
        {
            let selectors = Selectors::Basic(vec![basic("All", true, excluded)]);
            assert_eq!(selectors.log_management_writes(), sees);
        }
    }

    #[test]
    fn what_their_owner_leaves_out_and_nobody_needs_stays_out() {
        let unwanted = vec!["kms.amazonaws.com".to_owned(), "rdsdata.amazonaws.com".to_owned()];
        let theirs = advanced(
            MANAGEMENT_EVENTS,
            vec![
                FieldSelector::equal("eventCategory", "Management"),
                FieldSelector { not_equals: unwanted.clone(), ..FieldSelector::named("eventSource") },
            ],
        );
        let desired = Selectors::Advanced(vec![theirs.clone()]).requiring(&required().objects[0]);
        let ours = desired.advanced().iter().find(|it| it.is_named(OUR_MANAGEMENT_EVENTS)).unwrap();
        assert_eq!(ours.field_selectors[1].not_equals, ["rdsdata.amazonaws.com"]);

        let theirs = basic("All", true, &["kms.amazonaws.com", "rdsdata.amazonaws.com"]);
        let desired = Selectors::Basic(vec![theirs]).requiring(&required().objects[0]);
        assert_eq!(desired.basic().last().unwrap().exclude_management_event_sources, ["rdsdata.amazonaws.com"]);
    }

    #[test]
    fn the_management_selector_has_the_consoles_name_and_one_of_before_stays() {
        assert!(good().selectors.advanced().contains(&AdvancedEventSelector::management()));
        let mut before = good().selectors;
        let old = before.advanced_mut().iter_mut().find(|it| it.is_named(MANAGEMENT_EVENTS)).unwrap();
        old.name = Some(OUR_MANAGEMENT_EVENTS.to_owned());
        assert_eq!(restore(Some(trail(before.clone()))), []);
        let old = before.advanced_mut().iter_mut().find(|it| it.is_named(OUR_MANAGEMENT_EVENTS)).unwrap();
        old.field_selectors.push(FieldSelector::equal("readOnly", "true"));
        let mended = before.requiring(&required().objects[0]);
        let of_management = |it: &&AdvancedEventSelector| it.is_of_category("Management");
        assert_eq!(mended.advanced().iter().filter(of_management).count(), 1, "ours was mended: {mended:?}");
    }

    #[test]
    fn a_field_that_anything_narrows_selects_no_whole_bucket() {
        let objects = required().objects.remove(0);
        let prefix = || FieldSelector { starts_with: vec![objects.clone()], ..FieldSelector::named("resources.ARN") };
        let one = || vec![objects.clone()];
        let under = vec![format!("{objects}reports/")];
        for (arn, whole) in [
            (prefix(), true),
            (FieldSelector { equals: under.clone(), ..prefix() }, true),
            (FieldSelector { not_starts_with: one(), ..prefix() }, false),
            (FieldSelector { not_starts_with: under.clone(), ..prefix() }, false),
            (FieldSelector { not_starts_with: vec!["arn:aws:s3:::other/".to_owned()], ..prefix() }, true),
            (FieldSelector { not_equals: under.clone(), ..prefix() }, false),
            (FieldSelector { not_ends_with: vec![".tmp".to_owned()], ..prefix() }, false),
            (FieldSelector { starts_with: under, ..FieldSelector::named("resources.ARN") }, false),
            (FieldSelector { ends_with: vec!["x".to_owned()], ..FieldSelector::named("resources.ARN") }, false),
        ] {
            let mut selector = AdvancedEventSelector::objects(one());
            selector.field_selectors[2] = arn.clone();
            assert_eq!(selector.selects_objects(&objects), whole, "{arn:?}");
            let desired = Selectors::Advanced(vec![selector, AdvancedEventSelector::management()]).requiring(&objects);
            let ours: Vec<_> = desired.advanced().iter().filter(|it| it.is_named(OUR_DATA_EVENTS)).collect();
            assert!(matches!(ours.as_slice(), [one] if one.selects_objects(&objects)), "{desired:?}");
        }
        let mut reads = AdvancedEventSelector::objects(one());
        reads.field_selectors.push(FieldSelector::equal("readOnly", "true"));
        assert!(!reads.selects_objects(&objects));
    }

    #[test]
    fn where_names_have_no_room_one_value_stands_for_all_objects_and_its_cost_is_told() {
        // 3 of its fields are other values.
        let full = Selectors::Advanced(vec![
            AdvancedEventSelector::management(),
            AdvancedEventSelector::objects(values("b", 497)),
        ]);
        assert_eq!(full.exceeded(), None);
        let drift =
            Drift { desired: Trail::requiring(Some(&trail(full.clone())), &required()), observed: Some(trail(full)) };
        let all = AdvancedEventSelector::objects(vec!["arn:aws:s3:::".to_owned()]);
        let selectors = Selectors::Advanced(vec![AdvancedEventSelector::management(), all]);
        assert_eq!(calls(&drift), [TrailCall::PutSelectors(selectors.clone())]);
        assert_eq!(unrestorable(&drift), None);
        assert!(note(&drift).unwrap().contains("$0.10"));
        assert_eq!(restore(Some(trail(selectors))), []);

        let mut ours = basic("All", false, &[]);
        ours.data_resources = vec![(S3_OBJECT.to_owned(), values("b", 250))];
        let full = Selectors::Basic(vec![basic("WriteOnly", true, &[]), ours]);
        let after = full.requiring(&required().objects[0]);
        assert_eq!(after.basic()[1].s3_objects().unwrap(), ["arn:aws:s3"]);
        assert_eq!(after.clone().requiring("arn:aws:s3:::other/"), after);
        assert!(after.are_for_all_objects());
    }

    #[test]
    fn what_has_no_room_at_all_is_told_and_the_rest_is_restored() {
        let mut all = basic("WriteOnly", false, &[]);
        all.data_resources = vec![("AWS::Lambda::Function".to_owned(), vec!["arn:aws:lambda".to_owned()])];
        let of_data = |count: usize| {
            let mut one = basic("WriteOnly", true, &[]);
            one.data_resources = vec![("AWS::Lambda::Function".to_owned(), vec!["arn".to_owned(); count])];
            one
        };
        let many = FieldSelector { equals: vec!["x".to_owned(); 499], ..FieldSelector::named("eventName") };
        let of_functions = advanced("theirs", vec![FieldSelector::equal("eventCategory", "Data"), many]);
        for (selectors, limit) in [
            (Selectors::Basic(vec![basic("WriteOnly", true, &[]); 5]), Limit::BasicSelectors),
            (Selectors::Basic(vec![all; 5]), Limit::BasicSelectors),
            (Selectors::Basic(vec![of_data(250)]), Limit::DataResources),
            (Selectors::Advanced(vec![of_functions]), Limit::Conditions),
        ] {
            let observed = Some(Trail { is_logging: false, ..trail(selectors) });
            let drift = Drift { desired: Trail::requiring(observed.as_ref(), &required()), observed };
            assert_eq!(calls(&drift), [TrailCall::StartLogging], "{limit}");
            assert_eq!(unrestorable(&drift), Some(TrailRefusal::NoRoom(limit)));
            assert_eq!(note(&drift), None);
        }
        // Management events have room, data events have none.
        let mut blind = of_data(250);
        blind.read_write_type = "ReadOnly".to_owned();
        let blind = Selectors::Basic(vec![blind]);
        let drift =
            Drift { desired: Trail::requiring(Some(&trail(blind.clone())), &required()), observed: Some(trail(blind)) };
        let [TrailCall::PutSelectors(put)] = <[_; 1]>::try_from(calls(&drift)).unwrap() else { panic!("{drift:?}") };
        assert!(put.log_management_writes());
        assert_eq!(unrestorable(&drift), Some(TrailRefusal::NoRoom(Limit::DataResources)));
    }

    #[test]
    fn five_full_selectors_take_one_more_bucket_where_one_has_the_form_of_ours() {
        let mut ours = basic("All", false, &[]);
        ours.data_resources = vec![(S3_OBJECT.to_owned(), values("b", 1))];
        let theirs = basic("ReadOnly", true, &[]);
        let full = Selectors::Basic([vec![theirs.clone(); 4], vec![ours]].concat());
        let after = full.requiring(&required().objects[0]);
        assert_eq!((after.exceeded(), &after.basic()[..4]), (None, &vec![theirs; 4][..]));
        assert!(after.log_management_writes() && after.basic()[4].selects_objects(&required().objects[0]));
    }

    #[test]
    fn a_trail_that_names_no_bucket_is_told() {
        let observed = Some(Trail { s3_bucket_name: None, ..good() });
        let drift = Drift { desired: Trail::requiring(observed.as_ref(), &required()), observed };
        assert_eq!((calls(&drift), unrestorable(&drift)), (vec![], Some(TrailRefusal::NoBucket)));
    }

    #[test]
    fn what_could_not_be_read_is_neither_restored_nor_told_to_be_wrong() {
        let parts = [TrailPart::Settings, TrailPart::Status, TrailPart::Selectors];
        let bare = Trail {
            is_logging: false,
            is_multi_region_trail: false,
            log_file_validation_enabled: false,
            kms_key_id: None,
            s3_bucket_name: None,
            latest_delivery_error: None,
            latest_digest_delivery_error: None,
            selectors: Selectors::NONE,
            unread: Vec::new(),
        };
        for (part, calls_left, told, shown) in [
            (
                TrailPart::Settings,
                2,
                None,
                &["IsMultiRegionTrail", "LogFileValidationEnabled", "KmsKeyId", "S3BucketName"][..],
            ),
            (TrailPart::Status, 2, Some(TrailRefusal::NoBucket), &["IsLogging", "LatestDeliveryError"]),
            (TrailPart::Selectors, 2, Some(TrailRefusal::NoBucket), &["EventSelectors"]),
        ] {
            let observed = Trail { unread: vec![(part, ApiError::new("Get", "denied"))], ..bare.clone() };
            assert_eq!(parts.map(|it| observed.knows(it)), parts.map(|it| it != part));
            let json = observed.to_json();
            let unread: Vec<_> = json.as_object().unwrap().iter().filter(|it| it.1 == UNREAD).map(|it| it.0).collect();
            assert_eq!(unread, shown);
            let desired = Trail::requiring(Some(&observed), &required());
            assert_eq!(desired.unread, observed.unread);
            let drift = Drift { observed: Some(observed), desired };
            assert_eq!((calls(&drift).len(), unrestorable(&drift)), (calls_left, told), "{part:?}");
        }
        assert_eq!(restore(Some(bare)).len(), 3);
    }

    #[test]
    fn an_undelivered_digest_is_told_too() {
        let told = |observed: Trail| {
            let desired = Trail::requiring(Some(&observed), &required());
            unrestorable(&Drift { observed: Some(observed), desired })
        };
        let error = || Some("AccessDenied".to_owned());
        let digest = Trail { latest_digest_delivery_error: error(), ..good() };
        assert_eq!(told(digest.clone()), Some(TrailRefusal::DigestUndelivered("AccessDenied".to_owned())));
        let both = Trail { latest_delivery_error: error(), ..digest };
        assert_eq!(told(both), Some(TrailRefusal::Undelivered("AccessDenied".to_owned())));
        assert_eq!(told(good()), None);
    }
}
