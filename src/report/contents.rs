//! Compares the files of two builds: which files differ, and where.
//!
//! ```text
//! layers of an image ──▶ temporary files ──┐
//!                                          ├──▶ Contents: name ──▶ attributes, position of the bytes ──▶ FileDifference
//! a directory of the store ────────────────┘
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::{FileExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use serde::Serialize;
use tar::EntryType;

use super::cause::{Around, Cause, WINDOW, cause};
use crate::{
    closure::StorePath,
    image::{ImageError, LayerBlob},
    layer::{
        spool,
        untar::{TarReader, Xattrs},
    },
};

/// The bytes that are compared at once.
const BLOCK: u64 = 256 * 1024;
/// The largest file that is examined for another order of its bytes.
const REORDERED: u64 = 64 << 20;

/// The files of layers or of a directory.
#[derive(Debug, Default)]
pub struct TreeContents {
    entries: BTreeMap<Vec<u8>, FileEntry>,
    tars: Vec<File>,
}

#[derive(Debug)]
struct FileEntry {
    kind: FileKind,
    mode: u32,
    /// Known in layers only.
    header: Option<EntryHeader>,
    /// The numbers of the layers that have the file, counted from 1.
    layers: BTreeSet<usize>,
}

#[derive(Debug, PartialEq, Eq)]
struct EntryHeader {
    owner: (u64, u64),
    mtime: Option<u64>,
    xattrs: Xattrs,
}

#[derive(Debug)]
enum FileKind {
    Directory,
    File {
        bytes: FileSource,
        size: u64,
    },
    Symlink(Vec<u8>),
    /// Hard links, devices and others.
    Other(u8, Vec<u8>),
}

#[derive(Debug)]
enum FileSource {
    Tar { number: usize, position: u64 },
    Path(PathBuf),
}

/// A file that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileDifference {
    /// The path of the file.
    pub file: String,
    #[serde(flatten)]
    pub what: What,
}

/// How a file differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "what")]
pub enum What {
    /// Only the first build has it.
    OnlyFirst,
    /// Only the second build has it.
    OnlySecond,
    /// It is a directory in one and a file in the other, or has other attributes.
    Attribute {
        /// The name: type, mode, target, owner, mtime, xattrs.
        name: &'static str,
        first: String,
        second: String,
    },
    /// Its bytes differ.
    #[serde(rename_all = "camelCase")]
    Bytes {
        /// The position of the first different byte.
        offset: u64,
        /// The number of bytes that differ up to the length of the shorter file.
        count: u64,
        first_size: u64,
        second_size: u64,
        cause: Cause,
    },
}

impl TreeContents {
    /// Adds the files of a layer. Its blob is verified.
    ///
    /// # Errors
    ///
    /// If the layer cannot be read.
    pub fn add_layer(&mut self, number: usize, layer: &LayerBlob) -> Result<(), ImageError> {
        let tar = layer.plain(|tar| spool(tar))?;
        let fail = |source| ImageError::Blob { digest: layer.diff_id, source };
        self.add_tar(number, tar).map_err(fail)
    }

    fn add_tar(&mut self, layer: usize, tar: File) -> io::Result<()> {
        let number = self.tars.len();
        let mut reader = TarReader::seeking(io::BufReader::new(tar.try_clone()?));
        while let Some(found) = reader.next_entry()? {
            let name = found.name.strip_prefix(b".").unwrap_or(&found.name);
            let name: Vec<u8> = name.iter().copied().skip_while(|byte| *byte == b'/').collect();
            let name = name.strip_suffix(b"/").unwrap_or(&name).to_vec();
            let kind = match found.kind {
                EntryType::Directory => FileKind::Directory,
                EntryType::Symlink => FileKind::Symlink(found.link),
                EntryType::Regular | EntryType::Continuous if found.holes.is_none() => {
                    FileKind::File { bytes: FileSource::Tar { number, position: found.position }, size: found.size }
                }
                other => FileKind::Other(other.as_byte(), found.link),
            };
            let header = EntryHeader { owner: (found.uid, found.gid), mtime: found.mtime, xattrs: found.xattrs };
            let before = self.entries.remove(&name).map(|entry| entry.layers).unwrap_or_default();
            let layers = before.into_iter().chain([layer]).collect();
            self.entries.insert(name, FileEntry { kind, mode: found.mode, header: Some(header), layers });
        }
        self.tars.push(tar);
        Ok(())
    }

