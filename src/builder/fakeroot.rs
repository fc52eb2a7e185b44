//! What fakeroot notes of files, as `faked` saves and loads it: text, by device and inode.
//!
//! ```text
//! dev=fe00,ino=1234,mode=104755,uid=33,gid=34,nlink=1,rdev=0
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    time::SystemTime,
};

use anyhow::{Context, Result};

use super::walk::walk;
use crate::layer::{Owner, Owners, untar::Xattrs};

/// The attribute that holds a program's capabilities.
const CAPABILITY: &[u8] = b"security.capability";

/// What a script finds noted of a file: by this, what stands there afterwards is told from another file that took over
/// its inode.
pub struct Known {
    owner: Owner,
    born: Option<SystemTime>,
    /// Size and time of the last change of what it holds.
    held: (u64, i64, i64),
}

pub type Inode = (u64, u64);

/// `owners` by inode.
pub fn known(owners: &Owners) -> Result<BTreeMap<Inode, Known>> {
    let mut known = BTreeMap::new();
    for (path, owner) in owners {
        let file = fs::symlink_metadata(path).with_context(|| format!("reading {}", path.display()))?;
        known.insert(
            (file.dev(), file.ino()),
            Known { owner: owner.clone(), born: file.created().ok(), held: held(&file) },
        );
    }
    Ok(known)
}

impl Known {
    /// Extended attributes, which fakeroot does not save, of what is now `file`: as Linux keeps them.
    fn xattrs_now(&self, owner: &Owner, file: &fs::Metadata) -> Xattrs {
        let mut xattrs = self.owner.xattrs.clone();
        // Whoever writes to a program or gives it away takes its capabilities.
        if held(file) != self.held || (owner.uid, owner.gid) != (self.owner.uid, self.owner.gid) {
            xattrs.remove(CAPABILITY);
        }
        xattrs
    }
}

fn held(file: &fs::Metadata) -> (u64, i64, i64) {
    (file.len(), file.mtime(), file.mtime_nsec())
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
pub fn noted(root: &Path, state: &Path, before: &BTreeMap<Inode, Known>) -> Result<Owners> {
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
        let Some(owner) = by_inode.get(&inode) else { return Ok(()) };
        let mut owner = owner.clone();
        if let Some(before) = before.get(&inode) {
            // A program that fakeroot does not see into (a static one) may have removed a file; the next one can get its
            // inode, and is not what the note is about.
            let is_as_noted = Owner { xattrs: before.owner.xattrs.clone(), ..owner.clone() } == before.owner;
            if is_as_noted && before.born.is_some_and(|born| file.created().ok() != Some(born)) {
                return Ok(());
            }
            owner.xattrs = before.xattrs_now(&owner, file);
        }
        if is_of_type(owner.mode, file) {
            owners.insert(path.to_owned(), owner);
        }
        Ok(())
    })?;
    Ok(owners)
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

    #[test]
    fn notes_are_of_the_files_that_they_were_made_for() {
        let top = tempfile::tempdir().unwrap();
        let root = top.path().join("root");
        fs::create_dir(&root).unwrap();
        let (kept, replaced) = (root.join("kept"), root.join("replaced"));
        fs::write(&kept, "").unwrap();
        fs::write(&replaced, "").unwrap();
        let xattrs = Xattrs::from([(CAPABILITY.to_vec(), b"caps".to_vec()), (b"user.x".to_vec(), b"y".to_vec())]);
        let note = Owner { mode: 0o104755, uid: 33, gid: 34, xattrs, ..Owner::default() };
        let mut before = known(&Owners::from([(kept.clone(), note.clone()), (replaced, note.clone())])).unwrap();
        let state = top.path().join("state");
        fs::write(&state, saved(&before)).unwrap();
        // As if the file were gone, and another had got its inode.
        for known in before.values_mut().skip(1) {
            known.born = Some(SystemTime::UNIX_EPOCH);
        }
        let first = fs::symlink_metadata(&kept).unwrap();
        let owners = noted(&root, &state, &before).unwrap();
        assert_eq!(owners.len(), 1);
        assert_eq!(owners.contains_key(&kept), before.keys().next() == Some(&(first.dev(), first.ino())));
        // A file of another type is another file.
        fs::write(&state, saved(&before).replace("mode=104755", "mode=40755")).unwrap();
        assert!(noted(&root, &state, &BTreeMap::new()).unwrap().is_empty());
    }
}
