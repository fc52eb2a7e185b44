use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::symlink,
};

use super::*;
use crate::layer::{Header, PathOptions, Source, SourceFiles, untar::Xattrs};

/// The tar of these entries: name, type, target of a link, content.
fn tar(entries: &[(&str, tar::EntryType, &str, &[u8])]) -> Vec<u8> {
    let mut out = TarWriter::new(Vec::new());
    for (name, kind, link, data) in entries {
        let file = Header::file(name.as_bytes(), data.len() as u64);
        let header = Header { kind: *kind, link: link.as_bytes(), mtime: 7, ..file };
        out.append_with(&header, |out| out.write_all(data).map_err(LayerError::Write)).unwrap();
    }
    out.finish().unwrap()
}

fn image(tar: &[u8]) -> io::Result<Vec<u8>> {
    let mut file = tempfile::tempfile().unwrap();
    write_tar(&mut &tar[..], &Digest::sha256(tar), &ErofsFile::new(&file))?;
    assert!(is_intact(&mut file, &Digest::sha256(tar)).unwrap());
    Ok(content(&mut file))
}

fn content(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let mut whole = [0; 8];
    whole[..N].copy_from_slice(&bytes[at..at + N]);
    u64::from_le_bytes(whole)
}

/// Mode, content and number of each path, read from the image alone.
fn list(image: &[u8]) -> BTreeMap<String, (u64, Vec<u8>, u64)> {
    let root = number::<2>(image, 1024 + 14);
    let mut found = BTreeMap::new();
    let mut next = vec![(String::new(), root)];
    while let Some((path, id)) = next.pop() {
        let at = (number::<4>(image, 1024 + 40) * BLOCK + id * 32) as usize;
        let (mode, size) = (number::<2>(image, at + 4), number::<8>(image, at + 8) as usize);
        let xattrs = match number::<2>(image, at + 2) {
            0 => 0,
            count => 12 + (count as usize - 1) * 4,
        };
        let start = (number::<4>(image, at + 16) * BLOCK) as usize;
        let is_inline = number::<2>(image, at) >> 1 == 2;
        let tail = if is_inline { size % BLOCK as usize } else { 0 };
        if is_inline && mode & 0o170_000 == 0o120_000 {
            assert!(at % BLOCK as usize + 64 + xattrs + tail <= BLOCK as usize, "{path} crosses a block");
        }
        let data = match mode & 0o170_000 {
            0o100_000 | 0o120_000 | 0o040_000 => {
                let inline = at + 64 + xattrs;
                [&image[start..][..size - tail], &image[inline..][..tail]].concat()
            }
            _ => Vec::new(),
        };
        if mode & 0o170_000 == 0o040_000 {
            for block in data.chunks(BLOCK as usize) {
                let count = number::<2>(block, 8) as usize / 12;
                for entry in 0..count {
                    let name_at = number::<2>(block, entry * 12 + 8) as usize;
                    let end = match entry + 1 < count {
                        true => number::<2>(block, (entry + 1) * 12 + 8) as usize,
                        false => block.iter().rposition(|byte| *byte != 0).unwrap() + 1,
                    };
                    let name = String::from_utf8(block[name_at..end].to_vec()).unwrap();
                    if name != "." && name != ".." {
                        next.push((format!("{path}/{name}"), number::<8>(block, entry * 12)));
                    }
                }
            }
        }
        found.insert(path, (mode, data, id));
    }
    found
}

use tar::EntryType::{Char, Directory, Link, Regular, Symlink};

