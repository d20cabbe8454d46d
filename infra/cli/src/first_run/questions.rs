//! What nobody knows of AWS before a run in an account, and what an answer means. Pure.
//!
//! The marks are those of ASSUMPTIONS.md.

use std::time::Duration;

use guardrail_core::{
    decide::backoff::REREADS,
    value::failure::{ApiError, Denial},
};
use serde_json::Value;

/// A question that only an account can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    DeniedCallNamesTheBucket,
    ParametersOfTampering,
    DeniedTampering,
    EventDelay,
    LargeRequests,
    DeleteBucketWebsite,
    BucketKeyOfTheLogs,
    DeliveryErrors,
    TwoManagementSelectors,
    AnotherKeyForAnObject,
    KmsWithoutKeyId,
    AliasOfTheKey,
    Parts,
    CopiedParts,
    Settling,
    OrderOfLists,
    AlarmToMail,
    TaggedByResource,
}

/// How a question is put: its mark, in words, and what the guardrail leans on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) mark: &'static str,
    pub(crate) asks: &'static str,
    pub(crate) believed: &'static str,
}

impl Question {
    pub(crate) const ALL: [Self; 18] = [
        Self::DeniedCallNamesTheBucket,
        Self::ParametersOfTampering,
        Self::DeniedTampering,
        Self::EventDelay,
        Self::LargeRequests,
        Self::DeleteBucketWebsite,
        Self::BucketKeyOfTheLogs,
        Self::DeliveryErrors,
        Self::TwoManagementSelectors,
        Self::AnotherKeyForAnObject,
        Self::KmsWithoutKeyId,
        Self::AliasOfTheKey,
        Self::Parts,
        Self::CopiedParts,
        Self::Settling,
        Self::OrderOfLists,
        Self::AlarmToMail,
        Self::TaggedByResource,
    ];

    pub(crate) const fn row(self) -> Row {
        let (mark, asks, believed) = match self {
            Self::DeniedCallNamesTheBucket => (
                "U1",
                "Does the record of a denied configuration call of S3 name the bucket?",
                "requestParameters.bucketName is kept",
            ),
            Self::ParametersOfTampering => (
                "U2",
                "Do calls that can switch the guardrail off name their target where its rules look?",
                "name, rule, topicArn, subscriptionArn, functionName, keyId",
            ),
            Self::DeniedTampering => (
                "U3",
                "What do the records of such calls say of their target when they were denied?",
                "nothing: requestParameters is null; or the same as when allowed",
            ),
            Self::EventDelay => ("U4", "How long after a call does CloudTrail show it?", "minutes at most"),
            Self::LargeRequests => (
                "U5",
                "Does the record of a request of more than 100 KB still name the bucket?",
                "in requestParameters.bucketName or in resources",
            ),
            Self::DeleteBucketWebsite => {
                ("U6", "Under which name is DeleteBucketWebsite recorded?", "its own, by analogy with PutBucketWebsite")
            }
            Self::BucketKeyOfTheLogs => (
                "U7",
                "Does CloudTrail deliver to a log bucket that has a Bucket Key?",
                "it does when the key's policy lets it decrypt",
            ),
            Self::DeliveryErrors => (
                "U8",
                "What do trails say of deliveries that failed?",
                "LatestDeliveryError holds a code while they fail, and is absent or empty otherwise",
            ),
            Self::TwoManagementSelectors => {
                ("U9", "Does CloudTrail keep two selectors for management events on one trail?", "it does")
            }
            Self::AnotherKeyForAnObject => (
                "U10",
                "Does a Deny of s3:PutObject for other keys refuse UpdateObjectEncryption?",
                "it does, as the call also needs s3:PutObject",
            ),
            Self::KmsWithoutKeyId => (
                "U11",
                "What becomes of an upload with aws:kms and no key id?",
                "denied: the condition sees no key id, whatever key S3 would take",
            ),
            Self::AliasOfTheKey => (
                "U12",
                "What becomes of an upload that names the key by its alias?",
                "denied or let through: both keep the baseline",
            ),
            Self::Parts => ("U13", "Is a part without encryption headers let through?", "it is: the upload names them"),
            Self::CopiedParts => {
                ("U14", "Is a copied part without encryption headers let through?", "it is: the upload names them")
            }
            Self::Settling => (
                "U15",
                "How long does S3 show the old versioning after it was suspended?",
                "3.5 s of re-reading see the new one",
            ),
            Self::OrderOfLists => (
                "U16",
                "Does S3 give the lists of a bucket policy back as they were written?",
                "not always: policies are compared by what they mean",
            ),
            Self::AlarmToMail => (
                "U17",
                "Does an alarm reach the people through both topics?",
                "the key's policy lets CloudWatch use it, and the second topic's policy lets it publish",
            ),
            Self::TaggedByResource => (
                "U18",
                "Where does the record of a bucket's TagResource name the bucket?",
                "in resourceArn or in resources",
            ),
        };
        Row { mark, asks, believed }
    }

