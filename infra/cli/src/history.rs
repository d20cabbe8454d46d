//! `guardrail history`: what was restored in a bucket, and when.

use std::collections::VecDeque;

use futures_util::{StreamExt as _, stream};
use guardrail::{api, store::registry};
use guardrail_core::{
    edge::registry::Registration,
    outcome::{
        record::{MAX_BYTES, Record, RecordError},
        record_file::{FOLDER, RecordFile},
        report::{Asked, Work},
    },
    tell::subject::{short_actor, text_of},
    value::{
        caller,
        failure::{ApiError, chain},
        names::BucketName,
    },
};
use serde_json::json;

use crate::{
    Exit,
    args::HistoryArguments,
    diff::{REMOVED, painted},
    error::CliError,
    output::{BOLD, DIMMED},
    session::Session,
};

/// How many records are read at once.
const AT_ONCE: usize = 8;

pub(crate) async fn run(session: &Session, arguments: HistoryArguments) -> Result<Exit, CliError> {
    let HistoryArguments { bucket, limit, log_bucket, json } = arguments;
    let log_bucket = place(session, &bucket, log_bucket).await?;
    let files = newest(session, &bucket, &log_bucket, limit).await?;
    let records = stream::iter(files).map(async |it| (read(session, &it).await, it)).buffered(AT_ONCE);
    let records: Vec<_> = records.collect().await;
    let exit = if records.iter().all(|(record, _)| record.is_ok()) { Exit::Compliant } else { Exit::Error };
    if json {
        let records = records.iter().map(|(record, file)| match record {
            Ok(record) => {
                let mut value = json!(record);
                value["record"] = json!(file);
                value
            }
            Err(error) => json!({"record": file, "error": error.to_string()}),
        });
        session.print_json(&records.collect::<Vec<_>>())?;
    } else if records.is_empty() {
        session.print(&format!("{bucket}: nothing was written so far, says {log_bucket}\n"))?;
    } else {
        session.print(&records.iter().map(|(record, file)| entry(record, file)).collect::<String>())?;
    }
    Ok(exit)
}

/// What the registry says of a bucket.
pub(crate) async fn registered(session: &Session, bucket: &BucketName) -> Result<Registration, CliError> {
    let registration = if_registered(session, bucket).await?;
    registration.ok_or_else(|| CliError::NotGuarded { bucket: bucket.clone() })
}

/// The same; `None` when it says nothing.
pub(crate) async fn if_registered(session: &Session, bucket: &BucketName) -> Result<Option<Registration>, CliError> {
    let config = &session.guardrail.config;
    Ok(registry::read(&session.guardrail.ssm, &config.parameter_prefix, bucket).await?)
}

/// The log bucket with the history of a bucket: the one that is asked for, the registered one, or where bootstrap would
/// have put it.
async fn place(session: &Session, bucket: &BucketName, asked: Option<BucketName>) -> Result<BucketName, CliError> {
    if let Some(asked) = asked {
        return Ok(asked);
    }
    let registration = if_registered(session, bucket).await?;
    let unknown = |problem: String| CliError::History {
        place: bucket.to_string(),
        source: ApiError::new("ListObjectsV2", problem),
    };
    if let Some(registration) = registration {
        return Ok(registration.log_bucket()?);
    }
    let derived: BucketName = format!("{bucket}-logs").parse().map_err(|_| {
        unknown(
            "it is not registered, and its name is too long for a log bucket derived from it; give --log-bucket"
                .to_owned(),
        )
    })?;
    match session.reachable(&derived).await {
        Ok(()) => Ok(derived),
        Err(CliError::NoBucket { .. }) => {
            Err(unknown(format!("it is not registered, and there is no bucket {derived}; give --log-bucket")))
        }
        Err(error) => Err(error),
    }
}

/// Where the newest records are, the newest first. S3 lists the oldest first, so all names are looked at.
async fn newest(
    session: &Session,
    bucket: &BucketName,
    log_bucket: &BucketName,
    limit: usize,
) -> Result<Vec<RecordFile>, CliError> {
    let pages = session.guardrail.s3.list_objects_v2().bucket(log_bucket.as_str());
    let pages = pages.prefix(format!("{FOLDER}{bucket}/"));
    let mut pages = pages.into_paginator().send();
    let mut keys = VecDeque::new();
    while let Some(page) = pages.next().await {
        let page = api::output("ListObjectsV2", page)
            .map_err(|source| CliError::History { place: log_bucket.to_string(), source })?;
        keys.extend(page.contents.into_iter().flatten().filter_map(|it| it.key));
        keys.drain(..keys.len().saturating_sub(limit));
    }
    let file = |key| RecordFile { log_bucket: log_bucket.clone(), bucket: bucket.clone(), key };
    Ok(keys.into_iter().rev().map(file).collect())
}

/// Reads one record, and holds it to the name it has.
pub(crate) async fn read(session: &Session, file: &RecordFile) -> Result<Record, CliError> {
    let failed = |source| CliError::History { place: file.to_string(), source };
    let invalid = |problem: String| CliError::Record { file: file.to_string(), problem };
    let get = session.guardrail.s3.get_object().bucket(file.log_bucket.as_str()).key(&file.key);
    let object = get.send().await;
    let object = api::output("GetObject", object).map_err(failed)?;
    let bytes = object.content_length.and_then(|it| usize::try_from(it).ok()).unwrap_or(usize::MAX);
    if bytes > MAX_BYTES {
        return Err(invalid(RecordError::TooLong(bytes).to_string()));
    }
    let body = object.body.collect().await.map_err(|error| invalid(error.to_string()))?;
    let record = Record::parse(&String::from_utf8_lossy(&body.into_bytes()));
    let record = record.map_err(|error| invalid(chain(&error)))?;
    if record.bucket != file.bucket || record.account != session.account {
        return Err(invalid(format!("it is about {} of the account {}", record.bucket, record.account)));
    }
    Ok(record)
}

fn entry(record: &Result<Record, CliError>, file: &RecordFile) -> String {
    let record = match record {
        Ok(record) => record,
        Err(error) => return format!("{}\n", painted(REMOVED, &error.to_string())),
    };
    let why = match &record.trigger {
        Some(trigger) => {
            let changed = record.findings.iter().any(|it| trigger.can_have_changed(it.control));
            let led_here = if changed { "" } else { "found on " };
            format!("{led_here}{} by {}", trigger.event_name, short_actor(trigger, record.account.as_str()))
        }
        None => match &record.asked {
            Some(Asked { what, by: Some(by) }) => {
                format!("{} by {}", what.as_str(), caller::short(by, record.account.as_str()))
            }
            Some(Asked { what, by: None }) => what.as_str().to_owned(),
            None => "sweep, or somebody's request".to_owned(),
        },
    };
    let is_rollback = record.asked.as_ref().is_some_and(|it| it.what == Work::Rollback);
    let findings = record.findings.iter().map(|it| match (it.by_another, is_rollback) {
        (true, _) => format!("{} restored by another", it.control),
        (false, true) => format!("{} as before", it.control),
        (false, false) => format!("{} {}", it.control, text_of(&it.outcome)),
    });
    let findings = findings.collect::<Vec<_>>().join(", ");
    let time = record.time.strftime("%Y-%m-%dT%H:%M:%SZ");
    format!("{time}  {}\n    {findings}\n    {}\n", painted(BOLD, &why), painted(DIMMED, &file.to_string()))
}
