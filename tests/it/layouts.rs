//! Layouts that mean harm, given to the program: it refuses them with a reason, in memory that it has, and never waits
//! for what is no file.

use std::{
    fs,
    io::Write,
    os::unix::{fs::symlink, net::UnixListener},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};
use strata::internals::{
    layer::compress::GzipWriter,
    oci::{Descriptor, Digest, descriptor::media_type},
};

/// A layout of one image, its documents' blobs by what they are.
struct Layout {
    path: PathBuf,
    manifest: Descriptor,
    config: Descriptor,
    layer: Descriptor,
}

fn put(path: &Path, kind: &str, bytes: &[u8]) -> Descriptor {
    let digest = Digest::sha256(bytes);
    fs::create_dir_all(path.join("blobs/sha256")).unwrap();
    fs::write(path.join(digest.blob_name()), bytes).unwrap();
    Descriptor::new(kind, digest, bytes.len() as u64)
}

fn document(path: &Path, kind: &str, document: &Value) -> Descriptor {
    put(path, kind, document.to_string().as_bytes())
}

fn list(path: &Path, descriptors: &[&Descriptor]) {
    fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let index = json!({ "schemaVersion": 2, "manifests": descriptors });
    fs::write(path.join("index.json"), index.to_string()).unwrap();
}

/// Writes a layout with `padding` in the manifest and the config.
fn layout(path: PathBuf, padding: &str) -> Layout {
    let layer = put(&path, media_type::LAYER_TAR, b"layer");
    let config = json!({ "architecture": "amd64", "os": "linux", "padding": padding,
        "rootfs": { "type": "layers", "diff_ids": [layer.digest] } });
    let config = document(&path, media_type::CONFIG, &config);
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [layer], "annotations": { "a": padding } });
    let manifest = document(&path, media_type::MANIFEST, &manifest);
    list(&path, &[&manifest]);
    Layout { path, manifest, config, layer }
}

/// A program that hangs ends too, with 124.
fn strata(arguments: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.args(["300", env!("CARGO_BIN_EXE_strata")]).args(arguments).output().unwrap()
}

/// Returns the error messages of a command that must fail.
fn refused(arguments: &[&str]) -> String {
    let output = strata(arguments);
    let messages = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {messages}");
    messages
}

type Make = fn(&Path);

/// Special files in the place of a blob, and the error of each.
const OTHERS: [(&str, Make); 5] = [
    ("a pipe", |path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success())),
    ("a directory", |path| fs::create_dir(path).unwrap()),
    ("a link to /dev/zero", |path| symlink("/dev/zero", path).unwrap()),
    ("which may be any file", |path| symlink(path, path).unwrap()),
    ("No such device", |path| drop(UnixListener::bind(path).unwrap())),
];

#[test]
fn special_files_are_refused_as_blobs() {
    for (reason, make) in OTHERS {
        for which in 0..3 {
            let top = tempfile::tempdir().unwrap();
            let layout = layout(top.path().join("a"), "");
            let blob = [&layout.manifest, &layout.config, &layout.layer][which].digest.blob_name();
            fs::remove_file(layout.path.join(&blob)).unwrap();
            // A socket's path is short.
            let short = top.path().join("s");
            make(&short);
            if reason == "which may be any file" {
                make(&layout.path.join(&blob))
            } else {
                fs::rename(&short, layout.path.join(&blob)).unwrap()
            }
            let (from, to) = (format!("oci:{}", layout.path.display()), top.path().join("b"));
            for arguments in [
                vec!["copy", &from, &format!("oci:{}", to.display())],
                vec!["copy", &from, &format!("oci-archive:{}", to.display())],
                vec!["copy", &from, &format!("dir:{}", to.display())],
                vec!["verify", layout.path.to_str().unwrap()],
            ] {
                let output = strata(&arguments);
                let all = [output.stdout, output.stderr].concat();
                let all = String::from_utf8_lossy(&all);
                // An unreadable blob is a problem that verify found.
                let code = if arguments[0] == "verify" { 1 } else { 2 };
                assert_eq!(output.status.code(), Some(code), "{arguments:?}: {all}");
                assert!(
                    all.contains(reason) && all.contains(blob.rsplit("/").next().unwrap()),
                    "{arguments:?}: {reason}: {all}"
                );
                assert!(!to.join("index.json").exists() && !to.is_file() && !to.join("version").exists());
                // Blobs that were complete stay in a layout.
                if to.exists() {
                    fs::remove_dir_all(&to).unwrap();
                }
            }
        }
    }
}

