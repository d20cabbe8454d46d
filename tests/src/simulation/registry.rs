//! The registry and its index: who changes them, and what they hide meanwhile.

use std::rc::Rc;

use fastrand::Rng;
use guardrail_core::{
    control::table::Control,
    value::own_parts::{SWEPT, USES},
};
use guardrail_simulator::{MINUTE, SECOND, Time, What, Writer, timestamp};
use serde_json::{Value, json};

use super::{
    Run,
    chain::{Event, tell},
    name, parameter, sleep,
};
use crate::fake::{ALIAS, KEY, TRAIL};

/// For how long the index is believed.
const BELIEVED: jiff::SignedDuration = jiff::SignedDuration::from_mins(30);

/// Where the index has what the buckets lean on.
fn entries(control: Control) -> Vec<String> {
    let last = |it: &str| it.rsplit('/').next().unwrap_or_default().to_owned();
    match control {
        Control::KmsKey => vec![format!("{USES}key/{}", last(KEY)), format!("{USES}alias/{}", last(ALIAS))],
        Control::Trail => vec![format!("{USES}trail/{}", last(TRAIL))],
        _ => Vec::new(),
    }
}

/// Somebody writes an entry of the index by hand, and may be about to harm what it leads to.
pub(super) async fn mislead(run: &Rc<Run>, rng: &mut Rng) {
    let control = if rng.bool() { Control::KmsKey } else { Control::Trail };
    let entries = entries(control);
    let entry = if rng.u8(..4) == 0 { entries.last() } else { entries.first() }.cloned().unwrap_or_default();
    let buckets = match rng.u8(..4) {
        0 | 1 => None,
        // Of a bucket that has nothing to do with it, or one of several alone.
        2 => Some("theirs".to_owned()),
        _ => Some(name(rng.usize(..run.options.buckets))),
    };
    let text = buckets.map(|it| json!({ "buckets": [it] }).to_string());
    run.write_parameter(Writer::Insider, entry, text);
    if rng.u8(..8) > 0 {
        sleep(rng.u64(SECOND..MINUTE)).await;
        run.harm(control, rng);
    }
}

/// Infrastructure code, or an operator, loses a bucket's document or a part of it, and some time later puts it back.
pub(super) async fn forget(run: &Rc<Run>, bucket: usize, rng: &mut Rng) {
    let before = run.fake.state().parameters.get(&parameter(bucket)).cloned();
    let Some(before) = before else { return };
    let writer = if rng.bool() { Writer::Robot } else { Writer::Operator };
    let text = match rng.u8(..3) {
        0 => None,
        1 => Some("{".to_owned()),
        _ => {
            let mut document: Value = serde_json::from_str(&before).unwrap_or_default();
            let fields = document.as_object_mut();
            fields.into_iter().for_each(|it| it.retain(|field, _| field != "key_alias" && field != "trail_arn"));
            Some(document.to_string())
        }
    };
    run.write_parameter(writer, parameter(bucket), text);
    sleep(rng.u64(SECOND..3 * MINUTE)).await;
    run.write_parameter(writer, parameter(bucket), Some(before));
}

impl Run {
    /// Somebody else writes a parameter of the guardrail's; `None` deletes it.
    fn write_parameter(self: &Rc<Self>, writer: Writer, parameter: String, text: Option<String>) {
        let number = self.chain.borrow_mut().event_number();
        let place = self.options.elsewhere();
        self.note(place, What::Parameter { writer, parameter: parameter.clone(), event: number });
        let name = if text.is_some() { "PutParameter" } else { "DeleteParameter" };
        // It is of no control; the first one stands there, and nobody looks at it.
        let of = (place, Control::PublicAccessBlock);
        let event = Event::of_others(self, number, writer, of, ("ssm", name), json!({ "name": parameter }));
        tell(self, event, "aws-cli/2.31.38");
        match text {
            Some(text) => drop(self.fake.state().parameters.insert(parameter, text)),
            None => drop(self.fake.state().parameters.remove(&parameter)),
        }
        self.see_registry();
    }

    /// Notes from when to when the registry or its index leads nobody, or not everybody, to a place.
    pub(super) fn see_registry(&self) {
        let now = self.now();
        for place in self.options.guarded() {
            let is_hidden = self.is_hidden(place);
            let mut holds = self.holds.borrow_mut();
            let until = holds.hidden_until.entry(place).or_default();
            if is_hidden {
                *until = Time::MAX;
            } else if *until == Time::MAX {
                *until = now;
            }
        }
    }

    fn is_hidden(&self, place: usize) -> bool {
        let state = self.fake.state();
        let document =
            |bucket| -> Option<Value> { serde_json::from_str(state.parameters.get(&parameter(bucket))?).ok() };
        if place < self.options.buckets {
            return document(place).is_none();
        }
        let is_whole = |bucket| document(bucket).is_some_and(|it| it["key_alias"] == ALIAS && it["trail_arn"] == TRAIL);
        if !(0..self.options.buckets).all(is_whole) {
            return true;
        }
        let now = timestamp(self.now());
        let swept = state.parameters.get(SWEPT).and_then(|it| it.parse::<jiff::Timestamp>().ok());
        let is_believed = swept.is_some_and(|it| it <= now && now.duration_since(it) < BELIEVED);
        let names_all = |entry: &String| {
            let users: Value =
                state.parameters.get(entry).and_then(|it| serde_json::from_str(it).ok()).unwrap_or_default();
            let has = |bucket| users["buckets"].as_array().is_some_and(|it| it.contains(&json!(name(bucket))));
            (0..self.options.buckets).all(has)
        };
        let control = if place == self.options.key() { Control::KmsKey } else { Control::Trail };
        is_believed && !entries(control).iter().all(names_all)
    }
}
