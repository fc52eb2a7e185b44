//! `copy --fleet --to TEMPLATE` with names that evaluations and images choose, and registries that the user has blocked.

use serde_json::json;

use crate::{
    images::tar,
    store::layout,
    world::{Answer, World},
};

#[test]
fn an_attribute_does_not_leave_the_directory_of_the_template() {
    let world = World::new();
    let image = layout(&world, "layout", &tar(&[("x", b"layer")]));
    for attr in ["../escaped", "a/../../escaped", "/escaped", "..", "", "escaped:tag", "escaped\u{1b}[31m"] {
        let line = json!({ "attr": attr, "image": image });
        world.file("fleet", format!("{line}\n"));
        world.run(&["copy", "--fleet", "fleet", "--to", "oci:out/inner/{attr}"]).failure("{attr} is");
        assert!(!world.path("out").exists(), "{attr:?} is written");
    }
    world.file("fleet", format!("{}\n", json!({ "attr": "web.x86", "image": image })));
    world.run(&["copy", "--fleet", "fleet", "--to", "oci:out/inner/{attr}"]).success();
    assert!(world.path("out/inner/web.x86/index.json").exists());
}

#[test]
fn a_fleet_sends_nothing_to_a_blocked_registry() {
    let world = World::new();
    let image = layout(&world, "layout", &tar(&[("x", b"layer")]));
    world.file("registries.conf", "[[registry]]\nlocation = \"blocked.example.com\"\nblocked = true\n[[registry]]\nlocation = \"docker.io\"\nblocked = true\n");
    for host in ["blocked.example.com", "docker.io", "registry-1.docker.io", "index.docker.io"] {
        world.host(host, |_| Answer::new(404));
        for line in [json!({ "attr": "web", "image": image }).to_string(), format!("{image} docker://{host}/web:v1")] {
            world.file("fleet", format!("{line}\n"));
            let to = format!("docker://{host}/{{attr}}:v1");
            let arguments = ["copy", "--fleet", "fleet", "--to", &to, "--retry-times", "0"];
            world.run(&arguments).failure("blocks");
            assert!(world.take_requests().is_empty(), "{host} is asked");
        }
    }
}

#[test]
fn flags_of_a_fleet_are_refused_before_layers_are_made() {
    let world = World::new();
    let image = layout(&world, "layout", &tar(&[("x", b"layer")]));
    world.file("fleet", format!("{}\n", json!({ "attr": "web", "image": image })));
    // A pipe would be read for the first image alone.
    let arguments = ["copy", "--fleet", "fleet", "--to", "docker://localhost:1/{attr}", "--vex", "/dev/null"];
    world.run(&arguments).failure("--vex /dev/null: a fleet reads it for each image");
    let arguments = ["copy", "--fleet", "fleet", "--to", "oci:out/{attr}", "--also", "zstd:chunked"];
    world.run(&arguments).failure("--also is for destinations that are registries");
    assert!(!world.path("out").exists());
}
