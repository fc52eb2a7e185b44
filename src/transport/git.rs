//! Runs git without the programs that the configuration of a repository can name.
//!
//! The directory of a project or a flake is untrusted: a downloaded archive may have a `.git/config`. Keys of that file
//! run programs (git-config(1)). `ls-files` uses these:
//!
//! ```text
//! core.fsmonitor               whenever the index is read
//! hook files, hook.NAME.*      whenever the index is written (core.hooksPath names the directory of the files)
//! remote.NAME.uploadpack,      when an object is missing that a promisor remote has: `ls-files` reads trees
//! core.sshCommand, ext::, …    where the index is sparse
//! core.pager, pager.ls-files   on a terminal
//! ```
//!
//! Files that are included (`include.path`) can only set keys that these settings override. Aliases never replace a
//! command of git.

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
    sync::OnceLock,
};

use crate::{budget, terminal::shell_word};

/// Settings that override every other configuration. An empty `core.fsmonitor` disables it in all versions; "false" is
/// the name of a program before git 2.36.
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

/// Variables that select another repository than that of the directory. Hooks set them, for example. (`git rev-parse
/// --local-env-vars`)
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
/// Protocols of the repositories of flakes. `ext` and `fd` run commands, and other names run `git-remote-NAME`.
const PROTOCOLS: &str = "file:git:https:http:ssh";

/// Returns a git command in the repository of `directory` that runs no programs of its configuration and uses no
/// network.
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
        // This takes precedence over protocol.NAME.allow of the repository, so that missing objects are not fetched.
        .env("GIT_ALLOW_PROTOCOL", "")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0");
    command
}

/// Returns a git command for a remote repository. It is in no repository, so that only the configuration of the
/// user and of the system applies: their credential helpers and ssh commands are necessary.
pub fn remote_git() -> Command {
    let mut command = Command::new("git");
    // git 2.39 looks for a repository in the current directory and above also for `ls-remote` (builtin/ls-remote.c,
    // RUN_SETUP_GENTLY), and would use `url.BASE.insteadOf`, `core.sshCommand` and `credential.helper` of that one.
    command.args(["--no-pager", "-C", "/"]);
    restrict_git(&mut command);
    command.env("GIT_DIR", "/dev/null").env("GIT_TERMINAL_PROMPT", "0");
    command
}

/// Restricts every git that `command` starts: Nix runs git in the working directories that it fetches, and in the current
/// directory. Those repositories cannot name a file system monitor, hooks, an ssh command, credential helpers or a
/// protocol that runs commands. The ssh command and credential helpers of the user stay.
///
/// Nix before 2.20 also runs `git diff` there, and with it the filters (`filter.NAME.clean`, `filter.NAME.process`) that
/// the repository configures. Newer versions read working directories themselves.
pub fn restrict_git(command: &mut Command) {
    for variable in REPOSITORY_VARIABLES {
        command.env_remove(variable);
    }
    if env::var_os("GIT_ALLOW_PROTOCOL").is_none() {
        command.env("GIT_ALLOW_PROTOCOL", PROTOCOLS);
    }
    let settings = [("core.fsmonitor", ""), ("core.hooksPath", "/dev/null")].map(owned);
    set_configuration(command, settings.iter().chain(user_programs()));
}

/// Adds settings, which override those of files. git 2.31 and later read these variables in the same way as `-c`. The
/// user's own variables come first.
pub fn set_configuration<'a>(command: &mut Command, settings: impl Iterator<Item = &'a (String, String)>) {
    let count = env::var("GIT_CONFIG_COUNT").ok().and_then(|count| count.parse::<usize>().ok()).unwrap_or(0);
    let mut next = count;
    for (key, value) in settings {
        command.env(format!("GIT_CONFIG_KEY_{next}"), key).env(format!("GIT_CONFIG_VALUE_{next}"), value);
        next += 1;
    }
    command.env("GIT_CONFIG_COUNT", next.to_string());
}

/// The settings of the user and the system that name programs for remote repositories. The first entries remove those of
/// every repository: an empty helper empties the list (gitcredentials(7)).
fn user_programs() -> &'static [(String, String)] {
    static SETTINGS: OnceLock<Vec<(String, String)>> = OnceLock::new();
    SETTINGS.get_or_init(|| {
        let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
        // Both variables have a lower precedence than the settings.
        let ssh = variable("GIT_SSH").map_or_else(|| "ssh".to_owned(), |program| shell_word(&program).into_owned());
        let ask_pass = variable("SSH_ASKPASS").unwrap_or_default();
        let mut settings =
            [("core.sshCommand", &*ssh), ("core.askPass", &*ask_pass), ("credential.helper", "")].map(owned).to_vec();
        let mut git = Command::new("git");
        git.args([
            "-C",
            "/",
            "config",
            "--null",
            "--get-regexp",
            r"^(core\.(sshcommand|askpass)|credential\..*helper)$",
        ]);
        for variable in REPOSITORY_VARIABLES {
            git.env_remove(variable);
        }
        git.env("GIT_DIR", "/dev/null").stdin(Stdio::null()).stderr(Stdio::null());
        let output = budget::output(&mut git, &budget::GIT_OUTPUT).map(|output| output.stdout).unwrap_or_default();
        settings.extend(parse_configuration(&output));
        settings
    })
}

/// Parses the output of `git config --null --get-regexp`: a key, a line feed and a value for each setting.
fn parse_configuration(output: &[u8]) -> Vec<(String, String)> {
    let entries = output.split(|byte| *byte == 0).filter_map(|entry| str::from_utf8(entry).ok()?.split_once('\n'));
    entries.map(owned).collect()
}

fn owned((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_user_are_parsed() {
        let output = b"credential.helper\n\0credential.https://a.example.helper\n!f() {\n x; }; f\0core.askpass\0";
        let expected = [("credential.helper", ""), ("credential.https://a.example.helper", "!f() {\n x; }; f")];
        assert_eq!(parse_configuration(output), expected.map(owned));
    }
}
