//! What leads to a look: an event or a request, alone or as the body of a queue's message.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    edge::event::{About, Event, InputError, decode},
    value::{
        json::from_json,
        names::{BucketName, KeyArn, TrailArn},
        subject::Subject,
    },
};

/// An EventBridge event, or a request.
#[derive(Clone, Debug)]
pub enum Message {
    Event(Box<Event>),
    Request(Request),
}

/// `{"bucket": "...", "dry_run": true}`, or with `"key": "arn:..."`, `"trail": "arn:..."` or `"guardrail": true`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Fields")]
pub struct Request {
    pub subject: Subject,
    pub dry_run: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    bucket: Option<BucketName>,
    key: Option<KeyArn>,
    trail: Option<TrailArn>,
    #[serde(default)]
    guardrail: bool,
    #[serde(default)]
    dry_run: bool,
}

impl Request {
    /// The message that asks to look at a subject.
    pub fn body(subject: &Subject) -> Value {
        match subject {
            Subject::Bucket(bucket) => json!({ "bucket": bucket }),
            Subject::Key(key) => json!({ "key": key }),
            Subject::Trail(trail) => json!({ "trail": trail }),
            Subject::Guardrail => json!({ "guardrail": true }),
        }
    }
}

impl TryFrom<Fields> for Request {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        let Fields { bucket, key, trail, guardrail, dry_run } = fields;
        let own = guardrail.then_some(Subject::Guardrail);
        let subjects = [bucket.map(Subject::Bucket), key.map(Subject::Key), trail.map(Subject::Trail), own];
        let mut subjects = subjects.into_iter().flatten();
        match (subjects.next(), subjects.next()) {
            (Some(subject), None) => Ok(Self { subject, dry_run }),
            _ => Err("give one of `bucket`, `key`, `trail` and `guardrail`"),
        }
    }
}

impl Message {
    /// Reads an input that is no batch. Of an event, no text longer than 256 characters is kept and no more than 64 names.
    pub fn parse(input: Value) -> Result<Self, InputError> {
        if input.get("detail").is_some() {
            Event::parse(&input).map(|it| Self::Event(Box::new(it)))
        } else if ["bucket", "key", "trail", "guardrail"].iter().any(|it| input.get(it).is_some()) {
            decode("request", input).map(Self::Request)
        } else {
            Err(InputError::Unknown)
        }
    }

    /// What it is about; a request about the guardrail names no part.
    pub fn about(&self) -> About {
        match self {
            Self::Event(event) => event.about.clone(),
            Self::Request(Request { subject, .. }) => match subject {
                Subject::Bucket(bucket) => About::Bucket(Ok(bucket.clone())),
                Subject::Key(key) => About::KmsKey(vec![key.to_string()]),
                Subject::Trail(trail) => About::Trail(vec![trail.to_string()]),
                Subject::Guardrail => About::Part(Vec::new()),
            },
        }
    }

    /// Reads the body of a queue's message, which is 1 MiB long at most.
    pub fn from_body(body: &str) -> Result<Self, InputError> {
        let input = from_json(body).map_err(|error| InputError::Invalid { what: "message", error })?;
        Self::parse(input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "arn:aws:kms:eu-west-2:111122223333:key/k";
    const TRAIL: &str = "arn:aws:cloudtrail:eu-west-2:111122223333:trail/t";

    #[test]
    fn a_request_is_about_one_subject() {
        let read = |body: Value| match Message::from_body(&body.to_string()) {
            Ok(Message::Request(Request { subject, dry_run })) => format!("{subject}, {dry_run}"),
            Ok(Message::Event(it)) => format!("{:?}", it.about),
            Err(error) => error.to_string(),
        };
        for (body, is) in [
            (json!({"bucket": "acme-data", "dry_run": true}), "bucket:acme-data, true"),
            (json!({ "key": KEY }), "key:arn:aws:kms:eu-west-2:111122223333:key/k, false"),
            (json!({ "trail": TRAIL }), "trail:arn:aws:cloudtrail:eu-west-2:111122223333:trail/t, false"),
            (json!({"guardrail": true}), "guardrail, false"),
            (
                json!({"guardrail": false}),
                "the request is not valid: give one of `bucket`, `key`, `trail` and `guardrail`",
            ),
            (
                json!({"bucket": "acme-data", "key": KEY}),
                "the request is not valid: give one of `bucket`, `key`, `trail` and `guardrail`",
            ),
            (
                json!({"detail": {"eventName": "PutBucketPolicy", "requestParameters": {"bucketName": "acme-data"}}}),
                r#"Bucket(Ok(BucketName("acme-data")))"#,
            ),
        ] {
            assert_eq!(read(body), is);
        }
    }

    #[test]
    fn an_input_that_makes_no_sense_says_where() {
        let error = |body: &str| Message::from_body(body).unwrap_err().to_string();
        for (body, begins) in [
            (r#"{"bucket":"acme-data","dry_run":1}"#, "the request is not valid: dry_run: "),
            (r#"{"bucket":"A"}"#, "the request is not valid: bucket: "),
            (r#"{"key":"alias/a"}"#, "the request is not valid: key: "),
            (r#"{"bucket":"acme-data"}{}"#, "the message is not valid: "),
            (r"{}", "the input is neither an EventBridge event"),
            ("7", "the input is neither an EventBridge event"),
            (r#"{"detail":{}}"#, "the event has no detail.eventName"),
            (r#"{"detail":{"eventName":"X"}}"#, "the event X names no bucket"),
        ] {
            let error = error(body);
            assert!(error.starts_with(begins), "{error}");
        }
    }
}
