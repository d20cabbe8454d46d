//! The decisions: from what should be and what is to what to do, in which order. Pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    control::{
        bucket_policy,
        default_encryption::DefaultEncryption,
        inventory::Inventory,
        kms_key::{self, KmsKey},
        lifecycle::{self, Lifecycle},
        object_ownership::ObjectOwnership,
        public_access_block::PublicAccessBlock,
        table::Control,
        trail::{self, Trail},
        versioning::Versioning,
    },
    decide::{
        baseline::Baseline,
        echo::{Instead, Past},
    },
    edge::registry::{Mode, OnFight, Registration},
    outcome::{
        observed::{Observation, Observed},
        step::{Change, Refusal, Step},
    },
    value::{
        drift::{Drift, drift, drift_to},
        failure::{ApiError, Read},
        policy::Policy,
    },
};

/// What was read so long before its write is read again.
const LONG: Duration = Duration::from_secs(5);

/// How a reconcile is to take what it finds.
#[derive(Clone, Debug)]
pub struct Stance<'a> {
    pub registration: &'a Registration,
    pub now: Timestamp,
    pub dry_run: bool,
    /// What is known of the calls before it.
    pub past: &'a Past,
}

/// Everything to do about what was seen, in the order in which to do it. Empty: all of it is compliant.
pub fn plan(baseline: &Baseline, seen: Observation, stance: &Stance<'_>) -> Vec<Step> {
    steps(baseline, verdicts(baseline, seen), stance)
}

/// What to think of everything that was seen, in the order in which it is restored.
pub fn verdicts(baseline: &Baseline, seen: Observation) -> Vec<Verdict> {
    let Observation { bucket, kms_key, trail } = seen;
    let key = kms_key.as_ref().and_then(|it| it.as_ref().ok());
    let bucket = bucket.into_iter().flat_map(|it| bucket_verdicts(baseline, it, key)).collect::<Vec<_>>();
    let kms_key = kms_key.into_iter().flat_map(|it| key_verdicts(baseline, it));
    let trail = trail.into_iter().flat_map(|it| trail_verdicts(baseline, it));
    bucket.into_iter().chain(kms_key).chain(trail).collect()
}

/// What to do about what is thought of it.
pub fn steps(baseline: &Baseline, verdicts: Vec<Verdict>, stance: &Stance<'_>) -> Vec<Step> {
    verdicts
        .into_iter()
        .filter_map(|verdict| match verdict {
            Verdict::Good => None,
            Verdict::Drifted(change) => match change.unrestorable(baseline) {
                Some(refusal) if !change.has_calls(baseline) => Some(step(change, Some(refusal), stance)),
                _ => Some(step(change, None, stance)),
            },
            Verdict::Useless(change, refusal) => Some(step(change, Some(refusal), stance)),
            Verdict::Unreadable(control, error) => Some(Step::Unreadable(control, error)),
        })
        .collect()
}

/// `key`: the bucket's, as far as it is known.
fn bucket_verdicts(baseline: &Baseline, observed: Observed, key: Option<&KmsKey>) -> [Verdict; 8] {
    // Destructured, so that a new control does not compile until it is planned.
    let Observed {
        public_access_block,
        object_ownership,
        bucket_policy,
        default_encryption,
        versioning,
        lifecycle,
        inventory,
    } = observed;
    let unread_acl = unread_acl(&object_ownership);
    [
        // First shut the door: this alone makes public policies and ACLs inert.
        verdict(Control::PublicAccessBlock, public_access_block, restore_public_access_block),
        verdict(Control::ObjectOwnership, object_ownership, restore_object_ownership),
        unread_acl,
        verdict(Control::BucketPolicy, bucket_policy, |it| restore_bucket_policy(baseline, it)),
        match (default_encryption, key.and_then(|it| it.purpose.refusal())) {
            // With this key no upload would work.
            (Ok(observed), Some(refusal)) => {
                let desired = observed.requiring(&baseline.key);
                Verdict::Useless(Change::DefaultEncryption(Drift { observed, desired }), refusal.into())
            }
            (read, _) => verdict(Control::DefaultEncryption, read, |it| restore_default_encryption(baseline, it)),
        },
        verdict(Control::Versioning, versioning, restore_versioning),
        // Only now: expiring noncurrent versions means something once there are versions.
        verdict(Control::Lifecycle, lifecycle, |it| restore_lifecycle(baseline, it)),
        verdict(Control::Inventory, inventory, |it| restore_inventory(baseline, it)),
    ]
}

/// What is known of the key is restored, whatever of it could not be read.
fn key_verdicts(baseline: &Baseline, observed: Read<KmsKey>) -> Vec<Verdict> {
    let unread = observed.as_ref().map_or(&[][..], |it| &it.unread);
    let unread =
        unread.iter().map(|(_, error)| Verdict::Unreadable(Control::KmsKey, error.clone())).collect::<Vec<_>>();
    let known = verdict(Control::KmsKey, observed, |it| restore_kms_key(baseline, it));
    [known].into_iter().chain(unread).collect()
}

