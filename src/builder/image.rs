//! Kind `image`: buildImage's result, image.json. With the output `nixClosure`, that is a directory with the file `store-paths`,
//! which lists the store paths that nodes with a Nix store mount.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{
    attributes::Attributes,
    base::Base,
    base_tree::BaseTree,
    compressed,
    grouping::Grouping,
    guards::Guards,
    log::{self, OwnLayers},
    programs,
};
use crate::{
    check,
    closure::{Graph, StorePath},
    image::{NixNode, Recipe, recipe::RecipeLayer},
    layer::compress::Compression,
    oci::Timestamp,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Request {
    grouping: Grouping,
    base: Base,
    guards: Guards,
    /// The result of kind `config`.
    config: PathBuf,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    /// The compression for which uncompressed layers record their compressed digests.
    compressed: Option<Compression>,
    arch: String,
    variant: Option<String>,
    created: Timestamp,
    name: String,
    /// The hash part of the output path if it is `None`.
    tag: Option<String>,
}

pub fn build(attributes: &Attributes) -> Result<()> {
    let request: Request = attributes.request()?;
    let base = request.base.open()?;
    let mut layers = base.as_ref().map(|base| base.layers.clone()).unwrap_or_default();
    layers.extend(request.grouping.lower_layers()?);
    let graph = attributes.closure()?;
    programs::check_packages(&attributes.packages()?)?;
    let mut config = request.base.config(base.as_ref(), &request.config)?;
    config.labels.extend(request.labels);
    let built = request.grouping.layers(&graph, &layers, Some(&config))?;
    layers.extend(built);
    keep_links(request.base.below()?.as_ref(), &layers[base.as_ref().map_or(0, |base| base.layers.len())..])?;
    let base_layers = base.as_ref().map_or(0, |base| base.layers.len());
    log::warn_of_layers(layers.len(), base_layers, OwnLayers::MaxLayers);
    compressed::record(&mut layers, request.compressed)?;
    let image_closure = request.grouping.closure(&graph)?;
    let below = base.as_ref().and_then(|base| base.closure.as_deref());
    let closure = Graph::union(below.into_iter().chain([&image_closure]));
    request.guards.check(&layers, &closure)?;

    let mut image = Recipe::new(config, request.arch, Some(request.created), layers);
    image.history = request.base.history(base.as_ref(), &image);
    image.variant = request.variant;
    image.annotations = request.annotations;
    image.closure = Some(Arc::new(closure));
    image.name = Some(request.name);
    image.tag = Some(match request.tag {
        Some(tag) => tag,
        None => StorePath::parse(&attributes.out().to_string_lossy())?.hash_part().to_owned(),
    });
    image.nix_node = attributes.nix_closure().map(|closure| write_closure(&image, closure)).transpose()?;
    Ok(image.save(attributes.out())?)
}

/// Writes the list of the store paths that nodes mount. Nix finds the references to them.
fn write_closure(image: &Recipe, closure: &Path) -> Result<NixNode> {
    let Some(mut node) = NixNode::find(image, closure.to_owned())? else {
        bail!(
            "argument nixNode: no store path of the image is an unmodified directory, so nodes can mount none; omit it"
        );
    };
    if !image.config.user.is_empty() {
        node.user = Some(check::numeric_user(image).context("argument config")?);
    }
    let list = closure.join("store-paths");
    fs::create_dir(closure).with_context(|| format!("creating {}", closure.display()))?;
    fs::write(&list, node.list()).with_context(|| format!("writing {}", list.display()))?;
    Ok(node)
}

/// Errors if a package that is copied to the root has a directory at the path of a link of the base image. Other
/// functions move the files to the target of the link, but recipes of nix2container cannot express that.
fn keep_links(below: Option<&BaseTree>, layers: &[RecipeLayer]) -> Result<()> {
    let Some(below) = below else { return Ok(()) };
    for path in layers.iter().flat_map(|layer| &layer.paths).filter(|path| !path.is_in_place()) {
        if let Some((link, target)) = below.replaced_by(&path.path) {
            let (package, link, target) = (path.path.display(), link.display(), target.display());
            bail!(
                "argument copyToRoot: the base image's /{link} is a link to /{target}, and {package}/{link} would replace it \
                 with a directory: what is behind the link would be gone from /{link}. Put the files into {target}/, or \
                 use makeContainerImage, which follows the link; keepBaseDirlinks = false replaces it"
            );
        }
    }
    Ok(())
}
