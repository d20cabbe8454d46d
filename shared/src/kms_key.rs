//! The key: what it is, what it should be, and the calls from the one to the other. Pure.

use serde_json::{Value, json};

use crate::{
    names::{AccountId, KeyAlias, KeyArn, TrailArn},
    plan::Drift,
    policy::{Policy, Statement, sid_part},
};

/// What a bucket's key should be.
#[derive(Clone, Debug)]
pub struct RequiredKey {
    pub arn: KeyArn,
    /// The alias that must point at it; `None`: the registry names none.
    pub alias: Option<KeyAlias>,
    /// What the services that deliver logs and inventories need in its policy.
    pub statements: Vec<Statement>,
}

/// A key as KMS describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct KmsKey {
    /// `Enabled`, `Disabled`, `PendingDeletion`, ...
    /// <https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html>
    pub state: String,
    /// `None`: a key of this kind cannot rotate by itself.
    pub rotation: Option<bool>,
    /// Where the required alias points; `None`: there is no such alias, or none is required.
    pub alias_target: Option<String>,
    pub policy: Policy,
}

/// One call that restores a part of a key.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyCall {
    CancelDeletion,
    Enable,
    EnableRotation,
    PutPolicy(String),
    CreateAlias(KeyAlias),
    UpdateAlias(KeyAlias),
}

impl KmsKey {
    /// The same with what is required; what else its policy says stays as it stands.
    pub fn requiring(&self, required: &RequiredKey) -> Self {
        // These two pass by themselves, and the key can be used meanwhile.
        let usable = matches!(self.state.as_str(), "Enabled" | "Creating" | "Updating");
        Self {
            state: if usable { self.state.clone() } else { "Enabled".to_owned() },
            rotation: self.rotation.map(|_| true),
            alias_target: required.alias.as_ref().map(|_| required.arn.to_string()),
            policy: self.policy.requiring(&required.statements),
        }
    }

    /// The key in AWS's words.
    pub fn to_json(&self) -> Value {
        let Self { state, rotation, alias_target, policy } = self;
        json!({"KeyState": state, "KeyRotationEnabled": rotation, "AliasTarget": alias_target, "Policy": policy.to_json()})
    }
}

/// The calls that lead from what is to what should be, in an order in which KMS takes them.
pub fn calls(drift: &Drift<KmsKey>, required: &RequiredKey) -> Vec<KeyCall> {
    let Drift { observed, desired } = drift;
    let mut calls = Vec::new();
    if observed.state != desired.state {
        // A key whose deletion is cancelled is disabled.
        calls.extend((observed.state == "PendingDeletion").then_some(KeyCall::CancelDeletion));
        calls.push(KeyCall::Enable);
    }
    if observed.rotation != desired.rotation {
        calls.push(KeyCall::EnableRotation);
    }
    if observed.policy != desired.policy {
        calls.push(KeyCall::PutPolicy(desired.policy.document()));
    }
    if let (Some(alias), true) = (&required.alias, observed.alias_target != desired.alias_target) {
        calls.push(match observed.alias_target {
            Some(_) => KeyCall::UpdateAlias(alias.clone()),
            None => KeyCall::CreateAlias(alias.clone()),
        });
    }
    calls
}

