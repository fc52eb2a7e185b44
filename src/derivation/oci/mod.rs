//! The ociImage* functions: one kind each, every result a directory with `blobs/sha256/`.
//!
//! ```text
//! oci-layer-tar ──▶ layers.json ─┬─▶ oci-config
//! buildLayer    ──▶ layers.json ─┴─▶ oci-manifest ──▶ manifest.json, descriptors ──▶ oci-layout
//! ```
//!
//! Each kind reads what the one before it wrote, so evaluation reads nothing.

mod blobs;
pub mod config;
pub mod layer_tar;
pub mod layout;
pub mod manifest;

use std::collections::BTreeMap;

use serde::Deserialize;

use strata::oci::Descriptor;

/// What `extraManifest` and `extraIndex` may set.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Extra {
    annotations: BTreeMap<String, String>,
    artifact_type: Option<String>,
    subject: Option<Descriptor>,
    /// Whatever else.
    #[serde(flatten)]
    other: serde_json::Map<String, serde_json::Value>,
}

impl Extra {
    /// Fields that strata does not set, and that users may.
    fn other(self, argument: &str) -> anyhow::Result<serde_json::Map<String, serde_json::Value>> {
        for made in ["schemaVersion", "mediaType", "config", "layers", "manifests"] {
            anyhow::ensure!(!self.other.contains_key(made), "argument {argument}: {made} comes from the image itself");
        }
        Ok(self.other)
    }
}
