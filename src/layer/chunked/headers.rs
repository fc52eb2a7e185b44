//! Reads the headers of a tar like Go's `archive/tar`.
//!
//! Readers of the format compare each entry of the table with the result of Go's reader for the tar's headers
//! (`ensureTOCMatchesTarSplit` in containers/container-libs, storage/pkg/chunked/compression_linux.go). Therefore both must have
//! the same result. If the result is uncertain, the layer becomes ordinary zstd: see [`Unfit`].

use std::collections::BTreeMap;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::toc::{EntryKind, TocEntry};
use crate::{budget::EXTENSION, oci::Timestamp};

/// The size of a block in bytes.
pub const BLOCK: usize = 512;

/// The reason why a tar has no table of contents: an entry that readers would refuse or misread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("its tar has {0}")]
#[serde(transparent)]
pub struct Unfit(String);

impl Unfit {
    /// Creates a reason from the name of the unsupported entry.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    /// The reason of a cached blob, which is not recorded.
    pub fn unknown() -> Self {
        Self::new("entries that the format cannot describe")
    }

    /// Returns the warning for the layer of this number, from 1.
    pub fn warning(&self, layer: usize) -> String {
        format!(
            "layer {layer} has no zstd:chunked table of contents, and is pulled whole: {self}; compress with zstd, or change \
             the files of the layer"
        )
    }
}

/// The reason for a malformed header.
fn malformed() -> Unfit {
    Unfit::new("a malformed header")
}

/// The result of a header block.
pub enum HeaderResult {
    /// The end of the archive.
    End,
    /// So many bytes of data, and their padding, belong to the header.
    Extension(u64),
    /// An entry.
    Entry(Box<TocEntry>),
}

/// The extensions of the next entry.
#[derive(Default)]
pub struct Headers {
    /// Whether devices and pipes are entries. Partial pulls leave them out (containers/storage, pkg/chunked/storage_linux.go,
    /// ApplyDiff).
    pub describes_devices: bool,
    kind: u8,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: BTreeMap<Vec<u8>, Vec<u8>>,
    /// If there is a PAX header, other extensions are ignored.
    has_pax: bool,
}

impl Headers {
    /// Reads a header block.
    pub fn block(&mut self, block: &[u8; BLOCK]) -> Result<HeaderResult, Unfit> {
        if block.iter().all(|&byte| byte == 0) {
            return if self.name.is_none() && self.link.is_none() && !self.has_pax {
                Ok(HeaderResult::End)
            } else {
                Err(Unfit::new("an extended header without an entry"))
            };
        }
        let header = tar::Header::from_byte_slice(block);
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(at, &byte)| u32::from(if (148..156).contains(&at) { b' ' } else { byte }))
            .sum();
        if header.cksum().map_err(|_| malformed())? != sum {
            return Err(malformed());
        }
        self.kind = block[156];
        let size = header.entry_size().map_err(|_| malformed())?;
        match self.kind {
            b'x' if !self.has_pax && size <= EXTENSION.bytes => Ok(HeaderResult::Extension(size)),
            b'L' | b'K' if size <= EXTENSION.bytes => Ok(HeaderResult::Extension(size)),
            b'3' | b'4' | b'6' if !self.describes_devices => Err(Unfit::new("a device or a pipe")),
            b'0'..=b'6' => self.entry(header, size),
            // Refuses global headers, sparse files, and types that may have data.
            b'S' => Err(Unfit::new("a sparse file")),
            b'g' => Err(Unfit::new("a global extended header")),
            b'x' | b'L' | b'K' => {
                Err(Unfit::new("two extended headers of one entry, or one of more than 1,048,576 bytes"))
            }
            kind => Err(Unfit::new(format!("an entry of the type {:?}", char::from(kind)))),
        }
    }

    /// Reads the data of an extension.
    pub fn extension(&mut self, data: &[u8]) -> Result<(), Unfit> {
        match self.kind {
            b'L' => self.name = Some(until_nul(data).to_vec()),
            b'K' => self.link = Some(until_nul(data).to_vec()),
            _ => {
                self.has_pax = true;
                self.pax = parse_pax(data).ok_or_else(malformed)?;
            }
        }
        Ok(())
    }

    /// Returns the extensions of an entry. The next entry has none.
    fn take(&mut self) -> Self {
        let next = Self { describes_devices: self.describes_devices, ..Self::default() };
        std::mem::replace(self, next)
    }

    fn entry(&mut self, header: &tar::Header, size: u64) -> Result<HeaderResult, Unfit> {
        let Self { kind, name, link, pax, .. } = self.take();
        if let Some(gnu) = header.as_gnu()
            && (gnu.atime[0] != 0 || gnu.ctime[0] != 0)
        {
            return Err(Unfit::new("times of access or change in a header of GNU's format"));
        }
        let magic = &header.as_bytes()[257..265];
        let is_ustar = magic == b"ustar\x0000";
        if !is_ustar && magic != b"ustar  \0" {
            return Err(Unfit::new("a header of a format before ustar"));
        }
        let record = |key: &str| pax.get(key.as_bytes()).map(Vec::as_slice);
        let number = |key: &str, own: std::io::Result<u64>| match record(key) {
            Some(text) => std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(malformed),
            None => own.map_err(|_| malformed()),
        };
        let time = |key: &str| record(key).map(parse_time).transpose();
        let size = number("size", Ok(size))?;
        let kind = parse_kind(kind);
        // Go's reader ignores the size of entries of other types.
        if kind != EntryKind::Reg && size != 0 {
            return Err(Unfit::new("data of an entry that is not a file"));
        }
        let short = || header.path_bytes().into_owned();
        let name = text(record("path"), Some(name.unwrap_or_else(short)))?;
        let short = || header.link_name_bytes().map(|link| link.into_owned());
        let link_name = text(record("linkpath"), link.or_else(short))?;
        // GNU tar and Python leave these fields of files empty. Go reads empty fields as 0 (parser.parseOctal).
        let device = |at: usize, number: std::io::Result<Option<u32>>| {
            if header.as_bytes()[at..at + 8].iter().all(|byte| matches!(byte, 0 | b' ')) {
                return Ok(0);
            }
            number.map_err(|_| malformed()).map(|number| u64::from(number.unwrap_or(0)))
        };
        let modified = match time("mtime")? {
            Some(time) => time,
            None => show_time(header.mtime().map_err(|_| malformed())?, 0)?,
        };
        let entry = TocEntry {
            kind,
            name,
            link_name,
            mode: u64::from(header.mode().map_err(|_| malformed())?),
            size,
            uid: number("uid", header.uid())?,
            gid: number("gid", header.gid())?,
            modified: Some(modified),
            accessed: time("atime")?,
            changed: time("ctime")?,
            dev_major: device(329, header.device_major())?,
            dev_minor: device(337, header.device_minor())?,
            xattrs: parse_xattrs(&pax)?,
            ..TocEntry::default()
        };
        if entry.name.is_empty() {
            return Err(Unfit::new("an entry without a name"));
        }
        Ok(HeaderResult::Entry(Box::new(entry)))
    }
}

