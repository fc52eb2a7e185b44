//! SBOMs: the components of an image, in the formats that scanners read.
//!
//! ```text
//! ImageBlobs ──▶ closure: a component a store path, with its references ──┐
//!            ──▶ foreign: packages of other people's layers ──────────────┼──▶ Bom ──▶ cyclonedx (1.6, JSON)
//! Nix `meta` ──▶ About: licences, homepages, CPEs ────────────────────────┘       └──▶ spdx (2.3, JSON)
//! ```
//!
//! An SBOM depends on the image and the metadata of its packages, never on
//! a clock: the same image gives the same bytes. What is unknown is marked as
//! unknown (`NOASSERTION`, `"aggregate": "unknown"`), never guessed.

pub(crate) mod compare;
mod cyclonedx;
mod identity;
pub(crate) mod scan;
mod spdx;
mod urls;

use std::collections::{BTreeMap, HashMap};

use ::spdx::identifiers::LICENSES;
use serde::Deserialize;

use crate::{
    closure::{StorePath, parse_nar_hash},
    image::{Image, ImageError},
    oci::{Digest, Timestamp, descriptor::media_type},
};

pub use identity::Identity;
pub use scan::ForeignError;

/// The list's identifier for unknown licences.
const UNKNOWN: &str = "NOASSERTION";

/// How a bill is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// [CycloneDX 1.6](https://cyclonedx.org/docs/1.6/json/), JSON.
    CycloneDx,
    /// [SPDX 2.3](https://spdx.github.io/spdx-spec/v2.3/), JSON.
    Spdx,
}

impl Format {
    /// The media type of documents of this format, as registries and scanners name it.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::CycloneDx => "application/vnd.cyclonedx+json",
            Self::Spdx => "application/spdx+json",
        }
    }
}

/// What an image is made of.
#[derive(Clone, Debug)]
pub struct Bom {
    /// The image's name without its tag.
    name: String,
    /// Its tag, or where it has none its id.
    version: String,
    /// The digest of its config: the image's id, which does not depend on compression.
    id: Digest,
    created: Timestamp,
    /// Sorted by reference.
    components: Vec<Component>,
}

/// A part of an image.
#[derive(Clone, Debug)]
struct Component {
    /// Unique in the bill; the same for the same thing in every bill.
    reference: String,
    kind: Kind,
    identity: Identity,
    purl: Option<String>,
    about: About,
    /// The layer that holds it.
    layer: Option<Position>,
    /// The components it needs, as indices; `None` if unknown.
    dependencies: Option<Vec<usize>>,
}

#[derive(Clone, Debug)]
enum Kind {
    StorePath {
        path: StorePath,
        nar_hash: Option<[u8; 32]>,
        /// Whether its contents are at the image's root, and not at its own place.
        at_root: bool,
    },
    /// A package of another system's, dpkg's for example.
    Package,
    /// A layer with unknown contents.
    Unknown,
}

/// A layer's place; neither depends on compression.
#[derive(Clone, Copy, Debug)]
struct Position {
    /// Counted from 1, the base.
    number: usize,
    diff_id: Digest,
}

/// The metadata of the package: nixpkgs' `meta`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct About {
    /// Its name and version, where they are known better than from a store path's name.
    pub pname: Option<String>,
    /// The version.
    pub version: Option<String>,
    /// What it is, in one line.
    pub description: Option<String>,
    /// Where to read more.
    pub homepage: Option<String>,
    /// [CPE 2.3](https://nvlpubs.nist.gov/nistpubs/Legacy/IR/nistir7695.pdf) name.
    pub cpe: Option<String>,
    /// [Package URL](https://github.com/package-url/purl-spec).
    pub purl: Option<String>,
    /// All of them hold.
    pub licenses: Vec<License>,
    /// The maintainers of the package.
    pub maintainers: Vec<Person>,
}

impl About {
    /// The same without addresses and identifiers that are not valid.
    fn validated(self) -> Self {
        let homepage = self.homepage.as_deref().and_then(urls::page);
        let purl = self.purl.filter(|purl| urls::is_purl(purl));
        let cpe = self.cpe.filter(|cpe| urls::is_cpe(cpe));
        Self { homepage, purl, cpe, ..self }
    }
}

/// A licence.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct License {
    /// Its identifier in SPDX's list, where it has one; who packages it may be wrong about that.
    pub spdx_id: Option<String>,
    /// Its name.
    pub name: String,
}

impl License {
    /// Its identifier, where SPDX's list has it: the formats take no other.
    fn listed(&self) -> Option<&str> {
        let id = self.spdx_id.as_deref()?;
        let found = LICENSES.binary_search_by(|known| known.name.cmp(id)).is_ok();
        (found && id != UNKNOWN).then_some(id)
    }
}

/// A person.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// The name.
    pub name: String,
    /// The address.
    pub email: Option<String>,
}

