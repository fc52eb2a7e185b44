//! Checks a blob against its table of contents: the place of every chunk, tar-split's data, and the footer.

use std::io::{self, Read};

use super::{
    index::{FOOTER_MAGIC, TABLE_TYPE},
    read::{ChunkAt, Located, TocError, files},
    toc::{EntryKind, Toc, TocEntry},
};
use crate::{
    budget::{self, Budget},
    oci::Timestamp,
};

/// Reads all of a blob.
///
/// # Errors
///
/// If the blob differs from the table, or cannot be read.
pub fn check_blob(located: &Located, table: &Toc, blob: &mut dyn Read) -> io::Result<()> {
    let mut chunks: Vec<(&str, ChunkAt)> = Vec::new();
    for file in files(table, located.table.offset).map_err(io::Error::other)? {
        chunks.extend(file.chunks.iter().filter(|chunk| !chunk.is_zeros).map(|chunk| (&*file.entry.name, *chunk)));
    }
    chunks.sort_unstable_by_key(|(_, chunk)| chunk.offset);
    let mut at = 0;
    for (name, chunk) in chunks {
        io::copy(&mut blob.take(chunk.offset - at), &mut io::sink())?;
        let mut packed = blob.take(chunk.end - chunk.offset);
        let mut hasher = crate::oci::Sha256Writer::new(io::sink());
        let plain = zstd::stream::read::Decoder::new(&mut packed)?;
        io::copy(&mut plain.take(chunk.size + 1), &mut hasher)?;
        io::copy(&mut packed, &mut io::sink())?;
        let (_, digest, size) = hasher.finish();
        if (size, digest) != (chunk.size, chunk.digest) {
            return Err(wrong(format!(
                "the chunk of {name} at byte {} is {digest} of {size} bytes, and not {} of {}",
                chunk.offset, chunk.digest, chunk.size
            )));
        }
        at = chunk.end;
    }
    // Table, tar-split's data and footer: readers refuse more of the first two.
    let mut rest = Vec::new();
    Budget::new(&budget::CHUNKED_END).read_start(&mut *blob, &mut rest)?;
    let part = |offset: u64, length: u64| {
        let start = usize::try_from(offset.checked_sub(at)?).ok()?;
        rest.get(start..start.checked_add(usize::try_from(length).ok()?)?)
    };
    if let Some(split) = located.tar_split {
        let bytes = part(split.offset, split.length).unwrap_or_default();
        if table.tar_split_digest.is_some_and(|digest| !digest.matches(bytes)) {
            return Err(wrong("the digest of tar-split's data is another".to_owned()));
        }
        let plain = zstd::stream::read::Decoder::new(bytes)?;
        if io::copy(&mut plain.take(split.plain + 1), &mut io::sink())? != split.plain {
            return Err(wrong(format!("tar-split's data does not have {} bytes", split.plain)));
        }
    }
    check_footer(located, &rest)
}

/// Compares the footer with the annotations, because some readers use one and some the other. Footers of older writers
/// (podman 4.3) do not contain the position of the data of tar-split.
fn check_footer(located: &Located, end: &[u8]) -> io::Result<()> {
    let Some(before) = end.strip_suffix(FOOTER_MAGIC) else { return Ok(()) };
    let table = [located.table.offset, located.table.length, located.table.plain, TABLE_TYPE];
    let is_footer = |split: &[u64]| {
        before.ends_with(&table.iter().chain(split).copied().flat_map(u64::to_le_bytes).collect::<Vec<_>>())
    };
    let is_same = match located.tar_split {
        Some(split) => is_footer(&[split.offset, split.length, split.plain]),
        None => is_footer(&[]) || is_footer(&[0; 3]),
    };
    match is_same {
        true => Ok(()),
        false => Err(wrong("the footer and the annotations contain different positions".to_owned())),
    }
}

/// Holds the entries of a table against those that the layer's tar has, as [`ChunkedWriter`](super::ChunkedWriter) finds
/// them.
///
/// # Errors
///
/// If an entry differs.
pub fn check_entries(table: &Toc, of_tar: &Toc) -> Result<(), TocError> {
    let mut listed = table.entries.iter().filter(|entry| entry.kind != EntryKind::Chunk);
    for real in of_tar.entries.iter().filter(|entry| entry.kind != EntryKind::Chunk) {
        let Some(entry) = listed.next() else { return Err(TocError(format!("it lacks {:?}", real.name))) };
        if !agree(entry, real) {
            return Err(TocError(format!("its entry {:?} differs from the layer", real.name)));
        }
    }
    match listed.next() {
        Some(more) => Err(TocError(format!("it has {:?}, which the layer has not", more.name))),
        None => Ok(()),
    }
}

/// Whether two entries say the same of the tar, whatever they say of the blob. Others write times that tars do not have as
/// those of the year 1, so only the one that is always there counts.
fn agree(one: &TocEntry, other: &TocEntry) -> bool {
    let name = |entry: &TocEntry| entry.name.trim_end_matches('/').to_owned();
    let digest = |entry: &TocEntry| entry.digest.filter(|_| entry.size > 0);
    let numbers = |entry: &TocEntry| [entry.mode, entry.size, entry.uid, entry.gid, entry.dev_major, entry.dev_minor];
    let time = |entry: &TocEntry| entry.modified.as_deref().map(|text| text.parse::<Timestamp>().ok());
    one.kind == other.kind
        && name(one) == name(other)
        && one.link_name == other.link_name
        && numbers(one) == numbers(other)
        && time(one) == time(other)
        && one.xattrs == other.xattrs
        && digest(one) == digest(other)
}

fn wrong(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the layer's table of contents: {what}"))
}
