//! Signature bundles, simple signatures and policies: nothing is valid for a key that signed nothing.
#![no_main]

use std::{path::Path, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use strata::internals::attest::{Bundle, Policy, VerifyingKey};

/// A key whose private half was deleted when it was made.
static KEY: LazyLock<VerifyingKey> = LazyLock::new(|| {
    VerifyingKey::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets/attestation.pub")).unwrap()
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(bundle) = Bundle::parse(bytes) {
        assert!(bundle.verify(&KEY).is_err());
        assert!(Bundle::parse(&bundle.to_vec()).is_ok());
    }
    if let Ok(policy) = Policy::parse(bytes) {
        // A policy with requirements is not met by an image without statements.
        policy.violations(&[]);
    }
});
