//! Kind `archive`: a complete image for makeContainerImage and dockerTools. The output is an archive that `docker load`
//! takes, or a recipe from which the archive is streamed.
//!
//! ```text
//! layered                                  single
//! layer N     links to `contents`, scripts layer N   copies of `contents`, scripts, the whole closure
//! layer N-1…  the closure, grouped
//! layer 1…    those of the base image      layer 1…  those of the base image
//! ```

use std::{
    collections::HashSet,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{
    attributes::Attributes,
    base::{self, Base},
    creation_time::CreationTime,
    customisation, database, grouping,
    guards::Guards,
    layering::{Layering, StartFiles},
    log::{self, OwnLayers},
    programs,
    root::{PlacedContents, RootDirectory, Scripts},
};
use crate::terminal::note;
use crate::{
    closure::{Graph, Node, StorePath},
    image::{
        Image, Recipe,
        recipe::{LayerPath, RecipeLayer},
    },
    layer::{Hashed, PathOptions, Perm, Tree, compress::Compression, hash_all},
    oci::{Config, History, Timestamp},
    threads,
    transport::archive,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Request {
    /// Files at the root of the image that no script changes.
    placed: PlacedContents,
    /// The result of kind `customisation`: files at the root of the image that scripts change.
    #[serde(default)]
    customisation: Option<StorePath>,
    /// Whether the files and the closure share one layer.
    #[serde(default)]
    single: bool,
    /// The maximum number of layers, including those of the base image and the customisation layer. A layeringPipeline
    /// has no limit.
    #[serde(default)]
    max_layers: Option<usize>,
    #[serde(default)]
    base: Base,
    /// Whether store paths are in the image.
    #[serde(default = "yes")]
    include_store_paths: bool,
    /// Whether the image has a Nix database that lists its store paths.
    #[serde(default)]
    include_nix_database: bool,
    #[serde(default)]
    owner: StoreOwner,
    /// The result of kind `config`.
    config: StorePath,
    arch: String,
    #[serde(default)]
    variant: Option<String>,
    created: CreationTime,
    #[serde(default)]
    mtime: Option<CreationTime>,
    /// Which paths share a layer.
    #[serde(default)]
    layering: Layering,
    #[serde(default)]
    guards: Guards,
    name: String,
    /// The hash part of the output path if it is `None`.
    tag: Option<String>,
    #[serde(default = "gzip_archive")]
    output: ArchiveFormat,
}

/// The form of the output.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum ArchiveFormat {
    /// An uncompressed archive. The other archives are named after their compression.
    None,
    Gz,
    Zstd,
    /// A directory with image.json, and the customisation layer's tar.
    Recipe,
}

/// The owner of store paths in the image.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StoreOwner {
    uid: u64,
    gid: u64,
    uname: String,
    gname: String,
}

fn yes() -> bool {
    true
}

fn gzip_archive() -> ArchiveFormat {
    ArchiveFormat::Gz
}

