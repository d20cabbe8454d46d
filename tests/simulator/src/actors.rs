//! Everybody else: owners, infrastructure code, a second tool, an insider, an operator, and S3 on a bad day.

use std::rc::Rc;

use fastrand::Rng;
use guardrail_core::{
    control::table::Control,
    outcome::{exemption::Exemption, setting::Setting},
    value::{policy::Statement, xml::Element},
};
use serde_json::json;

use crate::{
    chain::{Body, Which, send},
    clock::{MINUTE, SECOND, Time},
    dice::Kind,
    notes::What,
    simulation::{Simulation, timestamp},
    world::{ACCOUNT, Stored, Writer, owners_number, written},
};

/// Between two sweeps.
pub(crate) const SWEEP: Time = 15 * MINUTE;

/// Each acts again after up to so long.
const ACTORS: [(Kind, Time); 10] = [
    (Kind::Owner, 4 * MINUTE),
    (Kind::Robot, 16 * MINUTE),
    (Kind::Tool, 16 * MINUTE),
    (Kind::Insider, 3 * MINUTE),
    (Kind::Exempts, 40 * MINUTE),
    (Kind::Bootstraps, 60 * MINUTE),
    (Kind::Brownout, 15 * MINUTE),
    (Kind::RollsBack, 30 * MINUTE),
    (Kind::Redeploys, 40 * MINUTE),
    (Kind::Attempts, 8 * MINUTE),
];

/// An owner has no more in one document.
const MOST_ENTRIES: usize = 5;

/// Everybody begins.
pub(crate) fn begin(sim: &Rc<Simulation>) {
    for (kind, within) in ACTORS {
        let this = Rc::clone(sim);
        sim.clock.spawn(async move {
            let mut rng = this.dice.any(1_000 + kind as usize);
            loop {
                this.clock.sleep(rng.u64(SECOND..within)).await;
                if this.clock.now() > this.active {
                    return;
                }
                let bucket = rng.usize(..this.library.buckets.len());
                if let Some(rng) = this.dice.act(kind, bucket) {
                    act(&this, kind, bucket, rng).await;
                }
            }
        });
    }
}

async fn act(sim: &Rc<Simulation>, kind: Kind, bucket: usize, mut rng: Rng) {
    match kind {
        Kind::Owner => owner(sim, bucket, 2 * SECOND, &mut rng).await,
        Kind::Robot => apply_plan(sim, Writer::Robot, bucket, |owners| owners.is_some()),
        Kind::Tool => apply_plan(sim, Writer::Tool, bucket, |owners| owners != Some(1)),
        Kind::Insider => {
            insider(sim, bucket, any_control(&mut rng), &mut rng);
            while sim.dice.happens(Kind::Again, bucket, 3).is_some() {
                sim.clock.sleep(rng.u64(50..2 * SECOND)).await;
                insider(sim, bucket, any_control(&mut rng), &mut rng);
            }
        }
        Kind::Exempts => {
            let control = any_control(&mut rng);
            exempt(sim, bucket, control, &mut rng);
        }
        Kind::Brownout => {
            let until = sim.clock.now() + rng.u64(MINUTE..4 * MINUTE);
            sim.note(bucket, What::Slowed { until });
            sim.slow_until.borrow_mut()[bucket] = until;
        }
        Kind::Bootstraps => bootstrap(sim, bucket, &mut rng).await,
        Kind::RollsBack => roll_back(sim, bucket, &mut rng).await,
        Kind::Redeploys => {
            sim.note(bucket, What::Redeployed);
            sim.replaced.set(Some(sim.clock.now()));
        }
        Kind::Attempts => sim.attempt(bucket, any_control(&mut rng)),
        _ => {}
    }
}

/// Adds a statement or a rule of their own, and drops their oldest if they have some, in a read, a moment's thought and a
/// write.
async fn owner(sim: &Rc<Simulation>, bucket: usize, thought: Time, rng: &mut Rng) {
    let control = if rng.bool() { Control::BucketPolicy } else { Control::Lifecycle };
    let read = Rc::clone(&sim.s3.borrow().now(bucket, control).stored);
    sim.clock.sleep(rng.u64(20..thought)).await;
    let number = read.owners.iter().max().map_or(1, |it| it + 1);
    let oldest = read.owners.iter().min().copied().filter(|_| read.owners.len() == MOST_ENTRIES);
    let setting = without(&read.setting, |it| it.is_some() && it == oldest);
    let stored = sim.library.store(bucket, control, with_owners_entry(setting, bucket, number));
    sim.others_write(Writer::Owner, bucket, control, stored);
}

/// Infrastructure code, or another tool, that knows a part of the policy's statements alone.
fn apply_plan(sim: &Rc<Simulation>, writer: Writer, bucket: usize, knows: fn(Option<u16>) -> bool) {
    let read = Rc::clone(&sim.s3.borrow().now(bucket, Control::BucketPolicy).stored);
    let stored = sim.library.store(bucket, Control::BucketPolicy, without(&read.setting, |it| !knows(it)));
    sim.others_write(writer, bucket, Control::BucketPolicy, stored);
}

fn any_control(rng: &mut Rng) -> Control {
    Control::OF_BUCKET[rng.usize(..Control::OF_BUCKET.len())]
}

/// Takes something off the baseline.
fn insider(sim: &Rc<Simulation>, bucket: usize, control: Control, rng: &mut Rng) {
    let read = Rc::clone(&sim.s3.borrow().now(bucket, control).stored);
    let stored = sim.library.store(bucket, control, broken(&read, rng.bool()));
    sim.others_write(Writer::Insider, bucket, control, stored);
}

