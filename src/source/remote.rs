//! An image of a registry: its documents read, its layers on demand.

use std::sync::Arc;

use super::{
    Choice, Opened, SourceError,
    location::{Access, Scheme, Source},
};
use crate::{
    blobs::{ImageBlobs, LayerBlob},
    content::{Content, IndexBlobs},
    oci::{Descriptor, Digest, ImageConfig, Index, Manifest, Platform, media_type},
    registry::{Client, Document, Options, ParseReferenceError, Reference},
};

/// `docker://HOST/NAME[:TAG|@DIGEST]`
pub const SCHEME: Scheme = Scheme {
    name: "docker",
    syntax: "docker://HOST/NAME[:TAG|@DIGEST]",
    about: "registry",
    parse: |rest| {
        let reference = rest.strip_prefix("//").ok_or("write docker://HOST/NAME:TAG")?;
        let reference = reference.parse().map_err(|error: ParseReferenceError| error.to_string())?;
        Ok(Arc::new(Repository { reference }))
    },
};

/// A repository of a registry, and what of it is meant.
#[derive(Debug)]
struct Repository {
    reference: Reference,
}

impl Source for Repository {
    fn open(&self, access: &Access) -> Result<Opened, SourceError> {
        let options = Options { read_only: true, ..access.registry.clone() };
        let client = Client::new(&self.reference, &options).map_err(registry_error)?;
        Ok(Opened::Remote(Box::new(Remote::open(client, &self.reference)?)))
    }
}

/// What a reference of a registry leads to.
#[derive(Debug)]
pub struct Remote {
    /// The manifest or index itself.
    pub document: Document,
    /// The manifests of it: one, or those of an index.
    manifests: Vec<Descriptor>,
    client: Arc<Client>,
    reference: Reference,
}

impl Remote {
    /// Reads the manifest or index that `reference` names.
    ///
    /// # Errors
    ///
    /// When the registry cannot be asked, has none, or it is malformed.
    pub fn open(client: Client, reference: &Reference) -> Result<Self, SourceError> {
        let client = Arc::new(client);
        let document = manifest(&client, reference, &reference.version())?;
        let manifests = if is_index(&document) {
            let index: Index = parse(&document.bytes, &reference.to_string())?;
            index.manifests
        } else {
            let digest = Digest::of(&document.bytes);
            vec![Descriptor::new(&document.media_type, digest, document.bytes.len() as u64)]
        };
        Ok(Self { document, manifests, client, reference: reference.clone() })
    }

    /// The registry, host and port.
    pub fn host(&self) -> &str {
        &self.reference.host
    }

    /// Whether it is an index, of several images.
    pub fn is_index(&self) -> bool {
        is_index(&self.document)
    }

    /// The raw manifest of the image that is meant, and its digest.
    ///
    /// # Errors
    ///
    /// [`SourceError::Choice`] when none or several are.
    pub fn manifest(&self, choice: &Choice) -> Result<Document, SourceError> {
        if !self.is_index() {
            return Ok(self.document.clone());
        }
        let all = || {
            let shown =
                |descriptor: &Descriptor| descriptor.platform.as_ref().map_or_else(String::new, Platform::to_string);
            self.manifests.iter().map(shown).collect::<Vec<_>>().join(", ")
        };
        let meant = |descriptor: &&Descriptor| match (&choice.platform, &descriptor.platform) {
            (Some(wanted), Some(platform)) => wanted.is_met_by(platform),
            (wanted, _) => wanted.is_none(),
        };
        let mut found: Vec<&Descriptor> = self.manifests.iter().filter(meant).collect();
        // Of several variants, the one without is what everybody runs; else the first, as containerd sorts them.
        if let Some(plain) =
            found.iter().position(|found| found.platform.as_ref().is_some_and(|it| it.variant.is_none()))
        {
            found.swap(0, plain);
        }
        match found.first() {
            None => Err(SourceError::Choice { why: "none of its images is for the platform asked for", all: all() }),
            Some(descriptor) => manifest(&self.client, &self.reference, &descriptor.digest.to_string()),
        }
    }

    /// The blobs of the image that is meant.
    ///
    /// # Errors
    ///
    /// Those of [`manifest`](Self::manifest), and when its config cannot be read.
    pub fn blobs(&self, choice: &Choice) -> Result<ImageBlobs, SourceError> {
        self.blobs_of(self.manifest(choice)?)
    }

