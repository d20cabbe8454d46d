//! `cargo bench`: what deciding, restoring, starting and sweeping take. Prints BENCHMARKS.md, and writes it.

#![recursion_limit = "256"]
#![expect(clippy::print_stdout, reason = "a program for people")]

mod decide;
mod process;
mod restore;

use std::{fmt::Write as _, process::ExitCode};

use guardrail_tests::{
    local_aws::{SetupError, workspace},
    machine::machine,
};

/// One line of the first table.
struct Goal {
    what: &'static str,
    goal: String,
    measured: String,
    met: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().collect();
    if let [_, decide::COUNTED, case, times] = &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        decide::again_and_again(case, times.parse().unwrap_or_default());
        return ExitCode::SUCCESS;
    }
    match report() {
        Ok(report) => {
            println!("\n{report}");
            match write(&report) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => failed(&error.to_string()),
            }
        }
        Err(error) => failed(&error.to_string()),
    }
}

/// Where what this program does not measure begins.
const BY_HAND: &str = "## Tests that can fail";

/// Writes the report, and leaves what stands there from others.
fn write(report: &str) -> std::io::Result<()> {
    let path = workspace().join("BENCHMARKS.md");
    let before = std::fs::read_to_string(&path)?;
    let by_hand = before.find(BY_HAND).map_or("", |it| &before[it..]);
    std::fs::write(path, format!("{}\n\n{by_hand}", report.trim_end()))
}

fn failed(error: &str) -> ExitCode {
    println!("the benchmarks stopped: {error}");
    ExitCode::FAILURE
}

fn report() -> Result<String, SetupError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| SetupError(error.to_string()))?;
    let mut goals = Vec::new();
    let decide = decide::section()?;
    let restore = runtime.block_on(restore::section(&mut goals))?;
    let process = runtime.block_on(process::section(&mut goals))?;

    let mut text = "# Benchmarks\n\n\
        The last run of `cargo bench`, which writes this file. Figures are of one machine at one time; ratios and counts are\n\
        what to compare.\n\n"
        .to_owned();
    text.push_str(&machine()?);
    text.push_str("\n## Goals\n\n| what | goal | measured | met |\n|---|---|---|---|\n");
    for Goal { what, goal, measured, met } in goals {
        let _ = writeln!(text, "| {what} | {goal} | {measured} | {} |", if met { "yes" } else { "**no**" });
    }
    text.push_str(&format!("\n{restore}\n{process}\n{decide}"));
    Ok(text)
}
