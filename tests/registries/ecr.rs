//! Amazon's registry asks for Basic, and its user is always AWS
//! (docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html); a `credHelpers` entry `ecr-login` gives the
//! password (github.com/awslabs/amazon-ecr-credential-helper). Layers come from S3 by redirect, whose signature is for
//! GET alone: HEAD there is 403.

use std::sync::Arc;

use super::{
    store::{Store, layout},
    world::{Answer, World},
};

const HOST: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
const S3: &str = "prod-eu-central-1-starport-layer-bucket.s3.eu-central-1.amazonaws.com";

#[test]
fn passwords_of_the_credential_helper_are_not_sent_to_s3() {
    let world = World::new();
    let store = Arc::new(Store::default());
    world.secret("ecr-password", &[HOST]);
    let served_store = Arc::clone(&store);
    world.host(HOST, move |request| {
        if request.basic().as_deref() != Some("AWS:ecr-password") {
            return Answer::new(401)
                .with("www-authenticate", &format!(r#"Basic realm="https://{HOST}/",service="ecr.amazonaws.com""#));
        }
        match served_store.answer(request) {
            found if found.status == 200 && request.path().contains("/blobs/") => {
                Answer::new(307).with("location", &format!("https://{S3}{}?X-Amz-Signature=x", request.path()))
            }
            answer => answer,
        }
    });
    let served_store = Arc::clone(&store);
    world
        .host(S3, move |request| if request.method == "GET" { served_store.answer(request) } else { Answer::new(403) });
    world.file("home/.docker/config.json", format!(r#"{{"credHelpers":{{"{HOST}":"ecr-login"}}}}"#));
    world.program(
        "docker-credential-ecr-login",
        &format!(
            r#"read server; [ "$1 $server" = "get {HOST}" ] && echo '{{"Username":"AWS","Secret":"ecr-password"}}'"#
        ),
    );
    let image = layout(&world, "image", b"layer");
    let target = format!("docker://{HOST}/app:1");
    world.run(&["copy", &image, &target]).success();
    world.run(&["copy", &target, "oci:pulled:t"]).success();
    world.take_requests();
    // S3 responds 403 to HEAD for a blob that exists.
    world.run(&["copy", &image, &target]).success();
    let requests = world.take_requests();
    assert!(!requests.is_empty() && requests.iter().all(|request| request.method != "POST"), "{requests:?}");
}
