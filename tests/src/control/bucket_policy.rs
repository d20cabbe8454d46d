//! The bucket policy: how it is broken, read and sent.

use aws_sdk_s3::Client;
use guardrail_core::value::policy::Policy;
use serde_json::Value;

use crate::{
    control::{Broken, done, text},
    fake::World,
};

pub const SUBRESOURCE: &str = "policy";

pub const COMMAND: &str = "delete-bucket-policy";

pub async fn break_it(s3: &Client, bucket: &str) -> Broken {
    #[expect(clippy::disallowed_methods, reason = "what the guardrail never does, somebody does here")]
    let delete = s3.delete_bucket_policy();
    done(delete.bucket(bucket).send().await)
}

pub async fn setting(s3: &Client, bucket: &str) -> String {
    // Statements may come back in another order.
    let policy = s3.get_bucket_policy().bucket(bucket).send().await.map(|it| {
        let policy: Value = serde_json::from_str(it.policy().unwrap_or_default()).unwrap_or_default();
        let mut statements: Vec<_> =
            policy["Statement"].as_array().into_iter().flatten().map(ToString::to_string).collect();
        statements.sort();
        Some(statements)
    });
    text(policy)
}

pub fn drifted(world: &mut World) {
    world.set("policy", None);
}

pub fn put(world: &mut World, policy: &Policy) {
    world.set("policy", (!policy.statements.is_empty()).then(|| policy.document()));
}
