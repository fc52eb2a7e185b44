//! Layers of other people's: the store paths and the packages that are found in them.
//!
//! ```text
//! var/lib/dpkg/status, var/lib/dpkg/status.d/*    Debian, Ubuntu; distroless images    RFC 822 paragraphs
//! lib/apk/db/installed, usr/lib/apk/db/installed  Alpine, Wolfi                         P:, V:, …, a line each
//! var/lib/rpm/rpmdb.sqlite and the like           Fedora, RHEL 9                        SQLite of binary headers
//! nix/store/<hash>-<name>                         images of other Nix builders
//! ```
//!
//! Layers are read base first; what a later layer replaces or hides counts no more. A layer with files that nothing
//! here accounts for becomes a component that says so.

mod apk;
mod dpkg;
#[cfg(feature = "program")]
mod rpm;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
};

use tar::EntryType;

use super::{Component, Identity, Kind, Position, identity::encoded};
use crate::{
    blobs::{ImageBlobs, LayerBlob},
    closure::StorePath,
    layer::untar::TarReader,
    oci::Digest,
    source::Packing,
};

/// The limit for a package database, in bytes.
const DATABASE_LIMIT: u64 = 256 * 1024 * 1024;
const OS_RELEASE: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// A layer that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("reading layer {number} ({digest}) for the SBOM")]
pub struct ForeignError {
    number: usize,
    digest: Digest,
    source: io::Error,
}

/// A package as its database has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    /// The type of its package URL: `deb`, `apk` or `rpm`.
    kind: &'static str,
    name: String,
    version: String,
    architecture: String,
}

/// Parses a database; what it cannot read is left out.
type Parse = fn(&[u8]) -> Vec<Package>;

/// What is known of the image while its layers are read.
#[derive(Default)]
struct Found {
    databases: BTreeMap<String, Vec<Package>>,
    /// The first layer that has the package.
    first: BTreeMap<Package, Position>,
    store: BTreeMap<StorePath, Position>,
    os_release: BTreeMap<&'static str, Vec<u8>>,
    unknown: Vec<Position>,
}

/// What layers without known store paths hold.
pub fn components(image: &ImageBlobs, known: &[Component]) -> Result<Vec<Component>, ForeignError> {
    let mut found = Found::default();
    for (at, layer) in image.layers.iter().enumerate().filter(|(_, layer)| layer.paths.is_empty()) {
        let position = Position { number: at + 1, diff_id: layer.diff_id };
        let digest = layer.descriptor.digest;
        found.read(layer, position).map_err(|source| ForeignError { number: at + 1, digest, source })?;
    }
    let known: BTreeSet<&StorePath> = known.iter().filter_map(Component::path).collect();
    let distribution = found.distribution();
    let mut components = Vec::new();
    for (path, position) in found.store.iter().filter(|(path, _)| !known.contains(path)) {
        let component = Component::store_path(path.clone(), None, None);
        components.push(Component { layer: Some(*position), ..component });
    }
    let packages: BTreeSet<&Package> = found.databases.values().flatten().collect();
    for package in packages {
        let Package { kind, name, version, architecture } = package;
        let identity = Identity { name: name.clone(), version: Some(version.clone()), output: None };
        let (namespace, distro) = &distribution;
        let purl = format!(
            "pkg:{kind}/{namespace}{}@{}?arch={}{distro}",
            encoded(name),
            encoded(version),
            encoded(architecture)
        );
        let reference = format!("{kind}:{name}:{architecture}@{version}");
        components.push(Component::other(Kind::Package, reference, identity, Some(purl), found.first[package]));
    }
    for position in found.unknown {
        let identity = Identity { name: format!("layer {}", position.number), version: None, output: None };
        let reference = format!("layer:{}:{}", position.number, position.diff_id);
        components.push(Component::other(Kind::Unknown, reference, identity, None, position));
    }
    Ok(components)
}

