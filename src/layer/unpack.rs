//! Unpacks layers below a directory with the semantics of engines: the reverse of [`Tree`](super::Tree).
//!
//! A layer is first unpacked to a separate directory, which then covers the root: see [`overlay`](super::overlay).
//! Layers are untrusted, so no entry leads outside: names have no `..`, links are followed as if the directory were the
//! root, files are made through handles ([`Rooted`]), and their sizes are limited.

use std::{
    ffi::OsStr,
    fs::{self, File, Permissions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
};

use tar::EntryType;

use super::{
    Owner, Owners,
    links::PATH_LIMIT,
    overlay::{LayerEffect, LayerLinks},
    rooted::{Directory, Rooted},
    scratch::{FreeSpace, INTERVAL},
    untar::{TarEntry, TarReader},
};
use crate::budget::{self, Budget, Limits, NAME_OVERHEAD};

/// The maximum depth of directories.
const DEPTH_LIMIT: usize = 512;

/// The limits for the unpacked files of all layers of an image.
#[derive(Debug)]
pub struct Disk {
    budget: Budget,
    space: FreeSpace,
}

impl Default for Disk {
    fn default() -> Self {
        Self::new(&budget::UNPACKED)
    }
}

impl Disk {
    /// Creates the limits of an image.
    pub(super) fn new(limits: &'static Limits) -> Self {
        Self { budget: Budget::new(limits), space: FreeSpace::default() }
    }

    /// Counts a new file.
    fn add_file(&mut self, file: &File) -> io::Result<()> {
        self.budget.take_parts(1)?;
        self.space.add_file(file)
    }

    /// Counts bytes that were written to a file.
    pub(super) fn add(&mut self, file: &File, bytes: u64) -> io::Result<()> {
        self.budget.take_bytes(bytes)?;
        self.space.add(file, bytes)
    }

    /// Copies `data` to a file.
    fn copy(&mut self, mut data: impl Read, file: &mut File) -> io::Result<()> {
        loop {
            let copied = io::copy(&mut data.by_ref().take(INTERVAL), file)?;
            self.add(file, copied)?;
            if copied < INTERVAL {
                return Ok(());
            }
        }
    }
}

/// Unpacks one layer (its uncompressed tar) below `root`, over existing files. `owners` receives the properties that
/// the file system cannot store, by path: owners, setuid bits, devices and extended attributes.
///
/// # Errors
///
/// If the tar is malformed, a name leads outside, or the file system reports an error.
pub fn unpack(layer: impl Read, root: &Path, owners: &mut Owners) -> io::Result<()> {
    unpack_within(layer, root, owners, &mut Disk::default())
}

/// The same as [`unpack`], with limits for all layers of an image together.
///
/// # Errors
///
/// Those of [`unpack`], and if the image exceeds the limits of `disk`.
pub fn unpack_within(layer: impl Read, root: &Path, owners: &mut Owners, disk: &mut Disk) -> io::Result<()> {
    unpack_entries(layer, root, owners, disk, false)
}

/// The same as [`unpack`]. `owners` receives modification times, too.
///
/// # Errors
///
/// Those of [`unpack`], and an error for times before 1970.
pub fn unpack_with_times(layer: impl Read, root: &Path, owners: &mut Owners) -> io::Result<()> {
    unpack_entries(layer, root, owners, &mut Disk::default(), true)
}

fn unpack_entries(
    layer: impl Read,
    root: &Path,
    owners: &mut Owners,
    disk: &mut Disk,
    keeps_times: bool,
) -> io::Result<()> {
    let mut layer = TarReader::new(layer);
    // A directory next to the root is on the same file system, so that files can be moved.
    let beside = root.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let scratch = tempfile::Builder::new().prefix(".layer-").tempdir_in(beside)?;
    let mut unpacking = Unpacking {
        root: Rooted::open(scratch.path())?,
        links: LayerLinks::default(),
        owners: Owners::new(),
        hidden: Vec::new(),
        disk,
        keeps_times,
        bounds: Bounds::default(),
    };
    while let Some(entry) = layer.next_entry()? {
        let name = PathBuf::from(OsStr::from_bytes(&entry.name));
        let bounded = unpacking.bounds.entry(&name);
        bounded
            .and_then(|()| unpacking.entry(&entry, &mut layer))
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", name.display())))?;
    }
    let Unpacking { owners: layer_owners, hidden, .. } = unpacking;
    lay_over(scratch.path(), &layer_owners, &hidden, root, owners)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Limits of the entries and names of a layer. They are beyond those of all ordinary images.
#[derive(Debug)]
pub struct Bounds(Budget);

impl Default for Bounds {
    fn default() -> Self {
        Self(Budget::new(&budget::LAYER))
    }
}

impl Bounds {
    /// Counts an entry.
    ///
    /// # Errors
    ///
    /// If there are too many, or the name is too long or too deep.
    pub fn entry(&mut self, name: &Path) -> io::Result<()> {
        self.0.take_parts(1)?;
        if name.as_os_str().len() > PATH_LIMIT || name.components().count() > DEPTH_LIMIT {
            return Err(invalid(&format!("a name of more than {PATH_LIMIT} bytes or {DEPTH_LIMIT} directories")));
        }
        Ok(())
    }

    /// Counts a name that is kept in memory. A deep entry has a name for each of its directories.
    ///
    /// # Errors
    ///
    /// If all names together exceed the limit.
    pub fn keep(&mut self, name: &Path) -> io::Result<()> {
        Ok(self.0.take_bytes((name.as_os_str().len() + NAME_OVERHEAD) as u64)?)
    }
}

/// A layer that is being unpacked to its own directory.
struct Unpacking<'a> {
    root: Rooted,
    links: LayerLinks,
    owners: Owners,
    /// Places that this layer hides in lower layers.
    hidden: Vec<LayerEffect>,
    disk: &'a mut Disk,
    keeps_times: bool,
    bounds: Bounds,
}

impl Unpacking<'_> {
    fn entry(&mut self, entry: &TarEntry, data: &mut impl Read) -> io::Result<()> {
        let Some(place) = self.links.place(entry)? else { return Ok(()) };
        let directory = self.root.make(Path::new(OsStr::from_bytes(place.directory())))?;
        let LayerEffect::At(path) = &place else {
            self.bounds.keep(directory.path())?;
            self.hidden.push(place);
            return Ok(());
        };
        let path = Path::new(OsStr::from_bytes(path));
        let Some(file_name) = path.file_name() else { return Ok(()) };
        let place = directory.path().join(file_name);
        self.clear(entry, &place)?;
        if let Some(owner) = self.write(entry, &directory, file_name, data)? {
            self.bounds.keep(&place)?;
            self.owners.insert(place, owner);
        }
        Ok(())
    }

    /// Removes the file at the place of an entry, unless both are directories.
    fn clear(&mut self, entry: &TarEntry, place: &Path) -> io::Result<()> {
        match fs::symlink_metadata(place) {
            Ok(there) if there.is_dir() && entry.kind == EntryType::Directory => Ok(()),
            Ok(_) => remove(place, &mut self.owners),
            Err(_) => Ok(()),
        }
    }

    /// Makes the file of an entry. Returns its record.
    fn write(
        &mut self,
        entry: &TarEntry,
        directory: &Directory,
        name: &OsStr,
        data: &mut impl Read,
    ) -> io::Result<Option<Owner>> {
        // The builder must be able to read and write the file. `owners` has the mode of the layer.
        let usable = |bits| entry.mode & 0o777 | bits;
        let type_bits = match entry.kind {
            EntryType::Directory => {
                if !directory.path().join(name).is_dir() {
                    directory.create_directory(name)?;
                }
                directory.set_mode(name, usable(0o700))?;
                0o040000
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                write_file(entry, directory.create_file(name)?, data, usable(0o600), self.disk)?;
                0o100000
            }
            EntryType::Symlink => {
                directory.symlink(Path::new(OsStr::from_bytes(&entry.link)), name)?;
                0o120000
            }
            EntryType::Link => return self.hard_link(entry, directory, name),
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                // A regular file stands for it, as with fakeroot.
                let file = directory.create_file(name)?;
                self.disk.add_file(&file)?;
                file.set_permissions(Permissions::from_mode(usable(0o600)))?;
                match entry.kind {
                    EntryType::Char => 0o020000,
                    EntryType::Block => 0o060000,
                    _ => 0o010000,
                }
            }
            _ => return Ok(None),
        };
        let time = || entry.mtime.ok_or_else(|| invalid("its modification time is no time since 1970"));
        let mtime = self.keeps_times.then(time).transpose()?;
        let (uid, gid, device, xattrs) = (entry.uid, entry.gid, entry.device, entry.xattrs.clone());
        Ok(Some(Owner { mode: type_bits | entry.mode, uid, gid, device, xattrs, mtime }))
    }

    fn hard_link(&self, entry: &TarEntry, directory: &Directory, name: &OsStr) -> io::Result<Option<Owner>> {
        let target = self.links.hard_link_target(entry)?;
        let target = Path::new(OsStr::from_bytes(&target));
        let (Some(above), Some(file_name)) = (target.parent(), target.file_name()) else { return Ok(None) };
        let missing = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => {
                let what = format!("it is a hard link to {}, which is not in the same layer", target.display());
                io::Error::new(error.kind(), what)
            }
            _ => error,
        };
        let from = self.root.find(above).map_err(missing)?;
        directory.hard_link(&from, file_name, name).map_err(missing)?;
        Ok(self.owners.get(&from.path().join(file_name)).cloned())
    }
}

