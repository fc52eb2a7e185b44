//! Converts existing images to recipes of base images: the counterpart of nix2container's `NewImageFromDir` and
//! `NewImageFromManifest`.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::{dir, recognise};
use crate::{
    files::NewFile,
    image::{Choice, Image, OpenError, Opened, PlatformChoice, Recipe, recipe::RecipeLayer},
    oci::{Digest, ImageConfig, Manifest, Platform},
};

impl Recipe {
    /// Returns a recipe for a directory that skopeo or `strata pull` wrote to `dir:directory`. Its layers are the files
    /// in the directory.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let image = strata::Recipe::from_dir("/nix/store/…-docker-image-alpine")?;
    /// assert_eq!(image.layers.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the directory does not have exactly one image, or its documents contradict each other.
    pub fn from_dir(directory: impl AsRef<Path>) -> Result<Self, OpenError> {
        let found = dir::read::open(directory.as_ref())?;
        recipe(&found.image(&PlatformChoice::Prefer(Platform::here()))?, &mut |layer| no_file(&layer.descriptor.digest))
    }

    /// Returns a recipe for the image of a manifest. `blobs` are the files of its config and layers.
    ///
    /// # Errors
    ///
    /// If the manifest cannot be read, or a blob has no file.
    pub fn from_manifest(manifest: impl AsRef<Path>, blobs: &BTreeMap<Digest, PathBuf>) -> Result<Self, OpenError> {
        let path = manifest.as_ref();
        let read = |path: &Path| {
            fs::read(path).map_err(|source| OpenError::Io { act: "reading".to_owned(), path: path.to_owned(), source })
        };
        let parse_error = |path: &Path, error: serde_json::Error| OpenError::Document {
            document: path.display().to_string(),
            why: error.to_string(),
        };
        let manifest: Manifest = serde_json::from_slice(&read(path)?).map_err(|error| parse_error(path, error))?;
        let file = |digest: &Digest| blobs.get(digest).cloned().map_or_else(|| no_file(digest), Ok);
        let config_file = file(&manifest.config.digest)?;
        let text = read(&config_file)?;
        let config: ImageConfig = serde_json::from_slice(&text).map_err(|error| parse_error(&config_file, error))?;
        if Digest::sha256(&text) != manifest.config.digest {
            let why = format!("its digest is {}, not {}", Digest::sha256(&text), manifest.config.digest);
            return Err(OpenError::Document { document: config_file.display().to_string(), why });
        }
        if config.rootfs.diff_ids.len() != manifest.layers.len() {
            let why = format!(
                "it lists {} diff_ids, but there are {} layers",
                config.rootfs.diff_ids.len(),
                manifest.layers.len()
            );
            return Err(OpenError::Document { document: config_file.display().to_string(), why });
        }
        let mut layers = Vec::new();
        for (descriptor, diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
            layers.push(RecipeLayer::from_blob(descriptor, *diff_id, Some(file(&descriptor.digest)?)));
        }
        Ok(Recipe::from_config(config, layers))
    }

    /// Returns a recipe for an image of any kind. Layers in archives are unpacked to `directory` and checked.
    ///
    /// # Errors
    ///
    /// Those of [`open`](recognise::open), and an error if a layer differs from its description in the image.
    pub fn from_any(path: &Path, choice: &Choice, directory: &Path) -> Result<Self, OpenError> {
        let Choice { name, tag, platform, any_platform } = choice;
        let check = |found: &Platform| match platform {
            Some(wanted) if !any_platform => check_platform(found, wanted),
            _ => Ok(()),
        };
        match recognise::open(path)? {
            Opened::Recipe(image) => check(&image.platform()).map(|()| *image),
            Opened::Index(index) => {
                let platform = platform.clone().unwrap_or_else(Platform::here);
                let recipe = index.for_platform(&platform).cloned();
                let why = || format!("no image matches {platform}");
                recipe.ok_or_else(|| OpenError::Choice { why: why(), all: index.platforms() })
            }
            Opened::Found(found) => {
                let platform = platform.clone().unwrap_or_else(Platform::here);
                let blobs = found.named(name.as_deref(), tag.as_deref())?.image(&PlatformChoice::Prefer(platform))?;
                check(&blobs.platform)?;
                recipe(&blobs, &mut |layer| {
                    let place = directory.join(layer.descriptor.digest.hex());
                    let fail = |source| OpenError::Io { act: "writing".to_owned(), path: place.clone(), source };
                    if !place.exists() {
                        let mut file = NewFile::create(&place).map_err(fail)?;
                        layer.write(&mut file)?;
                        file.finish().map_err(fail)?;
                    }
                    Ok(place)
                })
            }
        }
    }
}

/// Refuses a base image of another operating system or architecture. BuildKit warns of these
/// (<https://docs.docker.com/reference/build-checks/invalid-base-image-platform/>). An image without a platform is
/// accepted.
fn check_platform(found: &Platform, wanted: &Platform) -> Result<(), OpenError> {
    let is_met = |found: &str, wanted: &str| found.is_empty() || found == wanted;
    if is_met(&found.os, &wanted.os) && is_met(&found.architecture, &wanted.architecture) {
        return Ok(());
    }
    Err(OpenError::Platform { found: Box::new(found.clone()), wanted: Box::new(wanted.clone()) })
}

/// Returns the recipe of an image. `place` returns the path for a layer that is not a file yet.
fn recipe(
    blobs: &Image,
    place: &mut dyn FnMut(&crate::image::LayerBlob) -> Result<PathBuf, OpenError>,
) -> Result<Recipe, OpenError> {
    let config = blobs
        .parse_config()
        .map_err(|error| OpenError::Document { document: "config".to_owned(), why: error.to_string() })?;
    let mut layers = Vec::with_capacity(blobs.layers.len());
    for blob in &blobs.layers {
        let file = match &blob.file {
            Some(file) => file.path().to_owned(),
            None => place(blob)?,
        };
        layers.push(RecipeLayer::from_blob(&blob.descriptor, blob.diff_id, Some(file)));
    }
    Ok(Recipe::from_config(config, layers))
}

fn no_file(digest: &Digest) -> Result<PathBuf, OpenError> {
    let source = io::Error::new(io::ErrorKind::NotFound, "no file is given for it");
    Err(OpenError::Io { act: "opening".to_owned(), path: digest.to_string().into(), source })
}
