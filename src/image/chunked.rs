//! Compresses uncompressed layers as zstd:chunked, of which any range can be made without the rest of the blob.
//!
//! ```text
//! uncompressed layer ──▶ Chunked: descriptor, map of the frames (may be cached) ──┐
//!                   └─────────────────────────────────────────────────────────────┴──▶ blob, or ranges of it
//! ```

use std::{
    io::{self, Write},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{LayerBlob, checked::invalid};
use crate::{
    image::ImageError,
    layer::{
        chunked::{
            Annotations, ChunkedWriter, annotation,
            check::{check_blob, check_entries},
            map::FrameMap,
            read::{Located, TocError},
            toc::Toc,
        },
        compress::Compression,
    },
    oci::{Descriptor, Sha256Writer, descriptor::media_type},
    threads,
};

/// The zstd:chunked form of an uncompressed layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunked {
    /// The descriptor of the compressed blob.
    pub descriptor: Descriptor,
    /// The positions of all frames in the blob.
    pub map: FrameMap,
    /// The compression level; `None` is the default of the format.
    pub level: Option<i32>,
}

impl Chunked {
    /// Compresses `layer` and returns its descriptor and its map. The compressed bytes are not kept.
    ///
    /// # Errors
    ///
    /// If the bytes of the layer are not on this machine, or do not match its descriptor.
    pub fn compress(layer: &LayerBlob, level: Option<i32>) -> Result<Self, ImageError> {
        let (out, annotations, map) = write(layer, level, Sha256Writer::new(io::sink()))?;
        let (_, digest, size) = out.finish();
        let plain = &layer.descriptor;
        let annotations = annotation::of_any_blob(&plain.annotations).into_iter().chain(annotations).collect();
        let media_type = media_type::LAYER_ZSTD.to_owned();
        let descriptor = Descriptor { media_type, digest, size, annotations, data: None, ..plain.clone() };
        Ok(Self { descriptor, map, level })
    }

    /// Returns the same blob, with the annotations for partial pulls in its descriptor.
    pub fn for_partial_pulls(self) -> Self {
        self.with_annotations_of(Compression::ZstdChunked)
    }

    /// Returns the same blob, with the annotations for lazy pulls in its descriptor.
    pub fn for_lazy_pulls(self) -> Self {
        self.with_annotations_of(Compression::Lazy)
    }

    fn with_annotations_of(mut self, compression: Compression) -> Self {
        self.descriptor.annotations = compression.annotations(self.descriptor.annotations);
        self
    }

    /// Returns the warning for the layer of this number, from 1, if nodes with stargz-snapshotter pull it whole: a push does not
    /// compress it, and it has no table for lazy pulls.
    pub(crate) fn lazy_warning(number: usize, descriptor: &Descriptor) -> Option<String> {
        let is_lazy = media_type::is_compressed_by_push(&descriptor.media_type)
            || descriptor.annotations.contains_key(annotation::LAZY);
        (!is_lazy).then(|| format!("layer {number} is pulled whole, since it is compressed already"))
    }

    /// Returns the table of contents and its location, or `None` for a layer that cannot have one.
    ///
    /// # Errors
    ///
    /// If the annotations are malformed.
    pub fn table(&self) -> Result<Option<(Located, Toc)>, TocError> {
        self.map.table(&self.descriptor.annotations)
    }

