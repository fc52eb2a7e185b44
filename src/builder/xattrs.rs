//! Extended attributes that scripts set. fakeroot keeps them in memory only, so `getfattr` reads them after a script,
//! and `setfattr --restore` sets those of a base image before a script. Both use one format:
//!
//! ```text
//! # file: /build/customisation/bin/ping        \ooo for \, line ends, and = of names
//! security.capability=0x0100000200200000000000000000000000000000
//! ```

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use data_encoding::HEXLOWER_PERMISSIVE;

use super::walk::walk;
use crate::layer::untar::Xattrs;

/// The attribute that holds a program's capabilities.
pub const CAPABILITY: &[u8] = b"security.capability";
/// Maximum size in bytes of a message between fakeroot and its daemon: a name, the null byte that ends it, and a value.
/// fakeroot refuses larger attributes with `ERANGE`. (fakeroot: message.h, `MAX_IPC_BUFFER_SIZE`; communicate.c,
/// `send_get_xattr`)
const MESSAGE_SIZE: usize = 1024;
const FILE: &[u8] = b"# file: ";

/// Sizes in bytes of a capability of revision 2, and of revision 3, which ends with the user id of a namespace's root.
/// (linux: include/uapi/linux/capability.h, `XATTR_CAPS_SZ_2` and `XATTR_CAPS_SZ_3`)
const CAPABILITY_SIZES: (usize, usize) = (20, 24);

/// Whether fakeroot can keep the attribute.
fn fits(name: &[u8], value: &[u8]) -> bool {
    name.len() + 1 + value.len() <= MESSAGE_SIZE
}

/// Returns a capability of revision 2, as base images have them, in revision 3, for the root of the first user namespace. The
/// meaning is the same, but `setcap` writes revision 2. A capability that a script sets again after it wrote to a program
/// therefore differs from one that the base image left. (linux: `VFS_CAP_REVISION_2`, since 2.6.25, and `_3`, since 4.14)
fn loaded_capability(value: &[u8]) -> Vec<u8> {
    let mut loaded = value.to_vec();
    if value.len() == CAPABILITY_SIZES.0 && value[3] == 2 {
        loaded[3] = 3;
        loaded.resize(CAPABILITY_SIZES.1, 0);
    }
    loaded
}

fn original_capability(mut value: Vec<u8>) -> Vec<u8> {
    let (original, loaded) = CAPABILITY_SIZES;
    if value.len() == loaded && value[3] == 3 && value[original..] == [0; 4] {
        value[3] = 2;
        value.truncate(original);
    }
    value
}

/// Returns the attributes that a script reads for a file of a base image with `xattrs`.
pub fn loaded(xattrs: &Xattrs) -> Xattrs {
    let fitting = xattrs.iter().filter(|(name, value)| fits(name, value));
    fitting.map(|(name, value)| (name.clone(), loaded_value(name, value))).collect()
}

fn loaded_value(name: &[u8], value: &[u8]) -> Vec<u8> {
    if name == CAPABILITY { loaded_capability(value) } else { value.to_vec() }
}

/// Returns the attributes of a file after a script: those that getfattr `dumped`, in the form of the `base` attributes
/// that the file had before. Linux removes the capabilities of a program that is written to or gets another owner,
/// unless they are set again: `keeps_capability` returns whether they stay.
pub fn merge_dumped(
    dumped: Option<&Xattrs>,
    base: &Xattrs,
    keeps_capability: impl FnOnce() -> std::io::Result<bool>,
) -> std::io::Result<Xattrs> {
    let mut merged = dumped.cloned().unwrap_or_default();
    if let Some(value) = merged.get(CAPABILITY)
        && base.get(CAPABILITY).is_some_and(|before| loaded_capability(before) == *value)
        && !keeps_capability()?
    {
        merged.remove(CAPABILITY);
    }
    for (name, value) in base {
        let is_unchanged = merged.get(name).is_some_and(|found| *found == loaded_value(name, value));
        if is_unchanged || !fits(name, value) {
            merged.insert(name.clone(), value.clone());
        }
    }
    if let Some(value) = merged.remove(CAPABILITY) {
        let value = if base.get(CAPABILITY) == Some(&value) { value } else { original_capability(value) };
        merged.insert(CAPABILITY.to_vec(), value);
    }
    Ok(merged)
}

