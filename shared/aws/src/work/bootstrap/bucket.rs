//! The buckets that logs and inventory reports go to: private themselves, and open to the one service that delivers.

use aws_sdk_s3::{
    Client,
    types::{BucketLocationConstraint, CreateBucketConfiguration},
};
use guardrail_core::{
    control::{bucket_policy, table::Control},
    decide::{
        adoption::kept_for,
        backoff::SETTLING,
        baseline::Baseline,
        echo::NO_PAST,
        plan::{Stance, plan},
        setup::{Action, BootstrapError, Setup, failed},
    },
    edge::registry::Registration,
    outcome::{
        observed::Observed,
        report::{Calls, Report},
        step::Step,
    },
    value::{
        names::{BucketName, KeyArn, bucket_arn},
        policy::{Statement, sid_part},
    },
};
use serde_json::json;
use tokio::time::sleep;

use crate::{
    Guardrail, api,
    observe::observe,
    work::{
        bootstrap::journal::{Journal, kept},
        reconcile::{Beside, apply_steps},
    },
};

/// The controls that a log or inventory bucket has. Not the encryption: CloudTrail and Inventory name the key themselves.
const SUPPORT_CONTROLS: [Control; 5] = [
    Control::PublicAccessBlock,
    Control::ObjectOwnership,
    Control::BucketPolicy,
    Control::Versioning,
    Control::Lifecycle,
];

