//! The guardrail watches itself: every part that an event has to pass on its way to a restore.
//!
//! A call that touches a part is told with its actor, and undone where that is safe. The sweep looks at all parts,
//! because a chain that is cut tells of nothing.

use aws_sdk_cloudtrail::types::Trail as CloudTrail;
use aws_sdk_eventbridge::types::{DeadLetterConfig, RuleState, Target as EventTarget};
use guardrail_core::{
    decide::{
        self,
        rules::{InStack, ObservedRule, Rule, RuleCall, STACK, Target, Wakes, leave, mend, rules},
    },
    edge::{
        config::Place,
        event::{Event, Subject},
        registry::{Kept, RegistryError},
    },
    outcome::{
        trigger::Trigger,
        watched::{PartFinding, PartOutcome, WatchOutcome, Watched},
    },
    tell::{alert, metrics},
    value::{
        failure::ApiError,
        names::{BucketName, TrailArn},
        own_parts::{DEAD_LETTERS, REMEDIATE, SWEEP, own_part},
    },
};
use serde_json::{Value, json};

use crate::{
    Guardrail,
    api::{done, output, unless_absent},
    control,
    store::registry,
    topic,
    work::own_key,
};

/// The guardrail is not as it should be, and could not be mended. The alert was sent before, unless it is what failed.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error("the guardrail itself: {0}")]
    NotMended(String),
    #[error("people could not be told of what happened to the guardrail itself")]
    Untold(#[source] ApiError),
}

/// Answers an event about a part, or about nothing that it names: undoes what is safe to undo, and tells people.
pub async fn touched(guardrail: &Guardrail, event: &Event) -> Result<Watched, WatchError> {
    let named = match &event.subject {
        Subject::Part(names) | Subject::KmsKey(names) | Subject::Trail(names) => names.as_slice(),
        Subject::Bucket(_) | Subject::AccessPoint(_) => &[],
    };
    let config = &guardrail.config;
    let part = named
        .iter()
        .find_map(|it| decide::own_key::named(it, config).or_else(|| own_part(it, &config.parameter_prefix)));
    let mut watched = Watched {
        outcome: WatchOutcome::Unguarded,
        part,
        trigger: Some(event.trigger.clone()),
        findings: Vec::new(),
        notified: false,
    };
    let registered = if event.trigger.error_code.is_none() { documents(guardrail, named).await } else { Vec::new() };
    let foreign = watched.part.is_none() && !named.is_empty();
    if foreign || event.is_own(&guardrail.config.role, &guardrail.config.region) {
        return Ok(watched);
    }
    if event.trigger.error_code.is_some() {
        watched.outcome = WatchOutcome::Attempted;
    } else {
        watched.outcome = WatchOutcome::Tampered;
        // The key first: without it nobody can be told.
        watched.findings = own_key::mend(guardrail).await;
        watched.findings.extend(mend_rules(guardrail).await);
        watched.findings.extend(registered);
    }
    mended(tell(guardrail, watched).await?)
}

/// What a bucket without a registry document lacks, and how it gets it back.
pub fn unregistered(bucket: &BucketName) -> PartFinding {
    let problem = format!(
        "{bucket} is no longer registered, so nothing restores it; if that was not meant: `guardrail restore-registration \
         {bucket}`"
    );
    PartFinding::new(format!("registry document of {bucket}"), PartOutcome::Broken, problem)
}

/// Looks at the registry documents that a call has written or deleted, and keeps copies of those that are valid.
async fn documents(guardrail: &Guardrail, named: &[String]) -> Vec<PartFinding> {
    let (ssm, prefix) = (&guardrail.ssm, &guardrail.config.parameter_prefix);
    let mut findings = Vec::new();
    for bucket in named.iter().filter_map(|it| it.strip_prefix(prefix.as_str())?.parse::<BucketName>().ok()) {
        let part = format!("registry document of {bucket}");
        match registry::read(ssm, prefix, &bucket).await {
            Ok(Some(registration)) => {
                let kept = Kept { registration, since: guardrail.clock.now(), told_gone: false };
                if let Err(error) = registry::keep(ssm, &kept).await {
                    tracing::warn!(%bucket, %error, "no copy was kept; the sweep tries again");
                }
            }
            Ok(None) => findings.push(unregistered(&bucket)),
            Err(error @ RegistryError::Invalid { .. }) => {
                let problem =
                    format!("{error}; `guardrail restore-registration {bucket}` puts the last valid one back");
                findings.push(PartFinding::new(part, PartOutcome::Broken, problem));
            }
            Err(RegistryError::Unreadable(error)) => findings.push(PartFinding::unreadable(part, &error)),
        }
    }
    findings
}

