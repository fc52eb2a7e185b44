//! Reads a table of contents and checks it.
//!
//! Registries and archives are not trusted. A table is compared with everything that is known without the blob: its digest and
//! length, and the order of its entries. The chunks of a file must follow each other, add up to the file, and be before the
//! table and outside of other files.

use std::{collections::HashSet, io::Read};

use super::{
    Annotations, annotation,
    toc::{EntryKind, Toc, TocEntry},
};
use crate::{
    budget::{self, Budget},
    oci::Digest,
};

/// The maximum ratio between the content of a chunk and its compressed frame. Files of zeros are compressed to about a
/// thousandth.
const RATIO: u64 = 40_000;

/// The reason why a table is not used.
#[derive(Debug, thiserror::Error)]
#[error("the layer's table of contents: {0}")]
pub struct TocError(pub(crate) String);

type Result<T> = std::result::Result<T, TocError>;

fn wrong<T>(what: impl Into<String>) -> Result<T> {
    Err(TocError(what.into()))
}

/// A position in a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobPosition {
    /// The first byte.
    pub offset: u64,
    /// The number of bytes.
    pub length: u64,
    /// The number of bytes before compression.
    pub plain: u64,
}

/// The positions of the table and tar-split's data, from a layer's annotations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The digest of the compressed table.
    pub digest: Digest,
    /// The digest of the table before compression, for readers that pull lazily.
    pub plain_digest: Option<Digest>,
    /// The position of the table.
    pub table: BlobPosition,
    /// The position of tar-split's data, for newer readers.
    pub tar_split: Option<BlobPosition>,
}

impl Located {
    /// Parses the annotations of a layer of `size` bytes. Returns `None` if they name no table.
    ///
    /// # Errors
    ///
    /// If the annotations are malformed, or a position is outside of the layer.
    pub fn from_annotations(annotations: &Annotations, size: u64) -> Result<Option<Self>> {
        for (new, old) in
            [(annotation::CHECKSUM, annotation::OLD_CHECKSUM), (annotation::POSITION, annotation::OLD_POSITION)]
        {
            if let (Some(one), Some(other)) = (annotations.get(new), annotations.get(old))
                && one != other
            {
                return wrong(format!("the annotations {new} and {old} differ, so that readers find different tables"));
            }
        }
        let get = |new: &str, old: &str| annotations.get(new).or_else(|| annotations.get(old));
        let Some(digest) = get(annotation::CHECKSUM, annotation::OLD_CHECKSUM) else { return Ok(None) };
        let parse = |text: &String| text.parse().map_err(|error| TocError(format!("{error}")));
        let digest = parse(digest)?;
        let plain_digest = annotations.get(annotation::LAZY).map(parse).transpose()?;
        let Some(position) = get(annotation::POSITION, annotation::OLD_POSITION) else {
            return wrong("its position is missing");
        };
        let (table, kind) = parse_position(position, size)?;
        if kind != Some(1) {
            return wrong(format!("{position:?} is not the position of a table of contents of type 1"));
        }
        let tar_split = annotations.get(annotation::TAR_SPLIT).map(|text| parse_position(text, size));
        Ok(Some(Self { digest, plain_digest, table, tar_split: tar_split.transpose()?.map(|(position, _)| position) }))
    }

    /// Returns the number of bytes that every reader fetches before it can select chunks.
    pub fn overhead(&self) -> u64 {
        self.table.length + self.tar_split.map_or(0, |split| split.length)
    }

    /// Reads the table from `bytes`, which are those at its position.
    ///
    /// # Errors
    ///
    /// If the bytes differ from the annotations, or the table is inconsistent.
    pub fn read(&self, bytes: &[u8]) -> Result<Toc> {
        if bytes.len() as u64 != self.table.length || !self.digest.matches(bytes) {
            return wrong(format!("its digest is not {}", self.digest));
        }
        let mut budget = Budget::new(&budget::TOC);
        let plain = zstd::stream::read::Decoder::new(bytes)
            .and_then(|decoder| budget.read(decoder.take(self.table.plain + 1)))
            .map_err(|error| TocError(format!("decompressing it: {error}")))?;
        if plain.len() as u64 != self.table.plain {
            return wrong(format!("it does not have the {} bytes that it should", self.table.plain));
        }
        if let Some(digest) = self.plain_digest.filter(|digest| !digest.matches(&plain)) {
            return wrong(format!("its digest before compression is not {digest}"));
        }
        // Entries are counted before the table is parsed, because an entry needs at least ten times its text in memory.
        let entries = plain.iter().filter(|&&byte| byte == b'{').count();
        budget.take_parts(entries as u64).map_err(|error| TocError(error.to_string()))?;
        let table = Toc::parse(&plain).map_err(|error| TocError(format!("parsing it: {error}")))?;
        if table.version != 1 {
            return wrong(format!("it has version {}, and not 1", table.version));
        }
        files(&table, self.table.offset)?;
        Ok(table)
    }
}

