//! Restores a bucket that an event, a message or a request names, and tells people.

// The SDK's futures nest deeply.
#![recursion_limit = "256"]

use guardrail::{lambda, work::remediate::remediate};
use guardrail_core::edge::config::Needs;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda::serve(Needs::NoQueue, remediate).await
}
