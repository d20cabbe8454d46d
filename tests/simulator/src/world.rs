//! S3 as it is: each setting with its versions, and who wrote them. A read may show an older one.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use guardrail_core::{
    control::{setting::BucketSetting, table::Control},
    decide::{
        baseline::Baseline,
        echo::ECHO_APP_NAME,
        plan::{self, Verdict},
    },
    edge::{
        event,
        message::{self, Request},
        registry::Registration,
    },
    outcome::{
        observed::{Observation, Observed},
        setting::Setting,
        step::Change,
    },
    value::{failure::Read, names::RoleArn, subject::Subject},
};
use serde_json::json;

use crate::{
    chain::{Body, Event},
    clock::{SECOND, Time},
    simulation::timestamp,
};

pub(crate) const ACCOUNT: &str = "111122223333";
pub(crate) const REGION: &str = "eu-west-2";

/// After so many different settings they are forgotten, so that a night needs no more memory than a minute.
const MOST_STORED: usize = 20_000;

/// The same of what the plan thinks of them.
const MOST_VERDICTS: usize = 2_000;

/// Who made a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Writer {
    Owner,
    Robot,
    Tool,
    Insider,
    Operator,
    Guardrail,
}

/// A setting that S3 had at some time, and what follows from it.
#[derive(Debug)]
pub(crate) struct Stored {
    /// No two have the same.
    number: usize,
    pub(crate) setting: Setting,
    /// Statements and rules that are not the guardrail's, by number, in order.
    pub(crate) owners: Vec<u16>,
    /// What restores it; `None`: it is as it should be.
    pub(crate) change: Option<Change>,
}

/// A bucket and what should be of it.
#[derive(Debug)]
pub(crate) struct Guarded {
    pub(crate) registration: Registration,
    pub(crate) baseline: Baseline,
}

/// Settings by bucket, control and owner's entries.
type Shelves = HashMap<(usize, Control, Vec<u16>), Vec<Rc<Stored>>>;

/// What is the same in all histories: the buckets, and what follows from each setting that one of them had.
#[derive(Debug)]
pub(crate) struct Library {
    pub(crate) buckets: Vec<Guarded>,
    pub(crate) role: RoleArn,
    /// One event of each kind of call.
    calls: RefCell<HashMap<Event, event::Event>>,
    stored: RefCell<Shelves>,
    numbers: Cell<usize>,
    /// What to think of what was read of a bucket, by the numbers of that; `None`: it was denied.
    verdicts: RefCell<HashMap<(usize, Shown), Vec<Verdict>>>,
}

type Shown = [Option<usize>; Control::OF_BUCKET.len()];

macro_rules! by_control {
    ($($name:ident $field:ident $value:ty,)*) => {
        fn unset(control: Control) -> Option<Setting> {
            match control {
                $(Control::$name => Some(Setting::$name(BucketSetting::unset())),)*
                Control::KmsKey | Control::Trail => None,
            }
        }

        /// What a look has read, as the plan takes it.
        fn observed(mut read: BTreeMap<Control, Read<Setting>>) -> Option<Observed> {
            Some(Observed {
                $($field: match read.remove(&Control::$name)? {
                    Ok(Setting::$name(setting)) => Ok(setting),
                    Ok(_) => return None,
                    Err(error) => Err(error),
                },)*
            })
        }
    };
}
guardrail_core::for_settings_of_buckets!(by_control);

/// What S3 has of a setting after a change was written; `None`: it is none of the bucket's own.
pub(crate) fn written(change: &Change) -> Option<Setting> {
    Some(match change.clone() {
        Change::PublicAccessBlock(drift) => Setting::PublicAccessBlock(drift.desired),
        Change::ObjectOwnership(drift) => Setting::ObjectOwnership(drift.desired),
        Change::BucketPolicy(drift) => Setting::BucketPolicy(drift.desired),
        Change::DefaultEncryption(drift) => Setting::DefaultEncryption(drift.desired),
        Change::Versioning(drift) => Setting::Versioning(drift.desired),
        Change::Lifecycle(drift) => Setting::Lifecycle(drift.desired),
        Change::Inventory(drift) => Setting::Inventory(Some(drift.desired)),
        Change::KmsKey(_) | Change::Trail(_) => return None,
    })
}

