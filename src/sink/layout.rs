//! [OCI layouts](https://github.com/opencontainers/image-spec/blob/main/image-layout.md), added to:
//! what a directory holds stays, and an image of the same name is replaced in its index.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::archive;
use crate::{
    blobs::{ImageBlobs, LayerBlob},
    image::{ImageError, save_json},
    oci::{Digest, Index, annotation},
};

/// Why a layout, or another directory, could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A blob could not be made, or a document not be written.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The file system refused.
    #[error("writing {}", path.display())]
    Io {
        /// On which path.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// There is an index.json that is none.
    #[error("{} is no image index; remove it, or name another directory", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Writes `image` to the layout in `directory`, which is created where there is
/// none, tagged with `tag`. Blobs that are there are not made again; those that
/// are files elsewhere are linked where the file system can, else copied.
///
/// # Errors
///
/// [`LayoutError`]; the index is written last, so what it lists is whole.
pub fn write(image: &ImageBlobs, directory: &Path, tag: Option<&str>) -> Result<Digest, LayoutError> {
    let below = directory.join("blobs/sha256");
    let blobs = Blobs::create(&below)?;
    blobs.write_all(image)?;
    blobs.bytes(&image.manifest)?;
    let mut index = open_index(directory)?;
    let name = image.reference.as_deref().and_then(|reference| reference.rsplit_once(':'));
    let name = name.map_or("image", |(name, _)| name);
    let named = archive::named(image, tag.map(|tag| format!("{name}:{tag}")).as_deref());
    index.manifests.retain(|other| match other.annotations.get(annotation::REF_NAME) {
        // Several platforms may share a tag.
        Some(other_tag) => Some(other_tag.as_str()) != tag || other.platform != named.platform,
        None => other.digest != named.digest,
    });
    let digest = named.digest;
    index.manifests.push(named);
    save_json(&BTreeMap::from([("imageLayoutVersion", "1.0.0")]), &directory.join("oci-layout"))?;
    save_json(&index, &directory.join("index.json"))?;
    Ok(digest)
}

/// Writes `image` as skopeo writes `dir:directory`: `version`, `manifest.json`, and each blob by its bare digest.
/// What was there before is replaced.
///
/// # Errors
///
/// [`LayoutError`]; the manifest is written last.
pub fn write_dir(image: &ImageBlobs, directory: &Path) -> Result<Digest, LayoutError> {
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |source| LayoutError::Io { path, source }
    };
    let blobs = Blobs::create(directory)?;
    let version = directory.join("version");
    fs::write(&version, b"Directory Transport Version: 1.1\n").map_err(fail(&version))?;
    blobs.write_all(image)?;
    let manifest = directory.join("manifest.json");
    fs::write(&manifest, &image.manifest).map_err(fail(&manifest))?;
    Ok(image.digest())
}

/// A directory of blobs, each named by its digest's digits.
struct Blobs<'a> {
    directory: &'a Path,
}

impl<'a> Blobs<'a> {
    fn create(directory: &'a Path) -> Result<Self, LayoutError> {
        fs::create_dir_all(directory).map_err(|source| LayoutError::Io { path: directory.to_owned(), source })?;
        Ok(Self { directory })
    }

    /// The layers and the config.
    fn write_all(&self, image: &ImageBlobs) -> Result<(), LayoutError> {
        for layer in &image.layers {
            let linked = match &layer.file {
                Some(file) => self.link(layer, file)?,
                None => false,
            };
            if !linked {
                self.blob(&layer.descriptor.digest, &|out| layer.write(out))?;
            }
        }
        self.bytes(&image.config)
    }

    fn bytes(&self, bytes: &[u8]) -> Result<(), LayoutError> {
        let digest = Digest::of(bytes);
        self.blob(&digest, &|out| out.write_all(bytes).map_err(|source| ImageError::Blob { digest, source }))
    }

    /// Writes a blob whole or not at all, unless it is there.
    fn blob(
        &self,
        digest: &Digest,
        produce: &dyn Fn(&mut dyn Write) -> Result<(), ImageError>,
    ) -> Result<(), LayoutError> {
        let path = self.directory.join(digest.hex());
        let fail = |source| LayoutError::Io { path: path.clone(), source };
        if path.exists() {
            return Ok(());
        }
        let mut file = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
            .tempfile_in(self.directory)
            .map_err(fail)?;
        produce(&mut file)?;
        file.persist(&path).map_err(|error| fail(error.error)).map(drop)
    }

    /// Links a blob that is a file of the same file system already; whether that went. A file that nobody may write
    /// (a Nix store's) is copied instead: root, who may anyway, would change both.
    fn link(&self, layer: &LayerBlob, file: &Path) -> Result<bool, LayoutError> {
        let path = self.directory.join(layer.descriptor.digest.hex());
        let writable = fs::metadata(file).is_ok_and(|metadata| !metadata.permissions().readonly());
        if path.exists() || !writable {
            return Ok(false);
        }
        layer.write(&mut io::sink())?;
        Ok(fs::canonicalize(file).is_ok_and(|file| fs::hard_link(file, &path).is_ok()))
    }
}

fn open_index(directory: &Path) -> Result<Index, LayoutError> {
    let path = directory.join("index.json");
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|source| LayoutError::Index { path, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Index::new(Vec::new())),
        Err(source) => Err(LayoutError::Io { path, source }),
    }
}
