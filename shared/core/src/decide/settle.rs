//! What becomes of a step: without a write, or after one.

use crate::{
    outcome::{
        finding::{Finding, Left, Outcome, Written},
        step::{Change, Refusal, Step},
    },
    value::failure::{ApiError, Denial},
};

/// Why something is left although it should be restored.
const LEFT: &str = "Left to the event of whoever changed it, or to the next sweep: what only the guardrail's own writes led to \
                    could be a loop.";

/// Why nothing is said yet.
const NOT_YET: &str = "The guardrail wrote it less than 90 seconds ago, and reads it otherwise: it looks again.";

/// Why nothing is restored in a fight.
const HELD: &str = "Held: somebody fights over it, and the registry document says `\"on_fight\": \"hold\"`. It is restored an \
                    hour after its last restore, or at once when somebody asks: `guardrail reconcile BUCKET`.";

/// How a restore ended, with the change as it was last planned.
#[derive(Debug)]
pub struct Restored {
    pub change: Change,
    /// Whether AWS was asked to.
    pub written: bool,
    pub result: Result<(), Problem>,
}

/// Why something was not restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub text: String,
    /// The kind of policy that denied it, when that is why.
    pub denied_by: Option<Denial>,
}

impl Problem {
    /// The function would end before AWS has answered.
    pub fn no_time() -> Self {
        Self { text: "no time left; it is tried again".to_owned(), denied_by: None }
    }
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        Self { text: error.to_string(), denied_by: error.denied_by() }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self { text: refusal.to_string(), denied_by: None }
    }
}

impl Step {
    /// The finding of a step that needs no write; else the change to be written.
    pub fn without_write(self) -> Result<Finding, Box<Change>> {
        Ok(match self {
            Self::Restore(change) => return Err(Box::new(change)),
            Self::Tell(change) => {
                Finding { note: change.note(), ..Finding::from_change(&change, Outcome::WouldRestore) }
            }
            Self::Exempt(change, exemption) => {
                Finding { left: Some(Left::Exempt(exemption)), ..Finding::from_change(&change, Outcome::Exempt) }
            }
            Self::Unstable(change) => Finding::from_change(&change, Outcome::Unstable),
            Self::NotYet(change) => {
                let (left, note) = (Some(Left::NotYet), Some(NOT_YET.to_owned()));
                Finding { left, note, ..Finding::from_change(&change, Outcome::WouldRestore) }
            }
            Self::Left(change) => {
                let (left, note) = (Some(Left::ForNow), Some(LEFT.to_owned()));
                Finding { left, note, ..Finding::from_change(&change, Outcome::WouldRestore) }
            }
            Self::Held(change) => {
                let (left, note) = (Some(Left::Held), Some(HELD.to_owned()));
                Finding { left, note, ..Finding::from_change(&change, Outcome::WouldRestore) }
            }
            Self::Refused(change, refusal) => {
                Finding { error: Some(refusal.to_string()), ..Finding::from_change(&change, Outcome::Failed) }
            }
            Self::Unreadable(control, error) => Finding::unreadable(control, &error),
        })
    }
}

impl Restored {
    /// Whether the whole account may enforce what S3 did not let us write; then it is to be asked.
    pub fn may_be_enforced_above(&self) -> bool {
        let is_denied = self.result.as_ref().is_err_and(|it| it.denied_by.is_some());
        is_denied && matches!(self.change, Change::PublicAccessBlock(_))
    }

    /// What became of it. `is_enforced_above`: the account, or its organization, enforces the same.
    pub fn into_finding(self, is_enforced_above: bool) -> Finding {
        let Self { change, written, result } = self;
        let finding = match result {
            Ok(()) => Finding { note: change.note(), ..Finding::from_change(&change, Outcome::Restored) },
            Err(Problem { text, .. }) if is_enforced_above => {
                let text = format!("enforced for the whole account, so not fought over: {text}");
                let (error, left) = (Some(text), Some(Left::EnforcedAbove));
                return Finding { error, left, ..Finding::from_change(&change, Outcome::Exempt) };
            }
            Err(Problem { text, denied_by }) => {
                Finding { error: Some(text), denied_by, ..Finding::from_change(&change, Outcome::Failed) }
            }
        };
        let written = match (written, finding.outcome) {
            (true, _) => Some(Written::Here(change)),
            (false, Outcome::Restored) => Some(Written::ByAnother(change)),
            (false, _) => None,
        };
        Finding { written, ..finding }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        control::{public_access_block::PublicAccessBlock, table::Control, versioning::Versioning},
        value::drift::Drift,
    };

    fn versioning() -> Change {
        let observed = Versioning::default();
        Change::Versioning(Drift { desired: observed.enabled(), observed })
    }

    fn denied() -> Problem {
        Problem { text: "denied".to_owned(), denied_by: Some(Denial::ServiceControlPolicy) }
    }

