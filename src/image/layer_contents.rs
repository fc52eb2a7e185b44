//! The contents of a layer's tar that reports need.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::PathBuf,
};

use rayon::prelude::*;
use tar::EntryType;

use super::Image;
use crate::{
    closure::StorePath,
    layer::{overlay, untar::TarReader, whiteout::Marker},
    oci::descriptor::media_type,
};

/// The contents of a layer's tar.
#[derive(Debug, Default)]
pub struct LayerContents {
    /// The reason why engines refuse the layer or lose a file of it: it is not a tar, it has a whiteout of no file, or
    /// a file whose name begins with `.wh.` is not empty, so that it was not meant as a whiteout.
    pub problem: Option<String>,
    /// The number of bytes in the files of each store path.
    pub sizes: BTreeMap<PathBuf, u64>,
}

impl LayerContents {
    /// Reads a tar to its end.
    ///
    /// # Errors
    ///
    /// Those of reading `tar`. A malformed entry is the problem of the layer, and ends the reading of entries.
    pub fn read(tar: &mut dyn Read) -> io::Result<Self> {
        let mut entries = TarReader::new(tar);
        let mut contents = Self::default();
        loop {
            let entry = match entries.next_entry() {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                Err(error) => {
                    contents.problem.get_or_insert_with(|| format!("it is not a well-formed tar: {error}"));
                    break;
                }
            };
            let name = entry.name.rsplit(|byte| *byte == b'/').find(|name| !name.is_empty()).unwrap_or_default();
            let is_empty_file = entry.size == 0 && !matches!(entry.kind, EntryType::Directory | EntryType::Symlink);
            let marker = Marker::parse(name);
            if marker.is_some_and(Marker::is_of_no_file) {
                contents.problem.get_or_insert_with(|| {
                    format!(
                        "{} is a whiteout of no file: engines refuse it or delete its directory",
                        entry.name.escape_ascii()
                    )
                });
            } else if marker.is_some() && !is_empty_file && !Marker::is_of_aufs(name) {
                contents.problem.get_or_insert_with(|| {
                    format!(
                        "{} is not an empty file: engines take a name that begins with .wh. for a whiteout, and delete a \
                         file instead",
                        entry.name.escape_ascii()
                    )
                });
            }
            if let Some(path) = store_path(&entry.name) {
                *contents.sizes.entry(path).or_default() += entry.size;
            }
        }
        io::copy(entries.inner(), &mut io::sink())?;
        Ok(contents)
    }
}

/// Returns the store path that contains an entry.
fn store_path(name: &[u8]) -> Option<PathBuf> {
    let name = overlay::clean(name).ok()?;
    StorePath::from_entry_name(&name).map(|path| path.as_path().to_owned())
}

impl Image {
    /// Returns the contents of layers that are not made from known store paths, with their numbers. Layers in
    /// registries are not downloaded for this. Layers that cannot be read are left out, and `verify` reports the
    /// reason.
    pub fn layer_contents(&self) -> Vec<(usize, LayerContents)> {
        let is_image = media_type::is_config(&self.config_media_type);
        let is_read = |layer: &super::LayerBlob| {
            let is_here = layer.paths.is_empty() && layer.origin.is_none() && !layer.elsewhere;
            is_image && is_here && layer.descriptor.media_type.contains("tar")
        };
        let layers: Vec<_> = self.layers.iter().enumerate().filter(|(_, layer)| is_read(layer)).collect();
        let read = layers.par_iter().filter_map(|(at, layer)| Some((at + 1, layer.plain(LayerContents::read).ok()?)));
        read.collect()
    }
}
