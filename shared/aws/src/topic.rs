//! The topic that people listen to.

use aws_sdk_sns::{Client, types::MessageAttributeValue};
use guardrail_core::{
    tell::alert::Alert,
    value::{failure::ApiError, names::TopicArn},
};

use crate::api;

/// Publishes an alert.
pub async fn publish(sns: &Client, topic: &TopicArn, alert: Alert) -> Result<(), ApiError> {
    let mut publish =
        sns.publish().topic_arn(topic.as_str()).subject(alert.subject).message_structure("json").message(alert.message);
    for (name, data_type, value) in alert.attributes {
        let value = MessageAttributeValue::builder().data_type(data_type).string_value(value);
        publish = publish.message_attributes(name, value.build().map_err(|error| ApiError::new("Publish", error))?);
    }
    api::done("Publish", publish.send().await)
}
