//! All integration tests, in one binary: each would link the AWS SDKs again.

#![recursion_limit = "256"]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

mod arbitrary;
mod around;
mod attacks;
mod cli;
mod convergence;
mod documents;
mod events;
mod faults;
mod guards_itself;
mod history;
mod hostile;
mod local;
mod owners;
mod policies;
mod privileges;
mod reconcile;
mod tidy;
mod verify;
