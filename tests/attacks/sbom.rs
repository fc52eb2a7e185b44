//! SBOMs of images whose package databases are hostile: they end, in bounded memory, and never claim to be complete
//! when something was hidden or not understood.

use serde_json::Value;

use crate::{
    images::{Image, sqlite, tar, write_layout},
    run::{limited_strata, text},
};

const STATUS: &str = "var/lib/dpkg/status";
const RPM: &str = "var/lib/rpm/rpmdb.sqlite";
/// Enough for the program's threads and SQLite, and less than the smallest of the attacks took.
const MEGABYTES: u32 = 1500;
const SECONDS: u32 = 100;

/// The outcome of `strata sbom`: the document, or the error.
fn sbom(layers: &[Vec<u8>]) -> Result<Value, String> {
    let home = tempfile::tempdir().unwrap();
    let layout = home.path().join("image");
    write_layout(&layout, &Image::with_gzip(layers));
    let mut command = limited_strata(home.path(), MEGABYTES, SECONDS);
    let output = command.args(["sbom", &format!("oci:{}", layout.display())]).output().unwrap();
    assert!(output.status.code().is_some_and(|code| code <= 2), "{:?}: {}", output.status, text(&output));
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(text(&output)),
    }
}

fn names(sbom: &Value) -> Vec<&str> {
    sbom["components"].as_array().unwrap().iter().filter_map(|component| component["name"].as_str()).collect()
}

fn is_complete(sbom: &Value) -> bool {
    sbom["compositions"][0]["aggregate"] == "complete"
}

fn package(name: &str) -> String {
    format!("Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\n")
}

/// A layer with a file and a database of one package.
fn base() -> Vec<u8> {
    tar(&[("usr/bin/bash", b"program"), (STATUS, package("bash").as_bytes())])
}

#[test]
fn a_database_is_listed_and_complete() {
    let sbom = sbom(&[base()]).unwrap();
    assert_eq!(names(&sbom), ["bash"]);
    assert!(is_complete(&sbom));
}

#[test]
fn databases_that_later_layers_hide_make_the_sbom_incomplete() {
    let link = || {
        let mut layer = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        layer.append_link(&mut header, "var/lib/dpkg", "/elsewhere").unwrap();
        layer.into_inner().unwrap()
    };
    for (what, layer) in [
        ("whiteout", tar(&[("var/lib/dpkg/.wh.status", b"")])),
        ("whiteout of the directory", tar(&[("var/lib/.wh.dpkg", b"")])),
        ("whiteout of the root's directory", tar(&[(".wh.var", b"")])),
        ("whiteout in another spelling", tar(&[("./var//lib/./dpkg/.wh.status", b"")])),
        ("opaque directory", tar(&[("var/lib/dpkg/.wh..wh..opq", b"")])),
        ("opaque root", tar(&[(".wh..wh..opq", b"")])),
        ("empty database", tar(&[(STATUS, b"")])),
        ("database without packages", tar(&[(STATUS, b"x\n\n")])),
        ("file over the directory", tar(&[("var/lib", b"x")])),
        ("link over the directory", link()),
    ] {
        let sbom = sbom(&[base(), layer]).unwrap();
        assert!(!is_complete(&sbom), "{what}: {sbom}");
        assert!(names(&sbom).contains(&"layer 1"), "{what}: {sbom}");
    }
}

#[test]
fn an_opaque_marker_does_not_hide_a_database_of_its_own_layer() {
    for entries in [
        [(STATUS, package("new")), ("var/lib/dpkg/.wh..wh..opq", String::new())],
        [("var/lib/dpkg/.wh..wh..opq", String::new()), (STATUS, package("new"))],
        [(STATUS, package("new")), (".wh..wh..opq", String::new())],
        [("var/x/../lib/dpkg/status", package("new")), (".wh.var", String::new())],
    ] {
        let entries = entries.each_ref().map(|(name, text)| (*name, text.as_bytes()));
        let layer = [&entries[..], &[("usr/bin/new", b"program")]].concat();
        let mut archive = tar::Builder::new(Vec::new());
        for (name, bytes) in &layer {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            // The crate's own setter refuses "..".
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            archive.append(&header, *bytes).unwrap();
        }
        let sbom = sbom(&[base(), archive.into_inner().unwrap()]).unwrap();
        assert!(names(&sbom).contains(&"new") && !names(&sbom).contains(&"bash"), "{sbom}");
        assert!(is_complete(&sbom), "{sbom}");
    }
}

#[test]
fn packages_that_are_not_configured_count() {
    let mut text = String::new();
    for state in ["unpacked", "half-configured", "triggers-pending", "triggers-awaited", "half-installed"] {
        text += &package(state).replace("ok installed", &format!("ok {state}"));
    }
    text += &package("removed").replace("install ok installed", "deinstall ok config-files");
    let sbom = sbom(&[tar(&[("usr/bin/x", b"x"), (STATUS, text.as_bytes())])]).unwrap();
    let expected = ["half-configured", "half-installed", "triggers-awaited", "triggers-pending", "unpacked"];
    assert_eq!(names(&sbom), expected);
}

