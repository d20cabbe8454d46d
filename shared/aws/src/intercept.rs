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
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use guardrail_core::value::{names::AccountId, xml::Element};

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

/// The operations of S3 that have no expected owner: their bucket, if any, is not there yet.
const WITHOUT_OWNER: [&str; 2] = ["CreateBucket", "ListBuckets"];

/// Says with every call of S3 whose the bucket has to be, so that a stranger's bucket of its name is left alone.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html>
#[derive(Debug)]
pub(crate) struct ExpectedOwner(pub(crate) AccountId);

/// The header of it.
const OWNER: &str = "x-amz-expected-bucket-owner";

impl Intercept for ExpectedOwner {
    fn name(&self) -> &'static str {
        "ExpectedOwner"
    }

    fn modify_before_retry_loop(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if config.load::<Metadata>().is_none_or(|it| !WITHOUT_OWNER.contains(&it.name())) {
            context.request_mut().headers_mut().insert(OWNER, self.0.to_string());
        }
        Ok(())
    }
}

/// Leaves out whose the bucket has to be, of one call that asks whether there is one at all.
#[derive(Debug)]
pub struct AnyOwner;

impl Intercept for AnyOwner {
    fn name(&self) -> &'static str {
        "AnyOwner"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        context.request_mut().headers_mut().remove(OWNER);
        Ok(())
    }
}

/// Whether a call asks for XML: all that read do, but for a policy, which is JSON, and an object.
fn asks_for_xml(operation: &str) -> bool {
    let asks = ["Get", "List", "Describe"].iter().any(|it| operation.starts_with(it));
    asks && !["GetBucketPolicy", "GetObject"].contains(&operation)
}

/// Refuses an answer that is not XML to its end, of every call that asks for XML. The SDK takes one that is cut between
/// two elements for a shorter one, and what is missing would be written back as missing.
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
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let is_asked_for = config.load::<Metadata>().is_none_or(|it| asks_for_xml(it.name()));
        if is_asked_for && context.response().status().is_success() {
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
