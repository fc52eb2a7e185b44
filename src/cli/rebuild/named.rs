//! The flake that a user names for a rebuild, and the flake of a provenance.
//!
//! Evaluating a flake runs its expressions, and building it runs its programs. A provenance is written by the account that
//! pushed the image, so that its reference is only used if it points to the flake that the user named:
//!
//! ```text
//! --flake github:org/project         + provenance: github:org/project#image at 0123…  ──▶ github:org/project/0123…#image
//! --flake github:org/project         + provenance: github:other/project#image         ──▶ refused
//! --flake github:org/project/0123…#image  without a provenance                        ──▶ itself
//! ```

use std::{env, path::Path};

use anyhow::{Result, bail, ensure};

use crate::{
    cli::flake::{VERSION_PARAMETERS, checkout, is_full_commit},
    transport::http::encode,
};

const FORGES: [&str; 3] = ["github:", "gitlab:", "sourcehut:"];

/// A flake, its version, and the attribute of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFlake {
    /// The reference without version and attribute.
    pub source: String,
    /// The commit.
    pub revision: Option<String>,
    /// The attribute.
    pub attribute: Option<String>,
}

/// The flake to evaluate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// The reference with its commit.
    pub flake: String,
    /// Whether it has a commit.
    pub has_commit: bool,
    /// The attribute.
    pub attribute: String,
}

impl NamedFlake {
    /// Parses `REF[#ATTRIBUTE]`. `what` is where it comes from, for messages.
    ///
    /// # Errors
    ///
    /// If it is not a reference, or could be taken for an option.
    pub fn parse(what: &str, text: &str) -> Result<Self> {
        let (reference, attribute) = match text.split_once('#') {
            Some((reference, attribute)) => (reference, Some(attribute).filter(|attribute| !attribute.is_empty())),
            None => (text, None),
        };
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'\\$`".contains(&byte));
        ensure!(
            !reference.starts_with('-') && is_plain(reference),
            "{what} {text:?}: not a flake reference; write one, such as github:OWNER/REPO#image"
        );
        if let Some(attribute) = attribute {
            check_attribute(what, attribute)?;
        }
        let (plain, query) = reference.split_once('?').unwrap_or((reference, ""));
        let (mut source, mut revision) = (plain.to_owned(), None);
        if FORGES.iter().any(|forge| plain.starts_with(forge)) {
            let parts: Vec<&str> = plain.splitn(3, '/').collect();
            if let Some(version) = parts.get(2) {
                source = parts[..2].join("/");
                // A branch or tag moves, and is not a version.
                revision = is_commit(version).then(|| (*version).to_owned());
            }
        } else if plain.is_empty() || plain.starts_with(['.', '/']) {
            source = Self::of_directory(plain, query);
        }
        let mut parameters: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
        // It is in `source`.
        parameters.retain(|pair| !(source.contains("?dir=") && pair.starts_with("dir=")));
        if let Some(found) = parameters.iter().find_map(|pair| pair.strip_prefix("rev=")) {
            ensure!(is_commit(found), "{what} {text}: rev={found} is not a commit; write all 40 or 64 digits");
            revision = Some(found.to_owned());
        }
        parameters.retain(|pair| !VERSION_PARAMETERS.contains(&pair.split('=').next().unwrap_or_default()));
        parameters.sort_unstable();
        if !parameters.is_empty() {
            source = format!("{source}{}{}", if source.contains('?') { '&' } else { '?' }, parameters.join("&"));
        }
        Ok(Self { source, revision, attribute: attribute.map(str::to_owned) })
    }

    /// Returns the reference of a directory, which is that of its repository if it is in one. `query` may name a directory below.
    fn of_directory(text: &str, query: &str) -> String {
        let relative = env::current_dir().unwrap_or_default().join(if text.is_empty() { "." } else { text });
        let path = relative.canonicalize().unwrap_or(relative);
        let encoded = |path: &Path| encode(&path.to_string_lossy());
        match checkout(&path, query) {
            Some((top, below)) if below.is_empty() => format!("git+file://{}", encoded(top)),
            Some((top, below)) => format!("git+file://{}?dir={below}", encoded(top)),
            None => format!("path:{}", encoded(&path)),
        }
    }

