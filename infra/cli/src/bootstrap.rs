//! `guardrail bootstrap`: what the function of that name does, with the caller's credentials.

use guardrail::{
    bootstrap::{self, Action, Request, Resource},
    names::BucketName,
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
        output::print(&text)?;
    }
    Ok(Exit::of(&built.report))
}

/// Refuses buckets that are somebody else's or elsewhere before the first of them is written.
async fn all_reachable(session: &Session, request: &Request) -> Result<(), CliError> {
    let Request { bucket, log_bucket, inventory_bucket, .. } = request;
    let derived =
        |given: &Option<BucketName>, suffix| given.clone().or_else(|| format!("{bucket}-{suffix}").parse().ok());
    let buckets = [Some(bucket.clone()), derived(log_bucket, "logs"), derived(inventory_bucket, "inventory")];
    for bucket in buckets.into_iter().flatten() {
        match session.observe(&bucket).await {
            Ok(_) | Err(CliError::NoBucket { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn line(resource: &Resource, dry_run: bool) -> String {
    let (style, sign, action) = match (resource.action, dry_run) {
        (Action::Created, false) => (ADDED, '+', "created"),
        (Action::Created, true) => (ADDED, '+', "would be created"),
        (Action::Adopted, false) => (CHANGED, '~', "completed"),
        (Action::Adopted, true) => (CHANGED, '~', "would be completed"),
        (Action::Unchanged, _) => (anstyle::Style::new().dimmed(), ' ', "unchanged"),
    };
    let note = resource.note.map(|it| format!("    {it}\n")).unwrap_or_default();
    format!("  {}\n{note}", painted(style, &format!("{sign} {} {}: {action}", resource.r#type, resource.id)))
}
