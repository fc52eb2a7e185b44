//! What comes after the frames: the table of contents, tar-split's data, and the footer that says where they are.
//!
//! Both are compressed while they grow, so memory holds the compressed ones, and the names of the layer's entries.
//!
//! tar-split's data is everything of the tar but its files' contents, so that a reader who has those can make the same
//! tar, and so the diff_id, again (`Entry` in vbatts/tar-split, tar/storage/entry.go):
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
    frames::{Done, Part},
    headers::Unfit,
    toc::{Entry, Kind},
};
use crate::oci::Digest;

/// How hard table and tar-split data are compressed: every pull fetches them whole. Moves digests.
const LEVEL: i32 = 9;
/// What the encoder remembers, as logarithms. Lines resemble the ones just before; the level's own tables are tens of
/// megabytes, and clearing them takes longer than compressing. Moves digests.
const MEMORY: [CParameter; 3] = [CParameter::WindowLog(20), CParameter::HashLog(15), CParameter::ChainLog(15)];
/// Most bytes of either, before compression. Readers refuse more than 50 MiB (podman 4.3) or 150 MiB (`maxTocSize`).
pub const MOST: usize = 48 * 1024 * 1024;
/// Begins a frame that decoders skip: <https://www.rfc-editor.org/rfc/rfc8878#name-skippable-frames>
const SKIPPABLE: u32 = 0x184d_2a50;
/// `ZstdChunkedFrameMagic`
pub const FOOTER_MAGIC: &[u8; 8] = b"GNUlInUx";
/// `ManifestTypeCRFS`
pub const TABLE_TYPE: u64 = 1;

/// How the table begins.
const START: &[u8] = b"{\"version\":1,\"entries\":[";

/// What the layer's frames hold, written down as they come.
pub struct Index {
    table: Compressed,
    split: Compressed,
    position: u64,
    /// Bytes of frames so far.
    offset: u64,
    /// A file whose chunks come.
    file: Option<(Box<Entry>, Vec<Chunk>)>,
    names: HashSet<String>,
    entries: usize,
}

struct Chunk {
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

/// A failure, or a tar that has no table.
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

impl Index {
    /// Of no frames yet.
    pub fn new() -> io::Result<Self> {
        let table = Compressed::new()?;
        let (position, offset, entries) = (0, 0, 0);
        Ok(Self { table, split: Compressed::new()?, position, offset, file: None, names: HashSet::new(), entries })
    }

    /// Notes what the next frames hold.
    pub fn add(&mut self, done: &Done) -> Result<(), Trouble> {
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
                Part::Between(length, entry) => {
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
                Part::Chunk(length) | Part::Whole(length) => {
                    between = false;
                    at += length;
                    let (offset, end) = frame(&mut self.offset);
                    let (digest, crc) = *hashes.next().ok_or_else(incomplete)?;
                    let (_, chunks) = self.file.as_mut().ok_or_else(incomplete)?;
                    chunks.push(Chunk { offset, end, size: *length as u64, digest });
                    if matches!(part, Part::Whole(_)) {
                        self.end(digest, crc)?;
                    }
                }
                Part::End(digest, crc) => {
                    between = false;
                    self.end(*digest, *crc)?;
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, entry: Box<Entry>) -> Result<(), Trouble> {
        // Readers refuse a tar that has one file twice, and merge nothing.
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
        let several = chunks.len() > 1;
        let name = entry.name.clone();
        entry.digest = Some(digest);
        let mut from = 0;
        for (at, chunk) in chunks.iter().enumerate() {
            let mut line = match at {
                0 => (*entry).clone(),
                _ => Entry { kind: Kind::Chunk, name: name.clone(), chunk_offset: from, ..Entry::default() },
            };
            from += chunk.size;
            line.offset = chunk.offset;
            if at + 1 == chunks.len() {
                line.end_offset = chunk.end;
            }
            if several {
                (line.chunk_size, line.chunk_digest) = (chunk.size, Some(chunk.digest));
            }
            self.entry(&line)?;
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), Trouble> {
        let mut text = if self.entries == 0 { START.to_vec() } else { b",".to_vec() };
        serde_json::to_writer(&mut text, entry).map_err(io::Error::from)?;
        self.entries += 1;
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

    /// The skippable frames, and the annotations of the layer's descriptor.
    pub fn finish(mut self) -> Result<(Vec<u8>, Annotations), Trouble> {
        if self.file.is_some() {
            return Err(incomplete());
        }
        let (split, split_size) = self.split.finish()?;
        if self.entries == 0 {
            return Err(Unfit::new("no entries").into());
        }
        let end = format!("],\"tarSplitDigest\":\"{}\"}}", Digest::of(&split));
        self.table.write(end.as_bytes())?;
        let (table, table_size) = self.table.finish()?;
        const HEADER: u64 = 8;
        let table_at = self.offset + HEADER;
        let split_at = table_at + table.len() as u64 + HEADER;
        let numbers = [table_at, table.len() as u64, table_size, TABLE_TYPE, split_at, split.len() as u64, split_size];
        let footer: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).chain(*FOOTER_MAGIC).collect();
        let mut bytes = Vec::with_capacity(table.len() + split.len() + 200);
        for data in [&table, &split, &footer] {
            bytes.extend_from_slice(&SKIPPABLE.to_le_bytes());
            bytes.extend_from_slice(&(data.len() as u32).to_le_bytes());
            bytes.extend_from_slice(data);
        }
        let checksum = Digest::of(&table).to_string();
        let position = format!("{table_at}:{}:{table_size}:{TABLE_TYPE}", table.len());
        let annotations = [
            (annotation::CHECKSUM, checksum.clone()),
            (annotation::POSITION, position.clone()),
            (annotation::TAR_SPLIT, format!("{split_at}:{}:{split_size}", split.len())),
            (annotation::OLD_CHECKSUM, checksum),
            (annotation::OLD_POSITION, position),
        ];
        Ok((bytes, annotations.map(|(key, value)| (key.to_owned(), value)).into()))
    }
}

/// A text that grows, compressed.
struct Compressed {
    encoder: Encoder<'static, Vec<u8>>,
    size: usize,
}

impl Compressed {
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

/// A path as Go's `Clean` (path/filepath/path.go) has it below a root, without the root: two names of one file are the same.
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