    /// Returns this flake, which the user named, at the version of `claimed`, the flake of a provenance.
    ///
    /// # Errors
    ///
    /// If they are different flakes, versions or attributes.
    pub fn with_claim(self, claimed: &Self) -> Result<Self> {
        ensure!(
            self.source == claimed.source,
            "the provenance is about the flake {}, not {}; to build that flake, name it with --flake {}",
            claimed.source,
            self.source,
            claimed.source
        );
        let one = |what: &str, own: Option<String>, other: &Option<String>| match (own, other) {
            (Some(own), Some(other)) if own != *other => {
                bail!("the provenance is about the {what} {other}, not {own}; omit it, or name {other}")
            }
            (own, other) => Ok(own.or_else(|| other.clone())),
        };
        Ok(Self {
            revision: one("commit", self.revision, &claimed.revision)?,
            attribute: one("attribute", self.attribute, &claimed.attribute)?,
            source: self.source,
        })
    }

    /// Returns the reference to evaluate.
    ///
    /// # Errors
    ///
    /// If the attribute is unknown, or the commit of a repository.
    pub fn pinned(self) -> Result<Pinned> {
        let Self { source, revision, attribute } = self;
        let Some(attribute) = attribute else {
            bail!("the attribute of the image is unknown; name it with --flake {source}#ATTRIBUTE");
        };
        let is_forge = FORGES.iter().any(|forge| source.starts_with(forge));
        let has_commit = revision.is_some();
        let flake = match revision {
            Some(commit) if is_forge => {
                let (plain, query) = source
                    .split_once('?')
                    .map_or((source.as_str(), String::new()), |(plain, query)| (plain, format!("?{query}")));
                format!("{plain}/{commit}{query}")
            }
            Some(commit) if source.starts_with("git+") => {
                let separator = if source.contains('?') { '&' } else { '?' };
                // The commit may be on any branch.
                format!("{source}{separator}allRefs=1&rev={commit}")
            }
            Some(_) => bail!("{source} has no commits; name a repository of git, such as git+https://HOST/REPO"),
            None if is_forge || source.starts_with("git+") => {
                bail!("the commit of {source} is unknown; name it with --revision COMMIT")
            }
            None => source,
        };
        Ok(Pinned { flake, has_commit, attribute })
    }
}

/// Checks a commit, which becomes a part of a reference.
///
/// # Errors
///
/// If it is not one.
pub fn check_commit(what: &str, text: &str) -> Result<String> {
    ensure!(is_commit(text), "{what} {text:?}: not a commit; write all 40 or 64 digits");
    Ok(text.to_owned())
}

