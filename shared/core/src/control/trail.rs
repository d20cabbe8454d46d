//! The trail: what it is, what it should be, and the calls from the one to the other. Pure.
//!
//! Without a trail that logs management writes, EventBridge hears of nothing.

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    control::table::{Control, is_told},
    value::{
        drift::Drift,
        failure::{ApiError, UNREAD},
        names::{BucketName, KeyArn, TrailArn},
        own_parts::is_tampering,
    },
};

/// CloudTrail's limits for one trail; AWS raises none of them. A condition is one value of an advanced selector.
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/WhatIsCloudTrail-Limits.html>
const MAX_BASIC_SELECTORS: usize = 5;

const MAX_DATA_RESOURCES: usize = 250;

const MAX_CONDITIONS: usize = 500;

/// CloudTrail's limit for the trails of one region, those of other regions that log here included.
pub const MAX_TRAILS: usize = 5;

const S3_OBJECT: &str = "AWS::S3::Object";

const OUR_DATA_EVENTS: &str = "s3-guardrail: objects of guarded buckets";

/// The console's own name, by which others know the selector, too.
const MANAGEMENT_EVENTS: &str = "Management events selector";

/// Ours where the console's name is taken; it was ours for all in earlier versions.
const OUR_MANAGEMENT_EVENTS: &str = "s3-guardrail: management events";

/// The services whose management writes the guardrail lives on: whoever hides one of them blinds it.
const WATCHED: [&str; 9] = [
    "s3.amazonaws.com",
    "kms.amazonaws.com",
    "cloudtrail.amazonaws.com",
    "events.amazonaws.com",
    "iam.amazonaws.com",
    "lambda.amazonaws.com",
    "sns.amazonaws.com",
    "sqs.amazonaws.com",
    "ssm.amazonaws.com",
];

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
    /// Why the last digest, which proves that the log files are whole, could not be delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_digest_delivery_error: Option<String>,
    #[serde(flatten)]
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

/// What no call restores of a trail.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
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

