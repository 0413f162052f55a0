//! Asks the running service whether it is healthy.
//!
//! Made for a container's health check: it needs no other program in the
//! image and no async runtime, so it starts and ends within milliseconds.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::cli::Cli;

/// How long the whole check may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The longest status line that is looked at.
const MAX_STATUS_LINE: usize = 1024;

/// Asks the service on this machine for its health.
///
/// # Errors
///
/// Says why the service is not healthy.
pub fn run(cli: &Cli) -> anyhow::Result<()> {
    let port = cli.listen_addr()?.port();
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    check(addr, TIMEOUT).with_context(|| format!("no healthy service at http://{addr}/health"))
}

fn check(addr: SocketAddr, timeout: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + timeout;
    let mut stream = TcpStream::connect_timeout(&addr, timeout).context("cannot connect")?;
    stream.set_write_timeout(Some(timeout))?;
    write!(
        stream,
        "GET /health HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n"
    )
    .context("cannot send the request")?;

    let status_line = read_status_line(&mut stream, deadline)?;
    ensure!(status_line.starts_with("HTTP/1."), "not an HTTP answer");
    let status = status_line.split(' ').nth(1).unwrap_or_default();
    ensure!(status == "200", "it answered with status {status}");
    Ok(())
}

/// Reads the first line of the answer, and never waits past `deadline`.
fn read_status_line(stream: &mut TcpStream, deadline: Instant) -> anyhow::Result<String> {
    let mut answer = Vec::new();
    let mut chunk = [0; 512];
    while !answer.contains(&b'\n') && answer.len() < MAX_STATUS_LINE {
        stream.set_read_timeout(Some(time_left(deadline)?))?;
        let count = stream.read(&mut chunk).context("no answer")?;
        ensure!(count > 0, "the connection was closed without an answer");
        answer.extend_from_slice(&chunk[..count]);
    }
    let line = answer.split(|&byte| byte == b'\n').next();
    Ok(String::from_utf8_lossy(line.unwrap_or_default())
        .trim_end()
        .to_owned())
}

fn time_left(deadline: Instant) -> anyhow::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    ensure!(!left.is_zero(), "no answer in time");
    Ok(left)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    const SHORT: Duration = Duration::from_millis(200);

    /// Answers one connection with `answer`, then waits.
    fn answer_once(answer: &'static str) -> anyhow::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let addr = listener.local_addr()?;
        thread::spawn(move || -> anyhow::Result<()> {
            let (mut stream, _) = listener.accept()?;
            stream.write_all(answer.as_bytes())?;
            thread::sleep(Duration::from_secs(10));
            Ok(())
        });
        Ok(addr)
    }

    fn reason(answer: &'static str) -> anyhow::Result<String> {
        let error = check(answer_once(answer)?, SHORT).expect_err("not healthy");
        Ok(format!("{error:#}"))
    }

    #[test]
    fn only_status_200_is_healthy() -> anyhow::Result<()> {
        check(answer_once("HTTP/1.1 200 OK\r\n")?, SHORT)?;
        assert!(reason("HTTP/1.1 503 Service Unavailable\r\n")?.contains("503"));
        assert!(reason("SSH-2.0-something\r\n")?.contains("not an HTTP"));
        Ok(())
    }

    #[test]
    fn a_silent_service_is_given_up_on() -> anyhow::Result<()> {
        let started = Instant::now();
        assert!(reason("HTTP/1.1 20")?.contains("no answer"));
        assert!(started.elapsed() < SHORT * 5);
        Ok(())
    }
}
