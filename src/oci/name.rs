//! Names of images, in full and as people write them: docker's rules (distribution/reference, normalize.go).
//!
//! ```text
//! hello:1                docker.io/library/hello:1
//! some/hello             docker.io/some/hello
//! index.docker.io/hello  docker.io/library/hello
//! quay.io/some/hello     quay.io/some/hello
//! ```

/// Docker's own registry, which names without a host mean.
const DEFAULT_HOST: &str = "docker.io";
/// What it was called once.
const LEGACY_HOST: &str = "index.docker.io";
/// Where its official images are.
const OFFICIAL: &str = "library";

/// The registry that a name begins with, and the rest.
pub fn split_host(name: &str) -> Option<(&str, &str)> {
    let is_host = |part: &str| part.contains(['.', ':']) || part == "localhost" || part.to_lowercase() != part;
    name.split_once('/').filter(|(host, _)| is_host(host))
}

/// The registry and the repository, with what may follow it: a tag, a digest.
pub fn host_and_path(name: &str) -> (&str, String) {
    let (host, path) = match split_host(name) {
        Some((LEGACY_HOST, path)) => (DEFAULT_HOST, path),
        Some(split) => split,
        None => (DEFAULT_HOST, name),
    };
    let is_official = host == DEFAULT_HOST && !path.contains('/');
    (host, if is_official { format!("{OFFICIAL}/{path}") } else { path.to_owned() })
}

/// A name with its registry.
pub fn full_name(name: &str) -> String {
    let (host, path) = host_and_path(name);
    format!("{host}/{path}")
}

/// As people write a name that is given in full.
pub fn familiar(name: &str) -> &str {
    let Some((DEFAULT_HOST, path)) = name.split_once('/') else { return name };
    let official = path.split_once('/').filter(|(first, _)| *first == OFFICIAL).map(|(_, rest)| rest);
    // Shorter, some would mean another image.
    official.into_iter().chain([path]).find(|short| full_name(short) == name).unwrap_or(name)
}

/// A name with a version: `latest` where it has neither tag nor digest.
pub fn with_tag(name: &str) -> String {
    let has_tag = name.rsplit_once(':').is_some_and(|(_, tag)| !tag.contains('/'));
    if has_tag || name.contains('@') { name.to_owned() } else { format!("{name}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_docker_s() {
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
    fn names_without_a_version_are_latest() {
        for (name, tagged) in
            [("a", "a:latest"), ("h:5/a", "h:5/a:latest"), ("a:b", "a:b"), ("a@sha256:0", "a@sha256:0")]
        {
            assert_eq!(with_tag(name), tagged);
        }
    }
}
