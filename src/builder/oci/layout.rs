//! Kind `oci-layout`: an [OCI layout](https://github.com/opencontainers/image-spec/blob/main/image-layout.md).
//!
//! ```text
//! oci-layout
//! index.json        every manifest, with platform and tag
//! blobs/sha256/…    all blobs that the manifests refer to, each digest once
//! ```

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{super::attributes::Attributes, Extra, blobs::OutputBlobs};
use crate::{
    image::recipe,
    oci::{Descriptor, Digest, Index, descriptor::media_type},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Request {
    manifests: Vec<PathBuf>,
    extra_index: Extra,
    /// Whether blobs are links to the store paths that contain them.
    link: bool,
}

pub fn build(attributes: &Attributes) -> Result<()> {
    let request: Request = attributes.request()?;
    let blobs = OutputBlobs::create(attributes.out())?;
    let mut descriptors: Vec<Descriptor> = Vec::new();
    for manifest in &request.manifests {
        let path = manifest.join("descriptors.json");
        let text = fs::read(&path).with_context(|| format!("argument manifests: reading {}", path.display()))?;
        for descriptor in serde_json::from_slice::<Vec<Descriptor>>(&text)? {
            if !descriptors.contains(&descriptor) {
                descriptors.push(descriptor);
            }
        }
        add_blobs(&blobs, manifest, request.link)?;
    }
    let index = Index {
        annotations: request.extra_index.annotations.clone(),
        artifact_type: request.extra_index.artifact_type.clone(),
        subject: request.extra_index.subject.clone(),
        other: request.extra_index.other("extraIndex", media_type::INDEX)?,
        ..Index::new(descriptors)
    };
    blobs.document("index.json", &index)?;
    let layout = BTreeMap::from([("imageLayoutVersion", "1.0.0")]);
    blobs.document("oci-layout", &layout)
}

/// Adds all blobs that a manifest refers to: first the existing ones, then the layers that still have to be made.
fn add_blobs(blobs: &OutputBlobs, manifest: &Path, link: bool) -> Result<()> {
    let directory = manifest.join("blobs/sha256");
    let listing = || format!("listing {}", directory.display());
    for entry in fs::read_dir(&directory).with_context(listing)? {
        let entry = entry.with_context(listing)?;
        let digest: Digest = format!("sha256:{}", entry.file_name().to_string_lossy()).parse()?;
        let path = fs::canonicalize(entry.path()).with_context(|| format!("reading {}", entry.path().display()))?;
        if link {
            blobs.link(&digest, &path)?;
        } else {
            blobs.copy(&digest, &path)?;
        }
    }
    for (at, layer) in recipe::open_layers(&manifest.join("layers.json"))?.iter().enumerate() {
        blobs.layer(layer, at + 1)?;
    }
    Ok(())
}
