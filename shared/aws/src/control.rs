//! The reads and writes of each control, one file a control, as in the core. Never a decision.

pub mod bucket_policy;
pub mod default_encryption;
pub mod inventory;
pub mod kms_key;
pub mod lifecycle;
pub mod object_ownership;
pub mod public_access_block;
pub mod trail;
pub mod versioning;
