//! What a bootstrap is asked for, spelled out, and why it is not done.

use serde::{Deserialize, Serialize};

use crate::{
    control::inventory::InventoryFormat,
    decide::{
        adoption::{Adoption, Breaks},
        wanted_key::{RegisteredKey, WantedKey},
    },
    edge::{
        config::{Config, Place},
        event::InputError,
        registry::{InventorySettings, Registration, RegistryError},
    },
    outcome::{observed::Observed, record_file::RecordFile},
    value::{
        failure::ApiError,
        names::{AccountId, Arn, BucketName, KeyAlias, KeyArn, NameError, TrailArn, default_trail_name, is_trail_name},
    },
};

/// What to build. Only `bucket` is required; the defaults are for what is not registered.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub bucket: BucketName,
    /// Default: `alias/s3-secure-data`.
    #[serde(default)]
    pub key_alias: Option<KeyAlias>,
    /// The key by its ARN. Default: the one that the alias names, or a new one.
    #[serde(default)]
    pub key: Option<KeyArn>,
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
    /// What may break or be destroyed in buckets that are there.
    #[serde(default)]
    pub accept: Vec<Breaks>,
    #[serde(default)]
    pub dry_run: bool,
}

/// The request with its defaults, and where it is carried out.
#[derive(Debug)]
pub struct Setup {
    pub bucket: BucketName,
    pub key: WantedKey,
    pub key_administrators: Vec<String>,
    pub key_users: Vec<String>,
    pub log_bucket: BucketName,
    pub inventory_bucket: BucketName,
    pub trail: TrailArn,
    pub inventory_format: Option<InventoryFormat>,
    pub zero_spend_budget: Option<String>,
    pub accept: Vec<Breaks>,
    pub dry_run: bool,
    pub partition: String,
    pub region: String,
    pub account: AccountId,
}

/// Something that the baseline needs besides the bucket's own settings.
#[derive(Debug, Serialize)]
pub struct Resource {
    pub r#type: &'static str,
    pub id: String,
    pub action: Action,
    /// What to know of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
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
    pub fn on_existing(changed: bool) -> Self {
        if changed { Self::Adopted } else { Self::Unchanged }
    }
}

/// Why the baseline is not built. What was built stays; running it again goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("the request is not valid: {field}: {problem}; nothing was changed")]
    Request { field: &'static str, problem: String },
    #[error("nothing was changed, because of what that would do: {0}")]
    Adoption(Adoption),
    #[error("{resource}: {problem}; mend that and run it again, it goes on from there")]
    Resource { resource: String, problem: String },
    #[error("{resource} could not be set up; run it again, it goes on from there")]
    Api { resource: String, source: ApiError },
    #[error(
        "somebody else changed {} of the registry document of {bucket} meanwhile, and that was left so; run it again",
        .fields.join(", ")
    )]
    Overtaken { bucket: BucketName, fields: Vec<&'static str> },
    #[error("people could not be told what is exchanged ({0}), so nothing was; mend that and run it again")]
    Untold(ApiError),
    #[error("what was written until then is in {record}, for `guardrail rollback`")]
    Recorded { record: RecordFile, source: Box<BootstrapError> },
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("the answer could not be written as JSON")]
    Answer(#[from] serde_json::Error),
}

