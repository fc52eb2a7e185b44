//! registries.conf and netrc: every file is read or refused, and a blocked registry is never an endpoint.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use strata::internals::{
    oci::Reference,
    transport::{http::Netrc, registry::RegistriesConf},
};

fuzz_target!(|files: (&str, &str)| {
    let reference: Reference = "registry.example.com/team/app:1".parse().unwrap();
    let mut configuration = RegistriesConf::default();
    for text in [files.0, files.1] {
        Netrc::parse(text);
        if configuration.parse(text, Path::new("registries.conf")).is_err() {
            return;
        }
    }
    for read_only in [true, false] {
        if let Ok(endpoints) = configuration.places(&reference, read_only) {
            assert!(endpoints.iter().all(|endpoint| !endpoint.host.is_empty()), "{endpoints:?}");
        }
    }
    configuration.is_insecure("registry.example.com");
});
