//! Where the proofs take place, and what each of them is made of.

use aws_sdk_s3::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::{
        RequestId, copy_object::builders::CopyObjectFluentBuilder, put_object::builders::PutObjectFluentBuilder,
    },
    primitives::ByteStream,
    types::ServerSideEncryption,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use guardrail_core::{
    decide::judge::Verdict,
    edge::registry::Registration,
    outcome::observed::Observed,
    tell::evidence::Proof,
    value::{failure::ApiError, names::BucketName, policy::Policy},
};
use jiff::Timestamp;

use crate::{
    Guardrail,
    work::verify::wire::{Heard, RequestIds, heard},
};

/// Where the proofs take place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site<'a> {
    pub(super) guardrail: &'a Guardrail,
    pub(super) registration: &'a Registration,
    pub(super) bucket: &'a BucketName,
    /// Of all test objects; ends with `/`.
    pub(super) prefix: &'a str,
}

/// What a run has found and made so far.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) proofs: Vec<Proof>,
    /// Changes that could not be undone.
    pub(super) left_behind: Vec<String>,
}

/// The bucket's settings, and the ids of the requests that read them.
pub(super) struct Seen {
    pub(super) observed: Observed,
    pub(super) request_ids: RequestIds,
}

/// What the bucket's settings let us risk. `None`: they could not be read.
pub(super) struct Settings {
    pub(super) acls_off: Option<bool>,
    pub(super) public_acls_refused: Option<bool>,
    pub(super) public_policies_refused: Option<bool>,
    pub(super) tls_floor: Option<bool>,
}

/// The object that is uploaded as it should be: other proofs copy it, read it and try to make it public.
pub(super) const GOOD: &str = "put-with-key";

pub(super) const BODY: &[u8] = b"a test object of s3-guardrail; it may be deleted\n";

pub(super) const DENIED: &str = "denied by the bucket policy";

impl Site<'_> {
    pub(super) fn s3(&self) -> &Client {
        &self.guardrail.s3
    }

    pub(super) fn now(&self) -> Timestamp {
        self.guardrail.clock.now()
    }

    pub(super) fn heard<T, E>(&self, sent: &Result<T, SdkError<E, HttpResponse>>) -> Heard
    where
        T: RequestId,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        heard(sent, self.now())
    }

    pub(super) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(super) fn request(&self, operation: &str, name: &str, how: &str) -> String {
        format!("{operation} {}, {how}", self.key(name))
    }

    pub(super) fn put(&self, name: &str) -> PutObjectFluentBuilder {
        let put = self.s3().put_object().bucket(self.bucket.as_str());
        put.key(self.key(name)).body(ByteStream::from_static(BODY))
    }

    pub(super) fn put_with_key(&self, name: &str) -> PutObjectFluentBuilder {
        self.put(name)
            .server_side_encryption(ServerSideEncryption::AwsKms)
            .ssekms_key_id(self.registration.key_arn.as_str())
    }

    pub(super) fn copy(&self, name: &str) -> CopyObjectFluentBuilder {
        let copy = self.s3().copy_object().bucket(self.bucket.as_str());
        copy.copy_source(format!("{}/{}", self.bucket, self.key(GOOD))).key(self.key(name))
    }
}

impl Settings {
    pub(super) fn from_observed(observed: &Observed) -> Self {
        let block = observed.public_access_block.as_ref().ok();
        let acls_off = observed.object_ownership.as_ref().ok().map(|it| it.is_enforced());
        let public_acls_refused = match (acls_off, block.map(|it| it.block_public_acls)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        };
        let has_floor = |it: &Policy| it.document().to_ascii_lowercase().contains("s3:tlsversion");
        Self {
            acls_off,
            public_acls_refused,
            public_policies_refused: block.map(|it| it.block_public_policy),
            tls_floor: observed.bucket_policy.as_ref().ok().map(has_floor),
        }
    }
}

/// The proof that an answer makes.
pub(super) fn proof(name: &'static str, request: String, expected: &str, heard: Heard, verdict: Verdict) -> Proof {
    let Heard { answer, request_id, time } = heard;
    Proof { actual: answer.text(), ..looked_up(name, request, expected, request_id, (String::new(), verdict), time) }
}

/// The proof that a look makes: what was seen, and the verdict.
pub(super) fn looked_up(
    name: &'static str,
    request: impl Into<String>,
    expected: &str,
    request_id: Option<String>,
    (actual, Verdict { outcome, reason }): (String, Verdict),
    time: Timestamp,
) -> Proof {
    Proof { name, request: request.into(), expected: expected.to_owned(), actual, outcome, reason, request_id, time }
}

pub(super) fn not_tried(
    site: &Site<'_>,
    name: &'static str,
    request: impl Into<String>,
    expected: &str,
    verdict: Verdict,
) -> Proof {
    looked_up(name, request, expected, None, ("not tried".to_owned(), verdict), site.now())
}

/// Could not be looked up.
pub(super) fn unknown(error: &ApiError) -> (String, Verdict) {
    ("unknown".to_owned(), Verdict::inconclusive(error.to_string()))
}