    /// The answer to it.
    pub(crate) fn answer(self, verdict: Verdict, text: impl Into<String>) -> Answer {
        Answer { question: self, verdict, text: text.into() }
    }

    /// The answer when a call that had to be made first failed.
    pub(crate) fn stopped_by(self, error: &ApiError) -> Answer {
        let said = Said::from_error(error);
        let verdict = if matches!(said, Said::Denied(_)) { Verdict::Denied } else { Verdict::Unknown };
        self.answer(verdict, format!("not tried: {} was {}", error.operation, said.text()))
    }
}

/// What an answer means for the guardrail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    AsBelieved,
    /// The guardrail leans on something that is not so.
    Otherwise,
    /// The caller may not find out.
    Denied,
    Unknown,
}

impl Verdict {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::AsBelieved => "as believed",
            Self::Otherwise => "**OTHERWISE**",
            Self::Denied => "denied",
            Self::Unknown => "unknown",
        }
    }
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) question: Question,
    pub(crate) verdict: Verdict,
    pub(crate) text: String,
}

/// What AWS said to a call, without its words: they tell who and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Accepted,
    Denied(Denial),
    /// With this code.
    Refused(String),
    /// It did not answer, or broke down.
    Nothing,
}

impl Said {
    pub(crate) fn from_error(error: &ApiError) -> Self {
        match (error.denied_by(), error.code()) {
            (Some(denial), _) => Self::Denied(denial),
            (None, Some(code)) if !error.is_passing() => Self::Refused(code.to_owned()),
            _ => Self::Nothing,
        }
    }

    pub(crate) fn from_result<T>(result: &Result<T, ApiError>) -> Self {
        result.as_ref().map_or_else(Self::from_error, |_| Self::Accepted)
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Self::Accepted => "accepted".to_owned(),
            Self::Denied(denial) => {
                let by = match denial {
                    Denial::ResourceControlPolicy => " by a resource control policy",
                    Denial::ServiceControlPolicy => " by a service control policy",
                    Denial::ResourcePolicy => " by the bucket's or the key's policy",
                    Denial::PermissionsBoundary => " by a permissions boundary",
                    Denial::SessionPolicy => " by the session's policy",
                    Denial::VpcEndpointPolicy => " by the VPC endpoint's policy",
                    Denial::IdentityPolicy => ": your own policies do not allow it",
                    Denial::Unsaid => ", and AWS does not say by which policy",
                };
                format!("denied{by}")
            }
            Self::Refused(code) => format!("refused with {code}"),
            Self::Nothing => "not answered".to_owned(),
        }
    }
}

/// What must become of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Denied,
    Accepted,
    /// Both are well.
    Either,
}

/// Whether the policy could be tried at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ground {
    /// An upload with the key is accepted, and one without headers is denied.
    Firm,
    /// What an upload with the key, or the policy itself, was answered.
    Control { what: &'static str, said: Said },
    /// The policy was written, and an upload without headers was still not denied.
    NotInForce,
}

/// What an upload under the policy tells.
pub(crate) fn upload(question: Question, wanted: Wanted, ground: &Ground, said: &Said) -> Answer {
    match ground {
        Ground::Firm => {}
        Ground::Control { what, said } => {
            let verdict = if matches!(said, Said::Denied(_)) { Verdict::Denied } else { Verdict::Unknown };
            return question.answer(verdict, format!("not tried: {what} was {}", said.text()));
        }
        Ground::NotInForce => {
            return question.answer(
                Verdict::Unknown,
                "not tried: the policy was written, and was not in force half a minute later",
            );
        }
    }
    let kept =
        |is: Wanted| if wanted == is || wanted == Wanted::Either { Verdict::AsBelieved } else { Verdict::Otherwise };
    let verdict = match said {
        Said::Accepted => kept(Wanted::Accepted),
        Said::Denied(Denial::ResourcePolicy | Denial::Unsaid) => kept(Wanted::Denied),
        Said::Denied(_) => Verdict::Denied,
        // The policy let it through, or KMS would not have been asked.
        Said::Refused(code) if code.starts_with("KMS.") => kept(Wanted::Accepted),
        Said::Refused(_) | Said::Nothing => Verdict::Unknown,
    };
    question.answer(verdict, said.text())
}

