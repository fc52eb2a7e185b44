//! Credentials for registries. Secrets are kept only in [`Credentials`] and in header values, and are never printed.
//!
//! The first of these places with credentials for the host is used, in the order of containers
//! (containers-auth.json(5); containers/image, pkg/docker/config/config.go, getAuthFilePaths):
//!
//! ```text
//! --authfile, or $REGISTRY_AUTH_FILE, or $XDG_RUNTIME_DIR/containers/auth.json, or /run/containers/UID/auth.json
//! $XDG_CONFIG_HOME or ~/.config, containers/auth.json
//! $DOCKER_CONFIG or ~/.docker, config.json
//! ~/.dockercfg
//! ```

mod file;
mod helper;
mod login;

use std::{
    env, fmt,
    path::{Path, PathBuf},
};

use data_encoding::BASE64;

use super::Result;
pub(super) use file::canonical_host;
use file::{AuthFile, CredentialsKind};
pub use login::Login;

/// A user and a password, or a token.
///
/// [Example](crate#transport).
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// No credentials.
    Anonymous,
    /// A user and a password.
    Basic(String, String),
    /// A refresh token of docker's token protocol, and the user it belongs to, if given.
    Identity(String, String),
    /// A token for the registry itself.
    Token(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

impl Credentials {
    /// Returns the stored credentials for a repository: those of `file` if it is given, else of the places above.
    ///
    /// # Errors
    ///
    /// If a file is malformed, or a helper for the host fails. Missing credentials are not an error.
    pub fn find(host: &str, repository: &str, file: Option<&Path>) -> Result<Self> {
        for (path, kind) in places(file) {
            let must_exist = Some(path.as_path()) == file;
            let Some(stored) = AuthFile::open(&path, kind, must_exist)? else { continue };
            match stored.find(host, repository)? {
                Self::Anonymous => {}
                found => return Ok(found),
            }
        }
        Ok(Self::Anonymous)
    }

    /// Returns credentials with a user and a password.
    ///
    /// # Errors
    ///
    /// If the user contains a colon: a server would read the rest as a part of the password ([RFC 7617,
    /// 2](https://www.rfc-editor.org/rfc/rfc7617#section-2)).
    pub fn with_password(user: &str, password: &str) -> std::result::Result<Self, &'static str> {
        match user.contains(':') {
            true => Err("a user name cannot contain a colon"),
            false => Ok(Self::Basic(user.to_owned(), password.to_owned())),
        }
    }

    /// Parses `USER:PASSWORD`.
    ///
    /// # Errors
    ///
    /// The description of the mistake.
    pub fn parse(text: &str) -> std::result::Result<Self, &'static str> {
        match text.split_once(':') {
            Some((user, password)) => Ok(Self::Basic(user.to_owned(), password.to_owned())),
            None => Err("the credentials have no colon; write them like USER:PASSWORD"),
        }
    }

    /// Returns the value of a basic `Authorization` header, if there is a password.
    pub(super) fn basic(&self) -> Option<String> {
        match self {
            Self::Basic(user, password) => Some(basic(user, password)),
            Self::Anonymous | Self::Identity(..) | Self::Token(_) => None,
        }
    }
}

pub(super) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes()))
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Returns the directory of docker's configuration, if there is a home directory.
fn docker_folder() -> Option<PathBuf> {
    variable("DOCKER_CONFIG").or_else(|| Some(variable("HOME")?.join(".docker")))
}

fn places(file: Option<&Path>) -> Vec<(PathBuf, CredentialsKind)> {
    let home = variable("HOME");
    let run = || match variable("XDG_RUNTIME_DIR") {
        Some(folder) => folder.join("containers/auth.json"),
        None => PathBuf::from(format!("/run/containers/{}/auth.json", rustix::process::getuid().as_raw())),
    };
    let first = file.map(Path::to_owned).or_else(|| variable("REGISTRY_AUTH_FILE")).unwrap_or_else(run);
    let config = variable("XDG_CONFIG_HOME").or_else(|| Some(home.as_ref()?.join(".config")));
    let mut places = vec![(first, CredentialsKind::Containers)];
    places.extend(config.map(|folder| (folder.join("containers/auth.json"), CredentialsKind::Containers)));
    places.extend(docker_folder().map(|folder| (folder.join("config.json"), CredentialsKind::Docker)));
    places.extend(home.map(|folder| (folder.join(".dockercfg"), CredentialsKind::Dockercfg)));
    places
}
