//! `--platform`, for images that are for one platform.

use serde_json::json;

use crate::world::World;

/// A recipe is for one platform as an archive is, although no manifest has to be chosen.
#[test]
fn a_recipe_for_another_platform_is_refused() {
    let world = World::new();
    world.program("podman", "exit 0");
    let recipe = json!({ "version": 2, "image-config": {}, "arch": "amd64", "layers": [] });
    world.file("image.json", recipe.to_string());
    world.file("tests.yaml", "schemaVersion: 2.0.0\nfileExistenceTests: [{ name: x, path: /x, shouldExist: false }]\n");
    let other = ["--platform", "linux/arm64"];
    for arguments in [
        [&["check", "image.json", "tests.yaml"][..], &other].concat(),
        [&["check", "image.json", "tests.yaml", "--engine", "podman"][..], &other].concat(),
        [&["compose-mounts", "image.json", "--service", "x", "--engine", "podman"][..], &other].concat(),
        [&["run", "--engine", "podman"][..], &other, &["image.json"]].concat(),
        [&["run", "--engine", "podman", "image.json", "-i"][..], &other].concat(),
        [&["inspect", "image.json"][..], &other].concat(),
    ] {
        let message = world.run(&arguments).failure("no image matches").err;
        assert!(message.contains("no image matches linux/arm64"), "{arguments:?}: {message}");
    }
    world.run(&["check", "image.json", "tests.yaml", "--platform", "linux/amd64"]).success();
}
