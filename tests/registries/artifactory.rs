//! Artifactory: an upload's `Location` is absolute, with `:443` in it (jfrog.com/help, "Docker reverse proxy": the base
//! URL of the proxy), old ones answer 411 to a PATCH without a length (RTFACT-14293), and 200 to a PUT. `Basic` alone,
//! with values that are not quoted.

use std::sync::Arc;

use super::{
    store::{Store, big, layout},
    world::{Answer, World},
};

#[test]
fn uploads_follow_artifactorys_locations_with_a_length() {
    let world = World::new();
    let host = "acme.jfrog.io";
    let store = Arc::new(Store::default());
    world.secret("artifactory-key", &[host]);
    let served_store = Arc::clone(&store);
    world.host(host, move |request| {
        if request.basic().as_deref() != Some("me:artifactory-key") {
            return Answer::new(401).with("WWW-Authenticate", "Basic realm=Artifactory");
        }
        if request.method == "PATCH" && request.header("content-length").is_none() {
            return Answer::new(411);
        }
        let mut answer = served_store.answer(request);
        for (name, value) in &mut answer.headers {
            if name == "location" {
                *value = format!("https://{host}:443{value}");
            }
        }
        if request.method == "PUT" && answer.status == 201 {
            answer.status = 200;
        }
        answer
    });
    let image = layout(&world, "image", &big());
    world.run(&["copy", &image, "docker://acme.jfrog.io/docker/app:1", "--creds", "me:artifactory-key"]).success();
    assert!(store.has_tag("docker/app", "1"));
}
