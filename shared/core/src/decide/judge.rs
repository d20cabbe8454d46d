//! Whether an answer proves what it should. Pure.
//!
//! A refusal proves a rule only when that rule is what refused: with AWS's own words for it, or, when AWS gives no
//! reason, because the same request is let through once it keeps the rule.

use serde::Serialize;

/// What a proof came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProofOutcome {
    Proven,
    Disproven,
    /// The answer says neither.
    Inconclusive,
    /// Not tried.
    Skipped,
}

/// What AWS said to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Accepted,
    Refused {
        code: String,
        message: String,
    },
    /// No answer at all, or one that makes no sense.
    Unanswered(String),
}

/// What must refuse a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refuser {
    /// A Deny statement of the bucket's policy.
    BucketPolicy,
    /// ACLs are off, or public ones are blocked.
    AclRules,
    /// Public policies are blocked.
    BlockPublicPolicy,
    /// Nobody allowed it.
    NoPermission,
}

/// An outcome, and why it is not `proven`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: ProofOutcome,
    pub reason: Option<String>,
}

/// Whose words an AccessDenied carries.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/troubleshoot-403-errors.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    ResourcePolicy,
    BlockPublicAccess,
    /// The caller's own policies, a boundary, the organization.
    Caller,
    NotSaid,
}

impl Answer {
    /// In one line, for people.
    pub fn text(&self) -> String {
        match self {
            Self::Accepted => "accepted".to_owned(),
            Self::Refused { code, message } if message.is_empty() => format!("refused: {code}"),
            Self::Refused { code, message } => format!("refused: {code}: {message}"),
            Self::Unanswered(error) => format!("no answer: {error}"),
        }
    }
}

impl Verdict {
    /// As it should be.
    pub fn proven() -> Self {
        Self { outcome: ProofOutcome::Proven, reason: None }
    }

    /// Not as it should be.
    pub fn disproven(reason: impl Into<String>) -> Self {
        Self { outcome: ProofOutcome::Disproven, reason: Some(reason.into()) }
    }

    /// It cannot be told.
    pub fn inconclusive(reason: impl Into<String>) -> Self {
        Self { outcome: ProofOutcome::Inconclusive, reason: Some(reason.into()) }
    }

    /// It was not tried.
    pub fn skipped(reason: impl Into<String>) -> Self {
        Self { outcome: ProofOutcome::Skipped, reason: Some(reason.into()) }
    }
}

/// Judges a request that `by` must refuse. `control`: the same request without its fault was accepted in the same run.
pub fn refusal(by: Refuser, control: bool, answer: &Answer) -> Verdict {
    let (code, message) = match answer {
        Answer::Accepted => return Verdict::disproven("it was accepted"),
        Answer::Unanswered(_) => return Verdict::inconclusive("AWS did not answer"),
        Answer::Refused { code, message } => (code.as_str(), message.as_str()),
    };
    if by == Refuser::BucketPolicy && code.starts_with("KMS.") {
        return Verdict::disproven("the bucket's policy let it through: it was KMS that refused");
    }
    if !control {
        return Verdict::inconclusive("the control failed: without its fault the request was not accepted, either");
    }
    if by == Refuser::AclRules && code == "AccessControlListNotSupported" {
        return Verdict::proven();
    }
    if code != "AccessDenied" {
        return Verdict::inconclusive(format!("{code} is not the refusal that the rule gives"));
    }
    match (by, cause(message)) {
        (Refuser::BucketPolicy, Cause::ResourcePolicy)
        | (Refuser::AclRules | Refuser::BlockPublicPolicy, Cause::BlockPublicAccess)
        | (Refuser::NoPermission, _)
        | (_, Cause::NotSaid) => Verdict::proven(),
        (_, Cause::ResourcePolicy) => Verdict::inconclusive("the bucket's policy refused it, not the rule in question"),
        (_, Cause::BlockPublicAccess) => {
            Verdict::inconclusive("the public access block refused it, not the rule in question")
        }
        (_, Cause::Caller) => {
            Verdict::inconclusive("the caller's own permissions refused it, not the rule in question")
        }
    }
}

