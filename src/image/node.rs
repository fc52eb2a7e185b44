//! The graph of manifests and indexes, walked by digest:
//!
//! ```text
//! index ──▶ nested index ──▶ manifest ──▶ config, layers
//! ```
//!
//! A [`Store`] opens the blob with a digest on any medium. Everything else here is the same for all media. Documents
//! are checked against their descriptors before they are parsed, and their bytes are kept.

use std::{
    io::{self, Read},
    sync::Arc,
};

use data_encoding::BASE64;
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    Image, ImageIndex, LayerBlob, ManifestGraph, OpenError,
    store::{Store, read_document},
};
use crate::{
    budget::{self, Budget, ExceededError},
    oci::{
        Descriptor, Digest, ImageConfig, Index, Manifest, Platform,
        descriptor::{annotation, media_type},
        document, json, name,
    },
};

/// The maximum depth of nested indexes. Other tools write at most two levels.
const DEPTH_LIMIT: usize = 16;
/// The maximum number of layers. docker and podman run images with up to 127.
const LAYERS_LIMIT: usize = 1000;

/// A manifest or an index that was not read yet.
#[derive(Clone, Debug)]
pub struct ManifestNode {
    /// The descriptor of the manifest or index.
    pub descriptor: Descriptor,
    pub(crate) store: Arc<dyn Store>,
}

/// A parsed manifest or index, and its bytes.
enum GraphDocument {
    Index(Box<Index>, Vec<u8>),
    Manifest(Box<Manifest>, Vec<u8>),
}

/// Returns the budget for the documents of one command. A small document that is listed many times becomes many
/// documents in memory.
pub(crate) fn new_budget() -> Budget {
    Budget::new(&budget::GRAPH)
}

impl ManifestNode {
    /// Returns the bytes of the manifest or index, after checking its size and digest.
    ///
    /// # Errors
    ///
    /// If it is missing, too large, or does not match its descriptor.
    pub fn document(&self) -> Result<Vec<u8>, OpenError> {
        self.checked(&self.descriptor, &|| self.store.manifest(&self.descriptor))
    }

    /// Returns the checked bytes of a document: those that the descriptor contains, else those that `read` returns.
    fn checked(
        &self,
        descriptor: &Descriptor,
        read: &dyn Fn() -> io::Result<Option<Vec<u8>>>,
    ) -> Result<Vec<u8>, OpenError> {
        let fail = |why: String| OpenError::Document { document: self.store.name(&descriptor.digest), why };
        let bytes = match embedded(descriptor).filter(|bytes| descriptor.digest.matches(bytes)) {
            Some(bytes) => bytes,
            None => read()
                .map_err(|source| OpenError::Blob { name: self.store.name(&descriptor.digest), source })?
                .ok_or_else(|| fail("it is missing".to_owned()))?,
        };
        if !descriptor.digest.matches(&bytes) {
            let found = descriptor.digest.algorithm().digest(&bytes);
            return Err(fail(format!("its digest is {found}, which differs from its name")));
        }
        if bytes.len() as u64 != descriptor.size {
            return Err(fail(format!("it has {} bytes, not {}", bytes.len(), descriptor.size)));
        }
        Ok(bytes)
    }

    fn fail(&self, why: String) -> OpenError {
        OpenError::Document { document: self.store.name(&self.descriptor.digest), why }
    }

    fn exceeded(&self, exceeded: ExceededError) -> OpenError {
        OpenError::Limit { document: self.store.name(&self.descriptor.digest), exceeded }
    }

    fn parse<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, OpenError> {
        json::from_slice(bytes).map_err(|error| self.fail(error.to_string()))
    }

    fn read(&self) -> Result<GraphDocument, OpenError> {
        let bytes = self.document()?;
        let is_index = match media_type::as_oci(&self.descriptor.media_type) {
            media_type::INDEX => true,
            media_type::MANIFEST => false,
            // Without a media type, an index is recognised by its list of manifests.
            _ => document::is_index(&bytes),
        };
        if document::is_schema_1(&bytes) {
            return Err(self.fail(document::SCHEMA_1.to_owned()));
        }
        Ok(match is_index {
            true => GraphDocument::Index(Box::new(self.parse(&bytes)?), bytes),
            false => GraphDocument::Manifest(Box::new(self.parse(&bytes)?), bytes),
        })
    }

    fn child(&self, descriptor: Descriptor) -> Self {
        Self { descriptor, store: Arc::clone(&self.store) }
    }

    /// Returns the image, or the index with all its images.
    ///
    /// # Errors
    ///
    /// If a document is missing or malformed.
    pub fn content(&self) -> Result<ManifestGraph, OpenError> {
        self.content_of(&mut new_budget())
    }

    /// The same as [`content`](Self::content) with a shared budget.
    pub(crate) fn content_of(&self, budget: &mut Budget) -> Result<ManifestGraph, OpenError> {
        self.content_within(budget.renew_parts(), 0)
    }

