//! The commands of Nix for the store, for rebuilds and VEX. Their messages go to the standard error unchanged.
//!
//! The commands are those that Nix has had since 2.4: newer options are missing in older versions, and the JSON of
//! `nix path-info` and `nix derivation show` has changed several times.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    budget,
    cli::{
        flake::{
            NO_SUBSTITUTERS,
            isolation::{Isolation, isolate_builders},
        },
        path_info,
    },
    closure::{Derivation, StorePath, parse_nar_hash},
    oci::Digest,
    transport::{binary_cache, git::restrict_git},
};

/// The store paths in one command.
const BATCH: usize = 1000;
/// The bits of the exit status of a build with different results (nix, `buildFailed` in src/nix-store: 0b1100000 and 0b1000).
const NOT_DETERMINISTIC: i32 = 0b110_1000;

/// Nix, and a directory for its temporary files and roots.
#[derive(Debug)]
pub struct Nix {
    directory: TempDir,
    /// Whether binary caches are used.
    substitutes: bool,
    /// Whether builders run in the sandbox, without the variables of this user.
    is_isolated: bool,
}

/// The information that Nix has about a valid store path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathInfo {
    /// Whether it was built on this machine.
    pub is_built_here: bool,
    /// The names of the keys in its signatures, which Nix recorded. They are not verified here.
    pub keys: Vec<String>,
    /// Whether its name is determined by its contents (`ca`), and not by the derivation that built it.
    pub is_content_addressed: bool,
}

/// The result of building outputs again that are in the store.
#[derive(Debug)]
pub enum Repeated {
    Same,
    /// Outputs, and the different results.
    Different(Vec<(StorePath, PathBuf)>),
}