/// What restores a setting; `None`: it is as it should be.
fn restore(baseline: &Baseline, setting: Setting) -> Option<Change> {
    match setting {
        Setting::PublicAccessBlock(it) => plan::restore_public_access_block(it),
        Setting::ObjectOwnership(it) => plan::restore_object_ownership(it),
        Setting::BucketPolicy(it) => plan::restore_bucket_policy(baseline, it),
        Setting::DefaultEncryption(it) => plan::restore_default_encryption(baseline, it),
        Setting::Versioning(it) => plan::restore_versioning(it),
        Setting::Lifecycle(it) => plan::restore_lifecycle(baseline, it),
        Setting::Inventory(it) => plan::restore_inventory(baseline, it),
    }
}

/// The number of an entry that is the owner's.
pub(crate) fn owners_number(name: &str) -> Option<u16> {
    name.strip_prefix("Owner")?.parse().ok()
}

/// The owner's parts of a setting: statements and rules that are named `Owner` and a number.
fn owners(setting: &Setting) -> Vec<u16> {
    match setting {
        Setting::BucketPolicy(policy) => policy.statements.iter().filter_map(|it| owners_number(it.sid()?)).collect(),
        Setting::Lifecycle(lifecycle) => {
            lifecycle.rules.iter().filter_map(|it| owners_number(it.child_text("ID")?)).collect()
        }
        _ => Vec::new(),
    }
}

impl Library {
    pub(crate) fn new(buckets: usize) -> Self {
        let parsed = "the names in this file are well formed";
        let role: RoleArn =
            format!("arn:aws:iam::{ACCOUNT}:role/s3-guardrail-remediate-eu-west-2").parse().expect(parsed);
        let guarded = |number: usize| {
            let registration = Registration::new(
                format!("bucket-{number}").parse().expect(parsed),
                ACCOUNT.parse().expect(parsed),
                format!("arn:aws:kms:eu-west-2:{ACCOUNT}:key/k").parse().expect(parsed),
            );
            let baseline = Baseline::new(&registration, &registration.account, &role).expect(parsed);
            Guarded { registration, baseline }
        };
        let buckets = (0..buckets).map(guarded).collect();
        Self {
            buckets,
            role,
            calls: RefCell::default(),
            stored: RefCell::default(),
            numbers: Cell::default(),
            verdicts: RefCell::default(),
        }
    }

    /// A message as the function reads it.
    pub(crate) fn message(&self, body: Body) -> message::Message {
        match body {
            Body::Request(bucket) => {
                let bucket = self.buckets[bucket].registration.bucket.clone();
                message::Message::Request(Request { subject: Subject::Bucket(bucket), dry_run: false })
            }
            Body::Event(event @ Event { number, made, .. }) => {
                let mut calls = self.calls.borrow_mut();
                let kind = Event { number: 0, made: 0, ..event };
                let mut event = calls.entry(kind).or_insert_with(|| self.call(kind)).clone();
                event.trigger.event_id = Some(number.to_string());
                // CloudTrail's times are cut to the second.
                event.trigger.event_time = Some(timestamp(made / SECOND * SECOND).to_string());
                message::Message::Event(Box::new(event))
            }
        }
    }

    fn call(&self, Event { bucket, control, writer, marked, failed, number: _, made: _ }: Event) -> event::Event {
        let issuer = match writer {
            Writer::Guardrail => self.role.to_string(),
            other => format!("arn:aws:iam::{ACCOUNT}:role/{other:?}"),
        };
        let user_agent = if marked { ECHO_APP_NAME } else { "s3-guardrail" };
        let detail = json!({
            "eventSource": "s3.amazonaws.com", "eventName": control.vocabulary().events[0],
            "userAgent": format!("aws-sdk-rust/1.3 app/{user_agent}"),
            "requestParameters": {"bucketName": format!("bucket-{bucket}")},
            "errorCode": failed.then_some("AccessDenied"),
            "userIdentity": {"sessionContext": {"sessionIssuer": {"arn": issuer}}},
        });
        event::Event::parse(&json!({"detail": detail})).expect("an event like CloudTrail's")
    }

