//! One look at a bucket: what is registered and what is there, read at once, and restored.

use std::collections::{BTreeMap, HashMap};

use guardrail_core::{
    control::{
        kms_key::{KmsKey, RequiredKey},
        table::Control,
        trail::Trail,
    },
    decide::{baseline::Baseline, errand::Errand, plan::Stance},
    edge::registry::{Registration, RegistryError},
    outcome::{
        observed::Observation,
        report::{BucketOutcome, Report},
    },
    value::{
        failure::chain,
        names::{AccountId, BucketName, KeyArn},
        subject::Subject,
    },
};
use tokio::time::{Instant, timeout_at};

use crate::{
    Guardrail,
    observe::{self, Scope, observe},
    store::{ledger::Stored, registry},
    work::{
        page::Page,
        reconcile::{Seen, reconcile},
    },
};

/// What to do, and until when: no read and no write goes on longer.
pub(super) struct Task {
    pub(super) errand: Errand,
    pub(super) until: Instant,
}

impl Task {
    fn out_of_time(&self, bucket: &BucketName) -> Report {
        const NO_TIME: &str = "no time left: AWS did not answer in time what the bucket is like; it is tried again";
        let report = Report::error(bucket, NO_TIME.to_owned(), self.errand.trigger().cloned());
        Report { dry_run: self.errand.is_dry_run(), ..report }
    }
}

/// What was found and done, and what the registry said of the bucket.
pub(super) struct Looked {
    pub(super) report: Report,
    pub(super) registration: Option<Registration>,
}

/// What an invocation knows already. Keys and trails that earlier buckets found as they should be: many buckets share
/// one, and CloudTrail answers ten calls a second and no more.
#[derive(Default)]
pub(super) struct Known {
    /// The registry's documents and the ledger's items that were read ahead for a batch.
    pub(super) documents: BTreeMap<BucketName, Result<Option<Registration>, RegistryError>>,
    pub(super) items: Option<BTreeMap<String, Stored>>,
    keys: HashMap<(String, Option<String>), KmsKey>,
    trails: HashMap<String, Trail>,
}

/// How often a look begins anew because the registry document was changed meanwhile.
const TRIES: usize = 3;

/// Looks at a bucket, and restores what is ours to restore.
pub(super) async fn look<'a>(
    guardrail: &'a Guardrail,
    bucket: &BucketName,
    task: &Task,
    known: &mut Known,
    page: &mut Page<'a>,
) -> Looked {
    let mut looked = Box::pin(look_once(guardrail, bucket, task, known, page)).await;
    for _ in 1..TRIES {
        if !looked.report.is_outdated {
            break;
        }
        looked = Box::pin(look_once(guardrail, bucket, task, known, page)).await;
    }
    looked
}

/// Reads bucket and registry at once; restores what is ours to restore.
///
/// A call that is about the bucket leads to the bucket's own settings, and so does the sweep. Its key and its trail have
/// events and messages of their own; who asks for the bucket gets all of it.
async fn look_once<'a>(
    guardrail: &'a Guardrail,
    bucket: &BucketName,
    task: &Task,
    known: &mut Known,
    page: &mut Page<'a>,
) -> Looked {
    let Guardrail { config, ssm, .. } = guardrail;
    // Our own account: S3 lets nobody else write a bucket's policy, so we guard no bucket of another account.
    let owner = config.account();
    let at = guardrail.clock.now();
    let by_earlier_document = known.documents.contains_key(bucket);
    let document = async {
        match known.documents.remove(bucket) {
            Some(document) => document,
            None => registry::read(ssm, &config.parameter_prefix, bucket).await,
        }
    };
    let subject = Subject::Bucket(bucket.clone());
    let items = known.items.as_mut().map(|it| it.remove(&subject.to_string()));
    let reads = async {
        tokio::join!(document, observe(guardrail.readers(), bucket), async {
            // One that begins anew has it already.
            if page.is_none() && !task.errand.is_dry_run() {
                *page = Page::open(guardrail, &subject, items).await;
            }
        })
    };
    let Ok((registration, observed, ())) = timeout_at(task.until, Box::pin(reads)).await else {
        return Looked { report: task.out_of_time(bucket), registration: None };
    };
    let registered = match registered(registration, guardrail, &owner) {
        Ok(Some(it)) => it,
        Ok(None) => {
            let report = Report::new(bucket.as_str(), BucketOutcome::Unguarded, task.errand.trigger().cloned());
            return Looked { report, registration: None };
        }
        Err(error) => {
            let error = Report::error(bucket, chain(&error), task.errand.trigger().cloned());
            return Looked { report: Report { dry_run: task.errand.is_dry_run(), ..error }, registration: None };
        }
    };
    let (baseline, registration) = registered;
    let mut seen = Observation::from(observed);
    // What a bucket that is gone leans on is nobody's concern.
    if task.errand.is_request() && !seen.is_gone() {
        let scope = Scope { bucket: false, ..Scope::EVERYTHING };
        match known.look(guardrail, bucket, &baseline, scope, task).await {
            Ok(around) => seen = Observation { bucket: seen.bucket, ..around },
            Err(report) => return Looked { report, registration: Some(registration) },
        }
    }
    let gone = seen.is_gone();
    let seen = Seen { observation: seen, at, by_earlier_document };
    let mut report = known.restore(guardrail, &baseline, &registration, seen, task, page).await;
    if task.errand.is_request() && !gone {
        for key in registration.former_keys.iter().filter(|it| **it != registration.key_arn) {
            report = report.and(known.keep_former(guardrail, &baseline, &registration, key, task, page).await);
        }
    }
    report.exemptions = Some(registration.exemptions.clone()).filter(|_| !report.is_outdated);
    Looked { report, registration: Some(registration) }
}