#[test]
fn whiteouts_become_devices_and_opaque_directories() {
    let found = list(
        &image(&tar(&[
            ("a/.wh.gone", Regular, "", b""),
            ("b/.wh..wh..opq", Regular, "", b""),
            (".wh.c", Regular, "", b""),
            ("c/new", Regular, "", b"x"),
            ("d/", Directory, "", b""),
            (".wh.d", Regular, "", b""),
            ("e/.wh..wh.plnk", Regular, "", b""),
        ]))
        .unwrap(),
    );
    assert_eq!(found["/a/gone"].0, 0o020_000);
    assert_eq!(found["/c/new"].1, b"x");
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["", "/a", "/a/gone", "/b", "/c", "/c/new", "/d"]);
    // Those whose lower files are hidden have the attribute, and are no whiteouts.
    for name in ["/b", "/c", "/d"] {
        assert_eq!(found[name].0 & 0o170_000, 0o040_000, "{name}");
    }
}

#[test]
fn later_entries_replace_earlier_ones() {
    let found = list(
        &image(&tar(&[
            ("a", Regular, "", b"old"),
            ("a", Regular, "", b"new"),
            ("b", Symlink, "a", b""),
            ("b", Directory, "", b""),
            ("c/d", Regular, "", b"kept"),
            ("c", Directory, "", b""),
            ("e/f", Regular, "", b"gone"),
            ("e", Regular, "", b"file"),
            ("l", Symlink, "c", b""),
            ("l/through", Regular, "", b"link"),
            ("hard", Link, "c/d", b""),
        ]))
        .unwrap(),
    );
    assert_eq!(found["/a"].1, b"new");
    assert_eq!(found["/b"].0, 0o040_644);
    assert_eq!(found["/c/d"].1, b"kept");
    assert_eq!(found["/e"].1, b"file");
    assert_eq!(found["/c/through"].1, b"link");
    assert_eq!(found["/hard"].2, found["/c/d"].2, "both names have one inode");
    assert!(!found.contains_key("/e/f"));
}

/// As in containerd (pkg/archive/tar.go, createTarFile) and podman, which set the metadata of every entry but a link's mode.
#[test]
fn metadata_of_a_hard_link_becomes_that_of_its_file() {
    let mut out = TarWriter::new(Vec::new());
    let mut add = |header: Header<'_>| out.append_with(&header, |_| Ok::<(), LayerError>(())).unwrap();
    let xattrs = |name: &str| Xattrs::from([(name.as_bytes().to_vec(), b"v".to_vec())]);
    let (first, second) = (xattrs("user.first"), xattrs("user.second"));
    add(Header { mode: 0o644, xattrs: Some(&first), ..Header::file(b"f", 0) });
    add(Header { kind: Symlink, link: b"f", mode: 0o777, ..Header::file(b"s", 0) });
    let hard =
        |name, link| Header { kind: Link, link, mode: 0o4755, uid: 5, gid: 6, mtime: 9, ..Header::file(name, 0) };
    add(Header { xattrs: Some(&second), ..hard(b"h", b"f") });
    add(hard(b"t", b"s"));
    let image = image(&out.finish().unwrap()).unwrap();
    let found = list(&image);
    for (name, mode) in [("/f", 0o104_755), ("/h", 0o104_755), ("/s", 0o120_777), ("/t", 0o120_777)] {
        let at = (number::<4>(&image, 1024 + 40) * BLOCK + found[name].2 * 32) as usize;
        assert_eq!(found[name].0, mode, "{name}");
        assert_eq!([24, 28, 32, 44].map(|field| number::<4>(&image, at + field)), [5, 6, 9, 2], "{name}");
    }
    for text in [b"firstv", b"econdv"] {
        assert!(image.windows(6).any(|window| window == text), "attributes of both entries are kept");
    }
}

