//! The default encryption: how it is broken, read and sent.

use aws_sdk_s3::{
    Client,
    types::{
        ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration,
        ServerSideEncryptionRule,
    },
};
use guardrail_core::control::default_encryption::DefaultEncryption;

use crate::{
    control::{Broken, done, text},
    fake::World,
};

pub const SUBRESOURCE: &str = "encryption";

pub const COMMAND: &str = "put-bucket-encryption --server-side-encryption-configuration 'Rules=[{ApplyServerSideEncryptionByDefault={SSEAlgorithm=AES256}}]'";

pub async fn break_it(s3: &Client, bucket: &str) -> Broken {
    let by_default = ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::Aes256);
    let rule = ServerSideEncryptionRule::builder()
        .apply_server_side_encryption_by_default(by_default.build().expect("complete"));
    let config = ServerSideEncryptionConfiguration::builder().rules(rule.build()).build().expect("complete");
    done(s3.put_bucket_encryption().bucket(bucket).server_side_encryption_configuration(config).send().await)
}

pub async fn setting(s3: &Client, bucket: &str) -> String {
    text(s3.get_bucket_encryption().bucket(bucket).send().await.map(|it| it.server_side_encryption_configuration))
}

pub fn drifted(world: &mut World) {
    world.set("encryption", None);
}

pub fn put(world: &mut World, encryption: &DefaultEncryption) {
    let DefaultEncryption { algorithm, kms_key, bucket_key, blocked } = encryption;
    // S3 always has one; what the fake shows for none is SSE-S3.
    let document = algorithm.as_ref().map(|algorithm| {
        let key = kms_key.iter().map(|it| format!("<KMSMasterKeyID>{it}</KMSMasterKeyID>")).collect::<String>();
        let blocked: String = blocked.iter().map(|it| format!("<EncryptionType>{it}</EncryptionType>")).collect();
        format!(
            "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>{algorithm}</SSEAlgorithm>{key}\
             </ApplyServerSideEncryptionByDefault><BucketKeyEnabled>{bucket_key}</BucketKeyEnabled>\
             <BlockedEncryptionTypes>{blocked}</BlockedEncryptionTypes></Rule></ServerSideEncryptionConfiguration>"
        )
    });
    world.set("encryption", document);
}
