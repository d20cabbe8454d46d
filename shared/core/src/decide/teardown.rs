//! What a teardown of a bucket deletes, in the order that loses nothing that was not named.

use std::fmt;

use crate::{
    control::inventory::INVENTORY_ID,
    edge::registry::{Registration, RegistryError},
    value::names::{BucketName, KeyAlias, KeyArn, TrailArn},
};

/// What is done about what was found; an error when something speaks against it.
pub fn plan(found: &Found, asked: Asked) -> Result<Plan, String> {
    let Asked { trail, logs, key_deletion_days } = asked;
    let Some(registration) = &found.registration else {
        if trail || logs || key_deletion_days.is_some() {
            return Err("which trail, logs and key are its own, only a registry document says".to_owned());
        }
        check_buckets(found, None)?;
        let steps = delete_buckets(found).collect();
        return Ok(Plan { steps, left: Vec::new() });
    };
    let bucket = &found.bucket;
    let known = |arn: &TrailArn| found.trails.iter().find(|it| it.arn == arn.as_str());
    let trail_arn = registration.trail_arn.as_ref().filter(|it| known(it).is_some());
    let going_trail = trail_arn.filter(|_| trail);
    check_buckets(found, going_trail)?;
    if let Some(arn) = going_trail {
        unused(found, "the trail", arn.as_str(), |it| it.trail_arn.as_ref() == Some(arn))?;
        if let Some(home) = known(arn).map(|it| &it.home).filter(|it| **it != found.region) {
            return Err(format!("the trail {arn} is at home in {home}, and can only be deleted there"));
        }
    }
    let key = &registration.key_arn;
    if key_deletion_days.is_some() {
        unused(found, "the key", key.as_str(), |it| it.key_arn == *key || it.former_keys.contains(key))?;
    }

    let mut steps = Vec::new();
    if found.registered {
        steps.push(Removal::Unregister(bucket.clone()));
    }
    steps.extend(going_trail.cloned().map(Removal::DeleteTrail));
    if found.buckets.iter().any(|(name, contents)| name == bucket && contents.is_some()) {
        steps.push(Removal::DeleteInventory(bucket.clone()));
    }
    steps.extend(delete_buckets(found));
    if let (Some(days), Some(state)) = (key_deletion_days, found.key) {
        if state.has_alias {
            steps.extend(registration.key_alias.clone().map(Removal::DeleteAlias));
        }
        if !state.pending_deletion {
            let encrypted = all_buckets(bucket, Some(registration)).map_err(|error| error.to_string())?;
            steps.push(Removal::ScheduleKeyDeletion { key: key.clone(), days, encrypted });
        }
    }

    let mut left = Vec::new();
    if let Some(arn) = trail_arn.filter(|_| !trail) {
        left.push(format!("{arn}: goes on logging (--trail)"));
    }
    let role = |it: &BucketName| {
        let is_log = registration.log_bucket().is_ok_and(|log| log == *it);
        if is_log { "log bucket, with all logs and evidence" } else { "inventory bucket, with all reports" }
    };
    left.extend(found.kept.iter().map(|it| format!("{it}: {} (--logs)", role(it))));
    if key_deletion_days.is_none() && found.key.is_none_or(|it| !it.pending_deletion) {
        left.push(format!("{key}: what it encrypted stays readable (--key-deletion-days)"));
    }
    Ok(Plan { steps, left })
}

fn delete_buckets(found: &Found) -> impl Iterator<Item = Removal> {
    let there = found.buckets.iter().filter_map(|(name, contents)| Some((name.clone(), contents.clone()?)));
    there.map(|(name, contents)| Removal::DeleteBucket(name, contents))
}

/// What goes beside the bucket.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    pub trail: bool,
    /// The log and the inventory bucket.
    pub logs: bool,
    /// After how many days the key goes; `None`: it stays.
    pub key_deletion_days: Option<i32>,
}

