//! What every function's `main` does.

use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn, tracing};
use serde_json::Value;

use crate::{
    Guardrail,
    api::chain,
    config::{Config, Needs},
    metrics,
};

/// Reads the environment, then answers invocations for as long as Lambda sends some.
pub async fn serve<E: std::error::Error + 'static>(
    needs: Needs,
    answer: impl AsyncFn(&Guardrail, Value) -> Result<Value, E>,
) -> Result<(), Error> {
    tracing::init_default_subscriber();
    let config = Config::from_env(needs).inspect_err(|error| tracing::error!("{error}"))?;
    let guardrail = Guardrail { metrics: metrics::print, ..Guardrail::new(config, &crate::aws_config().await) };
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        answer(&guardrail, event.payload).await.map_err(|error| {
            let name = std::any::type_name::<E>();
            Diagnostic { error_type: name.rsplit("::").next().unwrap_or(name).to_owned(), error_message: chain(&error) }
        })
    }))
    .await
}
