//! The key: what it is, what it should be, and the calls from the one to the other. Pure.

use serde_json::{Value, json};

use crate::{
    control::vocabulary::{ApiCall, Vocabulary},
    value::{
        drift::Drift,
        failure::{ApiError, UNREAD},
        names::{AccountId, KeyAlias, KeyArn, TrailArn},
        policy::{Policy, Statement, sid_part},
    },
};

/// Its row of the table.
pub const ROW: Vocabulary = Vocabulary {
    id: "kms-key",
    events: &[
        "DisableKey",
        "ScheduleKeyDeletion",
        "DeleteImportedKeyMaterial",
        "DisableKeyRotation",
        "PutKeyPolicy",
        "DeleteAlias",
        "UpdateAlias",
    ],
    calls: &[
        ApiCall::read("DescribeKey", "kms:DescribeKey"),
        ApiCall::read("GetKeyRotationStatus", "kms:GetKeyRotationStatus"),
        ApiCall::read("GetKeyPolicy", "kms:GetKeyPolicy"),
        ApiCall::write("CancelKeyDeletion", "kms:CancelKeyDeletion"),
        ApiCall::write("EnableKey", "kms:EnableKey"),
        ApiCall::write("EnableKeyRotation", "kms:EnableKeyRotation"),
        ApiCall::write("PutKeyPolicy", "kms:PutKeyPolicy"),
        ApiCall::write("CreateAlias", "kms:CreateAlias"),
        ApiCall::write("UpdateAlias", "kms:UpdateAlias"),
    ],
};

/// KMS's limit for a key policy, in bytes.
/// <https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html>
pub const MAX_POLICY_BYTES: usize = 32 * 1024;

/// What a bucket's key should be.
#[derive(Clone, Debug)]
pub struct RequiredKey {
    pub arn: KeyArn,
    pub duty: Duty,
    /// The alias that must point at it; `None`: the registry names none.
    pub alias: Option<KeyAlias>,
    /// What the services that deliver logs and inventories need in its policy.
    pub statements: Vec<Statement>,
    /// For whom these services use it.
    pub serves: Vec<Served>,
}

/// A bucket and its trail, as the services that encrypt for them name them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    pub bucket_arn: String,
    pub trail: Option<TrailArn>,
}

/// What a bucket needs a key for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Its uploads and all that it has.
    Encrypt,
    /// What was uploaded while the bucket had this key: it must stay usable, and nothing else.
    Decrypt,
}

/// A key as KMS describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct KmsKey {
    pub state: KeyState,
    pub purpose: Purpose,
    /// `None`: a key of this kind cannot rotate by itself. Always false while a deletion is pending.
    pub rotation: Option<bool>,
    /// Where the required alias points; `None`: there is no such alias, or none is required.
    pub alias_target: Option<String>,
    pub policy: Policy,
    /// What could not be read, and why. What stands in its place says nothing.
    pub unread: Vec<(KeyPart, ApiError)>,
}

/// What KMS says in one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPart {
    /// And what the key is for.
    State,
    Rotation,
    Alias,
    Policy,
}

/// The state of a key.
/// <https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyState {
    Enabled,
    Disabled,
    PendingDeletion,
    /// The same for the primary of a multi-Region key that still has replicas.
    PendingReplicaDeletion,
    PendingImport,
    /// Its custom key store is not connected.
    Unavailable,
    Creating,
    Updating,
    /// One that KMS did not have when this was written.
    Other(String),
}

/// How a key gets from a state to being usable.
#[derive(Clone, Debug, PartialEq)]
pub enum WayBack {
    /// It is usable, or becomes so by itself within moments.
    NotNeeded,
    Calls(Vec<KeyCall>),
    /// Nothing that the guardrail may call brings it back: what people have to know and do.
    People(&'static str),
}

/// What a key is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The only kind of key that S3 can use, and CloudTrail, too.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html>
    SymmetricEncryption,
    Other {
        usage: String,
        spec: String,
    },
}

/// Why a key, or a part of it, is not as it should be after all calls that there are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    #[error("the key is {state}: {what_to_do}")]
    State { state: KeyState, what_to_do: &'static str },
    #[error(
        "the key is for {usage} ({spec}), which no key can change, and S3 encrypts with symmetric keys for \
         ENCRYPT_DECRYPT only: no upload can use it; create another key, and name it with guardrail-bootstrap"
    )]
    Purpose { usage: String, spec: String },
    #[error(
        "the key's policy with the required statements would have {bytes} bytes and KMS allows {MAX_POLICY_BYTES}; \
         shorten {largest}, the largest that is not the guardrail's"
    )]
    PolicyTooLong { bytes: usize, largest: String },
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

