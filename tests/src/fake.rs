//! A fake of the few AWS calls the guardrail makes, behind the real SDK: same requests, same parsing, no network.
//!
//! S3's bucket configuration is symmetric: a read answers with the body that a write sent. A policy comes back in other
//! words of the same meaning.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedAsyncSleep, SharedCredentialsProvider};
use aws_smithy_async::rt::sleep::{AsyncSleep, Sleep};
use aws_smithy_runtime::client::retries::{RetryPartition, TokenBucket};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
        runtime_components::RuntimeComponents,
    },
    http::StatusCode,
};
use aws_smithy_types::{body::SdkBody, timeout::TimeoutConfig};
use guardrail::Guardrail;
use guardrail_core::{
    decide::rules::{STACK, rules},
    edge::config::{Config, Needs, Place},
    value::names::Arn,
};
use serde_json::{Value, json};

use crate::{
    event_patterns,
    models::{self, Exchange},
    s3_rules,
};

/// The account that everything is in.
pub const ACCOUNT: &str = "111122223333";
/// The guarded bucket.
pub const BUCKET: &str = "acme-data";
/// The guarded bucket's key.
pub const KEY: &str = "arn:aws:kms:eu-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
/// The guardrail's own key.
pub const OWN_KEY: &str = "arn:aws:kms:eu-west-2:111122223333:key/0987dcba-0fed-0000-0000-0a0b0c0d0e0f";
/// A key that a bucket had before.
pub const FORMER_KEY: &str = "arn:aws:kms:eu-west-2:111122223333:key/4321dcba-0000-4000-8000-0f0e0d0c0b0a";
/// The guardrail's own role.
pub const ROLE: &str = "arn:aws:iam::111122223333:role/s3-guardrail-remediate-eu-west-2";
/// Where it is.
pub const PLACE: Place<'_> = Place { partition: "aws", account: ACCOUNT, region: "eu-west-2" };

/// A trail; no bucket has it unless it is registered.
pub const TRAIL: &str = "arn:aws:cloudtrail:eu-west-2:111122223333:trail/acme-trail";

const TOPIC: &str = "arn:aws:sns:eu-west-2:111122223333:alerts";

/// S3's sub-resources: query parameter, what it is called in Get and Put, and in Delete, the error code that says
/// "absent".
const SUBRESOURCES: [(&str, &str, &str, &str); 10] = [
    ("publicAccessBlock", "PublicAccessBlock", "PublicAccessBlock", "NoSuchPublicAccessBlockConfiguration"),
    ("ownershipControls", "BucketOwnershipControls", "BucketOwnershipControls", "OwnershipControlsNotFoundError"),
    ("acl", "BucketAcl", "", ""),
    ("policy", "BucketPolicy", "BucketPolicy", "NoSuchBucketPolicy"),
    ("encryption", "BucketEncryption", "BucketEncryption", ""),
    ("versioning", "BucketVersioning", "", ""),
    ("lifecycle", "BucketLifecycleConfiguration", "BucketLifecycle", "NoSuchLifecycleConfiguration"),
    ("inventory", "BucketInventoryConfiguration", "BucketInventoryConfiguration", "NoSuchConfiguration"),
    ("website", "BucketWebsite", "BucketWebsite", "NoSuchWebsiteConfiguration"),
    ("replication", "BucketReplication", "BucketReplication", "ReplicationConfigurationNotFoundError"),
];

/// S3's other calls that a query parameter tells apart: the parameter, operation name.
const QUERIES: [(&str, &str); 8] = [
    ("list-type", "ListObjectsV2"),
    ("versions", "ListObjectVersions"),
    ("uploads", "ListMultipartUploads"),
    ("object-lock", "GetObjectLockConfiguration"),
    ("legal-hold", "GetObjectLegalHold"),
    ("retention", "GetObjectRetention"),
    ("delete", "DeleteObjects"),
    ("uploadId", "AbortMultipartUpload"),
];

/// Lambda's: the end of the path, operation name.
const LAMBDA: [(&str, &str); 5] = [
    ("/policy", "GetPolicy"),
    ("/concurrency", "GetFunctionConcurrency"),
    ("/invocations", "Invoke"),
    ("/account-settings", "GetAccountSettings"),
    ("/configuration", "GetFunctionConfiguration"),
];

const OWNER: &str = "<Owner><ID>me</ID></Owner>";
const OWNERS_GRANT: &str = "<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"><ID>me</ID></Grantee><Permission>FULL_CONTROL</Permission></Grant>";
const READS: [&str; 3] = ["Get", "Describe", "List"];
const SIZE_HEADER: &str = "x-amz-transition-default-minimum-object-size";

/// The fake. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct FakeAws(Arc<Mutex<State>>);

/// What the fake knows and remembers.
#[derive(Default)]
pub struct State {
    /// The documents of the bucket by sub-resource; `None`: there is no bucket.
    pub bucket: Option<BTreeMap<String, String>>,
    /// Lifecycle's setting that travels in a header.
    pub transition_size: Option<String>,
    /// The other buckets: their documents, and that setting.
    pub others: BTreeMap<String, (BTreeMap<String, String>, Option<String>)>,
    /// Earlier values of a parameter and the present one.
    pub parameter_history: BTreeMap<String, Vec<String>>,
    /// SSM parameters.
    pub parameters: BTreeMap<String, String>,
    /// The key; `None`: it does not exist.
    pub key: Option<FakeKey>,
    /// Other keys of the account, whose policies do not let us in.
    pub closed_keys: BTreeSet<String>,
    /// The guardrail's own key; `None`: the functions are told of none.
    pub own_key: Option<FakeKey>,
    /// A key that the guarded bucket had before.
    pub former_key: Option<FakeKey>,
    /// Other keys of this account, by ARN. No alias points at them.
    pub other_keys: BTreeMap<String, FakeKey>,
    /// The trail, as GetTrail, GetTrailStatus and GetEventSelectors show it; `None`: there is none.
    pub trail: Option<Value>,
    /// Other trails of this account, and those of others that DescribeTrails shows here, in the same form.
    pub other_trails: Vec<Value>,
    /// EventBridge rules: as DescribeRule shows them, with their targets.
    pub rules: BTreeMap<String, (Value, Vec<Value>)>,
    /// Statements of the functions' policies, beside those for the rules.
    pub permissions: Vec<Value>,
    /// What the stack of the rules has: rule and status; `None`: every rule, complete.
    pub stack: Option<BTreeMap<String, String>>,
    /// Whom the zero-spend budget mails; `None`: there is no budget.
    pub mailed: Option<Vec<Value>>,
    /// Whether the whole account blocks public access.
    pub account_blocks: bool,
    /// Access points of the account, and whose bucket each leads to.
    pub access_points: BTreeMap<String, String>,
    /// Messages that SQS took.
    pub queued: Vec<String>,
    /// Objects that S3 took, by `BUCKET/KEY`. Each has one version.
    pub objects: BTreeMap<String, String>,
    /// Earlier versions and delete markers, as S3 lists them: by key, the newest first.
    pub versions: Vec<FakeVersion>,
    /// Object Lock of the guarded bucket, as GetObjectLockConfiguration shows it; `None`: it has none.
    pub object_lock: Option<String>,
    /// Whether S3 lists buckets in pages only, as for an account that may have more than 10,000.
    pub lists_in_pages_only: bool,
    /// Unfinished uploads, by `BUCKET/KEY`.
    pub uploads: BTreeSet<String>,
    /// What waits in the queue of dead letters, and whether it was received and is hidden.
    pub dead_letters: BTreeMap<String, bool>,
    /// What their sender added to them, by body: names and texts.
    pub letter_attributes: BTreeMap<String, Value>,
    /// What functions were invoked with.
    pub invoked: Vec<String>,
    /// Whether functions that are invoked fail.
    pub functions_fail: bool,
    /// Operations in the order in which they came.
    pub calls: Vec<String>,
    /// Where each call went.
    pub uris: Vec<String>,
    /// The user agent of each call; CloudTrail keeps it.
    pub user_agents: Vec<String>,
    /// Messages that SNS took, as form fields.
    pub published: Vec<HashMap<String, String>>,
    /// Each request with its answer, when they are kept.
    pub exchanges: Option<Vec<Exchange>>,
    /// What CloudTrail recorded of S3's calls, as LookupEvents shows it; `None`: it records nothing.
    pub records: Option<Vec<Value>>,
    /// Whether a bucket's policy is in force, as far as the guardrail's own statements go.
    pub enforces: bool,
    /// How long the SDK waits for one answer, a hundred times as long as it does; `None`: for ever.
    pub attempt_timeout: Option<Duration>,
    /// How long every call takes.
    pub latency: Duration,
    faults: Vec<Fault>,
    hooks: Vec<(String, Hook)>,
    lag: Option<Lag>,
}

/// A version of an object, or a delete marker.
#[derive(Clone, Debug)]
pub struct FakeVersion {
    /// `BUCKET/KEY`.
    pub place: String,
    pub latest: bool,
    /// When it was written, in RFC 3339.
    pub modified: String,
    /// `None`: a delete marker.
    pub size: Option<u64>,
}

/// What AWS consists of, without what was called.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    pub bucket: Option<BTreeMap<String, String>>,
    pub transition_size: Option<String>,
    pub others: BTreeMap<String, (BTreeMap<String, String>, Option<String>)>,
    pub parameters: BTreeMap<String, String>,
    pub key: Option<FakeKey>,
    pub trail: Option<Value>,
    pub other_trails: Vec<Value>,
    pub rules: BTreeMap<String, (Value, Vec<Value>)>,
    pub mailed: Option<Vec<Value>>,
}

