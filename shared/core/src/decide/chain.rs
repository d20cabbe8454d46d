//! Whether each part that an event has to pass on its way to a restore is as it should be.

use serde_json::{Value, json};

use crate::{
    decide::rules::{InStack, ObservedRule, RuleCall, leave},
    outcome::watched::{PartFinding, PartOutcome, REGISTRY_DOCUMENT, WatchOutcome},
    value::{
        failure::{ApiError, Read},
        names::{BucketName, TrailArn},
        own_parts::SECOND_TOPIC,
    },
};

/// What is known of an event before anything is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Touch {
    /// It names a part of the guardrail.
    pub names_a_part: bool,
    /// It names something, whatever it is.
    pub names_anything: bool,
    /// The guardrail itself made the call.
    pub is_own: bool,
    /// The call failed.
    pub failed: bool,
}

impl Touch {
    /// What the event is to the guardrail. One that names nothing may be about any part.
    pub fn outcome(self) -> WatchOutcome {
        let Self { names_a_part, names_anything, is_own, failed } = self;
        let is_about_others = names_anything && !names_a_part;
        match (is_about_others || is_own, failed) {
            (true, _) => WatchOutcome::Unguarded,
            (false, true) => WatchOutcome::Attempted,
            (false, false) => WatchOutcome::Tampered,
        }
    }
}

/// What was tried in vain, and is to be tried again.
pub fn tried_in_vain(findings: &[PartFinding]) -> Vec<String> {
    let in_vain = |it: &&PartFinding| match it.outcome {
        PartOutcome::Failed | PartOutcome::Unreadable => true,
        PartOutcome::Restored | PartOutcome::Broken => false,
    };
    findings.iter().filter(in_vain).map(|it| format!("{}: {}", it.part, it.problem)).collect()
}

/// What became of an index that somebody else has written.
pub fn distrusted() -> PartFinding {
    let problem = "it may hide whose keys and trails are whose; until the next sweep writes it anew, the registry itself is \
                   read";
    PartFinding::new("index of the registry", PartOutcome::Restored, problem)
}

/// That a sweep could not write it.
pub fn not_indexed(error: &ApiError) -> PartFinding {
    let problem = format!("{error}; until it can be written, the registry itself is read for every key and trail");
    PartFinding::new("index of the registry", PartOutcome::Failed, problem)
}

/// The same when it could not be said that it is not to be believed.
pub fn still_believed(error: &ApiError) -> PartFinding {
    let problem = format!("it may hide whose keys and trails are whose until the next sweep: {error}");
    PartFinding::new("index of the registry", PartOutcome::Failed, problem)
}

/// What a bucket without a registry document lacks, and how it gets it back.
pub fn unregistered(bucket: &BucketName) -> PartFinding {
    let problem = format!(
        "{bucket} is no longer registered, so nothing restores it; if that was not meant: `guardrail restore-registration \
         {bucket}`"
    );
    PartFinding::new(format!("{REGISTRY_DOCUMENT}{bucket}"), PartOutcome::Broken, problem)
}

/// A parameter of the registry that is nobody's.
pub fn stranger(parameter: &str) -> PartFinding {
    let problem = "its name does not end in a bucket's name, so it guards nothing";
    PartFinding::new(format!("registry parameter {parameter}"), PartOutcome::Broken, problem)
}

/// The second topic did not take what it was to be told.
pub fn second_topic_refuses(error: &ApiError) -> PartFinding {
    let problem = format!("it did not take the short message about this: {error}");
    PartFinding::new(format!("topic {SECOND_TOPIC}"), PartOutcome::Broken, problem)
}

/// Why a rule that is not as it should be is not put back; `None`: it is. `in_stack` is asked after the rule was
/// observed, so that what CloudFormation has just removed is known to be that.
pub fn rule_left(
    observed: Option<&ObservedRule>,
    in_stack: &Result<InStack, ApiError>,
) -> Option<(PartOutcome, String)> {
    match (in_stack, observed) {
        (Ok(in_stack), _) => leave(observed, *in_stack).map(|reason| (PartOutcome::Broken, reason)),
        (Err(error), None) => {
            let problem =
                format!("it does not exist, and is not put back while nobody knows whether a stack has it: {error}");
            Some((PartOutcome::Unreadable, problem))
        }
        // What exists is in no stack's way, unless that is deleting it at this moment.
        (Err(_), Some(_)) => None,
    }
}

/// What was wrong with a rule that these calls mended.
pub fn rule_in_words(calls: &[RuleCall]) -> String {
    let word = |it: &RuleCall| match it {
        RuleCall::Put => "its pattern or schedule was not ours, or it was gone",
        RuleCall::Enable => "it was disabled",
        RuleCall::PutTarget { .. } => "its target was gone or changed",
        RuleCall::RemoveTargets { .. } => "it had targets that were not ours",
    };
    calls.iter().map(word).collect::<Vec<_>>().join(", and ")
}