/// Tells of a call that failed and would have harmed what guarded buckets lean on.
pub async fn attempted(guardrail: &Guardrail, trigger: &Trigger, part: String) -> Result<(), WatchError> {
    let (outcome, trigger) = (WatchOutcome::Attempted, Some(trigger.clone()));
    let watched = Watched { outcome, part: Some(part), trigger, findings: Vec::new(), notified: false };
    tell(guardrail, watched).await.map(drop)
}

/// Looks at the whole chain. `None`: it is as it should be. What cannot be mended is told, and is no error: the next
/// sweep looks again. `strangers`: parameters of the registry that are nobody's.
/// `lost`: what else was found.
pub async fn check(
    guardrail: &Guardrail,
    strangers: &[String],
    lost: Vec<PartFinding>,
) -> Result<Option<Watched>, WatchError> {
    let mut findings = own_key::mend(guardrail).await;
    let (rules, permissions, trail, topic) = tokio::join!(
        mend_rules(guardrail),
        functions(guardrail),
        some_trail_logs(guardrail),
        somebody_listens(guardrail)
    );
    findings.extend(lost);
    findings.extend(rules);
    findings.extend(permissions);
    findings.extend(trail);
    findings.extend(topic);
    findings.extend(strangers.iter().map(|it| {
        let problem = "its name does not end in a bucket's name, so it guards nothing";
        PartFinding::new(format!("registry parameter {it}"), PartOutcome::Broken, problem)
    }));
    if findings.is_empty() {
        return Ok(None);
    }
    let watched = Watched { outcome: WatchOutcome::Broken, part: None, trigger: None, findings, notified: false };
    tell(guardrail, watched).await.map(Some)
}

async fn tell(guardrail: &Guardrail, mut watched: Watched) -> Result<Watched, WatchError> {
    (guardrail.metrics)(&metrics::watched(&watched, guardrail.clock.now()));
    tracing::error!(outcome = ?watched.outcome, part = watched.part, findings = ?watched.findings, "the guardrail itself");
    if let Some(topic) = &guardrail.config.topic {
        let alert = alert::watch_alert(&watched, guardrail.config.place());
        topic::publish(&guardrail.sns, topic, alert).await.map_err(WatchError::Untold)?;
        watched.notified = true;
    }
    Ok(watched)
}

/// An error when something was tried in vain, so that Lambda tries again.
fn mended(watched: Watched) -> Result<Watched, WatchError> {
    let tried_in_vain = |it: &&PartFinding| matches!(it.outcome, PartOutcome::Failed | PartOutcome::Unreadable);
    let problems: Vec<_> =
        watched.findings.iter().filter(tried_in_vain).map(|it| format!("{}: {}", it.part, it.problem)).collect();
    if problems.is_empty() { Ok(watched) } else { Err(WatchError::NotMended(problems.join("; "))) }
}

fn function_arn(place: Place<'_>, function: &str) -> String {
    let Place { partition, region, account } = place;
    format!("arn:{partition}:lambda:{region}:{account}:function:{function}")
}

fn dead_letters_arn(place: Place<'_>) -> String {
    let Place { partition, region, account } = place;
    format!("arn:{partition}:sqs:{region}:{account}:{DEAD_LETTERS}")
}

async fn mend_rules(guardrail: &Guardrail) -> Vec<PartFinding> {
    let mut findings = Vec::new();
    for rule in rules(&guardrail.config.parameter_prefix, guardrail.config.place()) {
        if let Some((outcome, problem)) = mend_rule(guardrail, &rule).await {
            findings.push(PartFinding::new(format!("rule {}", rule.name), outcome, problem));
        }
    }
    findings
}

fn in_words(calls: &[RuleCall]) -> String {
    let word = |it: &RuleCall| match it {
        RuleCall::Put => "its pattern or schedule was not ours, or it was gone",
        RuleCall::Enable => "it was disabled",
        RuleCall::PutTarget { .. } => "its target was gone or changed",
        RuleCall::RemoveTargets { .. } => "it had targets that were not ours",
    };
    calls.iter().map(word).collect::<Vec<_>>().join(", and ")
}

