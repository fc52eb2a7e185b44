//! The way there: mirrors and blocked names of registries.conf (containers-registries.conf(5)), and proxies.

use std::{collections::HashSet, sync::Arc};

use super::{
    store::Store,
    world::{Answer, World},
};

#[test]
fn the_first_mirror_with_the_image_is_used() {
    let world = World::new();
    world.file(
        "registries.conf",
        r#"
        [[registry]]
        location = "docker.io"
        [[registry.mirror]]
        location = "down.example.com"
        [[registry.mirror]]
        location = "mirror.example.com/hub"
        [[registry]]
        location = "blocked.example.com"
        blocked = true
        "#,
    );
    world.secret("password", &["registry-1.docker.io"]);
    world.log_in("https://index.docker.io/v1/", "me:password");
    let (mirror, hub) = (Arc::new(Store::default()), Arc::new(Store::default()));
    mirror.keep("hub/library/hello", "latest", b"layer");
    hub.keep("library/only-there", "latest", b"layer");
    world.host("mirror.example.com", move |request| mirror.answer(request));
    world.host("registry-1.docker.io", move |request| match request.basic() {
        Some(_) => hub.answer(request),
        None => Answer::new(401).with("www-authenticate", "Basic"),
    });
    world.host("down.example.com", |_| Answer::new(404));
    world.run(&["copy", "docker://hello", "oci:pulled:t"]).success();
    let hosts: HashSet<String> = world.take_requests().into_iter().map(|request| request.host).collect();
    assert_eq!(hosts, HashSet::from(["down.example.com", "mirror.example.com"].map(str::to_owned)));
    world.run(&["copy", "docker://only-there", "oci:other:t"]).success();
    world.take_requests();
    world.run(&["manifest", "blocked.example.com/x:1"]).failure("blocks blocked.example.com/x");
    assert!(world.take_requests().is_empty());
}

#[test]
fn hosts_in_no_proxy_are_connected_to_directly() {
    let mut world = World::new();
    world.host("a.example.invalid", |_| Answer::new(404));
    world.set("NO_PROXY", ".example.invalid:443");
    world.run(&["manifest", "a.example.invalid/x:1", "--retry-times", "0"]).failure("");
    assert!(world.take_requests().is_empty());
    world.set("NO_PROXY", "other.invalid,10.0.0.0/8");
    world.run(&["manifest", "a.example.invalid/x:1"]).failure("the registry has no");
    assert!(!world.take_requests().is_empty());
    world.set("HTTPS_PROXY", "ftp://me:secret@proxy");
    let result = world.run(&["manifest", "a.example.invalid/x:1"]).failure("HTTPS_PROXY");
    assert!(!result.err.contains("secret"), "{}", result.err);
}
