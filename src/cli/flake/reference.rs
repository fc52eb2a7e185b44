//! References to flakes, and what tags of images mean for each:
//!
//! ```text
//! .  /DIR  path:DIR  git+file:///DIR      a checkout: its branches and tags, commits that these lead to
//! git+https://…  git+ssh://…              branches and tags of the remote repository, commits that these are at
//! github:OWNER/REPO  gitlab:…             branches and tags, as the forge finds them
//! everything else                         latest
//! ```

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use super::processes::{Ended, Processes};
use crate::{
    budget,
    transport::git::{local_git, restrict_git},
};

/// The tag of the flake as it is.
const LATEST: &str = "latest";
/// Tags that are listed at most.
const TAGS: usize = 10_000;
/// References of a remote repository that are served.
const SERVED: [&str; 2] = ["refs/heads/*", "refs/tags/*"];
/// The least digits of a commit's hash that git accepts (MINIMUM_ABBREV, environment.c).
const SHORT_COMMIT: usize = 4;

/// Time for a remote repository to list its branches and tags.
const REMOTE_TIMEOUT: Duration = Duration::from_secs(120);

/// A reference to a flake.
#[derive(Debug)]
pub struct FlakeReference {
    text: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// The work tree of a git repository, and the flake's directory in it.
    Checkout { top: PathBuf, below: String },
    /// A repository at a URL of git.
    Remote { url: String, query: String },
    /// `github:OWNER/REPO` and its like, and a query.
    Forge { repository: String, query: String },
    /// A flake without versions.
    Other { is_local: bool },
}

impl FlakeReference {
    /// Reads a reference as Nix does.
    ///
    /// # Errors
    ///
    /// When it names an attribute, or a directory that does not exist.
    pub fn parse(text: &str) -> Result<Self> {
        ensure!(!text.contains('#'), "--flake {text}: a reference to a flake has no attribute; omit #…");
        ensure!(!text.starts_with('-') && !text.is_empty(), "--flake {text:?}: it is not a reference to a flake");
        let (plain, query) = text.split_once('?').unwrap_or((text, ""));
        let scheme = plain.split_once(':').map(|(scheme, _)| scheme);
        let directory = match scheme {
            None if plain.starts_with(['.', '/']) => Some(plain),
            Some("path") => plain.strip_prefix("path:"),
            Some("git+file") => plain.strip_prefix("git+file://").or_else(|| plain.strip_prefix("git+file:")),
            _ => None,
        };
        if let Some(directory) = directory {
            let path = fs::canonicalize(directory).with_context(|| format!("--flake {text}: reading {directory}"))?;
            return Ok(match scheme {
                Some("path") => Self { text: text.to_owned(), place: Place::Other { is_local: true } },
                _ => Self::of_directory(&path, query),
            });
        }
        let place = match scheme {
            Some("github" | "gitlab" | "sourcehut") => {
                let mut parts = plain.splitn(3, '/');
                let repository = parts.by_ref().take(2).collect::<Vec<_>>().join("/");
                Place::Forge { repository, query: query.to_owned() }
            }
            Some("git+https" | "git+http" | "git+ssh") => {
                Place::Remote { url: plain.trim_start_matches("git+").to_owned(), query: query.to_owned() }
            }
            _ => Place::Other { is_local: false },
        };
        Ok(Self { text: text.to_owned(), place })
    }

    /// A flake in a directory; that of a git repository is read through git.
    fn of_directory(path: &Path, query: &str) -> Self {
        let top = path.ancestors().find(|directory| directory.join(".git").exists());
        let text = format!("{}{}", path.display(), if query.is_empty() { String::new() } else { format!("?{query}") });
        let place = match top {
            Some(top) => {
                let given = query.split('&').find_map(|pair| pair.strip_prefix("dir="));
                let below = path.strip_prefix(top).unwrap_or(Path::new("")).join(given.unwrap_or_default());
                Place::Checkout { top: top.to_owned(), below: below.display().to_string() }
            }
            None => Place::Other { is_local: true },
        };
        Self { text, place }
    }

    /// Whether the flake is on this machine.
    pub fn is_local(&self) -> bool {
        matches!(self.place, Place::Checkout { .. } | Place::Other { is_local: true })
    }

    /// The flake as it is.
    pub fn latest(&self) -> String {
        self.text.clone()
    }

