//! Untrusted layers, unpacked one over the other: no file is written outside of the root.
#![no_main]

use std::{fs, os::unix::fs::symlink, path::Path};

use libfuzzer_sys::fuzz_target;
use strata::internals::layer::{Owners, unpack};

fuzz_target!(|layers: (&[u8], &[u8])| {
    let top = tempfile::tempdir_in("/dev/shm").unwrap();
    let root = top.path().join("root");
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::create_dir(top.path().join("outside")).unwrap();
    // Links out of the root, as base images have them and as an attacker may add them.
    symlink("/etc", root.join("a")).unwrap();
    symlink("../outside", root.join("b")).unwrap();
    symlink(top.path().join("outside"), root.join("c")).unwrap();
    let mut owners = Owners::new();
    for layer in [layers.0, layers.1] {
        let _ = unpack::unpack(layer, &root, &mut owners);
    }
    let names = |path: &Path| fs::read_dir(path).unwrap().count();
    assert_eq!((names(top.path()), names(&top.path().join("outside"))), (2, 0));
    for path in owners.keys() {
        assert!(path.starts_with(&root) && fs::symlink_metadata(path).is_ok(), "{}", path.display());
    }
});
