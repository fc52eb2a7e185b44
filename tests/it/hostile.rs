//! Hostile images: each is refused with a clear error, and nothing is written outside of the target directory. hostile_layers.rs
//! tests the entries of layers.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use strata::{
    Recipe,
    internals::{image::Choice, oci::Digest, transport},
};

const CONFIG: &str = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[DIFF_IDS]}}"#;

/// A tar with these files.
pub fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        append(&mut tar, name, bytes);
    }
    tar.into_inner().unwrap()
}

/// An archive with these files.
fn archive(path: &Path, files: &[(&str, &[u8])]) {
    fs::write(path, tar(files)).unwrap();
}

pub fn append<W: Write>(tar: &mut tar::Builder<W>, name: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    // Any name, however bad: the crate's own setters refuse them.
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    tar.append(&header, bytes).unwrap();
}

fn config(layers: &[&[u8]]) -> String {
    let ids: Vec<String> = layers.iter().map(|layer| format!("\"{}\"", Digest::sha256(layer))).collect();
    CONFIG.replace("DIFF_IDS", &ids.join(","))
}

/// The error of unpacking the image, and that nothing but `allowed` came of it.
fn refused(path: &Path) -> String {
    let top = tempfile::tempdir().unwrap();
    let inside = top.path().join("inside");
    fs::create_dir(&inside).unwrap();
    let error = Recipe::from_any(path, &Choice::default(), &inside).expect_err("this image should be refused");
    let outside: Vec<PathBuf> = fs::read_dir(top.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(outside, [inside]);
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    text
}

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let top = tempfile::tempdir().unwrap();
    let path = top.path().join("image.tar");
    (top, path)
}

#[test]
fn names_of_layers_in_archives_are_not_paths() {
    let (_top, path) = scratch();
    for name in ["../../escaped", "/tmp/strata-escaped", "a/../../escaped"] {
        let manifest = format!(r#"[{{"Config":"config.json","RepoTags":null,"Layers":["{name}"]}}]"#);
        let config = config(&[b"layer"]);
        // The content of the layer differs from the diff_id in the config.
        let files: [(&str, &[u8]); 3] =
            [(name, b"other"), ("config.json", config.as_bytes()), ("manifest.json", manifest.as_bytes())];
        archive(&path, &files);
        let error = refused(&path);
        assert!(error.contains("it is sha256:"), "{error}");
        assert!(!Path::new("/tmp/strata-escaped").exists());
    }
}

#[test]
fn links_in_archives_are_not_followed() {
    let (_top, path) = scratch();
    let mut tar = tar::Builder::new(File::create(&path).unwrap());
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    header.set_path("layer.tar").unwrap();
    header.set_link_name("../../../etc/passwd").unwrap();
    header.set_cksum();
    tar.append(&header, std::io::empty()).unwrap();
    append(&mut tar, "config.json", config(&[b"x"]).as_bytes());
    append(&mut tar, "manifest.json", br#"[{"Config":"config.json","RepoTags":null,"Layers":["layer.tar"]}]"#);
    tar.finish().unwrap();
    drop(tar);
    let error = refused(&path);
    assert!(error.contains("layer.tar: it is missing"), "{error}");
}

#[test]
fn wrong_digests_are_reported() {
    let top = tempfile::tempdir().unwrap();
    let blobs = top.path().join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(top.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let put = |bytes: &[u8]| {
        let digest = Digest::sha256(bytes);
        fs::write(blobs.join(digest.hex()), bytes).unwrap();
        digest
    };
    let config = config(&[b"layer"]);
    put(config.as_bytes());
    let layer = Digest::sha256(b"layer");
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},
           "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer}","size":5}}]}}"#,
        Digest::sha256(config.as_bytes()),
        config.len()
    );
    put(manifest.as_bytes());
    let index = |digest: &str| {
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":{}}}]}}"#,
            manifest.len()
        );
        fs::write(top.path().join("index.json"), text).unwrap();
    };
    index(&Digest::sha256(manifest.as_bytes()).to_string());
    // A layer whose blob is something else; a directory's blobs are files that are used in place, so copying finds it.
    fs::write(blobs.join(layer.hex()), "LAYER").unwrap();
    let opened = transport::open(top.path()).unwrap();
    let image = opened.image(None).unwrap();
    let error = image.layers[0].write(&mut std::io::sink()).unwrap_err();
    assert!(format!("{:?}", error).contains("it is sha256:"), "{error:?}");
    // The manifest differs from its digest in the index.
    let lied = Digest::sha256(b"manifest");
    fs::write(blobs.join(lied.hex()), &manifest).unwrap();
    index(&lied.to_string());
    assert!(refused(top.path()).contains("which differs from its name"));
    // The config differs from its digest in the manifest.
    index(&Digest::sha256(manifest.as_bytes()).to_string());
    fs::write(blobs.join(Digest::sha256(config.as_bytes()).hex()), config.replace("amd64", "arm64")).unwrap();
    assert!(refused(top.path()).contains("which differs from its name"));
    // Indexes in indexes, deeper than any stack.
    let mut inner = put(br#"{"schemaVersion":2,"manifests":[]}"#);
    let mut size = br#"{"schemaVersion":2,"manifests":[]}"#.len();
    for _ in 0..20_000 {
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"{inner}","size":{size}}}]}}"#
        );
        (inner, size) = (put(text.as_bytes()), text.len());
    }
    fs::copy(blobs.join(inner.hex()), top.path().join("index.json")).unwrap();
    assert!(refused(top.path()).contains("more than 16 indexes are nested"));
    // Digests that are paths.
    index("sha256:../../../../etc/passwd");
    assert!(refused(top.path()).contains("is not a digest"));
}

