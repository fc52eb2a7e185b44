//! Test files of container-structure-test, their regular expressions and variables.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use strata::internals::check::{Pattern, Structure, expand};

fuzz_target!(|text: &str| {
    if let Err(error) = Structure::parse(text) {
        assert!(!error.to_string().is_empty());
    }
    expand(text, &BTreeMap::from([("A".to_owned(), "$A".to_owned())]));
    if let Ok(pattern) = Pattern::new(text) {
        pattern.is_match(text);
    }
});
