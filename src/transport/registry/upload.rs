//! Uploads blobs, and continues uploads after a connection broke.
//!
//! ```text
//! known and small   POST, PUT with all of it
//! everything else   POST, PATCH with a stream ── breaks ──▶ GET: how far did it get? ──▶ PATCH with the rest
//!                                             ── ends ────▶ PUT with the digest
//! a registry without support for streams      made once to know size and digest, then POST, PUT with all of it
//! ```
//!
//! Streams are made again for each attempt. They are deterministic, so the rest of a second one continues the first. A
//! refused mount may have opened an upload session already.

use std::{
    io::{self, Read},
    sync::atomic::Ordering,
};

use ureq::http::StatusCode;

use super::{Client, RegistryError, Result, client::check_digest, session::RegistryCall};
use crate::{
    oci::{Algorithm, Digest},
    transport::http::{HttpBody, HttpError, wait},
};

/// The maximum size in bytes of a blob that is sent again completely after a failure.
const SMALL: u64 = 4 * 1024 * 1024;
const OCTETS: (&str, &str) = ("content-type", "application/octet-stream");
const ACT: &str = "uploading a blob";

/// A blob to upload.
pub struct Upload<'a> {
    /// Makes the bytes of the blob, which are the same each time.
    pub make: &'a mut dyn FnMut() -> Box<dyn Read + Send>,
    /// The size in bytes, if it is known before the blob is made.
    pub size: Option<u64>,
    /// Returns the digest, which is known at the latest after all of the blob was made.
    pub digest: &'a dyn Fn() -> Option<Digest>,
    /// An open upload session, which a refused mount returned.
    pub session: Option<String>,
}

impl Client {
    /// Uploads a blob whose bytes are in memory. `session` is that of [`Upload`].
    ///
    /// # Errors
    ///
    /// If the request fails or is refused, or the registry reports another digest.
    pub fn upload_bytes(&self, digest: &Digest, bytes: &[u8], session: Option<String>) -> Result<()> {
        self.whole(digest, &mut HttpBody::Bytes(bytes), session)
    }

    /// Uploads a blob that is made while it is sent.
    ///
    /// # Errors
    ///
    /// Those of [`upload_bytes`](Self::upload_bytes), and an error if the blob cannot be made.
    pub fn upload(&self, mut upload: Upload<'_>) -> Result<()> {
        let known = (upload.digest)().zip(upload.size);
        match known {
            Some((digest, size)) if size <= SMALL || self.whole_only.load(Ordering::Relaxed) => {
                self.whole(&digest, &mut HttpBody::Stream(upload.make, Some(size)), upload.session)
            }
            None if self.whole_only.load(Ordering::Relaxed) => self.made_twice(&mut upload),
            _ => self.streamed(&mut upload),
        }
    }

    fn whole(&self, digest: &Digest, body: &mut HttpBody<'_>, mut session: Option<String>) -> Result<()> {
        let sent = self.session().retried(|| {
            let location = match session.take() {
                Some(location) => location,
                None => self.start()?,
            };
            self.put(&location, digest, body)
        });
        match sent {
            // The response to an earlier attempt was lost.
            Err(error) if error.status() == Some(404) && self.has_blob(digest)? => Ok(()),
            sent => sent,
        }
    }

    fn made_twice(&self, upload: &mut Upload<'_>) -> Result<()> {
        let failed = |source| HttpError::unmade(ACT, &self.url("blobs/uploads/"), source);
        let size = io::copy(&mut (upload.make)(), &mut io::sink()).map_err(failed)?;
        let digest = made(upload)?;
        self.whole(&digest, &mut HttpBody::Stream(upload.make, Some(size)), None)
    }

    fn streamed(&self, upload: &mut Upload<'_>) -> Result<()> {
        let retry = self.session().retry();
        let mut session = match upload.session.take() {
            Some(session) => session,
            None => self.session().retried(|| self.start())?,
        };
        let mut at = 0;
        let mut broken = 0;
        loop {
            match self.send_rest(&session, upload, at) {
                Ok(location) => {
                    let digest = made(upload)?;
                    let closed = self.session().retried(|| self.put(&location, &digest, &mut HttpBody::Bytes(&[])));
                    match closed.as_ref().map_err(RegistryError::status) {
                        // The response to the first attempt was lost, and the session is closed.
                        Err(Some(404)) if self.has_blob(&digest)? => return Ok(()),
                        // The registry received other bytes than those sent: some lose a part of a broken upload.
                        Err(Some(400..=499)) if broken < retry.tries => {
                            (session, at, broken) = (self.session().retried(|| self.start())?, 0, retry.tries);
                        }
                        _ => return closed,
                    }
                }
                Err(error) => {
                    // A registry that refuses chunked uploads, or requests without a length, reports it at once.
                    if broken == 0 && matches!(error.status(), Some(400 | 404 | 405 | 411 | 413 | 415 | 416 | 501)) {
                        self.whole_only.store(true, Ordering::Relaxed);
                        return match (upload.digest)().zip(upload.size) {
                            Some((digest, size)) => {
                                self.whole(&digest, &mut HttpBody::Stream(upload.make, Some(size)), None)
                            }
                            None => self.made_twice(upload),
                        };
                    }
                    broken += 1;
                    let passes = Option::from(&error).and_then(HttpError::passes_after);
                    let Some(least) = passes.filter(|_| broken < retry.tries) else { return Err(error) };
                    wait(broken, least);
                    (session, at) = match self.progress(&session) {
                        Some(gone_so_far) => gone_so_far,
                        None => (self.session().retried(|| self.start())?, 0),
                    };
                }
            }
        }
    }

