//! Responses of a daemon about itself and its images.

use serde::Deserialize;

use crate::oci::Digest;

/// The daemon's description of itself.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Info {
    /// The name of the machine.
    #[serde(default)]
    pub name: String,
    /// The release of the machine's kernel.
    #[serde(default)]
    pub kernel_version: String,
    /// Modes such as `name=rootless` and `name=userns`.
    #[serde(default)]
    pub security_options: Option<Vec<String>>,
    /// Properties of the storage driver.
    #[serde(default)]
    pub driver_status: Option<Vec<(String, String)>>,
}

impl Info {
    /// Whether images are in containerd's store, as blobs and snapshots, and not in docker's own store, as chains of
    /// layers. An installation keeps its first store when docker is updated, so the version does not show it.
    pub fn has_containerd_store(&self) -> bool {
        let mut status = self.driver_status.iter().flatten();
        status.any(|(key, value)| key == "driver-type" && value.starts_with("io.containerd.snapshotter"))
    }
}

/// An image of the daemon.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DaemonImage {
    #[serde(rename = "RootFS", default)]
    pub(super) root_fs: InspectedRootFs,
    /// The manifests in containerd's store, from API version 1.48 on (Docker 28).
    #[serde(default)]
    manifests: Option<Vec<ManifestSummary>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct InspectedRootFs {
    #[serde(default)]
    pub(super) layers: Option<Vec<Digest>>,
}

#[derive(Debug, Deserialize)]
struct ManifestSummary {
    #[serde(rename = "ID")]
    id: Digest,
    #[serde(rename = "Available", default)]
    available: bool,
    #[serde(rename = "ImageData", default)]
    image: Option<ImageData>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ImageData {
    #[serde(default)]
    size: UnpackedSize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UnpackedSize {
    #[serde(default)]
    unpacked: u64,
}

impl DaemonImage {
    /// Whether every blob of the manifest is present, or `None` if the daemon does not report it.
    pub fn is_available(&self, manifest: &Digest) -> Option<bool> {
        let found = self.manifests.as_ref()?.iter().find(|summary| summary.id == *manifest);
        Some(found.is_some_and(|summary| summary.available))
    }

    /// Whether the files of the manifest are unpacked.
    pub fn is_unpacked(&self, manifest: &Digest) -> bool {
        let mut summaries = self.manifests.iter().flatten().filter(|summary| summary.id == *manifest);
        summaries.any(|summary| summary.image.as_ref().is_some_and(|image| image.size.unpacked > 0))
    }
}
