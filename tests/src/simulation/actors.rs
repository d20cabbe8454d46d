//! Everybody else: owners, infrastructure code, a second tool, an insider, an operator, and S3 on a bad day.

use std::{ops::Range, rc::Rc};

use fastrand::Rng;
use guardrail_core::control::table::Control;
use guardrail_simulator::{Kind, MINUTE, SECOND, Time, What, Writer, timestamp};
use serde_json::{Value, json};

use super::{
    Run, any_control,
    chain::{Event, tell},
    parameter, registry,
    settings::{self, Version, control_of},
    sleep, spawn,
};
use crate::control;

/// Each acts again after up to so long.
const ACTORS: [(Kind, Time); 9] = [
    (Kind::Owner, 4 * MINUTE),
    (Kind::Robot, 16 * MINUTE),
    (Kind::Tool, 16 * MINUTE),
    (Kind::Insider, 3 * MINUTE),
    (Kind::Exempts, 40 * MINUTE),
    (Kind::Bootstraps, 60 * MINUTE),
    (Kind::Brownout, 15 * MINUTE),
    (Kind::Forgets, 20 * MINUTE),
    (Kind::Misleads, 5 * MINUTE),
];

/// The same at what all buckets lean on.
const ACTORS_AT_SHARED: [(Kind, Time); 2] = [(Kind::Insider, 5 * MINUTE), (Kind::Owner, 6 * MINUTE)];

/// An owner has no more in one document.
const MOST_ENTRIES: usize = 5;

/// Everybody begins.
pub(super) fn begin(run: &Rc<Run>) {
    for (kind, within) in ACTORS {
        let buckets = run.options.buckets;
        spawn(go_on(Rc::clone(run), kind, within, 1_000, 0..buckets));
    }
    for (kind, within) in ACTORS_AT_SHARED {
        spawn(go_on(Rc::clone(run), kind, within, 1_100, run.options.key()..run.options.trail() + 1));
    }
}

/// Somebody acts again and again. `dice`: where theirs are.
async fn go_on(run: Rc<Run>, kind: Kind, within: Time, dice: usize, places: Range<usize>) {
    let mut rng = run.any(dice + kind as usize);
    loop {
        sleep(rng.u64(SECOND..within)).await;
        if run.now() > run.active {
            return;
        }
        let place = rng.usize(places.clone());
        if let Some(rng) = run.dice.act(kind, place) {
            act(&run, kind, place, rng).await;
        }
    }
}

async fn act(run: &Rc<Run>, kind: Kind, bucket: usize, mut rng: Rng) {
    match kind {
        Kind::Owner => owner(run, bucket, 2 * SECOND, &mut rng).await,
        // Infrastructure code, and another tool, that know a part of the policy's statements alone.
        Kind::Robot => run.apply_plan(Writer::Robot, bucket, |owners| owners.is_some()),
        Kind::Tool => run.apply_plan(Writer::Tool, bucket, |owners| owners != Some(1)),
        Kind::Insider => {
            run.insider(bucket, &mut rng);
            while run.fails(Kind::Again, bucket, 3).is_some() {
                sleep(rng.u64(50..2 * SECOND)).await;
                run.insider(bucket, &mut rng);
            }
        }
        Kind::Exempts => run.exempt(bucket, &mut rng),
        Kind::Brownout => {
            let until = run.now() + rng.u64(MINUTE..4 * MINUTE);
            run.note(bucket, What::Slowed { until });
            run.slow_until.borrow_mut()[bucket] = until;
        }
        Kind::Bootstraps => restore_by_hand(run, bucket, &mut rng).await,
        Kind::Forgets => registry::forget(run, bucket, &mut rng).await,
        Kind::Misleads => registry::mislead(run, &mut rng).await,
        _ => {}
    }
}

/// Adds a statement or a rule of their own, and drops their oldest if they have some, in a read, a moment's thought and a
/// write.
async fn owner(run: &Rc<Run>, bucket: usize, thought: Time, rng: &mut Rng) {
    if let [control @ (Control::KmsKey | Control::Trail)] = run.options.controls(bucket)[..] {
        return run.add_to_shared(control, thought, rng).await;
    }
    let control = if rng.bool() { Control::BucketPolicy } else { Control::Lifecycle };
    let read = run.settings.borrow().of(bucket, control).clone();
    sleep(rng.u64(20..thought)).await;
    let number = read.owners.iter().max().map_or(1, |it| it + 1);
    let oldest = read.owners.iter().min().copied().filter(|_| read.owners.len() == MOST_ENTRIES);
    let subresource = control::subresource(control).unwrap_or_default();
    let kept = settings::kept(subresource, read.text.as_deref(), |it| it.is_none() || it != oldest);
    let text = settings::with_entry(bucket, subresource, kept.as_deref(), number);
    run.others_write(Writer::Owner, bucket, control, vec![(subresource.to_owned(), Some(text))], read.is_broken);
}

