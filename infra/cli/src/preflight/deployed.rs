//! What is deployed, what could be, and how each registered bucket is. Changes nothing.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, stream};
use guardrail::{api, control, observe};
use guardrail_core::{
    control::lifecycle::Lifecycle,
    decide::rules::{STACK, rules},
    edge::registry::Registration,
    value::{failure::ApiError, policy::Policy},
};
use serde_json::{Value, json};

use super::{Check, Verdict};
use crate::{
    error::{CliError, next_step},
    list,
    session::Session,
};

const FOUNDATION: &str = "s3-guardrail-foundation";

const TEMPLATES: [(&str, &str); 3] = [
    ("infra/foundation.yaml", include_str!("../../../foundation.yaml")),
    ("infra/global.yaml", include_str!("../../../global.yaml")),
    ("infra/wiring.yaml", include_str!("../../../wiring.yaml")),
];

const FUNCTIONS: [&str; 4] = ["guardrail-remediate", "guardrail-sweep", "guardrail-bootstrap", "guardrail-verify"];

/// Every rule of the guardrail begins so; those of the second come from the guardrail of another region.
const RULES: &str = "s3-guardrail-";

const FORWARDING: &str = "s3-guardrail-roles-";

/// How many buckets are looked at at once.
const AT_ONCE: usize = 8;

/// A function as it is deployed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Function {
    architecture: String,
    role: String,
    /// Why it does not run, if Lambda says so.
    failed: Option<String>,
}

/// A stack as it is deployed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stack {
    status: String,
    parameters: Vec<(String, String)>,
}

pub(super) async fn checks(session: &Session) -> Result<Vec<Check>, CliError> {
    let mut checks = templates(session).await;
    checks.extend(patterns(session).await);
    checks.push(functions(session).await.unwrap_or_else(|error| untried("the functions", &error)));
    checks.extend(stacks(session).await);
    checks.extend(registered(session).await?);
    Ok(checks)
}

/// A look that nobody can tell from: whoever deploys or calls may be allowed less, and all may be well.
fn untried(what: &str, error: &ApiError) -> Check {
    Check::new(Verdict::Unknown, format!("{what} could not be looked at{}: {error}", next_step(error)))
}

/// One line when all is well, or each that is not.
fn all_or_each(all: String, checks: Vec<Check>) -> Vec<Check> {
    let bad: Vec<_> = checks.into_iter().filter(|it| it.verdict != Verdict::Good).collect();
    if bad.is_empty() { vec![Check::new(Verdict::Good, all)] } else { bad }
}

/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ValidateTemplate.html>
async fn templates(session: &Session) -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, text) in TEMPLATES {
        let validated = session.guardrail.cloudformation.validate_template().template_body(text).send().await;
        checks.push(match api::output("ValidateTemplate", validated) {
            Ok(_) => Check::new(Verdict::Good, name),
            Err(error) if error.code() == Some("ValidationError") => Check::new(
                Verdict::Bad,
                format!("CloudFormation refuses {name}, and it cannot be deployed here; please report this: {error}"),
            ),
            Err(error) => untried(name, &error),
        });
    }
    all_or_each(format!("CloudFormation takes all {} templates", TEMPLATES.len()), checks)
}

/// <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_TestEventPattern.html>
async fn patterns(session: &Session) -> Vec<Check> {
    let config = &session.guardrail.config;
    let mut checks = Vec::new();
    for rule in rules(&config.parameter_prefix, config.place()) {
        let Some((pattern, sample)) = rule.wakes.pattern().zip(sample(rule.name)) else { continue };
        let test = session.guardrail.events.test_event_pattern().event_pattern(pattern).event(sample.to_string());
        let broken = |what: &str| {
            let text =
                format!("rule {}: {what}: that call would not wake the guardrail; please report this", rule.name);
            Check::new(Verdict::Bad, text)
        };
        checks.push(match api::output("TestEventPattern", test.send().await) {
            Ok(tested) if tested.result => Check::new(Verdict::Good, rule.name),
            Ok(_) => broken("EventBridge takes its pattern, and does not find a sample call with it"),
            Err(error) if error.code() == Some("InvalidEventPatternException") => {
                broken(&format!("EventBridge refuses its pattern: {error}"))
            }
            Err(error) => untried(&format!("the pattern of rule {}", rule.name), &error),
        });
    }
    all_or_each(
        format!("EventBridge takes the patterns of all {} rules, and finds a sample call with each", checks.len()),
        checks,
    )
}

