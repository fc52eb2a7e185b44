//! Computes the bytes that podman, buildah and CRI-O fetch in a partial pull of zstd:chunked layers, if another image exists
//! at the destination.
//!
//! ```text
//! an existing layer                    nothing
//! a missing layer                      its table of contents, the tar-split data, and the chunks of no existing layer
//! chunks at most 1 KiB apart           one range, including the bytes between the chunks
//! ```
//!
//! zstd:chunked layers have a table of contents. For uncompressed layers, the table that a push would write is computed.
//! Requests, headers, manifest and config are not included.

use std::{collections::HashSet, io};

use serde::Serialize;

use super::dissect::merge_ranges;
use crate::{
    image::{Chunked, ImageError, LayerBlob},
    layer::chunked::{
        read::{ChunkAt, Located, files},
        toc::Toc,
    },
    oci::{Digest, descriptor::media_type},
};

/// The cost of a partial pull.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct PartialPull {
    /// The bytes to fetch: tables of contents, chunks, and whole layers that have no table of contents.
    pub bytes: u64,
    /// The size of the tables of contents and the tar-split data, which `bytes` includes.
    pub tables: u64,
    /// The number of ranges to request.
    pub ranges: usize,
    /// The number of layers that are fetched partially.
    pub layers: usize,
    /// The number of layers without a table of contents, which are fetched as a whole.
    pub whole: usize,
}

/// The size of a layer and its table of contents, if it has one.
struct LayerToc {
    size: u64,
    toc: Option<(Located, Toc)>,
}

impl PartialPull {
    /// Computes a pull of the layers `new` if the layers `old` exist. Uncompressed layers count as zstd:chunked layers of the
    /// compression level `level`.
    ///
    /// # Errors
    ///
    /// If the bytes of a layer are not on this machine, or do not match its descriptor.
    pub fn new(old: &[LayerBlob], new: &[LayerBlob], level: Option<i32>) -> Result<Self, ImageError> {
        let existing: HashSet<Digest> = old.iter().map(|layer| layer.diff_id).collect();
        let mut existing_chunks = HashSet::new();
        let mut pull = Self::default();
        let missing: Vec<&LayerBlob> = new.iter().filter(|layer| !existing.contains(&layer.diff_id)).collect();
        if missing.is_empty() {
            return Ok(pull);
        }
        for layer in old {
            for (digest, chunks) in read_toc(layer, level)?.files(layer)? {
                existing_chunks.insert(digest);
                existing_chunks.extend(chunks.iter().map(|chunk| chunk.digest));
            }
        }
        for layer in missing {
            let toc = read_toc(layer, level)?;
            let Some((located, _)) = &toc.toc else {
                pull.whole += 1;
                pull.bytes += toc.size;
                continue;
            };
            pull.layers += 1;
            pull.tables += located.overhead();
            pull.bytes += located.overhead();
            let files = toc.files(layer)?;
            let missing = files.iter().filter(|(digest, _)| !existing_chunks.contains(digest));
            let chunks = missing.flat_map(|(_, chunks)| chunks);
            let mut chunks: Vec<&ChunkAt> =
                chunks.filter(|chunk| !chunk.is_zeros && !existing_chunks.contains(&chunk.digest)).collect();
            chunks.sort_unstable_by_key(|chunk| chunk.offset);
            let (ranges, bytes) = merge_ranges(chunks.iter().map(|chunk| chunk.offset..chunk.end));
            pull.ranges += ranges;
            pull.bytes += bytes;
        }
        Ok(pull)
    }
}

impl LayerToc {
    /// Returns the digests of the files of the layer, and their chunks.
    fn files(&self, layer: &LayerBlob) -> Result<Vec<(Digest, Vec<ChunkAt>)>, ImageError> {
        let Some((located, toc)) = &self.toc else { return Ok(Vec::new()) };
        let files = files(toc, located.table.offset).map_err(|error| fail(layer)(io::Error::other(error)))?;
        Ok(files.into_iter().map(|file| (file.digest, file.chunks)).collect())
    }
}

fn fail(layer: &LayerBlob) -> impl Fn(io::Error) -> ImageError {
    let digest = layer.descriptor.digest;
    move |source| ImageError::Blob { digest, source }
}

fn read_toc(layer: &LayerBlob, level: Option<i32>) -> Result<LayerToc, ImageError> {
    let descriptor = &layer.descriptor;
    if !media_type::is_compressed_by_push(&descriptor.media_type) {
        return Ok(LayerToc { size: descriptor.size, toc: Chunked::table_of(layer)? });
    }
    let chunked = Chunked::compress(layer, level)?;
    let toc = chunked.table().map_err(io::Error::other).map_err(fail(layer))?;
    Ok(LayerToc { size: chunked.descriptor.size, toc })
}