impl Nix {
    /// Whether this machine has Nix.
    pub fn is_installed() -> bool {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).any(|directory| directory.join("nix-store").exists())
    }

    /// Creates the directory.
    pub fn create(substitutes: bool) -> Result<Self> {
        let directory = tempfile::tempdir().context("creating a temporary directory")?;
        Ok(Self { directory, substitutes, is_isolated: false })
    }

    /// Isolates builders.
    pub fn isolated(self, is_isolated: bool) -> Self {
        Self { is_isolated, ..self }
    }

    /// Returns the version, for example `2.8.0`.
    pub fn version(&self) -> Result<String> {
        let mut command = Command::new("nix");
        command.arg("--version");
        let text = String::from_utf8(run(command, "finding the version of Nix")?.stdout)?;
        Ok(text.split_whitespace().last().unwrap_or_default().to_owned())
    }

    /// Returns the system of this machine, and further systems for which it builds.
    pub fn systems(&self) -> Result<Vec<String>> {
        let mut command = self.nix("eval");
        command.args(["--impure", "--raw", "--expr", "builtins.currentSystem"]);
        let system = String::from_utf8(run(command, "finding the system of Nix")?.stdout)?;
        let further = binary_cache::settings().and_then(|value| {
            let listed = value.pointer("/extra-platforms/value")?.as_array()?.clone();
            Some(listed.iter().filter_map(|system| Some(system.as_str()?.to_owned())).collect::<Vec<_>>())
        });
        Ok([system].into_iter().chain(further.unwrap_or_default()).collect())
    }

    /// Reads a derivation and all derivations of its inputs.
    pub fn derivations(&self, top: &StorePath) -> Result<BTreeMap<StorePath, Derivation>> {
        let mut found = BTreeMap::new();
        let mut left = vec![top.clone()];
        while let Some(path) = left.pop() {
            if found.contains_key(&path) {
                continue;
            }
            let text = fs::read(path.as_path()).with_context(|| format!("reading {path}"))?;
            let derivation = Derivation::parse(&text).with_context(|| format!("parsing {path}"))?;
            left.extend(derivation.input_derivations.iter().cloned());
            found.insert(path, derivation);
        }
        Ok(found)
    }

    /// Returns those of the paths that are not in the store.
    pub fn missing(&self, paths: &[StorePath]) -> Result<BTreeSet<StorePath>> {
        let mut missing = BTreeSet::new();
        for batch in paths.chunks(BATCH) {
            let mut command = store();
            command.args(["--check-validity", "--print-invalid"]).args(batch.iter().map(StorePath::as_str));
            let text = String::from_utf8(run(command, "reading the store")?.stdout)?;
            missing.extend(text.lines().filter_map(|line| StorePath::parse(line).ok()));
        }
        Ok(missing)
    }

    /// Returns those of the paths that are in the store.
    pub fn valid(&self, paths: impl Iterator<Item = StorePath>) -> Result<Vec<StorePath>> {
        let all: Vec<StorePath> = paths.collect::<BTreeSet<_>>().into_iter().collect();
        let missing = self.missing(&all)?;
        Ok(all.into_iter().filter(|path| !missing.contains(path)).collect())
    }

    /// Builds a derivation or takes it from a cache, and returns its first output. A root keeps it while this value lives.
    pub fn realise(&self, derivation: &StorePath) -> Result<StorePath> {
        let link = self.directory.path().join("image");
        let mut command = self.build();
        command.args(["--realise", derivation.as_str(), "--indirect", "--add-root"]).arg(&link);
        run(command, &format!("building {derivation}"))?;
        // The output may be a link to any file, so only the root's own link is followed.
        let output = fs::read_link(&link).with_context(|| format!("reading {}", link.display()))?;
        let output = output.to_str().and_then(|output| StorePath::parse(output).ok());
        output.with_context(|| format!("building {derivation}: its output is not a store path"))
    }

    /// Returns the closure of valid store paths.
    pub fn requisites(&self, paths: &[StorePath]) -> Result<BTreeSet<StorePath>> {
        let mut all = BTreeSet::new();
        for batch in paths.chunks(BATCH) {
            let mut command = store();
            command.args(["--query", "--requisites"]).args(batch.iter().map(StorePath::as_str));
            let text = String::from_utf8(run(command, "reading the store")?.stdout)?;
            all.extend(text.lines().filter_map(|line| StorePath::parse(line).ok()));
        }
        Ok(all)
    }

    /// Builds all outputs of derivations, which `repeat` needs.
    pub fn realise_all(&self, derivations: &[StorePath]) -> Result<()> {
        for batch in derivations.chunks(BATCH) {
            let mut command = self.build();
            command.arg("--realise").args(batch.iter().map(StorePath::as_str));
            run(command, "building the outputs to compare")?;
        }
        Ok(())
    }

    /// Builds a derivation whose outputs are in the store again, and compares the results (`nix build --rebuild`).
    pub fn repeat(&self, path: &StorePath, derivation: &Derivation) -> Result<Repeated> {
        let mut command = self.build();
        command.args(["--realise", "--check", "--keep-failed", path.as_str()]);
        let output = start(command, &format!("building {path} again"))?;
        let outputs = derivation.outputs.values().filter_map(|output| output.path.clone());
        let different: Vec<_> = outputs
            .map(|output| (output.clone(), PathBuf::from(format!("{output}.check"))))
            .filter(|(_, check)| fs::symlink_metadata(check).is_ok())
            .collect();
        match output.status.code() {
            Some(0) => Ok(Repeated::Same),
            Some(code) if code & NOT_DETERMINISTIC == NOT_DETERMINISTIC && !different.is_empty() => {
                Ok(Repeated::Different(different))
            }
            _ => bail!("building {path} again failed; the messages of Nix are above"),
        }
    }

    /// Returns the information that Nix has about valid store paths.
    pub fn information(&self, paths: &[StorePath]) -> Result<BTreeMap<StorePath, PathInfo>> {
        let mut all = BTreeMap::new();
        for batch in paths.chunks(BATCH) {
            let mut command = self.nix("path-info");
            command.arg("--json").args(batch.iter().map(StorePath::as_str));
            let found = parse_information(&run(command, "reading the store")?.stdout)?;
            if let Some(path) = batch.iter().find(|path| !found.contains_key(path)) {
                bail!("reading the store: {path} is not in it");
            }
            all.extend(found);
        }
        Ok(all)
    }

    /// Returns the derivations of valid store paths, if they are known.
    pub fn derivers(&self, paths: &[StorePath]) -> Result<BTreeMap<StorePath, StorePath>> {
        let mut all = BTreeMap::new();
        for (path, line) in query("--deriver", paths)? {
            // Without a derivation, Nix prints unknown-deriver.
            all.extend(StorePath::parse(&line).ok().map(|deriver| (path.clone(), deriver)));
        }
        Ok(all)
    }

    /// Returns the NAR hashes of valid store paths.
    pub fn nar_hashes(&self, paths: &[StorePath]) -> Result<BTreeMap<StorePath, Digest>> {
        let mut all = BTreeMap::new();
        for (path, line) in query("--hash", paths)? {
            let hash = parse_nar_hash(&line).with_context(|| format!("{line:?} is not the hash of {path}"))?;
            all.insert(path.clone(), Digest::from_bytes(hash));
        }
        Ok(all)
    }

    fn nix(&self, subcommand: &str) -> Command {
        let mut nix = Command::new("nix");
        nix.args(["--extra-experimental-features", "nix-command flakes", "--option", "accept-flake-config", "false"]);
        nix.arg(subcommand);
        nix
    }

    fn build(&self) -> Command {
        let mut command = store();
        if self.is_isolated {
            Isolation::keep_home(&mut command);
            isolate_builders(&mut command);
        }
        // Failed builds keep their directory.
        command.env("TMPDIR", self.directory.path());
        command.args((!self.substitutes).then_some(NO_SUBSTITUTERS).into_iter().flatten());
        command
    }
}

fn store() -> Command {
    Command::new("nix-store")
}

