//! What building the baseline over a bucket that is there would break or destroy, and what AWS would refuse of it. Pure.
//!
//! All of it is known before anything is written: what would be lost is accepted by its name, and what would be refused
//! half-way is refused at once.

use std::{collections::BTreeMap, num::NonZeroU16};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    control::{
        bucket_policy::{self, PolicyVariant},
        kms_key,
        lifecycle::{Lifecycle, LifecycleDays, Retention},
        object_ownership::ObjectOwnership,
        public_access_block::PublicAccessBlock,
        table::Control,
        trail::{Trail, TrailRefusal, unrestorable},
        versioning::Versioning,
    },
    decide::{baseline::Baseline, plan},
    outcome::step::{Change, Refusal, Step},
    value::{
        drift::Drift,
        failure::{ApiError, Read},
        grant::Grant,
        names::{BucketName, KeyArn},
        policy::{Policy, Statement},
    },
};

/// What adoption can break or destroy. The names are what a person accepts it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Breaks {
    DeletesVersions,
    BreaksWebsite,
    BreaksPublicRead,
    DropsAclGrants,
    BreaksReplication,
    DeniesUploads,
}

/// One thing that adoption would break or destroy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loss {
    pub bucket: BucketName,
    pub breaks: Breaks,
    /// What is there, what becomes of it, and what to do instead of accepting it.
    pub detail: String,
    pub accepted: bool,
}

/// What stands in the way of a careful adoption.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Adoption {
    #[serde(rename = "adoption")]
    pub losses: Vec<Loss>,
    /// What AWS, or the guardrail itself, would refuse to write in the end, and what to do about it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<String>,
}

/// What else a bucket is used for. What could not be read is unknown, and counts as used.
#[derive(Debug)]
pub struct Usage {
    pub website: Read<Option<Website>>,
    pub replication: Read<Vec<Replication>>,
    pub versions: Read<Versions>,
}

/// A bucket's website configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Website {
    Documents { index: String },
    Redirect { host: String },
}

/// A rule of a bucket's replication configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    pub id: String,
    pub enabled: bool,
    /// The destination bucket's ARN.
    pub destination: String,
    /// It selects objects that KMS encrypts, and says which key encrypts the copies.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-config-for-kms-objects.html>
    pub kms: bool,
}

/// A version or a delete marker, as S3 lists it.
#[derive(Clone, Debug)]
pub struct Listed {
    pub key: String,
    pub modified: Timestamp,
    pub latest: bool,
    /// In bytes; `None`: a delete marker.
    pub size: Option<u64>,
}

/// What a listing of versions came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// The bucket holds something.
    pub any: bool,
    /// How many ceased to be current before the time asked for.
    pub old: u64,
    /// Their size.
    pub bytes: u64,
    /// The listing was ended before its end: there may be more.
    pub more: bool,
    /// The last version listed.
    before: Option<(String, Timestamp)>,
}

/// A bucket that is there, and what would be written to it.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    pub bucket: &'a BucketName,
    pub baseline: &'a Baseline,
    pub variant: PolicyVariant,
    pub days: LifecycleDays,
    /// Only what would be restored counts: in observe mode and under an exemption nothing is written.
    pub steps: &'a [Step],
    /// The bucket's policy, as far as it is known.
    pub policy: Option<&'a Policy>,
    pub now: Timestamp,
}

impl Breaks {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::DeletesVersions,
        Self::BreaksWebsite,
        Self::BreaksPublicRead,
        Self::DropsAclGrants,
        Self::BreaksReplication,
        Self::DeniesUploads,
    ];

    /// The name by which it is accepted.
    pub fn name(self) -> &'static str {
        match self {
            Self::DeletesVersions => "deletes-versions",
            Self::BreaksWebsite => "breaks-website",
            Self::BreaksPublicRead => "breaks-public-read",
            Self::DropsAclGrants => "drops-acl-grants",
            Self::BreaksReplication => "breaks-replication",
            Self::DeniesUploads => "denies-uploads",
        }
    }
}

