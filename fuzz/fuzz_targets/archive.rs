//! Untrusted archives: scanned, walked, and every blob read to its end.
#![no_main]

use std::io::{self, Write};

use libfuzzer_sys::fuzz_target;
use strata::internals::transport;

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let Ok(opened) = transport::open(file.path()) else { return };
    let _ = opened.content();
    for image in opened.images().unwrap_or_default() {
        for layer in &image.layers {
            let mut read = Vec::new();
            // A layer that is read to its end has the size and the digest of its descriptor.
            if layer.write(&mut read).is_ok() {
                assert_eq!(read.len() as u64, layer.descriptor.size);
                assert!(layer.descriptor.digest.matches(&read));
            }
            let _ = layer.plain(|tar| io::copy(tar, &mut io::sink()));
        }
    }
});
