//! Which files of a recipe's image can be mounted from the store, and an image of the rest.
//!
//! ```text
//! layer of the recipe                      layer of the small image
//! a blob (base image, script)              the same
//! store paths, unmodified                  their mount points: empty directories and files
//! store paths with rewrites or owners      the same
//! both                                     the modified ones, and mount points of the others
//! ```
//!
//! Layers stay in their order, so that a directory above a mount point (`/nix`, `/nix/store`) has the owner and mode that
//! it has in the image. A store path is not mounted if another layer changes something at its place.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};

use crate::{
    closure::{StoreDir, StorePath},
    files::Scratch,
    image::{
        Image, LayerBlob, Recipe,
        recipe::{LayerPath, RecipeLayer},
    },
    layer::{self, ChunkReader, Files, PathOptions, Source, Tree, overlay, untar::TarReader, whiteout},
    oci::{Descriptor, Digest, History, ImageConfig, Manifest, descriptor::media_type, json},
};

/// An image in two parts.
#[derive(Debug)]
pub struct Split {
    /// What is mounted, at the place that it has on this machine.
    pub mounts: Vec<StorePath>,
    /// Everything else.
    pub image: Image,
}

impl Split {
    /// Mounts nothing.
    pub fn whole(image: Image) -> Self {
        Self { mounts: Vec::new(), image }
    }

    /// Mounts every store path of the recipe that this machine has unmodified.
    ///
    /// # Errors
    ///
    /// If a layer cannot be read.
    pub fn from_recipe(recipe: &Recipe) -> Result<Self> {
        let image = Image::of(recipe);
        let mounts = mountable(recipe, &image)?;
        if mounts.is_empty() {
            return Ok(Self::whole(image));
        }
        let points = Arc::new(MountPoints::create()?);
        let mut layers: Vec<(LayerBlob, Option<usize>)> = Vec::new();
        let mut pending: Vec<Source> = Vec::new();
        for (at, layer) in recipe.layers.iter().enumerate() {
            let (mounted, rest): (Vec<&LayerPath>, Vec<&LayerPath>) =
                layer.paths.iter().partition(|path| mounts.contains(&path.path));
            let sources = mounted.iter().map(|path| points.source(&path.path)).collect::<Result<Vec<_>>>()?;
            pending.extend(sources);
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
        let image = with_layers(&image, layers)?;
        let store = StoreDir::default();
        let mounts = mounts.iter().filter_map(|path| store.parse(path.to_str()?).ok()).collect();
        Ok(Self { mounts, image })
    }
}

/// The store paths that can be mounted.
fn mountable(recipe: &Recipe, image: &Image) -> Result<BTreeSet<PathBuf>> {
    let store = StoreDir::default();
    let in_store = |path: &LayerPath| path.path.to_str().is_some_and(|path| store.parse(path).is_ok());
    let mut found: BTreeSet<PathBuf> = BTreeSet::new();
    let mut lowest = recipe.layers.len();
    let mut excluded: HashSet<&Path> = HashSet::new();
    for (at, layer) in recipe.layers.iter().enumerate() {
        // Files that are not in the store could be any files of the user: their layer is sent only if its digest is right.
        let is_splittable = is_made(layer) && layer.paths.iter().all(|path| in_store(path) && is_present(&path.path));
        for path in &layer.paths {
            if is_splittable && is_unmodified(path) && is_directory_or_file(&path.path) {
                found.insert(path.path.clone());
                lowest = lowest.min(at);
            } else {
                excluded.insert(&path.path);
            }
        }
    }
    found.retain(|path| !excluded.contains(path.as_path()));
    for (at, layer) in recipe.layers.iter().enumerate() {
        let changed = match is_made(layer) {
            true => changed_by_paths(layer, &found)?,
            // Layers below are those of a base image: the store paths they have are the same.
            false if at < lowest => continue,
            false => changed_by_blob(&image.layers[at], &found)
                .with_context(|| format!("reading layer {} of the image", at + 1))?,
        };
        found.retain(|path| !changed.contains(path));
    }
    Ok(found)
}

fn is_made(layer: &RecipeLayer) -> bool {
    layer.blob.is_none() && !layer.is_by_reference()
}

fn is_unmodified(path: &LayerPath) -> bool {
    path.options.as_ref().is_none_or(|options| *options == PathOptions::default())
}

fn is_present(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Whether it can be mounted: the mount of a symlink is one of its target.
fn is_directory_or_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir() || metadata.is_file())
}

/// The store paths in `mounts` at whose place a made layer puts something else.
fn changed_by_paths(layer: &RecipeLayer, mounts: &BTreeSet<PathBuf>) -> Result<Vec<PathBuf>> {
    let rest = layer.paths.iter().filter(|path| !mounts.contains(&path.path) && is_present(&path.path));
    // What keeps its place is at no other.
    let sources: Vec<Source> = rest.filter(|path| !path.is_in_place()).map(LayerPath::source).collect();
    if sources.is_empty() {
        return Ok(Vec::new());
    }
    let tree = Tree::new(&sources)?;
    Ok(mounts.iter().filter(|path| tree.has(path)).cloned().collect())
}

