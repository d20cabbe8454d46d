//! Strangers' text in: events, registry documents, the environment, log files. Limits are stated. Never a decision.

pub mod config;
pub mod event;
pub mod log_file;
pub mod message;
pub mod registry;