#[test]
fn sizes_around_blocks_are_kept() {
    let sizes = [0, 1, 4031, 4032, 4033, 4095, 4096, 4097, 8192, 65_535, 65_536, 262_145];
    let names: Vec<String> = sizes.iter().map(|size| format!("f{size}")).collect();
    let contents: Vec<Vec<u8>> = sizes.iter().map(|size| (0..*size).map(|at| at as u8).collect()).collect();
    let links: Vec<String> = [1, 4031, 4032, 4033, 4095].iter().map(|size| "t".repeat(*size)).collect();
    let mut entries: Vec<(&str, tar::EntryType, &str, &[u8])> =
        names.iter().zip(&contents).map(|(name, data)| (name.as_str(), Regular, "", data.as_slice())).collect();
    let link_names = ["l1", "l2", "l3", "l4", "l5"];
    entries.extend(link_names.iter().zip(&links).map(|(name, target)| (*name, Symlink, target.as_str(), &b""[..])));
    let found = list(&image(&tar(&entries)).unwrap());
    for (name, data) in names.iter().zip(&contents) {
        assert!(found[&format!("/{name}")].1 == *data, "{name}");
    }
    for (name, target) in link_names.iter().zip(&links) {
        assert_eq!(found[&format!("/{name}")].1, target.as_bytes(), "{name}");
    }
}

#[test]
fn links_with_attributes_do_not_cross_blocks() {
    let mut out = TarWriter::new(Vec::new());
    let mut targets = BTreeMap::new();
    // Attributes without a value are absent. The sum of inode, attributes and target is below, at and above the size of a block.
    for value in [0, 40, 1000, 3900, 4000, 5000] {
        for target in [1, 33, 100, 1000, 3000, 4000, 4095] {
            let name = format!("{value}-{target}");
            let xattrs = Xattrs::from([(b"trusted.t".to_vec(), vec![b'v'; value])]);
            let link = vec![b't'; target];
            let header = Header {
                kind: Symlink,
                link: &link,
                xattrs: (value > 0).then_some(&xattrs),
                ..Header::file(name.as_bytes(), 0)
            };
            out.append_with(&header, |_| Ok::<(), LayerError>(())).unwrap();
            targets.insert(format!("/{name}"), link);
        }
    }
    let found = list(&image(&out.finish().unwrap()).unwrap());
    for (name, target) in &targets {
        assert!(found[name].1 == *target, "{name}");
    }
}

/// Some kernels refuse a link whose inode ends with its block and whose target begins the next one.
#[test]
fn targets_are_in_the_blocks_of_their_inodes() {
    for length in 1..200 {
        let names: Vec<String> = (0..70).map(|at| format!("l{at}")).collect();
        let target = "t".repeat(length);
        let entries: Vec<_> = names.iter().map(|name| (name.as_str(), Symlink, target.as_str(), &b""[..])).collect();
        assert_eq!(list(&image(&tar(&entries)).unwrap()).len(), 71);
    }
}

#[test]
fn directories_of_any_size_are_complete() {
    // Sizes around the limits of entries that follow an inode, and of one and two blocks.
    for count in (180..230).chain([300, 1000]) {
        let names: Vec<String> = (0..count).map(|at| format!("d/{at:05}")).collect();
        let entries: Vec<_> = names.iter().map(|name| (name.as_str(), Regular, "", &b""[..])).collect();
        let found = list(&image(&tar(&entries)).unwrap());
        assert_eq!(found.len(), count + 2, "{count}");
        assert!(names.iter().all(|name| found.contains_key(&format!("/{name}"))), "{count}");
    }
}

#[test]
fn store_paths_make_the_image_of_their_tar() {
    let top = tempfile::tempdir().unwrap();
    let path = top.path().join("x");
    fs::create_dir_all(path.join("bin")).unwrap();
    // Smaller and bigger than what the kernel copies.
    for size in [0, 5, 4096, 65_535, 65_536, 200_000] {
        fs::write(path.join(format!("bin/{size}")), vec![b'y'; size]).unwrap();
    }
    symlink("bin/5", path.join("link")).unwrap();
    let source = Source { path, files: SourceFiles::InPlace, options: PathOptions::default(), follow: false };
    let tree = Tree::new(&[source]).unwrap();
    let bytes = crate::layer::write(&tree, Vec::new()).unwrap();
    let mut file = tempfile::tempfile().unwrap();
    assert_eq!(write_tree(&tree, &Digest::sha256(&bytes), &ErofsFile::new(&file)).unwrap(), Digest::sha256(&bytes));
    assert!(content(&mut file) == image(&bytes).unwrap());
}

