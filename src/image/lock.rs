//! Lock files: a base image by reference, pinned by its digests, small enough for a repository.
//!
//! ```json
//! { "version": 1, "reference": "docker.io/library/alpine:3.20", "digest": "sha256:…",
//!   "images": [ { "manifest": "{\"schemaVersion\":2,…}", "config": "{…}" } ] }
//! ```
//!
//! Manifests and configs are text, byte for byte, so that their digests can be checked without a network. `digest` is that
//! of what the reference named, an index where there are several platforms.

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
    /// `host/repository:tag`, what was locked.
    pub reference: String,
    /// What that named.
    pub digest: Digest,
    /// Its images, one a platform.
    pub images: Vec<LockedImage>,
}

/// One image of a lock file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockedImage {
    manifest: String,
    config: String,
}

impl Lock {
    /// Locks these images, whose reference names `digest`.
    ///
    /// # Errors
    ///
    /// When one of them is no image that can be built on.
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

    /// Reads the text of a lock file.
    ///
    /// # Errors
    ///
    /// When it is malformed, or of another version.
    pub fn parse(text: &[u8]) -> Result<Self, OpenError> {
        let lock: Self = serde_json::from_slice(text).map_err(|error| document("the lock file", error.to_string()))?;
        if lock.version != VERSION {
            let why = format!("it has version {}, but this strata reads version {VERSION}", lock.version);
            return Err(document("the lock file", why));
        }
        Ok(lock)
    }

    /// The platforms there are.
    pub fn platforms(&self) -> Vec<Platform> {
        self.images.iter().filter_map(|image| Some(image.parse(&self.reference).ok()?.1.platform())).collect()
    }

    /// The recipe of the image for `platform`: its layers are in the registry, and nowhere else.
    ///
    /// # Errors
    ///
    /// When no image matches, or the lock file is inconsistent.
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
        if !manifest.config.digest.is_of(self.config.as_bytes()) {
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

/// The reference without its tag or digest.
fn repository(reference: &str) -> &str {
    let plain = reference.split('@').next().unwrap_or_default();
    match plain.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => plain,
    }
}

fn document(document: &str, why: String) -> OpenError {
    OpenError::Document { document: document.to_owned(), why }
}
