//! Layouts with links: a copy writes no file outside of the directory of the destination.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use strata::internals::oci::{Digest, descriptor::media_type};

use crate::{
    images::{Image, tar, write_layout},
    run::{strata, text},
};

/// The files of a directory with their contents.
fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.map(|path| (path.clone(), fs::read(&path).unwrap())).collect();
    files.sort();
    files
}

/// Copies an image to the layout at `to`. Returns whether it succeeded, and the output.
fn copy(home: &Path, to: &Path) -> (bool, String) {
    let from = home.join("from");
    if !from.exists() {
        write_layout(&from, &Image::new(&[tar(&[("file", b"content")])]));
    }
    let [from, to] = [&from, to].map(|path| format!("oci:{}", path.display()));
    let output = strata(home).args(["copy", &from, &to]).output().unwrap();
    (output.status.success(), text(&output))
}

#[test]
fn blobs_are_not_written_through_links_of_the_layout() {
    for (link, target) in [("blobs/sha256", ""), ("blobs", ""), ("blobs", "..")] {
        let home = tempfile::tempdir().unwrap();
        let (layout, outside) = (home.path().join("to"), home.path().join("outside"));
        fs::create_dir_all(&layout).unwrap();
        fs::create_dir_all(&outside).unwrap();
        // The removal of old temporary files would remove this file.
        fs::write(outside.join(".strata-1-1.tmp"), "content").unwrap();
        if link == "blobs/sha256" {
            fs::create_dir(layout.join("blobs")).unwrap();
        }
        symlink(
            if target.is_empty() { outside.clone() } else { home.path().join("outside").join(target) },
            layout.join(link),
        )
        .unwrap();
        let (before, above) = (files(&outside), fs::read_dir(home.path()).unwrap().count());
        let (succeeded, output) = copy(home.path(), &layout);
        assert!(!succeeded && output.contains("it is a link or a file, not a directory"), "{link}: {output}");
        assert_eq!(files(&outside), before, "{link}");
        // The source is the only new directory.
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), above + 1, "{link}");
    }
}

#[test]
fn a_link_in_place_of_a_blob_is_replaced() {
    let home = tempfile::tempdir().unwrap();
    let (layout, outside) = (home.path().join("to"), home.path().join("outside"));
    let (succeeded, output) = copy(home.path(), &layout);
    assert!(succeeded, "{output}");
    let written = files(&layout.join("blobs/sha256"));
    for (path, contents) in &written {
        fs::write(&outside, contents).unwrap();
        fs::remove_file(path).unwrap();
        symlink(&outside, path).unwrap();
        let (succeeded, output) = copy(home.path(), &layout);
        assert!(succeeded, "{output}");
        assert!(fs::symlink_metadata(path).unwrap().is_file(), "{}", path.display());
        assert_eq!(fs::read(&outside).unwrap(), *contents);
    }
    assert_eq!(files(&layout.join("blobs/sha256")), written);
}

#[test]
fn a_hard_link_in_place_of_the_lock_file_keeps_its_contents() {
    let home = tempfile::tempdir().unwrap();
    let (layout, victim) = (home.path().join("to"), home.path().join("victim"));
    fs::create_dir(&layout).unwrap();
    fs::write(&victim, "content").unwrap();
    fs::hard_link(&victim, layout.join(".strata.lock")).unwrap();
    let (succeeded, output) = copy(home.path(), &layout);
    assert!(!succeeded && output.contains("is not a lock file"), "{output}");
    assert_eq!(fs::read(&victim).unwrap(), b"content");
}

/// Copies an image to the cache of layers at `to`. Returns whether it succeeded, and the output.
fn cache(home: &Path, to: &Path, flags: &[&str]) -> (bool, String) {
    let from = home.join("from");
    if !from.exists() {
        write_layout(&from, &Image::new(&[tar(&[("file", b"content")])]));
    }
    let [from, to] = [format!("oci:{}", from.display()), format!("erofs-cache:{}", to.display())];
    let output = strata(home).args(["copy", &from, &to]).args(flags).output().unwrap();
    (output.status.success(), text(&output))
}

