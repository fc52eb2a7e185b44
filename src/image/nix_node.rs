//! Images for nodes with a Nix store (nix-snapshotter), which mount store paths instead of downloading them.
//!
//! ```text
//! layer of the recipe                      layer of the image
//! a blob (base image, script)              the same
//! store paths with rewrites or owners      the same
//! store paths, unmodified                  none
//! both                                     the modified paths; of the top layer, in the layer of mount points
//!                                          on top: mount points of the unmodified paths
//! ```
//!
//! The descriptor of the layer of mount points has the annotation `containerd.io/snapshot/nix-closure`. It names a store path with
//! a file `store-paths`, which lists one store path per line. nix-snapshotter 0.4.0 (`pkg/nix/snapshotter.go`) realises the
//! former when it unpacks the layer, and mounts the listed paths over their mount points when a container starts. A layer
//! above it would be unpacked onto these read-only mounts, so it is the top layer.
//!
//! containerd 2.3 and later look for `/etc/passwd` and `/etc/group` in the last mount alone (`internal/fsview/mount.go`,
//! `FSMounts`), and fail if it is a file: nix-snapshotter#183. The last line of `store-paths` is therefore a directory, and the
//! user in the config is `UID:GID`, which needs no file.

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    Image, LayerBlob, MountPoints, Recipe,
    error::{ImageError, Result},
    mountable::{is_made, is_unmodified, mountable},
    recipe::{LayerPath, Materials, RecipeLayer},
};
use crate::{
    closure::StorePath,
    layer::{self, Hashed, LayerError, Owner, Source, Tree},
    oci::{Descriptor, Digest, History, descriptor::media_type},
};

/// The annotation that names the store path with the file `store-paths`.
pub const ANNOTATION: &str = "containerd.io/snapshot/nix-closure";
/// Modes of mount points, which are those of nix-snapshotter's own images.
const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_555;

/// The store paths that nodes mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NixNode {
    /// The store path whose file `store-paths` lists the others.
    closure: PathBuf,
    /// Store paths that are directories.
    directories: Vec<PathBuf>,
    /// Store paths that are files.
    files: Vec<PathBuf>,
    /// The user of the config as `UID:GID`, if it is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

impl NixNode {
    /// Finds the store paths of `recipe` that nodes can mount. `closure` is the store path that will list them. Returns `None`
    /// if no directory can be mounted.
    ///
    /// # Errors
    ///
    /// If a layer cannot be read.
    pub fn find(recipe: &Recipe, closure: PathBuf) -> Result<Option<Self>> {
        let found = mountable(recipe, &Image::from_recipe(recipe))?;
        let (directories, files): (Vec<PathBuf>, Vec<PathBuf>) = found.into_iter().partition(|path| path.is_dir());
        Ok((!directories.is_empty()).then_some(Self { closure, directories, files, user: None }))
    }

    /// The contents of the file `store-paths`.
    pub fn list(&self) -> String {
        self.mounts().map(|path| format!("{}\n", path.display())).collect()
    }

    /// All paths that the node needs.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        [self.closure.as_path()].into_iter().chain(self.mounts())
    }

    /// The same as [`paths`](Self::paths), as store paths.
    pub fn store_paths(&self) -> Vec<StorePath> {
        self.paths().filter_map(|path| StorePath::parse(path.to_str()?).ok()).collect()
    }

    /// The store path that names all others.
    pub fn closure(&self) -> &Path {
        &self.closure
    }

    /// The mounted paths. The last one is a directory.
    fn mounts(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().chain(&self.directories).map(PathBuf::as_path)
    }

    fn mount_points(&self, points: &MountPoints) -> Vec<Source> {
        let source = |path: &PathBuf, mode: u32| {
            let mut source = points.source(path, mode == DIRECTORY);
            let owner = Owner { mode, mtime: Some(0), ..Owner::default() };
            source.options.owners = Some(Arc::new([(path.clone(), owner)].into()));
            source
        };
        let files = self.files.iter().map(|path| source(path, FILE));
        files.chain(self.directories.iter().map(|path| source(path, DIRECTORY))).collect()
    }
}

/// The top layer, with mount points.
struct TopLayer {
    /// The directory with the mount points, which is removed after the last use of the layer.
    _points: MountPoints,
    sources: Vec<Source>,
    /// The modified paths that are in the layer too, and its modification time.
    rest: RecipeLayer,
    materials: Materials,
    /// Whether the layer has an entry for the root directory.
    has_root: bool,
}

