//! Documents that are a manifest and an index at once are refused, because their server chooses the image
//! (CVE-2021-41190).

use std::{fs, path::Path};

use serde_json::{Value, json};
use strata::internals::oci::{Digest, descriptor::media_type};

use crate::{
    images::{Image, descriptor, tar, write_layout},
    registry::Registry,
    run::{limited_strata, strata, text},
};

const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// A manifest of one image that is also an index of another, without a media type of its own.
fn both(change: impl FnOnce(&mut Value)) -> (Image, Image) {
    let (mut one, other) = (Image::new(&[tar(&[("one", b"1")])]), Image::new(&[tar(&[("other", b"2")])]));
    let mut document: Value = serde_json::from_slice(&one.manifest).unwrap();
    document.as_object_mut().unwrap().remove("mediaType");
    document["manifests"] = json!([descriptor(media_type::MANIFEST, &other.manifest)]);
    change(&mut document);
    one.manifest = document.to_string().into_bytes();
    (one, other)
}

/// Fails to copy, with this among the reasons.
fn refused(image: &str, why: &str) {
    let home = tempfile::tempdir().unwrap();
    let out = format!("oci:{}", home.path().join("out").display());
    let output = strata(home.path()).args(["copy", "-q", image, &out]).output().unwrap();
    let messages = text(&output);
    assert!(!output.status.success(), "{image}");
    assert!(messages.contains(why), "{image}: {messages}");
}

const AMBIGUOUS: &str = "one digest would stand for two images";

#[test]
fn registries_cannot_choose_between_two_images() {
    let rename = |from: &'static str, to: &'static str| {
        move |document: &mut Value| {
            let value = document.as_object_mut().unwrap().remove(from).unwrap();
            document[to] = value;
        }
    };
    for ((one, other), as_index) in [
        (both(|_| {}), AMBIGUOUS),
        // An index of these two has no manifests.
        (both(rename("manifests", "Manifests")), "it has no manifests"),
        // Go's decoder folds case, and U+017F is an s.
        (both(rename("manifests", "manife\u{17f}ts")), "it has no manifests"),
        (both(|document| document["layers"] = json!([])), AMBIGUOUS),
    ] {
        let registry = Registry::start();
        registry.put_image("other", &other);
        registry.put_image("v1", &one);
        for kind in [media_type::MANIFEST, media_type::INDEX, DOCKER_LIST, "application/json", "text/plain"] {
            registry.edit(|contents| drop(contents.types.insert(one.digest().to_string(), kind.to_owned())));
            let is_index = [media_type::INDEX, DOCKER_LIST].contains(&kind);
            refused(&registry.reference("v1"), if is_index { as_index } else { AMBIGUOUS });
        }
    }
}

#[test]
fn content_types_agree_with_documents() {
    let image = Image::new(&[tar(&[("file", b"1")])]);
    let registry = Registry::start();
    registry.put_image("v1", &image);
    for kind in [media_type::INDEX, DOCKER_LIST] {
        registry.edit(|contents| drop(contents.types.insert(image.digest().to_string(), kind.to_owned())));
        refused(&registry.reference("v1"), "but it is used as an index");
    }
    let index = json!({ "schemaVersion": 2, "mediaType": media_type::INDEX,
        "manifests": [descriptor(media_type::MANIFEST, &image.manifest)] });
    let index = index.to_string().into_bytes();
    registry.put_tag("index", &index);
    registry.edit(|contents| {
        drop(contents.types.insert(Digest::sha256(&index).to_string(), media_type::MANIFEST.to_owned()))
    });
    refused(&registry.reference("index"), "but it is used as a manifest");
}

