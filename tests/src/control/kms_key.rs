//! The key: how it is broken, and what KMS holds of it.

use guardrail_core::{
    control::kms_key::{KeyState, KmsKey},
    value::policy::Policy,
};
use serde_json::{Value, json};

use crate::fake::{ALIAS, FakeKey, World};

pub const COMMAND: &str = "aws kms disable-key --key-id alias/s3-secure-data";

pub fn put(world: &mut World, key: &KmsKey) {
    world.key = Some(held(key));
}

fn held(key: &KmsKey) -> FakeKey {
    let KmsKey { state, purpose: _, rotation, alias_target, policy, unread: _ } = key;
    let alias = |target: &String| (ALIAS.to_owned(), target.clone());
    FakeKey {
        // What is being created passes by itself, and cannot be changed until then.
        state: if *state == KeyState::Creating { "Enabled" } else { state.as_str() }.to_owned(),
        // Here are only keys that can rotate.
        rotation: *rotation == Some(true),
        policy: key_policy(policy),
        tags: json!([]),
        aliases: alias_target.iter().map(alias).collect(),
        ..FakeKey::good()
    }
}

/// A key always has a policy.
fn key_policy(policy: &Policy) -> String {
    match policy.to_json() {
        Value::Null => json!({"Version": "2012-10-17", "Statement": []}).to_string(),
        document => document.to_string(),
    }
}