/// Returns the input of `setfattr --restore`.
pub fn written<'a>(files: impl Iterator<Item = (&'a Path, Xattrs)>) -> Vec<u8> {
    let mut text = Vec::new();
    for (path, xattrs) in files.filter(|(_, xattrs)| !xattrs.is_empty()) {
        text.extend_from_slice(FILE);
        quote(path.as_os_str().as_bytes(), &mut text);
        text.push(b'\n');
        for (name, value) in &xattrs {
            quote(name, &mut text);
            text.extend_from_slice(format!("=0x{}\n", data_encoding::HEXLOWER.encode(value)).as_bytes());
        }
        text.push(b'\n');
    }
    text
}

fn quote(name: &[u8], text: &mut Vec<u8>) {
    for &byte in name {
        match byte {
            b'\\' | b'\n' | b'\r' | b'=' => text.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
            byte => text.push(byte),
        }
    }
}

fn unquote(text: &[u8]) -> Option<Vec<u8>> {
    let (mut name, mut rest) = (Vec::new(), text);
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'\\' {
            let digits = std::str::from_utf8(rest.get(..3)?).ok()?;
            name.push(u8::from_str_radix(digits, 8).ok()?);
            rest = &rest[3..];
        } else {
            name.push(byte);
        }
    }
    Some(name)
}

/// Parses the output of `getfattr`. Returns the attributes by path, without labels of the machine.
pub fn parse(text: &[u8]) -> Result<BTreeMap<PathBuf, Xattrs>> {
    let mut all = BTreeMap::new();
    let mut current: Option<&mut Xattrs> = None;
    for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let unknown = || format!("getfattr wrote the unknown line {:?}", String::from_utf8_lossy(line));
        if let Some(path) = line.strip_prefix(FILE) {
            let path = PathBuf::from(OsString::from_vec(unquote(path).with_context(unknown)?));
            current = Some(all.entry(path).or_default());
            continue;
        }
        let attribute = || {
            let equals = line.iter().position(|&byte| byte == b'=')?;
            let value = HEXLOWER_PERMISSIVE.decode(line[equals + 1..].strip_prefix(b"0x")?).ok()?;
            Some((unquote(&line[..equals])?, value))
        };
        let (name, value) = attribute().with_context(unknown)?;
        if name != b"security.selinux" {
            current.as_mut().with_context(unknown)?.insert(name, value);
        }
    }
    Ok(all)
}

/// Refuses attributes in the file system of the build. They would be missing in the layer, which has only those that
/// fakeroot recorded.
pub struct RealXattrs<'a> {
    root: &'a Path,
    names: Vec<u8>,
}

impl<'a> RealXattrs<'a> {
    pub fn new(root: &'a Path) -> Self {
        Self { root, names: vec![0; 1 << 16] }
    }

    /// Errors if the file at `path`, below the root, has such an attribute.
    pub fn refuse(&mut self, path: &Path) -> Result<()> {
        // Some file systems have no attributes, and symbolic links have no user attributes.
        let Ok(length) = rustix::fs::llistxattr(path, self.names.as_mut_slice()) else { return Ok(()) };
        let mut names = self.names[..length].split(|&byte| byte == 0);
        let Some(name) = names.find(|name| name.starts_with(b"user.") || *name == CAPABILITY) else { return Ok(()) };
        bail!(
            "/{} has the extended attribute {}, which fakeroot has not recorded, and the image would be without it; set it in \
             fakeRootCommands or runAsRoot, with a program that is linked dynamically",
            path.strip_prefix(self.root).unwrap_or(path).display(),
            OsStr::from_bytes(name).display()
        )
    }

