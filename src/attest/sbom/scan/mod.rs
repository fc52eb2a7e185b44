//! Scans layers that were not made from known store paths for store paths and packages.
//!
//! ```text
//! var/lib/dpkg/status, var/lib/dpkg/status.d/*    Debian, Ubuntu; distroless images    RFC 822 paragraphs
//! lib/apk/db/installed, usr/lib/apk/db/installed  Alpine, Wolfi                         P:, V:, …, a line each
//! var/lib/rpm/rpmdb.sqlite and the like           Fedora, RHEL 9                        SQLite of binary headers
//! nix/store/<hash>-<name>                         images of other Nix builders
//! ```
//!
//! Layers are read base first, and later layers replace and hide files of lower ones. A layer becomes a component of
//! unknown contents if no database lists its files: a layer without a database, with a database that cannot be read
//! completely, or with one that a later layer deletes or empties.

mod apk;
mod dpkg;
mod paragraphs;
#[cfg(feature = "program")]
mod rpm;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
    sync::Arc,
};

use tar::EntryType;

use super::{Component, DocumentKind, LayerPosition, PackageIdentity, identity::encoded};
use crate::{
    budget::{self, Budget, NAME_OVERHEAD},
    closure::StorePath,
    image::{Image, LayerBlob},
    layer::{
        DetectedCompression,
        overlay::{LayerEffect, LayerLinks, Overlay},
        untar::{TarEntry, TarReader},
    },
    oci::Digest,
};

const OS_RELEASE: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];
/// The maximum length in bytes of a package's name, version or architecture.
const TEXT_LIMIT: usize = 256;

/// The error of reading a layer.
#[derive(Debug, thiserror::Error)]
#[error("reading layer {number} ({digest}) for the SBOM")]
pub struct ForeignError {
    number: usize,
    digest: Digest,
    source: io::Error,
}

/// A package in a database.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct DatabasePackage {
    /// The type of the package URL: `deb`, `apk` or `rpm`.
    kind: &'static str,
    name: String,
    version: String,
    architecture: String,
}

impl DatabasePackage {
    /// Returns a package, or `None` if a field is malformed.
    fn new(kind: &'static str, name: String, version: String, architecture: &str) -> Option<Self> {
        let is_text = |text: &str| {
            (1..=TEXT_LIMIT).contains(&text.len())
                && !text.contains(|letter: char| letter.is_control() || letter.is_whitespace())
        };
        // These characters separate the parts of a component's reference.
        let is_part = |text: &str| is_text(text) && !text.contains([':', '@']);
        let is_valid = is_part(&name) && is_part(architecture) && is_text(&version);
        is_valid.then(|| Self { kind, name, version, architecture: architecture.to_owned() })
    }
}

/// The packages of a database.
#[derive(Clone, Debug)]
struct Packages {
    list: Vec<DatabasePackage>,
    /// Whether the whole database could be read.
    is_complete: bool,
    budget: Budget,
}

impl Default for Packages {
    fn default() -> Self {
        Self { list: Vec::new(), is_complete: true, budget: Budget::new(&budget::DATABASE) }
    }
}

impl Packages {
    /// Returns the result for a database that is not read.
    fn unreadable() -> Self {
        Self { is_complete: false, ..Self::default() }
    }

    fn push(&mut self, package: DatabasePackage) -> io::Result<()> {
        self.budget.take_parts(1)?;
        self.list.push(package);
        Ok(())
    }

    fn add(
        &mut self,
        kind: &'static str,
        name: Option<String>,
        version: Option<String>,
        architecture: &str,
    ) -> io::Result<()> {
        match name.zip(version).and_then(|(name, version)| DatabasePackage::new(kind, name, version, architecture)) {
            Some(package) => self.push(package),
            None => {
                self.is_complete = false;
                Ok(())
            }
        }
    }

    #[cfg(test)]
    fn to_lines(&self) -> Vec<String> {
        let line = |package: &DatabasePackage| {
            let DatabasePackage { kind, name, version, architecture } = package;
            format!("{kind} {name} {version} {architecture}")
        };
        self.list.iter().map(line).collect()
    }
}

type Parse = fn(&mut dyn Read) -> io::Result<Packages>;

struct ScannedLayer {
    position: LayerPosition,
    has_files: bool,
    /// The databases in the layer, and whether they list packages.
    databases: BTreeMap<Vec<u8>, bool>,
}

/// The packages of a database. Each package is in memory only once, even if several databases list it.
struct Listed {
    packages: Vec<Arc<DatabasePackage>>,
    is_complete: bool,
}