/// What is wrong with a function's policy, which must let each of the rules that invoke it do so, and nobody but its own:
/// whoever may invoke it can make up an event, with any actor. `own`: name, ARN, and whether it invokes it.
pub fn permission_problem(policy: &Value, own: &[(&str, String, bool)]) -> Option<String> {
    let allowed: Vec<_> =
        policy["Statement"].as_array().into_iter().flatten().filter(|it| it["Effect"] != "Deny").collect();
    let denied = policy["Statement"].as_array().into_iter().flatten().any(|it| it["Effect"] == "Deny");
    let may = |arn: &str| allowed.iter().any(|it| rule_of(it) == Some(arn));
    if let Some((name, ..)) = own.iter().find(|(_, arn, invokes)| *invokes && !may(arn)) {
        return Some(format!("rule {name} may not invoke it"));
    }
    if denied {
        return Some("its policy has a Deny, which no part of the guardrail wrote: remove it".to_owned());
    }
    let foreign = allowed.iter().find(|it| !own.iter().any(|(_, arn, _)| rule_of(it) == Some(arn)))?;
    let name = foreign["Sid"].as_str().unwrap_or("without an id");
    Some(format!(
        "its policy lets somebody else invoke it, who can make up an event with any actor: remove the statement {name}"
    ))
}

/// The only rule for which a statement lets EventBridge invoke a function.
fn rule_of(statement: &Value) -> Option<&str> {
    let conditions = statement["Condition"].as_object()?.values().filter_map(Value::as_object).flatten();
    let (_, source) = conditions.into_iter().find(|(key, _)| key.eq_ignore_ascii_case("aws:SourceArn"))?;
    let source = source.as_str()?;
    let only = statement["Principal"] == json!({"Service": "events.amazonaws.com"}) && !source.contains(['*', '?']);
    only.then_some(source)
}

/// What keeps a function with this reserved concurrency from running.
pub fn concurrency_problem(reserved: Option<i32>) -> Option<&'static str> {
    (reserved == Some(0)).then_some("its reserved concurrency is 0, so it never runs")
}

/// Whether EventBridge hears of management writes.
#[derive(Debug)]
pub enum Heard<'a> {
    Yes,
    /// An organization's trail belongs to another account, which need not answer us: that it logs here is all that can be
    /// known, and is believed.
    Believed(&'a TrailArn, &'a ApiError),
    Not(PartFinding),
}

