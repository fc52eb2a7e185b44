//! [SLSA provenance v1](https://slsa.dev/spec/v1.0/provenance): how an image came to be. docs/provenance.md says what the
//! parameters mean.

use serde_json::{Map, Value, json};

use crate::{closure::parse_nar_hash, image::Image, oci::Digest};

/// How parameters and dependencies are to be read.
const BUILD_TYPE: &str = "https://github.com/strata-images/strata/blob/main/docs/provenance.md#build-type-1";
/// The default builder: someone with Nix.
const BUILDER: &str = "https://github.com/strata-images/strata/blob/main/docs/provenance.md#builder-unnamed";

/// What the one who pushes knows of the build.
#[derive(Clone, Debug, Default)]
pub struct Build {
    /// Who is answerable for it: a URI.
    pub builder: Option<String>,
    /// The flake reference that was built, `github:owner/repo#image` for example.
    pub flake: Option<String>,
    /// The commit.
    pub revision: Option<String>,
    /// The path of the image's derivation.
    pub derivation: Option<String>,
    /// The version of Nix that evaluated it.
    pub nix_version: Option<String>,
}

impl Build {
    /// The predicate for an image: the same for the same image and the same build.
    pub fn predicate(&self, image: &Image) -> Value {
        let given = |fields: [(&str, &Option<String>); 3]| -> Map<String, Value> {
            let known = fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?.into())));
            known.collect()
        };
        let mut version = Map::from_iter([("strata".to_owned(), env!("CARGO_PKG_VERSION").into())]);
        if let Some(nix) = &self.nix_version {
            version.insert("nix".to_owned(), nix.as_str().into());
        }
        let external = given([("flake", &self.flake), ("revision", &self.revision), ("derivation", &self.derivation)]);
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

/// The store paths in it, by NAR hash, and the layers that are made from none, by diff_id.
fn dependencies(image: &Image) -> Vec<Value> {
    let mut all = Vec::new();
    for node in image.closure.iter().flat_map(|closure| closure.nodes()) {
        let mut one = json!({ "name": node.path.name(), "uri": format!("file://{}", node.path) });
        if let Some(hash) = node.nar_hash.as_deref().and_then(parse_nar_hash) {
            one["digest"] = json!({ "narHash": Digest::from_bytes(hash).hex() });
        }
        all.push(one);
    }
    for layer in image.layers.iter().filter(|layer| layer.paths.is_empty()) {
        all.push(json!({ "name": "base layer", "digest": { "sha256": layer.diff_id.hex() } }));
    }
    all
}
