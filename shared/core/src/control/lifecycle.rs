//! Lifecycle rules: the two we require, beside the owner's own. Pure.
//!
//! Rules are kept as the XML that S3 sent, because a write replaces the whole configuration: what this
//! version does not know must survive it all the same.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    control::{
        setting::{BucketSetting, SettingError},
        vocabulary::{ApiCall, Vocabulary},
    },
    value::xml::{Element, XmlError},
};

/// Its row of the table.
pub const ROW: Vocabulary = Vocabulary {
    id: "lifecycle",
    events: &["PutBucketLifecycle", "DeleteBucketLifecycle"],
    calls: &[
        ApiCall::read("GetBucketLifecycleConfiguration", "s3:GetLifecycleConfiguration"),
        ApiCall::write("PutBucketLifecycleConfiguration", "s3:PutLifecycleConfiguration"),
    ],
};

/// S3's limit of rules in one configuration.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lifecycle-mgmt.html>
pub const MAX_RULES: usize = 1000;

/// What S3 makes of a configuration that says nothing of the size.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketLifecycleConfiguration.html>
pub const DEFAULT_MINIMUM_SIZE: &str = "all_storage_classes_128K";

/// What a rule can do, by the element that says it.
const ACTIONS: [&str; 5] = [
    "AbortIncompleteMultipartUpload",
    "Expiration",
    "NoncurrentVersionExpiration",
    "NoncurrentVersionTransition",
    "Transition",
];

/// Under this ID stands our rule for versions that are no longer current, whatever its days.
const NONCURRENT_ID: &str = "expire-noncurrent-30days";

/// What a rule in force says of versions that are no longer current.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    pub id: String,
    /// After how many days they go.
    pub days: u32,
    /// How many of the newest of each object stay for ever.
    pub newest: u32,
    pub whole_bucket: bool,
    /// It stands under our ID.
    pub ours: bool,
}

/// The registry's say in the required rules, in days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LifecycleDays {
    /// After how many days a version that is no longer current goes.
    #[serde(rename = "noncurrent_days")]
    pub noncurrent: std::num::NonZeroU16,
    /// After how many days an upload that was never completed goes.
    #[serde(rename = "abort_multipart_days")]
    pub abort_multipart: std::num::NonZeroU16,
}

impl Default for LifecycleDays {
    fn default() -> Self {
        const fn days(days: u16) -> std::num::NonZeroU16 {
            std::num::NonZeroU16::new(days).expect("not zero")
        }
        Self { noncurrent: const { days(30) }, abort_multipart: const { days(7) } }
    }
}

/// A rule every guarded bucket has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredRule {
    id: &'static str,
    action: &'static str,
    unit: &'static str,
    days: u16,
}

/// The rules that every guarded bucket has.
pub fn required(days: LifecycleDays) -> [RequiredRule; 2] {
    [
        RequiredRule {
            id: NONCURRENT_ID,
            action: "NoncurrentVersionExpiration",
            unit: "NoncurrentDays",
            days: days.noncurrent.get(),
        },
        RequiredRule {
            id: "abort-multipart-7d",
            action: "AbortIncompleteMultipartUpload",
            unit: "DaysAfterInitiation",
            days: days.abort_multipart.get(),
        },
    ]
}

/// A bucket's lifecycle configuration; empty when it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lifecycle {
    /// Each a `Rule` element, as S3 wrote it.
    pub rules: Vec<Element>,
    /// Lives in a header beside the document, and a write that omits it resets it.
    pub transition_default_minimum_object_size: Option<String>,
}

impl Lifecycle {
    /// Reads a document as S3 sends it, with the setting from the header beside it.
    pub fn parse(document: &str, transition_default_minimum_object_size: Option<String>) -> Result<Self, XmlError> {
        let rules = Element::parse(document)?.children.into_iter().filter(|it| it.name == "Rule").collect();
        Ok(Self { rules, transition_default_minimum_object_size })
    }

