//! The dynamic section of an ELF file: the interpreter, and the libraries that it loads.
//!
//! ```text
//! program headers ──▶ PT_INTERP     /nix/store/…-glibc/lib/ld-linux-x86-64.so.2
//!                 └─▶ PT_DYNAMIC    DT_NEEDED libc.so.6, DT_RUNPATH /nix/store/…-glibc/lib:$ORIGIN/../lib, DT_SONAME
//! ```
//!
//! Files are hostile: tables of more than a few thousand entries are not read, and a malformed file is not an ELF file.

use std::io::{Read, Seek};

use object::{
    elf::{self, FileHeader32, FileHeader64, Machine},
    endian::Endianness,
    read::{
        ReadCache, ReadRef,
        elf::{Dyn, FileHeader, ProgramHeader},
    },
};

/// The maximum number of program headers. Real files have about ten.
const SEGMENTS: u16 = 1024;
/// The maximum size of an interpreter's path and of a dynamic section, in bytes. Programs with thousands of libraries are
/// below it.
const SEGMENT_SIZE: u64 = 1 << 20;
/// The maximum size of all strings of a file in bytes. They may overlap in the file, and each is read separately. A `DT_RUNPATH`
/// of nixpkgs has up to some ten thousand bytes.
const STRINGS: u64 = 128 * 1024;
/// The size in bytes of the pieces in which a string is read.
const PIECE: u64 = 256;

/// What an ELF file loads when it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elf {
    /// Whether it has 64 bits, and its `e_machine`. A file only loads others of the same kind.
    pub kind: (bool, u16),
    /// The path of the dynamic linker.
    pub interpreter: Option<String>,
    /// The names of the libraries, in order.
    pub needed: Vec<String>,
    /// The name by which other files load it.
    pub soname: Option<String>,
    /// The directories of `DT_RPATH` and `DT_RUNPATH`, separated by colons.
    pub rpath: Option<String>,
    pub runpath: Option<String>,
}

impl Elf {
    /// Reads an ELF file, or returns `None` if it is another or a malformed file.
    pub fn read(file: impl Read + Seek) -> Option<Self> {
        let cache = ReadCache::new(file);
        let magic = (&cache).read_bytes_at(0, 5).ok()?;
        match (magic.get(..4)?, elf::FileClass(magic[4])) {
            (b"\x7fELF", elf::ELFCLASS64) => read_class::<FileHeader64<Endianness>, _>(&cache),
            (b"\x7fELF", elf::ELFCLASS32) => read_class::<FileHeader32<Endianness>, _>(&cache),
            _ => None,
        }
    }
}

fn read_class<'data, H: FileHeader<Endian = Endianness>, R: ReadRef<'data>>(data: R) -> Option<Elf> {
    let header = H::parse(data).ok()?;
    let endian = header.endian().ok()?;
    if header.e_phnum(endian) > SEGMENTS {
        return None;
    }
    let segments = header.program_headers(endian, data).ok()?;
    let Machine(machine) = header.e_machine(endian);
    let mut read = Elf { kind: (header.is_class_64(), machine), ..Elf::default() };
    let mut dynamic: &[H::Dyn] = &[];
    for segment in segments.iter().filter(|segment| segment.p_filesz(endian).into() <= SEGMENT_SIZE) {
        if let Some(path) = segment.interpreter(endian, data).ok()? {
            read.interpreter = text(path);
        }
        if let Some(entries) = segment.dynamic(endian, data).ok()? {
            dynamic = entries;
        }
    }
    let end = dynamic.iter().position(|entry| entry.tag(endian) == elf::DT_NULL).unwrap_or(dynamic.len());
    let dynamic = &dynamic[..end];
    let Some(table) = dynamic.iter().find(|entry| entry.tag(endian) == elf::DT_STRTAB) else { return Some(read) };
    let strings = offset::<H>(segments, endian, table.val(endian))?;
    let mut left = STRINGS;
    for entry in dynamic {
        let mut string = || {
            let string = read_string(data, strings.checked_add(entry.val(endian))?, left)?;
            // An empty string takes space, too.
            left = left.checked_sub(string.len() as u64 + 1)?;
            String::from_utf8(string).ok()
        };
        match entry.tag(endian) {
            elf::DT_NEEDED => read.needed.push(string()?),
            elf::DT_SONAME => read.soname = Some(string()?),
            elf::DT_RPATH => read.rpath = Some(string()?),
            elf::DT_RUNPATH => read.runpath = Some(string()?),
            _ => {}
        }
    }
    Some(read)
}

/// Reads a string, which ends in a NUL and has at most `limit` bytes. `read_bytes_at_until` reads 4,096 bytes at most.
fn read_string<'data>(data: impl ReadRef<'data>, start: u64, limit: u64) -> Option<Vec<u8>> {
    let limit = limit.min(data.len().ok()?.checked_sub(start)?);
    let mut string = Vec::new();
    while (string.len() as u64) < limit {
        let at = string.len() as u64;
        let piece = data.read_bytes_at(start + at, PIECE.min(limit - at)).ok()?;
        match memchr::memchr(0, piece) {
            Some(end) => return Some([string.as_slice(), &piece[..end]].concat()),
            None => string.extend_from_slice(piece),
        }
    }
    None
}

/// Returns the position in the file of a virtual address.
fn offset<H: FileHeader<Endian = Endianness>>(
    segments: &[H::ProgramHeader],
    endian: Endianness,
    address: u64,
) -> Option<u64> {
    let loaded = segments.iter().filter(|segment| segment.p_type(endian) == elf::PT_LOAD);
    let position = |segment: &H::ProgramHeader| {
        let below = address.checked_sub(segment.p_vaddr(endian).into())?;
        (below < segment.p_filesz(endian).into()).then_some(())?;
        below.checked_add(segment.p_offset(endian).into())
    };
    loaded.filter_map(position).next()
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}