impl Adoption {
    /// Whether nothing may be written.
    pub fn stops(&self) -> bool {
        !self.refusals.is_empty() || self.losses.iter().any(|it| !it.accepted)
    }

    /// Both together.
    pub fn and(mut self, other: Self) -> Self {
        self.losses.extend(other.losses);
        self.refusals.extend(other.refusals);
        self
    }

    /// The names that are still to be accepted.
    pub fn unaccepted(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.losses.iter().filter(|it| !it.accepted).map(|it| it.breaks).collect();
        names.sort();
        names.dedup();
        names.into_iter().map(Breaks::name).collect()
    }
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}): {}", self.breaks.name(), self.bucket, self.detail)
    }
}

impl std::fmt::Display for Adoption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let losses = self.losses.iter().filter(|it| !it.accepted).map(ToString::to_string);
        let refused = self.refusals.iter().map(|it| format!("would be refused: {it}"));
        f.write_str(&losses.chain(refused).collect::<Vec<_>>().join("; "))?;
        let names = self.unaccepted();
        if !names.is_empty() {
            let quoted: Vec<_> = names.iter().map(|it| format!("\"{it}\"")).collect();
            let (flags, json) = (names.join(","), quoted.join(","));
            write!(f, ". Mend that first, or accept what is meant: `--accept {flags}`, `\"accept\":[{json}]`")?;
        }
        Ok(())
    }
}

impl Website {
    fn becomes(&self) -> String {
        let what = match self {
            Self::Documents { index } => format!("it serves a website (index document {index})"),
            Self::Redirect { host } => format!("it is a website that redirects to {host}"),
        };
        format!(
            "{what}, and S3's websites speak plain HTTP to anybody: Block Public Access and the statement for TLS end that; \
             serve it with CloudFront and an origin access control instead"
        )
    }
}

impl Versions {
    /// Takes in the next page of a listing. A version is old when its successor is from before `cutoff`: from then on it
    /// was no longer current. `last_key`: the page may end amid the versions of this key.
    pub fn take(&mut self, page: Vec<Listed>, cutoff: Option<Timestamp>) {
        self.any |= !page.is_empty();
        let mut by_key: BTreeMap<String, Vec<Listed>> = BTreeMap::new();
        page.into_iter().for_each(|it| by_key.entry(it.key.clone()).or_default().push(it));
        let mut before = None;
        for (key, mut versions) in by_key {
            // S3 lists versions and delete markers apart.
            versions.sort_by_key(|it| (!it.latest, std::cmp::Reverse(it.modified)));
            let mut successor = self.before.take_if(|(before, _)| *before == key).map(|(_, time)| time);
            for Listed { key: _, modified, latest, size } in versions {
                let since = successor.replace(modified).unwrap_or(modified);
                if let (false, Some(size)) = (latest || cutoff.is_none_or(|cutoff| since >= cutoff), size) {
                    self.old += 1;
                    self.bytes += size;
                }
            }
            // S3 lists keys in the order of their bytes.
            before = successor.map(|it| (key, it));
        }
        self.before = before;
    }
}

/// The days for which noncurrent versions are to be kept where the owner keeps them longer than `days`: theirs, with the
/// reason. S3 goes by the shortest of all rules.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-conflicts.html>
pub fn owners_days(days: LifecycleDays, lifecycle: &Lifecycle) -> Option<(LifecycleDays, String)> {
    let all = lifecycle.retentions();
    // Where our own rule is in force already, it says what was chosen.
    let ours = all.iter().find(|it| it.ours);
    let longest = ours.or_else(|| all.iter().max_by_key(|it| it.days))?;
    let kept = u16::try_from(longest.days).ok().and_then(NonZeroU16::new).unwrap_or(NonZeroU16::MAX);
    (kept > days.noncurrent).then(|| {
        let Retention { id, days: owners, .. } = longest;
        let note = format!(
            "old versions are kept for {kept} days, not {}: the rule `{id}` that is there keeps them for {owners}; \
             --accept deletes-versions would cut that short",
            days.noncurrent
        );
        (LifecycleDays { noncurrent: kept, ..days }, note)
    })
}

