//! What is copied: an image, or an index with everything it lists.
//!
//! ```text
//! index ──▶ index ──▶ image: manifest, config, layers
//!       └─▶ image
//! ```
//!
//! Documents are bytes, so that what is only moved keeps its digest, that of the index included.

use std::collections::HashMap;

use super::Image;
use crate::oci::{Algorithm, Descriptor, Digest, Index, descriptor::media_type, json};

/// What a reference leads to, as it travels from a source to a sink.
///
/// [Example](crate#image).
#[derive(Clone, Debug)]
pub enum ManifestGraph {
    /// One image, or an artifact.
    Image(Box<Image>),
    /// Several.
    Index(Box<ImageIndex>),
}

/// An index and what it lists.
///
/// [Example](crate#image).
#[derive(Clone, Debug)]
pub struct ImageIndex {
    /// `name:tag`, where it has a name.
    pub reference: Option<String>,
    /// The index's media type.
    pub media_type: String,
    /// The index.
    pub bytes: Vec<u8>,
    /// The hash algorithm with which referrers of the index name it.
    pub algorithm: Algorithm,
    /// What it lists, in its order.
    pub children: Vec<ManifestGraph>,
}

impl From<Image> for ManifestGraph {
    fn from(image: Image) -> Self {
        Self::Image(Box::new(image))
    }
}

impl ManifestGraph {
    /// Contents that no index lists yet, behind one, as these descriptors where some are given.
    pub fn of(children: Vec<Self>, descriptors: Vec<Option<Descriptor>>) -> Self {
        let given = descriptors.into_iter().chain(std::iter::repeat(None));
        let manifests = children.iter().zip(given).map(|(child, given)| given.unwrap_or_else(|| child.descriptor()));
        let bytes = json::to_vec(&Index::new(manifests.collect()));
        Self::Index(Box::new(ImageIndex {
            reference: None,
            media_type: media_type::INDEX.to_owned(),
            bytes,
            algorithm: Algorithm::default(),
            children,
        }))
    }

    /// The same, called so, where it is called something.
    pub fn with_reference(mut self, reference: Option<String>) -> Self {
        let own = match &mut self {
            Self::Image(image) => &mut image.reference,
            Self::Index(index) => &mut index.reference,
        };
        *own = reference.or(own.take());
        self
    }

    /// `name:tag`, where it has a name.
    pub fn reference(&self) -> Option<&str> {
        match self {
            Self::Image(image) => image.reference.as_deref(),
            Self::Index(index) => index.reference.as_deref(),
        }
    }

    /// Its descriptor in an index, without a name.
    pub fn descriptor(&self) -> Descriptor {
        match self {
            Self::Image(image) => image.descriptor(),
            Self::Index(index) => {
                let digest = index.algorithm.of(&index.bytes);
                Descriptor::new(&index.media_type, digest, index.bytes.len() as u64)
            }
        }
    }

    /// The digest of its manifest or index.
    pub fn digest(&self) -> Digest {
        self.descriptor().digest
    }

    /// The digests of its manifests and indexes.
    pub fn digests(&self) -> Vec<Digest> {
        let below = match self {
            Self::Image(_) => Vec::new(),
            Self::Index(index) => index.children.iter().flat_map(Self::digests).collect(),
        };
        [vec![self.digest()], below].concat()
    }

    /// Every image in it, in order.
    pub fn images(&self) -> Vec<&Image> {
        match self {
            Self::Image(image) => vec![image],
            Self::Index(index) => index.children.iter().flat_map(Self::images).collect(),
        }
    }
}

/// An index whose manifests have changed to these digests and sizes. Attestations of those that changed are left out: they
/// are about the old ones.
pub fn rewritten(mut index: Index, changed: &HashMap<Digest, (Digest, u64)>) -> Vec<u8> {
    index.manifests.retain(|descriptor| subject(descriptor).is_none_or(|subject| !changed.contains_key(&subject)));
    for descriptor in &mut index.manifests {
        if let Some(&(digest, size)) = changed.get(&descriptor.digest) {
            (descriptor.digest, descriptor.size, descriptor.data) = (digest, size, None);
        }
    }
    json::to_vec(&index)
}

/// The image that an attestation of buildx's, as an index lists it, is about.
pub fn subject(descriptor: &Descriptor) -> Option<Digest> {
    descriptor.annotations.get("vnd.docker.reference.digest")?.parse().ok()
}
