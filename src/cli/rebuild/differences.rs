//! The differences between an image and its rebuild, from cheap to expensive comparisons.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use anyhow::{Context, Result};
use serde::Serialize;

use super::blobs::{self, BlobProblem};
use crate::{
    attest::BuildClaim,
    closure::StorePath,
    image::Image,
    oci::{Descriptor, Digest},
    report::{
        contents::{FileDifference, TreeContents},
        diff::{ConfigChange, PathDiff, config_changes, diff_paths, pair_paths},
    },
};

/// The files that are listed for one store path or layer.
const FILES: usize = 100;

/// The result of a rebuild.
#[derive(Debug)]
pub struct Rebuilt {
    pub image: Image,
    /// The NAR hashes of the store paths.
    pub hashes: BTreeMap<StorePath, Digest>,
    /// Outputs that were different when they were built again, and the other results.
    pub different: BTreeMap<StorePath, PathBuf>,
}

/// A difference.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Difference {
    /// The images have different store paths.
    Inputs(PathDiff),
    /// A key of the configuration.
    Config(ConfigChange),
    /// The NAR hash in the provenance is another one.
    #[serde(rename_all = "camelCase")]
    NarHash { path: StorePath, provenance: Digest, rebuilt: Digest },
    /// The contents of a store path.
    #[serde(rename_all = "camelCase")]
    StorePath {
        path: StorePath,
        /// Whether two builds on this machine differed.
        between_local_builds: bool,
        /// The layers that have it, counted from 1.
        layers: BTreeSet<usize>,
        /// The references that lead to it, from a path that the image names.
        references: Vec<StorePath>,
        files: Vec<FileDifference>,
        omitted: usize,
    },
    /// A layer.
    #[serde(rename_all = "camelCase")]
    Layer {
        number: usize,
        first: Option<Digest>,
        second: Option<Digest>,
        /// The files outside of the store paths that are listed as different.
        files: Vec<FileDifference>,
        omitted: usize,
    },
    /// The manifest, although configuration and layers are equal.
    Manifest { first: Digest, second: Digest },
    /// A blob does not have the contents of its layer, or its descriptor misleads engines.
    Blob { number: usize, why: String },
}

impl From<BlobProblem> for Difference {
    fn from(BlobProblem { number, why }: BlobProblem) -> Self {
        Self::Blob { number, why }
    }
}

/// Compares an image with its rebuild.
///
/// # Errors
///
/// If a layer of the rebuild, or the store, cannot be read.
pub fn find(image: &Image, claim: Option<&BuildClaim>, rebuilt: &Rebuilt) -> Result<Vec<Difference>> {
    let mut found = compare(image, &rebuilt.image)?;
    for (path, provenance) in claim.iter().flat_map(|claim| &claim.nar_hashes) {
        let own = StorePath::parse(path).ok().and_then(|path| rebuilt.hashes.get_key_value(&path));
        if let Some((path, hash)) = own.filter(|(_, hash)| *hash != provenance) {
            found.push(Difference::NarHash { path: path.clone(), provenance: *provenance, rebuilt: *hash });
        }
    }
    found.extend(of_builds(rebuilt)?);
    if found.is_empty() {
        let problems = blobs::verify(image, &rebuilt.image, None);
        found.extend(problems.into_iter().chain(blobs::verify_built(&rebuilt.image)).map(Difference::from));
    }
    if found.is_empty() {
        found.extend(manifest(image, &rebuilt.image)?);
    }
    Ok(found)
}

/// Compares the store paths, configurations and layers of two images.
///
/// # Errors
///
/// If a layer cannot be read.
pub fn compare(first: &Image, second: &Image) -> Result<Vec<Difference>> {
    let mut found = Vec::new();
    let known = diff_paths(first, second);
    let is_known = known.is_some();
    found.extend(known.and_then(inputs));
    found.extend(config_changes(first, second).into_iter().map(Difference::Config));
    let ids = |image: &Image| image.layers.iter().map(|layer| layer.diff_id).collect::<Vec<_>>();
    if ids(first) != ids(second) {
        found.extend(layers(first, second, is_known)?);
    }
    Ok(found)
}

fn inputs(paths: PathDiff) -> Option<Difference> {
    let is_empty = paths.added.is_empty() && paths.removed.is_empty() && paths.changed.is_empty();
    (!is_empty).then_some(Difference::Inputs(paths))
}

