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
pub use chunked::chunked;
pub use demand::{Demand, Supplied, Supply, SupplyError, Version};
pub use identity::Identity;
pub use users::Users;

use idle_timeout::IdleTimeout;
use peer_limits::{Connection, PeerLimits};
pub use service::Contents;
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

/// The options of a server.
#[derive(Debug)]
pub struct Settings {
    /// The maximum number of connections; further ones wait.
    pub connections: usize,
    /// The time after which idle readers are disconnected.
    pub idle_timeout: Duration,
    /// The time that running responses have when the server stops.
    pub shutdown_timeout: Duration,
    /// The certificate and its key; `None` disables TLS.
    pub identity: Option<Identity>,
    /// The users that may pull; `None` allows every client.
    pub users: Option<Users>,
    /// The access log.
    pub access_log: Option<AccessLog>,
    /// Whether `/metrics` is served.
    pub metrics: bool,
}

impl Default for Settings {
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
    contents: Contents,
    settings: Settings,
}

impl Server {
    /// Listens at `address`; port 0 chooses a free port. Raises the limit of open files, which bounds connections.
    ///
    /// # Errors
    ///
    /// If the server cannot listen at the address.
    pub fn bind(
        address: SocketAddr,
        contents: impl Into<Contents>,
        mut settings: Settings,
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
        let Contents::Fixed(catalogue) = &self.contents else { return Vec::new() };
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
        let Settings { connections, idle_timeout, shutdown_timeout, identity, users, access_log, metrics } =
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
            let Some(client) = clients.connect(address) else { continue };
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
    identity: Option<Identity>,
    client: &Connection,
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
    client: &Connection,
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
        .max_blocking_threads(STREAMS + users::CHECKS)
        .enable_all()
        .build()
        .map_err(ServeError::Start)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpStream,
        thread::{self, JoinHandle},
    };

    use tokio::sync::oneshot;

    use super::{peer_limits, *};
    use crate::{
        image::{Image, LayerBlob},
        oci::{Algorithm, Descriptor, Digest, Platform, descriptor::media_type},
    };

    /// The size of a layer in bytes, which is more than the kernel buffers for an idle reader.
    const SIZE: u64 = 64 << 20;

    fn catalogue() -> (Catalogue, Digest) {
        let digest: Digest = format!("sha256:{:064}", 1).parse().unwrap();
        let descriptor = Descriptor::new(media_type::LAYER_TAR, digest, SIZE);
        let layer = LayerBlob::new(descriptor, digest, || Ok(Box::new(io::repeat(0).take(SIZE)) as Box<_>));
        let image = Image {
            reference: None,
            platform: Platform::linux("amd64", None),
            media_type: media_type::MANIFEST.to_owned(),
            manifest: b"{}".to_vec(),
            manifest_algorithm: Algorithm::default(),
            config_media_type: media_type::CONFIG.to_owned(),
            config: b"{}".to_vec(),
            config_algorithm: Algorithm::default(),
            config_origin: None,
            layers: vec![layer],
            closure: None,
            as_is: true,
        };
        let mut catalogue = Catalogue::default();
        catalogue.add("app", "v1", image.into()).unwrap();
        (catalogue, digest)
    }

    /// A registry that serves on a separate thread until this is dropped.
    struct Running {
        stop: Option<oneshot::Sender<()>>,
        thread: Option<JoinHandle<()>>,
    }

    impl Running {
        fn start(server: Server) -> Self {
            let (stop, stopped) = oneshot::channel();
            let runtime = runtime().unwrap();
            let thread = thread::spawn(move || {
                let stopped = async move {
                    let _ = stopped.await;
                };
                runtime.block_on(server.serve(stopped)).unwrap();
                runtime.shutdown_timeout(Duration::from_secs(1));
            });
            Self { stop: Some(stop), thread: Some(thread) }
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            drop(self.stop.take());
            if let Some(thread) = self.thread.take() {
                let _ = thread.join();
            }
        }
    }

    /// Requests the layer, reads the beginning of the response, and then stops reading.
    fn stalled(address: SocketAddr, digest: &Digest) -> TcpStream {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET /v2/app/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        stream.read_exact(&mut [0; 1024]).unwrap();
        stream
    }

    #[test]
    fn idle_readers_do_not_delay_shutdown() {
        let (catalogue, digest) = catalogue();
        let settings = Settings { shutdown_timeout: Duration::from_millis(100), ..Settings::default() };
        let server = Server::bind(([127, 0, 0, 1], 0).into(), catalogue, settings).unwrap();
        let address = server.address;
        let running = Running::start(server);
        let _silent: Vec<TcpStream> = (0..4).map(|_| stalled(address, &digest)).collect();
        let begun = Instant::now();
        drop(running);
        // The shutdown must be faster than the idle timeout of half a minute.
        assert!(begun.elapsed() < IDLE_TIMEOUT, "{:?}", begun.elapsed());
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn idle_connections_do_not_delay_shutdown() {
        let settings = Settings { connections: 8, shutdown_timeout: Duration::from_millis(100), ..Settings::default() };
        let server = Server::bind(([127, 0, 0, 1], 0).into(), catalogue().0, settings).unwrap();
        let address = server.address;
        let running = Running::start(server);
        let mut idle: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(address).unwrap()).collect();
        // Both connections were accepted, and the client is at its limit.
        for stream in &mut idle {
            stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            stream.read_exact(&mut [0; 12]).unwrap();
        }
        let begun = Instant::now();
        drop(running);
        assert!(begun.elapsed() < HEAD_TIMEOUT, "{:?}", begun.elapsed());
    }

    #[test]
    fn idle_readers_are_disconnected_and_free_their_slot() {
        let (catalogue, digest) = catalogue();
        let settings = Settings { idle_timeout: Duration::from_millis(200), ..Settings::default() };
        let server = Server::bind(([127, 0, 0, 1], 0).into(), catalogue, settings).unwrap();
        let address = server.address;
        let _running = Running::start(server);
        let mut silent: Vec<TcpStream> = (0..peer_limits::STREAMS).map(|_| stalled(address, &digest)).collect();
        // The client is at its limit, so this request waits until an idle reader is disconnected.
        drop(stalled(address, &digest));
        let mut first = Vec::new();
        // The idle connection was closed before the whole layer was sent.
        let _ = silent.remove(0).read_to_end(&mut first);
        assert!((first.len() as u64) < SIZE);
    }
}
