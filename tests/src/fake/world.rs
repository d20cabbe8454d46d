//! What the fake AWS holds: buckets, keys, trails, parameters, and what was asked of it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use guardrail_core::edge::config::Place;
use serde_json::{Value, json};

use crate::models::Exchange;

/// The account that everything is in.
pub const ACCOUNT: &str = "111122223333";

/// The guarded bucket.
pub const BUCKET: &str = "acme-data";

/// The guarded bucket's key.
pub const KEY: &str = "arn:aws:kms:eu-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// The alias that a bootstrap gives its key.
pub const ALIAS: &str = "alias/s3-secure-data";

/// The guardrail's own key.
pub const OWN_KEY: &str = "arn:aws:kms:eu-west-2:111122223333:key/0987dcba-0fed-0000-0000-0a0b0c0d0e0f";

/// A key that a bucket had before.
pub const FORMER_KEY: &str = "arn:aws:kms:eu-west-2:111122223333:key/4321dcba-0000-4000-8000-0f0e0d0c0b0a";

/// The guardrail's own role.
pub const ROLE: &str = "arn:aws:iam::111122223333:role/s3-guardrail-remediate-eu-west-2";

/// Where it is.
pub const PLACE: Place<'_> = Place { partition: "aws", account: ACCOUNT, region: "eu-west-2" };

/// A trail; no bucket has it unless it is registered.
pub const TRAIL: &str = "arn:aws:cloudtrail:eu-west-2:111122223333:trail/acme-trail";

/// The ledger's table.
pub const LEDGER: &str = "s3-guardrail-ledger";

/// The topic that people listen to.
pub const TOPIC: &str = "arn:aws:sns:eu-west-2:111122223333:alerts";

/// Where the functions tell what is broken when they are told of it.
pub const SECOND_TOPIC: &str = "arn:aws:sns:eu-west-2:111122223333:s3-guardrail-broken";