/// Reads that still answer as if a write had not been.
struct Lag {
    before: World,
    /// The only operation that lags; `None`: all reads do.
    only: Option<String>,
    /// How often each operation has lagged already.
    done: HashMap<String, usize>,
    times: usize,
}

/// A KMS key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeKey {
    pub state: String,
    /// What it is for: `ENCRYPT_DECRYPT`, `SIGN_VERIFY`, ...
    pub usage: String,
    pub spec: String,
    /// Where its material is from: `AWS_KMS`, `EXTERNAL`, `AWS_CLOUDHSM` or `EXTERNAL_KEY_STORE`.
    pub origin: String,
    /// Outlives a deletion that is cancelled.
    pub rotation: bool,
    pub policy: String,
    /// As ListResourceTags shows them.
    pub tags: Value,
    /// Where aliases point.
    pub aliases: BTreeMap<String, String>,
}

impl FakeKey {
    /// Enabled, rotating, with what the services need in its policy.
    pub fn good() -> Self {
        let policy = json!({"Version": "2012-10-17", "Statement": [
            {"Sid": "Administrators", "Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")}, "Action": "kms:*", "Resource": "*"},
            {"Sid": "GuardrailInventory", "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "kms:GenerateDataKey", "Resource": "*",
             "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}, "ArnLike": {"aws:SourceArn": "arn:aws:s3:::*"}}},
        ]});
        let (tags, aliases) = (json!([]), BTreeMap::new());
        Self {
            state: "Enabled".to_owned(),
            usage: "ENCRYPT_DECRYPT".to_owned(),
            spec: "SYMMETRIC_DEFAULT".to_owned(),
            origin: "AWS_KMS".to_owned(),
            rotation: true,
            policy: policy.to_string(),
            tags,
            aliases,
        }
    }

    fn is_pending_deletion(&self) -> bool {
        self.state == "PendingDeletion" || self.state == "PendingReplicaDeletion"
    }

    /// Only symmetric keys whose material KMS made rotate by themselves.
    /// <https://docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html>
    fn can_rotate(&self) -> bool {
        self.origin == "AWS_KMS" && self.spec == "SYMMETRIC_DEFAULT"
    }
}

type Hook = Box<dyn FnOnce(&mut State) + Send>;

struct Fault {
    operation: String,
    times: usize,
    kind: FaultKind,
}

/// How a call goes wrong.
#[derive(Clone, Debug)]
pub enum FaultKind {
    /// AWS answers with this status and code.
    Answer(u16, &'static str),
    /// AWS refuses, in these words.
    Denied(&'static str),
    /// The connection breaks.
    Reset,
    /// A read answers with an older document; `None`: as if there were none.
    Stale(Option<String>),
    /// No answer comes, and nothing was done.
    Timeout,
    /// It is done, and the answer comes later than the SDK waits for it.
    Slow,
    /// It is done, and the connection breaks before the answer.
    Unheard,
    /// It is done, and half of the answer comes.
    Truncated,
    /// It is done, and the answer is not what it should be.
    Malformed,
    /// After this write, or as a read after any write: so many reads of each kind answer as if it had not been.
    Lagging(usize),
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("bucket", &self.bucket).field("calls", &self.calls).finish_non_exhaustive()
    }
}

impl FakeAws {
    /// A bucket without any setting, registered with all defaults.
    pub fn guarded() -> Self {
        let fake = Self::default();
        fake.state().bucket = Some(BTreeMap::new());
        fake.state().key = Some(FakeKey::good());
        fake.register(json!({}));
        fake
    }

    /// A guarded bucket on its baseline, with nothing called yet.
    pub async fn compliant() -> Self {
        let fake = Self::guarded();
        let report = fake.remediate(json!({"bucket": BUCKET})).await.expect("a bare bucket can be restored");
        assert_eq!(report["outcome"], "restored", "{report}");
        fake.forget();
        fake
    }

    /// Puts all rules as they are deployed.
    pub fn deploy_rules(&self) {
        for rule in rules("/s3-guardrail/buckets/", PLACE) {
            let arn = format!("arn:aws:lambda:eu-west-2:{ACCOUNT}:function:{}", rule.function);
            let (pattern, schedule) = (rule.wakes.pattern(), rule.wakes.schedule());
            let shown = json!({
                "Name": rule.name, "State": "ENABLED", "EventPattern": pattern, "ScheduleExpression": schedule,
            });
            self.state().rules.insert(rule.name.to_owned(), (shown, vec![json!({"Id": "function", "Arn": arn})]));
        }
    }

    /// Writes the registry document: the required fields, and these.
    pub fn register(&self, fields: Value) {
        let mut document = json!({"bucket": BUCKET, "account": ACCOUNT, "key_arn": KEY});
        for (name, value) in fields.as_object().into_iter().flatten() {
            document[name] = value.clone();
        }
        self.register_text(&document.to_string());
    }

    /// Writes the registry document as it is.
    pub fn register_text(&self, document: &str) {
        self.state().parameters.insert(format!("/s3-guardrail/buckets/{BUCKET}"), document.to_owned());
    }

    /// Everything it knows and remembers.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds the state")
    }

    /// The documents of the bucket.
    pub fn documents(&self) -> BTreeMap<String, String> {
        self.state().bucket.clone().unwrap_or_default()
    }

    /// Puts a document behind the guardrail's back; `None` deletes it.
    pub fn set(&self, subresource: &str, document: Option<&str>) {
        self.state().set(subresource, document);
    }

    /// The next `times` calls of this operation go wrong.
    pub fn fail(&self, operation: &str, times: usize, kind: FaultKind) {
        self.state().fail(operation, times, kind);
    }

    /// Somebody does this right before the next call of this operation.
    pub fn before(&self, operation: &str, hook: impl FnOnce(&mut State) + Send + 'static) {
        self.state().hooks.push((operation.to_owned(), Box::new(hook)));
    }

    /// Forgets calls and messages.
    pub fn forget(&self) {
        let mut state = self.state();
        state.calls.clear();
        state.uris.clear();
        state.user_agents.clear();
        state.published.clear();
        state.objects.clear();
    }

    /// The operations called, sorted: reads come at once.
    pub fn reads(&self) -> Vec<String> {
        let is_read = |it: &&String| READS.iter().any(|read| it.starts_with(read));
        let mut reads: Vec<_> = self.state().calls.iter().filter(is_read).cloned().collect();
        reads.sort();
        reads
    }

    /// The writes, in order; alerts, messages and records are none.
    pub fn writes(&self) -> Vec<String> {
        let is_write = |it: &&String| {
            !READS.iter().chain(&["Publish", "SendMessage", "PutObject"]).any(|read| it.starts_with(read))
        };
        self.state().calls.iter().filter(is_write).cloned().collect()
    }

    /// The machine-readable parts of the messages that SNS took.
    pub fn alerts(&self) -> Vec<Value> {
        let messages = self.state().published.clone();
        let default = |it: &HashMap<String, String>| -> Option<Value> {
            let message: Value = serde_json::from_str(it.get("Message")?).ok()?;
            serde_json::from_str(message["default"].as_str()?).ok()
        };
        messages.iter().map(|it| default(it).expect("every message has a default part in JSON")).collect()
    }

    /// The guardrail on this AWS.
    pub fn guardrail(&self) -> Guardrail {
        self.guardrail_telling(TOPIC)
    }

    /// The guardrail on this AWS, with another topic.
    pub fn guardrail_telling(&self, topic: &str) -> Guardrail {
        let vars = |name: &str| match name {
            "GUARDRAIL_TOPIC_ARN" => Some(topic.to_owned()),
            "GUARDRAIL_ROLE_ARN" => Some(ROLE.to_owned()),
            "GUARDRAIL_QUEUE_URL" => Some(format!("https://sqs.eu-west-2.amazonaws.com/{ACCOUNT}/s3-guardrail-work")),
            "AWS_REGION" => Some("eu-west-2".to_owned()),
            "GUARDRAIL_KEY_ARN" => self.state().own_key.as_ref().map(|_| OWN_KEY.to_owned()),
            _ => None,
        };
        patient(Guardrail::new(Config::from_vars(Needs::Queue, vars).expect("complete"), &self.sdk()))
    }

