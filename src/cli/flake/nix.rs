//! The commands of Nix that a registry of a flake runs, with limits.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    Package,
    processes::{Ended, Processes},
    reference,
};
use crate::{budget::NIX_OUTPUT, closure::StorePath, terminal, transport::git::restrict_git};

/// Lines of Nix's log in an error.
const LOG_LINES: usize = 15;
/// What one line of it may have, in bytes.
const LINE_LIMIT: usize = 500;
/// Time for an evaluation.
const EVALUATION: Duration = Duration::from_secs(600);

/// Tells images of strata from other packages; the same attributes as in nix/modules/nixos.nix.
const IS_IMAGE: &str = "package: package ? imageName && package ? imageTag && package ? detached";

/// Nix's commands.
#[derive(Clone, Copy, Debug)]
pub struct Nix<'a> {
    processes: &'a Processes,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    /// The source in the store.
    path: String,
    /// The reference with its revision, if it has one.
    url: String,
    #[serde(default)]
    locked: Locked,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Locked {
    rev: Option<String>,
    nar_hash: Option<String>,
    dir: Option<String>,
}

impl<'a> Nix<'a> {
    /// Nix with these processes.
    pub fn new(processes: &'a Processes) -> Self {
        Self { processes }
    }

    /// The system of this machine.
    pub fn system(self) -> Result<String> {
        let mut command = self.nix("eval");
        command.args(["--impure", "--raw", "--expr", "builtins.currentSystem"]);
        Ok(String::from_utf8(self.run(command, EVALUATION)?.stdout)?)
    }

    /// A key of the flake's sources, and the reference to evaluate: that of the revision if there is one, so that a branch may
    /// move meanwhile.
    pub fn source(self, reference: &str) -> Result<(String, String)> {
        let mut command = self.nix("flake");
        command.args(["metadata", "--json", "--no-write-lock-file", reference]);
        let Metadata { path, url, locked } = json(&self.run(command, EVALUATION)?)?;
        let Locked { rev, nar_hash, dir } = locked;
        let key = format!("{path} {} {}", nar_hash.unwrap_or_default(), dir.unwrap_or_default());
        Ok((key, if rev.is_some() { url } else { reference.to_owned() }))
    }

    /// The names of the packages of these systems.
    pub fn eval_names(self, source: &str, systems: &[String]) -> Result<Vec<String>> {
        let names = "system: builtins.attrNames (all.${system} or { })";
        json(&self.eval(source, &format!("all: builtins.concatMap ({names}) {}", list(systems)))?)
    }

    /// Those of `names` that are images. A package that does not evaluate is none: of names that do not evaluate together, each
    /// half is tried, as most errors of Nix cannot be caught.
    pub fn eval_images(self, source: &str, systems: &[String], names: &[String]) -> Vec<String> {
        let apply = format!(
            "all: let isImage = {IS_IMAGE}; is = name: builtins.any (system: let packages = all.${{system}} or {{ }}; \
             found = builtins.tryEval (packages ? ${{name}} && isImage packages.${{name}}); in found.success && found.value) {}; in \
             builtins.filter is {}",
            list(systems),
            list(names)
        );
        match self.eval(source, &apply).and_then(|output| json(&output)) {
            Ok(images) => images,
            Err(_) if names.len() > 1 => {
                let (first, second) = names.split_at(names.len() / 2);
                [first, second].iter().flat_map(|half| self.eval_images(source, systems, half)).collect()
            }
            Err(_) => Vec::new(),
        }
    }

    /// The package `name` of each system.
    pub fn eval_package(
        self,
        source: &str,
        systems: &[String],
        name: &str,
    ) -> Result<BTreeMap<String, Option<Package>>> {
        let apply = format!(
            "all: let isImage = {IS_IMAGE}; of = system: let found = (all.${{system}} or {{ }}).${{name}} or null; in \
             if found == null then null else {{ isImage = isImage found; \
             drvPath = if isImage found then found.detached.drvPath else found.drvPath or null; }}; name = {}; in \
             builtins.listToAttrs (map (system: {{ name = system; value = of system; }}) {})",
            text(name),
            list(systems)
        );
        json(&self.eval(source, &apply)?)
    }

