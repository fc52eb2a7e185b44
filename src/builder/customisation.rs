//! Kind `customisation`: what scripts make of an image's own files, as a store path.
//!
//! ```text
//! root/      the files; of what scripts deleted from a base image, whiteouts
//! owners     owner, mode, device and extended attributes of each, which the store does not keep
//! ```
//!
//! It is a derivation of its own so that Nix finds what the files mention: those
//! store paths are in the image too, with their closure. And scripts run once,
//! however the image is written then.

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
    copies,
    root::{Placed, Root, Scripts},
    walk::walk,
};
use crate::{
    closure::StorePath,
    layer::{Owner, Owners, untar::Xattrs},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Request {
    placed: Placed,
    scripts: Scripts,
    base: Base,
    /// Whether Nix in the container knows the closure.
    include_nix_database: bool,
    /// The result of kind `config`, which is in the closure, but not in the image.
    config: Option<StorePath>,
}

pub fn build(attributes: &Attributes) -> Result<()> {
    let Request { placed, scripts, base, include_nix_database, config } = attributes.request()?;
    let closure = include_nix_database.then(|| attributes.closure()).transpose()?;
    let closure = closure.map(|closure| closure.without_roots(|path| Some(path) == config.as_ref()));
    let root = Root::make(
        &super::work_directory()?,
        &placed,
        &scripts,
        base.open()?.as_ref(),
        base.below()?.as_ref(),
        closure.as_ref(),
    )?;
    save(&root, attributes.out())
}

fn save(root: &Root, out: &Path) -> Result<()> {
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
    let to = out.join("root");
    // A sandbox has the two on different mounts.
    fs::rename(&root.path, &to)
        .or_else(|_| copies::tree(&root.path, &to))
        .with_context(|| format!("moving to {}", to.display()))?;
    fs::write(out.join("owners"), records).context("writing owners")
}

/// Makes of a file what the store can hold: a plain file stands for a pipe, and modes are those of `owner` as Nix keeps them
/// (read and execute), whichever the file system, a sandbox or fakeroot left.
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

/// What [`build`] made.
pub fn open(made: &Path) -> Result<Root> {
    let path = made.join("root");
    let text = fs::read(made.join("owners")).with_context(|| format!("reading {}", made.display()))?;
    let mut owners = Owners::new();
    for record in text.split(|&byte| byte == 0).filter(|record| !record.is_empty()) {
        let (below, owner) = parse(record).with_context(|| format!("{}: malformed owners", made.display()))?;
        owners.insert(if below.as_os_str().is_empty() { path.clone() } else { path.join(below) }, owner);
    }
    Ok(Root { path, owners })
}

/// `NAME=VALUE,…` in hexadecimal; empty where there are none.
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