/// The packages that were found in the layers so far.
struct FoundPackages {
    databases: Overlay<Listed>,
    /// The first layer that has the package.
    first: BTreeMap<Arc<DatabasePackage>, LayerPosition>,
    store: Overlay<LayerPosition>,
    os_release: Overlay<Vec<u8>>,
    layers: Vec<ScannedLayer>,
    /// The remaining memory for databases, new packages and new store paths.
    budget: Budget,
    /// The remaining number of entries in databases.
    listed: Budget,
}

impl Default for FoundPackages {
    fn default() -> Self {
        Self {
            databases: Overlay::default(),
            first: BTreeMap::new(),
            store: Overlay::default(),
            os_release: Overlay::default(),
            layers: Vec::new(),
            budget: Budget::new(&budget::DATABASES),
            listed: Budget::new(&budget::LISTED),
        }
    }
}

/// Returns the components in layers without known store paths.
pub(super) fn components(image: &Image, known: &[Component]) -> Result<Vec<Component>, ForeignError> {
    let mut found = FoundPackages::default();
    for (at, layer) in image.layers.iter().enumerate().filter(|(_, layer)| layer.paths.is_empty()) {
        let position = LayerPosition { number: at + 1, diff_id: layer.diff_id };
        let digest = layer.descriptor.digest;
        found.read(layer, position).map_err(|source| ForeignError { number: at + 1, digest, source })?;
    }
    let known: BTreeSet<&StorePath> = known.iter().filter_map(Component::path).collect();
    let mut components = Vec::new();
    for (path, position) in found.store.iter() {
        let Some(path) = StorePath::from_entry_name(path).filter(|path| !known.contains(path)) else { continue };
        components.push(Component { layer: Some(*position), ..Component::store_path(path, None, None) });
    }
    let (namespace, distro) = &found.distribution();
    let packages: BTreeSet<&Arc<DatabasePackage>> =
        found.databases.iter().flat_map(|(_, listed)| &listed.packages).collect();
    for package in packages {
        let DatabasePackage { kind, name, version, architecture } = package.as_ref();
        let identity = PackageIdentity { name: name.clone(), version: Some(version.clone()), output: None };
        let purl = format!(
            "pkg:{kind}/{namespace}{}@{}?arch={}{distro}",
            encoded(name),
            encoded(version),
            encoded(architecture)
        );
        let reference = format!("{kind}:{name}:{architecture}@{version}");
        components.push(Component::other(DocumentKind::Package, reference, identity, Some(purl), found.first[package]));
    }
    for position in found.unknown() {
        let identity = PackageIdentity { name: format!("layer {}", position.number), version: None, output: None };
        let reference = format!("layer:{}:{}", position.number, position.diff_id);
        components.push(Component::other(DocumentKind::Unknown, reference, identity, None, position));
    }
    Ok(components)
}

impl FoundPackages {
    fn read(&mut self, layer: &LayerBlob, position: LayerPosition) -> io::Result<()> {
        let mut start = Vec::with_capacity(8);
        let mut blob = layer.read();
        (&mut blob).take(8).read_to_end(&mut start)?;
        let packing = DetectedCompression::detect(&start);
        let mut plain = packing.reader(io::Cursor::new(start).chain(blob), layer.descriptor.size)?;
        let mut archive = TarReader::new(&mut plain);
        self.layers.push(ScannedLayer { position, has_files: false, databases: BTreeMap::new() });
        let mut links = LayerLinks::default();
        while let Some(entry) = archive.next_entry()? {
            if let Some(place) = links.place(&entry)? {
                self.entry(&entry, place, &mut archive, position)?;
            }
        }
        self.databases.end_layer();
        self.os_release.end_layer();
        self.store.end_layer();
        // The blob is checked at its end, which is after the end of the tar.
        io::copy(&mut plain, &mut io::sink())?;
        Ok(())
    }

