//! Docker Hub: `docker.io` is `registry-1.docker.io`; tokens come from `auth.docker.io` and are called `token` and
//! `access_token` both ([token authentication](https://distribution.github.io/distribution/spec/auth/token/); "the
//! answer has no token" was an error of strata); blobs come from a CDN (`production.cloudflare.docker.com`) by redirect; docker
//! keeps its password under `https://index.docker.io/v1/`; 429 is `toomanyrequests` with a limit
//! (docs.docker.com/docker-hub/usage).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{
    store::{Store, Tokens, layout, with_tokens},
    world::{Answer, World},
};

const REALM: &str = "https://auth.docker.io/token";

fn hub(login: Option<&str>) -> (World, Arc<Store>, Arc<Tokens>) {
    let world = World::new();
    let store = Arc::new(Store { mounts: true, ..Store::default() });
    let tokens = Tokens::new("registry-1.docker.io", REALM, "registry.docker.io", login);
    with_tokens(&world, "registry-1.docker.io", "auth.docker.io", &tokens, &store);
    (world, store, tokens)
}

#[test]
fn logins_of_docker_push_and_pull() {
    let (world, store, _) = hub(Some("me:hunter2"));
    world.log_in("https://index.docker.io/v1/", "me:hunter2");
    let image = layout(&world, "image", b"layer");
    world.run(&["copy", &image, "docker://me/app:1"]).success();
    assert!(store.has_tag("me/app", "1"));
    world.run(&["copy", "docker://docker.io/me/app:1", "oci:pulled:t"]).success();
    let requests = world.take_requests();
    assert!(requests.iter().any(|request| request.query("service") == ["registry.docker.io"]), "{requests:?}");
    assert!(requests.iter().any(|request| request.query("account") == ["me"]), "{requests:?}");
}

#[test]
fn official_images_are_pulled_anonymously() {
    let (world, store, _) = hub(None);
    store.keep("library/hello", "latest", b"layer");
    world.run(&["copy", "docker://hello", "oci:pulled:t"]).success();
    let requests = world.take_requests();
    let token = requests.iter().find(|request| request.host == "auth.docker.io").unwrap();
    assert_eq!(token.query("scope"), ["repository:library/hello:pull"]);
    assert_eq!(token.header("authorization"), None);
}

#[test]
fn a_wrong_password_is_reported_after_one_request() {
    let (world, _, _) = hub(Some("me:hunter2"));
    world.log_in("https://index.docker.io/v1/", "me:wrong");
    let image = layout(&world, "image", b"layer");
    let result = world.run(&["copy", &image, "docker://me/app:1"]).failure("incorrect username or password");
    assert!(result.err.contains("Log in first"), "{}", result.err);
    assert!(!result.err.contains("wrong"), "{}", result.err);
    assert_eq!(world.take_request_lines().iter().filter(|line| line.contains("auth.docker.io")).count(), 1);
}

#[test]
fn blobs_are_read_from_a_cdn_without_credentials() {
    let (world, store, tokens) = hub(Some("me:hunter2"));
    world.log_in("https://index.docker.io/v1/", "me:hunter2");
    store.keep("me/app", "1", b"layer");
    let served_store = Arc::clone(&store);
    world.host("registry-1.docker.io", move |request| match tokens.check(request) {
        Some(challenge) => challenge,
        None if request.path().contains("/blobs/") => {
            let url = format!("https://production.cloudflare.docker.com{}?verify=signature", request.path());
            Answer::new(307).with("location", &url)
        }
        None => served_store.answer(request),
    });
    let served_store = Arc::clone(&store);
    world.host("production.cloudflare.docker.com", move |request| {
        assert_eq!(request.header("authorization"), None);
        served_store.answer(request)
    });
    world.run(&["copy", "docker://me/app:1", "oci:pulled:t"]).success();
    // A host that asks for credentials after a redirect does not receive them (containerd, CVE-2020-15157).
    for challenge in [r#"Basic realm="cdn""#, r#"Bearer realm="https://evil.example/token",service="x""#] {
        world.take_requests();
        world.host("production.cloudflare.docker.com", move |_| Answer::new(401).with("www-authenticate", challenge));
        world.run(&["copy", "docker://me/app:1", "oci:again:t"]).failure("401");
        let requests = world.take_requests();
        assert!(requests.iter().all(|request| request.host != "evil.example"), "{requests:?}");
        let cdn = requests.iter().filter(|request| request.host == "production.cloudflare.docker.com");
        assert!(cdn.clone().count() > 0 && cdn.clone().all(|request| request.header("authorization").is_none()));
    }
}

#[test]
fn a_rate_limited_request_is_retried_after_the_requested_time() {
    let (world, store, tokens) = hub(None);
    store.keep("library/hello", "latest", b"layer");
    let refused = AtomicUsize::new(0);
    world.host("registry-1.docker.io", move |request| match tokens.check(request) {
        Some(challenge) => challenge,
        None if request.path().contains("/manifests/") && refused.fetch_add(1, Ordering::Relaxed) < 2 => {
            // A date in the past is now.
            Answer::error(429, "TOOMANYREQUESTS", "You have reached your pull rate limit.")
                .with("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")
        }
        None => store.answer(request),
    });
    world.run(&["copy", "docker://hello", "oci:pulled:t"]).success();
}
