//! Builds the secure baseline of one bucket, and registers it.

// The SDK's futures nest deeply.
#![recursion_limit = "256"]

use guardrail::{lambda, work::bootstrap::bootstrap};
use guardrail_core::edge::config::Needs;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda::serve(Needs::NoQueue, async |guardrail, input, _| bootstrap(guardrail, input).await).await
}
