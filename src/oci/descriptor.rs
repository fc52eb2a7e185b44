//! [Descriptors](https://github.com/opencontainers/image-spec/blob/main/descriptor.md): the media type, digest and size of a
//! blob.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, de::Error};

use super::{
    Digest,
    config::{null_as_default, null_values},
    fields,
};

/// Bytes of a blob, at most: 4 TiB. One command reads 256 MiB of documents, in which the shortest descriptor has 100 bytes, so that
/// a sum of sizes is a number of 64 bits.
const LARGEST_BLOB: u64 = 4 << 40;

/// Media types that strata writes or reads.
pub mod media_type {
    /// An image index.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// An image manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An image configuration.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// A layer as an uncompressed tar.
    pub const LAYER_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
    /// A layer as a gzip-compressed tar.
    pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// A layer as a zstd-compressed tar.
    pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// The image index of docker.
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// The image manifest of docker.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// The image configuration of docker.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// The gzip-compressed layer of docker.
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
    const DOCKER_LAYER_TAR: &str = "application/vnd.docker.image.rootfs.diff.tar";

    /// Returns whether the media type is that of an image configuration.
    pub fn is_config(media_type: &str) -> bool {
        as_oci(media_type) == CONFIG
    }

    /// Returns whether a push compresses layers of the media type. Uncompressed layers of docker are copied as they are.
    pub fn is_compressed_by_push(media_type: &str) -> bool {
        media_type == LAYER_TAR
    }

    /// Returns the OCI media type that corresponds to one of docker, and any other media type unchanged.
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

/// Annotations with the name of an image in an index.
pub mod annotation {
    /// The tag ([image specification](https://github.com/opencontainers/image-spec/blob/main/annotations.md)).
    pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
    /// The full name, for containerd and podman.
    pub const IMAGE_NAME: &str = "io.containerd.image.name";
    /// In an index, marks a manifest with zstd layers (containers/image, internal/manifest/oci_index.go).
    pub const ZSTD: &str = "io.github.containers.compression.zstd";
}

/// A reference to a blob, as manifests and indexes contain it.
///
/// [Example](crate#layer).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type of the blob.
    pub media_type: String,
    /// The digest of the blob.
    pub digest: Digest,
    /// The size of the blob in bytes.
    #[serde(deserialize_with = "blob_size")]
    pub size: u64,
    /// URLs from which the blob can be downloaded. A blob with URLs may be missing in the registry.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Annotations of the reference, not of the blob.
    #[serde(default, deserialize_with = "null_values", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The platform of an image in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The type of the artifact, if the blob is a manifest of something other than an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The content of the blob in base64, if the blob is embedded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Fields that strata does not know. They are kept.
    #[serde(flatten, deserialize_with = "fields::unknown_descriptor_fields")]
    pub other: serde_json::Map<String, serde_json::Value>,
}

/// Deserializes the size of a blob, which is claimed before its bytes are seen.
pub(crate) fn blob_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match u64::deserialize(deserializer)? {
        size if size > LARGEST_BLOB => {
            Err(D::Error::custom(format!("a size of {size} bytes exceeds the limit of {LARGEST_BLOB}")))
        }
        size => Ok(size),
    }
}

impl Descriptor {
    /// Creates the descriptor of a blob, without annotations and platform.
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

/// The platform of an image, in the terms of Go (`GOARCH`, `GOOS`).
///
/// [Example](crate#image).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64`, …
    #[serde(default, deserialize_with = "null_as_default")]
    pub architecture: String,
    /// `linux`, …
    #[serde(default, deserialize_with = "null_as_default")]
    pub os: String,
    /// `v8`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Other fields, such as `os.version` and `os.features`. They are kept.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

impl Platform {
    /// Creates a platform with the operating system Linux. An empty variant counts as none.
    pub fn linux(architecture: &str, variant: Option<&str>) -> Self {
        Self {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            variant: variant.filter(|variant| !variant.is_empty()).map(str::to_owned),
            other: serde_json::Map::new(),
        }
    }

    /// Returns the platform of this machine, the default if an image has several platforms.
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

    /// Returns whether an image for `other` satisfies this requested platform. Without a variant, any variant does.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claimed_sizes_are_limited_and_fields_have_one_spelling() {
        let parse = |size: &str, extra: &str| {
            let text = format!(r#"{{"mediaType":"x","digest":"sha256:{}","size":{size}{extra}}}"#, "0".repeat(64));
            serde_json::from_str::<Descriptor>(&text).map_err(|error| error.to_string())
        };
        assert_eq!(parse("4398046511104", "").unwrap().size, LARGEST_BLOB);
        for size in
            ["4398046511105", "9223372036854775807", "18446744073709551615", "18446744073709551616", "-1", "1e3"]
        {
            assert!(parse(size, "").is_err(), "{size}");
        }
        assert!(parse("1", r#","x":1,"Urls":null"#).is_ok());
        for extra in [r#","Digest":"sha256:1""#, r#","SIZE":2"#, r#","mediatype":"y""#, r#","size":1"#, r#","Data":"""#]
        {
            assert!(parse("1", extra).is_err(), "{extra}");
        }
    }
}
