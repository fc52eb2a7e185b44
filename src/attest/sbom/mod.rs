//! SBOMs: the components of an image, in the formats that scanners read.
//!
//! ```text
//! Image      ──▶ closure: one component per store path, with its references ──┐
//!            ──▶ scan: packages in layers without known store paths ──────────┼──▶ Bom ──▶ cyclonedx (1.6, JSON)
//! Nix `meta` ──▶ About: licences, homepages, CPEs ────────────────────────────┘       └──▶ spdx (2.3, JSON)
//! ```
//!
//! An SBOM depends on the image and the metadata of its packages, and not on
//! a clock: the same image gives the same bytes. Unknown facts are marked as
//! unknown (`NOASSERTION`, `"aggregate": "unknown"`) and never guessed.

mod about;
pub(crate) mod compare;
mod cyclonedx;
mod identity;
pub(crate) mod scan;
mod spdx;
mod urls;

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use crate::{
    closure::{StorePath, parse_nar_hash},
    image::{Image, ImageError},
    oci::{Digest, Timestamp, descriptor::media_type},
};

pub use about::About;
use about::{License, Person};
pub use identity::PackageIdentity;
#[cfg(feature = "program")]
pub(super) use identity::encoded;
pub use scan::ForeignError;

/// The format of an SBOM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SbomFormat {
    /// [CycloneDX 1.6](https://cyclonedx.org/docs/1.6/json/), JSON.
    CycloneDx,
    /// [SPDX 2.3](https://spdx.github.io/spdx-spec/v2.3/), JSON.
    Spdx,
}

impl SbomFormat {
    /// Returns the media type that registries and scanners use for this format.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::CycloneDx => "application/vnd.cyclonedx+json",
            Self::Spdx => "application/spdx+json",
        }
    }
}

/// An SBOM, independent of the format.
#[derive(Clone, Debug)]
pub struct Bom {
    /// The name of the image without its tag.
    name: String,
    /// The tag of the image, or its ID if it has no tag.
    version: String,
    /// The digest of the config, which is the ID of the image. Unlike the digest of the manifest, it does not depend on the
    /// compression.
    id: Digest,
    created: Timestamp,
    /// The components, sorted by reference.
    components: Vec<Component>,
}

/// A component of an image.
#[derive(Clone, Debug)]
struct Component {
    /// An identifier that is unique in the SBOM. Equal components have equal identifiers in all SBOMs.
    reference: String,
    kind: DocumentKind,
    identity: PackageIdentity,
    purl: Option<String>,
    about: About,
    /// The layer that contains the component.
    layer: Option<LayerPosition>,
    /// The indices of the components that this one depends on; `None` if unknown.
    dependencies: Option<Vec<usize>>,
}

#[derive(Clone, Debug)]
enum DocumentKind {
    StorePath {
        path: StorePath,
        nar_hash: Option<[u8; 32]>,
        /// Whether the contents are at the root of the image instead of the store path.
        at_root: bool,
    },
    /// A package of another package manager, for example dpkg.
    Package,
    /// A layer with unknown contents.
    Unknown,
}

/// A layer, identified independently of its compression.
#[derive(Clone, Copy, Debug)]
struct LayerPosition {
    /// The number of the layer, counted from 1, the base.
    number: usize,
    diff_id: Digest,
}

