//! Signing at registries that lose what they take, list nothing, or change meanwhile: never a success without a signature
//! that everybody finds (distribution-spec, spec.md, "Pushing Manifests with Subject" and "Referrers Tag Schema").

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{
    mapping_scene::layer,
    store::{Store, image, layout},
    world::{Answer, ProcessResult, Request, World},
};
use rcgen::KeyPair;
use serde_json::{Value, json};
use strata::internals::oci::{Digest, descriptor::media_type};

const HOST: &str = "registry.example.com";
const TARGET: &str = "docker://registry.example.com/app:1";

/// A world with the keys `key.pem` and `key.pub`, and another pair.
pub fn with_keys() -> World {
    let world = World::new();
    for name in ["key", "other"] {
        let key = KeyPair::generate().unwrap();
        world.file(&format!("{name}.pem"), key.serialize_pem());
        world.file(&format!("{name}.pub"), key.public_key_pem());
    }
    world
}

fn push_signed(world: &World) -> ProcessResult {
    let image = layout(world, "image", &layer(1));
    world.run(&["copy", &image, TARGET, "--provenance", "--sign-key", "key.pem"])
}

/// Whether a request puts something that is about an image.
fn attaches(request: &Request) -> bool {
    let document: Option<Value> = serde_json::from_slice(&request.body).ok();
    request.method == "PUT" && document.is_some_and(|document| document.get("subject").is_some())
}

#[test]
fn a_registry_without_the_referrers_api_gets_the_fallback_tag() {
    let world = with_keys();
    let store = Arc::new(Store::default());
    let served_store = Arc::clone(&store);
    world.host(HOST, move |request| served_store.answer(request));
    let digest = push_signed(&world).success().out;
    assert!(store.has_tag("app", &digest.trim().replace(':', "-")));
    world.run(&["verify", TARGET, "--key", "key.pub"]).success();
    world.run(&["verify", TARGET, "--key", "other.pub"]).failure("is not signed with this key");
}

/// Two that read the tag of the signatures before either wrote: the second writes over the first, which sees it.
#[test]
fn two_signers_at_once_keep_both_signatures_under_the_tag() {
    let world = with_keys();
    let store = Arc::new(Store { referrers: true, ..Store::default() });
    let (served_store, reads, both_read) = (Arc::clone(&store), AtomicUsize::new(0), Barrier::new(2));
    world.host(HOST, move |request| {
        let answer = served_store.answer(request);
        let is_read = request.method == "GET" && request.path().ends_with(".sig");
        if is_read && reads.fetch_add(1, Ordering::SeqCst) < 2 {
            both_read.wait();
        }
        answer
    });
    let image = layout(&world, "image", b"layer");
    thread::scope(|scope| {
        for key in ["key.pem", "other.pem"] {
            let (world, image) = (&world, &image);
            scope.spawn(move || world.run(&["copy", image, TARGET, "--sign-key", key, "--sign-tag"]).success());
        }
    });
    let manifests = store.manifests.lock().unwrap();
    let (_, (_, tagged)) = manifests.iter().find(|((_, version), _)| version.ends_with(".sig")).unwrap();
    let tagged: Value = serde_json::from_slice(tagged).unwrap();
    assert_eq!(tagged["layers"].as_array().unwrap().len(), 2, "{tagged}");
    let config = tagged["config"]["digest"].as_str().unwrap().to_owned();
    let config = store.blobs.lock().unwrap()[&("app".to_owned(), config)].clone();
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 2, "{config}");
}

#[test]
fn a_signature_tag_with_another_manifest_is_not_overwritten() {
    let world = with_keys();
    let store = Arc::new(Store { referrers: true, ..Store::default() });
    let served_store = Arc::clone(&store);
    world.host(HOST, move |request| {
        if request.method == "GET" && request.path().ends_with(".sig") {
            return Answer::new(200).with("content-type", media_type::MANIFEST).body("[]");
        }
        served_store.answer(request)
    });
    let image = layout(&world, "image", b"layer");
    let result = world.run(&["copy", &image, TARGET, "--sign-key", "key.pem", "--sign-tag"]);
    result.failure("holds something else");
}

#[test]
fn attach_fails_if_the_registry_drops_referrers() {
    let world = with_keys();
    let served_store = Arc::new(Store { referrers: true, ..Store::default() });
    world.host(HOST, move |request| {
        if request.path().contains("/referrers/") {
            return Answer::json(200, json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [] }));
        }
        served_store.answer(request)
    });
    push_signed(&world).failure("does not list it");
    world.run(&["verify", TARGET, "--key", "key.pub"]).failure("is not signed with this key");
}

