//! Layers unpacked below a directory, as a runtime would: the other way round from [`Tree`](super::Tree).
//!
//! Layers are other people's, so nothing they say leads outside: names lose `..`
//! and leading slashes, links are followed as if the directory were the root, and
//! what they weigh is bounded. Whiteouts and opaque directories are
//! [the specification's](https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts).

use std::{
    collections::HashSet,
    ffi::{OsStr, OsString},
    fs::{self, File, Permissions},
    io::{self, Read},
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    },
    path::{Component, Path, PathBuf},
};

use tar::EntryType;

use super::{Owner, Owners};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// A file with holes that is bigger than this (in bytes) is a bomb: its holes weigh nothing in the layer.
const SPARSE_LIMIT: u64 = 1 << 30;
/// Entries of one layer.
const ENTRIES_LIMIT: usize = 4_000_000;
/// Bytes of a name; Linux takes no longer path.
const NAME_LIMIT: usize = 4096;
/// Directories in each other.
const DEPTH_LIMIT: usize = 512;
/// Links followed on the way to one name; Linux stops at 40 too.
const LINKS: usize = 40;

/// Unpacks one layer (its plain tar) below `root`, over what is there. `owners` takes what the file system here cannot:
/// owners, setuid bits and devices, by path.
///
/// # Errors
///
/// When the tar is malformed, a name leads outside, or the file system refuses.
pub fn unpack(layer: impl Read, root: &Path, owners: &mut Owners) -> io::Result<()> {
    let mut archive = tar::Archive::new(layer);
    // What this layer wrote, and every directory above it.
    let mut own: HashSet<PathBuf> = HashSet::new();
    for (count, entry) in archive.entries()?.enumerate() {
        let mut entry = entry?;
        let name = entry.path()?.into_owned();
        check_bounds(count, &name).map_err(|error| named(&name, error))?;
        let Some((place, file_name)) = place(root, &name).map_err(|error| named(&name, error))? else { continue };
        let named = |error| named(&name, error);
        if file_name.as_bytes() == OPAQUE {
            let directory = place.parent().unwrap_or(root);
            hide(directory, &own, owners).map_err(named)?;
            continue;
        }
        if let Some(gone) = file_name.as_bytes().strip_prefix(WHITEOUT) {
            if matches!(gone, b"" | b"." | b"..") {
                return Err(named(invalid("a whiteout of nothing")));
            }
            remove(&place.with_file_name(OsStr::from_bytes(gone)), owners).map_err(named)?;
            continue;
        }
        write(&mut entry, &place, root, owners).map_err(named)?;
        own.extend(place.ancestors().take_while(|above| *above != root).map(Path::to_owned));
    }
    Ok(())
}

/// Removes what lower layers have below `directory`; what this layer wrote (`own`), before the mark or after, stays.
fn hide(directory: &Path, own: &HashSet<PathBuf>, owners: &mut Owners) -> io::Result<()> {
    for child in fs::read_dir(directory)? {
        let child = child?.path();
        if !own.contains(&child) {
            remove(&child, owners)?;
        } else if fs::symlink_metadata(&child)?.is_dir() {
            hide(&child, own, owners)?;
        }
    }
    Ok(())
}

