//! What is looked up rather than tried: trail, key, and each control as the plan sees it.

use aws_sdk_s3::operation::RequestId;
use guardrail_core::{
    control::{
        inventory::INVENTORY_ID,
        kms_key::{KeyState, Purpose},
        table::Control,
    },
    decide::{
        baseline::Baseline,
        echo::NO_PAST,
        judge::{ProofOutcome, Verdict},
        plan::{Stance, plan},
    },
    outcome::step::Step,
    tell::evidence::Proof,
    value::{failure::ApiError, names::bucket_arn},
};

use crate::{
    api::output,
    control::{self, trail::TrailAnswer},
    work::verify::site::{Seen, Site, looked_up, not_tried, unknown},
};

pub(super) async fn trail(site: &Site<'_>) -> Proof {
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

pub(super) async fn key(site: &Site<'_>) -> Proof {
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
pub(super) async fn in_force(site: &Site<'_>, baseline: &Baseline, seen: Seen, proofs: &mut Vec<Proof>) {
    let Seen { observed, request_ids } = seen;
    let inventory_prefix = observed.inventory.as_ref().ok().and_then(|it| it.as_ref()?.prefix.clone());
    let stance = Stance { registration: site.registration, now: site.now(), dry_run: true, past: &NO_PAST };
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
        Some(
            Step::Restore(change)
            | Step::Tell(change)
            | Step::Unstable(change)
            | Step::NotYet(change)
            | Step::Left(change)
            | Step::Held(change),
        ) => (change.to_json().0.to_string(), Verdict::disproven("it is not as the baseline wants it")),
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
