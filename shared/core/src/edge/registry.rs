//! Registry documents: which bucket is guarded, and how.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    control::{bucket_policy::PolicyVariant, inventory::InventoryFormat, lifecycle::LifecycleDays, table::Control},
    outcome::exemption::Exemption,
    value::{
        failure::ApiError,
        json::from_json,
        names::{AccountId, BucketName, KeyAlias, KeyArn, NameError, TrailArn},
    },
};

/// The Parameter Store keeps no longer document: 8192 characters, of four bytes at most.
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html>
const MAX_BYTES: usize = 32 * 1024;

/// A registry document.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    pub bucket: BucketName,
    /// The account that owns the bucket. Every S3 call carries it, so that a stranger's bucket of this name is left alone.
    pub account: AccountId,
    /// The one key that uploads may use.
    pub key_arn: KeyArn,
    /// Keys that the bucket had before, and that objects may still be encrypted with: they are kept usable until a person
    /// takes them out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_keys: Vec<KeyArn>,
    /// The alias that points at the key; `alias/NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_alias: Option<KeyAlias>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trail_arn: Option<TrailArn>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_bucket: Option<BucketName>,
    #[serde(default)]
    pub inventory: InventorySettings,
    #[serde(default)]
    pub mode: Mode,
    #[serde(default)]
    pub exemptions: Vec<Exemption>,
    #[serde(default)]
    pub lifecycle: LifecycleDays,
    #[serde(default)]
    pub policy: PolicyVariant,
    /// What becomes of a control that somebody fights over.
    #[serde(default, skip_serializing_if = "OnFight::is_restore")]
    pub on_fight: OnFight,
    /// When the bucket policy must be written and names deleted users or roles: drop those names.
    /// S3 would refuse the document because of them.
    #[serde(default)]
    pub drop_dead_principals: bool,
}

/// Where inventory reports go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct InventorySettings {
    /// Default: the bucket's name and `-inventory`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<BucketName>,
    /// Default: CSV and Parquet are both fine, and a missing configuration is created with Parquet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<InventoryFormat>,
}

/// Whether drift is restored or only told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    #[default]
    Enforce,
    Observe,
}

/// What becomes of a control that somebody fights over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFight {
    /// It is restored once a minute at most.
    #[default]
    Restore,
    /// It is left until the fight is over, or somebody asks for it.
    Hold,
}

impl OnFight {
    fn is_restore(&self) -> bool {
        *self == Self::Restore
    }
}

impl Registration {
    /// The document with all defaults.
    pub fn new(bucket: BucketName, account: AccountId, key_arn: KeyArn) -> Self {
        Self {
            bucket,
            account,
            key_arn,
            former_keys: Vec::new(),
            key_alias: None,
            trail_arn: None,
            log_bucket: None,
            inventory: InventorySettings::default(),
            mode: Mode::default(),
            exemptions: Vec::new(),
            lifecycle: LifecycleDays::default(),
            policy: PolicyVariant::default(),
            on_fight: OnFight::default(),
            drop_dead_principals: false,
        }
    }

    /// Reads the document registered for `bucket`, at most 32 KiB long.
    pub fn parse(document: &str, bucket: &BucketName) -> Result<Self, RegistryError> {
        if document.len() > MAX_BYTES {
            let error = format!("{} bytes, and the Parameter Store keeps no more than {MAX_BYTES}", document.len());
            return Err(RegistryError::Invalid { bucket: bucket.clone(), error });
        }
        let this: Self = from_json(document)
            .map_err(|error| RegistryError::Invalid { bucket: bucket.clone(), error: error.to_string() })?;
        if this.bucket != *bucket {
            let error = format!("bucket: `{}` stands under another bucket's name", this.bucket);
            return Err(RegistryError::Invalid { bucket: bucket.clone(), error });
        }
        Ok(this)
    }

    /// The bucket that inventory reports go to.
    pub fn inventory_bucket(&self) -> Result<BucketName, RegistryError> {
        self.or_derived("inventory.bucket", self.inventory.bucket.as_ref(), "inventory")
    }

    /// The bucket that the trail delivers to when it has to be created.
    pub fn log_bucket(&self) -> Result<BucketName, RegistryError> {
        self.or_derived("log_bucket", self.log_bucket.as_ref(), "logs")
    }

