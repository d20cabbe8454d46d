//! `guardrail replay`: which calls of CloudTrail's log files would have called the guardrail. No AWS.

use std::{
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use guardrail_core::{
    control::table::{Control, is_told},
    edge::{
        config::DEFAULT_PREFIX,
        event::{About, Event},
        log_file,
    },
    value::own_parts::{is_tampering, own_part},
};
use serde::Serialize;
use serde_json::{Value, error::Category, json};

use crate::{
    Exit,
    args::ReplayArguments,
    diff::{REMOVED, painted},
    error::CliError,
    output,
};

/// A call that would have called the guardrail.
#[derive(Debug, Serialize)]
struct Hit {
    time: Option<String>,
    event: String,
    /// The bucket, key, trail or part of the guardrail that the call is about.
    bucket: String,
    /// `None`: people are told, nothing is restored.
    control: Option<Control>,
    actor: Option<String>,
    /// Why the call failed. It leads to a look all the same.
    failed: Option<String>,
}

/// What was read so far.
#[derive(Debug, Default)]
struct Count {
    files: usize,
    records: usize,
    hits: usize,
}

pub(crate) fn run(arguments: &ReplayArguments) -> Result<Exit, CliError> {
    let mut exit = Exit::Compliant;
    let mut count = Count::default();
    for path in &arguments.paths {
        let mut files = Vec::new();
        if let Err((path, error)) = collect(path, true, &mut files) {
            exit = Exit::Error;
            output::complain("error", &format!("{}: {error}", path.display()));
        }
        for file in files {
            if let Err(problem) = replay(&file, arguments, &mut count)? {
                exit = Exit::Error;
                output::complain("error", &format!("{}: {problem}", file.display()));
            }
        }
    }
    if !arguments.json {
        let Count { files, records, hits } = count;
        output::print(&format!("{hits} of {records} calls in {files} files would have called the guardrail\n"))?;
    }
    Ok(exit)
}

/// The files to read, in the order of their names, which have their times in them.
fn collect(path: &Path, named: bool, files: &mut Vec<PathBuf>) -> Result<(), (PathBuf, io::Error)> {
    let failed = |error| (path.to_owned(), error);
    if !path.metadata().map_err(failed)?.is_dir() {
        let name = path.to_string_lossy();
        if named || [".json", ".json.gz", ".jsonl", ".ndjson"].iter().any(|it| name.ends_with(it)) {
            files.push(path.to_owned());
        }
        return Ok(());
    }
    let entries: Result<Vec<_>, _> = path.read_dir().map_err(failed)?.map(|it| Ok(it?.path())).collect();
    let mut entries = entries.map_err(failed)?;
    entries.sort();
    // Digests prove that log files are whole; they hold no calls.
    for entry in entries.iter().filter(|it| !it.ends_with("CloudTrail-Digest")) {
        collect(entry, false, files)?;
    }
    Ok(())
}

/// Reads one file. `Ok(Err(_))`: it is no log file, or not all of one.
fn replay(path: &Path, arguments: &ReplayArguments, count: &mut Count) -> Result<Result<(), String>, CliError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => return Ok(Err(error.to_string())),
    };
    count.files += 1;
    let before = count.records;
    let mut printed = Ok(());
    let mut each = |record: Value| {
        count.records += 1;
        let Some(hit) = hit(record) else { return };
        let wanted = arguments.bucket.is_empty() || arguments.bucket.iter().any(|it| it.as_str() == hit.bucket);
        if wanted && printed.is_ok() {
            count.hits += 1;
            printed = print(&hit, arguments.json);
        }
    };
    let read = if path.extension().is_some_and(|it| it == "gz") {
        log_file::read(MultiGzDecoder::new(BufReader::new(file)), &mut each)
    } else {
        log_file::read(file, &mut each)
    };
    printed?;
    let records = count.records - before;
    Ok(read.map_err(|error| match error.classify() {
        Category::Eof => format!("ends in the middle, after {records} whole records"),
        Category::Io if error.io_error_kind() == Some(io::ErrorKind::UnexpectedEof) => {
            format!("ends in the middle, after {records} whole records")
        }
        Category::Io => format!("cannot be read further, after {records} whole records: {error}"),
        Category::Syntax => format!("is not JSON: {error}; {records} records came before"),
        Category::Data => format!("is not a CloudTrail log file: {error}; {records} records came before"),
    }))
}

fn print(hit: &Hit, json: bool) -> io::Result<()> {
    if json {
        return output::print(&format!("{}\n", json!(hit)));
    }
    let unknown = || "-".to_owned();
    let Hit { time, event, bucket, control, actor, failed } = hit;
    let time = time.clone().unwrap_or_else(unknown);
    let control = control.map_or("told only", Control::id);
    let actor = actor.clone().unwrap_or_else(unknown);
    let failed = failed.as_ref().map(|it| format!("  {}", painted(REMOVED, &format!("failed: {it}"))));
    output::print(&format!("{time:20}  {event:34}  {control:19}  {bucket}  {actor}{}\n", failed.unwrap_or_default()))
}

