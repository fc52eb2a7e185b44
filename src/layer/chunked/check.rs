//! Checks a blob against its table of contents: the place of every chunk, tar-split's data, and the footer.

use std::io::{self, Read};

use super::{
    index::{FOOTER_MAGIC, FRAME_HEADER, OLD_FOOTER_MAGIC, TABLE_TYPE, footer},
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
    check_footers(located, &rest)
}

/// Compares the footers with the annotations, because some readers use one and some the other. stargz-snapshotter and old
/// versions of podman read a footer without the position of tar-split's data.
fn check_footers(located: &Located, mut end: &[u8]) -> io::Result<()> {
    let table = [located.table.offset, located.table.length, located.table.plain, TABLE_TYPE];
    let differ = || Err(wrong("a footer and the annotations contain different positions".to_owned()));
    if end.ends_with(OLD_FOOTER_MAGIC) {
        let Some(before) = end.strip_suffix(&*footer(&table, OLD_FOOTER_MAGIC)) else { return differ() };
        end = &before[..before.len().saturating_sub(FRAME_HEADER as usize)];
    } else if located.plain_digest.is_some() {
        return Err(wrong("the blob does not end in the footer that lazy pulls need".to_owned()));
    }
    let Some(before) = end.strip_suffix(FOOTER_MAGIC) else { return Ok(()) };
    let is_footer = |split: &[u64]| before.ends_with(&footer(&[&table, split].concat(), b""));
    let is_same = match (located.tar_split, located.plain_digest) {
        (Some(split), _) => is_footer(&[split.offset, split.length, split.plain]),
        // Only podman reads tar-split's data, at the position of an annotation that this layer lacks.
        (None, Some(_)) => before.len() >= 56 && before[..before.len() - 24].ends_with(&footer(&table, b"")),
        (None, None) => is_footer(&[]) || is_footer(&[0; 3]),
    };
    if is_same { Ok(()) } else { differ() }
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