/// The same for the trail.
fn trail_verdicts(baseline: &Baseline, observed: Read<Option<Trail>>) -> Vec<Verdict> {
    let seen = observed.as_ref().ok().and_then(Option::as_ref);
    let unread = seen.map_or(&[][..], |it| &it.unread);
    let unread = unread.iter().map(|(_, error)| Verdict::Unreadable(Control::Trail, error.clone())).collect::<Vec<_>>();
    let known = verdict(Control::Trail, observed, |it| restore_trail(baseline, it));
    [known].into_iter().chain(unread).collect()
}

fn unread_acl(ownership: &Read<ObjectOwnership>) -> Verdict {
    match ownership.as_ref().map(|it| &it.acl_grants) {
        Ok(Err(error)) => Verdict::Unreadable(Control::ObjectOwnership, error.clone()),
        Ok(Ok(_)) | Err(_) => Verdict::Good,
    }
}

/// What to think of a control.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It is as it should be.
    Good,
    /// It is not, and this restores it.
    Drifted(Change),
    /// It may be as it should be, and is of no use so.
    Useless(Change, Refusal),
    Unreadable(Control, ApiError),
}

fn verdict<T>(control: Control, observed: Read<T>, restore: impl FnOnce(T) -> Option<Change>) -> Verdict {
    match observed.map(restore) {
        Ok(None) => Verdict::Good,
        Ok(Some(change)) => Verdict::Drifted(change),
        Err(error) => Verdict::Unreadable(control, error),
    }
}

/// `refusal`: why nothing can be written.
fn step(change: Change, refusal: Option<Refusal>, stance: &Stance<'_>) -> Step {
    let control = change.control();
    if let Some(exemption) = stance.registration.exemption(control, stance.now) {
        return Step::Exempt(change, exemption.clone());
    }
    if let Some(refusal) = refusal {
        return Step::Refused(change, refusal);
    }
    if stance.dry_run || stance.registration.mode == Mode::Observe {
        return Step::Tell(change);
    }
    if stance.registration.on_fight == OnFight::Hold && stance.past.is_fought_over(control) {
        return Step::Held(change);
    }
    if stance.past.may_write(control, stance.now) {
        return Step::Restore(change);
    }
    match stance.past.instead(control, stance.now) {
        Instead::Unstable => Step::Unstable(change),
        Instead::NotYet => Step::NotYet(change),
        Instead::Braked(until) => Step::Braked(change, until),
        Instead::Left => Step::Left(change),
    }
}

/// Whether a change may be written: within S3's limits, and without locking us out.
pub fn check(baseline: &Baseline, change: &Change, now: Timestamp) -> Result<(), Refusal> {
    match change {
        Change::BucketPolicy(drift) => {
            Ok(bucket_policy::check(&drift.desired, &baseline.policy, &baseline.bucket_arn, &baseline.role, now)?)
        }
        Change::Lifecycle(drift) if drift.desired.rules.len() > lifecycle::MAX_RULES => {
            Err(Refusal::TooManyRules(drift.desired.rules.len()))
        }
        _ => Ok(()),
    }
}

/// The Block Public Access's drift, if any.
pub fn restore_public_access_block(observed: PublicAccessBlock) -> Option<Change> {
    drift(observed, PublicAccessBlock::ALL).map(Change::PublicAccessBlock)
}

/// The ownership's drift, if any.
pub fn restore_object_ownership(observed: ObjectOwnership) -> Option<Change> {
    // While ACLs are off, what the ACL says is without effect.
    if observed.is_enforced() {
        None
    } else {
        drift(observed, ObjectOwnership::enforced()).map(Change::ObjectOwnership)
    }
}

/// The policy's drift, if any.
pub fn restore_bucket_policy(baseline: &Baseline, observed: Policy) -> Option<Change> {
    let mut drift = drift_to(observed, |it| it.requiring(&baseline.policy))?;
    if baseline.drop_dead_principals {
        drift.desired = drift.desired.without_dead_principals();
    }
    Some(Change::BucketPolicy(drift))
}

/// The default encryption's drift, if any.
pub fn restore_default_encryption(baseline: &Baseline, observed: DefaultEncryption) -> Option<Change> {
    drift_to(observed, |it| it.requiring(&baseline.key)).map(Change::DefaultEncryption)
}

/// The versioning's drift, if any.
pub fn restore_versioning(observed: Versioning) -> Option<Change> {
    drift_to(observed, Versioning::enabled).map(Change::Versioning)
}

/// The lifecycle configuration's drift, if any.
pub fn restore_lifecycle(baseline: &Baseline, observed: Lifecycle) -> Option<Change> {
    drift_to(observed, |it| it.requiring(&baseline.lifecycle)).map(Change::Lifecycle)
}

/// The inventory configuration's drift, if any.
pub fn restore_inventory(baseline: &Baseline, observed: Option<Inventory>) -> Option<Change> {
    let desired = Inventory::requiring(observed.as_ref(), &baseline.inventory);
    (observed.as_ref() != Some(&desired)).then_some(Change::Inventory(Box::new(Drift { observed, desired })))
}

