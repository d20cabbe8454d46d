//! `guardrail teardown`: takes a bucket down. What [`plan`] decides is what is shown, and what is done.

mod empty;

use std::{
    cell::Cell,
    io::{self, IsTerminal as _},
    time::Instant,
};

use guardrail::{api, store::registry};
use guardrail_core::{
    control::inventory::INVENTORY_ID,
    decide::teardown::{Asked, Contents, Found, Key, Plan, Removal, Trail, all_buckets, plan},
    edge::registry::{COPIES, Registration},
    value::{
        failure::ApiError,
        names::{BucketName, KeyAlias},
    },
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    Exit,
    args::TeardownArguments,
    diff::{CHANGED, REMOVED, painted},
    error::{CliError, next_step},
    list, output,
    session::Session,
};

/// What makes sure that it is meant.
const NAME_IT: &str = "\nThis cannot be undone. Type the bucket's name to delete it: ";

/// Where a registry document stays from its removal until nothing is left, so that another run knows what there is.
const NOTES: &str = "/s3-guardrail/teardown/";

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
    let plan = plan(&found, asked(arguments)).map_err(refused)?;
    session.print(&text(&found, &plan, &session.guardrail.config.parameter_prefix))?;
    if arguments.dry_run {
        return Ok(Exit::Compliant);
    }
    if !plan.steps.is_empty() && arguments.yes_delete.is_none() && !output::confirmed(NAME_IT, bucket.as_str())? {
        return Err(refused("that is not its name".to_owned()));
    }
    for step in &plan.steps {
        remove(session, found.registration.as_ref(), step).await?;
    }
    // As long as something is left, a later run has to know what.
    if found.registration.is_some() && plan.left.is_empty() {
        let forgotten = registry::delete(&session.guardrail.ssm, NOTES, bucket).await;
        forgotten.map_err(|error| stopped(&format!("the parameter {NOTES}{bucket} was not deleted"), &error))?;
    }
    session.print(&done(bucket, &plan))?;
    Ok(Exit::Compliant)
}

fn asked(arguments: &TeardownArguments) -> Asked {
    let TeardownArguments { trail, logs, key_deletion_days, .. } = arguments;
    Asked { trail: *trail, logs: *logs, key_deletion_days: *key_deletion_days }
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

fn text(found: &Found, plan: &Plan, prefix: &str) -> String {
    let bucket = &found.bucket;
    let mut text = match (&found.registration, found.registered) {
        (None, _) => format!("{bucket}  not guarded\n"),
        (Some(_), true) => format!("{bucket}  guarded\n"),
        (Some(_), false) => format!("{bucket}  an earlier teardown goes on\n"),
    };
    for step in &plan.steps {
        text.push_str(&format!("  {}\n", painted(REMOVED, &format!("- {step}"))));
        if let Removal::Unregister(bucket) = step {
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

async fn remove(session: &Session, registration: Option<&Registration>, step: &Removal) -> Result<(), CliError> {
    let guardrail = &session.guardrail;
    let failed = |error: ApiError| stopped(&format!("not deleted: {step}"), &error);
    let mut note = String::new();
    match step {
        Removal::Unregister(bucket) => {
            if let Some(registration) = registration {
                registry::write(&guardrail.ssm, NOTES, registration).await.map_err(failed)?;
            }
            // The copy first: of a document without one, nobody is told that it is gone.
            registry::delete(&guardrail.ssm, COPIES, bucket).await.map_err(failed)?;
            registry::delete(&guardrail.ssm, &guardrail.config.parameter_prefix, bucket).await.map_err(failed)?;
        }
        Removal::DeleteTrail(trail) => {
            // What is still on its way is delivered, not lost.
            let stop = guardrail.cloudtrail.stop_logging().name(trail.as_str()).send().await;
            api::unless_absent("StopLogging", stop, "TrailNotFoundException").map_err(failed)?;
            let delete = guardrail.cloudtrail.delete_trail().name(trail.as_str()).send().await;
            api::unless_absent("DeleteTrail", delete, "TrailNotFoundException").map_err(failed)?;
        }
        Removal::DeleteInventory(bucket) => {
            let delete = guardrail.s3.delete_bucket_inventory_configuration().bucket(bucket.as_str()).id(INVENTORY_ID);
            let sent = delete.send().await;
            api::unless_absent("DeleteBucketInventoryConfiguration", sent, "NoSuchConfiguration").map_err(failed)?;
        }
        Removal::DeleteBucket(bucket, contents) => note = delete_bucket(session, bucket, contents).await?,
        Removal::DeleteAlias(alias) => {
            let delete = guardrail.kms.delete_alias().alias_name(alias.as_str()).send().await;
            api::unless_absent("DeleteAlias", delete, "NotFoundException").map_err(failed)?;
        }
        Removal::ScheduleKeyDeletion { key, days, .. } => {
            let schedule = guardrail.kms.schedule_key_deletion().key_id(key.as_str()).pending_window_in_days(*days);
            api::output("ScheduleKeyDeletion", schedule.send().await).map_err(failed)?;
            note = format!("; until then `aws kms cancel-key-deletion --key-id {key}` keeps it");
        }
    }
    let name = match step {
        Removal::DeleteBucket(bucket, _) => format!("bucket {bucket}"),
        Removal::ScheduleKeyDeletion { key, days, .. } => format!("key {key}, in {days} days"),
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

    #[test]
    fn the_plan_says_what_goes_and_what_stays() {
        let bucket: BucketName = "acme-data".parse().unwrap();
        let key = "arn:aws:kms:eu-west-2:111122223333:key/k".parse().unwrap();
        let registration = Registration::new(bucket.clone(), "111122223333".parse().unwrap(), key);
        let contents = Contents { versions: 3000, markers: 1, uploads: 2, ..Contents::default() };
        let found = Found {
            bucket: bucket.clone(),
            registration: Some(registration),
            registered: true,
            others: Vec::new(),
            trails: Vec::new(),
            region: "eu-west-2".to_owned(),
            key: Some(Key { pending_deletion: false, has_alias: true }),
            buckets: vec![(bucket, Some(contents))],
            kept: Vec::new(),
        };
        let plan = plan(&found, Asked::default()).unwrap();
        expect![[r#"
            acme-data  guarded
              - registry document of acme-data
                  /p/acme-data: from then on nothing is restored
                  The guardrail tells of this as TAMPERED: that alert is expected
              - inventory configuration encryption-and-replication of acme-data
              - bucket acme-data: 3000 versions, 1 delete marker, 2 unfinished uploads
                stays: arn:aws:kms:eu-west-2:111122223333:key/k: what it encrypted stays readable (--key-deletion-days)
        "#]]
        .assert_eq(&anstream::adapter::strip_str(&text(&found, &plan, "/p/")).to_string());
    }
}