impl Setup {
    /// The request, spelled out with what is registered and what the bucket's name says.
    pub fn new(config: &Config, request: Request, registered: Option<&Registration>) -> Result<Self, BootstrapError> {
        let Request {
            bucket,
            key_alias,
            key,
            key_administrators,
            key_users,
            log_bucket,
            inventory_bucket,
            trail,
            inventory_format,
            zero_spend_budget,
            accept,
            dry_run,
        } = request;
        let invalid =
            |field, problem: &dyn std::fmt::Display| BootstrapError::Request { field, problem: problem.to_string() };
        // Request over registry over what is derived from the bucket's name.
        let or_derived = |field, given: Option<BucketName>, suffix: &str| match given {
            Some(name) if name == bucket => Err(invalid(field, &"is the guarded bucket itself")),
            Some(name) => Ok(name),
            None => format!("{bucket}-{suffix}")
                .parse()
                .map_err(|error: NameError| invalid(field, &format_args!("missing, and its default {error}; set it"))),
        };
        let Place { partition, region, account } = config.place();
        let account_id = config.account();
        if let Some(registered) = registered.filter(|it| it.account != account_id) {
            let problem = format!("{bucket} is registered as a bucket of the account {}", registered.account);
            return Err(invalid("bucket", &problem));
        }
        let key = WantedKey {
            asked: key,
            asked_alias: key_alias,
            registered: registered.map(|it| RegisteredKey { arn: it.key_arn.clone(), alias: it.key_alias.clone() }),
            default_alias: "alias/s3-secure-data".parse().map_err(|error| invalid("key_alias", &error))?,
        };
        for (field, arns) in [("key_administrators", &key_administrators), ("key_users", &key_users)] {
            if let Some(bad) =
                arns.iter().find(|it| Arn::parse(it).is_none_or(|it| !["iam", "sts"].contains(&it.service)))
            {
                return Err(invalid(field, &format_args!("`{bad}` is not the ARN of a user or role")));
            }
        }
        if let Some(address) = &zero_spend_budget {
            check_address(address).map_err(|problem| invalid("zero_spend_budget", &problem))?;
        }
        let registered_trail = registered.and_then(|it| it.trail_arn.as_ref()).map(ToString::to_string);
        let trail = trail.or(registered_trail).unwrap_or_else(|| default_trail_name(&bucket));
        let log_bucket = log_bucket.or_else(|| registered?.log_bucket.clone());
        let inventory_bucket = inventory_bucket.or_else(|| registered?.inventory.bucket.clone());
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
            log_bucket: or_derived("log_bucket", log_bucket, "logs")?,
            inventory_bucket: or_derived("inventory_bucket", inventory_bucket, "inventory")?,
            trail,
            key,
            key_administrators,
            key_users,
            inventory_format,
            zero_spend_budget,
            accept,
            dry_run,
            partition: partition.to_owned(),
            region: region.to_owned(),
            account: account_id,
            bucket,
        })
    }

    /// The trail, unless it is another account's.
    pub fn own_trail(&self) -> Option<&TrailArn> {
        Some(&self.trail).filter(|it| it.parts().account == self.account.as_str())
    }

    /// The registry document. What it says already of mode, exemptions and the rest stays; of a bucket that is not
    /// registered, so does the format of an inventory that is there.
    pub fn registration(
        &self,
        key_arn: KeyArn,
        key_alias: Option<KeyAlias>,
        registered: Option<&Registration>,
        observed: &Observed,
    ) -> Registration {
        let found_format =
            || observed.inventory.as_ref().ok().and_then(|it| InventoryFormat::from_name(&it.as_ref()?.format));
        let new = || {
            let format = found_format().unwrap_or(InventoryFormat::Parquet);
            let inventory = InventorySettings { bucket: None, format: Some(format) };
            let new = Registration::new(self.bucket.clone(), self.account.clone(), key_arn.clone());
            Registration { inventory, ..new }
        };
        let is = registered.cloned().unwrap_or_else(new);
        let mut former_keys = is.former_keys.clone();
        if is.key_arn != key_arn {
            // What it encrypted still needs it.
            former_keys.retain(|it| *it != key_arn && *it != is.key_arn);
            former_keys.push(is.key_arn.clone());
        }
        Registration {
            key_arn,
            key_alias,
            trail_arn: Some(self.trail.clone()),
            log_bucket: Some(self.log_bucket.clone()),
            inventory: InventorySettings {
                bucket: Some(self.inventory_bucket.clone()),
                format: self.inventory_format.or(is.inventory.format),
            },
            former_keys,
            ..is
        }
    }
}

/// Says which resource a failed call was for.
pub fn failed(resource: &str) -> impl FnOnce(ApiError) -> BootstrapError {
    let resource = resource.to_owned();
    |source| BootstrapError::Api { resource, source }
}

