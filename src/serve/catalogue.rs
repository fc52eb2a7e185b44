//! What is served: repositories with their tags, manifests and blobs.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::SocketAddr,
};

use hyper::body::Bytes;
use serde::Deserialize;

use crate::{
    image::{Image, ImageError, ImageIndex, LayerBlob, ManifestGraph},
    oci::{Descriptor, Digest},
};

/// Why images cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be had.
    #[error("listening on {address}; choose another address with --listen; port 0 picks a free port")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system answered.
        source: io::Error,
    },
    /// The machine has no threads or signals for us.
    #[error("starting to serve")]
    Start(#[source] io::Error),
    /// Two images have the same name.
    #[error("two images are named {0}; rename one with NAME:TAG=IMAGE")]
    Twice(String),
    /// A layer cannot be made.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A manifest or an index is malformed.
    #[error("parsing the manifest")]
    Manifest(#[from] serde_json::Error),
}

impl From<io::Error> for ServeError {
    fn from(error: io::Error) -> Self {
        Self::Start(error)
    }
}

/// Everything that is served.
#[derive(Debug, Default)]
pub struct Catalogue {
    repositories: BTreeMap<String, Repository>,
}

/// What one name stands for.
#[derive(Debug, Default)]
pub struct Repository {
    /// The digest of each tag, if its image is known.
    tags: BTreeMap<String, Option<Digest>>,
    documents: HashMap<Digest, Document>,
    blobs: HashMap<Digest, Blob>,
}

/// A manifest or an index.
#[derive(Clone, Debug)]
pub struct Document {
    pub media_type: String,
    pub bytes: Bytes,
}

/// A blob that exists, or is generated on request.
#[derive(Clone, Debug)]
pub enum Blob {
    Bytes(Bytes),
    Layer(Box<LayerBlob>),
}

impl Blob {
    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Layer(layer) => layer.descriptor.size,
        }
    }
}

impl Catalogue {
    /// Serves `content` as `name:tag`.
    ///
    /// # Errors
    ///
    /// [`ServeError::Twice`] when there is something of this name.
    pub fn add(&mut self, name: &str, tag: &str, content: ManifestGraph) -> Result<(), ServeError> {
        let repository = self.repositories.entry(name.to_owned()).or_default();
        if repository.tags.contains_key(tag) {
            return Err(ServeError::Twice(format!("{name}:{tag}")));
        }
        repository.tags.insert(tag.to_owned(), Some(content.digest()));
        repository.add(content);
        Ok(())
    }

    /// Serves `content` by its digest alone, as referrers are served.
    pub fn add_untagged(&mut self, name: &str, content: ManifestGraph) {
        self.repositories.entry(name.to_owned()).or_default().add(content);
    }

    /// Repositories whose tags are not known.
    pub(super) fn of_names(names: Vec<String>) -> Self {
        Self { repositories: names.into_iter().map(|name| (name, Repository::default())).collect() }
    }

    /// A repository whose tags have no images yet.
    pub(super) fn of_tags(name: &str, tags: Vec<String>) -> Self {
        let tags = tags.into_iter().map(|tag| (tag, None)).collect();
        Self { repositories: BTreeMap::from([(name.to_owned(), Repository { tags, ..Repository::default() })]) }
    }

    /// Serves `content` under several tags of `name`.
    pub(super) fn add_tagged(
        &mut self,
        name: &str,
        tags: impl Iterator<Item = (String, Digest)>,
        content: &ManifestGraph,
    ) {
        let repository = self.repositories.entry(name.to_owned()).or_default();
        repository.tags.extend(tags.map(|(tag, digest)| (tag, Some(digest))));
        repository.add(content.clone());
    }

    /// Every `name:tag`.
    pub fn references(&self) -> impl Iterator<Item = String> {
        let tags = |(name, repository): (&String, &Repository)| {
            repository.tags.keys().map(|tag| format!("{name}:{tag}")).collect::<Vec<_>>()
        };
        self.repositories.iter().flat_map(tags)
    }

    /// The repositories' names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.repositories.keys().map(String::as_str)
    }

    /// The repository of this name.
    pub fn repository(&self, name: &str) -> Option<&Repository> {
        self.repositories.get(name)
    }
}

impl Repository {
    fn add(&mut self, content: ManifestGraph) {
        let digest = content.digest();
        match content {
            ManifestGraph::Image(image) => {
                self.blobs.insert(image.config_descriptor().digest, Blob::Bytes(image.config.into()));
                let Image { media_type, manifest, layers, .. } = *image;
                self.documents.insert(digest, Document { media_type, bytes: manifest.into() });
                for layer in layers {
                    self.blobs.insert(layer.descriptor.digest, Blob::Layer(Box::new(layer)));
                }
            }
            ManifestGraph::Index(index) => {
                let ImageIndex { media_type, bytes, children, .. } = *index;
                children.into_iter().for_each(|child| self.add(child));
                self.documents.insert(digest, Document { media_type, bytes: bytes.into() });
            }
        }
    }

    /// The manifest of a tag or a digest, and its digest.
    pub fn find(&self, version: &str) -> Option<(Digest, &Document)> {
        let digest = match version.parse() {
            Ok(digest) => digest,
            Err(_) => (*self.tags.get(version)?)?,
        };
        Some((digest, self.documents.get(&digest)?))
    }

    /// What refers to `subject`, of one kind where that is asked for, as the manifests here say themselves.
    pub fn referrers(&self, subject: &Digest, artifact_type: Option<&str>) -> Vec<Descriptor> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Referrer {
            subject: Option<Descriptor>,
            artifact_type: Option<String>,
            config: Option<Descriptor>,
            #[serde(default)]
            annotations: BTreeMap<String, String>,
        }
        let refers = |(digest, manifest): (&Digest, &Document)| {
            let referrer: Referrer = serde_json::from_slice(&manifest.bytes).ok()?;
            referrer.subject.filter(|own| own.digest == *subject)?;
            let kind = referrer.artifact_type.or(referrer.config.map(|config| config.media_type));
            let own = Descriptor::new(&manifest.media_type, *digest, manifest.bytes.len() as u64);
            Some(Descriptor { artifact_type: kind, annotations: referrer.annotations, ..own })
        };
        let mut all: Vec<Descriptor> = self.documents.iter().filter_map(refers).collect();
        all.retain(|own| artifact_type.is_none() || own.artifact_type.as_deref() == artifact_type);
        all.sort_unstable_by_key(|own| own.digest.to_string());
        all
    }

    /// The blob of a digest.
    pub fn blob(&self, digest: &Digest) -> Option<&Blob> {
        self.blobs.get(digest)
    }

    /// The tags, in order.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.tags.keys().map(String::as_str)
    }
}
