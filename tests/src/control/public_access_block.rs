//! The bucket's Block Public Access: how it is broken, read and sent.

use aws_sdk_s3::Client;
use guardrail_core::control::public_access_block::PublicAccessBlock;

use crate::{
    control::{Broken, done, text},
    fake::World,
};

pub const SUBRESOURCE: &str = "publicAccessBlock";

pub const COMMAND: &str = "delete-public-access-block";

pub async fn break_it(s3: &Client, bucket: &str) -> Broken {
    done(s3.delete_public_access_block().bucket(bucket).send().await)
}

pub async fn setting(s3: &Client, bucket: &str) -> String {
    let sent = s3.get_public_access_block().bucket(bucket).send().await;
    text(sent.map(|it| it.public_access_block_configuration))
}

pub fn drifted(world: &mut World) {
    world.set("publicAccessBlock", None);
}

pub fn put(world: &mut World, block: &PublicAccessBlock) {
    let PublicAccessBlock { block_public_acls, ignore_public_acls, block_public_policy, restrict_public_buckets } =
        block;
    let document = (*block != PublicAccessBlock::default()).then(|| {
        format!(
            "<PublicAccessBlockConfiguration><BlockPublicAcls>{block_public_acls}</BlockPublicAcls>\
             <IgnorePublicAcls>{ignore_public_acls}</IgnorePublicAcls><BlockPublicPolicy>{block_public_policy}</BlockPublicPolicy>\
             <RestrictPublicBuckets>{restrict_public_buckets}</RestrictPublicBuckets></PublicAccessBlockConfiguration>"
        )
    });
    world.set("publicAccessBlock", document);
}
