//! The trail: without one that logs management writes, EventBridge is blind.

use std::time::Duration;

use aws_sdk_cloudtrail::{
    Client,
    types::{AdvancedEventSelector, AdvancedFieldSelector, DataResource, EventSelector, ReadWriteType, Trail},
};
use tokio::time::sleep;

use super::{Action, BootstrapError, Setup, failed};
use crate::{
    api::{ApiError, done, output, unless_absent},
    names::{KeyArn, bucket_arn},
};

const S3_OBJECT: &str = "AWS::S3::Object";
const OUR_DATA_EVENTS: &str = "s3-guardrail: objects of guarded buckets";

/// Creates the trail or adopts it; then it logs.
pub(super) async fn ensure(cloudtrail: &Client, setup: &Setup, key: &KeyArn) -> Result<Action, BootstrapError> {
    ensure_logging(cloudtrail, setup, key).await.map_err(failed(&format!("trail {}", setup.trail)))
}

async fn ensure_logging(cloudtrail: &Client, setup: &Setup, key: &KeyArn) -> Result<Action, ApiError> {
    let arn = setup.trail.as_str();
    let name = setup.trail.parts().resource.trim_start_matches("trail/");
    let sent = cloudtrail.get_trail().name(arn).send().await;
    let trail = unless_absent("GetTrail", sent, "TrailNotFoundException")?.and_then(|it| it.trail);
    let mut changed = match &trail {
        Some(trail) => update(cloudtrail, setup, key, trail).await?,
        None if setup.dry_run => return Ok(Action::Created),
        None => create(cloudtrail, setup, name, key).await.map(|()| true)?,
    };
    let is = output("GetEventSelectors", cloudtrail.get_event_selectors().trail_name(arn).send().await)?;
    let is = Selectors {
        basic: is.event_selectors.unwrap_or_default(),
        advanced: is.advanced_event_selectors.unwrap_or_default(),
    };
    if let Some(should) = is.requiring(&format!("{}/", bucket_arn(&setup.partition, &setup.bucket)))? {
        changed = true;
        if !setup.dry_run {
            let put = cloudtrail.put_event_selectors().trail_name(arn);
            let put = if should.advanced.is_empty() {
                put.set_event_selectors(Some(should.basic))
            } else {
                put.set_advanced_event_selectors(Some(should.advanced))
            };
            done("PutEventSelectors", put.send().await)?;
        }
    }
    let is_logging = async || {
        let status = output("GetTrailStatus", cloudtrail.get_trail_status().name(arn).send().await)?;
        Ok::<_, ApiError>(status.is_logging == Some(true))
    };
    if !is_logging().await? {
        changed = true;
        if !setup.dry_run {
            // Creating a trail does not start it.
            done("StartLogging", cloudtrail.start_logging().name(arn).send().await)?;
            if !is_logging().await? {
                return Err(ApiError::new("StartLogging", format!("{arn} still does not log")));
            }
        }
    }
    Ok(if trail.is_none() { Action::Created } else { Action::on_existing(changed) })
}

async fn create(cloudtrail: &Client, setup: &Setup, name: &str, key: &KeyArn) -> Result<(), ApiError> {
    let mut wait = Duration::from_millis(500);
    loop {
        let create = cloudtrail
            .create_trail()
            .name(name)
            .s3_bucket_name(setup.log_bucket.as_str())
            .kms_key_id(key.as_str())
            .is_multi_region_trail(true)
            .include_global_service_events(true)
            .enable_log_file_validation(true);
        let Err(error) = done("CreateTrail", create.send().await) else { return Ok(()) };
        // Policies that were just written take a moment to count.
        let settling = ["InsufficientS3BucketPolicyException", "InsufficientEncryptionPolicyException"];
        match error.code.as_deref() {
            Some(code) if settling.contains(&code) && wait <= Duration::from_secs(4) => {
                sleep(wait).await;
                wait *= 2;
            }
            Some("MaximumNumberOfTrailsExceededException") => {
                return Err(error.explained("Name a trail that exists in the request's `trail`: it is adopted"));
            }
            _ => return Err(error),
        }
    }
}

/// Switches on what is off. Bucket and key of a trail that exists stay as they are. True when something was off.
async fn update(cloudtrail: &Client, setup: &Setup, key: &KeyArn, trail: &Trail) -> Result<bool, ApiError> {
    let multi_region = trail.is_multi_region_trail != Some(true);
    let validation = trail.log_file_validation_enabled != Some(true);
    let encryption = trail.kms_key_id().is_none_or(str::is_empty);
    if !(multi_region || validation || encryption) {
        return Ok(false);
    }
    if !setup.dry_run {
        let mut update = cloudtrail.update_trail().name(setup.trail.as_str());
        if multi_region {
            update = update.is_multi_region_trail(true).include_global_service_events(true);
        }
        if validation {
            update = update.enable_log_file_validation(true);
        }
        if encryption {
            update = update.kms_key_id(key.as_str());
        }
        done("UpdateTrail", update.send().await)?;
    }
    Ok(true)
}

