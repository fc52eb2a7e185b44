//! The repositories of the registry, with their tags, manifests and blobs.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    net::SocketAddr,
};

use hyper::body::Bytes;
use serde::Deserialize;

use crate::{
    image::{Image, ImageError, ImageIndex, LayerBlob, ManifestGraph},
    oci::{Descriptor, Digest},
};

/// The reason that images cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The server cannot listen on the address.
    #[error("listening on {address}; choose another address with --listen; port 0 picks a free port")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The operating system has no threads or signal handlers for the server.
    #[error("starting to serve")]
    Start(#[source] io::Error),
    /// Two images have the same name.
    #[error("two images are named {0}; rename one with NAME:TAG=IMAGE")]
    Twice(String),
    /// The bytes of a layer cannot be made.
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

/// The repositories by name.
#[derive(Debug, Default)]
pub struct Catalogue {
    repositories: BTreeMap<String, ServedRepository>,
}

/// A repository.
#[derive(Debug, Default)]
pub struct ServedRepository {
    /// The digest of each tag, if its image is known.
    tags: BTreeMap<String, Option<Digest>>,
    documents: HashMap<Digest, ServedDocument>,
    blobs: HashMap<Digest, ServedBlob>,
}

/// A manifest or an index.
#[derive(Clone, Debug)]
pub struct ServedDocument {
    pub media_type: String,
    pub bytes: Bytes,
}

/// A blob that exists, or is generated on request.
#[derive(Clone, Debug)]
pub enum ServedBlob {
    Bytes(Bytes),
    Layer(Box<LayerBlob>),
}

impl ServedBlob {
    /// Returns the size in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Layer(layer) => layer.descriptor.size,
        }
    }
}

impl Catalogue {
    /// Adds `content` as `name:tag`.
    ///
    /// # Errors
    ///
    /// [`ServeError::Twice`] if the tag exists.
    pub fn add(&mut self, name: &str, tag: &str, content: ManifestGraph) -> Result<(), ServeError> {
        let repository = self.repositories.entry(name.to_owned()).or_default();
        if repository.tags.contains_key(tag) {
            return Err(ServeError::Twice(format!("{name}:{tag}")));
        }
        repository.tags.insert(tag.to_owned(), Some(content.digest()));
        repository.add(content);
        Ok(())
    }

    /// Adds referrers of the manifests of `content`, without tags. A referrer precedes its own referrers. Returns the number of those
    /// that are left out, because they refer to manifests that `content` does not have.
    pub fn add_referrers(&mut self, name: &str, content: &ManifestGraph, referrers: Vec<ManifestGraph>) -> usize {
        let repository = self.repositories.entry(name.to_owned()).or_default();
        let mut served: HashSet<Digest> = content.digests().into_iter().collect();
        let mut left_out = 0;
        for referrer in referrers {
            if subject(&referrer).is_some_and(|subject| served.contains(&subject)) {
                served.extend(referrer.digests());
                repository.add(referrer);
            } else {
                left_out += 1;
            }
        }
        left_out
    }

    /// Creates repositories whose tags are not known.
    pub(super) fn from_names(names: Vec<String>) -> Self {
        Self { repositories: names.into_iter().map(|name| (name, ServedRepository::default())).collect() }
    }

    /// Creates a repository with tags whose images are not known.
    pub(super) fn from_tags(name: &str, tags: Vec<String>) -> Self {
        let tags = tags.into_iter().map(|tag| (tag, None)).collect();
        Self {
            repositories: BTreeMap::from([(name.to_owned(), ServedRepository { tags, ..ServedRepository::default() })]),
        }
    }

    /// Adds `content` with several tags of the repository `name`.
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

    /// Returns all references, each `name:tag`.
    pub fn references(&self) -> impl Iterator<Item = String> {
        let tags = |(name, repository): (&String, &ServedRepository)| {
            repository.tags.keys().map(|tag| format!("{name}:{tag}")).collect::<Vec<_>>()
        };
        self.repositories.iter().flat_map(tags)
    }

    /// Returns the names of the repositories, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.repositories.keys().map(String::as_str)
    }

    /// Returns the repository of this name.
    pub fn repository(&self, name: &str) -> Option<&ServedRepository> {
        self.repositories.get(name)
    }
}

impl From<ManifestGraph> for ServedRepository {
    fn from(content: ManifestGraph) -> Self {
        let mut repository = Self::default();
        repository.add(content);
        repository
    }
}

impl ServedRepository {
    /// Returns the digests of the manifests and blobs.
    pub(super) fn digests(&self) -> impl Iterator<Item = Digest> {
        self.documents.keys().chain(self.blobs.keys()).copied()
    }

    fn add(&mut self, content: ManifestGraph) {
        let digest = content.digest();
        match content {
            ManifestGraph::Image(image) => {
                self.blobs.insert(image.config_descriptor().digest, ServedBlob::Bytes(image.config.into()));
                let Image { media_type, manifest, layers, .. } = *image;
                self.documents.insert(digest, ServedDocument { media_type, bytes: manifest.into() });
                for layer in layers {
                    self.blobs.insert(layer.descriptor.digest, ServedBlob::Layer(Box::new(layer)));
                }
            }
            ManifestGraph::Index(index) => {
                let ImageIndex { media_type, bytes, children, .. } = *index;
                children.into_iter().for_each(|child| self.add(child));
                self.documents.insert(digest, ServedDocument { media_type, bytes: bytes.into() });
            }
        }
    }

    /// Returns the manifest of a tag or a digest, and its digest.
    pub fn find(&self, version: &str) -> Option<(Digest, &ServedDocument)> {
        let digest = match version.parse() {
            Ok(digest) => digest,
            Err(_) => (*self.tags.get(version)?)?,
        };
        Some((digest, self.documents.get(&digest)?))
    }

    /// Returns the referrers of `subject`, optionally of one artifact type, as found in the manifests of the repository.
    pub fn referrers(&self, subject: &Digest, artifact_type: Option<&str>) -> Vec<Descriptor> {
        let refers = |(digest, manifest): (&Digest, &ServedDocument)| {
            let referrer: Referrer = serde_json::from_slice(&manifest.bytes).ok()?;
            referrer.subject.filter(|found| found.digest == *subject)?;
            let artifact_type = referrer.artifact_type.or(referrer.config.map(|config| config.media_type));
            let descriptor = Descriptor::new(&manifest.media_type, *digest, manifest.bytes.len() as u64);
            Some(Descriptor { artifact_type, annotations: referrer.annotations, ..descriptor })
        };
        let mut found: Vec<Descriptor> = self.documents.iter().filter_map(refers).collect();
        found.retain(|found| artifact_type.is_none() || found.artifact_type.as_deref() == artifact_type);
        found.sort_unstable_by_key(|found| found.digest.to_string());
        found
    }

    /// Returns the blob of a digest.
    pub fn blob(&self, digest: &Digest) -> Option<&ServedBlob> {
        self.blobs.get(digest)
    }

    /// Returns the tags, in order.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.tags.keys().map(String::as_str)
    }
}

/// The fields of a manifest or index that make it a referrer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Referrer {
    subject: Option<Descriptor>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// Returns the digest of the manifest to which a referrer refers.
fn subject(referrer: &ManifestGraph) -> Option<Digest> {
    let bytes = match referrer {
        ManifestGraph::Image(image) => &image.manifest,
        ManifestGraph::Index(index) => &index.bytes,
    };
    serde_json::from_slice::<Referrer>(bytes).ok()?.subject.map(|subject| subject.digest)
}