    /// The derivation of an image of `packages`, names with slashes between. An evaluation that is not pure can read the
    /// files of the machine: only the checkout as it is needs it, as its changes have no revision.
    pub fn eval_shell(self, source: &str, is_checkout: bool, system: &str, packages: &str) -> Result<String> {
        let names: Vec<String> = packages.split('/').map(str::to_owned).collect();
        let expression = format!(
            "({}) {{ flake = builtins.getFlake {}; system = {}; packages = {}; }}",
            include_str!("shell.nix"),
            text(&reference::absolute(source)),
            text(system),
            list(&names)
        );
        let mut command = self.nix("eval");
        command.args(["--raw", "--expr", &expression]).args(is_checkout.then_some("--impure"));
        Ok(String::from_utf8(self.run(self.limited(command), EVALUATION)?.stdout)?)
    }

    fn eval(self, source: &str, apply: &str) -> Result<Output> {
        let mut command = self.nix("eval");
        command.args(["--json", "--no-write-lock-file"]).arg(format!("{source}#packages")).args(["--apply", apply]);
        self.run(self.limited(command), EVALUATION)
    }

    /// Builds or substitutes a derivation's only output, and keeps it with the root `link`.
    pub fn realise(self, drv_path: &str, link: &Path) -> Result<PathBuf> {
        // The flake chooses the text.
        let drv_path = StorePath::parse(drv_path).with_context(|| format!("{drv_path:?} is not a derivation"))?;
        let mut command = store();
        command.args(["--realise", drv_path.as_str(), "--indirect", "--add-root"]).arg(link);
        self.run(command, self.processes.timeout())?;
        fs::canonicalize(link).with_context(|| format!("reading {}", link.display()))
    }

    /// Keeps a store path that exists.
    pub fn keep(self, path: &Path, link: &Path) -> Result<()> {
        let mut command = store();
        command.arg("--realise").arg(path).args(["--indirect", "--add-root"]).arg(link);
        self.run(command, EVALUATION).map(drop)
    }

    fn nix(self, command: &str) -> Command {
        let mut nix = Command::new("nix");
        nix.args(["--extra-experimental-features", "nix-command flakes", "--option", "accept-flake-config", "false"]);
        nix.arg(command);
        nix
    }

    /// The same command with the limit of memory.
    fn limited(self, command: Command) -> Command {
        let mut limited = Command::new("/bin/sh");
        limited
            .args(["-c", "ulimit -v \"$0\" && exec \"$@\""])
            .arg(self.processes.memory().saturating_mul(1_000_000).div_ceil(1024).to_string());
        limited.arg(command.get_program()).args(command.get_args());
        limited
    }

    /// Runs a command, and returns its output. The error has the last lines of the log.
    fn run(self, mut command: Command, timeout: Duration) -> Result<Output> {
        restrict_git(&mut command);
        let Ended { status, stdout, log } = self.processes.run(&mut command, timeout, &NIX_OUTPUT, last_lines)?;
        let Some(status) = status else { bail!("it takes longer than {} s{}", timeout.as_secs(), joined(&log)) };
        let stdout = stdout.context("reading the output of Nix")?;
        if !status.success() {
            bail!("Nix ended with {status}{}", joined(&log));
        }
        Ok(Output { status, stdout, stderr: Vec::new() })
    }
}

fn store() -> Command {
    Command::new("nix-store")
}

fn json<T: DeserializeOwned>(output: &Output) -> Result<T> {
    serde_json::from_slice(&output.stdout).context("parsing the output of Nix")
}

/// The last lines of a process's log, which are also printed. A longer line than the limit is several lines.
fn last_lines(stream: impl Read) -> VecDeque<String> {
    let mut lines = VecDeque::new();
    let mut reader = BufReader::new(stream);
    let mut bytes = Vec::new();
    while let Ok(read) = (&mut reader).take(LINE_LIMIT as u64).read_until(b'\n', &mut bytes) {
        if read == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&bytes);
        let shown = terminal::line(text.trim_end());
        bytes.clear();
        if shown.is_empty() {
            continue;
        }
        terminal::note!("  {shown}");
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

/// A string of Nix's language.
fn text(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace("${", "\\${"))
}

fn list(values: &[String]) -> String {
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
        let lines = last_lines(log.as_bytes());
        assert_eq!(lines.len(), LOG_LINES);
        // The long line is three.
        assert_eq!(lines[0], "line 38");
        assert!(lines[LOG_LINES - 3].starts_with("\\u{1b}[31mxxx") && lines[LOG_LINES - 1].starts_with('x'));
        assert!(lines.iter().all(|line| line.len() < LINE_LIMIT + 20));
    }

    #[test]
    fn a_process_over_its_time_is_ended() {
        let processes = Processes::new(Duration::from_millis(50), 1);
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo begun >&2; exec sleep 600"]);
        let error = Nix::new(&processes).run(command, processes.timeout()).unwrap_err();
        assert!(error.to_string().contains("takes longer than 0 s"), "{error}");
    }
}
