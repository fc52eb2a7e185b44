//! The docker daemon behind TCP: TLS where `https://` promises it, and names that stay names.

use std::{io::Read, net::TcpListener, thread, time::Duration};

use serde_json::json;

use crate::{
    images::tar,
    store::layout,
    world::{Answer, World},
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
    world.run(&["copy", &image, "docker-daemon:x:1", "--dest-daemon-host", &host]).bad("daemon");
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
    world.run(&["inspect", "docker-daemon:x:1"]).bad("docker");
    let seen = world.seen();
    assert!(!seen.is_empty() && seen.iter().all(|request| request.host == "docker.example.com:2376"), "{seen:?}");
    world.set("SSL_CERT_FILE", "/dev/null");
    world.run(&["inspect", "docker-daemon:x:1"]).bad("ertificate");
    assert!(world.seen().is_empty());
}

#[test]
fn names_are_encoded_in_a_daemon_s_urls() {
    let mut world = World::new();
    world.host("docker.example.com:2376", |_| Answer::json(404, json!({ "message": "no such image" })));
    world.set("DOCKER_HOST", "https://docker.example.com:2376");
    for (name, path) in [
        ("x:1", "/images/x:1/get"),
        ("x:1?all=1", "/images/x:1%3Fall%3D1/get"),
        ("x:1&y", "/images/x:1%26y/get"),
        ("x#y", "/images/x%23y/get"),
        ("x%2e%2e", "/images/x%252e%252e/get"),
        ("a b", "/images/a%20b/get"),
    ] {
        world.run(&["inspect", &format!("docker-daemon:{name}")]);
        let targets: Vec<String> = world.seen().into_iter().map(|request| request.target).collect();
        assert!(!targets.is_empty() || name != "x:1");
        // A name that is refused is not asked for at all.
        assert!(targets.iter().all(|target| target == path), "{name}: {targets:?}");
    }
}
