//! The exit codes of `kiro-backend healthcheck`.

use std::{fs, net::TcpListener, process::Output};

use anyhow::Result;

use crate::process::{Process, binary};

fn healthcheck(addr: &str) -> Result<Output> {
    let mut command = binary();
    command.arg("healthcheck").env("BACKEND_ADDR", addr);
    Ok(command.output()?)
}

/// Checks that the health check failed and gave its reason in one line.
fn assert_unhealthy(output: &Output, reason: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains(reason), "{stderr}");
}

#[test]
fn a_running_service_is_healthy() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let process = Process::start(&folder.path().join("notes.db"))?;
    // Whatever interface the service listens on, it is asked on loopback.
    let output = healthcheck(&format!("0.0.0.0:{}", process.addr.port()))?;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    Ok(())
}

#[test]
fn a_service_without_database_is_unhealthy() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let database = folder.path().join("notes.db");
    let process = Process::start(&database)?;
    fs::remove_file(&database)?;
    assert_unhealthy(&healthcheck(&process.addr.to_string())?, "503");
    Ok(())
}

#[test]
fn a_closed_port_is_unhealthy() -> Result<()> {
    // A free port could be taken by another test at any time; port 1 is not.
    assert_unhealthy(&healthcheck("127.0.0.1:1")?, "cannot connect");
    Ok(())
}

#[test]
fn a_service_that_never_answers_is_unhealthy() -> Result<()> {
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let output = healthcheck(&silent.local_addr()?.to_string())?;
    assert_unhealthy(&output, "no answer");
    Ok(())
}

#[test]
fn a_bad_address_is_reported() -> Result<()> {
    assert_unhealthy(&healthcheck("nonsense")?, "nonsense");
    Ok(())
}
