//! Whatever happened to a bucket, in whatever order: once nothing goes wrong any more, one reconcile reaches the
//! baseline, the next writes nothing, and what is the owner's is as the owner left it.
//!
//! First over a model of AWS that takes every change as planned, then through the real function and the real SDK.

use std::{collections::BTreeSet, time::Duration};

use guardrail::{
    Guardrail,
    observe::{Scope, observe_in},
};
use guardrail_core::{
    control::{
        default_encryption::DefaultEncryption, inventory::Inventory, kms_key::KmsKey, lifecycle::Lifecycle,
        object_ownership::ObjectOwnership, public_access_block::PublicAccessBlock, selectors::EventSelector,
        table::Control, trail::Trail, versioning::Versioning,
    },
    decide::{
        baseline::Baseline,
        echo::NO_PAST,
        plan::{self, Stance, plan},
    },
    edge::registry::Registration,
    outcome::{
        observed::{Observation, Observed},
        step::{Change, Step},
    },
    value::{
        failure::{ApiError, Read},
        policy::Policy,
    },
};
use guardrail_tests::fake::{BUCKET, FakeAws, FaultKind, KEY, ROLE, TRAIL, remediate};
use jiff::Timestamp;
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

use crate::{arbitrary, documents};

/// What AWS holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Model {
    pub(crate) public_access_block: PublicAccessBlock,
    pub(crate) object_ownership: ObjectOwnership,
    pub(crate) bucket_policy: Policy,
    pub(crate) default_encryption: DefaultEncryption,
    pub(crate) versioning: Versioning,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) inventory: Option<Inventory>,
    pub(crate) kms_key: KmsKey,
    pub(crate) trail: Option<Trail>,
}

/// Something that happens.
#[derive(Clone, Debug)]
enum Happening {
    /// Somebody takes these settings from this model: an owner's change, or drift.
    Drift(Box<Model>, Vec<Control>),
    /// An event, a sweep, a duplicate, one that comes late: all the same to the guardrail.
    Reconcile(Trouble),
}

/// What goes wrong in a reconcile.
#[derive(Clone, Debug, Default)]
struct Trouble {
    unreadable: Vec<Control>,
    unwritable: Vec<Control>,
    /// It dies after so many writes.
    dies_after: Option<usize>,
    /// Its reads do not see our own last write yet.
    lags: bool,
}

macro_rules! by_control {
    ($($name:ident $field:ident $value:ty,)*) => {
        impl Model {
            fn take(&mut self, other: &Self, control: Control) {
                let other = other.clone();
                match control {
                    $(Control::$name => self.$field = other.$field,)*
                    Control::KmsKey => self.kms_key = other.kms_key,
                    Control::Trail => self.trail = other.trail,
                }
            }

            fn seen(self, unreadable: &[Control]) -> Observation {
                fn read<T>(unreadable: &[Control], control: Control, value: T) -> Read<T> {
                    if unreadable.contains(&control) { Err(ApiError::new("Get", "no answer")) } else { Ok(value) }
                }
                let observed = Observed { $($field: read(unreadable, Control::$name, self.$field),)* };
                let kms_key = Some(read(unreadable, Control::KmsKey, self.kms_key));
                let trail = Some(read(unreadable, Control::Trail, self.trail));
                Observation { kms_key, trail, ..Observation::from(observed) }
            }
        }
    };
}
guardrail_core::for_settings_of_buckets!(by_control);

impl Model {
    fn apply(&mut self, change: Change) {
        match change {
            Change::PublicAccessBlock(drift) => self.public_access_block = drift.desired,
            Change::ObjectOwnership(drift) => self.object_ownership = drift.desired,
            Change::BucketPolicy(drift) => self.bucket_policy = drift.desired,
            Change::DefaultEncryption(drift) => self.default_encryption = drift.desired,
            Change::Versioning(drift) => self.versioning = drift.desired,
            Change::Lifecycle(drift) => self.lifecycle = drift.desired,
            Change::Inventory(drift) => self.inventory = Some(drift.desired),
            // Whether it rotates shows only when it is usable again, and is restored then.
            Change::KmsKey(drift) => {
                self.kms_key = KmsKey { rotation: drift.desired.rotation.map(|_| true), ..drift.desired }
            }
            Change::Trail(drift) => self.trail = Some(drift.desired),
        }
    }

