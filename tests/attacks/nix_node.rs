//! `strata copy --nix-node` with caches that lack store paths or have others, and with recipes that do not have what they list.

use std::sync::Arc;

use crate::{
    store::Store,
    world::{Answer, World},
};
use serde_json::{Value, json};
use strata::internals::oci::{Digest, descriptor::media_type};

const CLOSURE: &str = "/nix/store/1c6a1cv41yy9yz8svln6w09ks4wdjk4n-image-nixClosure";
const HELLO: &str = "/nix/store/2c6a1cv41yy9yz8svln6w09ks4wdjk4n-hello";
const LIBRARY: &str = "/nix/store/3c6a1cv41yy9yz8svln6w09ks4wdjk4n-library";
/// The hash of an empty NAR and of another one.
const NAR: &str = "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73";
const OTHER_NAR: &str = "sha256:1mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73";

fn narinfo(path: &str, nar: &str, references: &[&str]) -> String {
    let bases: Vec<&str> = references.iter().map(|path| path.rsplit('/').next().unwrap()).collect();
    format!(
        "StorePath: {path}\nURL: nar/x\nCompression: none\nNarHash: {nar}\nNarSize: 112\nReferences: {}\n",
        bases.join(" ")
    )
}

fn recipe() -> Value {
    let digest = Digest::sha256(b"a layer");
    let layer = json!({ "digest": digest, "size": 7, "diff_ids": digest, "mediatype": media_type::LAYER_TAR,
        "paths": [{ "path": HELLO }], "History": {} });
    let closure = json!([{ "path": HELLO, "narSize": 112, "narHash": NAR, "references": [] }]);
    json!({ "version": 1, "image-config": {}, "arch": "amd64", "layers": [layer], "closure": closure,
        "nixNode": { "closure": CLOSURE, "directories": [HELLO], "files": [] } })
}

/// A machine with an image of one store path, which refers to a library that is not in the image.
fn world(recipe: &Value, narinfos: Vec<String>) -> (World, Arc<Store>) {
    let world = World::new();
    world.file("image.json", recipe.to_string());
    let store = Arc::new(Store::default());
    let answers = Arc::clone(&store);
    world.host("out.example.com", move |request| answers.answer(request));
    world.host("cache.example.com", move |request| {
        if request.path() == "/nix-cache-info" {
            return Answer::new(200).body("StoreDir: /nix/store\nWantMassQuery: 1\n");
        }
        let hash = request.path().trim_start_matches('/').trim_end_matches(".narinfo").to_owned();
        match narinfos.iter().find(|text| text.contains(&format!("StorePath: /nix/store/{hash}-"))) {
            Some(text) => Answer::new(200).body(text.clone()),
            None => Answer::new(404),
        }
    });
    (world, store)
}

fn all() -> Vec<String> {
    vec![narinfo(CLOSURE, NAR, &[HELLO]), narinfo(HELLO, NAR, &[HELLO, LIBRARY]), narinfo(LIBRARY, NAR, &[])]
}

const COPY: [&str; 6] = [
    "copy",
    "image.json",
    "docker://out.example.com/app:1",
    "--nix-node",
    "--substituter",
    "https://cache.example.com",
];

#[test]
fn the_pushed_image_has_mount_points_and_the_annotation() {
    let (world, store) = world(&recipe(), all());
    world.run(&COPY).success();
    let manifests = store.manifests.lock().unwrap();
    let (_, manifest) = &manifests[&("app".to_owned(), "1".to_owned())];
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 1);
    assert_eq!(layers[0]["mediaType"], media_type::LAYER_GZIP);
    assert_eq!(layers[0]["annotations"], json!({ "containerd.io/snapshot/nix-closure": CLOSURE }));
    assert!(layers[0]["size"].as_u64().unwrap() < 1000, "{manifest}");
}

#[test]
fn the_tag_does_not_move_if_a_cache_lacks_a_store_path() {
    let [closure, hello, library] = <[String; 3]>::try_from(all()).unwrap();
    let other = narinfo(HELLO, OTHER_NAR, &[HELLO]);
    for (narinfos, why) in [
        (vec![], format!("no binary cache has 2 store paths that nodes need: {CLOSURE}, {HELLO}; ")),
        (
            vec![hello.clone(), library.clone()],
            format!("no binary cache has a store path that nodes need: {CLOSURE}; "),
        ),
        (
            vec![closure.clone(), library.clone()],
            format!("no binary cache has a store path that nodes need: {HELLO}; "),
        ),
        (vec![closure.clone(), hello], format!("{LIBRARY} (a reference of {HELLO}); ")),
        (vec![closure, other, library], format!("{HELLO} (the cache has another build of it); ")),
    ] {
        let (world, store) = world(&recipe(), narinfos);
        let result = world.run(&COPY).failure(&why);
        assert!(result.err.contains("--push-closure"), "{}", result.err);
        assert!(world.take_requests().iter().all(|request| request.host == "cache.example.com"), "{}", result.err);
        assert!(!store.has_tag("app", "1"));
    }
}

