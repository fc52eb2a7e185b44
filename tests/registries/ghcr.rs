//! GitHub's registry: tokens come from `ghcr.io/token` itself; uploads go on at a path of the same host
//! (`/v2/…/blobs/upload/ID`, not `uploads/`), and it answers a mount of a private repository with 202
//! (docs.github.com, "Working with the Container registry"; go-containerregistry, pkg/v1/remote/write.go).

use std::sync::Arc;

use super::{
    store::{Store, Tokens, big, image, layout, with_tokens},
    world::World,
};
use strata::internals::oci::Digest;

fn ghcr(mounts: bool) -> (World, Arc<Store>) {
    let world = World::new();
    let store = Arc::new(Store { mounts, ..Store::default() });
    let tokens = Tokens::new("ghcr.io", "https://ghcr.io/token", "ghcr.io", Some("me:ghp_secret"));
    with_tokens(&world, "ghcr.io", "ghcr.io", &tokens, &store);
    world.log_in("ghcr.io", "me:ghp_secret");
    (world, store)
}

#[test]
fn a_mount_asks_for_a_token_of_both_repositories() {
    let (world, store) = ghcr(true);
    store.keep("me/base", "1", b"layer");
    let image = layout(&world, "image", b"layer");
    world
        .run(&["copy", &image, "docker://ghcr.io/me/app:1", "--mount-from", "me/base", "--preserve-digests"])
        .success();
    let requests = world.take_requests();
    let scopes: Vec<_> =
        requests.iter().filter(|request| request.path() == "/token").map(|token| token.query("scope")).collect();
    let both = ["repository:me/app:pull,push", "repository:me/base:pull"];
    assert!(scopes.iter().any(|scope| *scope == both), "{scopes:?}");
    assert!(!requests.iter().any(|request| request.method == "PATCH"), "{requests:?}");
}

#[test]
fn the_upload_of_a_refused_mount_is_used() {
    let (world, _) = ghcr(false);
    let layer = big();
    let source = layout(&world, "image", &layer);
    world
        .run(&["copy", &source, "docker://ghcr.io/me/app:1", "--mount-from", "me/base", "--preserve-digests"])
        .success();
    let requests = world.take_requests();
    let opened =
        requests.iter().filter(|request| request.method == "POST" && request.header("authorization").is_some());
    let opened: Vec<_> = opened.map(|request| request.target.clone()).collect();
    // The layer's and the config's, each opened by its mount.
    assert!(opened.iter().all(|target| target.contains("mount=")), "{opened:?}");
    assert_eq!(opened.len(), image(&layer).1.len());
}

#[test]
fn a_copy_between_repositories_sends_the_manifest_and_no_blob() {
    let (world, store) = ghcr(true);
    store.keep("me/base", "1", b"layer");
    world.run(&["copy", "docker://ghcr.io/me/base:1", "docker://ghcr.io/me/app:1", "--preserve-digests"]).success();
    assert!(store.has_tag("me/app", "1"));
    let requests = world.take_requests();
    let sent: Vec<_> = requests.iter().filter(|request| matches!(request.method.as_str(), "PATCH" | "PUT")).collect();
    let paths: Vec<&str> = sent.iter().map(|request| request.path()).collect();
    assert_eq!(paths, ["/v2/me/app/manifests/1"]);
    // The layer and the config.
    let mounted = requests.iter().filter(|request| request.query("from") == ["me/base"]);
    let mounted = mounted.filter(|request| request.header("authorization").is_some());
    assert_eq!(mounted.flat_map(|request| request.query("mount")).collect::<std::collections::HashSet<_>>().len(), 2);
}

#[test]
fn a_config_of_several_images_of_a_fleet_is_sent_once() {
    let (world, store) = ghcr(true);
    let source = layout(&world, "image", b"layer");
    world.file("fleet", format!("{source} docker://ghcr.io/me/one:1\n{source} docker://ghcr.io/me/two:1\n"));
    world.run(&["copy", "--fleet", "fleet"]).success();
    assert!(store.has_tag("me/one", "1") && store.has_tag("me/two", "1"));
    let config = Digest::sha256(&image(b"layer").1[0]).to_string();
    let requests = world.take_requests();
    let about =
        |request: &&super::world::Request| request.method == "PUT" && request.query("digest") == [config.clone()];
    assert_eq!(requests.iter().filter(about).count(), 1, "{requests:?}");
}
