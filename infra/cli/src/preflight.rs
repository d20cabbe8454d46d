//! `guardrail preflight`: who is calling, what they may read, how much room is left, and whether what is deployed fits.
//! Changes nothing.

pub(crate) mod deployed;

use std::collections::BTreeSet;

use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_iam::types::PolicyEvaluationDecisionType;
use guardrail::{api, control, store::registry};
use guardrail_core::{
    control::{bucket_policy, lifecycle, table::Control},
    edge::registry::RegistryError,
    outcome::observed::Observed,
    value::{
        failure::ApiError,
        names::{Arn, BucketName, TrailArn},
    },
};

use crate::{
    Exit,
    diff::{ADDED, CHANGED, REMOVED, painted},
    error::{CliError, next_step},
    permissions,
    session::Session,
};

/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/WhatIsCloudTrail-Limits.html>
const TRAILS_PER_REGION: usize = 5;

/// <https://docs.aws.amazon.com/general/latest/gr/s3.html>
const BUCKETS_PER_ACCOUNT: usize = 10_000;

const BUCKETS_PER_PAGE: i32 = 1_000;

/// How many of our functions may run at a time: four with events, two with what the sweep has sent, and the sweep.
const AT_ONCE: i32 = 7;

/// What one look came to.
#[derive(Debug)]
struct Check {
    verdict: Verdict,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    /// Nobody can tell from here, or it is for a person to judge.
    Unknown,
    Bad,
}

impl Check {
    fn new(verdict: Verdict, text: impl Into<String>) -> Self {
        Self { verdict, text: text.into() }
    }

    /// Whether a read that was tried is allowed; `error`: why not.
    fn read(what: &str, error: Option<&ApiError>) -> Self {
        match error {
            None => Self::new(Verdict::Good, format!("may read {what}")),
            Some(error) => Self::new(Verdict::Bad, format!("cannot read {what}{}: {error}", next_step(error))),
        }
    }

    fn line(&self) -> String {
        let (style, sign) = match self.verdict {
            Verdict::Good => (ADDED, "ok"),
            Verdict::Unknown => (CHANGED, "??"),
            Verdict::Bad => (REMOVED, "!!"),
        };
        format!("{}  {}\n", painted(style, sign), self.text)
    }
}

pub(crate) async fn run(session: &Session, bucket: Option<BucketName>) -> Result<Exit, CliError> {
    let place = session.guardrail.config.place();
    let mut checks = vec![
        Check::new(Verdict::Good, format!("account {}, {}, as {}", place.account, place.region, session.caller)),
        second_factor(&session.caller, access_key(session).await.as_deref()),
    ];
    checks.extend(registry_reads(session).await?);
    let aliases = session.guardrail.kms.list_aliases().limit(1).send().await;
    checks.push(Check::read("the keys' aliases", api::output("ListAliases", aliases).as_ref().err()));
    let trails = session.guardrail.cloudtrail.describe_trails().include_shadow_trails(true).send().await;
    let trails = api::output("DescribeTrails", trails);
    checks.push(Check::read("the trails", trails.as_ref().err()));
    if let Ok(trails) = trails {
        checks.push(room_for_trails(trails.trail_list().len()));
        checks.extend(what_trails_log(session, trails.trail_list().iter().filter_map(|it| it.trail_arn())).await);
    }
    match &bucket {
        Some(bucket) => match session.observe(bucket).await {
            Ok(observed) => {
                checks.extend(bucket_reads(bucket, &observed));
                checks.extend(room_in_bucket(bucket, &observed));
            }
            Err(error) => checks.push(Check::new(Verdict::Bad, error.to_string())),
        },
        None => {
            let actions: Vec<_> = Control::ALL.iter().flat_map(|it| it.vocabulary().reads()).map(|it| it.iam).collect();
            let text = format!("not tried without a bucket: {}", actions.join(", "));
            checks.push(Check::new(Verdict::Unknown, text));
        }
    }
    checks.extend(simulated(session, bucket.as_ref()).await);
    checks.extend(room(session).await);
    checks.extend(deployed::checks(session).await?);
    session.print(&checks.iter().map(Check::line).collect::<String>())?;
    Ok(if checks.iter().any(|it| it.verdict == Verdict::Bad) { Exit::Error } else { Exit::Compliant })
}

