//! Which registered buckets use a key or a trail, and the index that says so at once.
//!
//! Every account has many keys that are none of a guarded bucket's, and a call about any of them leads here. So that it
//! costs one call to know, the registry is indexed by what its buckets use. The index is a hint: what it names is looked up
//! in the documents, and it is believed for as long as a sweep has just written it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    edge::registry::Registration,
    value::{
        names::{Arn, BucketName, KeyArn},
        own_parts::USES,
        subject::Subject,
    },
};

/// For how long it is believed: two sweeps.
const BELIEVED: SignedDuration = SignedDuration::from_mins(30);

/// A sweep that comes so soon after another does not say again that the index is right.
const RECENT: SignedDuration = SignedDuration::from_mins(10);

/// The Parameter Store takes three writes a second; the next sweep does the rest.
const CHANGES_PER_SWEEP: usize = 30;

/// The Parameter Store's limit for a parameter without charge is 4 KiB.
const MAX_BYTES: usize = 4096;

/// Who uses something.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Users {
    Buckets(BTreeSet<BucketName>),
    /// More buckets than a parameter has room for: the registry has them.
    TooMany,
}

/// What the index says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    pub entries: BTreeMap<String, Users>,
    pub swept: Option<Timestamp>,
}

/// Where to find the buckets that use what an event names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Where {
    /// Nobody uses it.
    Nowhere,
    In(BTreeSet<BucketName>),
    /// Any document may say so.
    Registry,
}

/// What to do so that the index is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexChange {
    Put(String, Users),
    Delete(String),
}

/// What an event says about a subject: names by which a key or a trail is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    Key(Vec<String>),
    Trail(Vec<String>),
}

impl Named {
    /// A subject by its own name; `None`: buckets do not lean on it.
    pub fn by_arn(subject: &Subject) -> Option<Self> {
        match subject {
            Subject::Key(key) => Some(Self::Key(vec![key.to_string()])),
            Subject::Trail(trail) => Some(Self::Trail(vec![trail.to_string()])),
            Subject::Bucket(_) | Subject::Guardrail => None,
        }
    }

    /// Whether all is asked for that another name would have asked for: an alias leads to some of a key's buckets only.
    pub fn leads_to_all(&self, other: &Self, region: &str) -> bool {
        let entries = self.entries(region);
        other.entries(region).iter().all(|it| entries.contains(it))
    }

    /// The parameters of the index that are about it.
    pub fn entries(&self, region: &str) -> Vec<String> {
        let entry = |name: &String| match (self, Arn::parse(name)) {
            (Self::Key(_), Some(arn)) if arn.region != region => None,
            (Self::Key(_), Some(arn)) => match arn.resource.strip_prefix("key/") {
                Some(id) => Some(of_key(id)),
                None => Some(of_alias(arn.resource)).filter(|_| arn.resource.starts_with("alias/")),
            },
            (Self::Key(_), None) if name.starts_with("alias/") => Some(of_alias(name)),
            (Self::Key(_), None) => Some(of_key(name)),
            (Self::Trail(_), Some(arn)) => arn.resource.strip_prefix("trail/").map(of_trail),
            (Self::Trail(_), None) => Some(of_trail(name)),
        };
        let (Self::Key(names) | Self::Trail(names)) = self;
        let entries: BTreeSet<_> = names.iter().filter_map(entry).filter(|it| is_parameter(it)).collect();
        entries.into_iter().collect()
    }

    /// What of it is a bucket's.
    pub fn subjects(&self, registration: &Registration, region: &str) -> Vec<Subject> {
        match self {
            Self::Key(names) => keys_named(registration, names, region).into_iter().map(Subject::Key).collect(),
            Self::Trail(names) if names.iter().any(|it| uses_trail(registration, it)) => {
                registration.trail_arn.clone().map(Subject::Trail).into_iter().collect()
            }
            Self::Trail(_) => Vec::new(),
        }
    }
}

