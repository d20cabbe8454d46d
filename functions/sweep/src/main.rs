//! Sends one message per guarded bucket, and looks at the guardrail itself.

// The SDK's futures nest deeply.
#![recursion_limit = "256"]

use guardrail::{lambda, work::sweep::sweep};
use guardrail_core::edge::config::Needs;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda::serve(Needs::Queue, async |guardrail, input, _| sweep(guardrail, input).await).await
}
