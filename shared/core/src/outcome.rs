//! What was seen, decided and done, as values. Never why.

pub mod exemption;
pub mod exposure;
pub mod finding;
pub mod hindrance;
pub mod ledger;
pub mod observed;
pub mod record;
pub mod record_file;
pub mod report;
pub mod setting;
pub mod step;
pub mod swap;
pub mod trigger;
pub mod watched;
