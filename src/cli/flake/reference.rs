//! References to flakes, and the meaning of image tags for each:
//!
//! ```text
//! .  /DIR  path:DIR  git+file:///DIR      a checkout: its branches and tags, and commits that these contain
//! git+https://…  git+ssh://…              branches and tags of the remote repository, and the commits that they point to
//! github:OWNER/REPO  gitlab:…             branches and tags, resolved by the forge, and the commits that they point to
//! everything else                         latest
//! ```

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use percent_encoding::percent_decode_str;

use super::{
    git_refs::{SERVED, commit, find_commit, is_commit, is_revision, lines, remote_refs},
    lock_file::LockFile,
    processes::Processes,
    redact::redact,
};
use crate::{
    serve::LATEST,
    terminal::note,
    transport::{git::local_git, http::encode},
};

/// The maximum number of listed tags.
const TAGS: usize = 10_000;
/// The parameters of a reference that select a version.
pub const VERSION_PARAMETERS: [&str; 6] = ["allRefs", "lastModified", "narHash", "ref", "rev", "revCount"];

/// A reference to a flake.
#[derive(Debug)]
pub struct FlakeReference {
    text: String,
    place: FlakeLocation,
    /// The directory of a flake on this machine.
    directory: Option<PathBuf>,
}

#[derive(Debug)]
enum FlakeLocation {
    /// The work tree of a git repository, and a query without the version.
    Checkout { top: PathBuf, query: String },
    /// A repository at a URL of git.
    Remote { url: String, query: String },
    /// A repository such as `github:OWNER/REPO`, and a query.
    Forge { repository: String, query: String },
    /// A flake without versions.
    Other { is_local: bool },
}

impl FlakeReference {
    /// Parses a reference with the rules of Nix.
    ///
    /// # Errors
    ///
    /// If it contains an attribute, or a directory that does not exist.
    pub fn parse(text: &str) -> Result<Self> {
        // The name of a directory may contain # and ?.
        let is_path = text.starts_with(['.', '/']);
        let is_directory = is_path && Path::new(text).is_dir();
        ensure!(
            is_directory || !text.contains('#'),
            "--flake {}: a reference to a flake has no attribute; omit #…",
            redact(text)
        );
        ensure!(
            !text.starts_with('-') && !text.is_empty(),
            "--flake {:?}: it is not a reference to a flake",
            redact(text)
        );
        let (plain, query) = text.split_once('?').filter(|_| !is_directory).unwrap_or((text, ""));
        let scheme = plain.split_once(':').map(|(scheme, _)| scheme);
        let directory = match scheme {
            _ if is_path => Some(plain.into()),
            Some("path") => plain.strip_prefix("path:").map(decode_path),
            Some("git+file") => {
                plain.strip_prefix("git+file://").or_else(|| plain.strip_prefix("git+file:")).map(decode_path)
            }
            _ => None,
        };
        if let Some(directory) = directory {
            let path = fs::canonicalize(&directory).with_context(|| format!("--flake {text}: reading {directory}"))?;
            let below = directory_parameter(query).map(decode);
            let directory = Some(below.map_or_else(|| path.clone(), |below| path.join(below)));
            return Ok(match scheme {
                Some("path") => {
                    let query = text.split_once('?').map_or(String::new(), |(_, query)| format!("?{query}"));
                    Self {
                        text: format!("path:{}{query}", path.display()),
                        place: FlakeLocation::Other { is_local: true },
                        directory,
                    }
                }
                _ => Self { directory, ..Self::from_directory(&path, query) },
            });
        }
        let query = &without_version(query);
        let place = match scheme {
            Some("github" | "gitlab" | "sourcehut") => {
                let mut parts = plain.splitn(3, '/');
                let repository = parts.by_ref().take(2).collect::<Vec<_>>().join("/");
                FlakeLocation::Forge { repository, query: query.to_owned() }
            }
            Some("git+https" | "git+http" | "git+ssh") => {
                FlakeLocation::Remote { url: plain.trim_start_matches("git+").to_owned(), query: query.to_owned() }
            }
            _ => FlakeLocation::Other { is_local: false },
        };
        Ok(Self { text: text.to_owned(), place, directory: None })
    }