    /// Reads a directory or file of the store. The names of its files begin with `name`.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn of_path(path: &Path, name: &Path) -> io::Result<Self> {
        let mut contents = Self::default();
        let mut left = vec![(path.to_owned(), name.to_owned())];
        while let Some((path, name)) = left.pop() {
            let metadata = fs::symlink_metadata(&path)?;
            let kind = if metadata.is_dir() {
                for entry in fs::read_dir(&path)? {
                    let entry = entry?;
                    left.push((entry.path(), name.join(entry.file_name())));
                }
                FileKind::Directory
            } else if metadata.is_symlink() {
                FileKind::Symlink(fs::read_link(&path)?.into_os_string().into_vec())
            } else {
                FileKind::File { bytes: FileSource::Path(path), size: metadata.len() }
            };
            let entry =
                FileEntry { kind, mode: metadata.permissions().mode() & 0o7777, header: None, layers: BTreeSet::new() };
            let name = name.as_os_str().as_bytes();
            contents.entries.insert(name.strip_prefix(b"/").unwrap_or(name).to_vec(), entry);
        }
        Ok(contents)
    }

    /// Returns the store paths that have files. An image without a closure does not list them.
    pub fn store_paths(&self) -> BTreeSet<StorePath> {
        self.entries.keys().filter_map(|name| StorePath::from_entry_name(name)).collect()
    }

    /// Returns the layers that have files below `path`.
    pub fn layers(&self, path: &Path) -> BTreeSet<usize> {
        self.below(path).flat_map(|(_, entry)| entry.layers.iter().copied()).collect()
    }

    /// The entries of a path: itself, and everything below it.
    fn below(&self, path: &Path) -> impl Iterator<Item = (&Vec<u8>, &FileEntry)> {
        let bytes = path.as_os_str().as_bytes();
        let prefix = bytes.strip_prefix(b"/").unwrap_or(bytes).to_vec();
        let below = prefix.clone();
        let is_below = move |name: &[u8]| {
            below.is_empty() || name.strip_prefix(&below[..]).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        };
        // Names with the prefix are neighbours.
        let (start, beginning) = (prefix.clone(), prefix.clone());
        self.entries
            .range(start..)
            .take_while(move |(name, _)| name.starts_with(&beginning))
            .filter(move |(name, _)| is_below(name))
    }

    /// Compares what both have below `path`: the contents of a store path, without owners, times and permissions that a store
    /// does not have.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub fn compare_store_path(&self, other: &Self, path: &Path) -> io::Result<Vec<FileDifference>> {
        let [first, second] = [self, other].map(|side| side.below(path).collect::<BTreeMap<_, _>>());
        self.differences(other, &first, &second, true)
    }

    /// Compares everything, with owners, times and permissions.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub fn compare(&self, other: &Self) -> io::Result<Vec<FileDifference>> {
        let [first, second] = [self, other].map(|side| side.entries.iter().collect::<BTreeMap<_, _>>());
        self.differences(other, &first, &second, false)
    }

    fn differences(
        &self,
        other: &Self,
        first: &BTreeMap<&Vec<u8>, &FileEntry>,
        second: &BTreeMap<&Vec<u8>, &FileEntry>,
        is_store_path: bool,
    ) -> io::Result<Vec<FileDifference>> {
        let mut differences = Vec::new();
        let names: BTreeSet<&Vec<u8>> = first.keys().chain(second.keys()).copied().collect();
        for name in names {
            let what = match (first.get(name), second.get(name)) {
                (Some(first), Some(second)) => self.difference(first, other, second, is_store_path)?,
                (Some(_), None) => Some(What::OnlyFirst),
                _ => Some(What::OnlySecond),
            };
            let file = format!("/{}", String::from_utf8_lossy(name));
            differences.extend(what.map(|what| FileDifference { file, what }));
        }
        Ok(differences)
    }

    fn difference(
        &self,
        first: &FileEntry,
        other: &Self,
        second: &FileEntry,
        is_store_path: bool,
    ) -> io::Result<Option<What>> {
        let differ = |name, first: String, second: String| Ok(Some(What::Attribute { name, first, second }));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match (&first.kind, &second.kind) {
            (FileKind::Directory, FileKind::Directory) => {}
            (FileKind::Symlink(one), FileKind::Symlink(two)) if one == two => {}
            (FileKind::Symlink(one), FileKind::Symlink(two)) => return differ("target", text(one), text(two)),
            (FileKind::Other(one, link), FileKind::Other(two, target)) if one == two && link == target => {}
            (FileKind::File { bytes: one, size }, FileKind::File { bytes: two, size: other_size }) => {
                let (one, two) = (self.open(one)?, other.open(two)?);
                if let Some(what) = compare_bytes(&one, *size, &two, *other_size)? {
                    return Ok(Some(what));
                }
                if is_store_path && first.mode & 0o100 != second.mode & 0o100 {
                    return differ("mode", format!("{:o}", first.mode), format!("{:o}", second.mode));
                }
            }
            (one, two) => return differ("type", one.name().to_owned(), two.name().to_owned()),
        }
        let (Some(one), Some(two), false) = (&first.header, &second.header, is_store_path) else { return Ok(None) };
        if first.mode != second.mode {
            return differ("mode", format!("{:o}", first.mode), format!("{:o}", second.mode));
        }
        if one.owner != two.owner {
            let owner = |(uid, gid)| format!("{uid}:{gid}");
            return differ("owner", owner(one.owner), owner(two.owner));
        }
        if one.mtime != two.mtime {
            let time = |mtime: Option<u64>| mtime.map_or_else(|| "before 1970".to_owned(), |mtime| mtime.to_string());
            return differ("mtime", time(one.mtime), time(two.mtime));
        }
        let names = |xattrs: &Xattrs| xattrs.keys().map(|name| text(name)).collect::<Vec<_>>().join(", ");
        if one.xattrs != two.xattrs {
            return differ("xattrs", names(&one.xattrs), names(&two.xattrs));
        }
        Ok(None)
    }

    fn open(&self, source: &FileSource) -> io::Result<FileBytes> {
        Ok(match source {
            FileSource::Tar { number, position } => {
                FileBytes { file: self.tars[*number].try_clone()?, start: *position }
            }
            FileSource::Path(path) => FileBytes { file: File::open(path)?, start: 0 },
        })
    }
}

