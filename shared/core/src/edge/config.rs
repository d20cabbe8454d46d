//! The environment, read once.

use crate::value::names::{AccountId, KeyArn, RoleArn, TableName, TopicArn};

/// Where the registry is, unless the environment says otherwise.
pub const DEFAULT_PREFIX: &str = "/s3-guardrail/buckets/";

/// What the ledger's table is called, unless the environment says otherwise.
pub const DEFAULT_LEDGER: &str = "s3-guardrail-ledger";

/// What a function is told by its environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where alerts go. Every function has one; somebody at a terminal sees the report.
    pub topic: Option<TopicArn>,
    /// Where people hear that something of the guardrail's, or `topic` itself, is broken; `None`: nowhere else.
    pub second_topic: Option<TopicArn>,
    /// Our own role: its account is the one we guard, and its calls are our own.
    pub role: RoleArn,
    /// The region whose buckets we guard.
    pub region: String,
    /// The registry's path in the Parameter Store; begins and ends with `/`.
    pub parameter_prefix: String,
    /// Where the sweep's messages go; `None` where nobody sweeps.
    pub queue_url: Option<String>,
    /// The key of alerts and logs; `None` where nobody watches over it.
    pub key: Option<KeyArn>,
    /// The table of what is open and was told; `None`: everything is told.
    pub ledger_table: Option<TableName>,
    /// Where S3 answers without TLS, when the endpoint is one's own; `guardrail-verify` asks there to be refused.
    pub http_endpoint: Option<String>,
}

/// What a function needs besides what all need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    NoQueue,
    Queue,
}

/// Where the guardrail is, and so every bucket it guards. The topic may be elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub partition: &'a str,
    pub account: &'a str,
    pub region: &'a str,
}

/// Everything that is wrong with the environment.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the environment is not complete: {}", .0.join("; "))]
pub struct ConfigError(Vec<String>);

impl Config {
    /// The account that the guardrail is in.
    pub fn account(&self) -> AccountId {
        self.role.parts().account.parse().expect("a role ARN has an account")
    }

    /// Where the guardrail is.
    pub fn place(&self) -> Place<'_> {
        let role = self.role.parts();
        Place { partition: role.partition, account: role.account, region: &self.region }
    }

    /// Reads the variables that `lookup` knows.
    pub fn from_vars(needs: Needs, lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        fn required<T: std::str::FromStr<Err: std::fmt::Display>>(
            name: &str,
            value: Option<String>,
        ) -> Result<T, String> {
            let value = value.filter(|it| !it.is_empty()).ok_or_else(|| format!("{name} is missing"))?;
            value.parse().map_err(|error| format!("{name}: {error}"))
        }
        let read = |name| lookup(name);
        let topic = required("GUARDRAIL_TOPIC_ARN", read("GUARDRAIL_TOPIC_ARN"));
        let second = match read("GUARDRAIL_SECOND_TOPIC_ARN") {
            None => Ok(None),
            given => required("GUARDRAIL_SECOND_TOPIC_ARN", given).map(Some),
        };
        let role = required("GUARDRAIL_ROLE_ARN", read("GUARDRAIL_ROLE_ARN"));
        // The SDK reads these two, too; on Lambda the first is always there.
        let region = required("AWS_REGION", read("AWS_REGION").or_else(|| read("AWS_DEFAULT_REGION")));
        let prefix = read("GUARDRAIL_PARAMETER_PREFIX").unwrap_or_else(|| DEFAULT_PREFIX.to_owned());
        let prefix = parameter_prefix(&prefix).map_err(|error| format!("GUARDRAIL_PARAMETER_PREFIX: {error}"));
        let queue = match needs {
            Needs::NoQueue => Ok(None),
            Needs::Queue => required("GUARDRAIL_QUEUE_URL", read("GUARDRAIL_QUEUE_URL")).map(Some),
        };
        let key = match read("GUARDRAIL_KEY_ARN") {
            None => Ok(None),
            given => required("GUARDRAIL_KEY_ARN", given).map(Some),
        };
        let ledger = match read("GUARDRAIL_LEDGER_TABLE") {
            None => Ok(None),
            given => required("GUARDRAIL_LEDGER_TABLE", given).map(Some),
        };
        match (topic, second, role, region, prefix, queue, key, ledger) {
            (
                Ok(topic),
                Ok(second_topic),
                Ok(role),
                Ok(region),
                Ok(parameter_prefix),
                Ok(queue_url),
                Ok(key),
                Ok(ledger_table),
            ) => {
                let (topic, http_endpoint) = (Some(topic), read("GUARDRAIL_HTTP_ENDPOINT_URL"));
                Ok(Self {
                    topic,
                    second_topic,
                    role,
                    region,
                    parameter_prefix,
                    queue_url,
                    key,
                    ledger_table,
                    http_endpoint,
                })
            }
            (topic, second, role, region, prefix, queue, key, ledger) => {
                let first = [topic.err(), second.err(), role.err(), region.err(), prefix.err()];
                let problems = first.into_iter().chain([queue.err(), key.err(), ledger.err()]);
                Err(ConfigError(problems.flatten().collect()))
            }
        }
    }
}

