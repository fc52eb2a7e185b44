//! The lock file of a flake, and which of its inputs may be read.
//!
//! A branch can be written by contributors, and its lock file can name any source: a directory of the server's user, or a
//! repository that only this user may read. Inputs of branches are therefore sources of the network that need no password,
//! and inputs that the operator's own checkout has too.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The most nodes of a lock file; large ones have some hundreds.
const NODES: usize = 2000;
/// The largest lock file in bytes.
const SIZE: u64 = 16 << 20;

/// A lock file. sources.nix reads the nodes.
#[derive(Debug, Deserialize)]
pub struct LockFile {
    /// The nodes by name. The fields that are read here are `locked` and `parent`.
    pub nodes: Map<String, Value>,
    /// The name of the flake's own node.
    pub root: String,
    version: u64,
}

/// The location of a node's source.
#[derive(Debug, PartialEq, Eq)]
pub enum InputLocation {
    /// The attributes of `builtins.fetchTree`.
    Fetched { attributes: Map<String, Value>, is_trusted: bool },
    /// In the source of another node, a path of inputs from the root.
    Below(Value),
}

impl LockFile {
    /// Reads `flake.lock` in the directory `below` of `top`. Without one, the flake has no inputs.
    ///
    /// # Errors
    ///
    /// If it cannot be read or parsed, or is not in `top`.
    pub fn read(top: &Path, below: &str) -> Result<Self> {
        let file = top.join(below).join("flake.lock");
        let reading = || format!("reading {}", file.display());
        if !file.is_symlink() && !file.exists() {
            let nodes = Map::from_iter([("root".to_owned(), Map::new().into())]);
            return Ok(Self { nodes, root: "root".to_owned(), version: 7 });
        }
        let real = fs::canonicalize(&file).with_context(reading)?;
        let is_inside = real.starts_with(fs::canonicalize(top).with_context(reading)?);
        ensure!(is_inside && real.is_file(), "{} is not a file in {}", file.display(), top.display());
        let size = fs::metadata(&real).with_context(reading)?.len();
        ensure!(size <= SIZE, "{} has {size} bytes, more than {SIZE}", file.display());
        let lock: Self = serde_json::from_slice(&fs::read(&real).with_context(reading)?).with_context(reading)?;
        ensure!((5..=7).contains(&lock.version), "{}: version {} is unknown", file.display(), lock.version);
        ensure!(lock.nodes.len() <= NODES, "{} has more than {NODES} nodes", file.display());
        ensure!(lock.nodes.contains_key(&lock.root), "{} has no node {}", file.display(), lock.root);
        Ok(lock)
    }

    /// The locked attributes of all nodes, for `places`.
    pub fn locked(&self) -> BTreeSet<String> {
        self.nodes.values().filter_map(|node| Some(node.get("locked")?.to_string())).collect()
    }

    /// The place of each node except the root. Nodes in `trusted` may be anywhere.
    ///
    /// # Errors
    ///
    /// If a node may not be read.
    pub fn places(&self, trusted: &BTreeSet<String>) -> Result<BTreeMap<&str, InputLocation>> {
        let others = self.nodes.iter().filter(|(name, _)| **name != self.root);
        others.map(|(name, node)| Ok((&**name, place(name, node, trusted)?))).collect()
    }
}

fn place(name: &str, node: &Value, trusted: &BTreeSet<String>) -> Result<InputLocation> {
    let locked = node.get("locked").and_then(Value::as_object);
    let locked = locked.with_context(|| format!("flake.lock: the input {name} is not locked"))?;
    let text = |attribute: &str| locked.get(attribute).and_then(Value::as_str).unwrap_or_default();
    if text("type") == "path" && !text("path").starts_with('/') {
        ensure!(!text("path").split('/').any(|part| part == ".."), "flake.lock: the input {name} is not in its flake");
        return Ok(InputLocation::Below(node.get("parent").cloned().unwrap_or_else(|| Value::Array(Vec::new()))));
    }
    let is_trusted = trusted.contains(&Value::Object(locked.clone()).to_string());
    ensure!(
        is_trusted || is_public(locked),
        "flake.lock: the input {name} of type {:?} needs the rights of this user; a version of a flake may read such an \
         input only if flake.lock of the checkout has it too; other inputs come from https:, http:, github:, gitlab: or \
         sourcehut:",
        text("type")
    );
    let mut attributes = locked.clone();
    attributes.remove("dir");
    Ok(InputLocation::Fetched { attributes, is_trusted })
}

