//! CloudTrail: trails and their selectors.

use std::collections::BTreeSet;

use guardrail_core::value::names::Arn;
use serde_json::{Value, json};

use crate::{
    fake::{
        s3::settings_of,
        wire::READS,
        world::{ACCOUNT, KEY, State},
    },
    s3_rules,
};

/// A trail's home region.
pub(super) fn home_of(trail: &Value) -> &str {
    trail["TrailARN"].as_str().and_then(Arn::parse).map_or("", |it| it.region)
}

/// CloudTrail's limits for one trail, none of which AWS raises.
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/WhatIsCloudTrail-Limits.html>
pub(super) fn check_selectors(basic: &Value, advanced: &Value) -> Result<(), &'static str> {
    const REFUSED: Result<(), &str> = Err("InvalidEventSelectorsException");
    let list = |it: &Value| it.as_array().cloned().unwrap_or_default();
    match (basic.as_array(), advanced.as_array()) {
        (Some(basic), None) => {
            let resources = basic.iter().flat_map(|it| list(&it["DataResources"]));
            let values: usize = resources.map(|it| list(&it["Values"]).len()).sum();
            if basic.is_empty() || basic.len() > 5 || values > 250 { REFUSED } else { Ok(()) }
        }
        (None, Some(advanced)) => {
            let fields = |it: &Value| list(&it["FieldSelectors"]);
            let operators = |it: &Value| -> Vec<Value> {
                it.as_object().into_iter().flatten().filter(|it| it.0 != "Field").map(|it| it.1.clone()).collect()
            };
            let malformed = advanced.iter().any(|it| {
                let fields = fields(it);
                let names: BTreeSet<_> = fields.iter().filter_map(|it| it["Field"].as_str()).collect();
                !names.contains("eventCategory")
                    || names.len() != fields.len()
                    || fields.iter().map(operators).any(|it| it.is_empty() || it.iter().any(|it| list(it).is_empty()))
            });
            let values: usize =
                advanced.iter().flat_map(fields).flat_map(|it| operators(&it)).map(|it| list(&it).len()).sum();
            if malformed || values > 500 { REFUSED } else { Ok(()) }
        }
        _ => REFUSED,
    }
}

impl State {
    /// The trails that are at home in this region, and those that log in all.
    pub(super) fn trails_shown_in(&self, region: &str) -> Vec<Value> {
        let shown = |it: &&Value| home_of(it) == region || it["IsMultiRegionTrail"] == true;
        let with_home = |it: &Value| {
            let mut trail = settings_of(it);
            trail["HomeRegion"] = json!(home_of(it));
            trail
        };
        self.trail.iter().chain(&self.other_trails).filter(shown).map(with_home).collect()
    }

