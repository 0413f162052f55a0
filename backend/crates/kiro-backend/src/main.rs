//! The command line of the service.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use kiro_backend::{
    cli::{Cli, Command},
    healthcheck, logging, server,
};

/// What the build step found when it hashed the sources: `--version` shows it, and whoever builds
/// images can compare it with the sources that were sent.
const REVISION: &str = match option_env!("KIRO_REVISION") {
    Some(revision) => revision,
    None => "unknown revision",
};

fn main() -> ExitCode {
    let version: &str = format!("{}\n{REVISION}", env!("CARGO_PKG_VERSION")).leak();
    let matches = Cli::command().long_version(version).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let outcome = match cli.command.unwrap_or_default() {
        Command::Serve => {
            logging::init(cli.log_format);
            server::start(&cli)
        }
        Command::Healthcheck => healthcheck::run(&cli),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kiro-backend: {error:#}");
            ExitCode::FAILURE
        }
    }
}
