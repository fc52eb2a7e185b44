//! What several commands take: platforms and references.

use std::path::Path;

use crate::{
    oci::{ParseReferenceError, Platform, Reference},
    transport::{kind::Medium, registry, table},
};

/// `OS/ARCHITECTURE[/VARIANT]`
pub fn parse_platform(text: &str) -> Result<Platform, String> {
    let mut parts = text.split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(os), Some(architecture), variant, None) if !os.is_empty() && !architecture.is_empty() => {
            Ok(Platform { os: os.to_owned(), ..Platform::linux(architecture, variant) })
        }
        _ => Err("write it like linux/arm64 or linux/arm/v7".to_owned()),
    }
}

/// An image reference, with or without `docker://`. Sources of other transports and files are no images of Docker Hub, whose
/// names they could be.
pub fn parse_reference(text: &str) -> Result<Reference, String> {
    let syntax = registry::TRANSPORT.read.syntax;
    let parse = || text.parse().map_err(|error: ParseReferenceError| error.to_string());
    match table::split(text) {
        // The image `docker` of Docker Hub is written `docker:24`.
        Some((transport, rest)) if matches!(transport.medium, Medium::Registry) => match rest.starts_with("//") {
            true => registry::read::parse_reference(rest),
            false => parse(),
        },
        Some((transport, _)) => Err(format!("{}: is not a registry; write {syntax}", transport.name)),
        None if Path::new(text).is_file() => Err(format!("it is a file, not an image of a registry; write {syntax}")),
        None => parse(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_of_registries() {
        for (text, repository) in [
            ("docker:24", "docker.io/library/docker"),
            ("docker://docker:24", "docker.io/library/docker"),
            ("alpine", "docker.io/library/alpine"),
            ("docker://localhost:5000/a:v1", "localhost:5000/a"),
        ] {
            let parsed = parse_reference(text).unwrap();
            let host = parsed.host.replace("registry-1.", "");
            assert_eq!(format!("{host}/{}", parsed.repository), repository, "{text}");
        }
        for (text, reason) in [
            ("docker://quay.io", "names a registry without a repository"),
            ("oci:layout", "oci: is not a registry; write docker://"),
            ("docker-daemon:app:v1", "docker-daemon: is not a registry"),
            ("Cargo.toml", "it is a file, not an image of a registry"),
        ] {
            let error = parse_reference(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
