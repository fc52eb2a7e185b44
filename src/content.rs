//! What is copied: an image, or an index with everything it lists.
//!
//! ```text
//! index ──▶ index ──▶ image: manifest, config, layers
//!       └─▶ image
//! ```
//!
//! Documents are bytes, so that what is only moved keeps its digest, that of the index included.

use std::collections::HashSet;

use crate::{
    blobs::ImageBlobs,
    oci::{Descriptor, Digest, Index, json, media_type},
};

/// What a reference leads to, as it travels from a source to a sink.
#[derive(Clone, Debug)]
pub enum Content {
    /// One image, or an artifact.
    Image(Box<ImageBlobs>),
    /// Several.
    Index(Box<IndexBlobs>),
}

/// An index and what it lists.
#[derive(Clone, Debug)]
pub struct IndexBlobs {
    /// `name:tag`, where it has a name.
    pub reference: Option<String>,
    /// The index's media type.
    pub media_type: String,
    /// The index.
    pub bytes: Vec<u8>,
    /// What it lists, in its order.
    pub children: Vec<Content>,
}

impl From<ImageBlobs> for Content {
    fn from(image: ImageBlobs) -> Self {
        Self::Image(Box::new(image))
    }
}

impl Content {
    /// Images that no index lists yet, behind one; a single image stays alone.
    pub fn of_images(mut images: Vec<ImageBlobs>) -> Self {
        let mut seen = HashSet::new();
        images.retain(|image| seen.insert(image.digest()));
        if images.len() == 1 {
            return images.remove(0).into();
        }
        let index = Index::new(images.iter().map(ImageBlobs::descriptor).collect());
        Self::Index(Box::new(IndexBlobs {
            reference: images.first().and_then(|image| image.reference.clone()),
            media_type: media_type::INDEX.to_owned(),
            bytes: json::to_vec(&index),
            children: images.into_iter().map(Self::from).collect(),
        }))
    }

    /// `name:tag`, where it has a name.
    pub fn reference(&self) -> Option<&str> {
        match self {
            Self::Image(image) => image.reference.as_deref(),
            Self::Index(index) => index.reference.as_deref(),
        }
    }

    /// What an index says of it, without a name.
    pub fn descriptor(&self) -> Descriptor {
        match self {
            Self::Image(image) => image.descriptor(),
            Self::Index(index) => {
                Descriptor::new(&index.media_type, Digest::of(&index.bytes), index.bytes.len() as u64)
            }
        }
    }

    /// The digest of its manifest or index.
    pub fn digest(&self) -> Digest {
        self.descriptor().digest
    }

    /// Every image in it, in order.
    pub fn images(&self) -> Vec<&ImageBlobs> {
        match self {
            Self::Image(image) => vec![image],
            Self::Index(index) => index.children.iter().flat_map(Self::images).collect(),
        }
    }
}
