//! The probes: each does one thing that only an account can answer. None stops the next.

use std::time::Duration;

use aws_sdk_cloudtrail::{
    primitives::DateTime,
    types::{LookupAttribute, LookupAttributeKey},
};
use aws_sdk_s3::{
    error::ProvideErrorMetadata as _,
    operation::{RequestId as _, put_object::builders::PutObjectFluentBuilder},
    primitives::ByteStream,
    types::{
        BucketLifecycleConfiguration, BucketVersioningStatus, CompletedMultipartUpload, CompletedPart,
        ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleFilter, ObjectEncryption,
        ServerSideEncryption, SsekmsEncryption, VersioningConfiguration,
    },
};
use guardrail::{api, control};
use guardrail_core::{
    control::bucket_policy::{self, PolicyVariant},
    value::{
        failure::{ApiError, Denial},
        policy::Statement,
    },
};
use jiff::Timestamp;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    questions::{
        Answer, Ground, Made, Question, Record, Said, Settled, TAMPERING, TrailFacts, Verdict, Wanted, delay, order,
        own_call, past, settling, tagged, trails, upload,
    },
    site::{PREFIX, SID, Site, within_a_while},
};
use crate::{preflight::deployed::lets_cloudtrail_decrypt, session::Session};

/// What a run has found so far.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) answers: Vec<Answer>,
    /// What CloudTrail is asked for in the end, with the moment of each call.
    made: Vec<(Made, Instant)>,
}

const GOOD: &str = "put-with-key";

const BODY: &[u8] = b"a test object of s3-guardrail; it may be deleted\n";

const SUSPENSIONS: usize = 10;

const BETWEEN_READS: Duration = Duration::from_millis(250);

const PATIENCE: Duration = Duration::from_secs(30);

/// So many of them make a request of more than 100 KB, where CloudTrail begins to cut.
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html>
const RULES: usize = 500;

/// LookupEvents takes two calls a second.
/// <https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html>
const BETWEEN_LOOKUPS: Duration = Duration::from_millis(600);

const BETWEEN_LOOKS: Duration = Duration::from_secs(15);

const PAGES: usize = 4;

/// What is done to the bucket itself.
pub(super) async fn of_bucket(site: &Site<'_>, run: &mut Run) {
    order_of_lists(site, run).await;
    uploads(site, run).await;
    denied_call(site, run).await;
    let settled = suspensions(site).await;
    run.answers.push(settled.unwrap_or_else(|error| Question::Settling.stopped_by(&error)));
    large_request(site, run).await;
    website(site, run).await;
}

impl Site<'_> {
    fn key_of(&self, name: &str) -> String {
        format!("{PREFIX}/{name}")
    }

    fn put(&self, name: &str) -> PutObjectFluentBuilder {
        let put = self.s3().put_object().bucket(self.name());
        put.key(self.key_of(name)).body(ByteStream::from_static(BODY))
    }

    fn put_with(&self, name: &str, key: Option<&str>) -> PutObjectFluentBuilder {
        self.put(name).server_side_encryption(ServerSideEncryption::AwsKms).set_ssekms_key_id(key.map(str::to_owned))
    }
}

/// A statement of ours about test objects only.
fn statement(site: &Site<'_>, name: &str, principal: serde_json::Value, action: serde_json::Value) -> Statement {
    let resources = ["c", "a", "b"].map(|it| format!("{}/{PREFIX}/{it}/*", site.arn()));
    Statement(json!({
        "Sid": format!("{SID}{name}"), "Effect": "Deny", "Principal": principal, "Action": action, "Resource": resources,
    }))
}

async fn order_of_lists(site: &Site<'_>, run: &mut Run) {
    let services = ["logging.s3.amazonaws.com", "cloudtrail.amazonaws.com", "config.amazonaws.com"];
    let actions = ["s3:GetObjectTagging", "s3:DeleteObject", "s3:GetObject"];
    let written = statement(site, "Order", json!({"Service": services}), json!(actions));
    if let Err(error) = site.put_statements(std::slice::from_ref(&written)).await {
        return run.answers.push(Question::OrderOfLists.stopped_by(&error));
    }
    let mut read = Vec::new();
    for _ in 0..3 {
        match control::bucket_policy::read(site.readers(), site.bucket).await {
            Ok(policy) => {
                read.extend(policy.statements.into_iter().find(|it| it.sid() == written.sid()).map(|it| it.0))
            }
            Err(error) => return run.answers.push(Question::OrderOfLists.stopped_by(&error)),
        }
    }
    run.answers.push(order(&written.0, &read));
}

