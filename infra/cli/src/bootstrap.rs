//! `guardrail bootstrap`: what the function of that name does, with the caller's credentials.

use guardrail::{
    bootstrap::{self, Action, Request, Resource, Swap},
    names::BucketName,
    registry::{self, Registration},
};

use crate::{
    Exit,
    args::BootstrapArguments,
    diff::{ADDED, CHANGED, painted},
    error::CliError,
    output,
    session::Session,
};

pub(crate) async fn run(session: &Session, arguments: BootstrapArguments) -> Result<Exit, CliError> {
    let BootstrapArguments {
        bucket,
        key_alias,
        key,
        key_administrator: key_administrators,
        key_user: key_users,
        log_bucket,
        inventory_bucket,
        trail,
        inventory_format,
        zero_spend_budget,
        dry_run,
        json,
    } = arguments;
    let request = Request {
        bucket,
        key_alias,
        key,
        key_administrators,
        key_users,
        log_bucket,
        inventory_bucket,
        trail,
        inventory_format,
        zero_spend_budget,
        dry_run,
    };
    all_reachable(session, &request).await?;
    let built = bootstrap::run(&session.guardrail, request).await?;
    if json {
        output::print_json(&built)?;
    } else {
        let mut text = output::report(&built.report, "");
        text.extend(built.resources.iter().map(|it| line(it, dry_run)));
        text.extend(built.swapped.iter().map(|it| exchanged(it, dry_run)));
        output::print(&text)?;
    }
    Ok(Exit::of(&built.report))
}

/// Refuses buckets that are somebody else's or elsewhere before the first of them is written.
async fn all_reachable(session: &Session, request: &Request) -> Result<(), CliError> {
    let Request { bucket, log_bucket, inventory_bucket, .. } = request;
    let config = &session.guardrail.config;
    let registered = registry::read(&session.guardrail.ssm, &config.parameter_prefix, bucket).await?;
    let named = |given: &Option<BucketName>, registered: Option<BucketName>, suffix| {
        given.clone().or(registered).or_else(|| format!("{bucket}-{suffix}").parse().ok())
    };
    let of = |field: fn(&Registration) -> Option<BucketName>| registered.as_ref().and_then(field);
    let buckets = [
        Some(bucket.clone()),
        named(log_bucket, of(|it| it.log_bucket.clone()), "logs"),
        named(inventory_bucket, of(|it| it.inventory.bucket.clone()), "inventory"),
    ];
    for bucket in buckets.into_iter().flatten() {
        match session.observe(&bucket).await {
            Ok(_) | Err(CliError::NoBucket { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn exchanged(swap: &Swap, dry_run: bool) -> String {
    let Swap { field, from, to } = swap;
    let what = if dry_run { "would be exchanged" } else { "exchanged" };
    let text = format!("~ {field} {what}: {from} -> {}", to.as_deref().unwrap_or("none"));
    format!("  {}\n", painted(CHANGED, &text))
}

fn line(resource: &Resource, dry_run: bool) -> String {
    let (style, sign, action) = match (resource.action, dry_run) {
        (Action::Created, false) => (ADDED, '+', "created"),
        (Action::Created, true) => (ADDED, '+', "would be created"),
        (Action::Adopted, false) => (CHANGED, '~', "completed"),
        (Action::Adopted, true) => (CHANGED, '~', "would be completed"),
        (Action::Unchanged, _) => (anstyle::Style::new().dimmed(), ' ', "unchanged"),
    };
    let note = resource.note.as_ref().map(|it| format!("    {it}\n")).unwrap_or_default();
    format!("  {}\n{note}", painted(style, &format!("{sign} {} {}: {action}", resource.r#type, resource.id)))
}
