//! `strata copy --also` and `strata serve --also`: an index with further manifests of each image, of which clients select one.
//!
//! ```text
//! index ┬ manifest                                  docker, containerd, crane, containers/image before 5.25
//!       └ manifest of zstd:chunked layers, marked   podman, buildah, CRI-O and skopeo, with containers/image 5.25 or later
//! ```
//!
//! Those of the first line select by platform, and take the first of several equal manifests. containerd also fetches the others
//! with their layers (core/transfer/image/imagestore.go, `ImageFilter`), which costs nothing if they are the same blobs. Those of
//! the second line prefer the marked one (`isPreferredOver` in containers/image, internal/manifest/oci_index.go).
//! tests/peers/clients.sh pulls with both.

use std::sync::Once;

use crate::{
    image::ManifestGraph,
    layer::compress::Compression,
    oci::{Descriptor, Index, descriptor::annotation, json},
    serve::{self, Pulls},
    terminal::note,
    transport::Location,
};
use anyhow::{Context, Result, ensure};

/// The note is for all images of a fleet.
static NOTED: Once = Once::new();

/// A further manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Also {
    /// One with zstd:chunked layers, for partial pulls.
    ZstdChunked,
}

/// Parses the value of `--also`. tests/peers/erofs-index.sh shows the reason against `erofs`.
pub fn parse(text: &str) -> Result<Also, String> {
    match text {
        "zstd:chunked" => Ok(Also::ZstdChunked),
        "lazy" => {
            Err("containerd chooses a manifest before it asks stargz-snapshotter, and takes the first one; write \
                       --lazy --also zstd:chunked, or use another tag"
                .to_owned())
        }
        "nix-node" => {
            Err("containerd chooses a manifest before it asks nix-snapshotter, and takes the first one; push to \
                           another tag with `strata copy --nix-node`"
                .to_owned())
        }
        "erofs" => {
            Err("Kubernetes takes the first manifest, which has no EROFS layers, and ctr with the platform linux(+erofs) fetches \
                       the layers of both; write erofs-cache:DIR on the node"
                .to_owned())
        }
        _ => Err("write zstd:chunked".to_owned()),
    }
}

/// Refuses `--also` if `flag` makes the layers of the first manifest zstd:chunked.
pub fn check(also: Option<Also>, first: Compression, flag: &str) -> Result<()> {
    ensure!(
        also.is_none() || first != Compression::ZstdChunked,
        "--also zstd:chunked: the layers of the first manifest are zstd:chunked already; omit --also or {flag}"
    );
    Ok(())
}

/// Prints a note once if containerd fetches the layers of both manifests. `first` is the compression of the first one.
pub fn note_of_layers(also: Option<Also>, first: Compression) {
    if also.is_some() && first != Compression::Lazy {
        NOTED.call_once(|| {
            note!(
                "containerd fetches the layers of both manifests; with --lazy --also zstd:chunked, they are the same"
            );
        });
    }
}

/// Returns an index of the manifests of `content`, followed by the further ones, or `content` without `--also`. The layers of
/// the further ones are compressed here.
///
/// # Errors
///
/// If the layers are compressed already, or cannot be made.
pub fn add(also: Option<Also>, image: &Location, content: ManifestGraph) -> Result<ManifestGraph> {
    let Some(Also::ZstdChunked) = also else { return Ok(content) };
    let reference = content.reference().map(str::to_owned);
    let content = match content {
        image @ ManifestGraph::Image(_) => {
            ManifestGraph::from_children(vec![image], Vec::new()).with_reference(reference)
        }
        index @ ManifestGraph::Index(_) => index,
    };
    let has_layers = content.images().iter().any(|image| !image.layers.is_empty());
    ensure!(has_layers, "{image}: --also zstd:chunked is for layers, and the image has none; omit it");
    let ManifestGraph::Index(mut index) = content else { return Ok(content) };
    let mut listed: Index = serde_json::from_slice(&index.bytes).context("parsing the index")?;
    let mut chunked = Vec::new();
    for (child, descriptor) in index.children.iter().zip(&listed.manifests) {
        if !matches!(child, ManifestGraph::Image(image) if image.has_uncompressed_layers()) {
            continue;
        }
        let made = serve::chunked(child.clone(), Pulls::Partial);
        let made = made.with_context(|| format!("making zstd:chunked layers of {image}"))?;
        let annotations = [(annotation::ZSTD.to_owned(), "true".to_owned())].into();
        let platform = descriptor.platform.clone();
        chunked.push((Descriptor { platform, annotations, ..made.descriptor() }, made));
    }
    ensure!(
        !chunked.is_empty(),
        "{image}: --also zstd:chunked is for uncompressed layers, and every layer is compressed already; use the recipe, or \
         omit it"
    );
    let (descriptors, children): (Vec<_>, Vec<_>) = chunked.into_iter().unzip();
    listed.manifests.extend(descriptors);
    index.children.extend(children);
    index.bytes = json::to_vec(&listed);
    Ok(ManifestGraph::Index(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_that_clients_cannot_choose_are_refused() {
        assert_eq!(parse("zstd:chunked"), Ok(Also::ZstdChunked));
        for (text, why) in [
            ("lazy", "--lazy --also zstd:chunked"),
            ("nix-node", "--nix-node"),
            ("erofs", "erofs-cache:DIR"),
            ("gzip", "write zstd:chunked"),
        ] {
            assert!(parse(text).unwrap_err().contains(why), "{text}");
        }
    }

    #[test]
    fn a_second_manifest_with_the_same_layers_is_refused() {
        let also = Some(Also::ZstdChunked);
        let error = check(also, Compression::ZstdChunked, "--chunked").unwrap_err().to_string();
        assert!(error.contains("omit --also or --chunked"), "{error}");
        for first in [Compression::None, Compression::Gzip, Compression::Zstd, Compression::Lazy] {
            assert!(check(also, first, "--chunked").is_ok(), "{first:?}");
        }
        assert!(check(None, Compression::ZstdChunked, "--chunked").is_ok());
    }
}