/// Covers the tree at `root` with the layer in the directory `layer`. `layer_owners` are the records of the layer's files, and
/// `hidden` the places that it hides.
fn lay_over(
    layer: &Path,
    layer_owners: &Owners,
    hidden: &[LayerEffect],
    root: &Path,
    owners: &mut Owners,
) -> io::Result<()> {
    for place in hidden {
        let (LayerEffect::At(path) | LayerEffect::Whiteout(path) | LayerEffect::Opaque(path)) = place;
        let path = Path::new(OsStr::from_bytes(path));
        // Files behind a link of lower layers are not hidden, since the link itself is replaced.
        let is_directory =
            |directory: &Path| fs::symlink_metadata(root.join(directory)).is_ok_and(|file| file.is_dir());
        if !path.ancestors().skip(1).all(is_directory) {
            continue;
        }
        match place {
            LayerEffect::Opaque(_) if is_directory(path) => {
                for child in fs::read_dir(root.join(path))? {
                    remove(&child?.path(), owners)?;
                }
            }
            LayerEffect::Whiteout(_) => remove(&root.join(path), owners)?,
            LayerEffect::Opaque(_) | LayerEffect::At(_) => {}
        }
    }
    merge(layer, layer_owners, root, owners)?;
    let moved = layer_owners.iter().filter_map(|(path, owner)| {
        let below = path.strip_prefix(layer).ok().filter(|below| !below.as_os_str().is_empty())?;
        Some((root.join(below), owner.clone()))
    });
    owners.extend(moved);
    Ok(())
}

