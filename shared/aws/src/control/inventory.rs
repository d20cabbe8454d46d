//! The inventory configuration, read and written.

use aws_sdk_s3::types::{
    InventoryConfiguration, InventoryDestination, InventoryEncryption, InventoryFilter, InventoryFormat,
    InventoryFrequency, InventoryIncludedObjectVersions, InventoryOptionalField, InventoryS3BucketDestination,
    InventorySchedule, Ssekms, Sses3,
};
use guardrail_core::{
    control::inventory::{INVENTORY_ID, Inventory, ReportEncryption},
    value::{
        failure::{ApiError, Read},
        names::BucketName,
    },
};

use crate::{
    api::{built, done, unless_absent},
    clients::{Readers, Writers},
};

/// Reads our inventory configuration.
pub async fn read(Readers { s3, .. }: Readers<'_>, bucket: &BucketName) -> Read<Option<Inventory>> {
    let get = s3.get_bucket_inventory_configuration().bucket(bucket.as_str()).id(INVENTORY_ID);
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

/// Writes our configuration; others are left alone.
pub async fn write(Writers { s3, .. }: &Writers, bucket: &BucketName, desired: &Inventory) -> Result<(), ApiError> {
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
        .bucket(bucket.as_str())
        .id(INVENTORY_ID)
        .inventory_configuration(built(OPERATION, config.build())?);
    done(OPERATION, put.send().await)
}

/// Puts it back to what it was.
pub async fn put_back(writers: &Writers, bucket: &BucketName, was: &Option<Inventory>) -> Result<(), ApiError> {
    if let Some(was) = was {
        return write(writers, bucket, was).await;
    }
    done(
        "DeleteBucketInventoryConfiguration",
        writers.s3.delete_bucket_inventory_configuration().bucket(bucket.as_str()).id(INVENTORY_ID).send().await,
    )
}
