//! Kind `digest`: the digest of the manifest that a push to an empty registry writes, for tools that pin images by
//! digest.

use std::{collections::HashMap, io, path::PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::attributes::Attributes;
use crate::{
    image::{Image, ImageIndex, LayerBlob, ManifestGraph, graph::rewritten, recipe::write_whole},
    layer::{chunked::Finished, compress::Compression},
    oci::{Descriptor, Digest, Index, Sha256Writer, descriptor::media_type},
    threads, transport,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Request {
    /// The recipe, or an index of recipes.
    image: PathBuf,
    compression: Compression,
    /// `name:tag`, which precedes the digest if it is given.
    reference: Option<String>,
    /// Whether the image is pushed for nodes with a Nix store.
    nix_node: bool,
}

pub fn build(attributes: &Attributes) -> Result<()> {
    let request: Request = attributes.request()?;
    let opened = transport::open(&request.image)?;
    let content = if request.nix_node { opened.for_nix_node(None, true)? } else { opened.content()? };
    let (digest, _) = pushed(&content, request.compression)?;
    let text = match request.reference {
        Some(reference) => format!("{reference}@{digest}"),
        None => digest.to_string(),
    };
    Ok(write_whole(text.as_bytes(), attributes.out())?)
}

/// Returns the digest and size of the manifest after a push of `content`.
fn pushed(content: &ManifestGraph, compression: Compression) -> Result<(Digest, u64)> {
    match content {
        ManifestGraph::Image(image) => pushed_image(image, compression),
        ManifestGraph::Index(index) => pushed_index(index, compression),
    }
}

fn pushed_index(index: &ImageIndex, compression: Compression) -> Result<(Digest, u64)> {
    let listed: Index = serde_json::from_slice(&index.bytes).context("parsing the index")?;
    let mut changed = HashMap::new();
    for child in &index.children {
        changed.insert(child.digest(), pushed(child, compression)?);
    }
    let bytes = rewritten(listed, &changed);
    Ok((index.algorithm.digest(&bytes), bytes.len() as u64))
}

fn pushed_image(image: &Image, compression: Compression) -> Result<(Digest, u64)> {
    let layer = |(at, layer)| compressed(layer, compression).with_context(|| format!("compressing layer {}", at + 1));
    let layers = image.layers.iter().enumerate().map(layer).collect::<Result<Vec<_>>>()?;
    let manifest = image.manifest_with(layers).context("parsing the manifest")?;
    Ok((image.manifest_algorithm.digest(&manifest), manifest.len() as u64))
}

/// Returns the descriptor that a layer has after a push. Only uncompressed layers are compressed.
fn compressed(layer: &LayerBlob, compression: Compression) -> Result<Descriptor> {
    let descriptor = layer.descriptor.clone();
    if compression == Compression::None || !media_type::is_compressed_by_push(&descriptor.media_type) {
        return Ok(descriptor);
    }
    let blob = match layer.compressed_as(compression) {
        Some(recorded) => recorded,
        None => {
            let out = Sha256Writer::new(io::sink());
            let mut compressor = compression.writer(out, threads::jobs(), None)?;
            layer.write(&mut compressor)?;
            let (out, Finished { annotations, .. }) = compressor.finish()?;
            let (_, digest, size) = out.finish();
            Descriptor { annotations, ..Descriptor::new(compression.media_type(), digest, size) }
        }
    };
    let annotations = compression.annotations_of_layer(&descriptor.annotations, blob.annotations);
    Ok(Descriptor { media_type: blob.media_type, digest: blob.digest, size: blob.size, annotations, ..descriptor })
}
