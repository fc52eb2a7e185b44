//! Credentials, client certificates, CAs and `insecure` of one host, and hosts that data names: the
//! `origin` of a recipe's layer, another registry, mirrors, token realms, redirects.

use std::sync::Arc;

use crate::{
    images::tar,
    store::{Store, layout},
    world::{Answer, Request, World, text},
};
use serde_json::json;
use strata::internals::oci::{Digest, descriptor::media_type};

const MINE: &str = "mine.example.com";
const OTHER: &str = "other.example.com";
const PASSWORD: &str = "s3cret-for-mine";
const LOGIN: &str = "ci:s3cret-for-mine";

/// A registry that requires Basic credentials, and accepts any.
fn basic(world: &World, host: &str, store: &Arc<Store>) {
    let store = Arc::clone(store);
    world.host(host, move |request| match request.header("authorization") {
        Some(_) => store.answer(request),
        None => Answer::new(401).with("www-authenticate", "Basic"),
    });
}

/// `mine.example.com`, which alone may see the password, and `other.example.com`.
fn two_registries() -> (World, Arc<Store>, Arc<Store>) {
    let world = World::new();
    world.secret(PASSWORD, &[MINE]);
    let (mine, other) = (Arc::<Store>::default(), Arc::<Store>::default());
    basic(&world, MINE, &mine);
    basic(&world, OTHER, &other);
    (world, mine, other)
}

/// A recipe whose one layer is in a registry.
fn recipe(world: &World, origin: &str, store: &Store) {
    let layer = tar(&[("x", b"base")]);
    store.keep(origin.split_once('/').unwrap().1, "1", &layer);
    let digest = Digest::sha256(&layer);
    let layer = json!({ "digest": digest, "size": layer.len(), "diff_ids": digest, "mediatype": media_type::LAYER_TAR,
        "origin": origin, "History": {} });
    let recipe = json!({ "version": 2, "image-config": {}, "arch": "amd64", "layers": [layer] });
    world.file("image.json", recipe.to_string());
}

/// The authorizations that a host received.
fn authorizations(requests: &[Request], host: &str) -> Vec<String> {
    let sent = requests.iter().filter(|request| request.host == host);
    sent.filter_map(|request| request.header("authorization").map(str::to_owned)).collect()
}

#[test]
fn given_credentials_are_not_sent_to_a_recipe_s_origin() {
    let (world, mine, other) = two_registries();
    recipe(&world, "other.example.com/library/base", &other);
    let target = format!("docker://{MINE}/app:v1");
    for flags in [
        &["--creds", LOGIN][..],
        &["--dest-creds", LOGIN],
        &["--username", "ci", "--password", PASSWORD],
        &["--dest-username", "ci", "--dest-password", PASSWORD],
        &["--registry-token", PASSWORD],
        &["--dest-registry-token", PASSWORD],
    ] {
        let copy = ["copy", "image.json", &target, "--preserve-digests", "--retry-times", "0"];
        world.run(&[&copy, flags].concat()).failure("reading the blob");
        let requests = world.take_requests();
        assert!(requests.iter().any(|request| request.host == OTHER), "{flags:?}: the origin was not asked");
        assert_eq!(authorizations(&requests, OTHER), Vec::<String>::new(), "{flags:?}");
        assert!(!authorizations(&requests, MINE).is_empty(), "{flags:?}: the destination got no credentials");
    }
    // Stored credentials of the origin are its own.
    world.log_in(OTHER, "me:stored-for-other");
    world.secret("stored-for-other", &[OTHER]);
    world.run(&["copy", "image.json", &target, "--preserve-digests", "--creds", LOGIN]).success();
    assert!(mine.has_tag("app", "v1"));
}

#[test]
fn an_origin_in_the_destination_s_registry_gets_stored_credentials_only() {
    let (world, mine, _) = two_registries();
    recipe(&world, "mine.example.com/library/base", &mine);
    // The destination has another user, without access to the base.
    let store = Arc::clone(&mine);
    world.host(MINE, move |request| match request.basic().as_deref() {
        Some("stored:reader") if request.path().starts_with("/v2/library/base/") => store.answer(request),
        Some(LOGIN) if !request.path().starts_with("/v2/library/base/") => store.answer(request),
        _ => Answer::new(401).with("www-authenticate", "Basic"),
    });
    let copy = ["copy", "image.json", "docker://mine.example.com/app:v1", "--preserve-digests", "--dest-creds", LOGIN];
    world.run(&copy).failure("reading the blob");
    world.log_in(MINE, "stored:reader");
    world.run(&copy).success();
}

