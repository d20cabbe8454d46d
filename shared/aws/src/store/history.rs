//! History: what every reconcile that wrote something saw and did, as a record in the log bucket.

use guardrail_core::{
    edge::registry::Registration,
    outcome::{
        record::{Entry, Record, SCHEMA, record_key},
        record_file::RecordFile,
        report::{Asked, BucketOutcome, Report, Work},
    },
    value::{
        failure::ApiError,
        names::{AccountId, BucketName, KeyArn},
    },
};

use crate::{Guardrail, store::log_bucket};

/// Where a rollback keeps its record, and what encrypts it.
#[derive(Clone, Copy, Debug)]
pub struct RollbackDestination<'a> {
    pub log_bucket: &'a BucketName,
    pub bucket: &'a BucketName,
    pub account: &'a AccountId,
    /// `None`: the bucket is not registered, so the log bucket's own default encrypts it.
    pub kms_key: Option<&'a KeyArn>,
}

/// Writes the record of what a rollback put back; returns where it is.
pub async fn keep_rollback(
    guardrail: &Guardrail,
    place: RollbackDestination<'_>,
    findings: Vec<Entry>,
    elapsed_ms: u64,
) -> Result<RecordFile, ApiError> {
    let RollbackDestination { log_bucket, bucket, account, kms_key } = place;
    let time = guardrail.clock.now();
    let record = Record {
        schema: SCHEMA.to_owned(),
        bucket: bucket.clone(),
        account: account.clone(),
        region: guardrail.config.region.clone(),
        time,
        elapsed_ms,
        drift_to_restored_ms: None,
        trigger: None,
        asked: Some(Asked { what: Work::Rollback, by: guardrail.caller.clone() }),
        outcome: BucketOutcome::Drifted,
        findings,
    };
    let text = serde_json::to_string(&record).map_err(|error| ApiError::new("PutObject", error))?;
    let file = RecordFile {
        log_bucket: log_bucket.clone(),
        bucket: bucket.clone(),
        key: record_key(bucket, "", time, guardrail.clock.random()),
    };
    let place = log_bucket::Destination { log_bucket, kms_key };
    log_bucket::put(&guardrail.s3, place, &file.key, "application/json", text).await?;
    Ok(file)
}

/// The history does not have what was written. That is no reason to write it again.
pub fn unrecorded(report: &mut Report, error: &dyn std::fmt::Display) {
    tracing::warn!(%error, "what was written is not in the history");
    report.unrecorded(error.to_string());
}

/// Writes the record of a report to where the report says it is.
pub async fn keep(guardrail: &Guardrail, report: &Report, registration: Option<&Registration>) -> Result<(), ApiError> {
    let Some((file, registration)) = report.record.as_ref().zip(registration) else { return Ok(()) };
    let record = Record::new(
        report,
        &registration.bucket,
        &registration.account,
        &guardrail.config.region,
        guardrail.clock.now(),
    );
    let text = serde_json::to_string(&record).map_err(|error| ApiError::new("PutObject", error))?;
    let place = log_bucket::Destination { log_bucket: &file.log_bucket, kms_key: Some(&registration.key_arn) };
    log_bucket::put(&guardrail.s3, place, &file.key, "application/json", text).await
}
