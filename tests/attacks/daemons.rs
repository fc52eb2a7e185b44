//! The docker daemon behind TCP: TLS where `https://` promises it, names that stay names, and texts that stay texts. Image IDs of
//! podman's remote service stay IDs.

use std::{io::Read, net::TcpListener, thread, time::Duration};

use serde_json::json;

use crate::{
    images::tar,
    store::layout,
    world::{Answer, World, text},
};

/// The first byte that a copy into this daemon sends.
fn first_byte(world: &World, scheme: &str) -> u8 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("{scheme}://{}", listener.local_addr().unwrap());
    let received = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut first = [0];
        stream.read_exact(&mut first).unwrap();
        first[0]
    });
    let image = layout(world, "layout", &tar(&[("x", b"layer")]));
    world.run(&["copy", &image, "docker-daemon:x:1", "--dest-daemon-host", &host]).failure("daemon");
    received.join().unwrap()
}

#[test]
fn a_daemon_at_https_is_spoken_to_with_tls_only() {
    const TLS_HANDSHAKE: u8 = 0x16;
    let mut world = World::new();
    assert_eq!(first_byte(&world, "https"), TLS_HANDSHAKE);
    assert_eq!(first_byte(&world, "tcp"), b'G');
    assert_eq!(first_byte(&world, "http"), b'G');
    world.set("DOCKER_TLS_VERIFY", "1");
    for scheme in ["https", "tcp", "http"] {
        assert_eq!(first_byte(&world, scheme), TLS_HANDSHAKE, "{scheme}");
    }
}

#[test]
fn a_daemon_at_https_is_verified_and_does_not_redirect_to_http() {
    let mut world = World::new();
    world.host("docker.example.com:2376", |_| {
        Answer::new(307).with("location", "http://docker.example.com/images/x:1/json")
    });
    world.set("DOCKER_HOST", "https://docker.example.com:2376");
    world.run(&["inspect", "docker-daemon:x:1"]).failure("docker");
    let seen = world.take_requests();
    assert!(!seen.is_empty() && seen.iter().all(|request| request.host == "docker.example.com:2376"), "{seen:?}");
    world.set("SSL_CERT_FILE", "/dev/null");
    world.run(&["inspect", "docker-daemon:x:1"]).failure("ertificate");
    assert!(world.take_requests().is_empty());
}

#[test]
fn only_names_of_images_are_part_of_a_daemon_s_urls() {
    let mut world = World::new();
    world.host("docker.example.com:2376", |_| Answer::json(404, json!({ "message": "no such image" })));
    world.set("DOCKER_HOST", "https://docker.example.com:2376");
    let id = format!("sha256:{}", "0".repeat(64));
    for (name, path) in [
        ("x:1", "/images/x:1/get".to_owned()),
        ("in.example.com:5000/x:1", "/images/in.example.com:5000/x:1/get".to_owned()),
        (&id, format!("/images/{id}/get")),
    ] {
        world.run(&["inspect", &format!("docker-daemon:{name}")]).failure("no such image");
        let targets: Vec<String> = world.take_requests().into_iter().map(|request| request.target).collect();
        assert!(!targets.is_empty() && targets.iter().all(|target| *target == path), "{name}: {targets:?}");
    }
    for name in ["x:1?all=1", "x:1&y", "x#y", "x%2e%2e", "a b", "../info", "x:1/../../info", "x\ny"] {
        world.run(&["inspect", &format!("docker-daemon:{name}")]).failure("is not an image reference");
        assert!(world.take_requests().is_empty(), "{name}");
    }
}

#[test]
fn texts_of_a_daemon_are_escaped() {
    const HOSTILE: &str = "a\u{1b}[2J\u{9b}2J\u{202e}\r\u{7}b";
    for hostile_path in ["/info", "/images/json", "/images/load"] {
        let mut world = World::new();
        world.host("docker.example.com:2376", move |request| match request.path() {
            path if path == hostile_path && path != "/images/load" => Answer::json(500, json!({ "message": HOSTILE })),
            "/info" => Answer::json(200, json!({ "DriverStatus": [] })),
            "/images/json" => Answer::json(200, json!([])),
            _ => Answer::json(200, json!({ "error": HOSTILE })),
        });
        world.set("DOCKER_HOST", "https://docker.example.com:2376");
        let image = layout(&world, "layout", &tar(&[("x", b"layer")]));
        let result = world.run(&["copy", &image, "docker-daemon:x:1"]).failure("the daemon answered");
        assert!(result.err.contains("a\\u{1b}[2J"), "{hostile_path}: {}", result.err);
        assert!(
            !result.err.contains(['\u{1b}', '\u{9b}', '\u{202e}', '\r', '\u{7}']),
            "{hostile_path}: {:?}",
            result.err
        );
    }
}

#[test]
fn a_redirect_of_a_daemon_is_not_followed_to_another_host() {
    let mut world = World::new();
    let other = "other.example.com:2376";
    world.host("docker.example.com:2376", move |_| Answer::new(307).with("location", &format!("https://{other}/info")));
    world.host(other, |_| Answer::json(200, json!({})));
    world.set("DOCKER_HOST", "https://docker.example.com:2376");
    let image = layout(&world, "layout", &tar(&[("x", b"layer")]));
    world.run(&["copy", &image, "docker-daemon:x:1"]).failure("307");
    world.assert_requests_only_to("docker.example.com:2376");
}

#[test]
fn lines_of_podman_s_list_of_images_are_not_options() {
    let world = World::new();
    let id = format!("sha256:{}", "0".repeat(64));
    let list = format!("--url=ssh://evil.example.com\\n{id}\\n-\\nx y\\n\\n--conmon=/tmp/x\\n");
    let script = format!(
        "echo \"$*\" >>\"$HOME/log\"\ncase $1 in images) printf '%b' '{list}' ;; image) echo '[]' ;; load) cat >/dev/null ;; esac"
    );
    world.program("podman", &script);
    world.file("home/log", "");
    let image = layout(&world, "layout", &tar(&[("x", b"layer")]));
    world.run(&["copy", &image, "containers-storage:x:1"]).success();
    let log = text(&world.path("home/log"));
    let inspected: Vec<&str> = log.lines().filter(|line| line.starts_with("image ")).collect();
    assert_eq!(inspected, [format!("image inspect --format json {id}")], "{log}");
}
