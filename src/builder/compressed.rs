//! `compressed`: the compressed digests of uncompressed layers, so that a push finds the layers in a registry without
//! making their bytes.

use std::io;

use anyhow::{Context, Result};

use crate::{
    image::recipe::{Compressed, RecipeLayer},
    layer::{chunked::Finished, compress::Compression},
    oci::{Sha256Writer, descriptor::media_type},
    terminal, threads,
};

/// Adds the digest of the compressed layer to every uncompressed layer that has none yet. A layer is compressed only
/// once: the digest that buildLayer recorded stays.
pub fn record(layers: &mut [RecipeLayer], compression: Option<Compression>) -> Result<()> {
    let Some(compression) = compression.filter(|compression| *compression != Compression::None) else { return Ok(()) };
    for (at, layer) in layers.iter_mut().enumerate() {
        let is_plain = layer.media_type == media_type::LAYER_TAR && !layer.is_by_reference();
        if !is_plain || layer.compressed.contains_key(compression.name()) {
            continue;
        }
        let compressing = || format!("compressing layer {}", at + 1);
        let out = Sha256Writer::new(io::sink());
        let mut compressor = compression.writer(out, threads::jobs(), None).with_context(compressing)?;
        layer.write(at + 1, &Default::default(), &mut compressor)?;
        let (out, Finished { annotations, unfit }) = compressor.finish().with_context(compressing)?;
        if let Some(unfit) = unfit {
            terminal::note!("warning: {}", unfit.warning(at + 1));
        }
        let (_, digest, size) = out.finish();
        let compressed = Compressed { digest, size, annotations };
        layer.compressed.insert(compression.name().to_owned(), compressed);
    }
    Ok(())
}
