//! Images that mean harm: each is refused with a clear error, and nothing is written outside of the directory that is
//! unpacked to.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use strata::{
    Recipe,
    internals::{
        image::Choice,
        layer::unpack::{self, Bounds},
        oci::Digest,
        transport,
    },
};
use tar::EntryType;

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

fn append<W: Write>(tar: &mut tar::Builder<W>, name: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    // Any name, however bad: the crate's own setters refuse them.
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    tar.append(&header, bytes).unwrap();
}

fn config(layers: &[&[u8]]) -> String {
    let ids: Vec<String> = layers.iter().map(|layer| format!("\"{}\"", Digest::of(layer))).collect();
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
fn names_that_lead_outside_are_only_names() {
    let (_top, path) = scratch();
    for name in ["../../escaped", "/tmp/strata-escaped", "a/../../escaped"] {
        let manifest = format!(r#"[{{"Config":"config.json","RepoTags":null,"Layers":["{name}"]}}]"#);
        let config = config(&[b"layer"]);
        // The layer lies: what it holds is not what the config says.
        let files: [(&str, &[u8]); 3] =
            [(name, b"other"), ("config.json", config.as_bytes()), ("manifest.json", manifest.as_bytes())];
        archive(&path, &files);
        let error = refused(&path);
        assert!(error.contains("it is sha256:"), "{error}");
        assert!(!Path::new("/tmp/strata-escaped").exists());
    }
}

#[test]
fn links_that_lead_outside_lead_nowhere() {
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
        let digest = Digest::of(bytes);
        fs::write(blobs.join(digest.hex()), bytes).unwrap();
        digest
    };
    let config = config(&[b"layer"]);
    put(config.as_bytes());
    let layer = Digest::of(b"layer");
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},
           "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer}","size":5}}]}}"#,
        Digest::of(config.as_bytes()),
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
    index(&Digest::of(manifest.as_bytes()).to_string());
    // A layer whose blob is something else; a directory's blobs are files that are used in place, so copying finds it.
    fs::write(blobs.join(layer.hex()), "LAYER").unwrap();
    let opened = transport::open(top.path()).unwrap();
    let image = opened.image(None).unwrap();
    let error = image.layers[0].write(&mut std::io::sink()).unwrap_err();
    assert!(format!("{:?}", error).contains("it is sha256:"), "{error:?}");
    // A manifest that is not what the index says.
    let lied = Digest::of(b"manifest");
    fs::write(blobs.join(lied.hex()), &manifest).unwrap();
    index(&lied.to_string());
    assert!(refused(top.path()).contains("which differs from its name"));
    // A config that is not what the manifest says.
    index(&Digest::of(manifest.as_bytes()).to_string());
    fs::write(blobs.join(Digest::of(config.as_bytes()).hex()), config.replace("amd64", "arm64")).unwrap();
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

/// A layer of these entries: name, type, and what a file holds or where a link leads.
fn layer(entries: &[(&[u8], EntryType, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_ustar();
        let is_link = matches!(kind, EntryType::Link | EntryType::Symlink);
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_size(if is_link { 0 } else { content.len() as u64 });
        if is_link {
            header.as_old_mut().linkname[..content.len()].copy_from_slice(content);
        }
        header.set_cksum();
        tar.append(&header, if is_link { &[][..] } else { content }).unwrap();
    }
    tar.into_inner().unwrap()
}

/// Unpacks layers one over the other: every name that comes of it, or the error; nothing lies outside.
fn unpacked(layers: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, String> {
    let top = tempfile::tempdir().unwrap();
    let root = top.path().join("root");
    fs::create_dir(&root).unwrap();
    let mut owners = Default::default();
    let result = layers.iter().try_for_each(|layer| unpack::unpack(layer.as_slice(), &root, &mut owners));
    let outside: Vec<PathBuf> = fs::read_dir(top.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(outside, std::slice::from_ref(&root));
    fn walk(directory: &Path, below: &[u8], names: &mut Vec<Vec<u8>>) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = [below, entry.file_name().as_bytes()].concat();
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), &[&name[..], b"/"].concat(), names);
            } else {
                names.push(name);
            }
        }
    }
    let mut names = Vec::new();
    walk(&root, b"", &mut names);
    names.sort();
    result.map(|()| names).map_err(|error| error.to_string())
}

