//! What a trail logs: its event selectors, of the two kinds that CloudTrail has, and ours beside their owner's.

use serde::Serialize;

use crate::{
    control::table::{Control, is_told},
    value::own_parts::is_tampering,
};

/// CloudTrail's limits for one trail; AWS raises none of them. A condition is one value of an advanced selector.
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/WhatIsCloudTrail-Limits.html>
const MAX_BASIC_SELECTORS: usize = 5;

const MAX_DATA_RESOURCES: usize = 250;

const MAX_CONDITIONS: usize = 500;

pub const S3_OBJECT: &str = "AWS::S3::Object";

pub const OUR_DATA_EVENTS: &str = "s3-guardrail: objects of guarded buckets";

/// The console's own name, by which others know the selector, too.
pub const MANAGEMENT_EVENTS: &str = "Management events selector";

/// Ours where the console's name is taken; it was ours for all in earlier versions.
pub const OUR_MANAGEMENT_EVENTS: &str = "s3-guardrail: management events";

/// The services whose management writes the guardrail lives on: whoever hides one of them blinds it.
pub const WATCHED: [&str; 9] = [
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

/// Which events a trail logs: a trail has selectors of the one kind or of the other.
/// <https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_PutEventSelectors.html>
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Selectors {
    #[serde(rename = "EventSelectors")]
    Basic(Vec<EventSelector>),
    #[serde(rename = "AdvancedEventSelectors")]
    Advanced(Vec<AdvancedEventSelector>),
}

/// A basic selector.
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

/// An advanced selector: all of its fields must hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AdvancedEventSelector {
    pub name: Option<String>,
    pub field_selectors: Vec<FieldSelector>,
}

/// What one field of a record must be.
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

impl Selectors {
    /// Of a trail that selects nothing.
    pub const NONE: Self = Self::Advanced(Vec::new());

    /// Its basic selectors; none, where it has advanced ones.
    pub fn basic(&self) -> &[EventSelector] {
        match self {
            Self::Basic(selectors) => selectors,
            Self::Advanced(_) => &[],
        }
    }

    /// Its advanced selectors; none, where it has basic ones.
    pub fn advanced(&self) -> &[AdvancedEventSelector] {
        match self {
            Self::Basic(_) => &[],
            Self::Advanced(selectors) => selectors,
        }
    }

    pub(super) fn is_none(&self) -> bool {
        self.basic().is_empty() && self.advanced().is_empty()
    }

    /// The selectors with management writes and with reads and writes of objects whose ARN begins with `objects`,
    /// beside whatever else is there. May be more than CloudTrail takes.
    pub fn requiring(self, objects: &str) -> Self {
        match self {
            // Room for 500 values, where basic selectors have room for 250.
            Self::Basic(selectors) if is_default(&selectors) => Self::NONE.requiring(objects),
            // Where there is room for one more selector, the one for objects has to do for both.
            Self::Basic(_) => self.with_objects(objects).with_management_writes(),
            Self::Advanced(_) => self.with_management_writes().with_objects(objects),
        }
    }

    fn with_objects(self, objects: &str) -> Self {
        let also_management = !self.log_management_writes();
        match self {
            Self::Basic(selectors) if !selectors.iter().any(|it| it.selects_objects(objects)) => {
                Self::Basic(basic_with_objects(selectors, objects, also_management))
            }
            Self::Advanced(selectors) if !selectors.iter().any(|it| it.selects_objects(objects)) => {
                Self::Advanced(advanced_with_objects(selectors, objects))
            }
            enough => enough,
        }
    }

    pub(super) fn with_management_writes(self) -> Self {
        // What stands under the name of our data events may have to go, whatever it selects.
        let stays = |it: &&AdvancedEventSelector| !it.is_named(OUR_DATA_EVENTS);
        let staying = match &self {
            Self::Basic(_) => self.clone(),
            Self::Advanced(selectors) => Self::Advanced(selectors.iter().filter(stays).cloned().collect()),
        };
        if staying.log_management_writes() {
            return self;
        }
        match self {
            Self::Basic(selectors) => Self::Basic(basic_with_management(selectors)),
            Self::Advanced(selectors) => Self::Advanced(advanced_with_management(selectors)),
        }
    }

