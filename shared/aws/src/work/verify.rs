//! `guardrail-verify`: proves the baseline of a live bucket by doing what it must refuse and what it must let through.
//!
//! [`judge`] and [`evidence`] decide and write, and do no I/O. Test objects live under one prefix and are removed in
//! the end, whatever became of the proofs; no other object is read or written.

mod cleanup;
mod proofs;
mod site;
mod wire;

use std::time::Duration;

use guardrail_core::{
    decide::{baseline::Baseline, judge},
    edge::{
        event::{self, InputError},
        registry::{Registration, RegistryError},
    },
    tell::evidence::Evidence,
    value::{failure::ApiError, names::BucketName},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Guardrail,
    clients::Readers,
    observe::{default_retention, observe},
    store::{log_bucket, registry},
    work::verify::{
        cleanup::{clean_up, run_id},
        site::{Run, Seen, Settings, Site},
        wire::RequestIds,
    },
};

pub use self::cleanup::PREFIX;
pub(crate) use self::wire::without_tls;

/// How long the proofs may take together. What is left of the function's time is for cleaning up and for the evidence.
const PROVING: Duration = Duration::from_secs(120);

/// `{"bucket": "...", "redact": false}`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub bucket: BucketName,
    /// Whether accounts, keys, addresses and people are masked. Default: yes.
    #[serde(default = "yes")]
    pub redact: bool,
}

fn yes() -> bool {
    true
}

/// Where the evidence is.
#[derive(Clone, Debug, Serialize)]
pub struct Stored {
    pub bucket: BucketName,
    pub keys: Vec<String>,
}

/// Why nothing was proven. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("{bucket} is not guarded: there is no registry document {parameter}; run guardrail-bootstrap for it first")]
    Unguarded { bucket: BucketName, parameter: String },
    #[error("{0} is guarded and does not exist")]
    Gone(BucketName),
    #[error("{0} has MFA Delete on: test objects could not be removed again, so nothing was tried")]
    MfaDelete(BucketName),
    #[error(
        "{bucket} has Object Lock with a default retention of {retention}: test objects could not be removed before \
         that is over, so nothing was tried; prove it on a bucket of the same baseline without a default retention"
    )]
    Retention { bucket: BucketName, retention: String },
    #[error("{bucket} may lock its objects, which could not be looked up, so nothing was tried")]
    Lock { bucket: BucketName, source: ApiError },
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("the answer could not be written as JSON")]
    Answer(#[from] serde_json::Error),
}

