//! The owners that fakeroot records, in the format that `faked` saves and loads: text, by device and inode.
//!
//! ```text
//! dev=fe00,ino=1234,mode=104755,uid=33,gid=34,nlink=1,rdev=0
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use super::{
    walk::walk,
    xattrs::{self, CAPABILITY, RealXattrs},
};
use crate::{
    layer::{Owner, Owners, untar::Xattrs},
    oci::{Digest, Sha256Writer},
};

/// The record of a file that a script starts with.
pub struct FileRecord {
    owner: Owner,
    /// The digest of a program with capabilities. Linux removes the capabilities when the program is written to.
    contents: Option<Digest>,
}

pub type InodeNumber = (u64, u64);

/// Files that stay open while a script runs, so that the inode number of a removed file is not reused. Until it is dropped, this
/// process has a higher limit of open files.
pub struct OpenFiles {
    _files: Vec<OwnedFd>,
    limit: Rlimit,
}

impl OpenFiles {
    /// Returns the usual limit, which a script has to set, in the form of bash's `ulimit`.
    pub fn usual_limit(&self) -> String {
        self.limit.current.map_or("unlimited".to_owned(), |limit| limit.to_string())
    }
}

impl Drop for OpenFiles {
    fn drop(&mut self) {
        // A lower limit is always accepted.
        let _ = setrlimit(Resource::Nofile, self.limit);
    }
}

/// Returns `owners` by inode. A record of an inode applies to the same file as long as the second value lives.
pub fn known(owners: &Owners) -> Result<(BTreeMap<InodeNumber, FileRecord>, OpenFiles)> {
    let mut known = BTreeMap::new();
    for (path, owner) in owners {
        let reading = || format!("reading {}", path.display());
        let file = fs::symlink_metadata(path).with_context(reading)?;
        let has_capability = owner.xattrs.contains_key(CAPABILITY);
        let contents = has_capability.then(|| digest(path)).transpose().with_context(reading)?;
        known.insert((file.dev(), file.ino()), FileRecord { owner: owner.clone(), contents });
    }
    Ok((known, hold(owners)?))
}

/// Opens every file, beyond the usual limit of open files. Scripts keep the usual limit, since some programs close
/// every possible file descriptor at their start.
fn hold(owners: &Owners) -> Result<OpenFiles> {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    // These flags need no permissions and do not wait for the other end of a pipe.
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
    Ok(OpenFiles { _files: files, limit })
}

fn digest(path: &Path) -> io::Result<Digest> {
    let mut hash = Sha256Writer::new(io::sink());
    io::copy(&mut File::open(path)?, &mut hash)?;
    Ok(hash.finish().1)
}

impl FileRecord {
    /// Returns the extended attributes of the file that is now at `path`, for which getfattr found `dumped`.
    fn xattrs_now(&self, owner: &Owner, path: &Path, dumped: Option<&Xattrs>) -> io::Result<Xattrs> {
        let is_given_away = (owner.uid, owner.gid) != (self.owner.uid, self.owner.gid);
        xattrs::merge_dumped(dumped, &self.owner.xattrs, || {
            let is_written = |before: &Digest| Ok::<_, io::Error>(digest(path)? != *before);
            Ok(!is_given_away && !self.contents.as_ref().map_or(Ok(false), is_written)?)
        })
    }
}

/// Returns the input of setfattr, which gives the extended attributes of `owners` to the fakeroot of a script.
pub fn saved_xattrs(owners: &Owners) -> Vec<u8> {
    xattrs::written(owners.iter().map(|(path, owner)| (path.as_path(), xattrs::loaded(&owner.xattrs))))
}

/// Returns the records in the format that faked loads.
pub fn saved(known: &BTreeMap<InodeNumber, FileRecord>) -> String {
    let line = |((device, inode), FileRecord { owner, .. }): (&InodeNumber, &FileRecord)| {
        let (major, minor) = owner.device;
        let rdev = (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & !0xff) << 12) | ((major & !0xfff) << 32);
        let Owner { mode, uid, gid, .. } = owner;
        format!("dev={device:x},ino={inode},mode={mode:o},uid={uid},gid={gid},nlink=1,rdev={rdev}\n")
    };
    known.iter().map(line).collect()
}

/// User and group of the processes of a script in a user namespace. Scripts do not use this id for files. fakeroot
/// records it for files whose extended attributes a script set and whose owner the script did not change. Those files
/// belong to root, as all others.
pub const RESERVED_ID: u64 = 0xffff_0000;

/// The ids that fakeroot records for those files.
pub enum RecordedIds<'a> {
    /// [`RESERVED_ID`], or root.
    Reserved,
    /// The user that runs the build, on machines without user namespaces.
    Real { uid: u64, gid: u64, script: &'a str },
}

impl RecordedIds<'_> {
    /// Corrects the owner of the file `name`, which has extended attributes unless a script removed them.
    fn correct(&self, owner: &mut Owner, name: &Path) -> Result<()> {
        let (uid, gid, script) = match self {
            Self::Reserved => (RESERVED_ID, RESERVED_ID, ""),
            Self::Real { .. } if owner.xattrs.is_empty() => return Ok(()),
            Self::Real { uid, gid, script } => (*uid, *gid, *script),
        };
        for (id, built) in [(&mut owner.uid, uid), (&mut owner.gid, gid)] {
            if *id == built {
                ensure!(
                    !mentions(script, built),
                    "/{} has extended attributes and belongs to {built}, which is also the user that builds, so that its owner is \
                     unknown; allow user namespaces (docs/user-namespaces.md), or give files to another number",
                    name.display()
                );
                *id = 0;
            }
        }
        Ok(())
    }
}

