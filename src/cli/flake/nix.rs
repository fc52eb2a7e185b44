//! The commands of Nix for the images of a flake, with limits.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read},
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;

use super::{
    isolation::Isolation,
    processes::{Ended, Processes},
    redact::redact,
};
use crate::{budget::NIX_OUTPUT, terminal, transport::git::restrict_git};

/// The number of lines of Nix's log in an error.
const LOG_LINES: usize = 15;
/// The maximum length of a line in bytes.
const LINE_LIMIT: usize = 500;
/// The time limit of an evaluation.
pub(super) const EVALUATION: Duration = Duration::from_secs(600);

/// Disables binary caches.
pub const NO_SUBSTITUTERS: [&str; 3] = ["--option", "substituters", ""];

/// Nix's commands.
#[derive(Clone, Copy, Debug)]
pub struct NixCommands<'a> {
    pub(super) processes: &'a Processes,
    pub(super) isolation: &'a Isolation,
    /// Whether binary caches are used, also for builds during an evaluation.
    pub(super) substitutes: bool,
}

impl NixCommands<'_> {
    /// Returns the system of this machine.
    pub fn system(self) -> Result<String> {
        let mut command = self.nix("eval");
        command.args(["--impure", "--raw", "--expr", "builtins.currentSystem"]);
        Ok(String::from_utf8(self.run(command, EVALUATION)?.stdout)?)
    }

    pub(super) fn nix(self, command: &str) -> Command {
        self.nix_in(Command::new("nix"), command)
    }

    pub(super) fn nix_in(self, mut nix: Command, command: &str) -> Command {
        // References are absolute. The current directory may be in a repository of others, whose configuration git reads.
        nix.current_dir("/");
        restrict_git(&mut nix);
        nix.args(["--extra-experimental-features", "nix-command flakes", "--option", "accept-flake-config", "false"]);
        nix.args((!self.substitutes).then_some(NO_SUBSTITUTERS).into_iter().flatten());
        nix.arg(command);
        nix
    }

    /// Returns a command with the memory limit of evaluations.
    pub(super) fn limited(self, program: &str) -> Command {
        let mut limited = Command::new("/bin/sh");
        let kilobytes = self.processes.memory().saturating_mul(1_000_000).div_ceil(1024);
        limited.args(["-c", "ulimit -v \"$0\" && exec \"$@\"", &kilobytes.to_string(), program]).current_dir("/");
        limited
    }

    /// Runs a command, and returns its output. The error has the last lines of the log.
    pub(super) fn run(self, command: Command, timeout: Duration) -> Result<Output> {
        self.run_with(command, timeout, |line| terminal::note!("  {line}"))
    }

    /// Runs a command as [`Self::run`], without printing its log.
    pub(super) fn run_silently(self, command: Command, timeout: Duration) -> Result<Output> {
        self.run_with(command, timeout, |_| {})
    }

    fn run_with(self, mut command: Command, timeout: Duration, print: impl Fn(&str) + Send) -> Result<Output> {
        let read_log = |stream| last_lines(stream, print);
        let Ended { status, stdout, log } = self.processes.run(&mut command, timeout, &NIX_OUTPUT, read_log)?;
        let Some(status) = status else { bail!("it takes longer than {} s{}", timeout.as_secs(), joined(&log)) };
        let stdout = stdout.context("reading the output of Nix")?;
        if !status.success() {
            bail!("Nix ended with {status}{}", joined(&log));
        }
        Ok(Output { status, stdout, stderr: Vec::new() })
    }
}

pub(super) fn store() -> Command {
    Command::new("nix-store")
}

pub(super) fn json<T: DeserializeOwned>(output: &Output) -> Result<T> {
    serde_json::from_slice(&output.stdout).context("parsing the output of Nix")
}

/// Returns the last lines of a process's log, without passwords in URLs, and passes each line to `print`. A line that exceeds the
/// limit is split.
pub fn last_lines(stream: impl Read, print: impl Fn(&str)) -> VecDeque<String> {
    let mut lines = VecDeque::new();
    let mut reader = BufReader::new(stream);
    let mut bytes = Vec::new();
    while let Ok(read) = (&mut reader).take((LINE_LIMIT - bytes.len()) as u64).read_until(b'\n', &mut bytes) {
        if read == 0 && bytes.is_empty() {
            break;
        }
        // A URL is in one part of a long line, so that it can be redacted.
        let last_word = bytes.iter().rposition(|byte| byte.is_ascii_whitespace()).map(|at| at + 1);
        let rest = last_word.filter(|_| bytes.len() == LINE_LIMIT).map(|at| bytes.split_off(at)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let shown = terminal::line(redact(text.trim_end()).as_str());
        bytes = rest;
        if shown.is_empty() {
            continue;
        }
        print(&shown);
        lines.push_back(shown);
        if lines.len() > LOG_LINES {
            lines.pop_front();
        }
    }
    lines
}

fn joined(log: &VecDeque<String>) -> String {
    log.iter().map(|line| format!("\n{line}")).collect()
}

/// Returns a string in Nix's language.
pub(super) fn text(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace("${", "\\${"))
}

pub(super) fn list(values: &[String]) -> String {
    format!("[ {} ]", values.iter().map(|value| text(value)).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_those_of_nix() {
        assert_eq!(text(r#"a"b\c${d}$e"#), r#""a\"b\\c\${d}$e""#);
        assert_eq!(list(&["a".to_owned(), "b".to_owned()]), r#"[ "a" "b" ]"#);
    }

    #[test]
    fn the_last_lines_of_a_log_are_kept() {
        let long = "x".repeat(2 * LINE_LIMIT);
        let log: String = (0..50).map(|at| format!("line {at}\n\n")).chain([format!("\u{1b}[31m{long}")]).collect();
        let lines = last_lines(log.as_bytes(), |_| {});
        assert_eq!(lines.len(), LOG_LINES);
        // The long line is split into three.
        assert_eq!(lines[0], "line 38");
        assert!(lines[LOG_LINES - 3].starts_with("\\u{1b}[31mxxx") && lines[LOG_LINES - 1].starts_with('x'));
        assert!(lines.iter().all(|line| line.len() < LINE_LIMIT + 20));
    }

    #[test]
    fn a_process_over_its_time_is_ended() {
        let processes = Processes::new(Duration::from_millis(50), 1);
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo begun >&2; exec sleep 600"]);
        let isolation = Isolation::create().unwrap();
        let nix = NixCommands { processes: &processes, isolation: &isolation, substitutes: true };
        let error = nix.run(command, processes.timeout()).unwrap_err();
        assert!(error.to_string().contains("takes longer than 0 s"), "{error}");
    }

    #[test]
    fn evaluations_without_substitutes_use_no_caches() {
        let (processes, isolation) = (Processes::new(EVALUATION, 1), Isolation::create().unwrap());
        for substitutes in [true, false] {
            let nix = NixCommands { processes: &processes, isolation: &isolation, substitutes };
            for command in [nix.nix("eval"), nix.nix_in(nix.limited("nix"), "eval")] {
                let arguments: Vec<_> = command.get_args().collect();
                let is_disabled = arguments.windows(3).any(|arguments| arguments == NO_SUBSTITUTERS);
                assert_eq!(is_disabled, !substitutes, "{arguments:?}");
            }
        }
    }
}