impl Image {
    /// Returns the image of a recipe for nodes with a Nix store.
    ///
    /// # Errors
    ///
    /// [`ImageError::NoNixNode`] if the recipe does not list the mounted paths, [`ImageError::NotMountable`] if it has not all of
    /// them unmodified, and an error if a layer of modified paths cannot be made.
    pub(crate) fn for_nix_node(recipe: &Recipe) -> Result<Self> {
        let node = recipe.nix_node.as_ref().ok_or(ImageError::NoNixNode)?;
        let mounts: HashSet<&Path> = node.mounts().collect();
        check_mounts(recipe, node)?;
        let image = match &node.user {
            Some(user) => {
                let mut recipe = recipe.clone();
                recipe.config.user.clone_from(user);
                Self::from_recipe(&recipe)
            }
            None => Self::from_recipe(recipe),
        };
        let mut layers: Vec<(LayerBlob, Option<usize>)> = Vec::new();
        let (mut top, mut has_root) = (empty_layer(), true);
        for (at, layer) in recipe.layers.iter().enumerate() {
            let (mounted, rest): (Vec<LayerPath>, Vec<LayerPath>) =
                layer.paths.iter().cloned().partition(|path| is_made(layer) && mounts.contains(path.path.as_path()));
            let is_top = at + 1 == recipe.layers.len();
            if mounted.is_empty() {
                layers.push((image.layers[at].clone(), Some(at)));
                has_root = !is_top;
            } else if is_top {
                top = RecipeLayer { paths: rest, mtime: layer.mtime, ..empty_layer() };
            } else if !rest.is_empty() {
                let rest =
                    RecipeLayer { paths: rest, mtime: layer.mtime, history: layer.history.clone(), ..empty_layer() };
                layers.push((remade(recipe, at, rest)?, Some(at)));
            }
        }
        let points = MountPoints::create().map_err(ImageError::MountPoints)?;
        let sources = node.mount_points(&points);
        let top = TopLayer { _points: points, sources, rest: top, materials: recipe.materials(), has_root };
        let index = recipe.layers.len();
        layers.push((top.blob(index, node)?, None));
        image.with_mount_layers(layers, "strata copy --nix-node").map_err(ImageError::Manifest)
    }
}

impl TopLayer {
    fn blob(self, index: usize, node: &NixNode) -> Result<LayerBlob> {
        let fail = move |source| ImageError::Layer { index, source };
        let hashed = self.write(&mut io::sink()).map_err(fail)?;
        let annotations = [(ANNOTATION.to_owned(), node.closure.display().to_string())].into();
        let descriptor =
            Descriptor { annotations, ..Descriptor::new(media_type::LAYER_TAR, hashed.digest, hashed.size) };
        let make = move |out: &mut dyn io::Write| {
            let found = self.write(out).map_err(fail)?.digest;
            if found == hashed.digest {
                Ok(())
            } else {
                Err(self.rest.mismatch(index, &self.materials, hashed.digest, found))
            }
        };
        Ok(LayerBlob::made(descriptor, hashed.digest, make))
    }

    fn write(&self, out: &mut dyn io::Write) -> std::result::Result<Hashed, LayerError> {
        self.rest.with_tree(&self.materials, &self.sources, |tree| {
            let tree: Tree = if self.has_root { tree } else { tree.without_root() };
            Ok(layer::write_hashed(&tree, out)?.1)
        })
    }
}

/// Errors if a mounted path is not unmodified in the recipe: the tree of the container would differ from that of the image.
fn check_mounts(recipe: &Recipe, node: &NixNode) -> Result<()> {
    let layers = || recipe.layers.iter().filter(|layer| is_made(layer)).flat_map(|layer| &layer.paths);
    let unmodified: HashSet<&Path> =
        layers().filter(|path| is_unmodified(path)).map(|path| path.path.as_path()).collect();
    let modified: HashSet<&Path> =
        layers().filter(|path| !is_unmodified(path)).map(|path| path.path.as_path()).collect();
    match node.mounts().find(|path| !unmodified.contains(path) || modified.contains(path)) {
        Some(path) => Err(ImageError::NotMountable(path.to_owned())),
        None => Ok(()),
    }
}

fn empty_layer() -> RecipeLayer {
    RecipeLayer::from_paths(Vec::new(), Hashed { digest: Digest::sha256(b""), size: 0 }, History::default())
}

