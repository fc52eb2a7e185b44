//! Layers that zstd:chunked cannot describe are pushed and served without a table of contents, with a warning.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    sync::Arc,
};

use super::{
    store::{Store, layout},
    world::World,
};
use serde_json::Value;

/// A tar with two entries of this name.
fn twice(name: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for content in ["1", "2"] {
        let mut header = tar::Header::new_ustar();
        header.set_size(1);
        header.set_mode(0o644);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_device_major(0).unwrap();
        header.set_device_minor(0).unwrap();
        tar.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

const WARNING: &str = "layer 1 has no zstd:chunked table of contents, and is pulled whole: its tar has";

#[test]
fn a_push_warns_of_layers_without_a_table_of_contents() {
    let world = World::new();
    let store = Arc::new(Store::default());
    let shared = Arc::clone(&store);
    world.host("registry.example.com", move |request| shared.answer(request));
    let image = layout(&world, "image", &twice("file"));
    let copy = |to: &str, compression: &str| world.run(&["copy", &image, to, "--compression", compression]).success();
    let to = "docker://registry.example.com/app:1";
    let messages = copy(to, "zstd:chunked").err;
    assert!(
        messages.contains(&format!("{WARNING} the name \"file\" twice; compress with zstd, or change")),
        "{messages}"
    );
    // The layer's blob is in the cache then.
    let messages = copy("docker://registry.example.com/app:2", "zstd:chunked").err;
    assert!(messages.contains(&format!("{WARNING} entries that the format cannot describe")), "{messages}");
    assert!(!copy("docker://registry.example.com/app:3", "zstd").err.contains("table of contents"));
    let manifest = world.run(&["manifest", to]).success().out;
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let layer = &manifest["layers"][0];
    assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
    assert_eq!(layer.get("annotations"), None);
}

#[test]
fn serve_warns_of_layers_without_a_table_of_contents() {
    let world = World::new();
    let image = layout(&world, "image", &twice("file"));
    let serve = ["serve", "--chunked", "--listen", "127.0.0.1:0", &image];
    let mut server = world.command(&serve).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    server.kill().unwrap();
    let messages = server.wait_with_output().unwrap();
    let messages = String::from_utf8_lossy(&messages.stderr).into_owned();
    assert!(messages.contains(&format!("{WARNING} the name \"file\" twice")), "{line}{messages}");
}
