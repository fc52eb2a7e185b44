//! The branches, tags and commits of git repositories, for [`reference`](super::reference). Only commits that a branch or tag
//! contains are found, since a repository may have objects of other contributors.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use super::processes::{Ended, Processes};
use crate::{
    budget,
    transport::git::{local_git, remote_git},
};

/// The patterns of served references in a remote repository.
pub const SERVED: [&str; 2] = ["refs/heads/*", "refs/tags/*"];
/// The minimum number of digits in a short commit hash (git: MINIMUM_ABBREV, environment.c).
const SHORT_COMMIT: usize = 4;
/// The time limit for listing the branches and tags of a remote repository.
const REMOTE_TIMEOUT: Duration = Duration::from_secs(120);

/// Returns the commit of a branch, a tag, or a possibly short commit hash. Commits that no branch or tag contains are
/// not served, since a repository may have objects of other contributors.
pub fn commit(top: &Path, tag: &str) -> Result<Option<String>> {
    for name in [format!("refs/heads/{tag}"), format!("refs/tags/{tag}"), tag.to_owned()] {
        if name == tag && !(tag.len() >= 7 && tag.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            continue;
        }
        // For the branch v1, rev-parse would prefer the tag `refs/tags/refs/heads/v1`.
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

/// Returns the references of a remote repository that match one of the patterns, with their commits. There is a time
/// limit, since the repository may never answer. An annotated tag is listed twice: with the hash of the tag, and as
/// `NAME^{}` with its commit.
pub fn remote_refs(url: &str, patterns: &[&str], processes: &Processes) -> Result<Vec<(String, String)>> {
    let mut git = remote_git();
    git.args(["ls-remote", "--quiet", "--", url]).args(patterns);
    let Ended { status, stdout, log } =
        processes.run(&mut git, REMOTE_TIMEOUT, &budget::GIT_OUTPUT, budget::read_message)?;
    let Some(status) = status else { bail!("{url}: git takes longer than {} s", REMOTE_TIMEOUT.as_secs()) };
    ensure!(status.success(), "git ended with {status}: {}", String::from_utf8_lossy(&log).trim());
    let stdout = stdout.context("reading the output of git")?;
    let stdout = String::from_utf8_lossy(&stdout);
    let pair = |line: &str| {
        let (commit, name) = line.split_once('\t')?;
        // git matches a pattern with the end of a name: `refs/heads/x/refs/heads/main` is another branch.
        let is_served = ["refs/heads/", "refs/tags/"].iter().any(|start| name.starts_with(start));
        is_served.then(|| (commit.to_owned(), name.to_owned()))
    };
    Ok(stdout.lines().filter_map(pair).collect())
}

/// Returns the commit of a branch or tag of a remote repository. `tag` may also be a commit that a branch or tag points to.
pub fn find_commit(url: &str, tag: &str, processes: &Processes) -> Result<Option<String>> {
    // An annotated tag has a hash of its own. The name with `^{}` has the commit.
    let names = [format!("refs/heads/{tag}"), format!("refs/tags/{tag}^{{}}"), format!("refs/tags/{tag}")];
    let refs = remote_refs(url, &SERVED, processes)?;
    let has_name = |wanted: &String| refs.iter().find(|(_, name)| name == wanted);
    let is_tagged = |(commit, name): &&(String, String)| commit == tag && has_name(&format!("{name}^{{}}")).is_none();
    let found = names.iter().find_map(has_name).or_else(|| refs.iter().find(is_tagged));
    Ok(found.map(|(commit, _)| commit.clone()))
}

/// Whether `text` can be a commit hash of at least `least` digits.
pub fn is_commit(text: &str, least: usize) -> bool {
    (least..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether `text` is a whole commit hash, of SHA-1 or SHA-256.
pub fn is_full_commit(text: &str) -> bool {
    [40, 64].contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a forge can take `text` for a commit instead of a branch or tag. git accepts the output of `git describe`,
/// `NAME-COUNT-gHASH`, for the commit HASH, whatever NAME is (git: get_describe_name, object-name.c). A name with `..` is a
/// range of commits, and no reference has such a name.
pub fn is_revision(text: &str) -> bool {
    let described = text.rsplit_once("-g").map(|(_, hash)| hash);
    text.contains("..") || [Some(text), described].into_iter().flatten().any(|hash| is_commit(hash, SHORT_COMMIT))
}

/// Returns the output of git.
fn output(git: &mut Command) -> Result<Output> {
    budget::output(git, &budget::GIT_OUTPUT).context("running git")
}

pub fn lines(mut git: Command) -> Result<Vec<String>> {
    let output = output(git.stdin(Stdio::null()).stderr(Stdio::piped()))?;
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git ended with {}: {}", output.status, message.trim());
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}
