//! The decisions: from what should be and what is to what to do, in which order. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    api::ApiError,
    baseline::{Baseline, DefaultEncryption, Inventory, ObjectOwnership, PublicAccessBlock, Versioning},
    control::Control,
    lifecycle::{self, Lifecycle},
    policy::{self, Policy, PolicyRefusal},
    registry::{Exemption, Mode, Registration},
};

/// A setting that could not be read is unknown, which is not the same as compliant.
pub type Read<T> = Result<T, ApiError>;

/// What AWS says of a bucket now: one field per control.
#[derive(Debug)]
pub struct Observed {
    pub public_access_block: Read<PublicAccessBlock>,
    pub object_ownership: Read<ObjectOwnership>,
    pub bucket_policy: Read<Policy>,
    pub default_encryption: Read<DefaultEncryption>,
    pub versioning: Read<Versioning>,
    pub lifecycle: Read<Lifecycle>,
    pub inventory: Read<Option<Inventory>>,
}

/// A control that is not as it should be.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    PublicAccessBlock(Drift<PublicAccessBlock>),
    ObjectOwnership(Drift<ObjectOwnership>),
    BucketPolicy(Drift<Policy>),
    DefaultEncryption(Drift<DefaultEncryption>),
    Versioning(Drift<Versioning>),
    Lifecycle(Drift<Lifecycle>),
    Inventory(Drift<Option<Inventory>, Inventory>),
}

/// What is and what should be; never equal.
#[derive(Clone, Debug, PartialEq)]
pub struct Drift<Is, Should = Is> {
    pub observed: Is,
    pub desired: Should,
}

/// What to do about one control that is not, or not known to be, as it should be.
#[derive(Debug)]
pub enum Step {
    Restore(Change),
    /// Drift that only gets told: dry run, or observe mode.
    Tell(Change),
    Exempt(Change, Exemption),
    /// Our own restore came back as an event and the control has drifted all the same: writing again would be a loop.
    Unstable(Change),
    Unreadable(Control, ApiError),
}

/// Why a drift is not restored although it should be.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Policy(#[from] PolicyRefusal),
    #[error("the lifecycle configuration with the required rules would have {0} rules and S3 allows {max}; remove some", max = lifecycle::MAX_RULES)]
    TooManyRules(usize),
}

/// How a reconcile is to take what it finds.
#[derive(Clone, Debug)]
pub struct Stance<'a> {
    pub registration: &'a Registration,
    pub now: Timestamp,
    pub dry_run: bool,
    pub echo: Echo,
}

/// Whether the event that told us is about a write of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// Somebody else's call, or no event at all.
    No,
    /// Our own write of this control, if it was one of a control.
    Of(Option<Control>),
    /// Our own write that was itself made on an echo. Nothing is written now, so no chain of echoes is longer than two.
    Again,
}

impl Echo {
    /// Whether drift of `control` means that a restore did not stick.
    pub fn forbids(self, control: Control) -> bool {
        match self {
            Self::No => false,
            Self::Of(own) => own == Some(control),
            Self::Again => true,
        }
    }
}

impl Observed {
    /// A bucket without any setting.
    pub fn empty() -> Self {
        Self {
            public_access_block: Ok(PublicAccessBlock::default()),
            object_ownership: Ok(ObjectOwnership { object_ownership: None, acl_grants: Vec::new() }),
            bucket_policy: Ok(Policy::default()),
            default_encryption: Ok(DefaultEncryption::default()),
            versioning: Ok(Versioning::default()),
            lifecycle: Ok(Lifecycle::default()),
            inventory: Ok(None),
        }
    }

    /// The bucket does not exist: all reads say so. If only some do, something else is going on, and it stays unknown.
    pub fn is_gone(&self) -> bool {
        let Self {
            public_access_block,
            object_ownership,
            bucket_policy,
            default_encryption,
            versioning,
            lifecycle,
            inventory,
        } = self;
        let gone = |error: Option<&ApiError>| error.and_then(|it| it.code.as_deref()) == Some("NoSuchBucket");
        gone(public_access_block.as_ref().err())
            && gone(object_ownership.as_ref().err())
            && gone(bucket_policy.as_ref().err())
            && gone(default_encryption.as_ref().err())
            && gone(versioning.as_ref().err())
            && gone(lifecycle.as_ref().err())
            && gone(inventory.as_ref().err())
    }
}

/// Everything to do about a bucket, in the order in which to do it. Empty: the bucket is compliant.
pub fn plan(baseline: &Baseline, observed: Observed, stance: &Stance<'_>) -> Vec<Step> {
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
    let verdicts = [
        // First shut the door: this alone makes public policies and ACLs inert.
        verdict(Control::PublicAccessBlock, public_access_block, restore_public_access_block),
        verdict(Control::ObjectOwnership, object_ownership, restore_object_ownership),
        verdict(Control::BucketPolicy, bucket_policy, |it| restore_bucket_policy(baseline, it)),
        verdict(Control::DefaultEncryption, default_encryption, |it| restore_default_encryption(baseline, it)),
        verdict(Control::Versioning, versioning, restore_versioning),
        // Only now: expiring noncurrent versions means something once there are versions.
        verdict(Control::Lifecycle, lifecycle, |it| restore_lifecycle(baseline, it)),
        verdict(Control::Inventory, inventory, |it| restore_inventory(baseline, it)),
    ];
    verdicts
        .into_iter()
        .filter_map(|verdict| match verdict {
            Ok(change) => Some(step(change?, stance)),
            Err((control, error)) => Some(Step::Unreadable(control, error)),
        })
        .collect()
}

