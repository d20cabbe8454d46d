//! What the ledger holds of a subject: what was seen, written and told. Never what decides whether something is guarded.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{control::table::Control, outcome::trigger::Trigger};

/// What is open when nothing could be found out about the bucket, or it is gone.
pub const BUCKET: &str = "bucket";

/// What an exemption is told under, before its control's id.
pub const EXEMPTION: &str = "exemption of ";

/// What a document is open under, before its control's id, that would keep us from our work.
pub const HINDRANCE: &str = "hindrance in ";

/// The version of what an item means. Of a newer one nothing is believed, and nothing is written over it.
pub const MEANING: u32 = 1;

/// A subject's item.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Item {
    pub meaning: u32,
    /// When the subject was last looked at, as far as that was written down.
    pub looked: Option<Timestamp>,
    /// What is not as it should be, by what it is about.
    pub open: BTreeMap<String, Open>,
    /// The last write of each control.
    pub writes: BTreeMap<Control, Write>,
    /// What looks are about to write, by look.
    pub intents: BTreeMap<String, Intent>,
    /// What people have to be told of.
    pub untold: Vec<Fact>,
    /// Who is telling them.
    pub telling: Option<Claim>,
    /// When each control was restored within the last hour.
    pub restores: BTreeMap<Control, Vec<Timestamp>>,
    /// Controls over which somebody fights with us.
    pub fights: BTreeMap<Control, Fight>,
    /// Exemptions in force, as far as people are told of them.
    pub exemptions: BTreeMap<Control, Permitted>,
    /// What people were last told of, as long as it goes on.
    pub incident: Option<Incident>,
    /// The latest calls of others that led to looks.
    pub calls: Vec<Trigger>,
    /// What a later version may add is kept.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Open {
    /// In what way. Another way is told at once.
    pub state: String,
    /// The same in a word.
    #[serde(default)]
    pub kind: OpenKind,
    pub since: Timestamp,
    /// When people were last told of it, in this state or an earlier one; `None`: they were not yet.
    #[serde(default)]
    pub told: Option<Timestamp>,
    /// Who made the latest call that can have caused it. Another caller is told at once.
    #[serde(default)]
    pub caller: Option<String>,
}

/// In what way something is not as it should be; of several the last counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OpenKind {
    /// The account enforces the same.
    EnforcedAbove,
    /// Its owner may let it drift.
    Exempt,
    /// It is only observed.
    Observed,
    /// A later look restores it.
    Left,
    /// A document would keep us from our work.
    Endangered,
    /// It could not be restored, or did not stay so.
    Failed,
    Unreadable,
    Gone,
    /// Another version of the guardrail knows.
    #[default]
    #[serde(other)]
    Unknown,
}

/// A write of ours.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Write {
    pub look: String,
    /// When it was sent; `None`: an earlier version of the guardrail made it, and did not say.
    #[serde(default)]
    pub sent: Option<Timestamp>,
    /// When AWS had answered.
    pub ended: Timestamp,
}

/// When a look restored a control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restore {
    /// When the last read that showed it as drifted began.
    pub read: Timestamp,
    /// Our write, of several the last; `None`: somebody else restored it between the read and the write.
    pub written: Option<Span>,
}

/// When a write of ours was on its way: at some moment of that it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub sent: Timestamp,
    /// When AWS had answered.
    pub ended: Timestamp,
}

/// That a look is about to write.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Intent {
    pub controls: Vec<Control>,
    pub begun: Timestamp,
    /// After this the look has crashed.
    pub until: Timestamp,
}

/// That a look is telling people.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Claim {
    pub look: String,
    /// Of what, by id.
    pub facts: Vec<String>,
    /// After this anybody else may.
    pub until: Timestamp,
}

/// Something that people have to be told of.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Fact {
    /// Unique in its item.
    pub id: String,
    pub kind: FactKind,
    /// A control's id, or what else it is about.
    pub about: String,
    pub at: Timestamp,
    /// Since when it has been so.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// The calls that can have caused it.
    #[serde(default)]
    pub calls: Vec<Trigger>,
    /// In a sentence, for whoever tells it without having seen it.
    pub text: String,
    /// Somebody has to get up for it.
    #[serde(default)]
    pub critical: bool,
    /// People know from the second topic that there is something.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_hinted: bool,
}

impl Fact {
    /// Whether it is what this look found itself.
    pub fn is_of(&self, look: &str) -> bool {
        self.id.strip_prefix(look).is_some_and(|it| it.starts_with(' '))
    }
}

/// What kind of thing people are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FactKind {
    /// It had drifted and was restored.
    Restored,
    /// It is not as it should be, since now or in another way than before.
    Opened,
    /// It still is not.
    Reminder,
    /// It is as it should be again.
    Cleared,
    /// It is restored again and again.
    Fight,
    /// It is good again; a look that began to restore it did not end.
    Interrupted,
    /// An exemption ends, has ended, or lasts long.
    Exemption,
    /// Somebody's call changed a part of the guardrail.
    Tampered,
    /// Somebody's call tried to change one and failed.
    Attempted,
}

/// Restores of a control that do not end.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Fight {
    pub since: Timestamp,
    /// When people are told again, at the earliest.
    pub tell_at: Timestamp,
}

/// An exemption in force.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Permitted {
    pub until: Timestamp,
    /// People were told that it is about to end.
    #[serde(default)]
    pub end_is_told: bool,
    /// When people were last told of it.
    #[serde(default)]
    pub told: Option<Timestamp>,
}

impl Permitted {
    /// Until then, and nobody was told of it.
    pub fn new(until: Timestamp) -> Self {
        Self { until, end_is_told: false, told: None }
    }
}

/// One thing that somebody is doing.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Incident {
    pub id: String,
    pub caller: Option<String>,
    pub last: Timestamp,
}

impl Default for Item {
    fn default() -> Self {
        Self {
            meaning: MEANING,
            looked: None,
            open: BTreeMap::new(),
            writes: BTreeMap::new(),
            intents: BTreeMap::new(),
            untold: Vec::new(),
            telling: None,
            restores: BTreeMap::new(),
            fights: BTreeMap::new(),
            exemptions: BTreeMap::new(),
            incident: None,
            calls: Vec::new(),
            unknown: Map::new(),
        }
    }
}
