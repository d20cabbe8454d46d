//! `guardrail list`: every guarded bucket and its state.

use futures_util::{StreamExt as _, stream};
use guardrail::api;
use guardrail_core::{
    edge::registry::{Mode, Registration},
    outcome::{
        exemption::Exemption,
        finding::Outcome,
        report::{BucketOutcome, Report},
    },
    value::names::BucketName,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    Exit,
    diff::{ADDED, CHANGED, REMOVED, painted},
    error::CliError,
    plan,
    session::Session,
};

/// How many buckets are read at once.
const AT_ONCE: usize = 8;

/// A guarded bucket.
#[derive(Debug, Serialize)]
struct Row {
    /// What its parameter is called.
    bucket: String,
    state: State,
    mode: Option<Mode>,
    /// Those in force.
    exemptions: Vec<Exemption>,
    /// Controls that are not as they should be, or why that is not known.
    details: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Compliant,
    Drifted,
    /// A policy would keep the guardrail from its work.
    Endangered,
    Unreadable,
    Gone,
    /// Its registry document is not valid, so that it is not guarded.
    Broken,
}

pub(crate) async fn run(session: &Session, json: bool) -> Result<Exit, CliError> {
    let documents = documents(session).await?;
    let progress = ProgressBar::new(documents.len() as u64);
    progress.set_draw_target(ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {wide_msg}") {
        progress.set_style(style);
    }
    let mut found = stream::iter(documents).map(|(name, document)| row(session, name, document)).buffered(AT_ONCE);
    let mut rows = Vec::new();
    while let Some(row) = found.next().await {
        progress.set_message(row.bucket.clone());
        progress.inc(1);
        rows.push(row);
    }
    progress.finish_and_clear();
    let exit = rows.iter().map(|it| it.state.exit()).max().unwrap_or(Exit::Compliant);
    if json {
        session.print_json(&rows)?;
    } else {
        session.print(&table(&rows, &session.guardrail.config.parameter_prefix))?;
    }
    Ok(exit)
}

/// The registry's documents, by name, a page after the other.
pub(crate) async fn documents(session: &Session) -> Result<Vec<(String, String)>, CliError> {
    let prefix = &session.guardrail.config.parameter_prefix;
    let path = prefix.strip_suffix('/').filter(|it| !it.is_empty()).unwrap_or(prefix);
    let pages = session.guardrail.ssm.get_parameters_by_path().path(path).with_decryption(true);
    let mut pages = pages.into_paginator().send();
    let mut documents = Vec::new();
    while let Some(page) = pages.next().await {
        let page = api::output("GetParametersByPath", page).map_err(|source| CliError::Parameters { source })?;
        for parameter in page.parameters.unwrap_or_default() {
            let name = parameter.name.unwrap_or_default();
            let name = name.strip_prefix(prefix).unwrap_or(&name).to_owned();
            documents.push((name, parameter.value.unwrap_or_default()));
        }
    }
    documents.sort();
    Ok(documents)
}

async fn row(session: &Session, name: String, document: String) -> Row {
    let registration = match parse(&name, &document) {
        Ok(registration) => registration,
        Err(error) => {
            return Row { bucket: name, state: State::Broken, mode: None, exemptions: Vec::new(), details: error };
        }
    };
    let report = match session.observe(&registration.bucket).await {
        Ok(observed) => plan::report(session, &registration, observed).await,
        Err(error) => Err(error),
    };
    let (state, details) = match report {
        Ok(report) => state(&report),
        Err(CliError::NoBucket { .. }) => (State::Gone, "the bucket does not exist".to_owned()),
        Err(CliError::Unreachable { problem, .. }) => (State::Unreadable, problem),
        Err(CliError::Registry(error)) => (State::Broken, error.to_string()),
        Err(error) => (State::Unreadable, error.to_string()),
    };
    let now = Timestamp::now();
    let exemptions = registration.exemptions.into_iter().filter(|it| now < it.until).collect();
    Row { bucket: name, state, mode: Some(registration.mode), exemptions, details }
}

pub(crate) fn parse(name: &str, document: &str) -> Result<Registration, String> {
    let bucket: BucketName = name.parse().map_err(|error| format!("{error}"))?;
    Registration::parse(document, &bucket).map_err(|error| error.to_string())
}

