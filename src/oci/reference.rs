//! Image references: `[HOST[:PORT]/]REPOSITORY[:TAG][@DIGEST]`, by the grammar of distribution/reference (regexp.go and
//! reference.go), which docker, containerd and podman use.
//!
//! ```text
//! repository  component ["/" component]…          at most 255 bytes
//! component   [a-z0-9]+ [separator [a-z0-9]+]…    separator: one of . _ __ or any number of -
//! host        labels of [a-zA-Z0-9-] between dots, not beginning or ending with -, or an IPv6 address in brackets
//! tag         [a-zA-Z0-9_] and up to 127 of [a-zA-Z0-9_.-]
//! ```

use std::{fmt, str::FromStr};

use super::{Digest, name};

/// `RepositoryNameTotalLengthMax` of distribution/reference, in bytes.
const MAX_REPOSITORY: usize = 255;
/// The longest tag, in bytes.
const MAX_TAG: usize = 128;

/// The registry, the repository, and the tag or digest of an image.
///
/// [Example](crate#transport).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// `host[:port]`.
    pub host: String,
    /// The path of the repository.
    pub repository: String,
    /// The tag. If tag and digest are missing, the tag is `latest`.
    pub tag: Option<String>,
    /// The digest.
    pub digest: Option<Digest>,
}

/// Text that is not a reference.
///
/// [Example](crate#transport).
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not an image reference: {why}; write it like registry.example.com/name:tag")]
pub struct ParseReferenceError {
    text: String,
    why: &'static str,
}

impl Reference {
    /// Returns the digest, or else the tag, by which a registry is asked for the manifest.
    pub fn version(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.clone().unwrap_or_else(|| "latest".to_owned()),
        }
    }
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, ParseReferenceError> {
        parse(text).map_err(|why| ParseReferenceError { text: text.to_owned(), why })
    }
}

fn parse(text: &str) -> Result<Reference, &'static str> {
    if text.len() == 64 && text.bytes().all(is_lower_hex) {
        return Err("64 hexadecimal digits are an image's ID, not a name");
    }
    let (rest, digest) = match text.split_once('@') {
        None => (text, None),
        Some((rest, digest)) => (rest, Some(digest.parse().map_err(|_| "its digest is malformed")?)),
    };
    let (host, path) = name::host_and_path(rest);
    let (path, tag) = match path.split_once(':') {
        Some((path, tag)) => (path, Some(tag.to_owned())),
        None => (path.as_str(), None),
    };
    if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("a repository is in lower case");
    }
    if !path.split('/').all(is_component) {
        return Err(
            "a repository has letters and digits between slashes, and between those one ., one _, __ or any number of -",
        );
    }
    if path.len() > MAX_REPOSITORY {
        return Err("a repository has at most 255 characters");
    }
    if tag.as_deref().is_some_and(|tag| !is_tag(tag)) {
        return Err("a tag is 1 to 128 letters, digits and ._-, and begins with none of .-");
    }
    check_host(host)?;
    Ok(Reference { host: host.to_owned(), repository: path.to_owned(), tag, digest })
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn is_component(part: &str) -> bool {
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let separators: Vec<&str> = part.split(|letter: char| is_alphanumeric(u8::try_from(letter).unwrap_or(0))).collect();
    // Splitting at each letter and digit leaves the separators. The first and the last one must be empty, and an empty one in
    // between stands for two neighbours without a separator.
    let (Some((first, inner)), true) = (separators.split_first(), separators.len() > 1) else { return false };
    let (last, inner) = inner.split_last().unwrap_or((&"", &[]));
    let is_separator = |text: &str| matches!(text, "" | "." | "_" | "__") || text.bytes().all(|byte| byte == b'-');
    first.is_empty() && last.is_empty() && inner.iter().all(|text| is_separator(text))
}

fn is_tag(tag: &str) -> bool {
    tag.len() <= MAX_TAG
        && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && tag.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
}

