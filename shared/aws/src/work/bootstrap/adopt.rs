//! Before anything is written: what of it would break what is there, and what would be refused.

use guardrail_core::{
    control::lifecycle::{Lifecycle, LifecycleDays},
    decide::{
        adoption::{self, Adoption, Breaks, Site, kept_for},
        baseline::Baseline,
        echo::NO_PAST,
        plan::{Stance, plan},
        setup::{BootstrapError, Setup, failed},
    },
    edge::registry::Registration,
    outcome::{observed::Observed, step::Step},
    value::{
        failure::ApiError,
        names::{KeyAlias, KeyArn},
        policy::Policy,
    },
};
use jiff::Timestamp;

use crate::{
    Guardrail, control,
    observe::{Scope, observe, observe_in},
    usage::usage,
    work::bootstrap::{
        bucket,
        key::{self, Found},
    },
};

/// Stands for a key that is still to be created; as long as any other, because policies have limits.
const NEW_KEY: &str = "key/00000000-0000-0000-0000-000000000000";

/// What was seen before the first write.
pub(super) struct Foreseen {
    pub(super) adoption: Adoption,
    /// How long old versions of the bucket are kept, where its owner's time is longer, and why.
    pub(super) days: Option<(LifecycleDays, String)>,
}

/// Looks at everything that is about to be written, and writes nothing.
pub(super) async fn foresee(
    guardrail: &Guardrail,
    setup: &Setup,
    registered: Option<&Registration>,
    found: &Found,
) -> Result<Foreseen, BootstrapError> {
    let looked = foresee_key(guardrail, setup, found).await;
    let (key, alias, refusal) = looked.map_err(failed(&setup.key.label()))?;
    let mut adoption = Adoption { refusals: refusal.into_iter().collect(), ..Adoption::default() };
    // What a guarded bucket uses already is no adoption.
    let known = [registered.map(Registration::log_bucket), registered.map(Registration::inventory_bucket)];
    let known = known.map(|it| it.and_then(Result::ok));
    for (name, delivery) in
        [(&setup.log_bucket, bucket::log_delivery(setup)), (&setup.inventory_bucket, bucket::inventory_delivery(setup))]
    {
        let observed = observe(guardrail.readers(), name).await;
        bucket::certain(name, &observed)?;
        if !observed.is_gone() {
            let accept = Some(setup.accept.as_slice()).filter(|_| !known.contains(&Some(name.clone())));
            let (registration, _) = bucket::support_registration(setup, name, &key, &observed);
            let (facts, now) = (Facts::from_observed(&observed), guardrail.clock.now());
            let (baseline, steps) = bucket::plan_support(guardrail, setup, &registration, delivery, observed, false)?;
            adoption = adoption.and(judge(guardrail, &registration, &baseline, &steps, facts, accept, now).await);
        }
    }

    let observed = observe(guardrail.readers(), &setup.bucket).await;
    bucket::certain(&setup.bucket, &observed)?;
    let accept = Some(setup.accept.as_slice()).filter(|_| registered.is_none());
    let mut registration = setup.registration(key, alias, registered, &observed);
    let days = accept.and_then(|it| kept_for(registration.lifecycle, &observed.lifecycle, it));
    if let Some((days, _)) = days {
        registration.lifecycle = days;
    }
    let baseline = Baseline::new(&registration, &setup.account, &guardrail.config.role)?;
    if !observed.is_gone() {
        adoption = adoption.and(foresee_bucket(guardrail, &registration, &baseline, observed, accept).await);
    }
    match observe_in(guardrail, &setup.bucket, &baseline, Scope::TRAIL).await.trail {
        Some(Ok(trail)) => adoption.refusals.extend(adoption::trail_refusal(&baseline, trail)),
        Some(Err(error)) => return Err(failed(&format!("trail {}", setup.trail))(error)),
        None => {}
    }
    Ok(Foreseen { adoption, days })
}

/// The same of one bucket that is there. `accept`: what may break; `None`: it is guarded already, so nothing does.
pub async fn foresee_bucket(
    guardrail: &Guardrail,
    registration: &Registration,
    baseline: &Baseline,
    observed: Observed,
    accept: Option<&[Breaks]>,
) -> Adoption {
    let now = guardrail.clock.now();
    let stance = Stance { registration, now, dry_run: false, past: &NO_PAST };
    let facts = Facts::from_observed(&observed);
    let steps = plan(baseline, observed.into(), &stance);
    judge(guardrail, registration, baseline, &steps, facts, accept, now).await
}

/// What is still needed of what was seen when the steps are planned.
struct Facts {
    policy: Option<Policy>,
    lifecycle: Option<Lifecycle>,
}

impl Facts {
    fn from_observed(observed: &Observed) -> Self {
        let Observed { bucket_policy, lifecycle, .. } = observed;
        Self { policy: bucket_policy.as_ref().ok().cloned(), lifecycle: lifecycle.as_ref().ok().cloned() }
    }
}

async fn judge(
    guardrail: &Guardrail,
    registration: &Registration,
    baseline: &Baseline,
    steps: &[Step],
    Facts { policy, lifecycle }: Facts,
    accept: Option<&[Breaks]>,
    now: Timestamp,
) -> Adoption {
    let Registration { bucket, lifecycle: days, policy: variant, .. } = registration;
    let (variant, days, policy) = (*variant, *days, policy.as_ref());
    let site = Site { bucket, baseline, variant, days, steps, policy, now };
    let refusals = adoption::refusals(site);
    let writes = steps.iter().any(|it| matches!(it, Step::Restore(_)));
    let losses = match accept.filter(|_| writes) {
        Some(accept) => {
            let cutoff = lifecycle.and_then(|it| adoption::cutoff(days, &it, now));
            let usage = usage(&guardrail.s3, bucket, cutoff).await;
            adoption::losses(site, &usage, accept)
        }
        None => Vec::new(),
    };
    Adoption { losses, refusals }
}

/// The key, or one that stands for it; its alias; and why its policy could not be written.
async fn foresee_key(
    guardrail: &Guardrail,
    setup: &Setup,
    found: &Found,
) -> Result<(KeyArn, Option<KeyAlias>, Option<String>), ApiError> {
    match found {
        Found::New { alias } => {
            let Setup { partition, region, account, .. } = setup;
            let arn = format!("arn:{partition}:kms:{region}:{account}:{NEW_KEY}").parse();
            Ok((arn.map_err(|error| ApiError::new("DescribeKey", error))?, Some(alias.clone()), None))
        }
        Found::Foreign { arn, alias } => Ok((arn.clone(), alias.clone(), None)),
        Found::Own { arn, alias, .. } => {
            let is = control::kms_key::key_policy(guardrail.readers(), arn.as_str()).await?;
            let refusal = adoption::key_refusal(&is, &key::policy(&is, setup), arn);
            Ok((arn.clone(), alias.clone(), refusal))
        }
    }
}
