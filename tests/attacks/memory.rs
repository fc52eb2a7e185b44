//! Inputs without measure, one for each reader: the program refuses them in time, under a memory limit (`setrlimit`).

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use serde_json::{Value, json};
use strata::internals::oci::{Digest, descriptor::media_type};
use tar::{EntryType, Header};

use crate::{
    images::{Image, descriptor, sqlite, tar, write_layout},
    registry::Registry,
    run::{limited_strata, text},
};

/// Enough for threads, buffers and SQLite, and for the largest document that is accepted.
const MEGABYTES: u32 = 700;
const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const SECONDS: u32 = 600;
/// A file of this size is a hole on the disk.
const HOLE: u64 = 20 << 30;

/// Runs the program, which must end by itself; whether it succeeded, and its output.
fn run(home: &Path, arguments: &[&str]) -> (bool, String) {
    let output = limited_strata(home, MEGABYTES, SECONDS).args(arguments).output().unwrap();
    let messages = text(&output);
    assert!(output.status.code().is_some_and(|code| code <= 2), "{arguments:?}: {:?}: {messages}", output.status);
    (output.status.success(), messages)
}

/// Runs the program, which must refuse its input for this reason.
fn refused(home: &Path, arguments: &[&str], why: &str) {
    let (succeeded, messages) = run(home, arguments);
    assert!(!succeeded && messages.contains(why), "{arguments:?}: {messages}");
}

