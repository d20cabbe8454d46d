//! Clients that read, and clients that write: what takes the ones cannot do the other by mistake.

use aws_sdk_s3::{
    Client,
    config::{AppName, retry::RetryConfig},
};

use crate::Guardrail;

/// Clients for reads.
#[derive(Clone, Copy, Debug)]
pub struct Readers<'a> {
    pub s3: &'a Client,
    pub kms: &'a aws_sdk_kms::Client,
    pub cloudtrail: &'a aws_sdk_cloudtrail::Client,
}

/// Clients for writes. As [`Writers::new`] makes them, they do not retry by themselves: what a retry writes has to be
/// read again first.
#[derive(Debug)]
pub struct Writers {
    pub s3: Client,
    pub kms: aws_sdk_kms::Client,
    pub cloudtrail: aws_sdk_cloudtrail::Client,
}

impl Guardrail {
    /// The clients that its controls are read with.
    pub fn readers(&self) -> Readers<'_> {
        let Self { s3, kms, cloudtrail, .. } = self;
        Readers { s3, kms, cloudtrail }
    }
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

    /// Clients that retry, for the guardrail's own key: without it nobody can be told, so that its restore is tried at
    /// once, though what somebody else writes into its policy in these seconds can be lost.
    pub(crate) fn retrying(guardrail: &Guardrail) -> Self {
        let Guardrail { s3, kms, cloudtrail, .. } = guardrail;
        Self { s3: s3.clone(), kms: kms.clone(), cloudtrail: cloudtrail.clone() }
    }

    /// The same clients, for what has to be read on the way of a write.
    pub(crate) fn readers(&self) -> Readers<'_> {
        let Self { s3, kms, cloudtrail } = self;
        Readers { s3, kms, cloudtrail }
    }
}
