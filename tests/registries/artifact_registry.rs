//! Google's Artifact Registry takes no uploads in pieces
//! (cloud.google.com/artifact-registry/docs/docker/troubleshoot: chunked uploads are not supported; buildkit and
//! containerd send one PUT with all of a blob), and its user is `oauth2accesstoken` or `_json_key`.

use std::sync::Arc;

use super::{
    store::{Store, Tokens, big, layout, with_tokens},
    world::{Answer, World},
};

#[test]
fn blobs_are_sent_in_one_put_if_patch_is_refused() {
    let world = World::new();
    let host = "europe-docker.pkg.dev";
    let store = Arc::new(Store::default());
    let tokens =
        Tokens::new(host, "https://europe-docker.pkg.dev/v2/token", host, Some("_json_key:{\"private_key\":\"pem\"}"));
    with_tokens(&world, host, host, &tokens, &store);
    let served_store = Arc::clone(&store);
    world.host(host, move |request| match request.path() {
        "/v2/token" => tokens.give(request),
        _ if request.method == "PATCH" => Answer::error(405, "UNSUPPORTED", "chunked uploads are not supported"),
        _ => tokens.check(request).unwrap_or_else(|| served_store.answer(request)),
    });
    world.log_in(host, "_json_key:{\"private_key\":\"pem\"}");
    let image = layout(&world, "image", &big());
    world.run(&["copy", &image, "docker://europe-docker.pkg.dev/project/repo/app:1", "--preserve-digests"]).success();
    assert!(store.has_tag("project/repo/app", "1"));
    let requests = world.take_requests();
    assert_eq!(requests.iter().filter(|request| request.method == "PATCH").count(), 1);
    assert!(requests.iter().any(|request| request.method == "PUT" && request.body.len() == big().len()));
}