/// Where the buckets are that use something. `failed`: the call that names it changed nothing.
pub fn where_users_are(index: &Index, now: Timestamp, failed: bool) -> Where {
    // What it names may be as wrong as what it does not name: of two buckets the one that only observes, say.
    let is_believed = failed || index.swept.is_some_and(|it| it <= now && now.duration_since(it) < BELIEVED);
    let mut buckets = BTreeSet::new();
    for users in index.entries.values() {
        match users {
            Users::TooMany => return Where::Registry,
            Users::Buckets(these) => buckets.extend(these.iter().cloned()),
        }
    }
    match (is_believed, buckets.is_empty()) {
        (true, true) => Where::Nowhere,
        (true, false) => Where::In(buckets),
        (false, _) => Where::Registry,
    }
}

/// Whether a sweep has to say that the index is right.
pub fn is_stamp_old(index: &Index, now: Timestamp) -> bool {
    !index.swept.is_some_and(|it| it <= now && now.duration_since(it) < RECENT)
}

/// The index of a registry.
pub fn index<'a>(registrations: impl IntoIterator<Item = &'a Registration>) -> BTreeMap<String, Users> {
    let mut buckets: BTreeMap<String, BTreeSet<BucketName>> = BTreeMap::new();
    for registration in registrations {
        for entry in entries(registration) {
            buckets.entry(entry).or_default().insert(registration.bucket.clone());
        }
    }
    buckets.into_iter().map(|(entry, buckets)| (entry, Users::of(buckets))).collect()
}

/// What adds a bucket to the entries of what its document names. `present`: these, as far as they are there.
pub fn additions(present: &BTreeMap<String, Users>, registration: &Registration) -> Vec<IndexChange> {
    let none = Users::Buckets(BTreeSet::new());
    let with = |name: String| {
        let users = present.get(&name).unwrap_or(&none).with(&registration.bucket)?;
        Some(IndexChange::Put(name, users))
    };
    entries(registration).into_iter().filter_map(with).collect()
}

/// What leads from the index that is there to the one that should be, as far as a sweep gets; and whether that is all.
pub fn changes(present: &BTreeMap<String, Users>, desired: BTreeMap<String, Users>) -> (Vec<IndexChange>, bool) {
    let stale = present.keys().filter(|it| !desired.contains_key(*it)).cloned().map(IndexChange::Delete);
    let stale: Vec<_> = stale.collect();
    let new = desired.into_iter().filter(|(entry, users)| present.get(entry) != Some(users));
    let mut changes: Vec<_> = new.map(|(entry, users)| IndexChange::Put(entry, users)).chain(stale).collect();
    let is_all = changes.len() <= CHANGES_PER_SWEEP;
    changes.truncate(CHANGES_PER_SWEEP);
    (changes, is_all)
}

/// The subjects that registered buckets lean on in our account, each once.
pub fn subjects<'a>(registrations: impl IntoIterator<Item = &'a Registration>) -> BTreeSet<Subject> {
    let of = |it: &'a Registration| {
        let is_own = |account: &str| account == it.account.as_str();
        let keys = [&it.key_arn].into_iter().chain(&it.former_keys).filter(move |it| is_own(it.parts().account));
        let trail = it.trail_arn.iter().filter(move |it| is_own(it.parts().account));
        keys.cloned().map(Subject::Key).chain(trail.cloned().map(Subject::Trail))
    };
    registrations.into_iter().flat_map(of).collect()
}

impl Users {
    fn of(buckets: BTreeSet<BucketName>) -> Self {
        let this = Self::Buckets(buckets);
        let bytes = serde_json::to_string(&this).map_or(usize::MAX, |it| it.len());
        if bytes > MAX_BYTES { Self::TooMany } else { this }
    }

    /// The same with one bucket more; `None`: it is there.
    fn with(&self, bucket: &BucketName) -> Option<Self> {
        match self {
            Self::TooMany => None,
            Self::Buckets(buckets) if buckets.contains(bucket) => None,
            Self::Buckets(buckets) => Some(Self::of(buckets.iter().chain([bucket]).cloned().collect())),
        }
    }
}