async fn access_key(session: &Session) -> Option<String> {
    let credentials = session.credentials.as_ref()?.provide_credentials().await.ok()?;
    Some(credentials.access_key_id().to_owned())
}

/// What can be known of a second factor: calls with keys that never end cannot have one.
fn second_factor(caller: &str, access_key: Option<&str>) -> Check {
    let is_root = Arn::parse(caller).is_some_and(|it| it.resource == "root");
    let is_lasting = access_key.is_some_and(|it| it.starts_with("AKIA"));
    match (is_root, is_lasting) {
        (true, _) => Check::new(Verdict::Bad, "you are the root user: use a role with the permissions that are needed"),
        (false, true) => Check::new(
            Verdict::Bad,
            "your access keys do not expire, and carry no second factor: use a role, or `aws sts get-session-token`",
        ),
        (false, false) => Check::new(
            Verdict::Unknown,
            "your credentials expire; whether a second factor was given, only CloudTrail says (mfaAuthenticated)",
        ),
    }
}

async fn registry_reads(session: &Session) -> Result<[Check; 2], CliError> {
    let (ssm, prefix) = (&session.guardrail.ssm, &session.guardrail.config.parameter_prefix);
    let any: BucketName = "preflight".parse().map_err(|error| CliError::Caller(format!("{error}")))?;
    let one = match registry::read(ssm, prefix, &any).await {
        Err(RegistryError::Unreadable(error)) => Err(error),
        Ok(_) | Err(RegistryError::Invalid { .. }) => Ok(()),
    };
    let path = prefix.trim_end_matches('/');
    let path = if path.is_empty() { prefix } else { path };
    let all = ssm.get_parameters_by_path().path(path).max_results(1).send().await;
    let all = api::output("GetParametersByPath", all);
    Ok([
        Check::read("a registry document", one.as_ref().err()),
        Check::read("all registry documents", all.as_ref().err()),
    ])
}

/// What IAM says the caller may do, of everything that the commands do; nothing is tried.
///
/// It looks at the caller's own policies and the organization's, not at those of buckets and keys.
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html>
async fn simulated(session: &Session, bucket: Option<&BucketName>) -> Vec<Check> {
    let place = session.guardrail.config.place();
    let Some(principal) = principal(session).await else { return Vec::new() };
    let needed: BTreeSet<&str> = permissions::needed().collect();
    let (of_buckets, others): (Vec<&str>, _) = needed.into_iter().partition(|it| it.starts_with("s3:"));
    let any = format!("arn:{}:s3:::{}", place.partition, bucket.map_or("*", BucketName::as_str));
    let mut checks = Vec::new();
    for (actions, resource) in [(of_buckets, any.as_str()), (others, "*")] {
        checks.push(match denied(session, &principal, &actions, resource).await {
            Ok(denied) if denied.is_empty() => {
                Check::new(Verdict::Good, format!("IAM allows all {} calls needed on {resource}", actions.len()))
            }
            // A policy may name the resources one by one.
            Ok(denied) => {
                let verdict = if resource.ends_with('*') { Verdict::Unknown } else { Verdict::Bad };
                Check::new(verdict, format!("IAM does not allow on {resource}: {}", denied.join(", ")))
            }
            Err(error) => {
                let text = format!("what you may write could not be looked up{}: {error}", next_step(&error));
                return vec![Check::new(Verdict::Unknown, text)];
            }
        });
    }
    checks
}

