//! What AWS calls a control's parts.
//!
//! CloudTrail, the S3 API and IAM name the same call differently. Each control's row holds all three; the event patterns,
//! the IAM policies and the code are tested against it.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/cloudtrail-logging-s3-info.html>

/// What AWS calls a control's parts, in its three vocabularies.
#[derive(Clone, Copy, Debug)]
pub struct Vocabulary {
    /// The control's id.
    pub id: &'static str,
    /// CloudTrail event names of the calls that can make it drift.
    pub events: &'static [&'static str],
    /// API calls that read it.
    pub reads: &'static [&'static str],
    /// API calls that restore it.
    pub writes: &'static [&'static str],
    /// IAM actions that `reads` need.
    pub iam_reads: &'static [&'static str],
    /// IAM actions that `writes` need.
    pub iam_writes: &'static [&'static str],
}
