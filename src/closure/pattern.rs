//! The patterns of `forbiddenPaths`, in builds and in policies, which select store paths of an image.
//!
//! ```text
//! gcc                              every version and output of the package
//! gcc-13.2.0                       the name of a store path
//! gcc-*, *-dev                     names; `*` stands for any characters, everything else for itself
//! /nix/store/<hash>-gcc-13.2.0     one store path; also <hash>-gcc-13.2.0, and with `*`
//! ```
//!
//! A pattern that cannot match a store path is an error, because a check with it would always pass.

use super::{StoreDir, StorePath, matches};

/// The longest name of a store path, in bytes.
const NAME_LIMIT: usize = 211;
/// The length of a hash part and its dash, in bytes.
const HASH_LENGTH: usize = 33;

/// A pattern of store paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackagePattern {
    text: String,
    kind: PatternKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum PatternKind {
    /// The store path with this base name.
    Path(String),
    /// Every version of a package, or one name.
    Package(String),
    /// A glob, compared with names, with and without their hash.
    Glob(String),
}

/// A pattern that matches no store path.
#[derive(Debug, thiserror::Error)]
#[error("{pattern:?} matches nothing: {why}")]
pub struct ParsePatternError {
    pattern: String,
    why: &'static str,
}

impl PackagePattern {
    /// Parses a pattern. If the pattern has a directory, this must be `store`.
    ///
    /// # Errors
    ///
    /// If the pattern cannot match a store path, such as a regular expression or the path of a file.
    pub fn parse(text: &str, store: &StoreDir) -> Result<Self, ParsePatternError> {
        let kind =
            PatternKind::parse(text, store).map_err(|why| ParsePatternError { pattern: text.to_owned(), why })?;
        Ok(Self { text: text.to_owned(), kind })
    }

    /// Returns the text of the pattern.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether the pattern selects this store path.
    pub fn is_match(&self, path: &StorePath) -> bool {
        let base = || format!("{}-{}", path.hash_part(), path.name());
        match &self.kind {
            PatternKind::Path(selected) => *selected == base(),
            PatternKind::Package(name) => path.name() == name || path.package() == name,
            PatternKind::Glob(glob) => matches(glob, path.name()) || matches(glob, &base()),
        }
    }
}

impl PatternKind {
    fn parse(text: &str, store: &StoreDir) -> Result<Self, &'static str> {
        let base = match text.rsplit_once('/') {
            None => text,
            Some((directory, base)) if store.as_path().as_os_str() == directory => base,
            Some(_) => {
                return Err("it is not a path in the store; store paths are compared, not files of the image; \
                            write the name of a package, and * for any characters");
            }
        };
        if StorePath::parse(&format!("/nix/store/{base}")).is_ok() {
            return Ok(Self::Path(base.to_owned()));
        }
        check_characters(base)?;
        let is_glob = base.contains('*');
        let limit = if is_glob { HASH_LENGTH + NAME_LIMIT } else { NAME_LIMIT };
        if base.bytes().filter(|&byte| byte != b'*').count() > limit {
            return Err("it is longer than every name of a store path");
        }
        match (is_glob, base.len() == text.len()) {
            (true, _) => Ok(Self::Glob(base.to_owned())),
            (false, true) => Ok(Self::Package(base.to_owned())),
            (false, false) => Err("it is not a store path; write the package, or the name of one of its store paths"),
        }
    }
}

/// Errors if no store path has these characters in its name.
fn check_characters(base: &str) -> Result<(), &'static str> {
    if base.is_empty() {
        return Err("it is empty");
    }
    if let Some(byte) = base.bytes().find(|&byte| !byte.is_ascii_alphanumeric() && !b"+-._?=*".contains(&byte)) {
        return Err(match byte {
            b'[' | b']' | b'(' | b')' | b'|' | b'\\' | b'^' | b'$' | b'{' | b'}' | b',' => {
                "it is a regular expression or a character class, and only * has a meaning: it stands for any characters"
            }
            _ => "no store path has such a name",
        });
    }
    // A question mark is valid in names, but most patterns with one are written as a glob for "any character".
    if base.contains('?') {
        return Err(
            "? stands for itself, not for any character; use *, or the whole store path of a name that has one",
        );
    }
    if [".*", ".+"].iter().any(|any| base.starts_with(any) || base.contains(&format!("-{any}"))) {
        return Err("it is a regular expression, and only * has a meaning: it stands for any characters");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/nix/store/00000000000000000000000000000000-gcc-wrapper-13.2.0-lib";

    fn is_match(pattern: &str) -> bool {
        let pattern = PackagePattern::parse(pattern, &StoreDir::default()).unwrap();
        pattern.is_match(&StorePath::parse(PATH).unwrap())
    }

    #[test]
    fn packages_names_globs_and_store_paths_match() {
        for pattern in [
            PATH,
            &PATH["/nix/store/".len()..],
            "gcc-wrapper",
            "gcc-wrapper-13.2.0-lib",
            "gcc*",
            "*wrapper*",
            "*-13.*",
            "*.2.*",
            "0000*",
            "/nix/store/*-gcc-wrapper-13.2.0-lib",
            "/nix/store/0000*",
            "*.*",
        ] {
            assert!(is_match(pattern), "{pattern}");
        }
        for pattern in ["gcc", "wrapper", "gcc-wrapper-13", "*gcc", "/nix/store/10000000000000000000000000000000-gcc"] {
            assert!(!is_match(pattern), "{pattern}");
        }
    }

    #[test]
    fn patterns_that_cannot_match_are_refused() {
        let long = "x".repeat(NAME_LIMIT + 1);
        let path = format!("{PATH}/bin/gcc");
        let expressions =
            [".*-gcc-[0-9].*", "gcc-[0-9]*", "gcc.*|clang.*", "^gcc", "gcc-\\d+", ".*-gcc", "gcc-.*", "gcc-.+"];
        let others =
            ["", "/bin/sh", "/usr/*", "bin/*", "two words", "/nix/store", "/nix/store/", "gcc/", "gcc-1?", "g,c"];
        let more = ["/nix/store/gcc", "/gnu/store/*-gcc", "/nix/store/../store/gcc*", "gcc\n", "gçc", &long, &path];
        for pattern in expressions.iter().chain(&others).chain(&more) {
            let parsed = PackagePattern::parse(pattern, &StoreDir::default());
            let error = parsed.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains("matches nothing"), "{pattern}: {error}");
        }
    }

    #[test]
    fn a_store_path_with_a_question_mark_is_a_pattern() {
        let path = format!("/nix/store/{}-x.php?id=5", "0".repeat(32));
        let pattern = PackagePattern::parse(&path, &StoreDir::default()).unwrap();
        assert!(pattern.is_match(&StorePath::parse(&path).unwrap()));
    }

    #[test]
    fn every_name_of_a_store_path_is_a_pattern() {
        for name in ["g++-13.2", "python3-3.11.6-env", "libstdc++", "a.b", "x=y", &"x".repeat(NAME_LIMIT)] {
            let pattern = PackagePattern::parse(name, &StoreDir::default()).unwrap();
            let path = format!("/nix/store/{}-{name}", "0".repeat(32));
            assert!(pattern.is_match(&StorePath::parse(&path).unwrap()), "{name}");
        }
    }
}
