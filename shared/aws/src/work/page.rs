//! A look's page of the ledger: what it reads, says and records there.

use std::collections::BTreeSet;

use guardrail_core::{
    control::table::Control,
    decide::{
        echo::Past,
        ledger::{ItemError, Looked},
        parts::LookedAtParts,
    },
    outcome::{
        ledger::{Fact, Intent, Item},
        report::Report,
        watched::Watched,
    },
    value::{
        failure::{ApiError, chain},
        names::TableName,
        subject::Subject,
    },
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use crate::{
    Guardrail,
    store::ledger::{self, Stored},
};

/// How often a look decides again because somebody else wrote in between.
const TRIES: usize = 8;

/// What a look has of its subject's item.
#[derive(Debug)]
pub struct Page<'a> {
    guardrail: &'a Guardrail,
    subject: String,
    /// Its own name.
    look: String,
    /// What it said that it would write.
    said: BTreeSet<Control>,
    state: State<'a>,
}

#[derive(Debug)]
enum State<'a> {
    /// There is no ledger, or the look is none of its concern.
    None,
    /// It cannot be used, and why: everything is told.
    Broken(String),
    Open {
        table: &'a TableName,
        version: u64,
        item: Box<Item>,
    },
}

/// Why a page cannot be used.
#[derive(Debug, thiserror::Error)]
enum PageError {
    #[error(transparent)]
    Call(#[from] ApiError),
    #[error("the ledger's item: {0}")]
    Item(#[from] ItemError),
    #[error("the ledger did not answer in time")]
    Late,
    #[error("the ledger's item was written by others {TRIES} times in a row")]
    Busy,
}

impl<'a> Page<'a> {
    /// Of a look that the ledger does not know of.
    pub fn none(guardrail: &'a Guardrail) -> Self {
        Self { guardrail, subject: String::new(), look: String::new(), said: BTreeSet::new(), state: State::None }
    }

    /// Whether the ledger does not know of the look.
    pub(super) fn is_none(&self) -> bool {
        matches!(self.state, State::None)
    }

    /// Reads a subject's item, unless that was done ahead.
    pub(super) async fn open(guardrail: &'a Guardrail, subject: &Subject, ahead: Option<Option<Stored>>) -> Self {
        let Some(table) = &guardrail.config.ledger_table else { return Self::none(guardrail) };
        let subject = subject.to_string();
        let look = format!("{:016x}", guardrail.clock.random());
        let mut this = Self { guardrail, subject, look, said: BTreeSet::new(), state: State::None };
        let stored = match ahead {
            Some(stored) => Ok(stored),
            None => ledger::read(guardrail, table.as_str(), std::slice::from_ref(&this.subject))
                .await
                .map(|mut it| it.remove(&this.subject)),
        };
        this.state = stored.map_err(PageError::from).and_then(|it| opened(guardrail, table, it)).unwrap_or_else(broken);
        this
    }

    /// Adds what others did to what a look knows.
    pub(super) fn inform(&self, past: &mut Past, now: Timestamp) {
        if let State::Open { item, .. } = &self.state {
            item.inform(&self.look, past, now);
        }
    }

    /// Says what is about to be written, and adds what others said meanwhile. `false`: nothing more is known.
    pub(super) async fn begin(&mut self, controls: Vec<Control>, past: &mut Past) -> bool {
        let State::Open { table, .. } = self.state else { return false };
        let now = self.guardrail.clock.now();
        // A look has one intent, and a later one takes the place of an earlier one.
        self.said.extend(controls);
        let intent = json!(Intent::new(self.said.iter().copied().collect(), now));
        let begin = ledger::begin(self.guardrail, table.as_str(), &self.subject, &self.look, &intent);
        // No restore waits for the ledger.
        let begun = timeout(ledger::ANSWER, Box::pin(begin)).await.map_err(|_| PageError::Late);
        let begun = begun.and_then(|it| Ok(it?)).and_then(|it| opened(self.guardrail, table, Some(it)));
        self.state = begun.unwrap_or_else(broken);
        self.inform(past, now);
        true
    }

    /// Adds what others have done since to what a look knows. `false`: nothing more is known.
    pub(super) async fn ask_again(&mut self, past: &mut Past) -> bool {
        let State::Open { table, .. } = self.state else { return false };
        self.read_again(table).await;
        self.inform(past, self.guardrail.clock.now());
        true
    }

    async fn read_again(&mut self, table: &'a TableName) {
        let read = ledger::read(self.guardrail, table.as_str(), std::slice::from_ref(&self.subject)).await;
        let read = read.map(|mut it| it.remove(&self.subject)).map_err(PageError::from);
        self.state = read.and_then(|it| opened(self.guardrail, table, it)).unwrap_or_else(broken);
    }

    /// Records what the look came to. What it is to tell then; `None`: everything, as nobody knows what was told before.
    pub(super) async fn record(&mut self, report: &mut Report) -> Option<Vec<Fact>> {
        let (look, guardrail) = (self.look.clone(), self.guardrail);
        let account = guardrail.config.account().to_string();
        let recorded = self
            .write(|item| item.recorded(&Looked { id: &look, now: guardrail.clock.now(), account: &account, report }))
            .await;
        match &self.state {
            State::None => None,
            State::Broken(error) => {
                report.ledger_error = Some(error.clone());
                None
            }
            State::Open { item, .. } => {
                report.kept_open = recorded;
                report.incident = item.incident.as_ref().map(|it| it.id.clone());
                Some(item.to_tell(&self.look).into_iter().cloned().collect())
            }
        }
    }

    /// The same of a look at the guardrail's own parts, or only at those that a call may have changed.
    pub(super) async fn record_parts(&mut self, watched: &mut Watched, at_all: bool) -> Option<Vec<Fact>> {
        let (look, guardrail) = (self.look.clone(), self.guardrail);
        let account = guardrail.config.account().to_string();
        let recorded = self
            .write(|item| {
                let now = guardrail.clock.now();
                item.recorded_of_parts(&LookedAtParts { id: &look, now, account: &account, watched, at_all })
            })
            .await;
        match &self.state {
            State::None => None,
            State::Broken(error) => {
                watched.ledger_error = Some(error.clone());
                None
            }
            State::Open { item, .. } => {
                watched.kept_open = recorded;
                watched.incident = item.incident.as_ref().map(|it| it.id.clone());
                Some(item.to_tell(&self.look).into_iter().cloned().collect())
            }
        }
    }

    /// People have been told; what is to be told after that.
    pub(super) async fn confirm(&mut self) -> Vec<Fact> {
        let (look, guardrail) = (self.look.clone(), self.guardrail);
        self.write(|item| item.confirmed(&look, guardrail.clock.now())).await;
        match &self.state {
            State::Open { item, .. } => item.to_tell(&self.look).into_iter().cloned().collect(),
            State::None | State::Broken(_) => Vec::new(),
        }
    }

    /// People could not be told: others may. `is_hinted`: they know that there is something.
    pub(super) async fn release(&mut self, is_hinted: bool) {
        let look = self.look.clone();
        self.write(|item| item.released(&look, is_hinted)).await;
    }

    /// Its own name.
    pub(super) fn look(&self) -> &str {
        &self.look
    }

    /// Writes a new state of the item, decided again when somebody else was first. `false`: it could not be.
    async fn write(&mut self, decide: impl Fn(Item) -> Item) -> bool {
        let State::Open { table, .. } = self.state else { return false };
        for _ in 0..TRIES {
            let State::Open { version, item, .. } = &mut self.state else { return false };
            let new = decide((**item).clone());
            if !item.is_worth_writing(&new) {
                return true;
            }
            let written = match json!(new) {
                Value::Object(map) => {
                    ledger::replace(self.guardrail, table.as_str(), &self.subject, *version, &map).await
                }
                _ => Ok(false),
            };
            match written {
                Ok(true) => {
                    *version += 1;
                    **item = new;
                    return true;
                }
                Ok(false) => self.read_again(table).await,
                Err(error) => self.state = broken(error.into()),
            }
        }
        self.state = broken(PageError::Busy);
        false
    }
}

fn opened<'a>(guardrail: &Guardrail, table: &'a TableName, stored: Option<Stored>) -> Result<State<'a>, PageError> {
    let Stored { version, item } = stored.unwrap_or(Stored { version: 0, item: Map::new() });
    Ok(State::Open { table, version, item: Box::new(Item::read(item, guardrail.clock.now())?) })
}

fn broken<'a>(error: PageError) -> State<'a> {
    let error = chain(&error);
    tracing::error!(error, "the ledger cannot be used, so everything is told");
    State::Broken(error)
}