/// Since before when a version must not have been current for the required rule to remove it now; `None`: some rule of
/// the owner's removes it as soon as that.
pub fn cutoff(days: LifecycleDays, lifecycle: &Lifecycle, now: Timestamp) -> Option<Timestamp> {
    let ours = u32::from(days.noncurrent.get());
    let as_soon = |it: &Retention| it.whole_bucket && it.newest == 0 && it.days <= ours;
    if lifecycle.retentions().iter().any(as_soon) {
        return None;
    }
    now.checked_sub(SignedDuration::from_hours(24 * i64::from(ours))).ok()
}

/// What would be written, as far as something may break by it.
#[derive(Default)]
struct Writes<'a> {
    block: Option<&'a Drift<PublicAccessBlock>>,
    ownership: Option<&'a Drift<ObjectOwnership>>,
    policy: Option<&'a Drift<Policy>>,
    lifecycle: Option<&'a Drift<Lifecycle>>,
    encryption: bool,
}

impl<'a> Writes<'a> {
    fn of(steps: &'a [Step]) -> Self {
        let mut writes = Self::default();
        for step in steps {
            let Step::Restore(change) = step else { continue };
            match change {
                Change::PublicAccessBlock(drift) => writes.block = Some(drift),
                Change::ObjectOwnership(drift) => writes.ownership = Some(drift),
                Change::BucketPolicy(drift) => writes.policy = Some(drift),
                Change::Lifecycle(drift) => writes.lifecycle = Some(drift),
                Change::DefaultEncryption(_) => writes.encryption = true,
                Change::Versioning(_) | Change::Inventory(_) | Change::KmsKey(_) | Change::Trail(_) => {}
            }
        }
        writes
    }

    /// What the ACL gives to others. One that could not be read is refused anyway.
    fn grants(&self) -> &'a [Grant] {
        self.ownership.and_then(|it| it.observed.acl_grants.as_deref().ok()).unwrap_or_default()
    }

    /// Uploads are denied that were not, by more than the statement for TLS.
    fn deny_uploads(&self) -> bool {
        self.policy.is_some_and(|Drift { observed, desired }| {
            let new = desired.statements.iter().filter(|it| !observed.statements.contains(it));
            new.into_iter().any(|it| it.demands_encryption())
        })
    }
}

