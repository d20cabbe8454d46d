//! Reading a bucket: every setting at once, absence as a value.

use std::sync::{Arc, OnceLock};

use aws_sdk_s3::{
    Client,
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::AfterDeserializationInterceptorContextRef},
    error::BoxError,
    types::{Grant, InventoryConfiguration, MfaDeleteStatus, Permission},
};

use crate::{
    api::{ApiError, output, unless_absent},
    baseline::{
        DefaultEncryption, INVENTORY_ID, Inventory, ObjectOwnership, PublicAccessBlock, ReportEncryption, Versioning,
    },
    lifecycle::Lifecycle,
    names::{AccountId, BucketName},
    plan::{Observed, Read},
    policy::Policy,
    xml::Element,
};

/// A bucket as every call names it: with the owner it must have.
#[derive(Clone, Copy, Debug)]
pub struct Bucket<'a> {
    pub name: &'a BucketName,
    pub owner: &'a AccountId,
}

/// Reads every setting of the baseline, in one round trip's time.
pub async fn observe(s3: &Client, bucket: Bucket<'_>) -> Observed {
    let (public_access_block, object_ownership, bucket_policy, default_encryption, versioning, lifecycle, inventory) = tokio::join!(
        public_access_block(s3, bucket),
        object_ownership(s3, bucket),
        bucket_policy(s3, bucket),
        default_encryption(s3, bucket),
        versioning(s3, bucket),
        lifecycle(s3, bucket),
        inventory(s3, bucket),
    );
    Observed {
        public_access_block,
        object_ownership,
        bucket_policy,
        default_encryption,
        versioning,
        lifecycle,
        inventory,
    }
}

async fn public_access_block(s3: &Client, bucket: Bucket<'_>) -> Read<PublicAccessBlock> {
    let get = s3.get_public_access_block().bucket(bucket.name.as_str()).expected_bucket_owner(bucket.owner.as_str());
    let output = unless_absent("GetPublicAccessBlock", get.send().await, "NoSuchPublicAccessBlockConfiguration")?;
    let Some(config) = output.and_then(|it| it.public_access_block_configuration) else {
        return Ok(PublicAccessBlock::default());
    };
    Ok(PublicAccessBlock {
        block_public_acls: config.block_public_acls == Some(true),
        ignore_public_acls: config.ignore_public_acls == Some(true),
        block_public_policy: config.block_public_policy == Some(true),
        restrict_public_buckets: config.restrict_public_buckets == Some(true),
    })
}

async fn object_ownership(s3: &Client, bucket: Bucket<'_>) -> Read<ObjectOwnership> {
    let (object_ownership, acl_grants) = tokio::try_join!(ownership_controls(s3, bucket), acl_grants(s3, bucket))?;
    Ok(ObjectOwnership { object_ownership, acl_grants })
}

async fn ownership_controls(s3: &Client, bucket: Bucket<'_>) -> Read<Option<String>> {
    let get =
        s3.get_bucket_ownership_controls().bucket(bucket.name.as_str()).expected_bucket_owner(bucket.owner.as_str());
    let output = unless_absent("GetBucketOwnershipControls", get.send().await, "OwnershipControlsNotFoundError")?;
    let rule = output.and_then(|it| it.ownership_controls).and_then(|it| it.rules.into_iter().next());
    Ok(rule.map(|it| it.object_ownership.as_str().to_owned()))
}

async fn acl_grants(s3: &Client, bucket: Bucket<'_>) -> Read<Vec<String>> {
    let get = s3.get_bucket_acl().bucket(bucket.name.as_str()).expected_bucket_owner(bucket.owner.as_str());
    let output = output("GetBucketAcl", get.send().await)?;
    let owner = output.owner().and_then(|it| it.id());
    let is_owners = |grant: &&Grant| {
        owner.is_some()
            && grant.grantee().and_then(|it| it.id()) == owner
            && grant.permission() == Some(&Permission::FullControl)
    };
    let text = |grant: &Grant| {
        let grantee = grant.grantee().and_then(|it| it.uri().or(it.id()).or(it.email_address())).unwrap_or("unknown");
        format!("{grantee} {}", grant.permission().map_or("unknown", Permission::as_str))
    };
    Ok(output.grants().iter().filter(|it| !is_owners(it)).map(text).collect())
}

/// Reads the bucket policy.
pub async fn bucket_policy(s3: &Client, bucket: Bucket<'_>) -> Read<Policy> {
    const OPERATION: &str = "GetBucketPolicy";
    let get = s3.get_bucket_policy().bucket(bucket.name.as_str()).expected_bucket_owner(bucket.owner.as_str());
    match unless_absent(OPERATION, get.send().await, "NoSuchBucketPolicy")?.and_then(|it| it.policy) {
        Some(document) => Policy::parse(&document).map_err(|error| ApiError::new(OPERATION, error)),
        None => Ok(Policy::default()),
    }
}

