//! Kind `image`: buildImage's result, image.json.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use anyhow::{Result, bail};
use serde::Deserialize;

use super::{
    attributes::Attributes,
    base::Base,
    base_tree::BaseTree,
    compressed,
    grouping::Grouping,
    guards::Guards,
    log::{self, OwnLayers},
};
use crate::{
    closure::{Graph, StorePath},
    image::{Recipe, recipe::RecipeLayer},
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
    /// What plain layers are compressed to, for their digests.
    compressed: Option<Compression>,
    arch: String,
    variant: Option<String>,
    created: Timestamp,
    name: String,
    /// `None` stands for the hash part of the output path.
    tag: Option<String>,
}

pub fn build(attributes: &Attributes) -> Result<()> {
    let request: Request = attributes.request()?;
    let base = request.base.open()?;
    let mut layers = base.as_ref().map(|base| base.layers.clone()).unwrap_or_default();
    layers.extend(request.grouping.lower_layers()?);
    let graph = attributes.closure()?;
    let own = request.grouping.layers(&graph, &layers)?;
    layers.extend(own);
    keep_links(request.base.below()?.as_ref(), &layers[base.as_ref().map_or(0, |base| base.layers.len())..])?;
    let of_base = base.as_ref().map_or(0, |base| base.layers.len());
    log::warn_of_layers(layers.len(), of_base, OwnLayers::MaxLayers);
    compressed::note(&mut layers, request.compressed)?;
    let own = request.grouping.closure(&graph)?;
    let below = base.as_ref().and_then(|base| base.closure.as_deref());
    let closure = Graph::union(below.into_iter().chain([&own]));
    request.guards.check(&layers, &closure)?;

    let mut config = request.base.config(base.as_ref(), &request.config)?;
    config.labels.extend(request.labels);
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
    Ok(image.save(attributes.out())?)
}

/// Refuses a package copied to the root whose directory would replace a link of the base image. Nothing is moved behind the
/// link, as the other functions do: nix2container's recipes have no way to say it.
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
