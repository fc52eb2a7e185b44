//! Finds blobs in the registry for uncompressed layers, in images and in documents of known layers.
//!
//! ```text
//! the written tags, --cache-from TAG, --cache-from REPOSITORY:TAG
//!    │
//!    ├── index ──▶ its indexes and images, for the platforms that are pushed
//!    └── image ──▶ config: diff_ids, manifest: blobs ──▶ diff_id → blob, and the repository that has it
//! ```
//!
//! No other tag is read. A mapping is trusted if a trusted key signed the document, or an index above it, and the signature
//! lists the blob among the layers that the signer has verified ([`VerifiedLayers`]).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex},
};

use super::{
    PushError, PushOptions, Result, in_parallel,
    mapping::{Mapping, MappingOrigin},
};
use crate::{
    attest::VerifiedLayers,
    causes::joined,
    image::ManifestGraph,
    layer::{chunked::annotation, compress::Compression},
    oci::{Descriptor, Digest, ImageConfig, Index, Manifest, Platform, Reference},
    threads::lock,
    transport::registry::{Client, RegistryDocument, RegistryError, signatures},
};

/// The maximum number of documents that are read for one reference.
const DOCUMENTS: usize = 100;
/// The maximum number of blobs of one layer that are taken from a document: one for each compression, and some more.
const BLOBS: usize = 8;
/// The maximum size in bytes of the used fields of a listed blob.
const ESSENTIAL_SIZE: usize = 4096;

/// Mappings by diff_id, in the order of the references.
type MappingsByDiffId = HashMap<Digest, Vec<Mapping>>;

/// The mappings of the registry, which are read when the first layer needs them.
pub(super) struct KnownMappings<'a> {
    client: &'a Client,
    options: &'a PushOptions,
    platforms: Vec<Platform>,
    /// The layers of the pushed content. Others are not kept, since documents of a registry can list any number of them.
    diff_ids: HashSet<Digest>,
    mappings: Mutex<Option<Arc<MappingsByDiffId>>>,
    warnings: Mutex<Vec<String>>,
}

impl<'a> KnownMappings<'a> {
    /// Returns an empty map. The mappings are read later.
    pub fn new(client: &'a Client, options: &'a PushOptions, content: &ManifestGraph) -> Self {
        let images = content.images();
        let platforms = images.iter().map(|image| image.platform.clone()).collect();
        let diff_ids = images.iter().flat_map(|image| &image.layers).map(|layer| layer.diff_id).collect();
        Self { client, options, platforms, diff_ids, mappings: Mutex::default(), warnings: Mutex::default() }
    }

    /// Returns the messages about documents that could not be read.
    pub fn warnings(&self) -> Vec<String> {
        lock(&self.warnings).clone()
    }

    /// Returns the mappings of a layer, trusted ones first.
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

    fn read(&self) -> Result<MappingsByDiffId> {
        let mut map = MappingsByDiffId::new();
        for tag in &self.options.tags {
            let read = self.images(self.client, tag, None, &mut map);
            self.may_fail(read, tag, true)?;
        }
        for named in &self.options.cache_from {
            let reference = reference(self.client, named);
            let read = match &reference {
                None => self.images(self.client, named, None, &mut map),
                Some(reference) => {
                    let client = Client::new(reference, &self.options.registry)?;
                    self.images(&client, &reference.version(), Some(&reference.repository), &mut map)
                }
            };
            self.may_fail(read, named, reference.is_none())?;
        }
        Ok(map)
    }

    /// A document that cannot be read is not an error, since its layers are compressed then. Missing rights for the
    /// repository of the push are, because the push itself has the same error.
    fn may_fail(&self, read: Result<()>, named: &str, is_own: bool) -> Result<()> {
        let error = match read {
            Err(PushError::Registry(error)) => error,
            other => return other,
        };
        let is_refused = matches!(error, RegistryError::Login(_)) || matches!(error.status(), Some(401 | 403));
        match (is_refused, is_own) {
            (true, true) => return Err(error.into()),
            (true, false) => {}
            (false, _) => lock(&self.warnings).push(format!("{named}: its layers are not used: {}", joined(&error))),
        }
        Ok(())
    }

    /// Adds the mappings of the images of `version`.
    fn images(
        &self,
        client: &Client,
        version: &str,
        repository: Option<&str>,
        map: &mut MappingsByDiffId,
    ) -> Result<()> {
        let name = format!("{}/{}:{version}", client.host(), client.repository());
        let (mut seen, mut left) = (HashSet::new(), DOCUMENTS);
        let mut pending = vec![ListedDocument { version: version.to_owned(), verified: VerifiedLayers::default() }];
        while !pending.is_empty() {
            left -= pending.len();
            let read = in_parallel(pending.len(), &|at| self.document(client, &pending[at]))?;
            pending.clear();
            for ReadDocument { children, layers, verified } in read.into_iter().flatten() {
                for (diff_id, blob) in layers {
                    let origin = self.origin(verified.contains(&blob.digest));
                    let repository = repository.map(str::to_owned);
                    map.entry(diff_id).or_default().push(Mapping { blob, repository, origin, listed_in: name.clone() });
                }
                let new = children.into_iter().filter(|child| seen.insert(*child));
                let listed = |child: Digest| ListedDocument { version: child.to_string(), verified: verified.clone() };
                pending.extend(new.map(listed));
            }
            pending.truncate(left);
        }
        Ok(())
    }

