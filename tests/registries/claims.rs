//! Claims of an image about its own layers: the config lists a diff_id, and a recipe lists the compressed blob of a layer. A
//! hostile image can list the diff_id of a layer of another image, which is public, because layers are reproducible. A claim
//! must not affect other images through the local cache, signatures, known layers or a fleet.

use serde_json::json;
use strata::internals::{
    layer::compress::Compression,
    oci::{Digest, descriptor::media_type},
};

use super::mapping_scene::{HOST, Scene, TARGET, compress, counts, event, layer, lock};

const ALL: [Compression; 3] = [Compression::Gzip, Compression::Zstd, Compression::ZstdChunked];

/// Writes a layout whose one layer is `blob`, and whose config lists the diff_id of the layer of the scene.
fn false_diff_id(scene: &Scene, name: &str, blob: &[u8], kind: &str) -> String {
    let config = json!({ "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [Digest::sha256(&scene.layer)] } });
    let config = config.to_string().into_bytes();
    let manifest = json!({ "schemaVersion": 2, "mediaType": media_type::MANIFEST,
        "config": { "mediaType": media_type::CONFIG, "digest": Digest::sha256(&config), "size": config.len() },
        "layers": [{ "mediaType": kind, "digest": Digest::sha256(blob), "size": blob.len() }] });
    let manifest = manifest.to_string().into_bytes();
    let descriptor = json!({ "mediaType": media_type::MANIFEST, "digest": Digest::sha256(&manifest), "size": manifest.len(),
        "annotations": { "org.opencontainers.image.ref.name": "t" } });
    let world = &scene.world;
    world.file(&format!("{name}/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#);
    world.file(&format!("{name}/index.json"), json!({ "schemaVersion": 2, "manifests": [descriptor] }).to_string());
    for bytes in [blob, &config, &manifest] {
        world.file(&format!("{name}/blobs/sha256/{}", Digest::sha256(bytes).hex()), bytes);
    }
    format!("oci:{name}:t")
}

/// Writes a recipe of the layer of the scene, which lists a blob of another layer as its compressed form. The registry has the blob.
fn false_recipe(scene: &Scene, repositories: &[&str]) -> String {
    let blob = compress(&layer(2), Compression::Gzip);
    for repository in repositories {
        scene.put_blob(repository, &blob);
    }
    scene.world.file("layer.tar", &scene.layer);
    let digest = Digest::sha256(&scene.layer);
    let recipe = json!({ "version": 1, "image-config": {}, "arch": "amd64", "layers": [{ "digest": digest,
        "size": scene.layer.len(), "diff_ids": digest, "mediatype": media_type::LAYER_TAR, "layer-path": "layer.tar",
        "compressed": { "gzip": { "digest": Digest::sha256(&blob), "size": blob.len() } }, "History": {} }] });
    scene.world.file("recipe.json", recipe.to_string());
    "recipe.json".to_owned()
}

#[test]
fn a_tar_that_is_not_its_diff_id_is_neither_pushed_nor_cached() {
    for compression in ALL {
        let scene = Scene::new();
        let image = false_diff_id(&scene, "false", &layer(2), media_type::LAYER_TAR);
        let to = format!("docker://{HOST}/app:other");
        let arguments = ["copy", &image, &to, "--compression", compression.name(), "--json"];
        scene.world.run(&arguments).failure("but the diff_id in the image's config is");
        assert!(!lock(&scene.store.manifests).contains_key(&("app".to_owned(), "other".to_owned())));
        // The next push uses the cache of that copy.
        let arguments = ["copy", &scene.image, TARGET, "--compression", compression.name(), "--json"];
        assert_eq!(counts(&event(&scene.world.run(&arguments).success())), [0, 0, 1], "{compression:?}");
        if compression != Compression::ZstdChunked {
            scene.check_layer("after a false diff_id");
        }
    }
}

#[test]
fn a_false_diff_id_has_no_effect_on_other_images_of_a_fleet() {
    let scene = Scene::new();
    let image = false_diff_id(&scene, "false", &layer(2), media_type::LAYER_TAR);
    let recipe = false_recipe(&scene, &["recipe"]);
    let line = |image: &str, name: &str| format!("{image} docker://{HOST}/{name}\n");
    for good_is_first in [true, false] {
        let good_line = line(&scene.image, "app:prod");
        let false_lines = [line(&image, "false:t"), line(&recipe, "recipe:t")].concat();
        scene.world.file(
            "fleet",
            if good_is_first { [good_line, false_lines].concat() } else { [false_lines, good_line].concat() },
        );
        let _ = std::fs::remove_dir_all(scene.world.path("home/.cache"));
        lock(&scene.store.manifests).clear();
        scene.world.run(&["copy", "--fleet", "fleet"]).failure("but the diff_id in the image's config is");
        scene.check_layer("an image of the fleet");
    }
}

#[test]
fn a_signed_copy_of_an_image_makes_its_layers_not_trusted() {
    for sign in [&["--sign-key", "key.pem"][..], &["--sign-key", "key.pem", "--sign-tag"]] {
        for (compression, kind) in
            [(Compression::Gzip, media_type::LAYER_GZIP), (Compression::Zstd, media_type::LAYER_ZSTD)]
        {
            let scene = Scene::new();
            let blob = compress(&layer(2), compression);
            let image = false_diff_id(&scene, "false", &blob, kind);
            scene.world.run(&[&["copy", &image, TARGET], sign].concat()).success();
            // The tag that is written, then a named one.
            for more in [&[][..], &["--cache-from", "old"]] {
                let event = scene.push(compression, &[&["--sign-key", "key.pem"], more].concat());
                assert_eq!(counts(&event), [0, 0, 1], "{event}");
                assert!(event["warnings"][0].as_str().unwrap().contains("is not used"), "{event}");
                scene.check_layer("after a signed copy of a false image");
                scene
                    .world
                    .run(&["copy", &image, &format!("docker://{HOST}/app:old"), "--sign-key", "key.pem"])
                    .success();
                lock(&scene.store.manifests).remove(&("app".to_owned(), "prod".to_owned()));
            }
        }
    }
}

#[test]
fn a_claim_of_a_recipe_is_not_signed() {
    let scene = Scene::new();
    let recipe = false_recipe(&scene, &["app"]);
    let signed = ["--sign-key", "key.pem", "--json"];
    let copied = format!("docker://{HOST}/app:recipe");
    let result =
        scene.world.run(&[&["copy", &recipe, &copied, "--cache-to", "layers"], &signed[..]].concat()).success();
    // The image of the recipe has the blob that the recipe lists.
    assert_eq!(counts(&event(&result)), [1, 0, 0]);
    for named in ["layers", "recipe"] {
        let event = scene.push(Compression::Gzip, &["--cache-from", named, "--cache-key", "key.pub"]);
        assert_eq!(counts(&event), [0, 0, 1], "{named}: {event}");
        scene.check_layer("after a false recipe");
        lock(&scene.store.manifests).remove(&("app".to_owned(), "prod".to_owned()));
    }
    // A document without a signature may list the claim, which is verified before use.
    scene.world.run(&["copy", &recipe, &copied, "--cache-to", "unsigned"]).success();
    let event = scene.push(Compression::Gzip, &["--cache-from", "unsigned", "--cache-key", "key.pub"]);
    assert_eq!(counts(&event), [0, 0, 1], "{event}");
    scene.check_layer("after unsigned known layers");
}