/// What there is.
#[derive(Clone, Debug)]
pub struct Found {
    pub bucket: BucketName,
    /// `None`: the bucket was never guarded.
    pub registration: Option<Registration>,
    /// The guardrail still keeps it.
    pub registered: bool,
    /// Other registry documents; `None`: not valid, so that it may be about anything.
    pub others: Vec<(String, Option<Registration>)>,
    pub trails: Vec<Trail>,
    pub region: String,
    /// `None`: it could not be looked up, and need not be.
    pub key: Option<Key>,
    /// Every bucket that is to be deleted; `None`: it does not exist.
    pub buckets: Vec<(BucketName, Option<Contents>)>,
    /// Those beside the guarded one that are there, and stay.
    pub kept: Vec<BucketName>,
}

/// A trail of this region, or one that is shown in it.
#[derive(Clone, Debug)]
pub struct Trail {
    pub arn: String,
    pub home: String,
    pub delivers_to: String,
}

/// The bucket's key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub pending_deletion: bool,
    /// The alias is there, and points at it.
    pub has_alias: bool,
}

/// What is done, in this order, and what is left in the end.
#[derive(Debug)]
pub struct Plan {
    pub steps: Vec<Removal>,
    pub left: Vec<String>,
}

/// One thing that is deleted, or given up.
#[derive(Debug)]
pub enum Removal {
    Unregister(BucketName),
    DeleteTrail(TrailArn),
    DeleteInventory(BucketName),
    DeleteBucket(BucketName, Contents),
    DeleteAlias(KeyAlias),
    ScheduleKeyDeletion { key: KeyArn, days: i32, encrypted: Vec<BucketName> },
}

/// What is in a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    pub versions: usize,
    pub markers: usize,
    pub uploads: usize,
    /// There is more than was counted.
    pub more: bool,
    /// Only the root user's second factor deletes versions.
    pub mfa_delete: bool,
    /// Some of the versions that S3 would not let go.
    pub locked: Vec<String>,
}

/// The bucket, and those that only its registry document knows.
pub fn all_buckets(bucket: &BucketName, registration: Option<&Registration>) -> Result<Vec<BucketName>, RegistryError> {
    let mut all = vec![bucket.clone()];
    if let Some(registration) = registration {
        for name in [registration.log_bucket()?, registration.inventory_bucket()?] {
            if !all.contains(&name) {
                all.push(name);
            }
        }
    }
    Ok(all)
}

/// Refuses buckets that somebody else needs, or that S3 would not let go.
fn check_buckets(found: &Found, going_trail: Option<&TrailArn>) -> Result<(), String> {
    for (name, contents) in &found.buckets {
        let is = |it: Result<BucketName, _>| it.is_ok_and(|it: BucketName| it == *name);
        let uses = |it: &Registration| it.bucket == *name || is(it.log_bucket()) || is(it.inventory_bucket());
        let shared = *name != found.bucket;
        if shared {
            unused(found, "the bucket", name.as_str(), uses)?;
        } else if let Some((user, _)) = found.others.iter().find(|(_, it)| it.as_ref().is_some_and(uses)) {
            return Err(format!("the guarded bucket {user} keeps its logs or inventory here"));
        }
        let stays = |it: &&Trail| going_trail.is_none_or(|going| it.arn != going.as_str());
        if let Some(trail) = found.trails.iter().filter(stays).find(|it| it.delivers_to == name.as_str()) {
            return Err(format!("the trail {} delivers to {name}", trail.arn));
        }
        let Some(Contents { locked, mfa_delete, .. }) = contents else { continue };
        if *mfa_delete {
            return Err(format!("{name} has MFA Delete on: switch that off first, as the root user"));
        }
        if !locked.is_empty() {
            return Err(format!("in {name}, Object Lock keeps {}", locked.join(", ")));
        }
    }
    Ok(())
}