/// A call that a rule must find; `None`: it goes by the clock.
fn sample(rule: &str) -> Option<Value> {
    let rule_disabled = include_str!("../../../../events/disable-rule.json");
    let with = |source: &str, name: &str, parameters: Value| {
        let mut event: Value = serde_json::from_str(rule_disabled).unwrap_or_default();
        event["source"] = json!(format!("aws.{source}"));
        event["detail"]["eventSource"] = json!(format!("{source}.amazonaws.com"));
        event["detail"]["eventName"] = json!(name);
        event["detail"]["requestParameters"] = parameters;
        Some(event)
    };
    match rule {
        "s3-guardrail-bucket-changed" => {
            serde_json::from_str(include_str!("../../../../events/put-bucket-policy.json")).ok()
        }
        "s3-guardrail-key-changed" => serde_json::from_str(include_str!("../../../../events/disable-key.json")).ok(),
        "s3-guardrail-trail-changed" => serde_json::from_str(include_str!("../../../../events/stop-logging.json")).ok(),
        "s3-guardrail-tampered" => serde_json::from_str(rule_disabled).ok(),
        "s3-guardrail-remediate-tampered" => with("events", "DisableRule", json!({"name": "s3-guardrail-tampered"})),
        "s3-guardrail-beside-tampered" => {
            with("logs", "DeleteLogGroup", json!({"logGroupName": "/aws/lambda/guardrail-remediate"}))
        }
        "s3-guardrail-tampering-denied" => with("events", "DisableRule", Value::Null),
        _ => None,
    }
}

async fn functions(session: &Session) -> Result<Check, ApiError> {
    let mut deployed = Vec::new();
    for name in FUNCTIONS {
        let get = session.guardrail.lambda.get_function_configuration().function_name(name).send().await;
        let found = api::unless_absent("GetFunctionConfiguration", get, "ResourceNotFoundException")?;
        let function = found.map(|it| Function {
            architecture: it.architectures().iter().map(|it| it.as_str()).collect(),
            role: it.role().unwrap_or_default().to_owned(),
            failed: it.state_reason().or(it.last_update_status_reason()).filter(|it| !it.is_empty()).map(str::to_owned),
        });
        deployed.push((name, function));
    }
    Ok(judge_functions(&deployed, session.guardrail.config.role.as_str()))
}

/// What is to be done about the functions; `role`: whom bucket policies are checked for.
fn judge_functions(deployed: &[(&str, Option<Function>)], role: &str) -> Check {
    let missing: Vec<_> = deployed.iter().filter(|(_, stack)| stack.is_none()).map(|(name, _)| *name).collect();
    if missing.len() == deployed.len() {
        return Check::new(Verdict::Good, "no function of the guardrail is deployed in this region");
    }
    if !missing.is_empty() {
        return Check::new(Verdict::Bad, format!("not deployed: {}; run infra/deploy.sh again", missing.join(", ")));
    }
    let functions = || deployed.iter().filter_map(|(name, it)| Some((name, it.as_ref()?)));
    if let Some((name, why)) = functions().find_map(|(name, it)| Some((name, it.failed.as_ref()?))) {
        return Check::new(Verdict::Bad, format!("{name} does not run: {why}; run infra/deploy.sh again"));
    }
    let architectures: BTreeSet<_> = functions().map(|(_, it)| it.architecture.as_str()).collect();
    if architectures.len() > 1 {
        let of_each: Vec<_> = functions().map(|(name, it)| format!("{name} {}", it.architecture)).collect();
        let text = format!("{}: run infra/deploy.sh with --arm64 or --x86-64", of_each.join(", "));
        return Check::new(Verdict::Bad, format!("the functions are for different processors: {text}"));
    }
    match functions().find(|(name, _)| **name == FUNCTIONS[0]) {
        Some((name, it)) if it.role != role => Check::new(
            Verdict::Bad,
            format!(
                "{name} runs as {}, and what would lock it out is looked for with {role}: give --guardrail-role {}",
                it.role, it.role
            ),
        ),
        _ => {
            let architectures = architectures.into_iter().collect::<String>();
            Check::new(Verdict::Good, format!("all functions are deployed, for {architectures}, with their own role"))
        }
    }
}

