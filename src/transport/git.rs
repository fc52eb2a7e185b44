//! git, with every program that a repository's own configuration can name switched off.
//!
//! The directory of a project or a flake is untrusted: a downloaded archive may have a `.git/config`. Keys of that file run
//! programs (git-config(1)), and these are the ones that `ls-files` reaches:
//!
//! ```text
//! core.fsmonitor               whenever the index is read
//! hook files, hook.NAME.*      whenever the index is written (core.hooksPath names the directory of the files)
//! remote.NAME.uploadpack,      when an object is missing that a promisor remote has: `ls-files` reads trees
//! core.sshCommand, ext::, …    where the index is sparse
//! core.pager, pager.ls-files   on a terminal
//! ```
//!
//! Includes (`include.path`) set nothing that these settings do not override. Aliases never replace a command of git.

use std::{path::Path, process::Command};

/// Settings that override every other configuration. An empty `core.fsmonitor` is off in all versions; "false" names a
/// program before git 2.36.
const SETTINGS: [(&str, &str); 9] = [
    ("core.fsmonitor", ""),
    ("core.hooksPath", "/dev/null"),
    ("core.pager", "cat"),
    ("core.sshCommand", "false"),
    ("core.gitProxy", "false"),
    ("core.askPass", "false"),
    ("core.alternateRefsCommand", "false"),
    ("credential.helper", ""),
    ("diff.external", "false"),
];

/// What points git to another repository than that of the directory: set in hooks, for example.
/// (`git rev-parse --local-env-vars`)
const REPOSITORY_VARIABLES: [&str; 8] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
];

/// git in the repository of `directory`, without the programs that its configuration names, and without a network.
pub fn local_git(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command.arg("--no-pager").arg("-C").arg(directory);
    for (key, value) in SETTINGS {
        command.arg("-c").arg(format!("{key}={value}"));
    }
    for variable in REPOSITORY_VARIABLES {
        command.env_remove(variable);
    }
    command
        // Stronger than the repository's protocol.NAME.allow: no missing object is fetched.
        .env("GIT_ALLOW_PROTOCOL", "")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0");
    command
}

/// Switches off the file system monitor and the hooks in every git that `command` starts: Nix runs git in the working
/// directories that it fetches. Credential helpers and ssh stay, as remote repositories need the user's own.
///
/// Nix before 2.20 also runs `git diff` there, and with it the filters (`filter.NAME.clean`, `filter.NAME.process`) that the
/// repository configures. Newer versions read working directories themselves.
pub fn restrict_git(command: &mut Command) {
    // git reads these as it reads `-c` (git 2.31 and later); the user's own come first.
    let count = std::env::var("GIT_CONFIG_COUNT").ok().and_then(|count| count.parse::<usize>().ok()).unwrap_or(0);
    let settings = SETTINGS.iter().filter(|(key, _)| matches!(*key, "core.fsmonitor" | "core.hooksPath"));
    let mut next = count;
    for (key, value) in settings {
        command.env(format!("GIT_CONFIG_KEY_{next}"), key).env(format!("GIT_CONFIG_VALUE_{next}"), value);
        next += 1;
    }
    command.env("GIT_CONFIG_COUNT", next.to_string());
}
