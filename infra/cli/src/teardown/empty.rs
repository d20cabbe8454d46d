//! Emptying a bucket: unfinished uploads, versions, delete markers. Memory does not grow with the bucket.

use std::{pin::pin, time::Duration};

use aws_sdk_s3::{
    Client,
    config::{retry::RetryConfig, timeout::TimeoutConfig},
    types::{Delete, EncodingType, ObjectIdentifier},
};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, future, stream};
use guardrail::api;
use guardrail_core::{
    decide::teardown::Contents,
    value::{failure::ApiError, names::BucketName},
};
use percent_encoding::percent_decode_str;

/// How many requests are under way at once, of up to 1000 versions each.
const AT_ONCE: usize = 8;

/// How many pages of 1000 are counted before anything is deleted.
const PAGES_COUNTED: usize = 100;

/// How many names a message holds.
const NAMES: usize = 10;

/// How often a bucket is listed anew while S3 says that something is left.
const PASSES: u32 = 5;

/// S3 may take its time over a thousand versions, and slows down who deletes more than some thousand a second.
const PATIENCE: Duration = Duration::from_secs(60);

const ATTEMPTS: u32 = 10;

/// Why a bucket is still there.
#[derive(Debug, thiserror::Error)]
pub(super) enum EmptyError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("S3 did not delete {} of its versions, among them {}", .0.count, .0.some.join(", "))]
    Kept(Kept),
}

/// Versions that S3 did not delete.
#[derive(Debug, Default)]
pub(super) struct Kept {
    count: usize,
    /// The first of them, each with S3's reason.
    some: Vec<String>,
    /// Some of it may work a little later.
    passing: bool,
}

/// A version, a delete marker or an unfinished upload: its key and its id.
type Named = (String, String);

/// A page of a bucket's versions.
struct Page {
    versions: Vec<Named>,
    markers: Vec<Named>,
}

/// Counts what is in a bucket, and finds what is locked.
pub(super) async fn count(s3: &Client, bucket: &BucketName) -> Result<Contents, ApiError> {
    let lock = s3.get_object_lock_configuration().bucket(bucket.as_str());
    let lock = lock.send().await;
    let lock = api::unless_absent("GetObjectLockConfiguration", lock, "ObjectLockConfigurationNotFoundError")?;
    let versioning = s3.get_bucket_versioning().bucket(bucket.as_str());
    let versioning = versioning.send().await;
    let mfa_delete = api::output("GetBucketVersioning", versioning)?.mfa_delete;
    let mfa_delete = mfa_delete.is_some_and(|it| it.as_str() == "Enabled");
    let mut contents = Contents { mfa_delete, ..Contents::default() };
    let mut pages = pin!(versions(s3, bucket));
    let mut counted = 0;
    while let Some(page) = pages.try_next().await? {
        if counted == PAGES_COUNTED && lock.is_none() {
            contents.more = true;
            break;
        }
        counted += 1;
        contents.versions += page.versions.len();
        contents.markers += page.markers.len();
        if lock.is_some() && contents.locked.len() < NAMES {
            contents.locked.extend(locked(s3, bucket, page.versions).await?);
        }
    }
    contents.locked.truncate(NAMES);
    let mut pages = pin!(uploads(s3, bucket).take(PAGES_COUNTED));
    while let Some(page) = pages.try_next().await? {
        contents.uploads += page.len();
    }
    Ok(contents)
}

/// Those that S3 would not let go.
async fn locked(s3: &Client, bucket: &BucketName, versions: Vec<Named>) -> Result<Vec<String>, ApiError> {
    let found = stream::iter(versions).map(|(key, version)| async move {
        let why = lock(s3, bucket, &key, &version).await?;
        Ok::<_, ApiError>(why.map(|why| format!("{key} (version {version}: {why})")))
    });
    found.buffered(4 * AT_ONCE).try_filter_map(future::ok).try_collect().await
}

