//! Parses the fields of a header as Go's `archive/tar` does (reader.go, `readHeader`; format.go, `getFormat`; strconv.go,
//! `parseNumeric`). If strata read another name, it would see another file than the one that engines unpack.
//!
//! ```text
//! offset   V7    USTAR and PAX   STAR            GNU
//! 257            "ustar\0"       "ustar\0"       "ustar  \0"
//! 263            any version     any version
//! 345            prefix (155)    prefix (131)    atime, ctime (12 each)
//! 476                            atime, ctime
//! 508                            "tar\0"
//! ```
//!
//! The full name is the prefix, a slash and the name. If the times of a GNU header are not numbers, Go reads the prefix of
//! USTAR at their offset, because its own writer put it there before Go 1.8.

use std::io;

use tar::EntryType;

use super::{BLOCK, invalid, text};

/// The block of a header.
pub(super) type Block = [u8; BLOCK as usize];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderFormat {
    V7,
    Ustar,
    Star,
    Gnu,
}

/// The fields of a header, without records of preceding headers.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    pub format: HeaderFormat,
    pub kind: EntryType,
    /// Whether the type is NUL, in which case a name that ends in a slash is the name of a directory.
    pub is_of_old_type: bool,
    pub name: Vec<u8>,
    pub link: Vec<u8>,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub size: u64,
    /// `None` for times before 1970.
    pub mtime: Option<u64>,
    pub device: (i64, i64),
}

impl Fields {
    /// Reads a block that is not all zeros.
    pub fn parse(block: &Block) -> io::Result<Self> {
        let sum = block[..148].iter().chain(&block[156..]).map(|byte| i64::from(*byte)).sum::<i64>() + 8 * 32;
        if octal(&block[148..156])? != sum {
            return Err(invalid("a header whose checksum is wrong"));
        }
        let format = format(block);
        let mut device = (0, 0);
        if format != HeaderFormat::V7 {
            device = (number(&block[329..337])?, number(&block[337..345])?);
        }
        let mut name = text(&block[..100]).to_vec();
        let prefix = prefix(block, format)?;
        if !prefix.is_empty() {
            name = [prefix, b"/", &name].concat();
        }
        let mtime = number(&block[136..148])?;
        Ok(Self {
            format,
            kind: EntryType::new(block[156]),
            is_of_old_type: block[156] == 0,
            name,
            link: text(&block[157..257]).to_vec(),
            mode: natural(&block[100..108])? as u32 & 0o7777,
            uid: natural(&block[108..116])?,
            gid: natural(&block[116..124])?,
            size: natural(&block[124..136])?,
            mtime: u64::try_from(mtime).ok().filter(|time| time >> 62 == 0),
            device,
        })
    }
}

/// Finds the format by its magic. As in Go, the version of USTAR, which is "00" in POSIX, is not compared.
fn format(block: &Block) -> HeaderFormat {
    match (&block[257..263], &block[263..265], &block[508..]) {
        (b"ustar\0", _, b"tar\0") => HeaderFormat::Star,
        (b"ustar\0", ..) => HeaderFormat::Ustar,
        (b"ustar ", b" \0", _) => HeaderFormat::Gnu,
        _ => HeaderFormat::V7,
    }
}

/// Returns the prefix of the name.
fn prefix(block: &Block, format: HeaderFormat) -> io::Result<&[u8]> {
    match format {
        HeaderFormat::V7 => Ok(b""),
        HeaderFormat::Ustar => Ok(text(&block[345..500])),
        HeaderFormat::Star => {
            number(&block[476..488])?;
            number(&block[488..500])?;
            Ok(text(&block[345..476]))
        }
        HeaderFormat::Gnu => {
            let is_time = |field: &[u8]| field[0] == 0 || number(field).is_ok();
            let old = text(&block[345..500]);
            let is_prefix = !(is_time(&block[345..357]) && is_time(&block[357..369])) && old.is_ascii();
            Ok(if is_prefix { old } else { b"" })
        }
    }
}

/// Parses a number: octal, or GNU's base 256. An empty field is 0, as in Go.
pub(super) fn number(field: &[u8]) -> io::Result<i64> {
    let Some(first @ 0x80..) = field.first() else { return octal(field) };
    // The bytes are a two's complement. Those of a negative number are inverted, and so is the sum.
    let inverse = if first & 0x40 == 0 { 0 } else { 0xff };
    let mut sum = 0_u64;
    for (at, byte) in field.iter().enumerate() {
        let byte = (byte ^ inverse) & if at == 0 { 0x7f } else { 0xff };
        if sum >> 56 != 0 {
            return Err(invalid_number());
        }
        sum = sum << 8 | u64::from(byte);
    }
    let number = i64::try_from(sum).map_err(|_| invalid_number())?;
    Ok(if inverse == 0 { number } else { !number })
}

/// Parses a number that is not negative.
pub(super) fn natural(field: &[u8]) -> io::Result<u64> {
    u64::try_from(number(field)?).map_err(|_| invalid("a header with a negative number"))
}

fn octal(field: &[u8]) -> io::Result<i64> {
    let digits = std::str::from_utf8(field).map_err(|_| invalid_number())?.trim_matches([' ', '\0']);
    // The bytes after a NUL remain from a longer number.
    let digits = digits.split('\0').next().unwrap_or_default();
    let digit = |sum: i64, digit: u8| match digit {
        b'0'..=b'7' => sum.checked_mul(8).map(|sum| sum + i64::from(digit - b'0')),
        _ => None,
    };
    digits.bytes().try_fold(0, digit).ok_or_else(invalid_number)
}

fn invalid_number() -> io::Error {
    invalid("a header with a number that is none")
}
