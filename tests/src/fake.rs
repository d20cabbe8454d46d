//! A fake of the few AWS calls the guardrail makes, behind the real SDK: same requests, same parsing, no network.
//!
//! S3's bucket configuration is symmetric: a read answers with the body that a write sent. A policy comes back in other
//! words of the same meaning.

mod budgets;
mod cloudtrail;
mod dynamodb;
mod faults;
mod functions;
mod kms;
mod parameters;
mod queues;
mod rules;
mod s3;
mod transcript;
pub(crate) mod wire;
mod world;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedAsyncSleep, SharedCredentialsProvider};
use aws_smithy_async::rt::sleep::{AsyncSleep, Sleep};
use aws_smithy_runtime::client::retries::{RetryPartition, TokenBucket};
use aws_smithy_runtime_api::client::{
    http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::timeout::TimeoutConfig;
use guardrail::{Guardrail, clock::Clock, work::handle::RemediateError};
use guardrail_core::{
    decide::rules::{Wiring, rules},
    edge::config::{Config, Needs},
    value::own_parts::WIRING,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    fake::{
        wire::{Call, READS, refused, response},
        world::Lag,
    },
    models::{self, Exchange},
};

pub use self::{
    s3::acl,
    world::{
        ACCOUNT, ALIAS, BUCKET, FORMER_KEY, FakeKey, FakeVersion, FaultKind, KEY, LEDGER, OWN_KEY, PLACE, ROLE,
        SECOND_TOPIC, State, TOPIC, TRAIL, World,
    },
};

/// The fake. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct FakeAws(Arc<Mutex<State>>);

/// An invocation of `guardrail-remediate` with all of the time that it is deployed with.
pub async fn remediate(guardrail: &Guardrail, input: Value) -> Result<Value, RemediateError> {
    let end = tokio::time::Instant::now() + Duration::from_secs(120);
    guardrail::work::remediate::remediate(guardrail, input, end).await
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

    /// The guardrail with a clock that goes as tokio's does, also where that is paused.
    pub fn guardrail_in_virtual_time(&self) -> Guardrail {
        thread_local! {
            /// When this thread first asked, by both clocks.
            static BEGIN: (Timestamp, Instant) = (Timestamp::now(), Instant::now());
        }
        let now = || BEGIN.with(|(time, begin)| *time + SignedDuration::try_from(begin.elapsed()).unwrap_or_default());
        // It begins here.
        let _ = now();
        let guardrail = self.guardrail();
        Guardrail { clock: Clock { now, ..guardrail.clock }, ..guardrail }
    }

    /// Puts all rules as they are deployed.
    pub fn deploy_rules(&self) {
        self.state().parameters.insert(WIRING.to_owned(), "2".to_owned());
        for rule in rules("/s3-guardrail/buckets/", PLACE) {
            let arn = rule.targets(Wiring::Queued, PLACE).remove(0);
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

    /// The writes, in order; alerts, what queues are told, records and the ledger's items are none.
    pub fn writes(&self) -> Vec<String> {
        const OWN: [&str; 6] =
            ["Publish", "SendMessage", "ChangeMessageVisibility", "PutObject", "UpdateItem", "PutItem"];
        let is_write = |it: &&String| !READS.iter().chain(&OWN).any(|none| it.starts_with(none));
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
        // The fake's waits are a hundredth as long.
        patient(waiting_for_the_ledger(Guardrail::new(self.config(topic), &self.sdk()), 100))
    }

    /// What a function is told of its environment.
    pub(crate) fn config(&self, topic: &str) -> Config {
        let vars = |name: &str| match name {
            "GUARDRAIL_TOPIC_ARN" => Some(topic.to_owned()),
            "GUARDRAIL_ROLE_ARN" => Some(ROLE.to_owned()),
            "GUARDRAIL_QUEUE_URL" => Some(format!("https://sqs.eu-west-2.amazonaws.com/{ACCOUNT}/s3-guardrail-work")),
            "AWS_REGION" => Some("eu-west-2".to_owned()),
            "GUARDRAIL_SECOND_TOPIC_ARN" => self.state().has_second_topic.then(|| SECOND_TOPIC.to_owned()),
            "GUARDRAIL_KEY_ARN" => self.state().own_key.as_ref().map(|_| OWN_KEY.to_owned()),
            "GUARDRAIL_LEDGER_TABLE" => self.state().ledger.as_ref().map(|_| LEDGER.to_owned()),
            _ => None,
        };
        Config::from_vars(Needs::Queue, vars).expect("complete")
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
        remediate(&self.guardrail(), input).await.map_err(|error| guardrail_core::value::failure::chain(&error))
    }

    pub(crate) fn answer(&self, request: &HttpRequest) -> Result<HttpResponse, ConnectorError> {
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
        let call = Call::from_request(request);
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
        let operation = Call::from_request(request).operation;
        let state = self.state();
        let fault = state.faults.iter().find(|it| it.operation == operation && it.times > 0);
        fault.is_some_and(|it| matches!(it.kind, FaultKind::Slow))
    }
}

/// The same with clients that never run out of retries. The SDK counts them for the whole process, and so for all tests.
pub(crate) fn patient(guardrail: Guardrail) -> Guardrail {
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
        sns_of_second: aws_sdk_sns,
        kms: aws_sdk_kms,
        dynamodb: aws_sdk_dynamodb,
        cloudtrail: aws_sdk_cloudtrail,
        events: aws_sdk_eventbridge,
        lambda: aws_sdk_lambda,
        sqs: aws_sdk_sqs,
        cloudformation: aws_sdk_cloudformation,
        budgets: aws_sdk_budgets
    )
}

/// The same, with a client of the ledger that waits so many times as long.
pub fn waiting_for_the_ledger(mut guardrail: Guardrail, times: u32) -> Guardrail {
    let config = guardrail.dynamodb.config();
    let timeouts = config.timeout_config().expect("it has its own");
    let mut longer = TimeoutConfig::builder();
    longer.set_operation_timeout(timeouts.operation_timeout().map(|it| it * times));
    longer.set_operation_attempt_timeout(timeouts.operation_attempt_timeout().map(|it| it * times));
    guardrail.dynamodb =
        aws_sdk_dynamodb::Client::from_conf(config.to_builder().timeout_config(longer.build()).build());
    guardrail
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
