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
        let (versions, have) = if *old == 1 { ("version", "has") } else { ("versions", "have") };
        let it = if *old == 1 { "it" } else { "them" };
        parts.push(format!(
            "{least}{old} {versions} ({}) {have} not been current for {days} days, and the rule for old versions would remove \
             {it} at once",
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
        None if bytes == 1 => "1 byte".to_owned(),
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
            Step::Tell(_) | Step::Exempt(..) | Step::Unstable(_) | Step::NotYet(_) | Step::Left(_) | Step::Held(_) => {
                return None;
            }
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

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;
    use crate::{
        control::{default_encryption::DefaultEncryption, kms_key::service_statements, trail::TrailPart},
        decide::{echo::NO_PAST, plan::Stance},
        edge::registry::Registration,
        outcome::observed::Observed,
    };

    const KEY: &str = "arn:aws:kms:eu-west-2:111122223333:key/k";
    const DAYS: u16 = 30;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn now() -> Timestamp {
        time("2026-11-23T10:00:00Z")
    }

    fn registration() -> Registration {
        let trail_arn = Some("arn:aws:cloudtrail:eu-west-2:111122223333:trail/t".parse().unwrap());
        let account = "111122223333".parse().unwrap();
        Registration { trail_arn, ..Registration::new("acme-data".parse().unwrap(), account, KEY.parse().unwrap()) }
    }

    fn baseline() -> Baseline {
        let role = "arn:aws:iam::111122223333:role/guardrail".parse().unwrap();
        Baseline::new(&registration(), &"111122223333".parse().unwrap(), &role).unwrap()
    }

    fn policy(statements: &[serde_json::Value]) -> Policy {
        Policy::parse(&json!({"Version": "2012-10-17", "Statement": statements}).to_string()).unwrap()
    }

    fn lifecycle(rules: &[&str]) -> Lifecycle {
        Lifecycle::parse(&format!("<LifecycleConfiguration>{}</LifecycleConfiguration>", rules.concat()), None).unwrap()
    }

    fn keeps(id: &str, days: &str, more: &str) -> String {
        format!(
            "<Rule><ID>{id}</ID><Filter/><Status>Enabled</Status><NoncurrentVersionExpiration>\
             <NoncurrentDays>{days}</NoncurrentDays>{more}</NoncurrentVersionExpiration></Rule>"
        )
    }

    fn compliant() -> Observed {
        let baseline = baseline();
        Observed {
            public_access_block: Ok(PublicAccessBlock::ALL),
            object_ownership: Ok(ObjectOwnership::enforced()),
            bucket_policy: Ok(Policy::default().requiring(&baseline.policy)),
            default_encryption: Ok(DefaultEncryption::default().requiring(&baseline.key)),
            versioning: Ok(Versioning::default().enabled()),
            lifecycle: Ok(Lifecycle::default().requiring(&baseline.lifecycle)),
            ..Observed::empty()
        }
    }

    fn unused() -> Usage {
        Usage { website: Ok(None), replication: Ok(Vec::new()), versions: Ok(Versions::default()) }
    }

    fn unread<T>() -> Read<T> {
        Err(ApiError::new("Get", "denied"))
    }

    /// What is asked of a bucket that is there, with the steps that would be taken.
    fn with_site<T>(observed: Observed, variant: PolicyVariant, ask: impl FnOnce(Site<'_>) -> T) -> T {
        let (baseline, registration) = (baseline(), registration());
        let policy = observed.bucket_policy.as_ref().ok().cloned();
        let stance = Stance { registration: &registration, now: now(), dry_run: false, past: &NO_PAST };
        let steps = plan::plan(&baseline, observed.into(), &stance);
        let (bucket, days) = (&registration.bucket, LifecycleDays::default());
        ask(Site { bucket, baseline: &baseline, variant, days, steps: &steps, policy: policy.as_ref(), now: now() })
    }

    fn lost(observed: Observed, usage: &Usage) -> Vec<Loss> {
        with_site(observed, PolicyVariant::Strict, |site| losses(site, usage, &[]))
    }

    #[track_caller]
    fn check(observed: Observed, usage: &Usage, breaks: &[Breaks]) {
        assert_eq!(lost(observed, usage).iter().map(|it| it.breaks).collect::<Vec<_>>(), breaks);
    }

    fn lines(losses: &[Loss]) -> String {
        losses.iter().map(|it| format!("{it}\n")).collect()
    }

    fn replication(enabled: bool, kms: bool) -> Replication {
        Replication { id: format!("{enabled}-{kms}"), enabled, destination: "arn:aws:s3:::copies".to_owned(), kms }
    }

    fn open() -> PublicAccessBlock {
        PublicAccessBlock::default()
    }

    fn public_policy() -> Policy {
        let public = json!({"Sid": "Public", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::acme-data/*"});
        let private = json!({"Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::acme-data/*"});
        policy(&[private, public]).requiring(&baseline().policy)
    }

    fn granting(grants: &[&str]) -> ObjectOwnership {
        let acl_grants = Ok(grants.iter().map(|it| it.parse().unwrap()).collect());
        ObjectOwnership { object_ownership: Some("ObjectWriter".to_owned()), acl_grants }
    }

    const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers READ";

    #[test]
    fn everything_that_a_bucket_does_is_lost_by_its_name() {
        let observed = Observed {
            public_access_block: Ok(open()),
            object_ownership: Ok(granting(&[ALL_USERS, "http://acs.amazonaws.com/groups/s3/LogDelivery WRITE"])),
            bucket_policy: Ok(policy(
                &public_policy().statements[..2].iter().map(|it| it.0.clone()).collect::<Vec<_>>(),
            )),
            lifecycle: Ok(lifecycle(&[&keeps("theirs", "90", "")])),
            ..Observed::empty()
        };
        let usage = Usage {
            website: Ok(Some(Website::Documents { index: "index.html".to_owned() })),
            replication: Ok(vec![replication(true, false), replication(true, true), replication(false, false)]),
            versions: Ok(Versions { any: true, old: 3, bytes: 1_250_000, more: true, before: None }),
        };
        expect![[r#"
            deletes-versions (acme-data): at least 3 versions (1.2 MB) have not been current for 30 days, and the rule for old versions would remove them at once; old versions would go after 30 days, though a rule says `theirs` keeps them for 90 days; for more time, give the bucket first a rule for noncurrent versions with as many days as you want: the baseline then takes them over
            breaks-website (acme-data): it serves a website (index document index.html), and S3's websites speak plain HTTP to anybody: Block Public Access and the statement for TLS end that; serve it with CloudFront and an origin access control instead
            breaks-public-read (acme-data): anybody is let in by statement `Public`, the ACL (http://acs.amazonaws.com/groups/global/AllUsers READ); Block Public Access ends that
            drops-acl-grants (acme-data): the ACL gives http://acs.amazonaws.com/groups/global/AllUsers READ, http://acs.amazonaws.com/groups/s3/LogDelivery WRITE; with ACLs off (BucketOwnerEnforced) that ends. Give it by the bucket policy instead, S3's server access logs to the principal logging.s3.amazonaws.com
            breaks-replication (acme-data): replication leaves out what KMS encrypts, and from now on that is every new object: rule `true-false` to arn:aws:s3:::copies; give it SourceSelectionCriteria.SseKmsEncryptedObjects, EncryptionConfiguration.ReplicaKmsKeyID, and its role the use of both keys
            denies-uploads (acme-data): it is in use, and the policy denies every upload whose headers do not name aws:kms and the key; who sends none cannot be seen from here. Change these clients first, or register the bucket before with `"policy":"default-encryption"`: see `Before you enforce` in the README
        "#]].assert_eq(&lines(&lost(observed, &usage)));
    }

    #[test]
    fn what_could_not_be_looked_up_counts_as_used() {
        let usage = Usage { website: unread(), replication: unread(), versions: unread() };
        expect![[r#"
            deletes-versions (acme-data): old versions could not be looked up, so it may be: Get: denied
            breaks-website (acme-data): a website could not be looked up, so it may be: Get: denied
            breaks-replication (acme-data): replication could not be looked up, so it may be: Get: denied
            denies-uploads (acme-data): whether it is in use could not be looked up, so it may be: Get: denied
        "#]]
        .assert_eq(&lines(&lost(Observed::empty(), &usage)));
    }

    #[test]
    fn what_is_not_written_breaks_nothing() {
        let used = || Usage {
            website: Ok(Some(Website::Redirect { host: "example.com".to_owned() })),
            replication: Ok(vec![replication(true, false)]),
            versions: Ok(Versions { any: true, old: 1, ..Versions::default() }),
        };
        check(compliant(), &used(), &[]);
        check(Observed::empty(), &unused(), &[]);
        let block = Observed { public_access_block: Ok(open()), ..compliant() };
        check(block, &used(), &[Breaks::BreaksWebsite]);
        let encryption = Observed { default_encryption: Ok(DefaultEncryption::default()), ..compliant() };
        check(encryption, &used(), &[Breaks::BreaksReplication]);
        let rules = Observed { lifecycle: Ok(Lifecycle::default()), ..compliant() };
        check(rules, &used(), &[Breaks::DeletesVersions]);
        let unencrypted = || Observed { bucket_policy: Ok(Policy::default()), ..compliant() };
        check(unencrypted(), &used(), &[Breaks::BreaksWebsite, Breaks::BreaksReplication, Breaks::DeniesUploads]);
        let lenient = with_site(unencrypted(), PolicyVariant::DefaultEncryption, |site| losses(site, &used(), &[]));
        assert!(lenient.iter().all(|it| it.breaks != Breaks::DeniesUploads), "{lenient:?}");
        // The statement for TLS alone denies no upload for its encryption.
        let without_tls = policy(&baseline().policy[1..].iter().map(|it| it.0.clone()).collect::<Vec<_>>());
        check(Observed { bucket_policy: Ok(without_tls), ..compliant() }, &used(), &[Breaks::BreaksWebsite]);
    }

    #[test]
    fn only_rules_in_force_that_leave_kms_out_stop_replicating() {
        let encryption = || Observed { default_encryption: Ok(DefaultEncryption::default()), ..compliant() };
        for (enabled, kms, stops) in
            [(true, false, true), (true, true, false), (false, false, false), (false, true, false)]
        {
            let usage = Usage { replication: Ok(vec![replication(enabled, kms)]), ..unused() };
            assert_eq!(lost(encryption(), &usage).len(), usize::from(stops), "{enabled} {kms}");
        }
    }

    #[test]
    fn who_is_let_in_by_nothing_today_loses_nothing() {
        let observed = |block, grants: &[&str]| Observed {
            public_access_block: Ok(block),
            bucket_policy: Ok(public_policy()),
            object_ownership: Ok(granting(grants)),
            ..compliant()
        };
        let told = |block, grants: &[&str]| {
            let losses = lost(observed(block, grants), &unused());
            losses.iter().map(|it| format!("{}\n", it.detail)).collect::<String>()
        };
        expect![[r#"
            anybody is let in by statement `Public`; Block Public Access ends that
        "#]]
        .assert_eq(&told(open(), &[]));
        expect![[r#"
            anybody is let in by the ACL (http://acs.amazonaws.com/groups/global/AllUsers READ); Block Public Access ends that
            the ACL gives http://acs.amazonaws.com/groups/global/AllUsers READ; with ACLs off (BucketOwnerEnforced) that ends. Give it by the bucket policy instead
        "#]].assert_eq(&told(PublicAccessBlock { restrict_public_buckets: true, ..open() }, &[ALL_USERS]));
        expect![[r#"
            anybody is let in by statement `Public`; Block Public Access ends that
            the ACL gives ann@example.com READ; with ACLs off (BucketOwnerEnforced) that ends. Give it by the bucket policy instead
        "#]]
            .assert_eq(&told(PublicAccessBlock { ignore_public_acls: true, ..open() }, &["ann@example.com READ"]));
        let shut = PublicAccessBlock { ignore_public_acls: true, restrict_public_buckets: true, ..open() };
        expect![[r#"
            the ACL gives http://acs.amazonaws.com/groups/global/AllUsers READ; with ACLs off (BucketOwnerEnforced) that ends. Give it by the bucket policy instead
        "#]].assert_eq(&told(shut, &[ALL_USERS]));
        expect![[""]].assert_eq(&told(PublicAccessBlock::ALL, &[]));
    }

    #[test]
    fn old_versions_go_by_count_and_by_the_rules_that_keep_them() {
        let told = |rules: &[&str], old, more| {
            let observed = Observed { lifecycle: Ok(lifecycle(rules)), ..compliant() };
            let usage = Usage { versions: Ok(Versions { any: true, old, bytes: old, more, before: None }), ..unused() };
            let losses = lost(observed, &usage);
            losses.iter().map(|it| it.detail.split("; for more time").next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let none: [String; 0] = [];
        assert_eq!(told(&[], 0, true), none);
        assert_eq!(told(&[&keeps("a", "30", "")], 0, false), none, "as long as ours");
        assert_eq!(told(&[&keeps("expire-noncurrent-30days", "90", "")], 0, false), none, "ours, whatever its days");
        expect![
            "1 version (1 byte) has not been current for 30 days, and the rule for old versions would remove it at once"
        ]
        .assert_eq(&told(&[], 1, false).join("\n"));
        expect!["at least 2 versions (2 bytes) have not been current for 30 days, and the rule for old versions would remove them at once"].assert_eq(&told(&[], 2, true).join("\n"));
        expect!["old versions would go after 30 days, though a rule says `a` keeps them for 31 days"]
            .assert_eq(&told(&[&keeps("a", "31", ""), &keeps("b", "30", "")], 0, false).join("\n"));
        let newest = keeps("c", "5", "<NewerNoncurrentVersions>2</NewerNoncurrentVersions>");
        expect!["old versions would go after 30 days, though a rule says `c` keeps the newest 2 of each object for ever, and others for 5 days"].assert_eq(&told(&[&newest], 0, false).join("\n"));
    }

    #[test]
    fn a_size_is_in_the_largest_unit_that_it_has_one_of() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1_000, "1.0 KB"),
            (999_999, "999.9 KB"),
            (1_000_000, "1.0 MB"),
            (2_550_000_000, "2.5 GB"),
            (31_900_000_000_000, "31.9 TB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_version_is_old_since_its_successor() {
        let listed = |key: &str, day: &str, latest, size| Listed {
            key: key.to_owned(),
            modified: time(&format!("2026-{day}T00:00:00Z")),
            latest,
            size,
        };
        let taken = |pages: Vec<Vec<Listed>>, cutoff: Option<&str>| {
            let mut versions = Versions::default();
            pages.into_iter().for_each(|it| versions.take(it, cutoff.map(time)));
            (versions.any, versions.old, versions.bytes)
        };
        let cutoff = Some("2026-10-05T00:00:00Z");
        let old_and_new = || {
            vec![
                listed("b", "09-20", false, Some(300)),
                listed("b", "10-10", true, Some(1)),
                listed("b", "10-01", false, Some(20)),
                listed("b", "09-10", false, None),
                listed("c", "08-02", true, Some(4_000)),
                listed("c", "08-01", false, Some(50_000)),
            ]
        };
        assert_eq!(taken(vec![], cutoff), (false, 0, 0));
        assert_eq!(taken(vec![vec![]], cutoff), (false, 0, 0));
        assert_eq!(taken(vec![old_and_new()], None), (true, 0, 0), "nothing would be removed sooner than now");
        assert_eq!(taken(vec![old_and_new()], cutoff), (true, 2, 50_300));
        assert_eq!(taken(vec![old_and_new(), vec![]], cutoff), (true, 2, 50_300), "an empty page takes nothing back");
        let marker = vec![listed("a", "01-02", true, None), listed("a", "01-01", false, None)];
        assert_eq!(taken(vec![marker], cutoff), (true, 0, 0), "delete markers are no data");
        // The successor is at the end of the page before, if it is of the same key.
        let page = |key| vec![listed(key, "10-10", true, Some(1))];
        let next = || vec![listed("b", "10-01", false, Some(20))];
        assert_eq!(taken(vec![page("b"), next()], cutoff), (true, 0, 0));
        assert_eq!(taken(vec![page("a"), next()], cutoff), (true, 1, 20));
    }

    #[test]
    fn the_owners_longer_time_is_taken_over() {
        let days = LifecycleDays::default();
        let kept = |rules: &[&str]| owners_days(days, &lifecycle(rules)).map(|it| it.0.noncurrent.get());
        let ours = keeps("expire-noncurrent-30days", "60", "");
        for (rules, expected) in [
            (vec![], None),
            (vec![keeps("a", "30", "")], None),
            (vec![keeps("a", "29", "")], None),
            (vec![keeps("a", "31", "")], Some(31)),
            (vec![keeps("a", "31", ""), keeps("b", "90", "")], Some(90)),
            (vec![keeps("a", "90", ""), ours], Some(60)),
            (vec![keeps("a", "70000", "")], Some(u16::MAX)),
        ] {
            assert_eq!(kept(&rules.iter().map(String::as_str).collect::<Vec<_>>()), expected, "{rules:?}");
        }
        let theirs = lifecycle(&[&keeps("a", "90", "")]);
        let (taken, note) = owners_days(days, &theirs).unwrap();
        assert_eq!(taken.abort_multipart, days.abort_multipart);
        expect!["old versions are kept for 90 days, not 30: the rule `a` that is there keeps them for 90; --accept deletes-versions would cut that short"].assert_eq(&note);
        assert_eq!(kept_for(days, &Ok(theirs.clone()), &[Breaks::BreaksWebsite]), Some((taken, note)));
        assert_eq!(kept_for(days, &Ok(theirs), &[Breaks::DeletesVersions]), None, "it may be cut short");
        assert_eq!(kept_for(days, &unread(), &[]), None);
    }

    #[test]
    fn only_a_rule_for_all_that_is_as_soon_leaves_nothing_to_remove() {
        let days = LifecycleDays::default();
        let some = Some(time("2026-10-24T10:00:00Z"));
        let prefixed = keeps("a", "30", "").replace("<Filter/>", "<Filter><Prefix>logs/</Prefix></Filter>");
        for (rule, expected) in [
            (String::new(), some),
            (keeps("a", &DAYS.to_string(), ""), None),
            (keeps("a", "1", ""), None),
            (keeps("a", "31", ""), some),
            (keeps("a", "30", "<NewerNoncurrentVersions>1</NewerNoncurrentVersions>"), some),
            (prefixed, some),
        ] {
            assert_eq!(cutoff(days, &lifecycle(&[&rule]), now()), expected, "{rule}");
        }
    }

    fn refused(observed: Observed) -> String {
        with_site(observed, PolicyVariant::Strict, refusals).iter().map(|it| format!("{it}\n")).collect()
    }

    #[test]
    fn what_aws_would_refuse_is_told_before() {
        assert_eq!(refused(compliant()), "");
        assert_eq!(refused(Observed::empty()), "");
        let dead = json!({"Sid": "Dead", "Effect": "Allow", "Principal": {"AWS": "AROAEXAMPLE"}, "Action": "s3:*", "Resource": "*"});
        let lock = json!({"Sid": "Lock", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*"});
        expect![[r#"
            bucket-policy of acme-data: S3 refuses a policy that names a deleted user or role: statement `Dead`; remove it, or set `drop_dead_principals` in the registry document
        "#]].assert_eq(&refused(Observed { bucket_policy: Ok(policy(&[dead])), ..compliant() }));
        expect![[r#"
            bucket-policy of acme-data: statement `Lock` denies s3:GetBucketPolicy to the guardrail's own role arn:aws:iam::111122223333:role/guardrail; remove that statement, as root if need be
        "#]].assert_eq(&refused(Observed { bucket_policy: Ok(policy(&[lock])), ..compliant() }));
        expect![[r#"
            bucket-policy of acme-data: it could not be read: Get: denied
        "#]]
        .assert_eq(&refused(Observed { bucket_policy: unread(), ..compliant() }));
        let suspended = |mfa_delete| Observed {
            versioning: Ok(Versioning { status: Some("Suspended".to_owned()), mfa_delete }),
            ..compliant()
        };
        assert_eq!(refused(suspended(false)), "");
        expect![[r#"
            versioning of acme-data: MFA Delete is on: only the root user with its second factor can enable versioning
        "#]]
        .assert_eq(&refused(suspended(true)));
    }

    #[test]
    fn a_keys_policy_that_stays_is_not_refused() {
        let account = "111122223333".parse().unwrap();
        let is = policy(&[
            json!({"Sid": "Dead", "Effect": "Allow", "Principal": {"AWS": "AROAEXAMPLE"}, "Action": "kms:*", "Resource": "*"}),
        ]);
        let with_ours = |is: &Policy| is.requiring(&service_statements("aws", &account, None));
        let key = KEY.parse().unwrap();
        assert_eq!(key_refusal(&is, &is, &key), None);
        assert_eq!(key_refusal(&Policy::default(), &with_ours(&Policy::default()), &key), None);
        expect!["kms-key arn:aws:kms:eu-west-2:111122223333:key/k: KMS refuses a key policy that names a deleted user or role: statement `Dead`; remove it from the key's policy, or set `drop_dead_principals` in the registry document"].assert_eq(&key_refusal(&is, &with_ours(&is), &key).unwrap());
        let long = |sid: &str| json!({"Sid": sid, "Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "kms:Decrypt", "Resource": "x".repeat(40_000)});
        let is = policy(&[long("Theirs")]);
        let told = key_refusal(&is, &with_ours(&is), &key).unwrap();
        assert!(told.contains("`Theirs`"), "not one of ours, which are new: {told}");
    }

    #[test]
    fn a_trail_that_nothing_helps_is_refused() {
        let baseline = baseline();
        let good = || Trail::requiring(None, baseline.trail.as_ref().unwrap());
        assert_eq!(trail_refusal(&baseline, Some(good())), None);
        assert_eq!(trail_refusal(&baseline, None), None);
        let undelivered = Trail { latest_delivery_error: Some("AccessDenied".to_owned()), ..good() };
        assert_eq!(trail_refusal(&baseline, Some(undelivered)), None, "its bucket's policy is about to be written");
        let unread = Trail { unread: vec![(TrailPart::Status, ApiError::new("GetTrailStatus", "denied"))], ..good() };
        expect!["trail: it could not be read: GetTrailStatus: denied"]
            .assert_eq(&trail_refusal(&baseline, Some(unread)).unwrap());
    }

    #[test]
    fn nothing_is_written_until_all_of_it_is_accepted_and_nothing_is_refused() {
        let usage = Usage { website: unread(), replication: unread(), versions: unread() };
        let adoption = |accept: &[Breaks], refusals: &[&str]| Adoption {
            losses: with_site(Observed::empty(), PolicyVariant::Strict, |site| losses(site, &usage, accept)),
            refusals: refusals.iter().map(|it| (*it).to_owned()).collect(),
        };
        assert!(!Adoption::default().stops() && !adoption(&Breaks::ALL, &[]).stops());
        assert!(adoption(&Breaks::ALL, &["r"]).stops() && adoption(&Breaks::ALL[..3], &[]).stops());
        assert_eq!(adoption(&Breaks::ALL, &["r"]).to_string(), "would be refused: r");
        let both = adoption(&[], &["r"]).and(adoption(&Breaks::ALL[..1], &["s"]));
        assert_eq!(both.unaccepted(), ["deletes-versions", "breaks-website", "breaks-replication", "denies-uploads"]);
        assert_eq!((both.losses.len(), both.refusals.len()), (8, 2));
        expect![[r#"deletes-versions (acme-data): old versions could not be looked up, so it may be: Get: denied; breaks-website (acme-data): a website could not be looked up, so it may be: Get: denied; breaks-replication (acme-data): replication could not be looked up, so it may be: Get: denied; denies-uploads (acme-data): whether it is in use could not be looked up, so it may be: Get: denied; breaks-website (acme-data): a website could not be looked up, so it may be: Get: denied; breaks-replication (acme-data): replication could not be looked up, so it may be: Get: denied; denies-uploads (acme-data): whether it is in use could not be looked up, so it may be: Get: denied; would be refused: r; would be refused: s. Mend that first, or accept what is meant: `--accept deletes-versions,breaks-website,breaks-replication,denies-uploads`, `"accept":["deletes-versions","breaks-website","breaks-replication","denies-uploads"]`"#]].assert_eq(&both.to_string());
        let name = |it: Breaks| json!(it).as_str().unwrap() == it.name();
        assert!(Breaks::ALL.into_iter().all(name), "accepted by the name that is told");
    }
}
