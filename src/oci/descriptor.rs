//! [Descriptors](https://github.com/opencontainers/image-spec/blob/main/descriptor.md): a blob's type, digest and size.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{Digest, config::null_as_default};

/// Media types that strata writes or reads.
pub mod media_type {
    /// An image index.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// An image manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An image configuration.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// A layer as a plain tar.
    pub const LAYER_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
    /// A layer as a gzip-compressed tar.
    pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// A layer as a zstd-compressed tar.
    pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// docker's image index.
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// docker's image manifest.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// docker's image configuration.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// docker's gzip-compressed layer.
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
    const DOCKER_LAYER_TAR: &str = "application/vnd.docker.image.rootfs.diff.tar";

    /// Whether it is an image configuration.
    pub fn is_config(media_type: &str) -> bool {
        as_oci(media_type) == CONFIG
    }

    /// OCI's name for a media type of docker's; others stay.
    pub fn as_oci(media_type: &str) -> &str {
        match media_type {
            DOCKER_INDEX => INDEX,
            DOCKER_MANIFEST => MANIFEST,
            DOCKER_CONFIG => CONFIG,
            DOCKER_LAYER_GZIP => LAYER_GZIP,
            DOCKER_LAYER_ZSTD => LAYER_ZSTD,
            DOCKER_LAYER_TAR => LAYER_TAR,
            other => other,
        }
    }
}

/// Annotations that name an image of an index.
pub mod annotation {
    /// Its tag; [the specification's](https://github.com/opencontainers/image-spec/blob/main/annotations.md).
    pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
    /// Its whole name, for containerd and podman.
    pub const IMAGE_NAME: &str = "io.containerd.image.name";
}

/// What a document says of a blob it refers to.
///
/// [Example](crate#layer).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The blob's media type.
    pub media_type: String,
    /// The blob's digest.
    pub digest: Digest,
    /// The blob's size in bytes.
    pub size: u64,
    /// Other places to have the blob from; what has some may be in no registry.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Annotations of the reference, not of the blob.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The platform an image of an index is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What the blob is, where it is a manifest of no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The blob itself in base64, where it is small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// What strata does not know; it stays.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

impl Descriptor {
    /// Of a blob, without annotations and platform.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
            artifact_type: None,
            data: None,
            other: serde_json::Map::new(),
        }
    }
}

/// The machine an image runs on, in Go's terms (`GOARCH`, `GOOS`).
///
/// [Example](crate#image).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64`, …
    #[serde(default)]
    pub architecture: String,
    /// `linux`, …
    #[serde(default)]
    pub os: String,
    /// `v8`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// `os.version`, `os.features` and the like; they stay.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

impl Platform {
    /// A platform of Linux.
    pub fn linux(architecture: &str, variant: Option<&str>) -> Self {
        Self {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            variant: variant.filter(|variant| !variant.is_empty()).map(str::to_owned),
            other: serde_json::Map::new(),
        }
    }

    /// This machine, which is the default where there are several platforms.
    pub fn here() -> Self {
        let architecture = if cfg!(target_arch = "x86_64") {
            "amd64"
        } else if cfg!(target_arch = "aarch64") {
            "arm64"
        } else if cfg!(target_arch = "x86") {
            "386"
        } else if cfg!(target_arch = "powerpc64") {
            "ppc64le"
        } else if cfg!(target_arch = "riscv64") {
            "riscv64"
        } else {
            "unknown"
        };
        Self::linux(architecture, None)
    }

    /// Whether an image for `other` is what is wanted here; a variant that is not given is any.
    pub fn is_met_by(&self, other: &Self) -> bool {
        self.architecture == other.architecture
            && self.os == other.os
            && (self.variant.is_none() || self.variant == other.variant)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}
