//! `guardrail-bootstrap`: builds the secure baseline of one bucket, and registers it.
//!
//! Every step looks first and does only what is missing, so that a run that stopped anywhere is simply run again.
//! The registry document comes last: from then on `guardrail-remediate` keeps what was built.

mod bucket;
mod budget;
mod key;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Guardrail,
    api::{self, ApiError},
    baseline::{Baseline, InventoryFormat},
    config::Place,
    event::{self, InputError},
    history,
    names::{AccountId, Arn, BucketName, KeyAlias, KeyArn, NameError, TrailArn, default_trail_name, is_trail_name},
    observe::{self, Bucket, Scope, look},
    plan::{Echo, Observed, Stance},
    reconcile::reconcile,
    registry::{self, InventorySettings, Mode, Registration, RegistryError},
    report::Report,
    trail::MAX_TRAILS,
};

/// What to build. Only `bucket` is required.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub bucket: BucketName,
    /// Default: `alias/s3-secure-data`.
    #[serde(default)]
    pub key_alias: Option<KeyAlias>,
    /// ARNs of those who may administer the key, besides those who may already.
    #[serde(default)]
    pub key_administrators: Vec<String>,
    /// ARNs of those who may encrypt and decrypt with the key, besides those who may already.
    #[serde(default)]
    pub key_users: Vec<String>,
    /// Default: the bucket's name and `-logs`.
    #[serde(default)]
    pub log_bucket: Option<BucketName>,
    /// Default: the bucket's name and `-inventory`.
    #[serde(default)]
    pub inventory_bucket: Option<BucketName>,
    /// Default: the bucket's name and `-trail`, as CloudTrail takes it.
    #[serde(default)]
    pub trail: Option<String>,
    /// Default: what is there already, or `Parquet`.
    #[serde(default)]
    pub inventory_format: Option<InventoryFormat>,
    /// Who is mailed at the account's first cent of a month; default: nobody.
    #[serde(default)]
    pub zero_spend_budget: Option<String>,
    #[serde(default)]
    pub dry_run: bool,
}

/// The request with its defaults, and where it is carried out.
#[derive(Debug)]
struct Setup {
    bucket: BucketName,
    key_alias: KeyAlias,
    key_administrators: Vec<String>,
    key_users: Vec<String>,
    log_bucket: BucketName,
    inventory_bucket: BucketName,
    trail: TrailArn,
    inventory_format: Option<InventoryFormat>,
    zero_spend_budget: Option<String>,
    dry_run: bool,
    partition: String,
    region: String,
    account: AccountId,
}

/// Something that the baseline needs besides the bucket's own settings.
#[derive(Debug, Serialize)]
pub struct Resource {
    pub r#type: &'static str,
    pub id: String,
    pub action: Action,
    /// What to know of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<&'static str>,
}

/// What became of a resource; in a dry run, what would.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    Created,
    /// It was there, and something was added to it.
    Adopted,
    Unchanged,
}

impl Action {
    /// The action on something that was there.
    fn on_existing(changed: bool) -> Self {
        if changed { Self::Adopted } else { Self::Unchanged }
    }
}

/// What was built.
#[derive(Debug, Serialize)]
pub struct Built {
    #[serde(flatten)]
    pub report: Report,
    pub resources: Vec<Resource>,
}

/// Why the baseline is not built. What was built stays; running it again goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("the request is not valid: {field}: {problem}; nothing was changed")]
    Request { field: &'static str, problem: String },
    #[error("{resource}: {problem}; mend that and run it again, it goes on from there")]
    Resource { resource: String, problem: String },
    #[error("{resource} could not be set up; run it again, it goes on from there")]
    Api { resource: String, source: ApiError },
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("the answer could not be written as JSON")]
    Answer(#[from] serde_json::Error),
}

/// AWS takes a moment to know everywhere what was just created: how long to wait between looks at it.
const SETTLING: [Duration; 5] = [
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
    Duration::from_millis(1600),
    Duration::from_millis(3200),
];

/// Answers one invocation.
pub async fn bootstrap(guardrail: &Guardrail, input: Value) -> Result<Value, BootstrapError> {
    let request: Request = event::decode("request", input)?;
    Ok(serde_json::to_value(run(guardrail, request).await?)?)
}

/// Builds what is missing.
pub async fn run(guardrail: &Guardrail, request: Request) -> Result<Built, BootstrapError> {
    let setup = Setup::new(guardrail, request)?;
    build(guardrail, &setup).await
}