#[test]
fn layers_are_not_written_to_or_pruned_from_linked_directories_of_a_cache() {
    let layer = Digest::sha256(&tar(&[("file", b"content")])).hex();
    let other = format!("{}.erofs", "0".repeat(64));
    for link in ["sha256".to_owned(), format!("sha256/{}", &layer[..2]), "sha256/00".to_owned()] {
        let home = tempfile::tempdir().unwrap();
        let (directory, outside) = (home.path().join("to"), home.path().join("outside"));
        fs::create_dir_all(directory.join("sha256")).unwrap();
        fs::create_dir_all(outside.join("00")).unwrap();
        for name in [".strata-1-1.tmp", &other, "00/.strata-1-1.tmp", &format!("00/{other}")] {
            fs::write(outside.join(name), "content").unwrap();
        }
        if link == "sha256" {
            fs::remove_dir(directory.join("sha256")).unwrap();
        }
        symlink(&outside, directory.join(&link)).unwrap();
        let count = |path: &Path| fs::read_dir(path).unwrap().count();
        let before = (count(&outside), count(&outside.join("00")));
        let (succeeded, output) = cache(home.path(), &directory, &["--prune"]);
        assert!(!succeeded && output.contains("is a link or a file, not a directory"), "{link}: {output}");
        assert_eq!((count(&outside), count(&outside.join("00"))), before, "{link}");
    }
}

#[test]
fn pruning_a_cache_removes_only_files_of_layers() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("to");
    let shard = directory.join("sha256/00");
    fs::create_dir_all(&shard).unwrap();
    let hex = "0".repeat(64);
    let kept =
        [format!("{hex}.erofs.bak"), format!("{hex}.img"), "notes.erofs".to_owned(), format!("1{}.erofs", &hex[1..])];
    for name in &kept {
        fs::write(shard.join(name), "content").unwrap();
    }
    fs::create_dir(shard.join(format!("{}1.erofs", &hex[1..]))).unwrap();
    for name in [format!("{hex}.erofs"), format!("{hex}.erofs.dmverity"), ".strata-1-1.tmp".to_owned()] {
        fs::write(shard.join(name), "content").unwrap();
    }
    let (succeeded, output) = cache(home.path(), &directory, &["--prune"]);
    assert!(succeeded, "{output}");
    let mut left: Vec<String> =
        fs::read_dir(&shard).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    let mut expected = [&kept[..], &[format!("{}1.erofs", &hex[1..])]].concat();
    expected.sort();
    assert_eq!(left, expected);
}

#[test]
fn a_link_in_place_of_a_layer_of_a_cache_is_replaced() {
    let home = tempfile::tempdir().unwrap();
    let (directory, outside) = (home.path().join("to"), home.path().join("outside"));
    let (succeeded, output) = cache(home.path(), &directory, &[]);
    assert!(succeeded, "{output}");
    let hex = Digest::sha256(&tar(&[("file", b"content")])).hex();
    let path = directory.join(format!("sha256/{}/{hex}.erofs", &hex[..2]));
    let written = fs::read(&path).unwrap();
    fs::rename(&path, &outside).unwrap();
    symlink(&outside, &path).unwrap();
    let (succeeded, output) = cache(home.path(), &directory, &[]);
    assert!(succeeded, "{output}");
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
    assert_eq!(fs::read(&path).unwrap(), written);
}