/// How a read agreed with a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    /// How many reads showed what was before.
    pub(crate) stale: u32,
    /// From the write to the read that showed what was written; `None`: none did.
    pub(crate) after: Option<Duration>,
}

/// What reads after writes tell.
pub(crate) fn settling(settled: &[Settled]) -> Answer {
    let at_once = settled.iter().filter(|it| it.stale == 0).count();
    let never = settled.iter().filter(|it| it.after.is_none()).count();
    let (most, slowest) = (
        settled.iter().map(|it| it.stale).max().unwrap_or_default(),
        settled.iter().filter_map(|it| it.after).max().unwrap_or_default(),
    );
    let mut text = format!("{at_once} of {} suspensions were read back at once", settled.len());
    if at_once < settled.len() {
        text.push_str(&format!("; at most {most} reads showed what was before, {:.1} s long", slowest.as_secs_f64()));
    }
    if never > 0 {
        text.push_str(&format!("; {never} were not seen at all"));
    }
    let verdict = match settled {
        [] => Verdict::Unknown,
        _ if never > 0 || slowest > REREADS.iter().sum::<Duration>() => Verdict::Otherwise,
        _ => Verdict::AsBelieved,
    };
    Question::Settling.answer(verdict, text)
}

/// What a policy that was read back tells, in each of these lists.
pub(crate) fn order(written: &Value, read: &[Value]) -> Answer {
    let mut changed = Vec::new();
    for list in ["Principal", "Action", "Resource"] {
        let of = |statement: &Value| match list {
            "Principal" => statement["Principal"]["Service"].clone(),
            _ => statement[list].clone(),
        };
        if read.iter().any(|it| of(it) != of(written)) {
            changed.push(list);
        }
    }
    let text = match (read.len(), changed.as_slice()) {
        (0, _) => return Question::OrderOfLists.answer(Verdict::Unknown, "the statement was not in what was read"),
        (reads, []) => format!("all as they were written, in {reads} reads"),
        (reads, lists) => format!("otherwise than written, in {reads} reads: {}", lists.join(", ")),
    };
    // Nothing leans on either.
    Question::OrderOfLists.answer(Verdict::AsBelieved, text)
}

/// A call that the run made, to be looked for in CloudTrail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) question: Question,
    pub(crate) event_name: &'static str,
    pub(crate) request_id: String,
}

/// What CloudTrail shows of a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) event_source: String,
    pub(crate) event_name: String,
    pub(crate) error_code: Option<String>,
    /// As it stands there.
    pub(crate) parameters: Value,
    pub(crate) resources: Value,
    pub(crate) request_id: String,
}

impl Record {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let record: Value = serde_json::from_str(text).ok()?;
        let text = |name: &str| record[name].as_str().map(str::to_owned);
        Some(Self {
            event_source: text("eventSource").unwrap_or_default(),
            event_name: text("eventName")?,
            error_code: text("errorCode"),
            parameters: record["requestParameters"].clone(),
            resources: record["resources"].clone(),
            request_id: text("requestID").unwrap_or_default(),
        })
    }

    fn is_denied(&self) -> bool {
        self.error_code.as_deref().is_some_and(|it| it.contains("AccessDenied") || it.contains("UnauthorizedOperation"))
    }

    fn names(&self, bucket: &str) -> [bool; 2] {
        let arn = format!(":::{bucket}");
        let resources = self.resources.as_array().into_iter().flatten();
        [
            self.parameters["bucketName"] == bucket,
            resources.filter_map(|it| it["ARN"].as_str()).any(|it| it.ends_with(&arn)),
        ]
    }
}

