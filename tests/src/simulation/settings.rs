//! What the buckets had when: a read may show an older version, and each version knows what of it is the owner's.

use std::collections::BTreeMap;

use guardrail_core::control::table::Control;
use guardrail_simulator::Time;
use serde_json::{Value, json};

use super::{Options, name, shared};
use crate::{
    control,
    fake::{FakeAws, World},
};

/// For how long an older version can still be read, and how late a write may come that leans on one.
const KEPT: Time = 120_000;

/// A version of a document.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) since: Time,
    /// The number of the event that tells of it.
    pub(super) event: usize,
    pub(super) text: Option<String>,
    /// Whether it is off its baseline.
    pub(super) is_broken: bool,
    /// The owner's entries in it.
    pub(super) owners: Vec<u16>,
}

/// The versions of each document, by bucket and under which name S3 has it, the present one last.
#[derive(Debug, Default)]
pub(super) struct Settings {
    versions: BTreeMap<(usize, String), Vec<Version>>,
    /// As the guardrail makes them of a bare bucket.
    good: BTreeMap<(usize, String), Option<String>>,
}

/// Each control's document, and the ACL, which belongs to one of them.
pub(super) fn documents() -> impl Iterator<Item = &'static str> {
    Control::OF_BUCKET.into_iter().filter_map(control::subresource).chain(["acl"])
}

/// Whose document it is; `None`: no control's, or not the one that says whether it has drifted.
pub(super) fn control_of(subresource: &str) -> Option<Control> {
    Control::OF_BUCKET.into_iter().find(|it| control::subresource(*it) == Some(subresource))
}

impl Settings {
    /// All as they are, on their baseline.
    pub(super) fn begin(&mut self, fake: &FakeAws, options: &Options) {
        for bucket in options.guarded() {
            for subresource in documents_at(options, bucket) {
                let text = document(fake, bucket, subresource);
                let version = Version { since: 0, event: 0, text, is_broken: false, owners: vec![] };
                let place = (bucket, subresource.to_owned());
                self.good.insert(place.clone(), version.text.clone());
                self.versions.insert(place, vec![version]);
            }
        }
    }

    /// The present one.
    pub(super) fn now(&self, bucket: usize, subresource: &str) -> &Version {
        self.versions(bucket, subresource).last().expect("each document has had a version from the beginning")
    }

    pub(super) fn versions(&self, bucket: usize, subresource: &str) -> &[Version] {
        self.versions.get(&(bucket, subresource.to_owned())).map_or(&[], Vec::as_slice)
    }

    /// The one that there was at a time.
    pub(super) fn at(&self, bucket: usize, subresource: &str, time: Time) -> &Version {
        let versions = self.versions(bucket, subresource);
        versions.iter().rev().find(|it| it.since <= time).unwrap_or(&versions[0])
    }

    pub(super) fn of(&self, bucket: usize, control: Control) -> &Version {
        self.now(bucket, document_of(control))
    }

    pub(super) fn good(&self, bucket: usize, subresource: &str) -> Option<String> {
        self.good.get(&(bucket, subresource.to_owned())).cloned().flatten()
    }

    pub(super) fn put(&mut self, bucket: usize, subresource: &str, version: Version) {
        let versions = self.versions.entry((bucket, subresource.to_owned())).or_default();
        let old = version.since.saturating_sub(KEPT);
        // The last one from before that is still what was there then.
        let first = versions.iter().rposition(|it| it.since <= old).unwrap_or(0);
        versions.drain(..first);
        versions.push(version);
    }
}

/// Where a control's setting is: as S3 calls it, or all of the key or the trail.
pub(super) fn document_of(control: Control) -> &'static str {
    match control {
        Control::KmsKey => shared::KEY_DOCUMENT,
        Control::Trail => shared::TRAIL_DOCUMENT,
        _ => control::subresource(control).unwrap_or_default(),
    }
}

/// What is there of a place.
fn documents_at(options: &Options, place: usize) -> Vec<&'static str> {
    if place < options.buckets {
        documents().collect()
    } else {
        options.controls(place).into_iter().map(document_of).collect()
    }
}

/// A document as it is.
pub(super) fn document(fake: &FakeAws, bucket: usize, subresource: &str) -> Option<String> {
    if let Some(text) = shared::document(fake, subresource) {
        return text;
    }
    fake.state().in_bucket(&name(bucket), |it| it.bucket.as_ref()?.get(subresource).cloned())
}