fn check_host(host: &str) -> Result<(), &'static str> {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            if address.is_empty() || !address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':') {
                return Err("an IPv6 address has hexadecimal digits and colons between its brackets");
            }
            (None, port)
        }
        None => match host.find(':') {
            Some(colon) => (Some(&host[..colon]), &host[colon..]),
            None => (Some(host), ""),
        },
    };
    let is_label = |label: &str| {
        label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && label.starts_with(|first: char| first.is_ascii_alphanumeric())
            && !label.ends_with('-')
    };
    if name.is_some_and(|name| !name.split('.').all(is_label)) {
        return Err("a host has letters, digits and hyphens between dots");
    }
    let is_port = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok();
    if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
        return Err("a port is a number from 0 to 65535");
    }
    Ok(())
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => write!(f, ":{}", self.version()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_parsed_by_the_rules_of_docker() {
        for (text, expected) in [
            ("hello", "docker.io/library/hello:latest"),
            ("some/hello:1", "docker.io/some/hello:1"),
            ("localhost/hello", "localhost/hello:latest"),
            ("127.0.0.1:5000/a/b:c", "127.0.0.1:5000/a/b:c"),
            ("quay.io/x/y", "quay.io/x/y:latest"),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), expected);
        }
        let digest = Digest::sha256(b"");
        let text = format!("quay.io/x:tag@{digest}");
        assert_eq!(text.parse::<Reference>().unwrap().to_string(), format!("quay.io/x@{digest}"));
    }

    /// Names that the grammar of distribution/reference refuses (see its reference_test.go and regexp_test.go), and ports out
    /// of range.
    const INVALID: [&str; 59] = [
        "",
        "Hello",
        "a//b",
        "../x",
        "x:",
        "x:-a",
        "x:.a",
        "x@sha256:1",
        "host.io/",
        "a b",
        "x/../y",
        "ex ample.com/x",
        "foo-",
        "-foo",
        "_foo",
        "foo_",
        ".foo",
        "foo.",
        "foo..bar",
        "foo._bar",
        "foo_.bar",
        "foo-_bar",
        "foo.-bar",
        "foo___bar",
        "..",
        ".",
        "a/",
        "/a",
        "a/-/b",
        "Upper:1",
        "host.io/Upper",
        "x:1:2",
        "x:1@",
        "x@sha256:",
        "x:t\n",
        "x\n",
        "x:$(id)",
        "x$(id)y/z:1",
        "x`id`",
        "x;id",
        "x|id",
        "n1:t&x=1",
        "n1%2fz:1",
        "h.io:65536/x",
        "h.io:99999/x",
        "h.io:/x",
        "h.io:+1/x",
        "h.io:1:2/x",
        "-h.io/x",
        "h-.io/x",
        "h..io/x",
        "h_h.io/x",
        "[::1/x",
        "[]:1/x",
        "[::g]/x",
        "[::1]x/x",
        "é",
        "x:é",
        "é.io/x",
    ];

    #[test]
    fn malformed_references_are_refused() {
        let long = format!("{}/x", "a".repeat(254));
        let hex = "0123456789abcdef".repeat(4);
        let tag = format!("x:{}", "t".repeat(129));
        let long = [long, hex, tag];
        for text in INVALID.into_iter().chain(long.iter().map(String::as_str)) {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_at_the_edge_of_the_grammar_are_accepted() {
        let long = format!("h.io/{}", "a".repeat(255));
        let tag = format!("x:{}", "t".repeat(128));
        for text in [
            "a",
            "0",
            "a.b",
            "a_b",
            "a__b",
            "a-b",
            "a---b",
            "a1.b2_c3",
            "x:_",
            "x:A.b-C_d",
            "h.io:65535/x",
            "h.io:0/x",
            "HOST.io/x",
            "h/x",
            "h-h.io/x",
            "127.0.0.1:5000/x",
            "[::1]:5000/x",
            "[2001:db8::1]/x",
            &long,
            &tag,
        ] {
            assert!(text.parse::<Reference>().is_ok(), "{text:?}");
        }
    }
}
