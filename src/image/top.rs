//! Entries at the top of an index or an archive.

use std::{fmt, sync::Arc};

use super::{ManifestNode, OpenError};
use crate::oci::{Descriptor, Platform, descriptor::annotation};

/// An entry of index.json, or of docker's manifest.json.
#[derive(Clone, Debug)]
pub(crate) enum Top {
    Node(Box<ManifestNode>),
    Unlisted(Arc<dyn UnlistedImage>),
}

/// An image that no OCI index lists, as in archives of `docker save`. Its manifest is made when it is needed.
pub(crate) trait UnlistedImage: fmt::Debug + Send + Sync {
    /// Returns its names, `name:tag` each.
    fn names(&self) -> &[String];

    /// Returns its platform.
    fn platform(&self) -> Result<Platform, OpenError>;

    /// Returns the names of its config and its layers, which identify the image.
    fn files(&self) -> Vec<&str>;

    /// Makes the manifest.
    fn node(&self) -> Result<ManifestNode, OpenError>;
}

impl Top {
    pub(super) fn names(&self) -> Vec<String> {
        match self {
            Self::Node(node) => node.names(),
            Self::Unlisted(image) => image.names().to_vec(),
        }
    }

    pub(super) fn node(&self) -> Result<ManifestNode, OpenError> {
        match self {
            Self::Node(node) => Ok(ManifestNode::clone(node)),
            Self::Unlisted(image) => image.node(),
        }
    }

    pub(super) fn reference(&self) -> Option<String> {
        self.names().into_iter().find(|name| name.contains(':'))
    }

    pub(super) fn is(&self, name: Option<&str>, tag: Option<&str>) -> bool {
        self.names().iter().any(|full| {
            let (image_name, image_tag) = full.rsplit_once(':').unwrap_or((full, full));
            name.is_none_or(|name| image_name == name) && tag.is_none_or(|tag| image_tag == tag)
        })
    }

    /// Whether the entry has no name and is a referrer of another manifest.
    pub(super) fn is_referrer(&self) -> Result<bool, OpenError> {
        match self {
            Self::Node(node) if self.names().is_empty() => Ok(node.subject()?.is_some()),
            _ => Ok(false),
        }
    }

    /// Returns the descriptor in an index, without the annotations of its names.
    pub(super) fn descriptor(&self) -> Option<Descriptor> {
        match self {
            Self::Unlisted(_) => None,
            Self::Node(node) => {
                let mut descriptor = node.descriptor.clone();
                for key in [annotation::IMAGE_NAME, annotation::REF_NAME] {
                    descriptor.annotations.remove(key);
                }
                Some(descriptor)
            }
        }
    }
}
