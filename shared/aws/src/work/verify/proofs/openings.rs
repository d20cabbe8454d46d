//! What would open the bucket: plain HTTP, reads by anybody, public ACLs and policies.

use aws_sdk_s3::{
    Client,
    operation::get_bucket_acl::GetBucketAclOutput,
    types::{BucketCannedAcl, Grant, Grantee, ObjectCannedAcl},
};
use guardrail_core::{
    decide::judge::{Answer, Refuser, Verdict, is_unexplained, may_put_acls, refusal},
    tell::evidence::Proof,
    value::{
        failure::ApiError,
        names::bucket_arn,
        policy::{Policy, Statement},
    },
};
use serde_json::json;

use crate::{
    api::{done, output},
    control::object_ownership::bucket_acl,
    work::verify::{
        site::{DENIED, GOOD, Run, Settings, Site, not_tried, proof},
        wire::{BeforeSending, unsigned},
    },
};

pub(super) async fn plain_http(site: &Site<'_>) -> Proof {
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

pub(super) fn tls_floor(site: &Site<'_>, settings: &Settings) -> Proof {
    let verdict = match settings.tls_floor {
        Some(false) => Verdict::skipped("the bucket policy sets no s3:TlsVersion"),
        Some(true) => Verdict::skipped("the TLS library of this function speaks nothing older than TLS 1.2"),
        None => Verdict::inconclusive("the bucket policy could not be read"),
    };
    not_tried(site, "tls-floor", "a handshake with TLS 1.1", "refused, when the policy sets s3:TlsVersion", verdict)
}

pub(super) async fn public_object_acl(site: &Site<'_>, control: bool) -> Proof {
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

pub(super) async fn public_bucket_acl(site: &Site<'_>, settings: &Settings, run: &mut Run) {
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

pub(super) async fn public_policy(site: &Site<'_>, settings: &Settings, run: &mut Run) {
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

pub(super) async fn anonymous_read(site: &Site<'_>) -> Proof {
    let get = || site.s3().get_object().bucket(site.bucket.as_str()).key(site.key(GOOD));
    let control = get().send().await.is_ok();
    let heard = site.heard(&get().customize().interceptor(BeforeSending(unsigned)).send().await);
    let verdict = refusal(Refuser::NoPermission, control, &heard.answer);
    let request = site.request("GetObject", GOOD, "unsigned; as a control, signed");
    proof("anonymous-read", request, "denied", heard, verdict)
}
