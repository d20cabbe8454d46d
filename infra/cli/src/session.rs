//! The caller, and their AWS.

use aws_config::Region;
use aws_sdk_s3::error::ProvideErrorMetadata;
use guardrail::{
    Guardrail, api,
    config::Config,
    names::{AccountId, Arn, BucketName},
    plan::Observed,
};

use crate::{args::Global, error::CliError};

/// Who is calling, with the library's clients on their AWS.
#[derive(Debug)]
pub(crate) struct Session {
    pub guardrail: Guardrail,
    pub account: AccountId,
    /// The caller, as AWS names them.
    pub caller: String,
}

impl Session {
    /// Finds out who is calling.
    pub(crate) async fn new(global: &Global) -> Result<Self, CliError> {
        let mut loader = guardrail::aws_config_loader();
        if let Some(profile) = &global.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &global.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(endpoint) = &global.endpoint_url {
            loader = loader.endpoint_url(endpoint);
        }
        let aws = loader.load().await;
        let region = aws.region().ok_or(CliError::NoRegion)?.to_string();
        let sent = aws_sdk_sts::Client::new(&aws).get_caller_identity().send().await;
        let identity = api::output("GetCallerIdentity", sent).map_err(|source| CliError::Identity { source })?;
        let caller = identity.arn.unwrap_or_default();
        let role = match (&global.guardrail_role, Arn::parse(&caller)) {
            (Some(role), _) => Some(role.clone()),
            (None, Some(Arn { partition, account, .. })) => {
                format!("arn:{partition}:iam::{account}:role/s3-guardrail-remediate").parse().ok()
            }
            (None, None) => None,
        };
        let account = identity.account.unwrap_or_default().parse();
        let (Some(role), Ok(account)) = (role, account) else { return Err(CliError::Caller(caller)) };
        let config = Config { topic: None, role, region, parameter_prefix: global.prefix.clone() };
        Ok(Self { guardrail: Guardrail::new(config, &aws), account, caller })
    }

    /// Why a bucket of which nothing could be read cannot be read, if one more call can tell.
    pub(crate) async fn why_unreadable(&self, bucket: &BucketName, observed: &Observed) -> Option<String> {
        if !nothing_readable(observed) {
            return None;
        }
        let head = || self.guardrail.s3.head_bucket().bucket(bucket.as_str());
        let error = match head().expected_bucket_owner(self.account.as_str()).send().await {
            Ok(_) => return None,
            Err(error) => error,
        };
        let response = error.raw_response()?;
        let own = self.guardrail.config.region.as_str();
        let region = response.headers().get("x-amz-bucket-region").filter(|it| *it != own);
        Some(match (response.status().as_u16(), region) {
            (404, _) => {
                let next = format!("check the name, or build it with `guardrail bootstrap {bucket}`");
                format!("there is no such bucket; {next}")
            }
            (403, _) if head().send().await.is_ok() => format!(
                "the bucket belongs to another account than yours ({}); use credentials of the account that owns it",
                self.account
            ),
            (_, Some(region)) => format!("the bucket is in {region}; give --region {region}"),
            (403, None) => format!(
                "AWS lets {} read nothing of it: it belongs to another account than {}, or you lack s3:ListBucket and the \
                 s3:Get… permissions",
                self.caller, self.account
            ),
            _ => return error.code().map(|it| format!("S3 answers {it}")),
        })
    }
}

fn nothing_readable(observed: &Observed) -> bool {
    let Observed {
        public_access_block,
        object_ownership,
        bucket_policy,
        default_encryption,
        versioning,
        lifecycle,
        inventory,
    } = observed;
    public_access_block.is_err()
        && object_ownership.is_err()
        && bucket_policy.is_err()
        && default_encryption.is_err()
        && versioning.is_err()
        && lifecycle.is_err()
        && inventory.is_err()
}
