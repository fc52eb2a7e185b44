//! A read-only registry: the pull side of the
//! [distribution specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pull).
//! Layers are made from store paths while they are sent.
//!
//! ```text
//! images, or Demand: built when they are requested ──▶ Catalogue: repositories, tags, manifests, blobs
//!                            │
//! connection ──▶ Identity: TLS, if there is a certificate
//!    request ──▶ Service: Users ──▶ answer ──▶ body: bytes, or a blob made while it is sent
//!                                                │
//!                                             Record: access log, metrics
//! ```

mod access_log;
pub(crate) mod answer;
mod body;
mod catalogue;
mod chunked;
mod demand;
mod identity;
mod idle_timeout;
mod open_files;
mod peer_limits;
mod service;
mod users;

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    runtime,
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};

pub use access_log::AccessLog;
pub use catalogue::{Catalogue, ServeError};
pub use chunked::{Pulls, chunked};
pub use demand::{Demand, ImageVersion, LATEST, Supplied, Supply, SupplyError};
pub use identity::ServerIdentity;
pub use users::AllowedUsers;

use idle_timeout::IdleTimeout;
use peer_limits::{Connection, PeerLimits};
pub use service::ServedImages;
use service::Service;

/// The maximum number of connections, if the limit of open files allows it. One takes little more than 64 KiB of buffers.
const CONNECTIONS: usize = 2048;
/// The size of the read buffer of a connection in bytes.
const BUFFER: usize = 64 * 1024;
/// If a client does not receive the buffered bytes within this time, it is disconnected.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The time that running responses have when the server stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);
/// The maximum time from the connection to the end of the first request's head. Clients send a request immediately.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum time to the end of the head of each later request. It is longer because clients keep connections open.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// The maximum number of blobs that are made at the same time; further ones wait. Each needs less than 2 MiB of memory.
const STREAMS: usize = 48;
/// The same for small parts of blobs, which nodes that start lazily request while other nodes pull whole layers.
const SMALL_STREAMS: usize = 32;
/// The maximum size of a small part in bytes.
const SMALL: u64 = 1024 * 1024;

/// The options of a server.
#[derive(Debug)]
pub struct ServerSettings {
    /// The maximum number of connections; further ones wait.
    pub connections: usize,
    /// The time after which idle readers are disconnected.
    pub idle_timeout: Duration,
    /// The time that running responses have when the server stops.
    pub shutdown_timeout: Duration,
    /// The certificate and its key; `None` disables TLS.
    pub identity: Option<ServerIdentity>,
    /// The users that may pull; `None` allows every client.
    pub users: Option<AllowedUsers>,
    /// The access log.
    pub access_log: Option<AccessLog>,
    /// Whether `/metrics` is served.
    pub metrics: bool,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            idle_timeout: IDLE_TIMEOUT,
            shutdown_timeout: SHUTDOWN_TIMEOUT,
            identity: None,
            users: None,
            access_log: None,
            metrics: false,
        }
    }
}

/// A registry that listens, but does not serve yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    contents: ServedImages,
    settings: ServerSettings,
}

impl Server {
    /// Listens at `address`; port 0 chooses a free port. Raises the limit of open files, which bounds connections.
    ///
    /// # Errors
    ///
    /// If the server cannot listen at the address.
    pub fn bind(
        address: SocketAddr,
        contents: impl Into<ServedImages>,
        mut settings: ServerSettings,
    ) -> Result<Self, ServeError> {
        settings.connections = settings.connections.min(open_files::available());
        let fail = |source| ServeError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(fail)?;
        listener.set_nonblocking(true).map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        Ok(Self { listener, address, contents: contents.into(), settings })
    }

    /// Returns the address of the server.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns all references, each `host/name:tag`. Images that are built on request are not included.
    pub fn references(&self) -> Vec<String> {
        let ServedImages::Fixed(catalogue) = &self.contents else { return Vec::new() };
        catalogue.references().map(|reference| format!("{}/{reference}", self.address)).collect()
    }

