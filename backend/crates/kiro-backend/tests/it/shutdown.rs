//! How the real process stops, and what it leaves behind.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use rustix::process::Signal;

use crate::{
    process::{Process, binary},
    support::client,
};

const BODY: &str = r#"{"text":"written while stopping"}"#;

/// Sends a request for a new note, but only half of its body.
fn start_request(process: &Process) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(process.addr)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        stream,
        "POST /api/notes HTTP/1.1\r\nhost: kiro\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{}",
        BODY.len(),
        &BODY[..10],
    )?;
    thread::sleep(Duration::from_millis(200));
    Ok(stream)
}

#[test]
fn an_idle_service_stops_at_once() -> Result<()> {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = tempfile::tempdir()?;
        let mut process = Process::start(&folder.path().join("notes.db"))?;
        let _idle_connection = TcpStream::connect(process.addr)?;
        process.signal(signal)?;
        let status = process.wait(Duration::from_secs(3))?;
        assert_eq!(status.code(), Some(0), "{signal:?}");
    }
    Ok(())
}

#[test]
fn a_request_under_way_is_finished() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut process = Process::start(&folder.path().join("notes.db"))?;
    let mut stream = start_request(&process)?;

    process.signal(Signal::TERM)?;
    thread::sleep(Duration::from_millis(300));
    assert!(TcpStream::connect(process.addr).is_err(), "still listening");

    stream.write_all(&BODY.as_bytes()[10..])?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert_eq!(process.wait(Duration::from_secs(3))?.code(), Some(0));
    Ok(())
}

#[test]
fn a_request_that_never_ends_is_cut_off() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut process = Process::start(&folder.path().join("notes.db"))?;
    let _stuck = start_request(&process)?;

    let started = Instant::now();
    process.signal(Signal::TERM)?;
    let status = process.wait(Duration::from_secs(9))?;
    assert_eq!(status.code(), Some(0));
    assert!(started.elapsed() > Duration::from_secs(4));
    Ok(())
}

#[tokio::test]
async fn notes_survive_a_restart() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let database = folder.path().join("not/there/yet/notes.db");

    let mut process = Process::start(&database)?;
    let url = format!("http://{}/api/notes", process.addr);
    let note = client()?
        .post(url)
        .header("content-type", "application/json");
    note.body(BODY).send().await?.error_for_status()?;
    process.signal(Signal::TERM)?;
    process.wait(Duration::from_secs(8))?;

    let process = Process::start(&database)?;
    let url = format!("http://{}/api/notes", process.addr);
    let listed = client()?.get(url).send().await?.text().await?;
    assert!(listed.contains("written while stopping"), "{listed}");
    Ok(())
}

#[test]
fn an_address_in_use_is_reported() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let process = Process::start(&folder.path().join("notes.db"))?;
    let output = binary()
        .env("BACKEND_ADDR", process.addr.to_string())
        .env("DATABASE_PATH", folder.path().join("other.db"))
        .output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("cannot listen on"), "{stderr}");
    Ok(())
}
