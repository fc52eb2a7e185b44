//! Lines of a fleet that cannot be copied, and the journal: the other lines are copied, and each has one record.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    store::{Store, layout},
    world::World,
};

const HOST: &str = "registry.example.com";
const COPY: [&str; 5] = ["copy", "--fleet", "fleet", "--journal", "journal"];

fn world() -> (World, Arc<Store>) {
    let world = World::new();
    let store = Arc::new(Store::default());
    let answers = Arc::clone(&store);
    world.host(HOST, move |request| answers.answer(request));
    (world, store)
}

fn line(world: &World, attr: &str, layer: &str, name: &str) -> String {
    let image = layout(world, layer, layer.as_bytes());
    json!({ "attr": attr, "image": image, "destination": format!("docker://{HOST}/{name}") }).to_string()
}

/// nix-eval-jobs writes such lines for derivations without an output `out`.
#[test]
fn a_job_without_an_image_fails_alone() {
    let (world, store) = world();
    let bin = r#"{"attr":"bin","outputs":{"bin":"/nix/store/x"}}"#;
    let null = r#"{"attr":"null","outputs":{"out":null}}"#;
    let fleet = [bin, null, &line(&world, "good", "layer", "good:1")].join("\n");
    world.file("fleet", fleet);
    let result = world.run(&COPY);
    assert_eq!(result.code, Some(1), "{}", result.err);
    assert!(result.err.contains("bin: it has neither outputs.out nor image"), "{}", result.err);
    assert!(result.err.contains("these images were not copied: bin, null"), "{}", result.err);
    assert!(store.has_tag("good", "1"));
}

#[test]
fn two_images_cannot_have_one_destination() {
    let (world, store) = world();
    let lines = [
        ("first", "one", "app"),
        ("same", "one", "app:latest"),
        ("other", "two", "app:latest"),
        ("good", "two", "app:2"),
    ];
    let lines = lines.map(|(attr, layer, name)| line(&world, attr, layer, name));
    world.file("fleet", lines.join("\n"));
    for part in ["1/2", "2/2"] {
        let result = world.run(&[&COPY[..], &["--shard", part]].concat());
        assert_eq!(result.code, Some(1), "{}", result.err);
        let why = format!(
            "other: docker://{HOST}/app:latest is the destination of another image, first; give it another name"
        );
        assert!(result.err.contains(&why), "{}", result.err);
        assert!(result.err.contains("these images were not copied: other\n"), "{}", result.err);
    }
    let digest = |tag: &str| store.manifests.lock().unwrap()[&("app".to_owned(), tag.to_owned())].1.clone();
    assert_ne!(digest("latest"), digest("2"));
}

#[test]
fn the_journal_has_whole_lines() {
    let (world, store) = world();
    world.file("fleet", line(&world, "good", "layer", "good:1"));
    // A run that was killed has left half a line.
    world.file("journal", "{\"attr\":\"old\"}\n{\"attr\":");
    world.run(&COPY).success();
    world.run(&COPY).success();
    let journal = std::fs::read_to_string(world.path("journal")).unwrap();
    let lines: Vec<&str> = journal.lines().collect();
    assert_eq!(lines[..2], ["{\"attr\":\"old\"}", "{\"attr\":"]);
    let records: Vec<Value> = lines[2..].iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.iter().map(|record| &record["attr"]).collect::<Vec<_>>(), ["good", "good"]);
    assert!(journal.ends_with('\n') && store.has_tag("good", "1"));
}

#[test]
fn a_journal_that_cannot_be_written_is_an_error_before_anything_is_sent() {
    let (world, _) = world();
    world.file("fleet", line(&world, "good", "layer", "good:1"));
    world
        .run(&["copy", "--fleet", "fleet", "--journal", "missing/journal"])
        .failure("opening the journal missing/journal");
    assert!(world.take_requests().is_empty());
}