impl Known {
    /// Looks at the key and the trail, as far as they are not known. An error when there is no time for it.
    pub(super) async fn look(
        &self,
        guardrail: &Guardrail,
        bucket: &BucketName,
        baseline: &Baseline,
        scope: Scope,
        task: &Task,
    ) -> Result<Observation, Report> {
        let key = baseline.kms_key.as_ref().and_then(|it| self.keys.get(&name_of_key(it)));
        let trail = baseline.trail.as_ref().and_then(|it| self.trails.get(it.arn.as_str()));
        let unknown =
            Scope { bucket: false, kms_key: scope.kms_key && key.is_none(), trail: scope.trail && trail.is_none() };
        let looking = Box::pin(observe::observe_in(guardrail, bucket, baseline, unknown));
        let looked = timeout_at(task.until, looking).await.map_err(|_| task.out_of_time(bucket))?;
        let key = key.filter(|_| scope.kms_key).map(|it| Ok(it.clone()));
        let trail = trail.filter(|_| scope.trail).map(|it| Ok(Some(it.clone())));
        Ok(Observation { bucket: None, kms_key: key.or(looked.kms_key), trail: trail.or(looked.trail) })
    }

    /// Keeps a key usable that the bucket had before.
    pub(super) async fn keep_former(
        &mut self,
        guardrail: &Guardrail,
        baseline: &Baseline,
        registration: &Registration,
        key: &KeyArn,
        task: &Task,
        page: &mut Page<'_>,
    ) -> Report {
        let bucket = &registration.bucket;
        let Some(baseline) = baseline.with_former_key(key) else {
            return Report::new(bucket.as_str(), BucketOutcome::Compliant, task.errand.trigger().cloned());
        };
        let at = guardrail.clock.now();
        let observation = match self.look(guardrail, bucket, &baseline, Scope::KMS_KEY, task).await {
            Ok(it) => it,
            Err(report) => return report,
        };
        let seen = Seen { observation, at, by_earlier_document: false };
        let mut report = Box::pin(self.restore(guardrail, &baseline, registration, seen, task, page)).await;
        for finding in &mut report.findings {
            finding.note = Some(format!(
                "This is {key}, which the bucket had before: what was uploaded then cannot be read without it."
            ));
        }
        report
    }

    /// Restores what was seen, and keeps what was good.
    pub(super) async fn restore(
        &mut self,
        guardrail: &Guardrail,
        baseline: &Baseline,
        registration: &Registration,
        seen: Seen,
        task: &Task,
        page: &mut Page<'_>,
    ) -> Report {
        let Seen { observation, .. } = &seen;
        let key = observation.kms_key.as_ref().and_then(|it| it.as_ref().ok().cloned());
        let trail = observation.trail.as_ref().and_then(|it| it.as_ref().ok()?.clone());
        let report = restore(guardrail, baseline, registration, seen, task, page).await;
        let good = |control| report.findings.iter().all(|it| it.control != control);
        if let Some(required) = &baseline.kms_key {
            let name = name_of_key(required);
            match key.filter(|_| good(Control::KmsKey)) {
                Some(key) => drop(self.keys.insert(name, key)),
                None => drop(self.keys.remove(&name)),
            }
        }
        if let Some(required) = &baseline.trail {
            let arn = required.arn.as_str();
            match trail.filter(|_| good(Control::Trail)) {
                Some(trail) => drop(self.trails.insert(arn.to_owned(), trail)),
                None => drop(self.trails.remove(arn)),
            }
        }
        report
    }
}

/// A key is looked at together with its alias.
fn name_of_key(key: &RequiredKey) -> (String, Option<String>) {
    (key.arn.to_string(), key.alias.as_ref().map(ToString::to_string))
}

fn registered(
    registration: Result<Option<Registration>, RegistryError>,
    guardrail: &Guardrail,
    owner: &AccountId,
) -> Result<Option<(Baseline, Registration)>, RegistryError> {
    let Some(registration) = registration? else { return Ok(None) };
    Ok(Some((Baseline::new(&registration, owner, &guardrail.config.role)?, registration)))
}

async fn restore(
    guardrail: &Guardrail,
    baseline: &Baseline,
    registration: &Registration,
    seen: Seen,
    task: &Task,
    page: &mut Page<'_>,
) -> Report {
    let bucket = &registration.bucket;
    let now = guardrail.clock.now();
    let past = task.errand.past(&guardrail.config.role, now);
    let stance = Stance { registration, now, dry_run: task.errand.is_dry_run(), past: &past };
    let reconciled = Box::pin(reconcile(guardrail, bucket, baseline, seen, &stance, Some(task.until), page)).await;
    let calls = task.errand.calls(&guardrail.config.role);
    Report { dry_run: stance.dry_run, ..Report::from_reconciled(bucket, reconciled, &calls) }
}
