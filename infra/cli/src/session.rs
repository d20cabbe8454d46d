//! The caller, and their AWS.

use std::io;

use aws_config::{
    Region, default_provider::region::DefaultRegionChain, profile::ProfileFileCredentialsProvider,
    provider_config::ProviderConfig,
};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use guardrail::{Guardrail, api, intercept::AnyOwner, observe::observe};
use guardrail_core::{
    edge::config::{Config, DEFAULT_LEDGER},
    outcome::observed::Observed,
    value::names::{AccountId, Arn, BucketName, TableName, TopicArn},
};
use serde::Serialize;

use crate::{
    args::Global,
    error::CliError,
    network::{self, Network},
    output,
};

/// Who is calling, with the library's clients on their AWS.
#[derive(Debug)]
pub(crate) struct Session {
    pub guardrail: Guardrail,
    pub account: AccountId,
    /// The caller, as AWS names them.
    pub caller: String,
    /// The table of what is open and was told. It is only read: what is done at a terminal is told there.
    pub ledger: TableName,
    pub credentials: Option<SharedCredentialsProvider>,
    /// Only the preflight asks IAM.
    pub iam: aws_sdk_iam::Client,
    /// Where answers go.
    pub answer: fn(&str) -> io::Result<()>,
}

/// The credentials of a profile that was asked for. By default the SDK would prefer those of the environment.
async fn credentials(profile: &str, global: &Global, http: SharedHttpClient) -> ProfileFileCredentialsProvider {
    let region = match &global.region {
        Some(region) => Some(Region::new(region.clone())),
        None => DefaultRegionChain::builder().profile_name(profile).build().region().await,
    };
    let config = ProviderConfig::default().with_region(region).with_http_client(http);
    ProfileFileCredentialsProvider::builder().profile_name(profile).configure(&config).build()
}

impl Session {
    /// Finds out who is calling. `topic`: who else is told of what is done.
    pub(crate) async fn new(global: &Global, topic: Option<TopicArn>) -> Result<Self, CliError> {
        let ca_bundle = network::ca_bundle(global.profile.as_deref()).await;
        #[expect(clippy::disallowed_methods, reason = "the one place where the command reads the environment")]
        let read = |name: &str| std::env::var(name).ok();
        let http = Network::from_vars(read, ca_bundle)?.client();
        let ledger = read("GUARDRAIL_LEDGER_TABLE").filter(|it| !it.is_empty());
        let ledger = ledger.as_deref().unwrap_or(DEFAULT_LEDGER).parse().map_err(CliError::LedgerName)?;
        let mut loader = guardrail::aws_config_loader().http_client(http.clone());
        if let Some(region) = &global.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(profile) = &global.profile {
            loader = loader.profile_name(profile).credentials_provider(credentials(profile, global, http).await);
        }
        if let Some(endpoint) = &global.endpoint_url {
            loader = loader.endpoint_url(endpoint);
        }
        let aws = loader.load().await;
        let region = aws.region().map(ToString::to_string).filter(|it| !it.is_empty()).ok_or(CliError::NoRegion)?;
        let sent = aws_sdk_sts::Client::new(&aws).get_caller_identity().send().await;
        let identity = api::output("GetCallerIdentity", sent)
            .map_err(|source| CliError::Identity { profile: global.profile.clone(), source })?;
        let caller = identity.arn.unwrap_or_default();
        let role = match (&global.guardrail_role, Arn::parse(&caller)) {
            (Some(role), _) => Some(role.clone()),
            (None, Some(Arn { partition, account, .. })) => {
                format!("arn:{partition}:iam::{account}:role/s3-guardrail-remediate-{region}").parse().ok()
            }
            (None, None) => None,
        };
        let account = identity.account.unwrap_or_default().parse();
        let (Some(role), Ok(account)) = (role, account) else { return Err(CliError::Caller(caller)) };
        let account: AccountId = account;
        if role.parts().account != account.as_str() {
            return Err(CliError::RoleElsewhere { role, account });
        }
        let config = Config {
            topic,
            second_topic: None,
            role,
            region,
            parameter_prefix: global.prefix.clone(),
            queue_url: None,
            key: None,
            ledger_table: None,
            http_endpoint: read("GUARDRAIL_HTTP_ENDPOINT_URL"),
        };
        let (credentials, iam) = (aws.credentials_provider(), aws_sdk_iam::Client::new(&aws));
        let guardrail = Guardrail {
            caller: Some(caller.clone()),
            // A restore waits for it a second at most; a person has more time.
            dynamodb: aws_sdk_dynamodb::Client::new(&aws),
            ..Guardrail::new(config, &aws)
        };
        Ok(Self { guardrail, account, caller, ledger, credentials, iam, answer: output::print })
    }

    /// Answers with a text.
    pub(crate) fn print(&self, text: &str) -> io::Result<()> {
        (self.answer)(text)
    }

    /// Answers with a value as JSON.
    pub(crate) fn print_json(&self, value: &impl Serialize) -> io::Result<()> {
        self.print(&output::json(value)?)
    }

    /// What S3 says of a bucket's settings; an error when it lets nothing be read of it and says why.
    pub(crate) async fn observe(&self, bucket: &BucketName) -> Result<Observed, CliError> {
        let observed = observe(self.guardrail.readers(), bucket).await;
        let Observed { public_access_block, bucket_policy, versioning, .. } = &observed;
        // Settings that need three different permissions.
        if public_access_block.is_err() && bucket_policy.is_err() && versioning.is_err() {
            self.reachable(bucket).await?;
        }
        Ok(observed)
    }

    /// An error when a bucket is not there, or not the caller's to read, and S3 says so.
    pub(crate) async fn reachable(&self, bucket: &BucketName) -> Result<(), CliError> {
        let head = || self.guardrail.s3.head_bucket().bucket(bucket.as_str());
        let Err(error) = head().send().await else { return Ok(()) };
        let Some(response) = error.raw_response() else { return Ok(()) };
        let own = self.guardrail.config.region.as_str();
        let region = response.headers().get("x-amz-bucket-region").filter(|it| *it != own);
        let problem = match (response.status().as_u16(), region) {
            (404, _) => return Err(CliError::NoBucket { bucket: bucket.clone() }),
            (_, Some(region)) => format!("the bucket is in {region}; give --region {region}"),
            (301, None) => "the bucket is in another region; give --region".to_owned(),
            (403, _) if head().customize().interceptor(AnyOwner).send().await.is_ok() => {
                format!(
                    "the bucket belongs to another account than yours, {}; use its owner's credentials",
                    self.account
                )
            }
            (403, _) => format!(
                "S3 refuses every read: the bucket belongs to another account than yours, {}, or {} lacks the permissions \
                 that `guardrail preflight` lists",
                self.account, self.caller
            ),
            _ => return Ok(()),
        };
        Err(CliError::Unreachable { bucket: bucket.clone(), problem })
    }
}