/// The key's drift, if any.
pub fn restore_kms_key(baseline: &Baseline, observed: KmsKey) -> Option<Change> {
    let required = baseline.kms_key.as_ref()?;
    let mut drift = drift_to(observed, |it| it.requiring(required))?;
    if baseline.drop_dead_principals && drift.desired.policy != drift.observed.policy {
        drift.desired.policy = drift.desired.policy.without_dead_principals();
    }
    Some(Change::KmsKey(Box::new(drift)))
}

/// The trail's drift, if any.
pub fn restore_trail(baseline: &Baseline, observed: Option<Trail>) -> Option<Change> {
    let desired = Trail::requiring(observed.as_ref(), baseline.trail.as_ref()?);
    (observed.as_ref() != Some(&desired)).then(|| Change::Trail(Box::new(Drift { observed, desired })))
}

/// Whether a control is read once more right before it is written: a document that others write into, too; and what has
/// `waited` for the writes before it, as somebody else may have restored it, and it may have drifted again since.
pub fn is_read_before_write(control: Control, waited: Duration) -> bool {
    let is_shared = matches!(control, Control::BucketPolicy | Control::Lifecycle | Control::KmsKey | Control::Trail);
    is_shared || waited >= LONG
}

/// An error when a part that was known `before` could not be read `now`: it would look as if it had been restored.
pub fn still_known<P: PartialEq>(before: &[(P, ApiError)], now: &[(P, ApiError)]) -> Result<(), ApiError> {
    let lost = now.iter().find(|(part, _)| before.iter().all(|(before, _)| before != part));
    lost.map_or(Ok(()), |(_, error)| Err(error.clone()))
}

impl Change {
    /// What no write of ours can restore.
    pub fn unrestorable(&self, baseline: &Baseline) -> Option<Refusal> {
        match self {
            Self::KmsKey(drift) => kms_key::unrestorable(drift, baseline.kms_key.as_ref()?).map(Refusal::from),
            Self::Trail(drift) => trail::unrestorable(drift).map(Refusal::from),
            _ => None,
        }
    }

    /// Whether some call restores at least a part of it.
    pub fn has_calls(&self, baseline: &Baseline) -> bool {
        match (self, &baseline.kms_key) {
            (Self::KmsKey(drift), Some(required)) => !kms_key::calls(drift, required).is_empty(),
            (Self::Trail(drift), _) => !trail::calls(drift).is_empty(),
            _ => true,
        }
    }

    /// What people should know of this restore although it works.
    pub fn note(&self) -> Option<String> {
        match self {
            Self::Trail(drift) => trail::note(drift),
            Self::ObjectOwnership(drift) if drift.observed.acl_grants.is_err() => {
                Some("Whom the ACL let in could not be read, so no rollback can bring that back.".to_owned())
            }
            _ => None,
        }
    }

