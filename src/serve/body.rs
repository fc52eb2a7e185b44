//! Bodies of answers: bytes that are known, and blobs made while they are sent.

use std::{
    collections::VecDeque,
    error::Error,
    io::{self, Write},
    ops::Range,
    sync::Arc,
};

use http_body_util::{BodyExt, Empty, Full, channel::Channel, combinators::BoxBody};
use hyper::body::{Bytes, Frame};
use tokio::{runtime::Handle, sync::Semaphore};

use crate::{causes, image::LayerBlob, terminal::note};

/// Bytes handed to a connection at once.
const CHUNK: usize = 128 * 1024;
/// Chunks of one blob that wait for a slow reader.
const WAITING: usize = 2;

pub type Body = BoxBody<Bytes, io::Error>;

pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

pub fn bytes(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

/// A part of a blob, after some bytes of its own: what separates the parts of a multipart answer.
pub struct Piece {
    /// What is sent before it.
    pub before: Vec<u8>,
    /// Which bytes of the blob.
    pub range: Range<u64>,
}

/// How many layers may be made at once.
pub struct Streams {
    /// For the client.
    pub own: Arc<Semaphore>,
    /// For everybody.
    pub all: Arc<Semaphore>,
}

/// These parts of a blob, in its order and apart from each other, made while they are sent; `after` ends them. A whole
/// blob that turns out not to be what it should breaks the connection before its last byte.
pub async fn layer(layer: LayerBlob, pieces: Vec<Piece>, after: Vec<u8>, streams: &Streams) -> Body {
    let (mut sender, body) = Channel::<Bytes, io::Error>::new(WAITING);
    // Semaphores are never closed. Who waits for its own share takes nothing of all.
    let own = Arc::clone(&streams.own).acquire_owned().await.ok();
    let permit = (own, Arc::clone(&streams.all).acquire_owned().await.ok());
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let ranges: Vec<Range<u64>> = pieces.iter().map(|piece| piece.range.clone()).collect();
        let mut out = Parts {
            pieces: pieces.into(),
            after,
            buffer: Vec::with_capacity(CHUNK),
            send: |chunk| {
                let sent = runtime.block_on(sender.send(Frame::data(chunk)));
                sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
            },
        };
        let made = layer.write_ranges(&ranges, &mut out).map_err(io::Error::other).and_then(|()| out.finish());
        // One whose reader has all it wanted ends early, and all is well.
        if let Err(error) = made {
            if !ended_early(&error) {
                note!("strata: serving {}: {}", layer.descriptor.digest, causes::joined(&error));
            }
            sender.abort(error);
        }
        drop(permit);
    });
    body.boxed()
}

/// The error and its causes.
fn causes(error: &io::Error) -> Vec<&(dyn Error + 'static)> {
    let mut causes: Vec<&(dyn Error + 'static)> = vec![error];
    while let Some(cause) = causes[causes.len() - 1].source() {
        causes.push(cause);
    }
    causes
}

/// Whether the reader left, which an error of what is made lies around.
fn ended_early(error: &io::Error) -> bool {
    let is_closed = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    causes(error).into_iter().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(is_closed))
}

/// Gathers what is written into chunks, with the bytes that come before each part; the last chunk is passed on only when
/// all is written.
struct Parts<F> {
    pieces: VecDeque<Piece>,
    after: Vec<u8>,
    buffer: Vec<u8>,
    send: F,
}

impl<F: FnMut(Bytes) -> io::Result<()>> Parts<F> {
    fn finish(mut self) -> io::Result<()> {
        let after = std::mem::take(&mut self.after);
        self.pass(&after)?;
        if self.buffer.is_empty() { Ok(()) } else { (self.send)(self.buffer.into()) }
    }

    fn pass(&mut self, mut wanted: &[u8]) -> io::Result<()> {
        while !wanted.is_empty() {
            if self.buffer.len() == CHUNK {
                (self.send)(std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK)).into())?;
            }
            let taken = wanted.len().min(CHUNK - self.buffer.len());
            self.buffer.extend_from_slice(&wanted[..taken]);
            wanted = &wanted[taken..];
        }
        Ok(())
    }
}

impl<F: FnMut(Bytes) -> io::Result<()>> Write for Parts<F> {
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<usize> {
        let written = bytes.len();
        while let Some(piece) = self.pieces.front_mut().filter(|_| !bytes.is_empty()) {
            let before = std::mem::take(&mut piece.before);
            let taken =
                usize::try_from(piece.range.end - piece.range.start).map_or(bytes.len(), |left| left.min(bytes.len()));
            piece.range.start += taken as u64;
            if piece.range.is_empty() {
                self.pieces.pop_front();
            }
            let (now, rest) = bytes.split_at(taken);
            self.pass(&before)?;
            self.pass(now)?;
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

    #[test]
    fn several_parts_have_something_between_them() {
        let bytes: Vec<u8> = (0..1000).map(|at| (at % 251) as u8).collect();
        for step in [1, 7, 100, 1000] {
            let mut got = Vec::new();
            let piece = |name: &str, range| Piece { before: name.as_bytes().to_vec(), range };
            let mut parts = Parts {
                pieces: [piece("<a>", 0..3), piece("<b>", 5..6), piece("<c>", 6..500), piece("<d>", 999..1000)].into(),
                after: b"<end>".to_vec(),
                buffer: Vec::new(),
                send: |chunk: Bytes| {
                    got.extend_from_slice(&chunk);
                    Ok(())
                },
            };
            let wanted = [&bytes[0..3], &bytes[5..6], &bytes[6..500], &bytes[999..]].concat();
            wanted.chunks(step).for_each(|piece| parts.write_all(piece).unwrap());
            parts.finish().unwrap();
            let expected =
                [b"<a>", &bytes[0..3], b"<b>", &bytes[5..6], b"<c>", &bytes[6..500], b"<d>", &bytes[999..], b"<end>"];
            assert_eq!(got, expected.concat(), "{step}");
        }
    }
}
