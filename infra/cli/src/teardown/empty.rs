//! Emptying a bucket: unfinished uploads, versions, delete markers. Memory does not grow with the bucket.

use std::{pin::pin, time::Duration};

use aws_sdk_s3::{
    Client,
    config::timeout::TimeoutConfig,
    operation::{list_multipart_uploads::ListMultipartUploadsOutput, list_object_versions::ListObjectVersionsOutput},
    types::{Delete, ObjectIdentifier},
};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, future, stream};
use guardrail::{
    api::{self, ApiError},
    observe::Bucket,
};

/// How many requests are under way at once, of up to 1000 versions each.
const AT_ONCE: usize = 8;

/// How many pages of 1000 are counted before anything is deleted.
const PAGES_COUNTED: usize = 100;

/// How many names a message holds.
const NAMES: usize = 10;

/// How often a bucket is listed anew while S3 says that something is left.
const PASSES: u32 = 5;

/// S3 may take its time over a thousand versions.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is in a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) versions: usize,
    pub(super) markers: usize,
    pub(super) uploads: usize,
    /// There is more than was counted.
    pub(super) more: bool,
    /// Some of the versions that S3 would not let go.
    pub(super) locked: Vec<String>,
}

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

/// Counts what is in a bucket, and finds what is locked.
pub(super) async fn count(s3: &Client, bucket: Bucket<'_>) -> Result<Contents, ApiError> {
    let lock = s3.get_object_lock_configuration().bucket(bucket.name.as_str());
    let lock = lock.expected_bucket_owner(bucket.owner.as_str()).send().await;
    let lock = api::unless_absent("GetObjectLockConfiguration", lock, "ObjectLockConfigurationNotFoundError")?;
    let mut contents = Contents::default();
    let mut pages = pin!(versions(s3, bucket));
    let mut counted = 0;
    while let Some(page) = pages.try_next().await? {
        if counted == PAGES_COUNTED && lock.is_none() {
            contents.more = true;
            break;
        }
        counted += 1;
        contents.versions += page.versions().len();
        contents.markers += page.delete_markers().len();
        if lock.is_some() && contents.locked.len() < NAMES {
            contents.locked.extend(locked(s3, bucket, &page).await?);
        }
    }
    contents.locked.truncate(NAMES);
    let mut pages = pin!(uploads(s3, bucket).take(PAGES_COUNTED));
    while let Some(page) = pages.try_next().await? {
        contents.uploads += page.uploads().len();
    }
    Ok(contents)
}

/// The versions of a page that S3 would not let go.
async fn locked(s3: &Client, bucket: Bucket<'_>, page: &ListObjectVersionsOutput) -> Result<Vec<String>, ApiError> {
    let names = page.versions().iter().filter_map(|it| Some((it.key()?.to_owned(), it.version_id()?.to_owned())));
    let names: Vec<_> = names.collect();
    let found = stream::iter(names).map(|(key, version)| async move {
        let why = lock(s3, bucket, &key, &version).await?;
        Ok::<_, ApiError>(why.map(|why| format!("{key} (version {version}: {why})")))
    });
    found.buffered(4 * AT_ONCE).try_filter_map(future::ok).try_collect().await
}

