//! `guardrail teardown`: takes a bucket down in the order that loses nothing that was not named.
//!
//! [`plan`] decides from what was found, and does no I/O; what it says is what is shown, and what is done.

mod empty;

use std::{
    cell::Cell,
    fmt,
    io::{self, IsTerminal as _, Write as _},
    time::Instant,
};

use guardrail::{api, store::registry};
use guardrail_core::{
    control::inventory::INVENTORY_ID,
    edge::registry::{COPIES, Registration, RegistryError},
    value::{
        failure::ApiError,
        names::{BucketName, KeyAlias, KeyArn, TrailArn},
    },
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::empty::Contents;
use crate::{
    Exit,
    args::TeardownArguments,
    diff::{CHANGED, REMOVED, painted},
    error::{CliError, next_step},
    list,
    session::Session,
};

/// Where a registry document stays from its removal until nothing is left, so that another run knows what there is.
const NOTES: &str = "/s3-guardrail/teardown/";

/// What there is.
#[derive(Clone, Debug)]
struct Found {
    bucket: BucketName,
    /// `None`: the bucket was never guarded.
    registration: Option<Registration>,
    /// The guardrail still keeps it.
    registered: bool,
    /// Other registry documents; `None`: not valid, so that it may be about anything.
    others: Vec<(String, Option<Registration>)>,
    trails: Vec<Trail>,
    region: String,
    /// `None`: it could not be looked up, and need not be.
    key: Option<Key>,
    /// Every bucket that is to be deleted; `None`: it does not exist.
    buckets: Vec<(BucketName, Option<Contents>)>,
    /// Those beside the guarded one that are there, and stay.
    kept: Vec<BucketName>,
}

/// A trail of this region, or one that is shown in it.
#[derive(Clone, Debug)]
struct Trail {
    arn: String,
    home: String,
    delivers_to: String,
}

#[derive(Clone, Copy, Debug)]
struct Key {
    pending_deletion: bool,
    /// The alias is there, and points at it.
    has_alias: bool,
}

/// What is done, in this order, and what is left in the end.
#[derive(Debug)]
struct Plan {
    steps: Vec<Step>,
    left: Vec<String>,
}

#[derive(Debug)]
enum Step {
    Unregister(BucketName),
    DeleteTrail(TrailArn),
    DeleteInventory(BucketName),
    DeleteBucket(BucketName, Contents),
    DeleteAlias(KeyAlias),
    ScheduleKeyDeletion { key: KeyArn, days: i32, encrypted: Vec<BucketName> },
}

pub(crate) async fn run(session: &Session, arguments: &TeardownArguments) -> Result<Exit, CliError> {
    let bucket = &arguments.bucket;
    let refused = |problem: String| CliError::Refused { bucket: bucket.clone(), problem };
    match &arguments.yes_delete {
        Some(name) if name != bucket.as_str() => {
            return Err(refused(format!("--yes-delete names another bucket, `{name}`")));
        }
        None if !arguments.dry_run && !io::stdin().is_terminal() => {
            return Err(refused(format!("nobody is there to be asked: give --yes-delete {bucket}, or --dry-run")));
        }
        _ => {}
    }
    let found = find(session, arguments).await?;
    let plan = plan(&found, arguments).map_err(refused)?;
    session.print(&text(&found, &plan, &session.guardrail.config.parameter_prefix))?;
    if arguments.dry_run {
        return Ok(Exit::Compliant);
    }
    if !plan.steps.is_empty() && arguments.yes_delete.is_none() && !confirmed(bucket)? {
        return Err(refused("that is not its name".to_owned()));
    }
    for step in &plan.steps {
        carry_out(session, found.registration.as_ref(), step).await?;
    }
    // As long as something is left, a later run has to know what.
    if found.registration.is_some() && plan.left.is_empty() {
        let forgotten = registry::delete(&session.guardrail.ssm, NOTES, bucket).await;
        forgotten.map_err(|error| stopped(&format!("the parameter {NOTES}{bucket} was not deleted"), &error))?;
    }
    session.print(&done(bucket, &plan))?;
    Ok(Exit::Compliant)
}

/// Asks for the bucket's name.
fn confirmed(bucket: &BucketName) -> io::Result<bool> {
    let mut prompt = anstream::stderr().lock();
    write!(prompt, "\nThis cannot be undone. Type the bucket's name to delete it: ")?;
    prompt.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == bucket.as_str())
}

