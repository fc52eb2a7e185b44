//! A published port that switches from one container to the next without an interruption.
//!
//! ```text
//! -p 8080:80    strata listens on 8080; each container publishes 80 on a free port of loopback
//! client ──▶ 8080 ──▶ the newest container that is up
//! ```
//!
//! Existing connections stay with their container until it is stopped.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// The delay after a connection could not be accepted.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// `None` stands for all addresses.
    pub address: Option<IpAddr>,
    pub host: u16,
    pub container: u16,
}

impl Published {
    /// Parses a value of `--publish`. Returns `None` if the engine chooses the port of this machine.
    ///
    /// # Errors
    ///
    /// If it is not a single TCP port.
    pub fn parse(value: &str) -> Result<Option<Self>> {
        let (ports, protocol) = value.split_once('/').unwrap_or((value, "tcp"));
        let Some((host, container)) = ports.rsplit_once(':') else { return Ok(None) };
        let (address, host) = match host.rsplit_once(':') {
            Some((address, host)) => (Some(address), host),
            None => (None, host),
        };
        if host.is_empty() {
            return Ok(None);
        }
        let fail = || format!("--publish {value}: --watch takes single TCP ports; write [ADDRESS:]PORT:PORT");
        if protocol != "tcp" {
            bail!(fail());
        }
        let address = address.map(|text| text.trim_matches(['[', ']']).parse()).transpose().with_context(fail)?;
        Ok(Some(Self {
            address,
            host: host.parse().with_context(fail)?,
            container: container.parse().with_context(fail)?,
        }))
    }

    /// Returns the value of `--publish` for a container behind the relay.
    pub fn relayed_value(&self) -> String {
        format!("127.0.0.1::{}", self.container)
    }
}

/// A relayed port.
#[derive(Debug)]
pub struct Relay {
    /// The port of the container.
    pub container: u16,
    target: Arc<Mutex<Option<SocketAddr>>>,
}

impl Relay {
    /// Starts to listen. Connections are closed until there is a target.
    ///
    /// # Errors
    ///
    /// If the port is in use.
    pub fn start(published: &Published) -> Result<Self> {
        let listen = |address| TcpListener::bind(SocketAddr::new(address, published.host));
        let listener = match published.address {
            Some(address) => listen(address),
            // This address accepts IPv4 and IPv6, but a machine may lack IPv6.
            None => listen(IpAddr::V6(Ipv6Addr::UNSPECIFIED)).or_else(|error| match error.kind() {
                io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
                _ => listen(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            }),
        };
        let listener = listener.with_context(|| format!("listening on port {}", published.host))?;
        let target = Arc::new(Mutex::new(None));
        let shared_target = Arc::clone(&target);
        let accept = move || {
            for client in listener.incoming() {
                let Ok(client) = client else {
                    // Without a free file descriptor, each attempt fails at once.
                    thread::sleep(RETRY_INTERVAL);
                    continue;
                };
                let target = *shared_target.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(target) = target else { continue };
                // If no thread can be started, the connection is closed.
                let _ = thread::Builder::new().spawn(move || pass_on(client, target));
            }
        };
        thread::Builder::new().name("relay".to_owned()).spawn(accept).context("starting a thread that listens")?;
        Ok(Self { container: published.container, target })
    }

    /// Sets the address for new connections.
    pub fn set_target(&self, target: SocketAddr) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = Some(target);
    }
}

/// Copies in both directions until both have ended. After an error, the connection is closed, which is all that a
/// client can see.
fn pass_on(client: TcpStream, target: SocketAddr) {
    let Ok(server) = TcpStream::connect(target) else { return };
    let copy = |from: &TcpStream, to: &TcpStream| {
        let (mut from, mut to) = (from, to);
        if io::copy(&mut from, &mut to).is_err() {
            let _ = from.shutdown(Shutdown::Both);
        }
        let _ = to.shutdown(Shutdown::Write);
    };
    thread::scope(|scope| {
        let sends = thread::Builder::new().spawn_scoped(scope, || copy(&client, &server));
        if sends.is_ok() {
            copy(&server, &client);
        }
    });
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn ports_of_this_machine_are_parsed() {
        let published = |address: Option<&str>, host, container| {
            Some(Published { address: address.map(|text| text.parse().unwrap()), host, container })
        };
        for (value, expected) in [
            ("80", None),
            ("80/udp", None),
            ("127.0.0.1::80", None),
            ("8080:80", published(None, 8080, 80)),
            ("8080:80/tcp", published(None, 8080, 80)),
            ("127.0.0.1:8080:80", published(Some("127.0.0.1"), 8080, 80)),
            ("[::1]:8080:80", published(Some("::1"), 8080, 80)),
        ] {
            assert_eq!(Published::parse(value).unwrap(), expected, "{value}");
        }
        for value in ["8080:80/udp", "8000-8001:80-81", "x:80", "8080:x", "host:8080:80", "99999:80"] {
            let error = Published::parse(value).unwrap_err().to_string();
            assert!(error.contains("--watch takes single TCP ports"), "{value}: {error}");
        }
    }

    #[test]
    fn connections_go_to_the_newest_target() {
        let server = |word: &'static str| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            thread::spawn(move || {
                for mut client in listener.incoming().filter_map(Result::ok) {
                    let mut text = String::new();
                    client.read_to_string(&mut text).unwrap();
                    client.write_all(format!("{word} {text}").as_bytes()).unwrap();
                }
            });
            address
        };
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let relay = Relay::start(&Published { address, host: free, container: 80 }).unwrap();
        let ask = || {
            let mut client = TcpStream::connect(("127.0.0.1", free)).unwrap();
            let _ = client.write_all(b"hello");
            let _ = client.shutdown(Shutdown::Write);
            let mut text = String::new();
            let _ = client.read_to_string(&mut text);
            text
        };
        assert_eq!(ask(), "");
        for word in ["one", "two"] {
            relay.set_target(server(word));
            assert_eq!(ask(), format!("{word} hello"));
        }
    }
}