    fn content_within(&self, budget: &mut Budget, depth: usize) -> Result<ManifestGraph, OpenError> {
        self.check_depth(depth)?;
        budget.take_parts(1).map_err(|error| self.exceeded(error))?;
        let document = self.read()?;
        budget.take_bytes(self.descriptor.size).map_err(|error| self.exceeded(error))?;
        match document {
            GraphDocument::Manifest(manifest, bytes) => {
                let config = manifest.config.size;
                let image = self.image(*manifest, bytes)?;
                budget.take_bytes(config).map_err(|error| self.exceeded(error))?;
                Ok(image.into())
            }
            GraphDocument::Index(index, bytes) => {
                let children = index.manifests.into_iter();
                Ok(ManifestGraph::Index(Box::new(ImageIndex {
                    reference: self.reference(),
                    media_type: self.media_type(index.media_type.as_deref(), media_type::INDEX),
                    bytes,
                    algorithm: self.descriptor.digest.algorithm(),
                    children: children
                        .map(|descriptor| self.child(descriptor).content_within(budget, depth + 1))
                        .collect::<Result<_, _>>()?,
                })))
            }
        }
    }

    /// Returns the digest of the `subject`, if there is one.
    ///
    /// # Errors
    ///
    /// If the document is missing, too large, or does not match its descriptor.
    pub fn subject(&self) -> Result<Option<Digest>, OpenError> {
        #[derive(Deserialize)]
        struct Referrer {
            subject: Option<Descriptor>,
        }
        let referrer: Referrer = self.parse(&self.document()?)?;
        Ok(referrer.subject.map(|subject| subject.digest))
    }

    fn check_depth(&self, depth: usize) -> Result<(), OpenError> {
        if depth <= DEPTH_LIMIT {
            return Ok(());
        }
        Err(self.fail(format!("more than {DEPTH_LIMIT} indexes are nested, which is the limit")))
    }

    /// Returns every manifest in order: this one, or those below this index.
    ///
    /// # Errors
    ///
    /// If an index is missing or malformed.
    pub(crate) fn manifests(&self, budget: &mut Budget) -> Result<Vec<Self>, OpenError> {
        let mut found = Vec::new();
        self.manifests_within(&mut found, budget.renew_parts(), 0)?;
        Ok(found)
    }

