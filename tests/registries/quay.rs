//! Quay's challenge names its scope, and has commas in a quoted value; it answers 401, not 404, for repositories that need a
//! login (docs.quay.io/api; github.com/quay/quay, endpoints/v2/v2auth.py). Its error pages are text with
//! colours when something is wrong: none of it reaches a terminal.

use std::sync::Arc;

use super::{
    store::{Store, Tokens, with_tokens},
    world::{Answer, World},
};

#[test]
fn the_longest_path_of_containers_file_logs_in() {
    let world = World::new();
    let store = Arc::new(Store::default());
    let tokens = Tokens::new("quay.io", "https://quay.io/v2/auth?account=a,b", "quay.io", Some("team+robot:TOKEN42"));
    with_tokens(&world, "quay.io", "quay.io", &tokens, &store);
    store.keep("team/app", "1", b"layer");
    // user:password for the host, team+robot:TOKEN42 for the team.
    let auths =
        r#"{"auths":{"quay.io":{"auth":"dXNlcjpwYXNzd29yZA=="},"quay.io/team":{"auth":"dGVhbStyb2JvdDpUT0tFTjQy"}}}"#;
    world.file("run/containers/auth.json", auths);
    world.run(&["copy", "docker://quay.io/team/app:1", "oci:pulled:t"]).success();
}

#[test]
fn control_characters_in_messages_of_a_registry_are_escaped() {
    let world = World::new();
    world.host("quay.io", |_| Answer::error(403, "DENIED", "\u{1b}[2J\u{1b}]0;you are root\u{7}no"));
    let result = world.run(&["copy", "docker://quay.io/team/app:1", "oci:pulled:t"]).failure("DENIED");
    assert!(!result.err.contains(['\u{1b}', '\u{7}']), "{:?}", result.err);
}
