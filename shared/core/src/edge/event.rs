//! A CloudTrail record that came through EventBridge.
//!
//! An event only says *look there*. Nothing of it is needed but what it is about; the rest is told to people.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    control::table::is_told,
    outcome::trigger::Trigger,
    value::{
        caller,
        names::{Arn, BucketName, RoleArn},
        own_parts::is_own_role,
        plain::clean,
    },
};

/// A CloudTrail record that came through EventBridge.
#[derive(Clone, Debug)]
pub struct Event {
    pub about: About,
    pub trigger: Trigger,
    /// Whose credentials made the call, as ARNs: the session, and the role that issued it.
    session: Option<String>,
    issuer: Option<String>,
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// A bucket; what stands there instead when that cannot be a bucket's name, which a failed call may carry.
    Bucket(Result<BucketName, String>),
    /// An access point, by name; the event does not say whose bucket it leads to.
    AccessPoint(String),
    /// A key: its ARN, its id, its alias, whatever the event names.
    KmsKey(Vec<String>),
    /// A trail: its ARN or its name.
    Trail(Vec<String>),
    /// Perhaps a part of the guardrail: names and ARNs.
    Part(Vec<String>),
}

/// The input makes no sense. Nothing was read or written.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error(
        "the input is neither an EventBridge event (with `detail`), nor an SQS batch (with `Records`, each with `messageId`), nor a request (with `bucket`, `key`, `trail` or `guardrail`)"
    )]
    Unknown,
    #[error("the {what} is not valid: {error}")]
    Invalid { what: &'static str, error: serde_path_to_error::Error<serde_json::Error> },
    #[error("the event has no detail.eventName")]
    NoEventName,
    #[error("the event {0} names no bucket: neither detail.requestParameters.bucketName nor detail.resources")]
    NoBucket(String),
}

/// How many names an event's parameters and resources are searched for.
const MAX_NAMED: usize = 64;

/// Reads a JSON value; the error names the field.
pub fn decode<T: DeserializeOwned>(what: &'static str, value: Value) -> Result<T, InputError> {
    serde_path_to_error::deserialize(value).map_err(|error| InputError::Invalid { what, error })
}

impl Event {
    /// Reads a CloudTrail record that came through EventBridge.
    pub fn parse(event: &Value) -> Result<Self, InputError> {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).map(clean);
        let event_name = text("/detail/eventName").ok_or(InputError::NoEventName)?;
        let about = about(event).ok_or_else(|| InputError::NoBucket(event_name.clone()))?;
        let trigger = Trigger {
            event_name,
            event_id: text("/detail/eventID"),
            event_time: text("/detail/eventTime"),
            actor: event.pointer("/detail/userIdentity").and_then(caller::named),
            source_ip: text("/detail/sourceIPAddress"),
            user_agent: text("/detail/userAgent"),
            error_code: text("/detail/errorCode"),
            error_message: text("/detail/errorMessage"),
        };
        let session = text("/detail/userIdentity/arn");
        let issuer = text("/detail/userIdentity/sessionContext/sessionIssuer/arn");
        Ok(Self { about, trigger, session, issuer })
    }

    /// Whether the call was made by one of the roles of the guardrail in this region.
    pub fn is_own(&self, own_role: &RoleArn, region: &str) -> bool {
        self.session.iter().chain(&self.issuer).any(|it| is_own_role(it, own_role, region))
    }

    /// Whether the call was made by this very role. What names it only elsewhere may be anybody's.
    pub fn is_of(&self, own_role: &RoleArn) -> bool {
        self.issuer.as_deref() == Some(own_role.as_str())
    }

    /// Whether this is a call of our own that failed: it changed nothing, and who made it has told of it.
    pub fn is_own_failure(&self, own_role: &RoleArn) -> bool {
        self.trigger.error_code.is_some() && self.is_of(own_role)
    }
}

