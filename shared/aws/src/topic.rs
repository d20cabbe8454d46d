//! The topics that people listen to.

use aws_sdk_sns::{Client, types::MessageAttributeValue};
use guardrail_core::{
    tell::{alert::Alert, second},
    value::{failure::ApiError, names::TopicArn},
};

use crate::{Guardrail, api};

/// Publishes an alert. When its topic does not take it, people hear at the second one that there is something, and it is an
/// error all the same: nobody has the details.
pub async fn publish(guardrail: &Guardrail, topic: &TopicArn, alert: &Alert) -> Result<(), ApiError> {
    let Err(error) = send(&guardrail.sns, topic, alert).await else { return Ok(()) };
    match publish_without_details(guardrail, alert, Some(&error)).await {
        Ok(true) => tracing::error!(%error, alert.subject, "people know only that there is something"),
        Ok(false) => {}
        Err(second) => tracing::error!(%error, %second, alert.subject, "neither topic took it"),
    }
    Err(error)
}

/// Publishes what of an alert needs no secrecy at the second topic. `untold`: why the first did not take it. `false`: there
/// is no second topic.
pub async fn publish_without_details(
    guardrail: &Guardrail,
    alert: &Alert,
    untold: Option<&ApiError>,
) -> Result<bool, ApiError> {
    let Some(topic) = &guardrail.config.second_topic else { return Ok(false) };
    send(&guardrail.sns_of_second, topic, &second::without_details(alert, untold)).await.map(|()| true)
}

async fn send(sns: &Client, topic: &TopicArn, alert: &Alert) -> Result<(), ApiError> {
    let Alert { subject, message, attributes } = alert;
    let mut publish =
        sns.publish().topic_arn(topic.as_str()).subject(subject).message_structure("json").message(message);
    for (name, data_type, value) in attributes {
        let value = MessageAttributeValue::builder().data_type(*data_type).string_value(value);
        publish = publish.message_attributes(*name, value.build().map_err(|error| ApiError::new("Publish", error))?);
    }
    api::done("Publish", publish.send().await)
}