/// Compares the layers that differ: the store paths of both images, and then what else is in a layer. Without `is_known`, the
/// files show which store paths the images have.
fn layers(first: &Image, second: &Image, is_known: bool) -> Result<Vec<Difference>> {
    let ids = |image: &Image| image.layers.iter().map(|layer| layer.diff_id).collect::<BTreeSet<_>>();
    let (first_ids, second_ids) = (ids(first), ids(second));
    let only = |image: &Image, others: &BTreeSet<Digest>| -> Result<TreeContents> {
        let mut contents = TreeContents::default();
        for (at, layer) in image.layers.iter().enumerate().filter(|(_, layer)| !others.contains(&layer.diff_id)) {
            contents.add_layer(at + 1, layer).with_context(|| format!("reading layer {}", at + 1))?;
        }
        Ok(contents)
    };
    let (one, two) = (only(first, &second_ids)?, only(second, &first_ids)?);
    let mut found = Vec::new();
    let (one_paths, two_paths) = (one.store_paths(), two.store_paths());
    if !is_known {
        found.extend(inputs(pair_paths(&one_paths, &two_paths)));
    }
    let mut different = Vec::new();
    for path in one_paths.intersection(&two_paths).cloned() {
        let layers = one.layers(path.as_path());
        let (files, omitted) = shortened(one.compare_store_path(&two, path.as_path())?);
        if !files.is_empty() {
            different.push(format!("{path}/"));
            let references = chain(second, &path);
            found.push(Difference::StorePath { path, between_local_builds: false, layers, references, files, omitted });
        }
    }
    let is_listed = |file: &FileDifference| different.iter().any(|path| format!("{}/", file.file).starts_with(path));
    for at in 0..first.layers.len().max(second.layers.len()) {
        let (one, two) = (first.layers.get(at), second.layers.get(at));
        let (first_id, second_id) = (one.map(|layer| layer.diff_id), two.map(|layer| layer.diff_id));
        if first_id == second_id {
            continue;
        }
        let mut files = Vec::new();
        if let (Some(one), Some(two)) = (one, two) {
            let (mut before, mut after) = (TreeContents::default(), TreeContents::default());
            before.add_layer(at + 1, one).and_then(|()| after.add_layer(at + 1, two))?;
            files = before.compare(&after)?;
            files.retain(|file| !is_listed(file));
        }
        let (files, omitted) = shortened(files);
        found.push(Difference::Layer { number: at + 1, first: first_id, second: second_id, files, omitted });
    }
    Ok(found)
}

/// Compares two builds on this machine.
fn of_builds(rebuilt: &Rebuilt) -> Result<Vec<Difference>> {
    let mut found = Vec::new();
    for (path, other) in &rebuilt.different {
        let reading = || format!("comparing {path} with {}", other.display());
        let one = TreeContents::of_path(path.as_path(), path.as_path()).with_context(reading)?;
        let two = TreeContents::of_path(other, path.as_path()).with_context(reading)?;
        let (files, omitted) = shortened(one.compare_store_path(&two, path.as_path()).with_context(reading)?);
        let has = |paths: &Vec<PathBuf>| paths.iter().any(|listed| listed == path.as_path());
        let layers = rebuilt
            .image
            .store_paths()
            .iter()
            .enumerate()
            .filter(|(_, paths)| has(paths))
            .map(|(at, _)| at + 1)
            .collect();
        let references = chain(&rebuilt.image, path);
        found.push(Difference::StorePath {
            path: path.clone(),
            between_local_builds: true,
            layers,
            references,
            files,
            omitted,
        });
    }
    Ok(found)
}

/// Compares the manifests, in which only the compression of layers may differ.
fn manifest(image: &Image, rebuilt: &Image) -> Result<Option<Difference>> {
    let comparable = |of: &Image| {
        let layer = |layer: &crate::image::LayerBlob| {
            let digest = layer.diff_id;
            Descriptor { annotations: BTreeMap::new(), ..Descriptor::new("layer", digest, 0) }
        };
        of.manifest_with(of.layers.iter().map(layer).collect()).context("comparing the manifests")
    };
    let is_equal = image.config == rebuilt.config && comparable(image)? == comparable(rebuilt)?;
    Ok((!is_equal).then(|| Difference::Manifest { first: image.digest(), second: rebuilt.digest() }))
}

/// Returns the references that lead to a store path.
fn chain(image: &Image, path: &StorePath) -> Vec<StorePath> {
    let Some(closure) = &image.closure else { return Vec::new() };
    let chain = closure.position(path).map(|at| closure.chain_to(at)).unwrap_or_default();
    chain.into_iter().map(|at| closure.nodes()[at].path.clone()).collect()
}

fn shortened(mut files: Vec<FileDifference>) -> (Vec<FileDifference>, usize) {
    let omitted = files.len().saturating_sub(FILES);
    files.truncate(FILES);
    (files, omitted)
}
