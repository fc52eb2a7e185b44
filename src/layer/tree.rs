//! The contents of a layer: sources merged into one tree, in order.
//!
//! ```text
//! /nix/store/…-hello   stays        /                       implied, 0755
//! /nix/store/…-env     ^… → ""      /bin          from …-env, 0555
//!                                   /bin/x        from …-env
//!                                   /nix          implied, 0755
//!                                   /nix/store    implied, 0755
//!                                   /nix/store/…-hello, …
//! ```
//!
//! Names are in bytewise order at each level, and a directory comes before its contents. A source that keeps its path
//! is one node and is listed only while it is walked, so memory does not grow with the files of a closure. A source
//! that is moved is listed when it is added, to merge it with the others.

use std::{
    collections::btree_map,
    ffi::{OsStr, OsString},
    fs::{self, File, FileType, OpenOptions},
    io,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::OpenOptionsExt,
    },
    path::{Component, Path, PathBuf},
};

use rustix::fs::OFlags;

use super::{
    Dirlinks, LayerError, PathOptions, Result,
    merge::{merge, merge_origin},
    node::{EntryOrigin, NodeContent, SourceFiles, TreeDirectory, TreeEntry, TreeNode, list, list_whole, stat},
    path_options::{Compiled, EntryAttributes},
};

/// A store path (or any file or directory) that goes into a layer.
#[derive(Clone, Debug)]
pub struct Source {
    /// The absolute path.
    pub path: PathBuf,
    /// The location of its files.
    pub files: SourceFiles,
    /// The locations and owners of its files.
    pub options: PathOptions,
    /// Whether links to directories become directories: see [`Dirlinks`].
    pub follow: bool,
}

/// The contents of a layer.
#[derive(Debug)]
pub struct Tree {
    root: TreeDirectory,
    options: Vec<Compiled>,
    mtime: u64,
    /// Whether the tree has no entry for the root directory.
    rootless: bool,
}

impl Default for Tree {
    fn default() -> Self {
        Self { root: TreeDirectory::default(), options: Vec::new(), mtime: super::MTIME, rootless: false }
    }
}

impl Tree {
    /// Merges `sources`.
    ///
    /// # Errors
    ///
    /// [`LayerError::Clash`] if two sources have different files for one path; [`LayerError::Destination`] if a rewrite
    /// results in a path that is not absolute or not normalized; [`LayerError::Io`] if a moved source cannot be read.
    pub fn new(sources: &[Source]) -> Result<Self> {
        let mut tree = Self::default();
        let mut rewritten = Vec::new();
        for (index, source) in sources.iter().enumerate() {
            let compiled = Compiled::new(&source.options)?;
            let origin = EntryOrigin { path: source.path.clone(), options: index, files: source.files.clone() };
            let stays = compiled.stays() && !source.follow;
            tree.options.push(compiled);
            if stays {
                let place = destination(&source.path, source.path.as_os_str().as_bytes())?;
                tree.place(&place, TreeNode::Whole(origin))?;
            } else {
                let reading = LayerError::io("following the links of", &source.path);
                rewritten
                    .push((origin, source.follow.then(|| Dirlinks::new(&source.path)).transpose().map_err(reading)?));
            }
        }
        // After the sources that keep their paths: most trees then never list one of those.
        for (origin, follow) in rewritten {
            tree.place_rewritten(&origin.path.clone(), origin, follow.as_ref())?;
        }
        Ok(tree)
    }

    /// Sets another modification time for all entries, in seconds since the epoch.
    pub fn with_mtime(self, mtime: u64) -> Self {
        Self { mtime, ..self }
    }

    /// Removes the entry of the root directory, so that it has the attributes of a layer below.
    pub fn without_root(self) -> Self {
        Self { rootless: true, ..self }
    }

    /// Whether the tree has an entry at or below `place`.
    pub fn contains(&self, place: &Path) -> bool {
        let mut directory = &self.root;
        for part in place.components() {
            let Component::Normal(name) = part else { continue };
            match directory.children.get(name) {
                None => return false,
                Some(TreeNode::Directory(found)) => directory = found,
                Some(TreeNode::Leaf(_) | TreeNode::Whole(_)) => return true,
            }
        }
        true
    }