#[test]
fn credentials_for_two_registries_are_an_error() {
    let (world, mine, other) = two_registries();
    other.keep("app", "1", &tar(&[("x", b"layer")]));
    mine.keep("app", "1", &tar(&[("x", b"layer")]));
    let (from, to) = (format!("docker://{OTHER}/app:1"), format!("docker://{MINE}/copied:1"));
    for flags in
        [&["--creds", LOGIN][..], &["--username", "ci", "--password", PASSWORD], &["--registry-token", PASSWORD]]
    {
        let result = world.run(&[&["copy", &from, &to], flags].concat()).failure("--src-creds and --dest-creds");
        assert!(result.err.contains(flags[0]), "{}", result.err);
        world.run(&[&["diff", &from, &to], flags].concat()).failure("strata login");
        world.run(&[&["sbom", "diff", &from, &to], flags].concat()).failure("strata login");
        world.run(&[&["index", &to, "other.example.com/app:1"], flags].concat()).failure("strata login");
    }
    assert!(world.take_requests().is_empty(), "a request was sent");
    world.secret("for-other", &[OTHER]);
    world.run(&["copy", &from, &to, "--src-creds", "me:for-other", "--dest-creds", LOGIN]).success();
    world.run(&["copy", &from, &to, "--src-creds", "me:for-other", "--creds", LOGIN]).success();
    // Two repositories of one registry, also if one of them names the default port.
    for to in ["docker://mine.example.com/again:1", "docker://mine.example.com:443/again:2"] {
        world.run(&["copy", "docker://mine.example.com/app:1", to, "--creds", LOGIN]).success();
    }
}

#[test]
fn credentials_without_a_registry_are_an_error() {
    let world = World::new();
    let image = layout(&world, "layout", &tar(&[("x", b"layer")]));
    for flag in ["--creds", "--src-creds", "--dest-creds"] {
        world.run(&["copy", &image, "oci:copied:t", flag, LOGIN]).failure(flag);
        world
            .run(&["copy", &image, "oci:copied:t", &flag.replace("creds", "registry-token"), "x"])
            .failure("registry-token");
    }
    world.run(&["inspect", &image, "--creds", LOGIN]).failure("--creds");
    world.run(&["copy", &image, "docker://mine.example.com/app:1", "--src-creds", LOGIN]).failure("--src-creds");
    world
        .run(&["copy", "docker://mine.example.com/app:1", "oci:copied:t", "--dest-creds", LOGIN])
        .failure("--dest-creds");
    world.file("fleet", format!("{image} docker://mine.example.com/app:1\n"));
    world.run(&["copy", "--fleet", "fleet", "--creds", LOGIN]).failure("--creds");
    assert!(world.take_requests().is_empty(), "a request was sent");
}

#[test]
fn a_fleet_sends_given_credentials_to_the_template_s_registry_only() {
    let (world, mine, _) = two_registries();
    let image = layout(&world, "layout", &tar(&[("x", b"layer")]));
    world.file("fleet", format!("{image} docker://{OTHER}/evil:1\n{{\"attr\":\"web\",\"image\":\"{image}\"}}\n"));
    let fleet = ["copy", "--fleet", "fleet", "--to", "docker://mine.example.com/team/{attr}:v1", "--creds", LOGIN];
    world.run(&[&fleet[..], &["--retry-times", "0"]].concat()).failure("these images were not copied");
    assert!(mine.has_tag("team/web", "v1"));
    assert_eq!(authorizations(&world.take_requests(), OTHER), Vec::<String>::new());
    // A host that the image chooses is not one that credentials can be given for.
    world.run(&["copy", "--fleet", "fleet", "--to", "docker://{name}:{tag}", "--creds", LOGIN]).failure("--creds");
}

#[test]
fn mirrors_and_locations_of_registries_conf_do_not_see_given_credentials() {
    let (world, mine, other) = two_registries();
    mine.keep("app", "1", b"layer");
    other.keep("app", "2", b"layer");
    world.file(
        "registries.conf",
        "[[registry]]\nlocation = \"mine.example.com\"\n[[registry.mirror]]\nlocation = \"other.example.com\"\n\
         [[registry]]\nprefix = \"moved.example.com\"\nlocation = \"other.example.com\"\n",
    );
    world.run(&["manifest", "mine.example.com/app:1", "--creds", LOGIN, "--retry-times", "0"]).success();
    world.run(&["manifest", "moved.example.com/app:2", "--creds", LOGIN, "--retry-times", "0"]).failure("401");
    let requests = world.take_requests();
    assert!(requests.iter().filter(|request| request.host == OTHER).count() >= 2);
    assert_eq!(authorizations(&requests, OTHER), Vec::<String>::new());
}

/// A world whose certificates are not trusted by default; the CA is in `certs/ca.crt`.
fn untrusted() -> World {
    let mut world = World::new();
    let authority = text(&world.path("authority.pem"));
    world.file("certs/ca.crt", authority);
    let other = World::new();
    world.file("unrelated.pem", text(&other.path("authority.pem")));
    let unrelated = world.path("unrelated.pem").display().to_string();
    world.set("SSL_CERT_FILE", unrelated);
    world
}

