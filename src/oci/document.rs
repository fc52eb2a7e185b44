//! Checks that a JSON document is a manifest or an index, and never both.
//!
//! A document with `layers` and `manifests` would stand for two images with one digest, and the media type that a registry
//! or a reader uses would choose between them (CVE-2021-41190). distribution (`manifest/ocischema/manifest.go`,
//! `validateManifest`) and containerd (`ValidateMediaType`) refuse such a document because of its fields. Go's decoder
//! ignores the case of names and reads `Layers` as `layers`, so a second spelling of a field is refused too.

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::{Map, Value};

use super::descriptor::media_type;

/// The names of the fields of manifests, indexes, and docker's first schema.
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

/// Fields of a descriptor, by which Go's decoder would find another blob.
const DESCRIPTOR_FIELDS: [&str; 8] =
    ["mediaType", "digest", "size", "urls", "annotations", "platform", "artifactType", "data"];

/// Deserializes the fields of a manifest or an index that strata does not know, which are kept.
///
/// # Errors
///
/// If one of them has a meaning in another kind of document.
pub(super) fn unknown_fields<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    check_unknown(Map::deserialize(deserializer)?, &FIELDS, "this kind of document")
}

/// Deserializes the fields of a descriptor that strata does not know, which are kept.
///
/// # Errors
///
/// If one of them is another spelling of a known field.
pub(super) fn unknown_descriptor_fields<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Map<String, Value>, D::Error> {
    check_unknown(Map::deserialize(deserializer)?, &DESCRIPTOR_FIELDS, "a descriptor")
}

fn check_unknown<E: Error>(fields: Map<String, Value>, known: &[&str], what: &str) -> Result<Map<String, Value>, E> {
    let has_meaning = |(name, value): &(&String, &Value)| {
        !value.is_null() && known.iter().any(|field| fold_case(field) == fold_case(name))
    };
    match fields.iter().find(has_meaning) {
        Some((name, _)) => Err(E::custom(format!(
            "it has {name:?}, which is not a field of {what}: one digest would stand for two images"
        ))),
        None => Ok(fields),
    }
}

/// Folds the case of a name as Go's decoder does to compare names.
fn fold_case(name: &str) -> String {
    name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

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
