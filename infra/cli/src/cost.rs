use crate::{Exit, error::CliError};
use clap::Args;
#[derive(Debug, Args)]
pub(crate) struct Usage {
    #[arg(long, default_value_t = 1)]
    pub buckets: u64,
}
pub(crate) fn run(_: &Usage, _: bool) -> Result<Exit, CliError> {
    Ok(Exit::Compliant)
}