#[test]
fn layers_stay_below_the_directory_that_they_are_unpacked_to() {
    use EntryType::{Directory, Link, Regular, Symlink};
    let file = |name: &'static [u8]| (name, Regular, &b"x"[..]);
    let names = |names: &[&[u8]]| Ok(names.iter().map(|name| name.to_vec()).collect::<Vec<_>>());
    for name in [&b"../x"[..], b"a/../../x", b"/../x"] {
        assert!(unpacked(&[layer(&[file(name)])]).unwrap_err().contains("its name points outside the image"));
    }
    assert_eq!(unpacked(&[layer(&[file(b"/tmp/x")])]), names(&[b"tmp/x"]));
    // Links are followed as if the directory were the root.
    for target in [&b"/etc"[..], b"../../../../etc", b"/../etc"] {
        let entries = [(&b"link"[..], Symlink, target), file(b"link/passwd")];
        assert_eq!(unpacked(&[layer(&entries)]), names(&[b"etc/passwd", b"link"]));
    }
    let entries = [(&b"a"[..], Symlink, &b"b"[..]), (&b"b"[..], Symlink, &b"a"[..]), file(b"a/x")];
    assert!(unpacked(&[layer(&entries)]).unwrap_err().contains("too many levels of symlinks"));
    let entries = [(&b"link"[..], Symlink, &b"/etc"[..]), (&b"hard"[..], Link, &b"link/passwd"[..])];
    assert!(
        unpacked(&[layer(&entries)])
            .unwrap_err()
            .contains("hard: it is a hard link to etc/passwd, which is not in the same layer")
    );
    assert!(unpacked(&[layer(&[(b"hard", Link, b"../x")])]).unwrap_err().contains("points outside the image"));
    // A link in the place of a file is replaced, not written through.
    let over = [layer(&[(b"a", Symlink, b"../outside")]), layer(&[file(b"a")])];
    assert_eq!(unpacked(&over), names(&[b"a"]));
    // Names are bytes.
    assert_eq!(unpacked(&[layer(&[file(b"d/\xff\xfe")])]), names(&[b"d/\xff\xfe"]));
    assert_eq!(unpacked(&[layer(&[(b"d", Directory, b""), file(b"d/x"), file(b"d")])]), names(&[b"d"]));
}

#[test]
fn whiteouts_remove_what_lower_layers_have() {
    let file = |name: &'static [u8]| (name, EntryType::Regular, &b""[..]);
    let names = |names: &[&[u8]]| Ok(names.iter().map(|name| name.to_vec()).collect::<Vec<_>>());
    let below = layer(&[file(b"a"), file(b"d/one"), file(b"d/two"), file(b"e/f/g")]);
    let unpacked = |entries: &[(&[u8], EntryType, &[u8])]| unpacked(&[below.clone(), layer(entries)]);
    assert_eq!(unpacked(&[file(b".wh.a"), file(b"d/.wh.one")]), names(&[b"d/two", b"e/f/g"]));
    assert_eq!(unpacked(&[file(b".wh.nothing")]), names(&[b"a", b"d/one", b"d/two", b"e/f/g"]));
    // Opaque: what the layer itself has stays, wherever the mark stands.
    assert_eq!(unpacked(&[file(b"d/new"), file(b"d/.wh..wh..opq")]), names(&[b"a", b"d/new", b"e/f/g"]));
    assert_eq!(unpacked(&[file(b"e/.wh..wh..opq"), file(b"e/f/new")]), names(&[b"a", b"d/one", b"d/two", b"e/f/new"]));
    // Also where the mark comes after its siblings: what was below them before is hidden.
    assert_eq!(unpacked(&[file(b"e/f/new"), file(b"e/.wh..wh..opq")]), names(&[b"a", b"d/one", b"d/two", b"e/f/new"]));
    for name in [&b".wh."[..], b"d/.wh..", b"d/.wh..."] {
        assert!(
            unpacked(&[file(name)].map(|(_, kind, content)| (name, kind, content)))
                .unwrap_err()
                .contains("a whiteout of no file")
        );
    }
}

