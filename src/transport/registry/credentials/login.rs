//! `login` and `logout`: writes credentials to the same place and in the same format as docker (docker/cli,
//! cli/config/configfile/file.go and cli/config/credentials).
//!
//! If the file configures a helper for the host, the helper stores them. Otherwise they are in `auths` of the file,
//! which only the user may read. The rest of the file is unchanged.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use data_encoding::BASE64;
use serde_json::{Map, Value, json};

use super::{docker_folder, file::server, helper::Helper};
use crate::{
    files::{self, FileLock, NewFile},
    transport::registry::{RegistryError, Result},
};

/// The file that a login is written to.
#[derive(Clone, Debug)]
pub struct Login {
    path: PathBuf,
}

impl Login {
    /// Returns the login for `file`, or for docker's own file.
    ///
    /// # Errors
    ///
    /// If there is no home directory for docker's file.
    pub fn new(file: Option<&Path>) -> Result<Self> {
        let docker = || docker_folder().map(|folder| folder.join("config.json"));
        let path = file.map(Path::to_owned).or_else(docker).ok_or_else(|| RegistryError::File {
            path: "~/.docker/config.json".into(),
            why: "there is no HOME; name a file with --authfile".to_owned(),
        })?;
        Ok(Self { path })
    }

    /// Stores a password for `host`. Returns the helper or file that stores it.
    ///
    /// # Errors
    ///
    /// If the file or its helper cannot be used.
    pub fn store(&self, host: &str, user: &str, password: &str) -> Result<String> {
        let _lock = self.lock()?;
        let mut content = self.read()?;
        let server = server(host);
        let entry = match self.helper(&content, host) {
            Some(name) => {
                let helper = Helper { name: &name, file: &self.path, server };
                helper.store(user, password)?;
                // docker records that the helper has an entry.
                (json!({}), helper.to_string())
            }
            None => {
                let auth = BASE64.encode(format!("{user}:{password}").as_bytes());
                (json!({ "auth": auth }), self.path.display().to_string())
            }
        };
        let auths = content.entry("auths").or_insert_with(|| json!({}));
        if !auths.is_object() {
            *auths = json!({});
        }
        auths[server] = entry.0;
        self.write(&content)?;
        Ok(entry.1)
    }

    /// Removes the credentials for `host`. Returns whether there were some.
    ///
    /// # Errors
    ///
    /// If the file or its helper cannot be used.
    pub fn erase(&self, host: &str) -> Result<bool> {
        let _lock = self.path.exists().then(|| self.lock()).transpose()?;
        let mut content = self.read()?;
        let server = server(host);
        let kept = match self.helper(&content, host) {
            Some(name) => (Helper { name: &name, file: &self.path, server }).erase()?,
            None => false,
        };
        let Some(auths) = content.get_mut("auths").and_then(Value::as_object_mut) else { return Ok(kept) };
        let before = auths.len();
        auths.retain(|key, _| key != server && key != host);
        let listed = auths.len() < before;
        if listed {
            self.write(&content)?;
        }
        Ok(kept || listed)
    }

    fn helper(&self, content: &Map<String, Value>, host: &str) -> Option<String> {
        let by_host = content.get("credHelpers").and_then(|helpers| helpers.get(host).or(helpers.get(server(host))));
        let name = by_host.or(content.get("credsStore"))?.as_str()?;
        (!name.is_empty()).then(|| name.to_owned())
    }

    /// Locks the file, since another process may log in at the same time.
    fn lock(&self) -> Result<FileLock> {
        let directory = files::directory(&self.path);
        // The mode is that of docker (docker/cli, cli/config/configfile/file.go, Save).
        let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        let locked = created.and_then(|()| files::lock_directory(directory));
        locked.map_err(|error| RegistryError::File { path: self.path.clone(), why: format!("locking: {error}") })
    }

    fn read(&self) -> Result<Map<String, Value>> {
        let unusable = |why: String| RegistryError::File { path: self.path.clone(), why };
        match fs::read(&self.path) {
            Ok(text) if text.iter().all(u8::is_ascii_whitespace) => Ok(Map::new()),
            Ok(text) => serde_json::from_slice(&text).map_err(|error| {
                unusable(format!("it is not a credentials file (line {}, column {})", error.line(), error.column()))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Map::new()),
            Err(error) => Err(unusable(error.to_string())),
        }
    }

    fn write(&self, content: &Map<String, Value>) -> Result<()> {
        let unusable =
            |error: io::Error| RegistryError::File { path: self.path.clone(), why: format!("writing: {error}") };
        let text = serde_json::to_string_pretty(content).map_err(|error| unusable(error.into()))?;
        let mut file = NewFile::private(&self.path).map_err(unusable)?;
        file.write_all(text.as_bytes()).and_then(|()| file.finish()).map_err(unusable)
    }
}
