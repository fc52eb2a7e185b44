//! Who we are to a registry: credentials as docker and podman keep them, and the
//! challenges of [RFC 7235](https://www.rfc-editor.org/rfc/rfc7235) and docker's token protocol.
//!
//! Secrets live in [`Credentials`] and in header values, and print nowhere.

use std::{fmt, fs::File, path::Path};

use data_encoding::BASE64;
use docker_credential::{DockerCredential, get_credential, get_credential_from_reader, get_podman_credential};

/// A name and its password, or a token that stands for both.
#[derive(Clone)]
pub enum Credentials {
    /// Nobody in particular.
    Anonymous,
    /// A user and a password.
    Basic(String, String),
    /// A refresh token of docker's token protocol.
    Identity(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

impl Credentials {
    /// What is stored for `host`: in `file` if one is named, else in podman's
    /// file (`REGISTRY_AUTH_FILE`) and docker's configuration with its helpers.
    ///
    /// # Errors
    ///
    /// When `file` cannot be opened.
    pub fn find(host: &str, file: Option<&Path>) -> std::io::Result<Self> {
        let server = if host == "docker.io" { "https://index.docker.io/v1/" } else { host };
        let found = match file {
            Some(file) => get_credential_from_reader(File::open(file)?, server).ok(),
            None => get_podman_credential(server).or_else(|_| get_credential(server)).ok(),
        };
        Ok(match found {
            Some(DockerCredential::UsernamePassword(user, password)) => Self::Basic(user, password),
            Some(DockerCredential::IdentityToken(token)) => Self::Identity(token),
            None => Self::Anonymous,
        })
    }

    /// The value of a basic `Authorization` header, where there is a password.
    pub(super) fn basic(&self) -> Option<String> {
        match self {
            Self::Basic(user, password) => {
                Some(format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes())))
            }
            Self::Anonymous | Self::Identity(_) => None,
        }
    }
}

/// What a registry asks for with a 401.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    /// Ask `realm` for a token for `service`.
    Bearer {
        realm: String,
        service: Option<String>,
    },
}

impl Challenge {
    /// Parses a `WWW-Authenticate` header.
    pub fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service) = (None, None);
        let mut rest = rest;
        while let Some((name, after)) = rest.split_once("=\"") {
            let (value, after) = after.split_once('"')?;
            match name.trim_matches([',', ' ']) {
                "realm" => realm = Some(value.to_owned()),
                "service" => service = Some(value.to_owned()),
                _ => {}
            }
            rest = after;
        }
        Some(Self::Bearer { realm: realm?, service })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_parsed() {
        let header =
            r#"Bearer realm="https://auth.example.com/token",service="registry",scope="repository:a:pull,push""#;
        let expected =
            Challenge::Bearer { realm: "https://auth.example.com/token".into(), service: Some("registry".into()) };
        assert_eq!(Challenge::parse(header), Some(expected));
        assert_eq!(Challenge::parse("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("Digest x"), None);
        assert_eq!(Challenge::parse("Bearer realm=\"open"), None);
    }

    #[test]
    fn secrets_do_not_print() {
        let credentials = Credentials::Basic("me".into(), "secret".into());
        assert!(!format!("{credentials:?}").contains("secret"));
        assert_eq!(credentials.basic().unwrap(), "Basic bWU6c2VjcmV0");
    }
}
