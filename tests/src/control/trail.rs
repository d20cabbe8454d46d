//! The trail: how it is broken, and what CloudTrail holds of it.

use guardrail_core::control::trail::Trail;
use serde_json::{Value, json};

use crate::fake::{TRAIL, World};

pub fn command(bucket: &str) -> String {
    format!("aws cloudtrail stop-logging --name {bucket}-trail")
}

pub fn put(world: &mut World, trail: &Option<Trail>) {
    world.trail = trail.as_ref().map(held);
}

fn held(trail: &Trail) -> Value {
    let Trail { is_logging, is_multi_region_trail, log_file_validation_enabled, kms_key_id, s3_bucket_name, .. } =
        trail;
    let basic = trail.selectors.basic().iter().map(|it| {
        let resources = it.data_resources.iter().map(|it| json!({"Type": it.0, "Values": it.1}));
        json!({
            "ReadWriteType": it.read_write_type, "IncludeManagementEvents": it.include_management_events,
            "DataResources": resources.collect::<Vec<_>>(), "ExcludeManagementEventSources": it.exclude_management_event_sources,
        })
    });
    json!({
        "TrailARN": TRAIL, "IsLogging": is_logging, "IsMultiRegionTrail": is_multi_region_trail,
        "EnableLogFileValidation": log_file_validation_enabled, "KmsKeyId": kms_key_id, "S3BucketName": s3_bucket_name,
        "EventSelectors": basic.collect::<Vec<_>>(), "AdvancedEventSelectors": trail.selectors.advanced(),
    })
}
