//! Lock files, which pin a base image in a registry by its digests. They are small enough to be committed.
//!
//! ```json
//! { "version": 1, "reference": "docker.io/library/alpine:3.20", "digest": "sha256:…",
//!   "images": [ { "manifest": "{\"schemaVersion\":2,…}", "config": "{…}" } ] }
//! ```
//!
//! Manifests and configs are stored unchanged as strings, so that their digests can be checked without a network. `digest` is
//! the digest of the manifest that the reference named, or of the index if the image has several platforms.

use serde::{Deserialize, Serialize};

use super::{OpenError, recipe::RecipeLayer};
use crate::{
    image::Recipe,
    oci::{Digest, ImageConfig, Manifest, Platform},
};

const VERSION: u32 = 1;

/// A lock file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    version: u32,
    /// The locked reference, `host/repository:tag`.
    pub reference: String,
    /// The digest of the manifest or index that the reference named.
    pub digest: Digest,
    /// The images, one for each platform.
    pub images: Vec<LockedImage>,
}

/// An image in a lock file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockedImage {
    manifest: String,
    config: String,
}

impl Lock {
    /// Locks the images of `reference`, which names `digest`.
    ///
    /// # Errors
    ///
    /// If one of them cannot be a base image.
    pub fn new<'a>(
        reference: String,
        digest: Digest,
        images: impl IntoIterator<Item = &'a super::Image>,
    ) -> Result<Self, OpenError> {
        let text =
            |bytes: &[u8]| String::from_utf8(bytes.to_owned()).map_err(|error| document(&reference, error.to_string()));
        let images = images.into_iter().map(|image| {
            let locked = LockedImage { manifest: text(&image.manifest)?, config: text(&image.config)? };
            locked.parse(&reference).map(|_| locked)
        });
        let images = images.collect::<Result<_, _>>()?;
        Ok(Self { version: VERSION, reference, digest, images })
    }

    /// Parses a lock file.
    ///
    /// # Errors
    ///
    /// If it is malformed, or has an unsupported version.
    pub fn parse(text: &[u8]) -> Result<Self, OpenError> {
        let lock: Self = serde_json::from_slice(text).map_err(|error| document("the lock file", error.to_string()))?;
        if lock.version != VERSION {
            let why = format!("it has version {}, but this strata reads version {VERSION}", lock.version);
            return Err(document("the lock file", why));
        }
        Ok(lock)
    }

    /// Returns the platforms of the images.
    pub fn platforms(&self) -> Vec<Platform> {
        self.images.iter().filter_map(|image| Some(image.parse(&self.reference).ok()?.1.platform())).collect()
    }

    /// Returns the recipe of the image for `platform`, whose layers are only in the registry.
    ///
    /// # Errors
    ///
    /// If no image matches, or the lock file is inconsistent.
    pub fn image(&self, platform: &Platform) -> Result<Recipe, OpenError> {
        for image in &self.images {
            let (manifest, config) = image.parse(&self.reference)?;
            if !platform.is_met_by(&config.platform()) {
                continue;
            }
            let repository = repository(&self.reference);
            let layer = |(descriptor, diff_id): (&crate::oci::Descriptor, &Digest)| RecipeLayer {
                origin: Some(repository.to_owned()),
                ..RecipeLayer::from_blob(descriptor, *diff_id, None)
            };
            let layers = manifest.layers.iter().zip(&config.rootfs.diff_ids).map(layer).collect();
            return Ok(Recipe::from_config(config, layers));
        }
        let all: Vec<String> = self.platforms().iter().map(Platform::to_string).collect();
        Err(document(&self.reference, format!("no image matches {platform}; the lock file has {}", all.join(", "))))
    }
}

impl LockedImage {
    fn parse(&self, reference: &str) -> Result<(Manifest, ImageConfig), OpenError> {
        let manifest: Manifest =
            serde_json::from_str(&self.manifest).map_err(|error| document(reference, error.to_string()))?;
        if !manifest.config.digest.matches(self.config.as_bytes()) {
            return Err(document(reference, format!("its config is not {}", manifest.config.digest)));
        }
        let config: ImageConfig =
            serde_json::from_str(&self.config).map_err(|error| document(reference, error.to_string()))?;
        if config.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(document(reference, "its config and its manifest have different numbers of layers".to_owned()));
        }
        Ok((manifest, config))
    }
}

/// Returns the reference without its tag and digest.
fn repository(reference: &str) -> &str {
    let without_digest = reference.split('@').next().unwrap_or_default();
    match without_digest.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => without_digest,
    }
}

fn document(document: &str, why: String) -> OpenError {
    OpenError::Document { document: document.to_owned(), why }
}
