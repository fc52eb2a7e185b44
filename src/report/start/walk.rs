//! The walk from the program of a configuration to the files that it needs.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    MissingFile, Reason, Start, StartError, StartFile, StartPath, Why,
    elf::Elf,
    libraries::{self, Libraries, LinkerEnvironment},
    shown,
    sizes::Sizes,
    text::{self, Shebang},
};
use crate::{
    closure::Graph,
    image::{FoundFile, MergedFile, MergedFiles},
    oci::{Config, DEFAULT_PATH},
};

/// The maximum number of files. Large programs need a few hundred.
pub(super) const FILES: usize = 10_000;
/// The maximum number of paths that are still to be visited.
const TASKS: usize = 1_000_000;
/// The maximum number of directories that are searched for programs and libraries.
pub(super) const DIRECTORIES: usize = 1000;
/// The maximum size of a text that is searched for store paths, in bytes. Wrappers have a few hundred.
const TEXT: u64 = 256 * 1024;
/// The maximum size of a program of makeBinaryWrapper, in bytes. They have 16,000.
const WRAPPER: u64 = 1 << 20;

/// A path that is visited later.
struct Task {
    path: PathBuf,
    reason: Reason,
}

/// The state of the walk from file to file.
pub(super) struct Walk<'a> {
    files: &'a MergedFiles,
    /// The directories of `PATH`, and then those that wrappers name.
    search: Vec<PathBuf>,
    directory: PathBuf,
    linker: LinkerEnvironment,
    /// The directories that were added to both.
    directories: HashSet<PathBuf>,
    /// The next task is the last one.
    tasks: Vec<Task>,
    seen: HashSet<PathBuf>,
    paths: Vec<StartPath>,
    positions: HashMap<String, usize>,
    missing: Vec<MissingFile>,
}

impl<'a> Walk<'a> {
    pub fn new(config: &Config, files: &'a MergedFiles) -> Self {
        let env: BTreeMap<&str, &str> = config.env.iter().filter_map(|variable| variable.split_once('=')).collect();
        let list = |name: &str, default: &str| -> Vec<PathBuf> {
            let value = env.get(name).copied().filter(|value| !value.is_empty()).unwrap_or(default);
            value.split(':').filter(|part| !part.is_empty()).map(PathBuf::from).collect()
        };
        let preload = env.get("LD_PRELOAD").copied().unwrap_or_default().split([':', ' ']);
        Self {
            files,
            search: list("PATH", DEFAULT_PATH),
            directory: Path::new("/").join(&config.working_dir),
            linker: LinkerEnvironment {
                directories: list("LD_LIBRARY_PATH", ""),
                preload: preload.filter(|name| !name.is_empty()).map(str::to_owned).collect(),
                named: Vec::new(),
            },
            directories: HashSet::new(),
            tasks: Vec::new(),
            seen: HashSet::new(),
            paths: Vec::new(),
            positions: HashMap::new(),
            missing: Vec::new(),
        }
    }

    /// Visits everything that the configuration leads to.
    pub fn run(&mut self, config: &Config) -> Result<(), StartError> {
        let words: Vec<&String> = config.entrypoint.iter().chain(&config.cmd).collect();
        let (program, arguments) = words.split_first().ok_or(StartError::NoProgram)?;
        let reason = |why| Reason { why, by: None };
        let program_file = self.program(program).ok_or_else(|| StartError::NoFile((*program).clone()))?;
        let mut tasks = vec![Task { path: program_file, reason: reason(Why::Program) }];
        for (at, argument) in arguments.iter().enumerate() {
            let is_script = text::is_shell(program) && at > 0 && arguments[at - 1].as_str() == "-c";
            let commands = if is_script { text::commands(argument) } else { Vec::new() };
            let commands: Vec<PathBuf> = commands.into_iter().filter_map(|name| self.program(name)).collect();
            let paths = [self.directory.join(argument)].into_iter().chain(text::store_paths(argument.as_bytes()));
            tasks.extend(paths.chain(commands).map(|path| Task { path, reason: reason(Why::Argument) }));
        }
        for variable in &config.env {
            let paths = text::store_paths(variable.as_bytes()).into_iter();
            tasks.extend(paths.map(|path| Task { path, reason: reason(Why::Variable) }));
        }
        self.push(tasks);
        while let Some(task) = self.tasks.pop() {
            self.visit(task)?;
            if self.files.is_exhausted() || self.tasks.len() > TASKS {
                return Err(StartError::TooMany);
            }
        }
        Ok(())
    }

