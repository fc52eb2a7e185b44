//! Full and familiar names of images, by docker's rules (distribution/reference, normalize.go).
//!
//! ```text
//! hello:1                docker.io/library/hello:1
//! some/hello             docker.io/some/hello
//! index.docker.io/hello  docker.io/library/hello
//! quay.io/some/hello     quay.io/some/hello
//! ```

use std::{fmt, str::FromStr};

use super::{ParseReferenceError, Reference};

/// The registry of names without a host.
const DEFAULT_HOST: &str = "docker.io";
/// The former name of the default registry.
const LEGACY_HOST: &str = "index.docker.io";
/// The namespace of official images in the default registry.
const OFFICIAL: &str = "library";

/// Splits a name into its registry and the rest. Returns `None` if the name does not begin with a registry.
pub fn split_host(name: &str) -> Option<(&str, &str)> {
    let is_host = |part: &str| part.contains(['.', ':']) || part == "localhost" || part.to_lowercase() != part;
    name.split_once('/').filter(|(host, _)| is_host(host))
}

/// Returns the registry, and the repository with the tag and the digest that may follow it.
pub fn host_and_path(name: &str) -> (&str, String) {
    let (host, path) = match split_host(name) {
        Some((LEGACY_HOST, path)) => (DEFAULT_HOST, path),
        Some(split) => split,
        None => (DEFAULT_HOST, name),
    };
    let is_official = host == DEFAULT_HOST && !path.contains('/');
    (host, if is_official { format!("{OFFICIAL}/{path}") } else { path.to_owned() })
}

/// Returns the full name, which begins with the registry.
pub fn full_name(name: &str) -> String {
    let (host, path) = host_and_path(name);
    format!("{host}/{path}")
}

/// Returns the shortest form of a full name, as docker shows it.
pub fn familiar(name: &str) -> &str {
    let Some((DEFAULT_HOST, path)) = name.split_once('/') else { return name };
    let official = path.split_once('/').filter(|(first, _)| *first == OFFICIAL).map(|(_, rest)| rest);
    // A shortened name may stand for another image, for example if it begins with a word that looks like a host.
    official.into_iter().chain([path]).find(|short| full_name(short) == name).unwrap_or(name)
}

/// Adds the tag `latest` to a name that has neither tag nor digest.
pub fn with_tag(name: &str) -> String {
    let has_tag = name.rsplit_once(':').is_some_and(|(_, tag)| !tag.contains('/'));
    if has_tag || name.contains('@') { name.to_owned() } else { format!("{name}:latest") }
}

/// The name with a tag under which an engine stores an image: `hello:1`, `quay.io/some/hello:1`.
///
/// It is a [`Reference`] without a digest, so APIs of engines and shells read it as one word, and never as an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaggedName(String);

/// Text that cannot name an image of an engine.
#[derive(Debug, thiserror::Error)]
pub enum ParseNameError {
    /// The text is not a reference.
    #[error(transparent)]
    Reference(#[from] ParseReferenceError),
    /// The reference has a digest.
    #[error("{0:?} has a digest, which an engine computes itself; write NAME:TAG")]
    Digest(String),
    /// Engines would read the name as a digest or an ID (moby, daemon/images and reference/store.go, `addReference`).
    #[error("{0:?} is read as a digest by engines; choose another name")]
    Ambiguous(String),
}

impl TaggedName {
    /// Returns the name as the user wrote it, with a tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name with its registry.
    pub fn full(&self) -> String {
        full_name(&self.0)
    }
}

impl FromStr for TaggedName {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let reference: Reference = text.parse()?;
        if reference.digest.is_some() {
            return Err(ParseNameError::Digest(text.to_owned()));
        }
        if matches!(reference.repository.as_str(), "library/sha256" | "library/sha384" | "library/sha512") {
            return Err(ParseNameError::Ambiguous(text.to_owned()));
        }
        Ok(Self(with_tag(text)))
    }
}

impl fmt::Display for TaggedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tagged_names_have_a_tag_and_no_digest() {
        for (text, name) in [("a", "a:latest"), ("h:5/a", "h:5/a:latest"), ("a:b", "a:b"), ("Host/a", "Host/a:latest")]
        {
            assert_eq!(text.parse::<TaggedName>().unwrap().as_str(), name);
        }
        let digest = super::super::Digest::sha256(b"");
        for text in [
            "Upper:1",
            "x:",
            "-x:1",
            "a b:1",
            "sha256:abc",
            "sha256",
            &digest.hex(),
            &digest.to_string(),
            &format!("x:1@{digest}"),
        ] {
            assert!(text.parse::<TaggedName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn full_and_familiar_names_follow_docker() {
        for (short, full) in [
            ("hello:1", "docker.io/library/hello:1"),
            ("some/hello", "docker.io/some/hello"),
            ("localhost/hello", "localhost/hello"),
            ("Host/hello", "Host/hello"),
            ("host:5000/a/b:c", "host:5000/a/b:c"),
            ("library/a/b", "docker.io/library/a/b"),
            ("docker.io/a.b/c", "docker.io/a.b/c"),
        ] {
            assert_eq!(full_name(short), full);
            assert_eq!(familiar(full), short);
        }
        assert_eq!(full_name("docker.io/hello"), "docker.io/library/hello");
        assert_eq!(full_name("index.docker.io/hello:1"), "docker.io/library/hello:1");
        assert_eq!(familiar("docker.io/library"), "docker.io/library");
    }

    #[test]
    fn names_without_tag_and_digest_get_the_tag_latest() {
        for (name, tagged) in
            [("a", "a:latest"), ("h:5/a", "h:5/a:latest"), ("a:b", "a:b"), ("a@sha256:0", "a@sha256:0")]
        {
            assert_eq!(with_tag(name), tagged);
        }
    }
}
