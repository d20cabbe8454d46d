//! Clients that write, told apart from those that read.

use aws_sdk_s3::{
    Client,
    config::{AppName, retry::RetryConfig},
};

use crate::Guardrail;

/// Clients for writes. They do not retry by themselves: what a retry writes has to be read again first.
#[derive(Debug)]
pub struct Writers {
    pub s3: Client,
    pub kms: aws_sdk_kms::Client,
    pub cloudtrail: aws_sdk_cloudtrail::Client,
}

impl Writers {
    /// Clients whose calls CloudTrail shows as `app/APP_NAME`.
    pub fn new(guardrail: &Guardrail, app_name: &'static str) -> Self {
        let Guardrail { s3, kms, cloudtrail, .. } = guardrail;
        let app_name = AppName::new(app_name).expect("our app names are plain text");
        let once = RetryConfig::disabled;
        let s3 = s3.config().to_builder().retry_config(once()).app_name(app_name.clone());
        let kms = kms.config().to_builder().retry_config(once()).app_name(app_name.clone());
        let cloudtrail = cloudtrail.config().to_builder().retry_config(once()).app_name(app_name);
        Self {
            s3: Client::from_conf(s3.build()),
            kms: aws_sdk_kms::Client::from_conf(kms.build()),
            cloudtrail: aws_sdk_cloudtrail::Client::from_conf(cloudtrail.build()),
        }
    }
}
