//! narinfo files of binary caches: one that is accepted is for the store path that was asked for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata::internals::{closure::StorePath, transport::binary_cache::NarInfo};

const PATH: &str = "/nix/store/0c6a1cv41yy9yz8svln6w09ks4wdjk4n-hello";

fuzz_target!(|bytes: &[u8]| {
    let path = StorePath::parse(PATH).unwrap();
    if let Ok(info) = NarInfo::parse(bytes, &path) {
        assert!(!info.url.is_empty());
        let text = std::str::from_utf8(bytes).unwrap();
        assert!(text.lines().any(|line| line.trim_end() == format!("StorePath: {PATH}")));
    }
});
