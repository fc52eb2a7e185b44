//! Serves the uncompressed layers of images as zstd:chunked.

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

/// How clients pull layers.
#[derive(Clone, Copy, Debug)]
pub enum Pulls {
    /// The chunks that the machine lacks, before the container starts (podman, buildah, CRI-O).
    Partial,
    /// The chunks that the container reads (stargz-snapshotter).
    Lazy,
}

/// Replaces uncompressed layers by zstd:chunked ones. Their maps come from the cache of the user. A missing map is computed by
/// compressing the layer, and cached. `pulls` are those that the annotations are for.
///
/// # Errors
///
/// If the bytes of a layer cannot be made, or a document is malformed.
pub fn chunked(content: ManifestGraph, pulls: Pulls) -> Result<ManifestGraph, ServeError> {
    convert_content(content, &CompressionCache::open(), pulls)
}

fn convert_content(
    content: ManifestGraph,
    cache: &CompressionCache,
    pulls: Pulls,
) -> Result<ManifestGraph, ServeError> {
    match content {
        ManifestGraph::Image(image) => Ok(convert_image(*image, cache, pulls)?.into()),
        ManifestGraph::Index(index) => Ok(ManifestGraph::Index(Box::new(convert_index(*index, cache, pulls)?))),
    }
}

fn convert_image(image: Image, cache: &CompressionCache, pulls: Pulls) -> Result<Image, ServeError> {
    if !image.has_uncompressed_layers() {
        return Ok(image);
    }
    let mut layers = Vec::with_capacity(image.layers.len());
    for (number, layer) in (1..).zip(&image.layers) {
        layers.push(if media_type::is_compressed_by_push(&layer.descriptor.media_type) && !layer.elsewhere {
            let chunked = cache.chunked(layer)?;
            if let Some(unfit) = &chunked.map.unfit {
                note!("strata: warning: {}", unfit.warning(number));
            }
            let chunked = match pulls {
                Pulls::Partial => chunked.for_partial_pulls(),
                Pulls::Lazy => chunked.for_lazy_pulls(),
            };
            Arc::new(chunked).blob(layer.clone())
        } else {
            layer.clone()
        });
    }
    let manifest = image.manifest_with(layers.iter().map(|layer| layer.descriptor.clone()).collect())?;
    Ok(Image { manifest, layers, ..image })
}

/// Converts the images of an index. Attestations of images with a new digest are removed, because they describe the old image.
fn convert_index(index: ImageIndex, cache: &CompressionCache, pulls: Pulls) -> Result<ImageIndex, ServeError> {
    let listed: Index = serde_json::from_slice(&index.bytes)?;
    let mut children = Vec::with_capacity(index.children.len());
    let mut changed: HashMap<Digest, (Digest, u64)> = HashMap::new();
    for child in index.children {
        let old = child.digest();
        let child = convert_content(child, cache, pulls)?;
        let new = child.descriptor();
        if new.digest != old {
            changed.insert(old, (new.digest, new.size));
        }
        children.push(child);
    }
    if changed.is_empty() {
        return Ok(ImageIndex { children, ..index });
    }
    let is_outdated =
        |descriptor: &Descriptor| subject(descriptor).is_some_and(|subject| changed.contains_key(&subject));
    let outdated: Vec<bool> = listed.manifests.iter().map(is_outdated).collect();
    let children = children.into_iter().enumerate().filter(|(at, _)| outdated.get(*at) != Some(&true));
    let children = children.map(|(_, child)| child).collect();
    Ok(ImageIndex { bytes: rewritten(listed, &changed), children, ..index })
}
