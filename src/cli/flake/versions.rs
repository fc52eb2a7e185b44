//! Versions of a flake that contributors may have written: branches, tags, commits, and flakes of other machines.
//!
//! ```text
//! reference ──▶ fetchTree, with the user's credentials ──▶ source in the store ──▶ flake.lock
//! inputs    ──▶ lock_file: refused, or fetchTree; only those of the checkout with credentials ──▶ sources in the store
//! sources   ──▶ sources.nix in restricted mode: reads these sources, and URLs of the network
//! ```

use std::{collections::BTreeSet, io::Write, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail, ensure};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    git_refs::is_full_commit,
    isolation::isolate_builders,
    lock_file::{InputLocation, LockFile},
    nix::{self, EVALUATION, NixCommands, text},
    redact::redact,
};
use crate::cli::restricted::restrict;

/// URLs that expressions of versions may open: those of the network. `http:` is for mirrors of sources with a hash.
const URLS: [&str; 2] = ["https://", "http://"];

/// What is evaluated.
#[derive(Debug, Serialize, Deserialize)]
pub enum FlakeSource {
    /// The checkout as it is. It is the operator's own.
    Checkout { reference: String, key: String },
    /// A version of the flake.
    Version(FetchedVersion),
}

/// The fetched source of a version.
#[derive(Debug, Serialize, Deserialize)]
pub struct FetchedVersion {
    shown: String,
    /// The directory of the flake in the source.
    dir: String,
    /// The attributes of the source: `path` in the store, `narHash`, `rev`, …
    info: Map<String, Value>,
    /// The locked inputs that may be read with the rights of the user.
    trusted: BTreeSet<String>,
}

/// The answer of `nix flake metadata` and `nix flake prefetch`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FetchedFlake {
    #[serde(alias = "path")]
    store_path: String,
    hash: Option<String>,
    url: Option<String>,
    #[serde(default)]
    locked: Locked,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Locked {
    rev: Option<String>,
    nar_hash: Option<String>,
    dir: Option<String>,
}

impl FlakeSource {
    /// Equal keys stand for equal sources.
    pub fn key(&self) -> String {
        match self {
            Self::Checkout { key, .. } => key.clone(),
            Self::Version(FetchedVersion { info, dir, .. }) => format!("{} {dir}", info["path"]),
        }
    }

    /// The reference, without passwords.
    pub fn shown(&self) -> String {
        match self {
            Self::Checkout { reference, .. } => redact(reference),
            Self::Version(version) => version.shown.clone(),
        }
    }
}

