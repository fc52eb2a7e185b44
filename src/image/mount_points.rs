//! Mount points of store paths: empty directories and files.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use super::{Image, LayerBlob};
use crate::{
    files::Scratch,
    layer::{PathOptions, Source, SourceFiles},
    oci::{Digest, History, ImageConfig, Manifest, json},
};

/// An empty directory and an empty file, which are the mount points of store paths.
#[derive(Debug)]
pub struct MountPoints {
    top: Scratch,
}

impl MountPoints {
    /// Makes them in a temporary directory.
    ///
    /// # Errors
    ///
    /// If the temporary directory cannot be written.
    pub fn create() -> io::Result<Self> {
        let top = Scratch::create()?;
        fs::create_dir(top.path().join("directory"))?;
        File::create(top.path().join("file"))?;
        Ok(Self { top })
    }

    /// Returns the mount point of `path` as the source of a layer.
    pub fn source(&self, path: &Path, is_directory: bool) -> Source {
        let files = SourceFiles::At(self.top.path().join(if is_directory { "directory" } else { "file" }));
        Source { path: path.to_owned(), files, options: PathOptions::default(), follow: false }
    }
}

impl Image {
    /// Returns the image with other layers. Each layer has its index in this image if it belongs to it; the others have mount
    /// points, and `created_by` in the history.
    ///
    /// # Errors
    ///
    /// If the config or the manifest is malformed.
    pub(crate) fn with_mount_layers(
        &self,
        layers: Vec<(LayerBlob, Option<usize>)>,
        created_by: &str,
    ) -> serde_json::Result<Self> {
        let config: ImageConfig = self.parse_config()?;
        let steps = self.layer_history();
        let history = layers.iter().map(|(_, place)| match place.and_then(|at| steps.get(at)) {
            Some(step) => step.clone(),
            None => History {
                created: config.created,
                created_by: created_by.to_owned(),
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
        let manifest: Manifest = serde_json::from_slice(&self.manifest)?;
        let changed = Self { config, layers, closure: None, ..self.clone() };
        let manifest = Manifest { config: changed.config_descriptor(), layers: descriptors, ..manifest };
        Ok(Self { manifest: json::to_vec(&manifest), ..changed })
    }
}