/// Whether the text of a script contains the number.
fn mentions(script: &str, number: u64) -> bool {
    script.split(|letter: char| !letter.is_ascii_digit()).any(|digits| digits.parse() == Ok(number))
}

/// The result of a script: the state of fakeroot, and the output of getfattr.
pub struct ScriptResult<'a> {
    pub root: &'a Path,
    /// The file that faked wrote.
    pub state: &'a Path,
    pub xattrs: BTreeMap<PathBuf, Xattrs>,
    pub builder: RecordedIds<'a>,
}

impl ScriptResult<'_> {
    /// Returns the owners by path. `before` is the state that faked loaded. Errors if a file has attributes that
    /// fakeroot did not record.
    pub fn owners(&self, before: &BTreeMap<InodeNumber, FileRecord>) -> Result<Owners> {
        let by_inode = read_state(self.state)?;
        let (mut owners, mut real_xattrs) = (Owners::new(), RealXattrs::new(self.root));
        walk(self.root, &mut |path, file| {
            real_xattrs.refuse(path)?;
            let inode = (file.dev(), file.ino());
            let Some(recorded) = by_inode.get(&inode) else { return Ok(()) };
            let (mut owner, dumped) = (recorded.clone(), self.xattrs.get(path));
            match before.get(&inode) {
                Some(before) => {
                    let xattrs = before.xattrs_now(&owner, path, dumped);
                    owner.xattrs = xattrs.with_context(|| format!("reading {}", path.display()))?;
                }
                None => {
                    owner.xattrs = xattrs::merge_dumped(dumped, &Xattrs::new(), || Ok(true))?;
                    self.builder.correct(&mut owner, path.strip_prefix(self.root).unwrap_or(path))?;
                }
            }
            if is_of_type(owner.mode, file) {
                owners.insert(path.to_owned(), owner);
            }
            Ok(())
        })?;
        Ok(owners)
    }
}

fn read_state(state: &Path) -> Result<HashMap<InodeNumber, Owner>> {
    let text = fs::read_to_string(state).context("reading fakeroot's state")?;
    let mut by_inode = HashMap::new();
    for line in text.lines() {
        let fields: HashMap<&str, &str> = line.split(',').filter_map(|field| field.split_once('=')).collect();
        let number = |name: &str, radix| fields.get(name).and_then(|text| u64::from_str_radix(text, radix).ok());
        let parsed = || {
            let rdev = number("rdev", 10).unwrap_or(0);
            let device = ((rdev >> 8 & 0xfff) | (rdev >> 32 & !0xfff), (rdev & 0xff) | (rdev >> 12 & !0xff));
            let mode = number("mode", 8)? as u32;
            let (uid, gid) = (number("uid", 10)?, number("gid", 10)?);
            let owner = Owner { mode, uid, gid, device, ..Owner::default() };
            Some(((number("dev", 16)?, number("ino", 10)?), owner))
        };
        let (inode, owner) = parsed().with_context(|| format!("fakeroot's state has the unknown line {line:?}"))?;
        by_inode.insert(inode, owner);
    }
    Ok(by_inode)
}

/// Whether a record with this `mode` can belong to `file`. Regular files stand for devices and pipes.
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

    /// A program that fakeroot cannot intercept (a static program) removes a file, and the next file gets its inode
    /// number.
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
        // The new contents have the same length and time.
        let modified = fs::metadata(&written).unwrap().modified().unwrap();
        fs::write(&written, "PROGRAM").unwrap();
        File::options().write(true).open(&written).unwrap().set_modified(modified).unwrap();
        let all = [&kept, &written].map(|path| (path.clone(), xattrs::loaded(&recorded.xattrs)));
        let result = ScriptResult { root: &root, state: &state, xattrs: all.into(), builder: RecordedIds::Reserved };
        let owners = result.owners(&before).unwrap();
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
        let result =
            ScriptResult { root: top.path(), state: &state, xattrs: BTreeMap::new(), builder: RecordedIds::Reserved };
        assert!(result.owners(&BTreeMap::new()).unwrap().is_empty());
    }

    #[test]
    fn a_file_whose_attributes_are_set_is_not_the_builders() {
        let xattrs = Xattrs::from([(b"user.a".to_vec(), b"b".to_vec())]);
        let recorded = |uid, gid, xattrs: &Xattrs| Owner { uid, gid, xattrs: xattrs.clone(), ..Owner::default() };
        let corrected = |builder: &RecordedIds, mut owner: Owner| {
            builder.correct(&mut owner, Path::new("bin")).map(|()| (owner.uid, owner.gid))
        };
        let reserved = RecordedIds::Reserved;
        assert_eq!(corrected(&reserved, recorded(RESERVED_ID, RESERVED_ID, &Xattrs::new())).unwrap(), (0, 0));
        assert_eq!(corrected(&reserved, recorded(1000, RESERVED_ID, &xattrs)).unwrap(), (1000, 0));
        let real = |script| RecordedIds::Real { uid: 1000, gid: 100, script };
        let script = "chown 10007:5 x; setcap cap_net_raw=ep bin";
        assert_eq!(corrected(&real(script), recorded(1000, 100, &xattrs)).unwrap(), (0, 0));
        assert_eq!(corrected(&real(script), recorded(1000, 100, &Xattrs::new())).unwrap(), (1000, 100));
        let error = corrected(&real("chown 1000:1000 x"), recorded(1000, 1000, &xattrs)).unwrap_err().to_string();
        assert!(error.starts_with("/bin has extended attributes and belongs to 1000, which"), "{error}");
    }
}
