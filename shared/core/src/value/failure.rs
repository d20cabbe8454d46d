//! Calls of AWS that failed: what is known of it, and what follows from it.

use std::error::Error;

use serde::Serialize;

/// An AWS call that failed: which one, and what AWS said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {text}")]
pub struct ApiError {
    pub operation: &'static str,
    pub why: Why,
    /// AWS's words and request id, or the whole chain of causes when AWS did not answer.
    text: String,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// No answer came that could be read to its end. The call may have been carried out.
    NoAnswer,
    /// AWS answered with an error.
    Refused {
        /// The HTTP status, where there was one.
        status: Option<u16>,
        /// AWS's error code. An answer to HEAD has none.
        code: Option<String>,
        /// Set when AWS denied the call.
        denied_by: Option<Denial>,
    },
    /// The answer makes no sense, or the request could not be built.
    Senseless,
}

/// What AWS answered to a call that failed, as far as it did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answer<'a> {
    /// `false`: no answer came that could be read to its end. The call may have been carried out.
    pub arrived: bool,
    /// The HTTP status.
    pub status: Option<u16>,
    pub code: Option<&'a str>,
    pub message: Option<&'a str>,
    pub request_id: Option<&'a str>,
}

/// Stands in JSON where AWS did not say what is there.
pub const UNREAD: &str = "could not be read";

/// Which kind of policy denied a call, from AWS's words. For people: nothing is decided by it.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Denial {
    ResourceControlPolicy,
    ServiceControlPolicy,
    /// A bucket's or a key's own policy.
    ResourcePolicy,
    PermissionsBoundary,
    SessionPolicy,
    VpcEndpointPolicy,
    /// The role's own policies.
    IdentityPolicy,
    /// AWS does not say: S3 answers like that across accounts, too.
    Unsaid,
}

/// Codes of a write that meets another one (S3's 409, CloudTrail's and DynamoDB's words for it), or that came too fast.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html>
const BUSY: [&str; 7] = [
    "OperationAborted",
    "ConflictException",
    "ThrottlingException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "TransactionConflictException",
    "TransactionInProgressException",
];

/// Codes of a write that AWS did not begin: it met another one, or came too fast.
const NOT_BEGUN: [&str; 8] = [
    "OperationAborted",
    "ConflictException",
    "ThrottlingException",
    "SlowDown",
    "TooManyRequestsException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "TransactionConflictException",
];

impl Denial {
    fn from_message(message: &str) -> Self {
        let kinds = [
            ("resource control policy", Self::ResourceControlPolicy),
            ("service control policy", Self::ServiceControlPolicy),
            ("resource-based policy", Self::ResourcePolicy),
            ("permissions boundary", Self::PermissionsBoundary),
            ("session policy", Self::SessionPolicy),
            ("VPC endpoint policy", Self::VpcEndpointPolicy),
            ("identity-based policy", Self::IdentityPolicy),
        ];
        kinds.into_iter().find(|(words, _)| message.contains(words)).map_or(Self::Unsaid, |(_, kind)| kind)
    }
}

impl ApiError {
    /// An answer that makes no sense, or a request that could not be built.
    pub fn new(operation: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { operation, why: Why::Senseless, text: chain(source.into().as_ref()) }
    }

    /// AWS's error code, where it gave one.
    pub fn code(&self) -> Option<&str> {
        match &self.why {
            Why::Refused { code, .. } => code.as_deref(),
            Why::NoAnswer | Why::Senseless => None,
        }
    }

    /// Which kind of policy denied the call, when that is why.
    pub fn denied_by(&self) -> Option<Denial> {
        match self.why {
            Why::Refused { denied_by, .. } => denied_by,
            Why::NoAnswer | Why::Senseless => None,
        }
    }

    /// Whether the same call may succeed a little later.
    pub fn is_passing(&self) -> bool {
        match &self.why {
            Why::NoAnswer => true,
            Why::Refused { status, code, .. } => {
                let busy = |status: u16| {
                    status >= 500 || status == 429 || code.as_deref().is_some_and(|it| BUSY.contains(&it))
                };
                status.is_some_and(busy)
            }
            Why::Senseless => false,
        }
    }

    /// Whether the bucket that the call was about does not exist.
    pub fn is_gone(&self) -> bool {
        self.code() == Some("NoSuchBucket")
    }

    /// Whether the call may have done what it was for all the same: AWS did not answer, or broke down.
    pub fn may_be_done(&self) -> bool {
        self.code().is_none_or(|code| self.is_passing() && !NOT_BEGUN.contains(&code))
    }

    /// The same failure, with what a person should know or do about it.
    pub fn explained(mut self, hint: &str) -> Self {
        self.text = format!("{}. {hint}", self.text);
        self
    }