    /// How an SDK calls this AWS.
    pub fn sdk(&self) -> SdkConfig {
        let mut timeouts = TimeoutConfig::builder();
        timeouts.set_operation_attempt_timeout(self.state().attempt_timeout);
        SdkConfig::builder()
            .timeout_config(timeouts.build())
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("eu-west-2"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new("id", "secret", None, None, "fake")))
            .sleep_impl(SharedAsyncSleep::new(ShortSleep))
            .http_client(self.clone())
            .build()
    }

    /// What the function answers, or its error's message.
    pub async fn remediate(&self, input: Value) -> Result<Value, String> {
        guardrail::work::remediate::remediate(&self.guardrail(), input)
            .await
            .map_err(|error| guardrail_core::value::failure::chain(&error))
    }

    fn answer(&self, request: &HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let mut state = self.state();
        if let Some((_, name)) = request.uri().split_once("/accesspoint/") {
            state.calls.push("GetAccessPoint".to_owned());
            return Ok(match state.access_points.get(name) {
                Some(bucket) => response(
                    200,
                    &format!(
                        "<GetAccessPointResult><Name>{name}</Name><Bucket>{bucket}</Bucket></GetAccessPointResult>"
                    ),
                ),
                None => response(
                    404,
                    "<ErrorResponse><Error><Code>NoSuchAccessPoint</Code><Message>no</Message></Error></ErrorResponse>",
                ),
            });
        }
        if request.uri().contains(".s3-control.") {
            let block = state.account_blocks;
            return Ok(response(
                200,
                &format!(
                    "<PublicAccessBlockConfiguration><BlockPublicAcls>{block}</BlockPublicAcls><IgnorePublicAcls>{block}</IgnorePublicAcls><BlockPublicPolicy>{block}</BlockPublicPolicy><RestrictPublicBuckets>{block}</RestrictPublicBuckets></PublicAccessBlockConfiguration>"
                ),
            ));
        }
        let call = Call::of(request);
        state.calls.push(call.operation.clone());
        state.uris.push(request.uri().to_owned());
        state.user_agents.push(request.headers().get("user-agent").unwrap_or_default().to_owned());
        if let Some(hook) = state.hooks.iter().position(|it| it.0 == call.operation) {
            let (_, hook) = state.hooks.remove(hook);
            hook(&mut state);
        }
        let fault = state.faults.iter_mut().find(|it| it.operation == call.operation && it.times > 0);
        let kind = fault.map(|it| {
            it.times -= 1;
            it.kind.clone()
        });
        match kind {
            Some(FaultKind::Answer(status, code)) => Ok(call.error(status, code)),
            Some(FaultKind::Denied(message)) => Ok(refused(403, "AccessDenied", message)),
            Some(FaultKind::Reset) => Err(ConnectorError::io("connection reset".into())),
            Some(FaultKind::Unheard) => {
                state.serve(request, &call);
                Err(ConnectorError::io("connection reset".into()))
            }
            Some(FaultKind::Timeout) => Err(ConnectorError::timeout("no answer".into())),
            Some(FaultKind::Stale(document)) => Ok(state.read(&call.subresource, document.as_deref())),
            Some(FaultKind::Truncated) => {
                let answer = state.serve(request, &call);
                let body = String::from_utf8_lossy(answer.body().bytes().unwrap_or_default()).into_owned();
                Ok(response(answer.status().as_u16(), &body[..body.floor_char_boundary(body.len() / 2)]))
            }
            Some(FaultKind::Malformed) => {
                let answer = state.serve(request, &call);
                Ok(response(answer.status().as_u16(), "<html>{\"busy"))
            }
            Some(FaultKind::Lagging(times)) => {
                let only = call.is_read().then(|| call.operation.clone());
                let (before, done) = (state.world(), HashMap::new());
                state.lag.get_or_insert(Lag { before, only, done, times });
                Ok(state.serve_lagging(request, &call))
            }
            Some(FaultKind::Slow) | None => Ok(state.serve_lagging(request, &call)),
        }
    }

    /// Whether the answer to this call comes in time.
    fn is_slow(&self, request: &HttpRequest) -> bool {
        let operation = Call::of(request).operation;
        let state = self.state();
        let fault = state.faults.iter().find(|it| it.operation == operation && it.times > 0);
        fault.is_some_and(|it| matches!(it.kind, FaultKind::Slow))
    }
}

/// The same with clients that never run out of retries. The SDK counts them for the whole process, and so for all tests.
fn patient(guardrail: Guardrail) -> Guardrail {
    macro_rules! patient {
        ($($service:ident: $sdk:ident),*) => {
            Guardrail {
                $($service: $sdk::Client::from_conf(
                    guardrail.$service.config().to_builder().retry_partition(unlimited(stringify!($service))).build(),
                ),)*
                ..guardrail
            }
        };
    }
    fn unlimited(name: &'static str) -> RetryPartition {
        RetryPartition::custom(name).token_bucket(TokenBucket::unlimited()).build()
    }
    patient!(
        s3: aws_sdk_s3,
        ssm: aws_sdk_ssm,
        sns: aws_sdk_sns,
        kms: aws_sdk_kms,
        cloudtrail: aws_sdk_cloudtrail,
        events: aws_sdk_eventbridge,
        lambda: aws_sdk_lambda,
        sqs: aws_sdk_sqs,
        cloudformation: aws_sdk_cloudformation,
        budgets: aws_sdk_budgets
    )
}

/// The SDK's waits between its attempts, a hundredth as long.
#[derive(Debug)]
struct ShortSleep;

impl AsyncSleep for ShortSleep {
    fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(tokio::time::sleep(duration / 100))
    }
}

impl HttpClient for FakeAws {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for FakeAws {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        models::hold(&request);
        let slow = self.is_slow(&request);
        let mut answer = self.answer(&request);
        if let Ok(answer) = &mut answer {
            self.state().record(&request, answer);
        }
        if let (Some(exchanges), Ok(answer)) = (&mut self.state().exchanges, &answer) {
            exchanges.push(Exchange::request(&request).answered(answer));
        }
        let latency = self.state().latency;
        if slow {
            HttpConnectorFuture::new(std::future::pending())
        } else if latency.is_zero() {
            HttpConnectorFuture::ready(answer)
        } else {
            HttpConnectorFuture::new(async move {
                tokio::time::sleep(latency).await;
                answer
            })
        }
    }
}

/// A request, understood.
struct Call {
    operation: String,
    /// S3 only.
    subresource: String,
    /// S3 only.
    bucket: String,
    /// Where it was sent.
    region: String,
    /// Of its URI.
    path: String,
    body: String,
}

impl Call {
    fn of(request: &HttpRequest) -> Self {
        let body = String::from_utf8_lossy(request.body().bytes().unwrap_or_default()).into_owned();
        let (address, query) = request.uri().split_once('?').unwrap_or((request.uri(), ""));
        let (host, path) = address.trim_start_matches("https://").split_once('/').unwrap_or((address, ""));
        let (bucket, _) = host.split_once(".s3.").unwrap_or_default();
        let call = |operation: &str, subresource: &str| Self {
            operation: operation.to_owned(),
            subresource: subresource.to_owned(),
            bucket: bucket.to_owned(),
            region: host.split('.').nth(1).unwrap_or_default().to_owned(),
            path: path.to_owned(),
            body: body.clone(),
        };
        if let Some(target) = request.headers().get("x-amz-target") {
            return call(target.rsplit('.').next().unwrap_or_default(), "");
        }
        if let Some(action) = form(&body).remove("Action") {
            return call(&action, "");
        }
        // Lambda: a path that begins with the date of its API.
        let lambda =
            LAMBDA.iter().find(|it| path.starts_with("20") && format!("/{path}").trim_end_matches('/').ends_with(it.0));
        if let Some((_, operation)) = lambda {
            return call(operation, "");
        }
        let asks_for = |name: &str| query.split('&').any(|part| part.split('=').next() == Some(name));
        // Of buckets; an object's has a key before it.
        if let Some((subresource, name, deleted, _)) = SUBRESOURCES.iter().find(|it| path.is_empty() && asks_for(it.0))
        {
            return match request.method() {
                "GET" => call(&format!("Get{name}"), subresource),
                "DELETE" => call(&format!("Delete{deleted}"), subresource),
                _ => call(&format!("Put{name}"), subresource),
            };
        }
        if host.starts_with("s3.") && path.is_empty() && request.method() == "GET" {
            return call("ListBuckets", "");
        }
        match (QUERIES.iter().find(|it| asks_for(it.0)), request.method()) {
            (Some(("uploads", _)), "POST") => call("CreateMultipartUpload", ""),
            (Some(("uploadId", _)), "PUT") if request.headers().get("x-amz-copy-source").is_some() => {
                call("UploadPartCopy", "")
            }
            (Some(("uploadId", _)), "PUT") => call("UploadPart", ""),
            (Some(("uploadId", _)), "POST") => call("CompleteMultipartUpload", ""),
            (Some((_, operation)), _) => call(operation, ""),
            (None, "HEAD") if path.is_empty() => call("HeadBucket", ""),
            (None, "HEAD") => call("HeadObject", ""),
            (None, "GET") => call("GetObject", ""),
            (None, "PUT") if path.is_empty() => call("CreateBucket", ""),
            (None, "PUT") if asks_for("encryption") => call("UpdateObjectEncryption", ""),
            (None, "PUT") if asks_for("acl") => call("PutObjectAcl", ""),
            (None, "PUT") if request.headers().get("x-amz-copy-source").is_some() => call("CopyObject", ""),
            (None, "PUT") => call("PutObject", ""),
            (None, "DELETE") if path.is_empty() => call("DeleteBucket", ""),
            (None, "DELETE") => call("DeleteObject", ""),
            (_, other) => call(&format!("{other} {}", request.uri()), ""),
        }
    }

    /// S3's calls are the only ones without a name in them.
    fn is_s3(&self) -> bool {
        !self.bucket.is_empty()
    }

    /// Which object it is about: `BUCKET/KEY`.
    fn place(&self, request: &HttpRequest) -> String {
        let address = request.uri().split('?').next().unwrap_or_default().trim_start_matches("https://");
        let key = address.split_once('/').unwrap_or_default().1;
        format!("{}/{key}", self.bucket)
    }

    fn is_read(&self) -> bool {
        READS.iter().any(|it| self.operation.starts_with(it))
    }

    fn error(&self, status: u16, code: &str) -> HttpResponse {
        let body = match self.operation.as_str() {
            "Publish"
            | "ListSubscriptionsByTopic"
            | "DescribeStackResources"
            | "DescribeStacks"
            | "ValidateTemplate" => {
                format!("<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>")
            }
            _ if self.is_s3() => format!("<Error><Code>{code}</Code><Message>no</Message></Error>"),
            _ => json!({"__type": code, "message": "no"}).to_string(),
        };
        response(status, &body)
    }
}

/// A parameter's document; of a copy of a registry document, without when it was made.
fn timeless(name: &str, document: &str) -> String {
    match serde_json::from_str::<Value>(document) {
        Ok(mut copy) if name.starts_with(guardrail_core::edge::registry::COPIES) => {
            copy["since"] = json!("2026-11-23T09:00:00Z");
            copy.to_string()
        }
        _ => document.to_owned(),
    }
}

