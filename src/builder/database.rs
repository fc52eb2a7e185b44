//! Kind `nix-database`: the database of Nix in a container, which lists the container's store paths.
//!
//! ```text
//! nix/store/.links                 empty, for its owner; otherwise Nix makes it and changes the store
//! nix/var/nix/db/{db.sqlite,schema}
//! nix/var/nix/gcroots/docker/…     links to the roots, so that no path is collected
//! nix/var/nix/{profiles,temproots,userpool,daemon-socket}
//! ```
//!
//! The schema is version 10, which all versions of Nix since 2.0 read. Registration times are zero and rows are written
//! in order, so that the bytes depend on the closure alone.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use data_encoding::HEXLOWER;
use rusqlite::{Connection, params};
use serde::Deserialize;
use tar::EntryType;

use super::{
    attributes::Attributes,
    base::{self, Base},
};
use crate::{
    budget::{self, Budget, NAME_OVERHEAD},
    closure::{Graph, RawNode, StoreDir, StorePath, parse_nar_hash},
    image::{Image, Recipe},
    layer::{
        overlay::{LayerEffect, LayerLinks, Overlay},
        rooted::Rooted,
        untar::TarReader,
    },
    sqlite,
};

/// The path of the database in an image.
const DATABASE: &[u8] = b"nix/var/nix/db/db.sqlite";
/// The maximum length of a path or hash in a database, in bytes: the path of a store plus the longest name that Nix
/// allows.
const TEXT_LIMIT: usize = 1024;

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
    /// Store paths of the closure that are not at their original location in the image.
    elsewhere: Vec<StorePath>,
    base: Base,
}

pub fn build(attributes: &Attributes) -> Result<()> {
    let request: Request = attributes.request()?;
    let graph = attributes.closure()?;
    let in_image = graph.without(|at| request.elsewhere.contains(&graph.nodes()[at].path));
    let out = attributes.out();
    fs::create_dir(out).with_context(|| format!("creating {}", out.display()))?;
    write(&in_image, request.base.open()?.as_ref(), out).map(drop)
}

/// Writes the tree below `root` for the paths of `in_image` and those of `base`. Returns the written files. Links of `root`
/// are followed as if `root` were `/`, so that none leads outside.
pub fn write(in_image: &Graph, base: Option<&Recipe>, root: &Path) -> Result<Vec<PathBuf>> {
    let below = base.map(base_closure).transpose()?.flatten();
    let graph = &Graph::union(below.iter().chain([in_image]));
    let rooted = Rooted::open(root).with_context(|| format!("opening {}", root.display()))?;
    let make =
        |below: &str| rooted.make(Path::new(below)).with_context(|| format!("creating {below} for the Nix database"));
    make("nix/store/.links")?;
    for name in ["profiles", "temproots", "userpool", "daemon-socket"] {
        make(&format!("nix/var/nix/{name}"))?;
    }
    let roots = make("nix/var/nix/gcroots/docker")?;
    let mut written = Vec::new();
    for at in graph.roots() {
        let path = &graph.nodes()[at].path;
        let name = OsStr::new(path.hash_part());
        if roots.read_link(name).is_ok_and(|target| target == path.as_path()) {
            continue;
        }
        let link = || roots.remove_file(name).and_then(|()| roots.symlink(path.as_path(), name));
        link().with_context(|| format!("linking {path}"))?;
        written.push(roots.path().join(name));
    }
    // SQLite opens files by path and follows links, so the database is made in a directory of its own and then copied.
    let scratch = tempfile::tempdir().context("making a directory for the Nix database")?;
    let made = scratch.path().join("db.sqlite");
    database(graph, &made).context("writing the Nix database")?;
    let directory = make("nix/var/nix/db")?;
    let mut put = |name: &str, mut from: &mut dyn Read| -> Result<()> {
        let name = OsStr::new(name);
        let mut copy = || {
            directory.remove_file(name)?;
            io::copy(&mut from, &mut directory.create_file(name)?)
        };
        copy().with_context(|| format!("writing {}", directory.path().join(name).display()))?;
        written.push(directory.path().join(name));
        Ok(())
    };
    put("schema", &mut b"10".as_slice())?;
    put("db.sqlite", &mut File::open(&made).context("reading the Nix database")?)?;
    Ok(written)
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
            // Ids are assigned in order, from 1.
            let self_reference = node.self_reference.then_some(&at);
            for &to in node.references.iter().chain(self_reference) {
                refer.execute(params![at as i64 + 1, to as i64 + 1])?;
            }
        }
    }
    transaction.commit()?;
    connection.execute_batch("vacuum")?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(())
}