/// What the record of a call of our own tells; `seen`: the record, and how long after the call it was there.
pub(crate) fn own_call(made: &Made, bucket: &str, seen: Option<&(Record, Duration)>, waited: Duration) -> Answer {
    let question = made.question;
    let Some((record, _)) = seen else {
        let text = format!("CloudTrail did not show {} within {} s", made.event_name, waited.as_secs());
        return question.answer(Verdict::Unknown, text);
    };
    let [in_parameters, in_resources] = record.names(bucket);
    let places = match (in_parameters, in_resources) {
        (true, true) => "in requestParameters.bucketName and in resources",
        (true, false) => "in requestParameters.bucketName only",
        (false, true) => "in resources only",
        (false, false) => "nowhere",
    };
    let code = record.error_code.as_deref().unwrap_or("no error");
    let text = format!("{} ({code}) names the bucket {places}", made.event_name);
    let holds = match question {
        Question::DeniedCallNamesTheBucket => in_parameters,
        Question::LargeRequests => in_parameters || in_resources,
        _ => true,
    };
    question.answer(if holds { Verdict::AsBelieved } else { Verdict::Otherwise }, text)
}

/// What the delays of the calls that were seen tell.
pub(crate) fn delay(delays: &[Duration], made: usize, waited: Duration) -> Answer {
    let text = match (delays.iter().min(), delays.iter().max()) {
        (Some(least), Some(most)) => format!(
            "LookupEvents showed {} of {made} calls after {} to {} s; EventBridge has its own delay, which each alert tells",
            delays.len(),
            least.as_secs(),
            most.as_secs()
        ),
        _ => format!("LookupEvents showed none of {made} calls within {} s", waited.as_secs()),
    };
    let verdict = if made > 0 && delays.len() == made { Verdict::AsBelieved } else { Verdict::Unknown };
    Question::EventDelay.answer(verdict, text)
}

/// Calls that can switch the guardrail off: the name of their event, and of the parameter that names what they are about.
pub(crate) const TAMPERING: [(&str, &str); 10] = [
    ("DisableRule", "name"),
    ("PutRule", "name"),
    ("PutTargets", "rule"),
    ("RemoveTargets", "rule"),
    ("SetTopicAttributes", "topicArn"),
    ("Unsubscribe", "subscriptionArn"),
    ("DeleteFunctionEventInvokeConfig", "functionName"),
    ("PutFunctionConcurrency20171031", "functionName"),
    ("StopLogging", "name"),
    ("PutKeyPolicy", "keyId"),
];

/// What the account's own past tells of such calls: those that succeeded, and those that were denied.
pub(crate) fn past(records: &[Record]) -> [Answer; 2] {
    let expected = |it: &Record| TAMPERING.iter().find(|known| known.0 == it.event_name).map(|known| known.1);
    let names_it = |it: &&Record| expected(it).is_some_and(|name| !it.parameters[name].is_null());
    let of = |records: &[&Record], fits: &dyn Fn(&&Record) -> bool| {
        let (mut texts, mut all_fit) = (Vec::new(), true);
        for (name, parameter) in TAMPERING {
            let these: Vec<_> = records.iter().filter(|it| it.event_name == name).copied().collect();
            let fitting = these.iter().filter(|it| fits(it)).count();
            all_fit &= fitting == these.len();
            let null = these.iter().filter(|it| it.parameters.is_null()).count();
            if let Some(other) = these.iter().find(|it| !names_it(it) && !it.parameters.is_null()) {
                let members: Vec<_> =
                    other.parameters.as_object().into_iter().flat_map(|it| it.keys()).cloned().collect();
                texts.push(format!("{name}: not `{parameter}` but {}", members.join(", ")));
            } else if !these.is_empty() {
                texts.push(format!("{name}: {} with `{parameter}`, {null} with null", these.len() - null));
            }
        }
        (texts, all_fit)
    };
    let judge =
        |question: Question, kind: &str, (texts, all_fit): (Vec<String>, bool)| match (texts.is_empty(), all_fit) {
            (true, _) => question.answer(Verdict::Unknown, format!("no {kind} call of these in 90 days")),
            (false, true) => question.answer(Verdict::AsBelieved, texts.join("; ")),
            (false, false) => question.answer(Verdict::Otherwise, texts.join("; ")),
        };
    let (denied, rest): (Vec<_>, Vec<_>) = records.iter().partition(|it| it.is_denied());
    let succeeded: Vec<_> = rest.into_iter().filter(|it| it.error_code.is_none()).collect();
    [
        judge(Question::ParametersOfTampering, "successful", of(&succeeded, &names_it)),
        judge(Question::DeniedTampering, "denied", of(&denied, &|it| it.parameters.is_null() || names_it(it))),
    ]
}

