//! Origins of URLs, to which credentials are bound, and `Location` headers joined with the URL of their response.
//!
//! ```text
//! https://host:443/v2/  and  https://HOST/v2/   one origin: (https, host, 443)
//! http://host/v2/                               another
//! ```

use std::{fmt, net::IpAddr};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ureq::http::Uri;
use url::Url;

/// Scheme, host and port, compared as defined by [RFC 6454](https://www.rfc-editor.org/rfc/rfc6454#section-4).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    https: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// Returns the origin of an `http:` or `https:` URL, or `None` for other URLs and for URLs with a user.
    pub fn from_url(url: &str) -> Option<Self> {
        let url: Uri = url.parse().ok()?;
        let https = match url.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = url.authority()?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        let port = match authority.as_str().strip_prefix(authority.host())? {
            "" if https => 443,
            "" => 80,
            // A port that is not a number cannot be used.
            port => port.strip_prefix(':')?.parse().ok()?,
        };
        Some(Self { https, host: authority.host().to_ascii_lowercase(), port })
    }

    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Returns the host in lower case. An IPv6 address is in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns `HOST[:PORT]`, without the default port: the name of the directory in `certs.d`.
    pub fn authority(&self) -> String {
        if self.port == self.default_port() { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    fn default_port(&self) -> u16 {
        if self.https { 443 } else { 80 }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the origin is on this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.https { "https" } else { "http" }, self.authority())
    }
}

/// Whether a host (without a port) is this machine: `localhost`, an address of `127.0.0.0/8`, or `::1`. Names that only
/// begin with these are other hosts.
pub fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Joins the `Location` of a response with its URL, `base`. `None` if the result cannot be requested.
pub fn join(base: &str, location: &str) -> Option<String> {
    let mut joined = Url::parse(base).ok()?.join(location).ok()?;
    joined.set_fragment(None);
    Some(String::from(joined)).filter(|joined| Origin::from_url(joined).is_some())
}

/// Removes the query of a URL for messages, because queries may contain signatures and tokens.
pub fn without_query(url: &str) -> String {
    url.split('?').next().unwrap_or_default().to_owned()
}

/// Encodes `text` for a query. `&`, `=` and `+` are encoded too, because servers interpret them.
pub fn encode(text: &str) -> String {
    const ENCODED: AsciiSet =
        NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':').remove(b'/').remove(b',');
    utf8_percent_encode(text, &ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_port_and_the_case_of_a_host_make_no_other_origin() {
        let origin = Origin::from_url("https://Host.Example/v2/").unwrap();
        assert_eq!(Origin::from_url("https://host.example:443/other?x"), Some(origin.clone()));
        for other in ["http://host.example/", "https://host.example:444/", "https://host.example.evil/"] {
            assert_ne!(Origin::from_url(other), Some(origin.clone()), "{other}");
        }
        assert_eq!(origin.to_string(), "https://host.example");
        for none in ["ftp://host/", "host/", "https://user@host/", "https://host:99999/", "https:///x"] {
            assert_eq!(Origin::from_url(none), None, "{none}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for host in ["localhost", "LocalHost", "127.0.0.1", "127.9.8.7", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["127.evil.invalid", "localhost.evil.invalid", "128.0.0.1", "[::2]", "0.0.0.0", "127.1", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn locations_are_seen_from_the_url_that_answered() {
        let base = "https://host:5000/v2/a/blobs/uploads/?mount=x";
        for (location, expected) in [
            ("https://other/x?y=z", Some("https://other/x?y=z")),
            ("/v2/x?_state=a%2Fb", Some("https://host:5000/v2/x?_state=a%2Fb")),
            ("//other/x", Some("https://other/x")),
            ("id?_state=https://x", Some("https://host:5000/v2/a/blobs/uploads/id?_state=https://x")),
            ("?digest=1", Some("https://host:5000/v2/a/blobs/uploads/?digest=1")),
            ("/x#fragment", Some("https://host:5000/x")),
            (" /x ", Some("https://host:5000/x")),
            ("../../x", Some("https://host:5000/v2/a/x")),
            ("../../../../../x", Some("https://host:5000/x")),
            ("/x?_state=a%2Fb%7e{}|^&c=d+e==", Some("https://host:5000/x?_state=a%2Fb%7e{}|^&c=d+e==")),
            ("https:\\\\other\\x", Some("https://other/x")),
            ("https://b\u{fc}cher.example/x", None),
            ("file:///etc/passwd", None),
            ("https://user:secret@host/x", None),
        ] {
            assert_eq!(join(base, location).as_deref(), expected, "{location}");
        }
    }
}