/// What the statements of the baseline do to uploads; they are put in force for the test objects only.
async fn uploads(site: &Site<'_>, run: &mut Run) {
    let ground = ground(site).await;
    let place = site.session.guardrail.config.place();
    let alias = format!("arn:{}:kms:{}:{}:{}", place.partition, place.region, place.account, site.alias);
    for (question, name, key, wanted) in [
        (Question::KmsWithoutKeyId, "put-without-key-id", None, Wanted::Denied),
        (Question::AliasOfTheKey, "put-with-alias", Some(alias.as_str()), Wanted::Either),
    ] {
        let said = match ground {
            Ground::Firm => Said::from_result(&api::done("PutObject", site.put_with(name, key).send().await)),
            _ => Said::Nothing,
        };
        run.answers.push(upload(question, wanted, &ground, &said));
    }
    run.answers.push(another_key(site, &ground).await);
    for (question, copied) in [(Question::Parts, false), (Question::CopiedParts, true)] {
        let said = match ground {
            Ground::Firm => Said::from_result(&in_parts(site, copied).await),
            _ => Said::Nothing,
        };
        run.answers.push(upload(question, Wanted::Accepted, &ground, &said));
    }
}

/// Puts the statements in force, and finds out whether they are.
async fn ground(site: &Site<'_>) -> Ground {
    let good = api::done("PutObject", site.put_with(GOOD, Some(site.key.as_str())).send().await);
    if good.is_err() {
        return Ground::Control { what: "an upload with the key", said: Said::from_result(&good) };
    }
    let objects = format!("{}/{PREFIX}/*", site.arn());
    let partition = site.session.guardrail.config.place().partition;
    let required = bucket_policy::required(PolicyVariant::Strict, partition, site.bucket, &site.key);
    let ours = required.into_iter().filter(|it| it.0["Action"] == "s3:PutObject").map(|mut it| {
        it.0["Sid"] = json!(format!("{SID}{}", it.sid().unwrap_or_default()));
        it.0["Resource"] = json!(objects);
        it
    });
    let written = site.put_statements(&ours.collect::<Vec<_>>()).await;
    if written.is_err() {
        return Ground::Control { what: "PutBucketPolicy", said: Said::from_result(&written) };
    }
    let in_force = within_a_while(async || {
        let put = api::done("PutObject", site.put("put-without-header").send().await);
        put.is_err_and(|it| matches!(it.denied_by(), Some(Denial::ResourcePolicy | Denial::Unsaid)))
    });
    if !in_force.await {
        return Ground::NotInForce;
    }
    let good = api::done("PutObject", site.put_with(GOOD, Some(site.key.as_str())).send().await);
    match good {
        Ok(()) => Ground::Firm,
        Err(error) => {
            Ground::Control { what: "an upload with the key, under the policy,", said: Said::from_error(&error) }
        }
    }
}

/// Whether a stored object can be given another key. The other one is nobody's: what the policy lets through, KMS refuses.
async fn another_key(site: &Site<'_>, ground: &Ground) -> Answer {
    const QUESTION: Question = Question::AnotherKeyForAnObject;
    let place = site.session.guardrail.config.place();
    let update = async |key: &str| {
        let key = SsekmsEncryption::builder().kms_key_arn(key).build();
        let update = site.s3().update_object_encryption().bucket(site.name());
        let update = update.key(site.key_of(GOOD)).set_object_encryption(key.ok().map(ObjectEncryption::Ssekms));
        Said::from_result(&api::done("UpdateObjectEncryption", update.send().await))
    };
    if *ground != Ground::Firm {
        return upload(QUESTION, Wanted::Denied, ground, &Said::Nothing);
    }
    let control = update(site.key.as_str()).await;
    if control != Said::Accepted {
        let ground = Ground::Control { what: "the same with the policy's own key", said: control };
        return upload(QUESTION, Wanted::Denied, &ground, &Said::Nothing);
    }
    let nobodys = "00000000-0000-0000-0000-000000000000";
    let other = format!("arn:{}:kms:{}:{}:key/{nobodys}", place.partition, place.region, place.account);
    upload(QUESTION, Wanted::Denied, ground, &update(&other).await)
}

