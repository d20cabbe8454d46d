//! `guardrail restore-registration`: puts the registry document of a bucket back that was deleted or broken.

use std::io::{self, IsTerminal};

use guardrail::{api, store::registry};
use guardrail_core::{
    edge::registry::{Registration, RegistryError},
    value::names::BucketName,
};
use jiff::Timestamp;
use serde_json::json;

use crate::{Exit, args::RestoreRegistrationArguments, error::CliError, output, session::Session};

/// A document that can be put back, and where it is from.
struct Found {
    registration: Registration,
    source: String,
}

pub(crate) async fn run(session: &Session, arguments: &RestoreRegistrationArguments) -> Result<Exit, CliError> {
    let RestoreRegistrationArguments { bucket, dry_run, yes } = arguments;
    let refused = |problem: &str| CliError::Refused { bucket: bucket.clone(), problem: problem.to_owned() };
    if !*dry_run && !*yes && !io::stdin().is_terminal() {
        return Err(refused("nobody is there to be asked: give --yes, or --dry-run"));
    }
    let (ssm, prefix) = (&session.guardrail.ssm, &session.guardrail.config.parameter_prefix);
    match registry::read(ssm, prefix, bucket).await {
        Ok(Some(_)) => {
            session.print(&format!("{prefix}{bucket}: it is there and valid, so nothing was put back\n"))?;
            return Ok(Exit::Compliant);
        }
        Ok(None) => session.print(&format!("{prefix}{bucket} does not exist.\n"))?,
        Err(RegistryError::Invalid { error, .. }) => {
            session.print(&format!("{prefix}{bucket} is not valid: {error}.\n"))?;
        }
        Err(error) => return Err(error.into()),
    }
    let found = match from_history(session, bucket).await? {
        Some(found) => found,
        None => from_copy(session, bucket).await?.ok_or_else(|| {
            refused("neither the Parameter Store's history nor the guardrail has an earlier document; `guardrail bootstrap` builds one")
        })?,
    };
    let document = serde_json::to_string_pretty(&json!(found.registration)).unwrap_or_default();
    session.print(&format!("\n{document}\n\nThis is {}.\n", found.source))?;
    if *dry_run {
        return Ok(Exit::Drift);
    }
    if !*yes && !output::confirmed("\nThe guardrail will hold the bucket to it. Type `yes` to put it back: ", "yes")? {
        return Err(refused("not confirmed"));
    }
    registry::write(ssm, prefix, &found.registration).await.map_err(|source| CliError::Parameters { source })?;
    session.print(&format!("{prefix}{bucket}: put back; `guardrail reconcile {bucket}` looks at the bucket now\n"))?;
    Ok(Exit::Compliant)
}

/// The newest valid document that the Parameter Store remembers; it forgets all of them with the parameter.
async fn from_history(session: &Session, bucket: &BucketName) -> Result<Option<Found>, CliError> {
    let name = format!("{}{bucket}", session.guardrail.config.parameter_prefix);
    let history = session.guardrail.ssm.get_parameter_history().name(name).with_decryption(true);
    let mut newest = None;
    let mut pages = history.into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = api::unless_absent("GetParameterHistory", page, "ParameterNotFound");
        let Some(page) = page.map_err(|source| CliError::Parameters { source })? else { break };
        for version in page.parameters.into_iter().flatten() {
            let Ok(registration) = Registration::parse(version.value().unwrap_or_default(), bucket) else { continue };
            let who = version.last_modified_user().unwrap_or("somebody");
            let when = version.last_modified_date().and_then(|it| Timestamp::from_second(it.secs()).ok());
            let when = when.map_or("at a time not said".to_owned(), |it| format!("at {it}"));
            let source = format!("version {} of the parameter, which {who} wrote {when}", version.version());
            if newest.as_ref().is_none_or(|(newest, _): &(i64, Found)| *newest < version.version()) {
                newest = Some((version.version(), Found { registration, source }));
            }
        }
    }
    Ok(newest.map(|(_, found)| found))
}

/// The document as the guardrail saw it last.
async fn from_copy(session: &Session, bucket: &BucketName) -> Result<Option<Found>, CliError> {
    let kept =
        registry::kept(&session.guardrail.ssm, bucket).await.map_err(|source| CliError::Parameters { source })?;
    Ok(kept.map(|it| Found {
        registration: it.registration,
        source: format!(
            "the guardrail's copy, kept since {}; what was changed minutes before it was lost may not be in it",
            it.since
        ),
    }))
}

#[cfg(test)]
mod tests {
    use guardrail_tests::fake::{ACCOUNT, BUCKET, FakeAws, KEY};

    use super::*;
    use crate::faults::session;

    fn document(days: u32) -> String {
        json!({"bucket": BUCKET, "account": ACCOUNT, "key_arn": KEY, "lifecycle": {"noncurrent_days": days}})
            .to_string()
    }

    async fn restore(fake: &FakeAws, dry_run: bool) -> Result<Exit, CliError> {
        let bucket = BUCKET.parse().unwrap();
        run(&session(fake), &RestoreRegistrationArguments { bucket, dry_run, yes: true }).await
    }

    fn days(fake: &FakeAws) -> Option<u32> {
        let document = fake.state().parameters.get(&format!("/s3-guardrail/buckets/{BUCKET}"))?.clone();
        let registration = Registration::parse(&document, &BUCKET.parse().unwrap()).ok()?;
        Some(registration.lifecycle.noncurrent.get().into())
    }

    #[tokio::test]
    async fn a_broken_document_comes_back_from_the_newest_version_that_is_valid() {
        let fake = FakeAws::guarded();
        let name = format!("/s3-guardrail/buckets/{BUCKET}");
        let versions = [document(45), document(60), "{\"bucket\":".to_owned(), "x".to_owned()];
        fake.state().parameter_history.insert(name.clone(), versions.into());
        fake.state().parameters.insert(name, "x".to_owned());
        assert_eq!(restore(&fake, true).await.unwrap(), Exit::Drift);
        assert_eq!(days(&fake), None, "a dry run writes nothing");
        assert_eq!(restore(&fake, false).await.unwrap(), Exit::Compliant);
        assert_eq!(days(&fake), Some(60));
    }

    #[tokio::test]
    async fn a_deleted_document_comes_back_from_the_copy_that_the_sweep_keeps() {
        let fake = FakeAws::guarded();
        fake.register_text(&document(75));
        let _ = guardrail::work::sweep::sweep(&fake.guardrail(), json!({})).await;
        fake.state().parameters.remove(&format!("/s3-guardrail/buckets/{BUCKET}"));
        assert_eq!(restore(&fake, false).await.unwrap(), Exit::Compliant);
        assert_eq!(days(&fake), Some(75));
    }

    #[tokio::test]
    async fn a_valid_document_is_left_and_one_that_never_was_is_not_made_up() {
        let fake = FakeAws::guarded();
        assert_eq!(restore(&fake, false).await.unwrap(), Exit::Compliant);
        assert_eq!(fake.writes(), Vec::<String>::new());
        fake.state().parameters.clear();
        let error = restore(&fake, false).await.unwrap_err().to_string();
        assert!(error.contains("guardrail bootstrap") && error.ends_with("nothing was changed"), "{error}");
    }
}
