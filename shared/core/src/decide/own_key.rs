//! What the guardrail's own key must be.

use serde_json::{Value, json};

use crate::{
    control::kms_key::{Duty, KmsKey, RequiredKey},
    edge::config::{Config, Place},
    value::{
        drift::Drift,
        names::{Arn, KeyArn},
        policy::Statement,
    },
};

const ALIAS: &str = "alias/s3-guardrail";

/// What it is called as a part of the guardrail.
pub const PART: &str = "key alias/s3-guardrail";

/// The part in words, if this names the key or its alias.
pub fn named(named: &str, config: &Config) -> Option<String> {
    let key = config.key.as_ref()?;
    let Place { partition, region, account } = config.place();
    let is_ours = named == key.as_str()
        || Some(named) == key.parts().resource.strip_prefix("key/")
        || named == ALIAS
        || Arn::parse(named).is_some_and(|it| {
            (it.partition, it.service, it.region, it.account, it.resource) == (partition, "kms", region, account, ALIAS)
        });
    is_ours.then(|| PART.to_owned())
}

/// What the key should be, as infra/foundation.yaml has it. A statement that is to say something else in another
/// version needs another Sid: during an upgrade, the functions of before are still at work.
pub fn required(key: &KeyArn, place: Place<'_>) -> RequiredKey {
    let Place { partition, region, account } = place;
    let logs = format!("arn:{partition}:logs:{region}:{account}:log-group:/aws/lambda/guardrail-*");
    let statements = json!([
        {
            "Sid": "Account", "Effect": "Allow", "Principal": {"AWS": format!("arn:{partition}:iam::{account}:root")},
            "Action": "kms:*", "Resource": "*",
        },
        {
            "Sid": "AlarmsToTopic", "Effect": "Allow", "Principal": {"Service": "cloudwatch.amazonaws.com"},
            "Action": ["kms:Decrypt", "kms:GenerateDataKey*"], "Resource": "*",
            "Condition": {"StringEquals": {"aws:SourceAccount": account}},
        },
        {
            "Sid": "Logs", "Effect": "Allow", "Principal": {"Service": format!("logs.{region}.amazonaws.com")},
            "Action": ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
            "Resource": "*", "Condition": {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": logs}},
        },
    ]);
    let statements = match statements {
        Value::Array(all) => all.into_iter().map(Statement).collect(),
        _ => Vec::new(),
    };
    RequiredKey { arn: key.clone(), duty: Duty::Encrypt, alias: ALIAS.parse().ok(), statements }
}

/// What of it was not as it should be, in words.
pub fn differences(drift: &Drift<KmsKey>) -> Vec<String> {
    let Drift { observed, desired } = drift;
    let KmsKey { state, purpose: _, rotation, alias_target, policy, unread: _ } = observed;
    let mut problems = Vec::new();
    let mut say = |differs: bool, problem: String| {
        if differs {
            problems.push(problem);
        }
    };
    say(*state != desired.state, format!("it was {state}"));
    say(*rotation != desired.rotation, "it did not rotate".to_owned());
    say(*alias_target != desired.alias_target, format!("{ALIAS} did not lead to it"));
    say(*policy != desired.policy, "its policy lacked a statement that alerts or logs need".to_owned());
    problems
}
