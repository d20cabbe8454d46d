//! The mirror of the controls: how each is broken, read by other means than the guardrail's, and sent on the wire.

pub mod bucket_policy;
pub mod default_encryption;
pub mod inventory;
pub mod kms_key;
pub mod lifecycle;
pub mod object_ownership;
pub mod public_access_block;
pub mod trail;
pub mod versioning;

use aws_sdk_s3::{
    Client,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
};
use guardrail_core::control::table::Control;

use crate::{fake::World, local_aws::SetupError};

/// What came of the call that breaks a control.
pub(crate) type Broken = Result<(), String>;

fn done<T, E: std::error::Error + 'static>(sent: Result<T, E>) -> Broken {
    sent.map(drop).map_err(|error| DisplayErrorContext(error).to_string())
}

fn text<T: std::fmt::Debug, E: ProvideErrorMetadata>(sent: Result<Option<T>, SdkError<E>>) -> String {
    match sent {
        Ok(setting) => format!("{setting:?}"),
        Err(error) => format!("error {:?}", error.code()),
    }
}

macro_rules! of_each {
    ($($name:ident $field:ident $value:ty,)*) => {
        /// Under which name S3 has a control's setting.
        pub fn subresource(control: Control) -> Option<&'static str> {
            match control {
                $(Control::$name => Some($field::SUBRESOURCE),)*
                Control::KmsKey | Control::Trail => None,
            }
        }

        /// The `aws` command that does what [`break_control`] does.
        pub fn command(control: Control, bucket: &str) -> String {
            let call = match control {
                $(Control::$name => $field::COMMAND,)*
                Control::KmsKey => return kms_key::COMMAND.to_owned(),
                Control::Trail => return trail::command(bucket),
            };
            let (name, options) = call.split_once(' ').unwrap_or((call, ""));
            format!("aws s3api {name} --bucket {bucket} {options}").trim_end().to_owned()
        }

        /// Takes one control off its baseline by an ordinary call.
        pub async fn break_control(s3: &Client, bucket: &str, control: Control) -> Result<(), SetupError> {
            let broken = match control {
                $(Control::$name => $field::break_it(s3, bucket).await,)*
                Control::KmsKey | Control::Trail => Err("it is no setting of the bucket".to_owned()),
            };
            broken.map_err(|error| SetupError(format!("breaking {control}: {error}")))
        }

        /// A control's setting as S3 tells it, to be compared with itself at another time. Independent of how the
        /// guardrail reads.
        pub async fn setting(s3: &Client, bucket: &str, control: Control) -> String {
            match control {
                $(Control::$name => $field::setting(s3, bucket).await,)*
                Control::KmsKey | Control::Trail => "no setting of the bucket".to_owned(),
            }
        }

        /// Takes one control of the fake off its baseline.
        pub fn drift(world: &mut World, control: Control) {
            match control {
                $(Control::$name => $field::drifted(world),)*
                Control::KmsKey | Control::Trail => panic!("{control} is no setting of the bucket"),
            }
        }
    };
}
guardrail_core::for_settings_of_buckets!(of_each);