async fn stacks(session: &Session) -> Vec<Check> {
    let mut checks = Vec::new();
    let prefix = &session.guardrail.config.parameter_prefix;
    let mut wiring = None;
    for name in [FOUNDATION, STACK] {
        match stack(session, name).await {
            Ok(found) => {
                checks.push(judge_stack(name, found.as_ref(), prefix));
                if name == STACK {
                    wiring = Some(found.is_some());
                }
            }
            Err(error) => checks.push(untried(&format!("the stack {name}"), &error)),
        }
    }
    if wiring == Some(false) {
        let listed = session.guardrail.events.list_rules().name_prefix(RULES).send().await;
        match api::output("ListRules", listed) {
            Ok(listed) => {
                let names = listed.rules().iter().filter_map(|it| it.name());
                checks.extend(leftovers(names.filter(|it| !it.starts_with(FORWARDING)).collect()));
            }
            Err(error) => checks.push(untried("rules that no stack has", &error)),
        }
    }
    checks
}

async fn stack(session: &Session, name: &str) -> Result<Option<Stack>, ApiError> {
    let described = session.guardrail.cloudformation.describe_stacks().stack_name(name).send().await;
    // So CloudFormation says that there is none.
    let described = api::unless_absent("DescribeStacks", described, "ValidationError")?;
    Ok(described.and_then(|it| it.stacks.unwrap_or_default().pop()).map(|it| Stack {
        status: it.stack_status().map_or("unknown", |it| it.as_str()).to_owned(),
        parameters: (it.parameters().iter())
            .filter_map(|it| Some((it.parameter_key()?.to_owned(), it.parameter_value()?.to_owned())))
            .collect(),
    }))
}

/// What a stack's state and parameters mean; `prefix`: where this command looks for the registry.
fn judge_stack(name: &str, stack: Option<&Stack>, prefix: &str) -> Check {
    let Some(Stack { status, parameters }) = stack else {
        return Check::new(Verdict::Good, format!("the stack {name} is not deployed in this region"));
    };
    if let Some((_, deployed)) = parameters.iter().find(|(name, value)| name == "ParameterPrefix" && *value != prefix) {
        let text = format!(
            "the stack {name} has its registry at {deployed}, and you look at {prefix}: give --prefix {deployed}"
        );
        return Check::new(Verdict::Bad, text);
    }
    match status.as_str() {
        "CREATE_COMPLETE" | "UPDATE_COMPLETE" => Check::new(Verdict::Good, format!("the stack {name} is {status}")),
        _ if status.ends_with("_IN_PROGRESS") => {
            Check::new(Verdict::Unknown, format!("the stack {name} is {status}: somebody is at it"))
        }
        // Back to what it was, and complete as that.
        "UPDATE_ROLLBACK_COMPLETE" => {
            let text = format!("the stack {name} is {status}: its last change failed; run infra/deploy.sh again");
            Check::new(Verdict::Unknown, text)
        }
        _ => Check::new(Verdict::Bad, format!("the stack {name} is {status}: run infra/deploy.sh again")),
    }
}

/// Rules of our names that no stack has: the next deployment would stop at them.
fn leftovers(names: Vec<&str>) -> Option<Check> {
    let text = format!(
        "rules without the stack {STACK}: {}; infra/deploy.sh removes them first, or `aws events delete-rule` does",
        names.join(", ")
    );
    (!names.is_empty()).then(|| Check::new(Verdict::Unknown, text))
}

