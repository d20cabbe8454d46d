//! A deterministic simulator of the chain: one seed decides everything, and time is virtual.
//!
//! This is its core tier: the pure decisions of `guardrail-core` over a model of S3, CloudTrail and Lambda. The shell of a
//! look (`work/reconcile.rs`) is modelled in [`look`], call by call, so that the calls of several looks, owners and attackers
//! interleave.

mod history;
mod look;
mod world;

pub use self::history::{History, Options, history};

/// A defect on purpose, which the simulator has to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Plant {
    /// Our own events are taken for those of others.
    ForgetEchoes,
    /// A merged document is written as it was first read.
    DropReread,
    /// A write that S3 refused as busy counts as done.
    SwallowConflict,
    /// What may not be read counts as not configured.
    DeniedIsAbsent,
    /// The sweep does not come.
    NoSweep,
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::ForgetEchoes, Self::DropReread, Self::SwallowConflict, Self::DeniedIsAbsent, Self::NoSweep];
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many seeds are looked at for each planted defect.
    const BUDGET: u64 = 400;

    #[test]
    fn the_same_seed_is_the_same_history() {
        for seed in [1, 2] {
            let [first, again] = [0, 1].map(|_| history(seed, &Options::default()));
            assert_eq!((first.digest, first.calls), (again.digest, again.calls));
            assert!(first.calls > 100, "{first:?}");
        }
        let [one, other] = [1, 2].map(|seed| history(seed, &Options::default()).digest);
        assert_ne!(one, other);
    }

    #[test]
    fn what_must_hold_holds() {
        for seed in 0..BUDGET {
            let history = history(seed, &Options::default());
            assert_eq!(history.violations, Vec::<String>::new(), "cargo simulate --seed {seed} --histories 1 --trace");
        }
    }

    #[test]
    fn each_planted_defect_is_found() {
        for plant in Plant::ALL {
            let options = Options { plant: Some(plant), ..Options::default() };
            let found = (0..BUDGET).any(|seed| !history(seed, &options).violations.is_empty());
            assert!(found, "{plant:?} was not found in {BUDGET} seeds");
        }
    }
}