/// The reason that an SBOM cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BomError {
    /// The manifest is an artifact and not an image.
    #[error("it is an artifact of the type {0}, not an image: no packages are known of it")]
    Artifact(String),
    /// The config of the image is malformed.
    #[error("reading the image's config")]
    Config(#[from] serde_json::Error),
    /// A layer cannot be read.
    #[error(transparent)]
    Foreign(#[from] ForeignError),
    /// A blob cannot be made.
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl Bom {
    /// Makes the SBOM of an image. `about` has the metadata of packages by store path.
    ///
    /// Layers without known store paths are scanned for store paths and for packages of dpkg, apk and rpm.
    ///
    /// # Errors
    ///
    /// If the config of the image is malformed, or a layer to scan cannot be read.
    pub fn new(image: &Image, about: &BTreeMap<StorePath, About>) -> Result<Self, BomError> {
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

    /// Returns the document with a final newline.
    pub fn write(&self, format: SbomFormat) -> Vec<u8> {
        let document = match format {
            SbomFormat::CycloneDx => serde_json::to_vec_pretty(&cyclonedx::document(self)),
            SbomFormat::Spdx => serde_json::to_vec_pretty(&spdx::document(self)),
        };
        let mut bytes = document.expect("documents have string keys and are written to memory");
        bytes.push(b'\n');
        bytes
    }

    /// Returns the components without dependents, and those whose dependents are unknown.
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
    /// Returns a component that is not a store path.
    fn other(
        kind: DocumentKind,
        reference: String,
        identity: PackageIdentity,
        purl: Option<String>,
        layer: LayerPosition,
    ) -> Self {
        Self { reference, kind, identity, purl, about: About::default(), layer: Some(layer), dependencies: None }
    }

    fn store_path(path: StorePath, nar_hash: Option<[u8; 32]>, about: Option<&About>) -> Self {
        let mut about = about.cloned().unwrap_or_default().validated();
        let mut identity = PackageIdentity::from_name(path.name());
        // `pname` and `version` are more reliable than the name of a store path, which is free text.
        if let (Some(pname), Some(version)) = (&about.pname, &about.version)
            && path.name().starts_with(&format!("{pname}-{version}"))
        {
            let output = path.name()[pname.len() + 1 + version.len()..].strip_prefix('-');
            identity = PackageIdentity {
                name: pname.clone(),
                version: Some(version.clone()),
                output: output.map(str::to_owned),
            };
        }
        let purl = about.purl.clone().unwrap_or_else(|| identity.purl(path.hash_part()));
        if let (Some(cpe), Some(version), Some(upstream)) = (&about.cpe, &identity.version, identity.upstream_version())
        {
            about.cpe = Some(urls::replace_version(cpe, version, upstream));
        }
        let reference = format!("{}-{}", path.hash_part(), path.name());
        let kind = DocumentKind::StorePath { path, nar_hash, at_root: false };
        Self { reference, kind, identity, purl: Some(purl), about, layer: None, dependencies: None }
    }

    /// Returns the version of the upstream project, or the store path's version if there is none.
    fn version(&self) -> Option<&str> {
        match self.kind {
            DocumentKind::StorePath { .. } => self.identity.upstream_version(),
            DocumentKind::Package | DocumentKind::Unknown => self.identity.version.as_deref(),
        }
    }

    fn path(&self) -> Option<&StorePath> {
        match &self.kind {
            DocumentKind::StorePath { path, .. } => Some(path),
            DocumentKind::Package | DocumentKind::Unknown => None,
        }
    }
}

/// Returns the package URL and the CPE that the SBOM has for a store path.
#[cfg(feature = "program")]
pub fn identifiers(path: &StorePath, about: Option<&About>) -> (String, Option<String>) {
    let Component { purl, about, .. } = Component::store_path(path.clone(), None, about);
    (purl.unwrap_or_default(), about.cpe)
}

/// Returns a component for each known store path of the layers.
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
            component.layer.get_or_insert(LayerPosition { number: at + 1, diff_id: layer.diff_id });
            if let DocumentKind::StorePath { at_root, .. } = &mut component.kind {
                *at_root |= layer.moved.contains(placed);
            }
        }
    }
    components.into_values().collect()
}

/// Sets the dependencies of components to the references in the closure.
fn link(image: &Image, components: &mut [Component]) {
    let Some(closure) = &image.closure else { return };
    let at: HashMap<StorePath, usize> =
        components.iter().enumerate().filter_map(|(at, component)| Some((component.path()?.clone(), at))).collect();
    for node in closure.nodes() {
        let references = node.references.iter().filter_map(|&to| at.get(&closure.nodes()[to].path).copied());
        let references: Vec<usize> = references.collect();
        if let Some(&component_index) = at.get(&node.path) {
            components[component_index].dependencies = Some(references);
        }
    }
}
