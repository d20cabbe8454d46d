//! The way of a call to the fake and back: how long it takes, what goes wrong with it, and what it shows.

use aws_smithy_runtime_api::client::{
    http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use guardrail_core::{control::table::Control, decide::echo::ECHO_APP_NAME, value::own_parts::SWEPT};
use guardrail_simulator::{Kind, SECOND, Time, What, Writer, timestamp};
use serde_json::json;

use super::{
    Phase, Plant, Run,
    chain::{self, Event},
    current,
    holds::{Reading, Seen, Sent},
    number,
    settings::{self, Version, control_of},
    shared::{self, Part},
    sleep, spawn,
};
use crate::fake::{
    KEY, TRAIL,
    wire::{Call, response},
};

/// The longest that a call takes in one direction, unless it is slow.
const LATENCY: Time = 80;

/// One call in so many, on its way there or back, is the last of its process.
const CRASHES: u32 = 2_500;

/// How long the functions wait for the ledger's answer.
const LEDGER_WAITS: Time = 600;

/// How late a read may show a write. The rereads of an echo take 3.5 s.
const STALENESS: Time = 2_000;

tokio::task_local! {
    /// The invocation at work.
    pub(super) static BY: usize;
}

/// What the SDK sends with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wire;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Served,
    /// It is done, and no answer comes.
    Unanswered,
    Refused(u16, &'static str),
    /// It does not arrive.
    Reset,
    /// S3 says that it is done.
    LiedAbout,
}

type Answer = Result<HttpResponse, ConnectorError>;

impl HttpClient for Wire {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Self)
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let run = current();
        if run.phase.get() == Phase::Still {
            return HttpConnectorFuture::ready(run.fake.answer(&request));
        }
        let by = BY.try_with(|it| *it).unwrap_or_default();
        let call = Call::from_request(&request);
        let bucket = run.bucket_of(&call);
        if run.fails(Kind::Crash, bucket, CRASHES).is_some() {
            run.crash(by);
            return HttpConnectorFuture::new(std::future::pending());
        }
        let crashes = run.fails(Kind::Crash, bucket, CRASHES).is_some();
        let fate = run.fate(&call, bucket);
        let at = run.now();
        // What a write leans on is what was read before it was sent.
        let sent = Sent { at, seen: reading(&call).and_then(|it| run.seen_by_write(by, bucket, it)) };
        let mut rng = run.any(bucket);
        let slow = run.fails(Kind::Slow, bucket, 200).map_or(0, |mut rng| rng.u64(SECOND..8 * SECOND));
        let is_slow = at < run.slow_until.borrow()[bucket];
        let brownout = if is_slow { rng.u64(SECOND..9 * SECOND) } else { 0 };
        let (there, back) = (rng.u64(5..=LATENCY) + slow + brownout, rng.u64(5..=LATENCY));
        if fate != Fate::Served || there + back > LEDGER_WAITS {
            match call.service.as_str() {
                "dynamodb" => drop(run.holds.borrow_mut().without_ledger.insert(by)),
                "sns" => drop(run.holds.borrow_mut().silenced.insert(by)),
                _ => {}
            }
        }
        drop(run);
        // What was sent arrives, also when nobody waits for it any more.
        let travels = spawn(async move {
            sleep(there).await;
            let answer = current().serve(&request, &call, bucket, by, fate, &sent);
            sleep(back).await;
            current().heard(&call, bucket, by);
            answer
        });
        HttpConnectorFuture::new(async move {
            let answer = travels.await.expect("it ends");
            if crashes {
                current().crash(by);
                return std::future::pending().await;
            }
            answer
        })
    }
}

/// The name of a call in CloudTrail.
fn event_name(operation: &str) -> &str {
    match operation {
        "PutPublicAccessBlock" => "PutBucketPublicAccessBlock",
        "PutBucketLifecycleConfiguration" => "PutBucketLifecycle",
        other => other,
    }
}