/// Puts one behind the guardrail's back.
pub(super) fn set(fake: &FakeAws, bucket: usize, subresource: &str, text: Option<&str>) {
    if shared::set(fake, subresource, text) {
        return;
    }
    fake.state().in_bucket(&name(bucket), |it| it.set(subresource, text));
}

/// The documents of a control that somebody has broken, each with the name under which S3 has it.
pub(super) fn broken(control: Control) -> Vec<(String, Option<String>)> {
    let mut world = World::default();
    // What a document is missing from is told from what was never there.
    for subresource in documents() {
        world.set(subresource, Some(String::new()));
    }
    control::drift(&mut world, control);
    let documents_of = world.bucket.unwrap_or_default();
    let changed = |it: &&str| documents_of.get(*it).is_none_or(|it| !it.is_empty());
    documents().filter(changed).map(|it| (it.to_owned(), documents_of.get(it).cloned())).collect()
}

/// The number of an entry that is the owner's.
pub(super) fn owners_number(name: &str) -> Option<u16> {
    name.strip_prefix("Owner")?.parse().ok()
}

fn rule_number(rule: &str) -> Option<u16> {
    owners_number(rule.split_once("<ID>")?.1.split_once("</ID>")?.0)
}

pub(super) fn statements(policy: &str) -> Vec<Value> {
    let policy: Value = serde_json::from_str(policy).unwrap_or_default();
    policy["Statement"].as_array().cloned().unwrap_or_default()
}

pub(super) fn statement_number(statement: &Value) -> Option<u16> {
    owners_number(statement["Sid"].as_str()?)
}

/// The owner's entries of a document: statements and rules that are named `Owner` and a number.
pub(super) fn owners(subresource: &str, text: Option<&str>) -> Vec<u16> {
    match (subresource, text) {
        ("policy", Some(text)) => statements(text).iter().filter_map(statement_number).collect(),
        (shared::KEY_DOCUMENT | shared::TRAIL_DOCUMENT, Some(text)) => shared::owners(text),
        ("lifecycle", Some(text)) => text.split("<Rule>").skip(1).filter_map(rule_number).collect(),
        _ => Vec::new(),
    }
}

/// The document with the entries that are kept, given by their owner's number if they have one; `None`: nothing is left.
pub(super) fn kept(subresource: &str, text: Option<&str>, is_kept: impl Fn(Option<u16>) -> bool) -> Option<String> {
    let text = text?;
    if subresource == "policy" {
        let kept: Vec<_> = statements(text).into_iter().filter(|it| is_kept(statement_number(it))).collect();
        return (!kept.is_empty()).then(|| json!({"Version": "2012-10-17", "Statement": kept}).to_string());
    }
    let (head, rules) = text.split_once("<Rule>")?;
    let (rules, tail) = rules.rsplit_once("</Rule>")?;
    let rules: Vec<_> = rules.split("</Rule><Rule>").filter(|it| is_kept(rule_number(it))).collect();
    (!rules.is_empty()).then(|| format!("{head}<Rule>{}</Rule>{tail}", rules.join("</Rule><Rule>")))
}

/// The document with one more entry of the owner's.
pub(super) fn with_entry(bucket: usize, subresource: &str, text: Option<&str>, number: u16) -> String {
    if subresource == "policy" {
        let mut all = text.map(statements).unwrap_or_default();
        all.push(json!({
            "Sid": format!("Owner{number}"), "Effect": "Allow", "Action": "s3:GetObject",
            "Principal": {"AWS": "arn:aws:iam::111122223333:role/app"},
            "Resource": format!("arn:aws:s3:::{}/{number}/*", name(bucket)),
        }));
        return json!({"Version": "2012-10-17", "Statement": all}).to_string();
    }
    let rule = format!(
        "<Rule><ID>Owner{number}</ID><Filter><Prefix>{number}/</Prefix></Filter><Status>Enabled</Status>\
         <Expiration><Days>900</Days></Expiration></Rule>"
    );
    let end = "</LifecycleConfiguration>";
    match text.and_then(|it| it.strip_suffix(end)) {
        Some(rules) => format!("{rules}{rule}{end}"),
        None => format!("<LifecycleConfiguration>{rule}{end}"),
    }
}
