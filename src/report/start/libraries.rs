//! The libraries that the dynamic linker loads for a program, in its order and with its rules (glibc, elf/dl-load.c,
//! `_dl_map_new_object`).
//!
//! ```text
//! a name with a slash       that file
//! any other name            DT_RPATH of the file that needs it, and of those that loaded that file, unless it has DT_RUNPATH
//!                           LD_LIBRARY_PATH
//!                           DT_RUNPATH of the file that needs it
//!                           the directory of the dynamic linker, which stands for its cache and its default directories
//! ```
//!
//! A library that was loaded under the same name or with the same DT_SONAME is not searched again. Directories for variants of
//! a processor (`glibc-hwcaps`) are not searched, since the processor of the node is unknown.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{elf::Elf, shown};
use crate::image::{FoundFile, MergedFiles};

/// The maximum number of libraries of one program. Large desktop programs have a few hundred.
const LIMIT: usize = 4096;

/// A library of a program.
#[derive(Debug)]
pub struct Library {
    pub file: FoundFile,
    /// The path of the file that needs it, for people.
    pub by: Arc<str>,
}

/// The libraries of a program, and the names of those that were not found, each with the path of the file that needs it.
#[derive(Debug, Default)]
pub struct Libraries {
    pub found: Vec<Library>,
    pub missing: Vec<(String, Arc<str>)>,
}

/// The directories and libraries of the environment.
#[derive(Clone, Debug, Default)]
pub struct LinkerEnvironment {
    /// The directories of `LD_LIBRARY_PATH`.
    pub directories: Vec<PathBuf>,
    /// The libraries of `LD_PRELOAD`.
    pub preload: Vec<String>,
    /// Directories that wrappers name, in which their programs may find what they do not find elsewhere.
    pub named: Vec<PathBuf>,
}

/// A loaded file.
struct Loaded {
    /// The path of the file, for people. Its libraries share it, because a hostile file may need many thousands.
    path: Arc<str>,
    /// The value of `$ORIGIN`: the directory of the program without links, or of the path by which a library was found.
    origin: PathBuf,
    elf: Elf,
    /// The file that loaded it.
    loader: Option<usize>,
}

/// Returns the libraries of the program at `path`, whose links were followed.
pub fn load(files: &MergedFiles, path: &Path, program: Elf, environment: &LinkerEnvironment) -> Libraries {
    let linker = program.interpreter.as_ref().and_then(|path| files.find(Path::new(path)));
    let mut defaults: Vec<PathBuf> = environment.named.clone();
    if let Some(directory) = linker.as_ref().and_then(|linker| linker.path.parent()) {
        // Debian's directories are those of its linker, below / and /usr.
        defaults.extend([directory.to_owned(), Path::new("usr").join(directory)]);
    }
    defaults.extend(["lib64", "usr/lib64", "lib", "usr/lib"].map(PathBuf::from));
    let kind = program.kind;
    let origin = path.parent().unwrap_or(path).to_owned();
    let mut loaded = vec![Loaded { path: shown(path).into(), origin, elf: program, loader: None }];
    let mut names: HashSet<String> = HashSet::new();
    let mut paths: HashSet<PathBuf> = linker.into_iter().map(|linker| linker.path).collect();
    let mut libraries = Libraries::default();
    let mut next = 0;
    while next < loaded.len() {
        let preload: &[String] = if next == 0 { &environment.preload } else { &[] };
        for name in preload.iter().cloned().chain(loaded[next].elf.needed.clone()) {
            if libraries.found.len() == LIMIT || files.is_exhausted() || !names.insert(name.clone()) {
                continue;
            }
            let search = Search { loaded: &loaded, by: next, environment, defaults: &defaults };
            let found = search.candidates(&name).into_iter().find_map(|candidate| {
                let file = files.find(&candidate)?;
                let elf = Elf::read(file.file.open().ok()?).filter(|elf| elf.kind == kind)?;
                Some((candidate, file, elf))
            });
            let Some((candidate, file, elf)) = found else {
                libraries.missing.push((name, Arc::clone(&loaded[next].path)));
                continue;
            };
            names.extend(elf.soname.clone());
            if paths.insert(file.path.clone()) {
                let by = Arc::clone(&loaded[next].path);
                let origin = candidate.parent().unwrap_or(&candidate).to_owned();
                loaded.push(Loaded { path: shown(&file.path).into(), origin, elf, loader: Some(next) });
                libraries.found.push(Library { file, by });
            }
        }
        next += 1;
    }
    libraries
}

/// The search for a library that a loaded file needs.
struct Search<'a> {
    loaded: &'a [Loaded],
    by: usize,
    environment: &'a LinkerEnvironment,
    defaults: &'a [PathBuf],
}

impl Search<'_> {
    /// Returns the paths at which the library may be, in order.
    fn candidates(&self, name: &str) -> Vec<PathBuf> {
        let by = &self.loaded[self.by];
        if name.contains('/') {
            return vec![expand(name, &by.origin)];
        }
        let mut directories: Vec<PathBuf> = Vec::new();
        if by.elf.runpath.is_none() {
            let loaders = std::iter::successors(Some(by), |file| file.loader.map(|at| &self.loaded[at]));
            for file in loaders.filter(|file| file.elf.runpath.is_none()) {
                directories.extend(split(&file.elf.rpath, &file.origin));
            }
        }
        directories.extend_from_slice(&self.environment.directories);
        directories.extend(split(&by.elf.runpath, &by.origin));
        directories.extend_from_slice(self.defaults);
        directories.into_iter().map(|directory| directory.join(name)).collect()
    }
}

fn split(directories: &Option<String>, origin: &Path) -> Vec<PathBuf> {
    let directories = directories.iter().flat_map(|all| all.split(':')).filter(|directory| !directory.is_empty());
    directories.map(|directory| expand(directory, origin)).collect()
}

/// Replaces `$ORIGIN`. `$LIB` and `$PLATFORM` depend on the processor and stay.
fn expand(path: &str, origin: &Path) -> PathBuf {
    let origin = origin.to_string_lossy();
    path.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin).into()
}