/// Whose drift a call of S3's shows, or restores.
pub(super) fn control_of_call(call: &Call) -> Option<Control> {
    if call.subresource == "acl" { Some(Control::ObjectOwnership) } else { control_of(&call.subresource) }
}

/// What a call reads, or what a write leans on; `None`: no more is known of it.
fn reading(call: &Call) -> Option<Reading> {
    match Part::of_call(call) {
        Some(part) => Some(Reading { control: part.control(), of: part.name() }),
        None => control_of(&call.subresource).map(|it| Reading { control: it, of: settings::document_of(it) }),
    }
}

/// The document that a call reads or changes; `None`: none that has versions.
fn document_of_call(call: &Call) -> Option<&str> {
    match Part::of_call(call) {
        Some(part) => Some(settings::document_of(part.control())),
        None => Some(call.subresource.as_str()).filter(|it| !it.is_empty()),
    }
}

/// CloudTrail tells of a call of ours, as far as a rule asks for it: what only restores a key or a trail is left out.
fn tell_of_own(event: Event, user_agent: &str) {
    let is_shared = matches!(event.control, Control::KmsKey | Control::Trail);
    if !is_shared || event.control.vocabulary().events.contains(&event.name.as_str()) {
        chain::tell(&current(), event, user_agent);
    }
}

impl Run {
    /// Where a call belongs.
    fn bucket_of(&self, call: &Call) -> usize {
        match Part::of_call(call) {
            Some(part) => self.options.place_of(0, part.control()),
            None => number(&call.bucket).filter(|it| *it < self.options.buckets).unwrap_or(self.options.elsewhere()),
        }
    }

    /// What an invocation read last of what it writes. A trail that one answer does not know is written as a whole.
    fn seen_by_write(&self, by: usize, place: usize, reading: Reading) -> Option<Seen> {
        let own = self.seen(by, place, reading);
        let parts =
            Part::ALL.into_iter().filter(|it| it.control() == Control::Trail && reading.control == Control::Trail);
        let absent = parts.filter_map(|it| self.seen(by, place, Reading { control: Control::Trail, of: it.name() }));
        let absent = || absent.into_iter().find(|it| it.is_absent);
        own.filter(|it| it.is_drift).or_else(absent).or(own)
    }

    /// Whether a call is about a setting whose versions are known.
    fn is_about_setting(&self, call: &Call, place: usize) -> bool {
        place != self.options.elsewhere() && document_of_call(call).is_some()
    }

    fn fate(&self, call: &Call, bucket: usize) -> Fate {
        let fails = |kind, one_in| self.fails(kind, bucket, one_in).is_some();
        if fails(Kind::Reset, 300) {
            return Fate::Reset;
        }
        let is_setting = !call.subresource.is_empty();
        match call.service.as_str() {
            // SDKs do not call S3 Control through the guarded bucket.
            _ if is_setting && call.is_read() => {
                if fails(Kind::Unreadable, 200) {
                    Fate::Refused(403, "AccessDenied")
                } else if fails(Kind::Throttled, 60) {
                    Fate::Refused(503, "SlowDown")
                } else {
                    Fate::Served
                }
            }
            _ if is_setting => {
                if self.has(Plant::LyingWrites) && self.any(bucket).u8(..8) == 0 {
                    Fate::LiedAbout
                } else if fails(Kind::Busy, 20) {
                    Fate::Refused(409, "OperationAborted")
                } else if fails(Kind::Denied, 100) {
                    Fate::Refused(403, "AccessDenied")
                } else if fails(Kind::Unanswered, 50) {
                    Fate::Unanswered
                } else {
                    Fate::Served
                }
            }
            "kms" | "cloudtrail" if call.is_read() && fails(Kind::Unreadable, 200) => {
                Fate::Refused(400, "AccessDeniedException")
            }
            "kms" | "cloudtrail" if !call.is_read() && fails(Kind::Denied, 100) => {
                Fate::Refused(400, "AccessDeniedException")
            }
            "kms" | "cloudtrail" if !call.is_read() && fails(Kind::Unanswered, 50) => Fate::Unanswered,
            "dynamodb" if fails(Kind::LedgerDown, 60) => Fate::Refused(500, "InternalServerError"),
            "dynamodb" if fails(Kind::LedgerUnanswered, 120) => Fate::Unanswered,
            "sns" if fails(Kind::Unpublished, 50) => Fate::Refused(403, "AuthorizationError"),
            "ssm" | "kms" | "cloudtrail" | "events" | "lambda" if fails(Kind::Throttled, 60) => {
                Fate::Refused(400, "ThrottlingException")
            }
            "sqs" if fails(Kind::Throttled, 60) => Fate::Refused(403, "RequestThrottled"),
            _ => Fate::Served,
        }
    }

