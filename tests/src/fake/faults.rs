//! How a call goes wrong, and what happens beside it.

use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};

use crate::{
    fake::{
        wire::Call,
        world::{BUCKET, Fault, FaultKind, State},
    },
    s3_rules,
};

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

    /// A read may answer from before the last write.
    pub(super) fn serve_lagging(&mut self, request: &HttpRequest, call: &Call) -> HttpResponse {
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
}