    #[test]
    fn a_restore_is_ours_only_when_we_wrote_it() {
        let ended = |written, result| {
            let finding = Restored { change: versioning(), written, result }.into_finding(false);
            (finding.outcome, finding.written)
        };
        assert_eq!(ended(true, Ok(())), (Outcome::Restored, Some(Written::Here(versioning()))));
        assert_eq!(ended(false, Ok(())), (Outcome::Restored, Some(Written::ByAnother(versioning()))));
        assert_eq!(ended(true, Err(denied())), (Outcome::Failed, Some(Written::Here(versioning()))), "perhaps");
        assert_eq!(ended(false, Err(denied())), (Outcome::Failed, None));
    }

    #[test]
    fn what_the_account_enforces_is_not_fought_over() {
        let block = Drift { observed: PublicAccessBlock::default(), desired: PublicAccessBlock::ALL };
        let refused =
            || Restored { change: Change::PublicAccessBlock(block.clone()), written: false, result: Err(denied()) };
        assert!(refused().may_be_enforced_above());
        assert!(!Restored { change: versioning(), ..refused() }.may_be_enforced_above());
        assert!(!Restored { result: Ok(()), ..refused() }.may_be_enforced_above());
        let finding = refused().into_finding(true);
        assert_eq!((finding.control, finding.outcome), (Control::PublicAccessBlock, Outcome::Exempt));
        assert_eq!(finding.left, Some(Left::EnforcedAbove));
        assert_eq!(refused().into_finding(false).denied_by, Some(Denial::ServiceControlPolicy));
    }

    #[test]
    fn only_a_restore_is_written() {
        assert_eq!(Step::Restore(versioning()).without_write().unwrap_err(), Box::new(versioning()));
        for (step, outcome) in [
            (Step::Tell(versioning()), Outcome::WouldRestore),
            (Step::Unstable(versioning()), Outcome::Unstable),
            (Step::Left(versioning()), Outcome::WouldRestore),
            (Step::Held(versioning()), Outcome::WouldRestore),
            (Step::Refused(versioning(), Refusal::TooManyRules(1001)), Outcome::Failed),
            (Step::Unreadable(Control::Versioning, ApiError::new("Get", "no")), Outcome::Unreadable),
        ] {
            assert_eq!(step.without_write().unwrap().outcome, outcome);
        }
    }

    #[test]
    fn what_is_not_written_says_why() {
        use crate::{control::object_ownership::ObjectOwnership, outcome::exemption::Exemption};
        let acl_grants = Err(ApiError::new("GetBucketAcl", "no"));
        let observed = ObjectOwnership { object_ownership: None, acl_grants };
        let noted =
            || Change::ObjectOwnership(Drift { observed: observed.clone(), desired: ObjectOwnership::enforced() });
        let note = noted().note();
        assert!(note.is_some());
        let finding = |step: Step| step.without_write().unwrap();
        assert_eq!(finding(Step::Tell(noted())).note, note);
        let exemption = Exemption {
            control: Control::Versioning,
            until: "2999-01-01T00:00:00Z".parse().unwrap(),
            reason: String::new(),
            approved_by: String::new(),
        };
        let exempt = finding(Step::Exempt(versioning(), exemption.clone()));
        assert_eq!((exempt.left, exempt.outcome), (Some(Left::Exempt(exemption)), Outcome::Exempt));
        let left = finding(Step::Left(versioning()));
        assert!(left.left == Some(Left::ForNow) && left.note.as_deref() == Some(LEFT));
        let held = finding(Step::Held(versioning()));
        assert!(held.left == Some(Left::Held) && held.note.as_deref() == Some(HELD));
        let refused = finding(Step::Refused(versioning(), Refusal::TooManyRules(1001)));
        assert!(refused.error.is_some_and(|it| it.contains("1001")));
        let restored = Restored { change: noted(), written: true, result: Ok(()) };
        assert_eq!(restored.into_finding(false).note, note);
        let failed = |above| {
            Restored { change: versioning(), written: false, result: Err(denied()) }.into_finding(above).error.unwrap()
        };
        assert_eq!(failed(false), "denied");
        assert_eq!(failed(true), "enforced for the whole account, so not fought over: denied");
    }

    #[test]
    fn a_problem_is_what_aws_or_the_guardrail_said() {
        use crate::value::failure::Answer;
        let answer = Answer { arrived: true, code: Some("AccessDenied"), ..Answer::default() };
        let error = ApiError::answered("Put", answer, &std::fmt::Error);
        let problem = Problem::from(error.clone());
        assert_eq!((problem.text, problem.denied_by), (error.to_string(), Some(Denial::Unsaid)));
        let problem = Problem::from(Refusal::TooManyRules(1001));
        assert!(problem.text.contains("1001") && problem.denied_by.is_none());
        let unexplained = Problem { text: String::new(), denied_by: None };
        let block = Drift { observed: PublicAccessBlock::default(), desired: PublicAccessBlock::ALL };
        let ended = Restored { change: Change::PublicAccessBlock(block), written: true, result: Err(unexplained) };
        assert!(!ended.may_be_enforced_above(), "nobody denied it");
    }
}
