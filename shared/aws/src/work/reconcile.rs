//! Observe, plan, apply: the shell around the decisions.

use std::collections::BTreeMap;

use guardrail_core::{
    control::{
        kms_key::{self, KeyPart, KeyState, KmsKey, RequiredKey},
        public_access_block::PublicAccessBlock,
        table::Control,
        trail::{self, Trail},
    },
    decide::{
        backoff,
        baseline::Baseline,
        echo::{ECHO_APP_NAME, Generation},
        exposure, hindrance,
        plan::{self, Stance, plan},
        settle::{Problem, Restored},
    },
    edge::registry::Registration,
    outcome::{
        exposure::Exposure,
        finding::Finding,
        hindrance::Hindrance,
        ledger::{Restore, Span},
        observed::Observation,
        report::Reconciled,
        step::{Change, Refusal, Step},
    },
    value::{
        drift::Drift,
        failure::ApiError,
        names::{BucketName, TrailArn},
    },
};
use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    Guardrail,
    apply::apply,
    clients::Writers,
    control,
    observe::{Scope, observe_in},
    store::registry,
    work::page::Page,
};

/// Brings what was just seen of a bucket back to its baseline. No write begins after `until`.
pub async fn reconcile(
    guardrail: &Guardrail,
    bucket: &BucketName,
    baseline: &Baseline,
    seen: Seen,
    stance: &Stance<'_>,
    until: Option<Instant>,
    page: &mut Page<'_>,
) -> Reconciled {
    let Seen { mut observation, mut at, by_earlier_document } = seen;
    if observation.is_gone() {
        return Reconciled::Gone;
    }
    let scope = Scope {
        bucket: observation.bucket.is_some(),
        kms_key: observation.kms_key.is_some(),
        trail: observation.trail.is_some(),
    };
    let read = scope.controls();
    let registration = stance.registration;
    let mut past = stance.past.clone();
    page.inform(&mut past, guardrail.clock.now());
    let mut said = Vec::new();
    let mut again = 0;
    let mut asked = false;
    let mut waited = by_earlier_document;
    let (steps, beside) = loop {
        let now = guardrail.clock.now();
        let stance = Stance { past: &past, now, ..stance.clone() };
        let beside = Beside::new(baseline, &observation, &stance);
        let steps = plan(baseline, observation.clone(), &stance);
        let drifted: Vec<_> = steps.iter().filter(|it| it.is_drift()).map(Step::control).collect();
        if let Some(wait) = past.reread(&drifted, &read, at, again) {
            again += 1;
            waited = true;
            asked = false;
            let look_again = async {
                sleep(wait).await;
                (guardrail.clock.now(), observe_in(guardrail, bucket, baseline, scope).await)
            };
            let Some(seen) = in_time(until, look_again).await else {
                break (steps.into_iter().map(Step::in_doubt).collect(), beside);
            };
            (at, observation) = seen;
            if observation.is_gone() {
                return Reconciled::Gone;
            }
            continue;
        }
        let to_write: Vec<_> = steps.iter().filter(|it| it.is_write()).map(Step::control).collect();
        let is_unstable = steps.iter().any(|it| matches!(it, Step::Unstable(_)));
        // Others may have written while it was read again, and then it is too early to say so.
        if is_unstable && !std::mem::replace(&mut asked, true) && page.ask_again(&mut past).await {
            continue;
        }
        if to_write.iter().all(|it| said.contains(it)) {
            break (steps, beside);
        }
        // An exemption counts at once, also one that was made while we waited.
        if waited && in_time(until, is_up_to_date(guardrail, bucket, registration)).await == Some(false) {
            return Reconciled::Outdated;
        }
        waited = false;
        // Others that look at the same are told before it is written, and what they do is known then.
        if !page.begin(to_write.clone(), &mut past).await {
            break (steps, beside);
        }
        said = to_write;
        again = 0;
    };
    let app_name = if past.generation == Generation::First { "s3-guardrail" } else { ECHO_APP_NAME };
    let writer = Writer::new(guardrail, app_name, bucket, baseline, at, until);
    writer.apply(steps, beside, read).await
}

async fn is_up_to_date(guardrail: &Guardrail, bucket: &BucketName, known: &Registration) -> bool {
    let read = Box::pin(registry::read(&guardrail.ssm, &guardrail.config.parameter_prefix, bucket)).await;
    // What cannot be read is told by the next look.
    read.is_ok_and(|it| it.as_ref() == Some(known))
}

