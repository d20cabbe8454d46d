//! The ledger's store: what it reads, and that no write of it is lost or taken for another's. On the fake, time is paused:
//! what the client waits for passes at once.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use guardrail::{
    Guardrail,
    store::ledger::{Stored, begin, read, replace},
};
use guardrail_core::{
    edge::config::{Config, Needs},
    value::{
        failure::{ApiError, Denial, Why},
        subject::Subject,
    },
};
use guardrail_tests::{
    fake::{FakeAws, FaultKind, LEDGER, ROLE, waiting_for_the_ledger},
    local_aws::{ACCOUNT, Keys, LocalAws, REGION, workspace},
};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

const SUBJECT: &str = "bucket:acme-data";

fn empty() -> (FakeAws, Guardrail) {
    let fake = FakeAws::guarded();
    fake.state().ledger = Some([].into());
    let guardrail = fake.guardrail();
    (fake, guardrail)
}

fn map(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

async fn stored(guardrail: &Guardrail) -> Option<Stored> {
    read(guardrail, LEDGER, &[SUBJECT.to_owned()]).await.unwrap().remove(SUBJECT)
}

async fn put(guardrail: &Guardrail, version: u64, item: Value) -> Result<bool, ApiError> {
    replace(guardrail, LEDGER, SUBJECT, version, &map(&item)).await
}

/// Everything that JSON has.
fn everything() -> Value {
    json!({
        "state": "open", "none": null, "yes": true, "empty": "", "list": [1, "two", [], {}],
        "newer": {"than": {"this": "code"}},
        "numbers": [0, -1, u64::MAX, i64::MIN, 9_007_199_254_740_993_u64, 0.5],
    })
}

#[tokio::test(start_paused = true)]
async fn an_item_comes_back_as_it_was_put_and_one_that_is_not_there_does_not() {
    let (_fake, guardrail) = empty();
    assert_eq!(stored(&guardrail).await, None);
    assert!(put(&guardrail, 0, everything()).await.unwrap());
    let back = stored(&guardrail).await.unwrap();
    assert_eq!((back.version, Value::Object(back.item)), (1, everything()));
    let numbers = stored(&guardrail).await.unwrap().item["numbers"].to_string();
    assert_eq!(numbers, "[0,-1,18446744073709551615,-9223372036854775808,9007199254740993,0.5]");
}

#[tokio::test(start_paused = true)]
async fn many_are_read_at_once_each_one_time() {
    let (fake, guardrail) = empty();
    let subjects: Vec<_> = (0..250).chain(0..250).map(|it| format!("bucket:b{it}")).collect();
    for subject in &subjects[..250] {
        assert!(replace(&guardrail, LEDGER, subject, 0, &map(&json!({"state": subject}))).await.unwrap());
    }
    fake.forget();
    let found = read(&guardrail, LEDGER, &subjects).await.unwrap();
    assert!(found.len() == 250 && found.iter().all(|(subject, it)| it.item["state"] == *subject), "{found:?}");
    assert_eq!(fake.state().calls, ["BatchGetItem"; 3]);
    fake.forget();
    assert!(read(&guardrail, LEDGER, &[]).await.unwrap().is_empty());
    assert!(fake.state().calls.is_empty());
}

#[tokio::test(start_paused = true)]
async fn keys_that_were_left_unprocessed_are_asked_for_again_but_not_for_ever() {
    let (fake, guardrail) = empty();
    assert!(put(&guardrail, 0, json!({"state": "open"})).await.unwrap());
    fake.state().leaves_unprocessed = 2;
    assert_eq!(stored(&guardrail).await.unwrap().item["state"], "open");
    fake.state().leaves_unprocessed = 9;
    let error = read(&guardrail, LEDGER, &[SUBJECT.to_owned()]).await.unwrap_err();
    assert_eq!(error.to_string(), "BatchGetItem: DynamoDB left 1 keys unprocessed, 4 times");
}

#[tokio::test(start_paused = true)]
async fn an_intent_is_put_whatever_is_there() {
    let (fake, guardrail) = empty();
    let intent = |controls: &str| json!({"controls": [controls], "until": "2026-11-23T09:00:00Z"});
    let first = begin(&guardrail, LEDGER, SUBJECT, "one", &intent("versioning")).await.unwrap();
    assert_eq!((first.version, first.item), (1, map(&json!({"intents": {"one": intent("versioning")}}))));
    assert!(put(&guardrail, 1, everything()).await.unwrap());
    let second = begin(&guardrail, LEDGER, SUBJECT, "a.b#c", &intent("acl")).await.unwrap();
    let mut item = map(&everything());
    item.insert("intents".to_owned(), json!({"a.b#c": intent("acl")}));
    assert_eq!((second.version, &second.item), (3, &item), "no map was there");
    fake.forget();
    let third = begin(&guardrail, LEDGER, SUBJECT, "two", &intent("policy")).await.unwrap();
    item["intents"]["two"] = intent("policy");
    assert_eq!((third.version, &third.item), (4, &item), "beside another's");
    assert_eq!(fake.state().calls, ["UpdateItem"]);
    assert_eq!(stored(&guardrail).await, Some(third));
}

#[tokio::test(start_paused = true)]
async fn an_intent_that_is_put_at_the_same_time_as_another_is_beside_it() {
    let (fake, guardrail) = empty();
    fake.before("UpdateItem", |_| {});
    fake.before("UpdateItem", |state| {
        let intents = json!({"M": {"theirs": {"BOOL": true}}});
        let item = json!({"subject": {"S": SUBJECT}, "version": {"N": "1"}, "intents": intents});
        state.ledger.get_or_insert_default().insert(SUBJECT.to_owned(), item);
    });
    let both = begin(&guardrail, LEDGER, SUBJECT, "ours", &json!(true)).await.unwrap();
    assert_eq!((both.version, both.item), (2, map(&json!({"intents": {"ours": true, "theirs": true}}))));
    assert_eq!(fake.state().calls, ["UpdateItem"; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_write_is_lost_when_somebody_wrote_since_the_read() {
    let (_fake, guardrail) = empty();
    assert!(put(&guardrail, 0, json!({"state": "open"})).await.unwrap());
    assert!(!put(&guardrail, 0, json!({"state": "second"})).await.unwrap());
    begin(&guardrail, LEDGER, SUBJECT, "look", &json!({})).await.unwrap();
    assert!(!put(&guardrail, 1, json!({"state": "late"})).await.unwrap());
    assert_eq!(stored(&guardrail).await.unwrap().item["state"], "open");
    assert!(put(&guardrail, 2, json!({"state": "good"})).await.unwrap());
    let now = stored(&guardrail).await.unwrap();
    assert_eq!((now.version, now.item), (3, map(&json!({"state": "good"}))));
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_was_lost_is_not_somebody_elses() {
    let (fake, guardrail) = empty();
    fake.fail("PutItem", 1, FaultKind::Unheard);
    assert!(put(&guardrail, 0, json!({"state": "open"})).await.unwrap());
    assert_eq!(fake.state().calls, ["PutItem"; 2]);
    fake.fail("PutItem", 1, FaultKind::Unheard);
    fake.before("PutItem", |_| {});
    fake.before("PutItem", |state| {
        let item = state.ledger.get_or_insert_default().get_mut(SUBJECT).unwrap();
        item["version"] = json!({"N": "3"});
        item["intents"] = json!({"M": {"theirs": {"BOOL": true}}});
    });
    assert!(put(&guardrail, 1, json!({"state": "good"})).await.unwrap(), "an intent came in between");
    let now = stored(&guardrail).await.unwrap();
    assert_eq!((now.version, now.item), (3, map(&json!({"state": "good", "intents": {"theirs": true}}))));
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_tried_again_and_what_stays_is_told() {
    let (fake, guardrail) = empty();
    let faults = [
        (FaultKind::Answer(400, "ThrottlingException"), "BatchGetItem: ThrottlingException"),
        (FaultKind::Answer(400, "ProvisionedThroughputExceededException"), "BatchGetItem: Provisioned"),
        (FaultKind::Answer(500, "InternalServerError"), "BatchGetItem: InternalServerError"),
        (FaultKind::Reset, "BatchGetItem: "),
    ];
    for (fault, told) in faults {
        fake.fail("BatchGetItem", 2, fault.clone());
        assert_eq!(stored(&guardrail).await, None);
        fake.fail("BatchGetItem", 3, fault);
        let error = read(&guardrail, LEDGER, &[SUBJECT.to_owned()]).await.unwrap_err();
        assert!(error.to_string().starts_with(told), "{error}");
    }
    fake.forget();
    fake.fail("UpdateItem", 9, FaultKind::Answer(400, "AccessDeniedException"));
    let error = begin(&guardrail, LEDGER, SUBJECT, "look", &json!({})).await.unwrap_err();
    assert_eq!((error.code(), fake.state().calls.len()), (Some("AccessDeniedException"), 1));
    fake.state().ledger = None;
    let error = read(&guardrail, LEDGER, &[SUBJECT.to_owned()]).await.unwrap_err();
    assert_eq!(error.code(), Some("ResourceNotFoundException"));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_longer_than_a_second() {
    let (fake, guardrail) = empty();
    for operation in ["BatchGetItem", "UpdateItem", "PutItem"] {
        fake.fail(operation, 99, FaultKind::Slow);
    }
    let subjects = [SUBJECT.to_owned()];
    let since = Instant::now();
    let waited = || since.elapsed();
    let mut errors = vec![read(&guardrail, LEDGER, &subjects).await.unwrap_err()];
    assert!(waited() <= Duration::from_secs(1), "{:?}", waited());
    errors.push(begin(&guardrail, LEDGER, SUBJECT, "look", &json!({})).await.unwrap_err());
    errors.push(put(&guardrail, 0, json!({})).await.unwrap_err());
    assert!(waited() <= Duration::from_secs(3), "{:?}", waited());
    assert!(errors.iter().all(|it| it.why == Why::NoAnswer), "{errors:?}");
    fake.state().heal();
    fake.state().calls.clear();
    fake.fail("PutItem", 1, FaultKind::Slow);
    assert!(put(&guardrail, 1, json!({})).await.unwrap(), "a second attempt has time, and knows the first one's item");
    assert_eq!(fake.state().calls, ["PutItem"; 2]);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_wrote_is_read_as_far_as_it_is_json_and_put_in_order_by_the_next_write() {
    let (fake, guardrail) = empty();
    let theirs = json!({
        "subject": {"S": SUBJECT}, "state": {"S": "open"}, "set": {"SS": ["a"]}, "deep": {"M": {"bytes": {"B": "AA=="}}},
        "large": {"N": "1E+200"},
    });
    fake.state().ledger.as_mut().unwrap().insert(SUBJECT.to_owned(), theirs);
    let read = stored(&guardrail).await.unwrap();
    assert_eq!((read.version, &read.item), (0, &map(&json!({"state": "open", "large": 1e200}))));
    assert!(replace(&guardrail, LEDGER, SUBJECT, 0, &read.item).await.unwrap());
    assert_eq!(stored(&guardrail).await.unwrap(), Stored { version: 1, item: read.item });
}

/// The local AWS with what the functions need before they exist, and who may do anything in it.
struct Place(LocalAws, Keys);

impl Place {
    fn new() -> Self {
        let aws = LocalAws::start(&workspace().join("target/local-aws/ledger")).unwrap();
        let place = Self(aws, Keys::administrator(ACCOUNT));
        let template = workspace().join("infra/foundation.yaml");
        let deploy = ["cloudformation", "deploy", "--stack-name", "s3-guardrail-foundation", "--template-file"];
        place.aws(&[&deploy[..], &[template.to_str().unwrap(), "--capabilities", "CAPABILITY_NAMED_IAM"]].concat());
        place
    }

    fn aws(&self, arguments: &[&str]) -> String {
        self.0.aws(&self.1, arguments).unwrap()
    }

    fn guardrail(&self, aws: &SdkConfig) -> Guardrail {
        let vars = |name: &str| match name {
            "GUARDRAIL_TOPIC_ARN" => Some(format!("arn:aws:sns:{REGION}:{ACCOUNT}:s3-guardrail-alerts")),
            "GUARDRAIL_ROLE_ARN" => Some(ROLE.to_owned()),
            "AWS_REGION" => Some(REGION.to_owned()),
            _ => None,
        };
        // This machine may be busy.
        waiting_for_the_ledger(Guardrail::new(Config::from_vars(Needs::NoQueue, vars).unwrap(), aws), 30)
    }

    /// The guardrail as one of its roles, which only Lambda may take otherwise.
    fn as_role(&self, name: &str) -> Guardrail {
        let name = format!("s3-guardrail-{name}-{REGION}");
        let anybody = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")}},
        ]});
        let trust = ["iam", "update-assume-role-policy", "--role-name", &name, "--policy-document"];
        self.aws(&[&trust[..], &[&anybody.to_string()]].concat());
        let arn = format!("arn:aws:iam::{ACCOUNT}:role/{name}");
        let assume = ["sts", "assume-role", "--role-arn", &arn, "--role-session-name", "it", "--query", "Credentials"];
        let keys: Value = serde_json::from_str(&self.aws(&assume)).unwrap();
        let [id, secret, token] =
            ["AccessKeyId", "SecretAccessKey", "SessionToken"].map(|it| keys[it].as_str().unwrap());
        let session = Credentials::new(id, secret, Some(token.to_owned()), None, "it");
        let aws = self.0.sdk(&self.1).unwrap().to_builder();
        self.guardrail(&aws.credentials_provider(SharedCredentialsProvider::new(session)).build())
    }
}

#[tokio::test]
async fn the_deployed_table_takes_the_stores_writes_from_remediate_alone_and_is_kept() {
    let place = Place::new();
    let remediate = place.as_role("remediate");
    assert_eq!(stored(&remediate).await, None);
    let intent = json!({"controls": ["versioning"]});
    let begun = begin(&remediate, LEDGER, SUBJECT, "one", &intent).await.unwrap();
    assert_eq!((begun.version, begun.item), (1, map(&json!({"intents": {"one": intent}}))));
    let begun = begin(&remediate, LEDGER, SUBJECT, "a.b#c", &intent).await.unwrap();
    assert_eq!((begun.version, begun.item), (2, map(&json!({"intents": {"a.b#c": intent, "one": intent}}))));
    assert!(!put(&remediate, 1, everything()).await.unwrap() && !put(&remediate, 0, everything()).await.unwrap());
    assert!(put(&remediate, 2, everything()).await.unwrap());
    let item = stored(&remediate).await.unwrap();
    assert_eq!((item.version, Value::Object(item.item.clone())), (3, everything()));

    let denied = |error: ApiError| (error.code().map(str::to_owned), error.denied_by());
    let code = Some("AccessDeniedException".to_owned());
    let sweep = place.as_role("sweep");
    let own = Subject::Guardrail.to_string();
    assert!(
        replace(&sweep, LEDGER, &own, 0, &map(&json!({"open": {}}))).await.unwrap(),
        "what people know of the parts"
    );
    assert_eq!(read(&sweep, LEDGER, std::slice::from_ref(&own)).await.unwrap()[&own].version, 1);
    assert!(read(&sweep, LEDGER, &[SUBJECT.to_owned()]).await.is_err(), "it has no need to");
    assert!(read(&sweep, LEDGER, &[own, SUBJECT.to_owned()]).await.is_err());
    assert_eq!(denied(put(&sweep, 3, json!({})).await.unwrap_err()).0, code);
    // Nor would it, whatever its own policy said.
    let anything = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
    let more = ["iam", "put-role-policy", "--role-name", "s3-guardrail-sweep-eu-west-2", "--policy-name", "more"];
    place.aws(&[&more[..], &["--policy-document", &anything.to_string()]].concat());
    let by_policy = (code.clone(), Some(Denial::ResourcePolicy));
    assert_eq!(denied(put(&sweep, 3, json!({})).await.unwrap_err()), by_policy);
    let administrator = place.guardrail(&place.0.sdk(&place.1).unwrap());
    assert_eq!(stored(&administrator).await.as_ref(), Some(&item));
    assert_eq!(denied(put(&administrator, 3, json!({})).await.unwrap_err()), by_policy);
    assert_eq!(denied(begin(&administrator, LEDGER, SUBJECT, "x", &intent).await.unwrap_err()), by_policy);
    assert_eq!(stored(&remediate).await, Some(item));

    let delete = place.0.aws(&place.1, &["dynamodb", "delete-table", "--table-name", LEDGER]).unwrap_err();
    assert!(delete.to_string().contains("protected against deletion"), "{delete}");
    let backups = ["dynamodb", "describe-continuous-backups", "--table-name", LEDGER];
    assert!(place.aws(&backups).contains("\"PointInTimeRecoveryStatus\": \"ENABLED\""));
}
