//! What the functions send, and what the fake answers, held to AWS's own service models.

use std::collections::BTreeSet;

use guardrail::verify::PREFIX;
use guardrail_tests::{
    fake::{BUCKET, FakeAws},
    models::{BY_THE_COMMAND, Exchange, sendable},
};
use serde_json::json;

use crate::faults;

/// What every function sends and is answered when nothing goes wrong.
async fn exchanges() -> Vec<Exchange> {
    let fake = FakeAws::compliant().await;
    fake.state().exchanges = Some(Vec::new());
    // Of a run that was killed.
    fake.state().uploads.insert(format!("{BUCKET}/{PREFIX}20260101T000000Z-00000000/multipart-with-key"));
    guardrail::verify::verify(&fake.guardrail(), json!({"bucket": BUCKET})).await.unwrap();
    let verified = fake.state().exchanges.take().unwrap();
    [faults::exchanges().await, verified].concat()
}

#[tokio::test]
async fn every_request_and_every_answer_of_the_functions_is_as_awss_models_say() {
    let mut faults = BTreeSet::new();
    let mut sent = BTreeSet::new();
    for exchange in exchanges().await {
        let verdict = exchange.verdict();
        sent.extend(verdict.operation);
        faults.extend(verdict.faults);
    }
    assert_eq!(faults, BTreeSet::new());

    let sendable = sendable("shared/src");
    let known: Vec<_> = sendable.values().flatten().collect();
    let unknown: Vec<_> = sent.iter().filter(|it| !known.contains(it)).collect();
    assert_eq!(unknown, Vec::<&String>::new(), "sent, and not found in the code");
    let elsewhere = |it: &String| sent.contains(it) || BY_THE_COMMAND.contains(&it.as_str());
    let unsent: Vec<_> = sendable.values().filter(|it| !it.iter().any(elsewhere)).collect();
    assert_eq!(unsent, Vec::<&Vec<String>>::new(), "no flow of these tests sends it");
    assert!(sent.contains("s3control.GetPublicAccessBlock"), "{sent:?}");
}
