//! Writing a bucket. Nothing is decided here.

use std::time::Duration;

use aws_sdk_cloudtrail::types as cloudtrail;
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
        InventoryConfiguration, InventoryDestination, InventoryEncryption, InventoryFilter, InventoryFormat,
        InventoryFrequency, InventoryIncludedObjectVersions, InventoryOptionalField, InventoryS3BucketDestination,
        InventorySchedule, ObjectOwnership, OwnershipControls, OwnershipControlsRule, PublicAccessBlockConfiguration,
        ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration,
        ServerSideEncryptionRule, Ssekms, Sses3, TransitionDefaultMinimumObjectSize, VersioningConfiguration,
    },
};
use guardrail_core::{
    control::{
        default_encryption::DefaultEncryption,
        inventory::{INVENTORY_ID, Inventory, ReportEncryption},
        kms_key::{self, KeyCall},
        lifecycle::Lifecycle,
        public_access_block::PublicAccessBlock,
        trail::{self, AdvancedEventSelector, EventSelector, FieldSelector, RequiredTrail, TrailCall, TrailUpdate},
    },
    decide::baseline::Baseline,
    outcome::{setting::Setting, step::Change},
    value::{failure::ApiError, policy::Policy},
};
use tokio::time::sleep;

use crate::{
    Guardrail,
    api::done,
    observe::{Bucket, at_home, bucket_acl},
};

/// Clients for writes. They do not retry by themselves: what a retry writes has to be read again first.
#[derive(Debug)]
pub struct Writers {
    s3: Client,
    kms: aws_sdk_kms::Client,
    cloudtrail: aws_sdk_cloudtrail::Client,
}

impl Writers {
    /// Clients whose calls CloudTrail shows as `app/APP_NAME`.
    pub fn new(guardrail: &Guardrail, app_name: &'static str) -> Self {
        let Guardrail { s3, kms, cloudtrail, .. } = guardrail;
        let app_name = AppName::new(app_name).expect("our app names are plain text");
        let once = RetryConfig::disabled;
        let s3 = s3.config().to_builder().retry_config(once()).app_name(app_name.clone());
        let kms = kms.config().to_builder().retry_config(once()).app_name(app_name.clone());
        let cloudtrail = cloudtrail.config().to_builder().retry_config(once()).app_name(app_name);
        Self {
            s3: Client::from_conf(s3.build()),
            kms: aws_sdk_kms::Client::from_conf(kms.build()),
            cloudtrail: aws_sdk_cloudtrail::Client::from_conf(cloudtrail.build()),
        }
    }
}

/// What came of the calls of one change.
#[derive(Debug)]
pub struct Applied {
    /// Whether any of them did something, or may have: also when another one failed.
    pub may_have_written: bool,
    /// The first error.
    pub result: Result<(), ApiError>,
}

impl Applied {
    fn nothing() -> Self {
        Self { may_have_written: false, result: Ok(()) }
    }

    /// With one more call.
    fn and(self, sent: Result<(), ApiError>) -> Self {
        let may_have_written = self.may_have_written || sent.as_ref().err().is_none_or(ApiError::may_be_done);
        Self { may_have_written, result: self.result.and(sent) }
    }
}

/// Writes what the plan says.
pub async fn apply(writers: &Writers, bucket: Bucket<'_>, baseline: &Baseline, change: &Change) -> Applied {
    let Writers { s3, kms, cloudtrail } = writers;
    let mut all = Applied::nothing();
    let sent = match change {
        Change::PublicAccessBlock(drift) => put_public_access_block(s3, bucket, drift.desired).await,
        Change::ObjectOwnership(_) => {
            // S3 refuses to enforce ownership while the ACL grants others anything.
            all = all.and(put_private_acl(s3, bucket).await);
            if all.result.is_err() {
                return all;
            }
            put_ownership(s3, bucket, ObjectOwnership::BucketOwnerEnforced).await
        }
        Change::BucketPolicy(drift) => put_bucket_policy(s3, bucket, &drift.desired).await,
        Change::DefaultEncryption(drift) => put_bucket_encryption(s3, bucket, &drift.desired).await,
        Change::Versioning(_) => put_versioning(s3, bucket, BucketVersioningStatus::Enabled).await,
        Change::Lifecycle(drift) => put_lifecycle(s3, bucket, &drift.desired).await,
        Change::Inventory(drift) => put_inventory(s3, bucket, &drift.desired).await,
        Change::KmsKey(drift) => {
            let Some(required) = &baseline.kms_key else { return all };
            // As with controls: one part that fails does not stop the next.
            for call in kms_key::calls(drift, required) {
                all = all.and(restore_key(kms, required.arn.as_str(), call).await);
            }
            return all;
        }
        Change::Trail(drift) => {
            let Some(required) = &baseline.trail else { return all };
            let cloudtrail = at_home(cloudtrail, &required.arn);
            for call in trail::calls(drift) {
                all = all.and(restore_trail(&cloudtrail, required, call).await);
            }
            return all;
        }
    };
    all.and(sent)
}

