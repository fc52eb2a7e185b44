//! Proxies that the user's environment names: nothing goes around them, and their passwords go to them only.

use std::sync::Arc;

use data_encoding::BASE64;

use crate::{
    images::tar,
    store::Store,
    world::{Answer, Request, World},
};

const HOST: &str = "registry.example.com";
/// The password as it is written in a URL, and decoded.
const LOGIN: (&str, &str) = ("m%65:p%40ss%2Fw%3Aord@", "me:p@ss/w:ord");

/// A registry with one image, and no variable that names a proxy.
fn world() -> World {
    let mut world = World::new();
    let store = Arc::<Store>::default();
    store.keep("app", "1", &tar(&[("x", b"layer")]));
    world.host(HOST, move |request| match request.basic() {
        Some(_) => store.answer(request),
        None => Answer::new(401).with("www-authenticate", "Basic"),
    });
    world.log_in(HOST, "me:registry-password");
    world.secret("registry-password", &[HOST]);
    world.secret(LOGIN.1, &[]);
    world.set("HTTPS_PROXY", "");
    world.set("HTTP_PROXY", "");
    world
}

const COPY: [&str; 5] = ["copy", "docker://registry.example.com/app:1", "oci:pulled:t", "--retry-times", "0"];

#[test]
fn socks5_proxies_are_used_with_their_password_and_resolve_names() {
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        for scheme in ["socks5", "socks5h", "socks"] {
            let mut world = world();
            let proxy = world.proxy(scheme, LOGIN.0);
            world.set(variable, proxy);
            world.run(&COPY).success();
            world.assert_requests_only_to(HOST);
            let proxied = world.proxied();
            assert!(proxied.contains(&LOGIN.1.to_owned()), "{variable} {scheme}: {proxied:?}");
            assert!(proxied.contains(&format!("socks {HOST}:443")), "{variable} {scheme}: {proxied:?}");
        }
    }
}

#[test]
fn socks5_proxies_without_a_password_are_used() {
    let mut world = world();
    let proxy = world.proxy("socks5", "");
    world.set("ALL_PROXY", proxy);
    world.run(&COPY).success();
    let proxied = world.proxied();
    assert!(!proxied.is_empty() && proxied.iter().all(|line| *line == format!("socks {HOST}:443")), "{proxied:?}");
}

#[test]
fn no_proxy_applies_to_socks_proxies() {
    let mut world = world();
    let proxy = world.proxy("socks5", "");
    world.set("ALL_PROXY", proxy);
    world.set("NO_PROXY", "registry.example.com");
    world.run(&COPY).failure("registry.example.com");
    assert_eq!(world.proxied(), Vec::<String>::new());
}

#[test]
fn proxies_of_other_kinds_are_refused_without_a_request() {
    for url in ["ftp://", "socks6://", "socks4://me:secret@", "socks4a://me:secret@", "quic://"] {
        let mut world = world();
        let proxy = world.proxy(url.split("://").next().unwrap(), url.split("://").nth(1).unwrap());
        world.set("HTTPS_PROXY", proxy);
        let result = world.run(&COPY).failure("HTTPS_PROXY");
        assert!(!result.err.contains("secret"), "{}", result.err);
        assert!(world.take_requests().is_empty() && world.proxied().is_empty(), "{url}");
    }
}

#[test]
fn a_socks_proxy_that_refuses_is_not_bypassed() {
    let mut world = world();
    // No process listens on this port.
    world.set("ALL_PROXY", "socks5://127.0.0.1:9");
    world.set("SSL_CERT_FILE", world.path("authority.pem").display().to_string());
    // The address of the registry, which the machine cannot resolve, would be another error.
    let result = world.run(&COPY).failure("registry.example.com");
    assert!(result.err.contains("Connection refused"), "{}", result.err);
    assert!(world.take_requests().is_empty());
}

/// RFC 9112, 3.2.2: a request without TLS has the absolute form; CONNECT is for tunnels.
#[test]
fn http_requests_to_a_proxy_have_the_absolute_form() {
    let mut world = world();
    world.file("registries.conf", "[[registry]]\nlocation = \"registry.example.com:80\"\ninsecure = true\n");
    let store = Arc::<Store>::default();
    store.keep("app", "1", &tar(&[("x", b"layer")]));
    let served_store = Arc::clone(&store);
    world.host("registry.example.com", move |request| {
        assert!(request.header("host").is_some_and(|host| host.starts_with("registry.example.com")));
        served_store.answer(request)
    });
    let proxy = world.proxy("http", LOGIN.0);
    world.set("HTTP_PROXY", proxy);
    world.run(&["copy", "docker://registry.example.com:80/app:1", "oci:pulled:t", "--retry-times", "0"]).success();
    world.run(&["copy", "oci:pulled:t", "docker://registry.example.com:80/pushed:1", "--retry-times", "0"]).success();
    assert!(store.has_tag("pushed", "1"));
    let requests = world.take_requests();
    assert!(requests.iter().any(|request: &Request| request.method == "PUT"));
    let basic = format!("Basic {}", BASE64.encode(LOGIN.1.as_bytes()));
    let proxied = world.proxied();
    assert_eq!(proxied.len(), requests.len(), "each request has the proxy's credentials once");
    assert!(proxied.iter().all(|line| *line == basic), "{proxied:?}");
}

#[test]
fn https_goes_through_a_tunnel_that_alone_has_the_proxy_s_password() {
    let mut world = world();
    let proxy = world.proxy("http", LOGIN.0);
    world.set("HTTPS_PROXY", proxy);
    world.run(&COPY).success();
    let requests = world.take_requests();
    assert!(!requests.is_empty() && requests.iter().all(|request| request.header("proxy-authorization").is_none()));
    assert!(!world.proxied().is_empty());
}