impl NixCommands<'_> {
    /// Returns the checkout at `reference`. The reference to evaluate has the revision if there is one.
    pub fn checkout(self, reference: &str) -> Result<FlakeSource> {
        let mut command = self.nix("flake");
        command.args(["metadata", "--json", "--no-write-lock-file", reference]);
        let FetchedFlake { store_path, url, locked, .. } = nix::json(&self.run(command, EVALUATION)?)?;
        let Locked { rev, nar_hash, dir } = locked;
        let key = format!("{store_path} {} {}", nar_hash.unwrap_or_default(), dir.unwrap_or_default());
        let reference = url.filter(|_| rev.is_some()).unwrap_or_else(|| reference.to_owned());
        Ok(FlakeSource::Checkout { reference, key })
    }

    /// Fetches the source of a version, and none of its inputs. `own` is the lock file of the checkout.
    pub fn version(self, reference: &str, own: Option<&LockFile>) -> Result<FetchedVersion> {
        let info = match attributes(reference) {
            Some(attributes) => self.fetch(&attributes, true, false)?,
            None => self.prefetch(reference)?,
        };
        let path = info.get("path").and_then(Value::as_str).unwrap_or_default();
        ensure!(crate::closure::StorePath::parse(path).is_ok(), "Nix answers with a path outside the store: {path:?}");
        let dir = parameter(reference, "dir").unwrap_or_default();
        let trusted = own.map(LockFile::locked).unwrap_or_default();
        Ok(FetchedVersion { shown: redact(reference), dir, info, trusted })
    }

    /// Fetches a source of any kind, of which only the path and the hash are known then.
    fn prefetch(self, reference: &str) -> Result<Map<String, Value>> {
        let mut command = self.nix("flake");
        command.args(["prefetch", "--json", reference]);
        let FetchedFlake { store_path, hash, .. } = nix::json(&self.run(command, EVALUATION)?)?;
        let info = json!({ "path": store_path, "narHash": hash.unwrap_or_default() });
        Ok(info.as_object().cloned().unwrap_or_default())
    }

    /// Fetches a source. One that is locked has a revision or a hash.
    fn fetch(
        self,
        attributes: &Map<String, Value>,
        has_credentials: bool,
        is_locked: bool,
    ) -> Result<Map<String, Value>> {
        let mut command = self.nix("eval");
        if !has_credentials {
            self.isolation.isolate(&mut command);
        }
        let attributes = text(&serde_json::to_string(attributes)?);
        // A set with `outPath` is a string in JSON.
        command.args(["--json", "--expr"]).arg(format!(
            "let tree = builtins.fetchTree (builtins.fromJSON {attributes}); in \
             removeAttrs tree [ \"outPath\" ] // {{ path = tree.outPath; }}"
        ));
        command.args((!is_locked).then_some("--impure"));
        nix::json(&self.run(command, EVALUATION)?)
    }

    /// Evaluates an expression with `flake`, which reads the sources of the version and of its inputs alone.
    pub fn eval_version(self, version: &FetchedVersion, expression: &str) -> Result<std::process::Output> {
        let path = version.info.get("path").and_then(Value::as_str).unwrap_or_default();
        let lock = LockFile::read(path.as_ref(), &version.dir)?;
        let mut sources = Map::from_iter([(lock.root.clone(), Value::Object(version.info.clone()))]);
        for (name, place) in lock.places(&version.trusted)? {
            let source = match place {
                InputLocation::Below(parent) => json!({ "parent": parent }),
                // Its use is an error in the evaluation. The reason is in the log.
                InputLocation::Fetched { attributes, is_trusted } => {
                    // A trusted input may be a work tree without a commit.
                    self.fetch(&attributes, is_trusted, !is_trusted).unwrap_or_default().into()
                }
            };
            sources.insert(name.to_owned(), source);
        }
        let readable: Vec<PathBuf> =
            sources.values().filter_map(|source| Some(PathBuf::from(source.get("path")?.as_str()?))).collect();
        let mut file = tempfile::NamedTempFile::new_in(self.isolation.expressions()).context("creating a file")?;
        let quoted = |value: &Value| text(&value.to_string());
        write!(
            file,
            "let flake = ({}) {{ nodes = builtins.fromJSON {}; root = {}; dir = {}; sources = builtins.fromJSON {}; }}; in {expression}",
            include_str!("sources.nix"),
            quoted(&lock.nodes.into()),
            text(&lock.root),
            text(&version.dir),
            quoted(&sources.into()),
        )
        .context("writing a file")?;
        self.check_restrictions()?;
        let mut command = self.restricted(&readable);
        command.arg("--read-write-mode").arg(file.path());
        self.run(command, EVALUATION)
    }

    /// A command that evaluates an expression in restricted mode.
    fn restricted(self, readable: &[PathBuf]) -> Command {
        let mut command = self.limited("nix-instantiate");
        command.args(["--eval", "--strict", "--json"]);
        self.isolation.isolate(&mut command);
        let expressions = self.isolation.expressions();
        let readable: Vec<_> = readable.iter().chain([&expressions]).map(PathBuf::as_path).collect();
        restrict(&mut command, &readable, &URLS);
        // Expressions can build derivations, and import the result.
        isolate_builders(&mut command);
        command
    }

    /// Checks that functions which restricted mode does not restrict are switched off: some distributions of Nix have
    /// flakes without an experimental feature.
    fn check_restrictions(self) -> Result<()> {
        if self.isolation.restricted.get().is_some() {
            return Ok(());
        }
        for name in ["getFlake", "fetchTree"] {
            let mut command = self.restricted(&[]);
            let expression =
                format!("(builtins.{name} or (_: throw \"experimental\")) \"path:/nonexistent?narHash=x\"");
            command.args(["--expr", &expression]);
            // The error is expected, so that it is not in the log of the server.
            match self.run_silently(command, EVALUATION) {
                Err(error) if error.to_string().contains("experimental") => {}
                _ => bail!(
                    "builtins.{name} of this Nix cannot be switched off, and reads any file; only latest of a checkout is served"
                ),
            }
        }
        let _ = self.isolation.restricted.set(());
        Ok(())
    }
}