pub fn build(attributes: &Attributes) -> Result<()> {
    let request: Request = attributes.request()?;
    let base = request.base.open()?;
    let created = request.created.time()?;
    let below = base.as_ref().map_or(0, |base| base.layers.len());
    if let Some(max_layers) = request.max_layers.filter(|_| !request.single) {
        ensure!(
            max_layers >= below + 2,
            "argument maxLayers is {max_layers}; at least {} are needed: {below} of the base image, one for store paths and one for \
             the links at the root",
            below + 2
        );
    }
    let whole = attributes.closure()?;
    programs::check_packages(&attributes.packages()?)?;
    // A path that is copied to the root stays in the store only if another path of the image refers to it.
    let roots = whole.roots();
    let is_copied = |at: usize| {
        let node = &whole.nodes()[at];
        request.single && !node.self_reference && request.placed.contents.iter().any(|path| path == node.path.as_path())
    };
    let is_made = |at: usize| Some(&whole.nodes()[at].path) == request.customisation.as_ref();
    let mut graph = whole.without(|at| {
        roots.contains(&at) && (whole.nodes()[at].path == request.config || is_made(at) || is_copied(at))
    });
    let config = request.base.config(base.as_ref(), request.config.as_path())?;
    let mut layers = base.as_ref().map(|base| base.layers.clone()).unwrap_or_default();
    if !request.single && request.include_store_paths {
        let built = request.store_layers(&graph, &layers, &config, created)?;
        layers.extend(built);
    }
    if !(request.single && request.include_store_paths) {
        // A layeringPipeline may have removed paths from the closure. Without store paths, the image has only those of
        // the base.
        let existing = base::existing_store_paths(&layers);
        graph = graph.without(|at| !existing.contains(graph.nodes()[at].path.as_path()));
    }
    let customisation = request.customisation_layer(&graph, base.as_ref(), &layers, created)?;
    layers.push(customisation);
    log::warn_of_layers(layers.len(), below, request.own_layers());
    request.guards.check(&layers, &graph)?;

    note!("Adding manifests...");
    let mut image = Recipe::new(config, request.arch, Some(created), layers);
    image.variant = request.variant;
    image.history = request.base.history(base.as_ref(), &image);
    let below = base.as_ref().and_then(|base| base.closure.as_deref());
    image.closure = Some(Arc::new(Graph::union(below.into_iter().chain([&graph]))));
    image.name = Some(request.name);
    image.tag = Some(match request.tag {
        Some(tag) => tag,
        None => StorePath::parse(&attributes.out().to_string_lossy())?.hash_part().to_owned(),
    });
    write(&mut image, request.output, attributes.out())?;
    note!("Done.");
    Ok(())
}

impl Request {
    /// Options of every store path.
    fn options(&self) -> Option<PathOptions> {
        let StoreOwner { uid, gid, uname, gname } = &self.owner;
        let roots = |name: &str| name.is_empty() || name == "root";
        let is_root = *uid == 0 && *gid == 0 && roots(uname) && roots(gname);
        (!is_root).then(|| {
            let perm = Perm {
                regex: String::new(),
                mode: String::new(),
                uid: *uid,
                gid: *gid,
                uname: uname.clone(),
                gname: gname.clone(),
            };
            PathOptions { perms: vec![perm], parents: true, ..PathOptions::default() }
        })
    }

    fn layer_path(&self, path: &StorePath) -> LayerPath {
        LayerPath { path: path.as_path().to_owned(), options: self.options() }
    }

    fn mtime(&self) -> Result<Option<u64>> {
        self.mtime.map(|moment| Ok(moment.time()?.unix().max(0) as u64)).transpose()
    }

    fn own_layers(&self) -> OwnLayers {
        match self.max_layers {
            _ if self.single => OwnLayers::Single,
            Some(_) => OwnLayers::MaxLayers,
            None => OwnLayers::Pipeline,
        }
    }

    fn store_layers(
        &self,
        graph: &Graph,
        below: &[RecipeLayer],
        config: &Config,
        created: Timestamp,
    ) -> Result<Vec<RecipeLayer>> {
        let existing = base::existing_store_paths(below);
        let left_out = |path: &StorePath| existing.contains(path.as_path());
        let max_layers = self.max_layers.map_or(usize::MAX, |all| all - below.len() - 1);
        let made = self.customisation.iter().map(|made| customisation::root(made.as_path()));
        let at_root: Vec<PathBuf> = self.placed.contents.iter().cloned().chain(made).collect();
        let start = StartFiles { config, lower: below, at_root: &at_root };
        let plan = self.layering.plan(graph, max_layers, Some(start), left_out)?;
        let paths = |group: &Vec<&Node>| group.iter().map(|node| self.layer_path(&node.path)).collect();
        let sizes = plan.groups.iter().map(|group| group.iter().map(|node| node.nar_size).sum());
        let groups = plan.groups.iter().map(paths).collect();
        grouping::hash_at(groups, sizes.collect(), below.len(), self.mtime()?, |paths| History {
            created: Some(created),
            comment: format!("store paths: {}", log::list(paths.iter().map(|path| path.path.as_path()))),
            ..History::default()
        })
    }

