//! Answers to mistakes: each names the cause and what to write instead.

use std::fs;

use serde_json::json;
use strata::internals::oci::Digest;

use crate::{
    docker_archives::{fails, succeeds},
    images::{Image, tar, write_layout},
    run::{strata, text},
};

/// A recipe of a store path that is on no machine.
fn recipe() -> (tempfile::TempDir, String) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("image.json");
    let digest = Digest::sha256(b"");
    let layer = json!({ "digest": digest, "size": 1024, "diff_ids": digest,
        "paths": [{ "path": "/nix/store/00000000000000000000000000000000-gone" }],
        "mediatype": "application/vnd.oci.image.layer.v1.tar" });
    let image =
        json!({ "version": 1, "image-config": {}, "layers": [layer], "arch": "amd64", "name": "x", "tag": "t" });
    fs::write(&path, image.to_string()).unwrap();
    (home, path.to_str().unwrap().to_owned())
}

#[test]
fn errors_of_destinations_without_a_transport_suggest_one() {
    let (home, image) = recipe();
    for (destination, cause) in [
        ("localhost:5000/a:v1", "for a registry, write docker://localhost:5000/a:v1; destinations are "),
        (
            "app:v2",
            "for docker, write docker-daemon:app:v2, for containerd, write containerd:app:v2, for podman, write \
             containers-storage:app:v2, for a registry docker://HOST/app:v2",
        ),
        ("podman:", "for podman, write containers-storage:"),
        ("podman:app:v1", "for podman, write containers-storage:app:v1"),
        ("kind:app:v1", "for kind, write containerd:app:v1 --via kind"),
        ("docker:app:v1", "write docker://HOST/NAME:TAG"),
        ("file:out.tar", "for a file, write oci-archive:out.tar or docker-archive:out.tar"),
        ("ok.tar:app:v1", "for a file, write oci-archive:ok.tar:app:v1 or docker-archive:ok.tar:app:v1"),
        ("https://registry.example.com/a:v1", "for a registry, write docker://registry.example.com/a:v1"),
        ("oci:layout:bad tag", "\"bad tag\" is not a name of an image"),
        ("out.tar", "for a file, write oci-archive:out.tar or docker-archive:out.tar"),
        ("./out", "for a directory oci:./out or dir:./out"),
        ("docker://localhost:5000", "names a registry without a repository; write docker://localhost:5000/NAME:TAG"),
        ("docker://registry.example.com", "write docker://registry.example.com/NAME:TAG"),
    ] {
        fails(home.path(), &["copy", &image, destination], &[cause]);
    }
}

#[test]
fn errors_of_sources_suggest_how_to_write_them() {
    let home = tempfile::tempdir().unwrap();
    let image = Image::new(&[tar(&[("one", b"1")])]);
    let path = home.path().join("ok.tar").display().to_string();
    crate::choices::docker_archive(std::path::Path::new(&path), &[("app:v1", &image)]);
    let layout = home.path().join("layout").display().to_string();
    write_layout(std::path::Path::new(&layout), &image);
    for (source, cause) in [
        (String::new(), "the source is empty; write an image.json".to_owned()),
        ("file:x.tar".to_owned(), "for a file or a directory, write its path: x.tar".to_owned()),
        ("file:///x.tar".to_owned(), "write its path: /x.tar".to_owned()),
        ("podman:app:v1".to_owned(), "for podman, write containers-storage:app:v1".to_owned()),
        (
            "https://registry.example.com/a:v1".to_owned(),
            "for an image of a registry, write docker://registry.example.com/a:v1".to_owned(),
        ),
        (format!("{path}:app:v1"), format!("write oci-archive:{path}:app:v1 or docker-archive:{path}:app:v1")),
        (format!("{layout}:t"), format!("for one image in {layout}, write oci:{layout}:t")),
    ] {
        fails(home.path(), &["copy", &source, "oci:out"], &[&cause]);
    }
}

