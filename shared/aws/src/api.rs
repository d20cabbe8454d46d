//! AWS calls: their output, or how they failed.

use std::error::Error;

use aws_sdk_s3::error::{BuildError, ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use guardrail_core::value::failure::{Answer, ApiError, Read};

fn failed<E>(operation: &'static str, error: SdkError<E, HttpResponse>) -> ApiError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let response = error.raw_response();
    let header = |name| response.and_then(|it| it.headers().get(name));
    let arrived =
        !matches!(error, SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_));
    let answer = Answer {
        arrived,
        status: response.map(|it| it.status().as_u16()),
        code: error.code(),
        message: error.message(),
        request_id: header("x-amz-request-id").or_else(|| header("x-amzn-requestid")),
    };
    ApiError::answered(operation, answer, &error)
}

/// The output of a call, or `None` when AWS answered with the one code that says "not configured".
/// Any other error is an error: what could not be read is not absent.
pub fn unless_absent<T, E>(
    operation: &'static str,
    sent: Result<T, SdkError<E, HttpResponse>>,
    absent: &str,
) -> Result<Option<T>, ApiError>
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    match sent {
        Ok(output) => Ok(Some(output)),
        Err(error) if error.code() == Some(absent) => Ok(None),
        Err(error) => Err(failed(operation, error)),
    }
}

/// The output of a call.
pub fn output<T, E>(operation: &'static str, sent: Result<T, SdkError<E, HttpResponse>>) -> Result<T, ApiError>
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    sent.map_err(|error| failed(operation, error))
}

/// That a call succeeded.
pub fn done<T, E>(operation: &'static str, sent: Result<T, SdkError<E, HttpResponse>>) -> Result<(), ApiError>
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    output(operation, sent).map(drop)
}

/// What was built, or an error of the operation that it is for.
pub fn built<T>(operation: &'static str, built: Result<T, BuildError>) -> Result<T, ApiError> {
    built.map_err(|error| ApiError::new(operation, error))
}

/// What was read; what was not is remembered, and nothing stands in its place.
pub fn known<T: Default, P>(read: Read<T>, part: P, unread: &mut Vec<(P, ApiError)>) -> T {
    read.unwrap_or_else(|error| {
        unread.push((part, error));
        T::default()
    })
}
