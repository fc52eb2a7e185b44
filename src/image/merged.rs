//! The files of an image as a container has them, without unpacking them.
//!
//! ```text
//! layers of store paths          read in the store of this machine
//! packages at the root           read in the store of this machine: /bin/x is /nix/store/…-x/bin/x
//! other layers                   read from their tars, in temporary files
//! ```

use std::{
    borrow::Cow,
    cell::Cell,
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::{FileExt, MetadataExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use tar::EntryType;

use super::{
    Image, LayerBlob,
    error::{ImageError, Result},
    local_store,
};
use crate::{
    budget::{self, Budget, NAME_OVERHEAD},
    closure::StorePath,
    layer::{
        links,
        overlay::{LayerEffect, LayerLinks, Overlay},
        spool,
        untar::{TarEntry, TarReader},
    },
};

/// The maximum number of directories, links and files that are looked up. The start of a large program needs some ten thousand.
const SEARCHES: usize = 4_000_000;

/// The files of an image. In a store path that is read on this machine, files of other layers are not seen: store paths do not
/// change.
#[derive(Debug)]
pub struct MergedFiles {
    /// The store paths that are read on this machine.
    store: BTreeSet<PathBuf>,
    /// The packages whose files are at the root of the image.
    at_root: Vec<PathBuf>,
    entries: Overlay<MergedFile>,
    budget: Budget,
    /// The number of searches that are left.
    searches: Cell<usize>,
}

/// A file, directory or link.
#[derive(Clone, Debug)]
pub enum MergedFile {
    Directory,
    /// A link, and its target.
    Symlink(PathBuf),
    Regular {
        source: FileSource,
        /// The size in bytes.
        size: u64,
        is_executable: bool,
        /// The store path that contains the file.
        package: Option<PathBuf>,
    },
    /// A device or a pipe.
    Special,
}

/// The place of a file's bytes.
#[derive(Clone, Debug)]
pub enum FileSource {
    /// A file of this machine.
    Path(PathBuf),
    /// A file in an uncompressed layer, which begins at this byte.
    Tar(Arc<File>, u64),
    /// A file with holes, whose bytes are not read.
    Sparse,
}

/// A file that a path leads to.
#[derive(Clone, Debug)]
pub struct FoundFile {
    /// The path without links, relative to the root.
    pub path: PathBuf,
    /// The links on the way, relative to the root.
    pub links: Vec<PathBuf>,
    pub file: MergedFile,
}

impl MergedFiles {
    /// Reads the files of an image. Layers of unmodified store paths that this machine has are not read.
    ///
    /// # Errors
    ///
    /// If a layer cannot be read, or has more files than the limit.
    pub fn read(image: &Image) -> Result<Self> {
        let mut files = Self {
            store: BTreeSet::new(),
            at_root: Vec::new(),
            entries: Overlay::default(),
            budget: Budget::new(&budget::MERGED),
            searches: Cell::new(SEARCHES),
        };
        for layer in &image.layers {
            if is_in_store(layer) {
                files.store.extend(layer.paths.iter().cloned());
            } else {
                files.read_layer(layer)?;
            }
        }
        Ok(files)
    }

    /// Adds store paths of this machine, which no layer has yet. The files of those in `at_root` are at the root of the image.
    pub fn with_store_paths(
        mut self,
        paths: impl IntoIterator<Item = PathBuf>,
        at_root: impl IntoIterator<Item = PathBuf>,
    ) -> Self {
        self.store.extend(paths);
        self.at_root.extend(at_root);
        self
    }

    fn read_layer(&mut self, layer: &LayerBlob) -> Result<()> {
        let tar = Arc::new(layer.plain(|tar| spool(tar))?);
        let fail = |source| ImageError::Blob { digest: layer.diff_id, source };
        self.read_tar(&tar, &layer.moved).map_err(fail)?;
        self.entries.end_layer();
        Ok(())
    }

    fn read_tar(&mut self, tar: &Arc<File>, moved: &[PathBuf]) -> io::Result<()> {
        let mut reader = TarReader::seeking(io::BufReader::new(tar.try_clone()?));
        let mut links = LayerLinks::default();
        while let Some(entry) = reader.next_entry()? {
            let Some(effect) = links.place(&entry)? else { continue };
            let file = match entry.kind {
                EntryType::Link => self.entries.get(&links.hard_link_target(&entry)?).cloned(),
                _ => None,
            };
            self.entries.apply(&effect, entry.kind == EntryType::Directory);
            if let LayerEffect::At(path) = effect {
                let file = file.unwrap_or_else(|| file_of(&entry, tar, &path, moved));
                // A hard link to a symlink has its target.
                let target = if let MergedFile::Symlink(target) = &file { target.as_os_str().len() } else { 0 };
                self.budget.take(path.len() + target + NAME_OVERHEAD)?;
                self.entries.insert(path, file);
            }
        }
        Ok(())
    }

    /// Returns the file that `path` leads to. Links are followed as in a container. After too many searches, nothing is found.
    pub fn find(&self, path: &Path) -> Option<FoundFile> {
        if self.is_exhausted() {
            return None;
        }
        let mut links = Vec::new();
        // It is called for each part of the path, and of the targets of links.
        let target = |here: &Path| {
            self.searches.set(self.searches.get().saturating_sub(1));
            match self.get(here).filter(|_| !self.is_exhausted()) {
                Some(MergedFile::Symlink(target)) => {
                    links.push(here.to_owned());
                    Some(Cow::Owned(target))
                }
                _ => None,
            }
        };
        let path = links::follow(path, target).ok()?;
        Some(FoundFile { file: self.get(&path)?, path, links })
    }

    /// Whether there were too many searches.
    pub fn is_exhausted(&self) -> bool {
        self.searches.get() == 0
    }

    /// Returns the file at a path whose parents are no links.
    fn get(&self, path: &Path) -> Option<MergedFile> {
        if let Some(package) = self.package(path) {
            return file_at(&Path::new("/").join(path), &package);
        }
        let at_root = |package: &PathBuf| file_at(&package.join(path), package);
        let from_layers = || self.entries.get(path.as_os_str().as_bytes()).cloned();
        self.at_root.iter().rev().find_map(at_root).or_else(from_layers)
    }

    /// Returns the store path on this machine that contains a path of the image.
    fn package(&self, path: &Path) -> Option<PathBuf> {
        let store = local_store().as_path();
        let below = path.strip_prefix(store.strip_prefix("/").unwrap_or(store)).ok()?;
        let package = store.join(below.components().next()?);
        self.store.contains(&package).then_some(package)
    }

    /// Returns the store path that contains a path of the image, which is relative to the root.
    pub fn store_path(&self, path: &Path) -> Option<PathBuf> {
        let named = || StorePath::from_entry_name(path.as_os_str().as_bytes());
        self.package(path).or_else(|| named().map(|path| path.as_path().to_owned()))
    }

    /// Returns the store paths that are read on this machine.
    pub fn local_store_paths(&self) -> impl Iterator<Item = &Path> {
        self.store.iter().map(PathBuf::as_path)
    }

    /// Returns the size in bytes of each file that is read from a layer, with the store path that contains it.
    pub fn sizes(&self) -> impl Iterator<Item = (Option<&Path>, u64)> {
        self.entries.iter().filter_map(|(_, file)| match file {
            MergedFile::Regular { size, package, .. } => Some((package.as_deref(), *size)),
            _ => None,
        })
    }
}

impl MergedFile {
    /// Opens a regular file. Other files, and those with holes, are empty.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened.
    pub fn open(&self) -> io::Result<Section> {
        let Self::Regular { source, size, .. } = self else { return Ok(Section::default()) };
        let (file, start) = match source {
            FileSource::Path(path) => (Arc::new(File::open(path)?), 0),
            FileSource::Tar(file, start) => (Arc::clone(file), *start),
            FileSource::Sparse => return Ok(Section::default()),
        };
        Ok(Section { file: Some(file), start, size: *size, at: 0 })
    }
}

/// The bytes of a file, which may be a part of another one.
#[derive(Clone, Debug, Default)]
pub struct Section {
    file: Option<Arc<File>>,
    start: u64,
    size: u64,
    at: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(self.at)).unwrap_or(usize::MAX).min(buffer.len());
        let Some(file) = self.file.as_ref().filter(|_| left > 0) else { return Ok(0) };
        let read = file.read_at(&mut buffer[..left], self.start.saturating_add(self.at))?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Section {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// Whether a layer is made from unmodified store paths that this machine has.
fn is_in_store(layer: &LayerBlob) -> bool {
    let is_here = |path: &PathBuf| {
        path.to_str().is_some_and(|path| local_store().parse(path).is_ok()) && path.symlink_metadata().is_ok()
    };
    layer.is_unmodified && !layer.paths.is_empty() && layer.paths.iter().all(is_here)
}

/// Returns a file of this machine.
fn file_at(path: &Path, package: &Path) -> Option<MergedFile> {
    let metadata = fs::symlink_metadata(path).ok()?;
    Some(if metadata.is_symlink() {
        MergedFile::Symlink(fs::read_link(path).ok()?)
    } else if metadata.is_dir() {
        MergedFile::Directory
    } else if metadata.is_file() {
        MergedFile::Regular {
            source: FileSource::Path(path.to_owned()),
            size: metadata.len(),
            is_executable: metadata.mode() & 0o111 != 0,
            package: Some(package.to_owned()),
        }
    } else {
        MergedFile::Special
    })
}

/// Returns the file of an entry at `path`. A file outside of the store belongs to the package in `moved` that has it.
fn file_of(entry: &TarEntry, tar: &Arc<File>, path: &[u8], moved: &[PathBuf]) -> MergedFile {
    match entry.kind {
        EntryType::Directory => MergedFile::Directory,
        EntryType::Symlink => MergedFile::Symlink(std::ffi::OsString::from_vec(entry.link.clone()).into()),
        EntryType::Regular | EntryType::Continuous => {
            let below = Path::new(std::ffi::OsStr::from_bytes(path));
            let is_origin = |package: &&PathBuf| package.join(below).symlink_metadata().is_ok();
            let origin = || moved.iter().find(is_origin).cloned();
            let source = match &entry.holes {
                None => FileSource::Tar(Arc::clone(tar), entry.position),
                Some(_) => FileSource::Sparse,
            };
            MergedFile::Regular {
                source,
                size: entry.holes.as_ref().map_or(entry.size, |holes| holes.size),
                is_executable: entry.mode & 0o111 != 0,
                package: StorePath::from_entry_name(path).map(|path| path.as_path().to_owned()).or_else(origin),
            }
        }
        _ => MergedFile::Special,
    }
}
