//! Kind `customisation`: the result of the scripts of an image, as a store path.
//!
//! ```text
//! root/      the files, and whiteouts for the files that scripts deleted from a base image
//! owners     owner, mode, device and extended attributes of each, which the store does not keep
//! ```
//!
//! It is a separate derivation, so that Nix finds the store paths that the files mention. These store paths and their
//! closure are in the image too. Scripts run only once, even if the image is written in several forms.

use std::{
    fs::{self, Metadata, Permissions},
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::PermissionsExt,
    },
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use data_encoding::HEXLOWER;
use serde::Deserialize;

use super::{
    attributes::Attributes,
    base::Base,
    copies, programs,
    root::{PlacedContents, RootDirectory, Scripts},
    walk::walk,
};
use crate::{
    closure::StorePath,
    layer::{Owner, Owners, untar::Xattrs},
};

/// The directory of the files.
const ROOT: &str = "root";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Request {
    placed: PlacedContents,
    scripts: Scripts,
    base: Base,
    /// Whether the image has a Nix database of the closure.
    include_nix_database: bool,
    /// The result of kind `config`, which is in the closure, but not in the image.
    config: Option<StorePath>,
}

pub fn build(attributes: &Attributes) -> Result<()> {
    let Request { placed, scripts, base, include_nix_database, config } = attributes.request()?;
    let closure = include_nix_database.then(|| attributes.closure()).transpose()?;
    let closure = closure.map(|closure| closure.without_roots(|path| Some(path) == config.as_ref()));
    let root = RootDirectory::make(
        &super::work_directory()?,
        &placed,
        &scripts,
        base.open()?.as_ref(),
        base.below()?.as_ref(),
        closure.as_ref(),
    )?;
    programs::check_root(&root.path)?;
    save(&root, attributes.out())
}

fn save(root: &RootDirectory, out: &Path) -> Result<()> {
    fs::create_dir(out).with_context(|| format!("creating {}", out.display()))?;
    let mut records = Vec::new();
    walk(&root.path, &mut |path, file| {
        let Owner { mode, uid, gid, device: (major, minor), xattrs, .. } = root.owner(path, file);
        records.extend_from_slice(format!("{mode:o} {uid} {gid} {major} {minor} {} ", written(&xattrs)).as_bytes());
        let below = path.strip_prefix(&root.path).unwrap_or(path);
        records.extend_from_slice(below.as_os_str().as_bytes());
        records.push(0);
        storable(path, file, mode).with_context(|| format!("recording {}", path.display()))
    })?;
    let to = out.join(ROOT);
    // In a sandbox, source and target are on different mounts.
    fs::rename(&root.path, &to)
        .or_else(|_| copies::tree(&root.path, &to))
        .with_context(|| format!("moving to {}", to.display()))?;
    fs::write(out.join("owners"), records).context("writing owners")
}

/// Makes a file storable: a regular file replaces a pipe, and the mode is `owner_mode` reduced to the bits that Nix
/// keeps (read and execute). The mode therefore does not depend on the file system, the sandbox or fakeroot.
fn storable(path: &Path, file: &Metadata, owner_mode: u32) -> std::io::Result<()> {
    if file.is_symlink() {
        return Ok(());
    }
    let is_program = owner_mode & 0o170000 == 0o100000 && owner_mode & 0o100 != 0;
    if !file.is_dir() && !file.is_file() {
        fs::remove_file(path)?;
        fs::write(path, "")?;
    }
    let mode = if file.is_dir() || is_program { 0o755 } else { 0o644 };
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Returns the directory of the files in the result of [`build`].
pub fn root(made: &Path) -> PathBuf {
    made.join(ROOT)
}

/// Opens the result of [`build`].
pub fn open(made: &Path) -> Result<RootDirectory> {
    let path = root(made);
    let text = fs::read(made.join("owners")).with_context(|| format!("reading {}", made.display()))?;
    let mut owners = Owners::new();
    for record in text.split(|&byte| byte == 0).filter(|record| !record.is_empty()) {
        let (below, owner) = parse(record).with_context(|| format!("{}: malformed owners", made.display()))?;
        owners.insert(if below.as_os_str().is_empty() { path.clone() } else { path.join(below) }, owner);
    }
    Ok(RootDirectory { path, owners })
}

/// Returns `NAME=VALUE,…` in hexadecimal, or an empty string if there are no attributes.
fn written(xattrs: &Xattrs) -> String {
    let one = |(name, value): (&Vec<u8>, &Vec<u8>)| format!("{}={}", HEXLOWER.encode(name), HEXLOWER.encode(value));
    xattrs.iter().map(one).collect::<Vec<_>>().join(",")
}

fn read_xattrs(text: &[u8]) -> Option<Xattrs> {
    let hex = |text: &[u8]| HEXLOWER.decode(text).ok();
    let one = |text: &[u8]| {
        let equals = text.iter().position(|&byte| byte == b'=')?;
        Some((hex(&text[..equals])?, hex(&text[equals + 1..])?))
    };
    text.split(|&byte| byte == b',').filter(|text| !text.is_empty()).map(one).collect()
}

fn parse(record: &[u8]) -> Option<(PathBuf, Owner)> {
    let mut fields = record.splitn(7, |&byte| byte == b' ');
    let mut number = |radix| u64::from_str_radix(std::str::from_utf8(fields.next()?).ok()?, radix).ok();
    let (mode, uid, gid) = (u32::try_from(number(8)?).ok()?, number(10)?, number(10)?);
    let device = (number(10)?, number(10)?);
    let xattrs = read_xattrs(fields.next()?)?;
    let path = PathBuf::from(std::ffi::OsString::from_vec(fields.next()?.to_vec()));
    Some((path, Owner { mode, uid, gid, device, xattrs, mtime: None }))
}
