//! Headers of tar entries.
//!
//! USTAR does not fit when a name or link target is not ASCII or has NUL, when
//! a link target is longer than 100 bytes, when a name longer than 100 bytes
//! cannot be split at a slash into 155 and 100, when a number needs more
//! octal digits than its field has (8 GiB for sizes), or when there are extended attributes.
//!
//! The `tar` crate gives the header's layout; its own builder would write GNU
//! records for long names. See pax(1), "ustar Interchange Format", and
//! [the layer specification](https://github.com/opencontainers/image-spec/blob/main/layer.md).

use std::collections::BTreeMap;

use super::{
    MTIME,
    path_options::EntryAttributes,
    untar::{XATTR, Xattrs},
};

/// The size of a block of a tar, in bytes.
pub(super) const BLOCK: usize = 512;
const NAME: usize = 100;
const PREFIX: usize = 155;

/// The header of an entry.
#[derive(Clone, Debug)]
pub struct Header<'a> {
    /// The path of the entry. It may contain all bytes but NUL.
    pub name: &'a [u8],
    /// The type of the entry.
    pub kind: tar::EntryType,
    /// Permission bits, including setuid, setgid and sticky.
    pub mode: u32,
    /// The user ID of the owner.
    pub uid: u64,
    /// The group ID of the owner.
    pub gid: u64,
    /// The name of the owner.
    pub uname: &'a str,
    /// The name of the group.
    pub gname: &'a str,
    /// The number of bytes of data after the header.
    pub size: u64,
    /// The target of a link, empty for other types.
    pub link: &'a [u8],
    /// Modification time in seconds since the epoch.
    pub mtime: u64,
    /// Major and minor number of a device.
    pub device: (u64, u64),
    /// Extended attributes, if there are any.
    pub xattrs: Option<&'a Xattrs>,
}

impl<'a> Header<'a> {
    /// A file that belongs to root, with mode 0644.
    pub fn file(name: &'a [u8], size: u64) -> Self {
        Self::new(name, tar::EntryType::Regular, size, &[], EntryAttributes::root(0o644))
    }

    /// A directory that belongs to root, with mode 0755.
    pub fn directory(name: &'a [u8]) -> Self {
        Self::new(name, tar::EntryType::Directory, 0, &[], EntryAttributes::root(0o755))
    }

    pub(super) fn new(
        name: &'a [u8],
        kind: tar::EntryType,
        size: u64,
        link: &'a [u8],
        attributes: EntryAttributes<'a>,
    ) -> Self {
        let EntryAttributes { mode, uid, gid, uname, gname, xattrs } = attributes;
        Self { name, kind, mode, uid, gid, uname, gname, size, link, mtime: MTIME, device: (0, 0), xattrs }
    }

    /// Returns PAX records for the fields that do not fit into USTAR, in order of their keys.
    pub(super) fn pax_records(&self) -> Vec<u8> {
        let mut records = Vec::new();
        for (name, value) in self.xattrs.into_iter().flatten() {
            append_pax_record(&mut records, &[XATTR, name].concat(), value);
        }
        let mut record = |key: &str, value: &[u8]| append_pax_record(&mut records, key.as_bytes(), value);
        if !fits_octal(8, self.gid) {
            record("gid", self.gid.to_string().as_bytes());
        }
        if !fits_text(32, self.gname.as_bytes()) {
            record("gname", self.gname.as_bytes());
        }
        if !fits_text(NAME, self.link) {
            record("linkpath", self.link);
        }
        if !fits_octal(12, self.mtime) {
            record("mtime", self.mtime.to_string().as_bytes());
        }
        // If another record is needed, Go also repeats a path that fits into USTAR only after splitting.
        if !fits_text(NAME, self.name) {
            record("path", self.name);
        }
        if !fits_octal(12, self.size) {
            record("size", self.size.to_string().as_bytes());
        }
        if !fits_octal(8, self.uid) {
            record("uid", self.uid.to_string().as_bytes());
        }
        if !fits_text(32, self.uname.as_bytes()) {
            record("uname", self.uname.as_bytes());
        }
        records
    }

    pub(super) fn fits_ustar(&self) -> bool {
        (fits_text(NAME, self.name) || split_name(self.name).is_some())
            && fits_text(NAME, self.link)
            && fits_text(32, self.uname.as_bytes())
            && fits_text(32, self.gname.as_bytes())
            && fits_octal(8, self.uid)
            && fits_octal(8, self.gid)
            && fits_octal(12, self.size)
            && fits_octal(12, self.mtime)
            && self.xattrs.is_none_or(BTreeMap::is_empty)
    }

