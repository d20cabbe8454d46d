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
    RequiredKey { arn: key.clone(), duty: Duty::Encrypt, alias: ALIAS.parse().ok(), statements, serves: Vec::new() }
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

#[cfg(test)]
mod tests {
    use crate::{
        control::kms_key::{KeyState, Purpose},
        edge::config::Needs,
        value::policy::Policy,
    };

    use super::*;

    const KEY: &str = "arn:aws:kms:eu-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

    fn config(key: Option<&str>) -> Config {
        let lookup = |name: &str| {
            let value = match name {
                "GUARDRAIL_TOPIC_ARN" => "arn:aws:sns:eu-west-2:111122223333:s3-guardrail-alerts",
                "GUARDRAIL_ROLE_ARN" => "arn:aws:iam::111122223333:role/s3-guardrail-remediate-eu-west-2",
                "AWS_REGION" => "eu-west-2",
                _ => return None,
            };
            Some(value.to_owned())
        };
        Config { key: key.map(|it| it.parse().unwrap()), ..Config::from_vars(Needs::NoQueue, lookup).unwrap() }
    }

    #[test]
    fn the_own_key_has_an_arn_an_id_and_an_alias() {
        let alias = "arn:aws:kms:eu-west-2:111122223333:alias/s3-guardrail";
        for (text, is_ours) in [
            (KEY, true),
            ("1234abcd-12ab-34cd-56ef-1234567890ab", true),
            ("alias/s3-guardrail", true),
            (alias, true),
            ("alias/theirs", false),
            (&alias.replace("s3-guardrail", "theirs"), false),
            (&alias.replace("eu-west-2", "eu-west-1"), false),
            (&alias.replace("111122223333", "999922223333"), false),
            (&KEY.replace("1234abcd", "5678abcd"), false),
            ("key/1234abcd-12ab-34cd-56ef-1234567890ab", false),
        ] {
            let part = is_ours.then(|| PART.to_owned());
            assert_eq!(named(text, &config(Some(KEY))), part, "{text}");
            assert_eq!(named(text, &config(None)), None, "nobody watches over it");
        }
    }

    #[test]
    fn what_differs_of_the_own_key_is_told_part_by_part() {
        let required = required(&KEY.parse().unwrap(), config(None).place());
        let sids: Vec<_> = required.statements.iter().filter_map(Statement::sid).collect();
        assert_eq!(sids, ["Account", "AlarmsToTopic", "Logs"]);
        let bare = KmsKey {
            state: KeyState::Enabled,
            purpose: Purpose::SymmetricEncryption,
            rotation: Some(true),
            alias_target: None,
            policy: Policy::default(),
            unread: Vec::new(),
        };
        let desired = bare.requiring(&required);
        let told = |observed: KmsKey| differences(&Drift { observed, desired: desired.clone() });
        let nothing: [String; 0] = [];
        assert_eq!(told(desired.clone()), nothing);
        assert_eq!(told(KmsKey { state: KeyState::Disabled, ..desired.clone() }), ["it was Disabled"]);
        assert_eq!(told(KmsKey { rotation: Some(false), ..desired.clone() }), ["it did not rotate"]);
        let unaliased = KmsKey { alias_target: None, ..desired.clone() };
        assert_eq!(told(unaliased), ["alias/s3-guardrail did not lead to it"]);
        let unsaid = KmsKey { policy: Policy::default(), ..desired.clone() };
        assert_eq!(told(unsaid), ["its policy lacked a statement that alerts or logs need"]);
    }
}