    /// What no restore may change, told from what is ours by other means than the guardrail's.
    fn owners(&self) -> Value {
        // Destructured, so that of a new control somebody says what is the owner's.
        let Self {
            public_access_block: _,
            object_ownership: _,
            bucket_policy,
            default_encryption,
            versioning,
            lifecycle,
            inventory,
            kms_key,
            trail,
        } = self;
        let ours = |sid: &str| sid.starts_with("Deny") || sid.starts_with("Guardrail");
        let statements = |policy: &Policy| -> Vec<Value> {
            let all = policy.statements.iter().map(|it| arbitrary::in_order(&it.0));
            all.filter(|it| !it["Sid"].as_str().is_some_and(ours)).collect()
        };
        // In whichever of the two forms they are written.
        let filtered =
            |it: String| it.replace("<Prefix>", "<Filter><Prefix>").replace("</Prefix>", "</Prefix></Filter>");
        let rules = lifecycle.rules.iter().map(ToString::to_string);
        let rules = rules.map(|it| if it.contains("<Filter>") { it } else { filtered(it) });
        let rules = rules.filter(|it| !it.contains("<ID>expire-noncurrent") && !it.contains("<ID>abort-multipart"));
        let fields = |it: &Inventory| {
            let fields = it.optional_fields.iter().filter(|it| !it.ends_with("Status"));
            json!([it.prefix, fields.collect::<Vec<_>>(), it.format == "CSV", it.account_id.is_none()])
        };
        let blocked = default_encryption.blocked.iter().filter(|it| *it != "SSE-C" && *it != "NONE");
        let selectors = |it: &Trail| {
            let ours = |it: &Value| {
                let is_ours = |it: &str| it.starts_with("s3-guardrail") || it == "Management events selector";
                it["Name"].as_str().is_some_and(is_ours)
            };
            let advanced = it.selectors.advanced().iter().map(|it| json!(it)).filter(|it| !ours(it));
            json!([it.s3_bucket_name, it.kms_key_id.as_ref().map(|_| &it.kms_key_id), advanced.collect::<Vec<_>>()])
        };
        json!({
            "policy": statements(bucket_policy),
            "rules": rules.collect::<Vec<_>>(), "size": lifecycle.transition_default_minimum_object_size,
            "inventory": inventory.as_ref().map(fields),
            "blocked": blocked.collect::<Vec<_>>(),
            "mfa_delete": versioning.mfa_delete,
            "key": statements(&kms_key.policy), "rotates": kms_key.rotation.is_some(),
            "trail": trail.as_ref().map(selectors),
        })
    }
}

struct World {
    registration: Registration,
    baseline: Baseline,
    now: Model,
    /// As it was before our last write, while nobody else has written since.
    before: Option<Model>,
}

impl World {
    fn plan(&self, seen: Observation) -> Vec<Step> {
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        let stance = Stance { registration: &self.registration, now, dry_run: false, past: &NO_PAST };
        plan(&self.baseline, seen, &stance)
    }

    /// What `reconcile` does; says which controls were written.
    fn reconcile(&mut self, trouble: &Trouble) -> Vec<Control> {
        let looked_at = self.before.clone().filter(|_| trouble.lags).unwrap_or_else(|| self.now.clone());
        let steps = self.plan(looked_at.seen(&trouble.unreadable));
        let mut written = Vec::new();
        for step in steps {
            let Step::Restore(mut change) = step else { continue };
            let control = change.control();
            if trouble.dies_after == Some(written.len()) {
                break;
            }
            if !written.is_empty() {
                // Merged documents are read again once something was written.
                let fresh = match control {
                    Control::BucketPolicy => {
                        plan::restore_bucket_policy(&self.baseline, self.now.bucket_policy.clone())
                    }
                    Control::Lifecycle => plan::restore_lifecycle(&self.baseline, self.now.lifecycle.clone()),
                    Control::KmsKey => plan::restore_kms_key(&self.baseline, self.now.kms_key.clone()),
                    Control::Trail => plan::restore_trail(&self.baseline, self.now.trail.clone()),
                    _ => Some(change),
                };
                match fresh {
                    Some(fresh) => change = fresh,
                    None => continue,
                }
            }
            if trouble.unwritable.contains(&control)
                || plan::check(&self.baseline, &change, Timestamp::UNIX_EPOCH).is_err()
            {
                continue;
            }
            self.before = Some(self.now.clone());
            self.now.apply(change);
            written.push(control);
        }
        written
    }
}