/// Returns the layer of the recipe at `at` with these paths alone.
fn remade(recipe: &Recipe, at: usize, rest: RecipeLayer) -> Result<LayerBlob> {
    let fail = |source| ImageError::Layer { index: at + 1, source };
    let materials = recipe.materials();
    let Hashed { digest, size } =
        rest.with_tree(&materials, &[], |tree| Ok(layer::write_hashed(&tree, io::sink())?.1)).map_err(fail)?;
    let rest = RecipeLayer { digest, size, diff_id: digest, ..rest };
    let paths = rest.paths.iter().map(|path| path.path.clone()).collect();
    let descriptor = rest.descriptor();
    let mut blob = LayerBlob::made(descriptor, digest, move |out| rest.write(at + 1, &materials, out));
    blob.paths = paths;
    Ok(blob)
}

#[cfg(test)]
mod tests {
    use crate::{
        layer::{PathOptions, untar::TarReader},
        oci::{Config, ImageConfig, Manifest, json},
    };

    use super::*;

    fn store_path(digit: char, name: &str) -> PathBuf {
        format!("/nix/store/{}-{name}", digit.to_string().repeat(32)).into()
    }

    fn layer(name: &str, paths: Vec<LayerPath>) -> RecipeLayer {
        let digest = Digest::sha256(name.as_bytes());
        RecipeLayer::from_paths(
            paths,
            Hashed { digest, size: 1 },
            History { created_by: name.to_owned(), ..History::default() },
        )
    }

    fn unmodified(path: PathBuf) -> LayerPath {
        LayerPath { path, options: None }
    }

    /// A file that is moved to `/etc/NAME` in the image.
    fn moved(file: &Path) -> LayerPath {
        let to = Path::new("/etc").join(file.file_name().unwrap());
        LayerPath {
            path: file.to_owned(),
            options: Some(PathOptions { moved: Some((file.to_owned(), to)), ..PathOptions::default() }),
        }
    }

    fn node(directories: Vec<PathBuf>, files: Vec<PathBuf>) -> NixNode {
        NixNode { closure: store_path('c', "closure"), directories, files, user: None }
    }

    fn recipe(layers: Vec<RecipeLayer>, node: NixNode) -> Recipe {
        let mut recipe = Recipe::new(Config::default(), "amd64".to_owned(), None, layers);
        recipe.annotations.insert("a".to_owned(), "b".to_owned());
        recipe.nix_node = Some(node);
        recipe
    }

    /// The entries of a layer: type, mode, owner, time and name.
    fn entries(layer: &LayerBlob) -> Vec<String> {
        layer
            .plain(|tar| {
                let mut found = Vec::new();
                let mut reader = TarReader::new(tar);
                while let Some(entry) = reader.next_entry()? {
                    let kind = if entry.kind.is_dir() { 'd' } else { 'f' };
                    let name = String::from_utf8_lossy(&entry.name).into_owned();
                    found.push(format!(
                        "{kind} {:o} {}:{} {} {name}",
                        entry.mode,
                        entry.uid,
                        entry.gid,
                        entry.mtime.unwrap_or_default()
                    ));
                }
                Ok(found)
            })
            .unwrap()
    }

    #[test]
    fn unmodified_paths_become_one_layer_of_mount_points() {
        let (one, two, file) = (store_path('1', "one"), store_path('2', "two"), store_path('3', "file"));
        let base = RecipeLayer { blob: Some("/base".into()), ..layer("base", Vec::new()) };
        let layers = vec![
            base.clone(),
            layer("x", vec![unmodified(two.clone())]),
            layer("y", vec![unmodified(file.clone()), unmodified(one.clone())]),
        ];
        let recipe = recipe(layers, node(vec![one, two], vec![file]));
        let image = Image::for_nix_node(&recipe).unwrap();
        assert_eq!(image.layers.len(), 2);
        assert_eq!(image.layers[0].descriptor, base.descriptor());
        let digits = |digit: char| digit.to_string().repeat(32);
        let expected = [
            "d 755 0:0 1 /".to_owned(),
            "d 755 0:0 1 /nix".to_owned(),
            "d 755 0:0 1 /nix/store".to_owned(),
            format!("d 755 0:0 0 /nix/store/{}-one", digits('1')),
            format!("d 755 0:0 0 /nix/store/{}-two", digits('2')),
            format!("f 555 0:0 0 /nix/store/{}-file", digits('3')),
        ];
        assert_eq!(entries(&image.layers[1]), expected);
        let manifest: Manifest = serde_json::from_slice(&image.manifest).unwrap();
        let annotations = [(ANNOTATION.to_owned(), store_path('c', "closure").display().to_string())].into();
        assert_eq!(manifest.layers[1].annotations, annotations);
        assert_eq!(manifest.annotations, recipe.annotations);
        let config: ImageConfig = json::from_slice(&image.config).unwrap();
        let diff_ids: Vec<Digest> = image.layers.iter().map(|layer| layer.diff_id).collect();
        assert_eq!(config.rootfs.diff_ids, diff_ids);
        let history: Vec<&str> = config.history.iter().map(|step| step.created_by.as_str()).collect();
        assert_eq!(history, ["base", "strata copy --nix-node"]);
    }

