//! Layers as every docker reads them from an archive with a manifest.json: uncompressed, or gzip.
//!
//! Docker decompresses zstd since version 23 (moby#41759); earlier ones end with "unexpected EOF". An archive says nothing
//! of the docker that will load it, so zstd layers are decompressed, as `skopeo copy … docker-archive:` does
//! (containers/image, `docker/internal/tarfile/dest.go` wants uncompressed layers). The config, and with it docker's ID of
//! the image, stays the same; the manifest becomes another.

use std::{borrow::Cow, collections::HashSet};

use rayon::prelude::*;

use crate::{
    image::{Image, ImageError, LayerBlob},
    layer::DetectedCompression,
    oci::{Descriptor, Digest},
};

/// Whether the layer's bytes are in an archive, and compressed with zstd there.
fn is_zstd(layer: &LayerBlob) -> bool {
    !layer.elsewhere && DetectedCompression::of_media_type(&layer.descriptor.media_type) == DetectedCompression::Zstd
}

/// Whether a manifest.json can name the layers of `image`.
pub(super) fn fits(image: &Image) -> bool {
    !image.layers.iter().any(is_zstd)
}

/// `image` with its zstd layers decompressed, except those that are not sent because docker has them already (`there`).
///
/// # Errors
///
/// When a layer cannot be read, or is not what the image says of it.
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
