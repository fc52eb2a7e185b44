//! Layers unpacked below a directory, as an engine would: the other way round from [`Tree`](super::Tree).
//!
//! A layer is unpacked to a directory of its own, which is laid over the root then: see [`overlay`](super::overlay).
//! Layers are other people's, so nothing they say leads outside: names have no `..`, links are followed as if the directory
//! were the root, files are made through handles ([`Rooted`]), and what they weigh is bounded.

use std::{
    ffi::OsStr,
    fs::{self, Permissions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
};

use tar::EntryType;

use super::{
    Owner, Owners,
    overlay::{LayerLinks, Place},
    rooted::{Directory, Rooted},
    untar::{TarEntry, TarReader},
};
use crate::budget::{self, Budget, NAME_OVERHEAD};

/// Bytes of a name; Linux takes no longer path.
const NAME_LIMIT: usize = 4096;
/// Directories in each other.
const DEPTH_LIMIT: usize = 512;

/// Unpacks one layer (its plain tar) below `root`, over what is there. `owners` takes what the file system here cannot:
/// owners, setuid bits, devices and extended attributes, by path.
///
/// # Errors
///
/// When the tar is malformed, a name leads outside, or the file system refuses.
pub fn unpack(layer: impl Read, root: &Path, owners: &mut Owners) -> io::Result<()> {
    unpack_entries(layer, root, owners, false)
}

/// As [`unpack`]; `owners` has modification times too.
///
/// # Errors
///
/// Those of [`unpack`], and times before 1970.
pub fn unpack_with_times(layer: impl Read, root: &Path, owners: &mut Owners) -> io::Result<()> {
    unpack_entries(layer, root, owners, true)
}

fn unpack_entries(layer: impl Read, root: &Path, owners: &mut Owners, keeps_times: bool) -> io::Result<()> {
    let mut layer = TarReader::new(layer);
    // Beside the root: laying it over the root moves files.
    let beside = root.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let scratch = tempfile::Builder::new().prefix(".layer-").tempdir_in(beside)?;
    let mut unpacking = Unpacking {
        root: Rooted::open(scratch.path())?,
        links: LayerLinks::default(),
        owners: Owners::new(),
        hidden: Vec::new(),
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
    let Unpacking { owners: own, hidden, .. } = unpacking;
    lay_over(scratch.path(), &own, &hidden, root, owners)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// What a layer may have of entries and names. Images have no more; a layer that has means harm.
#[derive(Debug)]
pub struct Bounds(Budget);

impl Default for Bounds {
    fn default() -> Self {
        Self(Budget::new(&budget::LAYER))
    }
}

impl Bounds {
    /// One more entry.
    ///
    /// # Errors
    ///
    /// When there are too many, or its name is too long or too deep.
    pub fn entry(&mut self, name: &Path) -> io::Result<()> {
        self.0.take_parts(1)?;
        if name.as_os_str().len() > NAME_LIMIT || name.components().count() > DEPTH_LIMIT {
            return Err(invalid(&format!("a name of more than {NAME_LIMIT} bytes or {DEPTH_LIMIT} directories")));
        }
        Ok(())
    }

    /// One more name in memory: a deep entry has as many as it has directories.
    ///
    /// # Errors
    ///
    /// When all of them take too much.
    pub fn keep(&mut self, name: &Path) -> io::Result<()> {
        Ok(self.0.take_bytes((name.as_os_str().len() + NAME_OVERHEAD) as u64)?)
    }
}

/// A layer on its way into a directory of its own.
struct Unpacking {
    root: Rooted,
    links: LayerLinks,
    owners: Owners,
    /// What is hidden of lower layers.
    hidden: Vec<Place>,
    keeps_times: bool,
    bounds: Bounds,
}

impl Unpacking {
    fn entry(&mut self, entry: &TarEntry, data: &mut impl Read) -> io::Result<()> {
        let Some(place) = self.links.place(entry)? else { return Ok(()) };
        let directory = self.root.make(Path::new(OsStr::from_bytes(place.directory())))?;
        let Place::At(path) = &place else {
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

    /// Makes room for an entry: only a directory stays, for a directory.
    fn clear(&mut self, entry: &TarEntry, place: &Path) -> io::Result<()> {
        match fs::symlink_metadata(place) {
            Ok(there) if there.is_dir() && entry.kind == EntryType::Directory => Ok(()),
            Ok(_) => remove(place, &mut self.owners),
            Err(_) => Ok(()),
        }
    }

    /// Makes what the entry is; what is to be noted of it.
    fn write(
        &mut self,
        entry: &TarEntry,
        directory: &Directory,
        name: &OsStr,
        data: &mut impl Read,
    ) -> io::Result<Option<Owner>> {
        // The builder must be able to read and write; the layer's own modes are kept in `owners`.
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
                write_file(entry, directory, name, data, usable(0o600))?;
                0o100000
            }
            EntryType::Symlink => {
                directory.symlink(Path::new(OsStr::from_bytes(&entry.link)), name)?;
                0o120000
            }
            EntryType::Link => return self.hard_link(entry, directory, name),
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                // A plain file stands for it, as under fakeroot.
                directory.create_file(name)?.set_permissions(Permissions::from_mode(usable(0o600)))?;
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

/// Lays the layer in the directory `layer` over the tree at `root`. `own` is what is noted of the layer's files, and
/// `hidden` what it hides.
fn lay_over(layer: &Path, own: &Owners, hidden: &[Place], root: &Path, owners: &mut Owners) -> io::Result<()> {
    for place in hidden {
        let (Place::At(path) | Place::Whiteout(path) | Place::Opaque(path)) = place;
        let path = Path::new(OsStr::from_bytes(path));
        // Behind a link of lower layers nothing is hidden: the link is replaced.
        let is_directory =
            |directory: &Path| fs::symlink_metadata(root.join(directory)).is_ok_and(|file| file.is_dir());
        if !path.ancestors().skip(1).all(is_directory) {
            continue;
        }
        match place {
            Place::Opaque(_) if is_directory(path) => {
                for child in fs::read_dir(root.join(path))? {
                    remove(&child?.path(), owners)?;
                }
            }
            Place::Whiteout(_) => remove(&root.join(path), owners)?,
            Place::Opaque(_) | Place::At(_) => {}
        }
    }
    merge(layer, own, root, owners)?;
    let moved = own.iter().filter_map(|(path, owner)| {
        let below = path.strip_prefix(layer).ok().filter(|below| !below.as_os_str().is_empty())?;
        Some((root.join(below), owner.clone()))
    });
    owners.extend(moved);
    Ok(())
}

/// Moves what is in the directory `layer` to the directory `root`; directories at one place are merged.
fn merge(layer: &Path, own: &Owners, root: &Path, owners: &mut Owners) -> io::Result<()> {
    for entry in fs::read_dir(layer)? {
        let entry = entry?;
        let (from, to) = (entry.path(), root.join(entry.file_name()));
        let is_merged = entry.file_type()?.is_dir() && fs::symlink_metadata(&to).is_ok_and(|lower| lower.is_dir());
        if !is_merged {
            remove(&to, owners)?;
            fs::rename(&from, &to)?;
            continue;
        }
        // A directory that no entry describes keeps what lower layers say of it.
        if own.contains_key(&from) {
            fs::set_permissions(&to, entry.metadata()?.permissions())?;
        }
        merge(&from, own, &to, owners)?;
    }
    Ok(())
}

/// Removes what is at `place`, if anything, with all that is noted of it.
///
/// # Errors
///
/// When the file system refuses.
pub fn remove(place: &Path, owners: &mut Owners) -> io::Result<()> {
    let noted = owners.range(place.to_owned()..).take_while(|(path, _)| path.starts_with(place));
    for path in noted.map(|(path, _)| path.clone()).collect::<Vec<_>>() {
        owners.remove(&path);
    }
    match fs::symlink_metadata(place) {
        Ok(there) if there.is_dir() => fs::remove_dir_all(place),
        Ok(_) => fs::remove_file(place),
        // A whiteout of what is not there is nothing.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn write_file(
    entry: &TarEntry,
    directory: &Directory,
    name: &OsStr,
    data: &mut impl Read,
    mode: u32,
) -> io::Result<()> {
    let mut file = directory.create_file(name)?;
    match &entry.holes {
        None => drop(io::copy(data, &mut file)?),
        Some(sparse) => {
            // Holes weigh nothing in the layer.
            Budget::new(&budget::SPARSE_FILE).take_bytes(sparse.size)?;
            for (offset, length) in &sparse.parts {
                file.seek(SeekFrom::Start(*offset))?;
                io::copy(&mut data.by_ref().take(*length), &mut file)?;
            }
            file.set_len(sparse.size)?;
        }
    }
    file.set_permissions(Permissions::from_mode(mode))
}
