//! What a measurement has to say of where it was made.

use std::process::Command;

use crate::local_aws::{SetupError, run, workspace};

/// Where and with what all this was measured.
pub fn machine() -> Result<String, SetupError> {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu
        .lines()
        .find_map(|it| it.strip_prefix("model name"))
        .map_or("unknown", |it| it.trim_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = read("/proc/loadavg");
    let commit = run(Command::new("git").current_dir(workspace()).args(["describe", "--always", "--dirty"]))?;
    let rustc = run(Command::new("rustc").arg("--version"))?;
    let lock = read(&workspace().join("Cargo.lock").to_string_lossy());
    let version = |name: &str| {
        let package = lock.split("[[package]]").find(|it| it.contains(&format!("name = \"{name}\"\n")));
        let version = package.and_then(|it| it.split("version = \"").nth(1)?.split('"').next());
        format!("{name} {}", version.unwrap_or("?"))
    };
    let crates = ["aws-sdk-s3", "lambda_runtime", "tokio", "criterion"].map(version).join(", ");
    Ok(format!(
        "| | |\n|---|---|\n| machine | {model}, {cores} cores, {}; load {} |\n| versions | {}, {crates} |\n| commit | {} |\n",
        std::env::consts::ARCH,
        load.split(' ').next().unwrap_or("unknown"),
        rustc.trim(),
        commit.trim(),
    ))
}