fn model() -> impl Strategy<Value = Model> {
    let bucket = (
        arbitrary::public_access_block(),
        arbitrary::object_ownership(),
        arbitrary::policy(),
        arbitrary::default_encryption(),
        arbitrary::versioning(),
        arbitrary::lifecycle(),
        arbitrary::inventory(),
    );
    (bucket, arbitrary::kms_key(), arbitrary::trail()).prop_map(|(bucket, kms_key, trail)| {
        let (
            public_access_block,
            object_ownership,
            bucket_policy,
            default_encryption,
            versioning,
            lifecycle,
            inventory,
        ) = bucket;
        Model {
            public_access_block,
            object_ownership,
            bucket_policy,
            default_encryption,
            versioning,
            lifecycle,
            inventory,
            kms_key,
            trail,
        }
    })
}

fn some_controls() -> impl Strategy<Value = Vec<Control>> {
    vec(select(Control::ALL.to_vec()), 0..4)
}

fn happening() -> impl Strategy<Value = Happening> {
    let trouble = (some_controls(), some_controls(), proptest::option::of(0..5_usize), any::<bool>());
    let trouble = trouble.prop_map(|(unreadable, unwritable, dies_after, lags)| Trouble {
        unreadable,
        unwritable,
        dies_after,
        lags,
    });
    prop_oneof![
        1 => (model(), some_controls()).prop_map(|(model, controls)| Happening::Drift(Box::new(model), controls)),
        2 => trouble.prop_map(Happening::Reconcile),
    ]
}

fn registration(everything: bool) -> Registration {
    let mut registration = arbitrary::registration();
    if everything {
        registration.key_alias = Some("alias/s3-secure-data".parse().unwrap());
        registration.trail_arn = Some(TRAIL.parse().unwrap());
        registration.policy = guardrail_core::control::bucket_policy::PolicyVariant::DefaultEncryption;
    }
    registration
}

proptest! {
    #![proptest_config(arbitrary::many())]

    #[test]
    fn one_reconcile_without_trouble_reaches_the_baseline(
        start in model(),
        happenings in vec(happening(), 0..4),
        everything in any::<bool>(),
    ) {
        let registration = registration(everything);
        let baseline = Baseline::new(&registration, &registration.account, &ROLE.parse().unwrap()).unwrap();
        let mut world = World { registration, baseline, now: start, before: None };
        for happening in happenings {
            match happening {
                Happening::Drift(other, controls) => {
                    controls.iter().for_each(|it| world.now.take(&other, *it));
                    world.before = None;
                }
                Happening::Reconcile(trouble) => {
                    let before = world.now.clone();
                    let written = world.reconcile(&trouble);
                    prop_assert!(written.iter().all(|it| !trouble.unreadable.contains(it)), "written unread");
                    check_owners(&before, &world.now)?;
                }
            }
        }
        let before = world.now.clone();
        let refused: BTreeSet<_> = world.plan(world.now.clone().seen(&[])).into_iter().filter_map(|step| match step {
            Step::Restore(change) => plan::check(&world.baseline, &change, Timestamp::UNIX_EPOCH).err().map(|_| change.control()),
            _ => None,
        }).collect();
        world.reconcile(&Trouble::default());
        check_owners(&before, &world.now)?;

        // Once more: nothing to do, but for what must not be written.
        let after = world.now.clone();
        prop_assert_eq!(world.reconcile(&Trouble::default()), []);
        prop_assert_eq!(&world.now, &after);
        let left: BTreeSet<_> = world.plan(after.clone().seen(&[])).iter().map(Step::control).collect();
        prop_assert_eq!(left, refused);
        prop_assert_eq!(after.public_access_block, PublicAccessBlock::ALL);
        prop_assert!(after.object_ownership.is_enforced());
        prop_assert_eq!(after.versioning.status.as_deref(), Some("Enabled"));
        prop_assert!(!everything || after.trail.is_some_and(|it| it.is_logging && it.selectors.log_management_writes()));
    }
}