/// Uploads one object as one part, sent or copied.
async fn in_parts(site: &Site<'_>, copied: bool) -> Result<(), ApiError> {
    let bucket = site.name();
    let key = site.key_of(if copied { "part-copied" } else { "part-sent" });
    let create = site.s3().create_multipart_upload().bucket(bucket).key(&key);
    let create = create.server_side_encryption(ServerSideEncryption::AwsKms).ssekms_key_id(site.key.as_str());
    let id = api::output("CreateMultipartUpload", create.send().await)?.upload_id.unwrap_or_default();
    let part = CompletedPart::builder().part_number(1);
    let part = if copied {
        let copy = site.s3().upload_part_copy().bucket(bucket).key(&key).upload_id(&id);
        let source = format!("{bucket}/{}", site.key_of(GOOD));
        let copied = api::output("UploadPartCopy", copy.part_number(1).copy_source(source).send().await)?;
        part.set_e_tag(copied.copy_part_result.and_then(|it| it.e_tag))
    } else {
        let send = site.s3().upload_part().bucket(bucket).key(&key).upload_id(&id);
        let sent = send.part_number(1).body(ByteStream::from_static(BODY)).send().await;
        let sent = api::output("UploadPart", sent)?;
        part.set_e_tag(sent.e_tag).set_checksum_crc32(sent.checksum_crc32)
    };
    let parts = CompletedMultipartUpload::builder().parts(part.build()).build();
    let complete = site.s3().complete_multipart_upload().bucket(bucket).key(&key);
    api::done("CompleteMultipartUpload", complete.upload_id(&id).multipart_upload(parts).send().await)
}

/// Has a call of our own denied, by a statement of our own. It would change nothing if it were let through.
async fn denied_call(site: &Site<'_>, run: &mut Run) {
    const QUESTION: Question = Question::DeniedCallNamesTheBucket;
    let deny = Statement(json!({
        "Sid": format!("{SID}Denied"), "Effect": "Deny", "Principal": "*", "Action": "s3:PutBucketVersioning",
        "Resource": site.arn(),
    }));
    if let Err(error) = site.put_statements(&[deny]).await {
        return run.answers.push(QUESTION.stopped_by(&error));
    }
    let now = control::versioning::read(site.readers(), site.bucket).await.ok().and_then(|it| it.status);
    let status = BucketVersioningStatus::from(now.as_deref().unwrap_or("Suspended"));
    let status = VersioningConfiguration::builder().status(status).build();
    let mut id = None;
    let denied = within_a_while(async || {
        let put = site.s3().put_bucket_versioning().bucket(site.name());
        let put = put.versioning_configuration(status.clone()).send().await;
        let Err(error) = put else { return false };
        id = error.request_id().map(str::to_owned);
        error.code() == Some("AccessDenied")
    });
    match (denied.await, id) {
        (true, Some(request_id)) => {
            run.made.push((Made { question: QUESTION, event_name: "PutBucketVersioning", request_id }, Instant::now()))
        }
        (true, None) => run.answers.push(QUESTION.answer(Verdict::Unknown, "denied, without a request id")),
        (false, _) => run.answers.push(QUESTION.answer(Verdict::Unknown, "no call was denied within half a minute")),
    }
    // What becomes of it is told in the end, when everything is put back.
    let _ = site.put_statements(&[]).await;
}

/// Suspends versioning again and again, and counts what it takes until that is read.
async fn suspensions(site: &Site<'_>) -> Result<Answer, ApiError> {
    let mut settled = Vec::new();
    let mut enabled = Ok(());
    // The statement that denied it may be in force for a while.
    within_a_while(async || {
        enabled = site.put_versioning("Enabled").await;
        enabled.is_ok()
    })
    .await;
    enabled?;
    for _ in 0..SUSPENSIONS {
        site.put_versioning("Enabled").await?;
        read_until(site, "Enabled").await?;
        site.put_versioning("Suspended").await?;
        settled.push(read_until(site, "Suspended").await?);
    }
    Ok(settling(&settled))
}

async fn read_until(site: &Site<'_>, status: &str) -> Result<Settled, ApiError> {
    let (begin, mut stale) = (Instant::now(), 0);
    loop {
        if control::versioning::read(site.readers(), site.bucket).await?.status.as_deref() == Some(status) {
            return Ok(Settled { stale, after: Some(begin.elapsed()) });
        }
        stale += 1;
        if begin.elapsed() > PATIENCE {
            return Ok(Settled { stale, after: None });
        }
        sleep(BETWEEN_READS).await;
    }
}

