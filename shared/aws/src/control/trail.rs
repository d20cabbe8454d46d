//! A trail, read and written at its home region.

use aws_sdk_cloudtrail::{operation::RequestId, types as cloudtrail};
use guardrail_core::{
    control::{
        selectors::{AdvancedEventSelector, EventSelector, FieldSelector, Selectors},
        trail::{RequiredTrail, Trail, TrailCall, TrailPart, TrailUpdate},
    },
    decide::backoff,
    value::{
        failure::{ApiError, Read},
        names::TrailArn,
    },
};
use tokio::time::sleep;

use crate::{
    api::{done, known, output, unless_absent},
    clients::{Readers, Writers},
};

/// A client in the trail's home region, the only one where it can be changed.
pub fn at_home(client: &aws_sdk_cloudtrail::Client, trail: &TrailArn) -> aws_sdk_cloudtrail::Client {
    let home = aws_sdk_cloudtrail::config::Region::new(trail.parts().region.to_owned());
    aws_sdk_cloudtrail::Client::from_conf(client.config().to_builder().region(home).build())
}

/// What a trail says of itself.
#[derive(Clone, Debug)]
pub struct TrailAnswer {
    pub request_id: Option<String>,
    pub is_logging: bool,
    pub selectors: Selectors,
}

/// Asks a trail of any region whether it logs, and what, at its home: elsewhere CloudTrail knows it by name only.
pub async fn ask_trail(Readers { cloudtrail, .. }: Readers<'_>, trail: &TrailArn) -> Read<TrailAnswer> {
    let (client, arn) = (at_home(cloudtrail, trail), trail.as_str());
    let (status, selectors) =
        tokio::join!(client.get_trail_status().name(arn).send(), client.get_event_selectors().trail_name(arn).send());
    let (status, selectors) = (output("GetTrailStatus", status)?, output("GetEventSelectors", selectors)?);
    Ok(TrailAnswer {
        request_id: selectors.request_id().map(str::to_owned),
        is_logging: status.is_logging == Some(true),
        selectors: selectors_of(selectors.event_selectors, selectors.advanced_event_selectors),
    })
}

/// Whether a trail logs.
pub async fn is_logging(Readers { cloudtrail, .. }: Readers<'_>, trail: &TrailArn) -> Read<bool> {
    let sent = at_home(cloudtrail, trail).get_trail_status().name(trail.as_str()).send().await;
    // One that was just created may not be known everywhere.
    let status = unless_absent("GetTrailStatus", sent, "TrailNotFoundException")?;
    Ok(status.is_some_and(|it| it.is_logging == Some(true)))
}

/// Reads the trail; `None`: it does not exist.
pub async fn read(Readers { cloudtrail, .. }: Readers<'_>, required: &RequiredTrail) -> Read<Option<Trail>> {
    let client = at_home(cloudtrail, &required.arn);
    let arn = required.arn.as_str();
    let (trail, status, selectors) = tokio::join!(
        client.get_trail().name(arn).send(),
        client.get_trail_status().name(arn).send(),
        client.get_event_selectors().trail_name(arn).send(),
    );
    const ABSENT: &str = "TrailNotFoundException";
    let settings = unless_absent("GetTrail", trail, ABSENT).map(|it| it.and_then(|it| it.trail));
    let status = unless_absent("GetTrailStatus", status, ABSENT);
    let selectors = unless_absent("GetEventSelectors", selectors, ABSENT);
    if let (Err(error), Err(_), Err(_)) = (&settings, &status, &selectors) {
        return Err(error.clone());
    }
    if matches!(settings, Ok(None)) || matches!(status, Ok(None)) || matches!(selectors, Ok(None)) {
        return Ok(None);
    }
    let mut unread = Vec::new();
    let settings = known(settings, TrailPart::Settings, &mut unread);
    let status = known(status, TrailPart::Status, &mut unread);
    let selectors = known(selectors, TrailPart::Selectors, &mut unread);
    let filled = |it: Option<String>| it.filter(|it| !it.is_empty());
    let (kms_key_id, s3_bucket_name) =
        settings.as_ref().map_or((None, None), |it| (filled(it.kms_key_id.clone()), filled(it.s3_bucket_name.clone())));
    Ok(Some(Trail {
        is_logging: status.as_ref().is_some_and(|it| it.is_logging == Some(true)),
        is_multi_region_trail: settings.as_ref().is_some_and(|it| it.is_multi_region_trail == Some(true)),
        log_file_validation_enabled: settings.as_ref().is_some_and(|it| it.log_file_validation_enabled == Some(true)),
        kms_key_id,
        s3_bucket_name,
        latest_delivery_error: status.as_ref().and_then(|it| filled(it.latest_delivery_error.clone())),
        latest_digest_delivery_error: status.and_then(|it| filled(it.latest_digest_delivery_error)),
        selectors: selectors
            .map_or(Selectors::NONE, |it| selectors_of(it.event_selectors, it.advanced_event_selectors)),
        unread,
    }))
}

/// Selectors as plain values.
fn selectors_of(
    basic: Option<Vec<cloudtrail::EventSelector>>,
    advanced: Option<Vec<cloudtrail::AdvancedEventSelector>>,
) -> Selectors {
    match basic {
        Some(basic) if !basic.is_empty() => Selectors::Basic(basic.into_iter().map(plain_basic).collect()),
        _ => Selectors::Advanced(advanced.into_iter().flatten().map(plain_advanced).collect()),
    }
}

