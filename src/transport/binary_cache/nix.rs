//! The binary caches of Nix's configuration.

use std::{
    env, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use super::Cache;
use crate::{budget, transport::http::Netrc};

/// The default of `netrc-file`.
const NETRC: &str = "/etc/nix/netrc";

#[derive(Debug, Default)]
pub struct Configuration {
    /// `substituters`, without stores that are not binary caches (`ssh://`, `daemon`).
    pub caches: Vec<Cache>,
    /// `netrc-file`.
    pub netrc: PathBuf,
}

impl Configuration {
    /// Runs Nix to read its configuration. Without Nix there are no caches.
    pub fn read() -> Self {
        let Some(settings) = settings() else {
            return Self { caches: Vec::new(), netrc: Self::default_netrc() };
        };
        let value = |name: &str| &settings[name]["value"];
        let caches = value("substituters").as_array().into_iter().flatten();
        Self {
            caches: caches.filter_map(|url| url.as_str()?.parse().ok()).collect(),
            netrc: value("netrc-file").as_str().map_or_else(Self::default_netrc, PathBuf::from),
        }
    }

    /// Returns the default of `netrc-file`.
    pub fn default_netrc() -> PathBuf {
        NETRC.into()
    }
}

/// Runs Nix to read its configuration: an object with a `value` for each setting. Returns `None` without Nix.
pub fn settings() -> Option<Value> {
    // Nix 2.8 supports only the first command; new versions have the second.
    [["show-config", "--json"].as_slice(), &["config", "show", "--json"]].into_iter().find_map(ask)
}

fn ask(arguments: &[&str]) -> Option<Value> {
    let mut nix = Command::new("nix");
    nix.args(["--extra-experimental-features", "nix-command"]).args(arguments);
    let output = budget::output(nix.stdin(Stdio::null()).stderr(Stdio::piped()), &budget::NIX_OUTPUT).ok()?;
    output.status.success().then(|| serde_json::from_slice(&output.stdout).ok()).flatten()
}

/// Reads the passwords in `NETRC`, in the user's `~/.netrc`, or in Nix's file: the first file that exists.
pub fn netrc(configured: &Path) -> io::Result<Netrc> {
    let named = env::var_os("NETRC").map(PathBuf::from);
    let user_file = env::var_os("HOME").map(|home| Path::new(&home).join(".netrc"));
    let found = named.into_iter().chain(user_file).chain([configured.to_owned()]).find(|path| path.exists());
    found.map_or_else(|| Ok(Netrc::default()), |path| Netrc::open(&path))
}
