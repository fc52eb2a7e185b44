//! A read-only registry: the pull side of the
//! [distribution specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pull),
//! straight from store paths.
//!
//! ```text
//! images, or Demand: made when they are asked for ──▶ Catalogue: repositories, tags, manifests, blobs
//!                            │
//! connection ──▶ Identity: TLS, where there is a certificate
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

/// Connections at once, if the machine allows so many open files. One takes little more than its 64 KiB of buffers.
const CONNECTIONS: usize = 2048;
/// Bytes of requests that wait to be read on one connection.
const BUFFER: usize = 64 * 1024;
/// A reader that takes less than what is buffered for it in this time is gone.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// When asked to end, answers on their way have this long.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);
/// Time from a connection to the end of its first request's head, with the TLS handshake. Clients connect to ask.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Time to the end of each later request's head; clients keep connections for some time between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Blobs made at once; more wait. What a blob needs in memory is less than 2 MiB.
const STREAMS: usize = 48;

/// How to serve.
#[derive(Debug)]
pub struct Settings {
    /// Connections at once; more wait.
    pub connections: usize,
    /// How long a reader may take nothing.
    pub idle_timeout: Duration,
    /// How long answers have once the server is asked to end.
    pub shutdown_timeout: Duration,
    /// Certificate and key; without them, there is no TLS.
    pub identity: Option<Identity>,
    /// The users that may pull; `None` allows every client.
    pub users: Option<Users>,
    /// Where answers are written down.
    pub access_log: Option<AccessLog>,
    /// Whether `/metrics` is answered.
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

/// A registry that is not serving yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    contents: Contents,
    settings: Settings,
}

impl Server {
    /// Listens at `address`; port 0 is any free one. Raises the process's limit of open files, which bounds connections.
    ///
    /// # Errors
    ///
    /// When the address cannot be had.
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

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every `host/name:tag` there is; none of images that are made when they are asked for.
    pub fn references(&self) -> Vec<String> {
        let Contents::Fixed(catalogue) = &self.contents else { return Vec::new() };
        catalogue.references().map(|reference| format!("{}/{reference}", self.address)).collect()
    }

    /// Serves until the process is asked to end (SIGTERM, SIGINT), then ends the answers that are on their way.
    ///
    /// # Errors
    ///
    /// When the machine has no threads or signals for us.
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
        // Whoever still reads is left alone; what was made for them ends with their connections.
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
                    // A connection that broke before it was accepted, or too many open files: the next may go.
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
                // What goes wrong with a connection is the other side's to notice.
                let _ = serve_connection(IdleTimeout::new(stream, idle_timeout), identity, &client, &service, watcher)
                    .await;
                drop((permit, client, counted));
            });
        }
        drop(listener);
        // Builds would outlive this process.
        let end = async {
            service.stop().await;
            graceful.shutdown().await;
        };
        // Shutdown does not wait longer than that.
        let _ = timeout(shutdown_timeout, end).await;
        Ok(())
    }
}

/// Answers the requests of one connection.
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

    /// Bytes of a layer: more than the kernel buffers for an idle reader.
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

    /// A registry that serves on a thread of its own until this is dropped.
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

    /// Asks for the layer, reads the beginning of the answer, and nothing more.
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
        // Shutdown does not wait for the idle timeout of half a minute.
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
        // Both were accepted: this client may have no third.
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
        // All that this client may have is taken; so this waits until one is given up.
        drop(stalled(address, &digest));
        let mut first = Vec::new();
        // Its connection broke before all of the layer.
        let _ = silent.remove(0).read_to_end(&mut first);
        assert!((first.len() as u64) < SIZE);
    }
}