/// What an event is about. `None`: it does not say.
fn about(event: &Value) -> Option<About> {
    let source = event.pointer("/detail/eventSource").and_then(Value::as_str).unwrap_or_default();
    match source {
        "kms.amazonaws.com" => Some(About::KmsKey(named(event, "kms", &["keyId", "targetKeyId", "aliasName"]))),
        "cloudtrail.amazonaws.com" => Some(About::Trail(named(event, "cloudtrail", &["name", "trailName"]))),
        "events.amazonaws.com" => Some(About::Part(marked("rule/", named(event, "events", &["name", "rule"])))),
        "logs.amazonaws.com" => {
            Some(About::Part(named(event, "logs", &["logGroupName", "logGroupIdentifier", "resourceIdentifier"])))
        }
        "monitoring.amazonaws.com" => {
            Some(About::Part(marked("alarm:", named(event, "cloudwatch", &["alarmName", "alarmNames"]))))
        }
        "dynamodb.amazonaws.com" => {
            let mut names = named(event, "dynamodb", &["tableName", "tableArn", "resourceArn"]);
            // Some records have the table in the answer only.
            let answered = event.pointer("/detail/responseElements/tableDescription/tableName");
            names.extend(answered.and_then(Value::as_str).map(clean));
            Some(About::Part(marked("table/", names)))
        }
        "iam.amazonaws.com" => Some(About::Part(named(event, "iam", &["roleName"]))),
        "lambda.amazonaws.com" => {
            let mut names = named(event, "lambda", &["functionName"]);
            // A call about an event source names the function in the answer.
            names.extend(event.pointer("/detail/responseElements/functionArn").and_then(Value::as_str).map(clean));
            Some(About::Part(names))
        }
        "sns.amazonaws.com" => Some(About::Part(named(event, "sns", &["topicArn", "subscriptionArn"]))),
        "sqs.amazonaws.com" => Some(About::Part(named(event, "sqs", &["queueUrl"]))),
        "ssm.amazonaws.com" => Some(About::Part(named(event, "ssm", &["name", "names"]))),
        _ => about_s3(event),
    }
}

/// Names that could be anything's, marked as what they are as ARNs are.
pub fn marked(mark: &str, names: Vec<String>) -> Vec<String> {
    names.into_iter().map(|it| if it.contains(mark) { it } else { format!("{mark}{it}") }).collect()
}

fn about_s3(event: &Value) -> Option<About> {
    let bucket = |name: String| About::Bucket(name.parse().map_err(|_| clean(&name)));
    if let Some(name) = bucket_name(event) {
        return Some(bucket(name));
    }
    let event_name = event.pointer("/detail/eventName").and_then(Value::as_str).unwrap_or_default();
    // What is left is S3 Control's.
    if !is_told(event_name) || event_name.contains("Bucket") {
        return None;
    }
    let named = |names: &[&str]| parameter(event.pointer("/detail/requestParameters")?, names);
    let arns = s3_arns(event).chain(named(&["resourceArn"])).filter_map(Arn::parse);
    let access_point = arns.filter(|it| it.service == "s3").find_map(|it| it.resource.strip_prefix("accesspoint/"));
    let is_of_access_points = event_name.contains("AccessPoint");
    let access_point = access_point.or_else(|| named(&["name", "accessPointName"])).filter(|_| is_of_access_points);
    // Tags of other things, and denied calls without parameters, come here and are about no bucket.
    Some(access_point.map_or_else(|| bucket(String::new()), |it| About::AccessPoint(clean(it))))
}

/// A parameter of one of these names, in whatever case. S3 Control's records keep some of them inside the request's name.
fn parameter<'a>(parameters: &'a Value, names: &[&str]) -> Option<&'a str> {
    let here = |it: &'a Value| {
        let named = it.as_object()?.iter().find(|(field, _)| names.iter().any(|name| field.eq_ignore_ascii_case(name)));
        named?.1.as_str()
    };
    here(parameters).or_else(|| parameters.as_object()?.values().find_map(here))
}

