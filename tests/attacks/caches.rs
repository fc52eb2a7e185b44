//! Binary caches whose narinfo names another host, or no TLS.

use crate::world::{Answer, World};
use serde_json::json;
use strata::internals::oci::{Digest, descriptor::media_type};

const CACHE: &str = "cache.example.com";
const OTHER: &str = "other.example.com";
const PATH: &str = "/nix/store/0c6a1cv41yy9yz8svln6w09ks4wdjk4n-hello";

/// A machine with passwords for both hosts and every other, and a recipe with a store path that it lacks.
fn world(nar_url: &str) -> World {
    let mut world = World::new();
    world.secret("cache-password", &[CACHE]);
    world.secret("header-token", &[CACHE]);
    for secret in ["other-password", "default-password"] {
        world.secret(secret, &[]);
    }
    let netrc = format!(
        "machine {CACHE} login me password cache-password\nmachine {OTHER} login me password other-password\n\
         default login me password default-password\n"
    );
    let netrc = world.file("netrc", netrc).display().to_string();
    world.set("NETRC", netrc);
    let digest = Digest::sha256(b"a layer");
    let layer = json!({ "digest": digest, "size": 7, "diff_ids": digest, "mediatype": media_type::LAYER_TAR,
        "paths": [{ "path": PATH }], "History": {} });
    let recipe = json!({ "version": 1, "image-config": {}, "arch": "amd64", "layers": [layer] });
    world.file("image.json", recipe.to_string());
    let narinfo = format!(
        "StorePath: {PATH}\nURL: {nar_url}\nCompression: none\n\
         NarHash: sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73\nNarSize: 112\n"
    );
    world.host(CACHE, move |request| match request.path() {
        path if path.ends_with(".narinfo") => Answer::new(200).body(narinfo.clone()),
        "/nar/redirected" => Answer::new(302).with("location", "https://other.example.com/nar"),
        "/nar/downgraded" => Answer::new(302).with("location", "http://cache.example.com/nar"),
        _ => Answer::new(200).body("no NAR"),
    });
    world.host(OTHER, |_| Answer::new(200).body("no NAR"));
    world
}

/// The host of a request, its authorization and its token.
type Credentials = (String, Option<String>, Option<String>);

/// The error of a copy that reads the store path, and the hosts and headers of the requests for the NAR.
fn copy(world: &World, arguments: &[&str]) -> (String, Vec<Credentials>) {
    let result = world.run(&[&["copy", "image.json", "oci:copied:t"], arguments].concat());
    assert!(!result.ok, "{}", result.err);
    let requests = world.take_requests();
    assert!(
        requests.iter().any(|request| request.path().ends_with(".narinfo")),
        "the cache was not asked: {}",
        result.err
    );
    let requests = requests.iter().filter(|request| !request.path().ends_with(".narinfo"));
    let header = |request: &crate::world::Request, name: &str| request.header(name).map(str::to_owned);
    let requests =
        requests.map(|request| (request.host.clone(), header(request, "authorization"), header(request, "x-token")));
    (result.err, requests.collect())
}

const HTTPS: [&str; 4] = ["--substituter", "https://cache.example.com", "--header", "X-Token: header-token"];

#[test]
fn configured_credentials_are_sent_to_their_cache() {
    for url in ["nar/x", "https://cache.example.com:443/nar/x"] {
        let (error, requests) = copy(&world(url), &HTTPS);
        let (host, authorization, token) = requests.first().unwrap_or_else(|| panic!("{error}"));
        assert_eq!((host.as_str(), token.as_deref()), (CACHE, Some("header-token")));
        assert!(authorization.is_some());
    }
}

#[test]
fn hosts_that_a_narinfo_names_get_no_password() {
    for url in ["https://other.example.com/nar/x", "//other.example.com/nar/x", "nar/redirected"] {
        let (error, requests) = copy(&world(url), &HTTPS);
        let other: Vec<_> = requests.iter().filter(|(host, ..)| host == OTHER).collect();
        assert!(!other.is_empty(), "{url}: {error}");
        assert!(other.iter().all(|(_, authorization, token)| authorization.is_none() && token.is_none()), "{url}");
    }
}

#[test]
fn nars_of_an_https_cache_are_not_read_without_tls() {
    for url in ["http://cache.example.com/nar/x", "HTTP://cache.example.com/nar/x", "http://other.example.com/x"] {
        let (error, requests) = copy(&world(url), &HTTPS);
        assert!(error.contains("without TLS"), "{url}: {error}");
        assert!(requests.is_empty(), "{url}: {requests:?}");
    }
    let (error, _) = copy(&world("nar/downgraded"), &HTTPS);
    assert!(error.contains("without TLS"), "{error}");
}

#[test]
fn passwords_in_a_cache_s_url_are_not_printed() {
    let world = World::new();
    world.secret("s3cret", &[]);
    for url in ["https://me:s3cret@cache.example.com/x?y", "ssh://me:s3cret@cache.example.com", "https://s3cret@[::1"] {
        world.run(&["copy", "image.json", "oci:copied:t", "--substituter", url]).failure("binary cache");
    }
}