/// Why there is no bill.
#[derive(Debug, thiserror::Error)]
pub enum BomError {
    /// It is no image.
    #[error("it is an artifact of the type {0}, not an image: no packages are known of it")]
    Artifact(String),
    /// Its config is malformed.
    #[error("reading the image's config")]
    Config(#[from] serde_json::Error),
    /// A layer could not be read.
    #[error(transparent)]
    Foreign(#[from] ForeignError),
    /// A blob could not be made.
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl Bom {
    /// The bill of an image. `about` has what is known of packages, by store path.
    ///
    /// Layers that are not made from known store paths are read: store paths and the packages of dpkg, apk and rpm are
    /// found in them.
    ///
    /// # Errors
    ///
    /// When the image's config is malformed, or a layer that must be read cannot be.
    pub fn of(image: &Image, about: &BTreeMap<StorePath, About>) -> Result<Self, BomError> {
        if !media_type::is_config(&image.config_media_type) {
            return Err(BomError::Artifact(image.config_media_type.clone()));
        }
        let config = image.parse_config()?;
        let id = image.config_descriptor().digest;
        let (name, version) =
            match image.reference.as_deref().map(|whole| whole.rsplit_once(':').unwrap_or((whole, ""))) {
                Some((name, tag)) => (name.to_owned(), if tag.is_empty() { id.to_string() } else { tag.to_owned() }),
                None => ("image".to_owned(), id.to_string()),
            };
        let mut components = store_paths(image, about);
        components.extend(scan::components(image, &components)?);
        components.sort_by(|a, b| a.reference.cmp(&b.reference));
        link(image, &mut components);
        let created = config.created.unwrap_or(Timestamp::EPOCH);
        Ok(Self { name, version, id, created, components })
    }

    /// The document, and a line end.
    pub fn write(&self, format: Format) -> Vec<u8> {
        let document = match format {
            Format::CycloneDx => serde_json::to_vec_pretty(&cyclonedx::document(self)),
            Format::Spdx => serde_json::to_vec_pretty(&spdx::document(self)),
        };
        let mut bytes = document.expect("documents have string keys and are written to memory");
        bytes.push(b'\n');
        bytes
    }

    /// The components that no other component needs, and those with unknown referrers.
    fn roots(&self) -> Vec<usize> {
        let mut needed = vec![false; self.components.len()];
        self.components
            .iter()
            .flat_map(|component| component.dependencies.iter().flatten())
            .for_each(|&to| needed[to] = true);
        (0..self.components.len()).filter(|&at| !needed[at]).collect()
    }
}

impl Component {
    /// One that is not a store path.
    fn other(kind: Kind, reference: String, identity: Identity, purl: Option<String>, layer: Position) -> Self {
        Self { reference, kind, identity, purl, about: About::default(), layer: Some(layer), dependencies: None }
    }

    fn store_path(path: StorePath, nar_hash: Option<[u8; 32]>, about: Option<&About>) -> Self {
        let about = about.cloned().unwrap_or_default().validated();
        let mut identity = Identity::of_name(path.name());
        // The name of a store path may be anything; who packaged it knows what it is.
        if let (Some(pname), Some(version)) = (&about.pname, &about.version)
            && path.name().starts_with(&format!("{pname}-{version}"))
        {
            let output = path.name()[pname.len() + 1 + version.len()..].strip_prefix('-');
            identity =
                Identity { name: pname.clone(), version: Some(version.clone()), output: output.map(str::to_owned) };
        }
        let purl = about.purl.clone().unwrap_or_else(|| identity.purl(path.hash_part()));
        let reference = format!("{}-{}", path.hash_part(), path.name());
        let kind = Kind::StorePath { path, nar_hash, at_root: false };
        Self { reference, kind, identity, purl: Some(purl), about, layer: None, dependencies: None }
    }

    fn path(&self) -> Option<&StorePath> {
        match &self.kind {
            Kind::StorePath { path, .. } => Some(path),
            Kind::Package | Kind::Unknown => None,
        }
    }
}

/// A component for each store path that the image's recipe knows, in its layer.
fn store_paths(image: &Image, about: &BTreeMap<StorePath, About>) -> Vec<Component> {
    let mut components: BTreeMap<StorePath, Component> = BTreeMap::new();
    for node in image.closure.iter().flat_map(|closure| closure.nodes()) {
        let nar_hash = node.nar_hash.as_deref().and_then(parse_nar_hash);
        let component = Component::store_path(node.path.clone(), nar_hash, about.get(&node.path));
        components.insert(node.path.clone(), component);
    }
    for (at, layer) in image.layers.iter().enumerate() {
        for placed in &layer.paths {
            let Some(path) = placed.to_str().and_then(|text| StorePath::parse(text).ok()) else { continue };
            let component = components
                .entry(path.clone())
                .or_insert_with(|| Component::store_path(path.clone(), None, about.get(&path)));
            component.layer.get_or_insert(Position { number: at + 1, diff_id: layer.diff_id });
            if let Kind::StorePath { at_root, .. } = &mut component.kind {
                *at_root |= layer.moved.contains(placed);
            }
        }
    }
    components.into_values().collect()
}

/// Gives the components the references that the closure has.
fn link(image: &Image, components: &mut [Component]) {
    let Some(closure) = &image.closure else { return };
    let at: HashMap<StorePath, usize> =
        components.iter().enumerate().filter_map(|(at, component)| Some((component.path()?.clone(), at))).collect();
    for node in closure.nodes() {
        let references = node.references.iter().filter_map(|&to| at.get(&closure.nodes()[to].path).copied());
        let references: Vec<usize> = references.collect();
        if let Some(&own) = at.get(&node.path) {
            components[own].dependencies = Some(references);
        }
    }
}