/// What the record says that the call was about.
fn s3_arns(event: &Value) -> impl Iterator<Item = &str> {
    let resources = event.pointer("/detail/resources").and_then(Value::as_array).into_iter().flatten();
    resources.filter_map(|it| it.get("ARN")?.as_str())
}

/// What the event's parameters and resources name. Denied calls have no parameters, but most say in words what they
/// were aimed at; that is good enough to look there.
fn named(event: &Value, service: &str, parameters: &[&str]) -> Vec<String> {
    let given = parameters.iter().filter_map(|it| event.pointer(&format!("/detail/requestParameters/{it}")));
    let given = given.flat_map(|it| match it {
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect::<Vec<_>>(),
    });
    let resources = event.pointer("/detail/resources").and_then(Value::as_array).into_iter().flatten();
    let resources = resources.filter_map(|it| it.get("ARN")?.as_str());
    let message = event.pointer("/detail/errorMessage").and_then(Value::as_str).unwrap_or_default();
    let mut words = message.split_once("on resource: ").map_or("", |(_, rest)| rest).split_whitespace();
    let aim = match (words.next(), service) {
        // IAM says `role NAME`.
        (Some("role"), "iam") => words.next(),
        (word, _) => word.filter(|it| Arn::parse(it).is_some_and(|it| it.service == service)),
    };
    given.chain(resources).chain(aim).take(MAX_NAMED).map(clean).collect()
}

