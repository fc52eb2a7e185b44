use super::*;

fn git(top: &Path, arguments: &[&str]) {
    let mut git = local_git(top);
    let identity = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main"];
    assert!(git.args(identity).args(arguments).stdout(Stdio::null()).status().unwrap().success(), "{arguments:?}");
}

fn processes() -> Processes {
    Processes::new(Duration::from_secs(60), 1000)
}

fn commit_of(top: &Path, name: &str) -> String {
    let output = local_git(top).args(["rev-parse", name]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn tags_are_branches_tags_and_commits_of_a_checkout() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    git(top, &["init", "--quiet"]);
    git(top, &["commit", "--quiet", "--allow-empty", "-m", "one"]);
    git(top, &["tag", "v1"]);
    git(top, &["branch", "group/branch"]);
    git(top, &["checkout", "--quiet", "-b", "gone"]);
    git(top, &["commit", "--quiet", "--allow-empty", "-m", "two"]);
    let rev = commit(top, "gone").unwrap().unwrap();
    git(top, &["checkout", "--quiet", "main"]);
    let reference = FlakeReference::parse(top.to_str().unwrap()).unwrap();
    assert!(reference.is_local());
    assert_eq!(reference.tags(&processes()).unwrap(), ["gone", "latest", "main", "v1"]);
    assert_eq!(
        reference.with_tag("latest", &processes()).unwrap().unwrap(),
        fs::canonicalize(top).unwrap().to_str().unwrap()
    );
    let main = commit(top, "main").unwrap().unwrap();
    let expected = format!("git+file://{}?rev={main}&allRefs=1", fs::canonicalize(top).unwrap().display());
    for tag in ["v1", "main", &main, &main[..10]] {
        assert_eq!(reference.with_tag(tag, &processes()).unwrap().as_deref(), Some(&*expected), "{tag}");
    }
    for tag in ["none", "HEAD", "0123456", "--help", "v1^{tree}", "main:flake.nix"] {
        assert_eq!(reference.with_tag(tag, &processes()).unwrap(), None, "{tag}");
    }
    assert!(reference.with_tag(&rev, &processes()).unwrap().is_some());
    // A commit that nothing leads to.
    git(top, &["branch", "--quiet", "-D", "gone"]);
    assert_eq!(reference.with_tag(&rev, &processes()).unwrap(), None);
}

/// Contributors may push branches and tags, but not the protected ones.
#[test]
fn names_of_other_branches_and_tags_do_not_shadow_a_tag() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    git(top, &["init", "--quiet"]);
    git(top, &["commit", "--quiet", "--allow-empty", "-m", "one"]);
    git(top, &["tag", "v1"]);
    let main = commit(top, "main").unwrap().unwrap();
    git(top, &["checkout", "--quiet", "-b", "a/refs/heads/main"]);
    git(top, &["commit", "--quiet", "--allow-empty", "-m", "two"]);
    git(top, &["branch", "a&dir=b/refs/heads/main"]);
    git(top, &["branch", "refs/heads/v1"]);
    git(top, &["tag", "refs/heads/v1"]);
    git(top, &["tag", "a/refs/tags/v1"]);
    let local = FlakeReference::parse(top.to_str().unwrap()).unwrap();
    let url = format!("file://{}", top.display());
    let remote =
        FlakeReference { text: format!("git+{url}"), place: Place::Remote { url: url.clone(), query: String::new() } };
    for (tag, name) in [("main", "refs/heads/main"), ("v1", "refs/tags/v1")] {
        let found = local.with_tag(tag, &processes()).unwrap().unwrap();
        assert!(found.contains(&format!("?rev={main}&")), "{tag}: {found}");
        assert_eq!(remote.with_tag(tag, &processes()).unwrap(), Some(format!("git+{url}?ref={name}")));
    }
    assert_eq!(remote.with_tag("refs", &processes()).unwrap(), None);
}

/// Forges keep proposed changes in the same repository: everyone can make such a commit, and `serve` would build it.
#[test]
fn commits_that_others_propose_are_not_served() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    git(top, &["init", "--quiet"]);
    git(top, &["commit", "--quiet", "--allow-empty", "-m", "one"]);
    git(top, &["tag", "--annotate", "-m", "one", "v1"]);
    let main = commit(top, "main").unwrap().unwrap();
    git(top, &["checkout", "--quiet", "--detach"]);
    git(top, &["commit", "--quiet", "--allow-empty", "-m", "proposed"]);
    git(top, &["update-ref", "refs/pull/1/head", "HEAD"]);
    let proposed = commit_of(top, "HEAD");
    git(top, &["checkout", "--quiet", "main"]);
    git(top, &["commit", "--quiet", "--allow-empty", "-m", "two"]);
    let url = format!("file://{}", top.display());
    let remote =
        FlakeReference { text: format!("git+{url}"), place: Place::Remote { url: url.clone(), query: String::new() } };
    let local = FlakeReference::parse(top.to_str().unwrap()).unwrap();
    assert_eq!(remote.with_tag(&main, &processes()).unwrap(), Some(format!("git+{url}?rev={main}&allRefs=1")));
    assert!(local.with_tag(&main, &processes()).unwrap().is_some());
    for tag in [proposed.as_str(), &proposed[..8]] {
        assert_eq!(
            (remote.with_tag(tag, &processes()).unwrap(), local.with_tag(tag, &processes()).unwrap()),
            (None, None),
            "{tag}"
        );
        let forge = FlakeReference::parse("github:a/b").unwrap();
        assert_eq!(forge.with_tag(tag, &processes()).unwrap(), None, "{tag}");
    }
    assert_eq!(remote.tags(&processes()).unwrap(), ["latest", "main", "v1"]);
}

#[test]
fn references_of_others_are_remote() {
    for text in ["github:a/b", "git+https://example.org/a", "flake:nixpkgs", "nixpkgs", "https://example.org/a.tar.gz"]
    {
        assert!(!FlakeReference::parse(text).unwrap().is_local(), "{text}");
    }
    let forge = FlakeReference::parse("github:a/b/main?dir=c").unwrap();
    assert_eq!(forge.with_tag("v1", &processes()).unwrap().unwrap(), "github:a/b/v1?dir=c");
    for wrong in [".#x", "", "--option", "/does/not/exist"] {
        assert!(FlakeReference::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn names_are_those_of_registries() {
    for right in ["app", "a/b", "shell/git/curl", "python3.12", "a__b", "a--b"] {
        assert!(is_repository(right), "{right}");
    }
    for wrong in ["", "App", "a//b", "/a", "a/", "-a", "a..b", "a\"b", "a${b}", "a b"] {
        assert!(!is_repository(wrong), "{wrong}");
    }
}

#[test]
fn a_server_that_ends_does_not_wait_for_a_remote_repository() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("git://{}/r", listener.local_addr().unwrap());
    let processes = processes();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| remote_refs(&url, &["refs/heads/*"], &processes));
        // git has connected, and gets no answer.
        let _connection = listener.accept().unwrap();
        processes.stop();
        assert_eq!(asked.join().unwrap().unwrap_err().to_string(), "strata is stopping");
    });
}
