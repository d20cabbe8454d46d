//! What can go wrong, as one line with a next step.

use std::{io, path::PathBuf};

use guardrail::work::verify::VerifyError;
use guardrail_core::{
    decide::setup::BootstrapError,
    edge::registry::RegistryError,
    value::{
        failure::ApiError,
        names::{AccountId, BucketName, NameError, RoleArn, TableName},
    },
};

use crate::{network, permissions::action};

/// Why a command ends early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error("no region: give --region, or set AWS_REGION or the profile's region")]
    NoRegion,
    #[error("{setting} {problem}; nothing was asked")]
    Network { setting: String, problem: String },
    #[error("{}", identity(.profile.as_deref(), .source))]
    Identity { profile: Option<String>, source: ApiError },
    #[error("AWS names the caller `{0}`, which is not an ARN with an account")]
    Caller(String),
    #[error(
        "the guardrail's role {role} is not in the account of your credentials, {account}: buckets are looked at as their \
         own account's; give --guardrail-role a role of it"
    )]
    RoleElsewhere { role: RoleArn, account: AccountId },
    #[error("{bucket}: there is no such bucket; check the name, or build it: guardrail bootstrap {bucket}")]
    NoBucket { bucket: BucketName },
    #[error("{bucket}: {problem}")]
    Unreachable { bucket: BucketName, problem: String },
    #[error("{bucket} is not guarded: build and register its baseline with `guardrail bootstrap {bucket}`")]
    NotGuarded { bucket: BucketName },
    #[error("{}", registry(.0))]
    Registry(#[from] RegistryError),
    #[error("the registry could not be used{next}: {source}; run it again", next = next_step(.source))]
    Parameters { source: ApiError },
    #[error("the ledger {table} could not be read{next}: {source}; `guardrail list --live` asks AWS itself", next = ledger_step(.source))]
    Ledger { table: TableName, source: ApiError },
    #[error("GUARDRAIL_LEDGER_TABLE: {0}; nothing was asked")]
    LedgerName(NameError),
    #[error("the history in {place} could not be read{next}: {source}", next = next_step(.source))]
    History { place: String, source: ApiError },
    #[error("{file}: {problem}")]
    Record { file: String, problem: String },
    #[error("{bucket}: {problem}; {}mend that and run it again", if *.exempt { "the exemption is registered, so that nothing is undone: " } else { "" })]
    NotRolledBack { bucket: BucketName, problem: String, exempt: bool },
    #[error("the dead letters could not all be redriven{next}: {source}; the rest is still there: run it again in half a minute", next = next_step(.source))]
    Redrive { source: ApiError },
    #[error("{}", bootstrap(.0))]
    Bootstrap(#[from] BootstrapError),
    #[error("{path}: {problem}", path = .path.display())]
    File { path: PathBuf, problem: String },
    #[error("--until: {0}; nothing was changed")]
    Until(String),
    #[error("--reason: it is empty, and whoever meets the exemption has nothing to go by; nothing was changed")]
    NoReason,
    #[error("{0} is not guarded; to take it down all the same, add --unregistered")]
    NotRegistered(BucketName),
    #[error("{bucket}: {problem}; nothing was changed")]
    Refused { bucket: BucketName, problem: String },
    #[error("what there is could not be looked up{next}: {0}; nothing was changed", next = next_step(.0))]
    NotFoundOut(ApiError),
    #[error("{what}: {problem}; what came before is done: mend that and run it again, it goes on from there")]
    Stopped { what: String, problem: String },
    #[error("{}", verify(.0))]
    Verify(#[from] VerifyError),
    #[error("the answer could not be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the output could not be written: {0}")]
    Output(#[from] io::Error),
}

/// What to do about a call that AWS refused, or did not answer; empty, or begins with a space.
pub(crate) fn next_step(error: &ApiError) -> String {
    let Some(code) = error.code() else {
        return network::next_step(&error.to_string()).unwrap_or_default().to_owned();
    };
    match code {
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => {
            " (your credentials have expired: sign in again)".to_owned()
        }
        "InvalidAccessKeyId" | "InvalidClientTokenId" | "UnrecognizedClientException" | "SignatureDoesNotMatch" => {
            " (AWS does not know these credentials: check --profile, or sign in again)".to_owned()
        }
        "AccessDenied" | "AccessDeniedException" => match action(error.operation) {
            Some(action) => format!(" (you need the permission {action})"),
            None => " (a permission is missing)".to_owned(),
        },
        "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => {
            " (the bucket is in another region: give --region)".to_owned()
        }
        "NoSuchBucket" => " (check the name)".to_owned(),
        _ => String::new(),
    }
}

fn ledger_step(error: &ApiError) -> String {
    match error.code() {
        Some("ResourceNotFoundException") => {
            " (there is none in this region, or GUARDRAIL_LEDGER_TABLE names another)".to_owned()
        }
        _ => next_step(error),
    }
}

fn identity(profile: Option<&str>, source: &ApiError) -> String {
    let text = source.to_string();
    match profile {
        _ if source.code().is_some() || !text.contains("credential") => {
            format!("who you are could not be found out{}: {text}", next_step(source))
        }
        Some(profile) if text.contains("not enabled") => {
            format!(
                "no credentials in the profile `{profile}`: is that its name? `aws configure list-profiles` shows all"
            )
        }
        None if text.contains("not enabled") => {
            "no credentials: give --profile, or sign in first (`aws sso login`)".to_owned()
        }
        _ => format!("your credentials could not be loaded (sign in again?): {text}"),
    }
}

fn registry(error: &RegistryError) -> String {
    match error {
        RegistryError::Unreadable(source) => format!("the registry could not be read{}: {source}", next_step(source)),
        RegistryError::Invalid { .. } => error.to_string(),
    }
}

fn bootstrap(error: &BootstrapError) -> String {
    match error {
        BootstrapError::Recorded { source, .. } => format!("{}; {error}", bootstrap(source)),
        BootstrapError::Untold(source) => format!("{error}{}", next_step(source)),
        BootstrapError::Api { source, .. } => format!("{error}{}: {source}", next_step(source)),
        BootstrapError::Registry(source) => registry(source),
        _ => error.to_string(),
    }
}

fn verify(error: &VerifyError) -> String {
    match error {
        VerifyError::Registry(source) => registry(source),
        VerifyError::Unguarded { bucket, .. } => CliError::NotGuarded { bucket: bucket.clone() }.to_string(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use guardrail_core::value::failure::Answer;

    fn refused(operation: &'static str, code: &str) -> ApiError {
        let answer = Answer { arrived: true, code: Some(code), ..Answer::default() };
        ApiError::answered(operation, answer, &std::fmt::Error)
    }

    #[test]
    fn every_next_step_is_about_what_happened() {
        for (error, part) in [
            (refused("GetCallerIdentity", "ExpiredToken"), "your credentials have expired"),
            (refused("GetCallerIdentity", "InvalidClientTokenId"), "does not know these credentials"),
            (refused("GetBucketPolicy", "AccessDenied"), "you need the permission s3:GetBucketPolicy"),
            (refused("Other", "AccessDenied"), "a permission is missing"),
            (refused("GetBucketAcl", "PermanentRedirect"), "give --region"),
            (ApiError::new("GetParameter", "dispatch failure: timeout"), "AWS did not answer"),
        ] {
            assert!(next_step(&error).contains(part), "{error}");
        }
        assert_eq!(next_step(&refused("GetBucketAcl", "NoSuchThing")), "");
        let of = |text: &str| identity(None, &ApiError::new("GetCallerIdentity", text));
        assert!(of("the credential provider was not enabled").contains("give --profile"));
        assert!(of("loading credentials: token expired").contains("sign in again"));
        assert!(of("dispatch failure").contains("AWS did not answer"));
    }
}