/// Moves the contents of the directory `layer` to the directory `root`. Directories with the same path are merged.
fn merge(layer: &Path, layer_owners: &Owners, root: &Path, owners: &mut Owners) -> io::Result<()> {
    for entry in fs::read_dir(layer)? {
        let entry = entry?;
        let (from, to) = (entry.path(), root.join(entry.file_name()));
        let is_merged = entry.file_type()?.is_dir() && fs::symlink_metadata(&to).is_ok_and(|lower| lower.is_dir());
        if !is_merged {
            remove(&to, owners)?;
            fs::rename(&from, &to)?;
            continue;
        }
        // A directory without an entry keeps the record of lower layers.
        if layer_owners.contains_key(&from) {
            fs::set_permissions(&to, entry.metadata()?.permissions())?;
        }
        merge(&from, layer_owners, &to, owners)?;
    }
    Ok(())
}

/// Removes the file or directory at `place`, if it exists, with all of its records.
///
/// # Errors
///
/// If the file system reports an error.
pub fn remove(place: &Path, owners: &mut Owners) -> io::Result<()> {
    let records = owners.range(place.to_owned()..).take_while(|(path, _)| path.starts_with(place));
    for path in records.map(|(path, _)| path.clone()).collect::<Vec<_>>() {
        owners.remove(&path);
    }
    match fs::symlink_metadata(place) {
        Ok(there) if there.is_dir() => fs::remove_dir_all(place),
        Ok(_) => fs::remove_file(place),
        // A whiteout of a missing file has no effect.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn write_file(entry: &TarEntry, mut file: File, data: &mut impl Read, mode: u32, disk: &mut Disk) -> io::Result<()> {
    disk.add_file(&file)?;
    match &entry.holes {
        None => disk.copy(data, &mut file)?,
        Some(sparse) => {
            // Holes take no space in the layer.
            Budget::new(&budget::SPARSE_FILE).take_bytes(sparse.size)?;
            for (offset, length) in &sparse.parts {
                file.seek(SeekFrom::Start(*offset))?;
                disk.copy(data.by_ref().take(*length), &mut file)?;
            }
            file.set_len(sparse.size)?;
        }
    }
    file.set_permissions(Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests;