/// Whether AWS gave no reason for its refusal. Then the same request without its fault has to show that the caller may
/// make it.
pub fn is_unexplained(answer: &Answer) -> bool {
    matches!(answer, Answer::Refused { code, message } if code == "AccessDenied" && cause(message) == Cause::NotSaid)
}

/// Whether the caller may put ACLs. Where they are off, AWS says so after it has looked at that.
pub fn may_put_acls(control: &Answer) -> bool {
    match control {
        Answer::Accepted => true,
        Answer::Refused { code, .. } => code == "AccessControlListNotSupported",
        Answer::Unanswered(_) => false,
    }
}

/// Judges a request that must be accepted.
pub fn acceptance(answer: &Answer) -> Verdict {
    match answer {
        Answer::Accepted => Verdict::proven(),
        Answer::Refused { code, message } if code == "AccessDenied" && cause(message) == Cause::Caller => {
            Verdict::inconclusive("the caller's own permissions refused it")
        }
        Answer::Refused { code, .. } if code == "AccessDenied" || code.starts_with("KMS.") => {
            Verdict::disproven("it was refused")
        }
        Answer::Refused { code, .. } => Verdict::inconclusive(format!("{code} is no refusal of a baseline's")),
        Answer::Unanswered(_) => Verdict::inconclusive("AWS did not answer"),
    }
}

/// How S3 says it keeps an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    pub algorithm: Option<String>,
    pub key: Option<String>,
    pub bucket_key: bool,
}

impl Stored {
    /// In one line, for people.
    pub fn text(&self) -> String {
        let Self { algorithm, key, bucket_key } = self;
        let said = |it: &Option<String>| it.clone().unwrap_or_else(|| "none".to_owned());
        format!(
            "encryption {}, key {}, bucket key {}",
            said(algorithm),
            said(key),
            if *bucket_key { "on" } else { "off" }
        )
    }
}

/// Judges how an accepted upload is kept: with exactly `key`, and the bucket key on.
pub fn stored(key: &str, stored: &Stored) -> Verdict {
    if stored.algorithm.as_deref() != Some("aws:kms") || stored.key.as_deref() != Some(key) {
        return Verdict::disproven("the object is not encrypted with the registered key");
    }
    if !stored.bucket_key {
        return Verdict::disproven("the object does not use the bucket key");
    }
    Verdict::proven()
}

/// What all proofs together come to. Nothing proven is not proven.
pub fn overall(outcomes: impl IntoIterator<Item = ProofOutcome>) -> ProofOutcome {
    let outcomes: Vec<_> = outcomes.into_iter().collect();
    [ProofOutcome::Disproven, ProofOutcome::Inconclusive, ProofOutcome::Proven]
        .into_iter()
        .find(|it| outcomes.contains(it))
        .unwrap_or(ProofOutcome::Inconclusive)
}

