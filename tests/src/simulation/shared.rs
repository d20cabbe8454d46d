//! What all buckets lean on: the key and the trail, what of them is off its baseline, and who changes them.

use std::rc::Rc;

use fastrand::Rng;
use guardrail_core::control::table::Control;
use guardrail_simulator::{Time, What, Writer};
use serde_json::{Value, json};

use super::{
    Run,
    chain::{Event, tell},
    name,
    settings::{Version, document_of, owners_number, set as set_document, statement_number, statements},
    sleep,
};
use crate::fake::{ALIAS, FakeAws, FakeKey, KEY, TRAIL, wire::Call};

/// All of the key, as the versions of it have it.
pub(super) const KEY_DOCUMENT: &str = "key";

/// All of the trail.
pub(super) const TRAIL_DOCUMENT: &str = "trail";

/// What one call tells of the key or the trail, or changes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    State,
    Rotation,
    Policy,
    Alias,
    Settings,
    Logging,
    Selectors,
}

impl Part {
    pub(super) const ALL: [Self; 7] =
        [Self::State, Self::Rotation, Self::Policy, Self::Alias, Self::Settings, Self::Logging, Self::Selectors];

    /// Which part a call is about; `None`: it is none of these.
    pub(super) fn of_call(call: &Call) -> Option<Self> {
        Some(match call.operation.as_str() {
            "DescribeKey" if call.body.contains("\"alias/") => Self::Alias,
            "DescribeKey" | "CancelKeyDeletion" | "EnableKey" => Self::State,
            "GetKeyRotationStatus" | "EnableKeyRotation" => Self::Rotation,
            "GetKeyPolicy" | "PutKeyPolicy" => Self::Policy,
            "CreateAlias" | "UpdateAlias" => Self::Alias,
            "GetTrail" | "CreateTrail" | "UpdateTrail" => Self::Settings,
            "GetTrailStatus" | "StartLogging" => Self::Logging,
            "GetEventSelectors" | "PutEventSelectors" => Self::Selectors,
            _ => return None,
        })
    }

    pub(super) fn control(self) -> Control {
        match self {
            Self::State | Self::Rotation | Self::Policy | Self::Alias => Control::KmsKey,
            Self::Settings | Self::Logging | Self::Selectors => Control::Trail,
        }
    }

    /// A name for what was read of it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Rotation => "rotation",
            Self::Policy => "key-policy",
            Self::Alias => "alias",
            Self::Settings => "settings",
            Self::Logging => "logging",
            Self::Selectors => "selectors",
        }
    }

    /// Whether this part of a document is off its baseline, for so many buckets. Independent of how the guardrail decides.
    pub(super) fn is_broken(self, text: Option<&str>, buckets: usize) -> bool {
        let Some(it) = text.and_then(|it| serde_json::from_str::<Value>(it).ok()) else { return true };
        match self {
            Self::State => it["state"] != "Enabled",
            // KMS says of a key that is to be deleted that it does not rotate.
            Self::Rotation => it["rotation"] != true || it["state"] == "PendingDeletion",
            Self::Policy => {
                let has = |sid: &str| {
                    policy_of(&it).iter().any(|it| it["Sid"].as_str().is_some_and(|it| it.starts_with(sid)))
                };
                !["GuardrailInventory", "GuardrailTrailEncrypt", "GuardrailTrailDescribe"].into_iter().all(has)
            }
            Self::Alias => it["aliases"][ALIAS] != KEY,
            Self::Settings => {
                let is_encrypted = it["KmsKeyId"].as_str().is_some_and(|it| !it.is_empty());
                it["IsMultiRegionTrail"] != true || it["EnableLogFileValidation"] != true || !is_encrypted
            }
            Self::Logging => it["IsLogging"] != true,
            Self::Selectors => {
                let text = it["AdvancedEventSelectors"].to_string();
                let names = |bucket| text.contains(&format!("\"arn:aws:s3:::{}/\"", name(bucket)));
                !logs_management(&it) || !(0..buckets).all(names)
            }
        }
    }
}

/// Whether a control's document is off its baseline.
pub(super) fn is_broken(control: Control, text: Option<&str>, buckets: usize) -> bool {
    Part::ALL.into_iter().any(|it| it.control() == control && it.is_broken(text, buckets))
}

/// Whether the trail logs management writes, without which EventBridge hears of nothing.
fn logs_management(trail: &Value) -> bool {
    let mut selectors = trail["AdvancedEventSelectors"].as_array().into_iter().flatten();
    selectors.any(|it| {
        let fields = it["FieldSelectors"].as_array();
        let has = |field: &str, value: &str| {
            fields.into_iter().flatten().any(|it| it["Field"] == field && it["Equals"] == json!([value]))
        };
        has("eventCategory", "Management") && !has("readOnly", "true")
    })
}

