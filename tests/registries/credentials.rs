//! The sources of credentials, and the hosts that receive them (containers-auth.json(5); docker/cli, cli/config/configfile).

use std::sync::Arc;

use super::{
    store::{Store, Tokens, with_tokens},
    world::{Answer, World, on_loopback, text},
};

const HOST: &str = "registry.example.com";

/// Adds a registry that requires Basic authentication and accepts all users.
fn basic(world: &World) {
    world.secret("password", &[HOST]);
    let store = Store::default();
    store.keep("app", "1", b"layer");
    world.host(HOST, move |request| match request.basic() {
        Some(_) => store.answer(request),
        None => Answer::new(401).with("www-authenticate", "Basic"),
    });
}

/// Returns the user that a pull authenticates as.
fn sent_user(world: &World) -> Option<String> {
    world.take_requests();
    world.run(&["manifest", "registry.example.com/app:1"]);
    world
        .take_requests()
        .iter()
        .find_map(super::world::Request::basic)
        .map(|login| login.split(':').next().unwrap().to_owned())
}

fn auths(user: &str) -> String {
    let auth = data_encoding::BASE64.encode(format!("{user}:password").as_bytes());
    format!(r#"{{"auths":{{"{HOST}":{{"auth":"{auth}"}}}}}}"#)
}

#[test]
fn credential_files_are_read_in_the_order_of_containers_auth_json() {
    let mut world = World::new();
    basic(&world);
    assert_eq!(sent_user(&world), None);
    let auth = data_encoding::BASE64.encode(b"dockercfg:password");
    world.file("home/.dockercfg", format!(r#"{{"https://{HOST}/v1/":{{"auth":"{auth}"}}}}"#));
    assert_eq!(sent_user(&world).as_deref(), Some("dockercfg"));
    world.file("home/.docker/config.json", auths("docker"));
    assert_eq!(sent_user(&world).as_deref(), Some("docker"));
    world.file("home/.config/containers/auth.json", auths("config"));
    assert_eq!(sent_user(&world).as_deref(), Some("config"));
    world.file("run/containers/auth.json", auths("run"));
    assert_eq!(sent_user(&world).as_deref(), Some("run"));
    let named_file = world.file("named.json", auths("named"));
    world.set("REGISTRY_AUTH_FILE", named_file.to_str().unwrap());
    assert_eq!(sent_user(&world).as_deref(), Some("named"));
    world.file("empty.json", r#"{"auths":{}}"#);
    world.set("REGISTRY_AUTH_FILE", world.path("empty.json").to_str().unwrap());
    assert_eq!(sent_user(&world).as_deref(), Some("config"), "a file without the host leads on");
}

#[test]
fn credential_helpers_precede_stored_credentials() {
    let world = World::new();
    basic(&world);
    let auth = data_encoding::BASE64.encode(b"file:password");
    let config = |more: &str| format!(r#"{{"auths":{{"{HOST}":{{"auth":"{auth}"}}}},{more}}}"#);
    world
        .file("home/.docker/config.json", config(&format!(r#""credsStore":"store","credHelpers":{{"{HOST}":"own"}}"#)));
    world.program("docker-credential-own", r#"cat >/dev/null; echo '{"Username":"own","Secret":"password"}'"#);
    world.program("docker-credential-store", r#"cat >/dev/null; echo '{"Username":"store","Secret":"password"}'"#);
    assert_eq!(sent_user(&world).as_deref(), Some("own"));
    world.file("home/.docker/config.json", config(r#""credsStore":"store""#));
    assert_eq!(sent_user(&world).as_deref(), Some("store"));
    // A helper without credentials for the host is not a failure (docker-credential-helpers, credentials/error.go).
    world.program("docker-credential-store", "echo 'credentials not found in native keychain'; exit 1");
    assert_eq!(sent_user(&world).as_deref(), Some("file"));
    // The error names the helper that failed, and no anonymous request is sent.
    world.program("docker-credential-store", "echo 'the keychain is locked' >&2; exit 1");
    let result = world.run(&["manifest", "registry.example.com/app:1"]).failure("the keychain is locked");
    assert!(result.err.contains("docker-credential-store") && result.err.contains("config.json"), "{}", result.err);
    world.file("home/.docker/config.json", config(r#""credsStore":"gone""#));
    world.run(&["manifest", "registry.example.com/app:1"]).failure("docker-credential-gone");
}

#[test]
fn a_malformed_credentials_file_is_an_error() {
    let world = World::new();
    basic(&world);
    world.file("run/containers/auth.json", r#"{"auths":{"#);
    world.take_requests();
    world.run(&["manifest", "registry.example.com/app:1"]).failure("run/containers/auth.json");
    assert!(world.take_requests().is_empty());
}

#[test]
fn refresh_tokens_are_for_the_first_realm() {
    let world = World::new();
    let store = Arc::new(Store::default());
    store.keep("app", "1", b"layer");
    let tokens = Tokens::new(HOST, "https://auth.example.com/token", "s", None);
    with_tokens(&world, HOST, "auth.example.com", &tokens, &store);
    world.secret("refresh-me", &["auth.example.com"]);
    world.file("home/.docker/config.json", format!(r#"{{"auths":{{"{HOST}":{{"identitytoken":"refresh-me"}}}}}}"#));
    let giver = Arc::clone(&tokens);
    world.host("auth.example.com", move |request| {
        // https://distribution.github.io/distribution/spec/auth/oauth/
        if request.method != "POST"
            || request.form("grant_type") != ["refresh_token"]
            || request.form("refresh_token") != ["refresh-me"]
        {
            return Answer::new(401);
        }
        giver.grant(request.form("scope").iter().flat_map(|scope| scope.split(' ').map(str::to_owned)).collect())
    });
    world.run(&["copy", "docker://registry.example.com/app:1", "oci:pulled:t"]).success();
    // A registry that names another realm in the middle of it.
    let served_tokens = Arc::clone(&tokens);
    world.host(HOST, move |request| {
        let evil = r#"Bearer realm="https://evil.example/token",service="s""#;
        match served_tokens.check(request) {
            Some(challenge) => challenge,
            None if request.path().contains("/blobs/") => Answer::new(401).with("www-authenticate", evil),
            None => store.answer(request),
        }
    });
    world.run(&["copy", "docker://registry.example.com/app:1", "oci:again:t"]).failure("https://evil.example");
    // Nor does a realm pass it on.
    world.host("auth.example.com", |_| Answer::new(307).with("location", "https://evil.example/token"));
    world.host(HOST, move |request| tokens.check(request).unwrap_or_else(|| Answer::new(500)));
    world
        .run(&["copy", "docker://registry.example.com/app:1", "oci:more:t"])
        .failure("redirects a request with credentials to https://evil.example");
}

#[test]
fn credentials_are_not_sent_after_a_redirect_to_http() {
    let world = World::new();
    world.secret("password", &[HOST]);
    world.log_in(HOST, "me:password");
    world.host(HOST, |_| {
        Answer::new(401).with("www-authenticate", r#"Bearer realm="http://auth.example.com/token",service="s""#)
    });
    world.run(&["manifest", "registry.example.com/app:1"]).failure("without TLS");
    world.host(HOST, |_| Answer::new(302).with("location", "http://registry.example.com/other"));
    world.run(&["manifest", "registry.example.com/app:1"]).failure("without TLS");
    world.assert_requests_only_to(HOST);
}

#[test]
fn redirects_within_a_host_keep_credentials() {
    let world = World::new();
    world.secret("password", &[HOST]);
    world.log_in(HOST, "me:password");
    let store = Store::default();
    store.keep("app", "1", b"layer");
    world.host(HOST, move |request| match request.basic() {
        None => Answer::new(401).with("www-authenticate", "Basic"),
        Some(_) if request.path() == "/v2/app/manifests/1" => {
            Answer::new(308).with("location", "https://registry.example.com:443/v2/app/manifests/moved")
        }
        Some(_) if request.path().ends_with("/moved") => {
            let (manifest, _) = super::store::image(b"layer");
            Answer::new(200)
                .with("content-type", strata::internals::oci::descriptor::media_type::MANIFEST)
                .body(manifest)
        }
        Some(_) => store.answer(request),
    });
    world.run(&["manifest", "registry.example.com/app:1"]).success();
}

#[test]
fn a_registry_token_is_sent_to_the_registry_only() {
    let world = World::new();
    world.secret("bearer-by-hand", &[HOST]);
    let store = Store::default();
    store.keep("app", "1", b"layer");
    world.host(HOST, move |request| match request.bearer() {
        Some("bearer-by-hand") => store.answer(request),
        _ => Answer::new(401).with("www-authenticate", r#"Bearer realm="https://auth.example.com/t",service="s""#),
    });
    let from = "docker://registry.example.com/app:1";
    world.run(&["copy", from, "oci:pulled:t", "--src-registry-token", "bearer-by-hand"]).success();
    world.run(&["copy", from, "oci:again:t", "--src-registry-token", "bad"]).failure("401");
}

#[test]
fn login_and_logout_write_the_file_of_docker() {
    let world = World::new();
    basic(&world);
    world.file("home/.docker/config.json", r#"{"currentContext":"default","auths":{"other.io":{"auth":"YTpi"}}}"#);
    let login = |arguments: &[&str], input: &str| {
        use std::io::Write;
        let mut command = world.command(arguments);
        command
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        super::world::ProcessResult::from_output(child.wait_with_output().unwrap())
    };
    login(&["login", HOST, "--username", "me", "--password-stdin"], "password\n").success();
    let written: serde_json::Value = serde_json::from_str(&text(&world.path("home/.docker/config.json"))).unwrap();
    assert_eq!(written["auths"][HOST]["auth"], data_encoding::BASE64.encode(b"me:password"));
    assert_eq!(
        (&written["currentContext"], &written["auths"]["other.io"]["auth"]),
        (&"default".into(), &"YTpi".into())
    );
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(world.path("home/.docker/config.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(sent_user(&world).as_deref(), Some("me"));
    world.run(&["logout", HOST]).success();
    assert_eq!(sent_user(&world), None);
    world.run(&["logout", HOST]).failure("not logged in");
    // A helper keeps it, where one is named.
    world.file("home/.docker/config.json", r#"{"credsStore":"store"}"#);
    world.program(
        "docker-credential-store",
        &format!(
            "cat >{0}/$1; [ $1 = get ] && echo '{{\"Username\":\"kept\",\"Secret\":\"password\"}}'; exit 0",
            world.folder.path().display()
        ),
    );
    login(&["login", HOST, "--username", "me", "--password-stdin"], "password").success();
    assert_eq!(text(&world.path("store")), format!(r#"{{"ServerURL":"{HOST}","Username":"me","Secret":"password"}}"#));
    assert!(!text(&world.path("home/.docker/config.json")).contains("cGFzc3dvcmQ"));
}

#[test]
fn loopback_registries_are_reached_without_tls_and_proxy() {
    let world = World::new();
    let store = Store::default();
    store.keep("app", "1", b"layer");
    let host = on_loopback(move |request| store.answer(request));
    world.run(&["manifest", &format!("{host}/app:1")]).success();
    assert!(world.take_requests().is_empty());
    // A host whose name only begins with the name is another host.
    world.run(&["manifest", "127.evil.invalid/app:1"]).failure("");
    world.assert_requests_only_to("127.evil.invalid");
}

/// The watch of all these tests: a password at a host that it does not belong to is seen.
#[test]
fn leaked_secrets_are_detected() {
    let world = World::new();
    basic(&world);
    world.log_in(HOST, "me:password");
    world.run(&["manifest", "registry.example.com/app:1"]).success();
    assert_eq!(world.leaks(), Vec::<String>::new());
    world.secret("password", &["other.example.com"]);
    world.run(&["manifest", "registry.example.com/app:1"]).success();
    assert!(!world.leaks().is_empty());
}