/// What CloudTrail needs in the log bucket's policy.
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/create-s3-bucket-policy-for-cloudtrail.html>
pub(super) fn log_delivery(setup: &Setup) -> Vec<Statement> {
    let Setup { partition, account, .. } = setup;
    let Some(trail) = setup.own_trail() else { return Vec::new() };
    let bucket = bucket_arn(partition, &setup.log_bucket);
    let part = sid_part(trail.parts().resource);
    let service = json!({"Service": "cloudtrail.amazonaws.com"});
    vec![
        Statement(json!({
            "Sid": format!("GuardrailTrailAclCheck{part}"), "Effect": "Allow", "Principal": service,
            "Action": "s3:GetBucketAcl", "Resource": bucket,
            "Condition": {"StringEquals": {"aws:SourceArn": trail}},
        })),
        Statement(json!({
            "Sid": format!("GuardrailTrailWrite{part}"), "Effect": "Allow", "Principal": service,
            "Action": "s3:PutObject", "Resource": format!("{bucket}/AWSLogs/{account}/*"),
            "Condition": {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control", "aws:SourceArn": trail}},
        })),
    ]
}

/// What S3 Inventory needs in its destination's policy.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/configure-inventory.html>
pub(super) fn inventory_delivery(setup: &Setup) -> Vec<Statement> {
    let Setup { partition, account, .. } = setup;
    let destination = bucket_arn(partition, &setup.inventory_bucket);
    // One for all buckets of the account: one for each would fill the 20 KB of a shared destination after some 60.
    vec![Statement(json!({
        "Sid": "GuardrailInventoryPut", "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "s3:PutObject", "Resource": format!("{destination}/*"),
        "Condition": {
            "ArnLike": {"aws:SourceArn": format!("arn:{partition}:s3:::*")},
            "StringEquals": {"aws:SourceAccount": account, "s3:x-amz-acl": "bucket-owner-full-control"},
        },
    }))]
}

/// Creates the bucket or adopts it, with whatever its owner set beside what is needed.
pub(super) async fn ensure_support(
    guardrail: &Guardrail,
    setup: &Setup,
    name: &BucketName,
    key: &KeyArn,
    delivery: Vec<Statement>,
    journal: &mut Journal,
) -> Result<(Action, Option<String>), BootstrapError> {
    let Found { observed, created } = find_or_create(guardrail, setup, name).await?;
    let (registration, note) = support_registration(setup, name, key, &observed);
    let (baseline, steps) = plan_support(guardrail, setup, &registration, delivery, observed, setup.dry_run)?;
    let changed = !steps.is_empty();
    let reconciled = apply_steps(guardrail, name, &baseline, steps, Beside::default()).await;
    let mut report = Report::from_reconciled(name, reconciled, &Calls::default());
    // Of a bucket that was there, what its owner had is kept for a way back.
    if !created {
        report = kept(guardrail, setup, name, Some(key), report).await;
        journal.error = journal.error.take().or_else(|| report.record_error.clone());
    }
    if report.must_retry() {
        return Err(BootstrapError::Resource { resource: format!("bucket {name}"), problem: report.problems() });
    }
    let action = if created { Action::Created } else { Action::on_existing(changed) };
    Ok((action, note))
}

/// What would be registered of such a bucket; and why it keeps old versions longer than others, if it does.
pub(super) fn support_registration(
    setup: &Setup,
    name: &BucketName,
    key: &KeyArn,
    observed: &Observed,
) -> (Registration, Option<String>) {
    let registration = Registration::new(name.clone(), setup.account.clone(), key.clone());
    match kept_for(registration.lifecycle, &observed.lifecycle, &setup.accept) {
        Some((lifecycle, note)) => (Registration { lifecycle, ..registration }, Some(note)),
        None => (registration, None),
    }
}

/// What such a bucket lacks.
pub(super) fn plan_support(
    guardrail: &Guardrail,
    setup: &Setup,
    registration: &Registration,
    delivery: Vec<Statement>,
    observed: Observed,
    dry_run: bool,
) -> Result<(Baseline, Vec<Step>), BootstrapError> {
    let mut baseline = Baseline::new(registration, &setup.account, &guardrail.config.role)?;
    // TLS only, and no demands on encryption headers: the services send their own.
    let mut tls = bucket_policy::tls_only(&bucket_arn(&setup.partition, &registration.bucket));
    // The Sid of guarded buckets may be in use here, and is its owner's then.
    tls.0["Sid"] = json!("GuardrailDenyInsecureTransport");
    baseline.policy = [tls].into_iter().chain(delivery).collect();
    let stance = Stance { registration, now: guardrail.clock.now(), dry_run, past: &NO_PAST };
    let mut steps = plan(&baseline, observed.into(), &stance);
    steps.retain(|it| SUPPORT_CONTROLS.contains(&it.control()));
    Ok((baseline, steps))
}

/// A bucket as it is, before anything is set.
pub(super) struct Found {
    pub(super) observed: Observed,
    pub(super) created: bool,
}

/// Looks at a bucket, and creates it when it is not there. In a dry run, what is not there is empty.
pub(super) async fn find_or_create(
    guardrail: &Guardrail,
    setup: &Setup,
    name: &BucketName,
) -> Result<Found, BootstrapError> {
    let mut observed = observe(guardrail.readers(), name).await;
    certain(name, &observed)?;
    if !observed.is_gone() {
        return Ok(Found { observed, created: false });
    }
    if setup.dry_run {
        return Ok(Found { observed: Observed::empty(), created: true });
    }
    create(&guardrail.s3, setup, name).await?;
    for wait in SETTLING {
        observed = observe(guardrail.readers(), name).await;
        if !observed.is_gone() && !observed.is_partly_gone() {
            break;
        }
        sleep(wait).await;
    }
    Ok(Found { observed, created: true })
}

/// Refuses to go on where some reads say that the bucket does not exist, and others do not.
pub(super) fn certain(name: &BucketName, observed: &Observed) -> Result<(), BootstrapError> {
    if !observed.is_partly_gone() {
        return Ok(());
    }
    let errors =
        observed.errors().into_iter().filter_map(|(_, error)| error).map(ToString::to_string).collect::<Vec<_>>();
    let problem = format!("it is not certain that it does not exist: {}", errors.join("; "));
    Err(BootstrapError::Resource { resource: format!("bucket {name}"), problem })
}

/// Creates a bucket in our region.
async fn create(s3: &Client, setup: &Setup, name: &BucketName) -> Result<(), BootstrapError> {
    let mut create = s3.create_bucket().bucket(name.as_str());
    // The oldest region is named by naming none.
    if setup.region != "us-east-1" {
        let location = BucketLocationConstraint::from(setup.region.as_str());
        create = create
            .create_bucket_configuration(CreateBucketConfiguration::builder().location_constraint(location).build());
    }
    // Of two tries, the second finds what the first has made.
    let created =
        api::unless_absent("CreateBucket", create.send().await, "BucketAlreadyOwnedByYou").map_err(|error| match error
            .code()
        {
            Some("BucketAlreadyExists") => {
                error.explained("Another account has a bucket of this name; choose another name")
            }
            _ => error,
        });
    created.map(drop).map_err(failed(&format!("bucket {name}")))
}
