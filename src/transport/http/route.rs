//! Connects to an origin directly or through a proxy.
//!
//! ```text
//! https://…  HTTP proxy    CONNECT HOST:PORT, then TLS in the tunnel
//! http://…   HTTP proxy    GET http://HOST:PORT/PATH        (absolute form, RFC 9112, 3.2.2)
//! any        SOCKS proxy   the proxy connects, and resolves the host name
//! ```
//!
//! Forward proxies refuse CONNECT to port 80, and cache only what they can read, so requests without TLS use the absolute
//! form, as with curl and Go.

use std::{
    fmt,
    io::{Read, Write},
    sync::Arc,
};

use data_encoding::BASE64;
use ureq::{
    Agent, Error, Proxy, ProxyProtocol,
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::{
            Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, TcpConnector, Transport,
            TransportAdapter,
        },
    },
};

use super::{HttpError, Origin, Tls};

/// Returns an agent for `origin`. `config` makes its configuration for a proxy that ureq handles.
pub(crate) fn agent(
    origin: &Origin,
    tls: &Tls,
    proxy: Option<&Proxy>,
    config: &dyn Fn(Option<Proxy>) -> Config,
) -> Result<Agent, HttpError> {
    match proxy {
        Some(proxy) if !origin.is_https() && proxy.protocol() == ProxyProtocol::Http => {
            let connector = ().chain(TcpConnector::default()).chain(ForwardConnector::new(origin, proxy));
            Ok(Agent::with_parts(config(None), connector, ProxyResolver::new(proxy.clone())))
        }
        // The TLS settings of the registry do not apply to the proxy.
        Some(proxy) if proxy.protocol() == ProxyProtocol::Https => {
            Ok(tls.agent(config(Some(proxy.clone())), Some(&Tls::for_machine()?)))
        }
        proxy => Ok(tls.agent(config(proxy.cloned()), None)),
    }
}

/// Resolves the address of the proxy instead of that of the URL's host.
struct ProxyResolver {
    proxy: Proxy,
    resolver: DefaultResolver,
}

impl ProxyResolver {
    fn new(proxy: Proxy) -> Self {
        Self { proxy, resolver: DefaultResolver::default() }
    }
}

impl fmt::Debug for ProxyResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyResolver")
    }
}

impl Resolver for ProxyResolver {
    fn resolve(&self, _: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        self.resolver.resolve(self.proxy.uri(), config, timeout)
    }
}

/// Writes request lines in absolute form, and the proxy's credentials.
struct ForwardConnector {
    /// `http://HOST:PORT`
    prefix: String,
    authorization: Option<String>,
}

impl ForwardConnector {
    fn new(origin: &Origin, proxy: &Proxy) -> Self {
        let authorization = (proxy.username().is_some() || proxy.password().is_some()).then(|| {
            let (user, password) = (proxy.username().unwrap_or_default(), proxy.password().unwrap_or_default());
            BASE64.encode(format!("{user}:{password}").as_bytes())
        });
        Self { prefix: origin.to_string(), authorization }
    }
}

impl fmt::Debug for ForwardConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForwardConnector")
    }
}

impl<In: Transport> Connector<In> for ForwardConnector {
    type Out = Either<In, ForwardTransport>;

    fn connect(&self, details: &ConnectionDetails, below: Option<In>) -> Result<Option<Self::Out>, Error> {
        let below = below.ok_or(Error::ConnectionFailed)?;
        let below = TransportAdapter::new(Box::new(below) as Box<dyn Transport>, Arc::clone(&details.current_time));
        let head = Head { prefix: self.prefix.clone(), authorization: self.authorization.clone() };
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(ForwardTransport { below, head, is_sent: false, buffers })))
    }
}

/// The changes to the head of a request.
struct Head {
    prefix: String,
    authorization: Option<String>,
}

impl Head {
    /// Returns the first bytes of a request with the changed request line, or `None` if the line is incomplete.
    fn rewrite(&self, output: &[u8]) -> Option<Vec<u8>> {
        let end = output.windows(2).position(|pair| pair == b"\r\n")?;
        let line = std::str::from_utf8(&output[..end]).ok()?;
        let (method, rest) = line.split_once(' ')?;
        let mut head = format!("{method} {}{rest}\r\n", self.prefix);
        if let Some(authorization) = &self.authorization {
            head.push_str(&format!("Proxy-Authorization: Basic {authorization}\r\n"));
        }
        Some([head.as_bytes(), &output[end + 2..]].concat())
    }
}

/// A connection to a forward proxy, for one request.
struct ForwardTransport {
    below: TransportAdapter,
    head: Head,
    /// Whether the head of the request was sent.
    is_sent: bool,
    buffers: LazyBuffers,
}

impl fmt::Debug for ForwardTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForwardTransport")
    }
}

impl Transport for ForwardTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.below.set_timeout(timeout);
        let output = &self.buffers.output()[..amount];
        if std::mem::replace(&mut self.is_sent, true) {
            return Ok(self.below.write_all(output)?);
        }
        // ureq writes the request line first, and never flushes a part of a line.
        let head = self.head.rewrite(output).ok_or(Error::ConnectionFailed)?;
        Ok(self.below.write_all(&head)?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.below.set_timeout(timeout);
        let read = self.below.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    /// Each request has its own connection, since only the first bytes of a connection are known to be a head.
    fn is_open(&mut self) -> bool {
        false
    }
}