/// Asks the store for a property of valid store paths. Nix prints a line for each.
fn query<'a>(property: &str, paths: &'a [StorePath]) -> Result<Vec<(&'a StorePath, String)>> {
    let mut all = Vec::with_capacity(paths.len());
    for batch in paths.chunks(BATCH) {
        let mut command = store();
        command.args(["--query", property]).args(batch.iter().map(StorePath::as_str));
        let text = String::from_utf8(run(command, "reading the store")?.stdout)?;
        let lines: Vec<&str> = text.lines().collect();
        ensure!(
            lines.len() == batch.len(),
            "nix-store --query {property} printed {} lines for {} store paths",
            lines.len(),
            batch.len()
        );
        all.extend(batch.iter().zip(lines.into_iter().map(str::to_owned)));
    }
    Ok(all)
}

fn start(mut command: Command, act: &str) -> Result<Output> {
    restrict_git(&mut command);
    // The standard output is for results.
    let output = budget::output(command.stdin(Stdio::null()).stderr(Stdio::inherit()), &budget::NIX_OUTPUT);
    output.with_context(|| format!("{act}: starting Nix: https://nixos.org/download"))
}

fn run(command: Command, act: &str) -> Result<Output> {
    let output = start(command, act)?;
    ensure!(output.status.success(), "{act} failed; the messages of Nix are above");
    Ok(output)
}

/// Parses the output of `nix path-info --json`.
fn parse_information(text: &[u8]) -> Result<BTreeMap<StorePath, PathInfo>> {
    #[derive(Deserialize)]
    struct Known {
        path: String,
        #[serde(default)]
        ultimate: bool,
        #[serde(default)]
        signatures: Vec<Signature>,
        /// Absent or null for input-addressed paths; a string or an object for others, depending on the version.
        #[serde(default)]
        ca: Value,
    }
    let entries = path_info::entries(serde_json::from_slice(text).context("parsing the output of nix path-info")?);
    let entries = entries.context("nix path-info printed neither a list nor an object")?;
    let entries: Vec<Known> = serde_json::from_value(entries).context("parsing the output of nix path-info")?;
    let mut all = BTreeMap::new();
    for Known { path, ultimate, signatures, ca } in entries {
        let path = StorePath::parse(&path).context("parsing the output of nix path-info")?;
        let mut keys: Vec<String> = signatures.into_iter().filter_map(Signature::key).collect();
        keys.sort();
        let is_content_addressed = !matches!(&ca, Value::Null) && ca.as_str() != Some("");
        all.insert(path, PathInfo { is_built_here: ultimate, keys, is_content_addressed });
    }
    Ok(all)
}

/// A signature in the JSON of Nix (nix, doc/manual/source/protocols/json/schema/signature).
#[derive(Deserialize)]
#[serde(untagged)]
enum Signature {
    /// `KEY:SIGNATURE`
    Text(String),
    Object {
        #[serde(rename = "keyName")]
        key_name: String,
    },
}

impl Signature {
    /// Returns the name of the key.
    fn key(self) -> Option<String> {
        match self {
            Self::Text(text) => text.split_once(':').map(|(key, _)| key.to_owned()),
            Self::Object { key_name } => Some(key_name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_information_of_all_versions_is_parsed() {
        let path = format!("/nix/store/{}-x", "a".repeat(32));
        let base = path.strip_prefix("/nix/store/").unwrap();
        let signed = r#""signatures":["cache.nixos.org-1:AAAA","b-1:BB"]"#;
        for text in [
            format!(r#"[{{"path":"{path}","narHash":"sha256:0",{signed}}}]"#),
            format!(r#"{{"{path}":{{"narHash":"sha256-x","ultimate":false,{signed}}}}}"#),
            format!(r#"{{"{base}":{{{signed}}}}}"#),
            format!(r#"{{"version":2,"storeDir":"/nix/store","info":{{"{base}":{{{signed}}}}}}}"#),
            format!(
                r#"{{"version":3,"storeDir":"/nix/store","info":{{"{base}":{{"signatures":[{{"keyName":"cache.nixos.org-1",
                   "sig":"AAAA"}},{{"keyName":"b-1","sig":"BB"}}]}}}}}}"#
            ),
        ] {
            let found = parse_information(text.as_bytes()).unwrap();
            let info = &found[&StorePath::parse(&path).unwrap()];
            assert_eq!(info.keys, ["b-1", "cache.nixos.org-1"], "{text}");
            assert!(!info.is_built_here && !info.is_content_addressed);
        }
        for (ca, expected) in [
            ("null", false),
            (r#""""#, false),
            (r#""fixed:r:sha256:0""#, true),
            (r#"{"method":"nar","hash":"sha256-x"}"#, true),
        ] {
            let text = format!(r#"[{{"path":"{path}","ca":{ca}}}]"#);
            let found = parse_information(text.as_bytes()).unwrap();
            assert!(found.values().all(|info| info.is_content_addressed == expected), "{text}");
        }
        let built = parse_information(format!(r#"[{{"path":"{path}","ultimate":true}}]"#).as_bytes()).unwrap();
        assert!(built.values().all(|info| info.is_built_here && info.keys.is_empty()));
        assert!(parse_information(format!(r#"{{"{path}":null}}"#).as_bytes()).unwrap().is_empty());
        for text in ["3", "[{}]", r#"[{"path":"/x"}]"#] {
            assert!(parse_information(text.as_bytes()).is_err(), "{text}");
        }
    }
}