#[test]
fn a_cache_that_cannot_be_asked_is_no_cache_with_the_path() {
    let (world, store) = world(&recipe(), all());
    world.host("cache.example.com", |_| Answer::new(401));
    world.run(&COPY).failure("searching binary caches for the store paths of the image");
    assert!(!store.has_tag("app", "1"));
}

/// Nix ignores such caches (`BinaryCacheStore::init` and `HttpBinaryCacheStore::init` in src/libstore), so nodes would not find
/// the store paths there.
#[test]
fn a_cache_that_nix_does_not_use_has_no_path() {
    for (info, why) in [
        (Answer::new(404), "https://other.example.com: it has no nix-cache-info, so Nix does not use it"),
        (Answer::new(403), "https://other.example.com: it has no nix-cache-info, so Nix does not use it"),
        (
            Answer::new(200).body("Priority: 1\nStoreDir: /gnu/store\n"),
            "its nix-cache-info is for the store /gnu/store, so Nix does not use it for /nix/store",
        ),
    ] {
        let (world, store) = world(&recipe(), all());
        world.host("other.example.com", move |request| match request.path() {
            "/nix-cache-info" => info.clone(),
            _ => Answer::new(200).body(narinfo(HELLO, NAR, &[])),
        });
        let refused = ["copy", "image.json", "docker://out.example.com/app:1", "--nix-node", "--substituter"];
        world.run(&[&refused[..], &["https://other.example.com"]].concat()).failure(why);
        assert!(!store.has_tag("app", "1"));
        world.run(&[&COPY[..], &["--substituter", "https://other.example.com"]].concat()).success();
        assert!(store.has_tag("app", "1"));
    }
}

#[test]
fn recipes_list_only_unmodified_store_paths() {
    let mut changed = recipe();
    changed["layers"][0]["paths"][0]["options"] = json!({ "perms": [{ "regex": "x", "mode": "0777" }] });
    let mut other = recipe();
    other["nixNode"]["directories"] = json!([LIBRARY]);
    let mut outside = recipe();
    outside["nixNode"]["closure"] = json!("/etc");
    let mut ordinary = recipe();
    ordinary.as_object_mut().unwrap().remove("nixNode");
    for (recipe, why) in [
        (changed, format!("the image does not have {HELLO} unmodified")),
        (other, format!("the image does not have {LIBRARY} unmodified")),
        (outside, "nixNode names /etc: it is not a store path".to_owned()),
        (
            ordinary,
            "the image is not made for nodes with a Nix store; build it with the argument nixNode = true".to_owned(),
        ),
    ] {
        let (world, store) = world(&recipe, all());
        world.run(&COPY).failure(&why);
        assert!(world.take_requests().is_empty());
        assert!(!store.has_tag("app", "1"));
    }
}

#[test]
fn the_closure_is_copied_before_the_caches_are_asked() {
    let (world, store) = world(&recipe(), all());
    world.program("nix", "echo \"$@\" >\"${0%/*}/../copied\"");
    let push = ["copy", "image.json", "docker://out.example.com/app:1", "--nix-node", "--push-closure"];
    world.run(&[&push[..], &["https://cache.example.com"]].concat()).success();
    let copied = std::fs::read_to_string(world.path("copied")).unwrap();
    assert_eq!(
        copied,
        format!("--extra-experimental-features nix-command copy --to https://cache.example.com {CLOSURE}\n")
    );
    assert!(store.has_tag("app", "1"));
    world.program("nix", "echo why >&2; exit 1");
    let result = world
        .run(&[&push[..], &["https://cache.example.com", "--json"]].concat())
        .failure("nix ended with exit status: 1: why");
    assert!(!result.err.starts_with("why"), "{}", result.err);
    let result =
        world.run(&[&push[..], &["https://cache.example.com"]].concat()).failure("nix ended with exit status: 1");
    assert!(result.err.starts_with("why"), "{}", result.err);
    // Nix prints the URL of the cache.
    world.program("nix", "echo \"copying to $5\" >&2");
    let arguments = ["https://me:secret@cache.example.com", "--substituter", "https://cache.example.com"];
    let result = world.run(&[&push[..], &arguments].concat()).success();
    assert!(result.err.contains("copying to") && !result.err.contains("secret"), "{}", result.err);
    world
        .run(&[&push[..], &["ssh://me:secret@host"]].concat())
        .failure("--push-closure; or name the cache for the check");
}