async fn default_encryption(s3: &Client, bucket: Bucket<'_>) -> Read<DefaultEncryption> {
    let get = s3.get_bucket_encryption().bucket(bucket.name.as_str()).expected_bucket_owner(bucket.owner.as_str());
    // S3 has answered with SSE-S3 instead of this code since 2023.
    let output =
        unless_absent("GetBucketEncryption", get.send().await, "ServerSideEncryptionConfigurationNotFoundError")?;
    let rules = output.and_then(|it| it.server_side_encryption_configuration).map(|it| it.rules).unwrap_or_default();
    let Some(rule) = rules.into_iter().next() else { return Ok(DefaultEncryption::default()) };
    let blocked = rule.blocked_encryption_types().map(|it| it.encryption_type()).unwrap_or_default();
    let by_default = rule.apply_server_side_encryption_by_default();
    Ok(DefaultEncryption {
        algorithm: by_default.map(|it| it.sse_algorithm().as_str().to_owned()),
        kms_key: by_default.and_then(|it| it.kms_master_key_id()).map(str::to_owned),
        bucket_key: rule.bucket_key_enabled() == Some(true),
        blocked: blocked.iter().map(|it| it.as_str().to_owned()).collect(),
    })
}

async fn versioning(s3: &Client, bucket: Bucket<'_>) -> Read<Versioning> {
    let get = s3.get_bucket_versioning().bucket(bucket.name.as_str()).expected_bucket_owner(bucket.owner.as_str());
    let output = output("GetBucketVersioning", get.send().await)?;
    Ok(Versioning {
        status: output.status.map(|it| it.as_str().to_owned()),
        mfa_delete: output.mfa_delete == Some(MfaDeleteStatus::Enabled),
    })
}

/// Reads the lifecycle configuration.
pub async fn lifecycle(s3: &Client, bucket: Bucket<'_>) -> Read<Lifecycle> {
    const OPERATION: &str = "GetBucketLifecycleConfiguration";
    let body = CaptureBody::default();
    let get = s3
        .get_bucket_lifecycle_configuration()
        .bucket(bucket.name.as_str())
        .expected_bucket_owner(bucket.owner.as_str());
    let sent = get.customize().interceptor(body.clone()).send().await;
    let Some(output) = unless_absent(OPERATION, sent, "NoSuchLifecycleConfiguration")? else {
        return Ok(Lifecycle::default());
    };
    let document = body.0.get().map(String::as_str).unwrap_or_default();
    let root = Element::parse(document).map_err(|error| ApiError::new(OPERATION, error))?;
    Ok(Lifecycle {
        rules: root.children.into_iter().filter(|it| it.name == "Rule").collect(),
        transition_default_minimum_object_size: output
            .transition_default_minimum_object_size
            .map(|it| it.as_str().to_owned()),
    })
}

async fn inventory(s3: &Client, bucket: Bucket<'_>) -> Read<Option<Inventory>> {
    let get = s3
        .get_bucket_inventory_configuration()
        .bucket(bucket.name.as_str())
        .expected_bucket_owner(bucket.owner.as_str())
        .id(INVENTORY_ID);
    let output = unless_absent("GetBucketInventoryConfiguration", get.send().await, "NoSuchConfiguration")?;
    Ok(output.and_then(|it| it.inventory_configuration).map(|it| inventory_of(&it)))
}

fn inventory_of(config: &InventoryConfiguration) -> Inventory {
    let destination = config.destination().and_then(|it| it.s3_bucket_destination());
    let encryption = destination.and_then(|it| it.encryption());
    let kms_key = encryption.and_then(|it| it.ssekms()).map(|it| it.key_id().to_owned());
    Inventory {
        is_enabled: config.is_enabled(),
        included_object_versions: config.included_object_versions().as_str().to_owned(),
        frequency: config.schedule().map(|it| it.frequency().as_str().to_owned()).unwrap_or_default(),
        format: destination.map(|it| it.format().as_str().to_owned()).unwrap_or_default(),
        bucket: destination.map(|it| it.bucket().to_owned()).unwrap_or_default(),
        account_id: destination.and_then(|it| it.account_id()).map(str::to_owned),
        prefix: destination.and_then(|it| it.prefix()).map(str::to_owned),
        encryption: match (kms_key, encryption.and_then(|it| it.sses3())) {
            (Some(key), _) => ReportEncryption::Kms(key),
            (None, Some(_)) => ReportEncryption::S3,
            (None, None) => ReportEncryption::Absent,
        },
        filter_prefix: config.filter().map(|it| it.prefix().to_owned()),
        optional_fields: config.optional_fields().iter().map(|it| it.as_str().to_owned()).collect(),
    }
}

/// Keeps a response's body as S3 sent it: the SDK's types drop elements that are newer than the SDK.
#[derive(Clone, Debug, Default)]
struct CaptureBody(Arc<OnceLock<String>>);

impl Intercept for CaptureBody {
    fn name(&self) -> &'static str {
        "CaptureBody"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if context.response().status().is_success() {
            let bytes = context.response().body().bytes().ok_or("the response was not read to its end")?;
            self.0.get_or_init(|| String::from_utf8_lossy(bytes).into_owned());
        }
        Ok(())
    }
}