/// What came of a rule, and what was wrong with it; `None`: it is as it should be.
async fn mend_rule(guardrail: &Guardrail, rule: &Rule) -> Option<(PartOutcome, String)> {
    let arn = function_arn(guardrail.config.place(), rule.function);
    let observed = match observe_rule(guardrail, rule.name).await {
        Ok(it) => it,
        Err(error) => return Some((PartOutcome::Unreadable, error.to_string())),
    };
    let calls = mend(rule, observed.as_ref(), &arn);
    if calls.is_empty() {
        return None;
    }
    // Asked after the rule, so that what CloudFormation has just removed is known to be that.
    match (in_stack(guardrail, rule.name).await, &observed) {
        (Ok(in_stack), _) => {
            if let Some(reason) = leave(observed.as_ref(), in_stack) {
                return Some((PartOutcome::Broken, reason));
            }
        }
        (Err(error), None) => {
            let problem =
                format!("it does not exist, and is not put back while nobody knows whether a stack has it: {error}");
            return Some((PartOutcome::Unreadable, problem));
        }
        // What exists is in no stack's way, unless that is deleting it at this moment.
        (Err(_), Some(_)) => {}
    }
    for call in &calls {
        if let Err(error) = carry_out(guardrail, rule, call, &arn).await {
            return Some((PartOutcome::Failed, error.to_string()));
        }
    }
    Some((PartOutcome::Restored, in_words(&calls)))
}

/// What the stack has of a rule.
async fn in_stack(guardrail: &Guardrail, rule: &str) -> Result<InStack, ApiError> {
    let describe = guardrail.cloudformation.describe_stack_resources().stack_name(STACK);
    let sent = describe.send().await;
    // That there is no such stack is a code that it shares with senseless requests, which this is not.
    let answer = unless_absent("DescribeStackResources", sent, "ValidationError")?;
    let resources = answer.and_then(|it| it.stack_resources).unwrap_or_default();
    let resource = resources.iter().find(|it| it.physical_resource_id() == Some(rule));
    Ok(InStack::from_status(resource.and_then(|it| it.resource_status()).map(|it| it.as_str())))
}

async fn observe_rule(guardrail: &Guardrail, name: &str) -> Result<Option<ObservedRule>, ApiError> {
    const ABSENT: &str = "ResourceNotFoundException";
    let events = &guardrail.events;
    let (rule, targets) =
        tokio::join!(events.describe_rule().name(name).send(), events.list_targets_by_rule().rule(name).send());
    let Some(rule) = unless_absent("DescribeRule", rule, ABSENT)? else { return Ok(None) };
    let targets = unless_absent("ListTargetsByRule", targets, ABSENT)?.and_then(|it| it.targets).unwrap_or_default();
    let target = |it: EventTarget| Target {
        plain: it.input.is_none() && it.input_path.is_none() && it.input_transformer.is_none(),
        id: it.id,
        arn: it.arn,
    };
    Ok(Some(ObservedRule {
        enabled: rule.state.is_some_and(|it| it != RuleState::Disabled),
        pattern: rule.event_pattern.and_then(|it| serde_json::from_str::<Value>(&it).ok()),
        schedule: rule.schedule_expression.filter(|it| !it.is_empty()),
        targets: targets.into_iter().map(target).collect(),
    }))
}

