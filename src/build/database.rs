//! Kind `nix-database`: what Nix in a container needs to know of the store paths there.
//!
//! ```text
//! nix/store                        empty, for its owner
//! nix/var/nix/db/{db.sqlite,schema}
//! nix/var/nix/gcroots/docker/…     links to the roots, so that nothing is collected
//! nix/var/nix/{profiles,temproots,userpool,daemon-socket}
//! ```
//!
//! The schema is Nix's version 10, which all since 2.0 read. Registration times
//! are zero, and rows are written in order, so the bytes depend on the closure alone.

use std::{fs, os::unix::fs::symlink, path::Path};

use anyhow::{Context, Result};
use data_encoding::HEXLOWER;
use rusqlite::{Connection, params};
use serde::Deserialize;

use super::attributes::Attributes;
use crate::closure::{Graph, StorePath, parse_nar_hash};

const SCHEMA: &str = "
create table if not exists ValidPaths (
    id               integer primary key autoincrement not null,
    path             text unique not null,
    hash             text not null,
    registrationTime integer not null,
    deriver          text,
    narSize          integer,
    ultimate         integer,
    sigs             text,
    ca               text
);
create table if not exists Refs (
    referrer  integer not null,
    reference integer not null,
    primary key (referrer, reference),
    foreign key (referrer) references ValidPaths(id) on delete cascade,
    foreign key (reference) references ValidPaths(id) on delete restrict
);
create index if not exists IndexReferrer on Refs(referrer);
create index if not exists IndexReference on Refs(reference);
create trigger if not exists DeleteSelfRefs before delete on ValidPaths
  begin
    delete from Refs where referrer = old.id and reference = old.id;
  end;
create table if not exists DerivationOutputs (
    drv  integer not null,
    id   text not null,
    path text not null,
    primary key (drv, id),
    foreign key (drv) references ValidPaths(id) on delete cascade
);
create index if not exists IndexDerivationOutputs on DerivationOutputs(path);
";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Request {
    /// Store paths of the closure that are not in the image at their own place.
    elsewhere: Vec<StorePath>,
}

pub fn build(attributes: &Attributes) -> Result<()> {
    let request: Request = attributes.request()?;
    let graph = attributes.closure()?;
    write(&graph.without(|at| request.elsewhere.contains(&graph.nodes()[at].path)), attributes.out())
}

/// Writes the tree for the paths of `graph` below `root`.
pub fn write(graph: &Graph, root: &Path) -> Result<()> {
    let make = |below: &str| {
        let path = root.join(below);
        fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display())).map(|()| path)
    };
    make("nix/store")?;
    for name in ["profiles", "temproots", "userpool", "daemon-socket"] {
        make(&format!("nix/var/nix/{name}"))?;
    }
    let roots = make("nix/var/nix/gcroots/docker")?;
    for at in graph.roots() {
        let path = &graph.nodes()[at].path;
        symlink(path.as_path(), roots.join(path.hash_part())).with_context(|| format!("linking {path}"))?;
    }
    let directory = make("nix/var/nix/db")?;
    fs::write(directory.join("schema"), "10").context("writing the database's schema")?;
    database(graph, &directory.join("db.sqlite")).context("writing the Nix database")
}

fn database(graph: &Graph, path: &Path) -> Result<()> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "off")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    {
        let mut insert = transaction
            .prepare("insert into ValidPaths (path, hash, registrationTime, narSize) values (?1, ?2, 0, ?3)")?;
        for node in graph.nodes() {
            let hash = node.nar_hash.as_deref().and_then(parse_nar_hash);
            let hash = hash.with_context(|| format!("{}: its hash is {:?}", node.path, node.nar_hash))?;
            let hash = format!("sha256:{}", HEXLOWER.encode(&hash));
            insert.execute(params![node.path.as_str(), hash, i64::try_from(node.nar_size)?])?;
        }
        let mut refer = transaction.prepare("insert into Refs (referrer, reference) values (?1, ?2)")?;
        for (at, node) in graph.nodes().iter().enumerate() {
            // Identities are given in order, from 1.
            let own = node.self_reference.then_some(&at);
            for &to in node.references.iter().chain(own) {
                refer.execute(params![at as i64 + 1, to as i64 + 1])?;
            }
        }
    }
    transaction.commit()?;
    connection.execute_batch("vacuum")?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(())
}
