//! What fakeroot notes of files, as `faked` saves and loads it: text, by device and inode.
//!
//! ```text
//! dev=fe00,ino=1234,mode=104755,uid=33,gid=34,nlink=1,rdev=0
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::Path,
};

use anyhow::{Context, Result};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use super::walk::walk;
use crate::{
    layer::{Owner, Owners, untar::Xattrs},
    oci::{Digest, Sha256Writer},
};

/// The attribute that holds a program's capabilities.
const CAPABILITY: &[u8] = b"security.capability";

/// What a script finds recorded of a file.
pub struct Known {
    owner: Owner,
    /// Of a program with capabilities, which Linux removes when it is written to.
    contents: Option<Digest>,
}

pub type Inode = (u64, u64);

/// Files that are open while a script runs, so that no other file gets the inode number of one that it removes.
pub struct Held {
    _files: Vec<OwnedFd>,
}

/// `owners` by inode. What is recorded of an inode is about the same file as long as the second value lives.
pub fn known(owners: &Owners) -> Result<(BTreeMap<Inode, Known>, Held)> {
    let mut known = BTreeMap::new();
    for (path, owner) in owners {
        let reading = || format!("reading {}", path.display());
        let file = fs::symlink_metadata(path).with_context(reading)?;
        let has_capability = owner.xattrs.contains_key(CAPABILITY);
        let contents = has_capability.then(|| digest(path)).transpose().with_context(reading)?;
        known.insert((file.dev(), file.ino()), Known { owner: owner.clone(), contents });
    }
    Ok((known, hold(owners)?))
}

/// Opens every file, beyond the limit that programs usually have. Scripts keep that one: some programs try to close each
/// possible file.
fn hold(owners: &Owners) -> Result<Held> {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    // Neither needs permissions nor waits for the other end of a pipe.
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut files = Vec::new();
    for path in owners.keys() {
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => files.push(file),
            Err(Errno::MFILE | Errno::NFILE) => {
                crate::terminal::note!(
                    "warning: {} files have owners, and this system opens {} at a time: owners and modes of files that a script \
                     replaces may be wrong; raise the limit of open files (ulimit -Hn)",
                    owners.len(),
                    files.len()
                );
                break;
            }
            Err(error) => return Err(error).with_context(|| format!("opening {}", path.display())),
        }
    }
    setrlimit(Resource::Nofile, limit).context("setting the limit of open files")?;
    Ok(Held { _files: files })
}

fn digest(path: &Path) -> io::Result<Digest> {
    let mut hash = Sha256Writer::new(io::sink());
    io::copy(&mut File::open(path)?, &mut hash)?;
    Ok(hash.finish().1)
}

impl Known {
    /// Extended attributes, which fakeroot does not save, of what is now at `path`: as Linux keeps them.
    fn xattrs_now(&self, owner: &Owner, path: &Path) -> io::Result<Xattrs> {
        let mut xattrs = self.owner.xattrs.clone();
        // A program that is written to, or that gets another owner, loses its capabilities.
        let is_given_away = (owner.uid, owner.gid) != (self.owner.uid, self.owner.gid);
        if let Some(contents) = self.contents
            && (is_given_away || digest(path)? != contents)
        {
            xattrs.remove(CAPABILITY);
        }
        Ok(xattrs)
    }
}

/// As faked loads it.
pub fn saved(known: &BTreeMap<Inode, Known>) -> String {
    let line = |((device, inode), Known { owner, .. }): (&Inode, &Known)| {
        let (major, minor) = owner.device;
        let rdev = (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & !0xff) << 12) | ((major & !0xfff) << 32);
        let Owner { mode, uid, gid, .. } = owner;
        format!("dev={device:x},ino={inode},mode={mode:o},uid={uid},gid={gid},nlink=1,rdev={rdev}\n")
    };
    known.iter().map(line).collect()
}

