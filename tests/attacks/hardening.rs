//! Images that hide privileged files from `strata explain --harden`: engines differ in how they unpack such layers, and a file
//! that one of them makes privileged is found.

use std::io;

use serde_json::Value;
use tar::{EntryType, Header};

use crate::{
    images::{Image, write_layout},
    run::{limited_strata, text},
};

const MEGABYTES: u32 = 700;
const SECONDS: u32 = 60;
/// `cap_sys_admin=ep` (capabilities(7), `struct vfs_cap_data`).
const CAP_SYS_ADMIN: [u8; 20] = [1, 0, 0, 2, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// An entry of a tar: name, kind, mode, and target or content.
type Entry<'a> = (&'a str, EntryType, u32, &'a str);

fn layer(entries: &[Entry<'_>], last_capabilities: Option<&[u8]>) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (at, (name, kind, mode, text)) in entries.iter().enumerate() {
        if let Some(capabilities) = last_capabilities.filter(|_| at + 1 == entries.len()) {
            tar.append_pax_extensions([("SCHILY.xattr.security.capability", capabilities)]).unwrap();
        }
        let mut header = Header::new_ustar();
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        if matches!(kind, EntryType::Link | EntryType::Symlink) {
            header.set_size(0);
            tar.append_link(&mut header, name, text).unwrap();
        } else {
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
    }
    tar.into_inner().unwrap()
}

/// The findings of an image with a user, as `CHECK PLACE`.
fn findings(user: &str, layers: &[Vec<u8>]) -> Vec<String> {
    let home = tempfile::tempdir().unwrap();
    let layout = home.path().join("image");
    write_layout(&layout, &Image::new(layers).with_user(user));
    let mut command = limited_strata(home.path(), MEGABYTES, SECONDS);
    let output =
        command.args(["explain", &format!("oci:{}", layout.display()), "--harden", "--json"]).output().unwrap();
    assert!(output.status.code().is_some_and(|code| code <= 1), "{}", text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let name =
        |finding: &Value| format!("{} {}", finding["check"].as_str().unwrap(), finding["place"].as_str().unwrap());
    report["findings"].as_array().unwrap().iter().map(name).collect()
}

fn has(findings: &[String], expected: &str) -> bool {
    findings.iter().any(|finding| finding == expected)
}

#[test]
fn hard_links_with_other_modes_and_capabilities_are_found() {
    let shell = ("bin/sh", EntryType::Regular, 0o755, "x");
    let setuid = layer(&[shell, ("opt/x", EntryType::Link, 0o4755, "bin/sh")], None);
    assert!(has(&findings("1000", &[setuid]), "setuid /opt/x"));
    let capable = layer(&[shell, ("opt/x", EntryType::Link, 0o755, "bin/sh")], Some(&CAP_SYS_ADMIN));
    assert!(has(&findings("1000", &[capable]), "file-capability /opt/x"));
    let setuid =
        layer(&[("bin/su", EntryType::Regular, 0o4755, "x"), ("opt/x", EntryType::Link, 0o755, "bin/su")], None);
    assert!(has(&findings("1000", &[setuid]), "setuid /opt/x"));
}

#[test]
fn files_that_a_directory_after_a_whiteout_shows_again_are_found() {
    let lower = layer(&[("a/su", EntryType::Regular, 0o4755, "x"), ("b/su", EntryType::Regular, 0o4755, "x")], None);
    let upper = [
        (".wh.a", EntryType::Regular, 0o644, ""),
        ("a/", EntryType::Directory, 0o755, ""),
        (".wh.b", EntryType::Regular, 0o644, ""),
    ];
    let found = findings("1000", &[lower, layer(&upper, None)]);
    assert!(has(&found, "setuid /a/su") && !has(&found, "setuid /b/su"), "{found:?}");
}

#[test]
fn users_that_are_root_by_unusual_accounts_are_found() {
    let accounts = |text: &str| layer(&[("etc/passwd", EntryType::Regular, 0o644, text)], None);
    let linked = [
        ("data/users", EntryType::Regular, 0o644, "web:x:0:0::/:\n"),
        ("etc/passwd", EntryType::Symlink, 0o777, "../data/users"),
    ];
    for (user, image) in [
        ("web", accounts("web:x:abc:5::/:\n")),
        ("web", accounts("web\n")),
        ("web:5", accounts("root:x:0:0::/:\n")),
        ("-0", accounts("")),
        ("web", layer(&linked, None)),
    ] {
        assert!(has(&findings(user, &[image]), "root-user config.User"), "{user}");
    }
    assert!(!has(&findings("web", &[accounts("web:x:5:5::/:\n")]), "root-user config.User"));
}

#[test]
fn directories_of_supplementary_groups_are_writable() {
    let passwd = "web:x:33:34::/:\n";
    let entries = [
        ("etc/passwd", EntryType::Regular, 0o644, passwd),
        ("etc/group", EntryType::Regular, 0o644, "data:x:0:web\n"),
        ("srv/", EntryType::Directory, 0o775, ""),
    ];
    let image = layer(&entries, None);
    assert!(has(&findings("web", std::slice::from_ref(&image)), "writable-root /srv"));
    assert!(!has(&findings("web:34", &[image]), "writable-root /srv"));
}

#[test]
fn targets_of_links_that_are_longer_than_paths_are_refused() {
    // Each entry below the link would be as expensive as its target is long.
    let (link, target) = ("l", "a/".repeat(250_000));
    let mut tar = tar::Builder::new(Vec::new());
    let mut append = |records: &[(&str, &[u8])], kind| {
        tar.append_pax_extensions(records.iter().copied()).unwrap();
        let mut header = Header::new_ustar();
        header.set_size(0);
        header.set_entry_type(kind);
        header.set_cksum();
        tar.append(&header, io::empty()).unwrap();
    };
    append(&[("path", link.as_bytes()), ("linkpath", target.as_bytes())], EntryType::Symlink);
    append(&[("path", b"l/x"), ("linkpath", b"y")], EntryType::Symlink);
    for number in 0..50 {
        append(&[("path", format!("l/z{number}").as_bytes())], EntryType::Regular);
    }
    let home = tempfile::tempdir().unwrap();
    let layout = home.path().join("image");
    write_layout(&layout, &Image::new(&[tar.into_inner().unwrap()]));
    let image = format!("oci:{}", layout.display());
    for arguments in [&["explain", &image, "--harden"][..], &["sbom", &image]] {
        let output = limited_strata(home.path(), MEGABYTES, SECONDS).args(arguments).output().unwrap();
        assert!(
            !output.status.success() && text(&output).contains("a path of more than 4095 bytes"),
            "{}",
            text(&output)
        );
    }
}

#[test]
fn names_that_are_longer_than_paths_are_refused() {
    let mut tar = tar::Builder::new(Vec::new());
    let name = "a/".repeat(200_000);
    for _ in 0..4 {
        tar.append_pax_extensions([("path", name.as_bytes())]).unwrap();
        let mut header = Header::new_ustar();
        header.set_size(0);
        header.set_entry_type(EntryType::Regular);
        header.set_cksum();
        tar.append(&header, io::empty()).unwrap();
    }
    let home = tempfile::tempdir().unwrap();
    let layout = home.path().join("image");
    write_layout(&layout, &Image::new(&[tar.into_inner().unwrap()]));
    let image = format!("oci:{}", layout.display());
    let output =
        limited_strata(home.path(), MEGABYTES, SECONDS).args(["explain", &image, "--harden"]).output().unwrap();
    assert!(!output.status.success() && text(&output).contains("a path of more than 4095 bytes"), "{}", text(&output));
}