    /// The same configuration with every required rule in force; the owner's rules stay as they stand.
    /// Equal to `self` when nothing is missing.
    pub fn requiring(&self, required: &[RequiredRule]) -> Self {
        let mut rules = self.rules.clone();
        // What stands under another ID of ours goes away again when its turn comes.
        let is_owners = |it: &Element| required.iter().all(|ours| it.child_text("ID") != Some(ours.id));
        for wanted in required {
            match rules.iter().position(|it| it.child_text("ID") == Some(wanted.id)) {
                Some(own) if wanted.is_exactly(&rules[own]) => {}
                Some(own) => rules[own] = wanted.element(),
                None if rules.iter().any(|it| is_owners(it) && wanted.is_part_of(it)) => {}
                None => rules.push(wanted.element()),
            }
        }
        Self { rules, ..self.clone() }
    }

    /// How long the rules in force keep versions that are no longer current.
    pub fn retentions(&self) -> Vec<Retention> {
        let retention = |rule: &Element| {
            let action = rule.child("NoncurrentVersionExpiration")?;
            let number = |name: &str| action.child_text(name).and_then(|it| it.parse().ok());
            let id = rule.child_text("ID").unwrap_or_default().to_owned();
            Some(Retention {
                days: number("NoncurrentDays")?,
                newest: number("NewerNoncurrentVersions").unwrap_or_default(),
                whole_bucket: is_for_whole_bucket(rule),
                ours: id == NONCURRENT_ID,
                id,
            })
        };
        self.rules.iter().filter(|it| it.child_text("Status") == Some("Enabled")).filter_map(retention).collect()
    }

    /// The document to write. S3 takes rules of one form only: beside a `Filter`, the `Prefix` that rules of the old form
    /// have in its place becomes a filter of the same meaning.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_LifecycleRule.html>
    pub fn document(&self) -> String {
        let mixed = self.rules.iter().any(|it| it.child("Filter").is_some());
        let rules: String =
            self.rules.iter().map(|it| if mixed { with_filter(it).to_string() } else { it.to_string() }).collect();
        format!(
            "<LifecycleConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{rules}</LifecycleConfiguration>"
        )
    }

    /// Whether both say the same, in whatever form and order, with S3's default for what is not said.
    pub fn means(&self, other: &Self) -> bool {
        let said = |it: &Self| {
            let mut rules: Vec<_> = it.rules.iter().map(|it| meaning(it).to_string()).collect();
            rules.sort();
            let size = it.transition_default_minimum_object_size.as_deref().unwrap_or(DEFAULT_MINIMUM_SIZE).to_owned();
            (!rules.is_empty()).then_some((rules, size))
        };
        said(self) == said(other)
    }

    /// The same, with the rules that `other` has, too, in its form.
    pub fn in_words_of(&self, other: &Self) -> Self {
        let same =
            |it: &Element| other.rules.iter().find(|theirs| meaning(theirs) == meaning(it)).unwrap_or(it).clone();
        Self { rules: self.rules.iter().map(same).collect(), ..self.clone() }
    }

    /// The configuration as JSON, for people.
    pub fn to_json(&self) -> Value {
        let rules: Vec<_> = self.rules.iter().map(Element::to_json).collect();
        let mut json = json!({ "Rules": rules });
        if let Some(size) = &self.transition_default_minimum_object_size {
            json["TransitionDefaultMinimumObjectSize"] = json!(size);
        }
        json
    }
}

fn is_for_whole_bucket(rule: &Element) -> bool {
    match (rule.child("Filter"), rule.child_text("Prefix")) {
        (None, prefix) => prefix.is_none_or(str::is_empty),
        (Some(filter), _) => filter.children.iter().all(|it| it.name == "Prefix" && it.text.is_empty()),
    }
}

/// A rule of the old form in the new one.
fn with_filter(rule: &Element) -> Element {
    let mut rule = rule.clone();
    if rule.child("Filter").is_none()
        && let Some(prefix) = rule.children.iter_mut().find(|it| it.name == "Prefix")
    {
        *prefix = Element::parent("Filter", vec![prefix.clone()]);
    }
    rule
}