fn parse_kind(kind: u8) -> EntryKind {
    match kind {
        b'1' => EntryKind::Hardlink,
        b'2' => EntryKind::Symlink,
        b'3' => EntryKind::Char,
        b'4' => EntryKind::Block,
        b'5' => EntryKind::Dir,
        b'6' => EntryKind::Fifo,
        _ => EntryKind::Reg,
    }
}

/// Returns the text of an extension, or else that of the header.
fn text(long: Option<&[u8]>, short: Option<Vec<u8>>) -> Result<String, Unfit> {
    let bytes = long.map(<[u8]>::to_vec).or(short).unwrap_or_default();
    let unfit = |text: &str, why| Unfit::new(format!("the name {text:?}, which {why}"));
    let text =
        String::from_utf8(bytes).map_err(|error| unfit(&String::from_utf8_lossy(error.as_bytes()), "is not UTF-8"))?;
    // podman 4.3 does not unescape JSON strings.
    let is_plain = text.chars().all(|letter| letter >= ' ' && !matches!(letter, '"' | '\\' | '\u{7f}'));
    if is_plain { Ok(text) } else { Err(unfit(&text, "has a control character, a quote or a backslash")) }
}

/// Returns the extended attributes of PAX records. Sparse files are not supported.
fn parse_xattrs(pax: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<BTreeMap<String, String>, Unfit> {
    let mut xattrs = BTreeMap::new();
    for (key, value) in pax {
        if key.starts_with(b"GNU.sparse") {
            return Err(Unfit::new("a sparse file"));
        }
        if let Some(key) = key.strip_prefix(b"SCHILY.xattr.") {
            xattrs.insert(text(Some(key), None)?, BASE64.encode(value));
        }
    }
    Ok(xattrs)
}

fn until_nul(data: &[u8]) -> &[u8] {
    data.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Parses records `LEN key=value\n`. An empty value would remove a field.
fn parse_pax(mut data: &[u8]) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut records = BTreeMap::new();
    while !data.is_empty() {
        let space = data.iter().take(20).position(|&byte| byte == b' ')?;
        let length: usize = std::str::from_utf8(&data[..space]).ok()?.parse().ok()?;
        let (key, value) = data
            .get(space + 1..length)?
            .strip_suffix(b"\n")?
            .split_at_checked(data.get(space + 1..length)?.iter().position(|&byte| byte == b'=')?)?;
        let value = value.get(1..).filter(|value| !value.is_empty())?;
        records.insert(key.to_vec(), value.to_vec());
        data = &data[length..];
    }
    Some(records)
}

/// Parses seconds since the epoch, which may have a fraction.
fn parse_time(text: &[u8]) -> Result<String, Unfit> {
    let text = std::str::from_utf8(text).map_err(|_| malformed())?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(malformed());
    }
    let nanoseconds = format!("{fraction:0<9}");
    let (seconds, nanoseconds) = (seconds.parse().map_err(|_| malformed())?, nanoseconds[..9].parse());
    show_time(seconds, nanoseconds.map_err(|_| malformed())?)
}

fn show_time(seconds: u64, nanoseconds: u32) -> Result<String, Unfit> {
    let time = Timestamp::from_unix_nanoseconds(seconds, nanoseconds);
    time.map(|time| time.to_string()).ok_or_else(|| Unfit::new("a time after the year 9999"))
}
