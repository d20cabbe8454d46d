//! Proves the baseline of a live bucket by doing what it must refuse, and what it must let through.

// The SDK's futures nest deeply.
#![recursion_limit = "256"]

use guardrail::{lambda, work::verify::verify};
use guardrail_core::edge::config::Needs;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda::serve(Needs::NoQueue, async |guardrail, input, _| verify(guardrail, input).await).await
}
