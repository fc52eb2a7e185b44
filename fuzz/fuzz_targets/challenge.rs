//! `WWW-Authenticate`, as any server may write it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata::internals::transport::registry::Challenge;

fuzz_target!(|headers: Vec<String>| {
    if let Some(Challenge::Bearer(bearer)) = Challenge::best(headers.iter().map(String::as_str)) {
        assert!(!bearer.realm.is_empty());
    }
});
