//! The guardrail watches itself: every part that an event has to pass on its way to a restore.
//!
//! A call that touches a part is told with its actor, and undone where that is safe. The sweep looks at all parts,
//! because a chain that is cut tells of nothing.

use aws_sdk_cloudtrail::types::Trail as CloudTrail;
use aws_sdk_eventbridge::types::{DeadLetterConfig, RuleState, Target as EventTarget};
use aws_sdk_sns::Client;
use aws_sdk_sqs::types::QueueAttributeName;
use guardrail_core::{
    decide::{
        self,
        chain::{self, Heard, Touch},
        queues::{self, Mapping, Queue},
        rules::{InStack, ObservedRule, Rule, RuleCall, STACK, Target, Wakes, Wiring, mend, rules},
    },
    edge::{
        config::Place,
        event::{About, Event},
        registry::{Kept, RegistryError},
    },
    outcome::{
        trigger::Trigger,
        watched::{PartFinding, PartOutcome, REGISTRY_DOCUMENT, WatchOutcome, Watched},
    },
    tell::{alert, metrics, second},
    value::{
        failure::ApiError,
        names::{BucketName, TopicArn, TrailArn},
        own_parts::{DEAD_LETTERS, REMEDIATE, SWEEP, USES, WIRING, WORK, own_part},
        subject::Subject,
    },
};
use serde_json::Value;

use crate::{
    Guardrail,
    api::{done, output, unless_absent},
    control,
    store::{registry, uses},
    topic::{self, Untold},
    work::{own_key, page::Page},
};

/// The guardrail is not as it should be, and could not be mended. The alert was sent before, unless it is what failed.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error("the guardrail itself: {problems}")]
    NotMended {
        problems: String,
        /// The ledger has it, and every sweep looks.
        kept_open: bool,
    },
    #[error("people could not be told of what happened to the guardrail itself")]
    Untold(#[source] ApiError),
}

/// Answers an event about a part, or about nothing that it names: undoes what is safe to undo, and tells people.
pub async fn touched(guardrail: &Guardrail, event: &Event) -> Result<Watched, WatchError> {
    let named = match &event.about {
        About::Part(names) | About::KmsKey(names) | About::Trail(names) => names.as_slice(),
        About::Bucket(_) | About::AccessPoint(_) => &[],
    };
    let config = &guardrail.config;
    let part = named
        .iter()
        .find_map(|it| decide::own_key::named(it, config).or_else(|| own_part(it, &config.parameter_prefix)));
    let touch = Touch {
        names_a_part: part.is_some(),
        names_anything: !named.is_empty(),
        is_own: event.is_own(&config.role, &config.region),
        failed: event.trigger.error_code.is_some(),
    };
    let mut watched = Watched::new(touch.outcome(), part, Some(event.trigger.clone()), Vec::new());
    // Also of a document that the guardrail's own bootstrap wrote, a copy is kept.
    let registered = if touch.failed { Vec::new() } else { documents(guardrail, named).await };
    match watched.outcome {
        WatchOutcome::Unguarded => return Ok(watched),
        WatchOutcome::Attempted | WatchOutcome::Broken | WatchOutcome::Whole => {}
        WatchOutcome::Tampered => {
            watched.findings = put_back(guardrail).await;
            watched.findings.extend(registered);
            if named.iter().any(|it| it.contains(USES)) {
                watched.findings.push(match uses::distrust(&guardrail.ssm).await {
                    Ok(()) => chain::distrusted(),
                    Err(error) => chain::still_believed(&error),
                });
            }
        }
    }
    mended(tell(guardrail, watched, false).await?)
}

