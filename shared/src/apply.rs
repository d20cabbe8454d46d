//! Writing a bucket. Nothing is decided here.

use aws_sdk_s3::{
    Client,
    config::{
        AppName, ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextMut,
        retry::RetryConfig,
    },
    error::{BoxError, BuildError},
    primitives::SdkBody,
    types::{
        BlockedEncryptionTypes, BucketCannedAcl, BucketLifecycleConfiguration, BucketVersioningStatus, EncryptionType,
        InventoryConfiguration, InventoryDestination, InventoryEncryption, InventoryFormat, InventoryFrequency,
        InventoryIncludedObjectVersions, InventoryOptionalField, InventoryS3BucketDestination, InventorySchedule,
        ObjectOwnership, OwnershipControls, OwnershipControlsRule, PublicAccessBlockConfiguration,
        ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration,
        ServerSideEncryptionRule, Ssekms, Sses3, TransitionDefaultMinimumObjectSize, VersioningConfiguration,
    },
};

use crate::{
    api::{ApiError, done},
    baseline::{self, DefaultEncryption, INVENTORY_ID, PublicAccessBlock, ReportEncryption},
    lifecycle::Lifecycle,
    observe::Bucket,
    plan::Change,
    policy::Policy,
};

/// In the user agent of writes made on an echo of our own; CloudTrail keeps it, so the next echo knows.
pub const ECHO_APP_NAME: &str = "s3-guardrail-echo";

/// A client for writes. It does not retry by itself: what a retry writes has to be read again first.
pub fn writer(s3: &Client, app_name: &'static str) -> Client {
    let app_name = AppName::new(app_name).expect("our app names are plain text");
    let config = s3.config().to_builder().retry_config(RetryConfig::disabled()).app_name(app_name);
    Client::from_conf(config.build())
}

/// Writes what the plan says: one request, two for object ownership.
pub async fn apply(s3: &Client, bucket: Bucket<'_>, change: &Change) -> Result<(), ApiError> {
    match change {
        Change::PublicAccessBlock(drift) => put_public_access_block(s3, bucket, drift.desired).await,
        Change::ObjectOwnership(_) => {
            // S3 refuses to enforce ownership while the ACL grants others anything.
            put_private_acl(s3, bucket).await?;
            put_ownership_enforced(s3, bucket).await
        }
        Change::BucketPolicy(drift) => put_bucket_policy(s3, bucket, &drift.desired).await,
        Change::DefaultEncryption(drift) => put_bucket_encryption(s3, bucket, &drift.desired).await,
        Change::Versioning(_) => put_versioning_enabled(s3, bucket).await,
        Change::Lifecycle(drift) => put_lifecycle(s3, bucket, &drift.desired).await,
        Change::Inventory(drift) => put_inventory(s3, bucket, &drift.desired).await,
    }
}

async fn put_public_access_block(s3: &Client, bucket: Bucket<'_>, block: PublicAccessBlock) -> Result<(), ApiError> {
    let PublicAccessBlock { block_public_acls, ignore_public_acls, block_public_policy, restrict_public_buckets } =
        block;
    let config = PublicAccessBlockConfiguration::builder()
        .block_public_acls(block_public_acls)
        .ignore_public_acls(ignore_public_acls)
        .block_public_policy(block_public_policy)
        .restrict_public_buckets(restrict_public_buckets);
    let put = s3.put_public_access_block().bucket(bucket.name.as_str()).expected_bucket_owner(bucket.owner.as_str());
    done("PutPublicAccessBlock", put.public_access_block_configuration(config.build()).send().await)
}

async fn put_private_acl(s3: &Client, bucket: Bucket<'_>) -> Result<(), ApiError> {
    let put = s3.put_bucket_acl().bucket(bucket.name.as_str()).expected_bucket_owner(bucket.owner.as_str());
    match done("PutBucketAcl", put.acl(BucketCannedAcl::Private).send().await) {
        // Somebody turned ACLs off since we read.
        Err(error) if error.code.as_deref() == Some("AccessControlListNotSupported") => Ok(()),
        other => other,
    }
}

async fn put_ownership_enforced(s3: &Client, bucket: Bucket<'_>) -> Result<(), ApiError> {
    const OPERATION: &str = "PutBucketOwnershipControls";
    let rule = OwnershipControlsRule::builder().object_ownership(ObjectOwnership::BucketOwnerEnforced);
    let rule = built(OPERATION, rule.build())?;
    let controls = built(OPERATION, OwnershipControls::builder().rules(rule).build())?;
    let put =
        s3.put_bucket_ownership_controls().bucket(bucket.name.as_str()).expected_bucket_owner(bucket.owner.as_str());
    done(OPERATION, put.ownership_controls(controls).send().await)
}

async fn put_bucket_policy(s3: &Client, bucket: Bucket<'_>, policy: &Policy) -> Result<(), ApiError> {
    let put = s3.put_bucket_policy().bucket(bucket.name.as_str()).expected_bucket_owner(bucket.owner.as_str());
    done("PutBucketPolicy", put.policy(policy.document()).send().await)
}