/// Puts a [reachable](Setting::reachable) setting back to what it was before we wrote it.
pub async fn put_back(writers: &Writers, bucket: Bucket<'_>, setting: &Setting) -> Result<(), ApiError> {
    let Bucket { name, owner } = bucket;
    let s3 = &writers.s3;
    match setting {
        Setting::PublicAccessBlock(block) if *block == PublicAccessBlock::default() => {
            let delete = s3.delete_public_access_block().bucket(name.as_str()).expected_bucket_owner(owner.as_str());
            done("DeletePublicAccessBlock", delete.send().await)
        }
        Setting::PublicAccessBlock(block) => put_public_access_block(s3, bucket, *block).await,
        Setting::ObjectOwnership(was) => {
            match &was.object_ownership {
                Some(ownership) => put_ownership(s3, bucket, ownership.as_str().into()).await?,
                None => {
                    let delete = s3.delete_bucket_ownership_controls().bucket(name.as_str());
                    let sent = delete.expected_bucket_owner(owner.as_str()).send().await;
                    done("DeleteBucketOwnershipControls", sent)?;
                }
            }
            match &was.acl_grants {
                Ok(grants) if !grants.is_empty() => put_acl(s3, bucket, grants).await,
                Ok(_) | Err(_) => Ok(()),
            }
        }
        Setting::BucketPolicy(policy) if policy.statements.is_empty() => {
            #[expect(clippy::disallowed_methods, reason = "there was none before, and a person wants it so")]
            let delete = s3.delete_bucket_policy().bucket(name.as_str()).expected_bucket_owner(owner.as_str());
            done("DeleteBucketPolicy", delete.send().await)
        }
        Setting::BucketPolicy(policy) => put_bucket_policy(s3, bucket, policy).await,
        Setting::DefaultEncryption(DefaultEncryption { algorithm: None, .. }) => {
            let delete = s3.delete_bucket_encryption().bucket(name.as_str()).expected_bucket_owner(owner.as_str());
            done("DeleteBucketEncryption", delete.send().await)
        }
        Setting::DefaultEncryption(was) => put_bucket_encryption(s3, bucket, was).await,
        Setting::Versioning(was) => {
            let Some(status) = was.status.as_deref() else { return Ok(()) };
            put_versioning(s3, bucket, status.into()).await
        }
        Setting::Lifecycle(was) if was.rules.is_empty() => {
            let delete = s3.delete_bucket_lifecycle().bucket(name.as_str()).expected_bucket_owner(owner.as_str());
            done("DeleteBucketLifecycle", delete.send().await)
        }
        Setting::Lifecycle(was) => put_lifecycle(s3, bucket, was).await,
        Setting::Inventory(None) => {
            let delete = s3.delete_bucket_inventory_configuration().bucket(name.as_str()).id(INVENTORY_ID);
            done("DeleteBucketInventoryConfiguration", delete.expected_bucket_owner(owner.as_str()).send().await)
        }
        Setting::Inventory(Some(was)) => put_inventory(s3, bucket, was).await,
    }
}

pub(crate) async fn restore_key(kms: &aws_sdk_kms::Client, key: &str, call: KeyCall) -> Result<(), ApiError> {
    match call {
        KeyCall::CancelDeletion => done("CancelKeyDeletion", kms.cancel_key_deletion().key_id(key).send().await),
        KeyCall::Enable => done("EnableKey", kms.enable_key().key_id(key).send().await),
        KeyCall::EnableRotation => done("EnableKeyRotation", kms.enable_key_rotation().key_id(key).send().await),
        KeyCall::PutPolicy(policy) => {
            done("PutKeyPolicy", kms.put_key_policy().key_id(key).policy_name("default").policy(policy).send().await)
        }
        KeyCall::CreateAlias(alias) => {
            done("CreateAlias", kms.create_alias().alias_name(alias.as_str()).target_key_id(key).send().await)
        }
        KeyCall::UpdateAlias(alias) => {
            done("UpdateAlias", kms.update_alias().alias_name(alias.as_str()).target_key_id(key).send().await)
        }
    }
}