    fn entry(
        &mut self,
        entry: &TarEntry,
        place: LayerEffect,
        data: &mut dyn Read,
        position: LayerPosition,
    ) -> io::Result<()> {
        let is_directory = entry.kind == EntryType::Directory;
        self.databases.apply(&place, is_directory);
        self.os_release.apply(&place, is_directory);
        self.store.apply(&place, is_directory);
        let LayerEffect::At(path) = place else { return Ok(()) };
        if let Some(base) = store_base(&path) {
            return self.add_store_path(base, position);
        }
        let is_file = matches!(entry.kind, EntryType::Regular | EntryType::Continuous);
        if !is_directory && let Some(layer) = self.layers.last_mut() {
            layer.has_files |= is_file || matches!(entry.kind, EntryType::GNUSparse | EntryType::Link);
        }
        if let Some(parse) = database(&path) {
            // Links and files with holes are not read.
            let packages = match is_file {
                true => parse(&mut Budget::new(&budget::DATABASE).reader(self.budget.reader(data)))?,
                false => Packages::unreadable(),
            };
            self.add_database(path, packages, position)?;
        } else if is_file && OS_RELEASE.iter().any(|place| place.as_bytes() == path) {
            // Only the start of a larger file is read, since an os-release file has a few lines.
            let mut text = Vec::new();
            Budget::new(&budget::OS_RELEASE).read_start(data, &mut text)?;
            self.os_release.insert(path, text);
        }
        Ok(())
    }

    fn add_store_path(&mut self, path: &[u8], position: LayerPosition) -> io::Result<()> {
        let path = [path, b"/"].concat();
        let first = match self.store.get(&path) {
            Some(first) => *first,
            None => {
                self.budget.take_parts(1)?;
                position
            }
        };
        self.store.insert(path, first);
        Ok(())
    }

    fn add_database(&mut self, path: Vec<u8>, packages: Packages, position: LayerPosition) -> io::Result<()> {
        // A directory of databases may contain any number of files, each with a name of a megabyte.
        self.listed.take(2 * path.len() + NAME_OVERHEAD)?;
        self.listed.take_parts(packages.list.len() as u64)?;
        let mut listed = Listed { packages: Vec::new(), is_complete: packages.is_complete };
        for package in packages.list {
            let package = match self.first.get_key_value(&package) {
                Some((known, _)) => Arc::clone(known),
                None => {
                    self.budget.take_parts(1)?;
                    let package = Arc::new(package);
                    self.first.insert(Arc::clone(&package), position);
                    package
                }
            };
            listed.packages.push(package);
        }
        if let Some(layer) = self.layers.last_mut() {
            layer.databases.insert(path.clone(), !listed.packages.is_empty());
        }
        self.databases.insert(path, listed);
        Ok(())
    }

    /// Returns the layers whose files no database lists.
    fn unknown(&self) -> impl Iterator<Item = LayerPosition> {
        let is_intact = |(path, had_packages): (&Vec<u8>, &bool)| match self.databases.get(path) {
            Some(listed) => listed.is_complete && !(*had_packages && listed.packages.is_empty()),
            None => !had_packages,
        };
        let is_known = move |layer: &ScannedLayer| {
            layer.databases.values().any(|had_packages| *had_packages) && layer.databases.iter().all(is_intact)
        };
        let unknown = self.layers.iter().filter(move |layer| layer.has_files && !is_known(layer));
        unknown.map(|layer| layer.position)
    }

    /// Returns the namespace of package URLs, and their last qualifier.
    fn distribution(&self) -> (String, String) {
        let text = OS_RELEASE.iter().find_map(|place| self.os_release.get(place.as_bytes()));
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

/// Returns the number of packages in a database, which is the file `path` of an image, or `None` if no database has
/// this path.
pub fn count_packages(path: &str, reader: &mut dyn Read) -> Option<io::Result<usize>> {
    let parse = database(path.as_bytes())?;
    Some(parse(&mut Budget::new(&budget::DATABASE).reader(reader)).map(|packages| packages.list.len()))
}

/// Returns the parser for the file at this path, if it is a database.
fn database(path: &[u8]) -> Option<Parse> {
    match path {
        b"var/lib/dpkg/status" => Some(dpkg::status),
        path if path.starts_with(b"var/lib/dpkg/status.d/") && !path.ends_with(b".md5sums") => Some(dpkg::status),
        b"lib/apk/db/installed" | b"usr/lib/apk/db/installed" => Some(apk::installed),
        #[cfg(feature = "program")]
        b"var/lib/rpm/rpmdb.sqlite" | b"usr/lib/sysimage/rpm/rpmdb.sqlite" | b"usr/share/rpm/rpmdb.sqlite" => {
            Some(rpm::packages)
        }
        _ => None,
    }
}

/// Returns the prefix of a path that is a store path.
fn store_base(path: &[u8]) -> Option<&[u8]> {
    // The names of entries begin without the slash.
    StorePath::from_entry_name(path).map(|found| &path[..found.as_str().len() - 1])
}
