//! Counts the sent bytes of a layer, for progress.

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use crate::transport::progress::Progress;

/// Reports the progress of one layer.
#[derive(Clone)]
pub(super) struct LayerProgress {
    pub layer: usize,
    pub progress: Arc<dyn Progress>,
}

impl LayerProgress {
    pub fn reader(&self, inner: impl Read + Send + 'static) -> Box<dyn Read + Send> {
        Box::new(Watched { inner, watch: self.clone() })
    }
}

/// Counts the bytes that are read or written.
pub(super) struct Watched<T> {
    pub inner: T,
    pub watch: LayerProgress,
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