    /// Calls `visit` with every entry, in order.
    pub(super) fn walk(&self, visit: &mut dyn FnMut(TreeEntry<'_>) -> Result<()>) -> Result<()> {
        self.walk_directory(&self.root, &mut Vec::new(), visit)
    }

    fn walk_directory(
        &self,
        directory: &TreeDirectory,
        name: &mut Vec<u8>,
        visit: &mut dyn FnMut(TreeEntry<'_>) -> Result<()>,
    ) -> Result<()> {
        let shown = if name.is_empty() { b"/" } else { name.as_slice() };
        match &directory.origin {
            _ if self.rootless && name.is_empty() => {}
            Some(origin) => self.walk_one(origin, stat(origin.file())?.file_type(), shown, visit)?,
            // Only a rewrite of the user can result in such a directory.
            None => Compiled::default().check_name(shown, Path::new(OsStr::from_bytes(shown))).and_then(|()| {
                visit(TreeEntry {
                    name: shown,
                    source: Path::new(OsStr::from_bytes(shown)),
                    attributes: match directory.above {
                        Some(options) => self.options[options].attributes(shown, 0o755),
                        None => EntryAttributes::root(0o755),
                    },
                    mtime: self.mtime,
                    content: NodeContent::Directory,
                })
            })?,
        }
        for (child, node) in &directory.children {
            let length = name.len();
            name.push(b'/');
            name.extend_from_slice(child.as_bytes());
            match node {
                TreeNode::Directory(directory) => self.walk_directory(directory, name, visit)?,
                TreeNode::Leaf(origin) => self.walk_one(origin, stat(origin.file())?.file_type(), name, visit)?,
                TreeNode::Whole(origin @ EntryOrigin { files: SourceFiles::Nar(open), .. }) => {
                    let options = &self.options[origin.options];
                    super::nar::walk(open.as_ref(), &origin.path, options, self.mtime, &mut |entry| {
                        options.check_name(entry.name, entry.source)?;
                        visit(entry)
                    })?;
                }
                TreeNode::Whole(origin) => self.walk_whole(&mut origin.clone(), None, visit)?,
            }
            name.truncate(length);
        }
        Ok(())
    }

    /// Visits everything below `origin`, which keeps its path.
    fn walk_whole(
        &self,
        origin: &mut EntryOrigin,
        known: Option<FileType>,
        visit: &mut dyn FnMut(TreeEntry<'_>) -> Result<()>,
    ) -> Result<()> {
        let kind = match known {
            Some(kind) => kind,
            None => stat(origin.file())?.file_type(),
        };
        let name = without_case_hack(origin.path.as_os_str().as_bytes());
        self.walk_one(origin, kind, &name, visit)?;
        if kind.is_dir() {
            for (child, kind) in list(origin.file())? {
                origin.push(&child);
                self.walk_whole(origin, Some(kind), visit)?;
                origin.pop();
            }
        }
        Ok(())
    }

    fn walk_one(
        &self,
        origin: &EntryOrigin,
        kind: FileType,
        name: &[u8],
        visit: &mut dyn FnMut(TreeEntry<'_>) -> Result<()>,
    ) -> Result<()> {
        let (path, real) = (&origin.path, origin.file());
        let options = &self.options[origin.options];
        options.check_name(name, path)?;
        let owner = options.owner(path);
        let special = owner.and_then(|owner| special(owner.mode).map(|kind| (owner, kind)));
        let (mode, content) = if let Some((owner, kind)) = special {
            (owner.mode & 0o7777, NodeContent::Special(kind, owner.device))
        } else if kind.is_file() {
            let file = open_file(real).map_err(LayerError::io("opening", real))?;
            let metadata = file.metadata().map_err(LayerError::io("reading", real))?;
            // Another file can have replaced the listed one.
            if !metadata.is_file() {
                return Err(LayerError::Kind(path.clone()));
            }
            (origin.mode(&metadata), NodeContent::File(file, metadata.len()))
        } else if kind.is_symlink() {
            let target = fs::read_link(real).map_err(LayerError::io("reading the link", real))?;
            (0o777, NodeContent::Symlink(target.into_os_string().into_vec()))
        } else if kind.is_dir() {
            (origin.mode(&stat(real)?), NodeContent::Directory)
        } else {
            return Err(LayerError::Kind(path.clone()));
        };
        let attributes = options.attributes(path.as_os_str().as_bytes(), mode);
        let mtime = owner.and_then(|owner| owner.mtime).unwrap_or(self.mtime);
        visit(TreeEntry { name, source: path, attributes, mtime, content })
    }

    /// Lists `origin` and adds each of its files at the path that the options give to `seen`. `seen` is the path of the
    /// file, except below followed links.
    fn place_rewritten(&mut self, seen: &Path, mut origin: EntryOrigin, follow: Option<&Dirlinks>) -> Result<()> {
        if matches!(origin.files, SourceFiles::Nar(_)) {
            return Err(LayerError::PackedAndMoved(origin.path));
        }
        let mut kind = stat(origin.file())?.file_type();
        if kind.is_symlink()
            && let Some(target) = follow.and_then(|dirlinks| dirlinks.directory_of(&origin.path))
        {
            kind = stat(&target)?.file_type();
            origin.path = target;
        }
        let rewritten = self.options[origin.options].destination(seen.as_os_str().as_bytes());
        let place = destination(seen, &rewritten)?;
        if kind.is_dir() {
            let directory = TreeDirectory { origin: Some(origin.clone()), ..TreeDirectory::default() };
            self.place(&place, TreeNode::Directory(directory))?;
            for (child, _) in list(origin.file())? {
                self.place_rewritten(&seen.join(&child), origin.child(&child), follow)?;
            }
            Ok(())
        } else if place.is_empty() {
            Err(LayerError::RootFile(origin.path))
        } else {
            self.place(&place, TreeNode::Leaf(origin))
        }
    }

    /// Adds a node (a directory without children, or anything else) at `place`, a list of names from the root.
    fn place(&mut self, place: &[OsString], node: TreeNode) -> Result<()> {
        let Self { root, options, .. } = self;
        let Some((last, parents)) = place.split_last() else {
            return match node {
                TreeNode::Directory(TreeDirectory { origin: Some(origin), .. }) => {
                    merge_origin(&mut root.origin, origin, options, Path::new("/"))
                }
                TreeNode::Leaf(origin) | TreeNode::Whole(origin) => Err(LayerError::RootFile(origin.path)),
                TreeNode::Directory(_) => Ok(()),
            };
        };
        let above = node.origin().map(|origin| origin.options).filter(|&at| options[at].holds_above());
        let mut directory = root;
        for (depth, parent) in parents.iter().enumerate() {
            let child = directory
                .children
                .entry(parent.clone())
                .or_insert_with(|| TreeNode::Directory(TreeDirectory::default()));
            if let TreeNode::Whole(origin) = child {
                *child = list_whole(origin)?;
            }
            directory = match child {
                TreeNode::Directory(directory) => {
                    directory.above = directory.above.or(above);
                    directory
                }
                TreeNode::Leaf(first) | TreeNode::Whole(first) => {
                    return Err(LayerError::Clash {
                        place: path_of(&place[..=depth]),
                        why: "one is not a directory, but the other has files below it",
                        first: first.path.clone(),
                        second: node.origin().map_or_else(PathBuf::new, |origin| origin.path.clone()),
                    });
                }
            };
        }
        match directory.children.entry(last.clone()) {
            btree_map::Entry::Vacant(vacant) => {
                vacant.insert(node);
                Ok(())
            }
            btree_map::Entry::Occupied(mut occupied) => merge(occupied.get_mut(), node, options, &path_of(place)),
        }
    }
}

/// Opens a file that was listed. A link that has replaced it is not followed, and a pipe does not block.
fn open_file(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Returns the type of a device or pipe for which fakeroot uses a regular file.
fn special(mode: u32) -> Option<tar::EntryType> {
    match mode & 0o170000 {
        0o020000 => Some(tar::EntryType::Char),
        0o060000 => Some(tar::EntryType::Block),
        0o010000 => Some(tar::EntryType::Fifo),
        _ => None,
    }
}

/// Returns the names from the root of the image to `rewritten`.
fn destination(source: &Path, rewritten: &[u8]) -> Result<Vec<OsString>> {
    let parts = without_case_hack(rewritten);
    let parts: Vec<&[u8]> = parts.split(|&byte| byte == b'/').filter(|part| !part.is_empty()).collect();
    let absolute = rewritten.is_empty() || rewritten.starts_with(b"/");
    if !absolute || parts.iter().any(|part| matches!(*part, b"." | b"..")) {
        return Err(LayerError::Destination {
            path: source.to_owned(),
            destination: String::from_utf8_lossy(rewritten).into_owned(),
        });
    }
    Ok(parts.into_iter().map(|part| OsString::from_vec(part.to_vec())).collect())
}

/// Removes the suffix `~nix~case~hack~1`, which Nix on macOS appends to names that differ only in case.
fn without_case_hack(path: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    if !cfg!(target_os = "macos") {
        return path.into();
    }
    const MARK: &[u8] = b"~nix~case~hack~";
    let part = |part: &[u8]| {
        let end = part.windows(MARK.len()).position(|window| window == MARK);
        part[..end.unwrap_or(part.len())].to_vec()
    };
    path.split(|&byte| byte == b'/').map(part).collect::<Vec<_>>().join(&b'/').into()
}

fn path_of(place: &[OsString]) -> PathBuf {
    Path::new("/").join(place.iter().collect::<PathBuf>())
}