    /// A call arrives.
    fn serve(&self, request: &HttpRequest, call: &Call, bucket: usize, by: usize, fate: Fate, sent: &Sent) -> Answer {
        let answer = match fate {
            Fate::Reset => Err(ConnectorError::io("connection reset".into())),
            Fate::Refused(status, code) => {
                if self.is_about_setting(call, bucket) && !call.is_read() {
                    let (control, number) = (control_or_first(call), self.chain.borrow_mut().event_number());
                    self.note(bucket, What::Refused { by, control, code });
                    tell_of_own(self.event(number, call, false), "aws-sdk-rust/1.3");
                }
                Ok(call.error(status, code))
            }
            Fate::LiedAbout => Ok(response(200, "")),
            Fate::Served | Fate::Unanswered if self.is_about_setting(call, bucket) => {
                if call.is_read() {
                    self.read(request, call, bucket, by)
                } else {
                    self.write(request, call, bucket, by, sent)
                }
            }
            Fate::Served | Fate::Unanswered if self.has(Plant::StaleIndex) && call.operation == "GetParameters" => {
                self.answer_as_if_just_swept(request)
            }
            Fate::Served | Fate::Unanswered => self.fake.answer(request),
        };
        self.calls.set(self.calls.get() + 1);
        let items = if call.operation == "BatchGetItem" { call.body.matches("\"subject\"").count() } else { 1 };
        self.bill(if call.is_s3() { "s3" } else { &call.service }, &call.operation, items);
        if call.service == "ssm" && !call.is_read() {
            self.see_registry();
        }
        let status = answer.as_ref().map_or(0, |it| it.status().as_u16());
        let said = match (fate, status) {
            (Fate::Unanswered, _) => "done, and no answer".to_owned(),
            (_, 0) => "no answer".to_owned(),
            (Fate::Refused(status, code), _) => format!("{status} {code}"),
            (_, status) => status.to_string(),
        };
        let call = format!("{} {}", call.service, call.operation);
        self.note(bucket, What::Answered { by, call, answer: said });
        self.take_in();
        if fate == Fate::Unanswered { Err(ConnectorError::io("connection reset".into())) } else { answer }
    }

    fn answer_as_if_just_swept(&self, request: &HttpRequest) -> Answer {
        let now = timestamp(self.now()).to_string();
        let before = self.fake.state().parameters.insert(SWEPT.to_owned(), now);
        let answer = self.fake.answer(request);
        let mut state = self.fake.state();
        match before {
            Some(before) => drop(state.parameters.insert(SWEPT.to_owned(), before)),
            None => drop(state.parameters.remove(SWEPT)),
        }
        answer
    }

    /// What a call has left in the fake goes on from there.
    fn take_in(&self) {
        let (queued, returned, published) = {
            let mut state = self.fake.state();
            state.calls.clear();
            state.uris.clear();
            state.user_agents.clear();
            let (queued, returned) = (std::mem::take(&mut state.queued), std::mem::take(&mut state.returned));
            (queued, returned, std::mem::take(&mut state.published))
        };
        queued.into_iter().for_each(chain::take_request);
        returned.into_iter().for_each(|(receipt, seconds)| self.put_back(&receipt, seconds));
        published.iter().filter(|_| !self.has(Plant::DeafTopic)).for_each(|it| self.people_get(it));
    }

