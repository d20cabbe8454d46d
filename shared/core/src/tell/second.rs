//! What the second topic is told of an alert.
//!
//! No key encrypts that topic, so that none can silence it. What is told there is what SNS encrypts nowhere: an alert's
//! subject and attributes. <https://docs.aws.amazon.com/sns/latest/dg/sns-server-side-encryption.html>

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::{
    outcome::watched::{WatchOutcome, Watched},
    tell::{alert::Alert, subject::plain},
    value::{
        failure::{ApiError, Why},
        own_parts::TOPICS,
    },
};

/// Whether what happened to the guardrail itself is told at the second topic, too: it is broken, or the first topic may
/// not lead to anybody any more.
pub fn is_for_both(watched: &Watched) -> bool {
    match watched.outcome {
        WatchOutcome::Broken | WatchOutcome::Whole => true,
        WatchOutcome::Tampered => watched.part.as_ref().is_some_and(|part| TOPICS.iter().any(|it| part.ends_with(it))),
        WatchOutcome::Attempted | WatchOutcome::Unguarded => false,
    }
}

/// The same alert without its details. `untold`: why the first topic did not take it.
pub fn without_details(alert: &Alert, untold: Option<&ApiError>) -> Alert {
    let Alert { subject: told, message: _, attributes } = alert;
    let untold = untold.map(refusal);
    let mut machine = Map::new();
    let mut lines = String::new();
    for (name, data_type, value) in attributes {
        let list = serde_json::from_str::<Vec<String>>(value).ok().filter(|_| *data_type == "String.Array");
        let _ = writeln!(lines, "{name:<10}{}", list.as_ref().map_or_else(|| value.clone(), |it| it.join(", ")));
        machine.insert((*name).to_owned(), list.map_or_else(|| json!(value), |it| json!(it)));
    }
    machine.insert("subject".to_owned(), json!(told));
    machine.insert("untold".to_owned(), json!(untold));
    machine.insert("details".to_owned(), Value::Bool(false));
    let (subject, why, todo) = match untold {
        Some(refusal) => (
            plain(&format!("[UNTOLD] {told}")),
            format!("The topic of alerts did not take the message about this ({refusal}). It is tried again."),
            "Find out what keeps the topic of alerts from it: the topic, its key, its policy. infra/deploy.sh puts them \
             back. Until then the details are in the function's log. RUNBOOK.md, \"UNTOLD\".",
        ),
        None => (
            told.clone(),
            "The topic of alerts has the details.".to_owned(),
            "Read the alert with the details. If you have none, nobody gets the alerts any more: run infra/deploy.sh. \
             RUNBOOK.md, \"BROKEN\" and \"TAMPERED\".",
        ),
    };
    let text = format!(
        "{told}\n\n{why}\nThis one is not encrypted, so it has no details.\n\n{lines}\nWhat to do now\n  {todo}\n"
    );
    Alert {
        message: json!({"default": Value::Object(machine).to_string(), "email": text}).to_string(),
        subject,
        attributes: attributes.clone(),
    }
}

/// Which call failed, and AWS's code for why. Its words can have anything in them.
fn refusal(error: &ApiError) -> String {
    let why = match &error.why {
        Why::Refused { code, .. } => code.as_deref().unwrap_or("refused"),
        Why::NoAnswer => "no answer",
        Why::Senseless => "no sense",
    };
    format!("{}: {why}", error.operation)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::value::failure::Answer;

    fn alert() -> Alert {
        Alert {
            subject: "[RESTORED] acme-data: bucket-policy changed by role/dev-ci, restored within 2 s".to_owned(),
            message: json!({"default": "{\"findings\": \"SECRET\"}", "email": "SECRET"}).to_string(),
            attributes: vec![
                ("severity", "String", "WARNING".to_owned()),
                ("bucket", "String", "acme-data".to_owned()),
                ("control", "String.Array", json!(["bucket-policy", "versioning"]).to_string()),
            ],
        }
    }

    #[test]
    fn the_second_topic_is_told_what_sns_encrypts_nowhere_and_no_more() {
        let code = Some("KMSDisabled");
        let answer = Answer { arrived: true, status: Some(400), code, message: Some("SECRET"), request_id: None };
        let error = ApiError::answered("Publish", answer, &std::fmt::Error);
        let told = without_details(&alert(), Some(&error));
        assert!(!format!("{told:?}").contains("SECRET"), "{told:?}");
        assert_eq!(told.attributes, alert().attributes, "for the same filter policies");
        assert!(told.subject.starts_with("[UNTOLD] [RESTORED] acme-data: bucket-policy") && told.subject.len() < 100);
        let message: Value = serde_json::from_str(&told.message).unwrap();
        expect![[r#"
            [RESTORED] acme-data: bucket-policy changed by role/dev-ci, restored within 2 s

            The topic of alerts did not take the message about this (Publish: KMSDisabled). It is tried again.
            This one is not encrypted, so it has no details.

            severity  WARNING
            bucket    acme-data
            control   bucket-policy, versioning

            What to do now
              Find out what keeps the topic of alerts from it: the topic, its key, its policy. infra/deploy.sh puts them back. Until then the details are in the function's log. RUNBOOK.md, "UNTOLD".
        "#]].assert_eq(message["email"].as_str().unwrap());
        expect![[r#"{"severity":"WARNING","bucket":"acme-data","control":["bucket-policy","versioning"],"subject":"[RESTORED] acme-data: bucket-policy changed by role/dev-ci, restored within 2 s","untold":"Publish: KMSDisabled","details":false}"#]].assert_eq(message["default"].as_str().unwrap());
    }

    #[test]
    fn where_the_first_topic_has_it_too_the_subject_is_the_same() {
        let told = without_details(&alert(), None);
        assert_eq!(told.subject, alert().subject);
        assert!(told.message.contains("The topic of alerts has the details."), "{}", told.message);
        let untold = |error: &ApiError| without_details(&alert(), Some(error)).message;
        assert!(untold(&ApiError::new("Publish", "x")).contains("Publish: no sense"));
    }

    #[test]
    fn what_is_broken_and_what_is_done_to_a_topic_is_told_at_both() {
        let told = |outcome, part: Option<&str>| {
            let part = part.map(str::to_owned);
            is_for_both(&Watched::new(outcome, part, None, Vec::new()))
        };
        assert!(told(WatchOutcome::Broken, None) && told(WatchOutcome::Whole, None));
        for part in ["topic s3-guardrail-alerts", "a subscription of topic s3-guardrail-broken"] {
            assert!(told(WatchOutcome::Tampered, Some(part)), "{part}");
            assert!(!told(WatchOutcome::Attempted, Some(part)), "{part}");
        }
        assert!(!told(WatchOutcome::Tampered, Some("registry parameter /s3-guardrail/buckets/acme")));
        assert!(!told(WatchOutcome::Tampered, None) && !told(WatchOutcome::Unguarded, None));
    }
}