impl KeyState {
    /// The state that KMS calls so.
    pub fn parse(name: &str) -> Self {
        match name {
            "Enabled" => Self::Enabled,
            "Disabled" => Self::Disabled,
            "PendingDeletion" => Self::PendingDeletion,
            "PendingReplicaDeletion" => Self::PendingReplicaDeletion,
            "PendingImport" => Self::PendingImport,
            "Unavailable" => Self::Unavailable,
            "Creating" => Self::Creating,
            "Updating" => Self::Updating,
            other => Self::Other(other.to_owned()),
        }
    }

    /// KMS's name of it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Enabled => "Enabled",
            Self::Disabled => "Disabled",
            Self::PendingDeletion => "PendingDeletion",
            Self::PendingReplicaDeletion => "PendingReplicaDeletion",
            Self::PendingImport => "PendingImport",
            Self::Unavailable => "Unavailable",
            Self::Creating => "Creating",
            Self::Updating => "Updating",
            Self::Other(name) => name,
        }
    }

    /// How a key in this state becomes usable.
    pub fn way_back(&self) -> WayBack {
        match self {
            Self::Enabled | Self::Creating | Self::Updating => WayBack::NotNeeded,
            Self::Disabled => WayBack::Calls(vec![KeyCall::Enable]),
            // A key whose deletion is cancelled is disabled.
            Self::PendingDeletion | Self::PendingReplicaDeletion => {
                WayBack::Calls(vec![KeyCall::CancelDeletion, KeyCall::Enable])
            }
            Self::PendingImport => WayBack::People(
                "it has no key material, so nothing that it encrypted can be read. Import the same key material again \
                 (ImportKeyMaterial); nothing else brings it back",
            ),
            // KMS takes EnableKey all the same, and nothing changes.
            Self::Unavailable => WayBack::People(
                "its custom key store is not connected, so nothing that it encrypted can be read. Connect the store again \
                 (ConnectCustomKeyStore), or ask those who run it",
            ),
            Self::Other(_) => WayBack::People(
                "the guardrail does not know this state, and does not guess. Look at the key in the KMS console",
            ),
        }
    }
}

impl std::fmt::Display for KeyState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Purpose {
    /// What DescribeKey says. It has always said the usage; the spec is missing from answers of before 2021, when there
    /// was one.
    pub fn parse(usage: Option<&str>, spec: Option<&str>) -> Self {
        let (usage, spec) = (usage.unwrap_or("ENCRYPT_DECRYPT"), spec.unwrap_or("SYMMETRIC_DEFAULT"));
        match (usage, spec) {
            ("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT") => Self::SymmetricEncryption,
            _ => Self::Other { usage: usage.to_owned(), spec: spec.to_owned() },
        }
    }

    /// Why S3 cannot use the key; `None`: it can.
    pub fn refusal(&self) -> Option<KeyRefusal> {
        match self {
            Self::SymmetricEncryption => None,
            Self::Other { usage, spec } => Some(KeyRefusal::Purpose { usage: usage.clone(), spec: spec.clone() }),
        }
    }
}

impl KmsKey {
    /// The same with what is required; what else its policy says stays as it stands.
    pub fn requiring(&self, required: &RequiredKey) -> Self {
        let Self { state, purpose, rotation, alias_target, policy, unread } = self;
        Self {
            state: if state.way_back() == WayBack::NotNeeded { state.clone() } else { KeyState::Enabled },
            purpose: purpose.clone(),
            rotation: match state {
                _ if required.duty == Duty::Decrypt => *rotation,
                // Only a key that can be used tells whether it rotates.
                KeyState::Enabled | KeyState::Disabled | KeyState::Creating | KeyState::Updating => {
                    rotation.map(|_| true)
                }
                KeyState::PendingDeletion
                | KeyState::PendingReplicaDeletion
                | KeyState::PendingImport
                | KeyState::Unavailable
                | KeyState::Other(_) => *rotation,
            },
            alias_target: if self.knows(KeyPart::Alias) {
                required.alias.as_ref().map(|_| required.arn.to_string())
            } else {
                alias_target.clone()
            },
            policy: if self.knows(KeyPart::Policy) { policy.requiring(&required.statements) } else { policy.clone() },
            unread: unread.clone(),
        }
    }

    /// Whether this part could be read.
    pub fn knows(&self, part: KeyPart) -> bool {
        self.unread.iter().all(|(unread, _)| *unread != part)
    }

