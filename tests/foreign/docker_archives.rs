//! Archives with a manifest.json: those that strata writes for docker, and those of `docker save` and `podman save`.

use std::{fs, io::Read, path::Path, process::Output};

use serde_json::{Value, json};
use strata::internals::oci::{Digest, descriptor::media_type};

use crate::{
    images::{Image, descriptor, tar, write_layout},
    run::{strata, text},
};

/// Runs the program; it succeeds.
pub fn succeeds(home: &Path, arguments: &[&str]) -> Output {
    let output = strata(home).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", text(&output));
    output
}

/// Runs the program; it fails, and these are among the reasons.
pub fn fails(home: &Path, arguments: &[&str], reasons: &[&str]) {
    let output = strata(home).args(arguments).output().unwrap();
    let messages = text(&output);
    assert!(!output.status.success(), "{arguments:?}: {messages}");
    for reason in reasons {
        assert!(messages.contains(reason), "{arguments:?}: {reason}: {messages}");
    }
}

/// The files of a tar, by name.
pub fn files(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut tar = tar::Archive::new(archive);
    let entries = tar.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().to_string_lossy().into_owned(), bytes)
    });
    entries.collect()
}

pub fn file<'a>(files: &'a [(String, Vec<u8>)], name: &str) -> Option<&'a [u8]> {
    files.iter().find(|(file_name, _)| file_name == name).map(|(_, bytes)| bytes.as_slice())
}

/// An image with two zstd layers between uncompressed ones.
fn with_zstd() -> Image {
    let layers = [tar(&[("one", &[b'1'; 3000])]), tar(&[("two", b"2")]), tar(&[("three", b"3")])];
    let ids: Vec<Digest> = layers.iter().map(|layer| Digest::sha256(layer)).collect();
    let [first, second, third] = layers;
    let zstd = |layer: &[u8]| zstd::encode_all(layer, 3).unwrap();
    let blobs = [zstd(&first), second, zstd(&third)];
    let kinds = [media_type::LAYER_ZSTD, media_type::LAYER_TAR, media_type::LAYER_ZSTD];
    let config = json!({ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": ids } });
    let config = config.to_string().into_bytes();
    let layers: Vec<Value> = kinds.iter().zip(&blobs).map(|(kind, blob)| descriptor(kind, blob)).collect();
    let manifest = json!({ "schemaVersion": 2, "mediaType": media_type::MANIFEST,
        "config": descriptor(media_type::CONFIG, &config), "layers": layers });
    Image { blobs: blobs.into_iter().chain([config]).collect(), manifest: manifest.to_string().into_bytes() }
}

/// Every layer that the manifest.json names is the tar with the config's diff_id.
fn has_uncompressed_layers(archive: &[u8]) {
    let files = files(archive);
    let manifest: Value = serde_json::from_slice(file(&files, "manifest.json").expect("manifest.json")).unwrap();
    let config = file(&files, manifest[0]["Config"].as_str().unwrap()).unwrap();
    let config: Value = serde_json::from_slice(config).unwrap();
    let layers = manifest[0]["Layers"].as_array().unwrap();
    assert_eq!(layers.len(), 3);
    for (layer, diff_id) in layers.iter().zip(config["rootfs"]["diff_ids"].as_array().unwrap()) {
        let bytes = file(&files, layer.as_str().unwrap()).unwrap();
        assert_eq!(Digest::sha256(bytes).to_string(), diff_id.as_str().unwrap());
    }
}

/// Docker before 23 fails with "unexpected EOF" (moby#41759, skopeo#1286).
#[test]
fn archives_for_docker_hold_no_zstd_layers() {
    let home = tempfile::tempdir().unwrap();
    let image = with_zstd();
    write_layout(&home.path().join("layout"), &image);
    let source = format!("oci:{}", home.path().join("layout").display());
    let path = home.path().join("docker.tar");
    let destination = format!("docker-archive:{}:app:v1", path.display());
    let messages = succeeds(home.path(), &["copy", "-q", &source, &destination]);
    let archive = fs::read(&path).unwrap();
    has_uncompressed_layers(&archive);
    // The digest that is printed is that of the manifest in the archive, whose config is the same.
    let digest = String::from_utf8(messages.stdout).unwrap();
    let written = files(&archive);
    let manifest = file(&written, &format!("blobs/{}", digest.trim().replace(':', "/"))).expect("the manifest");
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    assert_eq!(manifest["config"]["digest"], Digest::sha256(&image.blobs[3]).to_string());
    succeeds(home.path(), &["verify", path.to_str().unwrap()]);

    has_uncompressed_layers(&succeeds(home.path(), &["stream", &source, "--repo-tag", "app:v1"]).stdout);
    fails(home.path(), &["copy", "-q", "--preserve-digests", &source, &destination], &["zstd", "--preserve-digests"]);
}

/// An OCI archive keeps the image's digest, and has no manifest.json that a docker before 23 would believe.
#[test]
fn oci_archives_keep_zstd_layers() {
    let home = tempfile::tempdir().unwrap();
    let image = with_zstd();
    write_layout(&home.path().join("layout"), &image);
    let path = home.path().join("oci.tar");
    let [source, destination] =
        [format!("oci:{}", home.path().join("layout").display()), format!("oci-archive:{}", path.display())];
    let messages = succeeds(home.path(), &["copy", "-q", &source, &destination]);
    assert_eq!(String::from_utf8(messages.stdout).unwrap().trim(), image.digest().to_string());
    let written = files(&fs::read(&path).unwrap());
    assert!(file(&written, "index.json").is_some() && file(&written, "manifest.json").is_none());
    succeeds(home.path(), &["verify", path.to_str().unwrap()]);
}

/// `podman save --format docker-dir` of podman 4.3 writes them; engines look at the first bytes of a layer.
#[test]
fn uncompressed_layers_under_the_media_type_of_gzip_are_verified() {
    let home = tempfile::tempdir().unwrap();
    let image = Image::new(&[tar(&[("file", b"1")])]);
    let mut manifest: Value = serde_json::from_slice(&image.manifest).unwrap();
    manifest["mediaType"] = "application/vnd.docker.distribution.manifest.v2+json".into();
    manifest["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip".into();
    let directory = home.path().join("dir");
    fs::create_dir(&directory).unwrap();
    for blob in &image.blobs {
        fs::write(directory.join(Digest::sha256(blob).hex()), blob).unwrap();
    }
    fs::write(directory.join("manifest.json"), manifest.to_string()).unwrap();
    fs::write(directory.join("version"), "Directory Transport Version: 1.1\n").unwrap();
    let source = format!("dir:{}", directory.display());
    succeeds(home.path(), &["verify", &source]);
    // A layer whose bytes are others is still found.
    fs::write(directory.join(Digest::sha256(&image.blobs[0]).hex()), tar(&[("file", b"2")])).unwrap();
    fails(home.path(), &["verify", &source], &["sha256:"]);
}