#[test]
fn damaged_images_are_recognised() {
    let bytes = tar(&[("a", Regular, "", b"content"), ("b/c", Regular, "", b"")]);
    let image = image(&bytes).unwrap();
    let diff_id = Digest::sha256(&bytes);
    let is_intact = |bytes: &[u8], diff_id: &Digest| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        super::is_intact(&mut file, diff_id).unwrap()
    };
    assert!(is_intact(&image, &diff_id));
    assert!(!is_intact(&image, &Digest::sha256(b"another layer")));
    for length in [0, 1, 1024, 4095, 4096, image.len() - 4096, image.len() - 1] {
        assert!(!is_intact(&image[..length], &diff_id), "{length} bytes");
    }
    assert!(!is_intact(&[image.as_slice(), &[0; 4096]].concat(), &diff_id));
    for at in (0..image.len()).step_by(61).chain(1024..1152) {
        let mut damaged = image.clone();
        damaged[at] ^= 1;
        assert!(!is_intact(&damaged, &diff_id), "byte {at}");
    }
}

#[test]
fn entries_that_no_image_holds_are_refused() {
    let long = "n".repeat(256);
    for (entries, message) in [
        (vec![("a/../../b", Regular, "", &b""[..])], "its name points outside the image"),
        (vec![(long.as_str(), Regular, "", b"")], "a name of more than 255 bytes"),
        (vec![("a", Symlink, "", b"")], "a link whose target is empty"),
        (vec![("a", Link, "missing", b"")], "it is a hard link to missing, which is not a file of the same layer"),
        (vec![("d", Directory, "", b""), ("a", Link, "d", b"")], "which is not a file of the same layer"),
        (vec![("a", Regular, "", b""), ("./a", Link, "b/../a", b"")], "it is a hard link to itself"),
        (
            vec![
                ("d", Directory, "", b""),
                ("l", Symlink, "d", b""),
                ("d/a", Regular, "", b""),
                ("l/a", Link, "d/a", b""),
            ],
            "it is a hard link to itself",
        ),
        (vec![("d/f", Regular, "", b""), ("d", Link, "d/f", b"")], "which is not a file of the same layer"),
        (vec![("a", Regular, "", b""), ("a/b", Regular, "", b"")], "a is not a directory"),
        (vec![("/", Regular, "", b"")], "the root is not a directory"),
        (vec![("a/.wh.", Regular, "", b"")], "a whiteout of no file"),
        (vec![("a", tar::EntryType::new(b'Z'), "", b"")], "an entry of the type 'Z', which engines refuse"),
    ] {
        let error = image(&tar(&entries)).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn instructions_to_overlayfs_are_left_out() {
    let names: [&[u8]; 6] = [
        b"user.kept",
        b"security.capability",
        b"system.posix_acl_access",
        b"trusted.overlay.redirect",
        b"user.overlay.metacopy",
        b"com.apple.quarantine",
    ];
    let xattrs: Xattrs = names.iter().map(|name| (name.to_vec(), b"value".to_vec())).collect();
    let mut out = TarWriter::new(Vec::new());
    let header = Header { xattrs: Some(&xattrs), kind: Char, ..Header::file(b"a", 0) };
    out.append_with(&header, |_| Ok::<(), LayerError>(())).unwrap();
    let image = image(&out.finish().unwrap()).unwrap();
    let has = |text: &[u8]| image.windows(text.len()).any(|window| window == text);
    assert!(
        has(b"\x04\x01\x05\x00keptvalue") && has(b"\x0a\x06\x05\x00capabilityvalue") && has(b"\x00\x02\x05\x00value")
    );
    assert!(!has(b"redirect") && !has(b"metacopy") && !has(b"quarantine"));
}