    /// Whether EventBridge hears of all management writes that the guardrail lives on.
    pub fn log_management_writes(&self) -> bool {
        WATCHED.iter().all(|source| match self {
            Self::Basic(selectors) => selectors.iter().any(|it| it.selects_management_writes(source)),
            Self::Advanced(selectors) => selectors.iter().any(|it| it.selects_management_writes(source)),
        })
    }

    /// The limit of CloudTrail's that these selectors are beyond.
    pub(super) fn exceeded(&self) -> Option<Limit> {
        match self {
            Self::Basic(selectors) if selectors.len() > MAX_BASIC_SELECTORS => Some(Limit::BasicSelectors),
            Self::Basic(selectors) if data_resources(selectors) > MAX_DATA_RESOURCES => Some(Limit::DataResources),
            Self::Advanced(selectors) if conditions(selectors) > MAX_CONDITIONS => Some(Limit::Conditions),
            Self::Basic(_) | Self::Advanced(_) => None,
        }
    }

    pub(super) fn are_for_all_objects(&self) -> bool {
        // No bucket has this name.
        let any = "arn:*:s3:::*/";
        let all = |values: &[String]| values.iter().any(|it| is_all_objects(it));
        match self {
            Self::Basic(selectors) => {
                selectors.iter().any(|it| it.selects_objects(any) || all(it.s3_objects().unwrap_or_default()))
            }
            Self::Advanced(selectors) => selectors.iter().any(|it| {
                it.selects_objects(any)
                    || it.field_selectors.iter().any(|it| it.field == "resources.ARN" && all(&it.starts_with))
            }),
        }
    }
}

/// What a trail has that nobody configured: all management events, nothing else.
fn is_default(selectors: &[EventSelector]) -> bool {
    match selectors {
        [] => true,
        [one] => {
            one.include_management_events
                && one.read_write_type == "All"
                && one.data_resources.is_empty()
                && one.exclude_management_event_sources.is_empty()
        }
        _ => false,
    }
}

fn data_resources(selectors: &[EventSelector]) -> usize {
    selectors.iter().flat_map(|it| &it.data_resources).map(|(_, values)| values.len()).sum()
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
    value
        .trim_end_matches(':')
        .strip_prefix("arn:")
        .and_then(|it| it.split_once(':'))
        .is_some_and(|(_, rest)| rest == "s3")
}

/// `arn:PARTITION:s3:::BUCKET/`, which is what our selectors hold.
fn is_whole_bucket(value: &str) -> bool {
    value
        .split_once(":s3:::")
        .and_then(|(_, name)| name.strip_suffix('/'))
        .is_some_and(|it| !it.is_empty() && !it.contains('/'))
}

