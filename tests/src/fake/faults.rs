//! How a call goes wrong, and what happens beside it.

use aws_smithy_runtime_api::client::orchestrator::HttpRequest;

use crate::{
    fake::{
        wire::Call,
        world::{BUCKET, State},
    },
    s3_rules,
};

pub(super) type Hook = Box<dyn FnOnce(&mut State) + Send>;

pub(super) struct Fault {
    pub(super) operation: String,
    pub(super) times: usize,
    pub(super) kind: FaultKind,
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

impl State {
    /// See [`FakeAws::fail`].
    pub fn fail(&mut self, operation: &str, times: usize, kind: FaultKind) {
        self.faults.push(Fault { operation: operation.to_owned(), times, kind });
    }

    /// Forgets every fault that is still to come.
    pub fn heal(&mut self) {
        self.faults.clear();
        self.hooks.clear();
        self.lag = None;
    }

    /// Whether the bucket's policy denies a call.
    pub(super) fn is_denied(&self, request: &HttpRequest, call: &Call) -> bool {
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
}