type Verdict = Result<Option<Change>, (Control, ApiError)>;

fn verdict<T>(control: Control, observed: Read<T>, restore: impl FnOnce(T) -> Option<Change>) -> Verdict {
    observed.map(restore).map_err(|error| (control, error))
}

fn step(change: Change, stance: &Stance<'_>) -> Step {
    let control = change.control();
    if let Some(exemption) = stance.registration.exemption(control, stance.now) {
        return Step::Exempt(change, exemption.clone());
    }
    if stance.dry_run || stance.registration.mode == Mode::Observe {
        return Step::Tell(change);
    }
    if stance.echo.forbids(control) {
        return Step::Unstable(change);
    }
    Step::Restore(change)
}

/// Whether a change may be written: within S3's limits, and without locking us out.
pub fn check(baseline: &Baseline, change: &Change) -> Result<(), Refusal> {
    match change {
        Change::BucketPolicy(drift) => {
            Ok(policy::check(&drift.desired, &baseline.policy, &baseline.bucket_arn, &baseline.role)?)
        }
        Change::Lifecycle(drift) if drift.desired.rules.len() > lifecycle::MAX_RULES => {
            Err(Refusal::TooManyRules(drift.desired.rules.len()))
        }
        _ => Ok(()),
    }
}

fn restore_public_access_block(observed: PublicAccessBlock) -> Option<Change> {
    drift(observed, PublicAccessBlock::ALL).map(Change::PublicAccessBlock)
}

fn restore_object_ownership(observed: ObjectOwnership) -> Option<Change> {
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

fn restore_default_encryption(baseline: &Baseline, observed: DefaultEncryption) -> Option<Change> {
    drift_to(observed, |it| it.requiring(&baseline.key)).map(Change::DefaultEncryption)
}

fn restore_versioning(observed: Versioning) -> Option<Change> {
    drift_to(observed, Versioning::enabled).map(Change::Versioning)
}

/// The lifecycle configuration's drift, if any.
pub fn restore_lifecycle(baseline: &Baseline, observed: Lifecycle) -> Option<Change> {
    drift_to(observed, |it| it.requiring(&baseline.lifecycle)).map(Change::Lifecycle)
}

fn restore_inventory(baseline: &Baseline, observed: Option<Inventory>) -> Option<Change> {
    let desired = Inventory::requiring(observed.as_ref(), baseline);
    (observed.as_ref() != Some(&desired)).then_some(Change::Inventory(Drift { observed, desired }))
}

fn drift<T: PartialEq>(observed: T, desired: T) -> Option<Drift<T>> {
    (observed != desired).then_some(Drift { observed, desired })
}

fn drift_to<T: PartialEq>(observed: T, desired: impl FnOnce(&T) -> T) -> Option<Drift<T>> {
    let desired = desired(&observed);
    drift(observed, desired)
}

impl Step {
    /// The control it is about.
    pub fn control(&self) -> Control {
        match self {
            Self::Restore(change) | Self::Tell(change) | Self::Exempt(change, _) | Self::Unstable(change) => {
                change.control()
            }
            Self::Unreadable(control, _) => *control,
        }
    }
}

impl Change {
    /// The control it restores.
    pub fn control(&self) -> Control {
        match self {
            Self::PublicAccessBlock(_) => Control::PublicAccessBlock,
            Self::ObjectOwnership(_) => Control::ObjectOwnership,
            Self::BucketPolicy(_) => Control::BucketPolicy,
            Self::DefaultEncryption(_) => Control::DefaultEncryption,
            Self::Versioning(_) => Control::Versioning,
            Self::Lifecycle(_) => Control::Lifecycle,
            Self::Inventory(_) => Control::Inventory,
        }
    }

    /// What is and what should be, as JSON in AWS's words.
    pub fn to_json(&self) -> (Value, Value) {
        match self {
            Self::PublicAccessBlock(drift) => (json!(drift.observed), json!(drift.desired)),
            Self::ObjectOwnership(drift) => (json!(drift.observed), json!(drift.desired)),
            Self::BucketPolicy(drift) => (drift.observed.to_json(), drift.desired.to_json()),
            Self::DefaultEncryption(drift) => (json!(drift.observed), json!(drift.desired)),
            Self::Versioning(drift) => (json!(drift.observed), json!(drift.desired)),
            Self::Lifecycle(drift) => (drift.observed.to_json(), drift.desired.to_json()),
            Self::Inventory(drift) => (json!(drift.observed), json!(drift.desired)),
        }
    }

    /// What a person should know of AWS refusing this write.
    pub fn explain(&self, error: &ApiError) -> Option<String> {
        let code = error.code.as_deref()?;
        match self {
            Self::BucketPolicy(drift) => policy::suspects(&drift.desired, code),
            Self::Versioning(Drift { observed: Versioning { mfa_delete: true, .. }, .. }) => {
                Some("MFA Delete is on: only the root user with its second factor can enable versioning".to_owned())
            }
            _ => None,
        }
    }
}
