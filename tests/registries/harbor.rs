//! Harbor gives `token` and `access_token` both, at `/service/token` of its own host, for the service
//! `harbor-registry`; robots are called `robot$project+name` (goharbor.io/docs, "Create Robot Accounts"; goharbor/harbor,
//! src/core/service/token/creator.go). It may offer Basic and Bearer.

use std::sync::Arc;

use super::{
    store::{Store, Tokens, layout, with_tokens},
    world::World,
};

#[test]
fn robot_accounts_push_with_bearer_tokens_instead_of_basic() {
    let world = World::new();
    let host = "harbor.example.com";
    let store = Arc::new(Store { referrers: true, ..Store::default() });
    let tokens =
        Tokens::new(host, "https://harbor.example.com/service/token", "harbor-registry", Some("robot$p+ci:secret0"));
    with_tokens(&world, host, host, &tokens, &store);
    let served_store = Arc::clone(&store);
    world.host(host, move |request| match request.path() {
        "/service/token" => tokens.give(request),
        _ => match tokens.check(request) {
            Some(mut challenge) => {
                challenge
                    .headers
                    .insert(0, ("www-authenticate".to_owned(), r#"Basic realm="harbor, here""#.to_owned()));
                challenge
            }
            None => served_store.answer(request),
        },
    });
    let image = layout(&world, "image", b"layer");
    world.run(&["copy", &image, "docker://harbor.example.com/p/app:1", "--dest-creds", "robot$p+ci:secret0"]).success();
    assert!(store.has_tag("p/app", "1"));
    for request in world.take_requests() {
        assert!(request.path() == "/service/token" || request.basic().is_none(), "{request:?}");
    }
}