/// What is the owner's in the one is in the other.
fn check_owners(before: &Model, after: &Model) -> Result<(), TestCaseError> {
    let (mut was, mut is) = (before.owners(), after.owners());
    // Made from nothing, or with a key of ours: nobody's setting was there.
    for (part, absent) in [("inventory", before.inventory.is_none()), ("trail", before.trail.is_none())] {
        if absent {
            was[part].take();
            is[part].take();
        }
    }
    if let (Some(Value::Null), Some(key)) = (was.pointer("/trail/1").cloned(), is.pointer_mut("/trail/1")) {
        key.take();
    }
    prop_assert_eq!(was, is);
    let basic = |it: &Model| it.trail.as_ref().map(|it| it.selectors.basic().to_vec()).unwrap_or_default();
    let default = |it: &EventSelector| {
        it.read_write_type == "All" && it.include_management_events && it.data_resources.is_empty()
    };
    let (was, is) = (basic(before), basic(after));
    // One that looks like ours may have got one bucket more.
    let kept = |was: &EventSelector, is: &EventSelector| {
        let values = |it: &EventSelector| it.data_resources.iter().flat_map(|it| it.1.clone()).collect::<BTreeSet<_>>();
        values(was).is_subset(&values(is))
            && EventSelector { data_resources: was.data_resources.clone(), ..is.clone() } == *was
    };
    let is_kept = |it: &EventSelector| is.iter().any(|after| kept(it, after));
    prop_assert!(was.iter().all(|it| is_kept(it) || was.len() == 1 && default(it)), "{:?} {:?}", was, is);
    Ok(())
}

/// The same through the real function and the real SDK, over the fake AWS.
struct Live {
    fake: FakeAws,
    guardrail: Guardrail,
    baseline: Baseline,
    registration: Registration,
}

