//! Removing what a run made. Only keys of our own shape are ever touched.

use aws_sdk_s3::Client;
use guardrail_core::value::{failure::ApiError, names::BucketName};
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

use crate::api::{done, output};

/// All test objects are under this prefix.
pub const PREFIX: &str = "s3-guardrail-verify/";

const RUN_TIME: &str = "%Y%m%dT%H%M%SZ";

/// No run takes longer: what is older was left by one that was killed.
const STALE: SignedDuration = SignedDuration::from_hours(1);

/// A new run's name, which says when it began.
pub(super) fn run_id(now: Timestamp, random: u64) -> String {
    format!("{}-{:08x}", now.strftime(RUN_TIME), random >> 32)
}

/// Removes every version of every test object of this run, and of runs that were killed long ago, and the parts of
/// uploads that were not completed. What could not be removed is named, with the reason in the end.
pub(super) async fn clean_up(
    s3: &Client,
    bucket: &BucketName,
    run: &str,
    now: Timestamp,
) -> (Vec<String>, Option<String>) {
    let mut left = Vec::new();
    let mut error = None;
    for (what, removed) in [
        ("uploads", abort_uploads(s3, bucket, run, now).await),
        ("objects", remove_versions(s3, bucket, run, now).await),
    ] {
        match removed {
            Ok((stayed, failed)) => {
                left.extend(stayed);
                error = failed.or(error);
            }
            Err(failed) => {
                left.push(format!("{PREFIX}{run}/ (what {what} are there could not be listed)"));
                error = Some(failed);
            }
        }
    }
    (left, error.map(|it| format!("the test objects could not all be removed: {it}")))
}

/// The first thousand: the next run sees to more. An upload whose id we never heard is found here only.
async fn abort_uploads(
    s3: &Client,
    bucket: &BucketName,
    run: &str,
    now: Timestamp,
) -> Result<(Vec<String>, Option<ApiError>), ApiError> {
    let (mut left, mut error) = (Vec::new(), None);
    let list = s3.list_multipart_uploads().bucket(bucket.as_str());
    let list = output("ListMultipartUploads", list.prefix(PREFIX).send().await)?;
    let open = list.uploads().iter().filter_map(|it| it.key().zip(it.upload_id()));
    for (key, id) in open.filter(|(key, _)| is_removable(key, run, now)) {
        let abort = s3.abort_multipart_upload().bucket(bucket.as_str());
        if let Err(failed) = done("AbortMultipartUpload", abort.key(key).upload_id(id).send().await) {
            left.push(format!("{key} (multipart upload {id})"));
            error = Some(failed);
        }
    }
    Ok((left, error))
}

async fn remove_versions(
    s3: &Client,
    bucket: &BucketName,
    run: &str,
    now: Timestamp,
) -> Result<(Vec<String>, Option<ApiError>), ApiError> {
    let (mut left, mut error) = (Vec::new(), None);
    for (key, version) in versions(s3, bucket, PREFIX).await? {
        if !is_removable(&key, run, now) {
            continue;
        }
        let delete = s3.delete_object().bucket(bucket.as_str());
        if let Err(failed) = done("DeleteObject", delete.key(&key).version_id(&version).send().await) {
            left.push(format!("{key} (version {version})"));
            error = Some(failed);
        }
    }
    Ok((left, error))
}

/// Every version and delete marker under a prefix: key and version id.
pub(super) async fn versions(
    s3: &Client,
    bucket: &BucketName,
    prefix: &str,
) -> Result<Vec<(String, String)>, ApiError> {
    let mut found = Vec::new();
    let (mut key_marker, mut version_marker) = (None, None);
    loop {
        let list = s3
            .list_object_versions()
            .bucket(bucket.as_str())
            .prefix(prefix)
            .set_key_marker(key_marker)
            .set_version_id_marker(version_marker);
        let page = output("ListObjectVersions", list.send().await)?;
        let objects = page.versions().iter().map(|it| (it.key(), it.version_id()));
        let markers = page.delete_markers().iter().map(|it| (it.key(), it.version_id()));
        found.extend(objects.chain(markers).filter_map(|(key, version)| Some((key?.to_owned(), version?.to_owned()))));
        if page.is_truncated != Some(true) {
            return Ok(found);
        }
        (key_marker, version_marker) = (page.next_key_marker, page.next_version_id_marker);
    }
}

/// Whether a key is a test object of this run, or of one that must be dead.
fn is_removable(key: &str, run: &str, now: Timestamp) -> bool {
    let Some((its_run, _)) = key.strip_prefix(PREFIX).and_then(|it| it.split_once('/')) else { return false };
    its_run == run || begun(its_run).is_some_and(|it| now.duration_since(it) > STALE)
}

/// When a run began, by its name; `None` when that is no run's name.
fn begun(run: &str) -> Option<Timestamp> {
    let (time, random) = run.split_once('-')?;
    if random.len() != 8 || !random.bytes().all(|it| it.is_ascii_hexdigit()) {
        return None;
    }
    DateTime::strptime(RUN_TIME, time).ok()?.to_zoned(TimeZone::UTC).ok().map(|it| it.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_test_objects_of_this_run_and_of_dead_ones_are_removed() {
        let now: Timestamp = "2026-11-23T14:22:33Z".parse().unwrap();
        let run = run_id(now, 7 << 32);
        let dead = run_id("2026-11-23T13:00:00Z".parse().unwrap(), 7 << 32);
        let alive = run_id("2026-11-23T14:20:00Z".parse().unwrap(), 7 << 32);
        for (key, removable) in [
            (format!("{PREFIX}{run}/x"), true),
            (format!("{PREFIX}{dead}/x"), true),
            (format!("{PREFIX}{alive}/x"), false),
            (format!("{PREFIX}mine.txt"), false),
            (format!("{PREFIX}mine/x"), false),
            (format!("{PREFIX}20201123T130000Z-mine/x"), false),
            (format!("{run}/x"), false),
            (format!("a/{PREFIX}{run}/x"), false),
        ] {
            assert_eq!(is_removable(&key, &run, now), removable, "{key}");
        }
    }
}