    /// S3 shows a document, or one from before.
    fn read(&self, request: &HttpRequest, call: &Call, bucket: usize, by: usize) -> Answer {
        let now = self.now();
        let stale = self.fails(Kind::Stale, bucket, 10);
        let as_of = now.saturating_sub(stale.map_or(0, |mut rng| rng.u64(1..STALENESS)));
        let settings = self.settings.borrow();
        let document = document_of_call(call).unwrap_or_default();
        let (shown, present) = (settings.at(bucket, document, as_of), settings.now(bucket, document));
        let mut is_first = false;
        if let Some(reading) = reading(call) {
            is_first = ["publicAccessBlock", "state", "settings"].contains(&reading.of)
                && self.seen(by, bucket, reading).is_none();
            let is_drift = match Part::of_call(call) {
                Some(part) => part.is_broken(shown.text.as_deref(), self.options.buckets),
                None => shown.is_broken,
            };
            let seen = Seen { as_of, answered: now, is_drift, is_absent: shown.text.is_none() };
            self.reads(by, bucket, reading, seen, shown.since != present.since);
        }
        settings::set(&self.fake, bucket, document, shown.text.as_deref());
        let answer = self.fake.answer(request);
        settings::set(&self.fake, bucket, document, present.text.as_deref());
        drop(settings);
        if is_first {
            self.looks.set(self.looks.get() + 1);
            self.beside(bucket);
        }
        answer
    }

    /// S3 does a write, and CloudTrail tells of it.
    fn write(&self, request: &HttpRequest, call: &Call, bucket: usize, by: usize, sent: &Sent) -> Answer {
        let answer = self.fake.answer(request);
        let is_done = answer.as_ref().is_ok_and(|it| it.status().is_success());
        let agent = request.headers().get("user-agent").unwrap_or_default();
        let (control, now) = (control_or_first(call), self.now());
        let event = self.chain.borrow_mut().event_number();
        let told = Event { is_marked: agent.contains(ECHO_APP_NAME), ..self.event(event, call, is_done) };
        if is_done && let Some(document) = document_of_call(call) {
            let text = settings::document(&self.fake, bucket, document);
            let owners = settings::owners(document, text.as_deref());
            // One call of several may leave some of a key or a trail.
            let is_broken =
                Part::of_call(call).is_some() && shared::is_broken(control, text.as_deref(), self.options.buckets);
            let version = Version { since: now, event, text, is_broken, owners };
            if reading(call).is_some() {
                self.note(bucket, What::Restored { by, control, event });
                self.check_write(by, bucket, control, &version, sent);
            }
            self.settings.borrow_mut().put(bucket, document, version);
        }
        tell_of_own(told, agent);
        answer
    }

    fn event(&self, number: usize, call: &Call, is_done: bool) -> Event {
        let (name, made) = (event_name(&call.operation).to_owned(), self.now());
        let (bucket, control) = (self.bucket_of(call), control_or_first(call));
        let (source, parameters) = match control {
            Control::KmsKey => ("kms", json!({ "keyId": KEY })),
            Control::Trail => ("cloudtrail", json!({"name": TRAIL})),
            _ => ("s3", json!({"bucketName": super::name(bucket)})),
        };
        let writer = Writer::Guardrail;
        Event { number, source, name, parameters, made, bucket, control, writer, is_marked: false, is_done }
    }

    /// The answer of a call is there.
    fn heard(&self, call: &Call, bucket: usize, by: usize) {
        if let Some(reading) = reading(call) {
            self.answered(by, bucket, reading);
        }
    }
}

fn control_or_first(call: &Call) -> Control {
    Part::of_call(call).map(Part::control).or_else(|| control_of_call(call)).unwrap_or(Control::PublicAccessBlock)
}