async fn carry_out(guardrail: &Guardrail, rule: &Rule, call: &RuleCall, arn: &str) -> Result<(), ApiError> {
    let events = &guardrail.events;
    match call {
        RuleCall::Put => {
            let put = events.put_rule().name(rule.name).state(RuleState::Enabled);
            let put = match &rule.wakes {
                Wakes::OnEvents(pattern) => put.event_pattern(pattern.to_string()),
                Wakes::BySchedule(expression) => put.schedule_expression(*expression),
            };
            done("PutRule", put.send().await)
        }
        RuleCall::Enable => done("EnableRule", events.enable_rule().name(rule.name).send().await),
        RuleCall::PutTarget { id } => {
            const OPERATION: &str = "PutTargets";
            let dead_letters = DeadLetterConfig::builder().arn(dead_letters_arn(guardrail.config.place())).build();
            let target = EventTarget::builder().id(id).arn(arn).dead_letter_config(dead_letters).build();
            let target = target.map_err(|error| ApiError::new(OPERATION, error))?;
            let put = output(OPERATION, events.put_targets().rule(rule.name).targets(target).send().await)?;
            match put.failed_entries().first() {
                None => Ok(()),
                Some(it) => Err(ApiError::new(OPERATION, it.error_message().unwrap_or("refused").to_owned())),
            }
        }
        RuleCall::RemoveTargets { ids } => {
            const OPERATION: &str = "RemoveTargets";
            let remove = events.remove_targets().rule(rule.name).set_ids(Some(ids.clone()));
            match output(OPERATION, remove.send().await)?.failed_entries().first() {
                None => Ok(()),
                Some(it) => Err(ApiError::new(OPERATION, it.error_message().unwrap_or("refused").to_owned())),
            }
        }
    }
}

/// Whether EventBridge may invoke the functions, and whether they may run.
async fn functions(guardrail: &Guardrail) -> Vec<PartFinding> {
    let mut findings = Vec::new();
    let place = guardrail.config.place();
    for function in [REMEDIATE, SWEEP] {
        let part = format!("function {function}");
        match permission_missing(guardrail, function, place).await {
            Ok(None) => {}
            Ok(Some(problem)) => findings.push(PartFinding::new(&part, PartOutcome::Broken, problem)),
            Err(error) => findings.push(PartFinding::unreadable(&part, &error)),
        }
        let get = guardrail.lambda.get_function_concurrency().function_name(function);
        match unless_absent("GetFunctionConcurrency", get.send().await, "ResourceNotFoundException") {
            Ok(Some(it)) if it.reserved_concurrent_executions == Some(0) => {
                let problem = "its reserved concurrency is 0, so it never runs";
                findings.push(PartFinding::new(&part, PartOutcome::Broken, problem));
            }
            Ok(_) => {}
            Err(error) => findings.push(PartFinding::unreadable(&part, &error)),
        }
    }
    findings
}

async fn permission_missing(
    guardrail: &Guardrail,
    function: &str,
    place: Place<'_>,
) -> Result<Option<String>, ApiError> {
    const OPERATION: &str = "GetPolicy";
    let sent = guardrail.lambda.get_policy().function_name(function).send().await;
    let policy = unless_absent(OPERATION, sent, "ResourceNotFoundException")?.and_then(|it| it.policy);
    let Some(policy) = policy else {
        return Ok(Some("it does not exist, or nothing may invoke it".to_owned()));
    };
    let policy: Value = serde_json::from_str(&policy).map_err(|error| ApiError::new(OPERATION, error))?;
    let Place { partition, region, account } = place;
    let ours = rules(&guardrail.config.parameter_prefix, guardrail.config.place());
    let ours = ours.iter().filter(|it| it.function == function).map(|it| it.name);
    let ours: Vec<_> = ours.map(|it| (it, format!("arn:{partition}:events:{region}:{account}:rule/{it}"))).collect();
    Ok(permission_problem(&policy, &ours))
}

/// What is wrong with a function's policy, which must let each of these rules invoke it, and nobody else: whoever may
/// invoke it can make up an event, with any actor. `rules`: name and ARN.
fn permission_problem(policy: &Value, rules: &[(&str, String)]) -> Option<String> {
    let allowed: Vec<_> =
        policy["Statement"].as_array().into_iter().flatten().filter(|it| it["Effect"] != "Deny").collect();
    let denied = policy["Statement"].as_array().into_iter().flatten().any(|it| it["Effect"] == "Deny");
    if let Some((name, _)) = rules.iter().find(|rule| !allowed.iter().any(|it| rule_of(it) == Some(&rule.1))) {
        return Some(format!("rule {name} may not invoke it"));
    }
    if denied {
        return Some("its policy has a Deny, which no part of the guardrail wrote: remove it".to_owned());
    }
    let foreign = allowed.iter().find(|it| !rules.iter().any(|rule| rule_of(it) == Some(&rule.1)))?;
    let name = foreign["Sid"].as_str().unwrap_or("without an id");
    Some(format!(
        "its policy lets somebody else invoke it, who can make up an event with any actor: remove the statement {name}"
    ))
}

