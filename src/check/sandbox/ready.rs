//! Checks whether a service is ready: its port, an HTTP path, a line of its output, a command in its container.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::stage;
use crate::check::job::Ready;

/// The timeout of a connection or a response. Both ends are on this machine.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The interval in which a running command is checked.
const INTERVAL: Duration = Duration::from_millis(20);
/// The number of bytes of a response that are read. They contain its status.
const ANSWER: u64 = 4096;

/// Returns the first condition that is false as a text, or `None` if the service is ready. A command is killed at the
/// deadline.
pub fn missing(
    ready: &Ready,
    is_matched: bool,
    container: &Path,
    process: i32,
    deadline: Option<Instant>,
) -> Option<String> {
    if let Some(pattern) = ready.log.as_ref().filter(|_| !is_matched) {
        return Some(format!("no line of its output matches {pattern:?}"));
    }
    if let Some(port) = ready.port {
        match (&ready.http, connect(port)) {
            (_, None) => return Some(format!("port {port} refuses connections")),
            (None, Some(_)) => {}
            (Some(path), Some(stream)) => match status(stream, port, path) {
                Some(status) if status < 400 => {}
                Some(status) => return Some(format!("{path} on port {port} is answered with status {status}")),
                None => return Some(format!("{path} on port {port} is not answered")),
            },
        }
    }
    if let Some(command) = &ready.exec {
        let run = stage("exec", container).and_then(|mut exec| {
            let exec = exec.arg(process.to_string()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            status_within(exec, deadline)
        });
        match run {
            Ok(Some(status)) if status.success() => {}
            Ok(None) => return Some(format!("{} does not end", command.join(" "))),
            Ok(Some(status)) => return Some(format!("{} ends with {status}", command.join(" "))),
            Err(error) => return Some(format!("{}: {error:#}", command.join(" "))),
        }
    }
    None
}

fn connect(port: u16) -> Option<TcpStream> {
    let addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port))];
    addresses.iter().find_map(|address| TcpStream::connect_timeout(address, ANSWER_TIMEOUT).ok())
}

/// Returns the status of the response to a request for `path`.
fn status(mut stream: TcpStream, port: u16, path: &str) -> Option<u16> {
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).ok()?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    // Servers may close a connection before they have read everything.
    let _ = stream.take(ANSWER).read_to_end(&mut answer);
    parse_status(&answer)
}

/// Returns the exit status of a command, or `None` if it was killed at the deadline.
fn status_within(command: &mut Command, deadline: Option<Instant>) -> Result<Option<ExitStatus>> {
    let mut child = command.spawn()?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            // Processes that the command started in the container end with the container.
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(INTERVAL);
    }
}

/// Parses the status in the first line: `HTTP/1.1 200 OK`.
fn parse_status(answer: &[u8]) -> Option<u16> {
    let line = answer.strip_prefix(b"HTTP/1.")?;
    let mut parts = line.split(|byte| matches!(byte, b' ' | b'\r' | b'\n'));
    let status = parts.nth(1)?;
    std::str::from_utf8(status).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_killed_at_the_deadline() {
        let mut hanging = Command::new("sleep");
        assert!(status_within(hanging.arg("1000"), Some(Instant::now())).unwrap().is_none());
        let distant = Some(Instant::now() + Duration::from_secs(1000));
        assert!(status_within(&mut Command::new("true"), distant).unwrap().unwrap().success());
    }

    #[test]
    fn the_status_of_an_answer_is_read() {
        for (answer, status) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Some(200)),
            ("HTTP/1.0 404\r\n", Some(404)),
            ("HTTP/1.1 301 Moved", Some(301)),
            ("HTTP/1.1", None),
            ("SSH-2.0-x", None),
            ("", None),
        ] {
            assert_eq!(parse_status(answer.as_bytes()), status, "{answer}");
        }
    }
}