    pub(super) fn block(&self, prefix: &[u8], name: &[u8]) -> tar::Header {
        let mut block = tar::Header::new_ustar();
        let ustar = block.as_ustar_mut().expect("a ustar header");
        put_text(&mut ustar.prefix, prefix);
        put_text(&mut ustar.name, name);
        put_text(&mut ustar.linkname, self.link);
        put_text(&mut ustar.uname, self.uname.as_bytes());
        put_text(&mut ustar.gname, self.gname.as_bytes());
        put_octal(&mut ustar.mode, self.mode.into());
        put_octal(&mut ustar.uid, self.uid);
        put_octal(&mut ustar.gid, self.gid);
        put_octal(&mut ustar.size, self.size);
        put_octal(&mut ustar.mtime, self.mtime);
        put_octal(&mut ustar.dev_major, self.device.0);
        put_octal(&mut ustar.dev_minor, self.device.1);
        finish_block(block, self.kind)
    }
}

/// Returns the header before PAX records. Go sets only these fields.
pub(super) fn pax_block(name: &[u8], size: u64) -> tar::Header {
    let (directory, base) = match name.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => name.split_at(slash + 1),
        None => (&[][..], name),
    };
    let full = ascii(&[directory, b"PaxHeaders.0/", base].concat());
    let short = &full[..full.len().min(NAME)];
    let end = short.iter().rposition(|&byte| byte != b'/').map_or(0, |at| at + 1);
    let mut block = tar::Header::new_ustar();
    let ustar = block.as_ustar_mut().expect("a ustar header");
    put_text(&mut ustar.name, &short[..end]);
    put_octal(&mut ustar.mode, 0);
    put_octal(&mut ustar.uid, 0);
    put_octal(&mut ustar.gid, 0);
    put_octal(&mut ustar.size, size);
    put_octal(&mut ustar.mtime, 0);
    finish_block(block, tar::EntryType::XHeader)
}

/// Sets type and checksum. The checksum ends with NUL and space, unlike that of the `tar` crate's `set_cksum`.
fn finish_block(mut block: tar::Header, kind: tar::EntryType) -> tar::Header {
    block.set_entry_type(kind);
    let old = block.as_old_mut();
    old.cksum = *b"        ";
    let sum: u32 = block.as_bytes().iter().map(|&byte| u32::from(byte)).sum();
    let text = format!("{sum:06o}\0 ");
    block.as_old_mut().cksum.copy_from_slice(text.as_bytes());
    block
}

fn is_ascii(text: &[u8]) -> bool {
    text.iter().all(|byte| (1..0x80).contains(byte))
}

fn ascii(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(|byte| (1..0x80).contains(byte)).collect()
}

fn fits_text(field: usize, text: &[u8]) -> bool {
    text.len() <= field && is_ascii(text)
}

fn fits_octal(field: u32, number: u64) -> bool {
    number < 1 << ((field - 1) * 3)
}

/// Writes a text, cut to the length of the field. A PAX record then contains the whole text.
fn put_text(field: &mut [u8], text: &[u8]) {
    let text = ascii(text);
    let taken = text.len().min(field.len());
    field[..taken].copy_from_slice(&text[..taken]);
    // Some readers take a file whose name field ends in a slash for a directory.
    if text.len() > field.len() && field[field.len() - 1] == b'/' {
        let end = field.iter().rposition(|&byte| byte != b'/').map_or(0, |at| at + 1);
        field[end] = 0;
    }
}

/// Writes a number, padded with zeros and ended by NUL. A number that does not fit is 0, and a PAX record contains it.
fn put_octal(field: &mut [u8], number: u64) {
    let digits = field.len() - 1;
    let number = if fits_octal(field.len() as u32, number) { number } else { 0 };
    let text = format!("{number:0digits$o}\0");
    field.copy_from_slice(text.as_bytes());
}

/// Appends `LEN key=value\n`, where LEN counts the whole record.
fn append_pax_record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + " =\n".len();
    let mut length = rest + rest.to_string().len();
    if rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// Splits a name longer than its field at the last slash for which both parts fit.
pub(super) fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= NAME || !is_ascii(name) {
        return None;
    }
    let reach = match name.len() {
        length if length > PREFIX + 1 => PREFIX + 1,
        length if name.ends_with(b"/") => length - 1,
        length => length,
    };
    let slash = name[..reach].iter().rposition(|&byte| byte == b'/')?;
    let (prefix, rest) = (&name[..slash], &name[slash + 1..]);
    (slash > 0 && !rest.is_empty() && rest.len() <= NAME && prefix.len() <= PREFIX).then_some((prefix, rest))
}
