//! A deterministic simulator of the chain: one seed decides everything, and time is virtual.
//!
//! This is its core tier: the pure decisions of `guardrail-core` over a model of S3, CloudTrail, EventBridge, SQS and Lambda.
//! What the functions do between the decisions is modelled call by call, as tasks that interleave: [`invocation`] is
//! `work/remediate.rs`, [`look`] is `work/reconcile.rs`.

mod actors;
mod chain;
mod clock;
mod dice;
mod history;
mod holds;
mod invocation;
mod ledger;
mod look;
mod notes;
mod shrink;
mod simulation;
mod timeline;
mod world;

use std::{collections::BTreeSet, rc::Rc};

pub use self::{
    clock::{MINUTE, SECOND, Time},
    dice::{Choice, Dice, Kind},
    history::{History, Simulator, choices},
    holds::Hold,
    notes::{Note, Notes, Shows, What},
    shrink::Shrunk,
    simulation::{since_begin, timestamp},
    timeline::svg,
    world::Writer,
};

/// What a history is to be like.
#[derive(Clone, Debug)]
pub struct Options {
    pub buckets: usize,
    /// For how long actors act; `None`: a short history, of five minutes.
    pub hours: Option<u64>,
    /// A defect on purpose.
    pub plant: Option<Plant>,
    /// The acts and faults that may happen; `None`: all.
    pub only: Option<Rc<BTreeSet<Choice>>>,
    /// Whether each thing that happens is kept.
    pub trace: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { buckets: 1, hours: None, plant: None, only: None, trace: false }
    }
}

/// A defect on purpose, which the simulator has to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Plant {
    /// Our own events are taken for those of others.
    ForgetEchoes,
    /// A look has the generation of its earliest message, not the least.
    EarliestGeneration,
    /// A merged document is written as it was first read.
    DropReread,
    /// A write that S3 refused as busy counts as done.
    SwallowConflict,
    /// What may not be read counts as not configured.
    DeniedIsAbsent,
    /// What is doubtful is not read again.
    NoSecondLook,
    /// What was read counts as from when its answer came.
    LateClock,
    /// What the read right before a write shows as good is never doubtful.
    BelieveLastRead,
    /// Controls are restored in another order.
    AnotherOrder,
    /// What did not hold is unstable when its event came for the third time.
    CountReceives,
    /// Of the messages that go back, an event of our own is kept.
    KeepEcho,
    /// The sweep does not come.
    NoSweep,
    /// Writes begin although the time is over.
    ForgetDeadline,
    /// A message is deleted before its look.
    DeleteFirst,
    /// No look says that it is about to write.
    NoIntent,
    /// The ledger says that people were told before they are.
    ConfirmFirst,
    /// A restore that another look has told counts once more.
    CountTwice,
    /// What somebody else restored between the read and the write is taken for a write of our own.
    CountOthers,
    /// What happens soon after people were told of something is not told, whoever did it.
    SilenceCaller,
    /// A call that was refused is taken for one that was done.
    RefusedIsDone,
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::ForgetEchoes,
        Self::EarliestGeneration,
        Self::DropReread,
        Self::SwallowConflict,
        Self::DeniedIsAbsent,
        Self::NoSecondLook,
        Self::LateClock,
        Self::BelieveLastRead,
        Self::AnotherOrder,
        Self::CountReceives,
        Self::KeepEcho,
        Self::NoSweep,
        Self::ForgetDeadline,
        Self::DeleteFirst,
        Self::NoIntent,
        Self::ConfirmFirst,
        Self::CountTwice,
        Self::CountOthers,
        Self::SilenceCaller,
        Self::RefusedIsDone,
    ];
}

#[cfg(test)]
mod tests;