#[test]
fn files_with_holes_are_bounded() {
    let mut header = tar::Header::new_gnu();
    header.set_path("holes").unwrap();
    header.set_entry_type(EntryType::GNUSparse);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mode(0o644);
    header.set_size(0);
    let gnu = header.as_gnu_mut().unwrap();
    // 2 GiB, of which nothing is there.
    gnu.sparse[0].offset.copy_from_slice(b"20000000000\0");
    gnu.sparse[0].numbytes.copy_from_slice(b"00000000000\0");
    gnu.realsize.copy_from_slice(b"20000000000\0");
    header.set_cksum();
    let bomb = [header.as_bytes().as_slice(), &[0; 1024]].concat();
    let error = unpacked(&[bomb]).unwrap_err();
    assert!(error.contains("the sparse file has more than"), "{error}");
}

/// A layer of one file, with these records before it.
fn with_records(records: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(EntryType::XHeader);
    header.set_size(records.len() as u64);
    header.set_cksum();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append(&header, records).unwrap();
    append(&mut tar, "file", b"data");
    tar.into_inner().unwrap()
}

/// `LEN key=value`.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (1..).find(|length| rest + length.to_string().len() == *length).unwrap();
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

#[test]
fn newlines_in_pax_values_start_no_record() {
    // File capabilities are bytes; these hold a line that would name another file.
    let value = [&b"\n"[..], &record("path", b"etc/passwd"), &record("size", b"0")].concat();
    let layer = with_records(&record("SCHILY.xattr.security.capability", &value));
    let top = tempfile::tempdir().unwrap();
    let mut owners = Default::default();
    unpack::unpack(layer.as_slice(), top.path(), &mut owners).unwrap();
    let file = top.path().join("file");
    assert_eq!(fs::read(&file).unwrap(), b"data");
    assert_eq!(owners[&file].xattrs[&b"security.capability"[..]], value);
    assert_eq!(owners.len(), 1);
    for bad in
        [&b"0 a=b\n"[..], b"7 a=b\n", b"6 =bc\n", b"nonsense", b"99999999999999999999 a=b\n", b"6 a=b", b"6 ab\n\n"]
    {
        assert!(unpacked(&[with_records(bad)]).unwrap_err().contains("malformed PAX record"), "{bad:?}");
    }
    assert!(unpacked(&[with_records(&record("path", b"a\0b"))]).unwrap_err().contains("malformed PAX record"));
    assert!(unpacked(&[with_records(&record("size", b"x"))]).unwrap_err().contains("is not a number"));
}

#[test]
fn devices_that_no_kernel_has_are_refused() {
    for (major, minor) in [(1 << 12, 0), (0, 1 << 20), (1 << 21, 0), (0, 1 << 21)] {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(EntryType::Char);
        header.as_old_mut().name[..3].copy_from_slice(b"dev");
        header.set_size(0);
        // As GNU writes what needs more than seven octal digits.
        let place = |bytes: &mut [u8], number: u32| {
            bytes.fill(0);
            bytes[0] = 0x80;
            bytes[4..8].copy_from_slice(&number.to_be_bytes());
        };
        place(&mut header.as_mut_bytes()[329..337], major);
        place(&mut header.as_mut_bytes()[337..345], minor);
        header.set_cksum();
        let bytes = [header.as_bytes().as_slice(), &[0; 1024]].concat();
        let error = unpacked(&[bytes]).unwrap_err();
        assert!(error.contains("a device whose number no kernel has"), "{error}");
    }
}

/// A deep entry has as many names in memory as it has directories.
#[test]
fn names_of_a_layer_are_bounded_together() {
    let mut bounds = Bounds::default();
    let name = "a".repeat(4096);
    let refused = (0..1_000_000).find_map(|_| bounds.keep(Path::new(&name)).err()).unwrap().to_string();
    assert!(refused.contains("the layer has more than 1073741824 bytes"), "{refused}");
}

#[test]
fn headers_of_entries_are_bounded() {
    // 3 GiB of PAX records, and a name as long: the memory is not to be had by writing a number.
    for kind in [EntryType::XHeader, EntryType::GNULongName, EntryType::GNULongLink] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(3 << 30);
        header.set_cksum();
        let bytes = [header.as_bytes().as_slice(), &[b'x'; 4096]].concat();
        assert!(unpacked(&[bytes]).unwrap_err().contains("the extended header has more than 1048576 bytes"));
    }
    let many = vec![b'd'; 5000];
    assert!(unpacked(&[with_records(&record("path", &many))]).unwrap_err().contains("a name of more than 4096 bytes"));
    let deep = b"d/".repeat(600);
    assert!(unpacked(&[with_records(&record("path", &deep))]).unwrap_err().contains("512 directories"));
}
