//! `cargo screens`: the pictures of the README, from what the programs really print.

#![recursion_limit = "256"]
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::{
    path::Path,
    process::{Command, ExitCode},
};

use anstyle_svg::Term;
use guardrail_tests::{
    deploy,
    local_aws::{ACCOUNT, Keys, LocalAws, REGION, SetupError, run, workspace},
};

fn main() -> ExitCode {
    match screens() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("screens stopped: {error}");
            ExitCode::FAILURE
        }
    }
}

fn screens() -> Result<(), SetupError> {
    let folder = deploy::build_packages(&["guardrail-cli", "guardrail-tests"])?;
    draw("demo", &run(&mut Command::new(folder.join("demo")))?)?;
    draw("plan", &plan(&folder.join("guardrail"))?)
}

/// The plan of a bucket that nobody has guarded yet.
fn plan(guardrail: &Path) -> Result<String, SetupError> {
    let aws = LocalAws::start(&workspace().join("target/local-aws/screens"))?;
    let administrator = Keys::administrator(ACCOUNT);
    let location = format!("LocationConstraint={REGION}");
    aws.aws(
        &administrator,
        &["s3api", "create-bucket", "--bucket", "acme-data", "--create-bucket-configuration", &location],
    )?;
    aws.aws(&administrator, &["s3api", "delete-public-access-block", "--bucket", "acme-data"])?;
    let create = ["kms", "create-key", "--query", "KeyMetadata.Arn", "--output", "text"];
    let key = aws.aws(&administrator, &create)?;
    let mut plan = aws.command(&guardrail.to_string_lossy(), &administrator);
    plan.env("SSL_CERT_FILE", &aws.ca).env("CLICOLOR_FORCE", "1").args(["--endpoint-url", &aws.https]);
    let output = plan.args(["plan", "acme-data", "--key-arn", &key]).output();
    let output = output.map_err(|error| SetupError(format!("guardrail plan: {error}")))?;
    Ok(format!("$ guardrail plan acme-data --key-arn {key}\n{}", String::from_utf8_lossy(&output.stdout)))
}

fn draw(name: &str, text: &str) -> Result<(), SetupError> {
    let file = workspace().join(format!("infra/screens/{name}.svg"));
    let failed = |error: std::io::Error| SetupError(format!("{}: {error}", file.display()));
    std::fs::create_dir_all(workspace().join("infra/screens")).map_err(failed)?;
    std::fs::write(&file, Term::new().render_svg(text)).map_err(failed)?;
    println!("{}", file.display());
    Ok(())
}
