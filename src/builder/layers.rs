//! Kind `layers`: the result of buildLayer.
//!
//! ```text
//! layers.json        the layers
//! closure.json       their store paths and references, for `strata explain`
//! <digest>.tar       each layer's bytes, where its paths may change between builds, or an archive stands for one
//! ```

use std::fs::File;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{attributes::Attributes, compressed, grouping::Grouping, programs};
use crate::{
    image::recipe::{self, LayerPath},
    layer::compress::Compression,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Request {
    grouping: Grouping,
    /// Whether the layers can be made from their store paths again at any time.
    #[serde(default = "yes")]
    reproducible: bool,
    /// The compression for which layers record their compressed digests.
    compressed: Option<Compression>,
}

fn yes() -> bool {
    true
}

pub fn build(attributes: &Attributes) -> Result<()> {
    let Request { grouping, reproducible, compressed } = attributes.request()?;
    let lower = grouping.lower_layers()?;
    let graph = attributes.closure()?;
    programs::check_packages(&attributes.packages()?)?;
    let mut layers = grouping.layers(&graph, &lower, None)?;
    compressed::record(&mut layers, compressed)?;
    let out = attributes.out();
    std::fs::create_dir(out).with_context(|| format!("creating {}", out.display()))?;
    for (at, layer) in layers.iter_mut().enumerate() {
        if !reproducible || layer.paths.iter().any(LayerPath::is_unpacked) {
            let path = out.join(format!("{}.tar", layer.digest.hex()));
            let mut file = File::create_new(&path).with_context(|| format!("writing {}", path.display()))?;
            layer.write(lower.len() + at + 1, &Default::default(), &mut file)?;
            layer.blob = Some(path);
        }
    }
    recipe::save_json(&grouping.closure(&graph)?, &out.join("closure.json"))?;
    Ok(recipe::save_json(&layers, &out.join("layers.json"))?)
}