/// What the event rule makes of a record: `None` if nothing.
fn hit(record: Value) -> Option<Hit> {
    let is = |name: &str, value: &Value| record.get(name) == Some(value);
    if !is("managementEvent", &json!(true)) {
        return None;
    }
    let from_s3 = is("eventSource", &json!("s3.amazonaws.com"));
    let Ok(event) = Event::parse(&json!({ "detail": record })) else { return None };
    let Event { about, trigger, .. } = event;
    let name = trigger.event_name.as_str();
    let control = Control::of_event(name);
    let bucket = match about {
        // What cannot be a bucket's name is looked at and left alone.
        About::Bucket(bucket) if from_s3 && (control.is_some() || is_told(name)) => {
            bucket.map_or_else(|it| it, |it| it.to_string())
        }
        About::AccessPoint(name) if from_s3 => format!("access point {name}"),
        // Every bucket that uses it.
        About::KmsKey(names) | About::Trail(names) if control.is_some() => names.into_iter().next().unwrap_or_default(),
        About::Part(names) if is_tampering(name) => names.iter().find_map(|it| own_part(it, DEFAULT_PREFIX))?,
        _ => return None,
    };
    Some(Hit {
        time: trigger.event_time,
        event: trigger.event_name,
        bucket,
        control,
        actor: trigger.actor,
        failed: trigger.error_code,
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write as _};

    use flate2::{Compression, write::GzEncoder};
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    fn record(more: Value) -> Value {
        let mut record = json!({
            "eventTime": "2026-11-23T09:14:05Z", "eventName": "PutBucketVersioning", "eventSource": "s3.amazonaws.com",
            "managementEvent": true, "requestParameters": {"bucketName": "acme-data"},
            "userIdentity": {"arn": "arn:aws:iam::111122223333:user/alice"},
        });
        if let (Value::Object(record), Value::Object(more)) = (&mut record, more) {
            record.extend(more);
        }
        record
    }

    /// How many records there are until the end, or until something is wrong.
    fn count(reader: impl Read) -> usize {
        let mut records = 0;
        drop(log_file::read(reader, &mut |it| {
            drop(hit(it));
            records += 1;
        }));
        records
    }

    fn unpacked(bytes: &[u8]) -> usize {
        count(MultiGzDecoder::new(bytes))
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    }

    /// Text that is nearly a log file.
    fn nearly_a_log() -> impl Strategy<Value = String> {
        let whole = record(json!({})).to_string();
        let token = prop_oneof![
            1 => Just(whole),
            8 => select(vec![
                r#"{"Records":["#, "]}", "{", "}", "[", "]", ",", ":", "\n", "null", "7", "-1e999", "\"", "\\ud800",
                r#""eventName":"PutBucketPolicy""#, r#""eventSource":"s3.amazonaws.com""#, r#""managementEvent":true"#,
                r#""requestParameters":"#, r#"{"bucketName":"acme-data"}"#, r#""detail":"#, r#""Records":"#, r#""resources":"#,
            ]).prop_map(str::to_owned),
            1 => any::<String>(),
        ];
        vec(token, 0..20).prop_map(|it| it.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300), cut in 0..64_usize) {
            let _ = unpacked(&bytes);
            let mut packed = packed(&bytes);
            packed.truncate(packed.len().saturating_sub(cut));
            let _ = unpacked(&packed);
        }

        #[test]
        fn whatever_is_nearly_a_log_is_read_or_refused(text in nearly_a_log()) {
            prop_assert_eq!(unpacked(&packed(text.as_bytes())), count(text.as_bytes()));
        }
    }

    #[test]
    fn only_what_the_rule_takes_is_a_hit() {
        let found = |more| hit(record(more)).map(|it| (it.bucket, it.control, it.failed));
        let bucket = || "acme-data".to_owned();
        assert_eq!(found(json!({})), Some((bucket(), Some(Control::Versioning), None)));
        let denied = json!({"errorCode": "AccessDenied"});
        assert_eq!(found(denied), Some((bucket(), Some(Control::Versioning), Some("AccessDenied".to_owned()))));
        assert_eq!(found(json!({"eventName": "DeleteBucket"})), Some((bucket(), None, None)));
        for other in [
            json!({"eventName": "GetBucketPolicy"}),
            json!({"eventName": "PutObject", "managementEvent": false}),
            json!({"managementEvent": null}),
            json!({"eventSource": "lightsail.amazonaws.com"}),
            json!({"eventName": null}),
            json!({"requestParameters": null}),
        ] {
            assert_eq!(found(other.clone()), None, "{other}");
        }
    }
}