    fn manifests_within(&self, found: &mut Vec<Self>, budget: &mut Budget, depth: usize) -> Result<(), OpenError> {
        self.check_depth(depth)?;
        budget.take_parts(1).map_err(|error| self.exceeded(error))?;
        if media_type::as_oci(&self.descriptor.media_type) == media_type::MANIFEST {
            found.push(self.clone());
            return Ok(());
        }
        let document = self.read()?;
        budget.take_bytes(self.descriptor.size).map_err(|error| self.exceeded(error))?;
        match document {
            GraphDocument::Manifest(..) => found.push(self.clone()),
            GraphDocument::Index(index, _) => {
                for descriptor in index.manifests {
                    // The name of an index applies to its images.
                    let mut child = self.child(descriptor);
                    for key in [annotation::IMAGE_NAME, annotation::REF_NAME] {
                        if let Some(name) = self.descriptor.annotations.get(key) {
                            child.descriptor.annotations.entry(key.to_owned()).or_insert_with(|| name.clone());
                        }
                    }
                    child.manifests_within(found, budget, depth + 1)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the image that this manifest describes.
    ///
    /// # Errors
    ///
    /// If it describes none, or a document is missing or malformed.
    pub fn blobs(&self) -> Result<Image, OpenError> {
        self.blobs_of(&mut new_budget())
    }

    /// The same as [`blobs`](Self::blobs) with a shared budget.
    pub(crate) fn blobs_of(&self, budget: &mut Budget) -> Result<Image, OpenError> {
        let document = self.read()?;
        budget.take_bytes(self.descriptor.size).map_err(|error| self.exceeded(error))?;
        match document {
            GraphDocument::Manifest(manifest, bytes) => {
                let config = manifest.config.size;
                let image = self.image(*manifest, bytes)?;
                budget.take_bytes(config).map_err(|error| self.exceeded(error)).map(|()| image)
            }
            GraphDocument::Index(..) => Err(self.fail("it is an index, not the manifest of an image".to_owned())),
        }
    }

    /// Returns the platform of the image in the index, else in its config, or `None` if it is not an image.
    ///
    /// # Errors
    ///
    /// If a document is missing or malformed.
    pub fn platform(&self) -> Result<Option<Platform>, OpenError> {
        if let Some(platform) = &self.descriptor.platform {
            return Ok(Some(platform.clone()).filter(|platform| platform.os != "unknown"));
        }
        let image = self.blobs()?;
        Ok(media_type::is_config(&image.config_media_type).then_some(image.platform))
    }

    /// Returns `name:tag`, if the descriptor has it.
    pub fn reference(&self) -> Option<String> {
        self.names().into_iter().find(|name| name.contains(':'))
    }

    /// Returns the names in the descriptor: `name:tag`, or only a tag.
    pub fn names(&self) -> Vec<String> {
        let annotated = |key| self.descriptor.annotations.get(key);
        let name = annotated(annotation::IMAGE_NAME).map(|name| name::familiar(name).to_owned());
        let tag = annotated(annotation::REF_NAME);
        // Tools that only set tags (umoci) keep the full name of the previous tag next to a new one.
        let is_of_another = |name: &String| {
            let is_tag = |tag: &&String| {
                !tag.contains(':') && name.rsplit_once(':').is_some_and(|(_, named_tag)| named_tag != *tag)
            };
            tag.filter(is_tag).is_some()
        };
        name.filter(|name| !is_of_another(name)).or(tag.cloned()).into_iter().collect()
    }

    fn media_type(&self, document_type: Option<&str>, usual: &str) -> String {
        let descriptor_type = &self.descriptor.media_type;
        document_type
            .or(Some(descriptor_type).filter(|descriptor_type| !descriptor_type.is_empty()).map(String::as_str))
            .unwrap_or(usual)
            .to_owned()
    }

    fn image(&self, manifest: Manifest, bytes: Vec<u8>) -> Result<Image, OpenError> {
        let count = manifest.layers.len();
        if count > LAYERS_LIMIT {
            return Err(self.fail(format!("{count} layers exceed the limit of {LAYERS_LIMIT}")));
        }
        let config_node = self.child(manifest.config.clone());
        let read = || {
            let reader = self.store.open(&manifest.config.digest)?;
            reader.map(|reader| read_document(reader, manifest.config.size)).transpose()
        };
        let config = self.checked(&manifest.config, &read)?;
        // The config of an artifact may have any content.
        let is_image = media_type::is_config(&manifest.config.media_type);
        let parsed: ImageConfig = if is_image { config_node.parse(&config)? } else { ImageConfig::default() };
        let diff_ids = &parsed.rootfs.diff_ids;
        if is_image && diff_ids.len() != count && (count == 0 || manifest.layers.iter().any(is_tar)) {
            return Err(config_node.fail(format!("it lists {} diff_ids, but there are {count} layers", diff_ids.len())));
        }
        let mut layers = Vec::with_capacity(count);
        for (at, descriptor) in manifest.layers.iter().enumerate() {
            layers.push(self.layer(descriptor, diff_ids.get(at))?);
        }
        Ok(Image {
            reference: self.reference(),
            platform: self.descriptor.platform.clone().unwrap_or_else(|| parsed.platform()),
            media_type: self.media_type(manifest.media_type.as_deref(), media_type::MANIFEST),
            manifest: bytes,
            manifest_algorithm: self.descriptor.digest.algorithm(),
            config_algorithm: manifest.config.digest.algorithm(),
            config_media_type: manifest.config.media_type,
            config,
            config_origin: self.store.origin().map(|(host, repository)| (host.to_owned(), repository.to_owned())),
            layers,
            closure: None,
            as_is: true,
        })
    }

    fn layer(&self, descriptor: &Descriptor, diff_id: Option<&Digest>) -> Result<LayerBlob, OpenError> {
        let (store, digest, data) = (Arc::clone(&self.store), descriptor.digest, embedded(descriptor));
        let name = store.name(&digest);
        // A blob in a registry is requested when it is read, unless it may only be at its URLs.
        let ask = store.origin().is_none() || !descriptor.urls.is_empty();
        let missing = ask
            && data.is_none()
            && !store.has(&digest).map_err(|source| OpenError::Blob { name: name.clone(), source })?;
        if missing && descriptor.urls.is_empty() {
            return Err(OpenError::Document { document: name, why: "it is missing".to_owned() });
        }
        let blob = LayerBlob::new(descriptor.clone(), diff_id.copied().unwrap_or(digest), move || {
            let embedded = || data.clone().map(|data| Box::new(io::Cursor::new(data)) as Box<dyn Read + Send>);
            let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{name} is missing"));
            store.open(&digest)?.or_else(embedded).ok_or_else(missing)
        });
        let blob = if missing { blob.only_elsewhere() } else { blob };
        let blob = match self.store.origin() {
            Some((host, repository)) => blob.with_origin(host, repository),
            None => blob,
        };
        Ok(match self.store.file(descriptor) {
            Some(file) if !missing => blob.with_file(file),
            _ => blob,
        })
    }
}

/// Whether it is a layer of a file system, and not the blob of an artifact.
fn is_tar(descriptor: &Descriptor) -> bool {
    let kind = media_type::as_oci(&descriptor.media_type);
    kind.starts_with(media_type::LAYER_TAR) || kind.contains("layer.nondistributable.v1.tar")
}

/// Returns the blob that a descriptor contains.
fn embedded(descriptor: &Descriptor) -> Option<Vec<u8>> {
    BASE64.decode(descriptor.data.as_deref()?.as_bytes()).ok()
}
