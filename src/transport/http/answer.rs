//! What a server answered: status, headers, and a body with limits of time and size.

use std::{
    fmt,
    io::{self, Read},
    time::{Duration, Instant, SystemTime},
};

use serde::Deserialize;
use ureq::http::{Response, StatusCode};

use super::{HttpError, Result, clean, join, parse_retry_after, without_query};
use crate::budget::{self, Budget, Limits};

/// What a server answered.
pub struct Answer {
    /// Status, headers and body.
    pub response: Response<ureq::Body>,
    /// The URL that answered, which differs from the requested URL after redirects.
    pub url: String,
    /// Whether a redirect led to another origin on the way.
    pub strayed: bool,
    /// The time in which a document must be read.
    pub(super) deadline: Duration,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({} of {})", self.response.status(), without_query(&self.url))
    }
}

/// A reader that fails after a time: a server that sends a byte now and then is gone too.
struct UntilDeadline<R> {
    inner: R,
    deadline: Instant,
}

impl<R: Read> Read for UntilDeadline<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match Instant::now() > self.deadline {
            true => Err(ureq::Error::Timeout(ureq::Timeout::RecvBody).into_io()),
            false => self.inner.read(buffer),
        }
    }
}

impl Answer {
    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// A header, where it is there and text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// All headers of one name.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.response.headers().get_all(name).iter().filter_map(|value| value.to_str().ok())
    }

    /// Where `Location` leads, seen from the URL that answered.
    ///
    /// # Errors
    ///
    /// When it is missing, or not a valid URL.
    pub fn location(&self, act: &'static str) -> Result<String> {
        self.header("location").and_then(|location| join(&self.url, location)).ok_or_else(|| HttpError::Answer {
            act,
            why: format!("{} does not say where the upload continues", without_query(&self.url)),
        })
    }

    /// The whole body.
    ///
    /// # Errors
    ///
    /// When it breaks off, or exceeds `limits`.
    pub fn bytes(mut self, act: &'static str, limits: &'static Limits) -> Result<Vec<u8>> {
        Budget::new(limits).read(self.body()).map_err(|source| HttpError::Send {
            act,
            url: without_query(&self.url),
            source: Box::new(source.into()),
        })
    }

    /// The body, which fails at the deadline.
    fn body(&mut self) -> impl Read {
        let deadline = Instant::now() + self.deadline;
        UntilDeadline { inner: self.response.body_mut().with_config().limit(u64::MAX).reader(), deadline }
    }

    /// The body from byte `at` on, which was asked for as a range.
    ///
    /// # Errors
    ///
    /// When the server refuses, or sends another range.
    pub fn part(self, act: &'static str, at: u64) -> Result<Box<dyn Read + Send>> {
        let whole = match self.status() {
            StatusCode::OK => true,
            StatusCode::PARTIAL_CONTENT => {
                let said = self.header("content-range").unwrap_or_default();
                let start = said.strip_prefix("bytes ").and_then(|range| range.split_once('-')?.0.parse().ok());
                if start != Some(at) {
                    let why = format!("the server sent {:?} when asked for the bytes from {at}", clean(said));
                    return Err(HttpError::Answer { act, why });
                }
                false
            }
            _ => return Err(self.refused(act)),
        };
        let url = without_query(&self.url);
        let mut body = self.response.into_body().into_with_config().limit(u64::MAX).reader();
        // A server that knows no ranges begins anew.
        if whole && at > 0 {
            let skipped = io::copy(&mut (&mut body).take(at), &mut io::sink());
            skipped.map_err(|source| HttpError::Send { act, url, source: Box::new(source.into()) })?;
        }
        Ok(Box::new(body))
    }

    /// The error for an answer that is not the one hoped for.
    pub fn refused(mut self, act: &'static str) -> HttpError {
        let status = self.status().as_u16();
        let retry_after = self.header("retry-after").and_then(|value| parse_retry_after(value, SystemTime::now()));
        let mut said = Vec::new();
        // Half a message is better than none.
        drop(Budget::new(&budget::MESSAGE).read_start(self.body(), &mut said));
        let said = clean(&message(&String::from_utf8_lossy(&said)));
        let detail = if said.is_empty() { said } else { format!(": {said}") };
        HttpError::Status { act, url: without_query(&self.url), status, detail, retry_after }
    }
}

/// The message of a response, without its JSON
/// ([errors of registries](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes)).
fn message(text: &str) -> String {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<Error>,
    }
    #[derive(Deserialize)]
    struct Error {
        #[serde(default)]
        code: serde_json::Value,
        #[serde(default)]
        message: Option<String>,
    }
    let Ok(Errors { errors }) = serde_json::from_str(text) else { return text.to_owned() };
    let one = |error: &Error| match (&error.code, error.message.as_deref().filter(|message| !message.is_empty())) {
        (serde_json::Value::String(code), Some(message)) => format!("{code}: {message}"),
        (serde_json::Value::String(code), None) => code.clone(),
        (_, message) => message.unwrap_or_default().to_owned(),
    };
    errors.iter().map(one).collect::<Vec<_>>().join("; ")
}