/// The user or role whose policies count; `None` for the root user, who has none.
async fn principal(session: &Session) -> Option<String> {
    let caller = Arn::parse(&session.caller)?;
    if caller.resource == "root" {
        return None;
    }
    let Some(role) = caller.resource.strip_prefix("assumed-role/").and_then(|it| it.split('/').next()) else {
        return Some(session.caller.clone());
    };
    // A session's ARN does not tell the role's path.
    let found = session.iam.get_role().role_name(role).send().await.ok().and_then(|it| it.role);
    let pathless = || format!("arn:{}:iam::{}:role/{role}", caller.partition, caller.account);
    Some(found.map_or_else(pathless, |it| it.arn))
}

async fn denied(session: &Session, principal: &str, actions: &[&str], resource: &str) -> Result<Vec<String>, ApiError> {
    let simulate = session.iam.simulate_principal_policy().policy_source_arn(principal).resource_arns(resource);
    let simulate = simulate.set_action_names(Some(actions.iter().map(|it| (*it).to_owned()).collect()));
    let mut pages = simulate.into_paginator().send();
    let mut denied = Vec::new();
    while let Some(page) = pages.next().await {
        let page = api::output("SimulatePrincipalPolicy", page)?;
        let results = page.evaluation_results.into_iter().flatten();
        let refused = results.filter(|it| it.eval_decision != PolicyEvaluationDecisionType::Allowed);
        denied.extend(refused.map(|it| it.eval_action_name));
    }
    Ok(denied)
}

/// How near the quotas are.
async fn room(session: &Session) -> Vec<Check> {
    let mut checks = Vec::new();
    checks.push(match buckets(session).await {
        Ok(buckets) => {
            let near = buckets + BUCKETS_PER_ACCOUNT / 10 > BUCKETS_PER_ACCOUNT;
            let verdict = if near { Verdict::Unknown } else { Verdict::Good };
            Check::new(verdict, format!("{buckets} of {BUCKETS_PER_ACCOUNT} buckets, unless yours is another quota"))
        }
        Err(error) => Check::read("how many buckets there are", Some(&error)),
    });
    let settings = session.guardrail.lambda.get_account_settings().send().await;
    checks.push(match api::output("GetAccountSettings", settings) {
        Ok(settings) => {
            let limit = settings.account_limit.as_ref();
            room_for_functions(
                limit.and_then(|it| it.unreserved_concurrent_executions).unwrap_or_default(),
                limit.map_or(0, |it| it.concurrent_executions),
            )
        }
        Err(error) => Check::read("Lambda's concurrency", Some(&error)),
    });
    checks
}

/// How many buckets the account has, in all regions: the quota is the account's. In pages, without which S3 refuses an
/// account that may have more than 10,000.
async fn buckets(session: &Session) -> Result<usize, ApiError> {
    let list = session.guardrail.s3.list_buckets().max_buckets(BUCKETS_PER_PAGE);
    let mut pages = list.into_paginator().send();
    let mut buckets = 0;
    while let Some(page) = pages.next().await {
        buckets += api::output("ListBuckets", page)?.buckets().len();
    }
    Ok(buckets)
}

fn room_for_functions(unreserved: i32, all: i32) -> Check {
    let text = format!("{unreserved} of {all} concurrent executions of Lambda are not reserved");
    if unreserved >= AT_ONCE {
        Check::new(Verdict::Good, text)
    } else {
        let advice = format!("the guardrail takes {AT_ONCE} at most, and events wait while it has fewer");
        Check::new(Verdict::Unknown, format!("{text}; {advice}"))
    }
}

/// How near a bucket is to what S3 allows of its policy and its rules.
fn room_in_bucket(bucket: &BucketName, observed: &Observed) -> Vec<Check> {
    let near = |used: usize, limit: usize| if used * 10 > limit * 9 { Verdict::Unknown } else { Verdict::Good };
    let mut checks = Vec::new();
    if let Ok(policy) = &observed.bucket_policy {
        let used = if policy.statements.is_empty() { 0 } else { policy.document().len() };
        let limit = bucket_policy::MAX_BYTES;
        checks.push(Check::new(near(used, limit), format!("{used} of {limit} bytes of policy of {bucket}")));
    }
    if let Ok(lifecycle) = &observed.lifecycle {
        let (used, limit) = (lifecycle.rules.len(), lifecycle::MAX_RULES);
        checks.push(Check::new(near(used, limit), format!("{used} of {limit} lifecycle rules of {bucket}")));
    }
    checks
}

