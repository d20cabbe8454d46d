//! A key or a trail that buckets lean on: looked at once for all of them.

use std::collections::{BTreeMap, BTreeSet};

use guardrail_core::{
    control::table::Control,
    decide::{
        shared::{self, Group, groups},
        uses::{Named, Where, where_users_are},
    },
    edge::registry::Registration,
    outcome::report::Report,
    value::{
        failure::ApiError,
        names::{Arn, BucketName},
        subject::Subject,
    },
};
use tokio::time::{Duration, Instant, sleep_until, timeout_at};

use crate::{
    Guardrail,
    observe::Scope,
    store::{registry, uses},
    work::{
        look::{Known, Looked, Task},
        page::Page,
        reconcile::Seen,
        telling::report,
    },
};

/// Others' keys and trails are asked for as often as their owners like, so no more pages of the registry are read for them.
const BETWEEN_PAGES: Duration = Duration::from_millis(100);

/// How often a look begins anew because a registry document was changed meanwhile.
const TRIES: usize = 3;

/// What became of a subject.
pub(super) struct Answered {
    pub(super) subject: Subject,
    pub(super) report: Report,
    /// What became of it for each bucket.
    groups: Vec<(Vec<BucketName>, Report)>,
}

/// Restores the keys or trails that are named, as far as registered buckets use them, and tells people.
pub(super) async fn handle_shared(
    guardrail: &Guardrail,
    named: &Named,
    task: &Task,
) -> Result<Vec<Answered>, ApiError> {
    let users = timeout_at(task.until, Box::pin(users(guardrail, named, task))).await;
    let users = users.map_err(|_| ApiError::new("GetParameters", "no time left to find out whose it is"))??;
    let mut answered = Vec::new();
    for (subject, registrations) in users {
        answered.extend(Box::pin(handle_subject(guardrail, subject, registrations, task)).await);
    }
    Ok(answered)
}

/// What is named, as far as it is a bucket's, with the documents of all that use it.
async fn users(
    guardrail: &Guardrail,
    named: &Named,
    task: &Task,
) -> Result<BTreeMap<Subject, Vec<Registration>>, ApiError> {
    let region = guardrail.config.region.as_str();
    let mut users: BTreeMap<Subject, Vec<Registration>> = BTreeMap::new();
    for registration in registrations(guardrail, named, task).await? {
        for subject in named.subjects(&registration, region) {
            users.entry(subject).or_default().push(registration.clone());
        }
    }
    for (subject, users) in &mut users {
        if let Some(by_arn) = Named::by_arn(subject).filter(|it| !named.leads_to_all(it, region)) {
            *users = registrations(guardrail, &by_arn, task).await?;
        }
    }
    Ok(users)
}

/// The documents of the buckets that use what is named.
async fn registrations(guardrail: &Guardrail, named: &Named, task: &Task) -> Result<Vec<Registration>, ApiError> {
    let Guardrail { ssm, config, .. } = guardrail;
    let names = named.entries(&config.region);
    let failed = !task.errand.events.is_empty() && task.errand.events.iter().all(|it| it.trigger.error_code.is_some());
    let found = match uses::read(ssm, &names).await {
        Ok(index) => where_users_are(&index, guardrail.clock.now(), failed),
        Err(error) => {
            tracing::warn!(%error, "the index of the registry");
            Where::Registry
        }
    };
    let is_user = |it: &Registration| !named.subjects(it, &config.region).is_empty();
    if let Where::In(buckets) = &found {
        let registrations = of_buckets(guardrail, buckets).await?;
        let users: Vec<_> = registrations.into_iter().filter(is_user).collect();
        if !users.is_empty() || failed {
            return Ok(users);
        }
    }
    match found {
        Where::Nowhere => Ok(Vec::new()),
        // What the index names and no document does is of yesterday.
        Where::In(_) | Where::Registry => all(guardrail, is_user).await,
    }
}

/// A document that is not valid is the sweep's to tell.
async fn of_buckets(guardrail: &Guardrail, buckets: &BTreeSet<BucketName>) -> Result<Vec<Registration>, ApiError> {
    let buckets: Vec<_> = buckets.iter().cloned().collect();
    let mut registrations = Vec::new();
    for buckets in buckets.chunks(10) {
        let documents = registry::read_all(&guardrail.ssm, &guardrail.config.parameter_prefix, buckets).await?;
        for document in documents.into_values() {
            match document {
                Ok(registration) => registrations.extend(registration),
                Err(error) => tracing::warn!(%error, "passed over"),
            }
        }
    }
    Ok(registrations)
}

