//! Where a record of the history is.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use crate::value::names::{BucketName, NameError};

/// All records are below this prefix of a log bucket, each below its bucket's name.
pub const FOLDER: &str = "s3-guardrail/history/";

/// Where a record is; as text `s3://LOG-BUCKET/KEY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFile {
    pub log_bucket: BucketName,
    /// The guarded bucket, which the key names.
    pub bucket: BucketName,
    pub key: String,
}

impl fmt::Display for RecordFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.log_bucket, self.key)
    }
}

impl Serialize for RecordFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for RecordFile {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let parsed = || {
            let (log_bucket, key) = text.strip_prefix("s3://")?.split_once('/')?;
            let (bucket, name) = key.strip_prefix(FOLDER)?.split_once('/')?;
            let (log_bucket, bucket) = (log_bucket.parse().ok()?, bucket.parse().ok()?);
            name.ends_with(".json").then(|| Self { log_bucket, bucket, key: key.to_owned() })
        };
        parsed().ok_or_else(|| NameError::new(text, "a record (s3://LOG-BUCKET/s3-guardrail/history/BUCKET/...json)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_named_by_its_url_and_nothing_else_is() {
        let url = "s3://acme-logs/s3-guardrail/history/acme-data/2026/11/23/091407.123Z-0b4a7e2c.json";
        let file: RecordFile = url.parse().unwrap();
        assert_eq!((file.log_bucket.as_str(), file.bucket.as_str()), ("acme-logs", "acme-data"));
        assert_eq!((file.to_string().as_str(), serde_json::to_value(&file).unwrap().as_str()), (url, Some(url)));
        for (was, is) in
            [("s3://", "https://"), ("acme-logs", "A"), ("history", "theirs"), ("acme-data", "A"), (".json", "")]
        {
            let error = url.replace(was, is).parse::<RecordFile>().unwrap_err().to_string();
            assert!(error.contains("is not a record"), "{error}");
        }
    }
}
