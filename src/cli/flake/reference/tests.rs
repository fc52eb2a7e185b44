use std::{process::Stdio, time::Duration};

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
    // A commit that no branch or tag contains.
    git(top, &["branch", "--quiet", "-D", "gone"]);
    assert_eq!(reference.with_tag(&rev, &processes()).unwrap(), None);
}

/// Contributors may push any branches and tags except for protected ones.
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
    let remote = FlakeReference {
        text: format!("git+{url}"),
        place: FlakeLocation::Remote { url: url.clone(), query: String::new() },
        directory: None,
    };
    for (tag, name) in [("main", "refs/heads/main"), ("v1", "refs/tags/v1")] {
        let found = local.with_tag(tag, &processes()).unwrap().unwrap();
        assert!(found.contains(&format!("?rev={main}&")), "{tag}: {found}");
        assert_eq!(remote.with_tag(tag, &processes()).unwrap(), Some(format!("git+{url}?ref={name}")));
    }
    assert_eq!(remote.with_tag("refs", &processes()).unwrap(), None);
}

/// Forges keep proposed changes in the same repository. Everyone can make such a commit, and `serve` would build it.
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
    let remote = FlakeReference {
        text: format!("git+{url}"),
        place: FlakeLocation::Remote { url: url.clone(), query: String::new() },
        directory: None,
    };
    let local = FlakeReference::parse(top.to_str().unwrap()).unwrap();
    assert_eq!(remote.with_tag(&main, &processes()).unwrap(), Some(format!("git+{url}?rev={main}&allRefs=1")));
    assert!(local.with_tag(&main, &processes()).unwrap().is_some());
    for tag in [proposed.as_str(), &proposed[..8]] {
        assert_eq!(
            (remote.with_tag(tag, &processes()).unwrap(), local.with_tag(tag, &processes()).unwrap()),
            (None, None),
            "{tag}"
        );
        assert_eq!(find_commit(&url, tag, &processes()).unwrap(), None, "{tag}");
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
    // Which version it is, the tag decides alone.
    for (text, expected) in [
        ("github:a/b?ref=main&dir=c", "github:a/b/v1?dir=c"),
        ("gitlab:a%2Fb/c?rev=0123&host=example.org", "gitlab:a%2Fb/c/v1?host=example.org"),
        ("sourcehut:~a/b?narHash=x", "sourcehut:~a/b/v1"),
    ] {
        assert_eq!(FlakeReference::parse(text).unwrap().with_tag("v1", &processes()).unwrap().unwrap(), expected);
    }
    for wrong in [".#x", "", "--option", "/does/not/exist"] {
        assert!(FlakeReference::parse(wrong).is_err(), "{wrong}");
    }
}

/// A forge would take these tags for commits.
#[test]
fn tags_that_may_be_commits_are_looked_up_with_git() {
    for (repository, query, url) in [
        ("github:a/b", "", "https://github.com/a/b"),
        ("github:a/b", "dir=c&host=github.example.org", "https://github.example.org/a/b"),
        ("gitlab:a%2Fb/c", "", "https://gitlab.com/a/b/c"),
        ("sourcehut:~a/b", "", "https://git.sr.ht/~a/b"),
    ] {
        assert_eq!(forge_url(repository, query), url);
    }
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    git(top, &["init", "--quiet"]);
    git(top, &["commit", "--quiet", "--allow-empty", "-m", "one"]);
    git(top, &["tag", "--annotate", "-m", "one", "20240101"]);
    let first = commit_of(top, "HEAD");
    git(top, &["commit", "--quiet", "--allow-empty", "-m", "two"]);
    git(top, &["branch", "beef"]);
    let (second, tag) = (commit_of(top, "HEAD"), commit_of(top, "20240101"));
    let url = format!("file://{}", top.display());
    let find = |tag: &str| find_commit(&url, tag, &processes()).unwrap();
    assert_eq!(find("20240101").as_deref(), Some(&*first));
    assert_eq!(find("beef").as_deref(), Some(&*second));
    assert_eq!(find(&second).as_deref(), Some(&*second));
    assert_eq!((find("2024"), find(&second[..8])), (None, None));
    // The own hash of an annotated tag is not that of a commit.
    assert_eq!(find(&tag), None);
}

#[test]
fn references_to_directories_are_encoded() {
    let directory = tempfile::tempdir().unwrap();
    let base = fs::canonicalize(directory.path()).unwrap();
    for (name, encoded) in [("a b", "a%20b"), ("a#b", "a%23b"), ("a?b&c=d", "a%3Fb%26c%3Dd"), ("50%", "50%25")] {
        let top = base.join(name);
        fs::create_dir_all(top.join("flakes & more")).unwrap();
        git(&top, &["init", "--quiet"]);
        git(&top, &["commit", "--quiet", "--allow-empty", "-m", "one"]);
        let main = commit_of(&top, "main");
        let url = format!("git+file://{}/{encoded}", base.display());
        let reference = FlakeReference::parse(top.to_str().unwrap()).unwrap();
        let tagged = format!("{url}?rev={main}&allRefs=1");
        assert_eq!(reference.with_tag("main", &processes()).unwrap().unwrap(), tagged);
        assert_eq!(reference.latest(), url);
        // The same repository in other ways, with a directory and other parameters.
        let below = top.join("flakes & more");
        for text in [below.to_str().unwrap(), &format!("{url}?ref=x&dir=flakes%20%26%20more&submodules=1")] {
            let tagged = FlakeReference::parse(text).unwrap().with_tag("main", &processes()).unwrap().unwrap();
            let submodules = if text.contains("submodules") { "&submodules=1" } else { "" };
            let expected = format!("{url}?rev={main}&allRefs=1{submodules}&dir=flakes%20%26%20more");
            assert_eq!(tagged, expected, "{text}");
        }
    }
    // Without git.
    for (name, encoded) in [("plain", None), ("plain b", None), ("plain#?", Some("plain%23%3F"))] {
        let plain = base.join(name);
        fs::create_dir(&plain).unwrap();
        let expected = encoded.map(|encoded| format!("path:{}/{encoded}", base.display()));
        let latest = FlakeReference::parse(plain.to_str().unwrap()).unwrap().latest();
        assert_eq!(latest, expected.unwrap_or_else(|| plain.display().to_string()));
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

#[test]
fn directories_without_a_flake_are_refused() {
    let top = tempfile::tempdir().unwrap();
    let path = top.path().canonicalize().unwrap();
    fs::create_dir(path.join("below")).unwrap();
    let shown = path.display();
    let references = [
        format!("{shown}/below"),
        format!("path:{shown}/below"),
        format!("path:{shown}?dir=below"),
        format!("git+file://{shown}?dir=below"),
    ];
    for text in &references {
        let error = FlakeReference::parse(text).unwrap().check_flake_file().unwrap_err().to_string();
        assert!(error.contains(&format!("{shown}/below has no flake.nix")), "{text}: {error}");
    }
    fs::write(path.join("below/flake.nix"), "").unwrap();
    for text in &references {
        FlakeReference::parse(text).unwrap().check_flake_file().unwrap();
    }
    FlakeReference::parse("github:a/b").unwrap().check_flake_file().unwrap();
}