/// A limit of CloudTrail's for what one trail selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    BasicSelectors,
    DataResources,
    Conditions,
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BasicSelectors => write!(f, "{MAX_BASIC_SELECTORS} basic event selectors a trail"),
            Self::DataResources => write!(f, "{MAX_DATA_RESOURCES} data resources a trail"),
            Self::Conditions => write!(f, "{MAX_CONDITIONS} values in all advanced event selectors of a trail"),
        }
    }
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
        let mut desired = Self {
            is_logging: true,
            is_multi_region_trail: true,
            log_file_validation_enabled: true,
            kms_key_id: Some(key),
            s3_bucket_name: Some(bucket.unwrap_or_else(|| required.log_bucket.to_string())),
            latest_delivery_error: None,
            latest_digest_delivery_error: None,
            selectors: selectors.requiring(&required.objects),
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
        self.unread.iter().all(|it| it.0 != part)
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

/// The calls that lead from what is to what should be. What they cannot restore, [`beyond`] tells.
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

/// What of a drift no call restores.
pub fn beyond(drift: &Drift<Option<Trail>, Trail>) -> Option<TrailRefusal> {
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

impl Selectors {
    /// The selectors with management writes and with reads and writes of objects whose ARN begins with `objects`,
    /// beside whatever else is there. May be more than CloudTrail takes.
    pub fn requiring(self, objects: &str) -> Self {
        // Room for 500 values, where basic selectors have room for 250.
        let this = if self.is_default() { Self::default() } else { self };
        if this.basic.is_empty() {
            this.with_management_writes().with_objects(objects)
        } else {
            // Where there is room for one more selector, the one for objects has to do for both.
            this.with_objects(objects).with_management_writes()
        }
    }

    fn with_objects(mut self, objects: &str) -> Self {
        if self.basic.is_empty() {
            if !self.advanced.iter().any(|it| it.selects_objects(objects)) {
                self.advanced = advanced_with_objects(self.advanced, objects);
            }
        } else if !self.basic.iter().any(|it| it.selects_objects(objects)) {
            let also_management = !self.log_management_writes();
            self.basic = basic_with_objects(self.basic, objects, also_management);
        }
        self
    }

    fn with_management_writes(mut self) -> Self {
        // What stands under the name of our data events may have to go, whatever it selects.
        let without_ours = Self {
            basic: self.basic.clone(),
            advanced: self.advanced.iter().filter(|it| !it.is_named(OUR_DATA_EVENTS)).cloned().collect(),
        };
        if !without_ours.log_management_writes() {
            if self.basic.is_empty() {
                self.advanced = advanced_with_management(self.advanced);
            } else {
                self.basic = basic_with_management(self.basic);
            }
        }
        self
    }

    /// What a trail has that nobody configured: all management events, nothing else.
    fn is_default(&self) -> bool {
        matches!(self.basic.as_slice(), [one] if one.include_management_events
            && one.read_write_type == "All"
            && one.data_resources.is_empty()
            && one.exclude_management_event_sources.is_empty())
    }

    /// Whether EventBridge hears of all management writes that the guardrail lives on.
    pub fn log_management_writes(&self) -> bool {
        WATCHED.iter().all(|source| {
            self.basic.iter().any(|it| it.selects_management_writes(source))
                || self.advanced.iter().any(|it| it.selects_management_writes(source))
        })
    }

    /// The limit of CloudTrail's that these selectors are beyond.
    fn exceeded(&self) -> Option<Limit> {
        let data_resources: usize = self.basic.iter().flat_map(|it| &it.data_resources).map(|it| it.1.len()).sum();
        if self.basic.len() > MAX_BASIC_SELECTORS {
            Some(Limit::BasicSelectors)
        } else if data_resources > MAX_DATA_RESOURCES {
            Some(Limit::DataResources)
        } else if conditions(&self.advanced) > MAX_CONDITIONS {
            Some(Limit::Conditions)
        } else {
            None
        }
    }

    fn are_for_all_objects(&self) -> bool {
        // No bucket has this name.
        let any = "arn:*:s3:::*/";
        let all = |values: &[String]| values.iter().any(|it| is_all_objects(it));
        self.basic.iter().any(|it| it.selects_objects(any) || all(it.s3_objects().unwrap_or_default()))
            || self.advanced.iter().any(|it| {
                it.selects_objects(any)
                    || it.field_selectors.iter().any(|it| it.field == "resources.ARN" && all(&it.starts_with))
            })
    }
}

fn conditions(selectors: &[AdvancedEventSelector]) -> usize {
    let values = |it: &FieldSelector| {
        let FieldSelector { field: _, equals, starts_with, ends_with, not_equals, not_starts_with, not_ends_with } = it;
        [equals, starts_with, ends_with, not_equals, not_starts_with, not_ends_with].map(Vec::len).iter().sum::<usize>()
    };
    selectors.iter().flat_map(|it| &it.field_selectors).map(values).sum()
}

/// `arn:PARTITION:s3`, with or without colons: the beginning of every object's ARN.
fn is_all_objects(value: &str) -> bool {
    value.trim_end_matches(':').strip_prefix("arn:").and_then(|it| it.split_once(':')).is_some_and(|it| it.1 == "s3")
}

/// `arn:PARTITION:s3:::BUCKET/`, which is what our selectors hold.
fn is_whole_bucket(value: &str) -> bool {
    value
        .split_once(":s3:::")
        .and_then(|it| it.1.strip_suffix('/'))
        .is_some_and(|it| !it.is_empty() && !it.contains('/'))
}

/// Services that `selectors` all leave out and that the guardrail does not need: their owner does not want them.
fn unwanted(selectors: &[&[String]]) -> Vec<String> {
    let Some((first, rest)) = selectors.split_first() else { return Vec::new() };
    let unwanted = first.iter().filter(|it| !WATCHED.contains(&it.as_str()) && rest.iter().all(|all| all.contains(it)));
    unwanted.cloned().collect()
}

impl EventSelector {
    fn selects_management_writes(&self, source: &str) -> bool {
        self.include_management_events
            && self.read_write_type != "ReadOnly"
            && !self.exclude_management_event_sources.iter().any(|it| it == source)
    }

    fn selects_objects(&self, objects: &str) -> bool {
        let resources = self.data_resources.iter().filter(|it| it.0 == S3_OBJECT);
        self.read_write_type == "All" && resources.flat_map(|it| &it.1).any(|it| objects.starts_with(it.as_str()))
    }

    /// The objects that it is for, if it is for nothing else.
    fn s3_objects(&self) -> Option<&[String]> {
        match self.data_resources.as_slice() {
            [(kind, values)] if kind == S3_OBJECT => Some(values),
            _ => None,
        }
    }

    /// Whether it has the form of ours: all events of whole buckets. Basic selectors have no names; one of the owner's
    /// that looks like ours keeps what it has, and gets more.
    fn is_ours(&self) -> bool {
        self.read_write_type == "All"
            && !self.exclude_management_event_sources.iter().any(|it| WATCHED.contains(&it.as_str()))
            && self.s3_objects().is_some_and(|it| it.iter().all(|it| is_whole_bucket(it)))
    }
}

fn basic_with_objects(mut selectors: Vec<EventSelector>, objects: &str, also_management: bool) -> Vec<EventSelector> {
    let full = selectors.len() >= MAX_BASIC_SELECTORS;
    let values: usize = selectors.iter().flat_map(|it| &it.data_resources).map(|it| it.1.len()).sum();
    // The first one is the owner's, unless it is for objects alone.
    let grows = |place: usize, it: &EventSelector| it.is_ours() && (full || place > 0 || !it.include_management_events);
    let mut ours = selectors.iter_mut().enumerate().filter(|(place, it)| grows(*place, it)).map(|(_, it)| it);
    match ours.next().and_then(|it| it.data_resources.first_mut()) {
        Some((_, buckets)) => {
            buckets.push(objects.to_owned());
            let before = buckets.len() - 1;
            dedup(buckets);
            if values - before + buckets.len() > MAX_DATA_RESOURCES {
                *buckets = vec![format!("{}:s3", partition(objects))];
            }
        }
        None => {
            let exclude_management_event_sources = if also_management { unwanted_in(&selectors) } else { Vec::new() };
            selectors.push(EventSelector {
                read_write_type: "All".to_owned(),
                include_management_events: also_management,
                data_resources: vec![(S3_OBJECT.to_owned(), vec![objects.to_owned()])],
                exclude_management_event_sources,
            });
        }
    }
    selectors
}

fn unwanted_in(selectors: &[EventSelector]) -> Vec<String> {
    let theirs = selectors.iter().filter(|it| it.include_management_events);
    unwanted(&theirs.map(|it| it.exclude_management_event_sources.as_slice()).collect::<Vec<_>>())
}

fn basic_with_management(mut selectors: Vec<EventSelector>) -> Vec<EventSelector> {
    let full = selectors.len() >= MAX_BASIC_SELECTORS;
    if let Some(ours) = selectors.iter_mut().find(|it| full && it.is_ours()) {
        ours.include_management_events = true;
        return selectors;
    }
    let exclude_management_event_sources = unwanted_in(&selectors);
    selectors.push(EventSelector {
        read_write_type: "WriteOnly".to_owned(),
        include_management_events: true,
        data_resources: Vec::new(),
        exclude_management_event_sources,
    });
    selectors
}

fn advanced_with_objects(mut selectors: Vec<AdvancedEventSelector>, objects: &str) -> Vec<AdvancedEventSelector> {
    // All guarded buckets of a trail share one selector.
    let place = selectors.iter().position(|it| it.is_named(OUR_DATA_EVENTS)).unwrap_or(selectors.len());
    let (ours, mut selectors): (Vec<_>, Vec<_>) = selectors.drain(..).partition(|it| it.is_named(OUR_DATA_EVENTS));
    let fields = ours.into_iter().flat_map(|it| it.field_selectors).filter(|it| it.field == "resources.ARN");
    let mut buckets: Vec<_> = fields.flat_map(|it| it.starts_with).filter(|it| is_whole_bucket(it)).collect();
    buckets.push(objects.to_owned());
    dedup(&mut buckets);
    let by_name = AdvancedEventSelector::objects(buckets);
    let has_room = conditions(&selectors) + conditions(std::slice::from_ref(&by_name)) <= MAX_CONDITIONS;
    let all = || AdvancedEventSelector::objects(vec![format!("{}:s3:::", partition(objects))]);
    selectors.insert(place, if has_room { by_name } else { all() });
    selectors
}

fn advanced_with_management(mut selectors: Vec<AdvancedEventSelector>) -> Vec<AdvancedEventSelector> {
    let mut ours = AdvancedEventSelector::management();
    let theirs: Vec<_> = selectors
        .iter()
        .filter(|it| {
            it.is_of_category("Management") && !it.is_named(OUR_DATA_EVENTS) && !it.is_named(OUR_MANAGEMENT_EVENTS)
        })
        .collect();
    if !theirs.is_empty() {
        // They say what of the rest their owner wants.
        let unwanted = unwanted(&theirs.iter().map(|it| it.left_out_sources()).collect::<Vec<_>>());
        if !unwanted.is_empty() {
            ours.field_selectors.push(FieldSelector { not_equals: unwanted, ..FieldSelector::of("eventSource") });
        }
        ours.field_selectors.push(FieldSelector::equal("readOnly", "false"));
    }
    if theirs.iter().any(|it| it.is_named(MANAGEMENT_EVENTS)) {
        ours.name = Some(OUR_MANAGEMENT_EVENTS.to_owned());
    }
    match selectors.iter().position(|it| it.is_named(OUR_MANAGEMENT_EVENTS)) {
        // Ours, and changed.
        Some(place) => selectors[place] = AdvancedEventSelector { name: selectors[place].name.take(), ..ours },
        None => selectors.push(ours),
    }
    selectors
}

fn partition(objects: &str) -> &str {
    objects.split(":s3:").next().unwrap_or(objects)
}

/// Leaves out what was there before, in order.
fn dedup(values: &mut Vec<String>) {
    let mut seen = std::collections::BTreeSet::new();
    values.retain(|it| seen.insert(it.clone()));
}

impl FieldSelector {
    fn of(field: &str) -> Self {
        Self { field: field.to_owned(), ..Self::default() }
    }

    fn equal(field: &str, value: &str) -> Self {
        Self { equals: vec![value.to_owned()], ..Self::of(field) }
    }

    /// Whether it lets an event with this value through: one of its positive operators does, if it has any, and none of
    /// its negative ones hides it.
    /// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/filtering-data-events.html>
    fn passes(&self, value: &str) -> bool {
        let Self { field: _, equals, starts_with, ends_with, not_equals, not_starts_with, not_ends_with } = self;
        let positive = equals.iter().any(|it| it == value)
            || starts_with.iter().any(|it| value.starts_with(it.as_str()))
            || ends_with.iter().any(|it| value.ends_with(it.as_str()));
        let negative = not_equals.iter().any(|it| it == value)
            || not_starts_with.iter().any(|it| value.starts_with(it.as_str()))
            || not_ends_with.iter().any(|it| value.ends_with(it.as_str()));
        (positive || equals.is_empty() && starts_with.is_empty() && ends_with.is_empty()) && !negative
    }

    /// Whether it lets every event through whose value begins with `prefix`.
    fn passes_all(&self, prefix: &str) -> bool {
        let Self { field: _, equals, starts_with, ends_with, not_equals, not_starts_with, not_ends_with } = self;
        let positive = starts_with.iter().any(|it| prefix.starts_with(it.as_str()))
            || equals.is_empty() && starts_with.is_empty() && ends_with.is_empty();
        let negative = not_equals.iter().any(|it| it.starts_with(prefix))
            || not_starts_with.iter().any(|it| it.starts_with(prefix) || prefix.starts_with(it.as_str()))
            || !not_ends_with.is_empty();
        positive && !negative
    }

    /// Whether it does no more than leave out calls that the guardrail does not need to hear of.
    fn leaves_out_only_unneeded_calls(&self) -> bool {
        let Self { field: _, equals, starts_with, ends_with, not_equals, not_starts_with, not_ends_with } = self;
        let needed = |it: &String| Control::of_event(it).is_some() || is_told(it) || is_tampering(it);
        [equals, starts_with, ends_with, not_starts_with, not_ends_with].iter().all(|it| it.is_empty())
            && !not_equals.iter().any(needed)
    }
}

impl AdvancedEventSelector {
    /// All management events, in the console's words.
    fn management() -> Self {
        let field_selectors = vec![FieldSelector::equal("eventCategory", "Management")];
        Self { name: Some(MANAGEMENT_EVENTS.to_owned()), field_selectors }
    }

    /// Reads and writes of objects whose ARN begins so.
    fn objects(prefixes: Vec<String>) -> Self {
        let field_selectors = vec![
            FieldSelector::equal("eventCategory", "Data"),
            FieldSelector::equal("resources.type", S3_OBJECT),
            FieldSelector { starts_with: prefixes, ..FieldSelector::of("resources.ARN") },
        ];
        Self { name: Some(OUR_DATA_EVENTS.to_owned()), field_selectors }
    }

    fn is_named(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name)
    }

    fn left_out_sources(&self) -> &[String] {
        let field = self.field_selectors.iter().find(|it| it.field == "eventSource");
        field.map_or(&[], |it| it.not_equals.as_slice())
    }

    fn is_of_category(&self, category: &str) -> bool {
        self.field_selectors.iter().any(|it| it.field == "eventCategory" && it.equals == [category])
    }

    fn selects_management_writes(&self, source: &str) -> bool {
        self.is_of_category("Management")
            && self.field_selectors.iter().all(|it| match it.field.as_str() {
                "eventCategory" => it.passes("Management"),
                // Writes only is enough.
                "readOnly" => it.passes("false"),
                "eventSource" => it.passes(source),
                "eventType" => it.passes("AwsApiCall"),
                "eventName" => it.leaves_out_only_unneeded_calls(),
                // Such as who called: whoever is left out can do as they like.
                _ => false,
            })
    }

    fn selects_objects(&self, objects: &str) -> bool {
        self.is_of_category("Data")
            && self.field_selectors.iter().all(|it| match it.field.as_str() {
                "eventCategory" => it.passes("Data"),
                "resources.type" => it.passes(S3_OBJECT),
                "resources.ARN" => it.passes_all(objects),
                "readOnly" => it.passes("false") && it.passes("true"),
                _ => false,
            })
    }
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
            // A value with every other selector full: nothing is dropped there, either.
            (Selectors { basic: vec![basic("ReadOnly", true, &[]); 3], advanced: vec![] }, 3),
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
        selectors.advanced.retain(|it| it.is_named(OUR_DATA_EVENTS));
        selectors.advanced[0].field_selectors.truncate(1);
        selectors.advanced[0].field_selectors[0].equals = vec!["Management".to_owned()];
        let desired = selectors.requiring(&required().objects);
        assert!(desired.log_management_writes(), "{desired:?}");
        assert_eq!(desired.clone().requiring(&required().objects), desired);
    }

    fn advanced(name: &str, field_selectors: Vec<FieldSelector>) -> AdvancedEventSelector {
        AdvancedEventSelector { name: Some(name.to_owned()), field_selectors }
    }

    fn trail(selectors: Selectors) -> Trail {
        Trail { selectors, ..good() }
    }

    fn of_advanced(advanced: Vec<AdvancedEventSelector>) -> Selectors {
        Selectors { basic: vec![], advanced }
    }

    fn values(prefix: &str, count: usize) -> Vec<String> {
        (0..count).map(|n| format!("arn:aws:s3:::{prefix}{n:03}/")).collect()
    }

    #[test]
    fn buckets_of_one_trail_share_a_selector() {
        let both = good().selectors.requiring("arn:aws:s3:::other/");
        assert_eq!(both.advanced.len(), 2);
        let ours = both.advanced.iter().find(|it| it.is_named(OUR_DATA_EVENTS)).unwrap();
        assert_eq!(ours.field_selectors[2].starts_with, ["arn:aws:s3:::acme-data/", "arn:aws:s3:::other/"]);
        assert_eq!(both.clone().requiring("arn:aws:s3:::acme-data/"), both);

        let theirs = basic("WriteOnly", true, &[]);
        let mut all = Selectors { basic: vec![theirs.clone()], advanced: vec![] };
        for bucket in values("b", 20) {
            all = all.requiring(&bucket);
        }
        assert_eq!((all.basic.len(), &all.basic[0]), (2, &theirs));
        assert_eq!(all.basic[1].s3_objects().unwrap(), values("b", 20));

        // One that is for management events, too, grows as well; the owner's first one stays as it is.
        let mut all = Selectors { basic: vec![basic("ReadOnly", true, &[])], advanced: vec![] };
        for bucket in values("b", 20) {
            all = all.requiring(&bucket);
        }
        assert_eq!((all.basic.len(), all.basic[1].include_management_events), (2, true));
        let mut theirs = basic("All", true, &[]);
        theirs.data_resources = vec![(S3_OBJECT.to_owned(), values("b", 1))];
        let all = Selectors { basic: vec![theirs.clone()], advanced: vec![] }.requiring("arn:aws:s3:::other/");
        assert_eq!((all.basic.len(), &all.basic[0]), (2, &theirs));
    }

    #[test]
    fn a_selector_that_grows_loses_its_duplicates_and_a_second_one_of_ours_goes() {
        let mut prefixes = values("b", 2);
        prefixes.extend(values("b", 2));
        let before = of_advanced(vec![
            AdvancedEventSelector::management(),
            AdvancedEventSelector::objects(prefixes),
            AdvancedEventSelector::objects(values("c", 1)),
        ]);
        let after = before.requiring("arn:aws:s3:::acme-data/");
        let buckets = [values("b", 2), values("c", 1), vec!["arn:aws:s3:::acme-data/".to_owned()]].concat();
        let expected = vec![AdvancedEventSelector::management(), AdvancedEventSelector::objects(buckets)];
        assert_eq!(after.advanced, expected);
    }

    #[test]
    fn only_what_hides_a_watched_service_is_blind() {
        let field = |name: &str| FieldSelector::of(name);
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
            let selectors = of_advanced(vec![theirs.clone(), AdvancedEventSelector::objects(vec![required().objects])]);
            assert_eq!(selectors.log_management_writes(), sees, "{filter:?}");
            let desired = selectors.clone().requiring(&required().objects);
            assert_eq!(desired == selectors, sees, "{filter:?}");
            assert!(desired.log_management_writes(), "{filter:?}");
            assert_eq!(desired.advanced[0], theirs);
        }
        for (excluded, sees) in
            [(&["rdsdata.amazonaws.com"][..], true), (&["rdsdata.amazonaws.com", "kms.amazonaws.com"], false)]
        {
            let selectors = Selectors { basic: vec![basic("All", true, excluded)], advanced: vec![] };
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
                FieldSelector { not_equals: unwanted.clone(), ..FieldSelector::of("eventSource") },
            ],
        );
        let desired = of_advanced(vec![theirs.clone()]).requiring(&required().objects);
        let ours = desired.advanced.iter().find(|it| it.is_named(OUR_MANAGEMENT_EVENTS)).unwrap();
        assert_eq!(ours.field_selectors[1].not_equals, ["rdsdata.amazonaws.com"]);

        let theirs = basic("All", true, &["kms.amazonaws.com", "rdsdata.amazonaws.com"]);
        let desired = Selectors { basic: vec![theirs], advanced: vec![] }.requiring(&required().objects);
        assert_eq!(desired.basic.last().unwrap().exclude_management_event_sources, ["rdsdata.amazonaws.com"]);
    }

    #[test]
    fn the_management_selector_has_the_consoles_name_and_one_of_before_stays() {
        assert!(good().selectors.advanced.contains(&AdvancedEventSelector::management()));
        let mut before = good().selectors;
        let old = before.advanced.iter_mut().find(|it| it.is_named(MANAGEMENT_EVENTS)).unwrap();
        old.name = Some(OUR_MANAGEMENT_EVENTS.to_owned());
        assert_eq!(restore(Some(trail(before.clone()))), []);
        let old = before.advanced.iter_mut().find(|it| it.is_named(OUR_MANAGEMENT_EVENTS)).unwrap();
        old.field_selectors.push(FieldSelector::equal("readOnly", "true"));
        let mended = before.requiring(&required().objects);
        let of_management = |it: &&AdvancedEventSelector| it.is_of_category("Management");
        assert_eq!(mended.advanced.iter().filter(of_management).count(), 1, "ours was mended: {mended:?}");
    }

    #[test]
    fn a_field_that_anything_narrows_selects_no_whole_bucket() {
        let objects = required().objects;
        let prefix = || FieldSelector { starts_with: vec![objects.clone()], ..FieldSelector::of("resources.ARN") };
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
            (FieldSelector { starts_with: under, ..FieldSelector::of("resources.ARN") }, false),
            (FieldSelector { ends_with: vec!["x".to_owned()], ..FieldSelector::of("resources.ARN") }, false),
        ] {
            let mut selector = AdvancedEventSelector::objects(one());
            selector.field_selectors[2] = arn.clone();
            assert_eq!(selector.selects_objects(&objects), whole, "{arn:?}");
            let desired = of_advanced(vec![selector, AdvancedEventSelector::management()]).requiring(&objects);
            let ours: Vec<_> = desired.advanced.iter().filter(|it| it.is_named(OUR_DATA_EVENTS)).collect();
            assert!(matches!(ours.as_slice(), [one] if one.selects_objects(&objects)), "{desired:?}");
        }
        let mut reads = AdvancedEventSelector::objects(one());
        reads.field_selectors.push(FieldSelector::equal("readOnly", "true"));
        assert!(!reads.selects_objects(&objects));
    }

    #[test]
    fn where_names_have_no_room_one_value_stands_for_all_objects_and_its_cost_is_told() {
        // 3 of its fields are other values.
        let full =
            of_advanced(vec![AdvancedEventSelector::management(), AdvancedEventSelector::objects(values("b", 497))]);
        assert_eq!(full.exceeded(), None);
        let drift =
            Drift { desired: Trail::requiring(Some(&trail(full.clone())), &required()), observed: Some(trail(full)) };
        let all = AdvancedEventSelector::objects(vec!["arn:aws:s3:::".to_owned()]);
        let selectors = of_advanced(vec![AdvancedEventSelector::management(), all]);
        assert_eq!(calls(&drift), [TrailCall::PutSelectors(selectors.clone())]);
        assert_eq!(beyond(&drift), None);
        assert!(note(&drift).unwrap().contains("$0.10"));
        assert_eq!(restore(Some(trail(selectors))), []);

        let mut ours = basic("All", false, &[]);
        ours.data_resources = vec![(S3_OBJECT.to_owned(), values("b", 250))];
        let full = Selectors { basic: vec![basic("WriteOnly", true, &[]), ours], advanced: vec![] };
        let after = full.requiring(&required().objects);
        assert_eq!(after.basic[1].s3_objects().unwrap(), ["arn:aws:s3"]);
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
        let many = FieldSelector { equals: vec!["x".to_owned(); 499], ..FieldSelector::of("eventName") };
        let of_functions = advanced("theirs", vec![FieldSelector::equal("eventCategory", "Data"), many]);
        for (selectors, limit) in [
            (Selectors { basic: vec![basic("WriteOnly", true, &[]); 5], advanced: vec![] }, Limit::BasicSelectors),
            (Selectors { basic: vec![all; 5], advanced: vec![] }, Limit::BasicSelectors),
            (Selectors { basic: vec![of_data(250)], advanced: vec![] }, Limit::DataResources),
            (of_advanced(vec![of_functions]), Limit::Conditions),
        ] {
            let observed = Some(Trail { is_logging: false, ..trail(selectors) });
            let drift = Drift { desired: Trail::requiring(observed.as_ref(), &required()), observed };
            assert_eq!(calls(&drift), [TrailCall::StartLogging], "{limit}");
            assert_eq!(beyond(&drift), Some(TrailRefusal::NoRoom(limit)));
            assert_eq!(note(&drift), None);
        }
        // Management events have room, data events have none.
        let mut blind = of_data(250);
        blind.read_write_type = "ReadOnly".to_owned();
        let blind = Selectors { basic: vec![blind], advanced: vec![] };
        let drift =
            Drift { desired: Trail::requiring(Some(&trail(blind.clone())), &required()), observed: Some(trail(blind)) };
        let [TrailCall::PutSelectors(put)] = <[_; 1]>::try_from(calls(&drift)).unwrap() else { panic!("{drift:?}") };
        assert!(put.log_management_writes());
        assert_eq!(beyond(&drift), Some(TrailRefusal::NoRoom(Limit::DataResources)));
    }

    #[test]
    fn five_full_selectors_take_one_more_bucket_where_one_has_the_form_of_ours() {
        let mut ours = basic("All", false, &[]);
        ours.data_resources = vec![(S3_OBJECT.to_owned(), values("b", 1))];
        let theirs = basic("ReadOnly", true, &[]);
        let full = Selectors { basic: [vec![theirs.clone(); 4], vec![ours]].concat(), advanced: vec![] };
        let after = full.requiring(&required().objects);
        assert_eq!((after.exceeded(), &after.basic[..4]), (None, &vec![theirs; 4][..]));
        assert!(after.log_management_writes() && after.basic[4].selects_objects(&required().objects));
    }

    #[test]
    fn a_trail_that_names_no_bucket_is_told() {
        let observed = Some(Trail { s3_bucket_name: None, ..good() });
        let drift = Drift { desired: Trail::requiring(observed.as_ref(), &required()), observed };
        assert_eq!((calls(&drift), beyond(&drift)), (vec![], Some(TrailRefusal::NoBucket)));
    }
}
