//! Hashes all blobs of an image again, and compares them with the digests and sizes in its documents.
//!
//! Layers of recipes are made again from their store paths, or their blob file is read. For other images, each document and
//! each blob is compared with its descriptor, the decompressed bytes of each layer with the `diff_ids` of the config, and the
//! table of contents of each zstd:chunked layer with both. Blobs without a descriptor are compared with their names.

use std::{
    collections::HashSet,
    fmt,
    io::{self, Read},
};

use super::{Chunked, FoundImages, Image, LayerBlob, LayerContents, ManifestGraph, OpenError, Opened};
use crate::{
    causes,
    image::Recipe,
    oci::{Digest, descriptor::media_type},
};
use rayon::prelude::*;

/// The number of checked blobs, and the problems that were found.
///
/// [Example](crate#image).
#[derive(Debug, Default)]
pub struct RehashReport {
    /// The number of blobs that were hashed.
    pub blobs: usize,
    /// The size of these blobs in bytes.
    pub bytes: u64,
    /// A message for each problem.
    pub problems: Vec<String>,
}

impl fmt::Display for RehashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, plural) = (self.problems.len(), if self.problems.len() == 1 { "" } else { "s" });
        write!(f, "{} blobs, {} bytes, {count} problem{plural}", self.blobs, self.bytes)
    }
}

/// Checks an image of any kind.
///
/// [Example](crate#image).
///
/// # Errors
///
/// If the image cannot be read. Blobs that do not match are problems of the report and not errors.
pub fn rehash(opened: &Opened) -> Result<RehashReport, OpenError> {
    let mut report = RehashReport::default();
    match opened {
        Opened::Recipe(image) => recipe(image, &mut report),
        Opened::Index(index) => index.images.iter().for_each(|image| recipe(image, &mut report)),
        Opened::Found(found) => graph(found, &mut report)?,
    }
    Ok(report)
}

fn recipe(image: &Recipe, report: &mut RehashReport) {
    let blobs = Image::from_recipe(image);
    for (at, layer) in image.layers.iter().enumerate() {
        let is_plain = layer.media_type == media_type::LAYER_TAR;
        if is_plain && layer.diff_id != layer.digest {
            let (number, digest, diff_id) = (at + 1, layer.digest, layer.diff_id);
            report.problems.push(format!(
                "layer {number}: its blob is {digest}, an uncompressed tar, but its diff_id is {diff_id}"
            ));
        }
    }
    let layers: Vec<LayerClaim> = claims(&blobs).collect();
    check(&layers, report, &|claim| format!("layer {}: ", claim.number));
}

/// A layer and the digests to check.
struct LayerClaim<'a> {
    number: usize,
    layer: &'a LayerBlob,
    /// Whether the diff_id is checked, by decompressing the layer.
    is_tar: bool,
}

/// Returns the layers to check. For a layer made from store paths, the uncompressed tar is the blob, so one digest suffices.
fn claims(image: &Image) -> impl Iterator<Item = LayerClaim<'_>> {
    let is_image = media_type::is_config(&image.config_media_type);
    // The diff_id of a layer that is encrypted, or compressed with an unsupported algorithm, cannot be checked.
    let is_known = |kind: &str| kind.contains("tar") && ["tar", "gzip", "zstd"].iter().any(|end| kind.ends_with(end));
    let is_tar = move |layer: &LayerBlob| is_image && layer.paths.is_empty() && is_known(&layer.descriptor.media_type);
    let layers = image.layers.iter().enumerate().filter(|(_, layer)| !layer.elsewhere);
    layers.map(move |(at, layer)| LayerClaim { number: at + 1, layer, is_tar: is_tar(layer) })
}

fn check(claims: &[LayerClaim<'_>], report: &mut RehashReport, name: &(dyn Fn(&LayerClaim<'_>) -> String + Sync)) {
    let checked = |claim: &LayerClaim<'_>| {
        let result = match claim.is_tar {
            true => claim.layer.plain(check_entries),
            false => claim.layer.write(&mut io::sink()),
        };
        let problem = match result.and_then(|()| Chunked::verify_toc(claim.layer)) {
            Ok(true) => return None,
            Ok(false) => "its table of contents cannot be compared with the entries of its tar".to_owned(),
            Err(error) => causes::joined(&error),
        };
        Some(format!("{}{problem}", name(claim)))
    };
    let problems: Vec<Option<String>> = claims.par_iter().map(checked).collect();
    report.blobs += claims.len();
    report.bytes += claims.iter().map(|claim| claim.layer.descriptor.size).sum::<u64>();
    report.problems.extend(problems.into_iter().flatten());
}

/// Reads a layer to its end.
///
/// # Errors
///
/// If engines refuse an entry of the layer, or lose a file because of it.
fn check_entries(tar: &mut dyn Read) -> io::Result<()> {
    LayerContents::read(tar)?.problem.map_or(Ok(()), |problem| Err(io::Error::other(problem)))
}

fn graph(found: &FoundImages, report: &mut RehashReport) -> Result<(), OpenError> {
    let mut seen = HashSet::new();
    for content in found.contents() {
        match content {
            Ok(content) => documents(&content, &mut seen, report),
            Err(error) => report.problems.push(causes::joined(&error)),
        }
    }
    unlisted(found, &mut seen, report)
}

/// Checks the layers of a document. The document itself was checked when it was read.
fn documents(content: &ManifestGraph, seen: &mut HashSet<Digest>, report: &mut RehashReport) {
    if !seen.insert(content.digest()) {
        return;
    }
    report.blobs += 1;
    report.bytes += content.descriptor().size;
    match content {
        ManifestGraph::Index(index) => index.children.iter().for_each(|child| documents(child, seen, report)),
        ManifestGraph::Image(image) => {
            if seen.insert(image.config_descriptor().digest) {
                report.blobs += 1;
                report.bytes += image.config.len() as u64;
            }
            // Two images may give different diff_ids for a common blob, so it is read again for each image.
            let layers: Vec<LayerClaim> = claims(image).collect();
            seen.extend(layers.iter().map(|claim| claim.layer.descriptor.digest));
            check(&layers, report, &|claim| {
                format!("{} (layer {}): ", claim.layer.descriptor.digest.blob_name(), claim.number)
            });
        }
    }
}

/// Checks the blobs to which no document refers.
fn unlisted(found: &FoundImages, seen: &mut HashSet<Digest>, report: &mut RehashReport) -> Result<(), OpenError> {
    let store = found.store();
    let listing = |source| OpenError::Blob { name: "the list of blobs".to_owned(), source };
    for digest in store.list().map_err(listing)?.into_iter().filter(|digest| seen.insert(*digest)) {
        let name = store.name(&digest);
        let mut hasher = digest.hasher();
        let mut read = || -> io::Result<u64> {
            let mut reader = store.open(&digest)?.ok_or(io::ErrorKind::NotFound)?;
            let (mut chunk, mut size) = (vec![0; 128 * 1024], 0);
            loop {
                match io::Read::read(&mut reader, &mut chunk)? {
                    0 => return Ok(size),
                    read => {
                        hasher.update(&chunk[..read]);
                        size += read as u64;
                    }
                }
            }
        };
        report.blobs += 1;
        match read() {
            Ok(size) => report.bytes += size,
            Err(source) => {
                report.problems.push(causes::joined(&OpenError::Blob { name, source }));
                continue;
            }
        }
        let hashed = hasher.finish();
        if hashed != digest {
            report.problems.push(format!("{name} has the digest {hashed}"));
        }
    }
    Ok(())
}
