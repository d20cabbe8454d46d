//! What only this command sends, and what the fake answers, held to AWS's own service models.

use std::collections::BTreeSet;

use guardrail::{apply::put_back, clients::Writers};
use guardrail_core::{control::default_encryption::DefaultEncryption, outcome::setting::Setting};
use guardrail_tests::{
    fake::{BUCKET, FakeAws},
    models::{BY_THE_COMMAND, Exchange, sendable},
};

use crate::{args::RestoreRegistrationArguments, faults, first_run, preflight, restore_registration};

/// What every command sends and is answered when nothing goes wrong.
async fn exchanges() -> Vec<Exchange> {
    let fake = FakeAws::compliant().await;
    fake.state().exchanges = Some(Vec::new());
    let mut session = faults::session(&fake);
    session.caller = "arn:aws:sts::111122223333:assumed-role/admin/ann".to_owned();
    preflight::run(&session, Some(BUCKET.parse().unwrap())).await.unwrap();
    let registration = RestoreRegistrationArguments { bucket: BUCKET.parse().unwrap(), dry_run: false, yes: true };
    let name = format!("/s3-guardrail/buckets/{BUCKET}");
    let document = fake.state().parameters.insert(name.clone(), "broken".to_owned()).unwrap();
    fake.state().parameter_history.insert(name, vec![document, "broken".to_owned()]);
    restore_registration::run(&session, &registration).await.unwrap();
    // No bucket is without encryption any more; records may be of one that was.
    let (writers, name) = (Writers::new(&session.guardrail, "s3-guardrail"), BUCKET.parse().unwrap());
    put_back(&writers, &name, &Setting::DefaultEncryption(DefaultEncryption::default())).await.unwrap();
    // Before there is a session, the command asks who calls.
    let sts = aws_sdk_sts::Client::new(&fake.sdk());
    sts.get_caller_identity().send().await.unwrap();
    let asked = fake.state().exchanges.take().unwrap();
    [faults::exchanges().await, first_run::tests::exchanges().await, asked].concat()
}

#[tokio::test(start_paused = true)]
async fn every_request_and_every_answer_of_the_command_is_as_awss_models_say() {
    let mut faults = BTreeSet::new();
    let mut sent = BTreeSet::new();
    for exchange in exchanges().await {
        let verdict = exchange.verdict();
        sent.extend(verdict.operation);
        faults.extend(verdict.faults);
    }
    assert_eq!(faults, BTreeSet::new());
    let unsent: Vec<_> =
        sendable("infra/cli/src").into_values().filter(|it| !it.iter().any(|it| sent.contains(it))).collect();
    assert_eq!(unsent, Vec::<Vec<String>>::new(), "no flow of these tests sends it");
    let unsent: Vec<_> = BY_THE_COMMAND.into_iter().filter(|it| !sent.contains(*it)).collect();
    assert_eq!(unsent, Vec::<&str>::new(), "the functions do not send it, nor does the command");
}
