//! Flake references as images: `.#image`, `github:OWNER/REPO#image`, `nixpkgs#x`. Nix builds them, and the result is
//! opened like any path.
//!
//! All versions of Nix from 2.4 on support `nix build --json`, but only later ones `--print-out-paths`. Messages and
//! progress of Nix go to the standard error unchanged.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    os::unix::ffi::OsStringExt,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value;

use super::{ReadOptions, ReadTransport, git::restrict_git, path};
use crate::{
    budget,
    image::{OpenError, Opened},
};

/// The prefixes of flake references without `#` (nix, src/libflake/flakeref.cc and the input schemes of libfetchers).
const SCHEMES: [&str; 9] =
    ["flake:", "git+", "github:", "gitlab:", "hg+", "indirect:", "path:", "sourcehut:", "tarball+"];

/// Further arguments of `nix build`, the same for all references of a command.
static ARGUMENTS: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// Whether the command has a flake reference.
static IS_GIVEN: AtomicBool = AtomicBool::new(false);

/// Passes `arguments` to `nix build`: `--impure`, or `--override-input`, `nixpkgs` and a reference.
pub(crate) fn add_arguments(arguments: &[String]) {
    ARGUMENTS.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(arguments);
}

/// Checks that arguments of `--nix-arg` have a flake reference; every reference of the command was parsed before.
///
/// # Errors
///
/// If there are arguments and no flake reference.
pub(crate) fn check_arguments() -> Result<(), &'static str> {
    let has_arguments = !ARGUMENTS.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
    match has_arguments && !IS_GIVEN.load(Ordering::Relaxed) {
        true => Err("--nix-arg: no flake reference is given; omit it"),
        false => Ok(()),
    }
}