impl State {
    /// Puts a document; `None` deletes it.
    pub fn set(&mut self, subresource: &str, document: Option<&str>) {
        let bucket = self.bucket.get_or_insert_default();
        match document {
            Some(document) => drop(bucket.insert(subresource.to_owned(), document.to_owned())),
            None => drop(bucket.remove(subresource)),
        }
    }

    /// Everything but what was called.
    pub fn world(&self) -> World {
        World {
            bucket: self.bucket.clone(),
            transition_size: self.transition_size.clone(),
            others: self.others.clone(),
            parameters: self.parameters.iter().map(|(name, it)| (name.clone(), timeless(name, it))).collect(),
            key: self.key.clone(),
            trail: self.trail.clone(),
            other_trails: self.other_trails.clone(),
            rules: self.rules.clone(),
            mailed: self.mailed.clone(),
        }
    }

    /// See [`FakeAws::fail`].
    pub fn fail(&mut self, operation: &str, times: usize, kind: FaultKind) {
        self.faults.push(Fault { operation: operation.to_owned(), times, kind });
    }

    /// Puts everything as it was.
    pub fn set_world(&mut self, world: World) {
        let World { bucket, transition_size, others, parameters, key, trail, other_trails, rules, mailed } = world;
        self.bucket = bucket;
        self.transition_size = transition_size;
        self.others = others;
        self.mailed = mailed;
        self.parameters = parameters;
        self.key = key;
        self.trail = trail;
        self.other_trails = other_trails;
        self.rules = rules;
    }

    /// Forgets every fault that is still to come.
    pub fn heal(&mut self) {
        self.faults.clear();
        self.hooks.clear();
        self.lag = None;
    }

    /// A read may answer from before the last write.
    fn serve_lagging(&mut self, request: &HttpRequest, call: &Call) -> HttpResponse {
        let before = self.lag.as_mut().filter(|_| call.is_read()).and_then(|lag| {
            let done = lag.done.entry(call.operation.clone()).or_default();
            let lags = lag.only.as_ref().is_none_or(|it| *it == call.operation) && *done < lag.times;
            *done += 1;
            lags.then(|| lag.before.clone())
        });
        let Some(before) = before else { return self.serve(request, call) };
        let now = self.world();
        self.set_world(before);
        let answer = self.serve(request, call);
        self.set_world(now);
        answer
    }

    /// Remembers a call of S3, as CloudTrail does, and gives it an id.
    fn record(&mut self, request: &HttpRequest, answer: &mut HttpResponse) {
        let Some(records) = &mut self.records else { return };
        let call = Call::of(request);
        if !call.is_s3() {
            return;
        }
        let id = format!("REQUEST{}", records.len());
        let denied = (answer.status().as_u16() == 403).then_some("AccessDenied");
        records.push(json!({
            "eventName": call.operation.trim_end_matches("Configuration"), "eventSource": "s3.amazonaws.com", "requestID": id,
            "errorCode": denied, "requestParameters": {"bucketName": call.bucket},
            "resources": [{"type": "AWS::S3::Bucket", "ARN": format!("arn:aws:s3:::{}", call.bucket)}],
        }));
        answer.headers_mut().insert("x-amz-request-id", id);
    }

    /// Whether the bucket's policy denies a call.
    fn is_denied(&self, request: &HttpRequest, call: &Call) -> bool {
        let (action, resource) = match call.operation.as_str() {
            "PutObject" | "CopyObject" | "CreateMultipartUpload" => ("s3:PutObject", call.place(request)),
            "PutBucketVersioning" => ("s3:PutBucketVersioning", call.bucket.clone()),
            _ => return false,
        };
        let documents =
            if call.bucket == BUCKET { self.bucket.as_ref() } else { self.others.get(&call.bucket).map(|it| &it.0) };
        let policy = documents.and_then(|it| it.get("policy")).map_or("", String::as_str);
        s3_rules::denies(policy, action, &format!("arn:aws:s3:::{resource}"), |it| request.headers().get(it))
    }

    fn serve(&mut self, request: &HttpRequest, call: &Call) -> HttpResponse {
        if self.enforces && self.is_denied(request, call) {
            return refused(403, "AccessDenied", "not authorized, with an explicit deny in a resource-based policy");
        }
        match call.operation.as_str() {
            "GetParameter" => {
                let input: Value = serde_json::from_str(&call.body).unwrap_or_default();
                let name = input["Name"].as_str().unwrap_or_default();
                match self.parameters.get(name) {
                    Some(value) => response(200, &json!({"Parameter": {"Name": name, "Value": value}}).to_string()),
                    None => call.error(400, "ParameterNotFound"),
                }
            }
            // The topic is encrypted with it.
            "Publish" if self.own_key.as_ref().is_some_and(|it| it.state != "Enabled") => {
                call.error(400, "KMSDisabled")
            }
            "Publish" => {
                let fields = form(&call.body);
                let region = fields.get("TopicArn").and_then(|it| Arn::parse(it)).map_or("", |it| it.region);
                if !request.uri().starts_with(&format!("https://sns.{region}.")) {
                    return call.error(400, "InvalidParameter");
                }
                self.published.push(fields);
                response(
                    200,
                    "<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>",
                )
            }
            "CreateBucket" => self.in_bucket(&call.bucket, |this| match this.bucket {
                Some(_) => call.error(409, "BucketAlreadyOwnedByYou"),
                None => {
                    this.bucket = Some(BTreeMap::new());
                    response(200, "")
                }
            }),
            _ if !call.subresource.is_empty() => self.in_bucket(&call.bucket, |this| this.serve_s3(request, call)),
            // Writing with the bucket's key may need to decrypt it first, and our roles may not decrypt.
            "PutObject" if request.headers().get("x-amz-server-side-encryption-bucket-key-enabled") == Some("true") => {
                call.error(403, "AccessDenied")
            }
            "PutObject" => {
                self.objects.insert(call.place(request), call.body.clone());
                response(200, "")
            }
            "ListBuckets" => self.list_buckets(request),
            _ if call.is_s3() => self.serve_objects(request, call),
            "Invoke" => {
                self.invoked.push(call.body.clone());
                let mut answer = response(200, "{}");
                if self.functions_fail {
                    answer.headers_mut().insert("x-amz-function-error", "Unhandled");
                }
                answer
            }
            "ListSubscriptionsByTopic" if !self.rules.is_empty() => response(
                200,
                "<ListSubscriptionsByTopicResponse><ListSubscriptionsByTopicResult><Subscriptions><member><SubscriptionArn>arn:aws:sns:eu-west-2:111122223333:alerts:1</SubscriptionArn></member></Subscriptions></ListSubscriptionsByTopicResult></ListSubscriptionsByTopicResponse>",
            ),
            "DescribeStackResources" => self.serve_stack(call),
            "ValidateTemplate" => {
                response(200, "<ValidateTemplateResponse><ValidateTemplateResult/></ValidateTemplateResponse>")
            }
            "DescribeStacks" => {
                let name = form(&call.body).remove("StackName").unwrap_or_default();
                if self.rules.is_empty() || self.stack.as_ref().is_some_and(BTreeMap::is_empty) {
                    return call.error(400, "ValidationError");
                }
                let stack = format!(
                    "<member><StackName>{name}</StackName><CreationTime>2026-11-23T09:14:05Z</CreationTime><StackStatus>CREATE_COMPLETE</StackStatus></member>"
                );
                response(
                    200,
                    &format!(
                        "<DescribeStacksResponse><DescribeStacksResult><Stacks>{stack}</Stacks></DescribeStacksResult></DescribeStacksResponse>"
                    ),
                )
            }
            "GetCallerIdentity" => response(
                200,
                "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::111122223333:user/ann</Arn><UserId>AIDAEXAMPLE</UserId><Account>111122223333</Account></GetCallerIdentityResult></GetCallerIdentityResponse>",
            ),
            "GetRole" => response(
                200,
                "<GetRoleResponse><GetRoleResult><Role><Path>/</Path><RoleName>admin</RoleName><RoleId>AROAEXAMPLEEXAMPLE</RoleId><Arn>arn:aws:iam::111122223333:role/admin</Arn><CreateDate>2026-11-23T09:14:05Z</CreateDate></Role></GetRoleResult></GetRoleResponse>",
            ),
            "SimulatePrincipalPolicy" => response(
                200,
                "<SimulatePrincipalPolicyResponse><SimulatePrincipalPolicyResult><IsTruncated>false</IsTruncated><EvaluationResults/></SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>",
            ),
            _ => match self.serve_json(call, &serde_json::from_str(&call.body).unwrap_or_default()) {
                Ok(answer) => response(200, &answer.to_string()),
                Err(code) => call.error(400, code),
            },
        }
    }

    fn serve_stack(&self, call: &Call) -> HttpResponse {
        let all =
            || rules("/s3-guardrail/buckets/", PLACE).map(|it| (it.name.to_owned(), "CREATE_COMPLETE".to_owned()));
        let has = self.stack.clone().unwrap_or_else(|| all().into());
        if has.is_empty() || form(&call.body).get("StackName").map(String::as_str) != Some(STACK) {
            return call.error(400, "ValidationError");
        }
        let member = |(rule, status): (&String, &String)| {
            format!(
                "<member><LogicalResourceId>{rule}</LogicalResourceId><PhysicalResourceId>{rule}</PhysicalResourceId><ResourceType>AWS::Events::Rule</ResourceType><Timestamp>2026-11-23T09:14:05Z</Timestamp><ResourceStatus>{status}</ResourceStatus></member>"
            )
        };
        let members: String = has.iter().map(member).collect();
        let result = "DescribeStackResourcesResult";
        response(
            200,
            &format!("<R><{result}><StackResources>{members}</StackResources></{result}></R>")
                .replace("R>", "DescribeStackResourcesResponse>"),
        )
    }