/// Writes a configuration whose record CloudTrail has to cut. Its rules are off, and about nothing.
async fn large_request(site: &Site<'_>, run: &mut Run) {
    const QUESTION: Question = Question::LargeRequests;
    match control::lifecycle::read(site.readers(), site.bucket).await {
        Ok(lifecycle) if lifecycle.rules.is_empty() => {}
        Ok(_) => {
            let why = "not tried: the bucket has lifecycle rules of its own";
            return run.answers.push(QUESTION.answer(Verdict::Unknown, why));
        }
        Err(error) => return run.answers.push(QUESTION.stopped_by(&error)),
    }
    let rule = |number: usize| {
        let name = format!("{PREFIX}-{number}-{}", "x".repeat(200));
        LifecycleRule::builder()
            .filter(LifecycleRuleFilter::builder().prefix(format!("{PREFIX}/{name}/")).build())
            .id(name)
            .status(ExpirationStatus::Disabled)
            .expiration(LifecycleExpiration::builder().days(3650).build())
            .build()
            .map_err(|error| ApiError::new("PutBucketLifecycleConfiguration", error))
    };
    let rules = match (0..RULES).map(rule).collect::<Result<Vec<_>, _>>() {
        Ok(rules) => BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build(),
        Err(error) => return run.answers.push(QUESTION.stopped_by(&error)),
    };
    let put = site.s3().put_bucket_lifecycle_configuration().bucket(site.name());
    let put = put.set_lifecycle_configuration(rules.ok()).send().await;
    let put = api::output("PutBucketLifecycleConfiguration", put);
    let made = put.map(|it| it.request_id().map(str::to_owned));
    run.look_for(QUESTION, "PutBucketLifecycle", made);
}

/// Deletes a website that is not there: that changes nothing, and is recorded.
async fn website(site: &Site<'_>, run: &mut Run) {
    const QUESTION: Question = Question::DeleteBucketWebsite;
    let get = site.s3().get_bucket_website().bucket(site.name());
    match api::unless_absent("GetBucketWebsite", get.send().await, "NoSuchWebsiteConfiguration") {
        Ok(None) => {}
        Ok(Some(_)) => {
            return run.answers.push(QUESTION.answer(Verdict::Unknown, "not tried: the bucket is a website"));
        }
        Err(error) => return run.answers.push(QUESTION.stopped_by(&error)),
    }
    let delete = site.s3().delete_bucket_website().bucket(site.name());
    let deleted = api::output("DeleteBucketWebsite", delete.send().await);
    run.look_for(QUESTION, "DeleteBucketWebsite", deleted.map(|it| it.request_id().map(str::to_owned)));
}

impl Run {
    fn look_for(&mut self, question: Question, event_name: &'static str, made: Result<Option<String>, ApiError>) {
        match made {
            Ok(Some(request_id)) => self.made.push((Made { question, event_name, request_id }, Instant::now())),
            Ok(None) => self.answers.push(question.answer(Verdict::Unknown, "AWS gave no request id to look for")),
            Err(error) => self.answers.push(question.stopped_by(&error)),
        }
    }
}

/// What the account's trails say of themselves.
pub(super) async fn of_trails(session: &Session) -> Vec<Answer> {
    match trail_facts(session).await {
        Ok(facts) => trails(&facts).into(),
        Err(error) => [Question::BucketKeyOfTheLogs, Question::DeliveryErrors, Question::TwoManagementSelectors]
            .map(|it| it.stopped_by(&error))
            .into(),
    }
}

async fn trail_facts(session: &Session) -> Result<Vec<TrailFacts>, ApiError> {
    let client = &session.guardrail.cloudtrail;
    let shown = api::output("DescribeTrails", client.describe_trails().include_shadow_trails(true).send().await)?;
    let mut facts = Vec::new();
    for trail in shown.trail_list() {
        let Some(Ok(arn)) = trail.trail_arn().map(str::parse::<guardrail_core::value::names::TrailArn>) else {
            continue;
        };
        if arn.parts().account != session.account.as_str() {
            continue;
        }
        let home = control::trail::at_home(client, &arn);
        let status = api::output("GetTrailStatus", home.get_trail_status().name(arn.as_str()).send().await)?;
        let selectors = home.get_event_selectors().trail_name(arn.as_str()).send().await;
        let selectors = api::output("GetEventSelectors", selectors)?;
        let of_management = selectors.advanced_event_selectors().iter().filter(|it| {
            let mut fields = it.field_selectors().iter();
            fields.any(|it| it.field() == "eventCategory" && it.equals().iter().any(|it| it == "Management"))
        });
        let basic = selectors.event_selectors().iter().filter(|it| it.include_management_events() == Some(true));
        facts.push(TrailFacts {
            is_logging: status.is_logging() == Some(true),
            delivered: status.latest_delivery_time().is_some(),
            error: status.latest_delivery_error().filter(|it| !it.is_empty()).map(code),
            management_selectors: of_management.count().max(basic.count()),
            bucket_key: bucket_key(session, trail.s3_bucket_name(), trail.kms_key_id()).await,
        });
    }
    Ok(facts)
}

