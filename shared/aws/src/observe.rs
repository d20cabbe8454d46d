//! Reading a bucket: every setting at once, absence as a value.

use std::sync::{Arc, OnceLock};

use aws_sdk_cloudtrail::{operation::RequestId, types as cloudtrail};
use aws_sdk_kms::types::KeyMetadata;
use aws_sdk_s3::{
    Client,
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::AfterDeserializationInterceptorContextRef},
    error::BoxError,
    operation::get_bucket_acl::GetBucketAclOutput,
    types::{Grant, InventoryConfiguration, MfaDeleteStatus, Permission},
};
use guardrail_core::{
    control::{
        default_encryption::DefaultEncryption,
        inventory::{INVENTORY_ID, Inventory, ReportEncryption},
        kms_key::{KeyPart, KeyState, KmsKey, Purpose, RequiredKey},
        lifecycle::Lifecycle,
        object_ownership::ObjectOwnership,
        public_access_block::PublicAccessBlock,
        trail::{AdvancedEventSelector, EventSelector, FieldSelector, RequiredTrail, Selectors, Trail, TrailPart},
        versioning::Versioning,
    },
    decide::baseline::Baseline,
    outcome::observed::{Observed, Seen},
    value::{
        failure::{ApiError, Read},
        names::{AccountId, BucketName, TrailArn},
        policy::Policy,
        xml::Element,
    },
};

use crate::{
    Guardrail,
    api::{output, unless_absent},
};

/// A bucket as every call names it: with the owner it must have.
#[derive(Clone, Copy, Debug)]
pub struct Bucket<'a> {
    pub name: &'a BucketName,
    pub owner: &'a AccountId,
}

/// Where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    pub bucket: bool,
    pub kms_key: bool,
    pub trail: bool,
}

impl Scope {
    pub const BUCKET: Self = Self { bucket: true, kms_key: false, trail: false };
    pub const KMS_KEY: Self = Self { bucket: false, kms_key: true, trail: false };
    pub const TRAIL: Self = Self { bucket: false, kms_key: false, trail: true };
    pub const EVERYTHING: Self = Self { bucket: true, kms_key: true, trail: true };
}

/// Looks wherever `scope` says, in one round trip's time.
pub async fn look(guardrail: &Guardrail, bucket: Bucket<'_>, baseline: &Baseline, scope: Scope) -> Seen {
    let Guardrail { s3, kms, cloudtrail, .. } = guardrail;
    let required_key = baseline.kms_key.as_ref().filter(|_| scope.kms_key);
    let required_trail = baseline.trail.as_ref().filter(|_| scope.trail);
    let (bucket, kms_key, trail) = tokio::join!(
        async { if scope.bucket { Some(observe(s3, bucket).await) } else { None } },
        async { Some(kms_key(kms, required_key?).await) },
        async { Some(trail(cloudtrail, required_trail?).await) },
    );
    Seen { bucket, kms_key, trail }
}

/// Reads every setting of the bucket itself, in one round trip's time.
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