/// Refuses what another guarded bucket uses, or may use.
fn unused(found: &Found, what: &str, id: &str, uses: impl Fn(&Registration) -> bool) -> Result<(), String> {
    for (other, registration) in &found.others {
        match registration {
            None => return Err(format!("the registry document of {other} is not valid; it may need {what} {id}")),
            Some(it) if uses(it) => return Err(format!("the guarded bucket {other} needs {what} {id}")),
            Some(_) => {}
        }
    }
    Ok(())
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unregister(bucket) => write!(f, "registry document of {bucket}"),
            Self::DeleteTrail(trail) => write!(f, "trail {trail}"),
            Self::DeleteInventory(bucket) => write!(f, "inventory configuration {INVENTORY_ID} of {bucket}"),
            Self::DeleteBucket(bucket, contents) => {
                let Contents { versions, markers, uploads, more, .. } = contents;
                let least = if *more { "at least " } else { "" };
                let [versions, markers, uploads] =
                    [(*versions, "version"), (*markers, "delete marker"), (*uploads, "unfinished upload")]
                        .map(|(n, what)| format!("{n} {what}{}", if n == 1 { "" } else { "s" }));
                write!(f, "bucket {bucket}: {least}{versions}, {markers}, {uploads}")
            }
            Self::DeleteAlias(alias) => write!(f, "{alias}"),
            Self::ScheduleKeyDeletion { key, days, encrypted } => {
                let encrypted = encrypted.iter().map(BucketName::as_str).collect::<Vec<_>>().join(", ");
                write!(
                    f,
                    "key {key}, in {days} days: from now on nobody can read what it encrypted in {encrypted}, or elsewhere"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    const KEY: &str = "arn:aws:kms:eu-west-2:111122223333:key/k";
    const TRAIL: &str = "arn:aws:cloudtrail:eu-west-2:111122223333:trail/acme-data-trail";

    fn name(text: &str) -> BucketName {
        text.parse().unwrap()
    }

    fn registration(bucket: &str) -> Registration {
        let new = Registration::new(name(bucket), "111122223333".parse().unwrap(), KEY.parse().unwrap());
        Registration {
            trail_arn: Some(TRAIL.parse().unwrap()),
            key_alias: Some("alias/s3-secure-data".parse().unwrap()),
            ..new
        }
    }

    fn trail(home: &str) -> Trail {
        Trail { arn: TRAIL.to_owned(), home: home.to_owned(), delivers_to: "acme-data-logs".to_owned() }
    }

    fn some() -> Contents {
        Contents { versions: 3000, markers: 1, uploads: 2, ..Contents::default() }
    }

    fn found() -> Found {
        Found {
            bucket: name("acme-data"),
            registration: Some(registration("acme-data")),
            registered: true,
            others: Vec::new(),
            trails: vec![trail("eu-west-2")],
            region: "eu-west-2".to_owned(),
            key: Some(Key { pending_deletion: false, has_alias: true }),
            buckets: vec![(name("acme-data"), Some(some()))],
            kept: vec![name("acme-data-logs"), name("acme-data-inventory")],
        }
    }

    /// With the log and inventory bucket to be deleted, too.
    fn with_logs() -> Found {
        let mut found = found();
        found.buckets.extend(found.kept.drain(..).map(|it| (it, Some(Contents { more: true, ..some() }))));
        found
    }

    fn only() -> Asked {
        Asked::default()
    }

    fn all() -> Asked {
        Asked { trail: true, logs: true, key_deletion_days: Some(7) }
    }

    fn shown(found: &Found, asked: Asked) -> String {
        let Plan { steps, left } = plan(found, asked).unwrap();
        let steps = steps.iter().map(|it| format!("- {it}\n"));
        steps.chain(left.iter().map(|it| format!("stays: {it}\n"))).collect()
    }

    #[test]
    fn what_is_not_named_stays() {
        expect![[r#"
            - registry document of acme-data
            - inventory configuration encryption-and-replication of acme-data
            - bucket acme-data: 3000 versions, 1 delete marker, 2 unfinished uploads
            stays: arn:aws:cloudtrail:eu-west-2:111122223333:trail/acme-data-trail: goes on logging (--trail)
            stays: acme-data-logs: log bucket, with all logs and evidence (--logs)
            stays: acme-data-inventory: inventory bucket, with all reports (--logs)
            stays: arn:aws:kms:eu-west-2:111122223333:key/k: what it encrypted stays readable (--key-deletion-days)
        "#]]
        .assert_eq(&shown(&found(), only()));
    }

    #[test]
    fn the_trail_stops_before_its_bucket_goes_and_the_key_goes_last() {
        expect![[r#"
            - registry document of acme-data
            - trail arn:aws:cloudtrail:eu-west-2:111122223333:trail/acme-data-trail
            - inventory configuration encryption-and-replication of acme-data
            - bucket acme-data: 3000 versions, 1 delete marker, 2 unfinished uploads
            - bucket acme-data-logs: at least 3000 versions, 1 delete marker, 2 unfinished uploads
            - bucket acme-data-inventory: at least 3000 versions, 1 delete marker, 2 unfinished uploads
            - alias/s3-secure-data
            - key arn:aws:kms:eu-west-2:111122223333:key/k, in 7 days: from now on nobody can read what it encrypted in acme-data, acme-data-logs, acme-data-inventory, or elsewhere
        "#]]
        .assert_eq(&shown(&with_logs(), all()));
    }

    #[test]
    fn a_run_that_stopped_goes_on() {
        let found = Found {
            registered: false,
            trails: Vec::new(),
            key: Some(Key { pending_deletion: true, has_alias: false }),
            buckets: vec![(name("acme-data"), None), (name("acme-data-inventory"), Some(some()))],
            kept: Vec::new(),
            ..found()
        };
        expect![[r#"
            - bucket acme-data-inventory: 3000 versions, 1 delete marker, 2 unfinished uploads
        "#]]
        .assert_eq(&shown(&found, all()));
    }

    #[test]
    fn what_others_need_or_s3_keeps_is_refused() {
        let other = |change: fn(&mut Registration)| {
            let mut other = registration("other-data");
            other.trail_arn = None;
            other.key_arn = "arn:aws:kms:eu-west-2:111122223333:key/other".parse().unwrap();
            change(&mut other);
            vec![("other-data".to_owned(), Some(other))]
        };
        let contents = |contents: Contents| vec![(name("acme-data"), Some(contents))];
        let foreign_trail = Trail { arn: "arn:t".to_owned(), ..trail("eu-west-2") };
        let locked = vec!["a.txt (version 1: legal hold)".to_owned()];
        for (found, asked, problem) in [
            (Found { others: other(|it| it.trail_arn = TRAIL.parse().ok()), ..with_logs() }, all(), "needs the trail"),
            (Found { others: other(|it| it.key_arn = KEY.parse().unwrap()), ..with_logs() }, all(), "needs the key"),
            (
                Found { others: other(|it| it.former_keys = vec![KEY.parse().unwrap()]), ..with_logs() },
                all(),
                "needs the key",
            ),
            (
                Found { others: other(|it| it.log_bucket = "acme-data-logs".parse().ok()), ..with_logs() },
                all(),
                "the guarded bucket other-data needs the bucket acme-data-logs",
            ),
            (
                Found { others: other(|it| it.log_bucket = "acme-data".parse().ok()), ..found() },
                only(),
                "other-data keeps its logs or inventory here",
            ),
            (Found { others: vec![("broken".to_owned(), None)], ..with_logs() }, all(), "broken is not valid"),
            (Found { trails: vec![trail("us-east-1")], ..with_logs() }, all(), "is at home in us-east-1"),
            (Found { trails: vec![foreign_trail], ..with_logs() }, all(), "arn:t delivers to acme-data-logs"),
            (Found { buckets: contents(Contents { mfa_delete: true, ..some() }), ..found() }, only(), "MFA Delete"),
            (Found { buckets: contents(Contents { locked, ..some() }), ..found() }, only(), "keeps a.txt (version 1"),
            (Found { registration: None, ..found() }, Asked { trail: true, ..only() }, "only a registry document says"),
            (Found { registration: None, ..found() }, Asked { logs: true, ..only() }, "only a registry document says"),
            (
                Found { registration: None, ..found() },
                Asked { key_deletion_days: Some(7), ..only() },
                "only a registry document says",
            ),
        ] {
            let error = plan(&found, asked).unwrap_err();
            assert!(error.contains(problem), "{problem}: {error}");
        }
        let others = other(|_| {});
        assert!(plan(&Found { others, ..with_logs() }, all()).is_ok());
        // Nothing that is shared goes, so that it does not matter what the other document says.
        assert!(plan(&Found { others: vec![("broken".to_owned(), None)], ..found() }, only()).is_ok());
    }
}
