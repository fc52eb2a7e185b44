//! Hostile layers: names, links, whiteouts, records and headers of entries. Nothing is written outside of the target directory.

use std::{
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::hostile::append;
use strata::internals::layer::unpack::{self, Bounds};
use tar::EntryType;

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

/// Unpacks a stack of layers, and returns the names of all files, or the error. Checks that no file is outside of the root.
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
    // The marker may follow its siblings. It hides the files of lower layers.
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
        // GNU tar writes numbers of more than seven octal digits like this.
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
    assert!(unpacked(&[with_records(&record("path", &many))]).unwrap_err().contains("a name of more than 4095 bytes"));
    let deep = b"d/".repeat(600);
    assert!(unpacked(&[with_records(&record("path", &deep))]).unwrap_err().contains("512 directories"));
}
