//! Bodies of answers: bytes that are known, and blobs made while they are sent.

use std::{
    io::{self, Write},
    ops::Range,
    sync::Arc,
};

use http_body_util::{BodyExt, Empty, Full, channel::Channel, combinators::BoxBody};
use hyper::body::{Bytes, Frame};
use tokio::{runtime::Handle, sync::Semaphore};

use crate::blobs::LayerBlob;

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

/// This part of a blob, made while it is sent. A blob that turns out not to be what it should breaks the connection
/// before its last byte.
pub async fn layer(layer: LayerBlob, range: Range<u64>, streams: &Arc<Semaphore>) -> Body {
    let (mut sender, body) = Channel::<Bytes, io::Error>::new(WAITING);
    // The semaphore is never closed.
    let permit = Arc::clone(streams).acquire_owned().await.ok();
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let mut out = Part {
            at: 0,
            range,
            buffer: Vec::with_capacity(CHUNK),
            send: |chunk| {
                let sent = runtime.block_on(sender.send(Frame::data(chunk)));
                sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
            },
        };
        let made = layer.write(&mut out).map_err(io::Error::other).and_then(|()| out.finish());
        // One whose reader has all it wanted ends early, and all is well.
        if let Err(error) = made {
            sender.abort(error);
        }
        drop(permit);
    });
    body.boxed()
}

/// Passes on a range of what is written, the last chunk only when all is written.
struct Part<F> {
    at: u64,
    range: Range<u64>,
    buffer: Vec<u8>,
    send: F,
}

impl<F: FnMut(Bytes) -> io::Result<()>> Part<F> {
    fn finish(mut self) -> io::Result<()> {
        if self.buffer.is_empty() { Ok(()) } else { (self.send)(self.buffer.into()) }
    }
}

impl<F: FnMut(Bytes) -> io::Result<()>> Write for Part<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let end = self.at + bytes.len() as u64;
        let (from, to) = (self.range.start.clamp(self.at, end), self.range.end.clamp(self.at, end));
        let mut wanted = &bytes[(from - self.at) as usize..(to - self.at) as usize];
        while !wanted.is_empty() {
            if self.buffer.len() == CHUNK {
                (self.send)(std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK)).into())?;
            }
            let taken = wanted.len().min(CHUNK - self.buffer.len());
            self.buffer.extend_from_slice(&wanted[..taken]);
            wanted = &wanted[taken..];
        }
        self.at = end;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_out() {
        let bytes: Vec<u8> = (0..CHUNK * 3 + 100).map(|at| (at % 251) as u8).collect();
        for range in [0..0, 0..1, 5..10, 0..bytes.len(), CHUNK - 1..CHUNK + 1, CHUNK * 2 + 7..CHUNK * 3 + 100] {
            let mut got = Vec::new();
            let mut part = Part {
                at: 0,
                range: range.start as u64..range.end as u64,
                buffer: Vec::new(),
                send: |chunk: Bytes| {
                    got.extend_from_slice(&chunk);
                    Ok(())
                },
            };
            for piece in bytes.chunks(1000) {
                part.write_all(piece).unwrap();
            }
            part.finish().unwrap();
            assert!(got == bytes[range.clone()], "{range:?}");
        }
    }
}
