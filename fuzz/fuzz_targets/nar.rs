//! NARs of caches that may lie: read and unpacked below one path.
#![no_main]

use std::{fs, io::Read};

use libfuzzer_sys::fuzz_target;
use strata::internals::layer::nar::{self, NarNode, NarReader};

fuzz_target!(|bytes: &[u8]| {
    let mut reader = NarReader::new(bytes);
    while let Ok(Some(node)) = reader.next_node() {
        if let NarNode::File { size, .. } = node {
            let mut content = Vec::new();
            match reader.read_to_end(&mut content) {
                Ok(read) => assert_eq!(read as u64, size),
                Err(_) => break,
            }
        }
    }
    let top = tempfile::tempdir_in("/dev/shm").unwrap();
    let _ = nar::unpack(bytes, &top.path().join("path"));
    assert!(fs::read_dir(top.path()).unwrap().count() <= 1);
});
