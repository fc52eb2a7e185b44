//! Sizes that documents claim: their sums are not numbers of 64 bits, and a wrapped sum would meet any budget.

use std::fs;

use crate::{
    images::{Image, tar, write_layout},
    run::{strata, text},
};

#[test]
fn sums_of_claimed_sizes_do_not_overflow() {
    let layers = [tar(&[("one", b"1")]), tar(&[("two", b"2")])];
    let image = Image::with_gzip(&layers);
    let text_of_manifest = String::from_utf8(image.manifest.clone()).unwrap();
    for size in ["9223372036854775808", "18446744073709551615", "4398046511105"] {
        let home = tempfile::tempdir().unwrap();
        let mut hostile = image.clone();
        let mut manifest = text_of_manifest.clone();
        for layer in &image.blobs[..2] {
            manifest = manifest.replace(&format!(r#""size":{}"#, layer.len()), &format!(r#""size":{size}"#));
        }
        assert!(manifest.contains(size), "{manifest}");
        hostile.manifest = manifest.into_bytes();
        write_layout(&home.path().join("image"), &hostile);
        fs::write(home.path().join("budget"), r#"{"images":{}}"#).unwrap();
        let source = format!("oci:{}", home.path().join("image").display());
        let out = format!("oci:{}", home.path().join("out").display());
        let budget = home.path().join("budget").display().to_string();
        for arguments in [
            vec!["inspect", &source],
            vec!["explain", &source],
            vec!["explain", &source, "--json"],
            vec!["verify", &source],
            vec!["sbom", &source],
            vec!["budget", &source, &budget, "--update"],
            vec!["diff", &source, &source],
            vec!["plan", &source],
            vec!["stream", &source],
            vec!["copy", &source, &out],
            vec!["copy", &source, "docker://127.0.0.1:1/app:1", "--retry-times", "0"],
            vec!["serve", &source, "--listen", "127.0.0.1:0"],
        ] {
            let output = strata(home.path()).args(&arguments).output().unwrap();
            let printed = text(&output);
            assert!(output.status.code().is_some_and(|code| code == 1 || code == 2), "{arguments:?}: {printed}");
            assert!(printed.contains("exceeds the limit of"), "{arguments:?}: {printed}");
        }
    }
}