fn named(name: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", name.display()))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Images have none of these; a layer that has means harm.
fn check_bounds(count: usize, name: &Path) -> io::Result<()> {
    if count >= ENTRIES_LIMIT {
        return Err(invalid(&format!("more than {ENTRIES_LIMIT} entries: no layer has so many")));
    }
    if name.as_os_str().len() > NAME_LIMIT || name.components().count() > DEPTH_LIMIT {
        return Err(invalid(&format!("a name of more than {NAME_LIMIT} bytes or {DEPTH_LIMIT} directories")));
    }
    Ok(())
}

/// Where `name` lies below `root`, and its last part; none for the root itself.
fn place(root: &Path, name: &Path) -> io::Result<Option<(PathBuf, OsString)>> {
    let mut parts: Vec<OsString> = Vec::new();
    for part in name.components() {
        match part {
            Component::Normal(part) => parts.push(part.to_owned()),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(invalid("its name leads outside of the image")),
        }
    }
    let Some(last) = parts.pop() else { return Ok(None) };
    let directory = inside(root, &parts.iter().collect::<PathBuf>())?;
    fs::create_dir_all(&directory)?;
    Ok(Some((directory.join(&last), last)))
}

/// The directory that `path` leads to when `root` is the root: links cannot lead out of it.
pub fn inside(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let mut here = root.to_owned();
    let mut left: Vec<PathBuf> = path.components().rev().map(|part| PathBuf::from(part.as_os_str())).collect();
    let mut links = 0;
    while let Some(part) = left.pop() {
        match part.components().next() {
            Some(Component::Normal(name)) => {
                let next = here.join(name);
                if !next.is_symlink() {
                    here = next;
                    continue;
                }
                links += 1;
                if links > LINKS {
                    return Err(invalid("too many links on the way"));
                }
                let target = fs::read_link(&next)?;
                left.extend(target.components().rev().map(|part| PathBuf::from(part.as_os_str())));
            }
            Some(Component::RootDir) => here = root.to_owned(),
            Some(Component::ParentDir) if here != root => drop(here.pop()),
            _ => {}
        }
    }
    Ok(here)
}

fn write<R: Read>(entry: &mut tar::Entry<'_, R>, place: &Path, root: &Path, owners: &mut Owners) -> io::Result<()> {
    let header = entry.header();
    let (kind, mode) = (header.entry_type(), header.mode()? & 0o7777);
    let (uid, gid) = (header.uid()?, header.gid()?);
    let device = match kind {
        EntryType::Char | EntryType::Block => {
            (header.device_major()?.unwrap_or(0).into(), header.device_minor()?.unwrap_or(0).into())
        }
        // GNU tar leaves the fields empty.
        _ => (0, 0),
    };
    let is_directory = kind == EntryType::Directory;
    match fs::symlink_metadata(place) {
        Ok(there) if there.is_dir() && is_directory => {}
        Ok(_) => remove(place, owners)?,
        Err(_) => {}
    }
    let mut type_bits = 0;
    match kind {
        EntryType::Directory => fs::create_dir_all(place)?,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let size = entry.size();
            if kind == EntryType::GNUSparse && size > SPARSE_LIMIT {
                return Err(invalid("it is a file with holes of more than 1 GiB: no image has one"));
            }
            let copied = io::copy(&mut entry.take(size), &mut File::create_new(place)?)?;
            if copied != size {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        EntryType::Symlink => {
            let target = entry.link_name()?.unwrap_or_default().into_owned();
            symlink(target, place)?;
        }
        EntryType::Link => {
            let target = entry.link_name()?.unwrap_or_default().into_owned();
            let Some((target, _)) = self::place(root, &target)? else { return Ok(()) };
            fs::hard_link(&target, place)?;
            if let Some(owner) = owners.get(&target).copied() {
                owners.insert(place.to_owned(), owner);
            }
            return Ok(());
        }
        EntryType::Char | EntryType::Block | EntryType::Fifo => {
            // A plain file stands for it, as under fakeroot.
            File::create_new(place)?;
            type_bits = match kind {
                EntryType::Char => 0o020000,
                EntryType::Block => 0o060000,
                _ => 0o010000,
            };
        }
        _ => return Ok(()),
    }
    if kind != EntryType::Symlink {
        // Whoever unpacks must be able to go on; what the layer says is kept beside.
        let usable = if is_directory { mode | 0o700 } else { mode | 0o600 } & 0o777;
        fs::set_permissions(place, Permissions::from_mode(usable))?;
    }
    if type_bits == 0 {
        type_bits = if is_directory {
            0o040000
        } else if kind == EntryType::Symlink {
            0o120000
        } else {
            0o100000
        };
    }
    owners.insert(place.to_owned(), Owner { mode: type_bits | mode, uid, gid, device });
    Ok(())
}

fn remove(place: &Path, owners: &mut Owners) -> io::Result<()> {
    owners.remove(place);
    match fs::symlink_metadata(place) {
        Ok(there) if there.is_dir() => {
            owners.retain(|path, _| !path.starts_with(place));
            fs::remove_dir_all(place)
        }
        Ok(_) => fs::remove_file(place),
        // A whiteout of what is not there is nothing.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
