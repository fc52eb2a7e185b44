//! Programs without the credentials of this user, for sources and expressions that contributors of a flake choose.

use std::{
    env,
    ffi::OsString,
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{files, terminal::shell_word};

/// Variables that stay. A derivation with a fixed output reads any variable that it names (`impureEnvVars`).
const KEPT: [&str; 33] = [
    "ALL_PROXY",
    "CURL_CA_BUNDLE",
    "FTP_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "LC_ALL",
    "LOGNAME",
    "NIX_CONFIG",
    "NIX_CONF_DIR",
    "NIX_DATA_DIR",
    "NIX_DAEMON_SOCKET_PATH",
    "NIX_IGNORE_SYMLINK_STORE",
    "NIX_LOCALSTATE_DIR",
    "NIX_LOG_DIR",
    "NIX_REMOTE",
    "NIX_SSL_CERT_FILE",
    "NIX_STATE_DIR",
    "NIX_STORE_DIR",
    "NO_PROXY",
    "PATH",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TZ",
    "USER",
    "XDG_RUNTIME_DIR",
    "all_proxy",
    "ftp_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "GIT_SSL_CAINFO",
];

/// Nix before 2.20 reads repositories on this machine with git: also one in a source or a build result, whose file `.git` or
/// `objects/info/alternates` names another repository. Only Nix's own repositories are read. Newer versions of Nix take
/// `git+file:` for a URL, which is not allowed.
const GIT: &str = r#"#!/bin/sh
case $1:$2 in
  *..*) exit 128 ;;
  -C:"$XDG_CACHE_HOME"/nix/* | -C:"${TMPDIR:-/tmp}"/nix-*) ;;
  -C:* | --git-dir*) echo "git: $2 is a repository of this machine" >&2; exit 128 ;;
esac
"#;

/// Directories for isolated programs.
#[derive(Debug)]
pub struct Isolation {
    directory: TempDir,
    /// Nix's cache of sources. The user's own has repositories that only the user may read.
    cache: PathBuf,
    /// Set after restricted evaluations have been checked.
    pub restricted: OnceLock<()>,
}

impl Isolation {
    /// Creates the directories.
    ///
    /// # Errors
    ///
    /// If they cannot be written.
    pub fn create() -> Result<Self> {
        let directory = tempfile::tempdir().context("creating a temporary directory")?;
        let cache = files::cache_folder().map_or_else(|| directory.path().join("cache"), |cache| cache.join("flakes"));
        let writing = || format!("writing {}", directory.path().display());
        for name in ["bin", "home", "expression"] {
            fs::create_dir(directory.path().join(name)).with_context(writing)?;
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let git = env::split_paths(&path).map(|directory| directory.join("git")).find(|file| file.exists());
        if let Some(git) = git {
            let git = git.display().to_string();
            let mut options = fs::OpenOptions::new();
            let script = options.write(true).create_new(true).mode(0o755).open(directory.path().join("bin/git"));
            writeln!(script.with_context(writing)?, "{GIT}exec {} \"$@\"", shell_word(&git)).with_context(writing)?;
        }
        Ok(Self { directory, cache, restricted: OnceLock::new() })
    }

    /// A directory for files of expressions.
    pub fn expressions(&self) -> PathBuf {
        self.directory.path().join("expression")
    }

    /// Takes the credentials of the user away from a program and its children: variables, ssh keys and agent, tokens, and
    /// the configuration of git. Nix's own configuration stays, except its tokens and passwords.
    pub fn isolate(&self, command: &mut Command) {
        Self::keep_variables(command);
        let own = self.directory.path();
        let path = env::var_os("PATH").unwrap_or_default();
        let directories = [own.join("bin")].into_iter().chain(env::split_paths(&path));
        command
            .env("PATH", env::join_paths(directories).unwrap_or_default())
            .env("HOME", own.join("home"))
            .env("XDG_CACHE_HOME", &self.cache)
            .env("NIX_USER_CONF_FILES", user_configuration())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "false")
            .env("GIT_SSH_COMMAND", "false")
            .env("GIT_ALLOW_PROTOCOL", "https:http")
            .env("GIT_CONFIG_COUNT", "3");
        let settings = [("credential.helper", ""), ("core.fsmonitor", ""), ("core.hooksPath", "/dev/null")];
        for (number, (key, value)) in settings.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{number}"), key).env(format!("GIT_CONFIG_VALUE_{number}"), value);
        }
        command.args(["--option", "access-tokens", "", "--option", "netrc-file", "/dev/null"]);
    }

    /// Removes variables that a builder must not read. Passwords of caches stay in files.
    pub fn keep_variables(command: &mut Command) {
        command.env_clear();
        let kept = KEPT.iter().filter_map(|name| Some((name, env::var_os(name)?)));
        command.envs(kept);
    }

    /// As `keep_variables`, with the home of the user.
    pub fn keep_home(command: &mut Command) {
        Self::keep_variables(command);
        let names =
            ["HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "NIX_USER_CONF_FILES"];
        command.envs(names.iter().filter_map(|name| Some((name, env::var_os(name)?))));
    }
}

/// Requires the sandbox for builders of a version: without it, they can read the files of the machine. A daemon ignores this
/// for users that it does not trust, and its builders have users of their own.
pub fn isolate_builders(command: &mut Command) {
    command.args(["--option", "sandbox", "true", "--option", "sandbox-fallback", "false"]);
}

/// Nix's files of settings of this user (nix: getUserConfigFiles, globals.cc).
fn user_configuration() -> OsString {
    if let Some(files) = env::var_os("NIX_USER_CONF_FILES") {
        return files;
    }
    let home = || Some(Path::new(&env::var_os("HOME")?).join(".config"));
    let own = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home);
    let others = env::var_os("XDG_CONFIG_DIRS").unwrap_or_else(|| "/etc/xdg".into());
    let files = own.into_iter().chain(env::split_paths(&others)).map(|directory| directory.join("nix/nix.conf"));
    env::join_paths(files).unwrap_or_default()
}