#[test]
fn destinations_replace_no_other_file() {
    let home = tempfile::tempdir().unwrap();
    let image = Image::new(&[tar(&[("one", b"1")])]);
    let path = home.path().join("saved.tar").display().to_string();
    crate::choices::docker_archive(std::path::Path::new(&path), &[("app:v1", &image), ("app:v2", &image)]);
    let before = fs::read(&path).unwrap();
    let [one, all] = [format!("docker-archive:{path}:app:v1"), format!("docker-archive:{path}")];
    fails(home.path(), &["copy", &one, &all], &["it is the file that", "reads; write another file"]);
    assert_eq!(fs::read(&path).unwrap(), before);
    // The path before the colon is another file.
    let directory = home.path().join("a:b");
    fs::create_dir(&directory).unwrap();
    let destination = format!("docker-archive:{}/x.tar", directory.display());
    fails(home.path(), &["copy", &one, &destination], &["a path ends at its first colon, and the directory"]);
    assert!(!home.path().join("a").exists());
}

#[test]
fn wrong_types_in_documents_name_the_field() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("saved.tar");
    for (manifest, reason) in [
        (r#"[{"Config":"c","Layers":{}}]"#, "manifest.json: [0].Layers must be a list, not an object"),
        (r#"[{"Config":["c"]}]"#, "manifest.json: [0].Config must be a string, not a list"),
        (r#"{}"#, "manifest.json: it must be a list, not an object"),
        ("[", "manifest.json: it is not JSON: "),
    ] {
        fs::write(&path, tar(&[("manifest.json", manifest.as_bytes())])).unwrap();
        fails(home.path(), &["inspect", path.to_str().unwrap()], &[reason]);
    }
    let layout = home.path().join("layout");
    let mut image = Image::new(&[tar(&[("one", b"1")])]);
    let mut manifest: serde_json::Value = serde_json::from_slice(&image.manifest).unwrap();
    manifest["layers"][0]["size"] = "1".into();
    image.manifest = manifest.to_string().into_bytes();
    write_layout(&layout, &image);
    fails(home.path(), &["inspect", layout.to_str().unwrap()], &["layers[0].size must be a number, not \"1\""]);
    fs::write(layout.join("index.json"), r#"{"schemaVersion":2,"manifests":1}"#).unwrap();
    fails(home.path(), &["inspect", layout.to_str().unwrap()], &["index.json: manifests must be a list, not 1"]);
}

/// Go reads null as an empty value, and so do docker and skopeo.
#[test]
fn null_is_an_empty_value() {
    let home = tempfile::tempdir().unwrap();
    let layout = home.path().join("layout");
    let mut image = Image::new(&[tar(&[("one", b"1")])]);
    let mut config: serde_json::Value = serde_json::from_slice(&image.blobs[1]).unwrap();
    config["history"] = json!([null]);
    config["created"] = "".into();
    config["config"] = json!({ "Env": [null], "Labels": { "a": null } });
    image.blobs[1] = config.to_string().into_bytes();
    let mut manifest: serde_json::Value = serde_json::from_slice(&image.manifest).unwrap();
    manifest["config"]["digest"] = Digest::sha256(&image.blobs[1]).to_string().into();
    manifest["config"]["size"] = image.blobs[1].len().into();
    manifest["annotations"] = json!(null);
    manifest["layers"][0]["annotations"] = json!({ "x": null });
    image.manifest = manifest.to_string().into_bytes();
    write_layout(&layout, &image);
    let source = format!("oci:{}", layout.display());
    succeeds(home.path(), &["inspect", &source]);
    succeeds(home.path(), &["verify", &source]);
    succeeds(home.path(), &["copy", "-q", &source, &format!("oci:{}", home.path().join("out").display())]);
}

#[test]
fn store_paths_that_are_gone_are_named_with_the_remedy() {
    let (home, image) = recipe();
    let out = format!("oci:{}", home.path().join("out").display());
    let gone = "/nix/store/00000000000000000000000000000000-gone is not on this machine";
    let substituter = ["--substituter", "http://127.0.0.1:1"];
    let arguments = [&["copy", "-q", &image, &out][..], &substituter].concat();
    fails(home.path(), &arguments, &[gone, "build the image again, or name a cache that has it with --substituter"]);
}

#[test]
fn commands_of_via_that_do_not_run_are_named() {
    let (home, image) = recipe();
    let arguments = ["copy", &image, "docker-daemon:", "--via", "no-such-command"];
    fails(
        home.path(),
        &arguments,
        &["--via is the beginning of a command line", "does `no-such-command version` work?"],
    );
}

#[test]
fn paths_with_colons_are_written_alone() {
    let home = tempfile::tempdir().unwrap();
    let layout = home.path().join("with:colon");
    write_layout(&layout, &Image::new(&[tar(&[("one", b"1")])]));
    let path = layout.to_str().unwrap();
    fails(
        home.path(),
        &["inspect", &format!("oci:{path}")],
        &["a path ends at its first colon; write the path alone", path],
    );
    succeeds(home.path(), &["inspect", path]);
}

#[test]
fn entries_of_a_manifest_json_without_a_name_are_errors() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("saved.tar");
    let image = Image::new(&[tar(&[("one", b"1")])]);
    for (config, layer, reason) in [
        ("config.json", "", "manifest.json: layer 1 of an image has no file name"),
        ("", "layer.tar", "names no config"),
    ] {
        let manifest = json!([{ "Config": config, "RepoTags": ["x:t"], "Layers": [layer] }]).to_string();
        let files: [(&str, &[u8]); 3] =
            [("manifest.json", manifest.as_bytes()), ("config.json", &image.blobs[1]), ("layer.tar", &image.blobs[0])];
        fs::write(&path, tar(&files)).unwrap();
        fails(home.path(), &["inspect", path.to_str().unwrap()], &[reason]);
    }
}

#[test]
fn archives_without_a_platform_say_so() {
    let home = tempfile::tempdir().unwrap();
    let mut image = Image::new(&[tar(&[("one", b"1")])]);
    let mut config: serde_json::Value = serde_json::from_slice(&image.blobs[1]).unwrap();
    for key in ["os", "architecture"] {
        config.as_object_mut().unwrap().remove(key);
    }
    image.blobs[1] = config.to_string().into_bytes();
    let path = home.path().join("saved.tar");
    crate::choices::docker_archive(&path, &[("one:a", &image)]);
    let out = format!("oci:{}", home.path().join("out").display());
    fails(
        home.path(),
        &["copy", path.to_str().unwrap(), &out, "--platform", "linux/arm64"],
        &["no image matches linux/arm64; found an image that names no platform"],
    );
}

#[test]
fn inspect_prints_the_digest_of_a_push() {
    let home = tempfile::tempdir().unwrap();
    for (image, messages) in [
        (
            Image::new(&[tar(&[("one", b"1")])]),
            "(with uncompressed layers; a push compresses them, and prints its digest)",
        ),
        (Image::with_gzip(&[tar(&[("one", b"1")])]), "(a push keeps it)"),
    ] {
        let layout = home.path().join(image.digest().hex());
        write_layout(&layout, &image);
        let output = succeeds(home.path(), &["inspect", layout.to_str().unwrap()]);
        assert!(text(&output).contains(&format!("{} {messages}", image.digest())), "{}", text(&output));
    }
}

/// An archive whose history lists the store paths, like those of dockerTools.
#[test]
fn store_paths_of_an_archive_have_sizes() {
    let home = tempfile::tempdir().unwrap();
    let store_path = "/nix/store/00000000000000000000000000000000-tool";
    let file = format!("{}/bin/tool", store_path.trim_start_matches('/'));
    let mut image = Image::new(&[tar(&[(&file, &[b'x'; 3000])])]);
    let mut config: serde_json::Value = serde_json::from_slice(&image.blobs[1]).unwrap();
    config["history"] = json!([{ "comment": format!("store paths: ['{store_path}']") }]);
    image.blobs[1] = config.to_string().into_bytes();
    let path = home.path().join("saved.tar");
    crate::choices::docker_archive(&path, &[("one:a", &image)]);
    let output = succeeds(home.path(), &["explain", "--json", path.to_str().unwrap()]);
    let explained: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(explained["layers"][0]["paths"][0], json!({ "path": store_path, "size": 3000 }));
    assert_eq!(explained["biggest"][0]["size"], 3000);
}

#[test]
fn the_number_of_problems_is_that_of_the_lines() {
    let home = tempfile::tempdir().unwrap();
    let layout = home.path().join("layout");
    let image = Image::new(&[tar(&[("one", b"1")])]);
    write_layout(&layout, &image);
    fs::write(layout.join("blobs/sha256").join(Digest::sha256(&image.blobs[0]).hex()), tar(&[("one", b"2")])).unwrap();
    let output = strata(home.path()).args(["verify", layout.to_str().unwrap()]).output().unwrap();
    assert!(!output.status.success());
    let printed = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    // Sizes have the units of every other table.
    assert!(printed.ends_with(" kB, 1 problem") || printed.ends_with(" B, 1 problem"), "{printed}");
}

/// A recipe of a store path that is on no machine, whose layer is a file.
fn recipe_with_blob(home: &std::path::Path, store_path: &str) -> String {
    let (path, blob) = (home.join(store_path), home.join(format!("{store_path}.tar")));
    let layer = tar(&[(store_path, b"1")]);
    fs::write(&blob, &layer).unwrap();
    let digest = Digest::sha256(&layer);
    let layer = json!({ "digest": digest, "size": layer.len(), "diff_ids": digest, "layer-path": blob,
        "paths": [{ "path": format!("/nix/store/{store_path}") }],
        "mediatype": "application/vnd.oci.image.layer.v1.tar" });
    let image =
        json!({ "version": 1, "image-config": {}, "layers": [layer], "arch": "amd64", "name": "x", "tag": "t" });
    fs::write(&path, image.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn tables_are_printed_with_legends() {
    let home = tempfile::tempdir().unwrap();
    let old = recipe_with_blob(home.path(), "00000000000000000000000000000000-tool-1");
    let new = recipe_with_blob(home.path(), "00000000000000000000000000000001-tool-2");
    let output = strata(home.path()).args(["diff", &old, &new]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let messages = String::from_utf8(output.stdout).unwrap();
    assert!(messages.starts_with("~ tool-1 -> tool-2\n"), "{messages}");
    let legend = "\n\n~: a store path that the new image has in another build or version; +: only in the new image; -: only in the old one\n";
    assert!(messages.ends_with(legend), "{messages}");
    // An image without a list of store paths cannot be explained.
    let output = succeeds(home.path(), &["diff", &old, &old]);
    assert!(!text(&output).contains("~:"), "{}", text(&output));
    // A table whose numbers are unknown has its columns explained too.
    let saved = home.path().join("saved.tar");
    crate::choices::docker_archive(&saved, &[("one:a", &Image::new(&[tar(&[("one", b"1")])]))]);
    let output = succeeds(home.path(), &["explain", saved.to_str().unwrap()]);
    for column in ["chance", "an update", "together"] {
        assert!(text(&output).contains(&format!("{column}: ")), "{column}: {}", text(&output));
    }
}

#[test]
fn explain_of_an_archive_names_the_command_for_its_recipe() {
    let home = tempfile::tempdir().unwrap();
    let saved = home.path().join("saved.tar");
    crate::choices::docker_archive(&saved, &[("one:a", &Image::new(&[tar(&[("one", b"1")])]))]);
    let messages = text(&succeeds(home.path(), &["explain", saved.to_str().unwrap()]));
    let where_it_is = "only an image.json has the references of store paths; archives of makeContainerImage and dockerTools have it \
                       as their attribute recipe: strata explain .#NAME.recipe";
    assert!(messages.contains(where_it_is), "{messages}");
}

#[test]
fn verify_reports_layers_that_engines_refuse() {
    let home = tempfile::tempdir().unwrap();
    let whole = tar(&[("file", b"content")]);
    for (layer, problem) in [
        (b"no tar\n".repeat(100), "it is not a well-formed tar"),
        (whole[..516].to_vec(), "it is not a well-formed tar"),
        (tar(&[("usr/.wh.", b"")]), "usr/.wh. is a whiteout of no file"),
        (tar(&[("etc/.wh...", b"")]), "etc/.wh... is a whiteout of no file"),
    ] {
        let layout = home.path().join("layout");
        let _ = std::fs::remove_dir_all(&layout);
        write_layout(&layout, &Image::new(&[layer]));
        fails(home.path(), &["verify", &format!("oci:{}", layout.display())], &[problem]);
    }
}
