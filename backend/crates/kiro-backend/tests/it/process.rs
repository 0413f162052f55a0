//! The real binary as a child process.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A command that runs the binary with nothing from our environment.
pub(crate) fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiro-backend"));
    command.env_clear();
    command
}

/// A service in a process of its own; killed when dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) addr: SocketAddr,
}

impl Process {
    /// Starts the service on a free port and waits until it listens.
    pub(crate) fn start(database: &Path) -> Result<Self> {
        let mut child = binary()
            .env("BACKEND_ADDR", "127.0.0.1:0")
            .env("DATABASE_PATH", database)
            .env("LOG_FORMAT", "json")
            .stdout(Stdio::piped())
            .spawn()?;
        let log = BufReader::new(child.stdout.take().context("a pipe")?);
        let addr = wait_until_listening(log)?;
        Ok(Self { child, addr })
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Waits for the end of the process, at most for `timeout`.
    pub(crate) fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + timeout;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(10));
        }
        bail!("still running after {timeout:?}")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail when the process has already ended, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads log lines up to the address, and the rest in the background so that
/// the service never writes to a closed pipe.
fn wait_until_listening(log: impl BufRead + Send + 'static) -> Result<SocketAddr> {
    let mut lines = log.lines();
    while let Some(line) = lines.next() {
        let entry: Value = serde_json::from_str(&line?)?;
        if entry["fields"]["message"] == "listening" {
            thread::spawn(move || lines.for_each(drop));
            let addr = entry["fields"]["addr"].as_str().context("no address")?;
            return Ok(addr.parse()?);
        }
    }
    bail!("the service ended before it listened")
}