fn compress(write: impl FnOnce(&mut tar::Builder<zstd::Encoder<'static, Vec<u8>>>)) -> Vec<u8> {
    let mut tar = tar::Builder::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
    write(&mut tar);
    tar.into_inner().unwrap().finish().unwrap()
}

fn empty_file(kind: EntryType) -> Header {
    let mut header = Header::new_ustar();
    header.set_size(0);
    header.set_mode(0o644);
    header.set_entry_type(kind);
    header.set_cksum();
    header
}

/// Appends an empty entry with PAX records.
fn append<W: Write>(tar: &mut tar::Builder<W>, kind: EntryType, records: &[(&str, &[u8])]) {
    tar.append_pax_extensions(records.iter().copied()).unwrap();
    tar.append(&empty_file(kind), io::empty()).unwrap();
}

/// A layout of an image with one compressed layer, as `oci:DIR`.
fn layout(home: &Path, layer: Vec<u8>) -> String {
    let mut uncompressed = zstd::Decoder::new(layer.as_slice()).unwrap();
    let mut hasher = strata::internals::oci::Sha256Writer::new(io::sink());
    io::copy(&mut uncompressed, &mut hasher).unwrap();
    let directory = home.join("image");
    write_layout(&directory, &Image::with_ids(&[hasher.finish().1], ZSTD, vec![layer]));
    format!("oci:{}", directory.display())
}

#[test]
fn documents_of_a_registry_are_bounded() {
    let (home, registry) = (tempfile::tempdir().unwrap(), Registry::start());
    let large = vec![b' '; 32 << 20];
    let image = Image::new(&[tar(&[("file", b"1")])]);
    registry.put_image("v1", &image);
    // The document is the manifest, the config, and the manifest of a tag of signatures.
    registry.put_tag("large", &large);
    let out = format!("oci:{}", home.path().join("out").display());
    refused(home.path(), &["copy", "-q", &registry.reference("large"), &out], "reading the manifest");
    let mut manifest: Value = serde_json::from_slice(&image.manifest).unwrap();
    manifest["config"] = descriptor(media_type::CONFIG, &large);
    registry.put_tag("config", manifest.to_string().as_bytes());
    refused(home.path(), &["copy", "-q", &registry.reference("config"), &out], "which is the limit");
    manifest["config"]["size"] = 1.into();
    registry.put_tag("small", manifest.to_string().as_bytes());
    refused(home.path(), &["copy", "-q", &registry.reference("small"), &out], "its digest is");
}

#[test]
fn files_of_layouts_directories_and_recipes_are_bounded() {
    let home = tempfile::tempdir().unwrap();
    let out = format!("oci:{}", home.path().join("out").display());
    let hole = |name: &str| File::create(home.path().join(name)).unwrap().set_len(HOLE).unwrap();
    let directory = home.path().display().to_string();
    fs::write(home.path().join("version"), "Directory Transport Version: 1.1\n").unwrap();
    hole("manifest.json");
    refused(home.path(), &["copy", "-q", &format!("dir:{directory}"), &out], "which is the limit");
    fs::write(home.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    hole("index.json");
    refused(home.path(), &["copy", "-q", &format!("oci:{directory}"), &out], "which is the limit");
    let start = r#"{"version":1,"image-config":{},"#;
    let mut recipe = File::create(home.path().join("image.json")).unwrap();
    recipe.write_all(start.as_bytes()).unwrap();
    recipe.set_len(HOLE).unwrap();
    refused(home.path(), &["copy", "-q", &format!("{directory}/image.json"), &out], "the recipe has more than");
}

/// Puts an index of `count` images that differ in one annotation at the tag `index`.
fn put_index(registry: &Registry, mut manifest: Value, count: usize) {
    let children: Vec<Value> = (0..count)
        .map(|number| {
            manifest["annotations"]["number"] = json!(number.to_string());
            let bytes = manifest.to_string().into_bytes();
            registry.put_blob(&bytes);
            descriptor(media_type::MANIFEST, &bytes)
        })
        .collect();
    let index = json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": children });
    registry.put_tag("index", index.to_string().as_bytes());
}

#[test]
fn many_documents_together_are_bounded() {
    let (home, registry) = (tempfile::tempdir().unwrap(), Registry::start());
    let layer = tar(&[("file", b"1")]);
    let image = Image::new(std::slice::from_ref(&layer));
    registry.put_image("v1", &image);
    let mut manifest: Value = serde_json::from_slice(&image.manifest).unwrap();
    manifest["annotations"] = json!({ "text": "x".repeat(4_000_000) });
    put_index(&registry, manifest, 68);
    let out = format!("oci:{}", home.path().join("out").display());
    refused(home.path(), &["copy", "-q", "--all", &registry.reference("index"), &out], "which is the limit");
}

/// Before a push compresses a layer, it searches its blob in the images of the tag that it writes.
#[test]
fn unknown_fields_of_images_in_a_registry_are_not_kept() {
    let (home, registry) = (tempfile::tempdir().unwrap(), Registry::start());
    let layer = tar(&[("file", b"1")]);
    let image = Image::with_ids(&[Digest::sha256(&layer)], media_type::LAYER_TAR, vec![layer]);
    registry.put_image("v1", &image);
    write_layout(&home.path().join("image"), &image);
    let mut manifest: Value = serde_json::from_slice(&image.manifest).unwrap();
    manifest["layers"][0]["unknown"] = vec![0; 1_000_000].into();
    put_index(&registry, manifest, 60);
    let from = format!("oci:{}", home.path().join("image").display());
    // This registry takes no blobs.
    refused(home.path(), &["copy", "-q", &from, &registry.reference("index")], "uploading a blob");
}

#[test]
fn names_in_archives_are_bounded() {
    let name = vec![b'a'; 1_000_000];
    let names = |kind: EntryType| {
        compress(|tar| {
            for number in 0..120 {
                let name = [format!("{number}/").as_bytes(), &name].concat();
                append(tar, kind, &[("path", &name), ("linkpath", b"index.json")]);
            }
        })
    };
    let documents = compress(|tar| {
        let document = [b"{".to_vec(), vec![b' '; 4_000_000]].concat();
        for number in 0..30 {
            let mut header = Header::new_ustar();
            header.set_size(document.len() as u64);
            tar.append_data(&mut header, format!("{number}"), document.as_slice()).unwrap();
        }
    });
    for (archive, why) in [
        (names(EntryType::Regular), "the archive has more than"),
        (names(EntryType::Symlink), "the archive has more than"),
        (documents, "manifest.json"),
    ] {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("archive");
        fs::write(&path, archive).unwrap();
        let from = path.display().to_string();
        refused(home.path(), &["copy", "-q", &from, &format!("oci:{from}-out")], why);
    }
}

#[test]
fn extended_attributes_and_package_databases_of_a_layer_are_bounded() {
    let value = vec![b'a'; 900_000];
    let attributes = compress(|tar| {
        for number in 0..120 {
            append(
                tar,
                EntryType::Regular,
                &[("path", format!("{number}").as_bytes()), ("SCHILY.xattr.user.a", &value)],
            );
        }
    });
    // Empty databases: none has a package that would count.
    let name = vec![b'a'; 4000];
    let databases = compress(|tar| {
        for number in 0..30_000 {
            let path = [format!("var/lib/dpkg/status.d/{number}").as_bytes(), &name].concat();
            append(tar, EntryType::Regular, &[("path", &path)]);
        }
    });
    for (layer, why) in [
        (attributes, "the set of extended attributes has more than"),
        (databases, "the set of package databases has more than"),
    ] {
        let home = tempfile::tempdir().unwrap();
        refused(home.path(), &["sbom", &layout(home.path(), layer)], why);
    }
}

#[test]
fn references_of_a_nix_database_are_bounded() {
    let sql = "create table ValidPaths (id integer primary key, path text, hash text, narSize integer);
        create table Refs (referrer integer, reference integer);
        insert into ValidPaths values (1, '', 'sha256:', 1);
        with recursive c(x) as (select 1 union all select x + 1 from c where x < 2100000)
        insert into Refs select 1, 1 from c;";
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join(format!("{}-layout", "0".repeat(32)));
    write_layout(&directory, &Image::with_gzip(&[tar(&[("nix/var/nix/db/db.sqlite", &sqlite(sql))])]));
    let build = |kind: &str, request: Value| {
        let attributes = json!({ "strata": { "version": 1, "kind": kind, "request": request }, "closure": [],
            "outputs": { "out": home.path().join(kind) } });
        let file = home.path().join(format!("{kind}.json"));
        fs::write(&file, attributes.to_string()).unwrap();
        let mut command = limited_strata(home.path(), MEGABYTES, SECONDS);
        command.arg("build").env("NIX_ATTRS_JSON_FILE", &file).env("NIX_STORE", home.path());
        let output = command.output().unwrap();
        (output.status.code(), text(&output))
    };
    let base = json!({ "image": directory, "name": null, "tag": null, "arch": "amd64", "variant": null });
    assert_eq!(build("base", base).0, Some(0));
    let (code, messages) =
        build("nix-database", json!({ "elsewhere": [], "base": { "fromImage": home.path().join("base") } }));
    assert!(code == Some(2) && messages.contains("references, which is the limit"), "{code:?}: {messages}");
}

/// An image whose layer has a zstd:chunked table of contents with this text.
fn with_toc(toc: &[u8], length: usize) -> Image {
    let layer = zstd::encode_all(tar(&[("file", b"1")]).as_slice(), 3).unwrap();
    let table = zstd::encode_all(toc, 3).unwrap();
    // A skippable frame holds the table, so that other readers pass over it.
    let frame = [&0x184d_2a50_u32.to_le_bytes()[..], &u32::try_from(table.len()).unwrap().to_le_bytes()].concat();
    let blob = [layer.as_slice(), &frame, &table].concat();
    let offset = layer.len() + frame.len();
    let mut image = Image::with_ids(&[Digest::sha256(&tar(&[("file", b"1")]))], ZSTD, vec![blob]);
    let mut manifest: Value = serde_json::from_slice(&image.manifest).unwrap();
    manifest["layers"][0]["annotations"] = json!({
        "io.github.containers.zstd-chunked.manifest-checksum": Digest::sha256(&table),
        "io.github.containers.zstd-chunked.manifest-position": format!("{offset}:{}:{length}:1", table.len()),
    });
    image.manifest = manifest.to_string().into_bytes();
    image
}

#[test]
fn tables_of_contents_are_bounded() {
    let entries = r#"{"type":"dir","name":"a"},"#.repeat(5_000_000);
    let many = format!(r#"{{"version":1,"entries":[{entries}{{}}]}}"#);
    let zeros = vec![b' '; 160 << 20];
    for (toc, length, why) in [
        (many.as_bytes(), many.len(), "which is the limit"),
        (&zeros, 1000, "it does not have the 1000 bytes"),
        (&zeros, zeros.len(), "table of contents"),
    ] {
        let home = tempfile::tempdir().unwrap();
        write_layout(&home.path().join("image"), &with_toc(toc, length));
        refused(home.path(), &["verify", &format!("oci:{}", home.path().join("image").display())], why);
    }
}

#[test]
fn a_table_of_contents_without_a_position_is_reported() {
    // stargz-snapshotter finds it by the footer, and compares only its digest.
    let mut image = with_toc(b"{}", 2);
    let mut manifest: Value = serde_json::from_slice(&image.manifest).unwrap();
    manifest["layers"][0]["annotations"] = json!({ "containerd.io/snapshot/stargz/toc.digest": Digest::sha256(b"{}") });
    image.manifest = manifest.to_string().into_bytes();
    let home = tempfile::tempdir().unwrap();
    write_layout(&home.path().join("image"), &image);
    let layout = format!("oci:{}", home.path().join("image").display());
    refused(home.path(), &["verify", &layout], "no annotation has its position");
}

const PATH: &str = "/nix/store/0c6a1cv41yy9yz8svln6w09ks4wdjk4n-hello";

/// A recipe with a store path that the machine lacks, and a binary cache with this narinfo.
fn recipe_of_cache(home: &Path, narinfo: &str) -> String {
    fs::create_dir_all(home.join("cache/nar")).unwrap();
    fs::write(home.join("cache/0c6a1cv41yy9yz8svln6w09ks4wdjk4n.narinfo"), narinfo).unwrap();
    let digest = Digest::sha256(b"a layer");
    let layer = json!({ "digest": digest, "size": 7, "diff_ids": digest, "mediatype": media_type::LAYER_TAR,
        "paths": [{ "path": PATH }], "History": {} });
    let recipe = json!({ "version": 1, "image-config": {}, "arch": "amd64", "layers": [layer] });
    fs::write(home.join("image.json"), recipe.to_string()).unwrap();
    home.join("image.json").display().to_string()
}

#[test]
fn narinfo_files_and_nars_are_bounded() {
    let home = tempfile::tempdir().unwrap();
    let out = format!("oci:{}", home.path().join("out").display());
    let cache = format!("file://{}", home.path().join("cache").display());
    let recipe = recipe_of_cache(home.path(), "");
    let narinfo = home.path().join("cache/0c6a1cv41yy9yz8svln6w09ks4wdjk4n.narinfo");
    let copy = ["copy", "-q", &recipe, &out, "--substituter", &cache];
    File::options().write(true).open(&narinfo).unwrap().set_len(HOLE).unwrap();
    refused(home.path(), &copy, "the narinfo has more than");
    let text = |word: &str| {
        let zeros = word.len().next_multiple_of(8) - word.len();
        [&(word.len() as u64).to_le_bytes(), word.as_bytes(), &vec![0; zeros]].concat()
    };
    let words = |words: &[&str]| words.iter().flat_map(|word| text(word)).collect::<Vec<u8>>();
    let start = words(&["nix-archive-1", "(", "type", "directory"]);
    // A name of 2^60 bytes; a directory in a directory without end; a name twice.
    let entry =
        |name: &str| words(&["entry", "(", "name", name, "node", "(", "type", "symlink", "target", "", ")", ")"]);
    let deep = words(&["entry", "(", "name", "a", "node", "(", "type", "directory"]);
    for (nar, why) in [
        ([start.as_slice(), &text("entry"), &(1_u64 << 60).to_le_bytes()].concat(), "a name of"),
        ([start.as_slice(), &deep.repeat(100_000)].concat(), "a path is too long"),
        ([start.as_slice(), &entry("a").repeat(10)].concat(), "is not in order"),
    ] {
        let lines = format!(
            "StorePath: {PATH}\nURL: nar/x\nCompression: zstd\n\
             NarHash: sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73\nNarSize: {}\n",
            nar.len()
        );
        recipe_of_cache(home.path(), &lines);
        fs::write(home.path().join("cache/nar/x"), zstd::encode_all(nar.as_slice(), 3).unwrap()).unwrap();
        refused(home.path(), &copy, why);
    }
}
