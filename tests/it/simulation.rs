//! Histories of the functions' real handlers over the fake, each decided by its seed. More of them: `cargo simulate --tier
//! sdk`.

use guardrail_simulator::Hold;
use guardrail_tests::simulation::{Options, Plant, Simulator};

/// What each planted defect breaks, and after how many seeds that is seen at the latest.
const BREAKS: [(Plant, Hold, u64); Plant::ALL.len()] = [
    (Plant::NamelessEchoes, Hold::NoEcho, 8),
    (Plant::DeafTopic, Hold::Told, 4),
    (Plant::LyingWrites, Hold::InTime, 8),
    (Plant::StaleIndex, Hold::InTime, 8),
];

#[test]
fn the_same_seed_is_the_same_history_of_calls() {
    let options = || Options { buckets: 1, ..Options::default() };
    let simulator = Simulator::new(options());
    let [one, other] = [1, 2].map(|seed| simulator.history(seed));
    assert!(one.calls > 100 && one.writes > 0, "{one:?}");
    // In another order: what one history did is nothing to the next.
    let simulator = Simulator::new(options());
    let [other_again, one_again] = [2, 1].map(|seed| simulator.history(seed));
    assert_eq!((one.digest, other.digest), (one_again.digest, other_again.digest));
    assert_ne!(one.digest, other.digest);
}

#[test]
fn what_must_hold_of_the_real_functions_holds() {
    let simulator = Simulator::new(Options::default());
    for seed in 0..4 {
        let violations = simulator.history(seed).violations;
        assert_eq!(violations, [], "cargo simulate --tier sdk --seed {seed} --histories 1 --trace");
    }
}

#[test]
fn a_defect_around_the_functions_is_found() {
    for (plant, hold, budget) in BREAKS {
        let simulator = Simulator::new(Options { buckets: 1, plant: Some(plant), ..Options::default() });
        let violates = |seed| simulator.history(seed).violations.iter().any(|it| it.0 == hold);
        assert!((0..budget).any(violates), "{plant:?} was not found");
    }
}
