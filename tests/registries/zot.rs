//! zot requires Basic authentication, has the referrers API, and sends `OCI-Subject`
//! (zotregistry.dev, "User Authentication and Authorization"; project-zot/zot, pkg/api/routes.go).

use std::sync::Arc;

use super::{
    store::{Store, layout},
    world::{Answer, World},
};

#[test]
fn zot_with_basic_authentication_accepts_a_push() {
    let world = World::new();
    let host = "zot.example.com:5000";
    let store = Arc::new(Store { referrers: true, ..Store::default() });
    world.secret("zot-secret", &[host]);
    let served_store = Arc::clone(&store);
    world.host(host, move |request| match request.basic().as_deref() {
        Some("me:zot-secret") => served_store.answer(request),
        _ => Answer::error(401, "UNAUTHORIZED", "authentication required")
            .with("www-authenticate", r#"Basic realm="zot""#),
    });
    world.log_in(host, "me:zot-secret");
    let image = layout(&world, "image", b"layer");
    world.run(&["copy", &image, "docker://zot.example.com:5000/app:1"]).success();
    assert!(store.has_tag("app", "1"));
}