#[test]
fn special_files_at_the_destination_are_replaced_or_refused() {
    for (_, make) in OTHERS {
        let top = tempfile::tempdir().unwrap();
        let layout = layout(top.path().join("a"), "");
        let target = top.path().join("b");
        fs::create_dir_all(target.join("blobs/sha256")).unwrap();
        let blob = target.join(layout.layer.digest.blob_name());
        let short = top.path().join("s");
        make(&short);
        fs::rename(&short, &blob).unwrap();
        let copy = ["copy", &format!("oci:{}", layout.path.display()), &format!("oci:{}", target.display())];
        let output = strata(&copy);
        if blob.is_dir() {
            assert!(refused(&copy).contains(blob.to_str().unwrap()));
            assert!(!target.join("index.json").exists());
        } else {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert_eq!(fs::read(&blob).unwrap(), b"layer");
        }
    }
}

#[test]
fn malformed_indexes_are_not_overwritten() {
    let top = tempfile::tempdir().unwrap();
    let layout = layout(top.path().join("a"), "");
    let from = format!("oci:{}", layout.path.display());
    let deep = "[".repeat(100_000);
    for text in ["", "[]", "null", "{}", &deep, r#"{"schemaVersion":2,"manifests":7}"#] {
        let target = top.path().join("b");
        fs::create_dir_all(&target).unwrap();
        let index = target.join("index.json");
        fs::write(&index, text).unwrap();
        let messages = refused(&["copy", &from, &format!("oci:{}", target.display())]);
        assert!(messages.contains(index.to_str().unwrap()) && messages.contains("is not an image index"), "{messages}");
        assert_eq!(fs::read_to_string(&index).unwrap(), text);
        assert!(!target.join("blobs").exists());
        // Nor are they read.
        fs::write(target.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let messages = refused(&["inspect", target.to_str().unwrap()]);
        assert!(messages.contains(index.to_str().unwrap()), "{messages}");
        fs::remove_dir_all(&target).unwrap();
    }
    // The file is sparse and has 20 GiB, or it is a pipe.
    let target = top.path().join("b");
    fs::create_dir_all(&target).unwrap();
    let index = target.join("index.json");
    fs::File::create(&index).unwrap().set_len(20 << 30).unwrap();
    let messages = refused(&["copy", &from, &format!("oci:{}", target.display())]);
    assert!(messages.contains(index.to_str().unwrap()) && messages.contains("is the limit"), "{messages}");
    fs::remove_file(&index).unwrap();
    OTHERS[0].1(&index);
    let messages = refused(&["copy", &from, &format!("oci:{}", target.display())]);
    assert!(messages.contains(index.to_str().unwrap()) && messages.contains("a pipe"), "{messages}");
}

#[test]
fn an_index_that_lists_itself_ends() {
    let top = tempfile::tempdir().unwrap();
    let path = top.path().join("a");
    // An index cannot contain its own digest, so the name of the file is false.
    let digest: Digest = format!("sha256:{:064}", 0).parse().unwrap();
    let itself = Descriptor::new(media_type::INDEX, digest, 1000);
    let text = json!({ "schemaVersion": 2, "manifests": [itself] }).to_string();
    fs::create_dir_all(path.join("blobs/sha256")).unwrap();
    fs::write(path.join(digest.blob_name()), format!("{text:1000}")).unwrap();
    list(&path, &[&itself]);
    let messages =
        refused(&["copy", "--all", &format!("oci:{}", path.display()), &format!("oci:{}/b", path.display())]);
    assert!(messages.contains("which differs from its name"), "{messages}");
    // Nested indexes are accepted up to a depth.
    let mut inner = document(&path, media_type::INDEX, &json!({ "schemaVersion": 2, "manifests": [] }));
    for _ in 0..20 {
        inner = document(&path, media_type::INDEX, &json!({ "schemaVersion": 2, "manifests": [inner] }));
    }
    list(&path, &[&inner]);
    let messages =
        refused(&["copy", "--all", &format!("oci:{}", path.display()), &format!("oci:{}/b", path.display())]);
    assert!(messages.contains("more than 16 indexes are nested"), "{messages}");
}

/// Documents of 4 MB that an index lists a hundred times have 800 MB together.
#[test]
fn documents_are_bounded_together() {
    let top = tempfile::tempdir().unwrap();
    let layout = layout(top.path().join("a"), &"x".repeat(3_900_000));
    let index = json!({ "schemaVersion": 2, "manifests": vec![&layout.manifest; 100] });
    list(&layout.path, &[&document(&layout.path, media_type::INDEX, &index)]);
    let from = format!("oci:{}", layout.path.display());
    let messages = refused(&["copy", "--all", &from, &format!("oci:{}", top.path().join("b").display())]);
    assert!(messages.contains("the image has more than 268435456 bytes"), "{messages}");
}

/// Lists of parts are documents too, and many of them come before the index in an archive.
#[test]
fn archives_with_more_documents_than_the_limit_are_read() {
    let top = tempfile::tempdir().unwrap();
    let layout = layout(top.path().join("a"), "");
    let empty = document(&layout.path, "application/vnd.oci.empty.v1+json", &json!({}));
    let bill = |number: u32| {
        let bill = json!({ "number": number, "parts": "x".repeat(3_900_000) });
        let bill = document(&layout.path, "application/spdx+json", &bill);
        let manifest = json!({ "schemaVersion": 2, "config": empty, "layers": [bill] });
        document(&layout.path, media_type::MANIFEST, &manifest)
    };
    let mut all: Vec<Descriptor> = (0..12).map(bill).collect();
    all.push(layout.manifest.clone());
    let index = document(&layout.path, media_type::INDEX, &json!({ "schemaVersion": 2, "manifests": all }));
    list(&layout.path, &[&index]);
    let archive = top.path().join("a.tar");
    pack(&layout.path, &archive);
    let to = top.path().join("b");
    let from = format!("oci-archive:{}", archive.display());
    let output = strata(&["copy", "--all", &from, &format!("oci:{}", to.display())]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), index.digest.to_string());
}

