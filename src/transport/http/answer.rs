//! Responses of a server: status, headers, and a body with limits of time and size.

use std::{
    fmt,
    io::{self, Read},
    time::{Duration, Instant, SystemTime},
};

use serde::Deserialize;
use ureq::http::{Response, StatusCode};

use super::{HttpError, Origin, Result, clean, join, parse_retry_after, without_query};
use crate::budget::{self, Budget, Limits};

/// A response of a server.
pub struct Answer {
    /// Status, headers and body.
    pub response: Response<ureq::Body>,
    /// The URL that answered, which differs from the requested URL after redirects.
    pub url: String,
    /// Whether a redirect led to another origin.
    pub left_origin: bool,
    /// The time limit for reading a document.
    pub(super) deadline: Duration,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({} of {})", self.response.status(), without_query(&self.url))
    }
}

/// A reader that fails after a time limit, even if the server still sends a byte now and then.
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
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Returns a header if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name).and_then(|value| value.to_str().ok())
    }

    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.response.headers().get_all(name).iter().filter_map(|value| value.to_str().ok())
    }

    /// Returns the URL of `Location`, resolved against the URL that answered.
    ///
    /// # Errors
    ///
    /// If it is missing, invalid, or leads from HTTPS to HTTP.
    pub fn location(&self, act: &'static str) -> Result<String> {
        let refuse = |why: &str| HttpError::Answer { act, why: format!("{} {why}", without_query(&self.url)) };
        let location = self.header("location").and_then(|location| join(&self.url, location));
        let location = location.ok_or_else(|| refuse("does not say where the upload continues"))?;
        let is_https = |url: &str| Origin::from_url(url).is_some_and(|origin| origin.is_https());
        if is_https(&self.url) && !is_https(&location) {
            return Err(refuse("continues the upload without TLS"));
        }
        Ok(location)
    }

    /// Returns the whole body.
    ///
    /// # Errors
    ///
    /// If it ends early, or exceeds `limits`.
    pub fn bytes(mut self, act: &'static str, limits: &'static Limits) -> Result<Vec<u8>> {
        Budget::new(limits).read(self.body()).map_err(|source| HttpError::Send {
            act,
            url: without_query(&self.url),
            source: Box::new(source.into()),
        })
    }

    /// Returns the body, which fails at the deadline.
    fn body(&mut self) -> impl Read {
        let deadline = Instant::now() + self.deadline;
        UntilDeadline { inner: self.response.body_mut().with_config().limit(u64::MAX).reader(), deadline }
    }

    /// Returns the body from byte `at` on, after a request for this range.
    ///
    /// # Errors
    ///
    /// If the server refuses, or sends another range.
    pub fn part(self, act: &'static str, at: u64) -> Result<Box<dyn Read + Send>> {
        let whole = match self.status() {
            StatusCode::OK => true,
            StatusCode::PARTIAL_CONTENT => {
                let sent_range = self.header("content-range").unwrap_or_default();
                let start = sent_range.strip_prefix("bytes ").and_then(|range| range.split_once('-')?.0.parse().ok());
                if start != Some(at) {
                    let why = format!("the server sent {:?} when asked for the bytes from {at}", clean(sent_range));
                    return Err(HttpError::Answer { act, why });
                }
                false
            }
            _ => return Err(self.refused(act)),
        };
        let url = without_query(&self.url);
        let mut body = self.response.into_body().into_with_config().limit(u64::MAX).reader();
        // A server without support for ranges sends everything.
        if whole && at > 0 {
            let skipped = io::copy(&mut (&mut body).take(at), &mut io::sink());
            skipped.map_err(|source| HttpError::Send { act, url, source: Box::new(source.into()) })?;
        }
        Ok(Box::new(body))
    }

    /// Returns the error for an unexpected response.
    pub fn refused(mut self, act: &'static str) -> HttpError {
        let status = self.status().as_u16();
        let retry_after = self.header("retry-after").and_then(|value| parse_retry_after(value, SystemTime::now()));
        let mut message_bytes = Vec::new();
        // A part of the message is better than none.
        drop(Budget::new(&budget::MESSAGE).read_start(self.body(), &mut message_bytes));
        let text = clean(&message(&String::from_utf8_lossy(&message_bytes)));
        let detail = if text.is_empty() { text } else { format!(": {text}") };
        HttpError::Status { act, url: without_query(&self.url), status, detail, retry_after }
    }
}

/// Returns the message of a response without its JSON ([errors of
/// registries](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes)).
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_does_not_continue_without_tls() {
        let answer = |url: &str, location: &str| {
            let response = Response::builder().header("location", location).body(ureq::Body::builder().data(""));
            let (url, deadline) = (url.to_owned(), Duration::ZERO);
            Answer { response: response.unwrap(), url, left_origin: false, deadline }.location("uploading")
        };
        let url = "https://registry.example/v2/a/blobs/uploads/";
        for location in ["http://registry.example/x", "http://other.example:443/x", "HTTP://registry.example/x"] {
            let error = answer(url, location).unwrap_err().to_string();
            assert!(error.contains("without TLS"), "{location}: {error}");
        }
        for location in ["/x", "//other.example/x", "https://other.example/x", "x?y=http://z"] {
            assert!(answer(url, location).unwrap().starts_with("https://"), "{location}");
        }
        assert_eq!(answer("http://127.0.0.1:5000/v2/", "/x").unwrap(), "http://127.0.0.1:5000/x");
    }
}