    /// The reference of a tag; `None` if there is no such version.
    ///
    /// # Errors
    ///
    /// When git fails.
    pub fn with_tag(&self, tag: &str, processes: &Processes) -> Result<Option<String>> {
        if tag == LATEST {
            return Ok(Some(self.latest()));
        }
        if !is_tag(tag) {
            return Ok(None);
        }
        match &self.place {
            Place::Checkout { top, below } => {
                let dir = if below.is_empty() { String::new() } else { format!("&dir={below}") };
                Ok(commit(top, tag)?.map(|rev| format!("git+file://{}?rev={rev}&allRefs=1{dir}", top.display())))
            }
            Place::Remote { url, query } => {
                let query = if query.is_empty() { String::new() } else { format!("&{query}") };
                let wanted = [format!("refs/heads/{tag}"), format!("refs/tags/{tag}")];
                let found = remote_refs(url, &[&wanted[0], &wanted[1]], processes)?;
                let named = wanted.iter().find(|wanted| found.iter().any(|(_, name)| name == *wanted));
                if let Some(name) = named {
                    return Ok(Some(format!("git+{url}?ref={name}{query}")));
                }
                // A remote repository may have references for the changes that others propose (`refs/pull/1/head`).
                let is_listed =
                    is_commit(tag, 40) && remote_refs(url, &SERVED, processes)?.iter().any(|(commit, _)| commit == tag);
                Ok(is_listed.then(|| format!("git+{url}?rev={tag}&allRefs=1{query}")))
            }
            // Forges find commits of forks in the repository that was forked, and shortened hashes too.
            Place::Forge { .. } if is_commit(tag, SHORT_COMMIT) => Ok(None),
            Place::Forge { repository, query } => {
                let query = if query.is_empty() { String::new() } else { format!("?{query}") };
                Ok(Some(format!("{repository}/{tag}{query}")))
            }
            Place::Other { .. } => Ok(None),
        }
    }

    /// The tags that are listed.
    ///
    /// # Errors
    ///
    /// When git fails.
    pub fn tags(&self, processes: &Processes) -> Result<Vec<String>> {
        let names = match &self.place {
            Place::Checkout { top, .. } => {
                let mut git = local_git(top);
                git.args(["for-each-ref", "--format=%(refname)", "refs/heads", "refs/tags"]);
                lines(git)?
            }
            Place::Remote { url, .. } => {
                remote_refs(url, &SERVED, processes)?.into_iter().map(|(_, name)| name).collect()
            }
            Place::Forge { .. } | Place::Other { .. } => Vec::new(),
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
        f.write_str(&self.text)
    }
}

/// The commit of a branch, a tag, or (part of) a commit's own hash. Commits that no branch and no tag leads to are not served:
/// objects of others may be in the repository.
fn commit(top: &Path, tag: &str) -> Result<Option<String>> {
    for name in [format!("refs/heads/{tag}"), format!("refs/tags/{tag}"), tag.to_owned()] {
        if name == tag && !(tag.len() >= 7 && tag.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            continue;
        }
        // rev-parse would also find `refs/tags/refs/heads/v1` for the branch v1, before the tag v1.
        let mut git = local_git(top);
        git.args(["show-ref", "--verify", "--quiet", &name]).stdin(Stdio::null()).stderr(Stdio::null());
        if name != tag && !output(&mut git)?.status.success() {
            continue;
        }
        let mut git = local_git(top);
        git.args(["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{name}^{{commit}}")]);
        let output = output(git.stdin(Stdio::null()).stderr(Stdio::null()))?;
        let rev = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !output.status.success() || rev.is_empty() {
            continue;
        }
        let mut git = local_git(top);
        git.args(["for-each-ref", "--count=1", "--format=%(refname)", "--contains", &rev, "refs/heads", "refs/tags"]);
        return Ok(Some(rev).filter(|_| name != tag || lines(git).is_ok_and(|refs| !refs.is_empty())));
    }
    Ok(None)
}

/// A remote repository's references that match one of the patterns, with their commits. The repository may never answer. An
/// annotated tag is listed twice, with the tag's own hash and, as `NAME^{}`, with its commit.
fn remote_refs(url: &str, patterns: &[&str], processes: &Processes) -> Result<Vec<(String, String)>> {
    let mut git = Command::new("git");
    restrict_git(&mut git);
    git.env("GIT_TERMINAL_PROMPT", "0").args(["ls-remote", "--quiet", "--", url]).args(patterns);
    let Ended { status, stdout, log } =
        processes.run(&mut git, REMOTE_TIMEOUT, &budget::GIT_OUTPUT, budget::read_message)?;
    let Some(status) = status else { bail!("{url}: git takes longer than {} s", REMOTE_TIMEOUT.as_secs()) };
    ensure!(status.success(), "git ended with {status}: {}", String::from_utf8_lossy(&log).trim());
    let stdout = stdout.context("reading the output of git")?;
    let stdout = String::from_utf8_lossy(&stdout);
    let pair = |line: &str| {
        let (commit, name) = line.split_once('\t')?;
        // git takes a pattern for the end of a name: `refs/heads/x/refs/heads/main` is another branch.
        let is_served = ["refs/heads/", "refs/tags/"].iter().any(|start| name.starts_with(start));
        is_served.then(|| (commit.to_owned(), name.to_owned()))
    };
    Ok(stdout.lines().filter_map(pair).collect())
}

/// Whether `text` can be the hash of a commit, shortened to `least` digits or more.
fn is_commit(text: &str, least: usize) -> bool {
    (least..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Runs git to its end.
fn output(git: &mut Command) -> Result<Output> {
    budget::output(git, &budget::GIT_OUTPUT).context("running git")
}

fn lines(mut git: Command) -> Result<Vec<String>> {
    let output = output(git.stdin(Stdio::null()).stderr(Stdio::piped()))?;
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git ended with {}: {}", output.status, message.trim());
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// A reference that `builtins.getFlake` takes: that of a directory is absolute already, and needs a scheme.
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

/// Whether a registry can have such a tag
/// ([distribution-spec](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests)).
fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

/// Whether a registry can have such a repository.
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
