//! What a daemon answers about itself and its images.

use serde::Deserialize;

use crate::oci::Digest;

/// The daemon's description of itself.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Info {
    /// The name of its machine.
    #[serde(default)]
    pub name: String,
    /// The release of its machine's kernel.
    #[serde(default)]
    pub kernel_version: String,
    /// Its modes, such as `name=rootless` and `name=userns`.
    #[serde(default)]
    pub security_options: Option<Vec<String>>,
    /// Properties of its storage driver.
    #[serde(default)]
    pub driver_status: Option<Vec<(String, String)>>,
}

impl Info {
    /// Whether images are in containerd's store, as blobs and snapshots, not in docker's own, as chains of layers.
    /// Docker's installations keep the store they began with: the version does not say.
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
    pub(super) root_fs: RootFs,
    /// In containerd's store, from API version 1.48 on (Docker 28).
    #[serde(default)]
    manifests: Option<Vec<ManifestSummary>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RootFs {
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
    /// Whether every blob of the manifest is there; nothing where the daemon is too old to say.
    pub fn is_available(&self, manifest: &Digest) -> Option<bool> {
        let found = self.manifests.as_ref()?.iter().find(|summary| summary.id == *manifest);
        Some(found.is_some_and(|summary| summary.available))
    }

    /// Whether its files are unpacked too.
    pub fn is_unpacked(&self, manifest: &Digest) -> bool {
        let mut summaries = self.manifests.iter().flatten().filter(|summary| summary.id == *manifest);
        summaries.any(|summary| summary.image.as_ref().is_some_and(|image| image.size.unpacked > 0))
    }
}