/// Puts back what was there before, as the command does: it registers the exemption first.
async fn roll_back(sim: &Rc<Simulation>, bucket: usize, rng: &mut Rng) {
    let control = any_control(rng);
    let earlier = {
        let s3 = sim.s3.borrow();
        let versions = s3.versions(bucket, control);
        Rc::clone(&versions[rng.usize(..versions.len())].stored)
    };
    exempt(sim, bucket, control, rng);
    sim.clock.sleep(rng.u64(20..SECOND)).await;
    sim.others_write(Writer::Operator, bucket, control, earlier);
}

/// Lets a control drift for some minutes.
fn exempt(sim: &Rc<Simulation>, bucket: usize, control: Control, rng: &mut Rng) {
    let (now, last) = (sim.clock.now(), rng.u64(MINUTE..5 * MINUTE));
    let mut registration = (*sim.registration(bucket)).clone();
    registration.exemptions = vec![Exemption {
        control,
        until: timestamp(now + last),
        reason: "a move".to_owned(),
        approved_by: "an operator".to_owned(),
    }];
    sim.registry.borrow_mut()[bucket] = Rc::new(registration);
    sim.note(bucket, What::Exempted { control, until: last });
}

/// Brings a bucket to its baseline, in the name of a person.
async fn bootstrap(sim: &Rc<Simulation>, bucket: usize, rng: &mut Rng) {
    for control in Control::OF_BUCKET {
        let read = Rc::clone(&sim.s3.borrow().now(bucket, control).stored);
        sim.clock.sleep(rng.u64(10..160)).await;
        if let Some(setting) = read.change.as_ref().and_then(written) {
            let stored = sim.library.store(bucket, control, setting);
            sim.others_write(Writer::Operator, bucket, control, stored);
        }
    }
}

impl Simulation {
    /// An owner works at the moment of a look.
    pub(crate) fn beside(self: &Rc<Self>, bucket: usize) {
        let Some(mut rng) = self.dice.happens(Kind::Beside, bucket, 10) else { return };
        self.act_in(rng.u64(..300), async move |sim| owner(sim, bucket, 300, &mut rng).await);
    }

    /// Somebody times a call of their own into our echo, which comes after `echo`, so that both may be in one batch.
    pub(crate) fn time_a_call_into(self: &Rc<Self>, bucket: usize, control: Control, echo: Time) {
        let Some(mut rng) = self.dice.happens(Kind::Timed, bucket, 8) else { return };
        let wait = echo.saturating_sub(rng.u64(200..6 * SECOND));
        let control = if rng.bool() { control } else { any_control(&mut rng) };
        self.act_in(wait, async move |sim| insider(sim, bucket, control, &mut rng));
    }

    /// Somebody acts after a while, unless actors rest by then.
    fn act_in(self: &Rc<Self>, wait: Time, act: impl AsyncFnOnce(&Rc<Self>) + 'static) {
        let this = Rc::clone(self);
        if self.clock.now() + wait < self.active {
            self.clock.spawn(async move {
                this.clock.sleep(wait).await;
                act(&this).await;
            });
        }
    }

    /// A request for each bucket.
    pub(crate) fn sweep(self: &Rc<Self>) {
        for bucket in 0..self.library.buckets.len() {
            self.note(bucket, What::Swept);
            send(self, Which::Work, Body::Request(bucket));
        }
    }
}

/// The setting without some of its entries, which are given by their owner's number if they have one.
fn without(setting: &Setting, is_dropped: impl Fn(Option<u16>) -> bool) -> Setting {
    let mut setting = setting.clone();
    match &mut setting {
        Setting::BucketPolicy(policy) => policy.statements.retain(|it| !is_dropped(it.sid().and_then(owners_number))),
        Setting::Lifecycle(lifecycle) => {
            lifecycle.rules.retain(|it| !is_dropped(it.child_text("ID").and_then(owners_number)));
        }
        _ => {}
    }
    setting
}

/// The setting with one more entry of the owner's.
fn with_owners_entry(mut setting: Setting, bucket: usize, number: u16) -> Setting {
    match &mut setting {
        Setting::BucketPolicy(policy) => policy.statements.push(Statement(json!({
            "Sid": format!("Owner{number}"), "Effect": "Allow", "Action": "s3:GetObject",
            "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:role/app")},
            "Resource": format!("arn:aws:s3:::bucket-{bucket}/{number}/*"),
        }))),
        Setting::Lifecycle(lifecycle) => lifecycle.rules.push(Element::parent(
            "Rule",
            vec![
                Element::leaf("ID", &format!("Owner{number}")),
                Element::parent("Filter", vec![Element::leaf("Prefix", &format!("{number}/"))]),
                Element::leaf("Status", "Enabled"),
                Element::parent("Expiration", vec![Element::leaf("Days", "900")]),
            ],
        )),
        _ => {}
    }
    setting
}

/// The setting as an insider leaves it.
fn broken(stored: &Stored, keeps_owners: bool) -> Setting {
    match stored.setting.clone() {
        Setting::BucketPolicy(_) | Setting::Lifecycle(_) => {
            without(&stored.setting, |it| !keeps_owners || it.is_none())
        }
        Setting::Versioning(mut versioning) => {
            versioning.status = Some("Suspended".to_owned());
            Setting::Versioning(versioning)
        }
        Setting::PublicAccessBlock(_) => Setting::PublicAccessBlock(Default::default()),
        Setting::ObjectOwnership(mut ownership) => {
            ownership.object_ownership = Some("ObjectWriter".to_owned());
            Setting::ObjectOwnership(ownership)
        }
        Setting::DefaultEncryption(_) => Setting::DefaultEncryption(Default::default()),
        Setting::Inventory(_) => Setting::Inventory(None),
    }
}
