//! `guardrail preflight`: who is calling, what they may read, and how much room is left. Changes nothing.

use aws_credential_types::provider::ProvideCredentials;
use guardrail::{
    api::{self, ApiError},
    control::Control,
    names::{Arn, BucketName},
    plan::Observed,
    registry::{self, RegistryError},
};

use crate::{
    Exit,
    diff::{ADDED, CHANGED, REMOVED, painted},
    error::{CliError, next_step},
    output,
    session::Session,
};

/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/WhatIsCloudTrail-Limits.html>
const TRAILS_PER_REGION: usize = 5;

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
    }
    match &bucket {
        Some(bucket) => match session.observe(bucket).await {
            Ok(observed) => checks.extend(bucket_reads(bucket, &observed)),
            Err(error) => checks.push(Check::new(Verdict::Bad, error.to_string())),
        },
        None => {
            let actions: Vec<_> = Control::ALL.iter().flat_map(|it| it.vocabulary().iam_reads).copied().collect();
            let text = format!("not tried without a bucket: {}", actions.join(", "));
            checks.push(Check::new(Verdict::Unknown, text));
        }
    }
    checks
        .push(Check::new(Verdict::Unknown, "writes are not tried; `guardrail bootstrap BUCKET --dry-run` shows them"));
    output::print(&checks.iter().map(Check::line).collect::<String>())?;
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

fn room_for_trails(trails: usize) -> Check {
    let text = format!("{trails} of {TRAILS_PER_REGION} trails in this region");
    match TRAILS_PER_REGION.saturating_sub(trails) {
        0 => Check::new(Verdict::Unknown, format!("{text}: no new one; use one that is there, with --trail")),
        1 => Check::new(Verdict::Unknown, format!("{text}: one more; share it between buckets, with --trail")),
        _ => Check::new(Verdict::Good, text),
    }
}

fn bucket_reads(bucket: &BucketName, observed: &Observed) -> Vec<Check> {
    let Observed {
        public_access_block,
        object_ownership,
        bucket_policy,
        default_encryption,
        versioning,
        lifecycle,
        inventory,
        ..
    } = observed;
    [
        (Control::PublicAccessBlock, public_access_block.as_ref().err()),
        (Control::ObjectOwnership, object_ownership.as_ref().err()),
        (Control::BucketPolicy, bucket_policy.as_ref().err()),
        (Control::DefaultEncryption, default_encryption.as_ref().err()),
        (Control::Versioning, versioning.as_ref().err()),
        (Control::Lifecycle, lifecycle.as_ref().err()),
        (Control::Inventory, inventory.as_ref().err()),
    ]
    .into_iter()
    .map(|(control, error)| Check::read(&format!("{control} of {bucket}"), error))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_last_trails_are_told() {
        let verdicts = [0, 3, 4, 5, 6].map(|it| room_for_trails(it).verdict);
        assert_eq!(verdicts, [Verdict::Good, Verdict::Good, Verdict::Unknown, Verdict::Unknown, Verdict::Unknown]);
    }
}
