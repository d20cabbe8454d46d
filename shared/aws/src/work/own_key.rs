//! The guardrail's own key. It encrypts alerts and logs, so it is mended before anything is told.

use guardrail_core::{
    control::kms_key,
    decide::{
        backoff,
        own_key::{PART, differences, required},
    },
    outcome::watched::{PartFinding, PartOutcome},
    value::drift::Drift,
};

use tokio::time::sleep;

use crate::{Guardrail, clients::Writers, control};

/// Puts the key back as it should be. Empty: it is, or nobody said which it is.
pub async fn mend(guardrail: &Guardrail) -> Vec<PartFinding> {
    let Some(key) = &guardrail.config.key else { return Vec::new() };
    let required = required(key, guardrail.config.place());
    let writers = Writers::retrying(guardrail);
    let mut problems = Vec::new();
    let mut errors = Vec::new();
    let mut last = None;
    // Whether a key rotates shows only once its deletion is cancelled, and EnableKey proves nothing.
    for wait in backoff::RESTART_SETTLING {
        sleep(wait).await;
        let observed = match control::kms_key::read(guardrail.readers(), &required).await {
            Ok(it) => it,
            Err(error) => return vec![PartFinding::unreadable(PART, &error)],
        };
        errors.extend(observed.unread.iter().map(|(_, error)| error.to_string()));
        let drift = Drift { desired: observed.requiring(&required), observed };
        last = (drift.observed != drift.desired).then(|| kms_key::unmoved(&drift.observed.state));
        if last.is_none() {
            break;
        }
        let new: Vec<_> = differences(&drift).into_iter().filter(|it| !problems.contains(it)).collect();
        problems.extend(new);
        for call in kms_key::calls(&drift, &required) {
            if let Err(error) = control::kms_key::write(&writers, key.as_str(), call).await {
                errors.push(error.to_string());
            }
        }
        if let Some(refusal) = kms_key::unrestorable(&drift, &required) {
            return vec![PartFinding::new(PART, PartOutcome::Broken, refusal)];
        }
        if !kms_key::must_be_read_again(&drift) || !errors.is_empty() {
            last = None;
            break;
        }
    }
    errors.extend(last);
    let found = |outcome, problems: &[String]| vec![PartFinding::new(PART, outcome, problems.join(", and "))];
    match (problems.as_slice(), errors.as_slice()) {
        ([], []) => Vec::new(),
        ([], errors) => found(PartOutcome::Unreadable, errors),
        (problems, []) => found(PartOutcome::Restored, problems),
        (problems, errors) => found(PartOutcome::Failed, &[problems, errors].concat()),
    }
}