/// Reads the bucket's Block Public Access.
pub async fn public_access_block(s3: &Client, bucket: Bucket<'_>) -> Read<PublicAccessBlock> {
    let get = s3.get_public_access_block().bucket(bucket.name.as_str()).expected_bucket_owner(bucket.owner.as_str());
    let output = unless_absent(
        "GetPublicAccessBlock",
        get.customize().interceptor(WholeXml).send().await,
        "NoSuchPublicAccessBlockConfiguration",
    )?;
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

/// Reads the Block Public Access of the whole account, which holds for each of its buckets, whatever they say themselves.
/// An Organizations S3 policy shows up here, too.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html>
pub async fn account_public_access_block(
    s3control: &aws_sdk_s3control::Client,
    account: &AccountId,
) -> Read<PublicAccessBlock> {
    let sent = s3control.get_public_access_block().account_id(account.as_str()).send().await;
    let output = unless_absent("GetPublicAccessBlock", sent, "NoSuchPublicAccessBlockConfiguration")?;
    let config = output.and_then(|it| it.public_access_block_configuration);
    Ok(config.map_or_else(PublicAccessBlock::default, |config| PublicAccessBlock {
        block_public_acls: config.block_public_acls == Some(true),
        ignore_public_acls: config.ignore_public_acls == Some(true),
        block_public_policy: config.block_public_policy == Some(true),
        restrict_public_buckets: config.restrict_public_buckets == Some(true),
    }))
}

/// The name of the bucket that an access point of the account leads to; `None`: there is no such access point.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_GetAccessPoint.html>
pub async fn bucket_of_access_point(
    s3control: &aws_sdk_s3control::Client,
    account: &AccountId,
    name: &str,
) -> Result<Option<String>, ApiError> {
    let sent = s3control.get_access_point().account_id(account.as_str()).name(name).send().await;
    Ok(unless_absent("GetAccessPoint", sent, "NoSuchAccessPoint")?.and_then(|it| it.bucket))
}

/// Reads who owns objects, and the ACL.
pub async fn object_ownership(s3: &Client, bucket: Bucket<'_>) -> Read<ObjectOwnership> {
    // Both to their end: a request that is given up takes its connection with it.
    let (object_ownership, acl_grants) = tokio::join!(ownership_controls(s3, bucket), acl_grants(s3, bucket));
    Ok(ObjectOwnership { object_ownership: object_ownership?, acl_grants })
}

async fn ownership_controls(s3: &Client, bucket: Bucket<'_>) -> Read<Option<String>> {
    let get =
        s3.get_bucket_ownership_controls().bucket(bucket.name.as_str()).expected_bucket_owner(bucket.owner.as_str());
    let output = unless_absent(
        "GetBucketOwnershipControls",
        get.customize().interceptor(WholeXml).send().await,
        "OwnershipControlsNotFoundError",
    )?;
    let rule = output.and_then(|it| it.ownership_controls).and_then(|it| it.rules.into_iter().next());
    Ok(rule.map(|it| it.object_ownership.as_str().to_owned()))
}

/// Reads the bucket's ACL, as it is.
pub async fn bucket_acl(s3: &Client, bucket: Bucket<'_>) -> Read<GetBucketAclOutput> {
    let get = s3.get_bucket_acl().bucket(bucket.name.as_str()).expected_bucket_owner(bucket.owner.as_str());
    output("GetBucketAcl", get.customize().interceptor(WholeXml).send().await)
}

async fn acl_grants(s3: &Client, bucket: Bucket<'_>) -> Read<Vec<String>> {
    let output = bucket_acl(s3, bucket).await?;
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

/// Reads the default encryption.
pub async fn default_encryption(s3: &Client, bucket: Bucket<'_>) -> Read<DefaultEncryption> {
    let get = s3.get_bucket_encryption().bucket(bucket.name.as_str()).expected_bucket_owner(bucket.owner.as_str());
    // S3 has answered with SSE-S3 instead of this code since 2023.
    let output = unless_absent(
        "GetBucketEncryption",
        get.customize().interceptor(WholeXml).send().await,
        "ServerSideEncryptionConfigurationNotFoundError",
    )?;
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

/// Reads whether versions are kept.
pub async fn versioning(s3: &Client, bucket: Bucket<'_>) -> Read<Versioning> {
    let get = s3.get_bucket_versioning().bucket(bucket.name.as_str()).expected_bucket_owner(bucket.owner.as_str());
    let output = output("GetBucketVersioning", get.customize().interceptor(WholeXml).send().await)?;
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
    let size = output.transition_default_minimum_object_size.map(|it| it.as_str().to_owned());
    Lifecycle::parse(document, size).map_err(|error| ApiError::new(OPERATION, error))
}

/// For how long S3 keeps every new object from being deleted, in words; `None`: it does not.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html>
pub async fn default_retention(s3: &Client, bucket: Bucket<'_>) -> Read<Option<String>> {
    let get = s3.get_object_lock_configuration().bucket(bucket.name.as_str());
    let get = get.expected_bucket_owner(bucket.owner.as_str()).customize().interceptor(WholeXml);
    let lock = unless_absent("GetObjectLockConfiguration", get.send().await, "ObjectLockConfigurationNotFoundError")?;
    let rule = lock.and_then(|it| it.object_lock_configuration).and_then(|it| it.rule);
    Ok(rule.map(|rule| {
        let retention = rule.default_retention;
        let mode = retention.as_ref().and_then(|it| it.mode()).map_or("unknown", |it| it.as_str());
        let time = match retention.as_ref().map(|it| (it.days, it.years)) {
            Some((Some(days), _)) => format!("{days} days"),
            Some((None, Some(years))) => format!("{years} years"),
            _ => "an unknown time".to_owned(),
        };
        format!("{time} in mode {mode}")
    }))
}

/// Reads our inventory configuration.
pub async fn inventory(s3: &Client, bucket: Bucket<'_>) -> Read<Option<Inventory>> {
    let get = s3
        .get_bucket_inventory_configuration()
        .bucket(bucket.name.as_str())
        .expected_bucket_owner(bucket.owner.as_str())
        .id(INVENTORY_ID);
    let output = unless_absent(
        "GetBucketInventoryConfiguration",
        get.customize().interceptor(WholeXml).send().await,
        "NoSuchConfiguration",
    )?;
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

/// Reads the key: its state, what it is for, its rotation, its policy, and where its alias points.
pub async fn kms_key(kms: &aws_sdk_kms::Client, required: &RequiredKey) -> Read<KmsKey> {
    let key = required.arn.as_str();
    let (home, here) = (required.arn.parts().region, kms.config().region().map_or("", |it| it.as_ref()));
    if home != here {
        // KMS would answer as if it did not exist.
        let problem = format!(
            "the key is in {home}, and the guardrail and its buckets are in {here}: S3 encrypts with keys of a bucket's \
             own region only; name one of {here} with guardrail-bootstrap"
        );
        return Err(ApiError::new("DescribeKey", problem));
    }
    let (metadata, rotation, policy, alias_target) =
        tokio::join!(metadata(kms, key), rotation(kms, key), key_policy(kms, key), async {
            match &required.alias {
                Some(alias) => alias_target(kms, alias.as_str()).await,
                None => Ok(None),
            }
        });
    if matches!(metadata, Ok(None)) {
        let missing =
            "the key does not exist, and what it encrypted cannot be read; name another one with guardrail-bootstrap";
        return Err(ApiError::new("DescribeKey", missing));
    }
    if let (Err(error), Err(_), Err(_)) = (&metadata, &rotation, &policy) {
        return Err(error.clone());
    }
    let mut unread = Vec::new();
    let metadata = known(metadata, KeyPart::State, &mut unread);
    Ok(KmsKey {
        state: metadata.as_ref().map_or(KeyState::Enabled, key_state),
        purpose: metadata.as_ref().map_or(Purpose::SymmetricEncryption, purpose),
        rotation: known(rotation, KeyPart::Rotation, &mut unread),
        alias_target: known(alias_target, KeyPart::Alias, &mut unread),
        policy: known(policy, KeyPart::Policy, &mut unread),
        unread,
    })
}

/// What was read; what was not is remembered, and nothing stands in its place.
fn known<T: Default, P>(read: Read<T>, part: P, unread: &mut Vec<(P, ApiError)>) -> T {
    read.unwrap_or_else(|error| {
        unread.push((part, error));
        T::default()
    })
}

/// The state of a key.
pub fn key_state(metadata: &KeyMetadata) -> KeyState {
    match (metadata.key_state(), metadata.enabled()) {
        (Some(state), _) => KeyState::parse(state.as_str()),
        (None, true) => KeyState::Enabled,
        (None, false) => KeyState::Disabled,
    }
}

/// What a key is for.
pub fn purpose(metadata: &KeyMetadata) -> Purpose {
    Purpose::parse(metadata.key_usage().map(|it| it.as_str()), metadata.key_spec().map(|it| it.as_str()))
}

/// `None`: the key does not exist.
async fn metadata(kms: &aws_sdk_kms::Client, key: &str) -> Read<Option<KeyMetadata>> {
    let described = kms.describe_key().key_id(key).send().await;
    Ok(unless_absent("DescribeKey", described, "NotFoundException")?.and_then(|it| it.key_metadata))
}

/// Whether the key rotates; `None`: one of imported material, or of a custom key store, cannot rotate by itself.
/// <https://docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html>
pub async fn rotation(kms: &aws_sdk_kms::Client, key: &str) -> Read<Option<bool>> {
    let sent = kms.get_key_rotation_status().key_id(key).send().await;
    let status = unless_absent("GetKeyRotationStatus", sent, "UnsupportedOperationException")?;
    Ok(status.map(|it| it.key_rotation_enabled))
}

/// Reads a key's policy.
pub async fn key_policy(kms: &aws_sdk_kms::Client, key: &str) -> Read<Policy> {
    const OPERATION: &str = "GetKeyPolicy";
    let get = kms.get_key_policy().key_id(key).policy_name("default");
    let document = output(OPERATION, get.send().await)?.policy.unwrap_or_default();
    Policy::parse(&document).map_err(|error| ApiError::new(OPERATION, error))
}

async fn alias_target(kms: &aws_sdk_kms::Client, alias: &str) -> Read<Option<String>> {
    let described = unless_absent("DescribeKey", kms.describe_key().key_id(alias).send().await, "NotFoundException")?;
    Ok(described.and_then(|it| it.key_metadata).and_then(|it| it.arn))
}

/// A client in the trail's home region, the only one where it can be changed.
pub fn at_home(client: &aws_sdk_cloudtrail::Client, trail: &TrailArn) -> aws_sdk_cloudtrail::Client {
    let home = aws_sdk_cloudtrail::config::Region::new(trail.parts().region.to_owned());
    aws_sdk_cloudtrail::Client::from_conf(client.config().to_builder().region(home).build())
}

/// What a trail says of itself.
#[derive(Clone, Debug)]
pub struct TrailAnswer {
    pub request_id: Option<String>,
    pub is_logging: bool,
    pub selectors: Selectors,
}

/// Asks a trail of any region whether it logs, and what, at its home: elsewhere CloudTrail knows it by name only.
pub async fn ask_trail(client: &aws_sdk_cloudtrail::Client, trail: &TrailArn) -> Read<TrailAnswer> {
    let (client, arn) = (at_home(client, trail), trail.as_str());
    let (status, selectors) =
        tokio::join!(client.get_trail_status().name(arn).send(), client.get_event_selectors().trail_name(arn).send());
    let (status, selectors) = (output("GetTrailStatus", status)?, output("GetEventSelectors", selectors)?);
    Ok(TrailAnswer {
        request_id: selectors.request_id().map(str::to_owned),
        is_logging: status.is_logging == Some(true),
        selectors: selectors_of(selectors.event_selectors, selectors.advanced_event_selectors),
    })
}

/// Reads the trail; `None`: it does not exist.
pub async fn trail(client: &aws_sdk_cloudtrail::Client, required: &RequiredTrail) -> Read<Option<Trail>> {
    let client = at_home(client, &required.arn);
    let arn = required.arn.as_str();
    let (trail, status, selectors) = tokio::join!(
        client.get_trail().name(arn).send(),
        client.get_trail_status().name(arn).send(),
        client.get_event_selectors().trail_name(arn).send(),
    );
    const ABSENT: &str = "TrailNotFoundException";
    let settings = unless_absent("GetTrail", trail, ABSENT).map(|it| it.and_then(|it| it.trail));
    let status = unless_absent("GetTrailStatus", status, ABSENT);
    let selectors = unless_absent("GetEventSelectors", selectors, ABSENT);
    if let (Err(error), Err(_), Err(_)) = (&settings, &status, &selectors) {
        return Err(error.clone());
    }
    if matches!(settings, Ok(None)) || matches!(status, Ok(None)) || matches!(selectors, Ok(None)) {
        return Ok(None);
    }
    let mut unread = Vec::new();
    let settings = known(settings, TrailPart::Settings, &mut unread);
    let status = known(status, TrailPart::Status, &mut unread);
    let selectors = known(selectors, TrailPart::Selectors, &mut unread);
    let filled = |it: Option<String>| it.filter(|it| !it.is_empty());
    let (kms_key_id, s3_bucket_name) =
        settings.as_ref().map_or((None, None), |it| (filled(it.kms_key_id.clone()), filled(it.s3_bucket_name.clone())));
    Ok(Some(Trail {
        is_logging: status.as_ref().is_some_and(|it| it.is_logging == Some(true)),
        is_multi_region_trail: settings.as_ref().is_some_and(|it| it.is_multi_region_trail == Some(true)),
        log_file_validation_enabled: settings.as_ref().is_some_and(|it| it.log_file_validation_enabled == Some(true)),
        kms_key_id,
        s3_bucket_name,
        latest_delivery_error: status.as_ref().and_then(|it| filled(it.latest_delivery_error.clone())),
        latest_digest_delivery_error: status.and_then(|it| filled(it.latest_digest_delivery_error)),
        selectors: selectors
            .map_or_else(Selectors::default, |it| selectors_of(it.event_selectors, it.advanced_event_selectors)),
        unread,
    }))
}

/// Selectors as plain values.
fn selectors_of(
    basic: Option<Vec<cloudtrail::EventSelector>>,
    advanced: Option<Vec<cloudtrail::AdvancedEventSelector>>,
) -> Selectors {
    let resource = |it: cloudtrail::DataResource| (it.r#type.unwrap_or_default(), it.values.unwrap_or_default());
    let basic = basic.into_iter().flatten().map(|it| EventSelector {
        read_write_type: it.read_write_type.map_or("All".to_owned(), |it| it.as_str().to_owned()),
        include_management_events: it.include_management_events != Some(false),
        data_resources: it.data_resources.into_iter().flatten().map(resource).collect(),
        exclude_management_event_sources: it.exclude_management_event_sources.unwrap_or_default(),
    });
    let field = |it: cloudtrail::AdvancedFieldSelector| FieldSelector {
        field: it.field,
        equals: it.equals.unwrap_or_default(),
        starts_with: it.starts_with.unwrap_or_default(),
        ends_with: it.ends_with.unwrap_or_default(),
        not_equals: it.not_equals.unwrap_or_default(),
        not_starts_with: it.not_starts_with.unwrap_or_default(),
        not_ends_with: it.not_ends_with.unwrap_or_default(),
    };
    let advanced = advanced.into_iter().flatten().map(|it| AdvancedEventSelector {
        name: it.name,
        field_selectors: it.field_selectors.into_iter().map(field).collect(),
    });
    Selectors { basic: basic.collect(), advanced: advanced.collect() }
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

/// Refuses an answer that is not XML to its end. The SDK takes one that is cut between two elements for a shorter one,
/// and what is missing would be written back as missing.
#[derive(Debug)]
pub(crate) struct WholeXml;

impl Intercept for WholeXml {
    fn name(&self) -> &'static str {
        "WholeXml"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if context.response().status().is_success() {
            let bytes = context.response().body().bytes().ok_or("the response was not read to its end")?;
            Element::parse(&String::from_utf8_lossy(bytes))?;
        }
        Ok(())
    }
}
