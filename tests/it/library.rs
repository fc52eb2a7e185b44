//! The library as other programs use it: recipes from directories and manifests, blobs that are checked.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use strata::{
    Recipe,
    internals::{
        closure::{Graph, RawNode, StoreDir},
        image::{
            ImageError,
            recipe::{LayerPath, RecipeLayer},
        },
        layer::{self, Source, Tree},
        oci::{Config, Digest, History, Sha256Writer},
    },
};

/// A store with one path of one file, and an image of it.
fn image(store: &Path) -> (PathBuf, Recipe) {
    let path = store.join(format!("{}-data-1", "0".repeat(32)));
    fs::create_dir(&path).unwrap();
    fs::write(path.join("file"), "content").unwrap();
    let mut nar = nix_nar::Encoder::new(&path).unwrap();
    let mut hash = Sha256Writer::new(std::io::sink());
    std::io::copy(&mut nar, &mut hash).unwrap();
    let (_, nar_hash, _) = hash.finish();
    let raw = serde_json::json!([{ "path": path, "references": [], "narSize": 7, "narHash": nar_hash.to_string() }]);
    let raw: Vec<RawNode> = serde_json::from_value(raw).unwrap();
    let graph = Graph::new(&StoreDir::new(store), raw).unwrap();
    let tree = Tree::new(&[Source {
        path: path.clone(),
        files: Default::default(),
        options: Default::default(),
        follow: false,
    }])
    .unwrap();
    let hashed = layer::hash_all(&[(&tree, 7)]).unwrap()[0];
    let layer =
        RecipeLayer::from_paths(vec![LayerPath { path: path.clone(), options: None }], hashed, History::default());
    let mut image = Recipe::new(Config::default(), "amd64".to_owned(), None, vec![layer]);
    image.closure = Some(Arc::new(graph));
    (path, image)
}

fn read(mut blob: Box<dyn Read + Send>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    blob.read_to_end(&mut bytes).map(|_| bytes)
}

#[test]
fn every_blob_has_the_digest_it_is_asked_for_by() {
    let store = tempfile::tempdir().unwrap();
    let (_, image) = image(store.path());
    let manifest = image.manifest();
    assert_eq!(manifest.config.digest, image.config_digest());
    for digest in [manifest.config.digest, manifest.layers[0].digest] {
        assert_eq!(Digest::sha256(&read(image.blob(&digest).unwrap()).unwrap()), digest);
    }
    assert_eq!(Digest::sha256(&read(image.layer_blob(0).unwrap()).unwrap()), image.layers[0].digest);
    assert!(matches!(image.layer_blob(1).err(), Some(ImageError::NoLayer(1))));
    assert!(matches!(image.blob(&Digest::sha256(b"other")).err(), Some(ImageError::NoBlob(_))));
}

#[test]
fn a_mismatch_names_the_store_path_that_changed() {
    let store = tempfile::tempdir().unwrap();
    let (path, image) = image(store.path());
    let innocent = store.path().join(format!("{}-innocent", "1".repeat(32)));
    fs::create_dir(&innocent).unwrap();
    fs::write(path.join("file"), "CONTENT").unwrap();
    let error = read(image.layer_blob(0).unwrap()).unwrap_err().to_string();
    assert!(error.contains("not what Nix recorded"), "{error}");
    assert!(error.contains(path.to_str().unwrap()) && !error.contains("innocent"), "{error}");
}

#[test]
fn directories_and_manifests_become_recipes() {
    let top = tempfile::tempdir().unwrap();
    let (_, image) = image(top.path());
    let blobs = strata::Image::from_recipe(&image);
    let directory = top.path().join("dir");
    strata::internals::transport::dir::write(&blobs, &directory).unwrap();
    let read_back = Recipe::from_dir(&directory).unwrap();
    assert_eq!(read_back.config_digest(), image.config_digest());
    assert_eq!(read_back.layers[0].blob.as_deref(), Some(directory.join(image.layers[0].digest.hex()).as_path()));

    let mut files = BTreeMap::new();
    for digest in [image.config_digest(), image.layers[0].digest] {
        files.insert(digest, directory.join(digest.hex()));
    }
    assert_eq!(Recipe::from_manifest(directory.join("manifest.json"), &files).unwrap(), read_back);
    files.remove(&image.layers[0].digest);
    let error = Recipe::from_manifest(directory.join("manifest.json"), &files).unwrap_err().to_string();
    assert!(error.contains(&image.layers[0].digest.to_string()), "{error}");
}

#[test]
fn images_of_nix2containers_are_read() {
    // Version 1 of nix2container writes null for empty values, and History with a capital letter.
    let top = tempfile::tempdir().unwrap();
    let path = top.path().join("image.json");
    let digest = Digest::sha256(b"x");
    let text = format!(
        r#"{{"version":1,"image-config":{{"Cmd":["/bin/sh"]}},"layers":[{{"digest":"{digest}","size":1,"diff_ids":"{digest}",
           "paths":[{{"path":"/nix/store/{}-a","options":{{"rewrite":{{"regex":"^x","repl":""}}}}}}],
           "mediatype":"application/vnd.oci.image.layer.v1.tar","History":{{"created_by":"nix2container"}}}}],
           "arch":"amd64","created":"0001-01-01T00:00:00Z"}}"#,
        "0".repeat(32)
    );
    fs::write(&path, text).unwrap();
    let image = Recipe::open(&path).unwrap();
    assert_eq!(image.layers[0].history.created_by, "nix2container");
    assert_eq!(image.config.cmd, ["/bin/sh"]);
    fs::write(&path, r#"{"version":1,"image-config":{},"layers":null,"arch":"amd64"}"#).unwrap();
    assert!(Recipe::open(&path).unwrap().layers.is_empty());
}

#[path = "../../examples/inspect.rs"]
#[allow(dead_code)]
mod example;

#[test]
fn the_example_of_the_library_inspects_and_copies_an_image() {
    let store = tempfile::tempdir().unwrap();
    let (_, image) = image(store.path());
    let (recipe, layout) = (store.path().join("image.json"), store.path().join("layout"));
    image.save(&recipe).unwrap();
    let destination = format!("oci:{}:v1", layout.display());
    let mut output = Vec::new();
    example::run(recipe.to_str().unwrap(), Some(&destination), &mut output).unwrap();
    let output = String::from_utf8(output).unwrap();
    assert!(output.contains("1 store paths\n") && output.contains("copied sha256:"), "{output}");
    output.lines().next().unwrap().strip_suffix(" for linux/amd64").unwrap();

    let mut copied = Vec::new();
    example::run(&destination, None, &mut copied).unwrap();
    let digest = |text: &str| text.split(' ').next().unwrap().to_owned();
    assert_eq!(digest(&String::from_utf8(copied).unwrap()), digest(&output));
    example::run("oci:missing", None, &mut Vec::new()).unwrap_err();
}