    /// Does something as if a bucket were the one that is guarded.
    fn in_bucket<T>(&mut self, name: &str, serve: impl FnOnce(&mut Self) -> T) -> T {
        if name == BUCKET {
            return serve(self);
        }
        let guarded = (self.bucket.take(), self.transition_size.take());
        (self.bucket, self.transition_size) =
            self.others.remove(name).map_or_else(Default::default, |it| (Some(it.0), it.1));
        let answer = serve(self);
        if let Some(bucket) = self.bucket.take() {
            self.others.insert(name.to_owned(), (bucket, self.transition_size.take()));
        }
        (self.bucket, self.transition_size) = guarded;
        answer
    }

    /// S3's calls about buckets as a whole, and about what is in them.
    fn serve_objects(&mut self, request: &HttpRequest, call: &Call) -> HttpResponse {
        if request.headers().get("x-amz-expected-bucket-owner") != Some(ACCOUNT) {
            return call.error(403, "AccessDenied");
        }
        if !self.in_bucket(&call.bucket, |this| this.bucket.is_some()) {
            return call.error(404, "NoSuchBucket");
        }
        let place = call.place(request);
        let within = format!("{}/", call.bucket);
        let asked = form(request.uri().split_once('?').unwrap_or_default().1);
        let prefix = format!("{within}{}", asked.get("prefix").map_or("", String::as_str));
        let encodes = self.encodes_keys(request);
        let keys = |places: &mut dyn Iterator<Item = &String>, element: &str, more: &str| -> String {
            let keys = places.filter_map(|it| it.strip_prefix(&within));
            keys.map(|key| if encodes { encode(key) } else { key.to_owned() })
                .map(|key| format!("<{element}><Key>{key}</Key>{more}</{element}>"))
                .collect()
        };
        let list = match call.operation.as_str() {
            "ListObjectsV2" => (
                "ListBucketResult",
                keys(&mut self.objects.keys().filter(|it| it.starts_with(&prefix)), "Contents", ""),
            ),
            "ListObjectVersions" => return self.list_versions(request, &within),
            "ListMultipartUploads" => {
                ("ListMultipartUploadsResult", keys(&mut self.uploads.iter(), "Upload", "<UploadId>u</UploadId>"))
            }
            "DeleteObjects" => {
                let deleted = |place: &String| {
                    let key = place.strip_prefix(&within);
                    key.is_some_and(|key| call.body.contains(&format!("<Key>{key}</Key><VersionId>v</VersionId>")))
                };
                self.objects.retain(|place, _| !deleted(place));
                self.versions.retain(|it| !deleted(&it.place));
                return response(200, "<DeleteResult></DeleteResult>");
            }
            operation => {
                return match operation {
                    "HeadBucket" => response(200, ""),
                    "GetObjectLockConfiguration" => match &self.object_lock {
                        Some(document) => response(200, document),
                        None => call.error(404, "ObjectLockConfigurationNotFoundError"),
                    },
                    "HeadObject" => match self.objects.get(&place) {
                        Some(body) => response(200, body),
                        None => call.error(404, "NoSuchKey"),
                    },
                    "UpdateObjectEncryption" if call.body.contains(KEY) => response(200, ""),
                    "UpdateObjectEncryption" => self.refused_by_policy_or_kms(),
                    "GetObject" => match self.objects.get(&place) {
                        Some(body) => response(200, body),
                        None => call.error(404, "NoSuchKey"),
                    },
                    "GetObjectLegalHold" | "GetObjectRetention" => call.error(404, "NoSuchObjectLockConfiguration"),
                    "CopyObject" => {
                        self.objects.insert(place, String::new());
                        response(200, "<CopyObjectResult><ETag>\"e\"</ETag></CopyObjectResult>")
                    }
                    "PutObjectAcl" => call.error(400, "AccessControlListNotSupported"),
                    "DeleteObject" => {
                        self.objects.retain(|it, _| encode(it).replace("%2F", "/") != place);
                        response(204, "")
                    }
                    "CreateMultipartUpload" => {
                        self.uploads.insert(place);
                        response(
                            200,
                            "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
                        )
                    }
                    "UploadPart" if self.uploads.contains(&place) => response(200, ""),
                    "UploadPartCopy" if self.uploads.contains(&place) => {
                        response(200, "<CopyPartResult><ETag>\"e\"</ETag></CopyPartResult>")
                    }
                    "CompleteMultipartUpload" if self.uploads.remove(&place) => {
                        self.objects.insert(place, String::new());
                        response(
                            200,
                            "<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>",
                        )
                    }
                    "AbortMultipartUpload" if self.uploads.remove(&place) => response(204, ""),
                    "UploadPart" | "UploadPartCopy" | "CompleteMultipartUpload" | "AbortMultipartUpload" => {
                        call.error(404, "NoSuchUpload")
                    }
                    "DeleteBucket" if self.objects.keys().chain(&self.uploads).any(|it| it.starts_with(&within)) => {
                        call.error(409, "BucketNotEmpty")
                    }
                    "DeleteBucket" => {
                        self.in_bucket(&call.bucket, |this| this.bucket = None);
                        response(204, "")
                    }
                    _ => call.error(501, "NotImplemented"),
                };
            }
        };
        let (root, elements) = list;
        let encoding = if encodes { "<EncodingType>url</EncodingType>" } else { "" };
        response(200, &format!("<{root}>{encoding}<IsTruncated>false</IsTruncated>{elements}</{root}>"))
    }

    /// A page of versions and delete markers: 1,000 at most, and where the next one begins.
    fn list_versions(&self, request: &HttpRequest, within: &str) -> HttpResponse {
        let asked = form(request.uri().split_once('?').unwrap_or_default().1);
        let encodes = self.encodes_keys(request);
        let objects = self.objects.iter().map(|(place, body)| FakeVersion {
            place: place.clone(),
            latest: true,
            modified: "2026-11-23T09:00:00Z".to_owned(),
            size: Some(body.len() as u64),
        });
        let mut all: Vec<_> = objects.chain(self.versions.iter().cloned()).collect();
        all.retain(|it| it.place.starts_with(within));
        all.sort_by(|a, b| a.place.cmp(&b.place));
        let mut names: Vec<(String, String)> = Vec::new();
        let mut nth = 0;
        for it in &all {
            let key = &it.place[within.len()..];
            nth = if names.last().is_some_and(|last| last.0 == key) { nth + 1 } else { 0 };
            names.push((key.to_owned(), if nth == 0 { "v".to_owned() } else { format!("v{nth}") }));
        }
        let marker = asked.get("key-marker").zip(asked.get("version-id-marker"));
        let after = marker.and_then(|it| names.iter().position(|name| (&name.0, &name.1) == it));
        let start = after.map_or(0, |it| it + 1);
        let end = all.len().min(start + 1000);
        let entries = all[start..end].iter().zip(&names[start..end]).map(|(it, (key, id))| {
            let FakeVersion { latest, modified, size, .. } = it;
            let key = if encodes { encode(key) } else { key.clone() };
            let rest = format!("<Key>{key}</Key><VersionId>{id}</VersionId><IsLatest>{latest}</IsLatest><LastModified>{modified}</LastModified>");
            match size {
                Some(size) => format!("<Version>{rest}<Size>{size}</Size></Version>"),
                None => format!("<DeleteMarker>{rest}</DeleteMarker>"),
            }
        });
        let next = if end == all.len() {
            String::new()
        } else {
            let (key, id) = &names[end - 1];
            let key = if encodes { encode(key) } else { key.clone() };
            format!("<NextKeyMarker>{key}</NextKeyMarker><NextVersionIdMarker>{id}</NextVersionIdMarker>")
        };
        let truncated = end < all.len();
        let entries: String = entries.collect();
        let root = "ListVersionsResult";
        let encoding = if encodes { "<EncodingType>url</EncodingType>" } else { "" };
        response(200, &format!("<{root}>{encoding}<IsTruncated>{truncated}</IsTruncated>{next}{entries}</{root}>"))
    }

    /// Whether a list shows keys encoded: as far as it is asked to, and only where XML could not hold one otherwise.
    fn encodes_keys(&self, request: &HttpRequest) -> bool {
        request.uri().contains("encoding-type=url") && self.objects.keys().any(|it| it.contains(char::is_control))
    }

    /// What becomes of a wrong key: the policy's own statement refuses it, or KMS, which does not know it.
    fn refused_by_policy_or_kms(&self) -> HttpResponse {
        let policy = self.bucket.as_ref().and_then(|it| it.get("policy"));
        if policy.is_some_and(|it| it.contains("DenyWrongKMSKey")) {
            return refused(403, "AccessDenied", "not authorized, with an explicit deny in a resource-based policy");
        }
        refused(400, "KMS.NotFoundException", "Key does not exist")
    }

