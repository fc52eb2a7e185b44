//! Starts a shell in the root and the environment of an image, even if the image has none.
//!
//! ```text
//! docker run --entrypoint PROGRAM IMAGE -c 'exec bash, or PROGRAM if there is none in PATH' PROGRAM ARGUMENTS
//! ```
//!
//! PROGRAM is a bash in this machine's store. Its closure is mounted like the store paths of the image. The shell then
//! searches the image's bash in the environment of the container.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use super::{Engine, Split, engine::StoreMounts};
use crate::{
    budget,
    closure::StorePath,
    image::Opened,
    terminal::{self, note},
};

/// `$0` is the shell that runs this script.
const SCRIPT: &str = r#"exec "$(type -P bash || echo "$0")" "$@""#;

/// The shell that replaces the image's command.
#[derive(Debug)]
pub struct Shell {
    program: String,
    /// Whether the shell is mounted. On an engine of another machine, only the image's shell is available.
    is_mounted: bool,
}

impl Shell {
    /// Finds `program` in the store, and adds its closure to the mounts.
    ///
    /// # Errors
    ///
    /// If it is not a program in the store, or Nix does not have its closure.
    pub fn find(program: &str, engine: &Engine, split: &mut Split, opened: &Opened) -> Result<Self> {
        if let StoreMounts::Impossible(why) = engine.mounts()? {
            note!("--shell: starting the sh of the image: {why}");
            return Ok(Self { program: "sh".to_owned(), is_mounted: false });
        }
        let fail = || format!("--shell {program}: not a program in the store; write /nix/store/…/bin/bash");
        let target = Path::new(program).canonicalize().with_context(fail)?;
        let target = target.to_str().filter(|target| Path::new(target).is_file()).with_context(fail)?;
        let top: PathBuf = Path::new(target).components().take(4).collect();
        StorePath::parse(top.to_str().unwrap_or_default()).with_context(fail)?;
        // Files of the image at these paths stay, with their owners and modes.
        let image_paths: BTreeSet<&Path> = match opened {
            Opened::Recipe(recipe) => {
                let paths = recipe.layers.iter().flat_map(|layer| &layer.paths);
                paths.filter(|path| path.is_in_place()).map(|path| path.path.as_path()).collect()
            }
            _ => BTreeSet::new(),
        };
        split.mounts.extend(closure(&top)?.into_iter().filter(|path| !image_paths.contains(path.as_path())));
        Ok(Self { program: target.to_owned(), is_mounted: true })
    }

    /// Returns options of the engine.
    pub fn engine_options(&self) -> Vec<OsString> {
        let mut options = vec!["--interactive", "--entrypoint", &self.program];
        if io::stdin().is_terminal() && terminal::stdout_is_terminal() {
            options.insert(0, "--tty");
        }
        options.into_iter().map(OsString::from).collect()
    }

    /// Returns the command: the shell with `arguments`.
    pub fn command(&self, arguments: &[OsString]) -> Vec<OsString> {
        let mut command: Vec<OsString> = Vec::new();
        if self.is_mounted {
            command.extend(["-c", SCRIPT, &self.program].map(OsString::from));
        }
        command.extend_from_slice(arguments);
        command
    }
}

/// Returns the closure of `path`.
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