    /// Sends the blob from byte `at` on. Returns the URL at which the upload is completed.
    fn send_rest(&self, session: &str, upload: &mut Upload<'_>, at: u64) -> Result<String> {
        let Upload { make, size, .. } = upload;
        let remaining = size.map(|size| size.saturating_sub(at));
        // The first request needs no range, since Artifactory and other registries do not support it.
        let range =
            remaining.filter(|_| at > 0).map(|remaining| format!("{at}-{}", (at + remaining).saturating_sub(1)));
        let mut headers = vec![OCTETS];
        if let Some(range) = &range {
            headers.push(("content-range", range));
        }
        let mut rest = || -> Box<dyn Read + Send> { Box::new(Rest { inner: make(), skip: at }) };
        let mut body = HttpBody::Stream(&mut rest, remaining);
        let answer = self
            .session()
            .send(&RegistryCall { headers: &headers, ..RegistryCall::new(ACT, "PATCH", session) }, &mut body)?;
        // The specification requires 202. Some registries answer 201 or 204.
        if !answer.status().is_success() {
            return Err(self.session().refused(ACT, answer));
        }
        // Without a Location, the session continues at its URL.
        match answer.header("location") {
            Some(_) => Ok(answer.location(ACT)?),
            None => Ok(session.to_owned()),
        }
    }

    /// Returns the URL and the position at which a broken upload continues, or `None` if the session does not exist any
    /// more.
    fn progress(&self, session: &str) -> Option<(String, u64)> {
        let answer = self.session().send(&RegistryCall::new(ACT, "GET", session), &mut HttpBody::Empty).ok()?;
        if answer.status() != StatusCode::NO_CONTENT {
            return None;
        }
        let range = answer.header("range")?;
        let last: u64 = range.trim_start_matches("bytes=").strip_prefix("0-")?.parse().ok()?;
        // An upload without any bytes has the range 0-0, the same as one with a single byte.
        let at = if last == 0 { 0 } else { last + 1 };
        let location = answer.location(ACT).unwrap_or_else(|_| session.to_owned());
        (at > 0).then_some((location, at))
    }

    fn start(&self) -> Result<String> {
        let url = self.url("blobs/uploads/");
        let answer = self.session().send(&RegistryCall::new(ACT, "POST", &url), &mut HttpBody::Bytes(&[]))?;
        if answer.status() != StatusCode::ACCEPTED {
            return Err(self.session().refused(ACT, answer));
        }
        Ok(answer.location(ACT)?)
    }

    fn put(&self, location: &str, digest: &Digest, body: &mut HttpBody<'_>) -> Result<()> {
        let separator = if location.contains('?') { '&' } else { '?' };
        let url = format!("{location}{separator}digest={digest}");
        let answer =
            self.session().send(&RegistryCall { headers: &[OCTETS], ..RegistryCall::new(ACT, "PUT", &url) }, body)?;
        if !answer.status().is_success() {
            return Err(self.session().refused(ACT, answer));
        }
        check_digest(ACT, &answer, digest)?;
        // Some registries accept blobs of any digest, and store them only under their sha256.
        if digest.algorithm() == Algorithm::Sha256 || self.has_blob(digest)? {
            return Ok(());
        }
        let why =
            format!("the registry took {digest}, but does not keep it under this digest; use one that has sha512");
        Err(RegistryError::answer(ACT, why))
    }

    /// Cancels an upload session that a refused mount opened. Registries remove sessions that are not cancelled after
    /// some time.
    pub fn cancel(&self, session: &str) {
        let _ = self.session().send(&RegistryCall::new(ACT, "DELETE", session), &mut HttpBody::Empty);
    }
}

fn made(upload: &Upload<'_>) -> Result<Digest> {
    (upload.digest)().ok_or_else(|| RegistryError::answer(ACT, "the blob ended before its digest was known"))
}

/// Returns the bytes after the first `skip`.
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
