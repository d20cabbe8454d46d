//! The lifecycle rules: how they are broken, read and sent.

use aws_sdk_s3::Client;
use guardrail_core::control::lifecycle::Lifecycle;

use crate::{
    control::{Broken, done, text},
    fake::World,
};

pub const SUBRESOURCE: &str = "lifecycle";

pub const COMMAND: &str = "delete-bucket-lifecycle";

pub async fn break_it(s3: &Client, bucket: &str) -> Broken {
    done(s3.delete_bucket_lifecycle().bucket(bucket).send().await)
}

pub async fn setting(s3: &Client, bucket: &str) -> String {
    text(s3.get_bucket_lifecycle_configuration().bucket(bucket).send().await.map(|it| it.rules))
}

pub fn drifted(world: &mut World) {
    world.set("lifecycle", None);
}

pub fn put(world: &mut World, lifecycle: &Lifecycle) {
    world.set("lifecycle", (!lifecycle.rules.is_empty()).then(|| lifecycle.document()));
    world.transition_size.clone_from(&lifecycle.transition_default_minimum_object_size);
}
