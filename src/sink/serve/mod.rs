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

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::JoinHandle,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::{rt::TokioIo, rt::TokioTimer, server::graceful::GracefulShutdown};
use tokio::{runtime, sync::Semaphore, sync::oneshot};

pub use catalogue::{Catalogue, ServeError};

/// Connections at once; more wait.
const CONNECTIONS: usize = 256;
/// Blobs made at once; more wait. What a blob needs in memory is less than 2 MiB.
const STREAMS: usize = 48;

/// A registry that is not serving yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    catalogue: Catalogue,
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
        Ok(Self { listener, address, catalogue })
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
        runtime()?.block_on(async {
            let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
            let stop = async move {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = tokio::signal::ctrl_c() => {}
                }
            };
            self.serve(stop).await
        })?;
        Ok(())
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
        });
        Ok(Running { stop: Some(stop), thread: Some(thread) })
    }

    async fn serve(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let catalogue = Arc::new(self.catalogue);
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        let streams = Arc::new(Semaphore::new(STREAMS));
        let graceful = GracefulShutdown::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            let permit = Arc::clone(&connections).acquire_owned().await.map_err(io::Error::other)?;
            let stream = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    // A connection that broke before it was accepted, or too many open files: the next may go.
                    Err(_) => {
                        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                        continue;
                    }
                },
                () = &mut stop => break,
            };
            let (catalogue, streams) = (Arc::clone(&catalogue), Arc::clone(&streams));
            let service = service_fn(move |request| {
                let (catalogue, streams) = (Arc::clone(&catalogue), Arc::clone(&streams));
                async move { answer::answer(&catalogue, &streams, &request).await }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(std::time::Duration::from_secs(60))
                .serve_connection(TokioIo::new(stream), service);
            let watched = graceful.watch(connection);
            tokio::spawn(async move {
                // What goes wrong with a connection is the other side's to notice.
                let _ = watched.await;
                drop(permit);
            });
        }
        drop(listener);
        graceful.shutdown().await;
        Ok(())
    }
}

fn runtime() -> Result<runtime::Runtime, ServeError> {
    let mut builder = runtime::Builder::new_multi_thread();
    builder.worker_threads(2).max_blocking_threads(STREAMS).enable_all().build().map_err(ServeError::Start)
}
