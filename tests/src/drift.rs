//! Ordinary calls that take a bucket off its baseline, one per control.

use aws_sdk_s3::{
    Client,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    types::{
        BucketVersioningStatus, ObjectOwnership, OwnershipControls, OwnershipControlsRule, ServerSideEncryption,
        ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
        VersioningConfiguration,
    },
};
use guardrail_core::control::{inventory::INVENTORY_ID, table::Control};

use crate::local_aws::SetupError;

/// The `aws s3api` command that does what [`break_control`] does.
pub fn command(control: Control, bucket: &str) -> String {
    let call = match control {
        Control::PublicAccessBlock => "delete-public-access-block",
        Control::ObjectOwnership => {
            "put-bucket-ownership-controls --ownership-controls 'Rules=[{ObjectOwnership=ObjectWriter}]'"
        }
        Control::BucketPolicy => "delete-bucket-policy",
        Control::DefaultEncryption => {
            "put-bucket-encryption --server-side-encryption-configuration 'Rules=[{ApplyServerSideEncryptionByDefault={SSEAlgorithm=AES256}}]'"
        }
        Control::Versioning => "put-bucket-versioning --versioning-configuration Status=Suspended",
        Control::Lifecycle => "delete-bucket-lifecycle",
        Control::Inventory => "delete-bucket-inventory-configuration --id encryption-and-replication",
        Control::KmsKey => return "aws kms disable-key --key-id alias/s3-secure-data".to_owned(),
        Control::Trail => return format!("aws cloudtrail stop-logging --name {bucket}-trail"),
    };
    let (name, options) = call.split_once(' ').unwrap_or((call, ""));
    format!("aws s3api {name} --bucket {bucket} {options}").trim_end().to_owned()
}

/// Takes one control off its baseline.
pub async fn break_control(s3: &Client, bucket: &str, control: Control) -> Result<(), SetupError> {
    fn done<T, E: std::error::Error + 'static>(control: Control, sent: Result<T, E>) -> Result<(), SetupError> {
        sent.map(drop).map_err(|error| SetupError(format!("breaking {control}: {}", DisplayErrorContext(error))))
    }
    match control {
        Control::PublicAccessBlock => done(control, s3.delete_public_access_block().bucket(bucket).send().await),
        Control::ObjectOwnership => {
            let rule = OwnershipControlsRule::builder().object_ownership(ObjectOwnership::ObjectWriter).build();
            let controls = OwnershipControls::builder().rules(rule.expect("complete")).build().expect("complete");
            done(control, s3.put_bucket_ownership_controls().bucket(bucket).ownership_controls(controls).send().await)
        }
        Control::BucketPolicy => {
            #[expect(clippy::disallowed_methods, reason = "what the guardrail never does, somebody does here")]
            let delete = s3.delete_bucket_policy();
            done(control, delete.bucket(bucket).send().await)
        }
        Control::DefaultEncryption => {
            let by_default = ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::Aes256);
            let rule = ServerSideEncryptionRule::builder()
                .apply_server_side_encryption_by_default(by_default.build().expect("complete"));
            let config = ServerSideEncryptionConfiguration::builder().rules(rule.build()).build().expect("complete");
            done(
                control,
                s3.put_bucket_encryption().bucket(bucket).server_side_encryption_configuration(config).send().await,
            )
        }
        Control::Versioning => {
            let config = VersioningConfiguration::builder().status(BucketVersioningStatus::Suspended).build();
            done(control, s3.put_bucket_versioning().bucket(bucket).versioning_configuration(config).send().await)
        }
        Control::Lifecycle => done(control, s3.delete_bucket_lifecycle().bucket(bucket).send().await),
        Control::Inventory => {
            done(control, s3.delete_bucket_inventory_configuration().bucket(bucket).id(INVENTORY_ID).send().await)
        }
        Control::KmsKey | Control::Trail => Err(SetupError(format!("{control} is no setting of the bucket"))),
    }
}

/// A control's setting as S3 tells it, to be compared with itself at another time. Independent of how the guardrail reads.
pub async fn setting(s3: &Client, bucket: &str, control: Control) -> String {
    fn text<T: std::fmt::Debug, E: ProvideErrorMetadata>(sent: Result<Option<T>, SdkError<E>>) -> String {
        match sent {
            Ok(setting) => format!("{setting:?}"),
            Err(error) => format!("error {:?}", error.code()),
        }
    }
    match control {
        Control::PublicAccessBlock => text(
            s3.get_public_access_block().bucket(bucket).send().await.map(|it| it.public_access_block_configuration),
        ),
        Control::ObjectOwnership => {
            text(s3.get_bucket_ownership_controls().bucket(bucket).send().await.map(|it| it.ownership_controls))
        }
        Control::BucketPolicy => {
            // Statements may come back in another order.
            let policy = s3.get_bucket_policy().bucket(bucket).send().await.map(|it| {
                let policy: serde_json::Value =
                    serde_json::from_str(it.policy().unwrap_or_default()).unwrap_or_default();
                let mut statements: Vec<_> =
                    policy["Statement"].as_array().into_iter().flatten().map(ToString::to_string).collect();
                statements.sort();
                Some(statements)
            });
            text(policy)
        }
        Control::DefaultEncryption => text(
            s3.get_bucket_encryption().bucket(bucket).send().await.map(|it| it.server_side_encryption_configuration),
        ),
        Control::Versioning => text(s3.get_bucket_versioning().bucket(bucket).send().await.map(|it| it.status)),
        Control::Lifecycle => {
            text(s3.get_bucket_lifecycle_configuration().bucket(bucket).send().await.map(|it| it.rules))
        }
        Control::Inventory => text(
            s3.get_bucket_inventory_configuration()
                .bucket(bucket)
                .id(INVENTORY_ID)
                .send()
                .await
                .map(|it| it.inventory_configuration),
        ),
        Control::KmsKey | Control::Trail => "no setting of the bucket".to_owned(),
    }
}
