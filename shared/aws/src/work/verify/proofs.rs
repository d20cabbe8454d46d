//! The proofs, one after the other. None stops the next.

use aws_sdk_s3::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::{
        RequestId, copy_object::builders::CopyObjectFluentBuilder, get_bucket_acl::GetBucketAclOutput,
        put_object::builders::PutObjectFluentBuilder,
    },
    primitives::ByteStream,
    types::{
        BucketCannedAcl, CompletedMultipartUpload, CompletedPart, Grant, Grantee, ObjectCannedAcl, ObjectEncryption,
        ServerSideEncryption, SsekmsEncryption,
    },
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use guardrail_core::{
    control::{
        bucket_policy::PolicyVariant,
        inventory::INVENTORY_ID,
        kms_key::{KeyState, Purpose},
        table::Control,
    },
    decide::{
        baseline::Baseline,
        echo::Echo,
        judge::{
            Answer, ProofOutcome, Refuser, Stored, Verdict, acceptance, is_unexplained, may_put_acls, refusal, stored,
        },
        plan::{Stance, plan},
    },
    edge::registry::Registration,
    outcome::{observed::Observed, step::Step},
    tell::evidence::Proof,
    value::{
        failure::ApiError,
        names::{BucketName, bucket_arn},
        policy::{Policy, Statement},
    },
};
use jiff::Timestamp;
use serde_json::json;

use crate::{
    Guardrail,
    api::{done, output},
    control::{self, object_ownership::bucket_acl, trail::TrailAnswer},
    work::verify::{
        cleanup::versions,
        wire::{BeforeSending, Heard, RequestIds, heard, unsigned},
    },
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

/// What must become of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upload {
    Denied,
    Kept,
}

/// The bucket's settings, and the ids of the requests that read them.
pub(super) struct Seen {
    pub(super) observed: Observed,
    pub(super) request_ids: RequestIds,
}

/// What the bucket's settings let us risk. `None`: they could not be read.
pub(super) struct Settings {
    acls_off: Option<bool>,
    public_acls_refused: Option<bool>,
    public_policies_refused: Option<bool>,
    tls_floor: Option<bool>,
}

/// The object that is uploaded as it should be: other proofs copy it, read it and try to make it public.
const GOOD: &str = "put-with-key";

const BODY: &[u8] = b"a test object of s3-guardrail; it may be deleted\n";

/// S3's least size of a part that is not the last.
const PART: usize = 5 * 1024 * 1024;

const DENIED: &str = "denied by the bucket policy";

const KEPT: &str = "accepted, and kept with the registered key and the bucket key";

/// Proves what may be cut off at any time: what is found so far is in `run`, and what it made can be removed.
pub(super) async fn prove(site: &Site<'_>, settings: &Settings, baseline: &Baseline, seen: Seen, run: &mut Run) {
    let heard = site.heard(&site.put_with_key(GOOD).send().await);
    let control = heard.answer == Answer::Accepted;
    let request = site.request("PutObject", GOOD, "with aws:kms and the registered key");
    run.proofs.push(upload(site, control, GOOD, request, Upload::Kept, heard).await);
    run.proofs.push(two_versions(site, control).await);
    uploads(site, control, &mut run.proofs).await;
    multipart(site, run).await;
    run.proofs.push(copy(site).await);
    run.proofs.push(another_key(site, control).await);
    run.proofs.push(plain_http(site).await);
    run.proofs.push(tls_floor(site, settings));
    run.proofs.push(anonymous_read(site).await);
    run.proofs.push(public_object_acl(site, control).await);
    run.proofs.push(trail(site).await);
    run.proofs.push(key(site).await);
    in_force(site, baseline, seen, &mut run.proofs).await;
}

/// Proves what must not be cut off: it would have to be undone if it worked.
pub(super) async fn prove_to_the_end(site: &Site<'_>, settings: &Settings, run: &mut Run) {
    public_bucket_acl(site, settings, run).await;
    public_policy(site, settings, run).await;
}

