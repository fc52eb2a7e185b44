//! Counts the bytes of a layer that are sent, for progress.

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use crate::transport::progress::Progress;

/// Reports how much of one layer was sent.
#[derive(Clone)]
pub(super) struct Watch {
    pub layer: usize,
    pub progress: Arc<dyn Progress>,
}

impl Watch {
    pub fn reader(&self, inner: impl Read + Send + 'static) -> Box<dyn Read + Send> {
        Box::new(Watched { inner, watch: self.clone() })
    }
}

/// Counts what flows through, in either direction.
pub(super) struct Watched<T> {
    pub inner: T,
    pub watch: Watch,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.watch.progress.advance(self.watch.layer, read as u64);
        Ok(read)
    }
}

impl<W: Write> Write for Watched<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.watch.progress.advance(self.watch.layer, written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
