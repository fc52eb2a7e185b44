//! Layers unpacked below a directory, as a runtime would: the other way round from [`Tree`](super::Tree).
//!
//! Layers are other people's, so nothing they say leads outside: names have no `..`,
//! links are followed as if the directory were the root ([`Rooted`]), and what they
//! weigh is bounded. Whiteouts and opaque directories are
//! [the specification's](https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts).

use std::{
    collections::HashSet,
    ffi::{OsStr, OsString},
    fs::{self, Permissions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Component, Path, PathBuf},
};

use tar::EntryType;

use super::{
    Owner, Owners,
    rooted::{Directory, Rooted},
    untar::{TarEntry, TarReader},
    whiteout::Marker,
};

/// A file with holes that is bigger than this (in bytes) is a bomb: its holes weigh nothing in the layer.
const SPARSE_LIMIT: u64 = 1 << 30;
/// Entries of one layer.
const ENTRIES_LIMIT: usize = 4_000_000;
/// Bytes of a name; Linux takes no longer path.
const NAME_LIMIT: usize = 4096;
/// Bytes of all names that are in memory at once; a million files have a tenth of it.
const KEPT_LIMIT: usize = 1 << 30;
/// Directories in each other.
const DEPTH_LIMIT: usize = 512;

/// Unpacks one layer (its plain tar) below `root`, over what is there. `owners` takes what the file system here cannot:
/// owners, setuid bits, devices and extended attributes, by path.
///
/// # Errors
///
/// When the tar is malformed, a name leads outside, or the file system refuses.
pub fn unpack(layer: impl Read, root: &Path, owners: &mut Owners) -> io::Result<()> {
    let mut layer = TarReader::new(layer);
    let (own, bounds) = (HashSet::new(), Bounds::default());
    let mut unpacking = Unpacking { path: root, root: Rooted::open(root)?, owners, own, bounds };
    while let Some(entry) = layer.next_entry()? {
        let name = PathBuf::from(OsStr::from_bytes(&entry.name));
        let bounded = unpacking.bounds.entry(&name);
        bounded
            .and_then(|()| unpacking.entry(&entry, &name, &mut layer))
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", name.display())))?;
    }
    Ok(())
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// What a layer may have of entries and names. Images have no more; a layer that has means harm.
#[derive(Debug, Default)]
pub struct Bounds {
    entries: usize,
    kept: usize,
}

impl Bounds {
    /// One more entry.
    ///
    /// # Errors
    ///
    /// When there are too many, or its name is too long or too deep.
    pub fn entry(&mut self, name: &Path) -> io::Result<()> {
        self.entries += 1;
        if self.entries > ENTRIES_LIMIT {
            return Err(invalid(&format!("it has more than {ENTRIES_LIMIT} entries, which is the limit")));
        }
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
        self.kept += name.as_os_str().len();
        if self.kept > KEPT_LIMIT {
            return Err(invalid(&format!("its names have more than {KEPT_LIMIT} bytes, which is the limit")));
        }
        Ok(())
    }
}

/// A layer on its way into a root.
struct Unpacking<'a> {
    path: &'a Path,
    root: Rooted,
    owners: &'a mut Owners,
    /// What this layer wrote, and every directory above it.
    own: HashSet<PathBuf>,
    bounds: Bounds,
}

impl Unpacking<'_> {
    fn entry(&mut self, entry: &TarEntry, name: &Path, data: &mut impl Read) -> io::Result<()> {
        let Some((above, file_name)) = split(name)? else { return Ok(()) };
        let directory = self.root.make(&above)?;
        match Marker::parse(file_name.as_bytes()) {
            Some(Marker::Opaque) => return self.hide(directory.path()),
            Some(Marker::Whiteout(b"" | b"." | b"..")) => return Err(invalid("a whiteout of nothing")),
            Some(Marker::Whiteout(gone)) => {
                return remove(&directory.path().join(OsStr::from_bytes(gone)), self.owners);
            }
            None => {}
        }
        let place = directory.path().join(&file_name);
        self.clear(entry, &place)?;
        if let Some(owner) = self.write(entry, &directory, &file_name, data)? {
            self.owners.insert(place.clone(), owner);
        }
        for above in place.ancestors().take_while(|above| *above != self.path) {
            if !self.own.insert(above.to_owned()) {
                break;
            }
            self.bounds.keep(above)?;
        }
        Ok(())
    }

    /// Makes room for an entry: only a directory stays, for a directory.
    fn clear(&mut self, entry: &TarEntry, place: &Path) -> io::Result<()> {
        match fs::symlink_metadata(place) {
            Ok(there) if there.is_dir() && entry.kind == EntryType::Directory => Ok(()),
            Ok(_) => remove(place, self.owners),
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
        // Whoever unpacks must be able to go on; what the layer says is kept beside.
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
        let (uid, gid, device) = (entry.uid, entry.gid, entry.device);
        Ok(Some(Owner { mode: type_bits | entry.mode, uid, gid, device, xattrs: entry.xattrs.clone() }))
    }

    fn hard_link(&self, entry: &TarEntry, directory: &Directory, name: &OsStr) -> io::Result<Option<Owner>> {
        let Some((above, target)) = split(Path::new(OsStr::from_bytes(&entry.link)))? else { return Ok(None) };
        let from = self.root.find(&above)?;
        directory.hard_link(&from, &target, name)?;
        Ok(self.owners.get(&from.path().join(&target)).cloned())
    }

    /// Removes what lower layers have below `directory`; what this layer wrote, before the mark or after, stays.
    fn hide(&mut self, directory: &Path) -> io::Result<()> {
        for child in fs::read_dir(directory)? {
            let child = child?.path();
            if !self.own.contains(&child) {
                remove(&child, self.owners)?;
            } else if fs::symlink_metadata(&child)?.is_dir() {
                self.hide(&child)?;
            }
        }
        Ok(())
    }
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

/// The directory that a name lies in, and its last part; none for the root itself.
fn split(name: &Path) -> io::Result<Option<(PathBuf, OsString)>> {
    let mut parts: Vec<&OsStr> = Vec::new();
    for part in name.components() {
        match part {
            Component::Normal(part) => parts.push(part),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(invalid("its name points outside the image")),
        }
    }
    let last = parts.pop().map(OsStr::to_owned);
    Ok(last.map(|last| (parts.iter().collect(), last)))
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
        Some(sparse) if sparse.size > SPARSE_LIMIT => {
            return Err(invalid("it is a sparse file of more than 1 GiB, which is the limit"));
        }
        Some(sparse) => {
            for (offset, length) in &sparse.parts {
                file.seek(SeekFrom::Start(*offset))?;
                io::copy(&mut data.by_ref().take(*length), &mut file)?;
            }
            file.set_len(sparse.size)?;
        }
    }
    file.set_permissions(Permissions::from_mode(mode))
}