/// Why S3 would not let a version go; `None` if it would.
async fn lock(s3: &Client, bucket: Bucket<'_>, key: &str, version: &str) -> Result<Option<String>, ApiError> {
    const NONE: &str = "NoSuchObjectLockConfiguration";
    let hold = s3.get_object_legal_hold().bucket(bucket.name.as_str()).expected_bucket_owner(bucket.owner.as_str());
    let retention = s3.get_object_retention().bucket(bucket.name.as_str()).expected_bucket_owner(bucket.owner.as_str());
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
pub(super) async fn delete_bucket(s3: &Client, bucket: Bucket<'_>, deleted: impl Fn(usize)) -> Result<(), EmptyError> {
    for pass in 1.. {
        abort_uploads(s3, bucket).await?;
        let kept = delete_versions(s3, bucket, &deleted).await?;
        let last = pass == PASSES;
        if kept.count > 0 && (last || !kept.passing) {
            return Err(EmptyError::Kept(kept));
        }
        if kept.count == 0 {
            let sent = s3.delete_bucket().bucket(bucket.name.as_str()).expected_bucket_owner(bucket.owner.as_str());
            match api::unless_absent("DeleteBucket", sent.send().await, "NoSuchBucket") {
                Ok(_) => return Ok(()),
                // A trail goes on delivering for a while.
                Err(error) if error.code.as_deref() == Some("BucketNotEmpty") && !last => {}
                Err(error) => return Err(error.into()),
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

async fn abort_uploads(s3: &Client, bucket: Bucket<'_>) -> Result<(), ApiError> {
    let mut pages = pin!(uploads(s3, bucket));
    while let Some(page) = pages.try_next().await? {
        let uploads = page.uploads.unwrap_or_default();
        let aborts = stream::iter(uploads).map(|upload| async move {
            let abort = s3.abort_multipart_upload().bucket(bucket.name.as_str());
            let abort = abort.expected_bucket_owner(bucket.owner.as_str());
            let sent = abort.set_key(upload.key).set_upload_id(upload.upload_id).send().await;
            api::unless_absent("AbortMultipartUpload", sent, "NoSuchUpload")
        });
        aborts.buffer_unordered(AT_ONCE).try_for_each(|_| future::ok(())).await?;
    }
    Ok(())
}

/// One pass over the bucket; what S3 kept.
async fn delete_versions(s3: &Client, bucket: Bucket<'_>, deleted: &impl Fn(usize)) -> Result<Kept, ApiError> {
    let requests = versions(s3, bucket).map_ok(|page| delete(s3, bucket, page));
    let mut answers = pin!(requests.try_buffer_unordered(AT_ONCE));
    let mut all = Kept::default();
    while let Some((sent, kept)) = answers.try_next().await? {
        deleted(sent - kept.count.min(sent));
        all.count += kept.count;
        all.passing |= kept.passing;
        all.some.extend(kept.some);
        all.some.truncate(NAMES);
    }
    Ok(all)
}

/// Deletes a page of versions: how many that were, and what S3 kept of them.
async fn delete(s3: &Client, bucket: Bucket<'_>, page: ListObjectVersionsOutput) -> Result<(usize, Kept), ApiError> {
    let versions = page.versions.into_iter().flatten().map(|it| (it.key, it.version_id));
    let markers = page.delete_markers.into_iter().flatten().map(|it| (it.key, it.version_id));
    let objects = versions
        .chain(markers)
        .filter_map(|(key, version)| ObjectIdentifier::builder().set_key(key).set_version_id(version).build().ok());
    let objects: Vec<_> = objects.collect();
    let sent = objects.len();
    if sent == 0 {
        return Ok((0, Kept::default()));
    }
    let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build();
    let delete = delete.map_err(|error| ApiError::new("DeleteObjects", error))?;
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(PATIENCE).build();
    let request = s3.delete_objects().bucket(bucket.name.as_str()).expected_bucket_owner(bucket.owner.as_str());
    let request = request.delete(delete).customize();
    let request = request.config_override(aws_sdk_s3::config::Builder::new().timeout_config(timeouts));
    let errors = api::output("DeleteObjects", request.send().await)?.errors.unwrap_or_default();
    let name = |it: &aws_sdk_s3::types::Error| {
        let text = |it: Option<&str>| it.unwrap_or_default().to_owned();
        format!("{} (version {}: {})", text(it.key()), text(it.version_id()), text(it.code()))
    };
    Ok((
        sent,
        Kept {
            count: errors.len(),
            passing: errors.iter().any(|it| it.code() != Some("AccessDenied")),
            some: errors.iter().take(NAMES).map(name).collect(),
        },
    ))
}

/// Every version and delete marker, a page after the other.
fn versions(s3: &Client, bucket: Bucket<'_>) -> impl Stream<Item = Result<ListObjectVersionsOutput, ApiError>> {
    stream::try_unfold(Some((None, None)), move |at| async move {
        let Some((key, version)) = at else { return Ok(None) };
        let list = s3.list_object_versions().bucket(bucket.name.as_str());
        let list = list.expected_bucket_owner(bucket.owner.as_str());
        let list = list.set_key_marker(key).set_version_id_marker(version);
        let page = api::output("ListObjectVersions", list.send().await)?;
        let next = page.next_key_marker.clone().filter(|_| page.is_truncated == Some(true));
        let next = next.map(|key| (Some(key), page.next_version_id_marker.clone()));
        Ok(Some((page, next)))
    })
}

/// Every unfinished upload, a page after the other.
fn uploads(s3: &Client, bucket: Bucket<'_>) -> impl Stream<Item = Result<ListMultipartUploadsOutput, ApiError>> {
    stream::try_unfold(Some((None, None)), move |at| async move {
        let Some((key, upload)) = at else { return Ok(None) };
        let list = s3.list_multipart_uploads().bucket(bucket.name.as_str());
        let list = list.expected_bucket_owner(bucket.owner.as_str());
        let list = list.set_key_marker(key).set_upload_id_marker(upload);
        let page = api::output("ListMultipartUploads", list.send().await)?;
        let next = page.next_key_marker.clone().filter(|_| page.is_truncated == Some(true));
        let next = next.map(|key| (Some(key), page.next_upload_id_marker.clone()));
        Ok(Some((page, next)))
    })
}