#[test]
fn children_of_an_index_are_one_kind_of_document() {
    let (one, other) = both(|_| {});
    for kind in [media_type::MANIFEST, media_type::INDEX, ""] {
        let registry = Registry::start();
        registry.put_image("other", &other);
        registry.put_image("one", &one);
        let index = json!({ "schemaVersion": 2, "mediaType": media_type::INDEX,
            "manifests": [descriptor(kind, &one.manifest)] });
        registry.put_tag("v1", index.to_string().as_bytes());
        refused(&registry.reference("v1"), AMBIGUOUS);
    }
}

#[test]
fn layouts_and_directories_hold_one_kind_of_document() {
    let (one, other) = both(|_| {});
    let home = tempfile::tempdir().unwrap();
    let blobs = home.path().join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    for bytes in one.blobs.iter().chain(&other.blobs).chain([&one.manifest, &other.manifest]) {
        fs::write(blobs.join(Digest::sha256(bytes).hex()), bytes).unwrap();
        fs::write(home.path().join(Digest::sha256(bytes).hex()), bytes).unwrap();
    }
    fs::write(home.path().join("manifest.json"), &one.manifest).unwrap();
    refused(&format!("dir:{}", home.path().display()), AMBIGUOUS);
    fs::write(home.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    for kind in [media_type::MANIFEST, media_type::INDEX] {
        let mut index = json!({ "schemaVersion": 2, "manifests": [descriptor(kind, &one.manifest)] });
        fs::write(home.path().join("index.json"), index.to_string()).unwrap();
        refused(&format!("oci:{}", home.path().display()), AMBIGUOUS);
        // The index.json itself.
        index["manifests"] = json!([descriptor(media_type::MANIFEST, &other.manifest)]);
        index["layers"] = json!([]);
        fs::write(home.path().join("index.json"), index.to_string()).unwrap();
        refused(&format!("oci:{}", home.path().display()), AMBIGUOUS);
    }
}

/// Writes a tar of the files in `directory`.
fn archive(directory: &Path, to: &Path) {
    let mut tar = tar::Builder::new(fs::File::create(to).unwrap());
    tar.append_dir_all("", directory).unwrap();
    tar.finish().unwrap();
}

#[test]
fn archives_hold_one_kind_of_document() {
    let (one, other) = both(|_| {});
    for kind in [media_type::MANIFEST, media_type::INDEX] {
        let home = tempfile::tempdir().unwrap();
        let (layout, tar) = (home.path().join("layout"), home.path().join("image.tar"));
        write_layout(&layout, &other);
        write_layout(&layout, &one);
        let index = json!({ "schemaVersion": 2, "manifests": [descriptor(kind, &one.manifest)] });
        fs::write(layout.join("index.json"), index.to_string()).unwrap();
        archive(&layout, &tar);
        let tar = tar.display().to_string();
        refused(&format!("oci-archive:{tar}"), AMBIGUOUS);
        refused(&tar, AMBIGUOUS);
        refused(&format!("docker-archive:{tar}"), AMBIGUOUS);
        // The index.json itself.
        let mut index: Value = index;
        index["layers"] = json!([]);
        index["manifests"] = json!([descriptor(media_type::MANIFEST, &other.manifest)]);
        fs::write(layout.join("index.json"), index.to_string()).unwrap();
        archive(&layout, Path::new(&tar));
        refused(&format!("oci-archive:{tar}"), AMBIGUOUS);
        refused(&tar, AMBIGUOUS);
    }
}

#[test]
fn ambiguous_documents_are_not_served() {
    let (one, other) = both(|_| {});
    let home = tempfile::tempdir().unwrap();
    let (layout, tar) = (home.path().join("layout"), home.path().join("image.tar"));
    write_layout(&layout, &other);
    write_layout(&layout, &one);
    archive(&layout, &tar);
    for image in [format!("oci:{}", layout.display()), format!("oci-archive:{}", tar.display())] {
        let serve = ["serve", "--listen", "127.0.0.1:0", &image];
        let output = limited_strata(home.path(), 1000, 100).args(serve).output().unwrap();
        let messages = text(&output);
        assert!(
            output.status.code() == Some(2) && messages.contains(AMBIGUOUS),
            "{image}: {:?}: {messages}",
            output.status
        );
    }
}

#[test]
fn ambiguous_referrers_are_not_copied() {
    let (one, _) = both(|document| document["artifactType"] = "application/vnd.example".into());
    let image = Image::new(&[tar(&[("file", b"1")])]);
    let registry = Registry::start();
    registry.put_image("v1", &image);
    registry.put_image("one", &one);
    let mut entry = descriptor(media_type::MANIFEST, &one.manifest);
    entry["artifactType"] = "application/vnd.example".into();
    registry.list(&image.digest(), entry);
    let home = tempfile::tempdir().unwrap();
    let to = format!("oci:{}", home.path().join("out").display());
    let output = strata(home.path()).args(["copy", "--referrers", &registry.reference("v1"), &to]).output().unwrap();
    let messages = text(&output);
    assert!(messages.contains(AMBIGUOUS), "{messages}");
    assert!(!home.path().join("out/blobs/sha256").join(one.digest().hex()).exists(), "{messages}");
}

#[test]
fn images_of_dockers_first_schema_are_named() {
    let registry = Registry::start();
    let document = json!({ "schemaVersion": 1, "name": "app", "tag": "v1", "architecture": "amd64",
        "fsLayers": [{ "blobSum": Digest::sha256(b"x") }], "history": [], "signatures": [] });
    let document = document.to_string().into_bytes();
    registry.put_tag("v1", &document);
    for kind in ["application/vnd.docker.distribution.manifest.v1+prettyjws", media_type::MANIFEST] {
        registry.edit(|contents| drop(contents.types.insert(Digest::sha256(&document).to_string(), kind.to_owned())));
        refused(&registry.reference("v1"), "skopeo copy --format v2s2");
    }
}

/// An archive that is an OCI layout of `listed` and docker's archive of `saved`, under the name app:v1.
fn twofold_archive(path: &Path, listed: &Image, saved: &Image, is_other_listed: bool) {
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::sha256(bytes).hex());
    let with_name = |image: &Image, name: &str| {
        let mut listed_descriptor = descriptor(media_type::MANIFEST, &image.manifest);
        listed_descriptor["annotations"] = json!({ "io.containerd.image.name": name });
        listed_descriptor
    };
    let mut manifests = vec![with_name(listed, "docker.io/library/app:v1")];
    if is_other_listed {
        manifests.push(with_name(saved, "docker.io/library/other:v1"));
    }
    let index = json!({ "schemaVersion": 2, "manifests": manifests }).to_string().into_bytes();
    let manifest =
        json!([{ "Config": blob(&saved.blobs[1]), "RepoTags": ["app:v1"], "Layers": [blob(&saved.blobs[0])] }]);
    let mut files = vec![
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("index.json".to_owned(), index),
        ("manifest.json".to_owned(), manifest.to_string().into_bytes()),
    ];
    for bytes in [listed, saved].iter().flat_map(|image| image.blobs.iter().chain([&image.manifest])) {
        let file = (blob(bytes), bytes.clone());
        if !files.contains(&file) {
            files.push(file);
        }
    }
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    fs::write(path, tar(&files)).unwrap();
}

#[test]
fn archives_hold_the_same_images_for_docker_and_for_oci() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("image.tar");
    let (one, other) = (Image::new(&[tar(&[("one", b"1")])]), Image::new(&[tar(&[("other", b"2")])]));
    for is_other_listed in [false, true] {
        twofold_archive(&path, &one, &other, is_other_listed);
        for source in [path.display().to_string(), format!("docker-archive:{}:app:v1", path.display())] {
            refused(&source, "but index.json lists another image");
        }
    }
    twofold_archive(&path, &one, &one, false);
    let out = format!("oci:{}", home.path().join("out").display());
    let output = strata(home.path()).args(["copy", "-q", path.to_str().unwrap(), &out]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}
