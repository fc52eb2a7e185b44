//! Package databases of images: dpkg, apk and rpm (SQLite). Reading ends, with at most the limit of packages.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata::internals::attest::count_packages;

const DATABASES: [&str; 4] =
    ["var/lib/dpkg/status", "var/lib/dpkg/status.d/base", "lib/apk/db/installed", "var/lib/rpm/rpmdb.sqlite"];

fuzz_target!(|bytes: &[u8]| {
    for path in DATABASES {
        if let Ok(packages) = count_packages(path, &mut &*bytes).expect("a database") {
            assert!(packages <= bytes.len());
        }
    }
});
