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
    /// The calls that read it and those that restore it.
    pub calls: &'static [ApiCall],
}

/// A call of AWS's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiCall {
    /// The API's name for it.
    pub api: &'static str,
    /// The IAM action that it needs.
    pub iam: &'static str,
    pub kind: CallKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    Read,
    Write,
}

impl ApiCall {
    pub(super) const fn read(api: &'static str, iam: &'static str) -> Self {
        Self { api, iam, kind: CallKind::Read }
    }

    pub(super) const fn write(api: &'static str, iam: &'static str) -> Self {
        Self { api, iam, kind: CallKind::Write }
    }
}

impl Vocabulary {
    /// The calls that read the control.
    pub fn reads(self) -> impl Iterator<Item = &'static ApiCall> {
        self.calls.iter().filter(|it| it.kind == CallKind::Read)
    }

    /// The calls that restore the control.
    pub fn writes(self) -> impl Iterator<Item = &'static ApiCall> {
        self.calls.iter().filter(|it| it.kind == CallKind::Write)
    }
}
