//! Whether an event is about a write of our own.

use crate::{
    control::table::Control,
    edge::event::Event,
    outcome::{
        finding::Left,
        report::{BucketOutcome, Report},
    },
    value::names::RoleArn,
};

impl Event {
    /// Whether this event is about a write of our own.
    pub fn echo(&self, own_role: &RoleArn) -> Echo {
        if !self.is_of(own_role) {
            return Echo::No;
        }
        let marked = self.trigger.user_agent.as_deref().is_some_and(|it| it.contains(&format!("app/{ECHO_APP_NAME}")));
        let own = Control::of_event(&self.trigger.event_name);
        if marked { Echo::Again(own) } else { Echo::Of(own) }
    }
}

/// Whether the event that told us is about a write of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// Somebody else's call, or no event at all.
    No,
    /// Our own write of this control, if it was one of a control.
    Of(Option<Control>),
    /// The same, of a write that was itself made on an echo. Nothing is written now, so no chain of echoes is longer than
    /// two.
    Again(Option<Control>),
}

impl Echo {
    /// Whether drift of `control` means that a restore did not stick.
    pub fn is_of(self, control: Control) -> bool {
        match self {
            Self::No => false,
            Self::Of(own) | Self::Again(own) => own == Some(control),
        }
    }

    /// Whether drift of other controls is left, too. Whoever made it has an event of their own, which is on its way for
    /// seconds or minutes; if it is lost, there is the next sweep.
    pub fn leaves_others(self) -> bool {
        matches!(self, Self::Again(_))
    }
}

/// In the user agent of writes made on an echo of our own; CloudTrail keeps it, so the next echo knows.
pub const ECHO_APP_NAME: &str = "s3-guardrail-echo";

/// Whether people are to hear what a look at an event came to. Of our own calls they hear what those left undone, and
/// neither that they were made nor what somebody else has changed meanwhile.
pub fn is_news(report: &Report, is_own: bool) -> bool {
    let is_left = report.outcome == BucketOutcome::Drifted
        && report.findings.iter().all(|it| it.left == Some(Left::ForNow))
        && report.hindrances.is_empty()
        && report.exposures.is_empty();
    !is_own || !is_left && report.outcome != BucketOutcome::Compliant
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::outcome::{
        exposure::{Exposure, ExposureKind},
        finding::{Finding, Outcome},
        hindrance::{Document, Hindrance},
    };

    const ROLE: &str = "arn:aws:iam::111122223333:role/s3-guardrail-remediate-eu-west-2";

    #[test]
    fn an_echo_is_a_call_of_this_very_role_and_its_mark_counts_the_second() {
        let echo = |issuer: &str, event_name: &str, user_agent: &str| {
            let event = json!({"detail": {
                "eventSource": "s3.amazonaws.com", "eventName": event_name, "userAgent": user_agent,
                "requestParameters": {"bucketName": "acme-data"},
                "userIdentity": {"sessionContext": {"sessionIssuer": {"arn": issuer}}},
            }});
            Event::parse(&event).unwrap().echo(&ROLE.parse().unwrap())
        };
        let versioning = Some(Control::Versioning);
        let marked = "aws-sdk-rust/1.3 app/s3-guardrail-echo";
        assert_eq!(echo("arn:aws:iam::111122223333:role/dev-ci", "PutBucketVersioning", marked), Echo::No);
        assert_eq!(echo(ROLE, "PutBucketVersioning", "aws-sdk-rust/1.3"), Echo::Of(versioning));
        assert_eq!(echo(ROLE, "PutBucketVersioning", marked), Echo::Again(versioning));
        assert_eq!(echo(ROLE, "PutBucketTagging", "aws-sdk-rust/1.3"), Echo::Of(None));
    }

    #[test]
    fn only_the_second_echo_leaves_what_others_did() {
        for (echo, is_of_versioning, leaves_others) in [
            (Echo::No, false, false),
            (Echo::Of(Some(Control::Versioning)), true, false),
            (Echo::Of(Some(Control::Lifecycle)), false, false),
            (Echo::Of(None), false, false),
            (Echo::Again(Some(Control::Versioning)), true, true),
            (Echo::Again(None), false, true),
        ] {
            assert_eq!((echo.is_of(Control::Versioning), echo.leaves_others()), (is_of_versioning, leaves_others));
        }
    }

    #[test]
    fn of_our_own_calls_people_hear_what_those_left_undone() {
        let finding = |left| {
            let finding = Finding::new(Control::Versioning, Outcome::WouldRestore, (Value::Null, Value::Null));
            Finding { left: Some(Left::ForNow).filter(|_| left), ..finding }
        };
        let report = |outcome, findings| Report { findings, ..Report::new("acme-data", outcome, None) };
        let left = || report(BucketOutcome::Drifted, vec![finding(true)]);
        let hindrance = Hindrance::example(Document::BucketPolicy, true);
        let exposure = Exposure::example(ExposureKind::EarlyDeletion, Control::Lifecycle);
        for (report, is_own_news) in [
            (report(BucketOutcome::Compliant, vec![]), false),
            (left(), false),
            (report(BucketOutcome::Drifted, vec![finding(true), finding(false)]), true),
            (report(BucketOutcome::Failed, vec![finding(true)]), true),
            (report(BucketOutcome::Restored, vec![]), true),
            (Report { hindrances: vec![hindrance], ..left() }, true),
            (Report { exposures: vec![exposure], ..left() }, true),
        ] {
            assert_eq!(is_news(&report, true), is_own_news, "{report:?}");
            assert!(is_news(&report, false), "somebody else's call always is");
        }
    }
}
