//! Whether a service is ready: its port, an HTTP path, a line of its output, a command in its container.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    path::Path,
    process::Stdio,
    time::Duration,
};

use super::stage;
use crate::check::job::Ready;

/// How long a connection or an answer may take: both ends are on this machine.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read: its status is at the start.
const ANSWER: u64 = 4096;

/// The first condition that does not hold, in words; `None` if the service is ready.
pub fn missing(ready: &Ready, is_matched: bool, container: &Path, process: i32) -> Option<String> {
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
            Ok(exec.status()?)
        });
        match run {
            Ok(status) if status.success() => {}
            Ok(status) => return Some(format!("{} ends with {status}", command.join(" "))),
            Err(error) => return Some(format!("{}: {error:#}", command.join(" "))),
        }
    }
    None
}

fn connect(port: u16) -> Option<TcpStream> {
    let addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port))];
    addresses.iter().find_map(|address| TcpStream::connect_timeout(address, PATIENCE).ok())
}

/// The status of the answer to a request for `path`.
fn status(mut stream: TcpStream, port: u16, path: &str) -> Option<u16> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    // Servers may close a connection without reading everything.
    let _ = stream.take(ANSWER).read_to_end(&mut answer);
    parse_status(&answer)
}

/// The status of the first line: `HTTP/1.1 200 OK`.
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
