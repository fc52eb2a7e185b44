//! Connects ureq to a unix socket, which its own connectors do not support.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
};

use ureq::{
    Error,
    unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport},
};

/// Connects to one socket. The URL is ignored.
#[derive(Debug)]
pub struct UnixConnector {
    path: PathBuf,
}

impl UnixConnector {
    pub fn new(path: &str) -> Self {
        Self { path: path.into() }
    }
}

impl Connector for UnixConnector {
    type Out = UnixTransport;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<UnixTransport>, Error> {
        let stream = UnixStream::connect(&self.path)?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(UnixTransport { stream, refused: false, buffers }))
    }
}

#[derive(Debug)]
pub struct UnixTransport {
    stream: UnixStream,
    /// Whether the daemon closed its side. Its response has the reason.
    refused: bool,
    buffers: LazyBuffers,
}

impl Transport for UnixTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        let output = &self.buffers.output()[..amount];
        unless_refused(&mut self.refused, || self.stream.write_all(output))
    }

    // There is no timeout: a daemon that loads an image may send nothing for a long time.
    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        let read = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    // Each request has its own connection, since an idle connection may be broken.
    fn is_open(&mut self) -> bool {
        false
    }
}

/// Sends more of a request, unless the daemon has closed its side. The response that it sent before is used then.
pub(super) fn unless_refused(refused: &mut bool, send: impl FnOnce() -> io::Result<()>) -> Result<(), Error> {
    if !*refused {
        match send() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => *refused = true,
            sent => sent?,
        }
    }
    Ok(())
}