    /// A call that AWS did not answer as it answers what succeeded. `error`: with all its causes.
    pub fn answered(operation: &'static str, answer: Answer<'_>, error: &(dyn Error + 'static)) -> Self {
        let Answer { arrived, status, code, message, request_id } = answer;
        let text = match (code, status) {
            (Some(code), Some(status)) => format!(
                "{code}: {} (HTTP {status}, request {})",
                message.unwrap_or("no message"),
                request_id.unwrap_or("unknown"),
            ),
            _ => chain(error),
        };
        let denied = code.is_some_and(|it| it == "AccessDenied" || it == "AccessDeniedException");
        let denied_by = denied.then(|| Denial::from_message(message.unwrap_or_default()));
        let why =
            if arrived { Why::Refused { status, code: code.map(str::to_owned), denied_by } } else { Why::NoAnswer };
        Self { operation, why, text }
    }
}

/// An error and all its causes, in one line.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some errors repeat their cause in their own message.
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

/// A setting that could not be read is unknown, which is not the same as compliant.
pub type Read<T> = Result<T, ApiError>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn awss_words_say_which_policy_denied() {
        let user = "User: arn:aws:sts::111122223333:assumed-role/r/s is not authorized to perform: s3:GetBucketPolicy on resource: \"arn:aws:s3:::acme-data\"";
        for (reason, denial) in [
            ("with an explicit deny in a resource-based policy", Denial::ResourcePolicy),
            ("with an explicit deny in a service control policy", Denial::ServiceControlPolicy),
            ("because no service control policy allows the s3:GetBucketPolicy action", Denial::ServiceControlPolicy),
            ("with an explicit deny in a resource control policy", Denial::ResourceControlPolicy),
            ("with an explicit deny in a VPC endpoint policy", Denial::VpcEndpointPolicy),
            ("because no permissions boundary allows the s3:GetBucketPolicy action", Denial::PermissionsBoundary),
            ("because no identity-based policy allows the s3:GetBucketPolicy action", Denial::IdentityPolicy),
            ("", Denial::Unsaid),
        ] {
            assert_eq!(Denial::from_message(&format!("{user} {reason}")), denial);
        }
    }

    fn refused(status: Option<u16>, code: Option<&str>) -> ApiError {
        ApiError::answered("Put", Answer { arrived: true, status, code, ..Answer::default() }, &std::fmt::Error)
    }

    #[test]
    fn what_passes_may_be_tried_again_and_what_was_not_begun_is_not_done() {
        let unanswered = ApiError::answered("Put", Answer::default(), &std::fmt::Error);
        for (error, passes, may_be_done) in [
            (refused(Some(500), Some("InternalError")), true, true),
            (refused(Some(503), Some("SlowDown")), true, false),
            (refused(Some(429), Some("TooManyRequestsException")), true, false),
            (refused(Some(409), Some("OperationAborted")), true, false),
            (refused(Some(400), Some("ThrottlingException")), true, false),
            (refused(Some(400), Some("ProvisionedThroughputExceededException")), true, false),
            (refused(Some(400), Some("RequestLimitExceeded")), true, false),
            (refused(Some(400), Some("TransactionConflictException")), true, false),
            (refused(Some(400), Some("TransactionInProgressException")), true, true),
            (refused(Some(400), Some("ConditionalCheckFailedException")), false, false),
            (refused(Some(400), Some("ResourceNotFoundException")), false, false),
            (refused(Some(499), Some("Odd")), false, false),
            (refused(Some(403), Some("AccessDenied")), false, false),
            (refused(None, Some("ThrottlingException")), false, false),
            (refused(Some(502), None), true, true),
            (unanswered, true, true),
            (ApiError::new("Put", "senseless"), false, true),
        ] {
            assert_eq!((error.is_passing(), error.may_be_done()), (passes, may_be_done), "{error:?}");
        }
    }

    #[test]
    fn only_a_bucket_that_is_not_there_is_gone() {
        assert!(refused(Some(404), Some("NoSuchBucket")).is_gone());
        assert!(!refused(Some(404), Some("NoSuchBucketPolicy")).is_gone() && !refused(Some(404), None).is_gone());
    }

    #[test]
    fn an_error_says_what_aws_said_or_what_lay_beneath() {
        #[derive(Debug, thiserror::Error)]
        #[error("{text}")]
        struct Layer {
            text: &'static str,
            source: Option<Box<Layer>>,
        }
        let layer = |text, source| Layer { text, source };
        let said = Answer {
            arrived: true,
            status: Some(403),
            code: Some("AccessDenied"),
            message: Some("no, by a session policy"),
            request_id: Some("4442587FB7D0A2F9"),
        };
        let error =
            layer("dispatch failure", Some(Box::new(layer("io error: reset", Some(Box::new(layer("reset", None)))))));
        let text = |answer| ApiError::answered("Put", answer, &error).to_string();
        assert_eq!(text(said), "Put: AccessDenied: no, by a session policy (HTTP 403, request 4442587FB7D0A2F9)");
        let less = Answer { message: None, request_id: None, ..said };
        assert_eq!(text(less), "Put: AccessDenied: no message (HTTP 403, request unknown)");
        assert_eq!(text(Answer { code: None, ..said }), "Put: dispatch failure: io error: reset");
        let hinted = ApiError::answered("Put", less, &error).explained("Try so.");
        assert_eq!(hinted.to_string(), "Put: AccessDenied: no message (HTTP 403, request unknown). Try so.");
        let denied = |code| ApiError::answered("Put", Answer { code: Some(code), ..said }, &error).denied_by();
        assert_eq!(denied("AccessDenied"), Some(Denial::SessionPolicy));
        assert_eq!(denied("AccessDeniedException"), Some(Denial::SessionPolicy));
        assert_eq!(denied("InvalidRequest"), None);
    }
}
