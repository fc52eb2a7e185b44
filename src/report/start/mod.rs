//! The store paths that the start of a container needs, computed from the files of its image.
//!
//! ```text
//! Entrypoint, Cmd, Env ──▶ program ──▶ ELF: interpreter, libraries (DT_NEEDED)
//!                                  ├─▶ script: #! interpreter, commands in PATH, named store paths
//!                                  ├─▶ makeBinaryWrapper's program: named store paths
//!                                  └─▶ each of these files in the same way
//! ```
//!
//! A program opens more than its files say: modules of interpreters, plugins, data whose names it computes. These are usually
//! in the store paths that it needs anyway. The walk is bounded, because the files are hostile.

mod elf;
mod libraries;
mod sizes;
mod text;
mod walk;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;

use crate::{
    closure::{Graph, StorePath},
    image::MergedFiles,
    oci::Config,
};
use walk::{FILES, Walk};

/// The files that the start of a container needs.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Start {
    /// The size of all files of the image in bytes.
    pub size: u64,
    /// The size of the store paths and of the other files that the start needs, in bytes.
    pub needed: u64,
    /// The size of the files in them that the start opens, in bytes.
    pub opened: u64,
    /// The store paths and other files, in the order in which they are needed.
    pub paths: Vec<StartPath>,
    /// The programs and libraries that the image lacks.
    pub missing: Vec<MissingFile>,
}

/// A store path, or a file outside of the store.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StartPath {
    pub path: String,
    /// The size in bytes.
    pub size: u64,
    /// The size of `files` in bytes.
    pub opened: u64,
    /// The reason that the path is needed first.
    #[serde(flatten)]
    pub reason: Reason,
    /// The files that the start opens. It is empty for a path of which only links or directories are needed.
    pub files: Vec<StartFile>,
}

/// A file that the start opens.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StartFile {
    pub path: String,
    /// The size in bytes.
    pub size: u64,
    #[serde(flatten)]
    pub reason: Reason,
}

/// A program or library that the image lacks.
#[derive(Debug, Serialize)]
pub struct MissingFile {
    pub name: String,
    #[serde(flatten)]
    pub reason: Reason,
}

/// The reason that a file is needed.
#[derive(Clone, Debug, Serialize)]
pub struct Reason {
    pub why: Why,
    /// The file that needs it. `None` if the configuration does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Arc<str>>,
}

/// How a file is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Why {
    /// It is the program of the configuration.
    Program,
    /// The configuration names it after the program.
    Argument,
    /// A variable of the configuration names it.
    Variable,
    /// It is the dynamic linker of a program, or the interpreter of a script.
    Interpreter,
    /// A program or a library is linked with it.
    Library,
    /// A script runs it as a command in `PATH`.
    Command,
    /// A script or a wrapper names it.
    Named,
}

/// The reason that the start is unknown.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No program is configured.
    #[error("the configuration of the image names no program; set config.Entrypoint or config.Cmd")]
    NoProgram,
    /// The program is not in the image.
    #[error("the image has no executable program {0:?}; correct config.Entrypoint, config.Cmd or PATH in config.Env")]
    NoFile(String),
    /// A file refers to more files than the limit.
    #[error("the program needs more than {FILES} files, or leads to more paths than the limit")]
    TooMany,
    /// A file cannot be read.
    #[error("reading /{}", path.display())]
    Io {
        /// The path in the image.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl Start {
    /// Returns what the start of a container with this configuration needs. `closure` has the sizes of store paths.
    ///
    /// # Errors
    ///
    /// If the image has no program, a file cannot be read, or the limit is exceeded.
    pub fn new(config: &Config, files: &MergedFiles, closure: Option<&Graph>) -> Result<Self, StartError> {
        let mut walk = Walk::new(config, files);
        walk.run(config)?;
        Ok(walk.finish(closure))
    }

    /// Returns the store paths.
    pub fn store_paths(&self) -> impl Iterator<Item = StorePath> {
        self.paths.iter().filter_map(|path| StorePath::parse(&path.path).ok())
    }
}

/// Returns a path of the image, which is relative to the root, for people.
fn shown(path: &Path) -> String {
    Path::new("/").join(path).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
