//! [SLSA provenance v1](https://slsa.dev/spec/v1.0/provenance): how an image was built. docs/provenance.md documents the
//! parameters.

use serde_json::{Map, Value, json};

use crate::{closure::parse_nar_hash, image::Image, oci::Digest};

/// The URI of the documentation of parameters and dependencies.
const BUILD_TYPE: &str = "https://github.com/strata-images/strata/blob/main/docs/provenance.md#build-type-1";
/// The default builder, an unnamed machine with Nix.
const BUILDER: &str = "https://github.com/strata-images/strata/blob/main/docs/provenance.md#builder-unnamed";

/// The facts about a build that the user gives at the push.
#[derive(Clone, Debug, Default)]
pub struct Build {
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

impl Build {
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