/// What the fake knows and remembers.
#[derive(Default)]
pub struct State {
    /// The documents of the bucket by sub-resource; `None`: there is no bucket.
    pub bucket: Option<BTreeMap<String, String>>,
    /// Lifecycle's setting that travels in a header.
    pub transition_size: Option<String>,
    /// The other buckets: their documents, and that setting.
    pub others: BTreeMap<String, (BTreeMap<String, String>, Option<String>)>,
    /// Earlier values of a parameter and the present one.
    pub parameter_history: BTreeMap<String, Vec<String>>,
    /// SSM parameters.
    pub parameters: BTreeMap<String, String>,
    /// The ledger's items by subject, in DynamoDB's form; `None`: the functions are told of no table.
    pub ledger: Option<BTreeMap<String, Value>>,
    /// How many of the next BatchGetItem calls leave a key unprocessed.
    pub leaves_unprocessed: usize,
    /// The key; `None`: it does not exist.
    pub key: Option<FakeKey>,
    /// Other keys of the account, whose policies do not let us in.
    pub closed_keys: BTreeSet<String>,
    /// The guardrail's own key; `None`: the functions are told of none.
    pub own_key: Option<FakeKey>,
    /// A key that the guarded bucket had before.
    pub former_key: Option<FakeKey>,
    /// Other keys of this account, by ARN. No alias points at them.
    pub other_keys: BTreeMap<String, FakeKey>,
    /// The trail, as GetTrail, GetTrailStatus and GetEventSelectors show it; `None`: there is none.
    pub trail: Option<Value>,
    /// Other trails of this account, and those of others that DescribeTrails shows here, in the same form.
    pub other_trails: Vec<Value>,
    /// EventBridge rules: as DescribeRule shows them, with their targets.
    pub rules: BTreeMap<String, (Value, Vec<Value>)>,
    /// Statements of the functions' policies, beside those for the rules.
    pub permissions: Vec<Value>,
    /// The queues' event source mappings, if they are not as they are deployed.
    pub mappings: Option<Vec<Value>>,
    /// The queues' policies, if they are not as they are deployed.
    pub queue_policy: Option<Value>,
    /// What the stack of the rules has: rule and status; `None`: every rule, complete.
    pub stack: Option<BTreeMap<String, String>>,
    /// Whom the zero-spend budget mails; `None`: there is no budget.
    pub mailed: Option<Vec<Value>>,
    /// Whether the whole account blocks public access.
    pub account_blocks: bool,
    /// Access points of the account, and whose bucket each leads to.
    pub access_points: BTreeMap<String, String>,
    /// Messages that SQS took.
    pub queued: Vec<String>,
    /// Objects that S3 took, by `BUCKET/KEY`. Each has one version.
    pub objects: BTreeMap<String, String>,
    /// Earlier versions and delete markers, as S3 lists them: by key, the newest first.
    pub versions: Vec<FakeVersion>,
    /// Object Lock of the guarded bucket, as GetObjectLockConfiguration shows it; `None`: it has none.
    pub object_lock: Option<String>,
    /// Whether S3 lists buckets in pages only, as for an account that may have more than 10,000.
    pub lists_in_pages_only: bool,
    /// Unfinished uploads, by `BUCKET/KEY`.
    pub uploads: BTreeSet<String>,
    /// Messages that were given back to their queue, by receipt handle, each with after how many seconds they come again.
    pub returned: Vec<(String, i64)>,
    /// What waits in the queue of dead letters, and whether it was received and is hidden.
    pub dead_letters: BTreeMap<String, bool>,
    /// What their sender added to them, by body: names and texts.
    pub letter_attributes: BTreeMap<String, Value>,
    /// What functions were invoked with.
    pub invoked: Vec<String>,
    /// Whether functions that are invoked fail.
    pub functions_fail: bool,
    /// Operations in the order in which they came.
    pub calls: Vec<String>,
    /// Where each call went.
    pub uris: Vec<String>,
    /// The user agent of each call; CloudTrail keeps it.
    pub user_agents: Vec<String>,
    /// Whether the functions are told of a second topic.
    pub has_second_topic: bool,
    /// Topics that take nothing.
    pub refusing_topics: BTreeSet<String>,
    /// Messages that SNS took, as form fields.
    pub published: Vec<HashMap<String, String>>,
    /// Each request with its answer, when they are kept.
    pub exchanges: Option<Vec<Exchange>>,
    /// What CloudTrail recorded of S3's calls, as LookupEvents shows it; `None`: it records nothing.
    pub records: Option<Vec<Value>>,
    /// Whether a bucket's policy is in force, as far as the guardrail's own statements go.
    pub enforces: bool,
    /// How long the SDK waits for one answer, a hundred times as long as it does; `None`: for ever.
    pub attempt_timeout: Option<Duration>,
    /// How long every call takes.
    pub latency: Duration,
    pub(super) faults: Vec<Fault>,
    pub(super) hooks: Vec<(String, Hook)>,
    pub(super) lag: Option<Lag>,
}

/// A version of an object, or a delete marker.
#[derive(Clone, Debug)]
pub struct FakeVersion {
    /// `BUCKET/KEY`.
    pub place: String,
    pub latest: bool,
    /// When it was written, in RFC 3339.
    pub modified: String,
    /// `None`: a delete marker.
    pub size: Option<u64>,
}

/// What AWS consists of, without what was called.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    pub bucket: Option<BTreeMap<String, String>>,
    pub transition_size: Option<String>,
    pub others: BTreeMap<String, (BTreeMap<String, String>, Option<String>)>,
    pub parameters: BTreeMap<String, String>,
    pub key: Option<FakeKey>,
    pub trail: Option<Value>,
    pub other_trails: Vec<Value>,
    pub rules: BTreeMap<String, (Value, Vec<Value>)>,
    pub mailed: Option<Vec<Value>>,
}

/// Reads that still answer as if a write had not been.
pub(super) struct Lag {
    pub(super) before: World,
    /// The only operation that lags; `None`: all reads do.
    pub(super) only: Option<String>,
    /// How often each operation has lagged already.
    pub(super) done: HashMap<String, usize>,
    pub(super) times: usize,
}

