//! The command line of the service.

use std::process::ExitCode;

use clap::Parser;
use kiro_backend::{
    cli::{Cli, Command},
    healthcheck, logging, server,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
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
