//! A download that goes on where its connection broke.

use std::io::{self, Read};

use super::{HttpError, Retry, wait};

/// After this many bytes (1 MiB) without a failure, the ones before are forgotten.
const RECOVERED: u64 = 1024 * 1024;

/// Reads what `open` opens at a byte, and opens it again where it breaks.
pub struct Resume<F> {
    open: F,
    retry: Retry,
    at: u64,
    failed: u32,
    failed_at: u64,
    body: Option<Box<dyn Read + Send>>,
}

impl<F, E> Resume<F>
where
    F: FnMut(u64) -> Result<Box<dyn Read + Send>, E>,
    E: std::error::Error + Send + Sync + 'static,
    for<'a> &'a E: Into<Option<&'a HttpError>>,
{
    /// Nothing is opened before the first byte is read.
    pub fn new(retry: Retry, open: F) -> Self {
        Self { open, retry, at: 0, failed: 0, failed_at: 0, body: None }
    }

    fn again(&mut self, error: io::Error, least: std::time::Duration) -> io::Result<()> {
        if self.at - self.failed_at >= RECOVERED {
            self.failed = 0;
        }
        (self.failed, self.failed_at, self.body) = (self.failed + 1, self.at, None);
        if self.failed >= self.retry.tries {
            return Err(error);
        }
        wait(self.failed, least);
        Ok(())
    }
}

impl<F, E> Read for Resume<F>
where
    F: FnMut(u64) -> Result<Box<dyn Read + Send>, E>,
    E: std::error::Error + Send + Sync + 'static,
    for<'a> &'a E: Into<Option<&'a HttpError>>,
{
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let body = match &mut self.body {
                Some(body) => body,
                None => match (self.open)(self.at) {
                    Ok(body) => self.body.insert(body),
                    Err(error) => {
                        let passes = (&error).into().and_then(HttpError::passes_after);
                        let error = io::Error::other(error);
                        match passes {
                            Some(least) => self.again(error, least)?,
                            None => return Err(error),
                        }
                        continue;
                    }
                },
            };
            match body.read(buffer) {
                Ok(read) => {
                    self.at += read as u64;
                    return Ok(read);
                }
                Err(error) => self.again(error, std::time::Duration::ZERO)?,
            }
        }
    }
}
