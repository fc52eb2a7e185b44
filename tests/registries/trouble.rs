//! Faults of networks and registries: connections that stall or are cut, false and too long responses, and errors that are
//! not retried.

use std::{
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{
    store::{Store, layout},
    world::{Answer, World, on_loopback},
};
use strata::internals::{
    oci::{Algorithm, Digest, descriptor::media_type},
    transport::registry::{Client, Options},
};

fn client(host: &str, options: Options) -> Arc<Client> {
    Arc::new(Client::new(&format!("{host}/app:1").parse().unwrap(), &options).unwrap())
}

#[test]
fn a_stalled_or_cut_download_is_resumed_at_its_offset() {
    let layer: Vec<u8> = (0..3 << 20).map(|at| (at % 251) as u8).collect();
    let digest = Digest::sha256(&layer);
    let tries = Arc::new(AtomicUsize::new(0));
    let (served_layer, counted) = (layer.clone(), Arc::clone(&tries));
    let host = on_loopback(move |request| {
        if !request.path().contains("/blobs/") {
            return Answer::new(404);
        }
        let range =
            request.header("range").map(|range| range["bytes=".len()..range.len() - 1].parse::<usize>().unwrap());
        let (start, answer) = match range {
            Some(start) => (
                start,
                Answer::new(206)
                    .with("content-range", &format!("bytes {start}-{}/{}", served_layer.len() - 1, served_layer.len())),
            ),
            None => (0, Answer::new(200)),
        };
        let answer = answer.body(&served_layer[start..]);
        match counted.fetch_add(1, Ordering::SeqCst) {
            0 => Answer { stall: Some(1 << 20), ..answer },
            1 => Answer { cut: Some(1 << 19), ..answer },
            _ => answer,
        }
    });
    let client = client(&host, Options { stall: Some(Duration::from_millis(300)), ..Options::default() });
    let mut read = Vec::new();
    client.blob(&digest).read_to_end(&mut read).unwrap();
    assert!(read == layer);
    assert_eq!(tries.load(Ordering::SeqCst), 3);
}

#[test]
fn a_response_with_another_range_is_an_error() {
    let host = on_loopback(|request| match request.header("range") {
        None => Answer { cut: Some(5), ..Answer::new(200).body(b"0123456789") },
        Some(_) => Answer::new(206).with("content-range", "bytes 0-9/10").body(b"0123456789"),
    });
    let mut read = Vec::new();
    let error = client(&host, Options::default()).blob(&Digest::sha256(b"")).read_to_end(&mut read).unwrap_err();
    assert!(error.to_string().contains("asked for the bytes from 5"), "{error}");
}

#[test]
fn permanent_errors_are_tried_once_and_temporary_errors_repeated() {
    for (status, expected) in [(400, 1), (403, 1), (501, 1), (500, 3), (503, 3), (429, 3)] {
        let request_count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&request_count);
        let host = on_loopback(move |request| {
            if request.path().contains("/manifests/") {
                counted.fetch_add(1, Ordering::SeqCst);
            }
            Answer::new(status)
        });
        let options = Options { tries: Some(3), ..Options::default() };
        assert!(client(&host, options).manifest("1").is_err());
        assert_eq!(request_count.load(Ordering::SeqCst), expected, "{status}");
    }
}

#[test]
fn an_endless_response_is_refused() {
    let host = on_loopback(|_| Answer::new(200).body(vec![b' '; 5 << 20]));
    let error = client(&host, Options { tries: Some(1), ..Options::default() }).manifest("1").unwrap_err();
    assert!(format!("{error:?}").contains("ExceededError"), "{error:?}");
    let host = on_loopback(|request| Answer::new(302).with("location", &format!("{}x", request.target)));
    let error = client(&host, Options::default()).manifest("1").unwrap_err();
    assert!(error.to_string().contains("redirects more than"), "{error}");
}

#[test]
fn a_wrong_digest_in_a_response_is_an_error() {
    let world = World::new();
    let store = Store::default();
    world.host("registry.example.com", move |request| {
        let mut answer = store.answer(request);
        if request.method == "PUT" {
            answer.headers.retain(|(name, _)| name != "docker-content-digest");
            answer = answer.with("docker-content-digest", &Digest::sha256(b"other").to_string());
        }
        answer
    });
    let image = layout(&world, "image", b"layer");
    world.run(&["copy", &image, "docker://registry.example.com/app:1"]).failure("do not use the stored image");
}

/// distribution stores a blob under its sha256 digest, also if the client sent another digest.
#[test]
fn push_of_sha512_digests_fails_at_registries_without_sha512() {
    let world = World::new();
    let kept = Store::default();
    world.host("registry.example.com", move |request| {
        let is_long = request.target.contains("sha512");
        match request.method.as_str() {
            "PUT" if is_long => Answer::new(201).with("docker-content-digest", &format!("sha256:{:064}", 1)),
            "HEAD" if is_long => Answer::new(404),
            _ => kept.answer(request),
        }
    });
    let put = |bytes: &[u8]| {
        let digest = Algorithm::Sha512.digest(bytes);
        world.file(&format!("image/blobs/sha512/{}", digest.hex()), bytes);
        digest
    };
    let (config, blob) = (put(b"{}"), put(b"blob"));
    let manifest = serde_json::json!({ "schemaVersion": 2, "mediaType": media_type::MANIFEST,
        "config": { "mediaType": "application/x-config", "digest": config, "size": 2 },
        "layers": [{ "mediaType": "application/x-blob", "digest": blob, "size": 4 }] });
    let manifest = manifest.to_string();
    let descriptor = serde_json::json!({ "mediaType": media_type::MANIFEST, "digest": put(manifest.as_bytes()),
        "size": manifest.len() });
    world.file("image/oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    world.file("image/index.json", serde_json::json!({ "schemaVersion": 2, "manifests": [descriptor] }).to_string());
    world
        .run(&["copy", "oci:image", "docker://registry.example.com/app:1"])
        .failure("does not keep it under this digest");
}