    /// The image's own files.
    fn root(&self, graph: &Graph, base: Option<&Recipe>) -> Result<RootDirectory> {
        let closure = self.include_nix_database.then_some(graph);
        let Some(made) = &self.customisation else {
            return RootDirectory::make(
                &super::work_directory()?,
                &self.placed,
                &Scripts::default(),
                base,
                self.base.below()?.as_ref(),
                closure,
            );
        };
        let made = customisation::open(made.as_path())?;
        match closure {
            // When the scripts ran, the database lacked the paths that only their results refer to.
            Some(closure) => {
                let root = made.to_writable(&super::work_directory()?)?;
                database::write(closure, base, &root.path)?;
                Ok(root)
            }
            None => Ok(made),
        }
    }

    fn customisation_layer(
        &self,
        graph: &Graph,
        base: Option<&Recipe>,
        below: &[RecipeLayer],
        created: Timestamp,
    ) -> Result<RecipeLayer> {
        note!("Creating layer {} with customisation...", below.len() + 1);
        let root = self.root(graph, base)?;
        let options = PathOptions {
            moved: Some((root.path.clone(), "/".into())),
            owners: (!root.owners.is_empty()).then(|| Arc::new(root.owners)),
            whiteouts: true,
            ..PathOptions::default()
        };
        let mut paths = vec![LayerPath { path: root.path, options: Some(options) }];
        if self.single && self.include_store_paths {
            let existing = base::existing_store_paths(below);
            let new_paths =
                graph.nodes().iter().map(|node| &node.path).filter(|path| !existing.contains(path.as_path()));
            paths.extend(new_paths.map(|path| self.layer_path(path)));
        }
        let sources: Vec<_> = paths.iter().map(LayerPath::source).collect();
        let mtime = self.mtime()?;
        let tree = Tree::new(&sources)?.with_mtime(mtime.unwrap_or(crate::layer::MTIME));
        let hashed: Hashed = hash_all(&[(&tree, 0)])?[0];
        let history = History { created: Some(created), comment: "customisation".to_owned(), ..History::default() };
        Ok(RecipeLayer { mtime, ..RecipeLayer::from_paths(paths, hashed, history) })
    }
}

fn write(image: &mut Recipe, output: ArchiveFormat, out: &Path) -> Result<()> {
    let writing = || format!("writing {}", out.display());
    let compression = match output {
        ArchiveFormat::None => Compression::None,
        ArchiveFormat::Gz => Compression::Gzip,
        ArchiveFormat::Zstd => Compression::Zstd,
        ArchiveFormat::Recipe => {
            fs::create_dir(out).with_context(writing)?;
            let at = image.layers.len();
            // Scripts made this layer in a directory that is removed after the build. It is the only layer whose bytes
            // are stored. Images that are built on this one need to know which store paths the layer contains.
            if let Some(layer) = image.layers.last_mut() {
                let path = out.join("customisation.tar");
                layer.write(at, &Default::default(), &mut File::create_new(&path).with_context(writing)?)?;
                layer.blob = Some(path);
                layer.paths.retain(LayerPath::is_in_place);
            }
            return Ok(image.save(&out.join("image.json"))?);
        }
    };
    let file = File::create_new(out).with_context(writing)?;
    let compressor = compression.writer(file, threads::jobs(), None).with_context(writing)?;
    let whole = Image::from_recipe(image);
    let whole = archive::for_docker(&whole, &HashSet::new())?;
    let compressor = archive::write(&whole, image.reference().as_deref(), compressor)?;
    compressor.finish().with_context(writing).map(drop)
}
