//! `guardrail bootstrap`: what the function of that name does, with the caller's credentials.

use guardrail::{store::registry, work::bootstrap};
use guardrail_core::{
    decide::setup::{Action, Request, Resource},
    edge::registry::Registration,
    outcome::swap::Swap,
    value::names::BucketName,
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
        accept,
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
        accept,
        dry_run,
    };
    all_reachable(session, &request).await?;
    let built = bootstrap::run(&session.guardrail, request).await?;
    if json {
        session.print_json(&built)?;
    } else {
        let mut text = output::report(&built.report, "");
        text.extend(built.resources.iter().map(|it| line(it, dry_run)));
        text.extend(built.swapped.iter().map(|it| exchanged(it, dry_run)));
        text.push_str(&output::adoption(&built.adoption));
        session.print(&text)?;
    }
    let would_change = built.resources.iter().any(|it| it.action != Action::Unchanged);
    Ok(match Exit::from_report(&built.report) {
        // As it would end without.
        _ if dry_run && built.adoption.stops() => Exit::Error,
        Exit::Compliant if dry_run && would_change => Exit::Drift,
        exit => exit,
    })
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

#[cfg(test)]
mod tests {
    use clap::Parser;
    use guardrail_core::decide::adoption::Breaks;
    use guardrail_tests::fake::{BUCKET, FakeAws};

    use super::*;
    use crate::{
        args::{Arguments, Command},
        faults::session,
    };

    const WEBSITE: &str =
        "<WebsiteConfiguration><IndexDocument><Suffix>i.html</Suffix></IndexDocument></WebsiteConfiguration>";

    async fn ends(fake: &FakeAws, dry_run: bool, accept: &[Breaks]) -> Result<Exit, String> {
        let line = ["guardrail", "bootstrap", BUCKET];
        let Ok(Arguments { command: Command::Bootstrap(arguments), .. }) = Arguments::try_parse_from(line) else {
            return Err("not a command line".to_owned());
        };
        let arguments = BootstrapArguments { dry_run, accept: accept.to_vec(), ..arguments };
        run(&session(fake), arguments).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_dry_run_ends_as_the_run_would_or_with_what_it_would_change() {
        let fake = FakeAws::default();
        fake.state().bucket = Some(Default::default());
        fake.set("website", Some(WEBSITE));
        let before = fake.state().world();
        assert_eq!(ends(&fake, true, &[]).await, Ok(Exit::Error));
        let error = ends(&fake, false, &[]).await.unwrap_err();
        assert!(error.contains("nothing was changed") && error.contains("--accept breaks-website"), "{error}");
        assert_eq!(ends(&fake, true, &[Breaks::BreaksWebsite]).await, Ok(Exit::Drift));
        assert_eq!(fake.state().world(), before);
        assert_eq!(ends(&fake, false, &[Breaks::BreaksWebsite]).await, Ok(Exit::Compliant));
        assert_eq!(ends(&fake, true, &[]).await, Ok(Exit::Compliant));
        // The bucket itself is good, and what is around it is not.
        fake.state().trail = None;
        assert_eq!(ends(&fake, true, &[]).await, Ok(Exit::Drift));
    }

    #[test]
    fn what_is_accepted_is_a_list_or_given_more_than_once() {
        let accepted = |line: &[&str]| match Arguments::try_parse_from(line).map(|it| it.command) {
            Ok(Command::Bootstrap(it)) => Ok(it.accept),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(error.to_string()),
        };
        let line = ["guardrail", "bootstrap", BUCKET, "--accept"];
        let two = accepted(&[&line[..], &["deletes-versions,breaks-website"]].concat());
        assert_eq!(two, Ok(vec![Breaks::DeletesVersions, Breaks::BreaksWebsite]));
        let one_by_one = accepted(&[&line[..], &["deletes-versions", "--accept", "breaks-website"]].concat());
        assert_eq!(one_by_one, two);
        assert!(accepted(&[&line[..], &["all"]].concat()).is_err_and(|it| it.contains("drops-acl-grants")));
    }
}
