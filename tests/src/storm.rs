//! A thousand calls about one bucket while another is opened, through queue and function, in virtual time.

use std::{collections::VecDeque, time::Duration};

use guardrail_core::control::table::Control;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::fake::{ACCOUNT, BUCKET, FakeAws, KEY, remediate};

/// How many calls there are about the one bucket; each of them breaks it.
pub const CALLS: usize = 1_000;

/// How many batches of the queue of events run at once, as they are deployed.
const AT_ONCE: usize = 4;

/// What a call to AWS takes.
const LATENCY: Duration = Duration::from_millis(60);

const OTHER: &str = "acme-other";

/// What became of a storm.
#[derive(Debug)]
pub struct Storm {
    /// From its beginning to the restore of the other bucket, whose event is the last of all.
    pub other_restored_after: Duration,
    pub writes: usize,
    pub alerts: usize,
}

/// Runs the storm; time has to be paused.
pub async fn storm() -> Storm {
    let fake = FakeAws::compliant().await;
    fake.state().ledger = Some([].into());
    let document = json!({"bucket": OTHER, "account": ACCOUNT, "key_arn": KEY});
    fake.state().parameters.insert(format!("/s3-guardrail/buckets/{OTHER}"), document.to_string());
    fake.state().others.insert(OTHER.to_owned(), Default::default());
    fake.state().latency = LATENCY;
    let mut queue: VecDeque<Value> = (0..CALLS).map(|n| event(BUCKET, "PutBucketVersioning", n)).collect();
    queue.push_back(event(OTHER, "DeleteBucketPublicAccessBlock", CALLS));
    let queue = std::sync::Mutex::new(queue);
    let begin = Instant::now();
    let work = (0..AT_ONCE).map(|_| async {
        let guardrail = fake.guardrail_in_virtual_time();
        loop {
            let batch: Vec<Value> = {
                let mut queue = queue.lock().expect("nobody panics with it");
                let some = queue.len().min(10);
                queue.drain(..some).collect()
            };
            if batch.is_empty() {
                return;
            }
            // The calls go on meanwhile.
            let mut world = fake.state().world();
            crate::control::drift(&mut world, Control::Versioning);
            fake.state().set_world(world);
            let answer = remediate(&guardrail, json!({ "Records": batch })).await;
            let failed = answer.map(|it| it["batchItemFailures"].clone()).unwrap_or_default();
            let comes_back = |it: &&Value| {
                failed.as_array().into_iter().flatten().any(|failed| failed["itemIdentifier"] == it["messageId"])
            };
            let back: Vec<_> = batch.iter().filter(comes_back).cloned().collect();
            // What comes back is behind all others.
            sleep(Duration::from_millis(1)).await;
            queue.lock().expect("nobody panics with it").extend(back);
            let is_restored = fake.state().others.get(OTHER).is_some_and(|it| it.0.contains_key("publicAccessBlock"));
            if is_restored {
                return;
            }
        }
    });
    futures_util::future::join_all(work).await;
    Storm { other_restored_after: begin.elapsed(), writes: fake.writes().len(), alerts: fake.alerts().len() }
}

fn event(bucket: &str, name: &str, n: usize) -> Value {
    let body = json!({"detail": {
        "eventName": name, "eventID": n.to_string(), "requestParameters": {"bucketName": bucket},
        "eventTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "userIdentity": {"type": "IAMUser", "arn": format!("arn:aws:iam::{ACCOUNT}:user/mallory")},
    }});
    let first = jiff::Timestamp::now().as_millisecond().to_string();
    json!({
        "messageId": format!("m{n}"), "receiptHandle": format!("r{n}"), "body": body.to_string(),
        "eventSourceARN": "arn:aws:sqs:eu-west-2:111122223333:s3-guardrail-events",
        "attributes": {"ApproximateReceiveCount": "1", "ApproximateFirstReceiveTimestamp": first},
    })
}