fn state(report: &Report) -> (State, String) {
    let named = |outcome| {
        let findings = report.findings.iter().filter(|it| it.outcome == outcome);
        findings.map(|it| it.control.id()).collect::<Vec<_>>().join(", ")
    };
    let exposures = || report.exposures.iter().map(|it| it.detail.as_str()).collect::<Vec<_>>().join("; ");
    match report.outcome {
        BucketOutcome::Gone => (State::Gone, String::new()),
        BucketOutcome::Failed => (State::Unreadable, named(Outcome::Unreadable)),
        BucketOutcome::Endangered => {
            let all = report.hindrances.iter().map(ToString::to_string).collect::<Vec<_>>();
            (State::Endangered, all.join("; "))
        }
        _ if Exit::from_report(report) == Exit::Drift => (State::Drifted, named(Outcome::WouldRestore)),
        _ => (State::Compliant, exposures()),
    }
}

impl State {
    fn exit(self) -> Exit {
        match self {
            Self::Compliant => Exit::Compliant,
            Self::Drifted | Self::Endangered => Exit::Drift,
            Self::Unreadable | Self::Gone | Self::Broken => Exit::Error,
        }
    }
}

fn table(rows: &[Row], prefix: &str) -> String {
    if rows.is_empty() {
        return format!(
            "No bucket is registered under {prefix}; `guardrail bootstrap BUCKET` builds and registers one.\n"
        );
    }
    let width = rows.iter().map(|it| it.bucket.len()).max().unwrap_or_default().max("BUCKET".len());
    let mut text = format!("{:width$}  {:10}  {:7}  DETAILS\n", "BUCKET", "STATE", "MODE");
    for row in rows {
        let (style, state) = match row.state {
            State::Compliant => (ADDED, "compliant"),
            State::Drifted => (CHANGED, "drifted"),
            State::Endangered => (CHANGED, "endangered"),
            State::Unreadable => (REMOVED, "unreadable"),
            State::Gone => (REMOVED, "gone"),
            State::Broken => (REMOVED, "broken"),
        };
        let mode = match row.mode {
            Some(Mode::Enforce) => "enforce",
            Some(Mode::Observe) => "observe",
            None => "-",
        };
        let exemptions = row.exemptions.iter().map(|it| format!("{} exempt until {}", it.control, it.until));
        let details = Some(row.details.clone()).filter(|it| !it.is_empty()).into_iter().chain(exemptions);
        let details = details.collect::<Vec<_>>().join("; ");
        let state = painted(style, &format!("{state:10}"));
        text.push_str(format!("{:width$}  {state}  {mode:7}  {details}", row.bucket).trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use guardrail_core::control::table::Control;

    use super::*;

    #[test]
    fn a_broken_document_says_what_is_wrong() {
        assert!(parse("acme-data", "{}").unwrap_err().contains("missing field `bucket`"));
        assert!(parse("a/b", "{}").unwrap_err().contains("`a/b` is not a bucket name"));
    }

    #[test]
    fn the_table_has_a_line_per_bucket() {
        let row = |bucket: &str, state, mode, details: &str| Row {
            bucket: bucket.to_owned(),
            state,
            mode,
            exemptions: Vec::new(),
            details: details.to_owned(),
        };
        let exemption = Exemption {
            control: Control::Lifecycle,
            until: "2027-02-01T00:00:00Z".parse().unwrap(),
            reason: String::new(),
            approved_by: String::new(),
        };
        let rows = [
            row("acme-data", State::Compliant, Some(Mode::Enforce), ""),
            Row { exemptions: vec![exemption], ..row("logs", State::Drifted, Some(Mode::Observe), "versioning") },
            row("x", State::Broken, None, "mode: unknown variant"),
        ];
        expect![[r#"
            BUCKET     STATE       MODE     DETAILS
            acme-data  compliant   enforce
            logs       drifted     observe  versioning; lifecycle exempt until 2027-02-01T00:00:00Z
            x          broken      -        mode: unknown variant
        "#]]
        .assert_eq(&anstream::adapter::strip_str(&table(&rows, "/p/")).to_string());
        assert!(table(&[], "/p/").contains("No bucket is registered under /p/"));
    }
}