/// The same for somebody who asks for it and takes the report: the ledger does not know of it.
pub async fn reconcile_for(
    guardrail: &Guardrail,
    bucket: &BucketName,
    baseline: &Baseline,
    observation: Observation,
    stance: &Stance<'_>,
) -> Reconciled {
    let seen = Seen { observation, at: guardrail.clock.now(), by_earlier_document: false };
    Box::pin(reconcile(guardrail, bucket, baseline, seen, stance, None, &mut Page::none(guardrail))).await
}

/// What was seen, and when the reads began.
#[derive(Debug)]
pub struct Seen {
    pub observation: Observation,
    pub at: Timestamp,
    /// The registry document was read before that, for a whole batch.
    pub by_earlier_document: bool,
}

/// What was seen beside drift.
#[derive(Debug, Default)]
pub struct Beside {
    hindrances: Vec<Hindrance>,
    exposures: Vec<Exposure>,
}

impl Beside {
    /// Looks for it in what was seen.
    pub fn new(baseline: &Baseline, seen: &Observation, stance: &Stance<'_>) -> Self {
        Self {
            hindrances: hindrance::hindrances(baseline, seen, stance.now),
            // What stands beside a write of our own was told when it was made.
            exposures: if stance.past.generation == Generation::First {
                exposure::exposures(baseline, seen)
            } else {
                Vec::new()
            },
        }
    }
}

/// Does what was planned, one write after the other. One that fails does not stop the next.
pub async fn apply_steps(
    guardrail: &Guardrail,
    bucket: &BucketName,
    baseline: &Baseline,
    steps: Vec<Step>,
    beside: Beside,
) -> Reconciled {
    let writer = Writer::new(guardrail, "s3-guardrail", bucket, baseline, guardrail.clock.now(), None);
    writer.apply(steps, beside, Vec::new()).await
}

struct Writer<'a> {
    read: &'a Guardrail,
    write: Writers,
    bucket: &'a BucketName,
    baseline: &'a Baseline,
    /// When what is to be written was read, as far as it is not read again.
    seen_at: Timestamp,
    begun: Instant,
    until: Option<Instant>,
    restores: BTreeMap<Control, Restore>,
}

/// What comes of it in time.
async fn in_time<T>(until: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match until {
        None => Some(work.await),
        Some(until) if until <= Instant::now() => None,
        Some(until) => timeout_at(until, work).await.ok(),
    }
}

impl<'a> Writer<'a> {
    fn new(
        guardrail: &'a Guardrail,
        app_name: &'static str,
        bucket: &'a BucketName,
        baseline: &'a Baseline,
        seen_at: Timestamp,
        until: Option<Instant>,
    ) -> Self {
        let write = Writers::new(guardrail, app_name);
        let (begun, restores) = (Instant::now(), BTreeMap::new());
        Self { read: guardrail, write, bucket, baseline, seen_at, begun, until, restores }
    }

    async fn apply(mut self, steps: Vec<Step>, beside: Beside, read: Vec<Control>) -> Reconciled {
        let mut findings = Vec::new();
        for step in steps {
            findings.push(self.take(step).await);
        }
        let Beside { hindrances, exposures } = beside;
        Reconciled::Bucket { findings, hindrances, exposures, restores: self.restores, read }
    }

    async fn take(&mut self, step: Step) -> Finding {
        match step.without_write() {
            Ok(finding) => finding,
            Err(change) => {
                let restored = self.restore_in_time(*change).await;
                let is_enforced_above = restored.may_be_enforced_above() && self.is_enforced_above().await;
                restored.into_finding(is_enforced_above)
            }
        }
    }

    /// Whether the account, or its organization, blocks all public access.
    async fn is_enforced_above(&self) -> bool {
        let account = self.read.config.account();
        control::public_access_block::account_public_access_block(&self.read.s3control, &account)
            .await
            .inspect_err(|error| tracing::warn!(%error, "the account's Block Public Access"))
            .is_ok_and(|it| it == PublicAccessBlock::ALL)
    }