/// What would be lost of what a bucket that is there does today.
pub fn losses(site: Site<'_>, usage: &Usage, accept: &[Breaks]) -> Vec<Loss> {
    let Site { bucket, variant, days, steps, policy, .. } = site;
    let Usage { website, replication, versions } = usage;
    let writes = Writes::of(steps);
    let mut losses = Vec::new();
    let mut lost = |breaks: Breaks, detail: String| {
        losses.push(Loss { bucket: bucket.clone(), breaks, detail, accepted: accept.contains(&breaks) });
    };
    let unknown = |what: &str, error: &ApiError| format!("{what} could not be looked up, so it may be: {error}");

    if let Some(drift) = writes.lifecycle {
        let shortened = shortened(&drift.observed, days);
        match versions {
            Err(error) => lost(Breaks::DeletesVersions, unknown("old versions", error)),
            Ok(versions) if versions.old > 0 || !shortened.is_empty() => {
                lost(Breaks::DeletesVersions, deleted(versions, &shortened, days));
            }
            Ok(_) => {}
        }
    }
    if writes.block.is_some() || writes.policy.is_some() {
        match website {
            Err(error) => lost(Breaks::BreaksWebsite, unknown("a website", error)),
            Ok(Some(website)) => lost(Breaks::BreaksWebsite, website.becomes()),
            Ok(None) => {}
        }
    }
    let public = public(&writes, policy);
    if !public.is_empty() {
        let detail = format!("anybody is let in by {}; Block Public Access ends that", public.join(", "));
        lost(Breaks::BreaksPublicRead, detail);
    }
    let grants = writes.grants();
    if !grants.is_empty() {
        let mut detail = format!(
            "the ACL gives {}; with ACLs off (BucketOwnerEnforced) that ends. Give it by the bucket policy instead",
            grants.iter().map(Grant::to_string).collect::<Vec<_>>().join(", ")
        );
        if grants.iter().any(Grant::is_to_log_delivery) {
            detail.push_str(", S3's server access logs to the principal logging.s3.amazonaws.com");
        }
        lost(Breaks::DropsAclGrants, detail);
    }
    if writes.encryption || writes.deny_uploads() {
        let stopped = |it: &&Replication| it.enabled && !it.kms;
        match replication {
            Err(error) => lost(Breaks::BreaksReplication, unknown("replication", error)),
            Ok(rules) if rules.iter().any(|it| stopped(&it)) => {
                let rules = rules.iter().filter(stopped).map(|it| format!("`{}` to {}", it.id, it.destination));
                let detail = format!(
                    "replication leaves out what KMS encrypts, and from now on that is every new object: rule {}; give it \
                     SourceSelectionCriteria.SseKmsEncryptedObjects, EncryptionConfiguration.ReplicaKmsKeyID, and its role \
                     the use of both keys",
                    rules.collect::<Vec<_>>().join(", ")
                );
                lost(Breaks::BreaksReplication, detail);
            }
            Ok(_) => {}
        }
    }
    if variant == PolicyVariant::Strict && writes.deny_uploads() {
        match versions {
            Err(error) => lost(Breaks::DeniesUploads, unknown("whether it is in use", error)),
            Ok(Versions { any: true, .. }) => lost(
                Breaks::DeniesUploads,
                "it is in use, and the policy denies every upload whose headers do not name aws:kms and the key; who sends \
                 none cannot be seen from here. Change these clients first, or register the bucket before with \
                 `\"policy\":\"default-encryption\"`: see `Before you enforce` in the README"
                    .to_owned(),
            ),
            Ok(_) => {}
        }
    }
    losses
}

/// The owner's rules that keep versions longer than `days`, in words.
fn shortened(lifecycle: &Lifecycle, days: LifecycleDays) -> Vec<String> {
    let longer = |it: &Retention| !it.ours && (it.newest > 0 || it.days > u32::from(days.noncurrent.get()));
    let text = |Retention { id, days, newest, .. }: Retention| match newest {
        0 => format!("`{id}` keeps them for {days} days"),
        newest => format!("`{id}` keeps the newest {newest} of each object for ever, and others for {days} days"),
    };
    lifecycle.retentions().into_iter().filter(longer).map(text).collect()
}

fn deleted(versions: &Versions, shortened: &[String], days: LifecycleDays) -> String {
    let Versions { old, bytes, more, .. } = versions;
    let days = days.noncurrent;
    let mut parts = Vec::new();
    if *old > 0 {
        let least = if *more { "at least " } else { "" };
        parts.push(format!(
            "{least}{old} versions ({}) have not been current for {days} days, and the rule for old versions would remove \
             them at once",
            size(*bytes)
        ));
    }
    if !shortened.is_empty() {
        parts.push(format!("old versions would go after {days} days, though a rule says {}", shortened.join(", ")));
    }
    let way = "for more time, give the bucket first a rule for noncurrent versions with as many days as you want: the \
               baseline then takes them over";
    format!("{}; {way}", parts.join("; "))
}

fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "KB")];
    match UNITS.iter().find(|(least, _)| bytes >= *least) {
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} bytes"),
    }
}

