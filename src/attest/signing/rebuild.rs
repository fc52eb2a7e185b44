//! The predicate of a rebuild: a builder has built an image again from its source, and the result was the same image.
//! docs/rebuilding.md documents the fields.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Statement, statement::predicate};
use crate::{closure::StorePath, oci::Digest};

/// The result of rebuilds that statements are written about. Rebuilds with differences have no statement.
const REPRODUCED: &str = "reproduced";

/// The predicate of [`predicate::REBUILD`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rebuild {
    /// `reproduced`.
    pub result: String,
    /// The source that was evaluated.
    pub source: ImageSource,
    /// The system that built it, for example `x86_64-linux`.
    pub system: String,
    /// The digest of the config.
    pub image_id: Digest,
    /// The origin of each store path.
    pub paths: Origins,
    /// The builder.
    pub builder: BuilderIdentity,
}

/// The source of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageSource {
    /// The flake reference with its commit.
    pub flake: String,
    /// The attribute of the image.
    pub attribute: String,
    /// The derivation of the image.
    pub derivation: StorePath,
}

/// The store paths of the image and of its recipe, each in one list. For an image that does not list its store paths, also the
/// inputs of its derivation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Origins {
    /// Built by this rebuild.
    pub rebuilt: Vec<PathOrigin>,
    /// Sources with a content address, and outputs with a fixed hash: the derivations determine their contents.
    pub fixed: Vec<PathOrigin>,
    /// Taken from a binary cache, and not built.
    pub cached: Vec<PathOrigin>,
    /// Present in the store without the signature of a cache, and not built.
    pub existing: Vec<PathOrigin>,
}

/// A store path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PathOrigin {
    /// The store path.
    pub path: StorePath,
    /// The SHA-256 hash of its NAR, in hexadecimal.
    pub nar_hash: String,
    /// The names of the keys in the signatures that Nix recorded. They are not verified.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
}

/// The builder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuilderIdentity {
    /// The URI of the builder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The version of strata.
    pub strata: String,
    /// The version of Nix.
    pub nix: String,
}

impl Rebuild {
    /// Creates the predicate of a successful rebuild.
    pub fn reproduced(
        source: ImageSource,
        system: String,
        image_id: Digest,
        paths: Origins,
        builder: BuilderIdentity,
    ) -> Self {
        Self { result: REPRODUCED.to_owned(), source, system, image_id, paths, builder }
    }

    /// Returns the predicate as JSON.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("it has string keys")
    }
}

/// Errors if a signed statement does not say that the image was reproduced, or with `full`, that all of it was rebuilt.
/// Returns `None` if the statement is about something else.
pub fn check(statement: &Statement, full: bool) -> Option<Result<(), String>> {
    if statement.predicate_type != predicate::REBUILD {
        return None;
    }
    let Ok(rebuild) = Rebuild::deserialize(&statement.predicate) else {
        return Some(Err("its predicate is malformed".to_owned()));
    };
    if rebuild.result != REPRODUCED {
        return Some(Err(format!("its result is {:?}", rebuild.result)));
    }
    let Origins { rebuilt, cached, existing, .. } = &rebuild.paths;
    if full && (rebuilt.is_empty() || !cached.is_empty() || !existing.is_empty()) {
        let (from_cache, before) = (cached.len(), existing.len());
        return Some(Err(format!(
            "{from_cache} store paths came from a cache and {before} were already present, but full rebuilds are required"
        )));
    }
    Some(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(paths: Origins) -> Statement {
        let derivation = StorePath::parse(&format!("/nix/store/{}-image.drv", "a".repeat(32))).unwrap();
        let source = ImageSource { flake: "github:o/r/0".to_owned(), attribute: "image".to_owned(), derivation };
        let builder = BuilderIdentity { id: None, strata: "1".to_owned(), nix: "2".to_owned() };
        let rebuild = Rebuild::reproduced(source, "x86_64-linux".to_owned(), Digest::sha256(b""), paths, builder);
        Statement::new("", &Digest::sha256(b"image"), predicate::REBUILD, rebuild.to_value())
    }

    #[test]
    fn statements_without_a_full_rebuild_are_no_full_rebuilds() {
        let path = StorePath::parse(&format!("/nix/store/{}-x", "a".repeat(32))).unwrap();
        let origin = || vec![PathOrigin { path: path.clone(), nar_hash: String::new(), keys: Vec::new() }];
        let rebuilt = || Origins { rebuilt: origin(), ..Origins::default() };
        for (paths, is_full) in [
            (rebuilt(), true),
            (Origins { fixed: origin(), ..rebuilt() }, true),
            (Origins { cached: origin(), ..rebuilt() }, false),
            (Origins { existing: origin(), ..rebuilt() }, false),
            (Origins::default(), false),
        ] {
            let statement = statement(paths);
            assert_eq!(check(&statement, false), Some(Ok(())));
            assert_eq!(check(&statement, true).unwrap().is_ok(), is_full);
        }
    }

    #[test]
    fn other_statements_and_results_do_not_count() {
        assert_eq!(check(&Statement::signature(&Digest::sha256(b"image")), false), None);
        let mut other = statement(Origins::default());
        other.predicate["result"] = "different".into();
        assert!(check(&other, false).unwrap().is_err());
        other.predicate = Value::Null;
        assert!(check(&other, false).unwrap().is_err());
    }
}
