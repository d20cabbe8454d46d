//! `guardrail-remediate`: a message or a batch of them in; what they are about restored, people told, reports out.

use guardrail_core::{decide::errand::Errand, outcome::report::Report, value::names::BucketName};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    Guardrail,
    input::Input,
    work::{
        batch::{self, handle_batch},
        handle::{RemediateError, handle, handle_bucket},
        look::{Known, Task},
    },
};

/// Answers one invocation, which Lambda ends at `end`.
pub async fn remediate(guardrail: &Guardrail, input: Value, end: Instant) -> Result<Value, RemediateError> {
    match Input::parse(input)? {
        Input::One(message) => handle(guardrail, vec![message], false, &mut Known::default(), batch::until(end)).await,
        Input::Batch(batch) => Ok(json!(handle_batch(guardrail, batch, end).await)),
    }
}

/// What a direct request does, for a caller who takes the report as it is.
pub async fn reconcile_bucket(guardrail: &Guardrail, bucket: &BucketName, dry_run: bool) -> Report {
    let task = Task { errand: Errand::request(dry_run), until: Instant::now() + batch::LOOK };
    handle_bucket(guardrail, bucket, &task, &mut Known::default()).await
}