/// The name of the bucket that an event is about, as the event has it. `None`: it names none.
fn bucket_name(event: &Value) -> Option<String> {
    match event.pointer("/detail/requestParameters/bucketName") {
        Some(Value::String(name)) => return Some(name.clone()),
        None | Some(Value::Null) => {}
        // A caller can send anything; whatever this is, it is not a bucket.
        Some(_) => return Some(String::new()),
    }
    let event_name = event.pointer("/detail/eventName").and_then(Value::as_str).unwrap_or_default();
    let named = |names| parameter(event.pointer("/detail/requestParameters")?, names);
    if let Some(bucket) = named(&["bucket"]).filter(|_| event_name == "CreateAccessPoint") {
        return Some(bucket.to_owned());
    }
    let tagged = named(&["resourceArn"]).filter(|_| ["TagResource", "UntagResource"].contains(&event_name));
    // Request parameters of more than 100 KB are cut, and some denied calls have none.
    let arns = tagged.into_iter().chain(s3_arns(event));
    let mut buckets = arns.filter_map(|it| Arn::parse(it).filter(|it| it.service == "s3" && it.account.is_empty()));
    buckets.next().map(|it| it.resource.split('/').next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::value::plain::MAX_TEXT;

    fn bucket_of(detail: Value) -> Option<String> {
        match Event::parse(&json!({"detail": detail})).unwrap().about {
            About::Bucket(bucket) => bucket.ok().map(|it| it.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_bucket_is_found_wherever_cloudtrail_puts_it() {
        let by_parameter = json!({"eventName": "X", "requestParameters": {"bucketName": "acme-data"}});
        assert_eq!(bucket_of(by_parameter).as_deref(), Some("acme-data"));
        let resources = json!([{"ARN": "arn:aws:iam::111122223333:role/x"}, {"type": "AWS::S3::Object", "ARN": "arn:aws-cn:s3:::acme-data/a/b"}]);
        for parameters in [json!(null), json!({}), json!("truncated"), json!({"bucketName": null})] {
            let detail = json!({"eventName": "X", "requestParameters": parameters, "resources": resources});
            assert_eq!(bucket_of(detail).as_deref(), Some("acme-data"));
        }
    }

    #[test]
    fn what_cannot_be_a_bucket_is_none() {
        for name in [
            json!("../x"),
            json!(""),
            json!(7),
            json!(["acme-data"]),
            json!({}),
            json!("A"),
            json!("x".repeat(1_000_000)),
        ] {
            assert_eq!(bucket_of(json!({"eventName": "X", "requestParameters": {"bucketName": name}})), None);
        }
    }

    #[test]
    fn keys_trails_and_parts_are_found_by_whatever_names_them() {
        let subject = |source: &str, more: Value| {
            let mut detail = json!({"eventName": "X", "eventSource": format!("{source}.amazonaws.com")});
            detail.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            Event::parse(&json!({"detail": detail})).unwrap().about
        };
        let texts = |it: &[&str]| it.iter().map(ToString::to_string).collect::<Vec<_>>();
        let alias = json!({"requestParameters": {"aliasName": "alias/a", "targetKeyId": "k2"}, "resources": [{"ARN": "arn:aws:kms:r:1:key/k2"}]});
        assert_eq!(subject("kms", alias), About::KmsKey(texts(&["k2", "alias/a", "arn:aws:kms:r:1:key/k2"])));
        let stopped = json!({"requestParameters": {"name": "t"}});
        assert_eq!(subject("cloudtrail", stopped), About::Trail(texts(&["t"])));
        let deleted = json!({"requestParameters": {"names": ["/a", 7, "/b"]}});
        assert_eq!(subject("ssm", deleted), About::Part(texts(&["/a", "/b"])));
        let denied = json!({"requestParameters": null, "errorCode": "AccessDenied", "errorMessage": "User: arn:aws:iam::1:user/m is not authorized to perform: events:DisableRule on resource: arn:aws:events:r:1:rule/x because no identity-based policy allows it"});
        assert_eq!(subject("events", denied), About::Part(texts(&["arn:aws:events:r:1:rule/x"])));
        let role = json!({"requestParameters": null, "errorCode": "AccessDenied", "errorMessage": "User: arn:aws:iam::1:user/m is not authorized to perform: iam:DeleteRole on resource: role x because no identity-based policy allows it"});
        assert_eq!(subject("iam", role), About::Part(texts(&["x"])));
        let silent = json!({"requestParameters": null, "errorCode": "AccessDenied"});
        assert_eq!(subject("lambda", silent), About::Part(vec![]));
        let other = json!({"errorMessage": "not authorized to perform: iam:X on resource: arn:aws:iam::1:role/x"});
        assert_eq!(subject("events", other), About::Part(vec![]));
    }

    #[test]
    fn a_strangers_text_is_cut_and_plain() {
        let detail = json!({"eventName": "X", "requestParameters": {"bucketName": "acme-data"}, "userAgent": format!("a\n{}", "b".repeat(9999)), "userIdentity": {"type": "AWSService", "invokedBy": "config.amazonaws.com"}});
        let event = Event::parse(&json!({"detail": detail})).unwrap();
        assert_eq!(event.trigger.user_agent.unwrap().len(), MAX_TEXT);
        assert_eq!(event.trigger.actor.as_deref(), Some("AWSService config.amazonaws.com"));
    }

    fn event(detail: Value) -> Event {
        Event::parse(&json!({ "detail": detail })).unwrap()
    }

    fn of_s3(event_name: &str, more: Value) -> Option<About> {
        let mut detail = json!({"eventName": event_name, "eventSource": "s3.amazonaws.com"});
        detail.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Event::parse(&json!({ "detail": detail })).ok().map(|it| it.about)
    }

    #[test]
    fn each_service_names_its_parts_in_its_own_way() {
        let parts = |source: &str, more: Value| {
            let mut detail = json!({"eventName": "X", "eventSource": format!("{source}.amazonaws.com")});
            detail.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            match event(detail).about {
                About::Part(names) => names,
                other => panic!("{other:?}"),
            }
        };
        let named = |parameters: Value| json!({ "requestParameters": parameters });
        assert_eq!(parts("events", named(json!({"name": "r", "rule": "rule/s"}))), ["rule/r", "rule/s"]);
        assert_eq!(parts("logs", named(json!({"logGroupName": "/aws/lambda/f"}))), ["/aws/lambda/f"]);
        assert_eq!(parts("monitoring", named(json!({"alarmNames": ["a", "b"]}))), ["alarm:a", "alarm:b"]);
        assert_eq!(parts("iam", named(json!({"roleName": "r"}))), ["r"]);
        assert_eq!(parts("sns", named(json!({"topicArn": "t", "subscriptionArn": "s"}))), ["t", "s"]);
        assert_eq!(parts("sqs", named(json!({"queueUrl": "q"}))), ["q"]);
        let mapping = json!({"requestParameters": {"uUID": "u"}, "responseElements": {"functionArn": "f"}});
        assert_eq!(parts("lambda", mapping), ["f"]);
        let many = vec!["n"; 100];
        assert_eq!(parts("ssm", named(json!({"names": many}))).len(), 64);
    }

    #[test]
    fn a_call_is_ours_by_the_role_that_issued_its_credentials() {
        let own: RoleArn = "arn:aws:iam::111122223333:role/s3-guardrail-remediate-eu-west-2".parse().unwrap();
        let session = "arn:aws:sts::111122223333:assumed-role/s3-guardrail-sweep-eu-west-2/guardrail-sweep";
        let called = |arn: &str, issuer: &str, error: Option<&str>| {
            let identity = json!({"arn": arn, "sessionContext": {"sessionIssuer": {"arn": issuer}}});
            let call = json!({"eventName": "X", "requestParameters": {"bucketName": "acme-data"}, "userIdentity": identity, "errorCode": error});
            let event = event(call);
            (event.is_own(&own, "eu-west-2"), event.is_of(&own), event.is_own_failure(&own))
        };
        let theirs = "arn:aws:iam::111122223333:role/dev-ci";
        assert_eq!(called(session, own.as_str(), None), (true, true, false));
        assert_eq!(called(session, own.as_str(), Some("AccessDenied")), (true, true, true));
        assert_eq!(called(session, theirs, Some("AccessDenied")), (true, false, false));
        assert_eq!(called(theirs, theirs, Some("AccessDenied")), (false, false, false));
        assert_eq!(called(theirs, own.as_str(), None), (true, true, false));
    }

    #[test]
    fn calls_of_s3_control_name_a_bucket_or_an_access_point() {
        let bucket = |name: &str| Some(About::Bucket(Ok(name.parse().unwrap())));
        let nobody = || Some(About::Bucket(Err(String::new())));
        let point = || Some(About::AccessPoint("ap".to_owned()));
        let named = |parameters: Value| json!({ "requestParameters": parameters });
        let tagged = |arn: &str| json!({"requestParameters": {"resourceArn": arn}});
        for (event_name, more, subject) in [
            ("CreateAccessPoint", named(json!({"name": "ap", "bucket": "acme-data"})), bucket("acme-data")),
            (
                "CreateAccessPoint",
                named(json!({"CreateAccessPointRequest": {"Bucket": "acme-data"}})),
                bucket("acme-data"),
            ),
            ("DeleteAccessPoint", named(json!({"name": "ap", "bucket": "acme-data"})), point()),
            ("PutAccessPointPolicy", named(json!({"Name": "ap"})), point()),
            (
                "PutAccessPointPolicy",
                json!({"resources": [{"ARN": "arn:aws:s3:eu-west-2:111122223333:accesspoint/ap"}]}),
                point(),
            ),
            ("TagResource", tagged("arn:aws:s3:::acme-data"), bucket("acme-data")),
            ("TagResource", tagged("arn:aws:s3:eu-west-2:111122223333:accesspoint/ap"), nobody()),
            ("TagResource", tagged("arn:aws:sns:eu-west-2:111122223333:t"), nobody()),
            ("PutBucketTagging", json!({}), None),
            ("PutObject", json!({}), None),
            ("PutObject", tagged("arn:aws:s3:::acme-data"), None),
        ] {
            assert_eq!(of_s3(event_name, more.clone()), subject, "{event_name} {more}");
        }
    }
}