impl FileKind {
    fn name(&self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::File { .. } => "file",
            Self::Symlink(_) => "symlink",
            Self::Other(..) => "link or device",
        }
    }
}

/// The bytes of a file, which begin at `start` of another one.
struct FileBytes {
    file: File,
    start: u64,
}

impl FileBytes {
    fn read(&self, at: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, self.start + at)?;
        Ok(bytes)
    }

    fn counts(&self, size: u64) -> io::Result<[u64; 256]> {
        let mut counts = [0; 256];
        let mut at = 0;
        while at < size {
            let block = self.read(at, BLOCK.min(size - at))?;
            block.iter().for_each(|&byte| counts[usize::from(byte)] += 1);
            at += block.len() as u64;
        }
        Ok(counts)
    }
}

fn compare_bytes(first: &FileBytes, first_size: u64, second: &FileBytes, second_size: u64) -> io::Result<Option<What>> {
    let common = first_size.min(second_size);
    let (mut at, mut offset, mut count) = (0, None, 0);
    while at < common {
        let length = BLOCK.min(common - at);
        let (one, two) = (first.read(at, length)?, second.read(at, length)?);
        if one != two {
            let mut differing = one.iter().zip(&two).enumerate().filter(|(_, (a, b))| a != b);
            if let Some((index, _)) = differing.next() {
                offset.get_or_insert(at + index as u64);
                count += 1 + differing.count() as u64;
            }
        }
        at += length;
    }
    if offset.is_none() && first_size == second_size {
        return Ok(None);
    }
    let offset = offset.unwrap_or(common);
    let start = offset.saturating_sub(WINDOW as u64);
    let window = |bytes: &FileBytes, size: u64| bytes.read(start, (offset + WINDOW as u64).min(size) - start);
    let (one, two) = (window(first, first_size)?, window(second, second_size)?);
    let is_reordered = first_size == second_size
        && first_size <= REORDERED
        && first.counts(first_size)? == second.counts(second_size)?;
    let at = usize::try_from(offset - start).map_err(io::Error::other)?;
    let cause = cause(&Around { first: &one, second: &two, at }, is_reordered);
    Ok(Some(What::Bytes { offset, count, first_size, second_size, cause }))
}

#[cfg(test)]
mod tests;