    /// Serves until the process gets SIGTERM or SIGINT. Running responses may then finish within the shutdown timeout.
    ///
    /// # Errors
    ///
    /// If the operating system has no threads or signal handlers for the server.
    pub fn run(self) -> Result<(), ServeError> {
        let runtime = runtime()?;
        let served = runtime.block_on(async {
            let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
            let stop = async move {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = tokio::signal::ctrl_c() => {}
                }
            };
            self.serve(stop).await
        });
        // Responses that are still running are aborted, which also cancels the layers that are made for them.
        runtime.shutdown_timeout(Duration::from_secs(1));
        Ok(served?)
    }

    async fn serve(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let ServerSettings { connections, idle_timeout, shutdown_timeout, identity, users, access_log, metrics } =
            self.settings;
        let clients = PeerLimits::new(connections);
        let connections = Arc::new(Semaphore::new(connections));
        let service = Arc::new(Service::new(self.contents, users, access_log, metrics));
        let graceful = GracefulShutdown::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            let permit = tokio::select! {
                permit = Arc::clone(&connections).acquire_owned() => permit.map_err(io::Error::other)?,
                () = &mut stop => break,
            };
            let (stream, address) = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, address)) => (stream, address.ip()),
                    // The client closed the connection too early, or too many files are open. Later connections may succeed.
                    Err(_) => {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        continue;
                    }
                },
                () = &mut stop => break,
            };
            let Some(client) = clients.connect(address).map(Arc::new) else { continue };
            let (service, identity, watcher) = (Arc::clone(&service), identity.clone(), graceful.watcher());
            tokio::spawn(async move {
                let counted = service.record.connection();
                // Errors of a single connection are not reported, because clients cause and see them.
                let _ = serve_connection(IdleTimeout::new(stream, idle_timeout), identity, &client, &service, watcher)
                    .await;
                drop((permit, client, counted));
            });
        }
        drop(listener);
        // Builds are separate processes, which would otherwise continue.
        let end = async {
            service.stop().await;
            graceful.shutdown().await;
        };
        // Responses that are still running after the timeout are aborted.
        let _ = timeout(shutdown_timeout, end).await;
        Ok(())
    }
}

/// Serves the requests of a connection.
async fn serve_connection(
    stream: IdleTimeout<TcpStream>,
    identity: Option<ServerIdentity>,
    client: &Arc<Connection>,
    service: &Service,
    watcher: Watcher,
) -> io::Result<()> {
    let deadline = Instant::now() + FIRST_REQUEST_TIMEOUT;
    match identity {
        None => requests(stream, deadline, client, service, watcher).await,
        Some(identity) => {
            let stream = timeout_at(deadline, identity.acceptor().accept(stream)).await??;
            requests(stream, deadline, client, service, watcher).await
        }
    }
}

async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    deadline: Instant,
    client: &Arc<Connection>,
    service: &Service,
    watcher: Watcher,
) -> io::Result<()> {
    let has_asked = AtomicBool::new(false);
    let service = service_fn(async |request| {
        has_asked.store(true, Ordering::Relaxed);
        Ok::<_, Infallible>(service.respond(&request, client).await)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(watcher.watch(connection));
    match timeout_at(deadline, served.as_mut()).await {
        Ok(served) => served.map_err(io::Error::other),
        Err(_) if has_asked.load(Ordering::Relaxed) => served.await.map_err(io::Error::other),
        Err(elapsed) => Err(elapsed.into()),
    }
}

fn runtime() -> Result<runtime::Runtime, ServeError> {
    let mut builder = runtime::Builder::new_multi_thread();
    builder
        .worker_threads(2)
        .max_blocking_threads(STREAMS + SMALL_STREAMS + users::CHECKS)
        .enable_all()
        .build()
        .map_err(ServeError::Start)
}

#[cfg(test)]
mod tests;