fn policy_of(key: &Value) -> Vec<Value> {
    statements(key["policy"].as_str().unwrap_or_default())
}

/// The key or the trail as it is; `None`: it is no document of theirs.
pub(super) fn document(fake: &FakeAws, name: &str) -> Option<Option<String>> {
    let state = fake.state();
    match name {
        KEY_DOCUMENT => Some(state.key.as_ref().map(|it| {
            let FakeKey { state, rotation, policy, aliases, .. } = it;
            json!({"state": state, "rotation": rotation, "policy": policy, "aliases": aliases}).to_string()
        })),
        TRAIL_DOCUMENT => Some(state.trail.as_ref().map(Value::to_string)),
        _ => None,
    }
}

/// Puts it; `false`: it is no document of theirs.
pub(super) fn set(fake: &FakeAws, name: &str, text: Option<&str>) -> bool {
    let value: Option<Value> = text.and_then(|it| serde_json::from_str(it).ok());
    let mut state = fake.state();
    match name {
        KEY_DOCUMENT => {
            let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
            state.key = value.map(|it| FakeKey {
                state: text(&it["state"]),
                rotation: it["rotation"] == true,
                policy: text(&it["policy"]),
                aliases: it["aliases"].as_object().into_iter().flatten().map(|it| (it.0.clone(), text(it.1))).collect(),
                ..FakeKey::good()
            });
            true
        }
        TRAIL_DOCUMENT => {
            state.trail = value;
            true
        }
        _ => false,
    }
}

/// The owner's statements of a key's policy, and their selectors of a trail.
pub(super) fn owners(text: &str) -> Vec<u16> {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let selectors = value["AdvancedEventSelectors"].as_array().into_iter().flatten();
    let numbers = selectors.filter_map(|it| owners_number(it["Name"].as_str()?));
    numbers.chain(policy_of(&value).iter().filter_map(statement_number)).collect()
}