/// What can go wrong with a call of the real function.
#[derive(Clone, Debug)]
enum Disturbance {
    /// Somebody takes these settings from this model: an owner's change, or drift.
    Drift(Box<Model>, Vec<Control>),
    /// The next so many calls of this operation go wrong.
    Fault(&'static str, usize, FaultKind),
    /// The function dies while it waits for the answer to its next call of this operation, which was done.
    Crash(&'static str),
    /// An event about something else comes, or one comes again.
    Event(usize),
}

impl Live {
    fn new(start: &Model, everything: bool) -> Self {
        let registration = registration(everything);
        let role = ROLE.parse().unwrap();
        let baseline = Baseline::new(&registration, &registration.account, &role).unwrap();
        let fake = FakeAws::default();
        fake.register_text(&json!(registration).to_string());
        let guardrail = fake.guardrail();
        let this = Self { fake, guardrail, baseline, registration };
        this.take(start, &Control::ALL);
        this
    }

    /// Makes these settings what they are in a model.
    fn take(&self, model: &Model, controls: &[Control]) {
        let mut world = self.fake.state().world();
        controls.iter().for_each(|it| documents::put(&mut world, model, *it));
        self.fake.state().set_world(world);
    }

    fn stance(&self) -> Stance<'_> {
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        Stance { registration: &self.registration, now, dry_run: false, past: &NO_PAST }
    }

    /// What there is, seen without any trouble.
    async fn model(&self) -> Model {
        let undisturbed = FakeAws::default();
        undisturbed.state().set_world(self.fake.state().world());
        let bucket = &self.registration.bucket;
        let seen = observe_in(&undisturbed.guardrail(), bucket, &self.baseline, Scope::EVERYTHING).await;
        let observed = seen.bucket.unwrap();
        Model {
            public_access_block: observed.public_access_block.unwrap(),
            object_ownership: observed.object_ownership.unwrap(),
            bucket_policy: observed.bucket_policy.unwrap(),
            default_encryption: observed.default_encryption.unwrap(),
            versioning: observed.versioning.unwrap(),
            lifecycle: observed.lifecycle.unwrap(),
            inventory: observed.inventory.unwrap(),
            kms_key: seen.kms_key.unwrap().unwrap(),
            // Not looked at when the registry names none.
            trail: seen.trail.and_then(Result::unwrap),
        }
    }

    async fn meet(&self, disturbance: &Disturbance) {
        let request = || json!({"bucket": BUCKET});
        match disturbance {
            Disturbance::Drift(model, controls) => self.take(model, controls),
            Disturbance::Fault(call, times, kind) => self.fake.fail(call, *times, kind.clone()),
            Disturbance::Crash(call) => {
                self.fake.fail(call, 1, FaultKind::Slow);
                // An answer that comes never, and a function that is given up.
                let call = Box::pin(remediate(&self.guardrail, request()));
                let _ = tokio::time::timeout(Duration::from_mins(2), call).await;
            }
            Disturbance::Event(n) => {
                let call = |source: &str, parameters: Value| json!({"detail": {"eventSource": format!("{source}.amazonaws.com"), "eventName": "X", "requestParameters": parameters}});
                let event = match n {
                    0 => call("kms", json!({"keyId": KEY})),
                    1 => call("cloudtrail", json!({"name": TRAIL})),
                    2 => call("s3", json!({"bucketName": BUCKET})),
                    _ => request(),
                };
                let _ = Box::pin(remediate(&self.guardrail, event)).await;
            }
        }
    }

    /// Lives through all of it, and says what is not as it should be.
    async fn live_through(&self, disturbances: &[Disturbance]) -> Result<(), TestCaseError> {
        for disturbance in disturbances {
            let before = self.model().await;
            self.meet(disturbance).await;
            if !matches!(disturbance, Disturbance::Drift(..)) {
                check_owners(&before, &self.model().await)?;
            }
        }
        self.fake.state().heal();
        let before = self.model().await;
        let _ = Box::pin(remediate(&self.guardrail, json!({"bucket": BUCKET}))).await;
        let after = self.model().await;
        check_owners(&before, &after)?;
        let left = plan(&self.baseline, after.clone().seen(&[]), &self.stance());
        for step in left {
            // What must not be written, or cannot be, and nothing else.
            let Step::Restore(change) = &step else { panic!("{step:?}") };
            let cannot = matches!(change, Change::Versioning(drift) if drift.observed.mfa_delete)
                || matches!(change, Change::KmsKey(drift) if !drift.desired.policy.dead_principals().is_empty());
            let refused = plan::check(&self.baseline, change, Timestamp::UNIX_EPOCH).is_err();
            prop_assert!(cannot || refused, "left: {:#?}", step);
        }
        self.fake.forget();
        let _ = Box::pin(remediate(&self.guardrail, json!({"bucket": BUCKET}))).await;
        // What S3 or KMS refuses is tried again each time.
        let dead = !after.kms_key.policy.dead_principals().is_empty();
        // Whether a rescued key rotates shows only then, and is restored only then.
        let of_key = ["PutKeyPolicy", "EnableKeyRotation"];
        let refused = |it: &String| it == "PutBucketVersioning" || dead && of_key.contains(&it.as_str());
        let written: Vec<_> = self.fake.writes().into_iter().filter(|it| !refused(it)).collect();
        prop_assert_eq!(written, Vec::<String>::new());
        prop_assert!(after.versioning.mfa_delete || !self.fake.writes().contains(&"PutBucketVersioning".to_owned()));
        Ok(())
    }
}

fn disturbance() -> impl Strategy<Value = Disturbance> {
    let writes: Vec<_> = Control::ALL.iter().flat_map(|it| it.vocabulary().writes()).map(|it| it.api).collect();
    let all: Vec<_> = Control::ALL.iter().flat_map(|it| it.vocabulary().calls).map(|it| it.api).collect();
    let kind = select(vec![
        FaultKind::Answer(500, "InternalError"),
        FaultKind::Answer(409, "OperationAborted"),
        FaultKind::Answer(403, "AccessDenied"),
        FaultKind::Reset,
        FaultKind::Truncated,
        FaultKind::Malformed,
        FaultKind::Lagging(2),
    ]);
    prop_oneof![
        2 => (select(all), 1..4_usize, kind).prop_map(|(call, times, kind)| Disturbance::Fault(call, times, kind)),
        2 => select(writes).prop_map(Disturbance::Crash),
        2 => (model(), some_controls()).prop_map(|(model, controls)| Disturbance::Drift(Box::new(model), controls)),
        3 => (0..4_usize).prop_map(Disturbance::Event),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: arbitrary::many().cases / 50, ..arbitrary::many() })]

    #[test]
    fn the_function_converges_through_faults_and_crashes(
        start in model(),
        disturbances in vec(disturbance(), 0..6),
        everything in any::<bool>(),
    ) {
        // Its clock goes on by itself whenever everybody waits.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(Live::new(&start, everything).live_through(&disturbances))?;
    }
}