    pub(super) fn serve_trails(&mut self, operation: &str, input: &Value, region: &str) -> Result<Value, &'static str> {
        match operation {
            "LookupEvents" => {
                let name = &input["LookupAttributes"][0]["AttributeValue"];
                let records = self.records.iter().flatten().filter(|it| it["eventName"] == *name);
                let events = records.map(|it| json!({"EventName": name, "CloudTrailEvent": it.to_string()}));
                Ok(json!({"Events": events.collect::<Vec<_>>()}))
            }
            "DescribeTrails" => Ok(json!({"trailList": self.trails_shown_in(region)})),
            _ => self.serve_trail(operation, input, region),
        }
    }

    fn serve_trail(&mut self, operation: &str, input: &Value, region: &str) -> Result<Value, &'static str> {
        let named = input["Name"].as_str().or(input["TrailName"].as_str()).unwrap_or_default().to_owned();
        if operation == "CreateTrail" && !s3_rules::is_trail_name(&named) {
            return Err("InvalidTrailNameException");
        }
        if operation == "CreateTrail" {
            let arn = format!("arn:aws:cloudtrail:{region}:{ACCOUNT}:trail/{named}");
            if self.trail.iter().chain(&self.other_trails).any(|it| it["TrailARN"] == arn.as_str()) {
                return Err("TrailAlreadyExistsException");
            }
            if self.trails_shown_in(region).len() >= 5 {
                return Err("MaximumNumberOfTrailsExceededException");
            }
            self.check_trail_key(input)?;
            let trail = json!({"TrailARN": arn, "IsLogging": false});
            match &self.trail {
                None => self.trail = Some(trail),
                Some(_) => self.other_trails.push(trail),
            }
        }
        if Arn::parse(&named).is_some_and(|it| it.account != ACCOUNT) {
            return Err("CloudTrailARNInvalidException");
        }
        let is_named = |it: &&mut Value| {
            it["TrailARN"] == named.as_str()
                || home_of(it) == region && it["TrailARN"].as_str().is_some_and(|it| it.ends_with(&format!("/{named}")))
        };
        let Some(trail) = self.trail.iter_mut().chain(&mut self.other_trails).find(is_named) else {
            return Err("TrailNotFoundException");
        };
        if home_of(trail) != region {
            let is_read = READS.iter().any(|it| operation.starts_with(it));
            return Err(if is_read { "TrailNotFoundException" } else { "InvalidHomeRegionException" });
        }
        let mut set = |names: &[&str]| {
            for name in names {
                if let Some(value) = input.get(*name).filter(|it| !it.is_null()) {
                    trail[*name] = value.clone();
                }
            }
        };
        match operation {
            "GetTrail" => return Ok(json!({"Trail": settings_of(trail)})),
            "GetTrailStatus" => {
                let mut status = trail.clone();
                let is_status = |name: &String| name == "IsLogging" || name.starts_with("Latest");
                status.as_object_mut().into_iter().for_each(|it| it.retain(|name, _| is_status(name)));
                return Ok(status);
            }
            "GetEventSelectors" => {
                return Ok(
                    json!({"EventSelectors": trail["EventSelectors"], "AdvancedEventSelectors": trail["AdvancedEventSelectors"]}),
                );
            }
            "CreateTrail" | "UpdateTrail" => {
                set(&["S3BucketName", "KmsKeyId", "IsMultiRegionTrail", "EnableLogFileValidation"]);
            }
            "PutEventSelectors" => {
                check_selectors(&input["EventSelectors"], &input["AdvancedEventSelectors"])?;
                trail["EventSelectors"] = input["EventSelectors"].clone();
                trail["AdvancedEventSelectors"] = input["AdvancedEventSelectors"].clone();
            }
            "StartLogging" => trail["IsLogging"] = json!(true),
            "StopLogging" => trail["IsLogging"] = json!(false),
            "DeleteTrail" => {
                let gone = trail["TrailARN"].clone();
                self.trail.take_if(|it| it["TrailARN"] == gone);
                self.other_trails.retain(|it| it["TrailARN"] != gone);
            }
            _ => return Err("UnknownOperationException"),
        }
        Ok(json!({}))
    }

    /// With a bucket key on the log bucket, CloudTrail has to decrypt what the bucket's key is encrypted with.
    /// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/create-kms-key-policy-for-cloudtrail.html>
    pub(super) fn check_trail_key(&self, input: &Value) -> Result<(), &'static str> {
        let log_bucket = self.others.get(input["S3BucketName"].as_str().unwrap_or_default());
        let encryption = log_bucket.and_then(|it| it.0.get("encryption"));
        let bucket_key = encryption.is_some_and(|it| it.contains("<BucketKeyEnabled>true<"));
        let policy = self.key.as_ref().map_or("", |it| it.policy.as_str());
        let policy: Value = serde_json::from_str(policy).unwrap_or_default();
        let mut statements = policy["Statement"].as_array().into_iter().flatten();
        let decrypts = statements.any(|it| {
            it["Principal"]["Service"] == "cloudtrail.amazonaws.com" && it["Action"].to_string().contains("kms:Decrypt")
        });
        let lacks = input["KmsKeyId"] == KEY && bucket_key && !decrypts;
        if lacks { Err("InsufficientEncryptionPolicyException") } else { Ok(()) }
    }
}
