//! Kind `oci-manifest`: an image of one platform.
//!
//! ```text
//! blobs/sha256/…           config and manifest; existing layers as links to their store paths
//! image-manifest.json      link to the manifest
//! media-descriptor.json    the manifest's descriptor, with platform and the first tag
//! descriptors.json         the same, once for each tag
//! layers.json              the layers; those of buildLayer are made when a layout needs their bytes
//! ```

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Result;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    super::{attributes::Attributes, grouping::open_layers},
    Extra,
    blobs::OutputBlobs,
    config,
};
use crate::{
    image::recipe::RecipeLayer,
    oci::{
        Descriptor, Manifest,
        descriptor::{annotation, media_type},
        json,
    },
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Request {
    layers: Vec<PathBuf>,
    extra_config: Map<String, Value>,
    extra_manifest: Extra,
    tags: Vec<String>,
}

pub fn build(attributes: &Attributes) -> Result<()> {
    let request: Request = attributes.request()?;
    let layers = open_layers(&request.layers)?;
    let config = config::config(&layers, request.extra_config)?;
    let blobs = OutputBlobs::create(attributes.out())?;
    let bytes = json::to_vec(&config);
    let config_descriptor = Descriptor::new(media_type::CONFIG, blobs.put(&bytes)?, bytes.len() as u64);
    for layer in &layers {
        if let Some(blob) = &layer.blob {
            blobs.link(&layer.digest, blob)?;
        }
    }
    let described = layers.iter().map(RecipeLayer::descriptor);
    let manifest = Manifest {
        annotations: request.extra_manifest.annotations.clone(),
        artifact_type: request.extra_manifest.artifact_type.clone(),
        subject: request.extra_manifest.subject.clone(),
        other: request.extra_manifest.other("extraManifest", media_type::MANIFEST)?,
        ..Manifest::new(config_descriptor, described.collect())
    };
    let bytes = json::to_vec(&manifest);
    let digest = blobs.put(&bytes)?;
    blobs.symlink(Path::new(&digest.blob_name()), "image-manifest.json")?;

    let descriptor = Descriptor {
        platform: Some(config.platform()),
        ..Descriptor::new(media_type::MANIFEST, digest, bytes.len() as u64)
    };
    let mut descriptors: Vec<Descriptor> = Vec::new();
    for tag in &request.tags {
        let annotations = BTreeMap::from([(annotation::REF_NAME.to_owned(), tag.clone())]);
        descriptors.push(Descriptor { annotations, ..descriptor.clone() });
    }
    if descriptors.is_empty() {
        descriptors.push(descriptor);
    }
    blobs.document("media-descriptor.json", &descriptors[0])?;
    blobs.document("descriptors.json", &descriptors)?;
    blobs.document("layers.json", &layers)
}