/// What the account's own past tells of buckets that were tagged by TagResource.
pub(crate) fn tagged(records: &[Record]) -> Answer {
    const QUESTION: Question = Question::TaggedByResource;
    let of_s3: Vec<_> = records.iter().filter(|it| it.event_source == "s3.amazonaws.com").collect();
    let names = |it: &Record| {
        let resources = it.resources.as_array().into_iter().flatten();
        !it.parameters["resourceArn"].is_null() || resources.into_iter().any(|it| it["ARN"].is_string())
    };
    let Some(other) = of_s3.iter().find(|it| !names(it)) else {
        let verdict = if of_s3.is_empty() { Verdict::Unknown } else { Verdict::AsBelieved };
        return QUESTION.answer(verdict, format!("{} calls in 90 days, all of them so", of_s3.len()));
    };
    let members: Vec<_> = other.parameters.as_object().into_iter().flat_map(|it| it.keys()).cloned().collect();
    QUESTION.answer(Verdict::Otherwise, format!("not there, but among: {}", members.join(", ")))
}

/// What a trail of this account says of itself, and of where it delivers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TrailFacts {
    pub(crate) is_logging: bool,
    pub(crate) delivered: bool,
    pub(crate) error: Option<String>,
    pub(crate) management_selectors: usize,
    /// Whether the log bucket has a Bucket Key, and whether the key's policy lets CloudTrail decrypt; `None`: its logs are
    /// not encrypted with a key of the account, or that could not be read.
    pub(crate) bucket_key: Option<(bool, bool)>,
}

/// What the account's trails tell.
pub(crate) fn trails(trails: &[TrailFacts]) -> [Answer; 3] {
    let with_key = |decrypts: bool| {
        let these = trails.iter().filter(move |it| it.is_logging && it.bucket_key == Some((true, decrypts)));
        these.map(|it| it.delivered && it.error.is_none()).collect::<Vec<_>>()
    };
    let (with, without) = (with_key(true), with_key(false));
    let count = |delivered: &[bool]| format!("{} of {}", delivered.iter().filter(|it| **it).count(), delivered.len());
    let text = format!("trails that deliver: {} with kms:Decrypt, {} without", count(&with), count(&without));
    let verdict = match (with.is_empty(), with.contains(&false)) {
        (true, _) => Verdict::Unknown,
        (false, true) => Verdict::Otherwise,
        (false, false) => Verdict::AsBelieved,
    };
    let bucket_key = Question::BucketKeyOfTheLogs.answer(verdict, text);

    let errors: Vec<_> = trails.iter().filter_map(|it| it.error.as_deref()).collect();
    let unclear = trails.iter().filter(|it| it.delivered && it.error.is_some()).count();
    let text = match errors.as_slice() {
        [] => format!("none of {} trails has an error", trails.len()),
        errors => format!(
            "{} of {} trails: {}; {unclear} of them delivered before",
            errors.len(),
            trails.len(),
            errors.join(", ")
        ),
    };
    let verdict = if trails.is_empty() { Verdict::Unknown } else { Verdict::AsBelieved };
    let delivery = Question::DeliveryErrors.answer(verdict, text);

    let most = trails.iter().map(|it| it.management_selectors).max().unwrap_or_default();
    let (verdict, text) = match most {
        0 | 1 => (Verdict::Unknown, format!("none of {} trails has two", trails.len())),
        most => (Verdict::AsBelieved, format!("a trail has {most}")),
    };
    [bucket_key, delivery, Question::TwoManagementSelectors.answer(verdict, text)]
}

