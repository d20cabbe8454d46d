//! `guardrail`: what a person does with the guardrail at a terminal, with the same code as the functions.

// The SDK's futures nest deeply.
#![recursion_limit = "256"]

mod args;
mod bootstrap;
mod cost;
mod diff;
mod error;
mod exempt;
#[cfg(test)]
mod faults;
mod first_run;
mod history;
mod list;
#[cfg(test)]
mod models;
mod network;
mod output;
mod permissions;
mod plan;
mod preflight;
mod reconcile;
mod redrive;
mod replay;
mod restore_registration;
mod rollback;
mod session;
mod teardown;
mod verify;

use std::{io, process::ExitCode};

use clap::{CommandFactory, Parser};

use crate::{
    args::{Arguments, Command},
    error::CliError,
    session::Session,
};

/// How a command ends; the worst of several counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    Compliant,
    Drift,
    Error,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Compliant => 0,
            Exit::Drift => 2,
            Exit::Error => 1,
        })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Clap's own code for wrong usage means drift here.
            let exit = if error.use_stderr() { Exit::Error } else { Exit::Compliant };
            let _ = error.print();
            return exit.into();
        }
    };
    if arguments.global.no_color {
        anstream::ColorChoice::Never.write_global();
    }
    match run(arguments).await {
        Ok(exit) => exit.into(),
        // Whoever read the output has seen enough.
        Err(CliError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Compliant.into(),
        Err(error) => {
            output::complain("error", &error.to_string());
            Exit::Error.into()
        }
    }
}

async fn run(Arguments { global, command }: Arguments) -> Result<Exit, CliError> {
    match command {
        Command::Plan(arguments) => plan::run(&Session::new(&global, None).await?, &arguments).await,
        Command::Bootstrap(arguments) => bootstrap::run(&Session::new(&global, None).await?, arguments).await,
        Command::Reconcile(arguments) => {
            reconcile::run(&Session::new(&global, arguments.topic.clone()).await?, arguments).await
        }
        Command::List(arguments) => list::run(&Session::new(&global, None).await?, arguments).await,
        Command::Exempt(arguments) => exempt::run(&Session::new(&global, None).await?, arguments).await,
        Command::History(arguments) => history::run(&Session::new(&global, None).await?, arguments).await,
        Command::Rollback(arguments) => rollback::run(&Session::new(&global, None).await?, &arguments).await,
        Command::RestoreRegistration(arguments) => {
            restore_registration::run(&Session::new(&global, None).await?, &arguments).await
        }
        Command::Redrive { dry_run } => redrive::run(&Session::new(&global, None).await?, dry_run).await,
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Teardown(arguments) => teardown::run(&Session::new(&global, None).await?, &arguments).await,
        Command::Verify(arguments) => verify::run(&Session::new(&global, None).await?, arguments).await,
        Command::Preflight { bucket } => preflight::run(&Session::new(&global, None).await?, bucket).await,
        Command::FirstRun(arguments) => first_run::run(&Session::new(&global, None).await?, arguments).await,
        Command::Cost { usage, json } => cost::run(&usage, json),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "guardrail", &mut script);
            output::print(&String::from_utf8_lossy(&script))?;
            Ok(Exit::Compliant)
        }
    }
}
