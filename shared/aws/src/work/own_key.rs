//! The guardrail's own key. It encrypts alerts and logs, so it is mended before anything is told.

use guardrail_core::{
    control::kms_key,
    decide::own_key::{PART, differences, required},
    outcome::watched::{PartFinding, PartOutcome},
    value::drift::Drift,
};

use crate::{Guardrail, clients::Writers, control};

/// Puts the key back as it should be. Empty: it is, or nobody said which it is.
pub async fn mend(guardrail: &Guardrail) -> Vec<PartFinding> {
    let Some(key) = &guardrail.config.key else { return Vec::new() };
    let required = required(key, guardrail.config.place());
    let writers = Writers::retrying(guardrail);
    let mut problems = Vec::new();
    let mut errors = Vec::new();
    // Whether a key rotates shows only once its deletion is cancelled.
    for _ in 0..2 {
        let observed = match control::kms_key::read(guardrail.readers(), &required).await {
            Ok(it) => it,
            Err(error) => return vec![PartFinding::unreadable(PART, &error)],
        };
        errors.extend(observed.unread.iter().map(|(_, error)| error.to_string()));
        let drift = Drift { desired: observed.requiring(&required), observed };
        if drift.observed == drift.desired {
            break;
        }
        problems.extend(differences(&drift));
        for call in kms_key::calls(&drift, &required) {
            if let Err(error) = control::kms_key::write(&writers, key.as_str(), call).await {
                errors.push(error.to_string());
            }
        }
        if let Some(refusal) = kms_key::unrestorable(&drift, &required) {
            return vec![PartFinding::new(PART, PartOutcome::Broken, refusal)];
        }
        if !kms_key::must_be_read_again(&drift) {
            break;
        }
    }
    let found = |outcome, problems: &[String]| vec![PartFinding::new(PART, outcome, problems.join(", and "))];
    match (problems.as_slice(), errors.as_slice()) {
        ([], []) => Vec::new(),
        ([], errors) => found(PartOutcome::Unreadable, errors),
        (problems, []) => found(PartOutcome::Restored, problems),
        (problems, errors) => found(PartOutcome::Failed, &[problems, errors].concat()),
    }
}