    #[test]
    fn modified_paths_keep_their_place() {
        let directory = tempfile::tempdir().unwrap();
        let [low, high] = ["low", "high"].map(|name| directory.path().join(name));
        [&low, &high].into_iter().for_each(|path| std::fs::write(path, "x").unwrap());
        let (one, two) = (store_path('1', "one"), store_path('2', "two"));
        let layers = vec![
            layer("both", vec![unmodified(one.clone()), moved(&low)]),
            layer("top", vec![unmodified(two.clone()), moved(&high)]),
        ];
        let image = Image::for_nix_node(&recipe(layers, node(vec![one, two], Vec::new()))).unwrap();
        let names = |layer| -> Vec<String> {
            entries(layer).iter().map(|entry| entry.rsplit_once(' ').unwrap().1.to_owned()).collect()
        };
        assert_eq!(names(&image.layers[0]), ["/", "/etc", "/etc/low"]);
        let top = names(&image.layers[1]);
        assert_eq!(top[..3], ["/", "/etc", "/etc/high"]);
        assert_eq!(top[3..].len(), 4, "{top:?}");
    }

    #[test]
    fn a_blob_on_top_keeps_the_attributes_of_the_root() {
        let one = store_path('1', "one");
        let blob = RecipeLayer { blob: Some("/blob".into()), ..layer("blob", Vec::new()) };
        let layers = vec![layer("x", vec![unmodified(one.clone())]), blob];
        let image = Image::for_nix_node(&recipe(layers, node(vec![one], Vec::new()))).unwrap();
        assert_eq!(entries(&image.layers[1])[0], "d 755 0:0 1 /nix");
    }

    #[test]
    fn only_unmodified_paths_are_mounted() {
        let one = store_path('1', "one");
        let perms = serde_json::from_value(serde_json::json!([{ "regex": "x", "mode": "0500" }])).unwrap();
        let changed = LayerPath { path: one.clone(), options: Some(PathOptions { perms, ..PathOptions::default() }) };
        let blob = RecipeLayer { blob: Some("/blob".into()), ..layer("blob", vec![unmodified(one.clone())]) };
        for layers in [
            Vec::new(),
            vec![layer("x", vec![changed.clone()])],
            vec![layer("x", vec![unmodified(one.clone())]), layer("y", vec![changed])],
            vec![blob],
        ] {
            let error = Image::for_nix_node(&recipe(layers, node(vec![one.clone()], Vec::new()))).unwrap_err();
            assert!(matches!(&error, ImageError::NotMountable(path) if *path == one), "{error:?}");
        }
        let plain = Recipe::new(Config::default(), "amd64".to_owned(), None, Vec::new());
        assert!(matches!(Image::for_nix_node(&plain), Err(ImageError::NoNixNode)));
    }

    #[test]
    fn the_list_ends_with_a_directory() {
        let (directory, file) = (store_path('1', "directory"), store_path('2', "file"));
        let list = node(vec![directory.clone()], vec![file.clone()]).list();
        assert_eq!(list, format!("{}\n{}\n", file.display(), directory.display()));
    }

    #[test]
    fn names_of_users_are_replaced_by_numbers() {
        let one = store_path('1', "one");
        let node = NixNode { user: Some("7:8".to_owned()), ..node(vec![one.clone()], Vec::new()) };
        let mut recipe = recipe(vec![layer("x", vec![unmodified(one)])], node);
        recipe.config.user = "app".to_owned();
        let image = Image::for_nix_node(&recipe).unwrap();
        assert_eq!(image.parse_config().unwrap().config.user, "7:8");
    }
}
