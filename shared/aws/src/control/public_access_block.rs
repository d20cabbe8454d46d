//! The bucket's Block Public Access, read and written; the account's own, read.

use aws_sdk_s3::types::PublicAccessBlockConfiguration;
use guardrail_core::{
    control::public_access_block::PublicAccessBlock,
    value::{
        failure::{ApiError, Read},
        names::{AccountId, BucketName},
    },
};

use crate::{
    api::{done, unless_absent},
    clients::{Readers, Writers},
};

/// Reads the bucket's Block Public Access.
pub async fn read(Readers { s3, .. }: Readers<'_>, bucket: &BucketName) -> Read<PublicAccessBlock> {
    let get = s3.get_public_access_block().bucket(bucket.as_str());
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

/// Writes it.
pub async fn write(
    Writers { s3, .. }: &Writers,
    bucket: &BucketName,
    block: PublicAccessBlock,
) -> Result<(), ApiError> {
    let PublicAccessBlock { block_public_acls, ignore_public_acls, block_public_policy, restrict_public_buckets } =
        block;
    let config = PublicAccessBlockConfiguration::builder()
        .block_public_acls(block_public_acls)
        .ignore_public_acls(ignore_public_acls)
        .block_public_policy(block_public_policy)
        .restrict_public_buckets(restrict_public_buckets);
    let put = s3.put_public_access_block().bucket(bucket.as_str());
    done("PutPublicAccessBlock", put.public_access_block_configuration(config.build()).send().await)
}

/// Puts it back to what it was; one that says nothing was none.
pub async fn put_back(writers: &Writers, bucket: &BucketName, was: &PublicAccessBlock) -> Result<(), ApiError> {
    if *was != PublicAccessBlock::default() {
        return write(writers, bucket, *was).await;
    }
    done("DeletePublicAccessBlock", writers.s3.delete_public_access_block().bucket(bucket.as_str()).send().await)
}
