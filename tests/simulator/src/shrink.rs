//! The shortest history in which the same does not hold, for a person to follow.

use std::{collections::BTreeSet, fmt, ops::Range, rc::Rc};

use crate::{
    Options,
    dice::Choice,
    history::{History, Simulator},
    notes::{Note, What},
};

/// A history of which no act and no fault can be left out.
#[derive(Clone, Debug)]
pub struct Shrunk {
    pub seed: u64,
    pub only: BTreeSet<Choice>,
    pub history: History,
}

impl Simulator {
    /// The shortest of the first few histories in which something does not hold.
    pub fn shortest(&self, seeds: Range<u64>) -> Option<Shrunk> {
        seeds.filter_map(|it| self.shrink(it)).take(8).min_by_key(|it| it.only.len())
    }

    /// Leaves out of a history what it does not need for what did not hold first; `None`: all of it held.
    pub fn shrink(&self, seed: u64) -> Option<Shrunk> {
        let whole = self.history(seed);
        let hold = whole.violations.first()?.0;
        let of = |only: &[Choice]| {
            let only = Some(Rc::new(only.iter().copied().collect()));
            let history = self.history_of(seed, &Options { only, trace: true, ..self.options.clone() });
            history.violations.iter().any(|it| it.0 == hold).then_some(history)
        };
        let mut kept = whole.happened;
        let mut history = of(&kept)?;
        // Large parts first, then smaller ones, until not even one can go.
        let mut size = kept.len().div_ceil(2);
        loop {
            let mut at = 0;
            let before = kept.len();
            while at < kept.len() {
                let without: Vec<_> = kept.iter().take(at).chain(kept.iter().skip(at + size)).copied().collect();
                match of(&without) {
                    Some(shorter) => (kept, history) = (without, shorter),
                    None => at += size,
                }
            }
            match (size, kept.len() < before) {
                (0 | 1, false) => break,
                (_, true) => {}
                _ => size = size.div_ceil(2),
            }
        }
        Some(Shrunk { seed, only: kept.into_iter().collect(), history })
    }
}

impl fmt::Display for Shrunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let only: Vec<_> = self.only.iter().map(ToString::to_string).collect();
        writeln!(f, "--seed {} --histories 1 --only \"{}\"", self.seed, only.join(" "))?;
        let is_violation = |it: &Note| matches!(it.what, What::Violated { .. });
        let trace = &self.history.trace;
        let end = trace.iter().position(is_violation).map_or(trace.len(), |it| it + 1);
        trace[..end].iter().filter(|it| it.is_worth_words()).try_for_each(|it| writeln!(f, "{it}"))
    }
}
