//! Bodies of responses: bytes in memory, and blobs that are made while they are sent.

use std::{
    collections::VecDeque,
    error::Error,
    io::{self, Write},
    ops::Range,
    sync::Arc,
};

use http_body_util::{BodyExt, Empty, Full, channel::Channel, combinators::BoxBody};
use hyper::body::{Bytes, Frame};
use tokio::runtime::Handle;

use super::peer_limits::{Connection, StreamLimits};
use crate::{causes, image::LayerBlob, terminal::note};

/// The size of the chunks that a connection gets, in bytes.
const CHUNK: usize = 128 * 1024;
/// The number of chunks of one blob that are queued for a slow reader.
const QUEUE: usize = 2;

pub type Body = BoxBody<Bytes, io::Error>;

pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

pub fn bytes(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

/// A range of a blob, and bytes to send before it: the separator of a multipart response.
pub struct BodyRange {
    /// The bytes to send before the range.
    pub before: Vec<u8>,
    /// The range of the blob.
    pub range: Range<u64>,
}

/// The limits of layers that are made at the same time.
pub struct Streams {
    /// The connection of the client, with its limit.
    pub client: Arc<Connection>,
    /// The limits for all clients.
    pub all: StreamLimits,
}

/// Returns a body with these pieces of a blob, which are made while they are sent, and `after` at its end. The ranges are
/// sorted and do not overlap. If a whole blob does not match its digest, the connection is closed before its last byte.
pub async fn layer(layer: LayerBlob, pieces: Vec<BodyRange>, after: Vec<u8>, streams: &Streams) -> Body {
    let (mut sender, body) = Channel::<Bytes, io::Error>::new(QUEUE);
    // Semaphores are never closed. The permit of the client is first, so that a client that waits for it holds none of the
    // permits of all clients.
    let size = pieces.iter().map(|piece| piece.range.end - piece.range.start).sum();
    let client = streams.client.stream(size).await;
    let permits = (client, streams.all.limit_for(size).acquire_owned().await.ok());
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let ranges: Vec<Range<u64>> = pieces.iter().map(|piece| piece.range.clone()).collect();
        let mut out = BodyRanges {
            pieces: pieces.into(),
            after,
            buffer: Vec::with_capacity(CHUNK),
            send: |chunk| {
                let sent = runtime.block_on(sender.send(Frame::data(chunk)));
                sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
            },
        };
        let result = layer.write_ranges(&ranges, &mut out).map_err(io::Error::other).and_then(|()| out.finish());
        // A client may close the connection once it has all it needs, which is not reported.
        if let Err(error) = result {
            if !ended_early(&error) {
                note!("strata: serving {}: {}", layer.descriptor.digest, causes::joined(&error));
            }
            sender.abort(error);
        }
        drop(permits);
    });
    body.boxed()
}

/// Returns the error and its causes.
fn causes(error: &io::Error) -> Vec<&(dyn Error + 'static)> {
    let mut causes: Vec<&(dyn Error + 'static)> = vec![error];
    while let Some(cause) = causes[causes.len() - 1].source() {
        causes.push(cause);
    }
    causes
}

/// Returns whether the client closed the connection. The error of that may be a cause of other errors.
fn ended_early(error: &io::Error) -> bool {
    let is_closed = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    causes(error).into_iter().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(is_closed))
}

/// A writer that gathers the bytes of the blob into chunks and inserts the bytes before each piece. The last chunk is sent
/// only after everything was written.
struct BodyRanges<F> {
    pieces: VecDeque<BodyRange>,
    after: Vec<u8>,
    buffer: Vec<u8>,
    send: F,
}

impl<F: FnMut(Bytes) -> io::Result<()>> BodyRanges<F> {
    fn finish(mut self) -> io::Result<()> {
        let after = std::mem::take(&mut self.after);
        self.append(&after)?;
        if self.buffer.is_empty() { Ok(()) } else { (self.send)(self.buffer.into()) }
    }

    fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.buffer.len() == CHUNK {
                (self.send)(std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK)).into())?;
            }
            let taken = bytes.len().min(CHUNK - self.buffer.len());
            self.buffer.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
        }
        Ok(())
    }
}

impl<F: FnMut(Bytes) -> io::Result<()>> Write for BodyRanges<F> {
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<usize> {
        let written = bytes.len();
        while let Some(piece) = self.pieces.front_mut().filter(|_| !bytes.is_empty()) {
            let before = std::mem::take(&mut piece.before);
            let length = usize::try_from(piece.range.end - piece.range.start);
            let taken = length.map_or(bytes.len(), |length| length.min(bytes.len()));
            piece.range.start += taken as u64;
            if piece.range.is_empty() {
                self.pieces.pop_front();
            }
            let (content, rest) = bytes.split_at(taken);
            self.append(&before)?;
            self.append(content)?;
            bytes = rest;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        oci::{Descriptor, Digest, descriptor::media_type},
        serve::peer_limits::PeerLimits,
    };

    #[test]
    fn layers_of_disconnected_clients_count() {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let released = std::sync::Mutex::new(Some(released));
        let digest = Digest::sha256(b"");
        let descriptor = Descriptor::new(media_type::LAYER_TAR, digest, 1);
        let layer = LayerBlob::new(descriptor, digest, move || {
            let _ = released.lock().unwrap().take().map(|released| released.recv());
            Err(io::ErrorKind::BrokenPipe.into())
        });
        let client = Arc::new(PeerLimits::new(1).connect([127, 0, 0, 1].into()).unwrap());
        let streams = Streams { client, all: StreamLimits::of_all_clients() };
        let all = streams.all.limit_for(1);
        let free = all.available_permits();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let piece = BodyRange { before: Vec::new(), range: 0..1 };
            drop(self::layer(layer, vec![piece], Vec::new(), &streams).await);
            assert_eq!(all.available_permits(), free - 1);
            assert_eq!(Arc::strong_count(&streams.client), 2, "the client may make further layers");
            drop(release);
            drop(all.acquire_many(free as u32).await);
        });
        // The runtime waits for its threads.
        drop(runtime);
        assert_eq!(Arc::strong_count(&streams.client), 1);
    }

    #[test]
    fn separators_are_sent_between_pieces() {
        let bytes: Vec<u8> = (0..1000).map(|at| (at % 251) as u8).collect();
        for step in [1, 7, 100, 1000] {
            let mut sent = Vec::new();
            let piece = |name: &str, range| BodyRange { before: name.as_bytes().to_vec(), range };
            let mut parts = BodyRanges {
                pieces: [piece("<a>", 0..3), piece("<b>", 5..6), piece("<c>", 6..500), piece("<d>", 999..1000)].into(),
                after: b"<end>".to_vec(),
                buffer: Vec::new(),
                send: |chunk: Bytes| {
                    sent.extend_from_slice(&chunk);
                    Ok(())
                },
            };
            let ranges = [&bytes[0..3], &bytes[5..6], &bytes[6..500], &bytes[999..]].concat();
            ranges.chunks(step).for_each(|piece| parts.write_all(piece).unwrap());
            parts.finish().unwrap();
            let expected =
                [b"<a>", &bytes[0..3], b"<b>", &bytes[5..6], b"<c>", &bytes[6..500], b"<d>", &bytes[999..], b"<end>"];
            assert_eq!(sent, expected.concat(), "{step}");
        }
    }
}