async fn restore_trail(
    cloudtrail: &aws_sdk_cloudtrail::Client,
    required: &RequiredTrail,
    call: TrailCall,
) -> Result<(), ApiError> {
    let arn = required.arn.as_str();
    match call {
        TrailCall::Create => create_trail(cloudtrail, required).await,
        TrailCall::Update(TrailUpdate { multi_region, validation, key }) => {
            let update = cloudtrail.update_trail().name(arn).set_kms_key_id(key);
            let update = update
                .set_is_multi_region_trail(multi_region.then_some(true))
                .set_include_global_service_events(multi_region.then_some(true))
                .set_enable_log_file_validation(validation.then_some(true));
            done("UpdateTrail", update.send().await)
        }
        TrailCall::PutSelectors(selectors) => {
            let put = cloudtrail.put_event_selectors().trail_name(arn);
            let put = if selectors.advanced.is_empty() {
                put.set_event_selectors(Some(selectors.basic.into_iter().map(basic_selector).collect()))
            } else {
                let advanced: Result<_, _> = selectors.advanced.into_iter().map(advanced_selector).collect();
                let advanced = advanced.map_err(|error| ApiError::new("PutEventSelectors", error))?;
                put.set_advanced_event_selectors(Some(advanced))
            };
            done("PutEventSelectors", put.send().await)
        }
        TrailCall::StartLogging => done("StartLogging", cloudtrail.start_logging().name(arn).send().await),
    }
}

async fn create_trail(cloudtrail: &aws_sdk_cloudtrail::Client, required: &RequiredTrail) -> Result<(), ApiError> {
    let mut wait = Duration::from_millis(500);
    loop {
        let create = cloudtrail
            .create_trail()
            .name(required.arn.parts().resource.trim_start_matches("trail/"))
            .s3_bucket_name(required.log_bucket.as_str())
            .kms_key_id(required.key.as_str())
            .is_multi_region_trail(true)
            .include_global_service_events(true)
            .enable_log_file_validation(true);
        let Err(error) = done("CreateTrail", create.send().await) else { return Ok(()) };
        // What was just written takes a moment to be known everywhere. CloudTrail says each with `Exception` or without.
        let settling =
            ["InsufficientS3BucketPolicy", "InsufficientEncryptionPolicy", "S3BucketDoesNotExist", "KmsKeyNotFound"];
        let settles = error.code.as_deref().is_some_and(|it| settling.contains(&it.trim_end_matches("Exception")));
        if !settles || wait > Duration::from_secs(4) {
            return Err(error);
        }
        sleep(wait).await;
        wait *= 2;
    }
}

fn basic_selector(selector: EventSelector) -> cloudtrail::EventSelector {
    let EventSelector { read_write_type, include_management_events, data_resources, exclude_management_event_sources } =
        selector;
    let resource = |(kind, values)| cloudtrail::DataResource::builder().r#type(kind).set_values(Some(values)).build();
    cloudtrail::EventSelector::builder()
        .read_write_type(cloudtrail::ReadWriteType::from(read_write_type.as_str()))
        .include_management_events(include_management_events)
        .set_data_resources(Some(data_resources.into_iter().map(resource).collect()))
        .set_exclude_management_event_sources(Some(exclude_management_event_sources))
        .build()
}

