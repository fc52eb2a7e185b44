//! Which blobs of the registry the images and documents of known layers that are named list for uncompressed layers.
//!
//! ```text
//! the tags that are written, --cache-from TAG, --cache-from REPOSITORY:TAG
//!    │
//!    ├── index ──▶ its indexes and images, for the platforms that are pushed
//!    └── image ──▶ config: diff_ids, manifest: blobs ──▶ diff_id → blob, and the repository that has it
//! ```
//!
//! No other tag is read. A document is trusted if it, or an index above it, has a valid signature of a trusted key.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use super::{
    PushOptions, Result, in_parallel,
    mapping::{Mapping, Origin},
};
use crate::{
    image::ManifestGraph,
    layer::compress::Compression,
    oci::{Descriptor, Digest, ImageConfig, Index, Manifest, Platform, Reference},
    threads::lock,
    transport::registry::{Client, Document, signatures},
};

/// Images of one reference that are read.
const IMAGES: usize = 100;

/// By diff_id, in the order of the references.
type Map = HashMap<Digest, Vec<Mapping>>;

/// The mappings of the registry; read when the first layer needs them.
pub(super) struct Known<'a> {
    client: &'a Client,
    options: &'a PushOptions,
    platforms: Vec<Platform>,
    mappings: Mutex<Option<Arc<Map>>>,
}

impl<'a> Known<'a> {
    /// Reads nothing yet.
    pub fn new(client: &'a Client, options: &'a PushOptions, content: &ManifestGraph) -> Self {
        let platforms = content.images().iter().map(|image| image.platform.clone()).collect();
        Self { client, options, platforms, mappings: Mutex::default() }
    }

    /// The mappings of a layer, trusted ones first.
    pub fn mappings(&self, diff_id: &Digest, compression: Compression) -> Result<Vec<Mapping>> {
        let map = {
            let mut read = lock(&self.mappings);
            match &*read {
                Some(map) => Arc::clone(map),
                None => Arc::clone(read.insert(Arc::new(self.read()?))),
            }
        };
        let all = map.get(diff_id).into_iter().flatten();
        let mut fitting: Vec<Mapping> = all.filter_map(|mapping| mapping.with_compression(compression)).collect();
        fitting.sort_by_key(|mapping| !mapping.is_trusted());
        Ok(fitting)
    }

    fn read(&self) -> Result<Map> {
        let mut map = Map::new();
        for tag in &self.options.tags {
            self.images(self.client, tag, None, &mut map)?;
        }
        for named in &self.options.cache_from {
            match reference(self.client, named) {
                None => self.images(self.client, named, None, &mut map)?,
                Some(reference) => {
                    let client = Client::new(&reference, &self.options.registry)?;
                    // A tag that cannot be read costs time only.
                    let repository = Some(reference.repository.as_str());
                    match self.images(&client, &reference.version(), repository, &mut map) {
                        Err(super::PushError::Registry(error)) if matches!(error.status(), Some(401 | 403)) => {}
                        looked => looked?,
                    }
                }
            }
        }
        Ok(map)
    }

    /// Adds the mappings of the images that `version` names.
    fn images(&self, client: &Client, version: &str, repository: Option<&str>, map: &mut Map) -> Result<()> {
        let name = format!("{}/{}:{version}", client.host(), client.repository());
        let mut seen = HashSet::new();
        let mut left = vec![Listed { version: version.to_owned(), is_signed: false }];
        while !left.is_empty() && seen.len() < IMAGES {
            let read = |at: usize| self.document(client, &left[at]);
            let documents: Vec<(Document, bool)> = in_parallel(left.len(), &read)?.into_iter().flatten().collect();
            left.clear();
            for (document, is_signed) in &documents {
                let Ok(index) = serde_json::from_slice::<Index>(&document.bytes) else { continue };
                let fitting = index.manifests.iter().filter(|child| self.is_pushed(child.platform.as_ref()));
                let new = fitting.filter(|child| seen.insert(child.digest));
                left.extend(new.map(|child| Listed { version: child.digest.to_string(), is_signed: *is_signed }));
            }
            left.truncate(IMAGES);
            let layers = in_parallel(documents.len(), &|at| layers(client, &documents[at].0))?;
            for ((_, is_signed), layers) in documents.iter().zip(layers) {
                let origin = self.origin(*is_signed);
                for (diff_id, blob) in layers {
                    let repository = repository.map(str::to_owned);
                    map.entry(diff_id).or_default().push(Mapping { blob, repository, origin, listed_in: name.clone() });
                }
            }
        }
        Ok(())
    }

    /// A manifest or index, and whether it is signed.
    fn document(&self, client: &Client, listed: &Listed) -> Result<Option<(Document, bool)>> {
        let Some(document) = client.manifest(&listed.version)? else { return Ok(None) };
        let is_signed = listed.is_signed || self.options.is_signed(client, &listed.version, &document);
        Ok(Some((document, is_signed)))
    }

    fn origin(&self, is_signed: bool) -> Origin {
        match is_signed {
            true => Origin::Signed,
            false if self.options.trust_tags => Origin::Accepted,
            false => Origin::Unsigned,
        }
    }

    /// Whether an image for this machine may share layers with what is pushed; one that says nothing may.
    fn is_pushed(&self, platform: Option<&Platform>) -> bool {
        platform.is_none_or(|platform| self.platforms.iter().any(|pushed| pushed.is_met_by(platform)))
    }
}

/// A document to read, and whether an index that lists it is signed.
struct Listed {
    version: String,
    is_signed: bool,
}

impl PushOptions {
    /// Whether one of the trusted keys signed the document, which `version` names.
    pub(super) fn is_signed(&self, client: &Client, version: &str, document: &Document) -> bool {
        let digest = version.parse().unwrap_or_else(|_| Digest::of(&document.bytes));
        // A signature that cannot be read is none: the mappings are verified.
        self.trusted_keys.iter().any(|key| signatures::is_signed(client, &digest, key).unwrap_or(false))
    }
}

/// `REPOSITORY[:TAG]`, with or without the registry's host, as a reference of the registry; a tag alone is none.
pub(super) fn reference(client: &Client, named: &str) -> Option<Reference> {
    if !named.contains(['/', ':']) || named.parse::<Digest>().is_ok() {
        return None;
    }
    let host = client.host();
    let rest = named.strip_prefix(host).and_then(|rest| rest.strip_prefix('/')).unwrap_or(named);
    format!("{host}/{rest}").parse().ok()
}

/// The layers of an image or of a document of known layers; of something else, none.
pub(super) fn layers(client: &Client, document: &Document) -> Result<Vec<(Digest, Descriptor)>> {
    let Ok(manifest) = serde_json::from_slice::<Manifest>(&document.bytes) else { return Ok(Vec::new()) };
    let Some(text) = client.small_blob(&manifest.config.digest)? else { return Ok(Vec::new()) };
    let Ok(config) = serde_json::from_slice::<ImageConfig>(&text) else { return Ok(Vec::new()) };
    if config.rootfs.diff_ids.len() != manifest.layers.len() {
        return Ok(Vec::new());
    }
    Ok(config.rootfs.diff_ids.into_iter().zip(manifest.layers).collect())
}