    /// What a person should know of AWS refusing this write.
    pub fn explain(&self, error: &ApiError) -> Option<String> {
        let code = error.code()?;
        match self {
            Self::BucketPolicy(drift) => bucket_policy::suspects(&drift.desired, code),
            Self::KmsKey(drift) => kms_key::suspects(&drift.desired.policy, code),
            Self::Versioning(Drift { observed: Versioning { mfa_delete: true, .. }, .. }) => {
                Some("MFA Delete is on: only the root user with its second factor can enable versioning".to_owned())
            }
            Self::Trail(_) if code == "MaximumNumberOfTrailsExceededException" => Some(
                "Name a trail that exists: in the registry document's `trail_arn`, or in the bootstrap's `trail`"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::value::failure::Answer;
    use serde_json::{Value, json};

    use crate::outcome::exemption::Exemption;
    use expect_test::{Expect, expect};

    use super::*;
    use crate::{
        control::{
            inventory::ReportEncryption,
            kms_key::{KeyState, Purpose},
        },
        decide::echo::{Generation, NO_PAST},
        value::names::AccountId,
    };

    const KEY: &str = "arn:aws:kms:eu-west-2:111122223333:key/k";

    fn registration() -> Registration {
        let account: AccountId = "111122223333".parse().unwrap();
        Registration::new("acme-data".parse().unwrap(), account, KEY.parse().unwrap())
    }

    fn baseline() -> Baseline {
        let role = "arn:aws:iam::111122223333:role/guardrail".parse().unwrap();
        Baseline::new(&registration(), &"111122223333".parse().unwrap(), &role).unwrap()
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
            inventory: Ok(Some(Inventory::requiring(None, &baseline.inventory))),
        }
    }

    fn stance(registration: &Registration) -> Stance<'_> {
        Stance { registration, now: "2026-11-23T10:00:00Z".parse().unwrap(), dry_run: false, past: &NO_PAST }
    }

    fn text(steps: &[Step]) -> String {
        let line = |step: &Step| {
            let decision = match step {
                Step::Restore(_) => "restore",
                Step::Tell(_) => "tell",
                Step::Exempt(..) => "exempt",
                Step::Unstable(_) => "unstable",
                Step::NotYet(_) => "not yet",
                Step::Braked(..) => "braked",
                Step::Left(_) => "left",
                Step::Held(_) => "held",
                Step::Refused(..) => "refused",
                Step::Unreadable(..) => "unreadable",
            };
            format!("{decision} {}\n", step.control())
        };
        steps.iter().map(line).collect()
    }

    #[track_caller]
    fn check(observed: Observed, expected: Expect) {
        expected.assert_eq(&text(&plan(&baseline(), observed.into(), &stance(&registration()))));
    }

    /// The plan's one change, before and after.
    fn only_change(observed: Observed) -> (Value, Value) {
        match plan(&baseline(), observed.into(), &stance(&registration())).as_slice() {
            [Step::Restore(change)] => change.to_json(),
            other => panic!("{other:?}"),
        }
    }

    fn unread<T>() -> Read<T> {
        Err(ApiError::new("Get", "denied"))
    }

    fn refused(code: &str) -> ApiError {
        let answer = Answer { arrived: true, code: Some(code), ..Answer::default() };
        ApiError::answered("Call", answer, &std::fmt::Error)
    }

    fn absent<T>() -> Read<T> {
        Err(refused("NoSuchBucket"))
    }

    #[test]
    fn a_shared_document_and_what_waited_for_other_writes_is_read_again_before_its_write() {
        let is_read = |control, seconds| is_read_before_write(control, Duration::from_secs(seconds));
        assert_eq!([0, 4, 5].map(|it| is_read(Control::Versioning, it)), [false, false, true]);
        assert!(is_read(Control::Lifecycle, 0));
    }

    #[test]
    fn a_compliant_bucket_needs_nothing() {
        check(compliant(), expect![""]);
    }

    #[test]
    fn a_bare_bucket_is_restored_in_order() {
        check(
            Observed::empty(),
            expect![[r#"
                restore public-access-block
                restore object-ownership
                restore bucket-policy
                restore default-encryption
                restore versioning
                restore lifecycle
                restore inventory
            "#]],
        );
    }

    #[test]
    fn each_flag_of_the_public_access_block_counts() {
        let all = PublicAccessBlock::ALL;
        for block in [
            PublicAccessBlock { block_public_acls: false, ..all },
            PublicAccessBlock { ignore_public_acls: false, ..all },
            PublicAccessBlock { block_public_policy: false, ..all },
            PublicAccessBlock { restrict_public_buckets: false, ..all },
        ] {
            check(
                Observed { public_access_block: Ok(block), ..compliant() },
                expect![["restore public-access-block\n"]],
            );
        }
    }

    #[test]
    fn acls_that_are_off_may_say_anything() {
        let grants = vec!["AllUsers READ".parse().unwrap()];
        let off = ObjectOwnership { acl_grants: Ok(grants.clone()), ..ObjectOwnership::enforced() };
        check(Observed { object_ownership: Ok(off), ..compliant() }, expect![""]);
        let on = ObjectOwnership { object_ownership: Some("ObjectWriter".to_owned()), acl_grants: Ok(grants) };
        check(Observed { object_ownership: Ok(on), ..compliant() }, expect![["restore object-ownership\n"]]);
    }

    #[test]
    fn default_encryption_is_exactly_ours_and_sse_c_is_blocked() {
        let good = DefaultEncryption::default().requiring(&KEY.parse().unwrap());
        let more = DefaultEncryption { blocked: ["SSE-C", "SSE-X"].map(str::to_owned).into(), ..good.clone() };
        check(Observed { default_encryption: Ok(more), ..compliant() }, expect![""]);
        for bad in [
            DefaultEncryption { algorithm: Some("AES256".to_owned()), kms_key: None, ..good.clone() },
            DefaultEncryption { algorithm: Some("aws:kms:dsse".to_owned()), ..good.clone() },
            DefaultEncryption { kms_key: Some("alias/s3-secure-data".to_owned()), ..good.clone() },
            DefaultEncryption { kms_key: None, ..good.clone() },
            DefaultEncryption { bucket_key: false, ..good.clone() },
            DefaultEncryption { blocked: ["NONE".to_owned()].into(), ..good.clone() },
            DefaultEncryption { blocked: [].into(), ..good },
        ] {
            let (_, after) = only_change(Observed { default_encryption: Ok(bad), ..compliant() });
            assert_eq!(
                after,
                json!({"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY, "BucketKeyEnabled": true, "BlockedEncryptionTypes": ["SSE-C"]})
            );
        }
    }

    #[test]
    fn mfa_delete_stays_as_it_is() {
        let suspended = Versioning { status: Some("Suspended".to_owned()), mfa_delete: true };
        let (_, after) = only_change(Observed { versioning: Ok(suspended), ..compliant() });
        assert_eq!(after, json!({"Status": "Enabled", "MFADelete": true}));
    }

    #[test]
    fn inventory_keeps_what_the_owner_added() {
        let good = Inventory::requiring(None, &baseline().inventory);
        let theirs = Inventory {
            prefix: Some("reports".to_owned()),
            account_id: None,
            format: "CSV".to_owned(),
            optional_fields: ["Size", "EncryptionStatus", "ReplicationStatus", "InventedIn2027"]
                .map(str::to_owned)
                .into(),
            ..good.clone()
        };
        check(Observed { inventory: Ok(Some(theirs.clone())), ..compliant() }, expect![""]);
        for bad in [
            Inventory { is_enabled: false, ..theirs.clone() },
            Inventory { included_object_versions: "Current".to_owned(), ..theirs.clone() },
            Inventory { frequency: "Weekly".to_owned(), ..theirs.clone() },
            Inventory { format: "ORC".to_owned(), ..theirs.clone() },
            Inventory { bucket: "arn:aws:s3:::elsewhere".to_owned(), ..theirs.clone() },
            Inventory { account_id: Some("999922223333".to_owned()), ..theirs.clone() },
            Inventory { encryption: ReportEncryption::S3, ..theirs.clone() },
            Inventory { filter_prefix: Some("only/".to_owned()), ..theirs.clone() },
            Inventory { optional_fields: ["Size".to_owned()].into(), ..theirs },
        ] {
            let (_, after) = only_change(Observed { inventory: Ok(Some(bad)), ..compliant() });
            assert_eq!(after["Prefix"], "reports");
            assert!(after["OptionalFields"].as_array().unwrap().contains(&json!("Size")));
        }
    }

    #[test]
    fn unreadable_is_not_compliant() {
        check(
            Observed { versioning: unread(), bucket_policy: unread(), ..Observed::empty() },
            expect![[r#"
                restore public-access-block
                restore object-ownership
                unreadable bucket-policy
                restore default-encryption
                unreadable versioning
                restore lifecycle
                restore inventory
            "#]],
        );
    }

    fn decided(registration: &Registration, dry_run: bool, past: &Past) -> String {
        let observed =
            Observed { versioning: Ok(Versioning::default()), lifecycle: Ok(Lifecycle::default()), ..compliant() };
        text(&plan(&baseline(), observed.into(), &Stance { dry_run, past, ..stance(registration) }))
    }

    #[test]
    fn observe_mode_and_dry_run_only_tell() {
        let observe = Registration { mode: Mode::Observe, ..registration() };
        for told in [decided(&observe, false, &NO_PAST), decided(&registration(), true, &NO_PAST)] {
            expect![["tell versioning\ntell lifecycle\n"]].assert_eq(&told);
        }
    }

    #[test]
    fn an_exemption_counts_for_its_control_until_its_time() {
        let until = |until: &str| {
            let exemption = Exemption {
                control: Control::Versioning,
                until: until.parse().unwrap(),
                reason: String::new(),
                approved_by: String::new(),
            };
            decided(&Registration { exemptions: vec![exemption], ..registration() }, false, &NO_PAST)
        };
        expect![["exempt versioning\nrestore lifecycle\n"]].assert_eq(&until("2026-11-23T10:00:01Z"));
        expect![["restore versioning\nrestore lifecycle\n"]].assert_eq(&until("2026-11-23T10:00:00Z"));
    }

    /// A look at an event of a write of the lifecycle, so many seconds after it.
    fn echo(generation: Generation, seconds: i64) -> Past {
        let mut past = Past::new(generation);
        let now = stance(&registration()).now;
        past.saw_own(Control::Lifecycle, now - jiff::SignedDuration::from_secs(seconds));
        past
    }

    #[test]
    fn an_echo_does_not_write_its_own_control() {
        let decided = |past: &Past| decided(&registration(), false, past);
        expect![["restore versioning\nnot yet lifecycle\n"]].assert_eq(&decided(&echo(Generation::Second, 89)));
        expect![["restore versioning\nunstable lifecycle\n"]].assert_eq(&decided(&echo(Generation::Second, 90)));
        expect![["restore versioning\nrestore lifecycle\n"]].assert_eq(&decided(&Past::new(Generation::Second)));
        expect![["left versioning\nunstable lifecycle\n"]].assert_eq(&decided(&echo(Generation::Third, 90)));
        expect![["left versioning\nleft lifecycle\n"]].assert_eq(&decided(&Past::new(Generation::Third)));
    }

    #[test]
    fn what_is_fought_over_is_held_where_its_owner_says_so_until_somebody_asks() {
        let hold = Registration { on_fight: OnFight::Hold, ..registration() };
        let observe = Registration { mode: Mode::Observe, ..hold.clone() };
        for generation in [Generation::First, Generation::Second] {
            let mut past = echo(generation, 90);
            past.fight(Control::Versioning);
            assert!(decided(&hold, false, &past).starts_with("held versioning\n"), "{generation:?}");
            assert!(decided(&observe, false, &past).starts_with("tell versioning\n"));
            assert!(decided(&registration(), false, &past).starts_with("restore versioning\n"));
            past.is_asked_for = true;
            assert!(decided(&hold, false, &past).starts_with("restore versioning\n"));
        }
        let mut past = NO_PAST.clone();
        past.fight(Control::Lifecycle);
        expect![["restore versioning\nheld lifecycle\n"]].assert_eq(&decided(&hold, false, &past));
    }

    #[test]
    fn an_exemption_comes_before_all_else_and_nothing_makes_the_unreadable_compliant() {
        let until = "2999-01-01T00:00:00Z".parse().unwrap();
        let (reason, approved_by) = (String::new(), String::new());
        let exemptions = vec![Exemption { control: Control::Versioning, until, reason, approved_by }];
        let exempt = Registration { mode: Mode::Observe, exemptions, ..registration() };
        for past in [&NO_PAST, &echo(Generation::Second, 90), &Past::new(Generation::Third)] {
            expect![["exempt versioning\ntell lifecycle\n"]].assert_eq(&decided(&exempt, true, past));
            let observed = Observed { versioning: unread(), ..compliant() };
            let steps = plan(&baseline(), observed.into(), &Stance { dry_run: true, past, ..stance(&exempt) });
            expect![["unreadable versioning\n"]].assert_eq(&text(&steps));
        }
    }

    #[test]
    fn dead_principals_alone_are_no_drift() {
        let baseline = Baseline { drop_dead_principals: true, ..baseline() };
        let dead =
            r#"{"Statement":{"Effect":"Allow","Principal":{"AWS":"AIDAEXAMPLE"},"Action":"s3:*","Resource":"*"}}"#;
        let with_ours = Policy::parse(dead).unwrap().requiring(&baseline.policy);
        assert_eq!(restore_bucket_policy(&baseline, with_ours), None);
        let drift = restore_bucket_policy(&baseline, Policy::parse(dead).unwrap()).unwrap();
        assert!(!drift.to_json().1.to_string().contains("AIDAEXAMPLE"));
    }

    #[test]
    fn each_change_says_what_is_and_what_should_be() {
        for step in plan(&baseline(), Observed::empty().into(), &stance(&registration())) {
            let Step::Restore(change) = step else { panic!("{step:?}") };
            let (observed, desired) = change.to_json();
            assert_ne!(observed, desired, "{}", change.control());
        }
    }

    #[test]
    fn a_restore_is_no_drift() {
        for step in plan(&baseline(), Observed::empty().into(), &stance(&registration())) {
            let Step::Restore(change) = step else { panic!("{step:?}") };
            let restored = match change {
                Change::PublicAccessBlock(it) => Observed { public_access_block: Ok(it.desired), ..compliant() },
                Change::ObjectOwnership(it) => Observed { object_ownership: Ok(it.desired), ..compliant() },
                Change::BucketPolicy(it) => Observed { bucket_policy: Ok(it.desired), ..compliant() },
                Change::DefaultEncryption(it) => Observed { default_encryption: Ok(it.desired), ..compliant() },
                Change::Versioning(it) => Observed { versioning: Ok(it.desired), ..compliant() },
                Change::Lifecycle(it) => Observed { lifecycle: Ok(it.desired), ..compliant() },
                Change::Inventory(it) => Observed { inventory: Ok(Some(it.desired)), ..compliant() },
                Change::KmsKey(_) | Change::Trail(_) => panic!("not looked at"),
            };
            check(restored, expect![""]);
        }
    }

    #[test]
    fn mfa_delete_explains_why_versioning_cannot_be_enabled() {
        let explained = |mfa_delete| {
            let suspended = Versioning { status: Some("Suspended".to_owned()), mfa_delete };
            restore_versioning(suspended).unwrap().explain(&refused("AccessDenied"))
        };
        assert!(explained(true).is_some_and(|it| it.contains("MFA Delete")));
        assert_eq!(explained(false), None);
    }

    #[test]
    fn a_bucket_is_gone_only_if_every_read_says_so() {
        assert!(!Observed::empty().is_gone());
        assert!(!Observed { versioning: unread(), ..Observed::empty() }.is_gone());
        let gone = || Observed {
            public_access_block: absent(),
            object_ownership: absent(),
            bucket_policy: absent(),
            default_encryption: absent(),
            versioning: absent(),
            lifecycle: absent(),
            inventory: absent(),
        };
        assert!(gone().is_gone());
        for all_but_one in [
            Observed { public_access_block: unread(), ..gone() },
            Observed { object_ownership: unread(), ..gone() },
            Observed { bucket_policy: unread(), ..gone() },
            Observed { default_encryption: unread(), ..gone() },
            Observed { versioning: unread(), ..gone() },
            Observed { lifecycle: unread(), ..gone() },
            Observed { inventory: Ok(None), ..gone() },
        ] {
            assert!(!all_but_one.is_gone());
        }
    }

    fn around(kms_key: Read<KmsKey>, trail: Read<Option<Trail>>) -> Observation {
        Observation { kms_key: Some(kms_key), trail: Some(trail), ..Observation::default() }
    }

    fn with_trail() -> Baseline {
        let trail_arn = Some("arn:aws:cloudtrail:eu-west-2:111122223333:trail/t".parse().unwrap());
        let role = "arn:aws:iam::111122223333:role/guardrail".parse().unwrap();
        let registration = Registration { trail_arn, ..registration() };
        Baseline::new(&registration, &"111122223333".parse().unwrap(), &role).unwrap()
    }

    fn bare_key(state: &str) -> KmsKey {
        KmsKey {
            state: KeyState::parse(state),
            purpose: Purpose::SymmetricEncryption,
            rotation: Some(true),
            alias_target: None,
            policy: Policy::default(),
            unread: Vec::new(),
        }
    }

    #[test]
    fn key_and_trail_are_planned_like_settings_of_the_bucket() {
        let baseline = with_trail();
        let planned = |seen| text(&plan(&baseline, seen, &stance(&registration())));
        let good_key = bare_key("Enabled").requiring(baseline.kms_key.as_ref().unwrap());
        let good_trail = Trail::requiring(None, baseline.trail.as_ref().unwrap());
        expect![[""]].assert_eq(&planned(around(Ok(good_key.clone()), Ok(Some(good_trail.clone())))));
        expect![["restore kms-key\nrestore trail\n"]].assert_eq(&planned(around(Ok(bare_key("Disabled")), Ok(None))));
        let stopped = Trail { is_logging: false, ..good_trail };
        expect![["unreadable kms-key\nrestore trail\n"]].assert_eq(&planned(around(unread(), Ok(Some(stopped)))));
        expect![["unreadable trail\n"]].assert_eq(&planned(around(Ok(good_key), unread())));
        let both = Observation {
            bucket: Some(Observed { versioning: unread(), ..compliant() }),
            ..around(unread(), unread())
        };
        expect![["unreadable versioning\nunreadable kms-key\nunreadable trail\n"]].assert_eq(&planned(both));
    }

    #[test]
    fn what_is_another_accounts_is_not_ours_to_keep() {
        let foreign = |text: &str| text.replace("111122223333", "999922223333");
        let registration = Registration {
            key_arn: foreign(KEY).parse().unwrap(),
            trail_arn: Some(foreign("arn:aws:cloudtrail:eu-west-2:111122223333:trail/t").parse().unwrap()),
            ..registration()
        };
        let role = "arn:aws:iam::111122223333:role/guardrail".parse().unwrap();
        let baseline = Baseline::new(&registration, &"111122223333".parse().unwrap(), &role).unwrap();
        assert!(baseline.kms_key.is_none() && baseline.trail.is_none());
    }

    #[test]
    fn an_undelivered_log_file_is_told_though_nothing_can_be_written() {
        let baseline = with_trail();
        let good = Trail::requiring(None, baseline.trail.as_ref().unwrap());
        let undelivered = Trail { latest_delivery_error: Some("AccessDenied".to_owned()), ..good };
        let change = restore_trail(&baseline, Some(undelivered)).unwrap();
        assert!(change.unrestorable(&baseline).unwrap().to_string().contains("AccessDenied"));
    }

    #[test]
    fn a_thousand_rules_leave_no_room() {
        let rule = |n: usize| {
            crate::value::xml::Element::parent("Rule", vec![crate::value::xml::Element::leaf("ID", &n.to_string())])
        };
        let check_rules = |rules: usize| {
            let observed = Lifecycle { rules: (0..rules).map(rule).collect(), ..Lifecycle::default() };
            super::check(&baseline(), &restore_lifecycle(&baseline(), observed).unwrap(), Timestamp::UNIX_EPOCH)
        };
        assert!(check_rules(998).is_ok());
        assert!(matches!(check_rules(999), Err(Refusal::TooManyRules(1001))));
    }

    #[test]
    fn an_acl_that_could_not_be_read_is_unreadable_beside_what_is_restored() {
        let denied = || Err(ApiError::new("GetBucketAcl", "denied"));
        let off = ObjectOwnership { acl_grants: denied(), ..ObjectOwnership::enforced() };
        check(Observed { object_ownership: Ok(off), ..compliant() }, expect![["unreadable object-ownership\n"]]);
        let on = || ObjectOwnership { object_ownership: None, acl_grants: denied() };
        check(
            Observed { object_ownership: Ok(on()), ..compliant() },
            expect![["restore object-ownership\nunreadable object-ownership\n"]],
        );
        let noted = |observed| restore_object_ownership(observed).unwrap().note();
        assert!(noted(on()).is_some_and(|it| it.contains("no rollback")));
        assert_eq!(noted(ObjectOwnership { acl_grants: Ok(Vec::new()), ..on() }), None);
    }

    #[test]
    fn a_part_that_is_not_known_does_not_keep_the_rest_from_being_restored() {
        let baseline = with_trail();
        let planned = |seen| text(&plan(&baseline, seen, &stance(&registration())));
        let denied = || ApiError::new("Get", "denied");
        let key = KmsKey { unread: vec![(kms_key::KeyPart::Alias, denied())], ..bare_key("Disabled") };
        let good = Trail::requiring(None, baseline.trail.as_ref().unwrap());
        let trail = Trail { is_logging: false, unread: vec![(trail::TrailPart::Selectors, denied())], ..good };
        expect![["restore kms-key\nunreadable kms-key\nrestore trail\nunreadable trail\n"]]
            .assert_eq(&planned(around(Ok(key), Ok(Some(trail)))));
    }

    #[test]
    fn what_no_call_restores_is_refused_and_what_some_call_does_is_tried() {
        let baseline = with_trail();
        let good_key = || bare_key("Enabled").requiring(baseline.kms_key.as_ref().unwrap());
        let good_trail = || Trail::requiring(None, baseline.trail.as_ref().unwrap());
        let planned = |key, trail| text(&plan(&baseline, around(Ok(key), Ok(Some(trail))), &stance(&registration())));
        let undelivered = || Trail { latest_delivery_error: Some("AccessDenied".to_owned()), ..good_trail() };
        let lost = || KmsKey { state: KeyState::PendingImport, ..good_key() };
        expect![["refused kms-key\nrefused trail\n"]].assert_eq(&planned(lost(), undelivered()));
        let also_stopped = Trail { is_logging: false, ..undelivered() };
        let also_bare = KmsKey { policy: Policy::default(), ..lost() };
        expect![["restore kms-key\nrestore trail\n"]].assert_eq(&planned(also_bare, also_stopped));
    }

    #[test]
    fn with_a_key_of_another_kind_encryption_is_refused_though_it_is_as_it_should_be() {
        let signs = KmsKey { purpose: Purpose::parse(Some("SIGN_VERIFY"), None), ..bare_key("Enabled") };
        let seen = Observation { bucket: Some(compliant()), kms_key: Some(Ok(signs)), trail: None };
        let steps = plan(&baseline(), seen, &stance(&registration()));
        assert!(matches!(steps[0], Step::Refused(Change::DefaultEncryption(_), Refusal::Key(_))), "{steps:?}");
    }

    #[test]
    fn a_keys_dead_principals_go_only_with_a_policy_that_is_written() {
        let dead =
            r#"{"Statement":{"Effect":"Allow","Principal":{"AWS":"AIDAEXAMPLE"},"Action":"kms:*","Resource":"*"}}"#;
        let named = |drop_dead_principals, key: KmsKey| {
            let baseline = Baseline { drop_dead_principals, ..with_trail() };
            let Some(Change::KmsKey(drift)) = restore_kms_key(&baseline, key) else { panic!("no drift") };
            drift.desired.to_json().to_string().contains("AIDAEXAMPLE")
        };
        let policy = Policy::parse(dead).unwrap();
        let bare = || KmsKey { policy: policy.clone(), ..bare_key("Enabled") };
        assert!(named(false, bare()) && !named(true, bare()));
        let required = with_trail().kms_key.unwrap();
        let disabled = KmsKey { state: KeyState::Disabled, ..bare().requiring(&required) };
        assert!(named(true, disabled), "its policy is not written");
    }

    #[test]
    fn a_policy_that_locks_us_out_is_not_written() {
        let lock = r#"{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*"}}"#;
        let change = restore_bucket_policy(&baseline(), Policy::parse(lock).unwrap()).unwrap();
        let checked = super::check(&baseline(), &change, Timestamp::UNIX_EPOCH);
        assert!(matches!(checked, Err(Refusal::Policy(_))), "{checked:?}");
    }

    #[test]
    fn what_was_known_before_and_is_not_now_does_not_look_restored() {
        let unread = |parts: &[u8]| parts.iter().map(|it| (*it, ApiError::new("Get", "denied"))).collect::<Vec<_>>();
        for (before, now, known) in [
            (&[][..], &[][..], true),
            (&[1], &[1], true),
            (&[1], &[], true),
            (&[], &[1], false),
            (&[1], &[1, 2], false),
        ] {
            assert_eq!(still_known(&unread(before), &unread(now)).is_ok(), known, "{before:?} {now:?}");
        }
    }

    #[test]
    fn a_refused_write_is_explained_where_aws_does_not() {
        let explained = |change: Change, code: &str| change.explain(&refused(code)).unwrap_or_default();
        let dead = r#"{"Statement":{"Sid":"Dead","Effect":"Allow","Principal":{"AWS":"AIDAEXAMPLE"},"Action":"*","Resource":"*"}}"#;
        let dead = || Policy::parse(dead).unwrap();
        let policy = || restore_bucket_policy(&baseline(), dead()).unwrap();
        assert!(explained(policy(), "MalformedPolicy").contains("`Dead`"));
        assert_eq!(explained(policy(), "NoSuchBucket"), "");
        let key = || restore_kms_key(&with_trail(), KmsKey { policy: dead(), ..bare_key("Enabled") }).unwrap();
        assert!(explained(key(), "MalformedPolicyDocumentException").contains("`Dead`"));
        let trail = || restore_trail(&with_trail(), None).unwrap();
        assert!(explained(trail(), "MaximumNumberOfTrailsExceededException").contains("trail_arn"));
        assert_eq!(explained(trail(), "AccessDenied"), "");
    }

    #[test]
    fn a_trail_that_grows_to_all_objects_is_noted() {
        let baseline = with_trail();
        let trail = |selectors| Trail { selectors, ..Trail::requiring(None, baseline.trail.as_ref().unwrap()) };
        let mut full = crate::control::selectors::Selectors::NONE;
        for n in 0..497 {
            full = full.requiring(&format!("arn:aws:s3:::b{n}/"));
        }
        let noted = |observed| restore_trail(&baseline, observed).unwrap().note();
        assert!(noted(Some(trail(full))).is_some_and(|it| it.contains("$0.10")));
        assert_eq!(noted(None), None);
    }
}
