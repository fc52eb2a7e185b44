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
    let settings = ServerSettings { shutdown_timeout: Duration::from_millis(100), ..ServerSettings::default() };
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
    let settings =
        ServerSettings { connections: 8, shutdown_timeout: Duration::from_millis(100), ..ServerSettings::default() };
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
    let settings = ServerSettings { idle_timeout: Duration::from_millis(200), ..ServerSettings::default() };
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