/// The error of building a flake reference.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallableError {
    #[error("{0}: starting nix; flake references need Nix: https://nixos.org/download")]
    Start(String, #[source] io::Error),
    #[error("building {0}: nix build failed; its messages are above")]
    Failed(String),
    #[error("watching {0}: not a flake reference; write one, such as .#image")]
    NotAFlake(String),
    #[error("watching {0}: nix flake metadata failed; its messages are above")]
    Metadata(String),
    #[error("watching {0}: the flake has no directory on this machine; give the reference of one")]
    Remote(String),
    #[error("building {reference}: nix built {count} derivations; give the reference of one image")]
    Count { reference: String, count: usize },
    #[error("{0}: parsing the output of nix")]
    Output(String, #[source] io::Error),
    #[error("{0}: parsing what nix printed")]
    Parse(String, #[source] serde_json::Error),
}

/// A flake reference.
#[derive(Clone, Debug)]
pub(crate) struct Installable(String);

/// A path, or a flake reference that Nix builds.
#[derive(Clone, Debug)]
pub(crate) enum BuiltPath {
    Existing(PathBuf),
    Reference(Installable),
}

impl BuiltPath {
    /// Parses a path or a flake reference.
    ///
    /// # Errors
    ///
    /// If it could be taken for an option.
    pub(crate) fn parse(text: OsString) -> Result<Self, String> {
        match text.to_str().and_then(find_reference) {
            Some(reference) => reference.map(Self::Reference),
            None => Ok(Self::Existing(text.into())),
        }
    }

    /// Returns the path. A reference is built each time.
    ///
    /// # Errors
    ///
    /// If Nix does not build it.
    pub(crate) fn get(&self) -> Result<PathBuf, InstallableError> {
        match self {
            Self::Existing(path) => Ok(path.clone()),
            Self::Reference(reference) => reference.build(),
        }
    }
}

/// Parses a flake reference. Returns `None` if `text` is a path.
///
/// # Errors
///
/// If it could be taken for an option.
pub(super) fn parse(text: &str) -> Option<Result<Arc<dyn ReadTransport>, String>> {
    find_reference(text).map(|found| found.map(|reference| Arc::new(reference) as Arc<dyn ReadTransport>))
}

fn find_reference(text: &str) -> Option<Result<Installable, String>> {
    let is_reference = text.contains('#') || SCHEMES.iter().any(|scheme| text.starts_with(scheme));
    if !is_reference || PathBuf::from(text).exists() {
        return None;
    }
    if text.starts_with('-') {
        return Some(Err("a flake reference does not begin with a dash; write path:./NAME#ATTRIBUTE".to_owned()));
    }
    IS_GIVEN.store(true, Ordering::Relaxed);
    Some(Ok(Installable(text.to_owned())))
}

impl Installable {
    fn build(&self) -> Result<PathBuf, InstallableError> {
        let output = run_nix(&["build", "--no-link", "--json"], &self.0, &self.0)?;
        if !output.status.success() {
            return Err(InstallableError::Failed(self.0.clone()));
        }
        parse_built(&self.0, &output.stdout)
    }
}

/// Runs a command of Nix on `argument`, for the reference that the user wrote.
fn run_nix(subcommand: &[&str], argument: &str, reference: &str) -> Result<Output, InstallableError> {
    let mut nix = Command::new("nix");
    nix.args(["--extra-experimental-features", "nix-command flakes"]).args(subcommand);
    nix.args(ARGUMENTS.lock().unwrap_or_else(PoisonError::into_inner).iter()).arg(argument);
    restrict_git(&mut nix);
    // The standard output is for results, and git asks for passwords on the terminal itself.
    let output = budget::output(nix.stdin(Stdio::null()).stderr(Stdio::inherit()), &budget::NIX_OUTPUT);
    output.map_err(|source| match source.kind() {
        io::ErrorKind::FileTooLarge => InstallableError::Output(reference.to_owned(), source),
        _ => InstallableError::Start(reference.to_owned(), source),
    })
}

/// Returns the local directories that the flake of `reference` depends on: its own, and inputs with a path.
///
/// # Errors
///
/// If `reference` is not a flake reference, Nix does not find the flake, or no directory is on this machine.
pub(crate) fn local_sources(reference: &str) -> Result<Vec<PathBuf>, InstallableError> {
    let owned = || reference.to_owned();
    if find_reference(reference).is_none_or(|found| found.is_err()) {
        return Err(InstallableError::NotAFlake(owned()));
    }
    let flake = reference.split('#').next().unwrap_or_default();
    let flake = if flake.is_empty() { "." } else { flake };
    let output = run_nix(&["flake", "metadata", "--json"], flake, reference)?;
    if !output.status.success() {
        return Err(InstallableError::Metadata(owned()));
    }
    let metadata = serde_json::from_slice(&output.stdout);
    let found = parse_sources(&metadata.map_err(|source| InstallableError::Parse(owned(), source))?);
    if found.is_empty() { Err(InstallableError::Remote(owned())) } else { Ok(found) }
}

/// Returns the directories in the output of `nix flake metadata --json`: `resolved`, and `locks.nodes.NAME.locked`.
fn parse_sources(metadata: &Value) -> Vec<PathBuf> {
    let inputs = metadata["locks"]["nodes"].as_object().into_iter().flat_map(|nodes| nodes.values());
    let references = std::iter::once(&metadata["resolved"]).chain(inputs.map(|node| &node["locked"]));
    let path = |reference: &Value| match reference["type"].as_str()? {
        "path" => reference["path"].as_str().map(PathBuf::from),
        "git" => reference["url"].as_str()?.strip_prefix("file://").map(decode),
        _ => None,
    };
    let mut found: Vec<PathBuf> = Vec::new();
    for path in references.filter_map(path).filter(|path| path.is_absolute() && !path.starts_with("/nix/store")) {
        if !found.contains(&path) {
            found.push(path);
        }
    }
    found
}

/// Returns the path of a `file://` URL. Newer versions of Nix encode it (libutil/url.cc, `encodeUrlPath`), older ones
/// do not.
fn decode(path: &str) -> PathBuf {
    let decoded = OsString::from_vec(percent_decode_str(path).collect());
    let (plain, decoded) = (PathBuf::from(path), PathBuf::from(decoded));
    if plain.exists() { plain } else { decoded }
}

/// Returns the path in the output of `nix build --json`.
fn parse_built(reference: &str, answer: &[u8]) -> Result<PathBuf, InstallableError> {
    #[derive(Deserialize)]
    struct Built {
        #[serde(default)]
        outputs: BTreeMap<String, PathBuf>,
    }
    let built: Vec<Built> =
        serde_json::from_slice(answer).map_err(|source| InstallableError::Parse(reference.to_owned(), source))?;
    let fail = |count| InstallableError::Count { reference: reference.to_owned(), count };
    let [Built { outputs }] = built.as_slice() else { return Err(fail(built.len())) };
    outputs.get("out").or_else(|| outputs.values().next()).cloned().ok_or_else(|| fail(0))
}

impl ReadTransport for Installable {
    fn open(&self, access: &ReadOptions) -> Result<Opened, OpenError> {
        let built = self.build().map_err(|error| OpenError::Transport(error.into()))?;
        path::plain(&built.to_string_lossy()).open(access)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flake_references_are_no_paths() {
        let is_reference = |text| parse(text).is_some_and(|parsed| parsed.is_ok());
        for text in [".#image", "nixpkgs#hello", "path:/x#y", "github:o/r", "git+ssh://host/r?ref=x#y", "/no/such#x"] {
            assert!(is_reference(text), "{text}");
        }
        let top = tempfile::tempdir().unwrap();
        let file = top.path().join("image#1");
        std::fs::write(&file, "").unwrap();
        for text in ["result", ".", "image.json", "registry.example.com/app:v1", file.to_str().unwrap()] {
            assert!(parse(text).is_none(), "{text}");
        }
        for text in ["--option#x", "-#x"] {
            assert!(parse(text).is_some_and(|parsed| parsed.is_err()), "{text}");
        }
    }

    #[test]
    fn sources_of_a_flake_are_directories_of_this_machine() {
        let metadata = |url: &str| serde_json::json!({ "resolved": { "type": "git", "url": url } });
        let top = tempfile::tempdir().unwrap();
        let path = |name: &str| format!("{}/{name}", top.path().display());
        // URLs of Nix before and after paths were encoded, and a name that contains a percent sign.
        std::fs::create_dir(path("100%25")).unwrap();
        for (printed, found) in [("a b", "a b"), ("a%20b", "a b"), ("100%25", "100%25"), ("50%", "50%")] {
            let url = format!("file://{}", path(printed));
            assert_eq!(parse_sources(&metadata(&url)), [PathBuf::from(path(found))], "{printed}");
        }
        assert!(parse_sources(&metadata("https://example.org/r")).is_empty());
    }

    #[test]
    fn nix_build_output_must_be_one_path() {
        let parsed = |answer: &str| parse_built(".#x", answer.as_bytes()).map_err(|error| error.to_string());
        assert_eq!(
            parsed(r#"[{"drvPath":"/d","outputs":{"dev":"/b","out":"/a"},"startTime":1}]"#).unwrap(),
            PathBuf::from("/a")
        );
        assert_eq!(parsed(r#"[{"drvPath":"/d","outputs":{"lib":"/b"}}]"#).unwrap(), PathBuf::from("/b"));
        assert!(parsed("[]").unwrap_err().contains("nix built 0 derivations"));
        assert!(
            parsed(r#"[{"outputs":{"out":"/a"}},{"outputs":{"out":"/b"}}]"#).unwrap_err().contains("2 derivations")
        );
        assert!(parsed("x").unwrap_err().contains("parsing what nix printed"));
    }
}
