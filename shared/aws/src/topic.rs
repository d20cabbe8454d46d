//! The topics that people listen to.

use aws_sdk_sns::{Client, types::MessageAttributeValue};
use guardrail_core::{
    outcome::ledger::Fact,
    tell::{alert::Alert, second},
    value::{failure::ApiError, names::TopicArn},
};

use crate::{Guardrail, api};

/// An alert that its topic did not take.
#[derive(Debug)]
pub struct Untold {
    pub error: ApiError,
    /// People know from the second topic that there is something.
    pub is_hinted: bool,
}

/// Publishes an alert. When its topic does not take it, people hear at the second one that there is something, unless they
/// know; it is an error all the same: nobody has the details.
pub async fn publish(guardrail: &Guardrail, topic: &TopicArn, alert: &Alert, is_hinted: bool) -> Result<(), Untold> {
    let Err(error) = send(&guardrail.sns, topic, alert).await else { return Ok(()) };
    if is_hinted {
        return Err(Untold { error, is_hinted });
    }
    let hinted = publish_without_details(guardrail, alert, Some(&error)).await;
    let is_hinted = hinted.unwrap_or_else(|second| {
        tracing::error!(%error, %second, alert.subject, "neither topic took it");
        false
    });
    if is_hinted {
        tracing::error!(%error, alert.subject, "people know only that there is something");
    }
    Err(Untold { error, is_hinted })
}

/// Whether people know of all of this from the second topic.
pub fn are_hinted(facts: &[Fact]) -> bool {
    !facts.is_empty() && facts.iter().all(|it| it.is_hinted)
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