/// A rule in a form in which equal meaning is equality.
fn meaning(rule: &Element) -> Element {
    let mut rule = with_filter(rule);
    if let Some(filter) = rule.children.iter_mut().find(|it| it.name == "Filter") {
        filter.text.clear();
        // Every key begins with nothing.
        let says_nothing = |it: &Element| it.name == "Prefix" && it.text.is_empty();
        filter.children.retain(|it| !says_nothing(it));
        filter.children.iter_mut().for_each(|it| it.children.retain(|it| !says_nothing(it)));
    }
    rule.sorted()
}

impl RequiredRule {
    /// For how many days old versions are kept, if this is the rule that says so.
    pub fn noncurrent_days(&self) -> Option<u16> {
        (self.action == "NoncurrentVersionExpiration").then_some(self.days)
    }

    /// Whether the rule has our ID, whatever it says.
    pub fn is_under_our_id(&self, rule: &Element) -> bool {
        rule.child_text("ID") == Some(self.id)
    }

    fn element(&self) -> Element {
        Element::parent(
            "Rule",
            vec![
                Element::leaf("ID", self.id),
                Element::parent("Filter", Vec::new()),
                Element::leaf("Status", "Enabled"),
                Element::parent(self.action, vec![Element::leaf(self.unit, &self.days.to_string())]),
            ],
        )
    }

    /// Whether `rule` does this for the whole bucket, whatever else it does.
    fn is_part_of(&self, rule: &Element) -> bool {
        rule.child_text("Status") == Some("Enabled")
            && is_for_whole_bucket(rule)
            && rule.child(self.action).is_some_and(|action| {
                action.child_text(self.unit).and_then(|it| it.parse().ok()) == Some(self.days)
                    // Keeping the newest versions for ever weakens the rule.
                    && action.child_text("NewerNoncurrentVersions").is_none_or(|it| it == "0")
            })
    }

    /// Whether `rule` does this and nothing else that we know of: a rule under our ID must not delete data on the side.
    fn is_exactly(&self, rule: &Element) -> bool {
        let other = |it: &Element| it.name != self.action && ACTIONS.contains(&it.name.as_str());
        self.is_part_of(rule) && !rule.children.iter().any(other)
    }
}

impl BucketSetting for Lifecycle {
    fn unset() -> Self {
        Self::default()
    }

    fn to_json(&self) -> Value {
        self.to_json()
    }

    /// As JSON, XML loses what only XML says.
    fn to_record(&self) -> Value {
        json!({
            "Document": self.document(),
            "TransitionDefaultMinimumObjectSize": self.transition_default_minimum_object_size,
        })
    }

    fn from_record(record: &Value) -> Result<Self, SettingError> {
        let size = record["TransitionDefaultMinimumObjectSize"].as_str().map(str::to_owned);
        Ok(Self::parse(record["Document"].as_str().unwrap_or_default(), size)?)
    }

    fn is(&self, other: &Self) -> bool {
        self.means(other)
    }

