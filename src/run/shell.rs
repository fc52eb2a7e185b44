//! A shell in the root and the environment of an image, for images without one too.
//!
//! ```text
//! docker run --entrypoint PROGRAM IMAGE -c 'exec bash, or PROGRAM if there is none in PATH' PROGRAM ARGUMENTS
//! ```
//!
//! PROGRAM is a bash of this machine's store. Its closure is mounted like the store paths of the image. The shell itself
//! looks for the image's bash, in the environment that the container has.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use super::{Engine, Split, engine::Mounts};
use crate::{
    budget,
    closure::StorePath,
    image::Opened,
    terminal::{self, note},
};

/// `$0` is the shell that runs this.
const SCRIPT: &str = r#"exec "$(type -P bash || echo "$0")" "$@""#;

/// What is started instead of the image's command.
#[derive(Debug)]
pub struct Shell {
    program: String,
    /// Whether it is mounted; an engine of another machine has the image's shell only.
    is_mounted: bool,
}

impl Shell {
    /// Finds `program` in the store, and adds its closure to what is mounted.
    ///
    /// # Errors
    ///
    /// If it is not a program in the store, or Nix does not know its closure.
    pub fn find(program: &str, engine: &Engine, split: &mut Split, opened: &Opened) -> Result<Self> {
        if let Mounts::Impossible(why) = engine.mounts()? {
            note!("--shell: starting the sh of the image: {why}");
            return Ok(Self { program: "sh".to_owned(), is_mounted: false });
        }
        let fail = || format!("--shell {program}: not a program in the store; write /nix/store/…/bin/bash");
        let target = Path::new(program).canonicalize().with_context(fail)?;
        let target = target.to_str().filter(|target| Path::new(target).is_file()).with_context(fail)?;
        let top: PathBuf = Path::new(target).components().take(4).collect();
        StorePath::parse(top.to_str().unwrap_or_default()).with_context(fail)?;
        // What the image has at these places stays, with the image's own owners and modes.
        let own: BTreeSet<&Path> = match opened {
            Opened::Recipe(recipe) => {
                let paths = recipe.layers.iter().flat_map(|layer| &layer.paths);
                paths.filter(|path| path.is_in_place()).map(|path| path.path.as_path()).collect()
            }
            _ => BTreeSet::new(),
        };
        split.mounts.extend(closure(&top)?.into_iter().filter(|path| !own.contains(path.as_path())));
        Ok(Self { program: target.to_owned(), is_mounted: true })
    }

    /// Options of the engine.
    pub fn engine_options(&self) -> Vec<OsString> {
        let mut options = vec!["--interactive", "--entrypoint", &self.program];
        if io::stdin().is_terminal() && terminal::stdout_is_terminal() {
            options.insert(0, "--tty");
        }
        options.into_iter().map(OsString::from).collect()
    }

    /// The command: the shell with `arguments`.
    pub fn command(&self, arguments: &[OsString]) -> Vec<OsString> {
        let mut command: Vec<OsString> = Vec::new();
        if self.is_mounted {
            command.extend(["-c", SCRIPT, &self.program].map(OsString::from));
        }
        command.extend_from_slice(arguments);
        command
    }
}

/// The store paths that `path` needs, with itself.
fn closure(path: &Path) -> Result<Vec<StorePath>> {
    let fail = || format!("reading the closure of {}", path.display());
    let mut command = Command::new("nix-store");
    command.args(["--query", "--requisites"]).arg(path);
    let output = budget::output(command.stderr(Stdio::piped()), &budget::NIX_OUTPUT);
    let output = output.context("starting nix-store; --shell needs Nix").with_context(fail)?;
    ensure!(output.status.success(), "{}: {}", fail(), String::from_utf8_lossy(&output.stderr).trim());
    let text = String::from_utf8(output.stdout).with_context(fail)?;
    text.lines().map(|line| StorePath::parse(line).with_context(fail)).collect()
}
