//! A read-only registry: the pull side of the
//! [distribution specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pull),
//! straight from store paths.
//!
//! ```text
//! images ──▶ Catalogue: repositories, tags, manifests, blobs
//!                │
//! request ──▶ answer ──▶ body: bytes, or a blob made while it is sent
//! ```

mod answer;
mod body;
mod catalogue;
mod patient;

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::{rt::TokioIo, rt::TokioTimer, server::graceful::GracefulShutdown};
use tokio::{runtime, sync::Semaphore, sync::oneshot};

pub use catalogue::{Catalogue, ServeError};

use patient::Patient;

/// Connections at once; more wait. One takes little more than its 64 KiB of buffers.
const CONNECTIONS: usize = 2048;
/// Connections of one client; more are closed. A machine that pulls has some dozens.
const OF_ONE_CLIENT: usize = 1536;
/// Bytes of requests that wait to be read on one connection.
const BUFFER: usize = 64 * 1024;
/// A reader that takes nothing for this long is gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// When asked to end, answers on their way have this long.
const FAREWELL: Duration = Duration::from_secs(30);
/// Blobs made at once; more wait. What a blob needs in memory is less than 2 MiB.
const STREAMS: usize = 48;

/// A registry that is not serving yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    catalogue: Catalogue,
    patience: Duration,
    farewell: Duration,
}

/// A registry that serves until this is dropped.
#[derive(Debug)]
pub struct Running {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Server {
    /// Listens at `address`; port 0 is any free one.
    ///
    /// # Errors
    ///
    /// When the address cannot be had.
    pub fn bind(address: SocketAddr, catalogue: Catalogue) -> Result<Self, ServeError> {
        let fail = |source| ServeError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(fail)?;
        listener.set_nonblocking(true).map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        Ok(Self { listener, address, catalogue, patience: PATIENCE, farewell: FAREWELL })
    }

    /// With other limits: how long a reader may take nothing, and how long answers have once it is asked to end.
    pub fn with_limits(self, patience: Duration, farewell: Duration) -> Self {
        Self { patience, farewell, ..self }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every `host/name:tag` there is.
    pub fn references(&self) -> Vec<String> {
        self.catalogue.references().map(|reference| format!("{}/{reference}", self.address)).collect()
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

    /// Serves on a thread of its own.
    ///
    /// # Errors
    ///
    /// When the machine has no threads for us.
    pub fn spawn(self) -> Result<Running, ServeError> {
        let (stop, stopped) = oneshot::channel();
        let runtime = runtime()?;
        let thread = std::thread::spawn(move || {
            let stopped = async move {
                let _ = stopped.await;
            };
            // A listener that fails is what the other side sees as a connection refused.
            let _ = runtime.block_on(self.serve(stopped));
            runtime.shutdown_timeout(Duration::from_secs(1));
        });
        Ok(Running { stop: Some(stop), thread: Some(thread) })
    }

    async fn serve(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let catalogue = Arc::new(self.catalogue);
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        let streams = Arc::new(Semaphore::new(STREAMS));
        let clients = Clients::default();
        let graceful = GracefulShutdown::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            let permit = Arc::clone(&connections).acquire_owned().await.map_err(io::Error::other)?;
            let (stream, address) = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, address)) => (stream, address.ip()),
                    // A connection that broke before it was accepted, or too many open files: the next may go.
                    Err(_) => {
                        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                        continue;
                    }
                },
                () = &mut stop => break,
            };
            let Some(guest) = clients.enter(address) else { continue };
            let (catalogue, streams) = (Arc::clone(&catalogue), Arc::clone(&streams));
            let service = service_fn(move |request| {
                let (catalogue, streams) = (Arc::clone(&catalogue), Arc::clone(&streams));
                async move { answer::answer(&catalogue, &streams, &request).await }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(std::time::Duration::from_secs(60))
                .max_buf_size(BUFFER)
                .serve_connection(TokioIo::new(Patient::new(stream, self.patience)), service);
            let watched = graceful.watch(connection);
            tokio::spawn(async move {
                // What goes wrong with a connection is the other side's to notice.
                let _ = watched.await;
                drop((permit, guest));
            });
        }
        drop(listener);
        // Nobody is waited for longer than that.
        let _ = tokio::time::timeout(self.farewell, graceful.shutdown()).await;
        Ok(())
    }
}

/// How many connections each client has.
#[derive(Clone, Default)]
struct Clients(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection of a client, counted until it ends.
struct Guest {
    clients: Clients,
    address: IpAddr,
}

impl Clients {
    /// `None` where a client has all it may have.
    fn enter(&self, address: IpAddr) -> Option<Guest> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_insert(0);
        if *count >= OF_ONE_CLIENT {
            return None;
        }
        *count += 1;
        Some(Guest { clients: self.clone(), address })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut counts = self.clients.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

fn runtime() -> Result<runtime::Runtime, ServeError> {
    let mut builder = runtime::Builder::new_multi_thread();
    builder.worker_threads(2).max_blocking_threads(STREAMS).enable_all().build().map_err(ServeError::Start)
}
