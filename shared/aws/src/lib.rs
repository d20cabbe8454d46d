//! Keeps S3 buckets on their secure baseline: every call of AWS, around the decisions of `guardrail-core`.
//!
//! Read the core's `decide::baseline` and `decide::plan` first, then [`work::reconcile`], then [`work::remediate`].

pub mod api;
pub mod apply;
pub mod clients;
pub mod clock;
pub mod control;
pub mod input;
pub mod intercept;
pub mod lambda;
pub mod observe;
pub mod store;
pub mod topic;
pub mod usage;
pub mod work;

use std::time::Duration;

use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use guardrail_core::{edge::config::Config, value::names::TopicArn};

use crate::{
    clock::Clock,
    intercept::{ExpectedOwner, WholeXml},
};

/// A function's environment and its AWS clients, made once.
#[derive(Clone, Debug)]
pub struct Guardrail {
    pub config: Config,
    pub s3: aws_sdk_s3::Client,
    /// The same without TLS; `None` when nobody said where one's own endpoint answers without.
    pub s3_over_http: Option<aws_sdk_s3::Client>,
    /// For the account's own Block Public Access.
    pub s3control: aws_sdk_s3control::Client,
    pub ssm: aws_sdk_ssm::Client,
    pub sns: aws_sdk_sns::Client,
    /// For the second topic. It tries once: there is little time left when it is needed, and what it tells is told again.
    pub sns_of_second: aws_sdk_sns::Client,
    pub kms: aws_sdk_kms::Client,
    pub cloudtrail: aws_sdk_cloudtrail::Client,
    /// For the ledger.
    pub dynamodb: aws_sdk_dynamodb::Client,
    pub budgets: aws_sdk_budgets::Client,
    pub events: aws_sdk_eventbridge::Client,
    pub lambda: aws_sdk_lambda::Client,
    pub sqs: aws_sdk_sqs::Client,
    pub cloudformation: aws_sdk_cloudformation::Client,
    /// Who is at the terminal, as AWS names them; `None` in a function, which is not told who invokes it.
    pub caller: Option<String>,
    pub clock: Clock,
    /// Where lines of metrics go; nowhere, outside Lambda.
    pub metrics: fn(&serde_json::Value),
}

impl Guardrail {
    /// The guardrail on the given AWS.
    pub fn new(config: Config, aws: &SdkConfig) -> Self {
        // SNS knows a topic in its own region only.
        let sns = |topic: &Option<TopicArn>| {
            let region = topic.as_ref().map_or(config.region.as_str(), |it| it.parts().region);
            aws_sdk_sns::config::Builder::from(aws).region(Region::new(region.to_owned()))
        };
        let (sns, sns_of_second) =
            (sns(&config.topic), sns(&config.second_topic).retry_config(RetryConfig::disabled()));
        // An endpoint of one's own has no name for each bucket.
        let s3 = aws_sdk_s3::config::Builder::from(aws).force_path_style(aws.endpoint_url().is_some());
        let s3 = s3.interceptor(ExpectedOwner(config.account())).interceptor(WholeXml);
        let s3_over_http = work::verify::without_tls(s3.clone(), aws.endpoint_url(), config.http_endpoint.as_deref());
        let cloudformation = aws_sdk_cloudformation::config::Builder::from(aws).interceptor(WholeXml);
        Self {
            config,
            s3: aws_sdk_s3::Client::from_conf(s3.build()),
            s3_over_http: s3_over_http.map(|it| aws_sdk_s3::Client::from_conf(it.build())),
            s3control: aws_sdk_s3control::Client::new(aws),
            ssm: aws_sdk_ssm::Client::new(aws),
            sns: aws_sdk_sns::Client::from_conf(sns.build()),
            sns_of_second: aws_sdk_sns::Client::from_conf(sns_of_second.build()),
            kms: aws_sdk_kms::Client::new(aws),
            cloudtrail: aws_sdk_cloudtrail::Client::new(aws),
            dynamodb: store::ledger::client(aws),
            budgets: aws_sdk_budgets::Client::new(aws),
            events: aws_sdk_eventbridge::Client::new(aws),
            lambda: aws_sdk_lambda::Client::new(aws),
            sqs: aws_sdk_sqs::Client::new(aws),
            cloudformation: aws_sdk_cloudformation::Client::from_conf(cloudformation.build()),
            caller: None,
            clock: Clock::of_this_machine(),
            metrics: |_| {},
        }
    }
}

/// How we call AWS: settings from the environment, no attempt longer than 5 seconds, three attempts.
pub async fn aws_config() -> SdkConfig {
    aws_config_loader().load().await
}

/// The same, before it is read from the environment.
pub fn aws_config_loader() -> ConfigLoader {
    let timeouts = TimeoutConfig::builder().connect_timeout(Duration::from_secs(2));
    let timeouts = timeouts.operation_attempt_timeout(Duration::from_secs(5));
    aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(timeouts.build())
        .retry_config(RetryConfig::standard())
}
