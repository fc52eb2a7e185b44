//! Nix databases in base images: builds on them end, in bounded memory, and follow the same whiteouts as engines.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    images::{Image, sqlite, tar, write_layout},
    run::{limited_strata, text},
};

const DATABASE: &str = "nix/var/nix/db/db.sqlite";
const TABLES: &str = "create table ValidPaths (id integer primary key, path text, hash text, narSize integer);
    create table Refs (referrer integer, reference integer);";
const HELLO: &str = "/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-hello-2.12";

/// Runs what a derivation of this kind runs; whether it succeeded, and its output.
fn build(home: &Path, kind: &str, request: &Value) -> (bool, String) {
    let attributes = json!({ "strata": { "version": 1, "kind": kind, "request": request }, "closure": [],
        "outputs": { "out": home.join(kind) } });
    let file = home.join(format!("{kind}.json"));
    fs::write(&file, attributes.to_string()).unwrap();
    let mut command = limited_strata(home, 1500, 100);
    // Nix sets NIX_STORE in builds.
    let output = command.arg("build").env("NIX_ATTRS_JSON_FILE", &file).env("NIX_STORE", home).output().unwrap();
    assert!(output.status.code().is_some_and(|code| code <= 2), "{kind}: {:?}: {}", output.status, text(&output));
    (output.status.success(), text(&output))
}

/// Builds the Nix database of an image on a base with these layers: the store paths in it, or the error.
fn database(layers: &[Vec<u8>]) -> Result<Vec<String>, String> {
    let home = tempfile::tempdir().unwrap();
    let layout = home.path().join(format!("{}-layout", "0".repeat(32)));
    write_layout(&layout, &Image::with_gzip(layers));
    let base = json!({ "image": layout, "name": null, "tag": null, "arch": "amd64", "variant": null });
    let (succeeded, output) = build(home.path(), "base", &base);
    assert!(succeeded, "{output}");
    let request = json!({ "elsewhere": [], "base": { "fromImage": home.path().join("base") } });
    let (succeeded, output) = build(home.path(), "nix-database", &request);
    if !succeeded {
        return Err(output);
    }
    let made = rusqlite::Connection::open(home.path().join("nix-database").join(DATABASE)).unwrap();
    let mut query = made.prepare("select path from ValidPaths").unwrap();
    let paths = query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    Ok(paths)
}

fn row(id: usize, path: &str) -> String {
    format!("insert into ValidPaths values ({id}, '{path}', 'sha256:{}', 1);", "0".repeat(64))
}

fn base() -> Vec<u8> {
    tar(&[(DATABASE, &sqlite(&[TABLES, &row(1, HELLO)].concat()))])
}

#[test]
fn the_database_of_a_base_is_read() {
    assert_eq!(database(&[base()]).unwrap(), [HELLO]);
    assert_eq!(database(&[base(), tar(&[("nix/var/nix/db/other", b"")])]).unwrap(), [HELLO]);
}

#[test]
fn a_hidden_database_is_not_read() {
    for name in [
        "nix/var/nix/db/.wh.db.sqlite",
        "nix/var/nix/.wh.db",
        ".wh.nix",
        "nix/.wh..wh..opq",
        "./nix//var/nix/db/.wh..wh..opq",
        "nix/var",
    ] {
        assert!(database(&[base(), tar(&[(name, b"")])]).unwrap().is_empty(), "{name}");
        // A marker hides nothing of its own layer.
        if name.contains(".wh.") {
            let database_file = sqlite(&[TABLES, &row(1, HELLO)].concat());
            let layer = tar(&[(DATABASE, &database_file), (name, b"")]);
            assert_eq!(database(&[base(), layer]).unwrap(), [HELLO], "{name}");
        }
    }
}

#[test]
fn views_and_oversized_values_of_nix_databases_are_bounded() {
    let endless = "with recursive c(x) as (select 1 union all select x + 1 from c)";
    let refs = "create table Refs (referrer integer, reference integer);";
    let paths = "create table ValidPaths (id integer primary key, path text, hash text, narSize integer);";
    let many = "with recursive c(x) as (select 1 union all select x + 1 from c where x < 120000)";
    let long = "x".repeat(2000);
    for (what, sql) in [
        ("an endless view of paths", {
            format!(
                "{refs} create view ValidPaths as {endless} select x as id, 'p' as path, 'h' as hash, 1 as narSize from c;"
            )
        }),
        ("an endless view of references", {
            format!("{paths} create view Refs as {endless} select x as referrer, x as reference from c;")
        }),
        ("a generated column", {
            format!("{refs} create table ValidPaths (id, path as (hex(zeroblob(400000000))), hash, narSize);")
        }),
        ("a virtual table", format!("{paths} create virtual table Refs using fts5(referrer, reference);")),
        ("120,000 paths", format!("{TABLES} insert into ValidPaths {many} select x, 'p', 'h', 1 from c;")),
        ("a path of 2,000 bytes", format!("{TABLES} insert into ValidPaths values (1, '{long}', 'h', 1);")),
        ("a path that is a number", format!("{TABLES} insert into ValidPaths values (1, x'00', 'h', 1);")),
        ("a path that is not one", format!("{TABLES} insert into ValidPaths values (1, '/etc/passwd', 'h', 1);")),
        ("a dangling reference", format!("{TABLES} {} insert into Refs values (1, 2);", row(1, HELLO))),
        ("a negative size", {
            format!("{TABLES} insert into ValidPaths values (1, '{HELLO}', 'sha256:{}', -1);", "0".repeat(64))
        }),
    ] {
        let error = database(&[tar(&[(DATABASE, &sqlite(&sql))])]).expect_err(what);
        assert!(error.contains("argument fromImage: reading its Nix database"), "{what}: {error}");
    }
    for bytes in [&b""[..], b"SQLite format 3\0", &[0xff; 9000]] {
        let error = database(&[tar(&[(DATABASE, bytes)])]).unwrap_err();
        assert!(error.contains("argument fromImage: reading its Nix database"), "{error}");
    }
}