    /// The image, or the index with all it lists.
    ///
    /// # Errors
    ///
    /// When one of them cannot be read.
    pub fn content(&self) -> Result<Content, SourceError> {
        if !self.is_index() {
            return Ok(self.blobs_of(self.document.clone())?.into());
        }
        Ok(Content::Index(Box::new(IndexBlobs {
            reference: self.name(),
            media_type: self.document.media_type.clone(),
            bytes: self.document.bytes.clone(),
            children: self.all_blobs()?.into_iter().map(Content::from).collect(),
        })))
    }

    /// The blobs of every image.
    ///
    /// # Errors
    ///
    /// When one of them cannot be read.
    pub fn all_blobs(&self) -> Result<Vec<ImageBlobs>, SourceError> {
        let each = |descriptor: &Descriptor| {
            let mut blobs = self.blobs_of(manifest(&self.client, &self.reference, &descriptor.digest.to_string())?)?;
            if let Some(platform) = &descriptor.platform {
                blobs.platform = platform.clone();
            }
            Ok(blobs)
        };
        self.manifests.iter().map(each).collect()
    }

    fn blobs_of(&self, document: Document) -> Result<ImageBlobs, SourceError> {
        let fail = |why: String| SourceError::Document { document: self.reference.to_string(), why };
        let manifest: Manifest = parse(&document.bytes, &self.reference.to_string())?;
        let config = self.client.small_blob(&manifest.config.digest).map_err(registry_error)?;
        let config = config.ok_or_else(|| fail(format!("its config {} is missing", manifest.config.digest)))?;
        let is_image = matches!(manifest.config.media_type.as_str(), media_type::CONFIG | media_type::DOCKER_CONFIG);
        let parsed: ImageConfig =
            if is_image { parse(&config, &manifest.config.digest.to_string())? } else { ImageConfig::default() };
        let diff_ids = &parsed.rootfs.diff_ids;
        if is_image && diff_ids.len() != manifest.layers.len() {
            let why = format!("it lists {} diff_ids, but there are {} layers", diff_ids.len(), manifest.layers.len());
            return Err(fail(why));
        }
        let layer = |(at, descriptor): (usize, &Descriptor)| {
            let (client, digest) = (Arc::clone(&self.client), descriptor.digest);
            let diff_id = diff_ids.get(at).copied().unwrap_or(digest);
            LayerBlob::new(descriptor.clone(), diff_id, move || Ok(Box::new(client.blob(&digest))))
                .with_origin(self.client.host(), self.client.repository())
        };
        Ok(ImageBlobs {
            reference: self.name(),
            platform: parsed.platform(),
            media_type: manifest.media_type.clone().unwrap_or(document.media_type),
            manifest: document.bytes,
            config_media_type: manifest.config.media_type.clone(),
            config,
            layers: manifest.layers.iter().enumerate().map(layer).collect(),
            closure: None,
            as_is: true,
        })
    }

    /// `name:tag` as docker writes it, where there is a tag.
    fn name(&self) -> Option<String> {
        self.reference.tag.as_ref().map(|tag| {
            let Reference { host, repository, .. } = &self.reference;
            match (host.as_str(), repository.strip_prefix("library/")) {
                ("docker.io", Some(short)) => format!("{short}:{tag}"),
                ("docker.io", None) => format!("{repository}:{tag}"),
                _ => format!("{host}/{repository}:{tag}"),
            }
        })
    }
}

fn is_index(document: &Document) -> bool {
    match document.media_type.as_str() {
        media_type::INDEX | media_type::DOCKER_INDEX => true,
        media_type::MANIFEST | media_type::DOCKER_MANIFEST => false,
        // A registry that does not say: an index has manifests.
        _ => serde_json::from_slice::<Index>(&document.bytes).is_ok(),
    }
}

fn manifest(client: &Client, reference: &Reference, version: &str) -> Result<Document, SourceError> {
    let found = client.manifest(version).map_err(registry_error)?;
    found.ok_or_else(|| SourceError::Document {
        document: reference.to_string(),
        why: format!("the registry has no {version} of it; is the name right, and are you logged in?"),
    })
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8], document: &str) -> Result<T, SourceError> {
    serde_json::from_slice(bytes)
        .map_err(|error| SourceError::Document { document: document.to_owned(), why: error.to_string() })
}

fn registry_error(error: crate::registry::RegistryError) -> SourceError {
    SourceError::Registry(Box::new(error))
}