/// Which events a trail logs: a trail has selectors of the one kind or of the other.
/// <https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_PutEventSelectors.html>
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Selectors {
    pub(crate) basic: Vec<EventSelector>,
    pub(crate) advanced: Vec<AdvancedEventSelector>,
}

impl Selectors {
    /// The selectors with management writes and with reads and writes of objects whose ARN begins with `objects`,
    /// beside whatever else is there. `None`: both are there.
    pub(crate) fn requiring(self, objects: &str) -> Result<Option<Self>, ApiError> {
        if self.basic.is_empty() || self.is_default() {
            return advanced_requiring(self.advanced, objects);
        }
        Ok(basic_requiring(self.basic, objects).map(|basic| Self { basic, ..Self::default() }))
    }

    /// What a trail has that nobody configured: all management events, nothing else.
    fn is_default(&self) -> bool {
        matches!(self.basic.as_slice(), [one] if logs_management(one)
            && one.read_write_type() == Some(&ReadWriteType::All)
            && one.data_resources().is_empty()
            && one.exclude_management_event_sources().is_empty())
    }
}

fn logs_management(selector: &EventSelector) -> bool {
    selector.include_management_events() != Some(false) && selector.read_write_type() != Some(&ReadWriteType::ReadOnly)
}

fn basic_requiring(mut selectors: Vec<EventSelector>, objects: &str) -> Option<Vec<EventSelector>> {
    let all = |it: &EventSelector| it.read_write_type().is_none_or(|it| *it == ReadWriteType::All);
    let logs_objects = |it: &EventSelector| {
        let resources = it.data_resources().iter().filter(|it| it.r#type() == Some(S3_OBJECT));
        all(it)
            && resources
                .flat_map(DataResource::values)
                .any(|it| objects.starts_with(it.as_str()) || it.ends_with(":s3"))
    };
    let management = selectors.iter().any(logs_management);
    let data = selectors.iter().any(logs_objects);
    if management && data {
        return None;
    }
    let mut added = EventSelector::builder().read_write_type(ReadWriteType::All).include_management_events(!management);
    if !data {
        added = added.data_resources(DataResource::builder().r#type(S3_OBJECT).values(objects).build());
    }
    selectors.push(added.build());
    Some(selectors)
}

fn advanced_requiring(mut selectors: Vec<AdvancedEventSelector>, objects: &str) -> Result<Option<Selectors>, ApiError> {
    let field = |name: &str| AdvancedFieldSelector::builder().field(name);
    let built = |name: &str, fields: Vec<Result<AdvancedFieldSelector, _>>| {
        let fields: Result<Vec<_>, aws_sdk_cloudtrail::error::BuildError> = fields.into_iter().collect();
        let selector = AdvancedEventSelector::builder().name(name).set_field_selectors(Some(fields?));
        selector.build()
    };
    let failed = |error| ApiError::new("PutEventSelectors", error);
    let mut changed = false;
    if !selectors.iter().any(selects_management) {
        let fields = vec![field("eventCategory").equals("Management").build()];
        selectors.push(built("s3-guardrail: management events", fields).map_err(failed)?);
        changed = true;
    }
    if !selectors.iter().any(|it| selects_objects(it, objects)) {
        changed = true;
        // All guarded buckets of a trail share one selector.
        let ours = selectors.iter().position(|it| it.name() == Some(OUR_DATA_EVENTS));
        let mut prefixes = vec![objects.to_owned()];
        if let Some(ours) = ours {
            let ours = selectors.remove(ours);
            prefixes.extend(ours.field_selectors().iter().flat_map(|it| it.starts_with().to_vec()));
        }
        let fields = vec![
            field("eventCategory").equals("Data").build(),
            field("resources.type").equals(S3_OBJECT).build(),
            field("resources.ARN").set_starts_with(Some(prefixes)).build(),
        ];
        selectors.push(built(OUR_DATA_EVENTS, fields).map_err(failed)?);
    }
    Ok(changed.then_some(Selectors { basic: Vec::new(), advanced: selectors }))
}

fn selects_management(selector: &AdvancedEventSelector) -> bool {
    category_is(selector, "Management")
        && selector.field_selectors().iter().all(|it| match it.field() {
            "eventCategory" => true,
            // Writes only is enough.
            "readOnly" => it.equals() == ["false"],
            _ => false,
        })
}

fn selects_objects(selector: &AdvancedEventSelector, objects: &str) -> bool {
    category_is(selector, "Data")
        && selector.field_selectors().iter().all(|it| match it.field() {
            "eventCategory" => true,
            "resources.type" => it.equals() == [S3_OBJECT],
            "resources.ARN" => it.starts_with().iter().any(|prefix| objects.starts_with(prefix.as_str())),
            _ => false,
        })
}

fn category_is(selector: &AdvancedEventSelector, category: &str) -> bool {
    selector.field_selectors().iter().any(|it| it.field() == "eventCategory" && it.equals() == [category])
}
