//! What a document is: a manifest or an index, and never both.
//!
//! A document with `layers` and `manifests` is two images under one digest: a registry, or a reader, chooses with a media
//! type (CVE-2021-41190). distribution (`manifest/ocischema/manifest.go`, `validateManifest`) and containerd
//! (`ValidateMediaType`) refuse it by the fields. Go's decoder ignores the case of names, so that `Layers` counts as
//! `layers` there; a second spelling of a field is refused too.

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::{Map, Value};

use super::descriptor::media_type;

/// Names that have a meaning in a manifest, an index, or docker's first schema.
const FIELDS: [&str; 10] = [
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "subject",
    "annotations",
    "fsLayers",
    "signatures",
];

/// Fields that a manifest or an index keeps though strata does not know them; none of them has a meaning in another kind of
/// document.
pub(super) fn other<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    let other = Map::deserialize(deserializer)?;
    let has_meaning = |(name, value): &(&String, &Value)| {
        !value.is_null() && FIELDS.iter().any(|field| folded(field) == folded(name))
    };
    match other.iter().find(has_meaning) {
        Some((name, _)) => Err(D::Error::custom(format!(
            "it has {name:?}, which is not a field of this kind of document: one digest would stand for two images"
        ))),
        None => Ok(other),
    }
}

/// A name as Go's decoder compares it.
fn folded(name: &str) -> String {
    name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// The media type of a manifest.
pub(super) fn manifest_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    media_type_of(deserializer, media_type::INDEX, "a manifest")
}

/// The media type of an index.
pub(super) fn index_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    media_type_of(deserializer, media_type::MANIFEST, "an index")
}

fn media_type_of<'de, D: Deserializer<'de>>(
    deserializer: D,
    wrong: &str,
    what: &str,
) -> Result<Option<String>, D::Error> {
    let own: Option<String> = Option::deserialize(deserializer)?;
    match own.as_deref() {
        Some(own) if media_type::as_oci(own) == wrong => {
            Err(D::Error::custom(format!("its mediaType is {own}, but it is used as {what}")))
        }
        _ => Ok(own),
    }
}

/// Whether a document is of docker's first schema.
pub(crate) fn is_schema_1(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Versioned {
        schema_version: Option<u64>,
        fs_layers: Option<serde::de::IgnoredAny>,
    }
    serde_json::from_slice::<Versioned>(bytes)
        .is_ok_and(|document| document.schema_version == Some(1) && document.fs_layers.is_some())
}

/// What to do about a document of docker's first schema. Docker does not pull it by default since moby#47459, and containerd
/// since version 2.0; containerd 2.1 has no code for it (containerd#6884).
pub(crate) const SCHEMA_1: &str = "it is an image of Docker's schema 1, which has no config and which docker and containerd \
    no longer pull; convert it with `skopeo copy --format v2s2 docker://SOURCE docker://DESTINATION`";

#[cfg(test)]
mod tests {
    use crate::oci::{Index, Manifest};

    #[test]
    fn a_document_is_a_manifest_or_an_index() {
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
