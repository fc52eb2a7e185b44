//! Everything short that people and documents write: what is read is written as it was, and read again as the same.
#![no_main]

use std::{fmt::Display, str::FromStr};

use libfuzzer_sys::fuzz_target;
use strata::internals::{
    closure::StorePath,
    oci::{Digest, Reference, Timestamp},
    transport::{Destination, Location},
};

fn round<T: FromStr + Display>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let written = value.to_string();
        let again = written.parse::<T>().unwrap_or_else(|_| panic!("{text:?} was written as {written:?}"));
        assert_eq!(again.to_string(), written, "{text:?}");
    }
}

fuzz_target!(|text: &str| {
    round::<Reference>(text);
    round::<Digest>(text);
    round::<Timestamp>(text);
    let _ = text.parse::<Destination>();
    let _ = text.parse::<Location>();
    if let Ok(path) = StorePath::parse(text) {
        assert_eq!(path.as_str(), text);
    }
});
