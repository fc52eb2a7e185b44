//! Every blob hashed again, and everything an image says of its blobs compared
//! with what they are.
//!
//! Recipes: each layer made again from its paths. Archives and layouts: each
//! blob against its name, each descriptor's size, each layer's decompressed
//! bytes against the config's `diff_ids`. Registries: the same for each layer of
//! each image, as it arrives.

#[cfg(feature = "net")]
use std::collections::HashSet;
use std::fmt;

use rayon::prelude::*;

#[cfg(feature = "net")]
use crate::blobs::ImageBlobs;
use crate::{
    image::{Image, ImageError, Layer},
    oci::Digest,
    source::{Contents, Opened, SourceError},
};

/// What was checked, and what is wrong.
#[derive(Debug, Default)]
pub struct Report {
    /// Blobs hashed.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// One line each; none when all is well.
    pub problems: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} blobs, {} bytes, {} problems", self.blobs, self.bytes, self.problems.len())
    }
}

/// Checks an image of any kind, opened with `hash`.
///
/// # Errors
///
/// When it cannot be read; what it says that is not true is in the report.
pub fn verify(opened: &Opened) -> Result<Report, SourceError> {
    match opened {
        Opened::Recipe(image) => Ok(recipe(image)?),
        Opened::Contents(contents, _) => check_contents(contents),
        #[cfg(feature = "net")]
        Opened::Remote(remote) => check_images(&remote.all_blobs()?),
    }
}

fn recipe(image: &Image) -> Result<Report, ImageError> {
    let checked = |(at, layer): (usize, &Layer)| layer.write(at + 1, image.closure.as_deref(), &mut std::io::sink());
    let results: Vec<_> = image.layers.par_iter().enumerate().map(checked).collect();
    let mut report = Report {
        blobs: image.layers.len(),
        bytes: image.layers.iter().map(|layer| layer.size).sum(),
        problems: Vec::new(),
    };
    for result in results {
        match result {
            Ok(()) => {}
            Err(error @ (ImageError::Mismatch { .. } | ImageError::Layer { .. })) => {
                report.problems.push(chain(&error));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(report)
}

/// The error and its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Reads each layer of images whose documents were checked when they were read.
#[cfg(feature = "net")]
fn check_images(images: &[ImageBlobs]) -> Result<Report, SourceError> {
    let mut report = Report::default();
    let mut seen = HashSet::new();
    for image in images {
        for (at, layer) in image.layers.iter().enumerate() {
            if !seen.insert((layer.descriptor.digest, layer.diff_id)) {
                continue;
            }
            report.blobs += 1;
            report.bytes += layer.descriptor.size;
            if let Err(error) = layer.plain(|_| Ok(())) {
                report.problems.push(format!("layer {}: {}", at + 1, chain(&error)));
            }
        }
    }
    Ok(report)
}

fn check_contents(contents: &Contents) -> Result<Report, SourceError> {
    let images = contents.images()?;
    let mut report = Report::default();
    for (name, blob) in &contents.blobs {
        report.blobs += 1;
        report.bytes += blob.size;
        let named: Option<Digest> =
            name.strip_prefix("blobs/sha256/").and_then(|hex| format!("sha256:{hex}").parse().ok());
        let (Some(expected), Some((found, _))) = (named, blob.digests) else {
            continue;
        };
        if found != expected {
            let place = images.iter().find_map(|image| {
                let at = image.layers.iter().position(|layer| layer == name)?;
                Some(format!("layer {}", at + 1))
            });
            let place = place.unwrap_or_else(|| "a document".to_owned());
            report.problems.push(format!("{name} ({place}) is {found}, not what its name says"));
        }
    }
    for image in &images {
        if image.layers.len() != image.config.rootfs.diff_ids.len() {
            report.problems.push(format!(
                "{} lists {} diff_ids, but there are {} layers",
                image.config_name,
                image.config.rootfs.diff_ids.len(),
                image.layers.len()
            ));
        }
        for (at, (name, expected)) in image.layers.iter().zip(&image.config.rootfs.diff_ids).enumerate() {
            let number = at + 1;
            let Some(blob) = contents.blob(name) else {
                report.problems.push(format!("layer {number}: {name} is missing"));
                continue;
            };
            if let Some((_, diff_id)) = blob.digests
                && diff_id != *expected
            {
                report.problems.push(format!("layer {number}: {name} holds {diff_id}, but the config says {expected}"));
            }
            let said = image.manifest.as_ref().and_then(|manifest| manifest.layers.get(at));
            if let Some(descriptor) = said.filter(|descriptor| descriptor.size != blob.size) {
                report.problems.push(format!(
                    "layer {number}: {name} has {} bytes, but the manifest says {}",
                    blob.size, descriptor.size
                ));
            }
        }
    }
    Ok(report)
}
