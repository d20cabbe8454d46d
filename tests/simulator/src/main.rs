//! `cargo simulate`: histories of the chain, each decided by its seed.

use std::{process::ExitCode, time::Instant};

use clap::Parser;
use guardrail_simulator::{Options, Plant, history};

/// Runs histories of a bucket in virtual time, and says what should have held and did not.
#[derive(Debug, Parser)]
struct Arguments {
    /// The first seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many histories, each of the next seed
    #[arg(long, default_value_t = 1_000)]
    histories: u64,
    /// A defect to plant, to be found
    #[arg(long, value_name = "BUG")]
    plant: Option<Plant>,
    /// Show each call
    #[arg(long)]
    trace: bool,
}

#[expect(clippy::print_stdout, reason = "a command's answer")]
fn main() -> ExitCode {
    let Arguments { seed, histories, plant, trace } = Arguments::parse();
    let options = Options { plant, trace };
    let begun = Instant::now();
    let (mut calls, mut writes, mut causes, mut faults, mut lost, mut window) = (0, 0, 0, 0, 0, 0);
    let (mut broken, mut digest, mut misjudged) = (0_u64, 0_u64, 0);
    for seed in seed..seed + histories {
        let history = history(seed, &options);
        history.trace.iter().for_each(|it| println!("{it}"));
        for violation in &history.violations {
            println!("seed {seed}: {violation}");
        }
        broken += u64::from(!history.violations.is_empty());
        digest ^= history.digest.rotate_left(u32::try_from(seed % 64).unwrap_or_default());
        calls += history.calls;
        writes += history.writes;
        causes += history.causes;
        faults += history.faults;
        lost += history.lost;
        misjudged += history.misjudged;
        window = window.max(history.longest_window);
    }
    println!(
        "{histories} histories in {:.1} s: {calls} calls, {causes} by others, {writes} writes of ours, {faults} faults",
        begun.elapsed().as_secs_f64()
    );
    println!(
        "owners' entries written over within the documented window: {lost}, at most {window} ms after they were read"
    );
    println!("told as unstable although somebody else had changed it since: {misjudged}");
    println!("histories in which something did not hold: {broken}; digest {digest:016x}");
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