/// What of each registered bucket a person should know before the guardrail or `guardrail verify` comes to it.
async fn registered(session: &Session) -> Result<Vec<Check>, CliError> {
    let documents = match list::documents(session).await {
        Ok(documents) => documents,
        // It was said above that the registry cannot be read.
        Err(CliError::Parameters { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let checks = stream::iter(documents).map(async |(name, document)| match list::parse(&name, &document) {
        Ok(registration) => of_registered(session, &registration).await,
        Err(error) => {
            let text = format!("{name}: its registry document is not valid, so that nothing is restored: {error}");
            vec![Check::new(Verdict::Bad, text)]
        }
    });
    Ok(checks.buffered(AT_ONCE).concat().await)
}

async fn of_registered(session: &Session, registration: &Registration) -> Vec<Check> {
    let (readers, name) = (session.guardrail.readers(), &registration.bucket);
    let mut checks = Vec::new();
    match control::lifecycle::read(readers, name).await {
        Ok(lifecycle) => checks.extend(old_rules(name.as_str(), &lifecycle)),
        Err(error) => checks.push(untried(&format!("the lifecycle of {name}"), &error)),
    }
    match observe::default_retention(readers, name).await {
        Ok(None) => {}
        Ok(Some(retention)) => {
            let text =
                format!("{name}: Object Lock keeps new objects for {retention}, so that `guardrail verify` refuses it");
            checks.push(Check::new(Verdict::Unknown, text));
        }
        Err(error) => checks.push(untried(&format!("Object Lock of {name}"), &error)),
    }
    match logs(session, registration).await {
        Ok((bucket_key, decrypts)) => checks.extend(undeliverable(name.as_str(), bucket_key, decrypts)),
        Err(error) => checks.push(untried(&format!("how the logs of {name} are encrypted"), &error)),
    }
    let all = format!("{name}: no old rules, no locked test objects, and CloudTrail may encrypt its logs");
    all_or_each(all, checks)
}

/// Whether the log bucket has a Bucket Key, and whether the key lets CloudTrail decrypt.
async fn logs(session: &Session, registration: &Registration) -> Result<(bool, bool), ApiError> {
    let log_bucket = registration.log_bucket().map_err(|error| ApiError::new("GetBucketEncryption", error))?;
    let encryption = control::default_encryption::read(session.guardrail.readers(), &log_bucket).await?;
    if !encryption.bucket_key || registration.trail_arn.is_none() {
        return Ok((false, false));
    }
    let policy = control::kms_key::key_policy(session.guardrail.readers(), registration.key_arn.as_str()).await?;
    Ok((true, lets_cloudtrail_decrypt(&policy)))
}

/// Whether a key's policy has what CloudTrail needs for a log bucket with a Bucket Key.
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/create-kms-key-policy-for-cloudtrail.html>
pub(crate) fn lets_cloudtrail_decrypt(policy: &Policy) -> bool {
    policy.statements.iter().any(|it| {
        let (principal, actions) = (it.0["Principal"]["Service"].to_string(), it.0["Action"].to_string());
        it.is_allow()
            && principal.contains("\"cloudtrail.")
            && ["\"kms:Decrypt\"", "\"kms:*\""].iter().any(|action| actions.contains(action))
    })
}

fn undeliverable(bucket: &str, bucket_key: bool, decrypts: bool) -> Option<Check> {
    let text = format!(
        "{bucket}: its log bucket has a Bucket Key, and the key does not let CloudTrail decrypt, so that logs may not be \
         delivered: `guardrail bootstrap {bucket}` adds that"
    );
    (bucket_key && !decrypts).then(|| Check::new(Verdict::Bad, text))
}

/// Rules as S3 took them before they had filters. It does not take ours beside them.
fn old_rules(bucket: &str, lifecycle: &Lifecycle) -> Option<Check> {
    let old = lifecycle.rules.iter().filter(|it| it.child("Prefix").is_some()).count();
    let text = format!(
        "{bucket}: {old} lifecycle rules are in the old form, with a prefix and no filter; the next restore writes them with \
         a filter, which means the same, and infrastructure code may show that as a difference"
    );
    (old > 0).then(|| Check::new(Verdict::Unknown, text))
}

#[cfg(test)]
mod tests {
    use guardrail_tests::fake::{FakeAws, FakeKey, FaultKind, KEY, ROLE, TRAIL};

    use super::*;
    use crate::faults::session;

    fn lines(checks: &[Check]) -> String {
        checks.iter().map(|it| anstream::adapter::strip_str(&it.line()).to_string()).collect()
    }

    async fn said(fake: &FakeAws) -> String {
        lines(&checks(&session(fake)).await.unwrap())
    }

    fn registered() -> FakeAws {
        let fake = FakeAws::guarded();
        fake.register(json!({"trail_arn": TRAIL, "log_bucket": "acme-logs"}));
        fake.state().others = [("acme-logs".to_owned(), Default::default())].into();
        fake
    }

    #[tokio::test]
    async fn what_is_well_is_one_line_each_and_nothing_is_changed() {
        let fake = registered();
        fake.deploy_rules();
        expect_test::expect![[r#"
            ok  CloudFormation takes all 3 templates
            ok  EventBridge takes the patterns of all 7 rules, and finds a sample call with each
            ok  all functions are deployed, for x86_64, with their own role
            ok  the stack s3-guardrail-foundation is CREATE_COMPLETE
            ok  the stack s3-guardrail-wiring is CREATE_COMPLETE
            ok  acme-data: no old rules, no locked test objects, and CloudTrail may encrypt its logs
        "#]]
        .assert_eq(&said(&fake).await);
        let calls = fake.state().calls.clone();
        let is_read =
            |it: &String| ["Get", "Describe", "List", "Validate", "Test"].iter().any(|read| it.starts_with(read));
        assert!(calls.iter().all(is_read), "{calls:?}");
    }

    #[tokio::test]
    async fn what_is_left_of_an_earlier_deployment_is_named() {
        let fake = FakeAws::guarded();
        fake.deploy_rules();
        fake.state().stack = Some([].into());
        let said = said(&fake).await;
        assert!(said.contains("the stack s3-guardrail-wiring is not deployed"), "{said}");
        assert!(said.contains("??  rules without the stack s3-guardrail-wiring: s3-guardrail-b"), "{said}");
    }

    #[tokio::test]
    async fn what_aws_refuses_is_bad_and_what_the_caller_may_not_ask_is_unknown() {
        for (call, kind, line) in [
            (
                "ValidateTemplate",
                FaultKind::Answer(400, "ValidationError"),
                "!!  CloudFormation refuses infra/foundation.yaml",
            ),
            (
                "ValidateTemplate",
                FaultKind::Answer(403, "AccessDenied"),
                "??  infra/foundation.yaml could not be looked at (you need the permission cloudformation:ValidateTemplate)",
            ),
            (
                "TestEventPattern",
                FaultKind::Answer(400, "InvalidEventPatternException"),
                "!!  rule s3-guardrail-bucket-changed: EventBridge refuses its pattern",
            ),
            (
                "TestEventPattern",
                FaultKind::Answer(400, "AccessDeniedException"),
                "??  the pattern of rule s3-guardrail-bucket-changed could not be looked at (you need the permission events:TestEventPattern)",
            ),
            (
                "GetFunctionConfiguration",
                FaultKind::Answer(400, "AccessDeniedException"),
                "??  the functions could not be looked at (you need the permission lambda:GetFunctionConfiguration)",
            ),
            (
                "DescribeStacks",
                FaultKind::Answer(403, "AccessDenied"),
                "??  the stack s3-guardrail-foundation could not be looked at",
            ),
            (
                "GetObjectLockConfiguration",
                FaultKind::Answer(403, "AccessDenied"),
                "??  Object Lock of acme-data could not be looked at",
            ),
        ] {
            let fake = registered();
            fake.deploy_rules();
            fake.fail(call, usize::MAX, kind);
            let said = said(&fake).await;
            assert!(said.contains(line), "{line}: {said}");
        }
    }

    #[tokio::test]
    async fn how_a_registered_bucket_is_otherwise_is_told() {
        let fake = registered();
        fake.set("lifecycle", Some("<LifecycleConfiguration><Rule><ID>theirs</ID><Prefix>a/</Prefix><Status>Enabled</Status><Expiration><Days>9</Days></Expiration></Rule></LifecycleConfiguration>"));
        {
            let mut state = fake.state();
            state.object_lock = Some("<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Years>2</Years></DefaultRetention></Rule></ObjectLockConfiguration>".to_owned());
            let encryption = format!(
                "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>{KEY}</KMSMasterKeyID></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>true</BucketKeyEnabled></Rule></ServerSideEncryptionConfiguration>"
            );
            state.others.get_mut("acme-logs").unwrap().0.insert("encryption".to_owned(), encryption);
            let broken = ("/s3-guardrail/buckets/broken".to_owned(), "{}".to_owned());
            state.parameters.extend([broken]);
        }
        let told = said(&fake).await;
        for line in [
            "??  acme-data: 1 lifecycle rules are in the old form",
            "??  acme-data: Object Lock keeps new objects for 2 years in mode GOVERNANCE",
            "!!  acme-data: its log bucket has a Bucket Key",
            "!!  broken: its registry document is not valid",
        ] {
            assert!(told.contains(line), "{line}: {told}");
        }
        let statement = json!({"Sid": "T", "Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}, "Action": ["kms:GenerateDataKey*", "kms:Decrypt"], "Resource": "*"});
        let policy = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
        fake.state().key = Some(FakeKey { policy, ..FakeKey::good() });
        let told = said(&fake).await;
        assert!(!told.contains("Bucket Key"), "{told}");
    }

    #[test]
    fn functions_that_do_not_fit_are_told_with_what_to_do() {
        let function = || Function { architecture: "arm64".to_owned(), role: ROLE.to_owned(), failed: None };
        let with = |change: fn(&mut Option<Function>)| {
            let mut all = FUNCTIONS.map(|it| (it, Some(function())));
            change(&mut all[0].1);
            judge_functions(&all, ROLE)
        };
        for (check, verdict, text) in [
            (with(|_| {}), Verdict::Good, "for arm64"),
            (with(|it| *it = None), Verdict::Bad, "not deployed: guardrail-remediate; run infra/deploy.sh again"),
            (with(|it| it.as_mut().unwrap().architecture = "x86_64".to_owned()), Verdict::Bad, "--arm64 or --x86-64"),
            (
                with(|it| it.as_mut().unwrap().role = "arn:aws:iam::111122223333:role/x".to_owned()),
                Verdict::Bad,
                "--guardrail-role arn:aws:iam::111122223333:role/x",
            ),
            (
                with(|it| it.as_mut().unwrap().failed = Some("no image".to_owned())),
                Verdict::Bad,
                "does not run: no image",
            ),
            (judge_functions(&FUNCTIONS.map(|it| (it, None)), ROLE), Verdict::Good, "no function"),
        ] {
            assert!(check.verdict == verdict && check.text.contains(text), "{text}: {check:?}");
        }
    }

    #[test]
    fn a_stack_that_does_not_fit_is_told_with_what_to_do() {
        let stack = |status: &str, prefix: &str| Stack {
            status: status.to_owned(),
            parameters: vec![("ParameterPrefix".to_owned(), prefix.to_owned())],
        };
        for (stack, verdict, text) in [
            (Some(stack("UPDATE_COMPLETE", "/p/")), Verdict::Good, "is UPDATE_COMPLETE"),
            (Some(stack("UPDATE_COMPLETE", "/other/")), Verdict::Bad, "give --prefix /other/"),
            (Some(stack("UPDATE_IN_PROGRESS", "/p/")), Verdict::Unknown, "somebody is at it"),
            (Some(stack("UPDATE_ROLLBACK_COMPLETE", "/p/")), Verdict::Unknown, "its last change failed"),
            (Some(stack("ROLLBACK_COMPLETE", "/p/")), Verdict::Bad, "run infra/deploy.sh again"),
            (None, Verdict::Good, "is not deployed"),
        ] {
            let check = judge_stack("s", stack.as_ref(), "/p/");
            assert!(check.verdict == verdict && check.text.contains(text), "{text}: {check:?}");
        }
    }

    #[test]
    fn every_rule_with_a_pattern_has_a_sample() {
        let place = guardrail_tests::fake::PLACE;
        for rule in rules("/s3-guardrail/buckets/", place) {
            assert_eq!(rule.wakes.pattern().is_some(), sample(rule.name).is_some(), "{}", rule.name);
        }
    }
}