    /// Reads a manifest or index, and keeps what the push needs.
    fn document(&self, client: &Client, listed: &ListedDocument) -> Result<Option<ReadDocument>> {
        let Some(document) = client.manifest(&listed.version)? else { return Ok(None) };
        let verified = match &listed.verified {
            VerifiedLayers::All(_) => VerifiedLayers::ALL,
            above => above.clone().union(self.options.verified_layers(client, &listed.version, &document)),
        };
        let index = serde_json::from_slice::<Index>(&document.bytes).ok();
        let children = index.into_iter().flat_map(|index| index.manifests);
        let fitting = children.filter(|child| self.is_pushed(child.platform.as_ref()));
        let children = fitting.take(DOCUMENTS).map(|child| child.digest).collect();
        let mut counts: HashMap<Digest, usize> = HashMap::new();
        let listed = layers(client, &document)?.into_iter().filter(|(diff_id, _)| self.diff_ids.contains(diff_id));
        let few = listed.filter(|(diff_id, _)| {
            let count = counts.entry(*diff_id).or_default();
            *count += 1;
            *count <= BLOBS
        });
        let layers = few.filter_map(|(diff_id, blob)| Some((diff_id, essential(blob)?))).collect();
        Ok(Some(ReadDocument { children, layers, verified }))
    }

    fn origin(&self, is_verified: bool) -> MappingOrigin {
        match is_verified {
            true => MappingOrigin::Signed,
            false if self.options.trust_tags => MappingOrigin::Accepted,
            false => MappingOrigin::Unsigned,
        }
    }

    /// Whether an image of this platform may share layers with the pushed images. An image without a platform may.
    fn is_pushed(&self, platform: Option<&Platform>) -> bool {
        platform.is_none_or(|platform| self.platforms.iter().any(|pushed| pushed.is_met_by(platform)))
    }
}

/// Returns the fields of a listed blob that a push uses, or `None` if they are too large.
fn essential(blob: Descriptor) -> Option<Descriptor> {
    let annotations: BTreeMap<_, _> =
        blob.annotations.into_iter().filter(|(key, _)| annotation::is_ours(key)).collect();
    let size = annotations.values().map(String::len).fold(blob.media_type.len(), usize::saturating_add);
    let essential = Descriptor { annotations, ..Descriptor::new(&blob.media_type, blob.digest, blob.size) };
    (size <= ESSENTIAL_SIZE).then_some(essential)
}

/// A document to read, and the layers that the signature of an index above it lists.
struct ListedDocument {
    version: String,
    verified: VerifiedLayers,
}

/// What a push needs of a document.
struct ReadDocument {
    /// The digests of the listed indexes and images.
    children: Vec<Digest>,
    layers: Vec<(Digest, Descriptor)>,
    verified: VerifiedLayers,
}

impl PushOptions {
    /// Returns the layers of the document at `version` that signatures of trusted keys list as verified.
    pub(super) fn verified_layers(
        &self,
        client: &Client,
        version: &str,
        document: &RegistryDocument,
    ) -> VerifiedLayers {
        let digest = version.parse().unwrap_or_else(|_| Digest::sha256(&document.bytes));
        // If a signature cannot be read, the mappings are verified instead.
        let layers = |key| signatures::verified_layers(client, &digest, key).unwrap_or_default();
        self.trusted_keys.iter().map(layers).fold(VerifiedLayers::default(), VerifiedLayers::union)
    }
}

/// Parses `REPOSITORY[:TAG]`, with or without the registry's host, as a reference in the registry. A tag alone is not a
/// reference.
pub(super) fn reference(client: &Client, named: &str) -> Option<Reference> {
    if !named.contains(['/', ':']) || named.parse::<Digest>().is_ok() {
        return None;
    }
    let host = client.host();
    let rest = named.strip_prefix(host).and_then(|rest| rest.strip_prefix('/')).unwrap_or(named);
    format!("{host}/{rest}").parse().ok()
}

/// Returns the layers of an image or of a document of known layers, and an empty list for other documents.
pub(super) fn layers(client: &Client, document: &RegistryDocument) -> Result<Vec<(Digest, Descriptor)>> {
    let Ok(manifest) = serde_json::from_slice::<Manifest>(&document.bytes) else { return Ok(Vec::new()) };
    let Some(text) = client.small_blob(&manifest.config.digest)? else { return Ok(Vec::new()) };
    let Ok(config) = serde_json::from_slice::<ImageConfig>(&text) else { return Ok(Vec::new()) };
    if config.rootfs.diff_ids.len() != manifest.layers.len() {
        return Ok(Vec::new());
    }
    Ok(config.rootfs.diff_ids.into_iter().zip(manifest.layers).collect())
}