/// References contain commits in small letters, so that equal commits are equal texts.
fn is_commit(text: &str) -> bool {
    is_full_commit(text) && !text.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// An attribute is a list of names with dots between them. Names in quotes are refused.
fn check_attribute(what: &str, attribute: &str) -> Result<()> {
    let is_name = |name: &str| {
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_'-".contains(&byte))
            && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
    };
    ensure!(attribute.split('.').all(is_name), "{what}: {attribute:?} is not the name of an attribute");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn named(text: &str) -> NamedFlake {
        NamedFlake::parse("--flake", text).unwrap()
    }

    fn rebuilt(own: &str, claimed: &str) -> Result<String> {
        let Pinned { flake, attribute, .. } = named(own).with_claim(&named(claimed))?.pinned()?;
        Ok(format!("{flake}#{attribute}"))
    }

    #[test]
    fn the_version_of_a_provenance_is_used_for_the_named_flake() {
        for (own, claimed, expected) in [
            ("github:o/r", format!("github:o/r/{COMMIT}#image"), format!("github:o/r/{COMMIT}#image")),
            ("github:o/r/main", format!("github:o/r?rev={COMMIT}&narHash=x#a.b"), format!("github:o/r/{COMMIT}#a.b")),
            ("github:o/r?dir=x", format!("github:o/r/{COMMIT}?dir=x#i"), format!("github:o/r/{COMMIT}?dir=x#i")),
            (
                "git+https://h/r?ref=main#i",
                format!("git+https://h/r?rev={COMMIT}"),
                format!("git+https://h/r?allRefs=1&rev={COMMIT}#i"),
            ),
            ("path:/x#i", "path:/x".to_owned(), "path:/x#i".to_owned()),
        ] {
            assert_eq!(rebuilt(own, &claimed).unwrap(), expected, "{own} {claimed}");
        }
    }

    #[test]
    fn directories_are_repositories_with_encoded_paths() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().canonicalize().unwrap().join("a?b");
        std::fs::create_dir_all(top.join("c d/.keep")).unwrap();
        let source = |path: &str, query: &str| NamedFlake::of_directory(&top.join(path).to_string_lossy(), query);
        let parent = directory.path().canonicalize().unwrap().display().to_string();
        assert_eq!(source("c d", ""), format!("path:{parent}/a%3Fb/c%20d"));
        std::fs::create_dir(top.join(".git")).unwrap();
        for (path, query, expected) in [
            ("", "", ""),
            ("c d", "", "?dir=c%20d"),
            ("", "dir=x", "?dir=x"),
            ("c d", "submodules=1&dir=x/y", "?dir=c%20d/x/y"),
        ] {
            assert_eq!(source(path, query), format!("git+file://{parent}/a%3Fb{expected}"), "{path} {query}");
        }
        let plain = directory.path().canonicalize().unwrap().join("plain");
        std::fs::create_dir_all(plain.join(".git")).unwrap();
        let NamedFlake { source, .. } = named(&format!("{}?dir=x&submodules=1#image", plain.display()));
        assert_eq!(source, format!("git+file://{parent}/plain?dir=x&submodules=1"));
    }

    #[test]
    fn other_flakes_versions_and_attributes_are_refused() {
        let other = COMMIT.replace('0', "f");
        for (own, claimed, why) in [
            ("github:o/r", format!("github:evil/r/{COMMIT}#i"), "not github:o/r; to build that flake"),
            ("github:o/r", format!("github:o/r/{COMMIT}?dir=evil#i"), "not github:o/r; to build that flake"),
            ("github:o/r", format!("git+https://github.com/o/r?rev={COMMIT}#i"), "to build that flake"),
            (&format!("github:o/r/{COMMIT}"), format!("github:o/r/{other}#i"), "is about the commit f"),
            ("github:o/r#a", format!("github:o/r/{COMMIT}#b"), "is about the attribute b, not a"),
            ("github:o/r#a", "github:o/r/main#a".to_owned(), "the commit of github:o/r is unknown"),
            ("github:o/r", format!("github:o/r/{COMMIT}"), "the attribute of the image is unknown"),
        ] {
            let error = rebuilt(own, &claimed).unwrap_err().to_string();
            assert!(error.contains(why), "{own} {claimed}: {error}");
        }
    }

    #[test]
    fn options_and_expressions_are_no_references() {
        for text in [
            "--option sandbox false",
            "-f",
            "github:o/r --impure",
            "github:o/r\n--impure#x",
            "github:o/r?rev=main#x",
            "github:o/r#x y",
            "github:o/r#-x",
            "github:o/r#x^*",
            "github:o/r#\"x\"",
            "github:o/r#${x}",
            "github:o/r#x..y",
        ] {
            assert!(NamedFlake::parse("--flake", text).is_err(), "{text}");
        }
        for text in ["main", "--impure", &COMMIT[1..], &COMMIT.to_uppercase()] {
            assert!(check_commit("--revision", text).is_err(), "{text}");
        }
    }

    #[test]
    fn directories_are_repositories_or_paths() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().canonicalize().unwrap().display().to_string();
        assert_eq!(named(&format!("{path}#x")).source, format!("path:{path}"));
        std::fs::create_dir_all(top.path().join(".git")).unwrap();
        std::fs::create_dir_all(top.path().join("below")).unwrap();
        assert_eq!(named(&path).source, format!("git+file://{path}"));
        assert_eq!(named(&format!("{path}/below")).source, format!("git+file://{path}?dir=below"));
    }
}
