//! Plain layers as zstd:chunked ones, whose blobs can be begun anywhere.
//!
//! ```text
//! plain layer ──▶ Chunked: descriptor, map of its frames (kept by who wants to) ──┐
//!            └────────────────────────────────────────────────────────────────────┴──▶ blob, made whole or in parts
//! ```

use std::{
    io::{self, Write},
    sync::Arc,
    thread,
};

use serde::{Deserialize, Serialize};

use super::{LayerBlob, checked::invalid};
use crate::{
    image::ImageError,
    layer::chunked::{
        Annotations, ChunkedWriter,
        check::{check_blob, check_entries},
        map::Map,
        read::{Located, TocError},
        toc::Toc,
    },
    oci::{Descriptor, Sha256Writer, descriptor::media_type},
};

/// What a plain layer is as zstd:chunked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunked {
    /// Its descriptor in a manifest.
    pub descriptor: Descriptor,
    /// Where everything is in it.
    pub map: Map,
    /// How hard it is compressed; `None` is the format's own.
    pub level: Option<i32>,
}

impl Chunked {
    /// What becomes of `layer`, which is made for it.
    ///
    /// # Errors
    ///
    /// When the layer's bytes are not on this machine, or not what the image says of them.
    pub fn of(layer: &LayerBlob, level: Option<i32>) -> Result<Self, ImageError> {
        let (out, annotations, map) = write(layer, level, Sha256Writer::new(io::sink()))?;
        let (_, digest, size) = out.finish();
        let plain = &layer.descriptor;
        let annotations = plain.annotations.clone().into_iter().chain(annotations).collect();
        let media_type = media_type::LAYER_ZSTD.to_owned();
        let descriptor = Descriptor { media_type, digest, size, annotations, data: None, ..plain.clone() };
        Ok(Self { descriptor, map, level })
    }

    /// The table, and where it is; `None` for a layer that cannot have one.
    ///
    /// # Errors
    ///
    /// If the annotations are malformed.
    pub fn table(&self) -> Result<Option<(Located, Toc)>, TocError> {
        self.map.table(&self.descriptor.annotations)
    }

    /// The table that a layer's blob has, and where it is; `None` where the descriptor names none. It is checked against its
    /// own digest, and the rest of the blob is not looked at.
    ///
    /// # Errors
    ///
    /// When it is not what the descriptor says, or the blob is not on this machine.
    pub fn table_of(layer: &LayerBlob) -> Result<Option<(Located, Toc)>, ImageError> {
        let own = &layer.descriptor;
        let told = |error: TocError| ImageError::Blob { digest: own.digest, source: io::Error::other(error) };
        let Some(located) = Located::of(&own.annotations, own.size).map_err(told)? else { return Ok(None) };
        let at = located.table.offset;
        let mut bytes = Vec::new();
        layer.write_ranges(std::slice::from_ref(&(at..at + located.table.length)), &mut bytes)?;
        let table = located.read(&bytes).map_err(told)?;
        Ok(Some((located, table)))
    }

    /// Holds the blob of a layer that says it is zstd:chunked against its table, and the table against the layer's tar.
    /// Nothing is checked of others.
    ///
    /// # Errors
    ///
    /// If the blob differs from its TOC, or from the descriptor in the image.
    pub fn check(layer: &LayerBlob) -> Result<(), ImageError> {
        let digest = layer.descriptor.digest;
        let fail = |source| ImageError::Blob { digest, source };
        let told = |error: TocError| fail(io::Error::other(error));
        let Some((located, table)) = Self::table_of(layer)? else { return Ok(()) };
        check_blob(&located, &table, &mut layer.read()).map_err(fail)?;
        // No byte of this is kept, so the lowest level will do.
        let mut writer = ChunkedWriter::with_threads(io::sink(), 1, Some(1)).map_err(fail)?;
        layer.plain(|tar| io::copy(tar, &mut writer))?;
        let (_, annotations, map) = writer.finish_with_map().map_err(fail)?;
        match map.table(&annotations).map_err(told)? {
            Some((_, of_tar)) => check_entries(&table, &of_tar).map_err(told),
            // Of tars that strata's writer leaves unchunked, no TOC can be compared.
            None => Ok(()),
        }
    }

    /// The blob, made from the plain layer.
    pub fn blob(self: Arc<Self>, plain: LayerBlob) -> LayerBlob {
        let digest = self.descriptor.digest;
        let fail = move |source| ImageError::Blob { digest, source };
        let (diff_id, paths, moved) = (plain.diff_id, plain.paths.clone(), plain.moved.clone());
        let (whole, own) = (Arc::new(plain), Arc::clone(&self));
        let in_parts = Arc::clone(&whole);
        let descriptor = self.descriptor.clone();
        let blob = LayerBlob::made(descriptor, diff_id, move |out| {
            let (out, ..) = write(&whole, own.level, Sha256Writer::new(out))?;
            let (_, found, _) = out.finish();
            if found == digest { Ok(()) } else { Err(fail(invalid(format!("it is {found}, not {digest}")))) }
        });
        let mut blob = blob.with_parts(move |ranges, out| {
            let (plain, mut parts) = self.map.parts(ranges, self.level, out).map_err(fail)?;
            if !plain.is_empty() {
                in_parts.write_ranges(&plain, &mut parts)?;
            }
            parts.finish().map_err(fail)?;
            Ok(true)
        });
        (blob.paths, blob.moved) = (paths, moved);
        blob
    }
}

/// Compresses a layer.
fn write<W: Write>(layer: &LayerBlob, level: Option<i32>, out: W) -> Result<(W, Annotations, Map), ImageError> {
    let digest = layer.descriptor.digest;
    let fail = |source| ImageError::Blob { digest, source };
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut writer = ChunkedWriter::with_threads(out, threads, level).map_err(fail)?;
    layer.write(&mut writer)?;
    writer.finish_with_map().map_err(fail)
}