/// Writes the layout `from` with an index of images of two platforms, an attestation of buildx and an artifact.
fn write_index(from: &Path) {
    let blobs = from.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |kind: &str, blob: &[u8]| {
        fs::write(blobs.join(Digest::sha256(blob).hex()), blob).unwrap();
        json!({ "mediaType": kind, "digest": Digest::sha256(blob), "size": blob.len() })
    };
    let manifest = |config: Value, layer: Value, platform: Value| {
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": [layer] });
        let mut descriptor = put(media_type::MANIFEST, manifest.to_string().as_bytes());
        descriptor["platform"] = platform;
        descriptor
    };
    let config = |os: &str, architecture: &str, layer: &[u8]| {
        let rootfs = json!({ "type": "layers", "diff_ids": [Digest::sha256(layer)] });
        let config = json!({ "os": os, "architecture": architecture, "config": {}, "rootfs": rootfs });
        put(media_type::CONFIG, config.to_string().as_bytes())
    };
    let mut manifests = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let layer = tar(&[(architecture, b"content")]);
        let platform = json!({ "os": "linux", "architecture": architecture });
        manifests.push(manifest(config("linux", architecture, &layer), put(media_type::LAYER_TAR, &layer), platform));
    }
    let statement = b"{\"_type\":\"https://in-toto.io/Statement/v0.1\"}";
    let in_toto = put("application/vnd.in-toto+json", statement);
    let platform = json!({ "os": "unknown", "architecture": "unknown" });
    manifests.push(manifest(config("unknown", "unknown", statement), in_toto, platform));
    let artifact = manifest(put("application/vnd.oci.empty.v1+json", b"{}"), put("text/plain", b"text"), Value::Null);
    manifests.push(artifact);
    let index = json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": manifests });
    let top = json!({ "schemaVersion": 2, "manifests": [put(media_type::INDEX, index.to_string().as_bytes())] });
    fs::write(from.join("index.json"), top.to_string()).unwrap();
    fs::write(from.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

/// Returns the names of all files in a cache of layers.
fn cached(directory: &Path) -> Vec<String> {
    let shards = fs::read_dir(directory.join("sha256")).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<_> = shards.flat_map(|shard| files(&shard)).map(|(path, _)| path).collect();
    names.sort();
    names.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn a_cache_has_the_layers_of_the_images_of_an_index_and_prune_keeps_all_platforms() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("to");
    write_index(&home.path().join("from"));
    let layer = |name: &str| format!("{}.erofs", Digest::sha256(&tar(&[(name, b"content")])).hex());
    let mut expected = vec![layer("amd64"), layer("arm64")];
    expected.sort();
    let (succeeded, output) = cache(home.path(), &directory, &["--all"]);
    assert!(succeeded, "{output}");
    assert_eq!(cached(&directory), expected);
    let (succeeded, output) = cache(home.path(), &directory, &["--platform", "linux/amd64", "--prune"]);
    assert!(succeeded, "{output}");
    assert_eq!(cached(&directory), expected);
    let (succeeded, output) = cache(home.path(), &directory, &["--platform", "unknown/unknown"]);
    assert!(!succeeded, "{output}");
}

#[test]
fn errors_of_a_cache_name_its_files_and_the_remedy() {
    let hex = Digest::sha256(&tar(&[("file", b"content")])).hex();
    let layer = format!("sha256/{}/{hex}.erofs", &hex[..2]);
    let (sidecar, other) = (format!("{layer}.dmverity"), format!("sha256/00/{}.erofs", "0".repeat(64)));
    type Prepare<'a> = &'a dyn Fn(&Path);
    let cases: [(Prepare<'_>, &str, &str); 5] = [
        (&|to| fs::write(to, "content").unwrap(), "", "is a file, not a directory; remove it"),
        (&|to| symlink("missing", to).unwrap(), "", "is a dangling link, not a directory; remove it"),
        (
            &|to| fs::create_dir_all(to.join(&layer)).unwrap(),
            &layer,
            "is a directory, not the file of a layer; remove it",
        ),
        (
            &|to| fs::create_dir_all(to.join(&sidecar)).unwrap(),
            &sidecar,
            "is a directory, not the file of a layer; remove it",
        ),
        (
            &|to| {
                fs::create_dir_all(to.join(format!("{other}.dmverity"))).unwrap();
                fs::write(to.join(&other), "content").unwrap();
            },
            &other,
            ".dmverity: Is a directory",
        ),
    ];
    for (prepare, path, message) in cases {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("to");
        prepare(&directory);
        let (succeeded, output) = cache(home.path(), &directory, &["--prune"]);
        assert!(
            !succeeded && output.contains(directory.join(path).display().to_string().trim_end_matches('/')),
            "{output}"
        );
        assert!(output.contains(message), "{output}");
        assert_eq!(output.contains("removing "), path == other, "{output}");
    }
}

/// A limit of the size of files stands for a full disk.
#[test]
fn errors_of_a_full_cache_name_the_file_of_the_layer() {
    let home = tempfile::tempdir().unwrap();
    let bytes = tar(&[("file", &[b'x'; 200_000])]);
    write_layout(&home.path().join("from"), &Image::new(std::slice::from_ref(&bytes)));
    let copy = strata(home.path());
    let script =
        format!("ulimit -f 50; trap '' XFSZ; exec {} copy oci:from erofs-cache:to", copy.get_program().display());
    let mut limited = Command::new("sh");
    for (name, value) in copy.get_envs() {
        limited.env(name, value.unwrap_or_default());
    }
    let output = text(&limited.args(["-c", &script]).current_dir(home.path()).output().unwrap());
    let hex = Digest::sha256(&bytes).hex();
    let expected = format!("writing to/sha256/{}/{hex}.erofs: File too large", &hex[..2]);
    assert!(output.contains(&expected), "{output}");
    assert!(cached(&home.path().join("to")).is_empty());
}
