//! Which module may use which: the edges that src/lib.rs draws, held.

use std::{fs, path::Path};

/// Modules, and those of ours they may name. What is not listed here may use anything.
const EDGES: [(&str, &[&str]); 16] = [
    ("closure", &[]),
    ("oci", &[]),
    ("layer", &["closure", "oci"]),
    ("image", &["layer", "oci", "closure"]),
    ("blobs", &["closure", "image", "layer", "oci"]),
    ("content.rs", &["blobs", "oci"]),
    ("http", &[]),
    ("registry", &["http", "oci"]),
    ("engine.rs", &[]),
    ("daemon", &["engine", "http", "oci"]),
    ("source", &["blobs", "content", "daemon", "engine", "image", "layer", "oci", "registry"]),
    ("substituter", &["closure", "http", "image", "oci", "registry"]),
    ("report", &["blobs", "closure", "image", "layer", "oci"]),
    ("sbom", &["blobs", "closure", "image", "oci", "source"]),
    ("verify.rs", &["blobs", "content", "image", "layer", "oci", "source"]),
    ("sink", &["blobs", "content", "daemon", "engine", "image", "layer", "oci", "registry"]),
];

/// What the pure modules must not name.
const IMPURE: [&str; 6] = ["std::fs", "std::env", "std::thread", "std::time", "std::net", "rayon"];

fn sources(path: &Path) -> Vec<(String, String)> {
    if path.is_file() {
        return vec![(path.display().to_string(), fs::read_to_string(path).unwrap())];
    }
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| sources(&path)).collect()
}

#[test]
fn modules_use_only_what_they_may() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let modules = [
        "blobs",
        "closure",
        "content",
        "daemon",
        "engine",
        "http",
        "image",
        "layer",
        "oci",
        "registry",
        "report",
        "sbom",
        "sink",
        "source",
        "substituter",
        "verify",
    ];
    for (module, allowed) in EDGES {
        let own = module.trim_end_matches(".rs");
        for (name, text) in sources(&src.join(module)) {
            for other in modules.iter().filter(|other| **other != own && !allowed.contains(other)) {
                for import in [format!("crate::{other}::"), format!("    {other}::")] {
                    let named = text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(&import));
                    assert!(!named, "{name} uses {other}, which {own} may not");
                }
            }
        }
    }
}

#[test]
fn pure_modules_do_no_io() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for module in ["closure", "oci"] {
        for (name, text) in sources(&src.join(module)) {
            for impure in IMPURE {
                assert!(!text.contains(impure), "{name} uses {impure}, but {module} is pure");
            }
        }
    }
}