    /// Returns the reference of a directory. A directory in a git repository is read with git.
    fn from_directory(path: &Path, query: &str) -> Self {
        let joined = |base: String, query: &str| if query.is_empty() { base } else { format!("{base}?{query}") };
        let place = match checkout(path, query) {
            Some((top, directory)) => {
                let dir = Some(directory).filter(|dir| !dir.is_empty()).map(|dir| format!("dir={dir}"));
                let others = without_version(query);
                let others =
                    others.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("dir=")).map(str::to_owned);
                FlakeLocation::Checkout { top: top.to_owned(), query: others.chain(dir).collect::<Vec<_>>().join("&") }
            }
            None => FlakeLocation::Other { is_local: true },
        };
        let plain = path.to_string_lossy();
        let text = match &place {
            // Nix 2.8 does not encode a path to a git repository, and fails.
            FlakeLocation::Checkout { top, query } if encode(&plain) != plain => {
                joined(format!("git+file://{}", encode(&top.to_string_lossy())), query)
            }
            // Nix reads these characters as the end of the path.
            FlakeLocation::Other { .. } if plain.contains(['#', '?']) => {
                joined(format!("path:{}", encode(&plain)), query)
            }
            _ => joined(plain.into_owned(), query),
        };
        Self { text, place, directory: None }
    }

    /// Checks that the directory of a flake on this machine, or one above, has the file of a flake.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn check_flake_file(&self) -> Result<()> {
        let Some(directory) = &self.directory else { return Ok(()) };
        ensure!(
            directory.ancestors().any(|above| above.join("flake.nix").exists()),
            "--flake {self}: {} has no flake.nix; name the directory of a flake",
            directory.display()
        );
        Ok(())
    }

    /// Whether the flake is on this machine.
    pub fn is_local(&self) -> bool {
        matches!(self.place, FlakeLocation::Checkout { .. } | FlakeLocation::Other { is_local: true })
    }

    /// Returns the reference for the current state of the flake.
    pub fn latest(&self) -> String {
        self.text.clone()
    }

    /// Returns the lock file of the checkout. The operator has chosen its inputs.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn checkout_lock_file(&self) -> Result<Option<LockFile>> {
        let FlakeLocation::Checkout { top, query } = &self.place else { return Ok(None) };
        let below = directory_parameter(query).map(decode).unwrap_or_default();
        LockFile::read(top, &below).map(Some)
    }

    /// Returns the reference of a tag, or `None` if there is no such version.
    ///
    /// # Errors
    ///
    /// If git fails.
    pub fn with_tag(&self, tag: &str, processes: &Processes) -> Result<Option<String>> {
        if tag == LATEST {
            return Ok(Some(self.latest()));
        }
        if !is_tag(tag) {
            return Ok(None);
        }
        match &self.place {
            FlakeLocation::Checkout { top, query } => {
                let query = if query.is_empty() { String::new() } else { format!("&{query}") };
                let url = encode(&top.to_string_lossy());
                Ok(commit(top, tag)?.map(|rev| format!("git+file://{url}?rev={rev}&allRefs=1{query}")))
            }
            FlakeLocation::Remote { url, query } => {
                let query = if query.is_empty() { String::new() } else { format!("&{query}") };
                let wanted = [format!("refs/heads/{tag}"), format!("refs/tags/{tag}")];
                let found = remote_refs(url, &[&wanted[0], &wanted[1]], processes)?;
                let named = wanted.iter().find(|wanted| found.iter().any(|(_, name)| name == *wanted));
                if let Some(name) = named {
                    return Ok(Some(format!("git+{url}?ref={name}{query}")));
                }
                // A remote repository may have references for proposed changes (`refs/pull/1/head`).
                let is_listed =
                    is_commit(tag, 40) && remote_refs(url, &SERVED, processes)?.iter().any(|(commit, _)| commit == tag);
                Ok(is_listed.then(|| format!("git+{url}?rev={tag}&allRefs=1{query}")))
            }
            FlakeLocation::Forge { repository, query } => {
                let version = match is_revision(tag) {
                    // Forges resolve commits of forks in the original repository, and short hashes too. The list of git
                    // contains neither.
                    true => {
                        let url = forge_url(repository, query);
                        find_commit(&url, tag, processes).with_context(|| {
                            format!(
                                "listing the branches and tags of {repository}, because {tag} may be a commit; \
                                 --flake git+ssh://… uses your ssh key"
                            )
                        })?
                    }
                    false => Some(tag.to_owned()),
                };
                let query = if query.is_empty() { String::new() } else { format!("?{query}") };
                Ok(version.map(|version| format!("{repository}/{version}{query}")))
            }
            FlakeLocation::Other { .. } => Ok(None),
        }
    }

    /// Returns the listed tags.
    ///
    /// # Errors
    ///
    /// If git fails.
    pub fn tags(&self, processes: &Processes) -> Result<Vec<String>> {
        let names = match &self.place {
            FlakeLocation::Checkout { top, .. } => {
                let mut git = local_git(top);
                git.args(["for-each-ref", "--format=%(refname)", "refs/heads", "refs/tags"]);
                lines(git)?
            }
            FlakeLocation::Remote { url, .. } => {
                remote_refs(url, &SERVED, processes)?.into_iter().map(|(_, name)| name).collect()
            }
            // Nix may have a token for a repository that git cannot read.
            FlakeLocation::Forge { repository, query } => {
                let refs = remote_refs(&forge_url(repository, query), &SERVED, processes);
                let refs = refs.inspect_err(|error| {
                    note!("only the tag {LATEST} of {repository} is listed: {}", redact(&format!("{error:#}")));
                });
                refs.unwrap_or_default().into_iter().map(|(_, name)| name).collect()
            }
            FlakeLocation::Other { .. } => Vec::new(),
        };
        let short = |name: &String| {
            let short = name.strip_prefix("refs/heads/").or_else(|| name.strip_prefix("refs/tags/"))?;
            is_tag(short).then(|| short.to_owned())
        };
        let mut tags: Vec<String> = names.iter().filter_map(short).take(TAGS).collect();
        tags.push(LATEST.to_owned());
        tags.sort_unstable();
        tags.dedup();
        Ok(tags)
    }
}

