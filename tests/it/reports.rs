//! Images that others reported, one test for each report, named after it.

use std::{fs::File, path::Path};

use serde_json::{Value, json};
use strata::internals::{
    image::Opened,
    oci::{Digest, descriptor::media_type},
    transport::open,
};

/// An archive as docker 25 saves it: an OCI layout with manifest.json, whose index and manifest `change` changes.
fn docker_25(path: &Path, change: impl Fn(&mut Value, &mut Value)) {
    let layer = b"layer";
    let config = json!({ "architecture": "amd64", "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": [Digest::sha256(layer)] } });
    let config = config.to_string().into_bytes();
    let descriptor =
        |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "digest": Digest::sha256(bytes), "size": bytes.len() });
    let mut manifest = json!({ "schemaVersion": 2, "mediaType": media_type::MANIFEST,
        "config": descriptor(media_type::CONFIG, &config), "layers": [descriptor(media_type::LAYER_TAR, layer)] });
    let mut index = json!({ "schemaVersion": 2, "mediaType": media_type::INDEX });
    change(&mut index, &mut manifest);
    let manifest = manifest.to_string().into_bytes();
    if index.get("manifests").is_none() {
        index["manifests"] = json!([descriptor(media_type::MANIFEST, &manifest)]);
    }
    let name = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::sha256(bytes).hex());
    let docker = json!([{ "Config": name(&config), "RepoTags": null, "Layers": [name(layer)] }]);
    let files = [
        (name(layer), layer.to_vec()),
        (name(&config), config),
        (name(&manifest), manifest),
        ("index.json".to_owned(), index.to_string().into_bytes()),
        ("manifest.json".to_owned(), docker.to_string().into_bytes()),
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
    ];
    let mut tar = tar::Builder::new(File::create(path).unwrap());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes.as_slice()).unwrap();
    }
    tar.finish().unwrap();
}

fn layers(opened: &Opened) -> Vec<Digest> {
    opened.image(None).unwrap().layers.iter().map(|layer| layer.diff_id).collect()
}

#[test]
fn moby_47065_manifests_without_layers_are_not_images_without_layers() {
    let top = tempfile::tempdir().unwrap();
    let path = top.path().join("image.tar");
    for none in [json!(null), json!([])] {
        docker_25(&path, |_, manifest| manifest["layers"] = none.clone());
        assert_eq!(layers(&open(&path).unwrap()), [Digest::sha256(b"layer")]);
    }
}

#[test]
fn moby_47210_an_empty_index_next_to_a_complete_manifest_json() {
    let top = tempfile::tempdir().unwrap();
    let path = top.path().join("image.tar");
    for none in [json!(null), json!([])] {
        docker_25(&path, |index, _| index["manifests"] = none.clone());
        assert_eq!(layers(&open(&path).unwrap()), [Digest::sha256(b"layer")]);
    }
}