    /// The names of all buckets, in pages when that is asked for.
    fn list_buckets(&self, request: &HttpRequest) -> HttpResponse {
        let asked = form(request.uri().split_once('?').unwrap_or_default().1);
        let asked = |name: &str| asked.get(name).map(String::as_str);
        if self.lists_in_pages_only
            && ["max-buckets", "continuation-token", "prefix", "bucket-region"].iter().all(|it| asked(it).is_none())
        {
            return refused(400, "InvalidRequest", "The account may have too many buckets for one list.");
        }
        let mut all: Vec<&str> = self.others.keys().map(String::as_str).collect();
        all.extend(self.bucket.iter().map(|_| BUCKET));
        all.sort_unstable();
        all.retain(|it| it.starts_with(asked("prefix").unwrap_or_default()));
        all.retain(|it| asked("continuation-token").is_none_or(|token| *it > token));
        all.retain(|_| asked("bucket-region").is_none_or(|it| it == "eu-west-2"));
        let page = asked("max-buckets").and_then(|it| it.parse().ok()).unwrap_or(10_000);
        let token = all.get(page).map(|_| format!("<ContinuationToken>{}</ContinuationToken>", all[page - 1]));
        let buckets: String = all.iter().take(page).map(|it| format!("<Bucket><Name>{it}</Name></Bucket>")).collect();
        response(
            200,
            &format!(
                "<ListAllMyBucketsResult><Buckets>{buckets}</Buckets>{}</ListAllMyBucketsResult>",
                token.unwrap_or_default()
            ),
        )
    }

    /// KMS, CloudTrail, EventBridge, SQS, Lambda, Budgets and pages of the Parameter Store: JSON in, JSON or an error's code out.
    fn serve_json(&mut self, call: &Call, input: &Value) -> Result<Value, &'static str> {
        let (operation, region) = (call.operation.as_str(), call.region.as_str());
        let text = |name: &str| input[name].as_str().unwrap_or_default().to_owned();
        match operation {
            "GetParametersByPath" => {
                let (path, start) = (format!("{}/", text("Path")), text("NextToken"));
                let mut all = self.parameters.iter().filter(|it| it.0.starts_with(&path) && *it.0 >= start);
                let page: Vec<_> = all.by_ref().take(10).map(|it| json!({"Name": it.0, "Value": it.1})).collect();
                Ok(json!({"Parameters": page, "NextToken": all.next().map(|it| it.0)}))
            }
            "SendMessageBatch" => {
                let entries = input["Entries"].as_array().cloned().unwrap_or_default();
                self.queued.extend(entries.iter().filter_map(|it| it["MessageBody"].as_str().map(str::to_owned)));
                let taken: Vec<_> = entries
                    .iter()
                    .map(|it| json!({"Id": it["Id"], "MessageId": "m", "MD5OfMessageBody": "0"}))
                    .collect();
                Ok(json!({"Successful": taken, "Failed": []}))
            }
            "GetParameterHistory" => {
                let name = text("Name");
                let now = self.parameters.get(&name).ok_or("ParameterNotFound")?;
                let versions = self.parameter_history.get(&name).cloned().unwrap_or_else(|| vec![now.clone()]);
                let who = format!("arn:aws:iam::{ACCOUNT}:user/ann");
                let version = |(n, value): (usize, &String)| json!({"Name": name, "Value": value, "Version": n + 1, "LastModifiedUser": who});
                Ok(json!({"Parameters": versions.iter().enumerate().map(version).collect::<Vec<_>>()}))
            }
            "PutParameter" => {
                self.parameters.insert(text("Name"), text("Value"));
                Ok(json!({"Version": 1}))
            }
            "DeleteParameter" => self.parameters.remove(&text("Name")).map(|_| json!({})).ok_or("ParameterNotFound"),
            "GetQueueUrl" => Ok(json!({"QueueUrl": format!("https://sqs.eu-west-2.amazonaws.com/{ACCOUNT}/dead")})),
            "ReceiveMessage" => {
                let waiting = self.dead_letters.iter_mut().filter(|it| !*it.1).take(10);
                let received = waiting.map(|(body, hidden)| {
                    *hidden = true;
                    let mut message = json!({"MessageId": body, "ReceiptHandle": body, "Body": body});
                    // SQS keeps them to itself unless it is asked for them.
                    let asked = input["MessageAttributeNames"].as_array().is_some_and(|it| it.contains(&json!("All")));
                    let attributes = self.letter_attributes.get(body).and_then(Value::as_object).filter(|_| asked);
                    for (name, text) in attributes.into_iter().flatten() {
                        message["MessageAttributes"][name] = json!({"DataType": "String", "StringValue": text});
                    }
                    message
                });
                Ok(json!({"Messages": received.collect::<Vec<_>>()}))
            }
            "ChangeMessageVisibilityBatch" => {
                for entry in input["Entries"].as_array().into_iter().flatten() {
                    let letter = self.dead_letters.get_mut(entry["ReceiptHandle"].as_str().unwrap_or_default());
                    letter.into_iter().for_each(|hidden| *hidden = entry["VisibilityTimeout"] != 0);
                }
                let taken = input["Entries"].as_array().into_iter().flatten().map(|it| json!({"Id": it["Id"]}));
                Ok(json!({"Successful": taken.collect::<Vec<_>>(), "Failed": []}))
            }
            "DeleteMessage" => {
                self.dead_letters.remove(&text("ReceiptHandle"));
                Ok(json!({}))
            }
            "DescribeSubscribersForNotification" => {
                self.mailed.as_ref().map(|it| json!({"Subscribers": it})).ok_or("NotFoundException")
            }
            "CreateBudget" if self.mailed.is_some() => Err("DuplicateRecordException"),
            "CreateBudget" => {
                self.mailed =
                    input.pointer("/NotificationsWithSubscribers/0/Subscribers").and_then(Value::as_array).cloned();
                Ok(json!({}))
            }
            "CreateSubscriber" => {
                let mailed = self.mailed.as_mut().ok_or("NotFoundException")?;
                if mailed.contains(&input["Subscriber"]) {
                    return Err("DuplicateRecordException");
                }
                mailed.push(input["Subscriber"].clone());
                Ok(json!({}))
            }
            "ListKeys" => {
                let arns = self.other_keys.keys().map(String::as_str).chain(self.key.iter().map(|_| KEY));
                let keys: Vec<_> = arns.map(|it| json!({"KeyArn": it, "KeyId": "k"})).collect();
                Ok(json!({"Keys": keys, "Truncated": false}))
            }
            // Two keys for one alias would be one too many.
            "CreateKey" if self.key.is_some() => Err("LimitExceededException"),
            "CreateKey" => {
                self.key = Some(FakeKey {
                    rotation: false,
                    policy: text("Policy"),
                    tags: input["Tags"].clone(),
                    ..FakeKey::good()
                });
                Ok(json!({"KeyMetadata": {"KeyId": "k", "Arn": KEY}}))
            }
            // What surrounds the rules is there when they are.
            "GetPolicy" if !self.rules.is_empty() => {
                let arn = |name: &str| format!("arn:aws:events:eu-west-2:{ACCOUNT}:rule/{name}");
                let own = rules("/s3-guardrail/buckets/", PLACE);
                let own = own.iter().filter(|it| call.path.contains(&format!("/{}/", it.function)));
                let statements: Vec<_> = own.map(|it| json!({"Sid": it.name, "Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "lambda:InvokeFunction", "Condition": {"ArnLike": {"AWS:SourceArn": arn(it.name)}}})).chain(self.permissions.clone()).collect();
                Ok(json!({"Policy": json!({"Statement": statements}).to_string()}))
            }
            "GetAccountSettings" => {
                Ok(json!({"AccountLimit": {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 1000}}))
            }
            "GetFunctionConfiguration" if !self.rules.is_empty() => {
                Ok(json!({"Architectures": ["x86_64"], "Role": ROLE, "State": "Active"}))
            }
            "GetFunctionConfiguration" => Err("ResourceNotFoundException"),
            "TestEventPattern" => {
                let parsed = |name: &str| serde_json::from_str(&text(name)).unwrap_or_default();
                Ok(json!({"Result": event_patterns::finds(&parsed("EventPattern"), &parsed("Event"))}))
            }
            "ListRules" => {
                let rules = self.rules.keys().filter(|it| it.starts_with(&text("NamePrefix")));
                Ok(json!({"Rules": rules.map(|it| json!({"Name": it})).collect::<Vec<_>>()}))
            }
            "GetFunctionConcurrency" if !self.rules.is_empty() => Ok(json!({"ReservedConcurrentExecutions": 5})),
            "LookupEvents" => {
                let name = &input["LookupAttributes"][0]["AttributeValue"];
                let records = self.records.iter().flatten().filter(|it| it["eventName"] == *name);
                let events = records.map(|it| json!({"EventName": name, "CloudTrailEvent": it.to_string()}));
                Ok(json!({"Events": events.collect::<Vec<_>>()}))
            }
            "DescribeTrails" => Ok(json!({"trailList": self.trails_shown_in(region)})),
            _ if operation.contains("Trail")
                || ["GetEventSelectors", "PutEventSelectors", "StartLogging", "StopLogging"].contains(&operation) =>
            {
                self.serve_trail(operation, input, region)
            }
            _ if operation.contains("Rule") || operation.ends_with("Targets") => self.serve_rule(operation, input),
            _ => self.serve_key(operation, input, region),
        }
    }

    fn serve_key(&mut self, operation: &str, input: &Value, region: &str) -> Result<Value, &'static str> {
        const WRONG_STATE: &str = "KMSInvalidStateException";
        let text = |name: &str| input[name].as_str().unwrap_or_default().to_owned();
        // "Invalid arn us-east-1"
        if Arn::parse(&text("KeyId")).is_some_and(|it| it.region != region) {
            return Err("NotFoundException");
        }
        let own = [text("KeyId"), text("TargetKeyId")].contains(&OWN_KEY.to_owned())
            || [text("KeyId"), text("AliasName")].contains(&"alias/s3-guardrail".to_owned());
        let former = text("KeyId") == FORMER_KEY;
        let key = match (own, former) {
            (true, _) => self.own_key.as_mut(),
            (_, true) => self.former_key.as_mut(),
            _ => self.other_keys.get_mut(&text("KeyId")).or(self.key.as_mut()),
        };
        let key = key.ok_or("NotFoundException")?;
        let pending = key.is_pending_deletion();
        match operation {
            "DescribeKey" => {
                let named = text("KeyId");
                let arn = if named.starts_with("alias/") { key.aliases.get(&named) } else { Some(&named) };
                let arn = arn.ok_or("NotFoundException")?;
                if self.closed_keys.contains(arn) {
                    return Err("AccessDeniedException");
                }
                let enabled = key.state == "Enabled";
                return Ok(json!({"KeyMetadata": {
                    "KeyId": "k", "Arn": arn, "KeyState": key.state, "Enabled": enabled, "KeyUsage": key.usage,
                    "KeySpec": key.spec, "Origin": key.origin, "KeyManager": "CUSTOMER",
                }}));
            }
            "GetKeyRotationStatus" if !key.can_rotate() => return Err("UnsupportedOperationException"),
            "GetKeyRotationStatus" => return Ok(json!({"KeyRotationEnabled": key.rotation && !pending})),
            "GetKeyPolicy" => return Ok(json!({"Policy": reordered(&key.policy)})),
            "ListResourceTags" => return Ok(json!({"Tags": key.tags})),
            "ListAliases" => {
                let aliases = key.aliases.iter().filter(|it| *it.1 == text("KeyId"));
                let aliases = aliases.map(|(name, target)| json!({"AliasName": name, "TargetKeyId": target}));
                return Ok(json!({"Aliases": aliases.collect::<Vec<_>>(), "Truncated": false}));
            }
            "DeleteAlias" => drop(key.aliases.remove(&text("AliasName")).ok_or("NotFoundException")?),
            "ScheduleKeyDeletion" if pending => return Err(WRONG_STATE),
            "ScheduleKeyDeletion" => key.state = "PendingDeletion".to_owned(),
            "CancelKeyDeletion" if !pending => return Err(WRONG_STATE),
            "CancelKeyDeletion" => key.state = "Disabled".to_owned(),
            "DeleteImportedKeyMaterial" if key.origin != "EXTERNAL" => return Err("UnsupportedOperationException"),
            "DeleteImportedKeyMaterial" => key.state = "PendingImport".to_owned(),
            // KMS takes it, and the key stays what it is until its store is back.
            "EnableKey" if key.state == "Unavailable" => {}
            "EnableKey" if key.state == "Enabled" || key.state == "Disabled" => key.state = "Enabled".to_owned(),
            "EnableKey" => return Err(WRONG_STATE),
            "EnableKeyRotation" if !key.can_rotate() => return Err("UnsupportedOperationException"),
            "EnableKeyRotation" if key.state == "Disabled" => return Err("DisabledException"),
            "EnableKeyRotation" if key.state != "Enabled" => return Err(WRONG_STATE),
            "EnableKeyRotation" => key.rotation = true,
            "PutKeyPolicy" | "CreateAlias" | "UpdateAlias" if pending => return Err(WRONG_STATE),
            "PutKeyPolicy" if text("Policy").len() > 32 * 1024 => return Err("LimitExceededException"),
            "PutKeyPolicy" if text("Policy").contains("\"AIDA") || text("Policy").contains("\"AROA") => {
                return Err("MalformedPolicyDocumentException");
            }
            "PutKeyPolicy" => key.policy = text("Policy"),
            "CreateAlias" if key.aliases.contains_key(&text("AliasName")) => return Err("AlreadyExistsException"),
            "UpdateAlias" if !key.aliases.contains_key(&text("AliasName")) => return Err("NotFoundException"),
            "CreateAlias" | "UpdateAlias" => drop(key.aliases.insert(text("AliasName"), text("TargetKeyId"))),
            _ => return Err("UnknownOperationException"),
        }
        Ok(json!({}))
    }

    /// The trails that are at home in this region, and those that log in all.
    fn trails_shown_in(&self, region: &str) -> Vec<Value> {
        let shown = |it: &&Value| home_of(it) == region || it["IsMultiRegionTrail"] == true;
        let with_home = |it: &Value| {
            let mut trail = settings_of(it);
            trail["HomeRegion"] = json!(home_of(it));
            trail
        };
        self.trail.iter().chain(&self.other_trails).filter(shown).map(with_home).collect()
    }

    fn serve_trail(&mut self, operation: &str, input: &Value, region: &str) -> Result<Value, &'static str> {
        let named = input["Name"].as_str().or(input["TrailName"].as_str()).unwrap_or_default().to_owned();
        if operation == "CreateTrail" && !s3_rules::is_trail_name(&named) {
            return Err("InvalidTrailNameException");
        }
        if operation == "CreateTrail" {
            let arn = format!("arn:aws:cloudtrail:{region}:{ACCOUNT}:trail/{named}");
            if self.trail.iter().chain(&self.other_trails).any(|it| it["TrailARN"] == arn.as_str()) {
                return Err("TrailAlreadyExistsException");
            }
            if self.trails_shown_in(region).len() >= 5 {
                return Err("MaximumNumberOfTrailsExceededException");
            }
            self.check_trail_key(input)?;
            let trail = json!({"TrailARN": arn, "IsLogging": false});
            match &self.trail {
                None => self.trail = Some(trail),
                Some(_) => self.other_trails.push(trail),
            }
        }
        if Arn::parse(&named).is_some_and(|it| it.account != ACCOUNT) {
            return Err("CloudTrailARNInvalidException");
        }
        let is_named = |it: &&mut Value| {
            it["TrailARN"] == named.as_str()
                || home_of(it) == region && it["TrailARN"].as_str().is_some_and(|it| it.ends_with(&format!("/{named}")))
        };
        let Some(trail) = self.trail.iter_mut().chain(&mut self.other_trails).find(is_named) else {
            return Err("TrailNotFoundException");
        };
        if home_of(trail) != region {
            let is_read = READS.iter().any(|it| operation.starts_with(it));
            return Err(if is_read { "TrailNotFoundException" } else { "InvalidHomeRegionException" });
        }
        let mut set = |names: &[&str]| {
            for name in names {
                if let Some(value) = input.get(*name).filter(|it| !it.is_null()) {
                    trail[*name] = value.clone();
                }
            }
        };
        match operation {
            "GetTrail" => return Ok(json!({"Trail": settings_of(trail)})),
            "GetTrailStatus" => {
                let mut status = trail.clone();
                let is_status = |name: &String| name == "IsLogging" || name.starts_with("Latest");
                status.as_object_mut().into_iter().for_each(|it| it.retain(|name, _| is_status(name)));
                return Ok(status);
            }
            "GetEventSelectors" => {
                return Ok(
                    json!({"EventSelectors": trail["EventSelectors"], "AdvancedEventSelectors": trail["AdvancedEventSelectors"]}),
                );
            }
            "CreateTrail" | "UpdateTrail" => {
                set(&["S3BucketName", "KmsKeyId", "IsMultiRegionTrail", "EnableLogFileValidation"]);
            }
            "PutEventSelectors" => {
                check_selectors(&input["EventSelectors"], &input["AdvancedEventSelectors"])?;
                trail["EventSelectors"] = input["EventSelectors"].clone();
                trail["AdvancedEventSelectors"] = input["AdvancedEventSelectors"].clone();
            }
            "StartLogging" => trail["IsLogging"] = json!(true),
            "StopLogging" => trail["IsLogging"] = json!(false),
            "DeleteTrail" => {
                let gone = trail["TrailARN"].clone();
                self.trail.take_if(|it| it["TrailARN"] == gone);
                self.other_trails.retain(|it| it["TrailARN"] != gone);
            }
            _ => return Err("UnknownOperationException"),
        }
        Ok(json!({}))
    }

