//! Answers without end, of docker daemons, clients of engines, credential helpers and git: the program refuses them under a
//! memory limit (`setrlimit`).

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    thread,
};

use crate::{
    images::{Image, tar, write_layout},
    run::{limited_strata, text},
};

const MEGABYTES: u32 = 400;
const SECONDS: u32 = 600;

/// A docker daemon, whose answer to a request for a path is the start and then spaces without end, or only the start.
fn daemon(answer: impl Fn(&str) -> (String, bool) + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || respond(stream, answer));
        }
    });
    host
}

/// Answers one request. Without a length, the body ends with the connection.
fn respond(mut stream: TcpStream, answer: impl Fn(&str) -> (String, bool)) -> io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let has_body = lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).count() > 0;
    let (start, is_endless) = answer(request.split(' ').nth(1).filter(|_| has_body).unwrap_or_default());
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{start}")?;
    let spaces = vec![b' '; 1 << 20];
    loop {
        if !is_endless {
            return Ok(());
        }
        stream.write_all(&spaces)?;
    }
}

/// A layout of a small image, as `oci:DIR`.
fn image(home: &Path) -> String {
    write_layout(&home.join("image"), &Image::new(&[tar(&[("file", b"1")])]));
    format!("oci:{}", home.join("image").display())
}

/// Runs the program, which must refuse the answer for this reason, with an executable of this name in PATH.
fn refused(home: &Path, arguments: &[&str], (name, script): (&str, &str), why: &str) {
    let bin = home.join("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::write(bin.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = limited_strata(home, MEGABYTES, SECONDS);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output = command.args(arguments).env("PATH", path).output().unwrap();
    let messages = text(&output);
    assert!(output.status.code().is_some_and(|code| code == 1 || code == 2), "{:?}: {messages}", output.status);
    assert!(messages.contains(why), "{arguments:?}: {messages}");
}

#[test]
fn answers_of_a_docker_daemon_are_bounded() {
    let home = tempfile::tempdir().unwrap();
    let image = image(home.path());
    let exceeds = "the answer of the daemon has more than 67108864 bytes";
    let copy = |host: &str| {
        refused(
            home.path(),
            &["copy", "-q", &image, "docker-daemon:x:1", "--dest-daemon-host", host],
            ("x", ""),
            exceeds,
        )
    };
    copy(&daemon(|_| (String::new(), true)));
    let info = r#"{"Name":"x","KernelVersion":"6","DriverStatus":[]}"#;
    copy(&daemon(move |path| match path {
        "/info" => (info.to_owned(), false),
        _ => ("[".to_owned(), true),
    }));
    // Each answer is small, and all together are not.
    let images: Vec<String> = (0..200).map(|number| format!(r#"{{"Id":"sha256:{number:064x}"}}"#)).collect();
    let list = format!("[{}]", images.join(","));
    let layers = vec![format!(r#""sha256:{:064x}""#, 1); 10_000].join(",");
    copy(&daemon(move |path| match path {
        "/info" => (info.to_owned(), false),
        "/images/json?all=1" => (list.clone(), false),
        _ => (format!(r#"{{"RootFS":{{"Layers":[{layers}]}}}}"#), false),
    }));
}

#[test]
fn daemon_responses_to_archives_are_bounded() {
    let home = tempfile::tempdir().unwrap();
    let image = image(home.path());
    let host = daemon(|path| match path {
        "/info" => (r#"{"DriverStatus":[]}"#.to_owned(), false),
        "/images/json?all=1" => ("[]".to_owned(), false),
        _ => (r#"{"stream":""#.to_owned(), true),
    });
    let copy = ["copy", "-q", &image, "docker-daemon:x:1", "--dest-daemon-host", &host];
    refused(home.path(), &copy, ("x", ""), "the answer of the daemon has more than");
}

#[test]
fn answers_of_credential_helpers_are_bounded() {
    let home = tempfile::tempdir().unwrap();
    let image = image(home.path());
    fs::write(home.path().join("config.json"), r#"{"credHelpers":{"registry.example.com":"endless"}}"#).unwrap();
    let copy = ["copy", "-q", &image, "docker://registry.example.com/app:1"];
    let helper = "docker-credential-endless";
    refused(home.path(), &copy, (helper, "exec yes"), "the answer has more than 1048576 bytes");
    // A message is cut.
    refused(home.path(), &copy, (helper, "yes | head -c 100000000 >&2; exit 1"), "exit status: 1: y y y");
}

#[test]
fn output_of_the_clients_of_engines_is_bounded() {
    let home = tempfile::tempdir().unwrap();
    let image = image(home.path());
    let zeros = "head -c 1000000000 /dev/zero";
    for (to, client) in [("containers-storage:x:1", "podman"), ("containerd:x:1", "ctr")] {
        let copy = ["copy", "-q", &image, to];
        refused(home.path(), &copy, (client, zeros), "its output has more than 67108864 bytes");
        refused(home.path(), &copy, (client, &format!("{zeros} >&2; exit 1")), "exit status: 1");
    }
}
