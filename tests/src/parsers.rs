//! What each parser's input goes through behind it, for whoever throws input at them: the tests, and the fuzzer.
//!
//! Each says whether it understood; none may panic, whatever it is given.

use guardrail::input::Input;
use guardrail_core::{
    control::{
        bucket_policy::{self, PolicyVariant},
        lifecycle::{Lifecycle, LifecycleDays},
    },
    decide::baseline::Baseline,
    edge::{log_file, message::Message, registry::Registration},
    outcome::record::Record,
    value::{policy::Policy, xml::Element},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::fake::{BUCKET, KEY, ROLE};

/// A parser, and what comes after it.
pub type Parser = fn(&str) -> bool;

/// All of them, by the name of their folder in `tests/corpus`.
pub const PARSERS: [(&str, Parser); 6] = [
    ("event", event),
    ("registry", registry),
    ("policy", policy),
    ("lifecycle", lifecycle),
    ("record", record),
    ("log", log),
];

/// What every event goes through.
pub fn event(text: &str) -> bool {
    let from_queue = Message::from_body(text).is_ok();
    let Ok(value) = serde_json::from_str::<Value>(text) else { return from_queue };
    match Input::parse(value) {
        Ok(Input::One(Message::Event(event))) => {
            let told = json!(event.trigger).to_string();
            assert!(told.len() < 100_000, "what people are told is cut: {}", told.len());
            let _ = event.generation(&ROLE.parse().expect("a role"));
            true
        }
        Ok(_) => true,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// What every registry document goes through.
pub fn registry(text: &str) -> bool {
    let Ok(registration) = Registration::parse(text, &BUCKET.parse().expect("a bucket")) else { return false };
    let written = json!(registration).to_string();
    let again = Registration::parse(&written, &registration.bucket);
    // With its defaults spelled out, it may be too long.
    assert!(again.is_ok_and(|it| it == registration) || written.len() > 32 * 1024, "what we write can be read");
    let account = registration.account.clone();
    let _ = Baseline::new(&registration, &account, &ROLE.parse().expect("a role"));
    true
}

/// What every policy goes through.
pub fn policy(text: &str) -> bool {
    let Ok(policy) = Policy::parse(text) else { return false };
    let (bucket, key) = (BUCKET.parse().expect("a bucket"), KEY.parse().expect("a key"));
    for variant in [PolicyVariant::Strict, PolicyVariant::DefaultEncryption] {
        let required = bucket_policy::required(variant, "aws", &bucket, &key);
        let desired = policy.requiring(&required);
        assert_eq!(desired.requiring(&required), desired, "once is enough");
        if bucket_policy::check(
            &desired,
            &required,
            "arn:aws:s3:::acme-data",
            &ROLE.parse().expect("a role"),
            Timestamp::UNIX_EPOCH,
        )
        .is_ok()
        {
            let written = Policy::parse(&desired.document());
            assert_eq!(written.ok(), Some(desired.clone()), "what we write can be read");
        }
        let _ = desired.without_dead_principals();
    }
    true
}

/// What every lifecycle configuration goes through.
pub fn lifecycle(text: &str) -> bool {
    let Ok(root) = Element::parse(text) else { return false };
    let written = root.to_string();
    let again = Element::parse(&written).expect("what we write can be read");
    assert_eq!(again.to_string(), written, "and stays as it is");
    let rules = root.children.into_iter().filter(|it| it.name == "Rule").collect();
    let lifecycle = Lifecycle { rules, transition_default_minimum_object_size: None };
    let required = guardrail_core::control::lifecycle::required(LifecycleDays::default());
    let desired = lifecycle.requiring(&required);
    assert_eq!(desired.requiring(&required), desired, "once is enough");
    let _ = desired.to_json();
    true
}

/// What every record of the history goes through.
pub fn record(text: &str) -> bool {
    let Ok(record) = Record::parse(text) else { return false };
    record.findings.iter().all(|it| it.settings().is_ok())
}

/// What every log file of CloudTrail goes through.
pub fn log(text: &str) -> bool {
    let read = log_file::read(text.as_bytes(), &mut |record| drop(Input::parse(json!({"detail": record}))));
    read.is_ok()
}
