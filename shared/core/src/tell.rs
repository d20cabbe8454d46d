//! Values in, words out: alerts, evidence, metrics. Never a decision.

pub mod advice;
pub mod alert;
pub mod code;
pub mod difference;
pub mod evidence;
pub mod metrics;
pub mod redact;
pub mod second;
pub mod subject;
