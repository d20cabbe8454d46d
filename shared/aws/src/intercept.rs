//! What the SDK does not show of an answer, or does not write of a request: read and written on the way.

use std::sync::{Arc, OnceLock};

use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut},
    },
    error::BoxError,
    primitives::SdkBody,
};
use guardrail_core::value::xml::Element;

/// Keeps a response's body as S3 sent it: the SDK's types drop elements that are newer than the SDK.
#[derive(Clone, Debug, Default)]
pub struct CaptureBody(pub Arc<OnceLock<String>>);

impl Intercept for CaptureBody {
    fn name(&self) -> &'static str {
        "CaptureBody"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if context.response().status().is_success() {
            let bytes = context.response().body().bytes().ok_or("the response was not read to its end")?;
            self.0.get_or_init(|| String::from_utf8_lossy(bytes).into_owned());
        }
        Ok(())
    }
}

/// Refuses an answer that is not XML to its end. The SDK takes one that is cut between two elements for a shorter one,
/// and what is missing would be written back as missing.
#[derive(Debug)]
pub(crate) struct WholeXml;

impl Intercept for WholeXml {
    fn name(&self) -> &'static str {
        "WholeXml"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if context.response().status().is_success() {
            let bytes = context.response().body().bytes().ok_or("the response was not read to its end")?;
            Element::parse(&String::from_utf8_lossy(bytes))?;
        }
        Ok(())
    }
}

/// Sends a document of ours in place of the SDK's, which knows only the elements of its day.
/// Runs before checksum and signature.
#[derive(Debug)]
pub struct ReplaceBody(pub String);

impl Intercept for ReplaceBody {
    fn name(&self) -> &'static str {
        "ReplaceBody"
    }

    fn modify_before_retry_loop(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        request.headers_mut().insert("content-length", self.0.len().to_string());
        *request.body_mut() = SdkBody::from(self.0.as_str());
        Ok(())
    }
}
