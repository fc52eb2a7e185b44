//! The unit of a copy: an image, or an index with its images.
//!
//! ```text
//! index ──▶ index ──▶ image: manifest, config, layers
//!       └─▶ image
//! ```
//!
//! Manifests, configs and indexes are kept as bytes, so that a copy does not change their digests.

use std::collections::HashMap;

use super::Image;
use crate::oci::{Algorithm, Descriptor, Digest, Index, descriptor::media_type, json};

/// An image, or an index with its images, as copied from a source to a destination.
///
/// [Example](crate#image).
#[derive(Clone, Debug)]
pub enum ManifestGraph {
    /// An image or an artifact.
    Image(Box<Image>),
    /// An index.
    Index(Box<ImageIndex>),
}

/// An index and its children.
///
/// [Example](crate#image).
#[derive(Clone, Debug)]
pub struct ImageIndex {
    /// The name of the index, `name:tag`.
    pub reference: Option<String>,
    /// The media type of the index.
    pub media_type: String,
    /// The bytes of the index.
    pub bytes: Vec<u8>,
    /// The hash algorithm with which referrers of the index name it.
    pub algorithm: Algorithm,
    /// The images and indexes that the index lists, in its order.
    pub children: Vec<ManifestGraph>,
}

impl From<Image> for ManifestGraph {
    fn from(image: Image) -> Self {
        Self::Image(Box::new(image))
    }
}

impl ManifestGraph {
    /// Creates an index of `children`. A child without an entry in `descriptors` gets a descriptor without a name.
    pub fn from_children(children: Vec<Self>, descriptors: Vec<Option<Descriptor>>) -> Self {
        let descriptors = descriptors.into_iter().chain(std::iter::repeat(None));
        let pairs = children.iter().zip(descriptors);
        let manifests = pairs.map(|(child, descriptor)| descriptor.unwrap_or_else(|| child.descriptor()));
        let bytes = json::to_vec(&Index::new(manifests.collect()));
        Self::Index(Box::new(ImageIndex {
            reference: None,
            media_type: media_type::INDEX.to_owned(),
            bytes,
            algorithm: Algorithm::default(),
            children,
        }))
    }

    /// Replaces the name. `None` keeps the old one.
    pub fn with_reference(mut self, reference: Option<String>) -> Self {
        let old = match &mut self {
            Self::Image(image) => &mut image.reference,
            Self::Index(index) => &mut index.reference,
        };
        *old = reference.or(old.take());
        self
    }

    /// Returns the name, `name:tag`.
    pub fn reference(&self) -> Option<&str> {
        match self {
            Self::Image(image) => image.reference.as_deref(),
            Self::Index(index) => index.reference.as_deref(),
        }
    }

    /// Returns the descriptor of the manifest or index, without annotations that name it.
    pub fn descriptor(&self) -> Descriptor {
        match self {
            Self::Image(image) => image.descriptor(),
            Self::Index(index) => {
                let digest = index.algorithm.digest(&index.bytes);
                Descriptor::new(&index.media_type, digest, index.bytes.len() as u64)
            }
        }
    }

    /// Returns the digest of the manifest or index.
    pub fn digest(&self) -> Digest {
        self.descriptor().digest
    }

    /// Returns the digests of all manifests and indexes.
    pub fn digests(&self) -> Vec<Digest> {
        let below = match self {
            Self::Image(_) => Vec::new(),
            Self::Index(index) => index.children.iter().flat_map(Self::digests).collect(),
        };
        [vec![self.digest()], below].concat()
    }

    /// Returns all images, in order.
    pub fn images(&self) -> Vec<&Image> {
        match self {
            Self::Image(image) => vec![image],
            Self::Index(index) => index.children.iter().flat_map(Self::images).collect(),
        }
    }
}

/// Replaces the digests and sizes of changed manifests in an index. Attestations of changed manifests are removed, because
/// they describe the old manifests.
pub fn rewritten(mut index: Index, changed: &HashMap<Digest, (Digest, u64)>) -> Vec<u8> {
    index.manifests.retain(|descriptor| subject(descriptor).is_none_or(|subject| !changed.contains_key(&subject)));
    for descriptor in &mut index.manifests {
        if let Some(&(digest, size)) = changed.get(&descriptor.digest) {
            (descriptor.digest, descriptor.size, descriptor.data) = (digest, size, None);
        }
    }
    json::to_vec(&index)
}

/// Returns the digest of the image that an attestation of buildx describes, given the descriptor of the attestation.
pub fn subject(descriptor: &Descriptor) -> Option<Digest> {
    descriptor.annotations.get("vnd.docker.reference.digest")?.parse().ok()
}