/// Looks at the registry documents that a call has written or deleted, and keeps copies of those that are valid.
async fn documents(guardrail: &Guardrail, named: &[String]) -> Vec<PartFinding> {
    let (ssm, prefix) = (&guardrail.ssm, &guardrail.config.parameter_prefix);
    let mut findings = Vec::new();
    for bucket in named.iter().filter_map(|it| it.strip_prefix(prefix.as_str())?.parse::<BucketName>().ok()) {
        let part = format!("{REGISTRY_DOCUMENT}{bucket}");
        match registry::read(ssm, prefix, &bucket).await {
            Ok(Some(registration)) => {
                let kept = Kept { registration, since: guardrail.clock.now(), told_gone: false };
                if let Err(error) = uses::include(ssm, &kept.registration).await {
                    tracing::warn!(%bucket, %error, "what it uses is not in the index; the sweep tries again");
                }
                if let Err(error) = registry::keep(ssm, &kept).await {
                    tracing::warn!(%bucket, %error, "no copy was kept; the sweep tries again");
                }
            }
            Ok(None) => findings.push(chain::unregistered(&bucket)),
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
    let watched = Watched::new(WatchOutcome::Attempted, Some(part), Some(trigger.clone()), Vec::new());
    tell(guardrail, watched, false).await.map(drop)
}

/// Looks at the whole chain. `None`: it is as it should be. What cannot be mended is told, and is no error: the next
/// sweep looks again. `strangers`: parameters of the registry that are nobody's; `None`: it was not looked at.
/// `lost`: what else was found.
pub async fn check(
    guardrail: &Guardrail,
    strangers: Option<&[String]>,
    lost: Vec<PartFinding>,
) -> Result<Option<Watched>, WatchError> {
    let mut findings = own_key::mend(guardrail).await;
    let (parts, trail, topics) =
        tokio::join!(Box::pin(ways_of_events(guardrail)), some_trail_logs(guardrail), somebody_listens(guardrail));
    findings.extend(lost);
    findings.extend(parts);
    findings.extend(trail);
    findings.extend(topics);
    findings.extend(strangers.into_iter().flatten().map(|it| chain::stranger(it)));
    let watched = looked(guardrail, findings, strangers.is_some()).await?;
    Ok(Some(watched).filter(|it| it.outcome != WatchOutcome::Whole))
}

/// Looks at those parts alone that every function can put back, for who asks another one than the sweep.
pub async fn mend_what_can_be(guardrail: &Guardrail) -> Result<Watched, WatchError> {
    let findings = put_back(guardrail).await;
    looked(guardrail, findings, false).await
}

/// The key first: without it nobody can be told.
async fn put_back(guardrail: &Guardrail) -> Vec<PartFinding> {
    let mut findings = own_key::mend(guardrail).await;
    findings.extend(match wiring(guardrail).await {
        Ok(wiring) => Box::pin(mend_rules(guardrail, wiring)).await,
        Err(unknown) => vec![unknown],
    });
    findings
}

async fn looked(guardrail: &Guardrail, findings: Vec<PartFinding>, at_all: bool) -> Result<Watched, WatchError> {
    let outcome = if findings.is_empty() { WatchOutcome::Whole } else { WatchOutcome::Broken };
    tell(guardrail, Watched::new(outcome, None, None, findings), at_all).await
}

/// Tells people what they do not know yet, and writes down that they do. `at_all`: all parts were looked at.
async fn tell(guardrail: &Guardrail, mut watched: Watched, at_all: bool) -> Result<Watched, WatchError> {
    let (outcome, part, findings) = (watched.outcome, watched.part.as_deref(), &watched.findings);
    if let Some(line) = metrics::watched(&watched, guardrail.clock.now()) {
        (guardrail.metrics)(&line);
        tracing::error!(?outcome, part, ?findings, "the guardrail itself");
    }
    let Some(topic) = &guardrail.config.topic else { return Ok(watched) };
    let mut page = Page::open(guardrail, &Subject::Guardrail, None).await;
    let Some(mut facts) = page.record_parts(&mut watched, at_all).await else {
        if watched.outcome != WatchOutcome::Whole {
            publish(guardrail, topic, &watched, false).await.map_err(|it| WatchError::Untold(it.error))?;
            watched.notified = true;
        }
        return Ok(watched);
    };
    // Once, and once more for what came meanwhile.
    while !facts.is_empty() {
        let is_hinted = topic::are_hinted(&facts);
        if let Err(untold) = publish(guardrail, topic, &watched.about(facts, page.look()), is_hinted).await {
            page.release(untold.is_hinted).await;
            return Err(WatchError::Untold(untold.error));
        }
        watched.notified = true;
        facts = page.confirm().await;
    }
    Ok(watched)
}

async fn publish(guardrail: &Guardrail, topic: &TopicArn, news: &Watched, is_hinted: bool) -> Result<(), Untold> {
    let place = guardrail.config.place();
    let alert = alert::watch_alert(news, place);
    if second::is_for_both(news) && !is_hinted {
        // First, so that the first topic hears when the second one does not work.
        if let Err(error) = topic::publish_without_details(guardrail, &alert, None).await {
            let mut news = news.clone();
            news.findings.push(chain::second_topic_refuses(&error));
            return topic::publish(guardrail, topic, &alert::watch_alert(&news, place), is_hinted).await;
        }
    }
    topic::publish(guardrail, topic, &alert, is_hinted).await
}

/// An error when something was tried in vain, so that Lambda tries again.
fn mended(watched: Watched) -> Result<Watched, WatchError> {
    let problems = chain::tried_in_vain(&watched.findings);
    if problems.is_empty() {
        return Ok(watched);
    }
    Err(WatchError::NotMended { problems: problems.join("; "), kept_open: watched.kept_open })
}

fn dead_letters_arn(place: Place<'_>) -> String {
    let Place { partition, region, account } = place;
    format!("arn:{partition}:sqs:{region}:{account}:{DEAD_LETTERS}")
}

/// Where the rules of what is deployed lead.
async fn wiring(guardrail: &Guardrail) -> Result<Wiring, PartFinding> {
    let sent = guardrail.ssm.get_parameter().name(WIRING).send().await;
    let found = unless_absent("GetParameter", sent, "ParameterNotFound");
    let found = found.map_err(|error| PartFinding::unreadable(format!("parameter {WIRING}"), &error))?;
    Ok(Wiring::from_version(found.and_then(|it| it.parameter?.value).as_deref()))
}

/// Whether what EventBridge sends arrives, and nothing else.
async fn ways_of_events(guardrail: &Guardrail) -> Vec<PartFinding> {
    let wiring = match wiring(guardrail).await {
        Ok(it) => it,
        Err(unknown) => return vec![unknown],
    };
    // Boxed: the SDK's futures are large, and would all lie on the stack.
    let (rules, functions, queues) = tokio::join!(
        Box::pin(mend_rules(guardrail, wiring)),
        Box::pin(functions(guardrail, wiring)),
        Box::pin(queues(guardrail, wiring))
    );
    [rules, functions, queues].concat()
}

async fn mend_rules(guardrail: &Guardrail, wiring: Wiring) -> Vec<PartFinding> {
    let mut findings = Vec::new();
    for rule in rules(&guardrail.config.parameter_prefix, guardrail.config.place()) {
        if let Some((outcome, problem)) = mend_rule(guardrail, &rule, wiring).await {
            findings.push(PartFinding::new(format!("rule {}", rule.name), outcome, problem));
        }
    }
    findings
}

/// What came of a rule, and what was wrong with it; `None`: it is as it should be.
async fn mend_rule(guardrail: &Guardrail, rule: &Rule, wiring: Wiring) -> Option<(PartOutcome, String)> {
    let arns = rule.targets(wiring, guardrail.config.place());
    let observed = match observe_rule(guardrail, rule.name).await {
        Ok(it) => it,
        Err(error) => return Some((PartOutcome::Unreadable, error.to_string())),
    };
    let calls = mend(rule, observed.as_ref(), &arns);
    if calls.is_empty() {
        return None;
    }
    if let Some(left) = chain::rule_left(observed.as_ref(), &in_stack(guardrail, rule.name).await) {
        return Some(left);
    }
    for call in &calls {
        if let Err(error) = apply_call(guardrail, rule, call, &arns[0]).await {
            return Some((PartOutcome::Failed, error.to_string()));
        }
    }
    Some((PartOutcome::Restored, chain::rule_in_words(&calls)))
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

async fn apply_call(guardrail: &Guardrail, rule: &Rule, call: &RuleCall, arn: &str) -> Result<(), ApiError> {
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
async fn functions(guardrail: &Guardrail, wiring: Wiring) -> Vec<PartFinding> {
    const ABSENT: &str = "ResourceNotFoundException";
    let mut findings = Vec::new();
    for function in [REMEDIATE, SWEEP] {
        let part = format!("function {function}");
        let lambda = &guardrail.lambda;
        let (policy, concurrency) = tokio::join!(
            lambda.get_policy().function_name(function).send(),
            lambda.get_function_concurrency().function_name(function).send()
        );
        match unless_absent("GetFunctionConcurrency", concurrency, ABSENT) {
            Ok(found) => {
                let reserved = found.map(|it| it.reserved_concurrent_executions);
                let problem = reserved.map_or(Some("it does not exist"), chain::concurrency_problem);
                findings.extend(problem.map(|it| PartFinding::new(&part, PartOutcome::Broken, it)));
            }
            Err(error) => findings.push(PartFinding::unreadable(&part, &error)),
        }
        // Without a policy, nobody may invoke it.
        let policy = unless_absent("GetPolicy", policy, ABSENT).and_then(|it| match it.and_then(|it| it.policy) {
            Some(policy) => serde_json::from_str(&policy).map_err(|error| ApiError::new("GetPolicy", error)),
            None => Ok(Value::Null),
        });
        match policy.map(|it| chain::permission_problem(&it, &invokers(guardrail, function, wiring))) {
            Ok(problem) => findings.extend(problem.map(|it| PartFinding::new(&part, PartOutcome::Broken, it))),
            Err(error) => findings.push(PartFinding::unreadable(&part, &error)),
        }
    }
    findings
}

/// The rules that wake a function, and whether they invoke it themselves.
fn invokers(guardrail: &Guardrail, function: &str, wiring: Wiring) -> Vec<(&'static str, String, bool)> {
    let place = guardrail.config.place();
    let rules = rules(&guardrail.config.parameter_prefix, place).into_iter().filter(|it| it.function == function);
    rules.map(|it| (it.name, it.arn(place), it.invokes(wiring))).collect()
}

/// Whether what is in the queues arrives, and who may send to them.
async fn queues(guardrail: &Guardrail, wiring: Wiring) -> Vec<PartFinding> {
    let ours = queues::queues(&guardrail.config.parameter_prefix, guardrail.config.place());
    let mut findings = Vec::new();
    match mappings(guardrail).await {
        Ok(mappings) => {
            for queue in &ours {
                let problem = queue.mapping_problem(&mappings, wiring);
                findings.extend(problem.map(|it| PartFinding::new(part(queue), PartOutcome::Broken, it)));
            }
            for source in queues::foreign_sources(&mappings, &ours) {
                let problem = format!("it takes events from {source}, which is none of ours");
                findings.push(PartFinding::new(format!("function {REMEDIATE}"), PartOutcome::Broken, problem));
            }
        }
        Err(error) => findings.push(PartFinding::unreadable("the event source mappings", &error)),
    }
    for queue in &ours {
        match queue_policy(guardrail, queue).await {
            Ok(found) => {
                let problem = queue.policy_problem(found.as_deref());
                findings.extend(problem.map(|it| PartFinding::new(part(queue), PartOutcome::Broken, it)));
            }
            Err(error) => findings.push(PartFinding::unreadable(part(queue), &error)),
        }
    }
    findings
}

fn part(queue: &Queue) -> String {
    format!("queue {}", queue.name)
}

async fn mappings(guardrail: &Guardrail) -> Result<Vec<Mapping>, ApiError> {
    let list = guardrail.lambda.list_event_source_mappings().function_name(REMEDIATE);
    let mut pages = list.into_paginator().items().send();
    let mut mappings = Vec::new();
    while let Some(mapping) = pages.next().await {
        let mapping = output("ListEventSourceMappings", mapping)?;
        let enabled = !matches!(mapping.state(), Some("Disabling" | "Disabled" | "Deleting"));
        mappings.push(Mapping { source: mapping.event_source_arn.unwrap_or_default(), enabled });
    }
    Ok(mappings)
}

async fn queue_policy(guardrail: &Guardrail, queue: &Queue) -> Result<Option<String>, ApiError> {
    let work = guardrail.config.queue_url.as_deref().unwrap_or_default();
    let url = format!("{}{}", work.strip_suffix(WORK).unwrap_or(work), queue.name);
    let get = guardrail.sqs.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::Policy);
    let attributes = output("GetQueueAttributes", get.send().await)?.attributes.unwrap_or_default();
    Ok(attributes.get(&QueueAttributeName::Policy).cloned())
}

/// Whether some trail that logs in this region logs management writes; the account's own are asked first.
async fn some_trail_logs(guardrail: &Guardrail) -> Option<PartFinding> {
    let cloudtrail = &guardrail.cloudtrail;
    let trails = match output("DescribeTrails", cloudtrail.describe_trails().send().await) {
        Ok(it) => it.trail_list.unwrap_or_default(),
        Err(error) => return Some(PartFinding::unreadable("the account's trails", &error)),
    };
    let place = guardrail.config.place();
    let covers = |it: &CloudTrail| it.is_multi_region_trail == Some(true) || it.home_region() == Some(place.region);
    let arns = trails.iter().filter(|it| covers(it)).filter_map(|it| it.trail_arn()?.parse::<TrailArn>().ok());
    let (own, foreign): (Vec<_>, Vec<_>) = arns.partition(|it| it.parts().account == place.account);
    let mut asked = Vec::new();
    for arn in own.into_iter().chain(foreign) {
        let answer = control::trail::ask_trail(guardrail.readers(), &arn).await;
        asked.push((arn, answer.map(|it| it.is_logging && it.selectors.log_management_writes())));
        if matches!(asked.last(), Some((_, Ok(true)))) {
            break;
        }
    }
    match chain::heard(&asked, place.account) {
        Heard::Yes => None,
        Heard::Believed(trail, error) => {
            tracing::info!(%trail, %error, "another account's trail logs here; believed, as it cannot be asked from here");
            None
        }
        Heard::Not(finding) => Some(finding),
    }
}

/// Whether anybody gets what each topic is told.
async fn somebody_listens(guardrail: &Guardrail) -> Vec<PartFinding> {
    let Guardrail { config, sns, sns_of_second, .. } = guardrail;
    let (first, second) =
        tokio::join!(listeners(sns, config.topic.as_ref()), listeners(sns_of_second, config.second_topic.as_ref()));
    first.into_iter().chain(second).collect()
}

/// What is wrong with a topic's subscriptions; `None`: somebody gets what it is told, or there is no such topic.
async fn listeners(sns: &Client, topic: Option<&TopicArn>) -> Option<PartFinding> {
    let topic = topic?;
    let part = format!("topic {}", topic.parts().resource);
    let mut pages = sns.list_subscriptions_by_topic().topic_arn(topic.as_str()).into_paginator().items().send();
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
