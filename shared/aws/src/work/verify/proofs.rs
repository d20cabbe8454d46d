//! The proofs, one after the other. None stops the next.

mod openings;
mod settings;
mod uploads;

use guardrail_core::decide::{baseline::Baseline, judge::Answer};

use crate::work::verify::site::{GOOD, Run, Seen, Settings, Site};

/// Proves what may be cut off at any time: what is found so far is in `run`, and what it made can be removed.
pub(super) async fn prove(site: &Site<'_>, let_us: &Settings, baseline: &Baseline, seen: Seen, run: &mut Run) {
    let heard = site.heard(&site.put_with_key(GOOD).send().await);
    let control = heard.answer == Answer::Accepted;
    let request = site.request("PutObject", GOOD, "with aws:kms and the registered key");
    run.proofs.push(uploads::upload(site, control, GOOD, request, uploads::Upload::Kept, heard).await);
    run.proofs.push(uploads::two_versions(site, control).await);
    uploads::uploads(site, control, &mut run.proofs).await;
    uploads::multipart(site, run).await;
    run.proofs.push(uploads::copy(site).await);
    run.proofs.push(uploads::another_key(site, control).await);
    run.proofs.push(openings::plain_http(site).await);
    run.proofs.push(openings::tls_floor(site, let_us));
    run.proofs.push(openings::anonymous_read(site).await);
    run.proofs.push(openings::public_object_acl(site, control).await);
    run.proofs.push(settings::trail(site).await);
    run.proofs.push(settings::key(site).await);
    settings::in_force(site, baseline, seen, &mut run.proofs).await;
}

/// Proves what must not be cut off: it would have to be undone if it worked.
pub(super) async fn prove_to_the_end(site: &Site<'_>, let_us: &Settings, run: &mut Run) {
    openings::public_bucket_acl(site, let_us, run).await;
    openings::public_policy(site, let_us, run).await;
}
