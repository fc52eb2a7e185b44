//! The choice of an image in archives of several images and in indexes of several platforms.

use std::{fs, path::Path};

use serde_json::{Value, json};
use strata::internals::oci::{Digest, descriptor::media_type};

use crate::{
    docker_archives::{fails, succeeds},
    images::{Image, descriptor, tar},
    registry::Registry,
    run::strata,
};

/// An archive as `docker save` of docker before 25 wrote it, of these images; a name each.
pub fn docker_archive(path: &Path, images: &[(&str, &Image)]) {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let mut manifest = Vec::new();
    for (at, (name, image)) in images.iter().enumerate() {
        let [layer, config] = [format!("{at}/layer.tar"), format!("{at}.json")];
        manifest.push(json!({ "Config": config, "RepoTags": [name], "Layers": [layer] }));
        files.push((layer, image.blobs[0].clone()));
        files.push((config, image.blobs[1].clone()));
    }
    files.push(("manifest.json".to_owned(), Value::from(manifest).to_string().into_bytes()));
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    fs::write(path, tar(&files)).unwrap();
}

#[test]
fn an_archive_of_several_images_is_asked_for_one() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("saved.tar");
    let (one, two) = (Image::new(&[tar(&[("one", b"1")])]), Image::new(&[tar(&[("two", b"2")])]));
    docker_archive(&path, &[("one:a", &one), ("two:b", &two)]);
    let out = format!("oci:{}", home.path().join("out").display());
    for arguments in [&["explain", path.to_str().unwrap()][..], &["copy", path.to_str().unwrap(), &out]] {
        fails(home.path(), arguments, &["choose one by its tag", "one:a, two:b"]);
    }
    let named = format!("docker-archive:{}:two:b", path.display());
    succeeds(home.path(), &["copy", "-q", &named, &out]);
    let config = Digest::sha256(&two.blobs[1]);
    assert!(home.path().join("out/blobs/sha256").join(config.hex()).exists());
    // A single one needs no name.
    docker_archive(&path, &[("one:a", &one)]);
    succeeds(home.path(), &["copy", "-q", path.to_str().unwrap(), &out]);
}

/// `docker-archive:FILE:@1` is skopeo's way to choose (containers/image, docker/archive/transport.go).
#[test]
fn images_without_names_have_numbers() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("saved.tar");
    let (one, two) = (Image::new(&[tar(&[("one", b"1")])]), Image::new(&[tar(&[("two", b"2")])]));
    docker_archive(&path, &[("one:a", &one), ("two:b", &two)]);
    let mut saved = crate::docker_archives::files(&fs::read(&path).unwrap());
    let manifest = saved.iter_mut().find(|(name, _)| name == "manifest.json").unwrap();
    let mut images: Value = serde_json::from_slice(&manifest.1).unwrap();
    images[1]["RepoTags"] = Value::Null;
    manifest.1 = images.to_string().into_bytes();
    let saved: Vec<(&str, &[u8])> = saved.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    fs::write(&path, tar(&saved)).unwrap();
    let source = format!("docker-archive:{}", path.display());
    let out = format!("oci:{}", home.path().join("out").display());
    let several = ["choose one by its tag, or by its number, such as docker-archive:FILE:@1; found one:a, @1"];
    fails(home.path(), &["copy", &source, &out], &several);
    succeeds(home.path(), &["copy", "-q", &format!("{source}:@1"), &out]);
    assert!(home.path().join("out/blobs/sha256").join(Digest::sha256(&two.blobs[1]).hex()).exists());
    fails(home.path(), &["copy", &format!("{source}:@2"), &out], &["there is no image @2; found one:a, @1"]);
    fails(home.path(), &["copy", &format!("{source}:@x"), &out], &["@x: not the number of an image; the first is @0"]);
}

#[test]
fn an_archive_without_images_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("saved.tar");
    docker_archive(&path, &[]);
    for form in [&[][..], &["--json"], &["--raw"]] {
        fails(home.path(), &[&["inspect", path.to_str().unwrap()], form].concat(), &["there is no image in it"]);
    }
}

/// The last one replaced the first without a word.
#[test]
fn an_index_has_one_image_for_each_platform() {
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::start();
    let (one, two) = (Image::new(&[tar(&[("one", b"1")])]), Image::new(&[tar(&[("two", b"2")])]));
    registry.put_image("one", &one);
    registry.put_image("two", &two);
    let bare = |tag: &str| registry.reference(tag).trim_start_matches("docker://").to_owned();
    let [index, first, second] = [registry.reference("index"), bare("one"), bare("two")];
    fails(home.path(), &["index", &index, &first, &second], &["app:one", "app:two", "both for linux/amd64"]);
    // An image that is listed twice is one image. This registry refuses manifests.
    fails(home.path(), &["index", &index, &first, &first], &["putting the manifest"]);
    let entry = |image: &Image| {
        let mut entry = descriptor(media_type::MANIFEST, &image.manifest);
        entry["platform"] = json!({ "os": "linux", "architecture": "amd64" });
        entry
    };
    let index_of_both =
        json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [entry(&one), entry(&two)] });
    registry.put_tag("both", index_of_both.to_string().as_bytes());
    fails(home.path(), &["index", &index, &bare("both")], &["app:both lists two images for linux/amd64"]);
}

#[test]
fn more_layers_than_docker_loads_are_a_warning_before_the_load() {
    let home = tempfile::tempdir().unwrap();
    let layers: Vec<Vec<u8>> = (0..126).map(|at| tar(&[(&format!("file{at}"), b"")])).collect();
    crate::images::write_layout(&home.path().join("layout"), &Image::new(&layers));
    let source = format!("oci:{}", home.path().join("layout").display());
    let destination = format!("docker-archive:{}:app:v1", home.path().join("out.tar").display());
    let output = strata(home.path()).args(["copy", "-q", &source, &destination]).output().unwrap();
    assert!(output.status.success());
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(messages.contains("126 layers") && messages.contains("at most 125"), "{messages}");
}

#[test]
fn images_of_one_platform_are_not_joined_into_an_index() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("saved.tar");
    let (one, two) = (Image::new(&[tar(&[("one", b"1")])]), Image::new(&[tar(&[("two", b"2")])]));
    docker_archive(&path, &[("app:a", &one), ("app:a", &two)]);
    let out = format!("oci:{}", home.path().join("out").display());
    fails(home.path(), &["copy", "--all", path.to_str().unwrap(), &out], &["choose one by its tag"]);
}
