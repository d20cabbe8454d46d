//! What every function's `main` does.

use guardrail_core::{
    edge::config::{Config, ConfigError, Needs},
    value::failure::chain,
};
use std::time::Duration;

use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn, tracing};
use serde_json::Value;
use tokio::time::Instant;

use crate::Guardrail;

/// No invocation takes longer.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html>
const LONGEST: Duration = Duration::from_secs(900);

/// Reads the environment, then answers invocations for as long as Lambda sends some.
pub async fn serve<E: std::error::Error + 'static>(
    needs: Needs,
    answer: impl AsyncFn(&Guardrail, Value, Instant) -> Result<Value, E>,
) -> Result<(), Error> {
    tracing::init_default_subscriber();
    let config = environment(needs).inspect_err(|error| tracing::error!("{error}"))?;
    let guardrail = Guardrail { metrics: print, ..Guardrail::new(config, &crate::aws_config().await) };
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        // Lambda says when in the time of day, and a clock that jumps must not cut a look short.
        let now = u64::try_from(guardrail.clock.now().as_millisecond()).unwrap_or_default();
        // What is no sensible time, as with a runtime of one's own, is no more than Lambda's longest.
        let left = Duration::from_millis(event.context.deadline.saturating_sub(now)).min(LONGEST);
        answer(&guardrail, event.payload, Instant::now() + left).await.map_err(|error| {
            let name = std::any::type_name::<E>();
            Diagnostic { error_type: name.rsplit("::").next().unwrap_or(name).to_owned(), error_message: chain(&error) }
        })
    }))
    .await
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment(needs: Needs) -> Result<Config, ConfigError> {
    Config::from_vars(needs, |name| std::env::var(name).ok())
}

/// Writes a line of metrics to standard output, from where Lambda takes it.
#[expect(clippy::print_stdout, reason = "the embedded metric format is a line on standard output")]
fn print(line: &Value) {
    println!("{line}");
}
