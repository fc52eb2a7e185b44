//! GitLab: the registry and its token server are two hosts (docs.gitlab.com/administration/packages/
//! container_registry; `realm="https://gitlab.example.com/jwt/auth"`), and the registry's host does not receive the credentials. A
//! mount from a project without access is refused by the token, and the blob is uploaded.

use std::{collections::HashSet, sync::Arc};

use super::{
    store::{Store, Tokens, layout, with_tokens},
    world::{Answer, World},
};

#[test]
fn a_refused_mount_is_followed_by_an_upload() {
    let world = World::new();
    let (host, realm) = ("registry.example.com", "gitlab.example.com");
    let store = Arc::new(Store { mounts: true, ..Store::default() });
    store.keep("other/secret", "1", b"layer");
    let tokens =
        Tokens::new(host, "https://gitlab.example.com/jwt/auth", "container_registry", Some("gitlab-ci-token:job"));
    with_tokens(&world, host, realm, &tokens, &store);
    let giver = Arc::clone(&tokens);
    // A token with fewer actions than the request has.
    world.host(realm, move |request| {
        if request.basic().as_deref() != Some("gitlab-ci-token:job") {
            return Answer::error(401, "UNAUTHORIZED", "HTTP Basic: Access denied");
        }
        let scopes: HashSet<String> =
            request.query("scope").into_iter().filter(|scope| !scope.contains("other/secret")).collect();
        giver.grant(scopes)
    });
    let image = layout(&world, "image", b"layer");
    let target = "docker://registry.example.com/group/app:1";
    let copy = ["copy", &image, target, "--mount-from", "other/secret", "--creds", "gitlab-ci-token:job"];
    world.run(&copy).success();
    assert!(store.has_tag("group/app", "1"));
}
