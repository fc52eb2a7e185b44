//! The engine that runs the container: docker or podman, through their clients on this machine.

use std::{
    env, fs,
    net::SocketAddr,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{
    budget,
    image::Image,
    oci::name::TaggedName,
    transport::{
        docker::{self, Daemon},
        engine::{EngineError, EngineOptions, Tool},
        podman,
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineName {
    /// `docker`
    Docker,
    /// `podman`
    Podman,
}

impl EngineName {
    /// Returns the name of the client's program.
    pub fn program(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

/// How an engine mounts store paths of this machine.
#[derive(Clone, Debug)]
pub enum StoreMounts {
    /// Mounts are not possible, for this reason.
    Impossible(String),
    Possible {
        /// The mapping of users.
        users: UserMapping,
    },
}

/// Which users of this machine the users of containers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserMapping {
    /// The same users.
    Same,
    /// Root is the user of a rootless engine, and the others are subordinate users.
    Rootless,
    /// All are subordinate users (dockerd's `--userns-remap`).
    Subordinate,
}

/// An engine, according to the user's environment.
#[derive(Debug)]
pub enum Engine {
    /// The daemon of the docker command.
    Docker(Box<Daemon>),
    /// podman's storage, which needs no daemon.
    Podman(Tool),
}

impl Engine {
    /// Returns the engine of this name. The default is docker if its client is installed, else podman.
    ///
    /// # Errors
    ///
    /// If there is no client, or the daemon's address is malformed.
    pub fn choose(name: Option<EngineName>) -> Result<Self> {
        let name = match name {
            Some(name) => name,
            None if is_installed("docker") => EngineName::Docker,
            None if is_installed("podman") => EngineName::Podman,
            None => bail!("no engine: neither docker nor podman is in PATH; install one of them"),
        };
        Ok(match name {
            EngineName::Docker => Self::Docker(Box::new(Daemon::from_options(&EngineOptions::default())?)),
            EngineName::Podman => Self::Podman(Tool::new("podman", None)),
        })
    }

    pub fn name(&self) -> EngineName {
        match self {
            Self::Docker(_) => EngineName::Docker,
            Self::Podman(_) => EngineName::Podman,
        }
    }

    /// Returns how the engine mounts store paths of this machine.
    ///
    /// # Errors
    ///
    /// If the engine does not answer.
    pub fn mounts(&self) -> Result<StoreMounts> {
        match self {
            Self::Docker(daemon) => {
                let info = daemon.info()?;
                let is_here = kernel("hostname").is_some_and(|name| name == info.name)
                    && kernel("osrelease").is_some_and(|release| release == info.kernel_version);
                let elsewhere = || format!("the docker daemon at {} is on another machine", daemon.endpoint());
                // The names of docker's modes are in moby, daemon/info.go, fillSecurityOptions.
                let has = |name: &str| info.security_options.iter().flatten().any(|option| option == name);
                let users = match (has("name=rootless"), has("name=userns")) {
                    (true, _) => UserMapping::Rootless,
                    (false, true) => UserMapping::Subordinate,
                    (false, false) => UserMapping::Same,
                };
                Ok(if is_here { StoreMounts::Possible { users } } else { StoreMounts::Impossible(elsewhere()) })
            }
            Self::Podman(podman) => {
                // Only a client that uses a service has a server (podman, cmd/podman/system/version.go).
                #[derive(Deserialize)]
                #[serde(rename_all = "PascalCase")]
                struct Version {
                    server: Option<serde_json::Value>,
                }
                let version = podman.run(&["version", "--format", "json"])?;
                let version: Version = serde_json::from_str(&version).context("reading the version of podman")?;
                Ok(match version.server {
                    Some(_) => StoreMounts::Impossible("podman's service may be on another machine".to_owned()),
                    None if rustix::process::geteuid().is_root() => StoreMounts::Possible { users: UserMapping::Same },
                    None => StoreMounts::Possible { users: UserMapping::Rootless },
                })
            }
        }
    }

    /// Whether the engine has an image of this name.
    ///
    /// # Errors
    ///
    /// If the engine does not answer.
    pub fn has(&self, name: &TaggedName) -> Result<bool> {
        match self {
            Self::Docker(daemon) => Ok(daemon.image(name.as_str())?.is_some()),
            Self::Podman(podman) => match podman.run(&["image", "exists", &podman::write::local_name(name)]) {
                Ok(_) => Ok(true),
                Err(EngineError::Failed { status, .. }) if status.code() == Some(1) => Ok(false),
                Err(error) => Err(error.into()),
            },
        }
    }

    /// Loads `image` under this name.
    ///
    /// # Errors
    ///
    /// Those of the engine.
    pub fn load(&self, image: &Image, name: &TaggedName) -> Result<()> {
        match self {
            Self::Docker(daemon) => docker::write::load(image, Some(name), daemon).map(drop)?,
            Self::Podman(podman) => podman::write::load(image, name, podman).map(drop)?,
        }
        Ok(())
    }

    /// Removes the images of `repository` other than `name`. Images that containers use stay.
    pub fn remove_others(&self, repository: &str, name: &TaggedName) {
        // An engine lists all names of an image, including names that the user gave it.
        let is_other = |other: &str, repository: &str, current_name: &str| {
            other != current_name && other.strip_prefix(repository).is_some_and(|tag| tag.starts_with(':'))
        };
        // An image that cannot be removed takes space, and is removed with the next version.
        match self {
            Self::Docker(daemon) => {
                let names = daemon.names(repository).unwrap_or_default();
                let others = names.iter().filter(|other| is_other(other, repository, name.as_str()));
                others.for_each(|other| drop(daemon.remove(other)));
            }
            Self::Podman(podman) => {
                let (current_name, repository) = (podman::write::local_name(name), format!("localhost/{repository}"));
                let filter = format!("reference={repository}");
                let list = ["images", "--filter", &filter, "--format", "{{.Repository}}:{{.Tag}}"];
                let names = podman.run(&list).unwrap_or_default();
                for other in names.lines().filter(|other| is_other(other, &repository, &current_name)) {
                    let _ = podman.run(&["rmi", other]);
                }
            }
        }
    }
}

/// Returns a value of this machine's kernel.
fn kernel(name: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok().map(|text| text.trim().to_owned())
}

fn is_installed(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|directory| directory.join(program).is_file()))
}

/// Returns the output of the engine's client, or `None` if it fails.
pub fn answer(name: EngineName, arguments: &[&str]) -> Option<String> {
    let mut command = client(name);
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
    let output = budget::output(&mut command, &budget::ENGINE_OUTPUT).ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Returns the ID of the container with this label, if it exists.
pub fn container(name: EngineName, label: &str) -> Option<String> {
    let answer = answer(name, &["ps", "--all", "--quiet", "--no-trunc", "--filter", &format!("label={label}")])?;
    answer.lines().next().map(str::to_owned)
}

/// Returns the address on this machine of a published TCP port of the container with this ID.
pub fn published(name: EngineName, id: &str, port: u16) -> Option<SocketAddr> {
    answer(name, &["port", id, &format!("{port}/tcp")])?.lines().find_map(|line| line.parse().ok())
}

/// Returns a command of the engine's client.
pub fn client(name: EngineName) -> Command {
    Command::new(name.program())
}
