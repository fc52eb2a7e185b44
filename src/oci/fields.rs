//! Fields of documents and descriptors that strata does not know. They are kept, unless another reader would know them.
//!
//! Go's decoder ignores the case of names and reads `Layers` as `layers`, so a second spelling of a field is refused.

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::{Map, Value};

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