    /// Adds tasks that come before the others, the first one first.
    fn push(&mut self, tasks: Vec<Task>) {
        self.tasks.extend(tasks.into_iter().rev());
    }

    /// Returns the path of a program, which is found as by `execvp`.
    fn program(&self, name: &str) -> Option<PathBuf> {
        let is_program = |path: &PathBuf| {
            let found = self.files.find(path);
            found.is_some_and(|found| matches!(found.file, MergedFile::Regular { is_executable: true, .. }))
        };
        match name.contains('/') {
            true => Some(self.directory.join(name)).filter(is_program),
            false => self.search.iter().map(|directory| self.directory.join(directory).join(name)).find(is_program),
        }
    }

    fn visit(&mut self, Task { path, reason }: Task) -> Result<(), StartError> {
        let Some(found) = self.files.find(&path) else {
            if reason.why == Why::Interpreter {
                self.missing.push(MissingFile { name: path.to_string_lossy().into_owned(), reason });
            }
            return Ok(());
        };
        match found.file {
            // Programs and libraries are searched in such directories, but the directories are not read.
            MergedFile::Directory if is_searched(&path) => self.add_directory(path),
            MergedFile::Directory => {
                self.add_links(&found, &reason);
                if self.files.store_path(&found.path).is_some() {
                    self.add(&found.path, &reason);
                }
                Ok(())
            }
            MergedFile::Regular { .. } => {
                if self.open(&found, &reason)? {
                    self.follow(&found)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Adds a directory in which programs and libraries are searched.
    fn add_directory(&mut self, path: PathBuf) -> Result<(), StartError> {
        if !self.directories.insert(path.clone()) {
            return Ok(());
        }
        if self.directories.len() > DIRECTORIES {
            return Err(StartError::TooMany);
        }
        self.search.push(path.clone());
        self.linker.named.push(path);
        Ok(())
    }

    /// Adds a file that the start opens. Returns whether it is new.
    fn open(&mut self, found: &FoundFile, reason: &Reason) -> Result<bool, StartError> {
        self.add_links(found, reason);
        let MergedFile::Regular { size, package, .. } = &found.file else { return Ok(false) };
        if !self.seen.insert(found.path.clone()) {
            return Ok(false);
        }
        if self.seen.len() > FILES {
            return Err(StartError::TooMany);
        }
        let at = match package {
            Some(package) => self.add_path(package, reason),
            None => self.add(&found.path, reason),
        };
        let path = shown(&found.path);
        self.paths[at].files.push(StartFile { path, size: *size, reason: reason.clone() });
        Ok(true)
    }

    /// Adds the store paths of the links on the way to a file.
    fn add_links(&mut self, found: &FoundFile, reason: &Reason) {
        for link in found.links.iter().filter(|link| self.files.store_path(link).is_some()) {
            self.add(link, reason);
        }
    }

    /// Adds the store path of a path in the image, or the path itself. Returns its position.
    fn add(&mut self, path: &Path, reason: &Reason) -> usize {
        let path = self.files.store_path(path).unwrap_or_else(|| Path::new("/").join(path));
        self.add_path(&path, reason)
    }

    fn add_path(&mut self, path: &Path, reason: &Reason) -> usize {
        let path = path.to_string_lossy().into_owned();
        if let Some(&at) = self.positions.get(&path) {
            return at;
        }
        self.positions.insert(path.clone(), self.paths.len());
        self.paths.push(StartPath { path, size: 0, opened: 0, reason: reason.clone(), files: Vec::new() });
        self.paths.len() - 1
    }

    /// Adds the files that a file needs.
    fn follow(&mut self, found: &FoundFile) -> Result<(), StartError> {
        let fail = |source| StartError::Io { path: found.path.clone(), source };
        let MergedFile::Regular { size, .. } = found.file else { return Ok(()) };
        let mut file = found.file.open().map_err(fail)?;
        if let Some(elf) = Elf::read(file.clone()) {
            self.load(found, elf)?;
            if size <= WRAPPER {
                let mut program = Vec::new();
                file.read_to_end(&mut program).map_err(fail)?;
                let named = text::binary_wrapper(&program).map(text::store_paths).unwrap_or_default();
                self.push(tasks(named, Why::Named, found));
            }
            return Ok(());
        }
        let mut start = Vec::new();
        file.take(TEXT).read_to_end(&mut start).map_err(fail)?;
        self.read_text(found, &start, size <= TEXT)
    }

    /// Adds the interpreter and the libraries of an ELF file.
    fn load(&mut self, found: &FoundFile, elf: Elf) -> Result<(), StartError> {
        let reason = |why, by: &Arc<str>| Reason { why, by: Some(Arc::clone(by)) };
        if let Some(interpreter) = &elf.interpreter {
            // Linux maps it, and does not read which interpreter it has itself (fs/binfmt_elf.c, load_elf_binary).
            let reason = reason(Why::Interpreter, &shown(&found.path).into());
            match self.files.find(Path::new(interpreter)) {
                Some(file) => drop(self.open(&file, &reason)?),
                None => self.missing.push(MissingFile { name: interpreter.clone(), reason }),
            }
        }
        let Libraries { found, missing } = libraries::load(self.files, &found.path, elf, &self.linker);
        for library in found {
            self.open(&library.file, &reason(Why::Library, &library.by))?;
        }
        let missing = missing.into_iter();
        self.missing.extend(missing.map(|(name, by)| MissingFile { name, reason: reason(Why::Library, &by) }));
        Ok(())
    }

    /// Adds what a text names, and the interpreter of a script. `is_whole` is whether `text` is the whole file.
    fn read_text(&mut self, found: &FoundFile, text: &[u8], is_whole: bool) -> Result<(), StartError> {
        let shebang = Shebang::parse(text);
        let mut added = Vec::new();
        if let Some(Shebang { interpreter, program }) = &shebang {
            added.extend(tasks(vec![interpreter.into()], Why::Interpreter, found));
            let program = program.as_ref().and_then(|name| self.program(name));
            added.extend(tasks(program.into_iter().collect(), Why::Interpreter, found));
        }
        if is_whole && !text.contains(&0) {
            let named = text::store_paths(text);
            // A wrapper sets PATH before it runs commands.
            let (directories, named) = named.into_iter().partition::<Vec<_>, _>(|path| is_searched(path));
            for directory in directories {
                self.add_directory(directory)?;
            }
            if shebang.is_some_and(|shebang| shebang.is_shell()) {
                let text = String::from_utf8_lossy(text);
                let commands = text::commands(&text).into_iter().filter_map(|name| self.program(name)).collect();
                added.extend(tasks(commands, Why::Command, found));
            }
            added.extend(tasks(named, Why::Named, found));
        }
        self.push(added);
        Ok(())
    }

    /// Returns the result of the walk.
    pub fn finish(self, closure: Option<&Graph>) -> Start {
        let sizes = Sizes::new(self.files, closure);
        let mut paths = self.paths;
        for path in &mut paths {
            path.opened = path.files.iter().map(|file| file.size).sum();
            path.size = sizes.of_path(&path.path).unwrap_or(path.opened);
        }
        Start {
            size: sizes.total(),
            needed: paths.iter().map(|path| path.size).sum(),
            opened: paths.iter().map(|path| path.opened).sum(),
            paths,
            missing: self.missing,
        }
    }
}

fn tasks(paths: Vec<PathBuf>, why: Why, by: &FoundFile) -> Vec<Task> {
    let by: Arc<str> = shown(&by.path).into();
    let reason = Reason { why, by: Some(by) };
    paths.into_iter().map(|path| Task { path, reason: reason.clone() }).collect()
}

/// Whether a directory has this name because programs or libraries are searched in it.
fn is_searched(path: &Path) -> bool {
    path.file_name().is_some_and(|name| ["bin", "sbin", "lib"].iter().any(|known| name == *known))
}
