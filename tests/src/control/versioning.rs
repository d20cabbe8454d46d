//! Versioning: how it is broken, read and sent.

use aws_sdk_s3::{
    Client,
    types::{BucketVersioningStatus, VersioningConfiguration},
};
use guardrail_core::control::versioning::Versioning;

use crate::{
    control::{Broken, done, text},
    fake::World,
};

pub const SUBRESOURCE: &str = "versioning";

pub const COMMAND: &str = "put-bucket-versioning --versioning-configuration Status=Suspended";

pub async fn break_it(s3: &Client, bucket: &str) -> Broken {
    let config = VersioningConfiguration::builder().status(BucketVersioningStatus::Suspended).build();
    done(s3.put_bucket_versioning().bucket(bucket).versioning_configuration(config).send().await)
}

pub async fn setting(s3: &Client, bucket: &str) -> String {
    text(s3.get_bucket_versioning().bucket(bucket).send().await.map(|it| it.status))
}

pub fn drifted(world: &mut World) {
    put(world, &Versioning { status: Some("Suspended".to_owned()), ..Versioning::default() });
}

pub fn put(world: &mut World, versioning: &Versioning) {
    let status = versioning.status.iter().map(|it| format!("<Status>{it}</Status>")).collect::<String>();
    let mfa_delete = if versioning.mfa_delete { "<MfaDelete>Enabled</MfaDelete>" } else { "" };
    world.set("versioning", Some(format!("<VersioningConfiguration>{status}{mfa_delete}</VersioningConfiguration>")));
}
