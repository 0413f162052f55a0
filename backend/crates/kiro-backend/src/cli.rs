//! Command line arguments and the environment variables behind them.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};

/// Greets visitors and keeps notes, over HTTP.
#[derive(Debug, Clone, Parser)]
#[command(name = "kiro-backend", version)]
pub struct Cli {
    /// Address and port to listen on.
    #[arg(
        long,
        env = "BACKEND_ADDR",
        default_value = "0.0.0.0:8080",
        global = true
    )]
    pub addr: String,

    /// The SQLite file that keeps the notes; created when absent.
    #[arg(
        long,
        env = "DATABASE_PATH",
        default_value = "data/notes.db",
        global = true
    )]
    pub database: PathBuf,

    /// How log lines look.
    #[arg(
        long,
        env = "LOG_FORMAT",
        value_enum,
        default_value_t,
        ignore_case = true,
        global = true
    )]
    pub log_format: LogFormat,

    /// What to do; serves when nothing is given.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the program is asked to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Answer HTTP requests until told to stop (the default).
    #[default]
    Serve,
    /// Ask the service on this machine whether it is healthy.
    Healthcheck,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line, for programs.
    Json,
}

impl Cli {
    /// The address to listen on.
    ///
    /// # Errors
    ///
    /// Fails when it is not an IP address with a port.
    pub fn listen_addr(&self) -> anyhow::Result<SocketAddr> {
        self.addr.parse().with_context(|| {
            format!(
                "BACKEND_ADDR must look like 0.0.0.0:8080, not {:?}",
                self.addr
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_are_accepted_after_the_command() {
        let cli = Cli::parse_from(["kiro-backend", "serve", "--addr", "[::1]:9000"]);
        assert_eq!(cli.command, Some(Command::Serve));
        assert_eq!(cli.listen_addr().expect("a valid address").port(), 9000);
    }

    #[test]
    fn an_address_without_a_port_is_refused() {
        let cli = Cli::parse_from(["kiro-backend", "--addr", "localhost"]);
        let error = cli.listen_addr().expect_err("no port");
        assert!(error.to_string().contains("localhost"));
    }
}