#[test]
fn truncated_and_exploding_archives_end_in_errors() {
    let (_top, path) = scratch();
    let plain = path.with_extension("plain");
    archive(&plain, &[("manifest.json", b"[]"), ("data", &vec![7; 100_000])]);
    let mut gzip = strata::internals::layer::compress::GzipWriter::with_threads(Vec::new(), 1, None).unwrap();
    gzip.write_all(&fs::read(&plain).unwrap()).unwrap();
    let packed = gzip.finish().unwrap();
    fs::write(&path, &packed[..packed.len() / 2]).unwrap();
    let error = refused(&path);
    assert!(error.contains("reading"), "{error}");

    // 3 GiB of zeros in a tar, as zstd: less than a megabyte.
    let mut zstd = zstd::stream::write::Encoder::new(File::create(&path).unwrap(), 3).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_path("zeros").unwrap();
    header.set_size(3 << 30);
    header.set_cksum();
    zstd.write_all(header.as_bytes()).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..3 << 10 {
        zstd.write_all(&zeros).unwrap();
    }
    zstd.finish().unwrap();
    let error = refused(&path);
    assert!(error.contains("it decompresses to more than"), "{error}");
}

#[test]
fn documents_are_bounded() {
    let (_top, path) = scratch();
    let layers: Vec<String> = (0..10_000).map(|at| format!("\"{at}\"")).collect();
    let manifest = format!(r#"[{{"Config":"config.json","RepoTags":null,"Layers":[{}]}}]"#, layers.join(","));
    archive(&path, &[("config.json", config(&[]).as_bytes()), ("manifest.json", manifest.as_bytes())]);
    let error = refused(&path);
    assert!(error.contains("10000 layers exceed the limit"), "{error}");

    // 1 GiB of JSON, most of it a hole.
    let mut file = File::create(&path).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_path("manifest.json").unwrap();
    header.set_size(1 << 30);
    header.set_cksum();
    file.write_all(header.as_bytes()).unwrap();
    file.write_all(b"[").unwrap();
    file.set_len(512 + (1 << 30) + 1024).unwrap();
    let error = refused(&path);
    assert!(error.contains("the document has more than 4194304 bytes"), "{error}");
}

#[test]
fn entries_with_one_name_are_refused() {
    let (_top, path) = scratch();
    let manifest = br#"[{"Config":"config.json","RepoTags":null,"Layers":["layer.tar"]}]"#;
    let config = config(&[b"second"]);
    let files: [(&str, &[u8]); 4] = [
        ("layer.tar", b"first"),
        ("layer.tar", b"second"),
        ("config.json", config.as_bytes()),
        ("manifest.json", manifest),
    ];
    archive(&path, &files);
    let error = refused(&path);
    assert!(error.contains("reading layer.tar in") && error.contains("it occurs twice"), "{error}");
}