/// Whether some trail that logs in this region logs management writes: without one EventBridge hears of nothing.
/// `trails`: each that covers the region, and whether it logs them.
pub fn heard<'a>(trails: &'a [(TrailArn, Read<bool>)], account: &str) -> Heard<'a> {
    const PART: &str = "the account's trails";
    if trails.iter().any(|(_, logs)| matches!(logs, Ok(true))) {
        return Heard::Yes;
    }
    let unread = trails.iter().filter_map(|(arn, logs)| Some((arn, logs.as_ref().err()?)));
    let (own, foreign): (Vec<_>, Vec<_>) = unread.partition(|(arn, _)| arn.parts().account == account);
    if let Some((arn, error)) = foreign.last() {
        return Heard::Believed(arn, error);
    }
    Heard::Not(match own.last() {
        Some((_, error)) => PartFinding::unreadable(PART, error),
        None => PartFinding::new(
            PART,
            PartOutcome::Broken,
            "none is logging management writes, so no call in this account reaches EventBridge",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_of_others_is_an_attack_on_a_part_when_it_names_one_or_nothing() {
        use WatchOutcome::{Attempted, Tampered, Unguarded};
        for (names_a_part, names_anything, is_own, failed, outcome) in [
            (true, true, false, false, Tampered),
            (true, true, false, true, Attempted),
            (true, true, true, false, Unguarded),
            (true, true, true, true, Unguarded),
            (false, true, false, false, Unguarded),
            (false, true, false, true, Unguarded),
            (false, false, false, false, Tampered),
            (false, false, false, true, Attempted),
            (false, false, true, false, Unguarded),
        ] {
            let touch = Touch { names_a_part, names_anything, is_own, failed };
            assert_eq!(touch.outcome(), outcome, "{touch:?}");
        }
    }

    #[test]
    fn what_failed_and_what_could_not_be_read_is_tried_again() {
        let of = |outcome| tried_in_vain(&[PartFinding::new("rule x", outcome, "no")]);
        assert_eq!(of(PartOutcome::Failed), ["rule x: no"]);
        assert_eq!(of(PartOutcome::Unreadable), ["rule x: no"]);
        assert!(of(PartOutcome::Restored).is_empty());
        assert!(of(PartOutcome::Broken).is_empty());
    }

    #[test]
    fn a_rule_that_a_stack_may_be_at_work_on_is_left() {
        let observed = ObservedRule { enabled: false, pattern: None, schedule: None, targets: Vec::new() };
        let unknown = || Err(ApiError::new("DescribeStackResources", "no"));
        let left = |observed, in_stack| rule_left(observed, &in_stack).map(|(outcome, _)| outcome);
        assert_eq!(left(Some(&observed), Ok(InStack::Had)), None);
        assert_eq!(left(None, Ok(InStack::Had)), None);
        assert_eq!(left(Some(&observed), Ok(InStack::AtWork)), Some(PartOutcome::Broken));
        assert_eq!(left(None, Ok(InStack::Absent)), Some(PartOutcome::Broken));
        assert_eq!(left(Some(&observed), unknown()), None);
        assert_eq!(left(None, unknown()), Some(PartOutcome::Unreadable));
    }

    #[test]
    fn people_hear_what_was_wrong_with_a_rule() {
        let put = RuleCall::PutTarget { id: "function".to_owned() };
        assert_eq!(rule_in_words(&[RuleCall::Enable]), "it was disabled");
        assert_eq!(
            rule_in_words(&[RuleCall::Put, put]),
            "its pattern or schedule was not ours, or it was gone, and its target was gone or changed"
        );
        assert_eq!(rule_in_words(&[RuleCall::RemoveTargets { ids: vec![] }]), "it had targets that were not ours");
    }

    #[test]
    fn only_no_concurrency_at_all_keeps_a_function_from_running() {
        assert_eq!(concurrency_problem(None), None);
        assert_eq!(concurrency_problem(Some(1)), None);
        assert!(concurrency_problem(Some(0)).is_some());
    }

    #[test]
    fn one_trail_that_logs_is_enough_and_one_of_others_is_believed() {
        let arn = |account: &str| format!("arn:aws:cloudtrail:eu-west-2:{account}:trail/t").parse().unwrap();
        let (own, other) = (|| arn("111122223333"), || arn("444455556666"));
        let no = || Err(ApiError::new("GetTrailStatus", "no"));
        let heard = |trails: &[(TrailArn, Read<bool>)]| match heard(trails, "111122223333") {
            Heard::Yes => "yes".to_owned(),
            Heard::Believed(arn, _) => format!("believed of {}", arn.parts().account),
            Heard::Not(finding) => format!("{:?}", finding.outcome),
        };
        assert_eq!(heard(&[]), "Broken");
        assert_eq!(heard(&[(own(), Ok(false))]), "Broken");
        assert_eq!(heard(&[(own(), Ok(false)), (own(), Ok(true))]), "yes");
        assert_eq!(heard(&[(own(), no()), (other(), Ok(true))]), "yes");
        assert_eq!(heard(&[(own(), no())]), "Unreadable");
        assert_eq!(heard(&[(own(), no()), (other(), Ok(false))]), "Unreadable");
        assert_eq!(heard(&[(own(), no()), (other(), no())]), "believed of 444455556666");
    }

    #[test]
    fn a_function_may_be_invoked_for_its_own_rules_and_for_nothing_else() {
        const ARN: &str = "arn:aws:events:eu-west-2:111122223333:rule/s3-guardrail";
        let statement = |sid: &str, service: &str, source: &str| json!({"Sid": sid, "Effect": "Allow", "Principal": {"Service": service}, "Action": "lambda:InvokeFunction", "Condition": {"ArnLike": {"AWS:SourceArn": source}}});
        let events = "events.amazonaws.com";
        let rules = ["sweep", "tampered"].map(|it| (it, format!("{ARN}-{it}"), true));
        let ours: Vec<_> = rules.iter().map(|(name, arn, _)| statement(name, events, arn)).collect();
        let problem = |statements: &[Value]| permission_problem(&json!({"Statement": statements}), &rules);
        assert_eq!(problem(&ours), None);
        assert_eq!(problem(&ours[..1]).unwrap(), "rule tampered may not invoke it");
        assert!(problem(&[]).is_some());
        // Rules that lead to a queue by now may, and need not.
        let queued = rules.clone().map(|(name, arn, _)| (name, arn, false));
        assert_eq!(permission_problem(&json!({"Statement": ours}), &queued), None);
        assert_eq!(permission_problem(&json!({}), &queued), None);
        assert!(problem(&[statement("a", "sns.amazonaws.com", &rules[0].1), ours[1].clone()]).is_some());
        assert!(problem(&[statement("a", events, &format!("{ARN}-*"))]).is_some(), "none is named");
        for more in [
            statement("theirs", events, &format!("{ARN}-*")),
            statement("theirs", events, &format!("{ARN}-other")),
            statement("theirs", "s3.amazonaws.com", "arn:aws:s3:::acme-data"),
            json!({"Sid": "theirs", "Effect": "Allow", "Principal": {"Service": events}, "Action": "lambda:InvokeFunction"}),
            json!({"Sid": "theirs", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::444455556666:root"}, "Action": "lambda:*"}),
            json!({"Sid": "theirs", "Effect": "Allow", "Principal": "*", "Action": "lambda:InvokeFunction"}),
        ] {
            let said = problem(&[&ours[..], &[more]].concat()).unwrap();
            assert!(said.ends_with("remove the statement theirs"), "{said}");
        }
    }
}
