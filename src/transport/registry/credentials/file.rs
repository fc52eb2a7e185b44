//! A file of credentials. containers and docker write such files, and read them in slightly different ways:
//!
//! ```json
//! { "auths": { "quay.io/team": { "auth": "base64 of user:password" },
//!              "https://index.docker.io/v1/": { "identitytoken": "…" } },
//!   "credHelpers": { "registry.example.com": "pass" },
//!   "credsStore": "desktop" }
//! ```
//!
//! containers (containers-auth.json(5)): keys of `auths` are hosts or paths on them, and the longest match is used.
//! `credHelpers` take precedence, and there is no `credsStore`.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use data_encoding::BASE64;
use serde::Deserialize;

use super::{Credentials, helper::Helper};
use crate::transport::registry::{RegistryError, Result};

/// The program to which the file belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialsKind {
    Containers,
    Docker,
    Dockercfg,
}

/// docker's name for Docker Hub.
pub const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// A parsed file.
pub struct AuthFile {
    path: PathBuf,
    kind: CredentialsKind,
    content: CredentialsContent,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct CredentialsContent {
    #[serde(deserialize_with = "null_is_empty")]
    auths: BTreeMap<String, Auth>,
    #[serde(deserialize_with = "null_is_empty")]
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

fn null_is_empty<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> std::result::Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl AuthFile {
    /// Reads a file. Returns `None` if it does not exist and is optional.
    pub fn open(path: &Path, kind: CredentialsKind, must_exist: bool) -> Result<Option<Self>> {
        let unusable = |why: String| RegistryError::File { path: path.to_owned(), why };
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) => {
                let is_absent = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
                // The files of another user cannot be read: `/run/containers/0` as a user other than root.
                let is_hidden = error.kind() == io::ErrorKind::PermissionDenied && path.starts_with("/run/containers");
                return if (is_absent || is_hidden) && !must_exist {
                    Ok(None)
                } else {
                    Err(unusable(error.to_string()))
                };
            }
        };
        // The error does not quote the file, which may contain secrets.
        let malformed = |error: serde_json::Error| {
            unusable(format!("it is not a credentials file (line {}, column {})", error.line(), error.column()))
        };
        let content = match kind {
            // skopeo and podman take an empty file for an empty list.
            _ if text.iter().all(u8::is_ascii_whitespace) => CredentialsContent::default(),
            CredentialsKind::Dockercfg => {
                let auths = serde_json::from_slice(&text).map_err(malformed)?;
                CredentialsContent { auths, ..CredentialsContent::default() }
            }
            CredentialsKind::Containers | CredentialsKind::Docker => {
                serde_json::from_slice(&text).map_err(malformed)?
            }
        };
        Ok(Some(Self { path: path.to_owned(), kind, content }))
    }

    /// Returns the credentials for a repository of a host.
    pub fn find(&self, host: &str, repository: &str) -> Result<Credentials> {
        let CredentialsContent { auths, cred_helpers, creds_store } = &self.content;
        let server = match self.kind {
            CredentialsKind::Containers => host,
            CredentialsKind::Docker | CredentialsKind::Dockercfg => server(host),
        };
        let by_host = [host, server].into_iter().find_map(|key| Some((cred_helpers.get(key)?, key)));
        let store = creds_store.as_ref().filter(|name| self.kind == CredentialsKind::Docker && !name.is_empty());
        let helper = by_host.filter(|(name, _)| !name.is_empty()).or(store.map(|name| (name, server)));
        if let Some((name, server)) = helper
            && let Some(found) = (Helper { name, file: &self.path, server }).get()?
        {
            return Ok(found);
        }
        let mut path = format!("{host}/{repository}");
        loop {
            if let Some(auth) = auths.get(&path) {
                return self.credentials(&path, auth);
            }
            match path.rsplit_once('/') {
                Some((shorter, _)) if self.kind != CredentialsKind::Dockercfg => path = shorter.to_owned(),
                _ => break,
            }
        }
        match auths.iter().find(|(key, _)| normal(key) == normal(host) && !is_path(key)) {
            Some((key, auth)) => self.credentials(key, auth),
            None => Ok(Credentials::Anonymous),
        }
    }

    fn credentials(&self, key: &str, auth: &Auth) -> Result<Credentials> {
        let non_empty = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let mut pair = non_empty(&auth.username).zip(auth.password.clone());
        if let Some(encoded) = non_empty(&auth.auth) {
            let malformed = || RegistryError::File {
                path: self.path.clone(),
                why: format!("auths.{key:?}.auth is not the base64 of user:password"),
            };
            let decoded = BASE64.decode(encoded.trim().as_bytes()).map_err(|_| malformed())?;
            let decoded = String::from_utf8(decoded).map_err(|_| malformed())?;
            let (user, password) = decoded.split_once(':').ok_or_else(malformed)?;
            pair = Some((user.to_owned(), password.trim_end_matches('\0').to_owned()));
        }
        if let Some(token) = non_empty(&auth.registrytoken) {
            return Ok(Credentials::Token(token));
        }
        if let Some(token) = non_empty(&auth.identitytoken) {
            return Ok(Credentials::Identity(pair.map(|(user, _)| user).unwrap_or_default(), token));
        }
        Ok(match pair {
            Some((user, password)) if !user.is_empty() || !password.is_empty() => Credentials::Basic(user, password),
            _ => Credentials::Anonymous,
        })
    }
}

