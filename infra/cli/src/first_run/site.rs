//! The bucket that a first run takes place in: whether it fits, what it was like, and how that comes back.
//!
//! All that a run writes is known by its name, so that the next run can remove what one that was killed left behind.

use std::time::Duration;

use aws_sdk_s3::{
    Client,
    types::{BucketVersioningStatus, VersioningConfiguration},
};
use guardrail::{api, clients::Readers, control, observe, store::registry};
use guardrail_core::value::{
    failure::ApiError,
    names::{BucketName, KeyArn, bucket_arn},
    policy::Statement,
    xml::Element,
};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::{error::CliError, list, session::Session};

/// All objects and rules of a first run begin so.
pub(super) const PREFIX: &str = "s3-guardrail-first-run";

/// All statements of a first run begin so. A Sid holds letters and digits only.
pub(super) const SID: &str = "S3GuardrailFirstRun";

/// What the bucket was like, kept in it until it is so again.
const NOTE: &str = "s3-guardrail-first-run/before.json";

/// How long a write may take to have its effect.
const EFFECT: Duration = Duration::from_secs(30);

const SETTLED: Duration = Duration::from_secs(3);

const BETWEEN: Duration = Duration::from_millis(500);

/// The bucket, and the key that uploads are to name.
pub(super) struct Site<'a> {
    pub(super) session: &'a Session,
    pub(super) bucket: &'a BucketName,
    pub(super) key: KeyArn,
    /// Which alias leads to the key.
    pub(super) alias: &'static str,
}

/// What the bucket was like before the first run wrote anything, as far as its name does not tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Before {
    /// `None`: versions were never kept. S3 has no way back to that.
    pub(super) versioning: Option<String>,
}

/// A version or delete marker, or an upload that was not completed: its key and its id.
type Named = (String, String);

/// Why nothing is tried in this bucket; it must be empty, unused, and such that everything can be removed again.
pub(super) async fn fit(session: &Session, bucket: &BucketName) -> Result<(), CliError> {
    let refused = |problem: String| CliError::Refused { bucket: bucket.clone(), problem };
    match session.reachable(bucket).await {
        Err(CliError::NoBucket { .. }) => {
            let make = format!("aws s3api create-bucket --bucket {}", bucket);
            return Err(refused(format!("there is no such bucket; make one to throw away first: {make}")));
        }
        reached => reached?,
    }
    let guardrail = &session.guardrail;
    if registry::read(&guardrail.ssm, &guardrail.config.parameter_prefix, bucket).await?.is_some() {
        return Err(refused("it is guarded; take a bucket to throw away".to_owned()));
    }
    for (name, document) in list::documents(session).await? {
        let Ok(registration) = list::parse(&name, &document) else { continue };
        let kept_in = [registration.log_bucket(), registration.inventory_bucket()];
        if kept_in.into_iter().flatten().any(|it| it == *bucket) {
            return Err(refused(format!("the guarded bucket {name} keeps its logs or inventory here")));
        }
    }
    let trails = guardrail.cloudtrail.describe_trails().include_shadow_trails(true).send().await;
    let trails = api::output("DescribeTrails", trails).map_err(CliError::NotFoundOut)?;
    if trails.trail_list().iter().any(|it| it.s3_bucket_name() == Some(bucket.as_str())) {
        return Err(refused("a trail delivers to it; take a bucket to throw away".to_owned()));
    }
    if control::versioning::read(guardrail.readers(), bucket).await.map_err(CliError::NotFoundOut)?.mfa_delete {
        return Err(refused("it has MFA Delete on, and what is written could not be removed again".to_owned()));
    }
    if let Some(retention) =
        observe::default_retention(guardrail.readers(), bucket).await.map_err(CliError::NotFoundOut)?
    {
        return Err(refused(format!("Object Lock keeps every new object for {retention}")));
    }
    let versions = versions(&guardrail.s3, bucket, "").await.map_err(CliError::NotFoundOut)?;
    let uploads = uploads(&guardrail.s3, bucket, "").await.map_err(CliError::NotFoundOut)?;
    let theirs = versions.iter().chain(&uploads).find(|(key, _)| !is_own(key));
    theirs.map_or(Ok(()), |(key, _)| Err(refused(format!("it is not empty: it holds {key:?}; take an empty one"))))
}

