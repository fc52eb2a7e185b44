//! The nodes of a tree with the files that they are made from, and the entries that they become.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::{self, File, FileType, Metadata},
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{LayerError, Result, path_options::EntryAttributes};

/// The location of the files of a source.
#[derive(Clone, Default)]
pub enum SourceFiles {
    /// The path of the source.
    #[default]
    InPlace,
    /// An unpacked directory that replaces a store path.
    At(PathBuf),
    /// A NAR, which is opened when it is needed. The location of such a source in the image is its path.
    Nar(Arc<OpenNar>),
}

pub type OpenNar = dyn Fn() -> std::io::Result<Box<dyn Read + Send>> + Send + Sync;

impl std::fmt::Debug for SourceFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InPlace => f.write_str("InPlace"),
            Self::At(path) => f.debug_tuple("At").field(path).finish(),
            Self::Nar(_) => f.write_str("Nar"),
        }
    }
}

/// An entry of a tar.
pub(super) struct TreeEntry<'a> {
    /// The absolute path in the layer.
    pub name: &'a [u8],
    /// The path of the file.
    pub source: &'a Path,
    pub attributes: EntryAttributes<'a>,
    /// In seconds since the epoch.
    pub mtime: u64,
    pub content: NodeContent<'a>,
}

pub(super) enum NodeContent<'a> {
    Directory,
    /// An open file and its size in bytes.
    File(File, u64),
    /// A file that is read from elsewhere, and its size in bytes.
    Data(&'a mut dyn Read, u64),
    /// The target of a link.
    Symlink(Vec<u8>),
    /// A device or a pipe, with its major and minor number.
    Special(tar::EntryType, (u64, u64)),
}

/// The file that an entry is made from, and the index of its options.
#[derive(Clone, Debug)]
pub(super) struct EntryOrigin {
    pub path: PathBuf,
    pub options: usize,
    pub files: SourceFiles,
}

impl EntryOrigin {
    /// Returns the origin of `name`, an entry of this directory.
    pub fn child(&self, name: &OsStr) -> Self {
        let mut child = self.clone();
        child.push(name);
        child
    }

    pub fn push(&mut self, name: &OsStr) {
        self.path.push(name);
        if let SourceFiles::At(path) = &mut self.files {
            path.push(name);
        }
    }

    pub fn pop(&mut self) {
        self.path.pop();
        if let SourceFiles::At(path) = &mut self.files {
            path.pop();
        }
    }

    /// Returns the permission bits. Files that replace a store path have the bits that Nix sets.
    pub fn mode(&self, metadata: &Metadata) -> u32 {
        match self.files {
            SourceFiles::At(_) if metadata.is_file() && metadata.mode() & 0o100 == 0 => 0o444,
            SourceFiles::At(_) => 0o555,
            SourceFiles::InPlace | SourceFiles::Nar(_) => metadata.mode() & 0o7777,
        }
    }

    /// Returns the path of the file.
    pub fn file(&self) -> &Path {
        match &self.files {
            SourceFiles::At(path) => path,
            SourceFiles::InPlace | SourceFiles::Nar(_) => &self.path,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct TreeDirectory {
    /// `None` if the directory exists only because of the paths below it.
    pub origin: Option<EntryOrigin>,
    /// The index of the options of a path below that apply to the directories above it.
    pub above: Option<usize>,
    pub children: BTreeMap<OsString, TreeNode>,
}

#[derive(Debug)]
pub(super) enum TreeNode {
    Directory(TreeDirectory),
    /// A file or a symlink.
    Leaf(EntryOrigin),
    /// A complete file tree at its original location, which is not listed yet.
    Whole(EntryOrigin),
}

impl TreeNode {
    pub fn origin(&self) -> Option<&EntryOrigin> {
        match self {
            Self::Directory(directory) => directory.origin.as_ref(),
            Self::Leaf(origin) | Self::Whole(origin) => Some(origin),
        }
    }
}

pub(super) fn list_whole(origin: &EntryOrigin) -> Result<TreeNode> {
    fn node(origin: EntryOrigin, kind: FileType) -> Result<TreeNode> {
        if !kind.is_dir() {
            return Ok(TreeNode::Leaf(origin));
        }
        let mut children = BTreeMap::new();
        for (name, kind) in list(origin.file())? {
            let child = node(origin.child(&name), kind)?;
            children.insert(name, child);
        }
        let origin = Some(origin);
        Ok(TreeNode::Directory(TreeDirectory { origin, children, above: None }))
    }
    if matches!(origin.files, SourceFiles::Nar(_)) {
        return Err(LayerError::PackedAndMoved(origin.path.clone()));
    }
    node(origin.clone(), stat(origin.file())?.file_type())
}

pub(super) fn stat(path: &Path) -> Result<Metadata> {
    fs::symlink_metadata(path).map_err(LayerError::io("reading", path))
}

/// Lists the names of a directory in bytewise order, which does not depend on the file system.
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
