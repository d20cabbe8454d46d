//! `cargo simulate --tier sdk`: histories of the functions' real handlers, each decided by its seed.

use std::{collections::BTreeMap, process::ExitCode, rc::Rc, time::Instant};

use clap::Parser;
use guardrail_simulator::{Note, choices};
use guardrail_tests::simulation::{Options, Plant, Simulator};

/// Runs histories of the real functions in virtual time, and says what should have held and did not.
#[derive(Debug, Parser)]
#[command(name = "simulate --tier sdk")]
struct Arguments {
    /// The first seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many histories, each of the next seed
    #[arg(long, default_value_t = 100)]
    histories: u64,
    /// For how many hours actors act, with a sweep each quarter; without: five minutes
    #[arg(long)]
    hours: Option<u64>,
    #[arg(long, default_value_t = 2)]
    buckets: usize,
    /// A defect to plant around the functions, to be found
    #[arg(long, value_name = "BUG")]
    plant: Option<Plant>,
    /// The only acts and faults that may happen
    #[arg(long, value_name = "CHOICES")]
    only: Option<String>,
    /// Say what happens; the three numbers after the buckets' are everything else, their key and their trail
    #[arg(long)]
    trace: bool,
}

#[expect(clippy::print_stdout, reason = "a command's answer")]
fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let Arguments { seed, histories, hours, buckets, plant, only, trace } = Arguments::parse();
    let only = only.map(|it| choices(&it)).transpose()?.map(Rc::new);
    let simulator = Simulator::new(Options { buckets: buckets.max(1), hours, plant, only, trace });
    let begun = Instant::now();
    let (mut calls, mut looks, mut invocations, mut writes, mut causes) = (0, 0, 0, 0, 0);
    let (mut alerts, mut happened, mut lost, mut length, mut broken, mut digest) = (0, 0, 0, 0, 0_u64, 0_u64);
    let mut kinds = BTreeMap::<_, (u64, u64)>::new();
    for seed in seed..seed + histories {
        let history = simulator.history(seed);
        if trace {
            println!("seed {seed}");
        }
        history.trace.iter().filter(|it| Note::is_worth_words(it)).for_each(|it| println!("{it}"));
        for (hold, violation) in &history.violations {
            let (count, _) = kinds.entry(*hold).or_insert((0, seed));
            *count += 1;
            if *count <= 3 {
                println!("seed {seed}: {hold:?}: {violation}");
            }
        }
        broken += u64::from(!history.violations.is_empty());
        digest ^= history.digest.rotate_left(u32::try_from(seed % 64).unwrap_or_default());
        calls += history.calls;
        looks += history.looks;
        invocations += history.invocations;
        writes += history.writes;
        causes += history.causes;
        alerts += history.alerts;
        happened += history.happened.len();
        lost += history.lost;
        length += history.length;
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{histories} histories of {:.0} virtual minutes in {seconds:.1} s, {:.1} ms each: {happened} acts and faults, \
         {causes} calls of others, {invocations} invocations, {looks} looks, {calls} calls of AWS, {writes} writes of \
         ours, {alerts} messages to people",
        length as f64 / 60_000.0 / histories as f64,
        seconds * 1_000.0 / histories as f64,
    );
    println!("owners' entries written over within the documented window: {lost}");
    for (hold, (count, seed)) in kinds {
        println!("{hold:?} did not hold {count} times, first in seed {seed}");
    }
    println!("histories in which something did not hold: {broken}; digest {digest:016x}");
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
