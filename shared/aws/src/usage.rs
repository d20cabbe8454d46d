//! Reading what a bucket is used for, beyond the settings that the baseline has.

use aws_sdk_s3::{
    Client,
    types::{ReplicationRule, ReplicationRuleStatus, SseKmsEncryptedObjectsStatus},
};
use guardrail_core::{
    decide::adoption::{Listed, Replication, Usage, Versions, Website},
    value::{
        failure::{ApiError, Read},
        names::BucketName,
    },
};
use jiff::Timestamp;

use crate::api::{output, unless_absent};

/// How many pages of 1,000 versions are looked through.
const PAGES: usize = 10;

/// Reads a bucket's website, its replication, and what it holds. `cutoff`: which versions count as old; `None`: none do.
pub async fn usage(s3: &Client, bucket: &BucketName, cutoff: Option<Timestamp>) -> Usage {
    let (website, replication, versions) =
        tokio::join!(website(s3, bucket), replication(s3, bucket), versions(s3, bucket, cutoff));
    Usage { website, replication, versions }
}

async fn website(s3: &Client, bucket: &BucketName) -> Read<Option<Website>> {
    let sent = s3.get_bucket_website().bucket(bucket.as_str()).send().await;
    let output = unless_absent("GetBucketWebsite", sent, "NoSuchWebsiteConfiguration")?;
    Ok(output.map(|it| match it.redirect_all_requests_to() {
        Some(redirect) => Website::Redirect { host: redirect.host_name().to_owned() },
        None => Website::Documents { index: it.index_document().map_or("unknown", |it| it.suffix()).to_owned() },
    }))
}

async fn replication(s3: &Client, bucket: &BucketName) -> Read<Vec<Replication>> {
    let sent = s3.get_bucket_replication().bucket(bucket.as_str()).send().await;
    let output = unless_absent("GetBucketReplication", sent, "ReplicationConfigurationNotFoundError")?;
    let rules = output.and_then(|it| it.replication_configuration).map(|it| it.rules).unwrap_or_default();
    Ok(rules.iter().map(replication_of).collect())
}

fn replication_of(rule: &ReplicationRule) -> Replication {
    let selected = rule.source_selection_criteria().and_then(|it| it.sse_kms_encrypted_objects()).map(|it| it.status());
    let destination = rule.destination();
    let key = destination.and_then(|it| it.encryption_configuration()).and_then(|it| it.replica_kms_key_id());
    Replication {
        id: rule.id().unwrap_or("without ID").to_owned(),
        enabled: *rule.status() == ReplicationRuleStatus::Enabled,
        destination: destination.map_or("unknown", |it| it.bucket()).to_owned(),
        kms: selected == Some(&SseKmsEncryptedObjectsStatus::Enabled) && key.is_some(),
    }
}

async fn versions(s3: &Client, bucket: &BucketName, cutoff: Option<Timestamp>) -> Read<Versions> {
    const OPERATION: &str = "ListObjectVersions";
    let mut versions = Versions::default();
    let (mut key, mut version) = (None, None);
    // Whether it holds anything, one page says.
    for _ in 0..cutoff.map_or(1, |_| PAGES) {
        let list = s3.list_object_versions().bucket(bucket.as_str());
        let list = list.set_key_marker(key).set_version_id_marker(version);
        let page = output(OPERATION, list.send().await)?;
        let listed = |key: Option<&str>, modified: Option<&aws_sdk_s3::primitives::DateTime>, latest, size| {
            let seconds = modified.map(|it| it.secs()).unwrap_or_default();
            let modified = Timestamp::from_second(seconds).map_err(|error| ApiError::new(OPERATION, error))?;
            Ok::<_, ApiError>(Listed {
                key: key.unwrap_or_default().to_owned(),
                modified,
                latest: latest == Some(true),
                size,
            })
        };
        let bytes = |size: Option<i64>| size.map_or(Some(0), |it| u64::try_from(it).ok());
        let objects =
            page.versions().iter().map(|it| listed(it.key(), it.last_modified(), it.is_latest, bytes(it.size)));
        let markers = page.delete_markers().iter().map(|it| listed(it.key(), it.last_modified(), it.is_latest, None));
        versions.take(objects.chain(markers).collect::<Result<_, _>>()?, cutoff);
        versions.more = page.is_truncated == Some(true);
        (key, version) = (page.next_key_marker, page.next_version_id_marker);
        if !versions.more {
            break;
        }
        if key.is_none() {
            return Err(ApiError::new(OPERATION, "S3 says that there is more, and not where"));
        }
    }
    Ok(versions)
}