/// The attributes of `builtins.fetchTree` for a reference; `None` for other kinds of references than those of
/// repositories.
fn attributes(reference: &str) -> Option<Map<String, Value>> {
    let (scheme, rest) = reference.split_once(':')?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut attributes = Map::new();
    let mut insert = |name: &str, value: &str| attributes.insert(name.to_owned(), value.into());
    let mut url = format!("{}:{path}", scheme.strip_prefix("git+").unwrap_or(scheme));
    match scheme {
        "git+file" | "git+https" | "git+http" | "git+ssh" => {
            insert("type", "git");
        }
        "github" | "gitlab" | "sourcehut" => {
            let mut parts = path.splitn(3, '/').map(|part| percent_decode_str(part).decode_utf8_lossy());
            insert("type", scheme);
            insert("owner", &parts.next()?);
            insert("repo", &parts.next()?);
            if let Some(version) = parts.next() {
                insert(if is_full_commit(&version) { "rev" } else { "ref" }, &version);
            }
        }
        _ => return None,
    }
    let mut separator = '?';
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode_str(value).decode_utf8_lossy();
        match name {
            "dir" => {}
            "allRefs" | "shallow" | "submodules" => {
                attributes.insert(name.to_owned(), (value == "1").into());
            }
            "ref" | "rev" | "host" | "narHash" => {
                attributes.insert(name.to_owned(), value.into());
            }
            _ => {
                url.push(separator);
                url.push_str(pair);
                separator = '&';
            }
        }
    }
    if scheme.starts_with("git+") {
        attributes.insert("url".to_owned(), url.into());
    }
    Some(attributes)
}

/// The value of a parameter in the query of a reference.
fn parameter(reference: &str, name: &str) -> Option<String> {
    let (_, query) = reference.split_once('?')?;
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.into_iter().find(|(key, _)| *key == name)?.1;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_attributes_of_fetch_tree() {
        for (reference, expected) in [
            (
                "git+file:///a/b?rev=0&allRefs=1&dir=c",
                json!({ "type": "git", "url": "file:///a/b", "rev": "0", "allRefs": true }),
            ),
            (
                "git+https://me@host/x?ref=refs/heads/a&token=1&other=2",
                json!({ "type": "git", "url": "https://me@host/x?token=1&other=2", "ref": "refs/heads/a" }),
            ),
            ("github:a/b/v1?dir=c", json!({ "type": "github", "owner": "a", "repo": "b", "ref": "v1" })),
            ("gitlab:a%2Fb/c?host=h", json!({ "type": "gitlab", "owner": "a/b", "repo": "c", "host": "h" })),
        ] {
            assert_eq!(attributes(reference).map(Value::Object), Some(expected), "{reference}");
        }
        for other in ["path:/x", "https://host/x.tar.gz", "nixpkgs", "flake:nixpkgs", "github:a"] {
            assert_eq!(attributes(other), None, "{other}");
        }
        assert_eq!(parameter("github:a/b?dir=c%20d", "dir").as_deref(), Some("c d"));
    }
}
