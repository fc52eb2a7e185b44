//! NARs as tars and files, and malformed NARs.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::Arc,
};

use proptest::prelude::*;

use super::*;
use crate::layer::{PathOptions, Result, Source, SourceFiles, Tree, write};

/// Returns a tree with the modes of a store, in a new directory, and its NAR.
fn packed(directory: &Path) -> (PathBuf, Vec<u8>) {
    let root = directory.join("root");
    fs::create_dir_all(root.join("bin/deep/er")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    for (name, content, mode) in [
        ("bin/run", "#!/bin/sh\n".repeat(1000), 0o555),
        ("bin.txt", String::new(), 0o444),
        ("é", "12345678".into(), 0o444),
    ] {
        fs::write(root.join(name), content).unwrap();
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    symlink("../bin/run", root.join("bin/deep/link")).unwrap();
    for name in ["bin/deep/er", "bin/deep", "bin", "empty", ""] {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o555)).unwrap();
    }
    let mut nar = Vec::new();
    nix_nar::Encoder::new(&root).unwrap().read_to_end(&mut nar).unwrap();
    (root, nar)
}

fn tar(path: &Path, files: SourceFiles) -> Result<Vec<u8>> {
    write(
        &Tree::new(&[Source { path: path.to_owned(), files, options: PathOptions::default(), follow: false }])?,
        Vec::new(),
    )
}

fn in_memory(nar: &[u8]) -> SourceFiles {
    let nar = nar.to_owned();
    SourceFiles::Nar(Arc::new(move || Ok(Box::new(io::Cursor::new(nar.clone())))))
}

#[test]
fn a_nar_gives_the_tar_of_its_files() {
    let top = tempfile::tempdir().unwrap();
    let (root, nar) = packed(top.path());
    let expected = tar(&root, SourceFiles::InPlace).unwrap();
    assert!(tar(&root, in_memory(&nar)).unwrap() == expected);
    let unpacked = top.path().join("unpacked");
    unpack(nar.as_slice(), &unpacked).unwrap();
    assert!(tar(&root, SourceFiles::At(unpacked)).unwrap() == expected);
}

#[test]
fn padding_is_zero() {
    let top = tempfile::tempdir().unwrap();
    let (root, nar) = packed(top.path());
    let zeros: Vec<usize> = (0..nar.len()).filter(|at| nar[*at] == 0).collect();
    let mut other = nar.clone();
    for at in zeros {
        // Changes of lengths, contents and padding make another NAR or an invalid one.
        other[at] = 1;
        let same = tar(&root, in_memory(&other)).is_ok_and(|bytes| bytes == tar(&root, in_memory(&nar)).unwrap());
        assert!(!same, "byte {at}");
        other[at] = 0;
    }
}

#[test]
fn files_need_not_be_read() {
    let top = tempfile::tempdir().unwrap();
    let (_, nar) = packed(top.path());
    let mut reader = NarReader::new(nar.as_slice());
    let mut paths = Vec::new();
    while reader.next_node().unwrap().is_some() {
        paths.push(String::from_utf8(reader.path().to_owned()).unwrap());
    }
    assert_eq!(paths, ["", "bin", "bin/deep", "bin/deep/er", "bin/deep/link", "bin/run", "bin.txt", "empty", "é"]);
}

#[test]
fn a_truncated_nar_is_an_error() {
    let top = tempfile::tempdir().unwrap();
    let (root, nar) = packed(top.path());
    for length in (0..nar.len()).step_by(7).chain([nar.len() - 1]) {
        assert!(tar(&root, in_memory(&nar[..length])).is_err(), "{length}");
    }
    assert!(tar(&root, in_memory(&[nar.as_slice(), b"x"].concat())).is_err());
}

#[test]
fn names_with_slashes_and_dots_are_refused() {
    let word = |text: &str| {
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(text.as_bytes());
        bytes.resize(bytes.len() + padding(text.len() as u64) as usize, 0);
        bytes
    };
    let with = |names: &[&str]| {
        let mut words = vec!["nix-archive-1", "(", "type", "directory"];
        for name in names {
            words.extend(["entry", "(", "name", name, "node", "(", "type", "symlink", "target", "x", ")", ")"]);
        }
        words.push(")");
        let bytes: Vec<u8> = words.into_iter().flat_map(word).collect();
        unpack(bytes.as_slice(), &tempfile::tempdir().unwrap().path().join("x")).map_err(|error| error.to_string())
    };
    assert_eq!(with(&["a", "b"]), Ok(()));
    for names in [["a", "a"], ["b", "a"], ["a", ".."], ["a", "b/c"], [".", "a"], ["", "a"], ["a", "b\0"]] {
        assert!(with(&names).unwrap_err().starts_with("not a NAR"), "{names:?}");
    }
    assert!(with(&["x".repeat(300).as_str()]).unwrap_err().contains("300 bytes"));
}

proptest! {
    #[test]
    fn mutated_nars_are_errors_and_never_panics(changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..6)) {
        let top = tempfile::tempdir().unwrap();
        let (root, mut nar) = packed(top.path());
        for (at, byte) in changes {
            let at = at % nar.len();
            nar[at] = byte;
        }
        let _ = tar(&root, in_memory(&nar));
    }
}