async fn put_bucket_encryption(s3: &Client, bucket: Bucket<'_>, desired: &DefaultEncryption) -> Result<(), ApiError> {
    const OPERATION: &str = "PutBucketEncryption";
    let DefaultEncryption { algorithm, kms_key, bucket_key, blocked } = desired;
    let by_default = ServerSideEncryptionByDefault::builder()
        .set_sse_algorithm(algorithm.as_deref().map(ServerSideEncryption::from))
        .set_kms_master_key_id(kms_key.clone());
    let blocked = blocked.iter().map(|it| EncryptionType::from(it.as_str())).collect();
    let rule = ServerSideEncryptionRule::builder()
        .apply_server_side_encryption_by_default(built(OPERATION, by_default.build())?)
        .bucket_key_enabled(*bucket_key)
        .blocked_encryption_types(BlockedEncryptionTypes::builder().set_encryption_type(Some(blocked)).build());
    let config = built(OPERATION, ServerSideEncryptionConfiguration::builder().rules(rule.build()).build())?;
    let put = s3.put_bucket_encryption().bucket(bucket.name.as_str()).expected_bucket_owner(bucket.owner.as_str());
    done(OPERATION, put.server_side_encryption_configuration(config).send().await)
}

async fn put_versioning_enabled(s3: &Client, bucket: Bucket<'_>) -> Result<(), ApiError> {
    let config = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let put = s3.put_bucket_versioning().bucket(bucket.name.as_str()).expected_bucket_owner(bucket.owner.as_str());
    done("PutBucketVersioning", put.versioning_configuration(config).send().await)
}

async fn put_lifecycle(s3: &Client, bucket: Bucket<'_>, desired: &Lifecycle) -> Result<(), ApiError> {
    const OPERATION: &str = "PutBucketLifecycleConfiguration";
    let size = desired.transition_default_minimum_object_size.as_deref().map(TransitionDefaultMinimumObjectSize::from);
    let empty = BucketLifecycleConfiguration::builder().set_rules(Some(Vec::new()));
    let put = s3
        .put_bucket_lifecycle_configuration()
        .bucket(bucket.name.as_str())
        .expected_bucket_owner(bucket.owner.as_str())
        .lifecycle_configuration(built(OPERATION, empty.build())?)
        .set_transition_default_minimum_object_size(size);
    done(OPERATION, put.customize().interceptor(ReplaceBody(desired.document())).send().await)
}

async fn put_inventory(s3: &Client, bucket: Bucket<'_>, desired: &baseline::Inventory) -> Result<(), ApiError> {
    const OPERATION: &str = "PutBucketInventoryConfiguration";
    let baseline::Inventory {
        is_enabled,
        included_object_versions,
        frequency,
        format,
        bucket: destination_bucket,
        account_id,
        prefix,
        encryption,
        filter_prefix: _,
        optional_fields,
    } = desired;
    let encryption = match encryption {
        ReportEncryption::Absent => None,
        ReportEncryption::S3 => Some(InventoryEncryption::builder().sses3(Sses3::builder().build()).build()),
        ReportEncryption::Kms(key) => {
            let key = built(OPERATION, Ssekms::builder().key_id(key).build())?;
            Some(InventoryEncryption::builder().ssekms(key).build())
        }
    };
    let destination = InventoryS3BucketDestination::builder()
        .bucket(destination_bucket)
        .format(InventoryFormat::from(format.as_str()))
        .set_account_id(account_id.clone())
        .set_prefix(prefix.clone())
        .set_encryption(encryption);
    let destination = built(OPERATION, destination.build())?;
    let schedule = InventorySchedule::builder().frequency(InventoryFrequency::from(frequency.as_str()));
    let fields = optional_fields.iter().map(|it| InventoryOptionalField::from(it.as_str())).collect();
    let config = InventoryConfiguration::builder()
        .id(INVENTORY_ID)
        .is_enabled(*is_enabled)
        .included_object_versions(InventoryIncludedObjectVersions::from(included_object_versions.as_str()))
        .schedule(built(OPERATION, schedule.build())?)
        .destination(InventoryDestination::builder().s3_bucket_destination(destination).build())
        .set_optional_fields(Some(fields));
    let put = s3
        .put_bucket_inventory_configuration()
        .bucket(bucket.name.as_str())
        .expected_bucket_owner(bucket.owner.as_str())
        .id(INVENTORY_ID)
        .inventory_configuration(built(OPERATION, config.build())?);
    done(OPERATION, put.send().await)
}

fn built<T>(operation: &'static str, built: Result<T, BuildError>) -> Result<T, ApiError> {
    built.map_err(|error| ApiError::new(operation, error))
}

/// Sends a document of ours in place of the SDK's, which knows only the elements of its day.
/// Runs before checksum and signature.
#[derive(Debug)]
struct ReplaceBody(String);

impl Intercept for ReplaceBody {
    fn name(&self) -> &'static str {
        "ReplaceBody"
    }

    fn modify_before_retry_loop(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        request.headers_mut().insert("content-length", self.0.len().to_string());
        *request.body_mut() = SdkBody::from(self.0.as_str());
        Ok(())
    }
}
