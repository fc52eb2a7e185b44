//! Which blobs of the registry stand for which uncompressed layers, as its images say: a machine that pushes for the
//! first time compresses nothing that is there.
//!
//! ```text
//! the tags that are written, --cache-from TAG, --cache-from REPOSITORY:TAG
//!    │
//!    ├── index ──▶ its indexes and images, those for the machines that are pushed
//!    └── image ──▶ config: diff_ids, manifest: blobs ──▶ diff_id → blob, and the repository that has it
//! ```
//!
//! Where they do not know a big layer, the repository's newest tags are asked in the same way.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use super::{Options, Result, in_parallel};
use crate::{
    content::Content,
    layer::compress::Compression,
    oci::{Descriptor, Digest, ImageConfig, Index, Manifest, Platform},
    registry::{self, Client, Document, Reference},
    threads::lock,
};

/// Images of one reference that are looked at.
const IMAGES: usize = 100;
/// The number of the newest tags that are looked at: two small answers each, four at once.
const NEWEST: usize = 10;

/// A blob, and the repository that has it where it is not the one that is written.
pub(super) type Found = (Descriptor, Option<String>);
type Map = HashMap<Digest, Vec<Found>>;

/// What is known; looked up when somebody asks.
pub(super) struct Known<'a> {
    client: &'a Client,
    options: &'a Options,
    platforms: Vec<Platform>,
    named: Mutex<Option<Arc<Map>>>,
    newest: Mutex<Option<Arc<Map>>>,
}

impl<'a> Known<'a> {
    /// Nothing is asked yet.
    pub fn new(client: &'a Client, options: &'a Options, content: &Content) -> Self {
        let platforms = content.images().iter().map(|image| image.platform.clone()).collect();
        Self { client, options, platforms, named: Mutex::default(), newest: Mutex::default() }
    }

    /// The blobs of this kind that stand for a layer, as the images say that were named.
    pub fn named(&self, diff_id: &Digest, compression: Compression) -> Result<Vec<Found>> {
        Ok(fitting(&*once(&self.named, || self.look())?, diff_id, compression))
    }

    /// The same, from the repository's newest tags; empty for registries that list no tags.
    pub fn newest(&self, diff_id: &Digest, compression: Compression) -> Result<Vec<Found>> {
        let look = || {
            let tags = self.client.newest_tags(NEWEST).unwrap_or_default();
            let tags: Vec<&String> = tags.iter().filter(|tag| !self.options.tags.contains(tag)).collect();
            let maps = in_parallel(tags.len(), &|at| {
                let mut map = Map::new();
                self.images(self.client, tags[at], None, &mut map).map(|()| map)
            });
            let mut all = Map::new();
            for (diff_id, blobs) in maps.unwrap_or_default().into_iter().flatten() {
                all.entry(diff_id).or_default().extend(blobs);
            }
            Ok(all)
        };
        Ok(fitting(&*once(&self.newest, look)?, diff_id, compression))
    }

    fn look(&self) -> Result<Map> {
        let mut map = Map::new();
        for tag in &self.options.tags {
            self.images(self.client, tag, None, &mut map)?;
        }
        for named in &self.options.cache_from {
            match reference(self.client, named) {
                None => self.images(self.client, named, None, &mut map)?,
                Some(reference) => {
                    let options = registry::Options { read_only: true, ..self.options.registry.clone() };
                    let client = Client::new(&reference, &options)?;
                    // A hint that leads nowhere costs time, nothing else.
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

    /// Adds what the images behind `version` say.
    fn images(&self, client: &Client, version: &str, repository: Option<&str>, map: &mut Map) -> Result<()> {
        let mut seen = HashSet::new();
        let mut left = vec![version.to_owned()];
        while !left.is_empty() && seen.len() < IMAGES {
            let documents = in_parallel(left.len(), &|at| Ok(client.manifest(&left[at])?))?;
            let documents: Vec<Document> = documents.into_iter().flatten().collect();
            left.clear();
            for document in &documents {
                let Ok(index) = serde_json::from_slice::<Index>(&document.bytes) else { continue };
                let fitting = index.manifests.iter().filter(|child| self.is_pushed(child.platform.as_ref()));
                left.extend(fitting.filter(|child| seen.insert(child.digest)).map(|child| child.digest.to_string()));
            }
            left.truncate(IMAGES);
            for (diff_id, blob) in in_parallel(documents.len(), &|at| layers(client, &documents[at]))?.concat() {
                map.entry(diff_id).or_default().push((blob, repository.map(str::to_owned)));
            }
        }
        Ok(())
    }

    /// Whether an image for this machine may share layers with what is pushed; one that says nothing may.
    fn is_pushed(&self, platform: Option<&Platform>) -> bool {
        platform.is_none_or(|platform| self.platforms.iter().any(|pushed| pushed.is_met_by(platform)))
    }
}

/// What `look` finds, looked for once.
fn once(cell: &Mutex<Option<Arc<Map>>>, look: impl FnOnce() -> Result<Map>) -> Result<Arc<Map>> {
    let mut found = lock(cell);
    match &*found {
        Some(map) => Ok(Arc::clone(map)),
        None => Ok(Arc::clone(found.insert(Arc::new(look()?)))),
    }
}

fn fitting(map: &Map, diff_id: &Digest, compression: Compression) -> Vec<Found> {
    let all = map.get(diff_id).into_iter().flatten();
    all.filter(|(blob, _)| compression.fits(blob)).cloned().collect()
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