    /// Errors if any file below the root has such an attribute.
    pub fn refuse_all(&mut self) -> Result<()> {
        walk(self.root, &mut |path, _| self.refuse(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPABILITIES: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

    fn capabilities(value: &[u8]) -> Xattrs {
        Xattrs::from([(CAPABILITY.to_vec(), value.to_vec())])
    }

    #[test]
    fn saved_attributes_are_read_back() {
        let names: &[&[u8]] = &[b"user.a", b"user.a=b\n", b"user.\\\xff"];
        let xattrs: Xattrs = names.iter().map(|name| (name.to_vec(), b"\0=\n\xff".to_vec())).collect();
        let empty = Xattrs::from([(b"user.empty".to_vec(), Vec::new())]);
        let files = [(PathBuf::from("/a b\n# file: \\c"), xattrs), (PathBuf::from("/d"), empty)];
        let text = written(files.iter().map(|(path, xattrs)| (path.as_path(), xattrs.clone())));
        assert_eq!(parse(&text).unwrap(), BTreeMap::from(files));
        // The output of getfattr 2.5.
        let text = b"# file: /we ird\\012n\\134ame\nuser.x=0x610A3d62\nsecurity.selinux=0x00\n\n";
        let expected = Xattrs::from([(b"user.x".to_vec(), b"a\n=b".to_vec())]);
        assert_eq!(parse(text).unwrap(), BTreeMap::from([(PathBuf::from("/we ird\nn\\ame"), expected)]));
        for text in
            ["user.x=0x61", "# file: /a\\9\n", "# file: /a\nuser.x=61", "# file: /a\nuser.x=0x6", "# file: /a\nx"]
        {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn capabilities_of_the_base_go_when_a_program_is_written_and_those_set_again_stay() {
        let base = capabilities(CAPABILITIES);
        let found = loaded(&base);
        assert_ne!(found, base);
        assert_eq!(merge_dumped(Some(&found), &base, || Ok(true)).unwrap(), base);
        assert_eq!(merge_dumped(Some(&found), &base, || Ok(false)).unwrap(), Xattrs::new());
        assert_eq!(merge_dumped(Some(&base), &base, || Ok(false)).unwrap(), base);
        // A copy made by `cp -a`, and a removed attribute.
        assert_eq!(merge_dumped(Some(&found), &Xattrs::new(), || Ok(false)).unwrap(), base);
        assert_eq!(merge_dumped(None, &base, || Ok(true)).unwrap(), Xattrs::new());
        // The form of the base image stays, in either revision.
        let mut newer = CAPABILITIES.to_vec();
        newer[3] = 3;
        newer.extend([0; 4]);
        let base = capabilities(&newer);
        assert_eq!(loaded(&base), base);
        assert_eq!(merge_dumped(Some(&base), &base, || Ok(true)).unwrap(), base);
        assert_eq!(merge_dumped(Some(&base), &base, || Ok(false)).unwrap(), Xattrs::new());
    }

    #[test]
    fn values_that_fakeroot_cannot_hold_stay_as_they_are() {
        let base = Xattrs::from([(b"user.long".to_vec(), vec![1; 4000]), (b"user.short".to_vec(), b"x".to_vec())]);
        assert_eq!(loaded(&base).keys().collect::<Vec<_>>(), [b"user.short"]);
        assert_eq!(merge_dumped(Some(&loaded(&base)), &base, || Ok(true)).unwrap(), base);
    }

    /// The name `user.a`, its terminator and 1,017 bytes fill the 1,024 bytes of fakeroot.
    #[test]
    fn the_name_counts_in_what_fakeroot_holds() {
        for (name, length, is_loaded) in
            [("user.a", 1017, true), ("user.a", 1018, false), ("user.ab", 1016, true), ("user.ab", 1017, false)]
        {
            let base = Xattrs::from([(name.into(), vec![1; length])]);
            assert_eq!(!loaded(&base).is_empty(), is_loaded, "{name} {length}");
            assert_eq!(merge_dumped(Some(&loaded(&base)), &base, || Ok(true)).unwrap(), base);
        }
    }

    #[test]
    fn capabilities_of_other_sizes_stay_as_they_are() {
        let (second, third) = (|length| revision(2, length), |length| revision(3, length));
        for value in [second(8), second(24), third(8), third(20), third(28), Vec::new(), vec![3], vec![0, 0, 0, 3]] {
            let base = capabilities(&value);
            assert_eq!(loaded(&base), base);
            assert_eq!(merge_dumped(Some(&base), &Xattrs::new(), || Ok(true)).unwrap(), base);
        }
        // A capability of the root of a user namespace.
        let mut other_root = third(24);
        other_root[20] = 1;
        assert_eq!(original_capability(other_root.clone()), other_root);
        assert_eq!(original_capability(third(24)), second(20));
    }

    fn revision(number: u8, length: usize) -> Vec<u8> {
        let mut value = vec![0; length];
        value[3] = number;
        value
    }

    #[test]
    fn attributes_of_the_file_system_are_refused() {
        let top = tempfile::tempdir().unwrap();
        let file = top.path().join("bin");
        std::fs::write(&file, "").unwrap();
        RealXattrs::new(top.path()).refuse_all().unwrap();
        // tmpfs of older kernels supports no attributes.
        if rustix::fs::setxattr(&file, "user.a", b"b", rustix::fs::XattrFlags::empty()).is_ok() {
            let error = RealXattrs::new(top.path()).refuse_all().unwrap_err().to_string();
            assert!(error.starts_with("/bin has the extended attribute user.a,"), "{error}");
        }
    }
}