/// A KMS key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeKey {
    pub state: String,
    /// What it is for: `ENCRYPT_DECRYPT`, `SIGN_VERIFY`, ...
    pub usage: String,
    pub spec: String,
    /// Where its material is from: `AWS_KMS`, `EXTERNAL`, `AWS_CLOUDHSM` or `EXTERNAL_KEY_STORE`.
    pub origin: String,
    /// Outlives a deletion that is cancelled.
    pub rotation: bool,
    pub policy: String,
    /// As ListResourceTags shows them.
    pub tags: Value,
    /// Where aliases point.
    pub aliases: BTreeMap<String, String>,
}

impl World {
    /// Puts a document of the bucket's; `None` deletes it.
    pub fn set(&mut self, subresource: &str, document: Option<String>) {
        let bucket = self.bucket.get_or_insert_default();
        match document {
            Some(document) => drop(bucket.insert(subresource.to_owned(), document)),
            None => drop(bucket.remove(subresource)),
        }
    }
}

impl FakeKey {
    /// Enabled, rotating, with what the services need in its policy.
    pub fn good() -> Self {
        let policy = json!({"Version": "2012-10-17", "Statement": [
            {"Sid": "Administrators", "Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")}, "Action": "kms:*", "Resource": "*"},
            {"Sid": "GuardrailInventory", "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "kms:GenerateDataKey", "Resource": "*",
             "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}, "ArnLike": {"aws:SourceArn": "arn:aws:s3:::*"}}},
        ]});
        let (tags, aliases) = (json!([]), BTreeMap::new());
        Self {
            state: "Enabled".to_owned(),
            usage: "ENCRYPT_DECRYPT".to_owned(),
            spec: "SYMMETRIC_DEFAULT".to_owned(),
            origin: "AWS_KMS".to_owned(),
            rotation: true,
            policy: policy.to_string(),
            tags,
            aliases,
        }
    }

    pub(super) fn is_pending_deletion(&self) -> bool {
        self.state == "PendingDeletion" || self.state == "PendingReplicaDeletion"
    }

    /// Only symmetric keys whose material KMS made rotate by themselves.
    /// <https://docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html>
    pub(super) fn can_rotate(&self) -> bool {
        self.origin == "AWS_KMS" && self.spec == "SYMMETRIC_DEFAULT"
    }
}

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

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("bucket", &self.bucket).field("calls", &self.calls).finish_non_exhaustive()
    }
}

/// A parameter's document; of a copy of a registry document, without when it was made, and without when a sweep came.
pub(super) fn timeless(name: &str, document: &str) -> String {
    if name == guardrail_core::value::own_parts::SWEPT {
        return "2026-11-23T09:00:00Z".to_owned();
    }
    match serde_json::from_str::<Value>(document) {
        Ok(mut copy) if name.starts_with(guardrail_core::edge::registry::COPIES) => {
            copy["since"] = json!("2026-11-23T09:00:00Z");
            copy.to_string()
        }
        _ => document.to_owned(),
    }
}

impl State {
    /// Puts a document; `None` deletes it.
    pub fn set(&mut self, subresource: &str, document: Option<&str>) {
        let bucket = self.bucket.get_or_insert_default();
        match document {
            Some(document) => drop(bucket.insert(subresource.to_owned(), document.to_owned())),
            None => drop(bucket.remove(subresource)),
        }
    }

    /// Everything but what was called.
    pub fn world(&self) -> World {
        World {
            bucket: self.bucket.clone(),
            transition_size: self.transition_size.clone(),
            others: self.others.clone(),
            parameters: self.parameters.iter().map(|(name, it)| (name.clone(), timeless(name, it))).collect(),
            key: self.key.clone(),
            trail: self.trail.clone(),
            other_trails: self.other_trails.clone(),
            rules: self.rules.clone(),
            mailed: self.mailed.clone(),
        }
    }

    /// Puts everything as it was.
    pub fn set_world(&mut self, world: World) {
        let World { bucket, transition_size, others, parameters, key, trail, other_trails, rules, mailed } = world;
        self.bucket = bucket;
        self.transition_size = transition_size;
        self.others = others;
        self.mailed = mailed;
        self.parameters = parameters;
        self.key = key;
        self.trail = trail;
        self.other_trails = other_trails;
        self.rules = rules;
    }
}