    /// Writes one change as far as there is time. What was cut may have been written.
    async fn restore_in_time(&mut self, change: Change) -> Restored {
        let begins = self.until.is_none_or(|it| Instant::now() < it);
        let cut = Restored { change: change.clone(), written: begins, result: Err(Problem::no_time()) };
        in_time(self.until, Box::pin(self.restore(change))).await.unwrap_or(cut)
    }

    /// Writes one change, and what of it shows only then.
    async fn restore(&mut self, change: Change) -> Restored {
        // In boxes: they are large, and the stacks of threads are small.
        let mut restored = Box::pin(self.apply_change(change)).await;
        if restored.result.is_ok() && restored.written {
            match Box::pin(self.left_after(&restored.change)).await {
                Ok(None) => {}
                Ok(Some(rest)) => restored.result = Box::pin(self.apply_change(rest)).await.result,
                Err(problem) => restored.result = Err(problem),
            }
        }
        restored
    }

    /// Writes one change, again after a moment if AWS is busy.
    async fn apply_change(&mut self, mut change: Change) -> Restored {
        // The last write that may have been done.
        let mut written = None;
        let mut seen_good = false;
        let mut tried = 0;
        let control = change.control();
        self.restores.insert(control, Restore { read: self.seen_at, written: None });
        loop {
            let now = self.read.clock.now();
            let is_read_again = tried > 0 || seen_good || plan::is_read_before_write(control, self.begun.elapsed());
            match self.refreshed(&change, is_read_again).await {
                Ok(Some(fresh)) => {
                    if is_read_again {
                        self.restores.insert(control, Restore { read: now, written });
                    }
                    change = fresh;
                }
                // It may be what S3 had before the drift.
                Ok(None) if written.is_none() && !seen_good => {
                    seen_good = true;
                    sleep(backoff::REREAD_OF_GOOD).await;
                    continue;
                }
                // Somebody else restored it in the meantime, or our own write did, whose answer we never got.
                Ok(None) => return Restored { change, written: written.is_some(), result: Ok(()) },
                Err(error) => return Restored { change, written: written.is_some(), result: Err(error.into()) },
            }
            if let Err(refusal) = plan::check(self.baseline, &change, self.read.clock.now()) {
                return Restored { change, written: written.is_some(), result: Err(refusal.into()) };
            }
            let sent = self.read.clock.now();
            let applied = apply(&self.write, self.bucket, self.baseline, &change).await;
            if applied.may_have_written {
                written = Some(Span { sent, ended: self.read.clock.now() });
                self.restores.entry(control).and_modify(|it| it.written = written);
            }
            match applied.result {
                Ok(()) => {
                    let result = change.unrestorable(self.baseline).map_or(Ok(()), |it| Err(it.into()));
                    return Restored { change, written: written.is_some(), result };
                }
                Err(error) if let Some(wait) = backoff::of_write(&error, tried, self.begun.elapsed()) => {
                    tracing::warn!(control = %change.control(), %error, "busy, trying again");
                    sleep(self.read.clock.about(wait)).await;
                    tried += 1;
                }
                Err(error) => {
                    let error = match change.explain(&error) {
                        Some(hint) => error.explained(&hint),
                        None => error,
                    };
                    return Restored { change, written: written.is_some(), result: Err(error.into()) };
                }
            }
        }
    }

    /// Reads again where calls prove nothing; what is left to do shows only then.
    async fn left_after(&self, change: &Change) -> Result<Option<Change>, Problem> {
        let Baseline { kms_key, trail, .. } = self.baseline;
        match change {
            Change::KmsKey(drift)
                if let Some(key) = kms_key
                    && kms_key::must_be_read_again(drift) =>
            {
                self.left_of_key(drift, key).await
            }
            Change::Trail(drift)
                if let Some(trail) = trail
                    && trail::must_be_read_again(drift) =>
            {
                self.logs(&trail.arn).await.map(|()| None)
            }
            Change::KmsKey(_)
            | Change::Trail(_)
            | Change::PublicAccessBlock(_)
            | Change::ObjectOwnership(_)
            | Change::BucketPolicy(_)
            | Change::DefaultEncryption(_)
            | Change::Versioning(_)
            | Change::Lifecycle(_)
            | Change::Inventory(_) => Ok(None),
        }
    }