async fn build(guardrail: &Guardrail, setup: &Setup) -> Result<Built, BootstrapError> {
    let start = Instant::now();
    // Before anything is written: a document that cannot be read would be overwritten in the end.
    let prefix = &guardrail.config.parameter_prefix;
    let registered = registry::read(&guardrail.ssm, prefix, &setup.bucket).await?;
    for (field, name) in [("log_bucket", &setup.log_bucket), ("inventory_bucket", &setup.inventory_bucket)] {
        if registry::read(&guardrail.ssm, prefix, name).await?.is_some() {
            let problem = format!("{name} is a guarded bucket itself: its policy would refuse what is delivered");
            return Err(BootstrapError::Request { field, problem });
        }
    }

    check_trail(guardrail, setup).await?;

    let key::Key { arn: key, action, note } = key::ensure(&guardrail.kms, setup).await?;
    let mut resources = vec![Resource { r#type: "AWS::KMS::Key", id: key.to_string(), action, note }];
    for (name, statements) in
        [(&setup.log_bucket, bucket::log_delivery(setup)), (&setup.inventory_bucket, bucket::inventory_delivery(setup))]
    {
        let action = bucket::ensure_support(guardrail, setup, name, &key, statements).await?;
        resources.push(Resource { r#type: "AWS::S3::Bucket", id: name.to_string(), action, note: None });
    }

    let found = bucket::find_or_create(guardrail, setup, &setup.bucket).await?;
    let registration = setup.registration(key, registered.as_ref(), &found.observed);
    let (report, bucket_action) = ensure_guarded(guardrail, setup, &registration, found).await?;
    resources.push(Resource {
        r#type: "AWS::S3::Bucket",
        id: setup.bucket.to_string(),
        action: bucket_action,
        note: None,
    });

    let action = ensure_trail(guardrail, setup, &registration).await?;
    resources.push(Resource { r#type: "AWS::CloudTrail::Trail", id: setup.trail.to_string(), action, note: None });

    if let Some(address) = &setup.zero_spend_budget {
        let action = budget::ensure(&guardrail.budgets, setup, address).await?;
        resources.push(Resource { r#type: "AWS::Budgets::Budget", id: budget::NAME.to_owned(), action, note: None });
    }

    let parameter = format!("{prefix}{}", setup.bucket);
    let action = match &registered {
        None => Action::Created,
        Some(registered) => Action::on_existing(*registered != registration),
    };
    if action != Action::Unchanged && !setup.dry_run {
        registry::write(&guardrail.ssm, prefix, &registration)
            .await
            .map_err(failed(&format!("the registry document {parameter}")))?;
    }
    resources.push(Resource { r#type: "AWS::SSM::Parameter", id: parameter, action, note: None });
    let elapsed_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Built { report: Report { elapsed_ms, ..report }, resources })
}

/// Whether the trail is there or can be created, before anything else is.
async fn check_trail(guardrail: &Guardrail, setup: &Setup) -> Result<(), BootstrapError> {
    const OPERATION: &str = "DescribeTrails";
    let refused = |problem: String| BootstrapError::Request { field: "trail", problem };
    let Setup { trail, account, .. } = setup;
    if trail.parts().account != account.as_str() {
        return Err(refused(format!("{trail} is another account's, and only that account can set what it logs")));
    }
    let home = trail.parts().region;
    let sent =
        observe::at_home(&guardrail.cloudtrail, trail).describe_trails().include_shadow_trails(true).send().await;
    let trails =
        api::output(OPERATION, sent).map_err(failed(&format!("trail {trail}")))?.trail_list.unwrap_or_default();
    let arns: Vec<_> = trails.into_iter().filter_map(|it| it.trail_arn).collect();
    if arns.len() >= MAX_TRAILS && !arns.iter().any(|it| it == trail.as_str()) {
        return Err(refused(format!(
            "{home} has {} trails, and CloudTrail allows {MAX_TRAILS} and raises that for nobody; name one of this account \
             that is there: {}",
            arns.len(),
            arns.join(", ")
        )));
    }
    Ok(())
}

/// The bucket's settings: the same reconcile as ever, from whatever is there.
async fn ensure_guarded(
    guardrail: &Guardrail,
    setup: &Setup,
    registration: &Registration,
    bucket::Found { observed, created }: bucket::Found,
) -> Result<(Report, Action), BootstrapError> {
    let baseline = Baseline::new(registration, &setup.account, &guardrail.config.role)?;
    let named = Bucket { name: &setup.bucket, owner: &setup.account };
    let stance = Stance { registration, now: Timestamp::now(), dry_run: setup.dry_run, echo: Echo::No };
    let reconciled = reconcile(guardrail, named, &baseline, observed.into(), &stance).await;
    let mut report = Report { dry_run: setup.dry_run, ..Report::of(&setup.bucket, reconciled, None) };
    // What its owner had, for a way back.
    history::name(&mut report, Some(registration), stance.now);
    if let Err(error) = history::keep(guardrail, &report, Some(registration)).await {
        report.unrecorded(error.to_string());
    }
    if report.must_retry() {
        return Err(BootstrapError::Resource {
            resource: format!("bucket {}", setup.bucket),
            problem: report.problems(),
        });
    }
    let action = if created { Action::Created } else { Action::on_existing(!report.findings.is_empty()) };
    Ok((report, action))
}

/// The trail: the same reconcile, from whatever is there. Not told as a finding: it is a resource.
async fn ensure_trail(
    guardrail: &Guardrail,
    setup: &Setup,
    registration: &Registration,
) -> Result<Action, BootstrapError> {
    let resource = format!("trail {}", setup.trail);
    let baseline = Baseline::new(registration, &setup.account, &guardrail.config.role)?;
    let named = Bucket { name: &setup.bucket, owner: &setup.account };
    let seen = look(guardrail, named, &baseline, Scope::TRAIL).await;
    let Some(Ok(observed)) = &seen.trail else {
        return match seen.trail {
            Some(Err(error)) => Err(failed(&resource)(error)),
            _ => Err(BootstrapError::Request { field: "trail", problem: "is another account's".to_owned() }),
        };
    };
    let exists = observed.is_some();
    // Without a trail there is nothing to observe or to exempt from.
    let enforced = Registration { mode: Mode::Enforce, exemptions: Vec::new(), ..registration.clone() };
    let stance = Stance { registration: &enforced, now: Timestamp::now(), dry_run: setup.dry_run, echo: Echo::No };
    let reconciled = reconcile(guardrail, named, &baseline, seen, &stance).await;
    let report = Report { dry_run: setup.dry_run, ..Report::of(&setup.bucket, reconciled, None) };
    if report.must_retry() {
        return Err(BootstrapError::Resource { resource, problem: report.problems() });
    }
    Ok(if exists { Action::on_existing(!report.findings.is_empty()) } else { Action::Created })
}

impl Setup {
    fn new(guardrail: &Guardrail, request: Request) -> Result<Self, BootstrapError> {
        let Request {
            bucket,
            key_alias,
            key_administrators,
            key_users,
            log_bucket,
            inventory_bucket,
            trail,
            inventory_format,
            zero_spend_budget,
            dry_run,
        } = request;
        let invalid =
            |field, problem: &dyn std::fmt::Display| BootstrapError::Request { field, problem: problem.to_string() };
        let derived = |field, given: Option<BucketName>, suffix: &str| match given {
            Some(name) if name == bucket => Err(invalid(field, &"is the guarded bucket itself")),
            Some(name) => Ok(name),
            None => format!("{bucket}-{suffix}")
                .parse()
                .map_err(|error: NameError| invalid(field, &format_args!("missing, and its default {error}; set it"))),
        };
        let Place { partition, region, account } = guardrail.config.place();
        let default_alias = || "alias/s3-secure-data".parse();
        let key_alias = key_alias.map_or_else(default_alias, Ok).map_err(|error| invalid("key_alias", &error))?;
        for (field, arns) in [("key_administrators", &key_administrators), ("key_users", &key_users)] {
            if let Some(bad) =
                arns.iter().find(|it| Arn::parse(it).is_none_or(|it| !["iam", "sts"].contains(&it.service)))
            {
                return Err(invalid(field, &format_args!("`{bad}` is not the ARN of a user or role")));
            }
        }
        if let Some(address) = &zero_spend_budget {
            budget::check_address(address).map_err(|problem| invalid("zero_spend_budget", &problem))?;
        }
        let trail = trail.unwrap_or_else(|| default_trail_name(&bucket));
        let trail = if trail.starts_with("arn:") {
            trail
        } else {
            format!("arn:{partition}:cloudtrail:{region}:{account}:trail/{trail}")
        };
        let trail: TrailArn = trail.parse().map_err(|error| invalid("trail", &error))?;
        let name = trail.parts().resource.trim_start_matches("trail/");
        if !is_trail_name(name) {
            let rule = "3 to 128 letters, digits, `.`, `_` and `-`, the last three neither at an end nor side by side";
            return Err(invalid("trail", &format_args!("`{name}` is not a trail's name ({rule})")));
        }
        Ok(Self {
            log_bucket: derived("log_bucket", log_bucket, "logs")?,
            inventory_bucket: derived("inventory_bucket", inventory_bucket, "inventory")?,
            trail,
            key_alias,
            key_administrators,
            key_users,
            inventory_format,
            zero_spend_budget,
            dry_run,
            partition: partition.to_owned(),
            region: region.to_owned(),
            account: guardrail.config.account(),
            bucket,
        })
    }

    /// The registry document; what it says already of mode, exemptions and the rest stays, and so does the format of
    /// an inventory that is there.
    fn registration(&self, key_arn: KeyArn, registered: Option<&Registration>, observed: &Observed) -> Registration {
        let known_format = registered.and_then(|it| it.inventory.format);
        let found_format = observed.inventory.as_ref().ok().and_then(|it| InventoryFormat::of(&it.as_ref()?.format));
        let format = self.inventory_format.or(known_format).or(found_format).unwrap_or(InventoryFormat::Parquet);
        let new = Registration::new(self.bucket.clone(), self.account.clone(), key_arn.clone());
        Registration {
            key_arn,
            key_alias: Some(self.key_alias.clone()),
            trail_arn: Some(self.trail.clone()),
            log_bucket: Some(self.log_bucket.clone()),
            inventory: InventorySettings { bucket: Some(self.inventory_bucket.clone()), format: Some(format) },
            ..registered.cloned().unwrap_or(new)
        }
    }
}

/// Says which resource a failed call was for.
fn failed(resource: &str) -> impl FnOnce(ApiError) -> BootstrapError {
    let resource = resource.to_owned();
    |source| BootstrapError::Api { resource, source }
}
