//! All integration tests, in one binary: each would link the AWS SDKs again.

#![recursion_limit = "256"]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

mod adoption;
mod arbitrary;
mod around;
mod attacks;
mod batch;
mod bootstrap;
mod cli;
mod convergence;
mod demo;
mod deploying;
mod documents;
mod events;
mod faults;
mod floors;
mod guards_itself;
mod history;
mod hostile;
mod insider;
mod keys_and_trails;
mod ledger;
mod local;
mod models;
mod network;
mod owners;
mod parts_told_once;
mod policies;
mod privileges;
mod reconcile;
mod recorded_around;
mod recorded_buckets;
mod second_topic;
mod stacks;
mod tidy;
mod told;
mod told_once;
mod unsettled;
mod uses;
mod verify;
