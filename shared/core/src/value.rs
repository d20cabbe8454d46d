//! What AWS says, as values: names, failures, policies, XML. Never a decision about a bucket.

pub mod access;
pub mod caller;
pub mod drift;
pub mod failure;
pub mod grant;
pub mod json;
pub mod names;
pub mod own_parts;
pub mod plain;
pub mod policy;
pub mod subject;
pub mod xml;
