//! Errors of HTTP requests, and whether they are temporary.

use std::{fmt, io, time::Duration};

use super::without_query;
use crate::budget::ExceededError;

/// The error of a request.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The request could not be sent.
    #[error("{act} at {url}")]
    Send {
        act: &'static str,
        /// The URL without its query.
        url: String,
        source: Box<ureq::Error>,
    },
    /// The certificate of the server has no trusted CA.
    #[error(
        "{act} at {url}: its certificate is not trusted; put the certificate of its CA, in PEM format, into a *.crt file of certs.d, or of a directory for --cert-dir"
    )]
    Untrusted {
        act: &'static str,
        /// The URL without its query.
        url: String,
    },
    /// The server answered with an error.
    #[error("{act}: the server answered {status} at {url}{detail}")]
    Status {
        act: &'static str,
        /// The URL without its query.
        url: String,
        status: u16,
        /// The text of the response, and what to do, if known.
        detail: String,
        /// The delay that the server requests (`Retry-After`).
        retry_after: Option<Duration>,
    },
    /// The response is malformed, or must not be followed.
    #[error("{act}: {why}")]
    Answer { act: &'static str, why: String },
    /// Certificates could not be read.
    #[error("reading the certificates in {}", path.display())]
    Certificates { path: std::path::PathBuf, source: io::Error },
    /// The address of a proxy is malformed.
    #[error(
        "the proxy in {variable} is not the URL of a supported proxy; write it like http://proxy.example.com:3128, \
         https://… or socks5://USER:PASSWORD@proxy.example.com:1080"
    )]
    Proxy {
        /// The environment variable. Its value may contain a password.
        variable: String,
    },
}

impl HttpError {
    /// Returns the error for a request without a response.
    pub(super) fn unsent(act: &'static str, url: String, source: ureq::Error) -> Self {
        use rustls::{CertificateError, Error};
        let tls = match &source {
            ureq::Error::Io(error) => error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()),
            _ => None,
        };
        match tls {
            Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => Self::Untrusted { act, url },
            _ => Self::Send { act, url, source: Box::new(source) },
        }
    }

    /// Returns the error for a body that could not be made before the request.
    pub fn unmade(act: &'static str, url: &str, source: io::Error) -> Self {
        let source = ureq::Error::Io(io::Error::other(RequestBodyError(source)));
        Self::Send { act, url: without_query(url), source: Box::new(source) }
    }

    /// Whether the body of the request could not be made.
    pub fn is_of_body(&self) -> bool {
        let Self::Send { source, .. } = self else { return false };
        matches!(&**source, ureq::Error::Io(error) if is_of_body(error))
    }

    /// Returns the minimum time before a retry may succeed, or `None` if it never will.
    pub fn passes_after(&self) -> Option<Duration> {
        match self {
            Self::Send { source, .. } => may_pass(source).then_some(Duration::ZERO),
            Self::Status { status: 408 | 429 | 500 | 502..=504 | 520..=599, retry_after, .. } => {
                Some(retry_after.unwrap_or_default())
            }
            _ => None,
        }
    }

    /// Returns the text of an unexpected response after a colon, or an empty text.
    pub fn detail(&self) -> &str {
        match self {
            Self::Status { detail, .. } => detail,
            _ => "",
        }
    }

    /// Returns the status of an unexpected response.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// The error of making the body of a request. A retry would not help, since the server is not the cause.
#[derive(Debug)]
pub struct RequestBodyError(pub io::Error);

impl fmt::Display for RequestBodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "making what is to be sent: {}", self.0)
    }
}

impl std::error::Error for RequestBodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The error itself is printed above.
        self.0.get_ref().and_then(std::error::Error::source)
    }
}

fn is_of_body(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<RequestBodyError>())
}

fn may_pass(error: &ureq::Error) -> bool {
    use ureq::Error;
    match error {
        Error::Io(error) => {
            let inner = error.get_ref();
            // An untrusted certificate is permanent.
            let is_tls = inner.is_some_and(|inner| inner.is::<rustls::Error>());
            !is_of_body(error) && !is_tls && ExceededError::cause(error).is_none()
        }
        Error::Timeout(_) | Error::ConnectionFailed | Error::HostNotFound | Error::Protocol(_) => true,
        Error::ConnectProxyFailed(_) => true,
        _ => false,
    }
}

/// Returns text of a server in one line, without control characters, and shortened for a terminal.
pub fn clean(text: &str) -> String {
    const LONGEST: usize = 1000;
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    // Characters that change the direction of text are removed too, since they can disguise a line.
    let harmless = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let mut clean: String =
        words.chars().map(|c| if harmless(c) { c } else { char::REPLACEMENT_CHARACTER }).take(LONGEST + 1).collect();
    if clean.chars().count() > LONGEST {
        clean = clean.chars().take(LONGEST).chain(['…']).collect();
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_see_no_control_characters_of_a_server() {
        let cleaned = clean("denied:\u{1b}[2J\u{1b}]0;title\u{7} \n\r\n see\u{9b}31m \u{202e}above\0");
        assert_eq!(cleaned, "denied:\u{fffd}[2J\u{fffd}]0;title\u{fffd} see\u{fffd}31m \u{fffd}above\u{fffd}");
        assert_eq!(clean(&"x".repeat(5000)).chars().count(), 1001);
    }

    #[test]
    fn permanent_errors_are_not_retried() {
        let status = |status| HttpError::Status {
            act: "x",
            url: String::new(),
            status,
            detail: String::new(),
            retry_after: None,
        };
        for passing in [408, 429, 500, 502, 503, 504] {
            assert_eq!(status(passing).passes_after(), Some(Duration::ZERO), "{passing}");
        }
        for permanent in [400, 401, 403, 404, 405, 413, 416, 501, 505] {
            assert_eq!(status(permanent).passes_after(), None, "{permanent}");
        }
    }
}
