//! `serve --flake` of a remote repository, started in a repository of others: git reads nothing of that one, and passwords in
//! the reference are in no answer and no message.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
};

use crate::run::strata;

/// Requests a branch, and returns the answer and the messages of the server.
fn request(home: &std::path::Path, directory: &std::path::Path, reference: &str) -> String {
    let mut command = strata(home);
    command.args(["serve", "--listen", "127.0.0.1:0", "--system", "x86_64-linux", "--allow-remote-flake", "--flake"]);
    command.arg(reference).current_dir(directory).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("GIT_SSH_COMMAND").env_remove("GIT_SSH").env("GIT_CONFIG_GLOBAL", "/dev/null");
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let mut stream = TcpStream::connect(line.split('/').next().unwrap().trim()).unwrap();
    write!(stream, "GET /v2/app/manifests/v1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    format!("{answer}\n{}", String::from_utf8_lossy(&output.stderr))
}

#[test]
fn listing_a_remote_repository_reads_no_repository_in_the_current_directory() {
    let home = tempfile::tempdir().unwrap();
    let project = home.path().join("project");
    fs::create_dir_all(&project).unwrap();
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.arg("-C").arg(&project).args(arguments).env_remove("GIT_SSH_COMMAND").env_remove("GIT_SSH");
        git.stderr(Stdio::null()).status().unwrap()
    };
    let ran = home.path().join("ran");
    assert!(git(&["init", "--quiet"]).success());
    assert!(git(&["config", "core.sshCommand", &format!("touch {}; false", ran.display())]).success());
    let url = "ssh://127.0.0.1:1/x";
    // The configuration works: git itself runs the program.
    git(&["ls-remote", url]);
    fs::remove_file(&ran).unwrap();
    let text = request(home.path(), &project, &format!("git+{url}"));
    assert!(text.contains("finding v1 failed"), "{text}");
    assert!(!ran.exists(), "{text}");
}

#[test]
fn passwords_in_a_reference_are_not_printed() {
    let home = tempfile::tempdir().unwrap();
    for reference in ["git+http://me:SECRET@127.0.0.1:1/x", "git+http://127.0.0.1:1/x?access_token=SECRET"] {
        let text = request(home.path(), home.path(), reference);
        assert!(text.contains("finding v1 failed"), "{text}");
        assert!(text.contains("127.0.0.1") && !text.contains("SECRET"), "{text}");
    }
    for reference in ["git+http://me:SECRET@127.0.0.1/x#app", "git+http://me:SECRET@127.0.0.1/x"] {
        let output = strata(home.path()).args(["serve", "--flake", reference]).output().unwrap();
        let text = crate::run::text(&output);
        assert!(!output.status.success() && text.contains("***@127.0.0.1") && !text.contains("SECRET"), "{text}");
    }
}
