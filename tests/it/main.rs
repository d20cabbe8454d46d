//! All integration tests, in one binary: each would link the AWS SDKs again.

#![recursion_limit = "256"]

mod local;
mod reconcile;
mod tidy;
