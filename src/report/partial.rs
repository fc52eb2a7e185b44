//! What podman, buildah and CRI-O fetch of zstd:chunked layers of one image where another is.
//!
//! ```text
//! a layer that is there                        nothing
//! another                                      its table, tar-split's data, and the chunks that no layer there has
//! chunks less than 1 KiB apart                 one range, with what is between them
//! ```
//!
//! Layers that are zstd:chunked already have a table; plain ones get the one that a push would give them. Requests,
//! headers, manifest and config come on top.

use std::{collections::HashSet, io};

use serde::Serialize;

use super::dissect::merged;
use crate::{
    image::{Chunked, ImageError, LayerBlob},
    layer::chunked::{
        read::{ChunkAt, Located, files},
        toc::Toc,
    },
    oci::{Digest, descriptor::media_type},
};

/// A pull in parts.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct PartialPull {
    /// Bytes to fetch: tables, chunks, and whole layers that have no table.
    pub bytes: u64,
    /// How many of them are tables and tar-split's data.
    pub tables: u64,
    /// Ranges of chunks to ask for.
    pub ranges: usize,
    /// Layers to fetch parts of.
    pub layers: usize,
    /// Layers without a table, to fetch whole.
    pub whole: usize,
}

/// A layer's table, or that it has none.
struct Described {
    size: u64,
    table: Option<(Located, Toc)>,
}

impl PartialPull {
    /// What pulling the layers `new` fetches where `old` are, all of them zstd:chunked layers, compressed as hard as `level` says.
    ///
    /// # Errors
    ///
    /// When a layer's bytes are not on this machine, or not what the image says of them.
    pub fn of(old: &[LayerBlob], new: &[LayerBlob], level: Option<i32>) -> Result<Self, ImageError> {
        let there: HashSet<Digest> = old.iter().map(|layer| layer.diff_id).collect();
        let mut known = HashSet::new();
        let mut pull = Self::default();
        let missing: Vec<&LayerBlob> = new.iter().filter(|layer| !there.contains(&layer.diff_id)).collect();
        if missing.is_empty() {
            return Ok(pull);
        }
        for layer in old {
            let described = describe(layer, level)?;
            for file in described.files(layer)? {
                known.insert(file.0);
                known.extend(file.1.iter().map(|chunk| chunk.digest));
            }
        }
        for layer in missing {
            let described = describe(layer, level)?;
            let Some((located, _)) = &described.table else {
                pull.whole += 1;
                pull.bytes += described.size;
                continue;
            };
            pull.layers += 1;
            pull.tables += located.overhead();
            pull.bytes += located.overhead();
            let files = described.files(layer)?;
            let chunks = files.iter().filter(|file| !known.contains(&file.0)).flat_map(|file| &file.1);
            let mut chunks: Vec<&ChunkAt> =
                chunks.filter(|chunk| !chunk.is_zeros && !known.contains(&chunk.digest)).collect();
            chunks.sort_unstable_by_key(|chunk| chunk.offset);
            let (ranges, bytes) = merged(chunks.iter().map(|chunk| chunk.offset..chunk.end));
            pull.ranges += ranges;
            pull.bytes += bytes;
        }
        Ok(pull)
    }
}

impl Described {
    /// The digests of its files, and their chunks.
    fn files(&self, layer: &LayerBlob) -> Result<Vec<(Digest, Vec<ChunkAt>)>, ImageError> {
        let Some((located, table)) = &self.table else { return Ok(Vec::new()) };
        let files = files(table, located.table.offset).map_err(|error| fail(layer)(io::Error::other(error)))?;
        Ok(files.into_iter().map(|file| (file.digest, file.chunks)).collect())
    }
}

fn fail(layer: &LayerBlob) -> impl Fn(io::Error) -> ImageError {
    let digest = layer.descriptor.digest;
    move |source| ImageError::Blob { digest, source }
}

fn describe(layer: &LayerBlob, level: Option<i32>) -> Result<Described, ImageError> {
    let own = &layer.descriptor;
    if media_type::as_oci(&own.media_type) != media_type::LAYER_TAR {
        return Ok(Described { size: own.size, table: Chunked::table_of(layer)? });
    }
    let chunked = Chunked::of(layer, level)?;
    let table = chunked.table().map_err(io::Error::other).map_err(fail(layer))?;
    Ok(Described { size: chunked.descriptor.size, table })
}