/// Why S3 would not let a version go; `None` if it would.
async fn lock(s3: &Client, bucket: &BucketName, key: &str, version: &str) -> Result<Option<String>, ApiError> {
    const NONE: &str = "NoSuchObjectLockConfiguration";
    let hold = s3.get_object_legal_hold().bucket(bucket.as_str());
    let retention = s3.get_object_retention().bucket(bucket.as_str());
    let (hold, retention) =
        tokio::join!(hold.key(key).version_id(version).send(), retention.key(key).version_id(version).send());
    let hold = api::unless_absent("GetObjectLegalHold", hold, NONE)?.and_then(|it| it.legal_hold);
    let retention = api::unless_absent("GetObjectRetention", retention, NONE)?.and_then(|it| it.retention);
    if hold.and_then(|it| it.status).is_some_and(|it| it.as_str() == "ON") {
        return Ok(Some("legal hold".to_owned()));
    }
    let until = retention.and_then(|it| it.retain_until_date).map(|it| it.secs());
    let until = until.and_then(|it| jiff::Timestamp::from_second(it).ok());
    Ok(until.filter(|it| *it > jiff::Timestamp::now()).map(|it| format!("retained until {it}")))
}

/// Deletes everything in a bucket, and the bucket. `deleted`: told how many versions went.
pub(super) async fn delete_bucket(s3: &Client, bucket: &BucketName, deleted: impl Fn(usize)) -> Result<(), EmptyError> {
    let timeouts = TimeoutConfig::builder().connect_timeout(PATIENCE).operation_attempt_timeout(PATIENCE);
    let patient = s3.config().to_builder().timeout_config(timeouts.build());
    let s3 = &Client::from_conf(patient.retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS)).build());
    for pass in 1.. {
        abort_uploads(s3, bucket).await?;
        let kept = delete_versions(s3, bucket, &deleted).await?;
        let last = pass == PASSES;
        if kept.count > 0 && (last || !kept.passing) {
            return Err(EmptyError::Kept(kept));
        }
        if kept.count == 0 {
            let sent = s3.delete_bucket().bucket(bucket.as_str());
            match api::unless_absent("DeleteBucket", sent.send().await, "NoSuchBucket") {
                Ok(_) => return Ok(()),
                // A trail goes on delivering for a while.
                Err(error) if error.code() == Some("BucketNotEmpty") && !last => {}
                Err(error) => return Err(error.into()),
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

async fn abort_uploads(s3: &Client, bucket: &BucketName) -> Result<(), ApiError> {
    let mut pages = pin!(uploads(s3, bucket));
    while let Some(page) = pages.try_next().await? {
        let aborts = stream::iter(page).map(|(key, upload)| async move {
            let abort = s3.abort_multipart_upload().bucket(bucket.as_str());
            let sent = abort.key(key).upload_id(upload).send().await;
            api::unless_absent("AbortMultipartUpload", sent, "NoSuchUpload")
        });
        aborts.buffer_unordered(AT_ONCE).try_for_each(|_| future::ok(())).await?;
    }
    Ok(())
}

/// One pass over the bucket; what S3 kept.
async fn delete_versions(s3: &Client, bucket: &BucketName, deleted: &impl Fn(usize)) -> Result<Kept, ApiError> {
    let requests = versions(s3, bucket).map_ok(|page| async move {
        let versions: Vec<_> = page.versions.into_iter().chain(page.markers).collect();
        let sent = versions.len();
        Ok((sent, delete(s3, bucket, versions).await?))
    });
    let mut answers = pin!(requests.try_buffer_unordered(AT_ONCE));
    let mut all = Kept::default();
    while let Some((sent, kept)) = answers.try_next().await? {
        deleted(sent.saturating_sub(kept.count));
        all.add(kept);
    }
    Ok(all)
}

/// Deletes up to 1000 versions and delete markers; what S3 kept of them.
async fn delete(s3: &Client, bucket: &BucketName, versions: Vec<Named>) -> Result<Kept, ApiError> {
    let (together, alone): (Vec<_>, Vec<_>) = versions.into_iter().partition(|(key, _)| key.chars().all(is_xml));
    let mut kept = Kept::default();
    for (key, version) in alone {
        let delete = s3.delete_object().bucket(bucket.as_str());
        match api::output("DeleteObject", delete.key(&key).version_id(&version).send().await) {
            Err(error) if error.code() == Some("AccessDenied") => kept.add(Kept::of(&key, &version, "AccessDenied")),
            sent => drop(sent?),
        }
    }
    let objects = together.into_iter().map(|(key, version)| ObjectIdentifier::builder().key(key).version_id(version));
    let objects: Result<Vec<_>, _> = objects.map(|it| it.build()).collect();
    let invalid = |error| ApiError::new("DeleteObjects", error);
    let objects = objects.map_err(invalid)?;
    if objects.is_empty() {
        return Ok(kept);
    }
    let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build().map_err(invalid)?;
    let request = s3.delete_objects().bucket(bucket.as_str());
    let request = request.delete(delete);
    for error in api::output("DeleteObjects", request.send().await)?.errors() {
        let [key, version, code] = [error.key(), error.version_id(), error.code()].map(Option::unwrap_or_default);
        kept.add(Kept::of(key, version, code));
    }
    Ok(kept)
}

impl Kept {
    fn of(key: &str, version: &str, code: &str) -> Self {
        let some = vec![format!("{} (version {version}: {code})", key.escape_debug())];
        Self { count: 1, some, passing: code != "AccessDenied" }
    }

    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.some.extend(other.some);
        self.some.truncate(NAMES);
        self.passing |= other.passing;
    }
}

/// Whether XML, and so a request for many versions, can hold a character of a key.
fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// A key as it is. S3 was asked for keys that any XML can hold, and says whether that is what it sent.
fn decoded(key: &str, encoding: Option<&EncodingType>) -> String {
    if encoding != Some(&EncodingType::Url) {
        return key.to_owned();
    }
    percent_decode_str(&key.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// Every version and delete marker, a page after the other.
fn versions(s3: &Client, bucket: &BucketName) -> impl Stream<Item = Result<Page, ApiError>> {
    stream::try_unfold(Some((None, None)), move |at| async move {
        let Some((key, version)) = at else { return Ok(None) };
        let list = s3.list_object_versions().bucket(bucket.as_str()).encoding_type(EncodingType::Url);
        let list = list.set_key_marker(key).set_version_id_marker(version);
        let page = api::output("ListObjectVersions", list.send().await)?;
        let decoded = |key: &str| decoded(key, page.encoding_type());
        let named = |key: Option<&str>, id: Option<&str>| Some((decoded(key?), id?.to_owned()));
        let versions = page.versions().iter().filter_map(|it| named(it.key(), it.version_id())).collect();
        let markers = page.delete_markers().iter().filter_map(|it| named(it.key(), it.version_id())).collect();
        let next = page.next_key_marker().filter(|_| page.is_truncated == Some(true)).map(decoded);
        let next = next.map(|key| (Some(key), page.next_version_id_marker.clone()));
        Ok(Some((Page { versions, markers }, next)))
    })
}

/// Every unfinished upload, a page after the other.
fn uploads(s3: &Client, bucket: &BucketName) -> impl Stream<Item = Result<Vec<Named>, ApiError>> {
    stream::try_unfold(Some((None, None)), move |at| async move {
        let Some((key, upload)) = at else { return Ok(None) };
        let list = s3.list_multipart_uploads().bucket(bucket.as_str()).encoding_type(EncodingType::Url);
        let list = list.set_key_marker(key).set_upload_id_marker(upload);
        let page = api::output("ListMultipartUploads", list.send().await)?;
        let decoded = |key: &str| decoded(key, page.encoding_type());
        let uploads = page.uploads().iter();
        let uploads = uploads.filter_map(|it| Some((decoded(it.key()?), it.upload_id()?.to_owned()))).collect();
        let next = page.next_key_marker().filter(|_| page.is_truncated == Some(true)).map(decoded);
        let next = next.map(|key| (Some(key), page.next_upload_id_marker.clone()));
        Ok(Some((uploads, next)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_as_s3_encodes_them() {
        for (encoded, key) in
            [("a/b", "a/b"), ("a+b%2Bc%2520", "a b+c%20"), ("%C3%BC", "\u{fc}"), ("a%01%0D%0A", "a\u{1}\r\n")]
        {
            assert_eq!(decoded(encoded, Some(&EncodingType::Url)), key);
            assert_eq!(decoded(encoded, None), encoded);
        }
    }

    #[test]
    fn what_is_kept_is_counted_and_the_first_is_named() {
        let mut all = Kept::default();
        for n in 0..NAMES + 5 {
            all.add(Kept::of(&format!("k{n}\r"), "v", "AccessDenied"));
        }
        assert_eq!((all.count, all.some.len(), all.passing), (NAMES + 5, NAMES, false));
        assert_eq!(all.some[0], "k0\\r (version v: AccessDenied)");
        all.add(Kept::of("k", "v", "SlowDown"));
        assert!(all.passing);
    }
}
