//! Exit codes, as docs/commands.md documents them: 1 if a difference was found or a check failed, as of diff(1) and grep(1),
//! and 2 for errors and wrong usage.

use std::{fs, path::Path};

use serde_json::Value;

use crate::{
    images::{Image, tar, write_layout},
    run::{strata, text},
};

#[track_caller]
fn ends(home: &Path, arguments: &[&str], code: i32) {
    let output = strata(home).current_dir(home).args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output));
}

/// A layout in `home` with a package of Debian in this version.
fn layout(home: &Path, name: &str, version: &str) -> Image {
    let status = format!("Package: bash\nStatus: install ok installed\nVersion: {version}\nArchitecture: amd64\n\n");
    let image = Image::new(&[tar(&[("var/lib/dpkg/status", status.as_bytes())])]);
    write_layout(&home.join(name), &image);
    image
}

#[test]
fn diff_exits_with_0_1_or_2() {
    let home = tempfile::tempdir().unwrap();
    layout(home.path(), "one", "1");
    layout(home.path(), "two", "2");
    for (arguments, code) in [
        (["oci:one", "oci:one"], 0),
        (["oci:one", "oci:two"], 1),
        (["oci:one", "oci:three"], 2),
        (["oci:one", "--no-such-flag"], 2),
    ] {
        ends(home.path(), &[&["diff"], &arguments[..]].concat(), code);
        ends(home.path(), &[&["sbom", "diff"], &arguments[..]].concat(), code);
    }
}

#[test]
fn verify_exits_with_0_1_or_2() {
    let home = tempfile::tempdir().unwrap();
    let image = layout(home.path(), "one", "1");
    ends(home.path(), &["verify", "oci:one"], 0);
    let layer =
        home.path().join("one/blobs/sha256").join(strata::internals::oci::Digest::sha256(&image.blobs[0]).hex());
    fs::write(layer, vec![0; image.blobs[0].len()]).unwrap();
    ends(home.path(), &["verify", "oci:one"], 1);
    ends(home.path(), &["verify", "oci:three"], 2);
    ends(home.path(), &["verify"], 2);
}

#[test]
fn budget_exits_with_0_1_or_2() {
    let home = tempfile::tempdir().unwrap();
    layout(home.path(), "one", "1");
    ends(home.path(), &["budget", "oci:one", "budget.json"], 2);
    ends(home.path(), &["budget", "oci:one", "budget.json", "--update"], 0);
    ends(home.path(), &["budget", "oci:one", "budget.json"], 0);
    let path = home.path().join("budget.json");
    let mut budget: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for image in budget["images"].as_object_mut().unwrap().values_mut() {
        image["size"] = 1.into();
    }
    fs::write(&path, budget.to_string()).unwrap();
    ends(home.path(), &["budget", "oci:one", "budget.json"], 1);
    fs::write(&path, "no JSON").unwrap();
    ends(home.path(), &["budget", "oci:one", "budget.json"], 2);
}

#[test]
fn fleets_exit_with_0_1_or_2() {
    let home = tempfile::tempdir().unwrap();
    layout(home.path(), "one", "1");
    fs::write(home.path().join("complete"), "oci:one oci:two\n").unwrap();
    fs::write(home.path().join("some"), "oci:missing oci:three\noci:one oci:four\n").unwrap();
    ends(home.path(), &["copy", "--fleet", "complete"], 0);
    ends(home.path(), &["copy", "--fleet", "some"], 1);
    assert!(home.path().join("four/index.json").is_file());
    ends(home.path(), &["copy", "--fleet", "missing"], 2);
}

#[test]
fn other_commands_exit_with_0_or_2() {
    let home = tempfile::tempdir().unwrap();
    layout(home.path(), "one", "1");
    for arguments in
        [&["copy", "oci:one", "oci:two"][..], &["inspect", "oci:one"], &["explain", "oci:one"], &["stream", "oci:one"]]
    {
        ends(home.path(), arguments, 0);
    }
    // No process listens on port 1.
    let registry = "docker://127.0.0.1:1/app:v1";
    for arguments in [
        &["copy", "oci:missing", "oci:three"][..],
        &["copy", "oci:one", registry, "--retry-times", "0"],
        &["inspect", "oci:missing"],
        &["explain", "oci:missing"],
        &["stream", "oci:missing"],
        &["plan", "oci:missing"],
        &["sbom", "oci:missing"],
        &["serve", "oci:missing"],
        &["run", "oci:missing"],
        &["compose-mounts", "oci:missing", "--service", "app"],
        &["vex", "oci:missing"],
        &["rebuild", "oci:missing"],
        &["check", "oci:missing", "tests.yaml"],
        &["pull", registry, "directory", "--retry-times", "0"],
        &["manifest", registry, "--retry-times", "0"],
        &["list-tags", registry, "--retry-times", "0"],
        &["lock", registry, "--retry-times", "0"],
        &["index", registry, "127.0.0.1:1/app:v2", "--retry-times", "0"],
        &["attach", registry, "one/index.json", "--type", "application/json", "--retry-times", "0"],
        &["login", "127.0.0.1:1", "--username", "me", "--password-stdin"],
        &["logout"],
        &["completions", "no-such-shell"],
        &["no-such-command"],
    ] {
        ends(home.path(), arguments, 2);
    }
}
