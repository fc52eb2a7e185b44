//! The patches of a derivation, and the vulnerabilities whose CVE numbers are in their names and headers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read},
    path::Path,
};

use serde_json::Value;

use crate::{
    closure::{Derivation, StorePath},
    files::{self, Beneath, DirectoryEntry},
};

/// The bytes of a patch that are read for its header.
const HEADER: u64 = 64 * 1024;

/// The patches of a package: names, and headers of those that could be read.
pub type Patches = BTreeMap<String, String>;

/// Reads patches of the store that has `path`. The headers of patches that are not regular files in this store are empty: derivations
/// can name any file of the machine. Patches with the same name have one entry with all headers.
pub fn read<'a>(path: &StorePath, files: impl IntoIterator<Item = &'a str>) -> Patches {
    let store = files::directory(path.as_path());
    let mut patches = Patches::new();
    for file in files {
        let headers = patches.entry(patch_name(file)).or_default();
        headers.push_str(&read_header(store, Path::new(file)).unwrap_or_default());
    }
    patches
}

/// Reads the header of a patch below the directory `store`, and appends a line break. Links within `store` are followed.
pub(super) fn read_header(store: &Path, file: &Path) -> io::Result<String> {
    let outside = || io::Error::new(io::ErrorKind::PermissionDenied, "it is not in the store");
    if !file.starts_with(store) {
        return Err(outside());
    }
    let store = fs::canonicalize(store)?;
    let file = fs::canonicalize(file)?;
    let name = file.strip_prefix(&store).map_err(|_| outside())?;
    let DirectoryEntry::File(opened) = Beneath::open(&store)?.entry(name)? else {
        return Err(outside());
    };
    let mut bytes = Vec::new();
    opened.take(HEADER).read_to_end(&mut bytes)?;
    Ok(header(&String::from_utf8_lossy(&bytes)).to_owned() + "\n")
}

/// Returns the paths of the patches of the derivation that has `path` as an output. Returns `None` if it has other outputs: caches
/// do not sign which derivation a store path has.
pub fn list(derivation: &Derivation, path: &StorePath) -> Option<Vec<String>> {
    if !derivation.outputs.values().any(|output| output.path.as_ref() == Some(path)) {
        return None;
    }
    let structured = derivation.environment.get("__json").and_then(|text| serde_json::from_str::<Value>(text).ok());
    let listed = match structured.as_ref().map(|attributes| &attributes["patches"]) {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::String(text)) => vec![text.clone()],
        _ => vec![derivation.environment.get("patches").cloned().unwrap_or_default()],
    };
    Some(listed.iter().flat_map(|text| text.split_whitespace()).map(str::to_owned).collect())
}

/// Returns the name of a patch without the hash of the store.
fn patch_name(path: &str) -> String {
    match StorePath::parse(path) {
        Ok(path) => path.name().to_owned(),
        Err(_) => path.rsplit('/').next().unwrap_or(path).to_owned(),
    }
}

/// Returns the header of a patch: what is before the first file.
pub(super) fn header(patch: &str) -> &str {
    let is_file = |line: &&str| ["diff ", "--- ", "Index: ", "*** "].iter().any(|start| line.starts_with(start));
    let end = patch.split_inclusive('\n').take_while(|line| !is_file(line)).map(str::len).sum();
    &patch[..end]
}

/// Returns the CVE numbers in a text, `CVE-2024-12345`. File names also have small letters and underscores.
pub(super) fn cves(text: &str) -> BTreeSet<String> {
    let upper = text.to_ascii_uppercase().replace('_', "-");
    let number = |(at, _): (usize, &str)| {
        // Not a part of a longer word.
        if upper[..at].ends_with(|before: char| before.is_ascii_alphanumeric()) {
            return None;
        }
        let rest = &upper[at + 4..];
        let year: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let rest = rest[year.len()..].strip_prefix('-')?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        (year.len() == 4 && (4..=19).contains(&digits.len())).then(|| format!("CVE-{year}-{digits}"))
    };
    upper.match_indices("CVE-").filter_map(number).collect()
}

/// Whether a text has the word `revert` or a form of it. Such patches can remove a fix.
pub(super) fn is_revert(text: &str) -> bool {
    let mut words = text.split(|character: char| !character.is_ascii_alphanumeric());
    words.any(|word| ["revert", "reverts", "reverted", "reverting"].iter().any(|form| word.eq_ignore_ascii_case(form)))
}