/// Brings a bucket to its baseline by hand, but for what is merged with what is the owner's.
async fn restore_by_hand(run: &Rc<Run>, bucket: usize, rng: &mut Rng) {
    for control in Control::OF_BUCKET {
        let read = run.settings.borrow().of(bucket, control).clone();
        sleep(rng.u64(10..160)).await;
        let is_merged = matches!(control, Control::BucketPolicy | Control::Lifecycle);
        if read.is_broken && !is_merged {
            let good = |it: &str| (it.to_owned(), run.settings.borrow().good(bucket, it));
            let of = if control == Control::ObjectOwnership { vec!["acl"] } else { vec![] };
            let documents = of.into_iter().chain(control::subresource(control)).map(good).collect();
            run.others_write(Writer::Operator, bucket, control, documents, false);
        }
    }
}

impl Run {
    /// A call of somebody else's changes documents of a control.
    fn others_write(
        self: &Rc<Self>,
        writer: Writer,
        bucket: usize,
        control: Control,
        documents: Vec<(String, Option<String>)>,
        is_broken: bool,
    ) {
        let (now, number) = (self.now(), self.chain.borrow_mut().event_number());
        self.note(bucket, What::Called { writer, control, drifts: is_broken, event: number });
        let mut deletes = false;
        for (subresource, text) in documents {
            let owners = settings::owners(&subresource, text.as_deref());
            if control_of(&subresource).is_some() {
                deletes = text.is_none();
                self.others_wrote(bucket, control, is_broken, &owners);
            }
            settings::set(&self.fake, bucket, &subresource, text.as_deref());
            let version = Version { since: now, event: number, text, is_broken, owners };
            self.settings.borrow_mut().put(bucket, &subresource, version);
        }
        let names = control.vocabulary().events;
        let name = names.iter().find(|it| it.starts_with("Delete") == deletes).unwrap_or(&names[0]);
        let parameters = json!({"bucketName": super::name(bucket)});
        let event = Event::of_others(self, number, writer, (bucket, control), ("s3", name), parameters);
        tell(self, event, "aws-cli/2.31.38");
    }

    fn apply_plan(self: &Rc<Self>, writer: Writer, bucket: usize, knows: fn(Option<u16>) -> bool) {
        let read = self.settings.borrow().of(bucket, Control::BucketPolicy).clone();
        let text = settings::kept("policy", read.text.as_deref(), knows);
        let is_broken = read.is_broken || !knows(None);
        self.others_write(writer, bucket, Control::BucketPolicy, vec![("policy".to_owned(), text)], is_broken);
    }

    /// Takes something off the baseline.
    fn insider(self: &Rc<Self>, place: usize, rng: &mut Rng) {
        match self.options.controls(place)[..] {
            [control @ (Control::KmsKey | Control::Trail)] => self.harm(control, rng),
            _ => self.drift(place, any_control(rng), rng),
        }
    }

    fn drift(self: &Rc<Self>, bucket: usize, control: Control, rng: &mut Rng) {
        let subresource = control::subresource(control).unwrap_or_default();
        let keeps_owners = rng.bool();
        let is_merged = matches!(control, Control::BucketPolicy | Control::Lifecycle);
        let documents = if is_merged && keeps_owners {
            let read = self.settings.borrow().of(bucket, control).clone();
            vec![(subresource.to_owned(), settings::kept(subresource, read.text.as_deref(), |it| it.is_some()))]
        } else {
            settings::broken(control)
        };
        self.others_write(Writer::Insider, bucket, control, documents, true);
    }

    /// Lets a control drift for some minutes.
    fn exempt(&self, bucket: usize, rng: &mut Rng) {
        let (control, last) = (any_control(rng), rng.u64(MINUTE..5 * MINUTE));
        let until = timestamp(self.now() + last).to_string();
        let mut state = self.fake.state();
        if let Some(text) = state.parameters.get_mut(&parameter(bucket)) {
            let Ok(mut document) = serde_json::from_str::<Value>(text) else { return };
            document["exemptions"] =
                json!([{"control": control, "until": until, "reason": "a move", "approved_by": "an operator"}]);
            *text = document.to_string();
        }
        drop(state);
        self.note(bucket, What::Exempted { control, until: last });
    }

    /// An owner works at the moment of a look.
    pub(super) fn beside(&self, bucket: usize) {
        let Some(mut rng) = self.fails(Kind::Beside, bucket, 10) else { return };
        self.act_in(rng.u64(..300), async move |run| owner(run, bucket, 300, &mut rng).await);
    }

    /// Somebody times a call of their own into our echo, which comes after `echo`, so that both may be in one batch.
    pub(super) fn time_a_call_into(&self, bucket: usize, control: Control, echo: Time) {
        let Some(mut rng) = self.fails(Kind::Timed, bucket, 8) else { return };
        let wait = echo.saturating_sub(rng.u64(200..6 * SECOND));
        let is_same = rng.bool() && bucket < self.options.buckets;
        self.act_in(wait, async move |run| match is_same {
            true => run.drift(bucket, control, &mut rng),
            false => run.insider(bucket, &mut rng),
        });
    }

    /// Somebody acts after a while, unless actors rest by then.
    fn act_in(&self, wait: Time, act: impl AsyncFnOnce(&Rc<Self>) + 'static) {
        if self.now() + wait < self.active {
            let this = super::current();
            spawn(async move {
                sleep(wait).await;
                act(&this).await;
            });
        }
    }
}
