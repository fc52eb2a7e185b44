//! Images whose plain layers are served as zstd:chunked.

use std::{collections::HashMap, sync::Arc};

use super::ServeError;
use crate::{
    image::{
        Image, ImageIndex, ManifestGraph,
        graph::{rewritten, subject},
    },
    oci::{Descriptor, Digest, Index, descriptor::media_type},
    terminal::note,
    transport::compression_cache::CompressionCache,
};

/// The same content with plain layers as zstd:chunked ones. Where everything is in them comes from the user's cache;
/// what is not there is made, and kept.
///
/// # Errors
///
/// When a layer cannot be made, or a document is malformed.
pub fn chunked(content: ManifestGraph) -> Result<ManifestGraph, ServeError> {
    of_content(content, &CompressionCache::of_user())
}

fn of_content(content: ManifestGraph, cache: &CompressionCache) -> Result<ManifestGraph, ServeError> {
    match content {
        ManifestGraph::Image(image) => Ok(of_image(*image, cache)?.into()),
        ManifestGraph::Index(index) => Ok(ManifestGraph::Index(Box::new(of_index(*index, cache)?))),
    }
}

fn of_image(image: Image, cache: &CompressionCache) -> Result<Image, ServeError> {
    let is_plain = |kind: &str| media_type::as_oci(kind) == media_type::LAYER_TAR;
    if !media_type::is_config(&image.config_media_type)
        || !image.layers.iter().any(|layer| is_plain(&layer.descriptor.media_type))
    {
        return Ok(image);
    }
    let mut layers = Vec::with_capacity(image.layers.len());
    for (number, layer) in (1..).zip(&image.layers) {
        layers.push(if is_plain(&layer.descriptor.media_type) && !layer.elsewhere {
            let chunked = cache.chunked(layer)?;
            if let Some(unfit) = &chunked.map.unfit {
                note!("strata: warning: {}", unfit.warning(number));
            }
            Arc::new(chunked).blob(layer.clone())
        } else {
            layer.clone()
        });
    }
    let manifest = image.manifest_with(layers.iter().map(|layer| layer.descriptor.clone()).collect())?;
    Ok(Image { manifest, layers, ..image })
}

/// Attestations of images that have other digests now are left out.
fn of_index(index: ImageIndex, cache: &CompressionCache) -> Result<ImageIndex, ServeError> {
    let listed: Index = serde_json::from_slice(&index.bytes)?;
    let mut children = Vec::with_capacity(index.children.len());
    let mut changed: HashMap<Digest, (Digest, u64)> = HashMap::new();
    for child in index.children {
        let before = child.digest();
        let child = of_content(child, cache)?;
        let now = child.descriptor();
        if now.digest != before {
            changed.insert(before, (now.digest, now.size));
        }
        children.push(child);
    }
    if changed.is_empty() {
        return Ok(ImageIndex { children, ..index });
    }
    let is_left = |descriptor: &Descriptor| subject(descriptor).is_some_and(|subject| changed.contains_key(&subject));
    let left: Vec<bool> = listed.manifests.iter().map(is_left).collect();
    let children = children.into_iter().enumerate().filter(|(at, _)| left.get(*at) != Some(&true));
    let children = children.map(|(_, child)| child).collect();
    Ok(ImageIndex { bytes: rewritten(listed, &changed), children, ..index })
}
