//! KMS: keys, their policies and aliases.

use guardrail_core::value::names::Arn;
use serde_json::{Value, json};

use crate::fake::{
    s3::reordered,
    world::{FORMER_KEY, FakeKey, KEY, OWN_KEY, State},
};

impl State {
    pub(super) fn serve_keys(&mut self, operation: &str, input: &Value, region: &str) -> Result<Value, &'static str> {
        let text = |name: &str| input[name].as_str().unwrap_or_default().to_owned();
        match operation {
            "ListKeys" => {
                let arns = self.other_keys.keys().map(String::as_str).chain(self.key.iter().map(|_| KEY));
                let keys: Vec<_> = arns.map(|it| json!({"KeyArn": it, "KeyId": "k"})).collect();
                Ok(json!({"Keys": keys, "Truncated": false}))
            }
            // Two keys for one alias would be one too many.
            "CreateKey" if self.key.is_some() => Err("LimitExceededException"),
            "CreateKey" => {
                self.key = Some(FakeKey {
                    rotation: false,
                    policy: text("Policy"),
                    tags: input["Tags"].clone(),
                    ..FakeKey::good()
                });
                Ok(json!({"KeyMetadata": {"KeyId": "k", "Arn": KEY}}))
            }
            _ => self.serve_key(operation, input, region),
        }
    }

    fn serve_key(&mut self, operation: &str, input: &Value, region: &str) -> Result<Value, &'static str> {
        const WRONG_STATE: &str = "KMSInvalidStateException";
        let text = |name: &str| input[name].as_str().unwrap_or_default().to_owned();
        // "Invalid arn us-east-1"
        if Arn::parse(&text("KeyId")).is_some_and(|it| it.region != region) {
            return Err("NotFoundException");
        }
        let own = [text("KeyId"), text("TargetKeyId")].contains(&OWN_KEY.to_owned())
            || [text("KeyId"), text("AliasName")].contains(&"alias/s3-guardrail".to_owned());
        let former = text("KeyId") == FORMER_KEY;
        let key = match (own, former) {
            (true, _) => self.own_key.as_mut(),
            (_, true) => self.former_key.as_mut(),
            _ => self.other_keys.get_mut(&text("KeyId")).or(self.key.as_mut()),
        };
        let key = key.ok_or("NotFoundException")?;
        let pending = key.is_pending_deletion();
        match operation {
            "DescribeKey" => {
                let named = text("KeyId");
                let arn = if named.starts_with("alias/") { key.aliases.get(&named) } else { Some(&named) };
                let arn = arn.ok_or("NotFoundException")?;
                if self.closed_keys.contains(arn) {
                    return Err("AccessDeniedException");
                }
                let enabled = key.state == "Enabled";
                return Ok(json!({"KeyMetadata": {
                    "KeyId": "k", "Arn": arn, "KeyState": key.state, "Enabled": enabled, "KeyUsage": key.usage,
                    "KeySpec": key.spec, "Origin": key.origin, "KeyManager": "CUSTOMER",
                }}));
            }
            "GetKeyRotationStatus" if !key.can_rotate() => return Err("UnsupportedOperationException"),
            "GetKeyRotationStatus" => return Ok(json!({"KeyRotationEnabled": key.rotation && !pending})),
            "GetKeyPolicy" => return Ok(json!({"Policy": reordered(&key.policy)})),
            "ListResourceTags" => return Ok(json!({"Tags": key.tags})),
            "ListAliases" => {
                let aliases = key.aliases.iter().filter(|it| *it.1 == text("KeyId"));
                let aliases = aliases.map(|(name, target)| json!({"AliasName": name, "TargetKeyId": target}));
                return Ok(json!({"Aliases": aliases.collect::<Vec<_>>(), "Truncated": false}));
            }
            "DeleteAlias" => drop(key.aliases.remove(&text("AliasName")).ok_or("NotFoundException")?),
            "ScheduleKeyDeletion" if pending => return Err(WRONG_STATE),
            "ScheduleKeyDeletion" => key.state = "PendingDeletion".to_owned(),
            "CancelKeyDeletion" if !pending => return Err(WRONG_STATE),
            "CancelKeyDeletion" => key.state = "Disabled".to_owned(),
            "DeleteImportedKeyMaterial" if key.origin != "EXTERNAL" => return Err("UnsupportedOperationException"),
            "DeleteImportedKeyMaterial" => key.state = "PendingImport".to_owned(),
            // KMS takes it, and the key stays what it is until its store is back.
            "EnableKey" if key.state == "Unavailable" => {}
            "EnableKey" if key.state == "Enabled" || key.state == "Disabled" => key.state = "Enabled".to_owned(),
            "EnableKey" => return Err(WRONG_STATE),
            "EnableKeyRotation" if !key.can_rotate() => return Err("UnsupportedOperationException"),
            "EnableKeyRotation" if key.state == "Disabled" => return Err("DisabledException"),
            "EnableKeyRotation" if key.state != "Enabled" => return Err(WRONG_STATE),
            "EnableKeyRotation" => key.rotation = true,
            "PutKeyPolicy" | "CreateAlias" | "UpdateAlias" if pending => return Err(WRONG_STATE),
            "PutKeyPolicy" if text("Policy").len() > 32 * 1024 => return Err("LimitExceededException"),
            "PutKeyPolicy" if text("Policy").contains("\"AIDA") || text("Policy").contains("\"AROA") => {
                return Err("MalformedPolicyDocumentException");
            }
            "PutKeyPolicy" => key.policy = text("Policy"),
            "CreateAlias" if key.aliases.contains_key(&text("AliasName")) => return Err("AlreadyExistsException"),
            "UpdateAlias" if !key.aliases.contains_key(&text("AliasName")) => return Err("NotFoundException"),
            "CreateAlias" | "UpdateAlias" => drop(key.aliases.insert(text("AliasName"), text("TargetKeyId"))),
            _ => return Err("UnknownOperationException"),
        }
        Ok(json!({}))
    }
}
