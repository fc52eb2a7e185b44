//! Splits the image of a recipe into store paths that can be mounted, and an image of the rest.
//!
//! ```text
//! layer of the recipe                      layer of the small image
//! a blob (base image, script)              the same
//! store paths, unmodified                  their mount points: empty directories and files
//! store paths with rewrites or owners      the same
//! both                                     the modified paths, and mount points of the others
//! ```
//!
//! The order of layers is kept, so that a directory above a mount point (`/nix`, `/nix/store`) has the owner and mode
//! of the image. A store path is not mounted if another layer changes a file in it.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};

use crate::{
    closure::StorePath,
    image::{Image, LayerBlob, MountPoints, Recipe, local_store, mountable, recipe::LayerPath},
    layer::{self, ChunkReader, Source, SourceFiles, Tree},
    oci::{Descriptor, descriptor::media_type},
};

#[derive(Debug)]
pub struct Split {
    /// Store paths to mount at their original location.
    pub mounts: Vec<StorePath>,
    /// The image of the rest.
    pub image: Image,
}

impl Split {
    /// Returns a split without mounts.
    pub fn whole(image: Image) -> Self {
        Self { mounts: Vec::new(), image }
    }

    /// Returns a split that mounts every unmodified store path of the recipe that this machine has.
    ///
    /// # Errors
    ///
    /// If a layer cannot be read.
    pub fn from_recipe(recipe: &Recipe) -> Result<Self> {
        let image = Image::from_recipe(recipe);
        let mounts = mountable(recipe, &image)?;
        if mounts.is_empty() {
            return Ok(Self::whole(image));
        }
        let points = Arc::new(MountPoints::create().context("making mount points in a temporary directory")?);
        let mut layers: Vec<(LayerBlob, Option<usize>)> = Vec::new();
        let mut pending: Vec<Source> = Vec::new();
        for (at, layer) in recipe.layers.iter().enumerate() {
            let (mounted, rest): (Vec<&LayerPath>, Vec<&LayerPath>) =
                layer.paths.iter().partition(|path| mounts.contains(&path.path));
            for path in &mounted {
                pending.push(mount_point(&points, &path.path)?);
            }
            if rest.is_empty() && !mounted.is_empty() {
                continue;
            }
            if !mounted.is_empty() {
                pending.extend(rest.into_iter().map(LayerPath::source));
            }
            let mtime = layer.mtime.unwrap_or(layer::MTIME);
            layers.extend(made_layer(&mut pending, mtime, &points)?.map(|layer| (layer, None)));
            if mounted.is_empty() {
                layers.push((image.layers[at].clone(), Some(at)));
            }
        }
        layers.extend(made_layer(&mut pending, layer::MTIME, &points)?.map(|layer| (layer, None)));
        let image = image.with_mount_layers(layers, "strata run").context("reading the image's config")?;
        let store = local_store();
        let mounts = mounts.iter().filter_map(|path| store.parse(path.to_str()?).ok()).collect();
        Ok(Self { mounts, image })
    }
}

fn mount_point(points: &MountPoints, path: &Path) -> Result<Source> {
    let metadata = path.symlink_metadata().with_context(|| format!("reading {}", path.display()))?;
    Ok(points.source(path, metadata.is_dir()))
}

/// Returns the layer of these sources, if there are any.
fn made_layer(sources: &mut Vec<Source>, mtime: u64, points: &Arc<MountPoints>) -> Result<Option<LayerBlob>> {
    if sources.is_empty() {
        return Ok(None);
    }
    // A path in two layers has only one mount point.
    let mut once: BTreeMap<PathBuf, Source> = BTreeMap::new();
    let (points_only, rest): (Vec<_>, Vec<_>) =
        std::mem::take(sources).into_iter().partition(|source| matches!(source.files, SourceFiles::At(_)));
    once.extend(points_only.into_iter().map(|source| (source.path.clone(), source)));
    let sources: Vec<Source> = once.into_values().chain(rest).collect();
    let tree = Arc::new(Tree::new(&sources)?.with_mtime(mtime));
    let (_, hashed) = layer::write_hashed(&tree, io::sink())?;
    let points = Arc::clone(points);
    let open = move || {
        let (tree, points) = (Arc::clone(&tree), Arc::clone(&points));
        let write = move |out: &mut dyn io::Write| {
            let written = layer::write(&tree, out).map(drop).map_err(io::Error::other);
            drop(points);
            written
        };
        Ok(Box::new(ChunkReader::new(write)) as Box<dyn io::Read + Send>)
    };
    let descriptor = Descriptor::new(media_type::LAYER_TAR, hashed.digest, hashed.size);
    Ok(Some(LayerBlob::new(descriptor, hashed.digest, open)))
}