/// The parameters of the index that name a bucket.
pub fn entries(registration: &Registration) -> Vec<String> {
    let keys = [&registration.key_arn].into_iter().chain(&registration.former_keys);
    let keys = keys.filter_map(|it| it.parts().resource.strip_prefix("key/").map(of_key));
    let alias = registration.key_alias.iter().map(|it| of_alias(it.as_str()));
    let trail = registration.trail_arn.iter().filter_map(|it| it.parts().resource.strip_prefix("trail/").map(of_trail));
    keys.chain(alias).chain(trail).collect::<BTreeSet<_>>().into_iter().collect()
}

fn of_key(id: &str) -> String {
    format!("{USES}key/{id}")
}

/// An alias may have more slashes than a parameter's name, and no dot.
fn of_alias(alias: &str) -> String {
    format!("{USES}alias/{}", alias.trim_start_matches("alias/").replace('/', "."))
}

fn of_trail(name: &str) -> String {
    format!("{USES}trail/{name}")
}

/// Whether the Parameter Store takes it as a name; what a failed call carries may be anything.
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-su-create.html>
fn is_parameter(name: &str) -> bool {
    let rest = name.strip_prefix(USES).and_then(|it| it.split_once('/'));
    rest.is_some_and(|(_, last)| {
        !last.is_empty() && last.len() <= 300 && last.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
    })
}

/// The keys of a bucket that an event is about, the present one first.
fn keys_named(registration: &Registration, names: &[String], region: &str) -> Vec<KeyArn> {
    let present = names.iter().any(|it| uses_key(registration, it, region)).then_some(&registration.key_arn);
    let named = |key: &KeyArn| {
        names.iter().any(|it| it == key.as_str() || Some(it.as_str()) == key.parts().resource.strip_prefix("key/"))
    };
    let former = registration.former_keys.iter().filter(|it| **it != registration.key_arn && named(it));
    present.into_iter().chain(former).cloned().collect()
}

/// Whether an event that names this key or alias is about the bucket's key.
fn uses_key(registration: &Registration, named: &str, region: &str) -> bool {
    let key = &registration.key_arn;
    let alias = registration.key_alias.as_ref().map(|it| it.as_str());
    match Arn::parse(named) {
        Some(arn) if arn.resource.starts_with("alias/") => {
            (arn.account, arn.region) == (key.parts().account, region) && Some(arn.resource) == alias
        }
        Some(_) => named == key.as_str(),
        None => Some(named) == alias || key.parts().resource.strip_prefix("key/") == Some(named),
    }
}