#[test]
fn attach_fails_if_the_tag_moves() {
    let world = with_keys();
    let served_store = Arc::new(Store { referrers: true, ..Store::default() });
    let (other, _) = image(b"another layer");
    world.host(HOST, move |request| {
        if attaches(request) {
            let moved = (media_type::MANIFEST.to_owned(), other.clone());
            served_store.manifests.lock().unwrap().insert(("app".to_owned(), "1".to_owned()), moved);
        }
        served_store.answer(request)
    });
    push_signed(&world).failure("the documents were attached to sha256:");
}

#[test]
fn signing_fails_if_the_image_was_deleted() {
    let world = with_keys();
    let served_store = Arc::new(Store { referrers: true, ..Store::default() });
    let digest = Digest::sha256(&image(b"layer").0).to_string();
    world.host(HOST, move |request| {
        if request.method == "GET" && request.path().ends_with(&digest) {
            return Answer::error(404, "MANIFEST_UNKNOWN", "manifest unknown");
        }
        served_store.answer(request)
    });
    let image = layout(&world, "image", b"layer");
    let copy = ["copy", &image, TARGET, "--preserve-digests", "--sign-key", "key.pem"];
    world.run(&copy).failure("is no longer in the registry");
}

/// An account with write access to the registry can change attestations. Only signed content is accepted.
#[test]
fn changed_attestations_fail_verification() {
    let world = with_keys();
    let store = Arc::new(Store { referrers: true, ..Store::default() });
    let served_store = Arc::clone(&store);
    world.host(HOST, move |request| served_store.answer(request));
    let digest = push_signed(&world).success().out.trim().to_owned();
    // Every bundle gets another payload, with right digests all the way up.
    let bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
    let mut changed = 0;
    for (_, (kind, bytes)) in store.manifests.lock().unwrap().iter_mut() {
        let mut manifest: Value = serde_json::from_slice(bytes).unwrap();
        if manifest["artifactType"] != bundle {
            continue;
        }
        let name = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
        let mut blobs = store.blobs.lock().unwrap();
        let text = String::from_utf8(blobs[&("app".to_owned(), name)].clone()).unwrap();
        let mut document: Value = serde_json::from_str(&text).unwrap();
        let payload = document["dsseEnvelope"]["payload"].as_str().unwrap();
        let statement = data_encoding::BASE64.decode(payload.as_bytes()).unwrap();
        let statement = String::from_utf8(statement).unwrap().replace("https://", "http://");
        document["dsseEnvelope"]["payload"] = data_encoding::BASE64.encode(statement.as_bytes()).into();
        let blob = document.to_string().into_bytes();
        manifest["layers"][0] = json!({ "mediaType": bundle, "digest": Digest::sha256(&blob), "size": blob.len() });
        blobs.insert(("app".to_owned(), Digest::sha256(&blob).to_string()), blob);
        *bytes = manifest.to_string().into_bytes();
        assert_eq!(kind, media_type::MANIFEST);
        changed += 1;
    }
    assert_eq!(changed, 2, "the signature and the provenance");
    let manifests = std::mem::take(&mut *store.manifests.lock().unwrap());
    let renamed = manifests.into_iter().map(|((name, version), (kind, bytes))| {
        let version = if version.starts_with("sha256:") { Digest::sha256(&bytes).to_string() } else { version };
        ((name, version), (kind, bytes))
    });
    store.manifests.lock().unwrap().extend(renamed);
    assert!(store.manifests.lock().unwrap().contains_key(&("app".to_owned(), digest)));
    world.run(&["verify", TARGET, "--key", "key.pub"]).failure("is not signed with this key");
}

#[test]
fn passwords_of_keys_are_not_sent() {
    let mut world = with_keys();
    let served_store = Arc::new(Store { referrers: true, ..Store::default() });
    world.host(HOST, move |request| served_store.answer(request));
    world.set("COSIGN_PASSWORD", "swordfish-of-the-key");
    world.secret("swordfish-of-the-key", &[]);
    let result = push_signed(&world).success();
    assert!(!result.out.contains("swordfish") && !result.err.contains("swordfish"));
    assert_eq!(world.leaks(), Vec::<String>::new());
    let image = layout(&world, "image", b"layer");
    world.run(&["copy", &image, TARGET, "--sign-with", "false"]).failure("--sign-with \"false\"");
    world.run(&["copy", &image, TARGET, "--sign-with", "cat > /dev/null"]).failure("wrote no signature");
    world.run(&["copy", &image, TARGET, "--sign-tag"]).failure("--sign-key");
}