/// What faked saved, by path. `before` is what it loaded.
pub fn recorded_owners(root: &Path, state: &Path, before: &BTreeMap<Inode, Known>) -> Result<Owners> {
    let text = fs::read_to_string(state).context("reading fakeroot's state")?;
    let mut by_inode: HashMap<Inode, Owner> = HashMap::new();
    for line in text.lines() {
        let fields: HashMap<&str, &str> = line.split(',').filter_map(|field| field.split_once('=')).collect();
        let number = |name: &str, radix| fields.get(name).and_then(|text| u64::from_str_radix(text, radix).ok());
        let parsed = || {
            let rdev = number("rdev", 10).unwrap_or(0);
            let device = ((rdev >> 8 & 0xfff) | (rdev >> 32 & !0xfff), (rdev & 0xff) | (rdev >> 12 & !0xff));
            let mode = number("mode", 8)? as u32;
            let owner = Owner { mode, uid: number("uid", 10)?, gid: number("gid", 10)?, device, xattrs: Xattrs::new() };
            Some(((number("dev", 16)?, number("ino", 10)?), owner))
        };
        let (inode, owner) = parsed().with_context(|| format!("fakeroot's state has the unknown line {line:?}"))?;
        by_inode.insert(inode, owner);
    }
    let mut owners = Owners::new();
    walk(root, &mut |path, file| {
        let inode = (file.dev(), file.ino());
        warn_of_copy(root, path, file, before)?;
        let Some(owner) = by_inode.get(&inode) else { return Ok(()) };
        let mut owner = owner.clone();
        if let Some(before) = before.get(&inode) {
            owner.xattrs = before.xattrs_now(&owner, path).with_context(|| format!("reading {}", path.display()))?;
        }
        if is_of_type(owner.mode, file) {
            owners.insert(path.to_owned(), owner);
        }
        Ok(())
    })?;
    Ok(owners)
}

/// Warns if `path` is a copy of a program with capabilities: `cp -a` keeps them elsewhere, but not under fakeroot.
fn warn_of_copy(root: &Path, path: &Path, file: &fs::Metadata, before: &BTreeMap<Inode, Known>) -> Result<()> {
    let mut programs = before.values().filter_map(|known| known.contents.as_ref()).peekable();
    if !file.is_file() || before.contains_key(&(file.dev(), file.ino())) || programs.peek().is_none() {
        return Ok(());
    }
    let contents = digest(path).with_context(|| format!("reading {}", path.display()))?;
    if programs.any(|program| *program == contents) {
        crate::terminal::note!(
            "warning: /{} is a copy of a program with capabilities, and has none: copies lose them in builds; move the program, or \
             give the capabilities to the container",
            path.strip_prefix(root).unwrap_or(path).display()
        );
    }
    Ok(())
}

/// Whether a note with this `mode` can be of `file`: plain files stand for devices and pipes.
fn is_of_type(mode: u32, file: &fs::Metadata) -> bool {
    match mode & 0o170000 {
        0o040000 => file.is_dir(),
        0o120000 => file.is_symlink(),
        _ => !file.is_dir() && !file.is_symlink(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that fakeroot does not see into (a static one) removes a file, and the next one gets its inode.
    #[test]
    fn a_file_that_replaces_another_has_nothing_of_its_owner() {
        let top = tempfile::tempdir().unwrap();
        let root = top.path().join("root");
        fs::create_dir_all(root.join("directory")).unwrap();
        let (kept, written) = (root.join("kept"), root.join("written"));
        let xattrs = Xattrs::from([(CAPABILITY.to_vec(), b"caps".to_vec()), (b"user.x".to_vec(), b"y".to_vec())]);
        let recorded = Owner { mode: 0o104755, uid: 33, gid: 34, xattrs, ..Owner::default() };
        let replaced: Vec<_> = (0..50).map(|number| root.join(format!("replaced-{number}"))).collect();
        let mut owners = Owners::from([(root.join("directory"), Owner { mode: 0o041777, ..Owner::default() })]);
        for path in replaced.iter().chain([&kept, &written]) {
            fs::write(path, "program").unwrap();
            owners.insert(path.clone(), recorded.clone());
        }
        let (before, held) = known(&owners).unwrap();
        let state = top.path().join("state");
        fs::write(&state, saved(&before)).unwrap();
        for path in &replaced {
            fs::remove_file(path).unwrap();
            fs::write(path, "program").unwrap();
        }
        fs::remove_dir(root.join("directory")).unwrap();
        fs::create_dir(root.join("directory")).unwrap();
        // As many bytes, and the same time.
        let modified = fs::metadata(&written).unwrap().modified().unwrap();
        fs::write(&written, "PROGRAM").unwrap();
        File::options().write(true).open(&written).unwrap().set_modified(modified).unwrap();
        let owners = recorded_owners(&root, &state, &before).unwrap();
        drop(held);
        assert_eq!(owners.keys().collect::<Vec<_>>(), [&kept, &written]);
        assert_eq!(owners[&kept], recorded);
        assert_eq!(owners[&written].xattrs.keys().collect::<Vec<_>>(), [b"user.x"]);
    }

    #[test]
    fn a_file_of_another_type_is_another_file() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("file");
        fs::write(&path, "").unwrap();
        let owner = Owner { mode: 0o104755, uid: 33, ..Owner::default() };
        let (before, _held) = known(&Owners::from([(path, owner)])).unwrap();
        let state = top.path().join("state");
        fs::write(&state, saved(&before).replace("mode=104755", "mode=40755")).unwrap();
        assert!(recorded_owners(top.path(), &state, &BTreeMap::new()).unwrap().is_empty());
    }
}