/// Of an error, what tells no names.
fn code(error: &str) -> String {
    error.split(|it: char| !it.is_ascii_alphanumeric()).next().unwrap_or_default().to_owned()
}

async fn bucket_key(session: &Session, log_bucket: Option<&str>, key: Option<&str>) -> Option<(bool, bool)> {
    let (log_bucket, key) = (log_bucket?.parse().ok()?, key?);
    let bucket = &log_bucket;
    let encryption = control::default_encryption::read(session.guardrail.readers(), bucket).await.ok()?;
    let policy = control::kms_key::key_policy(session.guardrail.readers(), key).await.ok()?;
    Some((encryption.bucket_key, lets_cloudtrail_decrypt(&policy)))
}

/// What the last 90 days of the account tell of calls that can switch the guardrail off.
pub(super) async fn of_the_past(session: &Session) -> Vec<Answer> {
    let mut records = Vec::new();
    for (name, _) in TAMPERING {
        match look_up(session, name, None).await {
            Ok(found) => records.extend(found),
            Err(error) => {
                return [Question::ParametersOfTampering, Question::DeniedTampering, Question::TaggedByResource]
                    .map(|it| it.stopped_by(&error))
                    .into();
            }
        }
    }
    let tagging = look_up(session, "TagResource", None).await;
    let tagging = tagging.map_or_else(|error| Question::TaggedByResource.stopped_by(&error), |it| tagged(&it));
    past(&records).into_iter().chain([tagging]).collect()
}

/// The newest records of a name.
async fn look_up(session: &Session, event_name: &str, since: Option<Timestamp>) -> Result<Vec<Record>, ApiError> {
    let name = LookupAttribute::builder().attribute_key(LookupAttributeKey::EventName).attribute_value(event_name);
    let name = name.build().map_err(|error| ApiError::new("LookupEvents", error))?;
    let (mut records, mut token) = (Vec::new(), None);
    for _ in 0..PAGES {
        let look_up = session.guardrail.cloudtrail.lookup_events().lookup_attributes(name.clone());
        let look_up = look_up.set_start_time(since.map(|it| DateTime::from_secs(it.as_second())));
        let page = api::output("LookupEvents", look_up.set_next_token(token).send().await)?;
        records.extend(page.events().iter().filter_map(|it| Record::parse(it.cloud_trail_event()?)));
        sleep(BETWEEN_LOOKUPS).await;
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    Ok(records)
}

/// Waits until CloudTrail shows what was done, as long as the person will.
pub(super) async fn of_events(session: &Session, bucket: &str, begun: Timestamp, wait: Duration, run: &mut Run) {
    let mut open = std::mem::take(&mut run.made);
    let (made, mut delays) = (open.len(), Vec::new());
    let begin = Instant::now();
    while !open.is_empty() {
        let mut still_open = Vec::new();
        for (call, at) in open {
            let found = match look_up(session, call.event_name, Some(begun)).await {
                Ok(records) => records.into_iter().find(|it| it.request_id == call.request_id),
                Err(error) => {
                    run.answers.push(call.question.stopped_by(&error));
                    continue;
                }
            };
            match found {
                Some(record) => {
                    delays.push(at.elapsed());
                    run.answers.push(own_call(&call, bucket, Some(&(record, at.elapsed())), wait));
                }
                None => still_open.push((call, at)),
            }
        }
        open = still_open;
        if begin.elapsed() >= wait {
            break;
        }
        if !open.is_empty() {
            sleep(BETWEEN_LOOKS).await;
        }
    }
    run.answers.extend(open.iter().map(|(call, _)| own_call(call, bucket, None, wait)));
    run.answers.push(delay(&delays, made, wait));
}

/// Nothing here can raise an alarm: the person does.
pub(super) fn of_alarms() -> Answer {
    let command = "aws cloudwatch set-alarm-state --alarm-name s3-guardrail-errors --state-value ALARM --state-reason \
                   s3-guardrail-first-run";
    Question::AlarmToMail.answer(Verdict::Unknown, format!("for you to try: `{command}`; did two mails come?"))
}