/// The registered buckets that `wanted` accepts.
async fn all(guardrail: &Guardrail, wanted: impl Fn(&Registration) -> bool) -> Result<Vec<Registration>, ApiError> {
    let mut found = Vec::new();
    let mut token = None;
    loop {
        let next_page = Instant::now() + BETWEEN_PAGES;
        let (parameters, next) = registry::page(&guardrail.ssm, &guardrail.config.parameter_prefix, token).await?;
        for parameter in parameters {
            let Ok(bucket) = parameter.bucket else { continue };
            match Registration::parse(&parameter.document, &bucket) {
                Ok(registration) if wanted(&registration) => found.push(registration),
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "passed over"),
            }
        }
        match next {
            Some(_) => token = next,
            None => return Ok(found),
        }
        sleep_until(next_page).await;
    }
}

/// One look at a subject, and one message.
async fn handle_subject(
    guardrail: &Guardrail,
    subject: Subject,
    mut registrations: Vec<Registration>,
    task: &Task,
) -> Option<Answered> {
    let started = Instant::now();
    let mut page = Page::none(guardrail);
    let mut looked = look(guardrail, &subject, &registrations, task, &mut page).await?;
    for _ in 1..TRIES {
        if !looked.iter().any(|(_, report)| report.is_outdated) {
            break;
        }
        let buckets = registrations.iter().map(|it| it.bucket.clone()).collect();
        // What cannot be read is tried again with the message.
        let Ok(anew) = of_buckets(guardrail, &buckets).await else { break };
        registrations = anew;
        looked = look(guardrail, &subject, &registrations, task, &mut page).await?;
    }
    let groups: Vec<_> = looked.iter().map(|(group, report)| (group.buckets.clone(), report.clone())).collect();
    let is_written = |it: &Report| it.findings.iter().any(|it| it.written.is_some());
    let recorded = looked.iter().find(|(_, report)| is_written(report)).or(looked.first());
    let registration = recorded.map(|(group, _)| group.registration.clone());
    let (_, whole) = looked.into_iter().reduce(|(group, one), (_, other)| (group, one.and(other)))?;
    let bucket: BucketName = whole.buckets.first()?.clone();
    let whole = Report { subject: Some(subject.clone()), ..whole };
    let looked = Looked { report: whole, registration };
    let report = report(guardrail, &bucket, task, started, looked, page).await;
    Some(Answered { subject, report, groups })
}

/// Looks for one group after the other, so that each finds what was restored for the one before. `None`: nobody uses it.
async fn look<'a>(
    guardrail: &'a Guardrail,
    subject: &Subject,
    registrations: &[Registration],
    task: &Task,
    page: &mut Page<'a>,
) -> Option<Vec<(Group, Report)>> {
    let control = shared::control(subject)?;
    let scope = if control == Control::KmsKey { Scope::KMS_KEY } else { Scope::TRAIL };
    let (owner, now) = (guardrail.config.account(), guardrail.clock.now());
    let groups = groups(subject, registrations.to_vec(), &owner, &guardrail.config.role, now);
    let mut known = Known::default();
    let mut looked: Vec<(Group, Report)> = Vec::new();
    for group in groups {
        let bucket = &group.registration.bucket;
        let at = guardrail.clock.now();
        let reads = async {
            tokio::join!(known.look(guardrail, bucket, &group.baseline, scope, task), async {
                if page.is_none() && !task.errand.is_dry_run() {
                    *page = Page::open(guardrail, subject, None).await;
                }
            })
        };
        let report = match Box::pin(reads).await.0 {
            Err(report) => report,
            Ok(observation) => {
                let seen = Seen { observation, at, by_earlier_document: false };
                let restored = known.restore(guardrail, &group.baseline, &group.registration, seen, task, page);
                Box::pin(restored).await
            }
        };
        let mut report = Report { buckets: group.buckets.clone(), ..report };
        for finding in &mut report.findings {
            finding.note = group.note().or(finding.note.take());
        }
        looked.push((group, report));
    }
    Some(looked).filter(|it| !it.is_empty())
}

impl Answered {
    /// The same for each of its buckets.
    pub(super) fn of_buckets(self) -> impl Iterator<Item = Report> {
        let Self { report: whole, groups, .. } = self;
        groups.into_iter().flat_map(move |(buckets, report)| {
            let of_group = Report {
                outcome: report.outcome,
                findings: report.findings,
                hindrances: report.hindrances,
                exposures: report.exposures,
                buckets: Vec::new(),
                ..whole.clone()
            };
            buckets.into_iter().map(move |it| Report { bucket: it.to_string(), ..of_group.clone() })
        })
    }

    /// The subject as people call it.
    pub(super) fn part(&self) -> String {
        let (control, arn) = match &self.subject {
            Subject::Key(key) => (Control::KmsKey.id(), key.as_str()),
            Subject::Trail(trail) => (Control::Trail.id(), trail.as_str()),
            Subject::Bucket(bucket) => ("bucket", bucket.as_str()),
            Subject::Guardrail => ("guardrail", ""),
        };
        format!("{control} {}", Arn::parse(arn).map_or(arn, |it| it.resource))
    }
}