/// Whether the source is one of the network, and of a kind that `fetchTree` reads without the rights of the user.
fn is_public(locked: &Map<String, Value>) -> bool {
    let text = |attribute: &str| locked.get(attribute).and_then(Value::as_str).unwrap_or_default();
    match text("type") {
        // A host is a name, and not the beginning of another URL.
        "github" | "gitlab" | "sourcehut" => {
            ["host", "owner", "repo", "rev"].iter().all(|name| !text(name).contains([':', '@', '\\', ' ']))
        }
        // The modules of a repository may be at any URL.
        "git" if locked.get("submodules").is_some_and(|submodules| *submodules != Value::Bool(false)) => false,
        "git" | "tarball" | "file" => ["https://", "http://"].iter().any(|scheme| text("url").starts_with(scheme)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(locked: &str, trusted: &[&str]) -> Result<InputLocation> {
        let file = format!(
            r#"{{"nodes":{{"root":{{"inputs":{{"x":"x"}}}},"x":{{"locked":{locked}}}}},"root":"root","version":7}}"#
        );
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("flake.lock"), file).unwrap();
        let lock = LockFile::read(directory.path(), "").unwrap();
        let trusted = trusted.iter().map(|text| text.parse::<Value>().unwrap().to_string()).collect();
        let mut places = lock.places(&trusted)?;
        Ok(places.remove("x").unwrap())
    }

    #[test]
    fn inputs_that_need_the_rights_of_the_user_are_refused() {
        for locked in [
            r#"{"type":"path","path":"/root/.ssh","narHash":"sha256-x"}"#,
            r#"{"type":"path","path":"../../secret"}"#,
            r#"{"type":"path","path":"a/../../secret"}"#,
            r#"{"type":"git","url":"file:///private","rev":"0"}"#,
            r#"{"type":"git","url":"/private","rev":"0"}"#,
            r#"{"type":"git","url":"ssh://git@host/private","rev":"0"}"#,
            r#"{"type":"git","url":"git@host:private","rev":"0"}"#,
            r#"{"type":"git","url":"ext::sh -c id","rev":"0"}"#,
            r#"{"type":"git","url":"https://host/x","rev":"0","submodules":true}"#,
            r#"{"type":"hg","url":"https://host/x","rev":"0"}"#,
            r#"{"type":"tarball","url":"file:///private.tar","narHash":"sha256-x"}"#,
            r#"{"type":"file","url":"file:///etc/shadow","narHash":"sha256-x"}"#,
            r#"{"type":"indirect","id":"nixpkgs"}"#,
            r#"{"type":"github","owner":"a","repo":"b","rev":"0","host":"x:1@y"}"#,
            r#"{"type":["path"],"path":"/root"}"#,
            r#"{}"#,
        ] {
            assert!(place(locked, &[]).is_err(), "{locked}");
        }
        let json = r#"{"nodes":{"root":{},"x":{}},"root":"root","version":7}"#;
        assert!(serde_json::from_str::<LockFile>(json).unwrap().places(&BTreeSet::new()).is_err());
    }

    #[test]
    fn inputs_of_the_network_and_of_the_checkout_are_read() {
        let public = r#"{"type":"github","owner":"NixOS","repo":"nixpkgs","rev":"0","narHash":"sha256-x","dir":"a"}"#;
        let InputLocation::Fetched { attributes, is_trusted } = place(public, &[]).unwrap() else {
            panic!("it is fetched")
        };
        assert!(!is_trusted && !attributes.contains_key("dir"));
        assert_eq!(
            place(r#"{"type":"path","path":"./a/b"}"#, &[]).unwrap(),
            InputLocation::Below(Value::Array(Vec::new()))
        );
        let own = r#"{"type":"git","url":"ssh://git@host/lib","rev":"0"}"#;
        let reordered = r#"{"url":"ssh://git@host/lib","rev":"0","type":"git"}"#;
        assert!(matches!(place(own, &[reordered]).unwrap(), InputLocation::Fetched { is_trusted: true, .. }));
        assert!(place(own, &[r#"{"type":"git","url":"ssh://git@host/lib","rev":"1"}"#]).is_err());
    }

    #[test]
    fn a_flake_without_a_lock_file_has_no_inputs() {
        let directory = tempfile::tempdir().unwrap();
        assert!(LockFile::read(directory.path(), "").unwrap().places(&BTreeSet::new()).unwrap().is_empty());
        fs::write(directory.path().join("flake.lock"), r#"{"nodes":{},"root":"root","version":7}"#).unwrap();
        assert!(LockFile::read(directory.path(), "").is_err());
        // A link to a file of the machine, and one to a device without end.
        for target in ["/etc/passwd", "/dev/zero"] {
            fs::remove_file(directory.path().join("flake.lock")).unwrap();
            std::os::unix::fs::symlink(target, directory.path().join("flake.lock")).unwrap();
            let error = LockFile::read(directory.path(), "").unwrap_err().to_string();
            assert!(error.contains("is not a file in"), "{error}");
        }
    }
}