/// The key that a bootstrap would take, or the one that every account has.
pub(super) async fn key(session: &Session, bucket: &BucketName) -> Result<(KeyArn, &'static str), CliError> {
    for alias in ["alias/s3-secure-data", "alias/aws/s3"] {
        let described = session.guardrail.kms.describe_key().key_id(alias).send().await;
        let described = match api::unless_absent("DescribeKey", described, "NotFoundException") {
            Err(error) if error.denied_by().is_none() => return Err(CliError::NotFoundOut(error)),
            described => described.ok().flatten(),
        };
        let arn = described.and_then(|it| it.key_metadata).and_then(|it| it.arn);
        if let Some(arn) = arn.and_then(|it| it.parse().ok()) {
            return Ok((arn, alias));
        }
    }
    let problem = format!(
        "no key to try with: alias/s3-secure-data and alias/aws/s3 are absent, or you may not describe them; one upload \
         makes the latter: echo | aws s3 cp - s3://{}/{PREFIX}/key --sse aws:kms",
        bucket
    );
    Err(CliError::Refused { bucket: bucket.clone(), problem })
}

impl Site<'_> {
    pub(super) fn s3(&self) -> &Client {
        &self.session.guardrail.s3
    }

    pub(super) fn readers(&self) -> Readers<'_> {
        self.session.guardrail.readers()
    }

    pub(super) fn name(&self) -> &str {
        self.bucket.as_str()
    }

    pub(super) fn arn(&self) -> String {
        bucket_arn(self.session.guardrail.config.place().partition, self.bucket)
    }

    /// What the bucket was like: an earlier run's note, or what it is now.
    pub(super) async fn before(&self) -> Result<Before, ApiError> {
        let get = self.s3().get_object().bucket(self.name()).key(NOTE);
        let Some(note) = api::unless_absent("GetObject", get.send().await, "NoSuchKey")? else {
            let versioning = control::versioning::read(self.readers(), self.bucket).await?;
            return Ok(Before { versioning: versioning.status });
        };
        let note = note.body.collect().await.map_err(|error| ApiError::new("GetObject", error))?;
        serde_json::from_slice(&note.into_bytes()).map_err(|error| ApiError::new("GetObject", error))
    }

    /// Keeps what the bucket was like, before anything of it is changed.
    pub(super) async fn keep(&self, before: &Before) -> Result<(), ApiError> {
        let note = serde_json::to_vec(before).map_err(|error| ApiError::new("PutObject", error))?;
        let put = self.s3().put_object().bucket(self.name()).key(NOTE);
        let put = put.server_side_encryption(aws_sdk_s3::types::ServerSideEncryption::AwsKms);
        api::done("PutObject", put.ssekms_key_id(self.key.as_str()).body(note.into()).send().await)
    }

    /// Adds statements to the bucket's policy, which all carry our Sid, in place of those that do.
    pub(super) async fn put_statements(&self, ours: &[Statement]) -> Result<(), ApiError> {
        let found = control::bucket_policy::read(self.readers(), self.bucket).await?;
        let mut policy = found.clone();
        policy.statements.retain(|it| !it.sid().is_some_and(|sid| sid.starts_with(SID)));
        policy.statements.extend_from_slice(ours);
        if policy == found {
            return Ok(());
        }
        if policy.statements.is_empty() {
            #[expect(clippy::disallowed_methods, reason = "nothing but our own statements is in it")]
            let delete = self.s3().delete_bucket_policy().bucket(self.name());
            return api::done("DeleteBucketPolicy", delete.send().await);
        }
        let put = self.s3().put_bucket_policy().bucket(self.name());
        api::done("PutBucketPolicy", put.policy(policy.document()).send().await)
    }

    pub(super) async fn put_versioning(&self, status: &str) -> Result<(), ApiError> {
        let status = VersioningConfiguration::builder().status(BucketVersioningStatus::from(status)).build();
        let put = self.s3().put_bucket_versioning().bucket(self.name());
        api::done("PutBucketVersioning", put.versioning_configuration(status).send().await)
    }

    /// Puts everything as it was, whatever of it a run had come to. What is left is named, with the reason.
    pub(super) async fn restore(&self, before: &Before) -> Vec<String> {
        self.remove(before).await;
        // Once more, for what a read did not show yet.
        sleep(SETTLED).await;
        let mut left = self.remove(before).await;
        // Last, and only when there is nothing more that it would be needed for.
        if left.is_empty() {
            left.extend(self.remove_versions(|key| key == NOTE).await.err().map(|error| format!("{NOTE}: {error}")));
        }
        left
    }

    async fn remove(&self, before: &Before) -> Vec<String> {
        [
            ("its policy", self.put_statements(&[]).await),
            ("its lifecycle rules", self.remove_rules().await),
            ("its versioning", self.restore_versioning(before).await),
            ("uploads", self.abort_uploads().await),
            ("objects", self.remove_objects().await),
        ]
        .into_iter()
        .filter_map(|(what, done)| Some(format!("{what}: {}", done.err()?)))
        .collect()
    }

    async fn restore_versioning(&self, before: &Before) -> Result<(), ApiError> {
        let now = control::versioning::read(self.readers(), self.bucket).await?.status;
        if now == before.versioning {
            return Ok(());
        }
        let status = before.versioning.as_deref().unwrap_or("Suspended");
        let mut put = Ok(());
        // The statement that denied it may be in force for a while.
        within_a_while(async || {
            put = self.put_versioning(status).await;
            put.is_ok()
        })
        .await;
        put
    }

    /// All of them are ours: none were written beside others.
    async fn remove_rules(&self) -> Result<(), ApiError> {
        let lifecycle = control::lifecycle::read(self.readers(), self.bucket).await?;
        let is_own = |it: &Element| it.child_text("ID").is_some_and(|id| id.starts_with(PREFIX));
        if !lifecycle.rules.iter().any(is_own) {
            return Ok(());
        }
        if !lifecycle.rules.iter().all(is_own) {
            let problem = format!("somebody put rules beside those named {PREFIX}…; remove those by hand");
            return Err(ApiError::new("DeleteBucketLifecycle", problem));
        }
        let delete = self.s3().delete_bucket_lifecycle().bucket(self.name());
        api::done("DeleteBucketLifecycle", delete.send().await)
    }

    async fn abort_uploads(&self) -> Result<(), ApiError> {
        for (key, id) in uploads(self.s3(), self.bucket, PREFIX).await? {
            let abort = self.s3().abort_multipart_upload().bucket(self.name());
            let aborted = abort.key(key).upload_id(id).send().await;
            api::unless_absent("AbortMultipartUpload", aborted, "NoSuchUpload")?;
        }
        Ok(())
    }

    async fn remove_objects(&self) -> Result<(), ApiError> {
        self.remove_versions(|key| is_own(key) && key != NOTE).await
    }

    async fn remove_versions(&self, is_to_go: impl Fn(&str) -> bool) -> Result<(), ApiError> {
        for (key, version) in versions(self.s3(), self.bucket, PREFIX).await? {
            if is_to_go(&key) {
                let delete = self.s3().delete_object().bucket(self.name());
                api::done("DeleteObject", delete.key(key).version_id(version).send().await)?;
            }
        }
        Ok(())
    }
}