fn room_for_trails(trails: usize) -> Check {
    let text = format!("{trails} of {TRAILS_PER_REGION} trails in this region");
    match TRAILS_PER_REGION.saturating_sub(trails) {
        0 => Check::new(Verdict::Unknown, format!("{text}: no new one; use one that is there, with --trail")),
        1 => Check::new(Verdict::Unknown, format!("{text}: one more; share it between buckets, with --trail")),
        _ => Check::new(Verdict::Good, text),
    }
}

/// Whether each trail that is shown in this region logs what the guardrail lives on, as it says itself at its home.
async fn what_trails_log(session: &Session, arns: impl Iterator<Item = &str>) -> Vec<Check> {
    let mut checks = Vec::new();
    for arn in arns.filter_map(|it| it.parse::<TrailArn>().ok()) {
        let own = arn.parts().account == session.account.as_str();
        checks.push(match control::trail::ask_trail(session.guardrail.readers(), &arn).await {
            Ok(it) if it.is_logging && it.selectors.log_management_writes() => {
                Check::new(Verdict::Good, format!("{arn} logs management writes"))
            }
            Ok(_) => Check::new(Verdict::Unknown, format!("{arn} does not log all management writes that are needed")),
            Err(error) if own => Check::read(arn.as_str(), Some(&error)),
            Err(_) => {
                let text = "another account's trail, believed to log, as it cannot be asked from here";
                Check::new(Verdict::Unknown, format!("{arn}: {text}"))
            }
        });
    }
    checks
}

fn bucket_reads(bucket: &BucketName, observed: &Observed) -> Vec<Check> {
    let errors = observed.errors().into_iter();
    errors.map(|(control, error)| Check::read(&format!("{control} of {bucket}"), error)).collect()
}

#[cfg(test)]
mod tests {
    use guardrail_tests::fake::FakeAws;

    use super::*;
    use crate::faults::session;

    #[test]
    fn lasting_keys_and_the_root_user_are_bad() {
        let session = "arn:aws:sts::111122223333:assumed-role/admin/ann";
        let user = "arn:aws:iam::111122223333:user/ann";
        for (caller, key, verdict) in [
            ("arn:aws:iam::111122223333:root", "ASIAIOSFODNN7EXAMPLE", Verdict::Bad),
            (user, "AKIAIOSFODNN7EXAMPLE", Verdict::Bad),
            (user, "ASIAIOSFODNN7EXAMPLE", Verdict::Unknown),
            (session, "ASIAIOSFODNN7EXAMPLE", Verdict::Unknown),
        ] {
            assert_eq!(second_factor(caller, Some(key)).verdict, verdict, "{caller} {key}");
        }
    }

    #[test]
    fn a_new_account_has_room_for_the_functions() {
        assert_eq!(
            [1000, 10, 7, 6].map(|it| room_for_functions(it, 1000).verdict),
            [Verdict::Good, Verdict::Good, Verdict::Good, Verdict::Unknown]
        );
    }

    #[tokio::test]
    async fn buckets_are_counted_in_pages() {
        let fake = FakeAws::guarded();
        fake.state().lists_in_pages_only = true;
        fake.state().others = (0..2500).map(|it| (format!("acme-{it:04}"), Default::default())).collect();
        assert_eq!(buckets(&session(&fake)).await.unwrap(), 2501);
        assert_eq!(fake.state().calls, ["ListBuckets"; 3]);
    }

    #[test]
    fn the_last_trails_are_told() {
        let verdicts = [0, 3, 4, 5, 6].map(|it| room_for_trails(it).verdict);
        assert_eq!(verdicts, [Verdict::Good, Verdict::Good, Verdict::Unknown, Verdict::Unknown, Verdict::Unknown]);
    }
}
