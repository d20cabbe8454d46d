//! Uploads and copies: what the policy must refuse, and how what it lets through is kept.

use aws_sdk_s3::{
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart, ObjectEncryption, ServerSideEncryption, SsekmsEncryption},
};
use guardrail_core::{
    control::bucket_policy::PolicyVariant,
    decide::judge::{Answer, ProofOutcome, Refuser, Stored, Verdict, acceptance, refusal, stored},
    tell::evidence::Proof,
    value::failure::ApiError,
};

use crate::{
    api::output,
    work::verify::{
        cleanup::versions,
        site::{BODY, DENIED, GOOD, Run, Site, looked_up, not_tried, proof, unknown},
        wire::Heard,
    },
};

/// What must become of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upload {
    Denied,
    Kept,
}

/// S3's least size of a part that is not the last.
const PART: usize = 5 * 1024 * 1024;

const KEPT: &str = "accepted, and kept with the registered key and the bucket key";

/// The proof of one upload: refused by the policy, or kept as it should be.
pub(super) async fn upload(
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

pub(super) async fn uploads(site: &Site<'_>, control: bool, proofs: &mut Vec<Proof>) {
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
pub(super) async fn two_versions(site: &Site<'_>, first: bool) -> Proof {
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

pub(super) async fn multipart(site: &Site<'_>, run: &mut Run) {
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

pub(super) async fn copy(site: &Site<'_>) -> Proof {
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
pub(super) async fn another_key(site: &Site<'_>, stored: bool) -> Proof {
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
