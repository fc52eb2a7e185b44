//! Blobs sent, and sent on after a connection broke.
//!
//! ```text
//! known and small   POST, PUT with all of it
//! everything else   POST, PATCH with a stream ── breaks ──▶ GET: how far did it get? ──▶ PATCH with the rest
//!                                             ── ends ────▶ PUT with the digest
//! ```
//!
//! Streams are made anew for each try: they are deterministic, so the rest of a
//! second one continues the first.

use std::io::{self, Read};

use ureq::http::{Response, StatusCode, header};

use super::{
    Client, RegistryError,
    client::check_digest,
    transport::{Body, Call, Result, TRIES},
};
use crate::oci::Digest;

/// Up to this size (in bytes) a blob that breaks off is sent again whole.
const SMALL: u64 = 4 * 1024 * 1024;
const OCTETS: (&str, &str) = ("content-type", "application/octet-stream");
const ACT: &str = "uploading a blob";

/// A blob to be sent.
pub struct Upload<'a> {
    /// Makes its bytes, the same each time.
    pub make: &'a mut dyn FnMut() -> Box<dyn Read + Send>,
    /// Its size in bytes, where it is known before all of it is made.
    pub size: Option<u64>,
    /// Its digest, known at the latest when all of it was made.
    pub digest: &'a dyn Fn() -> Option<Digest>,
}

impl Client {
    /// Uploads a blob that is known whole.
    ///
    /// # Errors
    ///
    /// When the registry cannot be reached, refuses, or says that it took something else.
    pub fn upload_bytes(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        self.monolithic(digest, &mut Body::Bytes(bytes))
    }

    /// Uploads a blob that is made while it is sent.
    ///
    /// # Errors
    ///
    /// As [`upload_bytes`](Self::upload_bytes), and when the blob cannot be made.
    pub fn upload(&self, mut upload: Upload<'_>) -> Result<()> {
        match ((upload.digest)(), upload.size) {
            (Some(digest), Some(size)) if size <= SMALL => {
                self.monolithic(&digest, &mut Body::Stream(upload.make, Some(size)))
            }
            _ => self.resumable(&mut upload),
        }
    }

    fn monolithic(&self, digest: &Digest, body: &mut Body<'_>) -> Result<()> {
        self.transport.retry(|| {
            let location = self.start()?;
            self.put(&location, digest, body)
        })
    }

    fn resumable(&self, upload: &mut Upload<'_>) -> Result<()> {
        let mut session = self.transport.retry(|| self.start())?;
        let mut at = 0;
        let mut broken = 0;
        loop {
            match self.send_rest(&session, upload, at) {
                Ok(location) => {
                    let Some(digest) = (upload.digest)() else {
                        let why = "the blob ended before its digest was known".to_owned();
                        return Err(RegistryError::Answer { act: ACT, why });
                    };
                    match self.transport.retry(|| self.put(&location, &digest, &mut Body::Bytes(&[]))) {
                        // The answer to a first try was lost on the way, and the session is closed.
                        Err(RegistryError::Status { status: 404, .. }) if self.has_blob(&digest)? => return Ok(()),
                        // What arrived is not what was sent: some registries forget a part of a broken upload.
                        Err(RegistryError::Status { status: 400..=499, .. }) if broken < TRIES => {
                            (session, at, broken) = (self.transport.retry(|| self.start())?, 0, TRIES);
                        }
                        result => return result,
                    }
                }
                Err(error) => {
                    broken += 1;
                    let Some(wait) = error.passes_after().filter(|_| broken < TRIES) else { return Err(error) };
                    self.transport.wait(broken, wait);
                    (session, at) = match self.progress(&session) {
                        Some(gone_so_far) => gone_so_far,
                        None => (self.transport.retry(|| self.start())?, 0),
                    };
                }
            }
        }
    }

    /// Sends the blob from byte `at` on; where it is to be closed.
    fn send_rest(&self, session: &str, upload: &mut Upload<'_>, at: u64) -> Result<String> {
        let Upload { make, size, .. } = upload;
        let left = size.map(|size| size.saturating_sub(at));
        let range = left.map(|left| format!("{at}-{}", (at + left).saturating_sub(1)));
        let mut headers = vec![OCTETS];
        if let Some(range) = &range {
            headers.push(("content-range", range));
        }
        let mut rest = || -> Box<dyn Read + Send> { Box::new(Rest { inner: make(), skip: at }) };
        let mut body = Body::Stream(&mut rest, left);
        let response =
            self.transport.send(&Call { act: ACT, method: "PATCH", url: session, headers: &headers }, &mut body)?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(self.transport.refused(ACT, session, response));
        }
        self.location(&response)
    }

    /// How far a broken upload got, and where it goes on; `None` where it is gone.
    fn progress(&self, session: &str) -> Option<(String, u64)> {
        let response = self
            .transport
            .send(&Call { act: ACT, method: "GET", url: session, headers: &[] }, &mut Body::Empty)
            .ok()?;
        if response.status() != StatusCode::NO_CONTENT {
            return None;
        }
        let range = response.headers().get(header::RANGE)?.to_str().ok()?;
        let last: u64 = range.trim_start_matches("bytes=").strip_prefix("0-")?.parse().ok()?;
        // An upload of which nothing arrived says 0-0, as one of a single byte does.
        let at = if last == 0 { 0 } else { last + 1 };
        let location = self.location(&response).unwrap_or_else(|_| session.to_owned());
        (at > 0).then_some((location, at))
    }

    fn start(&self) -> Result<String> {
        let url = self.url("blobs/uploads/");
        let response =
            self.transport.send(&Call { act: ACT, method: "POST", url: &url, headers: &[] }, &mut Body::Bytes(&[]))?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(self.transport.refused(ACT, &url, response));
        }
        self.location(&response)
    }

    fn put(&self, location: &str, digest: &Digest, body: &mut Body<'_>) -> Result<()> {
        let separator = if location.contains('?') { '&' } else { '?' };
        let url = format!("{location}{separator}digest={digest}");
        let response = self.transport.send(&Call { act: ACT, method: "PUT", url: &url, headers: &[OCTETS] }, body)?;
        if response.status() != StatusCode::CREATED {
            return Err(self.transport.refused(ACT, &url, response));
        }
        check_digest(ACT, &response, digest)
    }

    /// Where an upload goes on; credentials go nowhere else.
    fn location(&self, response: &Response<ureq::Body>) -> Result<String> {
        let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
        match location {
            Some(path) if path.starts_with('/') => Ok(format!("{}{path}", self.transport.base)),
            Some(url) => Ok(url.to_owned()),
            None => {
                let why = "the registry does not say where to upload".to_owned();
                Err(RegistryError::Answer { act: ACT, why })
            }
        }
    }
}

/// What follows the first `skip` bytes.
struct Rest {
    inner: Box<dyn Read + Send>,
    skip: u64,
}

impl Read for Rest {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.skip > 0 {
            let skipped = io::copy(&mut (&mut self.inner).take(self.skip), &mut io::sink())?;
            if skipped < self.skip {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.skip = 0;
        }
        self.inner.read(buffer)
    }
}
