//! What a tree is made of: nodes with where they come from, and the entries that they become.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::{self, File, FileType, Metadata},
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{LayerError, Result, path_options::Attributes};

/// Where the files of a source are.
#[derive(Clone, Default)]
pub enum Files {
    /// At its path.
    #[default]
    InPlace,
    /// Here, unpacked: they stand for those of a store path.
    At(PathBuf),
    /// In a NAR, which is opened when its turn comes. Only a source that keeps its path can be one.
    Nar(Arc<OpenNar>),
}

/// Opens a NAR.
pub type OpenNar = dyn Fn() -> std::io::Result<Box<dyn Read + Send>> + Send + Sync;

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InPlace => f.write_str("InPlace"),
            Self::At(path) => f.debug_tuple("At").field(path).finish(),
            Self::Nar(_) => f.write_str("Nar"),
        }
    }
}

/// One entry, as it goes into a tar.
pub(super) struct Entry<'a> {
    /// The path in the layer, absolute.
    pub name: &'a [u8],
    /// The path it is read from.
    pub source: &'a Path,
    pub attributes: Attributes<'a>,
    /// Seconds since the epoch.
    pub mtime: u64,
    pub content: Content<'a>,
}

pub(super) enum Content<'a> {
    Directory,
    /// An open file and its size in bytes.
    File(File, u64),
    /// A file that is read from elsewhere, and its size in bytes.
    Data(&'a mut dyn Read, u64),
    /// Where it leads.
    Symlink(Vec<u8>),
    /// A device or a pipe, with its major and minor number.
    Special(tar::EntryType, (u64, u64)),
}

/// The file an entry is made from, and the options (by index) that apply.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub path: PathBuf,
    pub options: usize,
    pub files: Files,
}

impl Origin {
    /// What `name` is made from, which is directly below.
    pub fn child(&self, name: &OsStr) -> Self {
        let mut child = self.clone();
        child.push(name);
        child
    }

    pub fn push(&mut self, name: &OsStr) {
        self.path.push(name);
        if let Files::At(path) = &mut self.files {
            path.push(name);
        }
    }

    pub fn pop(&mut self) {
        self.path.pop();
        if let Files::At(path) = &mut self.files {
            path.pop();
        }
    }

    /// Permission bits; of what stands for a store path, those that Nix gives.
    pub fn mode(&self, metadata: &Metadata) -> u32 {
        match self.files {
            Files::At(_) if metadata.is_file() && metadata.mode() & 0o100 == 0 => 0o444,
            Files::At(_) => 0o555,
            Files::InPlace | Files::Nar(_) => metadata.mode() & 0o7777,
        }
    }

    /// The file itself.
    pub fn file(&self) -> &Path {
        match &self.files {
            Files::At(path) => path,
            Files::InPlace | Files::Nar(_) => &self.path,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Directory {
    /// `None` where only the paths below imply it.
    pub origin: Option<Origin>,
    /// Where one of those has options (by index) that hold above it.
    pub above: Option<usize>,
    pub children: BTreeMap<OsString, Node>,
}

#[derive(Debug)]
pub(super) enum Node {
    Directory(Directory),
    /// A file or a symlink.
    Leaf(Origin),
    /// A whole file tree at its own place, not listed yet.
    Whole(Origin),
}

impl Node {
    pub fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Directory(directory) => directory.origin.as_ref(),
            Self::Leaf(origin) | Self::Whole(origin) => Some(origin),
        }
    }
}

pub(super) fn list_whole(origin: &Origin) -> Result<Node> {
    fn node(origin: Origin, kind: FileType) -> Result<Node> {
        if !kind.is_dir() {
            return Ok(Node::Leaf(origin));
        }
        let mut children = BTreeMap::new();
        for (name, kind) in list(origin.file())? {
            let child = node(origin.child(&name), kind)?;
            children.insert(name, child);
        }
        let origin = Some(origin);
        Ok(Node::Directory(Directory { origin, children, above: None }))
    }
    if matches!(origin.files, Files::Nar(_)) {
        return Err(LayerError::PackedAndMoved(origin.path.clone()));
    }
    node(origin.clone(), stat(origin.file())?.file_type())
}

pub(super) fn stat(path: &Path) -> Result<Metadata> {
    fs::symlink_metadata(path).map_err(LayerError::io("reading", path))
}

/// A directory's names in bytewise order, whatever order the file system has.
pub(super) fn list(path: &Path) -> Result<Vec<(OsString, FileType)>> {
    let fail = || LayerError::io("listing", path);
    let mut names = fs::read_dir(path)
        .map_err(fail())?
        .map(|entry| entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?))))
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(fail())?;
    names.sort_unstable_by(|(one, _), (two, _)| one.cmp(two));
    Ok(names)
}