/// What a person pastes into an issue; the last step is theirs.
pub(crate) fn markdown(answers: &[Answer], version: &str, region: &str, time: &str) -> String {
    let mut text = format!(
        "### s3-guardrail first run\n\nVersion {version}, {region}, {time}. Marks as in ASSUMPTIONS.md; accounts, ARNs and \
         bucket names are left out.\n\n| | Question | Believed | | What AWS did |\n|---|---|---|---|---|\n"
    );
    let cell = |it: &str| it.replace('|', "\\|").replace(['\n', '\r'], " ");
    for Answer { question, verdict, text: said } in answers {
        let Row { mark, asks, believed } = question.row();
        text.push_str(&format!("| {mark} | {asks} | {believed} | {} | {} |\n", verdict.text(), cell(said)));
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    fn verdicts(question: Question, wanted: Wanted, said: &Said) -> Verdict {
        upload(question, wanted, &Ground::Firm, said).verdict
    }

    #[test]
    fn an_upload_tells_what_the_policy_does_and_nothing_when_something_else_refused() {
        let (denied, mine) = (Said::Denied(Denial::ResourcePolicy), Said::Denied(Denial::IdentityPolicy));
        let kms = Said::Refused("KMS.NotFoundException".to_owned());
        for (said, [when_denied, when_accepted, either]) in [
            (Said::Accepted, [Verdict::Otherwise, Verdict::AsBelieved, Verdict::AsBelieved]),
            (denied.clone(), [Verdict::AsBelieved, Verdict::Otherwise, Verdict::AsBelieved]),
            (Said::Denied(Denial::Unsaid), [Verdict::AsBelieved, Verdict::Otherwise, Verdict::AsBelieved]),
            (mine, [Verdict::Denied; 3]),
            (kms, [Verdict::Otherwise, Verdict::AsBelieved, Verdict::AsBelieved]),
            (Said::Refused("InvalidRequest".to_owned()), [Verdict::Unknown; 3]),
            (Said::Nothing, [Verdict::Unknown; 3]),
        ] {
            let is = [Wanted::Denied, Wanted::Accepted, Wanted::Either].map(|it| verdicts(Question::Parts, it, &said));
            assert_eq!(is, [when_denied, when_accepted, either], "{said:?}");
        }
        let unsure = upload(Question::Parts, Wanted::Denied, &Ground::NotInForce, &denied);
        assert_eq!(unsure.verdict, Verdict::Unknown);
        let ground = Ground::Control { what: "PutBucketPolicy", said: denied.clone() };
        assert_eq!(upload(Question::Parts, Wanted::Denied, &ground, &denied).verdict, Verdict::Denied);
    }

    #[test]
    fn reading_again_for_longer_than_the_guardrail_does_is_told() {
        let settled = |stale, millis: Option<u64>| Settled { stale, after: millis.map(Duration::from_millis) };
        for (reads, verdict, said) in [
            (vec![settled(0, Some(9)); 10], Verdict::AsBelieved, "10 of 10 suspensions were read back at once"),
            (
                vec![settled(0, Some(9)), settled(3, Some(900))],
                Verdict::AsBelieved,
                "1 of 2 suspensions were read back at once; at most 3 reads showed what was before, 0.9 s long",
            ),
            (vec![settled(20, Some(4600))], Verdict::Otherwise, "4.6 s"),
            (vec![settled(0, Some(9)), settled(99, None)], Verdict::Otherwise, "1 were not seen at all"),
            (Vec::new(), Verdict::Unknown, "0 of 0"),
        ] {
            let answer = settling(&reads);
            assert!(answer.verdict == verdict && answer.text.contains(said), "{answer:?}");
        }
    }

    fn record(event_name: &str, error_code: Option<&str>, parameters: Value) -> Record {
        let resources = json!([{"ARN": "arn:aws:s3:::acme-data"}]);
        let (event_name, error_code) = (event_name.to_owned(), error_code.map(str::to_owned));
        Record {
            event_source: "s3.amazonaws.com".to_owned(),
            event_name,
            error_code,
            parameters,
            resources,
            request_id: "R".to_owned(),
        }
    }

    #[test]
    fn what_names_its_target_elsewhere_is_told_by_member_and_not_by_value() {
        let denied = Some("AccessDenied");
        let records = [
            record("PutRule", None, json!({"name": "x"})),
            record("PutTargets", None, json!({"rule": "x"})),
            record("StopLogging", denied, Value::Null),
            record("PutKeyPolicy", Some("MalformedPolicyDocumentException"), json!({"other": "x"})),
        ];
        expect![[r#"
            U2: as believed, PutRule: 1 with `name`, 0 with null; PutTargets: 1 with `rule`, 0 with null
            U3: as believed, StopLogging: 0 with `name`, 1 with null
        "#]]
        .assert_eq(&shown(&past(&records)));
        let records = [
            record("Unsubscribe", None, json!({"SubscriptionArn": "arn:aws:sns:eu-west-2:111122223333:t:1"})),
            record("DisableRule", denied, json!({"rule": "secret"})),
        ];
        expect![[r#"
            U2: **OTHERWISE**, Unsubscribe: not `subscriptionArn` but SubscriptionArn
            U3: **OTHERWISE**, DisableRule: not `name` but rule
        "#]]
        .assert_eq(&shown(&past(&records)));
        expect![[r#"
            U2: unknown, no successful call of these in 90 days
            U3: unknown, no denied call of these in 90 days
        "#]]
        .assert_eq(&shown(&past(&[])));
    }

    #[test]
    fn a_tagged_bucket_is_looked_for_where_its_record_names_it() {
        let arn = json!({"resourceArn": "arn:aws:s3:::acme-data"});
        let elsewhere =
            Record { resources: Value::Null, ..record("TagResource", None, json!({"bucket": "acme-data"})) };
        let of_kms = Record { event_source: "kms.amazonaws.com".to_owned(), ..elsewhere.clone() };
        assert_eq!(tagged(&[record("TagResource", None, arn), of_kms.clone()]).verdict, Verdict::AsBelieved);
        assert_eq!(tagged(&[of_kms]).verdict, Verdict::Unknown);
        let answer = tagged(&[elsewhere]);
        assert_eq!((answer.verdict, answer.text.as_str()), (Verdict::Otherwise, "not there, but among: bucket"));
    }

    fn shown(answers: &[Answer]) -> String {
        let line = |it: &Answer| format!("{}: {}, {}\n", it.question.row().mark, it.verdict.text(), it.text);
        answers.iter().map(line).collect()
    }

    #[test]
    fn a_record_that_lost_the_bucket_is_told() {
        let made = |question| Made { question, event_name: "PutBucketLifecycle", request_id: "R".to_owned() };
        let wait = Duration::from_secs(60);
        for (question, parameters, verdict) in [
            (Question::LargeRequests, json!({"bucketName": "acme-data"}), Verdict::AsBelieved),
            // It is still in the resources.
            (Question::LargeRequests, json!("cut"), Verdict::AsBelieved),
            (Question::DeniedCallNamesTheBucket, Value::Null, Verdict::Otherwise),
        ] {
            let seen = (record("PutBucketLifecycle", None, parameters), wait);
            assert_eq!(own_call(&made(question), "acme-data", Some(&seen), wait).verdict, verdict, "{seen:?}");
        }
        let unseen = own_call(&made(Question::DeleteBucketWebsite), "acme-data", None, wait);
        assert_eq!(
            (unseen.verdict, unseen.text.as_str()),
            (Verdict::Unknown, "CloudTrail did not show PutBucketLifecycle within 60 s")
        );
    }

    #[test]
    fn trails_tell_whether_the_bucket_key_needs_decrypt() {
        let good = TrailFacts { is_logging: true, delivered: true, ..TrailFacts::default() };
        let broken = TrailFacts { error: Some("AccessDenied".to_owned()), ..good.clone() };
        let with = |facts: &TrailFacts, decrypts| TrailFacts { bucket_key: Some((true, decrypts)), ..facts.clone() };
        expect![[r#"
            U7: as believed, trails that deliver: 1 of 1 with kms:Decrypt, 0 of 1 without
            U8: as believed, 1 of 2 trails: AccessDenied; 1 of them delivered before
            U9: unknown, none of 2 trails has two
        "#]]
        .assert_eq(&shown(&trails(&[with(&good, true), with(&broken, false)])));
        assert_eq!(trails(&[with(&broken, true)])[0].verdict, Verdict::Otherwise);
        assert_eq!(trails(std::slice::from_ref(&good)).map(|it| it.verdict)[0], Verdict::Unknown);
        let two = TrailFacts { management_selectors: 2, ..good };
        assert_eq!(trails(&[two])[2].verdict, Verdict::AsBelieved);
    }

    #[test]
    fn every_question_has_a_mark_of_its_own() {
        let marks = Question::ALL.map(|it| it.row().mark);
        let expected: Vec<_> = (1..=Question::ALL.len()).map(|it| format!("U{it}")).collect();
        assert_eq!(marks.to_vec(), expected);
    }
}