/// An archive of a layout.
fn pack(layout: &Path, archive: &Path) {
    let mut tar = tar::Builder::new(fs::File::create(archive).unwrap());
    tar.append_dir_all("blobs", layout.join("blobs")).unwrap();
    for name in ["index.json", "oci-layout"] {
        tar.append_path_with_name(layout.join(name), name).unwrap();
    }
    tar.finish().unwrap();
}

#[test]
fn archives_are_read_from_pipes() {
    let top = tempfile::tempdir().unwrap();
    let layout = layout(top.path().join("a"), "");
    let archive = top.path().join("a.tar");
    pack(&layout.path, &archive);
    let plain = fs::read(&archive).unwrap();
    let mut packed = GzipWriter::with_threads(Vec::new(), 1, None).unwrap();
    packed.write_all(&plain).unwrap();
    for bytes in [plain, packed.finish().unwrap()] {
        let to = top.path().join("b");
        let mut command = Command::new("timeout");
        command.args(["300", env!("CARGO_BIN_EXE_strata"), "copy", "oci-archive:/dev/stdin"]);
        command.arg(format!("oci:{}", to.display())).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), layout.manifest.digest.to_string());
        fs::remove_dir_all(&to).unwrap();
    }
}

#[test]
fn truncated_archives_are_reported() {
    let top = tempfile::tempdir().unwrap();
    let layout = layout(top.path().join("a"), &"x".repeat(10_000));
    let archive = top.path().join("a.tar");
    pack(&layout.path, &archive);
    fs::File::options().write(true).open(&archive).unwrap().set_len(5000).unwrap();
    let messages = refused(&["inspect", archive.to_str().unwrap()]);
    assert!(messages.contains(archive.to_str().unwrap()) && messages.contains("unexpected end of file"), "{messages}");
}