fn plain_basic(selector: cloudtrail::EventSelector) -> EventSelector {
    let resource = |it: cloudtrail::DataResource| (it.r#type.unwrap_or_default(), it.values.unwrap_or_default());
    EventSelector {
        read_write_type: selector.read_write_type.map_or("All".to_owned(), |it| it.as_str().to_owned()),
        include_management_events: selector.include_management_events != Some(false),
        data_resources: selector.data_resources.into_iter().flatten().map(resource).collect(),
        exclude_management_event_sources: selector.exclude_management_event_sources.unwrap_or_default(),
    }
}

fn plain_advanced(selector: cloudtrail::AdvancedEventSelector) -> AdvancedEventSelector {
    let field = |it: cloudtrail::AdvancedFieldSelector| FieldSelector {
        field: it.field,
        equals: it.equals.unwrap_or_default(),
        starts_with: it.starts_with.unwrap_or_default(),
        ends_with: it.ends_with.unwrap_or_default(),
        not_equals: it.not_equals.unwrap_or_default(),
        not_starts_with: it.not_starts_with.unwrap_or_default(),
        not_ends_with: it.not_ends_with.unwrap_or_default(),
    };
    AdvancedEventSelector {
        name: selector.name,
        field_selectors: selector.field_selectors.into_iter().map(field).collect(),
    }
}

/// Makes one call of those that restore a trail.
pub async fn write(
    Writers { cloudtrail, .. }: &Writers,
    required: &RequiredTrail,
    call: TrailCall,
) -> Result<(), ApiError> {
    let cloudtrail = &at_home(cloudtrail, &required.arn);
    let arn = required.arn.as_str();
    match call {
        TrailCall::Create => create_trail(cloudtrail, required).await,
        TrailCall::Update(TrailUpdate { multi_region, validation, key }) => {
            let update = cloudtrail.update_trail().name(arn).set_kms_key_id(key);
            let update = update
                .set_is_multi_region_trail(multi_region.then_some(true))
                .set_include_global_service_events(multi_region.then_some(true))
                .set_enable_log_file_validation(validation.then_some(true));
            done("UpdateTrail", update.send().await)
        }
        TrailCall::PutSelectors(selectors) => {
            let put = cloudtrail.put_event_selectors().trail_name(arn);
            let put = match selectors {
                Selectors::Basic(selectors) => {
                    put.set_event_selectors(Some(selectors.into_iter().map(basic_selector).collect()))
                }
                Selectors::Advanced(selectors) => {
                    let selectors: Result<_, _> = selectors.into_iter().map(advanced_selector).collect();
                    let selectors = selectors.map_err(|error| ApiError::new("PutEventSelectors", error))?;
                    put.set_advanced_event_selectors(Some(selectors))
                }
            };
            done("PutEventSelectors", put.send().await)
        }
        TrailCall::StartLogging => done("StartLogging", cloudtrail.start_logging().name(arn).send().await),
    }
}

async fn create_trail(cloudtrail: &aws_sdk_cloudtrail::Client, required: &RequiredTrail) -> Result<(), ApiError> {
    let mut tried = 0;
    loop {
        let create = cloudtrail
            .create_trail()
            .name(required.arn.parts().resource.trim_start_matches("trail/"))
            .s3_bucket_name(required.log_bucket.as_str())
            .kms_key_id(required.key.as_str())
            .is_multi_region_trail(true)
            .include_global_service_events(true)
            .enable_log_file_validation(true);
        let Err(error) = done("CreateTrail", create.send().await) else { return Ok(()) };
        let Some(wait) = backoff::of_new_trail(&error, tried) else { return Err(error) };
        sleep(wait).await;
        tried += 1;
    }
}

fn basic_selector(selector: EventSelector) -> cloudtrail::EventSelector {
    let EventSelector { read_write_type, include_management_events, data_resources, exclude_management_event_sources } =
        selector;
    let resource = |(kind, values)| cloudtrail::DataResource::builder().r#type(kind).set_values(Some(values)).build();
    cloudtrail::EventSelector::builder()
        .read_write_type(cloudtrail::ReadWriteType::from(read_write_type.as_str()))
        .include_management_events(include_management_events)
        .set_data_resources(Some(data_resources.into_iter().map(resource).collect()))
        .set_exclude_management_event_sources(Some(exclude_management_event_sources))
        .build()
}

fn advanced_selector(
    selector: AdvancedEventSelector,
) -> Result<cloudtrail::AdvancedEventSelector, aws_sdk_cloudtrail::error::BuildError> {
    let filled = |it: Vec<String>| Some(it).filter(|it| !it.is_empty());
    let field = |selector| {
        let FieldSelector { field, equals, starts_with, ends_with, not_equals, not_starts_with, not_ends_with } =
            selector;
        cloudtrail::AdvancedFieldSelector::builder()
            .field(field)
            .set_equals(filled(equals))
            .set_starts_with(filled(starts_with))
            .set_ends_with(filled(ends_with))
            .set_not_equals(filled(not_equals))
            .set_not_starts_with(filled(not_starts_with))
            .set_not_ends_with(filled(not_ends_with))
            .build()
    };
    let AdvancedEventSelector { name, field_selectors } = selector;
    let fields: Result<_, _> = field_selectors.into_iter().map(field).collect();
    cloudtrail::AdvancedEventSelector::builder().set_name(name).set_field_selectors(Some(fields?)).build()
}
