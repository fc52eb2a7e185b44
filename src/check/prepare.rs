//! Prepares an image for tests: its configuration, its files, and its containers.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::{files::ImageFiles, job::TestContainer, metadata::environment, user::User};
use crate::{
    image::{Image, Opened},
    oci::{Config, DEFAULT_PATH, Platform},
    run::Split,
};

#[derive(Debug)]
pub struct PreparedTests {
    pub config: Config,
    pub files: ImageFiles,
    /// The variables of the configuration.
    pub env: BTreeMap<String, String>,
    top: PathBuf,
}

/// The hosts in the network of the containers.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    /// The names of containers.
    pub names: Vec<String>,
}

impl Hosts {
    /// Returns the contents of `/etc/hosts`.
    pub fn text(&self) -> String {
        let names: String = self.names.iter().map(|name| format!(" {name}")).collect();
        format!("127.0.0.1 localhost{names}\n::1 localhost ip6-localhost ip6-loopback\n")
    }
}

impl PreparedTests {
    /// Unpacks the files outside of the store to `top`, a directory that is created. If `platform` is given, the image
    /// for that platform is selected.
    ///
    /// # Errors
    ///
    /// If no image matches `platform`, a layer cannot be read, or the configuration is malformed.
    pub fn new(opened: &Opened, platform: Option<&Platform>, top: &Path) -> Result<Self> {
        let image = opened.image(platform)?;
        let split = match opened {
            Opened::Recipe(recipe) => Split::from_recipe(recipe)?,
            _ => Split::whole(image),
        };
        Self::from_split(&split, top)
    }

    /// Prepares a split image.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn from_split(split: &Split, top: &Path) -> Result<Self> {
        fs::create_dir(top).with_context(|| format!("creating {}", top.display()))?;
        let config = config(&split.image)?;
        let files = ImageFiles::unpack(split, &top.join("files"))?;
        Ok(Self { env: environment(&config), config, files, top: top.to_owned() })
    }

    /// Creates a directory for the files that a container, or all containers of one test, write.
    ///
    /// # Errors
    ///
    /// If it cannot be created.
    pub fn writable(&self, name: &str) -> Result<PathBuf> {
        let path = self.top.join(name);
        fs::create_dir(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(path)
    }

    /// Returns the user `user`, or that of the configuration if it is empty.
    ///
    /// # Errors
    ///
    /// If the image has no such user.
    pub fn user(&self, user: &str) -> Result<User> {
        User::find(if user.is_empty() { &self.config.user } else { user }, &self.files)
    }

    /// Returns a container with the settings that engines use.
    pub fn container(
        &self,
        writable: &Path,
        user: &User,
        hostname: &str,
        hosts: &Hosts,
        env: &BTreeMap<String, String>,
        command: Vec<String>,
    ) -> TestContainer {
        let mut all = BTreeMap::from([
            ("PATH".to_owned(), DEFAULT_PATH.to_owned()),
            ("HOSTNAME".to_owned(), hostname.to_owned()),
            ("HOME".to_owned(), user.home.clone()),
        ]);
        all.extend(env.clone());
        let directory = self.config.working_dir.as_str();
        TestContainer {
            files: self.files.root().to_owned(),
            writable: writable.to_owned(),
            mounts: self.files.mounts().map(Path::to_owned).collect(),
            directories: self.config.volumes.keys().map(PathBuf::from).collect(),
            hostname: hostname.to_owned(),
            hosts: hosts.text(),
            uid: user.uid,
            gid: user.gid,
            env: all.into_iter().collect(),
            directory: PathBuf::from(if directory.is_empty() { "/" } else { directory }),
            command,
        }
    }

    /// Returns entrypoint and arguments of the configuration.
    ///
    /// # Errors
    ///
    /// If the configuration has no program.
    pub fn entrypoint(&self) -> Result<Vec<String>> {
        let command: Vec<String> = self.config.entrypoint.iter().chain(&self.config.cmd).cloned().collect();
        if command.is_empty() {
            bail!("the image has neither an entrypoint nor a command; give `command`");
        }
        Ok(command)
    }
}

impl Drop for PreparedTests {
    /// Makes all files removable: layers, containers and overlays have directories without permissions.
    fn drop(&mut self) {
        release(&self.top);
    }
}

fn release(directory: &Path) {
    // If this fails, the files remain in the machine's directory of temporary files.
    let _ = fs::set_permissions(directory, Permissions::from_mode(0o700));
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        release(&entry.path());
    }
}

fn config(image: &Image) -> Result<Config> {
    Ok(image.parse_config().context("reading the image's configuration")?.config)
}
