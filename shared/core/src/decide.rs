//! All decisions, from values to values. Never a word to people, never a call.

pub mod adoption;
pub mod backoff;
pub mod baseline;
pub mod chain;
pub mod copies;
pub mod echo;
pub mod enrolment;
pub mod errand;
pub mod exposure;
pub mod hindrance;
pub mod judge;
pub mod known;
pub mod ledger;
pub mod own_key;
pub mod parts;
pub mod permitted;
pub mod plan;
pub mod queues;
pub mod record;
pub mod rules;
pub mod settle;
pub mod setup;
pub mod shared;
pub mod teardown;
pub mod uses;
pub mod wanted_key;
