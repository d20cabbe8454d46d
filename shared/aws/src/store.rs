//! What the guardrail keeps in AWS: registry, ledger, history, files in the log bucket. Never a bucket's own settings.

pub mod history;
pub mod ledger;
pub mod log_bucket;
pub mod registry;
pub mod uses;