fn cause(message: &str) -> Cause {
    if message.contains("in a resource-based policy") {
        Cause::ResourcePolicy
    } else if message.contains("Block Public Access") || message.contains("BlockPublic") {
        Cause::BlockPublicAccess
    } else if message.contains("explicit deny") || message.contains("because no") {
        Cause::Caller
    } else {
        Cause::NotSaid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str, message: &str) -> Answer {
        Answer::Refused { code: code.to_owned(), message: message.to_owned() }
    }

    const USER: &str = "User: arn:aws:sts::111122223333:assumed-role/r/s is not authorized to perform: s3:PutObject on resource: \"arn:aws:s3:::acme-data/x\"";

    #[test]
    fn a_refusal_counts_only_from_whom_it_must_come() {
        let by_policy = format!("{USER} with an explicit deny in a resource-based policy");
        let by_identity = format!("{USER} with an explicit deny in an identity-based policy");
        let by_organization = format!("{USER} with an explicit deny in a service control policy");
        let unallowed = format!("{USER} because no identity-based policy allows the s3:PutObject action");
        let by_block = format!(
            "{USER} because public policies are prevented by the BlockPublicPolicy setting in S3 Block Public Access"
        );
        let denied = |message: &str| refused("AccessDenied", message);
        use ProofOutcome::{Disproven, Inconclusive, Proven};
        use Refuser::{AclRules, BlockPublicPolicy, BucketPolicy, NoPermission};
        for (by, control, answer, outcome) in [
            (BucketPolicy, true, denied(&by_policy), Proven),
            (BucketPolicy, true, denied("Access Denied"), Proven),
            (BucketPolicy, true, denied(&by_identity), Inconclusive),
            (BucketPolicy, true, denied(&by_organization), Inconclusive),
            (BucketPolicy, true, denied(&unallowed), Inconclusive),
            (BucketPolicy, true, denied(&by_block), Inconclusive),
            (BucketPolicy, false, denied(&by_policy), Inconclusive),
            (BucketPolicy, false, denied("Access Denied"), Inconclusive),
            (BucketPolicy, true, Answer::Accepted, Disproven),
            (BucketPolicy, false, Answer::Accepted, Disproven),
            (BucketPolicy, true, refused("KMS.NotFoundException", ""), Disproven),
            (BucketPolicy, true, refused("SlowDown", ""), Inconclusive),
            (BucketPolicy, true, refused("NoSuchBucket", ""), Inconclusive),
            (BucketPolicy, true, Answer::Unanswered("timeout".to_owned()), Inconclusive),
            (AclRules, true, refused("AccessControlListNotSupported", ""), Proven),
            (AclRules, false, refused("AccessControlListNotSupported", ""), Inconclusive),
            (AclRules, true, denied(&by_block), Proven),
            (AclRules, true, denied(&by_policy), Inconclusive),
            (AclRules, true, Answer::Accepted, Disproven),
            (BlockPublicPolicy, true, denied(&by_block), Proven),
            (BlockPublicPolicy, true, denied(&unallowed), Inconclusive),
            (BlockPublicPolicy, true, refused("AccessControlListNotSupported", ""), Inconclusive),
            (BlockPublicPolicy, true, refused("MalformedPolicy", ""), Inconclusive),
            (NoPermission, true, denied(&unallowed), Proven),
            (NoPermission, false, denied("Access Denied"), Inconclusive),
            (NoPermission, true, Answer::Accepted, Disproven),
        ] {
            assert_eq!(refusal(by, control, &answer).outcome, outcome, "{by:?} {control} {answer:?}");
        }
    }

    #[test]
    fn only_a_refusal_without_a_reason_needs_more_to_tell_who_refused() {
        let by_policy = format!("{USER} with an explicit deny in a resource-based policy");
        for (answer, unexplained) in [
            (refused("AccessDenied", "Access Denied"), true),
            (refused("AccessDenied", &by_policy), false),
            (refused("AccessControlListNotSupported", ""), false),
            (Answer::Accepted, false),
        ] {
            assert_eq!(is_unexplained(&answer), unexplained, "{answer:?}");
        }
        for (control, may) in [
            (Answer::Accepted, true),
            (refused("AccessControlListNotSupported", ""), true),
            (refused("AccessDenied", ""), false),
            (Answer::Unanswered("timeout".to_owned()), false),
        ] {
            assert_eq!(may_put_acls(&control), may, "{control:?}");
        }
    }

    #[test]
    fn an_upload_that_must_be_accepted_is_disproven_by_the_bucket_and_the_key_alone() {
        use ProofOutcome::{Disproven, Inconclusive, Proven};
        for (answer, outcome) in [
            (Answer::Accepted, Proven),
            (refused("AccessDenied", &format!("{USER} with an explicit deny in a resource-based policy")), Disproven),
            (refused("AccessDenied", "Access Denied"), Disproven),
            (refused("KMS.DisabledException", "the key is disabled"), Disproven),
            (refused("AccessDenied", &format!("{USER} because no identity-based policy allows it")), Inconclusive),
            (refused("RequestTimeout", ""), Inconclusive),
            (refused("ExpiredToken", ""), Inconclusive),
            (Answer::Unanswered("timeout".to_owned()), Inconclusive),
        ] {
            assert_eq!(acceptance(&answer).outcome, outcome, "{answer:?}");
        }
    }

    #[test]
    fn what_is_stored_must_name_the_key_and_use_the_bucket_key() {
        let right = Stored { algorithm: Some("aws:kms".to_owned()), key: Some("arn:k".to_owned()), bucket_key: true };
        assert_eq!(stored("arn:k", &right), Verdict::proven());
        for wrong in [
            Stored::default(),
            Stored { algorithm: Some("AES256".to_owned()), ..right.clone() },
            Stored { key: Some("arn:other".to_owned()), ..right.clone() },
            Stored { key: None, ..right.clone() },
            Stored { bucket_key: false, ..right.clone() },
        ] {
            assert_eq!(stored("arn:k", &wrong).outcome, ProofOutcome::Disproven, "{wrong:?}");
        }
    }

    #[test]
    fn the_worst_proof_decides() {
        use ProofOutcome::{Disproven, Inconclusive, Proven, Skipped};
        for (outcomes, whole) in [
            (vec![Proven, Skipped], Proven),
            (vec![Proven, Inconclusive, Skipped], Inconclusive),
            (vec![Inconclusive, Disproven, Proven], Disproven),
            (vec![Skipped], Inconclusive),
            (vec![], Inconclusive),
        ] {
            assert_eq!(overall(outcomes.clone()), whole, "{outcomes:?}");
        }
    }

    #[test]
    fn an_answer_is_one_line_for_people() {
        assert_eq!(Answer::Accepted.text(), "accepted");
        assert_eq!(refused("AccessDenied", "").text(), "refused: AccessDenied");
        assert_eq!(refused("AccessDenied", "no").text(), "refused: AccessDenied: no");
        assert_eq!(Answer::Unanswered("timeout".to_owned()).text(), "no answer: timeout");
        assert_eq!(Stored::default().text(), "encryption none, key none, bucket key off");
        let right = Stored { algorithm: Some("aws:kms".to_owned()), key: Some("arn:k".to_owned()), bucket_key: true };
        assert_eq!(right.text(), "encryption aws:kms, key arn:k, bucket key on");
    }

    #[test]
    fn each_wording_of_a_refusal_has_its_cause() {
        for (message, expected) in [
            ("with an explicit deny in a resource-based policy", Cause::ResourcePolicy),
            ("by S3 Block Public Access", Cause::BlockPublicAccess),
            ("by the BlockPublicAcls setting", Cause::BlockPublicAccess),
            ("with an explicit deny in a permissions boundary", Cause::Caller),
            ("because no session policy allows it", Cause::Caller),
            ("Access Denied", Cause::NotSaid),
        ] {
            assert_eq!(cause(message), expected, "{message}");
        }
    }

    #[test]
    fn what_is_not_proven_says_why() {
        let why = |verdict: Verdict| verdict.reason.unwrap_or_default();
        assert_eq!(why(Verdict::proven()), "");
        assert_eq!(
            Verdict::skipped("no rule"),
            Verdict { outcome: ProofOutcome::Skipped, reason: Some("no rule".to_owned()) }
        );
        let slow = refusal(Refuser::BucketPolicy, true, &refused("SlowDown", ""));
        assert_eq!(why(slow), "SlowDown is not the refusal that the rule gives");
        let kms = refusal(Refuser::NoPermission, true, &refused("KMS.NotFoundException", ""));
        assert_eq!(kms.outcome, ProofOutcome::Inconclusive, "only the bucket's policy has KMS behind it");
    }
}