/// The only rule for which a statement lets EventBridge invoke a function.
fn rule_of(statement: &Value) -> Option<&str> {
    let conditions = statement["Condition"].as_object()?.values().filter_map(Value::as_object).flatten();
    let source = conditions.into_iter().find(|it| it.0.eq_ignore_ascii_case("aws:SourceArn"))?.1.as_str()?;
    let only = statement["Principal"] == json!({"Service": "events.amazonaws.com"}) && !source.contains(['*', '?']);
    only.then_some(source)
}

/// Whether some trail that logs in this region logs management writes: without one EventBridge hears of nothing.
///
/// An organization's trail belongs to another account, which need not answer us: what DescribeTrails shows of it, that
/// it logs here, is all that can be known, and is believed.
async fn some_trail_logs(guardrail: &Guardrail) -> Option<PartFinding> {
    const PART: &str = "the account's trails";
    let cloudtrail = &guardrail.cloudtrail;
    let trails = match output("DescribeTrails", cloudtrail.describe_trails().send().await) {
        Ok(it) => it.trail_list.unwrap_or_default(),
        Err(error) => return Some(PartFinding::unreadable(PART, &error)),
    };
    let place = guardrail.config.place();
    let covers = |it: &CloudTrail| it.is_multi_region_trail == Some(true) || it.home_region() == Some(place.region);
    let arns = trails.iter().filter(|it| covers(it)).filter_map(|it| it.trail_arn()?.parse::<TrailArn>().ok());
    let (own, foreign): (Vec<_>, Vec<_>) = arns.partition(|it| it.parts().account == place.account);
    let mut unread = None;
    let mut believed = None;
    for arn in own.iter().chain(&foreign) {
        match control::trail::ask_trail(guardrail.readers(), arn).await {
            Ok(it) if it.is_logging && it.selectors.log_management_writes() => return None,
            Ok(_) => {}
            Err(error) if arn.parts().account == place.account => unread = Some(error),
            Err(error) => believed = Some((arn, error)),
        }
    }
    if let Some((arn, error)) = believed {
        tracing::info!(trail = %arn, %error, "another account's trail logs here; believed, as it cannot be asked from here");
        return None;
    }
    Some(match unread {
        Some(error) => PartFinding::unreadable(PART, &error),
        None => PartFinding::new(
            PART,
            PartOutcome::Broken,
            "none is logging management writes, so no call in this account reaches EventBridge",
        ),
    })
}

/// Whether anybody gets the alerts.
async fn somebody_listens(guardrail: &Guardrail) -> Option<PartFinding> {
    let topic = guardrail.config.topic.as_ref()?;
    let part = format!("topic {}", topic.parts().resource);
    let mut pages =
        guardrail.sns.list_subscriptions_by_topic().topic_arn(topic.as_str()).into_paginator().items().send();
    while let Some(subscription) = pages.next().await {
        match output("ListSubscriptionsByTopic", subscription) {
            // Until it is confirmed, there is a word instead.
            Ok(it) if it.subscription_arn().is_some_and(|it| it.starts_with("arn:")) => return None,
            Ok(_) => {}
            Err(error) => return Some(PartFinding::unreadable(part, &error)),
        }
    }
    Some(PartFinding::new(part, PartOutcome::Broken, "nobody has a confirmed subscription, so nobody reads this"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_may_be_invoked_for_its_own_rules_and_for_nothing_else() {
        const ARN: &str = "arn:aws:events:eu-west-2:111122223333:rule/s3-guardrail";
        let statement = |sid: &str, service: &str, source: &str| json!({"Sid": sid, "Effect": "Allow", "Principal": {"Service": service}, "Action": "lambda:InvokeFunction", "Condition": {"ArnLike": {"AWS:SourceArn": source}}});
        let events = "events.amazonaws.com";
        let rules = ["sweep", "tampered"].map(|it| (it, format!("{ARN}-{it}")));
        let ours: Vec<_> = rules.iter().map(|it| statement(it.0, events, &it.1)).collect();
        let problem = |statements: &[Value]| permission_problem(&json!({"Statement": statements}), &rules);
        assert_eq!(problem(&ours), None);
        assert_eq!(problem(&ours[..1]).unwrap(), "rule tampered may not invoke it");
        assert!(problem(&[]).is_some());
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