    fn or_derived(&self, field: &str, given: Option<&BucketName>, suffix: &str) -> Result<BucketName, RegistryError> {
        let derived = || format!("{}-{suffix}", self.bucket).parse();
        let name = given.cloned().map_or_else(derived, Ok);
        name.map_err(|error| self.invalid(format!("{field}: missing, and its default {error}; set it")))
    }

    /// The error that this document is not valid.
    pub fn invalid(&self, error: String) -> RegistryError {
        RegistryError::Invalid { bucket: self.bucket.clone(), error }
    }

    /// The exemption of `control` that is in force at `now`.
    pub fn exemption(&self, control: Control, now: Timestamp) -> Option<&Exemption> {
        self.exemptions.iter().find(|it| it.control == control && now < it.until)
    }
}

/// The registry could not say whether, or how, a bucket is guarded.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("the registry could not be read")]
    Unreadable(#[from] ApiError),
    #[error("the registry document of {bucket} is not valid: {error}; until it is mended the bucket is not guarded")]
    Invalid { bucket: BucketName, error: String },
}

/// Where the guardrail keeps what it saw last of every registry document, for the case that one is lost.
pub const COPIES: &str = "/s3-guardrail/copies/";

/// The copy of a registry document.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Kept {
    pub registration: Registration,
    /// When it was copied.
    pub since: Timestamp,
    /// People were told that the document itself is gone.
    #[serde(default)]
    pub told_gone: bool,
}

/// A parameter below the registry's path.
#[derive(Debug)]
pub struct Parameter {
    pub name: String,
    /// Whose document it is; an error when what stands there is no bucket's name.
    pub bucket: Result<BucketName, NameError>,
    pub document: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const REQUIRED: &str =
        r#""bucket":"acme-data","account":"111122223333","key_arn":"arn:aws:kms:eu-west-2:111122223333:key/k""#;

