//! Parsers of arguments that several commands have: platforms, references and numbers of jobs.

use std::{env, num::NonZeroUsize, path::Path};

use anyhow::{Result as AnyResult, anyhow};

use crate::{
    oci::{ParseReferenceError, Platform, Reference},
    transport::{kind::Medium, registry, table},
};

/// Parses `OS/ARCHITECTURE[/VARIANT]`.
pub fn parse_platform(text: &str) -> Result<Platform, String> {
    let mut parts = text.split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(os), Some(architecture), variant, None) if !os.is_empty() && !architecture.is_empty() => {
            Ok(Platform { os: os.to_owned(), ..Platform::linux(architecture, variant) })
        }
        _ => Err("write it like linux/arm64 or linux/arm/v7".to_owned()),
    }
}

/// Parses an image reference, with or without `docker://`. Sources of other transports and paths are refused, although
/// they could be names on Docker Hub.
pub fn parse_reference(text: &str) -> Result<Reference, String> {
    let syntax = registry::READ_SYNTAX;
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

/// The variable with the number of jobs of commands without `--jobs`.
const JOBS: &str = "STRATA_JOBS";

/// A number of jobs. As for cargo's `--jobs` and `CARGO_BUILD_JOBS`, 0 is an error.
pub fn parse_jobs(text: &str) -> Result<NonZeroUsize, String> {
    let number = text.parse().ok().filter(|number| (1..=1024).contains(number));
    number.and_then(NonZeroUsize::new).ok_or_else(|| "write a number from 1 to 1024".to_owned())
}

/// Returns the number of jobs that the environment sets, if it sets one.
///
/// # Errors
///
/// If the variable is no number of jobs.
pub fn jobs_of_environment() -> AnyResult<Option<NonZeroUsize>> {
    let Some(text) = env::var_os(JOBS).filter(|text| !text.is_empty()) else { return Ok(None) };
    let text = text.to_string_lossy();
    parse_jobs(&text).map(Some).map_err(|error| anyhow!("{JOBS}: {text:?} is not a number of jobs; {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_jobs_are_at_least_1() {
        assert_eq!(parse_jobs("64").unwrap().get(), 64);
        for text in ["0", "-1", "1025", "", "x", "99999999999999999999"] {
            assert_eq!(parse_jobs(text).unwrap_err(), "write a number from 1 to 1024", "{text}");
        }
    }

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