/// Why `text` cannot be who is mailed.
/// <https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_budgets_Subscriber.html>
pub(super) fn check_address(text: &str) -> Result<(), String> {
    let parts = text.split_once('@').filter(|(name, host)| !name.is_empty() && host.contains('.'));
    let valid = parts.is_some() && text.len() <= 50 && !text.contains(char::is_whitespace);
    if valid { Ok(()) } else { Err(format!("`{text}` is not an e-mail address of at most 50 characters")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::edge::config::Needs;

    #[test]
    fn an_address_is_one_that_can_be_mailed() {
        assert!(check_address("ann@example.com").is_ok());
        let long = format!("{}@example.com", "a".repeat(50));
        for bad in ["", "ann", "@example.com", "ann@", "ann@host", "a nn@example.com", &long] {
            assert!(check_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_may_have_fifty_characters() {
        let of_length = |length: usize| check_address(&format!("{}@example.com", "a".repeat(length - 12)));
        assert!(of_length(50).is_ok() && of_length(51).is_err());
    }

    const KEY: &str = "arn:aws:kms:eu-west-2:111122223333:key/k";
    const OTHER: &str = "arn:aws:kms:eu-west-2:111122223333:key/other";

    fn config() -> Config {
        let lookup = |name: &str| {
            let value = match name {
                "GUARDRAIL_TOPIC_ARN" => "arn:aws:sns:eu-west-2:111122223333:s3-guardrail-alerts",
                "GUARDRAIL_ROLE_ARN" => "arn:aws:iam::111122223333:role/s3-guardrail-bootstrap-eu-west-2",
                "AWS_REGION" => "eu-west-2",
                _ => return None,
            };
            Some(value.to_owned())
        };
        Config::from_vars(Needs::NoQueue, lookup).unwrap()
    }

    fn setup(changes: serde_json::Value, registered: Option<&Registration>) -> Result<Setup, String> {
        let mut request = json!({"bucket": "acme-data"});
        request.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let request = serde_json::from_value(request).unwrap();
        Setup::new(&config(), request, registered).map_err(|it| it.to_string())
    }

    fn inventory_of(format: &str) -> Observed {
        let json = json!({
            "IsEnabled": true, "IncludedObjectVersions": "All", "Frequency": "Daily", "Format": format,
            "Bucket": "arn:aws:s3:::lists", "AccountId": null, "Prefix": null, "Encryption": "Absent",
            "FilterPrefix": null, "OptionalFields": [],
        });
        Observed { inventory: Ok(serde_json::from_value(json).unwrap()), ..Observed::empty() }
    }

    #[test]
    fn a_new_document_says_what_was_asked_for_or_is_there() {
        let asked = json!({"log_bucket": "acme-logs", "trail": "tra"});
        let setup = setup(asked, None).unwrap();
        let alias: KeyAlias = "alias/a".parse().unwrap();
        let registered = |observed| setup.registration(KEY.parse().unwrap(), Some(alias.clone()), None, &observed);
        let document = registered(Observed::empty());
        let expected = json!({
            "bucket": "acme-data", "account": "111122223333", "key_arn": KEY, "key_alias": "alias/a",
            "trail_arn": "arn:aws:cloudtrail:eu-west-2:111122223333:trail/tra", "log_bucket": "acme-logs",
            "inventory": {"bucket": "acme-data-inventory", "format": "Parquet"},
        });
        let json = serde_json::to_value(&document).unwrap();
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(&json[field], value, "{field}");
        }
        for (format, registered_as) in
            [("CSV", InventoryFormat::Csv), ("Parquet", InventoryFormat::Parquet), ("ORC", InventoryFormat::Parquet)]
        {
            assert_eq!(registered(inventory_of(format)).inventory.format, Some(registered_as), "{format}");
        }
        assert_eq!(setup.own_trail(), Some(&setup.trail));
    }

    #[test]
    fn a_key_that_is_exchanged_is_a_former_one_from_then_on() {
        let key = |arn: &str| arn.parse::<KeyArn>().unwrap();
        let third = || key("arn:aws:kms:eu-west-2:111122223333:key/third");
        let registered = Registration {
            former_keys: vec![third(), key(OTHER)],
            drop_dead_principals: true,
            ..Registration::new("acme-data".parse().unwrap(), "111122223333".parse().unwrap(), key(KEY))
        };
        let setup = setup(json!({}), Some(&registered)).unwrap();
        let with = |arn| setup.registration(key(arn), None, Some(&registered), &inventory_of("CSV"));
        assert_eq!(with(KEY).former_keys, [third(), key(OTHER)], "nothing is exchanged");
        assert_eq!(with(OTHER).former_keys, [third(), key(KEY)], "and what comes back is none any more");
        assert_eq!((with(OTHER).key_arn, with(OTHER).drop_dead_principals), (key(OTHER), true));
        assert_eq!(with(KEY).inventory.format, None, "what is registered already stays");
        let again = Registration { former_keys: vec![key(KEY)], ..registered };
        let twice = setup.registration(key(OTHER), None, Some(&again), &Observed::empty());
        assert_eq!(twice.former_keys, [key(KEY)], "each once");
    }

    #[test]
    fn a_request_that_cannot_be_meant_names_its_field() {
        let other = || {
            let key = "arn:aws:kms:eu-west-2:999922223333:key/k".parse().unwrap();
            Registration::new("acme-data".parse().unwrap(), "999922223333".parse().unwrap(), key)
        };
        let field = |changes, registered: Option<&Registration>| {
            let error = setup(changes, registered).unwrap_err();
            error.split(": ").nth(1).unwrap_or_default().to_owned()
        };
        for (changes, expected) in [
            (json!({"log_bucket": "acme-data"}), "log_bucket"),
            (json!({"inventory_bucket": "acme-data"}), "inventory_bucket"),
            (json!({"trail": "-t"}), "trail"),
            (json!({"key_users": ["ann"]}), "key_users"),
            (json!({"key_administrators": ["arn:aws:s3:::acme"]}), "key_administrators"),
            (json!({"zero_spend_budget": "ann"}), "zero_spend_budget"),
        ] {
            assert_eq!(field(changes, None), expected);
        }
        assert_eq!(field(json!({}), Some(&other())), "bucket");
        let users =
            json!({"key_users": ["arn:aws:iam::111122223333:user/ann", "arn:aws:sts::111122223333:assumed-role/r/s"]});
        assert_eq!(setup(users, None).unwrap().key_users.len(), 2);
    }

    #[test]
    fn the_trail_of_another_account_is_not_ours() {
        let trail = "arn:aws:cloudtrail:eu-west-2:999922223333:trail/organization";
        let setup = setup(json!({"trail": trail}), None).unwrap();
        assert_eq!((setup.trail.as_str(), setup.own_trail()), (trail, None));
    }

    #[test]
    fn what_was_there_is_adopted_or_unchanged() {
        assert_eq!((Action::on_existing(true), Action::on_existing(false)), (Action::Adopted, Action::Unchanged));
    }
}
