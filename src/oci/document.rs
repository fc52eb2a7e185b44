//! Checks that a JSON document is a manifest or an index, and never both.
//!
//! A document with `layers` and `manifests` would stand for two images with one digest, and the media type that a registry
//! or a reader uses would choose between them (CVE-2021-41190). distribution (`manifest/ocischema/manifest.go`,
//! `validateManifest`) and containerd (`ValidateMediaType`) refuse such a document because of its fields. The
//! spelling of fields is checked in `fields.rs`.

use serde::{Deserialize, Deserializer, de::Error};

use super::descriptor::media_type;

/// Deserializes the media type of a manifest.
pub(super) fn manifest_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    check_media_type(deserializer, media_type::INDEX, "a manifest")
}

/// Deserializes the media type of an index.
pub(super) fn index_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    check_media_type(deserializer, media_type::MANIFEST, "an index")
}

fn check_media_type<'de, D: Deserializer<'de>>(
    deserializer: D,
    wrong: &str,
    kind: &str,
) -> Result<Option<String>, D::Error> {
    let found: Option<String> = Option::deserialize(deserializer)?;
    match found.as_deref() {
        Some(found) if media_type::as_oci(found) == wrong => {
            Err(D::Error::custom(format!("its mediaType is {found}, but it is used as {kind}")))
        }
        _ => Ok(found),
    }
}

/// Returns whether a document without a media type is an index: it has manifests, or none of what a manifest has.
pub(crate) fn is_index(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Fields {
        config: Option<serde::de::IgnoredAny>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    serde_json::from_slice::<Fields>(bytes)
        .is_ok_and(|fields| fields.manifests.is_some() || fields.config.is_none() && is_empty_index(bytes))
}

/// Returns whether it is an index whose list is null.
fn is_empty_index(bytes: &[u8]) -> bool {
    serde_json::from_slice::<super::Index>(bytes).is_ok()
}

/// Returns whether a document is a manifest of docker's first schema.
pub(crate) fn is_schema_1(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Fields {
        schema_version: Option<u64>,
        fs_layers: Option<serde::de::IgnoredAny>,
    }
    serde_json::from_slice::<Fields>(bytes)
        .is_ok_and(|fields| fields.schema_version == Some(1) && fields.fs_layers.is_some())
}

/// The message for manifests of docker's first schema. Docker does not pull them by default since moby#47459, and containerd
/// since version 2.0; containerd 2.1 has no code for them (containerd#6884).
pub(crate) const SCHEMA_1: &str = "it is an image of Docker's schema 1, which has no config and which docker and containerd \
    no longer pull; convert it with `skopeo copy --format v2s2 docker://SOURCE docker://DESTINATION`";

#[cfg(test)]
mod tests {
    use crate::oci::{Index, Manifest};

    #[test]
    fn documents_that_are_manifest_and_index_are_refused() {
        let descriptor = format!(r#"{{"mediaType":"x","digest":"sha256:{}","size":1}}"#, "0".repeat(64));
        let manifest = format!(r#""schemaVersion":2,"config":{descriptor},"layers":[]"#);
        let index = r#""schemaVersion":2,"manifests":[]"#;
        let is_manifest = |text: &str| serde_json::from_str::<Manifest>(&format!("{{{text}}}")).is_ok();
        let is_index = |text: &str| serde_json::from_str::<Index>(&format!("{{{text}}}")).is_ok();
        assert!(is_manifest(&manifest) && is_index(index));
        assert!(is_manifest(&format!(r#"{manifest},"manifests":null,"x":1"#)));
        assert!(is_manifest(&manifest.replace("[]", "null")) && is_index(&index.replace("[]", "null")));
        for extra in [
            "\"manifests\":[]",
            "\"Manifests\":[]",
            "\"MANIFESTS\":{}",
            "\"manife\u{17f}ts\":[]",
            "\"Layers\":[]",
            "\"Config\":{}",
            "\"fsLayers\":[]",
            "\"mediaType\":\"application/vnd.oci.image.index.v1+json\"",
            "\"mediaType\":\"application/vnd.docker.distribution.manifest.list.v2+json\"",
        ] {
            assert!(!is_manifest(&format!("{manifest},{extra}")), "{extra}");
        }
        for extra in [
            "\"layers\":[]",
            "\"config\":{}",
            "\"LAYERS\":[]",
            "\"Manifests\":[]",
            "\"fsLayers\":[]",
            "\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\"",
            "\"mediaType\":\"application/vnd.docker.distribution.manifest.v2+json\"",
        ] {
            assert!(!is_index(&format!("{index},{extra}")), "{extra}");
        }
    }
}