/// Checks a path of the registry.
pub fn parameter_prefix(text: &str) -> Result<String, &'static str> {
    if text.starts_with('/') && text.ends_with('/') && !text.contains("//") {
        Ok(text.to_owned())
    } else {
        Err("must be a path that begins and ends with `/`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(vars: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_vars(Needs::Queue, |name| {
            vars.iter().find(|(given, _)| *given == name).map(|(_, value)| (*value).to_owned())
        })
    }

    const TOPIC: (&str, &str) = ("GUARDRAIL_TOPIC_ARN", "arn:aws:sns:eu-west-2:111122223333:alerts");
    const QUEUE: (&str, &str) = ("GUARDRAIL_QUEUE_URL", "https://sqs.eu-west-2.amazonaws.com/111122223333/work");
    const ROLE: (&str, &str) = ("GUARDRAIL_ROLE_ARN", "arn:aws:iam::111122223333:role/guardrail");

    #[test]
    fn the_prefix_has_a_default() {
        assert_eq!(
            config(&[TOPIC, ROLE, QUEUE, ("AWS_REGION", "eu-west-2")]).unwrap().parameter_prefix,
            "/s3-guardrail/buckets/"
        );
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let error = config(&[
            ("GUARDRAIL_ROLE_ARN", "admin"),
            ("GUARDRAIL_PARAMETER_PREFIX", "buckets"),
            ("GUARDRAIL_SECOND_TOPIC_ARN", "broken"),
        ])
        .unwrap_err();
        let text = error.to_string();
        for part in [
            "GUARDRAIL_TOPIC_ARN is missing",
            "GUARDRAIL_SECOND_TOPIC_ARN: `broken` is not",
            "GUARDRAIL_ROLE_ARN: `admin` is not",
            "AWS_REGION is missing",
            "GUARDRAIL_QUEUE_URL is missing",
            "GUARDRAIL_PARAMETER_PREFIX",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn what_is_set_is_read_and_what_is_empty_is_missing() {
        let region = ("AWS_REGION", "eu-west-2");
        let key = ("GUARDRAIL_KEY_ARN", "arn:aws:kms:eu-west-2:111122223333:key/k");
        let full =
            config(&[TOPIC, ROLE, QUEUE, region, key, ("GUARDRAIL_LEDGER_TABLE", "s3-guardrail-ledger")]).unwrap();
        assert_eq!(full.ledger_table.as_ref().map(TableName::as_str), Some("s3-guardrail-ledger"));
        assert_eq!((full.queue_url.as_deref(), full.key.as_ref().map(KeyArn::as_str)), (Some(QUEUE.1), Some(key.1)));
        assert_eq!(full.account().as_str(), "111122223333");
        let Place { partition, account, region: place } = full.place();
        assert_eq!((partition, account, place), ("aws", "111122223333", "eu-west-2"));
        let less = config(&[TOPIC, ROLE, QUEUE, region]).unwrap();
        assert_eq!((less.key, less.ledger_table, less.second_topic), (None, None, None));
        let second = ("GUARDRAIL_SECOND_TOPIC_ARN", "arn:aws:sns:eu-west-2:111122223333:broken");
        let more = config(&[TOPIC, ROLE, QUEUE, region, second]).unwrap();
        assert_eq!(more.second_topic.as_ref().map(TopicArn::as_str), Some(second.1));
        let error = config(&[TOPIC, ROLE, QUEUE, region, ("GUARDRAIL_LEDGER_TABLE", "a/b")]).unwrap_err();
        assert!(error.to_string().contains("GUARDRAIL_LEDGER_TABLE: `a/b` is not a table's name"), "{error}");
        let error = config(&[TOPIC, ROLE, ("GUARDRAIL_QUEUE_URL", ""), region]).unwrap_err();
        assert!(error.to_string().contains("GUARDRAIL_QUEUE_URL is missing"), "{error}");
        let vars = [TOPIC, ROLE, ("AWS_DEFAULT_REGION", "eu-west-1")];
        let lookup = |name: &str| vars.iter().find(|it| it.0 == name).map(|it| it.1.to_owned());
        let without_queue = Config::from_vars(Needs::NoQueue, lookup).unwrap();
        assert_eq!((without_queue.queue_url, without_queue.region.as_str()), (None, "eu-west-1"));
    }

    #[test]
    fn a_prefix_begins_and_ends_with_a_slash_and_skips_none() {
        assert_eq!(parameter_prefix("/a/b/").as_deref(), Ok("/a/b/"));
        for bad in ["a/b/", "/a/b", "/a//b/", ""] {
            assert!(parameter_prefix(bad).is_err(), "{bad}");
        }
    }
}
