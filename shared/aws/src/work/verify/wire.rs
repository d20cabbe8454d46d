//! Requests as no well-behaved client sends them: without TLS, without a signature. And what AWS answered.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use aws_sdk_s3::{
    Client,
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut},
    },
    error::{BoxError, ProvideErrorMetadata, SdkError},
    operation::RequestId,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, Metadata};
use guardrail_core::{decide::judge::Answer, value::failure::chain};
use jiff::Timestamp;

/// An answer, and how to find it again.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) answer: Answer,
    pub(super) request_id: Option<String>,
    pub(super) time: Timestamp,
}

/// What AWS said.
pub(super) fn heard<T, E>(sent: &Result<T, SdkError<E, HttpResponse>>, time: Timestamp) -> Heard
where
    T: RequestId,
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let (answer, request_id) = match sent {
        Ok(output) => (Answer::Accepted, output.request_id()),
        Err(error) => (answer(error), error.request_id()),
    };
    Heard { answer, request_id: request_id.map(str::to_owned), time }
}

fn answer<E>(error: &SdkError<E, HttpResponse>) -> Answer
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match (error.code(), error.raw_response()) {
        // AWS could not say: that is no refusal.
        (code, Some(response)) if response.status().is_server_error() => {
            let (code, message) = (code.unwrap_or("no code"), error.message().unwrap_or("no message"));
            Answer::Unanswered(format!("{code}: {message} (HTTP {})", response.status().as_u16()))
        }
        (Some(code), _) => {
            Answer::Refused { code: code.to_owned(), message: error.message().unwrap_or_default().to_owned() }
        }
        // An answer to HEAD has no body, and so no code.
        (None, Some(response)) if !response.status().is_success() => {
            Answer::Refused { code: format!("HTTP {}", response.status().as_u16()), message: String::new() }
        }
        _ => Answer::Unanswered(chain(error)),
    }
}

/// Notes the ids of the requests that were answered, by operation.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestIds(Arc<Mutex<HashMap<String, String>>>);

impl RequestIds {
    /// The id of the last request of this operation.
    pub(super) fn of(&self, operation: &str) -> Option<String> {
        self.0.lock().ok()?.get(operation).cloned()
    }

    /// The same client, whose answers are noted.
    pub(super) fn listening(&self, s3: &Client) -> Client {
        Client::from_conf(s3.config().to_builder().interceptor(self.clone()).build())
    }
}

impl Intercept for RequestIds {
    fn name(&self) -> &'static str {
        "RequestIds"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = config.load::<Metadata>().map(|it| it.name().to_owned());
        let id = context.response().headers().get("x-amz-request-id").map(str::to_owned);
        if let (Some(operation), Some(id), Ok(mut known)) = (operation, id, self.0.lock()) {
            known.insert(operation, id);
        }
        Ok(())
    }
}

/// Changes each request right before it is sent, signed as it was.
#[derive(Debug)]
pub(super) struct BeforeSending(pub(super) fn(&mut HttpRequest) -> Result<(), BoxError>);

impl Intercept for BeforeSending {
    fn name(&self) -> &'static str {
        "BeforeSending"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0(context.request_mut())
    }
}

/// Leaves out the signature, and all that goes with it.
pub(super) fn unsigned(request: &mut HttpRequest) -> Result<(), BoxError> {
    for name in ["authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"] {
        request.headers_mut().remove(name);
    }
    Ok(())
}

/// The same address without TLS. The scheme is not signed.
fn over_http(request: &mut HttpRequest) -> Result<(), BoxError> {
    if let Some(rest) = request.uri().strip_prefix("https:") {
        let uri = format!("http:{rest}");
        request.set_uri(uri)?;
    }
    Ok(())
}

/// How S3 is called without TLS: AWS answers under the same names, an endpoint of one's own where it was said.
pub(crate) fn without_tls(
    s3: aws_sdk_s3::config::Builder,
    endpoint: Option<&str>,
    http_endpoint: Option<&str>,
) -> Option<aws_sdk_s3::config::Builder> {
    match (endpoint, http_endpoint) {
        (_, Some(url)) => Some(s3.endpoint_url(url).force_path_style(true)),
        (None, None) => Some(s3.interceptor(BeforeSending(over_http))),
        (Some(_), None) => None,
    }
}
