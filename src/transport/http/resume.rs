//! A download that continues after its connection broke.

use std::io::{self, Read};

use super::{HttpError, Retry, wait};

/// After this many bytes (1 MiB) without a failure, earlier failures do not count.
const RECOVERED: u64 = 1024 * 1024;

/// Reads from the reader that `open` returns for a position, and calls `open` again after an error.
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
    /// Returns a reader that calls `open` when the first byte is read.
    pub fn new(retry: Retry, open: F) -> Self {
        Self { open, retry, at: 0, failed: 0, failed_at: 0, body: None }
    }

    fn schedule_retry(&mut self, error: io::Error, least: std::time::Duration) -> io::Result<()> {
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
                            Some(least) => self.schedule_retry(error, least)?,
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
                Err(error) => self.schedule_retry(error, std::time::Duration::ZERO)?,
            }
        }
    }
}