    /// With a bucket key on the log bucket, CloudTrail has to decrypt what the bucket's key is encrypted with.
    /// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/create-kms-key-policy-for-cloudtrail.html>
    fn check_trail_key(&self, input: &Value) -> Result<(), &'static str> {
        let log_bucket = self.others.get(input["S3BucketName"].as_str().unwrap_or_default());
        let encryption = log_bucket.and_then(|it| it.0.get("encryption"));
        let bucket_key = encryption.is_some_and(|it| it.contains("<BucketKeyEnabled>true<"));
        let policy = self.key.as_ref().map_or("", |it| it.policy.as_str());
        let policy: Value = serde_json::from_str(policy).unwrap_or_default();
        let mut statements = policy["Statement"].as_array().into_iter().flatten();
        let decrypts = statements.any(|it| {
            it["Principal"]["Service"] == "cloudtrail.amazonaws.com" && it["Action"].to_string().contains("kms:Decrypt")
        });
        let lacks = input["KmsKeyId"] == KEY && bucket_key && !decrypts;
        if lacks { Err("InsufficientEncryptionPolicyException") } else { Ok(()) }
    }

    fn serve_rule(&mut self, operation: &str, input: &Value) -> Result<Value, &'static str> {
        let name = input["Name"].as_str().or(input["Rule"].as_str()).unwrap_or_default().to_owned();
        const ABSENT: &str = "ResourceNotFoundException";
        match operation {
            "DescribeRule" => self.rules.get(&name).map(|it| it.0.clone()).ok_or(ABSENT),
            "ListTargetsByRule" => self.rules.get(&name).map(|it| json!({"Targets": it.1})).ok_or(ABSENT),
            "PutRule" => {
                let rule = self.rules.entry(name).or_default();
                rule.0 = input.clone();
                Ok(json!({}))
            }
            "EnableRule" => {
                self.rules.get_mut(&name).ok_or(ABSENT)?.0["State"] = json!("ENABLED");
                Ok(json!({}))
            }
            "RemoveTargets" => {
                let ids = input["Ids"].as_array().cloned().unwrap_or_default();
                self.rules.get_mut(&name).ok_or(ABSENT)?.1.retain(|it| !ids.contains(&it["Id"]));
                Ok(json!({"FailedEntryCount": 0, "FailedEntries": []}))
            }
            "PutTargets" => {
                let rule = self.rules.get_mut(&name).ok_or(ABSENT)?;
                for target in input["Targets"].as_array().into_iter().flatten() {
                    rule.1.retain(|it| it["Id"] != target["Id"]);
                    rule.1.push(target.clone());
                }
                Ok(json!({"FailedEntryCount": 0, "FailedEntries": []}))
            }
            _ => Err("UnknownOperationException"),
        }
    }

    fn serve_s3(&mut self, request: &HttpRequest, call: &Call) -> HttpResponse {
        if request.headers().get("x-amz-expected-bucket-owner") != Some(ACCOUNT) {
            return call.error(403, "AccessDenied");
        }
        if request.headers().get("x-amz-confirm-remove-self-bucket-access").is_some() {
            return call.error(400, "NeverConfirmThat");
        }
        if self.bucket.is_none() {
            return call.error(404, "NoSuchBucket");
        }
        let checksum = aws_smithy_types::base64::encode(crc32fast::hash(call.body.as_bytes()).to_be_bytes());
        match request.headers().get("x-amz-checksum-crc32") {
            Some(sent) if sent != checksum => return call.error(400, "BadDigest"),
            None if call.operation == "PutBucketLifecycleConfiguration" => return call.error(400, "InvalidRequest"),
            _ => {}
        }
        if request.method() == "DELETE" {
            let absent = SUBRESOURCES.iter().find(|it| it.0 == call.subresource).map_or("", |it| it.3);
            if call.subresource == "inventory" && self.bucket.iter().all(|it| !it.contains_key("inventory")) {
                return call.error(404, absent);
            }
            self.set(&call.subresource, None);
            return response(204, "");
        }
        if request.method() == "GET" {
            let document = self.bucket.as_ref().and_then(|it| it.get(&call.subresource)).cloned();
            return self.read(&call.subresource, document.as_deref());
        }
        let enforced = self
            .bucket
            .iter()
            .any(|it| it.get("ownershipControls").is_some_and(|it| it.contains("BucketOwnerEnforced")));
        match call.subresource.as_str() {
            // Only the root user with its second factor can.
            "versioning"
                if self
                    .bucket
                    .iter()
                    .any(|it| it.get("versioning").is_some_and(|it| it.contains("MfaDelete>Enabled"))) =>
            {
                return call.error(403, "AccessDenied");
            }
            "acl" if enforced => return call.error(400, "AccessControlListNotSupported"),
            "acl" => {
                let granted = granted(request);
                self.set("acl", (!granted.is_empty()).then(|| acl(&granted)).as_deref());
            }
            "ownershipControls" if self.bucket.iter().any(|it| it.contains_key("acl")) => {
                return call.error(400, "InvalidBucketAclWithObjectOwnership");
            }
            "lifecycle" => {
                if let Err((code, message)) = s3_rules::lifecycle_refusal(&call.body) {
                    return refused(400, code, &message);
                }
                self.transition_size = request.headers().get(SIZE_HEADER).map(str::to_owned);
                self.set("lifecycle", Some(&call.body));
            }
            "policy" => self.set("policy", Some(&s3_rules::policy_kept(&call.body))),
            other => self.set(other, Some(&call.body)),
        }
        response(200, "")
    }

    fn read(&self, subresource: &str, document: Option<&str>) -> HttpResponse {
        let absent = SUBRESOURCES.iter().find(|it| it.0 == subresource).map_or("", |it| it.3);
        let mut response = match (document, subresource) {
            (Some(document), _) => response(200, document),
            (None, "acl") => response(200, &acl("")),
            (None, "versioning") => response(200, "<VersioningConfiguration/>"),
            (None, "encryption") => response(
                200,
                "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>false</BucketKeyEnabled></Rule></ServerSideEncryptionConfiguration>",
            ),
            (None, _) => response(404, &format!("<Error><Code>{absent}</Code><Message>absent</Message></Error>")),
        };
        if let (true, Some(size)) = (subresource == "lifecycle", &self.transition_size) {
            response.headers_mut().insert(SIZE_HEADER, size.clone());
        }
        response
    }
}

