//! [Image manifests](https://github.com/opencontainers/image-spec/blob/main/manifest.md)
//! and [image indexes](https://github.com/opencontainers/image-spec/blob/main/image-index.md).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Descriptor,
    config::{null_as_default, null_elements, null_values},
    descriptor::media_type,
    document, fields,
};

/// The manifest of an image for one platform: its config and its layers, base first.
///
/// [Example](crate#image).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// Always [`media_type::MANIFEST`] when written.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "document::manifest_type")]
    pub media_type: Option<String>,
    /// The type of the artifact, if the manifest is not one of an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, base first.
    #[serde(deserialize_with = "null_as_default")]
    pub layers: Vec<Descriptor>,
    /// The manifest that this one refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations of the image.
    #[serde(default, deserialize_with = "null_values", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Fields that strata does not know. They are kept.
    #[serde(flatten, deserialize_with = "fields::unknown_fields")]
    pub other: serde_json::Map<String, serde_json::Value>,
}

impl Manifest {
    /// Creates the manifest of an image from its config and its layers.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media_type::MANIFEST.to_owned()),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
            other: serde_json::Map::new(),
        }
    }
}

/// A list of manifests.
///
/// [Example](crate#image).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// Always [`media_type::INDEX`] when written.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "document::index_type")]
    pub media_type: Option<String>,
    /// The type of the artifact, if the index is not a list of the platforms of an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifests, or further indexes.
    #[serde(deserialize_with = "null_as_default")]
    pub manifests: Vec<Descriptor>,
    /// The manifest that this index refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations of the index.
    #[serde(default, deserialize_with = "null_values", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Fields that strata does not know. They are kept.
    #[serde(flatten, deserialize_with = "fields::unknown_fields")]
    pub other: serde_json::Map<String, serde_json::Value>,
}

impl Index {
    /// Creates an index of manifests.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media_type::INDEX.to_owned()),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
            other: serde_json::Map::new(),
        }
    }
}

/// An image in the manifest.json of an archive of `docker save`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DockerManifest {
    /// The file name of the config.
    #[serde(default, deserialize_with = "null_as_default")]
    pub config: String,
    /// The names of the image, each `name:tag`.
    #[serde(default)]
    pub repo_tags: Option<Vec<String>>,
    /// The file names of the layers, base first.
    #[serde(default, deserialize_with = "null_elements")]
    pub layers: Vec<String>,
}
