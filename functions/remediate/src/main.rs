//! Restores a bucket that an event, a message or a request names, and tells people.

// The SDK's futures nest deeply.
#![recursion_limit = "256"]

use guardrail::{config::Needs, lambda, remediate::remediate};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda::serve(Needs::NoQueue, remediate).await
}