impl Site<'_> {
    fn s3(&self) -> &Client {
        &self.guardrail.s3
    }

    fn now(&self) -> Timestamp {
        self.guardrail.clock.now()
    }

    fn heard<T, E>(&self, sent: &Result<T, SdkError<E, HttpResponse>>) -> Heard
    where
        T: RequestId,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        heard(sent, self.now())
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn request(&self, operation: &str, name: &str, how: &str) -> String {
        format!("{operation} {}, {how}", self.key(name))
    }

    fn put(&self, name: &str) -> PutObjectFluentBuilder {
        let put = self.s3().put_object().bucket(self.bucket.as_str());
        put.key(self.key(name)).body(ByteStream::from_static(BODY))
    }

    fn put_with_key(&self, name: &str) -> PutObjectFluentBuilder {
        self.put(name)
            .server_side_encryption(ServerSideEncryption::AwsKms)
            .ssekms_key_id(self.registration.key_arn.as_str())
    }

    fn copy(&self, name: &str) -> CopyObjectFluentBuilder {
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
fn proof(name: &'static str, request: String, expected: &str, heard: Heard, verdict: Verdict) -> Proof {
    let Heard { answer, request_id, time } = heard;
    Proof { actual: answer.text(), ..looked_up(name, request, expected, request_id, (String::new(), verdict), time) }
}

/// The proof that a look makes: what was seen, and the verdict.
fn looked_up(
    name: &'static str,
    request: impl Into<String>,
    expected: &str,
    request_id: Option<String>,
    (actual, Verdict { outcome, reason }): (String, Verdict),
    time: Timestamp,
) -> Proof {
    Proof { name, request: request.into(), expected: expected.to_owned(), actual, outcome, reason, request_id, time }
}

fn not_tried(
    site: &Site<'_>,
    name: &'static str,
    request: impl Into<String>,
    expected: &str,
    verdict: Verdict,
) -> Proof {
    looked_up(name, request, expected, None, ("not tried".to_owned(), verdict), site.now())
}

/// Could not be looked up.
fn unknown(error: &ApiError) -> (String, Verdict) {
    ("unknown".to_owned(), Verdict::inconclusive(error.to_string()))
}

/// The proof of one upload: refused by the policy, or kept as it should be.
async fn upload(
    site: &Site<'_>,
    control: bool,
    name: &'static str,
    request: String,
    wanted: Upload,
    heard: Heard,
) -> Proof {
    if wanted == Upload::Denied {
        let verdict = refusal(Refuser::BucketPolicy, control, &heard.answer);
        return proof(name, request, DENIED, heard, verdict);
    }
    let verdict = acceptance(&heard.answer);
    if verdict.outcome != ProofOutcome::Proven {
        return proof(name, request, KEPT, heard, verdict);
    }
    let (kept, verdict) = match head(site, name).await {
        Ok(kept) => (kept.text(), stored(site.registration.key_arn.as_str(), &kept)),
        Err(error) => unknown(&error),
    };
    let it = proof(name, format!("{request}; HeadObject"), KEPT, heard, verdict);
    Proof { actual: format!("{}: {kept}", it.actual), ..it }
}

async fn head(site: &Site<'_>, name: &str) -> Result<Stored, ApiError> {
    let head = site.s3().head_object().bucket(site.bucket.as_str());
    let head = head.key(site.key(name));
    let head = output("HeadObject", head.send().await)?;
    Ok(Stored {
        algorithm: head.server_side_encryption().map(|it| it.as_str().to_owned()),
        key: head.ssekms_key_id().map(str::to_owned),
        bucket_key: head.bucket_key_enabled() == Some(true),
    })
}

async fn uploads(site: &Site<'_>, control: bool, proofs: &mut Vec<Proof>) {
    let place = site.guardrail.config.place();
    // A key that is in every account, so that only the policy can be what refuses it.
    let other = format!("arn:{}:kms:{}:{}:alias/aws/s3", place.partition, place.region, place.account);
    let kms = ServerSideEncryption::AwsKms;
    let by_default = if site.registration.policy == PolicyVariant::Strict { Upload::Denied } else { Upload::Kept };
    for (name, how, wanted, change) in [
        ("put-without-header", "without encryption headers".to_owned(), by_default, None),
        ("put-with-aes256", "with AES256".to_owned(), Upload::Denied, Some((ServerSideEncryption::Aes256, None))),
        ("put-with-wrong-key", format!("with aws:kms and {other}"), Upload::Denied, Some((kms.clone(), Some(other)))),
        ("put-without-key-id", "with aws:kms and no key id".to_owned(), Upload::Denied, Some((kms, None))),
    ] {
        let mut put = site.put(name);
        if let Some((encryption, key)) = change {
            put = put.server_side_encryption(encryption).set_ssekms_key_id(key);
        }
        let heard = site.heard(&put.send().await);
        proofs.push(upload(site, control, name, site.request("PutObject", name, &how), wanted, heard).await);
    }
}

/// `first`: whether the first upload was accepted.
async fn two_versions(site: &Site<'_>, first: bool) -> Proof {
    const EXPECTED: &str = "two versions of one key are listed";
    let heard = site.heard(&site.put_with_key(GOOD).send().await);
    let request = format!("{}; ListObjectVersions", site.request("PutObject", GOOD, "once more"));
    if heard.answer != Answer::Accepted {
        let verdict = Verdict::inconclusive("there is no second version: the upload was not accepted");
        return proof("two-versions", request, EXPECTED, heard, verdict);
    }
    let (actual, verdict) = match versions(site.s3(), site.bucket, &site.key(GOOD)).await {
        Err(error) => unknown(&error),
        Ok(found) => {
            let verdict = match found.len() {
                // More, when an answer was lost and the upload sent again.
                2.. => Verdict::proven(),
                _ if !first => Verdict::inconclusive("there is no first version: the upload was not accepted"),
                _ => Verdict::disproven("an upload replaces what was there"),
            };
            (format!("{} versions", found.len()), verdict)
        }
    };
    looked_up("two-versions", request, EXPECTED, heard.request_id, (actual, verdict), heard.time)
}

async fn multipart(site: &Site<'_>, run: &mut Run) {
    const NAME: &str = "multipart-with-key";
    let heard = upload_in_parts(site, NAME).await;
    let how = "9 MiB in 2 parts, with aws:kms and the registered key";
    let request = site.request("CreateMultipartUpload, UploadPart, CompleteMultipartUpload", NAME, how);
    run.proofs.push(upload(site, true, NAME, request, Upload::Kept, heard).await);
}

/// The last answer, or the first that is not good.
async fn upload_in_parts(site: &Site<'_>, name: &str) -> Heard {
    let (bucket, key) = (site.bucket.as_str(), site.key(name));
    let create = site.s3().create_multipart_upload().bucket(bucket).key(&key);
    let create = create.server_side_encryption(ServerSideEncryption::AwsKms);
    let created = create.ssekms_key_id(site.registration.key_arn.as_str()).send().await;
    let created_heard = site.heard(&created);
    let Ok(Some(id)) = created.map(|it| it.upload_id) else { return created_heard };
    let mut parts = CompletedMultipartUpload::builder();
    for (number, size) in [(1, PART), (2, 4 * 1024 * 1024)] {
        let part = site.s3().upload_part().bucket(bucket).key(&key).upload_id(&id);
        let sent = part.part_number(number).body(ByteStream::from(vec![0; size])).send().await;
        let part_heard = site.heard(&sent);
        let Ok(part) = sent else { return part_heard };
        let completed = CompletedPart::builder().part_number(number).set_e_tag(part.e_tag);
        parts = parts.parts(completed.set_checksum_crc32(part.checksum_crc32).build());
    }
    let complete = site.s3().complete_multipart_upload().bucket(bucket).key(&key);
    site.heard(&complete.upload_id(&id).multipart_upload(parts.build()).send().await)
}

async fn copy(site: &Site<'_>) -> Proof {
    const NAME: &str = "copy-without-header";
    let right = site.copy("copy-with-key").server_side_encryption(ServerSideEncryption::AwsKms);
    let control = right.ssekms_key_id(site.registration.key_arn.as_str()).send().await.is_ok();
    let heard = site.heard(&site.copy(NAME).send().await);
    let wanted = if site.registration.policy == PolicyVariant::Strict { Upload::Denied } else { Upload::Kept };
    let request = site.request("CopyObject", NAME, "without encryption headers; as a control, with the registered key");
    upload(site, control, NAME, request, wanted, heard).await
}

/// Whether a stored object can be given another key. AWS documents both of the policy's conditions for this call, and that
/// it needs `s3:PutObject`, but not that a Deny of that refuses it: only trying tells.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UpdateObjectEncryption.html>
async fn another_key(site: &Site<'_>, stored: bool) -> Proof {
    const NAME: &str = "update-encryption-with-wrong-key";
    let place = site.guardrail.config.place();
    // One that nobody has: where the policy does not refuse, KMS does.
    let other = format!(
        "arn:{}:kms:{}:{}:key/00000000-0000-0000-0000-000000000000",
        place.partition, place.region, place.account
    );
    let how = format!("to {other}; as a control, to the registered key");
    let request = site.request("UpdateObjectEncryption", GOOD, &how);
    let update = |key: &str| {
        let key = SsekmsEncryption::builder().kms_key_arn(key).bucket_key_enabled(true).build();
        let update = site.s3().update_object_encryption().bucket(site.bucket.as_str()).key(site.key(GOOD));
        update.set_object_encryption(key.ok().map(ObjectEncryption::Ssekms)).send()
    };
    let skipped = |why: String| not_tried(site, NAME, request.clone(), DENIED, Verdict::skipped(why));
    if !stored {
        return skipped("there is no test object: the upload was not accepted".to_owned());
    }
    let control = site.heard(&update(site.registration.key_arn.as_str()).await);
    match &control.answer {
        Answer::Accepted => {}
        // But for the answer that the call is not known.
        Answer::Unanswered(error) if !error.contains("(HTTP 501)") => {
            let verdict = refusal(Refuser::BucketPolicy, false, &control.answer);
            return proof(NAME, request, DENIED, control, verdict);
        }
        answer => return skipped(format!("with the registered key it is not accepted, either ({})", answer.text())),
    }
    // What does not know the call takes it for an upload.
    let head = site.s3().head_object().bucket(site.bucket.as_str()).key(site.key(GOOD));
    match output("HeadObject", head.send().await) {
        Ok(head) if head.content_length() == i64::try_from(BODY.len()).ok() => {}
        Ok(_) => return skipped("it was taken for an upload: this S3 does not know the call".to_owned()),
        Err(error) => return looked_up(NAME, request, DENIED, None, unknown(&error), site.now()),
    }
    let heard = site.heard(&update(&other).await);
    let verdict = refusal(Refuser::BucketPolicy, true, &heard.answer);
    proof(NAME, request, DENIED, heard, verdict)
}

async fn plain_http(site: &Site<'_>) -> Proof {
    const NAME: &str = "plain-http";
    let request = format!("ListObjectsV2 of {} over http://; as a control, over https://", site.prefix);
    let Some(over_http) = &site.guardrail.s3_over_http else {
        let why =
            "the endpoint is not AWS's own, and GUARDRAIL_HTTP_ENDPOINT_URL does not say where it answers without TLS";
        return not_tried(site, NAME, request, DENIED, Verdict::skipped(why));
    };
    let list = |s3: &Client| {
        let list = s3.list_objects_v2().bucket(site.bucket.as_str()).prefix(site.prefix).max_keys(1);
        list.send()
    };
    let control = list(site.s3()).await.is_ok();
    let heard = site.heard(&list(over_http).await);
    let verdict = refusal(Refuser::BucketPolicy, control, &heard.answer);
    proof(NAME, request, DENIED, heard, verdict)
}

fn tls_floor(site: &Site<'_>, settings: &Settings) -> Proof {
    let verdict = match settings.tls_floor {
        Some(false) => Verdict::skipped("the bucket policy sets no s3:TlsVersion"),
        Some(true) => Verdict::skipped("the TLS library of this function speaks nothing older than TLS 1.2"),
        None => Verdict::inconclusive("the bucket policy could not be read"),
    };
    not_tried(site, "tls-floor", "a handshake with TLS 1.1", "refused, when the policy sets s3:TlsVersion", verdict)
}

async fn public_object_acl(site: &Site<'_>, control: bool) -> Proof {
    let put = |acl: ObjectCannedAcl| {
        let put = site.s3().put_object_acl().bucket(site.bucket.as_str()).key(site.key(GOOD));
        put.acl(acl).send()
    };
    let said = site.heard(&put(ObjectCannedAcl::PublicRead).await);
    let control = control
        && (!is_unexplained(&said.answer) || may_put_acls(&site.heard(&put(ObjectCannedAcl::Private).await).answer));
    let verdict = refusal(Refuser::AclRules, control, &said.answer);
    proof("public-object-acl", site.request("PutObjectAcl", GOOD, "public-read"), "refused", said, verdict)
}

/// Why something is not even tried: it might work, and the bucket would be public.
fn too_risky(refused: Option<bool>, rule: &str) -> Option<Verdict> {
    match refused {
        Some(true) => None,
        Some(false) => Some(Verdict::disproven(format!("{rule}; it was not tried, as the bucket would become public"))),
        None => Some(Verdict::inconclusive("the settings that must refuse it could not be read")),
    }
}

async fn public_bucket_acl(site: &Site<'_>, settings: &Settings, run: &mut Run) {
    const NAME: &str = "public-bucket-acl";
    const REQUEST: &str = "PutBucketAcl public-read";
    if let Some(verdict) =
        too_risky(settings.public_acls_refused, "ACLs are on, and the bucket does not block public ones")
    {
        return run.proofs.push(not_tried(site, NAME, REQUEST, "refused", verdict));
    }
    let put = |acl: BucketCannedAcl| {
        let put = site.s3().put_bucket_acl().bucket(site.bucket.as_str());
        put.acl(acl).send()
    };
    let said = site.heard(&put(BucketCannedAcl::PublicRead).await);
    let undone =
        match is_there(&said.answer, async || Ok(is_public(&bucket_acl(site.guardrail.readers(), site.bucket).await?)))
            .await
        {
            Ok(true) => done("PutBucketAcl", put(BucketCannedAcl::Private).await),
            other => other.map(drop),
        };
    if let Err(error) = undone {
        run.left_behind.push(format!("the bucket's ACL, public-read, which could not be put back: {error}"));
    }
    // Where ACLs are on, a private one would take away what the bucket's grants.
    let control = !is_unexplained(&said.answer)
        || settings.acls_off == Some(true) && may_put_acls(&site.heard(&put(BucketCannedAcl::Private).await).answer);
    let verdict = refusal(Refuser::AclRules, control, &said.answer);
    run.proofs.push(proof(NAME, REQUEST.to_owned(), "refused", said, verdict));
}

async fn public_policy(site: &Site<'_>, settings: &Settings, run: &mut Run) {
    const NAME: &str = "public-policy";
    const EXPECTED: &str = "refused by BlockPublicPolicy";
    let request = "PutBucketPolicy, the policy as it is and a statement that lets everybody read the test objects";
    if let Some(verdict) = too_risky(settings.public_policies_refused, "the bucket does not block public policies") {
        return run.proofs.push(not_tried(site, NAME, request, EXPECTED, verdict));
    }
    let read = async || {
        let get = site.s3().get_bucket_policy().bucket(site.bucket.as_str());
        let get = output("GetBucketPolicy", get.send().await);
        get.map(|it| it.policy.unwrap_or_default())
    };
    let before = match read().await {
        Ok(before) => before,
        Err(error) => {
            let verdict = Verdict::inconclusive(format!("there is no policy that could be put back: {error}"));
            return run.proofs.push(not_tried(site, NAME, request, EXPECTED, verdict));
        }
    };
    let Some(public) = with_public_statement(&before, site) else {
        let verdict = Verdict::inconclusive("the policy as it is makes no sense");
        return run.proofs.push(not_tried(site, NAME, request, EXPECTED, verdict));
    };
    let put = |policy: String| {
        let put = site.s3().put_bucket_policy().bucket(site.bucket.as_str());
        put.policy(policy).send()
    };
    let said = site.heard(&put(public).await);
    let undone = match is_there(&said.answer, async || Ok(read().await?.contains(PUBLIC_SID))).await {
        Ok(true) => done("PutBucketPolicy", put(before.clone()).await),
        other => other.map(drop),
    };
    if let Err(error) = undone {
        let statement =
            format!("the statement {PUBLIC_SID} in the bucket policy, which could not be put back: {error}");
        run.left_behind.push(statement);
    }
    let control = !is_unexplained(&said.answer) || put(before).await.is_ok();
    let verdict = refusal(Refuser::BlockPublicPolicy, control, &said.answer);
    run.proofs.push(proof(NAME, request.to_owned(), EXPECTED, said, verdict));
}

/// Whether what was put, and must not stay, is there. An answer that never came may have been a yes.
async fn is_there(answer: &Answer, look: impl AsyncFn() -> Result<bool, ApiError>) -> Result<bool, ApiError> {
    match answer {
        Answer::Accepted => Ok(true),
        Answer::Refused { .. } => Ok(false),
        Answer::Unanswered(_) => look().await,
    }
}

fn is_public(acl: &GetBucketAclOutput) -> bool {
    let everybody = |it: &Grant| it.grantee().and_then(Grantee::uri).is_some_and(|it| it.ends_with("/AllUsers"));
    acl.grants().iter().any(everybody)
}

const PUBLIC_SID: &str = "GuardrailVerifyMustBeRefused";

fn with_public_statement(document: &str, site: &Site<'_>) -> Option<String> {
    let mut policy = Policy::parse(document).ok()?;
    let partition = site.registration.key_arn.parts().partition;
    policy.statements.push(Statement(json!({
        "Sid": PUBLIC_SID, "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
        "Resource": format!("{}/{}*", bucket_arn(partition, site.bucket), site.prefix),
    })));
    Some(policy.document())
}

async fn anonymous_read(site: &Site<'_>) -> Proof {
    let get = || site.s3().get_object().bucket(site.bucket.as_str()).key(site.key(GOOD));
    let control = get().send().await.is_ok();
    let heard = site.heard(&get().customize().interceptor(BeforeSending(unsigned)).send().await);
    let verdict = refusal(Refuser::NoPermission, control, &heard.answer);
    let request = site.request("GetObject", GOOD, "unsigned; as a control, signed");
    proof("anonymous-read", request, "denied", heard, verdict)
}

async fn trail(site: &Site<'_>) -> Proof {
    const NAME: &str = "trail";
    const REQUEST: &str = "GetTrailStatus, GetEventSelectors";
    const EXPECTED: &str = "logging, with management writes and with reads and writes of the bucket's objects";
    let Some(trail) = &site.registration.trail_arn else {
        return not_tried(site, NAME, REQUEST, EXPECTED, Verdict::skipped("the registry names no trail"));
    };
    let own = trail.parts().account == site.guardrail.config.place().account;
    let (request_id, seen) = match control::trail::ask_trail(site.guardrail.readers(), trail).await {
        Ok(TrailAnswer { request_id, is_logging: logging, selectors }) => {
            let objects = format!("{}/", bucket_arn(trail.parts().partition, site.bucket));
            let complete = selectors.clone().requiring(&objects) == selectors;
            let said = |it: bool| if it { "" } else { "not " };
            let actual = format!("{}logging, {}all of these events selected", said(logging), said(complete));
            let disproven = || Verdict::disproven("what happens to the bucket is not all recorded");
            (request_id, (actual, if logging && complete { Verdict::proven() } else { disproven() }))
        }
        Err(error) if !own => {
            let why =
                format!("it is another account's trail: believed to log, as it cannot be asked from here ({error})");
            return not_tried(site, NAME, REQUEST, EXPECTED, Verdict::skipped(why));
        }
        Err(error) => (None, unknown(&error)),
    };
    looked_up(NAME, REQUEST, EXPECTED, request_id, seen, site.now())
}

async fn key(site: &Site<'_>) -> Proof {
    const EXPECTED: &str = "enabled, for symmetric encryption, with rotation on where it can be";
    let (request_id, seen) = match key_state(site).await {
        Ok(KeyAnswer { request_id, state, purpose, rotation }) => {
            let rotates = match rotation {
                Some(true) => "on",
                Some(false) => "off",
                None => "not possible for this kind of key",
            };
            let actual = format!("{state}, rotation {rotates}");
            let verdict = match purpose.refusal() {
                Some(refusal) => Verdict::disproven(refusal.to_string()),
                None if state == KeyState::Enabled && rotation != Some(false) => Verdict::proven(),
                None => Verdict::disproven("the key is not usable, or is never rotated"),
            };
            (request_id, (actual, verdict))
        }
        Err(error) => (None, unknown(&error)),
    };
    looked_up("key", "DescribeKey, GetKeyRotationStatus", EXPECTED, request_id, seen, site.now())
}

struct KeyAnswer {
    request_id: Option<String>,
    state: KeyState,
    purpose: Purpose,
    /// `None`: it cannot rotate by itself.
    rotation: Option<bool>,
}

async fn key_state(site: &Site<'_>) -> Result<KeyAnswer, ApiError> {
    const OPERATION: &str = "DescribeKey";
    let (kms, key) = (&site.guardrail.kms, site.registration.key_arn.as_str());
    let described = output(OPERATION, kms.describe_key().key_id(key).send().await)?;
    let rotation = control::kms_key::rotation(site.guardrail.readers(), key).await?;
    let request_id = described.request_id().map(str::to_owned);
    let metadata = described.key_metadata.ok_or_else(|| ApiError::new(OPERATION, "it says nothing of the key"))?;
    let (state, purpose) = (control::kms_key::key_state(&metadata), control::kms_key::purpose(&metadata));
    Ok(KeyAnswer { request_id, state, purpose, rotation })
}

/// The settings whose effect shows only after days: that they are in force.
async fn in_force(site: &Site<'_>, baseline: &Baseline, seen: Seen, proofs: &mut Vec<Proof>) {
    let Seen { observed, request_ids } = seen;
    let inventory_prefix = observed.inventory.as_ref().ok().and_then(|it| it.as_ref()?.prefix.clone());
    let stance = Stance { registration: site.registration, now: site.now(), dry_run: true, echo: Echo::No };
    let steps = plan(baseline, observed.into(), &stance);
    for (control, name, operation, expected) in [
        (Control::Lifecycle, "lifecycle", "GetBucketLifecycleConfiguration", "both required rules are in force"),
        (
            Control::Inventory,
            "inventory",
            "GetBucketInventoryConfiguration",
            "a daily report of all versions, with their encryption, is configured",
        ),
    ] {
        let mut seen = as_planned(steps.iter().find(|it| it.control() == control));
        if control == Control::Inventory && seen.1.outcome == ProofOutcome::Proven {
            seen.0 = match latest_report(site, inventory_prefix.as_deref()).await {
                Ok(Some(report)) => format!("configured; the latest report is {report}"),
                Ok(None) => "configured; there is no report yet".to_owned(),
                Err(error) => format!("configured; the reports could not be listed: {error}"),
            };
        }
        proofs.push(looked_up(name, operation, expected, request_ids.of(operation), seen, site.now()));
    }
}

fn as_planned(step: Option<&Step>) -> (String, Verdict) {
    match step {
        None => ("in force".to_owned(), Verdict::proven()),
        Some(Step::Exempt(change, exemption)) => {
            let why = format!("exempt until {}: {}", exemption.until, exemption.reason);
            (change.to_json().0.to_string(), Verdict::skipped(why))
        }
        Some(Step::Restore(change) | Step::Tell(change) | Step::Unstable(change) | Step::Left(change)) => {
            (change.to_json().0.to_string(), Verdict::disproven("it is not as the baseline wants it"))
        }
        Some(Step::Refused(change, refusal)) => {
            (change.to_json().0.to_string(), Verdict::disproven(refusal.to_string()))
        }
        Some(Step::Unreadable(_, error)) => unknown(error),
    }
}

/// The folder of the latest inventory report's manifest, if there is one.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html>
async fn latest_report(site: &Site<'_>, prefix: Option<&str>) -> Result<Option<String>, ApiError> {
    const OPERATION: &str = "ListObjectsV2";
    let reports = site.registration.inventory_bucket().map_err(|error| ApiError::new(OPERATION, error))?;
    let folder = prefix.filter(|it| !it.is_empty()).map(|it| format!("{}/", it.trim_end_matches('/')));
    let folder = format!("{}{}/{INVENTORY_ID}/", folder.unwrap_or_default(), site.bucket);
    let list = site.s3().list_objects_v2().bucket(reports.as_str()).prefix(&folder).delimiter("/");
    let mut pages = list.into_paginator().send();
    let mut latest = None;
    while let Some(page) = pages.next().await {
        let page = output(OPERATION, page)?;
        // Manifests are in folders named by their time, beside `data` and `hive`.
        let folders = page.common_prefixes().iter().filter_map(|it| it.prefix()?.strip_prefix(&folder));
        let dated = folders.filter(|it| it.starts_with(|c: char| c.is_ascii_digit()));
        latest = latest.max(dated.max().map(|it| format!("{folder}{it}manifest.json")));
    }
    Ok(latest)
}
