//! The ociImage* functions: one kind for each. Every result is a directory with `blobs/sha256/`.
//!
//! ```text
//! oci-layer-tar ──▶ layers.json ─┬─▶ oci-config
//! buildLayer    ──▶ layers.json ─┴─▶ oci-manifest ──▶ manifest.json, descriptors ──▶ oci-layout
//! ```
//!
//! Each kind reads the result of the previous one in its build, so evaluation reads no build results.

mod blobs;
pub(crate) mod config;
pub(crate) mod layer_tar;
pub(crate) mod layout;
pub(crate) mod manifest;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::oci::{Descriptor, find_misspelt};

/// The keys that `extraManifest` and `extraIndex` may set.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Extra {
    annotations: BTreeMap<String, String>,
    artifact_type: Option<String>,
    subject: Option<Descriptor>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

impl Extra {
    /// Returns the fields that strata does not set, which are the fields that users may set. `schemaVersion` and
    /// `mediaType` may be repeated with the value of the document.
    fn other(mut self, argument: &str, media_type: &str) -> anyhow::Result<Map<String, Value>> {
        for (made, expected) in [("schemaVersion", Value::from(2)), ("mediaType", media_type.into())] {
            if let Some(given) = self.other.remove(made) {
                anyhow::ensure!(
                    given == expected,
                    "argument {argument}: {made} is {given}, but the document has {expected}; omit it"
                );
            }
        }
        for made in ["config", "layers", "manifests"] {
            anyhow::ensure!(!self.other.contains_key(made), "argument {argument}: {made} comes from the image itself");
        }
        refuse_misspelt(argument, &self.other, &["annotations", "artifactType", "subject"])?;
        Ok(self.other)
    }
}

/// Errors if a key resembles a known key. Arguments may have other keys, but a key that is nearly a known one is a
/// mistake.
fn refuse_misspelt(argument: &str, given: &Map<String, Value>, known: &[&'static str]) -> anyhow::Result<()> {
    for key in given.keys().filter(|key| !known.contains(&key.as_str())) {
        if let Some(known_key) = find_misspelt(key, known) {
            anyhow::bail!("argument {argument}: {key} is unknown; did you mean {known_key}?");
        }
    }
    Ok(())
}
