//! What the tests and the demo stand on: the local AWS, and the guardrail deployed on it.

pub mod control;
pub mod deploy;
pub mod event_patterns;
pub mod fake;
pub mod function;
pub mod local_aws;
pub mod machine;
pub mod matrix;
pub mod models;
pub mod parsers;
pub mod s3_rules;
pub mod simulation;
pub mod storm;
