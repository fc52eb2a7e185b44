//! Layers that every version of docker can read from an archive with a manifest.json: uncompressed, or gzip.
//!
//! Docker decompresses zstd since version 23 (moby#41759), and earlier versions fail with "unexpected EOF". The version
//! that loads an archive is unknown, so zstd layers are decompressed, as by `skopeo copy … docker-archive:`
//! (containers/image, `docker/internal/tarfile/dest.go` requires uncompressed layers). The config, which determines
//! docker's ID of the image, stays the same, but the manifest changes.

use std::{borrow::Cow, collections::HashSet};

use rayon::prelude::*;

use crate::{
    image::{Image, ImageError, LayerBlob},
    layer::DetectedCompression,
    oci::{Descriptor, Digest},
};

/// Whether the layer's bytes are in the archive and compressed with zstd.
fn is_zstd(layer: &LayerBlob) -> bool {
    !layer.elsewhere && DetectedCompression::from_media_type(&layer.descriptor.media_type) == DetectedCompression::Zstd
}

/// Whether a manifest.json can list the layers of `image`.
pub(super) fn fits(image: &Image) -> bool {
    !image.layers.iter().any(is_zstd)
}

/// Returns `image` with its zstd layers decompressed, except for the layers `there`, which docker has and which are not
/// sent.
///
/// # Errors
///
/// If a layer cannot be read, or differs from its description in the image.
pub fn for_docker<'a>(image: &'a Image, there: &HashSet<Digest>) -> Result<Cow<'a, Image>, ImageError> {
    let is_changed = |layer: &LayerBlob| is_zstd(layer) && !there.contains(&layer.descriptor.digest);
    if !image.layers.iter().any(is_changed) {
        return Ok(Cow::Borrowed(image));
    }
    let layers = image.layers.par_iter();
    let layers: Vec<LayerBlob> = layers
        .map(|layer| if is_changed(layer) { layer.uncompressed() } else { Ok(layer.clone()) })
        .collect::<Result<_, _>>()?;
    let descriptors: Vec<Descriptor> = layers.iter().map(|layer| layer.descriptor.clone()).collect();
    let manifest = image.manifest_with(descriptors).map_err(ImageError::Manifest)?;
    Ok(Cow::Owned(Image { manifest, layers, ..image.clone() }))
}