/// `mine.example.com` with a token realm at `other.example.com`.
fn with_realm(world: &World) {
    let store = Arc::<Store>::default();
    store.keep("app", "1", &tar(&[("x", b"layer")]));
    world.host(MINE, move |request| match request.bearer() {
        Some("token") => store.answer(request),
        _ => Answer::new(401)
            .with("www-authenticate", r#"Bearer realm="https://other.example.com/token",service="mine""#),
    });
    world.host(OTHER, |_| Answer::json(200, json!({ "token": "token" })));
}

#[test]
fn tls_settings_of_a_registry_do_not_apply_to_its_token_realm() {
    let world = untrusted();
    with_realm(&world);
    let manifest = ["manifest", "mine.example.com/app:1", "--creds", LOGIN, "--retry-times", "0"];
    for flags in [&["--tls-verify=false"][..], &["--cert-dir", "certs"]] {
        world.run(&[&manifest, flags].concat()).failure("certificate");
    }
    world.file("registries.conf", "[[registry]]\nlocation = \"mine.example.com\"\ninsecure = true\n");
    world.run(&manifest).failure("certificate");
    world.file("home/.config/containers/certs.d/mine.example.com/ca.crt", text(&world.path("certs/ca.crt")));
    world.run(&manifest).failure("certificate");
    let requests = world.take_requests();
    assert!(!requests.is_empty() && requests.iter().all(|request| request.host == MINE), "the realm was asked");
    // The realm's own settings.
    world.file("registries.conf", "[[registry]]\nlocation = \"other.example.com\"\ninsecure = true\n");
    world.run(&manifest).success();
    world.file("registries.conf", "");
    world.run(&manifest).failure("certificate");
    world.file("home/.config/containers/certs.d/other.example.com/ca.crt", text(&world.path("certs/ca.crt")));
    world.run(&manifest).success();
}

#[test]
fn tls_settings_of_a_registry_do_not_apply_to_redirects_mirrors_and_origins() {
    let world = untrusted();
    let store = Arc::<Store>::default();
    let image = tar(&[("x", b"layer")]);
    store.keep("app", "1", &image);
    let served_store = Arc::clone(&store);
    world.host(MINE, move |request| match request.path().split_once("/blobs/sha256:") {
        Some((_, digest)) => Answer::new(307).with("location", &format!("https://other.example.com/blob/{digest}")),
        None => served_store.answer(request),
    });
    world.host(OTHER, |_| Answer::new(200).body("anything"));
    let copy = ["copy", "docker://mine.example.com/app:1", "oci:pulled:t", "--retry-times", "0"];
    for flags in [&["--src-tls-verify=false"][..], &["--tls-verify=false"], &["--src-cert-dir", "certs"]] {
        world.run(&[&copy, flags].concat()).failure("certificate");
        world.run(&[&["manifest", "mine.example.com/app:1"], &["--tls-verify=false"][..]].concat()).success();
    }
    let mirror =
        "[[registry]]\nlocation = \"mine.example.com\"\n[[registry.mirror]]\nlocation = \"other.example.com\"\n";
    world.file("registries.conf", mirror);
    world.run(&["manifest", "mine.example.com/app:1", "--tls-verify=false", "--retry-times", "0"]).success();
    world.file("registries.conf", "");
    recipe(&world, "other.example.com/library/base", &Store::default());
    let push = ["copy", "image.json", "docker://mine.example.com/new:1", "--preserve-digests", "--retry-times", "0"];
    world.run(&[&push, &["--tls-verify=false"][..]].concat()).failure("certificate");
    world.assert_requests_only_to(MINE);
}

#[test]
fn client_certificates_are_presented_to_their_own_host_only() {
    let world = World::new();
    with_realm(&world);
    let (certificate, key) = world.client_certificate();
    for directory in ["own", "home/.config/containers/certs.d/mine.example.com"] {
        world.file(&format!("{directory}/client.cert"), &certificate);
        world.file(&format!("{directory}/client.key"), &key);
    }
    for flags in [&["--cert-dir", "own"][..], &[]] {
        world.run(&[&["manifest", "mine.example.com/app:1"], flags].concat()).success();
        assert!(world.take_requests().iter().any(|request| request.host == OTHER));
        let presented = world.presented();
        assert!(!presented.is_empty() && presented.iter().all(|host| host == MINE), "{presented:?}");
    }
}

#[test]
fn verifying_requests_the_scope_pull_only() {
    let world = World::new();
    let store = Arc::<Store>::default();
    store.keep("app", "1", &tar(&[("x", b"layer")]));
    let realm = r#"Bearer realm="https://mine.example.com/token",service="s",scope="repository:app:pull""#;
    world.host(MINE, move |request| match request.bearer() {
        _ if request.path() == "/token" => Answer::json(200, json!({ "token": "token" })),
        Some("token") => store.answer(request),
        _ => Answer::new(401).with("www-authenticate", realm),
    });
    world.file("key.pub", rcgen::KeyPair::generate().unwrap().public_key_pem());
    let image = "docker://mine.example.com/app:1";
    for command in [&["verify", image, "--key", "key.pub"][..], &["copy", image, "oci:x:t", "--verify-key", "key.pub"]]
    {
        world.run(command).failure("not signed");
        let scopes: Vec<String> = world.take_requests().iter().flat_map(|request| request.query("scope")).collect();
        assert!(!scopes.is_empty() && scopes.iter().all(|scope| scope == "repository:app:pull"), "{scopes:?}");
    }
}