    fn in_words_of(&self, other: &Self) -> Self {
        self.in_words_of(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifecycle(rules: &[&str]) -> Lifecycle {
        let rules = rules.iter().map(|it| Element::parse(&format!("<Rule>{it}</Rule>")).unwrap()).collect();
        Lifecycle { rules, transition_default_minimum_object_size: Some("varies_by_storage_class".to_owned()) }
    }

    const ABORT: &str = "<ID>abort-multipart-7d</ID><Filter/><Status>Enabled</Status>\
        <AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>";
    const EXPIRE: &str = "<ID>expire-noncurrent-30days</ID><Filter><Prefix></Prefix></Filter><Status>Enabled</Status>\
        <NoncurrentVersionExpiration><NoncurrentDays>30</NoncurrentDays></NoncurrentVersionExpiration>";

    fn restored(rules: &[&str]) -> Lifecycle {
        lifecycle(rules).requiring(&required(LifecycleDays::default()))
    }

    #[track_caller]
    fn check_compliant(rules: &[&str]) {
        assert_eq!(restored(rules), lifecycle(rules));
    }

    #[track_caller]
    fn check_replaced(own: &str) {
        assert_eq!(restored(&[ABORT, own]).rules[1], required(LifecycleDays::default())[0].element());
    }

    #[test]
    fn a_bucket_without_rules_gets_both() {
        assert_eq!(
            Lifecycle::default().requiring(&required(LifecycleDays::default())).document(),
            "<LifecycleConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <Rule><ID>expire-noncurrent-30days</ID><Filter></Filter><Status>Enabled</Status>\
             <NoncurrentVersionExpiration><NoncurrentDays>30</NoncurrentDays></NoncurrentVersionExpiration></Rule>\
             <Rule><ID>abort-multipart-7d</ID><Filter></Filter><Status>Enabled</Status>\
             <AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>\
             </LifecycleConfiguration>"
        );
    }

    #[test]
    fn required_rules_in_any_spelling_are_compliant() {
        check_compliant(&[EXPIRE, ABORT]);
        check_compliant(&[ABORT, EXPIRE]);
        check_compliant(&[ABORT, &EXPIRE.replace("expire-noncurrent-30days", "theirs")]);
        check_compliant(&[ABORT, &EXPIRE.replace("<Filter><Prefix></Prefix></Filter>", "<Prefix/>")]);
        check_compliant(&[ABORT, &format!("{EXPIRE}<InventedIn2027><Deep>1</Deep></InventedIn2027>")]);
        check_compliant(&["<ID>both</ID><Filter/><Status>Enabled</Status>\
            <NoncurrentVersionExpiration><NoncurrentDays>30</NoncurrentDays></NoncurrentVersionExpiration>\
            <AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>"]);
    }

    #[test]
    fn a_weakened_rule_under_our_id_is_replaced() {
        check_replaced(&EXPIRE.replace("Enabled", "Disabled"));
        check_replaced(&EXPIRE.replace("30<", "3650<"));
        check_replaced(&EXPIRE.replace("<Prefix></Prefix>", "<Prefix>logs/</Prefix>"));
        check_replaced(&EXPIRE.replace("<Filter>", "<Filter><ObjectSizeGreaterThan>9</ObjectSizeGreaterThan>"));
        check_replaced(
            &EXPIRE
                .replace("</NoncurrentDays>", "</NoncurrentDays><NewerNoncurrentVersions>9</NewerNoncurrentVersions>"),
        );
        check_replaced(&format!("{EXPIRE}<Expiration><Days>1</Days></Expiration>"));
    }

    #[test]
    fn a_prefix_of_blanks_is_not_the_whole_bucket() {
        for blank in [" ", "\n", "&#9;"] {
            check_replaced(&EXPIRE.replace("<Prefix></Prefix>", &format!("<Prefix>{blank}</Prefix>")));
            check_replaced(&EXPIRE.replace("<Filter><Prefix></Prefix></Filter>", &format!("<Prefix>{blank}</Prefix>")));
        }
        let theirs = EXPIRE.replace("expire-noncurrent-30days", " expire-noncurrent-30days");
        let theirs = theirs.replace("30<", "90<");
        assert_eq!(restored(&[&theirs, ABORT]).rules[..2], lifecycle(&[&theirs, ABORT]).rules, "a name with a blank");
    }

    /// Rules of the old form: their own, and one that uses what only they may have.
    const OLD: [&str; 3] = [
        "<ID>logs</ID><Prefix>logs/</Prefix><Status>Enabled</Status><Expiration><Days>90</Days></Expiration>",
        "<ID>all</ID><Prefix></Prefix><Status>Disabled</Status>\
         <NoncurrentVersionTransition><NoncurrentDays>9</NoncurrentDays><StorageClass>GLACIER</StorageClass></NoncurrentVersionTransition>",
        "<ID>blank</ID><Prefix> </Prefix><Status>Enabled</Status><Expiration><Days>1</Days></Expiration>",
    ];

    #[test]
    fn old_rules_are_written_as_filters_beside_ours() {
        let document = restored(&OLD).document();
        for filter in [
            "<Filter><Prefix>logs/</Prefix></Filter>",
            "<Filter><Prefix></Prefix></Filter>",
            "<Filter><Prefix> </Prefix></Filter>",
        ] {
            assert!(document.contains(&format!("</ID>{filter}<Status>")), "{filter}: {document}");
        }
        let read = Lifecycle::parse(&document, Some("varies_by_storage_class".to_owned())).unwrap();
        assert!(read.rules.iter().all(|it| it.child("Prefix").is_none() && it.child("Filter").is_some()), "{read:?}");
        assert!(read.means(&restored(&OLD)) && !read.means(&lifecycle(&OLD)));
    }

    #[test]
    fn old_rules_stay_to_the_letter_where_nothing_is_to_be_added() {
        let ours = [EXPIRE, ABORT]
            .map(|it| it.replace("<Filter><Prefix></Prefix></Filter>", "<Prefix/>").replace("<Filter/>", "<Prefix/>"));
        let ours: Vec<_> = OLD.into_iter().chain(ours.iter().map(String::as_str)).collect();
        check_compliant(&ours);
        assert!(!restored(&ours).document().contains("Filter"));
    }

    #[test]
    fn one_meaning_has_many_forms() {
        let one = lifecycle(&[
            OLD[0],
            EXPIRE,
            "<ID>t</ID><Filter><And><Prefix>a</Prefix><Tag><Key>k</Key><Value> </Value></Tag></And></Filter>",
        ]);
        let other = lifecycle(&[
            "<ID>t</ID><Filter><And><Tag><Value> </Value><Key>k</Key></Tag><Prefix>a</Prefix></And></Filter>",
            "<Status>Enabled</Status><Filter> <Prefix>logs/</Prefix></Filter><Expiration><Days>90</Days></Expiration><ID>logs</ID>",
            &EXPIRE.replace("<Filter><Prefix></Prefix></Filter>", "<Prefix/>"),
        ]);
        assert!(one.means(&other) && one.means(&Lifecycle { rules: other.rules.clone(), ..one.clone() }));
        assert_eq!(other.in_words_of(&one).rules, [one.rules[2].clone(), one.rules[0].clone(), one.rules[1].clone()]);
        for (was, is) in
            [("logs/", "logs"), ("logs/", " logs/"), ("Enabled", "Disabled"), ("90", "91"), ("<Value> <", "<Value><")]
        {
            let changed = one.rules.iter().map(|it| Element::parse(&it.to_string().replacen(was, is, 1)).unwrap());
            assert!(!one.means(&Lifecycle { rules: changed.collect(), ..one.clone() }), "{was}");
        }
    }

    #[test]
    fn one_of_ours_under_the_id_of_the_other_counts_for_neither() {
        let misnamed = EXPIRE.replace("expire-noncurrent-30days", "abort-multipart-7d");
        let after = restored(&[&misnamed]).rules;
        assert!(required(LifecycleDays::default()).iter().all(|it| after.contains(&it.element())), "{after:?}");
    }

    #[test]
    fn the_owners_rules_survive_to_the_letter() {
        let theirs = "<ID>retain &amp; tier</ID><Prefix>a/</Prefix><Status>Enabled</Status>\
            <Transition><Days>30</Days><StorageClass>GLACIER</StorageClass></Transition><InventedIn2027>x</InventedIn2027>";
        let after = restored(&[theirs, ABORT]);
        assert_eq!(after.rules[0].to_string(), format!("<Rule>{theirs}</Rule>"));
        assert_eq!(after.rules.len(), 3);
        assert_eq!(after.transition_default_minimum_object_size.as_deref(), Some("varies_by_storage_class"));
    }
}