/// A call, and what it makes of the document; `None`: it would fail.
type Move = (&'static str, Option<Value>);

/// What an insider may do to the key. What would fail is not done.
fn key_move(key: Value, rng: &mut Rng) -> Move {
    let state = key["state"].as_str().unwrap_or_default().to_owned();
    let with = |field: &str, value: Value| {
        let mut key = key.clone();
        key[field] = value;
        Some(key)
    };
    let is_alive = state != "PendingDeletion";
    match rng.u8(..6) {
        0 => ("DisableKey", with("state", json!("Disabled")).filter(|_| is_alive)),
        1 => ("ScheduleKeyDeletion", with("state", json!("PendingDeletion")).filter(|_| is_alive)),
        2 => ("DisableKeyRotation", with("rotation", json!(false)).filter(|_| state == "Enabled")),
        3 => {
            let keeps_owners = rng.bool();
            let mut kept = policy_of(&key);
            kept.retain(|it| match statement_number(it) {
                Some(_) => keeps_owners,
                None => it["Sid"] == "Administrators",
            });
            let policy = json!({"Version": "2012-10-17", "Statement": kept}).to_string();
            ("PutKeyPolicy", with("policy", json!(policy)).filter(|_| is_alive))
        }
        4 => ("DeleteAlias", with("aliases", json!({})).filter(|it| it["aliases"] != key["aliases"])),
        _ => {
            let theirs = json!({ALIAS: format!("{KEY}-of-others")});
            ("UpdateAlias", with("aliases", theirs).filter(|_| is_alive && key["aliases"] != json!({})))
        }
    }
}

/// The same of the trail; an empty document: there is none any more.
fn trail_move(trail: Value, rng: &mut Rng) -> Move {
    let with = |fields: Value| {
        let mut trail = trail.clone();
        trail.as_object_mut()?.extend(fields.as_object()?.clone());
        Some(trail)
    };
    let selectors = |keeps: &dyn Fn(&Value) -> bool| {
        let all = trail["AdvancedEventSelectors"].as_array().cloned().unwrap_or_default();
        all.into_iter().filter(|it| keeps(it)).collect::<Vec<_>>()
    };
    let is_management = |it: &Value| it.to_string().contains("Management");
    match rng.u8(..6) {
        0 | 1 => ("StopLogging", with(json!({"IsLogging": false}))),
        2 => ("UpdateTrail", with(json!({"EnableLogFileValidation": false}))),
        // All buckets' objects, or all that tells of calls.
        3 => {
            let kept = selectors(&is_management);
            ("PutEventSelectors", with(json!({ "AdvancedEventSelectors": kept })).filter(|_| !kept.is_empty()))
        }
        4 => {
            let reads = json!({"Name": "reads", "FieldSelectors": [
                {"Field": "eventCategory", "Equals": ["Management"]}, {"Field": "readOnly", "Equals": ["true"]},
            ]});
            ("PutEventSelectors", with(json!({ "AdvancedEventSelectors": [reads] })))
        }
        _ => ("DeleteTrail", Some(Value::Null)),
    }
}

/// What an event of such a call names.
fn parameters(name: &str, rng: &mut Rng) -> Value {
    let id = KEY.rsplit('/').next().unwrap_or_default();
    match name {
        "DeleteAlias" => json!({ "aliasName": ALIAS }),
        "UpdateAlias" => json!({"aliasName": ALIAS, "targetKeyId": format!("{id}-of-others")}),
        "StopLogging" | "UpdateTrail" | "DeleteTrail" => json!({ "name": TRAIL }),
        "PutEventSelectors" => json!({"trailName": TRAIL.rsplit('/').next()}),
        _ => json!({"keyId": if rng.bool() { KEY } else { id }}),
    }
}

impl Run {
    /// Whether EventBridge hears of a call now.
    pub(super) fn is_recorded(&self) -> bool {
        let state = self.fake.state();
        state.trail.as_ref().is_some_and(|it| it["IsLogging"] == true && logs_management(it))
    }

    /// Somebody else's call changes the key or the trail.
    fn call_shared(self: &Rc<Self>, writer: Writer, control: Control, name: &str, parameters: Value, new: &Value) {
        let (now, number) = (self.now(), self.chain.borrow_mut().event_number());
        let (place, at) = (self.options.place_of(0, control), document_of(control));
        let text = Some(new).filter(|it| !it.is_null()).map(Value::to_string);
        let is_broken = is_broken(control, text.as_deref(), self.options.buckets);
        let owners = text.as_deref().map(owners).unwrap_or_default();
        self.note(place, What::Called { writer, control, drifts: is_broken, event: number });
        let source = if control == Control::KmsKey { "kms" } else { "cloudtrail" };
        let event = Event::of_others(self, number, writer, (place, control), (source, name), parameters);
        // Also the call that stops a trail is told of.
        tell(self, event, "aws-cli/2.31.38");
        self.others_wrote(place, control, is_broken, &owners);
        set_document(&self.fake, place, at, text.as_deref());
        self.settings.borrow_mut().put(place, at, Version { since: now, event: number, text, is_broken, owners });
    }

    fn shared_now(&self, control: Control) -> Option<Value> {
        let settings = self.settings.borrow();
        let now = settings.of(self.options.place_of(0, control), control).text.as_deref()?;
        serde_json::from_str(now).ok()
    }

    /// An insider takes the key or the trail off its baseline.
    pub(super) fn harm(self: &Rc<Self>, control: Control, rng: &mut Rng) {
        let Some(now) = self.shared_now(control) else { return };
        let (name, new) = if control == Control::KmsKey { key_move(now, rng) } else { trail_move(now, rng) };
        if let Some(new) = new {
            let named = parameters(name, rng);
            self.call_shared(Writer::Insider, control, name, named, &new);
        }
    }

    /// An owner adds a statement to the key's policy, or a selector to the trail, in a read, a moment's thought and a
    /// write.
    pub(super) async fn add_to_shared(self: &Rc<Self>, control: Control, thought: Time, rng: &mut Rng) {
        let Some(read) = self.shared_now(control) else { return };
        sleep(rng.u64(20..thought)).await;
        let (Some(mut now), number) =
            (self.shared_now(control), owners(&read.to_string()).into_iter().max().unwrap_or(0) + 1)
        else {
            return;
        };
        if number > MOST_ENTRIES || now["state"] == "PendingDeletion" {
            return;
        }
        let name = if control == Control::KmsKey {
            let mut all = policy_of(&read);
            all.push(json!({
                "Sid": format!("Owner{number}"), "Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*",
                "Principal": {"AWS": "arn:aws:iam::111122223333:role/app"},
            }));
            now["policy"] = json!(json!({"Version": "2012-10-17", "Statement": all}).to_string());
            "PutKeyPolicy"
        } else {
            let mut all = read["AdvancedEventSelectors"].as_array().cloned().unwrap_or_default();
            all.push(json!({"Name": format!("Owner{number}"), "FieldSelectors": [
                {"Field": "eventCategory", "Equals": ["Data"]}, {"Field": "resources.type", "Equals": ["AWS::Lambda::Function"]},
            ]}));
            now["AdvancedEventSelectors"] = json!(all);
            "PutEventSelectors"
        };
        let named = parameters(name, rng);
        self.call_shared(Writer::Owner, control, name, named, &now);
    }
}

/// An owner has no more in a key's policy or a trail.
const MOST_ENTRIES: u16 = 5;
