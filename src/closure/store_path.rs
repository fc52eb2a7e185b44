//! Store paths: `/nix/store/<32 characters of Nix base32>-<name>`.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The characters of Nix base32: digits and letters without e, o, t, u.
const BASE32: &[u8] = b"0123456789abcdfghijklmnpqrsvwxyz";
const HASH_LENGTH: usize = 32;
/// The limit of Nix. With `.drv` and `.lock` appended, longer names would not fit a file name.
const NAME_LIMIT: usize = 211;

/// The directory of store paths, `/nix/store` by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreDir(PathBuf);

impl StoreDir {
    /// Creates a store directory from an absolute path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Returns the store directory as a path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// Parses `text` as a path directly in this store.
    ///
    /// # Errors
    ///
    /// If `text` is not a store path, or one of another store.
    pub fn parse(&self, text: &str) -> Result<StorePath, ParseStorePathError> {
        let path = StorePath::parse(text)?;
        if path.as_path().parent() == Some(&self.0) {
            Ok(path)
        } else {
            Err(ParseStorePathError { text: text.to_owned(), why: "it is not in the store directory" })
        }
    }
}

impl Default for StoreDir {
    fn default() -> Self {
        Self::new("/nix/store")
    }
}

/// A store path itself, not a file below one. Store paths are ordered as text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorePath(String);

/// Text that is not a store path.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not a store path: {why}")]
pub struct ParseStorePathError {
    text: String,
    why: &'static str,
}

impl StorePath {
    /// Parses an absolute store path, in any store directory.
    ///
    /// # Errors
    ///
    /// If `text` is not a store path.
    pub fn parse(text: &str) -> Result<Self, ParseStorePathError> {
        let fail = |why| Err(ParseStorePathError { text: text.to_owned(), why });
        let Some((directory, base)) = text.rsplit_once('/') else {
            return fail("it is not absolute");
        };
        if !directory.starts_with('/') || directory.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
            return fail("its directory is not an absolute path without . and ..");
        }
        let Some((hash, name)) = base.split_at_checked(HASH_LENGTH) else {
            return fail("it has no hash part");
        };
        if !hash.bytes().all(|byte| BASE32.contains(&byte)) {
            return fail("its hash part is not Nix base32");
        }
        let Some(name) = name.strip_prefix('-') else {
            return fail("no dash follows its hash part");
        };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._?=".contains(&byte);
        if name.is_empty() || name.len() > NAME_LIMIT || !name.bytes().all(allowed) {
            return fail("its name is empty, too long or has characters that Nix does not allow");
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the store path that contains a file of a layer, from the name of its entry: `nix/store/BASE` or
    /// `nix/store/BASE/FILE`.
    pub fn from_entry_name(name: &[u8]) -> Option<Self> {
        let base = name.strip_prefix(b"nix/store/")?.split(|&byte| byte == b'/').next()?;
        Self::parse(&format!("/nix/store/{}", std::str::from_utf8(base).ok()?)).ok()
    }

    /// Returns the whole path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the whole path.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    fn base(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(_, base)| base)
    }

    /// Returns the hash part, the 32 characters after the store directory.
    pub fn hash_part(&self) -> &str {
        &self.base()[..HASH_LENGTH]
    }

    /// Returns the name after the hash part and its dash, for example `hello-2.12`.
    pub fn name(&self) -> &str {
        &self.base()[HASH_LENGTH + 1..]
    }
}

impl StorePath {
    /// Returns the name without its version. Like Nix, this splits at the first dash that is not followed by a letter.
    pub fn package(&self) -> &str {
        let name = self.name();
        let dash = name
            .match_indices('-')
            .find(|(at, _)| name[at + 1..].starts_with(|next: char| !next.is_ascii_alphabetic()));
        dash.map_or(name, |(at, _)| &name[..at])
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for StorePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for StorePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0c6a1cv41yy9yz8svln6w09ks4wdjk4n";

    #[test]
    fn hash_part_and_name_are_split() {
        let path = StorePath::parse(&format!("/nix/store/{HASH}-hello-2.12")).unwrap();
        assert_eq!((path.hash_part(), path.name()), (HASH, "hello-2.12"));
    }

    #[test]
    fn package_returns_the_name_without_the_version() {
        for (name, package) in
            [("hello-2.12", "hello"), ("gcc-wrapper-13.2.0-lib", "gcc-wrapper"), ("a-b", "a-b"), ("x", "x")]
        {
            assert_eq!(StorePath::parse(&format!("/nix/store/{HASH}-{name}")).unwrap().package(), package);
        }
    }

    #[test]
    fn malformed_store_paths_are_refused() {
        for text in [
            String::new(),
            "hello".into(),
            format!("{HASH}-hello"),
            format!("nix/store/{HASH}-hello"),
            format!("/nix/../{HASH}-hello"),
            format!("/nix//store/{HASH}-hello"),
            format!("/nix/store/{HASH}"),
            format!("/nix/store/{HASH}-"),
            format!("/nix/store/{HASH}hello"),
            format!("/nix/store/{HASH}-hello/bin"),
            format!("/nix/store/{}-hello", HASH.replace('c', "e")),
            format!("/nix/store/{HASH}-{}", "x".repeat(212)),
            format!("/nix/store/{HASH}-né"),
            format!("/nix/store/{}é-hello", &HASH[1..]),
        ] {
            assert!(StorePath::parse(&text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn paths_of_other_stores_are_refused() {
        let store = StoreDir::default();
        assert!(store.parse(&format!("/nix/store/{HASH}-x")).is_ok());
        let error = store.parse(&format!("/gnu/store/{HASH}-x")).unwrap_err();
        assert!(error.to_string().contains("not in the store directory"));
    }
}