/// Services that `selectors` all leave out and that the guardrail does not need: their owner does not want them.
pub fn unwanted(selectors: &[&[String]]) -> Vec<String> {
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

    pub(super) fn selects_objects(&self, objects: &str) -> bool {
        let resources = self.data_resources.iter().filter(|(kind, _)| kind == S3_OBJECT);
        let mut prefixes = resources.flat_map(|(_, values)| values);
        self.read_write_type == "All" && prefixes.any(|it| objects.starts_with(it.as_str()))
    }

    /// The objects that it is for, if it is for nothing else.
    pub(super) fn s3_objects(&self) -> Option<&[String]> {
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
    let values = data_resources(&selectors);
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
            ours.field_selectors.push(FieldSelector { not_equals: unwanted, ..FieldSelector::named("eventSource") });
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
    pub(super) fn named(field: &str) -> Self {
        Self { field: field.to_owned(), ..Self::default() }
    }

    pub(super) fn equal(field: &str, value: &str) -> Self {
        Self { equals: vec![value.to_owned()], ..Self::named(field) }
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
    pub(super) fn management() -> Self {
        let field_selectors = vec![FieldSelector::equal("eventCategory", "Management")];
        Self { name: Some(MANAGEMENT_EVENTS.to_owned()), field_selectors }
    }

    /// Reads and writes of objects whose ARN begins so.
    pub(super) fn objects(prefixes: Vec<String>) -> Self {
        let field_selectors = vec![
            FieldSelector::equal("eventCategory", "Data"),
            FieldSelector::equal("resources.type", S3_OBJECT),
            FieldSelector { starts_with: prefixes, ..FieldSelector::named("resources.ARN") },
        ];
        Self { name: Some(OUR_DATA_EVENTS.to_owned()), field_selectors }
    }

    pub(super) fn is_named(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name)
    }

    fn left_out_sources(&self) -> &[String] {
        let field = self.field_selectors.iter().find(|it| it.field == "eventSource");
        field.map_or(&[], |it| it.not_equals.as_slice())
    }

    pub(super) fn is_of_category(&self, category: &str) -> bool {
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

    pub(super) fn selects_objects(&self, objects: &str) -> bool {
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

    const OBJECTS: &str = "arn:aws:s3:::acme-data/";

    fn basic(kind: &str, management: bool, data: &[(&str, &[&str])], excluded: &[&str]) -> EventSelector {
        let texts = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        EventSelector {
            read_write_type: kind.to_owned(),
            include_management_events: management,
            data_resources: data.iter().map(|it| (it.0.to_owned(), texts(it.1))).collect(),
            exclude_management_event_sources: texts(excluded),
        }
    }

    fn of_basic(basic: EventSelector) -> Selectors {
        Selectors::Basic(vec![basic])
    }

    #[test]
    fn only_what_nobody_configured_makes_way_for_selectors_with_more_room() {
        let kinds = |selectors: Selectors| {
            let desired = selectors.requiring(OBJECTS);
            (desired.basic().len(), desired.advanced().len())
        };
        assert_eq!(kinds(of_basic(basic("All", true, &[], &[]))), (0, 2));
        assert_eq!(kinds(of_basic(basic("All", false, &[], &[]))), (2, 0));
        assert_eq!(kinds(of_basic(basic("WriteOnly", true, &[], &[]))), (2, 0));
        assert_eq!(kinds(of_basic(basic("All", true, &[(S3_OBJECT, &[OBJECTS])], &[]))), (1, 0));
        assert_eq!(kinds(of_basic(basic("All", true, &[], &["rdsdata.amazonaws.com"]))), (2, 0));
    }

    #[test]
    fn ours_is_known_by_whole_buckets_and_nothing_else() {
        for (value, is_whole) in [
            (OBJECTS, true),
            ("arn:aws-cn:s3:::acme-data/", true),
            ("arn:aws:s3:::acme-data", false),
            ("arn:aws:s3:::acme-data/logs/", false),
            ("arn:aws:s3:::/", false),
            ("arn:aws:s3:::", false),
            ("arn:aws:lambda", false),
        ] {
            assert_eq!(is_whole_bucket(value), is_whole, "{value}");
            assert_eq!(basic("All", false, &[(S3_OBJECT, &[value])], &[]).is_ours(), is_whole, "{value}");
        }
        let one: (&str, &[&str]) = (S3_OBJECT, &[OBJECTS]);
        for (selector, is_ours) in [
            (basic("All", true, &[one], &[]), true),
            (basic("All", true, &[one], &["rdsdata.amazonaws.com"]), true),
            (basic("All", true, &[one], &["kms.amazonaws.com"]), false),
            (basic("WriteOnly", false, &[one], &[]), false),
            (basic("All", false, &[("AWS::Lambda::Function", &[OBJECTS])], &[]), false),
            (basic("All", false, &[one, ("AWS::Lambda::Function", &["arn:aws:lambda"])], &[]), false),
            (basic("All", false, &[(S3_OBJECT, &[OBJECTS, "arn:aws:s3"])], &[]), false),
            (basic("All", false, &[], &[]), false),
        ] {
            assert_eq!(selector.is_ours(), is_ours, "{selector:?}");
        }
    }

    #[test]
    fn objects_are_selected_by_reads_and_writes_of_what_their_arn_begins_with() {
        for (kind, resource, values, selects) in [
            ("All", S3_OBJECT, &[OBJECTS][..], true),
            ("All", S3_OBJECT, &["arn:aws:s3"], true),
            ("All", S3_OBJECT, &["arn:aws:s3:::other/", OBJECTS], true),
            ("All", S3_OBJECT, &["arn:aws:s3:::acme-data/logs/"], false),
            ("All", "AWS::Lambda::Function", &[OBJECTS], false),
            ("WriteOnly", S3_OBJECT, &[OBJECTS], false),
            ("ReadOnly", S3_OBJECT, &[OBJECTS], false),
        ] {
            let selector = basic(kind, false, &[(resource, values)], &[]);
            assert_eq!(selector.selects_objects(OBJECTS), selects, "{selector:?}");
        }
    }

    #[test]
    fn all_objects_are_selected_by_their_common_beginning_only() {
        for (value, all) in [
            ("arn:aws:s3", true),
            ("arn:aws:s3:::", true),
            ("arn:aws-cn:s3:", true),
            ("arn:aws:lambda", false),
            ("arn:aws", false),
            (OBJECTS, false),
        ] {
            assert_eq!(is_all_objects(value), all, "{value}");
            assert_eq!(
                of_basic(basic("All", true, &[(S3_OBJECT, &[value])], &[])).are_for_all_objects(),
                all,
                "{value}"
            );
            let advanced = vec![AdvancedEventSelector::objects(vec![value.to_owned()])];
            assert_eq!(Selectors::Advanced(advanced).are_for_all_objects(), all, "{value}");
        }
        let unnarrowed = AdvancedEventSelector::objects(Vec::new());
        assert!(Selectors::Advanced(vec![unnarrowed]).are_for_all_objects());
    }

    #[test]
    fn services_are_unwanted_if_all_leave_them_out_and_nobody_needs_them() {
        let texts = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let left_out = |all: &[&[&str]]| {
            let all: Vec<_> = all.iter().map(|it| texts(it)).collect();
            unwanted(&all.iter().map(Vec::as_slice).collect::<Vec<_>>())
        };
        assert_eq!(left_out(&[]), texts(&[]));
        assert_eq!(left_out(&[&["a", "kms.amazonaws.com"]]), ["a"]);
        assert_eq!(left_out(&[&["a", "b"], &["b", "c"]]), ["b"]);
        assert_eq!(left_out(&[&["a"], &[]]), texts(&[]));
    }

    #[test]
    fn a_limit_says_how_many_of_what() {
        let texts = [Limit::BasicSelectors, Limit::DataResources, Limit::Conditions].map(|it| it.to_string());
        let expected = [
            "5 basic event selectors a trail",
            "250 data resources a trail",
            "500 values in all advanced event selectors of a trail",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn what_passes_a_field_is_named_by_it_and_not_hidden() {
        let one = |value: &str| vec![value.to_owned()];
        let any = || FieldSelector::named("eventSource");
        for (field, passes) in [
            (any(), true),
            (FieldSelector { equals: one("abc"), ..any() }, true),
            (FieldSelector { equals: one("ab"), ..any() }, false),
            (FieldSelector { starts_with: one("ab"), ..any() }, true),
            (FieldSelector { starts_with: one("b"), ..any() }, false),
            (FieldSelector { ends_with: one("bc"), ..any() }, true),
            (FieldSelector { ends_with: one("b"), ..any() }, false),
            (FieldSelector { equals: one("x"), starts_with: one("a"), ..any() }, true),
            (FieldSelector { equals: one("x"), ends_with: one("c"), ..any() }, true),
            (FieldSelector { not_equals: one("abc"), ..any() }, false),
            (FieldSelector { not_equals: one("ab"), ..any() }, true),
            (FieldSelector { not_starts_with: one("a"), ..any() }, false),
            (FieldSelector { not_ends_with: one("c"), ..any() }, false),
            (FieldSelector { equals: one("abc"), not_ends_with: one("c"), ..any() }, false),
        ] {
            assert_eq!(field.passes("abc"), passes, "{field:?}");
        }
    }

    #[test]
    fn a_bucket_is_named_up_to_the_last_value_that_a_trail_has_room_for() {
        for (theirs, ours, by_name) in [(0, 249, true), (0, 250, false), (100, 149, true), (101, 149, false)] {
            let values =
                |kind: &str, count: usize| (0..count).map(|n| format!("arn:aws:{kind}{n}/")).collect::<Vec<_>>();
            let (mut functions, mut buckets) = (basic("WriteOnly", true, &[], &[]), basic("All", false, &[], &[]));
            functions.data_resources = vec![("AWS::Lambda::Function".to_owned(), values("lambda", theirs))];
            buckets.data_resources = vec![(S3_OBJECT.to_owned(), values("s3:::b", ours))];
            let desired = Selectors::Basic(vec![functions, buckets]).requiring(OBJECTS);
            assert!(desired.basic()[1].selects_objects(OBJECTS));
            assert_eq!(desired.are_for_all_objects(), !by_name, "{theirs} {ours}");
            assert_eq!(desired.exceeded(), None);
        }
    }

    fn with_management(advanced: &[AdvancedEventSelector]) -> Vec<AdvancedEventSelector> {
        Selectors::Advanced(advanced.to_vec()).with_management_writes().advanced().to_vec()
    }

    #[test]
    fn only_another_selector_for_management_events_makes_ours_narrower() {
        let named = |name: &str, category: &str, field| AdvancedEventSelector {
            name: Some(name.to_owned()),
            field_selectors: vec![FieldSelector::equal("eventCategory", category), field],
        };
        let whole = AdvancedEventSelector::management();
        let reads = || FieldSelector::equal("readOnly", "true");
        let data = named("theirs", "Data", reads());
        assert_eq!(with_management(std::slice::from_ref(&data)), [data, whole.clone()]);
        let misnamed = named(OUR_DATA_EVENTS, "Management", reads());
        assert_eq!(with_management(std::slice::from_ref(&misnamed)), [misnamed, whole.clone()]);
        let ours = named(OUR_MANAGEMENT_EVENTS, "Management", reads());
        let mended = AdvancedEventSelector { name: ours.name.clone(), ..whole };
        assert_eq!(with_management(&[ours]), [mended], "it keeps its name");
        let writes = |name: &str| named(name, "Management", FieldSelector::equal("readOnly", "false"));
        let theirs = named("theirs", "Management", reads());
        assert_eq!(with_management(std::slice::from_ref(&theirs)), [theirs, writes(MANAGEMENT_EVENTS)]);
        let theirs = named(MANAGEMENT_EVENTS, "Management", reads());
        assert_eq!(with_management(std::slice::from_ref(&theirs)), [theirs, writes(OUR_MANAGEMENT_EVENTS)]);
    }

    #[test]
    fn a_call_that_is_restored_told_or_tampering_may_not_be_left_out() {
        for (event_name, needed) in
            [("PutBucketPolicy", true), ("CreateBucket", true), ("DisableRule", true), ("GenerateDataKey", false)]
        {
            let field = FieldSelector { not_equals: vec![event_name.to_owned()], ..FieldSelector::named("eventName") };
            assert_eq!(field.leaves_out_only_unneeded_calls(), !needed, "{event_name}");
        }
    }

    #[test]
    fn a_field_that_lets_reads_and_writes_through_narrows_nothing() {
        let field = |values: &[&str]| {
            let equals = values.iter().map(|it| (*it).to_owned()).collect();
            FieldSelector { equals, ..FieldSelector::named("readOnly") }
        };
        for (values, selects) in [(&["true", "false"][..], true), (&["true"], false), (&["false"], false)] {
            let mut selector = AdvancedEventSelector::objects(vec![OBJECTS.to_owned()]);
            selector.field_selectors.push(field(values));
            assert_eq!(selector.selects_objects(OBJECTS), selects, "{values:?}");
        }
    }
}