/// Looks at everything that the plan is made of.
async fn find(session: &Session, arguments: &TeardownArguments) -> Result<Found, CliError> {
    let bucket = &arguments.bucket;
    let guardrail = &session.guardrail;
    let refused = |problem: String| CliError::Refused { bucket: bucket.clone(), problem };
    let registered = registry::read(&guardrail.ssm, &guardrail.config.parameter_prefix, bucket).await?;
    let (registration, registered) = match registered {
        Some(registration) => (Some(registration), true),
        None => (registry::read(&guardrail.ssm, NOTES, bucket).await?, false),
    };
    if registration.is_none() {
        // A wrong name is told before a missing flag.
        session.reachable(bucket).await?;
        if !arguments.unregistered {
            return Err(CliError::NotRegistered(bucket.clone()));
        }
    }
    if registration.as_ref().is_some_and(|it| it.account != session.account) {
        let problem = format!("its registry document is about another account than yours, {}", session.account);
        return Err(refused(problem));
    }
    let mut others = list::documents(session).await?;
    others.retain(|(name, _)| name != bucket.as_str());
    let others = others.into_iter().map(|(name, document)| {
        let registration = list::parse(&name, &document).ok();
        (name, registration)
    });
    let trails = guardrail.cloudtrail.describe_trails().include_shadow_trails(true).send().await;
    let trails = api::output("DescribeTrails", trails).map_err(CliError::NotFoundOut)?.trail_list.unwrap_or_default();
    let trails = trails.into_iter().map(|it| Trail {
        arn: it.trail_arn.unwrap_or_default(),
        home: it.home_region.unwrap_or_default(),
        delivers_to: it.s3_bucket_name.unwrap_or_default(),
    });
    let key = match &registration {
        Some(registration) => match key(session, registration).await {
            Err(error) if arguments.key_deletion_days.is_some() => return Err(CliError::NotFoundOut(error)),
            looked => looked.ok(),
        },
        None => None,
    };
    let (mut buckets, mut kept) = (Vec::new(), Vec::new());
    for name in all_buckets(bucket, registration.as_ref())? {
        let reached = session.reachable(&name).await;
        match reached {
            Err(CliError::NoBucket { .. }) if name == *bucket => buckets.push((name, None)),
            Err(CliError::NoBucket { .. }) => {}
            _ if name != *bucket && !arguments.logs => kept.push(name),
            Ok(()) => {
                let contents = empty::count(&guardrail.s3, &name).await.map_err(CliError::NotFoundOut)?;
                buckets.push((name, Some(contents)));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Found {
        bucket: bucket.clone(),
        registration,
        registered,
        others: others.collect(),
        trails: trails.collect(),
        region: guardrail.config.region.clone(),
        key,
        buckets,
        kept,
    })
}

/// The bucket, and those that only its registry document knows.
fn all_buckets(bucket: &BucketName, registration: Option<&Registration>) -> Result<Vec<BucketName>, RegistryError> {
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

async fn key(session: &Session, registration: &Registration) -> Result<Key, ApiError> {
    let (kms, arn) = (&session.guardrail.kms, registration.key_arn.as_str());
    let described = api::output("DescribeKey", kms.describe_key().key_id(arn).send().await)?;
    let state = described.key_metadata.and_then(|it| it.key_state);
    let mut has_alias = false;
    let mut pages = kms.list_aliases().key_id(arn).into_paginator().send();
    while let Some(page) = pages.next().await {
        let aliases = api::output("ListAliases", page)?.aliases.unwrap_or_default();
        let alias = registration.key_alias.as_ref().map(KeyAlias::as_str);
        has_alias |= alias.is_some() && aliases.iter().any(|it| it.alias_name() == alias);
    }
    let pending = ["PendingDeletion", "PendingReplicaDeletion"];
    Ok(Key { pending_deletion: state.is_some_and(|it| pending.contains(&it.as_str())), has_alias })
}

/// What is done about what was found; an error when something speaks against it.
fn plan(found: &Found, arguments: &TeardownArguments) -> Result<Plan, String> {
    let TeardownArguments { trail, logs, key_deletion_days, .. } = arguments;
    let Some(registration) = &found.registration else {
        if *trail || *logs || key_deletion_days.is_some() {
            return Err("which trail, logs and key are its own, only a registry document says".to_owned());
        }
        check_buckets(found, None)?;
        let steps = delete_buckets(found).collect();
        return Ok(Plan { steps, left: Vec::new() });
    };
    let bucket = &found.bucket;
    let known = |arn: &TrailArn| found.trails.iter().find(|it| it.arn == arn.as_str());
    let trail_arn = registration.trail_arn.as_ref().filter(|it| known(it).is_some());
    let going_trail = trail_arn.filter(|_| *trail);
    check_buckets(found, going_trail)?;
    if let Some(arn) = going_trail {
        unused(found, "the trail", arn.as_str(), |it| it.trail_arn.as_ref() == Some(arn))?;
        if let Some(home) = known(arn).map(|it| &it.home).filter(|it| **it != found.region) {
            return Err(format!("the trail {arn} is at home in {home}, and can only be deleted there"));
        }
    }
    let key = &registration.key_arn;
    if key_deletion_days.is_some() {
        unused(found, "the key", key.as_str(), |it| it.key_arn == *key)?;
    }

    let mut steps = Vec::new();
    if found.registered {
        steps.push(Step::Unregister(bucket.clone()));
    }
    steps.extend(going_trail.cloned().map(Step::DeleteTrail));
    if found.buckets.iter().any(|(name, contents)| name == bucket && contents.is_some()) {
        steps.push(Step::DeleteInventory(bucket.clone()));
    }
    steps.extend(delete_buckets(found));
    if let (Some(days), Some(state)) = (key_deletion_days, found.key) {
        if state.has_alias {
            steps.extend(registration.key_alias.clone().map(Step::DeleteAlias));
        }
        if !state.pending_deletion {
            let encrypted = all_buckets(bucket, Some(registration)).map_err(|error| error.to_string())?;
            steps.push(Step::ScheduleKeyDeletion { key: key.clone(), days: *days, encrypted });
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

fn delete_buckets(found: &Found) -> impl Iterator<Item = Step> {
    let there = found.buckets.iter().filter_map(|(name, contents)| Some((name.clone(), contents.clone()?)));
    there.map(|(name, contents)| Step::DeleteBucket(name, contents))
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

fn text(found: &Found, plan: &Plan, prefix: &str) -> String {
    let bucket = &found.bucket;
    let mut text = match (&found.registration, found.registered) {
        (None, _) => format!("{bucket}  not guarded\n"),
        (Some(_), true) => format!("{bucket}  guarded\n"),
        (Some(_), false) => format!("{bucket}  an earlier teardown goes on\n"),
    };
    for step in &plan.steps {
        text.push_str(&format!("  {}\n", painted(REMOVED, &format!("- {step}"))));
        if let Step::Unregister(bucket) = step {
            text.push_str(&format!(
                "      {prefix}{bucket}: from then on nothing is restored\n      The guardrail tells of this as TAMPERED: \
                 that alert is expected\n"
            ));
        }
    }
    text.extend(plan.left.iter().map(|it| format!("    stays: {it}\n")));
    text
}

fn done(bucket: &BucketName, plan: &Plan) -> String {
    let mut text = format!("{bucket} is gone\n");
    text.extend(plan.left.iter().map(|it| format!("  left: {}\n", painted(CHANGED, it))));
    if !plan.left.is_empty() {
        text.push_str(&format!(
            "  The registry document is kept as {NOTES}{bucket}, so that `guardrail teardown {bucket}` can delete these later\n"
        ));
    }
    text
}

impl fmt::Display for Step {
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

async fn carry_out(session: &Session, registration: Option<&Registration>, step: &Step) -> Result<(), CliError> {
    let guardrail = &session.guardrail;
    let failed = |error: ApiError| stopped(&format!("not deleted: {step}"), &error);
    let mut note = String::new();
    match step {
        Step::Unregister(bucket) => {
            if let Some(registration) = registration {
                registry::write(&guardrail.ssm, NOTES, registration).await.map_err(failed)?;
            }
            // The copy first: of a document without one, nobody is told that it is gone.
            registry::delete(&guardrail.ssm, COPIES, bucket).await.map_err(failed)?;
            registry::delete(&guardrail.ssm, &guardrail.config.parameter_prefix, bucket).await.map_err(failed)?;
        }
        Step::DeleteTrail(trail) => {
            // What is still on its way is delivered, not lost.
            let stop = guardrail.cloudtrail.stop_logging().name(trail.as_str()).send().await;
            api::unless_absent("StopLogging", stop, "TrailNotFoundException").map_err(failed)?;
            let delete = guardrail.cloudtrail.delete_trail().name(trail.as_str()).send().await;
            api::unless_absent("DeleteTrail", delete, "TrailNotFoundException").map_err(failed)?;
        }
        Step::DeleteInventory(bucket) => {
            let delete = guardrail.s3.delete_bucket_inventory_configuration().bucket(bucket.as_str()).id(INVENTORY_ID);
            let sent = delete.send().await;
            api::unless_absent("DeleteBucketInventoryConfiguration", sent, "NoSuchConfiguration").map_err(failed)?;
        }
        Step::DeleteBucket(bucket, contents) => note = delete_bucket(session, bucket, contents).await?,
        Step::DeleteAlias(alias) => {
            let delete = guardrail.kms.delete_alias().alias_name(alias.as_str()).send().await;
            api::unless_absent("DeleteAlias", delete, "NotFoundException").map_err(failed)?;
        }
        Step::ScheduleKeyDeletion { key, days, .. } => {
            let schedule = guardrail.kms.schedule_key_deletion().key_id(key.as_str()).pending_window_in_days(*days);
            api::output("ScheduleKeyDeletion", schedule.send().await).map_err(failed)?;
            note = format!("; until then `aws kms cancel-key-deletion --key-id {key}` keeps it");
        }
    }
    let name = match step {
        Step::DeleteBucket(bucket, _) => format!("bucket {bucket}"),
        Step::ScheduleKeyDeletion { key, days, .. } => format!("key {key}, in {days} days"),
        step => step.to_string(),
    };
    session.print(&format!("deleted: {name}{note}\n"))?;
    Ok(())
}

/// Deletes a bucket with a bar about it; how fast that was.
async fn delete_bucket(session: &Session, bucket: &BucketName, contents: &Contents) -> Result<String, CliError> {
    let total = contents.versions + contents.markers;
    let bar = if contents.more { ProgressBar::no_length() } else { ProgressBar::new(total as u64) };
    bar.set_draw_target(ProgressDrawTarget::stderr());
    let template = if contents.more {
        "{spinner} {human_pos} versions {wide_msg}"
    } else {
        "{bar:30} {human_pos}/{human_len} versions, {eta} left {wide_msg}"
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(bucket.to_string());
    let (begin, deleted) = (Instant::now(), Cell::new(0_usize));
    let count = |versions: usize| {
        deleted.set(deleted.get() + versions);
        bar.inc(versions as u64);
    };
    let result = empty::delete_bucket(&session.guardrail.s3, bucket, count).await;
    bar.finish_and_clear();
    match result {
        Ok(()) => Ok(format!(", {} versions in {:.1} s", deleted.get(), begin.elapsed().as_secs_f64())),
        Err(empty::EmptyError::Api(error)) => Err(stopped(&format!("not deleted: bucket {bucket}"), &error)),
        Err(error @ empty::EmptyError::Kept(_)) => {
            Err(CliError::Stopped { what: format!("not deleted: bucket {bucket}"), problem: error.to_string() })
        }
    }
}

fn stopped(what: &str, error: &ApiError) -> CliError {
    CliError::Stopped { what: what.to_owned(), problem: format!("{error}{}", next_step(error)) }
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

    fn only() -> TeardownArguments {
        TeardownArguments {
            bucket: name("acme-data"),
            trail: false,
            logs: false,
            key_deletion_days: None,
            unregistered: false,
            dry_run: false,
            yes_delete: None,
        }
    }

    fn all() -> TeardownArguments {
        TeardownArguments { trail: true, logs: true, key_deletion_days: Some(7), ..only() }
    }

    fn shown(found: &Found, arguments: &TeardownArguments) -> String {
        let plan = plan(found, arguments).unwrap();
        anstream::adapter::strip_str(&text(found, &plan, "/p/")).to_string()
    }

    #[test]
    fn what_is_not_named_stays() {
        expect![[r#"
            acme-data  guarded
              - registry document of acme-data
                  /p/acme-data: from then on nothing is restored
                  The guardrail tells of this as TAMPERED: that alert is expected
              - inventory configuration encryption-and-replication of acme-data
              - bucket acme-data: 3000 versions, 1 delete marker, 2 unfinished uploads
                stays: arn:aws:cloudtrail:eu-west-2:111122223333:trail/acme-data-trail: goes on logging (--trail)
                stays: acme-data-logs: log bucket, with all logs and evidence (--logs)
                stays: acme-data-inventory: inventory bucket, with all reports (--logs)
                stays: arn:aws:kms:eu-west-2:111122223333:key/k: what it encrypted stays readable (--key-deletion-days)
        "#]]
        .assert_eq(&shown(&found(), &only()));
    }

    #[test]
    fn the_trail_stops_before_its_bucket_goes_and_the_key_goes_last() {
        expect![[r#"
            acme-data  guarded
              - registry document of acme-data
                  /p/acme-data: from then on nothing is restored
                  The guardrail tells of this as TAMPERED: that alert is expected
              - trail arn:aws:cloudtrail:eu-west-2:111122223333:trail/acme-data-trail
              - inventory configuration encryption-and-replication of acme-data
              - bucket acme-data: 3000 versions, 1 delete marker, 2 unfinished uploads
              - bucket acme-data-logs: at least 3000 versions, 1 delete marker, 2 unfinished uploads
              - bucket acme-data-inventory: at least 3000 versions, 1 delete marker, 2 unfinished uploads
              - alias/s3-secure-data
              - key arn:aws:kms:eu-west-2:111122223333:key/k, in 7 days: from now on nobody can read what it encrypted in acme-data, acme-data-logs, acme-data-inventory, or elsewhere
        "#]]
        .assert_eq(&shown(&with_logs(), &all()));
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
            acme-data  an earlier teardown goes on
              - bucket acme-data-inventory: 3000 versions, 1 delete marker, 2 unfinished uploads
        "#]]
        .assert_eq(&shown(&found, &all()));
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
        for (found, arguments, problem) in [
            (Found { others: other(|it| it.trail_arn = TRAIL.parse().ok()), ..with_logs() }, all(), "needs the trail"),
            (Found { others: other(|it| it.key_arn = KEY.parse().unwrap()), ..with_logs() }, all(), "needs the key"),
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
            (Found { registration: None, ..found() }, all(), "only a registry document says"),
        ] {
            let error = plan(&found, &arguments).unwrap_err();
            assert!(error.contains(problem), "{problem}: {error}");
        }
        let others = other(|_| {});
        assert!(plan(&Found { others, ..with_logs() }, &all()).is_ok());
        // Nothing that is shared goes, so that it does not matter what the other document says.
        assert!(plan(&Found { others: vec![("broken".to_owned(), None)], ..found() }, &only()).is_ok());
    }
}
