//! Kind `archive`: makeContainerImage's result, an archive that `docker load` takes.
//!
//! ```text
//! layer N     links to `contents`      the customisation layer
//! layer N-1   the rest of the closure
//! …
//! layer 1     the most popular store path
//! ```

use std::{
    env,
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{attributes::Attributes, config, grouping, guards::Guards, layering::Layering, links, log};
use crate::{
    blobs::ImageBlobs,
    closure::StorePath,
    image::{Image, Layer, LayerPath},
    layer::{Options, Rewrite, compress::GzipWriter},
    oci::{History, Timestamp},
    sink,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Request {
    /// Linked at the root of the image.
    contents: Vec<PathBuf>,
    /// At most this many layers, the customisation layer among them.
    max_layers: usize,
    /// The result of kind `config`.
    config: StorePath,
    arch: String,
    created: Timestamp,
    /// Which paths lie together.
    #[serde(default)]
    layering: Layering,
    #[serde(default)]
    guards: Guards,
    name: String,
    tag: String,
}

pub fn build(attributes: &Attributes) -> Result<()> {
    let request: Request = attributes.request()?;
    ensure!(
        request.max_layers >= 2,
        "argument maxLayers is {}; at least 2 are needed, one for store paths and one for the links at the root",
        request.max_layers
    );
    let config = config::open(request.config.as_path())?;
    let mut layers = store_layers(attributes, &request)?;
    layers.push(customisation_layer(&request, layers.len() + 1)?);
    request.guards.check(&layers, &attributes.closure()?)?;

    eprintln!("Adding manifests...");
    let mut image = Image::new(config, request.arch, Some(request.created), layers);
    image.name = Some(request.name);
    image.tag = Some(request.tag);
    write(&image, attributes.out())?;
    eprintln!("Done.");
    Ok(())
}

fn store_layers(attributes: &Attributes, request: &Request) -> Result<Vec<Layer>> {
    let graph = attributes.closure()?;
    let plan = request.layering.plan(&graph, request.max_layers - 1, |path| *path == request.config)?;
    let paths = |group: &Vec<&crate::closure::Node>| {
        let path = |path: &StorePath| LayerPath { path: path.as_path().to_owned(), options: None };
        group.iter().map(|node| path(&node.path)).collect()
    };
    let sizes = plan.groups.iter().map(|group| group.iter().map(|node| node.nar_size).sum());
    grouping::hash(plan.groups.iter().map(paths).collect(), sizes.collect(), 0, |paths| History {
        created: Some(request.created),
        comment: format!("store paths: {}", log::list(paths.iter().map(|path| path.path.as_path()))),
        ..History::default()
    })
}

fn customisation_layer(request: &Request, number: usize) -> Result<Layer> {
    eprintln!("Creating layer {number} with customisation...");
    let top = env::var_os("NIX_BUILD_TOP").map_or_else(env::temp_dir, PathBuf::from);
    let root = top.join("customisation");
    links::join(&request.contents, &root)?;
    let path = LayerPath {
        options: Some(Options {
            rewrite: Rewrite { regex: format!("^{}", regex::escape(&root.to_string_lossy())), repl: String::new() },
            perms: Vec::new(),
        }),
        path: root,
    };
    let tree = crate::layer::Tree::new(&[path.source()])?;
    let hashed = crate::layer::hash_all(&[(&tree, 0)])?;
    let history = History { created: Some(request.created), comment: "customisation".to_owned(), ..History::default() };
    Ok(Layer::from_paths(vec![path], hashed[0], history))
}

fn write(image: &Image, out: &Path) -> Result<()> {
    let writing = || format!("writing {}", out.display());
    let file = File::create_new(out).with_context(writing)?;
    let gzip = GzipWriter::with_threads(file, rayon::current_num_threads(), None).with_context(writing)?;
    let gzip = sink::archive::write(&ImageBlobs::of(image), image.reference().as_deref(), 0, gzip)?;
    gzip.finish().with_context(writing).map(drop)
}