    fn parse(more: &str) -> Result<Registration, String> {
        let document = format!("{{{REQUIRED}{more}}}");
        Registration::parse(&document, &"acme-data".parse().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn only_bucket_account_and_key_are_required() {
        let registration = parse("").unwrap();
        assert_eq!(registration.inventory_bucket().unwrap().as_str(), "acme-data-inventory");
        assert_eq!((registration.mode, registration.policy), (Mode::Enforce, PolicyVariant::Strict));
        assert_eq!(registration.on_fight, OnFight::Restore);
        assert_eq!((registration.lifecycle.noncurrent.get(), registration.lifecycle.abort_multipart.get()), (30, 7));
        for field in ["bucket", "account", "key_arn"] {
            let document = format!("{{{REQUIRED}}}").replace(&format!("\"{field}\""), "\"mode\"");
            assert!(Registration::parse(&document, &"acme-data".parse().unwrap()).is_err(), "{field}");
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let full = parse(
            r#","trail_arn":"arn:aws:cloudtrail:eu-west-2:111122223333:trail/t","log_bucket":"acme-data-logs","inventory":{"bucket":"reports","format":"CSV"},"mode":"observe","exemptions":[{"control":"lifecycle","until":"2027-01-31","reason":"r","approved_by":"a"}],"lifecycle":{"noncurrent_days":90},"policy":"default-encryption","on_fight":"hold","drop_dead_principals":true"#,
        )
        .unwrap();
        let text = serde_json::to_string(&full).unwrap();
        assert_eq!(Registration::parse(&text, &full.bucket).unwrap(), full);
        assert_eq!(full.exemptions[0].until.to_string(), "2027-02-01T00:00:00Z", "through the end of that day");
    }

    #[test]
    fn an_error_names_the_field() {
        for (more, part) in [
            (r#","inventory":{"Bucket":"x"}"#, "inventory.Bucket: unknown field"),
            (r#","inventory":{"format":"ORC"}"#, "inventory.format: unknown variant"),
            (r#","exemptions":[{"control":"policy","until":"2027-01-31"}]"#, "exemptions[0].control: unknown variant"),
            (r#","exemptions":[{"control":"lifecycle","until":"soon"}]"#, "exemptions[0].until: `soon` is not a time"),
            (r#","exemptions":[{"control":"lifecycle"}]"#, "exemptions[0]: missing field `until`"),
            (r#","mode":"off""#, "mode: unknown variant"),
            (r#","on_fight":"stop""#, "on_fight: unknown variant"),
            (r#","trail_arn":"t""#, "trail_arn: `t` is not a trail ARN"),
            (r#","log_bucket":"No""#, "log_bucket: `No` is not a bucket name"),
            (r#","lifecycle":{"noncurrent_days":-1}"#, "lifecycle.noncurrent_days"),
            (r#","lifecycle":{"days":1}"#, "lifecycle.days: unknown field"),
            (r#","account":"111122223333""#, "duplicate field `account`"),
            (r#"}{"mode":"observe""#, "trailing characters"),
        ] {
            let error = parse(more).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn an_exemption_never_lasts_longer_than_it_says() {
        let ends = |until: &str| {
            let exemption = json!([{"control": "lifecycle", "until": until}]);
            parse(&format!(",\"exemptions\":{exemption}")).map(|it| it.exemptions[0].until.to_string())
        };
        for (until, end) in [
            ("2027-01-31", "2027-02-01T00:00:00Z"),
            ("2027-12-31", "2028-01-01T00:00:00Z"),
            ("2027-01-31T18:00:00Z", "2027-01-31T18:00:00Z"),
            ("2027-01-31T18:00:00+01:00", "2027-01-31T17:00:00Z"),
        ] {
            assert_eq!(ends(until).as_deref(), Ok(end));
        }
        for until in ["2027-01-31T18:00:00", "2027-01-31 18:00[Europe/London]", "20270131", "2027-02-29", ""] {
            assert!(ends(until).is_err(), "{until}");
        }
    }

    #[test]
    fn of_several_exemptions_any_in_force_counts_for_its_control_alone() {
        let exemption = |control: &str, until: &str| json!({"control": control, "until": until});
        let both = json!([exemption("lifecycle", "2026-01-01"), exemption("lifecycle", "2027-01-01")]);
        let registration = parse(&format!(",\"exemptions\":{both}")).unwrap();
        let in_force = |control, now: &str| registration.exemption(control, now.parse().unwrap()).is_some();
        assert!(in_force(Control::Lifecycle, "2026-11-23T10:00:00Z"));
        assert!(!in_force(Control::Versioning, "2026-11-23T10:00:00Z"));
        assert!(!in_force(Control::Lifecycle, "2027-01-02T00:00:00Z"), "it ends with its last moment");
    }

    #[test]
    fn a_long_name_has_no_default_inventory_bucket() {
        let bucket: BucketName = "b".repeat(60).parse().unwrap();
        let document = format!("{{{REQUIRED}}}").replace("acme-data", bucket.as_str());
        let error = Registration::parse(&document, &bucket).unwrap().inventory_bucket().unwrap_err().to_string();
        assert!(error.contains("inventory.bucket: missing"), "{error}");
    }

    #[test]
    fn a_document_is_of_its_bucket_and_no_longer_than_the_store_keeps() {
        let of_length = |bytes: usize| {
            let document = format!("{{{REQUIRED}}}");
            let document = format!("{document}{}", " ".repeat(bytes - document.len()));
            Registration::parse(&document, &"acme-data".parse().unwrap()).map_err(|it| it.to_string())
        };
        assert!(of_length(32_768).is_ok());
        let error = of_length(32_769).unwrap_err();
        assert!(error.contains("32769 bytes, and the Parameter Store keeps no more than 32768"), "{error}");
        let error = Registration::parse(&format!("{{{REQUIRED}}}"), &"other".parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("`acme-data` stands under another bucket's name"), "{error}");
    }

    #[test]
    fn what_is_named_comes_before_what_is_derived() {
        let named = parse(r#","log_bucket":"acme-logs","inventory":{"bucket":"acme-lists"}"#).unwrap();
        let names = |it: &Registration| [it.log_bucket(), it.inventory_bucket()].map(|it| it.unwrap().to_string());
        assert_eq!(names(&named), ["acme-logs", "acme-lists"]);
        assert_eq!(names(&parse("").unwrap()), ["acme-data-logs", "acme-data-inventory"]);
    }

    #[test]
    fn an_exemption_is_over_at_the_moment_it_names() {
        let until = json!([{"control": "lifecycle", "until": "2027-01-01T00:00:00Z"}]);
        let registration = parse(&format!(",\"exemptions\":{until}")).unwrap();
        let in_force = |now: &str| registration.exemption(Control::Lifecycle, now.parse().unwrap()).is_some();
        assert!(in_force("2026-12-31T23:59:59Z") && !in_force("2027-01-01T00:00:00Z"));
    }
}
