//! The attribute contract between `nix/derive.nix` and `strata build`.
//!
//! A derivation with `__structuredAttrs = true` has these attributes, besides
//! Nix's own:
//!
//! ```json
//! { "strata":  { "version": 1, "kind": "image", "request": { … } },
//!   "closure": [ { "path": "/nix/store/…", "references": [ … ], … } ],
//!   "exportReferencesGraph": { "closure": [ "/nix/store/…" ] },
//!   "outputs": { "out": "/nix/store/…" } }
//! ```
//!
//! `closure` is the result of `exportReferencesGraph.closure`. The fields of a request are the fields of the struct of
//! its kind, in camel case. A field that is unknown, missing or of the wrong type is an error that names the field.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    closure::{Graph, RawNode, StoreDir, StorePath},
    oci::wording,
};

/// Raised when the meaning of a request changes. `nix/derive.nix` has the same number.
const VERSION: u32 = 1;

/// The attributes of a derivation.
#[derive(Debug)]
pub struct Attributes {
    outputs: Outputs,
    strata: StrataAttributes,
    closure: Value,
    /// The store paths whose closure it is.
    packages: Value,
    certificate_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outputs {
    out: PathBuf,
    nix_closure: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StrataAttributes {
    version: u32,
    kind: String,
    request: Value,
}

impl Attributes {
    /// Reads the attributes of the derivation that is being built.
    ///
    /// # Errors
    ///
    /// If the attributes are missing or do not follow this contract.
    pub fn read() -> Result<Self> {
        let path = file()?;
        let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    fn parse(text: &[u8]) -> Result<Self> {
        let mut all: serde_json::Map<String, Value> = serde_json::from_slice(text)?;
        let mut take = |name: &str| all.remove(name).unwrap_or(Value::Null);
        let strata: StrataAttributes = typed("strata", take("strata"))?;
        if strata.version != VERSION {
            bail!(
                "attribute strata.version is {}, this strata speaks {VERSION}; use the strata of the same revision \
                 as the Nix library",
                strata.version
            );
        }
        let certificate_file = typed("certificateFile", take("certificateFile"))?;
        let packages = take("exportReferencesGraph").get_mut("closure").map(Value::take).unwrap_or_default();
        Ok(Self {
            outputs: typed("outputs", take("outputs"))?,
            strata,
            closure: take("closure"),
            packages,
            certificate_file,
        })
    }

    /// The CA certificates of a derivation that uses the network.
    pub fn certificate_file(&self) -> Option<&Path> {
        self.certificate_file.as_deref()
    }

    pub fn kind(&self) -> &str {
        &self.strata.kind
    }

    pub fn out(&self) -> &Path {
        &self.outputs.out
    }

    /// The output that lists the store paths of an image for nodes with a Nix store, if the derivation has it.
    pub fn nix_closure(&self) -> Option<&Path> {
        self.outputs.nix_closure.as_deref()
    }

    pub fn request<T: DeserializeOwned>(&self) -> Result<T> {
        typed("strata.request", self.strata.request.clone())
    }

    /// The store paths whose closure is [`Self::closure`].
    pub fn packages(&self) -> Result<Vec<StorePath>> {
        let raw: Option<Vec<String>> = typed("exportReferencesGraph.closure", self.packages.clone())?;
        Ok(raw.iter().flatten().map(|path| store().parse(path)).collect::<Result<_, _>>()?)
    }

    /// The closure. Nix leaves out an empty closure.
    pub fn closure(&self) -> Result<Graph> {
        let raw: Option<Vec<RawNode>> = typed("closure", self.closure.clone())?;
        Ok(Graph::new(&store(), raw.unwrap_or_default())?)
    }
}

fn store() -> StoreDir {
    env::var_os("NIX_STORE").map(StoreDir::new).unwrap_or_default()
}

/// Deserializes an attribute. Errors contain the path of the field.
fn typed<T: DeserializeOwned>(name: &str, value: Value) -> Result<T> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let place = match path.as_str() {
            "." => format!("attribute {name}"),
            path => argument(name, path).unwrap_or_else(|| format!("attribute {name}.{path}")),
        };
        anyhow::anyhow!("{place} {}", wording::type_error(&error.inner().to_string()))
    })
}

/// Returns a path in a request in the terms of the user: `grouping.perms[0].uid` is the `uid` of the first element of
/// the argument `perms`. Requests keep some arguments in groups, which are not part of the interface.
fn argument(name: &str, path: &str) -> Option<String> {
    const GROUPS: [&str; 9] =
        ["base", "grouping", "guards", "layering", "owner", "owners", "placed", "scripts", "unpacked"];
    (name == "strata.request").then_some(())?;
    let mut parts = path.split('.').skip_while(|part| GROUPS.contains(part)).peekable();
    parts.peek()?;
    let part =
        |part: &str| match part.trim_end_matches(']').split_once('[').map(|(name, at)| (name, at.parse::<usize>())) {
            Some((name, Ok(at))) => format!("{name}, element {}", at + 1),
            _ => part.to_owned(),
        };
    Some(format!("argument {}", parts.map(part).collect::<Vec<_>>().join(", ")))
}

/// Returns the file that `NIX_ATTRS_JSON_FILE` names. In a sandbox of Nix 2.8 that path is outside of the sandbox, and
/// the file is in the build directory.
fn file() -> Result<PathBuf> {
    let named = env::var_os("NIX_ATTRS_JSON_FILE").map(PathBuf::from);
    let top = env::var_os("NIX_BUILD_TOP").map(|top| Path::new(&top).join(".attrs.json"));
    match named.into_iter().chain(top).find(|path| path.exists()) {
        Some(path) => Ok(path),
        None => bail!(
            "no structured attributes: `strata build` is what derivations run; \
             to build an image, use `nix build` with the functions of strata's Nix library"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(strata: &str) -> Result<Attributes> {
        let text = format!(r#"{{"outputs":{{"out":"/o"}},"strata":{strata},"name":"x","system":"y"}}"#);
        Attributes::parse(text.as_bytes())
    }

    #[test]
    fn every_error_names_its_attribute() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Request {
            #[allow(dead_code)]
            layers: Vec<u32>,
        }
        for (strata, needle) in [
            (r#"{"version":2,"kind":"a","request":{}}"#, "strata.version is 2"),
            (r#"{"version":1,"kind":"a"}"#, "attribute strata is wrong: missing field `request`"),
            (r#"{"version":1,"kind":7,"request":{}}"#, "attribute strata.kind must be a string, not 7"),
            (r#"{"version":1,"kind":"a","request":{},"x":1}"#, "unknown field `x`"),
            (
                r#"{"version":1,"kind":"a","request":{"layers":[1,"2"]}}"#,
                "argument layers, element 2 must be a number, not \"2\"",
            ),
            (r#"{"version":1,"kind":"a","request":{"layer":[]}}"#, "unknown field `layer`"),
        ] {
            let error = parse(strata).and_then(|attributes| attributes.request::<Request>()).unwrap_err();
            assert!(format!("{error:#}").contains(needle), "{strata}: {error:#}");
        }
    }

    #[test]
    fn a_closure_left_out_is_empty() {
        let attributes = parse(r#"{"version":1,"kind":"a","request":{}}"#).unwrap();
        assert!(attributes.closure().unwrap().nodes().is_empty());
    }
}