/// What CloudTrail and S3 Inventory need to encrypt what they deliver. One inventory statement serves all buckets of
/// the account, as a key's policy has room for 32 KB only. In a key policy, `Resource: "*"` is the key itself.
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/create-kms-key-policy-for-cloudtrail.html>
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/configure-inventory.html#configure-inventory-kms-key-policy>
pub fn service_statements(partition: &str, account: &AccountId, trail: Option<&TrailArn>) -> Vec<Statement> {
    let allow = |sid: String, service: &str, action: &str, condition: Value| {
        Statement(json!({
            "Sid": sid, "Effect": "Allow", "Principal": {"Service": service}, "Action": action, "Resource": "*",
            "Condition": condition,
        }))
    };
    let mut statements = vec![allow(
        "GuardrailInventory".to_owned(),
        "s3.amazonaws.com",
        "kms:GenerateDataKey",
        json!({
            "StringEquals": {"aws:SourceAccount": account},
            "ArnLike": {"aws:SourceArn": format!("arn:{partition}:s3:::*")},
        }),
    )];
    if let Some(trail) = trail {
        let part = sid_part(trail.parts().resource);
        statements.push(allow(
            format!("GuardrailTrailEncrypt{part}"),
            "cloudtrail.amazonaws.com",
            "kms:GenerateDataKey*",
            json!({
                "StringEquals": {"aws:SourceArn": trail},
                "StringLike": {"kms:EncryptionContext:aws:cloudtrail:arn": format!("arn:{partition}:cloudtrail:*:{account}:trail/*")},
            }),
        ));
        statements.push(allow(
            format!("GuardrailTrailDescribe{part}"),
            "cloudtrail.amazonaws.com",
            "kms:DescribeKey",
            json!({"StringEquals": {"aws:SourceArn": trail}}),
        ));
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    fn required() -> RequiredKey {
        let account: AccountId = "111122223333".parse().unwrap();
        let trail = "arn:aws:cloudtrail:eu-west-2:111122223333:trail/t".parse().unwrap();
        RequiredKey {
            arn: "arn:aws:kms:eu-west-2:111122223333:key/k".parse().unwrap(),
            alias: Some("alias/s3-secure-data".parse().unwrap()),
            statements: service_statements("aws", &account, Some(&trail)),
        }
    }

    fn good() -> KmsKey {
        let own = r#"{"Statement":{"Sid":"Admins","Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"}}"#;
        let bare = KmsKey {
            state: "Enabled".to_owned(),
            rotation: Some(true),
            alias_target: None,
            policy: Policy::parse(own).unwrap(),
        };
        bare.requiring(&required())
    }

    fn restore(observed: KmsKey) -> Vec<KeyCall> {
        let desired = observed.requiring(&required());
        calls(&Drift { observed, desired }, &required())
    }

    #[test]
    fn each_part_that_drifts_is_restored_by_its_own_call() {
        let alias = || required().alias.unwrap();
        assert_eq!(restore(good()), []);
        assert_eq!(restore(KmsKey { state: "Disabled".to_owned(), ..good() }), [KeyCall::Enable]);
        assert_eq!(
            restore(KmsKey { state: "PendingDeletion".to_owned(), ..good() }),
            [KeyCall::CancelDeletion, KeyCall::Enable]
        );
        assert_eq!(restore(KmsKey { state: "Updating".to_owned(), ..good() }), []);
        assert_eq!(restore(KmsKey { rotation: Some(false), ..good() }), [KeyCall::EnableRotation]);
        assert_eq!(restore(KmsKey { rotation: None, ..good() }), [], "imported keys cannot rotate");
        assert_eq!(restore(KmsKey { alias_target: None, ..good() }), [KeyCall::CreateAlias(alias())]);
        let elsewhere = Some("arn:aws:kms:eu-west-2:111122223333:key/other".to_owned());
        assert_eq!(restore(KmsKey { alias_target: elsewhere, ..good() }), [KeyCall::UpdateAlias(alias())]);
    }

    #[test]
    fn missing_statements_are_added_and_the_administrators_stay() {
        let mut policy = good().policy;
        policy.statements.retain(|it| it.sid() == Some("Admins"));
        let calls = restore(KmsKey { policy, ..good() });
        let [KeyCall::PutPolicy(document)] = calls.as_slice() else { panic!("{calls:?}") };
        for part in ["Admins", "GuardrailInventory", "GuardrailTrailEncrypt", "GuardrailTrailDescribe"] {
            assert!(document.contains(part), "{document}");
        }
    }

    #[test]
    fn an_alias_that_the_registry_does_not_name_is_nobodys_business() {
        let required = RequiredKey { alias: None, ..required() };
        let observed = KmsKey { alias_target: None, ..good() };
        let desired = observed.requiring(&required);
        assert_eq!(observed, desired);
    }
}