impl fmt::Display for FlakeReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact(&self.text))
    }
}

/// Returns the git URL of a forge's repository (nix, src/libfetchers/github.cc).
fn forge_url(repository: &str, query: &str) -> String {
    let (forge, path) = repository.split_once(':').unwrap_or_default();
    let host = query.split('&').find_map(|pair| pair.strip_prefix("host=")).unwrap_or(match forge {
        "gitlab" => "gitlab.com",
        "sourcehut" => "git.sr.ht",
        _ => "github.com",
    });
    format!("https://{}/{}", decode(host), decode(path))
}

/// Removes the parameters that select a version from a query.
fn without_version(query: &str) -> String {
    let is_other = |pair: &&str| !VERSION_PARAMETERS.contains(&pair.split('=').next().unwrap_or_default());
    query.split('&').filter(is_other).collect::<Vec<_>>().join("&")
}

/// Returns the top of the git repository that a path is in, and the encoded directory of the flake below it: that of the path, and of
/// the parameter `dir` of a query.
pub fn checkout<'a>(path: &'a Path, query: &str) -> Option<(&'a Path, String)> {
    let top = path.ancestors().find(|directory| directory.join(".git").exists())?;
    let mut below = path.strip_prefix(top).unwrap_or(Path::new("")).to_owned();
    if let Some(given) = directory_parameter(query) {
        below.push(decode(given));
    }
    Some((top, encode(&below.to_string_lossy())))
}

/// Returns the encoded directory below the top of a repository.
fn directory_parameter(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix("dir="))
}

/// Decodes percent-encoding.
fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Decodes the path of a URL. Nix 2.8 does not decode the path of `path:`.
fn decode_path(text: &str) -> String {
    if Path::new(text).exists() { text.to_owned() } else { decode(text) }
}

/// Returns a reference for `builtins.getFlake`: the path of a directory is absolute already, but needs a scheme.
pub fn absolute(reference: &str) -> String {
    let directory = Path::new(reference.split('?').next().unwrap_or_default());
    match reference.starts_with('/') {
        true if directory.ancestors().any(|directory| directory.join(".git").exists()) => {
            format!("git+file://{reference}")
        }
        true => format!("path:{reference}"),
        false => reference.to_owned(),
    }
}

/// Whether the tag is valid in a registry
/// ([distribution-spec](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests)).
fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

/// Whether the name is valid for a repository in a registry.
pub fn is_repository(text: &str) -> bool {
    let is_part = |part: &str| {
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let ends = [part.bytes().next(), part.bytes().last()];
        ends.iter().all(|end| end.is_some_and(is_word))
            && part.bytes().all(|byte| is_word(byte) || b"._-".contains(&byte))
            && !["..", "___", "._", "_.", "-.", ".-", "-_", "_-"].iter().any(|wrong| part.contains(wrong))
    };
    text.len() <= 255 && text.split('/').all(is_part)
}

#[cfg(test)]
mod tests;
