//! `cargo simulate`: histories of the chain, each decided by its seed.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::PathBuf,
    process::{Command, ExitCode},
    rc::Rc,
    time::Instant,
};

use clap::Parser;
use guardrail_simulator::{Note, Options, Plant, Simulator, choices, svg};

/// Runs histories in virtual time, and says what should have held and did not.
#[derive(Debug, Parser)]
struct Arguments {
    /// The first seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many histories, each of the next seed
    #[arg(long, default_value_t = 1_000)]
    histories: u64,
    /// For how many hours actors act, with a sweep each quarter; without: five minutes
    #[arg(long)]
    hours: Option<u64>,
    #[arg(long, default_value_t = 1)]
    buckets: usize,
    /// A defect to plant, to be found
    #[arg(long, value_name = "BUG")]
    plant: Option<Plant>,
    /// The only acts and faults that may happen, as a shrunk history names them
    #[arg(long, value_name = "CHOICES")]
    only: Option<String>,
    /// Leave out of a history in which something does not hold what it does not need, and tell what is left
    #[arg(long)]
    shrink: bool,
    /// Draw the first history into a file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Say what happens
    #[arg(long)]
    trace: bool,
    /// `core`: the pure decisions over a model of AWS; `sdk`: the functions' real handlers with the real SDK, with a
    /// `--help` of its own
    #[arg(long, default_value = "core", value_parser = ["core"])]
    tier: String,
}

/// What `--tier sdk` is given beside that; `None`: it is not asked for. The functions take minutes to build, and this
/// program seconds.
fn of_sdk_tier() -> Option<Vec<OsString>> {
    let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let place = arguments.windows(2).position(|it| it == ["--tier", "sdk"])?;
    arguments.drain(place..place + 2);
    Some(arguments)
}

/// Builds and runs the tier of the functions' real handlers.
fn run_sdk_tier(arguments: Vec<OsString>) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let run = ["run", "--profile", "simulate", "--package", "guardrail-tests", "--bin", "simulate-sdk", "--"];
    let status = Command::new(cargo).args(run).args(arguments).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[expect(clippy::print_stdout, reason = "a command's answer")]
fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    if let Some(arguments) = of_sdk_tier() {
        return run_sdk_tier(arguments);
    }
    let Arguments { seed, histories, hours, buckets, plant, only, shrink, svg: picture, trace, tier: _ } =
        Arguments::parse();
    let only = only.map(|it| choices(&it)).transpose()?.map(Rc::new);
    let simulator = Simulator::new(Options { buckets, hours, plant, only, trace: trace || picture.is_some() });
    let begun = Instant::now();
    let (mut notes, mut length, mut writes, mut causes, mut happened) = (0, 0, 0, 0, 0);
    let (mut lost, mut window, mut misjudged, mut broken, mut digest) = (0, 0, 0, 0_u64, 0_u64);
    let mut kinds = BTreeMap::<_, (u64, u64)>::new();
    if let Some(file) = picture {
        fs::write(file, svg(&simulator.history(seed).trace))?;
        return Ok(ExitCode::SUCCESS);
    }
    if shrink {
        let Some(shrunk) = simulator.shortest(seed..seed + histories) else {
            println!("everything holds");
            return Ok(ExitCode::SUCCESS);
        };
        print!("{shrunk}");
        return Ok(ExitCode::FAILURE);
    }
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
        notes += history.notes;
        length += history.length;
        writes += history.writes;
        causes += history.causes;
        happened += history.happened.len();
        lost += history.lost;
        misjudged += history.misjudged;
        window = window.max(history.longest_window);
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{histories} histories of {:.0} virtual minutes in {seconds:.1} s, {:.2} ms each: {notes} notes, {happened} acts \
         and faults, {causes} calls of others, {writes} writes of ours",
        length as f64 / 60_000.0 / histories as f64,
        seconds * 1_000.0 / histories as f64,
    );
    println!(
        "owners' entries written over within the documented window: {lost}, at most {window} ms after they were read"
    );
    println!("told as unstable although somebody else had changed it since: {misjudged}");
    for (hold, (count, seed)) in kinds {
        println!("{hold:?} did not hold {count} times, first in seed {seed}");
    }
    println!("histories in which something did not hold: {broken}; digest {digest:016x}");
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