fn advanced_selector(
    selector: AdvancedEventSelector,
) -> Result<cloudtrail::AdvancedEventSelector, aws_sdk_cloudtrail::error::BuildError> {
    let filled = |it: Vec<String>| Some(it).filter(|it| !it.is_empty());
    let field = |selector| {
        let FieldSelector { field, equals, starts_with, ends_with, not_equals, not_starts_with, not_ends_with } =
            selector;
        cloudtrail::AdvancedFieldSelector::builder()
            .field(field)
            .set_equals(filled(equals))
            .set_starts_with(filled(starts_with))
            .set_ends_with(filled(ends_with))
            .set_not_equals(filled(not_equals))
            .set_not_starts_with(filled(not_starts_with))
            .set_not_ends_with(filled(not_ends_with))
            .build()
    };
    let AdvancedEventSelector { name, field_selectors } = selector;
    let fields: Result<_, _> = field_selectors.into_iter().map(field).collect();
    cloudtrail::AdvancedEventSelector::builder().set_name(name).set_field_selectors(Some(fields?)).build()
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

/// Puts an ACL: the owner's full control, and these grants as [`guardrail_core::control::object_ownership::ObjectOwnership::acl_grants`] has them.
async fn put_acl(s3: &Client, bucket: Bucket<'_>, grants: &[String]) -> Result<(), ApiError> {
    const OPERATION: &str = "PutBucketAcl";
    let owner = bucket_acl(s3, bucket).await?.owner.and_then(|it| it.id);
    let owner = owner.ok_or_else(|| ApiError::new("GetBucketAcl", "it names no owner"))?;
    let given = |permission: &str| {
        let of_owner = (permission == "FULL_CONTROL").then(|| format!("id=\"{owner}\""));
        let others = grants.iter().filter_map(|it| it.split_once(' ')).filter(|it| it.1 == permission);
        let others = others.map(|(grantee, _)| match grantee {
            uri if uri.starts_with("http") => format!("uri=\"{uri}\""),
            email if email.contains('@') => format!("emailAddress=\"{email}\""),
            id => format!("id=\"{id}\""),
        });
        Some(of_owner.into_iter().chain(others).collect::<Vec<_>>().join(", ")).filter(|it| !it.is_empty())
    };
    let put = s3.put_bucket_acl().bucket(bucket.name.as_str()).expected_bucket_owner(bucket.owner.as_str());
    let put = put.set_grant_full_control(given("FULL_CONTROL")).set_grant_read(given("READ"));
    let put = put.set_grant_write(given("WRITE")).set_grant_read_acp(given("READ_ACP"));
    done(OPERATION, put.set_grant_write_acp(given("WRITE_ACP")).send().await)
}

async fn put_ownership(s3: &Client, bucket: Bucket<'_>, ownership: ObjectOwnership) -> Result<(), ApiError> {
    const OPERATION: &str = "PutBucketOwnershipControls";
    let rule = OwnershipControlsRule::builder().object_ownership(ownership);
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
    let blocked: Vec<_> = blocked.iter().map(|it| EncryptionType::from(it.as_str())).collect();
    let blocked = Some(blocked).filter(|it| !it.is_empty());
    let blocked = blocked.map(|it| BlockedEncryptionTypes::builder().set_encryption_type(Some(it)).build());
    let rule = ServerSideEncryptionRule::builder()
        .apply_server_side_encryption_by_default(built(OPERATION, by_default.build())?)
        .set_bucket_key_enabled(bucket_key.then_some(true))
        .set_blocked_encryption_types(blocked);
    let config = built(OPERATION, ServerSideEncryptionConfiguration::builder().rules(rule.build()).build())?;
    let put = s3.put_bucket_encryption().bucket(bucket.name.as_str()).expected_bucket_owner(bucket.owner.as_str());
    done(OPERATION, put.server_side_encryption_configuration(config).send().await)
}

async fn put_versioning(s3: &Client, bucket: Bucket<'_>, status: BucketVersioningStatus) -> Result<(), ApiError> {
    let config = VersioningConfiguration::builder().status(status).build();
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

async fn put_inventory(s3: &Client, bucket: Bucket<'_>, desired: &Inventory) -> Result<(), ApiError> {
    const OPERATION: &str = "PutBucketInventoryConfiguration";
    let Inventory {
        is_enabled,
        included_object_versions,
        frequency,
        format,
        bucket: destination_bucket,
        account_id,
        prefix,
        encryption,
        filter_prefix,
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
    let filter = filter_prefix.as_ref().map(|it| InventoryFilter::builder().prefix(it).build());
    let filter = filter.transpose().map_err(|error| ApiError::new(OPERATION, error))?;
    let fields = optional_fields.iter().map(|it| InventoryOptionalField::from(it.as_str())).collect();
    let config = InventoryConfiguration::builder()
        .id(INVENTORY_ID)
        .is_enabled(*is_enabled)
        .included_object_versions(InventoryIncludedObjectVersions::from(included_object_versions.as_str()))
        .schedule(built(OPERATION, schedule.build())?)
        .destination(InventoryDestination::builder().s3_bucket_destination(destination).build())
        .set_optional_fields(Some(fields))
        .set_filter(filter);
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