/// Parses `offset:length:plain length[:type]` for a blob of `size` bytes.
fn parse_position(text: &str, size: u64) -> Result<(BlobPosition, Option<u64>)> {
    let numbers: Option<Vec<u64>> = text.split(':').map(|number| number.parse().ok()).collect();
    let (position, kind) = match numbers.as_deref() {
        Some(&[offset, length, plain]) => (BlobPosition { offset, length, plain }, None),
        Some(&[offset, length, plain, kind]) => (BlobPosition { offset, length, plain }, Some(kind)),
        _ => return wrong(format!("{text:?} is not a position")),
    };
    if position.offset == 0 || position.offset.checked_add(position.length).is_none_or(|end| end > size) {
        return wrong(format!("{text:?} is outside of the layer's {size} bytes"));
    }
    if position.length.max(position.plain) > budget::TOC.bytes {
        return wrong(format!("{text:?} exceeds the limit"));
    }
    Ok((position, kind))
}

/// A file and its chunks.
#[derive(Clone, Debug)]
pub struct FileChunks<'a> {
    /// The file's entry.
    pub entry: &'a TocEntry,
    /// The digest of its content.
    pub digest: Digest,
    /// The chunks, in order.
    pub chunks: Vec<ChunkAt>,
}

/// The position of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkAt {
    /// The first byte in the blob.
    pub offset: u64,
    /// The end in the blob.
    pub end: u64,
    /// The number of bytes before compression.
    pub size: u64,
    /// The digest of the bytes before compression. The only chunk of a file has the digest of the file.
    pub digest: Digest,
    /// Whether the chunk has only zeros, which are not fetched.
    pub is_zeros: bool,
}

/// Returns the files of a table that are not empty, in order. `end` is the end of the blob's frames.
///
/// # Errors
///
/// If the table is inconsistent.
pub fn files(table: &Toc, end: u64) -> Result<Vec<FileChunks<'_>>> {
    let mut names = HashSet::new();
    let mut files: Vec<FileChunks<'_>> = Vec::new();
    let mut entries = table.entries.iter().peekable();
    while let Some(entry) = entries.next() {
        let name = &entry.name;
        if entry.kind == EntryKind::Chunk {
            return wrong(format!("a chunk of {name:?} follows no file"));
        }
        if !names.insert(name.as_str()) {
            return wrong(format!("it has {name:?} twice"));
        }
        if name.is_empty() || name.split('/').any(|part| part == "..") {
            return wrong(format!("{name:?} is not a path in a layer"));
        }
        if entry.kind != EntryKind::Reg || entry.size == 0 {
            continue;
        }
        let Some(digest) = entry.digest else { return wrong(format!("{name:?} has no digest")) };
        let mut lines = vec![entry];
        while let Some(line) = entries.next_if(|line| line.kind == EntryKind::Chunk) {
            if line.name != *name {
                return wrong(format!("a chunk of {:?} follows {name:?}", line.name));
            }
            lines.push(line);
        }
        let chunks = chunks_of(&lines, digest)?;
        files.push(FileChunks { entry, digest, chunks });
    }
    // Tables of other tools have no end of a file with several chunks. It ends where the next file begins in the blob.
    let mut places: Vec<(u64, usize)> =
        files.iter().enumerate().map(|(at, file)| (file.chunks[0].offset, at)).collect();
    places.sort_unstable();
    let mut before = end;
    for &(offset, at) in places.iter().rev() {
        let file = &mut files[at];
        let name = &file.entry.name;
        for chunk in file.chunks.iter_mut().rev() {
            if chunk.end == 0 {
                chunk.end = before;
            }
            if chunk.offset == 0 || chunk.offset >= chunk.end || chunk.end > before {
                return wrong(format!("a chunk of {name:?} overlaps another, or is outside of the layer"));
            }
            if chunk.size / RATIO > chunk.end - chunk.offset {
                return wrong(format!("a chunk of {name:?} is a bomb: {} bytes", chunk.size));
            }
            before = chunk.offset;
        }
        before = offset;
    }
    Ok(files)
}

fn chunks_of(lines: &[&TocEntry], digest: Digest) -> Result<Vec<ChunkAt>> {
    let (name, size) = (&lines[0].name, lines[0].size);
    let mut chunks = Vec::with_capacity(lines.len());
    let mut from = 0_u64;
    for (at, line) in lines.iter().enumerate() {
        let is_last = at + 1 == lines.len();
        let chunk_size = match line.chunk_size {
            0 if lines.len() == 1 => size,
            length => length,
        };
        if line.chunk_offset != from || chunk_size == 0 {
            return wrong(format!("the chunks of {name:?} do not follow each other"));
        }
        from = from.saturating_add(chunk_size);
        let is_zeros = line.chunk_type == "zeros";
        let digest = match (line.chunk_digest, lines.len()) {
            (Some(chunk), 1) if chunk != digest => {
                return wrong(format!("the only chunk of {name:?} has another digest than the file"));
            }
            (Some(chunk), _) => chunk,
            (None, 1) => digest,
            (None, _) => return wrong(format!("a chunk of {name:?} has no digest")),
        };
        let end = if is_last {
            line.end_offset.max(if at == 0 { 0 } else { lines[0].end_offset })
        } else {
            lines[at + 1].offset
        };
        chunks.push(ChunkAt { offset: line.offset, end, size: chunk_size, digest, is_zeros });
    }
    if from != size {
        return wrong(format!("the chunks of {name:?} have {from} bytes, and it has {size}"));
    }
    Ok(chunks)
}