/// Returns the name of a host for docker and its helpers.
pub fn server(host: &str) -> &str {
    if is_docker_hub(host) { DOCKER_HUB } else { host }
}

/// Returns the canonical name of a host: lower case, without the default port, and `docker.io` for Docker Hub.
pub fn canonical_host(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    let host = host.strip_suffix(":443").unwrap_or(&host);
    if is_docker_hub(host) { "docker.io".to_owned() } else { host.to_owned() }
}

fn is_docker_hub(host: &str) -> bool {
    matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io")
}

/// Returns the host of a key, with the canonical name of Docker Hub.
fn normal(key: &str) -> &str {
    let bare = key.strip_prefix("https://").or(key.strip_prefix("http://")).unwrap_or(key);
    let host = bare.split('/').next().unwrap_or_default();
    if is_docker_hub(host) { "docker.io" } else { host }
}

/// Whether a key stands for a part of a host: `quay.io/team`, but not `https://quay.io/v1/`.
fn is_path(key: &str) -> bool {
    !key.contains("://") && key.trim_end_matches('/').contains('/') && !key.ends_with("/v1/") && !key.ends_with("/v2/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(kind: CredentialsKind, text: &str) -> Result<AuthFile> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("auth.json");
        fs::write(&path, text).unwrap();
        AuthFile::open(&path, kind, true).map(Option::unwrap)
    }

    fn basic(user: &str) -> Credentials {
        Credentials::Basic(user.to_owned(), "secret".to_owned())
    }

    fn auth(user: &str) -> String {
        format!(r#"{{"auth":"{}"}}"#, BASE64.encode(format!("{user}:secret").as_bytes()))
    }

    #[test]
    fn the_longest_path_wins() {
        let text = format!(
            r#"{{"auths":{{"quay.io":{},"quay.io/team":{},"quay.io/team/app":{},"https://other.io/v1/":{},"http://plain.io:5000":{}}}}}"#,
            auth("host"),
            auth("team"),
            auth("app"),
            auth("url"),
            auth("plain")
        );
        let file = file(CredentialsKind::Containers, &text).unwrap();
        for (host, repository, expected) in [
            ("quay.io", "team/app", basic("app")),
            ("quay.io", "team/application", basic("team")),
            ("quay.io", "teams/app", basic("host")),
            ("other.io", "x", basic("url")),
            ("plain.io:5000", "x", basic("plain")),
            ("plain.io", "x", Credentials::Anonymous),
            ("evil.quay.io", "team/app", Credentials::Anonymous),
        ] {
            assert!(file.find(host, repository).unwrap() == expected, "{host}/{repository}");
        }
        let text = format!(r#"{{"auths":{{"quay.io/team":{}}}}}"#, auth("team"));
        let only_team = self::file(CredentialsKind::Containers, &text).unwrap();
        assert!(only_team.find("quay.io", "other/x").unwrap() == Credentials::Anonymous);
    }

    #[test]
    fn docker_hub_has_several_names() {
        for key in [
            "docker.io",
            "index.docker.io",
            "https://index.docker.io/v1/",
            "registry-1.docker.io",
            "index.docker.io/v1/",
        ] {
            for kind in [CredentialsKind::Containers, CredentialsKind::Docker] {
                let file = file(kind, &format!(r#"{{"auths":{{"{key}":{}}}}}"#, auth("hub"))).unwrap();
                assert!(file.find("docker.io", "library/hello").unwrap() == basic("hub"), "{key}");
            }
        }
        let old =
            file(CredentialsKind::Dockercfg, &format!(r#"{{"https://index.docker.io/v1/":{}}}"#, auth("old"))).unwrap();
        assert!(old.find("docker.io", "library/hello").unwrap() == basic("old"));
    }

    #[test]
    fn tokens_and_empty_entries_are_distinguished() {
        let text = r#"{"auths":{"a.io":{"auth":"bWU6","identitytoken":"refresh"},"b.io":{},"c.io":{"registrytoken":"t"},
            "d.io":{"username":"me","password":"secret"},"e.io":{"auth":"bWU6c2VjcmV0AAA="}},"credHelpers":null}"#;
        let file = file(CredentialsKind::Docker, text).unwrap();
        for (host, expected) in [
            ("a.io", Credentials::Identity("me".to_owned(), "refresh".to_owned())),
            ("b.io", Credentials::Anonymous),
            ("c.io", Credentials::Token("t".to_owned())),
            ("d.io", basic("me")),
            ("e.io", basic("me")),
        ] {
            assert!(file.find(host, "x").unwrap() == expected, "{host}");
        }
    }

    #[test]
    fn a_malformed_file_is_an_error_that_names_it_and_keeps_its_secrets() {
        for text in [r#"{"auths":{"a.io":{"auth":"hunter2""#, r#"{"auths":["hunter2"]}"#, r#"["hunter2"]"#] {
            let error = file(CredentialsKind::Containers, text).err().unwrap().to_string();
            assert!(error.contains("auth.json") && !error.contains("hunter2"), "{error}");
        }
        let malformed = file(CredentialsKind::Docker, r#"{"auths":{"a.io":{"auth":"hunter2!"}}}"#).unwrap();
        assert!(malformed.find("b.io", "x").unwrap() == Credentials::Anonymous);
        let error = malformed.find("a.io", "x").unwrap_err().to_string();
        assert!(error.contains("a.io") && !error.contains("hunter2"), "{error}");
    }
}