    /// The key in AWS's words.
    pub fn to_json(&self) -> Value {
        let Self { state, purpose, rotation, alias_target, policy, unread } = self;
        let mut json = json!({
            "KeyState": state.as_str(), "KeyRotationEnabled": rotation, "AliasTarget": alias_target, "Policy": policy.to_json(),
        });
        if let Purpose::Other { usage, spec } = purpose {
            json["KeyUsage"] = json!(usage);
            json["KeySpec"] = json!(spec);
        }
        for (part, _) in unread {
            let name = match part {
                KeyPart::State => "KeyState",
                KeyPart::Rotation => "KeyRotationEnabled",
                KeyPart::Alias => "AliasTarget",
                KeyPart::Policy => "Policy",
            };
            json[name] = json!(UNREAD);
        }
        json
    }
}

/// The calls that lead from what is to what should be, in an order in which KMS takes them. What they cannot restore,
/// [`unrestorable`] tells.
pub fn calls(drift: &Drift<KmsKey>, required: &RequiredKey) -> Vec<KeyCall> {
    let Drift { observed, desired } = drift;
    let mut calls = match observed.state.way_back() {
        WayBack::Calls(calls) => calls,
        WayBack::NotNeeded | WayBack::People(_) => Vec::new(),
    };
    if observed.rotation != desired.rotation {
        calls.push(KeyCall::EnableRotation);
    }
    if observed.policy != desired.policy && too_long(&desired.policy, &required.statements).is_none() {
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

/// What of a drift no call restores.
pub fn unrestorable(drift: &Drift<KmsKey>, required: &RequiredKey) -> Option<KeyRefusal> {
    let Drift { observed, desired } = drift;
    if let WayBack::People(what_to_do) = observed.state.way_back() {
        return Some(KeyRefusal::State { state: observed.state.clone(), what_to_do });
    }
    observed.purpose.refusal().or_else(|| {
        if observed.policy == desired.policy { None } else { too_long(&desired.policy, &required.statements) }
    })
}

/// Whether the calls prove nothing by themselves: EnableKey succeeds also where it changes nothing, and whether a key
/// rotates shows only once its deletion is cancelled.
pub fn must_be_read_again(drift: &Drift<KmsKey>) -> bool {
    matches!(drift.observed.state.way_back(), WayBack::Calls(_))
}

/// What is wrong when KMS took every call and the key is as it was.
pub fn unmoved(state: &KeyState) -> String {
    format!("KMS took every call, and the key is {state} all the same; look at it in the KMS console")
}

/// Which statements KMS most likely refused the policy for, given its error code, and what to do.
pub fn suspects(policy: &Policy, code: &str) -> Option<String> {
    let labels = policy.dead_principals();
    (code == "MalformedPolicyDocumentException" && !labels.is_empty()).then(|| {
        format!(
            "KMS refuses a key policy that names a deleted user or role: {}; remove it from the key's policy, or set \
             `drop_dead_principals` in the registry document",
            labels.join(", ")
        )
    })
}

/// Why a policy has no room in its key. `ours`: the statements that are not to be blamed.
pub fn too_long(policy: &Policy, ours: &[Statement]) -> Option<KeyRefusal> {
    let bytes = policy.document().len();
    (bytes > MAX_POLICY_BYTES).then(|| {
        let theirs = policy.statements.iter().filter(|it| !ours.contains(it));
        let largest = theirs.max_by_key(|it| it.0.to_string().len()).map(Statement::label);
        KeyRefusal::PolicyTooLong { bytes, largest: largest.unwrap_or_else(|| "a statement".to_owned()) }
    })
}

/// What CloudTrail and S3 Inventory need to encrypt what they deliver. One inventory statement serves all buckets of
/// the account, as a key's policy has room for 32 KB only. In a key policy, `Resource: "*"` is the key itself.
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/create-kms-key-policy-for-cloudtrail.html>
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/configure-inventory.html#configure-inventory-kms-key-policy>
pub fn service_statements(partition: &str, account: &AccountId, trail: Option<&TrailArn>) -> Vec<Statement> {
    let allow = |sid: String, service: &str, action: Value, condition: Value| {
        Statement(json!({
            "Sid": sid, "Effect": "Allow", "Principal": {"Service": service}, "Action": action, "Resource": "*",
            "Condition": condition,
        }))
    };
    let mut statements = vec![allow(
        "GuardrailInventory".to_owned(),
        "s3.amazonaws.com",
        json!("kms:GenerateDataKey"),
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
            json!("kms:GenerateDataKey*"),
            json!({
                "StringEquals": {"aws:SourceArn": trail},
                "StringLike": {"kms:EncryptionContext:aws:cloudtrail:arn": format!("arn:{partition}:cloudtrail:*:{account}:trail/*")},
            }),
        ));
        statements.push(allow(
            format!("GuardrailTrailDescribe{part}"),
            "cloudtrail.amazonaws.com",
            // Decrypt: where the log bucket has a bucket key, what CloudTrail writes with is encrypted itself.
            json!(["kms:Decrypt", "kms:DescribeKey"]),
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
            duty: Duty::Encrypt,
            arn: "arn:aws:kms:eu-west-2:111122223333:key/k".parse().unwrap(),
            alias: Some("alias/s3-secure-data".parse().unwrap()),
            statements: service_statements("aws", &account, Some(&trail)),
            serves: Vec::new(),
        }
    }

    fn good() -> KmsKey {
        let own = r#"{"Statement":{"Sid":"Admins","Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"}}"#;
        let bare = KmsKey {
            state: KeyState::Enabled,
            purpose: Purpose::SymmetricEncryption,
            rotation: Some(true),
            alias_target: None,
            policy: Policy::parse(own).unwrap(),
            unread: Vec::new(),
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
        assert_eq!(restore(KmsKey { rotation: Some(false), ..good() }), [KeyCall::EnableRotation]);
        assert_eq!(restore(KmsKey { rotation: None, ..good() }), [], "imported keys cannot rotate");
        assert_eq!(restore(KmsKey { alias_target: None, ..good() }), [KeyCall::CreateAlias(alias())]);
        let elsewhere = Some("arn:aws:kms:eu-west-2:111122223333:key/other".to_owned());
        assert_eq!(restore(KmsKey { alias_target: elsewhere, ..good() }), [KeyCall::UpdateAlias(alias())]);
    }

    #[test]
    fn every_state_has_its_way_back_or_is_told() {
        use KeyCall::{CancelDeletion, Enable};
        for (state, calls, told) in [
            ("Enabled", &[][..], false),
            ("Creating", &[], false),
            ("Updating", &[], false),
            ("Disabled", &[Enable], false),
            ("PendingDeletion", &[CancelDeletion, Enable], false),
            ("PendingReplicaDeletion", &[CancelDeletion, Enable], false),
            ("PendingImport", &[], true),
            ("Unavailable", &[], true),
            ("InventedIn2027", &[], true),
        ] {
            // A key that is not usable says that it does not rotate.
            let observed = KmsKey { state: KeyState::parse(state), rotation: Some(state == "Enabled"), ..good() };
            let rotation = matches!(state, "Creating" | "Updating" | "Disabled").then_some(KeyCall::EnableRotation);
            let desired = observed.requiring(&required());
            let drift = Drift { observed: observed.clone(), desired };
            let expected: Vec<_> = calls.iter().cloned().chain(rotation).collect();
            assert_eq!(restore(observed), expected, "{state}");
            let beyond = unrestorable(&drift, &required()).map(|it| it.to_string());
            assert_eq!(beyond.is_some(), told, "{state}: {beyond:?}");
            assert!(beyond.is_none_or(|it| it.contains(state)), "{state}");
        }
    }

    #[test]
    fn only_symmetric_keys_for_encryption_are_of_use() {
        for (usage, spec, fits) in [
            (Some("ENCRYPT_DECRYPT"), Some("SYMMETRIC_DEFAULT"), true),
            (Some("ENCRYPT_DECRYPT"), None, true),
            (Some("ENCRYPT_DECRYPT"), Some("RSA_4096"), false),
            (Some("SIGN_VERIFY"), Some("ECC_NIST_P256"), false),
            (Some("GENERATE_VERIFY_MAC"), Some("HMAC_256"), false),
            (Some("KEY_AGREEMENT"), Some("ECC_NIST_P384"), false),
            (Some("INVENTED_IN_2027"), Some("SYMMETRIC_DEFAULT"), false),
        ] {
            assert_eq!(Purpose::parse(usage, spec).refusal().is_none(), fits, "{usage:?} {spec:?}");
        }
    }

    #[test]
    fn a_policy_without_room_is_not_put_and_the_rest_is_restored() {
        let theirs =
            json!({"Sid": "Huge", "Effect": "Allow", "Principal": "*", "Action": "a".repeat(32_700), "Resource": "*"});
        let policy = Policy::parse(&json!({"Statement": [theirs]}).to_string()).unwrap();
        let observed = KmsKey { policy, state: KeyState::Disabled, ..good() };
        let drift = Drift { desired: observed.requiring(&required()), observed };
        assert_eq!(calls(&drift, &required()), [KeyCall::Enable]);
        let told = unrestorable(&drift, &required()).unwrap().to_string();
        assert!(told.contains("32768") && told.contains("statement `Huge`"), "{told}");
    }

    #[test]
    fn a_trail_statement_of_before_decrypt_was_needed_is_replaced() {
        let mut policy = good().policy;
        let describe = policy.statements.last_mut().unwrap();
        assert_eq!(describe.0["Action"], json!(["kms:Decrypt", "kms:DescribeKey"]));
        describe.0["Action"] = json!("kms:DescribeKey");
        let calls = restore(KmsKey { policy, ..good() });
        assert_eq!(calls, [KeyCall::PutPolicy(good().policy.document())]);
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

    #[test]
    fn a_former_key_must_only_stay_usable() {
        let required = RequiredKey { duty: Duty::Decrypt, alias: None, statements: Vec::new(), ..required() };
        let usable = KmsKey { rotation: Some(false), alias_target: None, ..good() };
        assert_eq!(usable.requiring(&required), usable, "nothing new is encrypted with it");
        let disabled = KmsKey { state: KeyState::Disabled, ..usable.clone() };
        assert_eq!(disabled.requiring(&required), usable);
    }

    #[test]
    fn what_could_not_be_read_is_left_and_shown_as_unread() {
        let parts = [KeyPart::State, KeyPart::Rotation, KeyPart::Alias, KeyPart::Policy];
        for part in parts {
            let unread = vec![(part, ApiError::new("Get", "denied"))];
            let observed = KmsKey { alias_target: None, policy: Policy::default(), unread: unread.clone(), ..good() };
            let desired = observed.requiring(&required());
            assert_eq!(parts.map(|it| observed.knows(it)), parts.map(|it| it != part));
            assert_eq!(desired.alias_target.is_none(), part == KeyPart::Alias, "{part:?}");
            assert_eq!(desired.policy == Policy::default(), part == KeyPart::Policy, "{part:?}");
            assert_eq!(desired.unread, unread);
            let json = observed.to_json();
            let shown: Vec<_> = json.as_object().unwrap().iter().filter(|it| it.1 == UNREAD).map(|it| it.0).collect();
            let names = ["KeyState", "KeyRotationEnabled", "AliasTarget", "Policy"];
            assert_eq!(shown, [names[parts.iter().position(|it| *it == part).unwrap()]]);
        }
    }

    #[test]
    fn people_see_what_a_key_is_and_what_it_is_for_if_that_is_wrong() {
        let fine = KmsKey { policy: Policy::default(), ..good() };
        assert_eq!(
            fine.to_json(),
            json!({
                "KeyState": "Enabled", "KeyRotationEnabled": true, "AliasTarget": "arn:aws:kms:eu-west-2:111122223333:key/k",
                "Policy": Policy::default().to_json(),
            })
        );
        let signs = KmsKey { purpose: Purpose::parse(Some("SIGN_VERIFY"), Some("ECC_NIST_P256")), ..good() };
        let json = signs.to_json();
        assert_eq!((&json["KeyUsage"], &json["KeySpec"]), (&json!("SIGN_VERIFY"), &json!("ECC_NIST_P256")));
    }

    #[test]
    fn a_key_that_is_called_back_is_read_again() {
        for (state, again) in [
            ("Enabled", false),
            ("Creating", false),
            ("Disabled", true),
            ("PendingDeletion", true),
            ("Unavailable", false),
        ] {
            let observed = KmsKey { state: KeyState::parse(state), ..good() };
            let drift = Drift { desired: observed.requiring(&required()), observed };
            assert_eq!(must_be_read_again(&drift), again, "{state}");
        }
    }

    #[test]
    fn a_policy_fits_to_the_byte() {
        let of_length = |bytes: usize| {
            let statement = |fill: usize| json!({"Sid": "a", "Effect": "Allow", "Action": "x".repeat(fill)});
            let policy = |fill: usize| Policy::parse(&json!({"Statement": [statement(fill)]}).to_string()).unwrap();
            policy(bytes - policy(0).document().len())
        };
        assert_eq!(too_long(&of_length(MAX_POLICY_BYTES), &[]), None);
        let long = of_length(MAX_POLICY_BYTES + 1);
        let told = |ours: &[Statement]| too_long(&long, ours).unwrap().to_string();
        assert!(told(&[]).contains("32769") && told(&[]).contains("statement `a`"), "{}", told(&[]));
        assert!(told(&long.statements).contains("shorten a statement"), "{}", told(&long.statements));
    }
}