    /// Reads the table of contents of a zstd:chunked layer. Returns `None` if the descriptor has no location of one. The table
    /// is checked against its digest in the descriptor. The rest of the blob is not read.
    ///
    /// # Errors
    ///
    /// If the table does not match the descriptor, or the blob is not on this machine.
    pub fn table_of(layer: &LayerBlob) -> Result<Option<(Located, Toc)>, ImageError> {
        let descriptor = &layer.descriptor;
        let fail = |error: TocError| ImageError::Blob { digest: descriptor.digest, source: io::Error::other(error) };
        let located = Located::from_annotations(&descriptor.annotations, descriptor.size).map_err(fail)?;
        let Some(located) = located else {
            // stargz-snapshotter finds the table by the footer of the blob. Its converter records the position as well.
            let is_hidden = media_type::as_oci(&descriptor.media_type) == media_type::LAYER_ZSTD
                && descriptor.annotations.contains_key(annotation::LAZY);
            let what = format!("the annotation {} names it, and no annotation has its position", annotation::LAZY);
            return if is_hidden { Err(fail(TocError(what))) } else { Ok(None) };
        };
        let at = located.table.offset;
        let mut bytes = Vec::new();
        layer.write_ranges(std::slice::from_ref(&(at..at + located.table.length)), &mut bytes)?;
        let toc = located.read(&bytes).map_err(fail)?;
        Ok(Some((located, toc)))
    }

    /// Compares the blob of a zstd:chunked layer with its table of contents, and the table with the tar of the layer. Other
    /// layers are not checked. Returns `false` if the layer has a table that cannot be compared with its tar: the writer of strata
    /// cannot describe the entries.
    ///
    /// # Errors
    ///
    /// If the blob differs from its table, or from the descriptor in the image.
    pub(crate) fn verify_toc(layer: &LayerBlob) -> Result<bool, ImageError> {
        let digest = layer.descriptor.digest;
        let fail = |source| ImageError::Blob { digest, source };
        let fail_toc = |error: TocError| fail(io::Error::other(error));
        let Some((located, toc)) = Self::table_of(layer)? else { return Ok(true) };
        check_blob(&located, &toc, &mut layer.read()).map_err(fail)?;
        // The compressed bytes are discarded, so the fastest level is used.
        let mut writer = ChunkedWriter::with_threads(io::sink(), 1, Some(1)).map_err(fail)?.describing_devices();
        layer.plain(|tar| io::copy(tar, &mut writer))?;
        let (_, annotations, map) = writer.finish_with_map().map_err(fail)?;
        match map.table(&annotations).map_err(fail_toc)? {
            Some((_, expected)) => check_entries(&toc, &expected).map(|()| true).map_err(fail_toc),
            None => Ok(false),
        }
    }

    /// Returns the compressed blob, which is made from the uncompressed layer on demand.
    pub fn blob(self: Arc<Self>, plain: LayerBlob) -> LayerBlob {
        let digest = self.descriptor.digest;
        let fail = move |source| ImageError::Blob { digest, source };
        let (diff_id, paths, moved, is_unmodified) =
            (plain.diff_id, plain.paths.clone(), plain.moved.clone(), plain.is_unmodified);
        let (layer, level) = (Arc::new(plain), self.level);
        let layer_of_ranges = Arc::clone(&layer);
        let descriptor = self.descriptor.clone();
        let blob = LayerBlob::made(descriptor, diff_id, move |out| {
            let (out, ..) = write(&layer, level, Sha256Writer::new(out))?;
            let (_, found, _) = out.finish();
            if found == digest { Ok(()) } else { Err(fail(invalid(format!("it is {found}, not {digest}")))) }
        });
        let mut blob = blob.with_parts(move |ranges, out| {
            let (plain, mut parts) = self.map.parts(ranges, self.level, out).map_err(fail)?;
            if !plain.is_empty() {
                layer_of_ranges.write_ranges(&plain, &mut parts)?;
            }
            parts.finish().map_err(fail)?;
            Ok(true)
        });
        (blob.paths, blob.moved, blob.is_unmodified) = (paths, moved, is_unmodified);
        blob
    }
}

/// Compresses a layer.
fn write<W: Write>(layer: &LayerBlob, level: Option<i32>, out: W) -> Result<(W, Annotations, FrameMap), ImageError> {
    let digest = layer.descriptor.digest;
    let fail = |source| ImageError::Blob { digest, source };
    let threads = threads::jobs();
    let mut writer = ChunkedWriter::with_threads(out, threads, level).map_err(fail)?;
    layer.write(&mut writer)?;
    writer.finish_with_map().map_err(fail)
}
