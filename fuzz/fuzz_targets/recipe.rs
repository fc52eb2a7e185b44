//! image.json, locks and closure graphs, as anybody may write them.
#![no_main]

use std::io::Write;

use libfuzzer_sys::fuzz_target;
use strata::{
    Image, Recipe,
    internals::{
        closure::{Graph, Plan, Popularity, RawNode, Transfer},
        image::Lock,
    },
};

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    if let Ok(image) = Recipe::open(file.path()) {
        let blobs = Image::from_recipe(&image);
        assert_eq!(blobs.layers.len(), image.layers.len());
        let _ = blobs.parse_config();
        // What is written is read again, as the same.
        image.save(file.path()).unwrap();
        assert_eq!(Recipe::open(file.path()).unwrap().config_digest(), image.config_digest());
    }
    if let Ok(lock) = Lock::parse(bytes) {
        for platform in lock.platforms() {
            let _ = lock.image(&platform);
        }
    }
    if let Ok(raw) = serde_json::from_slice::<Vec<RawNode>>(bytes)
        && let Ok(graph) = Graph::new(&Default::default(), raw)
    {
        for most in [1, 5] {
            Plan::new(&graph, &Popularity, most, |_| false);
            Plan::new(&graph, &Transfer::default(), most, |_| false);
        }
    }
});