impl Found {
    fn read(&mut self, layer: &LayerBlob, position: Position) -> io::Result<()> {
        let mut start = Vec::with_capacity(8);
        let mut blob = layer.read();
        (&mut blob).take(8).read_to_end(&mut start)?;
        let packing = Packing::of(&start);
        let mut plain = packing.reader(io::Cursor::new(start).chain(blob), layer.descriptor.size)?;
        let mut has_files = false;
        let mut accounted = false;
        let mut archive = TarReader::new(&mut plain);
        while let Some(entry) = archive.next_entry()? {
            let name = String::from_utf8_lossy(&entry.name).into_owned();
            let name = name.trim_start_matches("./").trim_matches('/');
            if self.hide(name) {
                continue;
            }
            if let Some(path) = store_path(name) {
                self.store.entry(path).or_insert(position);
                continue;
            }
            if !matches!(entry.kind, EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse) {
                continue;
            }
            has_files = true;
            if let Some(parse) = database(name) {
                let packages = parse(&contents(&mut archive)?);
                accounted = true;
                for package in &packages {
                    self.first.entry(package.clone()).or_insert(position);
                }
                self.databases.insert(name.to_owned(), packages);
            } else if let Some(place) = OS_RELEASE.iter().find(|place| **place == name) {
                self.os_release.insert(place, contents(&mut archive)?);
            }
        }
        // The blob is checked at its end, which lies behind the tar's.
        io::copy(&mut plain, &mut io::sink())?;
        if has_files && !accounted {
            self.unknown.push(position);
        }
        Ok(())
    }

    /// Removes what a whiteout hides; whether the entry is one.
    fn hide(&mut self, name: &str) -> bool {
        let (directory, file) = name.rsplit_once('/').map_or(("", name), |(directory, file)| (directory, file));
        let prefix = match file.strip_prefix(WHITEOUT) {
            None => return false,
            Some(_) if file == OPAQUE => directory.to_owned(),
            Some(gone) if directory.is_empty() => gone.to_owned(),
            Some(gone) => format!("{directory}/{gone}"),
        };
        let is_hidden = |name: &str| {
            prefix.is_empty() || name.strip_prefix(&prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.databases.retain(|name, _| !is_hidden(name));
        self.os_release.retain(|name, _| !is_hidden(name));
        self.store.retain(|path, _| !is_hidden(path.as_str().trim_start_matches('/')));
        true
    }

    /// The namespace of package URLs, and their last qualifier.
    fn distribution(&self) -> (String, String) {
        let text = OS_RELEASE.iter().find_map(|place| self.os_release.get(place));
        let text = text.map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default();
        let field = |key: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            value.map(|value| value.trim_matches(['"', '\'']).to_owned()).filter(|value| !value.is_empty())
        };
        match (field("ID"), field("VERSION_ID")) {
            (Some(id), Some(version)) => {
                (format!("{}/", encoded(&id)), format!("&distro={}-{}", encoded(&id), encoded(&version)))
            }
            (Some(id), None) => (format!("{}/", encoded(&id)), String::new()),
            (None, _) => (String::new(), String::new()),
        }
    }
}

/// How the file of this name is read, if it is a database.
fn database(name: &str) -> Option<Parse> {
    match name {
        "var/lib/dpkg/status" => Some(dpkg::status),
        name if name.starts_with("var/lib/dpkg/status.d/") && !name.ends_with(".md5sums") => Some(dpkg::paragraphs),
        "lib/apk/db/installed" | "usr/lib/apk/db/installed" => Some(apk::installed),
        #[cfg(feature = "program")]
        "var/lib/rpm/rpmdb.sqlite" | "usr/lib/sysimage/rpm/rpmdb.sqlite" | "usr/share/rpm/rpmdb.sqlite" => {
            Some(rpm::sqlite)
        }
        _ => None,
    }
}

/// The store path that an entry is or lies in.
fn store_path(name: &str) -> Option<StorePath> {
    let base = name.strip_prefix("nix/store/")?.split('/').next()?;
    StorePath::parse(&format!("/nix/store/{base}")).ok()
}

fn contents(entry: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    entry.take(DATABASE_LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
}
