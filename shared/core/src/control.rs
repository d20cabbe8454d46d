//! The controls: what each is, what is required of it, and how it is merged with its owner's. Never another control's
//! business.

pub mod bucket_policy;
pub mod default_encryption;
pub mod inventory;
pub mod kms_key;
pub mod lifecycle;
pub mod object_ownership;
pub mod public_access_block;
pub mod selectors;
pub mod setting;
pub mod table;
pub mod trail;
pub mod versioning;
pub mod vocabulary;