/// Returns the store paths that are valid for Nix in a container of `base`: those of its recipe, otherwise those of the
/// database in its layers.
fn base_closure(base: &Recipe) -> Result<Option<Graph>> {
    if let Some(closure) = &base.closure {
        let existing = base::existing_store_paths(&base.layers);
        return Ok(Some(closure.without(|at| !existing.contains(closure.nodes()[at].path.as_path()))));
    }
    let scratch = tempfile::tempdir().context("making a directory for the base image's Nix database")?;
    let file = scratch.path().join("db.sqlite");
    for (at, layer) in Image::from_recipe(base).layers.iter().enumerate().rev() {
        let reading = || format!("argument fromImage: looking for a Nix database in layer {}", at + 1);
        match layer.plain(|tar| find(tar, &file)).with_context(reading)? {
            Some(true) => return read(&file).context("argument fromImage: reading its Nix database").map(Some),
            Some(false) => return Ok(None),
            None => {}
        }
    }
    Ok(None)
}

/// Copies the database of a layer to `to`. Returns whether the layer has a database, or `None` if it neither has nor
/// hides one.
fn find(layer: impl Read, to: &Path) -> io::Result<Option<bool>> {
    let mut archive = TarReader::new(layer);
    let (mut lower, mut links) = (Overlay::default(), LayerLinks::default());
    lower.insert(DATABASE.to_vec(), ());
    lower.end_layer();
    let mut found = None;
    while let Some(entry) = archive.next_entry()? {
        let Some(place) = links.place(&entry)? else { continue };
        if matches!(&place, LayerEffect::At(path) if path == DATABASE) {
            io::copy(&mut Budget::new(&budget::DATABASE).reader(&mut archive), &mut File::create(to)?)?;
            found = Some(true);
        } else {
            lower.apply(&place, entry.kind == EntryType::Directory);
        }
    }
    Ok(found.or(lower.get(DATABASE).is_none().then_some(false)))
}

fn read(file: &Path) -> Result<Graph> {
    let connection = sqlite::open(file, &["ValidPaths", "Refs"])?;
    let mut paths = connection.prepare("select id, path, hash, narSize from ValidPaths not indexed")?;
    let mut known: BTreeMap<i64, (String, String, u64)> = BTreeMap::new();
    let mut budget = Budget::new(&budget::DATABASE);
    let mut rows = paths.query([])?;
    while let Some(row) = rows.next()? {
        let text = |column: usize| -> Result<String> {
            let text = row.get_ref(column)?.as_str()?;
            ensure!(text.len() <= TEXT_LIMIT, "it has a path or hash of more than {TEXT_LIMIT} bytes");
            Ok(text.to_owned())
        };
        let size: Option<i64> = row.get(3)?;
        known.insert(row.get(0)?, (text(1)?, text(2)?, size.unwrap_or(0).try_into()?));
        budget.take(0)?;
    }
    let mut references: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    let mut budget = Budget::new(&budget::REFERENCES);
    let mut refs = connection.prepare("select referrer, reference from Refs not indexed")?;
    let mut rows = refs.query([])?;
    while let Some(row) = rows.next()? {
        let (from, to): (i64, i64) = (row.get(0)?, row.get(1)?);
        let (path, ..) = known.get(&to).context("it has a dangling reference")?;
        budget.take(path.len() + NAME_OVERHEAD)?;
        references.entry(from).or_default().push(path.clone());
    }
    let nodes: Vec<RawNode> = known
        .into_iter()
        .map(|(id, (path, hash, size))| {
            RawNode::new(path, references.remove(&id).unwrap_or_default(), size, Some(hash))
        })
        .collect();
    let store = nodes.first().and_then(RawNode::store).map(StoreDir::new).unwrap_or_default();
    Ok(Graph::new(&store, nodes)?)
}
