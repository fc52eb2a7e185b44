//! What is served: repositories with their tags, manifests and blobs.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::SocketAddr,
};

use hyper::body::Bytes;
use serde::Deserialize;

use crate::{
    blobs::{ImageBlobs, LayerBlob},
    oci::{Descriptor, Digest, Index, json, media_type},
};

/// Why images cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be had.
    #[error("listening at {address}; choose another with --listen, port 0 for any that is free")]
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
    #[error("two images are called {0}; give one another name, NAME:TAG=IMAGE")]
    Twice(String),
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
    tags: BTreeMap<String, Digest>,
    manifests: HashMap<Digest, Manifest>,
    blobs: HashMap<Digest, Blob>,
}

/// A manifest or an index.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub media_type: String,
    pub bytes: Bytes,
}

/// A blob that is known, or made when somebody wants it.
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
    /// Serves `images` as `name:tag`: one, or those of several platforms behind an index.
    ///
    /// # Errors
    ///
    /// [`ServeError::Twice`] when there is such an image.
    pub fn add(&mut self, name: &str, tag: &str, images: Vec<ImageBlobs>) -> Result<(), ServeError> {
        let repository = self.repositories.entry(name.to_owned()).or_default();
        if repository.tags.contains_key(tag) {
            return Err(ServeError::Twice(format!("{name}:{tag}")));
        }
        let mut listed: Vec<Descriptor> = Vec::new();
        for image in images {
            let descriptor = image.descriptor();
            if listed.iter().all(|other| other.digest != descriptor.digest) {
                listed.push(descriptor);
            }
            repository.add(image);
        }
        let digest = match listed.as_slice() {
            [only] => only.digest,
            _ => {
                let bytes = json::to_vec(&Index::new(listed));
                repository.manifest(media_type::INDEX, bytes)
            }
        };
        repository.tags.insert(tag.to_owned(), digest);
        Ok(())
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
    fn add(&mut self, image: ImageBlobs) {
        self.manifest(&image.media_type, image.manifest);
        let config = Digest::of(&image.config);
        self.blobs.insert(config, Blob::Bytes(image.config.into()));
        for layer in image.layers {
            self.blobs.insert(layer.descriptor.digest, Blob::Layer(Box::new(layer)));
        }
    }

    fn manifest(&mut self, media_type: &str, bytes: Vec<u8>) -> Digest {
        let digest = Digest::of(&bytes);
        self.manifests.insert(digest, Manifest { media_type: media_type.to_owned(), bytes: bytes.into() });
        digest
    }

    /// The manifest of a tag or a digest, and its digest.
    pub fn find(&self, version: &str) -> Option<(Digest, &Manifest)> {
        let digest = match version.parse() {
            Ok(digest) => digest,
            Err(_) => *self.tags.get(version)?,
        };
        Some((digest, self.manifests.get(&digest)?))
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
        let refers = |(digest, manifest): (&Digest, &Manifest)| {
            let referrer: Referrer = serde_json::from_slice(&manifest.bytes).ok()?;
            referrer.subject.filter(|own| own.digest == *subject)?;
            let kind = referrer.artifact_type.or(referrer.config.map(|config| config.media_type));
            let own = Descriptor::new(&manifest.media_type, *digest, manifest.bytes.len() as u64);
            Some(Descriptor { artifact_type: kind, annotations: referrer.annotations, ..own })
        };
        let mut all: Vec<Descriptor> = self.manifests.iter().filter_map(refers).collect();
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