#[test]
fn databases_that_are_not_understood_make_the_sbom_incomplete() {
    let hard_link = || {
        let mut layer = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Link);
        header.set_size(0);
        layer.append_link(&mut header, STATUS, "usr/bin/bash").unwrap();
        layer.into_inner().unwrap()
    };
    let without_version = format!("{}Package: evil\nStatus: install ok installed\n", package("bash"));
    let control = format!("{}{}", package("bash"), package("evil\u{1b}[2J"));
    for (what, layer) in [
        ("a package without version", tar(&[("x", b"x"), (STATUS, without_version.as_bytes())])),
        ("a name with control characters", tar(&[("x", b"x"), (STATUS, control.as_bytes())])),
        ("a hard link", hard_link()),
        ("no database", tar(&[("x", b"x"), (RPM, b"SQLite format 3\0 and more")])),
        ("an empty one", tar(&[("x", b"x"), (RPM, b"")])),
        ("no table", tar(&[("x", b"x"), (RPM, &sqlite("create table Other (a);"))])),
        ("a text for a header", {
            let sql = "create table Packages (hnum, blob); insert into Packages values (1, 'text');";
            tar(&[("x", b"x"), (RPM, &sqlite(sql))])
        }),
    ] {
        let sbom = sbom(&[base(), layer]).unwrap();
        assert!(!is_complete(&sbom), "{what}: {sbom}");
    }
}

#[test]
fn views_and_oversized_values_of_rpm_databases_are_bounded() {
    let endless = "with recursive c(x) as (select 1 union all select x + 1 from c)";
    let table = "create table Packages (hnum integer primary key, blob blob);";
    for (what, sql) in [
        (
            "an endless view",
            format!("create view Packages as {endless} select x as hnum, zeroblob(10) as blob from c;"),
        ),
        ("a view that computes for ever", {
            format!("create view Packages as {endless} select count(*) as hnum, zeroblob(10) as blob from c;")
        }),
        ("a view in lower case", format!("create view packages as {endless} select x as hnum, x as blob from c;")),
        ("a view of large values", {
            "create view Packages as select 1 as hnum, zeroblob(500000000) as blob \
             union all select 2, zeroblob(500000000);"
                .to_owned()
        }),
        ("a generated column", "create table Packages (hnum, blob as (zeroblob(900000000)));".to_owned()),
        ("a virtual table", "create virtual table Packages using fts5(hnum, blob);".to_owned()),
        ("a value of 40 MB", format!("{table} insert into Packages values (1, zeroblob(40000000));")),
        ("an endless trigger", {
            format!(
                "{table} create trigger t after insert on Packages begin insert into Packages {endless} select x, x from c; end;"
            )
        }),
    ] {
        let sbom = sbom(&[tar(&[("usr/bin/x", b"x"), (RPM, &sqlite(&sql))])]).unwrap();
        assert!(!is_complete(&sbom), "{what}: {sbom}");
    }
}

#[test]
fn damaged_rpm_databases_end() {
    let table = "create table Packages (hnum integer primary key, blob blob);";
    let rows = format!("{table} insert into Packages values (1, zeroblob(50000)), (2, zeroblob(50000));");
    let intact = sqlite(&rows);
    for page in 1..intact.len() / 4096 {
        for value in [0u8, 1, 2, 3, 0xff] {
            let mut damaged = intact.clone();
            damaged[page * 4096..page * 4096 + 12].fill(value);
            sbom(&[tar(&[("usr/bin/x", b"x"), (RPM, &damaged)])]).unwrap();
        }
    }
}

#[test]
fn oversized_package_databases_and_lists_are_refused() {
    let many = |count: usize, prefix: &str| -> Vec<u8> {
        (0..count).flat_map(|number| package(&format!("{prefix}{number}")).into_bytes()).collect()
    };
    let directories: Vec<(String, Vec<u8>)> = (0..6)
        .map(|number| (format!("var/lib/dpkg/status.d/f{number}"), many(20_000, &format!("f{number}p"))))
        .collect();
    let directories: Vec<(&str, &[u8])> =
        directories.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let alphabet = b"0123456789abcdfghijklmnpqrsvwxyz";
    let base32 = |mut number: usize| -> String {
        let mut digits = [b'0'; 32];
        for digit in digits.iter_mut().rev() {
            *digit = alphabet[number % 32];
            number /= 32;
        }
        String::from_utf8(digits.to_vec()).unwrap()
    };
    let paths: Vec<String> = (0..110_000).map(|number| format!("nix/store/{}-x", base32(number))).collect();
    let paths: Vec<(&str, &[u8])> = paths.iter().map(|path| (path.as_str(), b"".as_slice())).collect();
    for (what, layer) in [
        ("120,000 packages", tar(&[(STATUS, &many(120_000, "p"))])),
        ("6 databases of 20,000 packages", tar(&directories)),
        ("110,000 store paths", tar(&paths)),
    ] {
        let error = sbom(&[layer]).expect_err(what);
        assert!(error.contains("which is the limit"), "{what}: {error}");
    }
}

#[test]
fn long_lines_of_package_databases_are_bounded() {
    let long = ["Package: ", &"x".repeat(50_000_000), "\nStatus: install ok installed\nVersion: 1\n\n"].concat();
    let sbom = sbom(&[tar(&[(STATUS, long.as_bytes())])]).unwrap();
    assert!(!is_complete(&sbom));
}
