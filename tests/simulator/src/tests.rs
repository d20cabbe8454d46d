use std::rc::Rc;

use super::{dice::Kind, *};

/// How many seeds are looked at for each planted defect.
const BUDGET: u64 = 1_000;

/// What was found once, shrunk: it holds now, and does not with this defect.
const REGRESSIONS: &[(Plant, u64, &str)] = &[];

#[test]
fn the_same_seed_is_the_same_history() {
    let simulator = Simulator::new(Options::default());
    for seed in [1, 2] {
        let [first, again] = [0, 1].map(|_| simulator.history(seed));
        assert_eq!((first.digest, first.notes), (again.digest, again.notes));
        let another = Simulator::new(Options::default()).history(seed);
        assert_eq!(first.digest, another.digest, "what it has learned decides nothing");
        assert!(first.notes > 100, "{first:?}");
    }
    let [one, other] = [1, 2].map(|seed| simulator.history(seed).digest);
    assert_ne!(one, other);
}

#[test]
fn what_must_hold_holds() {
    for (options, seeds) in [
        (Options::default(), 400),
        (Options { buckets: 3, ..Options::default() }, 200),
        (Options { buckets: 2, hours: Some(2), ..Options::default() }, 4),
    ] {
        let simulator = Simulator::new(options);
        for seed in 0..seeds {
            if let Some(shrunk) = simulator.shrink(seed) {
                panic!("{:?}\ncargo simulate {shrunk}", simulator.options);
            }
        }
    }
}

#[test]
fn each_planted_defect_is_found() {
    for plant in Plant::ALL {
        let simulator = Simulator::new(Options { plant: Some(plant), ..Options::default() });
        let found = (0..BUDGET).any(|seed| !simulator.history(seed).violations.is_empty());
        assert!(found, "{plant:?} was not found in {BUDGET} seeds");
    }
}

#[test]
fn what_is_found_is_told_shortly() {
    let simulator = Simulator::new(Options { plant: Some(Plant::SwallowConflict), ..Options::default() });
    let shrunk = simulator.shortest(0..10).unwrap();
    let kinds: Vec<_> = shrunk.only.iter().map(|it| it.kind).collect();
    assert_eq!(kinds, [Kind::Insider, Kind::Busy], "{shrunk}");
}

#[test]
fn what_was_found_once_is_found_again() {
    for (plant, seed, only) in REGRESSIONS {
        let only = Some(Rc::new(choices(only).unwrap()));
        let violations = |plant| {
            Simulator::new(Options { plant, only: only.clone(), ..Options::default() }).history(*seed).violations
        };
        assert_eq!(violations(None), []);
        assert_ne!(violations(Some(*plant)), [], "{plant:?}");
    }
}