/// The store paths in `mounts` at whose place a blob puts something, or deletes something.
fn changed_by_blob(blob: &LayerBlob, mounts: &BTreeSet<PathBuf>) -> Result<Vec<PathBuf>> {
    let names = blob.plain(|tar| {
        let mut names = BTreeSet::new();
        let mut reader = TarReader::new(tar);
        while let Some(entry) = reader.next_entry()? {
            let name = overlay::clean(&entry.name)?;
            if name.starts_with(b"nix") {
                names.insert(name);
            }
        }
        Ok(names)
    })?;
    Ok(mounts.iter().filter(|path| names.iter().any(|name| is_changed_by(path, name))).cloned().collect())
}

/// Whether the entry `name` changes something at or below `path`.
fn is_changed_by(path: &Path, name: &[u8]) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let path = path.as_os_str().as_bytes().strip_prefix(b"/").unwrap_or_default();
    let (directory, last) = match name.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&name[..slash], &name[slash + 1..]),
        None => (&name[..0], name),
    };
    // Everything is below the root, whose path is empty.
    let is_below = |path: &[u8], top: &[u8]| {
        path.strip_prefix(top).is_some_and(|rest| top.is_empty() || rest.is_empty() || rest[0] == b'/')
    };
    match whiteout::Marker::parse(last) {
        Some(whiteout::Marker::Opaque) => is_below(path, directory) || is_below(directory, path),
        Some(whiteout::Marker::Whiteout(gone)) => {
            let separator: &[u8] = if directory.is_empty() { b"" } else { b"/" };
            let gone = [directory, separator, gone].concat();
            is_below(path, &gone) || is_below(directory, path)
        }
        // Directories above, which other layers have too.
        None => is_below(name, path),
    }
}

/// An empty directory and an empty file, which stand for those of store paths.
#[derive(Debug)]
struct MountPoints {
    top: Scratch,
}

impl MountPoints {
    fn create() -> Result<Self> {
        let top = Scratch::create().context("creating a temporary directory")?;
        let fail = || format!("writing below {}", top.path().display());
        fs::create_dir(top.path().join("directory")).with_context(fail)?;
        File::create(top.path().join("file")).with_context(fail)?;
        Ok(Self { top })
    }

    fn source(&self, path: &Path) -> Result<Source> {
        let metadata = path.symlink_metadata().with_context(|| format!("reading {}", path.display()))?;
        let files = Files::At(self.top.path().join(if metadata.is_dir() { "directory" } else { "file" }));
        Ok(Source { path: path.to_owned(), files, options: PathOptions::default(), follow: false })
    }
}

/// The layer of these sources, if there are any.
fn made_layer(sources: &mut Vec<Source>, mtime: u64, points: &Arc<MountPoints>) -> Result<Option<LayerBlob>> {
    if sources.is_empty() {
        return Ok(None);
    }
    // A path that two layers have is one mount point.
    let mut once: BTreeMap<PathBuf, Source> = BTreeMap::new();
    let (points_only, rest): (Vec<_>, Vec<_>) =
        std::mem::take(sources).into_iter().partition(|source| matches!(source.files, Files::At(_)));
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

/// The same image with other layers; each of them with its place in `image`, if it is one of that.
fn with_layers(image: &Image, layers: Vec<(LayerBlob, Option<usize>)>) -> Result<Image> {
    let config: ImageConfig = image.parse_config().context("reading the image's config")?;
    let steps = image.layer_history();
    let history = layers.iter().map(|(_, place)| match place.and_then(|at| steps.get(at)) {
        Some(step) => step.clone(),
        None => History {
            created: config.created,
            created_by: "strata run".to_owned(),
            comment: "mount points of store paths".to_owned(),
            ..History::default()
        },
    });
    let diff_ids: Vec<Digest> = layers.iter().map(|(layer, _)| layer.diff_id).collect();
    let mut rootfs = config.rootfs.clone();
    rootfs.diff_ids = diff_ids;
    let config = json::to_vec(&ImageConfig { history: history.collect(), rootfs, ..config });
    let descriptors = layers.iter().map(|(layer, _)| layer.descriptor.clone()).collect();
    let layers = layers.into_iter().map(|(layer, _)| layer).collect();
    let split = Image { config, layers, closure: None, ..image.clone() };
    let manifest = json::to_vec(&Manifest::new(split.config_descriptor(), descriptors));
    Ok(Image { manifest, ..split })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_changes_the_store_paths_at_and_below_it() {
        let path = Path::new("/nix/store/aaa-x");
        for (name, changes) in [
            ("nix", false),
            ("nix/store", false),
            ("nix/store/aaa-x", true),
            ("nix/store/aaa-x/bin/x", true),
            ("nix/store/aaa-x2", false),
            ("nix/store/aaa", false),
            ("nix/store/.wh.aaa-x", true),
            ("nix/store/.wh.aaa-y", false),
            ("nix/store/aaa-x/.wh.bin", true),
            ("nix/.wh.store", true),
            (".wh.nix", true),
            ("nix/store/.wh..wh..opq", true),
            ("nix/store/aaa-x/bin/.wh..wh..opq", true),
            ("nix/store/aaa-y/.wh..wh..opq", false),
            (".wh..wh..opq", true),
            ("etc/.wh.x", false),
        ] {
            assert_eq!(is_changed_by(path, name.as_bytes()), changes, "{name}");
        }
    }
}
