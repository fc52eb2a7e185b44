//! Kind `oci-config`: an image configuration for given layers.
//!
//! ```text
//! blobs/sha256/<digest>
//! image-config.json        link to the blob
//! platform.json            architecture, os, variant
//! media-descriptor.json    the blob's descriptor
//! ```

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    super::{attributes::Attributes, grouping::open_layers},
    blobs::OutputBlobs,
    refuse_misspelt,
};
use crate::{
    image::recipe::RecipeLayer,
    oci::{Descriptor, Digest, ImageConfig, descriptor::media_type, json, wording},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Request {
    layers: Vec<PathBuf>,
    extra_config: Map<String, Value>,
}

pub fn build(attributes: &Attributes) -> Result<()> {
    let Request { layers, extra_config } = attributes.request()?;
    let config = config(&open_layers(&layers)?, extra_config)?;
    let blobs = OutputBlobs::create(attributes.out())?;
    let bytes = json::to_vec(&config);
    let digest = blobs.put(&bytes)?;
    blobs.symlink(Path::new(&digest.blob_name()), "image-config.json")?;
    blobs.document("platform.json", &config.platform())?;
    blobs.document("media-descriptor.json", &Descriptor::new(media_type::CONFIG, digest, bytes.len() as u64))
}

/// The keys of a config. Other keys are kept, except those that look like a misspelt key.
const KNOWN: [&str; 8] = ["architecture", "author", "config", "created", "history", "os", "rootfs", "variant"];

/// Returns `{ architecture = "amd64"; os = "linux"; } // extraConfig // { rootfs }` after checks.
pub fn config(layers: &[RecipeLayer], extra: Map<String, Value>) -> Result<ImageConfig> {
    refuse_misspelt("extraConfig", &extra, &KNOWN)?;
    if let Some(config) = extra.get("config") {
        // This is stricter than reading an existing config: here an unknown key is a mistake of the user.
        let config = Option::<Map<String, Value>>::deserialize(config).context("argument extraConfig.config")?;
        super::super::config::check(&config.unwrap_or_default()).context("argument extraConfig")?;
    }
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.diff_id).collect();
    let mut all = Map::new();
    all.insert("architecture".to_owned(), "amd64".into());
    all.insert("os".to_owned(), "linux".into());
    all.extend(extra);
    all.insert("rootfs".to_owned(), serde_json::json!({ "type": "layers", "diff_ids": diff_ids }));
    let config: ImageConfig = serde_path_to_error::deserialize(Value::Object(all))
        .map_err(|error| anyhow::anyhow!("{} {}", error.path(), wording::type_error(&error.inner().to_string())))
        .context("argument extraConfig")?;
    let made = config.history.iter().filter(|step| !step.empty_layer).count();
    if !config.history.is_empty() && made != layers.len() {
        bail!(
            "argument extraConfig.history has {made} entries that made a layer, but there are {} layers; \
             give one for each, or mark the others with empty_layer",
            layers.len()
        );
    }
    Ok(config)
}
