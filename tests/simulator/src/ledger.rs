//! The ledger as it is: one item a bucket, written whole if nobody else wrote it since, and the calls that do so.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use guardrail_core::{
    control::table::Control,
    decide::ledger::Looked,
    outcome::{
        ledger::{Fact, FactKind, Intent, Item},
        report::Report,
    },
};
use jiff::{SignedDuration, Timestamp};

use crate::{
    Plant,
    clock::{SECOND, unless},
    dice::Kind,
    invocation::Invocation,
    notes::What,
};

/// How often a look decides again because somebody else wrote its item.
const TRIES: usize = 8;

/// The table: an item a bucket, and how often it was written.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    items: RefCell<BTreeMap<usize, (u64, Rc<Item>)>>,
}

/// The ledger did not answer.
#[derive(Debug)]
pub(crate) struct Unreachable;

impl Ledger {
    pub(crate) fn item(&self, bucket: usize) -> (u64, Rc<Item>) {
        self.items.borrow().get(&bucket).cloned().unwrap_or_default()
    }

    fn put(&self, bucket: usize, item: Rc<Item>) {
        let mut items = self.items.borrow_mut();
        let stored = items.entry(bucket).or_default();
        *stored = (stored.0 + 1, item);
    }
}

/// A look's dealings with the ledger.
#[derive(Debug)]
pub(crate) struct Clerk<'a> {
    pub(crate) by: &'a Invocation,
    pub(crate) bucket: usize,
    /// The look's name.
    pub(crate) id: String,
    /// The item as the look knows it, and its version; `None`: it cannot be used.
    pub(crate) page: RefCell<Option<(u64, Rc<Item>)>>,
}

impl Clerk<'_> {
    fn now(&self) -> Timestamp {
        self.by.clock()
    }

    /// A call, which may fail on its way; or its answer may, after what it is for was done.
    async fn call<T>(&self, work: impl FnOnce(&Ledger) -> T) -> Result<T, Unreachable> {
        let (sim, bucket) = (&self.by.sim, self.bucket);
        self.by.travel(bucket).await;
        if sim.fails(Kind::LedgerDown, bucket, 60).is_some() {
            sim.clock.sleep(SECOND).await;
            self.unheard();
            return Err(Unreachable);
        }
        let done = work(&sim.ledger);
        self.by.travel(bucket).await;
        match sim.fails(Kind::LedgerUnanswered, bucket, 120) {
            Some(_) => {
                self.unheard();
                Err(Unreachable)
            }
            None => Ok(done),
        }
    }

    /// The ledger is not heard of.
    fn unheard(&self) {
        let Self { by, bucket, .. } = self;
        by.sim.note(*bucket, What::NoLedger { by: by.number });
        by.sim.holds.borrow_mut().unheard_ledgers.insert(*bucket);
    }

    /// Reads the item; `None`: it cannot be used.
    pub(crate) async fn open(&self) -> Option<Rc<Item>> {
        let read = self.call(|ledger| ledger.item(self.bucket)).await.ok();
        self.page.replace(read.clone());
        Some(read?.1)
    }

    /// Says what will be written; the item as it is then.
    pub(crate) async fn begin(&self, controls: Vec<Control>) -> Option<Rc<Item>> {
        self.page.borrow().as_ref()?;
        let intent = Intent::new(controls, self.now());
        let begun = self.call(|ledger| {
            let mut item = (*ledger.item(self.bucket).1).clone();
            item.intents.insert(self.id.clone(), intent);
            ledger.put(self.bucket, Rc::new(item));
            ledger.item(self.bucket)
        });
        // No restore waits for the ledger.
        let begun = unless(self.by.sim.clock.sleep(SECOND), begun).await;
        let begun = begun.inspect_err(|()| self.unheard()).ok().and_then(Result::ok);
        self.page.replace(begun.clone());
        Some(begun?.1)
    }

    /// Changes the item, again if somebody else did so meanwhile.
    async fn change(&self, decide: impl Fn(Item) -> Item) -> Result<Rc<Item>, Unreachable> {
        for _ in 0..TRIES {
            let (version, old) = self.page.borrow().clone().ok_or(Unreachable)?;
            let new = Rc::new(decide((*old).clone()));
            if !old.is_worth_writing(&new) {
                return Ok(new);
            }
            let is_written = self.call(|ledger| {
                let is_same = ledger.item(self.bucket).0 == version;
                if is_same {
                    ledger.put(self.bucket, Rc::clone(&new));
                }
                is_same
            });
            match is_written.await {
                Ok(true) => {
                    self.page.replace(Some((version + 1, Rc::clone(&new))));
                    return Ok(new);
                }
                Ok(false) => drop(self.open().await),
                Err(error) => {
                    self.page.replace(None);
                    return Err(error);
                }
            }
        }
        Err(Unreachable)
    }

    /// Records what the look came to, and claims what is untold.
    pub(crate) async fn record(&self, report: &Report) -> Result<Rc<Item>, Unreachable> {
        self.change(|mut item| {
            if self.by.sim.has(Plant::CountTwice) {
                item.writes.clear();
            }
            let incident = item.incident.as_ref().map(|it| it.last);
            let mut new = item.recorded(&Looked { id: &self.id, now: self.now(), account: "111122223333", report });
            let goes_on = incident.is_some_and(|it| self.now().duration_since(it) < SignedDuration::from_mins(1));
            if self.by.sim.has(Plant::SilenceCaller) && goes_on {
                new.untold.clear();
                new.telling = None;
            }
            new
        })
        .await
    }

    /// Tells people what is untold, until nothing is, and confirms it. `false`: they could not be told.
    pub(crate) async fn tell(&self, mut item: Rc<Item>) -> bool {
        loop {
            let facts: Vec<Fact> = item.to_tell(&self.id).into_iter().cloned().collect();
            if facts.is_empty() {
                return true;
            }
            let confirms_first = self.by.sim.has(Plant::ConfirmFirst);
            if confirms_first {
                let _ = self.confirm(&facts).await;
            }
            if !self.by.publish(self.bucket).await {
                // On failure the claim is given up, if that can be said.
                let _ = self.change(|it| it.released(&self.id, false)).await;
                return false;
            }
            self.by.sim.holds.borrow_mut().alerts += 1;
            self.by.sim.told_facts(self.bucket, self.by.number, &facts);
            if confirms_first {
                return true;
            }
            match self.confirm(&facts).await {
                Ok(fresh) => item = fresh,
                // The claim ends by itself, and somebody tells it again.
                Err(Unreachable) => return true,
            }
        }
    }

    async fn confirm(&self, facts: &[Fact]) -> Result<Rc<Item>, Unreachable> {
        let confirmed = self.change(|it| it.confirmed(&self.id, self.now())).await;
        self.by.sim.check_confirmed(self.bucket, facts);
        confirmed
    }
}

/// In a word, what people hear.
pub(crate) fn heard(kind: FactKind) -> &'static str {
    match kind {
        FactKind::Restored => "was restored",
        FactKind::Opened => "is not as it should be",
        FactKind::Reminder => "still is not as it should be",
        FactKind::Cleared => "is as it should be again",
        FactKind::Fight => "is fought over",
        FactKind::Exemption => "is exempt, or was",
        FactKind::Interrupted => "is good again, after a look that did not end",
        FactKind::Tampered => "was changed by a call",
        FactKind::Attempted => "was aimed at by a call that failed",
    }
}
