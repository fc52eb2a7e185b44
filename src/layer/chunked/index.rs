//! The skippable frames at the end of a blob: the table of contents, tar-split's data, and two footers with their positions.
//!
//! The table and tar-split's data are compressed while they grow, so that memory has only the compressed ones and the names
//! of the layer's entries.
//!
//! tar-split's data is the tar without the contents of its files. A reader that has those can make the same tar, and therefore
//! the diff_id, again (`Entry` in vbatts/tar-split, tar/storage/entry.go):
//!
//! ```json
//! {"type":2,"payload":"<base64: padding of the file before, header>","position":0}
//! {"type":1,"name":"/nix/store/…-x/a","size":9,"payload":"<base64: CRC-64 of the content>","position":1}
//! ```

use std::{
    collections::HashSet,
    io::{self, Write},
};

use data_encoding::BASE64;
use serde::Serialize;
use zstd::{stream::write::Encoder, zstd_safe::CParameter};

use super::{
    Annotations, annotation,
    frames::{CompressedPieces, TarPiece},
    headers::Unfit,
    toc::{EntryKind, TocEntry},
};
use crate::oci::{Digest, Sha256Writer};

/// The compression level of the table and of tar-split's data, which every pull fetches. Changing it changes digests.
const LEVEL: i32 = 9;
/// The logarithms of the encoder's tables. Lines resemble the previous lines. The default tables of the level have tens of
/// megabytes, and clearing them takes longer than compressing. Changing them changes digests.
const MEMORY: [CParameter; 3] = [CParameter::WindowLog(20), CParameter::HashLog(15), CParameter::ChainLog(15)];
/// The maximum size of each before compression. Readers refuse more than 50 MiB (podman 4.3) or 150 MiB (`maxTocSize`).
pub const MOST: usize = 48 * 1024 * 1024;
/// The magic number of a frame that decoders skip: <https://www.rfc-editor.org/rfc/rfc8878#name-skippable-frames>
const SKIPPABLE: u32 = 0x184d_2a50;
/// `ZstdChunkedFrameMagic`
pub const FOOTER_MAGIC: &[u8; 8] = b"GNUlInUx";
/// `zstdChunkedFrameMagic` of stargz-snapshotter (estargz/zstdchunked/zstdchunked.go), and of early versions of
/// containers/storage, which read the last 40 bytes of a blob if annotations are missing. Current versions read the annotations
/// alone, so this footer is the last one.
pub const OLD_FOOTER_MAGIC: &[u8; 8] = b"GnUlInUx";
/// The size in bytes of the header of a skippable frame: magic number and length.
pub const FRAME_HEADER: u64 = 8;
/// `ManifestTypeCRFS`
pub const TABLE_TYPE: u64 = 1;

/// The start of the table.
const START: &[u8] = b"{\"version\":1,\"entries\":[";

/// The contents of the layer's frames, recorded in their order.
pub struct FrameIndex {
    table: CompressedText,
    /// The digest of the table before compression.
    hasher: Sha256Writer<io::Sink>,
    split: CompressedText,
    position: u64,
    /// The number of bytes of previous frames.
    offset: u64,
    /// A file whose chunks follow.
    file: Option<(Box<TocEntry>, Vec<IndexedChunk>)>,
    names: HashSet<String>,
    entries: usize,
}