    /// Whether the trail that was just started logs.
    async fn logs(&self, trail: &TrailArn) -> Result<(), Problem> {
        for wait in backoff::RESTART_SETTLING {
            sleep(wait).await;
            if control::trail::is_logging(self.read.readers(), trail).await? {
                return Ok(());
            }
        }
        let text =
            "CloudTrail took every call, and the trail does not log all the same; look at it in the CloudTrail console";
        Err(Problem { text: text.to_owned(), denied_by: None })
    }

    async fn left_of_key(&self, drift: &Drift<KmsKey>, key: &RequiredKey) -> Result<Option<Change>, Problem> {
        let mut left = KeyState::Enabled;
        let mut rotation_is_off = false;
        // KMS takes a moment to know everywhere what was just done.
        for wait in backoff::RESTART_SETTLING {
            sleep(wait).await;
            let observed = control::kms_key::read(self.read.readers(), key).await?;
            let desired = observed.requiring(key);
            // The calls for its policy and its alias prove themselves.
            // What was unread before is told as that.
            let unproven = |part| matches!(part, KeyPart::State | KeyPart::Rotation) && drift.observed.knows(part);
            if let Some((_, error)) = observed.unread.iter().find(|(part, _)| unproven(*part)) {
                return Err(error.clone().into());
            }
            let observed =
                KmsKey { policy: desired.policy.clone(), alias_target: desired.alias_target.clone(), ..observed };
            if observed == desired {
                return Ok(None);
            }
            left = observed.state.clone();
            let usable = observed.state == desired.state;
            let drift = Drift { observed, desired };
            if let Some(refusal) = kms_key::unrestorable(&drift, key) {
                return Err(Refusal::from(refusal).into());
            }
            // Usable again, and only now it says whether it rotates. Twice, as the first time may be from before.
            if usable && std::mem::replace(&mut rotation_is_off, true) {
                return Ok(Some(Change::KmsKey(Box::new(drift))));
            }
        }
        Err(Problem { text: kms_key::unmoved(&left), denied_by: None })
    }

    /// The change as it is to be written now; `None` when it is no longer needed. A merged document is always read again
    /// right before it is written: of the reads that went out together, one may have taken seconds, and what its owner
    /// wrote in the meantime must not be lost. Everything is read again before it is written `again`.
    async fn refreshed(&self, change: &Change, again: bool) -> Result<Option<Change>, ApiError> {
        let Self { baseline, bucket, .. } = self;
        let readers = self.read.readers();
        Ok(match change {
            Change::BucketPolicy(_) => {
                plan::restore_bucket_policy(baseline, control::bucket_policy::read(readers, bucket).await?)
            }
            Change::Lifecycle(_) => plan::restore_lifecycle(baseline, control::lifecycle::read(readers, bucket).await?),
            Change::KmsKey(drift) => match &baseline.kms_key {
                Some(key) => {
                    let now = control::kms_key::read(readers, key).await?;
                    plan::still_known(&drift.observed.unread, &now.unread)?;
                    plan::restore_kms_key(baseline, now)
                }
                None => None,
            },
            Change::Trail(drift) => match &baseline.trail {
                Some(trail) => {
                    let now = control::trail::read(readers, trail).await?;
                    let unread = |it: Option<&Trail>| it.map_or_else(Vec::new, |it| it.unread.clone());
                    plan::still_known(&unread(drift.observed.as_ref()), &unread(now.as_ref()))?;
                    plan::restore_trail(baseline, now)
                }
                None => None,
            },
            Change::PublicAccessBlock(_) if again => {
                plan::restore_public_access_block(control::public_access_block::read(readers, bucket).await?)
            }
            Change::ObjectOwnership(_) if again => {
                plan::restore_object_ownership(control::object_ownership::read(readers, bucket).await?)
            }
            Change::DefaultEncryption(_) if again => {
                plan::restore_default_encryption(baseline, control::default_encryption::read(readers, bucket).await?)
            }
            Change::Versioning(_) if again => {
                plan::restore_versioning(control::versioning::read(readers, bucket).await?)
            }
            Change::Inventory(_) if again => {
                plan::restore_inventory(baseline, control::inventory::read(readers, bucket).await?)
            }
            Change::PublicAccessBlock(_)
            | Change::ObjectOwnership(_)
            | Change::DefaultEncryption(_)
            | Change::Versioning(_)
            | Change::Inventory(_) => Some(change.clone()),
        })
    }
}