/// Whether an event that names this trail is about the bucket's trail.
fn uses_trail(registration: &Registration, named: &str) -> bool {
    let Some(trail) = &registration.trail_arn else { return false };
    named == trail.as_str() || trail.parts().resource.strip_prefix("trail/") == Some(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "arn:aws:kms:eu-west-2:111122223333:key/k";
    const FORMER: &str = "arn:aws:kms:eu-west-2:111122223333:key/former";
    const TRAIL: &str = "arn:aws:cloudtrail:eu-west-2:111122223333:trail/t";
    const REGION: &str = "eu-west-2";

    fn registration() -> Registration {
        let key: KeyArn = KEY.parse().unwrap();
        Registration {
            key_alias: "alias/team/acme".parse().ok(),
            // The present one may still stand there.
            former_keys: vec![key.clone(), FORMER.parse().unwrap()],
            trail_arn: TRAIL.parse().ok(),
            ..Registration::new("acme-data".parse().unwrap(), "111122223333".parse().unwrap(), key)
        }
    }

    fn key(names: &[&str]) -> Named {
        Named::Key(names.iter().map(|it| (*it).to_owned()).collect())
    }

    fn trail(name: &str) -> Named {
        Named::Trail(vec![name.to_owned()])
    }

    #[test]
    fn a_key_is_named_by_arn_id_or_alias() {
        let registration = registration();
        for (names, keys) in [
            (&[][..], &[][..]),
            (&[KEY], &[KEY]),
            (&["k"], &[KEY]),
            (&["key/k"], &[]),
            (&["alias/team/acme"], &[KEY]),
            (&["arn:aws:kms:eu-west-2:111122223333:alias/team/acme"], &[KEY]),
            (&["arn:aws:kms:eu-west-2:111122223333:alias/theirs"], &[]),
            (&["arn:aws:kms:eu-west-1:111122223333:alias/team/acme"], &[]),
            (&["arn:aws:kms:eu-west-2:999922223333:alias/team/acme"], &[]),
            (&["arn:aws:kms:eu-west-2:111122223333:key/other"], &[]),
            (&["alias/theirs", "other"], &[]),
            (&[FORMER], &[FORMER]),
            (&["former"], &[FORMER]),
            (&["other", "former", "k"], &[KEY, FORMER]),
        ] {
            let subjects: Vec<_> = keys.iter().map(|it| Subject::Key(it.parse().unwrap())).collect();
            assert_eq!(key(names).subjects(&registration, REGION), subjects, "{names:?}");
        }
        let nameless = Registration { key_alias: None, ..registration };
        assert_eq!(key(&["alias/team/acme"]).subjects(&nameless, REGION), []);
    }

    #[test]
    fn a_trail_is_named_by_arn_or_name() {
        for (named, uses) in [(TRAIL, true), ("t", true), ("trail/t", false), ("other", false), ("", false)] {
            assert_eq!(!trail(named).subjects(&registration(), REGION).is_empty(), uses, "{named}");
            let without = Registration { trail_arn: None, ..registration() };
            assert_eq!(trail(named).subjects(&without, REGION), [], "it has none");
        }
    }

    #[test]
    fn by_whatever_name_something_of_a_buckets_is_called_its_entry_is_asked_for() {
        let entries = entries(&registration());
        for named in [
            key(&[KEY]),
            key(&["k"]),
            key(&[FORMER]),
            key(&["alias/team/acme"]),
            key(&["arn:aws:kms:eu-west-2:111122223333:alias/team/acme"]),
            trail(TRAIL),
            trail("t"),
        ] {
            let asked = named.entries(REGION);
            assert!(!asked.is_empty() && asked.iter().all(|it| entries.contains(it)), "{named:?}: {asked:?}");
            assert!(!named.subjects(&registration(), REGION).is_empty(), "{named:?}");
        }
        assert_eq!(entries.len(), 4, "{entries:?}");
    }

    #[test]
    fn what_can_be_no_parameter_is_not_asked_for() {
        for named in [key(&[""]), key(&["a b", "*", "../x"]), trail("a/b"), key(&["arn:aws:s3:::x"]), trail("é")] {
            assert_eq!(named.entries(REGION), Vec::<String>::new(), "{named:?}");
        }
        let many: Vec<_> = (0..64).map(|it| format!("k{it}")).collect();
        assert_eq!(Named::Key(many).entries(REGION).len(), 64, "none is crowded out");
    }

    #[test]
    fn nobody_uses_what_a_recent_index_does_not_name() {
        let at = |it: &str| format!("2026-11-23T{it}Z").parse::<Timestamp>().unwrap();
        let now = at("10:00:00");
        let named = |users| BTreeMap::from([(of_key("k"), users)]);
        let these = BTreeSet::from(["acme-data".parse().unwrap()]);
        let found = named(Users::Buckets(these.clone()));
        for (entries, swept, failed, place) in [
            (found.clone(), Some(at("09:59:00")), false, Where::In(these.clone())),
            (found.clone(), None, false, Where::Registry),
            (found, None, true, Where::In(these)),
            (named(Users::TooMany), Some(at("09:59:00")), false, Where::Registry),
            (BTreeMap::new(), Some(at("09:30:01")), false, Where::Nowhere),
            (BTreeMap::new(), Some(at("09:30:00")), false, Where::Registry),
            (BTreeMap::new(), None, false, Where::Registry),
            // Nobody has swept tomorrow.
            (BTreeMap::new(), Some(at("10:00:01")), false, Where::Registry),
            // It changed nothing, so that it is not worth a walk through the registry.
            (BTreeMap::new(), None, true, Where::Nowhere),
        ] {
            assert_eq!(
                where_users_are(&Index { entries: entries.clone(), swept }, now, failed),
                place,
                "{entries:?} {swept:?}"
            );
        }
    }

    #[test]
    fn a_sweep_says_that_the_index_is_right_unless_one_has_just_said_so() {
        let at = |it: &str| format!("2026-11-23T{it}Z").parse::<Timestamp>().unwrap();
        for (swept, is_old) in [
            (None, true),
            (Some("09:50:00"), true),
            (Some("09:50:01"), false),
            (Some("10:00:00"), false),
            (Some("10:00:01"), true),
        ] {
            let index = Index { swept: swept.map(at), ..Index::default() };
            assert_eq!(is_stamp_old(&index, at("10:00:00")), is_old, "{swept:?}");
        }
    }

    #[test]
    fn the_index_is_written_where_it_is_not_as_the_registry_has_it() {
        let mut other = registration();
        other.bucket = "other-data".parse().unwrap();
        other.former_keys.clear();
        let one = index([&registration()]);
        let both = index([&registration(), &other]);
        let changes = |present: &BTreeMap<_, _>, desired| {
            let (changes, is_all) = changes(present, desired);
            assert!(is_all);
            changes
        };
        assert_eq!(changes(&both, both.clone()), []);
        let put = |entry: String| IndexChange::Put(entry.clone(), both[&entry].clone());
        assert_eq!(changes(&one, both.clone()), [of_alias("team/acme"), of_key("k"), of_trail("t")].map(put));
        assert_eq!(changes(&one, index([&other])).last(), Some(&IndexChange::Delete(of_key("former"))));
        assert_eq!(additions(&one, &other), [of_alias("team/acme"), of_key("k"), of_trail("t")].map(put));
        assert_eq!(additions(&both, &other), []);
        assert_eq!(additions(&BTreeMap::new(), &registration()), changes(&BTreeMap::new(), one.clone()));
    }

    #[test]
    fn more_buckets_than_a_parameter_holds_are_found_in_the_registry() {
        let many: Vec<_> =
            (0..70).map(|it| Registration { bucket: format!("{it:063}").parse().unwrap(), ..registration() }).collect();
        assert!(index(&many).values().all(|it| *it == Users::TooMany));
        let few = index(&many[..60]);
        assert!(few.values().all(|it| matches!(it, Users::Buckets(_))));
        let text = serde_json::to_string(&few[&of_key("k")]).unwrap();
        assert!(text.starts_with(r#"{"buckets":["#) && text.len() <= MAX_BYTES, "{text}");
        assert_eq!(serde_json::to_string(&Users::TooMany).unwrap(), r#""too-many""#);
    }

    #[test]
    fn a_sweep_writes_no_more_of_it_than_the_parameter_store_takes() {
        let entry = |it: usize| (of_key(&format!("k{it:02}")), Users::TooMany);
        for (count, written, all) in [(30, 30, true), (31, 30, false)] {
            let (changes, is_all) = changes(&BTreeMap::new(), (0..count).map(entry).collect());
            assert_eq!((changes.len(), is_all), (written, all));
        }
    }

    #[test]
    fn what_buckets_lean_on_is_swept_once_and_only_if_it_is_ours() {
        let mut other = registration();
        other.bucket = "other-data".parse().unwrap();
        other.former_keys = vec!["arn:aws:kms:eu-west-2:999922223333:key/theirs".parse().unwrap()];
        let subjects: Vec<_> = subjects([&registration(), &other]).iter().map(ToString::to_string).collect();
        assert_eq!(subjects, [format!("key:{FORMER}"), format!("key:{KEY}"), format!("trail:{TRAIL}")]);
    }
}
