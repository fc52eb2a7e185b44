//! Image references: `[host[:port]/]repository[:tag][@digest]`, as docker reads them.

use std::{fmt, str::FromStr};

use crate::oci::{Digest, name};

/// Where an image is in which registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// `host[:port]`.
    pub host: String,
    /// The repository's path.
    pub repository: String,
    /// The tag; `latest` where neither tag nor digest is given.
    pub tag: Option<String>,
    /// The digest.
    pub digest: Option<Digest>,
}

/// Text that is no reference.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not an image reference: {why}; write it like registry.example.com/name:tag")]
pub struct ParseReferenceError {
    text: String,
    why: &'static str,
}

impl Reference {
    /// What a manifest is asked for by: the digest, or else the tag.
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
        let fail = |why| Err(ParseReferenceError { text: text.to_owned(), why });
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => match digest.parse() {
                Ok(digest) => (rest, Some(digest)),
                Err(_) => return fail("its digest is malformed"),
            },
        };
        let (host, path) = name::host_and_path(rest);
        let (path, tag) = match path.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag.to_owned())),
            None => (path.as_str(), None),
        };
        let part_is_valid = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte))
                && part.starts_with(|first: char| first.is_ascii_alphanumeric())
        };
        if !path.split('/').all(part_is_valid) {
            return fail("a repository is lower case letters, digits and ._- between slashes");
        }
        let tag_is_valid = |tag: &str| {
            !tag.is_empty()
                && tag.len() <= 128
                && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
                && !tag.starts_with(['.', '-'])
        };
        if tag.as_deref().is_some_and(|tag| !tag_is_valid(tag)) {
            return fail("a tag is at most 128 letters, digits and ._-");
        }
        let host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        if !host.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[')
            || !host.bytes().all(host_byte)
        {
            return fail("its host is malformed");
        }
        Ok(Self { host: host.to_owned(), repository: path.to_owned(), tag, digest })
    }
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
    fn references_are_read_as_docker_reads_them() {
        for (text, expected) in [
            ("hello", "docker.io/library/hello:latest"),
            ("some/hello:1", "docker.io/some/hello:1"),
            ("localhost/hello", "localhost/hello:latest"),
            ("127.0.0.1:5000/a/b:c", "127.0.0.1:5000/a/b:c"),
            ("quay.io/x/y", "quay.io/x/y:latest"),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), expected);
        }
        let digest = Digest::of(b"");
        let text = format!("quay.io/x:tag@{digest}");
        assert_eq!(text.parse::<Reference>().unwrap().to_string(), format!("quay.io/x@{digest}"));
    }

    #[test]
    fn everything_else_is_refused() {
        for text in
            ["", "Hello", "a//b", "../x", "x:", "x:-a", "x@sha256:1", "host.io/", "a b", "x/../y", "ex ample.com/x"]
        {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
    }
}