/// Answers one invocation.
pub async fn verify(guardrail: &Guardrail, input: Value) -> Result<Value, VerifyError> {
    let Request { bucket, redact } = event::decode("request", input)?;
    let prefix = &guardrail.config.parameter_prefix;
    let registration = registry::read(&guardrail.ssm, prefix, &bucket).await?;
    let registration = registration
        .ok_or_else(|| VerifyError::Unguarded { parameter: format!("{prefix}{bucket}"), bucket: bucket.clone() })?;
    let owner = guardrail.config.account();
    let baseline = Baseline::new(&registration, &owner, &guardrail.config.role)?;
    let request_ids = RequestIds::default();
    let observed = observe(Readers { s3: &request_ids.listening(&guardrail.s3), ..guardrail.readers() }, &bucket).await;
    if observed.is_gone() {
        return Err(VerifyError::Gone(bucket));
    }
    if observed.versioning.as_ref().is_ok_and(|it| it.mfa_delete) {
        return Err(VerifyError::MfaDelete(bucket));
    }
    match default_retention(guardrail.readers(), &bucket).await {
        Ok(None) => {}
        Ok(Some(retention)) => return Err(VerifyError::Retention { bucket, retention }),
        Err(source) => return Err(VerifyError::Lock { bucket, source }),
    }

    let time = guardrail.clock.now();
    let run_id = run_id(time, guardrail.clock.random());
    let test_prefix = format!("{PREFIX}{run_id}/");
    let site = Site { guardrail, registration: &registration, bucket: &bucket, prefix: &test_prefix };
    let settings = Settings::from_observed(&observed);
    let seen = Seen { observed, request_ids };
    let mut run = Run::default();
    let proofs = tokio::time::timeout(PROVING, proofs::prove(&site, &settings, &baseline, seen, &mut run));
    let late = proofs.await.err().map(|_| format!("the proofs took longer than {PROVING:?} and are not complete"));
    if late.is_none() {
        proofs::prove_to_the_end(&site, &settings, &mut run).await;
    }
    let Run { proofs, mut left_behind } = run;
    let (left, failed) = clean_up(&guardrail.s3, &bucket, &run_id, guardrail.clock.now()).await;
    left_behind.extend(left);

    let outcome = judge::overall(
        proofs.iter().map(|it| it.outcome).chain(late.iter().map(|_| judge::ProofOutcome::Inconclusive)),
    );
    let mut evidence = Evidence {
        bucket: bucket.to_string(),
        account: owner.to_string(),
        region: guardrail.config.region.clone(),
        time,
        outcome,
        key_arn: registration.key_arn.to_string(),
        redacted: false,
        proofs,
        left_behind,
        error: joined(late, failed),
    };
    for it in &evidence.proofs {
        tracing::info!(name = it.name, outcome = ?it.outcome, reason = it.reason, actual = it.actual, "proof");
    }
    if redact {
        evidence = evidence.redacted();
    }
    let markdown = evidence.markdown();
    let mut answer = json!(evidence);
    let stored = match registration.log_bucket() {
        Ok(log_bucket) => store(guardrail, &registration, log_bucket, time, &run_id, &answer, &markdown).await,
        Err(error) => Err(error.to_string()),
    };
    match stored {
        Ok(stored) => answer["report"] = json!(stored),
        Err(error) => {
            let error = format!("the evidence is not stored: {error}");
            let error = if redact { guardrail_core::tell::redact::redact(&error) } else { error };
            answer["report"] = Value::Null;
            answer["error"] = json!(joined(evidence.error, Some(error)));
        }
    }
    tracing::info!(%bucket, ?outcome, error = %answer["error"], report = %answer["report"], "verified");
    answer["markdown"] = json!(markdown);
    Ok(answer)
}

fn joined(one: Option<String>, other: Option<String>) -> Option<String> {
    let both: Vec<_> = one.into_iter().chain(other).collect();
    (!both.is_empty()).then(|| both.join("; "))
}

/// Writes the evidence where the logs are, once for machines and once for people.
async fn store(
    guardrail: &Guardrail,
    registration: &Registration,
    log_bucket: BucketName,
    time: Timestamp,
    run_id: &str,
    evidence: &Value,
    markdown: &str,
) -> Result<Stored, String> {
    let folder = format!("s3-guardrail/evidence/{}/{}", registration.bucket, time.strftime("%Y/%m/%d"));
    let text = serde_json::to_string_pretty(evidence).map_err(|error| error.to_string())?;
    let place = log_bucket::Destination { log_bucket: &log_bucket, kms_key: Some(&registration.key_arn) };
    let mut keys = Vec::new();
    for (extension, content_type, text) in
        [("json", "application/json", text), ("md", "text/markdown; charset=utf-8", markdown.to_owned())]
    {
        let key = format!("{folder}/{run_id}.{extension}");
        let put = log_bucket::put(&guardrail.s3, place, &key, content_type, text).await;
        put.map_err(|error| format!("{log_bucket}/{key}: {error}"))?;
        keys.push(key);
    }
    Ok(Stored { bucket: log_bucket, keys })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_redacted_unless_it_says_no_and_has_no_other_fields() {
        let request = |text: &str| event::decode::<Request>("request", serde_json::from_str(text).unwrap());
        assert!(request(r#"{"bucket":"acme-data"}"#).unwrap().redact);
        assert!(!request(r#"{"bucket":"acme-data","redact":false}"#).unwrap().redact);
        let error = request(r#"{"bucket":"acme-data","dry_run":true}"#).unwrap_err().to_string();
        assert!(error.contains("dry_run: unknown field"), "{error}");
    }
}
