//! What the guardrail keeps in AWS: registry, history, files in the log bucket. Never a bucket's own settings.

pub mod history;
pub mod log_bucket;
pub mod registry;
