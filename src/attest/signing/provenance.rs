//! [SLSA provenance v1](https://slsa.dev/spec/v1.0/provenance): how an image was built. docs/provenance.md documents the
//! parameters.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{closure::parse_nar_hash, image::Image, oci::Digest};

/// The URI of the documentation of parameters and dependencies.
const BUILD_TYPE: &str = "https://github.com/strata-images/strata/blob/main/docs/provenance.md#build-type-1";
/// The default builder, an unnamed machine with Nix.
const BUILDER: &str = "https://github.com/strata-images/strata/blob/main/docs/provenance.md#builder-unnamed";

/// The facts about a build that the user gives at the push.
#[derive(Clone, Debug, Default)]
pub struct BuildFacts {
    /// The URI of the builder.
    pub builder: Option<String>,
    /// The flake reference of the image, for example `github:owner/repo#image`.
    pub flake: Option<String>,
    /// The commit of the flake.
    pub revision: Option<String>,
    /// The path of the derivation of the image.
    pub derivation: Option<String>,
    /// The version of Nix that evaluated it.
    pub nix_version: Option<String>,
}

impl BuildFacts {
    /// Returns the predicate for an image. Equal images and builds give equal predicates.
    pub fn predicate(&self, image: &Image) -> Value {
        let present = |fields: [(&str, &Option<String>); 3]| -> Map<String, Value> {
            let fields = fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?.into())));
            fields.collect()
        };
        let mut version = Map::from_iter([("strata".to_owned(), env!("CARGO_PKG_VERSION").into())]);
        if let Some(nix) = &self.nix_version {
            version.insert("nix".to_owned(), nix.as_str().into());
        }
        let external =
            present([("flake", &self.flake), ("revision", &self.revision), ("derivation", &self.derivation)]);
        json!({
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": external,
                "internalParameters": { "platform": image.platform.to_string(), "imageId": image.config_descriptor().digest },
                "resolvedDependencies": dependencies(image),
            },
            "runDetails": {
                "builder": { "id": self.builder.as_deref().unwrap_or(BUILDER), "version": version },
            },
        })
    }
}

/// The build of an image according to a provenance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildClaim {
    /// The flake reference.
    pub flake: Option<String>,
    /// The commit of the flake.
    pub revision: Option<String>,
    /// The path of the derivation.
    pub derivation: Option<String>,
    /// The version of strata that wrote the provenance.
    pub strata_version: Option<String>,
    /// The version of Nix that evaluated the flake.
    pub nix_version: Option<String>,
    /// The NAR hashes of store paths, by path.
    pub nar_hashes: BTreeMap<String, Digest>,
}

impl BuildClaim {
    /// Reads the predicate of a provenance of [`BuildFacts::predicate`]. Returns `None` if it has another build type, whose
    /// parameters have other meanings.
    pub fn from_predicate(predicate: &Value) -> Option<Self> {
        let definition = predicate.get("buildDefinition")?;
        if definition.get("buildType")?.as_str()? != BUILD_TYPE {
            return None;
        }
        let text = |pointer: &str| predicate.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let parameter = |name: &str| text(&format!("/buildDefinition/externalParameters/{name}"));
        let version = |name: &str| text(&format!("/runDetails/builder/version/{name}"));
        let dependencies = definition.get("resolvedDependencies").and_then(Value::as_array);
        let hash = |dependency: &Value| {
            let path = dependency.get("uri")?.as_str()?.strip_prefix("file://")?.to_owned();
            let hex = dependency.pointer("/digest/narHash")?.as_str()?;
            Some((path, format!("sha256:{hex}").parse().ok()?))
        };
        Some(Self {
            flake: parameter("flake"),
            revision: parameter("revision"),
            derivation: parameter("derivation"),
            strata_version: version("strata"),
            nix_version: version("nix"),
            nar_hashes: dependencies.into_iter().flatten().filter_map(hash).collect(),
        })
    }
}

/// Returns the store paths of the image with their NAR hashes, and the layers without known store paths with their diff_ids.
fn dependencies(image: &Image) -> Vec<Value> {
    let mut all = Vec::new();
    for node in image.closure.iter().flat_map(|closure| closure.nodes()) {
        let mut dependency = json!({ "name": node.path.name(), "uri": format!("file://{}", node.path) });
        if let Some(hash) = node.nar_hash.as_deref().and_then(parse_nar_hash) {
            dependency["digest"] = json!({ "narHash": Digest::from_bytes(hash).hex() });
        }
        all.push(dependency);
    }
    for layer in image.layers.iter().filter(|layer| layer.paths.is_empty()) {
        all.push(json!({ "name": "base layer", "digest": { "sha256": layer.diff_id.hex() } }));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_read_from_provenances_of_strata_only() {
        let hash = Digest::sha256(b"nar");
        let predicate = json!({
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": { "flake": "github:o/r#image", "revision": 3 },
                "resolvedDependencies": [
                    { "uri": "file:///nix/store/x", "digest": { "narHash": hash.hex() } },
                    { "uri": "https://example.com/", "digest": { "narHash": hash.hex() } },
                    { "name": "base layer", "digest": { "sha256": hash.hex() } },
                    { "uri": "file:///nix/store/y", "digest": { "narHash": "0" } },
                ],
            },
            "runDetails": { "builder": { "version": { "nix": "2.8.0" } } },
        });
        let claim = BuildClaim::from_predicate(&predicate).unwrap();
        assert_eq!(claim.flake.as_deref(), Some("github:o/r#image"));
        assert_eq!((claim.revision, claim.nix_version.as_deref()), (None, Some("2.8.0")));
        assert_eq!(claim.nar_hashes, BTreeMap::from([("/nix/store/x".to_owned(), hash)]));
        let mut other = predicate;
        other["buildDefinition"]["buildType"] = "https://example.com/build".into();
        assert_eq!(BuildClaim::from_predicate(&other), None);
        assert_eq!(BuildClaim::from_predicate(&Value::Null), None);
    }
}