/// Asks again until it is so, for half a minute at most.
pub(super) async fn within_a_while(mut is_so: impl AsyncFnMut() -> bool) -> bool {
    let begin = Instant::now();
    loop {
        if is_so().await {
            return true;
        }
        if begin.elapsed() > EFFECT {
            return false;
        }
        sleep(BETWEEN).await;
    }
}

fn is_own(key: &str) -> bool {
    key.strip_prefix(PREFIX).is_some_and(|it| it.starts_with('/'))
}

/// Every version and delete marker.
async fn versions(s3: &Client, bucket: &BucketName, prefix: &str) -> Result<Vec<Named>, ApiError> {
    let mut found = Vec::new();
    let (mut key_marker, mut version_marker) = (None, None);
    loop {
        let list = s3.list_object_versions().bucket(bucket.as_str());
        let list = list.prefix(prefix).set_key_marker(key_marker).set_version_id_marker(version_marker);
        let page = api::output("ListObjectVersions", list.send().await)?;
        let objects = page.versions().iter().map(|it| (it.key(), it.version_id()));
        let markers = page.delete_markers().iter().map(|it| (it.key(), it.version_id()));
        found.extend(objects.chain(markers).filter_map(|(key, version)| Some((key?.to_owned(), version?.to_owned()))));
        // One that is somebody else's is enough to know.
        if page.is_truncated != Some(true) || found.iter().any(|(key, _)| !is_own(key)) {
            return Ok(found);
        }
        (key_marker, version_marker) = (page.next_key_marker, page.next_version_id_marker);
    }
}

/// The first thousand: a run has two.
async fn uploads(s3: &Client, bucket: &BucketName, prefix: &str) -> Result<Vec<Named>, ApiError> {
    let list = s3.list_multipart_uploads().bucket(bucket.as_str());
    let list = api::output("ListMultipartUploads", list.prefix(prefix).send().await)?;
    let named = list.uploads().iter().filter_map(|it| Some((it.key()?.to_owned(), it.upload_id()?.to_owned())));
    Ok(named.collect())
}