/// What lets anybody in today, and would not any more.
fn public(writes: &Writes<'_>, policy: Option<&Policy>) -> Vec<String> {
    let Some(Drift { observed: block, .. }) = writes.block else { return Vec::new() };
    let statements = policy.filter(|_| !block.restrict_public_buckets).map(|it| it.statements.as_slice());
    let statements = statements.unwrap_or_default().iter().enumerate().filter(|(_, it)| it.is_public());
    let mut public: Vec<_> = statements.map(|(index, it)| it.name(index)).collect();
    let grants = if block.ignore_public_acls { &[] } else { writes.grants() };
    public.extend(grants.iter().filter(|it| it.is_to_anybody()).map(|it| format!("the ACL ({it})")));
    public
}

/// What of the steps would be refused, or could not even be tried.
pub fn refusals(site: Site<'_>) -> Vec<String> {
    let Site { bucket, baseline, steps, now, .. } = site;
    let refusal = |step: &Step| {
        let control = step.control();
        let problem = match step {
            Step::Restore(change) => refused(baseline, change, now)?,
            Step::Refused(_, refusal) => refusal.to_string(),
            Step::Unreadable(_, error) => format!("it could not be read: {error}"),
            Step::Tell(_) | Step::Exempt(..) | Step::Unstable(_) | Step::Left(_) => return None,
        };
        Some(format!("{control} of {bucket}: {problem}"))
    };
    steps.iter().filter_map(refusal).collect()
}

fn refused(baseline: &Baseline, change: &Change, now: Timestamp) -> Option<String> {
    if let Err(refusal) = plan::check(baseline, change, now) {
        return Some(refusal.to_string());
    }
    match change {
        // Block Public Access comes first, and S3 knows no policy of which it takes a part.
        Change::BucketPolicy(Drift { desired, .. }) => {
            ["AccessDenied", "MalformedPolicy"].iter().find_map(|code| bucket_policy::suspects(desired, code))
        }
        Change::Versioning(Drift { observed: Versioning { mfa_delete: true, .. }, .. }) => {
            Some("MFA Delete is on: only the root user with its second factor can enable versioning".to_owned())
        }
        _ => None,
    }
}

/// Why a key's policy could not be written.
pub fn key_refusal(is: &Policy, should: &Policy, key: &KeyArn) -> Option<String> {
    if is == should {
        return None;
    }
    let ours: Vec<_> = should.statements.iter().filter(|it| !is.statements.contains(it)).cloned().collect();
    let too_long = kms_key::too_long(should, &ours).map(|it| it.to_string());
    let problem = too_long.or_else(|| kms_key::suspects(should, "MalformedPolicyDocumentException"))?;
    Some(format!("{} {key}: {problem}", Control::KmsKey))
}

/// Why a trail could not be made to log what it must.
pub fn trail_refusal(baseline: &Baseline, observed: Option<Trail>) -> Option<String> {
    if let Some((_, error)) = observed.as_ref().and_then(|it| it.unread.first()) {
        return Some(format!("{}: it could not be read: {error}", Control::Trail));
    }
    let Change::Trail(drift) = plan::restore_trail(baseline, observed)? else { return None };
    match unrestorable(&drift)? {
        // The policies that are about to be written may be what it lacks.
        TrailRefusal::Undelivered(_) | TrailRefusal::DigestUndelivered(_) => None,
        refusal @ (TrailRefusal::NoBucket | TrailRefusal::NoRoom(_)) => {
            Some(format!("{}: {}", Control::Trail, Refusal::from(refusal)))
        }
    }
}

impl Statement {
    /// It denies uploads by what their headers say of encryption.
    fn demands_encryption(&self) -> bool {
        let condition = self.0.get("Condition").map(ToString::to_string).unwrap_or_default();
        self.is_deny() && condition.to_ascii_lowercase().contains("s3:x-amz-server-side-encryption")
    }
}

/// The owner's time for old versions where it is longer, unless it may be cut short; and why.
pub fn kept_for(
    days: LifecycleDays,
    lifecycle: &Read<Lifecycle>,
    accept: &[Breaks],
) -> Option<(LifecycleDays, String)> {
    let lifecycle = lifecycle.as_ref().ok().filter(|_| !accept.contains(&Breaks::DeletesVersions))?;
    owners_days(days, lifecycle)
}