#[test]
fn artifacts_are_inspected_and_control_characters_in_names_are_escaped() {
    let top = tempfile::tempdir().unwrap();
    let layout = layout(top.path().join("a"), "");
    let config = put(&layout.path, "application/x-config", b"no JSON");
    let artifact =
        json!({ "schemaVersion": 2, "artifactType": "application/x-artifact", "config": config, "layers": [] });
    let mut artifact = document(&layout.path, media_type::MANIFEST, &artifact);
    artifact.annotations.insert("org.opencontainers.image.ref.name".to_owned(), "\u{1b}[31mred".to_owned());
    list(&layout.path, &[&layout.manifest, &artifact]);
    let output = strata(&["inspect", layout.path.to_str().unwrap()]);
    let messages = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && messages.contains("artifact    application/x-artifact"), "{messages}");
    let messages = refused(&["copy", &format!("oci:{}:none", layout.path.display()), "dir:x"]);
    assert!(messages.contains("red") && !messages.contains('\u{1b}'), "{messages}");
}

#[test]
fn impossible_destinations_are_refused_before_anything_is_written() {
    let top = tempfile::tempdir().unwrap();
    let layout = layout(top.path().join("a"), "");
    let from = format!("oci:{}", layout.path.display());
    for scheme in ["oci", "dir", "oci-archive", "docker-archive"] {
        for arguments in [["copy", &from, &format!("{scheme}:")], ["copy", &format!("{scheme}:"), "dir:x"]] {
            let output = strata(&arguments);
            let messages = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{arguments:?}: {messages}");
            assert!(messages.contains("the path is missing"), "{messages}");
        }
    }
    let to = format!("oci:{}", top.path().join("b").display());
    for flag in ["--additional-tag=latest", "--compression=zstd", "--compression-level=9", "--cache-to=layers"] {
        let messages = refused(&["copy", &from, &to, flag]);
        let name = flag.split('=').next().unwrap();
        assert!(messages.contains(&format!("{name} is for destinations that are registries")), "{messages}");
        assert!(!top.path().join("b").exists());
    }
    // A file is not put in place of a directory, and what is wrong with the layer is not looked at before.
    fs::write(layout.path.join(layout.layer.digest.blob_name()), "LAYER").unwrap();
    let directory = top.path().join("directory");
    fs::create_dir(&directory).unwrap();
    let messages = refused(&["copy", &from, &format!("oci-archive:{}", directory.display())]);
    assert!(
        messages.contains(&format!("writing {}: ", directory.display())) && messages.contains("directory"),
        "{messages}"
    );
}

#[test]
fn a_full_disk_is_reported_for_the_destination() {
    let top = tempfile::tempdir().unwrap();
    let layout = layout(top.path().join("a"), "");
    let layer = put(&layout.path, "application/x-blob", &vec![7; 1 << 20]);
    let config = put(&layout.path, "application/x-config", b"{}");
    let artifact = json!({ "schemaVersion": 2, "config": config, "layers": [layer] });
    list(&layout.path, &[&document(&layout.path, media_type::MANIFEST, &artifact)]);
    let messages = refused(&["copy", &format!("oci:{}", layout.path.display()), "oci-archive:/dev/full"]);
    assert!(
        messages.contains("writing") && !messages.contains("reading") && messages.contains("No space left"),
        "{messages}"
    );
}