    /// A setting as S3 would have it.
    pub(crate) fn store(&self, bucket: usize, control: Control, setting: Setting) -> Rc<Stored> {
        let owners = owners(&setting);
        let mut all = self.stored.borrow_mut();
        if all.len() > MOST_STORED {
            all.clear();
        }
        let alike = all.entry((bucket, control, owners.clone())).or_default();
        if let Some(known) = alike.iter().find(|it| it.setting == setting) {
            return Rc::clone(known);
        }
        let change = restore(&self.buckets[bucket].baseline, setting.clone());
        let number = self.numbers.replace(self.numbers.get() + 1);
        let stored = Rc::new(Stored { number, setting, owners, change });
        alike.push(Rc::clone(&stored));
        stored
    }

    /// What the plan thinks of what was read of a bucket.
    pub(crate) fn verdicts(&self, bucket: usize, read: &BTreeMap<Control, Read<Rc<Stored>>>) -> Vec<Verdict> {
        let number = |control| read.get(&control)?.as_ref().ok().map(|it| it.number);
        let key = (bucket, Control::OF_BUCKET.map(number));
        let mut all = self.verdicts.borrow_mut();
        if all.len() > MOST_VERDICTS {
            all.clear();
        }
        let known = all.entry(key).or_insert_with(|| {
            let read = read.iter().map(|(control, read)| (*control, read.clone().map(|it| it.setting.clone())));
            let seen = observed(read.collect()).map(Observation::from).unwrap_or_default();
            plan::verdicts(&self.buckets[bucket].baseline, seen)
        });
        known.clone()
    }

    /// What a bucket has of a control that nobody has configured.
    pub(crate) fn unset(&self, bucket: usize, control: Control) -> Option<Rc<Stored>> {
        Some(self.store(bucket, control, unset(control)?))
    }
}

/// A version of a setting.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    /// The number of its event.
    pub(crate) event: usize,
    pub(crate) since: Time,
    pub(crate) writer: Writer,
    pub(crate) stored: Rc<Stored>,
}

/// The settings of all buckets.
#[derive(Debug)]
pub(crate) struct S3 {
    settings: Vec<BTreeMap<Control, Vec<Version>>>,
}

impl S3 {
    /// Buckets as a bootstrap leaves them.
    pub(crate) fn new(library: &Library) -> Self {
        let guarded = |bucket| {
            let good = |control| {
                let bare = library.unset(bucket, control)?;
                let good = written(bare.change.as_ref()?)?;
                let stored = library.store(bucket, control, good);
                Some((control, vec![Version { event: 0, since: 0, writer: Writer::Operator, stored }]))
            };
            Control::OF_BUCKET.into_iter().filter_map(good).collect()
        };
        Self { settings: (0..library.buckets.len()).map(guarded).collect() }
    }

    /// All versions of a control, the truth last.
    pub(crate) fn versions(&self, bucket: usize, control: Control) -> &[Version] {
        &self.settings[bucket][&control]
    }

    /// The truth.
    pub(crate) fn now(&self, bucket: usize, control: Control) -> &Version {
        self.versions(bucket, control).last().expect("each control has had a version from the beginning")
    }

    /// What a read shows that is behind by so much.
    pub(crate) fn read(&self, bucket: usize, control: Control, as_of: Time) -> Rc<Stored> {
        let versions = self.versions(bucket, control);
        let version = versions.iter().rev().find(|it| it.since <= as_of).unwrap_or(&versions[0]);
        Rc::clone(&version.stored)
    }

    /// Writes a setting.
    pub(crate) fn write(&mut self, bucket: usize, control: Control, version: Version) {
        self.settings[bucket].entry(control).or_default().push(version);
    }

    /// The controls of a bucket that are off their baseline.
    pub(crate) fn drifted(&self, bucket: usize) -> Vec<Control> {
        Control::OF_BUCKET.into_iter().filter(|it| self.now(bucket, *it).stored.change.is_some()).collect()
    }
}