struct IndexedChunk {
    offset: u64,
    end: u64,
    size: u64,
    digest: Digest,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    payload: Option<String>,
    position: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// An error, or the reason why a tar has no table.
pub enum Trouble {
    Unfit(Unfit),
    Write(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

impl From<Unfit> for Trouble {
    fn from(unfit: Unfit) -> Self {
        Self::Unfit(unfit)
    }
}

/// A tar that ends within an entry.
fn incomplete() -> Trouble {
    Unfit::new("an incomplete entry").into()
}

impl FrameIndex {
    /// Creates an index without frames.
    pub fn new() -> io::Result<Self> {
        let table = CompressedText::new()?;
        let (position, offset, entries) = (0, 0, 0);
        let (split, hasher) = (CompressedText::new()?, Sha256Writer::new(io::sink()));
        Ok(Self { table, hasher, split, position, offset, file: None, names: HashSet::new(), entries })
    }

    /// Records the contents of the next frames.
    pub fn add(&mut self, done: &CompressedPieces) -> Result<(), Trouble> {
        let (mut frames, mut hashes) = (done.frames.iter(), done.hashes.iter());
        let mut frame = |offset: &mut u64| {
            let start = *offset;
            *offset += frames.next().map_or(0, |frame| u64::from(frame.packed));
            (start, *offset)
        };
        let mut at = 0;
        let mut between = false;
        for part in &done.job.parts {
            match part {
                TarPiece::Between(length, entry) => {
                    if !between && *length > 0 {
                        frame(&mut self.offset);
                        between = true;
                    }
                    let bytes = &done.job.data[at..at + length];
                    at += length;
                    if *length > 0 {
                        self.split(2, "", 0, Some(bytes))?;
                    }
                    if let Some(entry) = entry {
                        self.begin(entry.clone())?;
                    }
                }
                TarPiece::Chunk(length) | TarPiece::Whole(length) => {
                    between = false;
                    at += length;
                    let (offset, end) = frame(&mut self.offset);
                    let (digest, crc) = *hashes.next().ok_or_else(incomplete)?;
                    let (_, chunks) = self.file.as_mut().ok_or_else(incomplete)?;
                    chunks.push(IndexedChunk { offset, end, size: *length as u64, digest });
                    if matches!(part, TarPiece::Whole(_)) {
                        self.end(digest, crc)?;
                    }
                }
                TarPiece::End(digest, crc) => {
                    between = false;
                    self.end(*digest, *crc)?;
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, entry: Box<TocEntry>) -> Result<(), Trouble> {
        // Readers refuse a tar that has a file twice, and do not merge the entries.
        if !self.names.insert(clean(&entry.name)) {
            return Err(Unfit::new(format!("the name {:?} twice", entry.name)).into());
        }
        if entry.size > 0 {
            self.file = Some((entry, Vec::new()));
            return Ok(());
        }
        self.split(1, &entry.name, 0, None)?;
        self.entry(&entry)
    }

    fn end(&mut self, digest: Digest, crc: u64) -> Result<(), Trouble> {
        let (mut entry, chunks) = self.file.take().ok_or_else(incomplete)?;
        self.split(1, &entry.name, entry.size, Some(&crc.to_be_bytes()))?;
        let name = entry.name.clone();
        entry.digest = Some(digest);
        let mut from = 0;
        for (at, chunk) in chunks.iter().enumerate() {
            let mut line = match at {
                0 => (*entry).clone(),
                _ => TocEntry { kind: EntryKind::Chunk, name: name.clone(), chunk_offset: from, ..TocEntry::default() },
            };
            from += chunk.size;
            line.offset = chunk.offset;
            if at + 1 == chunks.len() {
                line.end_offset = chunk.end;
            }
            // stargz-snapshotter needs the digest of every chunk, also of the only one (`Verifiers` in estargz/estargz.go).
            line.chunk_digest = Some(chunk.digest);
            if chunks.len() > 1 {
                line.chunk_size = chunk.size;
            }
            self.entry(&line)?;
        }
        Ok(())
    }

    fn entry(&mut self, entry: &TocEntry) -> Result<(), Trouble> {
        let mut text = if self.entries == 0 { START.to_vec() } else { b",".to_vec() };
        serde_json::to_writer(&mut text, entry).map_err(io::Error::from)?;
        self.entries += 1;
        self.hasher.write_all(&text)?;
        self.table.write(&text)
    }

    fn split(&mut self, kind: u8, name: &str, size: u64, payload: Option<&[u8]>) -> Result<(), Trouble> {
        let payload = payload.map(|payload| BASE64.encode(payload));
        let line = Line { kind, name, size, payload, position: self.position };
        self.position += 1;
        let mut text = serde_json::to_vec(&line).map_err(io::Error::from)?;
        text.push(b'\n');
        self.split.write(&text)
    }

    /// Returns the skippable frames, and the annotations of the layer's descriptor.
    pub fn finish(mut self) -> Result<(Vec<u8>, Annotations), Trouble> {
        if self.file.is_some() {
            return Err(incomplete());
        }
        let (split, split_size) = self.split.finish()?;
        if self.entries == 0 {
            return Err(Unfit::new("no entries").into());
        }
        let end = format!("],\"tarSplitDigest\":\"{}\"}}", Digest::sha256(&split));
        self.hasher.write_all(end.as_bytes())?;
        self.table.write(end.as_bytes())?;
        let (table, table_size) = self.table.finish()?;
        let (_, table_digest, _) = self.hasher.finish();
        let table_at = self.offset + FRAME_HEADER;
        let split_at = table_at + table.len() as u64 + FRAME_HEADER;
        let numbers = [table_at, table.len() as u64, table_size, TABLE_TYPE, split_at, split.len() as u64, split_size];
        let mut bytes = Vec::with_capacity(table.len() + split.len() + 200);
        for data in [&table, &split, &footer(&numbers, FOOTER_MAGIC), &footer(&numbers[..4], OLD_FOOTER_MAGIC)] {
            bytes.extend_from_slice(&SKIPPABLE.to_le_bytes());
            bytes.extend_from_slice(&(data.len() as u32).to_le_bytes());
            bytes.extend_from_slice(data);
        }
        let checksum = Digest::sha256(&table).to_string();
        let position = format!("{table_at}:{}:{table_size}:{TABLE_TYPE}", table.len());
        let annotations = [
            (annotation::CHECKSUM, checksum.clone()),
            (annotation::POSITION, position.clone()),
            (annotation::TAR_SPLIT, format!("{split_at}:{}:{split_size}", split.len())),
            (annotation::OLD_CHECKSUM, checksum),
            (annotation::OLD_POSITION, position),
            (annotation::LAZY, table_digest.to_string()),
        ];
        Ok((bytes, annotations.map(|(key, value)| (key.to_owned(), value)).into()))
    }
}

/// Returns a footer: numbers in little-endian order, and the magic number.
pub fn footer(numbers: &[u64], magic: &[u8]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).chain(magic.iter().copied()).collect()
}

/// A compressed text that grows.
struct CompressedText {
    encoder: Encoder<'static, Vec<u8>>,
    size: usize,
}

impl CompressedText {
    fn new() -> io::Result<Self> {
        let mut encoder = Encoder::new(Vec::new(), LEVEL)?;
        for parameter in MEMORY {
            encoder.set_parameter(parameter)?;
        }
        Ok(Self { encoder, size: 0 })
    }

    fn write(&mut self, text: &[u8]) -> Result<(), Trouble> {
        self.size += text.len();
        if self.size > MOST {
            return Err(Unfit::new(format!("names and attributes for a table of more than {MOST} bytes")).into());
        }
        Ok(self.encoder.write_all(text)?)
    }

    fn finish(self) -> io::Result<(Vec<u8>, u64)> {
        Ok((self.encoder.finish()?, self.size as u64))
    }
}

/// Cleans a path like Go's `Clean` (path/filepath/path.go) below a root, without the root. All names of a file have the
/// same result.
fn clean(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