/// A trail's home region.
fn home_of(trail: &Value) -> &str {
    trail["TrailARN"].as_str().and_then(Arn::parse).map_or("", |it| it.region)
}

/// A trail as GetTrail and DescribeTrails show it: without its status and its selectors.
fn settings_of(trail: &Value) -> Value {
    let mut shown = trail.clone();
    let Some(fields) = shown.as_object_mut() else { return shown };
    if let Some(validated) = fields.remove("EnableLogFileValidation") {
        fields.insert("LogFileValidationEnabled".to_owned(), validated);
    }
    fields.retain(|name, _| !name.ends_with("EventSelectors") && name != "IsLogging" && !name.starts_with("Latest"));
    shown
}

/// CloudTrail's limits for one trail, none of which AWS raises.
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/WhatIsCloudTrail-Limits.html>
fn check_selectors(basic: &Value, advanced: &Value) -> Result<(), &'static str> {
    const REFUSED: Result<(), &str> = Err("InvalidEventSelectorsException");
    let list = |it: &Value| it.as_array().cloned().unwrap_or_default();
    match (basic.as_array(), advanced.as_array()) {
        (Some(basic), None) => {
            let resources = basic.iter().flat_map(|it| list(&it["DataResources"]));
            let values: usize = resources.map(|it| list(&it["Values"]).len()).sum();
            if basic.is_empty() || basic.len() > 5 || values > 250 { REFUSED } else { Ok(()) }
        }
        (None, Some(advanced)) => {
            let fields = |it: &Value| list(&it["FieldSelectors"]);
            let operators = |it: &Value| -> Vec<Value> {
                it.as_object().into_iter().flatten().filter(|it| it.0 != "Field").map(|it| it.1.clone()).collect()
            };
            let malformed = advanced.iter().any(|it| {
                let fields = fields(it);
                let names: BTreeSet<_> = fields.iter().filter_map(|it| it["Field"].as_str()).collect();
                !names.contains("eventCategory")
                    || names.len() != fields.len()
                    || fields.iter().map(operators).any(|it| it.is_empty() || it.iter().any(|it| list(it).is_empty()))
            });
            let values: usize =
                advanced.iter().flat_map(fields).flat_map(|it| operators(&it)).map(|it| list(&it).len()).sum();
            if malformed || values > 500 { REFUSED } else { Ok(()) }
        }
        _ => REFUSED,
    }
}

/// A policy as KMS gives it back: lists in another order, and no lists of one.
fn reordered(policy: &str) -> String {
    fn list(value: &mut Value) {
        match value {
            Value::Array(all) if all.len() == 1 => *value = all.remove(0),
            Value::Array(all) => all.reverse(),
            Value::Object(kinds) => kinds.values_mut().for_each(list),
            _ => {}
        }
    }
    let Ok(mut policy) = serde_json::from_str::<Value>(policy) else { return policy.to_owned() };
    for statement in policy["Statement"].as_array_mut().into_iter().flatten() {
        for element in ["Principal", "NotPrincipal", "Action", "NotAction"] {
            if let Some(value) = statement.get_mut(element) {
                list(value);
            }
        }
    }
    policy.to_string()
}

/// A bucket's ACL: the owner's grant, and these.
pub fn acl(grants: &str) -> String {
    format!(
        "<AccessControlPolicy>{OWNER}<AccessControlList>{OWNERS_GRANT}{grants}</AccessControlList></AccessControlPolicy>"
    )
}

/// What a request's headers grant, other than the owner's own.
fn granted(request: &HttpRequest) -> String {
    const EVERYBODY: &str = "<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"Group\"><URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission></Grant>";
    if request.headers().get("x-amz-acl") == Some("public-read") {
        return EVERYBODY.to_owned();
    }
    let permissions = ["full-control", "read", "write", "read-acp", "write-acp"];
    let of = |permission: &str| {
        let header = request.headers().get(format!("x-amz-grant-{permission}")).unwrap_or_default();
        let grantees = header.split(", ").filter_map(|it| it.strip_suffix('"')?.split_once("=\""));
        let grantees: Vec<_> =
            grantees.filter(|it| it.1 != "me").map(|it| (it.0.to_owned(), it.1.to_owned())).collect();
        let permission = permission.replace('-', "_").to_uppercase();
        grantees.into_iter().map(move |(kind, name)| {
            let (kind, element) = if kind == "uri" { ("Group", "URI") } else { ("CanonicalUser", "ID") };
            format!("<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"{kind}\"><{element}>{name}</{element}></Grantee><Permission>{permission}</Permission></Grant>")
        })
    };
    permissions.into_iter().flat_map(of).collect()
}

/// S3 refuses, in these words.
fn refused(status: u16, code: &str, message: &str) -> HttpResponse {
    response(status, &format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>"))
}

fn response(status: u16, body: &str) -> HttpResponse {
    let mut response = HttpResponse::new(StatusCode::try_from(status).expect("a status"), SdkBody::from(body));
    response.headers_mut().insert("content-length", body.len().to_string());
    response
}

/// A key as S3 lists it when `encoding-type` is `url`.
fn encode(key: &str) -> String {
    form_urlencoded::byte_serialize(key.as_bytes()).collect()
}

/// The fields of a form-encoded body.
fn form(body: &str) -> HashMap<String, String> {
    form_urlencoded::parse(body.as_bytes()).into_owned().collect()
}
